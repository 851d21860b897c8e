"""The embedded engine on a real store: what comes back after it was closed, or killed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from hubbub.engine.contract import (
    DONE,
    ConsumerTerms,
    Delivery,
    Document,
    Outcome,
    Queue,
    QueueSettings,
)
from hubbub.engine.embedded import EmbeddedEngine
from hubbub.engine.journal import MemoryJournal
from hubbub.engine.segments import RECORD_MEMORY_COST
from hubbub.engine.sqlite import SqliteJournal
from hubbub.errors import UnavailableError
from hubbub.message import MEMORY_COST, Message
from hubbub.streams import NewRecord, Position, StreamSettings
from hubbub.testing import ManualClock

REALM = "default"


@asynccontextmanager
async def reopened(
    folder: Path, clock: ManualClock | None = None, memory_limit: int = 1 << 28
) -> AsyncIterator[EmbeddedEngine]:
    journal = SqliteJournal(folder / "data", memory_limit=memory_limit)
    engine = EmbeddedEngine(journal, clock or ManualClock(), memory_limit=memory_limit)
    engine.dead_letter = lambda queue, message, receives, reason: DONE
    async with engine.running():
        yield engine


def send(engine: EmbeddedEngine, queue: Queue, *bodies: bytes, **fields: object) -> None:
    messages = [
        Message(address="$queue/q", body=body, id=engine.next_id(), **fields)  # type: ignore[arg-type]
        for body in bodies
    ]
    assert not queue.enqueue(messages).refused


def found(engine: EmbeddedEngine, name: str = "q") -> Queue:
    queue = engine.find_queue(REALM, name)
    assert queue is not None
    return queue


async def take(queue: Queue, limit: int = 10) -> list[Delivery]:
    return await queue.receive(limit, owner="test")


async def test_queues_come_back_with_settings_messages_and_counts(tmp_path: Path) -> None:
    clock = ManualClock()
    async with reopened(tmp_path, clock) as engine:
        queue = await engine.create_queue(REALM, "q", QueueSettings(lease=5_000, delay=7))
        send(engine, queue, b"1", b"2", b"3", delay=0)
        send(engine, queue, b"later", delay=60_000)
        send(engine, queue, b"gone", delay=0, durable=False)
        (first,) = await take(queue, 1)
        await queue.settle([first.receipt], Outcome.ACCEPT)
        (second,) = await take(queue, 1)
        await queue.extend([second.receipt], 0)
    async with reopened(tmp_path, clock) as engine:
        queue = found(engine)
        assert queue.settings == QueueSettings(lease=5_000, delay=7)
        counts = queue.counts()
        assert (counts.visible, counts.in_flight, counts.delayed) == (2, 0, 1)
        taken = await take(queue)
        assert [each.message.body for each in taken] == [b"2", b"3"]
        assert [each.receives for each in taken] == [2, 1]
        await queue.settle([each.receipt for each in taken], Outcome.ACCEPT)
        clock.advance(60_000)
        queue.advance(clock.now())  # type: ignore[attr-defined]
        assert [each.message.body for each in await take(queue)] == [b"later"]


async def test_ids_and_tokens_never_fall_back(tmp_path: Path) -> None:
    async with reopened(tmp_path) as engine:
        queue = await engine.create_queue(REALM, "q", QueueSettings())
        send(engine, queue, b"1")
        (delivery,) = await take(queue)
        before = engine.next_id()
    # The clock of the machine went back meanwhile.
    async with reopened(tmp_path, ManualClock(1_000)) as engine:
        assert engine.next_id() > delivery.message.id
        (again,) = await take(found(engine))
        assert again.receipt.token > delivery.receipt.token
    async with reopened(tmp_path) as engine:
        assert engine.next_id() > before


async def test_an_old_receipt_settles_until_somebody_else_receives(tmp_path: Path) -> None:
    async with reopened(tmp_path) as engine:
        queue = await engine.create_queue(REALM, "q", QueueSettings())
        send(engine, queue, b"1", b"2")
        old = await take(queue)
    async with reopened(tmp_path) as engine:
        queue = found(engine)
        assert not (await queue.settle([old[0].receipt], Outcome.ACCEPT)).failed
        (again,) = await take(queue)
        assert again.message.body == b"2"
        assert (await queue.settle([old[1].receipt], Outcome.ACCEPT)).failed == (0,)


async def test_leases_of_a_lasting_owner_go_on(tmp_path: Path) -> None:
    async with reopened(tmp_path) as engine:
        queue = await engine.create_queue(REALM, "q", QueueSettings(fifo=True))
        got: list[Delivery] = []
        terms = ConsumerTerms(owner="session/me")
        queue.consume(got.extend, terms, lambda reason: None)
        send(engine, queue, b"1", b"2", group="g")
        queue.tag(got[0].receipt, 7)
        await engine.commit().wait()
    async with reopened(tmp_path) as engine:
        queue = found(engine)
        assert [(each.tag, each.message.body) for each in await queue.leases("session/me")] == [
            (7, b"1"),
            (0, b"2"),
        ]
        assert await take(queue) == []
        await queue.release("session/me")
        assert [each.message.body for each in await take(queue)] == [b"1", b"2"]


async def test_deduplication_is_remembered(tmp_path: Path) -> None:
    clock = ManualClock()
    async with reopened(tmp_path, clock) as engine:
        queue = await engine.create_queue(REALM, "q", QueueSettings(fifo=True))
        send(engine, queue, b"1", group="g", dedup_id="d")
        (delivery,) = await take(queue)
        await (await queue.settle([delivery.receipt], Outcome.ACCEPT)).commit.wait()
    async with reopened(tmp_path, clock) as engine:
        again = Message(address="q", body=b"2", id=engine.next_id(), group="g", dedup_id="d")
        assert found(engine).enqueue([again]).duplicates == {0: delivery.message.id}


async def test_deleted_queues_stay_deleted(tmp_path: Path) -> None:
    async with reopened(tmp_path) as engine:
        queue = await engine.create_queue(REALM, "q", QueueSettings())
        send(engine, queue, b"1")
        await engine.delete_queue(queue)
        await engine.create_queue(REALM, "transient", QueueSettings(durable=False))
        await engine.create_queue(REALM, "q", QueueSettings())
    async with reopened(tmp_path) as engine:
        assert [queue.name for queue in engine.all_queues()] == ["q"]
        assert await take(found(engine)) == []


async def test_streams_come_back_with_shards_and_records(tmp_path: Path) -> None:
    clock = ManualClock()
    async with reopened(tmp_path, clock) as engine:
        stream = await engine.create_stream(REALM, "log", StreamSettings(retention=None), 1)
        body = Message(address="$stream/log", body=b"old", headers={"a": 1})
        stream.append([NewRecord("key", body, 6, 5)])
        change, _ = await stream.split(0, 1 << 127)
        last = stream.append([NewRecord("key", body, 6)]).records[0].sequence
    async with reopened(tmp_path, clock) as engine:
        again = engine.find_stream(REALM, "log")
        assert again is not None
        assert [shard.id for shard in again.shards()] == [0, 1, 2]
        result = await again.read(again.oldest(0), limit=10, max_bytes=1000)
        (record,) = result.records
        assert (record.message, record.partition_key, record.size) == (body, "key", 6)
        assert {child.id for child in result.children} == {each.id for each in change.opened}
        assert again.append([NewRecord("key", body, 6)]).records[0].sequence > last


async def test_retention_of_a_stream_is_kept(tmp_path: Path) -> None:
    clock = ManualClock()
    async with reopened(tmp_path, clock) as engine:
        settings = StreamSettings(retention=1_000, segment_records=1)
        stream = await engine.create_stream(REALM, "log", settings, 1)
        body = Message(address="$stream/log", body=b"x")
        stream.append([NewRecord("key", body, 1)])
        clock.advance(2_000)
        stream.append([NewRecord("key", body, 1)])
        stream.advance(clock.now())  # type: ignore[attr-defined]
    async with reopened(tmp_path, clock) as engine:
        again = engine.find_stream(REALM, "log")
        assert again is not None
        assert len((await again.read(again.oldest(0), limit=9, max_bytes=99)).records) == 1


async def test_documents_come_back(tmp_path: Path) -> None:
    async with reopened(tmp_path) as engine:
        engine.put(Document("n", REALM, "a", b"1"))
        engine.put(Document("n", REALM, "b", b"2"))
        engine.drop("n", REALM, "a")
    async with reopened(tmp_path) as engine:
        assert [each async for each in engine.documents("n")] == [Document("n", REALM, "b", b"2")]


async def test_bodies_over_the_memory_limit_are_paged_out_and_back_in(tmp_path: Path) -> None:
    limit = 1_000_000
    async with reopened(tmp_path, memory_limit=limit) as engine:
        queue = await engine.create_queue(REALM, "q", QueueSettings())
        for number in range(300):
            send(engine, queue, b"%05d" % number + bytes(10_000))
            await engine.ready()
        with trio.fail_after(10):
            while engine.memory > limit:  # noqa: ASYNC110 - the engine tells nobody
                await trio.sleep(0.01)
        numbers = []
        while taken := await take(queue):
            numbers += [int(each.message.body[:5]) for each in taken]
            await queue.settle([each.receipt for each in taken], Outcome.ACCEPT)
        assert numbers == list(range(300))
        assert engine.memory == 0
    async with reopened(tmp_path) as engine:
        assert found(engine).counts().visible == 0


async def test_nothing_is_paged_out_where_nothing_is_stored() -> None:
    limit = 100_000
    engine = EmbeddedEngine(MemoryJournal(), ManualClock(), memory_limit=limit)
    async with engine.running():
        queue = await engine.create_queue(REALM, "q", QueueSettings())
        stream = await engine.create_stream(REALM, "log", StreamSettings(segment_bytes=10_000), 1)
        body = Message(address="$stream/log", body=bytes(1000))
        for _ in range(75):
            send(engine, queue, bytes(1000))
            stream.append([NewRecord("key", body, 1000)])
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert engine.memory == 75 * (1000 + MEMORY_COST) + 75 * (1000 + RECORD_MEMORY_COST)
        result = await stream.read(stream.oldest(0), limit=100, max_bytes=1_000_000)
        assert len(result.records) == 75
        assert len(await take(queue, 100)) == 75


async def test_records_over_the_memory_limit_are_paged_out_and_read_back(tmp_path: Path) -> None:
    limit = 1_000_000
    async with reopened(tmp_path, memory_limit=limit) as engine:
        stream = await engine.create_stream(REALM, "log", StreamSettings(segment_bytes=50_000), 1)
        for number in range(300):
            body = Message(address="$stream/log", body=b"%05d" % number + bytes(10_000))
            stream.append([NewRecord("key", body, 10_005)])
            await engine.ready()
        with trio.fail_after(10):
            while engine.memory > limit:  # noqa: ASYNC110 - the engine tells nobody
                await trio.sleep(0.01)
        for _ in range(2):
            numbers: list[int] = []
            position: Position | None = stream.oldest(0)
            while position is not None and len(numbers) < 300:
                result = await stream.read(position, limit=7, max_bytes=1_000_000)
                numbers += [int(each.message.body[:5]) for each in result.records]
                position = result.next
            assert numbers == list(range(300))
            assert engine.memory <= limit + limit // 8  # what was read back is bounded
        await engine.delete_stream(stream)
        assert engine.memory == 0


async def test_all_publishers_that_wait_for_memory_go_on_when_there_is_room() -> None:
    engine = EmbeddedEngine(MemoryJournal(), ManualClock(), memory_limit=10_000)
    async with engine.running():
        engine.count(30_000)
        gone_on: list[int] = []

        async def publish(number: int) -> None:
            await engine.ready()
            gone_on.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(publish, number)
            await trio.testing.wait_all_tasks_blocked()
            assert gone_on == []
            with trio.fail_after(5):
                engine.count(-30_000)
                await trio.testing.wait_all_tasks_blocked()
            assert sorted(gone_on) == [0, 1, 2]
            nursery.cancel_scope.cancel()


async def test_a_folder_is_for_one_engine(tmp_path: Path) -> None:
    async with reopened(tmp_path):
        with pytest.raises(UnavailableError, match="data"):
            async with reopened(tmp_path):
                pytest.fail("opened twice")


async def test_the_ticker_ends_delays_and_leases(tmp_path: Path) -> None:
    class Soon(ManualClock):
        def now(self) -> int:
            return self.time + int(trio.current_time() * 1000)

    async with reopened(tmp_path, Soon()) as engine:
        queue = await engine.create_queue(REALM, "q", QueueSettings())
        send(engine, queue, b"delayed", delay=20)
        (first,) = await queue.receive(1, owner="test", lease=20, wait=5_000)
        (again,) = await queue.receive(1, owner="test", wait=5_000)
        assert again.receives == first.receives + 1
