"""FIFO queues: order, groups, deduplication."""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import SqsHub
from .helpers import arn, attributes, bodies, counts, receive, redrive, refused

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


def send(sqs: "SQSClient", url: str, body: str, group: str = "g", **options: Any) -> Any:
    return sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=group, **options)


def delete(sqs: "SQSClient", url: str, *messages: Any) -> None:
    for each in messages:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])


def test_attributes_of_a_message(sqs: "SQSClient", fifo: str) -> None:
    first = send(sqs, fifo, "a", MessageDeduplicationId="d1")
    second = send(sqs, fifo, "b")
    one, two = receive(sqs, fifo)
    assert one["Attributes"]["MessageGroupId"] == "g"
    assert one["Attributes"]["MessageDeduplicationId"] == "d1"
    assert one["Attributes"]["SequenceNumber"] == first["SequenceNumber"]
    assert two["Attributes"]["MessageDeduplicationId"] == hashlib.sha256(b"b").hexdigest()
    assert len(first["SequenceNumber"]) == len(second["SequenceNumber"]) == 20
    assert first["SequenceNumber"] < second["SequenceNumber"]


def test_what_a_message_needs(sqs: "SQSClient", make_queue: Callable[..., str]) -> None:
    url = make_queue(FifoQueue="true")
    no_dedup = (
        "The queue should either have ContentBasedDeduplication enabled or "
        "MessageDeduplicationId provided explicitly"
    )
    no_group = "The request must contain the parameter MessageGroupId."
    with refused("InvalidParameterValue", no_dedup):
        send(sqs, url, "x")
    with refused("MissingParameter", no_group):
        sqs.send_message(QueueUrl=url, MessageBody="x", MessageDeduplicationId="d")
    entry: Any = {"Id": "1", "MessageBody": "x"}
    with refused("InvalidParameterValue", no_dedup):
        sqs.send_message_batch(QueueUrl=url, Entries=[entry | {"MessageGroupId": "g"}])
    with refused("InvalidParameterValue", no_group):
        sqs.send_message_batch(QueueUrl=url, Entries=[entry | {"MessageDeduplicationId": "d"}])
    for bad in ("x" * 129, "a b", "é"):
        with refused("InvalidParameterValue", "MessageGroupId can only include alphanumeric"):
            send(sqs, url, "x", bad, MessageDeduplicationId="d")
        with refused("InvalidParameterValue", "MessageDeduplicationId can only include"):
            send(sqs, url, "x", MessageDeduplicationId=bad)


def test_no_delay_of_a_single_message(sqs: "SQSClient", fifo: str) -> None:
    send(sqs, fifo, "a", DelaySeconds=0)
    with refused(
        "InvalidParameterValue",
        "Value 2 for parameter DelaySeconds is invalid. Reason: The request include parameter "
        "that is not valid for this queue type.",
    ):
        send(sqs, fifo, "b", DelaySeconds=2)


# Order


def test_groups_are_given_as_wholes(sqs: "SQSClient", fifo: str) -> None:
    for body, group in (("a1", "a"), ("b1", "b"), ("a2", "a"), ("b2", "b"), ("a3", "a")):
        send(sqs, fifo, body, group)
    assert bodies(receive(sqs, fifo, 2)) == ["a1", "a2"]
    # Group a is locked, so a3 waits.
    assert bodies(receive(sqs, fifo)) == ["b1", "b2"]
    assert receive(sqs, fifo) == []


def test_a_group_opens_when_nothing_of_it_is_in_flight(
    hub: SqsHub, sqs: "SQSClient", fifo: str
) -> None:
    for body in "abc":
        send(sqs, fifo, body)
    one, two = receive(sqs, fifo, 2, VisibilityTimeout=10)
    delete(sqs, fifo, one)
    assert receive(sqs, fifo) == []
    sqs.change_message_visibility(
        QueueUrl=fifo, ReceiptHandle=two["ReceiptHandle"], VisibilityTimeout=0
    )
    again = receive(sqs, fifo, VisibilityTimeout=10)
    assert bodies(again) == ["b", "c"]
    assert [each["Attributes"]["ApproximateReceiveCount"] for each in again] == ["2", "1"]


def test_order_after_a_visibility_timeout_while_other_groups_flow(
    hub: SqsHub, sqs: "SQSClient", fifo: str
) -> None:
    for body, group in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")):
        send(sqs, fifo, body, group)
    assert bodies(receive(sqs, fifo, 1, VisibilityTimeout=10)) == ["a1"]
    flowing = receive(sqs, fifo, 1)
    assert bodies(flowing) == ["b1"]
    delete(sqs, fifo, *flowing)
    assert bodies(receive(sqs, fifo, 1)) == ["b2"]
    hub.jump(11)
    assert bodies(receive(sqs, fifo)) == ["a1", "a2"]


def test_a_delayed_queue_starves_no_group(
    hub: SqsHub, sqs: "SQSClient", make_queue: Callable[..., str]
) -> None:
    url = make_queue(FifoQueue="true", ContentBasedDeduplication="true", DelaySeconds="10")
    send(sqs, url, "a")
    hub.jump(6)
    send(sqs, url, "b")
    assert counts(sqs, url) == (0, 0, 2)
    hub.jump(5)
    (first,) = receive(sqs, url)
    assert first["Body"] == "a"
    delete(sqs, url, first)
    hub.jump(6)
    assert bodies(receive(sqs, url)) == ["b"]


def test_a_changed_delay_counts_for_what_waits(
    hub: SqsHub, sqs: "SQSClient", make_queue: Callable[..., str]
) -> None:
    url = make_queue(FifoQueue="true", ContentBasedDeduplication="true", DelaySeconds="900")
    send(sqs, url, "a")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "0"})
    hub.jump(0)
    assert bodies(receive(sqs, url)) == ["a"]


# Receipts


def test_a_group_opens_when_one_of_its_messages_comes_back(sqs: "SQSClient", fifo: str) -> None:
    for body in ("a1", "a2", "b1", "a3"):
        send(sqs, fifo, body, body[0])
    first, _ = receive(sqs, fifo, 2)
    sqs.change_message_visibility(
        QueueUrl=fifo, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0
    )
    assert bodies(receive(sqs, fifo)) == ["b1", "a1"]  # a2 is in flight, and a3 comes behind it


def test_groups_take_turns(sqs: "SQSClient", fifo: str) -> None:
    for body in ("a1", "b1", "b2", "c1", "a2"):
        send(sqs, fifo, body, body[0])
    assert bodies(receive(sqs, fifo, 3, VisibilityTimeout=0)) == ["a1", "a2", "b1"]
    again = receive(sqs, fifo, VisibilityTimeout=0)
    assert bodies(again) == ["c1", "a1", "a2", "b1", "b2"]


def test_a_purge_forgets_the_duplicates(sqs: "SQSClient", fifo: str) -> None:
    send(sqs, fifo, "a", MessageDeduplicationId="x")
    sqs.purge_queue(QueueUrl=fifo)
    send(sqs, fifo, "b", MessageDeduplicationId="x")
    assert bodies(receive(sqs, fifo)) == ["b"]


def test_an_expired_receipt_is_refused(hub: SqsHub, sqs: "SQSClient", fifo: str) -> None:
    send(sqs, fifo, "a")
    (first,) = receive(sqs, fifo, VisibilityTimeout=5)
    hub.jump(6)
    handle = first["ReceiptHandle"]
    message = (
        f"Value {handle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has "
        "expired."
    )
    with refused("InvalidParameterValue", message):
        sqs.delete_message(QueueUrl=fifo, ReceiptHandle=handle)
    with refused("InvalidParameterValue", message):
        sqs.change_message_visibility(QueueUrl=fifo, ReceiptHandle=handle, VisibilityTimeout=1)
    (second,) = receive(sqs, fifo)
    with refused("InvalidParameterValue", message):
        sqs.delete_message(QueueUrl=fifo, ReceiptHandle=handle)
    failed = sqs.delete_message_batch(
        QueueUrl=fifo, Entries=[{"Id": "1", "ReceiptHandle": handle}]
    )["Failed"]
    assert [each["Code"] for each in failed] == ["InvalidParameterValue"]
    delete(sqs, fifo, second, second)
    assert counts(sqs, fifo) == (0, 0, 0)


# Deduplication


def test_a_duplicate_has_the_identity_of_the_first(sqs: "SQSClient", fifo: str) -> None:
    first = send(sqs, fifo, "a", MessageDeduplicationId="x")
    second = send(sqs, fifo, "b", MessageDeduplicationId="x")
    assert second["MessageId"] == first["MessageId"]
    assert second["SequenceNumber"] == first["SequenceNumber"]
    assert second["MD5OfMessageBody"] == hashlib.md5(b"b").hexdigest()
    assert bodies(receive(sqs, fifo)) == ["a"]


def test_deduplication_survives_deletion_for_five_minutes(
    hub: SqsHub, sqs: "SQSClient", fifo: str
) -> None:
    send(sqs, fifo, "a")
    delete(sqs, fifo, *receive(sqs, fifo))
    hub.jump(290)
    send(sqs, fifo, "a")
    assert receive(sqs, fifo) == []
    hub.jump(11)
    send(sqs, fifo, "a")
    assert bodies(receive(sqs, fifo)) == ["a"]


def test_content_is_the_body_alone(sqs: "SQSClient", fifo: str) -> None:
    attribute: Any = {"a": {"DataType": "String", "StringValue": "x"}}
    send(sqs, fifo, "a")
    send(sqs, fifo, "a", MessageAttributes=attribute)
    send(sqs, fifo, "a", "other")
    assert counts(sqs, fifo)[0] == 1


@pytest.mark.parametrize(("scope", "expected"), [("queue", 1), ("messageGroup", 2)])
def test_deduplication_scope(
    sqs: "SQSClient", make_queue: Callable[..., str], scope: str, expected: int
) -> None:
    url = make_queue(FifoQueue="true", DeduplicationScope=scope)
    for group in ("g1", "g2", "g1"):
        send(sqs, url, "x", group, MessageDeduplicationId="same")
    assert counts(sqs, url)[0] == expected


def test_duplicates_in_a_batch(sqs: "SQSClient", fifo: str) -> None:
    sent = sqs.send_message_batch(
        QueueUrl=fifo,
        Entries=[
            {"Id": id_, "MessageBody": body, "MessageGroupId": "g"}
            for id_, body in (("1", "a"), ("2", "a"), ("3", "b"))
        ],
    )["Successful"]
    ids = [each["MessageId"] for each in sent]
    assert ids[0] == ids[1] != ids[2]
    assert bodies(receive(sqs, fifo)) == ["a", "b"]


# Receive request attempts


def test_an_attempt_gets_the_same_messages_again(hub: SqsHub, sqs: "SQSClient", fifo: str) -> None:
    for body in "abc":
        send(sqs, fifo, body)
    options: Any = {"ReceiveRequestAttemptId": "try", "VisibilityTimeout": 20}
    first = receive(sqs, fifo, 2, **options)
    hub.jump(15)
    second = receive(sqs, fifo, 2, **options)
    assert bodies(first) == ["a", "b"]
    assert [each["ReceiptHandle"][:36] for each in second] == [
        each["ReceiptHandle"][:36] for each in first
    ]
    assert [each["Attributes"]["ApproximateReceiveCount"] for each in second] == ["1", "1"]
    hub.jump(15)  # the visibility timeout began anew
    assert counts(sqs, fifo) == (1, 2, 0)
    delete(sqs, fifo, second[0])
    assert receive(sqs, fifo, 2, **options) == []


def test_an_attempt_is_remembered_for_five_minutes(
    hub: SqsHub, sqs: "SQSClient", fifo: str
) -> None:
    send(sqs, fifo, "a")
    options: Any = {"ReceiveRequestAttemptId": "try", "VisibilityTimeout": 1000}
    assert len(receive(sqs, fifo, **options)) == 1
    hub.jump(301)
    assert receive(sqs, fifo, **options) == []


# Dead letters


def test_dead_letters_keep_group_order_and_ids(
    sqs: "SQSClient", make_queue: Callable[..., str]
) -> None:
    target = make_queue(FifoQueue="true")
    source = make_queue(FifoQueue="true", RedrivePolicy=redrive(arn(sqs, target)))
    sent = [send(sqs, source, body, MessageDeduplicationId=f"d-{body}") for body in "ab"]
    receive(sqs, source, VisibilityTimeout=0)
    assert receive(sqs, source) == []
    found = receive(sqs, target)
    assert bodies(found) == ["a", "b"]
    assert [each["MessageId"] for each in found] == [each["MessageId"] for each in sent]
    first = found[0]["Attributes"]
    assert first["MessageGroupId"] == "g"
    assert first["MessageDeduplicationId"] == "d-a"
    assert first["DeadLetterQueueSourceArn"] == arn(sqs, source)
    assert first["ApproximateReceiveCount"] == "2"
    assert attributes(sqs, source)["ApproximateNumberOfMessages"] == "0"


def test_purge_empties_locked_groups(sqs: "SQSClient", fifo: str) -> None:
    for body in "ab":
        send(sqs, fifo, body)
    receive(sqs, fifo, 1)
    sqs.purge_queue(QueueUrl=fifo)
    send(sqs, fifo, "c")
    assert bodies(receive(sqs, fifo)) == ["c"]
