"""Real clients, unmodified: stomp.py over TCP, TLS and WebSocket, and a WebSocket client alone."""

from __future__ import annotations

import queue
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import websocket

import stomp  # type: ignore[import-untyped]
from hubbub.config import load_config
from hubbub.testing.hub import ServedHub, serve_in_thread
from hubbub_stomp.decode import Decoder
from hubbub_stomp.frames import Frame, Version

from .conftest import SETTINGS

TIMEOUT = 10.0
Make = Callable[..., Any]


class Listener(stomp.ConnectionListener):  # type: ignore[misc]
    """Puts all that comes into a queue."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def on_message(self, frame: Any) -> None:
        self.events.put(("message", frame))

    def on_receipt(self, frame: Any) -> None:
        self.events.put(("receipt", frame.headers["receipt-id"]))

    def on_error(self, frame: Any) -> None:
        self.events.put(("error", frame))

    def on_disconnected(self) -> None:
        self.events.put(("disconnected", None))

    def next(self, kind: str) -> Any:
        found, value = self.events.get(timeout=TIMEOUT)
        assert found == kind, (found, value)
        return value


@pytest.fixture
def make(hub: ServedHub) -> Iterator[Make]:
    """Connect by stomp.py; returns the connection and its listener."""
    made: list[Any] = []

    def connect(kind: Any = stomp.Connection12, **options: Any) -> tuple[Any, Listener]:
        connection = kind([hub.address("stomp")], **options)
        listener = Listener()
        connection.set_listener("", listener)
        connection.connect(wait=True)
        made.append(connection)
        return connection, listener

    yield connect
    for connection in made:
        if connection.is_connected():
            connection.disconnect()


KINDS = [stomp.Connection10, stomp.Connection11, stomp.Connection12]


@pytest.mark.parametrize("kind", KINDS)
def test_queue(make: Make, name: str, kind: Any) -> None:
    connection, listener = make(kind)
    options = {} if kind is stomp.Connection10 else {"id": "1"}
    connection.subscribe(f"/queue/{name}", ack="auto", **options)
    connection.send(f"/queue/{name}", "größe", content_type="text/plain", headers={"own": "a b"})
    frame = listener.next("message")
    assert frame.body == "größe"
    assert frame.headers["own"] == "a b"
    assert frame.headers["content-type"] == "text/plain"
    connection.disconnect(receipt="bye")
    listener.next("disconnected")  # which stomp.py tells when the receipt has come, and before it
    assert listener.next("receipt") == "bye"


@pytest.mark.parametrize("kind", KINDS)
def test_acknowledge(make: Make, name: str, kind: Any) -> None:
    connection, listener = make(kind)
    connection.subscribe(f"/queue/{name}", id="1", ack="client")
    connection.send(f"/queue/{name}", "one")
    first = listener.next("message")
    if kind is stomp.Connection10:
        connection.ack(first.headers["message-id"], receipt="done")
    elif kind is stomp.Connection11:
        connection.nack(first.headers["message-id"], "1")
        again = listener.next("message")
        assert again.headers["redelivered"] == "true"
        connection.ack(again.headers["message-id"], "1", receipt="done")
    else:
        connection.nack(first.headers["ack"])
        again = listener.next("message")
        assert again.headers["redelivered"] == "true"
        connection.ack(again.headers["ack"], receipt="done")
    assert listener.next("receipt") == "done"


def test_transaction(make: Make, name: str) -> None:
    connection, listener = make()
    connection.subscribe(f"/queue/{name}", id="1")
    for end in (connection.abort, connection.commit):
        transaction = connection.begin()
        connection.send(f"/queue/{name}", end.__name__, transaction=transaction)
        end(transaction)
    assert listener.next("message").body == "commit"


def test_heart_beats(make: Make) -> None:
    connection, listener = make(heartbeats=(500, 500))
    connection.subscribe("/topic/beats", id="1")
    with pytest.raises(queue.Empty):
        listener.events.get(timeout=1.6)  # either side gives up before that
    assert connection.is_connected()


def test_error(make: Make) -> None:
    connection, listener = make()
    connection.send("/nope/x", "x")
    assert listener.next("error").headers["message"] == "Unknown destination"
    listener.next("disconnected")


def test_request_and_reply(make: Make, name: str) -> None:
    server, requests = make()
    client, replies = make()
    server.subscribe(f"/queue/{name}", id="1")
    client.send(f"/queue/{name}", "?", headers={"reply-to": "/temp-queue/r"})
    server.send(requests.next("message").headers["reply-to"], "!")
    assert replies.next("message").body == "!"


def test_wildcards(make: Make, name: str) -> None:
    connection, listener = make()
    connection.subscribe(f"/topic/{name}.*", id="1")
    connection.send(f"/topic/{name}.a.b", "too deep")
    connection.send(f"/topic/{name}.a", "right")
    assert listener.next("message").body == "right"


# TLS


def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    pem = tmp_path / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(pem))
    settings = SETTINGS | {
        "stomp": {
            "listener": {"bind": []},
            "tls": {"bind": ["127.0.0.1:0"], "tls": {"certificate": str(pem)}},
        }
    }
    with serve_in_thread(load_config(settings=settings)) as hub:
        address = ("localhost", hub.address("stomp over tls")[1])
        connection = stomp.Connection12([address])
        ca = tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(str(ca))
        connection.set_ssl([address], ca_certs=str(ca), ssl_version=ssl.PROTOCOL_TLS_CLIENT)
        listener = Listener()
        connection.set_listener("", listener)
        connection.connect(wait=True)
        connection.subscribe("/queue/tls", id="1")
        connection.send("/queue/tls", "x")
        assert listener.next("message").body == "x"
        connection.disconnect()


# WebSocket


class Socket:
    """STOMP as stompjs speaks it: a frame in a message, text or binary."""

    def __init__(self, url: str, protocols: list[str]) -> None:
        self.socket = websocket.create_connection(url, TIMEOUT, subprotocols=protocols)
        self._decoder = Decoder(version=Version.V12)
        self._frames: list[Frame] = []
        self.kinds: list[type] = []

    def read(self) -> Frame:
        while not self._frames:
            data = self.socket.recv()
            self.kinds.append(type(data))
            self._frames += self._decoder.decode(data.encode() if isinstance(data, str) else data)
        return self._frames.pop(0)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("path", ["/ws", "/stomp"])
def test_websocket(hub: ServedHub, name: str, path: str, binary: bool) -> None:
    url = hub.endpoint("stomp over websocket").url.removesuffix("/ws") + path
    client = Socket(url, ["v12.stomp", "v11.stomp"])
    assert client.socket.subprotocol == "v12.stomp"
    send = client.socket.send_binary if binary else client.socket.send
    send(b"CONNECT\naccept-version:1.2\nhost:%s\n\n\0" % (b"localhost" if binary else b"/"))
    assert client.read().command == "CONNECTED"
    send(b"SUBSCRIBE\nid:1\ndestination:/queue/%s\n\n\0" % name.encode())
    send(b"SEND\ndestination:/queue/%s\n\n\xc3\xbc\0" % name.encode())
    assert client.read().body == "ü".encode()
    client.socket.send_binary(
        b"SEND\ndestination:/queue/%s\ncontent-length:1\n\n\xff\0" % name.encode()
    )
    assert client.read().body == b"\xff"
    assert client.kinds == [str, str, bytes]
    send(b"DISCONNECT\nreceipt:1\n\n\0")
    assert client.read().command == "RECEIPT"
    client.socket.close()


def test_stomp_py_over_websocket(hub: ServedHub, name: str) -> None:
    connection = stomp.WSStompConnection([hub.address("stomp over websocket")], ws_path="/stomp")
    listener = Listener()
    connection.set_listener("", listener)
    connection.connect(wait=True)
    connection.subscribe(f"/queue/{name}", id="1")
    connection.send(f"/queue/{name}", "größe")
    assert listener.next("message").body == "größe"
    connection.disconnect()


def test_other_paths_are_not_found(hub: ServedHub) -> None:
    url = hub.endpoint("stomp over websocket").url.removesuffix("/ws") + "/other"
    with pytest.raises(websocket.WebSocketBadStatusException, match="404"):
        websocket.create_connection(url, TIMEOUT)
