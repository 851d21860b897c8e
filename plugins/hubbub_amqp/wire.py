"""The data types of AMQP 0-9-1 as RabbitMQ reads them: strings, tables, arrays (4.2.5).

RabbitMQ's letters for the types of field values differ from those of the specification; its errata
page is the standard in use. Whatever is wrong with bytes raises `AmqpError` with SYNTAX_ERROR.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias

from .errors import syntax_error

#: How deep tables and arrays may lie in one another.
MAX_DEPTH: Final = 32

FieldValue: TypeAlias = (
    bool | int | float | Decimal | str | bytes | datetime
    | list["FieldValue"] | dict[str, "FieldValue"] | None
)  # fmt: skip

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONG: Final = struct.Struct(">I")
_SIGNED_LONG: Final = struct.Struct(">i")
_LONGLONG: Final = struct.Struct(">Q")
_SIGNED_LONGLONG: Final = struct.Struct(">q")


class Int64(int):
    """A number that is always sent as a 64-bit integer, as RabbitMQ sends its own counts."""


class Table(dict[str, FieldValue]):
    """A field table. `raw` has the bytes it arrived in, without the length, or None.

    It is encoded to the same bytes again, so that no type is lost on the way.
    """

    __slots__ = ("raw",)

    def __init__(
        self, fields: Mapping[str, FieldValue] | None = None, raw: bytes | None = None
    ) -> None:
        super().__init__(fields or {})
        self.raw = raw

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(self.raw)

    def types(self) -> dict[str, str]:
        """Name the type of each field as RabbitMQ's error texts do."""
        fields = split_table(encode_fields(self) if self.raw is None else self.raw)
        return {name: TYPE_NAMES.get(value[:1], "unknown") for name, value in fields.items()}


#: RabbitMQ's names for the types, by their letter (rabbit_binary_parser).
TYPE_NAMES: Final = {
    b"S": "longstr",
    b"I": "signedint",
    b"D": "decimal",
    b"T": "timestamp",
    b"F": "table",
    b"A": "array",
    b"b": "byte",
    b"B": "unsignedbyte",
    b"d": "double",
    b"f": "float",
    b"l": "long",
    b"L": "long",
    b"s": "short",
    b"u": "unsignedshort",
    b"i": "unsignedint",
    b"t": "bool",
    b"x": "binary",
    b"V": "void",
}


# decoding


def decode_short_string(data: bytes, at: int) -> tuple[str, int]:
    """Return a short string and where it ends."""
    try:
        end = at + 1 + data[at]
        text = data[at + 1 : end]
        if end > len(data):
            raise syntax_error("a short string ends before its length")
        return text.decode("utf-8"), end
    except IndexError:
        raise syntax_error("a short string is missing") from None
    except UnicodeDecodeError:
        raise syntax_error("a short string is not UTF-8") from None


def decode_long_string(data: bytes, at: int) -> tuple[bytes, int]:
    """Return a long string and where it ends."""
    start = at + 4
    if start > len(data):
        raise syntax_error("a long string is missing")
    end = start + _LONG.unpack_from(data, at)[0]
    if end > len(data):
        raise syntax_error("a long string ends before its length")
    return data[start:end], int(end)


def decode_table(data: bytes, at: int) -> tuple[Table, int]:
    """Return a table and where it ends."""
    raw, end = decode_long_string(data, at)
    return Table(decode_fields(raw), raw), end


def decode_fields(raw: bytes, depth: int = 0) -> dict[str, FieldValue]:
    """Return the fields of a table that was given without its length. The last of a name wins."""
    fields: dict[str, FieldValue] = {}
    at, end = 0, len(raw)
    while at < end:
        name, at = decode_short_string(raw, at)
        fields[name], at = _decode_value(raw, at, depth)
    return fields


def split_table(raw: bytes) -> dict[str, bytes]:
    """Return the fields of a table, each value as its type letter and bytes, undecoded."""
    fields: dict[str, bytes] = {}
    at, end = 0, len(raw)
    while at < end:
        name, at = decode_short_string(raw, at)
        start = at
        _, at = _decode_value(raw, at, 0)
        fields[name] = raw[start:at]
    return fields


def join_table(fields: Mapping[str, bytes]) -> bytes:
    """Make a table, without its length, of what `split_table` gave."""
    return b"".join([encode_short_string(name) + value for name, value in fields.items()])


def _decode_value(data: bytes, at: int, depth: int) -> tuple[FieldValue, int]:
    kind = data[at : at + 1]
    at += 1
    fixed = _FIXED.get(kind)
    if fixed is not None:
        layout, convert = fixed
        end = at + layout.size
        if end > len(data):
            raise syntax_error("a field value ends too early")
        parts = layout.unpack_from(data, at)
        return (parts[0] if convert is None else convert(*parts)), end
    if kind == b"S":
        text, end = decode_long_string(data, at)
        try:
            return text.decode("utf-8"), end
        except UnicodeDecodeError:
            return text, end
    if kind == b"x":
        return decode_long_string(data, at)
    if kind == b"V":
        return None, at
    if kind not in {b"F", b"A"}:
        raise syntax_error(f"a field value has the unknown type {kind!r}"[:200])
    if depth >= MAX_DEPTH:
        raise syntax_error(f"tables and arrays are more than {MAX_DEPTH} deep")
    raw, end = decode_long_string(data, at)
    if kind == b"F":
        return decode_fields(raw, depth + 1), end
    values: list[FieldValue] = []
    at = 0
    while at < len(raw):
        value, at = _decode_value(raw, at, depth + 1)
        values.append(value)
    return values, end


def _timestamp(seconds: int) -> datetime | int:
    """Return the time; a number where no calendar reaches."""
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return seconds


def _decimal(scale: int, number: int) -> Decimal:
    return Decimal(number).scaleb(-scale)


_FIXED: Final[Mapping[bytes, tuple[struct.Struct, Callable[..., FieldValue] | None]]] = {
    b"t": (struct.Struct(">B"), bool),
    b"b": (struct.Struct(">b"), None),
    b"B": (struct.Struct(">B"), None),
    b"s": (struct.Struct(">h"), None),
    b"u": (struct.Struct(">H"), None),
    b"I": (_SIGNED_LONG, None),
    b"i": (_LONG, None),
    b"l": (_SIGNED_LONGLONG, None),
    b"L": (_SIGNED_LONGLONG, None),
    b"f": (struct.Struct(">f"), None),
    b"d": (struct.Struct(">d"), None),
    b"D": (struct.Struct(">Bi"), _decimal),
    b"T": (_LONGLONG, _timestamp),
}


# encoding


def encode_short_string(text: str) -> bytes:
    """Encode a short string. Raises `ValueError` above 255 bytes."""
    data = text.encode("utf-8")
    if len(data) > 255:
        raise ValueError("a short string has at most 255 bytes")
    return b"%c%b" % (len(data), data)


def encode_long_string(data: bytes) -> bytes:
    """Encode a long string."""
    return _LONG.pack(len(data)) + data


def encode_table(table: Mapping[str, FieldValue]) -> bytes:
    """Encode a table with its length; one that arrived is sent as it came."""
    raw = table.raw if isinstance(table, Table) else None
    return encode_long_string(encode_fields(table) if raw is None else raw)


def encode_fields(table: Mapping[str, FieldValue]) -> bytes:
    """Encode a table without its length."""
    return b"".join(
        [encode_short_string(name) + encode_value(value) for name, value in table.items()]
    )


def encode_value(value: FieldValue) -> bytes:
    """Encode a field value with its type letter, as RabbitMQ's own clients do.

    Raises:
        ValueError: it is none, or a number beyond 64 bits.
    """
    if isinstance(value, str):
        return b"S" + encode_long_string(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bool):
        return b"t\1" if value else b"t\0"
    if isinstance(value, int):
        return _encode_integer(value)
    if value is None:
        return b"V"
    encoder = _ENCODERS.get(type(value))
    if encoder is None:
        raise ValueError(f"no field value can hold a {type(value).__name__}")
    return encoder(value)


def _encode_integer(value: int) -> bytes:
    if type(value) is not Int64 and -0x8000_0000 <= value < 0x8000_0000:
        return b"I" + _SIGNED_LONG.pack(value)
    if -(1 << 63) <= value < 1 << 63:
        return b"l" + _SIGNED_LONGLONG.pack(value)
    raise ValueError("a field value has at most 64 bits")


def _encode_array(values: list[FieldValue]) -> bytes:
    return b"A" + encode_long_string(b"".join(map(encode_value, values)))


def _encode_datetime(value: datetime) -> bytes:
    return b"T" + _LONGLONG.pack(max(0, int(value.timestamp())))


def _encode_decimal(value: Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    if exponent in {"n", "N", "F"}:
        raise ValueError("a field value can't hold an infinite decimal")
    assert isinstance(exponent, int)
    number = int("".join(map(str, digits))) * 10 ** max(0, exponent)
    scale = max(0, -exponent)
    if number > 0x7FFF_FFFF or scale > 255:
        raise ValueError("a decimal field value has at most 31 bits and 255 places")
    return b"D" + struct.pack(">Bi", scale, -number if sign else number)


_ENCODERS: Final[Mapping[type, Callable[[Any], bytes]]] = {
    float: lambda value: b"d" + struct.pack(">d", value),
    bytes: lambda value: b"x" + encode_long_string(value),
    dict: lambda value: b"F" + encode_table(value),
    Table: lambda value: b"F" + encode_table(value),
    list: _encode_array,
    datetime: _encode_datetime,
    Decimal: _encode_decimal,
}
