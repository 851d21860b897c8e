"""Fan-out: each SNS subscription as a live subscription of the bus.

What goes to queues and streams is put there, in its envelope, within the publisher's own turn, and
the publisher's confirmation waits for it. What goes elsewhere waits in an internal queue that is as
durable.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from hubbub import Batch, Enqueued, HubbubError, Message, NotFoundError, Wire, queue_address
from hubbub_aws import AwsSettings
from hubbub_aws.arns import Arn
from hubbub_sns.envelopes import Envelopes
from hubbub_sns.filters import ATTRIBUTES, Accepts, Filters
from hubbub_sns.messages import WIRE, Properties, content_of, properties_of
from hubbub_sns.names import pattern_of
from hubbub_sns.records import Subscription, Topic
from hubbub_sns.store import Store

if TYPE_CHECKING:
    from hubbub import Hub

MAX_SQS_ATTRIBUTES = 10

_QUEUE_ENDPOINTS = frozenset({"sqs"})
_STREAM_ENDPOINTS = frozenset({"firehose"})
_encode = msgspec.msgpack.Encoder().encode


def waits(subscription: Subscription) -> bool:
    """Tell whether what is for a subscription waits in an internal queue."""
    return subscription.protocol not in _QUEUE_ENDPOINTS | _STREAM_ENDPOINTS


class Fanout:
    """Attaches subscriptions to the bus."""

    def __init__(self, hub: "Hub", store: Store, envelopes: Envelopes, filters: Filters) -> None:
        self._settings = hub.config.section(AwsSettings)
        self._store = store
        self._envelopes = envelopes
        self._filters = filters

    def attach(self, subscription: Subscription) -> None:
        """Let a subscription have messages; one that is attached is replaced."""
        topic = self._store.topics.get(subscription.topic)
        if topic is None or not subscription.active or subscription.replay is not None:
            self.detach(subscription)
            return
        self._store.session(topic.realm).subscribe(
            pattern_of(topic.name),
            self._delivery(topic, subscription),
            accepts=self.accepts(subscription),
            id=f"sns/{subscription.arn}",
        )

    def detach(self, subscription: Subscription) -> None:
        """Let a subscription have no more messages."""
        self._store.session(subscription.realm).unsubscribe(f"sns/{subscription.arn}")

    def accepts(self, subscription: Subscription) -> Accepts | None:
        """Return the filter of a subscription."""
        policy = subscription.attributes.get("FilterPolicy")
        if not policy:
            return None
        scope = subscription.attributes.get("FilterPolicyScope", ATTRIBUTES)
        return self._filters.make(policy, scope)

    def _delivery(
        self, topic: Topic, subscription: Subscription
    ) -> Callable[[Batch], Enqueued | None]:
        if subscription.protocol in _QUEUE_ENDPOINTS:
            return lambda batch: self.to_queue(topic, subscription, batch.messages, batch.cache)
        if subscription.protocol in _STREAM_ENDPOINTS:
            return lambda batch: self._to_stream(topic, subscription, batch)
        session, queue = self._store.session(subscription.realm), subscription.queue
        return lambda batch: session.enqueue(queue, batch.messages)

    def place_of(self, arn: Arn) -> str:
        """Return the realm of a queue or stream that an ARN names."""
        return self._settings.realm(arn.account, arn.region)

    # queues

    def to_queue(
        self, topic: Topic, subscription: Subscription, messages: Sequence[Message],
        cache: dict[Any, Any] | None = None, *, replayed: bool = False,
    ) -> Enqueued | None:  # fmt: skip
        """Put messages into the queue of a subscription, or its dead-letter queue.

        `replayed`: they come from the topic's archive.
        """
        arn = Arn.parse(subscription.endpoint)
        copies: list[Message] = []
        sources: list[Message] = []
        for message in messages:
            copy = self._copy(topic, subscription, message, arn.resource, cache, replayed)
            if copy is not None:
                copies.append(copy)
                sources.append(message)
        session = self._store.session(self.place_of(arn))
        if not copies:
            return None
        try:
            result = session.enqueue(arn.resource, copies)
        except NotFoundError:
            for message in sources:
                self.dead_letter(topic, subscription, message, "no such queue")
            return self._everything(subscription)
        if not result.refused:
            return Enqueued(result.commit, {}, {}) if result.duplicates else result
        for index, reason in result.refused.items():
            self.dead_letter(topic, subscription, sources[index], reason)
        return self._everything(subscription)

    def _everything(self, subscription: Subscription) -> Enqueued:
        """The commit of all that was done till now."""
        return Enqueued(self._store.session(subscription.realm).commit(), {}, {})

    def _copy(
        self, topic: Topic, subscription: Subscription, message: Message, queue: str,
        cache: dict[Any, Any] | None, replayed: bool,
    ) -> Message | None:  # fmt: skip
        """Make the message for a queue; None if it can't have it."""
        session = self._store.session(subscription.realm)
        address = f"$queue/{queue}"
        if subscription.raw:
            copy = self._raw_copy(subscription, message, address)
            if copy is None:
                return None
            copy.id = session.new_id()
        else:
            properties = properties_of(message)
            wire = None
            if properties.trace is not None:
                wire = Wire(WIRE, _encode(Properties(trace=properties.trace)))
            body = self._envelopes.notification(
                message, topic, subscription, cache, replayed=replayed
            )
            copy = Message(
                address=address, body=body, id=session.new_id(), priority=message.priority,
                expires_at=message.expires_at, durable=message.durable, group=message.group,
                protocol=message.protocol, client=message.client, published=message.published,
                hops=message.hops, wire=wire,
            )  # fmt: skip
        if topic.fifo:
            _order(copy, message, to_fifo=queue.endswith(".fifo"))
        return copy

    def _raw_copy(
        self, subscription: Subscription, message: Message, address: str
    ) -> Message | None:
        if len(message.headers) > MAX_SQS_ATTRIBUTES and _attributes(message) > MAX_SQS_ATTRIBUTES:
            session = self._store.session(subscription.realm)
            session.lost("more than ten attributes", 1, address)
            return None
        copy = msgspec.structs.replace(message, address=address, scope=None, retain=False)
        wire = message.wire
        if wire is not None and wire.protocol == WIRE:
            properties = properties_of(message)
            text = properties.structure.get(subscription.protocol)
            if text is not None:
                copy.body = text.encode()
        return copy

    def dead_letter(
        self, topic: Topic, subscription: Subscription, message: Message, reason: str
    ) -> None:
        """Put a message that could not be delivered where the redrive policy says."""
        session = self._store.session(subscription.realm)
        policy = subscription.attributes.get("RedrivePolicy")
        if not policy:
            session.lost(reason, 1, subscription.endpoint)
            return
        arn = Arn.parse(msgspec.json.decode(policy)["deadLetterTargetArn"])
        copy = self._copy(topic, subscription, message, arn.resource, None, False)
        if copy is None:
            return
        try:
            result = self._store.session(self.place_of(arn)).enqueue(arn.resource, [copy])
        except HubbubError:
            session.lost("dead letter not taken", 1, str(queue_address(arn.resource)))
        else:
            if result.refused:
                session.lost("dead letter not taken", 1, str(queue_address(arn.resource)))

    # streams

    def _to_stream(self, topic: Topic, subscription: Subscription, batch: Batch) -> Enqueued:
        arn = Arn.parse(subscription.endpoint)
        name = arn.resource.partition("/")[2]
        records = []
        for message in batch.messages:
            if subscription.raw:
                records.append(self._stream_copy(message, message.body))
            else:
                body = self._envelopes.notification(message, topic, subscription, batch.cache)
                records.append(self._stream_copy(message, body + b"\n"))
        try:
            appended = self._store.session(self.place_of(arn)).append(name, records)
        except HubbubError as error:
            for message in batch.messages:
                self.dead_letter(topic, subscription, message, str(error))
            return self._everything(subscription)
        return Enqueued(appended.commit, {}, {})

    def _stream_copy(self, message: Message, body: bytes) -> Message:
        if body is message.body:
            return msgspec.structs.replace(message, scope=None, retain=False)
        return Message(address=message.address, body=body, group=message.group)


def _order(copy: Message, message: Message, *, to_fifo: bool) -> None:
    """What a FIFO topic hands on to a FIFO queue; a standard queue gets none of it."""
    if not to_fifo:
        copy.group = copy.dedup_id = None
        return
    copy.group = message.group or message.client
    copy.dedup_id = message.dedup_id or hashlib.sha256(message.body).hexdigest()


def _attributes(message: Message) -> int:
    return len(content_of(message, "sqs").attributes)
