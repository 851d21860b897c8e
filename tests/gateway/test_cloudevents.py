"""CloudEvents by the SDK of the CloudEvents project: in, out, and through."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import (
    HTTPMessage,
    from_http_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.v1.event import CloudEvent

ATTRIBUTES = {
    "id": "e-1",
    "source": "/shops/12",
    "type": "org.example.order",
    "time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "subject": 'Käse & "Brot" 100%',
    "dataschema": "https://example.org/schema",
    "number": "7",
}


BINARY = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/", "ce-type": "t"}
PLAIN = {**ATTRIBUTES, "time": "2026-01-02T03:04:05Z"}
"""The same in JSON."""


def parse(answer: httpx.Response) -> BaseCloudEvent:
    return from_http_event(HTTPMessage(dict(answer.headers), answer.content))


def receive(client: httpx.Client, name: str, **options: Any) -> httpx.Response:
    answer = client.get(f"/queues/{name}/messages", **options)
    assert answer.status_code == 200, answer.text
    return answer


def check(event: BaseCloudEvent, data: Any) -> None:
    found = event.get_attributes()
    for name, value in ATTRIBUTES.items():
        assert found[name] == value
    assert event.get_datacontenttype() == "application/json"
    assert event.get_data() == data


@pytest.mark.parametrize("mode", [to_binary_event, to_structured_event])
@pytest.mark.parametrize("wanted", ["binary", "structured", "batch"])
def test_an_event_goes_through(client: httpx.Client, name: str, mode: Any, wanted: str) -> None:
    event = CloudEvent({**ATTRIBUTES, "datacontenttype": "application/json"}, {"tea": [1, "é"]})
    message = mode(event)
    sent = client.post(f"/queues/{name}/messages", content=message.body, headers=message.headers)
    assert sent.status_code == 202, sent.text
    if wanted == "binary":
        answer = receive(client, name, params={"form": "cloudevent"})
        check(parse(answer), {"tea": [1, "é"]})
        assert "hubbub-lease" in answer.headers
    elif wanted == "structured":
        answer = receive(client, name, headers={"Accept": "application/cloudevents+json"})
        assert answer.headers["content-type"] == "application/cloudevents+json"
        check(parse(answer), {"tea": [1, "é"]})
        assert "hubbub-lease" in answer.headers
    else:
        accept = "application/cloudevents-batch+json"
        answer = receive(client, name, params={"max": 10}, headers={"Accept": accept})
        assert answer.headers["content-type"] == accept
        (found,) = answer.json()
        lease = found.pop("hubbublease")
        assert found == {
            **PLAIN,
            "specversion": "1.0",
            "datacontenttype": "application/json",
            "data": {"tea": [1, "é"]},
        }
        assert client.delete(f"/queues/{name}/messages/{lease}").status_code == 204


def test_the_message_of_an_event(client: httpx.Client, name: str) -> None:
    event = CloudEvent({**ATTRIBUTES, "datacontenttype": "image/x-tea"}, b"\x00\xff")
    for mode in (to_binary_event, to_structured_event):
        message = mode(event)
        path = f"/topics/{name}?retain=true"
        sent = client.post(path, content=message.body, headers=message.headers)
        assert sent.status_code == 202, sent.text
        kept = client.get(f"/topics/{name}", params={"form": "json"}).json()["messages"][0]
        assert kept["body_base64"] == "AP8="
        assert kept["content_type"] == "image/x-tea"
        assert kept["headers"] == {
            "ce-specversion": "1.0",
            **{f"ce-{key}": value for key, value in PLAIN.items()},
        }


def test_a_batch(client: httpx.Client, name: str) -> None:
    events = [
        {**PLAIN, "specversion": "1.0", "data": {"a": 1}},
        {**PLAIN, "specversion": "1.0", "datacontenttype": "text/plain", "data": "hi"},
        {**PLAIN, "specversion": "0.3"},
        {**PLAIN, "specversion": "1.0", "data": 1, "data_base64": "AA=="},
        {**PLAIN, "specversion": "1.0", "Upper": "x"},
        {**PLAIN, "specversion": "1.0", "nested": {"a": 1}},
        {**PLAIN, "specversion": "1.0", "time": "yesterday"},
        {"specversion": "1.0", "id": "x", "type": "y"},
        {**PLAIN, "specversion": "1.0", "flag": True, "count": 3},
        5,
    ]
    answer = client.post(
        f"/queues/{name}/messages",
        content=json.dumps(events),
        headers={"Content-Type": "application/cloudevents-batch+json; charset=utf-8"},
    )
    assert answer.status_code == 207
    refused = ["problem" in each for each in answer.json()["results"]]
    assert refused == [False, False, True, True, True, True, True, True, False, True]
    kept = receive(client, name, params={"max": 10}).json()["messages"]
    assert [each["body"] for each in kept] == ['{"a":1}', "hi", ""]
    assert kept[2]["headers"]["ce-flag"] == "true"
    assert kept[2]["headers"]["ce-count"] == "3"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/"}, b""),
        ({"ce-specversion": "2.0", "ce-id": "1", "ce-source": "/", "ce-type": "t"}, b""),
        (
            {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/", "ce-type": "t", "ce-a_b": ""},
            b"",
        ),
        ({"Content-Type": "application/cloudevents+json"}, b"{"),
        ({"Content-Type": "application/cloudevents+json"}, b"[]"),
        ({"Content-Type": "application/cloudevents+json"}, b"\xff"),
        ({"Content-Type": "application/cloudevents-batch+json"}, b"{}"),
        ({"Content-Type": "application/cloudevents-batch+json"}, b"[]"),
    ],
)
def test_what_is_no_event(
    client: httpx.Client, name: str, headers: dict[str, str], body: bytes
) -> None:
    answer = client.post(f"/queues/{name}/messages", content=body, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/bad-message")
    assert client.get(f"/queues/{name}").status_code == 404


def test_a_content_type_that_http_can_not_say(client: httpx.Client, name: str) -> None:
    event = {**PLAIN, "specversion": "1.0", "datacontenttype": "a\nb", "data": "x"}
    headers = {"Content-Type": "application/cloudevents+json"}
    sent = client.post(f"/queues/{name}/messages", content=json.dumps(event), headers=headers)
    assert sent.status_code == 202
    answer = receive(client, name, params={"form": "cloudevent"})
    assert "content-type" not in answer.headers
    assert answer.content == b"x"


def test_a_message_that_was_no_event_becomes_one(client: httpx.Client, name: str) -> None:
    headers = {
        "Content-Type": "text/plain",
        "Hubbub-Type": "brew",
        "Hubbub-Message-Id": "m-1",
        "Hubbub-Timestamp": "1700000000123",
    }
    client.post(f"/topics/{name}/a%20b?retain=true", content="tea", headers=headers)
    binary = client.get(f"/topics/{name}/a%20b", params={"form": "cloudevent"})
    found = {
        header.removeprefix("ce-"): value
        for header, value in binary.headers.items()
        if header.startswith("ce-")
    }
    assert parse(binary).get_data() == "tea"
    assert found == {
        "id": "m-1",
        "type": "brew",
        "source": f"/topics/{name}/a%2520b",
        "time": "2023-11-14T22:13:20.123Z",
        "specversion": "1.0",
    }
    client.post(f"/topics/{name}/untyped?retain=true", content=b"plain")
    structured = client.get(
        f"/topics/{name}/untyped",
        params={"form": "json"},
        headers={"Accept": "application/cloudevents+json"},
    ).json()
    assert structured["type"] == "hubbub.message"
    assert (structured["data"], structured["datacontenttype"]) == ("plain", "text/plain")
