"""One client's connection, from its first byte until it is gone."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from hubbub import (
    DEFAULT_REALM,
    Deadline,
    HubbubError,
    Outcome,
    Principal,
    Transport,
    TransportClosed,
    UnavailableError,
)

from . import events as ev
from .authenticating import Authenticator
from .broker import is_reserved
from .filters import Kind
from .inbox import Inbox
from .link import Link
from .mapping import PROTOCOLS
from .outbox import HIGH_WATER, Outbox
from .packets import Auth, Connect, Disconnect, Pingreq, Publish, Subscribe, Unsubscribe
from .protocol import NEVER, ServerConnection, State
from .reasons import ReasonCode
from .sessions import Claim, ClientSession
from .subscribing import Subscriber

if TYPE_CHECKING:
    from .broker import Broker

_CONNECTING: Final = "connect"
_KEEP_ALIVE: Final = "keep alive"
_LINGER: Final = 1.0
"""Seconds in which a client that is refused or broke a rule can read why, before it is cut off."""
_PROGRESS: Final = 1_000
"""Bytes in one read that count as a sign of life, though they complete no packet."""


class Ending(Enum):
    """Why the server ends a connection of its own accord."""

    TAKEN_OVER = ReasonCode.SESSION_TAKEN_OVER
    SHUTTING_DOWN = ReasonCode.SERVER_SHUTTING_DOWN


class Connection:
    """Serves one client: `serve` is all there is to do with it."""

    __slots__ = (
        "__weakref__",
        "_accepted",
        "_authenticator",
        "_broker",
        "_claim",
        "_deadline",
        "_early",
        "_ending",
        "_inbox",
        "_key",
        "_linger",
        "_link",
        "_machine",
        "_move_at",
        "_outbox",
        "_reading",
        "_reason",
        "_resumed",
        "_subscriber",
        "_transport",
    )

    def __init__(self, broker: Broker, transport: Transport) -> None:
        self._broker = broker
        self._transport = transport
        self._machine = ServerConnection(broker.protocol_settings, broker.topics)
        self._authenticator = Authenticator(
            broker.hub, transport, self._machine, self._receive_auth
        )
        self._early: list[ev.Event] = []
        """What has come before the client is let in, and is not looked at yet."""
        self._deadline = Deadline()
        self._move_at = 0.0
        self._key: tuple[str, str] | None = None
        self._claim: Claim | None = None
        self._link: Link | None = None
        self._inbox: Inbox
        self._outbox: Outbox
        self._subscriber: Subscriber
        self._ending: Ending | None = None
        self._reading = False
        self._accepted = False
        self._resumed = False
        self._linger = 0.0
        self._reason = "connection lost"

    async def serve(self) -> None:
        """Serve the client until it is gone."""
        self._broker.connections.add(self)
        try:
            with self._deadline:
                self._deadline.start(self._broker.settings.connect_timeout, _CONNECTING)
                if await self._open():
                    await self._run()
            await self._end()
        except TransportClosed as closed:
            self._reason = closed.reason
        finally:
            try:
                await self._detach()
            finally:
                if self._accepted and self._link is not None:
                    self._link.bus.close()
        await self._transport.aclose(linger=self._linger)

    # being ended by others

    def stop(self) -> None:
        """End the connection when what is in hand is done: the hub stops."""
        if self._ending is None:
            self._ending = Ending.SHUTTING_DOWN
            self._interrupt()

    def _displace(self) -> None:
        """End the connection: its client has connected once more [MQTT-3.1.4-3]."""
        if self._ending is not Ending.TAKEN_OVER:
            self._ending = Ending.TAKEN_OVER
            self._deadline.expire()

    def _interrupt(self) -> None:
        if self._reading:
            self._deadline.expire()

    # CONNECT

    async def _open(self) -> bool:
        """Receive CONNECT and let the client in, or refuse it."""
        machine, transport = self._machine, self._transport
        connect = await self._receive_early()
        assert isinstance(connect, Connect)
        try:
            reason = await self._let_in(connect)
        except UnavailableError as error:
            if machine.state is not State.CONNECTING:
                raise TransportClosed(str(error)) from error
            reason = ReasonCode.SERVER_UNAVAILABLE
        if reason is not None:
            self._reason = reason.name.lower().replace("_", " ")
            self._linger = _LINGER
            transport.write(machine.reject(reason))
            return False
        return True

    async def _receive_early(self) -> ev.Event:
        """Wait for the next packet of a client that is not let in yet.

        Raises:
            TransportClosed: it will not come to that.
        """
        while not self._early:
            if self._ending is not None:
                raise TransportClosed("shutting down")
            self._reading = True
            data = await self._transport.receive()
            self._reading = False
            if not data:
                raise TransportClosed("connection lost")
            self._early = self._machine.receive_data(data)
            if self._machine.state is State.CLOSED:
                del self._early[:-1]  # what came before does not matter any more
        event = self._early.pop(0)
        if isinstance(event, ev.Failed):
            self._linger = _LINGER
            self._transport.write(event.reply)
            raise TransportClosed(str(event.error))
        if isinstance(event, Disconnect):
            raise TransportClosed("disconnected")
        return event

    async def _receive_auth(self) -> Auth:
        event = await self._receive_early()
        assert isinstance(event, Auth)
        return event

    async def _let_in(self, connect: Connect) -> ReasonCode | None:
        """Resume the client's session or begin one; a reason if it is not let in."""
        broker = self._broker
        if broker.hub.shutdown.requested:
            return ReasonCode.SERVER_UNAVAILABLE
        who = await self._authenticator.connect(connect)
        if isinstance(who, ReasonCode):
            return who
        if self._early:
            return ReasonCode.PROTOCOL_ERROR  # an AUTH that nobody has asked for
        principal = who.principal
        assigned = None if connect.client_id else f"hubbub-{uuid.uuid4().hex}"
        client_id = connect.client_id or assigned or ""
        if len(client_id.encode()) > broker.settings.max_client_id_bytes:
            return ReasonCode.CLIENT_IDENTIFIER_NOT_VALID
        realm = _realm_of(principal)
        bus = broker.hub.session(
            principal,
            protocol=PROTOCOLS[connect.version],
            client=client_id,
            peer=self._transport.peer,
            realm=realm,
        )
        if connect.will is not None:
            topic = connect.will.topic
            if is_reserved(topic) or not bus.allowed("publish", topic):
                return ReasonCode.NOT_AUTHORIZED
        self._key = key = (realm, client_id)
        if broker.sessions.is_of_another(key, principal.name):
            return ReasonCode.NOT_AUTHORIZED
        claim = Claim(self._displace)
        await broker.sessions.claim(key, claim)
        self._claim = claim
        if broker.sessions.is_of_another(key, principal.name):  # begun meanwhile
            return ReasonCode.NOT_AUTHORIZED
        session = broker.sessions.get(key)
        if session is not None and connect.clean_start:
            await self._discard(session)
            session = None
        if session is None and len(broker.sessions) >= broker.settings.max_sessions:
            return ReasonCode.QUOTA_EXCEEDED
        wanted = self._expiry_wanted(connect)
        expiry = min(wanted, broker.max_expiry)
        self._resumed = session is not None
        if session is None:
            session = ClientSession(
                realm,
                client_id,
                principal=principal.name,
                protocol=bus.protocol,
                expiry=expiry,
            )
            broker.sessions.add(session)
        link = self._link = Link(
            broker, self._transport, self._machine, session, bus, self._interrupt
        )
        self._inbox = Inbox(link)
        self._outbox = Outbox(link)
        self._subscriber = Subscriber(link, self._outbox)
        state = await self._outbox.in_flight() if self._resumed else None
        session.protocol = bus.protocol
        session.expiry = expiry
        session.disconnected_at = session.will_at = None  # a will that waited is cancelled
        session.will = connect.will
        await self._keep(link)
        self._accept(
            link,
            self._machine.accept(
                state,
                assigned_client_id=assigned,
                session_expiry_interval=None if expiry == wanted else expiry,
                response_information=self._response_information(client_id),
                authentication_data=who.data,
            ),
        )
        if self._resumed:
            await self._subscriber.restore()
        await self._outbox.resume()
        return None

    def _response_information(self, client_id: str) -> str | None:
        template = self._broker.settings.response_information
        return None if template is None else template.replace("{client}", client_id)

    async def _keep(self, link: Link) -> None:
        """Wait until a session that outlives the server is kept, before the client relies on it."""
        if link.session.durable:
            link.session.save(link.bus)
            await link.bus.commit().wait()

    def _accept(self, link: Link, connack: bytes) -> None:
        link.write(connack)
        if not connack:
            raise TransportClosed("the client takes no packet that is large enough for a CONNACK")
        link.bus.open()
        self._accepted = True
        self._broker.count_clients(1)

    async def _discard(self, session: ClientSession) -> None:
        """End an earlier session of the client, which wants a clean start [MQTT-3.1.2-4]."""
        bus = self._broker.bus_of(session)
        await self._broker.publish_will(session, bus)  # it comes with the session's end (3.1.3.2.2)
        await self._broker.sessions.end(session, self._broker.bus(session.realm))

    def _expiry_wanted(self, connect: Connect) -> int:
        if connect.properties.session_expiry_interval is not None:
            return connect.properties.session_expiry_interval
        return 0 if connect.clean_start or connect.version == 5 else NEVER

    # connected

    async def _run(self) -> None:
        transport, machine, link = self._transport, self._machine, self._link
        assert link is not None
        stats = self._broker.stats
        counted = 0
        events = machine.receive_data(b"")  # what came along with the CONNECT
        self._alive()
        while True:
            if events:
                stats.packets_received += machine.packets_received - counted
                counted = machine.packets_received
                try:
                    await self._handle(events, link)
                except UnavailableError as error:
                    link.fail(ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR, str(error))
                if machine.state is State.CLOSED:
                    return
                if transport.buffered > HIGH_WATER:
                    self._be_patient()
                    await transport.drain()
                self._alive()
            if self._ending is not None:
                return
            self._reading = True
            data = await transport.receive()
            self._reading = False
            if not data:
                return
            events = machine.receive_data(data)
            if len(data) >= _PROGRESS:
                self._alive()

    def _alive(self) -> None:
        """Move the deadline: the client is alive (3.1.2.10).

        Not for every packet, since that costs: it is set a sixteenth later than it must be, and
        stays where it is for a sixteenth.
        """
        timeout = self._machine.keep_alive_timeout
        if timeout is None:
            self._deadline.stop()
            return
        now = trio.current_time()
        if now >= self._move_at:
            self._deadline.start(timeout * 17 / 16, _KEEP_ALIVE)
            self._move_at = now + timeout / 16

    def _be_patient(self) -> None:
        """Stop the clock while it is this side that keeps the client waiting; see `_alive`."""
        self._deadline.stop()
        self._move_at = 0.0

    async def _handle(self, events: Sequence[ev.Event], link: Link) -> None:
        packets: list[Publish] = []
        done: list[object] = []
        refused: list[object] = []
        for event in events:
            if isinstance(event, Publish):
                packets.append(event)
            elif isinstance(event, ev.Acknowledged):
                done += event.tags
            elif isinstance(event, ev.Refused):
                refused.append(event.tag)
            else:
                if packets:
                    await self._publish(packets, link)
                    packets = []
                await self._handle_other(event, link)
        if packets:
            await self._publish(packets, link)
        if done:
            await self._outbox.settle(done, Outcome.ACCEPT)
        if refused:
            await self._outbox.settle(refused, Outcome.REJECT)
        if self._inbox.behind:  # with PUBCOMPs, say
            self._be_patient()
            await self._inbox.catch_up()
        if not self._outbox.resumed and self._machine.state is State.CONNECTED:
            await self._outbox.resume()

    async def _publish(self, packets: Sequence[Publish], link: Link) -> None:
        inbox = self._inbox
        await inbox.publish(packets)
        if inbox.behind:
            self._be_patient()
            await inbox.catch_up()
        await link.bus.ready()

    async def _handle_other(self, event: ev.Event, link: Link) -> None:
        match event:
            case Pingreq():
                link.write(self._machine.pingresp())
            case ev.Received():
                await self._outbox.received(event.packet_ids, event.tags)
                self._inbox.when_kept_by_session(partial(self._release, link, event.packet_ids))
            case ev.Released():
                self._inbox.release(event.packet_ids)
            case ev.Completed():
                self._outbox.completed(event.packet_ids, event.tags)
            case ev.DuplicatePublish():
                self._inbox.repeat(event.packet_id)
            case ev.RefusedPublish():
                self._inbox.answer(event.packet, event.reason)
            case Subscribe():
                self._be_patient()
                await self._subscriber.subscribe(event)
            case Unsubscribe():
                self._be_patient()
                await self._subscriber.unsubscribe(event)
            case Auth():
                self._be_patient()
                await self._authenticate_again(event, link)
            case Disconnect():
                self._reason = "disconnected"
            case ev.Failed():
                self._reason = str(event.error)
                self._linger = _LINGER
                link.write(event.reply)

    async def _authenticate_again(self, auth: Auth, link: Link) -> None:
        """Go on with a re-authentication; one that fails ends the connection [MQTT-4.12.1-2]."""
        who = await self._authenticator.again(auth)
        if isinstance(who, ReasonCode):
            link.fail(who, "re-authentication failed")
        elif who is not None:
            if link.bus.renew(who.principal):
                link.write(self._machine.auth(ReasonCode.SUCCESS, who.data))
            else:
                link.fail(ReasonCode.NOT_AUTHORIZED, "re-authentication as another user")

    def _release(self, link: Link, packet_ids: list[int]) -> None:
        link.write(self._machine.pubrel(*packet_ids), len(packet_ids))

    # the end

    async def _end(self) -> None:
        """Tell the client why it is this side that ends the connection, if it is."""
        machine, link = self._machine, self._link
        if self._ending is Ending.SHUTTING_DOWN and link is not None:
            await self._inbox.acknowledged()
        if self._ending is not None:
            self._reason = self._ending.name.lower().replace("_", " ")
            self._transport.write(machine.disconnect(self._ending.value))
        elif link is not None and link.failed is not None:
            self._reason = link.failed
            self._linger = _LINGER
        elif self._deadline.expired:
            self._reason = f"{self._deadline.phase} timeout"
            if link is not None:
                self._transport.write(machine.disconnect(ReasonCode.KEEP_ALIVE_TIMEOUT))

    async def _detach(self) -> None:
        """Part the session from the connection; it goes on without, or ends."""
        broker, link = self._broker, self._link
        try:
            if link is not None:
                link.bus.reason = self._reason
                self._outbox.close()
                await self._leave(link)
        except HubbubError:
            broker.hub.log.exception("mqtt: session not left in order")
        finally:
            broker.connections.discard(self)
            broker.count_clients(-1 if self._accepted else 0)
            broker.bytes_in += self._transport.bytes_in
            broker.bytes_out += self._transport.bytes_out
            if self._claim is not None and self._key is not None:
                broker.sessions.release(self._key, self._claim)

    async def _leave(self, link: Link) -> None:
        broker, session, machine = self._broker, link.session, self._machine
        session.last_packet_id = machine.last_packet_id
        if self._accepted:
            session.expiry = min(machine.session_expiry_interval, broker.max_expiry)
        session.will = machine.will if self._accepted else None
        for granted in self._outbox.left:
            await broker.give_back(session, granted, keep=False)
        if not session.expiry or not (self._accepted or self._resumed):
            await broker.publish_will(session, link.bus)
            await broker.sessions.end(session, broker.bus(session.realm))
            return
        for granted in session.filters:
            if granted.kind is not Kind.TOPICS:
                await broker.give_back(session, granted, keep=True)
        now = broker.now()
        session.disconnected_at = now
        session.will_at = session.will_due(now)
        if session.will_at is not None and session.will_at <= now:
            await broker.publish_will(session, link.bus)
        session.save(link.bus)
        broker.sessions.watch(session)

    @property
    def carried(self) -> tuple[int, int]:
        """Bytes received and sent."""
        return self._transport.bytes_in, self._transport.bytes_out


def _realm_of(principal: Principal) -> str:
    """Return the realm a client works in: the default one, unless its user has only others."""
    realms = principal.realms
    return DEFAULT_REALM if "*" in realms or DEFAULT_REALM in realms else realms[0]
