"""Who a client is: `connection.start-ok`, and `secure-ok` where its mechanism takes more steps.

PLAIN, AMQPLAIN and EXTERNAL are RabbitMQ's own and need one response. All others are those that
every protocol of the hub offers (`Hub.mechanisms`), SCRAM-SHA-256 for one.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from hubbub import (
    Anonymous,
    Attempt,
    Authentication,
    Challenge,
    ClientCertificate,
    Credentials,
    Hub,
    Password,
    Principal,
    Transport,
)

from .decode import FRAME_MIN_SIZE
from .encode import encode_method_frame
from .errors import AmqpError, Reply
from .events import LoginAttempt
from .mapping import PROTOCOL
from .methods import ConnectionSecure
from .wire import decode_fields

_NAME: Final = re.compile(r"[!-~]{1,255}", re.ASCII)
"""What can stand in the list of mechanisms, where spaces separate them."""
_MAX_CHALLENGE: Final = FRAME_MIN_SIZE - len(encode_method_frame(0, ConnectionSecure(b"")))
"""Bytes of a challenge: before it is tuned, a client need not take larger frames."""


def mechanism_names(hub: Hub, *, certificate: bool) -> tuple[str, ...]:
    """Return the mechanisms that a client is offered. `certificate`: whether it has shown one.

    EXTERNAL is for those alone, as RabbitMQ has it: some clients (AMQPStorm) prefer it to the
    password they have.
    """
    own = ("PLAIN", "AMQPLAIN", *(("EXTERNAL",) if certificate else ()))
    others = (each for each in hub.mechanisms if each not in own and _NAME.fullmatch(each))
    return (*own, *others)


class Login(NamedTuple):
    """A client that is let in, and the name of its user as the client knows it."""

    principal: Principal
    user: str


class Authenticator:
    """Authenticates one client. `guest`: its password "guest" is as good as none."""

    __slots__ = ("_authentication", "_guest", "_hub", "_principal", "_transport")

    def __init__(self, hub: Hub, transport: Transport, *, guest: bool) -> None:
        self._hub = hub
        self._transport = transport
        self._guest = guest
        self._authentication: Authentication | None = None
        self._principal: Principal | None = None
        """Who it is, while it has to answer that it has seen the last challenge."""

    async def log_in(self, attempt: LoginAttempt) -> Challenge | Login | None:
        """Take a response, and say what follows; None refuses the client.

        Raises:
            AmqpError: the response, or the mechanism's challenge, can't be.
            BusyError: it can't be verified in time.
        """
        if attempt.mechanism in {"PLAIN", "AMQPLAIN", "EXTERNAL"}:
            credentials, user = self._credentials(attempt)
            principal = None if credentials is None else await self.authenticate(credentials)
            return None if principal is None else Login(principal, user)
        return await self._converse(attempt)

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """Say who has these credentials; None: nobody. Raises `BusyError`."""
        if (
            self._guest
            and isinstance(credentials, Password)
            and (credentials.username, credentials.password) == ("guest", b"guest")
        ):
            credentials = Anonymous(peer=self._transport.peer, protocol=PROTOCOL)
        return await self._hub.authenticate(credentials)

    async def _converse(self, attempt: LoginAttempt) -> Challenge | Login | None:
        if self._principal is not None:
            # RFC 4422, 3.6: it only says that it has what came with the good news.
            return None if attempt.response else Login(self._principal, self._principal.name)
        response: bytes | None = attempt.response
        if self._authentication is None:
            self._authentication = self._hub.begin_authentication(
                Attempt(mechanism=attempt.mechanism, peer=self._transport.peer, protocol=PROTOCOL)
            )
            response = response or None  # `start-ok` has no other way to say that there is none
        step = await self._authentication.step(response)
        if step is None:
            return None
        if isinstance(step, Challenge):
            return _checked(step)
        if step.data is None:
            return Login(step.principal, step.principal.name)
        self._principal = step.principal
        return _checked(Challenge(step.data))

    def _credentials(self, attempt: LoginAttempt) -> tuple[Credentials | None, str]:
        """Read what the client proves itself by, None if nothing; and its name for itself."""
        peer = self._transport.peer
        if attempt.mechanism == "EXTERNAL":
            names = self._transport.certificate_names
            return (ClientCertificate(names, peer, PROTOCOL), names[0]) if names else (None, "")
        if attempt.mechanism == "AMQPLAIN":
            fields = decode_fields(attempt.response)
            login, password = fields.get("LOGIN"), fields.get("PASSWORD")
            if not isinstance(login, str) or not isinstance(password, str | bytes):
                return None, ""
            secret = password.encode() if isinstance(password, str) else password
            return Password(login, secret, peer, PROTOCOL), login
        parts = attempt.response.split(b"\0")
        if len(parts) != 3:
            return None, ""
        try:
            user = parts[1].decode()
        except UnicodeDecodeError:
            return None, ""
        return Password(user, parts[2], peer, PROTOCOL), user


def _checked(challenge: Challenge) -> Challenge:
    if len(challenge.data) > _MAX_CHALLENGE:
        raise AmqpError(
            Reply.INTERNAL_ERROR,
            f"the authentication mechanism's challenge has {len(challenge.data)} bytes, more than "
            f"the {_MAX_CHALLENGE} that a client has to take",
        )
    return challenge
