"""What plugin authors, and hubbub itself, test with."""

from .clock import ManualClock
from .engine import DurableEngineAcceptance, EngineAcceptance
from .hub import ServedHub, serve_in_thread
from .process import HubProcess

__all__ = [
    "DurableEngineAcceptance",
    "EngineAcceptance",
    "HubProcess",
    "ManualClock",
    "ServedHub",
    "serve_in_thread",
]
