"""Topics and subscriptions as things: creating, listing, attributes, tags, permissions, errors."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from .conftest import Inbox, SnsHub

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

Make = Callable[..., str]
RETRIES = {
    "minDelayTarget": 20, "maxDelayTarget": 20, "numRetries": 3, "numMaxDelayRetries": 0,
    "numNoDelayRetries": 0, "numMinDelayRetries": 0, "backoffFunction": "linear",
}  # fmt: skip


def error(caught: "pytest.ExceptionInfo[ClientError]") -> tuple[str, str, int]:
    response = caught.value.response
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    return response["Error"]["Code"], response["Error"]["Message"], status


def fails(
    call: Callable[..., Any], *, code: str, text: str, status: int = 400, **params: Any
) -> None:
    with pytest.raises(ClientError) as caught:
        call(**params)
    assert error(caught) == (code, text, status)


def invalid(call: Callable[..., Any], text: str, **params: Any) -> None:
    fails(call, code="InvalidParameter", text=f"Invalid parameter: {text}", **params)


def test_attributes_of_a_new_topic(sns: "SNSClient", topic: str) -> None:
    attributes = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert json.loads(attributes.pop("EffectiveDeliveryPolicy")) == {
        "http": {
            "defaultHealthyRetryPolicy": RETRIES,
            "disableSubscriptionOverrides": False,
            "defaultRequestPolicy": {"headerContentType": "text/plain; charset=UTF-8"},
        }
    }
    [statement] = json.loads(attributes.pop("Policy"))["Statement"]
    assert statement["Resource"] == topic
    assert attributes == {
        "DisplayName": "", "Owner": "000000000000", "SubscriptionsConfirmed": "0",
        "SubscriptionsDeleted": "0", "SubscriptionsPending": "0", "TopicArn": topic,
    }  # fmt: skip


def test_attributes_are_set_and_taken_away(sns: "SNSClient", topic: str) -> None:
    sns.set_topic_attributes(TopicArn=topic, AttributeName="DisplayName", AttributeValue="Kitchen")
    policy = {"http": {"defaultHealthyRetryPolicy": {
        "minDelayTarget": 5, "maxDelayTarget": 6, "numRetries": 1}}}  # fmt: skip
    sns.set_topic_attributes(
        TopicArn=topic, AttributeName="DeliveryPolicy", AttributeValue=json.dumps(policy)
    )
    attributes = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert attributes["DisplayName"] == "Kitchen"
    policy["http"]["disableSubscriptionOverrides"] = False  # type: ignore[assignment]
    assert json.loads(attributes["DeliveryPolicy"]) == policy
    effective = json.loads(attributes["EffectiveDeliveryPolicy"])["http"]
    assert effective["defaultHealthyRetryPolicy"] == RETRIES | {
        "minDelayTarget": 5, "maxDelayTarget": 6, "numRetries": 1,
    }  # fmt: skip
    sns.set_topic_attributes(TopicArn=topic, AttributeName="DeliveryPolicy", AttributeValue="")
    assert "DeliveryPolicy" not in sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    for name in ("NoSuch", "FifoTopic"):
        invalid(
            sns.set_topic_attributes, "AttributeName",
            TopicArn=topic, AttributeName=name, AttributeValue="false",
        )  # fmt: skip


def test_creating_again_is_the_same_or_an_error(sns: "SNSClient", numbers: Iterator[int]) -> None:
    name = f"again-{next(numbers)}"
    tags: Any = [{"Key": "k1", "Value": "v1"}]
    arn = sns.create_topic(Name=name, Attributes={"DisplayName": "d"}, Tags=tags)["TopicArn"]
    assert arn == f"arn:aws:sns:us-east-1:000000000000:{name}"
    assert sns.create_topic(Name=name)["TopicArn"] == arn
    assert (
        sns.create_topic(Name=name, Attributes={"DisplayName": "d"}, Tags=tags)["TopicArn"] == arn
    )
    invalid(
        sns.create_topic, "Attributes Reason: Topic already exists with different attributes",
        Name=name, Attributes={"DisplayName": "e"},
    )  # fmt: skip
    invalid(
        sns.create_topic, "Tags Reason: Topic already exists with different tags",
        Name=name, Tags=[*tags, {"Key": "k2", "Value": "v2"}],
    )  # fmt: skip
    sns.delete_topic(TopicArn=arn)
    sns.delete_topic(TopicArn=arn)
    assert sns.create_topic(Name=name, Tags=[{"Key": "new", "Value": "x"}])["TopicArn"] == arn


@pytest.mark.parametrize("name", ["", "x" * 257, "a:b", "a b", "a%", "a.fifo"])
def test_wrong_names(sns: "SNSClient", name: str) -> None:
    invalid(sns.create_topic, "Topic Name", Name=name)


def test_arns_that_are_none_and_topics_that_are_not_there(
    sns: "SNSClient", hub: SnsHub, topic: str
) -> None:
    get = sns.get_topic_attributes
    text = "TopicArn Reason: An ARN must have at least 6 elements, not 1"
    invalid(get, text, TopicArn="topic")
    invalid(sns.publish, text, TopicArn="", Message="x")
    missing = "arn:aws:sns:us-east-1:000000000000:no-such"
    for call, params in (
        (get, {}),
        (sns.publish, {"Message": "x"}),
        (sns.list_subscriptions_by_topic, {}),
        (sns.subscribe, {"Protocol": "sms", "Endpoint": "+49123123123"}),
    ):
        fails(
            call, code="NotFound", text="Topic does not exist", status=404,
            TopicArn=missing, **params,
        )  # fmt: skip
    west = hub.client(region="us-west-1")
    invalid(west.get_topic_attributes, "TopicArn", TopicArn=topic)
    invalid(west.publish, "TopicArn", TopicArn=topic, Message="x")
    fails(
        sns.list_tags_for_resource, code="ResourceNotFound", text="Resource does not exist",
        status=404, ResourceArn=missing,
    )  # fmt: skip


def test_topics_are_listed_by_region_and_account_in_pages(hub: SnsHub) -> None:
    east, west = (
        hub.client(access_key="111111111111"),
        hub.client(access_key="111111111111", region="us-west-2"),
    )
    arns = sorted(east.create_topic(Name=f"page-{n}")["TopicArn"] for n in range(101))
    assert west.list_topics()["Topics"] == []
    first = east.list_topics()
    assert len(first["Topics"]) == 100
    rest = east.list_topics(NextToken=first["NextToken"])
    assert "NextToken" not in rest
    assert [each["TopicArn"] for each in first["Topics"] + rest["Topics"]] == arns


def test_tags(sns: "SNSClient", topic: str) -> None:
    k1: Any = {"Key": "k1", "Value": "v1"}
    k2: Any = {"Key": "k2", "Value": "v2"}
    assert sns.list_tags_for_resource(ResourceArn=topic)["Tags"] == []
    sns.tag_resource(ResourceArn=topic, Tags=[k1, k2])
    sns.untag_resource(ResourceArn=topic, TagKeys=["k1", "no-such"])
    sns.tag_resource(ResourceArn=topic, Tags=[{"Key": "k2", "Value": "v2b"}])
    assert sns.list_tags_for_resource(ResourceArn=topic)["Tags"] == [{"Key": "k2", "Value": "v2b"}]
    invalid(sns.tag_resource, "Duplicated keys are not allowed.", ResourceArn=topic, Tags=[k1, k1])
    many = [{"Key": str(n), "Value": ""} for n in range(50)]
    with pytest.raises(ClientError) as caught:
        sns.tag_resource(ResourceArn=topic, Tags=many)  # type: ignore[arg-type]
    assert error(caught)[0] == "TagLimitExceeded"


def test_permissions(sns: "SNSClient", topic: str) -> None:
    sns.add_permission(
        TopicArn=topic, Label="friends", AWSAccountId=["111111111111"], ActionName=["Publish"]
    )
    policy = json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])
    assert policy["Statement"][1] == {
        "Sid": "friends", "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::111111111111:root"}, "Action": "SNS:Publish",
        "Resource": topic,
    }  # fmt: skip
    invalid(
        sns.add_permission, "Statement already exists", TopicArn=topic, Label="friends",
        AWSAccountId=["111111111111"], ActionName=["Publish"],
    )  # fmt: skip
    invalid(
        sns.add_permission, "Policy statement action out of service scope!", TopicArn=topic,
        Label="b", AWSAccountId=["111111111111"], ActionName=["Dance"],
    )  # fmt: skip
    sns.remove_permission(TopicArn=topic, Label="friends")
    sns.remove_permission(TopicArn=topic, Label="friends")
    policy = json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])
    assert len(policy["Statement"]) == 1


def test_data_protection_policies_are_told(sns: "SNSClient", topic: str) -> None:
    assert sns.get_data_protection_policy(ResourceArn=topic)["DataProtectionPolicy"] == ""
    policy = json.dumps({"Name": "p", "Version": "2021-06-01", "Statement": []})
    sns.put_data_protection_policy(ResourceArn=topic, DataProtectionPolicy=policy)
    assert sns.get_data_protection_policy(ResourceArn=topic)["DataProtectionPolicy"] == policy


# Subscriptions


def test_attributes_of_a_new_subscription(
    sns: "SNSClient", topic: str, inbox: Inbox, subscribed: Make
) -> None:
    arn = subscribed()
    attributes = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    principal = attributes.pop("SubscriptionPrincipal")
    assert principal.startswith("arn:aws:iam::000000000000:user/")
    assert attributes == {
        "ConfirmationWasAuthenticated": "true", "Endpoint": inbox.arn, "Owner": "000000000000",
        "PendingConfirmation": "false", "Protocol": "sqs", "RawMessageDelivery": "false",
        "SubscriptionArn": arn, "TopicArn": topic,
    }  # fmt: skip
    entry = {
        "SubscriptionArn": arn, "Owner": "000000000000", "Protocol": "sqs",
        "Endpoint": inbox.arn, "TopicArn": topic,
    }  # fmt: skip
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == [entry]
    assert entry in sns.list_subscriptions()["Subscriptions"]
    counted = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert counted["SubscriptionsConfirmed"] == "1"


def test_subscribing_again_is_the_same_or_an_error(
    sns: "SNSClient", topic: str, inbox: Inbox, subscribed: Make
) -> None:
    arn = subscribed(RawMessageDelivery="true")
    assert subscribed() == arn
    assert subscribed(RawMessageDelivery="true") == arn
    assert subscribed(FilterPolicyScope="MessageAttributes") == arn  # what it is by default
    for different in ({"RawMessageDelivery": "false"}, {"FilterPolicyScope": "MessageBody"}):
        invalid(
            subscribed,
            "Attributes Reason: Subscription already exists with different attributes",
            **different,
        )


def test_unsubscribing(
    sns: "SNSClient", hub: SnsHub, topic: str, inbox: Inbox, subscribed: Make
) -> None:
    arn = subscribed()
    fails(
        hub.client(region="eu-west-1").get_subscription_attributes, code="InvalidParameter",
        text="Invalid parameter: SubscriptionArn", SubscriptionArn=arn,
    )  # fmt: skip
    sns.unsubscribe(SubscriptionArn=arn)
    sns.unsubscribe(SubscriptionArn=arn)
    sns.publish(TopicArn=topic, Message="x")
    assert inbox.empty
    fails(
        sns.get_subscription_attributes, code="NotFound", text="Subscription does not exist",
        status=404, SubscriptionArn=arn,
    )  # fmt: skip
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsDeleted"] == "1"
    for wrong, text in (
        ("x", "SubscriptionArn Reason: An ARN must have at least 6 elements, not 1"),
        ("a:b:c:d:e", "SubscriptionArn Reason: An ARN must have at least 6 elements, not 5"),
        (topic, "SubscriptionId"),
        (f"{topic}:not-a-uuid", "SubscriptionId"),
    ):
        invalid(sns.unsubscribe, text, SubscriptionArn=wrong)
        invalid(sns.get_subscription_attributes, text, SubscriptionArn=wrong)
    reason = "SubscriptionArn Reason: no value for required parameter"
    invalid(sns.unsubscribe, reason, SubscriptionArn="")


@pytest.mark.parametrize("phone", ["+15551234567", "15551234567", "15/55-123.4567", "+123"])
def test_phone_numbers_may_be_written_with_punctuation(
    sns: "SNSClient", topic: str, phone: str
) -> None:
    sns.subscribe(TopicArn=topic, Protocol="sms", Endpoint=phone)
    [subscription] = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert subscription["Endpoint"] == phone


@pytest.mark.parametrize(
    "phone", ["NAA+15551234567", "+15--551234567", "-15551234567", "15551234567.", "+0123", "1 2"]
)
def test_wrong_phone_numbers(sns: "SNSClient", topic: str, phone: str) -> None:
    fails(
        sns.subscribe, code="InvalidParameter", text=f"Invalid SMS endpoint: {phone}",
        TopicArn=topic, Protocol="sms", Endpoint=phone,
    )  # fmt: skip


def test_deleting_a_topic_ends_its_subscriptions(
    sns: "SNSClient", topic: str, inbox: Inbox, subscribed: Make
) -> None:
    arn = subscribed()
    sns.delete_topic(TopicArn=topic)
    assert arn not in [
        each["SubscriptionArn"] for each in sns.list_subscriptions()["Subscriptions"]
    ]
    sns.create_topic(Name=topic.rpartition(":")[2])
    sns.publish(TopicArn=topic, Message="x")
    assert inbox.empty


@pytest.mark.parametrize(
    ("protocol", "endpoint", "text"),
    [
        ("sqs", "http://localhost/000000000000/q", "Invalid parameter: SQS endpoint ARN"),
        (
            "http", "https://example.com",
            "Invalid parameter: Endpoint must match the specified protocol",
        ),
        ("lambda", "x", "Invalid parameter: Lambda endpoint ARN"),
        ("firehose", "x", "Invalid parameter: Firehose endpoint ARN"),
        ("application", "x", "Invalid parameter: ApplicationEndpoint ARN"),
        ("email", "x", "Invalid parameter: Email address"),
        ("sms", "invalid-number", "Invalid SMS endpoint: invalid-number"),
        (
            "pigeon", "x",
            "Invalid parameter: Amazon SNS does not support this protocol string: pigeon",
        ),
        (
            "sqs", "arn:aws:sqs:us-east-1:000000000000:q.fifo",
            ("Invalid parameter: Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be "
            "subscribed to standard SNS topics"),
        ),
    ],
)  # fmt: skip
def test_wrong_endpoints(
    sns: "SNSClient", topic: str, protocol: str, endpoint: str, text: str
) -> None:
    fails(
        sns.subscribe, code="InvalidParameter", text=text, TopicArn=topic, Protocol=protocol,
        Endpoint=endpoint,
    )  # fmt: skip


def test_wrong_attributes(sns: "SNSClient", inbox: Inbox, subscribed: Make) -> None:
    invalid(
        subscribed,
        "Attributes Reason: RawMessageDelivery: Invalid value [wrongvalue]. Must be true or false.",
        RawMessageDelivery="wrongvalue",
    )
    arn = subscribed()
    for name, value, text in (
        ("fake", "x", "AttributeName"),
        ("RawMessageDelivery", "test-ValUe",
         "RawMessageDelivery: Invalid value [test-ValUe]. Must be true or false."),
        ("RawMessageDelivery", "",
         "RawMessageDelivery: Invalid value []. Must be true or false."),
        ("RedrivePolicy", '{"deadLetterTargetArn": "fake-arn"}',
         "RedrivePolicy: deadLetterTargetArn is an invalid arn"),
        ("RedrivePolicy", "{invalidjson}",
         ("RedrivePolicy: failed to parse JSON. Unexpected character ('i' (code 105)): was "
         "expecting double-quote to start field name\n at [Source: REDACTED "
         "(`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: 2]")),
        ("FilterPolicyScope", "RandomValue",
         ("FilterPolicyScope: Invalid value [RandomValue]. Please use either MessageBody or "
         "MessageAttributes")),
        ("FilterPolicy", '{"key_a":"value_one"}',
         ('FilterPolicy: "key_a" must be an object or an array\n at [Source: (String)'
         '"{"key_a":"value_one"}"; line: 1, column: 11]')),
        ("FilterPolicy", '{"a":{"b":["c"]}}',
         "Filter policy scope MessageAttributes does not support nested filter policy"),
    ):  # fmt: skip
        invalid(
            sns.set_subscription_attributes, text,
            SubscriptionArn=arn, AttributeName=name, AttributeValue=value,
        )  # fmt: skip


def test_missing_parameters_are_told_as_by_aws_s_validator(hub: SnsHub, topic: str) -> None:
    import urllib.error
    import urllib.parse
    import urllib.request

    body = urllib.parse.urlencode({"Action": "Publish", "TopicArn": topic}).encode()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(hub.url, body)
    text = caught.value.read().decode()
    assert caught.value.code == 400
    assert "<Code>ValidationError</Code>" in text
    assert "Value null at 'message' failed to satisfy constraint: Member must not be null" in text
    assert 'xmlns="http://sns.amazonaws.com/doc/2010-03-31/"' in text
    caught.value.close()


@pytest.mark.parametrize("policy", ['{"Statement": ["x"]}', '{"Statement": "x"}', "[]", "{}"])
def test_a_policy_without_proper_statements_is_refused(
    sns: "SNSClient", topic: str, policy: str
) -> None:
    with pytest.raises(ClientError, match="Policy Error"):
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    sns.add_permission(
        TopicArn=topic, Label="l", AWSAccountId=["111111111111"], ActionName=["Publish"]
    )


@pytest.mark.parametrize("name", ["RedrivePolicy", "DeliveryPolicy", "FilterPolicy"])
def test_an_empty_policy_of_a_subscription_is_none(
    sns: "SNSClient", inbox: Inbox, subscribed: Make, name: str
) -> None:
    arn = subscribed(RedrivePolicy=json.dumps({"deadLetterTargetArn": inbox.arn}))
    sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName=name, AttributeValue="{}")
    assert name not in sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
