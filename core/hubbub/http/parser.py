"""What the HTTP/1.1 loop needs of a parser, and no more, so that one can take another's place.

Answers are written by the server itself: half of h11's cost for an exchange is checking what a
server sends, which the server here builds correctly in the first place.
"""

from dataclasses import dataclass
from typing import Protocol

__all__ = ["BadRequest", "RequestHead", "RequestParser"]


class BadRequest(Exception):  # noqa: N818  (the name of the answer it leads to)
    """The bytes are no acceptable request. Answer with `status` and close."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


@dataclass(slots=True)
class RequestHead:
    """A request line and its headers."""

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


class RequestParser(Protocol):
    """Turns bytes into requests: a head, its body, the next head."""

    body_done: bool
    """Whether the body of the current request has been read to its end."""

    @property
    def pending(self) -> int:
        """Bytes fed and not yet taken, of this request or those after it."""

    def feed(self, data: bytes) -> None:
        """Give more bytes."""

    def next_head(self) -> RequestHead | None:
        """Return the next request's head; None if more bytes are needed. The body must be done.

        Raises:
            BadRequest: the head is malformed, too large, or could be read in two ways.
        """

    def next_body(self) -> bytes | None:
        """Return the next part of the body, b"" at its end; None if more bytes are needed.

        Raises:
            BadRequest: the chunks are malformed.
        """

    def take_rest(self) -> bytes:
        """Take the bytes after the current request, for another protocol."""
