"""Channels: what is written to a stream becomes objects in a folder that stands for S3."""

import base64
import datetime as dt
import gzip
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from hubbub.config import load_config
from hubbub.testing import HubProcess
from hubbub.testing.hub import serve_in_thread
from hubbub_kinesis.object_keys import DEFAULT, Object, check_template, make_key

from .conftest import ACCOUNT, SETTINGS, JumpingClock, KinesisHub, refused

ROLE = f"arn:aws:iam::{ACCOUNT}:role/channel"
ON_DEMAND = {"StreamMode": "ON_DEMAND"}


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s3")


@pytest.fixture(scope="module")
def hub(buckets: Path, clock: JumpingClock, boto_session: boto3.Session) -> Iterator[KinesisHub]:
    """A hub whose channels deliver every now and then."""
    settings = {**SETTINGS, "kinesis": {"buckets": str(buckets), "channel_interval": "200ms"}}
    with serve_in_thread(load_config(settings=settings), clock=clock) as served:
        yield KinesisHub(served, clock, boto_session)


@pytest.fixture
def stream(kinesis: Any, name: str) -> str:
    """The ARN of an on-demand stream."""
    kinesis.create_stream(StreamName=name, StreamModeDetails=ON_DEMAND)
    return f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/{name}"


def request(stream: str, name: str, format_: str = "JSON", **storage: Any) -> dict[str, Any]:
    """The request for a channel to the bucket of its own name."""
    return {
        "ChannelName": name,
        "ServiceExecutionRoleARN": ROLE,
        "StreamConfigurationList": [
            {"StreamARN": stream, "RecordConfiguration": {"RecordFormatType": format_}}
        ],
        "S3DestinationConfiguration": {
            "StorageConfiguration": {
                "BucketARN": f"arn:aws:s3:::{name}",
                "ExpectedBucketOwner": ACCOUNT,
                "CompressionType": "NONE",
                **storage,
            }
        },
    }


def create(kinesis: Any, *arguments: Any, **storage: Any) -> dict[str, Any]:
    found: dict[str, Any] = kinesis.create_channel(**request(*arguments, **storage))
    description: dict[str, Any] = found["ChannelDescription"]
    return description


def wait_for(look: Callable[[], bool]) -> None:
    """Look until it is so."""
    end = time.monotonic() + 20
    while not look():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def objects(folder: Path, pattern: str = "**/*") -> list[Path]:
    return sorted(
        each for each in folder.glob(pattern) if each.is_file() and not each.name.startswith(".")
    )


def put(kinesis: Any, stream: str, *bodies: bytes) -> None:
    kinesis.put_records(
        StreamARN=stream,
        Records=[{"PartitionKey": "same", "Data": body} for body in bodies],
    )


def test_records_become_objects(kinesis: Any, stream: str, name: str, buckets: Path) -> None:
    put(kinesis, stream, b'"before the channel"')
    channel = create(kinesis, stream, name)
    put(kinesis, stream, b'{"n":1}', b'{"n":2}')
    wait_for(lambda: bool(objects(buckets / name)))
    (file,) = objects(buckets / name)
    assert [json.loads(line) for line in file.read_text().splitlines()] == [{"n": 1}, {"n": 2}]
    key = str(file.relative_to(buckets / name))
    assert key.startswith(f"kinesis-channel/{name}/{channel['ChannelId']}/")
    assert key.endswith(".json")
    put(kinesis, stream, b"3")
    wait_for(lambda: len(objects(buckets / name)) == 2)


def test_what_is_no_json_is_an_error(kinesis: Any, stream: str, name: str, buckets: Path) -> None:
    create(kinesis, stream, name)
    put(kinesis, stream, b"{}", b"{", b"[]")
    wait_for(lambda: len(objects(buckets / name)) == 2)
    (error,) = objects(buckets / name, "kinesis-channel-errors/**/*")
    (good,) = objects(buckets / name, "kinesis-channel/**/*")
    assert good.read_text() == "{}\n[]\n"
    told = json.loads(error.read_text())
    assert base64.b64decode(told["rawData"]) == b"{"
    assert told["partitionKey"] == "same"
    assert told["errorCode"] == "InvalidRecordFormat"


def test_bytes_are_compressed_under_a_key_of_ones_own(
    kinesis: Any, stream: str, name: str, buckets: Path
) -> None:
    template = "!{stream-name}/year=!{yyyy}/data!{extension}"
    create(kinesis, stream, name, "BYTE_ARRAY", CompressionType="GZIP", OutputKeyTemplate=template)
    put(kinesis, stream, b"\x00\x01", b"\xff")
    wait_for(lambda: bool(objects(buckets / name)))
    (file,) = objects(buckets / name)
    assert gzip.decompress(file.read_bytes()) == b"\x00\x01\xff"
    assert file.name.startswith("data-")
    assert file.name.endswith(".bin.gz")
    assert file.parent.parent.name == name


def test_text_is_compressed_by_zstandard(
    kinesis: Any, stream: str, name: str, buckets: Path
) -> None:
    try:
        import zstandard
    except ImportError:
        assert not os.environ.get("CI"), "zstandard is not installed"
        pytest.skip("zstandard is not installed")
    create(kinesis, stream, name, "STRING", CompressionType="ZSTD")
    put(kinesis, stream, "höher".encode())
    wait_for(lambda: bool(objects(buckets / name)))
    (file,) = objects(buckets / name)
    content = zstandard.ZstdDecompressor().decompress(file.read_bytes())
    assert content.decode() == "höher\n"
    assert file.name.endswith(".txt.zst")


def test_channels_are_described_listed_changed_and_deleted(
    kinesis: Any, stream: str, name: str
) -> None:
    before = kinesis.describe_limits()["ChannelCount"]
    created = create(kinesis, stream, name)
    arn = created["ChannelARN"]
    assert arn == f"arn:aws:kinesis:us-east-1:{ACCOUNT}:channel/{created['ChannelId']}"
    assert created["ChannelStatus"] == "ACTIVE"
    destination = created["S3DestinationConfiguration"]
    assert destination["DataFreshnessInSeconds"] == 300
    assert destination["StorageConfiguration"]["StorageClass"] == "STANDARD"
    assert destination["DeadLetterQueueS3Configuration"]["BucketARN"] == f"arn:aws:s3:::{name}"
    assert created["LoggingConfiguration"] == {"CloudWatchLogs": {"Enabled": False}}
    assert kinesis.describe_channel(ChannelARN=arn)["ChannelDescription"] == created
    assert kinesis.describe_limits()["ChannelCount"] == before + 1
    changed = kinesis.update_channel(
        ChannelARN=arn,
        S3DestinationConfiguration={"DataFreshnessInSeconds": 900},
        LoggingConfiguration={"CloudWatchLogs": {"Enabled": True}},
    )["ChannelDescription"]
    assert changed["S3DestinationConfiguration"]["DataFreshnessInSeconds"] == 900
    assert changed["LoggingConfiguration"]["CloudWatchLogs"] == {
        "Enabled": True,
        "LogGroupName": f"/aws/kinesis/{name}/{created['ChannelId']}",
        "LogStreamName": "DestinationDelivery",
    }
    (summary,) = kinesis.list_channels(StreamFilter=[{"StreamARN": stream}])["ChannelSummaries"]
    assert (summary["ChannelName"], summary["ChannelDestinationType"]) == (name, "S3")
    described = kinesis.describe_stream_summary(StreamARN=stream)["StreamDescriptionSummary"]
    assert described["ChannelCount"] == 1
    with refused("ResourceInUseException"):
        kinesis.delete_stream(StreamARN=stream)
    with refused("ResourceInUseException"):
        create(kinesis, stream, name)
    with refused("InvalidArgumentException"):
        kinesis.put_resource_policy(ResourceARN=arn, Policy="{}")
    kinesis.delete_channel(ChannelARN=arn)
    with refused("ResourceNotFoundException"):
        kinesis.describe_channel(ChannelARN=arn)
    kinesis.delete_stream(StreamARN=stream)


def test_wrong_channels_are_refused(kinesis: Any, stream: str, name: str) -> None:
    good = request(stream, name)
    tables = {
        "DeadLetterQueueS3Configuration": {
            "BucketARN": "arn:aws:s3:::errors", "ExpectedBucketOwner": ACCOUNT
        },
        "S3TablesConfigurationList": [
            {
                "TableBucketARN": f"arn:aws:s3tables:us-east-1:{ACCOUNT}:bucket/tables",
                "Namespace": "n", "TableName": "t", "CompressionType": "NONE",
            }
        ],
    }  # fmt: skip
    with refused("ValidationException"):
        kinesis.create_channel(**good, S3TablesDestinationConfiguration=tables)
    only_tables = {k: v for k, v in good.items() if k != "S3DestinationConfiguration"}
    with refused("ValidationException"):
        kinesis.create_channel(**only_tables)
    with refused("InvalidArgumentException"):
        kinesis.create_channel(**only_tables, S3TablesDestinationConfiguration=tables)
    for template in ("../x", "/x", "x/", "a//b", "!{no}", "a{b}"):
        with refused("InvalidArgumentException"):
            create(kinesis, stream, name, OutputKeyTemplate=template)
    with refused("InvalidArgumentException"):
        create(kinesis, stream, name, "GSR_JSON")
    with refused("InvalidArgumentException"):
        good["S3DestinationConfiguration"]["DataFreshnessInSeconds"] = 10
        kinesis.create_channel(**good)
    kinesis.create_stream(StreamName=f"{name}-provisioned", ShardCount=1)
    with refused("ValidationException"):
        create(kinesis, f"{stream}-provisioned", name)


def test_keys_are_made_from_templates() -> None:
    moment = round(dt.datetime(2026, 2, 3, 4, 5, tzinfo=dt.UTC).timestamp() * 1000)
    about = Object("c", "id", "s", moment, ".json.gz")
    check_template(DEFAULT)
    assert make_key(DEFAULT, about, "7") == (
        "kinesis-channel/c/id/2026/02/03/04/c-id-2026-02-03-04-05-7.json.gz"
    )
    assert make_key("!{stream-name}/x", about, "7") == "s/x-7"


def test_nothing_is_lost_over_kill(tmp_path: Path) -> None:
    config = f"""
admin.enabled = false
plugins.enable = ["aws", "kinesis"]
aws.listener.bind = ["127.0.0.1:0"]
kinesis.buckets = "{tmp_path / "s3"}"
kinesis.channel_interval = "100ms"
"""

    def connect(process: HubProcess) -> Any:
        return boto3.client(
            "kinesis", endpoint_url=process.url("Kinesis"), region_name="us-east-1",
            aws_access_key_id="test", aws_secret_access_key="test",
        )  # fmt: skip

    with HubProcess(tmp_path, config) as process:
        kinesis = connect(process)
        kinesis.create_stream(StreamName="s", StreamModeDetails=ON_DEMAND)
        stream = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/s"
        create(kinesis, stream, "bucket")
        put(kinesis, stream, b"1")
        wait_for(lambda: bool(objects(tmp_path / "s3")))
        put(kinesis, stream, b"2", b"3")
        process.kill()
        process.start()
        put(connect(process), stream, b"4")

        def delivered() -> set[str]:
            files = objects(tmp_path / "s3")
            return {line for file in files for line in file.read_text().split()}

        wait_for(lambda: delivered() == {"1", "2", "3", "4"})
