"""The AsyncAPI document, held against its own schema and against what is really sent."""

from __future__ import annotations

import json
from typing import Any, get_args

import httpx
import pytest
from hypothesis import given
from jsonschema import Draft7Validator, Draft202012Validator

from hubbub.testing import ServedHub
from hubbub_gateway.websocket.asyncapi import make_document
from hubbub_gateway.websocket.codec import encode_request
from hubbub_gateway.websocket.frames import AnyAnswer, AnyRequest
from tests.gateway.conftest import url_of
from tests.programs import javascript_packages

from .conftest import Client, NewClient
from .test_codec import REQUESTS

DOCUMENT = make_document("127.0.0.1:8080", secure=False)


def schema_of(op: str) -> dict[str, Any]:
    payload: dict[str, Any] = DOCUMENT["components"]["messages"][op]["payload"]
    return {**payload, "components": DOCUMENT["components"]}


VALIDATORS = {op: Draft202012Validator(schema_of(op)) for op in DOCUMENT["components"]["messages"]}


def test_the_document_is_asyncapi_3() -> None:
    path = javascript_packages() / "@asyncapi/specs/schemas/3.0.0.json"
    Draft7Validator(json.loads(path.read_text())).validate(DOCUMENT)


def test_every_frame_is_in_it() -> None:
    ops = {kind.__struct_config__.tag for kind in get_args(AnyRequest) + get_args(AnyAnswer)}
    assert set(VALIDATORS) == ops
    described = {
        message["$ref"].rpartition("/")[2]
        for operation in DOCUMENT["operations"].values()
        for message in operation["messages"] + operation.get("reply", {}).get("messages", [])
    }
    assert described == ops


def test_it_is_served(hub: ServedHub) -> None:
    answer = httpx.get(f"{url_of(hub)}/asyncapi.json")
    assert answer.headers["content-type"] == "application/json"
    host = url_of(hub).removeprefix("http://")
    assert answer.json() == json.loads(json.dumps(make_document(host, secure=False)))


@given(REQUESTS)
def test_what_is_described_is_what_is_read(request: AnyRequest) -> None:
    frame = json.loads(encode_request(request))
    VALIDATORS[frame["op"]].validate(frame)


@pytest.mark.parametrize(
    "frame",
    [
        {"op": "publish"},
        {"op": "publish", "to": "a", "extra": 1},
        {"op": "publish", "to": "a", "message": {"address": "b"}},
        {"op": "consume", "queue": "a", "credit": -1},
        {"op": "hello", "session": "a/b"},
    ],
)
def test_what_is_refused_is_not_described(frame: dict[str, Any]) -> None:
    assert not VALIDATORS[frame["op"]].is_valid(frame)


def test_what_is_sent_is_described(new_client: NewClient, hub: ServedHub, name: str) -> None:
    """One conversation with every kind of frame; each is what the document says."""
    sent: list[dict[str, Any]] = []

    class Recorder(Client):
        def _receive(self) -> dict[str, Any]:
            frame = super()._receive()
            sent.append(frame)
            return frame

    client = Recorder(hub.endpoint("WebSocket").url)
    client.hello(session=name, binary="never")
    client.done("subscribe", pattern=f"{name}/#", ack=True, subscription="s")
    client.done("subscribe", pattern=f"{name}/#")
    rich = {
        "body": "b", "headers": {"bytes": {"$base64": "AA=="}, "list": [1, {"a": None}]},
        "correlation_id": {"$base64": "AA=="}, "ttl": "1h", "priority": 1, "retain": True,
    }  # fmt: skip
    client.done("publish", to=f"{name}/a", message=rich)
    client.done("publish", to=f"$stream/{name}/key", message={"body_base64": "/w=="})
    client.send("read", stream=name, **{"from": "oldest"})
    client.done("consume", queue=name)
    client.done("publish", to=f"$queue/{name}")
    client.done("ping")
    client.refused("publish", to="a/#")
    client.refused("ack", delivery=99)
    queue = hub.hub.engine.find_queue("default", name)
    assert queue is not None
    hub.run(lambda: hub.hub.engine.delete_queue(queue))
    client.done("ping")
    client.close()
    again = Recorder(client.url)
    again.hello(session=name)
    again.done("unsubscribe", subscription="s")
    again.close()
    for frame in sent:
        VALIDATORS[frame["op"]].validate(frame)
    assert {frame["op"] for frame in sent} == {
        "welcome", "subscribed", "message", "ok", "error", "pong", "ended",
    }  # fmt: skip
