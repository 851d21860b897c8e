"""HTTP/2 on one connection: h2 for the protocol, a task for each request.

Requests and answers are those of HTTP/1.1, and so are the rules: bodies are read on demand, answers
are sent with back-pressure, whoever does not send or read in time is cut off. What a client may
have under way is bounded by `HttpSettings.http2_max_streams` and by the windows below; what it may
send beside that by `Allowance`.

Source: RFC 9113.
"""

import contextlib
from collections.abc import AsyncIterable, AsyncIterator

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import trio
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hpack import HPACKError
from hyperframe.frame import GoAwayFrame

from hubbub.http.heads import CommonHeaders
from hubbub.http.http2_fields import read_head, write_fields
from hubbub.http.http2_frames import (
    PREFACE,
    Allowance,
    Frame,
    FrameError,
    FrameReader,
    FrameType,
)
from hubbub.http.messages import HttpError, Request, Upgrade, close_body
from hubbub.http.parser import BadRequest
from hubbub.http.service import UNREAD_BODY_LIMIT, Service
from hubbub.net.deadline import Deadline
from hubbub.net.transport import Transport, TransportClosed

__all__ = ["Http2Connection"]

KEEP_ALIVE = "keep alive"
HEAD = "head"

STREAM_WINDOW = 256 * 1024
"""Bytes of one request's body that wait to be read."""
CONNECTION_WINDOW = 1024 * 1024
"""The same for all requests of a connection."""
PART_SIZE = 64 * 1024
"""Bytes of an answer that a client must take within the write timeout."""
HEADER_TABLE_SIZE = 4096
"""Bytes of headers that are remembered to compress those that follow."""
FAIRNESS = 32
"""Frames that are handled before the others have their turn."""


class _H2(h2.connection.H2Connection):
    MAX_CLOSED_STREAMS = 1024  # remembered each, to tell late frames from wrong ones

    def is_finished(self, stream_id: int) -> bool:
        """Whether request and answer are complete, neither cut short by a reset."""
        return self._stream_is_closed_by_end(stream_id)


class Http2Connection:
    """One connection: reads frames, runs a task for each request, stops gracefully."""

    def __init__(self, service: Service, common: CommonHeaders, transport: Transport) -> None:
        self.service = service
        self.common = common
        self.transport = transport
        self.stopping = False
        self.streams: dict[int, _Stream] = {}
        self.h2 = _H2(
            h2.config.H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_outbound_headers=False,  # checked here
                normalize_outbound_headers=False,
            )
        )
        self.allowance = Allowance(trio.current_time())
        self._reader = FrameReader(max_header_bytes=service.settings.max_head_bytes)
        self._deadline = Deadline()
        self._peer_leaves = False  # it has sent GOAWAY
        self._linger = 0.0

    async def run(self, received: bytes) -> None:
        """Serve until the connection ends; `received` are the bytes that have come already."""
        service = self.service
        service.stats.http2_connections += 1
        self._begin()
        service.shutdown.subscribe(self._stop)
        try:
            async with trio.open_nursery() as nursery:
                with self._deadline:
                    await self._read(received, nursery)
                if self._deadline.expired:
                    self._say_goodbye(ErrorCodes.NO_ERROR)
                    if self._deadline.phase == HEAD:
                        service.stats.timeouts += 1
                for stream in list(self.streams.values()):
                    stream.lose()
                await self.transport.aclose(linger=self._linger)
        finally:
            service.shutdown.unsubscribe(self._stop)

    def flush(self) -> None:
        """Write what h2 has to say."""
        data = self.h2.data_to_send()
        if data:
            self.transport.write(data)

    def forget(self, stream: "_Stream") -> None:
        """Note that a request's task has ended."""
        del self.streams[stream.id]
        if not self.streams:
            if self.stopping or self._peer_leaves:
                self._deadline.expire()
            else:
                self._deadline.start(self.service.settings.keep_alive_timeout, KEEP_ALIVE)

    def _begin(self) -> None:
        settings = self.service.settings
        connection = self.h2
        connection.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.MAX_CONCURRENT_STREAMS: settings.http2_max_streams,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: settings.max_head_bytes,
            },
        )
        connection.decoder.max_header_list_size = settings.max_head_bytes
        connection.max_inbound_frame_size = connection.local_settings.max_frame_size
        connection.initiate_connection()
        # h2 would close the whole connection at a request too many. That one alone is refused: a
        # client may have sent it before it has read our settings.
        connection.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 2**31 - 1
        connection.local_settings.acknowledge()
        connection.increment_flow_control_window(CONNECTION_WINDOW - 65_535)
        connection.receive_data(PREFACE)  # the frame reader keeps it to itself
        self.flush()
        self._deadline.start(settings.keep_alive_timeout, KEEP_ALIVE)

    async def _read(self, received: bytes, nursery: trio.Nursery) -> None:
        """Read until the connection is to be closed."""
        reader = self._reader
        settings = self.service.settings
        data = received
        try:
            while True:
                reader.feed(data)
                await self._take_frames(nursery)
                if reader.in_headers:
                    if self._deadline.phase != HEAD:
                        self._deadline.start(settings.head_timeout, HEAD)
                elif self._deadline.phase == HEAD:
                    self._await_request()
                if self.transport.buffered > self.transport.limits.low_water:
                    await self.transport.drain()  # who does not read, is not read from
                data = await self.transport.receive()
                if not data:
                    return
        except TransportClosed:
            return
        except FrameError as error:
            if error.code == ErrorCodes.ENHANCE_YOUR_CALM:
                self.service.stats.http2_floods += 1
            self._fail(ErrorCodes(error.code), error.message)
        except h2.exceptions.ProtocolError as error:
            self._fail(*_describe(error))

    def _await_request(self) -> None:
        if self.streams:
            self._deadline.stop()
        else:
            self._deadline.start(self.service.settings.keep_alive_timeout, KEEP_ALIVE)

    async def _take_frames(self, nursery: trio.Nursery) -> None:
        in_a_row = 0
        while (frame := self._reader.next()) is not None:
            self.allowance.spend(frame, trio.current_time(), known=frame.stream in self.streams)
            if frame.type == FrameType.GOAWAY:
                # For h2 this is the end, also of what is under way; for a client only of what is
                # to come (6.8).
                self._peer_leaves = True
                if not self.streams:
                    self._deadline.expire()
                continue
            if frame.type == FrameType.DATA and self.h2.is_finished(frame.stream):
                # No late frame, which h2 takes it for, but a client that has lost count (5.1).
                raise FrameError(
                    ErrorCodes.STREAM_CLOSED, f"DATA after the end of stream {frame.stream}"
                )
            self._feed(frame, nursery)
            in_a_row += 1
            if in_a_row >= FAIRNESS:
                in_a_row = 0
                await trio.lowlevel.checkpoint()
        self.flush()

    def _feed(self, frame: Frame, nursery: trio.Nursery) -> None:
        for event in self.h2.receive_data(frame.data):
            match event:
                case h2.events.RequestReceived():
                    self._open(event, nursery)
                case h2.events.DataReceived():
                    stream = self.streams.get(event.stream_id)
                    if stream is None:  # answered and forgotten
                        self.acknowledge(event.flow_controlled_length, event.stream_id)
                    else:
                        stream.take(event.data, event.flow_controlled_length)
                case h2.events.StreamEnded():
                    if (stream := self.streams.get(event.stream_id)) is not None:
                        stream.end()
                case h2.events.StreamReset():
                    if (stream := self.streams.get(event.stream_id)) is not None:
                        stream.lose()
                case h2.events.WindowUpdated():
                    if not event.stream_id:
                        self._wake_senders()
                    elif (stream := self.streams.get(event.stream_id)) is not None:
                        stream.wake()
                case h2.events.RemoteSettingsChanged():
                    # The peer must not decide how much memory our side of its headers takes.
                    self.h2.encoder.header_table_size = min(
                        self.h2.encoder.header_table_size, HEADER_TABLE_SIZE
                    )
                    self._wake_senders()

    def _open(self, event: h2.events.RequestReceived, nursery: trio.Nursery) -> None:
        service = self.service
        if self.stopping or len(self.streams) >= service.settings.http2_max_streams:
            service.stats.http2_refused += 1
            self.h2.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
            return
        stream = _Stream(self, event.stream_id)
        self.streams[event.stream_id] = stream
        self._deadline.stop()
        nursery.start_soon(stream.serve, event)

    def acknowledge(self, size: int, stream_id: int) -> None:
        """Let the client send as many bytes again."""
        if size:
            self.h2.acknowledge_received_data(size, stream_id)

    def _wake_senders(self) -> None:
        for stream in self.streams.values():
            stream.wake()

    def _fail(self, code: ErrorCodes, reason: str) -> None:
        """Close because of what the peer did (5.4.1)."""
        self.service.stats.bad_requests += 1
        self._linger = self.service.settings.linger
        self.h2.clear_outbound_data_buffer()  # h2's own GOAWAY, which has no reason
        self._say_goodbye(code, reason)

    def _say_goodbye(self, code: ErrorCodes, reason: str = "") -> None:
        """Send GOAWAY; not by h2, which would then do nothing more for what is under way."""
        frame = GoAwayFrame(
            0,
            last_stream_id=self.h2.highest_inbound_stream_id,
            error_code=code,
            additional_data=reason.encode(),
        )
        self.transport.write(frame.serialize())

    def _stop(self) -> None:
        self.stopping = True
        if not self.streams:
            self._deadline.expire()
            return
        self._say_goodbye(ErrorCodes.NO_ERROR)
        for stream in self.streams.values():
            stream.stop()


class _Stream:
    """One request and its answer; the `Exchange` of the request."""

    __slots__ = (
        "_body_seconds",
        "_changed",
        "_connection",
        "_continue_wanted",
        "_ended",
        "_flow_bytes",
        "_head_sent",
        "_late",
        "_parts",
        "_scope",
        "_watched",
        "disconnected",
        "id",
    )

    def __init__(self, connection: Http2Connection, stream_id: int) -> None:
        self.id = stream_id
        self.disconnected = False
        self._connection = connection
        self._parts: list[tuple[bytes, int]] = []  # of the body, each with what it takes of windows
        self._ended = False  # the whole request has come
        self._flow_bytes = 0  # of the body, received and not read
        self._body_seconds = connection.service.settings.body_timeout
        self._continue_wanted = False
        self._head_sent = False
        self._late = False  # the body did not come in time
        self._changed: trio.Event | None = None
        self._scope = trio.CancelScope()
        self._watched: dict[trio.CancelScope, bool] = {}

    # the exchange

    @property
    def transport(self) -> Transport:
        """The connection."""
        return self._connection.transport

    @property
    def stopping(self) -> bool:
        """Whether the server is about to stop."""
        return self._connection.stopping

    @property
    def max_body_bytes(self) -> int:
        """The limit of bodies whose application sets none."""
        return self._connection.service.settings.max_body_bytes

    async def receive_body(self) -> bytes:
        """Return the next part of the request's body; b"" at its end."""
        while not self._parts:
            if self._ended:
                return b""
            if self.disconnected:
                raise TransportClosed("closed in the middle of a request")
            if self._continue_wanted:
                self._continue_wanted = False
                self._send_head([(b":status", b"100")])
            begin = trio.current_time()
            with trio.move_on_after(self._body_seconds) as waiting:
                await self._change()
            self._body_seconds -= trio.current_time() - begin
            if waiting.cancelled_caught:
                self._late = True
                self._scope.cancel()
                await trio.lowlevel.checkpoint()
        part, size = self._parts.pop(0)
        self._flow_bytes -= size
        self._connection.acknowledge(size, self.id)
        self._connection.flush()
        return part

    @contextlib.asynccontextmanager
    async def watching(self, scope: trio.CancelScope, *, until_stop: bool) -> AsyncIterator[None]:
        """Cancel `scope` when the client goes away; see `Request.until_disconnect`."""
        if until_stop and not self._ended and not self.disconnected:
            raise RuntimeError("read the body before you wait for the client to go away")
        if self.disconnected or (until_stop and self.stopping):
            scope.cancel()
        self._watched[scope] = until_stop
        try:
            yield
        finally:
            del self._watched[scope]

    # what the connection tells

    def take(self, data: bytes, size: int) -> None:
        """Take a part of the body; `size` with padding."""
        if data:
            self._parts.append((bytes(data), size))
            self._flow_bytes += size
            self.wake()
        else:
            self._connection.acknowledge(size, self.id)

    def end(self) -> None:
        """Note that the request is complete."""
        self._ended = True
        self.wake()

    def lose(self) -> None:
        """Note that the client wants no answer any more."""
        self.disconnected = True
        for scope in self._watched:
            scope.cancel()
        self.wake()

    def stop(self) -> None:
        """Note that the server is to stop."""
        for scope, until_stop in self._watched.items():
            if until_stop:
                scope.cancel()
        self.wake()

    def wake(self) -> None:
        """Let the task look again: at the body, or at the window."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def _change(self) -> None:
        if self._changed is None:
            self._changed = trio.Event()
        await self._changed.wait()

    # the task

    async def serve(self, event: h2.events.RequestReceived) -> None:
        """Answer the request."""
        connection = self._connection
        service = connection.service
        service.stats.requests += 1
        try:
            with self._scope:
                alone = event.stream_ended is not None
                if alone:  # else the end may have come already, before this task had its turn
                    self._ended = True
                head = read_head(event.headers, service.settings.max_headers, ended=alone)
                self._continue_wanted = head.expects_continue
                await self._answer(Request(head, self))
                if not self._continue_wanted and (head.content_length or 0) <= UNREAD_BODY_LIMIT:
                    await self._discard_body()
        except BadRequest as error:
            service.stats.bad_requests += 1
            self._refuse(HttpError(error.status, error.message))
        except TransportClosed:
            self.disconnected = True
        finally:
            if self._late:
                service.stats.timeouts += 1
                self._refuse(HttpError(408))
            self._close()

    async def _answer(self, request: Request) -> None:
        service, common = self._connection.service, self._connection.common
        response = await service.ask(request)
        if isinstance(response, Upgrade):
            response = service.crashed(RuntimeError("an upgrade over HTTP/2"), request)
        try:
            fields, length = write_fields(response, request.method, common)
        except ValueError as error:
            response = service.crashed(error, request)
            fields, length = write_fields(response, request.method, common)
        body = response.body
        if request.method == "HEAD" or response.status in {204, 304} or body == b"":
            self._send_head(fields, end=True)
            if not isinstance(body, bytes):
                await close_body(body)
        elif isinstance(body, bytes):
            self._send_head(fields)
            await self._send(body, end=True)
        else:
            self._send_head(fields)
            try:
                with trio.CancelScope() as scope:
                    async with self.watching(scope, until_stop=False):
                        try:
                            await self._send_parts(body, length)
                        finally:
                            await close_body(body)
            except (BadRequest, TransportClosed):
                raise
            except Exception as error:
                service.crashed(error, request)
                self._reset(ErrorCodes.INTERNAL_ERROR)

    async def _send_parts(self, body: AsyncIterable[bytes], length: int | None) -> None:
        left = length or 0
        async for part in body:
            await trio.lowlevel.checkpoint()  # the iterable may never wait for anything
            if length is not None:
                left -= len(part)
                if left < 0:
                    raise ValueError("the body is longer than its Content-Length")
            await self._send(part)
        if left > 0:
            raise ValueError("the body is shorter than its Content-Length")
        await self._send(b"", end=True)

    # sending

    def _send_head(self, fields: list[tuple[bytes, bytes]], *, end: bool = False) -> None:
        if self.disconnected:
            raise TransportClosed("the client has reset the request")
        if fields[0][1] != b"100":
            self._head_sent = True
        self._connection.h2.send_headers(self.id, fields, end_stream=end)
        self._connection.flush()

    async def _send(self, data: bytes, *, end: bool = False) -> None:
        """Send a part of the body within the client's windows.

        Raises:
            TransportClosed: the client is gone, or did not take it in time.
        """
        connection = self._connection
        transport = connection.transport
        view = memoryview(data)
        due: float | None = None
        taken = 0  # since the client had to be waited for
        while view or end:
            if self.disconnected:
                raise TransportClosed("the client has reset the request")
            window = connection.h2.local_flow_control_window(self.id)
            if window <= 0 and view:
                if due is None:
                    due = trio.current_time() + transport.limits.timeout
                await self._await_window(due)
                continue
            size = min(max(window, 0), connection.h2.max_outbound_frame_size, len(view))
            last = end and size == len(view)
            connection.h2.send_data(self.id, bytes(view[:size]), end_stream=last)
            connection.allowance.earn(2)
            connection.flush()
            if transport.buffered > transport.limits.low_water:
                await transport.drain()
            if last:
                return
            view = view[size:]
            taken += size
            if taken >= PART_SIZE:
                due, taken = None, 0

    async def _await_window(self, due: float) -> None:
        with trio.move_on_at(due) as scope:
            await self._change()
        if scope.cancelled_caught:
            self._connection.service.stats.http2_slow_readers += 1
            self._reset(ErrorCodes.CANCEL)
            raise TransportClosed("slow reader")

    def _refuse(self, error: HttpError) -> None:
        """Answer a request that could not be read, unless its answer has begun or nobody waits."""
        if self.disconnected:
            return
        if self._head_sent:
            self._reset(ErrorCodes.CANCEL)
            return
        response = self._connection.service.render_error(error)
        assert isinstance(response.body, bytes)
        fields, _ = write_fields(response, "GET", self._connection.common)
        self._send_head(fields)
        window = self._connection.h2.local_flow_control_window(self.id)
        fits = window >= len(response.body)
        self._connection.h2.send_data(self.id, response.body if fits else b"", end_stream=fits)
        self._connection.flush()

    def _reset(self, code: ErrorCodes) -> None:
        if not self.disconnected:
            self.disconnected = True
            self._connection.h2.reset_stream(self.id, code)
            self._connection.flush()

    async def _discard_body(self) -> None:
        """Let a client finish that is still sending, if it is little and comes soon.

        A reset in the midst of it is what some clients report instead of the answer.
        """
        connection = self._connection
        size = 0
        with trio.move_on_after(connection.service.settings.linger):
            while not (self._ended or self.disconnected or connection.stopping):
                size += self._drop_parts()
                if size > UNREAD_BODY_LIMIT:
                    return
                connection.flush()
                await self._change()

    def _drop_parts(self) -> int:
        """Give back what unread parts of the body take of the windows; return how much it was."""
        size, self._flow_bytes = self._flow_bytes, 0
        self._parts.clear()
        self._connection.acknowledge(size, self.id)
        return size

    def _close(self) -> None:
        """Leave nothing behind: neither a stream half open nor bytes that hold a window."""
        connection = self._connection
        self._drop_parts()
        if not self._ended:
            self._reset(ErrorCodes.NO_ERROR)  # the client may spare itself the rest (8.1)
        connection.flush()
        connection.forget(self)


def _describe(error: h2.exceptions.ProtocolError) -> tuple[ErrorCodes, str]:
    """Return code and reason of an error of h2's, where it has none of its own."""
    match error:
        case h2.exceptions.StreamClosedError():
            return error.error_code, f"stream {error.stream_id} is closed"
        case h2.exceptions.NoSuchStreamError():
            return error.error_code, f"stream {error.stream_id} has not been opened"
        case _ if type(error) is h2.exceptions.ProtocolError and isinstance(
            error.__cause__, HPACKError
        ):
            return ErrorCodes.COMPRESSION_ERROR, str(error)  # 4.3
    return error.error_code, str(error)
