"""Receipt handles: what settles a lease, with when it was given, in one opaque text."""

import struct
import zlib
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import NamedTuple

from hubbub import Receipt
from hubbub_aws import AwsError

_VERSION = b"\x01\x01\x01"  # "AQEB", as AWS's handles begin
_LAYOUT = struct.Struct(">3sQQQQI")
_CHECKED = _LAYOUT.size - 4
_LENGTH = len(b64encode(bytes(_LAYOUT.size)))


class Handle(NamedTuple):
    """A receipt, and when the message was received: milliseconds since the epoch."""

    receipt: Receipt
    received: int


def make_handle(receipt: Receipt, received: int) -> str:
    """Write a handle."""
    data = _LAYOUT.pack(_VERSION, receipt.queue, receipt.message, receipt.token, received, 0)
    check = zlib.crc32(data[:_CHECKED])
    return b64encode(data[:_CHECKED] + check.to_bytes(4)).decode("ascii")


def read_handle(text: str, queue: int) -> Handle:
    """Read a handle of the queue with this number.

    Raises:
        AwsError: it is no handle, or one of another queue.
    """
    if len(text) == _LENGTH:
        try:
            data = b64decode(text, validate=True)
        except (Base64Error, ValueError):
            data = b""
        if len(data) == _LAYOUT.size and data.startswith(_VERSION):
            _, number, message, token, received, check = _LAYOUT.unpack(data)
            if check == zlib.crc32(data[:_CHECKED]) and number == queue:
                return Handle(Receipt(number, message, token), received)
    raise invalid_handle(text)


def invalid_handle(text: str) -> AwsError:
    """The error for a handle that never was one."""
    return AwsError(
        "ReceiptHandleIsInvalid",
        f'The input receipt handle "{text}" is not a valid receipt handle.',
    )
