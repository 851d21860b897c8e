"""The three spellings of a timestamp in AWS protocols (Smithy ``timestampFormat``).

A timestamp is a number of seconds since the epoch everywhere inside.
"""

import re
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

_ISO_8601 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII
)
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,9})?([eE][+-]?\d{1,2})?", re.ASCII)
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
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = moment.timestamp()
    if not in_range(seconds):
        raise ValueError(f"{text!r} is out of range")
    return seconds


def format_iso_8601(seconds: float) -> str:
    """In ISO 8601, with milliseconds, as AWS answers in Query: ``2015-01-25T08:00:00.000Z``."""
    moment = datetime.fromtimestamp(round(seconds, 3), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def format_rfc_822(seconds: float) -> str:
    """In RFC 822, to the second: ``Sun, 25 Jan 2015 08:00:00 GMT``."""
    return format_datetime(datetime.fromtimestamp(int(seconds), UTC), usegmt=True)
