"""The archive of FIFO topics: a stream per topic, and replays of it to single subscriptions."""

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from hubbub import (
    Batch,
    Enqueued,
    ExistsError,
    HubbubError,
    Position,
    Session,
    StreamSettings,
)
from hubbub_sns.fanout import Fanout
from hubbub_sns.messages import timestamp
from hubbub_sns.names import pattern_of
from hubbub_sns.policy_syntax import PolicyError, parse_json
from hubbub_sns.protection import Guard
from hubbub_sns.records import Subscription, Topic
from hubbub_sns.store import Store

if TYPE_CHECKING:
    from hubbub import Clock

_DAY = 86_400_000
_BATCH = 100
_POLL = 1.0
"""Seconds after which a replay looks again, should the archive be out of reach."""


def stream_of(topic: Topic) -> str:
    """Return the name of the stream that is a topic's archive."""
    return f"$sns/{topic.arn}"


class Archive:
    """Archives what FIFO topics with an archive policy receive."""

    def __init__(self, store: Store, clock: "Clock") -> None:
        self._store = store
        self._clock = clock

    async def configure(self, topic: Topic) -> None:
        """Begin, change or end archiving, as the topic's policy says."""
        session = self._store.session(topic.realm)
        days = retention_days(topic)
        if days is None:
            session.unsubscribe(f"sns-archive/{topic.arn}")
            if topic.archived_since is not None:
                await self.delete(topic)
                topic.archived_since = None
                self._store.save_topic(topic)
            return
        settings = StreamSettings(retention=days * _DAY)
        try:
            await session.create_stream(stream_of(topic), settings)
        except ExistsError:
            await session.configure_stream(stream_of(topic), settings)
        if topic.archived_since is None:
            topic.archived_since = self._clock.now()
            self._store.save_topic(topic)
        self.attach(topic)

    def attach(self, topic: Topic) -> None:
        """Archive what is published from now on."""
        session = self._store.session(topic.realm)
        if retention_days(topic) is not None and session.find_stream(stream_of(topic)) is not None:
            session.subscribe(
                pattern_of(topic.name),
                self._keeping(session, stream_of(topic)),
                id=f"sns-archive/{topic.arn}",
            )

    def _keeping(self, session: Session, stream: str) -> Callable[[Batch], Enqueued]:
        def keep(batch: Batch) -> Enqueued:
            # A copy, since appending gives it an id; the original's stays with it.
            records = [
                msgspec.structs.replace(message, origin_id=message.identity, retain=False)
                for message in batch.messages
            ]
            return Enqueued(session.append(stream, records).commit, {}, {})

        return keep

    async def delete(self, topic: Topic) -> None:
        """Drop the archive of a topic."""
        session = self._store.session(topic.realm)
        session.unsubscribe(f"sns-archive/{topic.arn}")
        if session.find_stream(stream_of(topic)) is not None:
            await session.delete_stream(stream_of(topic))

    def beginning(self, topic: Topic) -> str | None:
        """Return when the archive begins, as SNS tells it; None without one."""
        days = retention_days(topic)
        if days is None or topic.archived_since is None:
            return None
        return timestamp(max(topic.archived_since, self._clock.now() - days * _DAY))


def retention_days(topic: Topic) -> int | None:
    """Return for how many days a topic archives; None if it does not."""
    policy = topic.attributes.get("ArchivePolicy")
    if not policy:
        return None
    return int(msgspec.json.decode(policy)["MessageRetentionPeriod"])


# Replaying


class ReplayPolicy(msgspec.Struct, frozen=True):
    """What a subscription wants again: from `start` to `end`, in milliseconds."""

    start: int
    end: int | None


def read_replay_policy(text: str) -> ReplayPolicy | None:
    """Read a replay policy; None if it is empty. Raises `PolicyError`."""
    policy = parse_json("ReplayPolicy", text)
    if policy == {}:
        return None
    if not isinstance(policy, dict) or policy.get("PointType") != "Timestamp":
        raise PolicyError("ReplayPolicy: PointType must be Timestamp")
    if policy.keys() - {"PointType", "StartingPoint", "EndingPoint"}:
        raise PolicyError("ReplayPolicy: Unrecognized member")
    start = _milliseconds(policy.get("StartingPoint"), "StartingPoint")
    end = None
    if policy.get("EndingPoint") is not None:
        end = _milliseconds(policy["EndingPoint"], "EndingPoint")
        if end <= start:
            raise PolicyError("ReplayPolicy: EndingPoint must be after StartingPoint")
    return ReplayPolicy(start, end)


def _milliseconds(value: Any, name: str) -> int:
    try:
        moment = dt.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise PolicyError(f"ReplayPolicy: {name} must be an ISO 8601 timestamp") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return round(moment.timestamp() * 1000)


class Replays:
    """Replays archives to subscriptions.

    While a replay runs, its subscription gets nothing else: what is published meanwhile comes from
    the archive too, in order, until the replay has caught up.
    """

    def __init__(self, store: Store, fanout: Fanout, guard: Guard) -> None:
        self._store = store
        self._fanout = fanout
        self._guard = guard
        self._running: dict[str, trio.CancelScope] = {}

    def cancel(self, subscription: Subscription) -> None:
        """Stop the replay of a subscription, if one runs."""
        scope = self._running.pop(subscription.arn, None)
        if scope is not None:
            scope.cancel()

    async def run(self, subscription: Subscription) -> None:
        """Replay, as the subscription's policy says; then let it have what is published."""
        topic = self._store.topics[subscription.topic]
        with trio.CancelScope() as scope:
            self.cancel(subscription)
            self._running[subscription.arn] = scope
            status = await self._try(topic, subscription)
            if self._running.get(subscription.arn) is scope:
                del self._running[subscription.arn]
            subscription.replay = None
            subscription.replay_status = status
            self._fanout.attach(subscription)
            await self._store.save_subscription(subscription).wait()

    async def _try(self, topic: Topic, subscription: Subscription) -> str:
        """Replay until it is done or can't be; return how it ended, in AWS's words."""
        while True:
            try:
                await self._replay(topic, subscription)
            except PolicyError:
                return "Failed"
            except HubbubError:
                if self._store.session(topic.realm).find_stream(stream_of(topic)) is None:
                    return "Failed"
                await trio.sleep(_POLL)
            else:
                return "Completed"

    async def _replay(self, topic: Topic, subscription: Subscription) -> None:
        session = self._store.session(topic.realm)
        policy = read_replay_policy(subscription.attributes["ReplayPolicy"])
        info = session.find_stream(stream_of(topic))
        if policy is None or info is None:
            return
        accepts = self._fanout.accepts(subscription)
        [shard] = info.shards()
        if subscription.replay:
            position = info.after_sequence(shard.id, subscription.replay)
        else:
            position = await info.at_timestamp(shard.id, policy.start)
        while True:
            found = await session.read(stream_of(topic), position, limit=_BATCH, skip_trimmed=True)
            messages = []
            for record in found.records:
                message = record.message
                if policy.end is not None and record.arrived > policy.end:
                    break
                messages.append(message)
            wanted = [each for each in messages if accepts is None or accepts(each)]
            wanted = list(self._guard.outbound(topic, subscription, wanted))
            if wanted:
                done = self._fanout.to_queue(topic, subscription, wanted, replayed=True)
                if done is not None:
                    await done.commit.wait()
            if len(messages) < len(found.records) or found.next is None:
                return
            position = found.next
            if messages:
                subscription.replay = found.records[-1].sequence
                await self._store.save_subscription(subscription).wait()
            if _is_latest(session, topic, position):
                return


def _is_latest(session: Session, topic: Topic, position: Position) -> bool:
    """Tell whether nothing came into the archive after a position."""
    info = session.find_stream(stream_of(topic))
    if info is None:
        return True
    latest = info.latest(position.shard)
    return position.sequence + (not position.inclusive) >= latest.sequence + (not latest.inclusive)
