"""Slow, silent and hostile clients; and the end."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.sync.client import connect

from hubbub.config import load_config
from hubbub.testing import ServedHub, serve_in_thread
from tests.gateway.conftest import SETTINGS

from .conftest import SUBPROTOCOL, TIMEOUT, Client


@contextmanager
def serving(**websocket: Any) -> Iterator[ServedHub]:
    gateway = {**SETTINGS["gateway"], "websocket": websocket}
    with serve_in_thread(load_config(settings={**SETTINGS, "gateway": gateway})) as hub:
        yield hub


@contextmanager
def client_of(hub: ServedHub, **hello: Any) -> Iterator[Client]:
    client = Client(hub.endpoint("WebSocket").url)
    try:
        client.hello(**hello)
        yield client
    finally:
        client.close()


def wait_until(condition: Callable[[], bool], timeout: float = TIMEOUT) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def strict() -> Iterator[ServedHub]:
    with serving(
        max_frame_bytes=2_000,
        max_subscriptions=2,
        max_credit=3,
        max_sessions=1,
        slow_subscriber_bytes=20_000,
        max_queued_messages=5,
    ) as hub:
        yield hub


def test_no_hello() -> None:
    with serving(hello_timeout=0.2) as hub:
        client = Client(hub.endpoint("WebSocket").url)
        assert client.closed() == (4408, "no hello came in time")
        client.close()


def test_an_idle_client(name: str) -> None:
    with serving(idle_timeout=1.0) as hub, client_of(hub) as client:
        client.done("subscribe", pattern=name)
        time.sleep(1.2)  # somebody who is subscribed may wait for ever
        client.done("unsubscribe", subscription="1")
        code, reason = client.closed()
        assert (code, reason[:15]) == (4408, "no subscription")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (json.dumps({"op": "ping", "id": "x" * 3000}), 1009),
        (b"x" * 2001, 1009),
    ],
)
def test_frames_that_are_too_big(strict: ServedHub, data: str | bytes, code: int) -> None:
    with client_of(strict) as client:
        client.socket.send(data)
        assert client.closed()[0] == code


def test_bad_utf_8(strict: ServedHub) -> None:
    with client_of(strict) as client:
        client.socket.send(b"\xff", text=True)
        assert client.closed()[0] == 1007


def test_subscriptions_and_credit_have_limits(strict: ServedHub, name: str) -> None:
    with client_of(strict) as client:
        assert client.done("consume", queue=name)["credit"] == 3
        assert client.done("consume", queue=f"{name}-2", credit=9)["credit"] == 3
        assert client.refused("subscribe", pattern=name)["type"] == "/problems/refused"
        for queue in (name, f"{name}-2"):
            for _ in range(2):
                client.done("publish", to=f"$queue/{queue}")
        numbers = [client.message()["frame"]["delivery"] for _ in range(3)]
        client.quiet()  # three is the most of the whole connection
        client.done("ack", delivery=numbers)
        assert client.message()["frame"]["delivery"] == 4


def test_sessions_of_a_user_have_a_limit(strict: ServedHub, name: str) -> None:
    with client_of(strict, session=name) as client:
        client.done("subscribe", pattern=name, ack=True)
        assert "the most" in client.refused("subscribe", pattern=name, ack=True)["detail"]
        client.done("unsubscribe", subscription="1")


def test_the_queue_of_a_subscription_has_a_limit(strict: ServedHub, name: str) -> None:
    with client_of(strict) as client:
        client.done("subscribe", pattern=name, ack=True, credit=0)
        for number in range(8):
            client.done("publish", to=name, message={"body": str(number)})
        client.done("credit", subscription="1", credit=1)
        assert client.message()["body"] == "3"


def test_a_slow_subscriber_is_told_what_it_missed(strict: ServedHub, name: str) -> None:
    with client_of(strict) as publisher, client_of(strict) as quick, slow_client(strict) as slow:
        slow.send(json.dumps({"op": "hello", "id": 0}))
        slow.send(json.dumps({"op": "subscribe", "id": 1, "pattern": name, "subscription": "s"}))
        assert [json.loads(slow.recv())["op"] for _ in range(2)] == ["welcome", "subscribed"]
        quick.done("subscribe", pattern=name)
        total, body = 6_000, "x" * 1_500
        few = 10  # less than makes a subscriber slow, whenever it is given time to read
        for _ in range(total // few):
            for _ in range(few):
                publisher.send("publish", to=name, message={"body": body})
            quick.bodies(few)
            publisher.done("ping")
        received = dropped = 0
        while received + dropped < total:
            frame = json.loads(slow.recv(timeout=TIMEOUT))
            if frame["op"] == "dropped":
                assert frame["subscription"] == "s"
                dropped += frame["count"]
            else:
                assert frame["op"] == "message"
                received += 1
        assert received + dropped == total
        assert received > 0
        assert dropped > 0
        meters = strict.hub.meters
        assert meters.dropped["slow subscriber"] >= dropped


@contextmanager
def slow_client(hub: ServedHub) -> Iterator[Any]:
    """Connect with small buffers, and read only when told to."""
    host, port = hub.address("WebSocket")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
    sock.connect((host, port))
    with connect(
        f"ws://{host}:{port}/ws",
        sock=sock,
        subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
        max_queue=1,
        compression=None,
        close_timeout=0.1,
        proxy=None,
    ) as client:
        yield client


def test_a_slow_consumer_is_sent_no_more_than_it_reads(strict: ServedHub, name: str) -> None:
    with client_of(strict) as publisher, slow_client(strict) as slow:
        slow.send(json.dumps({"op": "hello"}))
        slow.send(json.dumps({"op": "consume", "queue": name, "ack": False}))
        publisher.done("ping")
        body = "x" * 1_500
        total = 6_000  # more than the buffers of the operating system take
        for _ in range(total):
            publisher.send("publish", to=f"$queue/{name}", message={"body": body})
        publisher.done("ping")
        queue = strict.hub.engine.find_queue("default", name)
        assert queue is not None
        assert strict.call(lambda: queue.counts().visible) > 0
        got = 0
        while got < total:
            got += json.loads(slow.recv(timeout=TIMEOUT))["op"] == "message"


def test_garbage_is_answered_and_hurts_nobody(strict: ServedHub) -> None:
    with client_of(strict) as client:
        for data in ("", "null", "{}", "[" * 1_000, "\0", b"", b"\xff\xff\xff\xff", b"\0" * 100):
            client.socket.send(data)
            assert client.read()["problem"]["type"] == "/problems/bad-frame"
        client.done("ping")


# the end


def test_a_hub_that_stops_says_so(name: str) -> None:
    with serving() as hub, client_of(hub) as client:
        client.done("consume", queue=name)
        for number in range(50):
            client.send("publish", id=number, to=f"$queue/{name}")
        client.answer(49)
        hub.stop()
        assert client.closed() == (1001, "the hub is stopping")


# many


def test_a_thousand_idle_clients_cost_little_and_leave_nothing(name: str) -> None:
    count = 1_000
    with serving(hello_timeout=60) as hub, client_of(hub) as witness:

        def clients() -> int:
            return hub.hub.meters.protocol("websocket").clients

        settled = hub.call(lambda: len(list(hub.hub.engine.queues("default"))))
        address = hub.address("WebSocket")
        greeted, silent = connections(address, count, HELLO), connections(address, 50, b"")
        try:
            wait_until(lambda: clients() == count + 1, 60)
            witness.done("subscribe", pattern=name)
            witness.done("publish", to=name, message={"body": "served meanwhile"})
            assert witness.message()["body"] == "served meanwhile"
        finally:
            for each in (*greeted, *silent):
                each.close()
        wait_until(lambda: clients() == 1, 60)
        assert hub.call(lambda: len(list(hub.hub.engine.queues("default")))) == settled


HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: hubbub.v1\r\n\r\n"
)
HELLO = HANDSHAKE + b"\x81\x8e\0\0\0\0" + b'{"op":"hello"}'


def connections(address: tuple[str, int], count: int, data: bytes) -> list[socket.socket]:
    """Open connections, send the same on all, and read nothing."""
    made = [socket.create_connection(address, TIMEOUT) for _ in range(count)]
    for each in made:
        each.sendall(data or HANDSHAKE)
    return made


def test_a_client_that_vanishes_in_the_middle_of_a_frame(strict: ServedHub) -> None:
    with client_of(strict) as witness:
        (rude,) = connections(strict.address("WebSocket"), 1, HELLO + b"\x81\xfe")
        rude.close()
        witness.done("ping")
