"""The commit of one batch of changes: those who owe a confirmation wait for it together."""

from collections.abc import Callable

import trio

from hubbub.errors import UnavailableError


class Round:
    """The commit of one batch.

    `arrived` is told how many wait for it whenever one more does, until writing has begun.
    """

    __slots__ = ("_arrived", "_event", "_reason", "done", "waiters")

    def __init__(self, arrived: Callable[[int], None]) -> None:
        self._arrived: Callable[[int], None] | None = arrived
        self._event: trio.Event | None = None
        self._reason: str | None = None
        self.done = False
        self.waiters = 0

    async def wait(self) -> None:
        """Return when the batch is on the disk; at once and without a checkpoint if it is.

        Raises:
            UnavailableError: it could not be written (yet).
        """
        if not self.done and self._reason is None:
            self.waiters += 1
            if self._arrived is not None:
                self._arrived(self.waiters)
            if self._event is None:
                self._event = trio.Event()
            await self._event.wait()
        if self._reason is not None:
            raise UnavailableError(self._reason)

    def start(self) -> None:
        """Writing has begun: who waits from now on hurries nobody any more."""
        self._arrived = None

    def keep(self) -> None:
        """Tell all who wait that it is kept, unless they were told otherwise."""
        if self._reason is None:
            self.done = True
            self._tell()

    def fail(self, reason: str) -> None:
        """Tell all who wait that it could not be written."""
        if not self.done and self._reason is None:
            self._reason = reason
            self._tell()

    def _tell(self) -> None:
        self._arrived = None
        if self._event is not None:
            self._event.set()
