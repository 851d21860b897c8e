"""Functions, streams, mail, SMS and devices; and the outbox for what has no local receiver."""

import json
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from hubbub import ReadResult, StreamSettings, load_config
from hubbub.testing.hub import serve_in_thread
from tests.mail import mail_server

from .conftest import Inbox, JumpingClock, SnsHub, settings
from .receiver import receive
from .test_sqs import verify

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

Make = Callable[..., str]


def outbox(hub: SnsHub) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{hub.served.endpoint('admin').url}/sns/outbox.json") as answer:
        entries: list[dict[str, Any]] = json.load(answer)
    return entries


def waiting_for(hub: SnsHub, to: str, count: int = 1) -> list[dict[str, Any]]:
    """The entries of the outbox for one receiver, when there are so many."""
    for _ in range(400):
        found = [entry for entry in outbox(hub) if entry["to"] == to]
        if len(found) >= count:
            return found
        threading.Event().wait(0.025)
    raise AssertionError(f"not {count} entries to {to} in {outbox(hub)}")


# streams


def test_firehose_is_a_stream(sns: "SNSClient", hub: SnsHub, topic: str) -> None:
    async def make() -> None:
        with hub.served.hub.session(_everybody(), protocol="test", client="test") as session:
            await session.create_stream("telemetry", StreamSettings())

    async def read() -> ReadResult:
        with hub.served.hub.session(_everybody(), protocol="test", client="test") as session:
            info = session.find_stream("telemetry")
            assert info is not None
            return await session.read("telemetry", info.oldest(info.shards()[0].id))

    hub.served.run(make)
    arn = "arn:aws:firehose:us-east-1:000000000000:deliverystream/telemetry"
    sns.subscribe(TopicArn=topic, Protocol="firehose", Endpoint=arn)
    answer = sns.publish(TopicArn=topic, Message="21.5")
    [record] = hub.served.run(read).records
    body = record.message.body
    assert body.endswith(b"}\n")
    assert json.loads(body)["MessageId"] == answer["MessageId"]

    [subscription] = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    sns.set_subscription_attributes(
        SubscriptionArn=subscription["SubscriptionArn"],
        AttributeName="RawMessageDelivery", AttributeValue="true",
    )  # fmt: skip
    texts = {"default": "for all", "firehose": "for the stream"}
    sns.publish(TopicArn=topic, Message=json.dumps(texts), MessageStructure="json")
    assert hub.served.run(read).records[-1].message.body == b"for the stream"


def _everybody() -> Any:
    from hubbub import Principal

    return Principal("test", realms=("*",))


# functions


def test_a_function_is_invoked(tmp_path: Path, boto_session: boto3.Session) -> None:
    with receive() as receiver:
        url = receiver.url + "/2015-03-31/functions/{name}/invocations"
        config = load_config(settings=settings(tmp_path, lambda_url=url))
        with serve_in_thread(config) as served:
            hub = SnsHub(served, JumpingClock(), boto_session)
            sns = hub.client()
            topic = sns.create_topic(Name="events")["TopicArn"]
            function = "arn:aws:lambda:us-east-1:000000000000:function:thumbnails"
            arn = sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function)[
                "SubscriptionArn"
            ]
            receiver.answers.put(500)  # tried again at once
            sns.publish(
                TopicArn=topic, Message="Hello",
                MessageAttributes={"n": {"DataType": "Number", "StringValue": "1"}},
            )  # fmt: skip
            receiver.get()
            call = receiver.get()
            assert call.path == "/2015-03-31/functions/thumbnails/invocations"
            assert call.headers["x-amz-invocation-type"] == "Event"
            [record] = call.json["Records"]
            assert record["EventSource"] == "aws:sns"
            assert record["EventVersion"] == "1.0"
            assert record["EventSubscriptionArn"] == arn
            event = record["Sns"]
            assert event["Subject"] is None
            assert event["MessageAttributes"] == {"n": {"Type": "Number", "Value": "1"}}
            assert event["UnsubscribeUrl"].endswith(arn)
            signed = {name: value for name, value in event.items() if value is not None}
            verify(signed | {"SigningCertURL": event["SigningCertUrl"]})


def test_without_a_url_functions_have_an_outbox(sns: "SNSClient", hub: SnsHub, topic: str) -> None:
    function = "arn:aws:lambda:us-east-1:000000000000:function:outboxed"
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function)
    sns.publish(TopicArn=topic, Message="Hello")
    [entry] = waiting_for(hub, function)
    assert json.loads(entry["message"])["Records"][0]["Sns"]["Message"] == "Hello"


# mail


def test_mails_go_to_the_mail_server(tmp_path: Path, boto_session: boto3.Session) -> None:
    with mail_server() as (port, mails):
        config = load_config(settings=settings(tmp_path, smtp={"host": "127.0.0.1", "port": port}))
        with serve_in_thread(config) as served:
            hub = SnsHub(served, JumpingClock(), boto_session)
            sns = hub.client()
            topic = sns.create_topic(Name="news", Attributes={"DisplayName": "News"})["TopicArn"]
            for protocol in ("email", "email-json"):
                answer = sns.subscribe(
                    TopicArn=topic, Protocol=protocol, Endpoint=f"{protocol}@example.com"
                )
                assert answer["SubscriptionArn"] == "pending confirmation"
            for _ in range(2):
                receiver, mail = mails.get(timeout=10)
                text = mail.get_payload(decode=True).decode()  # type: ignore[union-attr]
                if receiver.startswith("email-json"):
                    url = json.loads(text)["SubscribeURL"]
                else:
                    url = next(line for line in text.splitlines() if line.startswith("http"))
                with urllib.request.urlopen(url):
                    pass
            sns.publish(TopicArn=topic, Message="grüße", Subject="Hello")
            found = dict(mails.get(timeout=10) for _ in range(2))
            plain = found["email@example.com"]
            assert plain["Subject"] == "Hello"
            assert plain["From"] == "News <no-reply@sns.hubbub.local>"
            text = plain.get_payload(decode=True).decode()  # type: ignore[union-attr]
            assert text.splitlines()[0] == "grüße"
            assert "Action=Unsubscribe" in text
            body = found["email-json@example.com"].get_payload(decode=True)
            envelope = json.loads(body)  # type: ignore[arg-type]
            assert envelope["Message"] == "grüße"
            verify(envelope)


def test_without_a_mail_server_mails_go_to_the_outbox(
    sns: "SNSClient", hub: SnsHub, topic: str
) -> None:
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="ann@example.com")
    [mail] = waiting_for(hub, "ann@example.com")
    url = next(line for line in mail["message"].splitlines() if line.startswith("http"))
    with urllib.request.urlopen(url):
        pass
    sns.publish(TopicArn=topic, Message="hello", Subject="Greeting")
    [_, mail] = waiting_for(hub, "ann@example.com", 2)
    assert mail["subject"] == "Greeting"
    assert mail["message"].startswith("hello\n")


# SMS


def test_sms_go_to_the_outbox_and_its_file(
    sns: "SNSClient", hub: SnsHub, topic: str, numbers: Iterator[int]
) -> None:
    phone = f"+4930{next(numbers):06}"
    arn = sns.subscribe(TopicArn=topic, Protocol="sms", Endpoint=phone)["SubscriptionArn"]
    attributes = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert attributes["PendingConfirmation"] == "false"
    sns.publish(
        TopicArn=topic, Message='{"default": "long", "sms": "short"}', MessageStructure="json"
    )
    waiting_for(hub, phone)
    answer = sns.publish(PhoneNumber=phone, Message="direct")
    texts = [(each["message"], each["status"]) for each in waiting_for(hub, phone, 2)]
    assert texts == [("short", "sent"), ("direct", "sent")]
    lines = (hub.served.hub.config.hub.data / "sns-outbox.jsonl").read_text().splitlines()
    mine = [entry for entry in map(json.loads, lines) if entry["to"] == phone]
    assert mine[1]["message_id"] == answer["MessageId"]
    with urllib.request.urlopen(f"{hub.served.endpoint('admin').url}/sns/outbox") as page:
        assert phone in page.read().decode()
    with pytest.raises(ClientError) as caught:
        sns.publish(PhoneNumber="not a phone", Message="x")
    assert caught.value.response["Error"]["Message"] == (
        "Invalid parameter: PhoneNumber Reason: not a phone is not valid to publish to"
    )


def test_opting_out_and_in(sns: "SNSClient", hub: SnsHub, numbers: Iterator[int]) -> None:
    phone = f"+4931{next(numbers):06}"
    form = urllib.parse.urlencode({"phone": phone}).encode()
    with urllib.request.urlopen(f"{hub.served.endpoint('admin').url}/sns/opt-out", form) as answer:
        assert answer.status == 204
    assert sns.check_if_phone_number_is_opted_out(phoneNumber=phone)["isOptedOut"]
    assert phone in sns.list_phone_numbers_opted_out()["phoneNumbers"]
    sns.publish(PhoneNumber=phone, Message="x")
    assert outbox(hub)[-1]["status"] == "not sent: the number has opted out"
    sns.opt_in_phone_number(phoneNumber=phone)
    assert not sns.check_if_phone_number_is_opted_out(phoneNumber=phone)["isOptedOut"]


def test_sms_attributes(sns: "SNSClient") -> None:
    sns.set_sms_attributes(attributes={"DefaultSMSType": "Transactional"})
    assert sns.get_sms_attributes()["attributes"] == {
        "DefaultSMSType": "Transactional", "MonthlySpendLimit": "1"
    }  # fmt: skip
    limit = sns.get_sms_attributes(attributes=["MonthlySpendLimit"])["attributes"]
    assert limit == {"MonthlySpendLimit": "1"}
    for name, value, message in (
        ("NoSuch", "x", "NoSuch is not a valid attribute"),
        ("DefaultSMSType", "Loud", "DefaultSMSType is invalid"),
        ("DefaultSenderID", "123", "DefaultSenderID"),
        ("DeliveryStatusSuccessSamplingRate", "often", "SamplingRate is invalid"),
        ("DeliveryStatusSuccessSamplingRate", "101", "SamplingRate is invalid"),
    ):
        with pytest.raises(ClientError, match=message) as caught:
            sns.set_sms_attributes(attributes={name: value})
        assert caught.value.response["Error"]["Code"] == "InvalidParameter"
    assert sns.list_origination_numbers()["PhoneNumbers"] == []


def test_the_sms_sandbox(tmp_path: Path, boto_session: boto3.Session) -> None:
    with serve_in_thread(load_config(settings=settings(tmp_path, sms_sandbox=True))) as served:
        hub = SnsHub(served, JumpingClock(), boto_session)
        sns = hub.client()
        phone = "+4930123456"
        assert sns.get_sms_sandbox_account_status()["IsInSandbox"]
        sns.publish(PhoneNumber=phone, Message="x")
        assert "not verified" in outbox(hub)[-1]["status"]
        sns.create_sms_sandbox_phone_number(PhoneNumber=phone)
        listed = sns.list_sms_sandbox_phone_numbers()["PhoneNumbers"]
        assert listed == [{"PhoneNumber": phone, "Status": "Pending"}]
        password = outbox(hub)[-1]["message"].split()[-1].rstrip(".")
        with pytest.raises(ClientError) as caught:
            sns.verify_sms_sandbox_phone_number(PhoneNumber=phone, OneTimePassword="12345678")
        assert caught.value.response["Error"]["Code"] == "VerificationException"
        sns.verify_sms_sandbox_phone_number(PhoneNumber=phone, OneTimePassword=password)
        sns.publish(PhoneNumber=phone, Message="x")
        assert outbox(hub)[-1]["status"] == "sent"
        sns.delete_sms_sandbox_phone_number(PhoneNumber=phone)
        with pytest.raises(ClientError) as caught:
            sns.delete_sms_sandbox_phone_number(PhoneNumber=phone)
        assert caught.value.response["Error"]["Code"] == "ResourceNotFound"


# devices


def test_events_of_an_application_are_published(
    sns: "SNSClient", topic: str, make_topic: Make, inbox: Inbox, subscribed: Make,
    numbers: Iterator[int],
) -> None:  # fmt: skip
    subscribed()
    names = ("EndpointCreated", "EndpointUpdated", "EndpointDeleted", "DeliveryFailure")
    application = sns.create_platform_application(
        Name=f"app-{next(numbers)}", Platform="GCM",
        Attributes={"PlatformCredential": "x"} | {f"Event{name}": topic for name in names},
    )["PlatformApplicationArn"]  # fmt: skip

    def told() -> dict[str, Any]:
        envelope = inbox.envelope()
        assert envelope["TopicArn"] == topic
        event: dict[str, Any] = json.loads(envelope["Message"])
        assert (event["Resource"], event["Service"]) == (application, "SNS")
        assert event["Time"].endswith("Z")
        return event

    device = sns.create_platform_endpoint(PlatformApplicationArn=application, Token="t")[
        "EndpointArn"
    ]
    created = told()
    assert (created["EventType"], created["EndpointArn"]) == ("EndpointCreated", device)
    sns.set_endpoint_attributes(EndpointArn=device, Attributes={"Enabled": "false"})
    assert told()["EventType"] == "EndpointUpdated"
    pushed = make_topic()
    sns.subscribe(TopicArn=pushed, Protocol="application", Endpoint=device)
    lost = sns.publish(TopicArn=pushed, Message="hello")["MessageId"]
    failure = told()
    assert (failure["EventType"], failure["MessageId"]) == ("DeliveryFailure", lost)
    assert failure["FailureType"] == "EndpointDisabled"
    sns.delete_endpoint(EndpointArn=device)
    assert told()["EventType"] == "EndpointDeleted"
    with pytest.raises(ClientError, match="must have at least 6 elements"):
        sns.set_platform_application_attributes(
            PlatformApplicationArn=application, Attributes={"EventEndpointCreated": "x"}
        )
    sns.set_platform_application_attributes(
        PlatformApplicationArn=application, Attributes={"EventEndpointCreated": ""}
    )
    sns.create_platform_endpoint(PlatformApplicationArn=application, Token="t")
    assert inbox.empty


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "cannot be empty"),
        ("x" * 257, "must be at most 256 characters long"),
        ("a b", "must contain only characters"),
    ],
)
def test_names_of_applications(sns: "SNSClient", name: str, reason: str) -> None:
    with pytest.raises(ClientError, match=f"Reason: {reason}"):
        sns.create_platform_application(
            Name=name, Platform="GCM", Attributes={"PlatformCredential": "x"}
        )


def test_a_device_always_has_the_token_it_was_made_with_or_a_new_one(
    sns: "SNSClient", numbers: Iterator[int]
) -> None:
    application = sns.create_platform_application(
        Name=f"app-{next(numbers)}", Platform="GCM", Attributes={"PlatformCredential": "x"}
    )["PlatformApplicationArn"]
    device = sns.create_platform_endpoint(
        PlatformApplicationArn=application, Token="mine", Attributes={"Token": "another"}
    )["EndpointArn"]
    again = sns.create_platform_endpoint(PlatformApplicationArn=application, Token="mine")
    assert again["EndpointArn"] == device
    with pytest.raises(ClientError, match="Invalid parameter: Token"):
        sns.set_endpoint_attributes(EndpointArn=device, Attributes={"Token": ""})
    assert sns.get_endpoint_attributes(EndpointArn=device)["Attributes"]["Token"] == "mine"


@pytest.mark.parametrize("rate", ["often", "-1", "101", "1000", "٣"])
def test_sample_rates_are_percentages(sns: "SNSClient", numbers: Iterator[int], rate: str) -> None:
    with pytest.raises(ClientError, match="SuccessFeedbackSampleRate: must be between 0 and 100"):
        sns.create_platform_application(
            Name=f"app-{next(numbers)}", Platform="GCM",
            Attributes={"PlatformCredential": "x", "SuccessFeedbackSampleRate": rate},
        )  # fmt: skip


def test_a_credential_needs_its_principal_and_the_other_way_round(
    sns: "SNSClient", numbers: Iterator[int]
) -> None:
    def create(platform: str, *given: str) -> None:
        sns.create_platform_application(
            Name=f"app-{next(numbers)}", Platform=platform, Attributes=dict.fromkeys(given, "x")
        )

    names = ("PlatformCredential", "PlatformPrincipal")
    for platform in ("ADM", "APNS", "APNS_SANDBOX", "BAIDU", "MPNS", "WNS"):
        create(platform, *names)
        for given, missing in (names, names[::-1]):
            with pytest.raises(ClientError) as caught:
                create(platform, given)
            assert caught.value.response["Error"]["Message"] == (
                f"Invalid parameter: Attributes Reason: {given} attribute provided without "
                f"{missing}"
            )
    create("GCM", "PlatformCredential")
    create("FCM", "PlatformCredential")


def test_applications_and_endpoints_belong_to_their_region(
    sns: "SNSClient", hub: SnsHub, numbers: Iterator[int]
) -> None:
    application = sns.create_platform_application(
        Name=f"app-{next(numbers)}", Platform="GCM", Attributes={"PlatformCredential": "x"}
    )["PlatformApplicationArn"]
    device = sns.create_platform_endpoint(PlatformApplicationArn=application, Token="t")[
        "EndpointArn"
    ]
    other = hub.client(region="eu-west-1")
    with pytest.raises(ClientError, match="PlatformApplication does not exist"):
        other.get_platform_application_attributes(PlatformApplicationArn=application)
    with pytest.raises(ClientError, match="Endpoint does not exist"):
        other.get_endpoint_attributes(EndpointArn=device)
    with pytest.raises(ClientError, match="No endpoint found for the target arn specified"):
        other.publish(TargetArn=device, Message="x")


def test_user_data_of_an_endpoint_has_a_limit(sns: "SNSClient", numbers: Iterator[int]) -> None:
    application = sns.create_platform_application(
        Name=f"app-{next(numbers)}", Platform="GCM", Attributes={"PlatformCredential": "x"}
    )["PlatformApplicationArn"]
    for given in ({"CustomUserData": "x" * 2049}, {"Attributes": {"CustomUserData": "x" * 2049}}):
        with pytest.raises(ClientError, match="CustomUserData: must be at most 2048 bytes"):
            sns.create_platform_endpoint(
                PlatformApplicationArn=application,
                Token="t",
                **given,
            )


def test_applications_endpoints_and_push(
    sns: "SNSClient", hub: SnsHub, topic: str, numbers: Iterator[int]
) -> None:
    name = f"app-{next(numbers)}"
    application = sns.create_platform_application(
        Name=name, Platform="GCM", Attributes={"PlatformCredential": "secret"}
    )["PlatformApplicationArn"]
    assert application == f"arn:aws:sns:us-east-1:000000000000:app/GCM/{name}"
    shown = sns.get_platform_application_attributes(PlatformApplicationArn=application)
    assert shown["Attributes"]["Enabled"] == "true"
    assert "PlatformCredential" not in shown["Attributes"]
    sns.set_platform_application_attributes(
        PlatformApplicationArn=application, Attributes={"SuccessFeedbackSampleRate": "5"}
    )
    listed = sns.list_platform_applications()["PlatformApplications"]
    assert application in [each["PlatformApplicationArn"] for each in listed]

    def register(**extra: Any) -> str:
        return sns.create_platform_endpoint(
            PlatformApplicationArn=application, Token="token-1", **extra
        )["EndpointArn"]  # fmt: skip

    device = register()
    assert device.startswith(f"arn:aws:sns:us-east-1:000000000000:endpoint/GCM/{name}/")
    assert register() == device
    with pytest.raises(ClientError) as caught:
        register(CustomUserData="other")
    assert caught.value.response["Error"]["Message"] == (
        f"Invalid parameter: Token Reason: Endpoint {device} already exists with the same Token, "
        "but different attributes."
    )
    assert sns.get_endpoint_attributes(EndpointArn=device)["Attributes"] == {
        "Enabled": "true", "Token": "token-1",
    }  # fmt: skip
    sns.subscribe(TopicArn=topic, Protocol="application", Endpoint=device)
    body = json.dumps({"default": "plain", "GCM": '{"notification": {"title": "hi"}}'})
    sns.publish(TopicArn=topic, Message=body, MessageStructure="json")
    [push] = waiting_for(hub, device)
    assert json.loads(push["message"]) == {"notification": {"title": "hi"}}
    assert (push["platform"], push["token"]) == ("GCM", "token-1")
    sns.publish(TargetArn=device, Message="direct")
    assert outbox(hub)[-1]["message"] == "direct"
    sns.publish(TargetArn=device, Message='{"GCM": "only here"}', MessageStructure="json")
    assert outbox(hub)[-1]["message"] == "only here"
    with pytest.raises(ClientError) as caught:
        sns.publish(TargetArn=device, Message='{"APNS": "x"}', MessageStructure="json")
    assert caught.value.response["Error"]["Message"] == (
        "Invalid parameter: JSON must contain an entry for 'default' or 'GCM'."
    )
    sns.set_endpoint_attributes(EndpointArn=device, Attributes={"Enabled": "False"})
    with pytest.raises(ClientError) as caught:
        sns.publish(TargetArn=device, Message="x", MessageStructure="json")
    assert caught.value.response["Error"]["Code"] == "EndpointDisabled"  # not: "x" is no JSON
    sns.set_endpoint_attributes(EndpointArn=device, Attributes={"Enabled": "true"})
    sns.set_platform_application_attributes(
        PlatformApplicationArn=application, Attributes={"Enabled": "false"}
    )
    with pytest.raises(ClientError) as caught:
        sns.publish(TargetArn=device, Message="x")
    assert caught.value.response["Error"]["Code"] == "PlatformApplicationDisabled"
    [entry] = sns.list_endpoints_by_platform_application(PlatformApplicationArn=application)[
        "Endpoints"
    ]
    assert entry["EndpointArn"] == device
    sns.delete_platform_application(PlatformApplicationArn=application)
    with pytest.raises(ClientError) as caught:
        sns.get_endpoint_attributes(EndpointArn=device)
    assert caught.value.response["Error"] == {
        "Type": "Sender", "Code": "NotFound", "Message": "Endpoint does not exist",
    }  # fmt: skip
    with pytest.raises(ClientError) as caught:
        sns.publish(TargetArn=device, Message="x")
    assert caught.value.response["Error"]["Message"] == (
        "Invalid parameter: TargetArn Reason: No endpoint found for the target arn specified"
    )
    with pytest.raises(ClientError) as caught:
        sns.subscribe(TopicArn=topic, Protocol="application", Endpoint=device)
    assert caught.value.response["Error"]["Message"] == (
        f"Invalid parameter: Endpoint Reason: Endpoint does not exist for endpoint arn{device}"
    )


def test_a_stream_that_is_not_there_leads_to_the_dead_letter_queue(
    sns: "SNSClient", topic: str, inbox: Inbox
) -> None:
    sns.subscribe(
        TopicArn=topic, Protocol="firehose",
        Endpoint="arn:aws:firehose:us-east-1:000000000000:deliverystream/no-such",
        Attributes={"RedrivePolicy": json.dumps({"deadLetterTargetArn": inbox.arn})},
    )  # fmt: skip
    sns.publish(TopicArn=topic, Message="nowhere to go")
    assert inbox.envelope()["Message"] == "nowhere to go"
