"""Lease tokens: what settles a lease, as one opaque text that fits into a path."""

from __future__ import annotations

import struct
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from hubbub import Receipt

_LAYOUT: Final = struct.Struct(">QQQI")
_CHECKED: Final = _LAYOUT.size - 4
_LENGTH: Final = len(urlsafe_b64encode(bytes(_LAYOUT.size)).rstrip(b"="))
_PADDING: Final = "=" * (-_LENGTH % 4)


class TokenError(ValueError):
    """The text never was a lease token."""


def lease_token(receipt: Receipt) -> str:
    """Write the token of a lease."""
    data = _LAYOUT.pack(receipt.queue, receipt.message, receipt.token, 0)[:_CHECKED]
    data += zlib.crc32(data).to_bytes(4)
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def read_token(text: str) -> Receipt:
    """Read the token of a lease.

    Raises:
        TokenError: it is none.
    """
    if len(text) == _LENGTH and text.isascii():
        try:
            data = urlsafe_b64decode(text + _PADDING)
        except ValueError:
            data = b""
        if len(data) == _LAYOUT.size:
            queue, message, token, check = _LAYOUT.unpack(data)
            if check == zlib.crc32(data[:_CHECKED]) and text == lease_token(
                receipt := Receipt(queue, message, token)
            ):
                return receipt
    raise TokenError(f"{text[:80]!r} is not a lease token")
