"""Consumers: of queues, of streams, and of direct replies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from hubbub import (
    Batch,
    Consumption,
    Delivery,
    HubbubError,
    Position,
    QueueInfo,
    Receipt,
    Record,
    StreamInfo,
    StreamReader,
    Window,
    parse_age,
    positions_at_last,
    positions_at_latest,
    positions_at_oldest,
    positions_at_sequence,
    positions_at_time,
)

from .declaring import LABEL, Declaration
from .encode import DeliverEncoder, encode_method_frame
from .errors import AmqpError, Reply
from .exchanges import shown
from .mapping import PROTOCOL, Spelled, routing_size
from .methods import BasicCancel
from .wire import FieldValue, Int64

if TYPE_CHECKING:
    from .channels import Channel
    from .connection import Connection

_BATCH: Final = 256
"""Deliveries that are made at once to a consumer without a prefetch limit."""
_FIRST_BATCH: Final = 16
_BATCH_BYTES: Final = 1024 * 1024
_STREAM_READ: Final = 256
_FIRST_SEQUENCE: Final = 1
"""The sequence number of a stream's first record, whose offset is 0."""


class Held(NamedTuple):
    """A delivery that is not acknowledged; `receipt` is None for a record of a stream."""

    receipt: Receipt | None
    consumer: Consumer | None
    since: float


class Pace(Window):
    """Lets a queue go on as long as the client reads, and never in larger batches than it should.

    It bounds what is delivered at once, not what is unsettled: `used` starts anew with each batch.
    """

    __slots__ = ("_connection", "batch")

    def __init__(self, connection: Connection) -> None:
        super().__init__(None)
        self.batch = _FIRST_BATCH
        self._connection = connection

    @property
    def room(self) -> int:
        """Deliveries that may be made now."""
        return 0 if self._connection.is_full else self.batch - self.used

    def give_back(self, count: int = 1) -> None:
        """Pass over it: what is settled makes no room in a batch."""

    def delivered(self, count: int, size: int) -> None:
        """Note what the last batch was like; begin the next one."""
        self.batch = max(1, min(_BATCH, _BATCH_BYTES * count // (size + 1)))
        self.used = 0
        if self.waiting and not self._connection.is_full:
            self.wake()


class Consumer:
    """What consumers have in common: a tag on a channel, and how to send."""

    def __init__(self, channel: Channel, tag: str, queue: str, *, no_ack: bool) -> None:
        self.channel = channel
        self.tag = tag
        self.queue = queue
        self.no_ack = no_ack
        self.timeout = channel.connection.broker.settings.consumer_timeout or inf
        """Seconds in which a delivery must be acknowledged."""
        self.encoder = DeliverEncoder(channel.number, tag, channel.connection.machine.frame_max)

    def start(self) -> None:
        """Begin to deliver; the client knows its tag by now."""
        raise NotImplementedError

    def stop(self) -> None:
        """Deliver nothing more."""
        raise NotImplementedError

    def resume(self) -> None:
        """Go on: the client has taken what was waiting."""

    def acknowledged(self, count: int) -> None:
        """Note that deliveries were settled."""

    def ended(self, reason: str) -> None:
        """Note that the queue is gone, and tell the client."""
        channel = self.channel
        if channel.consumers.pop(self.tag, None) is None:
            return
        connection = channel.connection
        connection.consumer_count -= 1
        if connection.machine.has_capability("consumer_cancel_notify"):
            cancel = encode_method_frame(channel.number, BasicCancel(self.tag, True))
            if connection.postponed is None:
                connection.write(cancel)
            else:
                connection.postponed.append(cancel)


class QueueConsumer(Consumer):
    """A consumer of a queue: the queue pushes, windows say how much."""

    def __init__(
        self,
        channel: Channel,
        tag: str,
        queue: QueueInfo,
        *,
        no_ack: bool,
        exclusive: bool,
        priority: int,
    ) -> None:
        super().__init__(channel, tag, queue.name, no_ack=no_ack)
        declared = Declaration.read(queue.settings.labels.get(LABEL))
        if declared is not None and declared.consumer_timeout is not None:
            self.timeout = declared.consumer_timeout
        self.prefetch = channel.prefetch or None
        self._pace = Pace(channel.connection)
        # Nothing may come before consume-ok: until `start` there is no room.
        self._window = Window(0)
        self._counts_deliveries = declared is not None and declared.type == "quorum"
        self._seen: bytes | None = None
        self._routing_size = 0
        windows: tuple[Window, ...] = (self._pace, self._window)
        # Without acks nothing counts against the channel's limit, but it holds all its consumers.
        if not no_ack or channel.window.limit is not None:
            windows += (channel.window,)
        self._consumption: Consumption = channel.connection.bus.consume(
            queue.name,
            self._deliver,
            owner=channel.owner,
            windows=windows,
            settled=no_ack,
            exclusive=exclusive,
            priority=priority,
            cancelled=self.ended,
        )

    def start(self) -> None:
        """Begin to deliver."""
        self._window.resize(None if self.no_ack else self.prefetch)

    def stop(self) -> None:
        """Deliver nothing more."""
        self.channel.connection.bus.end_consumption(self._consumption)

    def resume(self) -> None:
        """Go on: the client has taken what was waiting."""
        self._pace.wake()

    def _deliver(self, deliveries: list[Delivery]) -> None:
        channel = self.channel
        ledger, no_ack, encode = channel.ledger, self.no_ack, self.encoder.encode
        since = trio.current_time()
        pieces: list[bytes] = []
        size = 0
        for delivery in deliveries:
            message = delivery.message
            wire = message.wire
            if (
                wire is not None
                and wire.protocol == PROTOCOL
                and not message.deaths
                and not self._counts_deliveries
            ):
                data = wire.data
                if data is not self._seen:
                    self._seen = data
                    self._routing_size = routing_size(data)
                routing = self._routing_size
            else:
                routing, data = self._spell(delivery)
            tag = (
                ledger.next_tag() if no_ack else ledger.deliver(Held(delivery.receipt, self, since))
            )
            body = message.body
            size += len(body) + len(data)
            encode(pieces, tag, delivery.redelivered, routing, data, body)
        channel.connection.write(b"".join(pieces))
        self._pace.delivered(len(deliveries), size)

    def _spell(self, delivery: Delivery) -> Spelled:
        spelled = self.channel.connection.spell(delivery.message)
        return with_count(spelled, delivery) if self._counts_deliveries else spelled


def with_count(spelled: Spelled, delivery: Delivery, *, always: bool = False) -> Spelled:
    """Tell, as quorum queues do, how often a message was delivered before; `always`: if never."""
    if delivery.receives == 1 and not always:
        return spelled
    return spelled.with_headers({"x-delivery-count": Int64(delivery.receives - 1)})


def is_quorum(queue: QueueInfo) -> bool:
    """Whether a queue was declared as a quorum queue."""
    declared = Declaration.read(queue.settings.labels.get(LABEL))
    return declared is not None and declared.type == "quorum"


class StreamConsumer(Consumer):
    """A consumer of a stream: it reads on while the client acknowledges."""

    def __init__(
        self, channel: Channel, tag: str, queue: str, positions: Mapping[int, Position], least: int
    ) -> None:
        super().__init__(channel, tag, queue, no_ack=False)
        self._credit = channel.prefetch
        self._reader = StreamReader(channel.connection.bus, queue, positions)
        self._least = least
        """The least sequence number that is wanted: an offset may be one that is still to come."""
        self._scope = trio.CancelScope()
        self._stir = trio.Event()

    @classmethod
    async def at(
        cls, channel: Channel, tag: str, queue: str, stream: StreamInfo, offset: FieldValue
    ) -> StreamConsumer:
        """Return a consumer that begins at an `x-stream-offset`. Raises `AmqpError`."""
        where = f"queue '{queue}' in vhost '{channel.connection.vhost_name}'"
        positions = await _start(stream, offset, channel.connection.broker.now(), where)
        least = offset + _FIRST_SEQUENCE if isinstance(offset, int) else 0
        return cls(channel, tag, queue, positions, least)

    def start(self) -> None:
        """Begin to deliver."""
        self.channel.connection.spawn(self._run)

    def stop(self) -> None:
        """Deliver nothing more."""
        self._scope.cancel()

    def resume(self) -> None:
        """Go on: the client has taken what was waiting."""
        self._stir.set()

    def acknowledged(self, count: int) -> None:
        """Go on reading."""
        self._credit += count
        self._stir.set()

    async def _run(self) -> None:
        with self._scope:
            try:
                while True:
                    await self._wait_for_room()
                    records = await self._reader.read_or_wait(
                        min(self._credit, _STREAM_READ), max_bytes=_BATCH_BYTES
                    )
                    wanted = [each for each in records if each.sequence >= self._least]
                    if wanted:
                        self._deliver(wanted)
            except HubbubError as error:
                self.ended(str(error))

    async def _wait_for_room(self) -> None:
        while self._credit <= 0 or self.channel.connection.is_full:
            self._stir = trio.Event()
            await self._stir.wait()

    def _deliver(self, records: list[Record]) -> None:
        channel = self.channel
        since = trio.current_time()
        pieces: list[bytes] = []
        for record in records:
            message = record.message
            spelled = channel.connection.spell(message)
            offset = Int64(record.sequence - _FIRST_SEQUENCE)
            spelled = spelled.with_headers({"x-stream-offset": offset})
            tag = channel.ledger.deliver(Held(None, self, since))
            self.encoder.encode(pieces, tag, False, *spelled, message.body)
        self._credit -= len(records)
        channel.connection.write(b"".join(pieces))


async def _start(
    stream: StreamInfo, offset: FieldValue, now: int, where: str
) -> dict[int, Position]:
    """Return where an `x-stream-offset` tells to begin, by shard. Raises `AmqpError`."""
    if offset is None or offset == "next":
        return positions_at_latest(stream)
    if offset == "first":
        return positions_at_oldest(stream)
    if offset == "last":
        return positions_at_last(stream)
    if isinstance(offset, datetime):
        return await positions_at_time(stream, int(offset.timestamp() * 1000))
    if isinstance(offset, str) and (age := parse_age(offset)) is not None:
        return await positions_at_time(stream, now - age * 1000)
    if isinstance(offset, int) and not isinstance(offset, bool):
        return positions_at_sequence(stream, offset + _FIRST_SEQUENCE)
    raise AmqpError(
        Reply.PRECONDITION_FAILED,
        f"invalid arg 'x-stream-offset' for {where}: "
        f'{{invalid_stream_offset_arg,{{longstr,<<"{shown(offset)}">>}}}}',
    )


class ReplyConsumer(Consumer):
    """Takes direct replies, which go to nobody else and are kept nowhere."""

    def __init__(self, channel: Channel, tag: str, queue: str, token: str) -> None:
        super().__init__(channel, tag, queue, no_ack=True)
        self._token = token
        self._id = ""

    def start(self) -> None:
        """Begin to take replies."""
        bus = self.channel.connection.bus
        address = f"$amqp/reply/{self._token}"
        bus.adopt(address)
        self._id = bus.subscribe(address, self._deliver).id
        self.channel.connection.host.replies.add(self._token)
        self.channel.reply_to = self._token

    def stop(self) -> None:
        """Take no more."""
        self.channel.connection.bus.unsubscribe(self._id)
        self.channel.connection.host.replies.discard(self._token)
        self.channel.reply_to = None

    def _deliver(self, batch: Batch) -> None:
        channel = self.channel
        connection = channel.connection
        if connection.is_full:
            connection.bus.lost("slow consumer", len(batch.messages), batch.messages[0].address)
            return
        pieces: list[bytes] = []
        for message in batch.messages:
            spelled = connection.spell(message)
            tag = channel.ledger.next_tag()
            self.encoder.encode(pieces, tag, False, *spelled, message.body)
        connection.write(b"".join(pieces))
