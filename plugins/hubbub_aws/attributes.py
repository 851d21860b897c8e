"""Message attributes of SQS and SNS as typed values, and as headers of the bus.

A header has the nearest type of Python. What that does not tell (a custom type, how a number was
written) is noted beside it, so that AWS clients get back exactly what AWS clients sent.
"""

import math
import re
from datetime import datetime
from typing import Any, NamedTuple, cast

import msgspec

from hubbub import HeaderValue
from hubbub_aws.protocols import Params

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_WIDE_NAME = re.compile(r"[\w.-]+")
_RESERVED = ("aws.", "amazon.")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_INTEGER_BOUND = 1 << 63
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
MAX_NAME_BYTES = 256

BOOLEAN, ARRAY, OBJECT, NULL, TIMESTAMP = (
    "String.boolean", "String.Array", "String.json", "String.null", "String.timestamp",
)  # fmt: skip


class Attribute(NamedTuple):
    """A message attribute: its type, and its value as text or (for Binary) bytes."""

    data_type: str
    value: str | bytes

    def as_result(self) -> Params:
        """Return it as SQS answers it, and SNS takes it."""
        if type(self.value) is bytes:
            return {"BinaryValue": self.value, "DataType": self.data_type}
        return {"StringValue": self.value, "DataType": self.data_type}

    @property
    def size(self) -> int:
        """Bytes of type and value, as SQS counts them."""
        value = self.value
        return len(self.data_type.encode()) + len(value.encode() if type(value) is str else value)


def is_text(text: str) -> bool:
    """Tell whether SQS and SNS can carry a text: whether XML 1.0 can."""
    return text.isprintable() or _NOT_IN_XML.search(text) is None


def is_name(name: str, *, wide: bool = False) -> bool:
    """Tell whether SNS, or SQS (`wide`: letters of all scripts), lets an attribute have a name."""
    return (
        (_WIDE_NAME if wide else _NAME).fullmatch(name) is not None
        and len(name) <= MAX_NAME_BYTES
        and name[0] != "."
        and name[-1] != "."
        and ".." not in name
        and not name.lower().startswith(_RESERVED)
    )


# Headers


def to_header(attribute: Attribute) -> HeaderValue:
    """Return the header that an attribute is for other protocols."""
    data_type, value = attribute
    if type(value) is bytes:
        return value
    assert type(value) is str
    if data_type == "String":
        return value
    if data_type.startswith("Number"):
        return _number(value)
    if data_type == BOOLEAN and value in {"true", "false"}:
        return value == "true"
    if data_type == NULL:
        return None
    if data_type in {ARRAY, OBJECT}:
        try:
            found = msgspec.json.decode(value)
        except (msgspec.MsgspecError, RecursionError):
            return value
        # SNS takes an array of one value without its brackets, too.
        if isinstance(found, dict) is (data_type == OBJECT) and _is_plain(found):
            return cast("HeaderValue", found)
    if data_type == TIMESTAMP:
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    return value


def from_header(value: HeaderValue) -> Attribute:
    """Return the attribute that stands for a header.

    Raises:
        ValueError: it holds something that attributes can't carry.
    """
    if isinstance(value, str):
        if not is_text(value):
            raise ValueError("attributes carry no control characters")
        return Attribute("String", value)
    if isinstance(value, bytes):
        return Attribute("Binary", value)
    if isinstance(value, bool):
        return Attribute(BOOLEAN, "true" if value else "false")
    if isinstance(value, int):
        return Attribute("Number", str(value))
    if isinstance(value, float):
        if not math.isfinite(value):
            return Attribute("String", str(value))
        return Attribute("Number", repr(value))
    if value is None:
        return Attribute(NULL, "null")
    if isinstance(value, datetime):
        return Attribute(TIMESTAMP, value.isoformat())
    text = msgspec.json.encode(value).decode()
    return Attribute(ARRAY if isinstance(value, list) else OBJECT, text)


def _number(text: str) -> HeaderValue:
    """The number that a text stands for exactly, or the text."""
    if _INTEGER.fullmatch(text):
        number = int(text)
        if -_INTEGER_BOUND <= number < _INTEGER_BOUND and text != "-0":
            return number
        return text
    value = float(text)
    # Python writes the shortest text that means the same float; any longer one said more.
    digits = text.lower().partition("e")[0].replace(".", "").strip("+-0")
    return value if math.isfinite(value) and len(digits) <= 15 else text


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Whether a value from JSON may be a header: not too deep, integers of 64 bits at most."""
    if depth > 16:
        return False
    if type(value) is int:
        return -_INTEGER_BOUND <= value < _INTEGER_BOUND
    if type(value) is list:
        return all(_is_plain(each, depth + 1) for each in value)
    if type(value) is dict:
        return all(_is_plain(each, depth + 1) for each in value.values())
    return True


# What headers do not tell


class Note(NamedTuple):
    """How a client had an attribute: its type, and its text where the header can't give it back."""

    data_type: str
    text: str | None


def note_for(attribute: Attribute, header: HeaderValue) -> Note | None:
    """Return what has to be noted beside a header; None if it tells all."""
    data_type, value = attribute
    if data_type in {"String", "Binary"}:
        return None
    plain = from_header(header)
    if plain == attribute:
        return None
    return Note(data_type, value if type(value) is str and value != plain.value else None)


def restore(header: HeaderValue, note: Note) -> Attribute:
    """Return the attribute that a header and its note stand for.

    A note that does not fit the header (which somebody changed on the way) is passed over.
    """
    plain = from_header(header)
    noted = Attribute(note.data_type, plain.value if note.text is None else note.text)
    again = to_header(noted)
    return noted if type(again) is type(header) and again == header else plain
