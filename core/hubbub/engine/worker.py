"""One thread that runs blocking calls in order, for a Trio task that waits for each."""

import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

import trio

Result = TypeVar("Result")

SWITCH_INTERVAL = 1e-4
"""Seconds a thread waits for the GIL before it demands it.

With CPython's 5 ms a busy event loop starves the worker for many seconds: the loop lets go of the
GIL for a microsecond at every poll and has it back before the waiting thread is awake, and each
time the thread's 5 ms begin anew. Measured with 0.3 ms of work between polls: 17 s for a batch of
1,000 messages with 5 ms, 0.016 s with 0.1 ms.
"""


class Job(Generic[Result]):
    """A call on its way through a worker. `finished` is set on the Trio thread when it is over."""

    def __init__(self, call: Callable[[], Result]) -> None:
        self.finished = trio.Event()
        self.wanted = True
        """Whether it is still to be made when its turn comes."""
        self._call = call
        self._results: list[Result] = []
        self._error: Exception | None = None

    def run(self) -> None:
        """Make the call, if it is wanted."""
        if not self.wanted:
            return
        try:
            self._results.append(self._call())
        except Exception as error:  # raised where the result is asked for
            self._error = error

    def result(self) -> Result:
        """What a finished call returned, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._results[0]


class Worker:
    """A thread of its own is a tenth of the cost of `trio.to_thread` a call, and keeps the order.

    A daemon thread: one that hangs on a broken disk does not keep the process from ending. While
    there is a worker, `sys.getswitchinterval` is at most `SWITCH_INTERVAL`, for the whole process.
    """

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Job[object] | None] = queue.SimpleQueue()
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(min(self._interval, SWITCH_INTERVAL))
        self._trio = trio.lowlevel.current_trio_token()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], Result]) -> Job[Result]:
        """Run a call after all submitted before."""
        job = Job(call)
        self._jobs.put(job)  # type: ignore[arg-type]
        return job

    async def call(self, call: Callable[[], Result]) -> Result:
        """Run a call after all submitted before, and return what it returns, or raise its error.

        Cancelled before its turn, it is never made; during it, what comes of it is dropped.
        """
        job = self.submit(call)
        try:
            await job.finished.wait()
        except trio.Cancelled:
            job.wanted = False
            raise
        return job.result()

    def stop(self) -> None:
        """End the thread when it has run what was submitted. Does not wait."""
        self._jobs.put(None)
        sys.setswitchinterval(self._interval)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
            with suppress(trio.RunFinishedError):
                self._trio.run_sync_soon(job.finished.set)
            del job  # what it holds is large; don't keep it while idle
