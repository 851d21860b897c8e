"""Pages of long lists, with tokens that tell where the next one begins."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence

from hubbub_sns.errors import invalid_parameter

PAGE = 100


def paginate(
    names: Sequence[str], token: str | None, limit: int = PAGE
) -> tuple[list[str], str | None]:
    """Return one page of names, in order, and the token of the next one. Raises `AwsError`."""
    ordered = sorted(names)
    if token is not None:
        last = _read(token)
        ordered = [name for name in ordered if name > last]
    page = ordered[:limit]
    if len(page) == len(ordered):
        return page, None
    return page, urlsafe_b64encode(page[-1].encode()).decode("ascii")


def _read(token: str) -> str:
    try:
        return urlsafe_b64decode(token.encode("ascii")).decode()
    except (Base64Error, ValueError):
        raise invalid_parameter("NextToken") from None
