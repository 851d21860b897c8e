"""Other clients, unmodified, and the snippets of docs/protocols/kinesis.md."""

import asyncio
import contextlib
import io
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.programs import program

from .conftest import KinesisHub

PAGE = Path(__file__).parents[2] / "docs" / "protocols" / "kinesis.md"
DEFAULT_URL = "http://127.0.0.1:4566"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def snippet(language: str, hub: KinesisHub) -> str:
    """The only snippet in a language, for the hub of the test."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert DEFAULT_URL in found
    return str(found).replace(DEFAULT_URL, hub.url)


def test_the_python_of_the_page(hub: KinesisHub) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(snippet("python", hub), {})
    assert said.getvalue() == "sensor-7 21.5\n"


def test_the_shell_of_the_page(hub: KinesisHub, tmp_path: Path) -> None:
    beside = Path(program("aws")).parent  # a virtual environment may not be on the path
    path = f"{beside}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [program("bash"), "-O", "expand_aliases", "-e", "-c", snippet("shell", hub)],
        cwd=tmp_path, env={**os.environ, **ENVIRONMENT, "PATH": path}, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("hello")


def test_aiobotocore(hub: KinesisHub) -> None:
    aiobotocore = pytest.importorskip("aiobotocore.session")

    async def main() -> list[bytes]:
        session = aiobotocore.get_session()
        options: dict[str, Any] = {
            "endpoint_url": hub.url, "region_name": "us-east-1",
            "aws_access_key_id": "test", "aws_secret_access_key": "test",
        }  # fmt: skip
        async with session.create_client("kinesis", **options) as kinesis:
            await kinesis.create_stream(StreamName="aio", ShardCount=1)
            await asyncio.gather(
                *[
                    kinesis.put_record(StreamName="aio", Data=b"%d" % number, PartitionKey="k")
                    for number in range(20)
                ]
            )
            position = await kinesis.get_shard_iterator(
                StreamName="aio", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
            )
            answer = await kinesis.get_records(ShardIterator=position["ShardIterator"])
            return [record["Data"] for record in answer["Records"]]

    assert sorted(asyncio.run(main()), key=int) == [b"%d" % number for number in range(20)]


async def test_the_scene_of_the_demo() -> None:
    from hubbub.app import Hub
    from hubbub.config import load_config
    from hubbub_kinesis import KinesisPlugin

    from .conftest import SETTINGS

    hub = Hub(load_config(settings=SETTINGS))
    async with hub.running():
        said: list[str] = []
        (scene,) = KinesisPlugin().hubbub_demo(hub)
        await scene.run(said.append)
    assert len(said) == 3
