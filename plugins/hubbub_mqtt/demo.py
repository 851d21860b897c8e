"""Scenes of `hubbub demo`: paho-mqtt devices, and the boto3 worker they share queues with."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import trio

from hubbub import Hub, Scene

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage

_WAIT = 10.0
"""Seconds until something that should have come has not."""


def scenes(hub: Hub) -> Iterator[Scene]:
    """Yield what can be played with the clients that are installed."""
    urls = {endpoint.protocol: endpoint.url for endpoint in hub.endpoints}
    if find_spec("paho") is None or "MQTT" not in urls:
        return
    port = int(urls["MQTT"].rpartition(":")[2])

    def scene(name: str, play: Callable[..., None], *arguments: Any) -> Scene:
        async def run(say: Callable[[str], None]) -> None:
            said: list[str] = []
            try:
                await trio.to_thread.run_sync(play, port, said.append, *arguments)
            finally:
                for line in said:
                    say(line)

        return Scene(name, run)

    yield scene("Two MQTT devices and a topic (paho-mqtt)", _play_topic)
    if find_spec("boto3") is not None and "SQS" in urls:
        yield scene("A device feeds a boto3 worker: one queue, two protocols", _to_sqs, urls["SQS"])
        yield scene("A boto3 sender commands a device, which confirms", _from_sqs, urls["SQS"])


def _play_topic(port: int, say: Callable[[str], None]) -> None:
    with _device(port, "lamp") as lamp, _device(port, "switch") as switch:
        switch.publish("home/kitchen/light", b"on", retain=True)
        say("switch  -> home/kitchen/light  'on' (retained)")
        lamp.subscribe("home/+/light")
        Scene.expect(lamp.next().payload, b"on")
        say("lamp    <- home/kitchen/light  'on', though it came later")
        switch.publish("home/kitchen/light", "grüße ☃".encode(), unit="text")
        message = lamp.next()
        Scene.expect(message.payload.decode(), "grüße ☃")
        Scene.expect(dict(message.properties.UserProperty), {"unit": "text"})  # type: ignore[union-attr]
        say("lamp    <- home/kitchen/light  'grüße ☃' with its user property")


def _to_sqs(port: int, say: Callable[[str], None], url: str) -> None:
    sqs = _boto3(url)
    orders = sqs.create_queue(QueueName="orders")["QueueUrl"]
    with _device(port, "till") as till:
        till.publish("$queue/orders", b'{"item": "tea"}', shop="12")
        say('till    -> $queue/orders       \'{"item": "tea"}\', user property shop=12')
    message = _receive(sqs, orders)
    Scene.expect(message["Body"], '{"item": "tea"}')
    Scene.expect(message["MessageAttributes"]["shop"]["StringValue"], "12")
    sqs.delete_message(QueueUrl=orders, ReceiptHandle=message["ReceiptHandle"])
    say("worker  <- SQS queue orders    the same body, attribute shop=12; deleted")


def _from_sqs(port: int, say: Callable[[str], None], url: str) -> None:
    sqs = _boto3(url)
    commands = sqs.create_queue(QueueName="commands")["QueueUrl"]
    with _device(port, "robot") as robot:
        robot.subscribe("$queue/commands")
        attribute = {"DataType": "String", "StringValue": "3"}
        sqs.send_message(
            QueueUrl=commands, MessageBody="forward", MessageAttributes={"steps": attribute}
        )
        say("boto3   -> SQS queue commands  'forward', attribute steps=3")
        message = robot.next()
        Scene.expect(message.payload, b"forward")
        Scene.expect(dict(message.properties.UserProperty), {"steps": "3"})  # type: ignore[union-attr]
        say("robot   <- $queue/commands     'forward', user property steps=3; PUBACK deletes it")
    left = sqs.get_queue_attributes(QueueUrl=commands, AttributeNames=["All"])["Attributes"]
    Scene.expect(left["ApproximateNumberOfMessages"], "0")
    Scene.expect(left["ApproximateNumberOfMessagesNotVisible"], "0")
    say("boto3   : the queue is empty")


def _boto3(url: str) -> Any:
    import boto3  # noqa: PLC0415 - installed for the demo only

    return boto3.client(
        "sqs",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="demo",
        aws_secret_access_key="demo",  # noqa: S106 - any key is taken on loopback
    )


def _receive(sqs: Any, url: str) -> dict[str, Any]:
    found = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5, MessageAttributeNames=["All"])
    if not found.get("Messages"):
        raise AssertionError("nothing arrived")
    return dict(found["Messages"][0])


class _Device:
    """A paho client that is connected and waits for each answer."""

    def __init__(self, port: int, name: str) -> None:
        from paho.mqtt import client  # noqa: PLC0415 - installed for the demo only
        from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415

        self._answers: queue.Queue[object] = queue.Queue()
        self._messages: queue.Queue[MQTTMessage] = queue.Queue()
        self.client = client.Client(
            CallbackAPIVersion.VERSION2, client_id=name, protocol=client.MQTTv5
        )
        self.client.on_message = lambda client, data, message: self._messages.put(message)
        self.client.on_connect = lambda *event: self._answers.put(event)
        self.client.on_subscribe = lambda *event: self._answers.put(event)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self._answers.get(timeout=_WAIT)

    def subscribe(self, pattern: str) -> None:
        self.client.subscribe(pattern, 1)
        self._answers.get(timeout=_WAIT)

    def publish(self, topic: str, body: bytes, *, retain: bool = False, **headers: str) -> None:
        from paho.mqtt.packettypes import PacketTypes  # noqa: PLC0415
        from paho.mqtt.properties import Properties  # noqa: PLC0415

        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.UserProperty = list(headers.items())
        self.client.publish(topic, body, 1, retain, properties).wait_for_publish(_WAIT)

    def next(self) -> MQTTMessage:
        return self._messages.get(timeout=_WAIT)


@contextmanager
def _device(port: int, name: str) -> Iterator[_Device]:
    device = _Device(port, name)
    try:
        yield device
    finally:
        device.client.disconnect()
        device.client.loop_stop()
