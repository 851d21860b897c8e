"""What every engine has to do: derive a class from one of these, and pytest does the rest.

The tests know an engine by its contract alone (`hubbub.Engine`), and real time: whatever has to
come due is waited for, never slept for.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio
import trio.testing

from hubbub.clock import SystemClock
from hubbub.engine.contract import (
    DONE,
    LASTING_OWNER,
    Commit,
    ConsumerTerms,
    Delivery,
    Document,
    Engine,
    Outcome,
    Queue,
    QueueSettings,
    Stream,
    Window,
)
from hubbub.errors import ExistsError, NotFoundError, RefusedError
from hubbub.message import Message
from hubbub.streams import NewRecord, Position, Record, StreamSettings

REALM = "default"
SOON = 50
"""Milliseconds after which something comes due, short enough to wait for."""
DEADLINE = 10.0
"""Seconds in which what has to come must have come."""


class EngineAcceptance(ABC):
    """The contract of an engine, as tests.

    .. code:: python

        class TestMyEngine(EngineAcceptance):
            def make(self, folder):
                return MyEngine(folder)

    The tests are asynchronous and need `pytest-trio` with `trio_mode = true`.
    """

    @abstractmethod
    def make(self, folder: Path) -> Engine:
        """Make an engine that keeps its data in a folder; it is opened by the test."""

    @asynccontextmanager
    async def opened(self, folder: Path) -> AsyncIterator[Engine]:
        """Open an engine as the bus does. What it gives up is in its `buried`."""
        engine = self.make(folder)
        engine.dead_letter = _Grave()
        engine.report = _raise
        engine.retired = lambda queue: None
        with trio.fail_after(DEADLINE):
            async with engine.running():
                yield engine

    # queues: order and leases

    async def test_messages_come_out_in_order_and_leased_ones_are_hidden(
        self, tmp_path: Path
    ) -> None:
        async with self.opened(tmp_path) as engine:
            queue = await engine.create_queue(REALM, "q", QueueSettings())
            send(engine, queue, b"a", b"b", b"c")
            first = await take(queue, 2)
            assert bodies(first) == [b"a", b"b"]
            assert [each.receives for each in first] == [1, 1]
            assert bodies(await take(queue)) == [b"c"]
            assert await take(queue) == []
            counts = queue.counts()
            assert (counts.visible, counts.in_flight, counts.delayed) == (0, 3, 0)

    async def test_a_lease_ends_and_its_receipt_with_the_next_receive(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            queue = await engine.create_queue(REALM, "q", QueueSettings())
            send(engine, queue, b"a")
            (first,) = await take(queue, lease=SOON)
            (second,) = await take(queue, wait=5_000)
            assert (second.receives, second.redelivered) == (2, True)
            assert second.receipt.token > first.receipt.token
            assert queue.lease_of(first.receipt) == "stale"
            assert (await queue.settle([first.receipt], Outcome.ACCEPT)).failed == (0,)
            assert not (await queue.settle([second.receipt], Outcome.ACCEPT)).failed
            assert queue.lease_of(second.receipt) == "gone"

    async def test_what_is_released_comes_back_at_its_place(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            queue = await engine.create_queue(REALM, "q", QueueSettings())
            send(engine, queue, b"a", b"b")
            first, _ = await take(queue)
            await queue.settle([first.receipt], Outcome.RELEASE)
            send(engine, queue, b"c")
            assert bodies(await take(queue)) == [b"a", b"c"]

    async def test_a_lease_is_extended_and_ended(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            queue = await engine.create_queue(REALM, "q", QueueSettings())
            send(engine, queue, b"a")
            (first,) = await take(queue, lease=SOON)
            assert not (await queue.extend([first.receipt], 60_000)).failed
            assert await take(queue, wait=2 * SOON) == []
            await queue.extend([first.receipt], 0)
            assert queue.lease_of(first.receipt) == "visible"
            assert bodies(await take(queue)) == [b"a"]

    async def test_a_waiting_receive_is_woken(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            queue = await engine.create_queue(REALM, "q", QueueSettings())
            async with trio.open_nursery() as nursery:

                async def receive() -> None:
                    assert bodies(await take(queue, wait=5_000)) == [b"a"]

                nursery.start_soon(receive)
                await trio.testing.wait_all_tasks_blocked()
                send(engine, queue, b"a")

    async def test_a_cancelled_receive_leases_nothing(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            queue = await engine.create_queue(REALM, "q", QueueSettings())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_wait_for_one, queue)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            send(engine, queue, b"a")
            (delivery,) = await take(queue)
            assert delivery.receives == 1

    async def test_a_delayed_message_comes_when_it_is_due(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            queue = await engine.create_queue(REALM, "q", QueueSettings(delay=SOON))
            send(engine, queue, b"later")
            send(engine, queue, b"now", delay=0)
            assert queue.counts().delayed == 1
            assert bodies(await take(queue)) == [b"now"]
            assert bodies(await take(queue, wait=5_000)) == [b"later"]

    async def test_priorities_come_first(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            queue = await engine.create_queue(REALM, "q", QueueSettings(priorities=9))
            send(engine, queue, b"low", priority=1)
            send(engine, queue, b"high", priority=9)
            assert bodies(await take(queue)) == [b"high", b"low"]

    # queues: groups

    async def test_a_group_has_one_lease_at_a_time(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            queue = await engine.create_queue(REALM, "q", QueueSettings(fifo=True))
            send(engine, queue, b"a1", b"a2", group="a")
            send(engine, queue, b"b1", group="b")
            (first,) = await take(queue, 1)
            assert bodies(await take(queue)) == [b"b1"]
            await queue.settle([first.receipt], Outcome.ACCEPT)
            assert bodies(await take(queue)) == [b"a2"]

    async def test_a_repeated_id_is_recognised_after_deletion(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            queue = await engine.create_queue(REALM, "q", QueueSettings(fifo=True))
            (sent,) = send(engine, queue, b"a", group="g", dedup_id="d")
            (first,) = await take(queue)
            await queue.settle([first.receipt], Outcome.ACCEPT)
            again = queue.enqueue([message(engine, b"b", group="g", dedup_id="d")])
            assert again.duplicates == {0: sent.id}
            assert queue.counts().visible == 0

    # queues: giving up

    async def test_rejected_and_expired_messages_are_buried(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            settings = QueueSettings(dead_letter="$queue/dead", message_ttl=5 * SOON)
            queue = await engine.create_queue(REALM, "q", settings)
            send(engine, queue, b"bad")
            await queue.settle([each.receipt for each in await take(queue)], Outcome.REJECT)
            send(engine, queue, b"old")
            await grave(engine).until(2)
            assert grave(engine).found == [(b"bad", "rejected"), (b"old", "expired")]
            assert queue.counts().visible == 0

    async def test_the_receive_too_many_buries(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            settings = QueueSettings(dead_letter="$queue/dead", max_receives=1)
            queue = await engine.create_queue(REALM, "q", settings)
            send(engine, queue, b"poison", b"good")
            first, _ = await take(queue)
            await queue.extend([first.receipt], 0)
            assert await take(queue) == []
            assert grave(engine).found == [(b"poison", "delivery_limit")]

    async def test_a_full_queue_drops_or_refuses(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            dropping = QueueSettings(max_length=1, dead_letter="$queue/dead")
            queue = await engine.create_queue(REALM, "dropping", dropping)
            send(engine, queue, b"a", b"b")
            assert grave(engine).found == [(b"a", "maxlen")]
            refusing = QueueSettings(max_length=1, overflow="reject")
            queue = await engine.create_queue(REALM, "refusing", refusing)
            result = queue.enqueue([message(engine, b"a"), message(engine, b"b")])
            assert list(result.refused) == [1]

    async def test_purge_leaves_what_is_leased(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            queue = await engine.create_queue(REALM, "q", QueueSettings())
            send(engine, queue, b"a", b"b", b"c")
            (first,) = await take(queue, 1)
            assert (await queue.purge())[0] == 2
            assert queue.lease_of(first.receipt) == "held"

    # queues: consumers

    async def test_consumers_get_what_their_windows_allow(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            queue = await engine.create_queue(REALM, "q", QueueSettings())
            got: list[Delivery] = []
            window = Window(2)
            terms = ConsumerTerms(owner="c", windows=(window,))
            consumption = queue.consume(got.extend, terms, lambda reason: None)
            send(engine, queue, b"a", b"b", b"c")
            assert bodies(got) == [b"a", b"b"]
            await queue.settle([got[0].receipt], Outcome.ACCEPT)
            assert bodies(got) == [b"a", b"b", b"c"]
            consumption.cancel()
            assert [each.message.body for each in await queue.leases("c")] == [b"b", b"c"]
            await queue.release("c")
            assert queue.counts().visible == 2

    async def test_exclusive_use_is_exclusive(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            queue = await engine.create_queue(REALM, "q", QueueSettings())
            terms = ConsumerTerms(owner="c", exclusive=True)
            queue.consume(lambda deliveries: None, terms, lambda reason: None)
            with _raised(RefusedError):
                queue.consume(
                    lambda deliveries: None, ConsumerTerms(owner="d"), lambda reason: None
                )

    async def test_a_deleted_queue_ends_those_who_use_it(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            queue = await engine.create_queue(REALM, "q", QueueSettings())
            reasons: list[str] = []
            queue.consume(lambda deliveries: None, ConsumerTerms(owner="c"), reasons.append)
            gone: list[Queue] = []
            engine.retired = gone.append
            await engine.delete_queue(queue)
            assert (len(reasons), gone) == (1, [queue])
            assert engine.find_queue(REALM, "q") is None
            with _raised(NotFoundError):
                await take(queue)

    async def test_names_are_taken_once_and_listed_in_order(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            for name in ("b", "a", "other"):
                await engine.create_queue(REALM, name, QueueSettings())
            await engine.create_queue("another", "a", QueueSettings())
            assert [queue.name for queue in engine.queues(REALM)] == ["a", "b", "other"]
            assert [queue.name for queue in engine.queues(REALM, "o")] == ["other"]
            assert len(list(engine.all_queues())) == 4
            with _raised(ExistsError):
                await engine.create_queue(REALM, "a", QueueSettings())

    # streams

    async def test_a_stream_is_read_from_any_place(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            stream = await engine.create_stream(REALM, "log", StreamSettings(), 1)
            assert stream.newest == 0
            tip = stream.latest(0)
            first, second = append(stream, b"a", b"b")
            assert stream.newest == second.sequence
            assert first.sequence < second.sequence
            for position, expected in (
                (stream.oldest(0), [b"a", b"b"]),
                (stream.at_sequence(0, second.sequence), [b"b"]),
                (stream.after_sequence(0, second.sequence), []),
                (await stream.at_timestamp(0, first.arrived), [b"a", b"b"]),
                (tip, [b"a", b"b"]),
                (stream.latest(0), []),
            ):
                assert await read(stream, position) == expected

    async def test_a_split_and_a_merge_leave_all_to_be_read(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            stream = await engine.create_stream(REALM, "log", StreamSettings(), 1)
            append(stream, b"a")
            change, _ = await stream.split(0, 1 << 127)
            left, right = (shard.id for shard in change.opened)
            result = await stream.read(stream.oldest(0), limit=10, max_bytes=1_000)
            assert result.next is None
            assert {child.id for child in result.children} == {left, right}
            append(stream, b"b")
            merged, _ = await stream.merge(left, right)
            assert len(merged.opened) == 1
            append(stream, b"c")
            found = [await read(stream, stream.oldest(shard.id)) for shard in stream.shards()]
            assert sorted(body for each in found for body in each) == [b"a", b"b", b"c"]

    async def test_a_watcher_hears_of_records(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            stream = await engine.create_stream(REALM, "log", StreamSettings(), 1)
            heard = trio.Event()
            end = stream.watch(0, heard.set)
            append(stream, b"a")
            await heard.wait()
            end()

    # commits

    async def test_ids_rise_and_commits_are_kept(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            ids = [engine.next_id(), *engine.next_ids(3), *engine.next_ids(0), engine.next_id()]
            assert len(ids) == 5
            assert ids == sorted(set(ids))
            queue = await engine.create_queue(REALM, "q", QueueSettings())
            commit = queue.enqueue([message(engine, b"a")]).commit
            await commit.wait()
            assert commit.done


class DurableEngineAcceptance(EngineAcceptance):
    """The contract of an engine that still has what was committed when it is opened again."""

    async def test_a_stream_is_read_from_any_place_when_it_is_opened_again(
        self, tmp_path: Path
    ) -> None:
        contents = [b"%d" % number for number in range(200)]
        async with self.opened(tmp_path) as engine:
            settings = StreamSettings(retention=None, segment_records=7)
            stream = await engine.create_stream(REALM, "log", settings, 1)
            records: list[Record] = []
            for content in contents[:50]:  # one by one, ten at a time, and all at once
                records += append(stream, content)
                await engine.commit().wait()
            for start in range(50, 100, 10):
                records += append(stream, *contents[start : start + 10])
            records += append(stream, *contents[100:])
            await engine.commit().wait()
        for _ in range(2):
            async with self.opened(tmp_path) as engine:
                log = engine.find_stream(REALM, "log")
                assert log is not None
                assert len(log) == 200
                for place in (0, 1, 6, 7, 49, 50, 59, 120, 199):
                    position = log.at_sequence(0, records[place].sequence)
                    assert await read(log, position) == contents[place : place + 100]
                    found = await log.read(position, limit=3, max_bytes=1_000)
                    assert found.records == records[place : place + 3]
                    at = await log.at_timestamp(0, records[place].arrived)
                    assert at.sequence <= records[place].sequence
                    first = (await log.read(at, limit=1, max_bytes=1)).records[0]
                    assert first.arrived == records[place].arrived

    async def test_documents_are_kept_replaced_and_dropped(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            for key, value in (("b", b"1"), ("a", b"1"), ("a", b"2"), ("c", b"1")):
                engine.put(Document("n", REALM, key, value))
            engine.drop("n", REALM, "c")
            engine.put(Document("other", REALM, "a", b"1"))
            await engine.commit().wait()
        async with self.opened(tmp_path) as engine:
            assert [each async for each in engine.documents("n")] == [
                Document("n", REALM, "a", b"2"),
                Document("n", REALM, "b", b"1"),
            ]

    async def test_what_was_committed_is_there_again(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as engine:
            settings = QueueSettings(lease=5_000, labels={"a": "b"})
            queue = await engine.create_queue(REALM, "q", settings)
            send(engine, queue, b"a", b"b", b"c")
            send(engine, queue, b"transient", durable=False)
            (first,) = await take(queue, 1)
            await queue.settle([first.receipt], Outcome.ACCEPT)
            (old,) = await take(queue, 1)
            stream = await engine.create_stream(REALM, "log", StreamSettings(), 1)
            (record,) = append(stream, b"kept")
            last = engine.next_id()
            await engine.commit().wait()
        async with self.opened(tmp_path) as engine:
            assert engine.next_id() > last
            again = engine.find_queue(REALM, "q")
            assert again is not None
            assert again.settings == settings
            assert again.lease_of(first.receipt) == "gone"
            assert not (await again.settle([old.receipt], Outcome.ACCEPT)).failed
            assert bodies(await take(again)) == [b"c"]
            log = engine.find_stream(REALM, "log")
            assert log is not None
            assert await read(log, log.oldest(0)) == [b"kept"]
            assert log.newest == record.sequence
            (later,) = append(log, b"later")
            assert log.newest == later.sequence > record.sequence

    async def test_leases_of_a_lasting_owner_go_on(self, tmp_path: Path) -> None:
        owner = f"{LASTING_OWNER}me"
        async with self.opened(tmp_path) as engine:
            queue = await engine.create_queue(REALM, "q", QueueSettings())
            got: list[Delivery] = []
            queue.consume(got.extend, ConsumerTerms(owner=owner), lambda reason: None)
            send(engine, queue, b"a")
            queue.tag(got[0].receipt, 7)
            await engine.commit().wait()
        async with self.opened(tmp_path) as engine:
            again = engine.find_queue(REALM, "q")
            assert again is not None
            assert await take(again) == []
            assert [(each.tag, each.message.body) for each in await again.leases(owner)] == [
                (7, b"a")
            ]


class _Grave:
    """Takes what queues give up."""

    def __init__(self) -> None:
        self.found: list[tuple[bytes, str]] = []
        self._more = trio.Event()

    def __call__(self, queue: Queue, message: Message, receives: int, reason: str) -> Commit:
        self.found.append((message.body, reason))
        self._more.set()
        return DONE

    async def until(self, count: int) -> None:
        """Wait until so many are here."""
        while len(self.found) < count:
            self._more = trio.Event()
            await self._more.wait()


def _raise(error: Exception) -> None:
    raise error


@contextmanager
def _raised(error: type[Exception]) -> Iterator[None]:
    try:
        yield
    except error:
        return
    raise AssertionError(f"{error.__name__} was not raised")


async def _wait_for_one(queue: Queue) -> None:
    await take(queue, 1, wait=60_000)


def grave(engine: Engine) -> _Grave:
    """Where an engine of these tests buries."""
    found = engine.dead_letter
    assert isinstance(found, _Grave)
    return found


def message(engine: Engine, body: bytes, **fields: object) -> Message:
    """Make a message as the bus hands it over."""
    now = SystemClock().now()
    return Message(
        address="$queue/q", body=body, id=engine.next_id(), published=now,
        **fields,  # type: ignore[arg-type]
    )  # fmt: skip


def send(engine: Engine, queue: Queue, *contents: bytes, **fields: object) -> list[Message]:
    """Put messages into a queue."""
    messages = [message(engine, content, **fields) for content in contents]
    assert not queue.enqueue(messages).refused
    return messages


async def take(
    queue: Queue, limit: int = 10, *, lease: int | None = None, wait: int = 0
) -> list[Delivery]:
    """Lease messages."""
    return await queue.receive(limit, owner="test", lease=lease, wait=wait)


def bodies(deliveries: Sequence[Delivery]) -> list[bytes]:
    """What is in messages."""
    return [each.message.body for each in deliveries]


def append(stream: Stream, *contents: bytes) -> list[Record]:
    """Append records."""
    return stream.append(
        [
            NewRecord("key", Message(address="$stream/log", body=content), len(content))
            for content in contents
        ]
    ).records


async def read(stream: Stream, position: Position) -> list[bytes]:
    """What is in the records from a position on."""
    result = await stream.read(position, limit=100, max_bytes=10_000)
    return [record.message.body for record in result.records]
