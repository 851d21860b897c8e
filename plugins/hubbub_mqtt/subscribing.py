"""SUBSCRIBE and UNSUBSCRIBE of one client (3.8, 3.10)."""

from __future__ import annotations

from hubbub import (
    AddressError,
    DeniedError,
    FilterSpec,
    HubbubError,
    Message,
    UnavailableError,
    check_pattern,
    parse_address,
    queue_address,
)

from .broker import is_reserved
from .filters import Granted, Kind
from .link import Link
from .outbox import Outbox
from .packets import Subscribe, Subscription, Unsubscribe
from .reasons import FAILURE, ReasonCode
from .shared import queue_of_group
from .sys_topics import SYS
from .topics import has_wildcard, split_shared


class Subscriber:
    """Subscribes a client to topics, shared subscriptions and queues."""

    __slots__ = ("_link", "_outbox")

    def __init__(self, link: Link, outbox: Outbox) -> None:
        self._link = link
        self._outbox = outbox

    async def restore(self) -> None:
        """Begin to deliver by the subscriptions of a session that is resumed.

        Those that the client may not have any more are ended.
        """
        link, session = self._link, self._link.session
        for granted in session.filters:
            if self._may_not(granted) is not None:
                session.filters.remove(granted.filter)
                await link.broker.unsubscribe(session, granted, link.bus)
                continue
            if granted.kind is Kind.TOPICS:
                if granted.qos:
                    link.bus.adopt(session.queue_address)
                self._outbox.listen(granted)
            elif granted.kind is Kind.SHARED:
                link.bus.adopt(str(queue_address(queue_of_group(granted))))
            elif link.bus.find_queue(granted.source) is None:
                try:
                    await link.broker.ensure(link.bus, str(queue_address(granted.source)))
                except HubbubError:
                    session.filters.remove(granted.filter)

    async def subscribe(self, packet: Subscribe) -> None:
        """Answer SUBSCRIBE, and send retained messages."""
        link = self._link
        self._outbox.cork()
        try:
            reasons, retained, problem = await self._subscribe(packet)
            if any(reason < FAILURE for reason in reasons):
                await self._keep()
            link.write(link.machine.suback(packet.packet_id, tuple(reasons), reason_string=problem))
        finally:
            self._outbox.uncork()
        for granted, messages in retained:
            await self._outbox.send_retained(granted, messages)

    async def _subscribe(
        self, packet: Subscribe
    ) -> tuple[list[int], list[tuple[Granted, list[Message]]], str | None]:
        """Subscribe to each filter; return the reasons, retained messages, and what went wrong."""
        session = self._link.session
        limit = self._link.broker.settings.max_subscriptions
        identifiers = packet.properties.subscription_identifiers
        identifier = identifiers[0] if identifiers else 0
        reasons: list[int] = []
        retained: list[tuple[Granted, list[Message]]] = []
        problem: str | None = None
        for wanted in packet.subscriptions:
            known = session.filters.get(wanted.filter)
            if known is None and len(session.filters) >= limit:
                reasons.append(ReasonCode.QUOTA_EXCEEDED)
                problem = f"a session has at most {limit} subscriptions"
                continue
            try:
                granted = self._granted(wanted, identifier)
                await self._begin(granted)
            except UnavailableError:
                raise
            except HubbubError as error:
                reasons.append(_reason_of(error))
                problem = str(error)
                continue
            reasons.append(granted.qos)
            due = wanted.retain_handling == 0 or (wanted.retain_handling == 1 and known is None)
            if due and granted.kind is Kind.TOPICS:
                retained.append((granted, self._retained(granted)))
        return reasons, retained, problem

    def _retained(self, granted: Granted) -> list[Message]:
        found = self._link.bus.retained(granted.source)
        if granted.source.startswith(SYS):
            found += self._link.broker.sys_topics.retained(granted.source)
        return found

    def _granted(self, wanted: Subscription, identifier: int) -> Granted:
        """Return what a client gets for what it asks.

        Raises:
            AddressError: nobody can subscribe to this.
            DeniedError: this client may not.
        """
        kind, source = Kind.TOPICS, wanted.filter
        shared = split_shared(wanted.filter)
        if shared is not None:
            kind, source = Kind.SHARED, shared.filter
        if source.startswith("$queue/"):
            if kind is Kind.SHARED or has_wildcard(source):
                raise AddressError("a subscription to a queue names one queue, and is not shared")
            if is_reserved(source):
                raise DeniedError(self._link.bus.principal.name, "consume", source)
            kind, source = Kind.QUEUE, parse_address(source).name
        elif source == "$queue":
            raise AddressError("the name of a queue is missing")
        elif source == "$stream" or source.startswith("$stream/"):
            raise AddressError("MQTT clients publish to streams; they can't subscribe to them")
        else:
            check_pattern(source)
            if kind is Kind.SHARED:
                queue_address(wanted.filter)
        granted = Granted(
            wanted.filter,
            kind,
            source,
            wanted.qos,
            wanted.no_local,
            wanted.retain_as_published,
            identifier,
        )
        if (denied := self._may_not(granted)) is not None:
            raise denied
        return granted

    def _may_not(self, granted: Granted) -> DeniedError | None:
        bus = self._link.bus
        action, resource = "subscribe", granted.source
        if granted.kind is Kind.QUEUE:
            action, resource = "consume", str(queue_address(granted.source))
        if bus.allowed(action, resource):
            return None
        return DeniedError(bus.principal.name, action, resource)

    async def _begin(self, granted: Granted) -> None:
        """Make a subscription, or give an old one its new options; nothing is lost meanwhile."""
        link, session = self._link, self._link.session
        if granted.kind is Kind.TOPICS:
            if granted.qos:
                await self._fill_own_queue(granted)
            elif (known := session.filters.get(granted.filter)) is not None and known.qos:
                link.bus.unsubscribe(session.subscription_id(granted.filter))
            session.filters.add(granted)
            self._outbox.listen(granted)
            self._outbox.consume(granted)
            return
        if granted.kind is Kind.SHARED:
            await link.broker.groups.join(session, granted)
            link.bus.adopt(str(queue_address(queue_of_group(granted))))
        else:
            await link.broker.ensure(link.bus, str(queue_address(granted.source)))
        self._outbox.consume(granted)
        session.filters.add(granted)

    async def _fill_own_queue(self, granted: Granted) -> None:
        link, session = self._link, self._link.session
        link.bus.adopt(session.queue_address)
        if link.bus.find_queue(session.queue) is None:
            settings = link.broker.queue_settings(durable=session.durable)
            await link.bus.create_queue(session.queue, settings)
        spec: dict[str, object] = {"qos": 1}
        if granted.no_local:
            spec["not_from"] = session.client_id
        link.bus.subscribe(
            granted.source,
            session.queue_address,
            filter=FilterSpec("mqtt", spec),
            id=session.subscription_id(granted.filter),
            durable=session.durable,
        )

    async def unsubscribe(self, packet: Unsubscribe) -> None:
        """Answer UNSUBSCRIBE. What is in flight already is still delivered (3.10.4)."""
        link, session = self._link, self._link.session
        reasons: list[int] = []
        for topic_filter in packet.filters:
            granted = session.filters.remove(topic_filter)
            if granted is None:
                reasons.append(ReasonCode.NO_SUBSCRIPTION_EXISTED)
                continue
            reasons.append(ReasonCode.SUCCESS)
            self._outbox.unsubscribe(granted)
            if granted.kind is Kind.TOPICS:
                if granted.qos:
                    link.bus.unsubscribe(session.subscription_id(topic_filter))
            elif granted.kind is Kind.SHARED:
                await link.broker.groups.leave(session, granted)
        await self._keep()
        link.write(link.machine.unsuback(packet.packet_id, tuple(reasons)))

    async def _keep(self) -> None:
        """Wait until the subscriptions of a durable session are kept."""
        link, session = self._link, self._link.session
        if session.durable:
            session.save(link.bus)
            await link.bus.commit().wait()


def _reason_of(error: HubbubError) -> int:
    """Return the reason code for SUBACK (3.9.3)."""
    match error:
        case DeniedError():
            return ReasonCode.NOT_AUTHORIZED
        case AddressError():
            return ReasonCode.TOPIC_FILTER_INVALID
        case _:
            return ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR
