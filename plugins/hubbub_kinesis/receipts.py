"""Receipt handles of queues: what settles a lease, in one opaque text."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error

import msgspec

from hubbub import Receipt

_decode = msgspec.msgpack.Decoder(Receipt).decode


def make_handle(receipt: Receipt) -> str:
    """Write a handle."""
    return urlsafe_b64encode(msgspec.msgpack.encode(receipt)).decode("ascii")


def read_handle(text: str, queue: int) -> Receipt:
    """Read a handle of the queue with this number. Raises `ValueError`."""
    try:
        receipt = _decode(urlsafe_b64decode(text.encode("ascii")))
    except (Base64Error, UnicodeError, msgspec.MsgspecError):
        raise ValueError(f"{text!r} is no receipt handle") from None
    if receipt.queue != queue:
        raise ValueError(f"{text!r} is of another queue")
    return receipt
