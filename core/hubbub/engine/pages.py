"""Segments of streams that were paged out and read back: the last ones that were used."""

from collections import OrderedDict
from collections.abc import Callable

import trio

from hubbub.errors import UnavailableError
from hubbub.streams import Extent, Record

from .journal import Journal
from .segments import memory_of

DEADLINE = 30.0
"""Seconds until a reader is told that the store does not answer."""

_Key = tuple[int, int, int, int]


class Pages:
    """Reads segments back, and remembers those that were used last.

    So who reads a segment in small steps has it decoded once, and so have those who read the same
    side by side. `limit`: bytes of memory for what is remembered, if it is more than one segment;
    `count` is told how many came or, negative, went.
    """

    def __init__(self, journal: Journal, limit: int, count: Callable[[int], None]) -> None:
        self._journal = journal
        self._limit = limit
        self._count = count
        self._size = 0
        self._segments: OrderedDict[_Key, tuple[list[Record], int]] = OrderedDict()
        # The journal reads one segment after the other anyway: who waited may find it here.
        self._turn = trio.Lock()

    async def load(self, stream: int, extent: Extent) -> list[Record]:
        """The records of an extent.

        Raises:
            UnavailableError: the store can't be read, or does not answer.
        """
        key = (stream, extent.shard, extent.first, extent.last)
        if (records := self._find(key)) is not None:
            return records
        with trio.move_on_after(DEADLINE):
            async with self._turn:
                if (records := self._find(key)) is None:
                    records = await self._load(key, extent)
                return records
        raise UnavailableError(f"the store has not answered for {DEADLINE:g} seconds")

    def _find(self, key: _Key) -> list[Record] | None:
        known = self._segments.get(key)
        if known is None:
            return None
        self._segments.move_to_end(key)
        return known[0]

    async def _load(self, key: _Key, extent: Extent) -> list[Record]:
        records = await self._journal.fetch_records(*key)
        size = memory_of(extent.size, extent.count)
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
