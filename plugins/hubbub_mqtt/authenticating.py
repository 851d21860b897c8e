"""Who a client is: by the fields of its CONNECT, or by the AUTH packets of a method (4.12)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from hubbub import (
    Anonymous,
    Attempt,
    Authenticated,
    Authentication,
    BearerToken,
    BusyError,
    Challenge,
    ClientCertificate,
    Credentials,
    Hub,
    Password,
    Transport,
)

from .mapping import PROTOCOLS
from .packets import Auth, Connect
from .protocol import ServerConnection
from .reasons import ReasonCode


class Authenticator:
    """Authenticates one client when it connects, and 5.0 clients with a method again later.

    `receive_auth` waits for the client's next AUTH packet, while it is not let in yet.
    """

    __slots__ = ("_authentication", "_hub", "_machine", "_receive_auth", "_transport")

    def __init__(
        self,
        hub: Hub,
        transport: Transport,
        machine: ServerConnection,
        receive_auth: Callable[[], Awaitable[Auth]],
    ) -> None:
        self._hub = hub
        self._transport = transport
        self._machine = machine
        self._receive_auth = receive_auth
        self._authentication: Authentication | None = None

    async def connect(self, connect: Connect) -> Authenticated | ReasonCode:
        """Say who a client is, or why it is not let in."""
        try:
            if self._machine.authentication_method is not None:
                return await self._converse(connect.properties.authentication_data)
            principal = await self._hub.authenticate(self._credentials(connect))
        except BusyError:
            return ReasonCode.SERVER_BUSY
        if principal is not None:
            return Authenticated(principal)
        nameless = connect.user_name is None and connect.password is None
        return ReasonCode.NOT_AUTHORIZED if nameless else ReasonCode.BAD_USER_NAME_OR_PASSWORD

    async def _converse(self, data: bytes | None) -> Authenticated | ReasonCode:
        """Exchange AUTH packets until it is decided (4.12.0)."""
        authentication = self._begin()
        while isinstance(step := await authentication.step(data), Challenge):
            self._challenge(step)
            data = (await self._receive_auth()).properties.authentication_data
        return ReasonCode.NOT_AUTHORIZED if step is None else step

    async def again(self, auth: Auth) -> Authenticated | ReasonCode | None:
        """Take an AUTH of a client that is connected (4.12.1); None: more of them are to come."""
        if auth.reason == ReasonCode.RE_AUTHENTICATE or self._authentication is None:
            self._authentication = self._begin()
        try:
            step = await self._authentication.step(auth.properties.authentication_data)
        except BusyError:
            return ReasonCode.SERVER_BUSY
        if isinstance(step, Challenge):
            self._challenge(step)
            return None
        self._authentication = None
        return ReasonCode.NOT_AUTHORIZED if step is None else step

    def _begin(self) -> Authentication:
        method = self._machine.authentication_method
        assert method is not None
        protocol = PROTOCOLS[self._machine.version]
        return self._hub.begin_authentication(
            Attempt(mechanism=method, peer=self._transport.peer, protocol=protocol)
        )

    def _challenge(self, challenge: Challenge) -> None:
        self._transport.write(
            self._machine.auth(ReasonCode.CONTINUE_AUTHENTICATION, challenge.data)
        )

    def _credentials(self, connect: Connect) -> Credentials:
        peer, protocol = self._transport.peer, PROTOCOLS[connect.version]
        if not self._hub.authority.knows_somebody:
            # As for Mosquitto without a password file: there is nobody that a client could be.
            return Anonymous(peer=peer, protocol=protocol)
        if connect.user_name is not None:
            return Password(connect.user_name, connect.password or b"", peer, protocol)
        if connect.password is not None:
            # A password alone is what 5.0 allows for tokens and the like (3.1.2.9).
            return BearerToken(connect.password.decode(errors="replace"), peer, protocol)
        names = self._transport.certificate_names
        if names:
            return ClientCertificate(names, peer, protocol)
        return Anonymous(peer=peer, protocol=protocol)
