"""Records with boto3: written, found, read."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from hubbub import hash_key

from .conftest import ACCOUNT, KinesisHub, bodies, drain, iterator, refused


def put(client: Any, stream: str, *data: bytes, key: str = "k") -> list[str]:
    """Write records, one call each; return their sequence numbers."""
    return [
        client.put_record(StreamName=stream, Data=each, PartitionKey=key)["SequenceNumber"]
        for each in data
    ]


def test_what_is_written_is_read(kinesis: Any, stream: str) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    answer = kinesis.put_record(StreamName=stream, Data=b"\x00\xffbinary", PartitionKey="schlüssel")
    assert answer["ShardId"] == "shardId-000000000000"
    assert "EncryptionType" not in answer
    found = kinesis.get_records(ShardIterator=iterator(kinesis, stream))
    (record,) = found["Records"]
    assert record["Data"] == b"\x00\xffbinary"
    assert record["PartitionKey"] == "schlüssel"
    assert record["SequenceNumber"] == answer["SequenceNumber"]
    assert before <= record["ApproximateArrivalTimestamp"]
    assert found["MillisBehindLatest"] == 0
    assert "ChildShards" not in found
    again = kinesis.get_records(ShardIterator=found["NextShardIterator"])
    assert again["Records"] == []
    assert again["NextShardIterator"]


def test_records_go_to_the_shard_of_their_hash_key(kinesis: Any, name: str) -> None:
    kinesis.create_stream(StreamName=name, ShardCount=4)
    keys = [f"key-{number}" for number in range(50)]
    answer = kinesis.put_records(
        StreamName=name, Records=[{"Data": key.encode(), "PartitionKey": key} for key in keys]
    )
    assert answer["FailedRecordCount"] == 0
    for key, result in zip(keys, answer["Records"], strict=True):
        assert result["ShardId"] == f"shardId-{hash_key(key) >> 126:012d}"
    numbers = [int(result["SequenceNumber"]) for result in answer["Records"]]
    assert numbers == sorted(set(numbers))
    found = [
        record for shard in range(4) for record in drain(kinesis, iterator(kinesis, name, shard))
    ]
    assert sorted(bodies(found)) == sorted(key.encode() for key in keys)


def test_explicit_hash_keys(kinesis: Any, name: str) -> None:
    kinesis.create_stream(StreamName=name, ShardCount=2)
    for key, shard in (("0", 0), (str(2**127 - 1), 0), (str(2**127), 1), (str(2**128 - 1), 1)):
        answer = kinesis.put_record(
            StreamName=name, Data=b"", PartitionKey="same", ExplicitHashKey=key
        )
        assert answer["ShardId"] == f"shardId-{shard:012d}"
    too_high = str(2**128)
    with refused(
        "InvalidArgumentException",
        "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified "
        f"value was {too_high}",
    ):
        kinesis.put_record(StreamName=name, Data=b"", PartitionKey="k", ExplicitHashKey=too_high)
    with refused("ValidationException"):
        kinesis.put_records(
            StreamName=name, Records=[{"Data": b"", "PartitionKey": "k", "ExplicitHashKey": "01"}]
        )


def test_what_tools_read_in_a_sequence_number(hub: KinesisHub, kinesis: Any, name: str) -> None:
    """As AWS writes them, and kinesalite's tests check it."""
    created = hub.clock.now() // 1000
    kinesis.create_stream(StreamName=name, ShardCount=2)
    hub.clock.jump(7)
    written = [
        kinesis.put_record(StreamName=name, Data=b"", PartitionKey="k", ExplicitHashKey=key)
        for key in ("0", str(2**127), "0")
    ]
    numbers = [f"{int(each['SequenceNumber']):x}" for each in written]
    for number, shard in zip(numbers, (0, 1, 0), strict=True):
        assert (len(number), number[0], number[-1]) == (47, "2", "2")
        assert created <= int(number[1:10], 16) <= created + 1
        assert created + 7 <= int(number[29:38], 16) <= created + 8
        assert number[27:29] == "00"
        assert int(number[38:46], 16) == shard
    serials = [int(number[11:27], 16) for number in numbers]
    assert serials == list(range(serials[0], serials[0] + 3)), "one by one over all shards"
    for shard in kinesis.describe_stream(StreamName=name)["StreamDescription"]["Shards"]:
        start = f"{int(shard['SequenceNumberRange']['StartingSequenceNumber']):x}"
        assert (start[1:10], start[27:29]) == (numbers[0][1:10], "00")
        assert start[29:38] == start[1:10]
        assert int(start[11:27], 16) < serials[0]


def test_ordering_by_sequence_number(kinesis: Any, stream: str) -> None:
    first = kinesis.put_record(
        StreamName=stream, Data=b"1", PartitionKey="k", SequenceNumberForOrdering="0"
    )["SequenceNumber"]
    answer = kinesis.put_record(
        StreamName=stream, Data=b"2", PartitionKey="k", SequenceNumberForOrdering=first
    )
    assert int(answer["SequenceNumber"]) > int(first)
    for foreign in ((1 << 185) + 1, (1 << 185) + 2, int(first) + (1 << 160)):
        kinesis.put_record(
            StreamName=stream, Data=b"", PartitionKey="k", SequenceNumberForOrdering=str(foreign)
        )
    in_the_future = int(first) + (3600 << 36)
    for wrong in map(str, (1 << 130, 1 << 185, (1 << 185) + 4, 3 << 184, in_the_future)):
        with refused(
            "InvalidArgumentException",
            f"ExclusiveMinimumSequenceNumber {wrong} used in PutRecord on stream {stream} under "
            f"account {ACCOUNT} is invalid.",
        ):
            kinesis.put_record(
                StreamName=stream, Data=b"", PartitionKey="k", SequenceNumberForOrdering=wrong
            )


def test_a_batch_has_limits(kinesis: Any, stream: str) -> None:
    with refused("ValidationException") as _:
        kinesis.put_records(StreamName=stream, Records=[{"Data": b"", "PartitionKey": "k"}] * 501)
    entries = [{"Data": bytes(2**19), "PartitionKey": "k"}] * 20
    with refused("InvalidArgumentException", "Records size exceeds 10 MB limit"):
        kinesis.put_records(StreamName=stream, Records=entries)
    with refused("ValidationException"):
        kinesis.put_records(
            StreamName=stream,
            Records=[
                {"Data": b"", "PartitionKey": "k"},
                {"Data": bytes(2**20 + 1), "PartitionKey": "k"},
            ],
        )
    assert drain(kinesis, iterator(kinesis, stream)) == []


# Iterators


def test_iterators_of_all_types(hub: KinesisHub, kinesis: Any, stream: str) -> None:
    one, two, three = put(kinesis, stream, b"1", b"2", b"3")

    def read(kind: str, **more: Any) -> list[bytes]:
        return bodies(drain(kinesis, iterator(kinesis, stream, 0, kind, **more)))

    assert read("TRIM_HORIZON") == [b"1", b"2", b"3"]
    assert read("LATEST") == []
    assert read("AT_SEQUENCE_NUMBER", StartingSequenceNumber=two) == [b"2", b"3"]
    assert read("AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=two) == [b"3"]
    assert read("AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=three) == []
    hub.clock.jump(10)
    later = datetime.fromtimestamp(hub.clock.now() / 1000, UTC)
    put(kinesis, stream, b"4")
    assert read("AT_TIMESTAMP", Timestamp=later) == [b"4"]
    assert read("AT_TIMESTAMP", Timestamp=0) == [b"1", b"2", b"3", b"4"]
    assert one < two < three


def test_latest_is_what_comes_next(kinesis: Any, stream: str) -> None:
    put(kinesis, stream, b"old")
    position = iterator(kinesis, stream, 0, "LATEST")
    put(kinesis, stream, b"new")
    assert bodies(drain(kinesis, position)) == [b"new"]


def test_the_start_of_a_shard_is_a_sequence_number(kinesis: Any, stream: str) -> None:
    (shard,) = kinesis.list_shards(StreamName=stream)["Shards"]
    start = shard["SequenceNumberRange"]["StartingSequenceNumber"]
    (number,) = put(kinesis, stream, b"1")
    assert int(start) < int(number)
    for kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
        position = iterator(kinesis, stream, 0, kind, StartingSequenceNumber=start)
        assert bodies(drain(kinesis, position)) == [b"1"]


def test_an_iterator_expires(special_hub: Callable[..., KinesisHub]) -> None:
    hub = special_hub()
    client = hub.client()
    client.create_stream(StreamName="s", ShardCount=1)
    position = iterator(client, "s")
    hub.clock.jump(299)
    following = client.get_records(ShardIterator=position)["NextShardIterator"]
    hub.clock.jump(2)
    with pytest.raises(client.exceptions.ExpiredIteratorException) as caught:
        client.get_records(ShardIterator=position)
    message = caught.value.response["Error"]["Message"]
    assert message.startswith("Iterator expired. The iterator was created at time ")
    assert message.endswith(
        "which is further in the future than the tolerated delay of 300000 milliseconds."
    )
    assert client.get_records(ShardIterator=following)["Records"] == []


def test_iterators_that_are_refused(hub: KinesisHub, kinesis: Any, stream: str) -> None:
    (number,) = put(kinesis, stream, b"1")
    rules = (
        "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and "
        "StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. "
    )
    with refused(
        "InvalidArgumentException",
        f"{rules}Request specified AT_SEQUENCE_NUMBER and no StartingSequenceNumber.",
    ):
        iterator(kinesis, stream, 0, "AT_SEQUENCE_NUMBER")
    with refused(
        "InvalidArgumentException",
        f"{rules}Request specified LATEST and also a StartingSequenceNumber.",
    ):
        iterator(kinesis, stream, 0, "LATEST", StartingSequenceNumber=number)
    with refused("InvalidArgumentException") as _:
        iterator(kinesis, stream, 0, "AT_TIMESTAMP")
    now = hub.clock.now()
    with refused("InvalidArgumentException"):
        iterator(kinesis, stream, 0, "AT_TIMESTAMP", Timestamp=now / 1000 + 60)
    used = (
        f"used in GetShardIterator on shard shardId-000000000000 in stream {stream} under account"
    )
    never = f"{2 << 184 | 4}"
    with refused(
        "InvalidArgumentException", f"StartingSequenceNumber {never} {used} {ACCOUNT} is invalid."
    ):
        iterator(kinesis, stream, 0, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=never)
    with refused(
        "InvalidArgumentException",
        "Invalid StartingSequenceNumber. It encodes shardId-000000000005, while it was used in a "
        "call to a shard with shardId-000000000000",
    ):
        iterator(kinesis, stream, 0, "AT_SEQUENCE_NUMBER", StartingSequenceNumber="5")
    future = str(int(number) + (1 << 80))
    for elsewhere, spelled in ((future, future), ("0", str(1 << 124))):
        with refused(
            "InvalidArgumentException",
            f"StartingSequenceNumber {spelled} {used} {ACCOUNT} is invalid because it did not come "
            "from this stream.",
        ):
            iterator(kinesis, stream, 0, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=elsewhere)
    with refused("InvalidArgumentException", "Invalid ShardIterator."):
        kinesis.get_records(ShardIterator="nonsense")
    with refused(
        "ResourceNotFoundException",
        f"Shard shardId-000000000005 in stream {stream} under account {ACCOUNT} does not exist",
    ):
        iterator(kinesis, stream, 5)
    with refused(
        "ResourceNotFoundException",
        f"Could not find shard x in stream {stream} under account {ACCOUNT}.",
    ):
        kinesis.get_shard_iterator(StreamName=stream, ShardId="x", ShardIteratorType="LATEST")


def test_a_sequence_number_of_another_shard(kinesis: Any, name: str) -> None:
    kinesis.create_stream(StreamName=name, ShardCount=2)
    answer = kinesis.put_record(
        StreamName=name, Data=b"", PartitionKey="k", ExplicitHashKey=str(2**128 - 1)
    )
    with refused(
        "InvalidArgumentException",
        "Invalid StartingSequenceNumber. It encodes shardId-000000000001, while it was used in a "
        "call to a shard with shardId-000000000000",
    ):
        iterator(
            kinesis, name, 0, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=answer["SequenceNumber"]
        )


def test_an_iterator_of_a_stream_that_is_gone(kinesis: Any, stream: str) -> None:
    position = iterator(kinesis, stream)
    kinesis.delete_stream(StreamName=stream)
    with refused(
        "ResourceNotFoundException",
        f"Shard shardId-000000000000 in stream {stream} under account {ACCOUNT} does not exist",
    ):
        kinesis.get_records(ShardIterator=position)
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    put(kinesis, stream, b"new")
    found = kinesis.get_records(ShardIterator=position)
    assert bodies(found["Records"]) == [b"new"], "all that is there now came later"


def test_an_iterator_of_a_shard_that_is_not_there_again(kinesis: Any, name: str) -> None:
    kinesis.create_stream(StreamName=name, ShardCount=2)
    position = iterator(kinesis, name, 1)
    kinesis.delete_stream(StreamName=name)
    kinesis.create_stream(StreamName=name, ShardCount=1)
    with refused(
        "ResourceNotFoundException",
        f"Shard shardId-000000000001 in stream {name} under account {ACCOUNT} does not exist",
    ):
        kinesis.get_records(ShardIterator=position)


# Reading


def test_a_reader_learns_how_far_behind_it_is(hub: KinesisHub, kinesis: Any, stream: str) -> None:
    put(kinesis, stream, b"1", b"2")
    hub.clock.jump(20)
    put(kinesis, stream, b"3")
    first = kinesis.get_records(ShardIterator=iterator(kinesis, stream), Limit=1)
    assert bodies(first["Records"]) == [b"1"]
    assert 20_000 <= first["MillisBehindLatest"] < 30_000
    rest = kinesis.get_records(ShardIterator=first["NextShardIterator"])
    assert bodies(rest["Records"]) == [b"2", b"3"]
    assert rest["MillisBehindLatest"] == 0


def test_a_read_gives_at_most_ten_megabytes(kinesis: Any, stream: str) -> None:
    half = bytes(2**19)
    put(kinesis, stream, *[half] * 22)
    first = kinesis.get_records(ShardIterator=iterator(kinesis, stream))
    assert len(first["Records"]) == 19  # the partition keys count, too
    assert first["MillisBehindLatest"] > 0
    rest = kinesis.get_records(ShardIterator=first["NextShardIterator"])
    assert len(rest["Records"]) == 3


def test_a_read_gives_at_most_ten_thousand_records(kinesis: Any, stream: str) -> None:
    batch = [{"Data": b"x", "PartitionKey": "k"}] * 500
    for _ in range(21):
        kinesis.put_records(StreamName=stream, Records=batch)
    first = kinesis.get_records(ShardIterator=iterator(kinesis, stream))
    assert len(first["Records"]) == 10_000
    assert len(drain(kinesis, first["NextShardIterator"])) == 500
    with refused("ValidationException"):
        kinesis.get_records(ShardIterator=iterator(kinesis, stream), Limit=10_001)


def test_nothing_is_read_past_its_retention(special_hub: Callable[..., KinesisHub]) -> None:
    hub = special_hub()
    client = hub.client()
    client.create_stream(StreamName="s", ShardCount=1)
    (old,) = put(client, "s", b"old")
    hub.clock.jump(3600)
    put(client, "s", b"new")
    hub.clock.jump(23.5 * 3600)
    assert bodies(drain(client, iterator(client, "s"))) == [b"new"]
    position = iterator(client, "s", 0, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=old)
    assert bodies(drain(client, position)) == [b"new"]
    hub.clock.jump(3600)
    assert drain(client, iterator(client, "s")) == []


def test_dry_runs_change_nothing(kinesis: Any, stream: str) -> None:
    message = "The request was rejected because the DryRun parameter was specified."
    with refused("DryRunOperationException", message):
        kinesis.put_record(StreamName=stream, Data=b"x", PartitionKey="k", DryRun=True)
    with refused("DryRunOperationException", message):
        kinesis.put_records(
            StreamName=stream, Records=[{"Data": b"x", "PartitionKey": "k"}], DryRun=True
        )
    with refused("DryRunOperationException", message):
        iterator(kinesis, stream, DryRun=True)
    with refused("DryRunOperationException", message):
        kinesis.get_records(ShardIterator=iterator(kinesis, stream), DryRun=True)
    assert drain(kinesis, iterator(kinesis, stream)) == []


# Throttling


def test_a_shard_takes_only_so_much(special_hub: Callable[..., KinesisHub]) -> None:
    hub = special_hub(throttle=True)
    client = hub.client()
    client.create_stream(StreamName="s", ShardCount=2)
    rate = "Rate exceeded for shard shardId-000000000000 in stream s under account 000000000000."
    half = {"Data": bytes(2**19 - 1), "PartitionKey": "k", "ExplicitHashKey": "0"}
    other = {"Data": b"x", "PartitionKey": "k", "ExplicitHashKey": str(2**127)}
    answer = client.put_records(StreamName="s", Records=[half, half, half, other])
    assert answer["FailedRecordCount"] == 1
    one, two, three, four = answer["Records"]
    assert "SequenceNumber" in one
    assert "SequenceNumber" in two
    assert three == {
        "ErrorCode": "ProvisionedThroughputExceededException",
        "ErrorMessage": rate,
    }
    assert four["ShardId"] == "shardId-000000000001"
    with refused("ProvisionedThroughputExceededException", rate):
        client.put_record(StreamName="s", **half)
    assert len(drain(client, iterator(client, "s"))) == 2
    hub.clock.jump(1)
    assert client.put_record(StreamName="s", **half)


def test_a_shard_is_read_only_so_often(special_hub: Callable[..., KinesisHub]) -> None:
    hub = special_hub(throttle=True)
    client = hub.client()
    client.create_stream(StreamName="s", ShardCount=1)
    position = iterator(client, "s")

    def read_often() -> None:
        for _ in range(50):
            client.get_records(ShardIterator=position)

    with pytest.raises(client.exceptions.ProvisionedThroughputExceededException):
        read_often()
    hub.clock.jump(1)
    assert client.get_records(ShardIterator=position)
