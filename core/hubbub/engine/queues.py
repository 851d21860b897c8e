"""The embedded engine's queue: everything in memory, changes told to the journal.

Whatever happens to a message costs the same however many others wait: lanes and heaps, no scans.
All times are integer milliseconds; the engine calls `advance` when a queue's alarm is due.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import inf
from typing import Protocol

import trio

from hubbub.clock import Clock
from hubbub.errors import NotFoundError, RefusedError, UnavailableError
from hubbub.message import MEMORY_COST, Message

from .choices import Choice, Choices
from .clockwork import Clockwork
from .consumers import Line, PushConsumer
from .contract import (
    DONE,
    LASTING_OWNER,
    Commit,
    ConsumerTerms,
    Consumption,
    Delivery,
    Enqueued,
    LeaseState,
    Outcome,
    Queue,
    QueueCounts,
    QueueSettings,
    Receipt,
    Settlement,
)
from .deduplication import Deduplication, key_of
from .entry import Entry, State
from .journal import Journal
from .orders import ArrivalOrder, FairOrder, GroupOrder, Order, PriorityOrder

_NONE: dict[int, int] = {}
_NO_REFUSALS: dict[int, str] = {}
_GIVE_UP_AGAIN = 1_000
"""Milliseconds until a dead letter that the store did not take is tried again."""
READY, DELAYED, LEASED, GONE = State.READY, State.DELAYED, State.LEASED, State.GONE


class Host(Protocol):
    """What a queue asks of the engine it lives in."""

    clock: Clock
    journal: Journal

    @property
    def holding(self) -> bool:
        """Whether no time passes yet."""
        ...

    def next_tokens(self, count: int) -> range:
        """Fencing tokens, each higher than any before."""
        ...

    def arm(self, queue: "MemoryQueue", when: int) -> None:
        """Call `queue.advance` at `when`."""
        ...

    def bury(self, queue: "MemoryQueue", message: Message, receives: int, reason: str) -> None:
        """Hand a message that the queue gives up to its dead-letter address."""
        ...

    def keeps(self, queue: "MemoryQueue") -> bool:
        """Whether what was received too often stays, as the dead-letter queue is missing."""
        ...

    def configured(self, queue: "MemoryQueue") -> None:
        """Keep the new settings of a queue."""
        ...

    def retire(self, queue: "MemoryQueue") -> None:
        """Delete a queue that nobody uses any more."""
        ...

    def failed(self, error: Exception) -> None:
        """Report that a consumer's function raised; it is paused, what it holds stays leased."""
        ...

    def count(self, size: int) -> None:
        """Note that messages in memory grew (or, negative, shrank) by `size` bytes."""
        ...


class MemoryQueue(Queue):
    """A queue of the embedded engine."""

    def __init__(
        self, host: Host, number: int, realm: str, name: str, settings: QueueSettings
    ) -> None:
        self.number = number
        self.realm = realm
        self.name = name
        self.settings = settings
        self.created = self.modified = self.last_used = host.clock.now()
        self.deleted = False
        self.entries: dict[int, Entry] = {}
        self._host = host
        self._order: Order = _order_for(settings)
        self._fair: FairOrder | None = None
        self._line = Line(self)
        self._choices = Choices(self._order_of_choice)
        self.dispatching = False
        """Whether somebody is about to `dispatch`: then it is not to be done at once."""
        self._visible = self._in_flight = self._delayed_count = 0
        self._bytes = self._visible_bytes = 0
        self._clockwork = Clockwork(self.entries, partial(host.arm, self))
        self._dedup = Deduplication()
        self._held: dict[str, dict[int, Entry]] = {}
        """By owner: the leases without a deadline."""
        self._left = 0
        """Entries that left the order from within, and still stand there."""

    # coming in

    def enqueue(self, messages: Sequence[Message]) -> Enqueued:
        """Put messages in, in order."""
        self._check()
        settings, journal, entries = self.settings, self._host.journal, self.entries
        now = self._host.clock.now()
        refused: dict[int, str] = _NO_REFUSALS
        duplicates: dict[int, int] = _NONE
        stored = False
        plain = not (
            settings.fifo or settings.max_message_bytes or settings.overflow != "drop-head"
        )
        by_content = settings.content_dedup
        for index, message in enumerate(messages):
            size = message.size
            if not plain and (reason := self._refusal(message, size)):
                refused = {**refused, index: reason}
                continue
            if message.id in entries:  # one publish that reached the queue by two subscriptions
                continue
            if message.dedup_id is not None or by_content:
                first = self._repeats(message, now)
                if first is not None:
                    duplicates = {**duplicates, index: first}
                    continue
            entry = Entry(message.id, message, size, message.priority, message.group, published=now)
            if settings.fifo:
                if entry.group is None:
                    entry.group = message.client
            elif entry.group is not None and settings.fair and self._fair is None:
                self._tell_groups_apart()
            if message.durable and settings.durable:
                try:
                    journal.insert(self.number, entry)
                except RefusedError as error:
                    refused = {**refused, index: str(error)}
                    continue
                entry.stored = stored = True
            entries[message.id] = entry
            self._admit(entry, message, now)
        if settings.max_length is not None or settings.max_bytes is not None:
            self.dispatch()
            self.drop_overflow()
        elif self._line:
            self.dispatch()
        if self._clockwork.some_expired(now) and not self._host.holding:
            self._expire(now)  # what lives no time, and nobody has taken
        return (
            Enqueued(journal.commit(), refused, duplicates)
            if stored or duplicates
            else (Enqueued(DONE, refused, duplicates))
        )

    def _tell_groups_apart(self) -> None:
        """Be fair from now on: the first message that has a group is here."""
        self._fair = FairOrder()
        self._reorder(self._fair)

    def _reorder(self, order: Order) -> None:
        """Let what waits wait in another order, and tell it of what is leased."""
        waiting = sorted(self._order, key=lambda each: each.id)
        self._order = order
        for entry in self.entries.values():
            if entry.state is LEASED:
                order.hold(entry)
        for entry in waiting:
            order.put(entry)

    def _admit(self, entry: Entry, message: Message, now: int) -> None:
        """Give a new entry its deadlines and its place."""
        settings = self.settings
        self._bytes += entry.size
        self._host.count(entry.size + MEMORY_COST)
        expires_at = message.expires_at
        if settings.message_ttl is not None:
            ttl_end = now + settings.message_ttl
            expires_at = ttl_end if expires_at is None else min(expires_at, ttl_end)
        if expires_at is not None:
            entry.expires_at = expires_at
            self._clockwork.expire(entry, expires_at)
        if settings.retention is not None:
            self._clockwork.age(now, settings.retention)
        delay = settings.delay if message.delay is None or settings.fifo else message.delay
        if delay > 0:
            self._delay(entry, now + delay)
        else:
            self._put(entry)

    def _put(self, entry: Entry) -> None:
        """Let an entry wait at its place."""
        self._visible += 1
        self._visible_bytes += entry.size
        self._order.put(entry)
        if self._choices:
            self._choices.offer(entry, self._visible)

    def _order_of_choice(self) -> Order:
        """Make the order in which a consumer chooses."""
        priorities = self.settings.priorities
        return PriorityOrder(priorities) if priorities else ArrivalOrder()

    def _delay(self, entry: Entry, until: int) -> None:
        """Let an entry be invisible for a while, to nobody's account."""
        entry.state = DELAYED
        entry.visible_at = until
        self._delayed_count += 1
        self._clockwork.delay(entry)

    def _refusal(self, message: Message, size: int) -> str | None:
        settings = self.settings
        if settings.max_message_bytes is not None and size > settings.max_message_bytes:
            return f"{size} bytes are more than the {settings.max_message_bytes} of this queue"
        if settings.overflow == "drop-head" or self._takes_at_once():
            return None
        full_length = settings.max_length is not None and self._visible >= settings.max_length
        full_bytes = (
            settings.max_bytes is not None and self._visible_bytes + size > settings.max_bytes
        )
        if not (full_length or full_bytes):
            return None
        if settings.overflow == "reject-dead-letter":
            self._host.bury(self, message, 0, "maxlen")
        return "the queue is full"

    def _takes_at_once(self) -> bool:
        return not self._visible and any(each.room() > 0 for each in self._line)

    def _repeats(self, message: Message, now: int) -> int | None:
        """Return the id of the message that this one repeats, remembering it otherwise."""
        key = key_of(message, self.settings)
        if key is None:
            return None
        first = self._dedup.first(key, now)
        if first is None:
            until = now + self.settings.dedup_window
            self._dedup.remember(key, message.id, until)
            if self.settings.durable and message.durable:
                self._host.journal.remember(self.number, key, message.id, until)
        return first

    def drop_overflow(self) -> None:
        """Give up what is too much, where the queue drops its head."""
        settings = self.settings
        if settings.max_length is None and settings.max_bytes is None:
            return
        if settings.overflow != "drop-head":
            return
        length = inf if settings.max_length is None else settings.max_length
        size = inf if settings.max_bytes is None else settings.max_bytes
        while self._visible > length or (self._visible_bytes > size and self._visible):
            entry = self._order.take_first()
            if entry is None:
                break
            self._leave_ready(entry)
            self._give_up(entry, "maxlen")

    # going out

    async def receive(
        self,
        limit: int,
        *,
        owner: str,
        lease: int | None = None,
        wait: int = 0,
        held: bool = False,
    ) -> list[Delivery]:
        """Lease up to `limit` messages, waiting up to `wait` ms for the first."""
        self._check()
        settings = self.settings
        self.last_used = self._host.clock.now()
        limited = settings.max_in_flight is not None and self._in_flight >= settings.max_in_flight
        if limited and not wait:
            raise RefusedError(f"{self._in_flight} messages of queue {self.name!r} are in flight")
        timed = settings.lease if lease is None else lease
        terms = ConsumerTerms(owner=owner, lease=None if held else timed)
        # What is visible may be of closed groups, or go to the dead letters when it is taken.
        if self._visible and not self._line and (entries := self._take(limit)):
            return self._lease(entries, terms, None)
        return await self._receive_in_line(limit, terms, wait)

    async def _receive_in_line(self, limit: int, terms: ConsumerTerms, wait: int) -> list[Delivery]:
        """Take a turn among the consumers; the same line serves both fairly."""
        given: list[Delivery] = []
        ended = trio.Event()
        gone: list[str] = []

        def deliver(deliveries: list[Delivery]) -> None:
            given.extend(deliveries)
            ended.set()

        def cancelled(reason: str) -> None:
            gone.append(reason)
            ended.set()

        waiter = self._line.join(deliver, terms, cancelled, limit)
        try:
            if not given and wait > 0:
                with trio.move_on_after(wait / 1000):
                    await ended.wait()
                await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            if given:
                self._undo(given)
            raise
        finally:
            self._line.forget(waiter)
        if gone:
            raise NotFoundError("queue", self.name)
        return given

    def _undo(self, deliveries: list[Delivery]) -> None:
        """Take back leases whose receiver went away before it could see them."""
        for delivery in deliveries:
            entry = self.entries.get(delivery.receipt.message)
            if entry is not None and entry.token == delivery.receipt.token:
                entry.receives -= 1
                self._end_leases([entry])
                self._return(entry)
        self.dispatch()

    def consume(
        self,
        deliver: Callable[[list[Delivery]], None],
        terms: ConsumerTerms,
        cancelled: Callable[[str], None],
    ) -> Consumption:
        """Push messages to `deliver` while windows have room."""
        self._check()
        consumers = self._line.consumers
        if consumers and (terms.exclusive or any(each.terms.exclusive for each in consumers)):
            raise RefusedError(f"queue {self.name!r} is in exclusive use")
        accepts = terms.accepts
        if accepts is None:
            return self._line.join(deliver, terms, cancelled)
        if self.settings.fifo:
            raise RefusedError(f"nobody can choose from {self.name!r}, which is a FIFO queue")
        return self._line.join(
            deliver, terms, cancelled,
            joined=lambda consumer: self._choices.add(consumer, accepts, self._order),
        )  # fmt: skip

    def leave(self, consumer: PushConsumer) -> None:
        """Let a consumer go."""
        if consumer not in self._line:
            return
        self._line.forget(consumer)
        self._choices.forget(consumer)
        self.last_used = self._host.clock.now()
        if self.settings.auto_delete and self._line.empty:
            self._host.retire(self)
            return
        if self.settings.expires is not None:
            self._host.arm(self, self.last_used + self.settings.expires)
        self.dispatch()

    def dispatch(self) -> None:
        """Give what is ready to those who have room, in turn."""
        if self.dispatching or not self._visible or not self._line:
            return
        self.dispatching = True
        try:
            while self._visible and (served := self._serve()):
                for consumer, deliveries in served.items():
                    if consumer.limit is not None:
                        self._line.forget(consumer)
                    try:
                        consumer.deliver(deliveries)
                    except Exception as error:  # a plugin's failure is its consumer's alone
                        consumer.paused = True
                        self._host.failed(error)
        finally:
            self.dispatching = False

    def _serve(self) -> dict[PushConsumer, list[Delivery]]:
        """Share what is ready: all to a lone consumer, else one message each in turn."""
        served: dict[PushConsumer, list[Delivery]] = {}
        batches: dict[PushConsumer, object] = {}
        while self._visible and (
            turn := self._line.next(served, single_active=self.settings.single_active)
        ):
            consumer, room = turn
            alone = len(self._line) == 1
            batch = batches.setdefault(consumer, object())
            choice = self._choices.of(consumer) if self._choices else None
            if choice is not None:
                entries = self._choose(consumer, choice, room if alone else 1)
                if choice.idle and not entries:
                    continue
            else:
                entries = self._take(room if alone else 1, batch)
            if not entries:
                break
            deliveries = self._lease(entries, consumer.terms, consumer)
            if consumer.terms.settled:
                self._end_leases(entries)
                self._remove(entries)
            if consumer in served:
                served[consumer] += deliveries
            else:
                served[consumer] = deliveries
        return served

    def _take(self, limit: int, batch: object | None = None) -> list[Entry]:
        """Remove up to `limit` ready entries from the order; some may be given up on the way."""
        settings = self.settings
        if settings.max_in_flight is not None:
            limit = min(limit, settings.max_in_flight - self._in_flight)
        taken: list[Entry] = []
        batch = batch or taken
        max_receives = settings.max_receives
        while len(taken) < limit:
            # What is given up may change what comes next, so where that happens: one by one.
            few = limit - len(taken) if max_receives is None else 1
            entries = self._order.lease(few, batch)
            if not entries:
                break
            self._visible -= len(entries)
            self._in_flight += len(entries)
            for entry in entries:
                self._visible_bytes -= entry.size
            if max_receives is not None and self._is_given_up(entries[0]):
                self._end_leases(entries)
                self._give_up(entries[0], "delivery_limit")
                continue
            taken += entries
        return taken

    def _choose(self, consumer: PushConsumer, choice: Choice, limit: int) -> list[Entry]:
        """Remove up to `limit` entries that a consumer wants; it leaves the line if there are none.

        They stand in the queue's own order still, which passes over them.
        """
        taken: list[Entry] = []
        choice.idle = False
        max_in_flight = self.settings.max_in_flight
        if max_in_flight is not None:
            limit = min(limit, max_in_flight - self._in_flight)
        while len(taken) < limit:
            entry = choice.take(self._message_of)
            if entry is None:
                choice.idle = True
                self._line.leave(consumer)
                if choice.more:
                    self._host.arm(self, self._host.clock.now())
                break
            self._leave_ready(entry)
            self._left += 1
            entry.state = LEASED
            self._in_flight += 1
            self._order.hold(entry)
            if self._is_given_up(entry):
                self._end_leases([entry])
                self._give_up(entry, "delivery_limit")
            else:
                taken.append(entry)
        if self._left > 1000 + self._visible:
            self._left = 0
            self._order.compact()
        return taken

    def _is_given_up(self, entry: Entry) -> bool:
        """Whether an entry has been received as often as it may."""
        most = self.settings.max_receives
        return most is not None and entry.receives >= most and not self._host.keeps(self)

    def _message_of(self, entry: Entry) -> Message:
        """Return a message, which is left in the store if it is there."""
        if entry.message is not None:
            return entry.message
        return self._host.journal.fetch([entry.id])[entry.id]

    def _lease(
        self, entries: list[Entry], terms: ConsumerTerms, consumer: PushConsumer | None
    ) -> list[Delivery]:
        if not entries:
            return []
        host, name, number = self._host, self.name, self.number
        owner = terms.owner
        now = host.clock.now()
        deadline = None if terms.lease is None else now + terms.lease
        self._load(entries)
        held = self._held.setdefault(owner, {}) if deadline is None else {}
        deliveries = []
        for entry, token in zip(entries, host.next_tokens(len(entries)), strict=True):
            receives = entry.receives = entry.receives + 1
            if not entry.first_received:
                entry.first_received = now
            entry.token = token
            entry.owner = owner
            entry.consumer = consumer
            message = entry.message
            assert message is not None
            if deadline is None:
                entry.visible_at = 0
                held[entry.id] = entry
            if entry.stored and not terms.settled:
                host.journal.touch(number, entry)
            deliveries.append(
                Delivery(
                    name,
                    message,
                    Receipt(number, entry.id, token),
                    receives,
                    receives > 1,
                    entry.first_received,
                    deadline,
                )
            )
        for window in terms.windows:
            window.used += len(entries)
        if deadline is not None:
            self._clockwork.lease(entries, deadline, self._in_flight)
        return deliveries

    def _load(self, entries: list[Entry]) -> None:
        """Bring back the bodies that were paged out."""
        absent = [entry for entry in entries if entry.message is None]
        if not absent:
            return
        bodies = self._host.journal.fetch([entry.id for entry in absent])
        for entry in absent:
            entry.message = bodies[entry.id]
            self._host.count(entry.size + MEMORY_COST)

    # settling

    async def settle(
        self, receipts: Sequence[Receipt], outcome: Outcome, *, reason: str = "rejected"
    ) -> Settlement:
        """End leases."""
        self._check()
        with _OneDispatch(self):
            if outcome is Outcome.ACCEPT:
                failed = self._accept(receipts)
            else:
                failed = self._refuse(receipts, outcome, reason)
        return Settlement(failed, self._host.journal.commit())

    def _accept(self, receipts: Sequence[Receipt]) -> tuple[int, ...]:
        """Forget messages that are done with; return the indexes of receipts that do not count."""
        entries = self.entries
        failed: tuple[int, ...] = ()
        leased: list[Entry] = []
        done: list[Entry] = []
        for index, receipt in enumerate(receipts):
            entry = entries.get(receipt.message)
            if entry is None or receipt.token < entry.token or entry.state is GONE:
                failed += (index,)
                continue
            if entry.state is LEASED:
                leased.append(entry)
                entry.state = GONE  # for a receipt that comes twice
            else:
                self._leave_waiting(entry)
            done.append(entry)
        self._end_leases(leased)
        self._remove(done)
        return failed

    def _refuse(
        self, receipts: Sequence[Receipt], outcome: Outcome, reason: str
    ) -> tuple[int, ...]:
        """Give messages back, or give them up; return the indexes of receipts that do not count."""
        failed: tuple[int, ...] = ()
        for index, receipt in enumerate(receipts):
            entry = self.entries.get(receipt.message)
            if entry is None or receipt.token < entry.token:
                failed += (index,)
                continue
            if entry.state is LEASED:
                self._end_leases([entry])
                if outcome is Outcome.RELEASE:
                    self._return(entry)
                    continue
            elif outcome is Outcome.RELEASE:
                continue  # it is back already
            else:
                self._leave_waiting(entry)
            self._give_up(entry, reason)
        return failed

    async def extend(
        self, receipts: Sequence[Receipt], lease: int, *, let_go: bool = False
    ) -> Settlement:
        """Move the deadline of leases to `lease` ms from now; 0 gives a message back at once."""
        self._check()
        now = self._host.clock.now()
        failed: tuple[int, ...] = ()
        with _OneDispatch(self):
            for index, receipt in enumerate(receipts):
                entry = self.entries.get(receipt.message)
                if entry is None or receipt.token != entry.token or entry.state is not LEASED:
                    failed += (index,)
                elif lease <= 0:
                    self._end_leases([entry])
                    self._return(entry)
                else:
                    self._clockwork.lease([entry], now + lease, self._in_flight)
                    if let_go:
                        self._disown([entry])
        return Settlement(failed, DONE)

    def tag(self, receipt: Receipt, tag: int) -> Commit:
        """Keep the owner's own number with a lease."""
        entry = self.entries.get(receipt.message)
        if entry is not None and entry.token == receipt.token and entry.state is LEASED:
            entry.tag = tag
            if entry.stored:
                return self._host.journal.touch(self.number, entry)
        return DONE

    async def leases(self, owner: str) -> list[Delivery]:
        """Return what an owner holds, oldest first."""
        held = list(self._held.get(owner, {}).values())
        self._load(held)
        deliveries = []
        for entry in sorted(held, key=lambda each: each.id):
            assert entry.message is not None
            deliveries.append(
                Delivery(
                    self.name,
                    entry.message,
                    Receipt(self.number, entry.id, entry.token),
                    entry.receives,
                    entry.receives > 1,
                    entry.first_received,
                    None,
                    entry.tag,
                )
            )
        return deliveries

    async def release(self, owner: str) -> None:
        """Give back all that an owner holds."""
        with _OneDispatch(self):
            for entry in list(self._held.get(owner, {}).values()):
                self._end_leases([entry])
                self._return(entry)

    def lease_of(self, receipt: Receipt) -> LeaseState:
        """Return what a receipt still means."""
        entry = self.entries.get(receipt.message)
        if entry is None:
            return "gone"
        if receipt.token < entry.token:
            return "stale"
        if entry.state is LEASED:
            return "held"
        return "expired" if entry.visible_at else "visible"

    def successor(self, receipt: Receipt) -> Receipt | None:
        """Return the receipt of the latest lease of a stale receipt's message, if it has an end."""
        entry = self.entries.get(receipt.message)
        if entry is None or receipt.token > entry.token:
            return None
        if entry.state is LEASED and not entry.visible_at:
            return None
        return Receipt(self.number, entry.id, entry.token)

    def _end_leases(self, entries: Sequence[Entry]) -> None:
        """The entries are nobody's now: neither waiting nor leased until their next step."""
        self._in_flight -= len(entries)
        self._order.freed(entries)
        self._disown(entries)

    def _disown(self, entries: Sequence[Entry]) -> None:
        """Take leased entries from their owners and consumers."""
        freed: dict[PushConsumer, int] = {}
        held = self._held
        for entry in entries:
            owner, consumer = entry.owner, entry.consumer
            entry.owner = entry.consumer = None
            entry.tag = 0
            if owner is not None and (own := held.get(owner)) is not None:
                own.pop(entry.id, None)
                if not own:
                    del held[owner]
            if consumer is not None:
                freed[consumer] = freed.get(consumer, 0) + 1
        for consumer, count in freed.items():
            for window in consumer.terms.windows:
                window.give_back(count)

    def _return(self, entry: Entry, expired_at: int = 0) -> None:
        """Put an entry back at its place, unless it came back too late, or once too often.

        `expired_at`: when its lease ended by itself.
        """
        settings = self.settings
        host = self._host
        expires_at = entry.expires_at
        if expires_at is not None and expires_at <= host.clock.now() and not host.holding:
            self._give_up(entry, "expired")
            return
        if (
            settings.gives_up_early
            and settings.max_receives is not None
            and entry.receives >= settings.max_receives
            and not self._host.keeps(self)
        ):
            self._give_up(entry, "delivery_limit")
            return
        entry.state = READY
        entry.visible_at = expired_at
        self._put(entry)

    def _leave_ready(self, entry: Entry) -> None:
        self._visible -= 1
        self._visible_bytes -= entry.size

    def _leave_waiting(self, entry: Entry) -> None:
        """Take an entry that nobody holds out of the counts; the order passes over it later."""
        if entry.state is READY:
            self._leave_ready(entry)
            self._left += 1
        else:
            self._delayed_count -= 1
        entry.state = GONE
        if self._left > 1000 + self._visible:
            self._left = 0
            self._order.compact()

    def _remove(self, entries: Sequence[Entry]) -> None:
        """Forget entries for good."""
        known, journal, number = self.entries, self._host.journal, self.number
        freed = 0
        for entry in entries:
            entry.state = GONE
            del known[entry.id]
            self._bytes -= entry.size
            if entry.message is not None:
                freed += entry.size + MEMORY_COST
            if entry.stored:
                journal.remove(number, entry)
        self._host.count(-freed)

    def _give_up(self, entry: Entry, reason: str) -> None:
        """Dead-letter an entry that nobody holds.

        The copy is handed to the journal before the removal, so that both are in one transaction
        or the copy in an earlier one. While the store takes nothing, the entry stays for a moment.
        """
        self._load([entry])
        assert entry.message is not None
        try:
            self._host.bury(self, entry.message, entry.receives, reason)
        except UnavailableError:
            self._delay(entry, self._host.clock.now() + _GIVE_UP_AGAIN)
            if entry.expires_at is not None:
                self._clockwork.expire(entry, entry.visible_at)
        else:
            self._remove([entry])

    # time

    def advance(self, now: int) -> None:
        """Do what is due: delays and leases that end, expiry, retention, idleness."""
        if self.deleted:
            return
        host = self._host
        for entry in self._clockwork.ended_delays(now):
            self._delayed_count -= 1
            self._return(entry)
        for entry in self._clockwork.ended_leases(now):
            self._end_leases([entry])
            self._return(entry, entry.visible_at)
            if entry.stored and entry.state is READY:
                host.journal.touch(self.number, entry)
        self._choices.look_on()
        self.dispatch()
        self._expire(now)
        settings = self.settings
        if settings.retention is not None:
            for entry in self._clockwork.outlived(now, settings.retention):
                self._leave_waiting(entry)
                self._remove([entry])
        if settings.expires is not None and self._line.empty:
            if now >= self.last_used + settings.expires:
                host.retire(self)
                return
            host.arm(self, self.last_used + settings.expires)
        self._clockwork.arm_next()

    def _expire(self, now: int) -> None:
        for entry in self._clockwork.expired(now):
            self._leave_waiting(entry)
            self._give_up(entry, "expired")

    # managing

    async def configure(self, settings: QueueSettings) -> Commit:
        """Change the settings while running."""
        self._check()
        old, self.settings = self.settings, settings
        now = self.modified = self._host.clock.now()
        if (old.fifo, old.priorities, old.fair) != (
            settings.fifo, settings.priorities, settings.fair,
        ):  # fmt: skip
            self._fair = None
            self._reorder(_order_for(settings))
        if settings.fifo and old.delay != settings.delay:
            self._clockwork.redelay(settings.delay)  # as SQS does
        if settings.retention != old.retention:
            self._clockwork.watch_age(wanted=settings.retention is not None)
        self.drop_overflow()
        self._host.configured(self)
        self._host.arm(self, now)
        return self._host.journal.commit()

    def touch(self) -> None:
        """Note that somebody uses it: what it `expires` after begins anew."""
        self.last_used = self._host.clock.now()

    async def purge(self, *, leased: bool = False) -> tuple[int, Commit]:
        """Drop what waits, delayed messages included, and what is `leased`."""
        self._check()
        if self._dedup:
            self._dedup.clear()
            self._host.journal.forget(self.number)
        dropped = [each for each in self.entries.values() if leased or each.state is not LEASED]
        with _OneDispatch(self):
            for entry in dropped:
                if entry.state is LEASED:
                    self._end_leases([entry])
                else:
                    self._leave_waiting(entry)
                self._remove([entry])
            self._order.compact()
            self._left = 0
        return len(dropped), self._host.journal.commit()

    @property
    def depth(self) -> int:
        """Entries in the queue, whatever their state."""
        return len(self.entries)

    def counts(self) -> QueueCounts:
        """Exact counts."""
        oldest = self._order.oldest()
        return QueueCounts(
            visible=self._visible,
            in_flight=self._in_flight,
            delayed=self._delayed_count,
            bytes=self._bytes,
            consumers=len(self._line.consumers),
            oldest=None if oldest is None else oldest.published,
        )

    def peek(self, limit: int) -> Iterator[Message]:
        """Yield the messages that would be received next, untouched."""
        for _, entry in zip(range(limit), self._order, strict=False):
            if entry.message is not None:
                yield entry.message
            else:
                yield from self._host.journal.fetch([entry.id]).values()

    def close(self, reason: str) -> None:
        """The queue is deleted: drop all, end every consumer and waiter."""
        self.deleted = True
        consumers = self._line.dissolve()
        self._host.count(
            -sum(
                each.size + MEMORY_COST
                for each in self.entries.values()
                if each.message is not None
            )
        )
        for entry in self.entries.values():
            if entry.state is LEASED:
                self._end_leases([entry])
            entry.state = GONE
        self.entries.clear()
        self._order = _order_for(self.settings)
        self._choices = Choices(self._order_of_choice)
        for consumer in consumers:
            consumer.cancelled(reason)

    def page_out(self, written: int, goal: int) -> int:
        """Forget messages that are in the store (ids up to `written`), from the end of the line.

        Returns the bytes freed, at least `goal` if there is so much.
        """
        freed = 0
        for entry in reversed(self.entries.values()):
            if freed >= goal:
                break
            if entry.stored and entry.id <= written and entry.state in (READY, DELAYED):
                if entry.message is None:
                    continue
                entry.message = None
                freed += entry.size + MEMORY_COST
        self._host.count(-freed)
        return freed

    # reopening

    def restore(self, entry: Entry, now: int) -> None:
        """Take back an entry that the store kept.

        Leases of owners that outlive their connections go on; everything else is available.
        """
        entry.stored = True
        settings = self.settings
        if entry.group is not None and settings.fair and self._fair is None:
            self._tell_groups_apart()
        self.entries[entry.id] = entry
        self._bytes += entry.size
        if entry.message is not None:
            self._host.count(entry.size + MEMORY_COST)
        if entry.expires_at is not None:
            self._clockwork.expire(entry, entry.expires_at)
        if settings.retention is not None:
            self._clockwork.watch_age(wanted=True)
        if entry.owner is not None and entry.owner.startswith(LASTING_OWNER):
            entry.state = LEASED
            entry.visible_at = 0
            self._in_flight += 1
            self._held.setdefault(entry.owner, {})[entry.id] = entry
            self._order.hold(entry)
        elif not entry.receives and entry.visible_at > now:
            self._delay(entry, entry.visible_at)
        else:
            entry.owner = None
            self._return(entry)

    def remember(self, key: str, message: int, until: int) -> None:
        """Take back a deduplication id that the store kept."""
        self._dedup.remember(key, message, until)

    def _check(self) -> None:
        if self.deleted:
            raise NotFoundError("queue", self.name)


class _OneDispatch:
    """Leases ended inside make room; what fills it is given in one go at the end.

    A class, since a generator for a context costs a tenth of settling one message.
    """

    __slots__ = ("_outer", "_queue")

    def __init__(self, queue: MemoryQueue) -> None:
        self._queue = queue

    def __enter__(self) -> None:
        queue = self._queue
        self._outer, queue.dispatching = queue.dispatching, True

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        queue = self._queue
        queue.dispatching = self._outer
        if kind is None:
            queue.drop_overflow()
            queue.dispatch()


def _order_for(settings: QueueSettings) -> Order:
    if settings.fifo:
        return GroupOrder()
    return PriorityOrder(settings.priorities) if settings.priorities else ArrivalOrder()
