"""How a stream gets another number of shards that own equal shares of the hash keys."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

KEYS = 2**128

Range = tuple[int, int]
"""The first and the last hash key of a shard."""


class Split(NamedTuple):
    """Split the shard that begins at a hash key; the second part begins at `at`."""

    shard: int
    at: int


class Merge(NamedTuple):
    """Merge the shard that begins at a hash key with the one after it, which begins at `other`."""

    shard: int
    other: int


def boundaries(shards: int) -> list[int]:
    """Return where so many equal shards begin."""
    width = KEYS // shards
    return [number * width for number in range(shards)]


def _nearby(starts: Sequence[int], wanted: int, tolerance: int) -> int:
    """Return where a shard begins already, if that is no farther away, else where it should."""
    place = bisect_left(starts, wanted - tolerance)
    near = place < len(starts) and starts[place] <= wanted + tolerance
    return starts[place] if near else wanted


def plan(starts: Sequence[int], shards: int) -> Iterator[Split | Merge]:
    """Yield the steps from shards that begin at `starts` (sorted) to `shards` equal ones.

    Shards are split where a new one begins, then merged to the new ones. One that is right already
    is left alone, though rounding may have put it a few keys beside.
    """
    wanted = [_nearby(starts, each, len(starts) + shards) for each in boundaries(shards)]
    present = list(starts)
    for boundary in wanted:
        place = bisect_left(present, boundary)
        if place == len(present) or present[place] != boundary:
            yield Split(present[place - 1], boundary)
            present.insert(place, boundary)
    for index, first in enumerate(wanted):
        end = wanted[index + 1] if index + 1 < len(wanted) else KEYS
        inside = present[bisect_right(present, first) : bisect_left(present, end)]
        for other in inside:
            yield Merge(first, other)
