"""Reads a stream for a subscription: every record once, a shard's before its children's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import trio

from hubbub import (
    HubbubError,
    NotFoundError,
    Position,
    Session,
    ShardInfo,
    StreamInfo,
    TransportClosed,
)
from hubbub_gateway.problems import Problem

from .frames import Read
from .outbox import Outbox
from .protocol import Subscription

_RECORDS: Final = 100
"""Records that are read at a time."""


class Credit:
    """Records that may be sent before some are acknowledged; None: any number."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._used = 0
        self._more = trio.Event()

    def take(self, count: int) -> None:
        """Note that so many were sent."""
        self._used += count

    def give_back(self) -> None:
        """Note that one was acknowledged."""
        self._used -= 1
        self._more.set()

    def resize(self, limit: int) -> None:
        """Change the limit."""
        self.limit = limit
        self._more.set()

    @property
    def left(self) -> int:
        """How many may be sent now."""
        return _RECORDS if self.limit is None else self.limit - self._used

    async def wait(self) -> None:
        """Wait until there is some."""
        while self.left <= 0:
            if self._more.is_set():
                self._more = trio.Event()
            await self._more.wait()


class Reader:
    """Reads one stream for one subscription, until cancelled.

    Args:
        credit: bounds the records that are not acknowledged; see `Credit`.

    Raises:
        Problem: the request names a position that there is not.
        NotFoundError, DeniedError: the stream can't be read.
    """

    def __init__(
        self, bus: Session, request: Read, subscription: Subscription, outbox: Outbox,
        credit: Credit,
    ) -> None:  # fmt: skip
        self.credit = credit
        self._bus = bus
        self._name = request.stream
        self._subscription = subscription
        self._outbox = outbox
        self._scope = trio.CancelScope()
        self._only = request.shard is not None
        self._timestamp = request.timestamp
        self._waiting: dict[int, ShardInfo] = {}
        """Shards that begin when those they come from have been read to the end."""
        self._unfinished: set[int] = set()
        """Those, and the ones that are being read."""
        stream = bus.find_stream(self._name)
        if stream is None:
            raise NotFoundError("stream", self._name)
        self._positions = self._plan(stream, request)
        for position in self._positions:  # is refused now, if it is
            bus.watch(self._name, position.shard, _nothing)()

    def _plan(self, stream: StreamInfo, request: Read) -> list[Position]:
        """Choose where to begin; note the shards that come later."""
        shards = {shard.id: shard for shard in stream.shards()}
        if request.shard is not None:
            if request.shard not in shards:
                raise Problem("not-found", f"The stream has no shard {request.shard}.")
            shards = {request.shard: shards[request.shard]}
        after = _positions(request.after, shards)
        if request.start == "latest" or (
            request.start is None and request.timestamp is None and request.after is None
        ):
            positions = [stream.latest(each.id) for each in shards.values() if each.closed is None]
            self._unfinished = {each.shard for each in positions}
            return positions
        self._unfinished = set(shards)
        positions = []
        for shard in shards.values():
            if shard.id in after:
                positions.append(stream.after_sequence(shard.id, after[shard.id]))
            elif any(parent in shards for parent in _parents(shard)):
                self._waiting[shard.id] = shard
            else:
                positions.append(self._start(stream, shard.id))
        return positions

    def _start(self, stream: StreamInfo, shard: int) -> Position:
        if self._timestamp is not None:
            return stream.at_timestamp(shard, self._timestamp)
        return stream.oldest(shard)

    def cancel(self) -> None:
        """Read no more."""
        self._scope.cancel()

    async def run(self) -> str | None:
        """Send records as they come. Return why there will be no more; None if cancelled."""
        failed: list[str] = []
        with self._scope:
            async with trio.open_nursery() as nursery:
                for position in self._positions:
                    nursery.start_soon(self._run_shard, nursery, position, failed)
        if self._scope.cancelled_caught and not failed:
            return None
        return failed[0] if failed else "its shards are closed and read to the end"

    async def _run_shard(
        self, nursery: trio.Nursery, position: Position, failed: list[str]
    ) -> None:
        try:
            children = await self._read_shard(position)
        except TransportClosed:
            self._scope.cancel()  # the one who reads is told as well
            return
        except HubbubError as error:
            failed.append(str(error))
            self._scope.cancel()
            return
        self._unfinished.discard(position.shard)
        stream = self._bus.find_stream(self._name)
        if self._only or stream is None:
            return
        for child in [*children, *self._waiting.values()]:
            if child.id in self._unfinished and child.id not in self._waiting:
                continue  # it is being read
            if self._unfinished.intersection(_parents(child)):
                self._waiting[child.id] = child
                continue
            self._waiting.pop(child.id, None)
            self._unfinished.add(child.id)
            start = self._start(stream, child.id)
            nursery.start_soon(self._run_shard, nursery, start, failed)

    async def _read_shard(self, position: Position) -> Sequence[ShardInfo]:
        """Read to the end of a shard that is closed; return its children."""
        bus, credit = self._bus, self.credit
        while True:
            await credit.wait()
            changed = trio.Event()
            unwatch = bus.watch(self._name, position.shard, changed.set)
            try:
                found = await bus.read(
                    self._name, position, limit=min(_RECORDS, credit.left), skip_trimmed=True
                )
                if not found.spans and found.next is not None:
                    await changed.wait()
                    continue
            finally:
                unwatch()
            if records := found.records:
                credit.take(len(records))
                self._outbox.send_records(self._subscription, records, credit)
                await self._outbox.drain()
            if found.next is None:
                return found.children
            position = found.next


def _nothing() -> None:
    """Hear of no change."""


def _parents(shard: ShardInfo) -> Iterable[int]:
    return [each for each in (shard.parent, shard.adjacent_parent) if each is not None]


def _positions(after: dict[str, str] | None, shards: dict[int, ShardInfo]) -> dict[int, int]:
    """Read the positions that a client remembers; those of shards that are gone mean nothing."""
    positions: dict[int, int] = {}
    for shard, sequence in (after or {}).items():
        if not (shard.isascii() and shard.isdecimal()) or len(shard) > 10:
            raise Problem("bad-frame", f"`after`: {shard[:40]!r} is no number of a shard.")
        if int(shard) in shards:
            positions[int(shard)] = int(sequence)
    return positions
