"""Consumers and waiting receives of one queue: bounds, no idle hands, turns."""

from dataclasses import dataclass, field

import hypothesis.strategies as st
import trio
import trio.testing
from hypothesis import given, settings

from hubbub.engine.contract import ConsumerTerms, Delivery, Outcome, Window
from hubbub.engine.queues import MemoryQueue

from .queue_harness import Harness


@dataclass
class Taker:
    """A consumer with a window, or a waiting receive with a limit."""

    room: int
    stays: bool
    got: list[Delivery] = field(default_factory=list)

    @property
    def has_room(self) -> bool:
        return len(self.got) < self.room if self.stays else not self.got


TAKERS = st.lists(st.builds(Taker, st.integers(1, 4), st.booleans()), min_size=1, max_size=5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 12)),
        st.tuples(st.just("settle"), st.integers(0, 4)),
    ),
    max_size=8,
)


async def _receive(queue: MemoryQueue, taker: Taker) -> None:
    taker.got += await queue.receive(taker.room, owner="waiter", wait=20_000)


async def _play(takers: list[Taker], steps: list[tuple[str, int]]) -> None:
    harness = Harness()
    queue = await harness.queue()
    sent = settled = 0
    async with trio.open_nursery() as nursery:
        for taker in takers:
            if taker.stays:
                terms = ConsumerTerms(owner="consumer", windows=(Window(taker.room),))
                queue.consume(taker.got.extend, terms, lambda reason: None)
            else:
                nursery.start_soon(_receive, queue, taker)
                await trio.testing.wait_all_tasks_blocked()
        for step, number in steps:
            if step == "send":
                harness.send(queue, *range(number))
                sent += number
            else:
                taker = takers[number % len(takers)]
                if taker.stays:
                    done, taker.got[:] = list(taker.got), []
                    settled += len(done)
                    await queue.settle([each.receipt for each in done], Outcome.ACCEPT)
            await trio.testing.wait_all_tasks_blocked()
            assert all(len(taker.got) <= taker.room for taker in takers)
            counts = queue.counts()
            assert counts.in_flight == sum(len(taker.got) for taker in takers)
            assert counts.visible + counts.in_flight + settled == sent
            assert not (counts.visible and any(taker.has_room for taker in takers))
        nursery.cancel_scope.cancel()
    everything = [each.message.id for taker in takers for each in taker.got]
    assert len(everything) == len(set(everything))


@settings(max_examples=300, deadline=None)
@given(TAKERS, STEPS)
def test_nobody_gets_too_much_and_nobody_waits_for_what_is_there(
    takers: list[Taker], steps: list[tuple[str, int]]
) -> None:
    trio.run(_play, takers, steps)


async def test_takers_with_room_take_turns(nursery: trio.Nursery) -> None:
    harness = Harness()
    queue = await harness.queue()
    takers = [Taker(4, stays=True), Taker(4, stays=False), Taker(4, stays=True)]
    for taker in takers:
        if taker.stays:
            terms = ConsumerTerms(owner="consumer", windows=(Window(taker.room),))
            queue.consume(taker.got.extend, terms, lambda reason: None)
        else:
            nursery.start_soon(_receive, queue, taker)
            await trio.testing.wait_all_tasks_blocked()
    harness.send(queue, *range(6))
    await trio.testing.wait_all_tasks_blocked()
    assert [len(taker.got) for taker in takers] == [2, 2, 2]
