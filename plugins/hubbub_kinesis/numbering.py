"""Which sequence numbers the records, shards and places of a stream have."""

from collections.abc import Iterable

from hubbub import Position, Record, ShardInfo, StreamInfo
from hubbub_kinesis.sequences import (
    SERIAL_SHIFT,
    SHARD_SHIFT,
    TIME_SHIFT,
    VERSION,
    SequenceNumber,
)

_INCARNATION_BITS = 20


class Numbering:
    """The sequence numbers of a stream."""

    __slots__ = ("_base", "_created", "_first")

    def __init__(self, stream: StreamInfo) -> None:
        self._created = stream.created // 1000
        # Of two streams of one name, the second created in the second in which the first was
        # deleted, no two records share a serial number: in a second, fewer ids are given than that.
        self._first = (stream.number & (1 << _INCARNATION_BITS) - 1) << _INCARNATION_BITS
        self._base = int(str(SequenceNumber(self._created, self._first, 0, 0)))

    def records(self, records: Iterable[Record]) -> list[str]:
        """Return the numbers of records."""
        base = self._base
        return [
            str(
                base
                + (record.sequence << SERIAL_SHIFT)
                + (record.arrived // 1000 << TIME_SHIFT)
                + (record.shard << SHARD_SHIFT)
            )
            for record in records
        ]

    def start(self, shard: ShardInfo) -> str:
        """Return what is before all records of a shard."""
        return self._behind(shard.id, shard.starting_sequence - 1, shard.opened)

    def end(self, shard: ShardInfo) -> str | None:
        """Return what is behind all records of a closed shard; None of one that is open."""
        if shard.ending_sequence is None or shard.closed is None:
            return None
        return self._behind(shard.id, shard.ending_sequence - 1, shard.closed)

    def place(self, shard: ShardInfo, position: Position) -> str:
        """Return what stands for a position in a shard, whether used with AT or with AFTER."""
        before = position.sequence - position.inclusive
        if before < shard.starting_sequence:
            return self.start(shard)
        return self._behind(shard.id, before)

    def sequence(self, number: SequenceNumber) -> int | None:
        """Return the record's own number in the stream; None if it can't be one of this stream."""
        if (number.version, number.created) != (VERSION, self._created):
            return None
        sequence = number.serial - self._first
        return sequence if sequence >= 0 else None

    def _behind(self, shard: int, sequence: int, when: int = 0) -> str:
        """Return the number of the place behind a record, or, for 0, before all of the stream."""
        serial = self._first + sequence
        return str(SequenceNumber(self._created, serial, when // 1000, shard, sequence > 0))
