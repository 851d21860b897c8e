"""Messages of the bus as PUBLISH packets, and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from hubbub import Message
from hubbub_mqtt.delivery import Styles, encode_messages
from hubbub_mqtt.mapping import Lossy, is_bare, message_of
from hubbub_mqtt.packets import Publish, Version
from hubbub_mqtt.properties import NO_PROPERTIES, Properties

from .raw import properties

NOW = 1_000_000


def encoded(message: Message, version: Version, now: int, lossy: Lossy) -> bytes:
    """The PUBLISH that a client gets at QoS 0."""
    style = Styles().get(version, retain=False, identifiers=())
    return encode_messages("t", [message], style, now, lossy).data


def delivered(message: Message, *, lossy: list[str] | None = None) -> Properties:
    """The properties that a client of 5.0 gets."""
    from hubbub_mqtt.decode import Decoder

    lost: list[str] = [] if lossy is None else lossy
    (packet,) = Decoder(version=Version.V5).decode(encoded(message, Version.V5, NOW, lost.append))
    assert isinstance(packet, Publish)
    return packet.properties


def sent(**fields: Any) -> Message:
    return message_of(Publish("t", b"x", 1, properties=properties(**fields)), NOW)


def test_a_packet_without_properties() -> None:
    message = message_of(Publish("a", b"x", 2, retain=True), NOW)
    assert message == Message(address="a", body=b"x", qos=2, retain=True)
    assert is_bare(message)
    assert delivered(message) is NO_PROPERTIES


def test_properties_become_fields_of_the_message() -> None:
    message = sent(
        message_expiry_interval=5,
        content_type="text/plain",
        response_topic="answers",
        correlation_data=b"\0\1",
        user_properties=(("a", "1"), ("b", "2"), ("a", "3")),
        payload_format_indicator=1,
    )
    assert message.expires_at == NOW + 5000
    assert message.content_type == "text/plain"
    assert message.reply_to == "answers"
    assert message.correlation_id == b"\0\1"
    assert message.headers == {"a": ["1", "3"], "b": "2"}
    assert not is_bare(message)


def test_fields_by_reserved_names() -> None:
    pairs = (
        ("hubbub.group", "g"), ("hubbub.deduplication-id", "d"), ("hubbub.priority", "7"),
        ("hubbub.timestamp", "123"), ("hubbub.type", "t"), ("hubbub.message-id", "m"),
        ("hubbub.delay", "50"),
    )  # fmt: skip
    message = sent(user_properties=pairs)
    assert (message.group, message.dedup_id, message.priority) == ("g", "d", 7)
    assert (message.timestamp, message.type, message.message_id) == (123, "t", "m")
    assert (message.delay, message.headers) == (50, {})
    assert delivered(message).user_properties == pairs


@pytest.mark.parametrize(
    "pair",
    [("hubbub.priority", "256"), ("hubbub.priority", "-1"), ("hubbub.timestamp", "9" * 17),
     ("hubbub.timestamp", "٣"), ("hubbub.other", "x")],
)  # fmt: skip
def test_what_no_field_can_hold_stays_a_header(pair: tuple[str, str]) -> None:
    message = sent(user_properties=(pair,))
    assert message.headers == dict([pair])
    assert (message.priority, message.timestamp) == (0, None)


def test_a_message_of_another_protocol() -> None:
    lossy: list[str] = []
    message = Message(
        address="t",
        body=b"",
        content_type="text/plain",
        content_encoding="gzip",
        correlation_id="grüße",
        reply_to="$queue/answers",
        message_id="m",
        group="g",
        priority=3,
        expires_at=NOW + 1500,
        headers={
            "text": "x",
            "yes": True,
            "number": 12,
            "float": 1.5,
            "nothing": None,
            "many": ["a", "b"],
            "bytes": b"\xff",
            "time": datetime(2024, 1, 2, tzinfo=UTC),
            "table": {"a": [1, b"x"]},
        },
    )
    got = delivered(message, lossy=lossy)
    assert (got.content_type, got.correlation_data) == ("text/plain", "grüße".encode())
    assert (got.response_topic, got.message_expiry_interval) == ("$queue/answers", 2)
    assert got.user_properties == (
        ("text", "x"),
        ("yes", "true"),
        ("number", "12"),
        ("float", "1.5"),
        ("nothing", "null"),
        ("many", "a"),
        ("many", "b"),
        ("bytes", "/w=="),
        ("time", "2024-01-02T00:00:00+00:00"),
        ("table", '{"a":[1,"eA=="]}'),
        ("hubbub.content-encoding", "gzip"),
        ("hubbub.message-id", "m"),
        ("hubbub.group", "g"),
        ("hubbub.priority", "3"),
    )
    assert lossy == ["header type", "header type"]


def test_what_cannot_be_carried_is_counted() -> None:
    lossy: list[str] = []
    message = Message(
        address="t",
        body=b"",
        correlation_id=b"x" * 70_000,
        reply_to="a/#",
        content_type="a\0b",
        headers={"nul": "\0", "long": "x" * 70_000, "surrogate": "\ud800", "\0": "x"},
    )
    assert delivered(message, lossy=lossy) is NO_PROPERTIES
    assert sorted(lossy) == sorted(["correlation id", "reply to", "content type"] + ["header"] * 4)


def test_what_is_changed_on_the_way_is_not_hidden_by_the_bytes_it_came_in() -> None:
    import msgspec

    message = sent(content_type="a")
    assert delivered(message).content_type == "a"
    changed = msgspec.structs.replace(message, wire=None, headers={"k": "v"})
    got = delivered(changed)
    assert (got.content_type, got.user_properties) == ("a", (("k", "v"),))


def test_expiry_counts_down_and_never_below_nothing() -> None:
    message = sent(message_expiry_interval=10, content_type="a")
    assert b"\x02\0\0\0\x07" in encoded(message, Version.V5, NOW + 3_001, print)
    assert b"\x02\0\0\0\0" in encoded(message, Version.V5, NOW + 60_000, print)
    longest = sent(message_expiry_interval=0xFFFF_FFFF)
    assert delivered(longest).message_expiry_interval == 0xFFFF_FFFF


def test_clients_before_5_get_topic_and_body_and_the_rest_is_counted() -> None:
    lossy: list[str] = []
    bare = message_of(Publish("t", b"x", 1), NOW)
    assert encoded(bare, Version.V311, NOW, lossy.append) == b"\x30\x04\0\x01tx"
    assert lossy == []
    message = sent(
        content_type="a",
        message_expiry_interval=1,
        user_properties=(("k", "v"), ("l", "w"), ("hubbub.priority", "3"), ("hubbub.group", "g")),
    )
    assert encoded(message, Version.V31, NOW, lossy.append) == b"\x30\x04\0\x01tx"
    assert sorted(lossy) == ["content type", "expiry", "group", "headers", "priority"]
