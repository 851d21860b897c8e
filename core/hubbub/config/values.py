"""Types of values: durations, sizes, addresses, each written as a person would."""

import re
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from hubbub.address import check_pattern, parse_address


class Unit(str):
    """The unit of a field, for the reference: `Annotated[int, Unit("messages")]`."""

    __slots__ = ()


_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGT]i?B|B)", re.ASCII)
_BYTES = {"B": 1} | {
    prefix + unit: base**power
    for power, prefixes in enumerate(("kK", "M", "G", "T"), start=1)
    for prefix in prefixes
    for unit, base in (("B", 1000), ("iB", 1024))
}


def parse_duration(value: object) -> object:
    """Turn "500ms", "10s", "5m", "1.5h" or "7d" into seconds; anything else stays as it is.

    Raises:
        ValueError: a text is none of these.
    """
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError('should be seconds, or text such as "500ms", "10s", "5m", "1h" or "7d"')
    return round(float(match[1]) * _SECONDS[match[2]], 6)


def parse_size(value: object) -> object:
    """Turn "64KiB", "512MB" or "1.5GiB" into bytes; anything else stays as it is.

    Raises:
        ValueError: a text is none of these.
    """
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError('should be bytes, or text such as "64KiB", "512MB" or "2GiB"')
    return int(float(match[1]) * _BYTES[match[2]])


def _schema(kind: str, pattern: re.Pattern[str]) -> WithJsonSchema:
    text = {"type": "string", "pattern": f"^{pattern.pattern}$"}
    return WithJsonSchema({"anyOf": [{"type": kind, "minimum": 0}, text]})


Duration: TypeAlias = Annotated[
    float,
    Field(ge=0, allow_inf_nan=False),
    BeforeValidator(parse_duration),
    Unit("seconds"),
    _schema("number", _DURATION),
]
"""Seconds; written as a number of seconds, or as text with a unit."""

Size: TypeAlias = Annotated[
    int, Field(ge=0), BeforeValidator(parse_size), Unit("bytes"), _schema("integer", _SIZE)
]
"""Bytes; written as a number of bytes, or as text with a unit."""


def _address(text: str) -> str:
    parse_address(text)
    return text


def _pattern(text: str) -> str:
    check_pattern(text)
    return text


AddressText: TypeAlias = Annotated[str, AfterValidator(_address)]
"""An address such as "alarms/fire", "$queue/orders" or "$stream/telemetry"."""

PatternText: TypeAlias = Annotated[str, AfterValidator(_pattern)]
"""A pattern of topics such as "alarms/#"."""


def listed(value: object) -> object:
    """Turn a text into a list of it, for keys that take one or several."""
    return [value] if isinstance(value, str) else value
