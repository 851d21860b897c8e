"""Sessions: what the server knows of a client, which may outlive its connections (4.1).

The messages of a session are not here: they are in its queue, under leases of the session. Here
are its subscriptions, packet identifiers, will and times, and how they are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from hubbub import LASTING_OWNER, Document, HubbubError, Session, queue_address

from .filters import Filters, Granted
from .packets import Will
from .protocol import NEVER

if TYPE_CHECKING:
    from .broker import Broker

SESSIONS: Final = "mqtt.session"
INBOUND: Final = "mqtt.inbound"
OUTBOUND: Final = "mqtt.outbound"

QUEUE_PREFIX: Final = "$mqtt/"
"""The names of sessions' queues start so; no client reaches a queue whose name starts with `$`."""


class SessionRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A durable session as it is kept; times in milliseconds since the epoch."""

    principal: str
    protocol: str
    expiry: int
    subscriptions: tuple[Granted, ...] = ()
    disconnected_at: int | None = None
    will: Will | None = None
    will_at: int | None = None


class ClientSession:
    """One client's session.

    * `expiry`: seconds for which it outlives its connection; `NEVER`: without end.
    * `durable`: it is kept over restarts. Decided when it begins.
    * `inbound`: identifiers of the client's QoS 2 messages that are taken over and not released.
    * `outbound`: identifiers of messages to the client for which PUBREC has come and PUBCOMP not.
    * `will`, `will_at`: a will that waits for its delay, or that a crash of the server would leave.
    """

    __slots__ = (
        "client_id",
        "disconnected_at",
        "durable",
        "expiry",
        "filters",
        "inbound",
        "last_packet_id",
        "outbound",
        "principal",
        "protocol",
        "realm",
        "will",
        "will_at",
    )

    def __init__(
        self, realm: str, client_id: str, *, principal: str, protocol: str, expiry: int
    ) -> None:
        self.realm = realm
        self.client_id = client_id
        self.principal = principal
        self.protocol = protocol
        self.expiry = expiry
        self.durable = expiry > 0
        self.filters = Filters()
        self.inbound: set[int] = set()
        self.outbound: dict[int, None] = {}
        self.last_packet_id = 0
        self.disconnected_at: int | None = None
        self.will: Will | None = None
        self.will_at: int | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What tells sessions apart."""
        return self.realm, self.client_id

    @property
    def queue(self) -> str:
        """The name of the queue in which its messages wait."""
        return QUEUE_PREFIX + self.client_id

    @property
    def queue_address(self) -> str:
        """The address of its queue."""
        return str(queue_address(self.queue))

    @property
    def owner(self) -> str:
        """Who holds its leases. Those of a durable session outlive a restart."""
        return (LASTING_OWNER if self.durable else "") + "mqtt/" + self.client_id

    @property
    def expires_at(self) -> int | None:
        """When it ends, if its client does not come back; None: not by itself."""
        if self.disconnected_at is None or self.expiry >= NEVER:
            return None
        return self.disconnected_at + self.expiry * 1000

    def subscription_id(self, topic_filter: str) -> str:
        """The id on the bus of the subscription that fills its queue."""
        return f"mqtt/{len(self.client_id)}/{self.client_id}/{topic_filter}"

    # what is kept

    def save(self, bus: Session) -> None:
        """Keep it as it is now, if it is to be kept at all."""
        if not self.durable:
            return
        record = SessionRecord(
            self.principal,
            self.protocol,
            self.expiry,
            tuple(self.filters),
            self.disconnected_at,
            self.will,
            self.will_at,
        )
        bus.put_document(SESSIONS, self.client_id, msgspec.msgpack.encode(record))

    @classmethod
    def load(cls, document: Document, now: int) -> ClientSession:
        """Take a session back. One whose client was connected has lost it just now."""
        record = msgspec.msgpack.decode(document.value, type=SessionRecord)
        session = cls(
            document.realm,
            document.key,
            principal=record.principal,
            protocol=record.protocol,
            expiry=record.expiry,
        )
        session.durable = True
        session.filters = Filters(record.subscriptions)
        session.will = record.will
        session.will_at = record.will_at
        session.disconnected_at = record.disconnected_at
        if session.disconnected_at is None:
            session.disconnected_at = now
            session.will_at = session.will_due(now)
        return session

    def will_due(self, now: int) -> int | None:
        """When its will is due if the client is lost now: after its delay, or with the session."""
        if self.will is None:
            return None
        delay = self.will.properties.will_delay_interval or 0
        return now + min(delay, self.expiry) * 1000

    def take_over(self, bus: Session, packet_id: int) -> None:
        """Note that a QoS 2 message of the client is taken over."""
        self.inbound.add(packet_id)
        if self.durable:
            bus.put_document(INBOUND, self._packet_key(packet_id), b"")

    def release(self, bus: Session, packet_id: int) -> None:
        """Note that the client has released a QoS 2 message, or that it was not taken over."""
        if packet_id in self.inbound:
            self.inbound.discard(packet_id)
            if self.durable:
                bus.drop_document(INBOUND, self._packet_key(packet_id))

    def received(self, bus: Session, packet_id: int) -> None:
        """Note that the client has received a QoS 2 message of ours."""
        self.outbound[packet_id] = None
        if self.durable:
            bus.put_document(OUTBOUND, self._packet_key(packet_id), b"")

    def completed(self, bus: Session, packet_id: int) -> None:
        """Note that a QoS 2 message of ours is done with."""
        if packet_id in self.outbound:
            del self.outbound[packet_id]
            if self.durable:
                bus.drop_document(OUTBOUND, self._packet_key(packet_id))

    def _packet_key(self, packet_id: int) -> str:
        return f"{packet_id}/{self.client_id}"

    def forget(self, bus: Session) -> None:
        """Drop all that is kept of it, but for its queue."""
        if not self.durable:
            return
        bus.drop_document(SESSIONS, self.client_id)
        for packet_id in self.inbound:
            bus.drop_document(INBOUND, self._packet_key(packet_id))
        for packet_id in self.outbound:
            bus.drop_document(OUTBOUND, self._packet_key(packet_id))


class Claim:
    """The right to change a session: one connection's at a time, or the expiry's.

    `displace` asks whoever has it to give it up soon.
    """

    __slots__ = ("_released", "displace")

    def __init__(self, displace: Callable[[], None]) -> None:
        self.displace = displace
        self._released: trio.Event | None = None

    async def released(self) -> None:
        """Wait until it is given up."""
        if self._released is None:
            self._released = trio.Event()
        await self._released.wait()

    def release(self) -> None:
        """Tell all who wait that it is given up."""
        if self._released is not None:
            self._released.set()


class Sessions:
    """All sessions of a hub, with connected clients and without."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._sessions: dict[tuple[str, str], ClientSession] = {}
        self._claims: dict[tuple[str, str], Claim] = {}
        self._times: list[tuple[int, tuple[str, str]]] = []
        """When to look at sessions whose clients are absent; a heap. Some may be out of date."""
        self._earlier = trio.Event()

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[ClientSession]:
        return iter(tuple(self._sessions.values()))

    def get(self, key: tuple[str, str]) -> ClientSession | None:
        """Return the session of a client."""
        return self._sessions.get(key)

    def is_of_another(self, key: tuple[str, str], principal: str) -> bool:
        """Whether a session belongs to another principal: nobody takes over what is not his."""
        session = self._sessions.get(key)
        return session is not None and session.principal != principal

    def add(self, session: ClientSession) -> None:
        """Add a session that begins."""
        self._sessions[session.key] = session

    # loading

    async def load(self, bus: Session) -> None:
        """Take back the sessions that were kept, and throw away what belongs to none."""
        now = self._broker.now()
        async for document in bus.documents(SESSIONS):
            session = ClientSession.load(document, now)
            self.add(session)
            self.watch(session)
        async for document in bus.documents(INBOUND):
            if (found := self._of_packet(document)) is not None:
                found[0].inbound.add(found[1])
        async for document in bus.documents(OUTBOUND):
            if (found := self._of_packet(document)) is not None:
                found[0].outbound[found[1]] = None

    def _of_packet(self, document: Document) -> tuple[ClientSession, int] | None:
        packet_id, _, client_id = document.key.partition("/")
        session = self._sessions.get((document.realm, client_id))
        return None if session is None else (session, int(packet_id))

    # who may change a session

    async def claim(self, key: tuple[str, str], claim: Claim) -> None:
        """Claim a session, displacing whoever has it. Give it back with `release`."""
        while (other := self._claims.get(key)) is not None:
            other.displace()
            await other.released()
        self._claims[key] = claim

    def release(self, key: tuple[str, str], claim: Claim) -> None:
        """Give a claim back."""
        if self._claims.get(key) is claim:
            del self._claims[key]
        claim.release()

    # ends

    async def end(self, session: ClientSession, bus: Session) -> None:
        """End a session: its subscriptions, messages, leases and records go. Needs its claim."""
        self._sessions.pop(session.key, None)
        for granted in session.filters:
            await self._broker.unsubscribe(session, granted, bus)
        if bus.find_queue(session.queue) is not None:
            await bus.delete_queue(session.queue)
        session.forget(bus)

    def watch(self, session: ClientSession) -> None:
        """Do what is due in a session when its time comes: its client is absent."""
        when = _next_time(session)
        if when is None:
            return
        heappush(self._times, (when, session.key))
        if self._times[0][0] == when:
            self._earlier.set()
        if len(self._times) > 2 * len(self._sessions) + 1_000:
            self._times.clear()
            for each in self._sessions.values():
                if each.key not in self._claims and (time := _next_time(each)) is not None:
                    heappush(self._times, (time, each.key))

    async def run(self) -> None:
        """End sessions and publish wills when their time has come, until cancelled."""
        times = self._times
        while True:
            now = self._broker.now()
            while times and times[0][0] <= now:
                _, key = heappop(times)
                await self._advance(key)
            self._earlier = trio.Event()
            # The wall clock may be set, so it is looked at now and then.
            nap = min(times[0][0] - now, _LONGEST_NAP) if times else _LONGEST_NAP
            with trio.move_on_after(nap / 1000):
                await self._earlier.wait()

    async def _advance(self, key: tuple[str, str]) -> None:
        session = self._sessions.get(key)
        if session is None or key in self._claims:
            return  # its client is back, or it has ended
        claim = Claim(lambda: None)
        await self.claim(key, claim)
        try:
            now = self._broker.now()
            ends = session.expires_at is not None and session.expires_at <= now
            bus = self._broker.bus_of(session)
            if session.will_at is not None and (ends or session.will_at <= now):
                await self._broker.publish_will(session, bus)
                session.save(bus)
            if ends:
                await self.end(session, bus)
            else:
                self.watch(session)
        except HubbubError:
            self._broker.hub.log.exception("mqtt: session not ended", client=session.client_id)
            heappush(self._times, (self._broker.now() + _LONGEST_NAP, key))
        finally:
            self.release(key, claim)


_LONGEST_NAP: Final = 5_000


def _next_time(session: ClientSession) -> int | None:
    """When something is to be done about a session whose client is absent."""
    times = [when for when in (session.expires_at, session.will_at) if when is not None]
    return min(times, default=None)
