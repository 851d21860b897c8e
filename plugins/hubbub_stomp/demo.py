"""A scene of `hubbub demo`: two stomp.py clients, a selector and a transaction."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import trio

from hubbub import Hub, Scene

_WAIT = 10.0
"""Seconds until something that should have come has not."""


def scenes(hub: Hub) -> Iterator[Scene]:
    """Yield the scene, if stomp.py is installed."""
    urls = {endpoint.protocol: endpoint.url for endpoint in hub.endpoints}
    if find_spec("stomp") is None or "STOMP" not in urls:
        return

    async def run(say: Callable[[str], None]) -> None:
        port = int(urls["STOMP"].rpartition(":")[2])
        for line in await trio.to_thread.run_sync(_play, port):
            say(line)

    yield Scene("STOMP: two clients, a selector and a transaction (stomp.py)", run)


def _connect(port: int) -> tuple[Any, queue.SimpleQueue[Any]]:
    import stomp  # type: ignore[import-untyped]  # noqa: PLC0415 - installed for the demo only

    came: queue.SimpleQueue[Any] = queue.SimpleQueue()

    class Listener(stomp.ConnectionListener):  # type: ignore[misc]
        def on_message(self, frame: Any) -> None:
            came.put(frame)

        def on_error(self, frame: Any) -> None:
            came.put(frame)

    connection = stomp.Connection12([("127.0.0.1", port)])
    connection.set_listener("", Listener())
    connection.connect(wait=True)
    return connection, came


def _play(port: int) -> list[str]:
    painter, work = _connect(port)
    shop, _ = _connect(port)
    destination = "/queue/paint"
    painter.subscribe(
        destination, id="1", ack="client-individual", headers={"selector": "color = 'blue'"}
    )
    for color in ("red", "blue"):
        shop.send(destination, f"a {color} door", headers={"color": color, "persistent": "true"})
    said = ["shop    -> /queue/paint        'a red door', 'a blue door'"]
    door = work.get(timeout=_WAIT)
    Scene.expect(door.body, "a blue door")
    said.append("painter <- /queue/paint        'a blue door': its selector is color = 'blue'")
    painter.subscribe("/queue/done", id="2", ack="auto")
    painter.begin(transaction="t")
    painter.ack(door.headers["ack"], transaction="t")
    painter.send("/queue/done", "a door is blue", transaction="t")
    painter.commit(transaction="t")
    Scene.expect(work.get(timeout=_WAIT).body, "a door is blue")
    said.append("painter <- /queue/done         'a door is blue', in one transaction with the ACK")
    for connection in (painter, shop):
        connection.disconnect()
    return said
