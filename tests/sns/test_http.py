"""HTTP subscriptions: confirmation, signatures, headers, retries, dead letters, unsubscribing."""

import base64
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import trustme
from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError

from hubbub import load_config
from hubbub.testing.hub import serve_in_thread
from tests.programs import javascript_packages, program, run

from .conftest import Inbox, SnsHub, settings
from .receiver import Receiver, receive
from .test_sqs import verify

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

Make = Callable[..., str]

AT_ONCE = json.dumps(
    {"healthyRetryPolicy": {"numRetries": 3, "numNoDelayRetries": 3}, "requestPolicy": None}
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receive() as found:
        yield found


def visit(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        text: str = answer.read().decode()
    return text


@pytest.fixture
def confirmed(sns: "SNSClient", topic: str, receiver: Receiver) -> Callable[..., str]:
    """Subscribe the receiver and confirm it; keywords are the attributes."""

    def subscribe(**attributes: str) -> str:
        arn = sns.subscribe(
            TopicArn=topic, Protocol="http", Endpoint=receiver.url, Attributes=attributes,
            ReturnSubscriptionArn=True,
        )["SubscriptionArn"]  # fmt: skip
        sns.confirm_subscription(TopicArn=topic, Token=receiver.get().json["Token"])
        return arn

    return subscribe


def test_a_password_in_a_url_is_used_and_not_told(
    sns: "SNSClient", topic: str, receiver: Receiver
) -> None:
    address = receiver.url.partition("://")[2]
    arn = sns.subscribe(
        TopicArn=topic, Protocol="http", Endpoint=f"http://anna:s:cr@t@{address}/hook",
        ReturnSubscriptionArn=True,
    )["SubscriptionArn"]  # fmt: skip
    call = receiver.get()
    assert base64.b64decode(call.headers["authorization"].split()[1]) == b"anna:s:cr@t"
    told = f"http://anna:****@{address}/hook"
    assert sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]["Endpoint"] == told
    for listed in (sns.list_subscriptions_by_topic(TopicArn=topic), sns.list_subscriptions()):
        found = {each["Endpoint"] for each in listed["Subscriptions"] if each["TopicArn"] == topic}
        assert found == {told}


def test_a_subscription_is_confirmed_by_the_link_that_was_sent(
    sns: "SNSClient", hub: SnsHub, topic: str, receiver: Receiver
) -> None:
    answer = sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=receiver.url + "/hook")
    assert answer["SubscriptionArn"] == "pending confirmation"
    sns.publish(TopicArn=topic, Message="too early")
    call = receiver.get()
    assert call.path == "/hook"
    message = call.json
    assert message["Type"] == "SubscriptionConfirmation"
    assert message["Message"] == (
        f"You have chosen to subscribe to the topic {topic}.\nTo confirm the subscription, visit "
        "the SubscribeURL included in this message."
    )
    verify(message)
    assert call.headers["content-type"] == "text/plain; charset=UTF-8"
    assert call.headers["user-agent"] == "Amazon Simple Notification Service Agent"
    assert call.headers["x-amz-sns-message-type"] == "SubscriptionConfirmation"
    assert call.headers["x-amz-sns-message-id"] == message["MessageId"]
    assert call.headers["x-amz-sns-topic-arn"] == topic
    assert "x-amz-sns-subscription-arn" not in call.headers
    [listed] = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert listed["SubscriptionArn"] == "PendingConfirmation"
    counts = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert (counts["SubscriptionsPending"], counts["SubscriptionsConfirmed"]) == ("1", "0")

    assert message["SubscribeURL"] == (
        f"{hub.url}/?Action=ConfirmSubscription&TopicArn={topic}&Token={message['Token']}"
    )
    elsewhere = message["SubscribeURL"].replace("us-east-1", "eu-central-1")
    with pytest.raises(urllib.error.HTTPError) as refused:
        visit(elsewhere)
    refused.value.close()
    # AWS asks the token for the topic, and not whether its name is right.
    text = visit(message["SubscribeURL"].replace(topic, f"{topic}x"))
    assert visit(message["SubscribeURL"])
    found = re.search("<SubscriptionArn>(.+)</SubscriptionArn>", text)
    assert found is not None
    arn = found[1]
    attributes = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert attributes["PendingConfirmation"] == "false"
    assert attributes["ConfirmationWasAuthenticated"] == "false"
    sns.publish(TopicArn=topic, Message="hello")
    call = receiver.get()
    assert call.json["Message"] == "hello"
    assert call.headers["x-amz-sns-message-type"] == "Notification"
    assert call.headers["x-amz-sns-subscription-arn"] == arn
    verify(call.json)


def test_wrong_tokens(sns: "SNSClient", hub: SnsHub, topic: str) -> None:
    for arn, token, text in (
        (topic, "x", "Invalid token"),
        (topic, "ab" * 128, "Invalid parameter: Token"),
        ("no-arn", "x", "Invalid parameter: Topic"),
    ):
        with pytest.raises(ClientError) as caught:
            sns.confirm_subscription(TopicArn=arn, Token=token)
        assert caught.value.response["Error"]["Message"] == text
    with pytest.raises(urllib.error.HTTPError) as refused:
        visit(f"{hub.url}/?Action=ConfirmSubscription&TopicArn={topic}&Token=x")
    assert refused.value.code == 400
    refused.value.close()


def test_raw_delivery_with_a_content_type(
    sns: "SNSClient", topic: str, receiver: Receiver, confirmed: Make
) -> None:
    policy = json.dumps({"requestPolicy": {"headerContentType": "text/csv"}})
    arn = confirmed(RawMessageDelivery="true", DeliveryPolicy=policy)
    sns.publish(TopicArn=topic, Message="a;b")
    call = receiver.get()
    assert call.body == "a;b"
    assert call.headers["content-type"] == "text/csv"
    assert call.headers["x-amz-sns-rawdelivery"] == "true"
    attributes = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert json.loads(attributes["DeliveryPolicy"]) == {
        "healthyRetryPolicy": None, "sicklyRetryPolicy": None, "throttlePolicy": None,
        "requestPolicy": {"headerContentType": "text/csv"}, "guaranteed": False,
    }  # fmt: skip
    assert (
        json.loads(attributes["EffectiveDeliveryPolicy"])["healthyRetryPolicy"]["numRetries"] == 3
    )


def test_5xx_is_tried_again_until_the_policy_ends(
    sns: "SNSClient", topic: str, receiver: Receiver, confirmed: Make, inbox: Inbox
) -> None:
    redrive = json.dumps({"deadLetterTargetArn": inbox.arn})
    confirmed(DeliveryPolicy=AT_ONCE, RedrivePolicy=redrive)
    for status in (500, 503, 429):
        receiver.answers.put(status)
    sns.publish(TopicArn=topic, Message="at last")
    ids = {receiver.get().json["MessageId"] for _ in range(4)}
    assert len(ids) == 1
    for _ in range(4):
        receiver.answers.put(500)
    sns.publish(TopicArn=topic, Message="never")
    for _ in range(4):
        assert receiver.get().json["Message"] == "never"
    assert inbox.envelope()["Message"] == "never"
    assert receiver.calls.empty()


def test_4xx_is_not_tried_again(
    sns: "SNSClient", topic: str, receiver: Receiver, confirmed: Make, inbox: Inbox
) -> None:
    redrive = json.dumps({"deadLetterTargetArn": inbox.arn})
    confirmed(DeliveryPolicy=AT_ONCE, RedrivePolicy=redrive)
    receiver.answers.put(403)
    sns.publish(TopicArn=topic, Message="refused")
    assert inbox.envelope()["Message"] == "refused"
    assert receiver.get().json["Message"] == "refused"
    sns.publish(TopicArn=topic, Message="next")
    assert receiver.get().json["Message"] == "next"


def test_unsubscribing_by_link_can_be_taken_back(
    sns: "SNSClient", topic: str, receiver: Receiver, confirmed: Make
) -> None:
    arn = confirmed()
    sns.publish(TopicArn=topic, Message="x")
    visit(receiver.get().json["UnsubscribeURL"])
    call = receiver.get()
    message = call.json
    assert message["Type"] == "UnsubscribeConfirmation"
    assert call.headers["x-amz-sns-subscription-arn"] == arn
    verify(message)
    sns.publish(TopicArn=topic, Message="not for you")
    counts = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert (counts["SubscriptionsDeleted"], counts["SubscriptionsConfirmed"]) == ("1", "0")
    visit(message["SubscribeURL"])
    sns.publish(TopicArn=topic, Message="again")
    assert receiver.get().json["Message"] == "again"
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsDeleted"] == "0"


def test_only_the_owner_may_unsubscribe_if_so_confirmed(
    sns: "SNSClient", topic: str, receiver: Receiver
) -> None:
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=receiver.url)
    token = receiver.get().json["Token"]
    arn = sns.confirm_subscription(
        TopicArn=topic, Token=token, AuthenticateOnUnsubscribe="true"
    )["SubscriptionArn"]  # fmt: skip
    sns.publish(TopicArn=topic, Message="x")
    with pytest.raises(urllib.error.HTTPError) as refused:
        visit(receiver.get().json["UnsubscribeURL"])
    assert refused.value.code == 403
    refused.value.close()
    sns.unsubscribe(SubscriptionArn=arn)
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []


def test_many_messages_all_arrive(
    sns: "SNSClient", topic: str, receiver: Receiver, confirmed: Make
) -> None:
    confirmed(RawMessageDelivery="true")
    for start in range(0, 50, 10):
        sns.publish_batch(
            TopicArn=topic,
            PublishBatchRequestEntries=[
                {"Id": str(n), "Message": str(n)} for n in range(start, start + 10)
            ],
        )
    assert {receiver.get().body for _ in range(50)} == {str(n) for n in range(50)}


def test_a_topic_may_be_deleted_while_a_delivery_is_under_way(
    sns: "SNSClient", hub: SnsHub, topic: str, receiver: Receiver, confirmed: Make
) -> None:
    confirmed()
    receiver.answers.put(503)
    with receiver.held():
        sns.publish(TopicArn=topic, Message="x")
        receiver.get()
        sns.delete_topic(TopicArn=topic)
    other = sns.create_topic(Name=f"{topic.rpartition(':')[2]}-next")["TopicArn"]
    sns.subscribe(TopicArn=other, Protocol="http", Endpoint=receiver.url)
    assert receiver.get().json["TopicArn"] == other
    metrics = visit(f"{hub.served.endpoint('admin').url}/metrics")
    assert 'hubbub_plugin_failures_total{plugin="sns"} 0.0' in metrics


VALIDATE = """
const Validator = require('sns-validator');
const fs = require('fs');
const validator = new Validator(/^127\\.0\\.0\\.1:\\d+$/);
validator.validate(fs.readFileSync(0, 'utf8'), error => {
    if (error) { console.error(error.message); process.exit(1); }
    console.log('valid');
});
"""


def run_validator(message: dict[str, Any], authority: Path) -> str:
    modules = {"NODE_PATH": str(javascript_packages()), "NODE_EXTRA_CA_CERTS": str(authority)}
    done = run(
        [program("node"), "-e", VALIDATE],
        given=json.dumps(message), environment=modules, expect=[0, 1],
    )  # fmt: skip
    return (done.stdout + done.stderr).decode().strip()


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_javascript_validator_accepts_signatures_served_over_tls(
    tmp_path: Path, boto_session: boto3.Session, version: str
) -> None:
    authority = trustme.CA()
    chain, key, root = tmp_path / "chain.pem", tmp_path / "key.pem", tmp_path / "root.pem"
    certificate = authority.issue_cert("127.0.0.1")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(chain, append=True)
    certificate.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(root)
    config = settings(tmp_path)
    config["aws"]["listener"]["tls"] = {"certificate": str(chain), "key": str(key)}
    with serve_in_thread(load_config(settings=config)) as served, receive() as receiver:
        sns = boto_session.client(
            "sns", endpoint_url=served.endpoint("sns").url, region_name="us-east-1",
            aws_access_key_id="test", aws_secret_access_key="test", verify=str(root),
            config=BotoConfig(retries={"max_attempts": 0}),
        )  # fmt: skip
        topic = sns.create_topic(Name="signed", Attributes={"SignatureVersion": version})[
            "TopicArn"
        ]
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=receiver.url)
        message = receiver.get().json
        assert run_validator(message, root) == "valid"
        sns.confirm_subscription(TopicArn=topic, Token=message["Token"])
        sns.publish(TopicArn=topic, Message="hello", Subject="greeting")
        message = receiver.get().json
        assert run_validator(message, root) == "valid"
        forged = message | {"Message": "goodbye"}
        assert run_validator(forged, root) == "The message signature is invalid."
