"""Pages of long lists, with tokens that tell where the next one begins, and expire."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import msgspec

from hubbub_aws import AwsError
from hubbub_aws.protocols import Params
from hubbub_kinesis.errors import invalid_argument
from hubbub_kinesis.iterators import LIFETIME


class Named(Protocol):
    """What is listed by name."""

    @property
    def name(self) -> str:
        """Its name."""


T = TypeVar("T")
N = TypeVar("N", bound=Named)


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


def named_page(
    entries: Sequence[N], limit: int, of: str, params: Params, now: int, after: str | None = None
) -> tuple[Sequence[N], Params]:
    """Return the page that a request asks for, and the `NextToken` of its answer if there is one.

    Args:
        entries: all of them, in order of name.
        limit: how many go on a page.
        of: what is listed, as tokens have it.
        params: the request's, with the `NextToken` of the page before.
        now: in ms since the epoch.
        after: the name after which the first page begins.

    Raises:
        AwsError: the token is none, too old, or that of another list.
    """
    given = params.get("NextToken")
    if given is not None:
        token = Token.decode(given, now)
        if token.of != of:
            raise invalid_argument("Invalid NextToken.")
        after = token.last
    found, last = page(entries, limit, lambda each: each.name, after)
    return found, {} if last is None else {"NextToken": Token(now, of, last).encode()}
