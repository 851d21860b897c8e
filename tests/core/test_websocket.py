"""The WebSocket server on real sockets, against wsproto's client side and raw frames."""

import re
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import trio
import trio.testing
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    TextMessage,
)
from wsproto.events import Request as Handshake
from wsproto.extensions import Extension, PerMessageDeflate

from hubbub.http import HttpServer, Request, Response, Upgrade
from hubbub.server import Flusher, ListenerSettings, Shutdown, TransportClosed, serve_tcp
from hubbub.websocket import (
    Framed,
    WebSocket,
    WebSocketClosed,
    WebSocketSettings,
    WebSocketTransport,
    accept,
)

Handler = Callable[[WebSocket], Awaitable[None]]


@dataclass
class Running:
    port: int = 0
    shutdown: Shutdown = field(default_factory=Shutdown)
    errors: list[BaseException] = field(default_factory=list)
    ended: trio.Event = field(default_factory=trio.Event)

    @asynccontextmanager
    async def connect(self, **handshake: Any) -> AsyncIterator["Client"]:
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            client = Client(stream)
            await client.send(Handshake(host="a", target="/", **handshake))
            yield client

    async def raw(self, data: bytes) -> bytes:
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            await stream.send_all(data)
            return b"".join([bytes(part) async for part in stream])


class Client:
    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.connection = WSConnection(ConnectionType.CLIENT)
        self.events: list[Event] = []
        self.received = 0

    async def send(self, event: Event) -> None:
        await self.stream.send_all(self.connection.send(event))

    async def next(self) -> Event:
        while not self.events:
            data = await self.stream.receive_some()
            self.received += len(data)
            self.connection.receive_data(bytes(data) or None)
            self.events.extend(self.connection.events())
        return self.events.pop(0)

    async def expect_close(self, code: int, reason: str | None = None) -> None:
        event = await self.next()
        assert isinstance(event, CloseConnection)
        assert event.code == code
        if reason is not None:
            assert event.reason == reason

    async def expect_end(self) -> None:
        async for _ in self.stream:
            pass

    async def expect_end_slowly(self, ended: list[Any]) -> None:
        """Read nothing until `ended` has an entry, then the rest."""
        while not ended:  # noqa: ASYNC110
            await trio.sleep(0.001)
        await self.expect_end()

    async def opened(self) -> AcceptConnection:
        event = await self.next()
        assert isinstance(event, AcceptConnection)
        return event


@asynccontextmanager
async def serving(
    handler: Handler,
    *,
    options: dict[str, Any] | None = None,
    limits: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    running = Running()
    flusher = Flusher()
    websocket = WebSocketSettings(**settings)

    async def app(request: Request) -> Response | Upgrade:
        return accept(
            request,
            handler,
            websocket,
            shutdown=running.shutdown,
            on_error=lambda error, _: running.errors.append(error),
            **(options or {}),
        )

    async def run(task_status: trio.TaskStatus[Any]) -> None:
        await serve_tcp(
            HttpServer(app, shutdown=running.shutdown),
            ListenerSettings(bind=["127.0.0.1:0"], **(limits or {})),
            flusher=flusher,
            shutdown=running.shutdown,
            on_error=lambda error, _: running.errors.append(error),
            task_status=task_status,
        )
        running.ended.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(flusher.run)
        running.port = (await nursery.start(run))[0].port
        with trio.fail_after(10):
            yield running
        nursery.cancel_scope.cancel()


async def echo(websocket: WebSocket) -> None:
    while True:
        websocket.send(await websocket.receive())
        await websocket.drain()


async def stream_echo(websocket: WebSocket) -> None:
    transport = WebSocketTransport(websocket)
    while data := await transport.receive(7):
        transport.write(data)
        await transport.drain()
    await transport.aclose()


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, length: bytes = b"") -> bytes:
    """A client's frame, masked with zeros."""
    size = length or bytes([0x80 | len(payload)])
    return bytes([0x80 * fin | opcode]) + size + b"\0\0\0\0" + payload


HEADERS = {
    "Host": "a",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def handshake(start: str = "GET / HTTP/1.1", **changes: str | None) -> bytes:
    """A client's handshake; `_` in a name stands for `-`, None takes the header away."""
    headers = {**HEADERS, **{name.replace("_", "-"): text for name, text in changes.items()}}
    lines = [f"{name}: {text}" for name, text in headers.items() if text is not None]
    return "\r\n".join([start, *lines, "", ""]).encode()


# Handshake


async def test_the_sample_handshake_of_the_rfc() -> None:
    async with serving(echo) as running:
        answer = await running.raw(handshake() + frame(8, b"\x03\xe8"))
        assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
        assert answer.endswith(b"\x88\x02\x03\xe8")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (handshake("POST / HTTP/1.1"), 400),
        (handshake("GET / HTTP/1.0"), 400),
        (handshake(Content_Length="3") + b"abc", 400),
        (handshake(Upgrade=None), 426),
        (handshake(Upgrade="h2c"), 426),
        (handshake(Connection="close"), 400),
        (handshake(Sec_WebSocket_Key=None), 400),
        (handshake(Sec_WebSocket_Key="c2hvcnQ="), 400),
        (handshake(Sec_WebSocket_Key="!"), 400),
        (handshake(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZé=="), 400),
        (handshake(Sec_WebSocket_Version=None), 400),
        (handshake(Sec_WebSocket_Version="8"), 426),
    ],
)
async def test_bad_handshakes(data: bytes, status: int) -> None:
    async with serving(echo) as running:
        stop = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        answer = await running.raw(data + stop)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert (b"\r\nsec-websocket-version: 13\r\n" in answer.lower()) == (
            b"Version: 13" not in data
        )
        assert running.errors == []


async def test_the_clients_first_known_subprotocol_is_chosen() -> None:
    seen: list[str | None] = []

    async def handler(websocket: WebSocket) -> None:
        seen.append(websocket.subprotocol)

    async with serving(handler, options={"subprotocols": ["mqtt", "mqttv3.1"]}) as running:
        for offered, chosen in (
            (["x", "mqttv3.1", "mqtt"], "mqttv3.1"),
            (["x"], None),
            ([], None),
        ):
            async with running.connect(subprotocols=offered) as client:
                assert (await client.opened()).subprotocol == chosen
        assert seen == ["mqttv3.1", None, None]


async def test_a_subprotocol_can_be_required() -> None:
    options = {"subprotocols": ["mqtt"], "require_subprotocol": True}
    async with serving(echo, options=options) as running:
        async with running.connect(subprotocols=["x"]) as client:
            event = await client.next()
            assert isinstance(event, RejectConnection)
            assert event.status_code == 400
        async with running.connect(subprotocols=["mqtt"]) as client:
            assert (await client.opened()).subprotocol == "mqtt"


async def test_more_headers_in_the_answer() -> None:
    async with serving(echo, options={"headers": [("X-More", "yes")]}) as running:
        assert b"X-More: yes\r\n" in await running.raw(handshake() + frame(8))


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ("permessage-deflate", ""),
        ("permessage-deflate; client_max_window_bits", "; client_max_window_bits=15"),
        ("permessage-deflate; client_max_window_bits=10", "; client_max_window_bits=10"),
        ("permessage-deflate; client_max_window_bits=8", ""),
        ('permessage-deflate ;server_max_window_bits = "10"', "; server_max_window_bits=10"),
        ("permessage-deflate; client_no_context_takeover", "; client_no_context_takeover"),
        ("permessage-deflate; server_no_context_takeover", "; server_no_context_takeover"),
        # The next offer is taken, and nothing of what was declined.
        ("permessage-deflate; client_no_context_takeover; x, permessage-deflate", ""),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", ""),
        # Of two that could be, the first.
        ("x, permessage-deflate, permessage-deflate; client_max_window_bits=9", ""),
        *[
            (f"permessage-deflate; {parameters}", None)
            for parameters in (
                "x", "x=1", "", "server_max_window_bits", "server_max_window_bits=abc",
                "server_max_window_bits=7", "server_max_window_bits=16",
                "server_max_window_bits=09", "client_max_window_bits=abc",
                "client_max_window_bits=16", "client_no_context_takeover=1",
                'client_max_window_bits="10', "server_max_window_bits=9; server_max_window_bits=9",
                "client_max_window_bits; client_max_window_bits",
            )
        ],
        ("x-webkit-deflate-frame", None),
        (";;=", None),
    ],
)  # fmt: skip
async def test_offers_of_compression(offers: str, answer: str | None) -> None:
    async with serving(echo, compression=True) as running:
        head = await running.raw(handshake(Sec_WebSocket_Extensions=offers) + frame(8))
        assert head.startswith(b"HTTP/1.1 101 ")
        (line,) = re.findall(rb"\r\nSec-WebSocket-Extensions: (.*)\r\n", head) or [None]
        assert line == (None if answer is None else b"permessage-deflate" + answer.encode())
        assert running.errors == []


async def test_offers_of_compression_are_declined_where_it_is_off() -> None:
    async with serving(echo) as running:
        data = handshake(Sec_WebSocket_Extensions="permessage-deflate") + frame(8)
        assert b"permessage-deflate" not in await running.raw(data)


# Messages


@pytest.mark.parametrize("compression", [True, False])
async def test_messages_of_all_kinds_and_sizes(compression: bool) -> None:
    extensions: list[Extension] = [PerMessageDeflate()]
    async with (
        serving(echo, compression=compression) as running,
        running.connect(extensions=extensions) as client,
    ):
        assert bool((await client.opened()).extensions) == compression
        for message in (
            "",
            "text ü€",
            b"",
            b"\0\xff",
            b"x" * 126,
            b"y" * 200_000,
            "ü" * 70_000,
        ):
            event = TextMessage(message) if isinstance(message, str) else BytesMessage(message)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send, event)
                received: list[Any] = []
                while True:
                    part = await client.next()
                    assert isinstance(part, type(event))
                    received.append(part.data)
                    if part.message_finished:
                        break
            assert type(message)().join(received) == message


async def test_fragments_with_a_ping_between() -> None:
    async with serving(echo) as running, running.connect() as client:
        await client.opened()
        await client.stream.send_all(
            frame(1, "ü".encode()[:1], fin=False)
            + frame(9, b"alive?")
            + frame(0, "ü".encode()[1:] + b"\r\n", fin=False)
            + frame(0, b"")
            + frame(2, b"a", fin=False)
            + frame(0, b"b")
        )
        assert await client.next() == Pong(payload=b"alive?")
        assert await client.next() == TextMessage("ü\r\n")
        assert await client.next() == BytesMessage(b"ab")


async def test_bytes_that_came_with_the_handshake() -> None:
    async with serving(echo) as running:
        answer = await running.raw(handshake() + frame(2, b"early") + frame(8))
        assert b"\x82\x05early" in answer


# Closing


async def test_all_that_came_with_one_read_is_answered_before_the_close() -> None:
    batches: list[list[str | bytes]] = []

    async def handler(websocket: WebSocket) -> None:
        while True:
            batch = [await websocket.receive()]
            while (message := websocket.receive_nowait()) is not None:
                batch.append(message)
            assert websocket.receive_nowait() is None
            assert websocket.close_arrived
            batches.append(batch)
            for message in batch:
                websocket.send(message)

    data = frame(1, b"a") + frame(9, b"p") + frame(2, b"b") + frame(8, b"\x03\xe8") + frame(1, b"c")
    async with serving(handler) as running:
        answer = await running.raw(handshake() + data)
        assert batches == [["a", b"b"]]
        assert answer.endswith(b"\r\n\r\n\x8a\x01p\x81\x01a\x82\x01b\x88\x02\x03\xe8")
        assert running.errors == []


async def test_the_servers_close_after_the_clients_has_arrived() -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.receive()
        assert websocket.receive_nowait() is None
        websocket.start_close(4000, "mine")
        websocket.send("too late")
        with pytest.raises(WebSocketClosed, match="mine"):
            await websocket.receive()

    async with serving(handler) as running:
        answer = await running.raw(handshake() + frame(1, b"a") + frame(8, b"\x03\xe8"))
        assert answer.endswith(b"\r\n\r\n\x88\x06\x0f\xa0mine")
        assert running.errors == []


@pytest.mark.parametrize("compression", [False, True])
async def test_framed_messages(compression: bool) -> None:
    sizes = (0, 125, 126, 65535, 65536)
    messages: list[str | bytes] = ["ü"]
    for size in sizes:
        messages += ["t" * size, b"b" * size]
    framed = Framed(messages)

    async def handler(websocket: WebSocket) -> None:
        websocket.send_framed(framed)
        websocket.start_close(1000)
        websocket.send_framed(framed)

    extensions: list[Extension] = [PerMessageDeflate()]
    async with (
        serving(handler, compression=compression) as running,
        running.connect(extensions=extensions) as client,
    ):
        assert bool((await client.opened()).extensions) == compression
        for message in messages:
            parts: list[Any] = []
            finished = False
            while not finished:
                event = await client.next()
                assert isinstance(event, TextMessage | BytesMessage)
                parts.append(event.data)
                finished = event.message_finished
            assert ("" if isinstance(message, str) else b"").join(parts) == message
        await client.expect_close(1000)
        assert (client.received < len(framed.data)) == compression
        assert running.errors == []


async def test_close_by_the_client() -> None:
    closed: list[tuple[int, str]] = []

    async def handler(websocket: WebSocket) -> None:
        try:
            await websocket.receive()
        except WebSocketClosed as error:
            closed.append((error.code, error.reason))
            with pytest.raises(WebSocketClosed):
                await websocket.receive()
            websocket.send("nothing happens")
            raise

    async with serving(handler) as running, running.connect() as client:
        await client.opened()
        await client.send(CloseConnection(4000, "bye"))
        await client.expect_close(4000, "bye")
        await client.expect_end()
        assert closed == [(4000, "bye")]
        assert running.errors == []


async def test_close_by_the_server_waits_for_the_answer() -> None:
    codes: list[int | None] = []

    async def handler(websocket: WebSocket) -> None:
        websocket.send("last")
        await websocket.close(4001, "enough")
        codes.append(websocket.close_code)

    async with serving(handler) as running, running.connect() as client:
        await client.opened()
        assert await client.next() == TextMessage("last")
        await client.expect_close(4001, "enough")
        await client.stream.send_all(frame(1, b"crossing") + frame(8, b"\x0f\xa1"))
        await client.expect_end()
        assert codes == [4001]


async def test_a_handler_that_returns_closes_normally() -> None:
    async def handler(_: WebSocket) -> None:
        return

    async with serving(handler) as running, running.connect() as client:
        await client.opened()
        await client.expect_close(1000)


async def test_a_close_that_is_not_answered() -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.close()

    async with serving(handler, close_timeout=0.05) as running, running.connect() as client:
        await client.opened()
        await client.expect_close(1000)
        await client.expect_end()


async def test_close_while_another_task_receives() -> None:
    async def handler(websocket: WebSocket) -> None:
        async def receive() -> None:
            with pytest.raises(WebSocketClosed) as caught:
                await websocket.receive()
            assert caught.value.code == 4002

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await websocket.receive()
            await websocket.close(4002)

    async with serving(handler) as running, running.connect() as client:
        await client.opened()
        await client.expect_close(4002)
        await client.send(CloseConnection(4002))
        await client.expect_end()
        assert running.errors == []


async def test_a_crashing_handler_closes_with_1011() -> None:
    async def handler(_: WebSocket) -> None:
        raise ZeroDivisionError

    async with serving(handler) as running, running.connect() as client:
        await client.opened()
        await client.expect_close(1011, "")
        assert [type(error) for error in running.errors] == [ZeroDivisionError]


@pytest.mark.parametrize("ping_interval", [30, None])
async def test_a_stop_closes_with_1001(ping_interval: float | None) -> None:
    async with serving(echo, ping_interval=ping_interval, close_timeout=0.1) as running:
        async with running.connect() as polite, running.connect() as mute:
            await polite.opened()
            await mute.opened()
            running.shutdown.request(60)
            await polite.expect_close(1001)
            await polite.send(CloseConnection(1001))
            await polite.expect_end()
            await mute.expect_close(1001)
            await mute.expect_end()
        await running.ended.wait()
        assert running.errors == []


async def test_a_client_that_vanishes() -> None:
    codes: list[int] = []

    async def handler(websocket: WebSocket) -> None:
        try:
            await websocket.receive()
        except WebSocketClosed as error:
            codes.append(error.code)
            raise

    async with serving(handler) as running:
        async with running.connect() as client:
            await client.opened()
        with trio.fail_after(5):
            while not codes:  # noqa: ASYNC110
                await trio.sleep(0.001)
        assert codes == [1006]
        assert running.errors == []


# Broken rules and limits


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x82\x01x", 1002),  # not masked
        (frame(3), 1002),  # unknown opcode
        (frame(0, b"x"), 1002),  # continues nothing
        (frame(1, b"x", fin=False) + frame(1, b"y"), 1002),
        (frame(9, fin=False), 1002),  # fragmented control frame
        (frame(9, b"x" * 126, length=b"\xfe\x00\x7e"), 1002),  # long control frame
        (frame(2, b"x", length=b"\xfe\x00\x01"), 1002),  # not the shortest length
        (frame(0x42, b"x"), 1002),  # reserved bit
        (frame(8, b"x"), 1002),
        (frame(8, struct.pack("!H", 1005)), 1002),
        (frame(8, struct.pack("!H", 999)), 1002),
        (frame(8, struct.pack("!H", 1000) + b"\xff"), 1007),
        (frame(1, b"\xff"), 1007),
        (frame(1, b"\xc3"), 1007),  # ends within a character
        (frame(2, b"x" * 1001, length=b"\xfe\x03\xe9"), 1009),
        (frame(1, "ü".encode() * 500 + b"x", length=b"\xfe\x03\xe9"), 1009),
        (frame(2, b"x" * 100, fin=False) * 1 + frame(0, b"x" * 100, fin=False) * 10, 1009),
    ],
)
async def test_broken_rules(data: bytes, code: int) -> None:
    async with serving(echo, max_message_bytes=1000) as running, running.connect() as client:
        await client.opened()
        await client.stream.send_all(data)
        await client.expect_close(code)
        await client.stream.send_eof()
        await client.expect_end()
        assert running.errors == []


async def test_large_frames() -> None:
    async with serving(echo, max_frame_bytes=100) as running, running.connect() as client:
        await client.opened()
        await client.stream.send_all(frame(2, b"x" * 100, fin=False) + frame(0, b"y" * 100))
        assert await client.next() == BytesMessage(b"x" * 100 + b"y" * 100)
        await client.stream.send_all(frame(2, b"x" * 101))
        await client.expect_close(1009, "frame too big")


@pytest.mark.parametrize(
    ("fin", "size"), [(True, 0), (False, 2000)], ids=["by its length", "by what has come"]
)
async def test_a_message_is_refused_before_all_of_it_has_come(fin: bool, size: int) -> None:
    async with serving(echo, max_message_bytes=1000) as running, running.connect() as client:
        await client.opened()
        await client.stream.send_all(
            frame(2, b"x" * size, fin=fin, length=b"\xff" + struct.pack("!Q", 2**40))
        )
        await client.expect_close(1009, "message too big")


async def test_a_compressed_bomb() -> None:
    async with (
        serving(echo, compression=True, max_message_bytes=100_000) as running,
        running.connect(extensions=[PerMessageDeflate()]) as client,
    ):
        await client.opened()
        await client.send(BytesMessage(b"\0" * 50_000_000))
        await client.expect_close(1009)


async def test_a_client_that_does_not_read() -> None:
    reasons: list[str | None] = []

    async def handler(websocket: WebSocket) -> None:
        try:
            while not websocket.transport.closed:
                websocket.send(b"x" * 100_000)
                await trio.lowlevel.checkpoint()
        finally:
            reasons.append(websocket.transport.abort_reason)

    async with serving(handler, limits={"max_write_buffer": 1_000_000}) as running:
        async with running.connect() as client:
            await client.opened()
            with pytest.raises(trio.BrokenResourceError):
                await client.expect_end_slowly(reasons)
        assert reasons == ["slow consumer"]
        assert running.errors == []


# Pings


async def test_pings_keep_a_silent_connection() -> None:
    async with (
        serving(echo, ping_interval=0.02, ping_timeout=0.02) as running,
        running.connect() as client,
    ):
        await client.opened()
        for _ in range(3):
            ping = await client.next()
            assert isinstance(ping, Ping)
            await client.send(ping.response())
        await client.send(TextMessage("still here"))
        while isinstance(event := await client.next(), Ping):
            await client.send(event.response())
        assert event == TextMessage("still here")


async def test_an_unanswered_ping_ends_the_connection() -> None:
    async with serving(echo, ping_interval=0.02, ping_timeout=0.02) as running:
        async with running.connect() as client:
            await client.opened()
            assert isinstance(await client.next(), Ping)
            await client.expect_close(1011, "ping timeout")
        assert running.errors == []


# As a byte stream


async def test_byte_stream_both_ways() -> None:
    async with serving(stream_echo) as running, running.connect() as client:
        await client.opened()
        await client.send(BytesMessage(b"hello "))
        await client.send(BytesMessage(b""))
        await client.send(TextMessage("wörld!"))
        received = b""
        while len(received) < 13:
            event = await client.next()
            assert isinstance(event, BytesMessage)
            received += event.data
        assert received.decode() == "hello wörld!"
        await client.send(CloseConnection(1000))
        await client.expect_close(1000)
        await client.expect_end()
        assert running.errors == []


async def test_byte_stream_sends_one_message_a_turn() -> None:
    async def handler(websocket: WebSocket) -> None:
        transport = WebSocketTransport(websocket)
        assert transport.peer == websocket.transport.peer
        transport.write(b"a")
        transport.write(b"b")
        assert transport.buffered == 2
        assert await transport.receive() == b"x"
        transport.write(b"c")
        await transport.aclose()
        transport.write(b"d")
        with pytest.raises(TransportClosed):
            await transport.drain()

    async with serving(handler) as running, running.connect() as client:
        await client.opened()
        assert await client.next() == BytesMessage(b"ab")
        await client.send(BytesMessage(b"x"))
        assert await client.next() == BytesMessage(b"c")
        await client.expect_close(1000)
        await client.send(CloseConnection(1000))
        await client.expect_end()
        assert running.errors == []


@pytest.mark.parametrize("outgoing", ["binary", "text"])
async def test_byte_stream_answers_what_came_before_the_close(
    outgoing: Literal["binary", "text"],
) -> None:
    async def handler(websocket: WebSocket) -> None:
        transport = WebSocketTransport(websocket, outgoing=outgoing)
        while data := await transport.receive():
            transport.write(data)

    async with serving(handler) as running:
        data = frame(2, b"a") + frame(2, b"b") + frame(8, b"\x03\xe8")
        answer = await running.raw(handshake() + data)
        kind = b"\x82" if outgoing == "binary" else b"\x81"
        assert answer.endswith(kind + b"\x02ab\x88\x02\x03\xe8")
        assert running.errors == []


@pytest.mark.parametrize("outgoing", ["binary", "text"])
async def test_byte_stream_of_nothing_is_no_message(outgoing: Literal["binary", "text"]) -> None:
    async def handler(websocket: WebSocket) -> None:
        transport = WebSocketTransport(websocket, outgoing=outgoing)
        transport.write(b"")
        await transport.aclose()

    async with serving(handler) as running:
        answer = await running.raw(handshake() + frame(8, b"\x03\xe8"))
        assert answer.endswith(b"\r\n\r\n\x88\x02\x03\xe8")


async def test_byte_stream_of_text() -> None:
    async def handler(websocket: WebSocket) -> None:
        transport = WebSocketTransport(websocket, outgoing="text")
        transport.write("ü".encode())
        transport.write(b"b")
        transport.flush()
        transport.write(b"text")
        transport.write(b"\xff")
        await transport.aclose()

    async with serving(handler) as running, running.connect() as client:
        await client.opened()
        assert await client.next() == TextMessage("üb")
        assert await client.next() == TextMessage("text")
        assert await client.next() == BytesMessage(b"\xff")
        await client.expect_close(1000)


async def test_byte_stream_of_binary_messages_only() -> None:
    async def handler(websocket: WebSocket) -> None:
        transport = WebSocketTransport(websocket, binary_only=True)
        assert await transport.receive() == b"fine"
        assert await transport.receive() == b""

    async with serving(handler) as running, running.connect() as client:
        await client.opened()
        await client.send(BytesMessage(b"fine"))
        await client.send(TextMessage("wrong"))
        await client.expect_close(1003)
        assert running.errors == []


async def test_byte_stream_abort_and_slow_consumer() -> None:
    reasons: list[str | None] = []

    async def handler(websocket: WebSocket) -> None:
        transport = WebSocketTransport(websocket)
        if websocket.request.path == "/abort":
            transport.abort("enough")
        while not transport.closed:
            transport.write(b"x" * 100_000)
            await trio.lowlevel.checkpoint()
        reasons.append(transport.abort_reason)
        await transport.receive()

    async with serving(handler, limits={"max_write_buffer": 1_000_000}) as running:
        async with running.connect() as client:
            await client.opened()
            with pytest.raises(trio.BrokenResourceError):
                await client.expect_end_slowly(reasons)
        assert await _reset(running)
        assert reasons == ["slow consumer", "enough"]
        assert running.errors == []


async def test_byte_stream_of_a_client_that_vanishes() -> None:
    reasons: list[str] = []

    async def handler(websocket: WebSocket) -> None:
        try:
            await WebSocketTransport(websocket).receive()
        except TransportClosed as error:
            reasons.append(error.reason)
            raise

    async with serving(handler) as running:
        async with running.connect() as client:
            await client.opened()
        with trio.fail_after(5):
            while not reasons:  # noqa: ASYNC110
                await trio.sleep(0.001)
        assert reasons == ["closed without a closing handshake"]
        assert running.errors == []


async def _reset(running: Running) -> bool:
    try:
        await running.raw(handshake("GET /abort HTTP/1.1"))
    except trio.BrokenResourceError:
        return True
    return False
