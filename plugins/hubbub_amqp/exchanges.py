"""Exchanges and bindings of one virtual host: where what is published goes.

An exchange is a part of the topic tree: key `a.b` of exchange `logs` is the topic `logs/a/b`,
published with the scope `logs`. A binding is a subscription of that scope, so that exchanges keep
to themselves, and everybody else sees what passes through them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from hubbub import (
    Batch,
    Commit,
    Enqueued,
    FilterSpec,
    Message,
    NotFoundError,
    Publication,
    Scope,
    Session,
    Subscription,
    escape_level,
    queue_address,
    stream_address,
    unescape_level,
)

from .errors import AmqpError, Reply
from .mapping import (
    DEAD_TOPIC,
    DEFAULT_EXCHANGE,
    Template,
    address_of,
    copied_to,
    exchange_prefix,
    make_template,
    pattern_of,
    spell,
    spell_message,
)
from .wire import FieldValue, Table, decode_fields

if TYPE_CHECKING:
    from .broker import Broker

EXCHANGES: Final = "amqp.exchange"
BINDINGS: Final = "amqp.binding"
STREAMS: Final = "amqp.stream"
"""Namespaces of what is kept: exchanges, bindings of exchanges to exchanges, declared streams."""
_ID: Final = "amqp/"
_TYPES: Final = ("direct", "fanout", "topic", "headers")
_SCOPES: Final = {"topic": Scope.TOPIC, "direct": Scope.DIRECT}
DELAYED: Final = "x-delayed-message"
DELAYED_QUEUE: Final = "$amqp.delayed"
"""Where messages wait for the end of their `x-delay`."""
_CACHED_ROUTES: Final = 10_000
_CACHED_TEMPLATES: Final = 64
_CACHED_PROPERTIES: Final = 1024


class ExchangeRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """An exchange as it is kept."""

    name: str
    type: str
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False
    arguments: bytes = b""


class Exchange:
    """An exchange in use. `routing` is how its bindings match, `alternate` where the rest goes."""

    __slots__ = ("alternate", "arguments", "bindings", "record", "routing")

    def __init__(self, record: ExchangeRecord) -> None:
        self.record = record
        self.arguments = Table(decode_fields(record.arguments), record.arguments)
        kind = record.type
        if kind == DELAYED:
            kind = str(self.arguments.get("x-delayed-type", ""))
        self.routing = kind
        alternate = self.arguments.get("alternate-exchange")
        self.alternate = alternate if isinstance(alternate, str) else None
        self.bindings: set[Binding] = set()

    @property
    def name(self) -> str:
        """Its name."""
        return self.record.name


class Binding(NamedTuple):
    """One binding. `kind` is "queue", "stream" or "exchange"; `arguments` are raw."""

    source: str
    kind: str
    destination: str
    key: str
    arguments: bytes

    @property
    def id(self) -> str:
        """The id of its subscription, from which `parse_binding` makes it again."""
        arguments = base64.b64encode(self.arguments).decode()
        return _ID + json.dumps([self.source, self.kind, self.destination, self.key, arguments])

    @property
    def target(self) -> str:
        """The address of its destination, a queue or a stream."""
        if self.kind == "stream":
            return str(stream_address(self.destination))
        return str(queue_address(self.destination))


def parse_binding(id_: str) -> Binding | None:
    """Read a binding from the id of its subscription; None if that is none of ours."""
    if not id_.startswith(_ID + "["):
        return None
    source, kind, destination, key, arguments = json.loads(id_[len(_ID) :])
    return Binding(source, kind, destination, key, base64.b64decode(arguments))


class Route:
    """Where one routing key of one exchange leads, with templates of what was sent there."""

    __slots__ = ("address", "exchange", "key", "scope", "templates")

    def __init__(self, exchange: Exchange, key: str, address: str) -> None:
        self.exchange = exchange
        self.key = key
        self.address = address
        self.scope = exchange.name or None
        self.templates: dict[bytes, Template] = {}

    def template(self, raw: bytes) -> Template:
        """Return the template for raw properties. Raises `AmqpError` if they are none."""
        made = make_template(self.exchange.name, self.key, raw, self.address, self.scope)
        if len(raw) <= _CACHED_PROPERTIES:
            if len(self.templates) >= _CACHED_TEMPLATES:
                self.templates.clear()
            self.templates[raw] = made
        return made


class VirtualHost:
    """The exchanges of one realm."""

    def __init__(self, broker: Broker, name: str, realm: str, bus: Session) -> None:
        self.broker = broker
        self.name = name
        self.realm = realm
        self.bus = bus
        """A session of the server's own."""
        self.exchanges: dict[str, Exchange] = {}
        self.replies: set[str] = set()
        """The tokens of direct replies that somebody waits for."""
        self.streams: dict[str, str] = {}
        """The labels of streams that AMQP clients declared."""
        self._routes: dict[tuple[str, str], Route] = {}
        self._passing: set[str] = set()
        for exchange, kind in (
            (DEFAULT_EXCHANGE, "direct"),
            ("amq.direct", "direct"),
            ("amq.fanout", "fanout"),
            ("amq.headers", "headers"),
            ("amq.match", "headers"),
            ("amq.topic", "topic"),
        ):
            self._add(Exchange(ExchangeRecord(exchange, kind)))
        self._add(Exchange(ExchangeRecord("amq.rabbitmq.trace", "topic", internal=True)))

    def _add(self, exchange: Exchange) -> None:
        """Let clients of all protocols use an exchange."""
        self.exchanges[exchange.name] = exchange
        if exchange.name != DEFAULT_EXCHANGE:
            self.bus.declare_scope(exchange.name, _SCOPES.get(exchange.routing, Scope.ALL))

    # loading

    def start(self) -> None:
        """Take back the bindings to queues and streams, and begin to take dead letters."""
        for subscription in self.bus.subscriptions():
            binding = parse_binding(subscription.id)
            if binding is not None and (source := self.exchanges.get(binding.source)) is not None:
                source.bindings.add(binding)
        self.bus.watch_subscriptions(self._ended)
        self.bus.subscribe(f"{DEAD_TOPIC}#", self._take_dead)

    def restore_exchange(self, value: bytes) -> None:
        """Take back an exchange that was kept."""
        record = msgspec.msgpack.decode(value, type=ExchangeRecord)
        self._add(Exchange(record))

    def restore_binding(self, id_: str) -> None:
        """Take back a binding of exchange to exchange that was kept."""
        binding = parse_binding(id_)
        if binding is not None and binding.source in self.exchanges:
            self._link(binding)
            self.exchanges[binding.source].bindings.add(binding)

    # exchanges

    def find(self, name: str) -> Exchange:
        """Return an exchange. Raises `AmqpError`."""
        exchange = self.exchanges.get(name)
        if exchange is None:
            raise AmqpError(Reply.NOT_FOUND, f"no exchange '{name}' in vhost '{self.name}'")
        return exchange

    def check_type(self, kind: str) -> None:
        """Check the type of an exchange that is declared. Raises `AmqpError`."""
        if kind not in {*_TYPES, DELAYED}:
            raise AmqpError(Reply.COMMAND_INVALID, f"unknown exchange type '{kind}'")

    def declare(self, record: ExchangeRecord) -> None:
        """Make an exchange, or check that the one there is has the same properties."""
        found = self.exchanges.get(record.name)
        if found is not None:
            self._check_equivalent(found, record)
            return
        exchange = Exchange(record)
        if not isinstance(exchange.arguments.get("alternate-exchange", ""), str):
            raise invalid_type(
                "alternate-exchange", f"exchange '{record.name}'", self.name, exchange.arguments
            )
        if record.type == DELAYED and exchange.routing not in _TYPES:
            raise AmqpError(
                Reply.PRECONDITION_FAILED,
                "Invalid argument, 'x-delayed-type' must be an existing exchange type",
            )
        if record.durable:
            self.bus.put_document(EXCHANGES, record.name, msgspec.msgpack.encode(record))
        self._add(exchange)
        self._routes.clear()

    def _check_equivalent(self, found: Exchange, wanted: ExchangeRecord) -> None:
        record = found.record
        for argument, have, want in (
            ("type", record.type, wanted.type),
            ("durable", record.durable, wanted.durable),
            ("auto_delete", record.auto_delete, wanted.auto_delete),
            ("internal", record.internal, wanted.internal),
        ):
            if have != want:
                raise inequivalent(
                    argument, f"exchange '{record.name}'", self.name, plain(want), plain(have)
                )
        arguments = Table(decode_fields(wanted.arguments), wanted.arguments)
        check_arguments(
            ("alternate-exchange", "x-delayed-type"), f"exchange '{record.name}'", self.name,
            found.arguments, arguments,
        )  # fmt: skip

    def delete(self, exchange: Exchange) -> None:
        """Delete an exchange and all bindings from it and to it."""
        for binding in tuple(exchange.bindings):
            self.unbind(binding, tidy=False)
        for other in tuple(self.exchanges.values()):
            for binding in tuple(other.bindings):
                if (binding.kind, binding.destination) == ("exchange", exchange.name):
                    self.unbind(binding)
        self.bus.drop_scope(exchange.name)
        if self.exchanges.pop(exchange.name, None) is not None and exchange.record.durable:
            self.bus.drop_document(EXCHANGES, exchange.name)
        self._routes.clear()

    # bindings

    def bind(self, session: Session, binding: Binding, *, durable: bool) -> None:
        """Bind; again is no error. Raises `AmqpError`, and `DeniedError` as subscribing does."""
        exchange = self.find(binding.source)
        if binding in exchange.bindings:
            return
        durable = durable and exchange.record.durable
        if binding.kind == "exchange":
            self._link(binding)
            if durable:
                self.bus.put_document(BINDINGS, binding.id, b"")
        else:
            session.subscribe(
                self._pattern(binding),
                binding.target,
                scope=binding.source,
                filter=self._filter(binding),
                id=binding.id,
                durable=durable,
            )
        exchange.bindings.add(binding)

    def _pattern(self, binding: Binding) -> str:
        return pattern_of(binding.source, self.exchanges[binding.source].routing, binding.key)

    def _filter(self, binding: Binding) -> FilterSpec | None:
        routing = self.exchanges[binding.source].routing
        if routing == "headers":
            return FilterSpec("amqp-headers", base64.b64encode(binding.arguments).decode())
        if routing == "topic" and sorted({*binding.key.split(".")} | {"#"}) == ["#", "*"]:
            # Only these could take an empty key for an empty word. To RabbitMQ it is no word.
            empty = address_of(binding.source, "")
            levels = empty.count("/") + 1 - exchange_prefix(binding.source).count("/")
            if 1 <= binding.key.split(".").count("*") <= levels:
                return FilterSpec("amqp-words", empty)
        return None

    def _link(self, binding: Binding) -> None:
        """Let an exchange pass on to another one."""

        def deliver(batch: Batch) -> Enqueued | None:
            exchange = self.exchanges.get(binding.destination)
            if exchange is None:
                return None
            with self._through({binding.source, exchange.name}) as new:
                if exchange.name not in new:
                    return None
                return _enqueued(self.pass_on(batch.messages, exchange))

        self.bus.subscribe(
            self._pattern(binding),
            deliver,
            scope=binding.source,
            filter=self._filter(binding),
            id=binding.id,
        )

    def unbind(self, binding: Binding, *, tidy: bool = True) -> None:
        """End a binding; one that is not there is no error. `tidy`: see `_unbound`."""
        exchange = self.exchanges.get(binding.source)
        if exchange is None or binding not in exchange.bindings:
            return
        exchange.bindings.discard(binding)
        self.bus.unsubscribe(binding.id)
        if binding.kind == "exchange":
            self.bus.drop_document(BINDINGS, binding.id)
        if tidy:
            self._unbound(exchange)

    def _ended(self, subscription: Subscription) -> None:
        """Note that a binding has ended with its queue."""
        binding = parse_binding(subscription.id)
        if binding is None:
            return
        exchange = self.exchanges.get(binding.source)
        if exchange is not None and binding in exchange.bindings:
            exchange.bindings.discard(binding)
            self._unbound(exchange)

    def _unbound(self, exchange: Exchange) -> None:
        """Let an exchange go that wishes to end with its last binding."""
        if exchange.record.auto_delete and not exchange.bindings:
            self.delete(exchange)

    # routing

    def route(self, exchange: str, key: str) -> Route:
        """Return where a publication goes. Raises `AmqpError`."""
        found = self._routes.get((exchange, key))
        if found is not None:
            return found
        where = self.find(exchange)
        if where.record.internal:
            raise AmqpError(
                Reply.ACCESS_REFUSED,
                f"cannot publish to internal exchange '{exchange}' in vhost '{self.name}'",
            )
        address = address_of(exchange, key)
        if (
            exchange == DEFAULT_EXCHANGE
            and address.startswith("$queue/")
            and self.bus.find_queue(key) is None
            and self.bus.find_stream(key) is not None
        ):
            address = str(stream_address(key))
        if len(self._routes) >= _CACHED_ROUTES:
            self._routes.clear()
        made = self._routes[exchange, key] = Route(where, key, address)
        return made

    def keep_stream(self, name: str, label: str | None) -> None:
        """Keep what a stream was declared as; None: it is no more."""
        if label is None:
            if self.streams.pop(name, None) is not None:
                self.bus.drop_document(STREAMS, name)
        else:
            self.streams[name] = label
            self.bus.put_document(STREAMS, name, label.encode())
        self._routes.clear()

    def forget_routes(self) -> None:
        """Look all routes up anew: a queue or a stream has come or gone."""
        self._routes.clear()

    def pass_on(self, messages: Sequence[Message], exchange: Exchange) -> Publication:
        """Publish messages that the bus has seen to another exchange, by their routing keys."""
        copies = [self.copy_for(each, exchange.name, self._key_of(each)) for each in messages]
        with self.bus.as_one():
            publication = self.publish_further(
                self.bus,
                self.bus.forward(copies),
                (
                    (index, self.copy_for(each, exchange.name, key))
                    for index, each in enumerate(messages)
                    for key in copied_to(each)
                ),
            )
        alternate = self.exchanges.get(exchange.alternate or "")
        places = publication.unmatched
        if not places or not exchange.alternate or alternate is None:
            return publication
        with self._through({exchange.name, alternate.name}) as new:
            if alternate.name not in new:
                return publication
            rest = self.pass_on([copies[index] for index in places], alternate)
        return Publication(
            later(publication.commit, rest.commit),
            tuple(places[index] for index in rest.unmatched),
            {**publication.refused, **{places[i]: error for i, error in rest.refused.items()}},
        )

    def publish_further(
        self, session: Session, publication: Publication, copies: Iterable[tuple[int, Message]]
    ) -> Publication:
        """Publish copies with further routing keys; return what became of all.

        Each comes with the index of its original in `publication`. A queue takes a message once.
        """
        commit = publication.commit
        unmatched = set(publication.unmatched)
        refused = dict(publication.refused)
        for index, copy in copies:
            result = session.forward([copy])
            if not (result.unmatched or result.refused):
                unmatched.discard(index)
                if isinstance(refused.get(index), NotFoundError):
                    del refused[index]
            commit = later(commit, result.commit)
        return Publication(commit, tuple(sorted(unmatched)), refused)

    @contextmanager
    def _through(self, names: set[str]) -> Iterator[set[str]]:
        """Pass exchanges, which messages do once however they are bound; yield those not passed."""
        new = names - self._passing
        self._passing |= new
        try:
            yield new
        finally:
            self._passing -= new

    def _key_of(self, message: Message) -> str:
        return spell_message(message, self.broker.now(), self.bus.lossy).routing_key

    def copy_for(self, message: Message, exchange: str, key: str) -> Message:
        """Return a copy of a message as if it had been published to an exchange with a key."""
        return msgspec.structs.replace(
            message,
            address=address_of(exchange, key),
            scope=exchange or None,
            retain=False,
            delay=None,
            hops=message.hops + 1,
        )

    # dead letters

    def _take_dead(self, batch: Batch) -> Enqueued | None:
        result: Publication | None = None
        for message in batch.messages:
            level, _, rest = message.address[len(DEAD_TOPIC) :].partition("/")
            name = unescape_level(level)
            exchange = self.exchanges.get(name)
            if exchange is None:
                self.bus.lost("no such dead-letter exchange", 1, message.address)
                continue
            if rest:
                keys: tuple[str, ...] = (unescape_level(rest[1:]),)
            else:
                death = message.deaths[0]
                keys = spell(death.address, death.scope, self.bus.lossy)[1], *copied_to(message)
            taken = [each for key in keys if (each := self._pass_dead(message, exchange, key))]
            if taken:
                result = taken[-1]
            else:
                self.bus.lost("dead letter not taken", 1, message.address)
        return None if result is None else _enqueued(result)

    def _pass_dead(self, message: Message, exchange: Exchange, key: str) -> Publication | None:
        """Publish a dead letter; None if nobody took it."""
        copy = self.copy_for(message, exchange.name, key)
        result = self.bus.forward([copy])
        if result.unmatched and exchange.alternate in self.exchanges:
            result = self.pass_on([copy], self.exchanges[exchange.alternate])
        return None if result.unmatched or result.refused else result


def dead_letter_address(exchange: str, key: str | None) -> str:
    """Return the dead-letter address of a queue for an exchange, and a key or the message's own."""
    if exchange == DEFAULT_EXCHANGE and key:
        return str(queue_address(key))
    address = DEAD_TOPIC + escape_level(exchange)
    # The mark in front keeps an empty key apart from none.
    return address if key is None else f"{address}/={escape_level(key)}"


def later(one: Commit, other: Commit) -> Commit:
    """Return the commit that comes last; what needs none is done at once."""
    return one if other.done else other


def _enqueued(publication: Publication) -> Enqueued:
    refused = {index: str(error) for index, error in publication.refused.items()}
    return Enqueued(publication.commit, refused, {})


# equivalence, in RabbitMQ's words


def inequivalent(
    argument: str, resource: str, vhost: str, received: str, current: str
) -> AmqpError:
    """Make the error for a declaration that differs from what is there."""
    return AmqpError(
        Reply.PRECONDITION_FAILED,
        f"inequivalent arg '{argument}' for {resource} in vhost '{vhost}': "
        f"received {received} but current is {current}",
    )


def invalid_type(argument: str, resource: str, vhost: str, table: Table) -> AmqpError:
    """Make the error for the name of an exchange that is none."""
    return AmqpError(
        Reply.PRECONDITION_FAILED,
        f"invalid type '{table.types()[argument]}' for arg '{argument}' in {resource} in vhost "
        f"'{vhost}'",
    )


def plain(value: object) -> str:
    """Write the value of a property."""
    return f"'{str(value).lower() if isinstance(value, bool) else value}'"


def check_arguments(
    names: Sequence[str], resource: str, vhost: str, have: Table, want: Table
) -> None:
    """Check that the arguments of two declarations are equivalent. Raises `AmqpError`."""
    for name in names:
        if _same(have.get(name), want.get(name)):
            continue
        if name in have and name in want:
            received, current = plain(shown(want[name])), plain(shown(have[name]))
        else:
            received, current = _typed(want, name), _typed(have, name)
        raise inequivalent(name, resource, vhost, received, current)


def _same(one: FieldValue, other: FieldValue) -> bool:
    """Tell whether two values are one to RabbitMQ, to which 10.0 is not 10."""
    kinds = (bool, float)
    return one == other and all(isinstance(one, kind) is isinstance(other, kind) for kind in kinds)


def shown(value: FieldValue) -> str:
    """Write a field value for an error text."""
    if isinstance(value, bool):
        return str(value).lower()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _typed(table: Table, name: str) -> str:
    if name not in table:
        return "none"
    return f"the value '{shown(table[name])}' of type '{table.types()[name]}'"


# headers exchanges


def headers_filter(spec: Any) -> Callable[[Message], bool]:
    """Make the predicate of a binding to a headers exchange from its arguments, in base64."""
    arguments = decode_fields(base64.b64decode(spec))
    match = arguments.get("x-match", "all")
    with_x = match in {"all-with-x", "any-with-x"}
    wanted = {
        name: value
        for name, value in arguments.items()
        if name != "x-match" and (with_x or not name.startswith("x-"))
    }
    any_ = match in {"any", "any-with-x"}

    def accepts(message: Message) -> bool:
        headers: Mapping[str, object] = message.headers
        results = (_has(headers, name, value) for name, value in wanted.items())
        return any(results) if any_ else all(results)

    return accepts


def words_filter(spec: Any) -> Callable[[Message], bool]:
    """Make the predicate of a binding that wants at least one word: not the address of none."""
    empty = str(spec)
    return lambda message: message.address != empty


def _has(headers: Mapping[str, object], name: str, value: FieldValue) -> bool:
    if name not in headers:
        return False
    found = headers[name]
    if isinstance(found, str) and isinstance(value, bytes):  # RabbitMQ compares the bytes
        return found.encode() == value
    if isinstance(found, bytes) and isinstance(value, str):
        return found == value.encode()
    return value is None or (found == value and isinstance(found, bool) is isinstance(value, bool))


def check_binding(exchange: Exchange, key: str, arguments: Table) -> None:
    """Check what a binding asks for. Raises `AmqpError`."""
    if "\0" in key:
        raise AmqpError(Reply.PRECONDITION_FAILED, "a routing key can't contain U+0000")
    if exchange.routing != "headers":
        return
    match = arguments.get("x-match", "all")
    if not isinstance(match, str):
        raise AmqpError(
            Reply.PRECONDITION_FAILED,
            f"Invalid x-match field type {arguments.types()['x-match']} (value {shown(match)}); "
            "expected longstr",
        )
    if match not in {"all", "any", "all-with-x", "any-with-x"}:
        raise AmqpError(
            Reply.PRECONDITION_FAILED,
            f'Invalid x-match field value <<"{match}">>; expected all, any, all-with-x, or '
            "any-with-x",
        )
