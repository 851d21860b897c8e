"""FIFO topics: order, deduplication, archive and replay."""

import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from .conftest import Inbox, SnsHub

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

Make = Callable[..., str]


@pytest.fixture
def fifo(make_topic: Make) -> str:
    return make_topic(FifoTopic="true")


@pytest.fixture
def fifo_inbox(make_inbox: Callable[..., Inbox]) -> Inbox:
    return make_inbox(FifoQueue="true")


def subscribe(sns: "SNSClient", topic: str, inbox: Inbox, **attributes: str) -> str:
    return sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=inbox.arn, Attributes=attributes
    )["SubscriptionArn"]  # fmt: skip


def receive_all(inbox: Inbox, count: int) -> list[Any]:
    found: list[Any] = []
    while len(found) < count:
        got = inbox.receive()
        assert got, f"{len(found)} of {count} came"
        found += got
    return found


def test_order_group_and_deduplication_reach_the_queue(
    sns: "SNSClient", fifo: str, fifo_inbox: Inbox
) -> None:
    subscribe(sns, fifo, fifo_inbox)
    answers = [
        sns.publish(
            TopicArn=fifo, Message=f"m{n}", MessageGroupId="g", MessageDeduplicationId=f"d{n}"
        )
        for n in range(12)
    ]
    numbers = [answer["SequenceNumber"] for answer in answers]
    assert numbers == sorted(numbers)
    assert {len(number) for number in numbers} == {20}
    messages = receive_all(fifo_inbox, 12)
    envelopes = [json.loads(message["Body"]) for message in messages]
    assert [each["Message"] for each in envelopes] == [f"m{n}" for n in range(12)]
    assert [each["SequenceNumber"] for each in envelopes] == numbers
    assert list(envelopes[0]) == [
        "Type", "MessageId", "SequenceNumber", "TopicArn", "Message", "Timestamp", "UnsubscribeURL",
    ]  # fmt: skip
    attributes = messages[3]["Attributes"]
    assert attributes["MessageGroupId"] == "g"
    assert attributes["MessageDeduplicationId"] == "d3"
    assert attributes["SequenceNumber"] != numbers[3]


@pytest.mark.parametrize("explicit", [True, False])
def test_a_duplicate_has_the_answer_of_the_first_and_goes_nowhere(
    sns: "SNSClient", hub: SnsHub, make_topic: Make, fifo_inbox: Inbox, inbox: Inbox,
    explicit: bool,
) -> None:  # fmt: skip
    topic = make_topic(FifoTopic="true", ContentBasedDeduplication=str(not explicit).lower())
    subscribe(sns, topic, fifo_inbox)
    subscribe(sns, topic, inbox)
    params: Any = {"MessageGroupId": "g"} | ({"MessageDeduplicationId": "1"} if explicit else {})
    first = sns.publish(TopicArn=topic, Message="Test", **params)
    again = sns.publish(TopicArn=topic, Message="Test", **params)
    assert (again["MessageId"], again["SequenceNumber"]) == (
        first["MessageId"], first["SequenceNumber"],
    )  # fmt: skip
    entries: Any = [{"Id": str(n), "Message": "Test", **params} for n in range(2)]
    batch = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    assert {each["MessageId"] for each in batch["Successful"]} == {first["MessageId"]}
    [message] = fifo_inbox.receive()
    wanted = "1" if explicit else hashlib.sha256(b"Test").hexdigest()
    assert message["Attributes"]["MessageDeduplicationId"] == wanted
    [plain] = inbox.receive()
    assert "MessageGroupId" not in plain["Attributes"]
    hub.clock.jump(301)
    assert sns.publish(TopicArn=topic, Message="Test", **params)["MessageId"] != first["MessageId"]
    assert len(inbox.receive()) == 1


def test_a_topic_made_anew_has_seen_nothing(
    sns: "SNSClient", make_topic: Make, make_inbox: Callable[..., Inbox], numbers: Iterator[int]
) -> None:
    name = f"anew-{next(numbers)}.fifo"
    for text in ("first", "second"):
        topic = sns.create_topic(Name=name, Attributes={"FifoTopic": "true"})["TopicArn"]
        inbox = make_inbox(FifoQueue="true")
        subscribe(sns, topic, inbox)
        sns.publish(TopicArn=topic, Message=text, MessageGroupId="g", MessageDeduplicationId="1")
        assert inbox.envelope()["Message"] == text
        sns.delete_topic(TopicArn=topic)


def test_deduplication_may_be_per_group(sns: "SNSClient", make_topic: Make, inbox: Inbox) -> None:
    topic = make_topic(FifoTopic="true", FifoThroughputScope="MessageGroup")
    subscribe(sns, topic, inbox, RawMessageDelivery="true")
    for group in ("a", "b", "a"):
        sns.publish(
            TopicArn=topic, Message=group, MessageGroupId=group, MessageDeduplicationId="same"
        )
    assert [each["Body"] for each in receive_all(inbox, 2)] == ["a", "b"]
    assert inbox.empty


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({}, "The MessageGroupId parameter is required for FIFO topics"),
        (
            {"MessageGroupId": "g"},
            (
                "The topic should either have ContentBasedDeduplication enabled or "
                "MessageDeduplicationId provided explicitly"
            ),
        ),
    ],
)
def test_what_a_fifo_topic_demands(
    sns: "SNSClient", fifo: str, params: dict[str, str], text: str
) -> None:
    for call in (
        lambda: sns.publish(TopicArn=fifo, Message="x", **params),  # type: ignore[arg-type]
        lambda: sns.publish_batch(
            TopicArn=fifo,
            PublishBatchRequestEntries=[{"Id": "1", "Message": "x", **params}],  # type: ignore[typeddict-item]
        ),
    ):
        with pytest.raises(ClientError) as caught:
            call()
        assert caught.value.response["Error"]["Message"] == f"Invalid parameter: {text}"


def test_a_fifo_subscription_needs_a_fifo_dead_letter_queue(
    sns: "SNSClient", sqs: "SQSClient", fifo: str, fifo_inbox: Inbox, inbox: Inbox,
    make_inbox: Callable[..., Inbox],
) -> None:  # fmt: skip
    with pytest.raises(ClientError) as caught:
        subscribe(
            sns, fifo, fifo_inbox,
            RedrivePolicy=json.dumps({"deadLetterTargetArn": inbox.arn}),
        )  # fmt: skip
    assert caught.value.response["Error"]["Message"].endswith(
        "RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic."
    )
    dead = make_inbox(FifoQueue="true")
    subscribe(sns, fifo, fifo_inbox, RedrivePolicy=json.dumps({"deadLetterTargetArn": dead.arn}))
    sqs.delete_queue(QueueUrl=fifo_inbox.url)
    sns.publish(TopicArn=fifo, Message="x", MessageGroupId="g", MessageDeduplicationId="d")
    message = dead.one()
    assert message["Attributes"]["MessageGroupId"] == "g"
    assert message["Attributes"]["MessageDeduplicationId"] == "d"


# Archive


def published(sns: "SNSClient", topic: str, *texts: str) -> list[str]:
    return [
        sns.publish(
            TopicArn=topic, Message=text, MessageGroupId="g", MessageDeduplicationId=text,
            MessageAttributes={"kind": {"DataType": "String", "StringValue": "k"}},
        )["MessageId"]
        for text in texts
    ]  # fmt: skip


def moment(hub: SnsHub) -> str:
    return datetime.fromtimestamp(hub.clock.now() / 1000, UTC).isoformat()


def test_an_archive_is_replayed_and_then_goes_on_live(
    sns: "SNSClient", hub: SnsHub, fifo: str, fifo_inbox: Inbox
) -> None:
    beginning = moment(hub)
    sns.set_topic_attributes(
        TopicArn=fifo, AttributeName="ArchivePolicy",
        AttributeValue='{"MessageRetentionPeriod": "30"}',
    )  # fmt: skip
    attributes = sns.get_topic_attributes(TopicArn=fifo)["Attributes"]
    assert json.loads(attributes["ArchivePolicy"]) == {"MessageRetentionPeriod": "30"}
    assert attributes["BeginningArchiveTime"].endswith("Z")
    ids = published(sns, fifo, "a1", "b1", "a2")
    arn = subscribe(
        sns, fifo, fifo_inbox,
        ReplayPolicy=json.dumps({"PointType": "Timestamp", "StartingPoint": beginning}),
        FilterPolicy='{"never": [{"exists": false}]}',
    )  # fmt: skip
    ids += published(sns, fifo, "b2")
    envelopes = [json.loads(each["Body"]) for each in receive_all(fifo_inbox, 4)]
    assert [each["Message"] for each in envelopes] == ["a1", "b1", "a2", "b2"]
    assert [each["MessageId"] for each in envelopes] == ids
    assert [each.get("Replayed") for each in envelopes[:3]] == ["true"] * 3
    published(sns, fifo, "live")
    envelope = fifo_inbox.envelope()
    assert envelope["Message"] == "live"
    assert "Replayed" not in envelope
    attributes = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert attributes["ReplayStatus"] == "Completed"


def test_a_replay_may_end_at_a_time(
    sns: "SNSClient", hub: SnsHub, fifo: str, make_inbox: Callable[..., Inbox]
) -> None:
    sns.set_topic_attributes(
        TopicArn=fifo, AttributeName="ArchivePolicy",
        AttributeValue='{"MessageRetentionPeriod": "1"}',
    )  # fmt: skip
    published(sns, fifo, "before")
    hub.clock.jump(10)
    start = moment(hub)
    published(sns, fifo, "within")
    hub.clock.jump(10)
    end = moment(hub)
    hub.clock.jump(10)
    published(sns, fifo, "after")
    inbox = make_inbox(FifoQueue="true")
    arn = subscribe(sns, fifo, inbox)
    assert inbox.empty
    sns.set_subscription_attributes(
        SubscriptionArn=arn, AttributeName="ReplayPolicy",
        AttributeValue=json.dumps(
            {"PointType": "Timestamp", "StartingPoint": start, "EndingPoint": end}
        ),
    )  # fmt: skip
    assert inbox.envelope()["Message"] == "within"
    published(sns, fifo, "now")
    assert inbox.envelope()["Message"] == "now"


def test_wrong_archives(sns: "SNSClient", topic: str, fifo: str, fifo_inbox: Inbox) -> None:
    def fails(call: Callable[..., Any], **params: Any) -> str:
        with pytest.raises(ClientError) as caught:
            call(**params)
        return str(caught.value.response["Error"]["Message"])

    set_topic = sns.set_topic_attributes
    policy = {"AttributeName": "ArchivePolicy", "AttributeValue": '{"MessageRetentionPeriod": 1}'}
    assert fails(set_topic, TopicArn=topic, **policy) == "Invalid parameter: AttributeName"
    policy["AttributeValue"] = '{"MessageRetentionPeriod": 366}'
    assert "between 1 and 365 days" in fails(set_topic, TopicArn=fifo, **policy)
    replay = json.dumps({"PointType": "Timestamp", "StartingPoint": "2024-01-01T00:00:00Z"})
    text = fails(lambda: subscribe(sns, fifo, fifo_inbox, ReplayPolicy=replay))
    assert text.endswith("ReplayPolicy: the topic has no ArchivePolicy")
    policy["AttributeValue"] = '{"MessageRetentionPeriod": 1}'
    set_topic(TopicArn=fifo, **policy)
    assert "archive policy" in fails(sns.delete_topic, TopicArn=fifo)
    policy["AttributeValue"] = "{}"
    set_topic(TopicArn=fifo, **policy)
    assert "ArchivePolicy" not in sns.get_topic_attributes(TopicArn=fifo)["Attributes"]
    sns.delete_topic(TopicArn=fifo)
