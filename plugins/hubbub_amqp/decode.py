"""Bytes to frames to methods with their content (2.3, 4.2).

One pass over a buffer: a publish whose three frames are there is taken in place.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from .errors import AmqpError, Reply
from .methods import ChannelClose, ChannelCloseOk, Method, decode_method

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
HEARTBEAT: Final = 8
FRAME_END: Final = 0xCE

#: Bytes around a frame's payload: type, channel and size before it, the end mark behind.
FRAME_OVERHEAD: Final = 8
#: The largest frame before the connection is tuned, and the least that can be tuned (4.2.3).
FRAME_MIN_SIZE: Final = 4096

_FRAME: Final = struct.Struct(">BHI")
_CONTENT: Final = struct.Struct(">HHQ")
_CACHED_METHODS: Final = 256
_CACHED_METHOD_BYTES: Final = 256
_PUBLISH: Final = b"\0\x3c\0\x28"


class Content(msgspec.Struct, gc=False):
    """A method with its content. `properties` are raw: flags and values as they came."""

    channel: int
    method: Method
    properties: bytes
    body: bytes


class MethodFrame(msgspec.Struct, gc=False):
    """A method without content."""

    channel: int
    method: Method


class Heartbeat(msgspec.Struct, frozen=True, gc=False):
    """A heartbeat."""


class Oversized(msgspec.Struct, frozen=True, gc=False):
    """A content that is not taken, for its body of `size` bytes is too large; it is passed over."""

    channel: int
    method: Method
    size: int


Item = Content | MethodFrame | Heartbeat | Oversized

_HEARTBEAT: Final = Heartbeat()


class _Partial:
    """A content on its way: first its header is missing, then the rest of its body."""

    __slots__ = ("method", "missing", "pieces", "properties", "size", "taken")

    def __init__(self, method: Method) -> None:
        self.method = method
        self.properties: bytes | None = None
        self.missing = 0
        self.size = 0
        self.taken = True
        self.pieces: list[bytes] = []


class Decoder:
    """Turns the bytes of one connection, after the protocol header, into methods and contents.

    Args:
        frame_max: bytes of a frame, its overhead included; assign when it is tuned; 0: no limit.
        max_body: bytes of a content's body; a larger one is passed over (`Oversized`).
        max_partial: bytes of all the bodies that are incomplete, of all channels together.

    Once `error` is set the connection is over; what came before it has been handed out.
    """

    def __init__(
        self,
        frame_max: int = FRAME_MIN_SIZE,
        *,
        max_body: int = 128 * 1024 * 1024,
        max_partial: int = 256 * 1024 * 1024,
    ) -> None:
        self.frame_max = frame_max
        self.max_body = max_body
        self.max_partial = max_partial
        self.error: AmqpError | None = None
        self._rest = bytearray()
        self._needed = 0
        self._partial: dict[int, _Partial] = {}
        self._partial_bytes = 0
        self._closing: set[int] = set()
        self._methods: dict[bytes, Method] = {}

    def ignore(self, channel: int) -> None:
        """Pass over what comes for a channel until the client closes it, or says it has (1.5.2.5).

        What the client sent before it saw our close may be any part of a content.
        """
        self._closing.add(channel)
        self._forget(channel)

    def _forget(self, channel: int) -> None:
        partial = self._partial.pop(channel, None)
        if partial is not None and partial.taken:
            self._partial_bytes -= partial.size - partial.missing

    def decode(self, data: bytes) -> list[Item]:
        """Take `data` and return what is now complete; then look at `error`."""
        if self.error is not None:
            return []
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._needed:
                return []
            data = bytes(rest)
            self._rest = bytearray()
        items: list[Item] = []
        try:
            used = self._decode_frames(data, items)
        except AmqpError as error:
            self.error = error
            return items
        if used < len(data):
            self._rest += data[used:]
        return items

    def _decode_frames(self, data: bytes, items: list[Item]) -> int:
        append = items.append
        frame, content = _FRAME.unpack_from, _CONTENT.unpack_from
        methods, partials, closing = self._methods, self._partial, self._closing
        # Some clients (aioamqp) take the bound for one of the payload alone. RabbitMQ lets them.
        largest = self.frame_max or 1 << 32
        max_body = self.max_body
        end = len(data)
        at = 0
        while at + 7 <= end:
            kind, channel, size = frame(data, at)
            start = at + 7
            stop = start + size
            if size > largest:
                allowed = largest - FRAME_OVERHEAD
                raise _frame_error(kind, b"", f"{{frame_too_large,{size},{allowed}}}")
            if stop >= end:
                self._needed = stop + 1 - at
                return at
            if data[stop] != FRAME_END:
                raise _frame_error(
                    kind, data[start:stop], f"{{invalid_frame_end_marker,{data[stop]}}}"
                )
            if kind == METHOD and not (partials or closing):
                payload = data[start:stop]
                method = methods.get(payload)
                if method is None:
                    method = self._decode_method(payload, channel)
                if not method.has_content:
                    append(MethodFrame(channel, method))
                    at = stop + 1
                    continue
                # Header and body usually follow at once, each in one frame.
                at = stop + 1
                if at + 21 <= end:
                    kind, header_channel, size = frame(data, at)
                    start, stop = at + 7, at + 7 + size
                    if (
                        kind == HEADER
                        and header_channel == channel
                        and 14 <= size <= largest
                        and stop < end
                        and data[stop] == FRAME_END
                    ):
                        class_id, _, body_size = content(data, start)
                        properties = data[start + 12 : stop]
                        if class_id == 60 and not body_size:
                            append(Content(channel, method, properties, b""))
                            at = stop + 1
                            continue
                        body_end = stop + 8 + body_size
                        if (
                            class_id == 60
                            and body_size <= max_body
                            and body_size <= largest
                            and body_end < end
                            and frame(data, stop + 1) == (BODY, channel, body_size)
                            and data[body_end] == FRAME_END
                        ):
                            append(Content(channel, method, properties, data[stop + 8 : body_end]))
                            at = body_end + 1
                            continue
                partials[channel] = _Partial(method)
                continue
            self._decode_frame(kind, channel, data[start:stop], items)
            at = stop + 1
        self._needed = 7
        return at

    def _decode_method(self, payload: bytes, channel: int) -> Method:
        try:
            method = decode_method(payload)
        except AmqpError as error:
            error.channel = channel
            raise
        if payload[:4] == _PUBLISH and len(payload) <= _CACHED_METHOD_BYTES:
            # Publishers send the same method again and again.
            if len(self._methods) >= _CACHED_METHODS:
                self._methods.clear()
            self._methods[payload] = method
        return method

    def _decode_frame(self, kind: int, channel: int, payload: bytes, items: list[Item]) -> None:
        """Take any frame in any state of its channel."""
        if kind == HEARTBEAT:
            if channel:
                raise AmqpError(Reply.UNEXPECTED_FRAME, _show_frame(kind, payload))
            if payload:
                raise _frame_error(kind, payload, "unknown_frame")
            items.append(_HEARTBEAT)
            return
        if kind not in {METHOD, HEADER, BODY}:
            raise _frame_error(kind, payload, "unknown_frame")
        if channel in self._closing:
            if kind == METHOD:
                self._while_closing(channel, payload, items)
            return
        partial = self._partial.get(channel)
        if partial is None:
            if kind != METHOD:
                raise AmqpError(
                    Reply.UNEXPECTED_FRAME,
                    "expected method frame, got non method frame instead",
                    channel=channel,
                )
            method = self._methods.get(payload) or self._decode_method(payload, channel)
            if method.has_content:
                self._partial[channel] = _Partial(method)
            else:
                items.append(MethodFrame(channel, method))
        elif partial.properties is None:
            self._header(kind, channel, payload, partial, items)
        else:
            self._body(kind, channel, payload, partial, items)

    def _while_closing(self, channel: int, payload: bytes, items: list[Item]) -> None:
        if payload[:4] == b"\0\x14\0\x29":
            self._closing.discard(channel)
            items.append(MethodFrame(channel, ChannelCloseOk()))
        elif payload[:4] == b"\0\x14\0\x28":
            items.append(MethodFrame(channel, ChannelClose(0, "")))

    def _header(
        self, kind: int, channel: int, payload: bytes, partial: _Partial, items: list[Item]
    ) -> None:
        class_id = partial.method.id[0]
        if kind != HEADER:
            raise AmqpError(
                Reply.UNEXPECTED_FRAME,
                f"expected content header for class {class_id}, got non content header frame "
                "instead",
                method=partial.method.id,
                channel=channel,
            )
        if len(payload) < 14:
            raise AmqpError(
                Reply.SYNTAX_ERROR, "a content header is too short", method=partial.method.id,
                channel=channel,
            )  # fmt: skip
        got, _, size = _CONTENT.unpack_from(payload)
        if got != class_id:
            raise AmqpError(
                Reply.UNEXPECTED_FRAME,
                f"expected content header for class {class_id}, got one for class {got} instead",
                method=partial.method.id,
                channel=channel,
            )
        partial.properties = payload[12:]
        partial.missing = partial.size = size
        if size > self.max_body:
            partial.taken = False
            items.append(Oversized(channel, partial.method, size))
        if not size:
            self._complete(channel, partial, items)

    def _body(
        self, kind: int, channel: int, payload: bytes, partial: _Partial, items: list[Item]
    ) -> None:
        if kind != BODY:
            raise AmqpError(
                Reply.UNEXPECTED_FRAME,
                "expected content body, got non content body frame instead",
                method=partial.method.id,
                channel=channel,
            )
        if len(payload) > partial.missing:
            raise AmqpError(
                Reply.FRAME_ERROR,
                f"a body has more than the {partial.size} bytes that its header says",
                method=partial.method.id,
                channel=channel,
            )
        partial.missing -= len(payload)
        if partial.taken:
            partial.pieces.append(payload)
            self._partial_bytes += len(payload)
            if self._partial_bytes > self.max_partial:
                raise AmqpError(
                    Reply.RESOURCE_ERROR, "incomplete messages of this connection are too large"
                )
        if not partial.missing:
            self._complete(channel, partial, items)

    def _complete(self, channel: int, partial: _Partial, items: list[Item]) -> None:
        self._forget(channel)
        if partial.taken:
            assert partial.properties is not None
            body = b"".join(partial.pieces)
            items.append(Content(channel, partial.method, partial.properties, body))


def _frame_error(kind: int, payload: bytes, reason: str) -> AmqpError:
    """Make the error for a frame that is none, in RabbitMQ's words (rabbit_reader)."""
    return AmqpError(Reply.FRAME_ERROR, f"{_show_frame(kind, payload)}: {reason}")


def _show_frame(kind: int, payload: bytes) -> str:
    shown = "all" if len(payload) <= 16 else "first 16"
    return f"type {kind}, {shown} octets = {_erlang_binary(payload[:16])}"


def _erlang_binary(data: bytes) -> str:
    if data and all(32 <= byte < 127 for byte in data):
        return f'<<"{data.decode("ascii")}">>'
    return f"<<{','.join(map(str, data))}>>"
