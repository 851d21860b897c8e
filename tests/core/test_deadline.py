"""Deadlines that are moved often: when they end a body, and what they leave behind."""

import gc

import pytest
import trio
import trio.testing

from hubbub.net import deadline as module
from hubbub.server import Deadline


async def lasting(*moves: tuple[float, float]) -> float:
    """How long a body lasts that moves its deadline: at a time, so many seconds ahead."""
    begin = trio.current_time()
    with trio.move_on_after(1000), Deadline() as deadline:
        for at, seconds in moves:
            await trio.sleep_until(begin + at)
            deadline.start(seconds, "x")
        await trio.sleep(2000)
    return trio.current_time() - begin


@pytest.mark.parametrize(
    ("moves", "end"),
    [
        ([], 1000),
        ([(0, 5)], 5),
        ([(0, 5), (1, 10)], 11),
        ([(0, 10), (1, 5)], 6),
        ([(0, 10), (1, 5), (2, 20)], 22),
        ([(0, 5), (4, 5), (8, 5), (12, 5)], 17),
        ([(0, 5), (4, 50), (20, 1)], 21),
        ([(1, 0)], 1),
    ],
)
async def test_the_last_move_counts(
    moves: list[tuple[float, float]], end: float, autojump_clock: trio.testing.MockClock
) -> None:
    assert await lasting(*moves) == pytest.approx(end)


async def test_many_at_once_end_each_in_time(autojump_clock: trio.testing.MockClock) -> None:
    ended: list[int] = []

    async def one(number: int) -> None:
        with Deadline() as deadline:
            deadline.start(200 - number, "first")
            await trio.sleep(1)
            deadline.start(number, "second")
            await trio.sleep(1000)
        assert deadline.expired
        ended.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(1, 100):
            nursery.start_soon(one, number)
    assert ended == list(range(1, 100))


async def test_stopped_expired_and_left(autojump_clock: trio.testing.MockClock) -> None:
    with Deadline() as deadline:
        deadline.start(1, "x")
        deadline.stop()
        assert deadline.phase == ""
        await trio.sleep(10)
        deadline.start(1, "y")
    assert not deadline.expired
    await trio.sleep(10)
    with Deadline() as deadline:
        deadline.start(1, "z")
        deadline.expire()
        await trio.sleep(1000)
    assert deadline.expired
    assert deadline.phase == "z"
    with pytest.raises(ZeroDivisionError), Deadline():
        raise ZeroDivisionError


async def test_moving_later_wakes_nobody(autojump_clock: trio.testing.MockClock) -> None:
    looks = 0
    look = Deadline._look

    def counting(self: Deadline, now: float) -> None:
        nonlocal looks
        looks += 1
        look(self, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Deadline, "_look", counting)
        with Deadline() as deadline:
            for _ in range(1000):  # 100 seconds
                deadline.start(10, "busy")
                await trio.sleep(0.1)
                deadline.stop()
    assert looks <= 11


async def test_what_has_ended_is_swept_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALE_LIMIT", 50)
    with Deadline() as lasting_one:
        lasting_one.start(3600, "lasting")
        for _ in range(1000):
            with Deadline() as deadline:
                deadline.start(3600, "x")
                deadline.start(60, "sooner")
    gc.collect()
    assert sum(isinstance(each, Deadline) for each in gc.get_objects()) < 150
