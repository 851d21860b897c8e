"""What a connection is subscribed to, and how its messages are sent."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from hubbub import (
    Batch,
    Consumption,
    Delivery,
    FilterSpec,
    HubbubError,
    Message,
    NotFoundError,
    Outcome,
    Position,
    Receipt,
    Record,
    RefusedError,
    Scope,
    Session,
    StreamInfo,
    StreamReader,
    Transport,
    TransportClosed,
    Window,
    positions_at_last,
    positions_at_latest,
    positions_at_oldest,
    positions_at_sequence,
    positions_at_time,
    queue_address,
)

from .destinations import REPLY_PREFIX, Destination, Place, check_queue, parse_destination
from .errors import SelectorError, StompError, unsupported
from .frames import header_line
from .mapping import message_tail
from .protocol import AckMode, ServerConnection, State, Subscription
from .queueing import (
    is_durable,
    prefetch,
    queue_settings,
    stream_settings,
    subscription_queue,
    wants_stream,
)

if TYPE_CHECKING:
    from .broker import Broker

HIGH_WATER: Final = 256 * 1024
"""Unsent bytes from which on nothing more is taken from queues."""
_AT_ONCE: Final = 100
"""Messages that a queue hands over at a time to who need not acknowledge them."""
_FIRST_SEQUENCE: Final = 1
"""The sequence number of a stream's first record, whose offset is 0."""
_RECORDS: Final = 100
"""Records of a stream that are read at a time."""
SELECTOR: Final = "selector"
NO_LOCAL: Final = "stomp-no-local"
"""The kinds of filter that the plugin offers: a selector, and not what a client sent itself."""


class Source:
    """Where a subscription gets its messages: kept as `Subscription.state`."""

    __slots__ = ("accepts", "bound", "consumption", "live", "queue", "reader")

    def __init__(self) -> None:
        self.accepts: Callable[[Message], bool] | None = None
        """Which records of a stream are wanted, if not all."""
        self.consumption: Consumption | None = None
        self.queue: str | None = None
        """The queue that was made for this subscription, and is deleted with it."""
        self.live: str | None = None
        """The id of its subscription on the bus, if it ends with it."""
        self.reader: trio.CancelScope | None = None
        self.bound: tuple[str, str] | None = None
        """A queue that others may use, and the id of the subscription that fills it."""


class StreamTag:
    """Acknowledges a record of a stream: nothing but room for the next."""

    __slots__ = ("credit",)

    def __init__(self, credit: Credit) -> None:
        self.credit = credit


class Credit:
    """Records of a stream that may be sent before some are acknowledged."""

    __slots__ = ("_more", "left")

    def __init__(self, left: int) -> None:
        self.left = left
        self._more = trio.Event()

    def give_back(self) -> None:
        """Note that a record is acknowledged."""
        self.left += 1
        self._more.set()

    async def wait(self) -> None:
        """Wait until there is some."""
        while self.left <= 0:
            self._more = trio.Event()
            await self._more.wait()


class Subscriptions:
    """The subscriptions of one connection."""

    def __init__(
        self,
        broker: Broker,
        transport: Transport,
        machine: ServerConnection,
        bus: Session,
        client_id: str | None,
        fail: Callable[[StompError], None],
    ) -> None:
        self._broker = broker
        self._transport = transport
        self._machine = machine
        self._bus = bus
        self._client_id = client_id
        self._fail = fail
        self._owner = f"stomp/{machine.session}"
        self._held: set[str] = set()
        """The queues of which the connection may hold leases."""
        self._temporary: dict[str, str] = {}
        """The queues behind the connection's `/temp-queue/` names."""
        self._sources: set[Source] = set()
        self._paused = False
        self._backlog: deque[tuple[Subscription, Batch, list[bytes]]] = deque()
        """What was published to topics and has not been sent."""
        self._backlog_bytes = 0
        self._catching_up = False

    # SUBSCRIBE

    async def add(self, subscription: Subscription, headers: Mapping[str, str]) -> None:
        """Begin to deliver.

        Raises:
            StompError, HubbubError.
        """
        destination = parse_destination(subscription.destination)
        if "transformation" in headers:
            raise unsupported(f"transformation '{headers['transformation']}'")
        source = Source()
        subscription.state = source
        self._sources.add(source)
        match destination.place:
            case Place.TOPIC | Place.EXCHANGE:
                await self._add_topic(subscription, source, destination, headers)
            case Place.STREAM:
                await self._add_stream(subscription, source, destination, headers)
            case Place.TEMP_QUEUE:
                raise StompError(
                    "Invalid destination",
                    f"'{destination.text}' is not a valid destination for SUBSCRIBE: a temporary "
                    "queue is named in the header reply-to\n",
                )
            case _:
                await self._add_queue(subscription, source, destination, headers)

    async def _add_queue(
        self,
        subscription: Subscription,
        source: Source,
        destination: Destination,
        headers: Mapping[str, str],
    ) -> None:
        name = check_queue(destination.name)
        filter_ = self._filter_of(headers)
        if wants_stream(headers) or self.is_stream(name):
            await self._add_stream(subscription, source, _as_stream(destination), headers)
            return
        if destination.place is Place.QUEUE:
            await self._broker.ensure_queue(self._bus, name, queue_settings(headers))
        if headers.get("browser") == "true":
            messages: Iterable[Message] = self._bus.peek(name, self._broker.settings.max_browsed)
            if filter_ is not None:
                messages = filter(self._accepts(filter_), messages)
            self._broker.hub.background.spawn(partial(self._browse, subscription, list(messages)))
            return
        self._consume(subscription, source, name, headers, filter_)

    async def _add_topic(
        self,
        subscription: Subscription,
        source: Source,
        destination: Destination,
        headers: Mapping[str, str],
    ) -> None:
        scope = destination.scope
        pattern = destination.pattern(Scope.TOPIC if scope is None else self._bus.scope(scope))
        filter_ = self._filter_of(headers)
        durable, named = is_durable(headers), "x-queue-name" in headers
        if subscription.ack is AckMode.AUTO and not durable and not named:
            deliver = partial(self._deliver_batch, subscription)
            source.live = self._bind(pattern, deliver, scope, filter_)
            return
        if wants_stream(headers):
            await self._add_topic_to_stream(subscription, source, pattern, scope, headers)
            return
        most = self._broker.settings.max_queued_messages
        if durable or named:
            name = subscription_queue(headers, self._client_id, self._bus.principal.name)
            settings = queue_settings(
                headers, durable=durable, auto_delete=not durable, max_length=most
            )
        else:
            name = f"stomp-subscription-{secrets.token_urlsafe(12)}"
            source.queue = name
            settings = queue_settings(headers, durable=False, max_length=most)
        target = str(queue_address(name))
        if not named:
            self._bus.adopt(target)
        if self._bus.find_queue(name) is None:
            await self._bus.create_queue(name, settings)
        id_ = f"stomp/{name}" if not named else f"stomp/{name}/{scope or ''}/{pattern}"
        known = [each for each in self._bus.subscriptions(target) if each.id.startswith("stomp/")]
        same = any(
            each.id == id_ and (each.pattern, each.scope, each.filter) == (pattern, scope, filter_)
            for each in known
        )
        if not same:
            self._bind(pattern, target, scope, filter_, id_, durable=settings.durable)
        if source.queue is None:
            source.bound = name, id_
        self._consume(subscription, source, name, headers)

    async def _add_topic_to_stream(
        self,
        subscription: Subscription,
        source: Source,
        pattern: str,
        scope: str | None,
        headers: Mapping[str, str],
    ) -> None:
        """Let a stream take what is published to a topic, and read it there."""
        name = headers.get("x-queue-name")
        if name is None:
            raise unsupported("x-queue-type 'stream' without x-queue-name: a stream has a name")
        stream = Destination("", Place.STREAM, check_queue(name))
        await self._broker.ensure_stream(self._bus, name, stream_settings(headers))
        id_ = f"stomp/{name}/{scope or ''}/{pattern}"
        self._bind(pattern, stream.address(), scope, None, id_, durable=True)
        await self._add_stream(subscription, source, stream, headers)

    def is_stream(self, name: str) -> bool:
        """Whether what is named like a queue is a stream."""
        return self._bus.find_queue(name) is None and self._bus.find_stream(name) is not None

    def _bind(
        self,
        pattern: str,
        target: str | Callable[[Batch], None],
        scope: str | None,
        filter_: FilterSpec | None,
        id_: str | None = None,
        *,
        durable: bool = False,
    ) -> str:
        """Subscribe on the bus; return the id of the subscription."""
        with _selector_errors():
            return self._bus.subscribe(
                pattern, target, scope=scope, filter=filter_, id=id_, durable=durable
            ).id

    def _filter_of(self, headers: Mapping[str, str]) -> FilterSpec | None:
        """Return the filter that `selector` and `no-local` ask for."""
        selector = headers.get(SELECTOR)
        if "true" in {headers.get("no-local"), headers.get("activemq.noLocal")}:
            return FilterSpec(NO_LOCAL, [self._bus.client, selector])
        return None if selector is None else FilterSpec(SELECTOR, selector)

    def _accepts(self, filter_: FilterSpec) -> Callable[[Message], bool]:
        with _selector_errors():
            return self._bus.accepts(filter_)

    def _consume(
        self,
        subscription: Subscription,
        source: Source,
        name: str,
        headers: Mapping[str, str],
        filter_: FilterSpec | None = None,
    ) -> None:
        settled = subscription.ack is AckMode.AUTO
        limit = prefetch(headers, self._broker.settings.max_unacknowledged)
        if settled:
            limit = _AT_ONCE
        self._held.add(name)
        with _selector_errors():
            source.consumption = self._bus.consume(
                name,
                partial(self._deliver, subscription),
                owner=self._owner,
                windows=(Window(limit),),
                settled=settled,
                exclusive=headers.get("exclusive") == "true"
                or headers.get("activemq.exclusive") == "true",
                priority=_priority(headers),
                filter=filter_,
                cancelled=partial(self._gone, subscription),
            )
        if self._paused:
            source.consumption.pause()

    def _gone(self, subscription: Subscription, reason: str) -> None:
        """Tell the client that somebody has deleted its queue: ERROR, as RabbitMQ does."""
        state = subscription.state
        if isinstance(state, Source) and state.queue is None:
            self._fail(
                StompError(
                    "Server cancelled subscription",
                    f"The server has canceled a subscription to '{subscription.destination}': "
                    f"{reason}\n",
                )
            )

    # messages out

    def _deliver(self, subscription: Subscription, deliveries: list[Delivery]) -> None:
        """Send what a queue hands over."""
        machine = self._machine
        if machine.state is not State.CONNECTED:
            if subscription.ack is AckMode.AUTO:
                self._bus.lost("connection closed", len(deliveries), subscription.destination)
            return  # the end of the connection gives leases back
        start, version, lossy = machine.message_start, machine.version, self._bus.lossy
        line_of = self._broker.destination_line
        parts: list[bytes] = []
        address, scope, line = "", None, b""
        for delivery in deliveries:
            message = delivery.message
            if message.address != address or message.scope != scope or not line:
                address, scope = message.address, message.scope
                line = line_of(address, scope, version, lossy)
            if delivery.redelivered:
                parts.append(start(subscription, delivery.receipt, line, redelivered=True))
                parts.append(b"x-delivery-count:%d\n" % (delivery.receives - 1))
            else:
                parts.append(start(subscription, delivery.receipt, line))
            parts.append(message_tail(message, version, lossy))
        self._transport.write(b"".join(parts))
        if self._transport.buffered > HIGH_WATER:
            self._pause()

    def _pause(self) -> None:
        """Take nothing more from any queue until the client has read what there is."""
        if not self._paused:
            self._paused = True
            for source in self._sources:
                if source.consumption is not None:
                    source.consumption.pause()
            self._broker.hub.background.spawn(self._go_on)

    async def _go_on(self) -> None:
        try:
            await self._transport.drain()
        except TransportClosed:
            return  # the one who reads is told as well
        self._paused = False
        for source in list(self._sources):
            if source.consumption is not None:
                source.consumption.resume()

    def _deliver_batch(self, subscription: Subscription, batch: Batch) -> None:
        """Send what was published to a topic; each message is encoded once for all clients."""
        machine = self._machine
        if machine.state is not State.CONNECTED:
            return
        tails: list[bytes] | None = batch.cache.get(machine.version)
        if tails is None:
            tails = batch.cache[machine.version] = [self._tail(each) for each in batch.messages]
        if self._backlog or self._transport.buffered > HIGH_WATER:
            self._put_off(subscription, batch, tails)
            return
        self._send_batch(subscription, batch, tails)

    def _send_batch(self, subscription: Subscription, batch: Batch, tails: list[bytes]) -> None:
        line = self._destination_line(batch.messages[0])
        parts: list[bytes] = []
        for tail in tails:
            parts += (self._machine.message_start(subscription, None, line), tail)
        self._transport.write(b"".join(parts))

    def _put_off(self, subscription: Subscription, batch: Batch, tails: list[bytes]) -> None:
        """Keep what a client has no room for yet; drop it, and count it, above the bound."""
        if self._backlog_bytes > self._broker.settings.slow_subscriber_bytes:
            self._bus.lost("slow subscriber", len(tails), batch.messages[0].address)
            return
        self._backlog.append((subscription, batch, tails))
        self._backlog_bytes += sum(map(len, tails))
        if not self._catching_up:
            self._catching_up = True
            self._broker.hub.background.spawn(self._catch_up)

    async def _catch_up(self) -> None:
        """Send the backlog as fast as the client reads."""
        try:
            while self._backlog:
                await self._transport.drain()
                subscription, batch, tails = self._backlog.popleft()
                self._backlog_bytes -= sum(map(len, tails))
                if subscription.state is not None and self._machine.state is State.CONNECTED:
                    self._send_batch(subscription, batch, tails)
        except TransportClosed:
            pass  # the one who reads is told as well
        finally:
            self._catching_up = False
            self._backlog.clear()

    def _destination_line(self, message: Message) -> bytes:
        return self._broker.destination_line(
            message.address, message.scope, self._machine.version, self._bus.lossy
        )

    def _tail(self, message: Message) -> bytes:
        return message_tail(message, self._machine.version, self._bus.lossy)

    async def _browse(self, subscription: Subscription, messages: Sequence[Message]) -> None:
        """Show what waits in a queue and leave it there; then tell the end, as ActiveMQ does."""
        machine, transport = self._machine, self._transport
        try:
            for message in messages:
                if machine.state is not State.CONNECTED or subscription.state is None:
                    return
                # Nothing is leased, so there is nothing to acknowledge, whatever the mode.
                line = self._destination_line(message)
                transport.write(
                    machine.message_start(subscription, None, line, tracked=False)
                    + self._tail(message)
                )
                await transport.drain()
        except TransportClosed:
            return
        if machine.state is State.CONNECTED:
            line = header_line("destination", subscription.destination, machine.version) or b""
            start = machine.message_start(subscription, None, line, tracked=False)
            transport.write(b"%sbrowser:end\ncontent-length:0\n\n\0\n" % start)

    # streams

    async def _add_stream(
        self,
        subscription: Subscription,
        source: Source,
        destination: Destination,
        headers: Mapping[str, str],
    ) -> None:
        name = destination.name
        if destination.key is not None:
            raise unsupported("SUBSCRIBE to one partition key of a stream")
        filter_ = self._filter_of(headers)
        if filter_ is not None:
            source.accepts = self._accepts(filter_)
        await self._broker.ensure_stream(self._bus, name, stream_settings(headers))
        stream = self._bus.find_stream(name)
        if stream is None:
            raise NotFoundError("stream", name)
        positions = await _start(stream, headers.get("x-stream-offset", "next"))
        reader = StreamReader(self._bus, name, positions)
        await reader.check()  # is refused now, if it is
        credit = Credit(prefetch(headers, self._broker.settings.max_unacknowledged))
        source.reader = trio.CancelScope()
        self._broker.hub.background.spawn(
            partial(self._read_stream, subscription, source.reader, reader, credit)
        )

    async def _read_stream(
        self,
        subscription: Subscription,
        scope: trio.CancelScope,
        reader: StreamReader,
        credit: Credit,
    ) -> None:
        """Send records as they come, and as the client acknowledges and takes them."""
        with scope:
            try:
                while self._machine.state is State.CONNECTED:
                    await credit.wait()
                    records = await reader.read_or_wait(min(_RECORDS, credit.left))
                    self._send_records(subscription, records, credit)
                    await self._transport.drain()
            except TransportClosed:
                pass  # the one who reads is told as well
            except HubbubError as error:
                self._gone(subscription, str(error))

    def _send_records(
        self, subscription: Subscription, records: Sequence[Record], credit: Credit
    ) -> None:
        parts: list[bytes] = []
        source = subscription.state
        accepts = source.accepts if isinstance(source, Source) else None
        for record in records:
            message = record.message
            if accepts is not None and not accepts(message):
                continue
            tag = None
            if subscription.ack is not AckMode.AUTO:
                credit.left -= 1
                tag = StreamTag(credit)
            line = self._destination_line(message)
            parts.append(self._machine.message_start(subscription, tag, line))
            parts.append(b"x-stream-offset:%d\n" % (record.sequence - _FIRST_SEQUENCE))
            parts.append(self._tail(message))
        self._transport.write(b"".join(parts))

    # reply-to

    async def temporary(self, destination: Destination) -> str:
        """Return the `/reply-queue/` of a `/temp-queue/` name, made and subscribed to if new."""
        name = self._temporary.get(destination.name)
        if name is None:
            if len(self._temporary) >= self._broker.settings.max_subscriptions:
                raise unsupported("more temporary queues than one connection may have")
            subscription = self._machine.subscribe(destination.text)
            name = REPLY_PREFIX + secrets.token_urlsafe(15)
            self._bus.adopt(str(queue_address(name)))
            most = self._broker.settings.max_queued_messages
            await self._bus.create_queue(name, queue_settings({}, durable=False, max_length=most))
            self._temporary[destination.name] = name
            source = Source()
            source.queue = name
            subscription.state = source
            self._sources.add(source)
            self._consume(subscription, source, name, {})
        return f"/reply-queue/{name}"

    # ACK, UNSUBSCRIBE and the end

    async def settle(self, tags: Sequence[object], outcome: Outcome) -> None:
        """End the leases of messages that the client has acknowledged, or refused."""
        receipts: list[Receipt] = []
        for tag in tags:
            if isinstance(tag, Receipt):
                receipts.append(tag)
            elif isinstance(tag, StreamTag):
                tag.credit.give_back()
        if receipts:
            await self._bus.settle(receipts, outcome)

    async def remove(self, subscription: Subscription, headers: Mapping[str, str]) -> None:
        """Deliver nothing more; a durable subscription ends for good if the client says so."""
        source = subscription.state
        subscription.state = None
        if not isinstance(source, Source):
            return
        ends = is_durable(headers)
        self._sources.discard(source)
        self._stop(source)
        if source.queue is not None:
            await self._delete(source.queue)
        if ends:
            name = subscription_queue(headers, self._client_id, self._bus.principal.name)
            await self._delete(name)

    def _stop(self, source: Source) -> None:
        if source.consumption is not None:
            self._bus.end_consumption(source.consumption)
        if source.live is not None:
            self._bus.unsubscribe(source.live)
        if source.reader is not None:
            source.reader.cancel()
        if source.bound is not None and self._bus.find_queue(source.bound[0]) is None:
            self._bus.unsubscribe(source.bound[1])  # the queue went with its last consumer

    async def _delete(self, queue: str) -> None:
        self._held.discard(queue)
        with suppress(NotFoundError):
            await self._bus.delete_queue(queue)

    async def close(self) -> None:
        """End all subscriptions; what was not acknowledged goes back."""
        sources, self._sources = self._sources, set()
        for source in sources:
            self._stop(source)
        for source in sources:
            if source.queue is not None:
                with suppress(HubbubError):
                    await self._delete(source.queue)
        for name in self._held:
            with suppress(HubbubError):
                await self._bus.release_owner(name, self._owner)
        self._held.clear()


@contextmanager
def _selector_errors() -> Iterator[None]:
    """Tell a client that its selector is none."""
    try:
        yield
    except RefusedError as error:
        if isinstance(error.__cause__, SelectorError):
            raise StompError("Invalid selector", f"{error}\n") from None
        raise


def _as_stream(destination: Destination) -> Destination:
    return Destination(destination.text, Place.STREAM, destination.name)


def _priority(headers: Mapping[str, str]) -> int:
    for name in ("x-priority", "activemq.priority"):
        text = headers.get(name)
        if text is not None:
            try:
                return int(text)
            except ValueError:
                raise StompError(
                    "Invalid header", f"\"{name}\" must be a number, not '{text[:80]}'\n"
                ) from None
    return 0


async def _start(stream: StreamInfo, offset: str) -> dict[int, Position]:
    """Return where to begin: RabbitMQ's "first", "last", "next", "offset=N", "timestamp=S"."""
    kind, _, number = offset.partition("=")
    if kind == "first" and not number:
        return positions_at_oldest(stream)
    if kind == "next" and not number:
        return positions_at_latest(stream)
    if kind == "last" and not number:
        return positions_at_last(stream)
    if kind in {"offset", "timestamp"} and number.isascii() and number.isdecimal():
        if kind == "offset":
            return positions_at_sequence(stream, int(number[:18]) + _FIRST_SEQUENCE)
        return await positions_at_time(stream, int(number[:18]) * 1000)
    raise StompError(
        "Invalid header",
        f'"x-stream-offset" must be first, last, next, offset=N or timestamp=SECONDS, not '
        f"'{offset[:80]}'\n",
    )
