"""Receiving under a lease, and settling by its token."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from hubbub.testing.hub import ServedHub

from .conftest import TIMEOUT, url_of


def send(client: httpx.Client, name: str, *bodies: str) -> None:
    for body in bodies:
        assert client.post(f"/queues/{name}/messages", content=body).status_code == 202


def receive(client: httpx.Client, name: str, **query: Any) -> list[dict[str, Any]]:
    answer = client.get(f"/queues/{name}/messages", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["messages"]
    return found


def counts(client: httpx.Client, name: str) -> tuple[int, int, int]:
    found = client.get(f"/queues/{name}").json()["counts"]
    return found["visible"], found["in_flight"], found["delayed"]


def test_a_message_is_leased_and_accepted(client: httpx.Client, name: str) -> None:
    send(client, name, "one", "two")
    (message,) = receive(client, name)
    assert message["body"] == "one"
    assert (message["receives"], message["redelivered"]) == (1, False)
    assert message["address"] == f"$queue/{name}"
    assert counts(client, name) == (1, 1, 0)
    token = f"/queues/{name}/messages/{message['lease']}"
    assert client.delete(token).status_code == 204
    assert counts(client, name) == (1, 0, 0)
    again = client.delete(token)
    assert (again.status_code, again.json()["type"]) == (410, "/problems/lease-over")


def test_max_wait_and_lease(hub: ServedHub, client: httpx.Client, name: str) -> None:
    client.put(f"/queues/{name}", json={"lease": "1h"})
    send(client, name, *"abc")
    before = hub.hub.clock.now()
    first, second = receive(client, name, max=2)
    assert (first["body"], second["body"]) == ("a", "b")
    assert first["lease_until"] - before >= 3_600_000
    (third,) = receive(client, name, max=10, lease="90s")
    assert 90_000 <= third["lease_until"] - before < 100_000
    begin = time.monotonic()
    assert receive(client, name, wait=0.2) == []
    assert time.monotonic() - begin >= 0.2


def test_a_wait_ends_when_a_message_comes(hub: ServedHub, client: httpx.Client, name: str) -> None:
    client.put(f"/queues/{name}")
    found: list[Any] = []

    def wait() -> None:
        with httpx.Client(base_url=url_of(hub), timeout=TIMEOUT) as other:
            found.extend(receive(other, name, wait=TIMEOUT))

    thread = threading.Thread(target=wait)
    thread.start()
    send(client, name, "late")
    thread.join(TIMEOUT)
    assert [each["body"] for each in found] == ["late"]


def test_a_client_that_goes_away_leases_nothing(
    hub: ServedHub, client: httpx.Client, name: str, until: Callable[[Callable[[], bool]], None]
) -> None:
    client.put(f"/queues/{name}")

    def waits() -> bool:
        queue = hub.call(hub.hub.engine.find_queue, "default", name)
        return len(queue._line) > 0  # type: ignore[union-attr]

    with socket.create_connection(hub.address("HTTP"), TIMEOUT) as gone:
        request = f"GET /queues/{name}/messages?wait=30 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        gone.sendall(request.encode())
        until(waits)
    until(lambda: not waits())
    send(client, name, "kept")
    assert counts(client, name) == (1, 0, 0)


def test_release_reject_and_extend(client: httpx.Client, name: str) -> None:
    client.put(f"/queues/{name}-dead")
    client.put(f"/queues/{name}", json={"dead_letter": f"$queue/{name}-dead", "lease": 30})
    send(client, name, "x")
    path = f"/queues/{name}/messages/"
    (first,) = receive(client, name)
    extended = client.post(f"{path}{first['lease']}/extend", params={"lease": "5m"})
    assert extended.status_code == 200
    assert extended.json()["lease_until"] - first["lease_until"] >= 269_000
    assert client.post(f"{path}{first['lease']}/release").status_code == 204
    (second,) = receive(client, name)
    assert (second["receives"], second["redelivered"]) == (2, True)
    lost = client.delete(path + first["lease"])
    assert (lost.status_code, lost.json()["type"]) == (409, "/problems/lease-lost")
    assert client.post(f"{path}{second['lease']}/release", params={"delay": 60}).status_code == 204
    assert counts(client, name)[0] == 0
    client.request("DELETE", f"/queues/{name}/messages", params={"leased": "true"})
    send(client, name, "y")
    (third,) = receive(client, name)
    assert client.post(f"{path}{third['lease']}/reject?reason=broken").status_code == 204
    (dead,) = receive(client, f"{name}-dead")
    assert dead["deaths"][0]["reason"] == "broken"
    assert dead["deaths"][0]["queue"] == name


@pytest.mark.parametrize("verb", ["", "/release", "/reject", "/extend"])
def test_tokens_that_are_none(client: httpx.Client, name: str, verb: str) -> None:
    method = "POST" if verb else "DELETE"
    for each in (f"{name}-a", f"{name}-b"):
        client.put(f"/queues/{each}")
    send(client, f"{name}-a", "x")
    (message,) = receive(client, f"{name}-a")
    token = message["lease"]
    for path, status, kind in (
        (f"/queues/{name}-b/messages/{token}{verb}", 400, "bad-token"),
        (f"/queues/{name}-a/messages/{token[:-1]}{verb}", 400, "bad-token"),
        (f"/queues/{name}-a/messages/x{token[1:]}{verb}", 400, "bad-token"),
        (f"/queues/{name}-none/messages/{token}{verb}", 404, "not-found"),
    ):
        answer = client.request(method, path)
        assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{kind}")
    assert counts(client, f"{name}-a") == (0, 1, 0)


@pytest.mark.parametrize("outcome", ["accept", "release", "reject", "extend"])
def test_several_are_settled_together(client: httpx.Client, name: str, outcome: str) -> None:
    send(client, name, *"abc")
    tokens = [each["lease"] for each in receive(client, name, max=3)]
    client.delete(f"/queues/{name}/messages/{tokens[1]}")
    answer = client.post(
        f"/queues/{name}/settle", json={"leases": [*tokens, "nonsense"], "outcome": outcome}
    )
    assert answer.status_code == 207
    kinds = [each.get("problem", {}).get("type") for each in answer.json()["results"]]
    assert kinds == [None, "/problems/lease-over", None, "/problems/bad-token"]
    left = {"accept": (0, 0, 0), "release": (2, 0, 0), "reject": (0, 0, 0), "extend": (0, 2, 0)}
    assert counts(client, name) == left[outcome]


@pytest.mark.parametrize("form", ["raw", "cloudevent"])
@pytest.mark.parametrize("kind", ["text/html", None])
def test_a_browser_runs_nothing_of_a_message(
    client: httpx.Client, name: str, form: str, kind: str | None
) -> None:
    message = {"body": "<script>alert(1)</script>", "content_type": kind, "retain": True}
    client.post(f"/topics/{name}?form=json", json=message)
    answer = client.get(f"/topics/{name}", params={"form": form})
    assert answer.text == message["body"]
    assert answer.headers.get("content-type") == kind
    assert answer.headers["content-security-policy"] == "sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_message_in_its_own_form(client: httpx.Client, name: str) -> None:
    headers = {
        "Content-Type": "text/x-tea; charset=utf-8",
        "Hubbub-Type": "brew",
        "Hubbub-Correlation-Id": "%00%FF",
        "Hubbub-Header-caf%C3%A9": "a%20b%20",
        "Idempotency-Key": "k",
    }
    client.post(f"/queues/{name}/messages", content=b"\0tea", headers=headers)
    answer = client.get(f"/queues/{name}/messages", params={"form": "raw"})
    assert answer.status_code == 200
    assert answer.content == b"\0tea"
    told = answer.headers
    assert told["content-type"] == headers["Content-Type"]
    assert told["hubbub-type"] == "brew"
    assert told["hubbub-correlation-id"] == "%00%FF"
    assert told["hubbub-header-caf%c3%a9"] == "a b%20"
    assert told["idempotency-key"] == "k"
    assert told["hubbub-receives"] == "1"
    assert client.delete(f"/queues/{name}/messages/{told['hubbub-lease']}").status_code == 204
    none = client.get(f"/queues/{name}/messages", params={"form": "raw"})
    assert (none.status_code, none.content) == (204, b"")


def test_json_lines_and_looking_without_a_lease(client: httpx.Client, name: str) -> None:
    send(client, name, "a", "b")
    answer = client.get(
        f"/queues/{name}/messages",
        params={"max": 5, "peek": "true"},
        headers={"Accept": "application/x-ndjson"},
    )
    assert answer.headers["content-type"] == "application/x-ndjson"
    found = [json.loads(line) for line in answer.text.splitlines()]
    assert [each["body"] for each in found] == ["a", "b"]
    assert all("lease" not in each for each in found)
    assert counts(client, name) == (2, 0, 0)


@pytest.mark.parametrize(
    ("query", "accept", "status"),
    [
        ({"max": 0}, "*/*", 400),
        ({"max": 1001}, "*/*", 400),
        ({"max": "x"}, "*/*", 400),
        ({"wait": "61s"}, "*/*", 400),
        ({"wait": "-1"}, "*/*", 400),
        ({"lease": "soon"}, "*/*", 400),
        ({"form": "raw", "max": 2}, "*/*", 400),
        ({"unknown": 1}, "*/*", 400),
        ({"max": [1, 1]}, "*/*", 400),
        ({}, "text/html", 406),
        ({"max": 2}, "application/cloudevents+json", 406),
    ],
)
def test_wrong_questions_lease_nothing(
    client: httpx.Client, name: str, query: dict[str, Any], accept: str, status: int
) -> None:
    send(client, name, "x")
    answer = client.get(f"/queues/{name}/messages", params=query, headers={"Accept": accept})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert counts(client, name) == (1, 0, 0)


def test_head_must_not_lease(client: httpx.Client, name: str) -> None:
    send(client, name, "x")
    answer = client.head(f"/queues/{name}/messages")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "DELETE, GET, OPTIONS, POST"
    assert counts(client, name) == (1, 0, 0)


def test_too_many_in_flight(client: httpx.Client, name: str) -> None:
    client.put(f"/queues/{name}", json={"max_in_flight": 1})
    send(client, name, "a", "b")
    receive(client, name)
    answer = client.get(f"/queues/{name}/messages")
    assert (answer.status_code, answer.json()["type"]) == (429, "/problems/refused")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PUT", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("GET", "/messages"),
        ("POST", "/messages"),
        ("DELETE", "/messages"),
    ],
)
def test_queues_of_other_clients_are_out_of_reach(
    client: httpx.Client, method: str, path: str
) -> None:
    answer = client.request(method, f"/queues/$mqtt%2Fsomeone{path}", json={})
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden")
