"""The embedded engine's stream: its state in memory, its records kept by the journal."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from hubbub.clock import Clock
from hubbub.errors import NotFoundError
from hubbub.streams import (
    Cut,
    Extent,
    NewRecord,
    Position,
    ReadResult,
    Record,
    Reshard,
    ShardInfo,
    StreamSettings,
)

from .contract import Appended, Commit, Document, Stream
from .journal import Journal
from .pages import Pages
from .stream_state import StreamState

STREAMS = "stream"
"""The namespace of the documents that keep streams."""


class StreamRecord(msgspec.Struct, array_like=True):
    """What is kept of a stream beside its records."""

    number: int
    settings: StreamSettings
    created: int
    shards: list[ShardInfo]
    last_sequence: int


class Host(Protocol):
    """What a stream asks of the engine it lives in."""

    clock: Clock
    journal: Journal
    pages: Pages

    def arm(self, owner: "MemoryStream", when: int) -> None:
        """Call `advance` at `when`."""
        ...

    def count(self, size: int) -> None:
        """Note that records in memory grew (or, negative, shrank) by `size` bytes."""
        ...


class MemoryStream(Stream):
    """A stream of the embedded engine."""

    def __init__(
        self, host: Host, number: int, realm: str, name: str, state: StreamState, created: int
    ) -> None:
        self.number = number
        self.realm = realm
        self.name = name
        self.created = created
        self.deleted = False
        self._host = host
        self._state = state
        self._armed = False
        state.load = self._load
        host.count(state.resident_size)

    @property
    def settings(self) -> StreamSettings:
        """Its settings now."""
        return self._state.settings

    @property
    def size(self) -> int:
        """Bytes of all records."""
        return self._state.size

    def __len__(self) -> int:
        return len(self._state)

    def append(self, records: Sequence[NewRecord]) -> Appended:
        """Append records, in order."""
        self._check()
        journal, before = self._host.journal, self._state.resident_size
        appended = self._state.append(
            records,
            now=self._host.clock.now(),
            keep=lambda placed: journal.append(self.number, placed),
        )
        self._host.count(self._state.resident_size - before)
        if not self._armed or self._state.is_too_large:
            self._arm_trim(0)
        return Appended(journal.commit(), appended)

    def shards(self) -> list[ShardInfo]:
        """All shards, open and closed, by id."""
        self._check()
        return self._state.shards()

    def shard(self, shard: int) -> ShardInfo:
        """One shard, open or closed."""
        self._check()
        return self._state.shard(shard)

    @property
    def newest(self) -> int:
        """The sequence number of the record that came last; 0 if there is none any more."""
        return self._state.newest

    def oldest(self, shard: int) -> Position:
        """The position of the oldest record."""
        return self._state.oldest(shard)

    def latest(self, shard: int) -> Position:
        """The position after everything that is in the shard now."""
        return self._state.latest(shard)

    def at_sequence(self, shard: int, sequence: int) -> Position:
        """The position at a sequence number."""
        return self._state.at_sequence(shard, sequence)

    def after_sequence(self, shard: int, sequence: int) -> Position:
        """The position after a sequence number."""
        return self._state.after_sequence(shard, sequence)

    async def at_timestamp(self, shard: int, timestamp: int) -> Position:
        """The position of the first record that arrived then or later."""
        self._check()
        return await self._state.at_timestamp(shard, timestamp)

    async def read(
        self, position: Position, *, limit: int, max_bytes: int, skip_trimmed: bool = False
    ) -> ReadResult:
        """Read from a position on, every record with its message."""
        self._check()
        return await self._state.read(
            position,
            now=self._host.clock.now(),
            limit=limit,
            max_bytes=max_bytes,
            skip_trimmed=skip_trimmed,
        )

    async def _load(self, extent: Extent) -> list[Record]:
        pages = self._host.pages
        records = await pages.load(self.number, extent)
        if self.deleted:  # meanwhile: nobody waits for those who read it
            pages.forget(self.number)
        self._check()
        return records

    def watch(self, shard: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever the shard changes; returns what to call to end it."""
        self._check()
        return self._state.watch(shard, callback)

    async def split(self, shard: int, new_starting_hash_key: int) -> tuple[Reshard, Commit]:
        """Close a shard and open two in its place."""
        self._check()
        now = self._host.clock.now()
        change = self._state.split(shard, new_starting_hash_key, now=now)
        self._arm_trim(0)
        return change, self.keep()

    async def merge(self, shard: int, adjacent: int) -> tuple[Reshard, Commit]:
        """Close two adjacent shards and open one in their place."""
        self._check()
        change = self._state.merge(shard, adjacent, now=self._host.clock.now())
        self._arm_trim(0)
        return change, self.keep()

    async def configure(self, settings: StreamSettings) -> Commit:
        """Change the settings while running."""
        self._check()
        self._state.settings = settings
        self._host.arm(self, self._host.clock.now())
        return self.keep()

    def keep(self) -> Commit:
        """Hand the stream's own record to the journal."""
        journal = self._host.journal
        record = StreamRecord(
            self.number,
            self.settings,
            self.created,
            self._state.shards(),
            self._state.last_sequence,
        )
        # JSON, since MessagePack has no integers of 128 bits, and hash keys are that long.
        value = msgspec.json.encode(record)
        journal.put(Document(STREAMS, self.realm, self.name, value))
        return journal.commit()

    # time and memory

    def advance(self, now: int) -> None:
        """Drop what is past its retention."""
        if self.deleted:
            return
        before = self._state.resident_size
        dropped = self._state.trim(now=now)
        for cut in dropped.cuts:
            self._drop(cut)
        self._host.count(self._state.resident_size - before)
        if dropped.cuts or dropped.removed:
            self.keep()
        self._arm_trim(now + 1000)

    def _arm_trim(self, earliest: int) -> None:
        """Have something dropped when it is due. Later records don't bring that forward."""
        due = self._state.trim_due()
        self._armed = due is not None
        if due is not None:
            self._host.arm(self, max(due, earliest))

    def _drop(self, cut: Cut) -> None:
        self._host.journal.trim(self.number, cut.shard, cut.sequence + 1)

    @property
    def last_sequence(self) -> int:
        """The highest sequence number given so far."""
        return self._state.last_sequence

    @property
    def resident_size(self) -> int:
        """About the bytes of memory that its records take."""
        return self._state.resident_size

    def page_out(self, written: int, goal: int) -> int:
        """Forget records that are in the store, with sequence numbers up to `written`."""
        freed = self._state.page_out(goal, up_to=written)
        self._host.count(-freed)
        return freed

    def close(self) -> None:
        """The stream is deleted: wake those who watch it, so that they see it."""
        self.deleted = True
        self._host.count(-self._state.resident_size)
        self._state.wake()

    def _check(self) -> None:
        if self.deleted:
            raise NotFoundError("stream", self.name)
