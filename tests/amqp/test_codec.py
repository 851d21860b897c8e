"""The codec against the specification, against pamqp, and against bytes of every kind."""

from __future__ import annotations

import contextlib
import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_type_hints

import pamqp.commands
import pamqp.encode
import pamqp.frame
import pamqp.header
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hubbub_amqp import methods as m
from hubbub_amqp.decode import Content, Decoder, Heartbeat, Item, MethodFrame, Oversized
from hubbub_amqp.encode import (
    HEARTBEAT_FRAME,
    DeliverEncoder,
    encode_content,
    encode_method_frame,
)
from hubbub_amqp.errors import CHANNEL_ERRORS, AmqpError, Reply
from hubbub_amqp.properties import (
    NO_PROPERTIES,
    Properties,
    Property,
    decode_properties,
    encode_properties,
    encode_property,
    join_properties,
    split_properties,
)
from hubbub_amqp.wire import (
    MAX_DEPTH,
    FieldValue,
    Int64,
    Table,
    decode_fields,
    encode_fields,
    encode_short_string,
    encode_value,
    join_table,
    split_table,
)

from .vectors import frame, header, publish

SHORT = st.text(st.characters(codec="utf-8"), max_size=60)
VALUES: st.SearchStrategy[FieldValue] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | SHORT
    | st.binary(max_size=20)
    | st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1)).map(
        lambda value: value.replace(microsecond=0, tzinfo=UTC)
    )
    | st.builds(lambda n, s: Decimal(n).scaleb(-s), st.integers(-(2**31) + 1, 2**31 - 1),
                st.integers(0, 20)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SHORT, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
TABLES = st.dictionaries(SHORT, VALUES, max_size=6)
ARGUMENTS = {
    "octet": st.integers(0, 2**8 - 1),
    "short": st.integers(0, 2**16 - 1),
    "long": st.integers(0, 2**32 - 1),
    "longlong": st.integers(0, 2**64 - 1),
    "bit": st.booleans(),
    "shortstr": SHORT,
    "longstr": st.binary(max_size=300),
    "table": TABLES.map(lambda fields: Table(fields, encode_fields(fields))),
}
PROPERTIES = st.builds(
    Properties,
    **{
        each.name.lower(): st.none()
        | (
            TABLES
            if each is Property.HEADERS
            else st.integers(0, 2**64 - 1)
            if each is Property.TIMESTAMP
            else st.integers(0, 255)
            if each in {Property.PRIORITY, Property.DELIVERY_MODE}
            else SHORT
        )
        for each in Property
    },
)


@st.composite
def methods(draw: st.DrawFn) -> m.Method:
    kind = draw(st.sampled_from(m.METHODS))
    values = []
    for name in kind.__struct_fields__:
        hints = get_type_hints(kind, include_extras=True)
        values.append(draw(ARGUMENTS[hints[name].__metadata__[0]]))
    return kind(*values)


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """Whole frames of a client, contents split at will."""
    pieces = []
    for _ in range(draw(st.integers(1, 5))):
        method = draw(methods())
        channel = draw(st.integers(0, 3))
        if method.has_content:
            frame_max = draw(st.sampled_from([0, 9, 20, 131_072]))
            body = draw(st.binary(max_size=50))
            properties = encode_properties(draw(PROPERTIES))
            pieces.append(encode_content(channel, method, properties, body, frame_max))
        else:
            pieces.append(encode_method_frame(channel, method))
        if draw(st.booleans()):
            pieces.append(HEARTBEAT_FRAME)
    return b"".join(pieces)


def outcome(pieces: list[bytes]) -> tuple[list[Item], str | None]:
    decoder = Decoder(0)
    items = [item for piece in pieces for item in decoder.decode(piece)]
    return items, None if decoder.error is None else str(decoder.error)


@given(methods())
@settings(max_examples=100)
def test_methods_survive(method: m.Method) -> None:
    assert m.decode_method(m.encode_method(method)) == method


@pytest.mark.parametrize(
    "kind",
    [kind for kind in m.METHODS if kind.id[0] != 30],  # pamqp has no class access
    ids=lambda kind: kind.name,
)
def test_methods_are_those_of_pamqp(kind: type[m.Method]) -> None:
    """Names, numbers and arguments agree with another codec, made from the specification."""
    class_id, method_id = kind.id
    oracle: Any = pamqp.commands.INDEX_MAPPING[class_id << 16 | method_id]
    assert oracle.name.lower() == kind.name.replace("_", "")
    hints = get_type_hints(kind, include_extras=True)
    ours = [hints[name].__metadata__[0] for name in kind.__struct_fields__]
    assert ours == [oracle.amqp_type(name) for name in oracle.attributes()]


def test_a_publish_of_pamqp_is_read_and_ours_by_pamqp() -> None:
    properties = pamqp.commands.Basic.Properties(
        content_type="text/plain", headers={"a": 1, "b": [1, "x"]}, delivery_mode=2, priority=3,
        correlation_id="c", reply_to="r", expiration="10", message_id="m", message_type="t",
        timestamp=datetime(2026, 1, 2, tzinfo=UTC), user_id="guest", app_id="app",
    )  # fmt: skip
    data = pamqp.frame.marshal(
        pamqp.commands.Basic.Publish(exchange="e", routing_key="k", mandatory=True), 5
    )
    data += pamqp.frame.marshal(pamqp.header.ContentHeader(body_size=3, properties=properties), 5)
    data += frame(3, 5, b"abc")
    (content,) = Decoder().decode(data)
    assert isinstance(content, Content)
    assert content.method == m.BasicPublish(0, "e", "k", True, False)
    ours = decode_properties(content.properties)
    assert ours.headers == {"a": 1, "b": [1, "x"]}
    assert (ours.content_type, ours.type, ours.app_id) == ("text/plain", "t", "app")
    assert ours.timestamp == int(datetime(2026, 1, 2, tzinfo=UTC).timestamp())

    deliver = m.BasicDeliver("tag", 7, True, "e", "k")
    out = encode_content(5, deliver, content.properties, b"abc", 4096)
    used, channel, theirs = pamqp.frame.unmarshal(out)
    assert isinstance(theirs, pamqp.commands.Basic.Deliver)
    assert (channel, theirs.consumer_tag, theirs.delivery_tag, theirs.redelivered) == (
        5, "tag", 7, True,
    )  # fmt: skip
    _, _, theirs_header = pamqp.frame.unmarshal(out[used:])
    assert isinstance(theirs_header, pamqp.header.ContentHeader)
    assert theirs_header.body_size == 3
    assert dict(theirs_header.properties) == dict(properties)


@given(TABLES)
@settings(max_examples=60)
def test_tables_survive(table: dict[str, FieldValue]) -> None:
    raw = encode_fields(table)
    assert decode_fields(raw) == table
    assert join_table(split_table(raw)) == raw


@pytest.mark.parametrize(
    ("data", "value", "kind"),
    [
        (b"t\1", True, "bool"),
        (b"b\xff", -1, "byte"),
        (b"B\xff", 255, "unsignedbyte"),
        (b"s\xff\xfe", -2, "short"),
        (b"u\xff\xfe", 65534, "unsignedshort"),
        (b"I\xff\xff\xff\xff", -1, "signedint"),
        (b"i\xff\xff\xff\xff", 2**32 - 1, "unsignedint"),
        (b"l" + b"\xff" * 8, -1, "long"),
        (b"f\x3f\x80\0\0", 1.0, "float"),
        (b"d\x3f\xf0\0\0\0\0\0\0", 1.0, "double"),
        (b"D\2\0\0\x30\x39", Decimal("123.45"), "decimal"),
        (b"S\0\0\0\2\xc3\xa9", "é", "longstr"),
        (b"S\0\0\0\1\xff", b"\xff", "longstr"),
        (b"x\0\0\0\1\xff", b"\xff", "binary"),
        (b"T\0\0\0\0\0\0\0\1", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), "timestamp"),
        (b"T" + b"\xff" * 8, 2**64 - 1, "timestamp"),
        (b"V", None, "void"),
        (b"A\0\0\0\3t\0V", [False, None], "array"),
        (b"F\0\0\0\3\1aV", {"a": None}, "table"),
    ],
)
def test_every_type_of_rabbitmq_is_read_and_kept(data: bytes, value: object, kind: str) -> None:
    raw = b"\1k" + data
    table = Table(decode_fields(raw), raw)
    assert table == {"k": value}
    assert type(table["k"]) is type(value)
    assert table.types() == {"k": kind}
    assert m.encode_method(m.QueueUnbind(0, "", "", "", table)).endswith(raw)


@pytest.mark.parametrize(
    "raw",
    [b"\1", b"\1k", b"\1kI\0", b"\1kS\0\0\0\2x", b"\1k?", b"\5k", b"\1kA\0\0\0\1?", b"\1\xffV"],
)
def test_bad_tables_are_refused(raw: bytes) -> None:
    with pytest.raises(AmqpError) as caught:
        decode_fields(raw)
    assert caught.value.code is Reply.SYNTAX_ERROR
    assert caught.value.closes_connection


def test_tables_are_not_bottomless() -> None:
    value: FieldValue = 1
    for _ in range(MAX_DEPTH):
        value = [value]
    assert decode_fields(encode_fields({"k": value})) == {"k": value}
    with pytest.raises(AmqpError, match="deep"):
        decode_fields(encode_fields({"k": [value]}))


@pytest.mark.parametrize("value", [2**63, Decimal("inf"), Decimal(2**31), object(), {1: 2}])
def test_what_no_field_holds_is_an_error_of_our_own(value: Any) -> None:
    with pytest.raises((ValueError, AttributeError)):
        encode_value(value)


def test_counts_are_sent_as_rabbitmq_sends_them() -> None:
    assert encode_value(5)[:1] == b"I"
    assert encode_value(Int64(5)) == b"l\0\0\0\0\0\0\0\5"


@given(PROPERTIES)
@settings(max_examples=60)
def test_properties_survive(properties: Properties) -> None:
    raw = encode_properties(properties)
    assert decode_properties(raw) == properties
    assert join_properties(split_properties(raw)) == raw


def test_one_property_changes_and_the_others_keep_their_bytes() -> None:
    headers = b"\1k" + b"s\0\1"  # a type that we never write ourselves
    raw = b"\x30\x00" + struct.pack(">I", len(headers)) + headers + b"\2"
    parts = split_properties(raw)
    parts[Property.REPLY_TO] = encode_property(Property.REPLY_TO, "r")
    changed = join_properties(parts)
    assert headers in changed
    assert decode_properties(changed) == Properties(headers={"k": 1}, delivery_mode=2, reply_to="r")


@pytest.mark.parametrize("raw", [b"", b"\0", b"\x80\0", b"\x80\0\5abc", b"\0\1", b"\0\x40abc"])
def test_bad_properties_are_refused(raw: bytes) -> None:
    with pytest.raises(AmqpError):
        decode_properties(raw)


@given(conversations(), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_any_split_gives_the_same(data: bytes, random: Any) -> None:
    whole = outcome([data])
    assert outcome([data[i : i + 1] for i in range(len(data))]) == whole
    cuts = sorted(random.sample(range(len(data) + 1), min(3, len(data))))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert outcome(pieces) == whole


@given(conversations(), st.integers(0, 10_000), st.integers(0, 255))
@settings(max_examples=100)
def test_mutated_bytes_raise_nothing(data: bytes, where: int, value: int) -> None:
    where %= len(data)
    mutated = data[:where] + bytes([value]) + data[where + 1 :]
    for item in outcome([mutated])[0]:
        if isinstance(item, Content):
            with contextlib.suppress(AmqpError):
                decode_properties(item.properties)


@given(st.binary(max_size=200))
@example(b"\x01\0\0\0\0\0\0\xce")
def test_any_bytes_raise_nothing(data: bytes) -> None:
    items, error = outcome([data])
    assert outcome([data[i : i + 1] for i in range(len(data))]) == (items, error)


def test_contents_of_channels_interleave() -> None:
    decoder = Decoder()
    data = publish(1, key=b"a") + publish(2, key=b"b") + header(2, 1) + header(1, 2)
    data += frame(3, 1, b"x") + HEARTBEAT_FRAME + frame(3, 2, b"z") + frame(3, 1, b"y")
    items = decoder.decode(data)
    assert items == [
        Heartbeat(),
        Content(2, m.BasicPublish(0, "", "b", False, False), NO_PROPERTIES, b"z"),
        Content(1, m.BasicPublish(0, "", "a", False, False), NO_PROPERTIES, b"xy"),
    ]
    assert decoder.error is None


def test_a_frame_may_be_too_large_by_its_overhead() -> None:
    for size, passes in ((4096, True), (4097, False)):
        decoder = Decoder(frame_max=4096)
        items = decoder.decode(publish() + header(size) + frame(3, 1, bytes(size)))
        assert (len(items), decoder.error is None) == (passes, passes)


def test_a_body_that_is_too_large_is_passed_over() -> None:
    decoder = Decoder(max_body=3)
    data = publish() + header(4) + frame(3, 1, b"ab") + frame(3, 1, b"cd")
    items = decoder.decode(data + publish() + header(1) + frame(3, 1, b"x"))
    assert [type(item) for item in items] == [Oversized, Content]
    assert items[0] == Oversized(1, m.BasicPublish(0, "", "q", False, False), 4)


def test_incomplete_bodies_are_bounded_together() -> None:
    decoder = Decoder(max_partial=10)
    for channel in (1, 2, 3):
        decoder.decode(publish(channel) + header(9, channel) + frame(3, channel, b"1234"))
    assert decoder.error is not None
    assert decoder.error.code is Reply.RESOURCE_ERROR


def test_a_channel_that_is_being_closed_is_passed_over() -> None:
    decoder = Decoder()
    decoder.decode(publish() + header(3))
    decoder.ignore(1)
    close_ok = frame(1, 1, b"\0\x14\0\x29")
    items = decoder.decode(
        frame(3, 1, b"abc") + publish() + publish(2) + header(0, 2) + close_ok + publish()
        + header(0)
    )  # fmt: skip
    assert decoder.error is None
    assert [item.channel for item in items if not isinstance(item, Heartbeat)] == [2, 1, 1]
    assert isinstance(items[1], MethodFrame)
    assert isinstance(items[1].method, m.ChannelCloseOk)


@pytest.mark.parametrize("frame_max", [0, 4096, 131_072])
@pytest.mark.parametrize("size", [0, 1, 4088, 4089, 10_000])
def test_deliveries_are_contents(frame_max: int, size: int) -> None:
    encoder = DeliverEncoder(3, "consumer", frame_max)
    routing = encode_short_string("e") + encode_short_string("key")
    wire = routing + b"\x10\0\2"
    pieces: list[bytes] = []
    for tag in (1, 2):
        encoder.encode(pieces, tag, tag == 2, len(routing), wire, b"x" * size)
    encoder.encode(pieces, 3, False, len(routing), routing + b"\x08\0\5", b"y")
    expected = b"".join(
        encode_content(3, m.BasicDeliver("consumer", tag, tag == 2, "e", "key"),
                       b"\x10\0\2", b"x" * size, frame_max)
        for tag in (1, 2)
    )  # fmt: skip
    expected += encode_content(
        3, m.BasicDeliver("consumer", 3, False, "e", "key"), b"\x08\0\5", b"y", frame_max
    )
    assert b"".join(pieces) == expected
    if frame_max:
        assert Decoder(frame_max).decode(expected)


def test_reply_texts() -> None:
    error = AmqpError(Reply.NOT_FOUND, "no queue 'x' in vhost '/'")
    assert str(error) == "404 NOT_FOUND - no queue 'x' in vhost '/'"
    long = AmqpError(Reply.NOT_FOUND, "é" * 300)
    assert len(long.text.encode()) <= 255
    assert {code.value for code in CHANNEL_ERRORS} == {311, 313, 403, 404, 405, 406}
