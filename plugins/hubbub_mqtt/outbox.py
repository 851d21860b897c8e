"""Messages from the bus to one client: live ones of QoS 0, and those of queues under leases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple

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


class Manner(NamedTuple):
    """How a message of a queue goes out.

    `tagged`: its packet identifier is kept with its lease. `settles`: it is this side that ends the
    lease of a message which gets no answer.
    """

    topic: str
    qos: int
    retain: bool
    identifiers: tuple[int, ...]
    tagged: bool
    settles: bool


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
            one = self._encode(message.address, [message], encoded.style)
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
            encoded = self._encode(topic, messages, style, alias=alias)
        if alias is not None and encoded.largest <= self._largest and not self.slow:
            self._link.machine.use_alias(topic, alias.number)
        self.write(encoded, messages)

    def _encode(
        self,
        topic: str,
        messages: Sequence[Message],
        style: Style,
        *,
        qos: int = 0,
        retained: bool = False,
        alias: Alias | None = None,
    ) -> Encoded:
        link = self._link
        now, lossy = link.broker.now(), link.bus.lossy
        return encode_messages(
            topic, messages, style, now, lossy, qos=qos, retained=retained, alias=alias
        )

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
                one = self._encode(message.address, [message], style, retained=True)
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
        qos = qos_of(delivery.tag)
        style = link.broker.styles.get(link.machine.version, False, identifiers)
        encoded = self._encode(topic, [message], style, qos=qos, retained=retain_of(delivery.tag))
        return OutboundRecord(
            packet_id,
            OutboundState.PUBACK if qos == 1 else OutboundState.PUBREC,
            Resumed(delivery.receipt),
            encoded.numbered([packet_id]),
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
                    partial(self._send_leased, self._manner_of_own),
                    owner=session.owner,
                    windows=(self._quota(),),
                )
            return
        name = queue_name(granted)
        self.stop(name)
        self._consumptions[name] = link.bus.consume(
            name,
            partial(self._send_leased, partial(self._manner_of, granted)),
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

    def _manner_of_own(self, message: Message) -> Manner | None:
        """Return how a message of the session's queue goes out: as all matching filters say."""
        grant = self.filters.grant(message.address, own=self._link.is_own(message))
        if grant is None:
            return None
        return Manner(
            topic=message.address,
            qos=min(message.qos, grant.qos),
            # A copy with RETAIN can only come of `send_retained`: the bus makes none.
            retain=message.retain and (message.origin_id is not None or grant.retain_as_published),
            identifiers=grant.identifiers,
            tagged=self._link.session.durable,
            settles=True,
        )

    def _manner_of(self, granted: Granted, message: Message) -> Manner:
        """Return how a message of a queue goes out that other clients consume as well."""
        shared = granted.kind is Kind.SHARED
        return Manner(
            topic=_topic_of(granted, message),
            qos=min(message.qos, granted.qos) if shared else granted.qos,
            retain=shared and granted.retain_as_published and message.retain,
            identifiers=granted.identifiers,
            tagged=True,
            settles=granted.qos > 0,
        )

    def _send_leased(
        self, manner_of: Callable[[Message], Manner | None], deliveries: list[Delivery]
    ) -> None:
        """Send messages of a queue; those that go out in the same manner together."""
        link = self._link
        if link.machine.state is not State.CONNECTED:
            return  # the end of the connection gives the leases back
        finished: list[Receipt] = []
        for _, alike in groupby(deliveries, _looks):
            run = list(alike)
            manner = manner_of(run[0].message)
            if manner is None:  # it came before the client unsubscribed
                finished += [each.receipt for each in run]
            else:
                finished += self._send_run(manner, run)
        if finished:
            link.broker.hub.background.spawn(partial(self._finish, finished))

    def _send_run(self, manner: Manner, run: list[Delivery]) -> list[Receipt]:
        """Send messages in one manner; return the receipts of those that are done with."""
        link = self._link
        machine, qos = link.machine, manner.qos
        waits = link.session.durable and qos == 2
        alias = None
        if self.aliases and not waits:  # else others may overtake what makes the alias known
            alias = Alias(*machine.alias_of(manner.topic))
        encoded = self._encode_run(manner, run, alias)
        finished: list[Receipt] = []
        if encoded.largest > self._largest:
            alias = None
            fitting: list[Delivery] = []
            for each in run:
                if self._fits(manner, each.message):
                    fitting.append(each)
                elif manner.settles:
                    finished.append(each.receipt)
            if not fitting:
                return finished
            run, encoded = fitting, self._encode_run(manner, fitting, None)
        if alias is not None:
            machine.use_alias(manner.topic, alias.number)
        if not qos:
            self._send(encoded.data, encoded.count)
            return finished + [each.receipt for each in run] if manner.settles else finished
        receipts = [each.receipt for each in run]
        packet_ids = machine.number(qos, receipts)
        data = encoded.numbered(packet_ids)
        kept: Commit | None = None
        if manner.tagged:
            for receipt, packet_id in zip(receipts, packet_ids, strict=True):
                commit = link.bus.tag(receipt, tag_of(packet_id, qos, manner.retain))
                if waits and not commit.done:
                    kept = commit
        if kept is None and not (waits and self._held_back):
            self._send(data, encoded.count)
        else:
            self._send_when_kept(kept or link.bus.commit(), data, encoded.count)
        return finished

    def _encode_run(self, manner: Manner, run: list[Delivery], alias: Alias | None) -> Encoded:
        link = self._link
        messages = [each.message for each in run]
        style = link.broker.styles.get(link.machine.version, False, manner.identifiers)
        if alias is None:
            return link.broker.recent.encode(
                manner.topic, messages, style, link.broker.now(), link.bus.lossy,
                qos=manner.qos, retained=manner.retain,
            )  # fmt: skip
        return self._encode(
            manner.topic, messages, style, qos=manner.qos, retained=manner.retain, alias=alias
        )

    def _fits(self, manner: Manner, message: Message) -> bool:
        """Tell whether the client takes a message of this size; one that it does not is lost."""
        style = self._link.broker.styles.get(self._link.machine.version, False, manner.identifiers)
        one = self._encode(manner.topic, [message], style, qos=manner.qos, retained=manner.retain)
        if one.largest > self._largest:
            self._too_large(message)
        return one.largest <= self._largest

    def _send(self, data: bytes, count: int) -> None:
        link = self._link
        link.broker.stats.publishes_sent += count
        waiting = link.transport.buffered
        if self._corked is None:
            link.transport.write(data)
            waiting += len(data)
        else:
            self._corked.append(data)
            waiting += sum(map(len, self._corked))
        if waiting > HIGH_WATER and not self._paused:
            self._pause()
            link.broker.hub.background.spawn(self._go_on)

    def _send_when_kept(self, kept: Commit, data: bytes, count: int) -> None:
        """Send messages of QoS 2 when it is kept which packet identifiers they have.

        After a crash a client must get them under the same ones: it takes a message under another
        one for a new message, and a new message under one that it knows for a repeated one.
        """
        self._held_back += 1
        self._held_bytes += len(data)
        if self._held_bytes > HIGH_WATER and not self._paused:
            self._pause()
        self._link.broker.hub.acknowledger.add(kept, partial(self._kept, data, count))

    def _kept(self, data: bytes, count: int, error: HubbubError | None) -> None:
        link = self._link
        self._held_back -= 1
        self._held_bytes -= len(data)
        if link.machine.state is not State.CONNECTED:
            return  # they are sent again when the client is back
        if error is not None:
            link.fail(ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR, str(error))
            return
        self._send(data, count)
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
        receipts, resumed = _receipts_of(tags)
        if receipts:
            await self._link.bus.settle(receipts, outcome)
        if resumed and self._window is not None:
            self._window.give_back(resumed)

    async def received(self, packet_ids: Sequence[int], tags: Sequence[object]) -> None:
        """Note PUBRECs: the messages are delivered; their identifiers are in use until PUBCOMP."""
        link, outbound = self._link, self._link.session.outbound
        new: list[object] = []
        for packet_id, tag in zip(packet_ids, tags, strict=True):
            if tag is not None and packet_id not in outbound:  # else it is unknown, or repeated
                link.session.received(link.bus, packet_id)
                new.append(tag)
        receipts, resumed = _receipts_of(new)
        if receipts:
            if self._window is not None:  # what ending the leases gives back is not free yet
                self._window.used += len(receipts) - resumed
            await link.bus.settle(receipts, Outcome.ACCEPT)

    def completed(self, packet_ids: Sequence[int], tags: Sequence[object]) -> None:
        """Note PUBCOMPs."""
        link = self._link
        for packet_id in packet_ids:
            link.session.completed(link.bus, packet_id)
        # A PUBREL that was sent again, without a tag, was not counted.
        counted = sum([tag is not None for tag in tags])
        if counted and self._window is not None:
            self._window.give_back(counted)

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


_looks_of = attrgetter("address", "qos", "retain", "client", "protocol", "origin_id")


def _looks(delivery: Delivery) -> object:
    """Return all of a message that its `Manner` depends on."""
    return _looks_of(delivery.message)


def _receipts_of(tags: Sequence[object]) -> tuple[list[Receipt], int]:
    """Return the receipts that tags are, and how many of them are `Resumed`."""
    receipts = [tag for tag in tags if isinstance(tag, Receipt)]
    if len(receipts) == len(tags):
        return receipts, 0
    resumed = [tag.receipt for tag in tags if isinstance(tag, Resumed)]
    return receipts + resumed, len(resumed)


def _topic_of(granted: Granted, message: Message) -> str:
    """Return the topic of a message from a queue: the one it was published to, if there is one."""
    if granted.kind is Kind.QUEUE and message.address[:1] in {"$", ""}:
        return str(queue_address(granted.source))
    return message.address
