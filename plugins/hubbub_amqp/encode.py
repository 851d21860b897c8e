"""Methods and contents to frames (2.3.5, 4.2)."""

from __future__ import annotations

import struct
from typing import Final

from .decode import BODY, FRAME_OVERHEAD, HEADER, METHOD
from .methods import Method, encode_method
from .wire import encode_short_string

PROTOCOL_HEADER: Final = b"AMQP\0\0\x09\x01"
HEARTBEAT_FRAME: Final = b"\x08\0\0\0\0\0\0\xce"

_FRAME: Final = struct.Struct(">BHI")
_TAG: Final = struct.Struct(">QB")
_CONTENT: Final = struct.Struct(">HHQ")
_DELIVER: Final = b"\0\x3c\0\x3c"


def encode_frame(kind: int, channel: int, payload: bytes) -> bytes:
    """Make one frame."""
    return b"%b%b\xce" % (_FRAME.pack(kind, channel, len(payload)), payload)


def encode_method_frame(channel: int, method: Method) -> bytes:
    """Make the frame of a method without content, or of one whose content follows."""
    return encode_frame(METHOD, channel, encode_method(method))


def encode_content(
    channel: int, method: Method, properties: bytes, body: bytes, frame_max: int
) -> bytes:
    """Make the frames of a method with its content; `properties` are raw."""
    return (
        encode_method_frame(channel, method)
        + encode_header_frame(channel, properties, len(body))
        + encode_body(channel, body, frame_max)
    )


def encode_header_frame(channel: int, properties: bytes, body_size: int) -> bytes:
    """Make a content header frame of class basic."""
    return encode_frame(HEADER, channel, _CONTENT.pack(60, 0, body_size) + properties)


def encode_body(channel: int, body: bytes, frame_max: int) -> bytes:
    """Make the body frames of a content, none if it is empty. `frame_max` 0: one frame."""
    if not body:
        return b""
    room = frame_max - FRAME_OVERHEAD if frame_max else len(body)
    if len(body) <= room:
        return encode_frame(BODY, channel, body)
    return b"".join(
        [encode_frame(BODY, channel, body[at : at + room]) for at in range(0, len(body), room)]
    )


class DeliverEncoder:
    """Makes the deliveries to one consumer.

    What does not change from one message to the next is made once: the part before the delivery
    tag for ever, the part from the exchange to the body as long as routing, properties and size
    stay the same.
    """

    __slots__ = ("_channel", "_frame_max", "_middle", "_prefix", "_room", "_seen", "_size")

    def __init__(self, channel: int, consumer_tag: str, frame_max: int) -> None:
        self._channel = channel
        self._frame_max = frame_max
        self._room = frame_max - FRAME_OVERHEAD if frame_max else 1 << 32
        self._prefix = _DELIVER + encode_short_string(consumer_tag)
        self._seen: bytes | None = None
        self._size = -1
        self._middle = (b"", b"")

    def encode(
        self,
        pieces: list[bytes],
        tag: int,
        redelivered: bool,
        routing_size: int,
        wire: bytes,
        body: bytes,
    ) -> None:
        """Append the pieces of one delivery.

        `wire` is the exchange and the routing key as short strings, `routing_size` bytes of them,
        then the raw properties.
        """
        size = len(body)
        if wire is not self._seen or size != self._size:
            self._prepare(wire, routing_size, size)
        start, middle = self._middle
        if size <= self._room and size:
            pieces += (start, _TAG.pack(tag, redelivered), middle, body, b"\xce")
        else:
            pieces += (start, _TAG.pack(tag, redelivered), middle)
            if size:
                pieces.append(encode_body(self._channel, body, self._frame_max))

    def _prepare(self, wire: bytes, routing_size: int, size: int) -> None:
        routing = wire[:routing_size]
        length = len(self._prefix) + 9 + len(routing)
        middle = b"%b\xce%b" % (
            routing,
            encode_header_frame(self._channel, wire[routing_size:], size),
        )
        if 0 < size <= self._room:
            middle += _FRAME.pack(BODY, self._channel, size)
        self._middle = (_FRAME.pack(METHOD, self._channel, length) + self._prefix, middle)
        self._seen = wire
        self._size = size
