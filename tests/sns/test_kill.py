"""`kill -9`: what was confirmed is in every target, and what waited is delivered afterwards."""

import json
import threading
from pathlib import Path
from typing import Any

import botocore.exceptions

from hubbub.testing import HubProcess
from tests.aws_client import aws_client

from .receiver import receive

CONFIG = """
[plugins]
enable = ["aws", "sns", "sqs"]

[log]
level = "error"

[admin]
enabled = false

[aws.listener]
bind = ["127.0.0.1:0"]

[sns]
key_size = 1024
"""
RETRIES = json.dumps(
    {"healthyRetryPolicy": {"numRetries": 100, "minDelayTarget": 1, "maxDelayTarget": 1}}
)


def bodies(sqs: Any, url: str) -> list[str]:
    found: list[str] = []
    while batch := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in batch:
            found.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def test_nothing_confirmed_is_lost(tmp_path: Path) -> None:
    with HubProcess(tmp_path, CONFIG) as hub, receive() as receiver:
        sns, sqs = aws_client(hub, "sns"), aws_client(hub, "sqs")
        topic = sns.create_topic(Name="alerts", Tags=[{"Key": "a", "Value": "b"}])["TopicArn"]
        fifo = sns.create_topic(
            Name="alerts.fifo",
            Attributes={"FifoTopic": "true", "ArchivePolicy": '{"MessageRetentionPeriod":"1"}'},
        )["TopicArn"]
        urls = []
        for name in ("one", "two"):
            urls.append(sqs.create_queue(QueueName=name)["QueueUrl"])
            arn = f"arn:aws:sqs:us-east-1:000000000000:{name}"
            attributes = {"RawMessageDelivery": "true", "FilterPolicy": '{"n":[{"exists":true}]}'}
            sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)
            sns.subscribe(TopicArn=fifo, Protocol="sqs", Endpoint=arn)
        sns.subscribe(
            TopicArn=topic, Protocol="http", Endpoint=receiver.url,
            Attributes={"DeliveryPolicy": RETRIES, "RawMessageDelivery": "true"},
        )  # fmt: skip
        sns.confirm_subscription(TopicArn=topic, Token=receiver.get().json["Token"])
        for _ in range(10_000):
            receiver.answers.put(503)  # nothing arrives before the kill
        order = {"MessageGroupId": "g", "MessageDeduplicationId": "d"}
        first = sns.publish(TopicArn=fifo, Message="once", **order)
        confirmed: list[str] = []
        enough = threading.Event()

        def send() -> None:
            number = 0
            try:
                while True:
                    sns.publish(
                        TopicArn=topic, Message=str(number),
                        MessageAttributes={"n": {"DataType": "Number", "StringValue": "1"}},
                    )  # fmt: skip
                    confirmed.append(str(number))
                    number += 1
                    if number == 50:
                        enough.set()
            except botocore.exceptions.BotoCoreError:
                pass  # the hub is gone

        sender = threading.Thread(target=send)
        sender.start()
        assert enough.wait(30)
        hub.kill()
        sender.join(30)
        while not receiver.answers.empty():
            receiver.answers.get()
        while not receiver.calls.empty():
            receiver.calls.get()

        hub.start()
        sns, sqs = aws_client(hub, "sns"), aws_client(hub, "sqs")
        assert sns.list_tags_for_resource(ResourceArn=topic)["Tags"]
        urls = [sqs.get_queue_url(QueueName=name)["QueueUrl"] for name in ("one", "two")]
        for url in urls:
            found = bodies(sqs, url)
            plain = [body for body in found if body.isdecimal()]
            assert set(confirmed) <= set(plain)
            assert len(plain) == len(set(plain))
            [envelope] = [json.loads(body) for body in found if not body.isdecimal()]
            assert envelope["MessageId"] == first["MessageId"]
        arrived: set[str] = set()
        while not set(confirmed) <= arrived:
            arrived.add(receiver.get(30).body)
        again = sns.publish(TopicArn=fifo, Message="once", **order)
        assert again["SequenceNumber"] == first["SequenceNumber"]
        sns.publish(
            TopicArn=topic, Message="after",
            MessageAttributes={"n": {"DataType": "Number", "StringValue": "1"}},
        )  # fmt: skip
        assert [bodies(sqs, url) for url in urls] == [["after"], ["after"]]
        assert hub.stop() == 0
