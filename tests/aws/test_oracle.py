"""botocore, the client every user has, against our codecs: what it writes we read, and back."""

import calendar
import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

import botocore.loaders
import botocore.model
import botocore.parsers
import botocore.serialize
import cbor2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubbub_aws.errors import AwsError
from hubbub_aws.messages import Request
from hubbub_aws.models import load_model
from hubbub_aws.protocols import Params
from hubbub_aws.routing import Router
from hubbub_aws.services import ProtocolName, Service
from hubbub_sqs.query_shapes import query_shapes

QUICK = settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
# What XML 1.0 can hold; a line's end arrives as it was sent because it is escaped.
XML_TEXT = st.text(
    st.characters(
        codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"], include_characters="\t\n\r<>&\"'"
    ),
    max_size=12,
)


@cache
def operations(service: str) -> list[str]:
    return sorted(load_model(service).operation_names)


@cache
def client_model(service: str, *, in_query: bool = False) -> botocore.model.ServiceModel:
    """botocore's own view of a service; for SQS in Query, of the model with our names."""
    if in_query:
        document = dict(load_model(service).in_query(query_shapes())._document)
        document["metadata"] = {**document["metadata"], "protocol": "query"}
        return botocore.model.ServiceModel(document, service)
    loader = botocore.loaders.Loader()
    return botocore.model.ServiceModel(loader.load_service_model(service, "service-2"), service)


def values(
    shape: Any, text: st.SearchStrategy[str], *, filled: bool = False, depth: int = 0
) -> st.SearchStrategy[Any]:
    """Values of a shape. ``filled``: no empty structures and maps, which Query cannot write."""
    kind = shape.type_name
    if kind == "structure":
        return structures(shape, text, filled=filled, depth=depth)
    least = 1 if filled and kind == "map" else 0
    if kind == "list":
        member = values(shape.member, text, filled=filled, depth=depth + 1)
        return st.lists(member, max_size=3)
    if kind == "map":
        key = text if shape.key.type_name == "string" else st.just("key")
        value = values(shape.value, text, filled=filled, depth=depth + 1)
        return st.dictionaries(key, value, min_size=least, max_size=3)
    return {
        "blob": st.binary(max_size=20),
        "boolean": st.booleans(),
        "double": st.floats(allow_nan=False),
        "float": st.floats(allow_nan=False, width=32),
        "integer": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**63), 2**63 - 1),
        "string": text,
        "timestamp": st.integers(0, 4_000_000_000_000).map(
            lambda milliseconds: milliseconds / 1000
        ),
    }[kind]


def structures(
    shape: Any, text: st.SearchStrategy[str], *, filled: bool, depth: int
) -> st.SearchStrategy[Params]:
    members = {
        name: values(member, text, filled=filled, depth=depth + 1)
        for name, member in shape.members.items()
        if not member.serialization.get("eventstream") and depth < 8
    }
    if getattr(shape, "is_tagged_union", False):
        return st.one_of([st.fixed_dictionaries({name: each}) for name, each in members.items()])
    if filled and depth and members:
        return st.fixed_dictionaries(members)
    return st.fixed_dictionaries({}, optional=members)


def convert(shape: Any, value: Any, timestamp: Callable[[float], Any]) -> Any:
    """The value with its timestamps converted."""
    kind = shape.type_name
    if kind == "structure":
        return {name: convert(shape.members[name], each, timestamp) for name, each in value.items()}
    if kind == "list":
        return [convert(shape.member, each, timestamp) for each in value]
    if kind == "map":
        return {key: convert(shape.value, each, timestamp) for key, each in value.items()}
    return timestamp(value) if kind == "timestamp" else value


def as_datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def in_milliseconds(moment: datetime | float) -> float:
    if isinstance(moment, datetime):
        seconds = calendar.timegm(moment.utctimetuple())
        return round(seconds * 1000 + moment.microsecond / 1000) / 1000
    return round(moment, 3)


def without_empty(shape: Any, value: Any) -> Any:
    """A value without what flattened lists and maps leave no trace of when empty."""
    kind = shape.type_name
    if kind == "structure":
        result = {}
        for name, each in value.items():
            member = shape.members[name]
            if not (member.serialization.get("flattened") and not each):
                result[name] = without_empty(member, each)
        return result
    if kind == "list":
        return [without_empty(shape.member, each) for each in value]
    if kind == "map":
        return {key: without_empty(shape.value, each) for key, each in value.items()}
    return value


def wire_request(model: Any, protocol: str, operation: str, params: Params) -> Request:
    """The request as botocore sends it."""
    shape = model.operation_model(operation).input_shape
    written = convert(shape, params, as_datetime) if shape is not None else {}
    serializer = botocore.serialize.create_serializer(protocol, include_validation=False)
    wire = serializer.serialize_to_request(written, model.operation_model(operation))
    body = wire["body"]
    if isinstance(body, dict):
        body = urlencode(body).encode()
    headers = [(name.encode(), value.encode()) for name, value in wire["headers"].items()]
    return Request.from_wire(wire["method"].encode(), wire["url_path"].encode(), headers, body)


def check_request(service: Service, model: Any, protocol: str, operation: str, data: Any) -> None:
    shape = model.operation_model(operation).input_shape
    if shape is None:
        params: Params = {}
    else:
        params = data.draw(values(shape, TEXT, filled=protocol == "query"))
    request = wire_request(model, protocol, operation, params)
    call = Router([service]).route(request)
    assert (call.service, call.operation) == (service, operation)
    parsed = call.params()
    if shape is not None:
        assert convert(shape, parsed, in_milliseconds) == params
    check_mutations(service, request, data)


def check_mutations(service: Service, request: Request, data: Any) -> None:
    """Whatever the bytes, a request is either read or answered with an AWS error."""
    body = bytearray(request.body)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    changed = Request(request.method, request.path, request.query, request.headers, bytes(body))
    call = Router([service]).route(changed)
    try:
        call.params()
    except AwsError as error:
        response = call.refuse(error, "some-id")
    else:
        return
    assert response.status >= 400


def check_response(
    service: Service, model: Any, name: ProtocolName, operation: str, data: Any
) -> None:
    protocol = "query" if name is ProtocolName.QUERY else "json"
    shape = model.operation_model(operation).output_shape
    text = XML_TEXT if protocol == "query" else TEXT
    result = {} if shape is None else data.draw(values(shape, text))
    binding = service.binding(name, operation)
    assert binding is not None
    response = service.answer(name, binding, result, "the-request-id")
    headers = {key.lower(): value for key, value in response.headers}
    parser = botocore.parsers.create_parser(protocol)
    raw = {"body": response.body, "headers": headers, "status_code": response.status}
    if shape is not None and shape.event_stream_name:
        return
    parsed = parser.parse(raw, shape)
    metadata = parsed.pop("ResponseMetadata")
    assert metadata["RequestId"] == "the-request-id"
    if shape is not None:
        expected = without_empty(shape, result) if protocol == "query" else result
        assert convert(shape, parsed, in_milliseconds) == expected


@pytest.mark.parametrize("operation", operations("sqs"))
@QUICK
@given(data=st.data())
def test_sqs_json(sqs: Service, operation: str, data: st.DataObject) -> None:
    model = client_model("sqs")
    check_request(sqs, model, "json", operation, data)
    check_response(sqs, model, ProtocolName.JSON_1_0, operation, data)


@pytest.mark.parametrize("operation", operations("sqs"))
@QUICK
@given(data=st.data())
def test_sqs_query(sqs: Service, operation: str, data: st.DataObject) -> None:
    model = client_model("sqs", in_query=True)
    check_request(sqs, model, "query", operation, data)
    check_response(sqs, model, ProtocolName.QUERY, operation, data)


@pytest.mark.parametrize("operation", operations("sns"))
@QUICK
@given(data=st.data())
def test_sns_query(sns: Service, operation: str, data: st.DataObject) -> None:
    model = client_model("sns")
    check_request(sns, model, "query", operation, data)
    check_response(sns, model, ProtocolName.QUERY, operation, data)


@pytest.mark.parametrize("operation", operations("kinesis"))
@QUICK
@given(data=st.data())
def test_kinesis_json(kinesis: Service, operation: str, data: st.DataObject) -> None:
    model = client_model("kinesis")
    check_request(kinesis, model, "json", operation, data)
    check_response(kinesis, model, ProtocolName.JSON_1_1, operation, data)


@pytest.mark.parametrize("operation", operations("kinesis"))
@QUICK
@given(data=st.data())
def test_kinesis_cbor(kinesis: Service, operation: str, data: st.DataObject) -> None:
    """The Java SDK's protocol: as JSON, but CBOR, and timestamps in milliseconds under tag 1."""
    model = client_model("kinesis")
    shape = model.operation_model(operation).input_shape
    params = {} if shape is None else data.draw(values(shape, TEXT))
    tagged = {} if shape is None else convert(shape, params, _tag_milliseconds)
    headers = [
        (b"X-Amz-Target", f"Kinesis_20131202.{operation}".encode()),
        (b"Content-Type", b"application/x-amz-cbor-1.1"),
    ]
    request = Request.from_wire(b"POST", b"/", headers, cbor2.dumps(tagged))
    call = Router([kinesis]).route(request)
    assert call.params() == params
    check_mutations(kinesis, request, data)

    shape = model.operation_model(operation).output_shape
    if shape is None or shape.event_stream_name:
        return
    result = data.draw(values(shape, TEXT))
    response = call.answer(result, "the-request-id")
    parser_class: Any = botocore.parsers.PROTOCOL_PARSERS["smithy-rpc-v2-cbor"]
    parser = parser_class(timestamp_parser=lambda milliseconds: milliseconds / 1000)
    raw = {"body": response.body, "headers": {"smithy-protocol": "rpc-v2-cbor"}}
    parsed = parser.parse({**raw, "status_code": 200}, shape)
    parsed.pop("ResponseMetadata")
    assert parsed == result


def _tag_milliseconds(seconds: float) -> cbor2.CBORTag:
    return cbor2.CBORTag(1, round(seconds * 1000))


@pytest.mark.parametrize("operation", operations("cloudwatch"))
@QUICK
@given(data=st.data())
def test_cloudwatch_rpc_cbor(cloudwatch: Service, operation: str, data: st.DataObject) -> None:
    model = client_model("cloudwatch")
    name = "smithy-rpc-v2-cbor"
    check_request(cloudwatch, model, name, operation, data)
    shape = model.operation_model(operation).output_shape
    if shape is None:
        return
    result = data.draw(values(shape, TEXT))
    binding = cloudwatch.binding(ProtocolName.RPC_CBOR, operation)
    assert binding is not None
    response = cloudwatch.answer(ProtocolName.RPC_CBOR, binding, result, "the-request-id")
    headers = {key.lower(): value for key, value in response.headers}
    raw = {"body": response.body, "headers": headers, "status_code": 200}
    parsed = botocore.parsers.create_parser(name).parse(raw, shape)
    assert parsed.pop("ResponseMetadata")["RequestId"] == "the-request-id"
    assert convert(shape, parsed, in_milliseconds) == result


@pytest.mark.parametrize("operation", operations("sqs"))
@QUICK
@given(data=st.data())
def test_the_quick_and_the_thorough_reading_of_json_agree(
    sqs: Service, operation: str, data: st.DataObject
) -> None:
    shape: Any = client_model("sqs").operation_model(operation).input_shape
    params = data.draw(values(shape, TEXT))
    request = wire_request(client_model("sqs"), "json", operation, params)
    binding = sqs.binding(ProtocolName.JSON_1_0, operation)
    assert binding is not None
    document = json.loads(request.body)
    # Null is nothing that the quick way accepts, and means absent in the thorough one.
    nulls = {name: None for name in shape.members if name not in document}
    if nulls:
        assert binding.parse(json.dumps({**nulls, **document}).encode()) == params
    assert binding.parse(request.body) == params
