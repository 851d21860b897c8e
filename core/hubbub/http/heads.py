"""The heads of answers as HTTP/1.1 writes them, and how their bodies are framed."""

import re
from collections.abc import Callable
from email.utils import formatdate
from enum import Enum
from typing import NamedTuple

from hubbub.http.messages import Response, reason_phrase
from hubbub.http.parser import RequestHead

__all__ = ["CommonHeaders", "Framing", "HeadWriter", "Rendered"]

_HEADER_LINES = re.compile(r"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t\x20-\x7e\x80-\xff]*\r\n)*")


_LOOKED_AT = frozenset({"connection", "content-length", "date", "server", "transfer-encoding"})


class Framing(Enum):
    """How the end of an answer's body is marked."""

    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


class Rendered(NamedTuple):
    """The head of an answer, ready to be sent."""

    head: bytes
    framing: Framing
    length: int
    """Bytes of the body, where that is how it is framed."""
    keep: bool
    """Whether the connection stays open."""


class CommonHeaders:
    """The headers that a server adds to every answer.

    Args:
        server: the Server header; empty for none.
        clock: the wall clock, in seconds since 1970.
    """

    def __init__(self, server: str, clock: Callable[[], float]) -> None:
        self.server = server
        self._clock = clock
        self._second = -1
        self._date = ""

    def date(self) -> str:
        """Return the value of Date: the same object for a whole second."""
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._date = formatdate(second, usegmt=True)
        return self._date


class HeadWriter:
    """Writes heads. One for a server: it remembers what they have in common.

    Args:
        common: the headers that the server adds.
    """

    def __init__(self, common: CommonHeaders) -> None:
        self._added = common
        self._date = ""
        self._common = self._date_line = ""
        self._server_line = f"Server: {common.server}\r\n" if common.server else ""
        self._status_lines: dict[int, str] = {}

    def render(self, response: Response, request: RequestHead | None, keep: bool) -> Rendered:
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
        lines = ""
        for name, value in response.headers:
            lines += f"{name}: {value}\r\n"
            lower = name.lower()
            if lower not in _LOOKED_AT:
                continue
            if lower == "content-length":
                length = value
            elif lower == "connection":
                persistence = False
                keep = keep and "close" not in value.lower()
            elif lower == "transfer-encoding":
                raise ValueError("Transfer-Encoding is set by the server alone")
            elif lower == "date":
                date = False
            else:
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
        if lines.count("\n") != len(response.headers) or not _HEADER_LINES.fullmatch(lines):
            raise ValueError(f"illegal response headers: {response.headers!r}")
        head = f"{self._status_line(status)}{added}{lines}\r\n".encode("latin-1")
        return Rendered(head, framing, int(length or 0), keep)

    def _status_line(self, status: int) -> str:
        line = self._status_lines.get(status)
        if line is None:
            if not 200 <= status <= 599:
                raise ValueError(f"no final HTTP status: {status}")
            line = self._status_lines[status] = f"HTTP/1.1 {status} {reason_phrase(status)}\r\n"
        return line

    def _common_lines(self, *, date: bool, server: bool) -> str:
        now = self._added.date()
        if now is not self._date:
            self._date = now
            self._date_line = f"Date: {now}\r\n"
            self._common = self._date_line + self._server_line
        if date and server:
            return self._common
        return (self._date_line if date else "") + (self._server_line if server else "")
