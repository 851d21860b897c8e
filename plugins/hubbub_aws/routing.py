"""Which service, protocol and operation a request means, and who sends it.

``X-Amz-Target``, the Smithy RPC path, or Action and Version come first, the credential scope
second, the host name last. Nothing here checks a signature: `hubbub_aws.sigv4` does.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from hubbub_aws.errors import AwsError, ErrorTable, unknown_operation
from hubbub_aws.messages import Request, Response
from hubbub_aws.protocols import (
    Cbor11Codec,
    Codec,
    Form,
    JsonCodec,
    Params,
    Result,
    RpcCborCodec,
    accepts_json,
    parse_form,
)
from hubbub_aws.protocols.query import BareCodec, missing_action
from hubbub_aws.services import Binding, ProtocolName, Service

DEFAULT_ACCOUNT = "000000000000"
DEFAULT_REGION = "us-east-1"

_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")
_HEADER_CREDENTIAL = re.compile(r"Credential=([^,\s]{1,512})")
_QUERY_CREDENTIAL = re.compile(r"(?:^|&)(?:X-Amz-Credential|AWSAccessKeyId)=([^&]{1,512})")
_RPC_PATH = re.compile(r"/service/([^/]{1,256})/operation/([^/]{1,256})$")
_SIGNATURE_FIELD = re.compile(r"X-Amz-", re.IGNORECASE)

_MEDIA_TYPES = {
    "application/x-amz-json-1.0": ProtocolName.JSON_1_0,
    "application/x-amz-json-1.1": ProtocolName.JSON_1_1,
    "application/x-amz-cbor-1.1": ProtocolName.CBOR_1_1,
    "application/cbor": ProtocolName.RPC_CBOR,
}
_CACHED_CREDENTIALS = 4096
_CACHED_BINDINGS = 1024
_LONGEST_HOST = 255


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sends a request, as it says itself.

    ``access_key`` and ``service`` are None where the request has no credential scope.
    """

    access_key: str | None
    account: str
    region: str
    service: str | None


@dataclass(slots=True)
class Call:
    """One request on its way: routed, then read, then answered, in the protocol it came in.

    ``service`` is None where the request names none that is served, ``operation`` is what it asks
    for, known or not. `params` raises the error to answer with where there is nothing to call;
    `refuse` gives the answer to that and to every other error.
    """

    request: Request
    identity: Identity
    service: Service | None
    protocol: ProtocolName
    operation: str
    _payload: bytes | Form
    _binding: Binding | None = None
    _refusal: AwsError | None = None
    _stranger: "_Stranger | None" = None

    def params(self) -> Params:
        """The operation's parameters. Raises `AwsError`, and nothing else."""
        if self._binding is None:
            raise self._refusal or unknown_operation()
        return self._binding.parse(self._payload)

    def answer(self, result: Result, request_id: str) -> Response:
        """The response with an operation's result."""
        if self.service is None or self._binding is None:
            raise RuntimeError("a call without an operation has no result")
        return self.service.answer(self.protocol, self._binding, result, request_id)

    def refuse(self, error: AwsError, request_id: str) -> Response:
        """The response with an error."""
        if self.service is not None and self._stranger is None:
            return self.service.refuse(self.protocol, error, request_id)
        stranger = self._stranger or _Stranger(BareCodec())
        return stranger.refuse(error, request_id)


class _Stranger:
    """Answers errors where there is no service to do so, or none that speaks the protocol."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._errors = ErrorTable(None)

    def refuse(self, error: AwsError, request_id: str) -> Response:
        wire = self._errors.resolve(error)
        headers = (
            ("x-amzn-RequestId", request_id),
            ("Content-Type", self._codec.content_type),
            *self._codec.headers(),
        )
        return Response(wire.status, headers, self._codec.error_body(wire, request_id))


class Router:
    """Routes requests to services.

    ``accounts`` maps access key ids to account ids; an access key id of twelve digits is its own
    account, every other one belongs to ``default_account``.
    """

    def __init__(
        self,
        services: Iterable[Service],
        *,
        accounts: Mapping[str, str] | None = None,
        default_account: str = DEFAULT_ACCOUNT,
        default_region: str = DEFAULT_REGION,
    ) -> None:
        self.services = tuple(services)
        self._accounts = dict(accounts or {})
        self._default_account = default_account
        self._default_region = default_region
        self._by_target = {
            service.model.target_prefix: service
            for service in self.services
            if service.model.target_prefix
        }
        self._by_name = {service.name: service for service in self.services}
        self._by_host = {host: service for service in self.services for host in service.hosts}
        self._query = [each for each in self.services if ProtocolName.QUERY in each.protocols]
        self._bindings: dict[tuple[str | None, str], tuple[Service, ProtocolName, Binding]] = {}
        """Where requests with a target went before, by target and content type."""
        self._identify = lru_cache(_CACHED_CREDENTIALS)(self._identity_of)

    def identity(self, request: Request) -> Identity:
        """Who sends this request, from its credential scope; its host may tell the region."""
        header = request.headers.get("authorization")
        if header is not None:
            found = _HEADER_CREDENTIAL.search(header)
        else:
            found = _QUERY_CREDENTIAL.search(request.query)
        credential = found[1] if found is not None else ""
        return self._identify(
            credential if header is not None else unquote(credential),
            request.headers.get("host", "")[:_LONGEST_HOST],
        )

    def _identity_of(self, credential: str, host: str) -> Identity:
        # An access key id may hold slashes; the four parts behind it may not.
        parts = credential.rsplit("/", 4)
        access_key = parts[0] or None
        region, service = (parts[2], parts[3]) if len(parts) == 5 else ("", None)
        if not _REGION.fullmatch(region):
            labels = host.partition(":")[0].lower().split(".")
            regions = (label for label in labels if _REGION.fullmatch(label))
            region = next(regions, self._default_region)
        account = self._default_account
        if access_key is not None:
            if access_key in self._accounts:
                account = self._accounts[access_key]
            elif _ACCOUNT.fullmatch(access_key):
                account = access_key
        return Identity(access_key, account, region, service)

    def route(self, request: Request) -> Call:
        """Find what a request means. Never raises: a bad request fails in `Call.params`."""
        identity = self.identity(request)
        headers = request.headers
        content_type, target = headers.get("content-type", ""), headers.get("x-amz-target")
        known = self._bindings.get((target, content_type))
        if known is not None:
            service, name, binding = known
            operation = binding.operation.name
            return Call(request, identity, service, name, operation, request.body, binding)
        media_type = content_type.partition(";")[0].strip().lower()
        if target is not None:
            call = self._route_target(request, identity, media_type, target)
            if call._binding is not None and call.service is not None:
                if len(self._bindings) >= _CACHED_BINDINGS:
                    self._bindings.clear()
                known = (call.service, call.protocol, call._binding)
                self._bindings[target, content_type] = known
            return call
        rpc_path = _RPC_PATH.search(request.path)
        if rpc_path is not None or headers.get("smithy-protocol") == "rpc-v2-cbor":
            return self._route_rpc(request, identity, rpc_path)
        protocol = _MEDIA_TYPES.get(media_type)
        if protocol is not None:
            return self._lost(request, identity, protocol, "")
        return self._route_query(request, identity, media_type)

    def _route_target(
        self, request: Request, identity: Identity, media_type: str, target: str
    ) -> Call:
        prefix, _, operation = target.rpartition(".")
        service = self._by_target.get(prefix)
        protocol = _MEDIA_TYPES.get(media_type)
        if protocol is None or protocol is ProtocolName.RPC_CBOR:
            version = service.model.metadata.get("jsonVersion") if service is not None else None
            protocol = ProtocolName.JSON_1_1 if version == "1.1" else ProtocolName.JSON_1_0
        return self._bound(request, identity, service, protocol, operation)

    def _route_rpc(self, request: Request, identity: Identity, path: re.Match[str] | None) -> Call:
        service, operation = (self._by_target.get(path[1]), path[2]) if path else (None, "")
        return self._bound(request, identity, service, ProtocolName.RPC_CBOR, operation)

    def _bound(
        self,
        request: Request,
        identity: Identity,
        service: Service | None,
        protocol: ProtocolName,
        operation: str,
    ) -> Call:
        binding = service.binding(protocol, operation) if service is not None else None
        if binding is None:
            return self._lost(request, identity, protocol, operation, service)
        return Call(request, identity, service, protocol, operation, request.body, binding)

    def _lost(
        self,
        request: Request,
        identity: Identity,
        protocol: ProtocolName,
        operation: str,
        service: Service | None = None,
    ) -> Call:
        """A call in a known protocol, but of no operation."""
        service = service or self._scoped(request, identity)
        call = Call(request, identity, service, protocol, operation, b"")
        if service is None or protocol not in service.protocols:
            call._stranger = _Stranger(_strange_codec(protocol))
        return call

    def _scoped(self, request: Request, identity: Identity) -> Service | None:
        if identity.service in self._by_name:
            return self._by_name[identity.service]
        host = request.headers.get("host", "").partition(":")[0].lower()
        return next(
            (self._by_host[label] for label in host.split(".") if label in self._by_host), None
        )

    def _route_query(self, request: Request, identity: Identity, media_type: str) -> Call:
        is_form = media_type in ("application/x-www-form-urlencoded", "")
        scoped = self._scoped(request, identity)
        text = request.query
        refusal: AwsError | None = None
        form: Form = {}
        try:
            if is_form and request.body:
                text = f"{text}&{request.body.decode()}" if text else request.body.decode()
            form = parse_form(text)
        except UnicodeDecodeError:
            refusal = AwsError("SerializationException", "The form is not UTF-8")
        except AwsError as error:
            refusal = error
        action, version = form.get("Action"), form.get("Version")
        if type(action) is not str or not action:
            return self._without_action(request, identity, scoped, form, refusal)
        if type(version) is not str:
            version = None
        service = self._service_for(action, version, scoped)
        # boto 2 asks for JSON by a field of the form.
        in_json = form.get("ContentType") == "JSON" or accepts_json(request.headers.get("accept"))
        protocol = ProtocolName.QUERY_JSON if in_json else ProtocolName.QUERY
        call = Call(request, identity, service, protocol, action, form)
        if service is None:
            call._refusal = _unable()
            return call
        call._refusal = service.refusal(action, version, request.path)
        if call._refusal is None:
            call._binding = service.binding(protocol, action)
        return call

    def _service_for(
        self, action: str, version: str | None, scoped: Service | None
    ) -> Service | None:
        if not self._query:
            return None
        best = max(
            self._query,
            key=lambda each: (
                each.model.api_version == version,
                action in each.model.operation_names,
                each is scoped,
            ),
        )
        known = (
            best is scoped
            or best.model.api_version == version
            or action in best.model.operation_names
        )
        return best if known else None

    def _without_action(
        self,
        request: Request,
        identity: Identity,
        scoped: Service | None,
        form: Form,
        refusal: AwsError | None,
    ) -> Call:
        call = Call(request, identity, scoped, ProtocolName.QUERY, "", form)
        speaks_query = scoped is not None and ProtocolName.QUERY in scoped.protocols
        asks = refusal is not None or any(not _SIGNATURE_FIELD.match(key) for key in form)
        if speaks_query and asks:
            call._refusal = refusal or missing_action()
            return call
        call._stranger = _Stranger(BareCodec())
        if scoped is not None:
            call._refusal = refusal or AwsError("UnknownOperationException", status=404)
        else:
            call._refusal = refusal or _unable()
        return call


def _unable() -> AwsError:
    message = "Unable to determine service/operation name to be authorized"
    return AwsError("AccessDeniedException", message, status=403)


def _strange_codec(protocol: ProtocolName) -> Codec:
    if protocol is ProtocolName.CBOR_1_1:
        return Cbor11Codec()
    if protocol is ProtocolName.RPC_CBOR:
        return RpcCborCodec()
    return JsonCodec(protocol.removeprefix("json-"))
