"""Reading a stream over all its shards, from a cursor on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import NamedTuple

import trio

from hubbub import Message, Position, Record, Session, ShardInfo, StreamInfo

from .cursors import write_cursor
from .representation import ReceivedMessage, from_record

READ_BYTES = 4 * 1024 * 1024
"""Bytes that one read takes from a shard at most."""


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
    """Reads a stream in order of sequence numbers within each shard, parents before children."""

    def __init__(self, session: Session, name: str, positions: Mapping[int, Position]) -> None:
        self._session = session
        self._name = name
        self.positions = dict(positions)
        """Where it is, by shard."""
        self.behind = 0
        """How old the last record was, in milliseconds, if more waited after it."""
        self.trimmed = False
        """Whether retention had dropped records that the last read would have found."""

    @property
    def cursor(self) -> str:
        """Where it is, as a text."""
        return write_cursor(self.positions)

    async def check(self) -> None:
        """Find out whether it may read where it is, and forget what it finds.

        Raises:
            NotFoundError, DeniedError, StreamError.
        """
        for position in self.positions.values():
            await self._session.read(self._name, position, limit=1, skip_trimmed=True)

    async def read(self, limit: int) -> list[Found]:
        """Read up to `limit` records, in the order in which they came.

        Raises:
            NotFoundError, DeniedError, StreamError.
        """
        self.behind, self.trimmed = 0, False
        candidates: list[Record] = []
        ends: dict[int, tuple[int, Position | None, tuple[ShardInfo, ...]]] = {}
        for shard, position in list(self.positions.items()):
            found = await self._session.read(
                self._name, position, limit=limit, max_bytes=READ_BYTES, skip_trimmed=True
            )
            self.trimmed |= found.trimmed
            self.behind = max(self.behind, found.behind)
            records = found.records
            candidates += records
            last = records[-1].sequence if records else -1
            ends[shard] = last, found.next, found.children
        candidates.sort(key=_sequence)
        results: list[Found] = []
        for record in candidates[:limit]:
            self.positions[record.shard] = Position(record.shard, record.sequence, inclusive=False)
            results.append(Found(record, self.cursor))
        for shard, (last, following, children) in ends.items():
            here = self.positions[shard]
            if last >= 0 and (here.inclusive or here.sequence != last):
                continue  # the limit left some of its records for the next read
            if following is not None:
                self.positions[shard] = following
            else:
                del self.positions[shard]
                self._go_on_with(children)
        return results

    def _go_on_with(self, children: Iterable[ShardInfo]) -> None:
        """Read children of shards that were read to their end, once that is so of all parents."""
        for child in children:
            if child.parent not in self.positions and child.adjacent_parent not in self.positions:
                self.positions.setdefault(child.id, Position(child.id, 0, inclusive=True))

    async def read_or_wait(self, limit: int) -> list[Found]:
        """Read up to `limit` records; wait for the first. None only if some were `trimmed`.

        Raises:
            NotFoundError, DeniedError, StreamError.
        """
        while True:
            shards = set(self.positions)
            changed = trio.Event()
            with ExitStack() as watches:  # before reading, so that nothing comes unnoticed
                for shard in shards:
                    watches.callback(self._session.watch(self._name, shard, changed.set))
                found = await self.read(limit)
                if found or self.trimmed:
                    return found
                if shards == set(self.positions):
                    await changed.wait()


def _sequence(record: Record) -> int:
    return record.sequence


class Start(NamedTuple):
    """Where to begin to read: a position in each shard."""

    positions: Mapping[int, Position]
    trimmed: bool = False
    """Whether retention has removed a shard that would have been read."""


def from_roots(stream: StreamInfo, place: Callable[[int], Position]) -> Start:
    """Begin in the shards from which all others are reached, since each follows its parents."""
    shards = stream.shards()
    there = {each.id for each in shards}
    return Start(
        {
            each.id: place(each.id)
            for each in shards
            if each.parent not in there and each.adjacent_parent not in there
        }
    )


def from_latest(stream: StreamInfo) -> Start:
    """Begin after everything that is there now."""
    return Start(
        {each.id: stream.latest(each.id) for each in stream.shards() if each.closed is None}
    )


def from_time(stream: StreamInfo, moment: int) -> Start:
    """Begin with what arrived at a moment, in milliseconds since the epoch, or later."""
    return Start(
        {
            each.id: stream.at_timestamp(each.id, moment)
            for each in stream.shards()
            if each.closed is None or each.closed >= moment
        }
    )


def from_cursor(stream: StreamInfo, positions: Mapping[int, Position]) -> Start:
    """Go on from a cursor. The children of a shard that is gone are read from their beginning."""
    shards = {each.id: each for each in stream.shards()}
    found = {shard: position for shard, position in positions.items() if shard in shards}
    gone = positions.keys() - found.keys()
    for each in shards.values():
        if each.parent in gone or each.adjacent_parent in gone:
            found.setdefault(each.id, Position(each.id, 0, inclusive=True))
    return Start(found, bool(gone))
