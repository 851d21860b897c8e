"""The scene of `hubbub demo`: boto3 writes, reads with an iterator, and is pushed to."""

from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import trio

from hubbub import Scene

if TYPE_CHECKING:
    from collections.abc import Callable

    from hubbub import Hub

STREAM = "demo-telemetry"
RECORDS = 20


def scenes(hub: "Hub") -> Iterable[Scene]:
    """Return the scene, if there are boto3 and a server to play it with."""
    urls = [each.url for each in hub.endpoints if each.protocol == "Kinesis"]
    if urls and find_spec("boto3") is not None:
        yield Scene("Kinesis: one stream, two ways to read it", _Scene(urls[0]).run)


class _Scene:
    def __init__(self, url: str) -> None:
        self._url = url

    async def run(self, say: "Callable[[str], None]") -> None:
        """Play it in a thread: boto3 blocks."""
        for line in await trio.to_thread.run_sync(self._play):
            say(line)

    def _play(self) -> list[str]:
        import boto3  # noqa: PLC0415 - comes with the extra "demo"

        client = boto3.client(
            "kinesis",
            endpoint_url=self._url,
            region_name="us-east-1",
            aws_access_key_id="demo",
            aws_secret_access_key="demo",  # noqa: S106 - any will do
        )
        client.create_stream(StreamName=STREAM, ShardCount=2)
        entries: list[Any] = [
            {"PartitionKey": f"sensor-{number % 5}", "Data": f"reading {number}".encode()}
            for number in range(RECORDS)
        ]
        written = client.put_records(StreamName=STREAM, Records=entries)["Records"]
        sent = sorted(entry["Data"] for entry in entries)
        shards = sorted({record["ShardId"] for record in written})
        summary = client.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]
        consumer = client.register_stream_consumer(
            StreamARN=summary["StreamARN"], ConsumerName="dashboard"
        )["Consumer"]["ConsumerARN"]
        read = [record for shard in shards for record in self._read(client, shard)]
        pushed = [record for shard in shards for record in self._push(client, consumer, shard)]
        for found in (read, pushed):
            if sorted(record["Data"] for record in found) != sent:
                raise AssertionError(f"{len(found)} of {RECORDS} records arrived")
        return [
            f"boto3 → PutRecords: {RECORDS} records from 5 sensors to {len(shards)} shards",
            f"GetRecords, from the oldest on: {len(read)} records in order",
            f"SubscribeToShard: the same {len(pushed)} records pushed to a consumer",
        ]

    def _read(self, client: Any, shard: str) -> list[Any]:
        position = client.get_shard_iterator(
            StreamName=STREAM, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        records: list[Any] = client.get_records(ShardIterator=position)["Records"]
        return records

    def _push(self, client: Any, consumer: str, shard: str) -> list[Any]:
        events = client.subscribe_to_shard(
            ConsumerARN=consumer, ShardId=shard, StartingPosition={"Type": "TRIM_HORIZON"}
        )["EventStream"]
        try:
            records: list[Any] = next(iter(events))["SubscribeToShardEvent"]["Records"]
        finally:
            events.close()
        return records
