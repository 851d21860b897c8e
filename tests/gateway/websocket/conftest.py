"""Clients of `hubbub.v1` that do what a test says: on the library `websockets`, which blocks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from hubbub.testing.hub import ServedHub

TIMEOUT = 10.0
SUBPROTOCOL = "hubbub.v1"
Frame = dict[str, Any]
NewClient = Callable[..., "Client"]


class Client:
    """One connection. Frames are plain objects of JSON; a binary one's body is its `body`."""

    def __init__(
        self, url: str, *, headers: dict[str, str] | None = None, offer: tuple[str, ...] = ()
    ) -> None:
        self.url = url
        self._stack = ExitStack()
        connecting = connect(
            url,
            subprotocols=[SUBPROTOCOL, *offer],  # type: ignore[list-item]
            additional_headers=headers,
            open_timeout=TIMEOUT,
            close_timeout=TIMEOUT,
            max_size=None,
            proxy=None,
        )
        self.socket: ClientConnection = self._stack.enter_context(connecting)
        self._kept: list[Frame] = []

    def send(self, op: str, **members: Any) -> None:
        self.socket.send(json.dumps({"op": op, **members}))

    def send_binary(self, frame: Frame, body: bytes) -> None:
        text = json.dumps(frame).encode()
        self.socket.send(len(text).to_bytes(4, "big") + text + body)

    def _receive(self) -> Frame:
        data = self.socket.recv(timeout=TIMEOUT)
        if isinstance(data, str):
            frame: Frame = json.loads(data)
            return frame
        end = 4 + int.from_bytes(data[:4], "big")
        frame = json.loads(data[4:end])
        assert "body" not in frame["message"]
        frame["message"]["body"] = data[end:]
        return frame

    def read(self) -> Frame:
        """Return the next frame."""
        return self._kept.pop(0) if self._kept else self._receive()

    def expect(self, op: str) -> Frame:
        """Return the next frame, which is of this kind."""
        frame = self.read()
        assert frame["op"] == op, frame
        return frame

    def ask(self, op: str, **members: Any) -> Frame:
        """Send a request and return its answer; messages that come before it are kept."""
        id_ = members.setdefault("id", f"request-{op}")
        self.send(op, **members)
        return self.answer(id_)

    def answer(self, id_: object) -> Frame:
        """Return the answer to a request; what comes before it is kept."""
        while True:
            frame = self._receive()
            if frame.get("id") == id_:
                return frame
            self._kept.append(frame)

    def done(self, op: str, **members: Any) -> Frame:
        """Send a request that succeeds."""
        answer = self.ask(op, **members)
        assert answer["op"] in {"ok", "subscribed", "welcome", "pong"}, answer
        return answer

    def refused(self, op: str, **members: Any) -> Frame:
        """Send a request that fails; return its problem."""
        answer = self.ask(op, **members)
        assert answer["op"] == "error", answer
        problem: Frame = answer["problem"]
        return problem

    def hello(self, **members: Any) -> Frame:
        return self.done("hello", **members)

    def message(self) -> Frame:
        """Return the next frame, a message: its `message`, with the frame's members beside."""
        frame = self.expect("message")
        return {**frame["message"], "frame": frame}

    def bodies(self, count: int) -> list[Any]:
        return [self.message()["body"] for _ in range(count)]

    def closed(self) -> tuple[int, str]:
        """Read to the end; return code and reason of the server's close."""
        with suppress(ConnectionClosed):
            while True:
                self.socket.recv(timeout=TIMEOUT)
        assert self.socket.close_code is not None
        return self.socket.close_code, self.socket.close_reason or ""

    def quiet(self) -> None:
        """Fail if anything comes before the answer to a ping."""
        self.send("ping", id="quiet")
        assert self.read()["op"] == "pong"

    def vanish(self) -> None:
        """Drop the connection without a word."""
        self.socket.socket.close()

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def new_client(hub: ServedHub) -> Iterator[NewClient]:
    """Make clients; with `hello` members, or greeted already."""
    clients: list[Client] = []

    def make(**members: Any) -> Client:
        client = Client(hub.endpoint("WebSocket").url)
        clients.append(client)
        client.hello(**members)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def ws(new_client: NewClient) -> Client:
    """A client that is let in."""
    return new_client()


@pytest.fixture
def other(new_client: NewClient) -> Client:
    """Another one."""
    return new_client()
