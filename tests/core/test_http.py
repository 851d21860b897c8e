"""The HTTP server on real sockets: well-formed, malformed and hostile clients."""

import http.client
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import h11
import httpx
import pytest
import trio
import trio.testing

from hubbub.http import (
    App,
    Headers,
    HttpError,
    HttpServer,
    HttpSettings,
    Request,
    Response,
    Upgrade,
)
from hubbub.server import (
    Flusher,
    ListenerSettings,
    ListenerStats,
    Shutdown,
    Transport,
    serve_tcp,
)

PARSER = "h11"


@pytest.fixture(params=["h11", "httptools"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs with both parsers, and gets the same answers."""
    monkeypatch.setattr(sys.modules[__name__], "PARSER", request.param)


@dataclass
class Running:
    server: HttpServer
    port: int = 0
    stats: ListenerStats = field(default_factory=ListenerStats)
    errors: list[BaseException] = field(default_factory=list)
    ended: trio.Event = field(default_factory=trio.Event)

    def request_stop(self, grace: float) -> None:
        self.server.shutdown.request(grace)

    async def connect(self) -> "Client":
        return Client(await trio.open_tcp_stream("127.0.0.1", self.port))

    async def exchange(self, data: bytes) -> bytes:
        """Send bytes, and return all that comes until the server closes."""
        async with await self.connect() as client:
            await client.send(data)
            return await client.rest()


class Client:
    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.buffer = b""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stream.aclose()

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def until(self, end: bytes) -> bytes:
        """Return what comes up to and with `end`."""
        while end not in self.buffer:
            data = await self.stream.receive_some()
            assert data, f"closed after {self.buffer!r}"
            self.buffer += data
        found, _, self.buffer = self.buffer.partition(end)
        return found + end

    async def rest(self) -> bytes:
        async for data in self.stream:
            self.buffer += data
        return self.buffer


@asynccontextmanager
async def serving(
    app: App, *, limits: dict[str, Any] | None = None, patience: float = 60.0, **settings: Any
) -> AsyncIterator[Running]:
    flusher = Flusher()
    shutdown = Shutdown()
    running = Running(
        HttpServer(
            app,
            HttpSettings(**{"parser": PARSER, **settings}),
            shutdown=shutdown,
            on_error=lambda error, _: running.errors.append(error),
            clock=lambda: 784_111_777.5,
        )
    )
    listener = ListenerSettings(bind=["127.0.0.1:0"], **(limits or {}))

    async def run(task_status: trio.TaskStatus[Any]) -> None:
        await serve_tcp(
            running.server,
            listener,
            flusher=flusher,
            shutdown=shutdown,
            stats=running.stats,
            on_error=lambda error, _: running.errors.append(error),
            alpn=running.server.alpn,
            task_status=task_status,
        )
        running.ended.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(flusher.run)
        running.port = (await nursery.start(run))[0].port
        with trio.fail_after(patience):
            yield running
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool], patience: float = 30.0) -> None:
    """Wait for something that happens on the other side of a socket."""
    with trio.fail_after(patience):
        while not condition():  # noqa: ASYNC110  (counters don't set events)
            await trio.sleep(0.001)


async def echo(request: Request) -> Response:
    return Response(200, [("X-Target", request.target)], await request.body())


async def hello(_: Request) -> Response:
    return Response(200, [("Content-Type", "text/plain")], b"hello")


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSING_GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def post(body: bytes, *headers: bytes) -> bytes:
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join([b"POST / HTTP/1.1", b"Host: a", length, *headers, b"", body])


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer
    return int(answer[9:12])


# Requests and answers


async def test_the_whole_answer() -> None:
    async with serving(hello) as running:
        assert await running.exchange(CLOSING_GET) == (
            b"HTTP/1.1 200 OK\r\n"
            b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
            b"Server: hubbub\r\n"
            b"Content-Length: 5\r\n"
            b"Connection: close\r\n"
            b"Content-Type: text/plain\r\n"
            b"\r\n"
            b"hello"
        )


async def test_what_an_application_sees() -> None:
    seen: list[Request] = []

    async def app(request: Request) -> Response:
        seen.append(request)
        assert await request.body() == b"abc"
        assert await request.body() == b"abc"
        return Response()

    async with serving(app) as running, await running.connect() as client:
        await client.send(
            b"PUT /a%2Fb/c?d=e&f HTTP/1.1\r\nHOST: x\r\nContent-Length: 3\r\n"
            b"X-Many: 1, 2\r\nx-many: 3\r\n\r\nabc"
        )
        await client.until(b"\r\n\r\n")
        (request,) = seen
        assert request.method == "PUT"
        assert request.target == "/a%2Fb/c?d=e&f"
        assert (request.path, request.query) == ("/a%2Fb/c", "d=e&f")
        assert request.http_version == "1.1"
        assert request.content_length == 3
        assert request.peer == request.transport.peer
        assert request.peer.startswith("127.0.0.1:")
        assert request.headers.get("host") == request.headers.get("Host") == "x"
        assert request.headers.get("none") == ""
        assert request.headers.get("none", "default") == "default"
        assert request.headers.get("X-Many") == "1, 2"
        assert request.headers.get_all("X-Many") == ["1, 2", "3"]
        assert request.headers.get_list("x-many") == ["1", "2", "3"]
        assert "X-MANY" in request.headers
        assert "other" not in request.headers
        assert len(request.headers) == 4
        assert ("x-many", "3") in list(request.headers)


def test_headers_repr_shows_them() -> None:
    assert repr(Headers([(b"a", b"b")])) == "Headers([('a', 'b')])"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("http://host:80/a?b", "/a", "b"),
        ("http://host", "/", ""),
        ("/?x=http://y/", "/", "x=http://y/"),
        ("*", "*", ""),
    ],
)
async def test_target_forms(target: str, path: str, query: str) -> None:
    async def app(request: Request) -> Response:
        return Response(body=json.dumps([request.path, request.query]).encode())

    async with serving(app) as running:
        answer = await running.exchange(
            f"OPTIONS {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
        )
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == [path, query]


async def test_real_clients() -> None:
    async with serving(echo) as running:

        def standard_library() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", running.port)
            for number in range(3):
                connection.request("POST", f"/{number}", body=b"x" * number)
                answer = connection.getresponse()
                assert answer.status == 200
                assert answer.read() == b"x" * number
                assert answer.headers["X-Target"] == f"/{number}"
            connection.request("POST", "/", body=iter([b"a", b"b"]), encode_chunked=True)
            assert connection.getresponse().read() == b"ab"
            connection.close()

        await trio.to_thread.run_sync(standard_library)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}") as client:
            assert (await client.post("/", content=b"z" * 300_000)).content == b"z" * 300_000
            answers: list[bytes] = []

            async def send(number: int) -> None:
                answers.append((await client.put("/", content=b"%d" % number)).content)

            async with trio.open_nursery() as nursery:
                for number in range(30):
                    nursery.start_soon(send, number)
            assert sorted(answers) == sorted(b"%d" % number for number in range(30))


async def test_keep_alive_and_pipelining_answer_in_order() -> None:
    async def app(request: Request) -> Response:
        if request.path == "/0":
            await trio.sleep(0.01)
        return Response(body=request.path.encode() + b";" + await request.body() + b".")

    async with serving(app) as running, await running.connect() as client:
        for _ in range(2):
            requests = [
                b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s"
                % (number, number, b"x" * number)
                for number in range(50)
            ]
            await client.send(b"".join(requests))
            for number in range(50):
                head = await client.until(b"\r\n\r\n")
                assert b"Connection" not in head
                assert await client.until(b".") == b"/%d;%s." % (number, b"x" * number)
        assert running.server.stats.requests == 100


async def test_a_request_that_comes_byte_by_byte() -> None:
    async with serving(echo) as running, await running.connect() as client:
        for chunked in (False, True):
            request = post(b"body")
            if chunked:
                request = request.replace(b"Content-Length: 4", b"Transfer-Encoding: chunked")
                request = request.replace(b"\r\n\r\nbody", b"\r\n\r\n4\r\nbody\r\n0\r\n\r\n")
            for byte in request:
                await client.send(bytes([byte]))
                await trio.testing.wait_all_tasks_blocked()
            await client.until(b"\r\n\r\nbody")


async def test_chunked_and_known_length_pipelined() -> None:
    chunked = (
        b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;extension=1\r\nabc\r\n4\r\ndefg\r\n0\r\nTrailer: x\r\n\r\n"
    )
    async with serving(echo) as running:
        answer = await running.exchange(chunked + post(b"second") + chunked + CLOSING_GET)
        assert answer.count(b"HTTP/1.1 200") == 4
        assert answer.count(b"\r\n\r\nabcdefg") == 2
        assert answer.count(b"\r\n\r\nsecond") == 1


async def test_empty_lines_before_a_request_are_skipped() -> None:
    async with serving(hello) as running:
        assert status(await running.exchange(b"\r\n\r\n" + CLOSING_GET)) == 200


async def test_head_has_the_length_but_no_body() -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b"never sent"

    async def app(request: Request) -> Response:
        match request.path:
            case "/stream":
                return Response(body=stream())
            case "/known":
                return Response(headers=[("content-length", "1000")])
            case _:
                return Response(body=b"hello")

    async with serving(app) as running, await running.connect() as client:
        for path, header in (
            (b"/", b"Content-Length: 5\r\n"),
            (b"/stream", b"Transfer-Encoding: chunked\r\n"),
            (b"/known", b"content-length: 1000\r\n"),
        ):
            await client.send(b"HEAD %s HTTP/1.1\r\nHost: a\r\n\r\n" % path)
            assert header in await client.until(b"\r\n\r\n")
        await client.send(CLOSING_GET)
        assert status(await client.rest()) == 200


async def test_no_content_has_no_length() -> None:
    async def app(_: Request) -> Response:
        return Response(204)

    async with serving(app) as running:
        answer = await running.exchange(CLOSING_GET)
        assert answer.startswith(b"HTTP/1.1 204 No Content\r\n")
        assert b"Content-Length" not in answer


async def test_http_1_0() -> None:
    async def app(request: Request) -> Response:
        async def stream() -> AsyncIterator[bytes]:
            yield b"a"
            yield b"b"

        return Response(body=stream() if request.path == "/stream" else b"x")

    async with serving(app) as running:
        answer = await running.exchange(b"GET / HTTP/1.0\r\n\r\n")
        assert b"\r\nConnection: close\r\n" in answer
        answer = await running.exchange(
            b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
            b"GET /stream HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
        )
        assert b"\r\nConnection: keep-alive\r\n" in answer
        assert b"chunked" not in answer
        assert answer.endswith(b"Connection: close\r\n\r\nab")


async def test_given_headers_replace_those_of_the_server() -> None:
    async def app(_: Request) -> Response:
        headers = [("server", "mine"), ("DATE", "now"), ("Connection", "close")]
        return Response(headers=headers, body=b"")

    async with serving(app) as running:
        answer = await running.exchange(GET)
        assert answer.lower().count(b"\r\nserver:") == 1
        assert answer.lower().count(b"\r\ndate:") == 1
        assert answer.lower().count(b"\r\nconnection:") == 1


async def test_unknown_status_and_no_server_header() -> None:
    async def app(_: Request) -> Response:
        return Response(599)

    async with serving(app, server_header="") as running:
        answer = await running.exchange(CLOSING_GET)
        assert answer.startswith(b"HTTP/1.1 599 Unknown\r\n")
        assert b"Server" not in answer


@pytest.mark.parametrize(
    "response",
    [
        Response(headers=[("X", "a\r\nInjected: 1")]),
        Response(headers=[("X\r\nInjected", "1")]),
        Response(headers=[("X y", "1")]),
        Response(headers=[("", "1")]),
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

    async with serving(app) as running:
        answer = await running.exchange(CLOSING_GET)
        assert status(answer) == 500
        assert b"Injected" not in answer
        assert [type(error) for error in running.errors] == [ValueError]


async def test_a_crash_is_a_500_and_the_connection_stays() -> None:
    async def app(request: Request) -> Response:
        await request.body()
        if request.path == "/crash":
            raise ZeroDivisionError
        if request.path == "/refuse":
            raise HttpError(429, "slowly", [("Retry-After", "1")])
        return Response(body=b"fine")

    async with serving(app) as running, await running.connect() as client:
        for path, code in ((b"/crash", 500), (b"/refuse", 429), (b"/", 200)):
            await client.send(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path)
            head = await client.until(b"\r\n\r\n")
            assert status(head) == code
            assert (b"Retry-After: 1\r\n" in head) == (code == 429)
            await client.until(b"\n" if code != 200 else b"fine")
        assert [type(error) for error in running.errors] == [ZeroDivisionError]
        assert running.server.stats.crashes == 1


# Malformed requests, and those that two parsers could read in two ways


def with_header(*lines: bytes) -> bytes:
    return b"".join([b"GET / HTTP/1.1\r\nHost: a\r\n", *lines, b"\r\n"])


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"garbage\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
        (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\xe4 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        # who is asked
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nhOST: a\r\n\r\n", 400),
        # names and values
        (with_header(b"Bad Name: x\r\n"), 400),
        (with_header(b"X : a\r\n"), 400),
        (with_header(b": a\r\n"), 400),
        (with_header(b"X\r\n"), 400),
        (with_header(b"X(: a\r\n"), 400),
        (with_header(b"X\xe4: a\r\n"), 400),
        *[(with_header(b"X: a%cb\r\n" % byte), 400) for byte in (0, 1, 8, 11, 12, 27, 127)],
        # lines
        (with_header(b"X: a\r\n b\r\n"), 400),
        (with_header(b"X: a\r\n\tb\r\n"), 400),
        (with_header(b" X: a\r\n"), 400),
        (with_header(b"X: a\nY: b\r\n"), 400),
        (with_header(b"X: a\rY: b\r\n"), 400),
        (with_header(b"X: a\r\r\n"), 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
        (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        # lengths
        (post(b"abc", b"Content-Length: 2"), 400),
        (post(b"abc", b"Content-Length: 3"), 400),
        (post(b"abc", b"content-length: 3"), 400),
        *[
            (post(b"abc").replace(b": 3", b": " + length), 400)
            for length in (
                b"3, 4", b"3, 3", b"3,3", b"+3", b"-3", b"0x3", b"3 ,", b"", b"3.0", b"3 3",
                b"\xb3", b"9" * 30,
            )
        ],
        (post(b"abc").replace(b"Length: 3", b"Length : 3"), 400),
        # encodings
        (post(b"abc", b"Transfer-Encoding: chunked"), 400),
        (post(b"abc", b"Transfer-Encoding: identity"), 501),
        *[
            (with_header(b"Transfer-Encoding: %s\r\n" % encoding), 501)
            for encoding in (
                b"gzip, chunked", b"chunked, chunked", b"xchunked", b"chunked;x=1",
                b'"chunked"', b"",
            )
        ],
        (with_header(b"Transfer-Encoding: chunked\r\n" * 2), 400),
        (with_header(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), 400),
        (with_header(b"Transfer-Encoding : chunked\r\n"), 400),
        (with_header(b"Transfer-Encoding:\x0bchunked\r\n"), 400),
        (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ],
)  # fmt: skip
async def test_malformed_heads(data: bytes, code: int) -> None:
    async with serving(echo) as running:
        answer = await running.exchange(data + GET)
        # Parsers differ in what they say of an encoding that they don't know: 501 or 400.
        assert status(answer) in ({code} if b"ransfer-Encoding" not in data else {400, 501})
        assert answer.count(b"\r\nDate: ") == 1
        assert b"Connection: close\r\n" in answer
        assert running.server.stats.bad_requests == 1
        assert running.server.stats.requests == 0
        assert running.errors == []


@pytest.mark.parametrize(
    "lines",
    [
        b"X:a\r\nY:\r\nZ: \t \r\n",
        b"X: a\tb  c\r\n",
        b"X: \xe4\xff\r\n",
        b"!#$%&'*+-.^_`|~09azAZ: x\r\n",
        b"Content-Length:\t0 \r\n",
        b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAAA\r\n",
        b"Proxy-Connection: close\r\n",
    ],
)
async def test_well_formed_heads(lines: bytes) -> None:
    async with serving(echo) as running:
        answer = await running.exchange(with_header(lines) + CLOSING_GET)
        assert answer.count(b"HTTP/1.1 200 ") == 2


async def test_any_token_is_a_method() -> None:
    async def app(request: Request) -> Response:
        return Response(body=request.method.encode())

    async with serving(app) as running:
        for method in (b"PROPFIND", b"get", b"M-SEARCH", b"X!#$%&'*+-.^_`|~9"):
            answer = await running.exchange(CLOSING_GET.replace(b"GET", method))
            assert answer.endswith(b"\r\n\r\n" + method)


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "chunks",
    [
        b"z\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b";x\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"3_0\r\nabc\r\n0\r\n\r\n",
        b"3 3\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabcXX0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabc\r\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n",
        b"3\rabc\r0\r\r",
        b"3;a\rb\r\nabc\r\n0\r\n\r\n",
        b"3;a\nabc\r\n0\r\n\r\n",
        b"3;a\0\r\nabc\r\n0\r\n\r\n",
        b"3;" + b"a" * 2000 + b"\r\nabc\r\n0\r\n\r\n",
        b"3;" + b"a" * 2000,
        b"ffffffffffffffffffffff\r\nabc",
        b"0" * 2000,
        b"0\r\nX: a\n\r\n",
        b"0\r\nX: a\n\n",
        b"0\r\nX a\r\n\r\n",
        b"0\r\n X: a\r\n\r\n",
        b"0\r\nX: a\r\n folded\r\n\r\n",
        b"0\r\nX: \0\r\n\r\n",
        b"0\r\n\rX",
        b"0\r\n\n",
        b"0\r\n" + b"X: " + b"a" * 40_000,
        b"0\r\n" + b"X: a\r\n" * 10_000,
    ],
)
async def test_malformed_chunks(chunks: bytes) -> None:
    async with serving(echo) as running:
        answer = await running.exchange(CHUNKED + chunks + GET)
        assert status(answer) == 400
        assert answer.count(b"HTTP/1.1 ") == 1
        assert running.errors == []


async def test_a_bad_request_after_good_ones() -> None:
    async with serving(hello) as running:
        answer = await running.exchange(GET + GET + b"nonsense\r\n\r\n" + GET)
        assert [answer.count(b"HTTP/1.1 %d" % code) for code in (200, 400)] == [2, 1]


# Limits


@pytest.mark.parametrize("whole", [True, False])
async def test_large_heads(whole: bool) -> None:
    async with serving(hello, max_head_bytes=1000) as running:
        fitting = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: %s\r\n\r\n"
        assert status(await running.exchange(fitting % (b"x" * 900))) == 200
        data = fitting % (b"x" * 1000) if whole else b"GET / HTTP/1.1\r\nX: " + b"x" * 1000
        assert status(await running.exchange(data)) == 431


async def test_a_body_does_not_count_as_head() -> None:
    async with serving(echo, max_head_bytes=1000) as running:
        assert status(await running.exchange(post(b"x" * 5000, b"Connection: close"))) == 200


async def test_too_many_headers() -> None:
    async with serving(hello, max_headers=10) as running:
        data = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 10 + b"\r\n"
        assert status(await running.exchange(data)) == 431


@pytest.mark.parametrize("chunked", [True, False])
async def test_large_bodies(chunked: bool) -> None:
    async with serving(echo, max_body_bytes=1000) as running:
        body = b"x" * 1001
        if chunked:
            data = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
            data += b"Connection: close\r\n\r\n3e9\r\n" + body + b"\r\n0\r\n\r\n"
        else:
            data = post(body, b"Connection: close")
        assert status(await running.exchange(data)) == 413


async def test_an_application_can_set_the_limit() -> None:
    async def app(request: Request) -> Response:
        return Response(body=b"%d" % len(await request.body(limit=2000)))

    async with serving(app, max_body_bytes=1000) as running:
        answer = await running.exchange(post(b"x" * 2000, b"Connection: close"))
        assert answer.endswith(b"\r\n\r\n2000")
        assert status(await running.exchange(post(b"x" * 2001, b"Connection: close"))) == 413


async def test_a_refused_client_that_keeps_sending_gets_the_answer() -> None:
    async with serving(echo, max_body_bytes=1000) as running, await running.connect() as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n")
        await client.send(b"x" * 1_000_000)
        head = await client.until(b"\r\n\r\n")
        assert status(head) == 413
        assert b"Connection: close\r\n" in head
        await client.rest()


async def test_a_small_unread_body_is_skipped() -> None:
    async with serving(hello) as running, await running.connect() as client:
        await client.send(post(b"x" * 1000)[:-500])
        assert b"Connection" not in await client.until(b"hello")
        await client.send(b"x" * 500 + CLOSING_GET)
        assert status(await client.rest()) == 200


# 100-continue


async def test_continue_is_sent_when_the_body_is_read() -> None:
    async with serving(echo) as running, await running.connect() as client:
        head, _, body = post(b"abc", b"Expect: 100-continue").partition(b"\r\n\r\n")
        await client.send(head + b"\r\n\r\n")
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(body)
        assert status(await client.until(b"\r\n\r\n")) == 200
        await client.until(b"abc")
        await client.send(post(b"def", b"Expect: 100-continue"))  # does not wait
        assert status(await client.until(b"\r\n\r\n")) == 200


async def test_no_continue_for_a_body_nobody_reads() -> None:
    async with serving(hello) as running, await running.connect() as client:
        await client.send(post(b"abc", b"Expect: 100-continue")[:-3])
        answer = await client.rest()
        assert status(answer) == 200
        assert b"Connection: close\r\n" in answer


# Deadlines


async def test_slow_heads_are_timed_out() -> None:
    async with serving(hello, head_timeout=0.1) as running, await running.connect() as client:

        async def trickle() -> None:
            while True:
                await client.send(b"x")
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            await client.send(GET + b"GET / HTTP/1.1\r\nX: ")
            nursery.start_soon(trickle)
            await client.until(b"hello")
            assert status(await client.until(b"\r\n\r\n")) == 408
            nursery.cancel_scope.cancel()
        assert running.server.stats.timeouts == 1


async def test_slow_bodies_are_timed_out() -> None:
    cancelled = trio.Event()

    async def app(request: Request) -> Response:
        try:
            return Response(body=await request.body())
        finally:
            cancelled.set()

    async with serving(app, body_timeout=0.1) as running:
        assert status(await running.exchange(post(b"abc")[:-1])) == 408
        assert cancelled.is_set()


async def test_the_body_deadline_does_not_run_while_the_application_works() -> None:
    async def app(request: Request) -> Response:
        parts = []
        async for part in request.stream():
            parts.append(part)
            await trio.sleep(0.2)
        return Response(body=b"".join(parts))

    async with serving(app, body_timeout=0.1) as running, await running.connect() as client:
        await client.send(post(b"abcd", b"Connection: close")[:-2])
        await until(lambda: running.server.stats.requests == 1)
        await client.send(b"cd")
        assert (await client.rest()).endswith(b"\r\n\r\nabcd")


async def test_idle_connections_are_closed_silently() -> None:
    async with serving(hello, keep_alive_timeout=0.05, head_timeout=0.05) as running:
        assert await running.exchange(b"") == b""
        assert (await running.exchange(GET)).endswith(b"hello")
        assert running.server.stats.timeouts == 0


async def test_a_client_that_does_not_read_is_aborted() -> None:
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
        serving(app, limits={"write_timeout": 0.1}) as running,
        await running.connect() as client,
    ):
        await client.send(GET)
        await ended.wait()
        assert running.errors == []


async def test_pipelining_without_reading_is_held_back() -> None:
    async def app(_: Request) -> Response:
        return Response(body=b"x" * 50_000)

    async with (
        serving(app, limits={"write_timeout": 0.1}) as running,
        await running.connect() as client,
    ):
        with pytest.raises(trio.BrokenResourceError):
            await client.send(GET * 1_000_000)
        assert running.server.stats.requests < 1000
        assert running.errors == []


# Streaming


async def test_streaming_both_ways() -> None:
    async def app(request: Request) -> Response:
        async def shout() -> AsyncIterator[bytes]:
            async for part in request.stream():
                yield part.upper()

        return Response(body=shout())

    async with serving(app) as running, await running.connect() as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in await client.until(b"\r\n\r\n")
        for word in (b"one", b"two"):
            await client.send(b"3\r\n%s\r\n" % word)
            assert await client.until(b"\r\n") == b"3\r\n"
            assert await client.until(b"\r\n") == word.upper() + b"\r\n"
        await client.send(b"0\r\n\r\n" + CLOSING_GET)
        answer = await client.rest()
        assert answer.startswith(b"0\r\n\r\nHTTP/1.1 200 OK\r\n")


async def test_h11_reads_a_streamed_answer() -> None:
    async def numbers() -> AsyncIterator[bytes]:
        for number in range(100):
            yield b"%d" % number * number

    async def app(_: Request) -> Response:
        return Response(body=numbers())

    async with serving(app) as running:
        client = h11.Connection(h11.CLIENT)
        data = client.send(
            h11.Request(method="GET", target="/", headers=[("Host", "a"), ("Connection", "close")])
        )
        assert data is not None
        client.receive_data(await running.exchange(data))
        body = b""
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                body += event.data
        assert body == b"".join(b"%d" % number * number for number in range(100))


async def test_a_stream_with_a_length() -> None:
    async def app(request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"ab"
            yield b""
            yield b"cd"

        return Response(headers=[("Content-Length", request.path[1:])], body=parts())

    def get(length: bytes) -> bytes:
        return b"GET /%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % length

    async with serving(app) as running:
        assert (await running.exchange(get(b"4"))).endswith(b"\r\n\r\nabcd")
        for wrong in (b"3", b"5"):
            with pytest.raises(trio.BrokenResourceError):
                await running.exchange(get(wrong))
        assert len(running.errors) == 2
        assert status(await running.exchange(get(b"x"))) == 500


async def test_a_stream_that_crashes_is_cut_off() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"begin"
        raise ZeroDivisionError

    async def app(_: Request) -> Response:
        return Response(body=broken())

    async with serving(app) as running, await running.connect() as client:
        await client.send(GET)
        with pytest.raises(trio.BrokenResourceError):
            await client.rest()
        assert not client.buffer.endswith(b"0\r\n\r\n")
        assert [type(error) for error in running.errors] == [ZeroDivisionError]


async def test_a_stream_ends_when_the_client_goes_away() -> None:
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
        async with await running.connect() as client:
            await client.send(GET)
            await client.until(b"first")
            assert not ended.is_set()
        await ended.wait()
        assert running.errors == []


async def test_a_streamed_body_waits_until_the_client_goes_or_the_server_stops() -> None:
    ended: list[tuple[bool, bool]] = []

    async def app(request: Request) -> Response:
        async def events() -> AsyncIterator[bytes]:
            try:
                yield b"first;"
                async with request.until_disconnect():
                    await trio.sleep(60)
                yield b"last;"
            finally:
                ended.append((request.disconnected, request.stopping))

        return Response(body=events())

    async with serving(app) as running, await running.connect() as staying:
        async with await running.connect() as going:
            await going.send(GET)
            await going.until(b"first;")
        await until(lambda: ended == [(True, False)])
        await staying.send(GET)
        await staying.until(b"first;")
        running.request_stop(5)
        assert (await staying.rest()).endswith(b"5\r\nlast;\r\n0\r\n\r\n")
        assert ended[1:] == [(False, True)]
        await running.ended.wait()
        assert running.errors == []


async def test_a_large_body_of_bytes() -> None:
    body = bytes(range(256)) * 40_000

    async def app(_: Request) -> Response:
        return Response(body=body)

    async with serving(app, limits={"max_write_buffer": 1_000_000}) as running:
        assert (await running.exchange(CLOSING_GET)).endswith(body)


async def test_a_body_is_streamed_once() -> None:
    async def app(request: Request) -> Response:
        assert [part async for part in request.stream()] == [b"abc"]
        with pytest.raises(RuntimeError):
            await request.body()
        return Response()

    async with serving(app) as running:
        assert status(await running.exchange(post(b"abc", b"Connection: close"))) == 200


async def test_a_client_that_goes_away_within_its_body() -> None:
    ended = trio.Event()

    async def app(request: Request) -> Response:
        try:
            return Response(body=await request.body())
        finally:
            ended.set()

    async with serving(app) as running:
        async with await running.connect() as client:
            await client.send(post(b"abc")[:-1])
        await ended.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert running.errors == []
        assert running.server.stats.crashes == 0


# Long polls


async def test_until_disconnect_ends_when_the_client_goes_away() -> None:
    seen: list[bool] = []

    async def app(request: Request) -> Response:
        async with request.until_disconnect():
            await trio.sleep(60)
        seen.append(request.disconnected)
        return Response()

    async with serving(app) as running:
        async with await running.connect() as client:
            await client.send(GET)
            await until(lambda: running.server.stats.requests == 1)
        await until(lambda: bool(seen))
        assert seen == [True]
        assert running.errors == []


async def test_until_disconnect_keeps_pipelined_requests() -> None:
    arrived = trio.Event()

    async def app(request: Request) -> Response:
        if request.path == "/poll":
            async with request.until_disconnect():
                arrived.set()
                await trio.sleep(0.05)
            assert not request.disconnected
        return Response(body=request.path.encode() + await request.body())

    async with serving(app) as running, await running.connect() as client:
        await client.send(b"GET /poll HTTP/1.1\r\nHost: a\r\n\r\n")
        await arrived.wait()
        await client.send(post(b"abc") + CLOSING_GET)
        answer = await client.rest()
        assert answer.count(b"HTTP/1.1 200") == 3
        assert answer.index(b"/poll") < answer.index(b"/abc")


async def test_until_disconnect_reads_only_so_far_ahead() -> None:
    async def app(request: Request) -> Response:
        async with request.until_disconnect():
            await trio.sleep(0.1)
        return Response()

    async with serving(app) as running, await running.connect() as client:
        await client.send(GET)
        with trio.move_on_after(0.2):
            await client.send(b"x" * 20_000_000)
        assert not running.errors
        assert status(await client.until(b"\r\n\r\n")) == 200


async def test_errors_come_out_of_until_disconnect_as_they_are() -> None:
    async def app(request: Request) -> Response:
        async with request.until_disconnect():
            raise HttpError(404)

    async with serving(app) as running:
        assert status(await running.exchange(CLOSING_GET)) == 404


async def test_until_disconnect_needs_the_body_read() -> None:
    async def app(request: Request) -> Response:
        async with request.until_disconnect():
            return Response()

    async with serving(app) as running, await running.connect() as client:
        await client.send(post(b"abc", b"Connection: close")[:-1])
        assert status(await client.until(b"\r\n\r\n")) == 500


# Stopping


async def test_a_stop_answers_what_is_in_hand() -> None:
    go_on = trio.Event()

    async def app(_: Request) -> Response:
        await go_on.wait()
        return Response(body=b"done")

    async with (
        serving(app) as running,
        await running.connect() as busy,
        await running.connect() as idle,
    ):
        await busy.send(GET)
        await until(lambda: running.server.stats.requests == 1)
        running.request_stop(5)
        assert await idle.rest() == b""
        go_on.set()
        answer = await busy.rest()
        assert b"Connection: close\r\n" in answer
        assert answer.endswith(b"done")
        await running.ended.wait()


async def test_a_stop_ends_long_polls() -> None:
    async def app(request: Request) -> Response:
        async with request.until_disconnect():
            await trio.sleep(60)
        assert request.stopping
        assert not request.disconnected
        return Response(body=b"nothing yet")

    async with serving(app) as running, await running.connect() as client:
        await client.send(GET)
        await until(lambda: running.server.stats.requests == 1)
        running.request_stop(5)
        assert (await client.rest()).endswith(b"nothing yet")
        await running.ended.wait()


async def test_the_deadline_of_a_stop_holds() -> None:
    async def app(_: Request) -> Response:
        await trio.sleep(60)
        return Response()

    async with serving(app) as running, await running.connect() as client:
        await client.send(GET)
        await until(lambda: running.server.stats.requests == 1)
        running.request_stop(0.05)
        await running.ended.wait()


# Upgrades


async def test_an_upgrade_hands_over_the_connection() -> None:
    async def talk(transport: Transport, received: bytes) -> None:
        transport.write(received + await transport.receive())

    async def app(_: Request) -> Upgrade:
        return Upgrade(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", talk)

    async with serving(app) as running, await running.connect() as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\nearly ")
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        await client.send(b"late")
        assert await client.rest() == b"early late"
        assert running.server.stats.upgrades == 1


async def test_no_upgrade_before_the_body_is_read() -> None:
    async def app(_: Request) -> Upgrade:
        return Upgrade(b"HTTP/1.1 101 x\r\n\r\n", _never)

    async with serving(app) as running:
        assert status(await running.exchange(post(b"abc", b"Connection: close"))) == 500


async def _never(_: Transport, __: bytes) -> None:
    raise AssertionError
