"""What the tests of SQS do again and again."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@contextmanager
def refused(code: str, message: str | None = None, status: int = 400) -> Iterator[None]:
    """Expect an answer with this error code, and this text in its message."""
    with pytest.raises(ClientError) as caught:
        yield
    response: Any = caught.value.response
    assert response["Error"]["Code"] == code
    if message is not None:
        assert message in response["Error"]["Message"]
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status


def attributes(sqs: "SQSClient", url: str) -> dict[str, str]:
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    return dict(found["Attributes"])  # type: ignore[arg-type]


def arn(sqs: "SQSClient", url: str) -> str:
    return attributes(sqs, url)["QueueArn"]


def counts(sqs: "SQSClient", url: str) -> tuple[int, int, int]:
    """Visible, in flight, delayed."""
    found = attributes(sqs, url)
    prefix = "ApproximateNumberOfMessages"
    return int(found[prefix]), int(found[f"{prefix}NotVisible"]), int(found[f"{prefix}Delayed"])


def receive(sqs: "SQSClient", url: str, limit: int = 10, **options: Any) -> list[Any]:
    options.setdefault("AttributeNames", ["All"])
    options.setdefault("MessageAttributeNames", ["All"])
    answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=limit, **options)
    return list(answer.get("Messages", []))


def bodies(messages: list[Any]) -> list[str]:
    return [each["Body"] for each in messages]


def redrive(target: str, count: int | str = 1) -> str:
    return json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": count})


def wait_for(sqs: "SQSClient", source_arn: str, *statuses: str) -> Any:
    """Return the latest move task of a source once it is in one of these states."""
    deadline = time.monotonic() + 15
    while True:
        (task,) = sqs.list_message_move_tasks(SourceArn=source_arn)["Results"]
        if task["Status"] in statuses:
            return task
        assert time.monotonic() < deadline, task
