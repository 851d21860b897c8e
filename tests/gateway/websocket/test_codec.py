"""The codec and the state machine, without a socket."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub import Message
from hubbub_gateway.representation import PublishedMessage, from_message
from hubbub_gateway.websocket.codec import (
    FrameError,
    decode_request,
    encode_answer,
    encode_message,
    encode_ok,
    encode_request,
    message_frame,
    message_start,
)
from hubbub_gateway.websocket.frames import (
    Ack,
    AnyRequest,
    Consume,
    Extend,
    Hello,
    MessageFrame,
    Nack,
    Ok,
    Ping,
    Publish,
    Read,
    SetCredit,
    Subscribe,
    Unsubscribe,
)
from hubbub_gateway.websocket.protocol import (
    Begun,
    Credited,
    Failed,
    Finished,
    LocalProtocolError,
    Published,
    ServerConnection,
    Settled,
    State,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
IDS = (
    st.none()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.integers(-(2**53) + 1, 2**53 - 1)
)
NUMBERS = st.integers(1, 2**53 - 1)
DURATIONS = st.floats(0, 1e9) | st.sampled_from(["500ms", "10s", "1.5h", "7 d"])
MESSAGES = st.builds(
    PublishedMessage,
    headers=st.dictionaries(TEXT, st.none() | st.booleans() | st.integers(-9, 9) | TEXT),
    content_type=st.none() | TEXT,
    correlation_id=st.none() | TEXT,
    ttl=st.none() | DURATIONS,
    priority=st.integers(0, 255),
    durable=st.booleans(),
)
BEGIN: dict[str, Any] = {"id": IDS, "subscription": st.none() | TEXT}
SETTLE: dict[str, Any] = {
    "id": IDS,
    "delivery": st.none() | NUMBERS | st.lists(NUMBERS, max_size=4),
    "up_to": st.none() | NUMBERS,
}
REQUESTS: st.SearchStrategy[AnyRequest] = st.one_of(
    st.builds(
        Hello,
        id=IDS,
        token=st.none() | TEXT,
        session=st.none() | st.from_regex(r"\A[A-Za-z0-9._~-]{1,20}\Z"),
        expires=st.none() | DURATIONS,
        binary=st.sampled_from(["auto", "always", "never"]),
    ),
    st.builds(Publish, id=IDS, to=TEXT, message=MESSAGES),
    st.builds(
        Subscribe, pattern=TEXT, filter=st.none() | st.just({"policy": {"a": ["b"]}}), **BEGIN
    ),
    st.builds(Consume, queue=TEXT, lease=st.none() | DURATIONS, **BEGIN),
    st.builds(Read, stream=TEXT, since=st.none() | st.integers(0, 2**53 - 1) | TEXT, **BEGIN),
    st.builds(Unsubscribe, id=IDS, subscription=TEXT),
    st.builds(Ack, **SETTLE),
    st.builds(Nack, reject=st.booleans(), delay=st.none() | DURATIONS, **SETTLE),
    st.builds(Extend, lease=DURATIONS, **SETTLE),
    st.builds(SetCredit, id=IDS, subscription=TEXT, credit=st.integers(0, 10_000)),
    st.builds(Ping, id=IDS),
)


@given(REQUESTS)
def test_what_is_encoded_is_decoded(request: AnyRequest) -> None:
    assert decode_request(encode_request(request)) == (request, None)


@given(IDS, TEXT, MESSAGES, st.binary())
def test_a_body_in_bytes_comes_back(
    id_: Any, to: str, message: PublishedMessage, body: bytes
) -> None:
    request = Publish(id=id_, to=to, message=message)
    assert decode_request(encode_request(request, body)) == (request, body)


@given(REQUESTS, st.data())
def test_mutated_frames_raise_only_the_codecs_error(
    request: AnyRequest, data: st.DataObject
) -> None:
    body = b"body" if isinstance(request, Publish) and data.draw(st.booleans()) else None
    encoded = encode_request(request, body)
    raw = bytearray(encoded.encode() if isinstance(encoded, str) else encoded)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw)))
        match data.draw(st.sampled_from(["insert", "delete", "replace"])):
            case "insert":
                raw[place:place] = data.draw(st.binary(min_size=1, max_size=4))
            case "delete":
                del raw[place : place + data.draw(st.integers(1, 8))]
            case _:
                raw[place : place + 1] = data.draw(st.binary(min_size=1, max_size=1))
    decodable: list[str | bytes] = [bytes(raw)]
    if isinstance(encoded, str):
        decodable.append(raw.decode(errors="surrogateescape"))
        decodable.append(raw.decode(errors="replace"))
    for each in decodable:
        with suppress(FrameError):
            decode_request(each)


@given(st.text() | st.binary())
def test_anything_raises_only_the_codecs_error(data: str | bytes) -> None:
    with pytest.raises(FrameError):
        decode_request(data)


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        ("", "object of JSON"),
        ("[]", "Expected `object`, got `array`"),
        ("{}", "missing required field `op`"),
        ('{"op":"shout","id":1}', "Invalid value 'shout'"),
        ('{"op":"publish","id":1}', "missing required field `to`"),
        ('{"op":"publish","to":"a","id":1,"extra":1}', "unknown field `extra`"),
        ('{"op":"publish","to":"a","id":1,"message":{"priority":256}}', "`int` <= 255"),
        ('{"op":"publish","to":"a","id":1,"message":{"address":"b"}}', "unknown field `address`"),
        ('{"op":"ack","id":1,"delivery":0}', ">= 1"),
        ('{"op":"hello","id":1,"session":"a/b"}', "regex"),
        ('{"op":"hello","id":1,"expires":"soon"}', "regex"),
        ('{"op":"consume","id":1,"queue":"a","credit":-1}', ">= 0"),
        ('{"op":"subscribe","id":1,"pattern":"a","filter":{}}', "length >= 1"),
        ("[" * 100_000, "array"),
        ('{"op":"publish","to":"a","message":{"body_json":' + "[" * 100_000, "nested"),
        ('{"op":"publish","to":"\ud800"}', "UTF-8"),
        (b"", "has 0 bytes"),
        (b"\0\0\0\xff{}", "should have 259"),
        (b"\0\0\0\x02{}", "missing required field"),
        (b"\0\0\0\x0d" + b'{"op":"ping"}', "Only `publish`"),
        (
            b'\0\0\0\x34{"op":"publish","to":"a","message":{"body":"text"}}  ' + b"x",
            "can't be in it too",
        ),
    ],
)
def test_what_is_wrong_is_said(data: str | bytes, detail: str) -> None:
    with pytest.raises(FrameError) as caught:
        decode_request(data)
    assert detail in caught.value.detail
    if '"id":1' in str(data):
        assert caught.value.id == 1


@given(IDS, st.integers(0, 2**63))
def test_the_short_way_to_an_ok(id_: Any, number: int) -> None:
    assert encode_ok(id_, number) == encode_answer(Ok(id=id_, message=str(number))) or id_ is None
    assert json.loads(encode_ok(id_, number)) == {"op": "ok", "id": id_, "message": str(number)}


@given(
    TEXT,
    st.none() | NUMBERS,
    st.booleans(),
    st.binary() | TEXT.map(str.encode),
    st.sampled_from(["auto", "always", "never"]),
)
def test_message_frames_made_of_parts_are_those_of_the_model(
    name: str, delivery: int | None, retained: bool, body: bytes, binary: Any
) -> None:
    message = Message(address="a/b", body=body, id=7, published=8, headers={"n": 1})
    form = from_message(message)
    start = message_start(name, delivery=delivery, retained=retained)
    frame = message_frame(start, encode_message(form, body, binary))
    separate = isinstance(frame, bytes)
    assert separate == (binary == "always" or (binary == "auto" and form.body is msgspec.UNSET))
    if isinstance(frame, bytes):
        end = 4 + int.from_bytes(frame[:4], "big")
        assert frame[end:] == body
        frame = frame[4:end].decode()
        form = msgspec.structs.replace(form, body=msgspec.UNSET, body_base64=msgspec.UNSET)
    expected = MessageFrame(
        subscription=name,
        delivery=msgspec.UNSET if delivery is None else delivery,
        retained=retained,
        message=form,
    )
    assert msgspec.json.decode(frame, type=MessageFrame) == expected
    assert json.loads(frame) == json.loads(encode_answer(expected))


# The state machine


def opened(max_subscriptions: int = 3) -> ServerConnection:
    machine = ServerConnection(max_subscriptions)
    assert isinstance(machine.receive('{"op":"hello"}'), Hello)
    machine.welcome()
    return machine


def failure(event: object) -> str:
    assert isinstance(event, Failed)
    return f"{event.id}: {event.problem.kind}: {event.problem.detail}"


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        ('{"op":"ping","id":1}', "1: bad-frame: The first frame must be `hello`."),
        ('{"op":"hello","id":1,"token":"a","username":"b"}', "not both"),
        ('{"op":"hello","id":1,"username":"b"}', "with its password"),
        ('{"op":"hello","id":1,"password":"b"}', "with its password"),
        ('{"op":"hello","id":1,"clean":true}', "need a `session`"),
        ('{"op":"hello","id":1,"expires":1}', "need a `session`"),
        ("x", "JSON"),
    ],
)
def test_the_first_frame(data: str, detail: str) -> None:
    machine = ServerConnection(1)
    assert detail in failure(machine.receive(data))
    assert machine.state is State.EXPECT_HELLO


def test_hello_comes_once() -> None:
    machine = opened()
    assert "comes once" in failure(machine.receive('{"op":"hello","id":1}'))


def test_what_the_server_must_not_do() -> None:
    machine = ServerConnection(1)
    with pytest.raises(LocalProtocolError):
        machine.welcome()
    machine.receive('{"op":"hello"}')
    with pytest.raises(LocalProtocolError):
        machine.receive('{"op":"ping"}')
    machine.close()
    with pytest.raises(LocalProtocolError):
        machine.receive('{"op":"ping"}')


def begin(machine: ServerConnection, **members: Any) -> Begun:
    event = machine.receive(json.dumps({"op": "consume", "queue": "q", **members}))
    assert isinstance(event, Begun), event
    return event


def test_names_of_subscriptions() -> None:
    machine = opened()
    begin(machine, subscription="1")
    assert begin(machine).subscription.name == "2"
    again = json.dumps({"op": "consume", "queue": "q", "subscription": "2", "id": 5})
    assert "5: exists: There is a subscription '2'" in failure(machine.receive(again))
    assert begin(machine).subscription.name == "3"
    assert "at most 3" in failure(machine.receive('{"op":"consume","queue":"q"}'))
    ended = machine.receive('{"op":"unsubscribe","subscription":"2"}')
    assert isinstance(ended, Finished)
    assert ended.subscription.ended
    assert begin(machine).subscription.name == "4"
    assert "no subscription '2'" in failure(
        machine.receive('{"op":"unsubscribe","subscription":"2"}')
    )


def test_what_a_session_kept_can_be_asked_for_again() -> None:
    machine = opened()
    kept = machine.add("s", Subscribe, acked=True)
    event = machine.receive('{"op":"subscribe","pattern":"a","subscription":"s","ack":true}')
    assert isinstance(event, Begun)
    assert (event.subscription, event.known) == (kept, True)
    assert "needs an `ack`" in failure(
        machine.receive('{"op":"subscribe","pattern":"a","subscription":"s"}')
    )
    assert "exists" in failure(machine.receive('{"op":"read","stream":"a","subscription":"s"}'))


def settled(event: object) -> tuple[list[int], list[Any]]:
    assert isinstance(event, Settled), event
    return list(event.numbers), list(event.tags)


def test_settling() -> None:
    machine = opened()
    one, two = begin(machine).subscription, begin(machine).subscription
    assert [machine.deliver(one, "a"), machine.deliver(two, "b"), machine.deliver(one, "c")] == [
        1,
        2,
        3,
    ]
    extend = machine.receive('{"op":"extend","delivery":1,"lease":5}')
    assert settled(extend) == ([1], ["a"])
    assert settled(machine.receive('{"op":"ack","up_to":2,"subscription":"1"}')) == ([1], ["a"])
    assert settled(machine.receive('{"op":"ack","up_to":0.0}'.replace("0.0", "1"))) == ([], [])
    over = machine.receive('{"op":"ack","delivery":[1,2],"id":9}')
    assert failure(over).startswith("9: lease-over: No such delivery")
    assert isinstance(over, Failed)
    assert over.problem.members == {"deliveries": [1]}
    assert settled(machine.receive('{"op":"nack","delivery":[3,2,3]}')) == ([3, 2], ["c", "b"])
    assert settled(machine.receive('{"op":"ack","up_to":9}')) == ([], [])


@pytest.mark.parametrize(
    ("frame", "detail"),
    [
        ({"op": "ack"}, "one of"),
        ({"op": "ack", "delivery": 1, "up_to": 1}, "one of"),
        ({"op": "ack", "delivery": 1, "subscription": "1"}, "goes with `up_to`"),
        ({"op": "ack", "up_to": 1, "subscription": "x"}, "no subscription 'x'"),
        ({"op": "nack", "delivery": 1, "reject": True, "delay": 1}, "no `delay`"),
        ({"op": "nack", "delivery": 1, "reason": "bad"}, "goes with `reject`"),
        ({"op": "subscribe", "pattern": "a", "credit": 1}, "needs an `ack`"),
        ({"op": "credit", "subscription": "x", "credit": 1}, "no subscription"),
        ({"op": "credit", "subscription": "no", "credit": 1}, "has no credit"),
    ],
)
def test_what_does_not_fit_together(frame: dict[str, Any], detail: str) -> None:
    machine = opened()
    machine.deliver(begin(machine).subscription, "a")
    begin(machine, subscription="no", ack=False)
    assert detail in failure(machine.receive(json.dumps(frame)))
    assert settled(machine.receive('{"op":"ack","delivery":1}')) == ([1], ["a"])


def test_credit_and_the_end_of_a_subscription() -> None:
    machine = opened()
    subscription = begin(machine).subscription
    machine.deliver(subscription, "a")
    event = machine.receive('{"op":"credit","subscription":"1","credit":7}')
    assert isinstance(event, Credited)
    assert event.request.credit == 7
    ended = machine.receive('{"op":"unsubscribe","subscription":"1"}')
    assert isinstance(ended, Finished)
    assert list(ended.tags) == ["a"]
    assert not machine.has_subscriptions


def test_publish_with_a_body() -> None:
    event = opened().receive(encode_request(Publish(to="a"), b"\xff"))
    assert isinstance(event, Published)
    assert event.body == b"\xff"


@given(st.lists(REQUESTS | st.text() | st.binary(), max_size=30))
def test_no_client_makes_the_machine_raise(messages: list[Any]) -> None:
    machine = opened(5)
    for each in messages:
        data = each if isinstance(each, str | bytes) else encode_request(each)
        event = machine.receive(data)
        if isinstance(event, Begun) and event.subscription.acked:
            machine.deliver(event.subscription, object())
    assert len(machine.subscriptions) <= 5
