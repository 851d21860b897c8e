"""Sends what a whole turn of the event loop has written, when the turn is over."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

__all__ = ["Flushable", "Flusher"]


class Flushable(Protocol):
    """Something with an outgoing buffer that a `Flusher` can empty."""

    def flush(self) -> bool:
        """Send what can be sent without waiting. Returns whether that may have woken a task."""

    def abort(self, reason: str) -> None:
        """Close at once; what is buffered is lost."""


class Flusher(trio.abc.Instrument):
    """Flushes every transport written to in one turn of the event loop, together.

    Writing only marks a transport. When all tasks that were ready have run, before Trio waits for
    sockets again, one non-blocking send is made for each marked transport, however many writes were
    made to it: a publisher with 50 subscribers costs 50 sends and not one task switch. So this is
    an instrument and no task, which would cost a turn of its own: for a message that comes alone,
    a third of all there is to do.

    A process makes one, runs `run` in a nursery that outlives all its servers, and passes it to
    each of them.
    """

    def __init__(self) -> None:
        self._marked: list[Flushable] = []
        self._nursery: trio.Nursery | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Flush until cancelled. Runs the tasks of `spawn` as well, and cancels them at the end."""
        if self._token is not None:
            raise RuntimeError("this flusher runs already")
        self._token = trio.lowlevel.current_trio_token()
        trio.lowlevel.add_instrument(self)
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await trio.sleep_forever()
        finally:
            trio.lowlevel.remove_instrument(self)
            self._token = self._nursery = None

    def mark(self, transport: Flushable) -> None:
        """Have `transport` flushed at the end of this turn. Mark it once per turn."""
        self._marked.append(transport)

    def spawn(self, function: Callable[[], Awaitable[None]]) -> bool:
        """Run `function` in a task of its own; False if the flusher does not run (any more)."""
        if self._nursery is None or self._nursery.cancel_scope.cancel_called:
            return False
        self._nursery.start_soon(function)
        return True

    def before_io_wait(self, timeout: float) -> None:
        """The turn is over: flush. Called by Trio."""
        if not self._marked:
            return
        woken = False
        while self._marked:
            marked, self._marked = self._marked, []
            for transport in marked:
                try:
                    if transport.flush():
                        woken = True
                except Exception as error:  # one transport's fault must not stop the rest
                    transport.abort(f"flush failed: {error!r}")
                    woken = True
        if woken and timeout > 0 and self._token is not None:
            # Trio has decided to wait, since it knew of no task that is ready. Now there is one.
            # (`Instrument.task_scheduled` would tell, and cost as much as all else here.)
            self._token.run_sync_soon(_nothing, idempotent=True)


def _nothing() -> None:
    """Wake the event loop."""
