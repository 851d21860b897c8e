"""AMQP clients that send what they are told to."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from typing import Any

from hubbub_amqp import methods as m
from hubbub_amqp.decode import Content, Decoder, Heartbeat, Item, MethodFrame
from hubbub_amqp.encode import encode_method_frame
from hubbub_amqp.wire import FieldValue, Table

from .vectors import HEADER

CAPABLE: Mapping[str, FieldValue] = {"capabilities": {"authentication_failure_close": True}}


class Greeted:
    """A client that was greeted, and has not said who it is."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=10)
        self._decoder = Decoder(0)
        self._items: list[Item] = []
        self._socket.sendall(HEADER)
        self.mechanisms: str = self.expect(m.ConnectionStart).mechanisms.decode()

    def log_in(
        self, mechanism: str, response: bytes, properties: Mapping[str, FieldValue] = CAPABLE
    ) -> None:
        """Begin to say who it is."""
        self.say(m.ConnectionStartOk(Table(properties), mechanism, response, "en_US"), 0)

    def open(self, vhost: str = "/", heartbeat: int = 0) -> None:
        """Ask for a virtual host: the client is known by now."""
        tune = self.expect(m.ConnectionTune)
        self.say(m.ConnectionTuneOk(tune.channel_max, tune.frame_max, heartbeat), 0)
        self.say(m.ConnectionOpen(vhost), 0)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def say(self, method: m.Method, channel: int = 1) -> None:
        self.send(encode_method_frame(channel, method))

    def _receive(self) -> Item:
        while not self._items:
            data = self._socket.recv(65536)
            if not data:
                raise EOFError
            self._items += self._decoder.decode(data)
        return self._items.pop(0)

    def expect(self, kind: type[Any]) -> Any:
        item = self._receive()
        assert isinstance(item, MethodFrame), item
        assert isinstance(item.method, kind), item
        return item.method

    def contents(self, count: int) -> int:
        """Receive so many messages."""
        for _ in range(count):
            assert isinstance(self._receive(), Content)
        return count

    def contents_among(self, count: int) -> int:
        """Receive so many messages among other things."""
        found = 0
        while found < count:
            found += isinstance(self._receive(), Content)
        return found

    def heartbeats_until_closed(self) -> int:
        """Say nothing and count heartbeats until the server loses patience."""
        count = 0
        with contextlib.suppress(EOFError, ConnectionResetError):
            while isinstance(self._receive(), Heartbeat):
                count += 1
        self._socket.close()
        return count

    def refused(self) -> tuple[int, str]:
        close = self.expect(m.ConnectionClose)
        self.say(m.ConnectionCloseOk(), 0)
        assert self._socket.recv(1) == b""
        self._socket.close()
        return close.reply_code, close.reply_text

    def drop(self) -> None:
        """Close the socket, whatever there was to say."""
        self._socket.close()

    def close(self) -> None:
        self.say(m.ConnectionClose(200, "bye"), 0)
        self.expect(m.ConnectionCloseOk)
        self._socket.close()


class Wire(Greeted):
    """A client that has asked for a virtual host, if the server takes its password."""

    def __init__(
        self,
        address: tuple[str, int],
        vhost: str = "/",
        password: bytes = b"guest",
        heartbeat: int = 0,
    ) -> None:
        super().__init__(address)
        self.log_in("PLAIN", b"\0guest\0" + password)
        if password == b"guest":
            self.open(vhost, heartbeat)
