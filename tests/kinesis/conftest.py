"""A hub with Kinesis on a real socket, boto3 clients for it, and a clock that can jump."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import httpx
import pytest
from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError

from hubbub.clock import SystemClock
from hubbub.config import load_config
from hubbub.testing.hub import ServedHub, serve_in_thread
from tests import programs

SETTINGS: dict[str, Any] = {
    "hub": {"durability": "memory"},
    "log": {"level": "error"},
    "admin": {"enabled": False},
    "plugins": {"enable": ["aws", "kinesis"]},
    "aws": {"listener": {"bind": ["127.0.0.1:0"]}},
}
ACCOUNT = "000000000000"


class JumpingClock:
    """The system's clock, ahead by what the test says."""

    def __init__(self) -> None:
        self._system = SystemClock()
        self._ahead = 0

    def now(self) -> int:
        return self._system.now() + self._ahead

    def jump(self, seconds: float) -> None:
        self._ahead += round(seconds * 1000)


class KinesisHub:
    """A served hub, as the tests of Kinesis use it."""

    def __init__(self, served: ServedHub, clock: JumpingClock, session: boto3.Session) -> None:
        self.served = served
        self.url = served.endpoint("kinesis").url
        self.clock = clock
        self._session = session

    def client(self, access_key: str = "test", region: str = "us-east-1", **options: Any) -> Any:
        """Make a client; `options` are those of botocore's Config."""
        return self._session.client(
            "kinesis",
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id=access_key,
            aws_secret_access_key="secret",
            config=BotoConfig(retries={"max_attempts": 0}, **options),
        )

    def post(
        self, action: str, content: bytes, media_type: str = "application/x-amz-json-1.1"
    ) -> httpx.Response:
        """Send a request as it is."""
        headers = {
            "Content-Type": media_type,
            "X-Amz-Target": f"Kinesis_20131202.{action}",
            "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kinesis/"
            "aws4_request, SignedHeaders=host, Signature=0",
        }
        return httpx.post(self.url, content=content, headers=headers)


@pytest.fixture(scope="session")
def boto_session() -> boto3.Session:
    return boto3.Session()


@pytest.fixture(scope="module")
def clock() -> JumpingClock:
    return JumpingClock()


@pytest.fixture(scope="module")
def hub(clock: JumpingClock, boto_session: boto3.Session) -> Iterator[KinesisHub]:
    with serve_in_thread(load_config(settings=SETTINGS), clock=clock) as served:
        yield KinesisHub(served, clock, boto_session)


@pytest.fixture(scope="session")
def newest_botocore() -> Path:
    """The folder of a botocore that has queues on streams."""
    return programs.newest_botocore()


def newest_client(client: Any, folder: Path) -> Any:
    """Make a client like this one that knows the newest model."""
    session = botocore.session.Session()
    session.get_component("data_loader").search_paths.insert(0, str(folder / "botocore" / "data"))
    return session.create_client(
        "kinesis",
        endpoint_url=client.meta.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="secret",
        config=BotoConfig(retries={"max_attempts": 0}),
    )


@pytest.fixture
def special_hub(
    boto_session: boto3.Session,
) -> Iterator[Callable[..., KinesisHub]]:
    """Make hubs with settings of `[kinesis]`."""
    with _many(boto_session) as make:
        yield make


@contextmanager
def _many(session: boto3.Session) -> Iterator[Callable[..., KinesisHub]]:
    with ExitStack() as stack:

        def make(**settings: Any) -> KinesisHub:
            clock = JumpingClock()
            config = load_config(settings={**SETTINGS, "kinesis": settings})
            return KinesisHub(
                stack.enter_context(serve_in_thread(config, clock=clock)), clock, session
            )

        yield make


@pytest.fixture(scope="module")
def kinesis(hub: KinesisHub) -> Any:
    return hub.client()


@pytest.fixture(scope="session")
def names() -> Iterator[int]:
    return itertools.count()


@pytest.fixture
def name(names: Iterator[int]) -> str:
    """A name no stream has had."""
    return f"stream-{next(names)}"


@pytest.fixture
def stream(kinesis: Any, name: str) -> str:
    """The name of a stream of one shard."""
    kinesis.create_stream(StreamName=name, ShardCount=1)
    return name


@contextmanager
def refused(code: str, message: str | None = None) -> Iterator[None]:
    """Check that a call is refused with an error, word for word."""
    with pytest.raises(ClientError) as caught:
        yield
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    if message is not None:
        assert error["Message"] == message


def iterator(
    client: Any, stream: str, shard: int = 0, kind: str = "TRIM_HORIZON", **more: Any
) -> str:
    """Get a shard iterator."""
    answer = client.get_shard_iterator(
        StreamName=stream, ShardId=f"shardId-{shard:012d}", ShardIteratorType=kind, **more
    )
    return str(answer["ShardIterator"])


def drain(client: Any, position: str | None, **options: Any) -> list[Any]:
    """Read from an iterator on until there is no more now."""
    found = []
    while position is not None:
        answer = client.get_records(ShardIterator=position, **options)
        found += answer["Records"]
        if not answer["MillisBehindLatest"]:
            break
        position = answer.get("NextShardIterator")
    return found


def bodies(records: list[Any]) -> list[bytes]:
    return [record["Data"] for record in records]
