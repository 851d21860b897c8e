"""A page in a real browser among clients of all protocols, by the docs' own JavaScript client."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hubbub.testing import HubProcess
from tests.interop.peers import Amqp, Mqtt5, Peer, Sqs, Stomp
from tests.programs import JavaScript, Running, program

PAGE = Path(__file__).parents[2] / "docs" / "protocols" / "websocket.md"
CONFIG = """
admin.enabled = false
plugins.enable = ["amqp", "aws", "sqs", "mqtt", "stomp", "gateway"]
amqp.listener.bind = ["127.0.0.1:0"]
aws.listener.bind = ["127.0.0.1:0"]
mqtt.listener.bind = ["127.0.0.1:0"]
stomp.listener.bind = ["127.0.0.1:0"]
gateway.listener.bind = ["127.0.0.1:0"]
gateway.cors.origins = ["http://127.0.0.1"]
"""


def the_client() -> str:
    """The docs' client: the first of its JavaScript snippets, of 20 lines at most."""
    found = re.findall(r"^```js\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(found[0].splitlines()) <= 20
    return str(found[0])


class Browser:
    """The page, with what it has heard."""

    def __init__(self, script: Running) -> None:
        self._script = script
        self._heard: list[dict[str, Any]] = []

    def hear(self, kind: str, body: str | None = None) -> Any:
        """What the page hears next of a kind: by the WebSocket (`topic`, `queue`), or `event`."""
        for index, heard in enumerate(self._heard):
            if kind in heard and body in {None, _body(heard[kind])}:
                return self._heard.pop(index)[kind]
        while True:
            heard = json.loads(self._script.line())
            if kind in heard and body in {None, _body(heard[kind])}:
                return heard[kind]
            self._heard.append(heard)

    def ask(self, op: str, **members: Any) -> Any:
        """Have the page send a request; return the answer."""
        self._script.write(json.dumps({"op": op, **members}) + "\n")
        return self.hear("answer")


def _body(heard: Any) -> Any:
    return heard.get("body") if isinstance(heard, dict) else None


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with HubProcess(tmp_path_factory.mktemp("hub"), CONFIG) as process:
        yield process
        assert process.stop() == 0


@pytest.fixture(scope="module")
def browser(hub: HubProcess, javascript: JavaScript) -> Iterator[Browser]:
    url = hub.url("HTTP")
    with javascript.running(
        "browser",
        executable=program("chromium"),
        page=f"{url}/openapi.json",
        socket=hub.url("WebSocket"),
        events=f"{url}/topics/shop/%23",
        client=the_client(),
    ) as script:
        page = Browser(script)
        assert page.hear("refused") is True, "a page of any origin could connect"
        assert "HeadlessChrome" in page.hear("ready")
        yield page


def peers() -> list[type[Peer]]:
    return [Mqtt5, Amqp, Stomp, Sqs]


@pytest.mark.parametrize("kind", peers(), ids=lambda kind: kind.column)
def test_a_page_meets_the_clients_of_a_protocol(
    hub: HubProcess, browser: Browser, kind: type[Peer], name: str
) -> None:
    peer = kind(hub)
    try:
        # What the page works on comes from them, and the other way round.
        peer.publish("$queue/orders", f"order {name}".encode())
        assert browser.hear("queue", f"order {name}")["protocol"] == kind.meter
        peer.listen(f"$queue/{name}")
        answer = browser.ask("publish", to=f"$queue/{name}", message={"body": f"answer {name}"})
        assert answer["op"] == "ok"
        peer.receive(f"answer {name}".encode())
        if kind is Sqs:  # whose clients know no topics
            return
        # Topics: heard by the WebSocket and by the EventSource.
        peer.publish(f"shop/{name}", f"news {name}".encode())
        by_socket = browser.hear("topic", f"news {name}")
        assert (by_socket["address"], by_socket["protocol"]) == (f"shop/{name}", kind.meter)
        assert browser.hear("event", f"news {name}")["id"] == by_socket["id"]
        listener = kind(hub)
        try:
            listener.listen(f"yard-{name}")
            browser.ask("publish", to=f"yard-{name}/x", message={"body": f"back {name}"})
            listener.receive(f"back {name}".encode())
        finally:
            listener.close()
    finally:
        peer.close()
