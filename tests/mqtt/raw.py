"""An MQTT client that sends what it is told, right or wrong, and shows every packet it gets."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

from hubbub_mqtt import packets as p
from hubbub_mqtt.decode import Decoder
from hubbub_mqtt.encode import encode
from hubbub_mqtt.packets import Packet, Version
from hubbub_mqtt.properties import NO_PROPERTIES, Properties

WAIT = 10.0
"""Seconds after which something that should have come has not."""

P = TypeVar("P", bound=Packet)


def properties(**fields: Any) -> Properties:
    """Properties, none being the one object for none."""
    return Properties(**fields) if fields else NO_PROPERTIES


class Raw:
    """One connection. Use it as a context manager: leaving it cuts the connection."""

    def __init__(self, address: tuple[str, int], version: Version = Version.V5) -> None:
        self.version = version
        self.sock = socket.create_connection(address, timeout=WAIT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._decoder = Decoder(version=version)
        self._received: list[Packet] = []
        self._ids = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.drop()

    def drop(self) -> None:
        """Cut the connection, as a device does that loses power."""
        self.sock.close()

    def send(self, *packets: Packet | bytes) -> None:
        """Send packets in one piece."""
        self.sock.sendall(
            b"".join(
                each if isinstance(each, bytes) else encode(each, self.version) for each in packets
            )
        )

    def read(self) -> Packet | None:
        """The next packet, whatever it is; None if the server has closed the connection."""
        while not self._received:
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._decoder.feed(data)
            self._received = list(self._decoder)
        return self._received.pop(0)

    def expect(self, kind: type[P]) -> P:
        """The next packet, which must be of this kind."""
        packet = self.read()
        assert isinstance(packet, kind), packet
        return packet

    def closed(self) -> list[Packet]:
        """Wait until the server closes the connection; return what came before."""
        before = []
        while (packet := self.read()) is not None:
            before.append(packet)
        return before

    def quiet(self) -> None:
        """Make sure that nothing else has been sent up to now."""
        self.send(p.Pingreq())
        self.expect(p.Pingresp)

    def packet_id(self) -> int:
        """A packet identifier that was not used before."""
        return next(self._ids)

    # whole exchanges

    def connect(
        self,
        client_id: str = "",
        *,
        clean: bool = True,
        keep_alive: int = 0,
        will: p.Will | None = None,
        user: str | None = None,
        password: bytes | None = None,
        **options: Any,
    ) -> p.Connack:
        """Connect and return the CONNACK."""
        fields = properties(**options)
        self.send(
            p.Connect(client_id, self.version, clean, keep_alive, user, password, will, fields)
        )
        return self.expect(p.Connack)

    def subscribe(self, *filters: str | p.Subscription, qos: int = 0, **fields: Any) -> list[int]:
        """Subscribe and return the reasons."""
        wanted = tuple(
            each if isinstance(each, p.Subscription) else p.Subscription(each, qos)
            for each in filters
        )
        packet_id = self.packet_id()
        self.send(p.Subscribe(packet_id, wanted, properties(**fields)))
        answer = self.expect(p.Suback)
        assert answer.packet_id == packet_id
        return list(answer.reasons)

    def unsubscribe(self, *filters: str) -> list[int]:
        """Unsubscribe and return the reasons."""
        packet_id = self.packet_id()
        self.send(p.Unsubscribe(packet_id, filters))
        answer = self.expect(p.Unsuback)
        assert answer.packet_id == packet_id
        return list(answer.reasons)

    def publish(
        self, topic: str, body: bytes = b"", qos: int = 1, *, retain: bool = False, **fields: Any
    ) -> int:
        """Publish at any QoS until it is done, and return the reason of the last answer."""
        packet_id = self.packet_id() if qos else 0
        self.send(p.Publish(topic, body, qos, retain, False, packet_id, properties(**fields)))
        if qos == 0:
            return 0
        if qos == 1:
            answer: p.Puback | p.Pubcomp = self.expect(p.Puback)
        else:
            received = self.expect(p.Pubrec)
            assert received.packet_id == packet_id
            if received.reason >= 0x80:
                return received.reason
            self.send(p.Pubrel(packet_id))
            answer = self.expect(p.Pubcomp)
        assert answer.packet_id == packet_id
        return answer.reason

    def receive(self) -> p.Publish:
        """The next message, acknowledged to the end."""
        message = self.expect(p.Publish)
        self.acknowledge(message)
        return message

    def acknowledge(self, message: p.Publish) -> None:
        """Acknowledge a message to the end."""
        if message.qos == 1:
            self.send(p.Puback(message.packet_id))
        elif message.qos == 2:
            self.send(p.Pubrec(message.packet_id))
            between = []
            while not isinstance(packet := self.read(), p.Pubrel):
                assert packet is not None
                between.append(packet)
            assert packet.packet_id == message.packet_id
            self._received = between + self._received
            self.send(p.Pubcomp(message.packet_id))

    def disconnect(self, reason: int = 0, **fields: Any) -> None:
        """Disconnect in good order."""
        self.send(p.Disconnect(reason, properties(**fields)))
        assert self.closed() == []
        self.drop()


def bodies(messages: Iterable[p.Publish]) -> list[bytes]:
    """The payloads of messages."""
    return [each.payload for each in messages]
