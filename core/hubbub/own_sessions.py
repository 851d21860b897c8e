"""What a plugin does by itself, on nobody's request: its own sessions."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

from .auth import EVERYTHING, Principal
from .session import Session

if TYPE_CHECKING:
    from .app import Hub


class OwnSessions:
    """A plugin's own sessions, one per realm: opened when one is needed, and then kept.

    They may do everything. Close them when the hub stops: what they subscribed ends with them.

    Args:
        hub: the hub.
        name: principal, protocol and client of the sessions, as observers see them.
    """

    def __init__(self, hub: "Hub", name: str) -> None:
        self._hub = hub
        self._name = name
        self._principal = Principal(name, realms=(EVERYTHING,))
        self._open = ExitStack()
        self._sessions: dict[str, Session] = {}

    def of(self, realm: str) -> Session:
        """Return the session in a realm."""
        session = self._sessions.get(realm)
        if session is None:
            name = self._name
            session = self._hub.session(self._principal, protocol=name, client=name, realm=realm)
            self._sessions[realm] = self._open.enter_context(session)
        return session

    def close(self) -> None:
        """End all sessions."""
        self._open.close()
        self._sessions.clear()
