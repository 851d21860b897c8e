"""The journal: what an engine keeps in memory goes through here to the disk, batch by batch.

Changes are handed over synchronously and gathered in a `Batch`. A thread writes one batch in one
transaction; whatever gathers meanwhile is the next (group commit). A batch starts at once when
somebody waits for it, else after a moment in which much of it cancels itself out: a message that is
settled before its batch is written is never written.
"""
# ruff: noqa: D102 — `Journal` documents what its implementations do

import math
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from hubbub.clock import Clock, SystemClock
from hubbub.errors import UnavailableError
from hubbub.message import Message
from hubbub.streams import RecordIndex

from .batch import Batch, StoredRecord
from .contract import Commit, Document
from .entry import Entry
from .lock import FolderLock
from .store import Durability, Reader, Store
from .worker import Job, Worker

FILE_NAME = "hubbub.db"

GATHER = 0.001
"""Seconds that a batch waits for those who waited for the last one."""
LINGER = 0.005
"""Seconds that changes gather while nobody waits for them."""
TOUCH_LINGER = 1.0
"""Seconds that changed lease fields alone may wait."""
FIRST_RETRY, LAST_RETRY = 0.1, 5.0
"""Seconds between attempts to write after a failure: doubled from the first to the last."""
STALL = 30.0
"""Seconds after which a transaction that does not end counts as failed for those who wait."""
OPEN_TIMEOUT = 600.0
"""Seconds to open the store, a migration of a large one included."""
CLOSE_TIMEOUT = 10.0
"""Seconds to close the files after everything is written."""
TIDY_INTERVAL = 60.0
MARGIN = 1 << 20
"""How far ahead of the numbers in use the marks in the store are."""


class Journal(ABC):
    """Keeps queue entries, stream records and documents over restarts.

    Loading calls belong between entering `running` and the first change. All calls are made on the
    Trio thread; those that hand over a change return at once and never wait.

    * `keeps`: whether anything is stored at all, so that bodies can be paged out and fetched.
    * `available`: False while writing fails; `insert` and `append` then raise `UnavailableError`,
      other changes are taken and written later.
    * `max_message_id`, `max_token`: no message id and no fencing token that the journal ever saw
      is higher; a restart goes on above them.
    """

    keeps: bool
    available: bool
    max_message_id: int
    max_token: int

    @abstractmethod
    def running(self) -> AbstractAsyncContextManager[None]:
        """Open the store; on leaving write everything, close it and let go of it.

        Raises:
            UnavailableError: it is in use, damaged, newer than this hubbub or can't be opened.
        """

    @abstractmethod
    def documents(self, namespace: str) -> Iterator[Document]:
        """All documents of a namespace, by realm and key."""

    @abstractmethod
    def entries(self) -> Iterator[tuple[int, Entry]]:
        """All entries with their queue's number, by message id.

        `message` is None beyond the memory limit; `state` is always READY: the queue decides it.
        """

    @abstractmethod
    def dedups(self) -> Iterator[tuple[int, str, int, int]]:
        """Deduplication memory: queue, key, message id, until (ms since the epoch).

        Ended ones may be among them; of two for one key the later counts.
        """

    @abstractmethod
    def record_index(self, stream: int) -> Iterator[RecordIndex]:
        """All records of a stream, shard by shard, each in order of sequence.

        `message` is None beyond the memory limit.
        """

    @abstractmethod
    def insert(self, queue: int, entry: Entry) -> None:
        """A durable message enters a queue: once per queue and message at a time.

        Raises:
            UnavailableError: writing fails at present; nothing was taken.
        """

    @abstractmethod
    def remove(self, queue: int, entry: Entry) -> None:
        """An entry that was inserted left its queue."""

    @abstractmethod
    def touch(self, queue: int, entry: Entry) -> None:
        """The lease fields of an inserted entry changed: written soon, nobody can wait for it."""

    @abstractmethod
    def remember(self, queue: int, key: str, message: int, until: int) -> None:
        """Remember a deduplication id until a time in ms since the epoch."""

    @abstractmethod
    def drop_queue(self, queue: int) -> None:
        """A queue is gone with its entries and its deduplication memory."""

    @abstractmethod
    def put(self, document: Document) -> None:
        """Keep a document, replacing the one of the same namespace, realm and key."""

    @abstractmethod
    def drop(self, namespace: str, realm: str, key: str) -> None:
        """Forget a document."""

    @abstractmethod
    def append(self, stream: int, shard: int, record: StoredRecord) -> None:
        """A record enters a shard, with a higher sequence than all before.

        Raises:
            UnavailableError: writing fails at present; nothing was taken.
        """

    @abstractmethod
    def trim(self, stream: int, shard: int, before: int) -> None:
        """Drop the records of a shard with a sequence below `before`."""

    @abstractmethod
    def drop_stream(self, stream: int) -> None:
        """A stream is gone with its records."""

    @abstractmethod
    def note_id(self, message: int) -> None:
        """A message id lives on inside a document: `max_message_id` is to stay above it."""

    @abstractmethod
    def commit(self) -> Commit:
        """The commit of everything handed over so far, but for `touch`."""

    @property
    @abstractmethod
    def backlog(self) -> int:
        """Bytes handed over and not written yet."""

    @abstractmethod
    async def ready(self) -> None:
        """Return when the backlog is within its limit.

        Raises:
            UnavailableError: it did not get there in time, or writing fails at present.
        """

    @abstractmethod
    def fetch(self, ids: Sequence[int]) -> dict[int, Message]:
        """Read messages back by id, pending ones included; those not kept are missing.

        Raises:
            UnavailableError: the store can't be read.
        """

    @abstractmethod
    def fetch_records(self, stream: int, shard: int, first: int, last: int) -> list[StoredRecord]:
        """Read records of a shard from sequence `first` to `last`, both included.

        Raises:
            UnavailableError: the store can't be read.
        """


class Kept:
    """The commit of what is on the disk already, or needs no disk."""

    done = True

    async def wait(self) -> None:
        """Return at once, without a checkpoint."""


class MemoryJournal(Journal):
    """Keeps nothing: `durability = "memory"`."""

    keeps = False
    available = True
    max_message_id = 0
    max_token = 0

    def __init__(self) -> None:
        self._kept = Kept()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        yield

    def documents(self, namespace: str) -> Iterator[Document]:
        return iter(())

    def entries(self) -> Iterator[tuple[int, Entry]]:
        return iter(())

    def dedups(self) -> Iterator[tuple[int, str, int, int]]:
        return iter(())

    def record_index(self, stream: int) -> Iterator[RecordIndex]:
        return iter(())

    def insert(self, queue: int, entry: Entry) -> None:
        pass

    def remove(self, queue: int, entry: Entry) -> None:
        pass

    def touch(self, queue: int, entry: Entry) -> None:
        pass

    def remember(self, queue: int, key: str, message: int, until: int) -> None:
        pass

    def drop_queue(self, queue: int) -> None:
        pass

    def put(self, document: Document) -> None:
        pass

    def drop(self, namespace: str, realm: str, key: str) -> None:
        pass

    def append(self, stream: int, shard: int, record: StoredRecord) -> None:
        pass

    def trim(self, stream: int, shard: int, before: int) -> None:
        pass

    def drop_stream(self, stream: int) -> None:
        pass

    def note_id(self, message: int) -> None:
        pass

    def commit(self) -> Commit:
        return self._kept

    @property
    def backlog(self) -> int:
        return 0

    async def ready(self) -> None:
        pass

    def fetch(self, ids: Sequence[int]) -> dict[int, Message]:
        return {}

    def fetch_records(self, stream: int, shard: int, first: int, last: int) -> list[StoredRecord]:
        return []


class Round:
    """The commit of one batch."""

    __slots__ = ("_event", "_hurry", "_reason", "done", "waiters")

    def __init__(self, hurry: Callable[[], None]) -> None:
        self._hurry: Callable[[], None] | None = hurry
        self._event: trio.Event | None = None
        self._reason: str | None = None
        self.done = False
        self.waiters = 0

    async def wait(self) -> None:
        """Return when the batch is on the disk; at once and without a checkpoint if it is.

        Raises:
            UnavailableError: it could not be written (yet).
        """
        if not self.done and self._reason is None:
            self.waiters += 1
            if self._hurry is not None:
                self._hurry()
            if self._event is None:
                self._event = trio.Event()
            await self._event.wait()
        if self._reason is not None:
            raise UnavailableError(self._reason)

    def start(self) -> None:
        """Writing has begun: to wait hurries nobody any more."""
        self._hurry = None

    def keep(self) -> None:
        """Tell all who wait that it is kept, unless they were told otherwise."""
        if self._reason is None:
            self.done = True
            self._tell()

    def fail(self, reason: str) -> None:
        """Tell all who wait that it could not be written."""
        if not self.done and self._reason is None:
            self._reason = reason
            self._tell()

    def _tell(self) -> None:
        self._hurry = None
        if self._event is not None:
            self._event.set()


class SqliteJournal(Journal):
    """Keeps everything in a SQLite file in a data folder that belongs to this process alone.

    * `folder`: created if missing, then readable by its owner only; the file always is.
    * `durability`: "full" or "os", see `Store`.
    * `memory_limit`: bytes of messages that loading brings into memory.
    * `backlog_limit`: bytes that may wait to be written before `ready` makes publishers wait, for
      `ready_timeout` seconds at most.
    * `close_timeout`: seconds to write everything at the end; a hung disk does not hold the
      process longer.
    * `on_state`: called on the Trio thread with `available` and a reason when it changes; it must
      not raise.
    * `on_written`: likewise with the seconds that a batch took.
    * `open_store`: for tests.
    """

    keeps = True

    def __init__(
        self,
        folder: Path,
        durability: Durability = "full",
        *,
        memory_limit: int = 256 << 20,
        backlog_limit: int = 64 << 20,
        ready_timeout: float = 30.0,
        close_timeout: float = 30.0,
        on_state: Callable[[bool, str], None] | None = None,
        on_written: Callable[[float], None] | None = None,
        clock: Clock | None = None,
        open_store: Callable[[Path, Durability], Store] = Store,
    ) -> None:
        self.available = False
        self.max_message_id = 0
        self.max_token = 0
        self._folder = folder
        self._path = folder / FILE_NAME
        self._memory_limit = memory_limit
        self._backlog_limit = backlog_limit
        self._ready_timeout = ready_timeout
        self._close_timeout = close_timeout
        self._on_state = on_state or (lambda available, reason: None)
        self._on_written = on_written or (lambda seconds: None)
        self._clock = clock or SystemClock()
        self._store = open_store(self._path, durability)
        self._lock = FolderLock(folder)
        self._answering = f"the store {self._path} takes writes again"
        self._reader: Reader | None = None
        self._kept = Kept()
        self._reason = f"the store {self._path} is not open"
        # The batch being filled. `_calm`: the next change has to call `_stir`, because it is the
        # first of its batch or because writing fails. `_due`: when the batch is to be written.
        self._filling = Batch()
        self._round = Round(self._hurry)
        self._calm = True
        self._due = math.inf
        # The batch being written, if any.
        self._writing: Batch | None = None
        self._writing_round: Round | None = None
        self._room = trio.Event()
        self._crowd = 0
        """How many waited for the batch written last."""
        self._marks = (0, 0)
        # The task that gives batches to the worker.
        self._linger = trio.CancelScope()
        self._feeder = trio.CancelScope()
        self._closing = False
        self._fed = trio.Event()

    # opening and closing

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        worker = Worker("hubbub journal")
        try:
            await self._open(worker)
            # A system task, because a nursery here would wrap what its body raises, and would be
            # cancelled before everything is written.
            trio.lowlevel.spawn_system_task(self._feed, worker)
            try:
                yield
            finally:
                with trio.CancelScope(shield=True):
                    await self._drain()
        finally:
            self.available, self._calm = False, True
            self._reason = f"the store {self._path} is closed"
            if self._reader is not None:  # before the store: the last to close tidies the log away
                self._reader.close()
            closing = worker.submit(self._shut)
            worker.stop()
            with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
                await closing.finished.wait()

    async def _open(self, worker: Worker) -> None:
        opening = worker.submit(self._open_files)
        with trio.move_on_after(OPEN_TIMEOUT):
            await opening.finished.wait()
        if not opening.finished.is_set():
            raise UnavailableError(f"{self._path} could not be opened within {OPEN_TIMEOUT:g} s")
        self._reader = opening.result()
        self._marks = self.max_message_id, self.max_token = self._reader.marks()
        self.available = True

    def _open_files(self) -> Reader:
        make_folder(self._folder)
        self._lock.acquire()
        self._store.open()
        return Reader(self._path, self._memory_limit)

    def _shut(self) -> None:
        """Close the files. A worker that hangs does not get here, and rightly keeps the lock."""
        self._store.close()
        self._lock.release()

    async def _drain(self) -> None:
        """Write everything that is left, within the deadline."""
        self._closing = True
        self._linger.cancel()
        with trio.move_on_after(self._close_timeout):
            await self._fed.wait()
        self._feeder.cancel()
        reason = f"the store {self._path} was closed before this was written"
        self._round.fail(reason)
        if self._writing_round is not None:
            self._writing_round.fail(reason)

    # handing over

    def insert(self, queue: int, entry: Entry) -> None:
        if self._calm:
            self._require()
            self._stir()
        message = entry.message
        assert message is not None, "a message enters a queue with its body"
        self._filling.insert(queue, entry, message)

    def remove(self, queue: int, entry: Entry) -> None:
        if self._calm:
            self._stir()
        self._filling.remove(queue, entry)

    def touch(self, queue: int, entry: Entry) -> None:
        if self._due == math.inf:
            self._alarm(trio.current_time() + TOUCH_LINGER)
        self._filling.touch(queue, entry)

    def remember(self, queue: int, key: str, message: int, until: int) -> None:
        key.encode()
        if self._calm:
            self._stir()
        self._filling.remember(queue, key, message, until)

    def drop_queue(self, queue: int) -> None:
        self._stir()
        self._filling.drop_queue(queue)

    def put(self, document: Document) -> None:
        self._put(document.namespace, document.realm, document.key, document.value)

    def drop(self, namespace: str, realm: str, key: str) -> None:
        self._put(namespace, realm, key, None)

    def _put(self, namespace: str, realm: str, key: str, value: bytes | None) -> None:
        (namespace + realm + key).encode()
        self._stir()
        self._filling.put((namespace, realm, key), value)

    def append(self, stream: int, shard: int, record: StoredRecord) -> None:
        record.partition_key.encode()
        if self._calm:
            self._require()
            self._stir()
        message = record.message
        assert message is not None, "a record enters a stream with its message"
        self._filling.append(stream, shard, record, message)

    def trim(self, stream: int, shard: int, before: int) -> None:
        self._stir()
        self._filling.trim(stream, shard, before)

    def drop_stream(self, stream: int) -> None:
        self._stir()
        self._filling.drop_stream(stream)

    def note_id(self, message: int) -> None:
        self._filling.note(message)

    def commit(self) -> Commit:
        if self._filling.awaited:
            return self._round
        return self._writing_round or self._kept

    @property
    def backlog(self) -> int:
        writing = self._writing
        return self._filling.bytes + (0 if writing is None else writing.bytes)

    async def ready(self) -> None:
        self._require()
        if self.backlog <= self._backlog_limit:
            return
        self._hurry()
        with trio.move_on_after(self._ready_timeout):
            while self.backlog > self._backlog_limit:
                await self._room.wait()
                self._require()
            return
        raise UnavailableError(
            f"the store {self._path} is too slow: {self.backlog} bytes wait to be written"
        )

    def _require(self) -> None:
        if not self.available:
            raise UnavailableError(self._reason)

    def _stir(self) -> None:
        """Have the batch written soon. While writing fails, the next attempt takes it along."""
        if self._calm and self.available:
            self._calm = False
            self._alarm(trio.current_time() + LINGER)

    def _hurry(self) -> None:
        """Have the batch written at once: somebody waits."""
        self._alarm(-math.inf)

    def _alarm(self, at: float) -> None:
        if at < self._due and self.available:
            self._due = at
            self._linger.deadline = at

    # writing

    async def _feed(self, worker: Worker) -> None:
        retry = FIRST_RETRY
        tidy_at = trio.current_time() + TIDY_INTERVAL
        with self._feeder:
            while True:
                if not self._closing:
                    self._linger = trio.CancelScope(deadline=min(self._due, tidy_at))
                    with self._linger:
                        await trio.sleep_forever()
                if self._closing or self._due <= trio.current_time():
                    await self._gather()
                    if await self._write(worker):
                        retry = FIRST_RETRY
                        if self._closing and self._filling.empty:
                            break
                    elif self._closing and retry > FIRST_RETRY:
                        break
                    else:
                        self._due = trio.current_time() + retry
                        retry = min(2 * retry, LAST_RETRY)
                if tidy_at <= trio.current_time():
                    more = await self._tidy(worker)
                    tidy_at = trio.current_time() + (LINGER if more else TIDY_INTERVAL)
        self._fed.set()

    async def _gather(self) -> None:
        """Give others a moment to join the batch, if as many as joined the last are missing.

        Clients that wait for each answer come in step with the commits: without this, half of them
        just miss each batch. Measured with 8 clients: a third less CPU per message, and shorter
        waits. One client alone never waits for others.
        """
        if self._round.waiters < self._crowd and not self._closing:
            await trio.sleep(GATHER)

    async def _write(self, worker: Worker) -> bool:
        """Write what has gathered. Returns False if the store could not."""
        batch, round_ = self._filling, self._round
        self._crowd = round_.waiters
        self._filling, self._round = Batch(), Round(self._hurry)
        self._calm, self._due = True, math.inf
        round_.start()
        self._set_marks(batch)
        if batch.empty:
            round_.keep()
            return True
        self._writing, self._writing_round = batch, round_
        started = trio.current_time()
        job = worker.submit(partial(self._store.write, batch))
        await self._finish(job)
        self._writing = self._writing_round = None
        try:
            refused = job.result()
        except Exception as error:  # whatever it was, nothing was written
            batch.absorb(self._filling)
            self._filling = batch
            reason = f"cannot write to the store {self._path}: {error}"
            round_.fail(reason)
            self._set_state(False, reason)
            return False
        if refused:
            round_.fail(f"cannot be stored: {'; '.join(refused)}")
        round_.keep()
        self._on_written(trio.current_time() - started)
        self._set_state(True, self._answering)
        if self.backlog <= self._backlog_limit:
            self._wake_publishers()
        return True

    async def _finish(self, job: Job[Any]) -> None:
        """Wait for the worker. Nobody else has to wait longer than the disk may take."""
        while not job.finished.is_set():
            with trio.move_on_after(STALL):
                await job.finished.wait()
            if not job.finished.is_set():
                reason = f"the disk of {self._path} has not answered for {STALL:g} seconds"
                if self._writing_round is not None:
                    self._writing_round.fail(reason)
                self._round.fail(reason)
                self._round = Round(self._hurry)
                self._set_state(False, reason)

    def _set_state(self, available: bool, reason: str) -> None:
        self._reason = reason
        if available == self.available:
            return
        self.available = available
        if available:
            self._calm = not self._filling.awaited
            if not self._filling.empty:
                self._hurry()
        else:
            self._calm = True
            self._wake_publishers()
        self._on_state(available, reason)

    def _wake_publishers(self) -> None:
        self._room.set()
        self._room = trio.Event()

    def _set_marks(self, batch: Batch) -> None:
        """Keep the marks well ahead, so that few batches write them."""
        last = (batch.last_id, batch.last_token)
        if any(used > mark - MARGIN // 2 for used, mark in zip(last, self._marks, strict=True)):
            message, token = (
                max(mark, used + MARGIN) for used, mark in zip(last, self._marks, strict=True)
            )
            self._marks = batch.marks = (message, token)

    async def _tidy(self, worker: Worker) -> bool:
        """Clean up a little. Returns whether there is more to clean up."""
        if not self.available:
            return False
        job = worker.submit(partial(self._store.tidy, self._clock.now()))
        await self._finish(job)
        self._set_state(True, self._answering)
        with suppress(sqlite3.Error):  # a store that fails is noticed by the next batch
            return job.result()
        return False

    # reading

    @property
    def _open_reader(self) -> Reader:
        if self._reader is None:
            raise UnavailableError(self._reason)
        return self._reader

    def documents(self, namespace: str) -> Iterator[Document]:
        return self._open_reader.documents(namespace)

    def entries(self) -> Iterator[tuple[int, Entry]]:
        return self._open_reader.entries()

    def dedups(self) -> Iterator[tuple[int, str, int, int]]:
        return self._open_reader.dedups()

    def record_index(self, stream: int) -> Iterator[RecordIndex]:
        return self._open_reader.record_index(stream)

    def fetch(self, ids: Sequence[int]) -> dict[int, Message]:
        found: dict[int, Message] = {}
        for batch in self._pending():
            found |= {number: batch.bodies[number] for number in ids if number in batch.bodies}
        missing = [number for number in ids if number not in found]
        if missing:
            found |= self._open_reader.fetch(missing)
        return found

    def fetch_records(self, stream: int, shard: int, first: int, last: int) -> list[StoredRecord]:
        found = self._open_reader.fetch_records(stream, shard, first, last)
        after = found[-1].sequence if found else first - 1
        for batch in self._pending():
            for record, message in batch.appends.get((stream, shard), ()):
                if after < record.sequence <= last:
                    found.append(msgspec.structs.replace(record, message=message))
        return found

    def _pending(self) -> Iterator[Batch]:
        """What the reader can't see yet, oldest first."""
        if self._writing is not None:
            yield self._writing
        yield self._filling


def make_folder(folder: Path) -> None:
    """Create the data folder, readable by its owner only; one that exists stays as it is.

    Raises:
        UnavailableError: it can't be created.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(0o700)
            for changed in (folder, folder.parent):  # SQLite sees to the files inside
                descriptor = os.open(changed, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
    except OSError as error:
        raise UnavailableError(f"cannot create the data folder {folder}: {error}") from error
