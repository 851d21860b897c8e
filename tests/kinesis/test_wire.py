"""What goes over the wire: JSON and CBOR, errors word for word."""

import base64
import json
from typing import Any

import cbor2
import pytest

from .conftest import ACCOUNT, KinesisHub

CBOR = "application/x-amz-cbor-1.1"


def refuse(hub: KinesisHub, action: str, params: Any) -> Any:
    answer = hub.post(action, json.dumps(params).encode())
    assert answer.status_code == 400
    return answer.json()


def test_json(hub: KinesisHub, stream: str) -> None:
    data = base64.b64encode(b"\x00\xff").decode()
    request = {"StreamName": stream, "Data": data, "PartitionKey": "k"}
    put = hub.post("PutRecord", json.dumps(request).encode())
    assert put.headers["content-type"] == "application/x-amz-json-1.1"
    assert put.headers["x-amzn-requestid"]
    assert len(put.headers["x-amz-id-2"]) == 96
    request = {
        "StreamName": stream, "ShardId": "shardId-000000000000",
        "ShardIteratorType": "TRIM_HORIZON",
    }  # fmt: skip
    position = hub.post("GetShardIterator", json.dumps(request).encode()).json()
    found = hub.post("GetRecords", json.dumps(position).encode()).json()
    (record,) = found["Records"]
    assert list(record) == [
        "SequenceNumber", "ApproximateArrivalTimestamp", "Data", "PartitionKey",
    ]  # fmt: skip
    assert record["Data"] == data
    assert type(record["ApproximateArrivalTimestamp"]) is float
    assert set(found) == {"Records", "NextShardIterator", "MillisBehindLatest"}


def test_cbor(hub: KinesisHub, stream: str) -> None:
    def call(action: str, params: Any) -> Any:
        answer = hub.post(action, cbor2.dumps(params), CBOR)
        assert answer.status_code == 200, answer.content
        assert answer.headers["content-type"] == CBOR
        # The older protocol has milliseconds where cbor2 expects seconds.
        return cbor2.loads(answer.content, semantic_decoders={1: lambda value, _: value})

    entries = [{"Data": b"\x00\xff", "PartitionKey": "k"}]
    put = call("PutRecords", {"StreamName": stream, "Records": entries})
    assert put["FailedRecordCount"] == 0
    position = call(
        "GetShardIterator",
        {"StreamName": stream, "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"},
    )
    (record,) = call("GetRecords", position)["Records"]
    assert record["Data"] == b"\x00\xff"
    assert record["SequenceNumber"] == put["Records"][0]["SequenceNumber"]
    assert abs(record["ApproximateArrivalTimestamp"] - hub.clock.now()) < 60_000


def test_errors_in_cbor_are_cbor(hub: KinesisHub) -> None:
    answer = hub.post("DescribeStream", cbor2.dumps({"StreamName": "nowhere"}), CBOR)
    assert answer.status_code == 400
    assert cbor2.loads(answer.content) == {
        "__type": "ResourceNotFoundException",
        "message": "Stream nowhere under account 000000000000 not found.",
    }


NULL = "failed to satisfy constraint: Member must not be null"
EMPTY = "failed to satisfy constraint: Member must have length greater than or equal to 1"
PATTERN = (
    "failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
)


@pytest.mark.parametrize(
    ("action", "params", "problems"),
    [
        ("PutRecord", {}, [f"Value null at 'data' {NULL}", f"Value null at 'partitionKey' {NULL}"]),
        ("PutRecords", {"StreamName": "s"}, [f"Value null at 'records' {NULL}"]),
        (
            "PutRecords",
            {"StreamName": "s", "Records": []},
            [f"Value at 'records' {EMPTY}"],
        ),
        (
            "PutRecords",
            {"StreamName": "s", "Records": [{"Data": "", "PartitionKey": ""}]},
            [f"Value '' at 'records.1.member.partitionKey' {EMPTY}"],
        ),
        (
            "PutRecords",
            {"StreamName": "s", "Records": [{"Data": "", "PartitionKey": "x" * 257}]},
            [
                (
                    f"Value '{'x' * 257}' at 'records.1.member.partitionKey' failed to satisfy "
                    "constraint: Member must have length less than or equal to 256"
                )
            ],
        ),
        (
            "PutRecords",
            {"StreamName": "ä", "Records": [{"Data": "", "PartitionKey": "k"}]},
            [f"Value 'ä' at 'streamName' {PATTERN}"],
        ),
        (
            "CreateStream",
            {"StreamModeDetails": {"StreamMode": "PROVISIONED"}},
            [f"Value null at 'streamName' {NULL}", f"Value null at 'shardCount' {NULL}"],
        ),
        (
            "CreateStream",
            {"StreamModeDetails": {"StreamMode": "ON_DEMAND"}},
            [f"Value null at 'streamName' {NULL}"],
        ),
        (
            "GetRecords",
            {"ShardIterator": "x", "Limit": 2**31},
            [
                (
                    f"Value '{2**31 - 1}' at 'limit' failed to satisfy constraint: Member must "
                    "have value less than or equal to 10000"
                )
            ],
        ),
        (
            "PutRecord",
            {"StreamName": "s", "PartitionKey": "p", "Data": "", "ExplicitHashKey": "a"},
            [
                (
                    "Value 'a' at 'explicitHashKey' failed to satisfy constraint: Member must "
                    r"satisfy regular expression pattern: 0|([1-9]\d{0,38})"
                )
            ],
        ),
        ("CreateStream", {}, [f"Value null at 'streamName' {NULL}"]),
        (
            "CreateStream",
            {"StreamName": "", "ShardCount": 0},
            [
                f"Value '' at 'streamName' {PATTERN}",
                f"Value '' at 'streamName' {EMPTY}",
                (
                    "Value '0' at 'shardCount' failed to satisfy constraint: Member must have "
                    "value greater than or equal to 1"
                ),
            ],
        ),
        ("GetRecords", {}, [f"Value null at 'shardIterator' {NULL}"]),
    ],
)
def test_validation_errors(hub: KinesisHub, action: str, params: Any, problems: list[str]) -> None:
    error = refuse(hub, action, params)
    assert error["__type"] == "ValidationException"
    count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
    assert error["message"].startswith(count)
    assert sorted(error["message"].removeprefix(count).split("; ")) == sorted(problems)


NUMBER = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber"


@pytest.mark.parametrize(
    ("action", "params", "message"),
    [
        ("DescribeStream", {"StreamName": 5}, f"{NUMBER} can not be converted to an String"),
        (
            "DescribeStream",
            {"StreamName": True},
            "class java.lang.Boolean can not be converted to an String",
        ),
        (
            "DescribeStream",
            {"Limit": "1"},
            "class java.lang.String can not be converted to an Integer",
        ),
        ("PutRecord", {"Data": 1}, f"{NUMBER} can not be converted to a Blob"),
        (
            "GetShardIterator",
            {"Timestamp": True},
            "class java.lang.Boolean can not be converted to milliseconds since epoch",
        ),
        (
            "DeleteStream",
            {"EnforceConsumerDeletion": "maybe"},
            "'MAYBE' can not be converted to an Boolean",
        ),
        (
            "DescribeStream",
            {"StreamName": {}},
            "Start of structure or map found where not expected.",
        ),
        ("DescribeStream", {"StreamName": []}, "Start of list found where not expected"),
        ("AddTagsToStream", {"Tags": 1}, "Expected map or null"),
        ("RemoveTagsFromStream", {"TagKeys": 1}, "Expected list or null"),
        (
            "PutRecord",
            {"Data": "A"},
            (
                "'A' can not be converted to a Blob: Base64 encoded length is expected a multiple "
                "of 4 bytes but found: 1"
            ),
        ),
        (
            "PutRecord",
            {"Data": "!AAA"},
            "'!AAA' can not be converted to a Blob: Invalid Base64 character: '!'",
        ),
    ],
)
def test_a_value_of_the_wrong_type(hub: KinesisHub, action: str, params: Any, message: str) -> None:
    error = refuse(hub, action, params)
    assert error == {"__type": "SerializationException", "Message": message}


def test_a_shard_of_no_stream(hub: KinesisHub) -> None:
    error = refuse(
        hub,
        "GetShardIterator",
        {"StreamName": "nope", "ShardId": "shardId-7", "ShardIteratorType": "LATEST"},
    )
    assert error["__type"] == "ResourceNotFoundException"
    assert error["message"] == (
        f"Shard shardId-000000000007 in stream nope under account {ACCOUNT} does not exist"
    )


def test_tags_to_remove_are_checked(hub: KinesisHub, kinesis: Any, stream: str) -> None:
    for key in ("a;", "%"):
        error = refuse(hub, "RemoveTagsFromStream", {"StreamName": stream, "TagKeys": [key]})
        assert error["__type"] == "InvalidArgumentException"


def test_an_unknown_action(hub: KinesisHub) -> None:
    assert refuse(hub, "Nonsense", {})["__type"] == "UnknownOperationException"
