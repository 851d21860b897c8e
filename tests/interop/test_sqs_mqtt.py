"""boto3 and paho-mqtt meet in one process: every direction, and what becomes of each field."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hubbub.testing import HubProcess
from tests.aws_client import aws_client

from .clients import CONFIG, WAIT, mqtt

ROUTES = """
[[queue]]
name = "sensors"

[[route]]
name = "to-queue"
from = "sensors/#"
to = "$queue/sensors"
map.headers = { room = "{topic[1]}" }
"""

BODIES = [b"", "grüße ☃".encode(), b"x" * 1_048_000, b'{"a": 1}']
# An SQS message's 1 MiB holds its attributes too.


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with HubProcess(tmp_path_factory.mktemp("hub"), CONFIG + ROUTES) as process:
        yield process
        assert process.stop() == 0


@pytest.fixture(scope="module")
def sqs(hub: HubProcess) -> Any:
    return aws_client(hub, "sqs")


@pytest.fixture
def orders(sqs: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    """A queue of the test's own; yields its URL, whose last part is its name."""
    url = sqs.create_queue(QueueName=f"q{abs(hash(request.node.nodeid)) % 10**12}")["QueueUrl"]
    yield url
    sqs.delete_queue(QueueUrl=url)


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def receive(sqs: Any, url: str, **options: Any) -> dict[str, Any]:
    (message,) = sqs.receive_message(
        QueueUrl=url, WaitTimeSeconds=10, MessageAttributeNames=["All"],
        MessageSystemAttributeNames=["All"], **options,
    )["Messages"]  # fmt: skip
    return dict(message)


def test_a_topic_is_routed_to_a_queue_with_attributes(hub: HubProcess, sqs: Any) -> None:
    url = sqs.get_queue_url(QueueName="sensors")["QueueUrl"]
    with mqtt(hub, "device") as device:
        device.publish("sensors/kitchen/t", b"21.5", UserProperty=[("unit", "celsius")])
    message = receive(sqs, url)
    assert message["Body"] == "21.5"
    attributes = {name: each["StringValue"] for name, each in message["MessageAttributes"].items()}
    assert attributes["unit"] == "celsius"
    assert attributes["room"] == "kitchen"
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


@pytest.mark.parametrize("body", BODIES[1:], ids=["unicode", "1 MB", "json"])
def test_bodies_from_mqtt_to_sqs(hub: HubProcess, sqs: Any, orders: str, body: bytes) -> None:
    with mqtt(hub, "device") as device:
        assert not device.publish(f"$queue/{name_of(orders)}", body).is_failure
    assert receive(sqs, orders)["Body"] == body.decode()


def test_what_is_no_text_reaches_sqs_as_base64(hub: HubProcess, sqs: Any, orders: str) -> None:
    import base64

    body = bytes(range(256))
    with mqtt(hub, "device") as device:
        device.publish(f"$queue/{name_of(orders)}", body)
    message = receive(sqs, orders)
    assert base64.b64decode(message["Body"]) == body
    assert message["MessageAttributes"]["hubbub.body-encoding"]["StringValue"] == "base64"


@pytest.mark.parametrize("body", BODIES[1:], ids=["unicode", "1 MB", "json"])
def test_sqs_reaches_an_mqtt_consumer_and_puback_deletes(
    hub: HubProcess, sqs: Any, orders: str, body: bytes
) -> None:
    with mqtt(hub, "device") as device:
        device.subscribe(f"$queue/{name_of(orders)}")
        sqs.send_message(
            QueueUrl=orders,
            MessageBody=body.decode(),
            MessageAttributes={"unit": {"DataType": "String", "StringValue": "celsius"}},
        )
        message = device.next()
        assert message.payload == body
        assert ("unit", "celsius") in message.properties.UserProperty  # type: ignore[union-attr]
    assert counts(sqs, orders) == (0, 0)


def counts(sqs: Any, url: str) -> tuple[int, int]:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return int(found[names[0]]), int(found[names[1]])


def test_without_puback_it_comes_again_and_sqs_counts_it(
    hub: HubProcess, sqs: Any, orders: str
) -> None:
    sqs.send_message(QueueUrl=orders, MessageBody="once more")
    with mqtt(hub, "device", manual=True) as device:
        device.subscribe(f"$queue/{name_of(orders)}")
        assert device.next().payload == b"once more"
        assert counts(sqs, orders) == (0, 1)
        device.drop()
    message = receive(sqs, orders)
    assert message["Body"] == "once more"
    assert message["Attributes"]["ApproximateReceiveCount"] == "2"


def test_an_empty_body_passes_between_mqtt_clients_of_a_queue(hub: HubProcess, orders: str) -> None:
    with mqtt(hub, "one") as one, mqtt(hub, "two") as two:
        two.subscribe(f"$queue/{name_of(orders)}")
        one.publish(f"$queue/{name_of(orders)}", b"", 2)
        assert two.next().payload == b""


def test_two_kinds_of_consumer_share_a_queue(hub: HubProcess, sqs: Any, orders: str) -> None:
    """An MQTT and an SQS consumer compete: nothing is lost, nothing comes twice."""
    total = 300
    taken: list[str] = []
    with mqtt(hub, "device") as device:
        device.subscribe(f"$queue/{name_of(orders)}")

        def work() -> None:
            while len(taken) + device.messages.qsize() < total and time.monotonic() < deadline:
                found = aws_client(hub, "sqs").receive_message(
                    QueueUrl=orders, MaxNumberOfMessages=10, WaitTimeSeconds=1
                )
                for message in found.get("Messages", []):
                    taken.append(message["Body"])
                    sqs.delete_message(QueueUrl=orders, ReceiptHandle=message["ReceiptHandle"])

        deadline = time.monotonic() + 2 * WAIT
        worker = threading.Thread(target=work)
        worker.start()
        for start in range(0, total, 10):
            entries = [{"Id": str(i), "MessageBody": str(start + i)} for i in range(10)]
            assert "Failed" not in sqs.send_message_batch(QueueUrl=orders, Entries=entries)
        worker.join(3 * WAIT)
        pushed = [device.messages.get().payload.decode() for _ in range(device.messages.qsize())]
    assert sorted(taken + pushed, key=int) == [str(number) for number in range(total)]
    assert taken
    assert pushed
