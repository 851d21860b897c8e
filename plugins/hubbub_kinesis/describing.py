"""Streams and shards, as the answers describe them."""

from collections.abc import Sequence

from hubbub import ShardInfo, StreamInfo
from hubbub_aws.protocols import Params
from hubbub_kinesis.locating import Located
from hubbub_kinesis.numbering import Numbering
from hubbub_kinesis.sequences import shard_name
from hubbub_kinesis.state import ON_DEMAND

HOUR = 3_600_000
MAX_HOURS = 8_760


def describe_shard(stream: StreamInfo, shard: ShardInfo) -> Params:
    """Describe a shard of a stream."""
    numbering = Numbering(stream)
    between = {"StartingSequenceNumber": numbering.start(shard)}
    end = numbering.end(shard)
    if end is not None:
        between["EndingSequenceNumber"] = end
    result: Params = {
        "ShardId": shard_name(shard.id),
        "HashKeyRange": hash_key_range(shard),
        "SequenceNumberRange": between,
    }
    if shard.parent is not None:
        result["ParentShardId"] = shard_name(shard.parent)
    if shard.adjacent_parent is not None:
        result["AdjacentParentShardId"] = shard_name(shard.adjacent_parent)
    return result


def describe_children(children: Sequence[ShardInfo]) -> list[Params]:
    """Describe the shards that go on where a closed one ends."""
    return [
        {
            "ShardId": shard_name(shard.id),
            "ParentShards": [
                shard_name(parent)
                for parent in (shard.parent, shard.adjacent_parent)
                if parent is not None
            ],
            "HashKeyRange": hash_key_range(shard),
        }
        for shard in children
    ]


def hash_key_range(shard: ShardInfo) -> Params:
    """Return the hash keys that a shard owns."""
    return {
        "StartingHashKey": str(shard.starting_hash_key),
        "EndingHashKey": str(shard.ending_hash_key),
    }


def retention_hours(stream: Located) -> int:
    """Return how long a stream keeps its records; one that keeps them for ever says the most."""
    retention = stream.info.settings.retention
    return MAX_HOURS if retention is None else max(1, retention // HOUR)


def describe_stream(stream: Located, now: int) -> Params:
    """Describe a stream, without its shards."""
    state = stream.state
    result: Params = {
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "StreamStatus": str(state.status(now)),
        "StreamModeDetails": {"StreamMode": state.mode},
        "RetentionPeriodHours": retention_hours(stream),
        "StreamCreationTimestamp": stream.info.created / 1000,
        "EnhancedMonitoring": [{"ShardLevelMetrics": state.metrics}],
        "EncryptionType": state.encryption,
    }
    if state.key_id is not None:
        result["KeyId"] = state.key_id
    return result


def describe_summary(stream: Located, now: int, consumers: int, *, committed: bool) -> Params:
    """Describe a stream with counts. `committed`: its account has a billing commitment."""
    state = stream.state
    result = describe_stream(stream, now)
    result["OpenShardCount"] = len(stream.open_shards())
    result["ConsumerCount"] = consumers
    result["MaxRecordSizeInKiB"] = state.max_record_kib
    if state.mode == ON_DEMAND:
        result["RecordDistributionStrategy"] = state.distribution
        if committed:
            result["WarmThroughput"] = warm_throughput(stream)
    return result


def warm_throughput(stream: Located) -> Params:
    """Return a stream's warm throughput: it has its target at once."""
    target = stream.state.warm_throughput or 0
    return {"TargetMiBps": target, "CurrentMiBps": target}
