"""HTTP/2 on real sockets: real clients, streams, windows, limits, and clients that mean harm."""

import contextlib
import gzip
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import httpx
import pytest
import trio
import trio.testing
import trustme
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from hubbub.http import HttpError, Request, Response, Upgrade, compress
from hubbub.http.http2 import STREAM_WINDOW
from hubbub.server import TlsSettings

from .test_http import Running, echo, hello, serving, until

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ENOUGH = 2**24


class Client:
    """An h2 client; events are kept by stream."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding="latin-1",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.h2 = h2.connection.H2Connection(config)
        self.seen: list[h2.events.Event] = []
        self.reads = True  # gives windows back
        self.closed = False
        self._received = b""
        self._sending = trio.Lock()

    async def __aenter__(self) -> Self:
        self.h2.initiate_connection()
        await self.flush()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stream.aclose()

    async def flush(self) -> None:
        async with self._sending:
            await self.stream.send_all(self.h2.data_to_send())

    async def send_frames(self, *frames: Frame) -> None:
        async with self._sending:
            await self.stream.send_all(b"".join(frame.serialize() for frame in frames))

    async def ask(
        self, *fields: tuple[str, str], path: str = "/", method: str = "GET", end: bool = True
    ) -> int:
        """Send a request's head; returns its stream."""
        stream_id = self.h2.get_next_available_stream_id()
        pseudo = [
            (":method", method), (":path", path), (":scheme", "http"), (":authority", "a.example"),
        ]  # fmt: skip
        self.h2.send_headers(stream_id, [*pseudo, *fields], end_stream=end)
        await self.flush()
        return stream_id

    async def send(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Send a part of a body, as the windows allow."""
        while True:
            window = self.h2.local_flow_control_window(stream_id)
            size = min(window, self.h2.max_outbound_frame_size, len(data))
            if size or not data:
                last = end and size == len(data)
                self.h2.send_data(stream_id, data[:size], end_stream=last)
                await self.flush()
                data = data[size:]
                if not data:
                    return
            else:
                await self.read()

    async def read(self) -> None:
        """Read once."""
        data = await self.stream.receive_some()
        if not data:
            self.closed = True
            return
        self._received += data
        while (frame := self._next_frame()) is not None:
            for event in self.h2.receive_data(frame):
                self.seen.append(event)
                if isinstance(event, h2.events.DataReceived) and self.reads:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if isinstance(event, h2.events.ConnectionTerminated) and not event.error_code:
                    # For h2 nothing comes after a GOAWAY; for us the answers do.
                    self.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
        await self.flush()

    def _next_frame(self) -> bytes | None:
        size = 9 + int.from_bytes(self._received[:3])
        if len(self._received) < size:
            return None
        frame, self._received = self._received[:size], self._received[size:]
        return frame

    async def find(self, kind: type[h2.events.Event], stream_id: int | None = None) -> Any:
        """Wait for an event."""
        while True:
            for event in self.seen:
                if isinstance(event, kind) and (
                    stream_id is None or getattr(event, "stream_id", None) == stream_id
                ):
                    return event
            assert not self.closed, self.seen
            await self.read()

    def data(self, stream_id: int) -> bytes:
        """What has come of an answer's body."""
        return b"".join(
            event.data
            for event in self.seen
            if isinstance(event, h2.events.DataReceived) and event.stream_id == stream_id
        )

    async def until(self, stream_id: int, end: bytes) -> None:
        while not self.data(stream_id).endswith(end):
            assert not self.closed
            await self.read()

    async def head(self, stream_id: int) -> dict[str, str]:
        event = await self.find(h2.events.ResponseReceived, stream_id)
        return dict(event.headers)

    async def answer(self, stream_id: int) -> tuple[int, bytes]:
        """Wait for a whole answer."""
        await self.find(h2.events.StreamEnded, stream_id)
        return int((await self.head(stream_id))[":status"]), self.data(stream_id)

    async def get(self, path: str = "/", *fields: tuple[str, str]) -> tuple[int, bytes]:
        return await self.answer(await self.ask(*fields, path=path))

    async def post(self, body: bytes, *fields: tuple[str, str]) -> tuple[int, bytes]:
        stream_id = await self.ask(*fields, method="POST", end=False)
        await self.send(stream_id, body, end=True)
        return await self.answer(stream_id)

    async def reset(self, stream_id: int) -> int:
        """Wait for a reset; returns its code."""
        code: int = (await self.find(h2.events.StreamReset, stream_id)).error_code
        return code

    async def farewell(self) -> h2.events.ConnectionTerminated:
        """Wait for GOAWAY and the end."""
        while not self.closed:
            try:
                await self.read()
            except trio.BrokenResourceError:
                break
        found = [each for each in self.seen if isinstance(each, h2.events.ConnectionTerminated)]
        assert found
        return found[-1]


def missing(what: str) -> None:
    """End the test that needs what is not there: a skip at home, a failure with CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not installed")
    pytest.skip(f"{what} is not installed")


async def connect(running: Running) -> Client:
    return Client(await trio.open_tcp_stream("127.0.0.1", running.port))


# Real clients


async def test_httpx_many_at_once() -> None:
    async with serving(echo) as running:
        async with httpx.AsyncClient(
            http1=False, http2=True, base_url=f"http://127.0.0.1:{running.port}"
        ) as client:
            answers: list[bytes] = []

            async def send(number: int) -> None:
                answer = await client.post(f"/{number}", content=b"%d" % number * 1000)
                assert answer.http_version == "HTTP/2"
                assert answer.headers["x-target"] == f"/{number}"
                answers.append(answer.content)

            async with trio.open_nursery() as nursery:
                for number in range(60):
                    nursery.start_soon(send, number)
            assert sorted(answers) == sorted(b"%d" % number * 1000 for number in range(60))
            large = bytes(range(256)) * 8_000
            assert (await client.post("/", content=large)).content == large
        assert running.server.stats.http2_connections == 1
        assert running.server.stats.requests == 61
        assert running.errors == []


@pytest.mark.parametrize("clients_http2", [True, False])
async def test_alpn_decides_on_tls(clients_http2: bool, tmp_path: Any) -> None:
    authority = trustme.CA()
    certificate = tmp_path / "cert.pem"
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    context = ssl.create_default_context()
    authority.configure_trust(context)

    async def app(request: Request) -> Response:
        assert request.transport.tls
        assert request.transport.alpn == ("h2" if clients_http2 else "http/1.1")
        return Response(body=await request.body())

    limits = {"tls": TlsSettings(certificate=certificate)}
    async with serving(app, limits=limits) as running:
        async with httpx.AsyncClient(http2=clients_http2, verify=context) as client:
            url = f"https://127.0.0.1:{running.port}/"
            for body in (b"x", b"y" * 1_000_000):
                answer = await client.post(url, content=body)
                assert answer.http_version == ("HTTP/2" if clients_http2 else "HTTP/1.1")
                assert answer.content == body
        assert running.server.stats.http2_connections == int(clients_http2)


async def test_curl_with_prior_knowledge() -> None:
    curl = shutil.which("curl")
    if curl is None:
        missing("curl")
    assert curl is not None
    body = b"z" * 300_000
    async with serving(echo) as running:
        url = f"http://127.0.0.1:{running.port}/"
        # One request each: this curl can't use such a connection again.
        for command, given, answer in (
            ([curl, "-sS", "--data-binary", "@-"], body, body),
            ([curl, "-sS"], b"", b""),
        ):
            done = await trio.run_process(
                [*command, "--http2-prior-knowledge", "-w", "\n%{http_version}", url],
                stdin=given,
                capture_stdout=True,
            )
            assert done.stdout == answer + b"\n2"
        assert running.server.stats.http2_connections == 2


async def test_the_preface_in_pieces_and_what_only_looks_like_it() -> None:
    async with serving(hello) as running:
        stream = await trio.open_tcp_stream("127.0.0.1", running.port)
        async with Client(stream) as client:
            pass
        stream = await trio.open_tcp_stream("127.0.0.1", running.port)
        client = Client(stream)
        client.h2.initiate_connection()
        client.h2.send_headers(
            1,
            [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a")],
            end_stream=True,
        )
        for byte in client.h2.data_to_send():
            await stream.send_all(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked()
        assert await client.answer(1) == (200, b"hello")
        await stream.aclose()
        assert (await running.exchange(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")).startswith(
            b"HTTP/1.1 505 "
        )
        assert (await running.exchange(b"PRI / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))[
            9:12
        ] == b"200"


def test_what_few_need_is_not_loaded_at_start() -> None:
    code = "import hubbub, sys; print(*{'h2', 'hpack', 'hyperframe'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


async def test_http2_can_be_turned_off() -> None:
    async with serving(hello, http2=False) as running:
        assert (await running.exchange(PREFACE)).startswith(b"HTTP/1.1 505 ")
        assert running.server.alpn == ("http/1.1",)


# Requests and answers


async def test_what_an_application_sees() -> None:
    seen: list[Request] = []

    async def app(request: Request) -> Response:
        seen.append(request)
        return Response(body=await request.body())

    async with serving(app) as running, await connect(running) as client:
        stream_id = await client.ask(
            ("x-many", "1, 2"), ("x-many", "3"), ("cookie", "a=1"), ("cookie", "b=2"),
            path="/a%2Fb?c", method="PUT", end=False,
        )  # fmt: skip
        await client.send(stream_id, b"abc")
        await client.send(stream_id, b"def", end=True)
        assert await client.answer(stream_id) == (200, b"abcdef")
        (request,) = seen
        assert (request.method, request.target) == ("PUT", "/a%2Fb?c")
        assert (request.path, request.query) == ("/a%2Fb", "c")
        assert request.http_version == "2"
        assert request.content_length is None
        assert request.headers.get("host") == "a.example"
        assert request.headers.get_all("x-many") == ["1, 2", "3"]
        assert request.headers.get("cookie") == "a=1; b=2"
        assert not any(name.startswith(":") for name, _ in request.headers)
        assert request.peer.startswith("127.0.0.1:")


async def test_the_whole_head_of_an_answer() -> None:
    async def app(_: Request) -> Response:
        headers = [
            ("Content-Type", "text/plain"), ("Connection", "close"), ("Keep-Alive", "x"),
            ("Set-Cookie", "a"), ("set-cookie", "b"),
        ]  # fmt: skip
        return Response(200, headers, b"hello")

    async with serving(app) as running, await connect(running) as client:
        event = await client.find(h2.events.ResponseReceived, await client.ask())
        assert event.headers == [
            (":status", "200"),
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("server", "hubbub"),
            ("content-type", "text/plain"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
            ("content-length", "5"),
        ]
        assert await client.get() == (200, b"hello")  # the connection goes on


async def test_head_and_answers_without_a_body() -> None:
    closed: list[str] = []

    async def stream() -> AsyncIterator[bytes]:
        try:
            yield b"never sent"
        finally:
            closed.append("")

    async def app(request: Request) -> Response:
        match request.path:
            case "/stream":
                return Response(body=stream())
            case "/none":
                return Response(204)
            case _:
                return Response(body=b"hello")

    async with serving(app) as running, await connect(running) as client:
        stream_id = await client.ask(method="HEAD")
        assert await client.answer(stream_id) == (200, b"")
        assert (await client.head(stream_id))["content-length"] == "5"
        assert await client.answer(await client.ask(method="HEAD", path="/stream")) == (200, b"")
        stream_id = await client.ask(path="/none")
        assert await client.answer(stream_id) == (204, b"")
        assert "content-length" not in await client.head(stream_id)


@pytest.mark.parametrize(
    "response",
    [
        Response(headers=[("X", "a\r\nInjected: 1")]),
        Response(headers=[("X y", "1")]),
        Response(headers=[("", "1")]),
        Response(headers=[(":path", "1")]),
        Response(headers=[("X", "\0")]),
        Response(headers=[("X", "snow \u2603")]),
        Response(headers=[("Content-Length", "7")], body=b"123"),
        Response(headers=[("Transfer-Encoding", "chunked")]),
        Response(204, body=b"x"),
        Response(101),
        Response(1000),
    ],
)
async def test_answers_that_would_break_the_protocol(response: Response) -> None:
    async def app(_: Request) -> Response:
        return response

    async with serving(app) as running, await connect(running) as client:
        assert (await client.get())[0] == 500
        assert [type(error) for error in running.errors] == [ValueError]


async def test_errors_leave_the_connection_alone() -> None:
    async def nothing(*_: object) -> None:
        raise AssertionError

    async def app(request: Request) -> Response | Upgrade:
        match request.path:
            case "/crash":
                raise ZeroDivisionError
            case "/refuse":
                raise HttpError(429, "slowly", [("Retry-After", "1")])
            case "/upgrade":
                return Upgrade(b"HTTP/1.1 101 x\r\n\r\n", nothing)
        return Response(body=b"fine")

    async with serving(app) as running, await connect(running) as client:
        assert (await client.get("/crash"))[0] == 500
        assert await client.get("/refuse") == (429, b"slowly\n")
        assert (await client.get("/upgrade"))[0] == 500
        assert await client.get() == (200, b"fine")
        assert running.server.stats.crashes == 2


async def test_continue_is_sent_when_the_body_is_read() -> None:
    async with serving(echo) as running, await connect(running) as client:
        stream_id = await client.ask(("expect", "100-continue"), method="POST", end=False)
        await client.find(h2.events.InformationalResponseReceived, stream_id)
        await client.send(stream_id, b"abc", end=True)
        assert await client.answer(stream_id) == (200, b"abc")


async def test_trailers_are_taken() -> None:
    async with serving(echo) as running, await connect(running) as client:
        stream_id = await client.ask(method="POST", end=False)
        await client.send(stream_id, b"abc")
        client.h2.send_headers(stream_id, [("x-sum", "1")], end_stream=True)
        await client.flush()
        assert await client.answer(stream_id) == (200, b"abc")


async def test_compressed_where_asked() -> None:
    async def app(request: Request) -> Response:
        response = Response(headers=[("Content-Type", "text/plain")], body=b"hubbub " * 1000)
        return await compress(request, response)

    async with serving(app) as running, await connect(running) as client:
        status, body = await client.get("/", ("accept-encoding", "gzip"))
        assert (status, gzip.decompress(body)) == (200, b"hubbub " * 1000)


# Streaming and windows


async def test_streaming_both_ways() -> None:
    async def app(request: Request) -> Response:
        async def shout() -> AsyncIterator[bytes]:
            async for part in request.stream():
                yield part.upper()

        return Response(body=shout())

    async with serving(app) as running, await connect(running) as client:
        stream_id = await client.ask(method="POST", end=False)
        await client.head(stream_id)
        for word in (b"one", b"two"):
            await client.send(stream_id, word)
            await client.until(stream_id, word.upper())
        await client.send(stream_id, b"", end=True)
        assert await client.answer(stream_id) == (200, b"ONETWO")


async def test_bodies_larger_than_every_window() -> None:
    body = bytes(range(256)) * 6_000  # 1.5 MB
    async with serving(echo) as running, await connect(running) as client:
        assert await client.post(body) == (200, body)
        assert await client.post(body) == (200, body)


async def test_a_body_nobody_reads_stops_at_the_window_and_holds_nobody_up() -> None:
    go_on = trio.Event()

    async def app(request: Request) -> Response:
        if request.path == "/slow":
            await go_on.wait()
        return Response(body=b"%d" % len(await request.body()))

    async with serving(app) as running, await connect(running) as client:
        stream_id = await client.ask(method="POST", path="/slow", end=False)
        await client.find(h2.events.RemoteSettingsChanged)
        await client.send(stream_id, b"x" * STREAM_WINDOW)
        assert client.h2.local_flow_control_window(stream_id) == 0
        assert await client.post(b"y" * 100_000) == (200, b"100000")
        go_on.set()
        await client.send(stream_id, b"x", end=True)
        assert await client.answer(stream_id) == (200, b"%d" % (STREAM_WINDOW + 1))


async def test_unread_bodies_give_their_window_back() -> None:
    async with serving(hello) as running, await connect(running) as client:
        await client.find(h2.events.RemoteSettingsChanged)
        for _ in range(30):  # 6 MB, six times the connection's window
            stream_id = await client.ask(method="POST", end=False)
            with trio.fail_after(5):
                for _ in range(3):
                    if client.h2.streams[stream_id].closed:
                        break
                    try:
                        await client.send(stream_id, b"x" * 65_536)
                    except h2.exceptions.StreamClosedError:
                        break
            assert await client.answer(stream_id) == (200, b"hello")


async def test_the_client_may_spare_itself_a_body_that_nobody_reads() -> None:
    async with serving(hello, linger=0.05) as running, await connect(running) as client:
        stream_id = await client.ask(method="POST", end=False)
        assert await client.answer(stream_id) == (200, b"hello")
        assert await client.reset(stream_id) == h2.errors.ErrorCodes.NO_ERROR


@pytest.mark.parametrize(
    "fields", [[("content-length", "300000")], [("expect", "100-continue")], []], ids=str
)
async def test_a_body_that_nobody_reads_and_will_not_end_soon_is_not_waited_for(
    fields: list[tuple[str, str]],
) -> None:
    async with serving(hello, linger=60.0) as running, await connect(running) as client:
        stream_id = await client.ask(*fields, method="POST", end=False)
        assert await client.answer(stream_id) == (200, b"hello")
        if not fields:
            await client.send(stream_id, bytes(STREAM_WINDOW + 1))
        assert await client.reset(stream_id) == h2.errors.ErrorCodes.NO_ERROR


async def test_a_client_may_finish_a_body_that_nobody_reads() -> None:
    async with serving(hello, linger=60.0) as running, await connect(running) as client:
        for _ in range(12):  # more than the connection's window
            stream_id = await client.ask(method="POST", end=False)
            assert await client.answer(stream_id) == (200, b"hello")
            await client.send(stream_id, bytes(100_000))
            await client.send(stream_id, b"x", end=True)
        assert await client.get() == (200, b"hello")
        assert not [event for event in client.seen if isinstance(event, h2.events.StreamReset)]


async def test_mistakes_in_a_body_that_nobody_reads_are_noticed() -> None:
    async with serving(hello, linger=60.0) as running, await connect(running) as client:
        stream_id = await client.ask(("content-length", "1"), method="POST", end=False)
        assert await client.answer(stream_id) == (200, b"hello")
        await client.send_frames(DataFrame(stream_id, b"four"))
        assert (await client.farewell()).error_code == h2.errors.ErrorCodes.PROTOCOL_ERROR


async def test_a_stop_does_not_wait_for_a_body_that_nobody_reads() -> None:
    async with serving(hello, linger=60.0) as running, await connect(running) as client:
        stream_id = await client.ask(method="POST", end=False)
        assert await client.answer(stream_id) == (200, b"hello")
        running.request_stop(30.0)
        with trio.fail_after(10):
            assert await client.reset(stream_id) == h2.errors.ErrorCodes.NO_ERROR
            assert (await client.farewell()).error_code == h2.errors.ErrorCodes.NO_ERROR


async def test_a_stream_with_a_length() -> None:
    async def app(request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"ab"
            yield b""
            yield b"cd"

        return Response(headers=[("Content-Length", request.path[1:])], body=parts())

    async with serving(app) as running, await connect(running) as client:
        assert await client.get("/4") == (200, b"abcd")
        assert (await client.get("/x"))[0] == 500
        for wrong in ("/3", "/5"):
            code = await client.reset(await client.ask(path=wrong))
            assert code == h2.errors.ErrorCodes.INTERNAL_ERROR
        assert len(running.errors) == 3


async def test_a_stream_that_crashes_is_reset() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"begin"
        raise ZeroDivisionError

    async def app(_: Request) -> Response:
        return Response(body=broken())

    async with serving(app) as running, await connect(running) as client:
        assert await client.reset(await client.ask()) == h2.errors.ErrorCodes.INTERNAL_ERROR
        assert [type(error) for error in running.errors] == [ZeroDivisionError]


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_stream_ends_when_the_client_goes_away(how: str) -> None:
    ended = trio.Event()

    async def waiting() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await trio.sleep_forever()
        finally:
            ended.set()

    async def app(_: Request) -> Response:
        return Response(body=waiting())

    async with serving(app) as running:
        async with await connect(running) as client:
            stream_id = await client.ask()
            await client.until(stream_id, b"first")
            assert not ended.is_set()
            if how == "reset":
                client.h2.reset_stream(stream_id)
                await client.flush()
                await ended.wait()
        await ended.wait()
        assert running.errors == []


async def test_long_polls_end_with_the_client_or_the_server() -> None:
    seen: list[tuple[bool, bool]] = []

    async def app(request: Request) -> Response:
        async with request.until_disconnect():
            await trio.sleep(60)
        seen.append((request.disconnected, request.stopping))
        return Response(body=b"nothing yet")

    async with serving(app) as running, await connect(running) as client:
        first = await client.ask()
        second = await client.ask()
        await until(lambda: running.server.stats.requests == 2)
        client.h2.reset_stream(first)
        await client.flush()
        await until(lambda: seen == [(True, False)])
        running.request_stop(5)
        assert await client.answer(second) == (200, b"nothing yet")
        assert seen[1:] == [(False, True)]
        await running.ended.wait()


async def test_the_end_of_a_connection_within_a_body() -> None:
    ended = trio.Event()

    async def app(request: Request) -> Response:
        try:
            return Response(body=await request.body())
        finally:
            ended.set()

    async with serving(app) as running:
        async with await connect(running) as client:
            stream_id = await client.ask(method="POST", end=False)
            await client.send(stream_id, b"abc")
        await ended.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert running.errors == []
        assert running.server.stats.crashes == 0


# Stopping and leaving


async def test_a_stop_says_goaway_and_answers_what_is_in_hand() -> None:
    go_on = trio.Event()

    async def app(_: Request) -> Response:
        await go_on.wait()
        return Response(body=b"done")

    async with (
        serving(app) as running,
        await connect(running) as busy,
        await connect(running) as idle,
    ):
        await idle.find(h2.events.RemoteSettingsChanged)
        stream_id = await busy.ask()
        await until(lambda: running.server.stats.requests == 1)
        running.request_stop(5)
        assert (await idle.farewell()).error_code == 0
        goodbye = await busy.find(h2.events.ConnectionTerminated)
        assert (goodbye.error_code, goodbye.last_stream_id) == (0, 1)
        late = await busy.ask()
        assert await busy.reset(late) == h2.errors.ErrorCodes.REFUSED_STREAM
        go_on.set()
        assert await busy.answer(stream_id) == (200, b"done")
        await busy.farewell()
        await running.ended.wait()


async def test_the_deadline_of_a_stop_holds() -> None:
    async def app(_: Request) -> Response:
        await trio.sleep(60)
        return Response()

    async with serving(app) as running, await connect(running) as client:
        await client.ask()
        await until(lambda: running.server.stats.requests == 1)
        running.request_stop(0.05)
        await running.ended.wait()


async def test_a_client_that_leaves_gets_what_it_has_asked_for() -> None:
    go_on = trio.Event()

    async def app(_: Request) -> Response:
        await go_on.wait()
        return Response(body=b"done")

    async with serving(app) as running, await connect(running) as client:
        stream_id = await client.ask()
        await until(lambda: running.server.stats.requests == 1)
        await client.send_frames(GoAwayFrame(0))
        go_on.set()
        assert await client.answer(stream_id) == (200, b"done")
        assert (await client.farewell()).error_code == 0


async def test_idle_connections_are_closed() -> None:
    async with (
        serving(hello, keep_alive_timeout=0.1) as running,
        await connect(running) as client,
    ):
        assert await client.get() == (200, b"hello")
        with trio.fail_after(2):
            assert (await client.farewell()).error_code == 0
        assert running.server.stats.timeouts == 0


async def test_pings_are_answered_but_keep_nothing_alive() -> None:
    async with (
        serving(hello, keep_alive_timeout=0.2) as running,
        await connect(running) as client,
    ):
        client.h2.ping(b"12345678")
        await client.flush()
        await client.find(h2.events.PingAckReceived)
        with trio.fail_after(2):
            await client.farewell()


# Clients that are slow


async def test_slow_bodies_are_timed_out() -> None:
    cancelled = trio.Event()

    async def app(request: Request) -> Response:
        try:
            return Response(body=await request.body())
        finally:
            cancelled.set()

    async with serving(app, body_timeout=0.1) as running, await connect(running) as client:
        stream_id = await client.ask(method="POST", end=False)
        await client.send(stream_id, b"abc")
        assert (await client.answer(stream_id))[0] == 408
        assert cancelled.is_set()
        assert running.server.stats.timeouts == 1
        assert await client.post(b"") == (200, b"")


async def test_slow_heads_are_timed_out() -> None:
    async with serving(hello, head_timeout=0.1) as running:
        async with await connect(running) as client:
            await client.find(h2.events.RemoteSettingsChanged)
            await client.send_frames(HeadersFrame(1, b"\x82"))  # END_HEADERS is missing
            assert (await client.farewell()).error_code == 0
            assert running.server.stats.timeouts == 1
        stream = await trio.open_tcp_stream("127.0.0.1", running.port)
        async with stream:
            await stream.send_all(PREFACE[:20])
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 408 ")
        assert running.server.stats.timeouts == 2


@pytest.mark.parametrize("dribble", [False, True])
async def test_a_client_that_opens_no_window_is_cut_off(dribble: bool) -> None:
    closed = trio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 100_000
        finally:
            closed.set()

    async def app(request: Request) -> Response:
        return Response(body=b"fine" if request.path == "/fine" else endless())

    async with (
        serving(app, limits={"write_timeout": 0.3}) as running,
        await connect(running) as client,
    ):
        client.reads = False
        stream_id = await client.ask()
        await client.find(h2.events.DataReceived, stream_id)

        async def open_little() -> None:
            with contextlib.suppress(h2.exceptions.StreamClosedError):  # once the reset is there
                while True:
                    client.h2.increment_flow_control_window(1)
                    client.h2.increment_flow_control_window(1, stream_id)
                    await client.flush()
                    await trio.sleep(0.02)

        async with trio.open_nursery() as nursery:
            if dribble:
                nursery.start_soon(open_little)
            assert await client.reset(stream_id) == h2.errors.ErrorCodes.CANCEL
            nursery.cancel_scope.cancel()
        await closed.wait()
        assert running.server.stats.http2_slow_readers == 1
        assert running.errors == []


async def test_a_client_that_reads_nothing_at_all_is_aborted() -> None:
    ended = trio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 100_000
        finally:
            ended.set()

    async def app(_: Request) -> Response:
        return Response(body=endless())

    async with (
        serving(app, limits={"write_timeout": 0.2}) as running,
        await connect(running) as client,
    ):
        client.h2.increment_flow_control_window(ENOUGH)
        for _ in range(10):
            stream_id = await client.ask()
            client.h2.increment_flow_control_window(ENOUGH, stream_id)
        await client.flush()
        await ended.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert running.errors == []


# Limits, and clients that break the rules


async def test_requests_too_many_are_refused_alone() -> None:
    go_on = trio.Event()

    async def app(_: Request) -> Response:
        await go_on.wait()
        return Response(body=b"fine")

    async with serving(app, http2_max_streams=2) as running, await connect(running) as client:
        # As one that has not seen our settings yet.
        streams = [await client.ask() for _ in range(3)]
        code = await client.reset(streams[2])
        assert code == h2.errors.ErrorCodes.REFUSED_STREAM
        assert running.server.stats.http2_refused == 1
        go_on.set()
        for stream_id in streams[:2]:
            assert await client.answer(stream_id) == (200, b"fine")
        assert await client.get() == (200, b"fine")


async def test_large_heads() -> None:
    async with serving(hello, max_head_bytes=1000, max_headers=10) as running:
        async with await connect(running) as client:
            assert await client.get("/", ("x", "y" * 500)) == (200, b"hello")
            assert (await client.get("/", *[(f"x-{number}", "") for number in range(11)]))[0] == 431
            await client.ask(("x", "\xff" * 1000))
            assert (await client.farewell()).error_code == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
        assert running.server.stats.bad_requests == 2


async def test_small_heads_that_grow() -> None:
    """Headers that are one byte each on the wire (CVE-2016-6581)."""
    async with serving(hello) as running, await connect(running) as client:
        await client.get("/", ("x-bomb", "y" * 3000))
        await client.ask(*[("x-bomb", "y" * 3000)] * 20)
        assert (await client.farewell()).error_code == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("known", [True, False])
async def test_large_bodies(known: bool) -> None:
    async with serving(echo, max_body_bytes=1000) as running, await connect(running) as client:
        fields = [("content-length", "1001")] if known else []
        stream_id = await client.ask(*fields, method="POST", end=False)
        await client.send(stream_id, b"x" * 1001)
        assert (await client.answer(stream_id))[0] == 413
        assert await client.post(b"x" * 1000) == (200, b"x" * 1000)


GOOD = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a")]


@pytest.mark.parametrize(
    "fields",
    [
        [*GOOD, ("Upper", "x")],
        [*GOOD, ("connection", "close")],
        [*GOOD, ("transfer-encoding", "chunked")],
        [*GOOD, ("te", "gzip")],
        [*GOOD, ("x", "a\r\nb")],
        [*GOOD, ("x", "a\0b")],
        [*GOOD, ("x y", "a")],
        [*GOOD, ("x", " a")],
        [*GOOD, ("host", "other")],
        [*GOOD, (":path", "/")],
        [*GOOD, (":other", "/")],
        [*GOOD, ("content-length", "+1")],
        [*GOOD, ("content-length", "1"), ("content-length", "2")],
        [("x", "before"), *GOOD],
        [(":method", "CONNECT"), *GOOD[1:]],
        GOOD[1:],
        [GOOD[0], *GOOD[2:]],
        [*GOOD[:2], GOOD[3]],
    ],
)
async def test_malformed_heads_close_the_connection(fields: list[tuple[str, str]]) -> None:
    async with serving(hello) as running, await connect(running) as client:
        client.h2.send_headers(1, fields, end_stream=True)
        await client.flush()
        assert (await client.farewell()).error_code == h2.errors.ErrorCodes.PROTOCOL_ERROR
        assert running.server.stats.bad_requests == 1
        assert running.server.stats.requests == 0
        assert running.errors == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ([GOOD[0], (":path", "a"), *GOOD[2:]], 400),
        ([GOOD[0], (":path", "/a b"), *GOOD[2:]], 400),
        ([GOOD[0], (":path", "/\x7f"), *GOOD[2:]], 400),
        ([GOOD[0], (":path", "/\xe4"), *GOOD[2:]], 400),
        ([(":method", "G(T"), *GOOD[1:]], 400),
        ([(":method", "CONNECT"), (":authority", "a:1")], 501),
        ([*GOOD, ("content-length", "1")], 400),
    ],
)
async def test_what_http1_could_not_carry_is_refused(
    fields: list[tuple[str, str]], code: int
) -> None:
    async with serving(hello) as running, await connect(running) as client:
        client.h2.send_headers(1, fields, end_stream=True)
        await client.flush()
        assert (await client.answer(1))[0] == code
        assert await client.get() == (200, b"hello")


async def test_a_body_that_is_not_as_long_as_it_says() -> None:
    async with serving(echo) as running:
        for body in (b"ab", b"abcd"):
            async with await connect(running) as client:
                stream_id = await client.ask(("content-length", "3"), method="POST", end=False)
                client.h2.send_data(stream_id, body, end_stream=True)
                await client.flush()
                assert (await client.farewell()).error_code == h2.errors.ErrorCodes.PROTOCOL_ERROR
        assert running.errors == []


class Unknown(DataFrame):
    """A frame of a type that does not exist."""

    type = 0xFA


@pytest.mark.parametrize(
    "flood",
    ["ping", "settings", "priority", "window", "data", "unknown", "reset", "continuation"],
)
async def test_floods_are_ended_while_others_are_served(flood: str) -> None:
    async with serving(hello, linger=0.1) as running, await connect(running) as client:
        await client.find(h2.events.RemoteSettingsChanged)

        def ask_and_reset() -> bytes:
            stream_id = client.h2.get_next_available_stream_id()
            client.h2.send_headers(stream_id, GOOD, end_stream=True)
            client.h2.reset_stream(stream_id)
            return client.h2.data_to_send()

        frames: dict[str, Callable[[], bytes]] = {
            "ping": PingFrame(0, b"12345678").serialize,
            "settings": SettingsFrame(0, {1: 4096}).serialize,
            "priority": PriorityFrame(1, 0).serialize,
            "window": WindowUpdateFrame(0, 1).serialize,
            "data": DataFrame(1, b"").serialize,
            "unknown": Unknown(1, b"").serialize,
            "reset": ask_and_reset,
            "continuation": ContinuationFrame(1, b"").serialize,
        }
        if flood == "data":
            await client.ask(method="POST", end=False)
        elif flood == "continuation":
            await client.send_frames(HeadersFrame(1, b""))

        async def send() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                while True:
                    await client.stream.send_all(b"".join(frames[flood]() for _ in range(50)))

        async def others() -> None:
            for _ in range(3):
                async with await connect(running) as other:
                    assert await other.get() == (200, b"hello")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(others)
        assert running.server.stats.bad_requests == 1
        assert running.server.stats.http2_floods == int(flood != "continuation")
        assert running.errors == []


async def test_a_frame_too_long_is_refused_before_it_has_come() -> None:
    async with serving(hello) as running, await connect(running) as client:
        await client.find(h2.events.RemoteSettingsChanged)
        await client.stream.send_all((2**24 - 1).to_bytes(3) + b"\x00\x00\x00\x00\x00\x01")
        assert (await client.farewell()).error_code == h2.errors.ErrorCodes.FRAME_SIZE_ERROR
        assert running.server.stats.bad_requests == 1


async def test_a_large_download_is_no_flood() -> None:
    body = b"x" * 4_000_000

    async def app(_: Request) -> Response:
        return Response(body=body)

    async with serving(app) as running, await connect(running) as client:
        client.reads = False
        stream_id = await client.ask()
        read = 0
        while read < len(body):
            await client.read()
            for event in client.seen:
                if isinstance(event, h2.events.DataReceived):
                    read += len(event.data)
                    size = event.flow_controlled_length
                    client.h2.increment_flow_control_window(size)
                    with contextlib.suppress(h2.exceptions.StreamClosedError):
                        client.h2.increment_flow_control_window(size, stream_id)
            client.seen.clear()
            await client.flush()
        assert running.server.stats.http2_floods == 0


async def test_our_memory_of_headers_is_ours_to_bound() -> None:
    """A client may not make us remember gigabytes of our own headers."""
    number = 0

    async def app(_: Request) -> Response:
        nonlocal number
        number += 1
        return Response(headers=[("x-request-id", f"{number:0100}")])

    async with serving(app) as running, await connect(running) as client:
        client.h2.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: 2**24})
        await client.flush()
        for _ in range(100):
            assert (await client.get())[0] == 200
        assert client.h2.decoder.header_table._current_size <= 4096


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (DataFrame(1, b"late"), b"DATA after the end of stream 1"),
        (
            HeadersFrame(1, b"\x82\x84\x86\x01\x01a", flags=["END_HEADERS", "END_STREAM"]),
            b"stream 1 is closed",
        ),
    ],
    ids=["data", "headers"],
)
async def test_frames_after_the_end_of_a_stream(frame: Frame, reason: bytes) -> None:
    async with serving(hello) as running, await connect(running) as client:
        assert await client.get() == (200, b"hello")
        assert await client.get() == (200, b"hello")
        await client.send_frames(frame)
        farewell = await client.farewell()
        assert farewell.error_code == h2.errors.ErrorCodes.STREAM_CLOSED
        assert farewell.additional_data == reason
        assert running.errors == []


async def test_data_after_a_reset_may_have_been_under_way() -> None:
    async with serving(hello, linger=0.0) as running, await connect(running) as client:
        stream_id = await client.ask(method="POST", end=False)
        assert await client.reset(stream_id) == h2.errors.ErrorCodes.NO_ERROR
        await client.send_frames(DataFrame(stream_id, b"late"))
        assert await client.get() == (200, b"hello")
        assert running.errors == []
