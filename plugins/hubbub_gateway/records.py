"""Reading a stream over all its shards, from a cursor on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hubbub import Message, Position, Record, Session, StreamReader

from .cursors import write_cursor
from .representation import ReceivedMessage, from_record

READ_BYTES = 4 * 1024 * 1024
"""Bytes that one read takes at most."""


class Found(NamedTuple):
    """A record, and the cursor after it."""

    record: Record
    cursor: str

    @property
    def message(self) -> Message:
        """What was published."""
        return self.record.message

    def describe(self) -> ReceivedMessage:
        """Describe the record in the JSON form."""
        return from_record(self.record)


class Reader:
    """Reads a stream, and says of each record what the cursor after it is."""

    def __init__(self, session: Session, name: str, positions: Mapping[int, Position]) -> None:
        self._reader = StreamReader(session, name, positions)

    @property
    def cursor(self) -> str:
        """Where it is, as a text."""
        return write_cursor(self._reader.positions)

    @property
    def behind(self) -> int:
        """How old the last record was, in milliseconds, if more waited after it."""
        return self._reader.behind

    @property
    def trimmed(self) -> bool:
        """Whether retention had dropped records that the last read would have found."""
        return self._reader.trimmed

    async def check(self) -> None:
        """Find out whether it may read where it is.

        Raises:
            NotFoundError, DeniedError, StreamError.
        """
        await self._reader.check()

    async def read(self, limit: int) -> list[Found]:
        """Read up to `limit` records, in the order in which they came.

        Raises:
            NotFoundError, DeniedError, StreamError.
        """
        return self._found(await self._reader.read(limit, max_bytes=READ_BYTES))

    async def read_or_wait(self, limit: int) -> list[Found]:
        """Read up to `limit` records; wait for the first. None only if some were `trimmed`.

        Raises:
            NotFoundError, DeniedError, StreamError.
        """
        return self._found(await self._reader.read_or_wait(limit, max_bytes=READ_BYTES))

    def _found(self, records: Sequence[Record]) -> list[Found]:
        positions = dict(self._reader.before)
        found: list[Found] = []
        for record in records:
            positions[record.shard] = Position(record.shard, record.sequence, inclusive=False)
            found.append(Found(record, write_cursor(positions)))
        return found
