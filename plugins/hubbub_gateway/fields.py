"""The HTTP form of a message: its body is the body, its fields are headers.

One rule: a field has the header `Hubbub-` with its name of the JSON form, `-` for `_`. Three have
a header of HTTP's own: `Content-Type`, `Content-Encoding`, and `Idempotency-Key` for the
deduplication id. A message's header NAME is `Hubbub-Header-NAME`.

Names of HTTP's headers know no case and few characters, so within NAME all but lower-case letters,
digits, `-`, `_` and `.` is percent-encoded in UTF-8. In values `%` is, and all but printable ASCII.
Values are text; bytes that are not UTF-8 are percent-encoded too and come back as bytes. Every
other type is spelled as JSON, which is a loss: the JSON form has none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

import msgspec
from msgspec import Meta

from hubbub import Delivery, Headers, HeaderValue, Message

from .durations import Duration, milliseconds
from .operations import Header
from .tokens import lease_token

PREFIX: Final = "hubbub-"
HEADER_PREFIX: Final = "hubbub-header-"
IDEMPOTENCY_KEY: Final = "idempotency-key"
_OTHERS: Final = frozenset({"hubbub-realm"})
"""Headers with our prefix that say nothing about the message."""
_MAX_TIME: Final = 2**53 - 1
_TEXT: Final = Annotated[str, Meta(min_length=1)]
_TIME: Final = Annotated[int, Meta(ge=0, le=_MAX_TIME)]

_NAME_SAFE: Final = "-_."
_CODE_OR_UPPER: Final = re.compile("%[0-9A-F]{2}|[A-Z]")
_VALUE_SAFE: Final = "".join(
    chr(code) for code in range(0x20, 0x7F) if not chr(code).isalnum() and chr(code) != "%"
)

Lossy: TypeAlias = Callable[[str], None]
"""Counts a field that could not be carried whole."""


class FieldError(ValueError):
    """A header is not what it must be; the text says why."""


# In


def read_fields(headers: Headers, now: int) -> dict[str, Any]:
    """Read the fields of a message from the headers of a request, by their names in `Message`.

    Raises:
        FieldError: a header of ours is unknown or is not what it must be.
    """
    fields: dict[str, Any] = {}
    own: dict[str, HeaderValue] = {}
    for name, value in headers:
        if name.startswith(HEADER_PREFIX):
            inner = _decode_name(name[len(HEADER_PREFIX) :])
            if inner in own:
                raise FieldError(f"the header {name} comes twice")
            own[inner] = _decode(value)
        elif name in _READERS:
            field, read = _READERS[name]
            if field in fields:
                raise FieldError(f"the header {name} comes twice")
            try:
                fields[field] = read(value)
            except ValueError as error:
                raise FieldError(f"the header {name}: {error}") from None
        elif name.startswith(PREFIX) and name not in _OTHERS:
            raise FieldError(
                f"there is no header {name[:80]}; a message's own are {HEADER_PREFIX}NAME"
            )
    if own:
        fields["headers"] = own
    lives = fields.pop("ttl", None)
    if lives is not None:
        if "expires_at" in fields:
            raise FieldError("give one of Hubbub-Ttl and Hubbub-Expires-At, not both")
        fields["expires_at"] = now + lives
    return fields


def _decode(value: str) -> str | bytes:
    if value.isascii():
        if "%" not in value:
            return value
        data = unquote_to_bytes(value)
    else:  # what many clients send for text beyond ASCII: UTF-8 as it is
        data = unquote_to_bytes(value.encode("latin-1"))
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _decode_name(name: str) -> str:
    decoded = _decode(name)
    if not decoded or isinstance(decoded, bytes):
        raise FieldError(f"the name in {HEADER_PREFIX}{name} is empty, or not UTF-8")
    return decoded


def _text(value: str) -> str:
    text = _decode(value)
    if isinstance(text, bytes):
        raise ValueError("it is not UTF-8")  # noqa: TRY004 - the value is wrong, not the code
    if not text:
        raise ValueError("it is empty")
    return text


def _key(value: str) -> str:
    """Read an idempotency key: text, or text in quotes as the IETF's draft has it."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    return _text(value)


def _time(value: str) -> int:
    number = _number(value)
    if number > _MAX_TIME:
        raise ValueError("it must be milliseconds since the epoch")
    return number


def _number(value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) <= 16):
        raise ValueError(f"it must be a whole number, not {value[:80]!r}")
    return int(value)


def _priority(value: str) -> int:
    number = _number(value)
    if number > 255:
        raise ValueError("it must be from 0 to 255")
    return number


def _flag(value: str) -> bool:
    if value not in {"true", "false"}:
        raise ValueError(f"it must be true or false, not {value[:80]!r}")
    return value == "true"


def _shard_key(value: str) -> str:
    if not (value.isascii() and value.isdecimal() and len(value) <= 39):
        raise ValueError("it must be a whole number of up to 39 digits")
    return value


_READERS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "content-type": ("content_type", str),
    "content-encoding": ("content_encoding", str),
    IDEMPOTENCY_KEY: ("dedup_id", _key),
    "hubbub-correlation-id": ("correlation_id", _decode),
    "hubbub-reply-to": ("reply_to", _text),
    "hubbub-message-id": ("message_id", _text),
    "hubbub-type": ("type", _text),
    "hubbub-app-id": ("app_id", _text),
    "hubbub-user-id": ("user_id", _text),
    "hubbub-timestamp": ("timestamp", _time),
    "hubbub-expires-at": ("expires_at", _time),
    "hubbub-ttl": ("ttl", milliseconds),
    "hubbub-delay": ("delay", milliseconds),
    "hubbub-priority": ("priority", _priority),
    "hubbub-durable": ("durable", _flag),
    "hubbub-retain": ("retain", _flag),
    "hubbub-group": ("group", _text),
    "hubbub-shard-key": ("shard_key", _shard_key),
}

PUBLISHED: Final[Mapping[str, Header]] = {
    "Content-Encoding": Header("The message's content encoding; the body is kept as it is."),
    "Idempotency-Key": Header("The message's deduplication id.", _TEXT),
    "Hubbub-Correlation-Id": Header("The message's correlation id."),
    "Hubbub-Reply-To": Header("The address to answer to.", _TEXT),
    "Hubbub-Message-Id": Header("The application's own message id.", _TEXT),
    "Hubbub-Type": Header("The message's type.", _TEXT),
    "Hubbub-App-Id": Header("The application that publishes.", _TEXT),
    "Hubbub-User-Id": Header("The user, as the application calls it.", _TEXT),
    "Hubbub-Timestamp": Header(
        "The application's own time, in milliseconds since the epoch.", _TIME
    ),
    "Hubbub-Expires-At": Header(
        "When nobody is to receive it any more, in milliseconds since the epoch.", _TIME
    ),
    "Hubbub-Ttl": Header(
        "How long from now it may be received; not together with `Hubbub-Expires-At`.", Duration
    ),
    "Hubbub-Delay": Header("How long a queue hides it first.", Duration),
    "Hubbub-Priority": Header("From 0, the lowest.", Annotated[int, Meta(ge=0, le=255)]),
    "Hubbub-Durable": Header("Whether it survives a restart, as it does by default.", bool),
    "Hubbub-Retain": Header("Whether it is kept as its topic's retained message.", bool),
    "Hubbub-Group": Header("The message's group, or partition key.", _TEXT),
    "Hubbub-Shard-Key": Header(
        "The hash key that chooses a stream's shard, in place of the group.",
        Annotated[str, Meta(pattern="^[0-9]{1,39}$")],
    ),
}
"""What publishers may say in headers, for the document; beside `Hubbub-Header-NAME`."""


# Out


def write_fields(message: Message, lossy: Lossy) -> list[tuple[str, str]]:
    """Return the headers that tell a message's fields."""
    headers: list[tuple[str, str]] = []
    for name, own in (
        ("Content-Type", plain(message.content_type, lossy, "content type")),
        ("Content-Encoding", plain(message.content_encoding, lossy, "content encoding")),
    ):
        if own is not None:
            headers.append((name, own))
    for name, value in (
        ("Hubbub-Id", message.id),
        ("Hubbub-Address", message.address),
        ("Hubbub-Published", message.published),
        ("Hubbub-Protocol", message.protocol),
        ("Hubbub-Client", message.client),
        ("Hubbub-Exchange", message.scope),
        ("Hubbub-Correlation-Id", message.correlation_id),
        ("Hubbub-Reply-To", message.reply_to),
        ("Hubbub-Message-Id", message.message_id),
        ("Hubbub-Type", message.type),
        ("Hubbub-App-Id", message.app_id),
        ("Hubbub-User-Id", message.user_id),
        ("Hubbub-Timestamp", message.timestamp),
        ("Hubbub-Expires-At", message.expires_at),
        ("Hubbub-Priority", message.priority or None),
        ("Hubbub-Durable", None if message.durable else "false"),
        ("Hubbub-Retain", "true" if message.retain else None),
        ("Hubbub-Group", message.group),
    ):
        if value is not None:
            headers.append((name, _encode(value)))
    if message.dedup_id is not None:
        headers.append(("Idempotency-Key", _encode(message.dedup_id).replace('"', "%22")))
    for name, header in message.headers.items():
        headers.append((f"Hubbub-Header-{encode_name(name)}", _header(header, lossy)))
    if message.deaths:
        deaths = [
            {"queue": each.queue, "reason": each.reason, "address": each.address,
             "time": each.time, "count": each.count}
            for each in message.deaths
        ]  # fmt: skip
        headers.append(("Hubbub-Deaths", _encode(msgspec.json.encode(deaths).decode())))
    return headers


def write_lease(delivery: Delivery) -> list[tuple[str, str]]:
    """Return the headers that tell of a delivery's lease."""
    headers = [
        ("Hubbub-Lease", lease_token(delivery.receipt)),
        ("Hubbub-Receives", str(delivery.receives)),
        ("Hubbub-Redelivered", "true" if delivery.redelivered else "false"),
    ]
    if delivery.deadline is not None:
        headers.append(("Hubbub-Lease-Until", str(delivery.deadline)))
    return headers


def plain(value: str | None, lossy: Lossy, name: str) -> str | None:
    """Return a value for a header of HTTP's own, if it can be one."""
    if value is None or (value.isascii() and value.isprintable() and value.strip() == value):
        return value
    lossy(name)
    return None


def _encode(value: str | bytes | int) -> str:
    if isinstance(value, int):
        return str(value)
    data = value if isinstance(value, bytes) else value.encode(errors="replace")
    text = quote_from_bytes(data, safe=_VALUE_SAFE)
    if text[:1] == " " or text[-1:] == " ":  # which HTTP would strip
        inner = text.strip(" ")
        begin = len(text) - len(text.lstrip(" "))
        text = "%20" * begin + inner + "%20" * (len(text) - begin - len(inner))
    return text


def encode_name(name: str) -> str:
    """Spell the name of a message's header so that it can be part of HTTP's."""
    spelled = quote(name, safe=_NAME_SAFE, errors="replace").replace("~", "%7E")
    return _CODE_OR_UPPER.sub(_encode_upper, spelled)


def _encode_upper(match: re.Match[str]) -> str:
    found = match[0]
    return found if len(found) > 1 else f"%{ord(found):02X}"


def _header(value: HeaderValue, lossy: Lossy) -> str:
    if isinstance(value, str):
        return _encode(value)
    if isinstance(value, bytes):
        try:
            value.decode()
        except UnicodeDecodeError:
            return _encode(value)
        lossy("header type")  # it would come back as text
        return _encode(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | dict):
        lossy("header type")
    return _encode(msgspec.json.encode(value).decode())
