"""Answers the requests to the gateway: page, route, principal, operation, in this order."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from hubbub import (
    DeniedError,
    HttpError,
    Hub,
    HubbubError,
    Principal,
    Request,
    Response,
    Session,
    Upgrade,
    compress_response,
)

from .authentication import PROTOCOL, REALM_HEADER, Authenticator, realm_of, unauthenticated
from .call import Call, NoOptions, parse_query
from .cors import Cors
from .durations import DurationError
from .hosts import HostNames
from .operations import Operation
from .problems import Problem, problem_of
from .router import BadPathError, NoMethodError, NoPathError, Router
from .settings import GatewaySettings
from .sse import MEDIA_TYPE
from .websocket import Broker, token_offered
from .websocket.api import guest_operations

MAX_SESSIONS: Final = 1024
"""Sessions that are kept for further requests: principals times realms."""
TOKEN_PARAMETER: Final = "access_token"  # noqa: S105 - a name
REALM_PARAMETER: Final = "realm"
"""Parameters for what browsers can't send in headers with EventSource and WebSocket."""


class Gateway:
    """Serves the operations of a route table. Close it when its listener has ended."""

    def __init__(
        self, hub: Hub, settings: GatewaySettings, operations: Iterable[Operation]
    ) -> None:
        self.hub = hub
        self.settings = settings
        self.now = hub.clock.now
        """The wall clock, in milliseconds since the epoch."""
        hosts = HostNames(settings.host_names)
        self.cors = Cors(settings.cors, hosts)
        self.websockets = Broker(
            hub,
            settings.websocket,
            create_queues=settings.create_queues,
            create_streams=settings.create_streams,
            guests=hub.websocket_protocols(),
        )
        self.operations = (*operations, *guest_operations(self.websockets.guests))
        self._router = Router(self.operations)
        self._logs_access = hub.config.log.level == "debug"
        self._authenticator = Authenticator(hub, hosts)
        self._sessions: OrderedDict[tuple[Principal, str], Session] = OrderedDict()

    def session(self, principal: Principal, realm: str) -> Session:
        """Return the session that all requests of a principal in a realm share."""
        key = (principal, realm)
        session = self._sessions.get(key)
        if session is None:
            if len(self._sessions) >= MAX_SESSIONS:
                _, oldest = self._sessions.popitem(last=False)
                oldest.__exit__(None, None, None)
            session = self.new_session(
                principal, realm, protocol=PROTOCOL, client=f"{PROTOCOL}/{principal.name}"
            ).__enter__()
            self._sessions[key] = session
        return session

    def new_session(
        self, principal: Principal, realm: str, *, protocol: str, client: str, peer: str = ""
    ) -> Session:
        """Make a session for a connection that lasts; use it as a context manager."""
        return self.hub.session(principal, protocol=protocol, client=client, peer=peer, realm=realm)

    def close(self) -> None:
        """End all sessions."""
        while self._sessions:
            _, session = self._sessions.popitem()
            session.__exit__(None, None, None)

    async def __call__(self, request: Request) -> Response | Upgrade:
        """Answer one request."""
        origin: str | None = None
        try:
            origin = self.cors.check(request)
            answer = await self._answer(request)
        except Problem as problem:
            answer = problem.response()
        except DurationError as error:
            answer = Problem("bad-request", str(error)).response()
        except (HubbubError, HttpError) as error:
            answer = problem_of(error).response()
        if self._logs_access:
            self._log(request, answer)
        if isinstance(answer, Upgrade):
            return answer
        if origin is not None:
            answer.headers = (*answer.headers, *self.cors.headers(origin))
        return await compress_response(request, answer)

    def _log(self, request: Request, answer: Response | Upgrade) -> None:
        """Log a request without its query, which may hold a token."""
        self.hub.log.debug(
            "http request",
            method=request.method,
            path=request.path,
            status=answer.status if isinstance(answer, Response) else 101,
            bytes_in=request.content_length,
            peer=request.peer,
        )

    async def _answer(self, request: Request) -> Response | Upgrade:
        if request.method == "OPTIONS":
            return self._options(request)
        try:
            operation, levels = self._router.find(request.method, request.path)
        except NoPathError:
            raise no_path(request.path) from None
        except NoMethodError as error:
            allowed = ", ".join(error.allowed)
            raise Problem(
                "method", f"{request.path} takes {allowed}.", [("Allow", allowed)]
            ) from None
        except BadPathError as error:
            raise Problem("bad-address", str(error)) from None
        headers = request.headers
        query = parse_query(request.query) if request.query else []
        token = None
        if operation.takes_token and (operation.greets or MEDIA_TYPE in headers.get("accept")):
            token = _take(query, TOKEN_PARAMETER)
        realm = _take(query, REALM_PARAMETER) or headers.get(REALM_HEADER)
        sender: Principal | None
        if operation.greets:
            sender = await self._authenticator.sender(request, token or token_offered(request))
        else:
            sender = await self._authenticator.principal(request, token)
        entered = realm if sender is None else realm_of(sender, realm)
        if operation.greets:
            entered = realm  # whoever says later who it is may enter another one
        call = Call(self, request, operation, levels, query, sender, entered)
        if query and operation.query is None:
            call.options(NoOptions)
        try:
            return await operation.handler(call)
        except DeniedError as error:
            if sender is not None and sender.anonymous:
                raise unauthenticated(f"{error}; somebody else may.") from None
            raise

    def _options(self, request: Request) -> Response:
        """Tell what a path takes (RFC 9110, 9.3.7), which is all that a preflight asks too."""
        if request.path == "*":  # the server as a whole
            return Response(204)
        try:
            allowed = self._router.allowed(request.path)
        except NoPathError:
            raise no_path(request.path) from None
        except BadPathError as error:
            raise Problem("bad-address", str(error)) from None
        headers = [("Allow", ", ".join(allowed))]
        if "access-control-request-method" in request.headers:
            headers += self.cors.preflight(request)
        return Response(204, headers)


def no_path(path: str) -> Problem:
    """Return the problem of a path where nothing is."""
    return Problem("not-found", f"Nothing is at {path[:200]}; /openapi.json has what there is.")


def _take(query: list[tuple[str, str]], name: str) -> str | None:
    """Take a parameter out of a query, and return its value."""
    for index, (found, value) in enumerate(query):
        if found == name:
            del query[index]
            return value
    return None
