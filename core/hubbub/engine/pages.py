"""Segments of streams that were paged out and read back: the last ones that were used."""

from collections import OrderedDict
from collections.abc import Callable

from hubbub.streams import Record, memory_of

from .journal import Journal

_Key = tuple[int, int, int, int]


class Pages:
    """Reads segments back, and remembers those that were used last.

    So who reads a segment in small steps has it decoded once. `limit`: bytes of memory for what is
    remembered, if it is more than one segment; `count` is told how many came or, negative, went.
    """

    def __init__(self, journal: Journal, limit: int, count: Callable[[int], None]) -> None:
        self._journal = journal
        self._limit = limit
        self._count = count
        self._size = 0
        self._segments: OrderedDict[_Key, tuple[list[Record], int]] = OrderedDict()

    def load(self, stream: int, shard: int, first: int, last: int) -> list[Record]:
        """The records of a shard from sequence `first` to `last`, both included.

        Raises:
            UnavailableError: the store can't be read.
        """
        key = (stream, shard, first, last)
        if (known := self._segments.get(key)) is not None:
            self._segments.move_to_end(key)
            return known[0]
        records = self._journal.fetch_records(stream, shard, first, last)
        size = memory_of(sum([record.size for record in records]), len(records))
        self._segments[key] = (records, size)
        self._grow(size)
        while self._size > self._limit and len(self._segments) > 1:
            _, (_, gone) = self._segments.popitem(last=False)
            self._grow(-gone)
        return records

    def forget(self, stream: int) -> None:
        """A stream is gone."""
        for key in [key for key in self._segments if key[0] == stream]:
            self._grow(-self._segments.pop(key)[1])

    def _grow(self, size: int) -> None:
        self._size += size
        self._count(size)
