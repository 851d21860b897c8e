"""The HTTP/1.1 server: one loop for every HTTP and WebSocket user of the process.

An application is an async function from a `Request` to a `Response`, or to an `Upgrade` that
hands the connection to another protocol. `HttpServer` is a handler for `hubbub.server.serve_tcp`.

The loop is made for small requests on kept-alive connections: no task and no cancel scope per
request, one write per answer, and the parser behind the narrow `RequestParser`.
"""

import contextlib
import re
import time
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from dataclasses import dataclass
from email.utils import formatdate
from enum import Enum
from http import HTTPStatus
from typing import NamedTuple

import trio
from pydantic import BaseModel, ConfigDict, Field

from hubbub.net.http_parser import BadRequest, H11Parser, RequestHead, RequestParser
from hubbub.net.shutdown import Shutdown
from hubbub.net.transport import Deadline, Transport, TransportClosed

__all__ = [
    "App",
    "BadRequest",
    "H11Parser",
    "Headers",
    "HttpError",
    "HttpServer",
    "HttpSettings",
    "HttpStats",
    "Request",
    "RequestHead",
    "RequestParser",
    "Response",
    "Upgrade",
]

KEEP_ALIVE = "keep alive"
HEAD = "head"
BODY = "body"

UNREAD_BODY_LIMIT = 256 * 1024
"""Bytes of a body nobody read that are thrown away to keep the connection."""
AHEAD_LIMIT = 64 * 1024
"""Bytes of further requests that are read while `Request.until_disconnect` watches."""
JOIN_LIMIT = 64 * 1024
"""Bytes up to which an answer's body is joined to its head."""
HIGH_WATER = 256 * 1024
"""Unsent bytes from which on the next answer waits."""
FAIRNESS = 16
"""Pipelined requests that are answered before the others have their turn."""

_HEADER_LINES = re.compile(r"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t\x20-\x7e\x80-\xff]*\r\n)*")


class HttpError(Exception):
    """An answer as an exception: raise it from an application to refuse a request."""

    def __init__(
        self, status: int, message: str = "", headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message or _reason(status)
        self.headers = list(headers)

    def response(self) -> "Response":
        """Return the answer: the message as plain text."""
        return Response(
            self.status,
            [("Content-Type", "text/plain; charset=utf-8"), *self.headers],
            f"{self.message}\n".encode(),
        )


class HttpSettings(BaseModel):
    """Limits and deadlines of an HTTP server."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_head_bytes: int = Field(
        default=32 * 1024, ge=256, description="Bytes of a request line with its headers."
    )
    max_headers: int = Field(default=128, ge=1, description="Headers of a request.")
    max_body_bytes: int = Field(
        default=16 * 1024 * 1024,
        ge=0,
        description="Bytes of a request body, unless the application sets its own limit.",
    )
    head_timeout: float = Field(
        default=10.0, gt=0, description="Seconds from a request's first byte to its last header."
    )
    body_timeout: float = Field(
        default=60.0, gt=0, description="Seconds in which a request body must have arrived."
    )
    keep_alive_timeout: float = Field(
        default=75.0, gt=0, description="Seconds a connection may wait for its next request."
    )
    linger: float = Field(
        default=2.0,
        ge=0,
        description="Seconds that a client which still sends when its request is refused gets to "
        "read the answer.",
    )
    server_header: str = Field(
        default="hubbub", description="The Server header of all answers; empty for none."
    )


@dataclass(slots=True, kw_only=True)
class HttpStats:
    """What an HTTP server has done. Plain integers, read by metrics."""

    requests: int = 0
    bad_requests: int = 0
    """Malformed or too large."""
    timeouts: int = 0
    """Requests that did not arrive in time."""
    crashes: int = 0
    """Requests answered with 500 because the application failed."""
    upgrades: int = 0


class Headers:
    """The headers of a request, by name without regard to case."""

    __slots__ = ("_first", "raw")

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self.raw = raw
        """Pairs of lower-case name and value, in the order received."""
        self._first: dict[bytes, bytes] | None = None

    def get(self, name: str, default: str = "") -> str:
        """Return the first header called `name`, or `default`."""
        if self._first is None:
            self._first = dict(reversed(self.raw))
        value = self._first.get(name.lower().encode("latin-1"))
        return default if value is None else value.decode("latin-1")

    def get_all(self, name: str) -> list[str]:
        """Return the values of all headers called `name`."""
        wanted = name.lower().encode("latin-1")
        return [value.decode("latin-1") for found, value in self.raw if found == wanted]

    def get_list(self, name: str) -> list[str]:
        """Return the members of a comma-separated list header (RFC 9110, 5.6.1)."""
        members = (member.strip() for value in self.get_all(name) for member in value.split(","))
        return [member for member in members if member]

    def __contains__(self, name: str) -> bool:
        if self._first is None:
            self._first = dict(reversed(self.raw))
        return name.lower().encode("latin-1") in self._first

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for name, value in self.raw:
            yield name.decode("latin-1"), value.decode("latin-1")

    def __len__(self) -> int:
        return len(self.raw)

    def __repr__(self) -> str:
        return f"Headers({list(self)})"


class Request:
    """One request. Its body is read on demand."""

    __slots__ = (
        "_body",
        "_connection",
        "_reading",
        "content_length",
        "headers",
        "http_version",
        "method",
        "path",
        "query",
        "target",
    )

    def __init__(self, head: RequestHead, connection: "_Connection") -> None:
        self.method = head.method
        self.target = target = head.target
        """The request target as received: "/a%20b?c=d", "http://host/a" or "*"."""
        self.headers = Headers(head.headers)
        self.http_version = head.version
        self.content_length = head.content_length
        """Bytes of the body; None if that is not known before it is read."""
        if not target.startswith("/") and "://" in target:  # RFC 9112, 3.2.2
            _, slash, rest = target.partition("://")[2].partition("/")
            target = slash + rest or "/"
        self.path, _, self.query = target.partition("?")
        """The path, still percent-encoded: an encoded "/" must not turn into a level."""
        self._connection = connection
        self._body: bytes | None = None
        self._reading = False

    @property
    def transport(self) -> Transport:
        """The connection: peer, TLS, client certificate. Not to be read or written."""
        return self._connection.transport

    @property
    def peer(self) -> str:
        """The client's address and port."""
        return self._connection.transport.peer

    @property
    def disconnected(self) -> bool:
        """Whether `until_disconnect` has seen the client go away."""
        return self._connection.disconnected

    @property
    def stopping(self) -> bool:
        """Whether the server is about to stop. A long poll should answer now."""
        return self._connection.stopping

    async def body(self, limit: int | None = None) -> bytes:
        """Read the whole body; it can be asked for again.

        Args:
            limit: bytes, instead of `HttpSettings.max_body_bytes`.

        Raises:
            HttpError: 413, the body is larger.
            BadRequest: the body is malformed. Leave it to the server to answer.
            TransportClosed: the client went away before the end.
        """
        if self._body is None:
            limit = self._begin_body(limit)
            receive = self._connection.receive_body
            parts: list[bytes] = []
            size = 0
            while part := await receive():
                size += len(part)
                if size > limit:
                    raise HttpError(413)
                parts.append(part)
            self._body = parts[0] if len(parts) == 1 else b"".join(parts)
        elif limit is not None and len(self._body) > limit:
            raise HttpError(413)
        return self._body

    async def stream(self, limit: int | None = None) -> AsyncIterator[bytes]:
        """Iterate over the body as it arrives. Once only; the errors are those of `body`."""
        limit = self._begin_body(limit)
        size = 0
        while part := await self._connection.receive_body():
            size += len(part)
            if size > limit:
                raise HttpError(413)
            yield part

    def _begin_body(self, limit: int | None) -> int:
        if self._reading:
            raise RuntimeError("the body has been read, or is being read")
        self._reading = True
        if limit is None:
            limit = self._connection.server.settings.max_body_bytes
        if self.content_length is not None and self.content_length > limit:
            raise HttpError(413)
        return limit

    @contextlib.asynccontextmanager
    async def until_disconnect(self) -> AsyncIterator[None]:
        """Cancel the block when the client goes away, or when the server is to stop.

        For long polls. The body must have been read. After the block, `disconnected` tells that
        nobody waits for the answer; `stopping` that it should be given now. A client that closes
        its sending side counts as gone. Pipelined requests that arrive meanwhile are kept.
        """
        with trio.CancelScope() as scope:
            async with self._connection.watching(scope, until_stop=True):
                yield


@dataclass(slots=True)
class Response:
    """An answer.

    `Content-Length` is set from a body of bytes. A body that is an async iterable is sent as it
    comes, with back-pressure: in chunks, or as it is if the headers have a `Content-Length`. It is
    cancelled and closed when the client goes away. `Date`, `Server` and `Connection` are added
    unless given.
    """

    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    body: bytes | AsyncIterable[bytes] = b""


@dataclass(slots=True)
class Upgrade:
    """An answer that hands the connection to another protocol.

    `head` is written as it is (a 101 answer); then `handler` gets the transport and the bytes that
    came after the request. It ends with the connection.
    """

    head: bytes
    handler: Callable[[Transport, bytes], Awaitable[None]]


App = Callable[[Request], Awaitable[Response | Upgrade]]


class Framing(Enum):
    """How the end of an answer's body is marked."""

    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


class _Rendered(NamedTuple):
    head: bytes
    framing: Framing
    length: int
    keep: bool


class HttpServer:
    """Serves HTTP on any transport. An instance is a handler for `serve_tcp`.

    Args:
        app: answers the requests.
        settings: limits and deadlines.
        shutdown: the stop to take part in: the requests in hand are answered with
            `Connection: close`, connections that wait for one are closed.
        stats: counters to use.
        on_error: gets an exception that `app` raised, and its request. The client gets a 500.
        clock: the wall clock, in seconds since 1970.
        new_parser: makes the parser of a connection.
    """

    def __init__(
        self,
        app: App,
        settings: HttpSettings | None = None,
        *,
        shutdown: Shutdown | None = None,
        stats: HttpStats | None = None,
        on_error: Callable[[BaseException, Request], None] | None = None,
        clock: Callable[[], float] = time.time,
        new_parser: Callable[[], RequestParser] | None = None,
    ) -> None:
        self.app = app
        self.settings = settings or HttpSettings()
        self.shutdown = shutdown or Shutdown()
        self.stats = stats or HttpStats()
        self.on_error = on_error
        self.new_parser = new_parser or self._new_h11_parser
        self._clock = clock
        self._common_second = -1
        self._common = self._date_line = self._server_line = ""
        self._status_lines: dict[int, str] = {}

    async def __call__(self, transport: Transport) -> None:
        """Serve one connection until it ends."""
        await _Connection(self, transport).run()

    def render(self, response: Response, request: RequestHead | None, keep: bool) -> "_Rendered":
        """Write the head of an answer and decide how its body is framed (RFC 9112, 6).

        Args:
            response: the answer.
            request: what it answers; None if that could not be read.
            keep: whether the connection is to stay open.

        Raises:
            ValueError: the answer would break the message.
        """
        status, body = response.status, response.body
        length: str | None = None
        persistence = date = server = True
        for name, value in response.headers:
            match name.lower():
                case "content-length":
                    length = value
                case "connection":
                    persistence = False
                    keep = keep and "close" not in value.lower()
                case "transfer-encoding":
                    raise ValueError("Transfer-Encoding is set by the server alone")
                case "date":
                    date = False
                case "server":
                    server = False
        added = self._common_lines(date=date, server=server)
        framing = Framing.LENGTH
        if status in {204, 304}:
            if body:
                raise ValueError(f"an answer with status {status} has no body")
        elif isinstance(body, bytes):
            if length is None:
                added += f"Content-Length: {len(body)}\r\n"
            elif length != str(len(body)) and (request is None or request.method != "HEAD"):
                raise ValueError(f"Content-Length is {length}, but the body has {len(body)} bytes")
        elif length is None:
            if request is not None and request.version == "1.1":
                framing = Framing.CHUNKED
                added += "Transfer-Encoding: chunked\r\n"
            else:
                framing = Framing.CLOSE
                keep = False
        elif not (length.isascii() and length.isdecimal()):
            raise ValueError(f"illegal Content-Length {length!r}")
        if persistence:
            if not keep:
                added += "Connection: close\r\n"
            elif request is not None and request.version == "1.0":
                added += "Connection: keep-alive\r\n"
        lines = "".join([f"{name}: {value}\r\n" for name, value in response.headers])
        if lines.count("\n") != len(response.headers) or not _HEADER_LINES.fullmatch(lines):
            raise ValueError(f"illegal response headers: {response.headers!r}")
        head = f"{self._status_line(status)}{added}{lines}\r\n".encode("latin-1")
        return _Rendered(head, framing, int(length or 0), keep)

    def _status_line(self, status: int) -> str:
        line = self._status_lines.get(status)
        if line is None:
            if not 200 <= status <= 599:
                raise ValueError(f"no final HTTP status: {status}")
            line = self._status_lines[status] = f"HTTP/1.1 {status} {_reason(status)}\r\n"
        return line

    def _common_lines(self, *, date: bool, server: bool) -> str:
        second = int(self._clock())
        if second != self._common_second:
            self._common_second = second
            name = self.settings.server_header
            self._date_line = f"Date: {formatdate(second, usegmt=True)}\r\n"
            self._server_line = f"Server: {name}\r\n" if name else ""
            self._common = self._date_line + self._server_line
        if date and server:
            return self._common
        return (self._date_line if date else "") + (self._server_line if server else "")

    def _new_h11_parser(self) -> RequestParser:
        return H11Parser(
            max_head_bytes=self.settings.max_head_bytes, max_headers=self.settings.max_headers
        )


class _Connection:
    """The loop of one connection."""

    __slots__ = (
        "_answered",
        "_body_seconds",
        "_continue_wanted",
        "_deadline",
        "_linger",
        "_parser",
        "_watched",
        "disconnected",
        "server",
        "stopping",
        "transport",
    )

    def __init__(self, server: HttpServer, transport: Transport) -> None:
        self.server = server
        self.transport = transport
        self.disconnected = False
        self.stopping = False
        self._parser = server.new_parser()
        self._deadline = Deadline()
        self._answered = False  # the current request: its answer has begun
        self._body_seconds = 0.0  # left for the current request's body
        self._continue_wanted = False
        self._linger = 0.0
        self._watched: trio.CancelScope | None = None

    async def run(self) -> None:
        server = self.server
        upgrade: Upgrade | None = None
        server.shutdown.subscribe(self._stop)
        try:
            with self._deadline:
                upgrade = await self._serve()
        except BadRequest as error:
            server.stats.bad_requests += 1
            self._refuse(HttpError(error.status, error.message))
        finally:
            server.shutdown.unsubscribe(self._stop)
        if self._deadline.expired and self._deadline.phase != KEEP_ALIVE:
            server.stats.timeouts += 1
            self._refuse(HttpError(408))
        if upgrade is None:
            await self.transport.aclose(linger=self._linger)
        else:
            server.stats.upgrades += 1
            self.transport.write(upgrade.head)
            await upgrade.handler(self.transport, self._parser.take_rest())

    async def _serve(self) -> Upgrade | None:
        server = self.server
        parser = self._parser
        transport = self.transport
        self._deadline.start(server.settings.head_timeout, KEEP_ALIVE)
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
            server.stats.requests += 1
            self._continue_wanted = head.expects_continue
            self._body_seconds = server.settings.body_timeout
            request = Request(head, self)
            answer = await self._ask(request)
            if isinstance(answer, Upgrade):
                if parser.body_done:
                    return answer
                error = RuntimeError("an upgrade before the body has been read")
                answer = self._crashed(error, request)
            if not await self._answer(request, head, answer):
                return None
            if transport.buffered > HIGH_WATER:
                await transport.drain()
            in_a_row += 1
            if in_a_row >= FAIRNESS:
                in_a_row = 0
                await trio.lowlevel.checkpoint()

    async def _receive_head(self) -> bool:
        """Feed the parser; False when no request is to come."""
        deadline, settings = self._deadline, self.server.settings
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
        watch_scope = trio.CancelScope()
        ended = trio.Event()

        async def watch() -> None:
            try:
                with watch_scope:
                    await self._read_ahead()
                    self.disconnected = True
                    scope.cancel()
            finally:
                ended.set()

        if until_stop:
            self._watched = scope
            if self.stopping:
                scope.cancel()
        if not self.transport.flusher.spawn(watch):
            raise TransportClosed("flusher stopped")
        try:
            yield
        finally:
            self._watched = None
            watch_scope.cancel()
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

    async def _ask(self, request: Request) -> Response | Upgrade:
        try:
            return await self.server.app(request)
        except HttpError as error:
            return error.response()
        except (BadRequest, TransportClosed):
            raise
        except Exception as error:
            return self._crashed(error, request)

    def _crashed(self, error: BaseException, request: Request) -> Response:
        self.server.stats.crashes += 1
        if self.server.on_error is not None:
            self.server.on_error(error, request)
        return HttpError(500).response()

    async def _answer(self, request: Request, head: RequestHead, response: Response) -> bool:
        """Send an answer; whether the connection can take another request."""
        keep = head.keep_alive and not self.stopping and self._can_discard_body(head)
        try:
            rendered = self.server.render(response, head, keep)
        except ValueError as error:
            response = self._crashed(error, request)
            rendered = self.server.render(response, head, keep)
        self._answered = True
        body = response.body
        if isinstance(body, bytes):
            await self._send(rendered.head, b"" if head.method == "HEAD" else body)
        elif head.method == "HEAD":
            await self._send(rendered.head, b"")
            await _aclose(body)
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
        self, request: Request, rendered: _Rendered, body: AsyncIterable[bytes]
    ) -> bool:
        """Send a body as it comes; False if it could not be completed."""
        self.transport.write(rendered.head)
        try:
            with trio.CancelScope() as scope:
                async with contextlib.AsyncExitStack() as stack:
                    if self._parser.body_done:
                        await stack.enter_async_context(self.watching(scope, until_stop=False))
                    stack.push_async_callback(_aclose, body)
                    await self._send_parts(rendered, body)
        except (BadRequest, TransportClosed):
            raise
        except Exception as error:
            self._crashed(error, request)
            self.transport.abort("answer failed")  # the client must not take it for complete
            return False
        return not scope.cancelled_caught

    async def _send_parts(self, rendered: _Rendered, body: AsyncIterable[bytes]) -> None:
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
            self._linger = self.server.settings.linger
        return keep

    def _refuse(self, error: HttpError) -> None:
        """Answer a request that could not be read, unless its answer has begun."""
        self._linger = self.server.settings.linger
        if not self._answered:
            response = error.response()
            rendered = self.server.render(response, None, keep=False)
            assert isinstance(response.body, bytes)
            self.transport.write(rendered.head + response.body)

    def _stop(self) -> None:
        self.stopping = True
        if self._deadline.phase == KEEP_ALIVE:
            self._deadline.expire()
        if self._watched is not None:
            self._watched.cancel()


async def _aclose(body: AsyncIterable[bytes]) -> None:
    """Close a body that is a generator, so that its `finally` blocks run now."""
    aclose = getattr(body, "aclose", None)
    if aclose is not None:
        await aclose()


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
