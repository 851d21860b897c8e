"""The state of one stream of the embedded engine: its shards, and what becomes of them.

Nothing here does input or output, or looks at a clock. Each change returns plain records of what to
persist, and `StreamState.restore` takes them back. What needs records that are not in memory waits
for the function that reads them back, and for nothing else.
"""

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter

import msgspec

from hubbub.streams import (
    MAX_HASH_KEY,
    READ_BYTES,
    READ_RECORDS,
    Cut,
    DamagedStreamError,
    Extent,
    InvalidHashKeyError,
    NewRecord,
    NoSuchShardError,
    Position,
    ReadResult,
    Record,
    Reshard,
    ShardClosedError,
    ShardInfo,
    ShardLimitError,
    ShardsNotAdjacentError,
    StreamSettings,
    Trim,
    TrimmedPositionError,
    UnknownPositionError,
    hash_key,
)

from .segments import Load, Shard, memory_of

SEQUENCE_GAP = 2**20
"""How many sequence numbers `StreamState.restore` skips.

Readers see records before they are committed. A crash may lose those, but their sequence numbers
must not return with other records. So at most this many records may be uncommitted at a time, and
the `last_sequence` of a restored stream must be committed before anything is appended to it.
"""

_recent_hash_key = lru_cache(4096)(hash_key)
"""`hash_key`, remembered: most streams have few keys. For short ones, as it keeps the keys."""


class StreamState:
    """One stream. Finding a place costs O(log n) in the number of records.

    ``shards`` open shards of equal size are made; see `restore` for a stream that was stored.
    Settings may be exchanged at any time, and so may `load`: it is needed if records are ever paged
    out.
    """

    def __init__(
        self, settings: StreamSettings, *, shards: int, now: int, load: Load | None = None
    ) -> None:
        if shards < 1:
            raise ValueError(f"a stream has at least one shard, not {shards}")
        if shards > settings.max_shards:
            raise ShardLimitError(settings.max_shards)
        self._start_empty(settings, load)
        width = (MAX_HASH_KEY + 1) // shards
        for number in range(shards):
            last = number == shards - 1
            self._open(number * width, MAX_HASH_KEY if last else (number + 1) * width - 1, now=now)
        self._index_open_shards()

    @classmethod
    async def restore(
        cls,
        settings: StreamSettings,
        shards: Iterable[ShardInfo],
        extents: Iterable[Extent],
        *,
        last_sequence: int,
        load: Load,
    ) -> "StreamState":
        """Make a stream from what was stored; its records are all paged out.

        `extents` are those of the stored records, shard by shard, in order of sequence numbers;
        what was trimmed is skipped, and where that ends within an extent, its records are needed.
        `last_sequence` is the highest number known to be given. The records and shards may know a
        higher one, and `SEQUENCE_GAP` numbers are skipped: commit the new `last_sequence` before
        appending. Raises `DamagedStreamError`.
        """
        stream = cls.__new__(cls)
        stream._start_empty(settings, load)
        stream._load_shards(shards)
        stream._last_sequence = last_sequence
        await stream._load_extents(extents)
        known = [
            max(shard.starting_sequence - 1, shard.ending_sequence or 0, shard.trimmed_to)
            for shard in stream.shards()
        ]
        stream._last_sequence = max(stream._last_sequence, *known) + SEQUENCE_GAP
        return stream

    def _start_empty(self, settings: StreamSettings, load: Load | None) -> None:
        self.settings = settings
        self.load = load
        self._shards: dict[int, Shard] = {}
        self._open_shards: list[Shard] = []
        self._open_starts: list[int] = []
        self._last_sequence = 0
        # The wall clock may go back; the times in a stream don't.
        self._latest = 0
        self._next_shard = 0
        self._count = 0
        self._size = 0
        self._resident_size = 0

    @property
    def last_sequence(self) -> int:
        """The highest sequence number given so far; persist it with whatever is persisted."""
        return self._last_sequence

    @property
    def newest(self) -> int:
        """The sequence number of the record that came last; 0 if there is none any more."""
        shards = self._shards.values()
        return max(
            [shard.segments[-1].extent.last for shard in shards if shard.segments], default=0
        )

    @property
    def size(self) -> int:
        """The bytes of all records."""
        return self._size

    @property
    def resident_size(self) -> int:
        """About the bytes of memory that records take which are not paged out."""
        return self._resident_size

    @property
    def is_too_large(self) -> bool:
        """Tell whether it has more bytes than its settings allow."""
        return self.settings.max_bytes is not None and self._size > self.settings.max_bytes

    def __len__(self) -> int:
        return self._count

    # Shards

    def shards(self) -> list[ShardInfo]:
        """Return all shards, open and closed, by id."""
        return [shard.info for shard in self._shards.values()]

    def shard(self, shard_id: int) -> ShardInfo:
        """Return one shard. Raises `NoSuchShardError`."""
        return self._shard(shard_id).info

    def shard_for(self, partition_key: str, explicit_hash_key: int | None = None) -> ShardInfo:
        """Return the open shard that a record would go to. Raises `InvalidHashKeyError`."""
        return self._route(partition_key, explicit_hash_key).info

    def split(self, shard_id: int, new_starting_hash_key: int, *, now: int) -> Reshard:
        """Close a shard and open two in its place; the second starts at the hash key given.

        Raises `NoSuchShardError`, `ShardClosedError`, `InvalidHashKeyError` if one of the two would
        be empty, and `ShardLimitError`.
        """
        parent = self._open_shard(shard_id)
        info = parent.info
        if not info.starting_hash_key < new_starting_hash_key <= info.ending_hash_key:
            raise InvalidHashKeyError(
                new_starting_hash_key, info.starting_hash_key + 1, info.ending_hash_key
            )
        if len(self._open_shards) >= self.settings.max_shards:
            raise ShardLimitError(self.settings.max_shards)
        return self._reshard(
            [parent],
            [
                (info.starting_hash_key, new_starting_hash_key - 1),
                (new_starting_hash_key, info.ending_hash_key),
            ],
            now,
        )

    def merge(self, shard_id: int, adjacent_shard_id: int, *, now: int) -> Reshard:
        """Close two adjacent shards and open one in their place.

        Raises `NoSuchShardError`, `ShardClosedError` and `ShardsNotAdjacentError`.
        """
        shard, adjacent = self._open_shard(shard_id), self._open_shard(adjacent_shard_id)
        low, high = sorted([shard.info, adjacent.info], key=lambda info: info.starting_hash_key)
        if low.ending_hash_key + 1 != high.starting_hash_key:
            raise ShardsNotAdjacentError(shard_id, adjacent_shard_id)
        return self._reshard(
            [shard, adjacent], [(low.starting_hash_key, high.ending_hash_key)], now
        )

    # Writing

    def append(
        self,
        records: Iterable[NewRecord],
        *,
        now: int,
        keep: Callable[[Mapping[int, Sequence[Record]]], None] | None = None,
    ) -> list[Record]:
        """Append a batch and wake those who watch its shards; return the records.

        All or nothing: raises `InvalidHashKeyError` before anything is appended, and whatever
        `keep` raises, which is told the new records of each shard and is to persist them.
        """
        batch = list(records)
        now = max(now, self._latest)
        first = self._last_sequence + 1
        route = self._route
        only = self._open_shards[0] if len(self._open_shards) == 1 else None
        shards = [
            only
            if only is not None and new.explicit_hash_key is None
            else route(new.partition_key, new.explicit_hash_key)
            for new in batch
        ]
        appended = [
            Record(shard.info.id, sequence, now, new.partition_key, new.message, new.size)
            for sequence, (new, shard) in enumerate(zip(batch, shards, strict=True), first)
        ]
        placed: dict[Shard, list[Record]] = {shard: [] for shard in shards}
        if len(placed) == 1:
            placed[shards[0]] = appended
        else:
            for shard, record in zip(shards, appended, strict=True):
                placed[shard].append(record)
        if keep is not None:
            keep({shard.info.id: mine for shard, mine in placed.items()})
        self._latest = now
        self._last_sequence += len(appended)
        self._count += len(appended)
        for shard, mine in placed.items():
            size = shard.append(mine, now, self.settings)
            self._size += size
            self._resident_size += memory_of(size, len(mine))
        for shard in placed:
            shard.wake()
        return appended

    # Reading

    def oldest(self, shard_id: int) -> Position:
        """Return the position of the oldest record, also if retention moves it (TRIM_HORIZON)."""
        self._shard(shard_id)
        return Position(shard_id, 0, inclusive=True)

    def latest(self, shard_id: int) -> Position:
        """Return the position after everything that is in the shard now (LATEST)."""
        self._shard(shard_id)
        return Position(shard_id, self._last_sequence, inclusive=False)

    def at_sequence(self, shard_id: int, sequence: int) -> Position:
        """Return the position at a sequence number. Raises `UnknownPositionError`."""
        self._shard(shard_id)
        self._check_sequence(sequence)
        return Position(shard_id, sequence, inclusive=True)

    def after_sequence(self, shard_id: int, sequence: int) -> Position:
        """Return the position after a sequence number. Raises `UnknownPositionError`."""
        self._shard(shard_id)
        self._check_sequence(sequence)
        return Position(shard_id, sequence, inclusive=False)

    async def at_timestamp(self, shard_id: int, timestamp: int) -> Position:
        """Return the position of the first record that arrived then or later.

        If there is none yet, the position is `latest`.
        """
        shard = self._shard(shard_id)
        place = bisect_left(shard.segments, timestamp, key=_until)
        if place == len(shard.segments):
            return self.latest(shard_id)
        segment = shard.segments[place]
        sequence = segment.extent.first
        if timestamp > segment.extent.since:
            records = segment.records
            if records is None:
                records = await segment.read_back(self.load)
                if shard.has_dropped(segment):
                    return await self.at_timestamp(shard_id, timestamp)
            index = bisect_left(records, timestamp, key=_arrived)
            sequence = records[index].sequence if index < len(records) else segment.extent.last
        return Position(shard_id, sequence, inclusive=True)

    async def read(
        self,
        position: Position,
        *,
        now: int,
        limit: int = READ_RECORDS,
        max_bytes: int = READ_BYTES,
        skip_trimmed: bool = False,
    ) -> ReadResult:
        """Read from a position on: up to `limit` records, up to `max_bytes` bytes.

        One record is read even if it is larger. Raises `NoSuchShardError`, `UnknownPositionError`,
        and `TrimmedPositionError` unless `skip_trimmed` asks to go on with the oldest record.
        Where retention drops records that it waits for, it ends before them, or, if they were its
        first, begins anew.
        """
        if limit < 1:
            raise ValueError(f"a read asks for at least one record, not {limit}")
        shard = self._shard(position.shard)
        wanted = position.sequence if position.inclusive else position.sequence + 1
        if not 0 <= wanted <= self._last_sequence + 1:
            raise UnknownPositionError(position.sequence)
        trimmed = 0 < wanted <= shard.info.trimmed_to
        if trimmed and not skip_trimmed:
            raise TrimmedPositionError(position, self.oldest(position.shard))
        records, more = await shard.read(wanted, limit, max_bytes, self.load)
        if more and not records:
            return await self.read(
                position, now=now, limit=limit, max_bytes=max_bytes, skip_trimmed=skip_trimmed
            )
        if more:
            last = records[-1]
            following = Position(position.shard, last.sequence, inclusive=False)
            return ReadResult(records, following, max(0, now - last.arrived), trimmed, ())
        if shard.info.closed is not None:
            children = [self._shards[child].info for child in shard.children]
            return ReadResult(records, None, 0, trimmed, tuple(children))
        return ReadResult(records, self.latest(position.shard), 0, trimmed, ())

    def watch(self, shard_id: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever the shard gets records, is closed or is removed.

        Returns what to call to end it. The callback must not raise, and must only take note: it is
        called in the middle of the change. Raises `NoSuchShardError`.
        """
        watchers = self._shard(shard_id).watchers
        token = object()
        watchers[token] = callback

        def unwatch() -> None:
            watchers.pop(token, None)

        return unwatch

    def wake(self) -> None:
        """Call back all watchers of all shards, so that they see that the stream ends."""
        for shard in list(self._shards.values()):
            shard.wake()

    # Retention and memory

    def trim(self, *, now: int) -> Trim:
        """Drop what is past its retention, and the oldest while the stream is too large."""
        cuts: list[Cut] = []
        removed: list[int] = []
        if self.settings.retention is not None:
            horizon = now - self.settings.retention
            for shard in list(self._shards.values()):
                expired = bisect_right(shard.segments, horizon, key=_until)
                if expired:
                    cuts.append(self._cut(shard, expired))
                closed = shard.info.closed
                if closed is not None and closed <= horizon and not shard.segments:
                    self._remove(shard)
                    removed.append(shard.info.id)
        if self.is_too_large:
            cuts += self._cut_to_size()
        return Trim(tuple(cuts), tuple(removed))

    def trim_due(self) -> int | None:
        """Return the time of the next `trim` that will drop something; None if there is none.

        It is 0 if the stream is too large now.
        """
        if self.is_too_large and any(shard.has_spare for shard in self._shards.values()):
            return 0
        if self.settings.retention is None:
            return None
        ends = [
            shard.segments[0].extent.until if shard.segments else shard.info.closed
            for shard in self._shards.values()
        ]
        known = [end for end in ends if end is not None]
        return min(known) + self.settings.retention if known else None

    def page_out(self, size: int, *, up_to: int) -> int:
        """Forget records of the oldest segments, which take `size` bytes of memory if possible.

        Only records with sequence numbers up to `up_to` are forgotten: those that the store has
        committed. The newest segment of each shard is spared while others are left. Returns the
        bytes freed.
        """
        freed = 0
        candidates = [
            candidate
            for shard in self._shards.values()
            if (candidate := shard.next_to_page()) is not None
        ]
        heapq.heapify(candidates)
        while candidates and freed < size:
            _, _, shard_id = heapq.heappop(candidates)
            shard = self._shards[shard_id]
            segment = shard.segments[shard.resident]
            if segment.extent.last > up_to:
                continue
            segment.records = None
            freed += memory_of(segment.extent.size, segment.extent.count)
            shard.resident += 1
            candidate = shard.next_to_page()
            if candidate is not None:
                heapq.heappush(candidates, candidate)
        self._resident_size -= freed
        return freed

    # How it is done

    def _shard(self, shard_id: int) -> Shard:
        try:
            return self._shards[shard_id]
        except KeyError:
            raise NoSuchShardError(shard_id) from None

    def _open_shard(self, shard_id: int) -> Shard:
        shard = self._shard(shard_id)
        if shard.info.closed is not None:
            raise ShardClosedError(shard_id)
        return shard

    def _check_sequence(self, sequence: int) -> None:
        if not 1 <= sequence <= self._last_sequence:
            raise UnknownPositionError(sequence)

    def _route(self, partition_key: str, explicit_hash_key: int | None) -> Shard:
        if explicit_hash_key is None:
            key = (_recent_hash_key if len(partition_key) <= 256 else hash_key)(partition_key)
        elif 0 <= explicit_hash_key <= MAX_HASH_KEY:
            key = explicit_hash_key
        else:
            raise InvalidHashKeyError(explicit_hash_key, 0, MAX_HASH_KEY)
        return self._open_shards[bisect_right(self._open_starts, key) - 1]

    def _open(
        self,
        starting_hash_key: int,
        ending_hash_key: int,
        *,
        now: int,
        parent: int | None = None,
        adjacent_parent: int | None = None,
    ) -> ShardInfo:
        info = ShardInfo(
            self._next_shard,
            starting_hash_key,
            ending_hash_key,
            self._last_sequence + 1,
            now,
            parent,
            adjacent_parent,
        )
        self._next_shard += 1
        self._shards[info.id] = Shard(info)
        return info

    def _reshard(self, parents: list[Shard], ranges: list[tuple[int, int]], now: int) -> Reshard:
        now = self._latest = max(now, self._latest)
        # No record has the ending sequence number: what was read before it is the whole shard.
        self._last_sequence += 1
        for parent in parents:
            parent.info = msgspec.structs.replace(
                parent.info, ending_sequence=self._last_sequence, closed=now
            )
        ids = [parent.info.id for parent in parents]
        opened = tuple(
            [
                self._open(
                    start,
                    end,
                    now=now,
                    parent=ids[0],
                    adjacent_parent=ids[1] if len(ids) == 2 else None,
                )
                for start, end in ranges
            ]
        )
        for parent in parents:
            parent.children = [info.id for info in opened]
        self._index_open_shards()
        for parent in parents:
            parent.wake()
        return Reshard(tuple([parent.info for parent in parents]), opened, self._last_sequence)

    def _index_open_shards(self) -> None:
        self._open_shards = sorted(
            [shard for shard in self._shards.values() if shard.info.closed is None],
            key=lambda shard: shard.info.starting_hash_key,
        )
        self._open_starts = [shard.info.starting_hash_key for shard in self._open_shards]

    def _cut_to_size(self) -> list[Cut]:
        cuts: dict[int, Cut] = {}
        candidates = [
            (shard.segments[0].extent.first, shard.info.id)
            for shard in self._shards.values()
            if shard.has_spare
        ]
        heapq.heapify(candidates)
        while candidates and self.is_too_large:
            _, shard_id = heapq.heappop(candidates)
            shard = self._shards[shard_id]
            cut = self._cut(shard, 1)
            before = cuts.get(shard_id)
            if before is not None:
                cut = Cut(shard_id, cut.sequence, before.count + cut.count, before.size + cut.size)
            cuts[shard_id] = cut
            if shard.has_spare:
                heapq.heappush(candidates, (shard.segments[0].extent.first, shard_id))
        return list(cuts.values())

    def _cut(self, shard: Shard, segments: int) -> Cut:
        dropped = shard.segments[:segments]
        del shard.segments[:segments]
        shard.resident = max(0, shard.resident - segments)
        count = sum([segment.extent.count for segment in dropped])
        size = sum([segment.extent.size for segment in dropped])
        self._count -= count
        self._size -= size
        self._resident_size -= sum(
            [
                memory_of(segment.extent.size, segment.extent.count)
                for segment in dropped
                if segment.records is not None
            ]
        )
        last = dropped[-1].extent.last
        shard.info = msgspec.structs.replace(shard.info, trimmed_to=last)
        return Cut(shard.info.id, last, count, size)

    def _remove(self, shard: Shard) -> None:
        # Its parents closed and got their last record earlier: they are gone already.
        del self._shards[shard.info.id]
        shard.wake()

    def _load_shards(self, shards: Iterable[ShardInfo]) -> None:
        for info in sorted(shards, key=lambda info: info.id):
            if info.id in self._shards:
                raise DamagedStreamError(f"shard {info.id} is stored twice")
            self._shards[info.id] = Shard(info)
            self._next_shard = info.id + 1
            self._latest = max(self._latest, info.opened, info.closed or 0)
            for parent in (info.parent, info.adjacent_parent):
                if parent in self._shards:
                    self._shards[parent].children.append(info.id)
        self._index_open_shards()
        start = 0
        for shard in self._open_shards:
            if shard.info.starting_hash_key != start:
                raise DamagedStreamError(f"the open shards don't own the hash key {start} once")
            start = shard.info.ending_hash_key + 1
        if start != MAX_HASH_KEY + 1:
            raise DamagedStreamError(f"no open shard owns the hash key {start}")

    async def _load_extents(self, extents: Iterable[Extent]) -> None:
        shard: Shard | None = None
        before = 0
        for extent in extents:
            if shard is None or extent.shard != shard.info.id:
                shard = self._shards.get(extent.shard)
                if shard is None:
                    raise DamagedStreamError(
                        f"a record is in shard {extent.shard}, which is not stored"
                    )
                before = shard.segments[-1].extent.last if shard.segments else 0
            if not before < extent.first <= extent.last:
                raise DamagedStreamError(f"sequence number {extent.first} is stored after {before}")
            before = extent.last
            self._last_sequence = max(self._last_sequence, extent.last)
            kept: Extent | None = extent
            if extent.first <= shard.info.trimmed_to:
                kept = await self._untrimmed(extent, shard.info.trimmed_to)
            if kept is not None:
                shard.restore(kept, self.settings)
                self._count += kept.count
                self._size += kept.size
                self._latest = max(self._latest, kept.until)
        for shard in self._shards.values():
            shard.resident = len(shard.segments)

    async def _untrimmed(self, extent: Extent, trimmed: int) -> Extent | None:
        """Return what is left of stored records of which those up to `trimmed` were dropped."""
        if extent.last <= trimmed:
            return None
        assert self.load is not None
        records = await self.load(msgspec.structs.replace(extent, first=trimmed + 1))
        return _extent_of(records) if records else None


def _extent_of(records: Sequence[Record]) -> Extent:
    first, last = records[0], records[-1]
    return Extent(
        first.shard,
        first.sequence,
        last.sequence,
        len(records),
        sum([record.size for record in records]),
        first.arrived,
        last.arrived,
    )


_arrived = attrgetter("arrived")
_until = attrgetter("extent.until")
