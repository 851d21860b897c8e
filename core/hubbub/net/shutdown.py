"""The wish to stop, as an object that servers and connections share."""

from collections.abc import Callable

import trio

__all__ = ["Shutdown"]


class Shutdown:
    """One graceful stop: requested once, with a deadline that is never moved later.

    A server stops accepting when it is requested and cancels what is left at the deadline. A
    connection that waits for its client registers a callback, so that it needs no task for it.
    """

    __slots__ = ("_callbacks", "_event", "_limited", "deadline", "requested")

    def __init__(self) -> None:
        self.requested = False
        self.deadline = float("inf")
        """The time on Trio's clock when everything left is cancelled."""
        self._event = trio.Event()
        self._callbacks: set[Callable[[], None]] = set()
        self._limited: list[trio.CancelScope] = []

    def request(self, grace: float) -> None:
        """Begin to stop, with `grace` seconds to finish. A second request can only hurry it."""
        self.deadline = min(self.deadline, trio.current_time() + grace)
        self.requested = True
        self._event.set()
        for scope in self._limited:
            scope.deadline = self.deadline
        callbacks, self._callbacks = self._callbacks, set()
        for callback in callbacks:
            callback()

    def limit(self, scope: trio.CancelScope) -> None:
        """Cancel a scope at the deadline, which a later request may hurry."""
        scope.deadline = self.deadline
        self._limited.append(scope)

    async def wait(self) -> None:
        """Wait until the stop is requested."""
        await self._event.wait()

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Have `callback` called when the stop is requested; at once if it has been already."""
        if self.requested:
            callback()
        else:
            self._callbacks.add(callback)

    def unsubscribe(self, callback: Callable[[], None]) -> None:
        """Forget `callback`. No error if it is unknown or was called."""
        self._callbacks.discard(callback)
