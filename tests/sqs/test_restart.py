"""What SQS clients find after the hub was killed."""

from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from hubbub.testing import HubProcess

from .helpers import arn, attributes, bodies, counts, receive, redrive, wait_for

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

CONFIG = """
admin.enabled = false
plugins.enable = ["aws", "sqs"]
aws.listener.bind = ["127.0.0.1:0"]
"""


def client(hub: HubProcess) -> "SQSClient":
    return boto3.client(
        "sqs",
        endpoint_url=hub.url("SQS"),
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def test_everything_confirmed_is_there_after_a_kill(tmp_path: Path) -> None:
    with HubProcess(tmp_path, CONFIG) as hub:
        sqs = client(hub)
        target = sqs.create_queue(QueueName="dead")["QueueUrl"]
        policy = redrive(arn(sqs, target), 5)
        url = sqs.create_queue(
            QueueName="q", Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "40"},
            tags={"k": "v"},
        )["QueueUrl"]  # fmt: skip
        before = attributes(sqs, url)
        sent = [
            sqs.send_message(
                QueueUrl=url, MessageBody=str(number),
                MessageAttributes={"n": {"DataType": "Number.x", "StringValue": "01"}},
            )["MessageId"]
            for number in range(4)
        ]  # fmt: skip
        first, second = receive(sqs, url, 2)
        sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
        hub.kill()
        hub.start()
        sqs = client(hub)
        after = attributes(sqs, url)
        volatile = {"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"}
        assert {k: v for k, v in after.items() if k not in volatile} == {
            k: v for k, v in before.items() if k not in volatile
        }
        assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"k": "v"}
        # A receipt from before the kill counts while nobody else has received the message.
        sqs.delete_message(QueueUrl=url, ReceiptHandle=second["ReceiptHandle"])
        found = receive(sqs, url)
        assert bodies(found) == ["2", "3"]
        assert [each["MessageId"] for each in found] == sent[2:]
        assert found[0]["MessageAttributes"]["n"] == {
            "DataType": "Number.x",
            "StringValue": "01",
        }


def test_fifo_deduplication_and_order_after_a_kill(tmp_path: Path) -> None:
    with HubProcess(tmp_path, CONFIG) as hub:
        sqs = client(hub)
        fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        url = sqs.create_queue(QueueName="q.fifo", Attributes=fifo)["QueueUrl"]  # type: ignore[arg-type]

        def send(body: str) -> str:
            answer = sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="g")
            return answer["SequenceNumber"]

        first = send("a")
        send("b")
        hub.kill()
        hub.start()
        sqs = client(hub)
        assert send("a") == first
        assert send("c") > first
        assert bodies(receive(sqs, url)) == ["a", "b", "c"]


def test_a_move_task_goes_on_after_a_kill(tmp_path: Path) -> None:
    with HubProcess(tmp_path, CONFIG) as hub:
        sqs = client(hub)
        target = sqs.create_queue(QueueName="dead")["QueueUrl"]
        dead = arn(sqs, target)
        source = sqs.create_queue(QueueName="q", Attributes={"RedrivePolicy": redrive(dead)})
        url = source["QueueUrl"]
        for number in range(6):
            sqs.send_message(QueueUrl=target, MessageBody=str(number))
        destination = sqs.create_queue(QueueName="to")["QueueUrl"]
        sqs.start_message_move_task(
            SourceArn=dead, DestinationArn=arn(sqs, destination), MaxNumberOfMessagesPerSecond=3
        )
        assert len(receive(sqs, destination, 1, WaitTimeSeconds=10)) == 1
        hub.kill()
        hub.start()
        sqs = client(hub)
        found: set[str] = set()
        while len(found) < 6:
            messages = receive(sqs, destination, WaitTimeSeconds=10)
            assert messages
            found |= set(bodies(messages))
        assert found == set("012345")
        wait_for(sqs, dead, "COMPLETED")
        assert counts(sqs, target) == counts(sqs, url) == (0, 0, 0)
