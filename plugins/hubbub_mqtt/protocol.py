"""The server's end of one MQTT connection as a state machine: bytes in, events out, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

import msgspec

from . import events as ev
from .aliases import InboundAliases, OutboundAliases
from .decode import LARGEST_PACKET, Decoder, check_payload_format
from .encode import encode
from .errors import MqttError, Rule
from .inflight import (
    EMPTY_SESSION,
    Inbound,
    InboundQos2,
    Outbound,
    OutboundRecord,
    OutboundState,
    SessionState,
)
from .packets import (
    Acks,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    PacketType,
    Pingreq,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Version,
    Will,
)
from .properties import NO_PROPERTIES, Properties
from .reasons import CONNACK_REASONS, FAILURE, ReasonCode, connack_return_code
from .topics import TopicCache, has_wildcard, split_shared

#: A session expiry interval that never ends (3.1.2.11.2).
NEVER: Final = 0xFFFF_FFFF

_PINGRESP: Final = b"\xd0\x00"
_DUP: Final = 8
"""The flag of a PUBLISH that is sent again."""
_BARE: Final = {1: b"\x40\x02", 2: b"\x50\x02"}
"""How PUBACK and PUBREC begin that have neither reason nor properties, by the message's QoS."""

UserProperties = tuple[tuple[str, str], ...]


class State(Enum):
    """Where a connection is."""

    EXPECT_CONNECT = "expect connect"
    #: CONNECT has come, `accept` or `reject` is owed.
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"


class LocalProtocolError(Exception):
    """The server's own code called a method that is not legal now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What a server offers; what differs from MQTT's defaults is told in the CONNACK (3.2.2.3).

    Sizes are in bytes, times in seconds.
    """

    #: Unacknowledged messages of QoS 1 and 2 that a client may have under way to the server.
    receive_maximum: int = 65_535
    #: Unacknowledged messages of QoS 1 and 2 to one client, whatever it would take itself. It is
    #: all there is before 5.0.
    send_maximum: int = 65_535
    maximum_qos: int = 2
    retain_available: bool = True
    maximum_packet_size: int = LARGEST_PACKET
    topic_alias_maximum: int = 0
    #: Topics for which the server uses aliases, at most, however many more a client allows.
    send_topic_alias_maximum: int = 65_535
    wildcard_subscription_available: bool = True
    subscription_identifiers_available: bool = True
    shared_subscription_available: bool = True
    #: Imposed on 5.0 clients whose own Keep Alive is longer or none. Earlier versions have no way
    #: to tell the client, whose value then holds.
    server_keep_alive: int | None = None
    #: Extended authentication methods (4.12); others are refused with 0x8C.
    authentication_methods: frozenset[str] = field(default_factory=frozenset)


class Resent(msgspec.Struct, frozen=True):
    """What `ServerConnection.resend` sends, and the messages too large for the client's limit.

    Those are gone as if delivered [MQTT-3.1.2-25]: settle and count them.
    """

    data: bytes = b""
    discarded: tuple[OutboundRecord, ...] = ()


_Ack = Puback | Pubrec | Pubrel | Pubcomp | Suback | Unsuback


class ServerConnection:
    """One client's connection. It never raises for what the client sends.

    `receive_data` returns events in the order of the bytes: packets, and the classes of `events`.
    After `Connect` it reports nothing more until `accept` or `reject` was called; then call
    `receive_data(b"")` for what had come early. Do not read from the client in between: of what
    comes before the CONNACK, no more than one packet of the largest size is kept.

    The methods that send return the bytes for the network. The machine answers nothing by itself;
    the events say which method answers them. What is owed in the end:

    =================  ==============================================================
    event              answer
    =================  ==============================================================
    Connect            `accept` or `reject`, perhaps after `auth`
    Publish            QoS 1: `puback`; QoS 2: `pubrec`; when the message is safe
    DuplicatePublish   `pubrec`
    RefusedPublish     `puback` or `pubrec`
    Released           `pubcomp`
    Received           `pubrel`
    Subscribe          `suback`
    Unsubscribe        `unsuback`
    Pingreq            `pingresp`
    Auth               `auth` (or `accept`, `reject`, `disconnect`)
    Disconnect         close; `will` is None if it must not be published
    Failed             send `Failed.reply`, close; the will is published
    =================  ==============================================================

    A method whose packet cannot be made to fit the client's Maximum Packet Size returns b""
    ([MQTT-3.1.2-24], [MQTT-3.1.2-25]). Calling one at the wrong time raises `LocalProtocolError`.
    Acknowledgements may still be noted when the connection is closed, and give b"".

    PUBLISH packets for the client are made elsewhere, as they are the same for many clients; here
    they get their packet identifiers and topic aliases: `number`, `alias_of`.
    """

    def __init__(
        self, settings: ServerSettings | None = None, topics: TopicCache | None = None
    ) -> None:
        self.settings = settings or ServerSettings()
        self.state = State.EXPECT_CONNECT
        #: The client's CONNECT; None before.
        self.connect: Connect | None = None
        #: The client identifier in use, which may be an assigned one.
        self.client_id = ""
        self.version = Version.V311
        #: The will that is to be published when the connection ends; None if there is none (left).
        self.will: Will | None = None
        #: Keep alive in force, in seconds, and how long silence is allowed (×1.5); None: forever.
        self.keep_alive = 0
        self.keep_alive_timeout: float | None = None
        #: Seconds for which the session outlives the connection; `NEVER` means without end.
        self.session_expiry_interval = 0
        self.authentication_method: str | None = None
        #: What the client takes: packet size, reasons and their like, response information.
        self.maximum_packet_size = LARGEST_PACKET
        self.problem_information = True
        self.response_information = False
        #: Packets that were complete, so far.
        self.packets_received = 0
        self._decoder = Decoder(self.settings.maximum_packet_size, topics=topics)
        self._held: list[Packet] = []
        self._held_bytes = 0
        self._reauthenticating = False
        self._inbound = Inbound()
        self._outbound = Outbound(0)
        self._inbound_aliases = InboundAliases(0)
        self._outbound_aliases = OutboundAliases(0)

    # What the client sends

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[ev.Event]:
        """Take bytes from the client and report what they say."""
        if self.state is State.CLOSED:
            return []
        waiting = self._waits_for_connack()
        packets = self._decoder.decode(data)
        self.packets_received += len(packets)
        if self._held:
            packets = self._held + packets
            self._held = []
        events: list[ev.Event] = []
        try:
            if waiting:
                self._held_bytes += len(data)
                if self._held_bytes > self.settings.maximum_packet_size:
                    raise MqttError(Rule.TOO_MUCH_BEFORE_CONNACK)
            if self.state is State.CONNECTED:
                self._while_connected(packets, events)
            else:
                self._before_connack(packets, events)
            self._check_decoder()
        except MqttError as broken:
            events.append(self._fail(broken))
        return events

    def _check_decoder(self) -> None:
        # After its DISCONNECT a client may send what it likes; before the CONNACK nothing counts.
        error = self._decoder.error
        if error is not None and self.state is not State.CLOSED and not self._waits_for_connack():
            raise error

    def _waits_for_connack(self) -> bool:
        """Whether packets are held back: what they mean depends on the session (3.1.4)."""
        return self.state is State.CONNECTING and self.authentication_method is None

    def _before_connack(self, packets: list[Packet], events: list[ev.Event]) -> None:
        for index, packet in enumerate(packets):
            if isinstance(packet, Connect) and self.state is State.EXPECT_CONNECT:
                self._on_connect(packet)
                events.append(packet)
            elif self.authentication_method is None:
                self._held = packets[index:]
                return
            elif isinstance(packet, Auth):
                self._check_auth(packet)
                events.append(packet)
            elif isinstance(packet, Disconnect):
                self._on_disconnect(packet, events)
                return
            else:
                raise MqttError(Rule.ONLY_AUTH_BEFORE_CONNACK)

    def _while_connected(self, packets: list[Packet], events: list[ev.Event]) -> None:
        maximum_qos = self.settings.maximum_qos
        for packet in packets:
            if (
                isinstance(packet, Publish)
                and packet.properties is NO_PROPERTIES
                and not packet.retain
                and packet.qos <= maximum_qos
            ):  # as most are: nothing is left to check but the packet identifier
                event = self._take(packet) if packet.qos else packet
                if event is not None:
                    events.append(event)
                continue
            handler = _HANDLERS.get(type(packet))
            if handler is None:
                raise MqttError(Rule.NOT_FOR_SERVERS, type(packet).__name__.upper())
            handler(self, packet, events)
            if self.state is State.CLOSED:
                return

    def _on_connect(self, packet: Connect) -> None:
        properties = packet.properties
        self.connect = packet
        self.client_id = packet.client_id
        self.version = packet.version
        self.maximum_packet_size = properties.maximum_packet_size or LARGEST_PACKET
        self.problem_information = properties.request_problem_information != 0
        self.response_information = properties.request_response_information == 1
        self.state = State.CONNECTING
        will = packet.will
        if will is not None:
            if will.qos > self.settings.maximum_qos:
                raise MqttError(Rule.WILL_QOS_NOT_SUPPORTED)
            if will.retain and not self.settings.retain_available:
                raise MqttError(Rule.WILL_RETAIN_NOT_SUPPORTED)
        method = properties.authentication_method
        if method is not None and method not in self.settings.authentication_methods:
            raise MqttError(Rule.AUTH_METHOD_NOT_SUPPORTED)
        self.authentication_method = method

    def _on_second_connect(self, _: Connect, __: list[ev.Event]) -> None:
        raise MqttError(Rule.SECOND_CONNECT)

    def _on_publish(self, packet: Publish, events: list[ev.Event]) -> None:
        settings = self.settings
        if packet.qos > settings.maximum_qos:
            raise MqttError(Rule.QOS_NOT_SUPPORTED)
        if packet.retain and not settings.retain_available:
            raise MqttError(Rule.RETAIN_NOT_SUPPORTED)
        properties = packet.properties
        reason = None
        if properties is not NO_PROPERTIES:
            if properties.subscription_identifiers:
                raise MqttError(Rule.PUBLISH_SUBSCRIPTION_ID)
            if properties.topic_alias is not None:
                # The alias is the connection's own, so it does not go on with the message.
                packet = msgspec.structs.replace(
                    packet,
                    topic=self._inbound_aliases.resolve(properties.topic_alias, packet.topic),
                    properties=msgspec.structs.replace(properties, topic_alias=None),
                )
            try:
                check_payload_format(packet.payload, properties)
            except MqttError as error:
                if not packet.qos:
                    raise
                # A PUBACK with the reason ends it (3.3.2.3.2); a client that is cut off instead
                # would come back and send the same message for ever.
                reason = error.reason
        event = self._take(packet) if packet.qos else packet
        if event is packet and reason is not None:
            event = ev.RefusedPublish(packet, reason)
        if event is not None:
            events.append(event)

    def _take(self, packet: Publish) -> ev.Event | None:
        """Note a message of QoS 1 or 2 to be answered."""
        inbound = self._inbound
        if packet.qos == 1:
            inbound.publish_qos1(packet.packet_id)
        else:
            duplicate = inbound.publish_qos2(packet.packet_id)
            if duplicate is InboundQos2.PUBLISHED:
                return None  # The PUBREC still owed answers both.
            if duplicate is not None:
                return ev.DuplicatePublish(packet.packet_id)
        if self.version is Version.V5 and len(inbound) > self.settings.receive_maximum:
            raise MqttError(Rule.RECEIVE_MAXIMUM)
        return packet

    def _on_puback(self, packet: Puback, events: list[ev.Event]) -> None:
        if packet.reason < FAILURE:
            self._on_acks(Acks(PacketType.PUBACK, [packet.packet_id]), events)
        else:
            self._on_refusal(packet, OutboundState.PUBACK, events)

    def _on_pubrec(self, packet: Pubrec, events: list[ev.Event]) -> None:
        if packet.reason < FAILURE:
            self._on_acks(Acks(PacketType.PUBREC, [packet.packet_id]), events)
        else:  # That ends the exchange: there is nothing to answer (4.3.3).
            self._on_refusal(packet, OutboundState.PUBREC, events)

    def _on_pubrel(self, packet: Pubrel, events: list[ev.Event]) -> None:
        self._on_acks(Acks(PacketType.PUBREL, [packet.packet_id]), events)

    def _on_pubcomp(self, packet: Pubcomp, events: list[ev.Event]) -> None:
        self._on_acks(Acks(PacketType.PUBCOMP, [packet.packet_id]), events)

    def _on_acks(self, packet: Acks, events: list[ev.Event]) -> None:
        # Each list is with its event before it is filled: what comes before a wrong one counts.
        tags: list[object] = []
        known: list[int] = []
        outbound = self._outbound
        self.packets_received += len(packet.packet_ids) - 1
        match packet.kind:
            case PacketType.PUBACK:
                events.append(ev.Acknowledged(tags))
                for packet_id in packet.packet_ids:
                    if (record := outbound.finish(packet_id, OutboundState.PUBACK)) is not None:
                        tags.append(record.tag)  # noqa: PERF401
            case PacketType.PUBREC:
                events.append(ev.Received(known, tags))
                for packet_id in packet.packet_ids:
                    record = outbound.pubrec(packet_id)
                    known.append(packet_id)
                    tags.append(None if record is None else record.tag)
            case PacketType.PUBREL:
                events.append(ev.Released(packet.packet_ids))
                for packet_id in packet.packet_ids:
                    self._inbound.release(packet_id)
            case _:
                events.append(ev.Completed(known, tags))
                for packet_id in packet.packet_ids:
                    if (record := outbound.finish(packet_id, OutboundState.PUBCOMP)) is not None:
                        known.append(packet_id)
                        tags.append(record.tag)

    def _on_refusal(
        self, packet: Puback | Pubrec, state: OutboundState, events: list[ev.Event]
    ) -> None:
        record = self._outbound.finish(packet.packet_id, state)
        if record is not None:
            events.append(ev.Refused(record.tag, packet.reason, packet.properties))

    def _on_subscribe(self, packet: Subscribe, events: list[ev.Event]) -> None:
        settings = self.settings
        if self.version is Version.V5:
            if (
                packet.properties.subscription_identifiers
                and not settings.subscription_identifiers_available
            ):
                raise MqttError(Rule.SUBSCRIPTION_ID_NOT_SUPPORTED)
            for subscription in packet.subscriptions:
                if (
                    not settings.shared_subscription_available
                    and split_shared(subscription.filter) is not None
                ):
                    raise MqttError(Rule.SHARED_NOT_SUPPORTED)
                if not settings.wildcard_subscription_available and has_wildcard(
                    subscription.filter
                ):
                    raise MqttError(Rule.WILDCARD_NOT_SUPPORTED)
        elif self.connect is not None and self.connect.bridge:
            packet = msgspec.structs.replace(
                packet, subscriptions=tuple([_of_bridge(each) for each in packet.subscriptions])
            )
        events.append(packet)

    def _on_disconnect(self, packet: Disconnect, events: list[ev.Event]) -> None:
        interval = packet.properties.session_expiry_interval
        if interval is not None:
            if interval and not self._requested_session_expiry():
                raise MqttError(Rule.SESSION_EXPIRY_REVIVED)
            self.session_expiry_interval = interval
        if packet.reason == ReasonCode.NORMAL_DISCONNECTION:
            self.will = None  # [MQTT-3.14.4-3]
        self.state = State.CLOSED
        events.append(packet)

    def _on_auth(self, packet: Auth, events: list[ev.Event]) -> None:
        self._check_auth(packet)
        events.append(packet)

    def _on_other(self, packet: Packet, events: list[ev.Event]) -> None:
        events.append(packet)

    def _check_auth(self, packet: Auth) -> None:
        if self.authentication_method is None:
            raise MqttError(Rule.AUTH_UNEXPECTED)
        method = packet.properties.authentication_method
        if method is None:
            raise MqttError(Rule.AUTH_METHOD_MISSING)
        if method != self.authentication_method:
            raise MqttError(Rule.AUTH_METHOD_CHANGED)
        if packet.reason == ReasonCode.RE_AUTHENTICATE and self.state is State.CONNECTED:
            self._reauthenticating = True
        elif packet.reason != ReasonCode.CONTINUE_AUTHENTICATION or not (
            self._reauthenticating or self.state is State.CONNECTING
        ):
            raise MqttError(Rule.AUTH_OUT_OF_TURN)

    def _fail(self, error: MqttError) -> ev.Failed:
        error.version = self._decoder.version
        reply = b""
        if self.state is State.CONNECTED:
            reply = self._disconnect_bytes(
                error.reason,
                Properties(reason_string=str(error)) if self.problem_information else NO_PROPERTIES,
            )
        elif self._decoder.version is not None:
            self.version = self._decoder.version
            reason = error.reason if error.reason in CONNACK_REASONS else ReasonCode.PROTOCOL_ERROR
            reply = self._connack_failure(reason, NO_PROPERTIES)
        elif error.rule is Rule.PROTOCOL_VERSION:
            reply = _refuse_version(self._decoder.level)
        self.state = State.CLOSED
        return ev.Failed(error, reply)

    # CONNACK, AUTH, DISCONNECT

    def accept(
        self,
        session: SessionState | None = None,
        *,
        assigned_client_id: str | None = None,
        session_expiry_interval: int | None = None,
        response_information: str | None = None,
        reason_string: str | None = None,
        user_properties: UserProperties = (),
        authentication_data: bytes | None = None,
    ) -> bytes:
        """Accept the CONNECT: the CONNACK, with all limits of the settings.

        `session` is the state of a session that is resumed (then call `resend` next), None for a
        new one. `assigned_client_id` must be given exactly if the client has none of its own
        [MQTT-3.2.2-16]. `session_expiry_interval` in seconds replaces the client's wish.
        `response_information` is sent only to a client that asked for it [MQTT-3.1.2-28].

        b"" if the client takes no packet large enough for it: then nothing can be sent at all
        [MQTT-3.2.0-1], and the connection must be closed.
        """
        connect = self._require_connecting()
        if session is not None and connect.clean_start:
            raise LocalProtocolError("clean start does not resume a session [MQTT-3.2.2-2]")
        if (assigned_client_id is None) == (not connect.client_id):
            raise LocalProtocolError(
                "a client identifier is assigned if, and only if, the client has none"
            )
        if authentication_data is not None and self.authentication_method is None:
            raise LocalProtocolError("authentication data needs an authentication method")
        settings = self.settings
        requested = self._requested_session_expiry()
        expiry = requested if session_expiry_interval is None else session_expiry_interval
        self.client_id = connect.client_id or assigned_client_id or ""
        self.session_expiry_interval = expiry
        self.will = connect.will
        keep_alive = self._impose_keep_alive(connect)
        self._restore(connect, EMPTY_SESSION if session is None else session)
        self.state = State.CONNECTED
        packet = Connack(session is not None)
        if self.version is Version.V5:
            packet = Connack(
                session is not None,
                0,
                Properties(
                    session_expiry_interval=expiry if expiry != requested else None,
                    receive_maximum=_unless(settings.receive_maximum, 65_535),
                    maximum_qos=_unless(settings.maximum_qos, 2),
                    retain_available=_unless(int(settings.retain_available), 1),
                    maximum_packet_size=_unless(settings.maximum_packet_size, LARGEST_PACKET),
                    assigned_client_identifier=assigned_client_id,
                    topic_alias_maximum=_unless(settings.topic_alias_maximum, 0),
                    reason_string=reason_string,
                    user_properties=user_properties,
                    wildcard_subscription_available=_unless(
                        int(settings.wildcard_subscription_available), 1
                    ),
                    subscription_identifiers_available=_unless(
                        int(settings.subscription_identifiers_available), 1
                    ),
                    shared_subscription_available=_unless(
                        int(settings.shared_subscription_available), 1
                    ),
                    server_keep_alive=keep_alive,
                    response_information=(
                        response_information if self.response_information else None
                    ),
                    authentication_method=self.authentication_method,
                    authentication_data=authentication_data,
                ),
            )
        data = self._fit(packet)
        if not data:
            self.state = State.CLOSED
        return data

    def reject(
        self,
        reason: int,
        *,
        reason_string: str | None = None,
        server_reference: str | None = None,
        user_properties: UserProperties = (),
    ) -> bytes:
        """Refuse the CONNECT: a CONNACK with `reason`, or before 5.0 the nearest return code.

        b"" where no return code fits. Close the connection after it [MQTT-3.2.2-7].
        """
        self._require_connecting()
        if reason < FAILURE or reason not in CONNACK_REASONS:
            raise LocalProtocolError(f"0x{reason:02X} does not refuse a CONNECT")
        self.state = State.CLOSED
        return self._connack_failure(
            reason,
            Properties(
                reason_string=reason_string,
                server_reference=server_reference,
                user_properties=user_properties,
            ),
        )

    def auth(
        self,
        reason: int,
        data: bytes | None = None,
        *,
        reason_string: str | None = None,
        user_properties: UserProperties = (),
    ) -> bytes:
        """An AUTH of extended authentication: 0x18 to go on, 0x00 to end a re-authentication."""
        legal = {ReasonCode.CONTINUE_AUTHENTICATION}
        if self.state is State.CONNECTED:
            legal.add(ReasonCode.SUCCESS)
        under_way = self.state is State.CONNECTING or self._reauthenticating
        if self.authentication_method is None or reason not in legal or not under_way:
            raise LocalProtocolError(f"AUTH 0x{reason:02X} is not legal now")
        if reason == ReasonCode.SUCCESS:
            self._reauthenticating = False
        properties = Properties(
            authentication_method=self.authentication_method,
            authentication_data=data,
            reason_string=reason_string,
            user_properties=user_properties,
        )
        return self._fit(Auth(reason, self._without_problems(properties)))

    def disconnect(
        self,
        reason: int,
        *,
        reason_string: str | None = None,
        server_reference: str | None = None,
        user_properties: UserProperties = (),
    ) -> bytes:
        """End the connection from the server's side, whatever its state; then close it.

        That is a DISCONNECT for a 5.0 client which is connected, a CONNACK with the reason for
        one that waits for it [MQTT-3.14.0-1], and b"" otherwise.
        """
        properties = Properties(
            reason_string=reason_string,
            server_reference=server_reference,
            user_properties=user_properties,
        )
        state, self.state = self.state, State.CLOSED
        if state is State.CONNECTED:
            return self._disconnect_bytes(reason, properties)
        if state is State.CONNECTING and reason >= FAILURE and reason in CONNACK_REASONS:
            return self._connack_failure(reason, properties)
        return b""

    def _disconnect_bytes(self, reason: int, properties: Properties) -> bytes:
        if self.version is not Version.V5:
            return b""
        return self._fit(Disconnect(reason, properties))

    def _connack_failure(self, reason: int, properties: Properties) -> bytes:
        if self.version is Version.V5:
            return self._fit(Connack(False, reason, properties))
        code = connack_return_code(reason)
        return b"" if code is None else encode(Connack(False, code), self.version)

    def _require_connecting(self) -> Connect:
        if self.state is not State.CONNECTING or self.connect is None:
            raise LocalProtocolError("there is no CONNECT to answer")
        return self.connect

    def _requested_session_expiry(self) -> int:
        connect = self.connect
        if connect is None:
            return 0
        if connect.version is not Version.V5:
            return 0 if connect.clean_start else NEVER
        return connect.properties.session_expiry_interval or 0

    def _impose_keep_alive(self, connect: Connect) -> int | None:
        """Set the keep alive in force; the value to announce, None if it is the client's own."""
        imposed = self.settings.server_keep_alive
        self.keep_alive = connect.keep_alive
        if imposed is None or self.version is not Version.V5 or 0 < connect.keep_alive <= imposed:
            imposed = None
        else:
            self.keep_alive = imposed
        self.keep_alive_timeout = self.keep_alive * 1.5 or None
        return imposed

    def _restore(self, connect: Connect, session: SessionState) -> None:
        settings = self.settings
        properties = connect.properties
        self._inbound = Inbound(session.inbound)
        maximum = min(properties.receive_maximum or 65_535, settings.send_maximum)
        self._outbound = Outbound(maximum, session)
        if self.version is Version.V5:
            self._inbound_aliases = InboundAliases(settings.topic_alias_maximum)
            self._outbound_aliases = OutboundAliases(
                min(properties.topic_alias_maximum or 0, settings.send_topic_alias_maximum)
            )

    # Messages to the client

    @property
    def send_quota(self) -> int:
        """How many new messages of QoS 1 and 2 can be sent now (4.9)."""
        return self._outbound.quota if self.state is State.CONNECTED else 0

    @property
    def send_maximum(self) -> int:
        """How many messages of QoS 1 and 2 may be under way to the client at once."""
        return self._outbound.maximum

    @property
    def sent_unacknowledged(self) -> int:
        """How many messages of this connection count against `send_maximum` now."""
        return self._outbound.counted

    @property
    def uses_aliases(self) -> bool:
        """Whether the client takes topic aliases."""
        return self._outbound_aliases.maximum > 0

    def alias_of(self, topic: str) -> tuple[int, bool]:
        """The alias for a topic, and whether the client knows it.

        Call `use_alias` when it is sent.
        """
        return self._outbound_aliases.lookup(topic)

    def use_alias(self, topic: str, alias: int) -> None:
        """Note that a PUBLISH with what `alias_of` gave is sent."""
        self._outbound_aliases.use(topic, alias)

    @property
    def resending(self) -> bool:
        """Whether messages of the resumed session are still to be sent again: see `resend`."""
        return self._outbound.resending

    @property
    def last_packet_id(self) -> int:
        """The packet identifier given last, for the `SessionState` of the next connection."""
        return self._outbound.last_packet_id

    @property
    def in_flight(self) -> int:
        """Messages sent to the client and not yet acknowledged."""
        return len(self._outbound)

    @property
    def unacknowledged(self) -> int:
        """Messages of the client that it has no PUBACK or PUBCOMP for yet."""
        return len(self._inbound)

    def number(self, qos: int, tags: Sequence[object]) -> Sequence[int]:
        """Note messages of QoS 1 or 2 that are being sent: their packet identifiers, in order.

        One or more, with `send_quota` for all. The `tags` come back when they are acknowledged.
        """
        packet_ids = self._outbound.next_packet_ids(len(tags))
        if not packet_ids or self.state is not State.CONNECTED:
            raise LocalProtocolError("not connected, or the send quota is used up")
        state = OutboundState.PUBACK if qos == 1 else OutboundState.PUBREC
        add = self._outbound.add
        for packet_id, tag in zip(packet_ids, tags, strict=True):
            add(OutboundRecord(packet_id, state, tag))
        return packet_ids

    def resend(self) -> Resent:
        """Send again what a resumed session has in flight [MQTT-4.4.0-1].

        PUBLISH with DUP and its old packet identifier, PUBREL likewise, in the old order. As much
        as the client's Receive Maximum lets through: call it again after each `Acknowledged`, and
        until then there is no `send_quota`.
        """
        if self.state is not State.CONNECTED:
            raise LocalProtocolError("the client is not connected")
        parts: list[bytes] = []
        discarded: list[OutboundRecord] = []
        for record in self._outbound.unsent():
            message = record.message
            if record.state is OutboundState.PUBCOMP:
                parts.append(self._ack(Pubrel(record.packet_id)))
            elif len(message) > self.maximum_packet_size:
                self._outbound.remove(record.packet_id)
                discarded.append(record)
            else:
                parts += ((message[0] | _DUP).to_bytes(1, "big"), message[1:])
        return Resent(b"".join(parts), tuple(discarded))

    # Acknowledgements

    def puback(
        self,
        packet_id: int,
        reason: int = 0,
        *,
        reason_string: str | None = None,
        user_properties: UserProperties = (),
    ) -> bytes:
        """Acknowledge a QoS 1 message; before 5.0 the reason is not sent."""
        self._require_connected_once()
        if not self._inbound.puback(packet_id):
            raise LocalProtocolError(f"no PUBACK is owed for {packet_id}")
        return self._ack(Puback(packet_id, reason, _problems(reason_string, user_properties)))

    def acknowledge(self, answers: Iterable[tuple[int, int, int]]) -> bytes:
        """Answer several messages at once, in order: each by its QoS, packet identifier, reason."""
        self._require_connected_once()
        puback, pubrec = self._inbound.puback, self._inbound.pubrec
        plain, v5 = self._sends_bare_acks, self.version is Version.V5
        parts: list[bytes] = []
        for qos, packet_id, reason in answers:
            if not plain or (reason and v5):
                ack = self.puback if qos == 1 else self.pubrec
                parts.append(ack(packet_id, reason))
                continue
            if not (puback(packet_id) if qos == 1 else pubrec(packet_id, failed=False)):
                raise LocalProtocolError(f"no answer is owed for {packet_id}")
            parts.append(_BARE[qos] + packet_id.to_bytes(2, "big"))
        return b"".join(parts)

    def pubrec(
        self,
        packet_id: int,
        reason: int = 0,
        *,
        reason_string: str | None = None,
        user_properties: UserProperties = (),
    ) -> bytes:
        """Acknowledge that a QoS 2 message is taken over, or with a reason from 0x80 on, refused.

        Before 5.0 a refusal cannot be told: the exchange goes on as if the message were taken.
        """
        self._require_connected_once()
        failed = reason >= FAILURE and self.version is Version.V5
        if not self._inbound.pubrec(packet_id, failed=failed):
            raise LocalProtocolError(f"no PUBREC is owed for {packet_id}")
        return self._ack(Pubrec(packet_id, reason, _problems(reason_string, user_properties)))

    def pubrel(self, *packet_ids: int) -> bytes:
        """Release QoS 2 messages of ours; an identifier not in use gives reason 0x92."""
        self._require_connected_once()
        known = self._outbound.awaits_pubcomp
        return self._ack_all(Pubrel, b"\x62\x02", packet_ids, map(known, packet_ids))

    def pubcomp(self, *packet_ids: int) -> bytes:
        """Complete QoS 2 messages of the client; an unknown identifier gives reason 0x92."""
        self._require_connected_once()
        known = self._inbound.pubcomp
        return self._ack_all(Pubcomp, b"\x70\x02", packet_ids, map(known, packet_ids))

    def _ack_all(
        self,
        packet: type[Pubrel | Pubcomp],
        start: bytes,
        packet_ids: tuple[int, ...],
        known: Iterable[bool],
    ) -> bytes:
        plain = self._sends_bare_acks
        parts: list[bytes] = []
        for packet_id, is_known in zip(packet_ids, known, strict=True):
            if is_known and plain:
                parts.append(start + packet_id.to_bytes(2, "big"))
            else:
                reason = 0 if is_known else ReasonCode.PACKET_IDENTIFIER_NOT_FOUND
                parts.append(self._ack(packet(packet_id, reason)))
        return b"".join(parts)

    @property
    def _sends_bare_acks(self) -> bool:
        """Whether an acknowledgement without reason and properties goes out as it is."""
        return self.state is State.CONNECTED and self.maximum_packet_size >= 4

    def suback(
        self,
        packet_id: int,
        reasons: tuple[int, ...],
        *,
        reason_string: str | None = None,
        user_properties: UserProperties = (),
    ) -> bytes:
        """Answer SUBSCRIBE, one reason per filter; before 5.0 every failure is sent as 0x80."""
        self._require_connected_once()
        if self.version is not Version.V5:
            reasons = tuple([min(reason, FAILURE) for reason in reasons])
        return self._ack(Suback(packet_id, reasons, _problems(reason_string, user_properties)))

    def unsuback(
        self,
        packet_id: int,
        reasons: tuple[int, ...],
        *,
        reason_string: str | None = None,
        user_properties: UserProperties = (),
    ) -> bytes:
        """Answer UNSUBSCRIBE, one reason per filter, which before 5.0 are not sent."""
        self._require_connected_once()
        return self._ack(Unsuback(packet_id, reasons, _problems(reason_string, user_properties)))

    def pingresp(self) -> bytes:
        """Answer PINGREQ."""
        self._require_connected_once()
        return _PINGRESP if self.state is State.CONNECTED and self.maximum_packet_size > 1 else b""

    def _require_connected_once(self) -> None:
        if self.state in {State.EXPECT_CONNECT, State.CONNECTING}:
            raise LocalProtocolError("only CONNACK and AUTH go out now [MQTT-3.2.0-1]")

    def _ack(self, packet: _Ack) -> bytes:
        if self.state is State.CLOSED:
            return b""
        if packet.properties is not NO_PROPERTIES and not self.problem_information:
            packet = msgspec.structs.replace(packet, properties=NO_PROPERTIES)
        return self._fit(packet)

    def _without_problems(self, properties: Properties) -> Properties:
        """Leave reason string and user properties out if the client wants none [MQTT-3.1.2-29]."""
        if self.problem_information:
            return properties
        return msgspec.structs.replace(properties, reason_string=None, user_properties=())

    def _fit(self, packet: _Ack | Connack | Disconnect | Auth) -> bytes:
        """Encode; leave user properties out, then the reason string, if the packet is too large.

        So [MQTT-3.4.2-2], [MQTT-3.4.2-3] and their like for each packet. b"" if all is in vain.
        """
        data = encode(packet, self.version)
        if len(data) <= self.maximum_packet_size:
            return data
        properties = msgspec.structs.replace(packet.properties, user_properties=())
        for smaller in (properties, msgspec.structs.replace(properties, reason_string=None)):
            data = encode(msgspec.structs.replace(packet, properties=smaller), self.version)
            if len(data) <= self.maximum_packet_size:
                return data
        return b""


def _of_bridge(subscription: Subscription) -> Subscription:
    """Give the subscription of a bridge the options of 5.0 that it means."""
    return msgspec.structs.replace(
        subscription,
        no_local=split_shared(subscription.filter) is None,
        retain_as_published=True,
    )


def _problems(reason_string: str | None, user_properties: UserProperties) -> Properties:
    if reason_string is None and not user_properties:
        return NO_PROPERTIES
    return Properties(reason_string=reason_string, user_properties=user_properties)


def _unless(value: int, default: int) -> int | None:
    return None if value == default else value


def _refuse_version(level: int | None) -> bytes:
    """The CONNACK for a protocol version that is not spoken here [MQTT-3.1.2-2].

    A version after 5 gets that of 5.0, others return code 1 of 3.1.1.
    """
    if level is not None and Version.V5 < level < 0x80:
        return encode(Connack(False, ReasonCode.UNSUPPORTED_PROTOCOL_VERSION), Version.V5)
    return encode(Connack(False, 1), Version.V311)


_HANDLERS: Final[Mapping[type[Packet], Callable[[ServerConnection, Any, list[ev.Event]], None]]] = {
    Acks: ServerConnection._on_acks,
    Connect: ServerConnection._on_second_connect,
    Publish: ServerConnection._on_publish,
    Puback: ServerConnection._on_puback,
    Pubrec: ServerConnection._on_pubrec,
    Pubrel: ServerConnection._on_pubrel,
    Pubcomp: ServerConnection._on_pubcomp,
    Subscribe: ServerConnection._on_subscribe,
    Unsubscribe: ServerConnection._on_other,
    Pingreq: ServerConnection._on_other,
    Disconnect: ServerConnection._on_disconnect,
    Auth: ServerConnection._on_auth,
}
