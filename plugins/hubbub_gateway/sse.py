"""Server-Sent Events (HTML standard, 9.2), in bytes. Knows no hub and no socket."""

from __future__ import annotations

from typing import Final

MEDIA_TYPE: Final = "text/event-stream"
HEART_BEAT: Final = b":\n\n"
"""A comment: keeps the connection alive and means nothing."""


def event(data: bytes, *, kind: str | None = None, id: str | None = None) -> bytes:  # noqa: A002
    """Write an event.

    Args:
        data: one line, such as JSON.
        kind: its name; None: "message", as browsers call it by themselves.
        id: what the client sends back in `Last-Event-ID` when it connects again.
    """
    head = b"" if kind is None else b"event: %s\n" % kind.encode("ascii")
    if id is not None:
        head += b"id: %s\n" % id.encode("ascii")
    return b"%sdata: %s\n\n" % (head, data)


def retry(milliseconds: int) -> bytes:
    """Say after which time a client whose connection has ended may connect again."""
    return b"retry: %d\n\n" % milliseconds
