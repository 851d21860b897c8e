"""The AWS SDK for JavaScript v3 by its endpoint alone."""

import hashlib
import struct
from typing import Any

import pytest

from hubbub.testing import HubProcess
from tests.programs import JavaScript


@pytest.fixture
def tell(javascript: JavaScript, hub: HubProcess, name: str) -> Any:
    """Run one story of the script."""
    return lambda story: javascript.run("sqs", endpoint=hub.url("SQS"), story=story, name=name)


def md5_of_attributes(**attributes: tuple[str, str | bytes]) -> str:
    """The digest that AWS documents, worked out here once more.

    Source: Amazon SQS Developer Guide, "Calculating the MD5 message digest for message attributes".
    """
    digest = hashlib.md5(usedforsecurity=False)
    for name, (kind, value) in sorted(attributes.items()):
        raw = value.encode() if isinstance(value, str) else value
        for part in (name.encode(), kind.encode()):
            digest.update(struct.pack(">I", len(part)) + part)
        digest.update(b"\x02" if isinstance(value, bytes) else b"\x01")
        digest.update(struct.pack(">I", len(raw)) + raw)
    return digest.hexdigest()


def test_a_message_and_its_attributes(tell: Any) -> None:
    md5 = md5_of_attributes(
        text=("String", "wörld"), number=("Number.int", "42"), bytes=("Binary", b"\0\xff")
    )
    assert tell("standard") == {
        "sameId": True,
        "body": "hällo ☃",
        "sentMd5": md5,
        "receivedMd5": md5,
        "systemMd5": md5_of_attributes(AWSTraceHeader=("String", "Root=1-2-3")),
        "text": {"DataType": "String", "StringValue": "wörld"},
        "number": {"DataType": "Number.int", "StringValue": "42"},
        "bytes": [0, 255],
        "trace": "Root=1-2-3",
        "counts": ["1", "2"],
        "left": [],
    }


def test_batches(tell: Any) -> None:
    accepted = [number for number in range(10) if number != 3]
    assert tell("batches") == {
        "sent": [f"e{number}" for number in accepted],
        "failed": [["e3", "InvalidParameterValue", True]],
        "bodies": [f"body {number}" for number in accepted],
        "changed": 9,
        "deleted": 9,
        "left": {
            "ApproximateNumberOfMessages": "0",
            "ApproximateNumberOfMessagesNotVisible": "0",
        },
    }


def test_fifo(tell: Any) -> None:
    assert tell("fifo") == {
        "duplicate": True,
        "head": "a1",
        "others": ["b1"],
        "next": "a2",
        "group": "a",
        "ordered": True,
    }


def test_queues(tell: Any, name: str) -> None:
    assert tell("queues") == {
        "visibility": "7",
        "arn": True,
        "tags": {"team": "hübbub"},
        "pages": [[f"{name}-1", f"{name}-2"], [f"{name}-3"]],
        "purged": [],
    }


def test_errors_are_the_classes_of_the_sdk(tell: Any) -> None:
    assert tell("errors") == {
        "queue": [True, "QueueDoesNotExist", 400, True],
        "handle": [True, "ReceiptHandleIsInvalid", 404, True],
        "batch": [True, "TooManyEntriesInBatchRequest", 400, True],
    }
