"""Streams: create, append, read from anywhere, follow."""

from __future__ import annotations

import json
import threading
from typing import Any

import httpx
import pytest

from hubbub.testing.hub import ServedHub

from .conftest import TIMEOUT, url_of
from .test_topics import listen


def append(client: httpx.Client, name: str, body: str, **query: str) -> dict[str, Any]:
    answer = client.post(f"/streams/{name}/records", content=body, params=query)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


def read(client: httpx.Client, name: str, **query: Any) -> dict[str, Any]:
    answer = client.get(f"/streams/{name}/records", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def bodies(found: dict[str, Any]) -> list[str]:
    return [each["body"] for each in found["records"]]


def test_streams_are_managed(client: httpx.Client, name: str) -> None:
    made = client.put(f"/streams/{name}", json={"shards": 2, "retention": "1h"})
    assert (made.status_code, made.headers["location"]) == (201, f"/streams/{name}")
    assert made.json()["retention"] == 3600.0
    assert [each["open"] for each in made.json()["shards"]] == [True, True]
    assert client.put(f"/streams/{name}", json={"shards": 2}).status_code == 200
    other = client.put(f"/streams/{name}", json={"shards": 3})
    assert (other.status_code, other.json()["type"]) == (409, "/problems/exists")
    assert client.put(f"/streams/{name}", json={"retention": None}).status_code == 409
    changed = client.patch(f"/streams/{name}", json={"retention": None, "max_bytes": 1000})
    assert (changed.json()["retention"], changed.json()["max_bytes"]) == (None, 1000)
    assert client.patch(f"/streams/{name}", json={"shards": 3}).status_code == 400
    listed = client.get("/streams", params={"prefix": name}).json()["streams"]
    assert [each["name"] for each in listed] == [name]
    assert client.delete(f"/streams/{name}").status_code == 204
    for method in ("GET", "DELETE", "PATCH"):
        answer = client.request(method, f"/streams/{name}", json={"retention": "1h"})
        assert answer.status_code == 404


def test_records_have_places(client: httpx.Client, name: str) -> None:
    client.put(f"/streams/{name}", json={"shards": 2})
    first = append(client, name, "a", key="k1")
    assert first.keys() == {"id", "shard", "sequence"}
    entries = [{"body": "b", "group": "k1"}, {"body": 1}, {"body": "c", "group": "k3"}]
    batch = client.post(f"/streams/{name}/records?form=json", json=entries)
    assert batch.status_code == 207
    second, wrong, third = batch.json()["results"]
    assert "problem" in wrong
    found = read(client, name)
    assert bodies(found) == ["a", "b", "c"]
    assert (
        found["records"][0]
        | {
            "shard": first["shard"],
            "sequence": first["sequence"],
            "partition_key": "k1",
            "group": "k1",
        }
        == found["records"][0]
    )
    assert second["shard"] == first["shard"]
    assert int(third["sequence"]) > int(second["sequence"])
    one = read(client, name, shard=first["shard"])
    assert "b" in bodies(one)
    assert all(each["shard"] == first["shard"] for each in one["records"])


def test_reading_goes_on_where_it_ended(client: httpx.Client, name: str) -> None:
    client.put(f"/streams/{name}", json={"shards": 3})
    sent = [append(client, name, str(number))["id"] for number in range(20)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while len(seen) < 20:
        found = read(client, name, max=3, **cursor)
        assert 0 < len(found["records"]) <= 3
        seen += [each["id"] for each in found["records"]]
        cursor = {"next": found["next"]}
    assert seen == sent
    assert read(client, name, **cursor)["records"] == []
    append(client, name, "more")
    assert bodies(read(client, name, **cursor)) == ["more"]


def test_reading_from_anywhere(hub: ServedHub, client: httpx.Client, name: str) -> None:
    client.put(f"/streams/{name}")
    places = [append(client, name, body) for body in "abc"]
    assert bodies(read(client, name, **{"from": "oldest"})) == ["a", "b", "c"]
    assert bodies(read(client, name, **{"from": "latest"})) == []
    assert bodies(read(client, name, at=places[1]["sequence"])) == ["b", "c"]
    assert bodies(read(client, name, after=places[1]["sequence"])) == ["c"]
    assert bodies(read(client, name, since="2001-01-01T00:00:00Z")) == ["a", "b", "c"]
    arrived = read(client, name)["records"][2]["arrived"]
    assert bodies(read(client, name, since=arrived))[-1] == "c"
    assert bodies(read(client, name, since=arrived + 1000)) == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"at": 1, "after": 1}, 400),
        ({"at": 1}, 400),
        ({"at": 10**9, "shard": 0}, 400),
        ({"shard": 9}, 404),
        ({"next": "x"}, 400),
        ({"since": "yesterday"}, 400),
        ({"since": "2001-01-01T00:00:00"}, 400),
        ({"max": 0}, 400),
    ],
)
def test_places_that_are_none(
    client: httpx.Client, name: str, query: dict[str, Any], status: int
) -> None:
    client.put(f"/streams/{name}", json={"shards": 2})
    assert client.get(f"/streams/{name}/records", params=query).status_code == status


def test_waiting_for_records(hub: ServedHub, client: httpx.Client, name: str) -> None:
    client.put(f"/streams/{name}", json={"shards": 2})
    found: list[dict[str, Any]] = []

    def wait() -> None:
        with httpx.Client(base_url=url_of(hub), timeout=TIMEOUT) as other:
            found.append(read(other, name, wait=TIMEOUT))

    thread = threading.Thread(target=wait)
    thread.start()
    append(client, name, "late")
    thread.join(TIMEOUT)
    assert bodies(found[0]) == ["late"]
    assert read(client, name, wait="50ms", next=found[0]["next"])["records"] == []


def test_shards_that_are_split_and_merged_are_followed(
    hub: ServedHub, client: httpx.Client, name: str
) -> None:
    client.put(f"/streams/{name}")
    stream = hub.call(hub.hub.engine.find_stream, "default", name)
    assert stream is not None
    first = append(client, name, "before")
    hub.run(stream.split, 0, 2**127)
    for number in range(6):
        append(client, name, f"split {number}")
    hub.run(stream.merge, 1, 2)
    append(client, name, "merged")
    whole = read(client, name)
    while not bodies(whole) or bodies(whole)[-1] != "merged":
        more = read(client, name, next=whole["next"])
        whole = more | {"records": whole["records"] + more["records"]}
    expected = ["before", *(f"split {number}" for number in range(6)), "merged"]
    assert bodies(whole) == expected
    with listen(hub, f"/streams/{name}/records", **{"from": "oldest"}) as events:
        seen = [events.event() for _ in range(8)]
        assert [each.json()["body"] for each in seen] == expected
    with listen(hub, f"/streams/{name}/records", last=seen[3].id) as events:
        assert [events.message()["body"] for _ in range(4)] == expected[4:]
    assert first["shard"] == 0


def test_following_from_anywhere(hub: ServedHub, client: httpx.Client, name: str) -> None:
    client.put(f"/streams/{name}")
    sequences = [append(client, name, body)["sequence"] for body in "abc"]
    with listen(hub, f"/streams/{name}/records") as latest:
        with listen(hub, f"/streams/{name}/records", after=sequences[0]) as after:
            append(client, name, "d")
            assert [after.message()["body"] for _ in range(3)] == ["b", "c", "d"]
        event = latest.event()
        assert event.json()["body"] == "d"
        assert event.json()["sequence"] > sequences[2]
    with listen(hub, f"/streams/{name}/records", last=event.id, after=sequences[0]) as resumed:
        append(client, name, "e")
        assert resumed.message()["body"] == "e"


def test_records_that_are_gone_are_told(hub: ServedHub, client: httpx.Client, name: str) -> None:
    client.put(f"/streams/{name}", json={"max_bytes": 2_000_000})
    first = append(client, name, "first")
    for _ in range(5):
        append(client, name, "x" * 1_100_000)
    stream = hub.call(hub.hub.engine.find_stream, "default", name)
    assert stream is not None
    found = read(client, name, next=f"0.{first['sequence']}", max=1)
    assert found["trimmed"] is True
    with listen(hub, f"/streams/{name}/records", last=f"0.{first['sequence']}") as events:
        assert events.event().event == "trimmed"
        assert events.message()["body"][0] == "x"


def test_records_in_other_forms(client: httpx.Client, name: str) -> None:
    client.post(f"/streams/{name}/records", content=b"\xff", headers={"Hubbub-Type": "t"})
    lines = client.get(f"/streams/{name}/records", headers={"Accept": "application/jsonl"})
    assert [json.loads(line)["body_base64"] for line in lines.text.splitlines()] == ["/w=="]
    assert lines.headers["hubbub-next"].startswith("0.")
    events = client.get(
        f"/streams/{name}/records", headers={"Accept": "application/cloudevents-batch+json"}
    )
    (event,) = events.json()
    assert (event["type"], event["data_base64"]) == ("t", "/w==")
    assert event["source"] == f"/streams/{name}"


def test_what_a_stream_does_not_take(client: httpx.Client, name: str) -> None:
    for headers in ({"Hubbub-Delay": "1"}, {"Hubbub-Retain": "true"}):
        answer = client.post(f"/streams/{name}/records", content=b"x", headers=headers)
        assert answer.json()["type"] == "/problems/bad-message"
    bad = client.post(
        f"/streams/{name}/records", content=b"x", headers={"Hubbub-Shard-Key": "9" * 39}
    )
    assert bad.status_code == 400
