"""POST /queues/N/messages: one message or a batch, in every form."""

from __future__ import annotations

import base64

import httpx
import pytest

from hubbub import Message
from hubbub.testing.hub import ServedHub


def held(hub: ServedHub, name: str) -> list[Message]:
    """What waits in a queue."""

    def look() -> list[Message]:
        queue = hub.hub.engine.find_queue("default", name)
        return [] if queue is None else list(queue.peek(100))

    return hub.call(look)


def test_the_body_is_kept_as_it_is(hub: ServedHub, client: httpx.Client, name: str) -> None:
    body = bytes(range(256))
    headers = {"Content-Type": "image/png; a=b", "Content-Encoding": "br"}
    answer = client.post(f"/queues/{name}/messages", content=body, headers=headers)
    assert answer.status_code == 202
    (message,) = held(hub, name)
    assert answer.json() == {"id": str(message.id)}
    assert (message.body, message.content_type, message.content_encoding) == (
        body,
        "image/png; a=b",
        "br",
    )


def test_headers_are_fields(hub: ServedHub, client: httpx.Client, name: str) -> None:
    headers = {
        "Idempotency-Key": "once",
        "Hubbub-Correlation-Id": "c%20d",
        "Hubbub-Reply-To": "$queue/answers",
        "Hubbub-Priority": "7",
        "Hubbub-Durable": "false",
        "Hubbub-Group": "g",
        "Hubbub-Timestamp": "1700000000000",
        "Hubbub-Header-Shop": "caf%C3%A9",
        "Hubbub-Header-%53hop": "100%25",
    }
    assert client.post(f"/queues/{name}/messages", headers=headers).status_code == 202
    (message,) = held(hub, name)
    assert message.dedup_id == "once"
    assert message.correlation_id == "c d"
    assert message.reply_to == "$queue/answers"
    assert (message.priority, message.durable, message.group) == (7, False, "g")
    assert message.timestamp == 1_700_000_000_000
    assert message.headers == {"shop": "café", "Shop": "100%"}


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ({"Hubbub-Foo": "1"}, "There is no header hubbub-foo"),
        ({"Hubbub-Priority": "256"}, "from 0 to 255"),
        ({"Hubbub-Durable": "yes"}, "true or false"),
        ({"Hubbub-Ttl": "soon"}, "no duration"),
        ({"Hubbub-Ttl": "1", "Hubbub-Expires-At": "1"}, "not both"),
        ({"Hubbub-Header-": "x"}, "is empty"),
        ({"Hubbub-Retain": "true"}, "retains nothing"),
        ({"Hubbub-Id": "1"}, "There is no header hubbub-id"),
    ],
)
def test_headers_that_are_wrong(
    client: httpx.Client, name: str, headers: dict[str, str], detail: str
) -> None:
    answer = client.post(f"/queues/{name}/messages", headers=headers)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/bad-message"
    assert detail in answer.json()["detail"]


def test_a_batch_has_a_result_for_each(hub: ServedHub, client: httpx.Client, name: str) -> None:
    entries = [
        {"body": "é", "headers": {"n": 42, "b": {"$base64": "AP8="}, "t": {"$table": {"$x": 1}}}},
        {"bdy": "x"},
        {"body_base64": base64.b64encode(b"\0\xff").decode()},
        {"body_json": {"a": [1, None]}},
        {"body": "", "body_json": 1},
    ]
    answer = client.post(f"/queues/{name}/messages?form=json", json=entries)
    assert answer.status_code == 207
    results = answer.json()["results"]
    assert ["problem" in each for each in results] == [False, True, False, False, True]
    assert "`bdy`" in results[1]["problem"]["detail"]
    first, second, third = held(hub, name)
    assert [str(first.id), str(second.id), str(third.id)] == [
        each["id"] for each in results if "id" in each
    ]
    assert first.body == "é".encode()
    assert first.headers == {"n": 42, "b": b"\0\xff", "t": {"$x": 1}}
    assert second.body == b"\0\xff"
    assert (third.body, third.content_type) == (b'{"a":[1,null]}', "application/json")


def test_json_lines(hub: ServedHub, client: httpx.Client, name: str) -> None:
    lines = b'{"body":"1"}\n\n{"body":"2"}\r\n{"body":\n'
    headers = {"Content-Type": "application/x-ndjson"}
    answer = client.post(f"/queues/{name}/messages", content=lines, headers=headers)
    assert answer.status_code == 207
    assert [each.body for each in held(hub, name)] == [b"1", b"2"]
    raw = client.post(f"/queues/{name}/messages?form=raw", content=lines, headers=headers)
    assert raw.status_code == 202
    assert held(hub, name)[2].body == lines


def test_json_is_a_body_unless_it_is_said_to_be_a_message(
    hub: ServedHub, client: httpx.Client, name: str
) -> None:
    assert client.post(f"/queues/{name}/messages", json=[{"body": "x"}]).status_code == 202
    (message,) = held(hub, name)
    assert message.content_type == "application/json"
    assert message.body.replace(b" ", b"") == b'[{"body":"x"}]'


def test_names_are_decoded(hub: ServedHub, client: httpx.Client, name: str) -> None:
    assert client.post(f"/queues/{name}%2Fa%20%C3%A9/messages", content=b"x").status_code == 202
    assert len(held(hub, f"{name}/a é")) == 1
    answer = client.post("/queues/%FF/messages", content=b"x")
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/bad-address")
