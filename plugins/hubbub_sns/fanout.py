"""Fan-out: each SNS subscription as a live subscription of the bus.

What goes to queues and streams is put there, in its envelope, within the publisher's own turn, and
the publisher's confirmation waits for it. What goes elsewhere waits in an internal queue that is as
durable.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from hubbub import (
    Batch,
    Enqueued,
    Message,
    NotFoundError,
    Session,
    Wire,
    queue_address,
)
from hubbub_aws import AwsSettings
from hubbub_aws.arns import Arn
from hubbub_sns.envelopes import Envelopes
from hubbub_sns.feedback import Feedback
from hubbub_sns.filters import ATTRIBUTES, Accepts, Filters
from hubbub_sns.messages import (
    WIRE,
    Properties,
    content_of,
    encode_properties,
    properties_of,
)
from hubbub_sns.names import FIFO_SUFFIX, pattern_of
from hubbub_sns.protection import Guard
from hubbub_sns.records import Subscription, Topic
from hubbub_sns.store import PROTOCOL, Store

if TYPE_CHECKING:
    from hubbub import Hub

MAX_SQS_ATTRIBUTES = 10
MAX_REMEMBERED = 10_000
"""Queues whose ARNs are not read again."""

_QUEUE_ENDPOINTS = frozenset({"sqs"})
_STREAM_ENDPOINTS = frozenset({"firehose"})


class _Target(NamedTuple):
    """A queue that messages are put into. `session` is SNS's own, in its realm."""

    session: Session
    name: str
    address: str
    fifo: bool


def waits(subscription: Subscription) -> bool:
    """Tell whether what is for a subscription waits in an internal queue."""
    return subscription.protocol not in _QUEUE_ENDPOINTS | _STREAM_ENDPOINTS


class Fanout:
    """Attaches subscriptions to the bus."""

    def __init__(
        self, hub: "Hub", store: Store, envelopes: Envelopes, filters: Filters,
        feedback: Feedback, guard: Guard,
    ) -> None:  # fmt: skip
        self._settings = hub.config.section(AwsSettings)
        self._store = store
        self._envelopes = envelopes
        self._filters = filters
        self._feedback = feedback
        self._guard = guard
        self._targets: dict[str, _Target] = {}

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
        deliver = self._plain_delivery(topic, subscription)

        def guarded(batch: Batch) -> Enqueued | None:
            if topic.data_protection_policy:
                messages = self._guard.outbound(topic, subscription, batch.messages)
                if not messages:
                    return None
                if messages is not batch.messages:
                    batch = Batch(messages)
            return deliver(batch)

        return guarded

    def _plain_delivery(
        self, topic: Topic, subscription: Subscription
    ) -> Callable[[Batch], Enqueued | None]:
        if subscription.protocol in _QUEUE_ENDPOINTS:
            return lambda batch: self.to_queue(topic, subscription, batch.messages, batch.cache)
        if subscription.protocol in _STREAM_ENDPOINTS:
            return lambda batch: self._to_stream(topic, subscription, batch)
        return lambda batch: self._to_waiting(subscription, batch)

    def _to_waiting(self, subscription: Subscription, batch: Batch) -> Enqueued | None:
        session = self._store.session(subscription.realm)
        try:
            return session.enqueue(subscription.queue, batch.messages)
        except NotFoundError:
            session.lost("no such queue", len(batch.messages), subscription.told_endpoint)
            return None

    def _target(self, text: str) -> _Target:
        """Return the queue that an ARN names, whether it exists or not."""
        target = self._targets.get(text)
        if target is None:
            arn = Arn.parse(text)
            name = arn.resource
            session = self._session_at(arn)
            target = _Target(session, name, str(queue_address(name)), name.endswith(FIFO_SUFFIX))
            if len(self._targets) >= MAX_REMEMBERED:
                self._targets.clear()
            self._targets[text] = target
        return target

    def _session_at(self, arn: Arn) -> Session:
        return self._store.session(self._settings.realm(arn.account, arn.region))

    # queues

    def to_queue(
        self, topic: Topic, subscription: Subscription, messages: Sequence[Message],
        cache: dict[Any, Any] | None = None, *, replayed: bool = False,
    ) -> Enqueued | None:  # fmt: skip
        """Put messages into the queue of a subscription, or its dead-letter queue.

        `replayed`: they come from the topic's archive.
        """
        target = self._target(subscription.endpoint)
        copies: list[Message] = []
        sources: list[Message] = []
        for message in messages:
            copy = self._copy(topic, subscription, message, target, cache, replayed)
            if copy is not None:
                copies.append(copy)
                sources.append(message)
        if not copies:
            return None
        try:
            result = target.session.enqueue(target.name, copies)
        except NotFoundError:
            for message in sources:
                self.dead_letter(topic, subscription, message, "no such queue")
            return self._everything(subscription)
        if topic.attributes.get("SQSSuccessFeedbackRoleArn"):
            for index, message in enumerate(sources):
                if index not in result.refused:
                    self._feedback.delivered(topic, "sqs", subscription.endpoint, message)
        if not result.refused:
            return Enqueued(result.commit, {}, {}) if result.duplicates else result
        for index, reason in result.refused.items():
            self.dead_letter(topic, subscription, sources[index], reason)
        return self._everything(subscription)

    def _everything(self, subscription: Subscription) -> Enqueued:
        """The commit of all that was done till now."""
        return Enqueued(self._store.session(subscription.realm).commit(), {}, {})

    def _copy(
        self, topic: Topic, subscription: Subscription, message: Message, target: _Target,
        cache: dict[Any, Any] | None, replayed: bool,
    ) -> Message | None:  # fmt: skip
        """Make the message for a queue; None if it can't have it."""
        if subscription.raw:
            copy = _raw_copy(message, subscription.protocol, target)
            if copy is None:
                return None
        else:
            copy = self._enveloped(topic, subscription, message, target, cache, replayed)
        if topic.fifo:
            _order(copy, message, to_fifo=target.fifo)
        return copy

    def _enveloped(
        self, topic: Topic, subscription: Subscription, message: Message, target: _Target,
        cache: dict[Any, Any] | None, replayed: bool,
    ) -> Message:  # fmt: skip
        wire = None
        if message.wire is not None:
            trace = properties_of(message).trace
            if trace is not None:
                wire = Wire(WIRE, encode_properties(Properties(trace=trace)))
        body = self._envelopes.notification(message, topic, subscription, cache, replayed=replayed)
        return Message(
            address=target.address, body=body, id=target.session.new_id(),
            priority=message.priority, expires_at=message.expires_at, durable=message.durable,
            group=message.group, protocol=message.protocol, client=message.client,
            published=message.published, hops=message.hops, wire=wire,
        )  # fmt: skip

    def dead_letter(
        self, topic: Topic, subscription: Subscription, message: Message, reason: str
    ) -> None:
        """Put a message that could not be delivered where the redrive policy says.

        Raises:
            UnavailableError: the store takes nothing durable now.
        """
        session = self._store.session(subscription.realm)
        if not waits(subscription):
            self._feedback.failed(
                topic, subscription.protocol, subscription.told_endpoint, message, 400, reason
            )
        policy = subscription.attributes.get("RedrivePolicy")
        if not policy:
            session.lost(reason, 1, subscription.told_endpoint)
            return
        target = self._target(msgspec.json.decode(policy)["deadLetterTargetArn"])
        copy = self._copy(topic, subscription, message, target, None, False)
        if copy is None:
            return
        try:
            taken = not target.session.enqueue(target.name, [copy]).refused
        except NotFoundError:
            taken = False
        if not taken:
            session.lost("dead letter not taken", 1, target.address)

    # streams

    def _to_stream(self, topic: Topic, subscription: Subscription, batch: Batch) -> Enqueued:
        arn = Arn.parse(subscription.endpoint)
        name = arn.resource.partition("/")[2]
        records = []
        for message in batch.messages:
            if subscription.raw:
                text = properties_of(message).structure.get(subscription.protocol)
                body = message.body if text is None else text.encode()
                records.append(self._stream_copy(message, body))
            else:
                body = self._envelopes.notification(message, topic, subscription, batch.cache)
                records.append(self._stream_copy(message, body + b"\n"))
        try:
            appended = self._session_at(arn).append(name, records)
        except NotFoundError:
            for message in batch.messages:
                self.dead_letter(topic, subscription, message, "no such stream")
            return self._everything(subscription)
        if topic.attributes.get("FirehoseSuccessFeedbackRoleArn"):
            for message in batch.messages:
                self._feedback.delivered(topic, "firehose", subscription.endpoint, message)
        return Enqueued(appended.commit, {}, {})

    def _stream_copy(self, message: Message, body: bytes) -> Message:
        if body is message.body:
            return msgspec.structs.replace(message, scope=None, retain=False)
        return Message(address=message.address, body=body, group=message.group)


def _raw_copy(message: Message, protocol: str, target: _Target) -> Message | None:
    # Not all headers make attributes, so their number alone does not tell.
    if (
        len(message.headers) > MAX_SQS_ATTRIBUTES
        and len(content_of(message, "sqs").attributes) > MAX_SQS_ATTRIBUTES
    ):
        target.session.lost("more than ten attributes", 1, target.address)
        return None
    copy = msgspec.structs.replace(
        message, id=target.session.new_id(), origin_id=None, address=target.address, scope=None,
        retain=False,
    )  # fmt: skip
    if message.protocol == PROTOCOL:
        copy.type = None  # AWS hands subjects on in envelopes alone
    if message.wire is not None:
        text = properties_of(message).structure.get(protocol)
        if text is not None:
            copy.body = text.encode()
    return copy


def _order(copy: Message, message: Message, *, to_fifo: bool) -> None:
    """What a FIFO topic hands on to a FIFO queue; a standard queue gets none of it."""
    if not to_fifo:
        copy.group = copy.dedup_id = None
        return
    copy.group = message.group or message.client
    copy.dedup_id = message.dedup_id or hashlib.sha256(message.body).hexdigest()
