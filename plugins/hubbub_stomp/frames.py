"""Frames, versions, and how a header is spelled in each version."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

import msgspec

from .errors import StompError, malformed


class Version(Enum):
    """A version of STOMP. Its value is its name in `accept-version` and `version`."""

    V10 = "1.0"
    V11 = "1.1"
    V12 = "1.2"


VERSIONS: Final = ",".join(version.value for version in Version)
"""All versions, as the header `version` of an ERROR frame lists them."""


class Head:
    """Command and headers of a frame. Frames with the same bytes there may share one.

    * `headers`: unescaped; of repeated ones the first (1.2, "Repeated Header Entries").
    * `length`: the `content-length`, None if there is none.
    * `plain`: it is a SEND outside of transactions, with what it needs and nothing that it must not
      have: nothing to be checked.
    * `note`: for the server to keep what it has worked out from the headers.
    """

    __slots__ = ("command", "headers", "length", "note", "plain")

    def __init__(self, command: str, headers: Mapping[str, str], length: int | None) -> None:
        self.command = command
        self.headers = headers
        self.length = length
        self.plain = (
            command == "SEND"
            and "destination" in headers
            and "transaction" not in headers
            and "message-id" not in headers
        )
        self.note: Any = None

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Head)
            and self.command == other.command
            and self.headers == other.headers
            and self.length == other.length
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Head({self.command!r}, {dict(self.headers)!r}, {self.length!r})"


class Frame(msgspec.Struct, gc=False):
    """One frame. Its `receipt`, "" if it asks for none, is not among the headers."""

    head: Head
    body: bytes = b""
    receipt: str = ""

    @property
    def command(self) -> str:
        """The command, such as "SEND"."""
        return self.head.command

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, unescaped, the first of repeated ones."""
        return self.head.headers


def negotiate(accept_version: str | None) -> Version:
    """Choose the highest version that both sides speak; no header means 1.0.

    Raises:
        StompError: there is none.
    """
    if accept_version is None:
        return Version.V10
    offered = {text.strip() for text in accept_version.split(",")}
    for version in reversed(Version):
        if version.value in offered:
            return version
    raise StompError("Version mismatch", f"Supported versions are {VERSIONS}\n")


# Escaping: 1.0 has none, 1.1 has three escapes, 1.2 one more (1.2, "Value Encoding").

_ESCAPES: Final[Mapping[Version, Mapping[str, str]]] = {
    Version.V11: {"\\\\": "\\", "\\n": "\n", "\\c": ":"},
    Version.V12: {"\\\\": "\\", "\\n": "\n", "\\c": ":", "\\r": "\r"},
}
_ESCAPE: Final = re.compile(r"\\.?", re.DOTALL)
_SPECIAL: Final = re.compile(r"[\\\n\r:]")
_INEXPRESSIBLE: Final = {Version.V10: "\0\n\r", Version.V11: "\0\r", Version.V12: "\0"}


def unescape(text: str, version: Version) -> str:
    """Read a header's name or value. Raises `StompError` for an undefined escape."""
    if "\\" not in text:
        return text
    escapes = _ESCAPES.get(version)
    if escapes is None:
        return text

    def replace(match: re.Match[str]) -> str:
        try:
            return escapes[match[0]]
        except KeyError:
            raise malformed(f"Undefined escape sequence '{match[0]}' in a header") from None

    return _ESCAPE.sub(replace, text)


def escape(text: str, version: Version) -> str | None:
    """Write a header's name or value; None if the version has no way to say it."""
    for character in _INEXPRESSIBLE[version]:
        if character in text:
            return None
    if version is Version.V10 or not _SPECIAL.search(text):
        return text
    return _SPECIAL.sub(_escape_one, text)


def _escape_one(match: re.Match[str]) -> str:
    return {"\\": "\\\\", "\n": "\\n", "\r": "\\r", ":": "\\c"}[match[0]]


def header_line(name: str, value: str, version: Version) -> bytes | None:
    """Write one header with its line end; None if the version has no way to say it."""
    if version is Version.V10 and (":" in name or value != value.strip()):
        return None  # 1.0's readers cut a name at the first colon, and many trim the value
    escaped_name, escaped_value = escape(name, version), escape(value, version)
    if not escaped_name or escaped_value is None:
        return None
    try:
        return f"{escaped_name}:{escaped_value}\n".encode()
    except UnicodeEncodeError:
        return None
