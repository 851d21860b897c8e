"""SubscribeToShard: records are pushed to a consumer as they come, for five minutes."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING

import trio

from hubbub import NotFoundError, Position, Shutdown
from hubbub_aws import AwsError, Context, OperationFunction
from hubbub_aws.protocols import Params, Structure
from hubbub_kinesis.describing import describe_children
from hubbub_kinesis.errors import dry_run, in_use, no_such_stream
from hubbub_kinesis.locating import Located, Locator, find_readable_shard
from hubbub_kinesis.numbering import Numbering
from hubbub_kinesis.positions import Start
from hubbub_kinesis.reading import ReadRecord, millis_behind, read, results
from hubbub_kinesis.state import Status

if TYPE_CHECKING:
    from hubbub import Hub

LIFETIME = 300.0
"""Seconds after which a subscription ends; the client makes another."""
TAKEOVER = 5_000
"""Milliseconds in which no second subscription is accepted for a consumer and shard."""
EVENT_RECORDS = 10_000
EVENT_BYTES = 2**20

HEARTBEAT = 5.0
"""Seconds after which an event without records tells that there are none."""

_SWEEP = 1024


class SubscribeToShardEvent(Structure):
    """The model's structure of this name."""

    records: list[ReadRecord]
    millis_behind_latest: int
    continuation_sequence_number: str | None = None
    child_shards: list[Params] | None = None


class Subscription:
    """One subscription while it lasts, from now on for five minutes at most."""

    __slots__ = ("_deadline", "_ended", "_refused", "_woken", "began")

    def __init__(self, began: int) -> None:
        self.began = began
        """When it began, by the wall clock."""
        self._deadline = trio.current_time() + LIFETIME
        self._ended = False
        self._refused: AwsError | None = None
        self._woken = trio.Event()

    @property
    def over(self) -> bool:
        """Whether it has been ended, or its time is up."""
        return self._ended or trio.current_time() >= self._deadline

    def end(self) -> None:
        """Let it end: nothing more is pushed."""
        self._ended = True
        self._woken.set()

    def take_over(self, error: AwsError) -> None:
        """Let it end with an error, since another one has taken its place."""
        self._refused = error
        self.end()

    def _wake(self) -> None:
        self._woken.set()

    async def push(
        self, stream: Located, position: Position, now: Callable[[], int]
    ) -> AsyncGenerator[tuple[str, SubscribeToShardEvent], None]:
        """Give an event at once, whenever there are records, and every few seconds without.

        Raises `AwsError` if another subscription has taken its place.
        """
        at: Position | None = position
        heartbeat = trio.current_time()
        unwatch = stream.session.watch(stream.name, position.shard, self._wake)
        try:
            while at is not None and not self.over:
                self._woken = trio.Event()
                event, at = await _read(stream, at, now())
                if event.records or at is None or trio.current_time() >= heartbeat:
                    heartbeat = trio.current_time() + HEARTBEAT
                    yield "SubscribeToShardEvent", event
                if at is not None and not event.records:
                    with trio.move_on_at(min(heartbeat, self._deadline)):
                        await self._woken.wait()
            if self._refused is not None:
                raise self._refused
        finally:
            unwatch()


async def _read(
    stream: Located, position: Position, now: int
) -> tuple[SubscribeToShardEvent, Position | None]:
    try:
        found = await read(stream, position, now, EVENT_RECORDS, EVENT_BYTES)
    except NotFoundError:
        raise no_such_stream(stream.name, stream.account) from None
    event = SubscribeToShardEvent(results(stream, found), millis_behind(stream, found))
    if found.next is None:
        event.child_shards = describe_children(found.children)
    else:
        shard = stream.info.shard(found.next.shard)
        event.continuation_sequence_number = Numbering(stream.info).place(shard, found.next)
    return event, found.next


class Subscribing:
    """The subscriptions of one hub: at most one for each consumer and shard."""

    def __init__(self, hub: "Hub", locator: Locator) -> None:
        self._now: Callable[[], int] = hub.clock.now
        self._shutdown: Shutdown = hub.shutdown
        self._locate = locator
        self._active: dict[tuple[int, str, int], Subscription] = {}

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
        start = Start.of_subscription(params["StartingPosition"])
        position = await start.find(stream, shard, now)
        key = (stream.info.number, consumer.name, shard.id)
        before = self._active.get(key)
        taken = in_use(
            f"Another active subscription exists for this consumer: {params['ConsumerARN']}"
        )
        if before is not None and not before.over and now - before.began < TAKEOVER:
            raise taken
        if params.get("DryRun"):
            raise dry_run()
        if before is not None:
            before.take_over(taken)
        self._sweep()
        subscription = Subscription(now)
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
        subscription: Subscription,
    ) -> AsyncIterator[tuple[str, SubscribeToShardEvent]]:
        self._shutdown.subscribe(subscription.end)
        try:
            async with aclosing(subscription.push(stream, position, self._now)) as events:
                async for event in events:
                    yield event
        finally:
            self._shutdown.unsubscribe(subscription.end)
            subscription.end()
            if self._active.get(key) is subscription:
                del self._active[key]
