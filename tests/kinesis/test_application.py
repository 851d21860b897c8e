"""A consumer application with checkpoints, over reshardings, restarts and kill -9."""

import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import trio
from botocore.exceptions import BotoCoreError, ClientError

from hubbub import Document, Hub, Principal
from hubbub.config import load_config
from hubbub.testing import HubProcess
from tests.aws_client import aws_client

from .application import SHARD_END, Application
from .conftest import bodies, drain, iterator

CONFIG = """
admin.enabled = false
plugins.enable = ["aws", "kinesis"]
aws.listener.bind = ["127.0.0.1:0"]
"""


class Ledger:
    """What was processed, per partition key."""

    def __init__(self) -> None:
        self.seen: dict[str, list[int]] = defaultdict(list)
        self.crash_after: int | None = None
        self.count = 0

    def process(self, shard: str, record: Any) -> None:
        if self.count == self.crash_after:
            raise RuntimeError("the application crashes")
        self.count += 1
        self.seen[record["PartitionKey"]].append(int(record["Data"]))


def write(client: Any, numbers: "itertools.count[int]", batches: int) -> dict[str, list[int]]:
    """Write batches of records; return what was confirmed, per partition key, in order."""
    confirmed: dict[str, list[int]] = defaultdict(list)
    for _ in range(batches):
        batch = [(f"key-{number % 7}", number) for number in itertools.islice(numbers, 20)]
        answer = client.put_records(
            StreamName="orders",
            Records=[{"PartitionKey": key, "Data": str(number)} for key, number in batch],
        )
        assert answer["FailedRecordCount"] == 0
        for key, number in batch:
            confirmed[key].append(number)
    return confirmed


def merged(*parts: dict[str, list[int]]) -> dict[str, list[int]]:
    whole: dict[str, list[int]] = defaultdict(list)
    for part in parts:
        for key, numbers in part.items():
            whole[key] += numbers
    return whole


def test_every_record_is_processed_in_order(tmp_path: Path) -> None:
    numbers = itertools.count()
    ledger = Ledger()
    with HubProcess(tmp_path, CONFIG) as hub:
        client = aws_client(hub, "kinesis")
        client.create_stream(StreamName="orders", ShardCount=2)
        before = write(client, numbers, 5)
        client.update_shard_count(
            StreamName="orders", TargetShardCount=3, ScalingType="UNIFORM_SCALING"
        )
        between = write(client, numbers, 5)

        ledger.crash_after = 70
        with pytest.raises(RuntimeError):
            Application(client, "orders", tmp_path, ledger.process).run(limit=13)
        assert hub.stop() == 0
        hub.start()
        client = aws_client(hub, "kinesis")
        ledger.crash_after = None
        Application(client, "orders", tmp_path, ledger.process).run(limit=13)

        hub.kill()
        hub.start()
        client = aws_client(hub, "kinesis")
        client.merge_shards(
            StreamName="orders",
            ShardToMerge=(open_shards := shards(client))[0],
            AdjacentShardToMerge=open_shards[1],
        )
        after = write(client, numbers, 2)
        application = Application(client, "orders", tmp_path, ledger.process)
        application.run()
    assert ledger.seen == merged(before, between, after)
    assert list(application.checkpoints.values()).count(SHARD_END) >= 4


def shards(client: Any) -> list[str]:
    """The ids of the open shards, by hash key."""
    found = client.list_shards(StreamName="orders", ShardFilter={"Type": "AT_LATEST"})["Shards"]
    found.sort(key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))
    return [shard["ShardId"] for shard in found]


def test_what_was_deleted_without_kinesis_is_forgotten(tmp_path: Path) -> None:
    with HubProcess(tmp_path, CONFIG) as hub:
        client = aws_client(hub, "kinesis")
        client.create_stream(StreamName="s", ShardCount=1, Tags={"a": "b"})
        hub.stop()

    async def delete() -> None:
        config = load_config(
            settings={
                "hub": {"data": tmp_path / "data"},
                "admin": {"enabled": False},
                "log": {"level": "error"},
                "plugins": {"enable": ["aws"]},
            }
        )
        served = Hub(config)
        async with served.running():
            with served.session(Principal("x"), protocol="test", client="x") as session:
                await (await session.delete_stream("s")).wait()

    trio.run(delete)

    async def documents() -> list[Document]:
        config = load_config(
            settings={
                "hub": {"data": tmp_path / "data"},
                "admin": {"enabled": False},
                "log": {"level": "error"},
                "plugins": {"enable": ["aws", "kinesis"]},
                "aws": {"listener": {"bind": ["127.0.0.1:0"]}},
            }
        )
        served = Hub(config)
        async with served.running():
            with served.session(Principal("x"), protocol="test", client="x") as session:
                await session.commit().wait()
                return [each async for each in session.documents("kinesis.stream")]

    assert trio.run(documents) == []


def test_kill_loses_nothing_that_was_confirmed(tmp_path: Path) -> None:
    """Sequence numbers that readers saw never come back with other records, either."""
    confirmed: dict[str, bytes] = {}
    with HubProcess(tmp_path, CONFIG) as hub:
        client = aws_client(hub, "kinesis")
        client.create_stream(StreamName="s", ShardCount=1, Tags={"kept": "yes"})
        client.increase_stream_retention_period(StreamName="s", RetentionPeriodHours=48)
        arn = client.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"][
            "StreamARN"
        ]
        consumer = client.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]
        position = iterator(client, "s")
        for round_ in range(3):
            for number in range(30):
                data = f"{round_}-{number}".encode()
                answer = client.put_record(StreamName="s", Data=data, PartitionKey="k")
                assert answer["SequenceNumber"] not in confirmed
                confirmed[answer["SequenceNumber"]] = data
            hub.kill()
            with pytest.raises((BotoCoreError, ClientError)):
                client.put_record(StreamName="s", Data=b"lost", PartitionKey="k")
            hub.start()
            client = aws_client(hub, "kinesis")
        found = drain(client, position)
        assert {each["SequenceNumber"]: each["Data"] for each in found} == confirmed
        assert bodies(found) == list(confirmed.values())
        summary = client.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]
        assert summary["RetentionPeriodHours"] == 48
        tags = client.list_tags_for_stream(StreamName="s")["Tags"]
        assert tags == [{"Key": "kept", "Value": "yes"}]
        described = client.describe_stream_consumer(ConsumerARN=consumer["ConsumerARN"])
        assert described["ConsumerDescription"]["ConsumerName"] == "c"
        events = client.subscribe_to_shard(
            ConsumerARN=consumer["ConsumerARN"],
            ShardId="shardId-000000000000",
            StartingPosition={"Type": "TRIM_HORIZON"},
        )["EventStream"]
        event = next(iter(events))["SubscribeToShardEvent"]
        events.close()
        assert bodies(event["Records"]) == list(confirmed.values())
