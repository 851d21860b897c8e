"""What tags may be."""

import re
from collections.abc import Iterable, Mapping

from hubbub_kinesis.errors import invalid_argument

MAX_TAGS = 50

_INVALID = re.compile(r"[^\u00C0-\u1FFF\u2C00-\uD7FF\w./\-=+_ @%:]", re.ASCII)


def check_tags(name: str, account: str, tags: Mapping[str, str], added: Mapping[str, str]) -> None:
    """Check tags that are to be added to those there are. Raises `AwsError`."""
    failed = f"Failed to add tags to stream {name} under account {account} because"
    _check_texts([*added.keys(), *added.values()], failed)
    if any(key.lower().startswith("aws:") for key in added):
        raise invalid_argument(f"{failed} tag keys cannot start with 'aws:'.")
    if len(tags.keys() | added.keys()) > MAX_TAGS:
        raise invalid_argument(
            f"{failed} a given stream cannot have more than {MAX_TAGS} tags associated with it."
        )


def check_keys(name: str, account: str, keys: Iterable[str]) -> None:
    """Check the keys of tags that are to be removed. Raises `AwsError`."""
    _check_texts(keys, f"Failed to remove tags from stream {name} under account {account} because")


def _check_texts(texts: Iterable[str], failed: str) -> None:
    found = list(texts)
    if any(_INVALID.search(text) for text in found):
        raise invalid_argument(
            "Some tags contain invalid characters. Valid characters: Unicode letters, digits, "
            "white space, _ . / = + - % @ :."
        )
    if any("%" in text for text in found):
        raise invalid_argument(
            f"{failed} some tags contained illegal characters. The allowed characters are Unicode "
            "letters, white-spaces, '_',',','/','=','+','-','@',':'."
        )
