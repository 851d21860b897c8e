"""What the methods of a channel do."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from hubbub import (
    DeniedError,
    ExistsError,
    HubbubError,
    NotFoundError,
    Outcome,
    QueueInfo,
    RefusedError,
    StreamInfo,
    UnavailableError,
    Window,
    queue_address,
)

from . import methods as m
from .channel import ChannelState, Ledger, Mode
from .consumers import (
    Consumer,
    Held,
    QueueConsumer,
    ReplyConsumer,
    StreamConsumer,
    is_quorum,
    with_count,
)
from .declaring import (
    LABEL,
    Declaration,
    check_declaration,
    check_equivalent,
    generated_name,
    queue_settings,
    stream_settings,
)
from .encode import encode_content, encode_method_frame
from .errors import AmqpError, Reply
from .exchanges import Binding, Exchange, ExchangeRecord, check_binding
from .mapping import DEAD_TOPIC, DEFAULT_EXCHANGE, REPLY_TO, RESERVED, address_of
from .publisher import Pending
from .wire import FieldValue

if TYPE_CHECKING:
    from .connection import Connection


class Channel(ChannelState):
    """One channel of one connection."""

    def __init__(self, connection: Connection, number: int) -> None:
        super().__init__(number)
        self.connection = connection
        self.owner: str = f"{connection.id}/{number}"
        """Whose leases its deliveries are."""
        self.consumers: dict[str, Consumer] = {}
        self.ledger: Ledger[Held] = Ledger()
        self.prefetch: int = 0
        self.window: Window = Window(None)
        self.reply_to: str | None = None
        """The token of direct replies to it."""
        self.confirmed = 0
        """The last message whose fate the client knows."""
        self._last_queue = ""
        self._publishes: list[Pending] = []
        self._transaction_bytes = 0
        self._settles: list[tuple[list[tuple[int, Held]], Outcome]] = []

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    # doing and answering

    async def handle(self, method: m.Method) -> None:
        """Do what a method says. Raises `AmqpError`."""
        handler = _HANDLERS[type(method)]
        try:
            await handler(self, method)
        except AmqpError as error:
            if error.method == (0, 0):
                error.method = method.id
            raise
        except DeniedError as error:
            raise AmqpError(
                Reply.ACCESS_REFUSED, self.connection.refusal(error), method=method.id
            ) from error
        except NotFoundError as error:
            raise AmqpError(
                Reply.NOT_FOUND,
                f"no {error.kind} '{error.name}' in vhost '{self.connection.vhost_name}'",
                method=method.id,
            ) from error
        except UnavailableError:
            raise
        except HubbubError as error:  # a name that is no address, a refusal
            raise AmqpError(Reply.PRECONDITION_FAILED, str(error), method=method.id) from error

    def _say(self, method: m.Method) -> None:
        self.connection.write(encode_method_frame(self.number, method))

    def resume(self) -> None:
        """Let consumers go on: the client has taken what was waiting."""
        for consumer in tuple(self.consumers.values()):
            consumer.resume()

    def overdue(self, now: float) -> float | None:
        """Return the timeout in seconds that some consumer has exceeded; None if none has."""
        soonest = now - self.connection.shortest_timeout
        for held in self.ledger:  # the oldest first
            if held.since >= soonest:
                break
            consumer = held.consumer
            if consumer is not None and held.since < now - consumer.timeout:
                return consumer.timeout
        return None

    async def close(self) -> None:
        """Give back all that it holds."""
        for consumer in self.consumers.values():
            consumer.stop()
        self.connection.consumer_count -= len(self.consumers)
        self.consumers.clear()
        held = self.ledger.clear()
        held += [item for items, _ in self._settles for _, item in items]
        await self._settle(held, Outcome.RELEASE)

    # names

    @property
    def _vhost(self) -> str:
        return self.connection.vhost_name

    def _name(self, name: str) -> str:
        if name:
            return name
        if not self._last_queue:
            raise AmqpError(Reply.NOT_FOUND, "no previously declared queue")
        return self._last_queue

    def _no_queue(self, name: str) -> AmqpError:
        return AmqpError(Reply.NOT_FOUND, f"no queue '{name}' in vhost '{self._vhost}'")

    def _find(self, name: str) -> QueueInfo | StreamInfo | None:
        """Return a queue that this connection may use, or a stream. Raises `AmqpError`."""
        bus = self.connection.bus
        if name.startswith(RESERVED):
            raise AmqpError(
                Reply.ACCESS_REFUSED,
                f"queue name '{name}' contains reserved prefix '{RESERVED}'",
            )
        queue = bus.find_queue(name)
        if queue is None:
            return bus.find_stream(name)
        owner = queue.settings.owner
        if owner is not None and owner != self.connection.id:
            raise self._locked(name)
        return queue

    def _locked(self, name: str) -> AmqpError:
        return AmqpError(
            Reply.RESOURCE_LOCKED,
            f"cannot obtain exclusive access to locked queue '{name}' in vhost '{self._vhost}'. "
            "It could be originally declared on another connection or the exclusive property value "
            "does not match that of the original declaration.",
        )

    def _not_by_streams(self, what: str, name: str) -> AmqpError:
        return AmqpError(
            Reply.NOT_IMPLEMENTED,
            f"{what} not supported by stream queues queue '{name}' in vhost '{self._vhost}'",
        )

    def _refuse_global_prefetch(self, name: str) -> None:
        """Refuse a consumer of a queue of a type that knows no prefetch of a channel."""
        if self.window.limit is not None:
            raise AmqpError(
                Reply.NOT_IMPLEMENTED,
                f"queue '{name}' in vhost '{self._vhost}' does not support global qos",
            )

    def _get(self, name: str) -> QueueInfo | StreamInfo:
        found = self._find(name)
        if found is None:
            raise self._no_queue(name)
        return found

    def _named_exchange(self, name: str) -> Exchange:
        if name == DEFAULT_EXCHANGE:
            raise AmqpError(Reply.ACCESS_REFUSED, "operation not permitted on the default exchange")
        return self.connection.host.find(name)

    def _demand(self, action: str, resource: str) -> None:
        """Check that the client may do this. Raises `DeniedError`."""
        if not self.connection.bus.allowed(action, resource):
            raise DeniedError(self.connection.user, action, resource)

    def _may_configure_exchange(self, name: str) -> None:
        if not self.connection.bus.allowed("configure", self.connection.resource(name)):
            raise AmqpError(
                Reply.ACCESS_REFUSED,
                f"access to exchange '{name}' in vhost '{self._vhost}' refused for user "
                f"'{self.connection.user}'",
            )

    # channel and access

    async def _flow(self, method: m.ChannelFlow) -> None:
        if not method.active:
            raise AmqpError(Reply.NOT_IMPLEMENTED, "active=false")
        self._say(m.ChannelFlowOk(True))

    async def _access(self, method: m.AccessRequest) -> None:
        self._say(m.AccessRequestOk(1))

    async def _nothing(self, method: m.Method) -> None:
        """Take note of an answer of the client."""

    # exchanges

    async def _exchange_declare(self, method: m.ExchangeDeclare) -> None:
        host, name = self.connection.host, method.exchange
        if method.passive:
            self._named_exchange(name)
        else:
            host.check_type(method.type)
            if name == DEFAULT_EXCHANGE:
                self._named_exchange(name)
            if name.startswith("amq.") and name not in host.exchanges:
                raise _reserved("exchange", name)
            self._may_configure_exchange(name)
            if name not in host.exchanges:
                self._check_alternate(name, method.arguments.get("alternate-exchange"))
            arguments = method.arguments.raw or b""
            host.declare(
                ExchangeRecord(
                    name, method.type, method.durable, method.auto_delete, method.internal,
                    arguments,
                )
            )  # fmt: skip
            await self.connection.bus.commit().wait()
        if not method.no_wait:
            self._say(m.ExchangeDeclareOk())

    def _check_alternate(self, name: str, alternate: FieldValue) -> None:
        """Check that the client may read an exchange and write to its alternate one."""
        if not isinstance(alternate, str):
            return
        self._demand("subscribe", self.connection.resource(name))
        self._demand("publish", self.connection.resource(alternate))

    async def _exchange_delete(self, method: m.ExchangeDelete) -> None:
        host, name = self.connection.host, method.exchange
        if name == DEFAULT_EXCHANGE:
            self._named_exchange(name)
        if name.startswith("amq."):
            raise AmqpError(
                Reply.ACCESS_REFUSED,
                f"deletion of system exchange '{name}' in vhost '{self._vhost}' not allowed",
            )
        exchange = host.exchanges.get(name)
        if exchange is not None:
            self._may_configure_exchange(name)
            if method.if_unused and exchange.bindings:
                raise AmqpError(
                    Reply.PRECONDITION_FAILED, f"exchange '{name}' in vhost '{self._vhost}' in use"
                )
            host.delete(exchange)
            await self.connection.bus.commit().wait()
        if not method.no_wait:
            self._say(m.ExchangeDeleteOk())

    def _exchange_binding(self, method: m.ExchangeBind | m.ExchangeUnbind) -> Binding:
        self._may_configure_exchange(method.destination)
        return Binding(
            method.source, "exchange", method.destination, method.routing_key,
            method.arguments.raw or b"",
        )  # fmt: skip

    async def _exchange_bind(self, method: m.ExchangeBind) -> None:
        source = self._named_exchange(method.source)
        destination = self._named_exchange(method.destination)
        check_binding(source, method.routing_key, method.arguments)
        binding = self._exchange_binding(method)
        connection = self.connection
        connection.host.bind(connection.bus, binding, durable=destination.record.durable)
        await connection.bus.commit().wait()
        if not method.no_wait:
            self._say(m.ExchangeBindOk())

    async def _exchange_unbind(self, method: m.ExchangeUnbind) -> None:
        host = self.connection.host
        if DEFAULT_EXCHANGE in {method.source, method.destination}:
            self._named_exchange(DEFAULT_EXCHANGE)
        if method.source in host.exchanges and method.destination in host.exchanges:
            host.unbind(self._exchange_binding(method))
            await self.connection.bus.commit().wait()
        if not method.no_wait:
            self._say(m.ExchangeUnbindOk())

    # queues

    async def _queue_declare(self, method: m.QueueDeclare) -> None:
        name = method.queue
        if name == REPLY_TO or name.startswith(f"{REPLY_TO}."):
            if name != REPLY_TO and name[len(REPLY_TO) + 1 :] not in self.connection.host.replies:
                raise self._no_queue(name)
            self._declared(method, name, 0, 1)
            return
        if method.passive:
            name = name or self._last_queue
            found: QueueInfo | StreamInfo | None = self._get(name)
        elif not name:
            name = generated_name()
            found = None
        else:
            found = self._find(name)
        if found is None:
            if method.queue.startswith("amq."):
                raise _reserved("queue", name)
            await self._create(name, Declaration.of(method))
            self._declared(method, name, 0, 0)
            return
        if not method.passive:
            self._check_same(name, found, Declaration.of(method))
        if isinstance(found, StreamInfo):
            self._declared(method, name, found.count(), 0)
        else:
            self.connection.bus.touch_queue(name)
            counts = found.counts()
            self._declared(method, name, counts.visible, counts.consumers)

    def _declared(self, method: m.QueueDeclare, name: str, waiting: int, consumers: int) -> None:
        self._last_queue = name
        if not method.no_wait:
            self._say(m.QueueDeclareOk(name, waiting, consumers))

    def _check_same(self, name: str, found: QueueInfo | StreamInfo, wanted: Declaration) -> None:
        """Check that a queue is what a declaration says; other protocols' queues are any."""
        if isinstance(found, QueueInfo):
            if wanted.exclusive is not (found.settings.owner is not None):
                raise self._locked(name)
            label = found.settings.labels.get(LABEL)
        else:
            label = self.connection.host.streams.get(name)
        if (have := Declaration.read(label)) is not None:
            check_equivalent(name, self._vhost, have, wanted)

    def _check_dead_letters(self, name: str, exchange: str, key: str | None) -> None:
        """Check that the client may read a queue and write to its dead-letter exchange."""
        if key is not None:
            target = address_of(exchange, key)
        else:
            target = self.connection.resource(exchange) if exchange else "$queue/#"
        self._demand("consume", str(queue_address(name)))
        self._demand("publish", target)

    @contextmanager
    def _may_bury(self, address: str | None) -> Iterator[None]:
        """Allow a dead-letter address that stands for an exchange, which was checked."""
        bus = self.connection.bus
        if address is None or not address.startswith(DEAD_TOPIC):
            yield
            return
        bus.adopt(address)
        try:
            yield
        finally:
            bus.disown(address)

    async def _create(self, name: str, wanted: Declaration) -> None:
        check_declaration(name, self._vhost, wanted)
        connection = self.connection
        bus = connection.bus
        try:
            if wanted.type == "stream":
                await bus.create_stream(name, stream_settings(wanted))
                connection.host.keep_stream(name, wanted.label)
            else:
                if wanted.dead_letters is not None:
                    self._check_dead_letters(name, *wanted.dead_letters)
                settings = queue_settings(wanted, connection.id)
                with self._may_bury(settings.dead_letter):
                    await bus.create_queue(name, settings)
                if wanted.exclusive:
                    connection.exclusive.add(name)
        except ExistsError:  # another client was quicker
            found = self._get(name)
            self._check_same(name, found, wanted)
        if wanted.durable:
            await bus.commit().wait()

    def _queue_binding(self, method: m.QueueBind | m.QueueUnbind, *, stream: bool) -> Binding:
        name = self._name(method.queue)
        key = method.routing_key
        if not method.queue and not key:
            key = name
        kind = "stream" if stream else "queue"
        return Binding(method.exchange, kind, name, key, method.arguments.raw or b"")

    async def _queue_bind(self, method: m.QueueBind) -> None:
        name = self._name(method.queue)
        exchange = self._named_exchange(method.exchange)
        found = self._get(name)
        stream = isinstance(found, StreamInfo)
        binding = self._queue_binding(method, stream=stream)
        check_binding(exchange, binding.key, method.arguments)
        durable = isinstance(found, StreamInfo) or found.settings.durable
        connection = self.connection
        connection.host.bind(connection.bus, binding, durable=durable)
        if durable:
            await connection.bus.commit().wait()
        if not method.no_wait:
            self._say(m.QueueBindOk())

    async def _queue_unbind(self, method: m.QueueUnbind) -> None:
        connection = self.connection
        name = self._name(method.queue)
        if method.exchange == DEFAULT_EXCHANGE:
            self._named_exchange(method.exchange)
        stream = connection.bus.find_queue(name) is None
        binding = self._queue_binding(method, stream=stream)
        exchange = connection.host.exchanges.get(method.exchange)
        if exchange is not None and binding in exchange.bindings:
            self._get(name)
            self._demand("publish", binding.target)
            connection.host.unbind(binding)
            await connection.bus.commit().wait()
        self._say(m.QueueUnbindOk())

    async def _queue_purge(self, method: m.QueuePurge) -> None:
        name = self._name(method.queue)
        if isinstance(self._get(name), StreamInfo):
            raise self._not_by_streams("queue.purge", name)
        count = await self.connection.bus.purge_queue(name)
        if not method.no_wait:
            self._say(m.QueuePurgeOk(count))

    async def _queue_delete(self, method: m.QueueDelete) -> None:
        connection = self.connection
        # Who deletes what it consumes itself expects the answer first, and then the cancellation.
        postponed: list[bytes] = []
        connection.postponed = postponed
        try:
            count = await self._delete_queue(method)
            if not method.no_wait:
                self._say(m.QueueDeleteOk(count))
        finally:
            connection.postponed = None
            for frame in postponed:
                connection.write(frame)

    async def _delete_queue(self, method: m.QueueDelete) -> int:
        """Delete a queue; return how many messages waited there."""
        name = self._name(method.queue)
        found = self._find(name)
        connection = self.connection
        if isinstance(found, StreamInfo):
            await (await connection.bus.delete_stream(name)).wait()
            connection.host.keep_stream(name, None)
        if not isinstance(found, QueueInfo):
            return 0
        counts = found.counts()
        where = f"queue '{name}' in vhost '{self._vhost}'"
        if method.if_unused and counts.consumers:
            raise AmqpError(Reply.PRECONDITION_FAILED, f"{where} in use")
        if method.if_empty and counts.visible:
            raise AmqpError(Reply.PRECONDITION_FAILED, f"{where} not empty")
        commit = await connection.bus.delete_queue(name)
        connection.exclusive.discard(name)
        await commit.wait()
        return counts.visible

    # consuming

    async def _qos(self, method: m.BasicQos) -> None:
        if method.prefetch_size:
            raise AmqpError(Reply.NOT_IMPLEMENTED, f"prefetch_size!=0 ({method.prefetch_size})")
        if method.global_:
            self.window.resize(method.prefetch_count or None)
        else:
            self.prefetch = method.prefetch_count
        self._say(m.BasicQosOk())

    async def _consume(self, method: m.BasicConsume) -> None:
        connection = self.connection
        tag = method.consumer_tag or f"amq.ctag-{secrets.token_urlsafe(16)}"
        if tag in self.consumers:
            raise AmqpError(Reply.NOT_ALLOWED, f"attempt to reuse consumer tag '{tag}'")
        if connection.consumer_count >= connection.broker.settings.max_consumers:
            raise AmqpError(
                Reply.NOT_ALLOWED, f"a connection has at most {connection.consumer_count} consumers"
            )
        if method.queue == REPLY_TO:
            consumer = self._consume_replies(method, tag)
        else:
            consumer = await self._consume_queue(method, tag)
        self.consumers[tag] = consumer
        connection.consumer_count += 1
        if not method.no_wait:
            self._say(m.BasicConsumeOk(tag))
        connection.watch_consumer(consumer.timeout)
        consumer.start()

    def _consume_replies(self, method: m.BasicConsume, tag: str) -> Consumer:
        if not method.no_ack:
            raise AmqpError(Reply.PRECONDITION_FAILED, "reply consumer cannot acknowledge")
        if self.reply_to is not None:
            raise AmqpError(Reply.PRECONDITION_FAILED, "reply consumer already set")
        return ReplyConsumer(self, tag, REPLY_TO, secrets.token_urlsafe(24))

    async def _consume_queue(self, method: m.BasicConsume, tag: str) -> Consumer:
        name = self._name(method.queue)
        found = self._get(name)
        priority = method.arguments.get("x-priority", 0)
        if isinstance(priority, bool) or not isinstance(priority, int):
            kind = method.arguments.types()["x-priority"]
            raise AmqpError(
                Reply.PRECONDITION_FAILED,
                f"invalid arg 'x-priority' for queue '{name}' in vhost '{self._vhost}': "
                f'"expected integer, got {kind}"',
            )
        if isinstance(found, StreamInfo):
            return await self._consume_stream(method, tag, name, found)
        if is_quorum(found):
            self._refuse_global_prefetch(name)
        in_use = AmqpError(
            Reply.ACCESS_REFUSED, f"queue '{name}' in vhost '{self._vhost}' in exclusive use"
        )
        if method.exclusive and found.settings.single_active:
            raise in_use
        try:
            return QueueConsumer(
                self, tag, found, no_ack=method.no_ack, exclusive=method.exclusive,
                priority=priority,
            )  # fmt: skip
        except RefusedError:
            raise in_use from None

    async def _consume_stream(
        self, method: m.BasicConsume, tag: str, name: str, found: StreamInfo
    ) -> Consumer:
        if method.no_ack:
            raise self._not_by_streams("automatic acknowledgement", name)
        if not self.prefetch:
            raise AmqpError(
                Reply.PRECONDITION_FAILED,
                f"consumer prefetch count is not set for 'queue '{name}' in vhost '{self._vhost}''",
            )
        self._refuse_global_prefetch(name)
        offset = method.arguments.get("x-stream-offset")
        return await StreamConsumer.at(self, tag, name, found, offset)

    async def _cancel(self, method: m.BasicCancel) -> None:
        consumer = self.consumers.pop(method.consumer_tag, None)
        if consumer is not None:
            self.connection.consumer_count -= 1
            consumer.stop()
        if not method.no_wait:
            self._say(m.BasicCancelOk(method.consumer_tag))

    async def _basic_get(self, method: m.BasicGet) -> None:
        name = self._name(method.queue)
        connection = self.connection
        found = self._get(name)
        if isinstance(found, StreamInfo):
            raise self._not_by_streams("basic.get", name)
        deliveries = await connection.bus.receive(name, owner=self.owner, held=True)
        if not deliveries:
            self._say(m.BasicGetEmpty())
            return
        (delivery,) = deliveries
        if method.no_ack:
            await connection.bus.settle([delivery.receipt])
            tag = self.ledger.next_tag()
        else:
            tag = self.ledger.deliver(Held(delivery.receipt, None, connection.time()))
        spelled = connection.spell(delivery.message)
        if is_quorum(found):
            spelled = with_count(spelled, delivery, always=True)
        answer = m.BasicGetOk(
            tag, delivery.redelivered, spelled.exchange, spelled.routing_key, found.counts().visible
        )
        connection.write(
            encode_content(
                self.number, answer, spelled.properties, delivery.message.body,
                connection.machine.frame_max,
            )
        )  # fmt: skip

    # settling

    async def _ack(self, method: m.BasicAck) -> None:
        await self._end(method.delivery_tag, Outcome.ACCEPT, multiple=method.multiple)

    async def _nack(self, method: m.BasicNack) -> None:
        outcome = Outcome.RELEASE if method.requeue else Outcome.REJECT
        await self._end(method.delivery_tag, outcome, multiple=method.multiple)

    async def _reject(self, method: m.BasicReject) -> None:
        outcome = Outcome.RELEASE if method.requeue else Outcome.REJECT
        await self._end(method.delivery_tag, outcome, multiple=False)

    async def _end(self, tag: int, outcome: Outcome, *, multiple: bool) -> None:
        if self.mode is Mode.TX:
            before = dict(self.ledger.items())
            held = self.ledger.settle(tag, multiple=multiple)
            if outcome is not Outcome.ACCEPT:
                self._refuse_rejection(held)
            wanted = set(map(id, held))
            numbered = [(number, item) for number, item in before.items() if id(item) in wanted]
            self._settles.append((numbered, outcome))
            return
        held = self.ledger.settle(tag, multiple=multiple)
        if outcome is not Outcome.ACCEPT:
            self._refuse_rejection(held)
        await self._settle(held, outcome)

    def _refuse_rejection(self, held: Sequence[Held]) -> None:
        for each in held:
            if each.receipt is None and each.consumer is not None:
                raise self._not_by_streams("basic.nack and basic.reject", each.consumer.queue)

    async def _settle(self, held: Sequence[Held], outcome: Outcome) -> None:
        receipts = []
        for each in held:
            if each.receipt is not None:
                receipts.append(each.receipt)
            elif each.consumer is not None:
                each.consumer.acknowledged(1)
        if receipts:
            await self.connection.bus.settle(receipts, outcome)

    async def _recover(self, method: m.BasicRecover | m.BasicRecoverAsync) -> None:
        if not method.requeue:
            raise AmqpError(Reply.NOT_IMPLEMENTED, "requeue=false")
        await self._settle(self.ledger.clear(), Outcome.RELEASE)
        if isinstance(method, m.BasicRecover):
            self._say(m.BasicRecoverOk())

    # confirms and transactions

    async def _confirm_select(self, method: m.ConfirmSelect) -> None:
        self.select_confirm()
        if not method.no_wait:
            self._say(m.ConfirmSelectOk())

    async def _tx_select(self, method: m.TxSelect) -> None:
        self.select_tx()
        self._say(m.TxSelectOk())

    def note_publish(self, pending: Pending) -> None:
        """Keep a message until the transaction is committed."""
        limit = self.connection.broker.settings.max_incomplete_bytes
        self._transaction_bytes += len(pending.content.body)
        if self._transaction_bytes > limit:
            raise AmqpError(
                Reply.RESOURCE_ERROR, f"a transaction publishes more than {limit} bytes"
            )
        self._publishes.append(pending)

    async def _tx_commit(self, method: m.TxCommit) -> None:
        self.require_tx()
        publishes, self._publishes = self._publishes, []
        self._transaction_bytes = 0
        settles, self._settles = self._settles, []
        connection = self.connection
        if publishes:
            now = connection.broker.now()
            for each in publishes:
                if each.template.ttl is not None:  # which begins when the message is there
                    each.message.expires_at = now + each.template.ttl
            await connection.publisher.publish(publishes, [each.message for each in publishes])
        for numbered, outcome in settles:
            await self._settle([item for _, item in numbered], outcome)
        await connection.bus.commit().wait()
        if connection.is_current(self):
            self._say(m.TxCommitOk())

    async def _tx_rollback(self, method: m.TxRollback) -> None:
        self.require_tx()
        self._publishes = []
        self._transaction_bytes = 0
        settles, self._settles = self._settles, []
        self.ledger.restore([item for numbered, _ in settles for item in numbered])
        self._say(m.TxRollbackOk())


_Handler: TypeAlias = Callable[[Channel, Any], Awaitable[None]]


def _naming(handler: _Handler, *names: str) -> _Handler:
    """Take the line ends out of `names` first: RabbitMQ does where queues and exchanges are made.

    It does not where they are used, so names with line ends are nobody's there.
    """

    async def handle(channel: Channel, method: m.Method) -> None:
        changed = {}
        for name in names:
            value: str = getattr(method, name)
            if "\n" in value or "\r" in value:
                changed[name] = value.replace("\n", "").replace("\r", "")
        await handler(channel, msgspec.structs.replace(method, **changed) if changed else method)

    return handle


def _reserved(kind: str, name: str) -> AmqpError:
    return AmqpError(Reply.ACCESS_REFUSED, f"{kind} name '{name}' contains reserved prefix 'amq.*'")


_HANDLERS: Final[Mapping[type[m.Method], _Handler]] = {
    m.ChannelFlow: Channel._flow,
    m.ChannelFlowOk: Channel._nothing,
    m.AccessRequest: Channel._access,
    m.ExchangeDeclare: _naming(Channel._exchange_declare, "exchange"),
    m.ExchangeDelete: _naming(Channel._exchange_delete, "exchange"),
    m.ExchangeBind: _naming(Channel._exchange_bind, "source", "destination"),
    m.ExchangeUnbind: _naming(Channel._exchange_unbind, "source", "destination"),
    m.QueueDeclare: _naming(Channel._queue_declare, "queue"),
    m.QueueBind: _naming(Channel._queue_bind, "queue", "exchange"),
    m.QueueUnbind: _naming(Channel._queue_unbind, "queue", "exchange"),
    m.QueuePurge: Channel._queue_purge,
    m.QueueDelete: _naming(Channel._queue_delete, "queue"),
    m.BasicQos: Channel._qos,
    m.BasicConsume: Channel._consume,
    m.BasicCancel: Channel._cancel,
    m.BasicCancelOk: Channel._nothing,
    m.BasicGet: Channel._basic_get,
    m.BasicAck: Channel._ack,
    m.BasicNack: Channel._nack,
    m.BasicReject: Channel._reject,
    m.BasicRecover: Channel._recover,
    m.BasicRecoverAsync: Channel._recover,
    m.ConfirmSelect: Channel._confirm_select,
    m.TxSelect: Channel._tx_select,
    m.TxCommit: Channel._tx_commit,
    m.TxRollback: Channel._tx_rollback,
}
