"""Shards with boto3: split, merged, scaled, filtered."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from .conftest import ACCOUNT, KinesisHub, bodies, drain, iterator, refused

MIDDLE = str(2**127)


def shard_ids(client: Any, stream: str, **options: Any) -> list[int]:
    found = client.list_shards(StreamName=stream, **options)["Shards"]
    return [int(shard["ShardId"].removeprefix("shardId-")) for shard in found]


def split(client: Any, stream: str, shard: int = 0, at: str = MIDDLE) -> None:
    client.split_shard(
        StreamName=stream, ShardToSplit=f"shardId-{shard:012d}", NewStartingHashKey=at
    )


def merge(client: Any, stream: str, one: int, other: int) -> None:
    client.merge_shards(
        StreamName=stream,
        ShardToMerge=f"shardId-{one:012d}",
        AdjacentShardToMerge=f"shardId-{other:012d}",
    )


def put(client: Any, stream: str, data: bytes, at: str = "0") -> str:
    answer = client.put_record(StreamName=stream, Data=data, PartitionKey="k", ExplicitHashKey=at)
    return str(answer["SequenceNumber"])


def test_a_reader_follows_a_split_and_a_merge(kinesis: Any, stream: str) -> None:
    last = put(kinesis, stream, b"1")
    split(kinesis, stream)
    put(kinesis, stream, b"2", "0")
    put(kinesis, stream, b"3", MIDDLE)
    merge(kinesis, stream, 1, 2)
    put(kinesis, stream, b"4")

    end = kinesis.get_records(ShardIterator=iterator(kinesis, stream, 0))
    assert bodies(end["Records"]) == [b"1"]
    assert "NextShardIterator" not in end
    assert end["MillisBehindLatest"] == 0
    assert end["ChildShards"] == [
        {
            "ShardId": "shardId-000000000001",
            "ParentShards": ["shardId-000000000000"],
            "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(2**127 - 1)},
        },
        {
            "ShardId": "shardId-000000000002",
            "ParentShards": ["shardId-000000000000"],
            "HashKeyRange": {"StartingHashKey": MIDDLE, "EndingHashKey": str(2**128 - 1)},
        },
    ]
    assert bodies(drain(kinesis, iterator(kinesis, stream, 1))) == [b"2"]
    end = kinesis.get_records(ShardIterator=iterator(kinesis, stream, 2))
    assert bodies(end["Records"]) == [b"3"]
    (child,) = end["ChildShards"]
    assert child["ParentShards"] == ["shardId-000000000001", "shardId-000000000002"]
    assert bodies(drain(kinesis, iterator(kinesis, stream, 3))) == [b"4"]

    parent, left, right, child = kinesis.list_shards(StreamName=stream)["Shards"]
    ending = parent["SequenceNumberRange"]["EndingSequenceNumber"]
    assert int(last) < int(ending) < int(left["SequenceNumberRange"]["StartingSequenceNumber"])
    assert (left["ParentShardId"], right["ParentShardId"]) == (parent["ShardId"],) * 2
    assert child["ParentShardId"] == left["ShardId"]
    assert child["AdjacentParentShardId"] == right["ShardId"]
    assert "EndingSequenceNumber" not in child["SequenceNumberRange"]

    position = iterator(kinesis, stream, 0, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=ending)
    assert "NextShardIterator" not in kinesis.get_records(ShardIterator=position)


def test_a_closed_shard_is_not_changed_again(kinesis: Any, stream: str) -> None:
    split(kinesis, stream)
    with refused(
        "ResourceInUseException",
        f"Shard shardId-000000000000 in stream {stream} under account {ACCOUNT} has already been "
        "merged or split, and thus is not eligible for merging or splitting.",
    ):
        split(kinesis, stream)


@pytest.mark.parametrize("at", ["0", "1", str(2**128 - 1), str(2**128)])
def test_where_a_shard_can_not_be_split(kinesis: Any, stream: str, at: str) -> None:
    with refused(
        "InvalidArgumentException",
        f"NewStartingHashKey {at} used in SplitShard() on shard shardId-000000000000 in stream "
        f"{stream} under account {ACCOUNT} is not both greater than one plus the shard's "
        f"StartingHashKey 0 and less than the shard's EndingHashKey {2**128 - 1}.",
    ):
        split(kinesis, stream, 0, at)


def test_shards_that_can_not_be_merged(kinesis: Any, name: str) -> None:
    kinesis.create_stream(StreamName=name, ShardCount=3)
    with refused(
        "InvalidArgumentException",
        f"Shards shardId-000000000000 and shardId-000000000002 in stream {name} under account "
        f"{ACCOUNT} are not an adjacent pair of shards eligible for merging",
    ):
        merge(kinesis, name, 0, 2)
    with refused(
        "ResourceNotFoundException",
        f"Could not find shard shardId-000000000009 in stream {name} under account {ACCOUNT}.",
    ):
        merge(kinesis, name, 0, 9)
    merge(kinesis, name, 0, 1)
    assert shard_ids(kinesis, name, ShardFilter={"Type": "AT_LATEST"}) == [2, 3]


def test_the_number_of_shards_is_updated(kinesis: Any, name: str) -> None:
    kinesis.create_stream(StreamName=name, ShardCount=2)
    answer = kinesis.update_shard_count(
        StreamName=name, TargetShardCount=3, ScalingType="UNIFORM_SCALING"
    )
    assert (answer["CurrentShardCount"], answer["TargetShardCount"]) == (2, 3)
    assert answer["StreamName"] == name
    shards = kinesis.list_shards(StreamName=name, ShardFilter={"Type": "AT_LATEST"})["Shards"]
    ranges = sorted(
        (int(shard["HashKeyRange"]["StartingHashKey"]), int(shard["HashKeyRange"]["EndingHashKey"]))
        for shard in shards
    )
    third = 2**128 // 3
    assert [start for start, _ in ranges] == [0, third, 2 * third]
    assert ranges[-1][1] == 2**128 - 1
    known = {shard["ShardId"] for shard in kinesis.list_shards(StreamName=name)["Shards"]}
    assert all(shard["ParentShardId"] in known for shard in shards)
    kinesis.update_shard_count(StreamName=name, TargetShardCount=2, ScalingType="UNIFORM_SCALING")
    summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == 2


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (7, ("UpdateShardCount cannot scale up over double your current open shard count. Current "
         "open shard count: 3, Target shard count: 7")),
        (1, ("UpdateShardCount cannot scale down below half your current open shard count. Current "
         "open shard count: 3, Target shard count: 1")),
        (10_001, ("Target shard count or number of open shards cannot be greater than 10000. "
         "Current open shard count: 3, Target shard count: 10001")),
    ],
)  # fmt: skip
def test_how_far_a_stream_is_scaled_at_once(
    kinesis: Any, name: str, target: int, message: str
) -> None:
    kinesis.create_stream(StreamName=name, ShardCount=3)
    with refused("LimitExceededException", message):
        kinesis.update_shard_count(
            StreamName=name, TargetShardCount=target, ScalingType="UNIFORM_SCALING"
        )


def test_a_stream_is_scaled_ten_times_a_day(special_hub: Callable[..., KinesisHub]) -> None:
    hub = special_hub()
    client = hub.client()
    client.create_stream(StreamName="s", ShardCount=1)

    def scale(target: int) -> None:
        client.update_shard_count(
            StreamName="s", TargetShardCount=target, ScalingType="UNIFORM_SCALING"
        )

    for step in range(10):
        scale(2 - step % 2)
    with refused("LimitExceededException"):
        scale(2)
    hub.clock.jump(86_401)
    scale(2)


def test_shards_are_listed_in_pages(kinesis: Any, name: str) -> None:
    kinesis.create_stream(StreamName=name, ShardCount=5)
    first = kinesis.list_shards(StreamName=name, MaxResults=2)
    assert len(first["Shards"]) == 2
    second = kinesis.list_shards(NextToken=first["NextToken"], MaxResults=3)
    assert [shard["ShardId"][-1] for shard in second["Shards"]] == ["2", "3", "4"]
    assert "NextToken" not in second
    assert shard_ids(kinesis, name, ExclusiveStartShardId="shardId-000000000003") == [4]
    with refused(
        "InvalidArgumentException", "NextToken and StreamName cannot be provided together."
    ):
        kinesis.list_shards(StreamName=name, NextToken=first["NextToken"])
    with refused("InvalidArgumentException", "Either NextToken or StreamName should be provided."):
        kinesis.list_shards()


def test_a_filter_is_kept_over_pages(kinesis: Any, name: str) -> None:
    kinesis.create_stream(StreamName=name, ShardCount=2)
    split(kinesis, name, 0, str(2**126))
    latest = {"Type": "AT_LATEST"}
    first = kinesis.list_shards(StreamName=name, ShardFilter=latest, MaxResults=1)
    rest = kinesis.list_shards(NextToken=first["NextToken"])
    found = [shard["ShardId"][-1] for shard in first["Shards"] + rest["Shards"]]
    assert found == ["1", "2", "3"]


def test_a_list_may_name_the_time_of_creation(kinesis: Any, stream: str) -> None:
    description = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    created, arn = description["StreamCreationTimestamp"], description["StreamARN"]
    other = datetime.fromtimestamp(1_500_000_000, UTC)
    assert kinesis.list_shards(StreamName=stream, StreamCreationTimestamp=created)["Shards"]
    kinesis.list_stream_consumers(StreamARN=arn, StreamCreationTimestamp=created)
    with refused("InvalidArgumentException"):
        kinesis.list_shards(StreamName=stream, StreamCreationTimestamp=other)
    with refused("InvalidArgumentException"):
        kinesis.list_stream_consumers(StreamARN=arn, StreamCreationTimestamp=other)


def test_filters(special_hub: Callable[..., KinesisHub]) -> None:
    hub = special_hub()
    client = hub.client()

    def now() -> datetime:
        return datetime.fromtimestamp(hub.clock.now() / 1000, UTC)

    def listed(kind: str, **more: Any) -> list[int]:
        return shard_ids(client, "s", ShardFilter={"Type": kind, **more})

    client.create_stream(StreamName="s", ShardCount=1)
    hub.clock.jump(60)
    young = now()
    hub.clock.jump(60)
    split(client, "s")
    hub.clock.jump(60)
    middle = now()
    hub.clock.jump(60)
    split(client, "s", 1, "100")
    assert shard_ids(client, "s") == [0, 1, 2, 3, 4]
    assert listed("AT_LATEST") == [2, 3, 4]
    assert listed("AT_TRIM_HORIZON") == [0]
    assert listed("FROM_TRIM_HORIZON") == [0, 1, 2, 3, 4]
    assert listed("AT_TIMESTAMP", Timestamp=young) == [0]
    assert listed("AT_TIMESTAMP", Timestamp=middle) == [1, 2]
    assert listed("FROM_TIMESTAMP", Timestamp=middle) == [1, 2, 3, 4]
    assert listed("AFTER_SHARD_ID", ShardId="shardId-000000000002") == [3, 4]
    for kind in ("AT_TIMESTAMP", "FROM_TIMESTAMP", "AFTER_SHARD_ID"):
        with refused("InvalidArgumentException"):
            listed(kind)
    hub.clock.jump(86_400 - 90)
    assert listed("AT_TRIM_HORIZON") == [1, 2]
    assert listed("FROM_TRIM_HORIZON") == [1, 2, 3, 4]


def test_shards_are_merged_in_their_order(kinesis: Any, stream: str) -> None:
    split(kinesis, stream)
    with refused(
        "InvalidArgumentException",
        f"Shards shardId-000000000002 and shardId-000000000001 in stream {stream} under account "
        f"{ACCOUNT} are not an adjacent pair of shards eligible for merging",
    ):
        merge(kinesis, stream, 2, 1)
    merge(kinesis, stream, 1, 2)
    assert shard_ids(kinesis, stream, ShardFilter={"Type": "AT_LATEST"}) == [3]


@pytest.mark.parametrize("shard", ["2147483648", "shardId-002147483648", "ABKLFD8", "2.14E4"])
def test_what_is_no_shard_is_told_before_the_missing_stream(kinesis: Any, shard: str) -> None:
    missing = f"Could not find shard {shard} in stream nowhere under account {ACCOUNT}."
    with refused("ResourceNotFoundException", missing):
        kinesis.split_shard(StreamName="nowhere", ShardToSplit=shard, NewStartingHashKey="2")
    for one, other in ((shard, "x-0"), ("x-0", shard)):
        with refused("ResourceNotFoundException", missing):
            kinesis.merge_shards(StreamName="nowhere", ShardToMerge=one, AdjacentShardToMerge=other)
    with refused("ResourceNotFoundException", f"Stream nowhere under account {ACCOUNT} not found."):
        kinesis.merge_shards(
            StreamName="nowhere", ShardToMerge="2147483647", AdjacentShardToMerge="a-00001"
        )


def test_limits_that_the_model_does_not_tell(hub: KinesisHub, stream: str) -> None:
    client = hub.client(parameter_validation=False)
    scaling = {"StreamName": stream, "ScalingType": "UNIFORM_SCALING"}
    with refused(
        "ValidationException",
        "1 validation error detected: Value '100001' at 'targetShardCount' failed to satisfy "
        "constraint: Member must have value less than or equal to 100000",
    ):
        client.update_shard_count(**scaling, TargetShardCount=100_001)
    with refused(
        "ValidationException",
        "1 validation error detected: Value '-1' at 'retentionPeriodHours' failed to satisfy "
        "constraint: Member must have value greater than or equal to 1",
    ):
        client.decrease_stream_retention_period(StreamName=stream, RetentionPeriodHours=-1)
