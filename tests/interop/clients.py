"""Real clients with as little around them as the tests need."""

import contextlib
import queue
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from hubbub.testing import HubProcess

WAIT = 15.0
"""Seconds after which something that should have come has not."""

CONFIG = """
admin.enabled = false
plugins.enable = ["aws", "sqs", "mqtt"]
aws.listener.bind = ["127.0.0.1:0"]
mqtt.listener.bind = ["127.0.0.1:0"]
"""


class MqttClient:
    """A paho client: what it receives comes out of a queue; it acknowledges when told to."""

    def __init__(
        self,
        hub: HubProcess,
        name: str,
        *,
        clean: bool = True,
        manual: bool = False,
        version: MQTTProtocolVersion = paho.MQTTv5,
    ) -> None:
        self.messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self._acknowledged: queue.Queue[tuple[int, Any]] = queue.Queue()
        self._events: queue.Queue[Any] = queue.Queue()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=name,
            protocol=version,
            manual_ack=manual,
        )
        self._client.max_inflight_messages_set(1000)
        self._client.on_message = lambda client, data, message: self.messages.put(message)
        self._client.on_publish = lambda client, data, mid, reason, properties: (
            self._acknowledged.put((mid, reason))
        )
        self._client.on_connect = lambda *event: self._events.put(event)
        self._client.on_subscribe = lambda *event: self._events.put(event)
        self._client.on_unsubscribe = lambda *event: self._events.put(event)
        self._v5 = version == paho.MQTTv5
        if self._v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = 0 if clean else 3600
            self._client.connect(
                "127.0.0.1", hub.port("MQTT"), clean_start=clean, properties=properties
            )
        else:
            self._client.connect("127.0.0.1", hub.port("MQTT"))
        self._client.loop_start()
        _, _, self.flags, reason, _ = self._events.get(timeout=WAIT)
        assert not reason.is_failure, reason

    def subscribe(self, pattern: str, qos: int = 1) -> None:
        """Subscribe, and wait for the answer."""
        if self._v5:
            self._client.subscribe(pattern, options=SubscribeOptions(qos=qos))
        else:
            self._client.subscribe(pattern, qos)
        _, _, _, (reason,), _ = self._events.get(timeout=WAIT)
        assert not reason.is_failure, reason

    def publish(
        self, topic: str, body: bytes, qos: int = 1, *, retain: bool = False, **fields: Any
    ) -> Any:
        """Publish, and return the reason code of the confirmation."""
        properties = None
        if self._v5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        for name, value in fields.items():
            setattr(properties, name, value)
        mid = self._client.publish(topic, body, qos, retain, properties).mid
        while True:
            confirmed, reason = self._acknowledged.get(timeout=WAIT)
            if confirmed == mid:
                return reason

    def send(self, topic: str, body: bytes, qos: int = 1) -> int:
        """Publish without waiting; return the number its confirmation will have."""
        return self._client.publish(topic, body, qos).mid

    def confirmed(self) -> set[int]:
        """The numbers of all publications confirmed since this was asked last."""
        found = set()
        with contextlib.suppress(queue.Empty):
            while True:
                found.add(self._acknowledged.get_nowait()[0])
        return found

    def next(self) -> paho.MQTTMessage:
        """The next message."""
        return self.messages.get(timeout=WAIT)

    def acknowledge(self, message: paho.MQTTMessage) -> None:
        """Confirm a message, if this client does so by hand."""
        self._client.ack(message.mid, message.qos)

    def drop(self) -> None:
        """Cut the connection, as a device does that loses power."""
        sock = self._client.socket()
        self._client.loop_stop()
        if sock is not None:
            sock.close()

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


@contextlib.contextmanager
def mqtt(
    hub: HubProcess, name: str, *, clean: bool = True, manual: bool = False
) -> Iterator[MqttClient]:
    """A client that is connected inside the context."""
    client = MqttClient(hub, name, clean=clean, manual=manual)
    try:
        yield client
    finally:
        client.close()
