"""Sequence numbers and shard ids, as Kinesis clients see them.

AWS does not document what a sequence number holds, but many of them side by side tell it, other
servers write the same, and tools read the times. In hexadecimal, with the number of digits:

    2 | created 9 | 0 | serial 16 | after 2 | time 9 | shard 8 | version 1

`created` is the second in which the stream was created. `serial` rises by one from record to
record, over all shards of the stream; so do the numbers, for which the digit before it is 0, where
AWS has the last one of the shard's number. `time` is the second in which the record arrived.
`after` is 0; with 1, the number is of no record but of the place behind it. `version` is 2.
"""

import re
from functools import lru_cache
from typing import NamedTuple

MAX_SHARD = 2**31 - 1
MAX_SERIAL = 2**63 - 1

_LEAD, _END = 2 << 184, 3 << 184
_CREATED_SHIFT, SERIAL_SHIFT, _AFTER_SHIFT = 148, 80, 72
TIME_SHIFT, SHARD_SHIFT = 36, 4
_SECONDS = 2**36 - 1
VERSION, _EARLIER_VERSION = 2, 1
_OLD_LEAD, _OLD_END = 1 << 124, 1 << 129
"""What AWS takes for numbers of its first years, of 32 digits: their shard is in the last four."""
_OLD_CREATED_SHIFT = 88
_OLD_SECONDS = 16_025_175_000

_DIGITS = re.compile(r"[0-9]{1,129}")
_SHARD_NUMBER = re.compile(r"[0-9]{1,32}", re.ASCII)


class SequenceNumber(NamedTuple):
    """A sequence number, taken apart. `created` and `time` are in seconds since the epoch."""

    created: int
    serial: int
    time: int
    shard: int
    after: bool = False
    version: int = VERSION

    def __str__(self) -> str:
        return str(
            _LEAD
            | self.created << _CREATED_SHIFT
            | self.serial << SERIAL_SHIFT
            | self.after << _AFTER_SHIFT
            | self.time << TIME_SHIFT
            | self.shard << SHARD_SHIFT
            | self.version
        )

    @classmethod
    def parse(cls, text: str) -> "SequenceNumber":
        """Read a sequence number, or what AWS would take for one. Raises `ValueError`."""
        number = int(text) if _DIGITS.fullmatch(text) else _END
        if number < _OLD_END:
            return cls._parse_old(number)
        version = number & 0xF
        serial = number >> SERIAL_SHIFT & 2**64 - 1
        shard = number >> SHARD_SHIFT & 2**32 - 1
        if not _LEAD <= number < _END or version not in (VERSION, _EARLIER_VERSION):
            raise ValueError(f"{text!r} is no sequence number")
        if shard > MAX_SHARD or (version == VERSION and serial > MAX_SERIAL):
            raise ValueError(f"{text!r} has a shard or a serial number that is too high")
        return cls(
            number >> _CREATED_SHIFT & _SECONDS,
            serial,
            number >> TIME_SHIFT & _SECONDS,
            shard,
            bool(number >> _AFTER_SHIFT & 0xFF),
            version,
        )

    @classmethod
    def _parse_old(cls, number: int) -> "SequenceNumber":
        created = number >> _OLD_CREATED_SHIFT & _SECONDS
        if created >= _OLD_SECONDS:
            raise ValueError(f"{number} is of a time that is too late")
        return cls(created, 0, 0, number & 0xFFFF, version=0)


def repeated(text: str) -> str:
    """Return a number as AWS's errors repeat it: one of its first years with its first digit."""
    if not _DIGITS.fullmatch(text) or int(text) >= _OLD_END:
        return text
    return str(int(text) & _OLD_LEAD - 1 | _OLD_LEAD)


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
