"""Frames read in the short way, held against wsproto, which reads them all in the long one."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection

from hubbub.net.websocket_frames import encode_frame, read_head, unmask
from hubbub.websocket import WebSocket, WebSocketClosed, WebSocketSettings

LIMITS = WebSocketSettings(max_message_bytes=1_000, max_frame_bytes=900, ping_interval=None)


def client_frame(
    first: int, payload: bytes, key: bytes | None = b"\1\2\3\4", *, length: bytes | None = None
) -> bytes:
    """A frame as it is asked for, right or wrong."""
    size = len(payload)
    if length is None:
        if size < 126:
            length = bytes([size])
        else:
            length = (
                struct.pack("!BH", 126, size) if size < 65536 else struct.pack("!BQ", 127, size)
            )
    if key is None:
        return bytes([first]) + length + payload
    return bytes([first, length[0] | 0x80]) + length[1:] + key + unmask(payload, key)


class Wire:
    """What lies below a WebSocket: bytes in parts, then the end."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        self._parts = list(parts)
        self.written = b""

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return self._parts.pop(0) if self._parts else b""

    def write(self, data: bytes) -> None:
        self.written += data


def read_all(parts: Sequence[bytes], *, short: bool, at_once: bool) -> tuple[Any, ...]:
    """What a server makes of what a client sends."""
    wire: Any = Wire(parts)
    request: Any = SimpleNamespace()
    # Whoever compresses leaves all frames to wsproto.
    websocket = WebSocket(
        Connection(ConnectionType.SERVER), wire, LIMITS, request, None, compresses=not short
    )
    messages: list[str | bytes] = []

    async def main() -> None:
        while True:
            messages.append(await websocket.receive())
            while at_once and (more := websocket.receive_nowait()) is not None:
                messages.append(more)

    with pytest.raises(WebSocketClosed):
        trio.run(main)
    code = websocket.close_code
    if code in {1007, 1009}:  # what exactly was wrong depends on the parts that it came in
        return messages, code, wire.written.rpartition(struct.pack("!H", code))[0][:-1]
    return messages, code, wire.written, websocket.close_reason


PAYLOADS = st.one_of(
    st.binary(max_size=10),
    st.text(max_size=5).map(lambda text: text.encode(errors="surrogatepass")),
    st.sampled_from([0, 125, 126, 127, 899, 900, 901, 1_001, 2_000]).map(lambda n: b"x" * n),
)
FRAMES = st.builds(
    client_frame,
    # Mostly right: text, binary, fragments, controls; and reserved bits and opcodes.
    st.sampled_from(
        [0x81, 0x82] * 4 + [0x01, 0x02, 0x00, 0x80, 0x89, 0x8A, 0x88, 0xC1, 0x83, 0x09]
    ),
    PAYLOADS,
    st.binary(min_size=4, max_size=4) | st.sampled_from([b"\0\0\0\0"] * 3 + [None]),
    length=st.sampled_from(
        [None] * 20 + [b"\x7e\0\5", b"\x7f\0\0\0\0\0\0\0\5", b"\x7f" + b"\xff" * 8]
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(FRAMES, max_size=6), st.data(), st.booleans())
@example([client_frame(0x81, b"a"), client_frame(0x01, b"b"), client_frame(0x81, b"c")], None, True)
@example([client_frame(0x81, b"\xff")], None, False)
def test_the_short_way_reads_what_wsproto_reads(
    frames: list[bytes], data: st.DataObject | None, at_once: bool
) -> None:
    stream = b"".join(frames)
    cuts = [] if data is None else data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    places = [0, *sorted(set(cuts) - {0, len(stream)}), len(stream)]
    parts = [stream[a:b] for a, b in itertools.pairwise(places) if a < b]
    short = read_all(parts, short=True, at_once=at_once)
    assert short == read_all(parts, short=False, at_once=at_once)
    bytewise = [bytes([each]) for each in stream[:300]] + [stream[300:]]
    assert read_all(list(filter(None, bytewise)), short=True, at_once=at_once) == short


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masking_is_undone_by_masking(payload: bytes, key: bytes) -> None:
    masked = unmask(payload, key)
    assert masked == bytes(each ^ key[i % 4] for i, each in enumerate(payload))
    assert unmask(masked, key) == payload


@given(st.binary(max_size=16))
def test_any_head(data: bytes) -> None:
    head = read_head(memoryview(data))
    if head is not None:
        assert 2 <= head.size <= len(data)
        assert read_head(memoryview(data[: head.size])) == head
        assert read_head(memoryview(data[: head.size - 1])) is None


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_sent_frames_are_read_by_wsproto(size: int) -> None:
    client = Connection(ConnectionType.CLIENT)
    for message in ("t" * size, b"b" * size):
        client.receive_data(encode_frame(message))
        events: list[Any] = list(client.events())
        assert type(message)().join(event.data for event in events) == message
        assert events[-1].message_finished
