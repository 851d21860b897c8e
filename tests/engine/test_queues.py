import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from hubbub.engine.contract import Commit, ConsumerTerms, Delivery, Outcome, Queue, Window
from hubbub.engine.queues import MemoryQueue
from hubbub.errors import NotFoundError, RefusedError, UnavailableError
from hubbub.message import Message

from .queue_harness import Harness, bodies


@pytest.fixture
def harness() -> Harness:
    return Harness()


def visible(queue: MemoryQueue) -> tuple[int, int, int]:
    counts = queue.counts()
    return counts.visible, counts.in_flight, counts.delayed


async def take(queue: MemoryQueue, limit: int = 10, **options: Any) -> list[Delivery]:
    return await queue.receive(limit, owner="me", **options)


async def test_messages_come_out_in_the_order_they_went_in(harness: Harness) -> None:
    queue = await harness.queue()
    harness.send(queue, *"abc")
    assert bodies(await take(queue, 2)) == ["a", "b"]
    assert bodies(await take(queue)) == ["c"]
    assert visible(queue) == (0, 3, 0)


async def test_a_lease_that_ends_gives_the_message_back_at_its_place(harness: Harness) -> None:
    queue = await harness.queue()
    harness.send(queue, *"abc")
    (first,) = await take(queue, 1, lease=5_000)
    harness.pass_time(queue, 4_999)
    assert bodies(await take(queue, 1)) == ["b"]
    harness.pass_time(queue, 1)
    again = await take(queue)
    assert bodies(again) == ["a", "c"]
    assert [each.receives for each in again] == [2, 1]
    assert [each.redelivered for each in again] == [True, False]
    assert again[0].receipt.token > first.receipt.token
    assert again[0].first_received == first.first_received


async def test_a_receipt_counts_while_nobody_has_received_the_message_since(
    harness: Harness,
) -> None:
    queue = await harness.queue()
    harness.send(queue, "a")
    (first,) = await take(queue, lease=1_000)
    assert queue.lease_of(first.receipt) == "held"
    harness.pass_time(queue, 1_000)
    assert queue.lease_of(first.receipt) == "expired"
    (second,) = await take(queue)
    assert queue.lease_of(first.receipt) == "stale"
    assert (await queue.settle([first.receipt], Outcome.ACCEPT)).failed == (0,)
    await queue.extend([second.receipt], 0)
    assert queue.lease_of(second.receipt) == "visible"
    assert (await queue.settle([second.receipt], Outcome.ACCEPT)).failed == ()
    assert queue.lease_of(second.receipt) == "gone"
    assert visible(queue) == (0, 0, 0)


async def test_an_expired_receipt_still_settles_what_waits(harness: Harness) -> None:
    queue = await harness.queue()
    harness.send(queue, *"ab")
    (first,) = await take(queue, 1, lease=1_000)
    harness.pass_time(queue, 1_000)
    assert not (await queue.settle([first.receipt], Outcome.ACCEPT)).failed
    assert bodies(await take(queue)) == ["b"]


async def test_extending_a_lease_moves_its_deadline_both_ways(harness: Harness) -> None:
    queue = await harness.queue()
    harness.send(queue, "a")
    (lease,) = await take(queue, lease=10_000)
    assert not (await queue.extend([lease.receipt], 60_000)).failed
    harness.pass_time(queue, 59_999)
    assert visible(queue) == (0, 1, 0)
    assert not (await queue.extend([lease.receipt], 1_000)).failed
    harness.pass_time(queue, 1_000)
    assert visible(queue) == (1, 0, 0)
    assert (await queue.extend([lease.receipt], 1_000)).failed == (0,)


async def test_extending_by_nothing_returns_the_message_at_once(harness: Harness) -> None:
    queue = await harness.queue()
    harness.send(queue, "a")
    (lease,) = await take(queue)
    await queue.extend([lease.receipt], 0)
    (again,) = await take(queue)
    assert again.receives == 2


async def test_delay_of_the_message_goes_before_that_of_the_queue(harness: Harness) -> None:
    queue = await harness.queue(delay=1_000)
    harness.send(queue, "queue's")
    harness.send(queue, "own", delay=3_000)
    harness.send(queue, "none", delay=0)
    assert visible(queue) == (1, 0, 2)
    assert bodies(await take(queue)) == ["none"]
    harness.pass_time(queue, 1_000)
    assert bodies(await take(queue)) == ["queue's"]
    harness.pass_time(queue, 2_000)
    assert bodies(await take(queue)) == ["own"]


async def test_a_waiting_receive_is_woken_by_a_send_a_delay_and_a_lease_end(
    harness: Harness, nursery: trio.Nursery
) -> None:
    queue = await harness.queue()
    got: list[list[Delivery]] = []

    async def wait() -> None:
        got.append(await take(queue, wait=20_000))

    wakes: list[Callable[[], None]] = [
        lambda: harness.send(queue, "sent"),
        lambda: harness.pass_time(queue, 500),
        lambda: harness.pass_time(queue, 2_000),
    ]
    for wake in wakes:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        wake()
        await trio.testing.wait_all_tasks_blocked()
        if len(got) == 1:
            await queue.settle([got[0][0].receipt], Outcome.ACCEPT)
            harness.send(queue, "delayed", delay=500)
        elif len(got) == 2:
            await queue.extend([got[1][0].receipt], 2_000)
    assert [bodies(each) for each in got] == [["sent"], ["delayed"], ["delayed"]]


async def test_a_waiting_receive_gives_up_after_its_time(
    harness: Harness, autojump_clock: trio.testing.MockClock
) -> None:
    queue = await harness.queue()
    started = trio.current_time()
    assert await take(queue, wait=5_000) == []
    assert trio.current_time() - started == pytest.approx(5)
    harness.send(queue, "later")
    assert visible(queue) == (1, 0, 0)


async def test_a_cancelled_receive_leases_nothing(harness: Harness) -> None:
    queue = await harness.queue()
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            await take(queue, wait=20_000)

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        harness.send(queue, "a")  # given to the waiter, who is cancelled before it can run
        nursery.cancel_scope.cancel()
    assert visible(queue) == (1, 0, 0)
    (delivery,) = await take(queue)
    assert delivery.receives == 1


async def test_waiters_and_consumers_take_turns(harness: Harness, nursery: trio.Nursery) -> None:
    queue = await harness.queue()
    pushed: list[str] = []
    window = Window(1)
    terms = ConsumerTerms(owner="c", windows=(window,))
    queue.consume(lambda each: pushed.extend(bodies(each)), terms, lambda reason: None)
    received: list[str] = []

    async def wait() -> None:
        received.extend(bodies(await take(queue, 1, wait=20_000)))

    nursery.start_soon(wait)
    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    harness.send(queue, *"abcd")
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(pushed + received) == ["a", "b", "c"]
    assert len(pushed) == 1
    assert visible(queue) == (1, 3, 0)


async def test_a_waiting_receive_gets_no_more_than_it_asked_for(
    harness: Harness, nursery: trio.Nursery
) -> None:
    queue = await harness.queue()
    pushed: list[Delivery] = []
    terms = ConsumerTerms(owner="c", windows=(Window(2),))
    queue.consume(pushed.extend, terms, lambda reason: None)
    received: list[Delivery] = []

    async def wait() -> None:
        received.extend(await take(queue, 3, wait=20_000))

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    harness.send(queue, *"abcdefgh")  # the consumer's window is full before the waiter's turn ends
    await trio.testing.wait_all_tasks_blocked()
    assert len(pushed) == 2
    assert len(received) == 3
    assert visible(queue) == (3, 5, 0)


async def test_a_window_bounds_what_is_not_settled(harness: Harness) -> None:
    queue = await harness.queue()
    got: list[Delivery] = []
    window = Window(2)
    terms = ConsumerTerms(owner="c", windows=(window,))
    queue.consume(got.extend, terms, lambda reason: None)
    harness.send(queue, *"abcde")
    assert bodies(got) == ["a", "b"]
    await queue.settle([got[0].receipt, got[1].receipt], Outcome.ACCEPT)
    assert bodies(got) == ["a", "b", "c", "d"]
    window.resize(3)
    assert bodies(got) == ["a", "b", "c", "d", "e"]
    assert window.used == 3


async def test_what_is_let_go_takes_no_room_and_stays_hidden_when_its_owner_leaves(
    harness: Harness,
) -> None:
    queue = await harness.queue()
    got: list[Delivery] = []
    window = Window(1)
    terms = ConsumerTerms(owner="c", windows=(window,))
    consumption = queue.consume(got.extend, terms, lambda reason: None)
    harness.send(queue, *"ab")
    assert not (await queue.extend([got[0].receipt], 5_000, let_go=True)).failed
    assert bodies(got) == ["a", "b"]
    assert window.used == 1
    assert [each.message.body for each in await queue.leases("c")] == [b"b"]
    consumption.cancel()
    await queue.release("c")
    assert visible(queue) == (1, 1, 0)
    harness.pass_time(queue, 5_000)
    assert visible(queue) == (2, 0, 0)
    assert window.used == 0


async def test_a_window_shared_by_two_queues_lets_the_other_go_on(harness: Harness) -> None:
    one, two = await harness.queue("one"), await harness.queue("two")
    window = Window(1)
    got: list[Delivery] = []
    terms = ConsumerTerms(owner="c", windows=(window,))
    one.consume(got.extend, terms, lambda reason: None)
    two.consume(got.extend, terms, lambda reason: None)
    harness.send(one, "1")
    harness.send(two, "2")
    assert bodies(got) == ["1"]
    await one.settle([got[0].receipt], Outcome.ACCEPT)
    assert bodies(got) == ["1", "2"]


async def test_consumers_are_served_in_turn_and_by_priority(harness: Harness) -> None:
    queue = await harness.queue()
    got: dict[str, list[str]] = {"a": [], "b": [], "low": []}
    for name, priority in (("a", 5), ("b", 5), ("low", 0)):
        terms = ConsumerTerms(owner=name, priority=priority, windows=(Window(3),))
        queue.consume(
            lambda each, name=name: got[name].extend(bodies(each)),  # type: ignore[misc]
            terms, lambda reason: None,
        )  # fmt: skip
    for number in range(8):
        harness.send(queue, number)
    assert sorted(map(len, got.values())) == [2, 3, 3]
    assert got["low"] == ["6", "7"]
    assert got["a"] in (["0", "2", "4"], ["1", "3", "5"])


async def test_a_paused_consumer_takes_nothing(harness: Harness) -> None:
    queue = await harness.queue()
    got: list[Delivery] = []
    consumption = queue.consume(got.extend, ConsumerTerms(owner="c"), lambda reason: None)
    consumption.pause()
    harness.send(queue, "a")
    assert not got
    consumption.resume()
    assert bodies(got) == ["a"]


async def test_a_consumer_that_fails_is_paused_and_keeps_its_leases(harness: Harness) -> None:
    def fail(deliveries: list[Delivery]) -> None:
        raise ValueError("oops")

    queue = await harness.queue()
    queue.consume(fail, ConsumerTerms(owner="c"), lambda reason: None)
    harness.send(queue, *"ab")
    harness.send(queue, "c")
    assert [str(error) for error in harness.errors] == ["oops"]
    assert visible(queue) == (1, 2, 0)
    await queue.release("c")
    assert visible(queue) == (3, 0, 0)


async def test_dead_letters_wait_while_the_store_takes_nothing(harness: Harness) -> None:
    queue = await harness.queue(dead_letter="$queue/dead", message_ttl=1_000)
    harness.send(queue, "a")
    bury = harness.engine.dead_letter

    def fail(queue: Queue, message: Message, receives: int, reason: str) -> Commit:
        raise UnavailableError("the disk is full")

    harness.engine.dead_letter = fail
    harness.pass_time(queue, 1_000)
    assert visible(queue) == (0, 0, 1)
    harness.engine.dead_letter = bury
    harness.pass_time(queue, 1_000)
    assert harness.buried == [(b"a", 0, "expired")]
    assert visible(queue) == (0, 0, 0)


async def test_settled_consumption_leaves_nothing_behind(harness: Harness) -> None:
    queue = await harness.queue()
    got: list[Delivery] = []
    queue.consume(got.extend, ConsumerTerms(owner="c", settled=True), lambda reason: None)
    harness.send(queue, *"abc")
    assert bodies(got) == ["a", "b", "c"]
    assert visible(queue) == (0, 0, 0)


async def test_exclusive_consumers_refuse_others(harness: Harness) -> None:
    queue = await harness.queue()
    terms = ConsumerTerms(owner="c", exclusive=True)
    consumption = queue.consume(lambda each: None, terms, lambda reason: None)
    with pytest.raises(RefusedError, match="exclusive"):
        queue.consume(lambda each: None, ConsumerTerms(owner="d"), lambda reason: None)
    consumption.cancel()
    queue.consume(lambda each: None, ConsumerTerms(owner="d"), lambda reason: None)


async def test_single_active_consumer_hands_over_when_it_leaves(harness: Harness) -> None:
    queue = await harness.queue(single_active=True)
    got: list[str] = []
    first, _ = (
        queue.consume(
            lambda each, name=name: got.extend(name + body for body in bodies(each)),  # type: ignore[misc]
            ConsumerTerms(owner=name), lambda reason: None,
        )
        for name in ("x", "y")
    )  # fmt: skip
    harness.send(queue, *"ab")
    first.cancel()
    harness.send(queue, "c")
    assert got == ["xa", "xb", "yc"]


async def test_what_an_owner_holds_is_listed_and_released(harness: Harness) -> None:
    queue = await harness.queue()
    got: list[Delivery] = []
    consumption = queue.consume(got.extend, ConsumerTerms(owner="c"), lambda reason: None)
    harness.send(queue, *"ab")
    queue.tag(got[0].receipt, 17)
    consumption.cancel()
    held = await queue.leases("c")
    assert [(each.message.body, each.tag) for each in held] == [(b"a", 17), (b"b", 0)]
    await queue.release("c")
    assert visible(queue) == (2, 0, 0)
    assert await queue.leases("c") == []
    assert bodies(await take(queue)) == ["a", "b"]


async def test_fifo_groups_are_closed_while_one_of_them_is_held(harness: Harness) -> None:
    queue = await harness.queue(fifo=True)
    for body, group in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a"), ("b2", "b")):
        harness.send(queue, body, group=group)
    first = await take(queue, 2)
    assert bodies(first) == ["a1", "a2"]
    assert bodies(await take(queue, 1)) == ["b1"]
    assert await take(queue) == []
    await queue.settle([first[1].receipt], Outcome.ACCEPT)
    assert await take(queue) == []  # a1 is still held
    await queue.extend([first[0].receipt], 0)
    again = await take(queue)
    assert bodies(again) == ["a1", "a3"]
    assert [each.receives for each in again] == [2, 1]


async def test_fifo_order_holds_over_a_lease_that_ends(harness: Harness) -> None:
    queue = await harness.queue(fifo=True)
    for number in range(4):
        harness.send(queue, number, group="g")
    await take(queue, 2, lease=1_000)
    harness.pass_time(queue, 1_000)
    assert bodies(await take(queue)) == ["0", "1", "2", "3"]


async def test_what_comes_back_to_a_fifo_group_opens_it_up_to_what_is_held(
    harness: Harness,
) -> None:
    queue = await harness.queue(fifo=True)
    for body, group in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a")):
        harness.send(queue, body, group=group)
    first = await take(queue, 2)
    await queue.extend([first[0].receipt], 0)
    again = await take(queue)
    assert bodies(again) == ["b1", "a1"]  # a group that opens stands behind the others
    assert await take(queue) == []  # a3 waits for a2
    await queue.settle([again[1].receipt], Outcome.ACCEPT)
    assert await take(queue) == []
    await queue.settle([first[1].receipt], Outcome.ACCEPT)
    assert bodies(await take(queue)) == ["a3"]


async def test_fifo_groups_take_turns(harness: Harness) -> None:
    queue = await harness.queue(fifo=True)
    for body in ("a1", "a2", "a3", "b1", "b2", "c1"):
        harness.send(queue, body, group=body[0])
    order = []
    for _ in range(6):
        (delivery,) = await take(queue, 1)
        order += bodies([delivery])
        await queue.settle([delivery.receipt], Outcome.ACCEPT)
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3"]


@pytest.mark.parametrize("outcome", [Outcome.ACCEPT, Outcome.REJECT])
@pytest.mark.parametrize("fifo", [False, True])
@pytest.mark.parametrize("ended", [False, True])
async def test_a_receipt_that_comes_twice_counts_once(
    harness: Harness, outcome: Outcome, fifo: bool, ended: bool
) -> None:
    queue = await harness.queue(fifo=fifo)
    for body in "abc":
        harness.send(queue, body, group="g" if fifo else None)
    receipts = [each.receipt for each in await take(queue, 2, lease=1_000)]
    if ended:
        harness.pass_time(queue, 1_000)
    settled = await queue.settle([*receipts, *receipts], outcome)
    assert settled.failed == (2, 3)
    assert visible(queue) == (1, 0, 0)
    assert bodies(await take(queue)) == ["c"]


async def test_a_stale_receipt_leads_to_the_latest(harness: Harness) -> None:
    queue = await harness.queue()
    harness.send(queue, "a")
    (first,) = await take(queue, lease=1_000)
    assert queue.successor(first.receipt) == first.receipt
    harness.pass_time(queue, 1_000)
    (second,) = await take(queue, lease=1_000)
    assert queue.successor(first.receipt) == second.receipt
    harness.pass_time(queue, 1_000)
    assert queue.successor(first.receipt) == second.receipt
    (held,) = await queue.receive(1, owner="connection", held=True)
    assert queue.successor(first.receipt) is None
    await queue.settle([held.receipt], Outcome.ACCEPT)
    assert queue.successor(first.receipt) is None


async def test_pushed_fifo_messages_come_one_group_at_a_time(harness: Harness) -> None:
    queue = await harness.queue(fifo=True)
    one: list[Delivery] = []
    two: list[Delivery] = []
    for target in (one, two):
        terms = ConsumerTerms(owner=str(id(target)), windows=(Window(1),))
        queue.consume(target.extend, terms, lambda reason: None)
    harness.send(queue, "g1", group="g")
    harness.send(queue, "g2", group="g")
    assert bodies(one + two) == ["g1"]
    await queue.settle([(one + two)[0].receipt], Outcome.ACCEPT)
    assert sorted(bodies(one + two)) == ["g1", "g2"]


async def test_a_duplicate_is_known_for_five_minutes_even_after_deletion(
    harness: Harness,
) -> None:
    queue = await harness.queue(fifo=True)
    first = harness.message("a", group="g", dedup_id="d")
    queue.enqueue([first])
    (delivery,) = await take(queue)
    await queue.settle([delivery.receipt], Outcome.ACCEPT)
    harness.clock.advance(299_999)
    again = queue.enqueue([harness.message("b", group="g", dedup_id="d")])
    assert again.duplicates == {0: first.id}
    assert visible(queue) == (0, 0, 0)
    harness.clock.advance(1)
    assert not queue.enqueue([harness.message("b", group="g", dedup_id="d")]).duplicates


async def test_an_id_counts_in_any_queue(harness: Harness) -> None:
    queue = await harness.queue()
    first = harness.message("a", dedup_id="d")
    enqueued = queue.enqueue([first, harness.message("b", dedup_id="d"), first])
    assert enqueued.duplicates == {1: first.id}
    assert queue.counts().visible == 1
    assert not queue.enqueue([harness.message("b")]).duplicates


async def test_a_purged_queue_knows_no_duplicates(harness: Harness) -> None:
    queue = await harness.queue(fifo=True)
    harness.send(queue, "a", group="g", dedup_id="d")
    await queue.purge()
    assert not queue.enqueue([harness.message("b", group="g", dedup_id="d")]).duplicates
    assert bodies(await take(queue)) == ["b"]


@pytest.mark.parametrize(("scope", "repeated"), [("queue", True), ("group", False)])
async def test_the_scope_of_deduplication(harness: Harness, scope: str, repeated: bool) -> None:
    queue = await harness.queue(fifo=True, content_dedup=True, dedup_scope=scope)
    queue.enqueue([harness.message("same", group="a")])
    assert bool(queue.enqueue([harness.message("same", group="b")]).duplicates) is repeated
    assert queue.enqueue([harness.message("same", group="a")]).duplicates


async def test_a_new_delay_of_a_fifo_queue_applies_to_what_waits(harness: Harness) -> None:
    queue = await harness.queue(fifo=True, delay=60_000)
    harness.send(queue, "a", group="g")
    await queue.configure(type(queue.settings)(fifo=True, delay=1_000))
    harness.send(queue, "b", group="g")
    harness.pass_time(queue, 1_000)
    assert bodies(await take(queue)) == ["a", "b"]


async def test_a_fair_queue_lets_quiet_groups_by_a_noisy_one(harness: Harness) -> None:
    queue = await harness.queue(fair=True)
    for number in range(5):
        harness.send(queue, f"noisy{number}", group="noisy")
    harness.send(queue, "alone")
    first = await take(queue, 2)
    assert bodies(first) == ["noisy0", "alone"]
    harness.send(queue, "quiet", group="quiet")
    assert bodies(await take(queue, 2)) == ["quiet", "noisy1"]
    await queue.settle([first[0].receipt], Outcome.ACCEPT)
    harness.send(queue, "quiet2", group="quiet")
    assert bodies(await take(queue)) == ["noisy2", "quiet2", "noisy3", "noisy4"]
    assert visible(queue) == (0, 7, 0)


async def test_the_order_of_a_queue_may_change_while_messages_are_held(harness: Harness) -> None:
    queue = await harness.queue()
    for number in range(3):
        harness.send(queue, number, group="g")
    (held,) = await take(queue, 1)
    await queue.configure(type(queue.settings)(fifo=True))
    assert await take(queue) == []
    await queue.extend([held.receipt], 0)
    assert bodies(await take(queue)) == ["0", "1", "2"]


async def test_priorities(harness: Harness) -> None:
    queue = await harness.queue(priorities=5)
    for body, priority in (("low", 0), ("high", 5), ("mid", 3), ("above", 9), ("low2", 0)):
        harness.send(queue, body, priority=priority)
    assert bodies(await take(queue)) == ["high", "above", "mid", "low", "low2"]


async def test_expired_messages_are_buried_on_time(harness: Harness) -> None:
    queue = await harness.queue(message_ttl=5_000, dead_letter="$queue/dead")
    harness.send(queue, "short", expires_at=harness.clock.now() + 1_000)
    harness.send(queue, "queue's")
    harness.pass_time(queue, 1_000)
    assert harness.buried == [(b"short", 0, "expired")]
    harness.pass_time(queue, 4_000)
    assert harness.buried[1:] == [(b"queue's", 0, "expired")]
    assert visible(queue) == (0, 0, 0)


async def test_an_expired_message_that_is_held_may_still_be_settled(harness: Harness) -> None:
    queue = await harness.queue()
    harness.send(queue, "a", expires_at=harness.clock.now() + 1_000)
    (delivery,) = await take(queue, lease=10_000)
    harness.pass_time(queue, 5_000)
    assert not (await queue.settle([delivery.receipt], Outcome.ACCEPT)).failed
    assert not harness.buried


async def test_what_expired_while_it_was_held_does_not_come_back(harness: Harness) -> None:
    queue = await harness.queue(dead_letter="$queue/dead")
    got: list[Delivery] = []
    for body in ("given back", "left behind", "in time"):
        later = 2_000 if body == "in time" else 100
        harness.send(queue, body, expires_at=harness.clock.now() + later)
    queue.consume(got.extend, ConsumerTerms(owner="c", windows=(Window(3),)), lambda reason: None)
    harness.pass_time(queue, 200)
    await queue.settle([got[0].receipt], Outcome.RELEASE)
    await queue.release("c")
    assert harness.buried == [(b"given back", 1, "expired"), (b"left behind", 1, "expired")]
    assert bodies(got[3:]) == ["in time"]


async def test_retention_drops_for_good(harness: Harness) -> None:
    queue = await harness.queue(retention=60_000, dead_letter="$queue/dead")
    harness.send(queue, "old")
    harness.clock.advance(30_000)
    harness.send(queue, "new")
    harness.pass_time(queue, 30_000)
    assert bodies(await take(queue)) == ["new"]
    assert not harness.buried


async def test_the_receive_too_many_buries_instead(harness: Harness) -> None:
    queue = await harness.queue(max_receives=2, dead_letter="$queue/dead")
    harness.send(queue, "a")
    for _ in range(2):
        (delivery,) = await take(queue)
        await queue.extend([delivery.receipt], 0)
        assert not harness.buried
    assert await take(queue) == []
    assert harness.buried == [(b"a", 2, "delivery_limit")]
    assert visible(queue) == (0, 0, 0)


async def test_a_queue_that_gives_up_early_buries_at_the_end_of_the_last_lease(
    harness: Harness,
) -> None:
    queue = await harness.queue(
        max_receives=2, gives_up_early=True, dead_letter="$queue/dead", lease=1_000
    )
    harness.send(queue, "a", "b")
    (delivery, other) = await take(queue, 2)
    await queue.settle([other.receipt], Outcome.ACCEPT)
    await queue.extend([delivery.receipt], 0)
    assert not harness.buried
    await take(queue)
    harness.pass_time(queue, 1_000)
    assert harness.buried == [(b"a", 2, "delivery_limit")]
    assert visible(queue) == (0, 0, 0)


async def test_rejected_messages_are_buried(harness: Harness) -> None:
    queue = await harness.queue(dead_letter="$queue/dead")
    harness.send(queue, "a")
    (delivery,) = await take(queue)
    await queue.settle([delivery.receipt], Outcome.REJECT)
    assert harness.buried == [(b"a", 1, "rejected")]


async def test_a_full_queue_drops_its_head(harness: Harness) -> None:
    queue = await harness.queue(max_length=2, dead_letter="$queue/dead")
    harness.send(queue, *"abcd")
    assert [body for body, _, _ in harness.buried] == [b"a", b"b"]
    assert bodies(await take(queue)) == ["c", "d"]


async def test_a_queue_full_of_bytes_drops_its_head(harness: Harness) -> None:
    queue = await harness.queue(max_bytes=10)
    harness.send(queue, "12345", "12345", "1")
    assert bodies(await take(queue)) == ["12345", "1"]


@pytest.mark.parametrize(("overflow", "buried"), [("reject", 0), ("reject-dead-letter", 1)])
async def test_a_full_queue_refuses(harness: Harness, overflow: str, buried: int) -> None:
    queue = await harness.queue(max_length=1, overflow=overflow, dead_letter="$queue/dead")
    result = queue.enqueue([harness.message("a"), harness.message("b")])
    assert list(result.refused) == [1]
    assert "full" in result.refused[1]
    assert len(harness.buried) == buried
    assert bodies(await take(queue)) == ["a"]


async def test_too_large_and_too_many_in_flight_are_refused(harness: Harness) -> None:
    queue = await harness.queue(max_message_bytes=3, max_in_flight=1)
    result = queue.enqueue([harness.message("1234"), harness.message("123"), harness.message("1")])
    assert list(result.refused) == [0]
    assert bodies(await take(queue)) == ["123"]
    with pytest.raises(RefusedError, match="in flight"):
        await take(queue)


async def test_purge_leaves_what_is_leased(harness: Harness) -> None:
    queue = await harness.queue()
    harness.send(queue, *"abc")
    harness.send(queue, "d", delay=1_000)
    (delivery,) = await take(queue, 1)
    count, _ = await queue.purge()
    assert count == 3
    assert visible(queue) == (0, 1, 0)
    await queue.extend([delivery.receipt], 0)
    assert bodies(await take(queue)) == ["a"]


async def test_purge_takes_what_is_leased_if_told_to(harness: Harness) -> None:
    queue = await harness.queue(fifo=True)
    harness.send(queue, "a", "b", group="g")
    (delivery,) = await take(queue, 1)
    count, _ = await queue.purge(leased=True)
    assert count == 2
    assert visible(queue) == (0, 0, 0)
    assert queue.lease_of(delivery.receipt) == "gone"
    harness.send(queue, "c", group="g")
    assert bodies(await take(queue)) == ["c"]


async def test_a_message_that_was_moved_repeats_no_other(harness: Harness) -> None:
    queue = await harness.queue(fifo=True)
    harness.send(queue, "a", group="g", dedup_id="x")
    moved = queue.enqueue([harness.message("b", group="g", dedup_id="x", origin_id=1)])
    assert not moved.duplicates
    assert bodies(await take(queue)) == ["a", "b"]


async def test_a_receive_waits_for_a_group_to_open(harness: Harness) -> None:
    queue = await harness.queue(fifo=True)
    harness.send(queue, "a", "b", group="g")
    (first,) = await take(queue, 1)
    found: list[str] = []

    async def wait() -> None:
        found.extend(bodies(await take(queue, wait=10_000)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not found
        await queue.settle([first.receipt], Outcome.ACCEPT)
    assert found == ["b"]


async def test_peek_takes_nothing(harness: Harness) -> None:
    queue = await harness.queue()
    harness.send(queue, *"abc")
    assert [each.body for each in queue.peek(2)] == [b"a", b"b"]
    assert visible(queue) == (3, 0, 0)


async def test_a_deleted_queue_ends_its_consumers_and_waiters(
    harness: Harness, nursery: trio.Nursery
) -> None:
    queue = await harness.queue()
    reasons: list[str] = []
    queue.consume(lambda each: None, ConsumerTerms(owner="c"), reasons.append).pause()
    errors: list[NotFoundError] = []

    async def wait() -> None:
        try:
            await take(queue, wait=20_000)
        except NotFoundError as error:
            errors.append(error)

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    await harness.engine.delete_queue(queue)
    await trio.testing.wait_all_tasks_blocked()
    assert reasons == ["the queue was deleted"]
    assert len(errors) == 1
    with pytest.raises(NotFoundError):
        harness.send(queue, "a")
    assert harness.engine.find_queue("default", "q") is None
    assert harness.engine.memory == 0


async def test_an_idle_queue_goes(harness: Harness) -> None:
    queue = await harness.queue(expires=60_000)
    harness.pass_time(queue, 59_999)
    await take(queue)
    harness.pass_time(queue, 59_999)
    assert harness.engine.find_queue("default", "q") is queue
    harness.pass_time(queue, 1)
    assert harness.engine.find_queue("default", "q") is None


async def test_a_queue_that_is_touched_is_not_idle(harness: Harness) -> None:
    queue = await harness.queue(expires=60_000)
    harness.pass_time(queue, 59_999)
    queue.touch()
    harness.pass_time(queue, 59_999)
    assert harness.engine.find_queue("default", "q") is queue
    harness.pass_time(queue, 1)
    assert harness.engine.find_queue("default", "q") is None


async def test_an_auto_delete_queue_goes_with_its_last_consumer(harness: Harness) -> None:
    queue = await harness.queue(auto_delete=True)
    one, two = (
        queue.consume(lambda each: None, ConsumerTerms(owner=owner), lambda reason: None)
        for owner in "ab"
    )
    one.cancel()
    assert harness.engine.find_queue("default", "q") is queue
    two.cancel()
    assert harness.engine.find_queue("default", "q") is None


async def test_a_million_waiting_messages_do_not_slow_one_receive(harness: Harness) -> None:
    queue = await harness.queue()

    async def cost() -> float:
        best = 1.0
        for _ in range(50):
            started = time.perf_counter()
            (delivery,) = await take(queue, 1)
            await queue.settle([delivery.receipt], Outcome.ACCEPT)
            best = min(best, time.perf_counter() - started)
        return best

    harness.send(queue, *range(100))
    shallow = await cost()
    harness.send(queue, *range(200_000))
    assert await cost() < 20 * shallow
