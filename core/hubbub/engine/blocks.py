"""Records of streams as they are kept: successive records of a shard packed into one block.

A block's `records` is a MessagePack array of its records, each an array of the fields of `Record`,
the message in it as `hubbub.message.encode_message` encodes one. An append is packed at once,
however many records it has; blocks are joined without looking into them, by putting the contents
of their arrays one after the other.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from hubbub.errors import RefusedError
from hubbub.streams import Record

BLOCK_BYTES = 64 << 10
"""About the length of the longest block, but for a record that is longer by itself: who wants one
record of a block reads all of it."""
BLOCK_RECORDS = 1000
JOINED_SPAN = 600_000
"""Milliseconds from the first to the last record of blocks that are joined: retention drops whole
blocks."""
RECORD_COST = 128
"""About the bytes that a record takes beside what it counts for."""


class Block(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Successive records of one shard.

    Sequence numbers from `first` to `last`, both included, and times of arrival from `since` to
    `until` (milliseconds since the epoch); `count` records, of `size` bytes as streams count them.
    """

    first: int
    last: int
    count: int
    size: int
    since: int
    until: int
    records: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Record]).decode


def pack(records: Sequence[Record]) -> list[Block]:
    """Pack successive records of a shard, at least one, into blocks.

    Raises:
        RefusedError: some value fits no encoding, see `encode_message`.
    """
    size = sum([record.size for record in records])
    if size + len(records) * RECORD_COST <= BLOCK_BYTES and len(records) <= BLOCK_RECORDS:
        return [_pack(records, size)]
    return [_pack(part, sum([record.size for record in part])) for part in _divided(records)]


def _divided(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    start = length = 0
    for place, record in enumerate(records):
        cost = record.size + RECORD_COST
        if place > start and (length + cost > BLOCK_BYTES or place - start >= BLOCK_RECORDS):
            yield records[start:place]
            start, length = place, 0
        length += cost
    yield records[start:]


def _pack(records: Sequence[Record], size: int) -> Block:
    try:
        packed = _encode(records)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise RefusedError(f"the message cannot be stored: {error}") from error
    first, last = records[0], records[-1]
    return Block(
        first.sequence, last.sequence, len(records), size, first.arrived, last.arrived, packed
    )


def unpack(packed: bytes) -> list[Record]:
    """The records of a block.

    Raises:
        msgspec.DecodeError: they are damaged.
    """
    return _decode(packed)


def joined(blocks: Iterable[Block]) -> Iterator[Block]:
    """Make few blocks of successive ones: as many as fit go into one."""
    gathered: list[Block] = []
    length = count = 0
    for block in blocks:
        length += len(block.records)
        count += block.count
        if gathered and not is_block(length, count, block.until - gathered[0].since):
            yield join(gathered)
            gathered = []
            length, count = len(block.records), block.count
        gathered.append(block)
    if gathered:
        yield join(gathered)


def is_block(length: int, count: int, span: int) -> bool:
    """Whether records of this length and number, over so many milliseconds, may be one block."""
    return length <= BLOCK_BYTES and count <= BLOCK_RECORDS and span <= JOINED_SPAN


def join(blocks: Sequence[Block]) -> Block:
    """Make one block of successive ones."""
    if len(blocks) == 1:
        return blocks[0]
    first, last = blocks[0], blocks[-1]
    count = sum([block.count for block in blocks])
    contents = [block.records[_head(block.records) :] for block in blocks]
    return Block(
        first.first,
        last.last,
        count,
        sum([block.size for block in blocks]),
        first.since,
        last.until,
        b"".join([b"\xdd", count.to_bytes(4, "big"), *contents]),
    )


def _head(packed: bytes) -> int:
    """The length of the head of a MessagePack array: array 32, array 16, or fixarray."""
    return {0xDD: 5, 0xDC: 3}.get(packed[0], 1)
