"""Requests and answers, as applications see them, whatever version of HTTP carries them."""

import contextlib
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
from http import HTTPStatus
from typing import Protocol

import trio

from hubbub.http.parser import RequestHead
from hubbub.net.transport import Transport

__all__ = [
    "App",
    "Exchange",
    "Headers",
    "HttpError",
    "Request",
    "Response",
    "Upgrade",
    "close_body",
    "reason_phrase",
]


class HttpError(Exception):
    """An answer as an exception: raise it from an application to refuse a request."""

    def __init__(
        self, status: int, message: str = "", headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message or reason_phrase(status)
        self.headers = list(headers)

    def response(self) -> "Response":
        """Return the answer: the message as plain text."""
        return Response(
            self.status,
            [("Content-Type", "text/plain; charset=utf-8"), *self.headers],
            f"{self.message}\n".encode(),
        )


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


class Exchange(Protocol):
    """What a `Request` needs of the connection or stream that it came by."""

    disconnected: bool
    """Whether the client is known to be gone."""

    @property
    def transport(self) -> Transport:
        """The connection."""

    @property
    def stopping(self) -> bool:
        """Whether the server is about to stop."""

    @property
    def max_body_bytes(self) -> int:
        """The limit of bodies whose application sets none."""

    async def receive_body(self) -> bytes:
        """Return the next part of the request's body; b"" at its end.

        Raises:
            BadRequest: the body is malformed.
            TransportClosed: the client went away before the end.
        """

    def watching(
        self, scope: trio.CancelScope, *, until_stop: bool
    ) -> contextlib.AbstractAsyncContextManager[None]:
        """Cancel `scope` when the client goes away; see `Request.until_disconnect`."""


class Request:
    """One request. Its body is read on demand."""

    __slots__ = (
        "_body",
        "_exchange",
        "_reading",
        "content_length",
        "headers",
        "http_version",
        "method",
        "path",
        "query",
        "target",
    )

    def __init__(self, head: RequestHead, exchange: Exchange) -> None:
        self.method = head.method
        self.target = target = head.target
        """The request target as received: "/a%20b?c=d", "http://host/a" or "*"."""
        self.headers = Headers(head.headers)
        self.http_version = head.version
        """ "1.0", "1.1" or "2"."""
        self.content_length = head.content_length
        """Bytes of the body; None if that is not known before it is read."""
        if not target.startswith("/") and "://" in target:  # RFC 9112, 3.2.2
            _, slash, rest = target.partition("://")[2].partition("/")
            target = slash + rest or "/"
        self.path, _, self.query = target.partition("?")
        """The path, still percent-encoded: an encoded "/" must not turn into a level."""
        self._exchange = exchange
        self._body: bytes | None = None
        self._reading = False

    @property
    def transport(self) -> Transport:
        """The connection: peer, TLS, client certificate. Not to be read or written."""
        return self._exchange.transport

    @property
    def peer(self) -> str:
        """The client's address and port."""
        return self._exchange.transport.peer

    @property
    def disconnected(self) -> bool:
        """Whether the client is known to be gone; `until_disconnect` looks for it."""
        return self._exchange.disconnected

    @property
    def stopping(self) -> bool:
        """Whether the server is about to stop. A long poll should answer now."""
        return self._exchange.stopping

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
            receive = self._exchange.receive_body
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
        while part := await self._exchange.receive_body():
            size += len(part)
            if size > limit:
                raise HttpError(413)
            yield part

    def _begin_body(self, limit: int | None) -> int:
        if self._reading:
            raise RuntimeError("the body has been read, or is being read")
        self._reading = True
        if limit is None:
            limit = self._exchange.max_body_bytes
        if self.content_length is not None and self.content_length > limit:
            raise HttpError(413)
        return limit

    @contextlib.asynccontextmanager
    async def until_disconnect(self) -> AsyncIterator[None]:
        """Cancel the block when the client goes away, or when the server is to stop.

        For long polls, and for what a streamed body waits for. The body must have been read. After
        the block, `disconnected` tells that nobody waits for the answer; `stopping` that it should
        be given now. A client that closes its sending side counts as gone. Pipelined requests that
        arrive meanwhile are kept. Never `yield` inside the block.
        """
        with trio.CancelScope() as scope:
            async with self._exchange.watching(scope, until_stop=True):
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


async def close_body(body: AsyncIterable[bytes]) -> None:
    """Close a body that is a generator, so that its `finally` blocks run now."""
    aclose = getattr(body, "aclose", None)
    if aclose is not None:
        await aclose()


def reason_phrase(status: int) -> str:
    """Return the standard name of a status, "Unknown" if it has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
