"""Durations as clients write them: seconds, or text with a unit, as in hubbub.toml."""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeAlias

import msgspec

MAX_SECONDS: Final = 10**9
_NUMBER: Final = r"\d{1,12}(?:\.\d{1,20})?"
_PATTERN: Final = re.compile(rf"({_NUMBER}) ?(ms|s|m|h|d)?", re.ASCII)
_MILLISECONDS: Final = {
    "ms": 1,
    None: 1000,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
}

Duration: TypeAlias = (
    Annotated[float, msgspec.Meta(ge=0, le=MAX_SECONDS)]
    | Annotated[str, msgspec.Meta(pattern=rf"^{_NUMBER} ?(ms|s|m|h|d)?$")]
)
"""Seconds as a number, or text such as "500ms", "10s", "5m", "1h" or "7d"."""


class DurationError(ValueError):
    """It is no duration; the text says why."""


def milliseconds(value: float | str) -> int:
    """Return a duration in milliseconds.

    Raises:
        DurationError
    """
    if isinstance(value, str):
        match = _PATTERN.fullmatch(value)
        if match is None:
            raise DurationError(
                f"{value[:40]!r} is no duration: write seconds, or text such as '500ms' or '10s'"
            )
        found = float(match[1]) * _MILLISECONDS[match[2]]
    else:
        found = value * 1000
    if not 0 <= found <= MAX_SECONDS * 1000:
        raise DurationError(f"{value} is no duration: it must be from 0 to {MAX_SECONDS} seconds")
    return round(found)
