"""Data protection policies: deny, de-identify, audit; and reports of delivery status."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import publish as mqtt

from hubbub import load_config
from hubbub.testing.hub import serve_in_thread
from hubbub_sns.identifiers import IDENTIFIERS
from hubbub_sns.protection import read_policy

from .conftest import Inbox, JumpingClock, SnsHub, settings
from .receiver import receive

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

Make = Callable[..., str]

MANAGED = "arn:aws:dataprotection::aws:data-identifier/"
MASK = {"Deidentify": {"MaskConfig": {"MaskWithCharacter": "#"}}}
DENY: dict[str, Any] = {"Deny": {}}
CARD = "4539 1488 0343 6467"


def statement(
    operation: dict[str, Any], *names: str, direction: str = "Inbound", principal: str = "*"
) -> dict[str, Any]:
    return {
        "Sid": "s",
        "DataDirection": direction,
        "Principal": [principal],
        "DataIdentifier": [name if name.islower() else MANAGED + name for name in names],
        "Operation": operation,
    }


def policy(*statements: Any, **customs: str) -> str:
    document: dict[str, Any] = {
        "Name": "p", "Description": "d", "Version": "2021-06-01", "Statement": list(statements)
    }  # fmt: skip
    if customs:
        document["Configuration"] = {
            "CustomDataIdentifier": [
                {"Name": name, "Regex": regex} for name, regex in customs.items()
            ]
        }
    return json.dumps(document)


@pytest.fixture
def protect(sns: "SNSClient", topic: str) -> Callable[..., None]:
    """Give the topic a policy."""

    def put(*statements: Any, **customs: str) -> None:
        sns.put_data_protection_policy(
            ResourceArn=topic, DataProtectionPolicy=policy(*statements, **customs)
        )

    return put


def test_denied_messages_are_not_published(
    sns: "SNSClient", topic: str, inbox: Inbox, subscribed: Make, protect: Callable[..., None]
) -> None:
    subscribed()
    protect(statement(DENY, "CreditCardNumber", "EmailAddress"))
    for text in (f"pay with {CARD}", "write to jo@example.org"):
        with pytest.raises(ClientError) as refused:
            sns.publish(TopicArn=topic, Message=text)
        error = refused.value.response["Error"]
        assert error["Code"] == "AuthorizationError"
        assert topic in error["Message"]
    answer = sns.publish_batch(
        TopicArn=topic,
        PublishBatchRequestEntries=[
            {"Id": "a", "Message": CARD},
            {"Id": "b", "Message": "4539 1488 0343 6468 has a wrong check digit"},
        ],
    )
    assert [each["Id"] for each in answer["Successful"]] == ["b"]
    [failure] = answer["Failed"]
    assert (failure["Id"], failure["Code"]) == ("a", "AuthorizationError")
    assert "wrong check digit" in inbox.envelope()["Message"]
    assert inbox.empty


def test_data_is_masked_for_everybody(
    sns: "SNSClient", topic: str, inbox: Inbox, subscribed: Make, protect: Callable[..., None]
) -> None:
    subscribed(RawMessageDelivery="true")
    protect(statement(MASK, "Ssn-US"), statement({"Deidentify": {"RedactConfig": {}}}, "plate"),
            plate="[A-Z]{2}-[0-9]+")  # fmt: skip
    sns.publish(TopicArn=topic, Message="ssn 123-45-6789 drives MU-42!")
    assert inbox.one()["Body"] == "ssn ########### drives !"
    both = json.dumps({"default": "123-45-6789", "sqs": "queue: 123-45-6789"})
    sns.publish(TopicArn=topic, Message=both, MessageStructure="json")
    assert inbox.one()["Body"] == "queue: ###########"


def test_data_is_masked_for_one_subscriber(
    hub: SnsHub, sns: "SNSClient", topic: str, inbox: Inbox, make_inbox: Callable[..., Inbox],
    subscribed: Make, protect: Callable[..., None],
) -> None:  # fmt: skip
    arn = subscribed(RawMessageDelivery="true")
    mine = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    other = make_inbox()
    hub.client(access_key="other").subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=other.arn,
        Attributes={"RawMessageDelivery": "true"},
    )  # fmt: skip
    principal = mine["SubscriptionPrincipal"]
    protect(statement(MASK, "EmailAddress", direction="Outbound", principal=principal))
    sns.publish(TopicArn=topic, Message="jo@example.org")
    masked, plain = inbox.one()["Body"], other.one()["Body"]
    assert masked == "##############"
    assert plain in {"jo@example.org", masked}  # who has no users is always the same one


def test_denied_deliveries_are_counted(
    sns: "SNSClient", topic: str, inbox: Inbox, subscribed: Make, protect: Callable[..., None]
) -> None:
    subscribed()
    protect(statement(DENY, "IpAddress", direction="Outbound"))
    sns.publish(TopicArn=topic, Message="from 10.0.0.1")
    sns.publish(TopicArn=topic, Message="from 10.0.0.256")
    assert inbox.envelope()["Message"] == "from 10.0.0.256"
    assert inbox.empty


def test_what_other_protocols_publish_is_protected_on_its_way(
    hub: SnsHub, sns: "SNSClient", topic: str, inbox: Inbox, subscribed: Make,
    protect: Callable[..., None],
) -> None:  # fmt: skip
    subscribed(RawMessageDelivery="true")
    protect(statement(MASK, "EmailAddress"))
    port = int(hub.served.endpoint("mqtt").url.rpartition(":")[2])
    mqtt.single(topic.rpartition(":")[2], "jo@example.org", qos=1, port=port)
    assert inbox.one()["Body"] == "##############"


@pytest.mark.parametrize(
    "change",
    [
        {"Statement": 1},
        {"Name": ""},
        {"Wrong": 1},
        {"Statement": [{**statement(DENY, "EmailAddress"), "DataDirection": "Sideways"}]},
        {"Statement": [statement(DENY)]},
        {"Statement": [statement(DENY, "NoSuchThing")]},
        {"Statement": [statement(DENY, "custom")]},
        {"Statement": [statement({"Deny": {}, "Audit": {}}, "EmailAddress")]},
        {"Statement": [statement({"Deidentify": {}}, "EmailAddress")]},
        {"Statement": [statement({"Audit": {"SampleRate": "100"}}, "EmailAddress")]},
        {"Configuration": {"CustomDataIdentifier": [{"Name": "x", "Regex": "("}]}},
        {"Configuration": {"CustomDataIdentifier": [{"Name": "x", "Regex": "a" * 201}]}},
    ],
)
def test_wrong_policies_are_refused(sns: "SNSClient", topic: str, change: dict[str, Any]) -> None:
    document = {**json.loads(policy(statement(DENY, "EmailAddress"))), **change}
    with pytest.raises(ClientError) as refused:
        sns.put_data_protection_policy(ResourceArn=topic, DataProtectionPolicy=json.dumps(document))
    error = refused.value.response["Error"]
    assert error["Code"] == "InvalidParameter"
    assert error["Message"].startswith("Invalid parameter: DataProtectionPolicy Reason: ")


KEY = "-----BEGIN {0} PRIVATE KEY-----\nYQ==\n-----END {0} PRIVATE KEY-----"
FOUND = {
    "Address": "lives at 12 Long Oak Street now",
    "AwsSecretKey": "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "BankAccountNumber-DE": "DE89 3704 0044 0532 0130 00",
    "BankAccountNumber-GB": "GB29 NWBK 6016 1331 9268 19",
    "CreditCardNumber": "378282246310005",
    "CreditCardSecurityCode": "cvv: 123",
    "DateOfBirth": "born 01/02/1990",
    "DriversLicense-US": "driver license D1234567",
    "EmailAddress": "a.b+c@mail.example.co.uk",
    "IpAddress": "2001:0db8:0000:0000:0000:0000:0000:0001",
    "Name": "my name is Jane Doe.",
    "NationalInsuranceNumber-GB": "AB 12 34 56 C",
    "OpenSshPrivateKey": KEY.format("OPENSSH"),
    "PassportNumber-US": "passport 123456789",
    "PhoneNumber-US": "(212) 555-0123",
    "PkcsPrivateKey": KEY.format("RSA"),
    "PostalCode-CA": "K1A 0B1",
    "Ssn-US": "123-45-6789",
    "VehicleIdentificationNumber": "VIN 1HGCM82633A004352",
    "ZipCode-US": "zip 90210",
}
NOT_FOUND = {
    "BankAccountNumber-DE": "DE88 3704 0044 0532 0130 00",
    "CreditCardNumber": "4539 1488 0343 6468",
    "CreditCardSecurityCode": "flight 123",
    "EmailAddress": "at @home",
    "IpAddress": "1.2.3.4.5",
    "Name": "The Quick brown fox",
    "PassportNumber-US": "order 123456789",
    "Ssn-US": "000-12-3456",
}


@pytest.mark.parametrize("name", FOUND)
def test_managed_identifiers_find(name: str) -> None:
    assert list(IDENTIFIERS[name].find(FOUND[name]))


@pytest.mark.parametrize("name", NOT_FOUND)
def test_managed_identifiers_pass_over(name: str) -> None:
    assert not list(IDENTIFIERS[name].find(NOT_FOUND[name]))


@given(st.text(alphabet="a1@.- 9AZ", max_size=200))
def test_masking_keeps_the_length_and_redacting_leaves_nothing_to_find(text: str) -> None:
    [mask] = read_policy(policy(statement(MASK, "EmailAddress", "Ssn-US")))
    assert len(mask.deidentify(text)) == len(text)
    for each in mask.find(text):
        assert set(mask.deidentify(text)[each.start : each.end]) == {"#"}


# Reports


@pytest.fixture
def reporting(
    boto_session: boto3.Session, tmp_path: Path
) -> Iterator[tuple[SnsHub, Callable[[int], list[Any]]]]:
    """A hub, and a way to wait for so many of its reports."""
    clock = JumpingClock()
    with serve_in_thread(load_config(settings=settings(tmp_path)), clock=clock) as served:
        path = tmp_path / "sns-reports.jsonl"

        def reports(count: int) -> list[Any]:
            end = time.monotonic() + 20
            while not path.exists() or len(path.read_text().splitlines()) < count:
                assert time.monotonic() < end, "the reports did not come"
                time.sleep(0.02)
            return [json.loads(line) for line in path.read_text().splitlines()]

        yield SnsHub(served, clock, boto_session), reports


def test_audits_report_what_was_found(
    reporting: tuple[SnsHub, Callable[[int], list[Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, reports = reporting
    monkeypatch.setattr("random.random", lambda: 0.0)
    sns = hub.client()
    audit = {
        "Audit": {
            "SampleRate": "1",
            "FindingsDestination": {"CloudWatchLogs": {"LogGroup": "/aws/vendedlogs/found"}},
            "NoFindingsDestination": {"CloudWatchLogs": {"LogGroup": "/aws/vendedlogs/not"}},
        }
    }
    topic = sns.create_topic(
        Name="audited", DataProtectionPolicy=policy(statement(audit, "EmailAddress"))
    )["TopicArn"]
    sns.publish(TopicArn=topic, Message="from jo@example.org to jo@example.com")
    sns.publish(TopicArn=topic, Message="nothing")
    found, clean = reports(2)
    assert found["logGroup"] == "/aws/vendedlogs/found"
    assert found["resourceArn"] == topic
    [identifier] = found["dataIdentifiers"]
    assert identifier["name"] == f"{MANAGED}EmailAddress"
    assert identifier["count"] == 2
    assert identifier["detections"][0] == {"start": 5, "end": 19}
    assert (clean["logGroup"], clean["dataIdentifiers"]) == ("/aws/vendedlogs/not", [])


def test_delivery_status_is_reported(reporting: tuple[SnsHub, Callable[[int], list[Any]]]) -> None:
    hub, reports = reporting
    sns, sqs = hub.client(), hub.client("sqs")
    role = "arn:aws:iam::000000000000:role/feedback"
    topic = sns.create_topic(
        Name="watched",
        Attributes={
            f"{protocol}{kind}FeedbackRoleArn": role
            for protocol in ("HTTP", "SQS")
            for kind in ("Success", "Failure")
        }
        | {"SQSSuccessFeedbackSampleRate": "100"},
    )["TopicArn"]
    sqs.create_queue(QueueName="there")
    for name in ("there", "missing"):
        sns.subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:us-east-1:000000000000:{name}"
        )
    message = sns.publish(TopicArn=topic, Message="hello")["MessageId"]
    by_status = {each["status"]: each for each in reports(2)}
    good, bad = by_status["SUCCESS"], by_status["FAILURE"]
    assert good["logGroup"] == "sns/us-east-1/000000000000/watched"
    assert bad["logGroup"] == "sns/us-east-1/000000000000/watched/Failure"
    assert good["notification"]["messageId"] == message
    assert good["notification"]["messageMD5Sum"] == "5d41402abc4b2a76b9719d911017c592"
    assert good["notification"]["topicArn"] == topic
    assert good["delivery"]["destination"].endswith(":there")
    assert good["delivery"]["statusCode"] == 200
    assert bad["delivery"]["destination"].endswith(":missing")
    assert bad["delivery"]["providerResponse"] == "no such queue"
    with receive() as receiver:
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=receiver.url)
        httpx.get(receiver.get().json["SubscribeURL"])
        receiver.answers.put(403)
        sns.publish(TopicArn=topic, Message="to all")
        receiver.get()
        found = [each for each in reports(5) if each["delivery"]["destination"] == receiver.url]
    [refused] = found
    assert (refused["status"], refused["delivery"]["statusCode"]) == ("FAILURE", 403)
    assert refused["delivery"]["attempts"] == 1


def test_sms_and_push_notifications_are_reported(
    reporting: tuple[SnsHub, Callable[[int], list[Any]]],
) -> None:
    hub, reports = reporting
    sns = hub.client()
    role = "arn:aws:iam::000000000000:role/feedback"
    sns.set_sms_attributes(attributes={"DeliveryStatusIAMRole": role})
    sns.publish(PhoneNumber="+4930123456", Message="hi")
    application = sns.create_platform_application(
        Name="app", Platform="GCM",
        Attributes={
            "PlatformCredential": "key", "SuccessFeedbackRoleArn": role,
            "SuccessFeedbackSampleRate": "100",
        },
    )["PlatformApplicationArn"]  # fmt: skip
    endpoint = sns.create_platform_endpoint(
        PlatformApplicationArn=application, Token="token"
    )["EndpointArn"]  # fmt: skip
    sns.publish(TargetArn=endpoint, Message="hi")
    sms, push = reports(2)
    assert sms["logGroup"] == "sns/us-east-1/000000000000/DirectPublishToPhoneNumber"
    assert sms["delivery"]["destination"] == "+4930123456"
    assert push["logGroup"] == "sns/us-east-1/000000000000/app/GCM/app"
    assert push["delivery"]["destination"] == endpoint
    shown = httpx.get(f"{hub.served.endpoint('Admin').url}/sns/reports.json").json()
    assert shown == [sms, push]
