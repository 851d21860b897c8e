"""The WebSocket API on real sockets."""

from __future__ import annotations

import itertools
import json
from typing import Any

import httpx
import pytest

from hubbub.testing.hub import ServedHub
from tests.gateway.conftest import url_of

from .conftest import Client, NewClient

# hello


def test_welcome(new_client: NewClient, hub: ServedHub) -> None:
    client = Client(hub.endpoint("WebSocket").url)
    welcome = client.hello(id="h", client="browser")
    assert welcome == {
        "op": "welcome",
        "id": "h",
        "server": "hubbub",
        "user": "anonymous",
        "realm": "default",
        "client": "browser",
        "limits": {
            "max_frame_bytes": 16 * 1024 * 1024,
            "max_subscriptions": 1000,
            "max_credit": 10_000,
        },
    }
    client.close()


def test_a_first_frame_that_is_no_hello(hub: ServedHub) -> None:
    client = Client(hub.endpoint("WebSocket").url)
    problem = client.refused("ping", id=1)
    assert (problem["type"], problem["status"]) == ("/problems/bad-frame", 400)
    assert client.closed() == (4400, "The first frame must be `hello`.")


def test_requests_may_follow_hello_at_once(hub: ServedHub, name: str) -> None:
    client = Client(hub.endpoint("WebSocket").url)
    client.send("hello")
    client.send("subscribe", pattern=name)
    client.send("publish", id=1, to=name)
    assert client.read()["op"] == "welcome"
    assert client.message()["address"] == name
    assert client.expect("ok")["id"] == 1
    client.close()


def test_without_the_subprotocol(hub: ServedHub) -> None:
    answer = httpx.get(f"{url_of(hub)}/ws")
    assert answer.status_code == 426
    assert answer.headers["upgrade"] == "websocket"
    assert answer.json()["type"] == "/problems/upgrade"


# topics


def test_publish_and_subscribe(ws: Client, other: Client, name: str) -> None:
    assert ws.done("subscribe", pattern=f"{name}/#") == {
        "op": "subscribed",
        "id": "request-subscribe",
        "subscription": "1",
    }
    answer = other.done(
        "publish",
        to=f"{name}/a",
        message={
            "body": "grün",
            "headers": {"n": 1, "deep": {"list": [True, None]}},
            "content_type": "text/plain",
            "correlation_id": "c",
            "reply_to": "$queue/answers",
            "priority": 3,
        },
    )
    message = ws.message()
    assert message.pop("frame")["subscription"] == "1"
    assert message.pop("published") > 1_700_000_000_000
    assert message.pop("client").startswith("websocket/")
    assert message == {
        "id": answer["message"],
        "address": f"{name}/a",
        "body": "grün",
        "headers": {"n": 1, "deep": {"list": [True, None]}},
        "content_type": "text/plain",
        "correlation_id": "c",
        "reply_to": "$queue/answers",
        "priority": 3,
        "protocol": "websocket",
    }


def test_nobody_subscribed(ws: Client, name: str) -> None:
    assert ws.done("publish", to=name)["matched"] is False


def test_without_an_id_only_errors_are_answered(ws: Client, name: str) -> None:
    ws.send("subscribe", pattern=name)
    ws.send("publish", to=name)
    assert ws.message()["frame"]["subscription"] == "1"
    ws.send("publish", to="a/#")
    error = ws.expect("error")
    assert "id" not in error
    assert error["problem"]["type"] == "/problems/bad-address"
    ws.quiet()


def test_binary_bodies(new_client: NewClient, name: str) -> None:
    auto, always, never = (new_client(binary=each) for each in ("auto", "always", "never"))
    for client in (auto, always, never):
        client.done("subscribe", pattern=name)
    publisher = new_client()
    publisher.send_binary({"op": "publish", "id": 1, "to": name}, b"\xff\x00")
    assert publisher.expect("ok")["id"] == 1
    publisher.send_binary({"op": "publish", "to": name}, b"text")
    publisher.done("publish", to=name, message={"body_base64": "/wA="})
    assert auto.bodies(3) == [b"\xff\x00", "text", b"\xff\x00"]
    assert always.bodies(3) == [b"\xff\x00", b"text", b"\xff\x00"]
    assert [never.message().get("body_base64") for _ in range(3)] == ["/wA=", None, "/wA="]


def test_a_body_of_json(ws: Client, name: str) -> None:
    ws.done("subscribe", pattern=name)
    ws.done("publish", to=name, message={"body_json": {"a": [1, "ü"]}})
    message = ws.message()
    assert (json.loads(message["body"]), message["content_type"]) == (
        {"a": [1, "ü"]},
        "application/json",
    )


def test_filters(ws: Client, name: str) -> None:
    ws.done("subscribe", pattern=name, filter={"policy": {"level": ["high"]}})
    ws.done("subscribe", pattern=name, filter={"policy": {"level": ["low"]}}, ack=True)
    for level in ("high", "low", "none"):
        ws.done("publish", to=name, message={"body": level, "headers": {"level": level}})
    found = {message["frame"]["subscription"]: message["body"] for message in (
        ws.message(), ws.message()
    )}  # fmt: skip
    assert found == {"1": "high", "2": "low"}
    ws.quiet()


@pytest.mark.parametrize("ack", [False, True])
@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"pattern": "a/b#"}, "bad-address"),
        ({"pattern": "$queue/a"}, "bad-address"),
        ({"pattern": "a", "filter": {"policy": {"a": []}}}, "bad-filter"),
        ({"pattern": "a", "filter": {"policy": 5}}, "bad-filter"),
        ({"pattern": "a", "filter": {"unknown": 5}}, "bad-filter"),
    ],
)
def test_subscriptions_that_are_refused(
    ws: Client, hub: ServedHub, members: dict[str, object], kind: str, ack: bool
) -> None:
    before = hub.call(lambda: len(list(hub.hub.all_queues())))
    assert ws.refused("subscribe", ack=ack, **members)["type"] == f"/problems/{kind}"
    assert hub.call(lambda: len(list(hub.hub.all_queues()))) == before
    assert ws.done("subscribe", pattern="a")["subscription"] == "2"


def test_retained_messages(ws: Client, other: Client, name: str) -> None:
    for key in ("a", "b"):
        ws.done("publish", to=f"{name}/{key}", message={"body": key, "retain": True})
    for ack in (False, True):
        other.done("subscribe", pattern=f"{name}/+", ack=ack)
        frames = [other.message() for _ in range(2)]
        assert sorted((each["body"], each["frame"]["retained"]) for each in frames) == [
            ("a", True),
            ("b", True),
        ]
        other.done("unsubscribe", subscription=frames[0]["frame"]["subscription"])
    other.done("subscribe", pattern=f"{name}/+", retained="none")
    ws.done("publish", to=f"{name}/a", message={"body": "new", "retain": True})
    message = other.message()
    assert (message["body"], message["retain"], "retained" in message["frame"]) == (
        "new",
        True,
        False,
    )


def test_unsubscribe(ws: Client, name: str) -> None:
    ws.done("subscribe", pattern=name, subscription="mine")
    ws.done("publish", to=name)
    assert ws.message()["frame"]["subscription"] == "mine"
    ws.done("unsubscribe", subscription="mine")
    assert ws.done("publish", to=name)["matched"] is False
    ws.quiet()
    assert ws.refused("unsubscribe", subscription="mine")["type"] == "/problems/not-found"


# queues


def test_a_queue(ws: Client, other: Client, name: str) -> None:
    for number in range(3):
        ws.done("publish", to=f"$queue/{name}", message={"body": str(number)})
    assert other.done("consume", queue=name, credit=2)["credit"] == 2
    first, second = other.message(), other.message()
    assert [first["body"], second["body"]] == ["0", "1"]
    assert (first["receives"], first["redelivered"]) == (1, False)
    other.quiet()
    other.done("ack", delivery=first["frame"]["delivery"])
    assert other.message()["body"] == "2"
    assert other.refused("ack", delivery=first["frame"]["delivery"])["deliveries"] == [1]
    other.done("nack", delivery=second["frame"]["delivery"])
    again = other.message()
    assert (again["body"], again["receives"], again["redelivered"]) == ("1", 2, True)
    other.done("ack", up_to=again["frame"]["delivery"])
    other.quiet()


def test_credit(ws: Client, name: str) -> None:
    for number in range(5):
        ws.done("publish", to=f"$queue/{name}", message={"body": str(number)})
    ws.done("consume", queue=name, credit=0)
    ws.quiet()
    ws.done("credit", subscription="1", credit=3)
    assert ws.bodies(3) == ["0", "1", "2"]
    ws.quiet()
    ws.done("credit", subscription="1", credit=0)
    ws.done("ack", up_to=3)
    ws.quiet()
    ws.done("credit", subscription="1", credit=1_000_000)
    assert ws.bodies(2) == ["3", "4"]


def test_what_is_not_acknowledged_goes_back(new_client: NewClient, name: str) -> None:
    first, second = new_client(), new_client()
    first.done("publish", to=f"$queue/{name}", message={"body": "x"})
    first.done("consume", queue=name)
    assert first.message()["redelivered"] is False
    second.done("consume", queue=name)
    second.quiet()
    first.vanish()
    message = second.message()
    assert (message["receives"], message["redelivered"]) == (2, True)
    second.done("unsubscribe", subscription="1")
    third = new_client()
    third.done("consume", queue=name)
    assert third.message()["receives"] == 3


def test_rejected_messages_go_to_the_dead_letters(ws: Client, hub: ServedHub, name: str) -> None:
    from hubbub import QueueSettings
    from hubbub.engine.contract import DEFAULT_REALM

    settings = QueueSettings(dead_letter=f"$queue/{name}-dead")
    hub.run(lambda: hub.hub.engine.create_queue(DEFAULT_REALM, name, settings))
    hub.run(lambda: hub.hub.engine.create_queue(DEFAULT_REALM, f"{name}-dead", QueueSettings()))
    ws.done("publish", to=f"$queue/{name}", message={"body": "x"})
    ws.done("consume", queue=name)
    ws.message()
    ws.done("nack", delivery=1, reject=True, reason="bad taste")
    ws.done("consume", queue=f"{name}-dead")
    (death,) = ws.message()["deaths"]
    assert (death["queue"], death["reason"]) == (name, "bad taste")


def test_a_delayed_nack_makes_room(ws: Client, name: str) -> None:
    for body in ("a", "b"):
        ws.done("publish", to=f"$queue/{name}", message={"body": body})
    ws.done("consume", queue=name, credit=1)
    assert ws.message()["body"] == "a"
    ws.done("nack", delivery=1, delay="300ms")
    assert ws.message()["body"] == "b"
    ws.done("ack", delivery=2)
    message = ws.message()
    assert (message["body"], message["receives"]) == ("a", 2)


def test_leases_end_and_are_extended(ws: Client, name: str) -> None:
    ws.done("publish", to=f"$queue/{name}", message={"body": "a"})
    ws.done("consume", queue=name, lease=0.2)
    first = ws.message()
    assert first["lease_until"] - first["published"] >= 200
    again = ws.message()
    assert again["receives"] == 2
    assert ws.refused("ack", delivery=1)["status"] == 410
    ws.done("extend", delivery=2, lease="1h")
    ws.done("extend", delivery=2, lease=0)
    assert ws.message()["receives"] == 3
    ws.done("ack", delivery=3)


def test_consumers_without_ack(ws: Client, name: str) -> None:
    ws.done("publish", to=f"$queue/{name}", message={"body": "a"})
    assert "credit" not in ws.done("consume", queue=name, ack=False)
    message = ws.message()
    assert "delivery" not in message["frame"]
    assert "lease" not in message
    assert ws.refused("credit", subscription="1", credit=1)["type"] == "/problems/bad-frame"
    ws.done("unsubscribe", subscription="1")
    ws.done("consume", queue=name)
    ws.quiet()


def test_exclusive_consumers(ws: Client, other: Client, name: str) -> None:
    ws.done("consume", queue=name, exclusive=True)
    assert other.refused("consume", queue=name)["type"] == "/problems/refused"
    ws.done("unsubscribe", subscription="1")
    other.done("consume", queue=name)


def test_a_queue_that_is_deleted(ws: Client, hub: ServedHub, name: str) -> None:
    from hubbub.engine.contract import DEFAULT_REALM

    ws.done("consume", queue=name)
    queue = hub.hub.engine.find_queue(DEFAULT_REALM, name)
    assert queue is not None
    hub.run(lambda: hub.hub.engine.delete_queue(queue))
    ended = ws.expect("ended")
    assert ended["subscription"] == "1"
    assert ended["detail"]
    ws.done("consume", queue=name, subscription="1")


@pytest.mark.parametrize(
    ("op", "members", "kind"),
    [
        ("consume", {"queue": "$mqtt/someone"}, "forbidden"),
        ("consume", {"queue": "a", "lease": 0}, "bad-frame"),
        ("consume", {"queue": "a", "lease": 1, "ack": False}, "bad-frame"),
        ("publish", {"to": "$queue/$hubbub.v1/session//x/y"}, "forbidden"),
        ("publish", {"to": "$queue/a", "message": {"retain": True}}, "bad-message"),
        ("publish", {"to": "a", "message": {"body": "x", "body_base64": ""}}, "bad-message"),
        ("publish", {"to": "a", "message": {"ttl": 1, "expires_at": 1}}, "bad-message"),
        ("publish", {"to": "$queue/"}, "bad-address"),
        ("publish", {"to": "$stream/a", "message": {"delay": 1}}, "bad-message"),
        ("read", {"stream": "nowhere"}, "not-found"),
        ("nack", {"delivery": 5}, "lease-over"),
    ],
)
def test_requests_that_are_refused(
    ws: Client, op: str, members: dict[str, object], kind: str
) -> None:
    assert ws.refused(op, **members)["type"] == f"/problems/{kind}"
    ws.quiet()


def test_settling_of_many_at_once(ws: Client, name: str) -> None:
    """Acknowledgements that come together are done as one, and answered each for its own."""
    for number in range(6):
        ws.done("publish", to=f"$queue/{name}", message={"body": str(number)})
    ws.done("consume", queue=name, lease=0.2, credit=6)
    assert len(ws.bodies(6)) == 6
    assert len(ws.bodies(1)) == 1  # the leases of the first six are over
    frames = [
        {"op": "ack", "id": 1, "delivery": 1},
        {"op": "ack", "id": 2, "delivery": 7},
        {"op": "nack", "id": 3, "delivery": 2},
        {"op": "ping", "id": 4},
    ]
    for frame in frames:
        ws.send(**frame)  # type: ignore[arg-type]
    answers: dict[Any, Any] = {}
    while len(answers) < 4:
        frame = ws.read()
        if "id" in frame:
            answers[frame["id"]] = frame
    assert answers[1]["problem"]["deliveries"] == [1]
    assert answers[2]["op"] == "ok"
    assert answers[3]["op"] == "error"


# streams


@pytest.fixture
def stream(hub: ServedHub, name: str) -> str:
    from hubbub import StreamSettings
    from hubbub.engine.contract import DEFAULT_REALM

    hub.run(lambda: hub.hub.engine.create_stream(DEFAULT_REALM, name, StreamSettings(), 2))
    return name


def test_reading_a_stream(ws: Client, other: Client, stream: str) -> None:
    for number in range(4):
        ws.done("publish", to=f"$stream/{stream}/key{number}", message={"body": str(number)})
    other.send("read", stream=stream, subscription="all", **{"from": "oldest"})
    records = [other.message() for _ in range(4)]
    assert [each["body"] for each in records] == ["0", "1", "2", "3"]
    assert [each["partition_key"] for each in records] == [f"key{number}" for number in range(4)]
    other.done("read", stream=stream, subscription="rest", next=records[1]["frame"]["next"])
    assert [each["message"]["body"] for each in (other.read(), other.read())] == ["2", "3"]
    other.done("unsubscribe", subscription="rest")
    other.done("read", stream=stream, subscription="now", since=records[0]["arrived"] + 60_000)
    other.done("unsubscribe", subscription="now")
    ws.done("read", stream=stream, next=records[3]["frame"]["next"])
    ws.done("read", stream=stream)
    ws.done("publish", to=f"$stream/{stream}/key0", message={"body": "new"})
    assert ws.bodies(2) == ["new", "new"]
    assert other.message()["body"] == "new"
    ws.quiet()
    other.quiet()


def test_reading_with_credit(ws: Client, stream: str) -> None:
    for number in range(4):
        ws.done("publish", to=f"$stream/{stream}/key", message={"body": str(number)})
    ws.done("read", stream=stream, ack=True, credit=2, **{"from": "oldest"})
    assert ws.bodies(2) == ["0", "1"]
    ws.quiet()
    ws.done("ack", delivery=1)
    assert ws.bodies(1) == ["2"]
    ws.done("credit", subscription="1", credit=3)
    assert ws.bodies(1) == ["3"]
    assert ws.refused("read", stream=stream, next="x")["type"] == "/problems/bad-request"
    assert ws.refused("read", stream=stream, since="now")["type"] == "/problems/bad-request"
    assert ws.refused("read", stream=stream, next="0.1", since=1)["type"] == "/problems/bad-frame"


def test_reading_over_a_split(ws: Client, hub: ServedHub, name: str) -> None:
    from hubbub import StreamSettings
    from hubbub.engine.contract import DEFAULT_REALM

    make = hub.hub.engine.create_stream
    stream = hub.run(lambda: make(DEFAULT_REALM, name, StreamSettings(), 1))
    numbers = itertools.count()

    def publish(count: int) -> list[str]:
        sent = [str(next(numbers)) for _ in range(count)]
        for body in sent:
            ws.done("publish", to=f"$stream/{name}/k{body}", message={"body": body})
        return sent

    ws.done("read", stream=name)
    before = publish(3)
    assert ws.bodies(3) == before
    hub.run(lambda: stream.split(0, 2**127))
    between = publish(4)
    assert sorted(ws.bodies(4)) == between
    hub.run(lambda: stream.merge(1, 2))
    after = publish(3)
    assert ws.bodies(3) == after
    ws.done("read", stream=name, subscription="again", **{"from": "oldest"})
    replayed = ws.bodies(10)
    assert replayed[:3] == before
    assert sorted(replayed[3:7]) == between
    assert replayed[7:] == after
    ws.quiet()


# many at once


def test_a_batch_of_requests_is_answered_in_full(ws: Client, name: str) -> None:
    ws.done("subscribe", pattern=name)
    count = 2_000
    for number in range(count):
        ws.send("publish", id=number, to=name, message={"body": str(number)})
    bodies: list[str] = []
    answered: list[int] = []
    while len(bodies) < count or len(answered) < count:
        frame = ws.read()
        if frame["op"] == "message":
            bodies.append(frame["message"]["body"])
        else:
            assert frame["op"] == "ok"
            answered.append(frame["id"])
    assert bodies == [str(number) for number in range(count)]
    assert answered == list(range(count))


def test_answers_come_before_the_close(hub: ServedHub, name: str) -> None:
    client = Client(hub.endpoint("WebSocket").url)
    client.send("hello")
    client.send("publish", id=1, to=f"$queue/{name}")
    client.socket.close()
    found = [json.loads(each) for each in client.socket]
    assert [each["op"] for each in found] == ["welcome", "ok"]
