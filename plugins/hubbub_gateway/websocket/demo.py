"""A scene of `hubbub demo`: a page by WebSocket, with devices by MQTT."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import trio

from hubbub import Scene

from .frames import SUBPROTOCOL

_WAIT = 10.0
"""Seconds until something that should have come has not."""
Say = Callable[[str], None]


def scenes(urls: Mapping[str, str]) -> Iterator[Scene]:
    """Yield what can be played with the clients that are installed.

    Args:
        urls: where protocols are served.
    """
    url, mqtt = urls.get("WebSocket"), urls.get("MQTT")
    if url is None or mqtt is None or not (find_spec("websockets") and find_spec("paho")):
        return

    async def run(say: Say) -> None:
        await trio.to_thread.run_sync(_play, url, mqtt, say)

    yield Scene("A dashboard by WebSocket (websockets) and a device by MQTT (paho-mqtt)", run)


def _play(url: str, mqtt: str, say: Say) -> None:
    import paho.mqtt.client as paho  # noqa: PLC0415 - only if it is installed
    from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415
    from websockets.sync.client import connect  # noqa: PLC0415
    from websockets.typing import Subprotocol  # noqa: PLC0415

    def tell(text: str) -> None:
        trio.from_thread.run_sync(say, text)

    offered = [Subprotocol(SUBPROTOCOL)]
    with connect(url, subprotocols=offered, proxy=None, open_timeout=_WAIT) as socket:

        def ask(op: str, **members: Any) -> Any:
            socket.send(json.dumps({"op": op, "id": op, **members}))
            return json.loads(socket.recv(timeout=_WAIT))

        ask("hello", session="dashboard")
        ask("subscribe", pattern="plant/+/temperature", ack=True, subscription="heat")
        tell("dashboard -> subscribe plant/+/temperature, in a session")
    host, _, port = mqtt.partition("://")[2].rpartition(":")
    boiler = paho.Client(CallbackAPIVersion.VERSION2)
    boiler.connect(host.strip("[]"), int(port))
    boiler.loop_start()
    boiler.publish("plant/boiler/temperature", "81", qos=1).wait_for_publish(_WAIT)
    boiler.disconnect()
    boiler.loop_stop()
    tell("boiler    -> MQTT plant/boiler/temperature      '81', while the dashboard is away")
    with connect(url, subprotocols=offered, proxy=None, open_timeout=_WAIT) as socket:
        ask("hello", session="dashboard")
        frame = json.loads(socket.recv(timeout=_WAIT))
        message = frame["message"]
        Scene.expect((message["address"], message["body"]), ("plant/boiler/temperature", "81"))
        ask("ack", delivery=frame["delivery"])
        tell("dashboard <- message of plant/boiler/temperature '81', after it came back; ack")
        ask("unsubscribe", subscription="heat")
