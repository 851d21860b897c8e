"""Registered consumers with boto3, and what is pushed to them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import EventStreamError

from .conftest import ACCOUNT, KinesisHub, bodies, refused

ARN = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/"
SHARD = "shardId-000000000000"


@pytest.fixture
def consumer(kinesis: Any, stream: str) -> str:
    """The ARN of a consumer of a stream."""
    answer = kinesis.register_stream_consumer(StreamARN=ARN + stream, ConsumerName="reader")
    return str(answer["Consumer"]["ConsumerARN"])


@contextmanager
def subscribed(
    client: Any, consumer: str, kind: str = "TRIM_HORIZON", shard: str = SHARD, **more: Any
) -> Iterator[Iterator[Any]]:
    """Subscribe; yields the events."""
    answer = client.subscribe_to_shard(
        ConsumerARN=consumer, ShardId=shard, StartingPosition={"Type": kind, **more}
    )
    events = answer["EventStream"]
    try:
        yield (event["SubscribeToShardEvent"] for event in events)
    finally:
        events.close()


def put(client: Any, stream: str, *data: bytes) -> list[str]:
    return [
        client.put_record(StreamName=stream, Data=each, PartitionKey="k")["SequenceNumber"]
        for each in data
    ]


def next_records(events: Iterator[Any]) -> Any:
    """Return the next event that has records."""
    return next(event for event in events if event["Records"])


# Registration


def test_consumers_are_registered_and_described(kinesis: Any, stream: str) -> None:
    answer = kinesis.register_stream_consumer(
        StreamARN=ARN + stream, ConsumerName="c", Tags={"a": "b"}
    )
    consumer = answer["Consumer"]
    assert consumer["ConsumerARN"].startswith(f"{ARN}{stream}/consumer/c:")
    assert consumer["ConsumerStatus"] == "ACTIVE"
    by_name = kinesis.describe_stream_consumer(StreamARN=ARN + stream, ConsumerName="c")
    by_arn = kinesis.describe_stream_consumer(ConsumerARN=consumer["ConsumerARN"])
    assert by_name["ConsumerDescription"] == by_arn["ConsumerDescription"]
    assert by_arn["ConsumerDescription"] == {**consumer, "StreamARN": ARN + stream}
    tags = kinesis.list_tags_for_resource(ResourceARN=consumer["ConsumerARN"])
    assert tags["Tags"] == [{"Key": "a", "Value": "b"}]
    with refused("ResourceInUseException"):
        kinesis.register_stream_consumer(StreamARN=ARN + stream, ConsumerName="c")
    with refused("ResourceInUseException"):
        kinesis.delete_stream(StreamName=stream)
    kinesis.deregister_stream_consumer(ConsumerARN=consumer["ConsumerARN"])
    with refused(
        "ResourceNotFoundException",
        f"Consumer c, stream {stream} under account {ACCOUNT} not found.",
    ):
        kinesis.describe_stream_consumer(StreamARN=ARN + stream, ConsumerName="c")
    with refused("InvalidArgumentException"):
        kinesis.describe_stream_consumer(ConsumerName="c")


def test_consumers_are_listed_and_limited(kinesis: Any, stream: str) -> None:
    arn = ARN + stream
    for number in range(20):
        kinesis.register_stream_consumer(StreamARN=arn, ConsumerName=f"c{number:02d}")
    with refused("LimitExceededException"):
        kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="more")
    first = kinesis.list_stream_consumers(StreamARN=arn, MaxResults=12)
    rest = kinesis.list_stream_consumers(StreamARN=arn, NextToken=first["NextToken"])
    found = [each["ConsumerName"] for each in first["Consumers"] + rest["Consumers"]]
    assert found == [f"c{number:02d}" for number in range(20)]
    assert "NextToken" not in rest
    kinesis.delete_stream(StreamName=stream, EnforceConsumerDeletion=True)


# Subscriptions


def test_records_are_pushed(kinesis: Any, stream: str, consumer: str) -> None:
    put(kinesis, stream, b"1", b"2")
    with subscribed(kinesis, consumer) as events:
        event = next(events)
        assert bodies(event["Records"]) == [b"1", b"2"]
        assert event["MillisBehindLatest"] == 0
        assert "ChildShards" not in event
        put(kinesis, stream, b"3")
        assert bodies(next_records(events)["Records"]) == [b"3"]


def test_an_empty_shard_is_told_at_once(kinesis: Any, consumer: str) -> None:
    with subscribed(kinesis, consumer, "LATEST") as events:
        event = next(events)
    assert event["Records"] == []
    assert len(event["ContinuationSequenceNumber"]) == 56


@pytest.mark.parametrize("kind", ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"])
@pytest.mark.parametrize("written", [0, 2])
def test_a_subscription_goes_on_where_another_ended(
    kinesis: Any, stream: str, consumer: str, kind: str, written: int
) -> None:
    put(kinesis, stream, *[b"old"] * written)
    with subscribed(kinesis, consumer) as events:
        number = next(events)["ContinuationSequenceNumber"]
    put(kinesis, stream, b"3", b"4")
    other = kinesis.register_stream_consumer(StreamARN=ARN + stream, ConsumerName="other")
    arn = other["Consumer"]["ConsumerARN"]
    with subscribed(kinesis, arn, kind, SequenceNumber=number) as events:
        assert bodies(next_records(events)["Records"]) == [b"3", b"4"]


def test_a_closed_shard_ends_its_subscription(kinesis: Any, stream: str, consumer: str) -> None:
    put(kinesis, stream, b"1")
    with subscribed(kinesis, consumer) as events:
        assert bodies(next(events)["Records"]) == [b"1"]
        kinesis.split_shard(StreamName=stream, ShardToSplit=SHARD, NewStartingHashKey=str(2**127))
        (last,) = events
    assert [child["ShardId"][-1] for child in last["ChildShards"]] == ["1", "2"]
    assert "ContinuationSequenceNumber" not in last


def test_only_one_subscription_at_a_time(special_hub: Callable[..., KinesisHub]) -> None:
    hub = special_hub()
    client = hub.client()
    client.create_stream(StreamName="s", ShardCount=1)
    arn = client.register_stream_consumer(StreamARN=f"{ARN}s", ConsumerName="c")["Consumer"][
        "ConsumerARN"
    ]
    with subscribed(client, arn) as first:
        next(first)
        with refused(
            "ResourceInUseException", f"Another active subscription exists for this consumer: {arn}"
        ):
            client.subscribe_to_shard(
                ConsumerARN=arn, ShardId=SHARD, StartingPosition={"Type": "LATEST"}
            )
        hub.clock.jump(6)
        with subscribed(client, arn) as second:
            next(second)
            with pytest.raises(EventStreamError, match="ResourceInUseException"):
                list(first)
            put(client, "s", b"1")
            assert bodies(next_records(second)["Records"]) == [b"1"]


def test_a_subscription_ends_with_its_client(hub: KinesisHub, kinesis: Any, consumer: str) -> None:
    with subscribed(kinesis, consumer) as events:
        next(events)
    gone = threading.Event()

    def look() -> None:
        # The server learns of it in its own time; nothing else may hold the shard then.
        while not gone.is_set():
            try:
                with subscribed(hub.client(), consumer) as again:
                    next(again)
                gone.set()
            except kinesis.exceptions.ResourceInUseException:
                continue

    thread = threading.Thread(target=look)
    thread.start()
    try:
        assert gone.wait(4)  # before another subscription may take its place
    finally:
        gone.set()
        thread.join()


def test_a_subscription_ends_with_its_consumer(kinesis: Any, consumer: str) -> None:
    with subscribed(kinesis, consumer) as events:
        next(events)
        kinesis.deregister_stream_consumer(ConsumerARN=consumer)
        assert list(events) == []
    with refused("ResourceNotFoundException"):
        kinesis.subscribe_to_shard(
            ConsumerARN=consumer, ShardId=SHARD, StartingPosition={"Type": "LATEST"}
        )


def test_a_subscription_ends_with_its_stream(kinesis: Any, stream: str, consumer: str) -> None:
    with subscribed(kinesis, consumer) as events:
        next(events)
        kinesis.delete_stream(StreamName=stream, EnforceConsumerDeletion=True)
        with pytest.raises(EventStreamError) as caught:
            list(events)
    error = caught.value.response["Error"]
    assert error["Code"] == "ResourceNotFoundException"
    assert error["Message"] == f"Stream {stream} under account {ACCOUNT} not found."


def test_large_records_are_pushed_in_several_events(
    kinesis: Any, stream: str, consumer: str
) -> None:
    large = bytes(2**19)
    put(kinesis, stream, *[large] * 5)
    sizes: list[int] = []
    with subscribed(kinesis, consumer) as events:
        while sum(sizes) < 5:
            event = next_records(events)
            sizes.append(len(event["Records"]))
            assert (event["MillisBehindLatest"] == 0) == (sum(sizes) == 5)
    assert len(sizes) > 1


def test_subscriptions_that_are_refused(kinesis: Any, stream: str, consumer: str) -> None:
    def subscribe(**position: Any) -> None:
        kinesis.subscribe_to_shard(ConsumerARN=consumer, ShardId=SHARD, StartingPosition=position)

    with refused("InvalidArgumentException"):
        subscribe(Type="AT_SEQUENCE_NUMBER")
    with refused(
        "InvalidArgumentException",
        f"StartingSequenceNumber {9 << 184} used in SubscribeToShard on shard {SHARD} in stream "
        f"{stream} under account {ACCOUNT} is invalid.",
    ):
        subscribe(Type="AT_SEQUENCE_NUMBER", SequenceNumber=f"{9 << 184}")
    with refused("ResourceNotFoundException"):
        kinesis.subscribe_to_shard(
            ConsumerARN=consumer, ShardId="shardId-9", StartingPosition={"Type": "LATEST"}
        )
    with refused("DryRunOperationException"):
        kinesis.subscribe_to_shard(
            ConsumerARN=consumer,
            ShardId=SHARD,
            StartingPosition={"Type": "LATEST"},
            DryRun=True,
        )


def test_stopping_ends_subscriptions(
    special_hub: Callable[..., KinesisHub],
) -> None:
    hub = special_hub()
    client = hub.client()
    client.create_stream(StreamName="s", ShardCount=1)
    arn = client.register_stream_consumer(StreamARN=f"{ARN}s", ConsumerName="c")["Consumer"][
        "ConsumerARN"
    ]
    with subscribed(client, arn) as events:
        next(events)
        hub.served.stop()
        assert list(events) == []
