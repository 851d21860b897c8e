"""`kill -9` under HTTP clients: what was answered with 202 is there again."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import httpx
import requests
from httpx_sse import connect_sse

from hubbub.testing import HubProcess

CONFIG = """
admin.enabled = false
plugins.enable = ["gateway"]
gateway.listener.bind = ["127.0.0.1:0"]
"""
WAIT = 30.0


class Publisher(threading.Thread):
    """Publishes numbers until the hub is gone."""

    def __init__(self, url: str, path: str, **query: Any) -> None:
        super().__init__()
        self.confirmed: list[str] = []
        self.enough = threading.Event()
        self._url = url + path
        self._query = query

    def run(self) -> None:
        with requests.Session() as session:
            number = 0
            try:
                while True:
                    answer = session.post(
                        self._url, params=self._query, data=str(number), timeout=WAIT
                    )
                    assert answer.status_code == 202
                    self.confirmed.append(str(number))
                    number += 1
                    if number == 100:
                        self.enough.set()
            except requests.ConnectionError:
                pass  # the hub is gone


def drain(client: httpx.Client, queue: str) -> list[str]:
    found: list[str] = []
    path = f"/queues/{queue}/messages"
    while batch := client.get(path, params={"max": 100}).json()["messages"]:
        found += [each["body"] for each in batch]
        leases = [each["lease"] for each in batch]
        assert client.post(f"/queues/{queue}/settle", json={"leases": leases}).status_code == 200
    return found


def test_nothing_confirmed_is_lost(tmp_path: Path) -> None:
    with HubProcess(tmp_path, CONFIG) as hub:
        url = hub.url("HTTP")
        with httpx.Client(base_url=url, timeout=WAIT) as client:
            made = client.put("/subscriptions/all", json={"pattern": "news/#"})
            assert made.status_code == 201
        publishers = {
            "queue": Publisher(url, "/queues/orders/messages"),
            "stream": Publisher(url, "/streams/log/records", key="k"),
            "topic": Publisher(url, "/topics/news/today"),
        }
        for each in publishers.values():
            each.start()
        for each in publishers.values():
            assert each.enough.wait(WAIT)
        with (
            httpx.Client(base_url=url, timeout=WAIT) as client,
            connect_sse(client, "GET", "/subscriptions/all/events") as source,
        ):
            events = (each for each in source.iter_sse() if each.data)
            seen = [next(events) for _ in range(50)]
        hub.kill()
        for each in publishers.values():
            each.join(WAIT)
            assert not each.is_alive()
        hub.start()
        with httpx.Client(base_url=hub.url("HTTP"), timeout=WAIT) as client:
            found = drain(client, "orders")
            confirmed = publishers["queue"].confirmed
            assert found[: len(confirmed)] == confirmed
            assert len(found) <= len(confirmed) + 1  # one was in flight

            records: list[dict[str, Any]] = []
            cursor = "0@0"
            while part := client.get(f"/streams/log/records?next={cursor}").json():
                records += part["records"]
                cursor = part["next"]
                if not part["records"]:
                    break
            confirmed = publishers["stream"].confirmed
            assert [each["body"] for each in records][: len(confirmed)] == confirmed
            assert {each["partition_key"] for each in records} == {"k"}

            confirmed = publishers["topic"].confirmed
            again = {"Last-Event-ID": seen[-1].id}
            with connect_sse(client, "GET", "/subscriptions/all/events", headers=again) as source:
                events = (each for each in source.iter_sse() if each.data)
                rest = [next(events) for _ in range(len(confirmed) - 50)]
            bodies = [each.json()["body"] for each in (*seen, *rest)]
            assert bodies == confirmed
        assert hub.stop() == 0


def test_leases_idempotency_and_settings_outlive_it(tmp_path: Path) -> None:
    with HubProcess(tmp_path, CONFIG) as hub:
        key = {"Idempotency-Key": "once"}
        with httpx.Client(base_url=hub.url("HTTP"), timeout=WAIT) as client:
            client.put("/queues/orders", json={"lease": "5m", "dead_letter": "$queue/dead"})
            first = client.post("/queues/orders/messages", content=b"a", headers=key).json()
            client.post("/queues/orders/messages", content=b"b")
            client.post("/topics/state?retain=true", content=b"kept")
            settled, held = client.get("/queues/orders/messages?max=2").json()["messages"]
            path = "/queues/orders/messages"
            assert client.delete(f"{path}/{settled['lease']}").status_code == 204
        hub.kill()
        hub.start()
        with httpx.Client(base_url=hub.url("HTTP"), timeout=WAIT) as client:
            settings = client.get("/queues/orders").json()["settings"]
            assert (settings["lease"], settings["dead_letter"]) == (300.0, "$queue/dead")
            again = client.post("/queues/orders/messages", content=b"a", headers=key)
            assert (again.status_code, again.json()) == (
                202,
                {"id": first["id"], "duplicate": True},
            )
            assert client.get("/topics/state").text == "kept"
            assert client.delete(f"{path}/{held['lease']}").status_code == 204
            assert client.get(path).json()["messages"] == []
