"""What the tests of the store and of the journal share."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hubbub.engine.batch import Batch, StoredRecord
from hubbub.engine.entry import Entry
from hubbub.engine.store import Reader, Store
from hubbub.message import Message, encode_message

PLENTY = 1 << 30


def message(number: int, body: bytes | None = None, **fields: Any) -> Message:
    content = b"body %d" % number if body is None else body
    return Message(address="/queue/q", body=content, id=number, **fields)


def entry(number: int, body: bytes | None = None, **fields: Any) -> Entry:
    content = message(number, body)
    return Entry(id=number, message=content, size=content.size, **fields)


def record(shard: int, sequence: int, body: bytes | None = None) -> StoredRecord:
    return StoredRecord(
        shard=shard,
        sequence=sequence,
        arrived=1_000 + shard,
        size=len(body or b"") + 7,
        partition_key=f"key {sequence}",
        explicit_hash_key=(1 << 128) - 1 - sequence if sequence % 3 else None,
        message=message(sequence, body),
    )


def insert(batch: Batch, queue: int, each: Entry) -> Entry:
    assert each.message is not None
    batch.insert(queue, each, encode_message(each.message))
    return each


def append(batch: Batch, stream: int, each: StoredRecord) -> None:
    batch.append(stream, each, encode_message(each.message))


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
