"""The JSON form of a message: the same in REST, Server-Sent Events and WebSocket frames.

A member has the name of the message's field. A body that is UTF-8 is the text `body`, any other is
`body_base64`; publishers may also give a value of JSON, `body_json`. Ids are text, since they pass
2**53. Points in time are milliseconds since the epoch; durations are as in `durations`.

Headers keep their types. What JSON has no type for is an object with one member:

=====================  =====================================================
``{"$base64": "…"}``   bytes
``{"$time": "…"}``     a point in time, ISO 8601
``{"$integer": "…"}``  an integer beyond 2**53, where JavaScript would round
``{"$real": "…"}``     ``nan``, ``inf`` or ``-inf``
``{"$table": {…}}``    a table whose only name begins with ``$``
=====================  =====================================================
"""

from __future__ import annotations

import binascii
import math
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from hubbub import Delivery, HeaderValue, Message, Record

from .durations import Duration, milliseconds
from .tokens import lease_token

JSON_TYPE: Final = "application/json"
"""The content type of a `body_json` that has no other."""
MAX_DEPTH: Final = 32
"""Lists and tables within one another in a header."""
_EXACT: Final = 2**53 - 1

_Time: TypeAlias = Annotated[int, Meta(ge=0, le=_EXACT)]
_Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=65_535)]


class RepresentationError(ValueError):
    """The JSON is not the form of a message that can be published; the text says why."""


class Bytes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes, where text would do too."""

    base64: str = msgspec.field(name="$base64")


class PublishedMessage(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A message as a publisher writes it. Exactly one, or none, of the three bodies is given."""

    body: str | UnsetType = UNSET
    body_base64: str | UnsetType = UNSET
    body_json: Any = UNSET
    headers: dict[str, Any] = {}
    content_type: _Text | None = None
    content_encoding: _Text | None = None
    correlation_id: str | Bytes | None = None
    reply_to: _Text | None = None
    message_id: str | None = None
    type: str | None = None
    app_id: str | None = None
    user_id: str | None = None
    timestamp: _Time | None = None
    expires_at: _Time | None = None
    ttl: Duration | None = None
    delay: Duration | None = None
    priority: Annotated[int, Meta(ge=0, le=255)] = 0
    durable: bool = True
    retain: bool = False
    group: _Text | None = None
    deduplication_id: _Text | None = None
    shard_key: Annotated[str, Meta(pattern=r"^[0-9]{1,39}$")] | None = None


class DeathRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One passage of a message through a dead-letter address."""

    queue: str
    reason: str
    address: str
    time: int
    count: int
    exchange: str | None = None


class ReceivedMessage(msgspec.Struct, omit_defaults=True, kw_only=True, frozen=True):
    """A message as a receiver reads it. Members that have nothing to say are left out.

    `shard`, `sequence`, `partition_key` and `arrived` are there in a record of a stream; `lease`,
    `receives`, `redelivered` and `lease_until` (None: held) come with a lease.
    """

    id: str
    address: str
    body: str | UnsetType = UNSET
    body_base64: str | UnsetType = UNSET
    headers: dict[str, Any] = {}
    content_type: str | None = None
    content_encoding: str | None = None
    correlation_id: str | Bytes | None = None
    reply_to: str | None = None
    message_id: str | None = None
    type: str | None = None
    app_id: str | None = None
    user_id: str | None = None
    timestamp: int | None = None
    expires_at: int | None = None
    priority: int = 0
    durable: bool = True
    retain: bool = False
    group: str | None = None
    deduplication_id: str | None = None
    exchange: str | None = None
    protocol: str = ""
    client: str = ""
    published: int = 0
    deaths: tuple[DeathRecord, ...] = ()
    shard: int | UnsetType = UNSET
    sequence: str | UnsetType = UNSET
    partition_key: str | UnsetType = UNSET
    arrived: int | UnsetType = UNSET
    lease: str | UnsetType = UNSET
    receives: int | UnsetType = UNSET
    redelivered: bool | UnsetType = UNSET
    lease_until: int | UnsetType | None = UNSET


# In


def to_message(form: PublishedMessage, address: str, now: int) -> Message:
    """Make the message that a publisher described.

    Args:
        form: the description.
        address: where it goes to, in canonical spelling.
        now: milliseconds since the epoch, from which `ttl` counts.

    Raises:
        RepresentationError: the description contradicts itself, or a value is not what it must be.
    """
    body, content_type = _body_of(form)
    expires_at = form.expires_at
    if form.ttl is not None:
        if expires_at is not None:
            raise RepresentationError("give one of `ttl` and `expires_at`, not both")
        expires_at = now + _duration("ttl", form.ttl)
    correlation = form.correlation_id
    return Message(
        address=address,
        body=body,
        headers={name: _header_in(value, 0) for name, value in form.headers.items()},
        content_type=content_type,
        content_encoding=form.content_encoding,
        correlation_id=(
            _decode(correlation.base64, "correlation_id")
            if isinstance(correlation, Bytes)
            else correlation
        ),
        reply_to=form.reply_to,
        message_id=form.message_id,
        type=form.type,
        app_id=form.app_id,
        user_id=form.user_id,
        timestamp=form.timestamp,
        expires_at=expires_at,
        delay=None if form.delay is None else _duration("delay", form.delay),
        priority=form.priority,
        durable=form.durable,
        retain=form.retain,
        group=form.group,
        dedup_id=form.deduplication_id,
        shard_key=form.shard_key,
    )


def _body_of(form: PublishedMessage) -> tuple[bytes, str | None]:
    bodies = (form.body, form.body_base64, form.body_json)
    if sum(each is not UNSET for each in bodies) > 1:
        raise RepresentationError("give one of `body`, `body_base64` and `body_json`, not several")
    if form.body is not UNSET:
        try:
            return form.body.encode(), form.content_type
        except UnicodeEncodeError:
            raise RepresentationError("`body` has a lone surrogate, which is no text") from None
    if form.body_base64 is not UNSET:
        return _decode(form.body_base64, "body_base64"), form.content_type
    if form.body_json is not UNSET:
        return msgspec.json.encode(form.body_json), form.content_type or JSON_TYPE
    return b"", form.content_type


def _duration(name: str, value: float | str) -> int:
    try:
        return milliseconds(value)
    except ValueError as error:
        raise RepresentationError(f"`{name}`: {error}") from None


def _decode(text: str, name: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RepresentationError(f"`{name}` is not base64") from None


def _header_in(value: Any, depth: int) -> HeaderValue:
    if depth > MAX_DEPTH:
        raise RepresentationError(f"a header is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, list):
        return [_header_in(each, depth + 1) for each in value]
    if type(value) is int:
        return _checked(value)
    if not isinstance(value, dict):
        return value  # type: ignore[no-any-return]  # it came out of JSON
    if len(value) == 1:
        ((name, inner),) = value.items()
        if name[:1] == "$":
            return _tagged_in(name, inner, depth)
    return {name: _header_in(each, depth + 1) for name, each in value.items()}


def _checked(value: int) -> int:
    if not -(2**63) <= value < 2**64:
        raise RepresentationError("an integer in a header has at most 64 bits")
    return value


def _tagged_in(tag: str, inner: Any, depth: int) -> HeaderValue:
    if tag == "$table" and isinstance(inner, dict):
        return {name: _header_in(each, depth + 1) for name, each in inner.items()}
    if isinstance(inner, str):
        try:
            match tag:
                case "$base64":
                    return _decode(inner, "headers")
                case "$time":
                    return datetime.fromisoformat(inner)
                case "$integer" if len(inner) <= 1_000:
                    return _checked(int(inner))
                case "$real":
                    return float(inner)
                case _:
                    pass
        except ValueError as error:
            raise RepresentationError(f"a header's {tag}: {error}") from None
    raise RepresentationError(
        f"a header's object with the one name {tag!r} is no $base64, $time, $integer, $real or "
        '$table; write {"$table": {…}} around a table of your own'
    )


# Out


def from_message(message: Message) -> ReceivedMessage:
    """Describe a message for whoever receives it without a lease."""
    return _describe(message, {})


def from_delivery(delivery: Delivery) -> ReceivedMessage:
    """Describe a message for whoever has leased it."""
    return _describe(
        delivery.message,
        {
            "lease": lease_token(delivery.receipt),
            "receives": delivery.receives,
            "redelivered": delivery.redelivered,
            "lease_until": delivery.deadline,
        },
    )


def from_record(record: Record) -> ReceivedMessage:
    """Describe a record of a stream."""
    message = record.message
    return _describe(
        message,
        {
            "shard": record.shard,
            "sequence": str(record.sequence),
            "partition_key": record.partition_key,
            "arrived": record.arrived,
        },
    )


def _describe(message: Message, more: Mapping[str, Any]) -> ReceivedMessage:
    correlation = message.correlation_id
    text, encoded = body_text(message.body)
    return ReceivedMessage(
        id=str(message.id),
        address=message.address,
        body=text,
        body_base64=encoded,
        headers=(
            {name: _header_out(value) for name, value in message.headers.items()}
            if message.headers
            else {}
        ),
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        correlation_id=_text_out(correlation) if isinstance(correlation, bytes) else correlation,
        reply_to=message.reply_to,
        message_id=message.message_id,
        type=message.type,
        app_id=message.app_id,
        user_id=message.user_id,
        timestamp=message.timestamp,
        expires_at=message.expires_at,
        priority=message.priority,
        durable=message.durable,
        retain=message.retain,
        group=message.group,
        deduplication_id=message.dedup_id,
        exchange=message.scope,
        protocol=message.protocol,
        client=message.client,
        published=message.published,
        deaths=tuple(
            DeathRecord(
                queue=each.queue,
                reason=each.reason,
                address=each.address,
                time=each.time,
                count=each.count,
                exchange=each.scope,
            )
            for each in message.deaths
        ),
        **more,
    )


def body_text(body: bytes) -> tuple[str | UnsetType, str | UnsetType]:
    """Return a body as text, or in base64 if it is not UTF-8; the other of the two is unset."""
    try:
        return body.decode(), UNSET
    except UnicodeDecodeError:
        return UNSET, b64encode(body).decode("ascii")


def _text_out(value: bytes) -> str | Bytes:
    """Write bytes as text if they are: MQTT, for one, has no other correlation ids."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return _bytes_out(value)


def _bytes_out(value: bytes) -> Bytes:
    return Bytes(base64=b64encode(value).decode("ascii"))


def _header_out(value: HeaderValue) -> Any:
    match value:
        case bool() | str() | None:
            return value
        case int():
            return value if -_EXACT <= value <= _EXACT else {"$integer": str(value)}
        case float():
            return value if math.isfinite(value) else {"$real": str(value)}
        case bytes():
            return _bytes_out(value)
        case datetime():
            return {"$time": value.isoformat()}
        case list():
            return [_header_out(each) for each in value]
        case _:
            table = {name: _header_out(each) for name, each in value.items()}
            if len(table) == 1 and next(iter(table)).startswith("$"):
                return {"$table": table}
            return table
