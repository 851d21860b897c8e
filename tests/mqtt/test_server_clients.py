"""Real clients: paho-mqtt in all versions, Mosquitto's command line, MQTT.js."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import time
from typing import Any, Self

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from hubbub.testing.hub import ServedHub
from tests.programs import javascript_packages, program

from .conftest import Serve
from .raw import WAIT


class Paho:
    """A paho client whose callbacks go into queues."""

    def __init__(self, hub: ServedHub, version: int, client_id: str, **options: Any) -> None:
        self.events: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion(version),
            **options,
        )  # fmt: skip
        self.client.on_connect = lambda *event: self.events.put(("connect", event))
        self.client.on_subscribe = lambda *event: self.events.put(("subscribe", event))
        self.client.on_publish = lambda *event: self.events.put(("publish", event))
        self.client.on_message = lambda client, data, message: self.messages.put(message)
        self.address = hub.address("MQTT")

    def __enter__(self) -> Self:
        self.client.connect(*self.address)
        self.client.loop_start()
        self.wait("connect")
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def wait(self, name: str) -> Any:
        happened, event = self.events.get(timeout=WAIT)
        assert happened == name
        return event

    def next(self) -> paho.MQTTMessage:
        return self.messages.get(timeout=WAIT)


@pytest.mark.parametrize("version", [3, 4, 5])
def test_paho(hub: ServedHub, version: int) -> None:
    base = f"paho/{version}"
    with Paho(hub, version, f"paho-{version}") as one:
        one.client.subscribe(f"{base}/#", 2)
        one.wait("subscribe")
        for qos in (0, 1, 2):
            one.client.publish(f"{base}/x", f"grüße {qos}", qos)
            message = one.next()
            assert (message.topic, message.payload.decode(), message.qos) == (
                f"{base}/x", f"grüße {qos}", qos,
            )  # fmt: skip
            one.wait("publish")
        infos = [one.client.publish(f"{base}/many", str(n), n % 3) for n in range(200)]
        for info in infos:
            info.wait_for_publish(WAIT)
        got = [one.next().payload for _ in range(200)]
        for qos in (0, 1, 2):
            numbers = [int(each) for each in got if int(each) % 3 == qos]
            assert numbers == sorted(numbers)


def test_paho_request_and_response(hub: ServedHub) -> None:
    with Paho(hub, 5, "asks") as asks, Paho(hub, 5, "answers") as answers:
        answers.client.subscribe("service/time", 1)
        answers.wait("subscribe")
        asks.client.subscribe("answers/asks", 1)
        asks.wait("subscribe")
        request = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        request.ResponseTopic = "answers/asks"
        request.CorrelationData = b"42"
        asks.client.publish("service/time", b"?", 1, properties=request)
        question = answers.next()
        properties: Any = question.properties
        answer = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        answer.CorrelationData = properties.CorrelationData
        answers.client.publish(properties.ResponseTopic, b"noon", 1, properties=answer)
        message: Any = asks.next()
        assert (message.payload, message.properties.CorrelationData) == (b"noon", b"42")


def test_paho_over_websocket(serve: Serve) -> None:
    hub = serve(mqtt={"websocket": {"listener": {"bind": ["127.0.0.1:0"]}}})
    one = Paho(hub, 5, "ws", transport="websockets")
    one.address = hub.address("MQTT over WebSocket")
    with one:
        one.client.subscribe("ws", 1)
        one.wait("subscribe")
        one.client.publish("ws", b"x" * 200_000, 1)
        assert len(one.next().payload) == 200_000


@pytest.mark.parametrize("version", ["31", "311", "5"])
def test_mosquitto_clients(hub: ServedHub, version: str) -> None:
    host, port = hub.address("MQTT")
    common = ["-h", host, "-p", str(port), "-V", f"mqttv{version}", "-q", "2"]
    topic = f"mosquitto/{version}"
    subscriber = subprocess.Popen(
        [program("mosquitto_sub"), *common, "-t", f"{topic}/#", "-C", "3", "-v"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + WAIT
        while f"{topic}/#" not in hub.call(patterns, hub):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for n in range(3):
            command = [program("mosquitto_pub"), *common, "-t", f"{topic}/{n}", "-m", f"hello {n}"]
            subprocess.run(command, check=True, timeout=WAIT)
        output, _ = subscriber.communicate(timeout=WAIT)
    finally:
        subscriber.kill()
        subscriber.wait()
    assert output.splitlines() == [f"{topic}/{n} hello {n}" for n in range(3)]
    assert subscriber.returncode == 0


def patterns(hub: ServedHub) -> set[str]:
    return {each.pattern for each in hub.hub.bus.subscriptions("default")}


def node_environment() -> dict[str, str]:
    """The environment in which Node finds MQTT.js."""
    return {**os.environ, "NODE_PATH": str(javascript_packages())}


SCRIPT = """
const mqtt = require("mqtt");
const [url, version] = process.argv.slice(1);
const client = mqtt.connect(url, {
  protocolVersion: Number(version), protocolId: version === "3" ? "MQIsdp" : "MQTT",
  clientId: "js" + version,
  properties: version === "5" ? { topicAliasMaximum: 4, receiveMaximum: 5 } : undefined,
});
const got = [];
client.on("message", (topic, payload, packet) => {
  got.push([topic, payload.toString(), packet.qos]);
  if (got.length === 30) {
    client.end(false, () => console.log(JSON.stringify(got)));
  }
});
client.on("connect", async () => {
  await client.subscribeAsync("js/#", { qos: 2 });
  for (let n = 0; n < 30; n++) {
    client.publish("js/" + version, String(n), { qos: n % 3 });
  }
});
"""


@pytest.mark.parametrize("version", [3, 4, 5])
def test_mqtt_js(hub: ServedHub, version: int) -> None:
    host, port = hub.address("MQTT")
    done = subprocess.run(
        [program("node"), "-e", SCRIPT, f"mqtt://{host}:{port}", str(version)],
        env=node_environment(), capture_output=True, text=True, timeout=3 * WAIT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert sorted(int(body) for _, body, _ in got) == list(range(30))
    assert all(qos == int(body) % 3 for _, body, qos in got)
