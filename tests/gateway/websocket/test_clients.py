"""Clients that we did not write, beside those of the other tests."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import trio
import trio_websocket
import websocket
import websockets

from hubbub.config import load_config
from hubbub.testing import ServedHub, serve_in_thread
from tests.gateway.conftest import SETTINGS

from .conftest import SUBPROTOCOL, TIMEOUT

HELLO = json.dumps({"op": "hello", "id": 1})


def frame(**members: Any) -> str:
    return json.dumps(members)


def test_websocket_client(hub: ServedHub, name: str) -> None:
    client = websocket.create_connection(
        hub.endpoint("WebSocket").url, TIMEOUT, subprotocols=[SUBPROTOCOL]
    )
    try:
        client.send(HELLO)
        assert json.loads(client.recv())["op"] == "welcome"
        client.send(frame(op="subscribe", pattern=name))
        client.send(frame(op="publish", to=name, message={"body": "ü"}))
        assert json.loads(client.recv())["message"]["body"] == "ü"
        client.ping("here")
        assert client.recv_data(control_frame=True)[1] == b"here"
    finally:
        client.close()


async def test_trio_websocket(hub: ServedHub, name: str) -> None:
    with trio.fail_after(TIMEOUT):
        url = hub.endpoint("WebSocket").url
        async with trio_websocket.open_websocket_url(url, subprotocols=[SUBPROTOCOL]) as client:
            await client.send_message(HELLO)
            assert json.loads(await client.get_message())["op"] == "welcome"
            await client.send_message(frame(op="consume", queue=name, id=2))
            await client.get_message()
            await client.send_message(frame(op="publish", to=f"$queue/{name}"))
            assert json.loads(await client.get_message())["delivery"] == 1


def test_asyncio_with_compression(name: str) -> None:
    async def talk(url: str) -> None:
        protocols: Any = [SUBPROTOCOL]
        async with websockets.connect(url, subprotocols=protocols, proxy=None) as client:
            assert client.protocol.extensions
            await client.send(HELLO)
            await client.recv()
            body = "x" * 100_000
            await client.send(frame(op="subscribe", pattern=name))
            await client.send(frame(op="publish", to=name, message={"body": body}))
            message = await asyncio.wait_for(client.recv(), TIMEOUT)
            assert json.loads(message)["message"]["body"] == body

    gateway = {**SETTINGS["gateway"], "websocket": {"compression": True}}
    with serve_in_thread(load_config(settings={**SETTINGS, "gateway": gateway})) as hub:
        asyncio.run(talk(hub.endpoint("WebSocket").url))
