"""Other clients, unmodified, by the endpoint's URL alone."""

import asyncio
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from .conftest import SqsHub

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
CREDENTIALS: dict[str, Any] = {
    "region_name": "us-east-1",
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
}


def test_aiobotocore(hub: SqsHub) -> None:
    aiobotocore = pytest.importorskip("aiobotocore.session")

    async def main() -> str:
        session = aiobotocore.get_session()
        async with session.create_client("sqs", endpoint_url=hub.url, **CREDENTIALS) as sqs:
            url = (await sqs.create_queue(QueueName="aio"))["QueueUrl"]

            async def consume() -> str:
                answer = await sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10)
                (message,) = answer["Messages"]
                await sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                return str(message["Body"])

            waiting = asyncio.create_task(consume())
            await asyncio.sleep(0)
            await sqs.send_message(QueueUrl=url, MessageBody="hello")
            return await waiting

    assert asyncio.run(main()) == "hello"


@pytest.fixture
def transport(hub: SqsHub) -> dict[str, Any]:
    """How kombu and Celery are told of the endpoint."""
    host = hub.url.partition("://")[2]
    return {
        "url": f"sqs://test:test@{host}",
        "options": {"region": "us-east-1", "is_secure": False, "wait_time_seconds": 1},
    }


@pytest.mark.filterwarnings("ignore")
def test_kombu(hub: SqsHub, transport: dict[str, Any]) -> None:
    kombu = pytest.importorskip("kombu")
    with kombu.Connection(transport["url"], transport_options=transport["options"]) as connection:
        queue = connection.SimpleQueue("kombu-queue")
        queue.put({"hello": "wörld"}, headers={"a": "b"})
        message = queue.get(timeout=10)
        assert message.payload == {"hello": "wörld"}
        assert message.headers["a"] == "b"
        message.ack()
        queue.put("again")
        message = queue.get(timeout=10)
        message.reject(requeue=True)
        message = queue.get(timeout=10)
        assert message.payload == "again"
        message.ack()
        assert queue.qsize() == 0
        queue.close()


@pytest.mark.filterwarnings("ignore")
def test_celery(hub: SqsHub, transport: dict[str, Any]) -> None:
    celery = pytest.importorskip("celery")
    start_worker = pytest.importorskip("celery.contrib.testing.worker").start_worker
    done = threading.Event()
    results: list[int] = []
    app = celery.Celery("test", broker=transport["url"])
    app.conf.update(
        broker_transport_options=transport["options"],
        task_default_queue="celery-queue",
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
    )

    @app.task(name="add")  # type: ignore[untyped-decorator]
    def add(x: int, y: int) -> None:
        results.append(x + y)
        if len(results) == 3:
            done.set()

    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        for number in range(3):
            add.delay(number, 10)
        assert done.wait(20)
    assert sorted(results) == [10, 11, 12]


def test_the_aws_command_line(hub: SqsHub) -> None:
    command = shutil.which("aws")
    if command is None or _fails([command, "--version"]):
        pytest.skip("the AWS command line is not installed")

    def aws(*arguments: str) -> Any:
        done = subprocess.run(
            [command, "--endpoint-url", hub.url, "--output", "json", "sqs", *arguments],
            env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=True,
            timeout=60,
        )  # fmt: skip
        return json.loads(done.stdout) if done.stdout.strip() else None

    url = aws("create-queue", "--queue-name", "by-cli", "--attributes", "VisibilityTimeout=5")[
        "QueueUrl"
    ]
    attributes = '{"a": {"DataType": "Number", "StringValue": "1"}}'
    aws(
        "send-message", "--queue-url", url, "--message-body", "hello",
        "--message-attributes", attributes,
    )  # fmt: skip
    (message,) = aws("receive-message", "--queue-url", url, "--message-attribute-names", "All")[
        "Messages"
    ]
    assert message["Body"] == "hello"
    assert message["MessageAttributes"]["a"] == {"StringValue": "1", "DataType": "Number"}
    aws("delete-message", "--queue-url", url, "--receipt-handle", message["ReceiptHandle"])
    assert aws("receive-message", "--queue-url", url) is None


def _fails(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode != 0


def test_the_javascript_sdk(hub: SqsHub) -> None:
    node = shutil.which("node")
    modules = os.environ.get("HUBBUB_NODE_MODULES", "")
    if node is None or not (Path(modules) / "@aws-sdk" / "client-sqs").is_dir():
        pytest.skip("HUBBUB_NODE_MODULES names no folder with @aws-sdk/client-sqs")
    script = Path(__file__).parent / "client.cjs"
    done = subprocess.run(
        [node, str(script), hub.url], env={**os.environ, "NODE_PATH": modules},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "body": "hällo",
        "attribute": [0, 1],
        "count": "1",
        "missing": True,
    }
