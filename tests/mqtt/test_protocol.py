from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub_mqtt import packets as p
from hubbub_mqtt.aliases import OutboundAliases
from hubbub_mqtt.decode import Decoder
from hubbub_mqtt.encode import encode
from hubbub_mqtt.errors import Rule
from hubbub_mqtt.events import (
    Acknowledged,
    Completed,
    DuplicatePublish,
    Event,
    Failed,
    Received,
    Refused,
    RefusedPublish,
    Released,
)
from hubbub_mqtt.inflight import OutboundRecord, OutboundState, SessionState
from hubbub_mqtt.packets import Packet, Version
from hubbub_mqtt.properties import NO_PROPERTIES, Properties
from hubbub_mqtt.protocol import (
    NEVER,
    LocalProtocolError,
    ServerConnection,
    ServerSettings,
    State,
)
from hubbub_mqtt.reasons import ReasonCode

from .vectors import BAD, GOOD, V5, V31, V311, Bad

WHY = (("k", "v"),)


def wire(*packets: Packet, version: Version = V5) -> bytes:
    return b"".join(encode(packet, version) for packet in packets)


def parse(data: bytes, version: Version = V5) -> list[Packet]:
    """What a client reads."""
    decoder = Decoder(version=version)
    decoder.feed(data)
    return list(decoder)


def parse_one(data: bytes, version: Version = V5) -> Packet:
    (packet,) = parse(data, version)
    return packet


def connected(
    connect: p.Connect | None = None,
    settings: ServerSettings | None = None,
    session: SessionState | None = None,
) -> ServerConnection:
    connect = connect or p.Connect("dev")
    connection = ServerConnection(settings)
    assert connection.receive_data(wire(connect)) == [connect]
    assert connection.accept(session)
    assert connection.state is State.CONNECTED
    return connection


def client(version: Version = V5, **properties: Any) -> p.Connect:
    return p.Connect("dev", version, properties=Properties(**properties))


def failure(events: list[Event]) -> Failed:
    (event,) = events
    assert isinstance(event, Failed)
    return event


def send(connection: ServerConnection, *packets: Packet) -> list[Event]:
    return connection.receive_data(wire(*packets, version=connection.version))


# CONNECT and CONNACK


@pytest.mark.parametrize("version", Version)
def test_connect_and_accept(version: Version) -> None:
    connection = ServerConnection()
    connect = p.Connect("dev", version, keep_alive=10)
    assert connection.receive_data(wire(connect)) == [connect]
    assert connection.version is version
    assert parse_one(connection.accept(), version) == p.Connack()
    assert connection.keep_alive_timeout == 15.0
    assert connection.client_id == "dev"


def test_nothing_is_reported_between_connect_and_connack() -> None:
    connection = ServerConnection()
    data = wire(p.Connect("dev"), p.Pingreq(), p.Publish("a"), p.Disconnect())
    assert len(connection.receive_data(data)) == 1
    assert connection.receive_data(b"") == []
    connection.accept()
    kinds = [type(event) for event in connection.receive_data(b"")]
    assert kinds == [p.Pingreq, p.Publish, p.Disconnect]
    assert connection.state is State.CLOSED


def test_a_malformed_packet_after_connect_waits_for_the_connack() -> None:
    connection = ServerConnection()
    assert len(connection.receive_data(wire(p.Connect("dev"), p.Pingreq()) + b"\0\0")) == 1
    connection.accept()
    ping, failed = connection.receive_data(b"")
    assert ping == p.Pingreq()
    assert isinstance(failed, Failed)
    assert isinstance(parse_one(failed.reply), p.Disconnect)


def test_data_before_the_connack_is_bounded() -> None:
    connection = ServerConnection(ServerSettings(maximum_packet_size=64))
    connection.receive_data(wire(p.Connect("dev")))
    for _ in range(32):
        assert connection.receive_data(wire(p.Pingreq())) == []
    failed = failure(connection.receive_data(wire(p.Pingreq())))
    assert failed.error.rule is Rule.TOO_MUCH_BEFORE_CONNACK
    assert parse_one(failed.reply) == p.Connack(False, 0x97)


def test_connack_tells_every_limit() -> None:
    settings = ServerSettings(
        receive_maximum=10,
        maximum_qos=1,
        retain_available=False,
        maximum_packet_size=1000,
        topic_alias_maximum=7,
        wildcard_subscription_available=False,
        subscription_identifiers_available=False,
        shared_subscription_available=False,
        server_keep_alive=30,
        authentication_methods=frozenset({"M"}),
    )
    connection = ServerConnection(settings)
    connection.receive_data(
        wire(
            p.Connect(
                "",
                properties=Properties(
                    authentication_method="M",
                    request_response_information=1,
                    session_expiry_interval=100,
                ),
            )
        )
    )
    connack = connection.accept(
        assigned_client_id="auto-1",
        session_expiry_interval=50,
        response_information="r",
        reason_string="w",
        user_properties=WHY,
        authentication_data=b"D",
    )
    assert parse_one(connack) == p.Connack(
        properties=Properties(
            session_expiry_interval=50,
            receive_maximum=10,
            maximum_qos=1,
            retain_available=0,
            maximum_packet_size=1000,
            assigned_client_identifier="auto-1",
            topic_alias_maximum=7,
            reason_string="w",
            user_properties=WHY,
            wildcard_subscription_available=0,
            subscription_identifiers_available=0,
            shared_subscription_available=0,
            server_keep_alive=30,
            response_information="r",
            authentication_method="M",
            authentication_data=b"D",
        )
    )
    assert connection.client_id == "auto-1"
    assert connection.session_expiry_interval == 50


@pytest.mark.parametrize(
    ("version", "asked", "imposed", "in_force", "timeout"),
    [
        (V5, 0, None, 0, None),
        (V5, 10, None, 10, 15.0),
        (V5, 10, 60, 10, 15.0),
        (V5, 100, 60, 60, 90.0),
        (V5, 0, 60, 60, 90.0),
        (V311, 100, 60, 100, 150.0),
    ],
)
def test_keep_alive(
    version: Version, asked: int, imposed: int | None, in_force: int, timeout: float | None
) -> None:
    connection = ServerConnection(ServerSettings(server_keep_alive=imposed))
    connection.receive_data(wire(p.Connect("dev", version, keep_alive=asked)))
    connack = parse_one(connection.accept(), version)
    assert isinstance(connack, p.Connack)
    told = connack.properties.server_keep_alive
    assert (asked if told is None else told) == in_force
    assert connection.keep_alive == in_force
    assert connection.keep_alive_timeout == timeout


@pytest.mark.parametrize(
    ("connect", "expiry"),
    [
        (p.Connect("d", V311, clean_start=True), 0),
        (p.Connect("d", V311, clean_start=False), NEVER),
        (p.Connect("d", V5, clean_start=False), 0),
        (p.Connect("d", V5, properties=Properties(session_expiry_interval=9)), 9),
    ],
)
def test_session_expiry(connect: p.Connect, expiry: int) -> None:
    assert connected(connect).session_expiry_interval == expiry


def test_accept_minds_client_ids_and_clean_start() -> None:
    connection = ServerConnection()
    with pytest.raises(LocalProtocolError):
        connection.accept()
    connection.receive_data(wire(p.Connect("")))
    with pytest.raises(LocalProtocolError):
        connection.accept()
    with pytest.raises(LocalProtocolError):
        connection.accept(SessionState(), assigned_client_id="x")
    with pytest.raises(LocalProtocolError):
        connection.accept(assigned_client_id="x", authentication_data=b"D")
    connection.accept(assigned_client_id="x")
    named = ServerConnection()
    named.receive_data(wire(p.Connect("dev")))
    with pytest.raises(LocalProtocolError):
        named.accept(assigned_client_id="x")


def test_response_information_only_for_those_who_ask() -> None:
    connection = ServerConnection()
    connection.receive_data(wire(p.Connect("dev")))
    assert parse_one(connection.accept(response_information="r")) == p.Connack()


@pytest.mark.parametrize(
    ("version", "reason", "reply"),
    [
        (V5, 0x87, b"\x20\x03\0\x87\0"),
        (V311, 0x84, b"\x20\x02\0\x01"),
        (V311, 0x85, b"\x20\x02\0\x02"),
        (V311, 0x88, b"\x20\x02\0\x03"),
        (V31, 0x86, b"\x20\x02\0\x04"),
        (V311, 0x87, b"\x20\x02\0\x05"),
        (V311, 0x80, b""),
    ],
)
def test_reject(version: Version, reason: int, reply: bytes) -> None:
    connection = ServerConnection()
    connection.receive_data(wire(p.Connect("dev", version), p.Pingreq()))
    assert connection.reject(reason) == reply
    assert connection.receive_data(b"") == []
    assert connection.will is None
    with pytest.raises(LocalProtocolError):
        connection.reject(reason)


def test_reject_needs_a_reason_that_refuses() -> None:
    connection = ServerConnection()
    connection.receive_data(wire(p.Connect("dev")))
    for reason in (0x00, 0x8E):
        with pytest.raises(LocalProtocolError):
            connection.reject(reason)
    packet = parse_one(connection.reject(0x9D, server_reference="there", reason_string="w"))
    assert packet == p.Connack(False, 0x9D, Properties(server_reference="there", reason_string="w"))


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"GET / HTTP/1.1\r\n", b""),
        (b"\xc0\0", b""),
        (b"\x10\x0c\0\x04MQTT\x06\x02\0\0\0\0", b"\x20\x03\0\x84\0"),
        (b"\x10\x0c\0\x04MQTT\x85\x02\0\0\0\0", b"\x20\x02\0\x01"),
        (b"\x10\x0c\0\x04MQTT\x00\x02\0\0\0\0", b"\x20\x02\0\x01"),
        (b"\x10\x0c\0\x04AMQP\x04\x02\0\0\0\0", b""),
        (b"\x10\x0c\0\x04MQTT\x04\x00\0\0\0\0", b"\x20\x02\0\x02"),
        (b"\x10\x0c\0\x04MQTT\x04\x03\0\0\0\0", b""),
        (b"\x10\x0d\0\x04MQTT\x05\x03\0\0\0\0\0", b"\x20\x03\0\x81\0"),
        (b"\x10\x10\0\x04MQTT\x05\x02\0\0\x03\x21\0\0\0\0", b"\x20\x03\0\x82\0"),
    ],
)
def test_bad_connect(data: bytes, reply: bytes) -> None:
    connection = ServerConnection()
    assert failure(connection.receive_data(data)).reply == reply
    assert connection.state is State.CLOSED
    assert connection.receive_data(wire(p.Connect("dev"))) == []
    assert connection.disconnect(0x8B) == b""


@pytest.mark.parametrize(
    ("settings", "will", "reason"),
    [
        (ServerSettings(maximum_qos=0), p.Will("w", qos=1), 0x9B),
        (ServerSettings(retain_available=False), p.Will("w", retain=True), 0x9A),
    ],
)
def test_a_will_beyond_the_server(settings: ServerSettings, will: p.Will, reason: int) -> None:
    for version, reply in ((V5, bytes((0x20, 3, 0, reason, 0))), (V311, b"")):
        connection = ServerConnection(settings)
        failed = failure(connection.receive_data(wire(p.Connect("d", version, will=will))))
        assert failed.error.reason == reason
        assert failed.reply == reply


@pytest.mark.parametrize(
    ("packet", "rule"),
    [
        (p.Connect("dev"), Rule.SECOND_CONNECT),
        (p.Connack(), Rule.NOT_FOR_SERVERS),
        (p.Suback(1, (0,)), Rule.NOT_FOR_SERVERS),
        (p.Unsuback(1, (0,)), Rule.NOT_FOR_SERVERS),
        (p.Pingresp(), Rule.NOT_FOR_SERVERS),
        (p.Auth(0x18, Properties(authentication_method="M")), Rule.AUTH_UNEXPECTED),
    ],
)
def test_packets_out_of_place(packet: Packet, rule: Rule) -> None:
    connection = connected()
    failed = failure(send(connection, packet, p.Pingreq()))
    assert failed.error.rule is rule
    reply = parse_one(failed.reply)
    assert isinstance(reply, p.Disconnect)
    assert reply.reason == rule.reason
    assert reply.properties.reason_string == str(failed.error)


@pytest.mark.parametrize("answered", [False, True], ids=["before PUBREC", "after PUBREC"])
def test_a_message_between_pubrel_and_pubcomp(answered: bool) -> None:
    message = p.Publish("a", qos=2, packet_id=5)
    connection = connected()
    assert send(connection, message) == [message]
    if answered:
        connection.pubrec(5)
    *before, failed = send(connection, p.Pubrel(5), message, p.Pingreq())
    assert before == [Released([5])]
    assert failure([failed]).error.rule is Rule.PACKET_ID_NOT_FREE
    connection.pubcomp(5)
    again = connected()
    send(again, message, p.Pubrel(5))
    again.pubrec(5)
    again.pubcomp(5)
    assert send(again, message) == [message]  # a new one [MQTT-4.3.3-12]


@given(
    st.sampled_from([V311, V5]),
    st.booleans(),
    st.lists(st.sampled_from(["publish", "refused", "bad", "pubrel", "answer"]), max_size=12),
)
def test_one_packet_identifier_in_any_order(
    version: Version, resumed: bool, steps: list[str]
) -> None:
    """Answers come late, in order: each is owed, whatever the client has sent meanwhile."""
    session = SessionState(inbound=frozenset({1})) if resumed else None
    connection = connected(p.Connect("dev", version, clean_start=False), session=session)
    text = Properties(payload_format_indicator=1)
    packets = {
        "publish": p.Publish("a", qos=2, packet_id=1),
        "refused": p.Publish("a", qos=2, packet_id=1),
        "bad": p.Publish("a", b"\xff", 2, packet_id=1, properties=text),
        "pubrel": p.Pubrel(1),
    }
    owed: list[Callable[[], bytes]] = []
    for step in [*steps, *["answer"] * len(steps)]:
        if step == "answer":
            if owed:
                owed.pop(0)()
            continue
        if step == "bad" and version is not V5:
            continue
        for event in connection.receive_data(encode(packets[step], version)):
            if isinstance(event, Released):
                owed.append(partial(connection.pubcomp, 1))
            elif isinstance(event, p.Publish | DuplicatePublish | RefusedPublish):
                reason = 0x87 if step == "refused" and isinstance(event, p.Publish) else 0
                owed.append(partial(connection.pubrec, 1, reason))


@pytest.mark.parametrize(
    "vector", [v for v in BAD if v.data[0] != 0x10], ids=lambda vector: vector.name
)
def test_bad_vectors_end_a_connection(vector: Bad) -> None:
    connection = connected(p.Connect("dev", vector.version))
    events = connection.receive_data(wire(p.Pingreq()) + vector.data)
    assert events[0] == p.Pingreq()
    failed = failure(events[1:])
    assert (failed.error.reason, failed.error.statement) == (vector.reason, vector.statement)
    if vector.version is V5:
        reply = parse_one(failed.reply)
        assert isinstance(reply, p.Disconnect)
        assert reply.reason == vector.reason
    else:
        assert failed.reply == b""


# Extended authentication


def test_authentication_before_and_after_the_connack() -> None:
    method = Properties(authentication_method="M")
    data = Properties(authentication_method="M", authentication_data=b"D")
    connection = ServerConnection(ServerSettings(authentication_methods=frozenset({"M"})))
    with pytest.raises(LocalProtocolError):
        connection.auth(0x18)
    connection.receive_data(wire(p.Connect("dev", properties=method)))
    assert parse_one(connection.auth(0x18, b"D")) == p.Auth(0x18, data)
    with pytest.raises(LocalProtocolError):
        connection.auth(0x00)
    assert send(connection, p.Auth(0x18, data)) == [p.Auth(0x18, data)]
    assert parse_one(connection.accept()) == p.Connack(properties=method)
    with pytest.raises(LocalProtocolError):
        connection.auth(0x18)
    assert len(send(connection, p.Auth(0x19, data))) == 1
    connection.auth(0x18)
    assert len(send(connection, p.Auth(0x18, data))) == 1
    assert parse_one(connection.auth(0x00)) == p.Auth(0, method)
    assert failure(send(connection, p.Auth(0x18, data))).error.rule is Rule.AUTH_OUT_OF_TURN


@pytest.mark.parametrize(
    ("packet", "rule"),
    [
        (p.Auth(0x18, Properties(authentication_method="N")), Rule.AUTH_METHOD_CHANGED),
        (p.Auth(0x19, Properties(authentication_method="M")), Rule.AUTH_OUT_OF_TURN),
        (p.Auth(), Rule.AUTH_METHOD_MISSING),
        (p.Pingreq(), Rule.ONLY_AUTH_BEFORE_CONNACK),
    ],
)
def test_faults_while_authenticating(packet: Packet, rule: Rule) -> None:
    connection = ServerConnection(ServerSettings(authentication_methods=frozenset({"M"})))
    connection.receive_data(wire(client(authentication_method="M")))
    failed = failure(send(connection, packet))
    assert failed.error.rule is rule
    assert parse_one(failed.reply) == p.Connack(False, rule.reason)


def test_a_client_may_give_up_while_authenticating() -> None:
    connection = ServerConnection(ServerSettings(authentication_methods=frozenset({"M"})))
    connection.receive_data(wire(client(authentication_method="M")))
    assert send(connection, p.Disconnect(), p.Pingreq()) == [p.Disconnect()]
    assert connection.state is State.CLOSED


def test_a_reason_that_connack_lacks_becomes_a_protocol_error() -> None:
    connection = ServerConnection(ServerSettings(authentication_methods=frozenset({"M"})))
    connection.receive_data(wire(client(authentication_method="M")))
    failed = failure(connection.receive_data(b"\x30\x07\0\x01a\x03\x23\0\0"))
    assert failed.error.reason == 0x94
    assert parse_one(failed.reply) == p.Connack(False, 0x82)


def test_unknown_method() -> None:
    connection = ServerConnection()
    failed = failure(connection.receive_data(wire(client(authentication_method="M"))))
    assert failed.reply == b"\x20\x03\0\x8c\0"


# PUBLISH from the client


@pytest.mark.parametrize("version", Version)
def test_qos_1(version: Version) -> None:
    connection = connected(p.Connect("dev", version))
    packet = p.Publish("a", b"x", 1, packet_id=5)
    assert send(connection, packet) == [packet]
    assert connection.unacknowledged == 1
    assert connection.puback(5) == b"\x40\x02\0\x05"
    assert connection.unacknowledged == 0
    with pytest.raises(LocalProtocolError):
        connection.puback(5)


def test_qos_1_sent_again_before_its_puback() -> None:
    connection = connected(p.Connect("dev", V31))
    again = p.Publish("a", b"x", 1, dup=True, packet_id=5)
    assert len(send(connection, again, again)) == 2
    assert connection.unacknowledged == 1
    assert connection.puback(5) == connection.puback(5) == b"\x40\x02\0\x05"
    assert connection.unacknowledged == 0


@pytest.mark.parametrize("version", Version)
def test_qos_2(version: Version) -> None:
    connection = connected(p.Connect("dev", version))
    packet = p.Publish("a", b"x", 2, packet_id=5)
    again = msgspec.structs.replace(packet, dup=True)
    assert send(connection, packet) == [packet]
    assert send(connection, again) == []
    assert connection.pubrec(5) == b"\x50\x02\0\x05"
    assert send(connection, again) == [DuplicatePublish(5)]
    assert connection.pubrec(5) == b"\x50\x02\0\x05"
    assert send(connection, p.Pubrel(5)) == [Released([5])]
    assert connection.unacknowledged == 1
    assert connection.pubcomp(5) == b"\x70\x02\0\x05"
    assert connection.unacknowledged == 0
    assert send(connection, packet) == [packet]


def test_qos_2_refused_ends_the_exchange() -> None:
    connection = connected()
    packet = p.Publish("a", b"x", 2, packet_id=5)
    send(connection, packet)
    assert parse_one(connection.pubrec(5, 0x97)) == p.Pubrec(5, 0x97)
    assert connection.unacknowledged == 0
    assert send(connection, packet) == [packet]


def test_qos_2_refused_before_5_goes_on() -> None:
    connection = connected(p.Connect("dev", V311))
    send(connection, p.Publish("a", b"x", 2, packet_id=5))
    assert connection.pubrec(5, 0x97) == b"\x50\x02\0\x05"
    assert connection.unacknowledged == 1


def test_release_of_an_unknown_identifier() -> None:
    connection = connected()
    assert send(connection, p.Pubrel(9)) == [Released([9])]
    assert parse_one(connection.pubcomp(9)) == p.Pubcomp(9, 0x92)
    with pytest.raises(LocalProtocolError):
        connection.pubrec(9)
    old = connected(p.Connect("dev", V311))
    assert old.pubcomp(9) == b"\x70\x02\0\x09"


def test_qos_2_duplicates_across_a_reconnect() -> None:
    first = connected()
    send(first, p.Publish("a", qos=2, packet_id=5), p.Publish("a", qos=2, packet_id=6))
    first.pubrec(5)
    assert first.disconnect(0x8E)
    # The commit of the second ended after the connection did.
    assert first.pubrec(6) == b""
    state = SessionState(inbound=frozenset({5, 6}))
    second = connected(p.Connect("dev", clean_start=False), session=state)
    events = send(
        second,
        p.Publish("a", qos=2, packet_id=5, dup=True),
        p.Publish("a", qos=2, packet_id=7),
        p.Pubrel(6),
    )
    assert events == [DuplicatePublish(5), p.Publish("a", qos=2, packet_id=7), Released([6])]


def test_receive_maximum() -> None:
    connection = connected(settings=ServerSettings(receive_maximum=2))
    one, two = p.Publish("a", qos=1, packet_id=1), p.Publish("a", qos=2, packet_id=2)
    assert len(send(connection, one, two)) == 2
    connection.pubrec(2)
    again = msgspec.structs.replace(two, dup=True)
    assert send(connection, again, p.Publish("a"))[0] == DuplicatePublish(2)
    connection.puback(1)
    assert send(connection, one) == [one]
    failed = failure(send(connection, p.Publish("a", qos=1, packet_id=3)))
    assert failed.error.reason == 0x93
    old = connected(p.Connect("dev", V311), ServerSettings(receive_maximum=1))
    assert len(send(old, one, two)) == 2


@pytest.mark.parametrize(
    ("settings", "packet", "reason"),
    [
        (ServerSettings(maximum_qos=1), p.Publish("a", qos=2, packet_id=1), 0x9B),
        (ServerSettings(retain_available=False), p.Publish("a", retain=True), 0x9A),
        (
            ServerSettings(),
            p.Publish("a", properties=Properties(subscription_identifiers=(1,))),
            0x82,
        ),
        (
            ServerSettings(),
            p.Publish("a", b"\xff", properties=Properties(payload_format_indicator=1)),
            0x99,
        ),
        (ServerSettings(maximum_packet_size=20), p.Publish("a", bytes(20)), 0x95),
    ],
)
def test_publish_beyond_the_server(
    settings: ServerSettings, packet: p.Publish, reason: int
) -> None:
    failed = failure(send(connected(settings=settings), packet))
    assert failed.error.reason == reason
    reply = parse_one(failed.reply)
    assert isinstance(reply, p.Disconnect)
    assert reply.reason == reason


@pytest.mark.parametrize("qos", [1, 2])
def test_a_payload_that_is_not_what_it_says(qos: int) -> None:
    connection = connected()
    packet = p.Publish(
        "a", b"\xff", qos, packet_id=3, properties=Properties(payload_format_indicator=1)
    )
    assert send(connection, packet) == [RefusedPublish(packet, ReasonCode.PAYLOAD_FORMAT_INVALID)]
    answer = connection.puback if qos == 1 else connection.pubrec
    assert answer(3, 0x99)[-1] == 0x99
    assert connection.unacknowledged == 0


# Topic aliases


def test_inbound_aliases() -> None:
    connection = connected(settings=ServerSettings(topic_alias_maximum=2))

    def alias(number: int, topic: str = "") -> p.Publish:
        return p.Publish(topic, properties=Properties(topic_alias=number, content_type="t"))

    events = send(connection, alias(1, "a"), alias(2, "b"), alias(1), alias(1, "c"), alias(1))
    unaliased = Properties(content_type="t")
    assert events == [p.Publish(topic, properties=unaliased) for topic in "abacc"]
    assert failure(send(connection, alias(3, "a"))).error.reason == 0x94
    # Aliases end with the connection [MQTT-3.3.2-7].
    second = connected(settings=ServerSettings(topic_alias_maximum=2))
    assert failure(send(second, alias(1))).error.rule is Rule.TOPIC_ALIAS_UNKNOWN
    none = connected()
    assert failure(send(none, alias(1, "a"))).error.reason == 0x94


def test_outbound_aliases() -> None:
    connection = connected(client(topic_alias_maximum=2))
    seen = []
    for topic in ("a", "b", "a", "c", "a", "b"):
        alias, known = connection.alias_of(topic)
        connection.use_alias(topic, alias)
        seen.append(("" if known else topic, alias))
    # "b" was the one not used for longest when "c" came, and "c" when "b" came back.
    assert seen == [("a", 1), ("b", 2), ("", 1), ("c", 2), ("", 1), ("b", 2)]


def test_no_aliases_where_there_are_none() -> None:
    for connect in (p.Connect("dev"), p.Connect("dev", V311)):
        assert not connected(connect).uses_aliases
    assert OutboundAliases(0).lookup("a") == (0, False)


# Messages to the client


def test_messages_are_numbered_and_acknowledged() -> None:
    connection = connected(client(receive_maximum=2))
    assert list(connection.number(1, ["one"])) == [1]
    assert list(connection.number(2, ["two"])) == [2]
    assert connection.send_quota == 0
    with pytest.raises(LocalProtocolError):
        connection.number(1, ["three"])
    assert send(connection, p.Puback(1, 0x10)) == [Acknowledged(["one"])]
    assert connection.send_quota == 1
    assert send(connection, p.Pubrec(2)) == [Received([2], ["two"])]
    assert connection.pubrel(2) == b"\x62\x02\0\x02"
    assert connection.send_quota == 1
    assert send(connection, p.Pubrec(2)) == [Received([2], ["two"])]
    assert send(connection, p.Pubcomp(2)) == [Completed([2], ["two"])]
    assert connection.send_quota == 2
    assert connection.in_flight == 0


def test_a_refusal_ends_the_exchange() -> None:
    connection = connected()
    connection.number(2, ["t"])
    why = Properties(reason_string="w")
    assert send(connection, p.Pubrec(1, 0x97, why)) == [Refused("t", 0x97, why)]
    assert connection.in_flight == 0
    assert send(connection, p.Pubrec(1, 0x97)) == []


def test_acknowledgements_of_nothing() -> None:
    connection = connected()
    assert send(connection, p.Puback(9)) == [Acknowledged([])]
    assert send(connection, p.Pubcomp(9)) == [Completed([], [])]
    assert send(connection, p.Pubrec(9)) == [Received([9], [None])]
    assert parse_one(connection.pubrel(9)) == p.Pubrel(9, 0x92)


@pytest.mark.parametrize(
    ("qos", "packet"),
    [
        (1, p.Pubrec(1)),
        (1, p.Pubcomp(1)),
        (2, p.Puback(1)),
        (2, p.Pubcomp(1)),
        (1, p.Pubrec(1, 128)),
    ],
)
def test_acknowledgement_of_another_qos(qos: int, packet: Packet) -> None:
    connection = connected()
    connection.number(qos, ["t"])
    assert failure(send(connection, packet)[-1:]).error.rule is Rule.ACK_OF_OTHER_QOS


def test_acknowledgements_before_a_wrong_one_count() -> None:
    connection = connected()
    assert list(connection.number(1, ["one", "two", "three"])) == [1, 2, 3]
    assert list(connection.number(2, ["four", "five"])) == [4, 5]
    assert send(connection, p.Pubrec(4)) == [Received([4], ["four"])]
    for packets, event in (
        ([p.Puback(1), p.Puback(2), p.Puback(5)], Acknowledged(["one", "two"])),
        ([p.Pubcomp(4), p.Pubcomp(5)], Completed([4], ["four"])),
    ):
        connection.state = State.CONNECTED
        first, last = send(connection, *packets)
        assert first == event
        assert failure([last]).error.rule is Rule.ACK_OF_OTHER_QOS
    assert connection.in_flight == 2


def test_several_messages_are_numbered_at_once() -> None:
    connection = connected(client(receive_maximum=4))
    with pytest.raises(LocalProtocolError):
        connection.number(1, "five!")
    assert list(connection.number(1, "abc")) == [1, 2, 3]
    assert send(connection, p.Puback(1), p.Puback(2)) == [Acknowledged(["a", "b"])]
    assert list(connection.number(2, "def")) == [4, 5, 6]
    assert connection.send_quota == 0
    with pytest.raises(LocalProtocolError):
        ServerConnection().number(1, "a")


def test_packet_identifiers_in_use_are_passed_over() -> None:
    connection = connected()
    connection.number(1, [None] * 65_533)
    send(connection, p.Puback(1), p.Puback(3), p.Puback(4))
    assert list(connection.number(1, [None] * 4)) == [65_534, 65_535, 1, 3]
    assert connection.send_quota == 1


def test_packet_identifiers_go_round_and_are_not_reused_in_flight() -> None:
    connection = connected()
    connection.number(1, ["first"])
    for expected in range(2, 65_536):
        connection.number(1, [expected])
        send(connection, p.Puback(expected))
    # 65535 was the last; 1 is still in flight.
    assert list(connection.number(1, ["next"])) == [2]


def test_packet_identifiers_used_up() -> None:
    first = connected()
    first.number(1, [None] * 65_535)
    assert first.send_quota == 0
    with pytest.raises(LocalProtocolError):
        first.number(1, [None])
    send(first, p.Puback(700))
    assert first.send_quota == 1
    assert list(first.number(1, [None])) == [700]


def test_send_maximum_caps_clients_that_have_no_limit() -> None:
    for connect in (p.Connect("dev", V311), client(receive_maximum=100)):
        assert connected(connect, ServerSettings(send_maximum=3)).send_quota == 3


# Resumption


def in_flight() -> SessionState:
    """Two PUBLISH, one PUBREL and one more PUBLISH, in this order."""
    states = (
        OutboundState.PUBACK,
        OutboundState.PUBREC,
        OutboundState.PUBCOMP,
        OutboundState.PUBACK,
    )
    records = [
        OutboundRecord(
            number,
            state,
            number,
            encode(
                p.Publish(
                    "a", b"%d" % number, 2 if number == 2 else 1, retain=True, packet_id=number
                ),
                V5,
            ),
        )
        for number, state in enumerate(states, 1)
    ]
    return SessionState(tuple(records), last_packet_id=4)


def test_resend() -> None:
    connection = connected(p.Connect("dev", clean_start=False), session=in_flight())
    assert connection.send_quota == 0
    resent = connection.resend()
    assert resent.discarded == ()
    # With the old identifiers.
    assert parse(resent.data) == [
        p.Publish("a", b"1", 1, True, True, 1),
        p.Publish("a", b"2", 2, True, True, 2),
        p.Pubrel(3),
        p.Publish("a", b"4", 1, True, True, 4),
    ]
    assert connection.resend().data == b""
    # Limited by the identifiers that are free.
    assert connection.send_quota == 65_531
    assert send(connection, p.Pubcomp(3), p.Puback(1)) == [Completed([3], [3]), Acknowledged([1])]
    assert list(connection.number(1, ["new"])) == [5]


def test_resend_keeps_the_receive_maximum() -> None:
    connect = msgspec.structs.replace(client(receive_maximum=1), clean_start=False)
    connection = connected(connect, session=in_flight())
    assert parse(connection.resend().data) == [p.Publish("a", b"1", 1, True, True, 1)]
    assert connection.resend().data == b""
    send(connection, p.Puback(1))
    assert connection.send_quota == 0
    assert parse(connection.resend().data) == [p.Publish("a", b"2", 2, True, True, 2), p.Pubrel(3)]
    # The PUBREL was never counted, so its PUBCOMP makes no room.
    send(connection, p.Pubcomp(3))
    assert connection.resend().data == b""
    # What was not sent again yet is still in flight.
    assert connection.in_flight == 2


def test_resend_discards_what_has_become_too_large() -> None:
    state = in_flight()
    connect = msgspec.structs.replace(client(maximum_packet_size=8), clean_start=False)
    connection = connected(connect, session=state)
    resent = connection.resend()
    assert [record.tag for record in resent.discarded] == [1, 2, 4]
    assert parse(resent.data) == [p.Pubrel(3)]
    assert connection.in_flight == 1
    assert connection.send_quota == 65_534


# Acknowledgements and limits on them


def test_reason_strings_give_way_to_the_packet_size() -> None:
    full = len(wire(p.Puback(1, 0x97, Properties(reason_string="why", user_properties=WHY))))

    def answer(size: int, problems: int = 1) -> bytes:
        connect = client(maximum_packet_size=size, request_problem_information=problems)
        connection = connected(connect)
        send(connection, p.Publish("a", qos=1, packet_id=1))
        return connection.puback(1, 0x97, reason_string="why", user_properties=WHY)

    assert len(answer(full)) == full
    assert parse_one(answer(full - 1)) == p.Puback(1, 0x97, Properties(reason_string="why"))
    assert parse_one(answer(6)) == p.Puback(1, 0x97)
    assert parse_one(answer(full, problems=0)) == p.Puback(1, 0x97)


def test_what_cannot_fit_is_not_sent() -> None:
    connection = connected(client(maximum_packet_size=6))
    assert connection.suback(3, (0,)) == b"\x90\x04\0\x03\0\0"
    assert connection.suback(3, (0, 0)) == b""


def test_a_client_that_takes_no_connack_cannot_be_served() -> None:
    connection = ServerConnection()
    connection.receive_data(wire(client(maximum_packet_size=4)))
    assert connection.accept() == b""
    assert connection.state is State.CLOSED


def test_suback_and_unsuback() -> None:
    connection = connected()
    subscribe = p.Subscribe(3, (p.Subscription("a", 1), p.Subscription("b", 2)))
    assert send(connection, subscribe, p.Unsubscribe(4, ("a",))) == [
        subscribe,
        p.Unsubscribe(4, ("a",)),
    ]
    assert parse_one(connection.suback(3, (1, 0x87), reason_string="w")) == p.Suback(
        3, (1, 0x87), Properties(reason_string="w")
    )
    assert parse_one(connection.unsuback(4, (0x11,))) == p.Unsuback(4, (0x11,))
    old = connected(p.Connect("dev", V311))
    assert old.suback(3, (1, 0x87)) == b"\x90\x04\0\x03\x01\x80"
    assert old.unsuback(4, (0x11,)) == b"\xb0\x02\0\x04"


@pytest.mark.parametrize(
    ("settings", "topic_filter", "properties", "reason"),
    [
        (ServerSettings(wildcard_subscription_available=False), "a/+", NO_PROPERTIES, 0xA2),
        (ServerSettings(wildcard_subscription_available=False), "#", NO_PROPERTIES, 0xA2),
        (ServerSettings(shared_subscription_available=False), "$share/g/a", NO_PROPERTIES, 0x9E),
        (
            ServerSettings(subscription_identifiers_available=False),
            "a",
            Properties(subscription_identifiers=(1,)),
            0xA1,
        ),
    ],
)
def test_subscriptions_not_available(
    settings: ServerSettings, topic_filter: str, properties: Properties, reason: int
) -> None:
    packet = p.Subscribe(1, (p.Subscription(topic_filter),), properties)
    assert failure(send(connected(settings=settings), packet)).error.reason == reason
    assert len(send(connected(settings=settings), p.Subscribe(1, (p.Subscription("a"),)))) == 1


def test_ping() -> None:
    connection = connected()
    assert send(connection, p.Pingreq()) == [p.Pingreq()]
    assert connection.pingresp() == b"\xd0\0"


def test_nothing_but_connack_before_connack() -> None:
    connection = ServerConnection()
    connection.receive_data(wire(p.Connect("dev")))
    for method in (connection.pingresp, connection.resend):
        with pytest.raises(LocalProtocolError):
            method()
    with pytest.raises(LocalProtocolError):
        connection.suback(1, (0,))


# DISCONNECT


@pytest.mark.parametrize(("reason", "kept"), [(0x00, False), (0x04, True), (0x80, True)])
def test_disconnect_and_the_will(reason: int, kept: bool) -> None:
    connection = connected(p.Connect("dev", will=p.Will("w")))
    assert send(connection, p.Disconnect(reason), p.Pingreq()) == [p.Disconnect(reason)]
    assert (connection.will is not None) is kept
    assert connection.receive_data(b"\0\0") == []


def test_a_failure_keeps_the_will() -> None:
    connection = connected(p.Connect("dev", V311, will=p.Will("w")))
    assert failure(connection.receive_data(b"\0\0")).reply == b""
    assert connection.will == p.Will("w")


def test_session_expiry_at_disconnect() -> None:
    connection = connected(client(session_expiry_interval=10))
    send(connection, p.Disconnect(0, Properties(session_expiry_interval=99)))
    assert connection.session_expiry_interval == 99
    connection = connected()
    failed = failure(send(connection, p.Disconnect(0, Properties(session_expiry_interval=1))))
    assert failed.error.rule is Rule.SESSION_EXPIRY_REVIVED
    assert failed.error.reason == 0x82
    connection = connected()
    assert len(send(connection, p.Disconnect(0, Properties(session_expiry_interval=0)))) == 1


def test_disconnect_from_the_server() -> None:
    packet = parse_one(connected().disconnect(0x9C, server_reference="there", reason_string="w"))
    assert packet == p.Disconnect(0x9C, Properties(server_reference="there", reason_string="w"))
    small = connected(client(maximum_packet_size=5))
    assert small.disconnect(0x8B, reason_string="too long") == b"\xe0\x01\x8b"
    assert connected(p.Connect("dev", V311)).disconnect(0x8B) == b""
    waiting = ServerConnection()
    waiting.receive_data(wire(p.Connect("dev")))
    assert waiting.disconnect(0x8B) == b""
    waiting = ServerConnection()
    waiting.receive_data(wire(p.Connect("dev")))
    assert waiting.disconnect(0x89) == b"\x20\x03\0\x89\0"
    assert ServerConnection().disconnect(0x8B) == b""


def test_reason_string_of_a_failure_only_if_wanted() -> None:
    connection = connected(client(request_problem_information=0))
    assert failure(connection.receive_data(b"\0\0")).reply == b"\xe0\x01\x81"


# Any bytes at all


def run(pieces: list[bytes], settings: ServerSettings) -> list[Event]:
    """Serve a client as a server would, answering everything at once."""
    connection = ServerConnection(settings)
    events: list[Event] = []
    for piece in pieces:
        new = connection.receive_data(piece)
        while new:
            events += new
            for event in new:
                answer(connection, event)
            new = connection.receive_data(b"")
    return events


def answer(connection: ServerConnection, event: Event) -> None:
    match event:
        case p.Connect():
            connection.accept(
                None if event.clean_start else in_flight_5(),
                assigned_client_id=None if event.client_id else "auto",
            )
            connection.resend()
            if connection.send_quota:
                connection.number(2, ["tag"])
        case p.Publish(qos=1) | RefusedPublish(p.Publish(qos=1)):
            packet = event.packet if isinstance(event, RefusedPublish) else event
            connection.puback(packet.packet_id)
        case p.Publish(qos=2) | RefusedPublish(p.Publish(qos=2)):
            packet = event.packet if isinstance(event, RefusedPublish) else event
            connection.pubrec(packet.packet_id)
        case DuplicatePublish():
            connection.pubrec(event.packet_id)
        case Released():
            connection.pubcomp(*event.packet_ids)
        case Received():
            connection.pubrel(*event.packet_ids)
        case p.Subscribe():
            connection.suback(event.packet_id, tuple(s.qos for s in event.subscriptions))
        case p.Unsubscribe():
            connection.unsuback(event.packet_id, (0,) * len(event.filters))
        case p.Pingreq():
            connection.pingresp()
        case Failed():
            assert connection.state is State.CLOSED
        case _:
            pass


def in_flight_5() -> SessionState:
    return msgspec.structs.replace(in_flight(), inbound=frozenset({7}))


def strip_errors(events: list[Event]) -> list[object]:
    # A duplicate that comes before its PUBREC has gone out is no event, and acknowledgements that
    # come together are one: that depends on the pieces.
    stripped: list[object] = []
    for event in events:
        match event:
            case Failed():
                stripped.append((event.error.rule, event.reply))
            case Acknowledged():
                stripped += [Acknowledged([tag]) for tag in event.tags]
            case Received():
                pairs = zip(event.packet_ids, event.tags, strict=True)
                stripped += [Received([packet_id], [tag]) for packet_id, tag in pairs]
            case Completed():
                pairs = zip(event.packet_ids, event.tags, strict=True)
                stripped += [Completed([packet_id], [tag]) for packet_id, tag in pairs]
            case Released():
                stripped += [Released([packet_id]) for packet_id in event.packet_ids]
            case DuplicatePublish():
                pass
            case _:
                stripped.append(event)
    return stripped


SETTINGS = [
    ServerSettings(),
    ServerSettings(topic_alias_maximum=3, receive_maximum=2, send_maximum=2),
    ServerSettings(maximum_qos=0, retain_available=False, maximum_packet_size=200),
]


CONNECTS = [vector.data for vector in GOOD if vector.data[0] == 0x10]
STREAMS = st.lists(
    st.sampled_from([vector.data for vector in (*GOOD, *BAD) if vector.data[0] != 0x10]),
    max_size=8,
).map(b"".join)
CHANGES = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=3)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(CONNECTS), STREAMS, CHANGES, st.sampled_from(SETTINGS), st.booleans())
def test_any_stream_of_packets(
    connect: bytes,
    stream: bytes,
    changes: list[tuple[int, int]],
    server: ServerSettings,
    spare_connect: bool,
) -> None:
    data = bytearray(connect + stream)
    start = len(connect) if spare_connect else 0
    if len(data) > start:
        for index, value in changes:
            data[start + index % (len(data) - start)] = value
    whole = run([bytes(data)], server)
    single = run([bytes(data[i : i + 1]) for i in range(len(data))], server)
    assert strip_errors(whole) == strip_errors(single)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30)))
def test_any_bytes(pieces: list[bytes]) -> None:
    run(pieces, ServerSettings())
