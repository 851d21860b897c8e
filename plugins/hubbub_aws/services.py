"""A service: its model, the protocols it speaks, its errors, and how its answers are dressed."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from hubbub_aws.errors import AwsError, ErrorTable, ErrorTraits
from hubbub_aws.eventstream import CONTENT_TYPE, EventWriter, find_stream
from hubbub_aws.messages import Response, new_extended_request_id
from hubbub_aws.models import Operation, QueryShapes, ServiceModel
from hubbub_aws.protocols import (
    Cbor11Codec,
    Codec,
    JsonCodec,
    Parse,
    QueryCodec,
    QueryJsonCodec,
    Result,
    RpcCborCodec,
    Serialize,
)
from hubbub_aws.protocols.query import invalid_action, misplaced_action


class ProtocolName(StrEnum):
    """The protocols a request may come in."""

    JSON_1_0 = "json-1.0"
    JSON_1_1 = "json-1.1"
    QUERY = "query"
    QUERY_JSON = "query-json"
    """Query, answered in JSON."""
    CBOR_1_1 = "cbor-1.1"
    RPC_CBOR = "rpc-v2-cbor"

    @property
    def is_query(self) -> bool:
        """Whether requests are forms."""
        return self in (ProtocolName.QUERY, ProtocolName.QUERY_JSON)


@dataclass(frozen=True, slots=True)
class Binding:
    """One operation in one protocol, compiled. `events`: where its result has a stream of them."""

    operation: Operation
    parse: Parse
    serialize: Serialize
    events: EventWriter | None


class Service:
    """One AWS service as this process serves it.

    ``query`` brings back the names of a Query protocol that the model has dropped.
    ``error_namespace`` is put before error names in ``__type`` (``com.amazonaws.sqs``); without it
    they are bare. ``errors`` corrects the model's errors. ``cbor`` adds ``x-amz-cbor-1.1``, which
    models do not declare. ``classes``: errors of types name the classes of AWS's framework, as
    Kinesis does. ``extended_request_id`` adds ``x-amz-id-2`` to answers. ``hosts`` are further
    labels of host names that mean this service. ``resource_path`` is the path of the URL of one
    resource, where in Query ``root_actions``, which are for no resource, are not to be had.
    """

    def __init__(
        self,
        model: ServiceModel,
        *,
        query: QueryShapes | None = None,
        error_namespace: str = "",
        errors: Mapping[str, ErrorTraits] | None = None,
        cbor: bool = False,
        classes: bool = False,
        extended_request_id: bool = False,
        request_id_header: str = "x-amzn-RequestId",
        hosts: Collection[str] = (),
        resource_path: re.Pattern[str] | None = None,
        root_actions: Collection[str] = (),
    ) -> None:
        self.model = model
        self.name = model.signing_name
        """The service's name, as in a credential scope."""
        self.hosts = frozenset({model.endpoint_prefix, model.signing_name, *hosts})
        self.errors = ErrorTable(model, error_namespace, errors)
        self.extended_request_id = extended_request_id
        self.request_id_header = request_id_header
        self._resource_path = resource_path
        self._root_actions = frozenset(root_actions)
        self._query = query
        self._qualified = bool(error_namespace)
        self._classes = classes
        self._query_model: ServiceModel | None = None
        self._codecs: dict[ProtocolName, Codec] = {}
        self._bindings: dict[tuple[ProtocolName, str], Binding] = {}
        self.protocols = _protocols(model, query=query is not None, cbor=cbor)

    def __repr__(self) -> str:
        return f"<Service {self.model.name}>"

    def refusal(self, action: str, version: str | None, path: str) -> AwsError | None:
        """Why an action is not to be had in Query at this path, if it is not."""
        known = action in self.model.operation_names and version in (None, self.model.api_version)
        if self._resource_path is not None and self._resource_path.fullmatch(path):
            if known and action not in self._root_actions:
                return None
            return misplaced_action(action)
        return None if known else invalid_action(action, version)

    def codec(self, protocol: ProtocolName) -> Codec:
        """The codec of one of ``protocols``."""
        codec = self._codecs.get(protocol)
        if codec is None:
            codec = self._codecs[protocol] = self._make_codec(protocol)
        return codec

    def binding(self, protocol: ProtocolName, operation: str) -> Binding | None:
        """An operation in a protocol, compiled at its first use; None where there is none."""
        key = (protocol, operation)
        binding = self._bindings.get(key)
        if binding is None and protocol in self.protocols:
            if operation not in self.model.operation_names:
                return None
            found = self._model_of(protocol).operation(operation)
            codec = self.codec(protocol)
            stream = find_stream(found.output)
            writer = stream and EventWriter(codec, found, stream, self.errors)
            binding = Binding(found, codec.parser(found), codec.serializer(found), writer)
            self._bindings[key] = binding
        return binding

    def _model_of(self, protocol: ProtocolName) -> ServiceModel:
        if not protocol.is_query or self._query is None:
            return self.model
        if self._query_model is None:
            self._query_model = self.model.in_query(self._query)
        return self._query_model

    def _make_codec(self, protocol: ProtocolName) -> Codec:
        compatible = self.model.query_compatible
        if protocol is ProtocolName.QUERY:
            detail = self._query is not None and self._query.error_detail
            return QueryCodec(self._model_of(protocol).namespace, error_detail=detail)
        if protocol is ProtocolName.QUERY_JSON:
            names = {} if self._query is None else self._query.json_names
            return QueryJsonCodec(self._model_of(protocol).namespace, names)
        if protocol is ProtocolName.CBOR_1_1:
            return Cbor11Codec(query_compatible=compatible, qualified=self._qualified)
        if protocol is ProtocolName.RPC_CBOR:
            return RpcCborCodec(query_compatible=compatible)
        version = protocol.removeprefix("json-")
        return JsonCodec(
            version,
            query_compatible=compatible,
            qualified=self._qualified,
            classes=self._classes,
        )

    def answer(
        self, protocol: ProtocolName, binding: Binding, result: Result, request_id: str
    ) -> Response:
        """The response to a request that succeeded."""
        if binding.events is not None:
            headers = (*self._ids(request_id), ("Content-Type", CONTENT_TYPE))
            return Response(200, headers, b"", binding.events.write(result, request_id))
        body = binding.serialize(result, request_id)
        return Response(200, self._headers(protocol, request_id), body)

    def refuse(self, protocol: ProtocolName, error: AwsError, request_id: str) -> Response:
        """The response to a request that failed."""
        codec = self.codec(protocol)
        wire = self.errors.resolve(error)
        body = codec.error_body(wire, request_id)
        headers = self._headers(protocol, request_id) + codec.error_headers(wire)
        return Response(wire.status, headers, body)

    def _headers(self, protocol: ProtocolName, request_id: str) -> tuple[tuple[str, str], ...]:
        codec = self.codec(protocol)
        return (
            *self._ids(request_id),
            ("Content-Type", codec.content_type),
            *codec.headers(),
        )

    def _ids(self, request_id: str) -> tuple[tuple[str, str], ...]:
        own = (self.request_id_header, request_id)
        if not self.extended_request_id:
            return (own,)
        return own, ("x-amz-id-2", new_extended_request_id())


def _protocols(model: ServiceModel, *, query: bool, cbor: bool) -> frozenset[ProtocolName]:
    found = set()
    if "json" in model.protocols:
        found |= {ProtocolName.JSON_1_0, ProtocolName.JSON_1_1}
    if "query" in model.protocols or query:
        found |= {ProtocolName.QUERY, ProtocolName.QUERY_JSON}
    if "smithy-rpc-v2-cbor" in model.protocols:
        found.add(ProtocolName.RPC_CBOR)
    if cbor:
        found.add(ProtocolName.CBOR_1_1)
    return frozenset(found)
