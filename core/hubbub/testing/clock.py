"""A wall clock that tests move by hand."""


class ManualClock:
    """Stands still until `advance`. `time` is in milliseconds since the epoch."""

    def __init__(self, time: int = 1_700_000_000_000) -> None:
        self.time = time

    def now(self) -> int:
        """Milliseconds since the Unix epoch."""
        return self.time

    def advance(self, milliseconds: int) -> None:
        """Move on."""
        self.time += milliseconds
