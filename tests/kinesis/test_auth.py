"""Who may do what with a stream."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.config import Config as BotoConfig

from hubbub.config import load_config
from hubbub.config.sections import UserSettings
from hubbub.testing.hub import serve_in_thread

from .conftest import SETTINGS, refused

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/shared"
SHARD = "shardId-000000000000"
USERS = {
    "owner": [{"action": "*", "resource": "#"}, {"action": "*", "resource": "$stream/#"}],
    "writer": [{"action": "publish", "resource": "$stream/shared"}],
    "reader": [{"action": "consume", "resource": "$stream/shared"}],
}

Client = Callable[[str], Any]


@pytest.fixture(scope="module")
def client(boto_session: boto3.Session) -> Iterator[Client]:
    users = tuple(
        UserSettings.model_validate(
            {
                "name": name,
                "access_keys": [{"id": f"AKIA{name.upper()}", "secret": name}],
                "permissions": permissions,
            }
        )
        for name, permissions in USERS.items()
    )
    config = replace(load_config(settings=SETTINGS), users=users)
    with serve_in_thread(config) as served:

        def connect(name: str) -> Any:
            return boto_session.client(
                "kinesis",
                endpoint_url=served.endpoint("kinesis").url,
                region_name="us-east-1",
                aws_access_key_id=f"AKIA{name.upper()}",
                aws_secret_access_key=name,
                config=BotoConfig(retries={"max_attempts": 0}),
            )

        connect("owner").create_stream(StreamName="shared", ShardCount=1)
        yield connect


def denied(name: str, operation: str) -> Any:
    return refused(
        "AccessDeniedException",
        f"User: {name} is not authorized to perform: kinesis:{operation} on resource: {ARN}",
    )


def put(client: Any) -> None:
    client.put_record(StreamName="shared", Data=b"x", PartitionKey="k")


def read(client: Any) -> Any:
    position = client.get_shard_iterator(
        StreamName="shared", ShardId=SHARD, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    return client.get_records(ShardIterator=position)


def test_a_writer_writes_and_no_more(client: Client) -> None:
    writer = client("writer")
    put(writer)
    assert writer.describe_stream_summary(StreamName="shared")
    with denied("writer", "GetShardIterator"):
        read(writer)
    with denied("writer", "AddTagsToStream"):
        writer.add_tags_to_stream(StreamName="shared", Tags={"a": "b"})
    with denied("writer", "DeleteStream"):
        writer.delete_stream(StreamName="shared")
    with refused("AccessDeniedException"):
        writer.create_stream(StreamName="mine", ShardCount=1)
    status = {"Status": "ENABLED"}
    with refused("AccessDeniedException"):
        writer.update_account_settings(MinimumThroughputBillingCommitment=status)
    client("owner").update_account_settings(MinimumThroughputBillingCommitment=status)


def test_a_reader_reads_and_no_more(client: Client) -> None:
    reader = client("reader")
    assert "Records" in read(reader)
    with denied("reader", "PutRecord"):
        put(reader)
    consumer = client("owner").register_stream_consumer(StreamARN=ARN, ConsumerName="c")
    arn = consumer["Consumer"]["ConsumerARN"]
    position = {"Type": "TRIM_HORIZON"}
    with denied("writer", "SubscribeToShard"):
        client("writer").subscribe_to_shard(
            ConsumerARN=arn, ShardId=SHARD, StartingPosition=position
        )
    answer = reader.subscribe_to_shard(ConsumerARN=arn, ShardId=SHARD, StartingPosition=position)
    assert next(iter(answer["EventStream"]))
    answer["EventStream"].close()
    with denied("reader", "DeregisterStreamConsumer"):
        reader.deregister_stream_consumer(ConsumerARN=arn)
