"""The three spellings of a timestamp in AWS protocols (Smithy ``timestampFormat``).

A timestamp is a number of seconds since the epoch everywhere inside.
"""

import re
from datetime import UTC, datetime, timedelta

_ISO_8601 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_RFC_822 = re.compile(
    r"(?:[A-Za-z]{3}, )?(\d\d?) ([A-Za-z]{3}) (\d{4}) (\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?"
    r" (?:GMT|UTC|UT|Z|[+-]0000)",
    re.ASCII,
)
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,9})?([eE][+-]?\d{1,2})?", re.ASCII)
# Not strftime's: those follow the locale.
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = 253402300799.999
_EARLIEST = -62135596800


def in_range(seconds: float) -> bool:
    """Whether these seconds lie in the years 1 to 9999, the ones that have a spelling."""
    return _EARLIEST <= seconds <= _LATEST


def parse_timestamp(text: str) -> float:
    """Read a timestamp in any of the three formats. Raises `ValueError`."""
    if _NUMBER.fullmatch(text):
        seconds = float(text)
    elif _ISO_8601.fullmatch(text):
        seconds = datetime.fromisoformat(text).timestamp()
    else:
        seconds = _parse_rfc_822(text)
    if not in_range(seconds):
        raise ValueError(f"{text!r} is out of range")
    return seconds


def _parse_rfc_822(text: str) -> float:
    found = _RFC_822.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a timestamp")
    day, month, year, hour, minute, second = found.groups()
    number = _MONTHS.index(month.title()) + 1
    moment = datetime(int(year), number, int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    return moment.timestamp()


def format_iso_8601(seconds: float) -> str:
    """In ISO 8601, with milliseconds, as AWS answers in Query: ``2015-01-25T08:00:00.000Z``."""
    moment = _EPOCH + timedelta(milliseconds=round(seconds * 1000))
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def format_rfc_822(seconds: float) -> str:
    """In RFC 822, to the second: ``Sun, 25 Jan 2015 08:00:00 GMT``."""
    moment = _EPOCH + timedelta(seconds=int(seconds))
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    return f"{day}, {moment.day:02d} {month} {moment.year:04d} {moment:%H:%M:%S} GMT"
