"""What a server must do about frames that RFC 9113 forbids, section by section."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from hpack import Encoder

from hubbub.http.http2_frames import PREFACE

from .test_http import Running, echo, serving

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL, _, FLOW, _, CLOSED, SIZE, REFUSED, _, COMPRESSION = range(10)

GET = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a")]
POST = [(":method", "POST"), *GET[1:]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def block(fields: list[tuple[str, str]]) -> bytes:
    encoded: bytes = Encoder().encode([(name.encode(), value.encode()) for name, value in fields])
    return encoded


def headers(
    stream: int = 1, fields: list[tuple[str, str]] = GET, flags: int = END_HEADERS | END_STREAM
) -> bytes:
    return frame(HEADERS, flags, stream, block(fields))


def opening(stream: int = 1) -> bytes:
    """A request whose body is to come."""
    return headers(stream, POST, END_HEADERS)


def setting(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def window(stream: int, increment: int) -> bytes:
    return frame(WINDOW, 0, stream, struct.pack(">I", increment))


def names(cases: Sequence[tuple[Any, ...]]) -> list[str]:
    return [case[0] for case in cases]


@dataclass
class Answers:
    """What a server says."""

    reset: dict[int, int] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    pongs: list[bytes] = field(default_factory=list)
    acknowledged: int = 0
    data: dict[int, int] = field(default_factory=dict)
    goaway: int | None = None
    reason: str = ""
    closed: bool = False


async def say(
    running: Running,
    data: bytes,
    *,
    until: int | None = None,
    at_least: Mapping[int, int] | None = None,
) -> Answers:
    """Begin a connection, send frames, and read until an answer on `until`, or the end.

    `at_least` has bytes that are awaited beside it, by stream: streams overtake one another.
    """
    answers = Answers()
    buffer = b""
    async with await trio.open_tcp_stream("127.0.0.1", running.port) as stream:
        await stream.send_all(PREFACE + setting())
        await stream.send_all(data)
        with trio.move_on_after(10):
            while (
                until is None
                or until not in answers.ended | set(answers.reset)
                or any(answers.data.get(each, 0) < size for each, size in (at_least or {}).items())
            ):
                try:
                    more = await stream.receive_some()
                except trio.BrokenResourceError:
                    more = b""
                if not more:
                    answers.closed = True
                    break
                buffer += more
                while len(buffer) >= 9 and len(buffer) >= (size := 9 + int.from_bytes(buffer[:3])):
                    take(answers, buffer[:size])
                    buffer = buffer[size:]
    return answers


def take(answers: Answers, data: bytes) -> None:
    kind, flags, stream, payload = data[3], data[4], int.from_bytes(data[5:9]), data[9:]
    if kind in {DATA, HEADERS} and flags & END_STREAM:
        answers.ended.add(stream)
    if kind == DATA:
        answers.data[stream] = answers.data.get(stream, 0) + len(payload)
    elif kind == RESET:
        answers.reset[stream] = int.from_bytes(payload)
    elif kind == SETTINGS and flags & ACK:
        answers.acknowledged += 1
    elif kind == PING and flags & ACK:
        answers.pongs.append(payload)
    elif kind == GOAWAY:
        answers.goaway = int.from_bytes(payload[4:8])
        answers.reason = payload[8:].decode()


BLOCK = frame(HEADERS, END_STREAM, 1, block(GET))
"""Headers to which more must come."""
RESET_1 = frame(RESET, 0, 1, bytes(4))
ONE = headers(1, [*POST, ("content-length", "1")], END_HEADERS)
"""A request with a body of one byte."""
SELF = struct.pack(">IB", 1, 255)  # depends on stream 1

CONNECTION_ERRORS = [
    # 4.2: sizes
    ("data too long", opening() + frame(DATA, 0, 1, bytes(16_385)), {SIZE}),
    ("headers too long", frame(HEADERS, END_HEADERS, 1, bytes(16_385)), {SIZE}),
    ("unknown too long", frame(0xEE, 0, 1, bytes(16_385)), {SIZE}),
    # 4.3: header blocks
    ("garbage in a block", frame(HEADERS, 5, 1, b"\xff" * 20), {COMPRESSION}),
    ("an index that does not exist", frame(HEADERS, 5, 1, b"\xfe"), {COMPRESSION}),
    ("priority in a block", BLOCK + frame(PRIORITY, 0, 1, SELF), {PROTOCOL}),
    ("another stream in a block", BLOCK + headers(3), {PROTOCOL}),
    ("unknown in a block", BLOCK + frame(0xEE, 0, 1), {PROTOCOL}),
    ("data in a block", BLOCK + frame(DATA, 0, 1), {PROTOCOL}),
    # 5.1: states
    ("data on an idle stream", frame(DATA, END_STREAM, 1, b"x"), {PROTOCOL}),
    ("reset of an idle stream", RESET_1, {PROTOCOL}),
    ("window of an idle stream", window(1, 1), {PROTOCOL}),
    ("continuation on an idle stream", frame(CONTINUATION, END_HEADERS, 1, block(GET)), {PROTOCOL}),
    ("an even stream", headers(2), {PROTOCOL}),
    ("a lower stream", headers(5) + headers(3), {PROTOCOL, CLOSED}),
    # 6: each frame
    ("data on stream 0", frame(DATA, 0, 0, b"x"), {PROTOCOL}),
    ("padding longer than data", opening() + frame(DATA, PADDED, 1, b"\x06xxxxx"), {PROTOCOL}),
    ("headers on stream 0", headers(0), {PROTOCOL}),
    ("padding longer than headers", frame(HEADERS, 0xD, 1, b"\xff" + block(GET)), {PROTOCOL}),
    ("priority on stream 0", frame(PRIORITY, 0, 0, SELF), {PROTOCOL}),
    ("reset on stream 0", frame(RESET, 0, 0, bytes(4)), {PROTOCOL}),
    ("reset of the wrong length", opening() + frame(RESET, 0, 1, bytes(3)), {SIZE}),
    ("settings ack with payload", frame(SETTINGS, ACK, 0, bytes(6)), {SIZE}),
    ("settings on a stream", frame(SETTINGS, 0, 1, bytes(6)), {PROTOCOL}),
    ("settings of the wrong length", frame(SETTINGS, 0, 0, bytes(5)), {SIZE}),
    ("push neither on nor off", setting((2, 2)), {PROTOCOL}),
    ("a window too large in settings", setting((4, 2**31)), {FLOW}),
    ("frames too small in settings", setting((5, 16_383)), {PROTOCOL}),
    ("frames too large in settings", setting((5, 2**24)), {PROTOCOL}),
    ("push by a client", headers() + frame(PUSH, 4, 1, bytes(4) + block(GET)), {PROTOCOL}),
    ("ping on a stream", frame(PING, 0, 1, bytes(8)), {PROTOCOL}),
    ("ping of the wrong length", frame(PING, 0, 0, bytes(6)), {SIZE}),
    ("goaway on a stream", frame(GOAWAY, 0, 1, bytes(8)), {PROTOCOL}),
    ("goaway of the wrong length", frame(GOAWAY, 0, 0, bytes(7)), {SIZE}),
    ("no increment for the connection", window(0, 0), {PROTOCOL}),
    ("a window too large", window(0, 2**31 - 1) * 2, {FLOW}),
    ("window update of the wrong length", frame(WINDOW, 0, 0, bytes(3)), {SIZE}),
    ("continuation after a block", headers() + frame(CONTINUATION, 4, 1, b""), {PROTOCOL}),
    ("continuation on stream 0", frame(HEADERS, 1, 1, b"") + frame(CONTINUATION, 4, 0), {PROTOCOL}),
    (
        "continuation after data",
        opening() + frame(DATA, 0, 1, b"x") + frame(CONTINUATION, 4, 1),
        {PROTOCOL},
    ),
]  # fmt: skip

STREAM_ERRORS = [
    # 5.1: states
    ("data after the end", opening() + frame(DATA, 1, 1) + frame(DATA, 1, 1, b"x"), {CLOSED}),
    ("headers after the end", headers(fields=POST) + headers(fields=POST), {CLOSED}),
    ("data after a reset", opening() + RESET_1 + frame(DATA, 1, 1, b"x"), {CLOSED}),
    ("headers after a reset", opening() + RESET_1 + headers(), {CLOSED}),
    # 5.3: dependencies
    ("headers that depend on themselves", frame(HEADERS, 0x25, 1, SELF + block(GET)), {PROTOCOL}),
    ("priority on itself", opening() + frame(PRIORITY, 0, 1, SELF), {PROTOCOL}),
    ("priority of the wrong length", opening() + frame(PRIORITY, 0, 1, bytes(4)), {SIZE}),
    # 6.9: windows
    ("no increment for a stream", opening() + window(1, 0), {PROTOCOL}),
    ("a stream's window too large", opening() + window(1, 2**31 - 1) * 2, {FLOW}),
    # 8.1: messages
    ("trailers that do not end it", opening() + headers(1, [("x", "y")], END_HEADERS), {PROTOCOL}),
    ("a pseudo-header in trailers", opening() + headers(1, [(":method", "x")]), {PROTOCOL}),
    ("a body longer than its length", ONE + frame(DATA, 1, 1, b"test"), {PROTOCOL}),
    ("parts longer than the length", ONE + frame(DATA, 0, 1, b"a") * 2, {PROTOCOL}),
    *[
        (f"fields {fields}", headers(fields=fields), {PROTOCOL})
        for fields in (
            [*GET, ("X-Upper", "a")],
            [*GET, (":unknown", "a")],
            [*GET, (":status", "200")],
            [GET[0], ("x", "a"), *GET[1:]],
            [*GET, ("connection", "keep-alive")],
            [*GET, ("te", "trailers, deflate")],
            [GET[0], (":path", ""), *GET[2:]],
            GET[1:],
            [*GET, GET[0]],
            [*GET, GET[1]],
            [*GET, GET[2]],
        )
    ],
]  # fmt: skip

FINE = [
    ("padding", frame(HEADERS, 0xD, 1, b"\x03" + block(GET) + bytes(3))),
    ("padded data", opening() + frame(DATA, 9, 1, b"\x02ab" + bytes(2))),
    ("priority with headers", frame(HEADERS, 0x25, 1, struct.pack(">IB", 3, 1) + block(GET))),
    ("priority of an idle stream", frame(PRIORITY, 0, 3, struct.pack(">IB", 0, 1)) + headers()),
    (
        "a block in pieces",
        frame(HEADERS, 1, 1, block(GET)[:1])
        + frame(CONTINUATION, 0, 1, block(GET)[1:2])
        + frame(CONTINUATION, 4, 1, block(GET)[2:]),
    ),
    ("unknown frames", frame(0xEE, 0xFF, 0, b"x") + headers() + frame(0xEE, 0, 1)),
    ("unknown flags", frame(PING, 0xFE, 0, bytes(8)) + headers()),
    ("the reserved bit", frame(PING, 0, 2**31, bytes(8)) + headers(1 + 2**31)),
    ("unknown settings", setting((0xEE, 1), (3, 0)) + headers()),
    ("window of a closed stream", headers() + window(1, 1)),
    ("priority of a closed stream", headers() + frame(PRIORITY, 0, 1, struct.pack(">IB", 0, 1))),
    ("trailers", opening() + frame(DATA, 0, 1, b"x") + headers(1, [("x", "y")])),
    ("HEAD", headers(fields=[(":method", "HEAD"), *GET[1:]])),
    ("trailers wanted", headers(fields=[*GET, ("te", "trailers")])),
]  # fmt: skip


@pytest.mark.parametrize(("_", "data", "codes"), CONNECTION_ERRORS, ids=names(CONNECTION_ERRORS))
async def test_connection_errors(_: str, data: bytes, codes: set[int]) -> None:
    async with serving(echo, linger=0.0) as running:
        answers = await say(running, data)
        assert answers.closed
        assert answers.goaway in codes
        assert running.errors == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (opening() + window(3, 1), "stream 3 has not been opened"),
        (frame(CONTINUATION, END_HEADERS, 1), "CONTINUATION with no HEADERS to continue"),
    ],
    ids=["idle", "continuation"],
)
async def test_the_reason_says_what_was_wrong(data: bytes, reason: str) -> None:
    async with serving(echo, linger=0.0) as running:
        assert (await say(running, data)).reason == reason


@pytest.mark.parametrize(("_", "data", "codes"), STREAM_ERRORS, ids=names(STREAM_ERRORS))
async def test_stream_errors(_: str, data: bytes, codes: set[int]) -> None:
    """The request is reset, or the connection closed, which is allowed too (5.4.2)."""
    async with serving(echo, linger=0.0) as running:
        answers = await say(running, data, until=1)
        if answers.goaway is None and not answers.reset:  # it was answered before: look for more
            answers = await say(running, data + headers(101), until=101)
        assert answers.goaway in codes or answers.reset.get(1) in codes
        assert running.errors == []


@pytest.mark.parametrize(("_", "data"), FINE, ids=names(FINE))
async def test_what_is_allowed(_: str, data: bytes) -> None:
    async with serving(echo) as running:
        answers = await say(running, data + headers(101), until=101)
        assert 101 in answers.ended
        assert answers.goaway is None
        assert 1 in answers.ended or answers.reset == {1: 0}


async def test_settings_and_pings_are_acknowledged() -> None:
    async with serving(echo) as running:
        data = setting((4, 100)) + frame(PING, 0, 0, b"12345678") + frame(PING, ACK, 0, bytes(8))
        answers = await say(running, data + headers(), until=1)
        assert answers.acknowledged == 2
        assert answers.pongs == [b"12345678"]


async def test_the_initial_window_counts_and_may_become_negative() -> None:
    async with serving(echo) as running:
        asked = opening() + frame(DATA, END_STREAM, 1, b"x" * 10)
        begin = setting((4, 3)) + asked
        # 3 bytes, then the window becomes -2 by less, then 7 + 1 more make 6, then the rest.
        answers = await say(running, begin + headers(3), until=3)
        assert answers.data == {1: 3}
        data = begin + setting((4, 1)) + window(1, 2) + headers(3)
        assert (await say(running, data, until=3)).data == {1: 3}
        data = begin + setting((4, 1)) + window(1, 9)
        assert (await say(running, data, until=1)).data == {1: 10}


async def test_no_more_than_the_windows_is_sent() -> None:
    async with serving(echo) as running:
        body = frame(DATA, 0, 1, bytes(16_384)) * 5 + frame(DATA, END_STREAM, 1)
        asked = opening() + body
        answers = await say(running, asked + headers(3), until=3, at_least={1: 65_535})
        assert answers.data == {1: 65_535}
