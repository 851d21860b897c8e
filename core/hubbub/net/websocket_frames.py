"""Frames of WebSocket: those that are sent, and the common ones that are received.

wsproto reads whatever comes, at some 15 µs a frame. Nearly all frames are whole messages of
moderate size, which these functions read in a tenth of that. Nothing here judges a frame: what is
not plainly such a message is left to wsproto.

Source: RFC 6455, section 5.2.
"""

import struct
from typing import Final, NamedTuple

FIN: Final = 0x80
MASKED: Final = 0x80
CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2


class Head(NamedTuple):
    """The head of a frame: its first byte, the bytes of the head, and those of the payload.

    `plain`: a whole message, masked, its length written in the shortest way.
    """

    first: int
    size: int
    length: int
    plain: bool


def read_head(data: memoryview) -> Head | None:
    """Read the head that data begins with; None if more is needed."""
    if len(data) < 2:
        return None
    first, second = data[0], data[1]
    length, size = second & 0x7F, 2
    shortest = True
    if length == 126:
        if len(data) < 4:
            return None
        length, size = data[2] << 8 | data[3], 4
        shortest = length > 125
    elif length == 127:
        if len(data) < 10:
            return None
        length, size = int.from_bytes(data[2:10]), 10
        shortest = 0xFFFF < length < 1 << 63
    masked = second & MASKED
    if masked:
        size += 4
        if len(data) < size:
            return None
    whole = first in {FIN | TEXT, FIN | BINARY}
    return Head(first, size, length, whole and shortest and bool(masked))


def unmask(data: bytes, key: bytes) -> bytes:
    """Undo the masking of a payload (5.3)."""
    size = len(data)
    mask = int.from_bytes((key * (size // 4 + 1))[:size], "little")
    return (int.from_bytes(data, "little") ^ mask).to_bytes(size, "little")


def encode_frame(data: str | bytes) -> bytes:
    """Encode a message of the server as one frame."""
    first, payload = (FIN | TEXT, data.encode()) if isinstance(data, str) else (FIN | BINARY, data)
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload
