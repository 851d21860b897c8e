"""Messages from the bus to one client: live ones of QoS 0, and those of queues under leases."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from hubbub import (
    Batch,
    Commit,
    Consumption,
    Delivery,
    HubbubError,
    Message,
    Outcome,
    Receipt,
    TransportClosed,
    Window,
    queue_address,
)

from .broker import queue_name
from .delivery import Alias, Encoded, Style, encode_batch, encode_messages
from .filters import Grant, Granted, Kind
from .inflight import OutboundRecord, OutboundState, SessionState
from .link import Link
from .mapping import template_of
from .protocol import State
from .reasons import ReasonCode
from .reliable import is_unreliable
from .tags import packet_id_of, qos_of, retain_of, tag_of

HIGH_WATER: Final = 256 * 1024
"""Bytes that the client has not taken above which it gets nothing more from queues."""
RETAINED_AT_ONCE: Final = 64
"""Retained messages that are written before the client must have taken most of them."""


class Resumed(msgspec.Struct, frozen=True, gc=False):
    """A message in flight since an earlier connection: no window of this one counts its lease."""

    receipt: Receipt


class Live:
    """A subscription to topics, as far as it delivers messages of QoS 0."""

    __slots__ = ("_outbox", "_style", "granted", "id")

    def __init__(self, outbox: Outbox, granted: Granted, id_: str, style: Style) -> None:
        self._outbox = outbox
        self._style = style
        self.granted = granted
        self.id = id_

    def deliver(self, batch: Batch) -> None:
        """Send a batch on; called by the bus, for every batch and subscriber."""
        outbox = self._outbox
        if outbox.filters.overlapping or self.granted.no_local or outbox.aliases:
            outbox.deliver_some(self.granted, batch)
            return
        encoded: Encoded | None = batch.cache.get(self._style)
        if encoded is None:
            encoded = outbox.encode(batch, self._style)
        outbox.write(encoded, batch.messages)


class Outbox:
    """Delivers to one client.

    The window is kept equal to the state machine's send quota, so that queues never hand out more
    than may be sent: a lease counts in it until PUBACK or PUBCOMP (4.9).
    """

    __slots__ = (
        "_consumptions",
        "_corked",
        "_held_back",
        "_held_bytes",
        "_largest",
        "_limit",
        "_link",
        "_live",
        "_paused",
        "_window",
        "aliases",
        "filters",
        "left",
        "resumed",
    )

    def __init__(self, link: Link) -> None:
        self._link = link
        self.filters = link.session.filters
        self._limit = link.broker.settings.slow_subscriber_bytes
        self._largest = link.machine.maximum_packet_size
        self.aliases = False
        """Whether the client takes topic aliases; known when it is let in."""
        self._live: dict[str, Live] = {}
        self._consumptions: dict[str, Consumption] = {}
        self._window: Window | None = None
        self._corked: list[bytes] | None = None
        self.left: list[Granted] = []
        """Subscriptions to queues that were ended while messages may have been in flight."""
        self.resumed = False
        """Whether all that was in flight has been sent again: only then new messages follow."""
        self._paused = False
        self._held_back = 0
        """Batches of messages of QoS 2 that wait until their packet identifiers are kept."""
        self._held_bytes = 0

    # messages of QoS 0

    @property
    def slow(self) -> bool:
        """Whether the client does not keep up with messages of QoS 0."""
        return self._link.transport.buffered > self._limit

    def style(self, granted: Granted) -> Style:
        """Return how messages by a subscription look."""
        return self._link.broker.styles.get(
            self._link.machine.version, granted.retain_as_published, granted.identifiers
        )

    def encode(self, batch: Batch, style: Style, alias: Alias | None = None) -> Encoded:
        """Encode a batch, if nobody of the same style has done so."""
        return encode_batch(batch, style, self._link.broker.now(), self._link.bus.lossy, alias)

    def write(self, encoded: Encoded, messages: Sequence[Message]) -> None:
        """Send messages of QoS 0, or drop them if the client is slow."""
        transport = self._link.transport
        stats = self._link.broker.stats
        if transport.buffered > self._limit:
            stats.publishes_dropped += encoded.count
            self._link.bus.lost("slow subscriber", encoded.count, messages[0].address)
        elif encoded.largest > self._largest:
            self._write_those_that_fit(encoded, messages)
        else:
            stats.publishes_sent += encoded.count
            transport.write(encoded.data)

    def _write_those_that_fit(self, encoded: Encoded, messages: Sequence[Message]) -> None:
        """Leave out what is larger than the client takes [MQTT-3.1.2-24]."""
        link = self._link
        for message in messages:
            one = encode_messages([message], encoded.style, link.broker.now(), link.bus.lossy)
            if one.largest <= self._largest:
                link.transport.write(one.data)
            else:
                self._too_large(message)

    def _too_large(self, message: Message) -> None:
        self._link.broker.stats.publishes_dropped += 1
        self._link.bus.lost("too large for the client", 1, message.address)

    def deliver_some(self, granted: Granted, batch: Batch) -> None:
        """Send on what comes by this subscription and by no other one of the client."""
        link = self._link
        chosen: dict[Grant, list[Message]] = {}
        for message in batch.messages:
            grant = self.filters.grant(message.address, own=link.is_own(message))
            if grant is None or grant.live is not granted or (message.qos and grant.qos):
                continue
            chosen.setdefault(grant, []).append(message)
        for grant, messages in chosen.items():
            style = link.broker.styles.get(
                link.machine.version, grant.retain_as_published, grant.identifiers
            )
            self._deliver(messages, batch, style)

    def deliver_shared(self, granted: Granted, messages: list[Message], batch: Batch) -> None:
        """Send on this client's share of a batch."""
        self._deliver(messages, batch, self.style(granted))

    def _deliver(self, messages: list[Message], batch: Batch, style: Style) -> None:
        """Send messages of a batch, all of which have one topic."""
        topic = messages[0].address
        alias = None
        if self.aliases and self._corked is None:  # an alias that is held back is not known yet
            alias = Alias(*self._link.machine.alias_of(topic))
        if len(messages) == len(batch.messages):
            encoded = self.encode(batch, style, alias)
        else:
            encoded = self._encode(messages, style, alias=alias)
        if alias is not None and encoded.largest <= self._largest and not self.slow:
            self._link.machine.use_alias(topic, alias.number)
        self.write(encoded, messages)

    def _encode(
        self,
        messages: Sequence[Message],
        style: Style,
        *,
        retained: bool = False,
        alias: Alias | None = None,
    ) -> Encoded:
        link = self._link
        now, lossy = link.broker.now(), link.bus.lossy
        return encode_messages(messages, style, now, lossy, retained=retained, alias=alias)

    def listen(self, granted: Granted) -> None:
        """Begin to deliver what is published to a filter on topics, or go on with new options."""
        link = self._link
        known = self._live.get(granted.filter)
        live = Live(self, granted, link.broker.next_live_id(), self.style(granted))
        link.bus.subscribe(
            granted.source,
            live.deliver,
            accepts=is_unreliable if granted.qos else None,
            id=live.id,
        )
        self._live[granted.filter] = live
        if known is not None:
            link.bus.unsubscribe(known.id)

    async def send_retained(self, granted: Granted, messages: Sequence[Message]) -> None:
        """Send the retained messages that a new subscription is owed (3.3.1.3)."""
        link = self._link
        if granted.no_local:
            messages = [each for each in messages if not link.is_own(each)]
        lasting = [each for each in messages if each.qos and granted.qos]
        if lasting:
            # In their own right, since the same messages may be in the queue for another filter.
            link.bus.enqueue(
                link.session.queue,
                [
                    msgspec.structs.replace(
                        each, id=link.bus.new_id(), origin_id=each.identity, retain=True
                    )
                    for each in lasting
                ],
            )
        rest = [each for each in messages if not (each.qos and granted.qos)]
        style = self.style(granted)
        for start in range(0, len(rest), RETAINED_AT_ONCE):
            some = rest[start : start + RETAINED_AT_ONCE]
            for message in some:
                one = self._encode([message], style, retained=True)
                if one.largest <= self._largest:
                    link.broker.stats.publishes_sent += 1
                    link.transport.write(one.data)
                else:
                    self._too_large(message)
            await link.transport.drain()

    # messages under leases

    async def in_flight(self) -> SessionState:
        """Find out what the session had in flight when its client was last seen."""
        link = self._link
        session = link.session
        records = [
            OutboundRecord(packet_id, OutboundState.PUBCOMP) for packet_id in session.outbound
        ]
        taken = set(session.outbound)
        deliveries: list[tuple[Delivery, Granted | None]] = []
        for granted in (None, *session.filters):
            if granted is not None and granted.kind is Kind.TOPICS:
                continue
            name = session.queue if granted is None else queue_name(granted)
            if link.broker.bus(session.realm).find_queue(name) is None:
                continue
            held = await link.broker.bus(session.realm).leases(name, session.owner)
            deliveries += [(each, granted) for each in held]
        unsent: list[Receipt] = []
        for delivery, granted in sorted(deliveries, key=lambda pair: pair[0].message.id):
            packet_id = packet_id_of(delivery.tag)
            if not packet_id or packet_id in taken:  # it was never sent, as far as is known
                unsent.append(delivery.receipt)
                continue
            taken.add(packet_id)
            records.append(self._record(delivery, granted, packet_id))
        if unsent:
            await link.bus.settle(unsent, Outcome.RELEASE)
        return SessionState(tuple(records), frozenset(session.inbound), session.last_packet_id)

    def _record(
        self, delivery: Delivery, granted: Granted | None, packet_id: int
    ) -> OutboundRecord:
        link = self._link
        message = delivery.message
        topic = message.address
        identifiers: tuple[int, ...] = ()
        if granted is not None:
            topic = _topic_of(granted, message)
            identifiers = granted.identifiers
        elif (grant := self.filters.grant(topic, own=link.is_own(message))) is not None:
            identifiers = grant.identifiers
        return OutboundRecord(
            packet_id,
            OutboundState.PUBACK if qos_of(delivery.tag) == 1 else OutboundState.PUBREC,
            template_of(message, topic, link.machine.version, link.broker.now(), link.bus.lossy),
            retain_of(delivery.tag),
            identifiers,
            Resumed(delivery.receipt),
        )

    async def resume(self) -> None:
        """Send again what is in flight; when that is done, begin with new messages."""
        link = self._link
        self.aliases = link.machine.uses_aliases
        resent = link.machine.resend()
        link.write(resent.data)
        gone = [each.tag.receipt for each in resent.discarded if isinstance(each.tag, Resumed)]
        if gone:
            link.bus.lost("too large for the client", len(gone), link.session.client_id)
            await link.bus.settle(gone, Outcome.ACCEPT)
        if not link.machine.resending and not self.resumed:
            self.resumed = True
            for granted in self.filters:
                try:
                    self.consume(granted)
                except HubbubError as error:  # a queue that somebody has made exclusive, say
                    link.broker.hub.log.info(
                        "mqtt: subscription ended", filter=granted.filter, reason=str(error)
                    )
                    self.filters.remove(granted.filter)

    def consume(self, granted: Granted) -> None:
        """Begin to deliver what waits for a subscription in a queue.

        Raises:
            NotFoundError, DeniedError, RefusedError: for a queue that is not the session's own.
        """
        if not self.resumed:
            return
        link, session = self._link, self._link.session
        if granted.kind is Kind.TOPICS:
            if granted.qos and session.queue not in self._consumptions:
                self._consumptions[session.queue] = link.bus.consume(
                    session.queue,
                    self._deliver_own,
                    owner=session.owner,
                    windows=(self._quota(),),
                )
            return
        name = queue_name(granted)
        self.stop(name)
        self._consumptions[name] = link.bus.consume(
            name,
            partial(self._deliver_from, granted),
            owner=session.owner,
            windows=(self._quota(),) if granted.qos else (),
            settled=not granted.qos,
            cancelled=partial(self._gone, name),
        )
        if granted.kind is Kind.SHARED:
            group = link.broker.groups.get(session.realm, granted)
            if group is not None:
                group.connected[self] = granted

    def _quota(self) -> Window:
        if self._window is None:
            machine = self._link.machine
            self._window = Window(machine.send_maximum)
            self._window.used = machine.sent_unacknowledged
        return self._window

    def stop(self, name: str) -> None:
        """Take nothing more from a queue."""
        consumption = self._consumptions.pop(name, None)
        if consumption is not None:
            self._link.bus.end_consumption(consumption)

    def _gone(self, name: str, _: str) -> None:
        """Somebody has deleted a queue: the subscription to it stays, and gets nothing more."""
        self._consumptions.pop(name, None)

    def _deliver_own(self, deliveries: list[Delivery]) -> None:
        """Send messages of the session's queue, each as all matching filters together say."""
        link = self._link
        machine, session = link.machine, link.session
        if machine.state is not State.CONNECTED:
            return  # the end of the connection gives the leases back
        grant_of, now = self.filters.grant, link.broker.now()
        template, lossy = link.broker.templates[machine.version].get, link.bus.lossy
        aliases, durable = self.aliases, session.durable
        parts: list[bytes] = []
        later: list[bytes] = []
        finished: list[Receipt] = []
        kept: Commit | None = None
        for delivery in deliveries:
            message = delivery.message
            grant = grant_of(message.address, own=link.is_own(message))
            if grant is None:  # it came before the client unsubscribed
                finished.append(delivery.receipt)
                continue
            qos = min(message.qos, grant.qos)
            # A copy with RETAIN can only come of `send_retained`: the bus makes none.
            retain = message.retain and (message.origin_id is not None or grant.retain_as_published)
            waits = durable and qos == 2
            data = machine.publish(
                template(message, now, lossy),
                qos,
                retain=retain,
                subscription_identifiers=grant.identifiers,
                use_alias=aliases and not waits,  # others may overtake it
                tag=delivery.receipt,
            )
            if data is None:
                self._too_large(message)
                finished.append(delivery.receipt)
                continue
            (later if waits else parts).append(data)
            if not qos:
                finished.append(delivery.receipt)
            elif durable:
                commit = link.bus.tag(delivery.receipt, tag_of(machine.last_packet_id, qos, retain))
                if waits and not commit.done:
                    kept = commit
        self._send(parts, finished)
        self._send_when_kept(kept, later)

    def _deliver_from(self, granted: Granted, deliveries: list[Delivery]) -> None:
        """Send messages of a queue that other clients consume as well."""
        link = self._link
        machine = link.machine
        if machine.state is not State.CONNECTED:
            return
        version, now, shared = machine.version, link.broker.now(), granted.kind is Kind.SHARED
        aliases, durable = self.aliases, link.session.durable
        parts: list[bytes] = []
        later: list[bytes] = []
        finished: list[Receipt] = []
        kept: Commit | None = None
        for delivery in deliveries:
            message = delivery.message
            qos = min(message.qos, granted.qos) if shared else granted.qos
            waits = durable and qos == 2
            retain = shared and granted.retain_as_published and message.retain
            data = machine.publish(
                template_of(message, _topic_of(granted, message), version, now, link.bus.lossy),
                qos,
                retain=retain,
                subscription_identifiers=granted.identifiers,
                use_alias=aliases and not waits,
                tag=delivery.receipt,
            )
            if data is not None:
                (later if waits else parts).append(data)
            else:
                self._too_large(message)
            if data is None or not qos:
                finished.append(delivery.receipt)
            else:
                commit = link.bus.tag(delivery.receipt, tag_of(machine.last_packet_id, qos, retain))
                if waits and not commit.done:
                    kept = commit
        self._send(parts, finished if granted.qos else [])
        self._send_when_kept(kept, later)

    def _send(self, parts: list[bytes], finished: list[Receipt]) -> None:
        link = self._link
        waiting = link.transport.buffered
        if parts:
            link.broker.stats.publishes_sent += len(parts)
            data = parts[0] if len(parts) == 1 else b"".join(parts)
            if self._corked is None:
                link.transport.write(data)
                waiting += len(data)
            else:
                self._corked.append(data)
                waiting += sum(map(len, self._corked))
        if finished:
            link.broker.hub.background.spawn(partial(self._finish, finished))
        if waiting > HIGH_WATER and not self._paused:
            self._pause()
            link.broker.hub.background.spawn(self._go_on)

    def _send_when_kept(self, kept: Commit | None, parts: list[bytes]) -> None:
        """Send messages of QoS 2 when it is kept which packet identifiers they have.

        After a crash a client must get them under the same ones: it takes a message under another
        one for a new message, and a new message under one that it knows for a repeated one.
        """
        if not parts:
            return
        if kept is None and not self._held_back:
            self._send(parts, [])
            return
        self._held_back += 1
        self._held_bytes += sum(map(len, parts))
        if self._held_bytes > HIGH_WATER and not self._paused:
            self._pause()
        self._link.broker.hub.acknowledger.add(
            self._link.bus.commit() if kept is None else kept, partial(self._kept, parts)
        )

    def _kept(self, parts: list[bytes], error: HubbubError | None) -> None:
        link = self._link
        self._held_back -= 1
        self._held_bytes -= sum(map(len, parts))
        if link.machine.state is not State.CONNECTED:
            return  # they are sent again when the client is back
        if error is not None:
            link.fail(ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR, str(error))
            return
        self._send(parts, [])
        if self._paused:
            link.broker.hub.background.spawn(self._go_on)

    def _pause(self) -> None:
        """Take nothing more from the queues for now."""
        self._paused = True
        for consumption in self._consumptions.values():
            consumption.pause()

    def cork(self) -> None:
        """Hold messages from queues back until `uncork`: their SUBACK is to go first."""
        self._corked = []

    def uncork(self) -> None:
        """Send what was held back."""
        corked, self._corked = self._corked, None
        if corked:
            self._link.transport.write(b"".join(corked))

    async def _finish(self, receipts: Sequence[Receipt]) -> None:
        await self._link.bus.settle(receipts, Outcome.ACCEPT)

    async def _go_on(self) -> None:
        """Take more from the queues when the client has taken what there was."""
        try:
            await self._link.transport.drain()
        except TransportClosed:
            return  # the one who reads is told as well
        if self._held_bytes > HIGH_WATER:
            return  # until they are sent
        self._paused = False
        for consumption in list(self._consumptions.values()):
            consumption.resume()

    # what the client answers

    async def settle(self, tags: Sequence[object], outcome: Outcome) -> None:
        """End the leases of messages that the client has acknowledged, or refused."""
        receipts: list[Receipt] = []
        resumed = 0
        for tag in tags:
            if isinstance(tag, Receipt):
                receipts.append(tag)
            elif isinstance(tag, Resumed):
                receipts.append(tag.receipt)
                resumed += 1
        if receipts:
            await self._link.bus.settle(receipts, outcome)
        if resumed and self._window is not None:
            self._window.give_back(resumed)

    async def received(self, packet_id: int, tag: object) -> None:
        """Note a PUBREC: the message is delivered, but its identifier is in use until PUBCOMP."""
        link = self._link
        session = link.session
        if tag is None or packet_id in session.outbound:
            return  # unknown, or repeated
        session.received(link.bus, packet_id)
        receipt = tag.receipt if isinstance(tag, Resumed) else tag
        assert isinstance(receipt, Receipt)
        if receipt is tag and self._window is not None:
            self._window.used += 1  # what ending the lease gives back is not free yet
        await link.bus.settle([receipt], Outcome.ACCEPT)

    def completed(self, packet_id: int, *, counted: bool) -> None:
        """Note a PUBCOMP."""
        self._link.session.completed(self._link.bus, packet_id)
        if counted and self._window is not None:
            self._window.give_back()

    # end

    def close(self) -> None:
        """Take nothing more from anywhere."""
        link = self._link
        for name in list(self._consumptions):
            self.stop(name)
        for granted in self.filters:
            if granted.kind is Kind.SHARED:
                group = link.broker.groups.get(link.session.realm, granted)
                if group is not None:
                    group.connected.pop(self, None)

    def unsubscribe(self, granted: Granted) -> None:
        """End the delivery by a subscription; what is in flight stays so."""
        live = self._live.pop(granted.filter, None)
        if live is not None:
            self._link.bus.unsubscribe(live.id)
        if granted.kind is not Kind.TOPICS:
            self.left.append(granted)
            self.stop(queue_name(granted))
            group = self._link.broker.groups.get(self._link.session.realm, granted)
            if group is not None:
                group.connected.pop(self, None)


def _topic_of(granted: Granted, message: Message) -> str:
    """Return the topic of a message from a queue: the one it was published to, if there is one."""
    if granted.kind is Kind.QUEUE and message.address[:1] in {"$", ""}:
        return str(queue_address(granted.source))
    return message.address
