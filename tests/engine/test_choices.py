"""Consumers that take only some messages of a queue."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from hubbub.engine.contract import ConsumerTerms, Consumption, Delivery, Outcome, Window
from hubbub.engine.queues import MemoryQueue
from hubbub.errors import RefusedError
from hubbub.message import Message

from .queue_harness import Harness, bodies


@pytest.fixture
def harness() -> Harness:
    return Harness()


def choose(
    queue: MemoryQueue,
    accepts: Callable[[Message], bool] | None,
    *,
    owner: str = "c",
    room: int | None = None,
) -> tuple[list[Delivery], Consumption]:
    got: list[Delivery] = []
    terms = ConsumerTerms(owner=owner, windows=(Window(room),), accepts=accepts)
    return got, queue.consume(got.extend, terms, lambda reason: None)


def is_even(message: Message) -> bool:
    return int(message.body) % 2 == 0


async def test_each_message_is_looked_at_once(harness: Harness) -> None:
    queue = await harness.queue()
    looks: Counter[bytes] = Counter()

    def accepts(message: Message) -> bool:
        looks[message.body] += 1
        return is_even(message)

    harness.send(queue, *range(5))
    got, _ = choose(queue, accepts)
    harness.send(queue, *range(5, 10))
    assert bodies(got) == ["0", "2", "4", "6", "8"]
    assert set(looks.values()) == {1}
    await queue.settle([got[1].receipt], Outcome.RELEASE)
    assert (bodies(got)[-1], got[-1].redelivered) == ("2", True)
    assert looks[b"2"] == 2
    assert [each.body for each in queue.peek(9)] == [b"1", b"3", b"5", b"7", b"9"]
    assert queue.counts().visible == 5


async def test_what_is_not_chosen_is_for_others_in_its_order(harness: Harness) -> None:
    queue = await harness.queue()
    even, _ = choose(queue, is_even, room=1)
    every, _ = choose(queue, None, owner="d", room=3)
    harness.send(queue, *range(6))
    assert bodies(even) == ["0"]
    assert bodies(every) == ["1", "2", "3"]
    await queue.settle([even[0].receipt], Outcome.ACCEPT)
    assert bodies(even) == ["0", "4"]
    await queue.settle([each.receipt for each in every], Outcome.ACCEPT)
    assert bodies(every) == ["1", "2", "3", "5"]


async def test_who_leaves_chooses_nothing_more(harness: Harness) -> None:
    queue = await harness.queue()
    got, consumption = choose(queue, is_even)
    consumption.cancel()
    harness.send(queue, 2)
    assert got == []
    assert queue.counts().visible == 1


async def test_a_long_search_gives_others_their_turn(harness: Harness) -> None:
    queue = await harness.queue()
    harness.send(queue, *([1] * 2_500), 2)
    got, _ = choose(queue, is_even)
    for _ in range(2):
        assert got == []
        harness.pass_time(queue, 1)
    assert bodies(got) == ["2"]


async def test_a_message_that_comes_back_again_and_again_stands_in_the_queue_once(
    harness: Harness,
) -> None:
    queue = await harness.queue()
    harness.send(queue, 1, 2, 3)
    got, consumption = choose(queue, is_even, room=1)
    for _ in range(3_000):
        await queue.settle([got[-1].receipt], Outcome.RELEASE)
    consumption.cancel()
    await queue.settle([got[-1].receipt], Outcome.RELEASE)
    assert [each.body for each in queue.peek(9)] == [b"1", b"2", b"3"]
    assert bodies(await queue.receive(9, owner="d")) == ["1", "2", "3"]


async def test_a_filter_that_fails_does_not_match(harness: Harness) -> None:
    queue = await harness.queue()
    got, _ = choose(queue, is_even)
    harness.send(queue, "no number", 2)
    assert bodies(got) == ["2"]


async def test_priorities_and_dead_letters(harness: Harness) -> None:
    queue = await harness.queue(priorities=3, max_receives=1, dead_letter="dead")
    for body, priority in ((2, 0), (4, 3), (1, 3)):
        harness.send(queue, body, priority=priority)
    got, _ = choose(queue, is_even)
    assert bodies(got) == ["4", "2"]
    await queue.settle([got[0].receipt], Outcome.RELEASE)
    assert harness.buried == [(b"4", 1, "delivery_limit")]


async def test_fifo_queues_are_not_chosen_from(harness: Harness) -> None:
    queue = await harness.queue(fifo=True)
    with pytest.raises(RefusedError, match="FIFO"):
        choose(queue, is_even)


@pytest.mark.parametrize("settings", [{}, {"priorities": 2}, {"fair": True}, {"max_in_flight": 3}])
@pytest.mark.parametrize("seed", range(5))
async def test_everything_goes_to_somebody_who_wants_it(
    harness: Harness, settings: dict[str, Any], seed: int
) -> None:
    """Any order of sending, holding, giving back and accepting loses and doubles nothing."""
    chance = random.Random(seed)
    queue = await harness.queue(**settings)
    wanted: dict[str, Callable[[Message], bool] | None] = {
        "even": is_even,
        "three": lambda message: int(message.body) % 3 == 0,
        "all": None,
    }
    held: dict[int, Delivery] = {}
    done: list[int] = []
    consumptions = {}

    def take(owner: str, deliveries: list[Delivery]) -> None:
        accepts = wanted[owner]
        for each in deliveries:
            number = int(each.message.body)
            assert accepts is None or accepts(each.message)
            assert number not in held
            assert number not in done
            held[number] = each

    for owner, accepts in wanted.items():
        terms = ConsumerTerms(owner=owner, windows=(Window(2),), accepts=accepts)
        consumptions[owner] = queue.consume(partial(take, owner), terms, lambda reason: None)
    sent = 0
    for _ in range(300):
        match chance.randrange(4):
            case 0:
                group = chance.choice([None, "a", "b"])
                harness.send(queue, sent, priority=chance.randrange(3), group=group)
                sent += 1
            case 1 | 2 if held:
                number = chance.choice(list(held))
                outcome = chance.choice([Outcome.ACCEPT, Outcome.RELEASE])
                delivery = held.pop(number)
                if outcome is Outcome.ACCEPT:
                    done.append(number)
                await queue.settle([delivery.receipt], outcome)
            case 3:
                owner = chance.choice(list(wanted))
                consumptions[owner].pause()
                consumptions[owner].resume()
    while held:
        number, delivery = held.popitem()
        done.append(number)
        await queue.settle([delivery.receipt], Outcome.ACCEPT)
    assert sorted(done) == list(range(sent))
    assert queue.depth == 0
