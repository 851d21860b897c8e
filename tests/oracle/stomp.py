"""A STOMP client that sends the bytes it is told to, and notes all frames that the server sends."""

from __future__ import annotations

import re
import socket
import time
from contextlib import suppress
from typing import Self

TIMEOUT = 10.0
QUIET = 0.3
"""Seconds in which nothing comes, after which nothing more is expected."""
Address = tuple[str, int]

_GENERATED = re.compile(r"/reply-queue/[\w.=+/%-]+|/queue/amq\.gen-[\w-]+|session-[\w=-]+")
OWN = re.compile("@[0-9a-f]{6}")
"""What makes names a test's own."""
_IDENTIFIERS = frozenset({"message-id", "ack"})
_NOT_COMPARED = frozenset(
    {"server", "session", "content-length", "receipt", "receipt-id", "transaction",
     "x-delivery-count"}
)  # fmt: skip
"""Headers that are each server's own, or that only one sends: RabbitMQ passes on some that were for
itself; we name the receipt of a frame that is refused, and count deliveries."""


class Chat:
    """One connection. `heard` has a tuple for each frame: command, headers, body."""

    def __init__(self, address: Address, *, version: str | None = "1.2") -> None:
        self.socket = socket.create_connection(address, TIMEOUT)
        self.heard: list[object] = []
        self.last: dict[str, str] = {}
        """The headers of the last message, as they came."""
        self._bytes = b""
        if version is not None:
            self.say("CONNECT", {"accept-version": version, "host": "/"})
            self.hear()
            self.heard.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say(self, command: str, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        """Send a frame; headers are sent as they are."""
        lines = [command, *(f"{name}:{value}" for name, value in (headers or {}).items())]
        self.write("\n".join(lines).encode() + b"\n\n" + body + b"\0")

    def write(self, data: bytes) -> None:
        """Send bytes."""
        with suppress(ConnectionError):
            self.socket.sendall(data)

    def ask(self, command: str, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        """Send a frame that asks for a receipt, and hear one frame."""
        self.say(command, {**(headers or {}), "receipt": "r"}, body)
        self.hear()

    def hear(self, count: int = 1, quiet: float = TIMEOUT) -> bool:
        """Note so many frames; False at a silence, or at the end."""
        return all(self._hear_one(quiet) for _ in range(count))

    def rest(self, quiet: float = QUIET) -> None:
        """Note all that comes until nothing does for a moment, or the server closes.

        We close after an ERROR, as the specification has it; RabbitMQ does not always.
        """
        while self._hear_one(quiet, silence=False):
            pass

    def _hear_one(self, quiet: float, *, silence: bool = True) -> bool:
        deadline = time.monotonic() + quiet
        while (frame := self._frame()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                if silence:
                    self.heard.append("silence")
                return False
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                continue
            except ConnectionError:
                data = b""
            if not data:
                return False
            self._bytes += data
        command, headers, body = frame
        if command == "MESSAGE":
            self.last = headers
        self.heard.append((command, _plain(headers), _text(body)))
        return True

    def _frame(self) -> tuple[str, dict[str, str], bytes] | None:
        data = self._bytes.lstrip(b"\n")
        head, found, rest = data.partition(b"\n\n")
        if not found:
            return None
        command, *lines = head.decode().split("\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers.setdefault(name, value)
        length = int(headers.get("content-length", rest.find(b"\0")))
        if not 0 <= length < len(rest):
            return None
        self._bytes = rest[length + 1 :]
        return command, headers, rest[:length]


def _plain(headers: dict[str, str]) -> dict[str, str]:
    return {
        name: "ID" if name in _IDENTIFIERS else OWN.sub("", _GENERATED.sub("GENERATED", value))
        for name, value in sorted(headers.items())
        if name not in _NOT_COMPARED or (name == "receipt-id" and "message" not in headers)
    }


def _text(body: bytes) -> str:
    text = body.decode("utf-8", "backslashreplace")
    return OWN.sub("", _GENERATED.sub("GENERATED", text)).rstrip("\n")
