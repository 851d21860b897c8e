"""What FIFO topics have seen in the last five minutes."""

from collections import deque

import msgspec

from hubbub import Clock
from hubbub_sns.records import Deduplication
from hubbub_sns.store import Store

NAMESPACE = "sns.deduplication"
WINDOW = 300_000
"""Milliseconds for which a deduplication id is remembered."""


class Deduplicator:
    """Remembers deduplication ids of FIFO topics, over restarts too."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._seen: dict[tuple[str, str], Deduplication] = {}
        self._expiring: deque[Deduplication] = deque()

    async def load(self) -> None:
        """Take back what was kept."""
        found = [
            msgspec.msgpack.decode(document.value, type=Deduplication)
            async for document in self._store.session().documents(NAMESPACE)
        ]
        for entry in sorted(found, key=lambda each: each.until):
            self._add(entry)

    def _add(self, entry: Deduplication) -> None:
        self._seen[entry.topic, entry.key] = entry
        self._expiring.append(entry)

    def find(self, topic: str, key: str) -> int | None:
        """Return the id of the message that had this key, if it was not long ago."""
        entry = self._seen.get((topic, key))
        return None if entry is None or entry.until <= self._clock.now() else entry.message

    def remember(self, topic: str, key: str, message: int) -> None:
        """Note that a message was published; kept when the session's `commit()` is."""
        now = self._clock.now()
        self._forget_old(now)
        entry = Deduplication(topic, key, message, now + WINDOW)
        self._add(entry)
        self._store.session().put_document(
            NAMESPACE, f"{topic}/{key}", msgspec.msgpack.encode(entry)
        )

    def forget(self, topic: str) -> None:
        """Forget what a topic has seen, when it is deleted."""
        for key in [each for each in self._seen if each[0] == topic]:
            del self._seen[key]
            self._store.session().drop_document(NAMESPACE, "/".join(key))

    def _forget_old(self, now: int) -> None:
        while self._expiring and self._expiring[0].until <= now:
            entry = self._expiring.popleft()
            if self._seen.get((entry.topic, entry.key)) is entry:
                del self._seen[entry.topic, entry.key]
                self._store.session().drop_document(NAMESPACE, f"{entry.topic}/{entry.key}")
