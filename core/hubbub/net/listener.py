"""Listening on TCP and TLS: addresses, limits, deadlines, and a stop that ends in time."""

import contextlib
import errno
import functools
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import trio
from pydantic import BaseModel, ConfigDict, Field, field_validator

from hubbub.net.errors import sole_error
from hubbub.net.flusher import Flusher
from hubbub.net.shutdown import Shutdown
from hubbub.net.transport import (
    RESET_ON_CLOSE,
    StreamTransport,
    TcpTransport,
    Transport,
    TransportClosed,
    TransportStats,
    WriteLimits,
)

__all__ = [
    "Address",
    "Handler",
    "ListenerSettings",
    "ListenerStats",
    "OnError",
    "TlsSettings",
    "parse_address",
    "serve_tcp",
]

Handler = Callable[[Transport], Awaitable[None]]
OnError = Callable[[BaseException, Transport | None], None]

IDLE = "idle timeout"
STOPPING = "server stopping"

ACCEPT_BATCH = 64
PORT_ATTEMPTS = 10
FIRST_BACK_OFF = 0.05
LONGEST_BACK_OFF = 1.0
ALERT_LINGER = 1.0
"""Seconds in which a client can read why its TLS handshake failed, before it is cut off."""

_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Address(NamedTuple):
    """A host and a TCP port; as text "127.0.0.1:1883" or "[::1]:1883"."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Parse "host:port", "[ipv6]:port", ":port" or "*:port" (all interfaces; the host is "").

    Raises:
        ValueError: the text is none of these; the message says what is wrong with it.
    """
    host, colon, port = text.strip().rpartition(":")
    if not colon:
        raise ValueError(f"{text!r} has no port; write it as {text}:1883, or {text}:0 for any")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: put the IPv6 address into brackets, as [{host}]:{port}")
    if not (port.isascii() and port.isdecimal() and int(port) < 2**16):
        raise ValueError(f"{text!r}: the port must be a number from 0 to 65535")
    return Address("" if host == "*" else host, int(port))


class TlsSettings(BaseModel):
    """How a listener speaks TLS."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    certificate: Path = Field(description="PEM file: the server certificate, then its chain.")
    key: Path | None = Field(
        default=None, description="PEM file with the private key; default: in `certificate`."
    )
    key_password: str | None = Field(default=None, description="Password of the private key.")
    client_ca: Path | None = Field(
        default=None, description="PEM file with the authorities that sign client certificates."
    )
    client_certificate: Literal["none", "optional", "required"] | None = Field(
        default=None,
        description="Whether clients show a certificate; default: required if `client_ca` is set.",
    )
    minimum_version: Literal["1.2", "1.3"] = Field(
        default="1.2", description="The oldest TLS version that is accepted."
    )
    ciphers: str | None = Field(
        default=None, description="OpenSSL cipher list for TLS 1.2; default: Python's own."
    )

    def context(self, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """Build the context; `alpn` lists application protocols, the preferred first.

        Raises:
            OSError: a file can't be read (`ssl.SSLError` if its content is wrong).
            ValueError: client certificates are asked for without `client_ca`.
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = (
            ssl.TLSVersion.TLSv1_3 if self.minimum_version == "1.3" else ssl.TLSVersion.TLSv1_2
        )
        if self.ciphers is not None:
            context.set_ciphers(self.ciphers)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        context.load_cert_chain(self.certificate, self.key, self.key_password)
        demand = self.client_certificate or ("required" if self.client_ca else "none")
        if demand != "none":
            if self.client_ca is None:
                raise ValueError("client certificates need `client_ca` to check them against")
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED if demand == "required" else ssl.CERT_OPTIONAL
        return context


class ListenerSettings(BaseModel):
    """Where and how a server listens. Part of the configuration of every protocol."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bind: list[str] = Field(
        description='Addresses to listen on: "127.0.0.1:1883", "[::1]:1883", "localhost:1883", '
        '"*:1883" for all interfaces. Port 0 takes a free one.'
    )
    tls: TlsSettings | None = Field(default=None, description="Speak TLS; default: plain TCP.")
    max_connections: int = Field(
        default=10_000, ge=1, description="Connections open at once; more are closed at once."
    )
    backlog: int = Field(
        default=1024, ge=1, description="Connections the kernel holds until they are accepted."
    )
    handshake_timeout: float = Field(
        default=10.0, gt=0, description="Seconds in which the TLS handshake must be done."
    )
    idle_timeout: float | None = Field(
        default=None,
        gt=0,
        description="Seconds without a byte in either direction after which a connection is "
        "closed (at most a tenth later); default: the protocol's own rules alone.",
    )
    write_timeout: float = Field(
        default=30.0,
        gt=0,
        description="Seconds a client may take to accept what is sent with back-pressure, or "
        "what is left at the end of a connection.",
    )
    write_low_water: int = Field(
        default=64 * 1024, ge=0, description="Unsent bytes at which back-pressure ends."
    )
    max_write_buffer: int = Field(
        default=8 * 1024 * 1024,
        ge=1024,
        description="Unsent bytes above which a client is closed as a slow consumer.",
    )

    @field_validator("bind")
    @classmethod
    def _check_bind(cls, bind: list[str]) -> list[str]:
        """Check every address, also where a subclass gives the field a default."""
        for text in bind:
            parse_address(text)
        return bind

    @property
    def write_limits(self) -> WriteLimits:
        """The bounds of each connection's outgoing buffer."""
        return WriteLimits(
            max_buffer=self.max_write_buffer,
            low_water=self.write_low_water,
            timeout=self.write_timeout,
        )


class TlsListenerSettings(ListenerSettings):
    """Where and how a server listens that speaks TLS alone."""

    tls: TlsSettings = Field(description="Its certificate, and who must have one too.")


@dataclass(slots=True, kw_only=True)
class ListenerStats(TransportStats):
    """What happened at one listener. Plain integers, read by metrics."""

    open: int = 0
    """Connections open now."""
    accepted: int = 0
    refused: int = 0
    """Connections closed at once because `max_connections` were open."""
    accept_errors: int = 0
    """Failed accepts, such as when the process is out of file descriptors."""
    handshake_failures: int = 0
    handler_errors: int = 0
    """Connections closed because their handler crashed."""


async def serve_tcp(
    handler: Handler,
    settings: ListenerSettings,
    *,
    flusher: Flusher,
    shutdown: Shutdown | None = None,
    stats: ListenerStats | None = None,
    on_error: OnError | None = None,
    alpn: Sequence[str] = (),
    task_status: trio.TaskStatus[list[Address]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen, and run `handler` in a task for each connection, until stopped.

    Reports the bound addresses through `task_status`. When `handler` returns, what it wrote is
    flushed and the connection closed. When it raises `TransportClosed`, the client is gone and
    that is all. When it raises anything else, `on_error` gets the exception and only that
    connection is closed.

    At `shutdown` accepting stops at once; handlers get until the shutdown's deadline, then they
    are cancelled. Returns when the last one has ended. (A handler that shields itself against
    cancellation would hold this up: none may.)

    Args:
        handler: serves one connection.
        settings: addresses and limits.
        flusher: must run longer than this.
        shutdown: the wish to stop; None to stop by cancellation alone.
        stats: counters to use.
        on_error: is called with an exception and its connection, if there was one: crashed
            handlers, and accepting when it begins to fail.
        alpn: application protocols for TLS, the preferred first.
        task_status: gets the bound addresses.

    Raises:
        OSError: an address can't be bound, or a TLS file can't be read.
    """
    context = settings.tls.context(alpn) if settings.tls else None
    shutdown = shutdown or Shutdown()
    sockets = await _bind_all(settings.bind, settings.backlog)
    server = _Server(
        handler,
        settings,
        context,
        flusher=flusher,
        stats=stats or ListenerStats(),
        on_error=on_error,
    )
    async with contextlib.AsyncExitStack() as stack:
        for sock in sockets:
            stack.callback(sock.close)
        helpers = await stack.enter_async_context(trio.open_nursery())
        stack.callback(helpers.cancel_scope.cancel)
        if settings.idle_timeout is not None:
            helpers.start_soon(server.close_idle, settings.idle_timeout)
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as acceptors:
                for sock in sockets:
                    acceptors.start_soon(server.accept_forever, sock, connections)
                task_status.started([_bound_address(sock) for sock in sockets])
                await shutdown.wait()
                acceptors.cancel_scope.cancel()
            for sock in sockets:
                sock.close()
            shutdown.limit(connections.cancel_scope)


class _Server:
    """The state that the connections of one `serve_tcp` share."""

    def __init__(
        self,
        handler: Handler,
        settings: ListenerSettings,
        context: ssl.SSLContext | None,
        *,
        flusher: Flusher,
        stats: ListenerStats,
        on_error: OnError | None,
    ) -> None:
        self._handler = handler
        self._settings = settings
        self._context = context
        self._flusher = flusher
        self._stats = stats
        self._on_error = on_error
        self._limits = settings.write_limits
        self._transports: set[Transport] = set()
        self._open = 0

    async def accept_forever(self, listener: socket.socket, nursery: trio.Nursery) -> None:
        back_off = FIRST_BACK_OFF
        while True:
            await trio.lowlevel.wait_readable(listener)
            try:
                for _ in range(ACCEPT_BATCH):
                    self._start(*listener.accept(), nursery)
                    back_off = FIRST_BACK_OFF
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                # Most errors belong to the one connection that was to be accepted (accept(2)).
                self._stats.accept_errors += 1
                if error.errno in _OUT_OF_RESOURCES:
                    if back_off == FIRST_BACK_OFF:
                        self._report(error, None)
                    await trio.sleep(back_off)
                    back_off = min(back_off * 2, LONGEST_BACK_OFF)

    async def close_idle(self, timeout: float) -> None:
        """Abort connections that carried nothing for `timeout` seconds.

        Looks at the byte counts from time to time, so that no read or write pays for it.
        """
        seen: dict[Transport, tuple[int, float]] = {}
        while True:
            await trio.sleep(timeout / 10)
            now = trio.current_time()
            before, seen = seen, {}
            for transport in list(self._transports):
                carried = transport.bytes_in + transport.bytes_out
                last, since = before.get(transport, (-1, now))
                if carried != last:
                    since = now
                elif now - since >= timeout:
                    transport.abort(IDLE)
                    continue
                seen[transport] = (carried, since)

    def _start(self, sock: socket.socket, peer: Any, nursery: trio.Nursery) -> None:
        if self._open >= self._settings.max_connections:
            self._stats.refused += 1
            sock.close()
            return
        self._stats.accepted += 1
        self._stats.open += 1
        self._open += 1
        nursery.start_soon(self._serve, sock, _address_text(peer))

    async def _serve(self, sock: socket.socket, peer: str) -> None:
        transport: Transport | None = None
        try:
            transport = await self._open_transport(sock, peer)
            if transport is not None:
                self._transports.add(transport)
                await self._handle(transport)
        finally:
            if transport is None:
                sock.close()
            else:
                self._transports.discard(transport)
                transport.abort(STOPPING)
            self._stats.open -= 1
            self._open -= 1

    async def _handle(self, transport: Transport) -> None:
        try:
            await self._handler(transport)
        except* TransportClosed:
            pass
        except* Exception as errors:
            self._stats.handler_errors += 1
            self._report(sole_error(errors), transport)
        await transport.aclose()

    async def _open_transport(self, sock: socket.socket, peer: str) -> Transport | None:
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            local = _address_text(sock.getsockname())
        except OSError:  # reset before it was accepted
            return None
        if self._context is None:
            return TcpTransport(
                sock, self._flusher, peer=peer, local=local, limits=self._limits, stats=self._stats
            )
        trio_socket = trio.socket.from_stdlib_socket(sock)
        stream = trio.SSLStream(trio.SocketStream(trio_socket), self._context, server_side=True)
        try:
            with trio.fail_after(self._settings.handshake_timeout):
                await stream.do_handshake()
        except (trio.BrokenResourceError, trio.TooSlowError):
            self._stats.handshake_failures += 1
            await _send_alert(stream)
            return None
        return StreamTransport(
            stream,
            self._flusher,
            abort_stream=functools.partial(_reset_trio_socket, trio_socket),
            peer=peer,
            local=local,
            tls=True,
            alpn=stream.selected_alpn_protocol(),
            peer_certificate=stream.getpeercert() or None,
            limits=self._limits,
            stats=self._stats,
        )

    def _report(self, error: BaseException, transport: Transport | None) -> None:
        if self._on_error is not None:
            self._on_error(error, transport)


async def _send_alert(stream: trio.SSLStream[trio.SocketStream]) -> None:
    """Tell a client why its handshake failed (RFC 8446, 6.2), and let it read that.

    Trio, up to 0.35 at least, leaves the alert in a buffer that has no public name.
    """
    alert = stream._outgoing.read()
    if not alert:
        return
    connection = stream.transport_stream
    with contextlib.suppress(trio.BrokenResourceError), trio.move_on_after(ALERT_LINGER):
        await connection.send_all(alert)
        await connection.send_eof()
        while await connection.receive_some():
            pass  # closing with input that is unread would reset the connection


async def _bind_all(addresses: Sequence[str], backlog: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for text in addresses:
            try:
                sockets += await _bind(parse_address(text), backlog)
            except OSError as error:
                message = f"cannot listen on {text}: {error.strerror or error}"
                raise OSError(error.errno, message) from error
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


async def _bind(address: Address, backlog: int) -> list[socket.socket]:
    """Bind every address the host has, all to the same port, even if that is to be a free one."""
    found = await trio.socket.getaddrinfo(
        address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    hosts = list(dict.fromkeys((family, str(target[0])) for family, _, _, _, target in found))
    for attempt in range(1, PORT_ATTEMPTS + 1):
        try:
            return _bind_hosts(hosts, address.port, backlog)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            if not (taken and address.port == 0) or attempt == PORT_ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _bind_hosts(hosts: Sequence[tuple[int, str]], port: int, backlog: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, host in hosts:
            try:
                sock = _listen(family, host, port, backlog)
            except OSError as error:
                # A name may have an IPv6 address on a machine that has no IPv6.
                if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
                    raise
                missing = error
                continue
            sockets.append(sock)
            port = sock.getsockname()[1]
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    if not sockets and missing is not None:
        raise missing
    return sockets


def _listen(family: int, host: str, port: int, backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _bound_address(sock: socket.socket) -> Address:
    host, port = sock.getsockname()[:2]
    return Address(host, port)


def _address_text(name: Any) -> str:
    return str(Address(name[0], name[1]))


def _reset_trio_socket(sock: trio.socket.SocketType) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    sock.close()
