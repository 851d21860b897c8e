"""Who may call: access keys, signatures, users and their permissions."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

from hubbub.config import Config, load_config
from hubbub.config.sections import UserSettings
from hubbub.testing.hub import serve_in_thread

from .conftest import SETTINGS, JumpingClock, SqsHub
from .helpers import receive, refused
from .wire import Connection

USERS = [
    {
        "name": "ann",
        "access_keys": [{"id": "AKIAANN", "secret": "ann's secret"}],
        "permissions": [
            {"action": "*", "resource": "$queue/mine"},
            {"action": "publish", "resource": "$queue/drop"},
        ],
    },
    {
        "name": "bob",
        "realms": ["222222222222"],
        "access_keys": [{"id": "AKIABOB", "secret": "bob's secret"}],
    },
]


def with_users(settings: dict[str, Any]) -> Config:
    users = tuple(UserSettings.model_validate(each) for each in USERS)
    return replace(load_config(settings=settings), users=users)


def served(session: boto3.Session, **aws: Any) -> Iterator[SqsHub]:
    config = with_users({**SETTINGS, "aws": {**SETTINGS["aws"], **aws}})
    clock = JumpingClock()
    with serve_in_thread(config, clock=clock) as hub:
        yield SqsHub(hub, clock, session)


@pytest.fixture(scope="module")
def verifying(boto_session: boto3.Session) -> Iterator[SqsHub]:
    yield from served(boto_session, auth="verify")


@pytest.fixture(scope="module")
def open_hub(boto_session: boto3.Session) -> Iterator[SqsHub]:
    yield from served(boto_session)


def test_a_good_signature(verifying: SqsHub) -> None:
    ann = verifying.client("AKIAANN", "ann's secret")
    url = ann.create_queue(QueueName="mine")["QueueUrl"]
    ann.send_message(QueueUrl=url, MessageBody="x")
    (found,) = receive(ann, url)
    assert found["Attributes"]["SenderId"] == "sqs/ann"


def test_bad_signatures(verifying: SqsHub) -> None:
    with refused("SignatureDoesNotMatch", "does not match the signature", status=403):
        verifying.client("AKIAANN", "wrong").list_queues()
    with refused("InvalidClientTokenId", "security token", status=403):
        verifying.client("AKIANOBODY", "x").list_queues()
    with Connection(verifying.url) as wire:
        answer = wire.json("ListQueues", {})
        assert answer.status == 403
        assert answer.json["__type"].endswith("#MissingAuthenticationTokenException")
        wire.send_json("ListQueues", {}, Authorization="AWS4-HMAC-SHA256 Signature=1")
        answer = wire.read()
        assert answer.json["__type"].endswith("#IncompleteSignatureException")
        assert answer.json["message"].startswith(
            "Authorization header requires 'Credential' parameter. "
            "Authorization header requires 'SignedHeaders' parameter. "
        )


def test_a_signature_of_another_time(verifying: SqsHub) -> None:
    client = verifying.client("AKIABOB", "bob's secret")
    client.list_queues()
    verifying.jump(16 * 60)
    try:
        with refused("SignatureDoesNotMatch", "Signature expired", status=403):
            client.list_queues()
    finally:
        verifying.jump(-16 * 60)


def test_a_presigned_url(verifying: SqsHub) -> None:
    request = botocore.awsrequest.AWSRequest(
        "GET", f"{verifying.url}/?Action=ListQueues&Version=2012-11-05"
    )
    credentials = botocore.credentials.Credentials("AKIABOB", "bob's secret")
    botocore.auth.SigV4QueryAuth(credentials, "sqs", "us-east-1").add_auth(request)
    target = str(request.url).partition(verifying.url)[2]
    with Connection(verifying.url) as wire:
        wire.send("GET", target)
        answer = wire.read()
        assert answer.status == 200, answer.body
        wire.send("GET", target.replace("ListQueues", "ListQueuez"))
        assert wire.read().status == 403


def test_what_a_user_may_not(verifying: SqsHub) -> None:
    ann = verifying.client("AKIAANN", "ann's secret")
    with refused("AccessDenied", "'ann' may not configure '$queue/other'", status=403):
        ann.create_queue(QueueName="other")


def test_dead_letters_go_where_a_user_may_send(open_hub: SqsHub) -> None:
    everybody = open_hub.client()
    for name in ("drop", "other"):
        everybody.create_queue(QueueName=name)
    ann = open_hub.client("AKIAANN", "ann's secret")
    url = ann.create_queue(QueueName="mine")["QueueUrl"]

    def policy(name: str) -> Any:
        arn = f"arn:aws:sqs:us-east-1:000000000000:{name}"
        return {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})}

    ann.set_queue_attributes(QueueUrl=url, Attributes=policy("drop"))
    with refused("AccessDenied", "'ann' may not publish '$queue/other'", status=403):
        ann.set_queue_attributes(QueueUrl=url, Attributes=policy("other"))


def test_sending_is_not_receiving(open_hub: SqsHub) -> None:
    everybody = open_hub.client()
    url = everybody.create_queue(QueueName="drop")["QueueUrl"]
    ann = open_hub.client("AKIAANN", "ann's secret")
    ann.send_message(QueueUrl=url, MessageBody="x")
    (found,) = receive(everybody, url)
    assert found["Attributes"]["SenderId"] == "sqs/ann"
    handle = found["ReceiptHandle"]
    entry: Any = {"Id": "1", "ReceiptHandle": handle}
    for operation, params in (
        ("receive_message", {}),
        ("delete_message", {"ReceiptHandle": handle}),
        ("delete_message_batch", {"Entries": [entry]}),
        ("change_message_visibility", {"ReceiptHandle": handle, "VisibilityTimeout": 0}),
        ("purge_queue", {}),
        ("delete_queue", {}),
        ("tag_queue", {"Tags": {"a": "b"}}),
        ("set_queue_attributes", {"Attributes": {"DelaySeconds": "1"}}),
    ):
        with refused("AccessDenied", "may not", status=403):
            getattr(ann, operation)(QueueUrl=url, **params)
    assert ann.get_queue_url(QueueName="drop")["QueueUrl"] == url
    with refused("AccessDenied", "may not", status=403):
        ann.get_queue_url(QueueName="another")


def test_a_user_sees_what_it_may_use(open_hub: SqsHub) -> None:
    everybody = open_hub.client()
    for name in ("drop", "mine", "hidden"):
        everybody.create_queue(QueueName=name)
    found = open_hub.client("AKIAANN", "ann's secret").list_queues()["QueueUrls"]
    assert [url.rpartition("/")[2] for url in found] == ["drop", "mine"]


def test_a_user_s_account_is_its_realm(verifying: SqsHub) -> None:
    bob = verifying.client("AKIABOB", "bob's secret")
    url = bob.create_queue(QueueName="bobs")["QueueUrl"]
    assert url.endswith("/222222222222/bobs")
    with refused("AccessDenied", status=403):
        bob.send_message(QueueUrl=f"{verifying.url}/000000000000/mine", MessageBody="x")


def test_a_user_s_key_is_verified_though_any_is_accepted(open_hub: SqsHub) -> None:
    open_hub.client("whoever", "whatever").list_queues()
    open_hub.client("AKIABOB", "bob's secret").list_queues()
    with refused("SignatureDoesNotMatch", status=403):
        open_hub.client("AKIABOB", "wrong").list_queues()


def test_anonymous_clients_can_be_shut_out(boto_session: boto3.Session) -> None:
    with serve_in_thread(with_users({**SETTINGS, "auth": {"anonymous": "never"}})) as hub:
        shut = SqsHub(hub, JumpingClock(), boto_session)
        with refused("InvalidClientTokenId", status=403):
            shut.client().list_queues()
        shut.client("AKIABOB", "bob's secret").list_queues()


def test_realms_of_accounts_and_regions(boto_session: boto3.Session) -> None:
    settings = {
        **SETTINGS,
        "aws": {
            **SETTINGS["aws"],
            "account": "123456789012",
            "realms": {"123456789012/eu-west-1": "eu", "999999999999": "default"},
        },
    }
    with serve_in_thread(load_config(settings=settings)) as served_hub:
        hub = SqsHub(served_hub, JumpingClock(), boto_session)
        here = hub.client()
        url = here.create_queue(QueueName="q")["QueueUrl"]
        assert url.endswith("/123456789012/q")
        there = hub.client(region="eu-west-1")
        with refused("AWS.SimpleQueueService.NonExistentQueue"):
            there.get_queue_url(QueueName="q")
        shared = hub.client("999999999999")
        here.send_message(QueueUrl=url, MessageBody="x")
        assert len(receive(shared, shared.get_queue_url(QueueName="q")["QueueUrl"])) == 1


def test_a_public_url(boto_session: boto3.Session) -> None:
    public = "https://queues.example.org/sqs"
    for hub in served(boto_session, public_url=public + "/"):
        url = hub.client().create_queue(QueueName="q")["QueueUrl"]
        assert url == f"{public}/000000000000/q"
        hub.client().send_message(QueueUrl=url, MessageBody="x")


def test_sessions_are_shared(open_hub: SqsHub) -> None:
    def clients() -> int:
        return open_hub.served.hub.meters.protocol("sqs").clients

    open_hub.client().list_queues()
    before = clients()
    threads = [threading.Thread(target=open_hub.client(f"key-{n}").list_queues) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clients() == before
