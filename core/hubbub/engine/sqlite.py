"""The journal that keeps everything in a SQLite file, batch by batch.

Changes gather in a `Batch`. A thread writes one batch in one transaction; whatever gathers
meanwhile is the next (group commit). A batch starts at once when all who are expected wait for it,
else after a moment in which much of it cancels itself out: a message that is settled before its
batch is written is never written.

A batch goes to the log of the store, in one piece and so at little cost. What is in the log is
held here as well, added up in one batch, which is brought into the tables when the log is long: by
then, most of it has cancelled itself out too.
"""
# ruff: noqa: D102 — `Journal` documents what its implementations do

import math
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from hubbub.clock import Clock, SystemClock
from hubbub.errors import UnavailableError
from hubbub.message import Message, encode_message
from hubbub.streams import Extent, Record

from . import blocks
from .batch import Batch
from .commits import Round
from .contract import DONE, Commit, Document
from .distance import DistantReader
from .entry import Entry
from .journal import Journal
from .lock import FolderLock
from .store import SMALL_BLOCK_BYTES, Durability, Reader, Store
from .worker import Job, Worker

FILE_NAME = "hubbub.db"

GATHER = (0.0002, 0.002)
"""Seconds that a batch waits for those who are expected to join it, at least and at most: twice as
long as the last one took. Mostly all of them come, in less. Writing without the last of them costs
a batch more, and has them just miss each other from then on. Measured with 8 clients of SQS and of
SNS, and a disk that takes 0.6 to 0.9 ms: 5 to 43 % more messages per CPU second than with half as
long, and a 99th percentile of the waits that is 8 to 47 % lower."""
LINGER = 0.005
"""Seconds that changes gather while nobody waits for them."""
TOUCH_LINGER = 1.0
"""Seconds that changed lease fields alone may wait."""
LOG_BYTES = 2 << 20
"""Length of the log from which on it is brought into the tables."""
RECORD_BYTES = SMALL_BLOCK_BYTES
"""A batch with so many bytes of records for each shard is not logged first: records stay, so
nothing is saved by that, and blocks of this length are left in the table as they are."""
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


class SqliteJournal(Journal):
    """Keeps everything in a SQLite file in a data folder that belongs to this process alone.

    * `folder`: created if missing, then readable by its owner only; the file always is.
    * `durability`: "full" or "os", see `Store`.
    * `memory_limit`: bytes of memory for the messages that loading brings into it.
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
        self._distant: DistantReader | None = None
        self._reason = f"the store {self._path} is not open"
        self._decode = msgspec.msgpack.Decoder(Message).decode
        # The batch being filled. `_calm`: the next change has to call `_stir`, because it is the
        # first of its batch or because writing fails. `_due`: when the batch is to be written.
        self._filling = Batch()
        self._round = Round(self._arrived)
        self._calm = True
        self._due = math.inf
        # The batch being written, if any.
        self._writing: Batch | None = None
        self._writing_round: Round | None = None
        # What is in the log of the store, added up, and how long that is. `_astray`: the log may
        # hold what the batch being filled has taken back, so that batch is to take its place.
        self._logged = Batch()
        self._log_bytes = 0
        self._astray = False
        self._room = trio.Event()
        # How many are expected to wait for the batch being filled, and how long they get to come.
        self._crowd = 0
        self._gather = GATHER[0]
        self._marks = (0, 0)
        # The task that gives batches to the worker.
        self._linger = trio.CancelScope()
        self._resting: trio.lowlevel.Task | None = None
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
            with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
                try:
                    await self._close_readers()
                finally:
                    closing = worker.submit(self._shut)
                    worker.stop()
                await closing.finished.wait()

    async def _open(self, worker: Worker) -> None:
        opening = worker.submit(self._open_files)
        with trio.move_on_after(OPEN_TIMEOUT):
            await opening.finished.wait()
        if not opening.finished.is_set():
            raise UnavailableError(f"{self._path} could not be opened within {OPEN_TIMEOUT:g} s")
        self._reader = opening.result()
        self._distant = DistantReader(self._path)
        self._marks = self.max_message_id, self.max_token = self._reader.marks()
        self.available = True

    def _open_files(self) -> Reader:
        make_folder(self._folder)
        self._lock.acquire()
        self._store.open()
        return Reader(self._path, self._memory_limit)

    async def _close_readers(self) -> None:
        """Close them before the store: the last connection to close tidies SQLite's log away."""
        if self._reader is not None:
            self._reader.close()
        distant, self._distant = self._distant, None
        if distant is not None:
            await distant.close()

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
        filling = self._filling
        body = filling.bodies.get(entry.id)
        if body is None:
            assert entry.message is not None, "a message enters a queue with its body"
            body = encode_message(entry.message)
        if self._calm:
            self._stir()
        filling.insert(queue, entry, body)

    def remove(self, queue: int, entry: Entry) -> None:
        if self._calm:
            self._stir()
        self._filling.remove(queue, entry)

    def touch(self, queue: int, entry: Entry) -> Commit:
        if self._due == math.inf:
            self._alarm(trio.current_time() + TOUCH_LINGER)
        self._filling.touch(queue, entry)
        return self._round

    def remember(self, queue: int, key: str, message: int, until: int) -> None:
        key.encode()
        if self._calm:
            self._stir()
        self._filling.remember(queue, key, message, until)

    def forget(self, queue: int) -> None:
        self._stir()
        self._filling.forget(queue)

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

    def append(self, stream: int, records: Mapping[int, Sequence[Record]]) -> None:
        packed = {shard: blocks.pack(mine) for shard, mine in records.items()}
        if self._calm:
            self._require()
            self._stir()
        for shard, new in packed.items():
            self._filling.append(stream, shard, new)
            self._filling.note(max([record.message.id for record in records[shard]]))

    def trim(self, stream: int, shard: int, before: int) -> None:
        self._stir()
        self._filling.trim(stream, shard, before)

    def drop_stream(self, stream: int) -> None:
        self._stir()
        self._filling.drop_stream(stream)

    def note_id(self, message: int) -> None:
        self._filling.note(message)

    def commit(self) -> Commit:
        if self._astray or self._filling.awaited:
            return self._round
        return self._writing_round or DONE

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

    def _arrived(self, waiters: int) -> None:
        """Have the batch written when all who are expected wait for it, or in a moment.

        Clients that wait for each answer come in step with the commits: without this, half of them
        just miss each batch. Measured with 8 clients: a third less CPU per message, and shorter
        waits. One client alone never waits for others.
        """
        if waiters >= self._crowd:
            self._hurry()
        else:
            self._alarm(trio.current_time() + self._gather)

    def _hurry(self) -> None:
        """Have the batch written at once, but for what others hand over in this turn."""
        self._alarm(-math.inf)

    def _alarm(self, at: float) -> None:
        if at < self._due and self.available:
            self._due = at
            if at == -math.inf and self._resting is not None:
                task, self._resting = self._resting, None
                trio.lowlevel.reschedule(task)
            else:
                self._linger.deadline = at

    # writing

    async def _feed(self, worker: Worker) -> None:
        retry = FIRST_RETRY
        tidy_at = trio.current_time() + TIDY_INTERVAL
        with self._feeder:
            while True:
                if not self._closing:
                    await self._rest(tidy_at)
                if self._closing or self._due <= trio.current_time():
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

    async def _rest(self, until: float) -> None:
        """Wait until the batch is due, or `until`, and in any case for the others' turns."""
        if self._due == -math.inf:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        with trio.CancelScope(deadline=min(self._due, until)) as self._linger:
            self._resting = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._stop_resting)

    def _stop_resting(self, _: object) -> trio.lowlevel.Abort:
        self._resting = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def _write(self, worker: Worker) -> bool:
        """Write what has gathered. Returns False if the store could not."""
        batch, round_ = self._filling, self._round
        self._filling, self._round = Batch(), Round(self._arrived)
        self._calm, self._due = True, math.inf
        round_.start()
        self._set_marks(batch)
        whole = self._closing or self._belongs_in_tables(batch)
        if batch.empty and not (whole and self._log_bytes):
            round_.keep()
            return True
        if whole:
            self._logged.absorb(batch)
            batch, self._logged = self._logged, Batch()
        self._writing, self._writing_round = batch, round_
        started = trio.current_time()
        write = self._store.write if whole else self._store.append
        job: Job[int | None] = worker.submit(partial(write, batch))
        await self._finish(job)
        self._writing = self._writing_round = None
        try:
            grown = job.result()
        except Exception as error:  # whatever it was, nothing was written
            self._take_back(batch)
            reason = f"cannot write to the store {self._path}: {error}"
            round_.fail(reason)
            self._set_state(False, reason)
            return False
        if grown is None:
            self._log_bytes = 0
            self._astray = False
        else:
            self._log_bytes += grown
            self._logged.absorb(batch)
        round_.keep()
        took = trio.current_time() - started
        self._expect(round_, took)
        self._on_written(took)
        self._set_state(True, self._answering)
        if self.backlog <= self._backlog_limit:
            self._wake_publishers()
        return True

    def _belongs_in_tables(self, batch: Batch) -> bool:
        """Whether a batch is to go there at once, with what is in the log."""
        if self._astray or self._log_bytes + batch.bytes > LOG_BYTES:
            return True
        return bool(batch.appends) and batch.appended >= RECORD_BYTES * len(batch.appends)

    def _take_back(self, batch: Batch) -> None:
        """A batch was not written: what has gathered meanwhile goes along with it next time.

        What is in the log, too: some of it may be undone before, and then leaves no trace.
        """
        self._logged.absorb(batch)
        self._logged.absorb(self._filling)
        self._filling, self._logged = self._logged, Batch()
        self._astray = True

    def _expect(self, written: Round, took: float) -> None:
        """Those who were told just now are expected to come again, beside those who wait."""
        shortest, longest = GATHER
        self._gather = min(max(2 * took, shortest), longest)
        waiting = self._round.waiters
        self._crowd = written.waiters + waiting
        if waiting:
            self._due = trio.current_time() + self._gather if written.waiters else -math.inf

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
                self._round = Round(self._arrived)
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
        stored = self._open_reader.documents(namespace)
        pending = {
            (realm, key): value
            for batch in self._pending()
            for (where, realm, key), value in batch.documents.items()
            if where == namespace
        }
        if not pending:
            return stored
        kept = {(each.realm, each.key): each.value for each in stored} | pending
        return (
            Document(namespace, realm, key, value)
            for (realm, key), value in sorted(kept.items(), key=lambda item: item[0])
            if value is not None
        )

    def entries(self) -> Iterator[tuple[int, Entry]]:
        return self._open_reader.entries()

    def dedups(self) -> Iterator[tuple[int, str, int, int]]:
        return self._open_reader.dedups()

    def extents(self, stream: int) -> Iterator[Extent]:
        return self._open_reader.extents(stream)

    def fetch(self, ids: Sequence[int]) -> dict[int, Message]:
        found: dict[int, Message] = {}
        for batch in self._pending():
            bodies = batch.bodies
            found |= {number: self._decode(bodies[number]) for number in ids if number in bodies}
        missing = [number for number in ids if number not in found]
        if missing:
            found |= self._open_reader.fetch(missing)
        return found

    async def fetch_records(self, stream: int, shard: int, first: int, last: int) -> list[Record]:
        if self._distant is None:
            raise UnavailableError(self._reason)
        pending = [
            block
            for batch in self._pending()
            for block in batch.appends.get((stream, shard), ())
            if block.last >= first and block.first <= last
        ]
        return await self._distant.fetch(stream, shard, first, last, pending)

    def _pending(self) -> Iterator[Batch]:
        """What the reader can't see yet, oldest first."""
        yield self._logged
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
