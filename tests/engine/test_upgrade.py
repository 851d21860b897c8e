"""Data folders as former versions of the store left them, opened by this one.

`former/version-N.sql` is the dump of a store that version N wrote and a crash ended. Its stream
`log` has a closed shard and three open ones. The last three of its records are in the log of the
store, all others in the tables.
"""

import sqlite3
from pathlib import Path

import pytest

from hubbub.engine.embedded import EmbeddedEngine
from hubbub.engine.sqlite import FILE_NAME, SqliteJournal
from hubbub.engine.store import MIGRATIONS, Store
from hubbub.message import encode_message
from hubbub.streams import Record, TrimmedPositionError
from hubbub.testing import ManualClock

from .store_harness import message, opened, reading, sequences

FORMER = Path(__file__).parent / "former"
REALM = "/"


def folder_of_version(version: int, folder: Path) -> Path:
    """Make a data folder of what a former version left."""
    folder.mkdir()
    with sqlite3.connect(folder / FILE_NAME) as connection:
        connection.executescript((FORMER / f"version-{version}.sql").read_text())
    connection.close()
    return folder


async def test_everything_of_version_2_is_there(tmp_path: Path) -> None:
    folder = folder_of_version(2, tmp_path / "data")
    clock = ManualClock(1_700_000_013_000)
    for _ in range(2):  # also when it is opened once more
        engine = EmbeddedEngine(SqliteJournal(folder, clock=clock), clock, memory_limit=1 << 20)
        async with engine.running():
            queue, stream = engine.find_queue(REALM, "q"), engine.find_stream(REALM, "log")
            assert queue is not None
            assert [each.body for each in queue.peek(9)] == [b"in a queue"]
            assert stream is not None
            assert len(stream) == 42
            found = [
                record
                for shard in stream.shards()
                for record in (
                    await stream.read(stream.oldest(shard.id), limit=99, max_bytes=1 << 20)
                ).records
            ]
            numbers = [int(record.message.body.removeprefix(b"record ")) for record in found]
            assert sorted(numbers) == list(range(3, 45))
            for record, number in zip(found, numbers, strict=True):
                assert record.message.headers == {"n": number}
                assert record.partition_key == record.message.group == f"key {number}"
                assert record.size == len("record ") + 5
                assert record.arrived == record.message.published
            shard_keys = {record.message.shard_key for record in found}
            assert shard_keys == {None, str(2**128 - 1), "0"}
            with pytest.raises(TrimmedPositionError):
                await stream.read(stream.at_sequence(0, 3), limit=1, max_bytes=99)


def test_records_of_version_2_are_packed_into_blocks_of_bounded_length_and_time(
    tmp_path: Path,
) -> None:
    path = tmp_path / FILE_NAME
    store = Store(path, migrations=MIGRATIONS[:2])
    store.open()
    connection = store._db
    for number in range(1, 2501):
        values = (1, number % 2, number, number * 1000, 50, "key", encode_message(message(number)))
        connection.execute("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, NULL, ?)", values)
    store.close()
    with opened(path), reading(path) as reader:
        assert sequences(reader, 1) == [*range(2, 2501, 2), *range(1, 2501, 2)]
        extents = list(reader.extents(1))
        assert all(each.until - each.since <= 600_000 for each in extents)
        assert len(extents) == 10
        [record] = reader.fetch_records(1, 1, 777, 777)
        assert record == Record(1, 777, 777_000, "key", message(777), 50)
