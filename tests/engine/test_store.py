import random
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.engine import store as store_module
from hubbub.engine.batch import Batch
from hubbub.engine.contract import Document
from hubbub.engine.entry import Entry
from hubbub.engine.store import APPLICATION_ID, MIGRATIONS, Store
from hubbub.errors import RefusedError, UnavailableError
from hubbub.message import Death, Wire, encode_message
from hubbub.streams import Extent

from .store_harness import (
    PLENTY,
    append,
    entry,
    insert,
    message,
    opened,
    places,
    reading,
    record,
    sequences,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hubbub.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with opened(path) as each:
        yield each


def pragma(store: Store, name: str) -> Any:
    return store._db.execute(f"PRAGMA {name}").fetchone()[0]


def count(store: Store, table: str) -> int:
    found: int = store._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return found


# the file


def test_a_new_file_is_marked_private_and_logged_ahead(store: Store, path: Path) -> None:
    assert pragma(store, "application_id") == APPLICATION_ID
    assert pragma(store, "user_version") == len(MIGRATIONS)
    assert pragma(store, "journal_mode") == "wal"
    assert pragma(store, "page_size") == store_module.PAGE_BYTES
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("os", 1)])
def test_durability_chooses_when_the_disk_is_asked(
    path: Path, durability: str, synchronous: int
) -> None:
    with opened(path, durability=durability) as store:
        assert pragma(store, "synchronous") == synchronous


def test_closing_leaves_one_file_without_a_log(path: Path) -> None:
    with opened(path) as store:
        batch = Batch()
        insert(batch, 1, entry(1))
        store.write(batch)
        assert path.with_name("hubbub.db-wal").stat().st_size > 0
    assert [file.name for file in path.parent.iterdir()] == ["hubbub.db"]
    assert places(path) == [(1, 1)]


OLD = (*MIGRATIONS, ("CREATE TABLE thing (name TEXT)", "INSERT INTO thing VALUES ('kept')"))
NEW = (*OLD, ("ALTER TABLE thing ADD COLUMN size INTEGER", "UPDATE thing SET size = length(name)"))


def test_an_older_file_is_migrated_with_what_it_holds(path: Path) -> None:
    with opened(path, migrations=OLD):
        pass
    for _ in range(2):  # the second time there is nothing to do
        with opened(path, migrations=NEW) as store:
            assert store._db.execute("SELECT * FROM thing").fetchall() == [("kept", 4)]
            assert pragma(store, "user_version") == len(NEW)


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    with opened(path, migrations=OLD):
        pass
    before = path.read_bytes()
    broken = (*NEW, ("DELETE FROM thing", "SELECT * FROM missing"))
    with pytest.raises(UnavailableError, match="missing"):
        Store(path, migrations=broken).open()
    assert path.read_bytes() == before
    with opened(path, migrations=OLD) as store:
        assert store._db.execute("SELECT * FROM thing").fetchall() == [("kept",)]


def test_a_newer_file_is_refused(path: Path) -> None:
    with opened(path, migrations=NEW):
        pass
    before = path.read_bytes()
    wanted = rf"newer hubbub \(store version {len(NEW)}, this one knows {len(OLD)}"
    with pytest.raises(UnavailableError, match=wanted):
        Store(path, migrations=OLD).open()
    assert path.read_bytes() == before


@pytest.mark.parametrize("mark", [0, 77])
def test_a_database_of_another_program_is_refused(path: Path, mark: int) -> None:
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE song (title TEXT)")
        foreign.execute(f"PRAGMA application_id={mark}")
    foreign.close()
    before = path.read_bytes()
    with pytest.raises(UnavailableError, match="another program: choose another data folder"):
        Store(path).open()
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(UnavailableError, match="no hubbub store"):
        Store(path).open()
    assert path.read_bytes() == b"Dear diary, " * 1000


def test_an_empty_file_is_a_new_store(path: Path) -> None:
    path.touch()
    with opened(path) as store:
        assert pragma(store, "user_version") == len(MIGRATIONS)


def test_a_log_without_its_file_is_refused_and_kept(path: Path) -> None:
    log = path.with_name("hubbub.db-wal")
    log.write_bytes(b"precious")
    with pytest.raises(UnavailableError, match="put the file back"):
        Store(path).open()
    assert log.read_bytes() == b"precious"
    assert not path.exists()


def test_damage_is_found_after_an_unclean_end(path: Path, tmp_path: Path) -> None:
    with opened(path) as store:
        batch = Batch()
        for number in range(500):
            insert(batch, 1, entry(number, b"x" * 500))
        store.write(batch)
        store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        batch = Batch()
        insert(batch, 1, entry(1000))
        store.write(batch)
        crashed = tmp_path / "crashed"
        crashed.mkdir()
        for file in tmp_path.glob("hubbub.db*"):
            shutil.copy(file, crashed)
    copy = crashed / "hubbub.db"
    content = bytearray(copy.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20_000] = b"\xa5" * 20_000
    copy.write_bytes(content)
    with pytest.raises(UnavailableError, match=r"is damaged.*\.recover"):
        Store(copy).open()
    assert copy.read_bytes() == content


def test_damage_met_while_reading_says_what_to_do(path: Path) -> None:
    with opened(path) as store:
        batch = Batch()
        insert(batch, 1, entry(1))
        store.write(batch)
        store._db.execute("UPDATE message SET record = x'c1'")
        with reading(path) as reader:
            with pytest.raises(UnavailableError, match="is damaged"):
                reader.fetch([1])
            with pytest.raises(UnavailableError, match="is damaged"):
                list(reader.entries())


def test_a_folder_that_is_missing_or_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="nowhere"):
        Store(tmp_path / "nowhere" / "hubbub.db").open()
    (tmp_path / "hubbub.db").mkdir()
    with pytest.raises(UnavailableError, match="cannot open"):
        Store(tmp_path / "hubbub.db").open()


# entries


def test_every_field_of_an_entry_and_its_message_comes_back(store: Store, path: Path) -> None:
    sent = Entry(
        id=1 << 60,
        message=message(
            1 << 60,
            b"\0\xff",
            headers={"a": [1, -2.5, "ü", b"\0", None, True, {"b": 1 << 63}]},
            correlation_id=b"\0c",
            priority=9,
            deaths=(Death("q", "expired", "a", 5, 2),),
            wire=Wire("mqtt-5", b"\1\2"),
            expires_at=123,
        ),
        size=77,
        priority=9,
        group="g",
        expires_at=1 << 50,
        published=1 << 41,
        visible_at=1 << 42,
        token=1 << 40,
        receives=3,
        first_received=1 << 43,
        tag=65535,
        owner="mqtt/client ü",
    )
    batch = Batch()
    insert(batch, 1 << 40, sent)
    store.write(batch)
    with reading(path) as reader:
        [(queue, found)] = reader.entries()
    assert queue == 1 << 40
    assert found.stored
    for field in Entry.__struct_fields__:
        if field != "stored":
            assert getattr(found, field) == getattr(sent, field), field


@pytest.mark.parametrize("rows", [1, 2, 255, 256, 257, 1000, 2500])
def test_any_number_of_entries_enters_changes_and_leaves(
    store: Store, path: Path, rows: int
) -> None:
    batch = Batch()
    entries = [insert(batch, number % 3, entry(number)) for number in range(1, rows + 1)]
    random.Random(rows).shuffle(entries)
    store.write(batch)
    assert places(path) == [(number % 3, number) for number in range(1, rows + 1)]
    batch = Batch()
    for each in entries:
        each.token, each.owner = each.id + 5, "me"
        batch.touch(each.id % 3, each)
    store.write(batch)
    with reading(path) as reader:
        assert all(each.token == each.id + 5 for _, each in reader.entries())
    batch = Batch()
    for each in entries:
        batch.remove(each.id % 3, each)
    store.write(batch)
    assert count(store, "entry") == count(store, "message") == 0


@pytest.mark.parametrize("size", [0, 1, 16_000, 17_000, 1 << 20])
def test_bodies_of_any_size_come_back(store: Store, path: Path, size: int) -> None:
    batch = Batch()
    sent = insert(batch, 1, entry(1, random.Random(1).randbytes(size)))
    append(batch, 1, record(1, 2, sent.message.body if sent.message else b""))
    batch.put(("n", "r", "k"), b"v" * size)
    store.write(batch)
    with reading(path) as reader:
        assert reader.fetch([1]) == {1: sent.message}
        assert len(next(reader.documents("n")).value) == size
        [found] = reader.fetch_records(1, 1, 0, 9)
        assert found.message is not None
        assert len(found.message.body) == size


@pytest.mark.parametrize("together", [True, False])
def test_a_message_in_several_queues_is_stored_once_and_goes_with_the_last(
    store: Store, path: Path, *, together: bool
) -> None:
    batch = Batch()
    shared = message(7)
    entries = {queue: Entry(id=7, message=shared, size=6) for queue in (1, 2, 3)}
    for queue, each in entries.items():
        insert(batch, queue, each)
        if not together:
            store.write(batch)
            batch = Batch()
    store.write(batch)
    assert count(store, "message") == 1
    for queue, left in ((2, [1, 3]), (1, [3]), (3, [])):
        batch = Batch()
        batch.remove(queue, entries[queue])
        store.write(batch)
        assert places(path) == [(number, 7) for number in left]
        assert count(store, "message") == bool(left)
    with reading(path) as reader:
        assert [each for _, each in reader.entries()] == []


def test_entries_of_a_shared_message_share_it_when_loaded(store: Store, path: Path) -> None:
    batch = Batch()
    shared = message(7)
    for queue in range(1500):  # more than one page of entries
        insert(batch, queue, Entry(id=7, message=shared, size=6))
    store.write(batch)
    with reading(path) as reader:
        assert len({id(each.message) for _, each in reader.entries()}) == 1


def test_the_same_message_may_come_back_to_a_queue_it_left(store: Store, path: Path) -> None:
    batch = Batch()
    first = insert(batch, 1, entry(7))
    store.write(batch)
    batch = Batch()
    batch.remove(1, first)
    insert(batch, 1, entry(7))
    store.write(batch)
    assert places(path) == [(1, 7)]


def test_a_touched_entry_that_is_not_stored_is_not_made_up(store: Store, path: Path) -> None:
    batch = Batch()
    batch.touch(1, entry(7))
    store.write(batch)
    assert places(path) == []


def test_bodies_beyond_the_memory_limit_stay_in_the_store(store: Store, path: Path) -> None:
    batch = Batch()
    for number in range(1, 11):
        insert(batch, 1, entry(number, b"x" * 1000))
    store.write(batch)
    with reading(path, memory_limit=6500) as reader:
        loaded = [each.message is not None for _, each in reader.entries()]
        assert loaded == [True] * 5 + [False] * 5
        assert len(reader.fetch(range(1, 11))) == 10


@pytest.mark.parametrize("value", [1 << 70, "\ud800", object()])
def test_a_message_that_fits_no_encoding_is_refused(value: Any) -> None:
    with pytest.raises(RefusedError, match="cannot be stored"):
        encode_message(message(2, headers={"odd": value}))


# queues that go


def test_a_dropped_queue_takes_its_rows_and_no_others(store: Store, path: Path) -> None:
    shared = message(50)
    for number_of_drop in range(3):  # the rows of each queue are counted from the first on
        batch = Batch()
        for number in range(1, 5):
            insert(batch, 1, entry(number))
        for queue in (1, 2):
            insert(batch, queue, Entry(id=50, message=shared, size=7))
            batch.remember(queue, "key", 50, 1000)
        store.write(batch)
        batch = Batch()
        batch.drop_queue(1)
        batch.drop_queue(9)
        insert(batch, 1, entry(60 + number_of_drop))
        store.write(batch)
        assert places(path) == [(2, 50), (1, 60 + number_of_drop)]
        batch = Batch()
        batch.drop_queue(1)
        store.write(batch)
        assert places(path) == [(2, 50)]
        with reading(path) as reader:
            assert {each[0] for each in reader.dedups()} == {2}
        assert count(store, "message") == 1


def test_rows_are_counted_anew_after_a_failure(store: Store, path: Path) -> None:
    batch = Batch()
    batch.drop_queue(9)
    store.write(batch)
    batch = Batch()
    insert(batch, 1, entry(1))
    store.write(batch)
    batch = Batch()
    batch.drop_queue(1)
    store._db.execute("PRAGMA query_only=1")
    with pytest.raises(sqlite3.OperationalError):
        store.write(batch)
    store._db.execute("PRAGMA query_only=0")
    store.write(batch)
    assert places(path) == []


# the rest


def test_documents_come_back_by_realm_and_key(store: Store, path: Path) -> None:
    batch = Batch()
    for number in range(250):
        batch.put(("n", f"r{number % 2}", f"{number:03}"), b"old")
        batch.put(("n", f"r{number % 2}", f"{number:03}"), b"%d" % number)
    batch.put(("n", "", ""), b"")
    batch.put(("other", "", ""), b"o")
    store.write(batch)
    batch = Batch()
    batch.put(("n", "r0", "100"), None)
    batch.put(("n", "r0", "missing"), None)
    batch.put(("n", "r1", "101"), b"new")
    store.write(batch)
    expected = [Document("n", "", "", b"")]
    for number in [*range(0, 250, 2), *range(1, 250, 2)]:
        value = b"new" if number == 101 else b"%d" % number
        if number != 100:
            expected.append(Document("n", f"r{number % 2}", f"{number:03}", value))
    with reading(path) as reader:
        assert list(reader.documents("n")) == expected


def test_records_come_back_by_shard_and_sequence(store: Store, path: Path) -> None:
    batch = Batch()
    for sequence in range(1, 400):
        append(batch, 1, record(sequence % 2, sequence))
    append(batch, 2, record(0, (1 << 63) - 1))
    store.write(batch)
    with reading(path) as reader:
        assert list(reader.extents(1)) == [
            Extent(0, 2, 398, 199, 199 * 7, 1000, 1000),
            Extent(1, 1, 399, 200, 200 * 7, 1001, 1001),
        ]
        assert sequences(reader, 1) == [*range(2, 400, 2), *range(1, 400, 2)]
        assert reader.fetch_records(2, 0, 0, (1 << 63) - 1) == [record(0, (1 << 63) - 1)]
        assert reader.fetch_records(1, 0, 3, 6) == [record(0, 4), record(0, 6)]
        assert reader.fetch_records(1, 0, 399, 500) == []
    batch = Batch()
    append(batch, 1, record(0, 400, b"x" * 9000))
    store.write(batch)
    batch = Batch()
    batch.trim(1, 0, 399)
    batch.trim(1, 0, 8)  # never back
    batch.trim(1, 1, 399)  # within a block, which stays
    store.write(batch)
    with reading(path) as reader:
        assert sequences(reader, 1) == [400, *range(1, 400, 2)]
    batch = Batch()
    batch.drop_stream(1)
    append(batch, 1, record(0, 500))
    store.write(batch)
    with reading(path) as reader:
        assert sequences(reader, 1) == [500]
        assert len(list(reader.extents(2))) == 1


def test_any_span_of_records_is_found(store: Store, path: Path) -> None:
    for sequence in range(0, 90, 9):
        batch = Batch()
        append(
            batch, 1, *[record(0, number, b"x" * 1000) for number in range(sequence, sequence + 9)]
        )
        store.write(batch)
    with reading(path) as reader:
        assert len(list(reader.extents(1))) == 10
        for first in range(0, 90, 4):
            for last in (first, first + 1, first + 9, first + 30, 1000):
                found = [each.sequence for each in reader.fetch_records(1, 0, first, last)]
                assert found == list(range(first, min(last + 1, 90)))


def test_records_one_by_one_are_joined_to_few_blocks(store: Store, path: Path) -> None:
    written = 0

    def note(statement: str) -> None:
        nonlocal written
        written += statement.startswith("DELETE FROM block")

    store._db.set_trace_callback(note)
    for number in range(1, 301):
        batch = Batch()
        append(batch, 1, record(0, number, b"x" * 100))
        store.write(batch)
    store._db.set_trace_callback(None)
    with reading(path) as reader:
        assert sequences(reader, 1) == list(range(1, 301))
        # Each is the length of all that were joined before it, or has got long enough.
        assert len(list(reader.extents(1))) < 16
    assert written < 300


def test_records_far_apart_are_not_joined(store: Store, path: Path) -> None:
    for number in range(1, 5):
        batch = Batch()
        append(batch, 1, record(0, number, arrived=number * 400_000))
        store.write(batch)
    with reading(path) as reader:
        assert [each.count for each in reader.extents(1)] == [2, 2]


def test_records_that_come_twice_are_stored_once(store: Store, path: Path) -> None:
    batch = Batch()
    append(batch, 1, record(0, 1), record(0, 2))
    store.write(batch)
    append(batch, 1, record(0, 3))
    store.write(batch)
    store.write(batch)
    with reading(path) as reader:
        assert sequences(reader, 1) == [1, 2, 3]


def test_deduplication_ids_come_back_in_order_until_tidied(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "TIDY_ROWS", 100)
    batch = Batch()
    for number in range(250):
        batch.remember(1, f"k{number}", number, 1000 + number % 2)
    batch.remember(1, "k0", 999, 5000)
    store.write(batch)
    with reading(path) as reader:
        assert next(reader.dedups()) == (1, "k0", 0, 1000)
        assert list(reader.dedups())[-1] == (1, "k0", 999, 5000)
    assert store.tidy(1001)  # 125 have ended
    assert not store.tidy(1001)
    assert count(store, "dedup") == 126
    assert store.tidy(1002)
    assert not store.tidy(1002)
    with reading(path) as reader:
        assert list(reader.dedups()) == [(1, "k0", 999, 5000)]


def test_an_emptied_file_gives_its_space_back_in_slices(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "SPARE_PAGES", 16)
    monkeypatch.setattr(store_module, "TIDY_PAGES", 64)
    batch = Batch()
    entries = [insert(batch, 1, entry(number, b"x" * 100_000)) for number in range(20)]
    store.write(batch)
    before = pragma(store, "page_count")
    assert not store.tidy(0)
    batch = Batch()
    for each in entries:
        batch.remove(1, each)
    store.write(batch)
    assert store.tidy(0)
    assert pragma(store, "page_count") == before - 64
    while store.tidy(0):
        pass
    assert pragma(store, "page_count") < before / 4


def test_marks_stay_above_everything(store: Store, path: Path) -> None:
    with reading(path) as reader:
        assert reader.marks() == (0, 0)
    batch = Batch()
    insert(batch, 1, entry(70))
    batch.marks = (50, 60)
    store.write(batch)
    with reading(path) as reader:
        assert reader.marks() == (70, 60)


# batches against a model


Step = tuple[Any, ...]
QUEUES = st.integers(1, 3)
IDS = st.integers(1, 6)
STEPS = st.one_of(
    st.tuples(st.just("insert"), QUEUES, IDS),
    st.tuples(st.just("remove"), QUEUES, IDS),
    st.tuples(st.just("touch"), QUEUES, IDS),
    st.tuples(st.just("remember"), QUEUES, st.sampled_from("xy")),
    st.tuples(st.just("forget"), QUEUES),
    st.tuples(st.just("drop_queue"), QUEUES),
    st.tuples(st.just("put"), st.sampled_from("ab"), st.sampled_from([None, b"1", b"2"])),
    st.tuples(st.just("append"), st.integers(1, 2)),
    st.tuples(st.just("trim"), st.integers(1, 2)),
    st.tuples(st.just("drop_stream"), st.integers(1, 2)),
    st.tuples(st.sampled_from(["log", "write", "fail", "crash"])),
)


class Model:
    """What should be stored, kept the plain way."""

    def __init__(self) -> None:
        self.entries: dict[tuple[int, int], Entry] = {}
        self.dedups: set[tuple[int, str]] = set()
        self.documents: dict[str, bytes] = {}
        self.records: dict[int, list[int]] = {}
        self.trims: dict[int, int] = {}
        self.sequence = 0
        self.token = 0

    def apply(self, step: Step, batch: Batch) -> None:
        name, *arguments = step
        getattr(self, name)(batch, *arguments)

    def insert(self, batch: Batch, queue: int, number: int) -> None:
        if (queue, number) not in self.entries:
            self.entries[queue, number] = insert(batch, queue, entry(number))

    def remove(self, batch: Batch, queue: int, number: int) -> None:
        if (queue, number) in self.entries:
            batch.remove(queue, self.entries.pop((queue, number)))

    def touch(self, batch: Batch, queue: int, number: int) -> None:
        if (queue, number) in self.entries:
            self.token += 1
            self.entries[queue, number].token = self.token
            batch.touch(queue, self.entries[queue, number])

    def drop_queue(self, batch: Batch, queue: int) -> None:
        self.entries = {key: each for key, each in self.entries.items() if key[0] != queue}
        self.dedups = {each for each in self.dedups if each[0] != queue}
        batch.drop_queue(queue)

    def remember(self, batch: Batch, queue: int, key: str) -> None:
        self.dedups.add((queue, key))
        batch.remember(queue, key, 1, 99)

    def forget(self, batch: Batch, queue: int) -> None:
        self.dedups = {each for each in self.dedups if each[0] != queue}
        batch.forget(queue)

    def put(self, batch: Batch, key: str, value: bytes | None) -> None:
        self.documents.pop(key, None)
        if value is not None:
            self.documents[key] = value
        batch.put(("n", "r", key), value)

    def append(self, batch: Batch, stream: int) -> None:
        self.sequence += 1
        self.records.setdefault(stream, []).append(self.sequence)
        append(batch, stream, record(0, self.sequence))

    def trim(self, batch: Batch, stream: int) -> None:
        before = self.trims[stream] = self.sequence // 2
        self.records[stream] = [each for each in self.records.get(stream, []) if each >= before]
        batch.trim(stream, 0, before)

    def drop_stream(self, batch: Batch, stream: int) -> None:
        self.records[stream] = []
        batch.drop_stream(stream)

    def check(self, path: Path) -> None:
        assert sorted(places(path)) == sorted(self.entries)
        with reading(path) as reader:
            for queue, each in reader.entries():
                assert each.token == self.entries[queue, each.id].token
            assert {(queue, key) for queue, key, _, _ in reader.dedups()} == self.dedups
            kept = {each.key: each.value for each in reader.documents("n")}
            assert kept == self.documents
            for stream in (1, 2):
                kept_from = self.trims.get(stream, 0)
                found = [each for each in sequences(reader, stream) if each >= kept_from]
                assert found == self.records.get(stream, [])
                assert all(each.last >= kept_from for each in reader.extents(stream))
            ids = {number for _, number in self.entries}
            assert set(reader.fetch(range(10))) == ids


class Writer:
    """Writes batches as a journal does, to a store that fails or crashes now and then."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.batch = Batch()
        self._logged = Batch()
        self._astray = False
        self._store = Store(path, "os")
        self._store.open()

    def log(self) -> None:
        if self._astray:
            self.write()
        else:
            self._store.append(self.batch)
            self._logged.absorb(self.batch)
            self.batch = Batch()
        assert self._logged.bytes >= 0

    def write(self) -> None:
        self._logged.absorb(self.batch)
        self._store.write(self._logged)
        self._logged, self.batch = Batch(), Batch()
        self._astray = False

    def fail(self) -> None:
        self._logged.absorb(self.batch)
        self._logged, self.batch = Batch(), self._logged
        self._astray = True

    def crash(self) -> None:
        self.log()
        self.close()
        self._logged = Batch()
        self._store = Store(self.path, "os")
        self._store.open()

    def close(self) -> None:
        self._store.close()


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_what_is_stored_is_what_was_handed_over_however_it_is_written(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model, writer = Model(), Writer(Path(folder) / "hubbub.db")
        for step in [*steps, ("log",), ("crash",)]:
            if step[0] in {"log", "write", "fail", "crash"}:
                getattr(writer, step[0])()
                if step[0] in {"write", "crash"}:
                    model.check(writer.path)
            else:
                model.apply(step, writer.batch)
        writer.close()


@given(st.lists(STEPS, max_size=40))
def test_a_batch_whose_entries_all_left_weighs_nothing(steps: list[Step]) -> None:
    batch, model = Batch(), Model()
    for step in steps:
        if step[0] in {"insert", "remove", "touch"}:
            model.apply(step, batch)
    for queue, number in list(model.entries):
        model.remove(batch, queue, number)
    assert batch.empty
    assert batch.bytes == 0
    assert not batch.bodies


# crashes


def test_a_crash_before_any_statement_leaves_all_of_a_batch_or_nothing(
    store: Store, path: Path, tmp_path: Path
) -> None:
    batch = Batch()
    old = [insert(batch, number % 2, entry(number)) for number in range(1, 401)]
    batch.put(("n", "r", "k"), b"old")
    append(batch, 1, record(0, 1))
    store.write(batch)
    before = places(path)

    copies: list[Path] = []

    def copy(statement: str) -> None:
        target = tmp_path / f"crash{len(copies)}"
        target.mkdir()
        for name in ("hubbub.db", "hubbub.db-wal"):
            shutil.copy(tmp_path / name, target)
        copies.append(target / "hubbub.db")

    batch = Batch()
    batch.drop_queue(1)
    for each in old[1:200:2]:
        batch.remove(0, each)
    for number in range(1001, 1401):
        insert(batch, 2, entry(number, b"x" * 1000))
    old[-1].token = 5
    batch.touch(0, old[-1])
    batch.remember(2, "key", 1001, 99)
    batch.put(("n", "r", "k"), b"new")
    append(batch, 1, record(0, 2, arrived=1_000_000))
    batch.trim(1, 0, 2)
    batch.marks = (2000, 2000)
    store._db.set_trace_callback(copy)
    store._db.execute("PRAGMA cache_size=4")  # so that pages spill to the log midway
    store.write(batch)
    store._db.set_trace_callback(None)
    copy("after the commit")

    after = places(path)
    seen = []
    for crashed in copies:
        with opened(crashed):
            pass
        with reading(crashed) as reader:
            [document] = reader.documents("n")
            kept = sequences(reader, 1)
            marks = reader.marks()
        found = places(crashed)
        state = (found, document.value, kept, marks)
        assert state in (
            (before, b"old", [1], (400, 0)),
            (after, b"new", [2], (2000, 2000)),
        )
        seen.append(found == after)
    assert len(copies) > 12
    assert seen == sorted(seen)
    assert seen[-1]
    assert not seen[-2]  # the commit itself makes the difference


def test_a_log_that_is_damaged_is_told_and_kept(store: Store, path: Path, tmp_path: Path) -> None:
    batch = Batch()
    insert(batch, 1, entry(1))
    store.append(batch)
    store._db.execute("UPDATE log SET changes = substr(changes, 1, length(changes) - 1)")
    for _ in range(2):
        with pytest.raises(UnavailableError, match="is damaged"):
            Store(path).open()


def test_a_copy_of_nothing_is_not_an_error(path: Path) -> None:
    with opened(path):
        assert places(path) == []
        with reading(path, PLENTY) as reader:
            assert reader.fetch([]) == {}
            assert reader.fetch_records(1, 1, 0, 9) == []
