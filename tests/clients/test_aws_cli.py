"""The AWS command line by its endpoint alone."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from hubbub.testing import HubProcess
from tests.programs import AWS_ENVIRONMENT, program, run

Aws = Callable[..., Any]
_ERRORS = [254, 255]
"""Exit codes after an answer that is an error: of version 2 and 1."""


@pytest.fixture
def aws(hub: HubProcess) -> Aws:
    """Run `aws sqs …`; return its answer."""
    command = program("aws")
    options = ["--endpoint-url", hub.url("SQS"), "--output", "json"]

    def call(*arguments: str, fails: bool = False) -> Any:
        expect = _ERRORS if fails else [0]
        done = run(
            [command, *options, "sqs", *arguments], environment=AWS_ENVIRONMENT, expect=expect
        )  # fmt: skip
        if fails:
            return done.stderr.decode().strip()
        return json.loads(done.stdout) if done.stdout.strip() else None

    return call


def test_a_message(aws: Aws, name: str) -> None:
    url = aws("create-queue", "--queue-name", name, "--attributes", "VisibilityTimeout=30")[
        "QueueUrl"
    ]
    attributes = '{"a": {"DataType": "Number", "StringValue": "1"}}'
    sent = aws(
        "send-message", "--queue-url", url, "--message-body", "hällo",
        "--message-attributes", attributes,
    )  # fmt: skip
    (message,) = aws(
        "receive-message", "--queue-url", url, "--message-attribute-names", "All",
        "--attribute-names", "All", "--wait-time-seconds", "10",
    )["Messages"]  # fmt: skip
    assert message["MessageId"] == sent["MessageId"]
    assert message["Body"] == "hällo"
    assert message["MessageAttributes"] == {"a": {"StringValue": "1", "DataType": "Number"}}
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    aws("delete-message", "--queue-url", url, "--receipt-handle", message["ReceiptHandle"])
    assert aws("receive-message", "--queue-url", url) is None


def test_fifo_and_batches_in_shorthand(aws: Aws, name: str) -> None:
    url = aws("create-queue", "--queue-name", f"{name}.fifo", "--attributes", "FifoQueue=true")[
        "QueueUrl"
    ]
    entries = [
        f"Id={number},MessageBody=body-{number},MessageGroupId=g,MessageDeduplicationId={number}"
        for number in range(3)
    ]
    sent = aws("send-message-batch", "--queue-url", url, "--entries", *entries)
    assert [entry["Id"] for entry in sent["Successful"]] == ["0", "1", "2"]
    taken = aws("receive-message", "--queue-url", url, "--max-number-of-messages", "10")
    assert [message["Body"] for message in taken["Messages"]] == ["body-0", "body-1", "body-2"]
    handles = [
        f"Id={number},ReceiptHandle={message['ReceiptHandle']}"
        for number, message in enumerate(taken["Messages"])
    ]
    done = aws("delete-message-batch", "--queue-url", url, "--entries", *handles)
    assert len(done["Successful"]) == 3


def test_pages_and_queries(aws: Aws, name: str) -> None:
    for number in range(2):
        aws("create-queue", "--queue-name", f"{name}-{number}")
    count = aws(
        "list-queues", "--queue-name-prefix", name, "--page-size", "1",
        "--query", "length(QueueUrls)",
    )  # fmt: skip
    assert count == 2


def test_an_error(aws: Aws, name: str) -> None:
    text = aws("get-queue-url", "--queue-name", name, fails=True)
    assert text == (
        "An error occurred (AWS.SimpleQueueService.NonExistentQueue) when calling the GetQueueUrl "
        "operation: The specified queue does not exist."
    )
