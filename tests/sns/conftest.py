"""A hub with SNS and SQS on a real socket, and boto3 clients for both."""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config as BotoConfig

from hubbub import SystemClock, load_config
from hubbub.testing.hub import ServedHub, serve_in_thread

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

WAIT = 10
"""Seconds that a test waits for a message that has to come."""


class JumpingClock:
    """The system's clock, ahead by what the test says."""

    def __init__(self) -> None:
        self._system = SystemClock()
        self._ahead = 0

    def now(self) -> int:
        return self._system.now() + self._ahead

    def jump(self, seconds: float) -> None:
        self._ahead += round(seconds * 1000)


def settings(folder: Path, **sns: Any) -> dict[str, dict[str, Any]]:
    return {
        "hub": {"durability": "memory", "data": str(folder)},
        "log": {"level": "error"},
        "admin": {"listener": {"bind": ["127.0.0.1:0"]}},
        "plugins": {"enable": ["aws", "sns", "sqs", "mqtt"]},
        "aws": {"listener": {"bind": ["127.0.0.1:0"]}},
        "mqtt": {"listener": {"bind": ["127.0.0.1:0"]}},
        "sns": {"key_size": 1024, **sns},
    }


class SnsHub:
    """A served hub, as the tests of SNS use it."""

    def __init__(self, served: ServedHub, clock: JumpingClock, session: boto3.Session) -> None:
        self.served = served
        self.url = served.endpoint("sns").url
        self.clock = clock
        self._session = session

    def client(
        self, service: str = "sns", access_key: str = "test", region: str = "us-east-1"
    ) -> Any:
        return self._session.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id=access_key,
            aws_secret_access_key="test",
            verify=False,
            config=BotoConfig(retries={"max_attempts": 0}),
        )


class Inbox:
    """An SQS queue, and what came into it."""

    def __init__(self, sqs: "SQSClient", url: str, arn: str) -> None:
        self.sqs = sqs
        self.url = url
        self.arn = arn

    def receive(self, wait: int = WAIT) -> list[Any]:
        """Take messages out, waiting for the first."""
        found = self.sqs.receive_message(
            QueueUrl=self.url, WaitTimeSeconds=wait, MaxNumberOfMessages=10,
            AttributeNames=["All"], MessageAttributeNames=["All"],
        ).get("Messages", [])  # fmt: skip
        for message in found:
            self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return list(found)

    def one(self) -> Any:
        [message] = self.receive()
        return message

    def envelope(self) -> dict[str, Any]:
        envelope: dict[str, Any] = json.loads(self.one()["Body"])
        return envelope

    @property
    def empty(self) -> bool:
        return not self.receive(0)


@pytest.fixture(scope="session")
def boto_session() -> boto3.Session:
    return boto3.Session()


@pytest.fixture(scope="module")
def hub(boto_session: boto3.Session, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SnsHub]:
    clock = JumpingClock()
    config = load_config(settings=settings(tmp_path_factory.mktemp("hub")))
    with serve_in_thread(config, clock=clock) as served:
        yield SnsHub(served, clock, boto_session)


@pytest.fixture(scope="module")
def sns(hub: SnsHub) -> "SNSClient":
    client: SNSClient = hub.client()
    return client


@pytest.fixture(scope="module")
def sqs(hub: SnsHub) -> "SQSClient":
    client: SQSClient = hub.client("sqs")
    return client


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
def make_topic(sns: "SNSClient", numbers: Iterator[int]) -> Callable[..., str]:
    """Make a topic with a name of its own; keywords are its attributes."""

    def make(**attributes: str) -> str:
        suffix = ".fifo" if attributes.get("FifoTopic") else ""
        name = f"topic-{next(numbers)}{suffix}"
        return sns.create_topic(Name=name, Attributes=attributes)["TopicArn"]

    return make


@pytest.fixture
def topic(make_topic: Callable[..., str]) -> str:
    return make_topic()


@pytest.fixture
def make_inbox(sqs: "SQSClient", numbers: Iterator[int]) -> Callable[..., Inbox]:
    """Make a queue with a name of its own; keywords are its attributes."""

    def make(**attributes: str) -> Inbox:
        suffix = ".fifo" if attributes.get("FifoQueue") else ""
        name = f"inbox-{next(numbers)}{suffix}"
        url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]  # type: ignore[arg-type]
        return Inbox(sqs, url, f"arn:aws:sqs:us-east-1:000000000000:{name}")

    return make


@pytest.fixture
def inbox(make_inbox: Callable[..., Inbox]) -> Inbox:
    return make_inbox()


@pytest.fixture
def subscribed(sns: "SNSClient", topic: str, inbox: Inbox) -> Callable[..., str]:
    """Subscribe the inbox to the topic; keywords are the attributes."""

    def subscribe(**attributes: str) -> str:
        return sns.subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=inbox.arn, Attributes=attributes,
            ReturnSubscriptionArn=True,
        )["SubscriptionArn"]  # fmt: skip

    return subscribe
