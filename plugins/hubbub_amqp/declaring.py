"""What a queue is declared as: RabbitMQ's arguments, their checks, and our settings for them."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from hubbub import QueueSettings, StreamSettings, parse_age

from .errors import AmqpError, Reply
from .exchanges import (
    check_arguments,
    dead_letter_address,
    inequivalent,
    invalid_type,
    plain,
    shown,
)
from .methods import QueueDeclare
from .wire import FieldValue, Table, decode_fields

LABEL: Final = "amqp"
"""The label of a queue that keeps its declaration."""
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

    @property
    def dead_letters(self) -> tuple[str, str | None] | None:
        """Its dead-letter exchange and routing key (None: a message's own); None if it has none."""
        table = self.table
        exchange, key = table.get("x-dead-letter-exchange"), table.get("x-dead-letter-routing-key")
        if not isinstance(exchange, str):
            return None
        return exchange, key if isinstance(key, str) else None

    @property
    def consumer_timeout(self) -> float | None:
        """Seconds in which its consumers must acknowledge; None: as the server has it."""
        value = self.table.get("x-consumer-timeout")
        return value / 1000 if isinstance(value, int) and value > 0 else None


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
    return f"{{value_too_large,{value}}}" if value > 315_360_000_000 else None


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
    if wrong := _text(value, kind):
        return wrong
    known = value in {"default", "lazy"}
    return None if known else f"\"unsupported queue mode '{shown(value)}'\""


def _version(value: FieldValue, kind: str) -> str | None:
    if wrong := _not_negative(value, kind):
        return wrong
    return None if value in {1, 2} else f"\"unsupported queue version '{shown(value)}'\""


def _strategy(value: FieldValue, kind: str) -> str | None:
    known = value in {"at-most-once", "at-least-once"}
    return _text(value, kind) or (None if known else "invalid_dlx_strategy")


def _locator(value: FieldValue, kind: str) -> str | None:
    known = value in {"client-local", "balanced", "random", "least-leaders", "min-masters"}
    return _text(value, kind) or (None if known else "invalid_queue_locator")


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
    "x-dead-letter-strategy": _strategy,
    "x-max-length": _not_negative,
    "x-max-length-bytes": _not_negative,
    "x-max-in-memory-length": _not_negative,
    "x-max-in-memory-bytes": _not_negative,
    "x-max-priority": _priority,
    "x-overflow": _overflow,
    "x-queue-mode": _mode,
    "x-queue-version": _version,
    "x-single-active-consumer": _boolean,
    "x-queue-type": _type,
    "x-delivery-limit": _integer,
    "x-max-age": _age,
    "x-stream-max-segment-size-bytes": _not_negative,
    "x-initial-cluster-size": _not_negative,
    "x-quorum-initial-group-size": _not_negative,
    "x-queue-leader-locator": _locator,
    "x-queue-master-locator": _locator,
    "x-consumer-timeout": _not_negative,
}
_ANY: Final = frozenset({"x-queue-type", "x-max-length-bytes", "x-dead-letter-routing-key"})
_MOST: Final = _ANY | {
    "x-expires", "x-message-ttl", "x-dead-letter-exchange", "x-max-length", "x-overflow",
    "x-single-active-consumer", "x-consumer-timeout",
}  # fmt: skip
_TAKES: Final[Mapping[str, frozenset[str]]] = {
    "classic": _MOST | {"x-max-priority", "x-queue-mode", "x-queue-version",
                        "x-queue-master-locator"},
    "quorum": _MOST | {"x-delivery-limit", "x-dead-letter-strategy", "x-max-in-memory-length",
                       "x-max-in-memory-bytes", "x-quorum-initial-group-size",
                       "x-queue-leader-locator"},
    "stream": _ANY | {"x-max-age", "x-stream-max-segment-size-bytes", "x-initial-cluster-size",
                      "x-queue-leader-locator"},
}  # fmt: skip
"""Which of the arguments each type of queue takes; it refuses the others, but not unknown ones."""
_NOT_COMPARED: Final = frozenset({"x-queue-type", "x-consumer-timeout"})


def check_declaration(name: str, vhost: str, wanted: Declaration) -> None:
    """Check the arguments of a declaration. Raises `AmqpError`."""
    table = wanted.table
    types = table.types()

    def refuse(argument: str, reason: str) -> AmqpError:
        return AmqpError(
            Reply.PRECONDITION_FAILED,
            f"invalid arg '{argument}' for queue '{name}' in vhost '{vhost}': {reason}",
        )

    if not isinstance(table.get("x-dead-letter-exchange", ""), str):
        raise invalid_type("x-dead-letter-exchange", f"queue '{name}'", vhost, table)
    for argument, check in _CHECKS.items():
        if argument in table and (wrong := check(table[argument], types[argument])):
            raise refuse(argument, wrong)
    if "x-dead-letter-routing-key" in table and "x-dead-letter-exchange" not in table:
        raise refuse("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined")
    kind = wanted.type
    for argument in table:
        if argument in _CHECKS and argument not in _TAKES[kind]:
            raise AmqpError(
                Reply.PRECONDITION_FAILED,
                f"invalid arg '{argument}' for queue '{name}' in vhost '{vhost}' of queue type "
                f"rabbit_{kind}_queue",
            )
    if kind == "classic":
        return
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
    if have.type != wanted.type:
        check_arguments(["x-queue-type"], resource, vhost, have.table, wanted.table)
    compared = sorted(_TAKES[have.type] - _NOT_COMPARED)
    check_arguments(compared, resource, vhost, have.table, wanted.table)


# settings


def queue_settings(wanted: Declaration, owner: str) -> QueueSettings:
    """Make the settings of a classic or quorum queue; `owner` of an exclusive one."""
    table = wanted.table

    def number(argument: str) -> int | None:
        value = table.get(argument)
        return value if isinstance(value, int) else None

    dead_letters = wanted.dead_letters
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
        max_receives=None if limit is None or limit < 0 else limit + 1,
        dead_letter=None if dead_letters is None else dead_letter_address(*dead_letters),
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
