"""Sequence numbers and shard ids, as Kinesis clients see them.

A sequence number is an integer of 56 decimal digits: in hexadecimal the digit 2, then 16 digits for
the number of the stream, 16 for the sequence number in it, 8 for the shard, 6 for the `Place`. So
it rises over all shards of a stream, and those of a stream that is created again are higher.
"""

import re
from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple, Protocol

MAX_SHARD = 2**31 - 1

_LEAD = 2 << 184
_END = 3 << 184
_STREAM_SHIFT = 120
_SEQUENCE_SHIFT = 56
_SHARD_SHIFT = 24
_SHARD_BITS = _SEQUENCE_SHIFT - _SHARD_SHIFT
_SIXTY_FOUR = 2**64 - 1
_DIGITS = re.compile(r"[0-9]{56}")
_SHARD_NUMBER = re.compile(r"[0-9]{1,32}", re.ASCII)


class Place(IntEnum):
    """Where a number points to: no record has one of the other two."""

    BEFORE = 0
    RECORD = 2
    AFTER = 3


_RECORD = int(Place.RECORD)


class Sequence(NamedTuple):
    """A sequence number, taken apart."""

    stream: int
    sequence: int
    shard: int
    place: Place

    def __str__(self) -> str:
        return str(
            stream_base(self.stream)
            | self.sequence << _SEQUENCE_SHIFT
            | self.shard << _SHARD_SHIFT
            | self.place
        )

    @classmethod
    def parse(cls, text: str) -> "Sequence":
        """Read a sequence number. Raises `ValueError`."""
        number = int(text) if _DIGITS.fullmatch(text) else 0
        shard = number >> _SHARD_SHIFT & 0xFFFFFFFF
        if not _LEAD <= number < _END or shard > MAX_SHARD:
            raise ValueError(f"{text!r} is no sequence number")
        return cls(
            number >> _STREAM_SHIFT & _SIXTY_FOUR,
            number >> _SEQUENCE_SHIFT & _SIXTY_FOUR,
            shard,
            Place(number & 0xFFFFFF),
        )


def stream_base(stream: int) -> int:
    """Return what all sequence numbers of a stream have in common."""
    return _LEAD | stream << _STREAM_SHIFT


class Placed(Protocol):
    """A record, as far as its number depends on it."""

    @property
    def sequence(self) -> int:
        """Its sequence number in its stream."""
        ...

    @property
    def shard(self) -> int:
        """Its shard's number."""
        ...


def record_numbers(stream: int, records: Iterable[Placed]) -> list[str]:
    """Return the numbers of records of a stream."""
    base = stream_base(stream) + _RECORD
    return [
        str(base + ((record.sequence << _SHARD_BITS | record.shard) << _SHARD_SHIFT))
        for record in records
    ]


@lru_cache(4096)
def shard_name(shard: int) -> str:
    """Return a shard's id: ``shardId-000000000000``."""
    return f"shardId-{shard:012d}"


def parse_shard(name: str) -> int:
    """Read a shard id; Kinesis reads the number behind the first hyphen, or a bare number.

    Raises:
        ValueError: it is none.
    """
    parts = name.split("-")
    digits = (parts[1] if len(parts) > 1 else "") or name
    if not _SHARD_NUMBER.fullmatch(digits) or int(digits) > MAX_SHARD:
        raise ValueError(f"{name!r} is no shard id")
    return int(digits)
