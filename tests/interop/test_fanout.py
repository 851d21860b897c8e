"""One publish reaches a queue, a URL, a device, a WebSocket, a stream, a mailbox; over kill -9."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from email.message import Message as Mail
from pathlib import Path
from queue import Queue
from typing import Any

from websockets.sync.client import ClientConnection, connect

from hubbub.testing import HubProcess
from tests.aws_client import aws_client
from tests.mail import mail_server
from tests.sns.receiver import Receiver, receive
from tests.sns.test_sqs import verify

from .clients import WAIT, MqttClient

TOPIC = "alerts"


def configuration(mail_port: int) -> str:
    return f"""
admin.enabled = false
plugins.enable = ["aws", "gateway", "kinesis", "mqtt", "sns", "sqs"]
aws.listener.bind = ["127.0.0.1:0"]
gateway.listener.bind = ["127.0.0.1:0"]
mqtt.listener.bind = ["127.0.0.1:0"]
sns.smtp.host = "127.0.0.1"
sns.smtp.port = {mail_port}
"""


class Page:
    """A client of `hubbub.v1` whose session outlives its connections."""

    def __init__(self, hub: HubProcess) -> None:
        self._stack = ExitStack()
        self._socket: ClientConnection = self._stack.enter_context(
            connect(
                hub.url("WebSocket"),
                subprotocols=["hubbub.v1"],  # type: ignore[list-item]
                proxy=None,
            )
        )
        self._early: list[dict[str, Any]] = []
        self.ask("hello", session="page")

    def ask(self, op: str, **members: Any) -> dict[str, Any]:
        """Send a request; return its answer."""
        self._socket.send(json.dumps({"op": op, "id": op, **members}))
        while True:
            frame = self._read()
            if frame.get("id") == op:
                assert frame["op"] != "error", frame
                return frame
            self._early.append(frame)

    def _read(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(self._socket.recv(timeout=WAIT))
        return frame

    def next(self) -> str:
        """The body of the next message, which is acknowledged."""
        frame = self._early.pop(0) if self._early else self._read()
        assert frame["op"] == "message"
        self.ask("ack", delivery=frame["delivery"])
        body: str = frame["message"]["body"]
        return body

    def close(self) -> None:
        self._stack.close()


class Everybody:
    """All receivers of the topic, and what each has."""

    def __init__(self, hub: HubProcess, endpoint: Receiver, mails: "Queue[tuple[str, Mail]]"):
        self._hub = hub
        self._endpoint = endpoint
        self._mails = mails
        sns, sqs, kinesis = (aws_client(hub, each) for each in ("sns", "sqs", "kinesis"))
        self.topic = sns.create_topic(Name=TOPIC)["TopicArn"]
        self._queue = sqs.create_queue(QueueName="inbox")["QueueUrl"]
        kinesis.create_stream(StreamName="history", ShardCount=1)
        account = "000000000000"
        targets = {
            "sqs": f"arn:aws:sqs:us-east-1:{account}:inbox",
            "firehose": f"arn:aws:firehose:us-east-1:{account}:deliverystream/history",
            "http": endpoint.url,
            "email": "jo@example.org",
        }
        for protocol, target in targets.items():
            sns.subscribe(TopicArn=self.topic, Protocol=protocol, Endpoint=target)
        _visit(endpoint.get().json["SubscribeURL"])
        text = _text(mails.get(timeout=WAIT)[1])
        _visit(next(line for line in text.splitlines() if line.startswith("http")))
        self.device = MqttClient(hub, "device", clean=False, manual=True)
        self.device.subscribe(f"{TOPIC}/#")
        self.page = Page(hub)
        self.page.ask("subscribe", pattern=f"{TOPIC}/#", ack=True)

    def publish(self, text: str) -> None:
        aws_client(self._hub, "sns").publish(TopicArn=self.topic, Message=text)

    def connect_again(self) -> None:
        """Connect those who were cut off; they need not subscribe again."""
        self.device = MqttClient(self._hub, "device", clean=False, manual=True)
        self.page = Page(self._hub)

    def check(self, text: str, *, signed: bool = True) -> None:
        """Everybody gets this message; what came before a crash may come twice.

        `signed`: the certificate is still where it was when the endpoint subscribed.
        """
        sqs, kinesis = aws_client(self._hub, "sqs"), aws_client(self._hub, "kinesis")
        while True:
            [message] = sqs.receive_message(QueueUrl=self._queue, WaitTimeSeconds=10)["Messages"]
            sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
            envelope = json.loads(message["Body"])
            if envelope["Message"] == text:
                break
        iterator = kinesis.get_shard_iterator(
            StreamName="history", ShardId="0", ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        records = kinesis.get_records(ShardIterator=iterator)["Records"]
        assert text in [json.loads(each["Data"])["Message"] for each in records]
        while True:
            posted = self._endpoint.get(WAIT).json
            if signed:
                verify(posted)
            if posted["Message"] == text:
                break
        while _text(self._mails.get(timeout=2 * WAIT)[1]).splitlines()[0] != text:
            pass
        while True:
            message = self.device.next()
            self.device.acknowledge(message)
            if message.payload.decode() == text:
                break
        while self.page.next() != text:
            pass

    def close(self) -> None:
        self.device.close()
        self.page.close()


def _visit(url: str) -> None:
    with urllib.request.urlopen(url):
        pass


def _text(mail: Mail) -> str:
    body = mail.get_payload(decode=True)
    assert isinstance(body, bytes)
    return body.decode()


@contextmanager
def everybody(folder: Path) -> Iterator[tuple[HubProcess, Everybody, Receiver]]:
    with ExitStack() as stack:
        endpoint = stack.enter_context(receive())
        port, mails = stack.enter_context(mail_server())
        hub = stack.enter_context(HubProcess(folder, configuration(port)))
        found = Everybody(hub, endpoint, mails)
        yield hub, found, endpoint
        found.close()


def test_one_publish_reaches_everybody(tmp_path: Path) -> None:
    with everybody(tmp_path) as (_, found, _):
        found.publish("by SNS")
        found.check("by SNS")
        sender = MqttClient(found._hub, "sender")
        sender.publish(TOPIC, b"by MQTT")
        sender.close()
        found.check("by MQTT")


def test_what_was_published_reaches_everybody_over_kill(tmp_path: Path) -> None:
    with everybody(tmp_path) as (hub, found, endpoint):
        with endpoint.held():
            found.publish("just in time")
            hub.kill()
        found.device.drop()
        hub.start()
        found.connect_again()
        found.check("just in time", signed=False)
