"""CloudEvents 1.0 over HTTP: events as messages, and messages as events.

Sources: CloudEvents 1.0.2, its JSON format and its HTTP protocol binding.

An attribute of an event is the message's header ``ce-NAME``, as text, but for those that a message
has a field for: ``datacontenttype`` is the content type. Data is the body. So an event in binary
mode is the same message in every protocol that carries headers, and comes back as the event it was.

A message that was no event becomes one: its ``id`` is the message's own id or that of the hub, its
``source`` is its address as a URI reference, its ``type`` the message's type or
``hubbub.message``, its ``time`` its timestamp or when it was published.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote, unquote_to_bytes

import msgspec
from msgspec import Meta

from hubbub import Headers, HeaderValue, Message

EVENT: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
PREFIX: Final = "ce-"
DEFAULT_TYPE: Final = "hubbub.message"
SPEC_VERSION: Final = "1.0"

_REQUIRED: Final = ("id", "source", "specversion", "type")
_ATTRIBUTE: Final = re.compile(r"[a-z0-9]{1,64}")
_CONTENT_TYPE: Final = "datacontenttype"
_JSON_TYPE: Final = re.compile(r"[^/]+/(?:[^;]*\+)?json\s*(?:;.*)?", re.IGNORECASE)
_VALUE_SAFE: Final = "".join(
    chr(code) for code in range(0x21, 0x7F) if not chr(code).isalnum() and chr(code) not in '"%'
)
"""Printable ASCII but space, quote and percent (HTTP protocol binding, 3.1.3.2)."""


class Event(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A CloudEvent in the JSON format, for the document; extension attributes may be added."""

    id: Annotated[str, Meta(min_length=1)]
    source: Annotated[str, Meta(min_length=1)]
    specversion: Literal["1.0"]
    type: Annotated[str, Meta(min_length=1)]
    datacontenttype: str | None = None
    dataschema: str | None = None
    subject: str | None = None
    time: Annotated[str, Meta(extra_json_schema={"format": "date-time"})] | None = None
    data: Any = None
    data_base64: Annotated[str, Meta(extra_json_schema={"format": "byte"})] | None = None


class EventError(ValueError):
    """It is not a CloudEvent of version 1.0; the text says why."""


# In


def is_binary(headers: Headers) -> bool:
    """Tell whether the headers of a request are those of an event in binary mode."""
    return "ce-specversion" in headers


def read_binary(headers: Iterable[tuple[str, str]]) -> dict[str, HeaderValue]:
    """Read the attributes of an event in binary mode; they are the message's headers.

    Raises:
        EventError
    """
    attributes: dict[str, Any] = {}
    for name, value in headers:
        if name.startswith(PREFIX):
            attribute = name[len(PREFIX) :]
            if attribute in attributes:
                raise EventError(f"the header {name} comes twice")
            attributes[attribute] = _decode(value)
    if _CONTENT_TYPE in attributes:
        raise EventError("the data's content type is the header Content-Type in binary mode")
    return _headers_of(attributes)


def _decode(value: str) -> str:
    if value[:1] == '"' and value[-1:] == '"' and len(value) > 1:  # quoted by older SDKs
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    try:
        return unquote_to_bytes(value.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise EventError("an attribute is not UTF-8") from None


def read_structured(data: bytes) -> tuple[dict[str, HeaderValue], bytes, str | None]:
    """Read an event in structured mode: its message's headers, body and content type.

    Raises:
        EventError
    """
    return _read(_parse(data))


def read_batch(data: bytes) -> list[tuple[dict[str, HeaderValue], bytes, str | None] | EventError]:
    """Read a batch of events: for each its message's headers, body and content type, or its error.

    Raises:
        EventError: it is no JSON array.
    """
    events = _parse(data)
    if not isinstance(events, list):
        raise EventError("a batch of events is a JSON array")
    found: list[tuple[dict[str, HeaderValue], bytes, str | None] | EventError] = []
    for event in events:
        try:
            found.append(_read(event))
        except EventError as error:
            found.append(error)
    return found


def _parse(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EventError(f"it is no JSON: {error}") from None


def _read(event: Any) -> tuple[dict[str, HeaderValue], bytes, str | None]:
    if not isinstance(event, dict):
        raise EventError("an event is a JSON object")
    if "data" in event and "data_base64" in event:
        raise EventError("an event has one of `data` and `data_base64`, not both")
    content_type = event.get(_CONTENT_TYPE)
    if content_type is not None and not (isinstance(content_type, str) and content_type):
        raise EventError(f"`{_CONTENT_TYPE}` is text that is not empty")
    attributes = {
        name: value
        for name, value in event.items()
        if name not in {"data", "data_base64", _CONTENT_TYPE} and value is not None
    }
    headers = _headers_of(attributes)
    if "data_base64" in event:
        text = event["data_base64"]
        try:
            return headers, b64decode(text, validate=True), content_type
        except (binascii.Error, ValueError, TypeError):
            raise EventError("`data_base64` is not base64") from None
    if "data" not in event:
        return headers, b"", content_type
    data = event["data"]
    # JSON format, 3.1: without a content type, and with one of JSON, data is a JSON value.
    if content_type is None or _JSON_TYPE.fullmatch(content_type):
        return headers, msgspec.json.encode(data), content_type or "application/json"
    if isinstance(data, str):
        return headers, data.encode(), content_type
    return headers, msgspec.json.encode(data), content_type


def _headers_of(attributes: Mapping[str, Any]) -> dict[str, HeaderValue]:
    for name in _REQUIRED:
        value = attributes.get(name)
        if not isinstance(value, str) or not value:
            raise EventError(f"an event needs the attribute `{name}`, text that is not empty")
    if attributes["specversion"] != SPEC_VERSION:
        raise EventError(f"CloudEvents {attributes['specversion'][:20]!r} is not {SPEC_VERSION}")
    headers: dict[str, HeaderValue] = {}
    for name, value in attributes.items():
        if not _ATTRIBUTE.fullmatch(name):
            raise EventError(
                f"the attribute {name[:80]!r} is not lower-case letters and digits, up to 64"
            )
        if isinstance(value, bool):
            headers[PREFIX + name] = "true" if value else "false"
        elif isinstance(value, int) and -(2**31) <= value < 2**31:
            headers[PREFIX + name] = str(value)
        elif isinstance(value, str):
            headers[PREFIX + name] = value
        else:
            raise EventError(f"the attribute `{name}` is not text, true, false or a 32-bit integer")
    _check_time(attributes.get("time"))
    return headers


def _check_time(value: Any) -> None:
    if value is None:
        return
    try:
        if datetime.fromisoformat(value).tzinfo is not None and "T" in value.upper():
            return
    except (ValueError, TypeError):
        pass
    raise EventError("the attribute `time` is not a time of RFC 3339")


# Out


def attributes_of(message: Message) -> dict[str, str]:
    """Return the attributes of the event that a message is, or makes; the data's type apart."""
    attributes = {
        name[len(PREFIX) :]: value
        for name, value in message.headers.items()
        if name.startswith(PREFIX)
        and isinstance(value, str)
        and _ATTRIBUTE.fullmatch(name[len(PREFIX) :])
    }
    if attributes.get("specversion") != SPEC_VERSION or not all(
        attributes.get(name) for name in _REQUIRED
    ):
        moment = message.timestamp if message.timestamp is not None else message.published
        attributes |= {
            "specversion": SPEC_VERSION,
            "id": message.message_id or str(message.id),
            "source": source_of(message.address),
            "type": message.type or DEFAULT_TYPE,
            "time": _spell_time(moment),
        }
    return attributes


def source_of(address: str) -> str:
    """Spell an address as the path that it has in this API, a URI reference."""
    kind, slash, name = address.partition("/")
    if kind == "$queue" and slash:
        return f"/queues/{quote(name, safe='')}"
    if kind == "$stream" and slash:
        return f"/streams/{quote(name.partition('/')[0], safe='')}"
    return f"/topics/{quote(address, safe='/$')}"


def _spell_time(moment: int) -> str:
    try:
        spelled = datetime.fromtimestamp(moment / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        spelled = datetime.fromtimestamp(0, UTC)
    return spelled.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_binary(message: Message) -> list[tuple[str, str]]:
    """Return the headers of a message as an event in binary mode, the content type apart."""
    return [
        (PREFIX + name, quote(value, safe=_VALUE_SAFE, errors="replace"))
        for name, value in attributes_of(message).items()
    ]


def write_structured(message: Message) -> dict[str, Any]:
    """Return a message as an event in the JSON format."""
    event: dict[str, Any] = dict(attributes_of(message))
    content_type = message.content_type
    if content_type is not None:
        event[_CONTENT_TYPE] = content_type
    body = message.body
    if not body:
        return event
    if content_type is not None and _JSON_TYPE.fullmatch(content_type):
        try:
            msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            event["data_base64"] = b64encode(body).decode("ascii")
        else:
            event["data"] = msgspec.Raw(body)
        return event
    try:
        text = body.decode()
    except UnicodeDecodeError:
        event["data_base64"] = b64encode(body).decode("ascii")
        return event
    if content_type is None:
        event[_CONTENT_TYPE] = "text/plain"  # else the text would be taken for JSON
    event["data"] = text
    return event
