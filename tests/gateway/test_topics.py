"""Topics: publish, retained messages, Server-Sent Events, durable subscriptions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent, connect_sse

from hubbub.config import load_config
from hubbub.testing.hub import ServedHub, serve_in_thread

from .conftest import SETTINGS, TIMEOUT, url_of


class Listener:
    """The events of one answer."""

    def __init__(self, events: Iterator[ServerSentEvent]) -> None:
        self._events = events

    def event(self) -> ServerSentEvent:
        """The next event that holds something."""
        return next(event for event in self._events if event.data)

    def message(self) -> dict[str, Any]:
        event = self.event()
        assert event.event == "message"
        found: dict[str, Any] = event.json()
        return found


@contextmanager
def listen(hub: ServedHub, path: str, last: str | None = None, **query: Any) -> Iterator[Listener]:
    headers = {} if last is None else {"Last-Event-ID": last}
    with (
        httpx.Client(base_url=url_of(hub), timeout=TIMEOUT) as client,
        connect_sse(client, "GET", path, params=query, headers=headers) as source,
    ):
        assert source.response.status_code == 200, source.response.read()
        events = source.iter_sse()
        assert next(events).retry == 2000  # then it is subscribed
        yield Listener(events)


def publish(client: httpx.Client, topic: str, body: str = "x", **headers: str) -> dict[str, Any]:
    answer = client.post(f"/topics/{topic}", content=body, headers=headers)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_events_of_a_pattern(hub: ServedHub, client: httpx.Client, name: str) -> None:
    assert publish(client, f"{name}/a")["matched"] is False
    with listen(hub, f"/topics/{name}/+/c") as one, listen(hub, f"/topics/{name}/%23") as all_:
        assert "matched" not in publish(client, f"{name}/a/c", "é", **{"Hubbub-Header-k": "v"})
        publish(client, f"{name}/a", "other")
        publish(client, f"{name}/b/c", "last")
        first = one.message()
        assert (first["address"], first["body"]) == (f"{name}/a/c", "é")
        assert first["headers"] == {"k": "v"}
        assert one.message()["body"] == "last"
        assert [all_.message()["body"] for _ in range(3)] == ["é", "other", "last"]


def test_several_patterns_and_a_filter(hub: ServedHub, client: httpx.Client, name: str) -> None:
    policy = json.dumps({"policy": {"level": ["high"]}})
    patterns = [f"{name}/a/#", f"{name}/b"]
    with listen(hub, "/topics", pattern=patterns, filter=policy) as events:
        publish(client, f"{name}/a/1", "low", **{"Hubbub-Header-level": "low"})
        publish(client, f"{name}/c", "elsewhere", **{"Hubbub-Header-level": "high"})
        publish(client, f"{name}/b", "high", **{"Hubbub-Header-level": "high"})
        assert events.message()["body"] == "high"
    overlapping = [f"{name}/#", f"{name}/a", "+/a"]
    for query in ({}, {"filter": policy}):
        with listen(hub, "/topics", pattern=overlapping, **query) as events:
            for body in ("once", "twice"):
                publish(client, f"{name}/a", body, **{"Hubbub-Header-level": "high"})
            assert [events.message()["body"] for _ in range(2)] == ["once", "twice"]


@pytest.mark.parametrize(
    "path",
    [
        "/topics/a?filter={}",
        "/topics/a?retained=true",
        "/topics/a?subscription=s",
        "/topics?pattern=a&retained=true",
        "/topics?pattern=a&filter={}",
    ],
)
def test_a_subscription_is_asked_for_as_events(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 400
    assert "text/event-stream" in answer.json()["detail"]


def test_retained_messages_come_first_if_asked_for(
    hub: ServedHub, client: httpx.Client, name: str
) -> None:
    for level in ("high", "low"):
        headers = {"Hubbub-Retain": "true", "Hubbub-Header-level": level}
        publish(client, f"{name}/{level}", level, **headers)
    policy = json.dumps({"policy": {"level": ["high"]}})
    with (
        listen(hub, f"/topics/{name}/%23", retained="true", filter=policy) as events,
        listen(hub, "/topics", pattern=f"{name}/#", retained="true") as all_,
        listen(hub, f"/topics/{name}/%23") as none,
    ):
        publish(client, f"{name}/new", "new", **{"Hubbub-Header-level": "high"})
        assert [events.message()["body"] for _ in range(2)] == ["high", "new"]
        bodies = [all_.message()["body"] for _ in range(3)]
        assert (sorted(bodies[:2]), bodies[2]) == (["high", "low"], "new")
        assert none.message()["body"] == "new"


def test_levels_with_a_slash(hub: ServedHub, client: httpx.Client, name: str) -> None:
    with listen(hub, f"/topics/{name}/+") as events:
        publish(client, f"{name}/a/b", "two levels")
        publish(client, f"{name}/a%2Fb", "one level")
        message = events.message()
        assert (message["address"], message["body"]) == (f"{name}/a%2Fb", "one level")


def test_retained_messages(client: httpx.Client, name: str) -> None:
    assert client.get(f"/topics/{name}/a").status_code == 404
    body = b"\x00\xff"
    headers = {"Content-Type": "image/x-tea", "Hubbub-Type": "t", "Hubbub-Retain": "true"}
    client.post(f"/topics/{name}/a", content=body, headers=headers)
    client.post(f"/topics/{name}/b?retain=true", content=b"b")
    client.post(f"/topics/{name}/b", content=b"not kept")
    answer = client.get(f"/topics/{name}/a")
    assert (answer.status_code, answer.content) == (200, body)
    assert answer.headers["content-type"] == "image/x-tea"
    assert answer.headers["hubbub-type"] == "t"
    head = client.head(f"/topics/{name}/a")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == "2"
    listed = client.get("/topics", params={"pattern": f"{name}/#"}).json()["messages"]
    assert [each["address"] for each in listed] == [f"{name}/a", f"{name}/b"]
    assert listed[0]["body_base64"] == "AP8="
    assert client.delete(f"/topics/{name}/a").status_code == 204
    assert client.delete(f"/topics/{name}/a").status_code == 404
    assert client.get(f"/topics/{name}/a").status_code == 404


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/topics/a/+", "bad-address"),
        ("/topics/a%00", "bad-address"),
        ("/topics/$queue/orders", "bad-address"),
        ("/topics/$stream/log", "bad-address"),
        ("/topics/%FF", "bad-address"),
    ],
)
def test_what_is_no_topic(client: httpx.Client, path: str, kind: str) -> None:
    for answer in (client.post(path, content=b"x"), client.get(path)):
        assert (answer.status_code, answer.json()["type"]) == (400, f"/problems/{kind}")


@pytest.mark.parametrize(
    ("path", "query", "kind"),
    [
        ("/topics/a+b", {}, "bad-address"),
        ("/topics/a", {"filter": "x"}, "bad-filter"),
        ("/topics/a", {"filter": '{"policy": {"a": "b"}}'}, "bad-filter"),
        ("/topics/a", {"filter": "{}"}, "bad-filter"),
        ("/topics/a", {"filter": '{"nonsense": 1}'}, "refused"),
        ("/topics", {}, "bad-request"),
        ("/topics", {"pattern": "a/ /b"}, "bad-address"),
    ],
)
def test_subscriptions_that_are_refused(
    client: httpx.Client, path: str, query: dict[str, str], kind: str
) -> None:
    answer = client.get(path, params=query, headers={"Accept": "text/event-stream"})
    assert answer.json()["type"] == f"/problems/{kind}", answer.text


def test_a_durable_subscription_goes_on_where_it_was(
    hub: ServedHub, client: httpx.Client, name: str
) -> None:
    path = f"/topics/{name}/%23"
    with listen(hub, path, subscription=name) as events:
        publish(client, f"{name}/a", "1")
        first = events.event()
        assert first.json()["body"] == "1"
        assert first.json()["address"] == f"{name}/a"
    publish(client, f"{name}/b", "2")
    publish(client, f"{name}/c", "3")
    with listen(hub, path, last=first.id, subscription=name) as events:
        assert [events.message()["body"] for _ in range(2)] == ["2", "3"]
        publish(client, f"{name}/d", "4")
        assert events.message()["body"] == "4"
    with listen(hub, f"/subscriptions/{name}/events") as events:
        assert [events.message()["body"] for _ in range(4)] == ["1", "2", "3", "4"]
    with listen(hub, f"/subscriptions/{name}/events", **{"from": "latest"}) as events:
        publish(client, f"{name}/d", "5")
        assert events.message()["body"] == "5"
    with listen(hub, f"/subscriptions/{name}/events", last_event_id="0.4") as events:
        assert events.message()["body"] == "5"


def test_durable_subscriptions_are_managed(hub: ServedHub, client: httpx.Client, name: str) -> None:
    path = f"/subscriptions/{name}"
    form = {"pattern": f"{name}/#", "filter": {"policy": {"k": ["v"]}}, "retention": "1h"}
    made = client.put(path, json=form)
    assert (made.status_code, made.headers["location"]) == (201, path)
    assert made.json() == {
        "name": name,
        "pattern": f"{name}/#",
        "filter": {"policy": {"k": ["v"]}},
        "retention": 3600.0,
        "max_bytes": 256 * 2**20,
    }
    publish(client, f"{name}/a", "no")
    publish(client, f"{name}/a", "yes", **{"Hubbub-Header-k": "v"})
    again = client.put(path, json={"pattern": f"{name}/a", "retention": "2h"})
    assert (again.status_code, again.json()["filter"]) == (200, None)
    publish(client, f"{name}/a", "all")
    publish(client, f"{name}/b", "other topic")
    with listen(hub, path + "/events") as events:
        assert [events.message()["body"] for _ in range(2)] == ["yes", "all"]
        listed = client.get("/subscriptions", params={"prefix": name}).json()
        assert name in [each["name"] for each in listed["subscriptions"]]
        assert client.get(path).json()["retention"] == 7200.0
        assert client.delete(path).status_code == 204
        ended = events.event()
        assert (ended.event, ended.json()["type"]) == ("problem", "/problems/not-found")
    for method in ("GET", "DELETE"):
        assert client.request(method, path).status_code == 404
    assert client.get(path + "/events").status_code == 404
    bad = client.get(path, headers={"Last-Event-ID": "nonsense"})
    assert bad.status_code == 404


def test_a_durable_subscription_keeps_what_lives(
    hub: ServedHub, client: httpx.Client, name: str
) -> None:
    for form in ({"retention": "25h"}, {"max_bytes": 2**40}):
        refused = client.put(f"/subscriptions/{name}", json={"pattern": name, **form})
        assert refused.json()["type"] == "/problems/bad-message"
    client.put(f"/subscriptions/{name}", json={"pattern": name})
    publish(client, name, "too late", **{"Hubbub-Expires-At": "1700000000000"})
    publish(client, name, "in time", **{"Hubbub-Ttl": "1h"})
    with listen(hub, f"/subscriptions/{name}/events") as events:
        assert events.message()["body"] == "in time"


def test_an_event_id_that_is_none(hub: ServedHub, client: httpx.Client, name: str) -> None:
    client.put(f"/subscriptions/{name}", json={"pattern": name})
    for last in ("nonsense", "0.99", "0-1"):
        answer = client.get(f"/subscriptions/{name}/events", headers={"Last-Event-ID": last})
        assert answer.status_code == 400, last


def test_silence_is_broken_and_a_slow_reader_loses_its_own_alone() -> None:
    settings = {
        **SETTINGS,
        "gateway": {
            **SETTINGS["gateway"],
            "events": {"heart_beat": "50ms", "max_waiting_bytes": "1KiB"},
        },
    }
    with (
        serve_in_thread(load_config(settings=settings)) as hub,
        httpx.Client(base_url=url_of(hub), timeout=TIMEOUT) as client,
        client.stream("GET", "/topics/t", headers={"Accept": "text/event-stream"}) as slow,
    ):
        lines = slow.iter_lines()
        for _ in range(3):
            assert next(line for line in lines if line == ":")
        body = "x" * 100_000
        with (
            listen(hub, "/topics/t") as quick,
            httpx.Client(base_url=url_of(hub), timeout=TIMEOUT) as publisher,
        ):
            for number in range(200):
                publish(publisher, "t", f"{number} {body}")
                assert quick.message()["body"].startswith(f"{number} ")
        dropped = 0
        seen = 0
        while seen + dropped < 200:
            line = next(lines)
            if line == "event: dropped":
                dropped += json.loads(next(lines).removeprefix("data: "))["count"]
            elif line.startswith("data: "):
                seen += 1
        assert dropped > 0
        assert seen > 0
        assert hub.call(lambda: hub.hub.meters.dropped["slow subscriber"]) == dropped


def test_events_end_when_the_hub_stops() -> None:
    with serve_in_thread(load_config(settings=SETTINGS)) as hub:
        with listen(hub, "/topics/t") as events:
            hub.stop()
            last = list(events._events)
        assert [each.retry for each in last] == [2000]
