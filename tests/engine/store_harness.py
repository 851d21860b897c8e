"""What the tests of the store and of the journal share."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hubbub.engine.batch import Batch
from hubbub.engine.blocks import pack
from hubbub.engine.entry import Entry
from hubbub.engine.store import Reader, Store
from hubbub.message import Message, encode_message
from hubbub.streams import Record

PLENTY = 1 << 30


def message(number: int, body: bytes | None = None, **fields: Any) -> Message:
    content = b"body %d" % number if body is None else body
    return Message(address="/queue/q", body=content, id=number, **fields)


def entry(number: int, body: bytes | None = None, **fields: Any) -> Entry:
    content = message(number, body)
    return Entry(id=number, message=content, size=content.size, **fields)


def record(
    shard: int, sequence: int, body: bytes | None = None, *, arrived: int | None = None
) -> Record:
    return Record(
        shard=shard,
        sequence=sequence,
        arrived=1_000 + shard if arrived is None else arrived,
        size=len(body or b"") + 7,
        partition_key=f"key {sequence}",
        message=message(sequence, body),
    )


def insert(batch: Batch, queue: int, each: Entry) -> Entry:
    assert each.message is not None
    batch.insert(queue, each, encode_message(each.message))
    return each


def append(batch: Batch, stream: int, *records: Record) -> None:
    """Append records of one shard."""
    batch.append(stream, records[0].shard, pack(records))


def sequences(reader: Reader, stream: int) -> list[int]:
    """The sequence numbers of all records of a stream, by shard."""
    found = []
    for each in reader.extents(stream):
        records = reader.fetch_records(stream, each.shard, each.first, each.last)
        assert (len(records), records[0].sequence, records[-1].sequence, records[0].arrived) == (
            each.count, each.first, each.last, each.since,
        )  # fmt: skip
        assert sum(record.size for record in records) == each.size
        assert records[-1].arrived == each.until
        found += [record.sequence for record in records]
    return found


@contextmanager
def opened(path: Path, **settings: Any) -> Iterator[Store]:
    store = Store(path, **settings)
    store.open()
    try:
        yield store
    finally:
        store.close()


@contextmanager
def reading(path: Path, memory_limit: int = PLENTY) -> Iterator[Reader]:
    reader = Reader(path, memory_limit)
    try:
        yield reader
    finally:
        reader.close()


def after_a_crash(path: Path, into: Path) -> Path:
    """A copy of a store as a crash would leave it now, opened once, so that it is sound again."""
    into.mkdir()
    for file in (path, path.with_name(path.name + "-wal")):
        if file.exists():
            shutil.copy(file, into)
    with opened(into / path.name):
        pass
    return into / path.name


def places(path: Path) -> list[tuple[int, int]]:
    """Queue and message id of every stored entry, each with its body in place."""
    with reading(path) as reader:
        found = list(reader.entries())
        bodies = reader.fetch([each.id for _, each in found])
    for _, each in found:
        assert each.message == bodies[each.id]
    return [(queue, each.id) for queue, each in found]
