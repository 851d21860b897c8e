"""Streams with boto3: created, described, listed, changed, deleted."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import trio

from .conftest import ACCOUNT, KinesisHub, refused

ARN = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/"


def summary(client: Any, name: str) -> Any:
    return client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]


def test_a_new_stream(kinesis: Any, name: str) -> None:
    kinesis.create_stream(StreamName=name, ShardCount=3, Tags={"team": "green"})
    description = kinesis.describe_stream(StreamName=name)["StreamDescription"]
    assert description["StreamARN"] == ARN + name
    assert description["StreamStatus"] == "ACTIVE"
    assert description["StreamModeDetails"] == {"StreamMode": "PROVISIONED"}
    assert description["RetentionPeriodHours"] == 24
    assert description["EncryptionType"] == "NONE"
    assert description["EnhancedMonitoring"] == [{"ShardLevelMetrics": []}]
    assert description["HasMoreShards"] is False
    ranges = [shard["HashKeyRange"] for shard in description["Shards"]]
    assert ranges[0]["StartingHashKey"] == "0"
    assert ranges[-1]["EndingHashKey"] == str(2**128 - 1)
    for one, following in itertools.pairwise(ranges):
        assert int(one["EndingHashKey"]) + 1 == int(following["StartingHashKey"])
    for shard in description["Shards"]:
        assert len(shard["SequenceNumberRange"]["StartingSequenceNumber"]) == 56
        assert "EndingSequenceNumber" not in shard["SequenceNumberRange"]
        assert "ParentShardId" not in shard
    assert kinesis.list_tags_for_stream(StreamName=name)["Tags"] == [
        {"Key": "team", "Value": "green"}
    ]
    kinesis.get_waiter("stream_exists").wait(StreamName=name)


def test_describe_stream_in_pages(kinesis: Any, name: str) -> None:
    kinesis.create_stream(StreamName=name, ShardCount=5)
    pages = kinesis.get_paginator("describe_stream").paginate(
        StreamName=name, PaginationConfig={"PageSize": 2}
    )
    sizes = [len(page["StreamDescription"]["Shards"]) for page in pages]
    assert sizes == [2, 2, 1]


def test_a_stream_has_at_most_fifty_tags(kinesis: Any, name: str) -> None:
    tags = {str(number): "x" for number in range(51)}
    with refused(
        "InvalidArgumentException",
        f"Failed to add tags to stream {name} under account {ACCOUNT} because a given stream "
        "cannot have more than 50 tags associated with it.",
    ):
        kinesis.create_stream(StreamName=name, ShardCount=1, Tags=tags)


def test_a_summary_counts(kinesis: Any, stream: str) -> None:
    arn = summary(kinesis, stream)["StreamARN"]
    kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="one")
    found = kinesis.describe_stream_summary(StreamARN=arn)["StreamDescriptionSummary"]
    assert (found["OpenShardCount"], found["ConsumerCount"]) == (1, 1)
    assert found["MaxRecordSizeInKiB"] == 1024
    assert "Shards" not in found


def test_the_name_is_taken(kinesis: Any, stream: str) -> None:
    with refused(
        "ResourceInUseException", f"Stream {stream} under account {ACCOUNT} already exists."
    ):
        kinesis.create_stream(StreamName=stream, ShardCount=1)


def test_a_missing_stream(kinesis: Any) -> None:
    with refused("ResourceNotFoundException", f"Stream nowhere under account {ACCOUNT} not found."):
        kinesis.describe_stream(StreamName="nowhere")
    with pytest.raises(kinesis.exceptions.ResourceNotFoundException):
        kinesis.put_record(StreamName="nowhere", Data=b"", PartitionKey="k")


def test_a_deleted_stream_is_gone_with_its_settings(kinesis: Any, stream: str) -> None:
    kinesis.add_tags_to_stream(StreamName=stream, Tags={"a": "b"})
    before = kinesis.put_record(StreamName=stream, Data=b"1", PartitionKey="k")
    kinesis.delete_stream(StreamName=stream)
    kinesis.get_waiter("stream_not_exists").wait(StreamName=stream)
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    assert kinesis.list_tags_for_stream(StreamName=stream)["Tags"] == []
    after = kinesis.put_record(StreamName=stream, Data=b"2", PartitionKey="k")
    assert int(after["SequenceNumber"]) > int(before["SequenceNumber"])
    with refused("InvalidArgumentException") as _:
        kinesis.get_shard_iterator(
            StreamName=stream,
            ShardId=before["ShardId"],
            ShardIteratorType="AT_SEQUENCE_NUMBER",
            StartingSequenceNumber=before["SequenceNumber"],
        )


def test_streams_are_listed_in_pages(special_hub: Callable[..., KinesisHub]) -> None:
    client = special_hub().client()
    for name in ("c", "a", "b", "e", "d"):
        client.create_stream(StreamName=name, ShardCount=1)
    first = client.list_streams(Limit=2)
    assert first["StreamNames"] == ["a", "b"]
    assert first["HasMoreStreams"] is True
    assert [each["StreamStatus"] for each in first["StreamSummaries"]] == ["ACTIVE", "ACTIVE"]
    assert client.list_streams(Limit=2, NextToken=first["NextToken"])["StreamNames"] == ["c", "d"]
    last = client.list_streams(Limit=2, ExclusiveStartStreamName="d")
    assert (last["StreamNames"], last["HasMoreStreams"]) == (["e"], False)
    assert "NextToken" not in last
    pages = client.get_paginator("list_streams").paginate(PaginationConfig={"PageSize": 1})
    assert [page["StreamNames"] for page in pages] == [["a"], ["b"], ["c"], ["d"], ["e"]]


def test_a_token_expires(special_hub: Callable[..., KinesisHub]) -> None:
    hub = special_hub()
    client = hub.client()
    for name in "ab":
        client.create_stream(StreamName=name, ShardCount=1)
    token = client.list_streams(Limit=1)["NextToken"]
    hub.clock.jump(301)
    with refused("ExpiredNextTokenException"):
        client.list_streams(NextToken=token)
    with refused("InvalidArgumentException", "Invalid NextToken."):
        client.list_streams(NextToken="no token")


def test_accounts_have_streams_of_their_own(hub: KinesisHub, stream: str) -> None:
    stranger = hub.client("123456789012")
    with refused(
        "ResourceNotFoundException", f"Stream {stream} under account 123456789012 not found."
    ):
        stranger.describe_stream(StreamName=stream)
    assert stranger.describe_stream_summary(StreamARN=ARN + stream)


# Limits


def test_too_many_shards(special_hub: Callable[..., KinesisHub]) -> None:
    client = special_hub(shard_limit=3).client()
    client.create_stream(StreamName="two", ShardCount=2)
    expected = (
        "This request would exceed the shard limit for the account 000000000000 in us-east-1. "
        "Current shard count for the account: 2. Limit: 3. Number of additional shards that would "
        "have resulted from this request: 2. Refer to the AWS Service Limits page "
        "(http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) for current "
        "limits and how to request higher limits."
    )
    with refused("LimitExceededException", expected):
        client.create_stream(StreamName="more", ShardCount=2)
    with refused("LimitExceededException"):
        client.update_shard_count(
            StreamName="two", TargetShardCount=4, ScalingType="UNIFORM_SCALING"
        )
    client.create_stream(StreamName="one", ShardCount=1)
    middle = str(2**126)
    with refused("LimitExceededException"):
        client.split_shard(
            StreamName="two", ShardToSplit="shardId-000000000000", NewStartingHashKey=middle
        )
    limits = client.describe_limits()
    assert (limits["ShardLimit"], limits["OpenShardCount"]) == (3, 3)


def test_on_demand_streams_are_counted(special_hub: Callable[..., KinesisHub]) -> None:
    client = special_hub(on_demand_limit=1, shard_limit=1).client()
    client.create_stream(StreamName="a", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    with refused("LimitExceededException"):
        client.create_stream(StreamName="b", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    client.create_stream(StreamName="c", ShardCount=1)
    with refused("LimitExceededException"):
        client.update_stream_mode(
            StreamARN=summary(client, "c")["StreamARN"],
            StreamModeDetails={"StreamMode": "ON_DEMAND"},
        )
    limits = client.describe_limits()
    assert (limits["OnDemandStreamCount"], limits["OnDemandStreamCountLimit"]) == (1, 1)
    assert limits["OpenShardCount"] == 1


# Delays


def test_delays(special_hub: Callable[..., KinesisHub]) -> None:
    hub = special_hub(create_delay=10, update_delay=10, delete_delay=10)
    client = hub.client()

    def status() -> str:
        return str(summary(client, "s")["StreamStatus"])

    client.create_stream(StreamName="s", ShardCount=1)
    assert status() == "CREATING"
    assert client.describe_stream(StreamName="s")["StreamDescription"]["Shards"] == []
    with refused("ResourceNotFoundException", "Stream s under account 000000000000 not found."):
        client.put_record(StreamName="s", Data=b"", PartitionKey="k")
    in_use = "Stream s under account 000000000000 not ACTIVE, instead in state CREATING"
    with refused("ResourceInUseException", in_use):
        client.delete_stream(StreamName="s")
    with refused("ResourceInUseException", in_use):
        client.increase_stream_retention_period(StreamName="s", RetentionPeriodHours=48)
    hub.clock.jump(10)
    assert status() == "ACTIVE"
    client.split_shard(
        StreamName="s", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127)
    )
    assert status() == "UPDATING"
    client.put_record(StreamName="s", Data=b"", PartitionKey="k")
    with refused("ResourceInUseException"):
        client.merge_shards(
            StreamName="s",
            ShardToMerge="shardId-000000000001",
            AdjacentShardToMerge="shardId-000000000002",
        )
    hub.clock.jump(10)
    arn = summary(client, "s")["StreamARN"]
    consumer = client.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]
    assert consumer["ConsumerStatus"] == "CREATING"
    hub.clock.jump(10)
    client.deregister_stream_consumer(StreamARN=arn, ConsumerName="c")
    (consumer,) = client.list_stream_consumers(StreamARN=arn)["Consumers"]
    assert consumer["ConsumerStatus"] == "DELETING"
    hub.clock.jump(10)
    assert client.list_stream_consumers(StreamARN=arn)["Consumers"] == []
    client.delete_stream(StreamName="s")
    assert status() == "DELETING"
    with refused("ResourceInUseException"):
        client.delete_stream(StreamName="s")
    with refused("ResourceInUseException"):
        client.create_stream(StreamName="s", ShardCount=1)
    hub.clock.jump(10)
    with refused("ResourceNotFoundException"):
        status()
    client.create_stream(StreamName="s", ShardCount=2)
    assert summary(client, "s")["OpenShardCount"] == 2


def test_a_deleted_stream_leaves_the_store(special_hub: Callable[..., KinesisHub]) -> None:
    hub = special_hub(delete_delay=0.05)
    client = hub.client()
    client.create_stream(StreamName="s", ShardCount=1)
    client.delete_stream(StreamName="s")
    engine = hub.served.hub.engine

    async def until_gone() -> None:
        stream = engine.find_stream("default", "s")
        if stream is not None:
            gone = trio.Event()
            stream.watch(0, gone.set)
            with trio.fail_after(10):
                await gone.wait()
        assert engine.find_stream("default", "s") is None

    hub.served.run(until_gone)


# On-demand, modes


@pytest.mark.parametrize("details", [{"StreamModeDetails": {"StreamMode": "ON_DEMAND"}}, {}])
def test_an_on_demand_stream(kinesis: Any, name: str, details: Any) -> None:
    kinesis.create_stream(StreamName=name, **details)
    found = summary(kinesis, name)
    assert found["StreamModeDetails"] == {"StreamMode": "ON_DEMAND"}
    assert found["OpenShardCount"] == 4
    with refused(
        "ValidationException",
        f"Request is invalid. Stream {name} under account {ACCOUNT} is in On-Demand mode.",
    ):
        kinesis.update_shard_count(
            StreamName=name, TargetShardCount=8, ScalingType="UNIFORM_SCALING"
        )
    with refused("InvalidArgumentException"):
        kinesis.create_stream(
            StreamName=f"{name}-2", ShardCount=1, StreamModeDetails={"StreamMode": "ON_DEMAND"}
        )


def test_a_stream_changes_its_mode_twice_a_day(special_hub: Callable[..., KinesisHub]) -> None:
    hub = special_hub()
    client = hub.client()
    client.create_stream(StreamName="s", ShardCount=2)
    arn = summary(client, "s")["StreamARN"]

    def change(mode: str) -> None:
        client.update_stream_mode(StreamARN=arn, StreamModeDetails={"StreamMode": mode})

    change("ON_DEMAND")
    assert summary(client, "s")["OpenShardCount"] == 2
    change("PROVISIONED")
    with refused("LimitExceededException"):
        change("ON_DEMAND")
    hub.clock.jump(86_401)
    change("ON_DEMAND")
    assert summary(client, "s")["StreamModeDetails"] == {"StreamMode": "ON_DEMAND"}


def test_records_that_nobody_places(kinesis: Any, name: str) -> None:
    kinesis.create_stream(StreamName=name, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    with refused(
        "ValidationException",
        "1 validation error detected: Value null at 'partitionKey' failed to satisfy constraint: "
        "Member must not be null",
    ):
        kinesis.put_record(StreamName=name, Data=b"x")
    with refused(
        "ValidationException",
        "1 validation error detected: Value null at 'records.2.member.partitionKey' failed to "
        "satisfy constraint: Member must not be null",
    ):
        kinesis.put_records(
            StreamName=name, Records=[{"Data": b"", "PartitionKey": "k"}, {"Data": b"x"}]
        )
    kinesis.update_stream_record_distribution_strategy(
        StreamARN=ARN + name, RecordDistributionStrategy="AUTO"
    )
    assert summary(kinesis, name)["RecordDistributionStrategy"] == "AUTO"
    kinesis.put_record(StreamName=name, Data=b"x")
    answer = kinesis.put_records(
        StreamName=name, Records=[{"Data": b"x", "PartitionKey": "k"}] * 100
    )
    assert {record["ShardId"] for record in answer["Records"]} == {
        f"shardId-{number:012d}" for number in range(4)
    }


def test_automatic_distribution_is_for_on_demand_streams(kinesis: Any, stream: str) -> None:
    with refused("InvalidArgumentException"):
        kinesis.update_stream_record_distribution_strategy(
            StreamARN=ARN + stream, RecordDistributionStrategy="AUTO"
        )


def test_warm_throughput(special_hub: Callable[..., KinesisHub]) -> None:
    hub = special_hub()
    client = hub.client()
    mode = {"StreamMode": "ON_DEMAND"}
    client.create_stream(StreamName="s", StreamModeDetails=mode, WarmThroughputMiBps=10)
    with refused("ValidationException"):
        client.update_stream_warm_throughput(StreamName="s", WarmThroughputMiBps=20)
    status = {"Status": "ENABLED"}
    account = client.update_account_settings(MinimumThroughputBillingCommitment=status)
    assert account["MinimumThroughputBillingCommitment"]["Status"] == "ENABLED"
    assert summary(client, "s")["WarmThroughput"] == {"TargetMiBps": 10, "CurrentMiBps": 10}
    answer = client.update_stream_warm_throughput(StreamName="s", WarmThroughputMiBps=20)
    assert answer["WarmThroughput"] == {"TargetMiBps": 20, "CurrentMiBps": 20}
    with refused("LimitExceededException"):
        client.update_stream_warm_throughput(StreamName="s", WarmThroughputMiBps=20_000)
    with refused("LimitExceededException"):
        client.create_stream(StreamName="t", StreamModeDetails=mode, WarmThroughputMiBps=20_000)


def test_a_commitment_lasts_a_day(special_hub: Callable[..., KinesisHub]) -> None:
    hub = special_hub()
    client = hub.client()

    def status() -> str:
        found = client.describe_account_settings()["MinimumThroughputBillingCommitment"]
        return str(found["Status"])

    assert status() == "DISABLED"
    client.update_account_settings(MinimumThroughputBillingCommitment={"Status": "ENABLED"})
    assert status() == "ENABLED"
    client.update_account_settings(MinimumThroughputBillingCommitment={"Status": "DISABLED"})
    assert status() == "ENABLED_UNTIL_EARLIEST_ALLOWED_END"
    hub.clock.jump(86_401)
    assert status() == "DISABLED"


# Settings


def test_retention(kinesis: Any, stream: str) -> None:
    kinesis.increase_stream_retention_period(StreamName=stream, RetentionPeriodHours=8760)
    assert summary(kinesis, stream)["RetentionPeriodHours"] == 8760
    kinesis.decrease_stream_retention_period(StreamName=stream, RetentionPeriodHours=48)
    assert summary(kinesis, stream)["RetentionPeriodHours"] == 48


@pytest.mark.parametrize(
    ("way", "hours", "message"),
    [
        ("increase", 23, ("Minimum allowed retention period is 24 hours. Requested retention "
         "period (23 hours) is too short.")),
        ("increase", 8761, ("Maximum allowed retention period is 8760 hours. Requested retention "
         "period (8761 hours) is too long.")),
        ("increase", 24, ("Requested retention period (24 hours) for stream {} can not be shorter "
         "than existing retention period (48 hours). Use DecreaseRetentionPeriod API.")),
        ("decrease", 72, ("Requested retention period (72 hours) for stream {} can not be longer "
         "than existing retention period (48 hours). Use IncreaseRetentionPeriod API.")),
    ],
)  # fmt: skip
def test_retention_that_is_refused(
    kinesis: Any, stream: str, way: str, hours: int, message: str
) -> None:
    kinesis.increase_stream_retention_period(StreamName=stream, RetentionPeriodHours=48)
    change = getattr(kinesis, f"{way}_stream_retention_period")
    with refused("InvalidArgumentException", message.format(stream)):
        change(StreamName=stream, RetentionPeriodHours=hours)


def test_encryption_is_kept_and_told(kinesis: Any, stream: str) -> None:
    kinesis.start_stream_encryption(
        StreamName=stream, EncryptionType="KMS", KeyId="alias/aws/kinesis"
    )
    found = summary(kinesis, stream)
    assert (found["EncryptionType"], found["KeyId"]) == ("KMS", "alias/aws/kinesis")
    answer = kinesis.put_record(StreamName=stream, Data=b"x", PartitionKey="k")
    assert answer["EncryptionType"] == "KMS"
    position = kinesis.get_shard_iterator(
        StreamName=stream, ShardId=answer["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    (record,) = kinesis.get_records(ShardIterator=position)["Records"]
    assert record["EncryptionType"] == "KMS"
    kinesis.stop_stream_encryption(
        StreamName=stream, EncryptionType="KMS", KeyId="alias/aws/kinesis"
    )
    found = summary(kinesis, stream)
    assert found["EncryptionType"] == "NONE"
    assert "KeyId" not in found


def test_monitoring_is_kept_and_told(kinesis: Any, stream: str) -> None:
    answer = kinesis.enable_enhanced_monitoring(
        StreamName=stream, ShardLevelMetrics=["OutgoingBytes", "IncomingBytes"]
    )
    assert answer["CurrentShardLevelMetrics"] == []
    assert answer["DesiredShardLevelMetrics"] == ["IncomingBytes", "OutgoingBytes"]
    answer = kinesis.disable_enhanced_monitoring(
        StreamName=stream, ShardLevelMetrics=["OutgoingBytes"]
    )
    assert answer["CurrentShardLevelMetrics"] == ["IncomingBytes", "OutgoingBytes"]
    assert answer["DesiredShardLevelMetrics"] == ["IncomingBytes"]
    kinesis.enable_enhanced_monitoring(StreamName=stream, ShardLevelMetrics=["ALL"])
    (found,) = summary(kinesis, stream)["EnhancedMonitoring"]
    assert len(found["ShardLevelMetrics"]) == 7
    kinesis.disable_enhanced_monitoring(StreamName=stream, ShardLevelMetrics=["ALL"])
    assert summary(kinesis, stream)["EnhancedMonitoring"] == [{"ShardLevelMetrics": []}]


def test_tags(kinesis: Any, stream: str) -> None:
    kinesis.add_tags_to_stream(StreamName=stream, Tags={"b": "2", "a": "1", "c": ""})
    found = kinesis.list_tags_for_stream(StreamName=stream, Limit=2)
    assert found["Tags"] == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    assert found["HasMoreTags"] is True
    rest = kinesis.list_tags_for_stream(StreamName=stream, ExclusiveStartTagKey="b")
    assert (rest["Tags"], rest["HasMoreTags"]) == ([{"Key": "c", "Value": ""}], False)
    kinesis.remove_tags_from_stream(StreamName=stream, TagKeys=["a", "c", "x"])
    assert kinesis.list_tags_for_resource(ResourceARN=ARN + stream)["Tags"] == [
        {"Key": "b", "Value": "2"}
    ]
    kinesis.tag_resource(ResourceARN=ARN + stream, Tags={"d": "4"})
    kinesis.untag_resource(ResourceARN=ARN + stream, TagKeys=["b"])
    assert kinesis.list_tags_for_stream(StreamName=stream)["Tags"] == [{"Key": "d", "Value": "4"}]
    with refused("InvalidArgumentException"):
        kinesis.add_tags_to_stream(StreamName=stream, Tags={str(key): "" for key in range(50)})
    with refused("InvalidArgumentException"):
        kinesis.add_tags_to_stream(StreamName=stream, Tags={"<": ""})
    with refused("InvalidArgumentException"):
        kinesis.add_tags_to_stream(StreamName=stream, Tags={"a": "%"})


def test_policies(kinesis: Any, stream: str) -> None:
    arn = ARN + stream
    assert kinesis.get_resource_policy(ResourceARN=arn)["Policy"] == "{}"
    policy = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"1"},'
        f'"Action":"kinesis:*","Resource":"{arn}"}}]}}'
    )
    kinesis.put_resource_policy(ResourceARN=arn, Policy=policy)
    assert kinesis.get_resource_policy(ResourceARN=arn)["Policy"] == policy
    kinesis.delete_resource_policy(ResourceARN=arn)
    with refused("ResourceNotFoundException", f"No resource policy found for resource ARN {arn}."):
        kinesis.delete_resource_policy(ResourceARN=arn)
    for wrong in ("no json", "{}", '{"Statement":[{"Effect":"Maybe"}]}', '{"Statement":[1]}'):
        with refused("InvalidArgumentException"):
            kinesis.put_resource_policy(ResourceARN=arn, Policy=wrong)


def test_the_largest_record(kinesis: Any, stream: str) -> None:
    size = 2**20  # the partition key counts, too
    with refused(
        "ValidationException",
        "1 validation error detected: Value at 'data' failed to satisfy constraint: Member must "
        "have length less than or equal to 1048576",
    ):
        kinesis.put_record(StreamName=stream, Data=bytes(size), PartitionKey="k")
    kinesis.put_record(StreamName=stream, Data=bytes(size - 1), PartitionKey="k")
    kinesis.update_max_record_size(StreamARN=ARN + stream, MaxRecordSizeInKiB=10240)
    assert summary(kinesis, stream)["MaxRecordSizeInKiB"] == 10240
    largest = bytes(10 * 2**20 - 1)
    answer = kinesis.put_record(StreamName=stream, Data=largest, PartitionKey="k")
    position = kinesis.get_shard_iterator(
        StreamName=stream, ShardId=answer["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    first = kinesis.get_records(ShardIterator=position, Limit=1)
    (record,) = kinesis.get_records(ShardIterator=first["NextShardIterator"])["Records"]
    assert record["Data"] == largest


def test_name_and_arn_must_agree(kinesis: Any, stream: str) -> None:
    kinesis.describe_stream(StreamName=stream, StreamARN=ARN + stream)
    with refused("InvalidArgumentException"):
        kinesis.describe_stream(StreamName="other", StreamARN=ARN + stream)
    with refused("InvalidArgumentException"):
        kinesis.describe_stream()


def test_every_action_is_served(hub: KinesisHub, kinesis: Any) -> None:
    for operation in kinesis.meta.service_model.operation_names:
        answer = hub.post(operation, b"{}")
        assert b"UnsupportedOperation" not in answer.content, operation
        assert answer.status_code < 500, operation
