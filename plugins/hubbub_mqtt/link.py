"""What the parts of one connection share once its client is let in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hubbub import Message, Session, Transport

from .mapping import came_by_mqtt
from .protocol import ServerConnection

if TYPE_CHECKING:
    from .broker import Broker
    from .sessions import ClientSession


class Link:
    """A client that is connected: its bytes, its state machine, its session, its handle on the bus.

    `interrupt` makes the connection look up from what it waits for.
    """

    __slots__ = ("broker", "bus", "failed", "interrupt", "machine", "session", "transport")

    def __init__(
        self,
        broker: Broker,
        transport: Transport,
        machine: ServerConnection,
        session: ClientSession,
        bus: Session,
        interrupt: Callable[[], None],
    ) -> None:
        self.broker = broker
        self.transport = transport
        self.machine = machine
        self.session = session
        self.bus = bus
        self.interrupt = interrupt
        self.failed: str | None = None
        """Why this side has ended the connection; None while it has not."""

    def write(self, data: bytes, packets: int = 1) -> None:
        """Send a packet, or several; none if there is no data."""
        if data:
            self.broker.stats.packets_sent += packets
            self.transport.write(data)

    def fail(self, reason: int, text: str) -> None:
        """End the connection for a reason that 5.0 can tell the client."""
        if self.failed is None:
            self.failed = text
            self.transport.write(self.machine.disconnect(reason, reason_string=text))
            self.interrupt()

    def is_own(self, message: Message) -> bool:
        """Whether this client has published a message (No Local, 3.8.3.1)."""
        return message.client == self.session.client_id and came_by_mqtt(message)
