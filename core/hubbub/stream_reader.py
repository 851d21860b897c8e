"""Reading a stream over all its shards, as if it were one log.

A reader is in some shards at a time. When a shard that was split or merged is read to its end, the
reader goes on with its children, but not before all of their parents are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from math import inf
from typing import TYPE_CHECKING

import trio

from .streams import READ_BYTES, NoSuchShardError, Position, Record, ShardInfo

if TYPE_CHECKING:
    from .session import Session, StreamInfo


def positions_at_oldest(stream: StreamInfo) -> dict[int, Position]:
    """Return where to begin with the oldest record, by shard."""
    return {each.id: stream.oldest(each.id) for each in _first(stream.shards())}


def positions_at_latest(stream: StreamInfo) -> dict[int, Position]:
    """Return where to begin after everything that is in the stream now, by shard."""
    return {each.id: stream.latest(each.id) for each in stream.shards() if each.closed is None}


def positions_at_last(stream: StreamInfo) -> dict[int, Position]:
    """Return where to begin with the record that came last, if there is one, by shard."""
    newest = stream.newest
    return positions_at_sequence(stream, newest) if newest else positions_at_latest(stream)


async def positions_at_time(stream: StreamInfo, moment: int) -> dict[int, Position]:
    """Return where to begin with what arrived at a moment or later, by shard.

    `moment`: milliseconds since the epoch.

    Raises:
        NotFoundError: the stream is gone.
    """
    shards = [each for each in stream.shards() if each.closed is None or each.closed >= moment]
    found: dict[int, Position] = {}
    for each in _first(shards):
        try:
            found[each.id] = await stream.at_timestamp(each.id, moment)
        except NoSuchShardError:  # gone while others were looked at: a reader goes on after it
            found[each.id] = Position(each.id, 0, inclusive=True)
    return found


def positions_at_sequence(stream: StreamInfo, sequence: int) -> dict[int, Position]:
    """Return where to begin with the first record that has this sequence number or a higher one.

    Sequence numbers rise over all shards of a stream. The position is `latest` in shards that are
    not as far yet: what comes to them may still have a lower number.
    """

    def place(shard: int) -> Position:
        latest = stream.latest(shard)
        if sequence > latest.sequence:
            return latest
        return Position(shard, max(sequence, 0), inclusive=True)

    shards = [
        each
        for each in stream.shards()
        if each.ending_sequence is None or each.ending_sequence >= sequence
    ]
    return {each.id: place(each.id) for each in _first(shards)}


def _first(shards: Sequence[ShardInfo]) -> list[ShardInfo]:
    """Return those of some shards from which all others are reached."""
    chosen = {each.id for each in shards}
    return [
        each for each in shards if each.parent not in chosen and each.adjacent_parent not in chosen
    ]


class _Place:
    """Where a reader is in one shard, and what it has read there and not handed out."""

    __slots__ = ("ahead", "behind", "children", "following", "position")

    def __init__(self, position: Position) -> None:
        self.position = position
        """After the last record that was handed out."""
        self.following: Position | None = position
        """Where to read on; None: the shard is read to its end."""
        self.ahead: list[Record] = []
        self.behind = 0
        self.children: Sequence[ShardInfo] = ()

    @property
    def is_over(self) -> bool:
        """Whether everything is handed out, and nothing will come."""
        return self.following is None and not self.ahead

    @property
    def horizon(self) -> float:
        """The sequence number up to which all records are read; none that comes has a lower one."""
        if self.following is None:
            return inf
        return self.following.sequence - self.following.inclusive

    def take(self, count: int) -> None:
        """Note that so many records are handed out."""
        self.position = Position(
            self.position.shard, self.ahead[count - 1].sequence, inclusive=False
        )
        del self.ahead[:count]


class StreamReader:
    """Reads one stream from some positions on.

    A shard's records come in order, and after those of the shards that it was made of. Records of
    shards that are read side by side come in order of their sequence numbers, which is the order in
    which they were appended. Where retention has dropped what would have been next, it goes on with
    what is left. One task reads at a time; a read that is cancelled loses nothing.

    Args:
        session: reads, and so must be allowed to.
        name: the stream's.
        positions: where to begin, by shard: `positions_at_oldest` and its like, or what `positions`
            was.
    """

    def __init__(self, session: Session, name: str, positions: Mapping[int, Position]) -> None:
        self._session = session
        self._name = name
        self._places = {shard: _Place(position) for shard, position in positions.items()}
        self._trimmed = False
        self.behind = 0
        """How old the last record was, in milliseconds, if more waited after it."""
        self.trimmed = False
        """Whether retention had dropped records that the last read would have found."""
        self.before: Mapping[int, Position] = {}
        """Where it was before the records of the last read, by shard."""

    @property
    def positions(self) -> dict[int, Position]:
        """Where it is, by shard; empty if no shard is left."""
        return {shard: place.position for shard, place in self._places.items()}

    async def check(self) -> None:
        """Find out whether it may read where it is.

        Raises:
            NotFoundError, DeniedError, StreamError.
        """
        for place in list(self._places.values()):
            await self._read_ahead(place, 1, READ_BYTES)

    async def read(self, limit: int, *, max_bytes: int = READ_BYTES) -> list[Record]:
        """Read up to `limit` records, of up to `max_bytes` bytes; at least one if there is any.

        Raises:
            NotFoundError, DeniedError, StreamError.
        """
        await trio.lowlevel.checkpoint()  # what is in memory is read without one
        while True:
            places = await self._read_all_ahead(limit, max_bytes)
            found = _merged(places)
            if found or not any(place.ahead for place in places):
                break
        del found[limit:]
        self.before = self.positions
        self._hand_out(found)
        self.behind = max((place.behind for place in places), default=0)
        self.trimmed, self._trimmed = self._trimmed, False
        return found

    async def _read_all_ahead(self, limit: int, max_bytes: int) -> list[_Place]:
        """Read on in all shards; return where it is then."""
        places: list[_Place] = []
        waiting = list(self._places.values())
        while waiting:
            place = waiting.pop()
            await self._read_ahead(place, limit, max_bytes // len(self._places))
            if place.is_over:
                waiting += self._succeed(place)
            else:
                places.append(place)
        return places

    def _hand_out(self, found: Iterable[Record]) -> None:
        for shard, count in Counter([record.shard for record in found]).items():
            self._places[shard].take(count)
        for place in list(self._places.values()):
            if place.is_over:
                self._succeed(place)
            elif not place.ahead and place.following is not None:
                place.position = place.following

    async def read_or_wait(self, limit: int, *, max_bytes: int = READ_BYTES) -> list[Record]:
        """Read as `read` does, but wait for the first record. None only if some were `trimmed`.

        It waits for ever if no shard is left.

        Raises:
            NotFoundError, DeniedError, StreamError.
        """
        while True:
            found = await self.read(limit, max_bytes=max_bytes)
            if found or self.trimmed:
                return found
            await self._wait()

    async def _wait(self) -> None:
        """Wait until a read may find something."""
        changed = trio.Event()
        with ExitStack() as watches:  # before looking, so that nothing comes unnoticed
            for shard in self._places:
                watches.callback(self._watch(shard, changed.set))
            await self.check()
            if not self._trimmed and not any(
                place.ahead or place.is_over for place in self._places.values()
            ):
                await changed.wait()

    def _watch(self, shard: int, callback: Callable[[], None]) -> Callable[[], None]:
        try:
            return self._session.watch(self._name, shard, callback)
        except NoSuchShardError:
            callback()  # the next read goes on with its children
            return _nothing

    async def _read_ahead(self, place: _Place, limit: int, max_bytes: int) -> None:
        """Have up to `limit` records of a shard, if there are as many."""
        limit -= len(place.ahead)
        max_bytes -= sum([record.size for record in place.ahead])
        if place.following is None or limit <= 0 or (place.ahead and max_bytes <= 0):
            return
        try:
            result = await self._session.read(
                self._name, place.following, limit=limit, max_bytes=max_bytes, skip_trimmed=True
            )
        except NoSuchShardError:
            self._trimmed = True
            place.children = self._left_after(place.following)
            place.following = None
            return
        self._trimmed |= result.trimmed
        place.ahead += result.records
        place.behind = result.behind
        place.following = result.next
        place.children = result.children

    def _left_after(self, position: Position) -> Sequence[ShardInfo]:
        """Return what to go on with where retention has removed a shard.

        Its children may be gone as well: so those shards that began later and whose parents are
        gone. What was read of shards that are not its descendants is gone with it, or sooner.
        """
        shards = self._shards()
        return [
            each
            for each in shards.values()
            if each.starting_sequence > position.sequence
            and each.parent not in shards
            and each.adjacent_parent not in shards
        ]

    def _shards(self) -> dict[int, ShardInfo]:
        stream = self._session.find_stream(self._name)
        return {} if stream is None else {each.id: each for each in stream.shards()}

    def _succeed(self, place: _Place) -> list[_Place]:
        """Let the children of a shard that is over take its place; return their places.

        A child whose other parent is not over, or not even begun, is left to that one.
        """
        del self._places[place.position.shard]
        shards = self._shards()
        added: list[_Place] = []
        for child in place.children:
            if child.id not in self._places and not self._has_to_wait(child, shards):
                added.append(_Place(Position(child.id, 0, inclusive=True)))
                self._places[child.id] = added[-1]
        return added

    def _has_to_wait(self, shard: ShardInfo, shards: Mapping[int, ShardInfo]) -> bool:
        """Tell whether it is still in one of the shards that a shard comes from."""
        seen: set[int] = set()
        waiting = _parents(shard)
        while waiting:
            ancestor = waiting.pop()
            seen.add(ancestor)
            if ancestor in self._places:
                return True
            if ancestor in shards:
                waiting |= _parents(shards[ancestor]) - seen
        return False


def _merged(places: Sequence[_Place]) -> list[Record]:
    """Return what was read ahead, in order, as far as nothing can come that belongs before it.

    A shard that was read earlier than another, or less far, may have more by now.
    """
    if len(places) == 1:
        return list(places[0].ahead)
    horizon = min((place.horizon for place in places), default=0)
    found = [record for place in places for record in place.ahead if record.sequence <= horizon]
    found.sort(key=_sequence)
    return found


def _parents(shard: ShardInfo) -> set[int]:
    return {each for each in (shard.parent, shard.adjacent_parent) if each is not None}


def _sequence(record: Record) -> int:
    return record.sequence


def _nothing() -> None:
    """End nothing."""
