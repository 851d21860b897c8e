from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub_mqtt import packets as p
from hubbub_mqtt import reasons
from hubbub_mqtt.decode import Decoder
from hubbub_mqtt.encode import encode
from hubbub_mqtt.errors import MqttError, Rule
from hubbub_mqtt.packets import Packet, Version
from hubbub_mqtt.properties import NO_PROPERTIES, Properties
from hubbub_mqtt.topics import (
    TopicCache,
    split_shared,
    topic_matches,
    validate_topic_filter,
    validate_topic_name,
)
from hubbub_mqtt.wire import VARINT_MAX, Reader, encode_varint

from .vectors import BAD, GOOD, V5, V31, V311, Bad, Good


def decoder_for(vector: Good | Bad) -> Decoder:
    """A server's decoder for CONNECT, which tells the version itself, or one for that version."""
    return Decoder(version=None if vector.data[0] == 0x10 else vector.version)


def decode_one(data: bytes, version: Version) -> Packet:
    decoder = Decoder(version=version)
    decoder.feed(data)
    (packet,) = decoder
    return packet


def outcome(decoder: Decoder, pieces: list[bytes]) -> tuple[list[Packet], Rule | None]:
    """The packets one by one: which acknowledgements are decoded together depends on the pieces."""
    packets: list[Packet] = []
    try:
        for piece in pieces:
            decoder.feed(piece)
            packets += decoder
    except MqttError as error:
        return packets, error.rule
    return packets, None


def single_bytes(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def test_vectors_are_many_and_have_names_of_their_own() -> None:
    names = [vector.name for vector in (*GOOD, *BAD)]
    assert len(names) == len(set(names))
    assert len(names) >= 220


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector.name)
def test_good_vector(vector: Good) -> None:
    decoder = decoder_for(vector)
    assert decoder.decode(vector.data) == [vector.packet]
    assert decoder.error is None
    assert decoder.version == vector.version
    if vector.canonical:
        assert encode(vector.packet, vector.version) == vector.data
    byte_by_byte = outcome(decoder_for(vector), single_bytes(vector.data))
    assert byte_by_byte == ([vector.packet], None)


@pytest.mark.parametrize("vector", BAD, ids=lambda vector: vector.name)
def test_bad_vector(vector: Bad) -> None:
    if vector.data == b"\x11\x0d\0\x04MQTT":
        decoder = Decoder(version=vector.version)
    else:
        decoder = decoder_for(vector)
    assert decoder.decode(vector.data) == []
    error = decoder.error
    assert error is not None
    error.version = vector.version
    assert (error.reason, error.statement) == (vector.reason, vector.statement)
    assert error.statement in str(error)


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector.name)
def test_every_cut_of_a_packet_waits_for_more(vector: Good) -> None:
    for cut in range(len(vector.data)):
        assert outcome(decoder_for(vector), [vector.data[:cut]]) == ([], None)


def test_packets_before_a_malformed_one_come_out_first() -> None:
    decoder = Decoder(version=V311)
    decoder.feed(b"\xc0\0\x30\x04\0\x01ax" + b"\x30\x03\0\x01#" + b"\xc0\0")
    packets = iter(decoder)
    assert next(packets) == p.Pingreq()
    assert next(packets) == p.Publish("a", b"x")
    with pytest.raises(MqttError, match=r"\[MQTT-3\.3\.2-2\]") as caught:
        next(packets)
    assert caught.value.rule is Rule.TOPIC_WILDCARD
    assert decoder.decode(b"\xc0\0") == []


def test_iteration_gives_each_packet_once() -> None:
    decoder = Decoder(version=V311)
    decoder.feed(b"\xc0\0\xc0")
    decoder.feed(b"\0")
    assert list(decoder) == [p.Pingreq(), p.Pingreq()]
    assert list(decoder) == []


def test_acknowledgements_of_one_kind_come_together() -> None:
    acks = [
        p.Puback(1), p.Puback(7), p.Pubrec(0x4002), p.Pubrel(0xFFFF), p.Pubrel(3), p.Pubcomp(2),
        p.Puback(4, 0x10), p.Puback(5), p.Puback(6), p.Puback(8, 0x10), p.Pubcomp(9),
    ]  # fmt: skip
    data = b"".join([encode(each, V5) for each in acks])
    assert Decoder(version=V5).decode(data + b"\x70\x02\x01") == [
        p.Acks(p.PacketType.PUBACK, [1, 7]),
        p.Pubrec(0x4002),
        p.Acks(p.PacketType.PUBREL, [0xFFFF, 3]),
        p.Pubcomp(2),
        p.Puback(4, 0x10),
        p.Acks(p.PacketType.PUBACK, [5, 6]),
        p.Puback(8, 0x10),
        p.Pubcomp(9),
    ]
    many = [p.Puback(number) for number in range(1, 1001)]
    assert outcome(Decoder(version=V311), [encode(each, V311) for each in many]) == (many, None)
    together = b"".join([encode(each, V311) for each in many])
    assert outcome(Decoder(version=V311), [together]) == (many, None)
    assert outcome(Decoder(version=V311), [together[:40] + b"\x40\x02\0\0" + together]) == (
        many[:10],
        Rule.PACKET_ID_ZERO,
    )


def test_a_packet_too_large_is_refused_at_its_header() -> None:
    decoder = Decoder(10, version=V5)
    assert len(decoder.decode(b"\x30\x08\0\x01a\0wxyz")) == 1
    assert decoder.decode(b"\x30\x09") == []
    assert decoder.error is not None
    assert decoder.error.rule is Rule.PACKET_TOO_LARGE
    assert decoder.error.reason == 0x95


def test_the_first_packet_of_a_server_is_connect() -> None:
    for first in {*range(256)} - {0x10}:
        decoder = Decoder()
        decoder.decode(bytes((first,)))
        assert decoder.error is not None
        assert decoder.error.rule is Rule.FIRST_NOT_CONNECT


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_other_bytes_like_objects(kind: type[bytearray | memoryview]) -> None:
    decoder = Decoder(version=V311)
    data = b"\x30\x03\0\x01a"
    assert decoder.decode(kind(data[:3])) == []
    assert decoder.decode(kind(data[3:] + b"\xc0\0")) == [p.Publish("a"), p.Pingreq()]


def test_a_large_packet_in_small_pieces() -> None:
    payload = bytes(300_000)
    data = encode(p.Publish("a", payload), V311)
    decoder = Decoder(version=V311)
    pieces = [data[i : i + 1000] for i in range(0, len(data), 1000)]
    (packet,) = outcome(decoder, pieces)[0]
    # So long a packet is not kept twice.
    assert packet == p.Publish("a", payload)


def test_topics_are_the_same_string_each_time() -> None:
    cache = TopicCache(limit=2)
    one, two = Decoder(version=V311, topics=cache), Decoder(version=V5, topics=cache)
    (first,), (second,) = one.decode(b"\x30\x03\0\x01a"), two.decode(b"\x30\x04\0\x01a\0")
    assert isinstance(first, p.Publish)
    assert isinstance(second, p.Publish)
    assert first.topic is second.topic
    for name in (b"b", b"c", b"d"):
        assert cache[name] == name.decode()
        assert len(cache) <= 2
    size = len(cache)
    assert cache[b"x" * 257] == "x" * 257
    assert len(cache) == size


@pytest.mark.parametrize(
    "value", [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, VARINT_MAX]
)
def test_variable_byte_integers(value: int) -> None:
    data = encode_varint(value)
    reader = Reader(data, 0, len(data))
    assert reader.varint("value") == value
    reader.finish()


@pytest.mark.parametrize("value", [-1, VARINT_MAX + 1])
def test_variable_byte_integer_out_of_range(value: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        encode_varint(value)


@pytest.mark.parametrize(
    ("packet", "version", "message"),
    [
        (p.Publish(""), V5, "empty"),
        (p.Publish("", properties=Properties(topic_alias=1)), V311, "empty"),
        (p.Publish("a/#"), V5, "wildcard"),
        (p.Publish("a\0"), V5, "U\\+0000"),
        (p.Publish("\ud800"), V5, "surrogates"),
        (p.Publish("x" * 65_536), V5, "65,535"),
        (p.Publish("a", qos=3, packet_id=1), V5, "QoS"),
        (p.Publish("a", qos=1), V5, "packet identifier"),
        (p.Publish("a", properties=Properties(receive_maximum=1)), V5, "not valid in PUBLISH"),
        (p.Publish("a", properties=Properties(topic_alias=0)), V5, "out of range"),
        (p.Publish("a", properties=Properties(message_expiry_interval=1 << 32)), V5, "fit"),
        (p.Publish("a", properties=Properties(content_type="\0")), V5, "U\\+0000"),
        (p.Puback(65_536), V311, "packet identifier"),
        (p.Connect("c", V311, password=b"p"), V311, "user name"),
        (p.Connect("c", keep_alive=-1), V5, "unsigned"),
        (p.Subscribe(1, ()), V5, "topic filter"),
        (p.Subscribe(1, (p.Subscription("a", 3),)), V5, "QoS"),
        (p.Subscribe(1, (p.Subscription("a", retain_handling=3),)), V5, "retain handling"),
        (
            p.Subscribe(1, (p.Subscription("a"),), Properties(subscription_identifiers=(1, 2))),
            V5,
            "one subscription identifier",
        ),
        (p.Unsubscribe(1, ()), V5, "topic filter"),
        (p.Auth(), V311, "AUTH"),
        (p.Packet(), V5, "not a control packet"),
    ],
)
def test_what_cannot_be_encoded(packet: Packet, version: Version, message: str) -> None:
    with pytest.raises((ValueError, OverflowError), match=message):
        encode(packet, version)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "matches"),
    [
        ("a", "a", True),
        ("a", "A", False),
        ("a", "a/", False),
        ("a/b", "a", False),
        ("a", "/a", False),
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("sport/#", "sports", False),
        ("#", "a/b/c", True),
        ("#", "/", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+", "/finance", False),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+/a/#", "b/a", True),
        ("a//c", "a//c", True),
        ("a/+/c", "a//c", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("$SYS/+", "$SYS/x", True),
        ("a/#", "a/$b", True),
        ("a/+", "a/$b", True),
        ("e\u0301", "é", False),
    ],
)
def test_topic_matches(topic_filter: str, topic: str, matches: bool) -> None:
    assert topic_matches(topic_filter, topic) is matches


def test_topic_validators() -> None:
    for name in ("/", "a b", "$SYS", "$share/g/x", "é"):
        validate_topic_name(name)
    for topic_filter in ("#", "+", "+/#", "/+/", "$share/g/#", "$share/g//", "a//#"):
        validate_topic_filter(topic_filter)
    with pytest.raises(MqttError) as caught:
        validate_topic_name("a\0")
    assert caught.value.rule is Rule.UTF8_NULL
    with pytest.raises(MqttError):
        validate_topic_filter("a\0")
    assert split_shared("$share/g/a/b") == ("g", "a/b")
    assert split_shared("a/$share/b") is None


# Any packet at all

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
TOPIC = st.text(st.characters(codec="utf-8", exclude_characters="\0+#"), min_size=1, max_size=8)
FILTER = st.lists(st.sampled_from(["a", "b", "+", "", "$x"]), min_size=1, max_size=4).map(
    lambda levels: "/".join(levels) or "#"
)
BYTES = st.binary(max_size=20)
BIT = st.integers(0, 1)
UINT16 = st.integers(0, 0xFFFF)
UINT32 = st.integers(0, 0xFFFF_FFFF)
PACKET_ID = st.integers(1, 0xFFFF)
SUBSCRIPTION_ID = st.integers(1, VARINT_MAX)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple)

MESSAGE: dict[str, st.SearchStrategy[Any]] = {
    "message_expiry_interval": UINT32,
    "content_type": TEXT,
    "response_topic": TOPIC,
    "correlation_data": BYTES,
    "user_properties": PAIRS,
}
REASON: dict[str, st.SearchStrategy[Any]] = {"reason_string": TEXT, "user_properties": PAIRS}
LIMITS: dict[str, st.SearchStrategy[Any]] = {
    "session_expiry_interval": UINT32,
    "receive_maximum": st.integers(1, 0xFFFF),
    "topic_alias_maximum": UINT16,
    "maximum_packet_size": st.integers(1, 0xFFFF_FFFF),
    "authentication_method": TEXT,
    "user_properties": PAIRS,
}


def some(
    version: Version,
    fields: dict[str, st.SearchStrategy[Any]],
    required: dict[str, st.SearchStrategy[Any]] | None = None,
) -> st.SearchStrategy[Properties]:
    if version is not V5:
        return st.just(NO_PROPERTIES)
    return st.fixed_dictionaries(required or {}, optional=fields).map(
        lambda values: Properties(**values)
    )


def messages(version: Version) -> st.SearchStrategy[p.Publish]:
    def build(qos: int, packet_id: int, dup: bool, rest: tuple[Any, ...]) -> p.Publish:
        topic, payload, retain, properties = rest
        return p.Publish(
            topic, payload, qos, retain, dup and qos > 0, packet_id if qos else 0, properties
        )

    properties = some(
        version,
        {
            **MESSAGE,
            "payload_format_indicator": st.just(0),
            "topic_alias": st.integers(1, 0xFFFF),
            "subscription_identifiers": st.lists(SUBSCRIPTION_ID, max_size=3).map(tuple),
        },
    )
    return st.builds(
        build,
        st.integers(0, 2),
        PACKET_ID,
        st.booleans(),
        st.tuples(TOPIC, st.binary(max_size=200), st.booleans(), properties),
    )


@st.composite
def connects(draw: st.DrawFn, version: Version) -> p.Connect:
    will = st.builds(
        p.Will,
        TOPIC,
        BYTES,
        st.integers(0, 2),
        st.booleans(),
        some(version, {**MESSAGE, "will_delay_interval": UINT32}),
    )
    user_name = draw(st.none() | TEXT)
    with_password = version is V5 or user_name is not None
    return p.Connect(
        draw(TEXT.filter(bool)),
        version,
        draw(st.booleans()),
        draw(UINT16),
        user_name,
        draw(st.none() | BYTES) if with_password else None,
        draw(st.none() | will),
        draw(
            some(
                version,
                {
                    **LIMITS,
                    "request_problem_information": BIT,
                    "request_response_information": BIT,
                },
            )
        ),
        version is not V5 and draw(st.booleans()),
    )


def codes(valid: frozenset[int]) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.sampled_from(sorted(valid)), min_size=1, max_size=5).map(tuple)


def any_packet(version: Version) -> st.SearchStrategy[Packet]:
    v5 = version is V5
    reason = some(version, REASON)

    def ack(packet: Any, valid: frozenset[int]) -> st.SearchStrategy[Packet]:
        return st.builds(
            packet, PACKET_ID, st.sampled_from(sorted(valid)) if v5 else st.just(0), reason
        )

    options = (
        (st.integers(0, 2), st.booleans(), st.booleans(), st.integers(0, 2))
        if v5
        else (st.integers(0, 2),)
    )
    choices: list[st.SearchStrategy[Packet]] = [
        connects(version),
        messages(version),
        st.builds(
            p.Connack,
            st.just(False),
            st.sampled_from(sorted(reasons.CONNACK_REASONS if v5 else range(6))),
            some(version, {**LIMITS, **REASON, "maximum_qos": BIT, "server_keep_alive": UINT16}),
        ),
        ack(p.Puback, reasons.PUBACK_REASONS),
        ack(p.Pubrec, reasons.PUBACK_REASONS),
        ack(p.Pubrel, reasons.PUBREL_REASONS),
        ack(p.Pubcomp, reasons.PUBREL_REASONS),
        st.builds(
            p.Subscribe,
            PACKET_ID,
            st.lists(st.builds(p.Subscription, FILTER, *options), min_size=1, max_size=3).map(
                tuple
            ),
            some(version, {"subscription_identifiers": SUBSCRIPTION_ID.map(lambda i: (i,))}),
        ),
        st.builds(
            p.Suback,
            PACKET_ID,
            codes(reasons.SUBACK_REASONS if v5 else reasons.SUBACK_RETURN_CODES),
            reason,
        ),
        st.builds(
            p.Unsubscribe,
            PACKET_ID,
            st.lists(FILTER, min_size=1, max_size=3).map(tuple),
            some(version, {"user_properties": PAIRS}),
        ),
        st.builds(
            p.Unsuback, PACKET_ID, codes(reasons.UNSUBACK_REASONS) if v5 else st.just(()), reason
        ),
        st.just(p.Pingreq()),
        st.just(p.Pingresp()),
    ]
    if v5:
        choices += [
            st.builds(
                p.Disconnect,
                st.sampled_from(sorted(reasons.DISCONNECT_REASONS)),
                some(version, {**REASON, "session_expiry_interval": UINT32}),
            ),
            st.builds(
                p.Auth,
                st.sampled_from(sorted(reasons.AUTH_REASONS)),
                some(
                    version,
                    {**REASON, "authentication_data": BYTES},
                    {"authentication_method": TEXT},
                ),
            ),
        ]
    else:
        choices.append(st.just(p.Disconnect()))
    return st.one_of(choices)


@pytest.mark.parametrize("version", Version)
def test_decode_inverts_encode(version: Version) -> None:
    @settings(deadline=None)
    @given(any_packet(version))
    def check(packet: Packet) -> None:
        data = encode(packet, version)
        decoded = decode_one(data, version)
        assert decoded == packet

    check()


@pytest.mark.parametrize("version", Version)
def test_pieces_give_what_the_whole_gives(version: Version) -> None:
    @settings(deadline=None)
    @given(
        st.lists(any_packet(version), max_size=5),
        st.binary(max_size=4),
        st.lists(st.integers(1, 9)),
    )
    def check(packets: list[Packet], rest: bytes, sizes: list[int]) -> None:
        data = b"".join(encode(packet, version) for packet in packets) + rest
        whole = outcome(Decoder(version=version), [data])
        assert outcome(Decoder(version=version), single_bytes(data)) == whole
        pieces, left = [], data
        for size in sizes:
            pieces.append(left[:size])
            left = left[size:]
        assert outcome(Decoder(version=version), [*pieces, left]) == whole

    check()


@pytest.mark.parametrize("version", [None, V31, V311, V5])
def test_mutated_packets_raise_only_the_one_error(version: Version | None) -> None:
    vectors = [vector.data for vector in (*GOOD, *BAD)]

    @settings(deadline=None)
    @given(
        st.lists(st.sampled_from(vectors), min_size=1, max_size=3).map(b"".join),
        st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
    )
    def check(data: bytes, changes: list[tuple[int, int]]) -> None:
        changed = bytearray(data)
        for index, value in changes:
            changed[index % len(changed)] = value
        packets, rule = outcome(Decoder(version=version), [bytes(changed)])
        assert outcome(Decoder(version=version), single_bytes(bytes(changed))) == (packets, rule)
        assert rule is None or rule.reason >= reasons.FAILURE

    check()
