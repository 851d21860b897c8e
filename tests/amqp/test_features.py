"""RabbitMQ's features, as pika meets them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pika  # type: ignore[import-untyped]
import pika.exceptions  # type: ignore[import-untyped]
import pytest

import amqp  # type: ignore[import-untyped]
from hubbub import Message, Principal, Session
from hubbub.testing.hub import ServedHub

Delivered = tuple[Any, pika.BasicProperties, bytes]
DEADLINE = 15.0


@pytest.fixture
def name() -> str:
    return f"q-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def open_channel(parameters: pika.ConnectionParameters) -> Iterator[Callable[[], Any]]:
    """Make channels, each of a connection of its own."""
    opened: list[pika.BlockingConnection] = []

    def make() -> Any:
        opened.append(pika.BlockingConnection(parameters))
        return opened[-1].channel()

    yield make
    for each in opened:
        if each.is_open:
            each.close()


def get(channel: Any, queue: str, *, ack: bool = True) -> Delivered | None:
    method, properties, body = channel.basic_get(queue, auto_ack=ack)
    return None if method is None else (method, properties, body)


def take(channel: Any, queue: str, count: int = 1) -> list[Delivered]:
    """Get so many messages, or fail: some take a moment to come."""
    found: list[Delivered] = []
    deadline = time.monotonic() + DEADLINE
    while len(found) < count:
        delivered = get(channel, queue)
        if delivered is not None:
            found.append(delivered)
            continue
        assert time.monotonic() < deadline, f"{len(found)} of {count}"
        channel.connection.process_data_events(0.01)
    return found


def bodies(channel: Any, queue: str, count: int) -> list[bytes]:
    """Get so many bodies, and be sure that there are no more."""
    found = [body for _, _, body in take(channel, queue, count)]
    assert get(channel, queue) is None
    return found


class Collector:
    """A consumer that keeps what it gets."""

    def __init__(self, channel: Any, queue: str, **options: Any) -> None:
        self.channel = channel
        self.got: list[Delivered] = []
        self.tag = channel.basic_consume(queue, self._take, **options)

    def _take(self, _: Any, method: Any, properties: Any, body: bytes) -> None:
        self.got.append((method, properties, body))

    def wait(self, count: int) -> list[Delivered]:
        deadline = time.monotonic() + DEADLINE
        while len(self.got) < count:
            assert time.monotonic() < deadline, f"{len(self.got)} of {count}"
            self.channel.connection.process_data_events(0.01)
        return self.got

    def bodies(self, count: int) -> list[bytes]:
        return [body for _, _, body in self.wait(count)]


def settle_down(channel: Any) -> None:
    """Let all that the server has to say arrive."""
    channel.queue_declare("", exclusive=True)
    channel.connection.process_data_events(0)


# exchanges


@pytest.mark.parametrize(
    ("kind", "key", "sent", "expected"),
    [
        ("direct", "a.b", ["a.b", "a", "a.b.c"], [b"a.b"]),
        ("direct", "", ["", "x"], [b""]),
        ("direct", "#", ["#", "x", "*"], [b"#"]),
        ("fanout", "ignored", ["a", "", "b.c"], [b"a", b"", b"b.c"]),
        ("topic", "a.*", ["a.b", "a", "a.b.c", "a."], [b"a.b", b"a."]),
        ("topic", "a.#", ["a.b", "a", "a.b.c", "b"], [b"a.b", b"a", b"a.b.c"]),
        ("topic", "#.c.#", ["a.b", "c", "a.c.d", "a.c"], [b"c", b"a.c.d", b"a.c"]),
        ("topic", "*.x/y", ["v/1.x/y", "v.x"], [b"v/1.x/y"]),
    ],
)
def test_exchanges_route(
    channel: Any, name: str, kind: str, key: str, sent: list[str], expected: list[bytes]
) -> None:
    channel.exchange_declare(name, kind)
    channel.queue_declare(name)
    channel.queue_bind(name, name, key)
    for each in sent:
        channel.basic_publish(name, each, each.encode())
    assert bodies(channel, name, len(expected)) == expected
    channel.queue_unbind(name, name, key)
    channel.basic_publish(name, sent[0], b"")
    assert get(channel, name) is None


@pytest.mark.parametrize(
    ("match", "expected"),
    [("all", [b"both"]), ("any", [b"both", b"one"])],
)
def test_headers_exchange(channel: Any, name: str, match: str, expected: list[bytes]) -> None:
    channel.queue_declare(name)
    channel.queue_bind(name, "amq.headers", "", {"x-match": match, name: 1, "b": "x"})
    for headers, body in (
        ({name: 1, "b": "x"}, b"both"),
        ({name: 1, "b": "y"}, b"one"),
        ({name: True}, b"no"),
    ):
        channel.basic_publish("amq.headers", "", body, pika.BasicProperties(headers=headers))
    assert bodies(channel, name, len(expected)) == expected


def test_one_copy_however_many_bindings(channel: Any, name: str) -> None:
    channel.queue_declare(name)
    for key in ("#", f"{name}.*", f"*.{name}"):
        channel.queue_bind(name, "amq.topic", key)
    channel.basic_publish("amq.topic", f"{name}.{name}", b"once")
    assert bodies(channel, name, 1) == [b"once"]
    channel.queue_delete(name)


def test_exchanges_bound_to_exchanges(channel: Any, name: str) -> None:
    a, b, c = (f"{name}-{letter}" for letter in "abc")
    for each in (a, b, c):
        channel.exchange_declare(each, "topic")
        channel.queue_declare(each)
        channel.queue_bind(each, each, "#")
    channel.exchange_bind(b, a, "x.#")
    channel.exchange_bind(c, b, "#")
    channel.exchange_bind(a, c, "#")  # a circle
    channel.basic_publish(a, "x.y", b"1")
    channel.basic_publish(a, "z", b"2")
    assert bodies(channel, a, 2) == [b"1", b"2"]
    for each in (b, c):
        (delivered,) = take(channel, each)
        assert (delivered[0].exchange, delivered[0].routing_key) == (a, "x.y")
    channel.exchange_unbind(b, a, "x.#")
    channel.basic_publish(a, "x.y", b"3")
    assert get(channel, b) is None


def test_alternate_exchange(channel: Any, name: str) -> None:
    channel.exchange_declare(f"{name}-rest", "fanout")
    channel.exchange_declare(name, "direct", arguments={"alternate-exchange": f"{name}-rest"})
    channel.queue_declare(name)
    channel.queue_bind(name, f"{name}-rest")
    channel.confirm_delivery()
    channel.basic_publish(name, "nobody", b"left over", mandatory=True)
    (delivered,) = take(channel, name)
    assert (delivered[0].exchange, delivered[2]) == (name, b"left over")


def test_carbon_copies(channel: Any, name: str) -> None:
    queues = [f"{name}-{i}" for i in range(4)]
    for queue in queues:
        channel.queue_declare(queue)
    headers = {"CC": [queues[1], queues[0]], "BCC": [queues[2]], "other": Decimal("1.5")}
    channel.basic_publish("", queues[0], b"x", pika.BasicProperties(headers=headers))
    for queue in queues[:3]:
        ((_, properties, _),) = take(channel, queue)
        assert properties.headers == {"CC": headers["CC"], "other": Decimal("1.5")}
        assert get(channel, queue) is None
    assert get(channel, queues[3]) is None


def test_auto_delete_and_internal(channel: Any, open_channel: Any, name: str) -> None:
    channel.exchange_declare(name, "direct", auto_delete=True)
    channel.queue_declare(name, auto_delete=True)
    channel.queue_bind(name, name, "k")
    Collector(channel, name)
    channel.close()
    other = open_channel()
    for declare in ("queue_declare", "exchange_declare"):
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught:
            getattr(other, declare)(name, passive=True)
        assert caught.value.reply_code == 404
        other = other.connection.channel()


def test_a_delayed_message(channel: Any, name: str) -> None:
    channel.exchange_declare(name, "x-delayed-message", arguments={"x-delayed-type": "topic"})
    channel.queue_declare(name)
    channel.queue_bind(name, name, "a.*")
    begin = time.monotonic()
    later = pika.BasicProperties(headers={"x-delay": 300})
    channel.basic_publish(name, "a.b", b"later", later)
    channel.basic_publish(name, "a.b", b"now")
    assert bodies(channel, name, 1) == [b"now"]
    (delivered,) = take(channel, name)
    assert time.monotonic() - begin >= 0.3
    assert (delivered[0].exchange, delivered[0].routing_key) == (name, "a.b")


# publishing


def test_mandatory_messages_come_back(channel: Any, name: str) -> None:
    channel.confirm_delivery()
    properties = pika.BasicProperties(message_id="1", headers={"k": [1, None]})
    for exchange, key in (("", name), ("amq.direct", name), ("", ""), ("", "+"), ("", "\0")):
        with pytest.raises(pika.exceptions.UnroutableError) as caught:
            channel.basic_publish(exchange, key, b"body", properties, mandatory=True)
        (returned,) = caught.value.messages
        assert (returned.method.reply_code, returned.method.reply_text) == (312, "NO_ROUTE")
        assert (returned.method.exchange, returned.method.routing_key) == (exchange, key)
        assert (returned.properties.headers, returned.body) == ({"k": [1, None]}, b"body")
        channel.basic_publish(exchange, key, b"not mandatory, so confirmed")


def test_a_full_queue_nacks(channel: Any, name: str) -> None:
    channel.queue_declare(name, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.confirm_delivery()
    channel.basic_publish("", name, b"1")
    with pytest.raises(pika.exceptions.NackError):
        channel.basic_publish("", name, b"2")
    assert bodies(channel, name, 1) == [b"1"]
    channel.basic_publish("", name, b"3")


def test_transactions(channel: Any, open_channel: Any, name: str) -> None:
    channel.queue_declare(name)
    channel.basic_publish("", name, b"job")
    channel.tx_select()
    other = open_channel()
    method, _, _ = channel.basic_get(name)
    channel.basic_ack(method.delivery_tag)
    channel.basic_publish("", name, b"1")
    assert get(other, name) is None
    channel.tx_rollback()
    channel.basic_ack(method.delivery_tag)
    channel.basic_publish("", name, b"2")
    channel.tx_commit()
    assert bodies(other, name, 1) == [b"2"]


def test_large_messages_are_cut_into_frames(channel: Any, name: str) -> None:
    channel.queue_declare(name)
    body = uuid.uuid4().bytes * 50_000
    channel.basic_publish("", name, body)
    assert Collector(channel, name).bodies(1) == [body]


def test_every_property_and_type_survives(channel: Any, name: str) -> None:
    channel.queue_declare(name)
    headers = {
        "int": 1, "big": 2**40, "negative": -5, "text": "é", "bytes": b"\xff", "yes": True,
        "none": None, "decimal": Decimal("1.25"), "list": [1, "x", [None]], "table": {"a": {}},
        "time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    }  # fmt: skip
    sent = pika.BasicProperties(
        "text/plain", "gzip", headers, 2, 7, "correlation", "reply", "60000", "id", 1234567890,
        "type", "guest", "app", "cluster",
    )  # fmt: skip
    channel.basic_publish("", name, b"x", sent)
    ((_, properties, _),) = take(channel, name)
    assert properties == sent


# consuming


def test_prefetch_of_a_consumer_and_of_a_channel(channel: Any, name: str) -> None:
    channel.queue_declare(name)
    for i in range(20):
        channel.basic_publish("", name, b"%d" % i)
    channel.basic_qos(prefetch_count=3)
    first = Collector(channel, name)
    first.wait(3)
    settle_down(channel)
    assert len(first.got) == 3
    channel.basic_qos(prefetch_count=5, global_qos=True)
    second = Collector(channel, name)
    second.wait(2)
    settle_down(channel)
    assert (len(first.got), len(second.got)) == (3, 2)
    channel.basic_ack(first.got[2][0].delivery_tag, multiple=True)
    first.wait(5)
    second.wait(3)
    settle_down(channel)
    assert (len(first.got), len(second.got)) == (5, 3)


def test_requeued_messages_keep_their_place(channel: Any, name: str) -> None:
    channel.queue_declare(name)
    for body in (b"1", b"2", b"3"):
        channel.basic_publish("", name, body)
    got = [channel.basic_get(name) for _ in range(3)]
    assert [each[0].redelivered for each in got] == [False] * 3
    assert got[0][0].message_count == 2
    channel.basic_nack(got[1][0].delivery_tag, multiple=True, requeue=True)
    channel.basic_reject(got[2][0].delivery_tag, requeue=True)
    again = take(channel, name, 3)
    assert [(method.redelivered, body) for method, _, body in again] == [
        (True, b"1"), (True, b"2"), (True, b"3"),
    ]  # fmt: skip


def test_what_a_connection_holds_comes_back(open_channel: Any, name: str) -> None:
    one, two = open_channel(), open_channel()
    one.queue_declare(name)
    one.basic_publish("", name, b"x")
    Collector(one, name).wait(1)
    assert get(two, name) is None
    one.connection.close()
    ((method, _, _),) = take(two, name)
    assert method.redelivered


def test_recover(channel: Any, name: str) -> None:
    channel.queue_declare(name)
    channel.basic_publish("", name, b"x")
    collector = Collector(channel, name)
    collector.wait(1)
    channel.basic_recover(requeue=True)
    assert [method.redelivered for method, _, _ in collector.wait(2)] == [False, True]


def test_a_deleted_queue_cancels_its_consumers(channel: Any, open_channel: Any, name: str) -> None:
    channel.queue_declare(name)
    cancelled: list[str] = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    collector = Collector(channel, name)
    open_channel().queue_delete(name)
    deadline = time.monotonic() + DEADLINE
    while not cancelled and time.monotonic() < deadline:
        channel.connection.process_data_events(0.01)
    assert cancelled == [collector.tag]


def test_the_answer_to_a_deletion_comes_before_the_cancellation(
    parameters: pika.ConnectionParameters, name: str
) -> None:
    client = amqp.Connection(f"{parameters.host}:{parameters.port}", on_blocked=None)
    client.connect()
    channel = client.channel()
    channel.queue_declare(name, durable=True, auto_delete=False)
    channel.basic_consume(name, callback=lambda message: None)
    channel.queue_delete(name)  # which py-amqp gives up on a cancellation
    with pytest.raises(amqp.exceptions.ConsumerCancelled):
        client.drain_events(timeout=10)
    client.close()


def test_exclusive_queues_go_with_their_connection(open_channel: Any) -> None:
    owner, other = open_channel(), open_channel()
    queue = owner.queue_declare("", exclusive=True).method.queue
    assert queue.startswith("amq.gen-")
    owner.connection.close()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught:
        other.queue_declare(queue, passive=True)
    assert caught.value.reply_code == 404


def test_single_active_consumer(open_channel: Any, name: str) -> None:
    one, two = open_channel(), open_channel()
    one.queue_declare(name, arguments={"x-single-active-consumer": True})
    first, second = Collector(one, name), Collector(two, name)
    for body in (b"1", b"2"):
        two.basic_publish("", name, body)
    assert first.bodies(2) == [b"1", b"2"]
    settle_down(two)
    assert not second.got
    one.connection.close()
    assert sorted(second.bodies(2)) == [b"1", b"2"]


def test_consumer_priorities(channel: Any, name: str) -> None:
    channel.queue_declare(name)
    low = Collector(channel, name)
    channel.basic_qos(prefetch_count=2)
    high = Collector(channel, name, arguments={"x-priority": 10})
    for i in range(3):
        channel.basic_publish("", name, b"%d" % i)
    low.wait(1)
    assert ([each[2] for each in high.got], [each[2] for each in low.got]) == (
        [b"0", b"1"], [b"2"],
    )  # fmt: skip


def test_a_consumer_that_never_reads_much_at_once(channel: Any, name: str) -> None:
    channel.queue_declare(name)
    for i in range(5_000):
        channel.basic_publish("", name, b"%d" % i)
    got = Collector(channel, name, auto_ack=True).bodies(5_000)
    assert got == [b"%d" % i for i in range(5_000)]


# queues


def test_priorities(channel: Any, name: str) -> None:
    channel.queue_declare(name, arguments={"x-max-priority": 5})
    for priority in (1, 5, 9, None, 3):
        body = str(priority).encode()
        channel.basic_publish("", name, body, pika.BasicProperties(priority=priority))
    assert bodies(channel, name, 5) == [b"5", b"9", b"3", b"1", b"None"]


def test_rejected_messages_go_through_the_dead_letter_exchange(channel: Any, name: str) -> None:
    dlx, dead = f"{name}-dlx", f"{name}-dead"
    channel.exchange_declare(dlx, "topic")
    channel.queue_declare(dead)
    channel.queue_bind(dead, dlx, "jobs.*")
    channel.exchange_declare(f"{name}-x", "direct")
    channel.queue_declare(name, arguments={"x-dead-letter-exchange": dlx})
    channel.queue_bind(name, f"{name}-x", "jobs.hard")
    channel.basic_publish(
        f"{name}-x", "jobs.hard", b"x", pika.BasicProperties(headers={"k": "v"}, app_id="a")
    )
    method, _, _ = channel.basic_get(name)
    channel.basic_reject(method.delivery_tag, requeue=False)
    ((method, properties, _),) = take(channel, dead)
    assert (method.exchange, method.routing_key) == (dlx, "jobs.hard")
    headers = properties.headers
    (death,) = headers["x-death"]
    assert isinstance(death.pop("time"), datetime)
    assert death == {
        "count": 1, "reason": "rejected", "queue": name, "exchange": f"{name}-x",
        "routing-keys": ["jobs.hard"],
    }  # fmt: skip
    assert (headers["k"], properties.app_id) == ("v", "a")
    assert headers["x-first-death-queue"] == name
    assert headers["x-first-death-reason"] == "rejected"
    assert headers["x-first-death-exchange"] == f"{name}-x"


def test_a_retry_loop_counts_its_deaths(channel: Any, name: str) -> None:
    wait = f"{name}-wait"
    channel.queue_declare(
        name, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": wait}
    )
    channel.queue_declare(
        wait,
        arguments={
            "x-message-ttl": 20, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": name,
        },
    )  # fmt: skip
    channel.basic_publish("", name, b"x", pika.BasicProperties(expiration="60000"))
    for attempt in range(3):
        deadline = time.monotonic() + DEADLINE
        while (got := channel.basic_get(name))[0] is None:
            assert time.monotonic() < deadline
            channel.connection.process_data_events(0.01)
        method, properties, _ = got
        deaths = (properties.headers or {}).get("x-death", [])
        assert [(each["queue"], each["reason"], each["count"]) for each in deaths] == (
            [(wait, "expired", attempt), (name, "rejected", attempt)] if attempt else []
        )
        assert properties.expiration == (None if attempt else "60000")
        channel.basic_nack(method.delivery_tag, requeue=False)


def test_times_to_live(channel: Any, name: str) -> None:
    channel.queue_declare(name, arguments={"x-message-ttl": 30, "x-expires": 60_000})
    channel.queue_declare(f"{name}-free")
    channel.basic_publish("", name, b"1")
    channel.basic_publish("", f"{name}-free", b"2", pika.BasicProperties(expiration="30"))
    for queue in (name, f"{name}-free"):
        deadline = time.monotonic() + DEADLINE
        while channel.queue_declare(queue, passive=True).method.message_count:
            assert time.monotonic() < deadline


def test_a_queue_that_nobody_uses_expires(channel: Any, name: str) -> None:
    channel.queue_declare(name, arguments={"x-expires": 50})
    time.sleep(0.2)  # looking at it would keep it
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        channel.basic_get(name)


def test_the_oldest_gives_way(channel: Any, name: str) -> None:
    dead = f"{name}-dead"
    channel.queue_declare(dead)
    channel.queue_declare(
        name,
        arguments={
            "x-max-length": 2, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead,
        },
    )  # fmt: skip
    for i in range(3):
        channel.basic_publish("", name, b"%d" % i)
    assert bodies(channel, name, 2) == [b"1", b"2"]
    ((_, properties, body),) = take(channel, dead)
    assert (body, properties.headers["x-death"][0]["reason"]) == (b"0", "maxlen")


def test_quorum_queues_count_deliveries(channel: Any, name: str) -> None:
    dead = f"{name}-dead"
    channel.queue_declare(dead)
    channel.queue_declare(
        name, durable=True,
        arguments={
            "x-queue-type": "quorum", "x-delivery-limit": 2, "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead,
        },
    )  # fmt: skip
    channel.basic_publish("", name, b"poison")
    for count in (0, 1, 2):
        method, properties, _ = channel.basic_get(name)
        assert (properties.headers or {}).get("x-delivery-count") == count
        channel.basic_nack(method.delivery_tag)
    assert channel.basic_get(name)[0] is None
    ((_, properties, _),) = take(channel, dead)
    assert properties.headers["x-death"][0]["reason"] == "delivery_limit"


# streams


def stream(channel: Any, name: str, count: int) -> None:
    channel.queue_declare(name, durable=True, arguments={"x-queue-type": "stream"})
    channel.confirm_delivery()
    for i in range(count):
        channel.basic_publish("", name, b"%d" % i)
    channel.basic_qos(prefetch_count=100)


@pytest.mark.parametrize(
    ("offset", "expected"),
    [("first", [b"0", b"1", b"2"]), ("last", [b"2"]), ("next", []), ("1h", [b"0", b"1", b"2"])],
)
def test_streams_are_read_from_anywhere(
    channel: Any, name: str, offset: object, expected: list[bytes]
) -> None:
    stream(channel, name, 3)
    collector = Collector(channel, name, arguments={"x-stream-offset": offset})
    assert collector.bodies(len(expected)) == expected
    channel.basic_publish("", name, b"new")
    assert collector.bodies(len(expected) + 1) == [*expected, b"new"]


def test_streams_are_read_from_an_offset_and_a_time(channel: Any, name: str) -> None:
    stream(channel, name, 3)
    collector = Collector(channel, name, arguments={"x-stream-offset": "first"})
    offsets = [properties.headers["x-stream-offset"] for _, properties, _ in collector.wait(3)]
    assert offsets == sorted(offsets)
    again = Collector(channel, name, arguments={"x-stream-offset": offsets[1]})
    assert again.bodies(2) == [b"1", b"2"]
    now = datetime.now(UTC).replace(tzinfo=None)
    future = Collector(channel, name, arguments={"x-stream-offset": now.replace(year=2100)})
    settle_down(channel)
    assert not future.got


def test_stream_consumers_wait_for_acknowledgements(channel: Any, name: str) -> None:
    stream(channel, name, 5)
    channel.basic_qos(prefetch_count=2)
    collector = Collector(channel, name, arguments={"x-stream-offset": "first"})
    collector.wait(2)
    settle_down(channel)
    assert len(collector.got) == 2
    channel.basic_ack(collector.got[1][0].delivery_tag, multiple=True)
    assert collector.bodies(4) == [b"0", b"1", b"2", b"3"]


def test_a_stream_is_bound_to_exchanges(channel: Any, name: str) -> None:
    stream(channel, name, 0)
    channel.queue_bind(name, "amq.fanout")
    channel.basic_publish("amq.fanout", "any", b"x")
    collector = Collector(channel, name, arguments={"x-stream-offset": "first"})
    ((method, _, body),) = collector.wait(1)
    assert (method.exchange, method.routing_key, body) == ("amq.fanout", "any", b"x")
    channel.queue_delete(name)


# replies


def test_direct_replies(channel: Any, open_channel: Any, name: str) -> None:
    replies = Collector(channel, "amq.rabbitmq.reply-to", auto_ack=True)
    channel.queue_declare(name)
    asked = pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id="7")
    channel.basic_publish("", name, b"question", asked)
    server = open_channel()
    ((_, properties, _),) = take(server, name)
    reply_to = properties.reply_to
    assert reply_to.startswith("amq.rabbitmq.reply-to.")
    assert server.queue_declare(reply_to, passive=True).method.consumer_count == 1
    server.basic_publish("", reply_to, b"answer", pika.BasicProperties(correlation_id="7"))
    ((_, properties, body),) = replies.wait(1)
    assert (properties.correlation_id, body) == ("7", b"answer")
    channel.connection.close()
    server.confirm_delivery()
    with pytest.raises(pika.exceptions.UnroutableError):
        server.basic_publish("", reply_to, b"late", mandatory=True)


def test_a_direct_reply_needs_its_consumer(channel: Any, name: str) -> None:
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught:
        channel.basic_publish("", name, b"", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to"))
    assert caught.value.reply_text == ("PRECONDITION_FAILED - fast reply consumer does not exist")


# other protocols


def session_of(served: ServedHub) -> Session:
    principal = Principal("test", realms=("*",))
    return served.call(lambda: served.hub.session(principal, protocol="test-1", client="test"))


def test_what_comes_by_other_protocols(served: ServedHub, channel: Any, name: str) -> None:
    channel.queue_declare(name)
    channel.queue_bind(name, "amq.topic", f"{name}.#")
    session = session_of(served)
    message = Message(
        address=f"{name}/v1.2/x", body=b"hello", headers={"n": 1, "huge": 2**70},
        correlation_id=b"\xff", reply_to="a/b", content_type="text/plain", timestamp=1500,
        message_id="m", group="g", durable=False,
    )  # fmt: skip
    served.call(session.publish, [message])
    ((method, properties, body),) = take(channel, name)
    assert (method.exchange, method.routing_key, body) == (
        "amq.topic", f"{name}.v1%2E2.x", b"hello",
    )  # fmt: skip
    assert properties.headers == {
        "n": 1, "huge": str(2**70), "correlation-id": b"\xff", "hubbub.group": "g",
    }  # fmt: skip
    assert (properties.reply_to, properties.timestamp, properties.delivery_mode) == (
        "$topic/a/b", 1, 1,
    )  # fmt: skip
    seen: list[Message] = []
    served.call(lambda: session.subscribe("a/b", lambda batch: seen.extend(batch.messages)))
    channel.basic_publish("", properties.reply_to, b"answer")
    settle_down(channel)
    assert [(each.address, each.body) for each in seen] == [("a/b", b"answer")]


def test_what_goes_to_other_protocols(served: ServedHub, channel: Any, name: str) -> None:
    channel.exchange_declare(name, "topic")
    session = session_of(served)
    seen: list[Message] = []
    served.call(lambda: session.subscribe(f"{name}/#", lambda batch: seen.extend(batch.messages)))
    sent = pika.BasicProperties(
        headers={"a": Decimal("1.5"), "b": [True]}, reply_to="answers", expiration="60000",
        correlation_id="c", timestamp=2, priority=3, delivery_mode=2, type="t",
    )  # fmt: skip
    channel.basic_publish(name, "app.error", b"x", sent)
    settle_down(channel)
    (message,) = seen
    assert (message.address, message.scope) == (f"{name}/app/error", name)
    assert message.headers == {"a": "1.5", "b": [True]}
    assert (message.reply_to, message.correlation_id) == ("$queue/answers", "c")
    assert (message.timestamp, message.priority, message.durable, message.type) == (
        2000, 3, True, "t",
    )  # fmt: skip
    assert message.expires_at is not None
    assert message.expires_at == message.published + 60_000


def test_virtual_hosts_are_apart(parameters: pika.ConnectionParameters, name: str) -> None:
    one = pika.BlockingConnection(parameters)
    one.channel().queue_declare(name)
    parameters.virtual_host = "other"
    other = pika.BlockingConnection(parameters)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught:
        other.channel().queue_declare(name, passive=True)
    assert caught.value.reply_text == f"NOT_FOUND - no queue '{name}' in vhost 'other'"
    for each in (one, other):
        each.close()
