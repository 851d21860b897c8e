"""Where a reader of a stream is, as a text that it can keep.

``SHARD.SEQUENCE`` is after that record, ``SHARD@SEQUENCE`` is at it; several shards are joined by
``_``. So the cursor after record 17 of a stream with one shard is ``0.17``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from hubbub import Position

_PLACE: Final = re.compile(r"([0-9]{1,10})([.@])([0-9]{1,39})", re.ASCII)
_MAX_PLACES: Final = 10_000


class CursorError(ValueError):
    """The text is no cursor."""


def write_cursor(positions: Mapping[int, Position]) -> str:
    """Write a cursor of positions by their shards."""
    return "_".join(
        f"{each.shard}{'@' if each.inclusive else '.'}{each.sequence}"
        for each in positions.values()
    )


def read_cursor(text: str) -> dict[int, Position]:
    """Read a cursor.

    Raises:
        CursorError
    """
    positions: dict[int, Position] = {}
    for part in text.split("_", _MAX_PLACES):
        match = _PLACE.fullmatch(part)
        if match is None or int(match[1]) in positions:
            raise CursorError(f"{text[:80]!r} is no place in a stream")
        shard = int(match[1])
        positions[shard] = Position(shard, int(match[3]), inclusive=match[2] == "@")
    return positions
