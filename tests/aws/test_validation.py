import pytest

from hubbub_aws.errors import AwsError
from hubbub_aws.protocols import Params
from hubbub_aws.services import Service
from hubbub_aws.shapes import ShapeGraph
from hubbub_aws.validation import compile_validator


def problems(kinesis: Service, operation: str, params: Params) -> str | None:
    shape = kinesis.model.operation(operation).input
    assert shape is not None
    try:
        compile_validator(shape)(params)
    except AwsError as error:
        return error.message
    return None


def test_valid(kinesis: Service) -> None:
    params = {"StreamName": "s", "Data": b"", "PartitionKey": "p"}
    assert problems(kinesis, "PutRecord", params) is None


def test_missing_members(kinesis: Service) -> None:
    assert problems(kinesis, "SplitShard", {}) == (
        "2 validation errors detected: "
        "Value null at 'shardToSplit' failed to satisfy constraint: Member must not be null; "
        "Value null at 'newStartingHashKey' failed to satisfy constraint: Member must not be null"
    )


def test_empty_and_long_strings(kinesis: Service) -> None:
    params = {"StreamName": "", "PartitionKey": "p" * 257, "ExplicitHashKey": "", "Data": b""}
    hash_key = kinesis.model.shapes["HashKey"].traits["pattern"]
    assert problems(kinesis, "PutRecord", params) == (
        "4 validation errors detected: "
        "Value '' at 'streamName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; "
        "Value '' at 'streamName' failed to satisfy constraint: "
        "Member must have length greater than or equal to 1; "
        f"Value '{'p' * 257}' at 'partitionKey' failed to satisfy constraint: "
        "Member must have length less than or equal to 256; "
        "Value '' at 'explicitHashKey' failed to satisfy constraint: "
        f"Member must satisfy regular expression pattern: {hash_key}"
    )


def test_enum_and_numbers(kinesis: Service) -> None:
    params = {"ShardId": "s", "ShardIteratorType": "SOON"}
    text = problems(kinesis, "GetShardIterator", params)
    assert text is not None
    assert text.startswith(
        "1 validation error detected: Value 'SOON' at 'shardIteratorType' failed to satisfy "
        "constraint: Member must satisfy enum value set: ["
    )
    assert problems(kinesis, "GetRecords", {"ShardIterator": "i", "Limit": 10_001}) == (
        "1 validation error detected: Value '10001' at 'limit' failed to satisfy constraint: "
        "Member must have value less than or equal to 10000"
    )


def test_members_of_lists(kinesis: Service) -> None:
    params = {
        "StreamName": "s",
        "Records": [{"PartitionKey": "p", "Data": b""}, {"PartitionKey": ""}],
    }
    assert problems(kinesis, "PutRecords", params) == (
        "2 validation errors detected: "
        "Value null at 'records.2.member.data' failed to satisfy constraint: "
        "Member must not be null; "
        "Value '' at 'records.2.member.partitionKey' failed to satisfy constraint: "
        "Member must have length greater than or equal to 1"
    )


def test_keys_and_values_of_maps(kinesis: Service) -> None:
    params = {"StreamName": "s", "Tags": {"": "v" * 257}}
    text = problems(kinesis, "AddTagsToStream", params)
    assert text is not None
    assert text.startswith(f"2 validation errors detected: Value '{{={'v' * 257}}}' at 'tags'")
    assert (
        "Map keys must satisfy constraint: [Member must have length less than or equal to 128, "
        in text
    )
    assert (
        "Map value must satisfy constraint: [Member must have length less than or equal to 256, "
        in text
    )


def test_strings_of_lists(kinesis: Service) -> None:
    params = {"StreamName": "s", "TagKeys": ["fine", ""]}
    assert problems(kinesis, "RemoveTagsFromStream", params) == (
        "1 validation error detected: Value '[fine, ]' at 'tagKeys' failed to satisfy constraint: "
        "Member must satisfy constraint: [Member must have length less than or equal to 128, "
        "Member must have length greater than or equal to 1]"
    )


def test_at_most_ten_are_listed(kinesis: Service) -> None:
    params = {"StreamName": "s", "Records": [{} for _ in range(20)]}
    text = problems(kinesis, "PutRecords", params)
    assert text is not None
    assert text.startswith("10 validation errors detected: ")


def test_blobs_structures_secrets_and_shapes_that_contain_themselves() -> None:
    graph = ShapeGraph(
        {
            "Tree": {
                "type": "structure",
                "required": ["Name"],
                "members": {
                    "Name": {"shape": "Name"},
                    "Data": {"shape": "Data"},
                    "Secret": {"shape": "Secret"},
                    "Left": {"shape": "Tree"},
                    "Pair": {"shape": "Pair"},
                    "Leaves": {"shape": "Leaves"},
                },
            },
            "Leaf": {"type": "structure", "members": {"Name": {"shape": "Name"}}},
            "Leaves": {"type": "list", "member": {"shape": "Leaf"}, "max": 1},
            "Name": {"type": "string", "max": 3},
            "Data": {"type": "blob", "max": 1},
            "Secret": {"type": "string", "max": 1, "sensitive": True},
            "Pair": {"type": "list", "member": {"shape": "Tree"}, "max": 1},
        }
    )
    check = compile_validator(graph["Tree"])
    with pytest.raises(AwsError, match="ValidationException") as caught:
        check(
            {
                "Name": "n",
                "Data": b"ab",
                "Secret": "xy",
                "Left": {"Left": {"Name": "long"}, "Name": "n"},
                "Pair": [{"Name": "a"}, {"Name": "b"}],
                "Leaves": [{"Name": "a"}, {"Name": "b"}],
            }
        )
    assert str(caught.value.message).split(": ", 1)[1].split("; ") == [
        (
            "Value 'java.nio.HeapByteBuffer[pos=0 lim=2 cap=2]' at 'data' failed to satisfy "
            "constraint: Member must have length less than or equal to 1"
        ),
        (
            "Value at 'secret' failed to satisfy constraint: "
            "Member must have length less than or equal to 1"
        ),
        (
            "Value 'long' at 'left.left.name' failed to satisfy constraint: "
            "Member must have length less than or equal to 3"
        ),
        (
            "Value at 'pair' failed to satisfy constraint: "  # there may be secrets inside
            "Member must have length less than or equal to 1"
        ),
        (
            "Value '[Leaf(name=a), Leaf(name=b)]' at 'leaves' failed to satisfy constraint: "
            "Member must have length less than or equal to 1"
        ),
    ]


def test_every_operation_has_a_validator(sqs: Service, sns: Service, kinesis: Service) -> None:
    for service in (sqs, sns, kinesis):
        for name in service.model.operation_names:
            shape = service.model.operation(name).input
            if shape is not None:
                compile_validator(shape)
