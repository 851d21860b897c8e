"""Event streams, against botocore's decoder."""

from collections.abc import AsyncIterator
from typing import Any

import botocore.eventstream
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub_aws import AwsError
from hubbub_aws.eventstream import MAX_PAYLOAD, encode_message
from hubbub_aws.messages import Response
from hubbub_aws.services import ProtocolName, Service

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
values = st.text(st.characters(codec="utf-8"), max_size=200)


def decode(data: bytes, size: int | None = None) -> list[Any]:
    """All messages, checked by botocore, the data given to it in pieces of `size` bytes."""
    buffer = botocore.eventstream.EventStreamBuffer()
    found = []
    step = size or max(1, len(data))
    for start in range(0, len(data), step):
        buffer.add_data(data[start : start + step])
        found += list(buffer)
    return found


@given(st.dictionaries(names, values, max_size=5), st.binary(max_size=500), st.integers(1, 50))
def test_botocore_reads_what_is_written(headers: dict[str, str], payload: bytes, size: int) -> None:
    message = encode_message(list(headers.items()), payload)
    found = decode(message * 2, size)
    assert [each.payload for each in found] == [payload] * 2
    assert [each.headers for each in found] == [headers] * 2


def test_a_changed_byte_is_seen() -> None:
    message = bytearray(encode_message([(":event-type", "Records")], b"payload"))
    message[-6] ^= 1
    with pytest.raises(botocore.eventstream.ChecksumMismatch):
        decode(bytes(message))


def test_a_payload_that_no_client_would_take_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        encode_message([], bytes(MAX_PAYLOAD + 1))


async def answered(kinesis: Service, protocol: ProtocolName, events: Any) -> list[Any]:
    binding = kinesis.binding(protocol, "SubscribeToShard")
    assert binding is not None
    response: Response = kinesis.answer(protocol, binding, {"EventStream": events}, "rid")
    assert dict(response.headers)["Content-Type"] == "application/vnd.amazon.eventstream"
    assert response.events is not None
    return decode(b"".join([part async for part in response.events]))


async def test_an_answer_begins_with_its_result_and_ends_with_an_exception(
    kinesis: Service,
) -> None:
    closed = []

    async def events() -> AsyncIterator[tuple[str, dict[str, Any]]]:
        try:
            record = {"SequenceNumber": "1", "Data": b"\x00\xff", "PartitionKey": "k"}
            yield (
                "SubscribeToShardEvent",
                {
                    "Records": [record],
                    "ContinuationSequenceNumber": "1",
                    "MillisBehindLatest": 0,
                    "ChildShards": None,
                },
            )
            raise AwsError("ResourceNotFoundException", "gone")
        finally:
            closed.append(True)

    initial, event, exception = await answered(kinesis, ProtocolName.JSON_1_1, events())
    assert initial.headers == {
        ":event-type": "initial-response",
        ":content-type": "application/x-amz-json-1.1",
        ":message-type": "event",
    }
    assert initial.payload == b"{}"
    assert event.headers[":event-type"] == "SubscribeToShardEvent"
    assert event.payload == (
        b'{"Records":[{"SequenceNumber":"1","Data":"AP8=","PartitionKey":"k"}],'
        b'"ContinuationSequenceNumber":"1","MillisBehindLatest":0}'
    )
    assert exception.headers == {
        ":exception-type": "ResourceNotFoundException",
        ":content-type": "application/x-amz-json-1.1",
        ":message-type": "exception",
    }
    assert b"gone" in exception.payload
    assert closed == [True]


async def test_events_in_cbor(kinesis: Service) -> None:
    async def events() -> AsyncIterator[tuple[str, dict[str, Any]]]:
        yield "SubscribeToShardEvent", {"Records": [], "MillisBehindLatest": 5}

    initial, event = await answered(kinesis, ProtocolName.CBOR_1_1, events())
    assert initial.payload == b"\xa0"
    assert event.headers[":content-type"] == "application/x-amz-cbor-1.1"
    assert event.payload == b"\xa2gRecords\x80rMillisBehindLatest\x05"
