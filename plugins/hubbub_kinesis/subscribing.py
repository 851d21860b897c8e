"""SubscribeToShard: records are pushed to a consumer as they come, for five minutes."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING

import trio

from hubbub import NotFoundError, Position, Shutdown
from hubbub_aws import Context, OperationFunction
from hubbub_aws.protocols import Params
from hubbub_kinesis.describing import describe_children
from hubbub_kinesis.errors import dry_run, in_use, no_such_stream
from hubbub_kinesis.locating import Located, Locator, find_readable_shard
from hubbub_kinesis.positions import Start, continuation
from hubbub_kinesis.reading import read, results
from hubbub_kinesis.state import Status

if TYPE_CHECKING:
    from hubbub import Hub

LIFETIME = 300.0
"""Seconds after which a subscription ends; the client makes another."""
TAKEOVER = 5_000
"""Milliseconds in which no second subscription is accepted for a consumer and shard."""
EVENT_RECORDS = 10_000
EVENT_BYTES = 2**20

_HEARTBEAT = 5.0
"""Seconds after which an event without records tells that there are none."""
_SWEEP = 1024


class _Subscription:
    """One subscription while it lasts. `wake` has it look again."""

    __slots__ = ("began", "deadline", "ended", "woken")

    def __init__(self, began: int, deadline: float) -> None:
        self.began = began
        self.deadline = deadline
        self.ended = False
        self.woken = trio.Event()

    def wake(self) -> None:
        self.woken.set()

    def end(self) -> None:
        self.ended = True
        self.woken.set()

    @property
    def over(self) -> bool:
        """Whether it has been ended, or its time is up."""
        return self.ended or trio.current_time() >= self.deadline

    async def wait(self) -> None:
        """Wait until woken, for the next heartbeat, or until its time is up."""
        with trio.move_on_at(min(trio.current_time() + _HEARTBEAT, self.deadline)):
            await self.woken.wait()


class Subscribing:
    """The subscriptions of one hub: at most one for each consumer and shard."""

    def __init__(self, hub: "Hub", locator: Locator) -> None:
        self._now: Callable[[], int] = hub.clock.now
        self._shutdown: Shutdown = hub.shutdown
        self._locate = locator
        self._active: dict[tuple[int, str, int], _Subscription] = {}

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the action of this class."""
        return {"SubscribeToShard": self.subscribe_to_shard}

    async def subscribe_to_shard(self, context: Context, params: Params) -> Params:
        """Begin a subscription; it takes the place of one that began a while ago."""
        stream, consumer = self._locate.consumer(context, params["ConsumerARN"])
        if consumer.status(self._now()) is not Status.ACTIVE:
            raise in_use(
                f"Consumer {consumer.name} is not ACTIVE, instead in state "
                f"{consumer.status(self._now())}"
            )
        self._locate.check_usable(stream)
        shard = find_readable_shard(stream, params["ShardId"])
        now = self._now()
        position = Start.of_subscription(params["StartingPosition"]).find(stream, shard, now)
        key = (stream.info.number, consumer.name, shard.id)
        before = self._active.get(key)
        if before is not None and not before.over and now - before.began < TAKEOVER:
            raise in_use(
                f"Another active subscription exists for this consumer: {params['ConsumerARN']}"
            )
        if params.get("DryRun"):
            raise dry_run()
        if before is not None:
            before.end()
        self._sweep()
        subscription = _Subscription(now, trio.current_time() + LIFETIME)
        self._active[key] = subscription
        events = self._events(key, stream, position, subscription)
        return {"EventStream": events}

    def end(self, stream: int, consumer: str) -> None:
        """End the subscriptions of a consumer that is deregistered."""
        for (number, name, _), subscription in self._active.items():
            if (number, name) == (stream, consumer):
                subscription.end()

    def _sweep(self) -> None:
        """Forget subscriptions whose answer was never begun."""
        if len(self._active) >= _SWEEP:
            self._active = {key: each for key, each in self._active.items() if not each.over}

    async def _events(
        self,
        key: tuple[int, str, int],
        stream: Located,
        position: Position,
        subscription: _Subscription,
    ) -> AsyncIterator[tuple[str, Params]]:
        unwatch = stream.session.watch(stream.name, position.shard, subscription.wake)
        self._shutdown.subscribe(subscription.end)
        try:
            at: Position | None = position
            while at is not None and not subscription.over:
                subscription.woken = trio.Event()
                event, at = await self._read(stream, at)
                yield "SubscribeToShardEvent", event
                if at is not None and not event["MillisBehindLatest"]:
                    await subscription.wait()
        finally:
            unwatch()
            self._shutdown.unsubscribe(subscription.end)
            subscription.ended = True
            if self._active.get(key) is subscription:
                del self._active[key]

    async def _read(self, stream: Located, position: Position) -> tuple[Params, Position | None]:
        try:
            found = await read(stream, position, self._now(), EVENT_RECORDS, EVENT_BYTES)
        except NotFoundError:
            raise no_such_stream(stream.name, stream.account) from None
        event: Params = {
            "Records": results(stream, found),
            "MillisBehindLatest": found.behind,
        }
        if found.next is None:
            event["ChildShards"] = describe_children(found.children)
        else:
            event["ContinuationSequenceNumber"] = continuation(stream.info.number, found.next)
        return event, found.next
