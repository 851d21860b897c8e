"""Reading HTTP/1.1 requests from bytes, without I/O: where heads and bodies end, what they mean.

A library splits a head into its fields: httptools, or h11 where that is chosen. Everything on which
the safety of a connection hangs is decided here, once for both: how long a request is, and that it
can be read in one way only. A proxy before us that reads it in another would see other requests
than we do (request smuggling), so what RFC 9112 lets a server repair is refused: folded lines, bare
CR or LF, lists of equal lengths, control bytes.

Answers are written by the server itself: half of h11's cost for an exchange is checking what a
server sends, which the server here builds correctly in the first place.

Source: RFC 9112, 2.2, 3, 5 and 6.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from hubbub.http.chunked import ChunkedDecoder, ChunkedError

__all__ = ["BadRequest", "RequestHead", "RequestParser", "SplitHead", "Splitter"]

_HEAD = re.compile(rb"(?:[\x21-\x7e\x80-\xff][\t\x20-\x7e\x80-\xff]*\r\n)+\r\n")
"""Lines that begin with what is visible, and have no control byte but tabs."""
_EMPTY_LINES = re.compile(rb"(?:\r\n)*")
_LENGTH = re.compile(rb"[0-9]{1,18}")


class BadRequest(Exception):  # noqa: N818  (the name of the answer it leads to)
    """The bytes are no acceptable request. Answer with `status` and close."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class SplitHead(NamedTuple):
    """A request line and its header fields."""

    method: str
    target: str
    version: str
    """ "1.0", "1.1" or what else the client says."""
    headers: list[tuple[bytes, bytes]]
    """Names in lower case."""


Splitter = Callable[[bytes], SplitHead]
"""Splits a head, which ends with an empty line. Raises `BadRequest` where it breaks the grammar."""


@dataclass(slots=True)
class RequestHead:
    """A request line and its headers, and what follows from them."""

    method: str
    target: str
    version: str
    """ "1.0", "1.1" or "2"."""
    headers: list[tuple[bytes, bytes]]
    """Names in lower case."""
    keep_alive: bool
    """Whether the client keeps the connection open for another request."""
    expects_continue: bool
    """Whether the client waits for "100 Continue" before it sends the body."""
    content_length: int | None
    """Bytes of the body; None if only its end will tell."""


class RequestParser:
    """Turns bytes into requests: a head, its body, the next head.

    Args:
        split: splits heads.
        max_head_bytes: of a request line with its headers, and of a chunked body's trailers.
        max_headers: of a request.
    """

    __slots__ = (
        "_buffer",
        "_chunks",
        "_max_head_bytes",
        "_max_headers",
        "_remaining",
        "_searched",
        "_split",
        "body_done",
    )

    def __init__(self, split: Splitter, *, max_head_bytes: int, max_headers: int) -> None:
        self.body_done = True
        """Whether the body of the current request has been read to its end."""
        self._split = split
        self._max_head_bytes = max_head_bytes
        self._max_headers = max_headers
        self._buffer = b""
        self._searched = 0  # so far there is no end of a head in the buffer
        self._remaining = 0  # of a body of known length
        self._chunks: ChunkedDecoder | None = None

    @property
    def pending(self) -> int:
        """Bytes fed and not yet taken, of this request or those after it."""
        return len(self._buffer) if self._chunks is None else self._chunks.pending

    def feed(self, data: bytes) -> None:
        """Give more bytes."""
        if self._chunks is not None:
            self._chunks.feed(data)
        elif self._buffer:
            self._buffer += data
        else:
            self._buffer = data

    def next_head(self) -> RequestHead | None:
        """Return the next request's head; None if more bytes are needed. The body must be done.

        Raises:
            BadRequest: the head is malformed, too large, or could be read in two ways.
        """
        buffer = self._buffer
        if buffer[:1] == b"\r":  # empty lines before a request (2.2)
            end = _EMPTY_LINES.match(buffer)
            assert end is not None
            self._buffer = buffer = buffer[end.end() :]
        end_of_head = buffer.find(b"\r\n\r\n", self._searched) + 4
        if end_of_head < 4:
            if buffer:
                self._check_begin(buffer)
            return None
        if end_of_head > self._max_head_bytes:
            raise BadRequest("headers too large", 431)
        if end_of_head == len(buffer):
            head, self._buffer = buffer, b""
        else:
            head, self._buffer = buffer[:end_of_head], buffer[end_of_head:]
        self._searched = 0
        if _HEAD.fullmatch(head) is None:
            raise BadRequest("a control byte, a folded line, or a line that ends without CR LF")
        return self._begin(self._split(head))

    def next_body(self) -> bytes | None:
        """Return the next part of the body, b"" at its end; None if more bytes are needed.

        Raises:
            BadRequest: the chunks are malformed.
        """
        if self.body_done:
            return b""
        if self._chunks is not None:
            return self._next_chunk(self._chunks)
        buffer = self._buffer
        if not buffer:
            return None
        if len(buffer) <= self._remaining:
            self._buffer = b""
            self._remaining -= len(buffer)
            self.body_done = not self._remaining
            return buffer
        part, self._buffer = buffer[: self._remaining], buffer[self._remaining :]
        self._remaining = 0
        self.body_done = True
        return part

    def take_rest(self) -> bytes:
        """Take the bytes after the current request, for another protocol."""
        rest, self._buffer = self._buffer, b""
        return rest

    def _check_begin(self, buffer: bytes) -> None:
        """Refuse what can't become a head any more: TLS, say, or one that is too large."""
        if buffer[0] < 0x21 and buffer != b"\r":
            raise BadRequest("illegal request line")
        if len(buffer) >= self._max_head_bytes:
            raise BadRequest("headers too large", 431)
        if b"\n\n" in buffer[self._searched :]:
            raise BadRequest("a line ends without CR LF")
        self._searched = max(0, len(buffer) - 3)

    def _begin(self, split: SplitHead) -> RequestHead:
        method, target, version, headers = split
        if version not in {"1.1", "1.0"}:
            raise BadRequest("unsupported HTTP version", 505)
        if len(headers) > self._max_headers:
            raise BadRequest("too many headers", 431)
        by_name = dict(headers)
        keep_alive = version == "1.1"
        if len(by_name) != len(headers):
            _refuse_repeated(headers)
        if keep_alive and b"host" not in by_name:
            raise BadRequest("no Host header")
        expects_continue = False
        if b"expect" in by_name and keep_alive:
            expects_continue = b"100-continue" in _options(headers, b"expect")
        if b"connection" in by_name:
            options = _options(headers, b"connection")
            keep_alive = b"close" not in options and (keep_alive or b"keep-alive" in options)
        length: int | None = 0
        if b"content-length" in by_name:
            if _LENGTH.fullmatch(by_name[b"content-length"]) is None:
                raise BadRequest("illegal Content-Length")
            length = self._remaining = int(by_name[b"content-length"])
            self.body_done = not length
        if b"transfer-encoding" in by_name:
            if by_name[b"transfer-encoding"].lower() != b"chunked":
                raise BadRequest("only chunked is supported as Transfer-Encoding", 501)
            if b"content-length" in by_name:
                raise BadRequest("both Transfer-Encoding and Content-Length")
            if version != "1.1":
                raise BadRequest("Transfer-Encoding in HTTP/1.0")
            length = None
            self._chunks = ChunkedDecoder(self._buffer, max_trailer_bytes=self._max_head_bytes)
            self._buffer = b""
            self.body_done = False
        return RequestHead(method, target, version, headers, keep_alive, expects_continue, length)

    def _next_chunk(self, chunks: ChunkedDecoder) -> bytes | None:
        try:
            part = chunks.next()
        except ChunkedError as error:
            raise BadRequest(str(error)) from error
        if part == b"":
            self._buffer = chunks.rest()
            self._chunks = None
            self.body_done = True
        return part


def _refuse_repeated(headers: list[tuple[bytes, bytes]]) -> None:
    """Refuse headers that decide where a request goes, or ends, if they come twice."""
    names = [name for name, _ in headers]
    for name in (b"host", b"content-length", b"transfer-encoding"):
        if names.count(name) > 1:
            raise BadRequest(f"more than one {name.decode().title()} header")


def _options(headers: list[tuple[bytes, bytes]], wanted: bytes) -> set[bytes]:
    """Return the members of a comma-separated header, in lower case."""
    return {
        option.strip()
        for name, value in headers
        if name == wanted
        for option in value.lower().split(b",")
    }
