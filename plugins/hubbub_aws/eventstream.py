"""Streams of events in answers: ``application/vnd.amazon.eventstream``.

A message is a prelude (its length, the length of its headers, the CRC-32 of both), headers, the
payload, and the CRC-32 of all before it; numbers are big-endian (Smithy specification, "Amazon
Event Stream"). In the JSON and CBOR protocols the first message is the rest of the result.
"""

import zlib
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from struct import Struct
from typing import Any

from hubbub_aws.errors import AwsError, ErrorTable
from hubbub_aws.models import Operation
from hubbub_aws.protocols import Codec, Result, Serialize, as_params
from hubbub_aws.shapes import Shape

CONTENT_TYPE = "application/vnd.amazon.eventstream"
MAX_PAYLOAD = 16 * 2**20
"""Bytes of a payload that every client takes."""

Events = AsyncIterable[tuple[str, Result]]
"""What an operation gives as the member of its result that is a stream: names and events. An
`AwsError` that it raises is sent as an exception, and ends the stream."""

_PRELUDE = Struct(">II")
_NUMBER = Struct(">I")
_STRING_LENGTH = Struct(">BH")
_STRING = 7


def encode_message(headers: Sequence[tuple[str, str]], payload: bytes) -> bytes:
    """Frame one message; all headers are strings.

    Raises:
        ValueError: the payload is too large.
    """
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"an event of {len(payload)} bytes is too large")
    parts: list[bytes] = []
    for name, value in headers:
        encoded_name, encoded_value = name.encode(), value.encode()
        parts += (
            bytes([len(encoded_name)]),
            encoded_name,
            _STRING_LENGTH.pack(_STRING, len(encoded_value)),
            encoded_value,
        )
    encoded = b"".join(parts)
    prelude = _PRELUDE.pack(len(encoded) + len(payload) + 16, len(encoded))
    body = b"".join((prelude, _NUMBER.pack(zlib.crc32(prelude)), encoded, payload))
    return body + _NUMBER.pack(zlib.crc32(body))


class EventWriter:
    """Writes the answers of one operation whose result has a stream of events, in one protocol."""

    def __init__(
        self, codec: Codec, operation: Operation, stream: tuple[str, Shape], errors: ErrorTable
    ) -> None:
        self.member, shape = stream
        self._codec = codec
        self._errors = errors
        self._initial = codec.serializer(operation)
        self._events: Mapping[str, Serialize] = {
            name: codec.serializer(Operation(name, None, event, None))
            for name, event in shape.members.items()
            if not event.traits.get("exception")
        }

    def _message(self, kind: str, name: str, payload: bytes) -> bytes:
        return encode_message(
            (
                (f":{kind}-type", name),
                (":content-type", self._codec.content_type),
                (":message-type", kind),
            ),
            payload,
        )

    def initial(self, result: Result, request_id: str) -> bytes:
        """The first message: the result without its stream."""
        return self._message("event", "initial-response", self._initial(result, request_id))

    def event(self, name: str, value: Result) -> bytes:
        """One event."""
        return self._message("event", name, self._events[name](value, ""))

    def exception(self, error: AwsError) -> bytes:
        """The message that ends a stream with an error."""
        wire = self._errors.resolve(error)
        return self._message("exception", wire.code, self._codec.error_body(wire, ""))

    async def write(self, result: Result, request_id: str) -> AsyncIterator[bytes]:
        """Give the messages of an answer, one by one, as the events come."""
        events: Any = as_params(result)[self.member]
        yield self.initial(result, request_id)
        try:
            async for name, value in events:
                yield self.event(name, value)
        except AwsError as error:
            yield self.exception(error)
        finally:
            close = getattr(events, "aclose", None)
            if close is not None:
                await close()


def find_stream(shape: Shape | None) -> tuple[str, Shape] | None:
    """Return the member of a result that is a stream of events, if one is."""
    if shape is None:
        return None
    members = shape.members.items()
    return next((each for each in members if each[1].is_event_stream), None)
