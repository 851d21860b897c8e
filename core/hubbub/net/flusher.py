"""One task that sends what a whole turn of the event loop has written."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

__all__ = ["Flushable", "Flusher"]


class Flushable(Protocol):
    """Something with an outgoing buffer that a `Flusher` can empty."""

    def flush(self) -> None:
        """Send what can be sent without waiting."""

    def abort(self, reason: str) -> None:
        """Close at once; what is buffered is lost."""


class Flusher:
    """Flushes every transport written to in one turn of the event loop, together.

    Writing only marks a transport. The flusher's task runs in the next batch of tasks Trio
    schedules and makes one non-blocking send for each marked transport, however many writes were
    made to it: a publisher with 50 subscribers costs one task switch and 50 sends, not 50 tasks.

    A process makes one, runs `run` in a nursery that outlives all its servers, and passes it to
    each of them.
    """

    __slots__ = ("_marked", "_nursery", "_parked", "_task")

    def __init__(self) -> None:
        self._marked: list[Flushable] = []
        self._task: trio.lowlevel.Task | None = None
        self._nursery: trio.Nursery | None = None
        self._parked = False

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Flush until cancelled. Runs the tasks of `spawn` as well, and cancels them at the end."""
        if self._task is not None:
            raise RuntimeError("this flusher runs already")
        self._task = trio.lowlevel.current_task()
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                while True:
                    if not self._marked:
                        self._parked = True
                        await trio.lowlevel.wait_task_rescheduled(self._unpark)
                    marked, self._marked = self._marked, []
                    for transport in marked:
                        try:
                            transport.flush()
                        except Exception as error:  # one transport's fault must not stop the rest
                            transport.abort(f"flush failed: {error!r}")
                    if self._marked:  # a flush that wrote to another transport: its turn is next
                        await trio.lowlevel.checkpoint()
        finally:
            self._task = self._nursery = None

    def mark(self, transport: Flushable) -> None:
        """Have `transport` flushed at the end of this turn. Mark it once per turn."""
        self._marked.append(transport)
        if self._parked:
            self._parked = False
            assert self._task is not None
            trio.lowlevel.reschedule(self._task)

    def spawn(self, function: Callable[[], Awaitable[None]]) -> bool:
        """Run `function` in a task of its own; False if the flusher does not run (any more)."""
        if self._nursery is None or self._nursery.cancel_scope.cancel_called:
            return False
        self._nursery.start_soon(function)
        return True

    def _unpark(self, _: object) -> trio.lowlevel.Abort:
        self._parked = False
        return trio.lowlevel.Abort.SUCCEEDED
