"""What the connections of one hub share."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from hubbub import (
    DEFAULT_REALM,
    ExistsError,
    Hub,
    HubbubError,
    Kind,
    Outcome,
    Principal,
    QueueSettings,
    Session,
    StreamSettings,
    parse_address,
    queue_address,
)

from .delivery import Recent, Styles
from .filters import Granted
from .filters import Kind as FilterKind
from .mapping import message_of
from .protocol import NEVER, ServerSettings
from .sessions import QUEUE_PREFIX, ClientSession, Sessions
from .settings import MqttSettings
from .shared import Groups, queue_of_group
from .sys_topics import SysTopics
from .tags import qos_of
from .topics import TopicCache

if TYPE_CHECKING:
    from .connection import Connection

SYSTEM: Final = "mqtt"
"""The principal that acts for absent clients and for the broker itself."""


_MAX_ALIASES: Final = 1_000
"""Topics that one client is sent aliases for, at most."""


@dataclass(slots=True)
class BrokerStats:
    """Counts since the start, for `$SYS`."""

    packets_received: int = 0
    packets_sent: int = 0
    publishes_received: int = 0
    publishes_sent: int = 0
    publishes_dropped: int = 0
    clients_maximum: int = 0


class Broker:
    """Sessions, shared subscriptions and limits; made anew for each hub."""

    def __init__(self, hub: Hub, settings: MqttSettings) -> None:
        self.hub = hub
        self.settings = settings
        self.now = hub.clock.now
        """The wall clock, in milliseconds since the epoch."""
        self.protocol_settings = ServerSettings(
            receive_maximum=settings.receive_maximum,
            send_maximum=settings.max_in_flight,
            maximum_packet_size=settings.max_packet_size,
            topic_alias_maximum=settings.topic_alias_maximum,
            send_topic_alias_maximum=_MAX_ALIASES,
            server_keep_alive=settings.max_keep_alive,
            authentication_methods=frozenset(hub.mechanisms),
        )
        self.max_expiry = (
            NEVER if settings.max_session_expiry is None else int(settings.max_session_expiry)
        )
        self.topics = TopicCache()
        self.styles = Styles()
        self.recent = Recent()
        self.stats = BrokerStats()
        self.sessions = Sessions(self)
        self.groups = Groups(self)
        self.connections: set[Connection] = set()
        """All of them, also those whose clients have not been let in yet."""
        self.clients = 0
        """Clients that are connected."""
        self.bytes_in = 0
        self.bytes_out = 0
        self.sys_topics = SysTopics(self, settings.sys_interval)
        self._system = Principal(SYSTEM, realms=("*",))
        self._buses: dict[str, Session] = {}
        self._live_ids = itertools.count(1)

    def next_live_id(self) -> str:
        """Return an id for a subscription that ends with its connection."""
        return f"mqtt-live/{next(self._live_ids)}"

    def bus(self, realm: str) -> Session:
        """Return the broker's own session on the bus of a realm."""
        bus = self._buses.get(realm)
        if bus is None:
            bus = self._buses[realm] = self.hub.session(
                self._system, protocol="mqtt", client="", realm=realm
            )
        return bus

    def bus_of(self, session: ClientSession) -> Session:
        """Make a session on the bus that publishes in the name of an absent client."""
        return self.hub.session(
            self._system, protocol=session.protocol, client=session.client_id, realm=session.realm
        )

    def queue_settings(self, *, durable: bool) -> QueueSettings:
        """Return the settings of the queues that the broker makes for sessions."""
        return QueueSettings(
            durable=durable,
            max_length=self.settings.max_queued_messages,
            max_bytes=self.settings.max_queued_bytes,
        )

    # running

    async def load(self) -> None:
        """Take back what was kept. Call once, before clients come."""
        bus = self.bus(DEFAULT_REALM)
        await self.sessions.load(bus)
        realms = {DEFAULT_REALM}
        for session in self.sessions:
            realms.add(session.realm)
            for granted in session.filters:
                if granted.kind is FilterKind.SHARED:
                    await self.groups.join(session, granted)
                if granted.kind is not FilterKind.TOPICS:
                    await self.give_back(session, granted, keep=True)
        for realm in realms:
            await self._tidy(self.bus(realm))

    async def _tidy(self, bus: Session) -> None:
        """Delete queues that belong to nobody: a crash came before all of a session was written."""
        for queue in bus.queues(QUEUE_PREFIX):
            if self.sessions.get((bus.realm, queue.name[len(QUEUE_PREFIX) :])) is None:
                await bus.delete_queue(queue.name)
        await self.groups.restore(bus)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the connections until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.sessions.run)
            nursery.start_soon(self.sys_topics.run, self.bus(DEFAULT_REALM))
            task_status.started()

    def stop(self) -> None:
        """Ask every connection to end."""
        for connection in list(self.connections):
            connection.stop()

    def count_clients(self, change: int) -> None:
        """Note that a client has been let in, or has left."""
        self.clients += change
        self.stats.clients_maximum = max(self.stats.clients_maximum, self.clients)

    def carried(self) -> tuple[int, int]:
        """Return the bytes received and sent since the start."""
        carried = [each.carried for each in self.connections]
        return (
            self.bytes_in + sum(received for received, _ in carried),
            self.bytes_out + sum(sent for _, sent in carried),
        )

    # addresses

    async def ensure(self, bus: Session, address: str) -> None:
        """Create the queue or stream of an address, if it does not exist and that is wanted.

        Raises:
            AddressError, DeniedError: the principal may not configure it.
        """
        parsed = parse_address(address)
        settings = self.settings
        if parsed.kind is Kind.QUEUE and settings.create_queues:
            if bus.find_queue(parsed.name) is None:
                await _if_missing(bus.create_queue(parsed.name, QueueSettings()))
        elif (
            parsed.kind is Kind.STREAM
            and settings.create_streams
            and bus.find_stream(parsed.name) is None
        ):
            await _if_missing(bus.create_stream(parsed.name, StreamSettings()))

    # what outlives connections

    async def publish_will(self, session: ClientSession, bus: Session) -> None:
        """Publish a session's will, which is gone afterwards, by a session in its client's name.

        Whether the client may publish it was decided when it connected.
        """
        will, session.will, session.will_at = session.will, None, None
        if will is None:
            return
        message = message_of(will, self.now())
        try:
            if message.address.startswith("$"):
                await self.ensure(bus, message.address)
            publication = bus.publish([message])
        except HubbubError as error:
            self.lost_will(session, error)
        else:
            for refusal in publication.refused.values():
                self.lost_will(session, refusal)

    def lost_will(self, session: ClientSession, error: HubbubError) -> None:
        """Count a will that could not be published."""
        self.bus(session.realm).lost("will refused", 1, session.client_id)
        self.hub.log.info("mqtt: will refused", client=session.client_id, reason=str(error))

    async def unsubscribe(self, session: ClientSession, granted: Granted, bus: Session) -> None:
        """End a subscription of a session that ends; what it holds of others' queues goes back."""
        if granted.kind is FilterKind.TOPICS:
            if granted.qos:
                bus.unsubscribe(session.subscription_id(granted.filter))
            return
        await self.give_back(session, granted, keep=False)
        if granted.kind is FilterKind.SHARED:
            await self.groups.leave(session, granted)

    async def give_back(self, session: ClientSession, granted: Granted, *, keep: bool) -> None:
        """Give back what an absent client holds of a queue that is not its own.

        With `keep`, not the messages of QoS 2: they are for this client when it returns. Without,
        those of a shared subscription are dropped, for nobody else may get them (4.8.2).
        """
        bus = self.bus(session.realm)
        name = queue_name(granted)
        if bus.find_queue(name) is None:
            return
        kept = [each for each in await bus.leases(name, session.owner) if qos_of(each.tag) == 2]
        if keep and kept:
            held = {each.receipt for each in kept}
            others = [
                each.receipt
                for each in await bus.leases(name, session.owner)
                if each.receipt not in held
            ]
            await bus.settle(others, Outcome.RELEASE)
            return
        if kept and granted.kind is FilterKind.SHARED:
            await bus.settle([each.receipt for each in kept], Outcome.ACCEPT)
            bus.lost("session ended", len(kept), str(queue_address(name)))
        await bus.release_owner(name, session.owner)


def queue_name(granted: Granted) -> str:
    """Return the name of the queue that a subscription consumes, if it is not one to topics."""
    return granted.source if granted.kind is FilterKind.QUEUE else queue_of_group(granted)


async def _if_missing(creation: Awaitable[object]) -> None:
    with contextlib.suppress(ExistsError):  # somebody was faster
        await creation


_BRIDGE_STATE: Final = re.compile(r"\$SYS/broker/connection/[^/]+/state")
"""Where Mosquitto's bridges tell that they are connected; their will says that they are not."""


def is_reserved(address: str) -> bool:
    """Whether no client may use an address: one of `$SYS`, of an internal queue, of `$share`.

    What is published to `$share/…` nobody could subscribe to, as it means something else there.
    """
    if not address.startswith(("$SYS/", "$queue/$", "$share/")):
        return address == "$SYS"
    return _BRIDGE_STATE.fullmatch(address) is None
