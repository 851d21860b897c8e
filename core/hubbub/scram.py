"""SCRAM-SHA-256 for configured users (RFC 5802, RFC 7677): the password itself is never sent.

What a server keeps for it can't be made of an argon2 hash. So users with `scram_sha_256` can log in
this way, and those with a `password` in plain text, but not those with a `password_hash` alone.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from .sasl import Authenticated, Challenge, Step

if TYPE_CHECKING:
    from scramp import ScramMechanism, ScramServer

    from .auth import Principal

SCRAM_SHA_256: Final = "SCRAM-SHA-256"
"""The name of the mechanism."""

ITERATIONS: Final = 4096
"""Rounds of PBKDF2: what RFC 7677 asks for at least, and PostgreSQL does."""

_MIN_SALT = 12
_KEY = 32


class Verifier(NamedTuple):
    """What a server keeps of a password. Written as PostgreSQL does: see `parse`."""

    salt: bytes
    stored_key: bytes
    server_key: bytes
    iterations: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `SCRAM-SHA-256$ITERATIONS:SALT$STORED-KEY:SERVER-KEY`, the last three in base64.

        Raises:
            ValueError: it is something else; the text says what.
        """
        try:
            name, parameters, keys = text.split("$")
            iterations, salt = parameters.split(":")
            stored, server = keys.split(":")
            verifier = cls(_decode(salt), _decode(stored), _decode(server), int(iterations))
        except (ValueError, binascii.Error):
            name, verifier = "", cls(b"", b"", b"", 0)
        if name != SCRAM_SHA_256 or {*map(len, verifier[1:3])} != {_KEY}:
            raise ValueError("not a SCRAM verifier; `hubbub hash-password --scram` makes one")
        if verifier.iterations < ITERATIONS or len(verifier.salt) < _MIN_SALT:
            raise ValueError(
                f"a SCRAM verifier needs {ITERATIONS} iterations and {_MIN_SALT} bytes of salt"
            )
        return verifier

    @classmethod
    def of(cls, password: str, *, salt: bytes | None = None, iterations: int = ITERATIONS) -> Self:
        """Make the verifier of a password. Takes a few ms: not for the loop.

        Raises:
            ValueError: the password has characters that SASLprep prohibits (RFC 4013).
        """
        from scramp import ScramException  # noqa: PLC0415

        try:
            return cls(*_mechanism().make_auth_info(password, iterations, salt))
        except ScramException as error:
            raise ValueError(str(error)) from None

    def __str__(self) -> str:
        """Write it as `parse` reads it."""
        salt, stored, server = (base64.b64encode(each).decode() for each in self[:3])
        return f"{SCRAM_SHA_256}${self.iterations}:{salt}${stored}:{server}"

    def verify(self, password: bytes) -> bool:
        """Tell whether a password is the one. Takes a few ms: not for the loop."""
        try:
            other = Verifier.of(password.decode(), salt=self.salt, iterations=self.iterations)
        except ValueError:
            return False
        return hmac.compare_digest(other.stored_key, self.stored_key)


def check_verifier(text: str) -> str:
    """Return a SCRAM verifier as it is.

    Raises:
        ValueError: it is none.
    """
    Verifier.parse(text)
    return text


class ScramExchange:
    """One client's login.

    * `find`: the verifier of a user name, and whom it belongs to. Unknown users have one too, so
      that nobody can tell which names exist.
    * `in_thread`: runs what takes long.
    """

    def __init__(
        self,
        find: Callable[[str], tuple[Verifier, Principal | None]],
        in_thread: Callable[[Callable[[], str | None]], Awaitable[str | None]],
    ) -> None:
        self._find = find
        self._in_thread = in_thread
        self._server: ScramServer | None = None
        self._principal: Principal | None = None

    async def step(self, response: bytes | None) -> Step:
        """Take the client's first message, then its final one; without, ask for the first."""
        if response is None and self._server is None:
            return Challenge(b"")
        try:
            message = (response or b"").decode()
        except UnicodeDecodeError:
            return None
        if self._server is None:
            first = await self._in_thread(lambda: self._first(message))
            return None if first is None else Challenge(first.encode())
        final = self._final(message)
        if final is None or self._principal is None:
            return None
        return Authenticated(self._principal, final.encode())

    def _first(self, message: str) -> str | None:
        """Answer client-first-message; in a worker thread, since it may make a verifier."""
        from scramp import ScramException  # noqa: PLC0415

        self._server = server = _mechanism().make_server(self._verifier)
        try:
            server.set_client_first(message)
            return str(server.get_server_first())
        except ScramException:
            return None

    def _verifier(self, username: str) -> Verifier:
        verifier, self._principal = self._find(username)
        return verifier

    def _final(self, message: str) -> str | None:
        from scramp import ScramException  # noqa: PLC0415

        assert self._server is not None
        try:
            self._server.set_client_final(message)
            return str(self._server.get_server_final())
        except ScramException:
            return None


def _mechanism() -> ScramMechanism:
    from scramp import ScramMechanism  # noqa: PLC0415 - takes 50 ms, and few hubs need it

    return ScramMechanism(SCRAM_SHA_256)


def _decode(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
