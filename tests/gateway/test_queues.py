"""Queues: created, looked at, changed, listed, purged, deleted."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from hubbub import QueueSettings
from hubbub.testing.hub import ServedHub

EVERYTHING: dict[str, Any] = {
    "durable": False,
    "auto_delete": True,
    "expires": "1h",
    "lease": "1m",
    "delay": 2,
    "retention": "4d",
    "message_ttl": "90s",
    "max_length": 10,
    "max_bytes": 1000,
    "overflow": "reject",
    "max_message_bytes": 100,
    "max_in_flight": 5,
    "max_receives": 3,
    "gives_up_early": True,
    "dead_letter_rests": True,
    "dead_letter": "$queue/dead",
    "priorities": 9,
    "fifo": True,
    "fair": True,
    "content_dedup": True,
    "dedup_scope": "group",
    "dedup_window": "10m",
    "single_active": True,
    "labels": {"team": "tea"},
}


def test_every_setting_can_be_chosen(hub: ServedHub, client: httpx.Client, name: str) -> None:
    assert EVERYTHING.keys() == set(QueueSettings.__struct_fields__) - {"owner"}
    made = client.put(f"/queues/{name}", json=EVERYTHING)
    assert (made.status_code, made.headers["location"]) == (201, f"/queues/{name}")
    queue = hub.call(hub.hub.engine.find_queue, "default", name)
    assert queue is not None
    expected = {
        **EVERYTHING,
        "expires": 3_600_000,
        "lease": 60_000,
        "delay": 2_000,
        "retention": 345_600_000,
        "message_ttl": 90_000,
        "dedup_window": 600_000,
    }
    assert queue.settings == QueueSettings(**expected)
    told = client.get(f"/queues/{name}").json()["settings"]
    assert told == {
        name: value / 1000 if type(value) is int and name in DURATIONS else value
        for name, value in expected.items()
    }
    assert client.put(f"/queues/{name}", json=EVERYTHING).status_code == 200
    assert client.put(f"/queues/{name}", json=told).status_code == 200
    assert client.put(f"/queues/{name}").status_code == 200


DURATIONS = {"expires", "lease", "delay", "retention", "message_ttl", "dedup_window"}


def test_a_queue_that_exists_is_not_changed_by_put(client: httpx.Client, name: str) -> None:
    client.put(f"/queues/{name}", json={"lease": 10})
    answer = client.put(f"/queues/{name}", json={"lease": 20})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/exists")
    assert "lease" in answer.json()["detail"]
    changed = client.patch(f"/queues/{name}", json={"lease": 20, "expires": None})
    assert (changed.status_code, changed.json()["settings"]["lease"]) == (200, 20.0)
    assert client.get(f"/queues/{name}").json()["settings"]["lease"] == 20.0


@pytest.mark.parametrize(
    "form",
    [
        {"lease": None},
        {"lease": -1},
        {"max_length": -1},
        {"max_in_flight": 0},
        {"overflow": "drop-tail"},
        {"priorities": 256},
        {"owner": "me"},
        {"labels": {"a": 1}},
        {"retention": "a week"},
    ],
)
def test_settings_that_are_none(client: httpx.Client, name: str, form: dict[str, Any]) -> None:
    client.put(f"/queues/{name}")
    for method, path in (("PUT", f"/queues/{name}-new"), ("PATCH", f"/queues/{name}")):
        answer = client.request(method, path, json=form)
        assert (answer.status_code, answer.json()["type"]) == (400, "/problems/bad-message")
    assert client.get(f"/queues/{name}-new").status_code == 404


def test_counts_purge_and_delete(client: httpx.Client, name: str) -> None:
    path = f"/queues/{name}"
    for headers in ({}, {}, {"Hubbub-Delay": "1h"}):
        client.post(path + "/messages", content=b"12345", headers=headers)
    client.get(path + "/messages")
    counts = client.get(path).json()["counts"]
    assert counts.pop("oldest") > 0
    expected = {"visible": 1, "in_flight": 1, "delayed": 1, "bytes": 15, "consumers": 0}
    assert counts == expected
    refused = client.delete(path, params={"if_empty": "true"})
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/in-use")
    assert client.delete(path + "/messages").json() == {"purged": 2}
    assert client.delete(path + "/messages", params={"leased": "true"}).json() == {"purged": 1}
    assert client.delete(path, params={"if_empty": "true"}).status_code == 204
    for method in ("GET", "DELETE"):
        assert client.request(method, path).status_code == 404
    assert client.patch(path, json={}).status_code == 404


def test_lists_come_in_pages(client: httpx.Client, name: str) -> None:
    names = [f"{name}-{number}" for number in range(5)]
    for each in names:
        client.put(f"/queues/{each}")
    found: list[str] = []
    query: dict[str, Any] = {"prefix": name, "limit": 2}
    while True:
        page = client.get("/queues", params=query).json()
        assert len(page["queues"]) <= 2
        found += [each["name"] for each in page["queues"]]
        if "next" not in page:
            break
        query["after"] = page["next"]
    assert found == names
    for limit in (0, 1001):
        assert client.get("/queues", params={"limit": limit}).status_code == 400


def test_an_idempotency_key_counts_once(client: httpx.Client, name: str) -> None:
    path, key = f"/queues/{name}/messages", {"Idempotency-Key": '"8e03978e"'}
    first = client.post(path, content=b"a", headers=key).json()
    again = client.post(path, content=b"a", headers=key)
    assert (again.status_code, again.json()) == (202, {"id": first["id"], "duplicate": True})
    batch = [{"body": "b", "deduplication_id": "x"}, {"body": "b", "deduplication_id": "x"}]
    results = client.post(path, params={"form": "json"}, json=batch).json()["results"]
    assert [each.get("duplicate", False) for each in results] == [False, True]
    assert results[0]["id"] == results[1]["id"]
    assert client.get(f"/queues/{name}").json()["counts"]["visible"] == 2
