"""Reads a stream for a subscription, as fast as its client takes it."""

from __future__ import annotations

from typing import Final

import trio

from hubbub import HubbubError, NotFoundError, Session, TransportClosed
from hubbub_gateway.problems import Problem
from hubbub_gateway.records import Reader
from hubbub_gateway.starts import Start, cursor_start, named_start, time_start

from .frames import Read
from .outbox import Outbox
from .protocol import Subscription

_RECORDS: Final = 100
"""Records that are read at a time."""


class Credit:
    """Records that may be sent before some are acknowledged; `limit` None: any number."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
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
        self._limit = limit
        self._more.set()

    async def wait(self) -> int:
        """Wait until some may be sent; return how many to read."""
        if self._limit is None:
            return _RECORDS
        while self._used >= self._limit:
            self._more = trio.Event()
            await self._more.wait()
        return min(self._limit - self._used, _RECORDS)


class Records:
    """The records of one stream for one subscription; `run` sends them until cancelled."""

    def __init__(
        self, reader: Reader, subscription: Subscription, outbox: Outbox, credit: Credit
    ) -> None:
        self.credit = credit
        self._subscription = subscription
        self._outbox = outbox
        self._scope = trio.CancelScope()
        self._reader = reader

    def cancel(self) -> None:
        """Send no more."""
        self._scope.cancel()

    async def run(self) -> str | None:
        """Send records as they come. Return why there will be no more; None if cancelled."""
        reader, credit, outbox = self._reader, self.credit, self._outbox
        with self._scope:
            try:
                while True:
                    found = await reader.read_or_wait(await credit.wait())
                    credit.take(len(found))
                    outbox.send_records(self._subscription, found, credit)
                    await outbox.drain()
            except TransportClosed:
                return None  # the one who receives is told as well
            except HubbubError as error:
                return str(error)
        return None


async def reader_of(bus: Session, request: Read) -> Reader:
    """Return a reader of a stream that may be read, at the place that a request names.

    Raises:
        Problem: there is no such place.
        NotFoundError, DeniedError, StreamError.
    """
    reader = Reader(bus, request.stream, await _start(bus, request))
    await reader.check()
    return reader


async def _start(bus: Session, request: Read) -> Start:
    stream = bus.find_stream(request.stream)
    if stream is None:
        raise NotFoundError("stream", request.stream)
    given = [each for each in (request.start, request.next, request.since) if each is not None]
    if len(given) > 1:
        raise Problem("bad-frame", "Give one of `from`, `next` and `since`.")
    if request.next is not None:
        return cursor_start(request.next, "next")
    if request.since is not None:
        return await time_start(stream, str(request.since))
    return named_start(stream, request.start or "latest")
