"""The forms of a message by themselves: what is written is read back, whatever it holds."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hubbub import Delivery, Headers, Message, Position, Receipt
from hubbub_gateway.cursors import CursorError, read_cursor, write_cursor
from hubbub_gateway.durations import DurationError, milliseconds
from hubbub_gateway.fields import encode_name, read_fields, write_fields
from hubbub_gateway.negotiation import choose
from hubbub_gateway.representation import (
    PublishedMessage,
    RepresentationError,
    from_delivery,
    from_message,
    to_message,
)
from hubbub_gateway.router import NoMethodError, NoPathError, Router
from hubbub_gateway.tokens import TokenError, lease_token, read_token

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | TEXTS
    | st.binary(max_size=20)
    | st.datetimes(timezones=st.just(UTC))
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXTS | st.sampled_from(["$base64", "$x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
TIMES = st.none() | st.integers(0, 2**53 - 1)
MESSAGES = st.builds(
    Message,
    address=st.just("a/b"),
    body=st.binary(max_size=50),
    headers=st.dictionaries(TEXTS, VALUES, max_size=3),
    content_type=st.none() | TEXTS,
    content_encoding=st.none() | TEXTS,
    correlation_id=st.none() | TEXTS | st.binary(max_size=10),
    reply_to=st.none() | TEXTS,
    message_id=st.none() | TEXTS,
    type=st.none() | TEXTS,
    app_id=st.none() | TEXTS,
    user_id=st.none() | TEXTS,
    timestamp=TIMES,
    expires_at=TIMES,
    priority=st.integers(0, 255),
    durable=st.booleans(),
    retain=st.booleans(),
    group=st.none() | TEXTS,
    dedup_id=st.none() | TEXTS,
)
RECEIVE_ONLY = {
    "id", "address", "exchange", "protocol", "client", "published", "deaths", "lease", "receives",
    "redelivered", "lease_until", "shard", "sequence", "partition_key", "arrived",
}  # fmt: skip


@given(MESSAGES)
def test_the_json_form_loses_nothing(message: Message) -> None:
    if isinstance(message.correlation_id, bytes):
        with suppress(UnicodeDecodeError):  # what is text comes as text
            message.correlation_id = message.correlation_id.decode()
    described = msgspec.to_builtins(from_message(message))
    form = {name: value for name, value in described.items() if name not in RECEIVE_ONLY}
    data = msgspec.json.encode(form)
    assert to_message(msgspec.json.decode(data, type=PublishedMessage), "a/b", 0) == message


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_know(value: float) -> None:
    message = Message(address="a", body=b"", headers={"x": value})
    described = msgspec.to_builtins(from_message(message))
    form = msgspec.convert({"headers": described["headers"]}, PublishedMessage)
    found = to_message(form, "a", 0).headers["x"]
    assert str(found) == str(value)


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else 1


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"body": "a", "body_base64": ""}, "not several"),
        ({"body_base64": "a"}, "not base64"),
        ({"ttl": 1, "expires_at": 1}, "not both"),
        ({"headers": {"a": {"$what": 1}}}, "no \\$base64"),
        ({"headers": {"a": {"$base64": "?"}}}, "not base64"),
        ({"headers": {"a": {"$time": "soon"}}}, "\\$time"),
        ({"headers": {"a": {"$integer": "x"}}}, "\\$integer"),
        ({"headers": {"a": nested(40)}}, "deep"),
        ({"headers": {"a": 2**64}}, "64 bits"),
        ({"headers": {"a": {"$integer": str(-(2**63) - 1)}}}, "64 bits"),
        ({"ttl": "1 week"}, None),
        ({"priority": 256}, None),
        ({"id": "1"}, None),
        ({"priority": True}, None),
    ],
)
def test_what_is_no_message(form: dict[str, Any], reason: str | None) -> None:
    if reason is None:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(form, PublishedMessage)
    else:
        with pytest.raises(RepresentationError, match=reason):
            to_message(msgspec.convert(form, PublishedMessage), "a", 0)


def test_time_to_live_and_delay() -> None:
    form = msgspec.convert({"ttl": "1.5s", "delay": 2, "body_json": {"a": 1}}, PublishedMessage)
    message = to_message(form, "a", 1_000)
    assert (message.expires_at, message.delay) == (2_500, 2_000)
    assert (message.body, message.content_type) == (b'{"a":1}', "application/json")


def read(headers: list[tuple[str, str]]) -> dict[str, Any]:
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    told = ("hubbub-id", "hubbub-address", "hubbub-published", "hubbub-protocol", "hubbub-client")
    return read_fields(Headers([each for each in raw if each[0].decode() not in told]), 0)


@given(MESSAGES)
@example(Message(address="a", body=b"", content_type="text/%", content_encoding="%"))
def test_the_headers_of_http_carry_text_and_every_field(message: Message) -> None:
    texts = {name: value for name, value in message.headers.items() if isinstance(value, str)}
    message = msgspec.structs.replace(message, headers=texts)
    if isinstance(message.correlation_id, bytes):
        with suppress(UnicodeDecodeError):
            message.correlation_id = message.correlation_id.decode() or None
    lost: list[str] = []
    fields = read(write_fields(message, lost.append))
    assert set(lost) <= {"content type", "content encoding"}
    for name in ("content_type", "content_encoding"):
        value = getattr(message, name)
        assert fields.get(name) == (value if name.replace("_", " ") not in lost else None)
    for name in ("correlation_id", "reply_to", "message_id", "type", "app_id", "user_id",
                 "timestamp", "expires_at", "group", "dedup_id"):  # fmt: skip
        assert fields.get(name) == getattr(message, name), name
    assert fields.get("headers", {}) == texts
    assert fields.get("priority", 0) == message.priority
    assert fields.get("durable", True) == message.durable
    assert fields.get("retain", False) == message.retain


@pytest.mark.parametrize(
    ("written", "key"), [("a-b", "a-b"), ('"a-b"', "a-b"), (r'"a\"b"', 'a"b'), ("%22a%22", '"a"')]
)
def test_idempotency_keys(written: str, key: str) -> None:
    assert read([("Idempotency-Key", written)]) == {"dedup_id": key}


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_headers_that_are_no_text_are_written_and_counted(headers: dict[str, Any]) -> None:
    lost: list[str] = []
    written = write_fields(Message(address="a", body=b"", headers=headers), lost.append)
    for name, value in written:
        assert name.isascii()
        assert value.isascii()
        assert value == value.strip()
        assert "\n" not in value
    assert set(lost) <= {"header type"}


@given(TEXTS)
def test_names_survive_the_lower_case_of_http(name: str) -> None:
    spelled = encode_name(name)
    fields = read([(f"Hubbub-Header-{spelled}".lower(), "x")])
    assert fields["headers"] == {name: "x"}


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_lease_tokens(queue: int, message: int, token: int) -> None:
    receipt = Receipt(queue, message, token)
    text = lease_token(receipt)
    assert read_token(text) == receipt
    for wrong in (text[:-1], text + "A", "A" + text[1:] if text[0] != "A" else "B" + text[1:], ""):
        with pytest.raises(TokenError):
            read_token(wrong)


def test_a_delivery_has_its_lease() -> None:
    delivery = Delivery(
        "q", Message(address="$queue/q", body=b"x"), Receipt(1, 2, 3), 2, True, 5, 9
    )
    described = msgspec.to_builtins(from_delivery(delivery))
    assert described["lease"] == lease_token(Receipt(1, 2, 3))
    assert (described["receives"], described["redelivered"]) == (2, True)
    assert described["lease_until"] == 9


@given(
    st.dictionaries(
        st.integers(0, 10**9),
        st.tuples(st.integers(0, 10**20), st.booleans()),
        min_size=1,
        max_size=5,
    )
)
def test_cursors(places: dict[int, tuple[int, bool]]) -> None:
    positions = {
        shard: Position(shard, sequence, inclusive=inclusive)
        for shard, (sequence, inclusive) in places.items()
    }
    assert read_cursor(write_cursor(positions)) == positions


@pytest.mark.parametrize("text", ["", "1", "0.1_", "0.1_0.2", "a.b", "0-1", "٣.1", "0." + "9" * 50])
def test_what_is_no_cursor(text: str) -> None:
    with pytest.raises(CursorError):
        read_cursor(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1000),
        (0.25, 250),
        ("10", 10_000),
        ("500ms", 500),
        ("1.5h", 5_400_000),
        ("7 d", 604_800_000),
    ],
)
def test_durations(value: float | str, expected: int) -> None:
    assert milliseconds(value) == expected


@pytest.mark.parametrize("value", ["", "s", "-1", "1 week", "1e3", 10**10, "99999999999d", -1])
def test_what_is_no_duration(value: float | str) -> None:
    with pytest.raises(DurationError):
        milliseconds(value)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "a/x"),
        ("*/*", "a/x"),
        ("b/*", "b/y"),
        ("b/y", "b/y"),
        ("a/x;q=0.5, b/y", "b/y"),
        ("a/x;q=0, */*", "b/y"),
        ("a/*;q=0.1, a/x;q=0.9, b/y;q=0.5", "a/x"),
        ("c/z", None),
        ("A/X", "a/x"),
        ("a/x;q=nonsense", None),
    ],
)
def test_media_types_are_negotiated(accept: str, expected: str | None) -> None:
    assert choose(accept, ("a/x", "b/y")) == expected


class Routed(msgspec.Struct, frozen=True):
    method: str
    path: str
    safe: bool = True


def test_routes() -> None:
    router = Router(
        [
            Routed("GET", "/a"),
            Routed("GET", "/a/{name}"),
            Routed("DELETE", "/a/{name}"),
            Routed("GET", "/a/special", safe=False),
            Routed("POST", "/a/{name}/b"),
            Routed("GET", "/t/{rest...}"),
            Routed("GET", "/t"),
        ]
    )
    assert router.find("GET", "/a/x%2Fy").levels == {"name": ("x/y",)}
    assert router.find("HEAD", "/a").operation.path == "/a"
    assert router.find("GET", "/a/special").operation.path == "/a/special"
    assert router.find("GET", "/t/a/b/").levels == {"rest": ("a", "b", "")}
    assert router.allowed("/a/x") == ("DELETE", "GET", "HEAD", "OPTIONS")
    for path in ("/", "", "/a/", "/b", "/a/x/c", "/t/", "*"):
        with pytest.raises(NoPathError):
            router.find("GET", path)
    with pytest.raises(NoMethodError) as raised:
        router.find("HEAD", "/a/special")
    assert raised.value.allowed == ("GET", "OPTIONS")
    with pytest.raises(ValueError, match="two operations"):
        router.add(Routed("GET", "/a/{other}"))
