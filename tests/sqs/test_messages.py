"""Sending, receiving, deleting, visibility: standard queues."""

import hashlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub_aws.attributes import Attribute
from hubbub_sqs.message_attributes import digest

from .conftest import SqsHub
from .helpers import attributes, bodies, counts, receive, refused

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

LIMIT = 1_048_576


def text(value: str, kind: str = "String") -> Any:
    return {"DataType": kind, "StringValue": value}


def blob(value: bytes, kind: str = "Binary") -> Any:
    return {"DataType": kind, "BinaryValue": value}


# Bodies


@pytest.mark.parametrize(
    "body", ["hello", "ünïcödé 🎉 \U0010ffff", "tab\tline\nreturn\r", "<&>\"'", " ", "x" * LIMIT]
)
def test_bodies(sqs: "SQSClient", queue: str, body: str) -> None:
    sent: Any = sqs.send_message(QueueUrl=queue, MessageBody=body)
    md5 = hashlib.md5(body.encode()).hexdigest()
    assert sent["MD5OfMessageBody"] == md5
    (found,) = receive(sqs, queue)
    assert found["Body"] == body
    assert found["MD5OfBody"] == md5
    assert found["MessageId"] == sent["MessageId"]
    assert "MD5OfMessageAttributes" not in sent
    assert "SequenceNumber" not in sent


@pytest.mark.parametrize("body", ["\x08", "a\x00b", "\ufffe", "\x1f"])
def test_characters_that_sqs_does_not_have(sqs: "SQSClient", queue: str, body: str) -> None:
    with refused("InvalidMessageContents", "#x9 | #xA | #xD | #x20 to #xD7FF"):
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    with refused("InvalidParameterValue", "#x9 | #xA | #xD | #x20 to #xD7FF"):
        sqs.send_message(QueueUrl=queue, MessageBody="x", MessageAttributes={"a": text(body)})


def test_empty_body(sqs: "SQSClient", queue: str) -> None:
    with refused("MissingParameter", "The request must contain the parameter MessageBody."):
        sqs.send_message(QueueUrl=queue, MessageBody="")


def test_too_long(sqs: "SQSClient", queue: str, make_queue: Callable[..., str]) -> None:
    reason = "One or more parameters are invalid. Reason: Message must be shorter than {} bytes."
    with refused("InvalidParameterValue", reason.format(LIMIT)):
        sqs.send_message(QueueUrl=queue, MessageBody="x" * (LIMIT + 1))
    small = make_queue(MaximumMessageSize="1024")
    sqs.send_message(QueueUrl=small, MessageBody="x" * 1024)
    with refused("InvalidParameterValue", reason.format(1024)):
        sqs.send_message(QueueUrl=small, MessageBody="ü" * 512 + "x")
    [failed] = sqs.send_message_batch(
        QueueUrl=small, Entries=[{"Id": "1", "MessageBody": "x" * 1025}]
    )["Failed"]
    assert failed["Message"] == (
        "One or more parameters cannot be validated. Reason: Message must be shorter than 1024 "
        "bytes."
    )


def test_attributes_count_for_the_length(sqs: "SQSClient", make_queue: Callable[..., str]) -> None:
    small = make_queue(MaximumMessageSize="1024")
    # name, type and value: 1 + 6 + 1 each
    numbers = {name: text("1", "Number") for name in "abcdefghij"}
    sqs.send_message(QueueUrl=small, MessageBody="x" * (1024 - 80), MessageAttributes=numbers)
    with refused("InvalidParameterValue", "shorter than 1024 bytes"):
        sqs.send_message(QueueUrl=small, MessageBody="x" * (1024 - 79), MessageAttributes=numbers)


# Message attributes


def test_digests_that_aws_gave() -> None:
    assert digest({"Foo": Attribute("String", "Bar")}) == "ae7155c6026991b6d54b11589678bf9c"
    both = {"n": Attribute("Number", "42"), "b": Attribute("Binary", b"\x00\x01")}
    assert digest(both) == "6b0e57f941e8d0f7d661adde182a4d82"


def test_attributes_come_back_as_they_were_sent(sqs: "SQSClient", queue: str) -> None:
    sent_attributes = {
        "string": text("värde"),
        "custom": text("x", "String.custom"),
        "integer": text("42", "Number"),
        "decimal": text("1.50", "Number"),
        "exponent": text("1E3", "Number.float"),
        "long": text("123456789012345678901234567890.5", "Number"),
        "zeros": text("007", "Number"),
        "binary": blob(b"\x00\xff"),
        "picture": blob(b"png", "Binary.png"),
        "list": text("[1, 2]", "String.Array"),
    }
    sent: Any = sqs.send_message(QueueUrl=queue, MessageBody="x", MessageAttributes=sent_attributes)
    (found,) = receive(sqs, queue)
    assert found["MessageAttributes"] == sent_attributes
    assert found["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]


def test_only_the_attributes_asked_for(sqs: "SQSClient", queue: str) -> None:
    sqs.send_message(
        QueueUrl=queue,
        MessageBody="x",
        MessageAttributes={
            "Help.Me": text("Me"), "Hello": text("There"), "General": text("Kenobi"),
        },
    )  # fmt: skip
    every = {"Help.Me", "Hello", "General"}
    for names, expected in (
        (["All"], every),
        ([".*"], every),
        (["*"], every),
        (["Foo"], set()),
        (["Hello", "General"], {"Hello", "General"}),
        (["Foo", "Hello"], {"Hello"}),
        (["Hel.*"], {"Hello", "Help.Me"}),
        (["Help.*"], {"Help.Me"}),
        ([], set()),
    ):
        (found,) = receive(sqs, queue, MessageAttributeNames=names, VisibilityTimeout=0)
        assert set(found.get("MessageAttributes", {})) == expected, names
        if not expected:
            assert "MD5OfMessageAttributes" not in found
        if names == ["Hello", "General"]:
            assert found["MD5OfMessageAttributes"] == "fca026605781cb4126a1e9044df24232"


def test_names_of_attributes_may_have_any_letters(sqs: "SQSClient", queue: str) -> None:
    given = {"attr.1øßä": text("x")}
    sqs.send_message(QueueUrl=queue, MessageBody="x", MessageAttributes=given)
    (found,) = receive(sqs, queue)
    assert found["MessageAttributes"] == given


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("a b", text("x"), "upper and lower score characters, digits, periods"),
        ("AWS.x", text("x"), "You can't use message attribute names beginning with 'AWS.'"),
        ("amazon.x", text("x"), "You can't use message attribute names"),
        (".a", text("x"), "they cannot start or end with '.'"),
        ("a.", text("x"), "they cannot start or end with '.'"),
        ("a..b", text("x"), "they cannot start or end with '.'"),
        ("x" * 257, text("x"), "must be shorter than 256 Bytes"),
        ("a", text(""), "Message (user) attribute 'a' must contain a non-empty value of type "),
        ("a", blob(b""), "must contain a non-empty value of type 'Binary'."),
        ("a", {"DataType": "String", "BinaryValue": b"x"}, "non-empty value of type 'String'."),
        ("a", text("x", ""), "must contain non-empty message attribute type."),
        ("a", text("x", "Float"), "has an invalid message attribute type"),
        ("a", text("x", "Stringy"), "has an invalid message attribute type"),
        ("a", text("x", "Number"), "Can't cast the value of message (user) attribute 'a' to a "),
        ("a", text("x", "String." + "y" * 250), "types must be shorter than 256 Bytes"),
    ],
)
def test_bad_attributes(sqs: "SQSClient", queue: str, name: str, value: Any, reason: str) -> None:
    with refused("InvalidParameterValue", reason):
        sqs.send_message(QueueUrl=queue, MessageBody="x", MessageAttributes={name: value})


def test_ten_attributes_at_most(sqs: "SQSClient", queue: str) -> None:
    ten = {f"a{n}": text("x") for n in range(10)}
    sqs.send_message(QueueUrl=queue, MessageBody="x", MessageAttributes=ten)
    with refused("InvalidParameterValue", "Number of message attributes [11] exceeds"):
        sqs.send_message(QueueUrl=queue, MessageBody="x", MessageAttributes=ten | {"b": text("x")})


# System attributes


def test_system_attributes(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    hub.jump(5)
    (first,) = receive(sqs, queue, VisibilityTimeout=0)
    found = first["Attributes"]
    assert set(found) == {
        "SenderId",
        "SentTimestamp",
        "ApproximateReceiveCount",
        "ApproximateFirstReceiveTimestamp",
    }
    assert found["ApproximateReceiveCount"] == "1"
    waited = int(found["ApproximateFirstReceiveTimestamp"]) - int(found["SentTimestamp"])
    assert 5000 <= waited < 10_000
    hub.jump(5)
    (second,) = receive(sqs, queue)
    assert second["Attributes"] == found | {"ApproximateReceiveCount": "2"}
    assert second["ReceiptHandle"] != first["ReceiptHandle"]


def test_only_the_system_attributes_asked_for(sqs: "SQSClient", queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    options: list[dict[str, Any]] = [
        {"AttributeNames": ["SenderId"], "MessageSystemAttributeNames": []},
        {"AttributeNames": [], "MessageSystemAttributeNames": ["SenderId"]},
        {"AttributeNames": ["SenderId", "Policy"]},
    ]
    for each in options:
        (found,) = receive(sqs, queue, VisibilityTimeout=0, **each)
        assert set(found["Attributes"]) == {"SenderId"}
    (found,) = receive(sqs, queue, VisibilityTimeout=0, AttributeNames=[])
    assert "Attributes" not in found
    with refused("InvalidAttributeName", "Unknown Attribute Nothing."):
        receive(sqs, queue, AttributeNames=["Nothing"])


def test_trace_header(sqs: "SQSClient", queue: str) -> None:
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793"
    sent: Any = sqs.send_message(
        QueueUrl=queue, MessageBody="x", MessageSystemAttributes={"AWSTraceHeader": text(trace)}
    )
    assert "MD5OfMessageAttributes" not in sent
    assert sent["MD5OfMessageSystemAttributes"] == digest(
        {"AWSTraceHeader": Attribute("String", trace)}
    )
    (found,) = receive(sqs, queue)
    assert found["Attributes"]["AWSTraceHeader"] == trace
    assert "MessageAttributes" not in found


def test_bad_system_attributes(sqs: "SQSClient", queue: str) -> None:
    for bad in ({"Other": text("x")}, {"AWSTraceHeader": blob(b"x")}):
        with refused("InvalidParameterValue", "system attribute"):
            sqs.send_message(QueueUrl=queue, MessageBody="x", MessageSystemAttributes=bad)  # type: ignore[arg-type]


def test_a_fair_queue_carries_the_group(sqs: "SQSClient", queue: str) -> None:
    for body, group in (("a", "one"), ("b", "one"), ("c", "two")):
        sqs.send_message(QueueUrl=queue, MessageBody=body, MessageGroupId=group)
    found = receive(sqs, queue)
    assert sorted((each["Body"], each["Attributes"]["MessageGroupId"]) for each in found) == [
        ("a", "one"),
        ("b", "one"),
        ("c", "two"),
    ]
    with refused("InvalidParameterValue", "for parameter MessageGroupId is invalid"):
        sqs.send_message(QueueUrl=queue, MessageBody="x", MessageGroupId="x" * 129)
    with refused("InvalidParameterValue", "parameter that is not valid for this queue type"):
        sqs.send_message(QueueUrl=queue, MessageBody="x", MessageDeduplicationId="x")


# Receiving


def test_limits_of_receive(sqs: "SQSClient", queue: str) -> None:
    for limit in (0, 11, -1):
        with refused(
            "InvalidParameterValue",
            f"Value {limit} for parameter MaxNumberOfMessages is invalid. Reason: Must be between "
            "1 and 10, if provided.",
        ):
            sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=limit)
    for wait in (-1, 21):
        with refused(
            "InvalidParameterValue",
            f"Value {wait} for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and "
            "<= 20, if provided.",
        ):
            sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=wait)
    for timeout in (-1, 43_201):
        with refused("InvalidParameterValue", "parameter VisibilityTimeout is invalid"):
            sqs.receive_message(QueueUrl=queue, VisibilityTimeout=timeout)


def test_nothing_to_receive(sqs: "SQSClient", queue: str) -> None:
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)


def test_counts_are_exact(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    for body in "abcde":
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    sqs.send_message(QueueUrl=queue, MessageBody="later", DelaySeconds=60)
    assert counts(sqs, queue) == (5, 0, 1)
    (first, _) = receive(sqs, queue, 2)
    assert counts(sqs, queue) == (3, 2, 1)
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=first["ReceiptHandle"])
    assert counts(sqs, queue) == (3, 1, 1)
    hub.jump(61)
    assert counts(sqs, queue) == (5, 0, 0)


def test_delays(hub: SqsHub, sqs: "SQSClient", make_queue: Callable[..., str]) -> None:
    url = make_queue(DelaySeconds="10")
    sqs.send_message(QueueUrl=url, MessageBody="queue's")
    sqs.send_message(QueueUrl=url, MessageBody="own", DelaySeconds=20)
    sqs.send_message(QueueUrl=url, MessageBody="none", DelaySeconds=0)
    assert bodies(receive(sqs, url)) == ["none"]
    hub.jump(11)
    assert bodies(receive(sqs, url)) == ["queue's"]
    hub.jump(10)
    assert bodies(receive(sqs, url)) == ["own"]
    for delay in (-1, 901):
        with refused("InvalidParameterValue", "DelaySeconds must be >= 0 and <= 900."):
            sqs.send_message(QueueUrl=url, MessageBody="x", DelaySeconds=delay)


# Deleting


def test_delete(sqs: "SQSClient", queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    (found,) = receive(sqs, queue)
    for _ in range(2):  # the second time it is no error
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=found["ReceiptHandle"])
    assert counts(sqs, queue) == (0, 0, 0)


def test_an_expired_receipt_deletes(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    (found,) = receive(sqs, queue, VisibilityTimeout=5)
    hub.jump(6)
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=found["ReceiptHandle"])
    assert counts(sqs, queue) == (0, 0, 0)


@pytest.mark.parametrize("held", [True, False])
def test_an_old_receipt_deletes(hub: SqsHub, sqs: "SQSClient", queue: str, held: bool) -> None:
    sqs.send_message_batch(
        QueueUrl=queue, Entries=[{"Id": n, "MessageBody": n} for n in ("a", "b")]
    )
    first = receive(sqs, queue, VisibilityTimeout=5)
    hub.jump(6)
    assert len(receive(sqs, queue, VisibilityTimeout=5)) == 2
    if not held:
        hub.jump(6)
    a, b = (each["ReceiptHandle"] for each in first)
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=a)
    entries: Any = [{"Id": "1", "ReceiptHandle": a}, {"Id": "2", "ReceiptHandle": b}]
    done = sqs.delete_message_batch(QueueUrl=queue, Entries=entries)
    assert [each["Id"] for each in done["Successful"]] == ["1", "2"]
    assert counts(sqs, queue) == (0, 0, 0)


@pytest.mark.parametrize("handle", ["garbage", "AQEB", "A" * 52, "é" * 52])
def test_garbage_is_no_receipt(sqs: "SQSClient", queue: str, handle: str) -> None:
    message = f'The input receipt handle "{handle}" is not a valid receipt handle.'
    with refused("ReceiptHandleIsInvalid", message, status=404):
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=handle)
    with refused("ReceiptHandleIsInvalid", message, status=404):
        sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=1)


def test_a_receipt_of_another_queue(
    sqs: "SQSClient", queue: str, make_queue: Callable[..., str]
) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    (found,) = receive(sqs, queue)
    with refused("ReceiptHandleIsInvalid", status=404):
        sqs.delete_message(QueueUrl=make_queue(), ReceiptHandle=found["ReceiptHandle"])
    assert counts(sqs, queue) == (0, 1, 0)


# Visibility


def test_visibility_zero_gives_it_back_at_once(sqs: "SQSClient", queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    (found,) = receive(sqs, queue)
    handle = found["ReceiptHandle"]
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=0)
    assert counts(sqs, queue) == (1, 0, 0)
    with refused("AWS.SimpleQueueService.MessageNotInflight"):
        sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=5)


def test_visibility_is_extended(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    (found,) = receive(sqs, queue, VisibilityTimeout=10)
    sqs.change_message_visibility(
        QueueUrl=queue, ReceiptHandle=found["ReceiptHandle"], VisibilityTimeout=30
    )
    hub.jump(29)
    assert counts(sqs, queue) == (0, 1, 0)
    hub.jump(2)
    assert counts(sqs, queue) == (1, 0, 0)


def test_visibility_in_all_is_twelve_hours(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    (found,) = receive(sqs, queue, VisibilityTimeout=43_200)
    hub.jump(3600)
    change: Any = {"QueueUrl": queue, "ReceiptHandle": found["ReceiptHandle"]}
    sqs.change_message_visibility(**change, VisibilityTimeout=43_200 - 3660)
    with refused(
        "InvalidParameterValue",
        "Value 39600 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout "
        "for the message is beyond the limit [43200 seconds]",
    ):
        sqs.change_message_visibility(**change, VisibilityTimeout=39_600)
    with refused("InvalidParameterValue", "VisibilityTimeout"):
        sqs.change_message_visibility(**change, VisibilityTimeout=43_201)


def test_visibility_of_what_is_gone(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    (first,) = receive(sqs, queue, VisibilityTimeout=5)
    hub.jump(6)
    (second,) = receive(sqs, queue)
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=second["ReceiptHandle"])
    reason = "Reason: Message does not exist or is not available for visibility timeout change."
    for each in (first, second):
        with refused("InvalidParameterValue", reason):
            sqs.change_message_visibility(
                QueueUrl=queue, ReceiptHandle=each["ReceiptHandle"], VisibilityTimeout=5
            )


def test_visibility_by_an_old_receipt(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    (first,) = receive(sqs, queue, VisibilityTimeout=5)
    change: Any = {"QueueUrl": queue, "ReceiptHandle": first["ReceiptHandle"]}
    hub.jump(6)
    sqs.change_message_visibility(**change, VisibilityTimeout=100)  # nobody holds it: no effect
    assert counts(sqs, queue) == (1, 0, 0)
    receive(sqs, queue, VisibilityTimeout=5)
    sqs.change_message_visibility(**change, VisibilityTimeout=100)
    hub.jump(6)
    assert counts(sqs, queue) == (0, 1, 0)
    done = sqs.change_message_visibility_batch(
        QueueUrl=queue,
        Entries=[{"Id": "1", "ReceiptHandle": first["ReceiptHandle"], "VisibilityTimeout": 0}],
    )
    assert [each["Id"] for each in done["Successful"]] == ["1"]
    assert counts(sqs, queue) == (1, 0, 0)


def test_the_queue_says_the_visibility(
    hub: SqsHub, sqs: "SQSClient", make_queue: Callable[..., str]
) -> None:
    url = make_queue(VisibilityTimeout="2")
    sqs.send_message(QueueUrl=url, MessageBody="x")
    receive(sqs, url)
    hub.jump(3)
    assert len(receive(sqs, url)) == 1


# Batches


def test_batches(sqs: "SQSClient", queue: str) -> None:
    entries: Any = [
        {"Id": f"id-{n}_{n}", "MessageBody": str(n), "MessageAttributes": {"n": text(str(n))}}
        for n in range(10)
    ]
    sent: Any = sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    assert "Failed" not in sent
    assert [each["Id"] for each in sent["Successful"]] == [each["Id"] for each in entries]
    found = receive(sqs, queue)
    assert [each["MessageId"] for each in found] == [
        each["MessageId"] for each in sent["Successful"]
    ]
    changed: Any = sqs.change_message_visibility_batch(
        QueueUrl=queue,
        Entries=[
            {"Id": each["Body"], "ReceiptHandle": each["ReceiptHandle"], "VisibilityTimeout": 60}
            for each in found
        ],
    )
    assert len(changed["Successful"]) == 10
    deleted = sqs.delete_message_batch(
        QueueUrl=queue,
        Entries=[{"Id": each["Body"], "ReceiptHandle": each["ReceiptHandle"]} for each in found],
    )
    assert [each["Id"] for each in deleted["Successful"]] == [str(n) for n in range(10)]
    assert counts(sqs, queue) == (0, 0, 0)


def test_entries_fail_alone(sqs: "SQSClient", queue: str) -> None:
    sent = sqs.send_message_batch(
        QueueUrl=queue,
        Entries=[
            {"Id": "1", "MessageBody": "good"},
            {"Id": "2", "MessageBody": "\x08"},
            {"Id": "3", "MessageBody": "x", "DelaySeconds": 901},
        ],
    )
    assert [each["Id"] for each in sent["Successful"]] == ["1"]
    assert [(each["Id"], each["Code"], each["SenderFault"]) for each in sent["Failed"]] == [
        ("2", "InvalidMessageContents", True),
        ("3", "InvalidParameterValue", True),
    ]
    (found,) = receive(sqs, queue)
    deleted = sqs.delete_message_batch(
        QueueUrl=queue,
        Entries=[
            {"Id": "good", "ReceiptHandle": found["ReceiptHandle"]},
            {"Id": "bad", "ReceiptHandle": "x"},
        ],
    )
    assert [each["Id"] for each in deleted["Successful"]] == ["good"]
    assert [each["Code"] for each in deleted["Failed"]] == ["ReceiptHandleIsInvalid"]
    changed: Any = sqs.change_message_visibility_batch(
        QueueUrl=queue,
        Entries=[
            {"Id": "gone", "ReceiptHandle": found["ReceiptHandle"], "VisibilityTimeout": 1},
            {"Id": "bad", "ReceiptHandle": "x", "VisibilityTimeout": 1},
        ],
    )
    assert "Successful" not in changed
    assert [each["Code"] for each in changed["Failed"]] == [
        "InvalidParameterValue",
        "ReceiptHandleIsInvalid",
    ]


def test_bad_batches(sqs: "SQSClient", queue: str) -> None:
    prefix = "AWS.SimpleQueueService"

    def delete(*ids: str) -> None:
        sqs.delete_message_batch(
            QueueUrl=queue, Entries=[{"Id": id_, "ReceiptHandle": "x"} for id_ in ids]
        )

    with refused(f"{prefix}.EmptyBatchRequest", "DeleteMessageBatchRequestEntry"):
        delete()
    with refused(
        f"{prefix}.TooManyEntriesInBatchRequest",
        "Maximum number of entries per request are 10. You have sent 11.",
    ):
        delete(*map(str, range(11)))
    with refused(f"{prefix}.BatchEntryIdsNotDistinct", "Id a repeated."):
        delete("a", "a")
    for bad in ("", "a:b", "x" * 81, "ä"):
        with refused(
            f"{prefix}.InvalidBatchEntryId",
            "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
            "It can be at most 80 letters long.",
        ):
            delete(bad)


def test_a_batch_that_is_too_long(sqs: "SQSClient", queue: str) -> None:
    half = LIMIT // 2
    sqs.send_message_batch(
        QueueUrl=queue, Entries=[{"Id": id_, "MessageBody": "x" * half} for id_ in "ab"]
    )
    with refused(
        "AWS.SimpleQueueService.BatchRequestTooLong",
        f"Batch requests cannot be longer than {LIMIT} bytes. You have sent {LIMIT + 1} bytes.",
    ):
        sqs.send_message_batch(
            QueueUrl=queue,
            Entries=[
                {"Id": "a", "MessageBody": "x" * half},
                {"Id": "b", "MessageBody": "x" * (half + 1)},
            ],
        )
    assert counts(sqs, queue) == (2, 0, 0)


# Competing


def test_competing_consumers_get_every_message_once(hub: SqsHub, queue: str) -> None:
    producer = hub.client()
    for start in range(0, 200, 10):
        producer.send_message_batch(
            QueueUrl=queue,
            Entries=[{"Id": str(n), "MessageBody": str(start + n)} for n in range(10)],
        )
    got: list[list[str]] = [[] for _ in range(4)]

    def consume(mine: list[str]) -> None:
        client = hub.client()
        while messages := client.receive_message(QueueUrl=queue, MaxNumberOfMessages=3).get(
            "Messages"
        ):
            for each in messages:
                mine.append(each["Body"])
                client.delete_message(QueueUrl=queue, ReceiptHandle=each["ReceiptHandle"])

    threads = [threading.Thread(target=consume, args=(mine,)) for mine in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(int(body) for mine in got for body in mine) == list(range(200))
    assert attributes(producer, queue)["ApproximateNumberOfMessagesNotVisible"] == "0"


@given(st.dictionaries(st.text(min_size=1), st.text() | st.binary(), max_size=5))
def test_the_digest_is_of_the_sorted_fields(values: dict[str, Any]) -> None:
    kinds = {
        name: "String" if isinstance(value, str) else "Binary" for name, value in values.items()
    }
    expected = b""
    for name in sorted(values):
        for piece in (name.encode("utf-8", "surrogatepass"), kinds[name].encode()):
            expected += len(piece).to_bytes(4) + piece
        value = values[name]
        raw = value.encode() if isinstance(value, str) else value
        expected += (b"\x01" if isinstance(value, str) else b"\x02") + len(raw).to_bytes(4) + raw
    found = digest({name: Attribute(kinds[name], value) for name, value in values.items()})
    assert found == hashlib.md5(expected).hexdigest()
