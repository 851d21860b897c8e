"""Shared subscriptions: a queue for each group and filter, from which members consume (4.8.2).

Messages of QoS 0 do not go through the queue: they are dealt out in turn to the members that are
connected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hubbub import Batch, FilterSpec, Message, Session, queue_address

from .filters import Granted
from .reliable import is_unreliable

if TYPE_CHECKING:
    from .broker import Broker
    from .sessions import ClientSession


class Member(Protocol):
    """A connection as a group sees it."""

    @property
    def slow(self) -> bool:
        """Whether it does not keep up with messages of QoS 0."""
        ...

    def deliver_shared(self, granted: Granted, messages: list[Message], batch: Batch) -> None:
        """Send messages of QoS 0 on."""
        ...


class Group:
    """One shared subscription, as long as a session has it."""

    def __init__(self, granted: Granted) -> None:
        self.name = queue_of_group(granted)
        self.source = granted.source
        self.members: dict[tuple[str, str], ClientSession] = {}
        self.durable = False
        self.connected: dict[Member, Granted] = {}
        self._turn = 0

    def deliver(self, batch: Batch) -> None:
        """Deal messages of QoS 0 out to the connected members, slow ones left out if possible."""
        members = [each for each in self.connected if not each.slow] or list(self.connected)
        count = len(members)
        if not count:
            return  # as for any absent subscriber
        shares: list[list[Message]] = [[] for _ in members]
        for message in batch.messages:
            shares[self._turn % count].append(message)
            self._turn += 1
        for member, share in zip(members, shares, strict=True):
            if share:
                member.deliver_shared(self.connected[member], share, batch)


def queue_of_group(granted: Granted) -> str:
    """Return the name of a group's queue: the client's own spelling of it."""
    return granted.filter


class Groups:
    """All shared subscriptions of a hub."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._groups: dict[tuple[str, str], Group] = {}

    def get(self, realm: str, granted: Granted) -> Group | None:
        """Return the group of a subscription."""
        return self._groups.get((realm, granted.filter))

    async def join(self, session: ClientSession, granted: Granted) -> Group:
        """Make a session a member; its messages are kept as well as those of any member."""
        bus = self._broker.bus(session.realm)
        key = (session.realm, granted.filter)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(granted)
        group.members[session.key] = session
        found = bus.find_queue(group.name)
        durable = group.durable or session.durable
        if found is None:
            await bus.create_queue(group.name, self._broker.queue_settings(durable=durable))
        elif found.settings.durable != durable:
            settings = self._broker.queue_settings(durable=durable)
            await bus.configure_queue(group.name, settings)
        if found is None or durable != group.durable:
            bus.subscribe(
                group.source,
                str(queue_address(group.name)),
                filter=FilterSpec("mqtt", {"qos": 1}),
                id=f"mqtt-share/{group.name}",
                durable=durable,
            )
        if len(group.members) == 1:
            live = f"mqtt-share-live/{group.name}"
            bus.subscribe(group.source, group.deliver, accepts=is_unreliable, id=live)
        group.durable = durable
        return group

    async def leave(self, session: ClientSession, granted: Granted) -> None:
        """End a session's membership. The last one takes what still waits with it."""
        key = (session.realm, granted.filter)
        group = self._groups.get(key)
        if group is None:
            return
        group.members.pop(session.key, None)
        if group.members:
            return
        del self._groups[key]
        bus = self._broker.bus(session.realm)
        bus.unsubscribe(f"mqtt-share-live/{group.name}")
        if bus.find_queue(group.name) is not None:
            await bus.delete_queue(group.name)

    async def restore(self, bus: Session) -> None:
        """Delete the queues of groups that no session is a member of any more."""
        for queue in bus.queues("$share/"):
            if (bus.realm, queue.name) not in self._groups:
                await bus.delete_queue(queue.name)
