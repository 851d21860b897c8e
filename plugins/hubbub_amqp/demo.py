"""Scenes of `hubbub demo`: a pika client, and the boto3 worker it shares a queue with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import trio

from hubbub import Hub, Scene

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import (  # type: ignore[import-untyped]
        BlockingChannel,
    )


def scenes(hub: Hub) -> Iterator[Scene]:
    """Yield what can be played with the clients that are installed."""
    urls = {endpoint.protocol: endpoint.url for endpoint in hub.endpoints}
    if find_spec("pika") is None or "AMQP" not in urls:
        return

    def scene(name: str, play: Callable[..., list[str]], *arguments: str) -> Scene:
        async def run(say: Callable[[str], None]) -> None:
            for line in await trio.to_thread.run_sync(play, urls["AMQP"], *arguments):
                say(line)

        return Scene(name, run)

    yield scene("AMQP: an exchange, a confirm and a dead letter (pika)", _play_exchange)
    if find_spec("boto3") is not None and "SQS" in urls:
        yield scene(
            "A pika client asks, a boto3 worker answers: one queue, two protocols",
            _play_question,
            urls["SQS"],
        )


def _open(url: str) -> BlockingChannel:
    import pika  # type: ignore[import-untyped]  # noqa: PLC0415 - for the demo only

    return pika.BlockingConnection(pika.URLParameters(url)).channel()


def _play_exchange(url: str) -> list[str]:
    channel = _open(url)
    channel.exchange_declare("logs", "topic")
    channel.queue_declare("broken", durable=True)
    channel.queue_declare(
        "errors",
        durable=True,
        arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "broken"},
    )
    channel.queue_bind("errors", "logs", "*.error")
    channel.confirm_delivery()
    for key in ("app.info", "app.error"):
        channel.basic_publish("logs", key, key.encode())
    said = ["pika    -> exchange logs       'app.info', 'app.error'; both are confirmed"]
    method, _, body = channel.basic_get("errors")
    Scene.expect(body, b"app.error")
    said.append("pika    <- queue errors        'app.error', by the binding '*.error'")
    channel.basic_nack(method.delivery_tag, requeue=False)
    _, properties, body = channel.basic_get("broken", auto_ack=True)
    Scene.expect(body, b"app.error")
    death = properties.headers["x-death"][0]
    Scene.expect((death["queue"], death["reason"]), ("errors", "rejected"))
    said.append("pika    <- queue broken        'app.error' again: x-death says 'rejected'")
    channel.connection.close()
    return said


def _play_question(url: str, sqs_url: str) -> list[str]:
    import boto3  # noqa: PLC0415 - installed for the demo only
    import pika  # noqa: PLC0415

    channel = _open(url)
    channel.queue_declare("questions", durable=True)
    answers = channel.queue_declare("answers", durable=True).method.queue
    channel.basic_publish(
        "", "questions", b"6 * 7", pika.BasicProperties(reply_to=answers, headers={"unit": "none"})
    )
    said = ["pika    -> queue questions     '6 * 7', reply-to answers"]
    sqs: Any = boto3.client(
        "sqs",
        endpoint_url=sqs_url,
        region_name="us-east-1",
        aws_access_key_id="demo",
        aws_secret_access_key="demo",  # noqa: S106 - any key is taken on loopback
    )
    questions = sqs.get_queue_url(QueueName="questions")["QueueUrl"]
    (question,) = sqs.receive_message(
        QueueUrl=questions, WaitTimeSeconds=5, MessageAttributeNames=["All"]
    )["Messages"]
    Scene.expect(question["Body"], "6 * 7")
    Scene.expect(question["MessageAttributes"]["unit"]["StringValue"], "none")
    sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName="answers")["QueueUrl"], MessageBody="42")
    sqs.delete_message(QueueUrl=questions, ReceiptHandle=question["ReceiptHandle"])
    said.append("worker  <- SQS queue questions the same, attribute unit=none; sends '42'")
    for _, _, body in channel.consume("answers", auto_ack=True, inactivity_timeout=5):
        Scene.expect(body, b"42")
        break
    said.append("pika    <- queue answers       '42'")
    channel.connection.close()
    return said
