"""All methods of AMQP 0-9-1 with RabbitMQ's extensions, and their arguments as bytes (1.3 to 1.8).

The annotations of a class are its wire format: the codec is compiled from them once. Fields that
the specification reserves are read and written, and named `reserved`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Final, get_type_hints

import msgspec

from .errors import AmqpError, Reply, syntax_error
from .wire import (
    Table,
    decode_long_string,
    decode_short_string,
    decode_table,
    encode_long_string,
    encode_short_string,
    encode_table,
)

Octet = Annotated[int, "octet"]
Short = Annotated[int, "short"]
Long = Annotated[int, "long"]
LongLong = Annotated[int, "longlong"]
Bit = Annotated[bool, "bit"]
ShortString = Annotated[str, "shortstr"]
LongString = Annotated[bytes, "longstr"]
Arguments = Annotated[Table, "table"]


class Method(msgspec.Struct, frozen=True, gc=False):
    """A method with its arguments. `id` is its class and its own number; `name` is for people."""

    id: ClassVar[tuple[int, int]] = (0, 0)
    name: ClassVar[str] = ""
    has_content: ClassVar[bool] = False


# connection


class ConnectionStart(Method, frozen=True):  # noqa: D101 - the specification explains them all
    id = (10, 10)
    name = "connection.start"
    version_major: Octet
    version_minor: Octet
    server_properties: Arguments
    mechanisms: LongString
    locales: LongString


class ConnectionStartOk(Method, frozen=True):  # noqa: D101
    id = (10, 11)
    name = "connection.start_ok"
    client_properties: Arguments
    mechanism: ShortString
    response: LongString
    locale: ShortString


class ConnectionSecure(Method, frozen=True):  # noqa: D101
    id = (10, 20)
    name = "connection.secure"
    challenge: LongString


class ConnectionSecureOk(Method, frozen=True):  # noqa: D101
    id = (10, 21)
    name = "connection.secure_ok"
    response: LongString


class ConnectionTune(Method, frozen=True):  # noqa: D101
    id = (10, 30)
    name = "connection.tune"
    channel_max: Short
    frame_max: Long
    heartbeat: Short


class ConnectionTuneOk(Method, frozen=True):  # noqa: D101
    id = (10, 31)
    name = "connection.tune_ok"
    channel_max: Short
    frame_max: Long
    heartbeat: Short


class ConnectionOpen(Method, frozen=True):  # noqa: D101
    id = (10, 40)
    name = "connection.open"
    virtual_host: ShortString
    reserved1: ShortString = ""
    reserved2: Bit = False


class ConnectionOpenOk(Method, frozen=True):  # noqa: D101
    id = (10, 41)
    name = "connection.open_ok"
    reserved: ShortString = ""


class ConnectionClose(Method, frozen=True):  # noqa: D101
    id = (10, 50)
    name = "connection.close"
    reply_code: Short
    reply_text: ShortString
    class_id: Short = 0
    method_id: Short = 0


class ConnectionCloseOk(Method, frozen=True):  # noqa: D101
    id = (10, 51)
    name = "connection.close_ok"


class ConnectionBlocked(Method, frozen=True):  # noqa: D101
    id = (10, 60)
    name = "connection.blocked"
    reason: ShortString


class ConnectionUnblocked(Method, frozen=True):  # noqa: D101
    id = (10, 61)
    name = "connection.unblocked"


class ConnectionUpdateSecret(Method, frozen=True):  # noqa: D101
    id = (10, 70)
    name = "connection.update_secret"
    new_secret: LongString
    reason: ShortString


class ConnectionUpdateSecretOk(Method, frozen=True):  # noqa: D101
    id = (10, 71)
    name = "connection.update_secret_ok"


# channel


class ChannelOpen(Method, frozen=True):  # noqa: D101
    id = (20, 10)
    name = "channel.open"
    reserved: ShortString = ""


class ChannelOpenOk(Method, frozen=True):  # noqa: D101
    id = (20, 11)
    name = "channel.open_ok"
    reserved: LongString = b""


class ChannelFlow(Method, frozen=True):  # noqa: D101
    id = (20, 20)
    name = "channel.flow"
    active: Bit


class ChannelFlowOk(Method, frozen=True):  # noqa: D101
    id = (20, 21)
    name = "channel.flow_ok"
    active: Bit


class ChannelClose(Method, frozen=True):  # noqa: D101
    id = (20, 40)
    name = "channel.close"
    reply_code: Short
    reply_text: ShortString
    class_id: Short = 0
    method_id: Short = 0


class ChannelCloseOk(Method, frozen=True):  # noqa: D101
    id = (20, 41)
    name = "channel.close_ok"


# access: gone from 0-9-1, and still sent by clients of 0-8


class AccessRequest(Method, frozen=True):  # noqa: D101
    id = (30, 10)
    name = "access.request"
    realm: ShortString = "/data"
    exclusive: Bit = False
    passive: Bit = True
    active: Bit = True
    write: Bit = True
    read: Bit = True


class AccessRequestOk(Method, frozen=True):  # noqa: D101
    id = (30, 11)
    name = "access.request_ok"
    ticket: Short = 1


# exchange


class ExchangeDeclare(Method, frozen=True):  # noqa: D101
    id = (40, 10)
    name = "exchange.declare"
    reserved: Short
    exchange: ShortString
    type: ShortString
    passive: Bit
    durable: Bit
    auto_delete: Bit
    internal: Bit
    no_wait: Bit
    arguments: Arguments


class ExchangeDeclareOk(Method, frozen=True):  # noqa: D101
    id = (40, 11)
    name = "exchange.declare_ok"


class ExchangeDelete(Method, frozen=True):  # noqa: D101
    id = (40, 20)
    name = "exchange.delete"
    reserved: Short
    exchange: ShortString
    if_unused: Bit
    no_wait: Bit


class ExchangeDeleteOk(Method, frozen=True):  # noqa: D101
    id = (40, 21)
    name = "exchange.delete_ok"


class ExchangeBind(Method, frozen=True):  # noqa: D101
    id = (40, 30)
    name = "exchange.bind"
    reserved: Short
    destination: ShortString
    source: ShortString
    routing_key: ShortString
    no_wait: Bit
    arguments: Arguments


class ExchangeBindOk(Method, frozen=True):  # noqa: D101
    id = (40, 31)
    name = "exchange.bind_ok"


class ExchangeUnbind(Method, frozen=True):  # noqa: D101
    id = (40, 40)
    name = "exchange.unbind"
    reserved: Short
    destination: ShortString
    source: ShortString
    routing_key: ShortString
    no_wait: Bit
    arguments: Arguments


class ExchangeUnbindOk(Method, frozen=True):  # noqa: D101
    id = (40, 51)
    name = "exchange.unbind_ok"


# queue


class QueueDeclare(Method, frozen=True):  # noqa: D101
    id = (50, 10)
    name = "queue.declare"
    reserved: Short
    queue: ShortString
    passive: Bit
    durable: Bit
    exclusive: Bit
    auto_delete: Bit
    no_wait: Bit
    arguments: Arguments


class QueueDeclareOk(Method, frozen=True):  # noqa: D101
    id = (50, 11)
    name = "queue.declare_ok"
    queue: ShortString
    message_count: Long
    consumer_count: Long


class QueueBind(Method, frozen=True):  # noqa: D101
    id = (50, 20)
    name = "queue.bind"
    reserved: Short
    queue: ShortString
    exchange: ShortString
    routing_key: ShortString
    no_wait: Bit
    arguments: Arguments


class QueueBindOk(Method, frozen=True):  # noqa: D101
    id = (50, 21)
    name = "queue.bind_ok"


class QueuePurge(Method, frozen=True):  # noqa: D101
    id = (50, 30)
    name = "queue.purge"
    reserved: Short
    queue: ShortString
    no_wait: Bit


class QueuePurgeOk(Method, frozen=True):  # noqa: D101
    id = (50, 31)
    name = "queue.purge_ok"
    message_count: Long


class QueueDelete(Method, frozen=True):  # noqa: D101
    id = (50, 40)
    name = "queue.delete"
    reserved: Short
    queue: ShortString
    if_unused: Bit
    if_empty: Bit
    no_wait: Bit


class QueueDeleteOk(Method, frozen=True):  # noqa: D101
    id = (50, 41)
    name = "queue.delete_ok"
    message_count: Long


class QueueUnbind(Method, frozen=True):  # noqa: D101
    id = (50, 50)
    name = "queue.unbind"
    reserved: Short
    queue: ShortString
    exchange: ShortString
    routing_key: ShortString
    arguments: Arguments


class QueueUnbindOk(Method, frozen=True):  # noqa: D101
    id = (50, 51)
    name = "queue.unbind_ok"


# basic


class BasicQos(Method, frozen=True):  # noqa: D101
    id = (60, 10)
    name = "basic.qos"
    prefetch_size: Long
    prefetch_count: Short
    global_: Bit


class BasicQosOk(Method, frozen=True):  # noqa: D101
    id = (60, 11)
    name = "basic.qos_ok"


class BasicConsume(Method, frozen=True):  # noqa: D101
    id = (60, 20)
    name = "basic.consume"
    reserved: Short
    queue: ShortString
    consumer_tag: ShortString
    no_local: Bit
    no_ack: Bit
    exclusive: Bit
    no_wait: Bit
    arguments: Arguments


class BasicConsumeOk(Method, frozen=True):  # noqa: D101
    id = (60, 21)
    name = "basic.consume_ok"
    consumer_tag: ShortString


class BasicCancel(Method, frozen=True):  # noqa: D101
    id = (60, 30)
    name = "basic.cancel"
    consumer_tag: ShortString
    no_wait: Bit


class BasicCancelOk(Method, frozen=True):  # noqa: D101
    id = (60, 31)
    name = "basic.cancel_ok"
    consumer_tag: ShortString


class BasicPublish(Method, frozen=True):  # noqa: D101
    id = (60, 40)
    name = "basic.publish"
    has_content = True
    reserved: Short
    exchange: ShortString
    routing_key: ShortString
    mandatory: Bit
    immediate: Bit


class BasicReturn(Method, frozen=True):  # noqa: D101
    id = (60, 50)
    name = "basic.return"
    has_content = True
    reply_code: Short
    reply_text: ShortString
    exchange: ShortString
    routing_key: ShortString


class BasicDeliver(Method, frozen=True):  # noqa: D101
    id = (60, 60)
    name = "basic.deliver"
    has_content = True
    consumer_tag: ShortString
    delivery_tag: LongLong
    redelivered: Bit
    exchange: ShortString
    routing_key: ShortString


class BasicGet(Method, frozen=True):  # noqa: D101
    id = (60, 70)
    name = "basic.get"
    reserved: Short
    queue: ShortString
    no_ack: Bit


class BasicGetOk(Method, frozen=True):  # noqa: D101
    id = (60, 71)
    name = "basic.get_ok"
    has_content = True
    delivery_tag: LongLong
    redelivered: Bit
    exchange: ShortString
    routing_key: ShortString
    message_count: Long


class BasicGetEmpty(Method, frozen=True):  # noqa: D101
    id = (60, 72)
    name = "basic.get_empty"
    reserved: ShortString = ""


class BasicAck(Method, frozen=True):  # noqa: D101
    id = (60, 80)
    name = "basic.ack"
    delivery_tag: LongLong
    multiple: Bit


class BasicReject(Method, frozen=True):  # noqa: D101
    id = (60, 90)
    name = "basic.reject"
    delivery_tag: LongLong
    requeue: Bit


class BasicRecoverAsync(Method, frozen=True):  # noqa: D101
    id = (60, 100)
    name = "basic.recover_async"
    requeue: Bit


class BasicRecover(Method, frozen=True):  # noqa: D101
    id = (60, 110)
    name = "basic.recover"
    requeue: Bit


class BasicRecoverOk(Method, frozen=True):  # noqa: D101
    id = (60, 111)
    name = "basic.recover_ok"


class BasicNack(Method, frozen=True):  # noqa: D101
    id = (60, 120)
    name = "basic.nack"
    delivery_tag: LongLong
    multiple: Bit
    requeue: Bit


# confirm and tx


class ConfirmSelect(Method, frozen=True):  # noqa: D101
    id = (85, 10)
    name = "confirm.select"
    no_wait: Bit


class ConfirmSelectOk(Method, frozen=True):  # noqa: D101
    id = (85, 11)
    name = "confirm.select_ok"


class TxSelect(Method, frozen=True):  # noqa: D101
    id = (90, 10)
    name = "tx.select"


class TxSelectOk(Method, frozen=True):  # noqa: D101
    id = (90, 11)
    name = "tx.select_ok"


class TxCommit(Method, frozen=True):  # noqa: D101
    id = (90, 20)
    name = "tx.commit"


class TxCommitOk(Method, frozen=True):  # noqa: D101
    id = (90, 21)
    name = "tx.commit_ok"


class TxRollback(Method, frozen=True):  # noqa: D101
    id = (90, 30)
    name = "tx.rollback"


class TxRollbackOk(Method, frozen=True):  # noqa: D101
    id = (90, 31)
    name = "tx.rollback_ok"


# the codec


def _decode_integer(layout: str) -> Callable[[bytes, int], tuple[int, int]]:
    compiled = struct.Struct(layout)

    def decode(data: bytes, at: int) -> tuple[int, int]:
        end = at + compiled.size
        if end > len(data):
            raise syntax_error("a method ends before its arguments")
        return compiled.unpack_from(data, at)[0], end

    return decode


_DECODERS: Final[dict[str, Callable[[bytes, int], tuple[Any, int]]]] = {
    "octet": _decode_integer(">B"),
    "short": _decode_integer(">H"),
    "long": _decode_integer(">I"),
    "longlong": _decode_integer(">Q"),
    "shortstr": decode_short_string,
    "longstr": decode_long_string,
    "table": decode_table,
}
_ENCODERS: Final[dict[str, Callable[[Any], bytes]]] = {
    "octet": struct.Struct(">B").pack,
    "short": struct.Struct(">H").pack,
    "long": struct.Struct(">I").pack,
    "longlong": struct.Struct(">Q").pack,
    "shortstr": encode_short_string,
    "longstr": encode_long_string,
    "table": encode_table,
}


class _Codec:
    """How one method's arguments are read and written."""

    __slots__ = ("_kinds", "_make", "_names", "prefix")

    def __init__(self, method: type[Method]) -> None:
        hints = get_type_hints(method, include_extras=True)
        self.prefix = struct.pack(">HH", *method.id)
        self._make = method
        self._names = method.__struct_fields__
        self._kinds = [hints[name].__metadata__[0] for name in self._names]

    def decode(self, data: bytes) -> Method:
        """Read the arguments from behind the identifiers. Bytes after them are passed over."""
        at = 4
        bits, left = 0, 0
        values: list[object] = []
        for kind in self._kinds:
            if kind == "bit":
                if not left:
                    if at >= len(data):
                        raise syntax_error("a method ends before its arguments")
                    bits, left = data[at], 8
                    at += 1
                values.append(bool(bits & 1))
                bits >>= 1
                left -= 1
                continue
            left = 0
            value, at = _DECODERS[kind](data, at)
            values.append(value)
        return self._make(*values)

    def encode(self, method: Method) -> bytes:
        pieces = [self.prefix]
        bits, count = 0, 0
        for name, kind in zip(self._names, self._kinds, strict=True):
            value = getattr(method, name)
            if kind == "bit":
                bits |= bool(value) << count
                count += 1
                continue
            if count:
                pieces.append(b"%c" % bits)
                bits, count = 0, 0
            pieces.append(_ENCODERS[kind](value))
        if count:
            pieces.append(b"%c" % bits)
        return b"".join(pieces)


def _compile() -> dict[type[Method], _Codec]:
    return {each: _Codec(each) for each in Method.__subclasses__()}


_CODECS: Final = _compile()
_BY_PREFIX: Final = {codec.prefix: codec for codec in _CODECS.values()}

#: Every method there is.
METHODS: Final = tuple(_CODECS)


def decode_method(payload: bytes) -> Method:
    """Read the payload of a method frame. Raises `AmqpError`."""
    codec = _BY_PREFIX.get(payload[:4])
    if codec is not None:
        return codec.decode(payload)
    if len(payload) < 4:
        raise syntax_error("a method frame is too short for a method")
    class_id, method_id = struct.unpack(">HH", payload[:4])
    raise AmqpError(
        Reply.NOT_IMPLEMENTED,
        f"unknown method {method_id} of class {class_id}",
        method=(class_id, method_id),
    )


def encode_method(method: Method) -> bytes:
    """Make the payload of a method frame. Raises `ValueError` if a string is too long."""
    return _CODECS[type(method)].encode(method)
