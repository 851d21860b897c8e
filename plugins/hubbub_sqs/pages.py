"""Pages of long lists, with tokens that tell where the next one begins."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence

from hubbub_aws import AwsError
from hubbub_aws.protocols import Params
from hubbub_sqs.errors import invalid_parameter, invalid_value

MAX_RESULTS = 1000


def paginate(names: Sequence[str], params: Params) -> tuple[Sequence[str], str | None]:
    """Return the page of sorted names that a request asks for, and the token of the next one.

    As in AWS, only a request with MaxResults gets a token. Raises `AwsError`.
    """
    limit, token = params.get("MaxResults"), params.get("NextToken")
    if limit is not None and not 1 <= limit <= MAX_RESULTS:
        raise invalid_value(limit, "MaxResults", f"Must be between 1 and {MAX_RESULTS}.")
    if token is not None:
        if limit is None:
            raise invalid_parameter("The request must contain MaxResults along with NextToken.")
        last = _read(token)
        names = [name for name in names if name > last]
    page = names[: limit or MAX_RESULTS]
    if limit is None or len(page) == len(names):
        return page, None
    return page, urlsafe_b64encode(page[-1].encode()).decode("ascii")


def _read(token: str) -> str:
    try:
        return urlsafe_b64decode(token.encode("ascii")).decode()
    except (Base64Error, ValueError):
        raise _invalid() from None


def _invalid() -> AwsError:
    return invalid_parameter("Invalid or expired next token.")
