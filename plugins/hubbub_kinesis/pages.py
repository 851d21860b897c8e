"""Pages of long lists, with tokens that tell where the next one begins, and expire."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from hubbub_aws import AwsError
from hubbub_kinesis.errors import invalid_argument
from hubbub_kinesis.iterators import LIFETIME

T = TypeVar("T")


class Token(msgspec.Struct, array_like=True):
    """Where a list goes on: what it lists (`of`), and the key of the last entry given."""

    created: int
    of: str
    last: str
    details: dict[str, str | float] = {}

    def encode(self) -> str:
        """Return it as clients carry it."""
        return urlsafe_b64encode(msgspec.msgpack.encode(self)).decode("ascii")

    @classmethod
    def decode(cls, text: str, now: int) -> "Token":
        """Read a token. Raises `AwsError`: it is none, or too old."""
        try:
            token = msgspec.msgpack.decode(urlsafe_b64decode(text.encode("ascii")), type=cls)
        except (Base64Error, ValueError):
            raise invalid_argument("Invalid NextToken.") from None
        if now - token.created > LIFETIME:
            raise AwsError(
                "ExpiredNextTokenException",
                "The pagination token passed to the operation is expired.",
            )
        return token


def page(
    entries: Sequence[T], limit: int, key: Callable[[T], str], after: str | None
) -> tuple[Sequence[T], str | None]:
    """Return the entries after a key, so many of them, and the last one's key if there are more."""
    if after is not None:
        entries = [entry for entry in entries if key(entry) > after]
    found = entries[:limit]
    return found, key(found[-1]) if len(entries) > len(found) else None
