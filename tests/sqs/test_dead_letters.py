"""Redrive policies at work, and message move tasks."""

import base64
import json
import threading
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from hubbub import Hub, Principal

from .conftest import SqsHub
from .helpers import arn, attributes, bodies, counts, receive, redrive, refused, wait_for

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


def test_moved_by_the_receive_that_would_be_one_too_many(
    hub: SqsHub, sqs: "SQSClient", queue: str, make_queue: Callable[..., str]
) -> None:
    source = make_queue(RedrivePolicy=redrive(arn(sqs, queue), 2))
    sent = sqs.send_message(
        QueueUrl=source,
        MessageBody="x",
        MessageAttributes={"a": {"DataType": "Number.x", "StringValue": "01"}},
    )
    (first,) = receive(sqs, source, VisibilityTimeout=0)
    receive(sqs, source, VisibilityTimeout=5)
    hub.jump(6)
    assert counts(sqs, source) == (1, 0, 0)
    assert counts(sqs, queue) == (0, 0, 0)
    assert receive(sqs, source) == []
    assert counts(sqs, source) == (0, 0, 0)
    (found,) = receive(sqs, queue)
    assert found["MessageId"] == sent["MessageId"]
    assert found["MessageAttributes"] == first["MessageAttributes"]
    assert found["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert found["Attributes"]["SentTimestamp"] == first["Attributes"]["SentTimestamp"]
    assert found["Attributes"]["ApproximateReceiveCount"] == "3"
    assert found["Attributes"]["DeadLetterQueueSourceArn"] == arn(sqs, source)


def test_a_long_poll_on_the_dead_letter_queue_is_woken(
    hub: SqsHub, sqs: "SQSClient", queue: str, make_queue: Callable[..., str]
) -> None:
    source = make_queue(RedrivePolicy=redrive(arn(sqs, queue)))
    sqs.send_message(QueueUrl=source, MessageBody="x")
    receive(sqs, source, VisibilityTimeout=0)
    found: list[Any] = []
    waiting = threading.Thread(
        target=lambda: found.extend(receive(hub.client(), queue, WaitTimeSeconds=20))
    )
    waiting.start()
    receive(sqs, source)
    waiting.join(10)
    assert bodies(found) == ["x"]


@pytest.mark.parametrize("other", [False, True])
def test_messages_stay_when_the_dead_letter_queue_is_deleted(
    hub: SqsHub, sqs: "SQSClient", make_queue: Callable[..., str], other: bool
) -> None:
    target = make_queue()
    source = make_queue(RedrivePolicy=redrive(arn(sqs, target)))
    policy = attributes(sqs, source)["RedrivePolicy"]
    sqs.send_message(QueueUrl=source, MessageBody="x")
    if other:  # by another protocol
        hub.served.run(_delete_queue, hub.served.hub, target.rpartition("/")[2])
    else:
        sqs.delete_queue(QueueUrl=target)
    for _ in range(3):
        assert len(receive(sqs, source, VisibilityTimeout=0)) == 1
    assert attributes(sqs, source)["RedrivePolicy"] == policy
    sqs.create_queue(QueueName=target.rpartition("/")[2])
    assert receive(sqs, source) == []
    assert bodies(receive(sqs, target)) == ["x"]


async def _delete_queue(hub: Hub, name: str) -> None:
    with hub.session(Principal("somebody"), protocol="test", client="test") as session:
        await session.delete_queue(name)


# Move tasks


def bury(sqs: "SQSClient", make_queue: Callable[..., str], count: int) -> tuple[str, str]:
    """Make a queue and its dead-letter queue, with so many dead letters."""
    target = make_queue()
    source = make_queue(RedrivePolicy=redrive(arn(sqs, target)))
    for number in range(count):
        sqs.send_message(QueueUrl=source, MessageBody=str(number))
    while receive(sqs, source, VisibilityTimeout=0):
        pass
    assert counts(sqs, target)[0] == count
    return source, target


def drain(sqs: "SQSClient", url: str, count: int) -> list[Any]:
    found: list[Any] = []
    while len(found) < count:
        messages = receive(sqs, url, WaitTimeSeconds=10)
        assert messages
        found += messages
    return found


def test_back_to_where_they_came_from(sqs: "SQSClient", make_queue: Callable[..., str]) -> None:
    source, target = bury(sqs, make_queue, 12)
    other = make_queue(RedrivePolicy=redrive(arn(sqs, target)))
    sqs.send_message(QueueUrl=other, MessageBody="other")
    receive(sqs, other, VisibilityTimeout=0)
    receive(sqs, other)
    dead = arn(sqs, target)
    (before,) = receive(sqs, target, 1, VisibilityTimeout=0)
    handle = sqs.start_message_move_task(SourceArn=dead)["TaskHandle"]
    content = json.loads(base64.b64decode(handle))
    assert content["sourceArn"] == dead
    assert str(uuid.UUID(content["taskId"])) == content["taskId"]
    found = drain(sqs, source, 12)
    assert sorted(int(each["Body"]) for each in found) == list(range(12))
    assert bodies(drain(sqs, other, 1)) == ["other"]
    task = wait_for(sqs, dead, "COMPLETED")
    assert task["ApproximateNumberOfMessagesMoved"] == 13
    assert task["ApproximateNumberOfMessagesToMove"] == 13
    assert task["SourceArn"] == dead
    assert "TaskHandle" not in task
    assert "DestinationArn" not in task
    assert counts(sqs, target) == (0, 0, 0)
    # They are new messages.
    again = next(each for each in found if each["Body"] == before["Body"])
    assert again["MessageId"] != before["MessageId"]
    assert again["Attributes"]["ApproximateReceiveCount"] == "1"
    assert "DeadLetterQueueSourceArn" not in again["Attributes"]


def test_to_a_queue_at_a_rate_and_cancelled(
    sqs: "SQSClient", make_queue: Callable[..., str]
) -> None:
    _, target = bury(sqs, make_queue, 5)
    destination = make_queue()
    dead = arn(sqs, target)
    handle = sqs.start_message_move_task(
        SourceArn=dead, DestinationArn=arn(sqs, destination), MaxNumberOfMessagesPerSecond=1
    )["TaskHandle"]
    drain(sqs, destination, 1)
    with refused("InvalidParameterValue", "There is already a task running."):
        sqs.start_message_move_task(SourceArn=dead)
    (task,) = sqs.list_message_move_tasks(SourceArn=dead)["Results"]
    assert task["TaskHandle"] == handle
    assert task["Status"] == "RUNNING"
    assert task["MaxNumberOfMessagesPerSecond"] == 1
    assert task["DestinationArn"] == arn(sqs, destination)
    moved = sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"]
    assert 1 <= moved < 5
    task = wait_for(sqs, dead, "CANCELLED")
    left = counts(sqs, target)[0]
    assert left >= 1
    assert task["ApproximateNumberOfMessagesMoved"] + left == 5
    with refused("AWS.SimpleQueueService.UnsupportedOperation"):
        sqs.cancel_message_move_task(TaskHandle=handle)


def test_a_destination_that_goes_away(sqs: "SQSClient", make_queue: Callable[..., str]) -> None:
    _, target = bury(sqs, make_queue, 5)
    destination = make_queue()
    dead = arn(sqs, target)
    sqs.start_message_move_task(
        SourceArn=dead, DestinationArn=arn(sqs, destination), MaxNumberOfMessagesPerSecond=2
    )
    drain(sqs, destination, 1)
    sqs.delete_queue(QueueUrl=destination)
    task = wait_for(sqs, dead, "FAILED")
    assert task.get("FailureReason") == "AWS.SimpleQueueService.NonExistentQueue"
    assert counts(sqs, target)[0] == 5 - task["ApproximateNumberOfMessagesMoved"]


def test_the_newest_task_first(sqs: "SQSClient", make_queue: Callable[..., str]) -> None:
    _, target = bury(sqs, make_queue, 1)
    dead = arn(sqs, target)
    for _ in range(12):
        sqs.start_message_move_task(SourceArn=dead)
        wait_for(sqs, dead, "COMPLETED")
    tasks = sqs.list_message_move_tasks(SourceArn=dead, MaxResults=10)["Results"]
    assert len(tasks) == 10
    starts = [each["StartedTimestamp"] for each in tasks]
    assert starts == sorted(starts, reverse=True)
    with refused("InvalidParameterValue", "MaxResults"):
        sqs.list_message_move_tasks(SourceArn=dead, MaxResults=11)


def test_fifo_messages_are_moved_in_order(sqs: "SQSClient", make_queue: Callable[..., str]) -> None:
    target = make_queue(FifoQueue="true")
    source = make_queue(FifoQueue="true", RedrivePolicy=redrive(arn(sqs, target)))
    for number in range(5):
        sqs.send_message(
            QueueUrl=source, MessageBody=str(number), MessageGroupId="g",
            MessageDeduplicationId=str(number),
        )  # fmt: skip
    receive(sqs, source, VisibilityTimeout=0)
    receive(sqs, source)
    assert counts(sqs, target)[0] == 5
    sqs.start_message_move_task(SourceArn=arn(sqs, target))
    wait_for(sqs, arn(sqs, target), "COMPLETED")
    assert bodies(receive(sqs, source)) == list("01234")


def test_bad_tasks(sqs: "SQSClient", queue: str, make_queue: Callable[..., str]) -> None:
    _, target = bury(sqs, make_queue, 1)
    dead = arn(sqs, target)
    mine = arn(sqs, queue)
    with refused("InvalidParameterValue", "Source queue must be configured as a Dead Letter"):
        sqs.start_message_move_task(SourceArn=mine)
    with refused("ResourceNotFoundException", "for the SourceArn parameter doesn't", status=404):
        sqs.start_message_move_task(SourceArn=mine + "x")
    with refused("ResourceNotFoundException", "for the DestinationArn parameter", status=404):
        sqs.start_message_move_task(SourceArn=dead, DestinationArn=mine + "x")
    with refused("InvalidParameterValue", "You must use this format to specify the SourceArn"):
        sqs.start_message_move_task(SourceArn="queue")
    with refused("InvalidParameterValue", "MaxNumberOfMessagesPerSecond"):
        sqs.start_message_move_task(SourceArn=dead, MaxNumberOfMessagesPerSecond=501)
    with refused("InvalidParameterValue", "same"):
        sqs.start_message_move_task(SourceArn=dead, DestinationArn=dead)
    with refused("ResourceNotFoundException", status=404):
        sqs.list_message_move_tasks(SourceArn=mine + "x")
    with refused("InvalidParameterValue", "Value for parameter TaskHandle is invalid."):
        sqs.cancel_message_move_task(TaskHandle="foobared")

    def handle(source: str) -> str:
        content = {"taskId": str(uuid.uuid4()), "sourceArn": source}
        return base64.b64encode(json.dumps(content).encode()).decode()

    with refused("ResourceNotFoundException", "SourceArn parameter doesn't exist", status=404):
        sqs.cancel_message_move_task(TaskHandle=handle(mine + "x"))
    with refused("ResourceNotFoundException", "Task does not exist.", status=404):
        sqs.cancel_message_move_task(TaskHandle=handle(dead))
