"""SNS and MQTT clients reach one another: a topic is a subtree of the topic tree."""

import base64
import json
import urllib.request
from collections.abc import Callable, Iterator
from queue import Queue
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from hubbub import Principal, StreamSettings

from .conftest import WAIT, Inbox, SnsHub
from .receiver import receive
from .test_endpoints import waiting_for

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

Make = Callable[..., str]


class Device:
    """A paho client (MQTT 5), and what it received."""

    def __init__(self, hub: SnsHub) -> None:
        self.received: Queue[mqtt.MQTTMessage] = Queue()
        self._subscribed: Queue[None] = Queue()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.on_message = lambda _client, _data, message: self.received.put(message)
        self.client.on_subscribe = lambda *_: self._subscribed.put(None)
        self.client.connect(*hub.served.address("mqtt"))
        self.client.loop_start()

    def subscribe(self, pattern: str) -> None:
        self.client.subscribe(pattern, qos=1)
        self._subscribed.get(timeout=WAIT)

    def publish(self, topic: str, body: bytes | str, **properties: Any) -> None:
        given = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        for name, value in properties.items():
            setattr(given, name, value)
        self.client.publish(topic, body, qos=1, properties=given).wait_for_publish(WAIT)

    def get(self) -> mqtt.MQTTMessage:
        return self.received.get(timeout=WAIT)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def device(hub: SnsHub) -> Iterator[Device]:
    device = Device(hub)
    yield device
    device.close()


def name_of(topic: str) -> str:
    return topic.rpartition(":")[2]


def test_an_mqtt_client_receives_what_sns_publishes(
    sns: "SNSClient", topic: str, device: Device
) -> None:
    device.subscribe(f"{name_of(topic)}/#")
    attributes: Any = {
        "kind": {"DataType": "String", "StringValue": "tea"},
        "hubbub.content-type": {"DataType": "String", "StringValue": "text/plain"},
    }
    sns.publish(TopicArn=topic, Message="ready", MessageAttributes=attributes)
    message = device.get()
    assert (message.topic, message.payload) == (name_of(topic), b"ready")
    assert message.properties is not None
    assert ("kind", "tea") in message.properties.UserProperty  # type: ignore[attr-defined]
    assert message.properties.ContentType == "text/plain"  # type: ignore[attr-defined]


def test_a_queue_receives_what_mqtt_publishes_into_the_subtree(
    sns: "SNSClient", topic: str, device: Device, inbox: Inbox, subscribed: Make
) -> None:
    subscribed()
    device.publish(
        f"{name_of(topic)}/kitchen", "21.5", UserProperty=[("room", "kitchen")],
        ContentType="text/plain",
    )  # fmt: skip
    envelope = inbox.envelope()
    assert envelope["TopicArn"] == topic
    assert envelope["Message"] == "21.5"
    assert envelope["MessageAttributes"] == {
        "room": {"Type": "String", "Value": "kitchen"},
        "hubbub.content-type": {"Type": "String", "Value": "text/plain"},
    }
    device.publish(name_of(topic), b"\xff\x00")
    envelope = inbox.envelope()
    assert base64.b64decode(envelope["Message"]) == b"\xff\x00"
    assert envelope["MessageAttributes"]["hubbub.body-encoding"]["Value"] == "base64"


def test_filter_policies_hold_for_mqtt_too(
    sns: "SNSClient", topic: str, device: Device, inbox: Inbox, subscribed: Make
) -> None:
    subscribed(FilterPolicy='{"room": ["kitchen"]}', RawMessageDelivery="true")
    for room in ("cellar", "kitchen"):
        device.publish(f"{name_of(topic)}/{room}", room, UserProperty=[("room", room)])
    message = inbox.one()
    assert message["Body"] == "kitchen"
    assert message["MessageAttributes"] == {
        "room": {"StringValue": "kitchen", "DataType": "String"}
    }
    assert inbox.empty


def test_other_topics_are_not_reached(
    sns: "SNSClient", topic: str, device: Device, inbox: Inbox, subscribed: Make
) -> None:
    subscribed()
    device.publish(f"{name_of(topic)}-else", "no")
    device.publish(f"a/{name_of(topic)}", "no")
    device.publish(name_of(topic), "yes")
    assert json.loads(inbox.one()["Body"])["Message"] == "yes"
    assert inbox.empty


def test_one_publish_reaches_everybody(
    sns: "SNSClient", hub: SnsHub, topic: str, device: Device, inbox: Inbox, subscribed: Make
) -> None:
    async def make_stream() -> None:
        everybody = Principal("test", realms=("*",))
        with hub.served.hub.session(everybody, protocol="test", client="test") as session:
            await session.create_stream("everybody", StreamSettings())

    hub.served.run(make_stream)
    subscribed()
    device.subscribe(name_of(topic))
    mailbox = f"{name_of(topic)}@example.com"
    with receive() as receiver:
        for protocol, endpoint in (
            ("http", receiver.url),
            ("email", mailbox),
            ("sms", "+4930777777"),
            ("firehose", "arn:aws:firehose:us-east-1:000000000000:deliverystream/everybody"),
        ):
            sns.subscribe(TopicArn=topic, Protocol=protocol, Endpoint=endpoint)
        sns.confirm_subscription(TopicArn=topic, Token=receiver.get().json["Token"])
        [mail] = waiting_for(hub, mailbox)
        url = next(line for line in mail["message"].splitlines() if line.startswith("http"))
        with urllib.request.urlopen(url):
            pass
        id_ = sns.publish(TopicArn=topic, Message="one for all")["MessageId"]
        assert inbox.envelope()["MessageId"] == id_
        assert receiver.get().json["MessageId"] == id_
        assert device.get().payload == b"one for all"
        assert waiting_for(hub, mailbox, 2)[1]["message_id"] == id_
        assert waiting_for(hub, "+4930777777")[0]["message_id"] == id_
