"""What needs a hub of its own: users, restarts, deadlines, slow clients, the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hubbub.config import load_config
from hubbub.testing.hub import ServedHub, serve_in_thread

from .conftest import SETTINGS, Client
from .test_server import counts, publish, wait_until


@contextmanager
def serving(sections: dict[str, Any] | None = None, **stomp: Any) -> Iterator[ServedHub]:
    settings = SETTINGS | {"stomp": SETTINGS["stomp"] | stomp} | (sections or {})
    with serve_in_thread(load_config(settings=settings)) as hub:
        yield hub


@contextmanager
def connecting(hub: ServedHub, **headers: str) -> Iterator[Client]:
    client = Client(hub.address("stomp"))
    try:
        client.connect(**headers)
        yield client
    finally:
        client.close()


USERS = """
[auth]
anonymous = "never"
[[users]]
name = "guest"
password = "guest"
permissions = [
    { action = ["*"], resource = ["$queue/mine/#", "mine/#"] },
    { action = ["publish"], resource = ["$queue/theirs"] },
]
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedHub]:
    path = tmp_path_factory.mktemp("guarded") / "hubbub.toml"
    path.write_text(USERS)
    with serve_in_thread(load_config(path, settings=SETTINGS)) as hub:
        yield hub


def test_nobody_without_a_name(guarded: ServedHub) -> None:
    with connecting(guarded) as client:
        assert b"Access refused for user ''" in client.raw


def test_a_wrong_password(guarded: ServedHub) -> None:
    with connecting(guarded, login="guest", passcode="no") as client:
        assert b"Access refused for user 'guest'" in client.raw


@pytest.mark.parametrize(
    ("command", "destination", "action"),
    [
        ("SEND", "/queue/other", "configure '$queue/other'"),
        ("SEND", "/queue/theirs", "configure '$queue/theirs'"),
        ("SEND", "/topic/other", "publish 'other'"),
        ("SUBSCRIBE", "/queue/other", "configure '$queue/other'"),
        ("SUBSCRIBE", "/topic/other.#", "subscribe 'other/#'"),
        ("SUBSCRIBE", "/topic/#", "subscribe '#'"),
    ],
)
def test_what_is_not_allowed(
    guarded: ServedHub, command: str, destination: str, action: str
) -> None:
    with connecting(guarded, login="guest", passcode="guest") as client:
        client.send(command, destination=destination, id="1", receipt="r")
        frame = client.expect("ERROR")
        assert frame.headers["message"] == "access_refused"
        assert frame.headers["receipt-id"] == "r"
        assert action in frame.body.decode()


def test_dead_letters_go_where_a_client_may_send(guarded: ServedHub) -> None:
    headers = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "theirs"}
    with connecting(guarded, login="guest", passcode="guest") as client:
        client.send("SEND", destination="/queue/mine%2Fdead", receipt="r", **headers)
        client.expect("RECEIPT")
        headers["x-dead-letter-routing-key"] = "other"
        client.send("SEND", destination="/queue/mine%2Fmore", receipt="r", **headers)
        assert "publish '$queue/other'" in client.expect("ERROR").body.decode()


@pytest.mark.parametrize("ack", ["auto", "client"])
def test_what_is_allowed(guarded: ServedHub, ack: str) -> None:
    with connecting(guarded, login="guest", passcode="guest") as client:
        client.subscribe("/topic/mine.#", ack, id="1")
        client.subscribe(f"/queue/mine%2F{ack}", ack, id="2")
        client.send("SEND", b"1", destination="/topic/mine.a", reply_to="/temp-queue/x")
        reply_to = client.expect("MESSAGE").headers["reply-to"]
        assert reply_to.startswith("/reply-queue/")
        client.send("SEND", b"2", destination=f"/queue/mine%2F{ack}")
        assert client.expect("MESSAGE").body == b"2"


def test_what_was_confirmed_outlives_the_hub(tmp_path: Path) -> None:
    stored = {"hub": {"data": str(tmp_path / "data"), "durability": "full"}}
    durable = {"durable": "true", "auto-delete": "false"}
    with serving(stored) as hub, connecting(hub) as client:
        client.subscribe("/topic/t", "client", selector="n > 1", **durable)
        client.confirmed("UNSUBSCRIBE", id="1")
        headers = {"persistent": "true", "a:b": "c\n"}
        for number in range(50):
            client.send("SEND", b"%d" % number, destination="/queue/q", receipt="1", **headers)
        for _ in range(50):
            client.expect("RECEIPT")
        client.confirmed("SEND", b"gone", destination="/queue/q")
    with serving(stored) as hub, connecting(hub) as client:
        for number in (1, 2):
            client.send("SEND", b"%d" % number, destination="/topic/t", n=str(number))
        client.send("SUBSCRIBE", destination="/queue/q", id="q")
        frames = [client.expect("MESSAGE") for _ in range(50)]
        assert [frame.body for frame in frames] == [b"%d" % number for number in range(50)]
        assert frames[0].headers["a:b"] == "c\n"
        assert counts(hub, "q").visible == 0


def test_a_selector_is_kept_with_its_durable_subscription(tmp_path: Path) -> None:
    stored = {"hub": {"data": str(tmp_path / "data"), "durability": "full"}}
    settings = {"durable": "true", "selector": "convert_string_expressions:n > 1"}
    with serving(stored) as hub, connecting(hub) as client:
        client.subscribe("/topic/t", "client", **settings)
    with serving(stored) as hub, connecting(hub) as client:
        for number in (1, 2):
            client.confirmed("SEND", b"%d" % number, destination="/topic/t", n=str(number))
        client.send("SUBSCRIBE", destination="/topic/t", id="1", ack="client", **settings)
        assert client.expect("MESSAGE").body == b"2"


def test_a_client_that_never_connects_is_cut_off() -> None:
    with serving(connect_timeout=0.05) as hub:
        client = Client(hub.address("stomp"))
        client.write(b"CONNECT\n")
        assert client.rest() == b""
        client.close()


def test_stopping_tells_clients() -> None:
    with serving() as hub:
        silent, client = Client(hub.address("stomp")), Client(hub.address("stomp"))
        client.connect()
        hub.call(hub.hub.shutdown.request, 10.0)
        assert client.expect("ERROR").headers["message"] == "Server stopping"
        assert silent.rest() == b""
        client.close()
        silent.close()


def test_a_slow_subscriber_of_a_topic_loses_and_the_loss_is_counted() -> None:
    with serving(slow_subscriber_bytes=1_000_000) as hub, connecting(hub) as fast:
        client = Client(hub.address("stomp"))
        client.connect()
        client.subscribe("/topic/t")
        fast.subscribe("/topic/t")
        for _ in range(200):
            publish(hub, address="t", body=b"x" * 100_000)
            fast.expect("MESSAGE")
        dropped = hub.call(lambda: dict(hub.hub.meters.dropped))
        assert dropped["slow subscriber"] > 100
        client.close()


@pytest.mark.parametrize("ack", ["auto", "client"])
def test_a_slow_consumer_of_a_queue_leaves_the_rest_in_it(ack: str) -> None:
    with serving() as hub, connecting(hub) as fast:
        client = Client(hub.address("stomp"))
        client.connect()
        for _ in range(3):
            fast.confirmed("SEND", b"x" * 300_000, destination="/queue/q")
        client.send("SUBSCRIBE", destination="/queue/q", id="1", ack=ack)
        wait_until(lambda: counts(hub, "q").visible == 0)
        for _ in range(60):
            fast.confirmed("SEND", b"x" * 300_000, destination="/queue/q")
        assert counts(hub, "q").visible > 20
        for _ in range(63):
            assert len(client.expect("MESSAGE").body) == 300_000
        client.close()


def test_temporary_queues_go_with_their_connection() -> None:
    with serving() as hub, connecting(hub) as client:
        client.confirmed("SEND", b"x", destination="/queue/q", reply_to="/temp-queue/r")
        names: Callable[[], set[str]] = lambda: {each.name for each in hub.hub.all_queues()}  # noqa: E731
        assert len(hub.call(names)) == 2
        client.close()
        wait_until(lambda: hub.call(names) == {"q"})


def test_limits_of_frames() -> None:
    with serving(max_body_bytes=1024, max_headers=10, max_header_bytes=1024) as hub:
        for data in (
            b"SEND\ndestination:/queue/q\ncontent-length:1025\n\n",
            b"SEND\ndestination:/queue/q\n\n" + b"x" * 1025,
            b"SEND\n" + b"a:b\n" * 11 + b"\n\0",
            b"SEND\n" + b"a" * 1100,
        ):
            with connecting(hub) as client:
                client.write(data)
                assert client.expect("ERROR").headers["message"] == "Frame too large"
