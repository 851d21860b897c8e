"""Answers that wait until what they confirm is kept: one task for all connections of a hub.

Clients whose messages are in the same batch of the store share its commit, so one wait serves them
all. Commits are kept in the order in which they were made, and so are the answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

import trio

from .engine.contract import Commit
from .errors import HubbubError

Finish: TypeAlias = Callable[[HubbubError | None], None]
"""Called once the commit is kept, or with the error if it could not be."""


class Acknowledger:
    """Waits for commits and calls back. `log` gets what a callback raises."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._pending: deque[tuple[Commit, Finish]] = deque()
        self._parked: trio.Event | None = None

    def add(self, commit: Commit, finish: Finish) -> None:
        """Call `finish` when `commit` is kept."""
        self._pending.append((commit, finish))
        if self._parked is not None:
            self._parked.set()
            self._parked = None

    async def run(self) -> None:
        """Wait and call back until cancelled."""
        pending = self._pending
        while True:
            if not pending:
                self._parked = trio.Event()
                await self._parked.wait()
            error: HubbubError | None = None
            try:
                await pending[0][0].wait()
            except HubbubError as raised:
                error = raised
            self._finish(error)
            while pending and pending[0][0].done:
                self._finish(None)

    def _finish(self, error: HubbubError | None) -> None:
        _, finish = self._pending.popleft()
        try:
            finish(error)
        except Exception as crash:  # one client's trouble must not keep the others waiting
            self._log.error("acknowledging failed", exc_info=crash)
