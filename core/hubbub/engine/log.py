"""A batch as the bytes that a row of the log holds, and the sum of such rows as a batch again.

Replaying changes that the tables have already is harmless: each says what is, not what to add.
"""

from collections.abc import Iterable

import msgspec

from hubbub.message import Message
from hubbub.streams import Record

from .batch import Batch
from .blocks import Block
from .blocks import pack as pack_records
from .entry import Entry
from .terms import Terms, pack, unpack

_Place = tuple[int, int]
"""Queue and message id."""


class Changes(msgspec.Struct, array_like=True, gc=False):
    """What a row of the log holds, in the order it is packed in.

    `bodies`: encoded messages by id. `inserts`, `touches`: queue, message id, terms. `removes`:
    queue, message id. `remembered`: queue, key, message id, until. `documents`: namespace, realm,
    key, value or None where it is forgotten. `records`: what store version 2 has in place of
    `blocks`: stream, shard, sequence, arrived, size, partition key, explicit hash key, encoded
    message. `trims`: stream, shard, first sequence kept. `forgotten`: queues whose deduplication
    ids are forgotten, before any is `remembered`. `blocks`: stream, shard, block of records.

    A later version may add fields at the end, with defaults.
    """

    dropped_queues: list[int]
    dropped_streams: list[int]
    removes: list[_Place]
    bodies: dict[int, bytes]
    inserts: list[tuple[int, int, Terms]]
    touches: list[tuple[int, int, Terms]]
    remembered: list[tuple[int, str, int, int]]
    documents: list[tuple[str, str, str, bytes | None]]
    records: list[tuple[int, int, int, int, int, str, bytes | None, bytes]]
    trims: list[tuple[int, int, int]]
    marks: tuple[int, int] | None
    forgotten: list[int] = []
    blocks: list[tuple[int, int, Block]] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Changes).decode
_decode_message = msgspec.msgpack.Decoder(Message).decode


def encode(batch: Batch) -> bytes:
    """Pack a batch, as `Changes`; a plain tuple gives the same bytes and is quicker to make."""
    return _encode(
        (
            list(batch.dropped_queues),
            list(batch.dropped_streams),
            [(queue, entry.id) for entry, queue in batch.removes.items()],
            batch.bodies,
            [(queue, entry.id, pack(entry)) for entry, queue in batch.inserts.items()],
            [(queue, entry.id, pack(entry)) for entry, queue in batch.touches.items()],
            batch.remembered,
            [(*identity, value) for identity, value in batch.documents.items()],
            (),
            [(*place, before) for place, before in batch.trims.items()],
            batch.marks,
            list(batch.forgotten),
            [
                (stream, shard, block)
                for (stream, shard), blocks in batch.appends.items()
                for block in blocks
            ],
        )
    )


def replay(rows: Iterable[bytes]) -> Batch:
    """The sum of the rows of a log.

    Raises:
        msgspec.DecodeError: one of them is damaged.
    """
    total = _Total()
    for row in rows:
        total.add(_decode(row))
    return total.batch


class _Total:
    """Rows of the log, added up. A batch knows entries by identity, rows by place."""

    def __init__(self) -> None:
        self.batch = Batch()
        self._entries: dict[_Place, Entry] = {}

    def add(self, changes: Changes) -> None:
        """Add a row."""
        batch, entries = self.batch, self._entries
        for queue in changes.dropped_queues:
            batch.drop_queue(queue)
        for stream in changes.dropped_streams:
            batch.drop_stream(stream)
        for queue, number in changes.removes:
            known = entries.pop((queue, number), None)
            batch.remove(queue, Entry(number, None, 0) if known is None else known)
        for queue, number, terms in changes.inserts:
            entry = entries[queue, number] = unpack(number, None, terms)
            batch.insert(queue, entry, changes.bodies[number])
        for queue, number, terms in changes.touches:
            self._touch(queue, number, terms)
        for queue in changes.forgotten:
            batch.forget(queue)
        for each in changes.remembered:
            batch.remember(*each)
        for *identity, value in changes.documents:
            namespace, realm, key = identity
            batch.put((namespace, realm, key), value)
        for stream, shard, sequence, arrived, size, key, _, body in changes.records:
            record = Record(shard, sequence, arrived, key, _decode_message(body), size)
            batch.append(stream, shard, pack_records([record]))
        for stream, shard, block in changes.blocks:
            batch.append(stream, shard, [block])
        for stream, shard, before in changes.trims:
            batch.trim(stream, shard, before)
        batch.marks = changes.marks or batch.marks

    def _touch(self, queue: int, number: int, terms: Terms) -> None:
        fresh = unpack(number, None, terms)
        known = self._entries.get((queue, number))
        if known is None:
            self._entries[queue, number] = known = fresh
        for name in Terms.__struct_fields__:
            setattr(known, name, getattr(fresh, name))
        self.batch.touch(queue, known)
