"""Chunked bodies, without I/O; as strict with line ends as heads are.

h11 takes a bare CR in a chunk's extension and bare LFs in trailers, by which somebody before us
could read another request than we do.

Source: RFC 9112, 7.1.
"""

import re

__all__ = ["ChunkedDecoder", "ChunkedError"]

MAX_LINE = 1024
"""Bytes of the line before a chunk: its size, and extensions that nobody reads."""

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")


class ChunkedError(Exception):
    """The bytes are no chunked body."""


class ChunkedDecoder:
    """Takes a chunked body apart; extensions and trailers are checked and thrown away.

    Args:
        data: the bytes after the head.
        max_trailer_bytes: of all trailers together.
    """

    __slots__ = ("_buffer", "_ended", "_left", "_max_trailer_bytes", "_trailer_bytes")

    def __init__(self, data: bytes, *, max_trailer_bytes: int) -> None:
        self._buffer = bytearray(data)
        self._left = 0  # of the current chunk, with the CR LF after it
        self._ended = False  # the last chunk has come, trailers follow
        self._max_trailer_bytes = max_trailer_bytes
        self._trailer_bytes = 0

    @property
    def pending(self) -> int:
        """Bytes fed and not yet taken."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Give more bytes."""
        self._buffer += data

    def next(self) -> bytes | None:
        """Return the next part of the body, b"" at its end; None if more bytes are needed.

        Raises:
            ChunkedError: the bytes are malformed.
        """
        buffer = self._buffer
        while not self._ended:
            if self._left > 2:
                part = bytes(buffer[: self._left - 2])
                if not part:
                    return None
                del buffer[: len(part)]
                self._left -= len(part)
                return part
            if self._left:
                end = bytes(buffer[:2])
                if not b"\r\n".startswith(end):
                    raise ChunkedError("a chunk is longer than its size")
                if len(end) < 2:
                    return None
                del buffer[:2]
                self._left = 0
            line = self._take_line(MAX_LINE)
            if line is None:
                return None
            match = _SIZE_LINE.fullmatch(line)
            if match is None:
                raise ChunkedError("illegal chunk size")
            size = int(match[1], 16)
            self._ended = not size
            self._left = size + 2 if size else 0
        while True:
            line = self._take_line(self._max_trailer_bytes - self._trailer_bytes)
            if line is None:
                return None
            if not line:
                return b""
            self._trailer_bytes += len(line) + 2
            if _TRAILER.fullmatch(line) is None:
                raise ChunkedError("illegal trailer")

    def rest(self) -> bytes:
        """Return the bytes after the body."""
        return bytes(self._buffer)

    def _take_line(self, limit: int) -> bytes | None:
        """Take a line without its end."""
        end = self._buffer.find(b"\n", 0, limit + 2)
        if end < 0:
            if len(self._buffer) > limit + 1:
                raise ChunkedError("a line is too long")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        if not line.endswith(b"\r"):
            raise ChunkedError("a line ends without CR LF")
        return line[:-1]
