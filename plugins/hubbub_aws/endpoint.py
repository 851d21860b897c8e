"""The HTTP application behind the AWS endpoint: from requests to operations and back."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from hubbub import (
    BusyError,
    DeniedError,
    ExistsError,
    HttpError,
    HubbubError,
    NotFoundError,
    Principal,
    RefusedError,
    Request,
    Response,
    Session,
    TransportClosed,
    UnavailableError,
)
from hubbub_aws.context import Context
from hubbub_aws.cors import Cors
from hubbub_aws.errors import AwsError
from hubbub_aws.hooks import AwsService, OperationFunction, Page
from hubbub_aws.identity import Gatekeeper, accounts_of
from hubbub_aws.messages import RawHeaders, new_request_id
from hubbub_aws.messages import Request as AwsRequest
from hubbub_aws.messages import Response as AwsResponse
from hubbub_aws.routing import Call, Router
from hubbub_aws.settings import AwsSettings

if TYPE_CHECKING:
    from hubbub import Hub

MAX_SESSIONS = 1024
"""Sessions that are kept for further requests: principals times realms times services."""
MAX_PLACES = 4096


class Endpoint:
    """Answers the HTTP requests to all AWS services. Close it when its listener has ended."""

    def __init__(self, hub: "Hub", settings: AwsSettings, services: Iterable[AwsService]) -> None:
        self.settings = settings
        self._hub = hub
        found = tuple(services)
        self._operations: dict[str, Mapping[str, OperationFunction]] = {
            each.service.name: each.operations for each in found
        }
        self._unsigned = {each.service.name: each.unsigned for each in found}
        self._pages: dict[str, Page] = {}
        for each in found:
            self._pages |= each.pages
        self._nobody = Principal("unsigned", realms=(), permissions=())
        self._router = Router(
            [each.service for each in found],
            accounts=accounts_of(hub, settings),
            default_account=settings.account,
            default_region=settings.region,
        )
        self._gatekeeper = Gatekeeper(hub, settings)
        self._cors = Cors(settings.cors_origins)
        self._sessions: OrderedDict[tuple[Principal, str, str], Session] = OrderedDict()
        self._places: dict[tuple[Principal, str, str, str], Session] = {}
        """The same sessions, by account and region in place of the realm."""
        self._logs_access = hub.config.log.level == "debug"

    def session(self, principal: Principal, account: str, region: str, service: str) -> Session:
        """Return the session of a principal in the realm of an account, for all its requests."""
        place = (principal, account, region, service)
        session = self._places.get(place)
        if session is None:
            session = self._session(principal, self.settings.realm(account, region), service)
            if len(self._places) >= MAX_PLACES:
                self._places.clear()
            self._places[place] = session
        return session

    def _session(self, principal: Principal, realm: str, service: str) -> Session:
        key = (principal, realm, service)
        session = self._sessions.get(key)
        if session is None:
            if len(self._sessions) >= MAX_SESSIONS:
                self._places.clear()
                _, oldest = self._sessions.popitem(last=False)
                oldest.__exit__(None, None, None)
            session = self._hub.session(
                principal, protocol=service, client=f"{service}/{principal.name}", realm=realm
            )
            self._sessions[key] = session.__enter__()
        return session

    def close(self) -> None:
        """End all sessions."""
        self._places.clear()
        while self._sessions:
            _, session = self._sessions.popitem()
            session.__exit__(None, None, None)

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        headers = RawHeaders(request.headers.raw)
        origin = headers.get("origin")
        if origin:
            if not self._cors.allows(origin):
                return Response(403, body=b"Calls from this origin are not allowed.\n")
            if request.method == "OPTIONS":
                return Response(200, self._cors.preflight(request, origin))
        if request.method == "GET" and request.path in self._pages:
            return await self._pages[request.path](request)
        answer = await self._answer(request, headers)
        fields = answer.headers + self._cors.headers(origin) if origin else answer.headers
        body = answer.body if answer.events is None else answer.events
        return Response(answer.status, fields, body)

    async def _answer(self, request: Request, headers: RawHeaders) -> AwsResponse:
        request_id = new_request_id()
        too_large: AwsError | None = None
        try:
            body = await request.body(self.settings.max_request_bytes)
        except HttpError as error:
            too_large = AwsError(
                "RequestEntityTooLargeException", error.message, status=error.status
            )
            body = b""
        call = self._router.route(_wire(request, headers, body))
        try:
            if too_large is not None:
                raise too_large
            principal = self._gatekeeper.known(call, request.peer)
            if principal is None:
                principal = await self._admit(call, request.peer)
            params = call.params()
            operation = self._find(call)
            context = Context(self, request, call, principal, request_id)
            answer = call.answer(await operation(context, params), request_id)
        except TransportClosed:  # nobody to answer
            raise
        except AwsError as error:
            answer = call.refuse(error, request_id)
        except HubbubError as error:
            answer = call.refuse(_as_aws(error), request_id)
        except Exception as error:
            self._hub.log.error(  # noqa: TRY400 - the logger is structlog's
                "aws request failed", operation=call.operation, exc_info=error
            )
            failure = AwsError("InternalFailure", "The request processing has failed.")
            answer = call.refuse(failure, request_id)
        if self._logs_access:
            self._log(request, call, answer, request_id)
        return answer

    async def _admit(self, call: Call, peer: str) -> Principal:
        service = call.service
        if (
            call.identity.access_key is None
            and service is not None
            and call.operation in self._unsigned[service.name]
        ):
            return self._nobody
        return await self._gatekeeper.admit(call, peer)

    def _find(self, call: Call) -> OperationFunction:
        assert call.service is not None
        operation = self._operations[call.service.name].get(call.operation)
        if operation is None:
            raise AwsError(
                "UnsupportedOperation", f"{call.service.name}:{call.operation} is not served here."
            )
        return operation

    def _log(self, request: Request, call: Call, answer: AwsResponse, request_id: str) -> None:
        self._hub.log.debug(
            "aws request",
            service=None if call.service is None else call.service.name,
            operation=call.operation,
            protocol=str(call.protocol),
            account=call.identity.account,
            status=answer.status,
            bytes_in=len(call.request.body),
            bytes_out=len(answer.body),
            peer=request.peer,
            request_id=request_id,
        )


def _wire(request: Request, headers: RawHeaders, body: bytes) -> AwsRequest:
    path, query = request.path, request.query
    if not request.target.isascii():  # signers hash bytes; the server took them for Latin-1
        path, query = (
            text.encode("latin-1").decode("utf-8", "surrogateescape") for text in (path, query)
        )
    return AwsRequest(request.method, path, query, headers, body)


def _as_aws(error: HubbubError) -> AwsError:
    """Spell an error of the bus that no operation has spelled itself."""
    text = str(error)
    match error:
        case DeniedError():
            return AwsError("AccessDeniedException", text)
        case UnavailableError() | BusyError():
            return AwsError("ServiceUnavailable", text)
        case NotFoundError():
            return AwsError("ResourceNotFoundException", text)
        case ExistsError():
            return AwsError("InvalidParameterValueException", text)
        case RefusedError():
            return AwsError("UnsupportedOperation", text)
        case _:
            return AwsError("InvalidParameterValueException", text)
