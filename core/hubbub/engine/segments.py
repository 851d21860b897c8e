"""A shard's records in segments.

Retention drops whole segments, so it never looks at single records. A segment's records may be
paged out: what is left is its `Extent`, enough to find the segment that holds a place, and to
count.
"""

from bisect import bisect_left
from collections.abc import Awaitable, Callable
from operator import attrgetter

from hubbub.message import MEMORY_COST
from hubbub.streams import Extent, Record, ShardInfo, StreamSettings

RECORD_MEMORY_COST = MEMORY_COST + 100
"""About the bytes that a record takes in memory beside its size."""

Load = Callable[[Extent], Awaitable[list[Record]]]
"""Reads records back that were paged out. What it raises goes to whoever reads. The stream may
change while it waits."""


def memory_of(size: int, count: int) -> int:
    """Return about the bytes of memory that so many records of together so many bytes take."""
    return size + count * RECORD_MEMORY_COST


class Segment:
    """Successive records of a shard; None while they are paged out."""

    __slots__ = ("extent", "records")

    def __init__(self, records: list[Record] | None, extent: Extent) -> None:
        self.records = records
        self.extent = extent

    def is_full(self, settings: StreamSettings, now: int) -> bool:
        """Tell whether records that arrive now belong into the next one."""
        extent = self.extent
        return (
            extent.size >= settings.segment_bytes
            or extent.count >= settings.segment_records
            or extent.since <= now - _segment_duration(settings)
        )

    async def read_back(self, load: Load | None) -> list[Record]:
        """Return its records, which are paged out."""
        assert load is not None, "records are paged out of a stream that can load them"
        return await load(self.extent)


class Shard:
    """A shard at work: its records and who watches it."""

    __slots__ = ("children", "info", "resident", "segments", "watchers")

    def __init__(self, info: ShardInfo) -> None:
        self.info = info
        self.segments: list[Segment] = []
        # How many segments, from the oldest on, are paged out.
        self.resident = 0
        self.children: list[int] = []
        self.watchers: dict[object, Callable[[], None]] = {}

    def wake(self) -> None:
        """Call back those who watch."""
        for callback in list(self.watchers.values()):
            callback()

    @property
    def has_spare(self) -> bool:
        """Tell whether a segment may be dropped to make room: not the newest, unless closed."""
        return len(self.segments) > (1 if self.info.closed is None else 0)

    def next_to_page(self) -> tuple[bool, int, int] | None:
        """Return the next segment to page out, as a key that puts those of all shards in order."""
        if self.resident == len(self.segments):
            return None
        newest = self.resident == len(self.segments) - 1
        return newest, self.segments[self.resident].extent.first, self.info.id

    def append(self, records: list[Record], now: int, settings: StreamSettings) -> int:
        """Take records that arrived now into the newest segments; return the bytes of them."""
        start, count = 0, len(records)
        total = sum([record.size for record in records])
        while start < count:
            segment = self.segments[-1] if self.segments else None
            if segment is None or segment.records is None or segment.is_full(settings, now):
                first = records[start].sequence
                extent = Extent(self.info.id, first, first, 0, 0, now, now)
                segment = Segment([], extent)
                self.segments.append(segment)
            assert segment.records is not None
            extent = segment.extent
            stop = min(count, start + settings.segment_records - extent.count)
            if extent.size + total >= settings.segment_bytes:
                stop = _filling(records, start, stop, settings.segment_bytes - extent.size)
            taken = records[start:stop]
            segment.records += taken
            extent.count += len(taken)
            extent.size += sum([record.size for record in taken])
            extent.last = taken[-1].sequence
            extent.until = now
            start = stop
        return total

    def restore(self, extent: Extent, settings: StreamSettings) -> None:
        """Take over what the store has after all that was taken over before."""
        newest = self.segments[-1] if self.segments else None
        if newest is not None:
            extent.until = max(extent.until, newest.extent.until)
        if newest is None or newest.is_full(settings, extent.until):
            self.segments.append(Segment(None, extent))
        else:
            newest.extent.last = extent.last
            newest.extent.count += extent.count
            newest.extent.size += extent.size
            newest.extent.until = extent.until

    def has_dropped(self, segment: Segment) -> bool:
        """Tell whether retention has dropped a segment that was here."""
        return segment.extent.last <= self.info.trimmed_to

    async def read(
        self, wanted: int, limit: int, max_bytes: int, load: Load | None
    ) -> tuple[list[Record], bool]:
        """Return what is found from a sequence number on, and whether there is more to read."""
        found: list[Record] = []
        place = bisect_left(self.segments, wanted, key=_last)
        while place < len(self.segments):
            segment = self.segments[place]
            records = segment.records
            if records is None:
                records = await segment.read_back(load)
                if self.has_dropped(segment):
                    return found, True
                place = bisect_left(self.segments, segment.extent.last, key=_last)
            start = (
                0 if wanted <= segment.extent.first else bisect_left(records, wanted, key=_sequence)
            )
            stop = min(len(records), start + limit - len(found))
            if segment.extent.size > max_bytes:
                stop = _fitting(records, start, stop, max_bytes, at_least=0 if found else 1)
            found += records[start:stop]
            place += 1
            if stop < len(records):
                return found, True
            if place < len(self.segments):
                if len(found) == limit:
                    return found, True
                max_bytes -= sum([record.size for record in records[start:stop]])
        return found, False


def _filling(records: list[Record], start: int, stop: int, room: int) -> int:
    """Return the end of those from `start` to `stop` that fill so many bytes."""
    for place in range(start, stop):
        room -= records[place].size
        if room <= 0:
            return place + 1
    return stop


def _fitting(records: list[Record], start: int, stop: int, max_bytes: int, at_least: int) -> int:
    """Return the end of those from `start` to `stop` that fit into so many bytes."""
    for place in range(start, stop):
        max_bytes -= records[place].size
        if max_bytes < 0:
            return max(place, start + at_least)
    return stop


_sequence = attrgetter("sequence")
_last = attrgetter("extent.last")


def _segment_duration(settings: StreamSettings) -> int:
    # A segment goes when its last record expires: a tenth bounds how late that is for its first.
    return _NEVER if settings.retention is None else max(1, settings.retention // 10)


_NEVER = 2**62
