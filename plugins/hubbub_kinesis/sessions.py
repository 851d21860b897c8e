"""The plugin's own sessions: what it does by itself, on nobody's request."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

from hubbub import Principal, Session

if TYPE_CHECKING:
    from hubbub import Hub

PROTOCOL = "kinesis"


class Sessions:
    """One session per realm, opened when it is needed; close them when the hub stops."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._principal = Principal(PROTOCOL, realms=("*",))
        self._open = ExitStack()
        self._sessions: dict[str, Session] = {}

    def of(self, realm: str) -> Session:
        """Return the session in a realm."""
        session = self._sessions.get(realm)
        if session is None:
            session = self._hub.session(
                self._principal, protocol=PROTOCOL, client=PROTOCOL, realm=realm
            )
            self._sessions[realm] = self._open.enter_context(session)
        return session

    def close(self) -> None:
        """End all sessions."""
        self._open.close()
        self._sessions.clear()
