"""HTTP/1.1 requests by h11, the strict default."""

import h11

from hubbub.http.parser import BadRequest, RequestHead

__all__ = ["H11Parser"]

_LINE_ENDS = (b"", b"\r", b"\n")


class H11Parser:
    """A `RequestParser` on h11.

    h11 parses heads and chunked bodies. A body of known length is cut out here, which saves two
    h11 events, a fourth of the cost of a small request. Each request takes a new h11 connection:
    that costs less than h11 following the answer.
    """

    def __init__(self, *, max_head_bytes: int, max_headers: int) -> None:
        self._max_head_bytes = max_head_bytes
        self._max_headers = max_headers
        self._connection = self._new_connection()
        self._head_bytes = 0  # given to h11 for the head that is being read
        self._buffer = b""  # what follows the head, or the whole request
        self._remaining = 0  # of a body of known length
        self._chunked = False
        self.body_done = True

    @property
    def pending(self) -> int:
        """Bytes fed and not yet taken."""
        if self._chunked:
            return len(self._connection.trailing_data[0])
        return self._head_bytes + len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Give more bytes."""
        if self._chunked:
            self._connection.receive_data(data)
        elif self._buffer:
            self._buffer += data
        else:
            self._buffer = data

    def next_head(self) -> RequestHead | None:
        """Return the next head, if it is complete. See `RequestParser`."""
        connection = self._connection
        buffer = self._buffer
        if not self._head_bytes:
            if buffer[:1] in _LINE_ENDS:  # empty lines before a request, or nothing at all
                buffer = buffer.lstrip(b"\r\n")
            if not buffer:
                self._buffer = b""
                return None
        if buffer:
            self._head_bytes += len(buffer)
            connection.receive_data(buffer)
            self._buffer = b""
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            raise BadRequest(str(error), error.error_status_hint) from error
        if event is h11.NEED_DATA:
            return None
        assert isinstance(event, h11.Request)
        return self._begin(event)

    def next_body(self) -> bytes | None:
        """Return the next part of the body. See `RequestParser`."""
        if self.body_done:
            return b""
        if self._chunked:
            return self._next_chunk()
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
        """Take the bytes after the current request."""
        rest, self._buffer = self._buffer, b""
        return rest

    def _begin(self, event: h11.Request) -> RequestHead:
        fields = event.headers.raw_items()
        if len(fields) > self._max_headers:
            raise BadRequest("too many headers", 431)
        if self._head_bytes > self._max_head_bytes:
            size = len(event.method) + len(event.target) + 12
            size += sum(len(name) + len(value) + 4 for name, value in fields)
            if size > self._max_head_bytes:
                raise BadRequest("headers too large", 431)
        version = event.http_version.decode("ascii")
        if version not in {"1.0", "1.1"}:
            raise BadRequest("unsupported HTTP version", 505)
        headers = [(name.lower(), value) for name, value in fields]
        by_name = dict(headers)
        keep_alive = version == "1.1"
        if b"connection" in by_name:
            options = _options(headers, b"connection")
            keep_alive = b"close" not in options and (keep_alive or b"keep-alive" in options)
        expects_continue = (
            b"expect" in by_name
            and version == "1.1"
            and b"100-continue" in _options(headers, b"expect")
        )
        # h11 has checked that all lengths agree, and left one.
        length = int(by_name[b"content-length"]) if b"content-length" in by_name else None
        chunked = b"transfer-encoding" in by_name
        if chunked:
            # A proxy that reads the other one sees other requests than we do (RFC 9112, 6.1).
            if length is not None:
                raise BadRequest("both Transfer-Encoding and Content-Length")
            if version != "1.1":
                raise BadRequest("Transfer-Encoding in HTTP/1.0")
            self._chunked = True
            self.body_done = False
        else:
            self._remaining = length = length or 0
            self.body_done = length == 0
            self._end_h11_request()
        self._head_bytes = 0
        return RequestHead(
            event.method.decode("ascii"),
            event.target.decode("latin-1"),
            version,
            headers,
            keep_alive,
            expects_continue,
            length,
        )

    def _next_chunk(self) -> bytes | None:
        try:
            event = self._connection.next_event()
        except h11.RemoteProtocolError as error:
            raise BadRequest(str(error), error.error_status_hint) from error
        if isinstance(event, h11.Data):
            return bytes(event.data)
        if isinstance(event, h11.EndOfMessage):
            self._chunked = False
            self.body_done = True
            self._end_h11_request()
            return b""
        return None

    def _end_h11_request(self) -> None:
        self._buffer = self._connection.trailing_data[0]
        self._connection = self._new_connection()

    def _new_connection(self) -> h11.Connection:
        return h11.Connection(h11.SERVER, max_incomplete_event_size=self._max_head_bytes)


def _options(headers: list[tuple[bytes, bytes]], wanted: bytes) -> set[bytes]:
    """Return the members of a comma-separated header, in lower case."""
    return {
        option.strip()
        for name, value in headers
        if name == wanted
        for option in value.lower().split(b",")
    }
