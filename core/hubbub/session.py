"""One client's authorised handle on the bus: all that a plugin needs, and all that it gets.

Every act goes through here, so every act is authorised, counted and seen by observers; nobody can
forget to.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self

from .address import AddressError, queue_address, spell_queue, spell_stream, stream_address
from .auth import EVERYTHING, Principal
from .bus import Accepts, Batch, Bus, FilterSpec, Publication, Scope, Subscription, new_records
from .engine.contract import (
    DONE,
    Appended,
    Commit,
    ConsumerTerms,
    Consumption,
    Delivery,
    Document,
    Enqueued,
    LeaseState,
    Outcome,
    Queue,
    QueueCounts,
    QueueSettings,
    Receipt,
    Settlement,
    Stream,
    Window,
)
from .errors import DeniedError, HubbubError, NotFoundError
from .hookspecs import Client
from .message import Message
from .metrics import ProtocolMeter
from .plugins import Observers
from .streams import (
    READ_BYTES,
    READ_RECORDS,
    Position,
    ReadResult,
    Reshard,
    ShardInfo,
    StreamSettings,
)


class Allows(Protocol):
    """Decides what a principal may do."""

    def __call__(self, principal: Principal, action: str, resource: str, realm: str) -> bool:
        """Whether `principal` may do `action` to `resource` (an address or a pattern)."""
        ...


class QueueInfo:
    """What a session tells of a queue."""

    __slots__ = ("_queue",)

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    @property
    def name(self) -> str:
        """Its name."""
        return self._queue.name

    @property
    def number(self) -> int:
        """Its number, never used again: what receipts name it by."""
        return self._queue.number

    @property
    def settings(self) -> QueueSettings:
        """Its settings now."""
        return self._queue.settings

    @property
    def created(self) -> int:
        """When it was created, milliseconds since the epoch."""
        return self._queue.created

    @property
    def modified(self) -> int:
        """When its settings changed last, milliseconds since the epoch."""
        return self._queue.modified

    def counts(self) -> QueueCounts:
        """Count its messages, exactly."""
        return self._queue.counts()


class StreamInfo:
    """What a session tells of a stream, and its positions."""

    __slots__ = ("_stream",)

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    @property
    def name(self) -> str:
        """Its name."""
        return self._stream.name

    @property
    def number(self) -> int:
        """Its number, never used again."""
        return self._stream.number

    @property
    def settings(self) -> StreamSettings:
        """Its settings now."""
        return self._stream.settings

    @property
    def created(self) -> int:
        """When it was created, milliseconds since the epoch."""
        return self._stream.created

    def count(self) -> int:
        """Count its records."""
        return len(self._stream)

    def shards(self) -> list[ShardInfo]:
        """All shards, open and closed, by id."""
        return self._stream.shards()

    def shard(self, shard: int) -> ShardInfo:
        """One shard, open or closed. Raises `NoSuchShardError`."""
        return self._stream.shard(shard)

    @property
    def newest(self) -> int:
        """The sequence number of the record that came last; 0 if there is none any more."""
        return self._stream.newest

    def oldest(self, shard: int) -> Position:
        """The position of the oldest record, wherever retention moves it."""
        return self._stream.oldest(shard)

    def latest(self, shard: int) -> Position:
        """The position after everything that is in the shard now."""
        return self._stream.latest(shard)

    def at_sequence(self, shard: int, sequence: int) -> Position:
        """The position at a sequence number."""
        return self._stream.at_sequence(shard, sequence)

    def after_sequence(self, shard: int, sequence: int) -> Position:
        """The position after a sequence number."""
        return self._stream.after_sequence(shard, sequence)

    async def at_timestamp(self, shard: int, timestamp: int) -> Position:
        """The position of the first record that arrived then or later."""
        return await self._stream.at_timestamp(shard, timestamp)


class Session:
    """One client on the bus, from connect to disconnect: use it as a context manager.

    Made by `Hub.session`. `info` says who it is; its name and protocol mark what it publishes.
    """

    def __init__(
        self,
        bus: Bus,
        info: Client,
        *,
        allows: Allows,
        meter: ProtocolMeter,
        observers: Observers,
    ) -> None:
        self.info = info
        self.principal = info.principal
        self.protocol = info.protocol
        self.client = info.id
        self.realm = info.realm
        self.reason = "closed"
        """Why it ended: set before leaving, told to observers."""
        self._bus = bus
        self._engine = bus.engine
        self._allows = allows
        self._meter = meter
        self._observers = observers
        self._live: dict[str, Subscription] = {}
        self._consumptions: list[Consumption] = []
        self._own: frozenset[str] = frozenset()

    def open(self) -> None:
        """Begin, where a context manager does not fit: the client is let in."""
        self._meter.clients += 1
        if self._observers.connected:
            self._observers.connected(self.info)

    def close(self) -> None:
        """End what was opened: live subscriptions and consumptions end, too."""
        for subscription in list(self._live.values()):
            self._bus.unsubscribe(self.realm, subscription.id)
        self._live.clear()
        for consumption in self._consumptions:
            consumption.cancel()
        self._consumptions.clear()
        self._meter.clients -= 1
        if self._observers.disconnected:
            self._observers.disconnected(self.info, self.reason)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def allowed(self, action: str, resource: str) -> bool:
        """Tell whether the principal may do this, without doing it."""
        return self._allows(self.principal, action, resource, self.realm)

    def renew(self, principal: Principal) -> bool:
        """Go on as the same user, who has authenticated once more and may do other things now.

        False if it is another user, or one who may not enter this realm: nothing changes then.
        """
        realms = principal.realms
        if principal.name != self.principal.name or not {self.realm, EVERYTHING} & {*realms}:
            return False
        self.principal = principal
        self.info = replace(self.info, principal=principal)
        return True

    def adopt(self, address: str) -> None:
        """Make a resource the session's own: whatever it does to it needs no permission.

        For what a plugin makes on a client's behalf and the client does not name itself, such as
        the queue of an MQTT session. The plugin answers for who may have it.
        """
        self._own |= {address}

    def disown(self, address: str) -> None:
        """End what `adopt` began."""
        self._own -= {address}

    def _demand(self, action: str, resource: str) -> None:
        if resource in self._own:
            return
        if not self._allows(self.principal, action, resource, self.realm):
            self._meter.denied += 1
            raise DeniedError(self.principal.name, action, resource)

    # publishing

    async def ready(self) -> None:
        """Wait while the store is behind: call it before reading more from a publisher.

        Raises:
            UnavailableError: the store takes nothing durable now.
        """
        await self._engine.ready()

    def publish(self, messages: Sequence[Message]) -> Publication:
        """Publish messages, in order; they are the bus's from now on.

        Routes at once. Await the publication's `commit` before confirming durable messages.

        Raises:
            UnavailableError: the store takes nothing durable now.
        """
        bus = self._bus
        next_id, now = self._engine.next_id, bus.clock.now()
        protocol, client = self.protocol, self.client
        refused: dict[int, HubbubError] = {}
        vetted, error = None, None
        for index, message in enumerate(messages):
            message.id = next_id()
            message.published = now
            message.protocol = protocol
            message.client = client
            if message.address != vetted:
                vetted = message.address
                error = self._vet(vetted)
            if error is not None:
                refused[index] = error
        self._meter.published += len(messages) - len(refused)
        if refused:
            return self._publish_some(messages, refused)
        publication = bus.publish(self.realm, messages)
        if self._observers.published:
            self._observers.published(self, messages)
        return publication

    def _vet(self, address: str) -> HubbubError | None:
        """Return why this session may not publish there, if so."""
        parsed = self._bus.parse(address)
        if isinstance(parsed, AddressError):
            return parsed
        if not self._allows(self.principal, "publish", address, self.realm):
            self._meter.denied += 1
            return DeniedError(self.principal.name, "publish", address)
        return None

    def _publish_some(
        self, messages: Sequence[Message], refused: dict[int, HubbubError]
    ) -> Publication:
        kept = [index for index in range(len(messages)) if index not in refused]
        if not kept:
            return Publication(DONE, refused=refused)
        passed = [messages[index] for index in kept]
        publication = self._bus.publish(self.realm, passed)
        if self._observers.published:
            self._observers.published(self, passed)
        return Publication(
            publication.commit,
            tuple(kept[index] for index in publication.unmatched),
            refused | {kept[index]: error for index, error in publication.refused.items()},
            {kept[index]: id_ for index, id_ in publication.duplicates.items()},
        )

    def enqueue(self, name: str, messages: Sequence[Message]) -> Enqueued:
        """Put messages into a queue as they are, whatever address they were published to.

        For messages that the bus has seen before, such as retained ones: it does not route them,
        and their ids are the caller's affair (`new_id`); one that the queue holds is not doubled.

        Raises:
            NotFoundError, DeniedError, UnavailableError.
        """
        return self._queue(name, "publish").enqueue(messages)

    def forward(self, messages: Sequence[Message]) -> Publication:
        """Publish copies of messages that the bus has seen, each to the address it names now.

        They keep their ids, so a queue that they reach by two ways has them once. The caller
        counts `hops` up.

        Raises:
            UnavailableError: the store takes nothing durable now.
        """
        refused = {
            index: error
            for index, message in enumerate(messages)
            if (error := self._vet(message.address)) is not None
        }
        if refused:
            return self._publish_some(messages, refused)
        return self._bus.publish(self.realm, messages)

    def as_one(self) -> AbstractContextManager[None]:
        """Route all that is published and forwarded inside as if it were one publish.

        A queue or stream takes a message once then, by however many ways it comes, and even if it
        is gone again by the second.
        """
        return self._bus.as_one()

    def new_id(self) -> int:
        """Return an id for a message that is made from another one."""
        return self._engine.next_id()

    # topics

    def subscribe(
        self,
        pattern: str,
        target: str | Callable[[Batch], Enqueued | None],
        *,
        scope: str | None = None,
        filter: FilterSpec | None = None,  # noqa: A002 - the field's own name
        accepts: Accepts | None = None,
        id: str | None = None,  # noqa: A002 - the field's own name
        durable: bool = False,
    ) -> Subscription:
        """Subscribe to a pattern of topics.

        `target` is an address (a queue, a stream, another topic), a URL that a plugin delivers to
        or, for a live client, a function that takes each batch and must not block. A live
        subscription ends with the session; one to an address or a URL stays until `unsubscribe`,
        and over restarts (for a URL, with what waits) if `durable`. `accepts` filters
        for a live client; `filter` is kept with the subscription. `id`: replaces the one of the
        same id. A function may return what it has enqueued: the publisher's confirmation then
        waits for its commit, too.

        Raises:
            AddressError, FilterError, DeniedError, RefusedError (unknown kind of filter).
        """
        self._demand("subscribe", pattern)
        if isinstance(target, str):
            self._demand("publish", target)
            return self._bus.subscribe(
                self.realm, pattern, target, scope=scope, filter=filter, id=id, durable=durable
            )
        meter, observed = self._meter, target

        def deliver(batch: Batch) -> Enqueued | None:
            meter.delivered += len(batch.messages)
            return observed(batch)

        subscription = self._bus.subscribe(
            self.realm, pattern, deliver, scope=scope, filter=filter, accepts=accepts, id=id
        )
        self._live[subscription.id] = subscription
        return subscription

    def accepts(self, filter: FilterSpec) -> Accepts:  # noqa: A002 - the field's own name
        """Return the predicate that a filter stands for.

        Raises:
            FilterError, RefusedError (unknown kind of filter).
        """
        accepts = self._bus.compile(filter)
        assert accepts is not None
        return accepts

    def unsubscribe(self, id_: str) -> bool:
        """End a subscription; tell whether there was one."""
        self._live.pop(id_, None)
        return self._bus.unsubscribe(self.realm, id_)

    def subscriptions(self, target: str | None = None) -> list[Subscription]:
        """Return the subscriptions of the realm, or those to one target."""
        return self._bus.subscriptions(self.realm, target)

    def watch_subscriptions(self, ended: Callable[[Subscription], None]) -> Callable[[], None]:
        """Have a function called for each subscription to an address that ends, whoever ends it.

        Returns what to call to hear no more.
        """
        return self._bus.watch(self.realm, ended)

    def declare_scope(self, name: str, kind: Scope) -> None:
        """Let everybody know a scope that publishers may use, such as an exchange of AMQP."""
        self._bus.scopes(self.realm)[name] = kind

    def drop_scope(self, name: str) -> None:
        """Let everybody know that a scope is no more."""
        self._bus.scopes(self.realm).pop(name, None)

    def scope(self, name: str) -> Scope:
        """Return how the bindings of a scope match.

        Where nobody has declared any, as without a protocol that has scopes, all are topics.

        Raises:
            NotFoundError: there are scopes, and it is none of them.
        """
        scopes = self._bus.scopes(self.realm)
        found = scopes.get(name)
        if found is None and scopes:
            raise NotFoundError("exchange", name)
        return found or Scope.TOPIC

    def retained(self, pattern: str) -> list[Message]:
        """Return the retained messages that a pattern matches."""
        self._demand("subscribe", pattern)
        return self._bus.retained(self.realm, pattern)

    # queues

    def _queue(self, name: str, action: str) -> Queue:
        self._demand(action, spell_queue(name))
        queue = self._engine.find_queue(self.realm, name)
        if queue is None:
            raise NotFoundError("queue", name)
        return queue

    def find_queue(self, name: str) -> QueueInfo | None:
        """Return what there is to know of a queue, None if there is none."""
        queue = self._engine.find_queue(self.realm, name)
        return None if queue is None else QueueInfo(queue)

    def queues(self, prefix: str = "") -> list[QueueInfo]:
        """Return the queues whose names start with `prefix`, in order of name."""
        return [QueueInfo(queue) for queue in self._engine.queues(self.realm, prefix)]

    async def create_queue(self, name: str, settings: QueueSettings) -> QueueInfo:
        """Create a queue; it is kept when `commit()` is.

        Who names a dead-letter address needs the permission to publish there.

        Raises:
            ExistsError, DeniedError, AddressError.
        """
        queue_address(name)
        self._demand("configure", spell_queue(name))
        if settings.dead_letter is not None:
            self._demand("publish", settings.dead_letter)
        return QueueInfo(await self._engine.create_queue(self.realm, name, settings))

    async def configure_queue(self, name: str, settings: QueueSettings) -> Commit:
        """Change a queue's settings while it runs; another dead-letter address as for a new one."""
        queue = self._queue(name, "configure")
        if settings.dead_letter not in {None, queue.settings.dead_letter}:
            self._demand("publish", settings.dead_letter)
        return await queue.configure(settings)

    async def delete_queue(self, name: str) -> Commit:
        """Delete a queue, all it holds, and the subscriptions that lead to it."""
        queue = self._queue(name, "configure")
        for subscription in self._bus.subscriptions(self.realm, spell_queue(name)):
            self._bus.unsubscribe(self.realm, subscription.id)
        return await self._engine.delete_queue(queue)

    def touch_queue(self, name: str) -> None:
        """Let the idle time after which a queue `expires` begin anew, as if it were used."""
        queue = self._engine.find_queue(self.realm, name)
        if queue is None:
            raise NotFoundError("queue", name)
        queue.touch()

    async def purge_queue(self, name: str, *, leased: bool = False) -> int:
        """Drop what waits in a queue, and what is `leased`; return how many, once that is kept."""
        count, commit = await self._queue(name, "configure").purge(leased=leased)
        await commit.wait()
        return count

    def peek(self, name: str, limit: int) -> Iterator[Message]:
        """Look at the messages that would be received next."""
        return self._queue(name, "consume").peek(limit)

    async def receive(
        self, name: str, limit: int = 1, *, owner: str | None = None,
        lease: int | None = None, wait: int = 0, held: bool = False,
    ) -> list[Delivery]:  # fmt: skip
        """Lease up to `limit` messages of a queue, waiting up to `wait` ms for the first.

        `lease` in ms; None takes the queue's; `held`: until settled, or the owner is released. A
        cancelled call leases nothing.

        Raises:
            NotFoundError, DeniedError, RefusedError (too many in flight).
        """
        queue = self._queue(name, "consume")
        deliveries = await queue.receive(
            limit, owner=owner or self.client, lease=lease, wait=wait, held=held
        )
        if deliveries:
            self._delivered(deliveries)
        return deliveries

    def consume(
        self,
        name: str,
        deliver: Callable[[list[Delivery]], None],
        *,
        owner: str | None = None,
        lease: int | None = None,
        windows: tuple[Window, ...] = (),
        settled: bool = False,
        exclusive: bool = False,
        priority: int = 0,
        filter: FilterSpec | None = None,  # noqa: A002 - the field's own name
        cancelled: Callable[[str], None] = lambda reason: None,
    ) -> Consumption:
        """Have messages of a queue pushed to `deliver`, which must not block.

        See `ConsumerTerms` for the options; `filter` chooses messages, and leaves the others. Ends
        with the session; what it holds stays leased to the owner until settled or `release_owner`.

        Raises:
            NotFoundError, DeniedError, FilterError, RefusedError (in exclusive use; an unknown kind
                of filter, or one on a FIFO queue).
        """
        queue = self._queue(name, "consume")
        accepts = self._bus.compile(filter)

        def counted(deliveries: list[Delivery]) -> None:
            self._delivered(deliveries)
            deliver(deliveries)

        terms = ConsumerTerms(
            owner=owner or self.client, lease=lease, windows=windows, settled=settled,
            exclusive=exclusive, priority=priority, accepts=accepts,
        )  # fmt: skip
        consumption = queue.consume(counted, terms, cancelled)
        self._consumptions.append(consumption)
        return consumption

    def _delivered(self, deliveries: list[Delivery]) -> None:
        self._meter.delivered += len(deliveries)
        self._meter.redelivered += sum(each.redelivered for each in deliveries)
        if self._observers.delivered:
            self._observers.delivered(self, deliveries)

    def end_consumption(self, consumption: Consumption) -> None:
        """Take nothing more from a queue."""
        consumption.cancel()
        if consumption in self._consumptions:
            self._consumptions.remove(consumption)

    async def settle(
        self, receipts: Sequence[Receipt], outcome: Outcome = Outcome.ACCEPT,
        *, reason: str = "rejected",
    ) -> Settlement:  # fmt: skip
        """End leases; receipts may be of several queues.

        `failed` of the answer has the indexes of receipts that no longer count.
        """
        self._meter.settled += len(receipts)
        if self._observers.settled:
            self._observers.settled(self, receipts, outcome)
        numbers = {receipt.queue for receipt in receipts}
        if len(numbers) == 1:
            queue = self._engine.queue_of(receipts[0])
            if queue is not None:
                return await queue.settle(receipts, outcome, reason=reason)
        failed: list[int] = []
        for number in numbers:
            indexes = [i for i, receipt in enumerate(receipts) if receipt.queue == number]
            queue = self._engine.queue_of(receipts[indexes[0]])
            if queue is None:
                failed += indexes
                continue
            part = await queue.settle([receipts[i] for i in indexes], outcome, reason=reason)
            failed += [indexes[i] for i in part.failed]
        return Settlement(tuple(sorted(failed)), self._engine.commit())

    async def extend(self, receipt: Receipt, lease: int, *, let_go: bool = False) -> bool:
        """Move a lease's deadline to `lease` ms from now (0: give it back); False if it is over.

        With `let_go` nobody holds the message until then: it takes no room in a window, and stays
        hidden when its owner leaves.
        """
        queue = self._engine.queue_of(receipt)
        if queue is None:
            return False
        return not (await queue.extend([receipt], lease, let_go=let_go)).failed

    def lease_of(self, receipt: Receipt) -> LeaseState:
        """Tell what a receipt still means."""
        queue = self._engine.queue_of(receipt)
        return "gone" if queue is None else queue.lease_of(receipt)

    def successor(self, receipt: Receipt) -> Receipt | None:
        """Return the receipt of the latest lease of a message, for a stale one of it.

        None if the message is settled, or a connection holds it.
        """
        queue = self._engine.queue_of(receipt)
        return None if queue is None else queue.successor(receipt)

    def tag(self, receipt: Receipt, tag: int) -> Commit:
        """Keep a number of the owner's with a lease, over restarts.

        Whoever must not lose it in a crash waits for the commit; all others need not.
        """
        queue = self._engine.queue_of(receipt)
        return DONE if queue is None else queue.tag(receipt, tag)

    async def leases(self, name: str, owner: str) -> list[Delivery]:
        """Return what an owner holds of a queue, oldest first."""
        return await self._queue(name, "consume").leases(owner)

    async def release_owner(self, name: str, owner: str) -> None:
        """Give back all that an owner holds of a queue."""
        queue = self._engine.find_queue(self.realm, name)
        if queue is not None:
            await queue.release(owner)

    # streams

    def _stream(self, name: str, action: str) -> Stream:
        self._demand(action, spell_stream(name))
        stream = self._engine.find_stream(self.realm, name)
        if stream is None:
            raise NotFoundError("stream", name)
        return stream

    def find_stream(self, name: str) -> StreamInfo | None:
        """Return what there is to know of a stream, None if there is none."""
        stream = self._engine.find_stream(self.realm, name)
        return None if stream is None else StreamInfo(stream)

    def streams(self, prefix: str = "") -> list[StreamInfo]:
        """Return the streams whose names start with `prefix`, in order of name."""
        return [StreamInfo(stream) for stream in self._engine.streams(self.realm, prefix)]

    async def create_stream(
        self, name: str, settings: StreamSettings, shards: int = 1
    ) -> StreamInfo:
        """Create a stream; it is kept when `commit()` is.

        Raises:
            ExistsError, DeniedError, AddressError, ShardLimitError.
        """
        self._demand("configure", str(stream_address(name)))
        return StreamInfo(await self._engine.create_stream(self.realm, name, settings, shards))

    async def configure_stream(self, name: str, settings: StreamSettings) -> Commit:
        """Change a stream's settings while it runs."""
        return await self._stream(name, "configure").configure(settings)

    async def delete_stream(self, name: str) -> Commit:
        """Delete a stream, all it holds, and the subscriptions that lead to it."""
        stream = self._stream(name, "configure")
        for subscription in self._bus.subscriptions(self.realm, spell_stream(name)):
            self._bus.unsubscribe(self.realm, subscription.id)
        return await self._engine.delete_stream(stream)

    def append(self, name: str, records: Sequence[Message]) -> Appended:
        """Append messages to a stream, each by its `group` as partition key.

        For those who need to know where each record went; `publish` to the stream's address does
        the same without telling. A message's `shard_key` chooses the shard in place of its group.

        Raises:
            NotFoundError, DeniedError, InvalidHashKeyError, UnavailableError.
        """
        stream = self._stream(name, "publish")
        now, protocol, client = self._bus.clock.now(), self.protocol, self.client
        for message, id_ in zip(records, self._engine.next_ids(len(records)), strict=True):
            message.id = id_
            message.published = now
            message.protocol = protocol
            message.client = client
        appended = stream.append(new_records(records))
        self._meter.published += len(records)
        if self._observers.published:
            self._observers.published(self, records)
        return appended

    async def read(
        self, name: str, position: Position, *, limit: int = READ_RECORDS,
        max_bytes: int = READ_BYTES, skip_trimmed: bool = False,
    ) -> ReadResult:  # fmt: skip
        """Read a stream from a position on.

        Raises:
            NotFoundError, DeniedError, NoSuchShardError, TrimmedPositionError.
        """
        found = await self._stream(name, "consume").read(
            position, limit=limit, max_bytes=max_bytes, skip_trimmed=skip_trimmed
        )
        self._meter.delivered += len(found.records)
        return found

    def watch(self, name: str, shard: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back when a shard changes; returns what to call to end it."""
        return self._stream(name, "consume").watch(shard, callback)

    async def split_shard(self, name: str, shard: int, hash_key: int) -> tuple[Reshard, Commit]:
        """Close a shard and open two in its place; the second starts at `hash_key`."""
        return await self._stream(name, "configure").split(shard, hash_key)

    async def merge_shards(self, name: str, shard: int, adjacent: int) -> tuple[Reshard, Commit]:
        """Close two adjacent shards and open one in their place."""
        return await self._stream(name, "configure").merge(shard, adjacent)

    # documents

    def put_document(self, namespace: str, key: str, value: bytes) -> Commit:
        """Keep a small durable record of the plugin's own."""
        return self._engine.put(Document(namespace, self.realm, key, value))

    def drop_document(self, namespace: str, key: str) -> Commit:
        """Forget a record; no error where there is none."""
        return self._engine.drop(namespace, self.realm, key)

    def documents(self, namespace: str) -> AsyncIterator[Document]:
        """All records of a namespace, of every realm: for loading at start."""
        return self._engine.documents(namespace)

    def commit(self) -> Commit:
        """Return the commit of everything handed over so far."""
        return self._engine.commit()

    def lost(self, reason: str, count: int, address: str) -> None:
        """Count messages that could not be carried on, for `reason`."""
        self._bus.lost(reason, count, address)

    def lossy(self, field: str, count: int = 1) -> None:
        """Count a field that this protocol could not carry."""
        self._meter.lossy[field] = self._meter.lossy.get(field, 0) + count
