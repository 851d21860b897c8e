"""The one wall clock: for timestamps and deadlines that are kept. Waits use Trio's own clock."""

import time
from typing import Protocol


class Clock(Protocol):
    """Anything that tells the time; tests pass one they can move."""

    def now(self) -> int:
        """Milliseconds since the Unix epoch."""
        ...


class SystemClock:
    """The machine's wall clock."""

    def now(self) -> int:
        """Milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000
