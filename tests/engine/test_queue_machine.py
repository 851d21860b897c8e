"""Queues of every order against a model too simple to be wrong."""

from collections import Counter
from typing import Any

import hypothesis.strategies as st
import trio
import trio.testing
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hubbub.engine.contract import ConsumerTerms, Delivery, Outcome, Receipt, Window
from hubbub.engine.queues import MemoryQueue
from hubbub.message import MEMORY_COST

from .queue_harness import Harness

GROUPS = st.sampled_from([None, "a", "b", "c"])
KINDS: list[dict[str, Any]] = [
    {},
    {"fifo": True},
    {"fair": True},
    {"priorities": 3},
    {"max_receives": 2, "dead_letter": "$queue/dead"},
]


class QueueMachine(RuleBasedStateMachine):
    """Knows of each message only where it should be: waiting, hidden until a time, or held."""

    queue: MemoryQueue

    def __init__(self) -> None:
        super().__init__()
        self.harness = Harness()
        self.waiting: dict[int, str | None] = {}
        self.hidden: dict[int, tuple[int, str | None]] = {}
        self.leased: dict[int, tuple[int | None, Receipt, str | None]] = {}
        self.received: Counter[int] = Counter()
        self.done: set[int] = set()
        self.pushed: list[Delivery] = []

    @initialize(kind=st.sampled_from(KINDS))
    def create(self, kind: dict[str, Any]) -> None:
        self.kind = kind

        async def main() -> None:
            self.queue = await self.harness.queue(**kind)

        trio.run(main)

    @property
    def now(self) -> int:
        return self.harness.clock.now()

    @rule(groups=st.lists(GROUPS, min_size=1, max_size=4), delay=st.sampled_from([0, 0, 500]))
    def send(self, groups: list[str | None], delay: int) -> None:
        messages = [
            self.harness.message(number, group=group, delay=delay, priority=number)
            for number, group in enumerate(groups)
        ]
        self.queue.enqueue(messages)
        for message in messages:
            if delay and not self.kind.get("fifo"):
                self.hidden[message.id] = (self.now + delay, message.group)
            else:
                self.waiting[message.id] = message.group

    @rule(limit=st.integers(1, 4), lease=st.sampled_from([300, 1000]))
    def receive(self, limit: int, lease: int) -> None:
        async def main() -> list[Delivery]:
            return await self.queue.receive(limit, owner="machine", lease=lease)

        self._took(trio.run(main), self.now + lease)

    @rule(limit=st.integers(1, 3))
    def push(self, limit: int) -> None:
        window = Window(limit)
        terms = ConsumerTerms(owner="machine", windows=(window,))
        consumption = self.queue.consume(self.pushed.extend, terms, lambda reason: None)
        consumption.cancel()
        assert len(self.pushed) == window.used <= limit
        self._took(self.pushed, None)
        self.pushed.clear()

    def _took(self, deliveries: list[Delivery], deadline: int | None) -> None:
        held = [(group, number) for number, (_, _, group) in self.leased.items()]
        for delivery in deliveries:
            number = delivery.message.id
            group = self.waiting.pop(number)
            self.received[number] += 1
            assert delivery.receives == self.received[number]
            if self.kind.get("fifo"):
                assert all(number < other for its, other in held if its == group)
                assert not any(other < number for other, its in self.waiting.items()
                               if its == group)  # fmt: skip
            self.leased[number] = (deadline, delivery.receipt, group)
        if not self.kind and deliveries:
            numbers = [delivery.message.id for delivery in deliveries]
            assert numbers == sorted(numbers)
            assert not self.waiting or numbers[-1] < min(self.waiting)
        if limit := self.kind.get("max_receives"):
            for number in [n for n in self.waiting if self.received[n] >= limit]:
                if number not in self.queue.entries:
                    self.done.add(number)
                    del self.waiting[number]

    @rule(outcome=st.sampled_from(list(Outcome)), data=st.data())
    def settle(self, outcome: Outcome, data: st.DataObject) -> None:
        if not self.leased:
            return
        numbers = data.draw(st.lists(st.sampled_from(sorted(self.leased)), unique=True))

        async def main() -> None:
            receipts = [self.leased[number][1] for number in numbers]
            assert not (await self.queue.settle(receipts, outcome)).failed

        trio.run(main)
        for number in numbers:
            _, _, group = self.leased.pop(number)
            if outcome is Outcome.RELEASE:
                self.waiting[number] = group
            else:
                self.done.add(number)

    @rule(data=st.data(), lease=st.sampled_from([0, 2000]), let_go=st.booleans())
    def extend(self, data: st.DataObject, lease: int, let_go: bool) -> None:
        if not self.leased:
            return
        number = data.draw(st.sampled_from(sorted(self.leased)))
        _, receipt, group = self.leased[number]

        async def main() -> None:
            assert not (await self.queue.extend([receipt], lease, let_go=let_go)).failed

        trio.run(main)
        if lease:
            self.leased[number] = (self.now + lease, receipt, group)
        else:
            del self.leased[number]
            self.waiting[number] = group

    @rule(time=st.sampled_from([100, 300, 1000, 5000]))
    def pass_time(self, time: int) -> None:
        self.harness.pass_time(self.queue, time)
        for number, (until, group) in list(self.hidden.items()):
            if until <= self.now:
                del self.hidden[number]
                self.waiting[number] = group
        for number, (deadline, _, group) in list(self.leased.items()):
            if deadline is not None and deadline <= self.now:
                del self.leased[number]
                self.waiting[number] = group

    @rule()
    def purge(self) -> None:
        async def main() -> int:
            return (await self.queue.purge())[0]

        assert trio.run(main) == len(self.waiting) + len(self.hidden)
        self.done |= set(self.waiting) | set(self.hidden)
        self.waiting.clear()
        self.hidden.clear()

    @invariant()
    def counts_are_exact(self) -> None:
        if not hasattr(self, "queue"):
            return
        counts = self.queue.counts()
        assert (counts.visible, counts.delayed, counts.in_flight) == (
            len(self.waiting), len(self.hidden), len(self.leased),
        )  # fmt: skip
        assert set(self.queue.entries) == set(self.waiting) | set(self.hidden) | set(self.leased)
        assert counts.bytes == sum(entry.size for entry in self.queue.entries.values())
        in_memory = counts.bytes + MEMORY_COST * len(self.queue.entries)
        assert self.harness.engine.memory == in_memory
        waiting = [message.id for message in self.queue.peek(1000)]
        assert sorted(waiting) == sorted(self.waiting)


QueueMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_queues_of_every_order = QueueMachine.TestCase
