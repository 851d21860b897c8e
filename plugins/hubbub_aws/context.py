"""What an operation knows of the request it answers."""

from typing import TYPE_CHECKING

from hubbub import Principal, Request, Session
from hubbub_aws.routing import Call

if TYPE_CHECKING:
    from hubbub_aws.endpoint import Endpoint


class Context:
    """One request, authenticated, on its way to an operation.

    * `request`: the HTTP request, for `until_disconnect`. Its body has been read.
    * `call`: the request as AWS's protocols see it. `principal`: who sent it.
    * `account`, `region`: of the caller. A resource may be of another account.
    * `request_id`: as the answer will tell it.
    """

    __slots__ = ("_endpoint", "account", "call", "principal", "region", "request", "request_id")

    def __init__(
        self,
        endpoint: "Endpoint",
        request: Request,
        call: Call,
        principal: Principal,
        request_id: str,
    ) -> None:
        self._endpoint = endpoint
        self.request = request
        self.call = call
        self.principal = principal
        self.account = call.identity.account
        self.region = call.identity.region
        self.request_id = request_id

    def session(self, account: str | None = None, region: str | None = None) -> Session:
        """Return a session of the caller in the realm of an account, by default the caller's own.

        Sessions are shared by all requests of a principal: never close one.
        """
        assert self.call.service is not None
        return self._endpoint.session(
            self.principal,
            account or self.account,
            region or self.region,
            self.call.service.name,
        )

    @property
    def url(self) -> str:
        """What URLs begin with that this client can reach, such as "http://127.0.0.1:4566"."""
        public = self._endpoint.settings.public_url
        if public is not None:
            return public
        transport = self.request.transport
        host = self.call.request.headers.get("host") or transport.local
        return f"https://{host}" if transport.tls else f"http://{host}"
