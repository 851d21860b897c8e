"""What begins in one protocol and ends in another: redelivery, dead letters, replies, fan-out."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.processes import free_port

import amqp  # type: ignore[import-untyped]
from hubbub.testing import HubProcess

from .clients import WAIT, MqttClient, mqtt
from .peers import CONFIG, Amqp, HttpJson, Kinesis, Mqtt5, Peer, Received, Sns, Sqs, Stomp

ROUTES = """
[[queue]]
name = "fan-sqs"
[[stream]]
name = "fan-stream"
[[route]]
name = "to-sqs"
from = "fan/#"
to = "$queue/fan-sqs"
[[route]]
name = "to-stream"
from = "fan/#"
to = "$stream/fan-stream"
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with HubProcess(tmp_path_factory.mktemp("hub"), CONFIG + ROUTES) as process:
        yield process
        assert process.stop() == 0


@pytest.fixture
def name() -> str:
    return f"q-{uuid.uuid4().hex[:8]}"


class Clients:
    """Clients of a hub, closed at the end of the test."""

    def __init__(self, hub: HubProcess) -> None:
        self.sqs = Sqs(hub)
        self.amqp = Amqp(hub)
        self.stomp = Stomp(hub)
        self.http = HttpJson(hub)

    def close(self) -> None:
        self.amqp.close()
        self.stomp.close()
        self.sqs.close()
        self.http.close()


@pytest.fixture
def clients(hub: HubProcess) -> Iterator[Clients]:
    found = Clients(hub)
    yield found
    found.close()


def receive_sqs(clients: Clients, queue: str, **options: Any) -> dict[str, Any]:
    """Receive a message and leave it leased."""
    (message,) = clients.sqs.client.receive_message(
        QueueUrl=queue, WaitTimeSeconds=10, MessageSystemAttributeNames=["All"], **options
    )["Messages"]
    return dict(message)


def subscribe_stomp(clients: Clients, destination: str) -> None:
    clients.stomp.confirmed(
        lambda receipt: clients.stomp.connection.subscribe(
            destination, id="1", ack="client-individual",
            headers={"receipt": receipt, "prefetch-count": "1"},
        )
    )  # fmt: skip


def take_stomp(clients: Clients) -> Received:
    found = clients.stomp.next(WAIT)
    assert found is not None
    return found


# Redelivery


def test_a_message_that_everybody_gives_back(hub: HubProcess, clients: Clients, name: str) -> None:
    """SQS, AMQP, STOMP, MQTT and SQS again: each sees how often it was received before."""
    channel = clients.amqp.channel
    channel.queue_declare(
        name, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"}
    )
    clients.sqs.publish(f"$queue/{name}", b"hot potato")

    first = receive_sqs(clients, name)
    assert first["Attributes"]["ApproximateReceiveCount"] == "1"
    clients.sqs.client.change_message_visibility(
        QueueUrl=name, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0
    )

    second = channel.basic_get(name)
    assert second.delivery_info["redelivered"]
    assert second.properties["application_headers"]["x-delivery-count"] == 1
    channel.basic_reject(second.delivery_tag, requeue=True)

    subscribe_stomp(clients, f"/queue/{name}")
    third = take_stomp(clients).headers
    assert (third["redelivered"], third["x-delivery-count"]) == ("true", "2")
    clients.stomp.confirmed(
        lambda receipt: clients.stomp.connection.unsubscribe("1", {"receipt": receipt})
    )
    clients.stomp.confirmed(
        lambda receipt: clients.stomp.connection.nack(third["ack"], receipt=receipt)
    )

    with mqtt(hub, name, manual=True) as device:
        device.subscribe(f"$queue/{name}")
        fourth = device.next()
        assert fourth.payload == b"hot potato"
        assert not fourth.dup  # that says "this packet again" to one client (MQTT 5.0, 3.3.1.1)
        device.drop()

    last = receive_sqs(clients, name)
    assert last["MessageId"] == first["MessageId"]
    assert last["Attributes"]["ApproximateReceiveCount"] == "5"


def test_mqtt_gets_it_again_in_its_session(hub: HubProcess, clients: Clients, name: str) -> None:
    """A session's message waits for the client that had it, who is told so by DUP."""
    first = MqttClient(hub, name, clean=False, manual=True)
    first.subscribe(f"{name}/#")
    clients.stomp.publish(f"{name}/x", b"once", {"persistent": "true"})
    assert not first.next().dup
    first.drop()
    second = MqttClient(hub, name, clean=False)
    again = second.next()
    assert (again.payload, again.dup) == (b"once", True)
    second.close()


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_amqp_gives_back_and_sqs_counts(clients: Clients, name: str, kind: str) -> None:
    channel = clients.amqp.channel
    channel.queue_declare(name, durable=True, auto_delete=False, arguments={"x-queue-type": kind})
    clients.stomp.publish(f"$queue/{name}", b"x", {"persistent": "true"})
    for count in range(3):
        message = channel.basic_get(name)
        assert message.delivery_info["redelivered"] == (count > 0)
        channel.basic_reject(message.delivery_tag, requeue=True)
    assert receive_sqs(clients, name)["Attributes"]["ApproximateReceiveCount"] == "4"


def test_http_gives_back_and_the_others_count(clients: Clients, name: str) -> None:
    http = clients.http.client
    clients.stomp.publish(f"$queue/{name}", b"x", {"persistent": "true"})
    for count in range(1, 4):
        (message,) = http.get(f"/queues/{name}/messages").json()["messages"]
        assert (message["receives"], message["redelivered"]) == (count, count > 1)
        http.post(f"/queues/{name}/messages/{message['lease']}/release").raise_for_status()
    received = receive_sqs(clients, name)
    assert received["Attributes"]["ApproximateReceiveCount"] == "4"
    clients.sqs.client.change_message_visibility(
        QueueUrl=name, ReceiptHandle=received["ReceiptHandle"], VisibilityTimeout=0
    )
    subscribe_stomp(clients, f"/queue/{name}")
    assert take_stomp(clients).headers["x-delivery-count"] == "4"


# Dead letters


def test_http_rejects_to_sqs_and_sqs_redrives_to_http(clients: Clients, name: str) -> None:
    sqs, http, dead = clients.sqs.client, clients.http.client, f"{name}-dead"
    sqs.create_queue(QueueName=dead)
    http.put(f"/queues/{name}", json={"dead_letter": f"$queue/{dead}", "max_receives": 1})
    clients.sqs.publish(f"$queue/{name}", b"refused")
    (message,) = http.get(f"/queues/{name}/messages").json()["messages"]
    http.post(f"/queues/{name}/messages/{message['lease']}/reject").raise_for_status()
    found = receive_sqs(clients, dead)
    assert found["Body"] == "refused"
    assert found["Attributes"]["DeadLetterQueueSourceArn"].endswith(f":{name}")
    sqs.delete_message(QueueUrl=dead, ReceiptHandle=found["ReceiptHandle"])
    clients.sqs.publish(f"$queue/{name}", b"poison")
    receive_sqs(clients, name, VisibilityTimeout=0)
    assert "Messages" not in sqs.receive_message(QueueUrl=name)
    (letter,) = http.get(f"/queues/{dead}/messages?wait=5").json()["messages"]
    (death,) = letter["deaths"]
    assert (death["queue"], death["reason"], death["count"]) == (name, "delivery_limit", 1)


def test_sqs_redrives_to_amqp(clients: Clients, name: str) -> None:
    sqs, dead = clients.sqs.client, f"{name}-dead"
    sqs.create_queue(QueueName=dead)
    policy = {
        "deadLetterTargetArn": f"arn:aws:sqs:us-east-1:000000000000:{dead}", "maxReceiveCount": 1,
    }  # fmt: skip
    sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": json.dumps(policy)})
    sqs.send_message(QueueUrl=name, MessageBody="poison")
    receive_sqs(clients, name, VisibilityTimeout=0)
    assert "Messages" not in sqs.receive_message(QueueUrl=name)
    clients.amqp.listen(f"$queue/{dead}")
    found = clients.amqp.receive(b"poison")
    (death,) = found.headers["x-death"]
    assert (death["queue"], death["count"], death["reason"]) == (name, 1, "delivery_limit")
    assert (found.headers["x-first-death-queue"], death["routing-keys"]) == (name, [name])


def test_amqp_dead_letters_to_sqs(clients: Clients, name: str) -> None:
    channel, dead = clients.amqp.channel, f"{name}-dead"
    clients.sqs.client.create_queue(QueueName=dead)
    channel.queue_declare(
        name, durable=True, auto_delete=False,
        arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead},
    )  # fmt: skip
    clients.amqp.publish(f"$queue/{name}", b"poison", {"delivery-mode": 2})
    channel.basic_reject(channel.basic_get(name).delivery_tag, requeue=False)
    found = receive_sqs(clients, dead)
    assert found["Body"] == "poison"
    source = f"arn:aws:sqs:us-east-1:000000000000:{name}"
    assert found["Attributes"]["DeadLetterQueueSourceArn"] == source


def test_stomp_nacks_to_sqs_and_amqp_expires_to_stomp(clients: Clients, name: str) -> None:
    channel, dead = clients.amqp.channel, f"{name}-dead"
    clients.sqs.client.create_queue(QueueName=dead)
    channel.queue_declare(
        name, durable=True, auto_delete=False,
        arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead},
    )  # fmt: skip
    subscribe_stomp(clients, f"/queue/{name}")
    clients.amqp.publish(f"$queue/{name}", b"refused")
    ack = take_stomp(clients).headers["ack"]
    clients.stomp.confirmed(
        lambda receipt: clients.stomp.connection.nack(ack, receipt=receipt, requeue="false")
    )
    found = receive_sqs(clients, dead)
    assert found["Body"] == "refused"
    assert found["Attributes"]["DeadLetterQueueSourceArn"].endswith(f":{name}")
    clients.sqs.client.delete_message(QueueUrl=dead, ReceiptHandle=found["ReceiptHandle"])
    clients.stomp.connection.unsubscribe("1")

    clients.stomp.publish(f"$queue/{name}", b"too late", {"expiration": "1"})
    clients.stomp._listen(f"$queue/{dead}")
    headers = take_stomp(clients).headers
    assert (headers["x-first-death-queue"], headers["x-first-death-reason"]) == (name, "expired")


# Request and reply


def serve_once(peer: Peer, body: bytes, reply_place: str, correlation_place: str) -> None:
    """Receive a question and answer it where its reply-to says, as the peer's protocol has it."""
    question = peer.receive(body)
    reply_to = question.places[reply_place]
    places = {correlation_place: question.places[correlation_place]}
    if isinstance(peer, Amqp):
        message = amqp.Message(b"answer", correlation_id=question.places[correlation_place])
        peer.channel.basic_publish(message, "", reply_to)
    elif isinstance(peer, Stomp):
        peer.confirmed(
            lambda receipt: peer.connection.send(
                reply_to, b"answer", None, {"receipt": receipt, **places}
            )
        )
    else:
        peer.publish(reply_to, b"answer", places)


RESPONDERS: dict[type[Peer], tuple[str, str]] = {
    Mqtt5: ("response topic", "correlation data"),
    Amqp: ("reply-to", "correlation-id"),
    Stomp: ("reply-to", "correlation-id"),
    HttpJson: ("reply_to", "correlation_id"),
}


@pytest.fixture(params=RESPONDERS, ids=lambda kind: kind.column)
def responder(hub: HubProcess, request: pytest.FixtureRequest, name: str) -> Iterator[Peer]:
    peer: Peer = request.param(hub)
    peer.listen(f"$queue/{name}")
    yield peer
    peer.close()


def test_mqtt_asks(hub: HubProcess, responder: Peer, name: str) -> None:
    asker = Mqtt5(hub)
    asker.listen(f"answers/{name}")
    question = name.encode()
    places = {"response topic": f"answers/{name}", "correlation data": b"7"}
    asker.publish(f"$queue/{name}", question, places)
    serve_once(responder, question, *RESPONDERS[type(responder)])
    assert asker.receive(b"answer").places["correlation data"] == b"7"
    asker.close()


def test_amqp_asks_with_direct_reply_to(hub: HubProcess, responder: Peer, name: str) -> None:
    asker = Amqp(hub)
    answers: list[Any] = []
    asker.channel.basic_consume("amq.rabbitmq.reply-to", no_ack=True, callback=answers.append)
    question = name.encode()
    places = {"reply-to": "amq.rabbitmq.reply-to", "correlation-id": "7"}
    asker.publish(f"$queue/{name}", question, places)
    serve_once(responder, question, *RESPONDERS[type(responder)])
    while not answers:
        asker.connection.drain_events(WAIT)
    (answer,) = answers
    assert (answer.body, answer.properties["correlation_id"]) == (b"answer", "7")
    asker.close()


def test_stomp_asks_with_a_temporary_queue(hub: HubProcess, responder: Peer, name: str) -> None:
    asker = Stomp(hub)
    question = name.encode()
    places = {"reply-to": "/temp-queue/answers", "correlation-id": "7"}
    asker.publish(f"$queue/{name}", question, places)
    serve_once(responder, question, *RESPONDERS[type(responder)])
    answer = asker.receive(b"answer")
    assert answer.headers["subscription"] == "/temp-queue/answers"
    assert answer.headers["correlation-id"] == "7"
    asker.close()


def test_http_asks(hub: HubProcess, responder: Peer, name: str) -> None:
    asker = HttpJson(hub)
    asker.listen(f"$queue/{name}-answers")
    question = name.encode()
    places = {"reply_to": f"$queue/{name}-answers", "correlation_id": "7"}
    asker.publish(f"$queue/{name}", question, places)
    serve_once(responder, question, *RESPONDERS[type(responder)])
    assert asker.receive(b"answer").places["correlation_id"] == "7"
    asker.close()


# Fan-out


@pytest.mark.parametrize(
    "source", [Sns, Mqtt5, Amqp, Stomp, HttpJson], ids=lambda kind: kind.column
)
def test_one_publication_reaches_all_once(hub: HubProcess, source: type[Peer]) -> None:
    readers: dict[str, Peer] = {"fan": Mqtt5(hub)}
    readers["fan"].listen("fan")
    for place, kind in (
        ("$queue/fan-sqs", Sqs), ("fan", Amqp), ("fan", Stomp), ("fan", Sns), ("fan", HttpJson),
    ):  # fmt: skip
        peer: Peer = kind(hub)
        peer.listen(place)
        readers[kind.column] = peer
    stream = Kinesis(hub)
    stream.follow("$stream/fan-stream")
    readers["stream"] = stream
    sender = source(hub)
    body, end = uuid.uuid4().hex.encode(), uuid.uuid4().hex.encode()
    # What is published later comes later: once it is there, nothing else can come.
    for each in (body, end):
        sender.publish("fan/out", each)
    for column, reader in readers.items():
        got = 0
        while True:
            found = reader.next(WAIT)
            if found is None:
                pytest.fail(f"{column} has not received everything")
            if found.body == end:
                break
            got += found.body == body
        assert got == 1, column
        reader.close()
    sender.close()


# kill -9 under Celery

TASKS = 1000

APP = """
import os
from celery import Celery
app = Celery("crash", broker=os.environ["BROKER_URL"])
app.conf.update(
    task_acks_late=True, task_ignore_result=True, task_default_queue="crash",
    broker_connection_retry_on_startup=True, broker_connection_max_retries=None,
    worker_prefetch_multiplier=25, broker_heartbeat=0,
)

@app.task
def note(number):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(f"{number}\\n")
"""


@contextlib.contextmanager
def celery_worker(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    (folder / "crash_app.py").write_text(APP)
    with subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "crash_app", "worker", "--pool", "threads",
         "--concurrency", "2", "--loglevel", "CRITICAL", "--without-gossip", "--without-mingle"],
        cwd=folder, env={**os.environ, **environment},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            yield
        finally:
            process.kill()


def test_kill_in_the_middle_of_celery(tmp_path: Path) -> None:
    """Every task whose publication was confirmed is run, if need be twice."""
    from celery import Celery  # type: ignore[import-untyped]
    from kombu.exceptions import OperationalError

    port = free_port()  # the same when the hub is back
    config = f"""
        log.level = "error"
        admin.enabled = false
        plugins.enable = ["amqp"]
        amqp.listener.bind = ["127.0.0.1:{port}"]
    """
    url = f"amqp://guest:guest@127.0.0.1:{port}//"
    notes = tmp_path / "notes"
    notes.touch()
    app = Celery("producer", broker=url, set_as_current=False)
    app.conf.update(broker_transport_options={"confirm_publish": True}, task_default_queue="crash")
    environment = {"BROKER_URL": url, "NOTES": str(notes)}
    with HubProcess(tmp_path, config) as hub, celery_worker(tmp_path, environment):

        def crash() -> None:
            hub.kill()
            hub.start()

        crasher = threading.Thread(target=crash)
        confirmed: set[int] = set()
        failures = 0
        producer = app.amqp.Producer(app.connection_for_write())
        deadline = time.monotonic() + 4 * WAIT
        for number in range(TASKS):
            if number == TASKS // 2:
                until(lambda: len(run(notes)) > TASKS // 10, deadline)
                crasher.start()
            while number not in confirmed and time.monotonic() < deadline:
                try:
                    app.send_task("crash_app.note", (number,), producer=producer, retry=False)
                    confirmed.add(number)
                except (OperationalError, OSError):
                    failures += 1
                    producer.connection.collect()
                    producer = app.amqp.Producer(app.connection_for_write())
        crasher.join()
        assert len(confirmed) == TASKS
        assert failures
        until(lambda: confirmed <= run(notes), deadline)
        producer.connection.release()
    app.close()


def run(notes: Path) -> set[int]:
    """The tasks that have been run."""
    return {int(line) for line in notes.read_text().splitlines()}


def until(happened: Any, deadline: float) -> None:
    """Wait for what another process does."""
    while not happened():
        assert time.monotonic() < deadline, "the worker has not come so far"
        threading.Event().wait(0.05)
