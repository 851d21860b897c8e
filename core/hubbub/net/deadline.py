"""Deadlines of connections: cheap to move, for they are moved with every packet."""

import heapq
from types import TracebackType
from typing import Self

import trio

__all__ = ["Deadline"]

NEVER = float("inf")
STALE_LIMIT = 1024
"""Entries of deadlines that have ended, from which on they are swept out."""


class Deadline:
    """One timer for the life of a connection, moved from phase to phase instead of made anew.

    A cancel scope for each wait costs several microseconds, and so does moving the deadline of one;
    moving this one costs less than one. Use it as a context manager around the connection's loop;
    afterwards `expired` tells whether the timer ended it, and `phase` what it waited for.
    """

    __slots__ = ("_alarm", "_alarms", "_due", "_scope", "expired", "phase")

    def __init__(self) -> None:
        self.phase = ""
        self.expired = False
        """Whether the body was ended by the timer, or by `expire`."""
        self._due = NEVER
        self._alarm = NEVER  # when it is looked at next; not after it is due
        self._alarms = _alarms()
        self._scope = trio.CancelScope()

    def start(self, seconds: float, phase: str) -> None:
        """Cancel the body in `seconds` from now, unless moved again; `phase` says what it is."""
        self.phase = phase
        self._due = due = trio.current_time() + seconds
        if due < self._alarm:
            self._alarms.set(self, due)

    def stop(self) -> None:
        """Let the body take as long as it likes."""
        self.phase = ""
        self._due = NEVER

    def expire(self) -> None:
        """Cancel the body now, as if the time were over."""
        self._scope.cancel()

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        self._alarms.forget(self)
        suppressed = self._scope.__exit__(kind, error, traceback)
        self.expired = self._scope.cancelled_caught
        return suppressed

    def _look(self, now: float) -> None:
        """End the body if it is late, else set the next alarm."""
        self._alarm = NEVER
        if self._due <= now:
            self._scope.cancel()
        elif self._due < NEVER:
            self._alarms.set(self, self._due)


class _Alarms:
    """Looks at the deadlines of one Trio run when they might be due.

    A deadline that is moved to a later time leaves its alarm where it is, and is given the next one
    when that has gone off: it costs nothing to move it, and one alarm in a while to keep it.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Deadline]] = []
        self._number = 0  # of the entry, so that deadlines are never compared
        self._stale = 0
        self._sleep = trio.CancelScope()

    def set(self, deadline: Deadline, when: float) -> None:
        if deadline._alarm < NEVER:
            self._stale += 1
        deadline._alarm = when
        self._number += 1
        heapq.heappush(self._heap, (when, self._number, deadline))
        self._sleep.deadline = min(self._sleep.deadline, when)

    def forget(self, deadline: Deadline) -> None:
        """Note that a deadline has ended."""
        if deadline._alarm < NEVER:
            deadline._due = deadline._alarm = NEVER
            self._stale += 1
            if self._stale > STALE_LIMIT and 2 * self._stale > len(self._heap):
                self._heap = [entry for entry in self._heap if entry[2]._alarm == entry[0]]
                heapq.heapify(self._heap)
                self._stale = 0

    async def run(self) -> None:
        while True:
            with self._sleep:
                await trio.sleep_forever()
            now = trio.current_time()
            heap = self._heap
            while heap and heap[0][0] <= now:
                when, _, deadline = heapq.heappop(heap)
                if deadline._alarm == when:
                    deadline._look(now)
                else:
                    self._stale -= 1
            self._sleep = trio.CancelScope(deadline=heap[0][0] if heap else NEVER)


_current: trio.lowlevel.RunVar[_Alarms] = trio.lowlevel.RunVar("hubbub alarms")


def _alarms() -> _Alarms:
    """Return those of this Trio run; the first to ask starts them."""
    try:
        return _current.get()
    except LookupError:
        alarms = _Alarms()
        _current.set(alarms)
        trio.lowlevel.spawn_system_task(alarms.run)
        return alarms
