"""Reading a whole stream for queues and channels, over its shards as they are split and merged."""

from collections.abc import Callable, Mapping

import msgspec

from hubbub import (
    Position,
    Record,
    StreamInfo,
    StreamReader,
    positions_at_latest,
    positions_at_oldest,
    positions_at_time,
)
from hubbub_kinesis.locating import Located


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a reader is: by shard a sequence number, and whether that is still to be read.

    Without any shard it is where the stream begins.
    """

    positions: dict[int, tuple[int, bool]] = {}

    @classmethod
    def at(cls, positions: Mapping[int, Position]) -> "Cursor":
        """Return the cursor of a `StreamReader` with these positions."""
        return cls({shard: (at.sequence, at.inclusive) for shard, at in positions.items()})


async def begin(info: StreamInfo, kind: str, timestamp: int | None) -> Cursor:
    """Return where a reader begins: LATEST, TRIM_HORIZON or AT_TIMESTAMP (in milliseconds)."""
    if kind == "TRIM_HORIZON":
        return Cursor()
    if kind == "LATEST":
        return Cursor.at(positions_at_latest(info))
    assert timestamp is not None
    return Cursor.at(await positions_at_time(info, timestamp))


class Follower:
    """Reads a stream from a cursor on, and moves the cursor; passes over what is past retention."""

    def __init__(self, stream: Located, cursor: Cursor, now: Callable[[], int]) -> None:
        info = stream.info
        positions = {shard: Position(shard, *at) for shard, at in cursor.positions.items()}
        self._reader = StreamReader(
            stream.session, stream.name, positions or positions_at_oldest(info)
        )
        self._info = info
        self._now = now

    @property
    def cursor(self) -> Cursor:
        """Where it is: after what was returned last."""
        return Cursor.at(self._reader.positions)

    async def read(self, limit: int, max_bytes: int) -> list[Record]:
        """Return the next records; none if there is none now.

        Raises:
            NotFoundError: the stream is gone.
        """
        while found := await self._reader.read(limit, max_bytes=max_bytes):
            if records := self._within_retention(found):
                return records
        return []

    async def read_or_wait(self, limit: int, max_bytes: int) -> list[Record]:
        """Return the next records, or wait for some. None if all that came are past retention.

        Raises:
            NotFoundError: the stream is gone.
        """
        return self._within_retention(await self._reader.read_or_wait(limit, max_bytes=max_bytes))

    def _within_retention(self, records: list[Record]) -> list[Record]:
        """Return records without those that retention, which drops whole segments, left over."""
        retention = self._info.settings.retention
        if retention is None:
            return records
        horizon = self._now() - retention
        return [each for each in records if each.arrived >= horizon]
