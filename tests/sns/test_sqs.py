"""From topics to SQS queues: envelopes, raw delivery, attributes, filters, dead letters."""

import base64
import json
import re
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .conftest import Inbox, SnsHub

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

Make = Callable[..., str]


def verify(envelope: dict[str, str]) -> None:
    """Check a signature as the developer guide says. Raises `InvalidSignature`."""
    names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    if envelope["Type"] != "Notification":
        names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{envelope[name]}\n" for name in names if name in envelope)
    with urllib.request.urlopen(envelope["SigningCertURL"]) as answer:
        certificate = x509.load_pem_x509_certificate(answer.read())
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    algorithm = hashes.SHA1() if envelope["SignatureVersion"] == "1" else hashes.SHA256()
    signature = base64.b64decode(envelope["Signature"])
    key.verify(signature, text.encode(), padding.PKCS1v15(), algorithm)


def test_an_envelope_has_aws_s_layout(
    sns: "SNSClient", hub: SnsHub, topic: str, inbox: Inbox, subscribed: Make
) -> None:
    arn = subscribed()
    attributes: Any = {
        "kind": {"DataType": "String", "StringValue": 'a "b"'},
        "count": {"DataType": "Number", "StringValue": "1.50"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x02\x03\x04"},
    }
    answer = sns.publish(
        TopicArn=topic, Message="grüße\n", Subject="Kitchen", MessageAttributes=attributes
    )
    message = inbox.one()
    body = message["Body"]
    envelope = json.loads(body)
    assert list(envelope) == [
        "Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp", "SignatureVersion",
        "Signature", "SigningCertURL", "UnsubscribeURL", "MessageAttributes",
    ]  # fmt: skip
    assert envelope["MessageId"] == answer["MessageId"] != message["MessageId"]
    assert envelope["TopicArn"] == topic
    assert envelope["Message"] == "grüße\n"
    assert envelope["SignatureVersion"] == "1"
    assert envelope["UnsubscribeURL"] == f"{hub.url}/?Action=Unsubscribe&SubscriptionArn={arn}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", envelope["Timestamp"])
    assert envelope["MessageAttributes"] == {
        "kind": {"Type": "String", "Value": 'a "b"'},
        "count": {"Type": "Number", "Value": "1.50"},
        "raw": {"Type": "Binary", "Value": "AgME"},
    }
    assert body.startswith('{\n  "Type" : "Notification",\n  "MessageId" : "')
    assert body.endswith(
        '  "MessageAttributes" : {\n    "kind" : {"Type":"String","Value":"a \\"b\\""},\n    '
        '"count" : {"Type":"Number","Value":"1.50"},\n    '
        '"raw" : {"Type":"Binary","Value":"AgME"}\n  }\n}'
    )
    assert "MessageAttributes" not in message
    verify(envelope)


def test_signature_version_2(sns: "SNSClient", make_topic: Make, inbox: Inbox) -> None:
    topic = make_topic(SignatureVersion="2")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=inbox.arn)
    sns.publish(TopicArn=topic, Message="x")
    envelope = inbox.envelope()
    assert envelope["SignatureVersion"] == "2"
    assert list(envelope)[-1] == "UnsubscribeURL"
    verify(envelope)


def test_raw_delivery_carries_attributes_as_they_are(
    sns: "SNSClient", topic: str, inbox: Inbox, subscribed: Make
) -> None:
    subscribed(RawMessageDelivery="true")
    attributes: Any = {
        "count": {"DataType": "Number.int", "StringValue": "007"},
        "many": {"DataType": "String.Array", "StringValue": '["a", 1]'},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x02\x03\x04"},
    }
    sns.publish(TopicArn=topic, Message="Test msg", Subject="s", MessageAttributes=attributes)
    message = inbox.one()  # without the subject, which has no place there in AWS either
    assert message["Body"] == "Test msg"
    assert message["MessageAttributes"] == attributes
    assert message["Attributes"].keys() == {
        "SenderId", "SentTimestamp", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp",
    }  # fmt: skip


def test_raw_delivery_of_more_than_ten_attributes_is_dropped_and_counted(
    sns: "SNSClient", hub: SnsHub, topic: str, inbox: Inbox, make_inbox: Callable[..., Inbox],
    subscribed: Make,
) -> None:  # fmt: skip
    subscribed(RawMessageDelivery="true")
    other = make_inbox()
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=other.arn)
    eleven: Any = {f"a{n}": {"DataType": "String", "StringValue": "x"} for n in range(11)}
    sns.publish(TopicArn=topic, Message="x", MessageAttributes=eleven)
    assert len(other.envelope()["MessageAttributes"]) == 11
    assert inbox.empty
    admin = hub.served.endpoint("admin").url
    with urllib.request.urlopen(f"{admin}/metrics") as answer:
        metrics = answer.read().decode()
    assert 'hubbub_dropped_total{reason="more than ten attributes"} 1.0' in metrics


@pytest.mark.parametrize(
    ("data_type", "value", "rule"),
    [
        ("String.Array", "100", [100]),  # an array of one value needs no brackets
        ("String.Array", '"tea"', ["tea"]),
        ("String.Array", "null", [None]),
        ("String.Array", "[1, 2.5]", [2.5]),
        ("Number", "0.12345678901234567890", [{"numeric": ["=", 0.12345678]}]),
    ],
)
def test_attributes_are_filtered_by_what_their_text_means(
    sns: "SNSClient", inbox: Inbox, subscribed: Make, topic: str, data_type: str, value: str,
    rule: Any,
) -> None:  # fmt: skip
    subscribed(FilterPolicy=json.dumps({"kind": rule}))
    attributes: Any = {"kind": {"DataType": data_type, "StringValue": value}}
    sns.publish(TopicArn=topic, Message="x", MessageAttributes=attributes)
    assert inbox.envelope()["MessageAttributes"] == {"kind": {"Type": data_type, "Value": value}}


def test_batches_answer_entry_by_entry_and_keep_their_order(
    sns: "SNSClient", topic: str, inbox: Inbox, subscribed: Make
) -> None:
    subscribed(RawMessageDelivery="true")
    answer = sns.publish_batch(
        TopicArn=topic,
        PublishBatchRequestEntries=[{"Id": str(n), "Message": f"m{n}"} for n in range(5)],
    )
    assert [each["Id"] for each in answer["Successful"]] == ["0", "1", "2", "3", "4"]
    assert answer["Failed"] == []
    assert [each["Body"] for each in inbox.receive()] == [f"m{n}" for n in range(5)]


def test_message_structure_json_chooses_by_protocol(
    sns: "SNSClient", topic: str, inbox: Inbox, subscribed: Make
) -> None:
    arn = subscribed()
    for body, expected in (
        ({"default": "everybody", "sqs": '{"field": "value"}'}, '{"field": "value"}'),
        ({"default": "everybody", "http": "web"}, "everybody"),
    ):
        sns.publish(TopicArn=topic, Message=json.dumps(body), MessageStructure="json")
        assert inbox.envelope()["Message"] == expected
    sns.set_subscription_attributes(
        SubscriptionArn=arn, AttributeName="RawMessageDelivery", AttributeValue="true"
    )
    sns.publish(TopicArn=topic, Message='{"default": "a", "sqs": "b"}', MessageStructure="json")
    assert inbox.one()["Body"] == "b"


def test_filters_on_attributes_and_body(
    sns: "SNSClient", topic: str, inbox: Inbox, subscribed: Make
) -> None:
    policy = {"store": ["a"], "price": [{"numeric": [">", 0, "<=", 100]}]}
    arn = subscribed(FilterPolicy=json.dumps(policy))
    store: Any = {"DataType": "String", "StringValue": "a"}
    for text, price in (("no", "101"), ("yes", "99.5")):
        sns.publish(
            TopicArn=topic, Message=text,
            MessageAttributes={
                "store": store, "price": {"DataType": "Number", "StringValue": price},
            },
        )  # fmt: skip
    assert inbox.envelope()["Message"] == "yes"
    attributes = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert attributes["FilterPolicyScope"] == "MessageAttributes"
    for name, value in (
        ("FilterPolicy", ""),
        ("FilterPolicyScope", "MessageBody"),
        ("FilterPolicy", '{"object": {"key": [{"prefix": "auto-"}]}}'),
    ):
        sns.set_subscription_attributes(
            SubscriptionArn=arn, AttributeName=name, AttributeValue=value
        )
    for key in ("manual-1", "auto-1"):
        sns.publish(TopicArn=topic, Message=json.dumps({"object": {"key": key}}))
    sns.publish(TopicArn=topic, Message="no JSON")
    assert json.loads(inbox.envelope()["Message"]) == {"object": {"key": "auto-1"}}


def test_a_queue_that_is_gone_leads_to_the_dead_letter_queue(
    sns: "SNSClient", sqs: "SQSClient", topic: str, inbox: Inbox, subscribed: Make,
    make_inbox: Callable[..., Inbox],
) -> None:  # fmt: skip
    dead = make_inbox()
    arn = subscribed(RedrivePolicy=json.dumps({"deadLetterTargetArn": dead.arn}))
    sqs.delete_queue(QueueUrl=inbox.url)
    sns.publish(TopicArn=topic, Message="nobody home")
    assert dead.envelope()["Message"] == "nobody home"
    sns.set_subscription_attributes(
        SubscriptionArn=arn, AttributeName="RawMessageDelivery", AttributeValue="true"
    )
    sns.publish(TopicArn=topic, Message="nobody home")
    assert dead.one()["Body"] == "nobody home"


def test_a_trace_header_reaches_the_queue(
    sns: "SNSClient", topic: str, inbox: Inbox, subscribed: Make
) -> None:
    subscribed()
    trace = "Root=1-3152b799-8954dae64eda91bc9a23a7e8;Parent=7fa8c0f79203be72;Sampled=1"
    sns.meta.events.register_first(
        "before-sign.sns.Publish",
        lambda request, **_: request.headers.add_header("X-Amzn-Trace-Id", trace),
        unique_id="trace",
    )
    try:
        sns.publish(TopicArn=topic, Message="x")
    finally:
        sns.meta.events.unregister("before-sign.sns.Publish", unique_id="trace")
    assert inbox.one()["Attributes"]["AWSTraceHeader"] == trace


def test_a_fair_queue_gets_the_group(
    sns: "SNSClient", topic: str, inbox: Inbox, subscribed: Make
) -> None:
    subscribed()
    sns.publish(TopicArn=topic, Message="x", MessageGroupId="tenant-1")
    assert inbox.one()["Attributes"]["MessageGroupId"] == "tenant-1"


WRONG_PUBLISH: list[tuple[dict[str, object], str, str]] = [
    ({"Message": ""}, "InvalidParameter", "Invalid parameter: Empty message"),
    ({"Message": "x", "Subject": ""}, "InvalidParameter", "Invalid parameter: Subject"),
    ({"Message": "x" * 262_145}, "InvalidParameter", "Invalid parameter: Message too long"),
    (
        {"Message": '{"a": "b"}', "MessageStructure": "json"},
        "InvalidParameter",
        "Invalid parameter: Message Structure - No default entry in JSON message body",
    ),
    (
        {"Message": "x", "MessageStructure": "json"},
        "InvalidParameter",
        "Invalid parameter: Message Structure - JSON message body failed to parse",
    ),
    (
        {"Message": "x", "MessageDeduplicationId": "1"},
        "InvalidParameter",
        ("Invalid parameter: MessageDeduplicationId Reason: The request includes "
        "MessageDeduplicationId parameter that is not valid for this topic type"),
    ),
    (
        {"Message": "x", "MessageAttributes": {"attr1": {"DataType": "String"}}},
        "ParameterValueInvalid",
        ("The message attribute 'attr1' must contain non-empty message attribute value for message "
        "attribute type 'String'."),
    ),
    (
        {"Message": "x", "MessageAttributes": {
            "attr1": {"DataType": "String", "BinaryValue": b"x"}}},
        "ParameterValueInvalid",
        "The message attribute 'attr1' with type 'String' must use field 'String'.",
    ),
    (
        {"Message": "x", "MessageAttributes": {
            "attr1": {"DataType": "prefixed.String", "StringValue": "x"}}},
        "ParameterValueInvalid",
        ("The message attribute 'attr1' has an invalid message attribute type, the set of "
        "supported type prefixes is Binary, Number, and String."),
    ),
    (
        {"Message": "x", "MessageAttributes": {
            "a^b": {"DataType": "String", "StringValue": "x"}}},
        "ParameterValueInvalid",
        ("Invalid non-alphanumeric character '#x5E' was found in the message attribute name. Can "
        "only include alphanumeric characters, hyphens, underscores, or dots."),
    ),
    (
        {"Message": "x", "MessageAttributes": {
            "a..b": {"DataType": "String", "StringValue": "x"}}},
        "ParameterValueInvalid",
        "Message attribute name can not have successive '.' character.",
    ),
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_PUBLISH, ids=lambda each: each[2][:60])
def test_wrong_messages(
    sns: "SNSClient", topic: str, wrong: tuple[dict[str, object], str, str]
) -> None:
    params, code, text = wrong
    with pytest.raises(ClientError) as caught:
        sns.publish(TopicArn=topic, **params)  # type: ignore[arg-type]
    assert caught.value.response["Error"] == {"Type": "Sender", "Code": code, "Message": text}
    assert len(caught.value.response["ResponseMetadata"]["RequestId"]) == 36


def test_wrong_batches(sns: "SNSClient", topic: str) -> None:
    for entries, code in (
        ([], "EmptyBatchRequest"),
        ([{"Id": str(n), "Message": "x"} for n in range(11)], "TooManyEntriesInBatchRequest"),
        ([{"Id": "a", "Message": "x"}] * 2, "BatchEntryIdsNotDistinct"),
        ([{"Id": "a b", "Message": "x"}], "InvalidBatchEntryId"),
        ([{"Id": str(n), "Message": "x" * 140_000} for n in range(2)], "BatchRequestTooLong"),
    ):
        with pytest.raises(ClientError) as caught:
            sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)  # type: ignore[arg-type]
        assert caught.value.response["Error"]["Code"] == code
