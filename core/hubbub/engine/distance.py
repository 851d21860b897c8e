"""Records of streams that are read back from the disk, for which only those wait who asked."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hubbub.streams import Record

from . import blocks
from .blocks import Block
from .store import Reader
from .worker import Worker


class DistantReader:
    """Reads records on a thread of its own, by a connection of its own.

    The thread is one, so what is read at once is bounded, however many ask. It is not the one that
    writes, since nobody's confirmation is to wait for a reader.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._worker = Worker("hubbub reader")
        self._reader: Reader | None = None
        """Used by the thread alone, and opened when there is something to read."""

    async def fetch(
        self, stream: int, shard: int, first: int, last: int, pending: Sequence[Block]
    ) -> list[Record]:
        """The records of a shard from sequence `first` to `last`, both included.

        `pending`: what the store may not have yet, in order. It may have it by the time it is read.

        Raises:
            UnavailableError: the file can't be read.
        """
        return await self._worker.call(partial(self._fetch, stream, shard, first, last, pending))

    def _fetch(
        self, stream: int, shard: int, first: int, last: int, pending: Sequence[Block]
    ) -> list[Record]:
        if self._reader is None:
            self._reader = Reader(self._path)
        found = self._reader.fetch_records(stream, shard, first, last)
        after = found[-1].sequence if found else first - 1
        for block in pending:
            if block.last > after and block.first <= last:
                found += [
                    record
                    for record in blocks.unpack(block.records)
                    if after < record.sequence <= last
                ]
        return found

    async def close(self) -> None:
        """Close the connection and end the thread, after what is being read."""
        closing = self._worker.submit(self._close)
        self._worker.stop()
        await closing.finished.wait()

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
