"""What a queue is declared as: RabbitMQ's arguments, their checks, and our settings for them."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from hubbub import QueueSettings, StreamSettings

from .errors import AmqpError, Reply
from .exchanges import check_arguments, dead_letter_address, inequivalent, plain, shown
from .methods import QueueDeclare
from .wire import FieldValue, Table, decode_fields

LABEL: Final = "amqp"
"""The label of a queue that keeps its declaration."""
_UNITS: Final = {"Y": 31_536_000, "M": 2_592_000, "D": 86_400, "h": 3600, "m": 60, "s": 1}
_OVERFLOWS: Final = {
    "drop-head": "drop-head",
    "reject-publish": "reject",
    "reject-publish-dlx": "reject-dead-letter",
}
_TYPES: Final = ("classic", "quorum", "stream")


class Declaration(msgspec.Struct, frozen=True):
    """What a client declared, for checking the next one against it."""

    durable: bool
    exclusive: bool
    auto_delete: bool
    arguments: bytes = b""

    @classmethod
    def of(cls, method: QueueDeclare) -> Declaration:
        """Make it of the method."""
        raw = method.arguments.raw
        return cls(method.durable, method.exclusive, method.auto_delete, raw or b"")

    @classmethod
    def read(cls, label: str | None) -> Declaration | None:
        """Read it from the label of a queue; None if another protocol made that queue."""
        if label is None:
            return None
        return msgspec.msgpack.decode(base64.b64decode(label), type=cls)

    @property
    def label(self) -> str:
        """The label that keeps it."""
        return base64.b64encode(msgspec.msgpack.encode(self)).decode()

    @property
    def table(self) -> Table:
        """The arguments."""
        return Table(decode_fields(self.arguments), self.arguments)

    @property
    def type(self) -> str:
        """The type of queue that it asks for."""
        return str(self.table.get("x-queue-type", "classic"))


def generated_name() -> str:
    """Make a name for a queue that the client gave none."""
    return f"amq.gen-{secrets.token_urlsafe(16)}"


# checks


def _integer(value: FieldValue, kind: str) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return f'"expected integer, got {kind}"'
    return None


def _not_negative(value: FieldValue, kind: str) -> str | None:
    if wrong := _integer(value, kind):
        return wrong
    assert isinstance(value, int)
    return f"{{value_negative,{value}}}" if value < 0 else None


def _ttl(value: FieldValue, kind: str) -> str | None:
    if wrong := _not_negative(value, kind):
        return wrong
    assert isinstance(value, int)
    return f"{{value_too_big,{value}}}" if value > 315_360_000_000 else None


def _expires(value: FieldValue, kind: str) -> str | None:
    return _ttl(value, kind) or ("{value_zero,0}" if value == 0 else None)


def _priority(value: FieldValue, kind: str) -> str | None:
    if wrong := _not_negative(value, kind):
        return wrong
    assert isinstance(value, int)
    return f"{{max_value_exceeded,{value}}}" if value > 255 else None


def _text(value: FieldValue, kind: str) -> str | None:
    return None if isinstance(value, str) else f"{{unacceptable_type,{kind}}}"


def _boolean(value: FieldValue, kind: str) -> str | None:
    return None if isinstance(value, bool) else f"{{unacceptable_type,{kind}}}"


def _overflow(value: FieldValue, kind: str) -> str | None:
    return _text(value, kind) or (None if value in _OVERFLOWS else "invalid_overflow")


def _mode(value: FieldValue, kind: str) -> str | None:
    return _text(value, kind) or (None if value in {"default", "lazy"} else "invalid_queue_mode")


def _type(value: FieldValue, kind: str) -> str | None:
    if value in _TYPES:
        return None
    return _text(value, kind) or f"\"unsupported queue type '{shown(value)}'\""


def _age(value: FieldValue, kind: str) -> str | None:
    return _text(value, kind) or (None if parse_age(str(value)) else "invalid_max_age")


_CHECKS: Final[Mapping[str, Callable[[FieldValue, str], str | None]]] = {
    "x-expires": _expires,
    "x-message-ttl": _ttl,
    "x-dead-letter-exchange": _text,
    "x-dead-letter-routing-key": _text,
    "x-max-length": _not_negative,
    "x-max-length-bytes": _not_negative,
    "x-max-priority": _priority,
    "x-overflow": _overflow,
    "x-queue-mode": _mode,
    "x-single-active-consumer": _boolean,
    "x-queue-type": _type,
    "x-delivery-limit": _not_negative,
    "x-max-age": _age,
    "x-stream-max-segment-size-bytes": _not_negative,
    "x-initial-cluster-size": _not_negative,
    "x-quorum-initial-group-size": _not_negative,
    "x-queue-version": _not_negative,
    "x-consumer-timeout": _not_negative,
}
_STREAM_REFUSES: Final = (
    "x-expires", "x-message-ttl", "x-dead-letter-exchange", "x-max-priority", "x-max-length",
    "x-overflow", "x-delivery-limit", "x-single-active-consumer",
)  # fmt: skip
_COMPARED: Final = (*_CHECKS,)


def parse_age(text: str) -> int | None:
    """Return the seconds of "7D" and the like; None if it is not one."""
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdecimal()) or unit not in _UNITS or len(number) > 9:
        return None
    return int(number) * _UNITS[unit]


def check_declaration(name: str, vhost: str, wanted: Declaration) -> None:
    """Check the arguments of a declaration. Raises `AmqpError`."""
    table = wanted.table
    types = table.types()

    def refuse(argument: str, reason: str) -> AmqpError:
        return AmqpError(
            Reply.PRECONDITION_FAILED,
            f"invalid arg '{argument}' for queue '{name}' in vhost '{vhost}': {reason}",
        )

    for argument, check in _CHECKS.items():
        if argument in table and (wrong := check(table[argument], types[argument])):
            raise refuse(argument, wrong)
    if "x-dead-letter-routing-key" in table and "x-dead-letter-exchange" not in table:
        raise refuse("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined")
    kind = wanted.type
    if kind == "classic":
        return
    if kind == "stream":
        for argument in _STREAM_REFUSES:
            if argument in table:
                raise refuse(argument, "not supported by streams")
    elif "x-max-priority" in table:
        raise refuse("x-max-priority", "not supported by quorum queues")
    for wrong_property, is_wrong in (
        ("non-durable", not wanted.durable),
        ("exclusive-owner", wanted.exclusive),
        ("auto-delete", wanted.auto_delete),
    ):
        if is_wrong:
            raise AmqpError(
                Reply.PRECONDITION_FAILED,
                f"invalid property '{wrong_property}' for queue '{name}' in vhost '{vhost}'",
            )


def check_equivalent(name: str, vhost: str, have: Declaration, wanted: Declaration) -> None:
    """Check that a queue is what a second declaration says. Raises `AmqpError`."""
    resource = f"queue '{name}'"
    for argument, is_, should in (
        ("durable", have.durable, wanted.durable),
        ("auto_delete", have.auto_delete, wanted.auto_delete),
    ):
        if is_ != should:
            raise inequivalent(argument, resource, vhost, plain(should), plain(is_))
    check_arguments(_COMPARED, resource, vhost, have.table, wanted.table)


# settings


def queue_settings(wanted: Declaration, owner: str) -> QueueSettings:
    """Make the settings of a classic or quorum queue; `owner` of an exclusive one."""
    table = wanted.table

    def number(argument: str) -> int | None:
        value = table.get(argument)
        return value if isinstance(value, int) else None

    exchange, key = table.get("x-dead-letter-exchange"), table.get("x-dead-letter-routing-key")
    dead_letter = None
    if isinstance(exchange, str):
        dead_letter = dead_letter_address(exchange, key if isinstance(key, str) else None)
    limit = number("x-delivery-limit")
    overflow = _OVERFLOWS[str(table.get("x-overflow", "drop-head"))]
    return QueueSettings(
        durable=wanted.durable and not wanted.exclusive,
        owner=owner if wanted.exclusive else None,
        auto_delete=wanted.auto_delete,
        expires=number("x-expires"),
        message_ttl=number("x-message-ttl"),
        max_length=number("x-max-length"),
        max_bytes=number("x-max-length-bytes"),
        overflow=overflow,  # type: ignore[arg-type]
        max_receives=None if limit is None else limit + 1,
        dead_letter=dead_letter,
        priorities=number("x-max-priority") or 0,
        single_active=table.get("x-single-active-consumer") is True,
        labels={LABEL: wanted.label},
    )


def stream_settings(wanted: Declaration) -> StreamSettings:
    """Make the settings of a stream."""
    table = wanted.table
    age = parse_age(str(table.get("x-max-age", "")))
    size = table.get("x-max-length-bytes")
    return StreamSettings(
        retention=None if age is None else age * 1000,
        max_bytes=size if isinstance(size, int) and size > 0 else None,
    )
