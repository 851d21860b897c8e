"""A hub that serves STOMP on real sockets, and a client that sends and reads bytes."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hubbub.config import load_config
from hubbub.testing.hub import ServedHub, serve_in_thread
from hubbub_stomp.decode import Decoder
from hubbub_stomp.encode import encode
from hubbub_stomp.frames import Frame, Version

SETTINGS: dict[str, Any] = {
    "hub": {"durability": "memory"},
    "log": {"level": "error"},
    "admin": {"enabled": False},
    "plugins": {"enable": ["stomp"]},
    "stomp": {
        "listener": {"bind": ["127.0.0.1:0"]},
        "websocket": {"listener": {"bind": ["127.0.0.1:0"]}},
        "min_heart_beat": 0.05,
        "realms": ["other"],
    },
}
TIMEOUT = 10.0


class Client:
    """A client that does what a test says, and nothing else."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, TIMEOUT)
        self.version = Version.V12
        self.raw = b""
        """All that was read."""
        self._decoder = Decoder(version=Version.V12)
        self._frames: list[Frame] = []

    def write(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send(self, command: str, body: bytes = b"", /, **headers: str) -> None:
        """Send a frame; `_` in a name stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.write(encode(command, named, body, self.version))

    def connect(self, version: str = "1.2", **headers: str) -> Frame:
        """Connect as a client of one version; return CONNECTED, or the ERROR."""
        self.version = self._decoder.version = Version(version)
        self.send("CONNECT", accept_version=version, **{"host": "/"} | headers)
        return self.read()

    def read(self) -> Frame:
        """Return the next frame; fail at the end of the connection."""
        while not self._frames:
            data = self.socket.recv(65536)
            assert data, "the server has closed the connection"
            self.raw += data
            self._frames += self._decoder.decode(data)
            assert self._decoder.error is None
        return self._frames.pop(0)

    def expect(self, command: str) -> Frame:
        """Return the next frame, which is of this command."""
        frame = self.read()
        assert frame.command == command, (frame.headers, frame.body)
        return frame

    def confirmed(self, command: str, body: bytes = b"", /, **headers: str) -> None:
        """Send a frame and wait for its receipt, the next frame that comes."""
        self.send(command, body, receipt="confirm", **headers)
        assert self.expect("RECEIPT").headers["receipt-id"] == "confirm"

    def confirmed_among_messages(self, command: str, **headers: str) -> None:
        """Send a frame and wait for its receipt, passing over messages that come first."""
        self.send(command, receipt="confirm", **headers)
        while (frame := self.read()).command == "MESSAGE":
            pass
        assert (frame.command, frame.headers["receipt-id"]) == ("RECEIPT", "confirm")

    def subscribe(self, destination: str, ack: str = "auto", id: str = "1", **more: str) -> None:  # noqa: A002
        self.confirmed("SUBSCRIBE", destination=destination, id=id, ack=ack, **more)

    def rest(self) -> bytes:
        """Read until the server closes; return all bytes since the last frame was read."""
        start = len(self.raw)
        while data := self.socket.recv(65536):
            self.raw += data
        return self.raw[start:]

    def close(self) -> None:
        self.socket.close()


@pytest.fixture(scope="module")
def hub() -> Iterator[ServedHub]:
    with serve_in_thread(load_config(settings=SETTINGS)) as served:
        yield served


@pytest.fixture
def new_client(hub: ServedHub) -> Iterator[Callable[[], Client]]:
    """Make clients that are not connected yet."""
    clients: list[Client] = []

    def make() -> Client:
        clients.append(Client(hub.address("stomp")))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(new_client: Callable[[], Client]) -> Client:
    """A connected client of 1.2."""
    made = new_client()
    made.connect()
    return made


@pytest.fixture
def other(new_client: Callable[[], Client]) -> Client:
    """Another one."""
    made = new_client()
    made.connect()
    return made


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    return f"{request.node.name.partition('[')[0]}-{next(_NUMBERS)}"


_NUMBERS = itertools.count()
