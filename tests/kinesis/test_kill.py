"""`kill -9` under boto3: records that were confirmed are read again, where and as they were."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from hubbub.testing import HubProcess
from tests.aws_client import aws_client

CONFIG = """
[plugins]
enable = ["aws", "kinesis"]

[hub]
memory_limit = "1MB"

[log]
level = "error"

[admin]
enabled = false

[aws.listener]
bind = ["127.0.0.1:0"]
"""
STREAM = "telemetry"
WAIT = 30.0


class Writer(threading.Thread):
    """Writes batches of numbers, all of one partition key, until the hub is gone."""

    def __init__(self, hub: HubProcess, key: str, batch: int, size: int) -> None:
        super().__init__()
        self.key = key
        self.confirmed: list[tuple[str, str, bytes]] = []
        """Shard, sequence number and data."""
        self.written = 0
        self.enough = threading.Event()
        self._kinesis = aws_client(hub, "kinesis")
        self._batch = batch
        self._size = size

    def run(self) -> None:
        try:
            while True:
                data = [
                    b"%08d" % number + bytes(self._size)
                    for number in range(self.written, self.written + self._batch)
                ]
                self.written += self._batch
                answer = self._kinesis.put_records(
                    StreamName=STREAM,
                    Records=[{"Data": each, "PartitionKey": self.key} for each in data],
                )
                assert answer["FailedRecordCount"] == 0
                self.confirmed += [
                    (each["ShardId"], each["SequenceNumber"], sent)
                    for each, sent in zip(answer["Records"], data, strict=True)
                ]
                if self.written >= 20 * self._batch:
                    self.enough.set()
        except (
            botocore.exceptions.HTTPClientError,
            botocore.exceptions.EndpointConnectionError,
        ):
            pass  # the hub is gone


def read(kinesis: Any, shard: str, **start: Any) -> Iterator[dict[str, Any]]:
    """Everything in a shard, from a start on."""
    given = start or {"ShardIteratorType": "TRIM_HORIZON"}
    found = kinesis.get_shard_iterator(StreamName=STREAM, ShardId=shard, **given)
    iterator = found["ShardIterator"]
    while True:
        answer = kinesis.get_records(ShardIterator=iterator, Limit=70)
        yield from answer["Records"]
        if not answer["Records"] and not answer["MillisBehindLatest"]:
            return
        iterator = answer["NextShardIterator"]


@pytest.mark.parametrize("size", [0, 20_000])
def test_nothing_confirmed_is_lost(tmp_path: Path, size: int) -> None:
    with HubProcess(tmp_path, CONFIG) as hub:
        kinesis = aws_client(hub, "kinesis")
        kinesis.create_stream(StreamName=STREAM, ShardCount=2)
        kinesis.get_waiter("stream_exists").wait(StreamName=STREAM, WaiterConfig={"Delay": 1})
        highest = ""
        for _ in range(2):  # the second time over what the first has left
            writers = [Writer(hub, f"key {batch}", batch, size) for batch in (1, 3, 10)]
            for each in writers:
                each.start()
            for each in writers:
                assert each.enough.wait(WAIT)
            hub.kill()
            for each in writers:
                each.join(WAIT)
                assert not each.is_alive()
            hub.start()
            kinesis = aws_client(hub, "kinesis")
            shards = [each["ShardId"] for each in kinesis.list_shards(StreamName=STREAM)["Shards"]]
            found = {shard: list(read(kinesis, shard)) for shard in shards}
            for records in found.values():
                numbers = [record["SequenceNumber"] for record in records]
                assert numbers == sorted(set(numbers))
            for writer in writers:
                assert writer.confirmed
                assert min(number for _, number, _ in writer.confirmed) > highest
                [shard] = {shard for shard, _, _ in writer.confirmed}
                mine = [
                    (record["SequenceNumber"], record["Data"])
                    for record in found[shard]
                    if record["PartitionKey"] == writer.key and record["SequenceNumber"] > highest
                ]
                confirmed = [(number, data) for _, number, data in writer.confirmed]
                assert mine[: len(confirmed)] == confirmed
                assert len(mine) <= writer.written  # what was in flight may be there
                middle = confirmed[len(confirmed) // 2]
                first = next(
                    read(
                        kinesis, shard, ShardIteratorType="AT_SEQUENCE_NUMBER",
                        StartingSequenceNumber=middle[0],
                    )
                )  # fmt: skip
                assert (first["SequenceNumber"], first["Data"]) == middle
            highest = max(number for each in writers for _, number, _ in each.confirmed)
            highest = max(
                [highest, *[each["SequenceNumber"] for every in found.values() for each in every]]
            )
        assert hub.stop() == 0
