"""What lasts, what ends, who may: restarts, crashes, deadlines, TLS, permissions."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pika  # type: ignore[import-untyped]
import pika.exceptions  # type: ignore[import-untyped]
import pytest
import trustme

from hubbub import Config, load_config
from hubbub.testing import HubProcess
from hubbub.testing.hub import ServedHub, serve_in_thread
from hubbub_amqp import methods as m
from hubbub_amqp.decode import Decoder
from hubbub_amqp.encode import PROTOCOL_HEADER
from hubbub_amqp.wire import Table

from .conftest import make_config
from .wire import Wire

DEADLINE = 15.0
CONFIG = """
[admin]
enabled = false
[plugins]
enable = ["amqp"]
[amqp.listener]
bind = ["127.0.0.1:0"]
"""

Serve = Callable[..., ServedHub]
Connect = Callable[..., Any]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(config: Config | None = None, **amqp: Any) -> ServedHub:
            return stack.enter_context(serve_in_thread(config or make_config(**amqp)))

        yield start


@pytest.fixture
def process(tmp_path: Path) -> Iterator[HubProcess]:
    with HubProcess(tmp_path, CONFIG) as process:
        yield process


@pytest.fixture
def connect() -> Iterator[Callable[..., Any]]:
    """Make connections that are closed in the end, whatever has become of the server."""
    made: list[Any] = []

    def make(port: int, **options: Any) -> Any:
        made.append(
            pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port, **options))
        )
        return made[-1]

    yield make
    for connection in made:
        with contextlib.suppress(pika.exceptions.AMQPError):
            connection.close()


def opened(hub: ServedHub) -> Wire:
    """A raw client with a channel."""
    wire = Wire(hub.address("AMQP"))
    wire.expect(m.ConnectionOpenOk)
    wire.say(m.ChannelOpen())
    wire.expect(m.ChannelOpenOk)
    return wire


def fill(channel: Any) -> None:
    """Declare one of each kind, and publish."""
    channel.exchange_declare("x", "topic", durable=True)
    channel.exchange_declare("passing", "fanout")
    channel.exchange_declare("y", "x-delayed-message", durable=True,
                             arguments={"x-delayed-type": "headers"})  # fmt: skip
    channel.queue_declare("kept", durable=True, arguments={"x-max-priority": 3})
    channel.queue_declare("passing")
    channel.queue_declare("log", durable=True, arguments={"x-queue-type": "stream"})
    channel.queue_bind("kept", "x", "a.#")
    channel.queue_bind("log", "x", "#")
    channel.exchange_bind("y", "x", "to.y")
    channel.queue_bind("kept", "y", "", {"h": 1})
    channel.confirm_delivery()
    for number in range(10):
        properties = pika.BasicProperties(delivery_mode=1 + number % 2, headers={"h": 1})
        channel.basic_publish("x", "a.b", b"%d" % number, properties)


def check(channel: Any) -> None:
    """See that what should last did, works as before, and is what it was declared as."""
    channel.exchange_declare("x", "topic", durable=True)
    channel.exchange_declare("y", "x-delayed-message", durable=True,
                             arguments={"x-delayed-type": "headers"})  # fmt: skip
    declared = channel.queue_declare("kept", durable=True, arguments={"x-max-priority": 3})
    assert declared.method.message_count == 5
    channel.queue_declare("log", durable=True, arguments={"x-queue-type": "stream"})
    got = [channel.basic_get("kept", auto_ack=True)[2] for _ in range(5)]
    assert got == [b"1", b"3", b"5", b"7", b"9"]
    channel.basic_publish("x", "to.y", b"by y", pika.BasicProperties(headers={"h": 1}))
    assert channel.basic_get("kept", auto_ack=True)[2] == b"by y"
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        channel.exchange_declare("passing", passive=True)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_restart(process: HubProcess, how: str, connect: Connect) -> None:
    connection = connect(process.port("AMQP"))
    fill(connection.channel())
    if how == "stop":
        connection.close()
    getattr(process, how)()
    process.start()
    again = connect(process.port("AMQP"))
    check(again.channel())


def test_delays_and_unacknowledged_messages_survive_a_crash(
    process: HubProcess, connect: Connect
) -> None:
    channel = connect(process.port("AMQP")).channel()
    channel.exchange_declare("later", "x-delayed-message", durable=True,
                             arguments={"x-delayed-type": "fanout"})  # fmt: skip
    channel.queue_declare("q", durable=True)
    channel.queue_bind("q", "later")
    channel.confirm_delivery()
    durable = pika.BasicProperties(delivery_mode=2)
    channel.basic_publish("", "q", b"held", durable)
    channel.basic_publish(
        "later", "", b"late", pika.BasicProperties(delivery_mode=2, headers={"x-delay": 300})
    )
    assert channel.basic_get("q")[2] == b"held"
    process.kill()
    process.start()
    connection = connect(process.port("AMQP"))
    channel = connection.channel()
    got: list[bytes] = []
    deadline = time.monotonic() + DEADLINE
    while len(got) < 2:
        assert time.monotonic() < deadline
        body = channel.basic_get("q", auto_ack=True)[2]
        if body is not None:
            got.append(body)
    assert got == [b"held", b"late"]


def test_the_server_says_that_it_stops(serve: Serve) -> None:
    hub = serve()
    wire = opened(hub)
    hub.stop()
    assert wire.refused() == (
        320,
        "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
    )


def test_a_silent_client_is_cut_off(serve: Serve) -> None:
    hub = serve(handshake_timeout=0.1)
    with socket.create_connection(hub.address("AMQP"), timeout=DEADLINE) as client:
        client.sendall(b"AMQP")
        assert client.recv(1) == b""


def test_heartbeats_both_ways(serve: Serve) -> None:
    hub = serve(heartbeat=1)
    wire = Wire(hub.address("AMQP"), heartbeat=1)
    wire.expect(m.ConnectionOpenOk)
    begin = time.monotonic()
    assert wire.heartbeats_until_closed() >= 2
    assert time.monotonic() - begin >= 2


def test_a_consumer_that_forgets_to_acknowledge(serve: Serve, connect: Connect) -> None:
    hub = serve(consumer_timeout=0.2)
    connection = connect(hub.address("AMQP")[1])
    channel = connection.channel()
    channel.queue_declare("q")
    channel.basic_publish("", "q", b"x")
    channel.basic_consume("q", lambda *_: None)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught:
        channel.start_consuming()
    assert caught.value.reply_code == 406
    assert caught.value.reply_text == (
        "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used:"
        " 200 ms. This timeout value can be configured, see consumers doc guide to learn more"
    )
    assert connection.channel().basic_get("q")[2] == b"x"


def test_the_consumer_timeout_of_one_queue(serve: Serve, connect: Connect) -> None:
    hub = serve()
    connection = connect(hub.address("AMQP")[1])
    channel = connection.channel()
    channel.queue_declare("patient")
    channel.queue_declare("hasty", arguments={"x-consumer-timeout": 150})
    for queue in ("patient", "hasty"):
        channel.basic_publish("", queue, b"x")
        channel.basic_consume(queue, lambda *_: None)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match=r"value used: 150 ms"):
        channel.start_consuming()


def test_a_client_that_does_not_read_does_not_hold_up_the_end(connect: Connect) -> None:
    config = make_config()
    with serve_in_thread(config) as hub:
        sender = connect(hub.address("AMQP")[1]).channel()
        sender.queue_declare("q")
        wire = opened(hub)
        wire.say(m.BasicConsume(0, "q", "t", False, False, False, False, Table()))
        wire.expect(m.BasicConsumeOk)
        for _ in range(40):
            sender.basic_publish("", "q", b"x" * 1_000_000)
        assert sender.queue_declare("q", passive=True).method.message_count > 0
        sender.connection.close()
        started = time.monotonic()
    assert time.monotonic() - started < config.hub.stop_deadline - 1
    wire.drop()


def test_a_message_that_is_too_large(serve: Serve, connect: Connect) -> None:
    hub = serve(max_message_size=1000)
    connection = connect(hub.address("AMQP")[1])
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_publish("", "q", b"x" * 1000)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught:
        channel.basic_publish("", "q", b"x" * 1001)
    assert caught.value.reply_text == (
        "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000"
    )
    connection.channel().queue_declare("q")


def test_consumers_are_counted(serve: Serve, connect: Connect) -> None:
    hub = serve(max_consumers=2)
    connection = connect(hub.address("AMQP")[1])
    channel = connection.channel()
    channel.queue_declare("q")
    for _ in range(2):
        channel.basic_consume("q", lambda *_: None)
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as caught:
        channel.basic_consume("q", lambda *_: None)
    assert caught.value.reply_text == "NOT_ALLOWED - a connection has at most 2 consumers"


def test_a_consumer_that_does_not_read_stops_only_itself(serve: Serve, connect: Connect) -> None:
    hub = serve()
    publisher = connect(hub.address("AMQP")[1])
    channel = publisher.channel()
    for queue in ("slow", "fast"):
        channel.queue_declare(queue)
        channel.queue_bind(queue, "amq.fanout")
    wire = opened(hub)
    wire.say(m.BasicConsume(0, "slow", "t", False, True, False, False, Table()))
    wire.expect(m.BasicConsumeOk)
    count, body = 300, b"x" * 100_000
    for _ in range(count):
        channel.basic_publish("amq.fanout", "", body)
    for _ in range(count):
        assert channel.basic_get("fast", auto_ack=True)[2] == body
    waiting = channel.queue_declare("slow", passive=True).method.message_count
    assert 0 < waiting < count
    assert wire.contents(count) == count
    wire.close()


# who may


def restricted(tmp_path: Path, text: str = "") -> Config:
    file = tmp_path / "hubbub.toml"
    file.write_text(
        CONFIG
        + """
[hub]
durability = "memory"
[log]
level = "error"
[auth]
anonymous = "never"
[[users]]
name = "app"
password = "secret"
certificates = ["app.example"]
[[users.permissions]]
action = ["publish", "consume", "configure"]
resource = ["$queue/mine"]
"""
        + text
    )
    return load_config(file)


OWN_EXCHANGE = """
[[users.permissions]]
action = ["configure", "subscribe"]
resource = ["own/#"]
"""


def test_permissions(serve: Serve, tmp_path: Path, connect: Connect) -> None:
    port = serve(restricted(tmp_path, OWN_EXCHANGE)).address("AMQP")[1]
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        connect(port)
    connection = connect(port, credentials=pika.PlainCredentials("app", "secret"))
    channel = connection.channel()
    channel.queue_declare("mine")
    channel.basic_publish("", "mine", b"x")
    assert channel.basic_get("mine")[2] == b"x"
    for act, text in (
        (lambda c: c.queue_declare("other"), "queue 'other'"),
        (lambda c: c.exchange_declare("x"), "exchange 'x'"),
        (lambda c: c.queue_bind("mine", "amq.direct", "k"), "exchange 'amq.direct'"),
        (lambda c: publish_surely(c, "amq.direct"), "exchange 'amq.direct'"),
        (lambda c: publish_surely(c, ""), "exchange ''"),
        (lambda c: declare_dead(c, "amq.direct"), "exchange 'amq.direct'"),
        (lambda c: declare_dead(c, "amq.direct", "k"), "exchange 'amq.direct'"),
        (lambda c: declare_dead(c, "", "other"), "queue 'other'"),
        (lambda c: declare_alternate(c, "amq.direct"), "exchange 'amq.direct'"),
    ):
        channel = connection.channel()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught:
            act(channel)
        assert (caught.value.reply_code, caught.value.reply_text) == (
            403,
            f"ACCESS_REFUSED - access to {text} in vhost '/' refused for user 'app'",
        )


def declare_dead(channel: Any, exchange: str, key: str | None = None) -> None:
    channel.queue_delete("mine")
    arguments = {"x-dead-letter-exchange": exchange}
    if key is not None:
        arguments["x-dead-letter-routing-key"] = key
    channel.queue_declare("mine", arguments=arguments)


def declare_alternate(channel: Any, exchange: str) -> None:
    channel.exchange_declare("own", arguments={"alternate-exchange": exchange})


def test_a_new_secret_is_looked_at(serve: Serve, tmp_path: Path, connect: Connect) -> None:
    port = serve(restricted(tmp_path)).address("AMQP")[1]
    connection = connect(port, credentials=pika.PlainCredentials("app", "secret"))
    connection.update_secret("secret", "because")
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match="403"):
        connection.update_secret("another", "because")


def publish_surely(channel: Any, exchange: str) -> None:
    channel.confirm_delivery()
    channel.basic_publish(exchange, "k", b"x")


def test_tls_and_client_certificates(serve: Serve, tmp_path: Path, connect: Connect) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        tmp_path / "server.pem"
    )
    hub = serve(
        restricted(
            tmp_path,
            f"""
[amqp.tls]
bind = ["127.0.0.1:0"]
[amqp.tls.tls]
certificate = "{tmp_path}/server.pem"
client_ca = "{tmp_path}/ca.pem"
client_certificate = "optional"
""",
        )
    )
    context = ssl.create_default_context()
    authority.configure_trust(context)
    authority.issue_cert("x@y", common_name="app.example").configure_cert(context)
    connection = connect(
        hub.address("AMQP over TLS")[1],
        ssl_options=pika.SSLOptions(context, "127.0.0.1"),
        credentials=pika.credentials.ExternalCredentials(),
    )
    connection.channel().queue_declare("mine")
    bare = ssl.create_default_context()
    authority.configure_trust(bare)
    # Not to others, since some clients prefer EXTERNAL to the password they have.
    assert "EXTERNAL" in offered(hub.address("AMQP over TLS"), context)
    assert "EXTERNAL" not in offered(hub.address("AMQP over TLS"), bare)
    assert "EXTERNAL" not in offered(hub.address("AMQP"), None)


def offered(address: tuple[str, int], context: ssl.SSLContext | None) -> list[str]:
    """Return the mechanisms that a client is offered."""
    with ExitStack() as stack:
        stream = stack.enter_context(socket.create_connection(address, DEADLINE))
        if context is not None:
            stream = stack.enter_context(context.wrap_socket(stream, server_hostname=address[0]))
        stream.sendall(PROTOCOL_HEADER)
        decoder = Decoder(frame_max=0)
        items: list[Any] = []
        while not items:
            items = decoder.decode(stream.recv(4096))
        start = items[0].method
        assert isinstance(start, m.ConnectionStart)
        return start.mechanisms.decode().split()


def test_publishers_are_told_when_the_store_is_behind(serve: Serve, connect: Connect) -> None:
    config = make_config()
    hub = config.hub.model_copy(update={"memory_limit": 1024 * 1024})
    port = serve(dataclasses.replace(config, hub=hub)).address("AMQP")[1]
    publisher, consumer = connect(port), connect(port).channel()
    told: list[str] = []
    publisher.add_on_connection_blocked_callback(lambda _, frame: told.append(frame.method.reason))
    publisher.add_on_connection_unblocked_callback(lambda _, frame: told.append("go on"))
    consumer.queue_declare("q")
    channel = publisher.channel()
    for _ in range(30):
        channel.basic_publish("", "q", b"x" * 100_000)
    wait_until(publisher, lambda: told == ["low on resources: store"])
    # Another connection is served meanwhile, since it has not published.
    consumer.queue_purge("q")
    wait_until(publisher, lambda: told == ["low on resources: store", "go on"])


def wait_until(connection: Any, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < deadline
        connection.process_data_events(0.01)


def test_many_consumers_of_a_client_that_does_not_read(serve: Serve, connect: Connect) -> None:
    """What waits for a client is bounded for all its consumers together."""
    hub = serve()
    channel = connect(hub.address("AMQP")[1]).channel()
    wire = opened(hub)
    queues, count = 20, 10
    for number in range(queues):
        channel.queue_declare(f"q{number}")
        for _ in range(count):
            channel.basic_publish("", f"q{number}", b"x" * 200_000)
        assert channel.queue_declare(f"q{number}", passive=True).method.message_count == count
    for number in range(queues):
        wire.say(m.BasicConsume(0, f"q{number}", "", False, True, False, False, Table()))
    assert wire.contents_among(queues * count) == queues * count
    wire.close()


def test_answers_wait_for_a_client_that_does_not_read(serve: Serve, connect: Connect) -> None:
    hub = serve()
    channel = connect(hub.address("AMQP")[1]).channel()
    channel.queue_declare("q")
    for _ in range(200):
        channel.basic_publish("", "q", b"x" * 100_000)
    assert channel.queue_declare("q", passive=True).method.message_count == 200
    wire = opened(hub)
    for _ in range(200):
        wire.say(m.BasicGet(0, "q", True))
    assert wire.contents(200) == 200
    wire.close()


def test_a_transaction_has_a_bound(serve: Serve, connect: Connect) -> None:
    hub = serve(max_incomplete_bytes=1000)
    channel = connect(hub.address("AMQP")[1]).channel()
    channel.tx_select()

    def publish(count: int) -> None:
        for _ in range(count):
            channel.basic_publish("", "q", b"x" * 500)
        channel.tx_commit()

    publish(2)
    publish(2)
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as caught:
        publish(3)
    assert caught.value.reply_text == (
        "RESOURCE_ERROR - a transaction publishes more than 1000 bytes"
    )


@pytest.mark.parametrize("name", ["a\0b", "$mqtt/client", "$x"])
def test_names_that_no_queue_can_have(serve: Serve, connect: Connect, name: str) -> None:
    connection = connect(serve().address("AMQP")[1])
    for act in ("queue_declare", "queue_delete", "queue_purge", "basic_get"):
        channel = connection.channel()
        try:
            getattr(channel, act)(name)
        except pika.exceptions.ChannelClosedByBroker as closed:
            assert closed.reply_code in {403, 404, 406}  # noqa: PT017
        else:
            assert (name, act) == ("a\0b", "queue_delete")  # deleting nothing is no error
    channel = connection.channel()
    channel.exchange_declare(name, "topic")
    channel.queue_declare("mine")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        channel.queue_bind("mine", "amq.topic", "a\0b")


def test_what_expired_while_the_server_was_down_is_dead_lettered(
    process: HubProcess, connect: Connect
) -> None:
    channel = connect(process.port("AMQP")).channel()
    channel.exchange_declare("dlx", "topic", durable=True)
    channel.exchange_declare("rest", "fanout", durable=True)
    channel.exchange_bind("rest", "dlx", "#")
    channel.queue_declare("dead", durable=True)
    channel.queue_bind("dead", "rest")
    channel.queue_declare(
        "q", durable=True, arguments={"x-message-ttl": 500, "x-dead-letter-exchange": "dlx"}
    )
    channel.confirm_delivery()
    for _ in range(20):
        channel.basic_publish("", "q", b"x", pika.BasicProperties(delivery_mode=2))
    process.kill()
    time.sleep(0.5)  # the wall clock goes on, whatever we wait for
    process.start()
    channel = connect(process.port("AMQP")).channel()
    deadline = time.monotonic() + DEADLINE
    while channel.queue_declare("dead", passive=True).method.message_count < 20:
        assert time.monotonic() < deadline
    _, properties, _ = channel.basic_get("dead")
    assert properties.headers["x-death"][0]["queue"] == "q"
