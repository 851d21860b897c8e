"""docs/mapping.md is true: its tables are read here and tried out, cell by cell, by real clients.

Every ordered pair of protocols on queues, on topics and on streams, each protocol with itself
included.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hubbub import Message
from hubbub.testing import HubProcess

from .peers import (
    CONFIG,
    Amqp,
    AmqpExchange,
    Http,
    HttpJson,
    Kinesis,
    Mqtt3,
    Mqtt5,
    Peer,
    Received,
    Sns,
    Sqs,
    Stomp,
    StompExchange,
    WebSocket,
)
from .table import Cell, Form, fields, header_forms, rows_of

FIELDS = fields()
HEADERS = header_forms()

QUEUE: tuple[type[Peer], ...] = (Sqs, Mqtt5, Mqtt3, Amqp, Stomp, HttpJson, Http, WebSocket)
TOPIC: tuple[type[Peer], ...] = (
    Sns, Mqtt5, Mqtt3, Amqp, AmqpExchange, Stomp, StompExchange, HttpJson, Http,
    WebSocket,
)  # fmt: skip
STREAM: tuple[type[Peer], ...] = (Kinesis, Mqtt5, Mqtt3, Amqp, Stomp, HttpJson, Http, WebSocket)
NO_STREAM_READERS = (Mqtt5, Mqtt3, Http)
NO_TOPIC_READERS = (Http,)

_numbers = itertools.count()

AN_HOUR = 3_600_000
SLACK = 5_000
"""Milliseconds that an expiry may shift: MQTT has whole seconds, and a test takes time."""


# Fields: how the table's words spell them


class Spelling(NamedTuple):
    """How a field's value is written and read; `near` says that it may shift on the way."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]
    near: bool = False


def now() -> int:
    return int(time.time() * 1000)


def _destination(address: str) -> str:
    return f"/{address[1:]}" if address.startswith("$") else "/topic/" + address.replace("/", ".")


def _undo_destination(text: str) -> str:
    kind, _, rest = text[1:].partition("/")
    return rest.replace(".", "/") if kind == "topic" else f"${kind}/{rest}"


def _address_of_url(text: str) -> str:
    return "$queue/" + text.rpartition("/")[2] if "://" in text else text


SPELLINGS = {
    "": Spelling(str, lambda value: value if isinstance(value, str) else value.decode()),
    "a number": Spelling(int, int),
    "in bytes": Spelling(lambda text: text.encode(), lambda data: data.decode()),
    "in milliseconds": Spelling(int, int, near=True),
    "in seconds": Spelling(lambda ms: ms // 1000, lambda s: int(s) * 1000),
    "in seconds or milliseconds": Spelling(
        lambda ms: ms if ms % 1000 else ms // 1000,
        lambda value: int(value) if int(value) > 10**11 else int(value) * 1000,
    ),
    "in seconds left": Spelling(
        lambda ms: (ms - now()) // 1000, lambda s: now() + s * 1000, near=True
    ),
    "in milliseconds left": Spelling(
        lambda ms: ms - now(), lambda left: now() + int(left), near=True
    ),
    "2 or 1": Spelling(lambda durable: 2 if durable else 1, lambda mode: mode == 2),
    "true or absent": Spelling(
        lambda durable: "true" if durable else "false", lambda text: text == "true"
    ),
    "true or false": Spelling(lambda flag: "true" if flag else "false", lambda t: t == "true"),
    "an address": Spelling(str, str),
    "a queue's URL or an address": Spelling(str, _address_of_url),
    "a routing key": Spelling(
        lambda address: address[7:] if address.startswith("$queue/") else f"$topic/{address}",
        lambda key: key[7:] if key.startswith("$topic/") else f"$queue/{key}",
    ),
    "a destination": Spelling(_destination, _undo_destination),
}

SAMPLES: dict[str, Callable[[], list[Any]]] = {
    "content_type": lambda: ["text/plain; charset=utf-8"],
    "content_encoding": lambda: ["identity"],
    "correlation_id": lambda: ["7f-grüße"],
    "reply_to": lambda: ["$queue/answers", "answers/mine"],
    "message_id": lambda: ["m-1"],
    "type": lambda: ["order placed"],
    "app_id": lambda: ["till 4"],
    "user_id": lambda: ["guest"],
    "timestamp": lambda: [1_700_000_000_000, 1_700_000_000_123],
    "expires_at": lambda: [now() + AN_HOUR],
    "priority": lambda: [7],
    "durable": lambda: [True, False],
    "group": lambda: ["customer-12"],
    "dedup_id": lambda: [f"once-{next(_numbers)}"],
    "shard_key": lambda: ["170141183460469231731687303715884105728"],
}
"""Fields that a publisher sets, with values. Other rows of the table have tests of their own."""

OTHERS = {
    "address", "body", "id", "headers", "qos", "delay", "retain", "scope", "protocol", "client",
    "published", "origin_id", "deaths", "prior_receives", "hops", "wire",
}  # fmt: skip


def test_the_table_has_every_field() -> None:
    assert list(FIELDS) == list(Message.__struct_fields__)
    assert OTHERS | set(SAMPLES) == set(FIELDS)
    for row in FIELDS.values():
        for cell in row.values():
            assert cell.spelling in SPELLINGS


# The hub and its peers


class World:
    """A hub, and its clients by what they do: each kind of peer sends and listens."""

    def __init__(self, hub: HubProcess) -> None:
        self.hub = hub
        self._peers: dict[tuple[type[Peer], str], Peer] = {}

    def peer(self, kind: type[Peer], place: str) -> Peer:
        """The peer of a kind that listens to a queue, a topic or a stream of its own."""
        if (kind, place) not in self._peers:
            name = f"{place}-to-{kind.__name__.lower()}"
            peer = self._peers[kind, place] = kind(self.hub)
            if place == "stream":
                self._make_stream(name, made=kind is Kinesis)
                if kind not in NO_STREAM_READERS:
                    peer.listen(f"$stream/{name}")
            elif place == "topic" and kind in NO_TOPIC_READERS:
                pass
            else:
                peer.listen(name if place == "topic" else f"$queue/{name}")
        return self._peers[kind, place]

    def _make_stream(self, name: str, *, made: bool) -> None:
        if not made:
            maker = Kinesis(self.hub)
            maker.listen(f"$stream/{name}")
            maker.close()

    def losses(self, protocol: str) -> dict[str, float]:
        """What a protocol has lost so far, by field."""
        with urllib.request.urlopen(self.hub.url("Admin") + "/metrics") as answer:
            text = answer.read().decode()
        return {
            sample.labels["field"]: sample.value
            for family in text_string_to_metric_families(text)
            if family.name == "hubbub_lossy"
            for sample in family.samples
            if sample.name == "hubbub_lossy_total" and sample.labels["protocol"] == protocol
        }

    def close(self) -> None:
        """Disconnect all."""
        for peer in self._peers.values():
            peer.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with HubProcess(tmp_path_factory.mktemp("hub"), CONFIG) as process:
        world = World(process)
        yield world
        world.close()
        assert process.stop() == 0


class Pair(NamedTuple):
    """Who sends, who receives, and over what."""

    source: type[Peer]
    target: type[Peer]
    place: str

    def __str__(self) -> str:
        return f"{self.source.__name__}-{self.target.__name__}-{self.place}"


def _meet(source: type[Peer], target: type[Peer]) -> bool:
    """Whether a topic's message reaches the target: exchanges are strict among themselves."""
    if target in NO_TOPIC_READERS:
        return False
    scopes = {Amqp: "amq.topic", AmqpExchange: "named", StompExchange: "named"}
    return scopes.get(target) in {None, scopes.get(source)} or source not in scopes


PAIRS = [
    *(Pair(*each, "queue") for each in itertools.product(QUEUE, QUEUE)),
    *(Pair(*each, "topic") for each in itertools.product(TOPIC, TOPIC) if _meet(*each)),
    *(
        Pair(*each, "stream")
        for each in itertools.product(STREAM, STREAM)
        if each[1] not in NO_STREAM_READERS
    ),
]
pairs = pytest.mark.parametrize("pair", PAIRS, ids=str)


def fresh() -> bytes:
    """A body that no other message has."""
    return b"body %d" % next(_numbers)


# Fields


@pairs
def test_fields(world: World, pair: Pair) -> None:
    """Each field arrives where the table says, or its loss is counted as the table says."""
    source, target = world.peer(pair.source, pair.place), world.peer(pair.target, pair.place)
    wrong = [
        f"{field} = {value!r}: {fault}"
        for field, samples in SAMPLES.items()
        if (sent := FIELDS[field][source.column]).sent
        for value in samples()
        if (fault := _try_field(world, source, target, sent, FIELDS[field][target.column], value))
    ]
    assert not wrong, "\n".join(wrong)


def _try_field(
    world: World, source: Peer, target: Peer, sent: Cell, wanted: Cell, value: Any
) -> str | None:
    """Send a message with one field; return what is not as the table says."""
    assert sent.place is not None
    written = SPELLINGS[sent.spelling].write(value)
    before = world.losses(target.meter) if wanted.loss else {}
    body = fresh()
    source.publish(target.inbox, body, {sent.place: written})
    found = target.receive(body)
    if wanted.loss:
        counted = world.losses(target.meter).get(wanted.loss, 0) - before.get(wanted.loss, 0)
        return None if counted == 1 else f"counted {counted} times as {wanted.loss!r}"
    if not wanted.received:
        if source.column != target.column and wanted.place in found.places:
            return f"arrived as {wanted.place!r}, which the table calls (send)"
        return None
    return _compare(SPELLINGS[sent.spelling], written, wanted, found, value)


def _compare(sent: Spelling, written: Any, wanted: Cell, found: Received, value: Any) -> str | None:
    spelling = SPELLINGS[wanted.spelling]
    assert wanted.place is not None
    if wanted.spelling == "true or absent":
        arrived = found.places.get(wanted.place) == "true"
    elif wanted.place not in found.places:
        return f"{wanted.place!r} is not among {found.places}"
    else:
        arrived = spelling.read(found.places[wanted.place])
    if spelling.near and sent.near and isinstance(value, int):
        return None if abs(arrived - value) <= SLACK else f"arrived as {arrived!r}"
    # What one spelling can't say, such as the milliseconds of AMQP's timestamps, is the page's too.
    expected = spelling.read(spelling.write(sent.read(written)))
    return None if arrived == expected else f"arrived as {arrived!r}"


# Bodies


@pairs
def test_bodies(world: World, pair: Pair) -> None:
    source, target = world.peer(pair.source, pair.place), world.peer(pair.target, pair.place)
    bodies = [fresh(), f"grüße ☃ {next(_numbers)}".encode(), b"\0\xff\n" + fresh()]
    if pair.source not in {Sqs, Sns, Kinesis}:
        bodies.append(b"")
    for body in bodies:
        before = world.losses(target.meter).get("binary body", 0)
        source.publish(target.inbox, body)
        assert target.receive(body).body == body
        textual = pair.target not in {Sqs, Sns}
        counted = world.losses(target.meter).get("binary body", 0) - before
        sent_as_base64 = pair.source in {Sqs, Sns}
        assert counted == (body.startswith(b"\0") and not textual and not sent_as_base64)


# Headers

HEADER_SAMPLES: Mapping[str, Any] = {
    "text": "red",
    "integer": 42,
    "real": 1.5,
    "boolean": True,
    "bytes": b"\x00\xff",
    "time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "list of texts": ["a", "b"],
    "list": [1, "a"],
    "table": {"a": 1},
    "nothing": None,
}


def test_the_table_has_every_type() -> None:
    assert list(HEADERS) == list(HEADER_SAMPLES)


def _write_header(column: str, kind: str) -> Any:
    """A header as a publisher of a protocol writes it; None if it has no such type."""
    form = HEADERS[kind][column]
    if column in {"SQS", "SNS"}:
        data_type, text = form.values
        return data_type, base64.b64decode(text) if data_type == "Binary" else text
    if column in {"AMQP", "JSON"}:
        return HEADER_SAMPLES[kind]
    if column == "HTTP" and kind in {"text", "bytes"}:
        return form.values[0]
    if column == "MQTT 5" and kind in {"text", "list of texts"}:
        return form.values
    return form.values[0] if column == "STOMP" and kind == "text" else None


def _read_header(column: str, form: Form) -> Any:
    """A header as a receiver of a protocol gets it, by the table."""
    if column in {"SQS", "SNS"}:
        return _write_header(column, _kind_of(column, form))
    return form.values if column == "MQTT 5" else form.values[0]


def _kind_of(column: str, form: Form) -> str:
    return next(kind for kind, row in HEADERS.items() if row[column] == form)


def _alike(found: Any, wanted: Any) -> bool:
    """Equal; JSON in an attribute may have other spaces."""
    if isinstance(wanted, tuple) and wanted[0] in {"String.Array", "String.json"}:
        return bool(found[0] == wanted[0] and json.loads(found[1]) == json.loads(wanted[1]))
    return bool(found == wanted)


@pairs
def test_headers(world: World, pair: Pair) -> None:
    """Each type of header arrives in the form of the table, and what changes type is counted."""
    source, target = world.peer(pair.source, pair.place), world.peer(pair.target, pair.place)
    wrong = []
    for kind, row in HEADERS.items():
        written = _write_header(source.column, kind)
        if written is None and (source.column not in {"AMQP", "JSON"} or kind != "nothing"):
            continue
        form = row[target.column]
        same = source.column == target.column
        loss = None if same else form.loss
        before = world.losses(target.meter) if loss else {}
        body = fresh()
        source.publish(target.inbox, body, headers={"sample": written})
        headers = target.receive(body).headers
        if loss is not None:
            counted = world.losses(target.meter).get(loss, 0) - before.get(loss, 0)
            if counted != 1:
                wrong.append(f"{kind}: counted {counted} times as {loss!r}")
        if loss is None or form.values:
            wanted = HEADER_SAMPLES[kind] if not form.values else _read_header(target.column, form)
            if "sample" not in headers or not _alike(headers["sample"], wanted):
                wrong.append(f"{kind}: {headers.get('sample')!r} is not {wanted!r}")
        elif "sample" in headers:
            wrong.append(f"{kind}: arrived, though the table calls it lost")
    assert not wrong, "\n".join(wrong)


def test_headers_that_do_not_fit(world: World) -> None:
    """The losses below the table of types: each is counted by the name that the page has."""
    amqp, sqs = world.peer(Amqp, "queue"), world.peer(Sqs, "queue")
    stomp, mqtt = world.peer(Stomp, "queue"), world.peer(Mqtt5, "queue")
    for source, target, headers, arrived, loss in (
        (amqp, sqs, {f"h{number}": 1 for number in range(12)}, 10, "eleventh attribute"),
        (amqp, sqs, {"no spaces": "x", "fine": "x"}, 1, "attribute name"),
        (amqp, sqs, {"bell": "\a", "fine": "x"}, 1, "attribute value"),
        (amqp, mqtt, {"zero": "\0", "fine": "x"}, 1, "header"),
        (stomp, amqp, {"n" * 256: "x", "fine": "x"}, 1, "header"),
        (amqp, sqs, {"hubbub.topic": "x", "hubbub.body-encoding": "base64"}, 0, "attribute name"),
        (amqp, stomp, {"priority": "x", "message-id": "x", "x-death": "x"}, 0, "header name"),
    ):
        before = world.losses(target.meter).get(loss, 0)
        body = fresh()
        source.publish(target.inbox, body, headers=headers)
        found = target.receive(body).headers
        assert len(found.keys() & headers.keys()) - (loss == "header name") == arrived
        assert world.losses(target.meter)[loss] - before == len(headers) - arrived


# Rows with tests of their own


def test_correlation_ids_of_bytes(world: World) -> None:
    mqtt, data = world.peer(Mqtt5, "queue"), b"\xff\x00"

    def cross(kind: type[Peer]) -> Received:
        peer, body = world.peer(kind, "queue"), fresh()
        mqtt.publish(peer.inbox, body, {"correlation data": data})
        return peer.receive(body)

    assert cross(Sqs).places["hubbub.correlation-id"] == data
    assert cross(Amqp).places["header correlation-id"] == data
    assert cross(HttpJson).places["correlation_id"] == {"$base64": "/wA="}
    before = world.losses("stomp-1.2").get("correlation id type", 0)
    assert base64.b64decode(cross(Stomp).places["correlation-id"]) == data
    assert world.losses("stomp-1.2")["correlation id type"] == before + 1


ADDRESS: dict[type[Peer], Callable[[str], str]] = {
    Sns: lambda address: "arn:aws:sns:us-east-1:000000000000:" + address.partition("/")[0],
    Mqtt5: str,
    Mqtt3: str,
    Amqp: lambda address: address.replace("/", "."),
    Stomp: lambda address: "/topic/" + address.replace("/", "."),
    HttpJson: str,
}


@pytest.mark.parametrize("target", ADDRESS, ids=lambda kind: kind.column)
def test_addresses(world: World, target: type[Peer]) -> None:
    source, peer, body = world.peer(Mqtt5, "topic"), world.peer(target, "topic"), fresh()
    source.publish(peer.inbox, body)
    place = FIELDS["address"][peer.column].place
    assert place is not None
    assert peer.receive(body).places[place] == ADDRESS[target](peer.inbox)


def test_scope(world: World) -> None:
    """Exchanges have the scope in their own places, and see nothing of each other."""
    named, plain = world.peer(AmqpExchange, "topic"), world.peer(Amqp, "topic")
    stomp = world.peer(StompExchange, "topic")
    body = fresh()
    named.publish(stomp.inbox, body)
    assert stomp.receive(body).places["destination"] == "/exchange/topic-to-stompexchange/x"
    body = fresh()
    stomp.publish(named.inbox, body)
    places = named.receive(body).places
    assert (places["exchange"], places["routing key"]) == ("topic-to-amqpexchange", "x")
    strange, body = fresh(), fresh()
    named.publish(plain.inbox, strange)
    world.peer(Mqtt5, "topic").publish(plain.inbox, body)
    found = plain.next(10)
    assert found is not None
    assert (found.body, found.places["exchange"]) == (body, "amq.topic")


@pytest.mark.parametrize("source", [Mqtt5, Mqtt3], ids=lambda kind: kind.column)
@pytest.mark.parametrize("target", [Mqtt5, Mqtt3], ids=lambda kind: kind.column)
def test_qos(world: World, source: type[Peer], target: type[Peer]) -> None:
    sender, peer = world.peer(source, "topic"), world.peer(target, "topic")
    for qos in range(3):
        body = fresh()
        sender.publish(peer.inbox, body, {"QoS": qos})
        assert peer.receive(body).places["QoS"] == qos


def test_retained_messages(world: World) -> None:
    """What MQTT retains is there for who comes later, with all its fields."""
    topic = f"retained-{next(_numbers)}"
    world.peer(Mqtt3, "topic").publish(f"{topic}/x", b"kept", {"RETAIN": True})
    for kind in (Mqtt5, Mqtt3):
        late = kind(world.hub)
        late.listen(topic)
        assert late.receive(b"kept").places["RETAIN"]
        late.close()


def test_delays(world: World) -> None:
    """Whoever may delay does; MQTT 5 is told of it."""
    target = world.peer(Mqtt5, "queue")
    for kind, milliseconds in (
        (Sqs, 1000),
        (Mqtt5, 200),
        (Stomp, 200),
        (HttpJson, 1000),
        (Http, 1000),
    ):
        source, body = world.peer(kind, "queue"), fresh()
        cell = FIELDS["delay"][source.column]
        assert cell.place is not None
        start = time.monotonic()
        value = milliseconds // 1000 if cell.spelling == "in seconds" else milliseconds
        source.publish(target.inbox, body, {cell.place: value})
        found = target.receive(body)
        assert time.monotonic() - start >= milliseconds / 1000
        assert found.places["hubbub.delay"] == str(milliseconds)


def test_what_the_hub_tells_aws_clients(world: World) -> None:
    """Ids, times and clients, whoever published."""
    begin = now() - 1
    sqs, sns, kinesis = (
        world.peer(Sqs, "queue"), world.peer(Sns, "topic"), world.peer(Kinesis, "stream"),
    )  # fmt: skip
    for peer in (sqs, sns, kinesis):
        body = fresh()
        world.peer(Mqtt5, "queue").publish(peer.inbox, body)
        places = peer.receive(body).places
        for field in ("id", "published", "client", "prior_receives"):
            cell = FIELDS[field][peer.column]
            assert cell.place is None or places[cell.place]
        if peer is sqs:
            assert begin <= int(places["SentTimestamp"]) <= now()
            assert places["ApproximateReceiveCount"] == "1"
            assert places["SenderId"].startswith("peer-")


def test_a_fifo_queue_keeps_group_and_deduplication_id(world: World) -> None:
    sqs, name = Sqs(world.hub), f"orders-{next(_numbers)}.fifo"
    sqs.client.create_queue(QueueName=name, Attributes={"FifoQueue": "true"})
    sqs.follow(f"$queue/{name}")
    for kind in (Mqtt5, Amqp, Stomp, HttpJson, Http):
        source = world.peer(kind, "queue")
        row = {field: FIELDS[field][source.column].place for field in ("group", "dedup_id")}
        places = {row["group"]: "g", row["dedup_id"]: source.column.replace(" ", "-")}
        first = fresh()
        source.publish(f"$queue/{name}", first, places)  # type: ignore[arg-type]
        source.publish(f"$queue/{name}", fresh(), places)  # type: ignore[arg-type]
        found = sqs.next(10)
        assert found is not None
        assert (found.body, found.places["MessageGroupId"]) == (first, "g")
        assert found.places["MessageDeduplicationId"] == source.column.replace(" ", "-")
    sqs.close()


def test_names_that_the_server_owns_are_not_taken(world: World) -> None:
    stomp, amqp = world.peer(Stomp, "queue"), world.peer(Amqp, "queue")
    forged = {"x-death": "[]", "x-delivery-count": "9", "redelivered": "true", "colour": "red"}
    for target in (stomp, amqp):
        body = fresh()
        stomp.publish(target.inbox, body, headers=forged)
        headers = target.receive(body).headers
        assert headers["colour"] == "red"
        assert not headers.keys() & {"x-death", "x-delivery-count"}
        assert headers.get("redelivered", "false") == "false"
    sqs, body = world.peer(Sqs, "queue"), fresh()
    sqs.publish(sqs.inbox, body, {"hubbub.topic": "forged"})
    assert "hubbub.topic" not in sqs.receive(body).places
    sns = world.peer(Sns, "topic")
    world.peer(Mqtt5, "topic").publish(
        sns.inbox, body := fresh(), {"hubbub.body-encoding": "base64"}
    )
    assert sns.receive(body).body == body


REPLY_PLACES: dict[type[Peer], str] = {
    Sqs: "hubbub.reply-to", Mqtt5: "response topic", Amqp: "reply-to", Stomp: "reply-to",
    HttpJson: "reply_to",
}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "source", "reply_to"),
    [
        (0, Stomp, "/queue/answers"),
        (0, Mqtt5, "$queue/answers"),
        (1, Amqp, "$topic/answers/mine"),
        (2, Amqp, "amq.rabbitmq.reply-to"),
        (3, Stomp, "/temp-queue/mine"),
    ],
)
def test_the_table_of_reply_to(world: World, row: int, source: type[Peer], reply_to: str) -> None:
    """Each protocol spells the address as its column says; "TOKEN" and "…" stand for anything."""
    _, rows = rows_of("Reply-to")
    asker = source(world.hub)
    if reply_to == "amq.rabbitmq.reply-to":
        assert isinstance(asker, Amqp)
        asker.channel.basic_consume(reply_to, no_ack=True)
    for (target, place), cell in zip(REPLY_PLACES.items(), list(rows.values())[row], strict=True):
        peer, body = world.peer(target, "queue"), fresh()
        asker.publish(peer.inbox, body, {REPLY_PLACES[source]: reply_to})
        (code,) = re.findall("`([^`]+)`", cell)
        pattern = re.escape(code).replace("TOKEN", ".+").replace("…", ".+")
        if cell.startswith("the URL of "):
            pattern = f"http://.+/{pattern}"
        assert re.fullmatch(pattern, peer.receive(body).places[place])
    asker.close()


def test_a_content_type_that_http_can_not_say(world: World) -> None:
    target, body = world.peer(Http, "queue"), fresh()
    before = world.losses(target.meter).get("content type", 0)
    world.peer(Mqtt5, "queue").publish(target.inbox, body, {"content type": "tëxt"})
    assert "Content-Type" not in target.receive(body).places
    assert world.losses(target.meter)["content type"] == before + 1


def test_what_is_too_long_for_amqp_is_cut(world: World) -> None:
    target, body = world.peer(Amqp, "queue"), fresh()
    before = world.losses(target.meter).get("content type", 0)
    world.peer(Mqtt5, "queue").publish(target.inbox, body, {"content type": "t" * 300})
    assert target.receive(body).places["content-type"] == "t" * 255
    assert world.losses(target.meter)["content type"] == before + 1
