"""Who may do what: users, links without credentials, accounts; and two who ask at once."""

import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError

from hubbub import load_config
from hubbub.testing.hub import ServedHub, serve_in_thread

from .conftest import Inbox, SnsHub, settings
from .receiver import receive

USERS = """
[[users]]
name = "owner"
access_keys = [{ id = "owner", secret = "secret" }]

[[users]]
name = "reader"
access_keys = [{ id = "reader", secret = "secret" }]
permissions = [{ action = ["subscribe"], resource = ["alerts/#"] }]

[[users]]
name = "writer"
access_keys = [{ id = "writer", secret = "secret" }]
permissions = [{ action = ["publish"], resource = ["alerts/#"] }]
"""


def connect(served: ServedHub, session: boto3.Session, name: str, service: str = "sns") -> Any:
    return session.client(
        service,  # type: ignore[call-overload]
        endpoint_url=served.endpoint("sns").url,
        region_name="us-east-1",
        aws_access_key_id=name,
        aws_secret_access_key="secret",
        config=BotoConfig(retries={"max_attempts": 0}),
    )


def code(call: Any, **params: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**params)
    return str(caught.value.response["Error"]["Code"])


def test_users_do_what_they_may(tmp_path: Path, boto_session: boto3.Session) -> None:
    file = tmp_path / "hubbub.toml"
    file.write_text(USERS)
    options = settings(tmp_path)
    options["aws"]["auth"] = "verify"
    config = load_config(file, settings=options)
    with serve_in_thread(config) as served, receive() as receiver:
        owner, reader, writer = (
            connect(served, boto_session, name) for name in ("owner", "reader", "writer")
        )
        topic = owner.create_topic(Name="alerts")["TopicArn"]
        assert code(reader.create_topic, Name="mine") == "AuthorizationError"
        assert code(reader.publish, TopicArn=topic, Message="x") == "AuthorizationError"
        assert code(writer.delete_topic, TopicArn=topic) == "AuthorizationError"
        tags = [{"Key": "a", "Value": "b"}]
        assert code(writer.tag_resource, ResourceArn=topic, Tags=tags) == "AuthorizationError"
        assert code(writer.untag_resource, ResourceArn=topic, TagKeys=["a"]) == "AuthorizationError"
        owner.tag_resource(ResourceArn=topic, Tags=tags)
        assert writer.list_tags_for_resource(ResourceArn=topic)["Tags"] == tags
        queue = "arn:aws:sqs:us-east-1:000000000000:inbox"
        params = {"TopicArn": topic, "Protocol": "sqs", "Endpoint": queue}
        assert code(reader.subscribe, **params) == "AuthorizationError"
        hook = {"TopicArn": topic, "Protocol": "http", "Endpoint": receiver.url}
        assert code(writer.subscribe, **hook) == "AuthorizationError"
        reader.subscribe(**hook)
        with urllib.request.urlopen(receiver.get().json["SubscribeURL"]):
            pass  # the token is proof enough
        writer.publish(TopicArn=topic, Message="hello")
        message = receiver.get().json
        assert message["Message"] == "hello"
        with urllib.request.urlopen(message["SigningCertURL"]) as answer:
            assert answer.read().startswith(b"-----BEGIN CERTIFICATE-----")
        with urllib.request.urlopen(message["UnsubscribeURL"]):
            pass
        assert receiver.get().json["Type"] == "UnsubscribeConfirmation"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{served.endpoint('sns').url}/?Action=ListTopics")
        assert refused.value.code == 403
        refused.value.close()


def test_accounts_are_apart(hub: SnsHub, inbox: Inbox) -> None:
    one, other = (hub.client(access_key=f"{n}" * 12) for n in (2, 3))
    mine = one.create_topic(Name="shared-name")["TopicArn"]
    theirs = other.create_topic(Name="shared-name")["TopicArn"]
    assert mine != theirs
    for client, topic in ((one, mine), (other, theirs)):
        client.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=inbox.arn)
    one.publish(TopicArn=mine, Message="to the queue of a third account")
    assert inbox.envelope()["TopicArn"] == mine
    assert inbox.empty


def test_the_same_subscription_twice_at_once_is_one(hub: SnsHub, topic: str) -> None:
    found: list[str] = []

    def subscribe() -> None:
        answer = hub.client().subscribe(
            TopicArn=topic, Protocol="sms", Endpoint="+4930999999", ReturnSubscriptionArn=True
        )
        found.append(answer["SubscriptionArn"])

    threads = [threading.Thread(target=subscribe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
