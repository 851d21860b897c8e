"""Other plugins' protocols over WebSocket, on the port of the HTTP API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from hubbub.config import load_config
from hubbub.testing import ServedHub, serve_in_thread
from tests.gateway.conftest import SETTINGS, url_of

from .conftest import TIMEOUT, Client

CONNECT = "CONNECT\naccept-version:1.2\nhost:/\n\n\0"
MQTT_CONNECT = b"\x10\x0d\0\4MQTT\4\2\0\x3c\0\1a"


@pytest.fixture(scope="module")
def crowded() -> Iterator[ServedHub]:
    settings: dict[str, Any] = {
        **SETTINGS,
        "plugins": {"enable": ["gateway", "stomp", "mqtt"]},
        "stomp": {"listener": {"bind": []}},
        "mqtt": {"listener": {"bind": []}},
    }
    with serve_in_thread(load_config(settings=settings)) as hub:
        yield hub


def url(hub: ServedHub, path: str) -> str:
    return url_of(hub).replace("http", "ws") + path


@pytest.mark.parametrize(
    ("path", "offered", "chosen"),
    [
        ("/ws", ["v12.stomp"], "v12.stomp"),
        ("/stomp", ["v11.stomp", "v12.stomp"], "v11.stomp"),
        ("/stomp", None, None),
        ("/ws", None, None),
        ("/ws", ["mqtt", "v12.stomp", "hubbub.v1"], "v12.stomp"),
    ],
)
def test_stomp(crowded: ServedHub, path: str, offered: Any, chosen: str | None) -> None:
    with connect(url(crowded, path), subprotocols=offered, proxy=None) as client:
        assert client.subprotocol == chosen
        client.send(CONNECT)
        assert str(client.recv(timeout=TIMEOUT)).startswith("CONNECTED\n")


def test_mqtt(crowded: ServedHub) -> None:
    mqtt: Any = ["mqtt"]
    with connect(url(crowded, "/mqtt"), subprotocols=mqtt, proxy=None) as client:
        client.send(MQTT_CONNECT)
        assert client.recv(timeout=TIMEOUT) == b"\x20\2\0\0"


def test_our_own_protocol_beside_them(crowded: ServedHub, name: str) -> None:
    client = Client(url(crowded, "/ws"))
    client.hello()
    client.done("subscribe", pattern=name)
    stomp: Any = ["v12.stomp"]
    with connect(url(crowded, "/ws"), subprotocols=stomp, proxy=None) as other:
        other.send(CONNECT)
        other.recv(timeout=TIMEOUT)
        other.send(f"SEND\ndestination:/topic/{name}\n\nhello\0")
        assert client.message()["body"] == "hello"
    client.close()


@pytest.mark.parametrize(
    ("path", "offered"), [("/ws", ["mqtt"]), ("/mqtt", None), ("/mqtt", ["hubbub.v1"])]
)
def test_what_is_spoken_elsewhere(crowded: ServedHub, path: str, offered: Any) -> None:
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(url(crowded, path), subprotocols=offered, proxy=None),
    ):
        pass
    assert caught.value.response.status_code == 426
    assert b"/problems/upgrade" in caught.value.response.body


def test_a_page_may_not_reach_them_either(crowded: ServedHub) -> None:
    stomp: Any = ["v12.stomp"]
    headers = {"Origin": "https://evil.example.com"}
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(url(crowded, "/stomp"), subprotocols=stomp, additional_headers=headers, proxy=None),
    ):
        pass
    assert caught.value.response.status_code == 403


def test_without_their_plugins_nothing_is_there(hub: ServedHub, crowded: ServedHub) -> None:
    assert httpx.get(f"{url_of(hub)}/stomp").status_code == 404
    assert httpx.get(f"{url_of(crowded)}/stomp").status_code == 426
    assert "/stomp" in httpx.get(f"{url_of(crowded)}/openapi.json").json()["paths"]
