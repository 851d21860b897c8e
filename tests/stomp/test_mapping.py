from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub import AddressError, Death, Message
from hubbub_stomp.decode import Decoder
from hubbub_stomp.destinations import Place, parse_destination, spell
from hubbub_stomp.errors import StompError
from hubbub_stomp.frames import Version
from hubbub_stomp.mapping import Outgoing, destination_line, message_tail, property_of

from .vectors import V10, V11, V12


@pytest.mark.parametrize(
    ("text", "address", "scope", "spelled"),
    [
        ("/queue/a.b", "$queue/a.b", None, "/queue/a.b"),
        ("queue/a", "$queue/a", None, "/queue/a"),
        ("a", "$queue/a", None, "/queue/a"),
        ("/queue/a%2Fb", "$queue/a/b", None, "/queue/a%2Fb"),
        ("/queue/a%252Fb", "$queue/a%2Fb", None, "/queue/a%252Fb"),
        ("/amq/queue/a", "$queue/a", None, "/queue/a"),
        ("/reply-queue/stomp.reply.x", "$queue/stomp.reply.x", None, "/reply-queue/stomp.reply.x"),
        ("/topic/a.b", "a/b", None, "/topic/a.b"),
        ("topic/a.b", "a/b", None, "/topic/a.b"),
        ("/topic/v1%2E2.temp", "v1.2/temp", None, "/topic/v1%2E2.temp"),
        ("/topic/a%2Fb.c", "a%2Fb/c", None, "/topic/a%2Fb.c"),
        ("/topic/$x", "%24x", None, "/topic/$x"),
        ("/exchange/logs/app.error", "logs/app/error", "logs", "/exchange/logs/app.error"),
        ("/exchange/a%2Fb/c", "a%2Fb/c", "a/b", "/exchange/a%2Fb/c"),
        ("/exchange/amq.topic/a.b", "a/b", "amq.topic", "/topic/a.b"),
        ("/reply-queue/$amqp%2Freply%2Fx", "$amqp/reply/x", None, "/reply-queue/$amqp%2Freply%2Fx"),
        ("/stream/s", "$stream/s", None, "/stream/s"),
        ("/stream/s/key", "$stream/s/key", None, "/stream/s/key"),
    ],
)
def test_destinations(text: str, address: str, scope: str | None, spelled: str) -> None:
    destination = parse_destination(text)
    assert (destination.address(), destination.scope) == (address, scope)
    assert spell(address, scope) == spelled
    assert parse_destination(spelled).address() == address


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("/topic/a.*.c", "a/+/c"),
        ("/topic/a.#", "a/#"),
        ("/topic/#", "#"),
        ("/topic/a+", "a%2B"),
        ("/exchange/logs/*.error", "logs/+/error"),
        ("/exchange/logs", "logs/#"),
        ("/exchange/amq.topic/a.*", "a/+"),
        ("/exchange/amq.topic", "#"),
    ],
)
def test_patterns(text: str, pattern: str) -> None:
    assert parse_destination(text).pattern() == pattern


@pytest.mark.parametrize(
    "text",
    [
        "/nope/a", "/", "", "/queue/", "/topic/", "/exchange/", "nope/x", "/queue", "/queue/a/b",
        "/topic/a/b", "/exchange/a/b/c", "/exchange//foo", "/stream/a/b/c", "/amq/queue/",
    ],
)  # fmt: skip
def test_no_destination(text: str) -> None:
    with pytest.raises(StompError, match=r"not a valid|cannot be blank"):
        parse_destination(text)


@pytest.mark.parametrize(
    "text",
    [
        "/queue/$mqtt%2Fd",
        "$mqtt",
        "/amq/queue/$x",
        "/reply-queue/$SYS%2Fx",
        "/reply-queue/$queue%2F$x",
    ],
)
def test_queues_of_other_plugins_are_refused(text: str) -> None:
    with pytest.raises(StompError, match="reserved"):
        parse_destination(text)


def test_temp_queues_are_a_place_of_their_own() -> None:
    assert parse_destination("/temp-queue/a").place is Place.TEMP_QUEUE


TEXT = st.text(st.sampled_from("ab/.%25F+#$*é"), min_size=1, max_size=12)


@given(TEXT)
def test_every_queue_has_one_spelling(name: str) -> None:
    address = "$queue/" + name.replace("+", "").replace("#", "")
    if address == "$queue/" or address.startswith("$queue/$"):
        return
    assert parse_destination(spell(address)).address() == address


@given(TEXT)
def test_every_topic_of_ours_has_one_spelling(key: str) -> None:
    try:
        topic = parse_destination(f"/topic/{key}").address()
    except (AddressError, StompError):
        return
    assert parse_destination(spell(topic)).address() == topic


# Frames to messages


def outgoing(headers: dict[str, str]) -> Message:
    return Outgoing({"destination": "/queue/a"} | headers, "$queue/a", None).message(b"x", 1_000)


def test_fields() -> None:
    message = outgoing(
        {
            "content-type": "text/plain", "content-encoding": "utf-8", "correlation-id": "c",
            "reply-to": "/topic/r.s", "type": "t", "app-id": "a", "user-id": "u",
            "amqp-message-id": "m", "timestamp": "1700000000", "priority": "300",
            "persistent": "true", "expiration": "500", "JMSXGroupID": "g",
            "AMQ_SCHEDULED_DELAY": "7", "own": "header", "receipt": "1", "message-id": "forged",
            "redelivered": "true", "x-death": "forged", "x-message-ttl": "5", "content-length": "1",
        }
    )  # fmt: skip
    assert message.headers == {"own": "header"}
    assert (message.body, message.address) == (b"x", "$queue/a")
    assert (message.content_type, message.content_encoding) == ("text/plain", "utf-8")
    assert (message.correlation_id, message.reply_to) == ("c", "r/s")
    assert (message.type, message.app_id, message.user_id) == ("t", "a", "u")
    assert (message.message_id, message.timestamp) == ("m", 1_700_000_000_000)
    assert (message.priority, message.durable, message.expires_at) == (255, True, 1_500)
    assert (message.group, message.delay) == ("g", 7)


def test_defaults() -> None:
    message = outgoing({})
    assert (message.durable, message.priority, message.expires_at) == (False, 0, None)
    assert outgoing({"expires": "0"}).expires_at is None
    assert outgoing({"expires": "1700000000000"}).expires_at == 1_700_000_000_000
    assert outgoing({"timestamp": "1700000000123"}).timestamp == 1_700_000_000_123
    assert outgoing({"persistent": "false"}).durable is False


@pytest.mark.parametrize("name", ["priority", "expiration", "expires", "timestamp"])
def test_numbers_are_numbers(name: str) -> None:
    with pytest.raises(StompError, match=f'"{name}" must be a number'):
        outgoing({name: "soon"})


def test_transformation_is_refused() -> None:
    with pytest.raises(StompError, match="Not supported: transformation 'jms-map-json'"):
        outgoing({"transformation": "jms-map-json"})


# Messages to frames


def received(message: Message, version: Version = V12) -> tuple[dict[str, str], bytes, list[str]]:
    lossy: list[str] = []
    line = destination_line(message.address, message.scope, version, lossy.append)
    data = b"MESSAGE\n" + line + message_tail(message, version, lossy.append)
    (frame,) = Decoder(version=version).decode(data)
    headers = dict(frame.headers)
    assert headers.pop("content-length") == str(len(frame.body))
    return headers, frame.body, lossy


def test_by_stomp_all_headers_arrive_as_they_were_sent() -> None:
    headers = {"a": "1:2\n", "expiration": "99", "priority": "4", "timestamp": "5", "b\\": ""}
    for version in (V12, V11):
        got, body, lossy = received(outgoing(headers), version)
        assert (got, body, lossy) == ({"destination": "/queue/a"} | headers, b"x", [])
    got, _, lossy = received(outgoing(headers), V10)
    assert "a" not in got
    assert got["b\\"] == ""
    assert lossy == ["header"]


def test_from_another_protocol() -> None:
    message = Message(
        address="logs/a", scope="logs", body=b"\0", content_type="image/png", priority=3,
        correlation_id=b"\xff", reply_to="$queue/r", message_id="m", timestamp=1_700_000_000_000,
        expires_at=1_800_000_000_001, type="t", group="g",
        headers={
            "text": "a", "number": 1.5, "flag": True, "none": None, "bytes": b"\x01",
            "when": datetime(2026, 1, 2, tzinfo=UTC), "list": [1], "message-id": "forged",
        },
    )  # fmt: skip
    headers, body, lossy = received(message)
    assert body == b"\0"
    assert headers == {
        "destination": "/exchange/logs/a", "content-type": "image/png", "correlation-id": "/w==",
        "reply-to": "/queue/r", "amqp-message-id": "m", "timestamp": "1700000000",
        "priority": "3", "persistent": "true", "expires": "1800000000001", "type": "t",
        "JMSXGroupID": "g", "text": "a", "number": "1.5", "flag": "true", "none": "null",
        "bytes": "AQ==", "when": "2026-01-02T00:00:00+00:00", "list": "[1]",
    }  # fmt: skip
    assert sorted(lossy) == ["correlation id type", "header name", "header type", "header type"]


def test_a_dead_letter_tells_where_it_comes_from() -> None:
    message = outgoing({"own": "1"})
    message.deaths = (Death("b", "expired", "$queue/b", 5), Death("a", "rejected", "x/y", 4, 2))
    headers, _, _ = received(message)
    assert headers["x-first-death-queue"] == "a"
    assert headers["x-first-death-reason"] == "rejected"
    assert '"count":2' in headers["x-death"]
    assert headers["own"] == "1"


def test_properties_of_selectors() -> None:
    message = outgoing({"own": "1", "priority": "3", "correlation-id": "c", "JMSType": "mine"})
    message.id = 7
    assert property_of(message, "own") == "1"
    assert property_of(message, "JMSPriority") == 3
    assert property_of(message, "JMSMessageID") == "7"
    assert property_of(message, "correlation-id") == "c"
    assert property_of(message, "JMSType") == "mine"
    assert property_of(message, "JMSDestination") == "/queue/a"
    assert property_of(message, "nothing") is None
