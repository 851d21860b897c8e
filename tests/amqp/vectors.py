"""Bytes and what must be made of them, for codec and server tests alike."""

from __future__ import annotations

from dataclasses import dataclass

from hubbub_amqp.errors import Reply

HEADER = b"AMQP\0\0\x09\x01"


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """A frame, spelled out."""
    return (
        bytes([kind])
        + channel.to_bytes(2, "big")
        + len(payload).to_bytes(4, "big")
        + payload
        + b"\xce"
    )


def publish(channel: int = 1, exchange: bytes = b"", key: bytes = b"q", bits: int = 0) -> bytes:
    """A basic.publish frame."""
    return frame(
        1,
        channel,
        b"\0\x3c\0\x28\0\0" + bytes([len(exchange)]) + exchange + bytes([len(key)]) + key
        + bytes([bits]),
    )  # fmt: skip


def header(size: int, channel: int = 1, properties: bytes = b"\0\0", class_id: int = 60) -> bytes:
    """A content header frame."""
    return frame(
        2, channel, class_id.to_bytes(2, "big") + b"\0\0" + size.to_bytes(8, "big") + properties
    )


@dataclass(frozen=True)
class Bad:
    """Frames on a running connection with channel 1 open, that close it with `code` and `text`."""

    name: str
    data: bytes
    code: Reply
    text: str


BAD = [
    Bad("end mark", b"\x01\0\x01\0\0\0\x02ab\x00", Reply.FRAME_ERROR,
        'type 1, all octets = <<"ab">>: {invalid_frame_end_marker,0}'),
    Bad("frame too large", b"\x01\0\x01\0\x10\0\0", Reply.FRAME_ERROR,
        "type 1, all octets = <<>>: {frame_too_large,1048576,131064}"),
    Bad("unknown frame type", frame(9, 1, b""), Reply.FRAME_ERROR,
        "type 9, all octets = <<>>: unknown_frame"),
    Bad("heartbeat on a channel", frame(8, 1, b""), Reply.UNEXPECTED_FRAME,
        "type 8, all octets = <<>>"),
    Bad("heartbeat with a payload", frame(8, 0, b"a"), Reply.FRAME_ERROR,
        'type 8, all octets = <<"a">>: unknown_frame'),
    Bad("body first", frame(3, 1, b"x"), Reply.UNEXPECTED_FRAME,
        "expected method frame, got non method frame instead"),
    Bad("header first", header(1), Reply.UNEXPECTED_FRAME,
        "expected method frame, got non method frame instead"),
    Bad("method in place of a header", publish() + publish(), Reply.UNEXPECTED_FRAME,
        "expected content header for class 60, got non content header frame instead"),
    Bad("header of another class", publish() + header(1, class_id=50), Reply.UNEXPECTED_FRAME,
        "expected content header for class 60, got one for class 50 instead"),
    Bad("method in place of a body", publish() + header(1) + publish(), Reply.UNEXPECTED_FRAME,
        "expected content body, got non content body frame instead"),
    Bad("short header", publish() + frame(2, 1, b"\0\x3c"), Reply.SYNTAX_ERROR,
        "a content header is too short"),
    Bad("body too long", publish() + header(1) + frame(3, 1, b"xy"), Reply.FRAME_ERROR,
        "a body has more than the 1 bytes that its header says"),
    Bad("unknown method", frame(1, 1, b"\0\x3c\x01\0"), Reply.NOT_IMPLEMENTED,
        "unknown method 256 of class 60"),
    Bad("no method", frame(1, 1, b"\0"), Reply.SYNTAX_ERROR,
        "a method frame is too short for a method"),
    Bad("short arguments", frame(1, 1, b"\0\x3c\0\x50\0\0"), Reply.SYNTAX_ERROR,
        "a method ends before its arguments"),
    Bad("routing key that is no UTF-8", publish(key=b"\xff"), Reply.SYNTAX_ERROR,
        "a short string is not UTF-8"),
    Bad("a server's method", frame(1, 1, b"\0\x14\0\x0b\0\0\0\0"), Reply.COMMAND_INVALID,
        "unimplemented method"),
    Bad("connection method on a channel", frame(1, 1, b"\0\x0a\0\x33"), Reply.COMMAND_INVALID,
        "connection method on a channel"),
    Bad("method on a channel that is not open", frame(1, 7, b"\0\x5a\0\x0a"), Reply.CHANNEL_ERROR,
        "expected 'channel.open'"),
    Bad("channel.open twice", frame(1, 1, b"\0\x14\0\x0a\0"), Reply.CHANNEL_ERROR,
        "second 'channel.open' seen"),
    Bad("method on channel 0", frame(1, 0, b"\0\x5a\0\x0a"), Reply.CHANNEL_ERROR,
        "unexpected method in connection state running"),
    Bad("second start-ok", frame(1, 0, b"\0\x0a\0\x0b" + bytes(4) + b"\0" + bytes(4) + b"\0"),
        Reply.CHANNEL_ERROR, "unexpected method in connection state running"),
]  # fmt: skip
