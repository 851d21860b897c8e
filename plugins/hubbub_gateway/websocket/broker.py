"""What the WebSocket connections of one hub share."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from hubbub import (
    ExistsError,
    Hub,
    NotFoundError,
    QueueSettings,
    Session,
    StreamSettings,
    WebSocketProtocol,
    WebSocketSettings,
)

from .settings import WebSocketApiSettings

if TYPE_CHECKING:
    from .connection import Connection

SessionKey = tuple[str, str]
"""A session: its realm, and how the names of its queues begin."""


class Broker:
    """Settings, and who has which session. Made anew for each hub."""

    def __init__(
        self,
        hub: Hub,
        settings: WebSocketApiSettings,
        *,
        create_queues: bool,
        create_streams: bool,
        guests: Iterable[WebSocketProtocol] = (),
    ) -> None:
        self.hub = hub
        self.settings = settings
        self.limits = WebSocketSettings(
            max_message_bytes=settings.max_frame_bytes,
            max_frame_bytes=settings.max_frame_bytes,
            ping_interval=settings.ping_interval,
            ping_timeout=settings.ping_timeout,
            compression=settings.compression,
        )
        """What every WebSocket of the hub is held to."""
        self.now = hub.clock.now
        """The wall clock, in milliseconds since the epoch."""
        self.guests: dict[str, list[WebSocketProtocol]] = {}
        """What other plugins speak over WebSocket, by path."""
        for guest in guests:
            for path in guest.paths:
                self.guests.setdefault(path, []).append(guest)
        self._create_queues = create_queues
        self._create_streams = create_streams
        self._holders: dict[SessionKey, Connection] = {}

    # sessions

    async def claim(self, key: SessionKey, connection: Connection) -> None:
        """Make a connection the only one of its session; the one that has it is closed."""
        while (other := self._holders.get(key)) is not None:
            other.displace()
            await other.gone.wait()
        self._holders[key] = connection

    def release(self, key: SessionKey, connection: Connection) -> None:
        """Let others have a session."""
        if self._holders.get(key) is connection:
            del self._holders[key]

    # what is made when it is needed

    async def ensure_queue(self, bus: Session, name: str) -> None:
        """Create a queue, if it does not exist and that is wanted.

        Raises:
            NotFoundError: it is not wanted.
            AddressError, DeniedError: the principal may not configure it.
        """
        if bus.find_queue(name) is not None:
            return
        if not self._create_queues:
            raise NotFoundError("queue", name)
        with suppress(ExistsError):  # somebody was faster
            await bus.create_queue(name, QueueSettings())

    async def ensure_stream(self, bus: Session, name: str) -> None:
        """Create a stream with one shard; the rest is as for `ensure_queue`."""
        if bus.find_stream(name) is None and self._create_streams:
            with suppress(ExistsError):
                await bus.create_stream(name, StreamSettings())
