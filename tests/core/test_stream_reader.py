"""Reading a stream over all its shards: order, splits and merges, retention, waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from hubbub import (
    MAX_HASH_KEY,
    Message,
    NewRecord,
    Position,
    Record,
    Session,
    StreamInfo,
    StreamReader,
    StreamSettings,
    positions_at_last,
    positions_at_latest,
    positions_at_oldest,
    positions_at_sequence,
    positions_at_time,
)
from hubbub.engine.stream_state import StreamState
from hubbub.errors import DeniedError
from hubbub.streams import Extent, ReadResult

NAME = "telemetry"
MIDDLE = 2**127


class Log:
    """A stream, as a session shows it, and the clock that it lives by."""

    def __init__(self, shards: int = 1, **settings: Any) -> None:
        self.now = 1_000
        self.stream = StreamState(
            StreamSettings(**settings), shards=shards, now=self.now, load=self.load
        )
        self.reads = 0
        self.denied = False
        self.paged: dict[int, list[Record]] = {}
        self.loading = trio.Event()

    # as Session

    async def read(
        self, name: str, position: Position, *, limit: int, max_bytes: int, skip_trimmed: bool
    ) -> ReadResult:
        assert name == NAME
        if self.denied:
            raise DeniedError("reader", "consume", name)
        self.reads += 1
        return await self.stream.read(
            position, now=self.now, limit=limit, max_bytes=max_bytes, skip_trimmed=skip_trimmed
        )

    async def load(self, extent: Extent) -> list[Record]:
        await self.loading.wait()
        return self.paged[extent.shard]

    def watch(self, name: str, shard: int, callback: Callable[[], None]) -> Callable[[], None]:
        return self.stream.watch(shard, callback)

    def find_stream(self, name: str) -> StreamState:
        return self.stream

    # as the test

    async def page_out(self, shard: int) -> None:
        """Have all records of a shard, one segment, read back once `loading` is set."""
        found = await self.stream.read(self.stream.oldest(shard), now=self.now)
        self.paged[shard] = found.records
        self.stream.page_out(1, up_to=self.stream.last_sequence)

    @property
    def info(self) -> StreamInfo:
        return cast("StreamInfo", self.stream)

    def reader(self, positions: dict[int, Position] | None = None) -> StreamReader:
        start = positions_at_oldest(self.info) if positions is None else positions
        return StreamReader(cast("Session", self), NAME, start)

    def write(self, *hash_keys: int, size: int = 1) -> list[int]:
        """Append records, and return their sequence numbers."""
        self.now += 1
        message = Message(address="a", body=b"")
        new = [NewRecord("k", message, size, key) for key in hash_keys]
        return [each.sequence for each in self.stream.append(new, now=self.now)]

    def split(self, shard: int) -> None:
        self.now += 1
        info = self.stream.shard(shard)
        middle = (info.starting_hash_key + info.ending_hash_key + 1) // 2
        self.stream.split(shard, middle, now=self.now)

    def merge(self, shard: int, other: int) -> None:
        self.now += 1
        self.stream.merge(shard, other, now=self.now)


def sequences(records: list[Record]) -> list[int]:
    return [each.sequence for each in records]


async def test_shards_side_by_side_are_read_in_the_order_of_appending() -> None:
    log = Log(shards=2)
    written = log.write(0, MIDDLE, MIDDLE, 0, 0, MIDDLE)
    reader = log.reader()
    assert sequences(await reader.read(4)) == written[:4]
    written += log.write(0, MIDDLE)
    assert sequences(await reader.read(4)) == written[4:]
    assert await reader.read(4) == []


async def test_a_limit_holds_over_all_shards_together() -> None:
    log = Log(shards=4)
    written = [log.write(number * MAX_HASH_KEY // 4 + 1)[0] for number in range(4)]
    reader = log.reader()
    assert [sequences(await reader.read(1)) for _ in range(5)] == [[each] for each in written] + [
        []
    ]


async def test_what_was_read_of_a_shard_is_not_read_again() -> None:
    log = Log(shards=2)
    log.write(*[0] * 50, *[MIDDLE] * 50)
    reader = log.reader()
    for _ in range(10):
        assert len(await reader.read(10)) == 10
    # All of one shard comes before the other, of which ten records were kept for later.
    assert log.reads <= 2 * 10


async def test_bytes_are_bounded_over_all_shards_but_one_record_always_comes() -> None:
    log = Log(shards=2)
    written = log.write(*[0, MIDDLE] * 10, size=100)
    reader = log.reader()
    # Five of each shard are read. The tenth waits until it is known what comes before it.
    assert sequences(await reader.read(100, max_bytes=1_000)) == written[:9]
    assert sequences(await reader.read(100, max_bytes=1)) == [written[9]]
    assert sequences(await reader.read(100, max_bytes=1_000)) == written[10:]


async def test_the_order_holds_where_one_shard_is_read_back_later_than_another() -> None:
    log = Log(shards=2, segment_records=2)
    written = log.write(0, MIDDLE, 0)
    await log.page_out(0)
    reader = log.reader()
    found: list[int] = []

    async def read() -> None:
        found.extend(sequences(await reader.read(10)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        later = log.write(MIDDLE, 0)
        log.loading.set()
    assert found == written
    assert sequences(await reader.read(10)) == later


async def test_a_read_that_is_cancelled_while_it_waits_loses_nothing() -> None:
    log = Log(shards=2, segment_records=2)
    written = log.write(0, MIDDLE, 0, MIDDLE)
    await log.page_out(0)
    reader = log.reader()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.read, 10)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    log.loading.set()
    assert sequences(await reader.read(10)) == written


async def test_children_come_after_their_parents() -> None:
    log = Log()
    written = log.write(0, MIDDLE)
    log.split(0)
    written += log.write(MIDDLE, 0)
    log.merge(1, 2)
    written += log.write(0, MIDDLE)
    for limit in (1, 2, 100):
        reader = log.reader()
        found: list[int] = []
        while batch := await reader.read(limit):
            found += sequences(batch)
        assert found == written
        assert reader.positions.keys() == {3}


async def test_empty_shards_are_passed_in_one_read() -> None:
    log = Log()
    log.split(0)
    log.merge(1, 2)
    written = log.write(0)
    assert sequences(await log.reader().read(10)) == written


async def test_a_child_waits_for_both_its_parents() -> None:
    log = Log(shards=2)
    written = log.write(MIDDLE, MIDDLE, 0)
    log.merge(0, 1)
    written += log.write(0)
    reader = log.reader()
    assert sequences(await reader.read(2)) == written[:2]
    assert 2 not in reader.positions
    assert sequences(await reader.read(2)) == [written[2]]
    assert sequences(await reader.read(2)) == [written[3]]


async def test_a_child_waits_for_a_parent_that_is_not_begun() -> None:
    log = Log(shards=3)
    written = log.write(0, 0)
    log.merge(0, 1)
    written += log.write(0)
    log.merge(3, 2)
    written += log.write(MAX_HASH_KEY)
    reader = log.reader()
    found = [sequences(await reader.read(1)) for _ in range(5)]
    assert found == [*([each] for each in written), []]


async def test_waiting_ends_with_a_record_in_any_shard_even_a_new_one() -> None:
    log = Log(shards=2)
    reader = log.reader(positions_at_latest(log.info))
    found: list[int] = []

    async def read() -> None:
        found.extend(sequences(await reader.read_or_wait(10)))

    def split() -> list[int]:
        log.split(1)
        return log.write(MAX_HASH_KEY)

    def merge() -> list[int]:
        log.merge(2, 3)
        return log.write(MIDDLE)

    changes: list[Callable[[], list[int]]] = [
        lambda: log.write(0), lambda: log.write(MIDDLE), split, merge,
    ]  # fmt: skip
    for change in changes:
        found.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            assert found == []
            expected = change()
        assert found == expected
    assert all(not shard.watchers for shard in log.stream._shards.values())


async def test_a_wait_goes_on_in_new_shards() -> None:
    log = Log()
    reader = log.reader()
    found: list[int] = []

    async def read() -> None:
        found.extend(sequences(await reader.read_or_wait(1)))

    reshards: list[Callable[[], None]] = [lambda: log.split(0), lambda: log.merge(1, 2)]
    for reshard in reshards:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            reshard()
            await trio.testing.wait_all_tasks_blocked()
            expected = log.write(0)
        assert found[-1:] == expected


async def test_a_wait_that_is_cancelled_loses_nothing() -> None:
    log = Log()
    reader = log.reader()
    with trio.move_on_after(0):
        await reader.read_or_wait(10)
    written = log.write(0)
    assert sequences(await reader.read_or_wait(10)) == written


async def test_checking_reads_nothing_away() -> None:
    log = Log(shards=2)
    written = log.write(0, MIDDLE, 0)
    reader = log.reader()
    await reader.check()
    assert reader.positions == positions_at_oldest(log.info)
    assert sequences(await reader.read(10)) == written
    log.denied = True
    with pytest.raises(DeniedError):
        await log.reader().check()


async def test_a_reader_goes_on_where_another_was() -> None:
    log = Log(shards=2)
    written = log.write(0, MIDDLE, 0, MIDDLE)
    first = log.reader()
    found = sequences(await first.read(3))
    assert found + sequences(await log.reader(first.positions).read(10)) == written


async def test_before_tells_where_the_last_read_began() -> None:
    log = Log(shards=2)
    log.write(0, MIDDLE)
    reader = log.reader()
    start = reader.positions
    await reader.read(1)
    assert reader.before == start
    at_first = reader.positions
    await reader.read(1)
    assert reader.before == at_first


async def test_what_retention_drops_is_told_and_skipped() -> None:
    log = Log(retention=1_000, segment_records=1)
    old = log.write(0)
    reader = log.reader({0: Position(0, old[0], inclusive=True)})
    log.now += 2_000
    log.stream.trim(now=log.now)
    new = log.write(0)
    assert (sequences(await reader.read(10)), reader.trimmed) == (new, True)
    await reader.read(10)
    assert not reader.trimmed


async def test_where_shards_are_gone_their_descendants_are_read() -> None:
    log = Log(retention=1_000, segment_records=1)
    log.write(0)
    reader = log.reader()
    log.split(0)
    log.merge(1, 2)
    log.split(3)
    log.now += 2_000
    log.stream.trim(now=log.now)
    assert {each.id for each in log.stream.shards()} == {4, 5}
    new = log.write(MIDDLE, 0)
    assert sequences(await reader.read_or_wait(10)) == new
    assert reader.trimmed
    assert reader.positions.keys() == {4, 5}


async def test_a_wait_notices_that_a_shard_is_gone() -> None:
    log = Log(retention=1_000, segment_records=1)
    written = log.write(0)
    reader = log.reader()
    assert sequences(await reader.read(10)) == written
    log.split(0)
    log.now += 2_000
    log.stream.trim(now=log.now)
    assert await reader.read_or_wait(10) == []
    assert reader.trimmed
    assert reader.positions.keys() == {1, 2}


async def test_a_wait_ends_when_retention_takes_what_was_next() -> None:
    log = Log(retention=1_000, segment_records=1)
    log.write(0, 0)
    reader = log.reader()
    assert len(await reader.read(1)) == 1
    log.now += 2_000
    log.stream.trim(now=log.now)
    assert await reader.read_or_wait(10) == []
    assert reader.trimmed


async def test_starts() -> None:
    log = Log(shards=2)
    log.write(0)
    log.split(0)
    moment = log.now + 1
    written = log.write(0, MIDDLE)
    log.merge(2, 3)
    written += log.write(0)

    async def all_from(positions: dict[int, Position]) -> list[int]:
        reader, sequence = log.reader(positions), []
        while batch := await reader.read(2):
            sequence += sequences(batch)
        return sequence

    assert len(await all_from(positions_at_oldest(log.info))) == 4
    assert await all_from(await positions_at_time(log.info, moment)) == written
    for index, each in enumerate(written):
        assert await all_from(positions_at_sequence(log.info, each)) == written[index:]
    assert len(await all_from(positions_at_sequence(log.info, -5))) == 4
    assert await all_from(positions_at_latest(log.info)) == []
    assert await all_from(positions_at_sequence(log.info, 10**6)) == []
    assert await all_from(positions_at_last(log.info)) == written[-1:]
    log.split(4)
    assert await all_from(positions_at_last(log.info)) == written[-1:]
    empty = Log().info
    assert positions_at_last(empty) == positions_at_latest(empty)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.lists(st.integers(0, MAX_HASH_KEY), min_size=1)),
        st.tuples(st.just("split"), st.integers(0, 100)),
        st.tuples(st.just("merge"), st.integers(0, 100)),
        st.tuples(st.just("read"), st.integers(1, 5)),
        st.tuples(st.just("resume"), st.none()),
    ),
    max_size=40,
)


@given(st.integers(1, 3), OPERATIONS)
def test_whatever_happens_each_record_comes_once_and_after_its_ancestors(
    shards: int, operations: list[tuple[str, Any]]
) -> None:
    trio.run(_read_while, shards, operations)


async def _read_while(shards: int, operations: list[tuple[str, Any]]) -> None:
    log = Log(shards=shards)
    reader = log.reader()
    written: list[int] = []
    found: list[Record] = []
    for operation, value in operations:
        owners = sorted(
            (each for each in log.stream.shards() if each.closed is None),
            key=lambda shard: shard.starting_hash_key,
        )
        if operation == "write":
            written += log.write(*value)
        elif operation == "split":
            shard = owners[value % len(owners)]
            if shard.ending_hash_key > shard.starting_hash_key + 2:
                log.split(shard.id)
        elif operation == "merge" and len(owners) > 1:
            place = value % (len(owners) - 1)
            log.merge(owners[place].id, owners[place + 1].id)
        elif operation == "read":
            batch = await reader.read(value)
            assert len(batch) <= value
            found += batch
        elif operation == "resume":
            reader = log.reader(reader.positions)
    while batch := await reader.read(3):
        found += batch
    assert sorted(sequences(found)) == written
    parents = {
        each.id: {each.parent, each.adjacent_parent} - {None} for each in log.stream.shards()
    }
    last: dict[int, int] = {}
    for record in found:
        assert record.sequence > last.get(record.shard, 0)
        last[record.shard] = record.sequence
        for parent in parents[record.shard]:
            assert parent is not None
            due = [
                each.sequence
                for each in found
                if each.shard == parent and each.sequence > last.get(parent, 0)
            ]
            assert not due
