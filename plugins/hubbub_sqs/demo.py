"""A scene of `hubbub demo`: boto3 alone."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import trio

from hubbub import Scene

if TYPE_CHECKING:
    from hubbub import Hub


def scenes(hub: "Hub") -> Iterator[Scene]:
    """Yield the scene, if boto3 is installed."""
    urls = {endpoint.protocol: endpoint.url for endpoint in hub.endpoints}
    if find_spec("boto3") is None or "SQS" not in urls:
        return

    async def run(say: Callable[[str], None]) -> None:
        for line in await trio.to_thread.run_sync(_play, urls["SQS"]):
            say(line)

    yield Scene("A boto3 worker, and a message that nobody can handle", run)


def _play(url: str) -> list[str]:
    import boto3  # noqa: PLC0415 - installed for the demo only

    sqs = boto3.client(
        "sqs",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="demo",
        aws_secret_access_key="demo",  # noqa: S106 - any key is taken on loopback
    )
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]
    policy = f'{{"deadLetterTargetArn": "{arn["QueueArn"]}", "maxReceiveCount": 1}}'
    jobs = sqs.create_queue(
        QueueName="jobs", Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"}
    )["QueueUrl"]
    sqs.send_message_batch(
        QueueUrl=jobs,
        Entries=[{"Id": name, "MessageBody": name} for name in ("good", "poison")],
    )
    said = ["boto3   -> SQS queue jobs      'good', 'poison'"]
    handled = []
    for _ in range(4):
        found = sqs.receive_message(QueueUrl=jobs, MaxNumberOfMessages=10)
        for message in found.get("Messages", []):
            if message["Body"] == "good":
                sqs.delete_message(QueueUrl=jobs, ReceiptHandle=message["ReceiptHandle"])
            handled.append(message["Body"])
    if sorted(handled) != ["good", "poison"]:
        raise AssertionError(f"each should have come once, and not {handled}")
    said.append("worker  <- SQS queue jobs      'good' is deleted, 'poison' given back")
    (letter,) = sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=5)["Messages"]
    if letter["Body"] != "poison":
        raise AssertionError(f"'poison' should be dead, and not {letter['Body']!r}")
    said.append("worker  <- SQS queue dead      'poison', after one receive too many")
    return said
