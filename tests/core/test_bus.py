"""The bus with an engine that keeps nothing: routing, scopes, retained messages, dead letters."""

from pathlib import Path

import msgspec
import pytest

from hubbub import (
    AddressError,
    Batch,
    ExistsError,
    FilterSpec,
    Message,
    NotFoundError,
    Publication,
    QueueSettings,
    RefusedError,
    StreamSettings,
)
from hubbub.bus import Bus
from hubbub.engine.contract import ConsumerTerms, Queue
from hubbub.engine.embedded import EmbeddedEngine
from hubbub.engine.journal import MemoryJournal
from hubbub.engine.sqlite import SqliteJournal
from hubbub.testing import ManualClock

REALM = "default"


class Harness:
    def __init__(self, **limits: int) -> None:
        self.clock = ManualClock()
        self.engine = EmbeddedEngine(MemoryJournal(), self.clock, memory_limit=1 << 30)
        self.lost: list[tuple[str, int, str]] = []
        self.errors: list[Exception] = []
        self.bus = Bus(
            self.engine,
            self.clock,
            lambda reason, count, address: self.lost.append((reason, count, address)),
            {"short": lambda spec: lambda message: len(message.body) <= spec},
            self.errors.append,
            **limits,
        )

    def message(self, address: str, body: bytes = b"x", **fields: object) -> Message:
        return Message(address=address, body=body, id=self.engine.next_id(), **fields)  # type: ignore[arg-type]

    def publish(self, *messages: Message) -> Publication:
        return self.bus.publish(REALM, messages)

    def listen(self, pattern: str, **options: object) -> list[tuple[str, bytes]]:
        seen: list[tuple[str, bytes]] = []

        def deliver(batch: Batch) -> None:
            seen.extend((each.address, each.body) for each in batch.messages)

        self.bus.subscribe(REALM, pattern, deliver, **options)  # type: ignore[arg-type]
        return seen

    async def queue(self, name: str, **settings: object) -> Queue:
        return await self.engine.create_queue(REALM, name, QueueSettings(**settings))  # type: ignore[arg-type]


@pytest.fixture
def harness() -> Harness:
    return Harness()


async def drain(queue: Queue) -> list[Message]:
    return [each.message for each in await queue.receive(10, owner="test")]


async def test_a_batch_is_split_by_address_and_keeps_its_order(harness: Harness) -> None:
    batches: list[list[bytes]] = []
    harness.bus.subscribe(
        REALM, "#", lambda batch: batches.append([each.body for each in batch.messages])
    )
    harness.publish(
        harness.message("a", b"1"), harness.message("a", b"2"), harness.message("b", b"3")
    )
    assert batches == [[b"1", b"2"], [b"3"]]


async def test_subscribers_share_one_batch_object(harness: Harness) -> None:
    batches: list[Batch] = []
    for _ in range(2):
        harness.bus.subscribe(REALM, "a", batches.append)
    harness.publish(harness.message("a"))
    assert batches[0] is batches[1]


async def test_messages_nobody_sees_are_told_by_index(harness: Harness) -> None:
    harness.listen("a", accepts=lambda message: message.body == b"yes")
    result = harness.publish(
        harness.message("a", b"yes"), harness.message("a", b"no"), harness.message("b")
    )
    assert result.unmatched == (1, 2)


async def test_a_target_is_given_a_message_once_by_many_ways(harness: Harness) -> None:
    queue = await harness.queue("q")
    stream = await harness.engine.create_stream(REALM, "s", StreamSettings(), 1)
    taken: list[bytes] = []
    queue.consume(
        lambda deliveries: taken.extend(each.message.body for each in deliveries),
        ConsumerTerms(owner="c", settled=True),
        lambda reason: None,
    )
    for target in ("$queue/q", "$stream/s"):
        harness.bus.subscribe(REALM, "a/#", target)
        harness.bus.subscribe(REALM, "#", target, accepts=lambda message: message.body != b"2")
    harness.publish(harness.message("a", b"1"), harness.message("a", b"2"))
    harness.publish(harness.message("b", b"3"))
    assert taken == [b"1", b"2", b"3"]
    assert len(stream) == 3


async def test_what_is_published_as_one_comes_once(harness: Harness) -> None:
    queue = await harness.queue("q", max_length=0, dead_letter="$queue/dead")
    dead = await harness.queue("dead")
    harness.bus.subscribe(REALM, "+", "$queue/q")
    first = harness.message("a")
    copy = msgspec.structs.replace(first, address="b")
    with harness.bus.as_one():
        harness.publish(first)
        assert not harness.publish(copy).unmatched
        harness.publish(harness.message("b", b"another"))
    assert [each.body for each in await drain(dead)] == [b"x", b"another"]
    harness.publish(copy)
    assert [each.body for each in await drain(dead)] == [b"x"]
    assert queue.counts().visible == 0


async def test_an_exchange_is_seen_by_its_own_bindings_and_by_plain_subscriptions(
    harness: Harness,
) -> None:
    own = harness.listen("logs/#", scope="logs")
    other = harness.listen("#", scope="amq.topic")
    plain = harness.listen("logs/+")
    harness.publish(harness.message("logs/app", b"exchange", scope="logs"))
    harness.publish(harness.message("logs/app", b"plain"))
    assert [body for _, body in own] == [b"exchange", b"plain"]
    assert [body for _, body in other] == [b"plain"]
    assert [body for _, body in plain] == [b"exchange", b"plain"]


async def test_a_queue_gets_one_copy_however_many_subscriptions_lead_there(
    harness: Harness,
) -> None:
    queue = await harness.queue("orders")
    for pattern in ("a/#", "a/b"):
        harness.bus.subscribe(REALM, pattern, "$queue/orders")
    harness.publish(harness.message("a/b", b"once"))
    assert [each.body for each in await drain(queue)] == [b"once"]


async def test_sending_to_what_is_not_there_is_an_error(harness: Harness) -> None:
    result = harness.publish(
        harness.message("$queue/none"),
        harness.message("$stream/none/key"),
        harness.message("$queue/"),
    )
    assert isinstance(result.refused[0], NotFoundError)
    assert isinstance(result.refused[1], NotFoundError)
    assert isinstance(result.refused[2], AddressError)


async def test_what_a_queue_refuses_is_refused_to_the_publisher(harness: Harness) -> None:
    await harness.queue("full", max_length=1, overflow="reject")
    harness.bus.subscribe(REALM, "a", "$queue/full")
    result = harness.publish(harness.message("b"), harness.message("a"), harness.message("a"))
    assert list(result.refused) == [2]
    assert isinstance(result.refused[2], RefusedError)


async def test_filters_by_policy_and_of_plugins(harness: Harness) -> None:
    policy = harness.listen("a", filter=FilterSpec("policy", {"kind": ["order"]}))
    short = harness.listen("a", filter=FilterSpec("short", 2))
    harness.publish(
        harness.message("a", b"long", headers={"kind": "order"}),
        harness.message("a", b"s", headers={"kind": "other"}),
    )
    assert [body for _, body in policy] == [b"long"]
    assert [body for _, body in short] == [b"s"]
    with pytest.raises(RefusedError, match="unknown"):
        harness.listen("a", filter=FilterSpec("unknown", None))


async def test_a_subscription_to_another_topic_forwards(harness: Harness) -> None:
    seen = harness.listen("b/#")
    harness.bus.subscribe(REALM, "a", "b/c")
    harness.publish(harness.message("a", b"go"))
    assert seen == [("b/c", b"go")]


async def test_a_subscriber_that_fails_fails_alone(harness: Harness) -> None:
    def fail(batch: Batch) -> None:
        raise ValueError("oops")

    harness.bus.subscribe(REALM, "a", fail)
    seen = harness.listen("a")
    harness.publish(harness.message("a"))
    assert seen == [("a", b"x")]
    assert [str(error) for error in harness.errors] == ["oops"]


async def test_a_loop_of_topics_ends_and_is_counted(harness: Harness) -> None:
    harness.bus.subscribe(REALM, "a", "b")
    harness.bus.subscribe(REALM, "b", "a")
    harness.publish(harness.message("a"))
    assert [reason for reason, _, _ in harness.lost] == ["routing loop"]


async def test_a_stream_takes_messages_by_address_and_by_subscription(harness: Harness) -> None:
    stream = await harness.engine.create_stream(REALM, "log", StreamSettings(), 1)
    harness.bus.subscribe(REALM, "a/#", "$stream/log")
    harness.publish(
        harness.message("$stream/log/key", b"1"), harness.message("a/b", b"2", group="g")
    )
    found = await stream.read(stream.oldest(0), limit=10, max_bytes=1000)
    assert [
        (each.partition_key, each.message.address, each.message.body) for each in found.records
    ] == [("key", "$stream/log/key", b"1"), ("g", "a/b", b"2")]


async def test_a_stream_that_is_gone_loses_what_is_published_and_counts_it(
    harness: Harness,
) -> None:
    stream = await harness.engine.create_stream(REALM, "log", StreamSettings(), 1)
    harness.bus.subscribe(REALM, "a/#", "$stream/log")
    await harness.engine.delete_stream(stream)
    harness.publish(harness.message("a/b"))
    assert harness.lost == [("no such stream", 1, "$stream/log")]


async def test_retained_messages_are_kept_replaced_expired_and_cleared(harness: Harness) -> None:
    harness.publish(harness.message("a/b", b"1", retain=True))
    harness.publish(harness.message("a/b", b"2", retain=True))
    soon = harness.clock.now() + 1_000
    harness.publish(harness.message("a/c", b"3", retain=True, expires_at=soon))
    assert sorted(each.body for each in harness.bus.retained(REALM, "a/+")) == [b"2", b"3"]
    harness.clock.advance(1_000)
    assert [each.body for each in harness.bus.retained(REALM, "#")] == [b"2"]
    harness.publish(harness.message("a/b", b"", retain=True))
    assert harness.bus.retained(REALM, "#") == []


def retained(harness: Harness) -> list[bytes]:
    return sorted(each.body for each in harness.bus.retained(REALM, "#"))


async def test_no_more_topics_than_allowed_have_a_retained_message() -> None:
    harness = Harness(max_retained=2)
    seen = harness.listen("#")
    soon = harness.clock.now() + 1000
    result = harness.publish(
        harness.message("a", b"1", retain=True),
        harness.message("b", b"2", retain=True, expires_at=soon),
        harness.message("c", b"3", retain=True),
        harness.message("c", b"4", retain=False),
    )
    assert list(result.refused) == [2]
    assert "hub.max_retained" in str(result.refused[2])
    assert seen == [("a", b"1"), ("b", b"2"), ("c", b"4")]  # refused before it went anywhere
    assert not harness.publish(harness.message("a", b"5", retain=True)).refused  # another in place
    assert retained(harness) == [b"2", b"5"]
    harness.clock.advance(2000)  # what has expired makes room
    assert not harness.publish(harness.message("c", b"6", retain=True)).refused
    assert harness.publish(harness.message("d", b"7", retain=True)).refused
    assert not harness.publish(harness.message("a", b"", retain=True)).refused
    assert not harness.publish(harness.message("d", b"7", retain=True)).refused
    assert retained(harness) == [b"6", b"7"]


async def test_retained_messages_take_no_more_memory_than_allowed() -> None:
    harness = Harness(max_retained_bytes=10)
    assert not harness.publish(harness.message("a", b"12345", retain=True)).refused
    assert not harness.publish(harness.message("b", b"12345", retain=True)).refused
    refused = harness.publish(harness.message("c", b"1", retain=True)).refused
    assert "hub.max_retained_bytes" in str(refused[0])
    assert harness.publish(harness.message("a", b"123456", retain=True)).refused
    assert not harness.publish(harness.message("a", b"1234", retain=True)).refused
    assert not harness.publish(harness.message("c", b"1", retain=True)).refused
    assert retained(harness) == [b"1", b"1234", b"12345"]


async def test_what_expired_and_was_replaced_is_counted_once() -> None:
    harness = Harness(max_retained_bytes=10)
    for _ in range(3000):
        soon = harness.clock.now() + 1000
        harness.publish(harness.message("a", b"12345", retain=True, expires_at=soon))
    assert len(harness.bus._retained._expiries) < 1100
    harness.clock.advance(2000)
    assert retained(harness) == []
    assert not harness.publish(harness.message("b", b"0123456789", retain=True)).refused


async def test_a_message_that_cannot_be_stored_is_refused_alone(tmp_path: Path) -> None:
    harness = Harness()
    journal = SqliteJournal(tmp_path / "data")
    engine = EmbeddedEngine(journal, harness.clock, memory_limit=1 << 30)
    async with engine.running():
        bus = Bus(engine, harness.clock, lambda reason, count, address: None, {}, print)
        await engine.create_queue(REALM, "q", QueueSettings())
        await engine.create_stream(REALM, "s", StreamSettings(), 1)
        for address in ("$queue/q", "$stream/s", "topic"):
            retain = address == "topic"
            messages = [
                harness.message(address, b"%d" % number, headers={"n": header}, retain=retain)
                for number, header in enumerate([1, 1 << 70, "\ud800", 2])
            ]
            result = bus.publish(REALM, messages)
            assert list(result.refused) == [1, 2]
            assert "cannot be stored" in str(result.refused[1])
            await result.commit.wait()
        queue, stream = engine.find_queue(REALM, "q"), engine.find_stream(REALM, "s")
        assert queue is not None
        assert queue.counts().visible == 2
        assert stream is not None
        assert len((await stream.read(stream.oldest(0), limit=9, max_bytes=99)).records) == 2
        assert [each.body for each in bus.retained(REALM, "topic")] == [b"3"]


async def test_a_retained_message_owes_its_publisher_a_commit(tmp_path: Path) -> None:
    harness = Harness()
    journal = SqliteJournal(tmp_path / "data")
    engine = EmbeddedEngine(journal, harness.clock, memory_limit=1 << 30)
    bus = Bus(engine, harness.clock, lambda reason, count, address: None, {}, harness.errors.append)
    async with engine.running():
        for durable, body in ((True, b"1"), (True, b""), (False, b"2")):
            message = harness.message("a", body, retain=True, durable=durable)
            commit = bus.publish(REALM, [message]).commit
            assert commit.done is not durable
            await engine.commit().wait()
            assert commit.done


async def test_realms_do_not_see_each_other(harness: Harness) -> None:
    seen = harness.listen("#")
    harness.bus.publish("other", [harness.message("a")])
    assert seen == []


async def test_a_subscription_of_the_same_id_replaces(harness: Harness) -> None:
    first = harness.listen("a", id="mine")
    second = harness.listen("b", id="mine")
    harness.publish(harness.message("a"), harness.message("b"))
    assert (first, second) == ([], [("b", b"x")])
    assert harness.bus.unsubscribe(REALM, "mine")
    assert not harness.bus.unsubscribe(REALM, "mine")


async def test_dead_letters_say_where_they_come_from_and_why(harness: Harness) -> None:
    dead = await harness.queue("dead")
    queue = await harness.queue("work", max_receives=1, dead_letter="$queue/dead")
    sent = harness.message("$queue/work", b"poison", headers={"k": "v"})
    harness.publish(sent)
    (delivery,) = await queue.receive(1, owner="test")
    await queue.extend([delivery.receipt], 0)
    assert await drain(queue) == []
    (letter,) = await drain(dead)
    assert (letter.body, letter.headers, letter.identity) == (b"poison", {"k": "v"}, sent.id)
    assert letter.prior_receives == 1
    (death,) = letter.deaths
    assert (death.queue, death.reason, death.address, death.count) == (
        "work", "delivery_limit", "$queue/work", 1,
    )  # fmt: skip


async def test_dead_letters_that_circle_without_rejection_end(harness: Harness) -> None:
    await harness.queue("a", message_ttl=10, dead_letter="$queue/b")
    await harness.queue("b", message_ttl=10, dead_letter="$queue/a")
    harness.publish(harness.message("$queue/a"))
    for _ in range(4):
        harness.clock.advance(10)
        for queue in harness.engine.all_queues():
            queue.advance(harness.clock.now())  # type: ignore[attr-defined]
    assert harness.lost == [("expired", 1, "$queue/a")]


async def test_a_dead_letter_nobody_takes_is_counted(harness: Harness) -> None:
    queue = await harness.queue("work", dead_letter="$queue/none", message_ttl=1)
    harness.publish(harness.message("$queue/work"))
    harness.clock.advance(1)
    queue.advance(harness.clock.now())  # type: ignore[attr-defined]
    assert harness.lost == [("dead letter not taken", 1, "$queue/none")]


async def test_a_name_is_taken_once(harness: Harness) -> None:
    await harness.queue("a")
    with pytest.raises(ExistsError):
        await harness.queue("a")


def test_a_message_is_the_same_after_it_was_kept() -> None:
    message = Message(address="a", body=b"\0", correlation_id=b"\1", headers={"a": [1, b"2", "3"]})
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=Message)
    assert kept == message
