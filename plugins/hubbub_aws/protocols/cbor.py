"""CBOR: the older ``application/x-amz-cbor-1.1`` (Kinesis, Java SDK) and Smithy RPC v2 CBOR.

They differ from each other in timestamps: the older protocol puts milliseconds under tag 1, where
RFC 8949 section 3.4.2 and Smithy say seconds.
"""

import math
from collections.abc import Mapping
from typing import Any, NoReturn

import cbor2

from hubbub_aws.errors import WireError, malformed
from hubbub_aws.models import Operation
from hubbub_aws.protocols.base import (
    Codec,
    Params,
    Parse,
    Serialize,
    error_document,
    query_error_header,
)
from hubbub_aws.protocols.tree import Convert, ParserCompiler, SerializerCompiler, type_error
from hubbub_aws.timestamps import in_range

MAX_DEPTH = 64
_EPOCH_TAG = 1
_SELF_DESCRIBED_TAG = 55799
_DECODE_ERRORS = (cbor2.CBORError, RecursionError, ValueError, TypeError, OverflowError)


def _refuse_tag(*_args: object) -> NoReturn:
    raise ValueError("tag not allowed here")


def _unwrap(value: Any, _immutable: bool) -> Any:
    return value


def _decoders() -> Mapping[int, Any]:
    """Every tag that cbor2 gives a meaning to, of which AWS's protocols have one.

    The others would make regular expressions, shared references and the like from a client's bytes.
    """
    meaningful = (0, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261)
    refused = (*meaningful, 1004, 43000)
    return {
        **dict.fromkeys(refused, _refuse_tag),
        _EPOCH_TAG: _unwrap,
        _SELF_DESCRIBED_TAG: _unwrap,
    }


class _CborCodec(Codec):
    """CBOR with timestamps in units of ``1 / scale`` seconds."""

    def __init__(self, scale: int, *, query_compatible: bool, qualified: bool) -> None:
        self._query_compatible = query_compatible
        self._qualified = qualified
        self._decoders = _decoders()
        self._parsers = ParserCompiler(
            {"blob": _parse_bytes, "timestamp": _timestamp_parser(scale)}
        )
        self._serializers = SerializerCompiler({"timestamp": _timestamp_converter(scale)})

    def decode(self, body: bytes) -> Any:
        """Decode a CBOR document. Raises `AwsError`."""
        try:
            return cbor2.loads(
                body,
                tag_hook=_refuse_tag,
                semantic_decoders=self._decoders,
                max_depth=MAX_DEPTH,
                strict_hashable_types=True,
            )
        except _DECODE_ERRORS:
            raise malformed() from None

    def parser(self, operation: Operation) -> Parse:
        """Compile the reader of an operation's input, given as CBOR."""
        shape = operation.input
        if shape is None:
            return self._parse_nothing
        convert = self._parsers.compile(shape)
        decode = self.decode

        def parse(body: bytes) -> Params:
            params: Params = convert(decode(body))
            return params

        return parse

    def _parse_nothing(self, body: bytes) -> Params:
        if body and type(self.decode(body)) is not dict:
            raise malformed()
        return {}

    def serializer(self, operation: Operation) -> Serialize:
        """Compile the writer of an operation's output."""
        shape = operation.output
        if shape is None:
            return lambda _result, _request_id: b""
        convert = self._serializers.compile(shape)
        encode = cbor2.dumps
        if convert is None:
            return lambda result, _request_id: encode(result)
        return lambda result, _request_id: encode(convert(result))

    def error_body(self, error: WireError, request_id: str) -> bytes:
        """``{"__type": …, "message": …}``, in CBOR."""
        return cbor2.dumps(error_document(error, qualified=self._qualified))

    def error_headers(self, error: WireError) -> tuple[tuple[str, str], ...]:
        """``x-amzn-query-error``, from services that spoke Query before."""
        return query_error_header(error) if self._query_compatible else ()


class Cbor11Codec(_CborCodec):
    """``application/x-amz-cbor-1.1``: the operation in ``X-Amz-Target``, the body in CBOR."""

    content_type = "application/x-amz-cbor-1.1"

    def __init__(self, *, query_compatible: bool = False, qualified: bool = False) -> None:
        super().__init__(1000, query_compatible=query_compatible, qualified=qualified)


class RpcCborCodec(_CborCodec):
    """Smithy RPC v2 CBOR: the operation in the path, ``smithy-protocol: rpc-v2-cbor``."""

    content_type = "application/cbor"

    def __init__(self, *, query_compatible: bool = False) -> None:
        super().__init__(1, query_compatible=query_compatible, qualified=True)

    def parser(self, operation: Operation) -> Parse:
        """Compile the reader of an operation's input; no body is an empty structure."""
        parse = super().parser(operation)
        return lambda body: parse(body or b"\xa0")

    def headers(self) -> tuple[tuple[str, str], ...]:
        """The protocol names itself in each answer."""
        return (("smithy-protocol", "rpc-v2-cbor"),)


def _parse_bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        raise type_error(value, "blob")
    return value


def _timestamp_parser(scale: int) -> Convert:
    def parse(value: Any) -> float:
        if type(value) is float or type(value) is int:
            try:
                seconds = value / scale if scale != 1 else value
            except OverflowError:
                seconds = math.inf
            if math.isfinite(seconds) and in_range(seconds):
                return seconds
        raise type_error(value, "timestamp")

    return parse


def _timestamp_converter(scale: int) -> Convert:
    if scale == 1:
        return lambda seconds: cbor2.CBORTag(_EPOCH_TAG, round(float(seconds), 3))
    return lambda seconds: cbor2.CBORTag(_EPOCH_TAG, round(seconds * scale))
