"""A hub with SQS on a real socket, boto3 clients for it, and a clock that can jump."""

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config as BotoConfig

from hubbub.clock import SystemClock
from hubbub.config import load_config
from hubbub.engine.queues import MemoryQueue
from hubbub.testing.hub import ServedHub, serve_in_thread

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

SETTINGS: dict[str, Any] = {
    "hub": {"durability": "memory"},
    "log": {"level": "error"},
    "admin": {"enabled": False},
    "plugins": {"enable": ["aws", "sqs"]},
    "aws": {"listener": {"bind": ["127.0.0.1:0"]}},
}


class JumpingClock:
    """The system's clock, ahead by what the test says."""

    def __init__(self) -> None:
        self._system = SystemClock()
        self._ahead = 0

    def now(self) -> int:
        return self._system.now() + self._ahead

    def jump(self, seconds: float) -> None:
        self._ahead += round(seconds * 1000)


class SqsHub:
    """A served hub, as the tests of SQS use it."""

    def __init__(self, served: ServedHub, clock: JumpingClock, session: boto3.Session) -> None:
        self.served = served
        self.url = served.endpoint("sqs").url
        self._clock = clock
        self._session = session

    def client(
        self, access_key: str = "test", secret: str = "test", region: str = "us-east-1",
        **options: Any,
    ) -> "SQSClient":  # fmt: skip
        """Make a client; `options` are those of botocore's Config."""
        return self._session.client(
            "sqs",
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret,
            config=BotoConfig(retries={"max_attempts": 0}, **options),
        )

    def jump(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due."""
        self._clock.jump(seconds)

        def look() -> None:
            for queue in list(self.served.hub.engine.all_queues()):
                assert isinstance(queue, MemoryQueue)
                queue.advance(self._clock.now())

        self.served.call(look)


@pytest.fixture(scope="session")
def boto_session() -> boto3.Session:
    return boto3.Session()


@pytest.fixture(scope="module")
def hub(boto_session: boto3.Session) -> Iterator[SqsHub]:
    clock = JumpingClock()
    with serve_in_thread(load_config(settings=SETTINGS), clock=clock) as served:
        yield SqsHub(served, clock, boto_session)


@pytest.fixture(scope="module")
def sqs(hub: SqsHub) -> "SQSClient":
    return hub.client()


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
def make_queue(sqs: "SQSClient", numbers: Iterator[int]) -> Callable[..., str]:
    """Make a queue with a name of its own; keywords are its attributes."""

    def make(**attributes: str) -> str:
        suffix = ".fifo" if attributes.get("FifoQueue") else ""
        name = f"queue-{next(numbers)}{suffix}"
        return sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]  # type: ignore[arg-type]

    return make


@pytest.fixture
def queue(make_queue: Callable[..., str]) -> str:
    return make_queue()


@pytest.fixture
def fifo(make_queue: Callable[..., str]) -> str:
    return make_queue(FifoQueue="true", ContentBasedDeduplication="true")
