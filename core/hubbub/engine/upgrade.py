"""Steps from one version of the store to the next that take more than statements.

They belong to released versions of the schema, and so never change.
"""

import sqlite3
from collections.abc import Iterator
from itertools import groupby

import msgspec

_BLOCK_BYTES = 64 << 10
_BLOCK_SPAN = 600_000


def pack_records(connection: sqlite3.Connection) -> None:
    """Version 2 to 3: pack the rows of `record` into rows of `block`."""
    encode = msgspec.msgpack.Encoder().encode
    rows = _rows(connection)
    for (stream, shard), records in groupby(rows, key=lambda row: row[:2]):
        for part in _parts(records):
            # The explicit hash key is in the message, as its `shard_key`.
            packed = encode([
                (shard, sequence, arrived, key, msgspec.Raw(message), size)
                for _, _, sequence, arrived, size, key, message in part
            ])  # fmt: skip
            first, last = part[0], part[-1]
            values = (
                stream, shard, first[2], last[2], len(part), sum(row[4] for row in part),
                first[3], last[3], packed,
            )  # fmt: skip
            connection.execute(
                """INSERT INTO block
                    (stream, shard, first, last, count, size, since, until, records)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                values,
            )


_Row = tuple[int, int, int, int, int, str, bytes]


def _rows(connection: sqlite3.Connection) -> Iterator[_Row]:
    """The records by stream, shard and sequence, a page at a time."""
    position = (-1, -1, -1)
    while rows := connection.execute(
        """SELECT stream, shard, sequence, arrived, size, partition_key, message FROM record
            WHERE (stream, shard, sequence) > (?, ?, ?)
            ORDER BY stream, shard, sequence LIMIT 1000""",
        position,
    ).fetchall():
        yield from rows
        position = rows[-1][:3]


def _parts(records: Iterator[_Row]) -> Iterator[list[_Row]]:
    part: list[_Row] = []
    length = 0
    for row in records:
        length += len(row[-1])
        if part and (length > _BLOCK_BYTES or row[3] - part[0][3] > _BLOCK_SPAN):
            yield part
            part, length = [], len(row[-1])
        part.append(row)
    if part:
        yield part
