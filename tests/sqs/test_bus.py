"""SQS and the rest of the bus: what other protocols send and receive, through a session."""

import datetime as dt
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from hubbub import Delivery, Message, Principal, QueueSettings, Session

from .conftest import SqsHub
from .helpers import attributes, bodies, counts, receive, refused

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

PROTOCOL = "other-1"


def as_other(hub: SqsHub, act: Callable[[Session], Awaitable[Any]]) -> Any:
    """Do something as a client of another protocol."""

    async def do() -> Any:
        principal = Principal("somebody")
        with hub.served.hub.session(principal, protocol=PROTOCOL, client="device-7") as session:
            return await act(session)

    return hub.served.run(do)


def publish(hub: SqsHub, url: str, body: bytes, **fields: Any) -> None:
    async def act(session: Session) -> None:
        address = fields.pop("address", f"$queue/{url.rpartition('/')[2]}")
        publication = session.publish([Message(address=address, body=body, **fields)])
        assert not publication.refused
        await publication.commit.wait()

    as_other(hub, act)


def take(hub: SqsHub, url: str) -> Message:
    """Receive and settle one message as the other protocol."""

    async def act(session: Session) -> Message:
        deliveries: list[Delivery] = await session.receive(url.rpartition("/")[2])
        (delivery,) = deliveries
        await session.settle([delivery.receipt])
        return delivery.message

    found: Message = as_other(hub, act)
    return found


def lossy(hub: SqsHub) -> Mapping[str, int]:
    return dict(hub.served.hub.meters.protocol("sqs").lossy)


def text(value: str, kind: str = "String") -> Any:
    return {"DataType": kind, "StringValue": value}


# From others to SQS


def test_a_message_of_another_protocol(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    moment = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    publish(
        hub, queue, "häi".encode(),
        headers={"text": "x", "yes": True, "int": 7, "float": 0.5, "bytes": b"\0", "none": None,
                 "when": moment, "list": [1, "a"], "table": {"k": 1}},
    )  # fmt: skip
    (found,) = receive(sqs, queue)
    assert found["Body"] == "häi"
    assert found["Attributes"]["SenderId"] == "device-7"
    assert found["MessageAttributes"] == {
        "text": text("x"),
        "yes": text("true", "String.boolean"),
        "int": text("7", "Number"),
        "float": text("0.5", "Number"),
        "bytes": {"DataType": "Binary", "BinaryValue": b"\0"},
        "none": text("null", "String.null"),
        "when": text("2026-01-02T00:00:00+00:00", "String.timestamp"),
        "list": text('[1,"a"]', "String.Array"),
        "table": text('{"k":1}', "String.json"),
    }


def test_fields_that_sqs_lacks(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    publish(
        hub, queue, b"x", content_type="text/plain", correlation_id=b"\x01", message_id="m-1",
        reply_to="$queue/answers", priority=5, type="t", app_id="a",
    )  # fmt: skip
    (found,) = receive(sqs, queue)
    assert found["MessageAttributes"] == {
        "hubbub.content-type": text("text/plain"),
        "hubbub.correlation-id": {"DataType": "Binary", "BinaryValue": b"\x01"},
        "hubbub.message-id": text("m-1"),
        "hubbub.type": text("t"),
        "hubbub.app-id": text("a"),
        "hubbub.reply-to": text(f"{hub.url}/000000000000/answers"),
        "hubbub.priority": text("5", "Number"),
    }


def test_the_topic_is_told(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    name = queue.rpartition("/")[2]

    async def subscribe(session: Session) -> None:
        session.subscribe("sensors/#", f"$queue/{name}", id="test")

    as_other(hub, subscribe)
    publish(hub, queue, b"21", address="sensors/a/temp")
    (found,) = receive(sqs, queue)
    assert found["MessageAttributes"] == {"hubbub.topic": text("sensors/a/temp")}


@pytest.mark.parametrize("body", [b"\xff\x00", b"\x08", b"a\x00b"])
def test_binary_bodies(hub: SqsHub, sqs: "SQSClient", queue: str, body: bytes) -> None:
    before = lossy(hub).get("binary body", 0)
    publish(hub, queue, body)
    (found,) = receive(sqs, queue)
    assert found["MessageAttributes"] == {"hubbub.body-encoding": text("base64")}
    assert lossy(hub)["binary body"] == before + 1
    # It goes back the same way.
    sqs.send_message(
        QueueUrl=queue, MessageBody=found["Body"], MessageAttributes=found["MessageAttributes"]
    )
    assert take(hub, queue).body == body


def test_empty_bodies(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    publish(hub, queue, b"")
    (found,) = receive(sqs, queue)
    assert found["Body"] == ""


def test_an_eleventh_attribute_is_counted_as_lost(
    hub: SqsHub, sqs: "SQSClient", queue: str
) -> None:
    before = lossy(hub)
    headers: Any = {f"h{n:02}": "x" for n in range(11)}
    publish(hub, queue, b"x", headers=headers, content_type="text/plain")
    (found,) = receive(sqs, queue)
    assert set(found["MessageAttributes"]) == {f"h{n:02}" for n in range(10)}
    after = lossy(hub)
    assert after["eleventh attribute"] == before.get("eleventh attribute", 0) + 1
    assert after["hubbub.content-type"] == before.get("hubbub.content-type", 0) + 1


def test_headers_that_sqs_can_not_carry(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    before = lossy(hub)
    headers: Any = {"a b": "x", "AWS.x": "x", "": "x", "ok": "x", "ctrl": "\x08"}
    publish(hub, queue, b"x", headers=headers)
    (found,) = receive(sqs, queue)
    assert set(found["MessageAttributes"]) == {"ok"}
    after = lossy(hub)
    assert after["attribute name"] == before.get("attribute name", 0) + 3
    assert after["attribute value"] == before.get("attribute value", 0) + 1


# From SQS to others


def test_attributes_are_headers(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    sqs.send_message(
        QueueUrl=queue,
        MessageBody="häi",
        MessageGroupId="group",
        MessageAttributes={
            "text": text("x"),
            "int": text("007", "Number"),
            "exact": text("42", "Number"),
            "float": text("2.50", "Number"),
            "big": text("123456789012345678901234567890", "Number"),
            "bytes": {"DataType": "Binary", "BinaryValue": b"\0"},
            "yes": text("true", "String.boolean"),
            "list": text("[1, 2]", "String.Array"),
            "custom": text("x", "String.mine"),
        },
    )
    message = take(hub, queue)
    assert message.body == "häi".encode()
    assert message.group == "group"
    assert message.headers == {
        "text": "x",
        "int": 7.0,
        "exact": 42,
        "float": 2.5,
        "big": "123456789012345678901234567890",
        "bytes": b"\0",
        "yes": True,
        "list": [1, 2],
        "custom": "x",
    }


def test_attributes_that_are_fields(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    sent = {
        "hubbub.content-type": text("application/json"),
        "hubbub.correlation-id": text("c"),
        "hubbub.reply-to": text("https://sqs.us-east-1.amazonaws.com/000000000000/answers"),
        "hubbub.priority": text("9", "Number"),
        "hubbub.timestamp": text("1700000000000", "Number"),
        "hubbub.other": text("stays"),
    }
    sqs.send_message(QueueUrl=queue, MessageBody="{}", MessageAttributes=sent)
    (found,) = receive(sqs, queue, VisibilityTimeout=0)
    assert found["MessageAttributes"] == sent
    message = take(hub, queue)
    assert message.content_type == "application/json"
    assert message.correlation_id == "c"
    assert message.reply_to == "$queue/answers"
    assert message.priority == 9
    assert message.timestamp == 1_700_000_000_000
    assert message.headers == {"hubbub.other": "stays"}


def test_replies_to_topics(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    sent = {"hubbub.reply-to": text("replies/7")}
    sqs.send_message(QueueUrl=queue, MessageBody="x", MessageAttributes=sent)
    (found,) = receive(sqs, queue, VisibilityTimeout=0)
    assert found["MessageAttributes"] == sent
    assert take(hub, queue).reply_to == "replies/7"


def test_base64_bodies_come_back_as_they_were_sent(
    hub: SqsHub, sqs: "SQSClient", queue: str
) -> None:
    sent = {"hubbub.body-encoding": text("base64")}
    sqs.send_message(QueueUrl=queue, MessageBody="aGVsbG8=", MessageAttributes=sent)
    (found,) = receive(sqs, queue, VisibilityTimeout=0)
    assert found["Body"] == "aGVsbG8="
    assert found["MessageAttributes"] == sent
    assert take(hub, queue).body == b"hello"
    with refused("InvalidParameterValue", "not base64"):
        sqs.send_message(QueueUrl=queue, MessageBody="hello", MessageAttributes=sent)


# Queues of others


def test_a_queue_of_another_protocol(hub: SqsHub, sqs: "SQSClient") -> None:
    async def create(session: Session) -> None:
        settings = QueueSettings(lease=15_000, delay=2_000, max_receives=3)
        await session.create_queue("made.elsewhere", settings)

    as_other(hub, create)
    url = sqs.get_queue_url(QueueName="made.elsewhere")["QueueUrl"]
    assert url == f"{hub.url}/000000000000/made.elsewhere"
    assert url in sqs.list_queues(QueueNamePrefix="made.")["QueueUrls"]
    found = attributes(sqs, url)
    assert found["VisibilityTimeout"] == "15"
    assert found["DelaySeconds"] == "2"
    assert found["MessageRetentionPeriod"] == "1209600"
    assert found["MaximumMessageSize"] == "1048576"
    assert "RedrivePolicy" not in found
    sqs.send_message(QueueUrl=url, MessageBody="x", DelaySeconds=0)
    assert bodies(receive(sqs, url)) == ["x"]


def test_a_queue_of_one_owner_is_not_shown(hub: SqsHub, sqs: "SQSClient") -> None:
    async def create(session: Session) -> None:
        await session.create_queue("mine-alone", QueueSettings(owner="session/x"))

    as_other(hub, create)
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix="mine-alone")
    with refused("AWS.SimpleQueueService.NonExistentQueue"):
        sqs.get_queue_url(QueueName="mine-alone")
    with refused("AWS.SimpleQueueService.NonExistentQueue"):
        sqs.receive_message(QueueUrl=f"{hub.url}/000000000000/mine-alone")
    with refused("QueueAlreadyExists"):
        sqs.create_queue(QueueName="mine-alone")


def test_the_limit_of_a_queue_is_everybody_s(
    hub: SqsHub, sqs: "SQSClient", make_queue: Callable[..., str]
) -> None:
    url = make_queue(MaximumMessageSize="1024")

    async def act(session: Session) -> int:
        name = url.rpartition("/")[2]
        return len(session.publish([Message(address=f"$queue/{name}", body=b"x" * 1100)]).refused)

    assert as_other(hub, act) == 1


def test_a_lease_of_another_protocol_counts_for_sqs(
    hub: SqsHub, sqs: "SQSClient", queue: str
) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="x")

    async def act(session: Session) -> Any:
        name = queue.rpartition("/")[2]
        given: list[Delivery] = []
        consumption = session.consume(name, given.extend, owner="me")
        counted = session.find_queue(name)
        assert counted is not None
        assert counted.counts().in_flight == len(given) == 1
        session.end_consumption(consumption)
        await session.release_owner(name, "me")

    as_other(hub, act)
    (found,) = receive(sqs, queue)
    assert found["Attributes"]["ApproximateReceiveCount"] == "2"
    assert counts(sqs, queue) == (0, 1, 0)


@pytest.mark.parametrize("kind", ["queue", "fifo"])
def test_too_many_in_flight(
    hub: SqsHub, sqs: "SQSClient", kind: str, request: pytest.FixtureRequest
) -> None:
    url: str = request.getfixturevalue(kind)
    name = url.rpartition("/")[2]

    async def limit(session: Session) -> None:
        info = session.find_queue(name)
        assert info is not None
        assert info.settings.max_in_flight == 120_000
        settings = msgspec.structs.replace(info.settings, max_in_flight=2)
        await session.configure_queue(name, settings)

    as_other(hub, limit)
    for body in ("a", "b", "c"):
        options: Any = {"MessageGroupId": body} if kind == "fifo" else {}
        sqs.send_message(QueueUrl=url, MessageBody=body, **options)
    first, _ = receive(sqs, url)
    if kind == "fifo":
        assert receive(sqs, url) == []
    else:
        with refused("OverLimit", status=403):
            receive(sqs, url)
    assert receive(sqs, url, WaitTimeSeconds=1) == []
    found: list[Any] = []
    waiting = threading.Thread(
        target=lambda: found.extend(receive(hub.client(), url, WaitTimeSeconds=20))
    )
    waiting.start()
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    waiting.join(10)
    assert [each["Body"] for each in found] == ["c"]
