"""What plugin authors, and hubbub itself, test with."""

from .clock import ManualClock
from .process import HubProcess

__all__ = ["HubProcess", "ManualClock"]
