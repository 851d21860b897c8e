"""One client's connection, from its first byte until it is gone."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from hubbub import (
    BusyError,
    Challenge,
    Deadline,
    DeniedError,
    Message,
    NotFoundError,
    Password,
    Principal,
    Session,
    Transport,
    TransportClosed,
    UnavailableError,
)

from . import events as ev
from .authenticating import Authenticator
from .channel import Mode
from .channels import Channel
from .decode import Content, MethodFrame
from .encode import HEARTBEAT_FRAME, encode_method_frame
from .errors import AmqpError, Reply
from .exchanges import VirtualHost
from .mapping import PROTOCOL, Spelled, exchange_prefix, spell_message
from .methods import (
    BasicPublish,
    ConnectionBlocked,
    ConnectionOpen,
    ConnectionUnblocked,
    ConnectionUpdateSecretOk,
    Method,
)
from .protocol import ServerConnection, State
from .publisher import Publisher

if TYPE_CHECKING:
    from .broker import Broker

HIGH_WATER: Final = 1024 * 1024
"""Bytes that wait for a client above which nothing more is delivered to it."""
_LINGER: Final = 1.0
_CLOSE_TIMEOUT: Final = 5.0
"""Seconds that a client has to answer our close."""
_STOP_TIMEOUT: Final = 1.0
"""The same when the hub stops: who does not read then must not hold up all others."""
_BLOCKED_AFTER: Final = 0.1
"""Seconds that the store may be behind before publishers are told."""
_CONSUMER_CHECKS: Final = 60.0
"""Seconds between looks at consumers that may have forgotten to acknowledge, at most."""


class Connection:
    """Serves one client: `serve` is all there is to do with it."""

    def __init__(self, broker: Broker, transport: Transport) -> None:
        self.broker = broker
        self.transport = transport
        self.machine = ServerConnection(broker.protocol_settings[bool(transport.certificate_names)])
        self.id = f"amqp/{secrets.token_hex(8)}"
        """Who owns its exclusive queues; each channel's leases have an owner of their own."""
        self.user = ""
        """The name that the client logged in with."""
        self.host: VirtualHost
        self.bus: Session
        self.vhost_name = ""
        self.channels: dict[int, Channel] = {}
        self.exclusive: set[str] = set()
        self.consumer_count = 0
        self.postponed: list[bytes] | None = None
        """Frames to be sent behind the next answer, while there is one to wait for."""
        self.publishes = False
        """Whether it has published: back-pressure is for those who do."""
        self.publisher = Publisher(self)
        self.shortest_timeout = inf
        """The least time in seconds that one of its consumers ever had to acknowledge."""
        self._sooner = trio.Event()
        self._authenticator = Authenticator(broker.hub, transport, guest=broker.guest)
        self._principal: Principal | None = None
        self._deadline = Deadline()
        self._nursery: trio.Nursery | None = None
        self.is_full = False
        """Whether so much waits for the client that nothing more is delivered."""
        self._holding = False
        """Whether the server does not read, so that silence is no sign of death."""
        self._reason = "connection lost"

    # for those who serve it

    def write(self, data: bytes) -> None:
        """Send. Look at `is_full` before there is more."""
        transport = self.transport
        transport.write(data)
        if transport.buffered > HIGH_WATER and not self.is_full and self._nursery is not None:
            self.is_full = True
            self.spawn(self._drain)

    async def _drain(self) -> None:
        try:
            await self.transport.drain()
        except TransportClosed:
            return
        finally:
            self.is_full = False
        for channel in tuple(self.channels.values()):
            channel.resume()

    def spawn(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run a function while the connection lasts; not at all when it is about to end."""
        if self._nursery is not None:
            self._nursery.start_soon(function)

    def time(self) -> float:
        """The time for waits, in seconds."""
        return trio.current_time()

    def spell(self, message: Message) -> Spelled:
        """Make a message ready for this client."""
        return spell_message(message, self.broker.now(), self.bus.lossy)

    def is_current(self, channel: Channel) -> bool:
        """Whether a channel is open still."""
        return self.channels.get(channel.number) is channel

    def resource(self, exchange: str) -> str:
        """Return the pattern that stands for an exchange where permissions are asked for."""
        return f"{exchange_prefix(exchange)}#"

    def refusal(self, error: DeniedError) -> str:
        """Say in RabbitMQ's words what the client may not do."""
        kind, _, name = error.resource.partition("/")
        what = f"queue '{name}'" if kind in {"$queue", "$stream"} else f"exchange '{kind}'"
        return f"access to {what} in vhost '{self.vhost_name}' refused for user '{self.user}'"

    def fail_channel(self, number: int, error: AmqpError) -> None:
        """Close a channel for an error; what it holds is given back soon."""
        data = self.machine.close_channel(number, error)
        channel = self.channels.pop(number, None)
        if channel is not None:
            self.spawn(channel.close)
        self.write(data)

    def stop(self) -> None:
        """End the connection when what is in hand is done: the hub stops."""
        if self._nursery is None:
            self._deadline.expire()
        else:
            self.spawn(self._stop)

    async def _stop(self) -> None:
        await self.publisher.settled()
        reason = "broker forced connection closure with reason 'shutdown'"
        self._fail(AmqpError(Reply.CONNECTION_FORCED, reason), _STOP_TIMEOUT)

    def _fail(self, error: AmqpError, timeout: float = _CLOSE_TIMEOUT) -> None:
        self._reason = str(error)
        self.write(self.machine.fail(error))
        self._deadline.start(timeout, "close")

    # serving

    async def serve(self) -> None:
        """Serve the client until it is gone."""
        self.broker.connections.add(self)
        with ExitStack() as stack:
            try:
                with self._deadline:
                    self._deadline.start(self.broker.settings.handshake_timeout, "handshake")
                    if await self._open(stack):
                        await self._run()
            except TransportClosed as closed:
                self._reason = closed.reason
            finally:
                self.broker.connections.discard(self)
                await self._leave()
        if self._deadline.expired and self.transport.buffered:
            self.transport.abort(self._reason)  # who had time to read, and did not
        await self.transport.aclose(linger=_LINGER)

    async def _leave(self) -> None:
        """Give back all that the client held."""
        if self._principal is None or not hasattr(self, "bus"):
            return
        self.bus.reason = self._reason
        with trio.CancelScope(shield=True), suppress(UnavailableError):
            for channel in tuple(self.channels.values()):
                await channel.close()
            self.channels.clear()
            for name in self.exclusive:
                found = self.bus.find_queue(name)
                if found is not None and found.settings.owner == self.id:
                    with suppress(NotFoundError, DeniedError):
                        await self.bus.delete_queue(name)
            self.exclusive.clear()

    async def _receive(self) -> bool:
        """Read what the client sends; False at its end."""
        data = await self.transport.receive()
        if not data:
            return False
        self.machine.receive_data(data)
        return True

    async def _open(self, stack: ExitStack) -> bool:
        """Let the client in, or refuse it."""
        machine = self.machine
        while machine.state is not State.RUNNING:
            events = machine.next_events()
            if not events:
                if machine.state is State.CLOSED or not await self._receive():
                    return False
                continue
            for event in events:
                match event:
                    case ev.HeaderSeen():
                        self.write(machine.start())
                    case ev.LoginAttempt():
                        await self._log_in(event)
                    case ev.OpenAttempt():
                        self._admit(event.virtual_host, stack)
                    case ev.Failed():
                        self._reason = str(event.error or "another protocol")
                        self.write(event.reply)
                        if machine.state is State.CLOSED:
                            return False
                    case ev.Closed():
                        self._reason = event.reason
                        self.write(event.reply)
                        return False
                    case _:
                        raise AssertionError(f"{event} before the connection is open")
            await self.transport.drain()
        return True

    async def _log_in(self, attempt: ev.LoginAttempt) -> None:
        machine = self.machine
        try:
            step = await self._authenticator.log_in(attempt)
        except (AmqpError, BusyError) as wrong:
            self._reason = str(wrong)
            if isinstance(wrong, BusyError):
                wrong = AmqpError(Reply.RESOURCE_ERROR, str(wrong))
            self.write(machine.fail(wrong))
            return
        if isinstance(step, Challenge):
            self.write(machine.secure(step.data))
            return
        if step is None:
            error = AmqpError(
                Reply.ACCESS_REFUSED,
                f"Login was refused using authentication mechanism {attempt.mechanism}. For "
                "details see the broker logfile.",
            )
            self._reason = str(error)
            close = machine.fail(error)
            if machine.has_capability("authentication_failure_close"):
                self.write(close)
                return
            raise TransportClosed(self._reason)  # others do not expect an answer
        self._principal, self.user = step
        self.write(machine.tune())

    def _admit(self, name: str, stack: ExitStack) -> None:
        """Open a virtual host, or refuse it."""
        machine, principal = self.machine, self._principal
        assert principal is not None
        host = self.broker.vhost(name)
        if host is None:
            self._refuse_host(f"vhost {name} not found")
            return
        if "*" not in principal.realms and host.realm not in principal.realms:
            self._refuse_host(f"access to vhost '{name}' refused for user '{self.user}'")
            return
        self.host = host
        self.vhost_name = name
        self.bus = self.broker.hub.session(
            principal, protocol=PROTOCOL, client=self._client_name(), peer=self.transport.peer,
            realm=host.realm,
        )  # fmt: skip
        stack.enter_context(self.bus)
        self.write(machine.open_ok())

    def _refuse_host(self, text: str) -> None:
        self._reason = text
        error = AmqpError(Reply.NOT_ALLOWED, text, method=ConnectionOpen.id)
        self.write(self.machine.fail(error))

    def _client_name(self) -> str:
        name = self.machine.client_properties.get("connection_name")
        return name if isinstance(name, str) and name else self.transport.peer

    async def _run(self) -> None:
        self._deadline.stop()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.publisher.run)
            nursery.start_soon(self._watch_consumers)
            if self.machine.heartbeat:
                nursery.start_soon(self._beat, self.machine.heartbeat)
            if self.broker.hub.shutdown.requested:
                self.stop()
            try:
                await self._converse()
            finally:
                self._nursery = None
                nursery.cancel_scope.cancel()

    async def _converse(self) -> None:
        machine = self.machine
        while True:
            while events := machine.next_events():
                await self._handle(events)
            if machine.state is State.CLOSED:
                return
            if self.is_full:
                await self._wait_for_client()
            if self.publishes:
                await self._be_ready()
            if not await self._receive():
                return

    async def _wait_for_client(self) -> None:
        self._holding = True
        await self.transport.drain()
        self._holding = False

    async def _handle(self, events: list[ev.Event]) -> None:
        publisher, channels = self.publisher, self.channels
        for event in events:
            if type(event) is Content:
                channel = channels.get(event.channel)
                if channel is None:
                    continue
                try:
                    if channel.mode is Mode.TX:
                        channel.note_publish(publisher.prepare(channel, event))
                    else:
                        publisher.add(channel, event)
                except AmqpError as error:
                    await publisher.flush()
                    self._broken(event.channel, BasicPublish.id, error)
                    if error.closes_connection:
                        return
                continue
            if publisher.has_pending:
                await publisher.flush()
            if type(event) is MethodFrame:
                await self._do(event.channel, event.method)
                if self.machine.state is not State.RUNNING:
                    return  # what came behind an error that ends all is not looked at
                if self.is_full:  # a client that asks for much must take it, too
                    await self._wait_for_client()
            else:
                await self._change(event)
        if publisher.has_pending:
            await publisher.flush()

    async def _do(self, number: int, method: Method) -> None:
        channel = self.channels.get(number)
        if channel is None:
            return
        try:
            await channel.handle(method)
        except AmqpError as error:
            self._broken(number, method.id, error)
        except UnavailableError as error:
            self._broken(number, method.id, AmqpError(Reply.INTERNAL_ERROR, str(error)))

    def _broken(self, number: int, method: tuple[int, int], error: AmqpError) -> None:
        """Close what an error closes."""
        if error.method == (0, 0):
            error.method = method
        if error.closes_connection:
            self._fail(error)
        else:
            self.fail_channel(number, error)

    async def _change(self, event: ev.Event) -> None:
        """Take note of a change of the connection or of a channel."""
        match event:
            case ev.ChannelOpened():
                self.channels[event.channel] = Channel(self, event.channel)
                self.write(event.reply)
            case ev.ChannelClosed():
                channel = self.channels.pop(event.channel, None)
                if channel is not None:
                    await channel.close()
                self.write(event.reply)
            case ev.ChannelFailed():
                channel = self.channels.pop(event.channel, None)
                if channel is not None:
                    await channel.close()
                self.write(event.reply)
            case ev.SecretUpdated():
                await self._update_secret(event.secret)
            case ev.Failed():
                self._reason = str(event.error)
                self.write(event.reply)
                self._deadline.start(_CLOSE_TIMEOUT, "close")
            case ev.Closed():
                self._reason = event.reason
                await self._leave()  # so that a client that was answered finds nothing left
                self.write(event.reply)
            case _:
                raise AssertionError(f"{event} on an open connection")

    async def _update_secret(self, secret: bytes) -> None:
        """Let the client prove itself anew, by a password that has changed.

        Who was let in without proof needs none now: RabbitMQ's guest may say anything here.
        """
        if self._principal is not None and self._principal.anonymous:
            self.write(encode_method_frame(0, ConnectionUpdateSecretOk()))
            return
        try:
            principal = await self._authenticator.authenticate(
                Password(self.user, secret, self.transport.peer, PROTOCOL)
            )
        except BusyError:
            principal = None
        if principal is not self._principal:
            self._fail(
                AmqpError(Reply.ACCESS_REFUSED, f"the new secret of user '{self.user}' is refused")
            )
            return
        self.write(encode_method_frame(0, ConnectionUpdateSecretOk()))

    # keeping pace, keeping alive

    async def _be_ready(self) -> None:
        """Hold a publisher back while the store is behind, and tell it so if it takes a while."""
        with trio.move_on_after(_BLOCKED_AFTER) as scope:
            try:
                await self.bus.ready()
            except UnavailableError:
                scope.cancel()
            else:
                return
        told = self.machine.has_capability("connection.blocked")
        if told:
            self.write(encode_method_frame(0, ConnectionBlocked("low on resources: store")))
        self._holding = True
        while True:
            try:
                await self.bus.ready()
                break
            except UnavailableError:
                await trio.sleep(_BLOCKED_AFTER)
        self._holding = False
        if told:
            self.write(encode_method_frame(0, ConnectionUnblocked()))

    async def _beat(self, interval: int) -> None:
        """Send a heartbeat where nothing else is sent; end the connection if none comes (4.2.7)."""
        transport = self.transport
        sent, heard, since = -1, -1, trio.current_time()
        while True:
            await trio.sleep(interval / 2)
            if transport.bytes_out == sent and not transport.buffered:
                transport.write(HEARTBEAT_FRAME)
            sent = transport.bytes_out
            now = trio.current_time()
            if transport.bytes_in != heard or self._holding:
                heard, since = transport.bytes_in, now
            elif now - since > 2 * interval:
                transport.abort(f"missed heartbeats from client, timeout: {interval}s")
                return

    def watch_consumer(self, timeout: float) -> None:
        """Look often enough for a consumer that has `timeout` seconds to acknowledge."""
        if timeout < self.shortest_timeout:
            self.shortest_timeout = timeout
            self._sooner.set()

    async def _watch_consumers(self) -> None:
        """Close channels whose consumers hold a message for too long."""
        while True:
            self._sooner = trio.Event()
            with trio.move_on_after(min(self.shortest_timeout / 2, _CONSUMER_CHECKS)):
                await self._sooner.wait()
            now = trio.current_time()
            for number, channel in tuple(self.channels.items()):
                timeout = channel.overdue(now)
                if timeout is None:
                    continue
                self.fail_channel(
                    number,
                    AmqpError(
                        Reply.PRECONDITION_FAILED,
                        f"delivery acknowledgement on channel {number} timed out. Timeout value "
                        f"used: {round(timeout * 1000)} ms. This timeout value can be configured, "
                        "see consumers doc guide to learn more",
                    ),
                )
