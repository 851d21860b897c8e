"""STOMP and AMQP clients on the same queues, exchanges and replies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pika  # type: ignore[import-untyped]
import pytest

from hubbub.config import load_config
from hubbub.testing.hub import ServedHub, serve_in_thread

from .conftest import SETTINGS, Client

BOTH: dict[str, Any] = SETTINGS | {
    "plugins": {"enable": ["amqp", "stomp"]},
    "amqp": {"listener": {"bind": ["127.0.0.1:0"]}},
}


@pytest.fixture(scope="module")
def both() -> Iterator[ServedHub]:
    with serve_in_thread(load_config(settings=BOTH)) as served:
        yield served


@pytest.fixture
def stomp(both: ServedHub) -> Iterator[Client]:
    client = Client(both.address("stomp"))
    client.connect()
    yield client
    client.close()


@pytest.fixture
def channel(both: ServedHub) -> Iterator[Any]:
    host, port = both.address("amqp")
    with pika.BlockingConnection(pika.ConnectionParameters(host, port)) as connection:
        yield connection.channel()


def test_exchange(stomp: Client, channel: Any) -> None:
    channel.exchange_declare("logs", "topic")
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, "logs", "app.*")
    stomp.subscribe("/exchange/logs/app.#", id="1")
    channel.basic_publish("logs", "app.error", b"by amqp")
    message = stomp.expect("MESSAGE")
    assert (message.body, message.headers["destination"]) == (
        b"by amqp",
        "/exchange/logs/app.error",
    )
    stomp.confirmed_among_messages("SEND", destination="/exchange/logs/app.info")
    for key in ("app.error", "app.info"):
        assert channel.basic_get(queue, auto_ack=True)[0].routing_key == key


def test_root_exchange(stomp: Client, channel: Any) -> None:
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, "amq.topic", "a.*")
    stomp.subscribe("/topic/a.b", id="1")
    channel.basic_publish("amq.topic", "a.b", b"x")
    assert stomp.expect("MESSAGE").headers["destination"] == "/topic/a.b"
    stomp.confirmed("SEND", b"y", destination="/topic/a.c")
    assert [channel.basic_get(queue, auto_ack=True)[2] for _ in range(2)] == [b"x", b"y"]


def test_amqp_asks_and_stomp_answers(stomp: Client, channel: Any) -> None:
    stomp.subscribe("/queue/questions", id="1")
    answers: list[Any] = []
    channel.basic_consume(
        "amq.rabbitmq.reply-to", lambda *answer: answers.append(answer), auto_ack=True
    )
    properties = pika.BasicProperties(
        reply_to="amq.rabbitmq.reply-to", correlation_id="7", content_type="text/plain"
    )
    channel.basic_publish("", "questions", b"?", properties)
    question = stomp.expect("MESSAGE").headers
    assert question["content-type"] == "text/plain"
    stomp.confirmed(
        "SEND", b"!", destination=question["reply-to"], correlation_id=question["correlation-id"]
    )
    while not answers:
        channel.connection.process_data_events(time_limit=1)
    assert (answers[0][3], answers[0][2].correlation_id) == (b"!", "7")


def test_stomp_asks_and_amqp_answers(stomp: Client, channel: Any) -> None:
    channel.queue_declare("asked")
    stomp.confirmed(
        "SEND", b"?", destination="/queue/asked", reply_to="/temp-queue/r", correlation_id="8",
        priority="4",
    )  # fmt: skip
    _, properties, body = channel.basic_get("asked", auto_ack=True)
    assert (body, properties.priority) == (b"?", 4)
    channel.basic_publish(
        "",
        properties.reply_to,
        b"!",
        pika.BasicProperties(correlation_id=properties.correlation_id),
    )
    reply = stomp.expect("MESSAGE")
    assert (reply.body, reply.headers["correlation-id"]) == (b"!", "8")
    assert reply.headers["subscription"] == "/temp-queue/r"


def test_redelivery_begins_here_and_ends_there(stomp: Client, channel: Any) -> None:
    stomp.subscribe("/queue/shared", ack="client-individual", id="1")
    stomp.send("SEND", b"x", destination="/queue/shared")
    stomp.expect("MESSAGE")
    stomp.confirmed("UNSUBSCRIBE", id="1")
    stomp.send("DISCONNECT", receipt="1")
    stomp.rest()
    method, _, body = channel.basic_get("shared", auto_ack=True)
    assert (body, method.redelivered) == (b"x", True)
