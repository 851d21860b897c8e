import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from hubbub.engine import sqlite as journal_module
from hubbub.engine.batch import Batch
from hubbub.engine.contract import Commit, Document
from hubbub.engine.entry import Entry
from hubbub.engine.journal import Journal, MemoryJournal
from hubbub.engine.lock import FolderLock
from hubbub.engine.sqlite import FILE_NAME, SqliteJournal
from hubbub.engine.store import Durability, Store
from hubbub.errors import RefusedError, UnavailableError
from hubbub.message import Message
from hubbub.streams import Extent, Record

from .store_harness import (
    after_a_crash,
    entry,
    message,
    opened,
    places,
    reading,
    record,
    sequences,
)

PATIENCE = 30.0
"""Seconds after which a test that waits for a thread has failed."""


class Disk:
    """A store whose writing a test can watch, hold up, and make fail."""

    def __init__(self) -> None:
        self.broken: Exception | None = None
        self.batches: list[dict[str, int]] = []
        """What went into the log."""
        self.tables: list[dict[str, int]] = []
        """What went into the tables."""
        self.attempts = 0
        self._free = threading.Event()
        self._free.set()
        self._reached = threading.Semaphore(0)
        self._tidied = threading.Semaphore(0)

    def __call__(self, path: Path, durability: Durability) -> Store:
        disk = self

        class Watched(Store):
            def append(self, batch: Batch) -> int:
                self._pass(batch)
                grown = super().append(batch)
                disk.batches.append(sizes(batch))
                return grown

            def write(self, batch: Batch) -> None:
                self._pass(batch)
                super().write(batch)
                disk.tables.append(sizes(batch))

            def _pass(self, batch: Batch) -> None:
                disk.attempts += 1
                disk._reached.release()
                assert disk._free.wait(PATIENCE)
                if disk.broken is not None:
                    raise disk.broken

            def tidy(self, now: int) -> bool:
                assert disk._free.wait(PATIENCE)
                more = super().tidy(now)
                disk._tidied.release()
                return more

        return Watched(path, durability)

    def hold(self) -> None:
        self._free.clear()

    def let_go(self) -> None:
        self._free.set()

    async def reached(self) -> None:
        """Wait until a batch got to the disk that nobody has waited for here."""
        assert await trio.to_thread.run_sync(partial(self._reached.acquire, timeout=PATIENCE))

    async def tidied(self) -> None:
        """Wait until tidying has run that nobody has waited for here."""
        assert await trio.to_thread.run_sync(partial(self._tidied.acquire, timeout=PATIENCE))


def sizes(batch: Batch) -> dict[str, int]:
    return {
        "inserts": len(batch.inserts),
        "removes": len(batch.removes),
        "touches": len(batch.touches),
    }


FULL = sqlite3.OperationalError("database or disk is full")


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "FIRST_RETRY", 0.01)
    monkeypatch.setattr(journal_module, "LAST_RETRY", 0.02)


def done(commit: Commit) -> bool:
    return commit.done  # a call, because mypy takes a property it has seen for a constant


def available(journal: Journal) -> bool:
    return journal.available


def append(journal: Journal, stream: int, each: Record) -> None:
    journal.append(stream, {each.shard: [each]})


def stored(folder: Path) -> list[tuple[int, int]]:
    """What a crash would leave now."""
    with tempfile.TemporaryDirectory() as copies:
        return places(after_a_crash(folder / FILE_NAME, Path(copies) / "copy"))


# committing


async def test_what_was_committed_is_stored(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "deep" / "data")
    async with journal.running():
        assert done(journal.commit())  # nothing is owed
        journal.insert(3, entry(1))
        commit = journal.commit()
        assert not done(commit)
        await commit.wait()
        assert done(commit)
        await commit.wait()  # as often as one likes
        assert stored(tmp_path / "deep" / "data") == [(3, 1)]
        assert journal.backlog == 0
    assert (tmp_path / "deep" / "data").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "deep" / "data" / FILE_NAME).stat().st_mode & 0o777 == 0o600


async def test_one_turn_of_the_loop_is_one_transaction(tmp_path: Path, disk: Disk) -> None:
    journal = SqliteJournal(tmp_path, open_store=disk)
    async with journal.running():

        async def publish(number: int) -> None:
            journal.insert(1, entry(number))
            await journal.commit().wait()

        async with trio.open_nursery() as nursery:
            for number in range(1, 101):
                nursery.start_soon(publish, number)
    assert [each["inserts"] for each in disk.batches] == [100]


async def test_what_gathers_during_a_transaction_is_the_next(tmp_path: Path, disk: Disk) -> None:
    journal = SqliteJournal(tmp_path, open_store=disk)
    async with journal.running():
        disk.hold()
        journal.insert(1, entry(1))
        first = journal.commit()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.wait)
            await disk.reached()
            assert journal.commit() is first  # nothing new: the older is what is owed
            for number in range(2, 50):
                journal.insert(1, entry(number))
            second = journal.commit()
            assert second is not first
            disk.let_go()
            await second.wait()
            assert done(first)
    assert [each["inserts"] for each in disk.batches] == [1, 48]


async def test_a_message_settled_before_its_batch_is_written_never_is(
    tmp_path: Path, disk: Disk
) -> None:
    journal = SqliteJournal(tmp_path, open_store=disk)
    async with journal.running():
        gone, shared = entry(1), message(2)
        one, other = (Entry(id=2, message=shared, size=6) for _ in range(2))
        journal.insert(1, gone)
        commit = journal.commit()
        journal.touch(1, gone)
        journal.remove(1, gone)
        assert journal.backlog == 0
        journal.insert(1, one)
        journal.insert(2, other)
        journal.remove(1, one)
        await commit.wait()  # kept, as there is nothing left to keep
        assert disk.batches == [{"inserts": 1, "removes": 0, "touches": 0}]
        assert stored(tmp_path) == [(2, 2)]


async def test_a_batch_that_cancelled_itself_out_is_no_transaction(
    tmp_path: Path, disk: Disk
) -> None:
    journal = SqliteJournal(tmp_path, open_store=disk)
    async with journal.running():
        journal.insert(1, entry(1))
        await journal.commit().wait()
        passing = entry(2)
        journal.insert(1, passing)
        commit = journal.commit()
        journal.remove(1, passing)
        assert done(journal.commit())
        await commit.wait()
        assert done(commit)
    assert len(disk.batches) == 1


async def test_changes_nobody_waits_for_are_written_soon(tmp_path: Path, disk: Disk) -> None:
    journal = SqliteJournal(tmp_path, open_store=disk)
    async with journal.running():
        journal.insert(1, entry(1))
        await disk.reached()


async def test_touches_wait_for_company_but_not_for_ever(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "TOUCH_LINGER", 3600.0)
    journal = SqliteJournal(tmp_path, open_store=disk)
    async with journal.running():
        entries = [entry(number) for number in (1, 2, 3)]
        for each in entries:
            journal.insert(1, each)
        await journal.commit().wait()
        for token, each in enumerate(entries, 10):
            each.token = token
            journal.touch(1, each)
            journal.touch(1, each)
        assert done(journal.commit())  # nobody waits for them
        journal.remove(1, entries[0])
        await journal.commit().wait()
        assert disk.batches[1] == {"inserts": 0, "removes": 1, "touches": 2}
        monkeypatch.setattr(journal_module, "TOUCH_LINGER", 0.01)
        journal.touch(1, entries[1])
        await disk.reached()
        await disk.reached()
        await disk.reached()
        entries[2].receives = 7
        journal.touch(1, entries[2])
    # the last goes along with the end
    async with (journal := SqliteJournal(tmp_path)).running():
        assert [(each.token, each.receives) for _, each in journal.entries()] == [(11, 0), (12, 7)]


async def test_who_waits_for_a_touch_has_it_written_at_once(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "TOUCH_LINGER", 3600.0)
    async with (journal := SqliteJournal(tmp_path, open_store=disk)).running():
        leased = entry(1)
        journal.insert(1, leased)
        leased.tag = 7
        await journal.touch(1, leased).wait()  # goes along with the message
        assert disk.batches == [{"inserts": 1, "removes": 0, "touches": 0}]
        leased.tag = 8
        commit = journal.touch(1, leased)
        assert not done(commit)
        await commit.wait()
        assert disk.batches[1:] == [{"inserts": 0, "removes": 0, "touches": 1}]
        with reading(after_a_crash(tmp_path / FILE_NAME, tmp_path / "copy")) as reader:
            assert [each.tag for _, each in reader.entries()] == [8]


async def test_everything_else_comes_back_too(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path)
    async with journal.running():
        for number in range(1, 5):
            journal.put(Document("n", "r", str(number), b"%d" % number))
            append(journal, 5, record(1, number))
            append(journal, 6, record(1, number))
            journal.insert(number, entry(number))
            journal.remember(number, "key", number, 1000)
        journal.remember(1, "again", 1, 1000)
        await journal.commit().wait()
        journal.drop("n", "r", "2")
        journal.trim(5, 1, 3)
        journal.drop_stream(6)
        journal.drop_queue(3)
        journal.forget(1)
        journal.remember(1, "new", 5, 1000)
    async with (journal := SqliteJournal(tmp_path)).running():
        assert [each.key for each in journal.documents("n")] == ["1", "3", "4"]
        assert list(journal.extents(5)) == [Extent(1, 1, 4, 4, 28, 1001, 1001)]
        assert await journal.fetch_records(5, 1, 3, 9) == [record(1, 3), record(1, 4)]
        assert list(journal.extents(6)) == []
        assert [queue for queue, _ in journal.entries()] == [1, 2, 4]
        assert sorted(journal.dedups()) == [
            (1, "new", 5, 1000), (2, "key", 2, 1000), (4, "key", 4, 1000),
        ]  # fmt: skip


async def test_text_that_is_not_unicode_is_refused_at_once(tmp_path: Path) -> None:
    odd: list[Callable[[Journal], None]] = [
        lambda journal: journal.put(Document("n", "r", "\ud800", b"")),
        lambda journal: journal.drop("n", "\ud800", "k"),
        lambda journal: journal.remember(1, "\ud800", 1, 1),
    ]
    async with (journal := SqliteJournal(tmp_path)).running():
        for hand_over in odd:
            with pytest.raises(UnicodeEncodeError):
                hand_over(journal)
        bad = msgspec.structs.replace(record(1, 1), partition_key="\ud800")
        with pytest.raises(RefusedError, match="cannot be stored"):
            append(journal, 1, bad)
        assert done(journal.commit())


async def test_a_message_that_fits_no_encoding_is_refused_and_leaves_the_others(
    tmp_path: Path,
) -> None:
    async with (journal := SqliteJournal(tmp_path)).running():
        odd = entry(2)
        odd.message = message(2, headers={"odd": 1 << 70})
        journal.insert(1, entry(1))
        with pytest.raises(RefusedError, match="cannot be stored"):
            journal.insert(1, odd)
        with pytest.raises(RefusedError, match="cannot be stored"):
            journal.append(1, {0: [record(0, 1)], 1: [Record(1, 2, 0, "k", odd.message, 1)]})
        assert await journal.fetch_records(1, 0, 0, 9) == []
        journal.insert(1, entry(3))
        await journal.commit().wait()
        assert stored(tmp_path) == [(1, 1), (1, 3)]


async def test_a_long_log_is_brought_into_the_tables_without_what_has_been_settled(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "LOG_BYTES", 3000)
    journal = SqliteJournal(tmp_path, open_store=disk)
    async with journal.running():
        entries = [entry(number, b"x" * 500) for number in range(1, 9)]
        for each in entries:
            journal.insert(1, each)
            await journal.commit().wait()
            if each.id % 2:
                journal.remove(1, each)
                await journal.commit().wait()
            assert stored(tmp_path) == [(1, n) for n in range(1, each.id + 1) if n % 2 == 0]
        assert disk.tables == [{"inserts": 3, "removes": 0, "touches": 0}]  # 2, 4 and 6
    assert disk.tables[1:] == [{"inserts": 1, "removes": 0, "touches": 0}]  # what was left: 8
    assert stored(tmp_path) == [(1, 2), (1, 4), (1, 6), (1, 8)]


@pytest.mark.parametrize(("shards", "size", "logged"), [(1, 100, 1), (1, 9000, 0), (9, 1000, 1)])
async def test_records_go_to_the_tables_at_once_if_there_are_many_for_each_shard(
    tmp_path: Path, disk: Disk, shards: int, size: int, logged: int
) -> None:
    journal = SqliteJournal(tmp_path, open_store=disk)
    async with journal.running():
        journal.append(
            1, {shard: [record(shard, shard + 1, bytes(size))] for shard in range(shards)}
        )
        await journal.commit().wait()
        assert len(disk.batches) == logged
        assert len(disk.tables) == 1 - logged
    with reading(tmp_path / FILE_NAME) as reader:
        assert sequences(reader, 1) == list(range(1, shards + 1))


async def test_a_message_that_is_removed_after_a_failure_is_gone_for_good(
    tmp_path: Path, disk: Disk
) -> None:
    """It is in the log, and no more in what is to be written; its removal is owed all the same."""
    journal = SqliteJournal(tmp_path, open_store=disk)
    async with journal.running():
        first, second = entry(1), entry(2)
        journal.insert(1, first)
        await journal.commit().wait()
        disk.broken = FULL
        journal.insert(1, second)
        with pytest.raises(UnavailableError):
            await journal.commit().wait()
        disk.broken = None
        journal.remove(1, first)
        journal.remove(1, second)
        commit = journal.commit()
        assert not done(commit)
        await commit.wait()
        assert stored(tmp_path) == []


async def test_documents_are_read_with_what_is_not_in_the_tables_yet(tmp_path: Path) -> None:
    async with (journal := SqliteJournal(tmp_path)).running():
        for key in "abc":
            journal.put(Document("n", "r", key, b"old"))
    async with (journal := SqliteJournal(tmp_path)).running():
        journal.drop("n", "r", "a")
        journal.put(Document("n", "r", "b", b"new"))
        await journal.commit().wait()
        journal.put(Document("n", "q", "z", b"newest"))
        journal.put(Document("other", "r", "b", b"new"))
        found = [(each.realm, each.key, each.value) for each in journal.documents("n")]
        assert found == [("q", "z", b"newest"), ("r", "b", b"new"), ("r", "c", b"old")]


# numbers


async def test_marks_never_fall_back(tmp_path: Path) -> None:
    highest = (0, 0)
    for _ in range(3):
        async with (journal := SqliteJournal(tmp_path)).running():
            marks = journal.max_message_id, journal.max_token
            assert marks[0] >= highest[0]
            assert marks[1] >= highest[1]
            number, token = marks[0] + 1, marks[1] + 1
            passing = entry(number)
            journal.insert(1, passing)
            passing.token = token
            journal.touch(1, passing)
            journal.remove(1, passing)  # never written, and yet
            journal.note_id(number + 7)
            highest = (number + 7, token)


async def test_marks_are_kept_when_the_process_is_cut_off(tmp_path: Path, disk: Disk) -> None:
    async with (journal := SqliteJournal(tmp_path, open_store=disk)).running():
        leased = entry(1_000_000_000)
        journal.insert(1, leased)
        leased.token = 2_000_000_000
        journal.touch(1, leased)
        await journal.commit().wait()
        journal.remove(1, leased)
        await journal.commit().wait()
        with reading(after_a_crash(tmp_path / FILE_NAME, tmp_path / "copy")) as reader:
            assert reader.marks()[0] > 1_000_000_000
            assert reader.marks()[1] > 2_000_000_000
        assert stored(tmp_path) == []


# reading back


async def test_bodies_are_fetched_from_wherever_they_are(tmp_path: Path, disk: Disk) -> None:
    journal = SqliteJournal(tmp_path, open_store=disk)
    async with journal.running():
        sent: dict[int, Message | None] = {}

        def publish(number: int) -> None:
            each, kept = entry(number), record(1, number)
            sent[number] = each.message
            journal.insert(1, each)
            append(journal, 1, kept)
            each.message = None  # paged out at once

        publish(1)
        await journal.commit().wait()
        await disk.reached()
        disk.hold()
        publish(2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal.commit().wait)
            await disk.reached()
            publish(3)
            assert journal.fetch([1, 2, 3, 4]) == sent
            assert await journal.fetch_records(1, 1, 0, 9) == [record(1, n) for n in (1, 2, 3)]
            assert await journal.fetch_records(1, 1, 2, 2) == [record(1, 2)]
            assert await journal.fetch_records(2, 1, 2, 2) == []
            disk.let_go()
        await journal.commit().wait()
        assert journal.fetch([3, 2, 1]) == sent
    with pytest.raises(UnavailableError):
        journal.fetch([1])


async def test_loading_leaves_out_what_memory_does_not_hold(tmp_path: Path) -> None:
    async with (journal := SqliteJournal(tmp_path)).running():
        for number in range(1, 11):
            journal.insert(1, entry(number, b"x" * 1000))
    async with (journal := SqliteJournal(tmp_path, memory_limit=5000)).running():
        loaded = [each.message is not None for _, each in journal.entries()]
        assert loaded == [True] * 4 + [False] * 6
        assert len(journal.fetch(range(1, 11))) == 10


# back-pressure


async def test_publishers_wait_while_the_backlog_is_too_long(tmp_path: Path, disk: Disk) -> None:
    journal = SqliteJournal(tmp_path, open_store=disk, backlog_limit=10_000)
    async with journal.running():
        await journal.ready()
        disk.hold()
        journal.insert(1, entry(1, b"x" * 20_000))
        assert journal.backlog > 20_000
        went_on = trio.Event()

        async def publish() -> None:
            await journal.ready()
            went_on.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish)
            await disk.reached()
            assert not went_on.is_set()
            disk.let_go()
            await went_on.wait()
        assert journal.backlog == 0


async def test_publishers_do_not_wait_for_ever(tmp_path: Path, disk: Disk) -> None:
    journal = SqliteJournal(tmp_path, open_store=disk, backlog_limit=100, ready_timeout=0.01)
    async with journal.running():
        disk.hold()
        journal.insert(1, entry(1, b"x" * 200))
        with pytest.raises(UnavailableError, match="too slow"):
            await journal.ready()
        disk.let_go()


# failing


class States:
    """Notes the changes of state, and waits for one."""

    def __init__(self) -> None:
        self.seen: list[tuple[bool, str]] = []
        self._changed = trio.Event()

    def __call__(self, available: bool, reason: str) -> None:
        self.seen.append((available, reason))
        self._changed.set()
        self._changed = trio.Event()

    async def next(self) -> None:
        await self._changed.wait()


async def test_a_failed_write_is_told_kept_and_made_up_for(tmp_path: Path, disk: Disk) -> None:
    states = States()
    journal = SqliteJournal(tmp_path, open_store=disk, on_state=states)
    async with journal.running():
        old = [entry(number) for number in (1, 2)]
        for each in old:
            journal.insert(1, each)
        await journal.commit().wait()
        disk.broken = FULL
        lost, kept = entry(3), entry(4)
        journal.insert(1, lost)
        journal.insert(1, kept)
        journal.remove(1, old[0])
        failed = journal.commit()
        with pytest.raises(UnavailableError, match="disk is full"):
            await failed.wait()
        with pytest.raises(UnavailableError, match="disk is full"):
            await failed.wait()
        assert not done(failed)
        assert not available(journal)
        assert [each for each, _ in states.seen] == [False]
        assert "disk is full" in states.seen[0][1]
        with pytest.raises(UnavailableError, match="disk is full"):
            journal.insert(1, entry(5))
        with pytest.raises(UnavailableError, match="disk is full"):
            append(journal, 1, record(1, 1))
        with pytest.raises(UnavailableError, match="disk is full"):
            await journal.ready()

        journal.remove(1, old[1])
        journal.remove(1, lost)  # never written: nothing to take back
        journal.put(Document("n", "r", "k", b"v"))
        with pytest.raises(UnavailableError):  # at the next attempt
            await journal.commit().wait()
        assert journal.backlog > 0
        attempts = disk.attempts
        disk.broken = None
        commit = journal.commit()
        await commit.wait()
        assert available(journal)
        assert attempts > 2
        assert [each for each, _ in states.seen] == [False, True]
        assert journal.backlog == 0
        # The first attempt after a failure takes along what is in the log, and so has undone it.
        assert disk.tables[-1] == {"inserts": 1, "removes": 0, "touches": 0}
        assert stored(tmp_path) == [(1, 4)]
        assert list(journal.documents("n")) == [Document("n", "r", "k", b"v")]
        journal.insert(1, entry(5))
        await journal.commit().wait()
    assert stored(tmp_path) == [(1, 4), (1, 5)]
    assert len(states.seen) == 2  # closing is no failure


async def test_publishers_who_wait_are_sent_away_when_writing_fails(
    tmp_path: Path, disk: Disk
) -> None:
    journal = SqliteJournal(tmp_path, open_store=disk, backlog_limit=100)
    async with journal.running():
        disk.hold()
        disk.broken = FULL
        journal.insert(1, entry(1, b"x" * 200))

        async def publish() -> None:
            with pytest.raises(UnavailableError, match="disk is full"):
                await journal.ready()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish)
            await disk.reached()
            disk.let_go()


async def test_what_comes_in_while_an_attempt_succeeds_is_written_next(
    tmp_path: Path, disk: Disk
) -> None:
    states = States()
    journal = SqliteJournal(tmp_path, open_store=disk, on_state=states)
    async with journal.running():
        disk.broken = FULL
        first = entry(1)
        journal.insert(1, first)
        with pytest.raises(UnavailableError):
            await journal.commit().wait()
        await disk.reached()
        disk.hold()
        disk.broken = None
        await disk.reached()
        journal.remove(1, first)  # its insert is on its way
        commit = journal.commit()
        disk.let_go()
        await commit.wait()
        assert stored(tmp_path) == []


async def test_a_disk_that_hangs_is_a_failure_until_it_answers(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "STALL", 0.02)
    states = States()
    journal = SqliteJournal(tmp_path, open_store=disk, on_state=states)
    async with journal.running():
        disk.hold()
        journal.insert(1, entry(1))
        with pytest.raises(UnavailableError, match="has not answered"):
            await journal.commit().wait()
        assert not available(journal)
        journal.put(Document("n", "r", "k", b"v"))
        with pytest.raises(UnavailableError, match="has not answered"):
            await journal.commit().wait()
        disk.let_go()
        while not available(journal):
            await states.next()
        await journal.commit().wait()
        assert stored(tmp_path) == [(1, 1)]
        assert len(list(journal.documents("n"))) == 1


async def test_a_disk_that_hangs_while_it_is_tidied_fails_nobody_silently(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "STALL", 0.02)
    monkeypatch.setattr(journal_module, "TIDY_INTERVAL", 0.001)
    states = States()
    journal = SqliteJournal(tmp_path, open_store=disk, on_state=states)
    disk.hold()
    async with journal.running():
        await states.next()
        journal.put(Document("n", "r", "k", b"v"))
        with pytest.raises(UnavailableError, match="has not answered"):
            await journal.commit().wait()
        disk.let_go()
        while not available(journal):
            await states.next()
        await journal.commit().wait()
        assert len(list(journal.documents("n"))) == 1


async def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    script = Path(__file__).with_name("full_disk_child.py")
    done = await trio.run_process([sys.executable, str(script), str(tmp_path)], capture_stdout=True)
    said = [line.split(" ", 1) for line in done.stdout.decode().splitlines()]
    assert [line[0] for line in said] == ["unavailable", "refused", "available", "last"]
    assert "cannot write to the store" in said[1][1]
    last = int(said[-1][1])
    assert last > 3
    assert stored(tmp_path) == [(1, number) for number in range(2, last + 1)]


# opening and closing


async def test_a_folder_serves_one_journal_at_a_time(tmp_path: Path) -> None:
    first, second = SqliteJournal(tmp_path), SqliteJournal(tmp_path)
    async with first.running():
        with pytest.raises(UnavailableError, match="in use by another hubbub"):
            async with second.running():
                pass
        first.insert(1, entry(1))
        await first.commit().wait()
    third = SqliteJournal(tmp_path)
    async with third.running():
        assert len(list(third.entries())) == 1


async def test_a_refused_file_leaves_the_folder_unlocked(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database" * 100)
    journal = SqliteJournal(tmp_path)
    with pytest.raises(UnavailableError, match="no hubbub store"):
        async with journal.running():
            pass
    lock = FolderLock(tmp_path)
    lock.acquire()
    lock.release()


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="cannot create the data folder"):
        async with SqliteJournal(tmp_path / "file" / "data").running():
            pass


async def test_an_existing_folder_keeps_its_mode(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(0o755)
    async with SqliteJournal(folder).running():
        pass
    assert folder.stat().st_mode & 0o777 == 0o755


async def test_what_the_body_raises_comes_out_plain_after_everything_is_written(
    tmp_path: Path,
) -> None:
    journal = SqliteJournal(tmp_path)

    async def fail() -> None:
        async with journal.running():
            journal.insert(1, entry(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert stored(tmp_path) == [(1, 1)]
    assert not (tmp_path / (FILE_NAME + "-wal")).exists()


async def test_a_cancelled_body_still_writes_everything(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path)
    with trio.CancelScope() as scope:
        async with journal.running():
            journal.insert(1, entry(1))
            scope.cancel()
            await trio.sleep_forever()
    assert stored(tmp_path) == [(1, 1)]


async def test_closing_a_store_that_fails_ends_and_tells_who_waits(
    tmp_path: Path, disk: Disk
) -> None:
    journal = SqliteJournal(tmp_path, open_store=disk)
    told = trio.Event()

    async def wait(commit: Any) -> None:
        with pytest.raises(UnavailableError):
            await commit.wait()
        told.set()

    async with trio.open_nursery() as nursery:
        async with journal.running():
            disk.broken = FULL
            journal.insert(1, entry(1))
            nursery.start_soon(wait, journal.commit())
        await told.wait()
    assert disk.attempts == 2
    assert stored(tmp_path) == []


async def test_closing_does_not_wait_longer_than_its_deadline(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "CLOSE_TIMEOUT", 0.02)
    journal = SqliteJournal(tmp_path, open_store=disk, close_timeout=0.02)
    async with journal.running():
        disk.hold()
        journal.insert(1, entry(1))
        commit = journal.commit()
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(UnavailableError):
                    await commit.wait()

            nursery.start_soon(wait)
            await disk.reached()
            nursery.cancel_scope.cancel()
    with pytest.raises(UnavailableError, match="closed before"):
        await commit.wait()
    with pytest.raises(UnavailableError, match="in use"):  # the thread may still write
        FolderLock(tmp_path).acquire()
    disk.let_go()
    for thread in threading.enumerate():
        if thread.name == "hubbub journal":
            thread.join(PATIENCE)
    lock = FolderLock(tmp_path)
    lock.acquire()
    lock.release()
    assert stored(tmp_path) == [(1, 1)]


async def test_a_closed_journal_takes_nothing_and_says_so(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path)
    with pytest.raises(UnavailableError, match="not open"):
        journal.insert(1, entry(1))
    async with journal.running():
        pass
    with pytest.raises(UnavailableError, match="closed"):
        journal.insert(1, entry(1))
    with pytest.raises(UnavailableError, match="closed"):
        await journal.ready()
    journal.put(Document("n", "r", "k", b"v"))
    with pytest.raises(UnavailableError, match="closed"):
        await journal.commit().wait()


async def test_tidying_goes_on_beside_the_writing(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "TIDY_INTERVAL", 0.001)
    monkeypatch.setattr(journal_module, "LOG_BYTES", 0)
    async with (journal := SqliteJournal(tmp_path, open_store=disk)).running():
        journal.remember(1, "ended", 1, 1)
        journal.remember(1, "lasting", 1, 1 << 60)
        await journal.commit().wait()
        while len(list(journal.dedups())) == 2:
            await disk.tidied()
        assert [each[1] for each in journal.dedups()] == ["lasting"]


# crashes


def test_kill_at_any_moment_loses_nothing_confirmed(tmp_path: Path) -> None:
    script = Path(__file__).with_name("crash_child.py")
    present: set[int] = set()  # by the end of the round before
    for seed in range(6):
        rng = random.Random(seed)
        with subprocess.Popen(
            [sys.executable, str(script), str(tmp_path), str(seed)], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(rng.randrange(50, 3000))]
            child.kill()
            lines += child.stdout.readlines()
        said: dict[str, set[int]] = {"kept": set(), "leaving": set(), "left": set()}
        for line in lines:
            if line.endswith(b"\n"):
                what, number = line.decode().split()
                said[what].add(int(number))
        assert said["kept"]
        with opened(tmp_path / FILE_NAME), reading(tmp_path / FILE_NAME) as reader:
            entries = list(reader.entries())
            found = {each.id for _, each in entries}
            assert all(queue == each.id % 3 for queue, each in entries)
            assert all(each.message and len(each.message.body) == each.size for _, each in entries)
            assert max(found) <= reader.marks()[0]
            recorded = sequences(reader, 1)
        assert said["kept"] <= set(recorded)
        assert len(recorded) == len(set(recorded))
        assert said["kept"] - said["leaving"] <= found
        assert not said["left"] & found
        assert present <= found
        assert not present & said["kept"]  # no number is used twice
        present = found


# memory


async def test_the_memory_journal_keeps_nothing_and_owes_nothing() -> None:
    journal = MemoryJournal()
    async with journal.running():
        journal.insert(1, entry(1))
        append(journal, 1, record(1, 1))
        journal.put(Document("n", "r", "k", b"v"))
        commit = journal.commit()
        assert done(commit)
        await commit.wait()
        await journal.ready()
        assert journal.backlog == 0
        assert available(journal)
        assert not journal.keeps
        assert journal.fetch([1]) == {}
        assert list(journal.entries()) == []
        assert list(journal.documents("n")) == []
