"""Durations as clients write them: seconds, or text with a unit, as in hubbub.toml."""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeAlias

import msgspec

_NUMBER: Final = r"\d{1,12}(?:\.\d{1,6})?"
_PATTERN: Final = re.compile(rf"({_NUMBER})\s*(ms|s|m|h|d)?", re.ASCII)
_MILLISECONDS: Final = {
    "ms": 1,
    None: 1000,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
}

Duration: TypeAlias = (
    Annotated[float, msgspec.Meta(ge=0, le=1e9)]
    | Annotated[str, msgspec.Meta(pattern=rf"^{_NUMBER}\s*(ms|s|m|h|d)?$")]
)
"""Seconds as a number, or text such as "500ms", "10s", "5m", "1h" or "7d"."""


def milliseconds(value: float | str) -> int:
    """Return a duration in milliseconds.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, str):
        match = _PATTERN.fullmatch(value.strip())
        if match is None:
            raise ValueError(
                f"{value[:40]!r} is no duration: write seconds, or text such as '500ms' or '10s'"
            )
        return round(float(match[1]) * _MILLISECONDS[match[2]])
    if not 0 <= value <= 1e9:
        raise ValueError(f"{value} is no duration: it must be from 0 to 1000000000 seconds")
    return round(value * 1000)
