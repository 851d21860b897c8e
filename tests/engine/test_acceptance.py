"""The contract of an engine, on every engine there is."""

from pathlib import Path

from hubbub import Engine, SystemClock
from hubbub.engine.embedded import EmbeddedEngine
from hubbub.engine.journal import MemoryJournal
from hubbub.engine.sqlite import SqliteJournal
from hubbub.testing import DurableEngineAcceptance, EngineAcceptance

LIMIT = 1 << 28


class TestEmbedded(DurableEngineAcceptance):
    def make(self, folder: Path) -> Engine:
        journal = SqliteJournal(folder / "data", memory_limit=LIMIT)
        return EmbeddedEngine(journal, SystemClock(), memory_limit=LIMIT)


class TestEmbeddedInMemory(EngineAcceptance):
    def make(self, folder: Path) -> Engine:
        return EmbeddedEngine(MemoryJournal(), SystemClock(), memory_limit=LIMIT)
