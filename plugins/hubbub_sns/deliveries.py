"""Deliveries to endpoints: each subscription's queue, emptied with retries as its policy says.

A message leaves the queue after its endpoint has taken it, or its dead-letter queue has it. While
it waits for a retry its lease goes on, so a restart makes it available at once; the count of its
deliveries may then be low by one.
"""

import contextlib
from typing import TYPE_CHECKING

import trio

from hubbub import (
    Delivery,
    Endpoint,
    ExistsError,
    HubbubError,
    NotFoundError,
    QueueSettings,
    RefusedError,
    Server,
    Session,
    UnavailableError,
)
from hubbub_sns.delivery_policies import AWS_MANAGED, CUSTOMER_MANAGED, Plan, Retries, make_plan
from hubbub_sns.fanout import Fanout, waits
from hubbub_sns.feedback import Feedback
from hubbub_sns.messages import properties_of
from hubbub_sns.records import Subscription
from hubbub_sns.senders import Outcome, Senders, Verdict
from hubbub_sns.settings import SnsSettings
from hubbub_sns.store import Store

if TYPE_CHECKING:
    from hubbub import Hub

_WAIT = 60_000
"""Milliseconds that a worker waits for a message before it asks again."""
_SPARE = 10_000
"""Milliseconds that a lease is longer than its delivery may take."""
_AHEAD = 5
"""Seconds of a throttled endpoint's messages that are leased at once."""
_PAUSE = 1.0
"""Seconds until a worker goes on after the store failed."""


class Deliveries:
    """The workers of one hub: one for each subscription whose messages wait in a queue."""

    def __init__(
        self, hub: "Hub", settings: SnsSettings, store: Store, fanout: Fanout, senders: Senders,
        feedback: Feedback,
    ) -> None:  # fmt: skip
        self._hub = hub
        self._settings = settings
        self._store = store
        self._fanout = fanout
        self._senders = senders
        self._feedback = feedback
        self._nursery: trio.Nursery | None = None
        self._workers: dict[str, trio.CancelScope] = {}

    def server(self) -> Server:
        """Return the service that delivers."""
        return Server("sns-deliveries", self._serve)

    async def _serve(self, task_status: trio.TaskStatus[list[Endpoint]]) -> None:
        try:
            async with trio.open_nursery() as self._nursery:
                for subscription in self._store.subscriptions.values():
                    self.start(subscription)
                task_status.started([])
                await self._hub.shutdown.wait()
                for scope in self._workers.values():
                    scope.cancel()
        finally:
            self._nursery = None
            self._workers.clear()

    async def prepare(self, subscription: Subscription) -> None:
        """Make the queue that a subscription's messages wait in, if they do."""
        if not waits(subscription):
            return
        settings = QueueSettings(
            lease=round(self._settings.delivery_timeout * 1000) + _SPARE,
            max_length=self._settings.max_waiting,
        )
        session = self._store.session(subscription.realm)
        try:
            await session.create_queue(subscription.queue, settings)
        except ExistsError:
            await session.configure_queue(subscription.queue, settings)

    def start(self, subscription: Subscription) -> None:
        """Begin to deliver to a subscription's endpoint."""
        if self._nursery is None or not waits(subscription) or subscription.arn in self._workers:
            return
        scope = self._workers[subscription.arn] = trio.CancelScope()
        self._nursery.start_soon(self._work, subscription, scope)

    async def stop(self, subscription: Subscription) -> None:
        """Deliver no more, and drop what waits."""
        scope = self._workers.pop(subscription.arn, None)
        if scope is not None:
            scope.cancel()
        if waits(subscription):
            with contextlib.suppress(NotFoundError):
                await self._store.session(subscription.realm).delete_queue(subscription.queue)

    async def _work(self, subscription: Subscription, scope: trio.CancelScope) -> None:
        session = self._store.session(subscription.realm)
        free = trio.Semaphore(self._settings.concurrency)
        async with trio.open_nursery() as nursery:
            with scope:  # what is under way goes on when no more is to be taken
                await self._take(session, subscription, free, nursery)
        if self._workers.get(subscription.arn) is scope:
            del self._workers[subscription.arn]

    async def _take(
        self, session: Session, subscription: Subscription, free: trio.Semaphore,
        nursery: trio.Nursery,
    ) -> None:  # fmt: skip
        """Take messages from a queue for as long as there is one, and begin their deliveries."""
        while True:
            async with free:
                pass  # wait for a place
            rate = self._plan(subscription).rate
            limit = free.value if rate is None else min(free.value, rate * _AHEAD)
            try:
                deliveries = await session.receive(
                    subscription.queue, max(1, limit), owner="sns", wait=_WAIT
                )
            except NotFoundError:
                return
            except (RefusedError, UnavailableError):
                await trio.sleep(_PAUSE)
                continue
            for delivery in deliveries:
                await free.acquire()
                nursery.start_soon(self._deliver, session, subscription, delivery, free)
                if rate is not None:
                    await trio.sleep(1 / rate)

    def _plan(self, subscription: Subscription) -> Plan:
        topic = self._store.topics.get(subscription.topic)
        return make_plan(
            # A topic may be deleted while a delivery is under way.
            "" if topic is None else topic.attributes.get("DeliveryPolicy", ""),
            subscription.attributes.get("DeliveryPolicy", ""),
        )

    def _retries(self, subscription: Subscription) -> Retries:
        match subscription.protocol:
            case "http" | "https":
                return self._plan(subscription).retries
            case "lambda":
                return AWS_MANAGED
            case _:
                return CUSTOMER_MANAGED

    async def _deliver(
        self, session: Session, subscription: Subscription, delivery: Delivery,
        free: trio.Semaphore,
    ) -> None:  # fmt: skip
        try:
            await self._attempt(session, subscription, delivery)
        except HubbubError as error:
            # It stays leased, and comes again when the lease is over.
            self._hub.log.warning(
                "sns delivery not settled", subscription=subscription.arn, reason=str(error)
            )
        finally:
            free.release()

    async def _attempt(
        self, session: Session, subscription: Subscription, delivery: Delivery
    ) -> None:
        topic = self._store.topics.get(subscription.topic)
        message, receipt = delivery.message, delivery.receipt
        if topic is None:
            await session.settle([receipt])
            return
        try:
            outcome = await self._senders.send(topic, subscription, message)
        except Exception as error:  # a mistake of ours must not stop the other deliveries
            self._hub.log.error(  # noqa: TRY400 - the logger is structlog's
                "sns delivery failed", subscription=subscription.arn, exc_info=error
            )
            outcome = Outcome(Verdict.AGAIN, "internal failure")
        if outcome.verdict is Verdict.AGAIN:
            delay = self._retries(subscription).delay(delivery.receives)
            if delay is not None:
                await session.extend(receipt, round(delay * 1000))
                return
        control = properties_of(message).control
        if outcome.verdict is not Verdict.TAKEN:
            self._hub.log.warning(
                "sns delivery given up", subscription=subscription.arn,
                endpoint=subscription.told_endpoint, reason=outcome.reason,
                attempts=delivery.receives,
            )  # fmt: skip
            if not control:
                status = outcome.status if outcome.status >= 300 else 500
                self._feedback.failed(
                    topic, subscription.protocol, subscription.told_endpoint, message, status,
                    outcome.reason, delivery.receives,
                )  # fmt: skip
                self._fanout.dead_letter(topic, subscription, message, "not delivered")
                await session.commit().wait()
        elif not control:
            self._feedback.delivered(
                topic, subscription.protocol, subscription.told_endpoint, message, outcome.status,
                outcome.reason, delivery.receives,
            )  # fmt: skip
        settlement = await session.settle([receipt])
        await settlement.commit.wait()
