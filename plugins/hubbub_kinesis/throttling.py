"""What a shard takes and gives in a second, where that is limited as in AWS."""

from collections.abc import Callable
from typing import NamedTuple

WRITE_RECORDS = 1_000
WRITE_BYTES = 2**20
READS = 5
READ_BYTES = 2 * 2**20
READ_DEBT = 10 * 2**20
"""The most that one read may give. Those that follow have to wait until it is worked off."""

_REMEMBERED = 10_000


class _Bucket:
    """A supply that refills: `rate` a second, up to `rate`. It may be overdrawn."""

    __slots__ = ("_at", "_level", "_rate")

    def __init__(self, rate: float, now: int) -> None:
        self._rate = rate
        self._level = rate
        self._at = now

    def level(self, now: int) -> float:
        """Return what is there."""
        if now > self._at:
            self._level = min(self._rate, self._level + (now - self._at) * self._rate / 1000)
            self._at = now
        return self._level

    def take(self, amount: float) -> None:
        """Take some, also more than there is."""
        self._level -= amount


class _Supplies(NamedTuple):
    write_records: _Bucket
    write_bytes: _Bucket
    reads: _Bucket
    read_bytes: _Bucket


class Throttle:
    """The supplies of all shards."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._shards: dict[tuple[int, int], _Supplies] = {}

    def _supplies(self, stream: int, shard: int, now: int) -> _Supplies:
        found = self._shards.get((stream, shard))
        if found is None:
            if len(self._shards) >= _REMEMBERED:
                # The oldest shard in use starts afresh.
                del self._shards[next(iter(self._shards))]
            found = self._shards[stream, shard] = _Supplies(
                *(_Bucket(rate, now) for rate in (WRITE_RECORDS, WRITE_BYTES, READS, READ_BYTES))
            )
        return found

    def write(self, stream: int, shard: int, size: int) -> bool:
        """Take a record of `size` bytes in; False if that is too much now.

        A record larger than a second's supply is taken when the supply is full.
        """
        now = self._now()
        supplies = self._supplies(stream, shard, now)
        enough = min(size, WRITE_BYTES)
        if supplies.write_records.level(now) < 1 or supplies.write_bytes.level(now) < enough:
            return False
        supplies.write_records.take(1)
        supplies.write_bytes.take(size)
        return True

    def read(self, stream: int, shard: int) -> bool:
        """Begin a read; False if there were too many, or too much was read."""
        now = self._now()
        supplies = self._supplies(stream, shard, now)
        if supplies.reads.level(now) < 1 or supplies.read_bytes.level(now) <= 0:
            return False
        supplies.reads.take(1)
        return True

    def has_read(self, stream: int, shard: int, size: int) -> None:
        """Note what a read gave."""
        now = self._now()
        self._supplies(stream, shard, now).read_bytes.take(min(size, READ_DEBT))
