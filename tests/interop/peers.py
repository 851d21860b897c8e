"""One client for each protocol behind one small interface, for tests over pairs of protocols.

A peer publishes fields and receives them by the names that docs/mapping.md has for the places where
they travel. It knows its protocol's library and nothing of the fields of hubbub's message.
"""

from __future__ import annotations

import abc
import base64
import contextlib
import json
import queue
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, NamedTuple
from urllib.parse import quote, unquote

import boto3
import botocore.config
import httpx
import paho.mqtt.client as paho
import requests
from paho.mqtt.enums import MQTTProtocolVersion
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as websocket

import amqp  # type: ignore[import-untyped]
import stomp  # type: ignore[import-untyped]
from hubbub.testing import HubProcess

from .clients import WAIT, MqttClient

CONFIG = """
hub.durability = "memory"
log.level = "error"
admin.listener.bind = ["127.0.0.1:0"]
aws.listener.bind = ["127.0.0.1:0"]
mqtt.listener.bind = ["127.0.0.1:0"]
amqp.listener.bind = ["127.0.0.1:0"]
stomp.listener.bind = ["127.0.0.1:0"]
gateway.listener.bind = ["127.0.0.1:0"]
"""

Places = Mapping[str, Any]
"""Values by the names of the places where they travel."""
Headers = Mapping[str, Any]
"""Headers as the protocol has them."""

_NONE: Mapping[str, Any] = {}
_FIELD = "hubbub."
_BODY_ENCODING = "hubbub.body-encoding"


class Received(NamedTuple):
    """A message as a client got it."""

    body: bytes
    places: dict[str, Any]
    headers: dict[str, Any]


class Peer(abc.ABC):
    """A client of one protocol."""

    column: ClassVar[str]
    """Its column in the tables of docs/mapping.md."""
    meter: ClassVar[str]
    """What the metrics call its protocol."""
    scope: str | None = None
    """The exchange it publishes and listens through; None: by plain address."""

    def __init__(self, hub: HubProcess) -> None:
        self._root = ""

    def listen(self, address: str) -> None:
        """Receive what is sent to a queue or stream, or below a topic, from now on."""
        self._root = address
        self._listen(address)

    @property
    def inbox(self) -> str:
        """Where to publish so that this peer receives."""
        return self._root if self._root.startswith("$") else f"{self._root}/x"

    @abc.abstractmethod
    def _listen(self, address: str) -> None: ...

    @abc.abstractmethod
    def publish(
        self, address: str, body: bytes, places: Places = _NONE, headers: Headers = _NONE
    ) -> None:
        """Publish, and wait for the confirmation."""

    @abc.abstractmethod
    def next(self, patience: float) -> Received | None:
        """The next message, None if there is none for so many seconds."""

    def receive(self, body: bytes) -> Received:
        """The message with this body; what a test that failed left behind is passed over."""
        deadline = time.monotonic() + WAIT
        while (patience := deadline - time.monotonic()) > 0:
            found = self.next(patience)
            if found is not None and found.body == body:
                return found
        raise TimeoutError(f"{self.column} has not received {body!r}")

    @abc.abstractmethod
    def close(self) -> None:
        """Disconnect."""


# AWS


def aws_client(hub: HubProcess, service: str) -> Any:
    """A boto3 client of a hub that serves all three services."""
    make: Any = boto3.client  # its types want to know the service
    return make(
        service,
        endpoint_url=hub.url("SQS"),
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=botocore.config.Config(retries={"max_attempts": 0}),
    )


def _attribute(value: Any) -> dict[str, Any]:
    """An attribute from (data type, value), or from a plain value."""
    data_type, value = value if isinstance(value, tuple) else (None, value)
    if isinstance(value, bytes):
        return {"DataType": data_type or "Binary", "BinaryValue": value}
    if isinstance(value, int):
        return {"DataType": data_type or "Number", "StringValue": str(value)}
    return {"DataType": data_type or "String", "StringValue": value}


def _attributes(body: bytes, places: Places, headers: Headers) -> tuple[str, dict[str, Any]]:
    """A body as text, and the attributes that places and headers are."""
    found = {name: _attribute(value) for name, value in headers.items()}
    found |= {name: _attribute(value) for name, value in places.items() if name.startswith(_FIELD)}
    try:
        text = body.decode()
        if text.isprintable():
            return text, found
    except UnicodeDecodeError:
        pass
    found[_BODY_ENCODING] = _attribute("base64")
    return base64.b64encode(body).decode(), found


def _received(
    text: str, attributes: Mapping[str, tuple[str, str | bytes]], places: Places
) -> Received:
    body = text.encode()
    if attributes.get(_BODY_ENCODING) == ("String", "base64"):
        body = base64.b64decode(body)
    fields = {name: value for name, (_, value) in attributes.items() if name.startswith(_FIELD)}
    headers = {name: each for name, each in attributes.items() if not name.startswith(_FIELD)}
    return Received(body, {**places, **fields}, headers)


class Sqs(Peer):
    """boto3's SQS."""

    column = "SQS"
    meter = "sqs"

    def __init__(self, hub: HubProcess) -> None:
        super().__init__(hub)
        self.client = aws_client(hub, "sqs")

    def _listen(self, address: str) -> None:
        self.client.create_queue(QueueName=address.removeprefix("$queue/"))

    def follow(self, address: str) -> None:
        """Receive from a queue that exists."""
        self._root = address

    def publish(
        self, address: str, body: bytes, places: Places = _NONE, headers: Headers = _NONE
    ) -> None:
        text, attributes = _attributes(body, places, headers)
        options = {name: value for name, value in places.items() if not name.startswith(_FIELD)}
        self.client.send_message(
            QueueUrl=address.removeprefix("$queue/"),
            MessageBody=text,
            MessageAttributes=attributes,
            **options,
        )

    def next(self, patience: float) -> Received | None:
        url = self._root.removeprefix("$queue/")
        answer = self.client.receive_message(
            QueueUrl=url, WaitTimeSeconds=max(1, min(20, int(patience))),
            MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"],
        )  # fmt: skip
        for message in answer.get("Messages", []):
            self.client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            attributes = {
                name: (each["DataType"], each.get("StringValue", each.get("BinaryValue")))
                for name, each in message.get("MessageAttributes", {}).items()
            }
            places = {"MessageId": message["MessageId"], **message["Attributes"]}
            return _received(message["Body"], attributes, places)
        return None

    def close(self) -> None:
        self.client.close()


class Sns(Peer):
    """boto3's SNS. It receives by a queue that is subscribed to the topic, in envelopes."""

    column = "SNS"
    meter = "sns"

    def __init__(self, hub: HubProcess) -> None:
        super().__init__(hub)
        self.client = aws_client(hub, "sns")
        self._queue = Sqs(hub)
        self._arns: dict[str, str] = {}

    def _topic(self, address: str) -> str:
        """The ARN of the topic whose subtree has an address."""
        name = address.partition("/")[0]
        if name not in self._arns:
            self._arns[name] = self.client.create_topic(Name=name)["TopicArn"]
        return self._arns[name]

    def _listen(self, address: str) -> None:
        self._queue.listen(f"$queue/{address}-sns")
        self.client.subscribe(
            TopicArn=self._topic(address), Protocol="sqs",
            Endpoint=f"arn:aws:sqs:us-east-1:000000000000:{address}-sns",
        )  # fmt: skip

    def publish(
        self, address: str, body: bytes, places: Places = _NONE, headers: Headers = _NONE
    ) -> None:
        text, attributes = _attributes(body, places, headers)
        options = {name: value for name, value in places.items() if not name.startswith(_FIELD)}
        self.client.publish(
            TopicArn=self._topic(address), Message=text, MessageAttributes=attributes, **options
        )

    def next(self, patience: float) -> Received | None:
        found = self._queue.next(patience)
        if found is None:
            return None
        envelope = json.loads(found.body)
        attributes = {
            name: (
                each["Type"],
                base64.b64decode(each["Value"]) if each["Type"] == "Binary" else each["Value"],
            )
            for name, each in envelope.pop("MessageAttributes", {}).items()
        }
        return _received(envelope.pop("Message"), attributes, envelope)

    def close(self) -> None:
        self.client.close()
        self._queue.close()


class Kinesis(Peer):
    """boto3's Kinesis, with a stream of one shard."""

    column = "Kinesis"
    meter = "kinesis"

    def __init__(self, hub: HubProcess) -> None:
        super().__init__(hub)
        self.client = aws_client(hub, "kinesis")
        self._iterator = ""
        self._records: list[dict[str, Any]] = []

    def _listen(self, address: str) -> None:
        name = address.removeprefix("$stream/")
        self.client.create_stream(StreamName=name, ShardCount=1)
        self.client.get_waiter("stream_exists").wait(
            StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10}
        )
        self.follow(address)

    def follow(self, address: str) -> None:
        """Read a stream that exists from its beginning."""
        name = address.removeprefix("$stream/")
        (shard,) = self.client.list_shards(StreamName=name)["Shards"]
        self._iterator = self.client.get_shard_iterator(
            StreamName=name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]

    def publish(
        self, address: str, body: bytes, places: Places = _NONE, headers: Headers = _NONE
    ) -> None:
        assert not headers
        name = address.removeprefix("$stream/")
        options = {"PartitionKey": "any", **places}
        self.client.put_record(StreamName=name, Data=body, **options)

    def next(self, patience: float) -> Received | None:
        if not self._records:
            answer = self.client.get_records(ShardIterator=self._iterator)
            self._iterator = answer["NextShardIterator"]
            self._records = answer["Records"]
        if not self._records:
            return None
        record = self._records.pop(0)
        return Received(record.pop("Data"), record, {})

    def close(self) -> None:
        self.client.close()


# MQTT


class Mqtt5(Peer):
    """paho with MQTT 5."""

    column = "MQTT 5"
    meter = "mqtt-5"
    version: ClassVar[MQTTProtocolVersion] = paho.MQTTv5
    _PROPERTIES: ClassVar = {
        "content type": "ContentType",
        "correlation data": "CorrelationData",
        "response topic": "ResponseTopic",
        "message expiry interval": "MessageExpiryInterval",
    }

    def __init__(self, hub: HubProcess) -> None:
        super().__init__(hub)
        self.client = MqttClient(hub, f"peer-{id(self)}", version=self.version)

    def _listen(self, address: str) -> None:
        self.client.subscribe(address if address.startswith("$") else f"{address}/#", qos=2)

    def publish(
        self, address: str, body: bytes, places: Places = _NONE, headers: Headers = _NONE
    ) -> None:
        fields: dict[str, Any] = {}
        pairs = list(headers.items())
        for name, value in places.items():
            if name in self._PROPERTIES:
                fields[self._PROPERTIES[name]] = value
            elif name.startswith(_FIELD):
                pairs.append((name, str(value)))
        pairs = [
            (name, each)
            for name, value in pairs
            for each in (value if isinstance(value, tuple) else (value,))
        ]
        if pairs:
            fields["UserProperty"] = pairs
        reason = self.client.publish(
            address, body, places.get("QoS", 1), retain=places.get("RETAIN", False), **fields
        )
        assert not reason.is_failure, reason

    def next(self, patience: float) -> Received | None:
        try:
            message = self.client.messages.get(timeout=patience)
        except queue.Empty:
            return None
        places: dict[str, Any] = {
            "topic": message.topic, "QoS": message.qos, "RETAIN": message.retain,
        }  # fmt: skip
        headers: dict[str, Any] = {}
        properties = message.properties
        if properties is not None:
            for name, attribute in self._PROPERTIES.items():
                if hasattr(properties, attribute):
                    places[name] = getattr(properties, attribute)
            for name, value in getattr(properties, "UserProperty", []):
                if name.startswith(_FIELD):
                    places[name] = value
                else:
                    headers[name] = (*headers.get(name, ()), value)
        return Received(bytes(message.payload), places, headers)

    def close(self) -> None:
        self.client.close()


class Mqtt3(Mqtt5):
    """paho with MQTT 3.1.1."""

    column = "MQTT 3"
    meter = "mqtt-3.1.1"
    version = paho.MQTTv311


# AMQP


class Amqp(Peer):
    """py-amqp, which knows all types of headers; on topics with the exchange amq.topic."""

    column = "AMQP"
    meter = "amqp-0-9-1"
    scope = "amq.topic"

    def __init__(self, hub: HubProcess) -> None:
        super().__init__(hub)
        self.connection = amqp.Connection(
            f"127.0.0.1:{hub.port('AMQP')}", confirm_publish=True, connect_timeout=WAIT
        )
        self.connection.connect()
        self.channel = self.connection.channel()
        self.channel.auto_decode = False
        self._messages: list[Any] = []

    def route(self, address: str) -> tuple[str, str]:
        """The exchange and routing key for an address."""
        if address.startswith("$queue/"):
            return "", address.removeprefix("$queue/")
        if address.startswith("$stream/"):
            return "", address
        return "amq.topic", address.replace("/", ".")

    def _listen(self, address: str) -> None:
        if address.startswith("$stream/"):
            name = address.removeprefix("$stream/")
            self.channel.basic_qos(0, 1000, a_global=False)
            arguments = {"x-stream-offset": "first"}
        elif address.startswith("$queue/"):
            name = address.removeprefix("$queue/")
            self.channel.queue_declare(name, durable=True, auto_delete=False)
            arguments = {}
        else:
            name = self.channel.queue_declare("", exclusive=True).queue
            self._bind(name, address)
            arguments = {}
        self.channel.basic_consume(name, callback=self._take, arguments=arguments)

    def _bind(self, name: str, address: str) -> None:
        self.channel.queue_bind(name, "amq.topic", f"{address}.#")

    def _take(self, message: Any) -> None:
        self.channel.basic_ack(message.delivery_tag)
        self._messages.append(message)

    def publish(
        self, address: str, body: bytes, places: Places = _NONE, headers: Headers = _NONE
    ) -> None:
        exchange, key = self.route(address)
        headers = dict(headers)
        options = {}
        for name, value in places.items():
            if name.startswith("header "):
                headers[name.removeprefix("header ")] = value
            else:
                options[name.replace("-", "_")] = value
        if options.get("expiration") is not None:
            options["expiration"] = str(options["expiration"])
        message = amqp.Message(body, application_headers=headers, **options)
        self.channel.basic_publish(message, exchange, key)

    def next(self, patience: float) -> Received | None:
        if not self._messages:
            try:
                self.connection.drain_events(patience)
            except TimeoutError:
                return None
        if not self._messages:
            return None
        message = self._messages.pop(0)
        properties = dict(message.properties)
        headers = {
            # py-amqp reads AMQP's times, which are in UTC, as times without a zone.
            name: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
            for name, value in properties.pop("application_headers", {}).items()
        }
        places = {name.replace("_", "-"): value for name, value in properties.items()}
        places |= {f"header {name}": value for name, value in headers.items()}
        delivery = message.delivery_info
        places |= {"exchange": delivery["exchange"], "routing key": delivery["routing_key"]}
        return Received(bytes(message.body or b""), places, headers)

    def close(self) -> None:
        self.connection.close()


class AmqpExchange(Amqp):
    """py-amqp, on topics with exchanges that have names: the first level of the address."""

    def __init__(self, hub: HubProcess) -> None:
        super().__init__(hub)
        self.scope = "named"

    def route(self, address: str) -> tuple[str, str]:
        exchange, _, key = address.partition("/")
        self.channel.exchange_declare(exchange, "topic", auto_delete=False)
        return exchange, key.replace("/", ".")

    def _bind(self, name: str, address: str) -> None:
        self.channel.exchange_declare(address, "topic", auto_delete=False)
        self.channel.queue_bind(name, address, "#")


# STOMP


class _Listener(stomp.ConnectionListener):  # type: ignore[misc]
    def __init__(self) -> None:
        self.messages: queue.Queue[Any] = queue.Queue()
        self.receipts: queue.Queue[str] = queue.Queue()
        self.errors: list[Any] = []

    def on_message(self, frame: Any) -> None:
        self.messages.put(frame)

    def on_receipt(self, frame: Any) -> None:
        self.receipts.put(frame.headers["receipt-id"])

    def on_error(self, frame: Any) -> None:
        self.errors.append((frame.headers, frame.body))


class Stomp(Peer):
    """stomp.py with STOMP 1.2, on topics with `/topic/`."""

    column = "STOMP"
    meter = "stomp-1.2"

    def __init__(self, hub: HubProcess) -> None:
        super().__init__(hub)
        self._listener = _Listener()
        self.connection = stomp.Connection12(
            [("127.0.0.1", hub.port("STOMP"))], auto_decode=False, heartbeats=(0, 0)
        )
        self.connection.set_listener("", self._listener)
        self.connection.connect(wait=True)
        self._receipts = 0

    def destination(self, address: str) -> str:
        """The destination that an address is."""
        if address.startswith("$"):
            return f"/{address[1:]}"
        return "/topic/" + address.replace("/", ".")

    def confirmed(self, action: Callable[[str], None]) -> None:
        """Do what asks for a receipt, and wait for it."""
        self._receipts += 1
        receipt = f"r{self._receipts}"
        action(receipt)
        try:
            while self._listener.receipts.get(timeout=WAIT) != receipt:
                pass
        except queue.Empty:
            raise AssertionError(f"no receipt: {self._listener.errors}") from None

    def _listen(self, address: str) -> None:
        if address.startswith("$"):
            destination = self.destination(address)
        else:
            destination = f"{self.destination(address)}{self._below}"
        options = {"x-stream-offset": "first"} if address.startswith("$stream/") else {}
        self.confirmed(
            lambda receipt: self.connection.subscribe(
                destination, id=destination, ack="auto", headers={"receipt": receipt, **options}
            )
        )

    _below = ".#"

    def publish(
        self, address: str, body: bytes, places: Places = _NONE, headers: Headers = _NONE
    ) -> None:
        lines = {name: str(value) for name, value in {**headers, **places}.items()}
        kind = lines.pop("content-type", None)
        self.confirmed(
            lambda receipt: self.connection.send(
                self.destination(address), body, kind, {"receipt": receipt, **lines}
            )
        )

    def next(self, patience: float) -> Received | None:
        try:
            frame = self._listener.messages.get(timeout=patience)
        except queue.Empty:
            return None
        return Received(frame.body or b"", dict(frame.headers), dict(frame.headers))

    def close(self) -> None:
        with contextlib.suppress(stomp.exception.NotConnectedException):
            self.connection.disconnect()


class StompExchange(Stomp):
    """stomp.py on topics with `/exchange/`; an exchange has to be declared by AMQP."""

    def __init__(self, hub: HubProcess) -> None:
        super().__init__(hub)
        self.scope = "named"
        self._amqp = AmqpExchange(hub)

    def destination(self, address: str) -> str:
        exchange, slash, key = address.partition("/")
        self._amqp.channel.exchange_declare(exchange, "topic", auto_delete=False)
        return f"/exchange/{exchange}{slash}{key.replace('/', '.')}"

    _below = ""

    def close(self) -> None:
        super().close()
        self._amqp.close()


# HTTP


def _path(address: str) -> str:
    """Where an address is in the HTTP API."""
    kind, _, name = address.partition("/")
    if kind == "$queue":
        return f"/queues/{quote(name, safe='')}/messages"
    if kind == "$stream":
        return f"/streams/{quote(name, safe='')}/records"
    return f"/topics/{quote(address)}"


_VALUE_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
_FLAGS = frozenset({"durable", "retain"})


def _to_json(value: Any) -> Any:
    """A header as the JSON form has it."""
    match value:
        case bytes():
            return {"$base64": base64.b64encode(value).decode()}
        case datetime():
            return {"$time": value.isoformat()}
        case list():
            return [_to_json(each) for each in value]
        case _:
            return value


def _from_json(value: Any) -> Any:
    match value:
        case {"$base64": str(text)}:
            return base64.b64decode(text)
        case {"$time": str(text)}:
            return datetime.fromisoformat(text)
        case list():
            return [_from_json(each) for each in value]
        case _:
            return value


class HttpJson(Peer):
    """httpx with messages in the JSON form; on topics by Server-Sent Events."""

    column = "JSON"
    meter = "http"

    def __init__(self, hub: HubProcess) -> None:
        super().__init__(hub)
        self.client = httpx.Client(base_url=hub.url("HTTP"), timeout=2 * WAIT)
        self._events = contextlib.ExitStack()
        self._lines: Iterator[str] = iter(())
        self._next = "0@0"
        self._records: list[dict[str, Any]] = []

    def _listen(self, address: str) -> None:
        if address.startswith("$queue/"):
            self.client.put(f"/queues/{quote(address[7:], safe='')}").raise_for_status()
        elif not address.startswith("$"):
            answer = self._events.enter_context(
                self.client.stream(
                    "GET", f"{_path(address)}/%23", headers={"Accept": "text/event-stream"}
                )
            )
            assert answer.status_code == 200
            self._lines = answer.iter_lines()
            assert next(self._lines).startswith("retry: ")  # then it is subscribed

    def publish(
        self, address: str, body: bytes, places: Places = _NONE, headers: Headers = _NONE
    ) -> None:
        form: dict[str, Any] = {
            name: value == "true" if name in _FLAGS else value for name, value in places.items()
        }
        form["headers"] = {name: _to_json(value) for name, value in headers.items()}
        try:
            form["body"] = body.decode()
        except UnicodeDecodeError:
            form["body_base64"] = base64.b64encode(body).decode()
        self._send(address, form)

    def _send(self, address: str, form: Mapping[str, Any]) -> None:
        answer = self.client.post(_path(address), params={"form": "json"}, json=form)
        assert answer.status_code == 202, answer.text

    def next(self, patience: float) -> Received | None:
        found = self._take(patience)
        if found is None:
            return None
        body = found["body"].encode() if "body" in found else base64.b64decode(found["body_base64"])
        headers = {name: _from_json(value) for name, value in found.pop("headers", {}).items()}
        places = {"durable": True, "retain": False, "priority": 0, **found}
        places |= {name: str(places[name]).lower() for name in _FLAGS}
        return Received(body, places, headers)

    def _take(self, patience: float) -> dict[str, Any] | None:
        if self._root.startswith("$queue/"):
            query = {"wait": str(patience)}
            (message,) = self.client.get(_path(self._root), params=query).json()["messages"] or (
                None,
            )
            if message is not None:
                self.client.delete(f"{_path(self._root)}/{message['lease']}").raise_for_status()
            return message
        if self._root.startswith("$stream/"):
            if not self._records:
                query = {"wait": str(patience), "next": self._next}
                answer = self.client.get(_path(self._root), params=query).json()
                self._records, self._next = answer["records"], answer["next"]
            return self._records.pop(0) if self._records else None
        deadline = time.monotonic() + patience
        for line in self._lines:  # a heart-beat comes in between
            if line.startswith("data: "):
                return json.loads(line.removeprefix("data: "))  # type: ignore[no-any-return]
            if time.monotonic() >= deadline:
                break
        return None

    def close(self) -> None:
        self._events.close()
        self.client.close()


class WebSocket(HttpJson):
    """websockets with `hubbub.v1`: the same JSON form in frames."""

    meter = "websocket"

    def __init__(self, hub: HubProcess) -> None:
        super().__init__(hub)
        self._socket: ClientConnection = self._events.enter_context(
            websocket(
                hub.url("WebSocket"),
                subprotocols=["hubbub.v1"],  # type: ignore[list-item]
                proxy=None,
            )
        )
        self._messages: list[dict[str, Any]] = []
        self._ask("hello", binary="never")

    def _ask(self, op: str, **members: Any) -> None:
        self._socket.send(json.dumps({"op": op, "id": op, **members}))
        while (frame := self._read(WAIT)).get("id") != op:
            self._messages.append(frame)
        assert frame["op"] != "error", frame

    def _read(self, patience: float) -> dict[str, Any]:
        return json.loads(self._socket.recv(timeout=patience))  # type: ignore[no-any-return]

    def _listen(self, address: str) -> None:
        kind, _, name = address.partition("/")
        if kind == "$queue":
            self._ask("consume", queue=name, ack=False)
        elif kind == "$stream":
            self._ask("read", stream=name, **{"from": "oldest"})
        else:
            self._ask("subscribe", pattern=f"{address}/#")

    def _send(self, address: str, form: Mapping[str, Any]) -> None:
        self._ask("publish", to=address, message=form)

    def _take(self, patience: float) -> dict[str, Any] | None:
        if not self._messages:
            try:
                self._messages.append(self._read(patience))
            except TimeoutError:
                return None
        message: dict[str, Any] = self._messages.pop(0)["message"]
        return message


class _Places(dict[str, Any]):
    """Headers of HTTP, whose names know no case."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).lower())

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(name.lower())


class Http(Peer):
    """requests with messages in HTTP's own form, on queues; elsewhere it publishes alone."""

    column = "HTTP"
    meter = "http"

    def __init__(self, hub: HubProcess) -> None:
        super().__init__(hub)
        self._url = hub.url("HTTP")
        self._session = requests.Session()

    def _listen(self, address: str) -> None:
        assert address.startswith("$queue/")
        self._session.put(f"{self._url}/queues/{quote(address[7:], safe='')}").raise_for_status()

    def publish(
        self, address: str, body: bytes, places: Places = _NONE, headers: Headers = _NONE
    ) -> None:
        lines = {name: quote(str(value), safe=_VALUE_SAFE) for name, value in places.items()}
        lines |= {f"Hubbub-Header-{name}": str(value) for name, value in headers.items()}
        answer = self._session.post(self._url + _path(address), data=body, headers=lines)
        assert answer.status_code == 202, answer.text

    def next(self, patience: float) -> Received | None:
        path = self._url + _path(self._root)
        answer = self._session.get(path, params={"form": "raw", "wait": str(patience)})
        if answer.status_code == 204:
            return None
        assert answer.status_code == 200, answer.text
        self._session.delete(f"{path}/{answer.headers['Hubbub-Lease']}").raise_for_status()
        own = "hubbub-header-"
        lines = {name.lower(): value for name, value in answer.headers.items()}
        headers = {name[len(own) :]: value for name, value in lines.items() if name.startswith(own)}
        places = {"hubbub-durable": "true", "hubbub-priority": "0"}
        places |= {
            name: unquote(value) for name, value in lines.items() if not name.startswith(own)
        }
        return Received(answer.content, _Places(places), headers)

    def close(self) -> None:
        self._session.close()
