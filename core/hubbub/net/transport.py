"""What a protocol connection reads and writes, whatever lies below: TCP, TLS or WebSocket."""

import contextlib
import socket
import ssl
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import trio

from hubbub.net.flusher import Flushable, Flusher

__all__ = [
    "SLOW_CONSUMER",
    "StreamTransport",
    "TcpTransport",
    "Transport",
    "TransportClosed",
    "TransportStats",
    "WriteLimits",
]

RECEIVE_SIZE = 64 * 1024
SEND_SIZE = 256 * 1024
DISCARD_LIMIT = 1024 * 1024

SLOW_CONSUMER = "slow consumer"
WRITE_TIMEOUT = "write timeout"
CLOSED = "closed"

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class TransportClosed(Exception):  # noqa: N818  (named after the state, as in Trio)
    """The connection is gone: reset by the peer, aborted, or closed by this side.

    A peer that closes in good order is no error: `Transport.receive` returns b"".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True, kw_only=True)
class TransportStats:
    """What the transports of one listener have carried. Plain integers, read by metrics."""

    bytes_in: int = 0
    bytes_out: int = 0
    aborted: int = 0
    """Connections closed by force: slow consumers, write timeouts, idle ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteLimits:
    """The bounds of a transport's outgoing buffer."""

    max_buffer: int = 8 * 1024 * 1024
    """Bytes. A write while more than this waits aborts the transport as a slow consumer. So the
    buffer never holds more than this and one message."""
    low_water: int = 64 * 1024
    """Bytes. `Transport.drain` waits until no more than this is left."""
    timeout: float = 30.0
    """Seconds that `Transport.drain` and `Transport.aclose` wait before they abort."""


class Transport(ABC):
    """One connection's bytes, in both directions.

    Writing is synchronous and never waits: data is buffered, and the `Flusher` sends all that was
    written in one turn of the event loop with one call. Whoever writes much looks at `buffered`
    and awaits `drain`. A connection whose peer does not read is aborted once more than
    `WriteLimits.max_buffer` waits for it. Writing to a closed transport does nothing: the one who
    reads is told.

    One task may receive at a time; any task may write.
    """

    __slots__ = (
        "__weakref__",
        "_limit",
        "_mark",
        "_pieces",
        "_progress",
        "abort_reason",
        "alpn",
        "buffered",
        "bytes_in",
        "bytes_out",
        "closed",
        "flusher",
        "limits",
        "local",
        "peer",
        "peer_certificate",
        "stats",
        "tls",
    )

    def __init__(
        self,
        flusher: Flusher,
        *,
        peer: str,
        local: str,
        tls: bool = False,
        alpn: str | None = None,
        peer_certificate: Mapping[str, Any] | None = None,
        limits: WriteLimits | None = None,
        stats: TransportStats | None = None,
    ) -> None:
        self.flusher = flusher
        self.peer = peer
        """The client's address, as "127.0.0.1:5123" or "[::1]:5123"."""
        self.local = local
        """The address the client connected to."""
        self.tls = tls
        self.alpn = alpn
        """The application protocol that was agreed on by TLS, as "h2"; None if none was."""
        self.peer_certificate = peer_certificate
        """The verified client certificate as `ssl.SSLSocket.getpeercert` gives it, or None."""
        self.limits = limits or WriteLimits()
        self.stats = stats or TransportStats()
        self.buffered = 0
        """Bytes written and not yet given to the operating system."""
        self.bytes_in = 0
        self.bytes_out = 0
        self.closed = False
        self.abort_reason: str | None = None
        """Why the transport was aborted; None while it is open or after an orderly close."""
        self._limit = self.limits.max_buffer
        self._mark = flusher.mark
        self._pieces: list[bytes] = []
        self._progress: trio.Event | None = None

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """Common name and alternative names of the verified client certificate; empty: none."""
        certificate = self.peer_certificate or {}
        common = [
            value
            for part in certificate.get("subject", ())
            for name, value in part
            if name == "commonName"
        ]
        return (*common, *(value for _, value in certificate.get("subjectAltName", ())))

    @abstractmethod
    async def receive(self, max_bytes: int = RECEIVE_SIZE) -> bytes:
        """Wait for bytes; b"" when the peer has closed its side.

        Raises:
            TransportClosed: the connection was reset, aborted or closed by this side.
        """

    @abstractmethod
    def flush(self) -> bool:
        """Send what can be sent without waiting. The `Flusher` calls it once a turn.

        Returns whether that may have woken a task.
        """

    @abstractmethod
    async def aclose(self, *, linger: float = 0.0) -> None:
        """Send what is buffered, within `WriteLimits.timeout`, then close.

        With `linger`, input is read and thrown away for so many seconds or until the peer closes.
        Use it when the peer may still be sending: closing with unread input resets the connection,
        and a reset may destroy the last answer before the peer has read it (RFC 9112, 9.6).
        """

    @abstractmethod
    def _close_now(self) -> None:
        """Release the connection without waiting, and wake all who wait for it."""

    def write(self, data: bytes) -> None:
        """Buffer `data` for sending at the end of this turn. Never waits, never raises.

        `data` must not change afterwards: it is kept, not copied.
        """
        if self.buffered > self._limit:
            self._write_over_limit(data)
            return
        pieces = self._pieces
        if not pieces:
            self._mark(self)
        pieces.append(data)
        self.buffered += len(data)

    async def drain(self) -> None:
        """Wait until at most `WriteLimits.low_water` bytes wait to be sent.

        Returns at once, without a checkpoint, when that is so already.

        Raises:
            TransportClosed: the transport is closed, or its peer did not take the data within
                `WriteLimits.timeout`; then it has been aborted.
        """
        if self.buffered > self.limits.low_water:
            await self._wait_until_buffered(self.limits.low_water)
        if self._limit < 0:
            raise self._closed_error()

    async def send_all(self, data: bytes) -> None:
        """Write `data` of any size with back-pressure; on return the rest is in the buffer.

        Raises:
            TransportClosed: as for `drain`.
        """
        if len(data) <= SEND_SIZE:
            self.write(data)
            await self.drain()
            return
        view = memoryview(data)
        for start in range(0, len(data), SEND_SIZE):
            self.write(bytes(view[start : start + SEND_SIZE]))
            await self.drain()

    def abort(self, reason: str) -> None:
        """Close at once and record `reason`; what is buffered is lost. The first reason stays."""
        if not self.closed:
            self.abort_reason = reason
            self.stats.aborted += 1
            self._mark_closed()
            self._close_now()

    def _mark_closed(self) -> None:
        self.closed = True
        self._discard_output()

    def _discard_output(self) -> None:
        self._limit = -1
        self._pieces.clear()
        self.buffered = 0
        self._made_progress()

    def _write_over_limit(self, data: bytes) -> None:
        if self._limit < 0:
            return
        self.flush()
        if self.buffered > self._limit:
            self.abort(SLOW_CONSUMER)
        else:
            self.write(data)

    async def _wait_until_buffered(self, mark: int) -> None:
        self.flush()
        with trio.move_on_after(self.limits.timeout) as scope:
            while self.buffered > mark:
                if self._progress is None:
                    self._progress = trio.Event()
                await self._progress.wait()
        if scope.cancelled_caught:
            self.abort(WRITE_TIMEOUT)

    def _made_progress(self) -> None:
        if self._progress is not None:
            self._progress.set()
            self._progress = None

    def _take_output(self) -> bytes:
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return data

    def _count_in(self, size: int) -> None:
        self.bytes_in += size
        self.stats.bytes_in += size

    def _count_out(self, size: int) -> None:
        self.bytes_out += size
        self.stats.bytes_out += size

    def _closed_error(self) -> TransportClosed:
        return TransportClosed(self.abort_reason or CLOSED)


class TcpTransport(Transport):
    """A transport over a non-blocking stream socket, read and written without Trio's layers.

    Trio's socket objects add two checkpoints and a conflict check to each call; here one wait for
    readability is the checkpoint, and sends are tried at once.
    """

    __slots__ = ("_recv", "_rest", "_send", "_sock")

    def __init__(self, sock: socket.socket, flusher: Flusher, **options: Any) -> None:
        """Take over `sock`. `options` are those of `Transport`."""
        super().__init__(flusher, **options)
        sock.setblocking(False)
        self._sock = sock
        self._recv = sock.recv
        self._send = sock.send
        self._rest: memoryview | None = None  # being sent by a task of its own; then _pieces

    async def receive(self, max_bytes: int = RECEIVE_SIZE) -> bytes:
        """Wait for bytes. See `Transport.receive`; at cancellation nothing is lost."""
        while not self.closed:
            try:
                await trio.lowlevel.wait_readable(self._sock)
                data = self._recv(max_bytes)
            except (BlockingIOError, InterruptedError):
                continue
            except trio.ClosedResourceError:
                break
            except OSError as error:
                if self._sock.fileno() < 0:  # closed after it became readable
                    break
                raise TransportClosed(_describe(error)) from error
            size = len(data)
            self.bytes_in += size
            self.stats.bytes_in += size
            return data
        raise self._closed_error()

    def flush(self) -> bool:
        """Make one non-blocking send; leave the rest, if any, to a task that waits."""
        if self._rest is not None or not self._pieces:
            return False
        data = self._take_output()
        try:
            sent = self._send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            # What has arrived from the peer can still be read: only the output is lost.
            self._discard_output()
            return True
        self.bytes_out += sent
        self.stats.bytes_out += sent
        self.buffered -= sent
        if sent < len(data):
            self._rest = memoryview(data)[sent:]
            if not self.flusher.spawn(self._send_rest):
                self.abort("flusher stopped")
            return True
        if self._progress is not None:
            self._made_progress()
            return True
        return False

    async def aclose(self, *, linger: float = 0.0) -> None:
        """Flush, then close. See `Transport.aclose`; when cancelled, close at once."""
        if self.closed:
            return
        try:
            self._limit = -1
            self.flush()
            if self.buffered:
                await self._wait_until_buffered(0)
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)
            self._discard_arrived()
            if linger > 0:
                with trio.move_on_after(linger):
                    while await self.receive():
                        pass
        except TransportClosed:
            pass
        finally:
            if not self.closed:
                self._mark_closed()
                trio.lowlevel.notify_closing(self._sock)
                self._sock.close()

    async def _send_rest(self) -> None:
        try:
            while self._rest is not None:
                await trio.lowlevel.wait_writable(self._sock)
                if self._sock.fileno() < 0:  # closed after it became writable
                    return
                try:
                    sent = self._send(self._rest)
                except (BlockingIOError, InterruptedError):
                    continue
                self._count_out(sent)
                self.buffered -= sent
                if sent < len(self._rest):
                    self._rest = self._rest[sent:]
                elif self._pieces:
                    self._rest = memoryview(self._take_output())
                else:
                    self._rest = None
                self._made_progress()
        except trio.ClosedResourceError:
            pass
        except OSError:
            self._rest = None
            self._discard_output()

    def _discard_arrived(self) -> None:
        """Read what has arrived already, for the reason given in `Transport.aclose`."""
        with contextlib.suppress(OSError):
            for _ in range(DISCARD_LIMIT // RECEIVE_SIZE):
                if not self._recv(RECEIVE_SIZE):
                    return

    def _close_now(self) -> None:
        self._rest = None
        trio.lowlevel.notify_closing(self._sock)
        _reset(self._sock)


class StreamTransport(Transport):
    """A transport over any Trio stream: TLS, or a memory stream in tests of time.

    A stream can't send without waiting, so a task of its own sends what has been written, and ends
    when all of it is sent.
    """

    __slots__ = ("_abort_stream", "_sending", "_stream")

    def __init__(
        self,
        stream: trio.abc.Stream,
        flusher: Flusher,
        *,
        abort_stream: Callable[[], None],
        **options: Any,
    ) -> None:
        """Take over `stream`.

        Args:
            stream: what to read and write.
            flusher: see `Flusher`.
            abort_stream: closes what lies below `stream` at once, and wakes who waits for it.
            options: those of `Transport`.
        """
        super().__init__(flusher, **options)
        self._mark = self._start_sending
        self._stream = stream
        self._abort_stream = abort_stream
        self._sending = False

    async def receive(self, max_bytes: int = RECEIVE_SIZE) -> bytes:
        """Wait for bytes. See `Transport.receive`."""
        if self.closed:
            raise self._closed_error()
        try:
            data = bytes(await self._stream.receive_some(max_bytes))
        except trio.ClosedResourceError:
            raise self._closed_error() from None
        except trio.BrokenResourceError as error:
            if self.closed:
                raise self._closed_error() from None
            if _is_truncation(error):
                return b""
            raise TransportClosed(_describe(error.__cause__ or error)) from error
        self._count_in(len(data))
        return data

    def flush(self) -> bool:
        """Start the sending task, unless it runs."""
        if self._pieces:
            self._start_sending(self)
        return True

    def _start_sending(self, transport: Flushable) -> None:
        """Let a task send in the next turn of the loop: all that was written in this one."""
        del transport  # it is this one
        if not self._sending:
            self._sending = self.flusher.spawn(self._send_pieces)
            if not self._sending:
                self.abort("flusher stopped")

    async def aclose(self, *, linger: float = 0.0) -> None:
        """Flush, then close. See `Transport.aclose`; when cancelled, close at once."""
        if self.closed:
            return
        try:
            self._limit = -1
            if self.buffered:
                await self._wait_until_buffered(0)
            if linger > 0:
                with trio.move_on_after(linger):
                    while await self.receive():
                        pass
            with trio.move_on_after(self.limits.timeout):
                await self._stream.aclose()
        except (TransportClosed, trio.BrokenResourceError, OSError):
            pass
        finally:
            if not self.closed:
                self._mark_closed()
                self._close_now()

    async def _send_pieces(self) -> None:
        try:
            while self._pieces:
                view = memoryview(self._take_output())
                for start in range(0, len(view), SEND_SIZE):
                    part = view[start : start + SEND_SIZE]
                    await self._stream.send_all(part)
                    if self.closed:
                        return
                    self._count_out(len(part))
                    self.buffered -= len(part)
                    self._made_progress()
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            self._discard_output()
        except trio.Cancelled:
            self.abort("flusher stopped")
            raise
        finally:
            self._sending = False

    def _close_now(self) -> None:
        self._abort_stream()


def _reset(sock: socket.socket) -> None:
    """Close with a reset, so that the kernel does not keep the unsent data of a dead peer."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    sock.close()


def _describe(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def _is_truncation(error: trio.BrokenResourceError) -> bool:
    """Whether a TLS peer closed without close_notify, as most do.

    Our protocols frame their own messages, so a cut connection can't be taken for an end.
    """
    cause = error.__cause__
    return isinstance(cause, ssl.SSLEOFError | ssl.SSLSyscallError) or (
        isinstance(cause, ssl.SSLError) and "UNEXPECTED_EOF_WHILE_READING" in (cause.strerror or "")
    )
