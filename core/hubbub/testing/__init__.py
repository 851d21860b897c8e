"""What plugin authors, and hubbub itself, test with."""

from .clock import ManualClock
from .hub import ServedHub, serve_in_thread
from .process import HubProcess

__all__ = ["HubProcess", "ManualClock", "ServedHub", "serve_in_thread"]
