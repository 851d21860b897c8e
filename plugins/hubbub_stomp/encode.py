"""Frames to bytes. What a version cannot say is left out and named, for the loss to be counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .errors import StompError
from .frames import VERSIONS, Version, escape, header_line

END = b"\0\n"
"""The end of each frame: NUL, and the line feed that RabbitMQ sends for readers of lines."""

HEART_BEAT = b"\n"


def encode_headers(
    headers: Iterable[tuple[str, str]], version: Version
) -> tuple[bytes, tuple[str, ...]]:
    """Encode headers; also return the names of those that the version has no way to say."""
    lines: list[bytes] = []
    lost: list[str] = []
    for name, value in headers:
        line = header_line(name, value, version)
        if line is None:
            lost.append(name)
        else:
            lines.append(line)
    return b"".join(lines), tuple(lost)


def encode(
    command: str, headers: Mapping[str, str], body: bytes = b"", version: Version = Version.V12
) -> bytes:
    """Encode any frame but MESSAGE; a body gets its `content-length`.

    CONNECT, STOMP and CONNECTED are never escaped (1.2, "Value Encoding").

    Raises:
        ValueError: the version has no way to say a header.
    """
    if command in {"CONNECT", "STOMP", "CONNECTED"}:
        version = Version.V10
    lines, lost = encode_headers(headers.items(), version)
    if lost:
        raise ValueError(f"STOMP {version.value} cannot express the header {lost[0]!r}")
    length = b"content-length:%d\n" % len(body) if body else b""
    return b"%s\n%s%s\n%s%s" % (command.encode(), lines, length, body, END)


def encode_receipt(receipt: str, version: Version) -> bytes:
    """Encode a RECEIPT. The client has named it in the same version, so it can be said."""
    return b"RECEIPT\nreceipt-id:%s\n\n\0\n" % (escape(receipt, version) or "").encode()


def encode_error(error: StompError, version: Version) -> bytes:
    """Encode an ERROR."""
    body = error.detail.encode(errors="replace")
    receipt = header_line("receipt-id", error.receipt, version) if error.receipt else None
    return b"ERROR\n%scontent-type:text/plain\nversion:%s\n%scontent-length:%d\n\n%s%s" % (
        header_line("message", error.summary, version) or b"",
        VERSIONS.encode(),
        receipt or b"",
        len(body),
        body,
        END,
    )


def encode_message_tail(lines: bytes, body: bytes) -> bytes:
    """Encode what is the same in every MESSAGE frame of a message: to be put behind its start.

    `lines` are encoded headers; see `ServerConnection.message_start`.
    """
    return b"%scontent-length:%d\n\n%s\0\n" % (lines, len(body), body)
