"""AWS JSON 1.0 and 1.1 (Smithy ``awsJson1_0``, ``awsJson1_1``).

Most requests are decoded and type-checked in one step by msgspec. What it refuses goes the slow
way, which knows AWS's conversions and the words of its errors.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import msgspec

from hubbub_aws.errors import AwsError, WireError, malformed
from hubbub_aws.models import Operation
from hubbub_aws.protocols.base import (
    Codec,
    Params,
    Parse,
    Result,
    Serialize,
    Structure,
    error_document,
    query_error_header,
)
from hubbub_aws.protocols.tree import (
    INTEGER_BOUNDS,
    Convert,
    ParserCompiler,
    SerializerCompiler,
    WrongTypeError,
    integer_parser,
    type_error,
)
from hubbub_aws.shapes import Shape
from hubbub_aws.timestamps import format_iso_8601, format_rfc_822, in_range, parse_timestamp

_NO_BASE64 = re.compile(r"[^a-zA-Z0-9+/=]|=[^=]")
_DECODE_ERRORS = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class JsonCodec(Codec):
    """AWS JSON of one version (``1.0`` or ``1.1``).

    ``query_compatible``: errors carry ``x-amzn-query-error``. ``qualified``: ``__type`` has the
    namespace of the error before its name, as SQS sends it and Kinesis does not. ``classes``:
    errors of types name classes, and integers saturate, as in Kinesis.
    """

    def __init__(
        self,
        version: str,
        *,
        query_compatible: bool = False,
        qualified: bool = False,
        classes: bool = False,
    ) -> None:
        self.content_type = f"application/x-amz-json-{version}"
        self._query_compatible = query_compatible
        self._qualified = qualified
        self._classes = classes
        leaves: dict[str, Convert] = {"blob": parse_blob, "timestamp": parse_json_timestamp}
        if classes:
            for kind in INTEGER_BOUNDS:
                leaves[kind] = integer_parser(kind, saturates=True)
        self._parsers = ParserCompiler(leaves, dense=query_compatible)
        self._serializers = SerializerCompiler(
            {
                "float": _json_number,
                "double": _json_number,
                "timestamp": _milliseconds,
                "timestamp:iso8601": format_iso_8601,
                "timestamp:rfc822": format_rfc_822,
            }
        )

    def parser(self, operation: Operation) -> Parse:
        """Compile the reader of an operation's input, given as JSON text."""
        shape = operation.input
        if shape is None:
            return _parse_nothing
        convert = self._parsers.compile(shape)

        def parse_slowly(body: bytes) -> Params:
            try:
                document = msgspec.json.decode(body)
                params: Params = convert(document)
            except WrongTypeError as error:
                raise (error.in_classes() if self._classes else error) from None
            except _DECODE_ERRORS:
                raise malformed() from None
            return params

        fast_type = _typed(shape)
        if fast_type is None:
            return parse_slowly
        decode: Callable[[bytes], Params] = msgspec.json.Decoder(fast_type).decode

        def parse(body: bytes) -> Params:
            try:
                return decode(body)
            except msgspec.ValidationError:
                return parse_slowly(body)
            except _DECODE_ERRORS:
                raise malformed() from None

        return parse

    def serializer(self, operation: Operation) -> Serialize:
        """Compile the writer of an operation's output."""
        shape = operation.output
        if shape is None:
            return lambda _result, _request_id: b""
        convert = self._serializers.compile(shape)
        encode = msgspec.json.encode
        if convert is None:
            return lambda result, _request_id: encode(result)
        if not _is_plain(shape, set()):
            return lambda result, _request_id: encode(convert(result))

        def serialize(result: Result, _request_id: str) -> bytes:
            body = encode(result)
            if isinstance(result, Structure):
                return body
            # A None has to go. The word in a message's text only costs the longer way.
            return encode(convert(result)) if b"null" in body else body

        return serialize

    def error_body(self, error: WireError, request_id: str) -> bytes:
        """``{"__type": …, "message": …}``."""
        # Services that never spoke Query capitalise the key in this one error.
        odd = error.code == "SerializationException" and not self._query_compatible
        return msgspec.json.encode(
            error_document(
                error, qualified=self._qualified, message_key="Message" if odd else "message"
            )
        )

    def error_headers(self, error: WireError) -> tuple[tuple[str, str], ...]:
        """``x-amzn-query-error``, from services that spoke Query before."""
        return query_error_header(error) if self._query_compatible else ()


def _parse_nothing(body: bytes) -> Params:
    if body:
        try:
            document = msgspec.json.decode(body)
        except _DECODE_ERRORS:
            raise malformed() from None
        if type(document) is not dict:
            raise malformed()
    return {}


def parse_blob(value: Any) -> bytes:
    """A base64 string, checked strictly."""
    if type(value) is not str:
        raise type_error(value, "blob")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as problem:
        raise _blob_error(value, str(problem)) from None


def _blob_error(value: str, reason: str) -> AwsError:
    shown = value if len(value) <= 64 else value[:64] + "…"
    strange = _NO_BASE64.search(value)
    if len(value) % 4:
        reason = f"Base64 encoded length is expected a multiple of 4 bytes but found: {len(value)}"
    elif strange is not None:
        reason = f"Invalid Base64 character: '{strange[0][0]}'"
    return malformed(f"'{shown}' can not be converted to a Blob: {reason}")


def parse_json_timestamp(value: Any) -> float:
    """Seconds since the epoch, or one of the textual formats."""
    if type(value) is float or type(value) is int:
        if math.isfinite(value) and in_range(value):
            return value
    elif type(value) is str:
        try:
            return parse_timestamp(value)
        except (ValueError, OverflowError):
            pass
    raise type_error(value, "timestamp")


def _milliseconds(seconds: float) -> float:
    return round(seconds, 3)


def _json_number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


_FAST_LEAVES: dict[str, Any] = {
    "blob": bytes,
    "boolean": bool,
    "character": str,
    "string": str,
    **{
        kind: Annotated[int, msgspec.Meta(ge=-bound, le=bound - 1)]
        for kind, bound in INTEGER_BOUNDS.items()
    },
}


def _typed(shape: Shape) -> Any:
    """The Python type by which msgspec decodes `shape` as the slow way would, or None."""
    return _FastTypes().of(shape)


class _FastTypes:
    def __init__(self) -> None:
        self._structures: dict[str, Any] = {}

    def of(self, shape: Shape) -> Any:
        if shape.type == "structure":
            return self._structure(shape)
        if shape.type == "list":
            member = self.of(shape.member)
            return None if member is None else list[member]  # type: ignore[valid-type]
        if shape.type == "map":
            value = self.of(shape.value)
            return None if value is None else dict[str, value]  # type: ignore[valid-type]
        return _FAST_LEAVES.get(shape.type)

    def _structure(self, shape: Shape) -> Any:
        if shape.is_document:
            return None
        if shape.name not in self._structures:
            self._structures[shape.name] = None  # A shape that contains itself goes the slow way.
            types: dict[str, Any] = {}
            for name, member in shape.members.items():
                if member.location_name not in (None, name) or member.is_event_stream:
                    return None
                types[name] = self.of(member)
                if types[name] is None:
                    return None
            self._structures[shape.name] = TypedDict(shape.name, types, total=False)  # type: ignore[operator]
        return self._structures[shape.name]


def _is_plain(shape: Shape, seen: set[str]) -> bool:
    """Whether a result of this shape can be encoded as it is, apart from members that are None."""
    if shape.type == "structure":
        if shape.is_document or shape.name in seen:
            return not shape.is_document
        seen.add(shape.name)
        return all(
            member.location_name in (None, name)
            and not member.is_event_stream
            and _is_plain(member, seen)
            for name, member in shape.members.items()
        )
    if shape.type == "list":
        return _is_plain(shape.member, seen)
    if shape.type == "map":
        return _is_plain(shape.value, seen)
    if shape.type == "timestamp":
        return "timestampFormat" not in shape.traits
    return shape.type in _FAST_LEAVES
