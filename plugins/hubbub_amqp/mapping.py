"""Messages of the bus as AMQP contents, and the other way round (see docs/protocols/amqp.md).

A message that came by AMQP keeps exchange, routing key and raw properties in `Message.wire`: two
short strings, then flags and values. A delivery sends these bytes on, so no type is lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from hubbub import (
    AddressError,
    Death,
    HeaderValue,
    Message,
    Wire,
    escape_level,
    from_dotted,
    parse_address,
    pattern_from_dotted,
    queue_address,
    to_dotted,
)

from .errors import AmqpError, Reply
from .properties import (
    Properties,
    Property,
    decode_properties,
    encode_properties,
    encode_property,
    join_properties,
    split_properties,
)
from .wire import (
    FieldValue,
    Int64,
    Table,
    decode_short_string,
    encode_long_string,
    encode_short_string,
    encode_value,
    join_table,
    split_table,
)

PROTOCOL: Final = "amqp-0-9-1"
DEFAULT_EXCHANGE: Final = ""
ROOT_EXCHANGE: Final = "amq.topic"
"""The exchange whose keys are addresses of the topic tree as they are."""
_ROOT_ITSELF: Final = "amq.topic/"
"""The address of an empty key there, since an address is never empty: as if it were no root."""

REPLY_TO: Final = "amq.rabbitmq.reply-to"
NOWHERE: Final = "$queue/"
"""Where the default exchange sends by a key that no queue can have; the bus refuses it."""
_REPLY_TOPIC: Final = "$amqp/reply/"
DEAD_TOPIC: Final = "$amqp/dead/"
RESERVED: Final = "$"
"""Names of queues that start so belong to the server, to other protocols, or are addresses."""

COPIES: Final = "CC"
"""The header with further routing keys that everybody may see; BCC is the one that nobody may."""

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}")
_LONGEST_TTL: Final = 4_294_967_295
"""Milliseconds, which are as many as Erlang's timers take."""
_GROUP: Final = "hubbub.group"
_DEDUPLICATION_ID: Final = "hubbub.deduplication-id"
_FIELDS: Final = {_GROUP: "group", _DEDUPLICATION_ID: "dedup_id"}
"""Fields of a message that have no property: headers with reserved names."""

Lossy: TypeAlias = Callable[[str], None]
"""Counts a field that could not be carried."""


# addresses


def exchange_prefix(exchange: str) -> str:
    """Return what the addresses of an exchange start with."""
    return "" if exchange == ROOT_EXCHANGE else escape_level(exchange, rooted=True) + "/"


def address_of(exchange: str, key: str) -> str:
    """Return where a message goes that is published to an exchange, the default one included."""
    if exchange == DEFAULT_EXCHANGE:
        return address_of_queue(key)
    if exchange == ROOT_EXCHANGE:
        return from_dotted(key, rooted=True) or _ROOT_ITSELF
    return exchange_prefix(exchange) + from_dotted(key)


def address_of_queue(key: str) -> str:
    """Return where the default exchange sends: a queue, a reply, or any address with a `$`."""
    if key.startswith(f"{REPLY_TO}."):
        return _REPLY_TOPIC + key[len(REPLY_TO) + 1 :]
    if key.startswith("$stream/"):
        return key
    if key.startswith("$topic/"):
        return key[7:]
    try:
        return str(queue_address(key))
    except AddressError:
        return NOWHERE


def pattern_of(exchange: str, kind: str, key: str) -> str:
    """Return the pattern of a binding to an exchange of a type."""
    rooted = exchange == ROOT_EXCHANGE
    prefix = exchange_prefix(exchange)
    if rooted and not key and kind in {"topic", "direct"}:
        return _ROOT_ITSELF
    if kind == "topic":
        return prefix + pattern_from_dotted(key, rooted=rooted)
    if kind == "direct":
        return prefix + from_dotted(key, rooted=rooted)
    return prefix + "#"


def spell(address: str, scope: str | None, lossy: Lossy) -> tuple[str, str]:
    """Return the exchange and the routing key that stand for an address."""
    if address.startswith(("$queue/", "$stream/")):
        return DEFAULT_EXCHANGE, _short(parse_address(address).name, "routing key", lossy)
    exchange = ROOT_EXCHANGE
    if scope == ROOT_EXCHANGE and address == _ROOT_ITSELF:
        return ROOT_EXCHANGE, ""
    if scope is not None and scope != ROOT_EXCHANGE:
        prefix = exchange_prefix(scope)
        if address.startswith(prefix):
            key = to_dotted(address[len(prefix) :])
            return scope, _short(key, "routing key", lossy)
    try:
        key = to_dotted(address, rooted=True)
    except AddressError:
        key = address
    return exchange, _short(key, "routing key", lossy)


def reply_address(reply_to: str) -> str:
    """Return the address that a `reply-to` property stands for."""
    return address_of_queue(reply_to)


def spell_reply(address: str) -> str:
    """Return the routing key by which the default exchange reaches an address."""
    if address.startswith("$queue/"):
        return parse_address(address).name
    if address.startswith(_REPLY_TOPIC):
        return f"{REPLY_TO}.{address[len(_REPLY_TOPIC) :]}"
    if address.startswith("$stream/"):
        return address
    return f"$topic/{address}"


def _short(text: str, field: str, lossy: Lossy) -> str:
    """Cut a text to what a short string holds."""
    data = text.encode("utf-8", "replace")
    if len(data) <= 255:
        return text
    lossy(field)
    return data[:255].decode("utf-8", "ignore")


# from AMQP


class Template(msgspec.Struct):
    """All about a kind of message but its body: made once, copied for each.

    * `ttl`: milliseconds from now until it expires. `delay`: an `x-delay` header.
    * `more`: routing keys of the headers CC and BCC.
    * `is_plain`: a copy with the body is all there is to do.
    """

    prototype: Message
    user_id: str | None = None
    ttl: int | None = None
    delay: int | None = None
    more: tuple[str, ...] = ()
    wants_reply: bool = False
    bad_expiration: str | None = None
    is_plain: bool = True

    def __post_init__(self) -> None:
        self.is_plain = (
            self.user_id is None
            and self.ttl is None
            and self.delay is None
            and not self.more
            and not self.wants_reply
            and self.bad_expiration is None
        )


def make_template(exchange: str, key: str, raw: bytes, address: str, scope: str | None) -> Template:
    """Read raw properties once. Raises `AmqpError` if they are none."""
    properties = decode_properties(raw)
    headers = properties.headers if isinstance(properties.headers, Table) else Table()
    more = _copies(headers, COPIES) + _copies(headers, "BCC")
    if "BCC" in headers:
        parts = split_properties(raw)
        table = split_table(parts[Property.HEADERS][4:])
        del table["BCC"]
        parts[Property.HEADERS] = encode_long_string(join_table(table))
        raw = join_properties(parts)
    ttl, bad = _ttl(properties.expiration)
    delay = headers.get("x-delay")
    priority = properties.priority or 0
    fields = {name: value for name in _FIELDS if isinstance(value := headers.get(name), str)}
    return Template(
        Message(
            address=address,
            body=b"",
            headers={
                name: _header(value)
                for name, value in headers.items()
                if name != "BCC" and name not in fields
            },
            content_type=properties.content_type,
            content_encoding=properties.content_encoding,
            correlation_id=properties.correlation_id,
            reply_to=_reply_address(properties.reply_to),
            message_id=properties.message_id,
            type=properties.type,
            app_id=properties.app_id,
            user_id=properties.user_id,
            timestamp=None if properties.timestamp is None else properties.timestamp * 1000,
            priority=priority,
            durable=properties.delivery_mode == 2,
            group=fields.get(_GROUP),
            dedup_id=fields.get(_DEDUPLICATION_ID),
            scope=scope,
            wire=Wire(PROTOCOL, encode_short_string(exchange) + encode_short_string(key) + raw),
        ),
        user_id=properties.user_id,
        ttl=ttl,
        delay=delay if isinstance(delay, int) and delay > 0 else None,
        more=more,
        wants_reply=properties.reply_to == REPLY_TO,
        bad_expiration=bad,
    )


def _reply_address(reply_to: str | None) -> str | None:
    return reply_address(reply_to) if reply_to else None


def with_reply_to(raw: bytes, reply_to: str) -> bytes:
    """Return raw properties with another reply-to."""
    parts = split_properties(raw)
    parts[Property.REPLY_TO] = encode_property(Property.REPLY_TO, reply_to)
    return join_properties(parts)


def _ttl(expiration: str | None) -> tuple[int | None, str | None]:
    """Return the milliseconds of an expiration, or why it is none, in RabbitMQ's words."""
    if expiration is None:
        return None, None
    found = _INTEGER.match(expiration)
    if found is None:
        return None, f"invalid expiration '{expiration}': no_integer"
    if rest := expiration[found.end() :]:
        return None, f"invalid expiration '{expiration}': {{leftover_string,\"{rest}\"}}"
    value = int(found[0])
    if value < 0:
        return None, f"invalid expiration '{expiration}': {{value_negative,{value}}}"
    if value > _LONGEST_TTL:
        return None, f"invalid expiration '{expiration}': {{value_too_large,{value}}}"
    return value, None


def _copies(headers: Table, name: str) -> tuple[str, ...]:
    """Return the routing keys of CC or BCC. Raises `AmqpError` if they are none."""
    value = headers.get(name, [])
    if not isinstance(value, list):
        kind = headers.types()[name]
        raise AmqpError(
            Reply.PRECONDITION_FAILED,
            f'invalid message: {{unacceptable_type_in_header,"{name}",{kind}}}',
        )
    return tuple(each for each in value if isinstance(each, str))


def _header(value: FieldValue) -> HeaderValue:
    """Make a header that every protocol knows; only decimals are none."""
    if isinstance(value, list):
        return [_header(each) for each in value]
    if isinstance(value, dict):
        return {name: _header(each) for name, each in value.items()}
    if isinstance(value, bool | int | float | str | bytes | datetime) or value is None:
        return value
    return str(value)


# to AMQP


class Spelled(NamedTuple):
    """A message ready for any consumer: its routing, of `routing_size` bytes, and raw properties.

    A change for one consumer (a header of its queue) makes another one.
    """

    routing_size: int
    wire: bytes

    @property
    def exchange(self) -> str:
        """The exchange."""
        return decode_short_string(self.wire, 0)[0]

    @property
    def routing_key(self) -> str:
        """The routing key."""
        return decode_short_string(self.wire, 1 + self.wire[0])[0]

    @property
    def properties(self) -> bytes:
        """The raw properties."""
        return self.wire[self.routing_size :]

    def with_headers(self, changes: dict[str, FieldValue]) -> Spelled:
        """Return it with further headers; all others keep their bytes."""
        parts = split_properties(self.properties)
        table = split_table(parts[Property.HEADERS][4:]) if Property.HEADERS in parts else {}
        table.update({name: encode_value(value) for name, value in changes.items()})
        parts[Property.HEADERS] = encode_long_string(join_table(table))
        return Spelled(self.routing_size, self.wire[: self.routing_size] + join_properties(parts))


def routing_size(wire: bytes) -> int:
    """Return how many bytes of a wire form are exchange and routing key."""
    size = 1 + wire[0]
    return size + 1 + wire[size]


def spell_message(message: Message, now: int, lossy: Lossy) -> Spelled:
    """Make a message ready for AMQP consumers; `now` in ms since the epoch."""
    wire = message.wire
    if wire is not None and wire.protocol == PROTOCOL:
        spelled = Spelled(routing_size(wire.data), wire.data)
        if not message.deaths:
            return spelled
        return _dead(message, spelled.properties, lossy)
    raw = encode_properties(_properties(message, now, lossy))
    if message.deaths:
        return _dead(message, raw, lossy)
    return _spelled(*spell(message.address, message.scope, lossy), raw)


def _spelled(exchange: str, key: str, raw: bytes) -> Spelled:
    routing = encode_short_string(exchange) + encode_short_string(key)
    return Spelled(len(routing), routing + raw)


def _dead(message: Message, raw: bytes, lossy: Lossy) -> Spelled:
    """Spell a message that was dead-lettered: where to, and how it came to that."""
    parts = split_properties(raw)
    expiration = parts.pop(Property.EXPIRATION, None)
    original = None if expiration is None else decode_short_string(expiration, 0)[0]
    exchange, key = spell(message.address, message.scope, lossy)
    first, last = message.deaths[-1], message.deaths[0]
    spelled = _spelled(exchange, key, join_properties(parts))
    return spelled.with_headers(
        {
            "x-death": [
                _death(each, lossy)
                if each is not first
                else _death(each, lossy, original, copied_to(message))
                for each in message.deaths
            ],
            "x-first-death-exchange": spell(first.address, first.scope, lossy)[0],
            "x-first-death-queue": first.queue,
            "x-first-death-reason": first.reason,
            "x-last-death-exchange": spell(last.address, last.scope, lossy)[0],
            "x-last-death-queue": last.queue,
            "x-last-death-reason": last.reason,
        }
    )


def copied_to(message: Message) -> tuple[str, ...]:
    """Return the further routing keys that a message was published with."""
    keys = message.headers.get(COPIES)
    if not isinstance(keys, list):
        return ()
    return tuple(each for each in keys if isinstance(each, str))


def _death(
    death: Death, lossy: Lossy, expiration: str | None = None, copies: tuple[str, ...] = ()
) -> FieldValue:
    exchange, key = spell(death.address, death.scope, lossy)
    entry: dict[str, FieldValue] = {
        "count": Int64(death.count),
        "reason": death.reason,
        "queue": death.queue,
        "time": datetime.fromtimestamp(death.time // 1000, UTC),
        "exchange": exchange,
        "routing-keys": [key, *copies],
    }
    if expiration is not None:
        entry["original-expiration"] = expiration
    return entry


def _properties(message: Message, now: int, lossy: Lossy) -> Properties:
    """Make the properties of a message that came by another protocol."""

    def short(text: str | None, field: str) -> str | None:
        return None if text is None else _short(text, field, lossy)

    headers: dict[str, FieldValue] = {}
    for name, value in message.headers.items():
        if len(name.encode("utf-8", "replace")) > 255:
            lossy("header")
            continue
        headers[name] = _field(value, lossy)
    for name, field in _FIELDS.items():
        if (text := getattr(message, field)) is not None:
            headers[name] = text
    correlation = message.correlation_id
    if isinstance(correlation, bytes):
        try:
            correlation = correlation.decode("utf-8")
        except UnicodeDecodeError:
            headers.setdefault("correlation-id", correlation)
            correlation = None
    expiration = None
    if message.expires_at is not None:
        expiration = str(max(0, message.expires_at - now))
    reply_to = None if message.reply_to is None else spell_reply(message.reply_to)
    if reply_to is not None and len(reply_to.encode("utf-8", "replace")) > 255:
        lossy("reply to")
        reply_to = None
    return Properties(
        content_type=short(message.content_type, "content type"),
        content_encoding=short(message.content_encoding, "content encoding"),
        headers=headers or None,
        delivery_mode=2 if message.durable else 1,
        priority=message.priority or None,
        correlation_id=short(correlation, "correlation id"),
        reply_to=reply_to,
        expiration=expiration,
        message_id=short(message.message_id, "message id"),
        timestamp=None if message.timestamp is None else max(0, message.timestamp // 1000),
        type=short(message.type, "type"),
        user_id=short(message.user_id, "user id"),
        app_id=short(message.app_id, "app id"),
    )


def _field(value: Any, lossy: Lossy) -> FieldValue:
    """Make a field value of a header; numbers beyond 64 bits become text."""
    if isinstance(value, list):
        return [_field(each, lossy) for each in value]
    if isinstance(value, dict):
        return {str(name)[:63]: _field(each, lossy) for name, each in value.items()}
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        lossy("header type")
        return str(value)
    return value  # type: ignore[no-any-return]
