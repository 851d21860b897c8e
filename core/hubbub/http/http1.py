"""HTTP/1.1 on one connection.

The loop is made for small requests on kept-alive connections: no task and no cancel scope per
request, one write per answer, and the parser behind the narrow `RequestParser`.

Source: RFC 9112.
"""

import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable

import trio

from hubbub.http.heads import Framing, HeadWriter, Rendered
from hubbub.http.http2_frames import PREFACE
from hubbub.http.messages import HttpError, Request, Response, Upgrade, close_body
from hubbub.http.parser import BadRequest, RequestHead, RequestParser
from hubbub.http.service import UNREAD_BODY_LIMIT, Service
from hubbub.net.deadline import Deadline
from hubbub.net.transport import Transport, TransportClosed

__all__ = ["Http1Connection"]

KEEP_ALIVE = "keep alive"
HEAD = "head"
BODY = "body"

AHEAD_LIMIT = 64 * 1024
"""Bytes of further requests that are read while `Request.until_disconnect` watches."""
JOIN_LIMIT = 64 * 1024
"""Bytes up to which an answer's body is joined to its head."""
HIGH_WATER = 256 * 1024
"""Unsent bytes from which on the next answer waits."""
FAIRNESS = 16
"""Pipelined requests that are answered before the others have their turn."""


class Http1Connection:
    """The loop of one connection; the `Exchange` of each of its requests.

    Args:
        service: answers the requests.
        heads: writes the heads of answers.
        parser: a new one.
        transport: the connection.
        http2: takes over where the client begins with HTTP/2; None if that is not spoken.
    """

    __slots__ = (
        "_answered",
        "_body_seconds",
        "_continue_wanted",
        "_deadline",
        "_heads",
        "_http2",
        "_linger",
        "_parser",
        "_service",
        "_watched",
        "disconnected",
        "stopping",
        "transport",
    )

    def __init__(
        self,
        service: Service,
        heads: HeadWriter,
        parser: RequestParser,
        transport: Transport,
        http2: Callable[[Transport, bytes], Awaitable[None]] | None,
    ) -> None:
        self.transport = transport
        self.disconnected = False
        self.stopping = False
        self._service = service
        self._heads = heads
        self._http2 = http2
        self._parser = parser
        self._deadline = Deadline()
        self._answered = False  # the current request: its answer has begun
        self._body_seconds = 0.0  # left for the current request's body
        self._continue_wanted = False
        self._linger = 0.0
        self._watched: dict[trio.CancelScope, bool] = {}  # whether a stop cancels it too

    @property
    def max_body_bytes(self) -> int:
        """The limit of bodies whose application sets none."""
        return self._service.settings.max_body_bytes

    async def run(self) -> None:
        """Serve until the connection ends."""
        service = self._service
        upgrade: Upgrade | None = None
        service.shutdown.subscribe(self._stop)
        try:
            with self._deadline:
                upgrade = await self._serve()
        except BadRequest as error:
            service.stats.bad_requests += 1
            self._refuse(HttpError(error.status, error.message))
        finally:
            service.shutdown.unsubscribe(self._stop)
        if self._deadline.expired and self._deadline.phase != KEEP_ALIVE:
            service.stats.timeouts += 1
            self._refuse(HttpError(408))
        if upgrade is None:
            await self.transport.aclose(linger=self._linger)
        else:
            self.transport.write(upgrade.head)
            await upgrade.handler(self.transport, self._parser.take_rest())

    async def _serve(self) -> Upgrade | None:
        service = self._service
        parser = self._parser
        transport = self.transport
        self._deadline.start(service.settings.head_timeout, KEEP_ALIVE)
        if self._http2 is not None and await self._is_http2():
            return Upgrade(b"", self._http2)
        in_a_row = 0
        while True:
            head = parser.next_head()
            if head is None:
                if not await self._receive_head():
                    return None
                in_a_row = 0
                continue
            if self._deadline.phase:
                self._deadline.stop()
            service.stats.requests += 1
            self._continue_wanted = head.expects_continue
            self._body_seconds = service.settings.body_timeout
            request = Request(head, self)
            answer = await service.ask(request)
            if isinstance(answer, Upgrade):
                if parser.body_done:
                    service.stats.upgrades += 1
                    return answer
                error = RuntimeError("an upgrade before the body has been read")
                answer = service.crashed(error, request)
            if not await self._answer(request, head, answer):
                return None
            if transport.buffered > HIGH_WATER:
                await transport.drain()
            in_a_row += 1
            if in_a_row >= FAIRNESS:
                in_a_row = 0
                await trio.lowlevel.checkpoint()

    async def _is_http2(self) -> bool:
        """Feed the parser with the first bytes, unless they begin HTTP/2 (RFC 9113, 3.3)."""
        received = b""
        while len(received) < len(PREFACE) and PREFACE.startswith(received):
            data = await self.transport.receive()
            if not data:
                break
            received += data
            self._deadline.phase = HEAD
        self._parser.feed(received)
        return received.startswith(PREFACE)

    async def _receive_head(self) -> bool:
        """Feed the parser; False when no request is to come."""
        deadline, settings = self._deadline, self._service.settings
        if self._parser.pending:
            if deadline.phase != HEAD:
                deadline.start(settings.head_timeout, HEAD)
        elif self.stopping:
            return False
        elif not deadline.phase:
            deadline.start(settings.keep_alive_timeout, KEEP_ALIVE)
        data = await self.transport.receive()
        if data:
            self._parser.feed(data)
        return bool(data)

    async def receive_body(self) -> bytes:
        """Return the next part of the current request's body; b"" at its end."""
        parser = self._parser
        while (part := parser.next_body()) is None:
            if self._continue_wanted:
                self._continue_wanted = False
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            # The time that the application takes between two parts must not count.
            begin = trio.current_time()
            self._deadline.start(self._body_seconds, BODY)
            data = await self.transport.receive()
            self._deadline.stop()
            self._body_seconds -= trio.current_time() - begin
            if not data:
                raise TransportClosed("closed in the middle of a request")
            parser.feed(data)
        self._continue_wanted = False
        return part

    @contextlib.asynccontextmanager
    async def watching(self, scope: trio.CancelScope, *, until_stop: bool) -> AsyncIterator[None]:
        """Cancel `scope` when the client goes away; see `Request.until_disconnect`."""
        if not self._parser.body_done:
            raise RuntimeError("read the body before you wait for the client to go away")
        if self.disconnected or (until_stop and self.stopping):
            scope.cancel()
        if self._watched:  # a streamed answer is being watched: its own wait needs no reader
            self._watched[scope] = until_stop
            try:
                yield
            finally:
                del self._watched[scope]
            return
        reading = trio.CancelScope()
        ended = trio.Event()

        async def watch() -> None:
            try:
                with reading:
                    await self._read_ahead()
                    self.disconnected = True
                    for watched in self._watched:
                        watched.cancel()
            finally:
                ended.set()

        if not self.transport.flusher.spawn(watch):
            raise TransportClosed("flusher stopped")
        self._watched[scope] = until_stop
        try:
            yield
        finally:
            del self._watched[scope]
            reading.cancel()
            with trio.CancelScope(shield=True):
                await ended.wait()

    async def _read_ahead(self) -> None:
        """Read pipelined requests; return when the client is gone."""
        try:
            while self._parser.pending < AHEAD_LIMIT:
                data = await self.transport.receive()
                if not data:
                    return
                self._parser.feed(data)
        except TransportClosed:
            return
        await trio.sleep_forever()

    async def _answer(self, request: Request, head: RequestHead, response: Response) -> bool:
        """Send an answer; whether the connection can take another request."""
        keep = head.keep_alive and not self.stopping and self._can_discard_body(head)
        try:
            rendered = self._heads.render(response, head, keep)
        except ValueError as error:
            response = self._service.crashed(error, request)
            rendered = self._heads.render(response, head, keep)
        self._answered = True
        body = response.body
        if isinstance(body, bytes):
            await self._send(rendered.head, b"" if head.method == "HEAD" else body)
        elif head.method == "HEAD":
            await self._send(rendered.head, b"")
            await close_body(body)
        elif not await self._send_stream(request, rendered, body):
            return False
        keep = rendered.keep
        if not self._parser.body_done:
            keep = await self._discard_body(keep)
        self._answered = False
        return keep

    async def _send(self, head: bytes, body: bytes) -> None:
        if len(body) <= JOIN_LIMIT:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            await self.transport.send_all(body)

    async def _send_stream(
        self, request: Request, rendered: Rendered, body: AsyncIterable[bytes]
    ) -> bool:
        """Send a body as it comes; False if it could not be completed."""
        self.transport.write(rendered.head)
        try:
            with trio.CancelScope() as scope:
                async with contextlib.AsyncExitStack() as stack:
                    if self._parser.body_done:
                        await stack.enter_async_context(self.watching(scope, until_stop=False))
                    stack.push_async_callback(close_body, body)
                    await self._send_parts(rendered, body)
        except (BadRequest, TransportClosed):
            raise
        except Exception as error:
            self._service.crashed(error, request)
            self.transport.abort("answer failed")  # the client must not take it for complete
            return False
        return not scope.cancelled_caught

    async def _send_parts(self, rendered: Rendered, body: AsyncIterable[bytes]) -> None:
        transport = self.transport
        left = rendered.length
        chunked = rendered.framing is Framing.CHUNKED
        async for part in body:
            await trio.lowlevel.checkpoint()  # the iterable may never wait for anything
            if not part:
                continue
            if chunked:
                transport.write(b"%x\r\n" % len(part))
                await transport.send_all(part)
                transport.write(b"\r\n")
            else:
                left -= len(part)
                if left < 0 and rendered.framing is Framing.LENGTH:
                    raise ValueError("the body is longer than its Content-Length")
                await transport.send_all(part)
        if chunked:
            transport.write(b"0\r\n\r\n")
        elif left > 0:
            raise ValueError("the body is shorter than its Content-Length")

    def _can_discard_body(self, head: RequestHead) -> bool:
        """Whether a body that nobody has read is worth reading to keep the connection."""
        if self._parser.body_done:
            return True
        return not self._continue_wanted and (head.content_length or 0) <= UNREAD_BODY_LIMIT

    async def _discard_body(self, keep: bool) -> bool:
        size = 0
        while keep and (part := await self.receive_body()):
            size += len(part)
            keep = size <= UNREAD_BODY_LIMIT
        if not keep:
            self._linger = self._service.settings.linger
        return keep

    def _refuse(self, error: HttpError) -> None:
        """Answer a request that could not be read, unless its answer has begun."""
        self._linger = self._service.settings.linger
        if not self._answered:
            response = self._service.render_error(error)
            rendered = self._heads.render(response, None, keep=False)
            assert isinstance(response.body, bytes)
            self.transport.write(rendered.head + response.body)

    def _stop(self) -> None:
        self.stopping = True
        if self._deadline.phase == KEEP_ALIVE:
            self._deadline.expire()
        for scope, until_stop in self._watched.items():
            if until_stop:
                scope.cancel()
