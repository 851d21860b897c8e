"""The embedded engine: state in memory, kept by the journal, driven by one ticker."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from heapq import heappop, heappush

import msgspec
import trio

from hubbub.clock import Clock
from hubbub.errors import ExistsError, UnavailableError
from hubbub.message import Message
from hubbub.streams import StreamSettings

from .contract import (
    Commit,
    Document,
    Engine,
    EngineStats,
    Queue,
    QueueSettings,
    Receipt,
    Stream,
)
from .journal import Journal
from .pages import Pages
from .queues import MemoryQueue
from .stream_state import StreamState
from .streams import STREAMS, MemoryStream, StreamRecord

_QUEUES = "queue"
_NEVER = 1 << 62
_LONGEST_NAP = 5.0
"""Seconds; the ticker looks at the wall clock at least so often, for somebody may set it."""
_PAGES_SHARE = 8
"""The part of the memory limit that segments of streams may take that were read back, as 1/n."""
_READY_DEADLINE = 30.0
"""Seconds that a publisher is held back at most before it is told that memory is full."""


class _QueueRecord(msgspec.Struct, array_like=True):
    """What is kept of a queue beside its messages."""

    number: int
    settings: QueueSettings
    created: int
    modified: int


class EmbeddedEngine(Engine):
    """Everything in this process, durable through `journal`.

    `memory_limit`: bytes of messages in memory, over which those that wait longest for their turn
    are paged out to the store; at twice as much, publishers wait.
    """

    def __init__(self, journal: Journal, clock: Clock, *, memory_limit: int) -> None:
        self.journal = journal
        self.clock = clock
        self.memory = 0
        self._limit = memory_limit
        self.pages = Pages(journal, memory_limit // _PAGES_SHARE, self.count)
        self._queues: dict[tuple[str, str], MemoryQueue] = {}
        self._numbered: dict[int, MemoryQueue] = {}
        self._streams: dict[tuple[str, str], MemoryStream] = {}
        self._advancing: dict[int, MemoryQueue | MemoryStream] = {}
        """All that may ask for an alarm, by number."""
        self._alarms: list[tuple[int, int]] = []
        self._alarm_of: dict[int, int] = {}
        self._nap_until = _NEVER
        self._wake = trio.Event()
        self._begun = trio.Event()
        self._begun.set()
        self._full = trio.Event()
        self._room = trio.Event()
        self._last_id = 0
        self._last_token = 0
        self.retired = lambda queue: None
        self.lacks_dead_letter_queue = lambda queue: False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the store, serve inside the context, then flush and close."""
        async with self.journal.running():
            await self._load()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tick)
                if self.journal.keeps:
                    nursery.start_soon(self._page_out)
                try:
                    yield
                finally:
                    nursery.cancel_scope.cancel()

    async def _load(self) -> None:
        # Ids and tokens go on from the clock, so that those given out shortly before a crash and
        # never written are not given again.
        now = self.clock.now()
        self._last_id = max(self.journal.max_message_id, now * 1000)
        self._last_token = max(self.journal.max_token, now * 1000)
        for document in self.journal.documents(_QUEUES):
            record = msgspec.msgpack.decode(document.value, type=_QueueRecord)
            queue = self._add(record.number, document.realm, document.key, record.settings)
            queue.created, queue.modified = record.created, record.modified
        for number, entry in self.journal.entries():
            if (home := self._numbered.get(number)) is not None:
                home.restore(entry, now)
        for number, key, message, until in self.journal.dedups():
            if (home := self._numbered.get(number)) is not None and until > now:
                home.remember(key, message, until)
        for document in self.journal.documents(STREAMS):
            await self._restore_stream(document)
        for owner in self._advancing.values():
            self.arm(owner, now)

    def _add(self, number: int, realm: str, name: str, settings: QueueSettings) -> MemoryQueue:
        queue = MemoryQueue(self, number, realm, name, settings)
        self._queues[realm, name] = self._numbered[number] = self._advancing[number] = queue
        return queue

    async def _restore_stream(self, document: Document) -> None:
        record = msgspec.json.decode(document.value, type=StreamRecord)
        state = await StreamState.restore(
            record.settings,
            record.shards,
            self.journal.extents(record.number),
            last_sequence=record.last_sequence,
            load=partial(self.pages.load, record.number),
        )
        # The numbers that a crash may have lost are skipped; that must be kept before any is given.
        self._add_stream(record.number, document.realm, document.key, state, record.created).keep()

    def _add_stream(
        self, number: int, realm: str, name: str, state: StreamState, created: int
    ) -> MemoryStream:
        stream = MemoryStream(self, number, realm, name, state, created)
        self._streams[realm, name] = self._advancing[number] = stream
        return stream

    # identities and commits

    def next_id(self) -> int:
        """Return a message id: unique in this store for ever, rising."""
        self._last_id += 1
        return self._last_id

    def next_ids(self, count: int) -> range:
        """Return message ids, as `next_id` would one by one."""
        first = self._last_id + 1
        self._last_id += count
        return range(first, first + count)

    def next_tokens(self, count: int) -> range:
        """Return fencing tokens, each higher than any before."""
        first = self._last_token + 1
        self._last_token += count
        return range(first, first + count)

    def commit(self) -> Commit:
        """Return the commit of everything handed over so far."""
        return self.journal.commit()

    async def ready(self) -> None:
        """Return when the journal and the memory can take more."""
        if self.memory > 2 * self._limit:
            with trio.move_on_after(_READY_DEADLINE) as scope:
                while self.memory > 2 * self._limit:
                    if self._room.is_set():  # all who wait share one
                        self._room = trio.Event()
                    await self._room.wait()
            if scope.cancelled_caught:
                raise UnavailableError(
                    f"messages that wait take {self.memory} bytes, twice hub.memory_limit"
                )
        await self.journal.ready()

    def stats(self) -> EngineStats:
        """Return what it holds now."""
        messages = sum(queue.depth for queue in self._numbered.values())
        return EngineStats(messages, self.memory, self.journal.backlog)

    # queues

    async def create_queue(self, realm: str, name: str, settings: QueueSettings) -> Queue:
        """Create a queue."""
        if (realm, name) in self._queues:
            raise ExistsError("queue", name)
        return self.ensure_queue(realm, name, settings)

    def ensure_queue(self, realm: str, name: str, settings: QueueSettings) -> Queue:
        """Return the queue of this name, created with these settings if there is none."""
        if (found := self._queues.get((realm, name))) is not None:
            return found
        queue = self._add(self.next_id(), realm, name, settings)
        self._keep(queue)
        if settings.expires is not None:
            self.arm(queue, queue.created + settings.expires)
        return queue

    def configured(self, queue: MemoryQueue) -> None:
        """Keep the new settings of a queue."""
        self._keep(queue)

    def _keep(self, queue: MemoryQueue) -> None:
        if not queue.settings.durable:
            return
        record = _QueueRecord(queue.number, queue.settings, queue.created, queue.modified)
        value = msgspec.msgpack.encode(record)
        self.journal.put(Document(_QUEUES, queue.realm, queue.name, value))

    def find_queue(self, realm: str, name: str) -> Queue | None:
        """Return the queue of this name."""
        return self._queues.get((realm, name))

    def queue_of(self, receipt: Receipt) -> Queue | None:
        """Return the queue that gave a receipt."""
        return self._numbered.get(receipt.queue)

    def queues(self, realm: str, prefix: str = "") -> Iterable[Queue]:
        """Return all queues of a realm whose names start with `prefix`, in order of name."""
        return [
            queue
            for (where, name), queue in sorted(self._queues.items())
            if where == realm and name.startswith(prefix)
        ]

    def all_queues(self) -> Iterable[Queue]:
        """Return all queues of all realms."""
        return list(self._numbered.values())

    async def delete_queue(self, queue: Queue) -> Commit:
        """Delete a queue with all it holds; its consumers are cancelled."""
        if (found := self._numbered.get(queue.number)) is not None:
            self.retire(found)
        return self.journal.commit()

    def retire(self, queue: MemoryQueue) -> None:
        """Delete a queue that nobody uses any more."""
        if queue.deleted:
            return
        del self._queues[queue.realm, queue.name]
        del self._numbered[queue.number], self._advancing[queue.number]
        self._alarm_of.pop(queue.number, None)
        queue.close("the queue was deleted")
        if queue.settings.durable:
            self.journal.drop_queue(queue.number)
            self.journal.drop(_QUEUES, queue.realm, queue.name)
        self.retired(queue)

    def bury(self, queue: MemoryQueue, message: Message, receives: int, reason: str) -> None:
        """Hand a message that the queue gives up to its dead-letter address."""
        self.dead_letter(queue, message, receives, reason)

    def keeps(self, queue: MemoryQueue) -> bool:
        """Whether what was received too often stays, as the dead-letter queue is missing."""
        return queue.settings.dead_letter_rests and self.lacks_dead_letter_queue(queue)

    def failed(self, error: Exception) -> None:
        """Report that a consumer's function raised."""
        self.report(error)

    # streams

    async def create_stream(
        self, realm: str, name: str, settings: StreamSettings, shards: int
    ) -> Stream:
        """Create a stream with `shards` open shards."""
        if (realm, name) in self._streams:
            raise ExistsError("stream", name)
        now = self.clock.now()
        number = self.next_id()
        state = StreamState(settings, shards=shards, now=now)
        stream = self._add_stream(number, realm, name, state, now)
        stream.keep()
        return stream

    def find_stream(self, realm: str, name: str) -> Stream | None:
        """Return the stream of this name."""
        return self._streams.get((realm, name))

    def streams(self, realm: str, prefix: str = "") -> Iterable[Stream]:
        """Return all streams of a realm whose names start with `prefix`, in order of name."""
        return [
            stream
            for (where, name), stream in sorted(self._streams.items())
            if where == realm and name.startswith(prefix)
        ]

    async def delete_stream(self, stream: Stream) -> Commit:
        """Delete a stream with all it holds; its watchers are woken."""
        found = self._streams.get((stream.realm, stream.name))
        if found is stream:
            del self._streams[stream.realm, stream.name], self._advancing[stream.number]
            self._alarm_of.pop(stream.number, None)
            found.close()
            self.pages.forget(stream.number)
            self.journal.drop_stream(stream.number)
            self.journal.drop(STREAMS, stream.realm, stream.name)
        return self.journal.commit()

    # documents

    def put(self, document: Document) -> Commit:
        """Keep a document, replacing the one of the same namespace, realm and key."""
        self.journal.put(document)
        return self.journal.commit()

    def drop(self, namespace: str, realm: str, key: str) -> Commit:
        """Forget a document; no error where there is none."""
        self.journal.drop(namespace, realm, key)
        return self.journal.commit()

    async def documents(self, namespace: str) -> AsyncIterator[Document]:
        """All documents of a namespace, by realm and key."""
        for document in self.journal.documents(namespace):
            yield document

    # time and memory

    def arm(self, owner: MemoryQueue | MemoryStream, when: int) -> None:
        """Call `owner.advance` at `when`, or earlier if it asked for that before."""
        if when >= self._alarm_of.get(owner.number, _NEVER):
            return
        self._alarm_of[owner.number] = when
        heappush(self._alarms, (when, owner.number))
        if when < self._nap_until:
            self._wake.set()

    @property
    def holding(self) -> bool:
        """Whether no time passes yet."""
        return not self._begun.is_set()

    def hold(self) -> None:
        """Let no time pass once it runs, until `begin`."""
        self._begun = trio.Event()

    def begin(self) -> None:
        """Let time pass after `hold`."""
        self._begun.set()

    async def _tick(self) -> None:
        await self._begun.wait()
        alarms = self._alarms
        while True:
            now = self.clock.now()
            while alarms and alarms[0][0] <= now:
                when, number = heappop(alarms)
                if self._alarm_of.get(number) == when:
                    del self._alarm_of[number]
                    self._advancing[number].advance(now)
            self._wake = trio.Event()
            self._nap_until = alarms[0][0] if alarms else _NEVER
            with trio.move_on_after(min(_LONGEST_NAP, max(0, self._nap_until - now) / 1000)):
                await self._wake.wait()
            self._nap_until = 0

    def count(self, size: int) -> None:
        """Note that messages and records in memory grew (or, negative, shrank) by `size` bytes."""
        self.memory += size
        if size > 0:
            if self.memory > self._limit:
                self._full.set()
        elif self.memory <= 2 * self._limit:
            self._room.set()

    async def _page_out(self) -> None:
        """Keep what is in memory below the limit, as far as the store has it."""
        while True:
            await self._full.wait()
            written = self._last_id
            sequences = {stream: stream.last_sequence for stream in self._streams.values()}
            try:
                await self.journal.commit().wait()
            except UnavailableError:
                await trio.sleep(1.0)  # the journal reports it; nothing can go out meanwhile
                continue
            goal = self.memory - self._limit * 3 // 4
            for stream, sequence in sequences.items():
                if goal > 0 and not stream.deleted:
                    goal -= stream.page_out(sequence, goal)
            for queue in sorted(self._numbered.values(), key=lambda each: -each.depth):
                if goal <= 0:
                    break
                goal -= queue.page_out(written, goal)
                await trio.lowlevel.checkpoint()
            if self.memory <= self._limit:
                self._full = trio.Event()
            # What could not go out (not written yet, not durable, or leased) is looked at again.
            await trio.sleep(0.1 if goal <= 0 else 1.0)
