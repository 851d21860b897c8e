"""Reading a whole stream, shard after shard, as it is split and merged: for queues and channels."""

from collections.abc import Callable, Sequence

import msgspec
import trio

from hubbub import Position, Record, ShardInfo, StreamInfo
from hubbub_kinesis.locating import Located
from hubbub_kinesis.reading import read


class Cursor(msgspec.Struct, omit_defaults=True):
    """How far a reader is in each shard.

    `positions` maps a shard to a sequence number, and whether that is still to be read. `finished`
    are closed shards that are read. A shard in neither is read from its beginning.
    """

    positions: dict[int, tuple[int, bool]] = {}
    finished: list[int] = []


async def begin(info: StreamInfo, kind: str, timestamp: int | None) -> Cursor:
    """Return where a reader begins: LATEST, TRIM_HORIZON or AT_TIMESTAMP (in milliseconds)."""
    cursor = Cursor()
    if kind == "TRIM_HORIZON":
        return cursor
    for shard in info.shards():
        if kind == "AT_TIMESTAMP":
            assert timestamp is not None
            _move(cursor, await info.at_timestamp(shard.id, timestamp))
        elif shard.closed is None:
            _move(cursor, info.latest(shard.id))
        else:
            cursor.finished.append(shard.id)
    return cursor


def _move(cursor: Cursor, position: Position) -> None:
    cursor.positions[position.shard] = (position.sequence, position.inclusive)


class Follower:
    """Reads a stream from a cursor on, and moves the cursor. A shard comes after its parents."""

    def __init__(self, stream: Located, cursor: Cursor, now: Callable[[], int]) -> None:
        self._stream = stream
        self.cursor = cursor
        self._now = now

    def _readable(self) -> list[ShardInfo]:
        shards = self._stream.info.shards()
        finished = self.cursor.finished
        known = {shard.id for shard in shards}
        if not known.issuperset(finished):  # retention has dropped some
            finished[:] = [shard for shard in finished if shard in known]
        unread = known.difference(finished)
        return [
            shard
            for shard in shards
            if shard.id in unread
            and shard.parent not in unread
            and shard.adjacent_parent not in unread
        ]

    async def read(
        self, limit: int, max_bytes: int, others: Sequence[trio.Event], seconds: float
    ) -> list[Record]:
        """Return the next records; the cursor is after them.

        Without any, wait until there may be some, or one of the other events happens, at most so
        long, and return none.

        Raises:
            NotFoundError, AwsError: the stream is gone.
        """
        woken = trio.Event()
        session, name = self._stream.session, self._stream.name
        shards = self._readable()
        ends = [session.watch(name, shard.id, woken.set) for shard in shards]
        try:
            records = await self._read(shards, limit, max_bytes)
            if not records:
                await first_of([woken, *others], seconds)
        finally:
            for end in ends:
                end()
        return records

    async def _read(self, shards: Sequence[ShardInfo], limit: int, max_bytes: int) -> list[Record]:
        records: list[Record] = []
        for shard in shards:
            before = self.cursor.positions.get(shard.id)
            position = (
                self._stream.info.oldest(shard.id)
                if before is None
                else Position(shard.id, *before)
            )
            found = await read(self._stream, position, self._now(), limit - len(records), max_bytes)
            records += found.records
            if found.next is None:
                self.cursor.positions.pop(shard.id, None)
                self.cursor.finished.append(shard.id)
            else:
                _move(self.cursor, found.next)
            if len(records) >= limit:
                break
        return records


async def first_of(events: Sequence[trio.Event], seconds: float) -> None:
    """Wait until one of the events has happened, at most so long."""
    with trio.move_on_after(max(0.0, seconds)):
        async with trio.open_nursery() as nursery:
            for event in events:
                nursery.start_soon(_cancel_after, event, nursery.cancel_scope)


async def _cancel_after(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
