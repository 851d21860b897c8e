"""Records of streams that are on the disk alone: reading them holds up nobody else."""

import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from hubbub.engine import distance, pages, sqlite
from hubbub.engine.contract import QueueSettings
from hubbub.engine.embedded import EmbeddedEngine
from hubbub.engine.journal import MemoryJournal
from hubbub.engine.segments import memory_of
from hubbub.engine.sqlite import SqliteJournal
from hubbub.engine.store import Reader
from hubbub.engine.streams import MemoryStream
from hubbub.errors import NotFoundError, UnavailableError
from hubbub.message import Message
from hubbub.streams import Extent, NewRecord, Position, ReadResult, Record, StreamSettings
from hubbub.testing import ManualClock

PATIENCE = 30.0
"""Seconds after which a test that waits for a thread has failed."""
REALM = "default"


class Shelf:
    """Where records are read back from: a test can watch it, hold it up, and make it fail."""

    def __init__(self) -> None:
        self.reads = 0
        self.broken: Exception | None = None
        self._free = threading.Event()
        self._free.set()
        self._reached = threading.Semaphore(0)

    def __call__(self, path: Path) -> Reader:
        shelf = self

        class Watched(Reader):
            def fetch_records(self, stream: int, shard: int, first: int, last: int) -> list[Record]:
                shelf.reads += 1
                shelf._reached.release()
                assert shelf._free.wait(PATIENCE)
                if shelf.broken is not None:
                    raise shelf.broken
                return super().fetch_records(stream, shard, first, last)

        return Watched(path)

    def hold(self) -> None:
        self._free.clear()

    def let_go(self) -> None:
        self._free.set()

    async def reached(self) -> None:
        """Wait until something is read that nobody has waited for here."""
        assert await trio.to_thread.run_sync(partial(self._reached.acquire, timeout=PATIENCE))


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = Shelf()
    monkeypatch.setattr(distance, "Reader", shelf)
    return shelf


class Log:
    """A stream with segments of two records."""

    def __init__(self, engine: EmbeddedEngine, stream: MemoryStream, clock: ManualClock) -> None:
        self.engine = engine
        self.stream = stream
        self.clock = clock
        self.written: list[Record] = []

    async def write(self, count: int, size: int = 1) -> list[Record]:
        """Append records, one millisecond after the other, and have them kept."""
        new: list[Record] = []
        for _ in range(count):
            self.clock.time += 1
            message = Message(address="$stream/log", body=bytes(size), id=self.engine.next_id())
            new += self.stream.append([NewRecord("key", message, size)]).records
        await self.engine.commit().wait()
        self.written += new
        return new

    def page_out(self) -> None:
        self.stream.page_out(self.stream.last_sequence, 1 << 40)
        assert self.stream.resident_size == 0

    def read(self, position: Position | None = None) -> Coroutine[Any, Any, ReadResult]:
        start = self.stream.oldest(0) if position is None else position
        return self.stream.read(start, limit=100, max_bytes=1 << 20, skip_trimmed=True)


@asynccontextmanager
async def opened(folder: Path, memory_limit: int = 1 << 20) -> AsyncIterator[Log]:
    clock = ManualClock()
    journal = SqliteJournal(folder / "data", memory_limit=memory_limit)
    engine = EmbeddedEngine(journal, clock, memory_limit=memory_limit)
    async with engine.running():
        settings = StreamSettings(segment_records=2, retention=1_000)
        stream = await engine.create_stream(REALM, "log", settings, 1)
        assert isinstance(stream, MemoryStream)
        yield Log(engine, stream, clock)


class Out:
    """Something that waits for the shelf, in a task of its own."""

    def __init__(self, call: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._call = call
        self.scope = trio.CancelScope()
        self.result: Any = None
        self.error: Exception | None = None

    async def run(self) -> None:
        with self.scope:
            try:
                self.result = await self._call()
            except Exception as error:
                self.error = error


@asynccontextmanager
async def out(
    shelf: Shelf, *calls: Callable[[], Coroutine[Any, Any, Any]]
) -> AsyncIterator[list[Out]]:
    """Have calls wait for the shelf in the context; at its end they go on."""
    shelf.hold()
    tasks = [Out(call) for call in calls]
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            try:
                for task in tasks:
                    nursery.start_soon(task.run)
                await shelf.reached()
                await trio.testing.wait_all_tasks_blocked()
                yield tasks
            finally:
                shelf.let_go()


async def test_others_go_on_while_records_are_read_back(shelf: Shelf, tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await log.write(4)
        log.page_out()
        async with out(shelf, log.read) as [reader]:
            queue = await log.engine.create_queue(REALM, "q", QueueSettings())
            sent = Message(address="$queue/q", body=b"", id=log.engine.next_id())
            await queue.enqueue([sent]).commit.wait()
            [delivery] = await queue.receive(1, owner="test")
            assert delivery.message == sent
            new = await log.write(1)
            assert (await log.read(log.stream.at_sequence(0, new[0].sequence))).records == new
        assert reader.result.records == log.written


async def test_what_is_in_memory_is_read_at_once(shelf: Shelf, tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await log.write(3)
        with pytest.raises(StopIteration) as end:
            log.read().send(None)  # the first step, in which Trio has no say, is the last
        assert end.value.value.records == log.written
        log.page_out()
        for _ in range(2):
            await log.read()
            with pytest.raises(StopIteration):
                log.stream.at_timestamp(0, log.clock.time).send(None)
        assert shelf.reads == 2


async def test_those_who_read_the_same_side_by_side_have_it_read_once(
    shelf: Shelf, tmp_path: Path
) -> None:
    async with opened(tmp_path) as log:
        await log.write(4)
        log.page_out()
        async with out(shelf, *[log.read] * 5) as readers:
            assert shelf.reads == 1
        assert [each.result.records for each in readers] == [log.written] * 5
        assert shelf.reads == 2


async def test_a_stream_that_is_deleted_while_it_is_read_is_gone(
    shelf: Shelf, tmp_path: Path
) -> None:
    async with opened(tmp_path) as log:
        await log.write(4)
        log.page_out()
        at = partial(log.stream.at_timestamp, 0, log.clock.time)
        async with out(shelf, log.read, at) as [reader, finder]:
            await (await log.engine.delete_stream(log.stream)).wait()
        assert isinstance(reader.error, NotFoundError)
        assert isinstance(finder.error, NotFoundError)
        assert log.engine.memory == 0  # nothing of it is remembered
        assert log.engine.find_stream(REALM, "log") is None


async def test_what_is_trimmed_while_it_is_read_is_passed_over(
    shelf: Shelf, tmp_path: Path
) -> None:
    async with opened(tmp_path) as log:
        [first, *_] = await log.write(2)
        log.clock.time += 500
        kept = await log.write(2)
        log.page_out()
        position = log.stream.at_sequence(0, first.sequence)
        async with out(shelf, partial(log.read, position)) as [reader]:
            log.clock.time += 500
            log.stream.advance(log.clock.time)
            await log.engine.commit().wait()
            assert len(log.stream) == 2
        assert (reader.result.records, reader.result.trimmed) == (kept, True)


async def test_records_move_in_the_store_while_they_are_read(shelf: Shelf, tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await log.write(2)  # into the store's log
        log.page_out()
        async with out(shelf, log.read) as [reader]:
            await log.write(1, size=sqlite.RECORD_BYTES)  # with what is in the log into the tables
        assert reader.result.records == log.written


async def test_a_read_that_is_cancelled_is_not_waited_for(shelf: Shelf, tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await log.write(6)
        log.page_out()
        later = partial(log.read, log.stream.at_sequence(0, log.written[2].sequence))
        async with out(shelf, log.read, later) as [reader, other]:
            reader.scope.cancel()  # its read is out
            await trio.testing.wait_all_tasks_blocked()
            other.scope.cancel()  # its read has the next turn
            await trio.testing.wait_all_tasks_blocked()
        assert reader.scope.cancelled_caught
        assert other.scope.cancelled_caught
        assert (await log.read()).records == log.written
        assert shelf.reads == 1 + 3


async def test_who_waits_gets_its_turn_when_another_is_cancelled(
    shelf: Shelf, tmp_path: Path
) -> None:
    async with opened(tmp_path) as log:
        await log.write(4)
        log.page_out()
        async with out(shelf, log.read, log.read) as [reader, other]:
            reader.scope.cancel()
        assert other.result.records == log.written


async def test_a_store_that_does_not_answer_fails_those_who_wait_for_it(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "DEADLINE", 0.01)
    async with opened(tmp_path) as log:
        await log.write(4)
        log.page_out()
        async with out(shelf, log.read, log.read) as readers:
            while not all(each.error for each in readers):  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.01)
        for each in readers:
            assert isinstance(each.error, UnavailableError)
        monkeypatch.setattr(pages, "DEADLINE", PATIENCE)
        assert (await log.read()).records == log.written


async def test_what_the_store_has_lost_is_counted_once() -> None:
    counted: list[int] = []
    lost = pages.Pages(MemoryJournal(), 1 << 20, counted.append)
    for _ in range(2):
        assert await lost.load(1, Extent(0, 1, 2, count=2, size=10, since=0, until=0)) == []
    assert counted == [memory_of(10, 2)]
    lost.forget(1)
    assert sum(counted) == 0


async def test_a_store_that_fails_fails_who_reads(shelf: Shelf, tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await log.write(2)
        log.page_out()
        shelf.broken = UnavailableError("cannot read")
        with pytest.raises(UnavailableError, match="cannot read"):
            await log.read()
        shelf.broken = None
        assert (await log.read()).records == log.written


async def test_an_engine_that_stops_ends_what_is_read(shelf: Shelf, tmp_path: Path) -> None:
    async def let_go() -> None:
        await trio.testing.wait_all_tasks_blocked()
        shelf.let_go()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery, opened(tmp_path) as log:
            await log.write(4)
            log.page_out()
            shelf.hold()
            reader = Out(partial(log.stream.read, log.stream.oldest(0), limit=1, max_bytes=1))
            nursery.start_soon(reader.run)
            await shelf.reached()
            nursery.start_soon(let_go)
    assert reader.result.records == log.written[:1]  # what was on its way has come
    with pytest.raises(UnavailableError, match="closed"):
        await log.read()


async def test_a_hung_read_holds_up_the_end_for_a_while_only(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "CLOSE_TIMEOUT", 0.01)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            async with opened(tmp_path) as log:
                await log.write(2)
                log.page_out()
                shelf.hold()
                nursery.start_soon(log.read)
                await shelf.reached()
            nursery.cancel_scope.cancel()
    shelf.let_go()
