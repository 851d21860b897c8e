"""Who a request comes from: its credentials, and the realm that it wants to enter."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Final
from weakref import WeakKeyDictionary

from hubbub import (
    DEFAULT_REALM,
    Anonymous,
    BearerToken,
    ClientCertificate,
    Credentials,
    Hub,
    Password,
    Principal,
    Request,
    Transport,
)

from .hosts import HostNames
from .problems import Problem

PROTOCOL: Final = "http"
"""What observers, metrics and messages call this protocol."""
REALM_HEADER: Final = "Hubbub-Realm"
_CHALLENGES: Final = (
    ("WWW-Authenticate", 'Bearer realm="hubbub"'),
    ("WWW-Authenticate", 'Basic realm="hubbub", charset="UTF-8"'),
)


class Authenticator:
    """Finds the principal of each request, the same as in every other protocol."""

    def __init__(self, hub: Hub, hosts: HostNames) -> None:
        self._hub = hub
        self._hosts = hosts
        self._checks_host = hub.config.auth.anonymous == "loopback"
        self._without_words: WeakKeyDictionary[Transport, Principal] = WeakKeyDictionary()
        """Who a connection is by itself: by its address or certificate, for all its requests."""

    async def sender(self, request: Request, token: str | None = None) -> Principal | None:
        """Return who sends a request, None if it does not say so and has to.

        Raises:
            Problem, BusyError: see `principal`.
        """
        try:
            return await self.principal(request, token)
        except Problem:
            if isinstance(credentials_of(request, token), Anonymous):
                return None
            raise

    async def principal(self, request: Request, token: str | None = None) -> Principal:
        """Return who sends a request; `token` is a bearer token from elsewhere than its headers.

        Raises:
            Problem: 401, and 421 for a client without credentials that calls us by an unknown name.
            BusyError: passwords can't be verified in time.
        """
        transport = request.transport
        if token is None and "authorization" not in request.headers:
            known = self._without_words.get(transport)
            if known is not None:
                self._check_host(request, known)
                return known
        credentials = credentials_of(request, token)
        principal = await self._hub.authenticate(credentials)
        if principal is None:
            raise unauthenticated("These credentials are not known.", credentials)
        self._check_host(request, principal)
        if isinstance(credentials, Anonymous | ClientCertificate):
            self._without_words[transport] = principal
        return principal

    def _check_host(self, request: Request, principal: Principal) -> None:
        """Refuse a client without credentials that calls us by an unknown name.

        Raises:
            Problem: 421.
        """
        if not (principal.anonymous and self._checks_host):
            return
        host = request.headers.get("host").lower()
        if not self._hosts.has(host):
            # A web page whose name was made to lead here would be on this machine.
            raise Problem("wrong-host", f"{host!r} is not a name of ours.")


def realm_of(principal: Principal, wanted: str) -> str:
    """Return the realm that a request enters: what it names, else the default or only one.

    Raises:
        Problem: 403, the principal may not go there.
    """
    realms = principal.realms
    if not wanted:
        return DEFAULT_REALM if "*" in realms or DEFAULT_REALM in realms else realms[0]
    if wanted in realms or "*" in realms:
        return wanted
    raise Problem("forbidden", f"{principal.name!r} may not enter the realm {wanted!r}.")


def credentials_of(request: Request, token: str | None = None) -> Credentials:
    """Return what a request says about its sender.

    Raises:
        Problem: 401, the header `Authorization` can't be read.
    """
    peer = request.peer
    text = request.headers.get("authorization")
    if text:
        scheme, _, rest = text.partition(" ")
        match scheme.lower():
            case "bearer":
                return BearerToken(rest.strip(), peer, PROTOCOL)
            case "basic":
                return _password(rest.strip(), peer)
            case _:
                raise unauthenticated(f"The scheme {scheme[:40]!r} is not Bearer or Basic.")
    if token is not None:
        return BearerToken(token, peer, PROTOCOL)
    names = request.transport.certificate_names
    if names:
        return ClientCertificate(names, peer, PROTOCOL)
    return Anonymous(peer=peer, protocol=PROTOCOL)


def _password(text: str, peer: str) -> Password:
    try:
        name, colon, password = b64decode(text, validate=True).partition(b":")
        if colon:
            return Password(name.decode(), password, peer, PROTOCOL)
    except (binascii.Error, ValueError):
        pass
    raise unauthenticated("Basic credentials are base64 of NAME:PASSWORD in UTF-8.")


def unauthenticated(detail: str, credentials: Credentials | None = None) -> Problem:
    """Return the problem of credentials that are missing or wrong."""
    if isinstance(credentials, Anonymous):
        detail = "This address may not use the gateway without credentials."
    return Problem("unauthenticated", detail, _CHALLENGES)
