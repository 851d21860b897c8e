"""Transports, the flusher and the listener, on real sockets."""

import contextlib
import errno
import functools
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from hubbub.server import (
    SLOW_CONSUMER,
    Address,
    Deadline,
    Flusher,
    ListenerSettings,
    ListenerStats,
    Shutdown,
    StreamTransport,
    TcpTransport,
    TlsSettings,
    Transport,
    TransportClosed,
    WriteLimits,
    parse_address,
    serve_tcp,
)


@pytest.fixture
async def flusher(nursery: trio.Nursery) -> Flusher:
    flusher = Flusher()
    await nursery.start(flusher.run)
    return flusher


@dataclass
class Running:
    addresses: list[Address]
    stats: ListenerStats
    shutdown: Shutdown
    errors: list[BaseException] = field(default_factory=list)
    ended: trio.Event = field(default_factory=trio.Event)

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(*self.addresses[0])


@asynccontextmanager
async def serving(
    handler: Callable[[Transport], Awaitable[None]], flusher: Flusher, **settings: Any
) -> AsyncIterator[Running]:
    settings.setdefault("bind", ["127.0.0.1:0"])
    running = Running([], ListenerStats(), Shutdown())

    async def run(task_status: trio.TaskStatus[list[Address]]) -> None:
        await serve_tcp(
            handler,
            ListenerSettings(**settings),
            flusher=flusher,
            shutdown=running.shutdown,
            stats=running.stats,
            on_error=lambda error, _: running.errors.append(error),
            task_status=task_status,
        )
        running.ended.set()

    async with trio.open_nursery() as nursery:
        running.addresses = await nursery.start(run)
        with trio.fail_after(10):
            yield running
        nursery.cancel_scope.cancel()


async def echo(transport: Transport) -> None:
    while data := await transport.receive():
        transport.write(data)
        await transport.drain()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens on the other side of a socket."""
    with trio.fail_after(5):
        while not condition():  # noqa: ASYNC110  (counters don't set events)
            await trio.sleep(0.001)


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    return b"".join([bytes(part) async for part in stream])


def tcp_pair(flusher: Flusher, **options: Any) -> tuple[TcpTransport, socket.socket]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    return TcpTransport(ours, flusher, peer="peer", local="local", **options), theirs


# Transports


async def test_all_writes_of_a_turn_are_one_send(flusher: Flusher) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    transport = TcpTransport(ours, flusher, peer="", local="")
    with theirs:
        for part in (b"a", b"b", b"c"):
            transport.write(part)
        assert transport.buffered == 3
        await trio.testing.wait_all_tasks_blocked()
        assert theirs.recv(100) == b"abc"  # sequential packets keep the bounds of sends
        assert transport.buffered == 0
        assert transport.bytes_out == transport.stats.bytes_out == 3
        await transport.aclose()


async def test_one_turn_flushes_many_transports(flusher: Flusher) -> None:
    pairs = [tcp_pair(flusher) for _ in range(20)]
    for transport, _ in pairs:
        transport.write(b"x")
    await trio.testing.wait_all_tasks_blocked()
    for transport, theirs in pairs:
        assert theirs.recv(10) == b"x"
        theirs.close()
        await transport.aclose()


async def test_a_full_socket_gets_the_rest_in_order(flusher: Flusher) -> None:
    transport, theirs = tcp_pair(flusher)
    sent = b"".join(b"%06d" % number for number in range(200_000))
    for start in range(0, len(sent), 100_000):
        transport.write(sent[start : start + 100_000])
    await trio.testing.wait_all_tasks_blocked()
    assert transport.buffered > 0
    received = bytearray()
    with trio.fail_after(5), theirs:
        while len(received) < len(sent):
            await trio.lowlevel.wait_readable(theirs)
            received += theirs.recv(65536)
        await transport.drain()
        await trio.testing.wait_all_tasks_blocked()
    assert bytes(received) == sent
    assert transport.buffered == 0
    await transport.aclose()


async def test_a_slow_consumer_is_aborted(flusher: Flusher) -> None:
    transport, theirs = tcp_pair(flusher, limits=WriteLimits(max_buffer=100_000))
    writes = 0
    while not transport.closed:
        transport.write(b"x" * 10_000)
        writes += 1
        assert writes < 1000
    assert transport.abort_reason == SLOW_CONSUMER
    assert transport.stats.aborted == 1
    assert transport.buffered == 0
    transport.write(b"more")  # nothing happens
    assert transport.buffered == 0
    with pytest.raises(TransportClosed, match=SLOW_CONSUMER):
        await transport.receive()
    with pytest.raises(TransportClosed, match=SLOW_CONSUMER):
        await transport.drain()
    theirs.close()


async def test_a_burst_that_the_socket_takes_is_no_slow_consumer(flusher: Flusher) -> None:
    transport, theirs = tcp_pair(flusher, limits=WriteLimits(max_buffer=1000))
    for _ in range(20):
        transport.write(b"x" * 600)
    assert not transport.closed
    await transport.aclose()
    assert len(theirs.recv(100_000)) == 12_000
    theirs.close()


async def test_one_message_larger_than_the_bound_can_be_sent(flusher: Flusher) -> None:
    transport, theirs = tcp_pair(flusher, limits=WriteLimits(max_buffer=1000))
    transport.write(b"x" * 10_000)
    await trio.testing.wait_all_tasks_blocked()
    assert len(theirs.recv(100_000)) == 10_000
    theirs.close()
    await transport.aclose()


async def test_drain_aborts_when_the_peer_does_not_read(flusher: Flusher) -> None:
    transport, theirs = tcp_pair(flusher, limits=WriteLimits(low_water=10, timeout=0.05))
    transport.write(b"x" * 5_000_000)
    with pytest.raises(TransportClosed, match="write timeout"):
        await transport.drain()
    assert transport.abort_reason == "write timeout"
    theirs.close()


async def test_aclose_gives_up_on_a_peer_that_does_not_read(flusher: Flusher) -> None:
    transport, theirs = tcp_pair(flusher, limits=WriteLimits(timeout=0.05))
    transport.write(b"x" * 5_000_000)
    with trio.fail_after(5):
        await transport.aclose()
    assert transport.closed
    assert transport.abort_reason == "write timeout"
    theirs.close()


async def test_aclose_sends_what_is_buffered(flusher: Flusher) -> None:
    transport, theirs = tcp_pair(flusher)
    transport.write(b"last words")
    await transport.aclose()
    assert theirs.recv(100) == b"last words"
    assert theirs.recv(100) == b""
    assert transport.abort_reason is None
    theirs.close()


async def test_send_all_of_a_large_body_keeps_the_buffer_small(flusher: Flusher) -> None:
    transport, theirs = tcp_pair(flusher, limits=WriteLimits(max_buffer=600_000))
    body = bytes(range(256)) * 20_000
    received = bytearray()
    most = 0

    async def read() -> None:
        nonlocal most
        while len(received) < len(body):
            await trio.lowlevel.wait_readable(theirs)
            received.extend(theirs.recv(65536))
            most = max(most, transport.buffered)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await transport.send_all(body)
    assert bytes(received) == body
    assert most < 600_000
    theirs.close()
    await transport.aclose()


async def test_abort_wakes_the_receiver(flusher: Flusher, nursery: trio.Nursery) -> None:
    transport, theirs = tcp_pair(flusher)
    reasons: list[str] = []

    async def receive() -> None:
        try:
            await transport.receive()
        except TransportClosed as error:
            reasons.append(error.reason)

    async with trio.open_nursery() as waiting:
        waiting.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        transport.abort("enough")
        transport.abort("twice")
    assert reasons == ["enough"]
    theirs.close()


async def test_abort_in_the_turn_in_which_the_socket_becomes_ready(flusher: Flusher) -> None:
    for _ in range(30):  # Trio runs the tasks of a turn in random order
        transport, theirs = tcp_pair(flusher)
        ready, trigger = socket.socketpair()
        reasons: list[str] = []

        async def receive(transport: Transport, reasons: list[str]) -> None:
            try:
                await transport.receive()
            except TransportClosed as error:
                reasons.append(error.reason)

        async def abort(transport: Transport, ready: socket.socket) -> None:
            await trio.lowlevel.wait_readable(ready)
            transport.abort("enough")

        with theirs, ready, trigger:
            transport.write(b"x" * 1_000_000)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive, transport, reasons)
                nursery.start_soon(abort, transport, ready)
                await trio.testing.wait_all_tasks_blocked()
                while True:
                    try:
                        theirs.recv(1_000_000)
                    except BlockingIOError:
                        break
                theirs.send(b"y")
                trigger.send(b"z")
        assert transport.abort_reason == "enough"
        assert set(reasons) <= {"enough"}


async def test_input_is_readable_after_the_output_broke(flusher: Flusher) -> None:
    transport, theirs = tcp_pair(flusher)
    theirs.send(b"goodbye")
    theirs.close()
    transport.write(b"too late")
    await trio.testing.wait_all_tasks_blocked()
    assert await transport.receive() == b"goodbye"
    with pytest.raises(TransportClosed):
        await transport.drain()
    await transport.aclose()


async def test_receive_cancelled_loses_nothing(flusher: Flusher) -> None:
    transport, theirs = tcp_pair(flusher)
    with trio.move_on_after(0.01):
        await transport.receive()
    theirs.send(b"kept")
    assert await transport.receive(2) == b"ke"
    assert await transport.receive() == b"pt"
    theirs.close()
    assert await transport.receive() == b""
    await transport.aclose()


async def test_without_a_flusher_the_rest_can_not_wait() -> None:
    transport, theirs = tcp_pair(Flusher())
    transport.write(b"x" * 5_000_000)
    transport.flush()
    assert transport.abort_reason == "flusher stopped"
    theirs.close()


async def test_a_task_that_a_flush_makes_ready_runs_at_once(flusher: Flusher) -> None:
    """Trio has decided to wait for sockets by then, and nothing else would wake it."""
    flushed = trio.Event()

    class Telling:
        def flush(self) -> bool:
            flushed.set()
            return True

        def abort(self, reason: str) -> None:
            raise AssertionError(reason)

    flusher.mark(Telling())
    with trio.fail_after(5):
        await flushed.wait()


async def test_what_a_flush_writes_goes_out_in_the_same_turn(flusher: Flusher) -> None:
    transport, theirs = tcp_pair(flusher)

    class Above:
        def flush(self) -> bool:
            transport.write(b"framed")
            return False

        def abort(self, reason: str) -> None:
            raise AssertionError(reason)

    flusher.mark(Above())
    await trio.testing.wait_all_tasks_blocked()
    assert theirs.recv(10) == b"framed"
    theirs.close()
    await transport.aclose()


async def test_one_broken_transport_does_not_stop_the_flusher(flusher: Flusher) -> None:
    class Broken:
        reason = ""

        def flush(self) -> bool:
            raise ZeroDivisionError

        def abort(self, reason: str) -> None:
            self.reason = reason

    broken = Broken()
    transport, theirs = tcp_pair(flusher)
    flusher.mark(broken)
    transport.write(b"x")
    await trio.testing.wait_all_tasks_blocked()
    assert theirs.recv(1) == b"x"
    assert "ZeroDivisionError" in broken.reason
    theirs.close()
    await transport.aclose()


def memory_pair(
    flusher: Flusher, **options: Any
) -> tuple[StreamTransport, trio.StapledStream[Any, Any]]:
    ours, theirs = trio.testing.memory_stream_pair()

    def abort() -> None:
        ours.send_stream.close()
        ours.receive_stream.close()

    transport = StreamTransport(ours, flusher, abort_stream=abort, peer="", local="", **options)
    return transport, theirs


async def test_stream_transport_both_ways(flusher: Flusher) -> None:
    transport, theirs = memory_pair(flusher)
    transport.write(b"one ")
    transport.write(b"two")
    assert bytes(await theirs.receive_some()) == b"one two"
    await theirs.send_all(b"back")
    assert await transport.receive() == b"back"
    await transport.aclose()
    assert bytes(await theirs.receive_some()) == b""


async def test_stream_transport_abort(flusher: Flusher) -> None:
    transport, _ = memory_pair(flusher)
    async with trio.open_nursery() as waiting:

        async def receive() -> None:
            with pytest.raises(TransportClosed, match="enough"):
                await transport.receive()

        waiting.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        transport.abort("enough")


async def test_deadline_is_moved_and_expires(autojump_clock: trio.testing.MockClock) -> None:
    with Deadline() as deadline:
        deadline.start(10, "first")
        await trio.sleep(5)
        deadline.stop()
        await trio.sleep(100)
        deadline.start(10, "second")
        await trio.sleep(1000)
    assert deadline.expired
    assert deadline.phase == "second"
    assert trio.current_time() == 115


# Listening


async def test_echo_over_tcp_and_counters(flusher: Flusher) -> None:
    async with serving(echo, flusher) as running:
        stream = await running.connect()
        async with stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some(100) == b"hello"
            stats = running.stats
            assert (stats.open, stats.accepted) == (1, 1)
            await stream.send_eof()
            assert await read_all(stream) == b""
        await trio.testing.wait_all_tasks_blocked()
        assert (stats.open, stats.bytes_in, stats.bytes_out) == (0, 5, 5)
        assert running.errors == []


async def test_peer_and_local_addresses(flusher: Flusher) -> None:
    async def tell(transport: Transport) -> None:
        transport.write(f"{transport.peer} {transport.local} {transport.tls}".encode())

    async with serving(tell, flusher) as running, await running.connect() as stream:
        host, port = stream.socket.getsockname()
        text = (await read_all(stream)).decode()
        assert text == f"{host}:{port} {running.addresses[0]} False"


async def test_a_name_binds_all_its_addresses_to_one_port(flusher: Flusher) -> None:
    async with serving(echo, flusher, bind=["localhost:0", "127.0.0.1:0"]) as running:
        named = running.addresses[:-1]
        assert len({address.port for address in named}) == 1
        for address in running.addresses:
            async with await trio.open_tcp_stream(*address) as stream:
                await stream.send_all(b"x")
                assert await stream.receive_some(1) == b"x"


async def test_an_address_in_use_is_named_in_the_error(flusher: Flusher) -> None:
    async with serving(echo, flusher) as running:
        taken = str(running.addresses[0])
        with pytest.raises(OSError, match=taken) as caught:
            await serve_tcp(echo, ListenerSettings(bind=["127.0.0.1:0", taken]), flusher=flusher)
        assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:1883", "127.0.0.1", 1883),
        ("[::1]:0", "::1", 0),
        ("*:80", "", 80),
        (":80", "", 80),
        ("localhost:80", "localhost", 80),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert parse_address(text) == (host, port)


@pytest.mark.parametrize("text", ["localhost", "::1:80", "a:b", "a:70000", "a:-1", "a:", "a:²"])
def test_malformed_addresses(text: str) -> None:
    with pytest.raises(ValueError, match=r"port|brackets"):
        parse_address(text)
    with pytest.raises(ValueError, match=r"port|brackets"):
        ListenerSettings(bind=[text])


def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert str(Address("::1", 80)) == "[::1]:80"


async def test_connections_over_the_limit_are_closed_at_once(flusher: Flusher) -> None:
    async with serving(echo, flusher, max_connections=1) as running:
        async with await running.connect() as first:
            await first.send_all(b"x")
            assert await first.receive_some(1) == b"x"
            async with await running.connect() as second:
                with contextlib.suppress(trio.BrokenResourceError):
                    assert await second.receive_some(1) == b""
            assert running.stats.refused == 1
            await first.send_all(b"y")
            assert await first.receive_some(1) == b"y"
        await trio.testing.wait_all_tasks_blocked()
        async with await running.connect() as third:
            await third.send_all(b"z")
            assert await third.receive_some(1) == b"z"


async def test_a_crashing_handler_closes_only_its_connection(flusher: Flusher) -> None:
    async def handler(transport: Transport) -> None:
        data = await transport.receive()
        if data == b"crash":
            transport.write(b"sorry")
            raise ZeroDivisionError
        if data == b"group":
            raise ExceptionGroup("", [TransportClosed("gone"), KeyError("x")])
        transport.write(data)

    async with serving(handler, flusher) as running, await running.connect() as steady:
        for word, answer in ((b"crash", b"sorry"), (b"group", b"")):
            async with await running.connect() as stream:
                await stream.send_all(word)
                assert await read_all(stream) == answer
        await steady.send_all(b"fine")
        assert await steady.receive_some(10) == b"fine"
        assert [type(error) for error in running.errors] == [ZeroDivisionError, KeyError]
        assert running.stats.handler_errors == 2


async def test_a_lost_client_is_no_error(flusher: Flusher) -> None:
    async def handler(transport: Transport) -> None:
        await transport.receive()
        await transport.receive()

    async with serving(handler, flusher) as running:
        stream = await running.connect()
        await stream.send_all(b"x")
        await trio.testing.wait_all_tasks_blocked()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()  # a reset
        await until(lambda: not running.stats.open)
        assert running.errors == []


async def test_idle_connections_are_closed(flusher: Flusher) -> None:
    reasons: list[str | None] = []

    async def handler(transport: Transport) -> None:
        try:
            await echo(transport)
        finally:
            reasons.append(transport.abort_reason)

    async with serving(handler, flusher, idle_timeout=0.1) as running:
        async with await running.connect() as stream:
            await stream.send_all(b"x")
            assert await stream.receive_some(1) == b"x"
            with contextlib.suppress(trio.BrokenResourceError):
                assert await stream.receive_some(1) == b""
        assert reasons == ["idle timeout"]


async def test_running_out_of_descriptors_is_survived(
    flusher: Flusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.socket.accept
    failures = iter([errno.EMFILE, errno.EMFILE, errno.ECONNABORTED])

    def accept(self: socket.socket) -> tuple[socket.socket, Any]:
        for code in failures:
            raise OSError(code, "none left")
        return real(self)

    async with serving(echo, flusher) as running:
        monkeypatch.setattr(socket.socket, "accept", accept)
        async with await running.connect() as stream:
            await stream.send_all(b"x")
            assert await stream.receive_some(1) == b"x"
        assert running.stats.accept_errors == 3
        assert [error.errno for error in running.errors if isinstance(error, OSError)] == [
            errno.EMFILE
        ]


async def test_graceful_stop_lets_handlers_finish(flusher: Flusher) -> None:
    go_on = trio.Event()

    async def handler(transport: Transport) -> None:
        await transport.receive()
        await go_on.wait()
        transport.write(b"done")

    async with serving(handler, flusher) as running, await running.connect() as stream:
        await stream.send_all(b"x")
        await until(lambda: bool(running.stats.bytes_in))
        running.shutdown.request(5)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(OSError, match="all attempts to connect"):
            await running.connect()
        assert not running.ended.is_set()
        go_on.set()
        assert await read_all(stream) == b"done"
        await running.ended.wait()


async def test_the_deadline_of_a_stop_holds(flusher: Flusher) -> None:
    async def handler(transport: Transport) -> None:
        transport.write(b"x" * 10_000_000)
        await trio.sleep_forever()

    async with serving(handler, flusher) as running, await running.connect() as stream:
        await stream.receive_some(1)
        running.shutdown.request(60)
        running.shutdown.request(0.05)
        running.shutdown.request(60)
        await running.ended.wait()
        assert running.stats.open == 0


async def test_shutdown_calls_back() -> None:
    shutdown = Shutdown()
    calls: list[str] = []
    one = functools.partial(calls.append, "one")
    two = functools.partial(calls.append, "two")
    shutdown.subscribe(one)
    shutdown.subscribe(two)
    shutdown.unsubscribe(two)
    shutdown.request(1)
    shutdown.subscribe(two)
    assert calls == ["one", "two"]
    await shutdown.wait()


# TLS


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(ca: trustme.CA, tmp_path: Path) -> dict[str, Any]:
    certificate = ca.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    return {"certificate": tmp_path / "server.pem"}


def client_context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


@asynccontextmanager
async def tls_connect(
    running: Running, context: ssl.SSLContext
) -> AsyncIterator[trio.SSLStream[Any]]:
    async with await running.connect() as stream:
        yield trio.SSLStream(stream, context, server_hostname="localhost")


async def test_echo_over_tls(flusher: Flusher, ca: trustme.CA, tls: dict[str, Any]) -> None:
    async with (
        serving(echo, flusher, tls=tls) as running,
        tls_connect(running, client_context(ca)) as stream,
    ):
        message = bytes(range(256)) * 4000
        received = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, message)
            while len(received) < len(message):
                received += await stream.receive_some()
        assert bytes(received) == message
        assert running.stats.bytes_in == running.stats.bytes_out == len(message)
        await stream.aclose()
        assert running.errors == []


async def test_tls_ends_with_close_notify(
    flusher: Flusher, ca: trustme.CA, tls: dict[str, Any]
) -> None:
    async def handler(transport: Transport) -> None:
        assert transport.tls
        transport.write(b"bye")

    async with (
        serving(handler, flusher, tls=tls) as running,
        tls_connect(running, client_context(ca)) as stream,
    ):
        assert await read_all(stream) == b"bye"  # raises without close_notify


async def test_tls_client_that_drops_the_connection(
    flusher: Flusher, ca: trustme.CA, tls: dict[str, Any]
) -> None:
    seen: list[bytes] = []

    async def handler(transport: Transport) -> None:
        seen.append(await transport.receive())
        seen.append(await transport.receive())

    async with (
        serving(handler, flusher, tls=tls) as running,
        tls_connect(running, client_context(ca)) as stream,
    ):
        await stream.send_all(b"x")
        await stream.transport_stream.aclose()
        await until(lambda: len(seen) == 2)
        assert seen == [b"x", b""]
        assert running.errors == []


async def test_client_certificates(
    flusher: Flusher, ca: trustme.CA, tls: dict[str, Any], tmp_path: Path
) -> None:
    async def handler(transport: Transport) -> None:
        transport.write(repr(transport.certificate_names).encode())

    settings = {**tls, "client_ca": tmp_path / "ca.pem"}
    async with serving(handler, flusher, tls=settings) as running:
        context = client_context(ca)
        ca.issue_cert("device@example.org", common_name="Device 7").configure_cert(context)
        async with tls_connect(running, context) as stream:
            assert await read_all(stream) == b"('Device 7', 'device@example.org')"
        async with tls_connect(running, client_context(ca)) as anonymous:
            with pytest.raises(trio.BrokenResourceError) as caught:
                await anonymous.receive_some()
            assert "certificate required" in str(caught.value.__cause__)
        await until(lambda: bool(running.stats.handshake_failures))
        assert running.errors == []


async def test_tls_handshake_deadline(flusher: Flusher, tls: dict[str, Any]) -> None:
    async with serving(echo, flusher, tls=tls, handshake_timeout=0.05) as running:
        async with await running.connect() as stream:
            with contextlib.suppress(trio.BrokenResourceError):
                assert await stream.receive_some() == b""
        async with await running.connect() as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(trio.BrokenResourceError):
                await read_all(stream)
        await until(lambda: not running.stats.open)
        assert running.stats.handshake_failures == 2
        assert running.errors == []


async def test_slow_tls_consumer_is_aborted(
    flusher: Flusher, ca: trustme.CA, tls: dict[str, Any]
) -> None:
    reasons: list[str | None] = []

    async def handler(transport: Transport) -> None:
        while not transport.closed:
            transport.write(b"x" * 100_000)
            await trio.lowlevel.checkpoint()
        reasons.append(transport.abort_reason)

    async with (
        serving(handler, flusher, tls=tls, max_write_buffer=1_000_000) as running,
        tls_connect(running, client_context(ca)) as stream,
    ):
        await stream.do_handshake()
        await until(lambda: bool(reasons))
        assert reasons == [SLOW_CONSUMER]


def test_client_certificates_need_an_authority(tls: dict[str, Any]) -> None:
    settings = TlsSettings(**tls, client_certificate="required")
    with pytest.raises(ValueError, match="client_ca"):
        settings.context()
