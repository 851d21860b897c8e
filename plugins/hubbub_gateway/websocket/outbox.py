"""What goes out to one client, and what happens if it does not keep up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from hubbub import (
    Batch,
    Consumption,
    Delivery,
    Framed,
    Message,
    Session,
    TransportClosed,
    WebSocket,
)
from hubbub_gateway.records import Found
from hubbub_gateway.representation import from_delivery, from_message

from .codec import Encoded, encode_answer, encode_message, message_frame, message_start
from .frames import AnyAnswer, Binary, Dropped
from .protocol import ServerConnection, State, Subscription

HIGH_WATER: Final = 256 * 1024
"""Unsent bytes from which on nothing more is taken from queues and streams."""

_CACHE: Final = "hubbub.v1"
"""Marks what is kept in a batch for the next subscriber."""


class Outbox:
    """Sends to one client.

    Nothing here waits. A client that does not read is sent no more of queues and streams above
    `HIGH_WATER`; messages of live subscriptions are dropped above `slow_bytes`, and the client is
    told how many when it reads again. If it reads nothing for the listener's write timeout, it is
    disconnected.
    """

    def __init__(
        self,
        websocket: WebSocket,
        machine: ServerConnection,
        bus: Session,
        binary: Binary,
        slow_bytes: int,
        spawn: Callable[[Callable[[], Awaitable[object]]], None],
    ) -> None:
        self._websocket = websocket
        self._machine = machine
        self._bus = bus
        self._binary: Binary = binary
        self._slow_bytes = slow_bytes
        self._spawn = spawn
        self._consumptions: set[Consumption] = set()
        self._dropped: dict[Subscription, int] = {}
        self._congested = False
        self._batch_key = (_CACHE, binary)

    @property
    def _open(self) -> bool:
        return self._machine.state is State.OPEN and self._websocket.close_code is None

    def send(self, answer: AnyAnswer) -> None:
        """Send anything but a message."""
        self._websocket.send(encode_answer(answer))

    async def drain(self) -> None:
        """Wait until the client has read most of what was sent.

        Raises:
            TransportClosed: it is gone, or has read nothing for too long.
        """
        await self._websocket.drain()

    # queues: consumptions stop while the client does not keep up

    def attach(self, consumption: Consumption) -> None:
        """Let a consumption stop while the client does not keep up."""
        self._consumptions.add(consumption)
        if self._congested:
            consumption.pause()

    def detach(self, consumption: Consumption) -> None:
        """Forget a consumption."""
        self._consumptions.discard(consumption)

    def _note_congestion(self) -> None:
        if not self._congested:
            self._congested = True
            for consumption in self._consumptions:
                consumption.pause()
            self._spawn(self._recover)

    async def _recover(self) -> None:
        try:
            await self._websocket.drain()
        except TransportClosed:
            return  # the one who reads is told as well
        self._congested = False
        dropped, self._dropped = self._dropped, {}
        for subscription, count in dropped.items():
            if not subscription.ended:
                self.send(Dropped(subscription=subscription.name, count=count))
        for consumption in tuple(self._consumptions):
            consumption.resume()

    # messages

    def send_deliveries(self, subscription: Subscription, deliveries: Sequence[Delivery]) -> None:
        """Send what a queue hands over."""
        if not self._open:
            if not subscription.acked:
                self._bus.lost("connection closed", len(deliveries), deliveries[0].queue)
            return  # the end of the connection gives leases back
        name, binary = subscription.name, self._binary
        frames: list[str | bytes] = []
        for delivery in deliveries:
            message = delivery.message
            # The bus makes no copies with `retain`: this one was put there for a new subscription.
            retained = message.retain and message.origin_id is not None
            if subscription.acked:
                form = from_delivery(delivery)
                number = self._machine.deliver(subscription, delivery.receipt)
                start = message_start(name, delivery=number, retained=retained)
            else:
                form = from_message(message)
                start = message_start(name, retained=retained)
            frames.append(message_frame(start, encode_message(form, message.body, binary)))
        self._write(Framed(frames))

    def send_batch(self, subscription: Subscription, batch: Batch) -> None:
        """Send what was published; frames are made once for all subscriptions of a name."""
        if not self._open:
            return
        transport = self._websocket.transport
        if transport.buffered > self._slow_bytes:
            transport.flush()  # a burst of this turn does not make a client slow
            if transport.buffered > self._slow_bytes:
                self._drop(subscription, batch.messages)
                return
        key = (_CACHE, self._binary, subscription.name)
        framed: Framed | None = batch.cache.get(key)
        if framed is None:
            encoded: list[Encoded] | None = batch.cache.get(self._batch_key)
            if encoded is None:
                encoded = [self._encode(message) for message in batch.messages]
                batch.cache[self._batch_key] = encoded
            start = message_start(subscription.name)
            framed = batch.cache[key] = Framed([message_frame(start, each) for each in encoded])
        self._write(framed)

    def _drop(self, subscription: Subscription, messages: Sequence[Message]) -> None:
        count = len(messages)
        self._bus.lost("slow subscriber", count, messages[0].address)
        self._dropped[subscription] = self._dropped.get(subscription, 0) + count
        self._note_congestion()

    def send_retained(self, subscription: Subscription, message: Message) -> None:
        """Send a message that was retained before the subscription was made."""
        start = message_start(subscription.name, retained=True)
        self._write(Framed([message_frame(start, self._encode(message))]))

    def send_records(
        self, subscription: Subscription, records: Iterable[Found], tag: object
    ) -> None:
        """Send records of a stream; `tag` comes back with the acknowledgement of each."""
        if not self._open:
            return
        frames: list[str | bytes] = []
        for found in records:
            number = self._machine.deliver(subscription, tag) if subscription.acked else None
            start = message_start(subscription.name, delivery=number, cursor=found.cursor)
            encoded = encode_message(found.describe(), found.message.body, self._binary)
            frames.append(message_frame(start, encoded))
        self._write(Framed(frames))

    def _encode(self, message: Message) -> Encoded:
        return encode_message(from_message(message), message.body, self._binary)

    def _write(self, framed: Framed) -> None:
        self._websocket.send_framed(framed)
        if self._websocket.transport.buffered > HIGH_WATER:
            self._note_congestion()
