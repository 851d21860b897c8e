"""Sequence numbers, iterators, scaling plans, throttles: without a hub."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub import Message, Position, Record
from hubbub_aws import Context
from hubbub_aws.models import load_model
from hubbub_aws.protocols import Params
from hubbub_kinesis.iterators import ShardIterator
from hubbub_kinesis.scaling import KEYS, Merge, Split, boundaries, plan
from hubbub_kinesis.sequences import (
    Place,
    Sequence,
    parse_shard,
    record_numbers,
    shard_name,
)
from hubbub_kinesis.throttling import READ_BYTES, WRITE_BYTES, WRITE_RECORDS, Throttle
from hubbub_kinesis.validating import Validators

sixty_four = st.integers(0, 2**64 - 1)
shards = st.integers(0, 2**31 - 1)
sequences = st.builds(Sequence, sixty_four, sixty_four, shards, st.sampled_from(Place))


@given(sequences)
def test_sequence_numbers_have_56_digits_and_can_be_read(sequence: Sequence) -> None:
    assert len(str(sequence)) == 56
    assert Sequence.parse(str(sequence)) == sequence


@given(sequences, sequences)
def test_sequence_numbers_sort_as_what_they_stand_for(one: Sequence, other: Sequence) -> None:
    assert (int(str(one)) < int(str(other))) == (one < other)


@given(sixty_four, sixty_four, shards)
def test_the_quick_way_writes_the_same(stream: int, sequence: int, shard: int) -> None:
    expected = str(Sequence(stream, sequence, shard, Place.RECORD))
    record = Record(shard, sequence, 0, "key", Message(address="$stream/log", body=b""), 3)
    assert record_numbers(stream, [record]) == [expected]


@pytest.mark.parametrize(
    "text", ["", "0", "1" * 56, "9" * 56, "x" * 56, str((2 << 184) | 5), "4" + "9" * 56]
)
def test_what_is_no_sequence_number(text: str) -> None:
    with pytest.raises(ValueError, match=r"sequence number|valid Place"):
        Sequence.parse(text)


@pytest.mark.parametrize(
    ("text", "shard"),
    [
        ("shardId-000000000007", 7),
        ("7", 7),
        ("shard-7", 7),
        ("x-7-8", 7),
        ("-0002147483647", 2**31 - 1),
    ],
)
def test_shard_ids_that_kinesis_takes(text: str, shard: int) -> None:
    assert parse_shard(text) == shard


@pytest.mark.parametrize("text", ["", "x", "shardId-", "2.14E4", "shardId-2147483648", "²"])
def test_shard_ids_that_kinesis_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="no shard id"):
        parse_shard(text)


def test_shard_names() -> None:
    assert shard_name(12) == "shardId-000000000012"


iterators = st.builds(
    ShardIterator,
    sixty_four,
    sixty_four,
    st.from_regex(r"[0-9]{12}", fullmatch=True),
    st.from_regex(r"[a-zA-Z0-9_.-]{1,128}", fullmatch=True),
    st.builds(Position, shards, sixty_four, st.booleans()),
)


@given(iterators)
def test_iterators_can_be_read(iterator: ShardIterator) -> None:
    text = iterator.encode()
    assert len(text) <= 300
    assert ShardIterator.decode(text) == iterator
    assert ShardIterator.decode(f'"{text}"') == iterator


@given(iterators, st.data())
def test_a_changed_iterator_is_seen(iterator: ShardIterator, data: st.DataObject) -> None:
    text = iterator.encode()
    place = data.draw(st.integers(0, len(text) - 6))
    other = data.draw(st.sampled_from("ABCabc019+/").filter(lambda each: each != text[place]))
    with pytest.raises(ValueError, match="iterator"):
        ShardIterator.decode(text[:place] + other + text[place + 1 :])


@given(st.text(max_size=512))
def test_what_is_no_iterator(text: str) -> None:
    with pytest.raises(ValueError, match=r"iterator|ascii"):
        ShardIterator.decode(text)


@given(st.sets(st.integers(1, KEYS - 1), max_size=12), st.integers(1, 12))
def test_a_plan_leads_to_equal_shards(inner: set[int], target: int) -> None:
    present = sorted({0, *inner})
    split = False
    for step in plan(present, target):
        before = sorted(present)
        if isinstance(step, Split):
            index = before.index(step.shard)
            end = before[index + 1] if index + 1 < len(before) else KEYS
            assert step.shard < step.at < end
            present.append(step.at)
        else:
            split = True
            assert before[before.index(step.shard) + 1] == step.other
            present.remove(step.other)
        assert not (split and isinstance(step, Split))
        assert isinstance(step, Split | Merge)
    assert sorted(present) == boundaries(target)


def test_a_plan_leaves_alone_what_is_right() -> None:
    assert list(plan(boundaries(4), 4)) == []
    assert list(plan(boundaries(2), 4)) == [Split(0, KEYS // 4), Split(KEYS // 2, KEYS // 4 * 3)]
    assert list(plan(boundaries(4), 2)) == [
        Merge(0, KEYS // 4),
        Merge(KEYS // 2, KEYS // 4 * 3),
    ]


def test_a_throttle_refills() -> None:
    now = 0
    throttle = Throttle(lambda: now)
    assert all(throttle.write(1, 0, 10) for _ in range(WRITE_RECORDS))
    assert not throttle.write(1, 0, 10)
    assert throttle.write(1, 1, 10)
    assert throttle.write(2, 0, 10)
    now = 1
    assert throttle.write(1, 0, 10)
    assert not throttle.write(1, 0, 10)


def test_a_throttle_counts_bytes_and_takes_a_record_larger_than_all() -> None:
    now = 0
    throttle = Throttle(lambda: now)
    assert throttle.write(1, 0, 3 * WRITE_BYTES)
    now = 2000
    assert not throttle.write(1, 0, 1)
    now = 2001
    assert throttle.write(1, 0, 1)


def test_a_throttle_of_reads() -> None:
    now = 0
    throttle = Throttle(lambda: now)
    assert [throttle.read(1, 0) for _ in range(6)] == [True] * 5 + [False]
    now = 1000
    assert throttle.read(1, 0)
    throttle.has_read(1, 0, 5 * READ_BYTES)
    now = 4999
    assert not throttle.read(1, 0)
    now = 5001
    assert throttle.read(1, 0)


def test_actions_that_the_installed_model_lacks() -> None:
    async def carry_out(context: Context, params: Params) -> Params:
        return {}

    validators = Validators(load_model("kinesis"))
    assert validators.unknown(["Fly", "CreateStream"]) == ["Fly"]
    assert validators.guard({"Fly": carry_out, "CreateStream": carry_out}).keys() == {
        "CreateStream"
    }
