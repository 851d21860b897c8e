"""The bus: joins topics, queues and streams. Publishes to addresses, keeps subscriptions.

A plugin reaches it through a `hubbub.session.Session` only.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from typing import Any, Protocol, TypeAlias

import msgspec

from .address import (
    Address,
    AddressError,
    Kind,
    check_pattern,
    parse_address,
    queue_address,
)
from .clock import Clock
from .dead_letters import circles, grave_of, with_death
from .engine.contract import DONE, Commit, Document, Engine, Enqueued, Queue, Stream
from .errors import HubbubError, NotFoundError, RefusedError
from .filters import compile_filter
from .message import Death, Message
from .once import Once
from .retained import RetainedMessages
from .streams import NewRecord, StreamError
from .topics import SubscriptionTree

_SUBSCRIPTIONS = "subscription"
_MAX_HOPS = 16
"""Topic-to-topic subscriptions that one message may pass: a loop ends here, counted as a loss."""
_NO_DUPLICATES: dict[int, int] = {}
_NO_ERRORS: dict[int, HubbubError] = {}

Accepts: TypeAlias = Callable[[Message], bool]


class Batch:
    """Messages of one address that are delivered together, to every subscriber the same object.

    `cache` is for those who deliver: what one subscriber has encoded, the next can send again.
    """

    __slots__ = ("cache", "messages")

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.cache: dict[Any, Any] = {}


class FilterSpec(msgspec.Struct, frozen=True, array_like=True):
    """A filter as it is kept: its `kind` ("policy" is `hubbub.filters`) and JSON-able `spec`."""

    kind: str
    spec: Any


class Subscription:
    """Everything that receives: a pattern, a filter and a target.

    `target` is an address or, if `is_url`, a URL; None for a live client. Obtained from a session,
    and ended there with `unsubscribe`.
    """

    __slots__ = ("accepts", "deliver", "durable", "filter", "id", "is_url", "pattern", "realm",
                 "scope", "target")  # fmt: skip

    def __init__(
        self,
        realm: str,
        pattern: str,
        deliver: Callable[[Batch], Enqueued | None],
        *,
        id: str,  # noqa: A002 - the field's own name
        scope: str | None = None,
        target: str | None = None,
        filter: FilterSpec | None = None,  # noqa: A002 - the field's own name
        accepts: Accepts | None = None,
        durable: bool = False,
        is_url: bool = False,
    ) -> None:
        self.realm = realm
        self.pattern = pattern
        self.deliver = deliver
        self.id = id
        self.scope = scope
        self.target = target
        self.filter = filter
        self.accepts = accepts
        self.durable = durable
        self.is_url = is_url


class _SubscriptionRecord(msgspec.Struct, array_like=True):
    """What is kept of a durable subscription."""

    pattern: str
    scope: str | None
    target: str
    filter: FilterSpec | None
    is_url: bool = False


class Publication(msgspec.Struct, frozen=True):
    """What became of a batch of messages.

    `commit` is kept when all that had to be kept is. By index: `unmatched` were seen by nobody,
    `refused` met an error, `duplicates` repeat the message of that id.
    """

    commit: Commit
    unmatched: tuple[int, ...] = ()
    refused: Mapping[int, HubbubError] = _NO_ERRORS
    duplicates: Mapping[int, int] = _NO_DUPLICATES


class Losses(Protocol):
    """Hears of every message that goes no further."""

    def __call__(self, reason: str, count: int, address: str) -> None:
        """`count` messages for `address` were dropped for `reason`."""
        ...


class Endpoints(Protocol):
    """Delivers to URLs; see `hubbub.endpoints`."""

    def has(self, target: str) -> bool:
        """Tell whether a target is a URL, not an address."""
        ...

    def attach(self, realm: str, id_: str, url: str, *, durable: bool) -> str:
        """Begin to deliver for a subscription; return the name of the queue it feeds."""
        ...

    def detach(self, realm: str, id_: str) -> None:
        """Deliver no more for a subscription."""
        ...


class _Realm:
    """One tenant's topics."""

    def __init__(self) -> None:
        self.tree: SubscriptionTree[Subscription] = SubscriptionTree()
        self.by_id: dict[str, Subscription] = {}
        self.by_target: dict[str, dict[str, Subscription]] = {}
        self.watchers: list[Callable[[Subscription], None]] = []
        self.scopes: dict[str, Scope] = {}


class Scope(Enum):
    """How the bindings of a scope match: what a subscriber's key means there."""

    TOPIC = "topic"
    """A pattern of words."""
    DIRECT = "direct"
    """A key as it is."""
    ALL = "all"
    """Nothing: all that is published there is for everybody."""


class Bus:
    """Publishes, subscribes, and carries dead letters.

    `filter_kinds` maps the kind of a filter to a compiler of its spec. `lost` hears of every
    message that goes no further, `report` of exceptions in functions that plugins gave.
    `max_retained` and `max_retained_bytes` bound the retained messages.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        lost: Losses,
        filter_kinds: Mapping[str, Callable[[Any], Accepts]],
        report: Callable[[Exception], None],
        *,
        max_retained: int = 100_000,
        max_retained_bytes: int = 256_000_000,
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.lost = lost
        self._report = report
        self._filter_kinds = {"policy": _compile_policy, **filter_kinds}
        self._realms: dict[str, _Realm] = {}
        self._addresses: dict[str, Address | AddressError] = {}
        self._retained = RetainedMessages(
            engine, clock, limit=max_retained, limit_bytes=max_retained_bytes
        )
        self.sent_to_topics = self.sent_to_queues = self.sent_to_streams = 0
        """Messages sent by address, those that the bus itself passes on included."""
        self.endpoints: Endpoints = _NoEndpoints()
        """Delivers to targets that are URLs; the hub sets it."""
        self._once = Once()
        engine.dead_letter = self._bury
        engine.lacks_dead_letter_queue = self._lacks_dead_letter_queue
        engine.report = report
        engine.retired = self._retired

    async def load(self) -> None:
        """Take back the subscriptions and retained messages that the engine kept."""
        async for document in self.engine.documents(_SUBSCRIPTIONS):
            record = msgspec.msgpack.decode(document.value, type=_SubscriptionRecord)
            try:
                kept = self._subscription(document.realm, document.key, record, durable=True)
            except HubbubError as error:  # to go on without it would lose messages
                raise RefusedError(f"subscription {document.key!r}: {error}") from error
            self._add(kept)
        await self._retained.load()

    def _realm(self, name: str) -> _Realm:
        realm = self._realms.get(name)
        if realm is None:
            realm = self._realms[name] = _Realm()
        return realm

    def count_subscriptions(self) -> int:
        """Count the subscriptions of all realms."""
        return sum(len(realm.by_id) for realm in self._realms.values())

    def count_retained(self) -> int:
        """Count the retained messages of all realms, expired ones that nobody asked for too."""
        return len(self._retained)

    # publishing

    def publish(self, realm: str, messages: Sequence[Message]) -> Publication:
        """Route messages in order; ids and publishing times are set already.

        Messages of one address that follow one another are delivered as one batch.
        """
        with self._once:
            return self._publish(realm, messages)

    def as_one(self) -> AbstractContextManager[None]:
        """Route all that is published inside as if it were one publish.

        A queue or stream takes a message once then, by however many ways it comes, and even if it
        is gone again by the second.
        """
        return self._once

    def _publish(self, realm: str, messages: Sequence[Message]) -> Publication:
        commit: Commit = DONE
        unmatched: tuple[int, ...] = ()
        refused: dict[int, HubbubError] = _NO_ERRORS
        duplicates: dict[int, int] = _NO_DUPLICATES
        where = self._realm(realm)
        count = len(messages)
        start = 0
        while start < count:
            first = messages[start]
            address, scope = first.address, first.scope
            end = start + 1
            while end < count and messages[end].address == address and messages[end].scope == scope:
                end += 1
            run = messages if end - start == count else messages[start:end]
            if address[:1] == "$" or not address:
                result = self._send(realm, where, address, run)
            else:
                result = self._publish_topic(realm, where, run)
            if result.commit is not DONE:
                commit = result.commit
            if result.unmatched:
                unmatched += tuple(start + index for index in result.unmatched)
            if result.refused:
                refused = refused | {start + i: error for i, error in result.refused.items()}
            if result.duplicates:
                duplicates = duplicates | {start + i: id_ for i, id_ in result.duplicates.items()}
            start = end
        return Publication(commit, unmatched, refused, duplicates)

    def _send(self, realm: str, where: _Realm, text: str, run: Sequence[Message]) -> Publication:
        """Send to an address that may be a queue or a stream."""
        address = self.parse(text)
        if isinstance(address, AddressError):
            return Publication(DONE, refused=dict.fromkeys(range(len(run)), address))
        if address.kind is Kind.TOPIC:
            return self._publish_topic(realm, where, run)
        if address.kind is Kind.QUEUE:
            queue = self.engine.find_queue(realm, address.name)
            if queue is not None:
                self.sent_to_queues += len(run)
                return _publication(self._enqueue(queue, run))
        else:
            stream = self.engine.find_stream(realm, address.name)
            if stream is not None:
                self.sent_to_streams += len(run)
                return self._append(stream, run, address.key)
        error = NotFoundError(address.kind.value, address.name)
        return Publication(DONE, refused=dict.fromkeys(range(len(run)), error))

    def _enqueue(self, queue: Queue, messages: Sequence[Message]) -> Enqueued:
        """Put messages into a queue that it was not given by another way."""
        new = self._once.new_to(queue, messages)
        if new is None:
            return queue.enqueue(messages)
        result = queue.enqueue([messages[index] for index in new])
        return Enqueued(
            result.commit,
            {new[index]: reason for index, reason in result.refused.items()},
            {new[index]: first for index, first in result.duplicates.items()},
        )

    def _append(self, stream: Stream, messages: Sequence[Message], key: str | None) -> Publication:
        """Append messages to a stream that it was not given by another way."""
        new = self._once.new_to((stream, key), messages)
        if new is None:
            return _append(stream, messages, key)
        result = _append(stream, [messages[index] for index in new], key)
        return Publication(
            result.commit, refused={new[index]: error for index, error in result.refused.items()}
        )

    def parse(self, text: str) -> Address | AddressError:
        """Parse an address once; it is remembered."""
        address = self._addresses.get(text)
        if address is None:
            try:
                address = parse_address(text)
            except AddressError as error:
                address = error
            if len(self._addresses) >= 10_000:
                self._addresses.clear()
            self._addresses[text] = address
        return address

    def _publish_topic(self, realm: str, where: _Realm, run: Sequence[Message]) -> Publication:
        self.sent_to_topics += len(run)
        commit: Commit = DONE
        refused: dict[int, HubbubError] = {}
        for index, message in enumerate(run):
            if message.retain:
                try:
                    kept = self._retained.keep(realm, message)
                except RefusedError as error:
                    refused[index] = error
                else:
                    commit = kept if message.durable else commit
        if not refused:
            return self._deliver(where, run, commit)
        passed = [index for index in range(len(run)) if index not in refused]
        if not passed:
            return Publication(commit, refused=refused)
        rest = self._deliver(where, [run[index] for index in passed], commit)
        return Publication(
            rest.commit,
            tuple(passed[index] for index in rest.unmatched),
            refused | {passed[index]: error for index, error in rest.refused.items()},
        )

    def _deliver(self, where: _Realm, run: Sequence[Message], commit: Commit) -> Publication:
        """Give messages of one topic to its subscriptions; `commit` is what is owed already."""
        first = run[0]
        subscriptions = where.tree.match(first.address, first.scope)
        if not subscriptions:
            return Publication(commit, tuple(range(len(run))))
        if first.hops > _MAX_HOPS:
            self.lost("routing loop", len(run), first.address)
            return Publication(commit)
        refused: dict[int, HubbubError] = _NO_ERRORS
        whole = Batch(run)
        filtered: dict[Accepts, tuple[Batch | None, list[int]]] = {}
        seen: set[int] | None = set()
        for subscription in subscriptions:
            accepts = subscription.accepts
            indexes: list[int] | None = None
            if accepts is None:
                seen = None
                batch = whole
            else:
                part = filtered.get(accepts)
                if part is None:
                    part = filtered[accepts] = self._accepted(run, whole, accepts)
                    if seen is not None:
                        seen.update(part[1])
                if part[0] is None:
                    continue
                batch, indexes = part[0], part[1]
            try:
                result = subscription.deliver(batch)
            except HubbubError:
                raise
            except Exception as error:  # a plugin's failure is its subscription's alone
                self._report(error)
                continue
            if result is None:
                continue
            if result.commit is not DONE:
                commit = result.commit
            for index, reason in result.refused.items():
                at = index if indexes is None else indexes[index]
                refused = {**refused, at: RefusedError(reason)}
        unmatched = (
            () if seen is None else tuple(index for index in range(len(run)) if index not in seen)
        )
        return Publication(commit, unmatched, refused)

    def _accepted(
        self, run: Sequence[Message], whole: Batch, accepts: Accepts
    ) -> tuple[Batch | None, list[int]]:
        """Return the part of a batch that a filter lets through, and the indexes of it.

        Subscriptions with the same filter object are given the same batch, and so share its cache.
        """
        try:
            indexes = [index for index, message in enumerate(run) if accepts(message)]
        except Exception as error:  # what a plugin's filter can't judge does not match
            self._report(error)
            indexes = [index for index, message in enumerate(run) if _judge(accepts, message)]
        if len(indexes) == len(run):
            return whole, indexes
        return (Batch([run[index] for index in indexes]) if indexes else None), indexes

    def retained(self, realm: str, pattern: str) -> list[Message]:
        """Return the retained messages that a pattern matches, expired ones left out."""
        return self._retained.find(realm, pattern)

    # subscriptions

    def subscribe(
        self,
        realm: str,
        pattern: str,
        target: str | Callable[[Batch], Enqueued | None],
        *,
        scope: str | None = None,
        filter: FilterSpec | None = None,  # noqa: A002 - the field's own name
        accepts: Accepts | None = None,
        id: str | None = None,  # noqa: A002 - the field's own name
        durable: bool = False,
    ) -> Subscription:
        """Make a subscription; one of the same `id` is replaced.

        Raises:
            AddressError: the pattern or the target is no address.
            FilterError: the filter is none.
            RefusedError: nobody knows this kind of filter, or delivers to this URL.
        """
        check_pattern(pattern)
        id_ = id or uuid.uuid4().hex
        if isinstance(target, str):
            is_url = self.endpoints.has(target)
            record = _SubscriptionRecord(pattern, scope, target, filter, is_url)
            subscription = self._subscription(realm, id_, record, durable=durable)
            former = self._forget(realm, id_)
            if durable:
                value = msgspec.msgpack.encode(record)
                self.engine.put(Document(_SUBSCRIPTIONS, realm, id_, value))
        else:
            subscription = Subscription(
                realm,
                pattern,
                target,
                id=id_,
                scope=scope,
                filter=filter,
                accepts=accepts or self.compile(filter),
            )
            former = self._forget(realm, id_)
        if former is not None and former.is_url and not subscription.is_url:
            self.endpoints.detach(realm, id_)
        self._add(subscription)
        return subscription

    def unsubscribe(self, realm: str, id_: str) -> bool:
        """End a subscription; tell whether there was one."""
        subscription = self._forget(realm, id_)
        if subscription is None:
            return False
        if subscription.is_url:
            self.endpoints.detach(realm, id_)
        return True

    def _forget(self, realm: str, id_: str) -> Subscription | None:
        where = self._realm(realm)
        subscription = where.by_id.pop(id_, None)
        if subscription is None:
            return None
        where.tree.remove(subscription)
        if subscription.target is not None:
            peers = where.by_target[subscription.target]
            del peers[id_]
            if not peers:
                del where.by_target[subscription.target]
            for ended in tuple(where.watchers):
                ended(subscription)
        if subscription.durable:
            self.engine.drop(_SUBSCRIPTIONS, realm, id_)
        return subscription

    def _retired(self, queue: Queue) -> None:
        """Let the subscriptions that lead to a queue end with it."""
        for subscription in self.subscriptions(queue.realm, str(queue_address(queue.name))):
            self.unsubscribe(queue.realm, subscription.id)

    def watch(self, realm: str, ended: Callable[[Subscription], None]) -> Callable[[], None]:
        """Call back when a subscription to an address ends; returns what to call to end it."""
        watchers = self._realm(realm).watchers
        watchers.append(ended)
        return lambda: watchers.remove(ended)

    def subscriptions(self, realm: str, target: str | None = None) -> list[Subscription]:
        """Return the subscriptions of a realm, or those to one target."""
        where = self._realm(realm)
        found = where.by_id if target is None else where.by_target.get(target, {})
        return list(found.values())

    def _add(self, subscription: Subscription) -> None:
        where = self._realm(subscription.realm)
        where.tree.add(subscription)
        where.by_id[subscription.id] = subscription
        if subscription.target is not None:
            where.by_target.setdefault(subscription.target, {})[subscription.id] = subscription

    def _subscription(
        self, realm: str, id_: str, record: _SubscriptionRecord, *, durable: bool
    ) -> Subscription:
        accepts = self.compile(record.filter)
        if record.is_url:
            deliver = self.delivery_to_url(realm, id_, record.target, durable=durable)
        else:
            deliver = self.delivery_to(realm, record.target)
        return Subscription(
            realm, record.pattern, deliver, id=id_, scope=record.scope, target=record.target,
            filter=record.filter, accepts=accepts, durable=durable, is_url=record.is_url,
        )  # fmt: skip

    def scopes(self, realm: str) -> dict[str, Scope]:
        """Return the scopes of a realm that are declared, to be read and changed."""
        return self._realm(realm).scopes

    def compile(self, spec: FilterSpec | None) -> Accepts | None:
        """Return the predicate of a filter.

        Raises:
            FilterError, RefusedError (unknown kind of filter).
        """
        if spec is None:
            return None
        compiler = self._filter_kinds.get(spec.kind)
        if compiler is None:
            raise RefusedError(f"no plugin knows filters of the kind {spec.kind!r}")
        try:
            return compiler(spec.spec)
        except HubbubError:
            raise
        except ValueError as error:
            raise RefusedError(str(error)) from error

    def delivery_to(self, realm: str, target: str) -> Callable[[Batch], Enqueued | None]:
        """Make the function that delivers batches to an address."""
        address = parse_address(target)
        if address.kind is Kind.QUEUE:
            return self._delivery_to_queue(realm, address.name, target)
        if address.kind is Kind.STREAM:
            return self._delivery_to_stream(realm, address, target)

        def deliver(batch: Batch) -> Enqueued | None:
            return self.forward(realm, batch.messages, target)

        return deliver

    def delivery_to_url(
        self, realm: str, id_: str, url: str, *, durable: bool
    ) -> Callable[[Batch], Enqueued | None]:
        """Make the function that delivers batches to a URL, for the subscription `id_`."""
        queue = self.endpoints.attach(realm, id_, url, durable=durable)
        return self._delivery_to_queue(realm, queue, url)

    def _delivery_to_queue(
        self, realm: str, name: str, target: str
    ) -> Callable[[Batch], Enqueued | None]:
        engine = self.engine

        def deliver(batch: Batch) -> Enqueued | None:
            queue = engine.find_queue(realm, name)
            if queue is None:
                self.lost("no such queue", len(batch.messages), target)
                return None
            return self._enqueue(queue, batch.messages)

        return deliver

    def _delivery_to_stream(
        self, realm: str, address: Address, target: str
    ) -> Callable[[Batch], Enqueued | None]:
        engine = self.engine

        def deliver(batch: Batch) -> Enqueued | None:
            stream = engine.find_stream(realm, address.name)
            if stream is None:
                self.lost("no such stream", len(batch.messages), target)
                return None
            result = self._append(stream, batch.messages, address.key)
            refused = {index: str(error) for index, error in result.refused.items()}
            return Enqueued(result.commit, refused, _NO_DUPLICATES)

        return deliver

    def forward(self, realm: str, messages: Sequence[Message], target: str) -> Enqueued | None:
        """Publish copies of messages to another address."""
        copies = [
            msgspec.structs.replace(each, id=self.engine.next_id(), address=target, scope=None,
                                    retain=False, hops=each.hops + 1)
            for each in messages
        ]  # fmt: skip
        publication = self.publish(realm, copies)
        refused = {index: str(error) for index, error in publication.refused.items()}
        return Enqueued(publication.commit, refused, _NO_DUPLICATES)

    # dead letters

    def _lacks_dead_letter_queue(self, queue: Queue) -> bool:
        target = queue.settings.dead_letter
        if target is None or target.endswith("#"):
            return False
        address = parse_address(target)
        if address.kind is not Kind.QUEUE:
            return False
        return self.engine.find_queue(queue.realm, address.name) is None

    def _bury(self, queue: Queue, message: Message, receives: int, reason: str) -> Commit:
        """Publish a message that a queue gave up to its dead-letter address."""
        dead_letter = queue.settings.dead_letter
        if dead_letter is None or circles(message, queue.name, reason):
            self.lost(reason, 1, f"$queue/{queue.name}")
            return DONE
        target = grave_of(dead_letter, message)
        death = Death(queue.name, reason, message.address, self.clock.now(), scope=message.scope)
        copy = msgspec.structs.replace(
            message, id=self.engine.next_id(), address=target, scope=None, retain=False,
            origin_id=message.identity, deaths=with_death(message.deaths, death),
            prior_receives=message.prior_receives + receives, expires_at=None, delay=None,
            hops=message.hops + 1,
        )  # fmt: skip
        publication = self.publish(queue.realm, [copy])
        if publication.unmatched or publication.refused:
            self.lost("dead letter not taken", 1, target)
        return publication.commit


class _NoEndpoints:
    """A bus without endpoints: every target is an address."""

    def has(self, target: str) -> bool:
        return False

    def attach(self, realm: str, id_: str, url: str, *, durable: bool) -> str:
        raise RefusedError(f"nobody delivers to {url!r}")

    def detach(self, realm: str, id_: str) -> None:
        pass


def _judge(accepts: Accepts, message: Message) -> bool:
    """Tell whether a filter matches; one that raises does not."""
    try:
        return accepts(message)
    except Exception:  # the first was reported
        return False


def _publication(result: Enqueued) -> Publication:
    if not (result.refused or result.duplicates):
        return Publication(result.commit)
    refused: dict[int, HubbubError] = {
        index: RefusedError(reason) for index, reason in result.refused.items()
    }
    return Publication(result.commit, (), refused, result.duplicates)


def new_records(messages: Sequence[Message], key: str | None = None) -> list[NewRecord]:
    """Make the records of messages: by `key`, else their group, else an id of their own.

    Their size is that of the body and the partition key, as Kinesis counts.
    """
    return [
        NewRecord(
            partition_key := key or message.group or str(message.id),
            message,
            len(message.body) + len(partition_key.encode()),
            None if message.shard_key is None else int(message.shard_key),
        )
        for message in messages
    ]


def _append(stream: Stream, run: Sequence[Message], key: str | None) -> Publication:
    try:
        return Publication(stream.append(new_records(run, key)).commit)
    except StreamError as error:
        return Publication(DONE, refused=dict.fromkeys(range(len(run)), error))
    except RefusedError:  # one cannot be stored, which is no reason to refuse the others
        return _append_singly(stream, run, key)


def _append_singly(stream: Stream, run: Sequence[Message], key: str | None) -> Publication:
    commit: Commit = DONE
    refused: dict[int, HubbubError] = {}
    for index, message in enumerate(run):
        try:
            commit = stream.append(new_records([message], key)).commit
        except (StreamError, RefusedError) as error:
            refused[index] = error
    return Publication(commit, refused=refused)


def _compile_policy(spec: Any) -> Accepts:
    matches = compile_filter(spec)
    return lambda message: matches(message.headers)
