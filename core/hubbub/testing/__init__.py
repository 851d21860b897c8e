"""What plugin authors, and hubbub itself, test with."""

from .clock import ManualClock

__all__ = ["ManualClock"]
