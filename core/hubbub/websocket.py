"""WebSocket on the server side: handshake, messages, pings, close; and as a byte stream.

An HTTP application returns `accept(request, handler)`; the handler gets a `WebSocket`. For a
protocol that runs over byte streams and over WebSocket alike, such as MQTT or STOMP,
`WebSocketTransport` presents one as a `Transport`.

Source: RFC 6455; compression RFC 7692.
"""

import base64
import io
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import trio
from pydantic import BaseModel, ConfigDict, Field
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection, ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    TextMessage,
)
from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from hubbub.http import HttpError, Request, Response, Upgrade
from hubbub.net.errors import sole_error
from hubbub.net.shutdown import Shutdown
from hubbub.net.transport import RECEIVE_SIZE, Transport, TransportClosed
from hubbub.net.websocket_deflate import choose_offer
from hubbub.net.websocket_frames import (
    BINARY,
    CONTINUATION,
    FIN,
    TEXT,
    Head,
    encode_frame,
    read_head,
    unmask,
)

__all__ = [
    "Framed",
    "WebSocket",
    "WebSocketClosed",
    "WebSocketSettings",
    "WebSocketTransport",
    "accept",
]

NORMAL = 1000
GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
UNSUPPORTED_DATA = 1003
INVALID_DATA = 1007
ABNORMAL = 1006
TOO_BIG = 1009
INTERNAL_ERROR = 1011

COMPRESSED_SLICE = 4 * 1024
"""Bytes of compressed input taken at once: they can become a thousand times as many."""
LEAST_PONG_WAIT = 1.0
"""Seconds that a pong gets when the ping's time ran out while nobody was receiving."""


class WebSocketClosed(Exception):  # noqa: N818  (named after the state, as TransportClosed)
    """The WebSocket is closed; `code` and `reason` are those of the side that closed it first."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class WebSocketSettings(BaseModel):
    """Limits and deadlines of WebSocket connections."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_message_bytes: int = Field(
        default=16 * 1024 * 1024, ge=1, description="Bytes of a message, after decompression."
    )
    max_frame_bytes: int = Field(
        default=16 * 1024 * 1024, ge=1, description="Bytes of one frame, after decompression."
    )
    ping_interval: float | None = Field(
        default=30.0, gt=0, description="Seconds of silence before a ping; null for no pings."
    )
    ping_timeout: float = Field(
        default=20.0, gt=0, description="Seconds in which a ping must be answered."
    )
    close_timeout: float = Field(
        default=5.0, gt=0, description="Seconds in which a close must be answered."
    )
    compression: bool = Field(
        default=False, description="Accept permessage-deflate when a client offers it."
    )


def accept(
    request: Request,
    handler: "Callable[[WebSocket], Awaitable[None]]",
    settings: WebSocketSettings | None = None,
    *,
    subprotocols: Sequence[str] = (),
    require_subprotocol: bool = False,
    shutdown: Shutdown | None = None,
    on_error: Callable[[BaseException, "WebSocket"], None] | None = None,
    headers: Sequence[tuple[str, str]] = (),
) -> Upgrade | Response:
    """Answer a WebSocket handshake.

    When `handler` returns, the WebSocket is closed with 1000. When it raises `WebSocketClosed` or
    `TransportClosed`, the client has gone. When it raises anything else, the client gets 1011 and
    `on_error` the exception.

    Args:
        request: the handshake.
        handler: serves the connection.
        settings: limits and deadlines.
        subprotocols: those the server speaks; the first of the client's that is among them is
            chosen, for its order is its preference (RFC 6455, 4.1).
        require_subprotocol: refuse a client that offers none of them.
        shutdown: when it is requested, the WebSocket is closed with 1001.
        on_error: gets an exception of `handler`.
        headers: more headers for the answer.

    Returns:
        What the HTTP application is to return: an upgrade, or 400 or 426 for a request that is no
        acceptable handshake.
    """
    settings = settings or WebSocketSettings()
    try:
        subprotocol, extensions, answer = _handshake(
            request, settings, subprotocols, require_subprotocol, headers
        )
    except HttpError as error:
        return error.response()

    async def serve(transport: Transport, received: bytes) -> None:
        # Made anew: what wsproto needs for the handshake alone is much, and would stay.
        connection = Connection(ConnectionType.SERVER, extensions)
        websocket = WebSocket(
            connection, transport, settings, request, subprotocol, compresses=bool(extensions)
        )
        await websocket.serve(handler, received, shutdown or Shutdown(), on_error)

    return Upgrade(answer, serve)


class Framed:
    """Messages encoded once, to be sent over many WebSockets. See `WebSocket.send_framed`."""

    __slots__ = ("data", "messages")

    def __init__(self, messages: Sequence[str | bytes]) -> None:
        self.messages = messages
        self.data = b"".join(map(encode_frame, messages))
        """All of them as frames, without compression."""


class WebSocket:
    """One open WebSocket.

    Somebody must be receiving most of the time: pings, pongs and closes are handled there. One
    task may receive at a time; any task may send.
    """

    def __init__(
        self,
        connection: Connection,
        transport: Transport,
        settings: WebSocketSettings,
        request: Request,
        subprotocol: str | None,
        *,
        compresses: bool = False,
    ) -> None:
        self.transport = transport
        """What lies below. Not to be read or written."""
        self.request = request
        """The handshake."""
        self.subprotocol = subprotocol
        """The negotiated subprotocol, or None."""
        self.settings = settings
        self.close_code: int | None = None
        """The code of the side that closed first; None while open."""
        self.close_reason = ""
        self._connection = connection
        self._partial: io.StringIO | io.BytesIO | None = None
        self._message_bytes = 0
        self._frame_bytes = 0
        self._unparsed = memoryview(b"")
        self._tail = b""
        """The beginning of a frame whose rest has not come, left out of `_unparsed`."""
        self._owed = 0
        """Bytes that wsproto still has to be given of the frame it is reading."""
        self._fragmented = False
        """Whether wsproto is reading a message of several frames."""
        self._reading: trio.CancelScope | None = None
        self._linger = 0.0
        self._compresses = compresses
        self._pong_deadline: float | None = None
        self._close_arrived: CloseConnection | None = None
        """The peer's close, while what came before it is being answered."""
        self._ended = trio.Event()  # the closing handshake is done, or given up

    async def receive(self) -> str | bytes:
        """Return the next message: text as str, binary as bytes. At cancellation none is lost.

        Raises:
            WebSocketClosed: a side has closed it, or the peer broke a rule or a limit and has
                been told so.
        """
        while True:
            message = self._next_message()
            if message is not None:
                return message
            if self._ended.is_set():
                raise WebSocketClosed(self.close_code or NORMAL, self.close_reason)
            await self._receive_more()

    def receive_nowait(self) -> str | bytes | None:
        """Return the next message, if it has arrived already and been read; else None.

        For those who answer all that came with one read at once. The peer's close is left for
        `receive`: until that is called, answers to what came before the close can be sent.
        """
        if self._close_arrived is None:
            return self._next_message(hold_close=True)
        return None

    @property
    def close_arrived(self) -> bool:
        """Whether `receive_nowait` has come to the peer's close: `receive` will not return."""
        return self._close_arrived is not None

    def send(self, data: str | bytes) -> None:
        """Send a message, as `Transport.write` does: never waits; after the close does nothing."""
        if self._compresses and self._connection.state is ConnectionState.OPEN:
            event = TextMessage(data) if isinstance(data, str) else BytesMessage(data)
            self.transport.write(self._connection.send(event))
        elif self._may_send:
            self.transport.write(encode_frame(data))

    def send_framed(self, framed: Framed) -> None:
        """Send messages that many are sent; else as `send`."""
        if self._compresses:
            for message in framed.messages:
                self.send(message)
        elif self._may_send:
            self.transport.write(framed.data)

    @property
    def _may_send(self) -> bool:
        return (
            self._connection.state is ConnectionState.OPEN or self._close_arrived is not None
        ) and self.close_code is None

    async def drain(self) -> None:
        """Wait until little is left to be sent. See `Transport.drain`."""
        await self.transport.drain()

    def start_close(self, code: int = NORMAL, reason: str = "") -> None:
        """Send a close, without waiting for the answer; `receive` then ends in time."""
        if self._connection.state in {ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING}:
            self.transport.write(self._connection.send(CloseConnection(code, reason)))
            if self._reading is not None:
                self._reading.deadline = trio.current_time() + self.settings.close_timeout
        self._note_close(code, reason)

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close, and wait for the answer until `WebSocketSettings.close_timeout`.

        Messages that still arrive are thrown away, unless another task receives them. The
        connection itself is closed by the server when the handler has returned.

        Args:
            code: a code that may be sent (RFC 6455, 7.4).
            reason: for the peer's log; cut to 123 bytes of UTF-8.
        """
        self.start_close(code, reason)
        with trio.move_on_after(self.settings.close_timeout):
            while not self._ended.is_set():
                if self._next_message() is None and not self._ended.is_set():
                    await self._receive_more()
        self._ended.set()

    async def serve(
        self,
        handler: "Callable[[WebSocket], Awaitable[None]]",
        received: bytes,
        shutdown: Shutdown,
        on_error: "Callable[[BaseException, WebSocket], None] | None",
    ) -> None:
        """Run `handler` and close in the end. See `accept`."""
        code = NORMAL

        def stop() -> None:
            self.start_close(GOING_AWAY)

        shutdown.subscribe(stop)
        try:
            self._unparsed = memoryview(received)
            await handler(self)
        except* (WebSocketClosed, TransportClosed):
            pass
        except* Exception as errors:
            code = INTERNAL_ERROR
            if on_error is not None:
                on_error(sole_error(errors), self)
        finally:
            shutdown.unsubscribe(stop)
        await self.close(code)
        await self.transport.aclose(linger=self._linger)

    async def _receive_more(self) -> None:
        """Read once, for `_next_message` to parse."""
        if self._reading is not None:
            if self._connection.state is ConnectionState.OPEN:
                raise trio.BusyResourceError("another task is receiving from this WebSocket")
            await self._ended.wait()  # it sees to the close
            return
        data = await self._read()
        if data is None:
            return
        self._pong_deadline = None  # any byte shows that the peer lives
        if data:
            self._unparsed = memoryview(self._tail + data if self._tail else data)
            self._tail = b""
        else:
            self._end(ABNORMAL, "closed without a closing handshake")

    async def _read(self) -> bytes | None:
        """Read bytes; None when a timer has run out instead, and has been dealt with."""
        settings = self.settings
        now = trio.current_time()
        if self._connection.state is not ConnectionState.OPEN:
            deadline = now + settings.close_timeout
        elif self._pong_deadline is not None:
            deadline = max(self._pong_deadline, now + LEAST_PONG_WAIT)
        elif settings.ping_interval is not None:
            deadline = now + settings.ping_interval
        else:
            deadline = float("inf")
        try:
            with trio.CancelScope(deadline=deadline) as self._reading:
                return await self.transport.receive()
        except TransportClosed as error:
            self._end(ABNORMAL, error.reason)
            return None
        finally:
            self._reading = None
        if self._connection.state is not ConnectionState.OPEN:
            self._end(ABNORMAL, "close was not answered")
        elif self._pong_deadline is None:
            self.transport.write(self._connection.send(Ping()))
            self._pong_deadline = trio.current_time() + settings.ping_timeout
        else:
            self._fail(INTERNAL_ERROR, "ping timeout")
        return None

    def _next_message(self, *, hold_close: bool = False) -> str | bytes | None:
        """Parse up to the next message; None if more must be read, or nothing more will come.

        What comes after a message is left alone: a close that follows it must not hinder its
        answer. With `hold_close` a close is taken note of, and dealt with by the next call.
        """
        if (close := self._close_arrived) is not None:
            self._close_arrived = None
            self._closed_by_peer(close)
            return None
        slice_size = COMPRESSED_SLICE if self.settings.compression else RECEIVE_SIZE
        try:
            while not self._ended.is_set():
                for event in self._connection.events():
                    match event:
                        case TextMessage() | BytesMessage():
                            message = self._take(event)
                            if message is not None:
                                return message
                        case Ping():
                            self._pong(event)
                        case CloseConnection() if hold_close:
                            self._close_arrived = event
                            return None
                        case CloseConnection():
                            self._closed_by_peer(event)
                        case _:
                            pass  # a pong
                    if self._ended.is_set():
                        return None
                if not self._unparsed:
                    return None
                if self._owed or self._compresses or not self._is_open:
                    self._feed(slice_size)
                elif (message := self._next_frame()) is not None:
                    return message
        except (LocalProtocolError, RemoteProtocolError) as error:
            self._fail(PROTOCOL_ERROR, str(error))
        return None

    @property
    def _is_open(self) -> bool:
        return self._connection.state is ConnectionState.OPEN

    def _next_frame(self) -> str | bytes | None:
        """Read the frame that comes next, if it is a whole message; else leave it to wsproto.

        One that has not come as a whole is left for later, if it is not too long.
        """
        data = self._unparsed
        head = read_head(data)
        if head is None:
            self._postpone()
            return None
        total = head.size + head.length
        whole = head.plain and not self._fragmented
        if whole and head.length > self.settings.max_message_bytes:
            self._fail(TOO_BIG, "message too big")
            return None
        if whole and head.length > self.settings.max_frame_bytes:
            self._fail(TOO_BIG, "frame too big")
            return None
        if not whole or total > RECEIVE_SIZE:
            self._owed = total
            self._note_fragments(head)
            self._feed(RECEIVE_SIZE)
            return None
        if total > len(data):
            self._postpone()
            return None
        payload = unmask(bytes(data[head.size : total]), bytes(data[head.size - 4 : head.size]))
        self._unparsed = data[total:]
        if head.first != FIN | TEXT:
            return payload
        try:
            return payload.decode()
        except UnicodeDecodeError as error:
            self._fail(INVALID_DATA, str(error))
            return None

    def _postpone(self) -> None:
        self._tail = bytes(self._unparsed)
        self._unparsed = memoryview(b"")

    def _note_fragments(self, head: Head) -> None:
        if head.first & 0x0F in {CONTINUATION, TEXT, BINARY}:  # not of pings, pongs and closes
            self._fragmented = not head.first & FIN

    def _feed(self, most: int) -> None:
        """Give wsproto what has come of the frame that it is reading, or of all of them."""
        size = min(most, self._owed or most)
        part = bytes(self._unparsed[:size])
        self._unparsed = self._unparsed[size:]
        self._owed = max(0, self._owed - len(part))
        self._connection.receive_data(part)

    def _take(self, event: TextMessage | BytesMessage) -> str | bytes | None:
        """Take a part of a message; return the message if it is the last."""
        data: str | bytes = event.data if isinstance(event.data, str) else bytes(event.data)
        # A character is counted as the bytes it was sent as.
        size = len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode())
        self._message_bytes += size
        self._frame_bytes += size
        if self._message_bytes > self.settings.max_message_bytes:
            self._fail(TOO_BIG, "message too big")
            return None
        if self._frame_bytes > self.settings.max_frame_bytes:
            self._fail(TOO_BIG, "frame too big")
            return None
        if event.frame_finished:
            self._frame_bytes = 0
        if not event.message_finished:
            self._append(data)
            return None
        self._message_bytes = 0
        if self._partial is None:
            return data
        self._append(data)
        data = self._partial.getvalue()
        self._partial = None
        return data

    def _append(self, data: str | bytes) -> None:
        # A buffer, not a list of parts: a fragment may have one byte.
        if isinstance(data, str):
            if self._partial is None:
                self._partial = io.StringIO(newline="")
            assert isinstance(self._partial, io.StringIO)
            self._partial.write(data)
        else:
            if self._partial is None:
                self._partial = io.BytesIO()
            assert isinstance(self._partial, io.BytesIO)
            self._partial.write(data)

    def _pong(self, ping: Ping) -> None:
        if self._connection.state is ConnectionState.OPEN:
            self.transport.write(self._connection.send(ping.response()))

    def _closed_by_peer(self, event: CloseConnection) -> None:
        state = self._connection.state
        if state is ConnectionState.OPEN:
            # wsproto's way to say that the peer broke the protocol.
            self._fail(event.code, event.reason or "")
            return
        if state is ConnectionState.REMOTE_CLOSING:
            self.transport.write(self._connection.send(event.response()))
        self._end(event.code, event.reason or "")

    def _fail(self, code: int, reason: str) -> None:
        """Tell the peer and expect no answer (RFC 6455, 7.1.7)."""
        self.start_close(code, reason)
        self._linger = self.settings.close_timeout
        self._end(code, reason)

    def _end(self, code: int, reason: str) -> None:
        self._note_close(code, reason)
        self._partial = None
        self._unparsed = memoryview(b"")
        self._tail = b""
        self._ended.set()

    def _note_close(self, code: int, reason: str) -> None:
        if self.close_code is None:
            self.close_code = int(code)
            self.close_reason = reason


class WebSocketTransport(Transport):
    """A WebSocket as a byte stream: message boundaries mean nothing (MQTT 5.0, 6).

    All that is written in one turn of the event loop goes out as one message, which saves most of
    the cost of framing.
    """

    __slots__ = ("_binary_only", "_outgoing", "_received", "_websocket")

    def __init__(
        self,
        websocket: WebSocket,
        *,
        binary_only: bool = False,
        outgoing: Literal["binary", "text"] = "binary",
    ) -> None:
        """Wrap `websocket`.

        Args:
            websocket: what to read and write.
            binary_only: close with 1003 at a text message, as MQTT demands.
            outgoing: the kind of messages to send. With "text", what is not UTF-8 is sent binary.
        """
        below = websocket.transport
        super().__init__(
            below.flusher,
            peer=below.peer,
            local=below.local,
            tls=below.tls,
            peer_certificate=below.peer_certificate,
            limits=below.limits,
        )
        self._websocket = websocket
        self._binary_only = binary_only
        self._outgoing = outgoing
        self._received = memoryview(b"")

    @property
    def subprotocol(self) -> str | None:
        """The negotiated subprotocol."""
        return self._websocket.subprotocol

    async def receive(self, max_bytes: int = RECEIVE_SIZE) -> bytes:
        """Wait for bytes. See `Transport.receive`; any close by the peer is an end."""
        while not self._received:
            if self.closed:
                raise self._closed_error()
            message = self._websocket.receive_nowait()
            if message is None and self._websocket.close_arrived:
                self.flush()  # nothing can be sent once the close is answered
            try:
                if message is None:
                    message = await self._websocket.receive()
            except WebSocketClosed as error:
                below = self._websocket.transport
                if below.abort_reason is not None:
                    self.abort(below.abort_reason)
                if error.code == ABNORMAL:
                    raise TransportClosed(error.reason) from error
                return b""
            if isinstance(message, str):
                if self._binary_only:
                    self._websocket.start_close(UNSUPPORTED_DATA, "binary messages only")
                    return b""
                message = message.encode()
            self._received = memoryview(message)
        part = bytes(self._received[:max_bytes])
        self._received = self._received[max_bytes:]
        self._count_in(len(part))
        return part

    def flush(self) -> bool:
        """Send what has been written as one message."""
        below = self._websocket.transport
        if self._pieces:
            if self._outgoing == "text":
                size = self._send_text(self._pieces)
                self._pieces.clear()
            else:
                data = self._take_output()
                size = len(data)
                if data:
                    self._websocket.send(data)
            self._count_out(size)
        # Too high as soon as something has been sent below, until the next flush or drain.
        self.buffered = below.buffered
        if below.abort_reason is not None:
            self.abort(below.abort_reason)
        return True  # below, or one of the two may have ended

    async def drain(self) -> None:
        """Wait until little is left to be sent below. See `Transport.drain`."""
        self.flush()
        if self._limit < 0:
            raise self._closed_error()
        below = self._websocket.transport
        await below.drain()
        self.buffered = below.buffered

    async def aclose(self, *, linger: float = 0.0) -> None:
        """Send what is buffered, then close with 1000. See `Transport.aclose`."""
        if self.closed:
            return
        self._limit = -1
        try:
            self.flush()
            await self._websocket.close()
            await self._websocket.transport.aclose(linger=linger)
        finally:
            self._mark_closed()
            if not self._websocket.transport.closed:
                self._close_now()

    def _send_text(self, pieces: Sequence[bytes]) -> int:
        data = b"".join(pieces)
        if not data:
            return 0
        try:
            self._websocket.send(data.decode())
        except UnicodeDecodeError:
            for piece in pieces:
                try:
                    self._websocket.send(piece.decode())
                except UnicodeDecodeError:
                    self._websocket.send(piece)
        return len(data)

    def _close_now(self) -> None:
        self._websocket.transport.abort(self.abort_reason or "closed")


def _handshake(
    request: Request,
    settings: WebSocketSettings,
    subprotocols: Sequence[str],
    require_subprotocol: bool,
    headers: Sequence[tuple[str, str]],
) -> tuple[str | None, list[Extension], bytes]:
    """Return the subprotocol and the extensions that are agreed on, and the answer."""
    if request.method != "GET" or request.content_length != 0 or request.http_version != "1.1":
        raise HttpError(400, "a WebSocket handshake is a GET by HTTP/1.1 without a body")
    if "websocket" not in [option.lower() for option in request.headers.get_list("upgrade")]:
        raise HttpError(426, "WebSocket only", [("Upgrade", "websocket")])
    _check_key(request.headers.get_all("sec-websocket-key"))
    offer = None
    if settings.compression:
        offer = choose_offer(request.headers.get_list("sec-websocket-extensions"))
    head = [field for field in request.headers.raw if field[0] != b"sec-websocket-extensions"]
    if offer is not None:
        head.append((b"sec-websocket-extensions", offer.encode()))
    connection = WSConnection(ConnectionType.SERVER)
    try:
        connection.initiate_upgrade_connection(head, request.target)
    except RemoteProtocolError as error:
        hint = error.event_hint
        if not isinstance(hint, RejectConnection):
            raise HttpError(400, str(error)) from error
        refused = [(name.decode(), value.decode()) for name, value in hint.headers]
        raise HttpError(hint.status_code, str(error), refused) from error
    except UnicodeError as error:
        raise HttpError(400, "illegal Host header") from error
    offered = request.headers.get_list("sec-websocket-protocol")
    subprotocol = next((name for name in offered if name in subprotocols), None)
    if subprotocol is None and require_subprotocol:
        raise HttpError(400, f"offer one of the subprotocols {', '.join(subprotocols)}")
    deflate = PerMessageDeflate()
    answer = connection.send(
        AcceptConnection(
            subprotocol=subprotocol,
            extensions=[deflate],
            extra_headers=[(name.encode(), value.encode()) for name, value in headers],
        )
    )
    return subprotocol, [deflate] if deflate.enabled() else [], answer


def _check_key(keys: Sequence[str]) -> None:
    """The key must be 16 bytes in base64 (RFC 6455, 4.2.1)."""
    try:
        if len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == 16:
            return
    except ValueError:  # not base64, or not even ASCII
        pass
    raise HttpError(400, "illegal Sec-WebSocket-Key")
