"""What a connection is subscribed to: topics, queues and streams."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from hubbub import (
    Batch,
    Consumption,
    FilterError,
    FilterSpec,
    HubbubError,
    NotFoundError,
    Outcome,
    QueueSettings,
    Receipt,
    RefusedError,
    Session,
    Window,
    queue_address,
)
from hubbub import Subscription as BusSubscription
from hubbub_gateway.durations import milliseconds
from hubbub_gateway.problems import Problem
from hubbub_gateway.reserved import is_reserved

from .frames import Consume, Ended, Kept, Read, Subscribe, Subscribed
from .names import session_prefix, temporary_name, user_prefix
from .outbox import Outbox
from .protocol import Begun, ServerConnection, Subscription
from .reading import Credit, Records, reader_of

if TYPE_CHECKING:
    from .broker import Broker

CREDIT_LABEL: Final = "hubbub.v1.credit"
"""What the queue of a session's subscription keeps, for the next connection."""
_AT_ONCE: Final = 100
"""Messages that a queue hands over at a time if they need no acknowledgement."""
_RETAINED_AT_ONCE: Final = 100
"""Retained messages that are sent before looking whether the client keeps up."""


class Source:
    """Where a subscription gets its messages: kept as `Subscription.state`."""

    __slots__ = ("consumption", "live", "queue", "records", "window")

    def __init__(self) -> None:
        self.consumption: Consumption | None = None
        self.window = Window(0)
        self.queue: str | None = None
        """The queue that was made for this subscription."""
        self.live: str | None = None
        """The id of its subscription on the bus, if it ends with the connection."""
        self.records: Records | None = None


class Subscriptions:
    """The subscriptions of one connection.

    Args:
        session: the client's session, which keeps what is to outlive the connection; None: nothing.
        expires: milliseconds for which the session is kept without a connection; None: as long as
            before, or as the settings say.
    """

    def __init__(
        self,
        broker: Broker,
        machine: ServerConnection,
        bus: Session,
        outbox: Outbox,
        session: str | None,
        expires: int | None,
    ) -> None:
        self._broker = broker
        self._machine = machine
        self._bus = bus
        self._outbox = outbox
        self._session = session
        self._expires = expires
        self._prefix = None if session is None else session_prefix(bus.principal, session)
        self._window = Window(broker.settings.max_credit)
        """Bounds what the whole connection has not settled."""
        self._owner = f"websocket/{secrets.token_urlsafe(12)}"
        self._held: set[str] = set()
        """The queues of which the connection may hold leases."""
        self._closing = False

    # sessions

    async def begin(self, *, clean: bool) -> list[Kept]:
        """Take up what the session kept; with `clean`, throw it away. Nothing is sent yet."""
        if self._prefix is None:
            return []
        kept: list[Kept] = []
        for queue in self._bus.queues(self._prefix):
            name = queue.name
            target = str(queue_address(name))
            self._bus.adopt(target)
            bound = self._bound(name)
            if clean or bound is None:  # a crash came before it was bound
                await self._bus.delete_queue(name)
                continue
            credit = self._credit(int(queue.settings.labels.get(CREDIT_LABEL, "0")))
            if self._expires is None:
                self._expires = queue.settings.expires
            elif queue.settings.expires != self._expires:
                settings = msgspec.structs.replace(queue.settings, expires=self._expires)
                await self._bus.configure_queue(name, settings)
            subscription = self._machine.add(name.removeprefix(self._prefix), Subscribe, acked=True)
            source = Source()
            source.queue = name
            source.window.resize(credit)
            subscription.state = source
            kept.append(Kept(subscription=subscription.name, pattern=bound.pattern, credit=credit))
        return kept

    def resume(self) -> None:
        """Deliver what the session kept."""
        for subscription in self._machine.subscriptions:
            source = subscription.state
            assert isinstance(source, Source)
            assert source.queue is not None
            self._consume(subscription, source, source.queue)

    def _bound(self, queue: str) -> BusSubscription | None:
        """Return the subscription that fills a queue of ours."""
        id_ = _bus_id(queue)
        found = self._bus.subscriptions(str(queue_address(queue)))
        return next((each for each in found if each.id == id_), None)

    # beginning

    async def add(self, begun: Begun) -> None:
        """Make a subscription, or change the one that a session kept; answer; begin to deliver.

        Raises:
            Problem, HubbubError: it can't be made, and is forgotten.
        """
        request, subscription = begun.request, begun.subscription
        try:
            match request:
                case Subscribe() if request.ack:
                    await self._add_queued(request, subscription, known=begun.known)
                case Subscribe():
                    await self._add_live(request, subscription)
                case Consume():
                    await self._add_queue(request, subscription)
                case Read():
                    await self._add_stream(request, subscription)
        except (Problem, HubbubError):
            if not begun.known:
                self._machine.remove(subscription)
            raise

    def _answer(
        self, request: Subscribe | Consume | Read, subscription: Subscription,
        credit: int | None = None, *, resumed: bool = False,
    ) -> None:  # fmt: skip
        if request.id is None:
            return
        self._outbox.send(
            Subscribed(
                id=request.id,
                subscription=subscription.name,
                credit=msgspec.UNSET if credit is None else credit,
                resumed=resumed,
            )
        )

    def _credit(self, wanted: int | None) -> int:
        settings = self._broker.settings
        credit = settings.default_credit if wanted is None else wanted
        return min(credit, settings.max_credit)

    async def _add_live(self, request: Subscribe, subscription: Subscription) -> None:
        bus, outbox = self._bus, self._outbox
        retained = [] if request.retained == "none" else bus.retained(request.pattern)
        source = Source()
        subscription.state = source
        made = self._bind(request, partial(outbox.send_batch, subscription))
        source.live = made.id
        self._answer(request, subscription)
        sent = 0
        for message in retained:
            if made.accepts is not None and not made.accepts(message):
                continue
            if sent >= _RETAINED_AT_ONCE and message not in bus.retained(message.address):
                continue  # what took its place meanwhile has been sent
            outbox.send_retained(subscription, message)
            sent += 1
            if sent % _RETAINED_AT_ONCE == 0:
                await outbox.drain()

    async def _add_queued(
        self, request: Subscribe, subscription: Subscription, *, known: bool
    ) -> None:
        credit = self._credit(request.credit)
        if not known:
            subscription.state = Source()
        source = subscription.state
        assert isinstance(source, Source)
        name = source.queue
        if name is None:
            name = temporary_name() if self._prefix is None else self._prefix + subscription.name
            self._bus.adopt(str(queue_address(name)))
            await self._make_queue(name, credit)
            source.queue = name
        try:
            former = self._bound(name)
            made = self._bind(request, str(queue_address(name)), _bus_id(name))
            new = former is None or former.pattern != request.pattern
            if request.retained == "send" or (request.retained == "new" and new):
                self._enqueue_retained(request, made, name)
            if known:
                await self._keep_credit(name, credit)
            if not known:  # at once, since a queue without a consumer may expire
                self._consume(subscription, source, name)
            if self._session is not None:
                await self._bus.commit().wait()
        except (Problem, HubbubError):
            if not known:
                await self._delete(name)
            raise
        self._answer(request, subscription, credit, resumed=known)
        source.window.resize(credit)

    async def _make_queue(self, name: str, credit: int) -> None:
        settings = self._broker.settings
        durable = self._session is not None
        if durable:
            mine = len(self._bus.queues(user_prefix(self._bus.principal)))
            if mine >= settings.max_sessions:
                raise Problem(
                    "refused",
                    f"Your sessions have {mine} subscriptions already, the most there may be.",
                )
        await self._bus.create_queue(
            name,
            QueueSettings(
                durable=durable,
                expires=self._lifetime() if durable else None,
                max_length=settings.max_queued_messages,
                labels={CREDIT_LABEL: str(credit)},
            ),
        )

    def _lifetime(self) -> int:
        """Return how long the session is kept without a connection."""
        if self._expires is None:
            self._expires = round(self._broker.settings.session_expiry * 1000)
        return self._expires

    async def _keep_credit(self, name: str, credit: int) -> None:
        queue = self._bus.find_queue(name)
        if queue is None:
            raise NotFoundError("queue", name)
        labels = {**queue.settings.labels, CREDIT_LABEL: str(credit)}
        if labels != queue.settings.labels:
            settings = msgspec.structs.replace(queue.settings, labels=labels)
            await self._bus.configure_queue(name, settings)

    def _bind(
        self,
        request: Subscribe,
        target: str | Callable[[Batch], None],
        id_: str | None = None,
    ) -> BusSubscription:
        """Subscribe on the bus.

        Raises:
            Problem: the filter is none.
            HubbubError.
        """
        pattern = request.pattern
        if pattern.startswith(("$queue/", "$stream/")):
            raise Problem(
                "bad-address", f"{pattern!r} is no pattern of topics: use `consume` or `read`."
            )
        spec = None
        if request.filter is not None:
            ((kind, what),) = request.filter.items()
            spec = FilterSpec(kind, what)
        try:
            return self._bus.subscribe(
                pattern,
                target,
                filter=spec,
                id=id_,
                durable=id_ is not None and self._session is not None,
            )
        except FilterError:
            raise
        except RefusedError as error:
            raise Problem("bad-filter", str(error)) from None

    def _enqueue_retained(self, request: Subscribe, made: BusSubscription, queue: str) -> None:
        copies = [
            msgspec.structs.replace(each, id=self._bus.new_id(), origin_id=each.identity)
            for each in self._bus.retained(request.pattern)
            if made.accepts is None or made.accepts(each)
        ]
        if copies:
            self._bus.enqueue(queue, copies)

    async def _add_queue(self, request: Consume, subscription: Subscription) -> None:
        name = request.queue
        if is_reserved(name):
            raise Problem("forbidden", f"The queue {name!r} is another client's own.")
        if request.lease is not None and not request.ack:
            raise Problem("bad-frame", "A `lease` is for what needs an `ack`.")
        await self._broker.ensure_queue(self._bus, name)
        source = Source()
        subscription.state = source
        credit = self._credit(request.credit) if request.ack else None
        lease = None if request.lease is None else milliseconds(request.lease)
        if lease == 0:
            raise Problem("bad-frame", "A `lease` lasts longer than nothing.")
        self._consume(
            subscription, source, name,
            lease=lease, exclusive=request.exclusive, priority=request.priority,
        )  # fmt: skip
        self._answer(request, subscription, credit)
        source.window.resize(_AT_ONCE if credit is None else credit)

    def _consume(
        self,
        subscription: Subscription,
        source: Source,
        queue: str,
        *,
        lease: int | None = None,
        exclusive: bool = False,
        priority: int = 0,
    ) -> None:
        self._held.add(queue)
        windows = (source.window, self._window) if subscription.acked else (source.window,)
        source.consumption = self._bus.consume(
            queue,
            partial(self._outbox.send_deliveries, subscription),
            owner=self._owner,
            lease=lease,
            windows=windows,
            settled=not subscription.acked,
            exclusive=exclusive,
            priority=priority,
            cancelled=partial(self._gone, subscription),
        )
        self._outbox.attach(source.consumption)

    async def _add_stream(self, request: Read, subscription: Subscription) -> None:
        credit = self._credit(request.credit) if request.ack else None
        source = Source()
        subscription.state = source
        reader = await reader_of(self._bus, request)
        records = Records(reader, subscription, self._outbox, Credit(credit))
        source.records = records
        self._answer(request, subscription, credit)
        self._broker.hub.background.spawn(partial(self._read, records, subscription))

    async def _read(self, records: Records, subscription: Subscription) -> None:
        reason = await records.run()
        if reason is not None:
            self._gone(subscription, reason)

    # ending

    def _gone(self, subscription: Subscription, reason: str) -> None:
        """Tell the client that somebody else has ended its subscription."""
        if subscription.ended or self._closing:
            return
        self._machine.remove(subscription)
        source = subscription.state
        assert isinstance(source, Source)
        self._stop(source)
        self._outbox.send(Ended(subscription=subscription.name, detail=reason))

    async def remove(self, subscription: Subscription, tags: Sequence[object]) -> None:
        """End a subscription for good. `tags`: what it has delivered and nobody settled."""
        source = subscription.state
        assert isinstance(source, Source)
        self._stop(source)
        if source.queue is not None:
            await self._delete(source.queue)
            if self._session is not None:
                await self._bus.commit().wait()
            return
        receipts = [tag for tag in tags if isinstance(tag, Receipt)]
        if receipts:
            await self._bus.settle(receipts, Outcome.RELEASE)

    def _stop(self, source: Source) -> None:
        if source.consumption is not None:
            self._outbox.detach(source.consumption)
            self._bus.end_consumption(source.consumption)
        if source.live is not None:
            self._bus.unsubscribe(source.live)
        if source.records is not None:
            source.records.cancel()

    async def _delete(self, queue: str) -> None:
        self._held.discard(queue)
        with suppress(NotFoundError):
            await self._bus.delete_queue(queue)

    async def close(self) -> None:
        """End what ends with the connection; what was not acknowledged goes back."""
        self._closing = True
        for subscription in self._machine.subscriptions:
            source = subscription.state
            if not isinstance(source, Source):
                continue  # it was being made
            self._stop(source)
            if source.queue is not None and self._session is None:
                with suppress(HubbubError):
                    await self._delete(source.queue)
        for queue in self._held:
            with suppress(HubbubError):
                await self._bus.release_owner(queue, self._owner)
        self._held.clear()

    # credit

    async def set_credit(self, subscription: Subscription, wanted: int) -> None:
        """Change how many deliveries of a subscription may wait for their `ack`."""
        credit = self._credit(wanted)
        source = subscription.state
        assert isinstance(source, Source)
        if source.records is not None:
            source.records.credit.resize(credit)
            return
        if source.queue is not None and self._session is not None:
            await self._keep_credit(source.queue, credit)
        source.window.resize(credit)


def _bus_id(queue: str) -> str:
    """Return the id on the bus of the subscription that fills a queue of ours."""
    return f"hubbub.v1/{queue}"
