"""Work that a plugin has started and need not wait for: one nursery for all of a hub."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from .errors import HubbubError


class Background:
    """Runs what it is given, until the hub has stopped. `log` gets what fails."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._nursery: trio.Nursery | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run inside the context; what still runs at its end is cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                yield
                self._nursery.cancel_scope.cancel()
        finally:
            self._nursery = None

    def spawn(self, run: Callable[[], Awaitable[object]]) -> None:
        """Run a function in a task of its own; not at all when the hub has stopped.

        What it raises is logged, and harms nobody else.
        """
        if self._nursery is not None:
            self._nursery.start_soon(self._guarded, run)

    async def _guarded(self, run: Callable[[], Awaitable[object]]) -> None:
        try:
            await run()
        except HubbubError as error:
            self._log.info("background: not done", reason=str(error))
        except Exception:
            self._log.exception("background: a task failed")
