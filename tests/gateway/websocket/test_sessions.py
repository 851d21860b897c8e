"""Sessions: what outlives a connection, and a hub."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hubbub.engine.contract import DEFAULT_REALM
from hubbub.testing import HubProcess, ServedHub

from .conftest import TIMEOUT, Client, NewClient
from .test_limits import slow_client


def queues(hub: ServedHub) -> list[str]:
    return hub.call(lambda: [each.name for each in hub.hub.engine.queues(DEFAULT_REALM, "$hub")])


def test_a_session_goes_on(new_client: NewClient, name: str) -> None:
    first, publisher = new_client(session=name), new_client()
    first.done("subscribe", pattern=f"{name}/#", ack=True, subscription="all", credit=5)
    for body in ("a", "b"):
        publisher.done("publish", to=f"{name}/x", message={"body": body})
    assert first.bodies(2) == ["a", "b"]
    first.done("ack", delivery=1)
    first.vanish()
    publisher.done("publish", to=f"{name}/x", message={"body": "c"})
    second = Client(first.url)
    welcome = second.hello(session=name)
    assert welcome["resumed"] is True
    assert welcome["subscriptions"] == [
        {"subscription": "all", "pattern": f"{name}/#", "credit": 5}
    ]
    again = second.message()
    assert (again["body"], again["redelivered"], again["receives"]) == ("b", True, 2)
    assert second.message()["body"] == "c"
    second.done("ack", up_to=2)
    second.close()
    third = new_client(session=name)
    third.quiet()


def test_a_subscription_of_a_session_can_be_made_again(
    new_client: NewClient, hub: ServedHub, name: str
) -> None:
    first = new_client(session=name)
    first.done("subscribe", pattern=f"{name}/a", ack=True, subscription="s")
    first.done("publish", to=f"{name}/a", message={"body": "a"})
    first.close()
    second = new_client(session=name)
    answer = second.done("subscribe", pattern=f"{name}/b", ack=True, subscription="s", credit=7)
    assert (answer["resumed"], answer["credit"]) == (True, 7)
    assert second.message()["body"] == "a"
    assert second.done("publish", to=f"{name}/a")["matched"] is False
    second.done("publish", to=f"{name}/b", message={"body": "b"})
    assert second.message()["body"] == "b"
    second.done("credit", subscription="s", credit=9)
    second.done("ack", up_to=2)
    second.close()
    third = Client(second.url)
    (kept,) = third.hello(session=name)["subscriptions"]
    assert (kept["credit"], kept["pattern"]) == (9, f"{name}/b")
    third.done("unsubscribe", subscription="s")
    third.close()
    assert not [each for each in queues(hub) if name in each]


def test_a_clean_session(new_client: NewClient, name: str) -> None:
    first = new_client(session=name)
    first.done("subscribe", pattern=name, ack=True)
    first.done("subscribe", pattern=name)
    first.done("publish", to=name)
    first.close()
    second = Client(first.url)
    assert "resumed" not in second.hello(session=name, clean=True)
    assert second.done("publish", to=name)["matched"] is False
    second.close()


def test_without_a_session_all_ends_with_the_connection(
    new_client: NewClient, hub: ServedHub, name: str
) -> None:
    client = new_client()
    client.done("subscribe", pattern=name, ack=True)
    client.done("publish", to=name)
    client.message()
    (queue,) = [each for each in queues(hub) if "temporary" in each]
    client.vanish()
    other = new_client()
    while queue in queues(hub):
        other.done("ping")
    assert other.done("publish", to=name)["matched"] is False


def test_a_session_is_taken_over(new_client: NewClient, name: str) -> None:
    first = new_client(session=name)
    first.done("subscribe", pattern=name, ack=True)
    first.done("publish", to=name, message={"body": "x"})
    first.message()
    second = new_client(session=name)
    assert second.message()["redelivered"] is True
    assert first.closed() == (4409, "another connection has taken over the session")


def test_sessions_expire(new_client: NewClient, name: str) -> None:
    client, other = new_client(session=name, expires="300ms"), new_client()
    client.done("subscribe", pattern=name, ack=True)
    client.done("publish", to=name, message={"body": "late", "delay": "500ms"})
    assert client.message()["body"] == "late"  # a session that is in use does not expire
    client.close()
    assert "matched" not in other.done("publish", to=name)
    deadline = time.monotonic() + TIMEOUT
    while "matched" not in other.done("publish", to=name):
        assert time.monotonic() < deadline, "the session did not end"


def test_a_session_is_kept_as_long_as_was_said_last(
    new_client: NewClient, hub: ServedHub, name: str
) -> None:
    def expires() -> set[int | None]:
        found = hub.call(lambda: list(hub.hub.engine.queues(DEFAULT_REALM, "$hubbub.v1/session")))
        return {each.settings.expires for each in found if f"/{name}/" in each.name}

    for members, subscription, expected in (
        ({}, "a", 86_400_000),
        ({"expires": "2h"}, "b", 7_200_000),
        ({}, "c", 7_200_000),
        ({"expires": "1000d"}, "c", 30 * 86_400_000),
    ):
        client = new_client(session=name, **members)
        client.done("subscribe", pattern=name, ack=True, subscription=subscription)
        assert expires() == {expected}
        client.close()


def test_a_client_that_does_not_read_is_taken_over_too(
    new_client: NewClient, hub: ServedHub, name: str
) -> None:
    with slow_client(hub) as slow:
        slow.send(json.dumps({"op": "hello", "session": name}))
        slow.send(json.dumps({"op": "subscribe", "pattern": name, "ack": True, "credit": 2_000}))
        publisher = new_client()
        body = "x" * 10_000
        for _ in range(2_000):
            publisher.send("publish", to=name, message={"body": body})
        publisher.done("ping")
        for _ in range(100):
            slow.send('{"op":"ping","id":1}')
        heir = new_client(session=name)
        assert heir.bodies(2_000) == [body] * 2_000


# kill -9


@contextmanager
def process(folder: Path) -> Iterator[HubProcess]:
    config = """
    admin.enabled = false
    plugins.enable = ["gateway"]
    gateway.listener.bind = ["127.0.0.1:0"]
    """
    with HubProcess(folder, config) as running:
        yield running


def test_a_session_outlives_kill_9(tmp_path: Path, name: str) -> None:
    total = 150
    seen: set[str] = set()
    with process(tmp_path) as hub:
        url = hub.url("WebSocket")
        reader, writer = Client(url), Client(url)
        reader.hello(session=name)
        writer.hello()
        reader.done("subscribe", pattern=f"{name}/#", ack=True, subscription="s", credit=20)
        confirmed: set[int] = set()
        for number in range(total):
            writer.send("publish", id=number, to=f"{name}/{number}", message={"body": str(number)})
        for _ in range(40):
            message = reader.message()
            seen.add(message["body"])
            reader.done("ack", delivery=message["frame"]["delivery"])
        while len(confirmed) < 120:
            frame = writer.expect("ok")
            confirmed.add(frame["id"])
        hub.kill()
    with process(tmp_path) as hub:
        reader = Client(hub.url("WebSocket"))
        welcome = reader.hello(session=name)
        assert [each["subscription"] for each in welcome["subscriptions"]] == ["s"]
        reader.send("publish", id="last", to=f"{name}/last", message={"body": "last"})
        again = 0
        while True:
            frame = reader.read()
            if frame["op"] != "message":
                continue
            body = frame["message"]["body"]
            again += body in seen
            seen.add(body)
            reader.send("ack", delivery=frame["delivery"])
            if body == "last":
                break
        reader.close()
    assert {str(number) for number in confirmed} <= seen
    assert again <= 20
