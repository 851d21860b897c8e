"""A client that says what it is told to, byte for byte, and notes all that the server answers."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Self

from pamqp import commands, frame, header
from pamqp.body import ContentBody
from pamqp.header import ContentHeader, ProtocolHeader
from pamqp.heartbeat import Heartbeat

TIMEOUT = 10.0
QUIET = 0.25
"""Seconds in which nothing comes, after which nothing more is expected."""
CAPABILITIES = {
    "publisher_confirms": True,
    "consumer_cancel_notify": True,
    "basic.nack": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
}
Address = tuple[str, int]

_GENERATED = re.compile(r"(amq\.gen-|amq\.ctag-|amq\.rabbitmq\.reply-to\.)[\w.=+/-]{16,}")
OWN = re.compile("@[0-9a-f]{6}")
"""What makes names a test's own."""
_OURS = ("x-last-death-exchange", "x-last-death-queue", "x-last-death-reason")
"""Headers that RabbitMQ sends from 3.13 on."""
_ASYNCHRONOUS = ("Basic.Deliver", "Basic.Return", "Basic.Ack", "Basic.Nack", "Basic.Cancel")


class ClosedError(Exception):
    """The server closed a channel or the connection, or hung up."""


class Talk:
    """One connection. `answers` has what came in reply, `deliveries` what came by itself.

    `confirms` has, by number, what became of messages, however the server has put them together.
    """

    def __init__(
        self,
        address: Address,
        *,
        user: str = "guest",
        password: str = "guest",
        vhost: str = "/",
        tune: commands.Connection.TuneOk | None = None,
        channels: Iterable[int] = (1,),
        capabilities: dict[str, bool] | None = None,
        open_: bool = True,
        heard: Talk | None = None,
    ) -> None:
        self.socket = socket.create_connection(address, TIMEOUT)
        self.answers: list[object] = [] if heard is None else heard.answers
        self.deliveries: list[object] = [] if heard is None else heard.deliveries
        self.confirms: dict[int, str] = {}
        self.tag = 0
        """The delivery tag of the last message that came."""
        self.name = ""
        """The name of the queue that was declared last."""
        self._bytes = b""
        self._confirmed = 0
        self._frame_max = 4096
        if open_:
            try:
                self._open(user, password, vhost, tune, channels, capabilities)
            except BaseException:
                self.socket.close()
                raise

    def _open(
        self,
        user: str,
        password: str,
        vhost: str,
        tune: commands.Connection.TuneOk | None,
        channels: Iterable[int],
        capabilities: dict[str, bool] | None,
    ) -> None:
        self.say(ProtocolHeader())
        self.expect("Connection.Start")
        known = CAPABILITIES if capabilities is None else capabilities
        self.say(
            commands.Connection.StartOk(
                {"capabilities": dict(known), "product": "oracle"}, "PLAIN",
                f"\0{user}\0{password}",
            )
        )  # fmt: skip
        offer = self.expect("Connection.Tune")
        tune = tune or commands.Connection.TuneOk(offer.channel_max, offer.frame_max, 0)
        self._frame_max = tune.frame_max or 131_072
        self.say(tune)
        self.say(commands.Connection.Open(vhost))
        self.expect("Connection.OpenOk")
        for channel in channels:
            self.say(commands.Channel.Open(), channel)
            self.expect("Channel.OpenOk")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    # speaking

    def say(self, method: Any, channel: int | None = None) -> None:
        """Send a method; on channel 1 unless it is about the connection."""
        if channel is None:
            plain = isinstance(method, Heartbeat | ProtocolHeader)
            channel = 0 if plain or method.name.startswith("Connection.") else 1
        with suppress(ConnectionError):
            self.socket.sendall(frame.marshal(method, channel))

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        with suppress(ConnectionError):
            self.socket.sendall(data)

    def publish(
        self,
        exchange: str,
        key: str,
        body: bytes = b"x",
        /,
        *,
        mandatory: bool = False,
        immediate: bool = False,
        channel: int = 1,
        **properties: Any,
    ) -> None:
        """Publish a message."""
        self.say(
            commands.Basic.Publish(
                exchange=exchange, routing_key=key, mandatory=mandatory, immediate=immediate
            ),
            channel,
        )
        made = commands.Basic.Properties(**properties)
        self.write(frame.marshal(ContentHeader(0, len(body), made), channel))
        step = self._frame_max - 8
        for start in range(0, len(body), step):
            self.write(frame.marshal(ContentBody(body[start : start + step]), channel))

    # listening

    def ask(self, method: Any, channel: int | None = None) -> Any:
        """Send a method and wait for its answer, which is noted.

        Raises:
            ClosedError: the channel or the connection was closed instead.
        """
        self.say(method, channel)
        return self.answer()

    def answer(self) -> Any:
        """Wait for the next answer, and note it."""
        while True:
            got = self.read(TIMEOUT)
            if got is None:
                self.answers.append("silence")
                raise ClosedError
            if self._note(got):
                return got[1]

    def hear(self, count: int = 1) -> None:
        """Wait until that many messages more have come by themselves."""
        wanted = len(self.deliveries) + count
        while len(self.deliveries) < wanted:
            got = self.read(TIMEOUT)
            if got is None:
                self.deliveries.append("silence")
                return
            self._note(got)

    def until(self, queue: str, messages: int) -> None:
        """Wait until so many messages are in a queue; note the answer that says so, or the last."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            found = self.ask(commands.Queue.Declare(queue=queue, passive=True))
            if found.message_count == messages or time.monotonic() > deadline:
                return
            self.answers.pop()

    def confirmed(self, upto: int) -> None:
        """Wait until the messages up to a number are confirmed."""
        while any(number not in self.confirms for number in range(1, upto + 1)):
            got = self.read(TIMEOUT)
            if got is None:
                self.answers.append("no confirm")
                return
            self._note(got)

    def rest(self, quiet: float = QUIET) -> None:
        """Note all that comes until nothing does for a moment."""
        with suppress(ClosedError):
            while (got := self.read(quiet)) is not None:
                self._note(got)

    def expect(self, name: str) -> Any:
        """Wait for a method of this name, which is not noted."""
        got = self.read(TIMEOUT)
        if got is not None and got[1] is not None and got[1].name == name:
            return got[1]
        if got is None:
            self.answers.append("silence")
        else:
            self._note(got)
        raise ClosedError

    def _note(self, got: tuple[int, Any, Any, bytes]) -> bool:
        """Note what came; tell whether it answers something."""
        channel, method, properties, body = got
        if method is None:
            self.answers.append("hung up")
            raise ClosedError
        if isinstance(method, Heartbeat | ProtocolHeader):
            self.answers.append(type(method).__name__)
            return True
        name = method.name
        if name in {"Basic.Ack", "Basic.Nack"}:
            first = self._confirmed + 1 if method.multiple else method.delivery_tag
            for number in range(first, method.delivery_tag + 1):
                self.confirms.setdefault(number, name)
            while self._confirmed + 1 in self.confirms:
                self._confirmed += 1
            return False
        fields = {key: _plain(value) for key, value in method}
        said: list[object] = [channel, name, fields]
        if properties is not None:
            said += [_properties(properties), body]
        if name == "Queue.DeclareOk":
            self.name = method.queue
        if name in {"Basic.Deliver", "Basic.GetOk"}:
            self.tag = method.delivery_tag
        if name in _ASYNCHRONOUS:
            self.deliveries.append(tuple(said))
            return False
        self.answers.append(tuple(said))
        if name == "Channel.Close":
            self.say(commands.Channel.CloseOk(), channel)
            raise ClosedError
        if name == "Connection.Close":
            self.say(commands.Connection.CloseOk())
            raise ClosedError
        return True

    def read(self, timeout: float) -> tuple[int, Any, Any, bytes] | None:
        """Read a method with its content; method None: the end; None: nothing came in time."""
        deadline = time.monotonic() + timeout
        first = self._frame(deadline)
        if first is None or first[1] is None:
            return None if first is None else (0, None, None, b"")
        channel, method = first
        if getattr(method, "name", "") not in {"Basic.Deliver", "Basic.Return", "Basic.GetOk"}:
            return channel, method, None, b""
        head = self._frame(deadline + TIMEOUT)
        assert head is not None
        assert isinstance(head[1], ContentHeader)
        body = b""
        while len(body) < head[1].body_size:
            part = self._frame(deadline + TIMEOUT)
            assert part is not None
            body += part[1].value
        return channel, method, head[1].properties, body

    def _frame(self, deadline: float) -> tuple[int, Any] | None:
        while True:
            if self._bytes:
                with suppress(Exception):
                    used, channel, value = frame.unmarshal(self._bytes)
                    if used:
                        self._bytes = self._bytes[used:]
                        return channel, value
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                return None
            except ConnectionError:
                data = b""
            if not data:
                return 0, None
            self._bytes += data


def _properties(properties: commands.Basic.Properties) -> dict[str, Any]:
    return {key: _plain(value) for key, value in properties if value not in (None, "")}


def _plain(value: Any, key: str = "") -> Any:
    """Make a value comparable: names that were generated and times are replaced."""
    if isinstance(value, str):
        return OWN.sub("", _GENERATED.sub(r"\1GENERATED", value))
    if isinstance(value, dict):
        return {name: _plain(each, name) for name, each in value.items() if name not in _OURS}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return "TIME" if key == "time" else value


__all__ = ["ClosedError", "Talk", "commands", "header"]
