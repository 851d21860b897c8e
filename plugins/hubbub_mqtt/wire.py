"""The data types of section 1.5, read from and written to bytes."""

from __future__ import annotations

from typing import Final

from .errors import MqttError, Rule
from .topics import decode_utf8

#: The largest value of a Variable Byte Integer (1.5.5).
VARINT_MAX: Final = 268_435_455


def encode_varint(value: int) -> bytes:
    """Encode a Variable Byte Integer in its shortest form; ValueError above 268,435,455."""
    if 0 <= value < 128:
        return value.to_bytes(1, "big")
    if not 0 <= value <= VARINT_MAX:
        raise ValueError(f"{value} does not fit a variable byte integer")
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_binary(data: bytes, what: str) -> bytes:
    """Encode Binary Data (1.5.6); ValueError above 65,535 bytes."""
    if len(data) > 0xFFFF:
        raise ValueError(f"{what} is longer than 65,535 bytes")
    return len(data).to_bytes(2, "big") + data


def encode_utf8(text: str, what: str) -> bytes:
    """Encode a UTF-8 Encoded String (1.5.4).

    ValueError for U+0000, for surrogates, and above 65,535 bytes.
    """
    if "\0" in text:
        raise ValueError(f"{what} contains U+0000")
    return encode_binary(text.encode("utf-8"), what)


class Reader:
    """Reads fields one after another from `data[position:end]`, never beyond `end`."""

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes, position: int, end: int) -> None:
        self.data = data
        self.position = position
        self.end = end

    @property
    def remaining(self) -> int:
        """Bytes left."""
        return self.end - self.position

    def take(self, count: int, what: str) -> bytes:
        """The next `count` bytes."""
        start = self.position
        stop = start + count
        if stop > self.end:
            raise MqttError(Rule.TRUNCATED, what)
        self.position = stop
        return self.data[start:stop]

    def uint8(self, what: str) -> int:
        """A byte."""
        position = self.position
        if position >= self.end:
            raise MqttError(Rule.TRUNCATED, what)
        self.position = position + 1
        return self.data[position]

    def uint16(self, what: str) -> int:
        """A Two Byte Integer (1.5.2)."""
        return int.from_bytes(self.take(2, what), "big")

    def uint32(self, what: str) -> int:
        """A Four Byte Integer (1.5.3)."""
        return int.from_bytes(self.take(4, what), "big")

    def varint(self, what: str) -> int:
        """A Variable Byte Integer (1.5.5), which must be in its shortest form."""
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.uint8(what)
            value |= (byte & 127) << shift
            if byte < 128:
                if shift and not byte:
                    raise MqttError(Rule.VARINT_NOT_MINIMAL, what)
                return value
        raise MqttError(Rule.VARINT_TOO_LONG, what)

    def binary(self, what: str) -> bytes:
        """Binary Data (1.5.6)."""
        return self.take(self.uint16(what), what)

    def utf8(self, what: str) -> str:
        """A UTF-8 Encoded String (1.5.4)."""
        return decode_utf8(self.take(self.uint16(what), what), what)

    def packet_id(self) -> int:
        """A Packet Identifier, which is never zero (2.2.1)."""
        packet_id = self.uint16("packet identifier")
        if not packet_id:
            raise MqttError(Rule.PACKET_ID_ZERO)
        return packet_id

    def finish(self) -> None:
        """Refuse bytes after the last field."""
        if self.position != self.end:
            raise MqttError(Rule.TRAILING_BYTES)
