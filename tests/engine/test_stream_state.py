import hashlib
import itertools
import types
from bisect import bisect_left
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hubbub.engine.segments import RECORD_MEMORY_COST
from hubbub.engine.stream_state import SEQUENCE_GAP, StreamState
from hubbub.message import Message
from hubbub.streams import (
    MAX_HASH_KEY,
    DamagedStreamError,
    Extent,
    InvalidHashKeyError,
    NewRecord,
    NoSuchShardError,
    Position,
    ReadResult,
    Record,
    ShardClosedError,
    ShardInfo,
    ShardLimitError,
    ShardsNotAdjacentError,
    StreamSettings,
    TrimmedPositionError,
    UnknownPositionError,
    hash_key,
)

HALF = 2**127
Result = TypeVar("Result")
Steps = Coroutine[Extent, list[Record] | None, Result]
"""A read that the test takes step by step, see `ask`."""


class Kept:
    """What a store was told to keep."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.loads = 0

    def keep(self, placed: Mapping[int, Sequence[Record]]) -> None:
        for mine in placed.values():
            self.records += mine

    def load(self, extent: Extent) -> list[Record]:
        self.loads += 1
        return [
            each
            for each in self.records
            if each.shard == extent.shard and extent.first <= each.sequence <= extent.last
        ]

    def done(self, steps: Steps[Result]) -> Result:
        """Take steps to their end, with what they ask for."""
        return done(steps, self.load)

    def extents(self, most: int = 3) -> list[Extent]:
        """Up to `most` successive records of a shard that arrived together, per extent."""
        found: list[Extent] = []
        for each in sorted(self.records, key=lambda each: (each.shard, each.sequence)):
            last = found[-1] if found else None
            if (
                last
                and (last.shard, last.until) == (each.shard, each.arrived)
                and last.count < most
            ):
                last.count += 1
                last.last, last.size = each.sequence, last.size + each.size
                continue
            found.append(
                Extent(
                    each.shard, each.sequence, each.sequence, 1, each.size, each.arrived,
                    each.arrived,
                )
            )  # fmt: skip
        return found


@types.coroutine
def ask(extent: Extent) -> Generator[Extent, list[Record], list[Record]]:
    """Read records back: the test that takes the steps of a read gives them."""
    return (yield extent)


def nothing(extent: Extent) -> list[Record]:
    raise AssertionError("nothing is to be loaded")


def done(steps: Steps[Result], load: Callable[[Extent], list[Record]] = nothing) -> Result:
    """Take steps to their end; by default they must not ask for anything."""
    try:
        wanted = steps.send(None)
        while True:
            wanted = steps.send(load(wanted))
    except StopIteration as end:
        result: Result = end.value
        return result


def end(steps: Steps[Result], records: list[Record]) -> Result:
    """Send steps the last that they ask for, and return their result."""
    with pytest.raises(StopIteration) as stop:
        steps.send(records)
    result: Result = stop.value.value
    return result


def text(content: str = "") -> Message:
    return Message(address="$stream/log", body=content.encode())


def new(content: str = "", size: int = 0, key: int | None = None) -> NewRecord:
    return NewRecord("k", text(content), size, key)


def one_shard(**options: int | None) -> StreamState:
    return StreamState(StreamSettings(**options), shards=1, now=0)  # type: ignore[arg-type]


def one_kept_shard(**options: int | None) -> tuple[StreamState, Kept]:
    kept = Kept()
    settings = StreamSettings(**options)  # type: ignore[arg-type]
    return StreamState(settings, shards=1, now=0, load=ask), kept


def fill(
    stream: StreamState, count: int, *, now: int = 0, size: int = 1, kept: Kept | None = None
) -> list[Record]:
    keep = None if kept is None else kept.keep
    return stream.append([new(f"m{i}", size) for i in range(count)], now=now, keep=keep)


def messages(result: ReadResult) -> list[str]:
    return [record.message.body.decode() for record in result.records]


class TestShards:
    @pytest.mark.parametrize("count", [1, 2, 3, 7])
    def test_shards_share_all_hash_keys_evenly(self, count: int) -> None:
        shards = StreamState(StreamSettings(), shards=count, now=5).shards()
        assert [shard.id for shard in shards] == list(range(count))
        assert shards[0].starting_hash_key == 0
        assert shards[-1].ending_hash_key == MAX_HASH_KEY
        for low, high in itertools.pairwise(shards):
            assert low.ending_hash_key + 1 == high.starting_hash_key
        widths = [shard.ending_hash_key - shard.starting_hash_key for shard in shards]
        assert max(widths) - min(widths) <= count
        assert {shard.opened for shard in shards} == {5}

    def test_how_many(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            StreamState(StreamSettings(), shards=0, now=0)
        with pytest.raises(ShardLimitError) as caught:
            StreamState(StreamSettings(max_shards=3), shards=4, now=0)
        assert caught.value.limit == 3

    def test_the_md5_of_the_partition_key_selects_the_shard(self) -> None:
        assert hash_key("user-1") == int(hashlib.md5(b"user-1").hexdigest(), 16)
        assert hash_key("\ud800") != hash_key("?")
        stream = StreamState(StreamSettings(), shards=16, now=0)
        for number in range(100):
            expected = hash_key(f"k{number}") * 16 // 2**128
            [record] = stream.append([NewRecord(f"k{number}", text(), 0)], now=0)
            assert record.shard == expected == stream.shard_for(f"k{number}").id

    def test_an_explicit_hash_key_overrules_the_partition_key(self) -> None:
        stream = StreamState(StreamSettings(), shards=2, now=0)
        keys = [0, HALF - 1, HALF, MAX_HASH_KEY]
        records = stream.append([new(key=key) for key in keys], now=0)
        assert [record.shard for record in records] == [0, 0, 1, 1]

    @pytest.mark.parametrize("key", [-1, MAX_HASH_KEY + 1])
    def test_a_wrong_hash_key_appends_nothing(self, key: int) -> None:
        stream = one_shard()
        with pytest.raises(InvalidHashKeyError) as caught:
            stream.append([new(), new(key=key)], now=0)
        assert caught.value.hash_key == key
        assert (len(stream), stream.size, stream.last_sequence) == (0, 0, 0)

    def test_split(self) -> None:
        stream = one_shard()
        fill(stream, 2)
        done = stream.split(0, HALF, now=7)
        [closed] = done.closed
        assert (closed.ending_sequence, closed.closed, done.last_sequence) == (3, 7, 3)
        low, high = done.opened
        assert (low.starting_hash_key, low.ending_hash_key) == (0, HALF - 1)
        assert (high.starting_hash_key, high.ending_hash_key) == (HALF, MAX_HASH_KEY)
        assert (low.id, high.id) == (1, 2)
        assert low.parent == high.parent == 0
        assert low.adjacent_parent is None
        assert low.starting_sequence == high.starting_sequence == 4
        assert low.opened == 7
        assert stream.shards() == [closed, low, high]
        assert fill(stream, 1)[0].sequence == 4

    def test_merge(self) -> None:
        stream = StreamState(StreamSettings(), shards=3, now=0)
        done = stream.merge(2, 1, now=7)
        [merged] = done.opened
        assert merged.parent == 2
        assert merged.adjacent_parent == 1
        assert merged.starting_hash_key == stream.shard(1).starting_hash_key
        assert merged.ending_hash_key == MAX_HASH_KEY
        assert [info.id for info in done.closed] == [2, 1]
        assert stream.merge(0, merged.id, now=8).opened[0].ending_hash_key == MAX_HASH_KEY

    def test_reshard_refused(self) -> None:
        stream = StreamState(StreamSettings(max_shards=4), shards=4, now=0)
        with pytest.raises(ShardsNotAdjacentError):
            stream.merge(0, 2, now=0)
        with pytest.raises(ShardsNotAdjacentError):
            stream.merge(1, 1, now=0)
        with pytest.raises(NoSuchShardError):
            stream.merge(0, 9, now=0)
        with pytest.raises(ShardLimitError):
            stream.split(0, 5, now=0)
        stream.merge(0, 1, now=0)
        for key in (0, stream.shard(2).ending_hash_key + 1, stream.shard(2).starting_hash_key, -1):
            with pytest.raises(InvalidHashKeyError):
                stream.split(2, key, now=0)
        with pytest.raises(ShardClosedError):
            stream.split(0, 5, now=0)
        with pytest.raises(ShardClosedError):
            stream.merge(0, 4, now=0)
        assert stream.last_sequence == 1
        last = stream.shard(3).ending_hash_key
        assert stream.split(3, last, now=0).opened[1].starting_hash_key == last


class TestReading:
    def test_from_each_kind_of_position(self) -> None:
        stream = one_shard(segment_records=2)
        for time in (10, 20, 20, 30, 40):
            fill(stream, 1, now=time)

        def sequences(position: Position) -> list[int]:
            return [record.sequence for record in done(stream.read(position, now=40)).records]

        assert sequences(stream.oldest(0)) == [1, 2, 3, 4, 5]
        assert sequences(stream.latest(0)) == []
        assert sequences(stream.at_sequence(0, 3)) == [3, 4, 5]
        assert sequences(stream.after_sequence(0, 3)) == [4, 5]
        for time, first in [(0, 1), (10, 1), (11, 2), (20, 2), (21, 4), (40, 5), (41, 6)]:
            assert sequences(done(stream.at_timestamp(0, time))) == list(range(first, 6))

    def test_limits_of_count_and_bytes(self) -> None:
        stream = one_shard(segment_records=3)
        fill(stream, 10, size=10)
        start = stream.oldest(0)
        for limit in range(1, 12):
            result = done(stream.read(start, now=0, limit=limit))
            assert len(result.records) == min(limit, 10)
        for max_bytes, expected in [(0, 1), (10, 1), (29, 2), (30, 3), (35, 3), (60, 6), (999, 10)]:
            assert len(done(stream.read(start, now=0, max_bytes=max_bytes)).records) == expected
            middle = stream.at_sequence(0, 2)
            result = done(stream.read(middle, now=0, max_bytes=max_bytes))
            assert len(result.records) == min(expected, 9)
        with pytest.raises(ValueError, match="at least one"):
            done(stream.read(start, now=0, limit=0))

    def test_a_record_larger_than_the_limit_is_read_alone(self) -> None:
        stream = one_shard()
        stream.append([new(str(n), size) for n, size in enumerate([100, 0, 5])], now=0)
        result = done(stream.read(stream.oldest(0), now=0, max_bytes=50))
        assert messages(result) == ["0"]
        assert result.next is not None
        assert messages(done(stream.read(result.next, now=0, max_bytes=50))) == ["1", "2"]

    def test_behind_is_the_age_of_the_last_record_while_more_wait(self) -> None:
        stream = one_shard()
        for time in (100, 200, 300):
            fill(stream, 1, now=time)
        assert done(stream.read(stream.oldest(0), now=1000, limit=1)).behind == 900
        assert done(stream.read(stream.oldest(0), now=1000, limit=2)).behind == 800
        assert done(stream.read(stream.oldest(0), now=1000, limit=3)).behind == 0
        assert done(stream.read(stream.latest(0), now=1000)).behind == 0
        assert done(stream.read(stream.oldest(0), now=50, limit=1)).behind == 0

    def test_latest_sees_what_comes_after_it_only(self) -> None:
        stream = one_shard()
        early = stream.latest(0)
        fill(stream, 1)
        late = stream.latest(0)
        fill(stream, 1)
        assert messages(done(stream.read(early, now=0))) == ["m0", "m0"]
        result = done(stream.read(late, now=0))
        assert [record.sequence for record in result.records] == [2]
        assert result.next is not None
        assert done(stream.read(result.next, now=0)).records == []

    def test_the_end_of_a_closed_shard_names_its_children(self) -> None:
        stream = one_shard()
        fill(stream, 2)
        opened = stream.split(0, HALF, now=0).opened
        first = done(stream.read(stream.oldest(0), now=0, limit=1))
        assert first.next is not None
        assert first.children == ()
        last = done(stream.read(first.next, now=0))
        assert len(last.records) == 1
        assert last.next is None
        assert last.behind == 0
        assert last.children == opened
        assert done(stream.read(stream.latest(0), now=0)).next is None

    def test_the_wall_clock_may_go_back(self) -> None:
        stream = one_shard()
        fill(stream, 1, now=100)
        assert fill(stream, 1, now=50)[0].arrived == 100
        assert done(stream.at_timestamp(0, 60)) == Position(0, 1, inclusive=True)

    def test_positions_that_never_were(self) -> None:
        stream = one_shard()
        fill(stream, 3)
        for sequence in (-1, 0, 4):
            with pytest.raises(UnknownPositionError):
                stream.at_sequence(0, sequence)
            with pytest.raises(UnknownPositionError):
                stream.after_sequence(0, sequence)
        for position in (
            Position(0, 5, inclusive=True),
            Position(0, 4, inclusive=False),
            Position(0, -1, inclusive=True),
        ):
            with pytest.raises(UnknownPositionError):
                done(stream.read(position, now=0))
        calls: list[Callable[[], object]] = [
            lambda: stream.oldest(1),
            lambda: stream.latest(1),
            lambda: stream.at_sequence(1, 1),
            lambda: stream.after_sequence(1, 1),
            lambda: done(stream.at_timestamp(1, 0)),
            lambda: done(stream.read(Position(1, 1, inclusive=True), now=0)),
            lambda: stream.shard(1),
            lambda: stream.watch(1, lambda: None),
        ]
        for call in calls:
            with pytest.raises(NoSuchShardError) as caught:
                call()
            assert caught.value.shard == 1


class TestWatching:
    def test_append_and_close_wake_those_of_the_shard(self) -> None:
        stream = StreamState(StreamSettings(), shards=2, now=0)
        woken: list[str] = []
        stream.watch(0, lambda: woken.append("low"))
        unwatch = stream.watch(1, lambda: woken.append("high"))
        stream.append([new(key=0)] * 3, now=0)
        assert woken == ["low"]
        stream.append([new(key=key) for key in (HALF, 0, HALF)], now=0)
        assert woken == ["low", "high", "low"]
        stream.split(1, HALF + 5, now=0)
        assert woken == ["low", "high", "low", "high"]
        unwatch()
        unwatch()
        stream.wake()
        assert woken == ["low", "high", "low", "high", "low"]

    def test_a_watcher_finds_the_record_and_may_stop_watching(self) -> None:
        stream = one_shard()
        found: list[str] = []

        def take() -> None:
            found.extend(messages(done(stream.read(stream.oldest(0), now=0))))
            unwatch()

        unwatch = stream.watch(0, take)
        fill(stream, 1)
        fill(stream, 1)
        assert found == ["m0"]

    def test_a_removed_shard_wakes_its_watchers(self) -> None:
        stream = one_shard(retention=1000)
        stream.split(0, HALF, now=0)
        woken: list[int] = []
        stream.watch(0, lambda: woken.append(1))
        assert stream.trim(now=1000).removed == (0,)
        assert woken == [1]


class TestRetention:
    def test_whole_segments_go(self) -> None:
        stream = one_shard(retention=1000, segment_records=2)
        for time in (0, 10, 20, 30, 40):
            fill(stream, 1, now=time, size=5)
        assert stream.trim_due() == 1010
        assert stream.trim(now=1009).cuts == ()
        [cut] = stream.trim(now=1030).cuts
        assert (cut.shard, cut.sequence, cut.count, cut.size) == (0, 4, 4, 20)
        assert stream.shard(0).trimmed_to == 4
        assert (len(stream), stream.size) == (1, 5)
        assert stream.resident_size == 5 + RECORD_MEMORY_COST
        assert stream.trim_due() == 1040
        assert stream.trim(now=1040).cuts[0].count == 1
        assert stream.trim_due() is None
        assert len(stream) == 0
        assert fill(stream, 1, now=1041)[0].sequence == 6

    def test_a_trimmed_position(self) -> None:
        stream = one_shard(retention=1000, segment_records=2)
        positions = [stream.oldest(0), stream.latest(0)]
        fill(stream, 4)
        fill(stream, 2, now=500)
        stream.trim(now=1000)
        positions += [stream.at_sequence(0, 4), stream.after_sequence(0, 3)]
        for position in positions[1:]:
            with pytest.raises(TrimmedPositionError) as caught:
                done(stream.read(position, now=1000))
            assert caught.value.position == position
            assert caught.value.oldest == stream.oldest(0)
            result = done(stream.read(position, now=1000, skip_trimmed=True))
            assert result.trimmed
            assert [record.sequence for record in result.records] == [5, 6]
        for position in (positions[0], stream.after_sequence(0, 4), stream.at_sequence(0, 5)):
            result = done(stream.read(position, now=1000))
            assert not result.trimmed
            assert len(result.records) == 2

    def test_a_reader_at_the_tip_is_never_trimmed_by_others(self) -> None:
        stream = StreamState(StreamSettings(retention=1000), shards=2, now=0)
        stream.append([new(key=0)], now=0)
        stream.append([new(key=HALF)] * 5, now=0)
        tip = done(stream.read(stream.oldest(0), now=0)).next
        assert tip is not None
        stream.trim(now=1000)
        stream.append([new("new", key=0)], now=1000)
        assert messages(done(stream.read(tip, now=1000))) == ["new"]

    @pytest.mark.parametrize("restored", [False, True])
    def test_a_segment_spans_a_tenth_of_the_retention(self, restored: bool) -> None:
        stream, kept = one_kept_shard(retention=1000)
        for time in range(0, 1000, 10):
            fill(stream, 1, now=time, kept=kept)
        if restored:
            stream = done(
                StreamState.restore(
                    stream.settings, stream.shards(), kept.extents(), last_sequence=0, load=ask
                )
            )
        stream.trim(now=1200)
        assert 100 < kept.records[-len(stream)].arrived <= 210

    def test_a_segment_is_full_by_its_bytes_too(self) -> None:
        stream, kept = one_kept_shard(retention=None, max_bytes=0, segment_bytes=20)
        fill(stream, 7, size=10, kept=kept)
        assert stream.trim(now=0).cuts[0].count == 6
        again = done(
            StreamState.restore(
                stream.settings,
                [msgspec.structs.replace(stream.shard(0), trimmed_to=0)],
                kept.extents(1),
                last_sequence=0,
                load=ask,
            )
        )
        assert again.trim(now=0).cuts[0].count == 6

    def test_parents_go_before_their_children_though_the_wall_clock_goes_back(self) -> None:
        stream = one_shard(retention=1000)
        stream.split(0, HALF, now=100)
        assert stream.merge(1, 2, now=50).closed[0].closed == 100
        assert stream.trim(now=1099).removed == ()
        assert stream.trim(now=1100).removed == (0, 1, 2)

    def test_a_closed_shard_stays_until_retention_has_passed(self) -> None:
        stream = one_shard(retention=1000)
        fill(stream, 1, now=0)
        stream.split(0, HALF, now=500)
        assert stream.trim(now=1000).cuts[0].count == 1
        assert stream.trim_due() == 1500
        assert stream.trim(now=1499).removed == ()
        assert done(stream.read(stream.oldest(0), now=1499)).next is None
        assert stream.trim(now=1500).removed == (0,)
        with pytest.raises(NoSuchShardError):
            stream.shard(0)
        assert [info.parent for info in stream.shards()] == [0, 0]
        stream.merge(1, 2, now=1500)
        assert stream.trim(now=2500).removed == (1, 2)

    def test_for_ever(self) -> None:
        stream = one_shard(retention=None)
        fill(stream, 1)
        stream.split(0, HALF, now=0)
        assert stream.trim_due() is None
        trim = stream.trim(now=2**50)
        assert (trim.cuts, trim.removed) == ((), ())

    def test_retention_changes_while_running(self) -> None:
        stream = one_shard(retention=1000)
        fill(stream, 1)
        stream.settings = StreamSettings(retention=10)
        assert stream.trim_due() == 10
        assert stream.trim(now=10).cuts[0].count == 1

    def test_the_oldest_segments_go_when_it_is_too_large(self) -> None:
        options = StreamSettings(retention=None, max_bytes=60, segment_records=2)
        stream = StreamState(options, shards=2, now=0)
        for key in (0, HALF, 0, HALF):
            stream.append([new(size=10, key=key)] * 2, now=0)
        assert stream.trim_due() == 0
        cuts = stream.trim(now=0).cuts
        assert [(cut.shard, cut.sequence, cut.count) for cut in cuts] == [(0, 2, 2)]
        assert stream.size == 60
        assert stream.trim_due() is None
        stream.append([new(size=1000, key=0)], now=0)
        cuts = stream.trim(now=0).cuts
        assert [(cut.shard, cut.sequence, cut.count) for cut in cuts] == [(1, 4, 2), (0, 6, 2)]
        # What is left is the newest of each shard, though it is too large.
        assert stream.size == 1020
        assert stream.trim_due() is None
        stream.split(1, HALF + 5, now=0)
        assert stream.trim_due() == 0
        assert [cut.shard for cut in stream.trim(now=0).cuts] == [1]

    def test_several_segments_of_a_shard_are_one_cut(self) -> None:
        stream = one_shard(retention=None, max_bytes=10, segment_records=2)
        fill(stream, 9, size=10)
        [cut] = stream.trim(now=0).cuts
        assert (cut.sequence, cut.count, cut.size) == (8, 8, 80)


TAKEN = 10 + RECORD_MEMORY_COST
"""What a record of ten bytes takes in memory."""


class TestPaging:
    def test_paged_records_are_loaded_a_segment_at_a_time(self) -> None:
        stream, kept = one_kept_shard(segment_records=2)
        records = fill(stream, 6, size=10, kept=kept)
        assert stream.page_out(1, up_to=6) == 2 * TAKEN
        assert stream.resident_size == 4 * TAKEN
        assert kept.done(stream.read(stream.oldest(0), now=0, limit=3)).records == records[:3]
        assert kept.loads == 1
        assert kept.done(stream.read(stream.after_sequence(0, 1), now=0, limit=1)).records == [
            records[1]
        ]
        assert kept.loads == 2
        assert kept.done(stream.read(stream.at_sequence(0, 3), now=0)).records == records[2:]
        assert kept.done(stream.at_timestamp(0, 0)).sequence == 1
        assert kept.loads == 2

    def test_limits_hold_over_paged_segments(self) -> None:
        stream, kept = one_kept_shard(segment_records=3)
        records = fill(stream, 9, size=10, kept=kept)
        stream.page_out(6 * TAKEN, up_to=9)
        for max_bytes, expected in [(0, 1), (29, 2), (30, 3), (45, 4), (70, 7), (90, 9)]:
            result = kept.done(stream.read(stream.oldest(0), now=0, max_bytes=max_bytes))
            assert result.records == records[:expected]
            assert (result.next is None or result.next.sequence) == records[expected - 1].sequence

    def test_a_time_within_what_is_paged_out(self) -> None:
        stream, kept = one_kept_shard(segment_records=4)
        for time in (10, 20, 30, 40):
            fill(stream, 1, now=time, kept=kept)
        stream.page_out(9, up_to=4)
        places = [kept.done(stream.at_timestamp(0, time)) for time in (5, 10, 11, 40)]
        assert [each.sequence for each in places] == [1, 1, 2, 4]
        assert kept.done(stream.at_timestamp(0, 41)) == stream.latest(0)

    def test_only_what_is_committed(self) -> None:
        stream, kept = one_kept_shard(segment_records=2)
        fill(stream, 5, size=10, kept=kept)
        assert stream.page_out(10 * TAKEN, up_to=3) == 2 * TAKEN
        assert stream.page_out(10 * TAKEN, up_to=5) == 3 * TAKEN
        assert stream.page_out(10 * TAKEN, up_to=5) == 0
        assert stream.resident_size == 0
        fill(stream, 1, size=10, kept=kept)
        assert stream.resident_size == TAKEN
        assert messages(kept.done(stream.read(stream.at_sequence(0, 6), now=0))) == ["m0"]

    def test_the_newest_of_each_shard_go_last(self) -> None:
        kept = Kept()
        stream = StreamState(StreamSettings(segment_records=2), shards=2, now=0, load=ask)
        stream.append([new(size=10, key=0)], now=0, keep=kept.keep)
        stream.append([new(size=10, key=HALF)] * 4, now=0, keep=kept.keep)
        assert stream.page_out(2 * TAKEN, up_to=5) == 2 * TAKEN
        assert kept.done(stream.read(stream.oldest(0), now=0)).records
        assert kept.done(stream.read(stream.at_sequence(1, 4), now=0)).records
        assert kept.loads == 0
        assert stream.page_out(TAKEN, up_to=5) == TAKEN
        assert kept.done(stream.read(stream.oldest(0), now=0)).records
        assert kept.loads == 1

    def test_trimming_what_is_paged_out(self) -> None:
        stream, kept = one_kept_shard(segment_records=2, retention=1000)
        fill(stream, 4, size=10, kept=kept)
        fill(stream, 2, now=500, size=10, kept=kept)
        stream.page_out(2 * TAKEN, up_to=6)
        stream.trim(now=1000)
        assert (stream.size, stream.resident_size) == (20, 2 * TAKEN)
        assert stream.page_out(10 * TAKEN, up_to=6) == 2 * TAKEN

    def test_a_read_waits_for_nothing_that_it_does_not_need(self) -> None:
        stream, kept = one_kept_shard(segment_records=2)
        records = fill(stream, 6, size=10, kept=kept)
        stream.page_out(4 * TAKEN, up_to=6)
        steps = stream.read(stream.at_sequence(0, 2), now=0, limit=2)
        assert (wanted := steps.send(None)).first == 1
        assert (wanted := steps.send(kept.load(wanted))).first == 3
        assert end(steps, kept.load(wanted)).records == records[1:3]
        assert done(stream.read(stream.at_sequence(0, 5), now=0)).records == records[4:]

    def test_records_that_come_while_a_read_waits_are_read_too(self) -> None:
        stream, kept = one_kept_shard(segment_records=2)
        records = fill(stream, 2, kept=kept)
        stream.page_out(9 * TAKEN, up_to=2)
        steps = stream.read(stream.oldest(0), now=0)
        wanted = steps.send(None)
        records += fill(stream, 3, kept=kept)
        found = end(steps, kept.load(wanted))
        assert (found.records, found.next) == (records, stream.latest(0))

    def test_a_shard_that_is_split_while_a_read_waits(self) -> None:
        stream, kept = one_kept_shard(segment_records=2)
        records = fill(stream, 2, kept=kept)
        stream.page_out(9 * TAKEN, up_to=2)
        steps = stream.read(stream.oldest(0), now=0)
        wanted = steps.send(None)
        opened = stream.split(0, HALF, now=0).opened
        found = end(steps, kept.load(wanted))
        assert (found.records, found.next, found.children) == (records, None, opened)

    def waiting(self, records: int) -> tuple[StreamState, Kept, list[Record]]:
        """Return a stream with segments of two records, all paged out, a second between them."""
        stream, kept = one_kept_shard(segment_records=2, retention=10_000)
        filled = [each for time in range(records // 2) for each in fill(stream, 2, now=1000 * time)]
        kept.records += filled
        stream.page_out(99 * TAKEN, up_to=records)
        return stream, kept, filled

    def test_what_retention_drops_while_a_read_waits_for_it_is_trimmed(self) -> None:
        stream, kept, records = self.waiting(6)
        steps = stream.read(stream.at_sequence(0, 1), now=0, skip_trimmed=True)
        assert steps.send(None).first == 1
        stream.trim(now=11_000)
        wanted = steps.send([])  # the store has dropped it as well
        assert wanted.first == 5
        found = end(steps, kept.load(wanted))
        assert (found.records, found.trimmed) == (records[4:], True)

    def test_who_wants_to_know_is_told_that_it_was_trimmed_meanwhile(self) -> None:
        stream, kept, _ = self.waiting(4)
        steps = stream.read(stream.at_sequence(0, 1), now=0)
        wanted = steps.send(None)
        stream.trim(now=10_000)
        with pytest.raises(TrimmedPositionError):
            steps.send(kept.load(wanted))
        assert len(stream) == 2

    def test_a_read_ends_before_what_is_trimmed_meanwhile(self) -> None:
        stream, kept, records = self.waiting(6)
        steps = stream.read(stream.oldest(0), now=0)
        wanted = steps.send(None)
        assert steps.send(kept.load(wanted)).first == 3
        stream.trim(now=11_000)
        found = end(steps, [])
        assert (found.records, found.trimmed) == (records[:2], False)
        assert found.next is not None
        again = kept.done(stream.read(found.next, now=0, skip_trimmed=True))
        assert (again.records, again.trimmed) == (records[4:], True)

    def test_retention_before_what_a_read_waits_for_changes_nothing(self) -> None:
        stream, kept, records = self.waiting(6)
        steps = stream.read(stream.at_sequence(0, 3), now=0)
        wanted = steps.send(None)
        stream.trim(now=10_000)
        wanted = steps.send(kept.load(wanted))
        assert end(steps, kept.load(wanted)).records == records[2:]

    def test_a_shard_that_is_removed_while_a_read_waits_is_missing(self) -> None:
        stream, _, _ = self.waiting(2)
        stream.split(0, HALF, now=0)
        steps = stream.read(stream.oldest(0), now=0, skip_trimmed=True)
        steps.send(None)
        at = stream.at_timestamp(0, 0)
        stream.trim(now=20_000)
        with pytest.raises(NoSuchShardError):
            steps.send([])
        with pytest.raises(NoSuchShardError):
            at.send(None)

    def test_a_time_that_is_trimmed_while_it_is_looked_for(self) -> None:
        stream, kept = one_kept_shard(segment_records=2, retention=1000)
        for time in (10, 20, 30, 40):
            fill(stream, 1, now=time, kept=kept)
        stream.page_out(9 * TAKEN, up_to=4)
        steps = stream.at_timestamp(0, 15)
        assert steps.send(None).first == 1
        stream.trim(now=1025)
        assert end(steps, []) == Position(0, 3, inclusive=True)

    @given(st.data(), st.integers(1, 6), st.integers(1, 9))
    def test_a_read_leaves_nothing_out_whatever_changes_while_it_waits(
        self, data: st.DataObject, segments: int, limit: int
    ) -> None:
        stream, kept, log = self.waiting(2 * segments)
        start = data.draw(st.integers(1, len(log)))
        dropped = 0

        def load(extent: Extent) -> list[Record]:
            nonlocal dropped
            loaded = kept.load(extent)
            dropped += data.draw(st.integers(0, 2))
            if dropped:
                stream.trim(now=10_000 + 1000 * (dropped - 1))
            if data.draw(st.booleans()):
                log.extend(fill(stream, 1, now=10_000, kept=kept))
            return loaded

        position = stream.at_sequence(0, start)
        found = done(stream.read(position, now=0, limit=limit, skip_trimmed=True), load)
        left = done(stream.read(stream.oldest(0), now=0), kept.load).records
        if found.records:
            first, last = log.index(found.records[0]), log.index(found.records[-1])
            assert found.records == log[first : last + 1]
            assert not any(each in left for each in log[start - 1 : first])
            assert found.trimmed == (first > start - 1)
        else:
            last = start - 2
            assert not any(each in left for each in log[start - 1 :])
        assert found.next is not None
        following = kept.done(stream.read(found.next, now=0, skip_trimmed=True)).records
        assert following == [each for each in log[last + 1 :] if each in left]

    def test_what_the_store_refuses_is_not_appended(self) -> None:
        def refuse(placed: object) -> None:
            raise ValueError("the disk is full")

        stream = one_shard()
        fill(stream, 1)
        with pytest.raises(ValueError, match="full"):
            stream.append([new()], now=5, keep=refuse)
        assert (len(stream), stream.last_sequence) == (1, 1)
        [record] = fill(stream, 1, now=3)
        assert (record.sequence, record.arrived) == (2, 3)


class TestRestoring:
    def test_everything_is_back(self) -> None:
        kept = Kept()
        stream = StreamState(StreamSettings(), shards=2, now=0)
        stream.split(0, 5, now=3)
        keys = [NewRecord(f"k{i}", text(str(i)), 1) for i in range(50)]
        stream.append(keys, now=4, keep=kept.keep)
        stream.merge(1, 3, now=9)
        again = kept.done(
            StreamState.restore(
                StreamSettings(),
                reversed(stream.shards()),
                kept.extents(),
                last_sequence=0,
                load=ask,
            )
        )
        assert again.shards() == stream.shards()
        assert (len(again), again.size, again.resident_size) == (50, 50, 0)
        for info in stream.shards():
            old = done(stream.read(stream.oldest(info.id), now=4))
            found = kept.done(again.read(again.oldest(info.id), now=4))
            assert (found.records, found.children) == (old.records, old.children)
        assert kept.done(again.at_timestamp(1, 4)) == done(stream.at_timestamp(1, 4))
        assert kept.done(again.at_timestamp(1, 5)) == again.latest(1)
        assert fill(again, 1)[0].arrived == 9

    def test_extents_make_segments(self) -> None:
        stream, kept = one_kept_shard(segment_records=2)
        fill(stream, 9, kept=kept)
        settings = StreamSettings(segment_records=4, max_bytes=1, retention=None)
        again = kept.done(
            StreamState.restore(
                settings, stream.shards(), kept.extents(2), last_sequence=0, load=ask
            )
        )
        assert [cut.sequence for cut in again.trim(now=0).cuts] == [8]
        assert messages(kept.done(again.read(again.oldest(0), now=0))) == ["m8"]

    @pytest.mark.parametrize("known_by", ["argument", "record", "closed", "trimmed"])
    def test_no_sequence_number_comes_twice(self, known_by: str) -> None:
        stream, kept = one_kept_shard(retention=1000)
        fill(stream, 100, kept=kept)
        if known_by == "closed":
            stream.split(0, HALF, now=0)
        if known_by == "trimmed":
            stream.trim(now=1000)
        again = kept.done(
            StreamState.restore(
                stream.settings,
                stream.shards(),
                kept.extents() if known_by == "record" else [],
                last_sequence=100 if known_by == "argument" else 0,
                load=ask,
            )
        )
        assert again.last_sequence == stream.last_sequence + SEQUENCE_GAP
        assert len(again) == (100 if known_by == "record" else 0)
        # A position that was read before the crash and never committed is still one of ours.
        kept.done(again.read(Position(0, stream.last_sequence + 500, inclusive=False), now=0))

    def test_what_was_trimmed_stays_trimmed(self) -> None:
        stream, kept = one_kept_shard(retention=1000)
        fill(stream, 2, kept=kept)
        fill(stream, 2, now=500, kept=kept)
        stream.trim(now=1000)
        again = done(
            StreamState.restore(
                stream.settings, stream.shards(), kept.extents(), last_sequence=4, load=ask
            )
        )
        assert len(again) == 2
        with pytest.raises(TrimmedPositionError):
            kept.done(again.read(Position(0, 2, inclusive=True), now=1000))

    def test_trimmed_within_an_extent(self) -> None:
        stream, kept = one_kept_shard(retention=1000, segment_records=2)
        fill(stream, 5, size=10, kept=kept)
        stream.settings = StreamSettings(max_bytes=30, retention=None)
        assert stream.trim(now=0).cuts[0].sequence == 2
        again = kept.done(
            StreamState.restore(
                stream.settings, stream.shards(), kept.extents(5), last_sequence=5, load=ask
            )
        )
        assert (len(again), again.size, kept.loads) == (3, 30, 1)
        assert messages(kept.done(again.read(again.oldest(0), now=0))) == ["m2", "m3", "m4"]

    def test_shard_ids_go_on(self) -> None:
        stream = one_shard(retention=1000)
        stream.split(0, HALF, now=0)
        stream.merge(1, 2, now=0)
        stream.trim(now=1000)
        again = done(
            StreamState.restore(stream.settings, stream.shards(), [], last_sequence=2, load=ask)
        )
        assert [info.id for info in again.split(3, HALF, now=0).opened] == [4, 5]

    def test_damage_is_refused(self) -> None:
        stream = StreamState(StreamSettings(), shards=3, now=0)
        low, middle, high = stream.shards()

        def extent(shard: int = 0, first: int = 1, last: int = 2) -> Extent:
            return Extent(shard, first, last, 2, 2, 0, 0)

        def restore(shards: list[ShardInfo], *extents: Extent) -> StreamState:
            return done(
                StreamState.restore(StreamSettings(), shards, extents, last_sequence=0, load=ask)
            )

        for shards in ([], [low, high], [low, middle], [middle, high]):
            with pytest.raises(DamagedStreamError, match="hash key"):
                restore(shards)
        overlapping = msgspec.structs.replace(high, id=9)
        for shards in ([low, middle, high, overlapping], [low, low, middle, high]):
            with pytest.raises(DamagedStreamError, match=r"once|twice"):
                restore(shards)
        for first, last in [(1, 2), (2, 3), (5, 4)]:
            with pytest.raises(DamagedStreamError, match="stored after"):
                restore([low, middle, high], extent(), extent(0, first, last))
        with pytest.raises(DamagedStreamError, match="shard 7"):
            restore([low, middle, high], extent(7))
        assert len(restore([low, middle, high], extent())) == 2


RETENTION = 1000


class StreamMachine(RuleBasedStateMachine):
    """Any series of acts, beside a list of records and a store that keeps what it is told."""

    @initialize(shards=st.integers(1, 3))
    def start(self, shards: int) -> None:
        self.options = StreamSettings(
            retention=RETENTION, segment_records=3, segment_bytes=20, max_shards=6
        )
        self.now = 5000
        self.kept = Kept()
        self.stream = StreamState(self.options, shards=shards, now=self.now, load=ask)
        self.records: list[Record] = []
        self.used: set[int] = set()
        self.shards = {info.id: info for info in self.stream.shards()}
        self.last_sequence = 0
        self.committed = 0

    @rule(
        batch=st.lists(
            st.tuples(
                st.sampled_from("abcdef"),
                st.integers(0, 9),
                st.none() | st.sampled_from([0, HALF, MAX_HASH_KEY]),
            ),
            max_size=8,
        )
    )
    def append(self, batch: list[tuple[str, int, int | None]]) -> None:
        added = [
            NewRecord(key, text(f"{self.now} {place}"), size, explicit)
            for place, (key, size, explicit) in enumerate(batch)
        ]
        appended = self.stream.append(added, now=self.now, keep=self.kept.keep)
        assert len(appended) == len(added)
        for record, wanted in zip(appended, added, strict=True):
            assert record.message is wanted.message
            assert record.size == wanted.size
            assert record.sequence not in self.used
            assert not self.used or record.sequence > max(self.used)
            assert not self.records or record.arrived >= self.records[-1].arrived
            key = (
                hash_key(wanted.partition_key)
                if wanted.explicit_hash_key is None
                else wanted.explicit_hash_key
            )
            info = self.shards[record.shard]
            assert info.closed is None
            assert info.starting_hash_key <= key <= info.ending_hash_key
            assert record.sequence >= info.starting_sequence
            self.used.add(record.sequence)
            self.records.append(record)

    @rule(step=st.sampled_from([-50, 1, 30, 200, 600, 1500]))
    def pass_time(self, step: int) -> None:
        self.now += step

    def open_ids(self) -> list[int]:
        return [info.id for info in self.shards.values() if info.closed is None]

    @precondition(lambda self: len(self.open_ids()) < 6)
    @rule(data=st.data())
    def split(self, data: st.DataObject) -> None:
        info = self.shards[data.draw(st.sampled_from(self.open_ids()))]
        middle = (info.starting_hash_key + info.ending_hash_key + 1) // 2
        done = self.stream.split(info.id, middle, now=self.now)
        assert [child.parent for child in done.opened] == [info.id, info.id]
        self.resharded(done.closed + done.opened, done.last_sequence)

    @precondition(lambda self: len(self.open_ids()) > 1)
    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        ids = sorted(self.open_ids(), key=lambda id_: self.shards[id_].starting_hash_key)
        place = data.draw(st.integers(0, len(ids) - 2))
        done = self.stream.merge(ids[place], ids[place + 1], now=self.now)
        assert (done.opened[0].parent, done.opened[0].adjacent_parent) == tuple(
            ids[place : place + 2]
        )
        self.resharded(done.closed + done.opened, done.last_sequence)

    def resharded(self, infos: tuple[ShardInfo, ...], sequence: int) -> None:
        assert sequence not in self.used
        self.used.add(sequence)
        self.shards.update({info.id: info for info in infos})

    @rule()
    def trim(self) -> None:
        due = self.stream.trim_due()
        trim = self.stream.trim(now=self.now)
        assert bool(trim.cuts or trim.removed) == (due is not None and due <= self.now)
        horizon = self.now - RETENTION
        for cut in trim.cuts:
            dropped = [
                each
                for each in self.records
                if each.shard == cut.shard and each.sequence <= cut.sequence
            ]
            assert (cut.count, cut.size) == (len(dropped), sum(each.size for each in dropped))
            assert all(each.arrived <= horizon for each in dropped)
            self.records = [each for each in self.records if each not in dropped]
            self.shards[cut.shard] = msgspec.structs.replace(
                self.shards[cut.shard], trimmed_to=cut.sequence
            )
        assert all(each.arrived > horizon - RETENTION // 10 for each in self.records)
        for shard in trim.removed:
            self.kept.records = [each for each in self.kept.records if each.shard != shard]
            closed = self.shards.pop(shard).closed
            assert closed is not None
            assert closed <= horizon
            assert not any(each.shard == shard for each in self.records)
            # What was cut as a whole leaves nothing in the store.
            self.kept.records = [each for each in self.kept.records if each.shard != shard]

    @rule(place=st.integers(0, 20))
    def commit(self, place: int) -> None:
        if place < len(self.records):
            self.committed = max(self.committed, self.records[place].sequence)

    @rule(size=st.integers(1, 60))
    def page_out(self, size: int) -> None:
        before = self.stream.resident_size
        freed = self.stream.page_out(size, up_to=self.committed)
        assert self.stream.resident_size == before - freed
        for each in self.records:
            if each.sequence > self.committed:
                loads = self.kept.loads
                [record] = self.kept.done(
                    self.stream.read(
                        self.stream.at_sequence(each.shard, each.sequence), now=self.now, limit=1
                    )
                ).records
                assert record is each
                assert self.kept.loads == loads

    @rule(lost=st.integers(0, 3))
    def crash_and_restore(self, lost: int) -> None:
        # Records that were not committed are lost; their numbers must not come back.
        closings = [info.ending_sequence or 0 for info in self.shards.values()]
        committed = max(self.committed, *closings)
        while lost and self.records and self.records[-1].sequence > committed:
            self.kept.records.remove(self.records.pop())
            lost -= 1
        self.stream = self.kept.done(
            StreamState.restore(
                self.options,
                self.shards.values(),
                self.kept.extents(),
                last_sequence=self.last_sequence,
                load=ask,
            )
        )
        self.last_sequence = self.stream.last_sequence
        self.committed = max([self.committed, *[each.sequence for each in self.records]])
        assert self.stream.resident_size == 0

    @rule(data=st.data(), limit=st.integers(1, 12), max_bytes=st.integers(0, 60))
    def read(self, data: st.DataObject, limit: int, max_bytes: int) -> None:
        shard = data.draw(st.sampled_from(sorted(self.shards)))
        mine = [each for each in self.records if each.shard == shard]
        sequences = [each.sequence for each in mine]
        kind = data.draw(st.sampled_from(["oldest", "latest", "at", "after", "time"]))
        position = Position(shard, 0, inclusive=True)
        start = 0
        if kind == "latest":
            position = self.stream.latest(shard)
            start = len(mine)
        elif kind in {"at", "after"} and self.used:
            sequence = data.draw(st.sampled_from(sorted(self.used)))
            position = Position(shard, sequence, inclusive=kind == "at")
            start = bisect_left(sequences, sequence + (kind == "after"))
        elif kind == "time":
            time = self.now - data.draw(st.integers(-10, 1500))
            position = self.kept.done(self.stream.at_timestamp(shard, time))
            start = bisect_left([each.arrived for each in mine], time)
        trimmed_to = self.shards[shard].trimmed_to
        trimmed = 0 < position.sequence + (not position.inclusive) <= trimmed_to
        if trimmed:
            with pytest.raises(TrimmedPositionError):
                self.kept.done(self.stream.read(position, now=self.now))
        result = self.kept.done(
            self.stream.read(
                position, now=self.now, limit=limit, max_bytes=max_bytes, skip_trimmed=True
            )
        )
        assert result.trimmed is trimmed
        expected = mine[start : start + limit]
        while len(expected) > 1 and sum(each.size for each in expected) > max_bytes:
            expected.pop()
        assert result.records == expected
        self.check_end(result, mine, expected)

    def check_end(self, result: ReadResult, mine: list[Record], found: list[Record]) -> None:
        at_end = not found or found[-1] is mine[-1]
        assert result.behind == (0 if at_end else max(0, self.now - found[-1].arrived))

    @rule(limit=st.integers(1, 5))
    def read_through_all_shards(self, limit: int) -> None:
        for info in self.shards.values():
            position: Position | None = self.stream.oldest(info.id)
            found: list[Record] = []
            last: ReadResult | None = None
            while position is not None:
                last = self.kept.done(self.stream.read(position, now=self.now, limit=limit))
                found += last.records
                if not last.records:
                    break
                position = last.next
            assert found == [each for each in self.records if each.shard == info.id]
            assert last is not None
            assert (last.next is None) == (info.closed is not None)
            children = [
                each
                for each in self.shards.values()
                if info.id in (each.parent, each.adjacent_parent) and info.closed is not None
            ]
            assert list(last.children) == children

    @invariant()
    def counts_agree(self) -> None:
        assert self.stream.shards() == list(self.shards.values())
        assert len(self.stream) == len(self.records)
        assert self.stream.size == sum(each.size for each in self.records)
        whole = self.stream.size + len(self.records) * RECORD_MEMORY_COST
        assert 0 <= self.stream.resident_size <= whole


TestStreamMachine = StreamMachine.TestCase
TestStreamMachine.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
