"""The properties of class basic: read, made, and changed one at a time without touching others.

"Raw" properties are the bytes of a content header behind the body size: flags, then values
(4.2.6.1). Messages keep them as they came.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

import msgspec

from .errors import syntax_error
from .wire import (
    FieldValue,
    decode_long_string,
    decode_short_string,
    decode_table,
    encode_short_string,
    encode_table,
)

NO_PROPERTIES: Final = b"\0\0"
_FLAGS: Final = struct.Struct(">H")
_TIMESTAMP: Final = struct.Struct(">Q")
_CONTINUED: Final = 3
"""Flag bits 0 and 1: further flags, which class basic has not, and one it never had."""


class Property(IntEnum):
    """The bit of each property in the flags."""

    CONTENT_TYPE = 15
    CONTENT_ENCODING = 14
    HEADERS = 13
    DELIVERY_MODE = 12
    PRIORITY = 11
    CORRELATION_ID = 10
    REPLY_TO = 9
    EXPIRATION = 8
    MESSAGE_ID = 7
    TIMESTAMP = 6
    TYPE = 5
    USER_ID = 4
    APP_ID = 3
    CLUSTER_ID = 2


_OCTETS: Final = frozenset({Property.DELIVERY_MODE, Property.PRIORITY})
_NAMES: Final = {each: each.name.lower() for each in Property}


class Properties(msgspec.Struct, frozen=True, omit_defaults=True):
    """Properties as values; None for those that are not there. `timestamp` is in seconds."""

    content_type: str | None = None
    content_encoding: str | None = None
    headers: dict[str, FieldValue] | None = None
    delivery_mode: int | None = None
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    message_id: str | None = None
    timestamp: int | None = None
    type: str | None = None
    user_id: str | None = None
    app_id: str | None = None
    cluster_id: str | None = None


def split_properties(raw: bytes) -> dict[Property, bytes]:
    """Take raw properties apart, values undecoded. Raises `AmqpError`."""
    if len(raw) < 2:
        raise syntax_error("a content header ends before its flags")
    flags: int = _FLAGS.unpack_from(raw)[0]
    if flags & _CONTINUED:
        raise syntax_error("a content header has flags of no property")
    parts: dict[Property, bytes] = {}
    at = 2
    for each in Property:
        if not flags >> each & 1:
            continue
        if each in _OCTETS:
            end = at + 1
        elif each is Property.TIMESTAMP:
            end = at + 8
        elif each is Property.HEADERS:
            _, end = decode_long_string(raw, at)
        else:
            end = at + 1 + (raw[at] if at < len(raw) else 0)
        if end > len(raw):
            raise syntax_error("a content header ends before its properties")
        parts[each] = raw[at:end]
        at = end
    return parts


def join_properties(parts: Mapping[Property, bytes]) -> bytes:
    """Put together what `split_properties` took apart."""
    flags = 0
    for each in parts:
        flags |= 1 << each
    return _FLAGS.pack(flags) + b"".join([parts[each] for each in Property if each in parts])


def decode_properties(raw: bytes) -> Properties:
    """Read raw properties. Raises `AmqpError`."""
    values: dict[str, object] = {}
    for each, data in split_properties(raw).items():
        if each in _OCTETS:
            values[_NAMES[each]] = data[0]
        elif each is Property.TIMESTAMP:
            values[_NAMES[each]] = _TIMESTAMP.unpack(data)[0]
        elif each is Property.HEADERS:
            values[_NAMES[each]] = decode_table(data, 0)[0]
        else:
            values[_NAMES[each]] = decode_short_string(data, 0)[0]
    return Properties(**values)  # type: ignore[arg-type]


def encode_properties(properties: Properties) -> bytes:
    """Make raw properties. Raises `ValueError` for what does not fit."""
    parts: dict[Property, bytes] = {}
    for each, name in _NAMES.items():
        value = getattr(properties, name)
        if value is not None:
            parts[each] = encode_property(each, value)
    return join_properties(parts)


def encode_property(which: Property, value: FieldValue) -> bytes:
    """Make the bytes of one property. Raises `ValueError` for what does not fit."""
    if which is Property.HEADERS and isinstance(value, dict):
        return encode_table(value)
    if which in _OCTETS and isinstance(value, int):
        return bytes((value,))
    if which is Property.TIMESTAMP and isinstance(value, int):
        if not 0 <= value < 1 << 64:
            raise ValueError("a timestamp has 64 bits")
        return _TIMESTAMP.pack(value)
    if isinstance(value, str):
        return encode_short_string(value)
    raise ValueError(f"no {which.name} can be {value!r}")
