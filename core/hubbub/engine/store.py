"""The SQLite file that keeps everything durable: its schema, its migrations and its statements.

Nothing here knows of Trio or threads. A `Store` writes a `Batch` in one transaction, a `Reader`
reads on a connection of its own. A message in several queues is stored once; its row goes with its
last entry. Records of streams are stored in blocks, see `hubbub.engine.blocks`.

A small batch is appended to a log, as one row: `append`. Most of what is in it is soon undone,
since most messages are settled soon, so what the log holds is brought into the tables only when
much has gathered, by one batch that is the sum of all of them: `write`. What a crash leaves in the
log is brought in by `open`.

Why the statements look as they do: Python's sqlite3 lets go of the GIL at every step and has to win
it back from a busy event loop, so a batch is a handful of statements over many rows, whatever its
size. Measured on SQLite 3.40: pages of 8 KiB cost a tenth less CPU than pages of 4, packed lease
fields a quarter less than columns.
"""

import contextlib
import os
import sqlite3
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from hubbub.errors import UnavailableError
from hubbub.message import MEMORY_COST, Message
from hubbub.streams import Extent, Record

from . import blocks, log
from .batch import Batch
from .blocks import Block
from .contract import Document
from .entry import Entry
from .terms import Terms, pack, unpack
from .upgrade import pack_records

APPLICATION_ID = 0x68756262
"""Marks our files ("hubb" in ASCII), see https://www.sqlite.org/pragma.html#pragma_application_id"""

Step = str | Callable[[sqlite3.Connection], None]
"""A statement, or a function where statements can't do it."""

MIGRATIONS: tuple[tuple[Step, ...], ...] = (
    (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        """CREATE TABLE document (
            namespace TEXT NOT NULL, realm TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
            PRIMARY KEY (namespace, realm, key)) WITHOUT ROWID""",
        "CREATE TABLE message (id INTEGER PRIMARY KEY, record BLOB NOT NULL)",
        """CREATE TABLE entry (
            message INTEGER NOT NULL, queue INTEGER NOT NULL, terms BLOB NOT NULL,
            PRIMARY KEY (message, queue)) WITHOUT ROWID""",
        """CREATE TABLE dedup (
            number INTEGER PRIMARY KEY, queue INTEGER NOT NULL, key TEXT NOT NULL,
            message INTEGER NOT NULL, until INTEGER NOT NULL)""",
        """CREATE TABLE record (
            stream INTEGER NOT NULL, shard INTEGER NOT NULL, sequence INTEGER NOT NULL,
            arrived INTEGER NOT NULL, size INTEGER NOT NULL, partition_key TEXT NOT NULL,
            explicit_hash_key BLOB,
            message BLOB NOT NULL, PRIMARY KEY (stream, shard, sequence)) WITHOUT ROWID""",
    ),
    ("CREATE TABLE log (number INTEGER PRIMARY KEY, changes BLOB NOT NULL)",),
    (
        """CREATE TABLE block (
            number INTEGER PRIMARY KEY, stream INTEGER NOT NULL, shard INTEGER NOT NULL,
            first INTEGER NOT NULL, last INTEGER NOT NULL, count INTEGER NOT NULL,
            size INTEGER NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL,
            records BLOB NOT NULL)""",
        # All that a stream must know of its records, so that it is read without them.
        """CREATE INDEX block_place
            ON block (stream, shard, last, first, count, size, since, until)""",
        pack_records,
        "DROP TABLE record",
    ),
)
"""What leads from each schema version to the next; `user_version` counts them.

A list already released never changes: a change of the schema is one more list at the end.
"""

Durability = Literal["full", "os"]

PAGE_BYTES = 8192
CACHE_KIB = 16 * 1024
CHECKPOINT_PAGES = 2048
"""Pages in the write-ahead log that start a checkpoint: 16 MiB."""
CHECK_BYTES = 64 << 20
"""A file up to this size is checked whole after an unclean end: a fraction of a second."""
SMALL_BLOCK_BYTES = 8 << 10
"""A shorter block at the end of a shard takes part in what comes next."""
LARGE_BYTES = 16 * 1024
"""A longer body gets a statement of its own, so that one statement's values stay small."""
BULK_ROWS = 256
MAX_ENDS = 10_000
TIDY_ROWS = 10_000
TIDY_PAGES = 512
SPARE_PAGES = 2048
"""Free pages kept in the file for what comes next."""


class _Bulk:
    """A statement over many rows of values, in a few fixed sizes so that each is compiled once."""

    def __init__(self, head: str, width: int, tail: str = "") -> None:
        self._width = width
        row = f"({','.join('?' * width)})"
        sizes = [1 << power for power in range(BULK_ROWS.bit_length())]
        self._texts = {size: f"{head} {','.join([row] * size)} {tail}" for size in sizes}

    def execute(self, connection: sqlite3.Connection, values: list[Any]) -> None:
        """Run it over `values`: the rows, one after the other in one list."""
        width, start, size = self._width, 0, BULK_ROWS
        left = len(values) // width
        while left:
            while size > left:
                size >>= 1
            end = start + size * width
            connection.execute(self._texts[size], values[start:end])
            start = end
            left -= size


class Store:
    """The writing side of the file. All calls block; all belong on one thread.

    `path`: the database file. `durability`: "full" has every transaction on the disk before it
    counts as committed (`synchronous=FULL`). "os" hands it to the operating system and returns
    (`synchronous=NORMAL`): a process that dies loses nothing, a machine that loses power loses the
    last transactions but not the file, which is why it isn't OFF, where the file itself may break.
    `migrations`: for tests.
    """

    def __init__(
        self,
        path: Path,
        durability: Durability = "full",
        *,
        migrations: Sequence[Sequence[Step]] = MIGRATIONS,
    ) -> None:
        self._path = path
        self._durability = durability
        self._migrations = migrations
        self._connection: sqlite3.Connection | None = None
        self._encode = msgspec.msgpack.Encoder().encode
        self._counts: Counter[int] | None = None
        self._ends: dict[tuple[int, int], _End] = {}
        """What shards end with, as far as it is known."""
        self._has_log = True
        self._messages = _Bulk("INSERT OR IGNORE INTO message VALUES", 2)
        self._entries = _Bulk("INSERT OR REPLACE INTO entry VALUES", 3)
        self._touches = _Bulk(
            "UPDATE entry SET terms = changed.column3 FROM (VALUES",
            3,
            ") AS changed WHERE message = changed.column1 AND queue = changed.column2",
        )
        self._dedups = _Bulk("INSERT INTO dedup (queue, key, message, until) VALUES", 4)
        self._documents = _Bulk("INSERT OR REPLACE INTO document VALUES", 4)

    def open(self) -> None:
        """Open or create the file, check it, and bring its schema up to date.

        Raises:
            UnavailableError: it is damaged, foreign, newer, or can't be opened; the text says what
                to do. The file is left as it was.
        """
        wal = self._path.with_name(self._path.name + "-wal")
        unclean = wal.exists() and wal.stat().st_size > 0
        if unclean and not self._path.exists():
            raise UnavailableError(
                f"{wal} is there but {self._path} is not: put the file back where it was, "
                "or choose another data folder"
            )
        with opening(self._path):
            # Made here because SQLite would let everybody read it; the log takes the same mode.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            # A connection that may write brings the log into the file when it closes.
            with contextlib.closing(connect(self._path, "ro")) as connection:
                version = self._inspect(connection, unclean)
            connection = connect(self._path)
            self._connection = connection
            try:
                self._prepare(connection, version)
                self._recover()
            except BaseException:
                self._connection = None
                connection.close()
                raise

    def _inspect(self, connection: sqlite3.Connection, unclean: bool) -> int | None:
        """The schema version of a file that is ours and sound; None: it is new."""
        application = _pragma(connection, "application_id")
        version: int = _pragma(connection, "user_version")
        if not (application or version or _pragma(connection, "schema_version")):
            return None
        if application != APPLICATION_ID:
            raise UnavailableError(
                f"{self._path} is a database of another program: choose another data folder"
            )
        if version > len(self._migrations):
            raise UnavailableError(
                f"{self._path} was written by a newer hubbub (store version {version}, this one "
                f"knows {len(self._migrations)}): start that version, or choose another folder"
            )
        if unclean and self._path.stat().st_size <= CHECK_BYTES:
            verdict = _pragma(connection, "quick_check(1)")
            if verdict != "ok":
                raise UnavailableError(_damaged(self._path, verdict))
        return version

    def _prepare(self, connection: sqlite3.Connection, version: int | None) -> None:
        """Choose how SQLite works, and bring the schema up to date."""
        if version is None:  # these two can be chosen only while the file is empty
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        if _pragma(connection, "journal_mode=WAL") != "wal":
            raise UnavailableError(
                f"{self._path}: this file system has no shared memory for a write-ahead log; "
                "choose a data folder on a local disk"
            )
        full = self._durability == "full"
        connection.execute(f"PRAGMA synchronous={'FULL' if full else 'NORMAL'}")
        # macOS alone: there fsync does not reach the disk.
        connection.execute(f"PRAGMA fullfsync={int(full)}")
        connection.execute(f"PRAGMA checkpoint_fullfsync={int(full)}")
        connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        connection.execute("PRAGMA secure_delete=FAST")
        if version is None or version < len(self._migrations):
            self._migrate(connection, version or 0)

    def _migrate(self, connection: sqlite3.Connection, version: int) -> None:
        with _transaction(connection):
            for steps in self._migrations[version:]:
                for step in steps:
                    if isinstance(step, str):
                        connection.execute(step)
                    else:
                        step(connection)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={len(self._migrations)}")

    def _recover(self) -> None:
        """Bring into the tables what the last run left in the log."""
        rows = self._db.execute("SELECT changes FROM log ORDER BY number").fetchall()
        if not rows:
            self._has_log = False
            return
        try:
            batch = log.replay(changes for (changes,) in rows)
        except msgspec.DecodeError as error:
            raise UnavailableError(_damaged(self._path, error)) from error
        self.write(batch)

    def close(self) -> None:
        """Bring the write-ahead log into the file and close it."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with contextlib.suppress(sqlite3.Error):  # the next opening replays the log
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._connection is not None, "the store is not open"
        return self._connection

    def append(self, batch: Batch) -> int:
        """Write a batch to the end of the log, in one transaction. Returns the bytes it takes.

        Raises:
            sqlite3.Error: nothing was written.
        """
        changes = log.encode(batch)
        self._has_log = True
        self._db.execute("INSERT INTO log (changes) VALUES (?)", (changes,))
        return len(changes)

    def write(self, batch: Batch) -> None:
        """Write a batch into the tables in one transaction: all of it, or nothing.

        It must hold everything that is in the log, which is empty afterwards.

        Raises:
            sqlite3.Error: nothing was written.
        """
        try:
            with _transaction(self._db):
                self._write(batch)
                if self._has_log:
                    self._db.execute("DELETE FROM log")
            self._has_log = False
        except BaseException:
            self._counts = None
            self._ends.clear()
            raise

    def _write(self, batch: Batch) -> None:
        if batch.dropped_queues:
            self._drop_queues(batch.dropped_queues)
        if batch.dropped_streams:
            self._drop_streams(batch.dropped_streams)
        if batch.forgotten:
            self._forget(batch.forgotten)
        if batch.removes:
            self._remove(batch.removes)
        if batch.inserts:
            self._insert(batch)
        if batch.touches:
            self._touch(batch.touches)
        if batch.remembered:
            flat = [value for each in batch.remembered for value in each]
            self._dedups.execute(self._db, flat)
        if batch.documents:
            self._keep_documents(batch.documents)
        if batch.appends:
            self._append(batch.appends)
        if batch.trims:
            self._trim(batch.trims)
        if batch.marks is not None:
            marks = [("message", batch.marks[0]), ("token", batch.marks[1])]
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", marks)

    def _insert(self, batch: Batch) -> None:
        encode = self._encode
        rows: list[Any] = []
        for number, body in batch.bodies.items():
            if len(body) > LARGE_BYTES:
                self._messages.execute(self._db, [number, body])
            else:
                rows += (number, body)
        self._messages.execute(self._db, rows)
        rows = []
        for entry, queue in batch.inserts.items():
            rows += (entry.id, queue, encode(pack(entry)))
        self._entries.execute(self._db, rows)
        if self._counts is not None:
            self._counts.update(batch.inserts.values())

    def _touch(self, touches: dict[Entry, int]) -> None:
        encode = self._encode
        rows: list[Any] = []
        for entry, queue in touches.items():
            rows += (entry.id, queue, encode(pack(entry)))
        self._touches.execute(self._db, rows)

    def _remove(self, removes: dict[Entry, int]) -> None:
        by_queue: dict[int, list[int]] = {}
        for entry, queue in removes.items():
            by_queue.setdefault(queue, []).append(entry.id)
        self._db.execute(
            """DELETE FROM entry WHERE (message, queue) IN (
                SELECT id.value, CAST(queue.key AS INTEGER)
                FROM json_each(?) AS queue, json_each(queue.value) AS id)""",
            (_json(by_queue),),
        )
        self._db.execute(
            """DELETE FROM message WHERE id IN (SELECT value FROM json_each(?))
                AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.message = message.id)""",
            (_json([entry.id for entry in removes]),),
        )
        if self._counts is not None:
            self._counts.subtract({queue: len(ids) for queue, ids in by_queue.items()})

    def _drop_queues(self, queues: Iterable[int]) -> None:
        """Delete all rows of some queues.

        There is no index by queue, as it would cost every message a microsecond. So count the rows
        of each queue from the first time on, and look through the table only for those that have
        any: most queues are empty when they go.
        """
        if self._counts is None:
            rows = self._db.execute("SELECT queue, count(*) FROM entry GROUP BY queue")
            self._counts = Counter(dict(rows.fetchall()))
        gone = _json(list(queues))
        self._forget(queues)
        if any(self._counts.pop(queue, 0) for queue in queues):
            self._db.execute(
                """DELETE FROM message WHERE id IN (
                    SELECT message FROM entry WHERE queue IN (SELECT value FROM json_each(?1)))
                    AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.message = message.id
                    AND queue NOT IN (SELECT value FROM json_each(?1)))""",
                (gone,),
            )
            self._db.execute(
                "DELETE FROM entry WHERE queue IN (SELECT value FROM json_each(?))", (gone,)
            )

    def _forget(self, queues: Iterable[int]) -> None:
        """Delete the deduplication ids of some queues."""
        self._db.execute(
            "DELETE FROM dedup WHERE queue IN (SELECT value FROM json_each(?))",
            (_json(list(queues)),),
        )

    def _keep_documents(self, documents: dict[tuple[str, str, str], bytes | None]) -> None:
        kept: list[Any] = []
        for identity, value in documents.items():
            if value is None:
                self._db.execute(
                    "DELETE FROM document WHERE namespace = ? AND realm = ? AND key = ?", identity
                )
            elif len(value) > LARGE_BYTES:
                self._documents.execute(self._db, [*identity, value])
            else:
                kept += (*identity, value)
        self._documents.execute(self._db, kept)

    def _append(self, appends: Mapping[tuple[int, int], Sequence[Block]]) -> None:
        # Row by row: for a statement of many SQLite would keep what the pages were before.
        self._db.executemany(
            "INSERT INTO block VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (stream, shard, *msgspec.structs.astuple(block))
                for (stream, shard), new in appends.items()
                for block in self._joined(stream, shard, new)
            ],
        )

    def _joined(self, stream: int, shard: int, new: Sequence[Block]) -> list[Block]:
        """What is to be stored of new blocks: those that the shard has are left out.

        Short ones are joined, with each other and with what the shard ends with while that is no
        longer than they are: so a record is written again only when its block grows twofold.
        """
        end = self._ends.get((stream, shard)) or self._read_end(stream, shard)
        if end is not None:
            new = [block for block in new if block.first > end.last]
        joined = list(blocks.joined(new))
        if not joined:
            return joined
        while end is not None and _joins(end, joined[0]):
            row = self._db.execute(
                """DELETE FROM block WHERE stream = ? AND shard = ? AND last = ?
                    RETURNING first, last, count, size, since, until, records""",
                (stream, shard, end.last),
            ).fetchall()[0]
            joined[0] = blocks.join([Block(*row), joined[0]])
            end = self._read_end(stream, shard)
        last = joined[-1]
        if len(self._ends) >= MAX_ENDS:
            self._ends.clear()
        self._ends[stream, shard] = _End(last.last, last.count, last.since, len(last.records))
        return joined

    def _read_end(self, stream: int, shard: int) -> "_End | None":
        row = self._db.execute(
            """SELECT last, count, since, length(records) FROM block
                WHERE stream = ? AND shard = ? ORDER BY last DESC LIMIT 1""",
            (stream, shard),
        ).fetchone()
        return None if row is None else _End(*row)

    def _drop_streams(self, streams: Iterable[int]) -> None:
        self._ends.clear()
        self._db.executemany("DELETE FROM block WHERE stream = ?", [(each,) for each in streams])

    def _trim(self, trims: Mapping[tuple[int, int], int]) -> None:
        for (stream, shard), before in trims.items():
            self._ends.pop((stream, shard), None)
            self._db.execute(
                "DELETE FROM block WHERE stream = ? AND shard = ? AND last < ?",
                (stream, shard, before),
            )

    def tidy(self, now: int) -> bool:
        """Delete some deduplication ids that ended before `now`; free some of a mostly empty file.

        Returns whether there is more to do.

        Raises:
            sqlite3.Error: it could not; nothing is lost.
        """
        execute = self._db.execute
        expired = execute(
            """DELETE FROM dedup WHERE number IN (
                SELECT number FROM dedup WHERE until < ? LIMIT ?)""",
            (now, TIDY_ROWS),
        ).rowcount
        free: int = _pragma(self._db, "freelist_count")
        pages: int = _pragma(self._db, "page_count")
        spare = free > max(SPARE_PAGES, pages // 4)
        if spare:
            # `execute` would stop at the first step, which frees one page.
            self._db.executescript(f"PRAGMA incremental_vacuum({TIDY_PAGES})")
        return spare or expired == TIDY_ROWS


class _End(NamedTuple):
    """What there is to know of the last block of a shard without reading it."""

    last: int
    records: int
    since: int
    length: int


def _joins(end: _End, block: Block) -> bool:
    length = len(block.records)
    return end.length <= min(length, SMALL_BLOCK_BYTES) and blocks.is_block(
        end.length + length, end.records + block.count, block.until - end.since
    )


class Reader:
    """The reading side, on a connection of its own: it sees what was committed, and never waits.

    All calls block, and no two may be made at once. The generators read page by page, because a
    statement left half read would keep the log from being checkpointed.

    `memory_limit`: bytes of memory for what `entries` decodes; it leaves out the messages beyond.
    """

    def __init__(self, path: Path, memory_limit: int = 0) -> None:
        self._path = path
        self._budget = memory_limit
        self._decode = msgspec.msgpack.Decoder(Message).decode
        self._terms = msgspec.msgpack.Decoder(Terms).decode
        with opening(path):
            self._db = connect(path)
            self._db.execute("PRAGMA query_only=1")

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def marks(self) -> tuple[int, int]:
        """Numbers that no message id and no fencing token ever used exceeds."""
        with reading(self._path):
            marks = dict(self._db.execute("SELECT key, value FROM meta").fetchall())
            highest = self._db.execute("SELECT max(id) FROM message").fetchone()[0]
        return max(marks.get("message", 0), highest or 0), marks.get("token", 0)

    def documents(self, namespace: str) -> Iterator[Document]:
        """All documents of a namespace, by realm and key."""
        position = ("", "")
        inclusive = ">="
        with reading(self._path):
            while rows := self._db.execute(
                f"""SELECT namespace, realm, key, value FROM document
                    WHERE namespace = ? AND (realm, key) {inclusive} (?, ?)
                    ORDER BY realm, key LIMIT 100""",  # noqa: S608 — one of two constants
                (namespace, *position),
            ).fetchall():
                for row in rows:
                    yield Document(*row)
                position = rows[-1][1:3]
                inclusive = ">"

    def entries(self) -> Iterator[tuple[int, Entry]]:
        """All queues' entries with the number of their queue, by message id."""
        position = (-1, -1)
        bodies: dict[int, Message] = {}
        with reading(self._path):
            while rows := self._db.execute(
                """SELECT message, queue, terms FROM entry WHERE (message, queue) > (?, ?)
                    ORDER BY message, queue LIMIT 1000""",
                position,
            ).fetchall():
                last = position[0]
                bodies = {last: bodies[last]} if last in bodies else {}
                self._load(bodies, rows[0][0], rows[-1][0])
                for number, queue, terms in rows:
                    yield queue, unpack(number, bodies.get(number), self._terms(terms))
                position = rows[-1][:2]

    def _load(self, bodies: dict[int, Message], first: int, last: int) -> None:
        """Add the messages with these ids, as far as the budget goes."""
        if self._budget <= 0:
            return
        for number, record in self._db.execute(
            "SELECT id, record FROM message WHERE id BETWEEN ? AND ? ORDER BY id", (first, last)
        ):
            if number not in bodies:
                bodies[number] = self._decode(record)
                self._budget -= len(record) + MEMORY_COST
                if self._budget <= 0:
                    return

    def dedups(self) -> Iterator[tuple[int, str, int, int]]:
        """Remembered deduplication ids: queue, id, message, until; a later one counts more."""
        position = -1
        with reading(self._path):
            while rows := self._db.execute(
                """SELECT number, queue, key, message, until FROM dedup WHERE number > ?
                    ORDER BY number LIMIT 1000""",
                (position,),
            ).fetchall():
                for _, *row in rows:
                    yield tuple(row)
                position = rows[-1][0]

    def extents(self, stream: int) -> Iterator[Extent]:
        """What the records of a stream take up: shard by shard in order of sequence."""
        position = (-1, -1)
        with reading(self._path):
            while rows := self._db.execute(
                """SELECT shard, first, last, count, size, since, until
                    FROM block WHERE stream = ? AND (shard, last) > (?, ?)
                    ORDER BY shard, last LIMIT 1000""",
                (stream, *position),
            ).fetchall():
                for row in rows:
                    yield Extent(*row)
                position = (rows[-1][0], rows[-1][2])

    def fetch(self, ids: Sequence[int]) -> dict[int, Message]:
        """The messages with these ids, as far as they are stored.

        Raises:
            UnavailableError: the file can't be read.
        """
        with reading(self._path):
            rows = self._db.execute(
                "SELECT id, record FROM message WHERE id IN (SELECT value FROM json_each(?))",
                (_json(list(ids)),),
            ).fetchall()
            return {number: self._decode(record) for number, record in rows}

    def fetch_records(self, stream: int, shard: int, first: int, last: int) -> list[Record]:
        """The records of a shard from sequence `first` to `last`, both included.

        Raises:
            UnavailableError: the file can't be read.
        """
        with reading(self._path):
            rows = self._db.execute(
                """SELECT records FROM block WHERE stream = ?1 AND shard = ?2 AND last >= ?3
                    AND last <= ifnull((
                        SELECT last FROM block WHERE stream = ?1 AND shard = ?2 AND last >= ?4
                        ORDER BY last LIMIT 1), ?4)
                    ORDER BY last""",
                (stream, shard, first, last),
            ).fetchall()
            found = [record for (packed,) in rows for record in blocks.unpack(packed)]
        start = bisect_left(found, first, key=_sequence)
        stop = bisect_right(found, last, key=_sequence)
        return found if stop - start == len(found) else found[start:stop]


_sequence = attrgetter("sequence")


def connect(path: Path, mode: Literal["ro", "rw"] = "rw") -> sqlite3.Connection:
    """A connection in autocommit mode; transactions are ours to begin and end."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=128,
    )


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite ends it by itself after some errors
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def opening(path: Path) -> Iterator[None]:
    """Say what to do about a file that can't be opened."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = _code(error)
        if code == sqlite3.SQLITE_NOTADB:
            text = f"{path} is no hubbub store, or its beginning is damaged: "
            text += "restore it from a backup, or choose another data folder"
        elif code == sqlite3.SQLITE_CORRUPT:
            text = _damaged(path, error)
        else:
            text = f"cannot open {path}: {error}; is the disk full, or not ours to write to?"
        raise UnavailableError(text) from error
    except OSError as error:
        raise UnavailableError(f"cannot open {path}: {error}") from error


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say what to do about a file that can't be read."""
    try:
        yield
    except (sqlite3.Error, msgspec.DecodeError) as error:
        if isinstance(error, msgspec.DecodeError) or _code(error) == sqlite3.SQLITE_CORRUPT:
            raise UnavailableError(_damaged(path, error)) from error
        raise UnavailableError(f"cannot read {path}: {error}") from error


def _code(error: sqlite3.Error) -> int | None:
    """The primary result code: extended codes keep it in their lowest byte."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _damaged(path: Path, detail: object) -> str:
    what = " ".join(str(detail).split())
    return (
        f"{path} is damaged ({what}): keep a copy of its folder, then restore a backup, or save "
        "what can be read with the `.recover` command of the sqlite3 tool"
    )


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
