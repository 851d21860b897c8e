"""Answers that never end by themselves: Server-Sent Events of topics and of streams."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

import msgspec
import trio

from hubbub import Batch, FilterSpec, HubbubError, Message, Response, Session, stream_address

from . import sse
from .call import Call
from .negotiation import choose
from .problems import problem_of
from .records import Reader
from .representation import from_message
from .starts import Start

if TYPE_CHECKING:
    from .gateway import Gateway

HEADERS: Final = (
    ("Content-Type", sse.MEDIA_TYPE),
    ("Cache-Control", "no-store, no-transform"),
    ("X-Accel-Buffering", "no"),  # nginx would hold events back
)
_CACHE_KEY: Final = "sse"
_RECORDS: Final = 100
"""Records of a stream that are read at a time."""


class Events:
    """The body of an answer: events, heart-beats between them, and an end when the hub stops.

    Whoever makes one calls `close`, unless it becomes the body of an answer.
    """

    def __init__(self, gateway: Gateway, session: Session) -> None:
        self._settings = gateway.settings.events
        self._stack = ExitStack()
        self.session = self._stack.enter_context(session)
        self._over = False
        self._begun = False
        self._waiting_scope = trio.CancelScope()
        shutdown = gateway.hub.shutdown
        shutdown.subscribe(self._stop)
        self._stack.callback(shutdown.unsubscribe, self._stop)

    def _stop(self) -> None:
        self._over = True
        self._waiting_scope.cancel()

    def close(self) -> None:
        """Give back all that it holds."""
        self._over = True
        self._stack.close()

    async def aclose(self) -> None:
        """Give back all that it holds, as the HTTP server asks for it."""
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        retry = sse.retry(round(self._settings.retry * 1000))
        if not self._begun:
            self._begun = True
            return retry
        if self._ends():
            raise StopAsyncIteration
        with trio.move_on_after(self._settings.heart_beat) as self._waiting_scope:
            await self._gather()
        events = self._take()
        if self._ends():
            return events + retry
        return events or sse.HEART_BEAT

    def _ends(self) -> bool:
        return self._over

    async def _gather(self) -> None:
        """Wait until there are events to be taken."""
        raise NotImplementedError

    def _take(self) -> bytes:
        """Take the events that are there."""
        raise NotImplementedError


class LiveEvents(Events):
    """What is published to patterns of topics, while somebody listens."""

    def __init__(self, gateway: Gateway, session: Session) -> None:
        super().__init__(gateway, session)
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._dropped = 0
        self._latest: Message | None = None
        """The first message of the latest batch."""
        self._repeated: set[int] = set()
        """The retained messages that were sent first."""
        self._woken = trio.Event()

    def subscribe(self, pattern: str, filter_: FilterSpec | None, *, retained: bool) -> None:
        """Listen to one more pattern; with `retained` its retained messages come first.

        Raises:
            AddressError, FilterError, DeniedError, RefusedError.
        """
        subscription = self.session.subscribe(pattern, self._deliver, filter=filter_)
        if not retained:
            return
        accepts = subscription.accepts
        for message in self.session.retained(pattern):
            if message.id not in self._repeated and (accepts is None or accepts(message)):
                self._repeated.add(message.id)
                self._waiting.append(_event(message))

    def _deliver(self, batch: Batch) -> None:
        """Take a batch; it is encoded once for all who listen."""
        messages = batch.messages
        if messages[0] is self._latest:  # it matches another of the patterns, too
            return
        self._latest = messages[0]
        events: bytes | None = batch.cache.get(_CACHE_KEY)
        if events is None:
            events = batch.cache[_CACHE_KEY] = b"".join(map(_event, messages))
        if self._size + len(events) > self._settings.max_waiting_bytes and self._waiting:
            self._dropped += len(messages)
            self.session.lost("slow subscriber", len(messages), messages[0].address)
            return
        self._waiting.append(events)
        self._size += len(events)
        self._woken.set()

    async def _gather(self) -> None:
        while not self._waiting:
            self._woken = trio.Event()
            await self._woken.wait()

    def _take(self) -> bytes:
        events = b"".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        if self._dropped:
            events += sse.event(b'{"count":%d}' % self._dropped, kind="dropped")
            self._dropped = 0
        return events


class StreamEvents(Events):
    """The records of a stream from a cursor on; each event has the cursor after it as its id."""

    def __init__(
        self, gateway: Gateway, session: Session, name: str, start: Start, *, expires: bool
    ) -> None:
        super().__init__(gateway, session)
        self._now = gateway.now
        self._expires = expires
        self._reader = Reader(self.session, name, start)
        self._gathered: list[bytes] = []

    async def check(self) -> None:
        """Find out whether the stream may be read.

        Raises:
            NotFoundError, DeniedError, StreamError.
        """
        await self._reader.check()

    async def _gather(self) -> None:
        if self._gathered:
            return
        try:
            records = await self._reader.read_or_wait(_RECORDS)
        except HubbubError as error:  # the stream was deleted, say
            self._over = True
            problem = msgspec.json.encode(problem_of(error).details())
            self._gathered.append(sse.event(problem, kind="problem"))
            return
        if self._reader.trimmed:
            self._gathered.append(sse.event(b"{}", kind="trimmed"))
        now = self._now()
        for each in records:
            expiry = each.message.expires_at
            if self._expires and expiry is not None and expiry <= now:
                continue
            data = msgspec.json.encode(each.describe())
            self._gathered.append(sse.event(data, id=each.cursor))

    def _take(self) -> bytes:
        events = b"".join(self._gathered)
        self._gathered.clear()
        return events


def _event(message: Message) -> bytes:
    return sse.event(msgspec.json.encode(from_message(message)))


def wants_events(call: Call) -> bool:
    """Tell whether a client would rather have events than anything else."""
    accept = call.request.headers.get("accept")
    return sse.MEDIA_TYPE in accept and choose(accept, (sse.MEDIA_TYPE, "*/*")) == sse.MEDIA_TYPE


def listen(
    call: Call, patterns: Sequence[str], filter_: FilterSpec | None, *, retained: bool
) -> Response:
    """Answer with what is published to patterns from now on, after what is `retained` if asked.

    Raises:
        AddressError, FilterError, DeniedError, RefusedError.
    """
    events = LiveEvents(call.gateway, call.connection_session())
    try:
        for pattern in patterns:
            events.subscribe(pattern, filter_, retained=retained)
    except BaseException:
        events.close()
        raise
    return Response(200, HEADERS, events)


async def follow(call: Call, name: str, start: Start, *, own: bool = False) -> Response:
    """Answer with the records of a stream.

    Args:
        call: the request.
        name: the stream.
        start: where to begin.
        own: whether it is the caller's subscription: no permission is needed, and what has expired
            is left out.

    Raises:
        NotFoundError, DeniedError, StreamError.
    """
    session = call.connection_session()
    events = StreamEvents(call.gateway, session, name, start, expires=own)
    try:
        if own:
            events.session.adopt(str(stream_address(name)))
        await events.check()
    except BaseException:
        events.close()
        raise
    return Response(200, HEADERS, events)
