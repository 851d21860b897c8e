"""The scene of `hubbub demo`: one publish to an SNS topic reaches a queue and an MQTT client."""

import json
import queue
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trio

from hubbub import Scene

if TYPE_CHECKING:
    from hubbub import Hub

Say = Callable[[str], None]


def scenes(hub: "Hub") -> Iterable[Scene]:
    """Return the scene, if its clients are installed and its servers run."""
    try:
        import boto3  # noqa: PLC0415 - only the demo needs the clients
        from paho.mqtt import client as mqtt  # noqa: PLC0415
    except ImportError:
        return
    urls = {each.protocol: each.url for each in hub.endpoints}
    if not {"SNS", "SQS", "MQTT"} <= urls.keys():
        return

    def play(say: Say) -> None:
        _play(boto3, mqtt, urls, say)

    async def run(say: Say) -> None:
        def tell(line: str) -> None:
            trio.from_thread.run_sync(say, line)

        await trio.to_thread.run_sync(partial(play, tell))

    yield Scene("SNS topic to an SQS queue and an MQTT client", run)


def _play(boto3: Any, mqtt: Any, urls: dict[str, str], say: Say) -> None:
    session = boto3.Session(
        aws_access_key_id="demo",
        aws_secret_access_key="demo",  # noqa: S106 - there are no secrets in a demo
        region_name="us-east-1",
    )
    sns = session.client("sns", endpoint_url=urls["SNS"])
    sqs = session.client("sqs", endpoint_url=urls["SQS"])
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    url = sqs.create_queue(QueueName="alerts-inbox")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["QueueArn"])
    received: queue.Queue[bytes] = queue.Queue()
    subscribed: queue.Queue[None] = queue.Queue()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: received.put(message.payload)
    client.on_subscribe = lambda *_: subscribed.put(None)
    place = urlsplit(urls["MQTT"])
    client.connect(place.hostname, place.port)
    client.loop_start()
    try:
        client.subscribe("alerts/#", qos=1)
        subscribed.get(timeout=10)
        sns.publish(TopicArn=topic, Message="the kettle boils", Subject="Kitchen")
        say("boto3 published to the SNS topic alerts: the kettle boils")
        text = received.get(timeout=10).decode()
        Scene.expect(text, "the kettle boils")
        say(f"paho, subscribed to alerts/#, received: {text}")
        envelope = _receive(sqs, url)
        Scene.expect(envelope["Message"], "the kettle boils")
        say(f"boto3 received from the SQS queue, signed by SNS: {envelope['Subject']}")
        client.publish("alerts/kitchen", "tea is ready", qos=1).wait_for_publish(10)
        say("paho published to alerts/kitchen: tea is ready")
        envelope = _receive(sqs, url)
        Scene.expect(envelope["Message"], "tea is ready")
        say(f"boto3 received from the SQS queue: {envelope['Message']}")
    finally:
        client.disconnect()
        client.loop_stop()


def _receive(sqs: Any, url: str) -> dict[str, str]:
    [message] = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    envelope: dict[str, str] = json.loads(message["Body"])
    return envelope
