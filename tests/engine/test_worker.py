import sys
import threading
import time
from functools import partial

import pytest
import trio
import trio.testing

from hubbub.engine.worker import SWITCH_INTERVAL, Worker


async def test_calls_run_in_order_on_one_thread() -> None:
    worker = Worker("test worker")
    threads: list[str] = []

    def note(number: int) -> int:
        threads.append(threading.current_thread().name)
        return number

    jobs = [worker.submit(partial(note, number)) for number in range(100)]
    with trio.fail_after(30):
        await jobs[-1].finished.wait()
    assert [job.result() for job in jobs] == list(range(100))
    assert threads == ["test worker"] * 100
    worker.stop()


async def test_what_a_call_raises_is_raised_where_its_result_is_asked_for() -> None:
    worker = Worker("test worker")
    failing, fine = worker.submit(lambda: 1 // 0), worker.submit(lambda: 1 // 1)
    with trio.fail_after(30):
        await fine.finished.wait()
    with pytest.raises(ZeroDivisionError):
        failing.result()
    assert fine.result() == 1
    worker.stop()


async def test_a_call_is_waited_for() -> None:
    worker = Worker("test worker")
    with trio.fail_after(30):
        assert await worker.call(lambda: 1 // 1) == 1
        with pytest.raises(ZeroDivisionError):
            await worker.call(lambda: 1 // 0)
    worker.stop()


async def test_a_call_that_nobody_waits_for_any_more_is_not_made() -> None:
    worker = Worker("test worker")
    going_on = threading.Event()
    made: list[str] = []
    worker.submit(lambda: going_on.wait(30))
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.call, lambda: made.append("cancelled"))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        going_on.set()
        await worker.call(lambda: made.append("wanted"))
    assert made == ["wanted"]
    worker.stop()


def test_a_call_that_outlives_the_event_loop_hurts_nobody() -> None:
    going_on = threading.Event()

    async def main() -> None:
        worker = Worker("late worker")
        worker.submit(lambda: going_on.wait(30))
        worker.stop()

    trio.run(main)
    [thread] = [each for each in threading.enumerate() if each.name == "late worker"]
    going_on.set()
    thread.join(30)
    assert not thread.is_alive()


async def test_a_busy_event_loop_does_not_starve_the_worker() -> None:
    before = sys.getswitchinterval()
    worker = Worker("test worker")
    assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL)

    def often_without_the_gil() -> None:
        for _ in range(100):
            time.sleep(0.001)

    job = worker.submit(often_without_the_gil)
    with trio.fail_after(5):
        while not job.finished.is_set():
            until = time.perf_counter() + 0.0003
            while time.perf_counter() < until:
                pass
            await trio.lowlevel.checkpoint()
    worker.stop()
    assert sys.getswitchinterval() == before
