"""What the connections of one hub share."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from hubbub import (
    DEFAULT_REALM,
    ExistsError,
    Hub,
    Principal,
    QueueSettings,
    Session,
    StreamSettings,
)

from .decode import Limits
from .frames import Version
from .mapping import Lossy, destination_line
from .protocol import ServerSettings
from .settings import StompSettings

if TYPE_CHECKING:
    from .connection import Connection

_KEPT_LINES = 10_000


class Broker:
    """Limits, names and background tasks; made anew for each hub."""

    def __init__(self, hub: Hub, settings: StompSettings, server: str) -> None:
        self.hub = hub
        self.settings = settings
        self.protocol_settings = ServerSettings(
            limits=Limits(
                head_bytes=settings.max_header_bytes,
                headers=settings.max_headers,
                body_bytes=settings.max_body_bytes,
            ),
            server=server,
            min_heart_beat=round(settings.min_heart_beat * 1000),
            subscriptions=settings.max_subscriptions,
            transactions=settings.max_transactions,
            transaction_frames=settings.max_transaction_frames,
            transaction_bytes=settings.max_transaction_bytes,
        )
        self.guest = settings.guest and all(user.name != "guest" for user in hub.config.users)
        """Whether `guest` is nobody in particular."""
        self.connections: set[Connection] = set()
        self.now = hub.clock.now
        """The wall clock, in milliseconds since the epoch."""
        self._hosts = {"", "/", DEFAULT_REALM, socket.gethostname().lower()}
        self._hosts |= {each.lower() for each in settings.default_hosts}
        config = hub.config
        self._realms = {*settings.realms, *(each.realm for each in config.queues)}
        self._realms |= {each.realm for each in config.streams}
        self._realms |= {realm for user in config.users for realm in user.realms}
        self._lines: dict[tuple[str, str | None, Version], bytes] = {}

    def new_session_id(self) -> str:
        """Make an identifier for a connection."""
        return f"session-{secrets.token_urlsafe(9).replace('-', '_')}"

    def realm_of(self, host: str | None, principal: Principal) -> str | None:
        """Return the realm that a CONNECT asks for by its `host`; None if it may not go there.

        Clients send the name they connect by, so addresses and names of this machine mean the
        default realm, or the only one that the user has.
        """
        realms = principal.realms
        name = (host or "").strip()
        if name.lower() in self._hosts or _is_address(name):
            return DEFAULT_REALM if "*" in realms or DEFAULT_REALM in realms else realms[0]
        if name in realms or ("*" in realms and name in self._realms):
            return name
        return None

    def destination_line(
        self, address: str, scope: str | None, version: Version, lossy: Lossy
    ) -> bytes:
        """Return the encoded header `destination` of messages to an address."""
        key = (address, scope, version)
        line = self._lines.get(key)
        if line is None:
            if len(self._lines) >= _KEPT_LINES:
                self._lines.clear()
            line = self._lines[key] = destination_line(address, scope, version, lossy)
        return line

    # running

    def stop(self) -> None:
        """Ask every connection to end."""
        for connection in list(self.connections):
            connection.stop()

    # what is made when it is needed

    async def ensure_queue(
        self, bus: Session, name: str, settings: QueueSettings | None = None
    ) -> None:
        """Create a queue, if it does not exist and that is wanted.

        Raises:
            AddressError, DeniedError: the principal may not configure it.
        """
        if self.settings.create_queues and bus.find_queue(name) is None:
            with suppress(ExistsError):  # somebody was faster
                await bus.create_queue(name, settings or QueueSettings())

    async def ensure_stream(
        self, bus: Session, name: str, settings: StreamSettings | None = None
    ) -> None:
        """Create a stream with one shard; the rest is as for `ensure_queue`."""
        if self.settings.create_streams and bus.find_stream(name) is None:
            with suppress(ExistsError):
                await bus.create_stream(name, settings or StreamSettings())


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
