"""Sequence numbers, iterators, scaling plans, throttles: without a hub."""

from base64 import b64decode
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub import Message, Position, Record, ShardInfo, StreamInfo
from hubbub_aws import Context
from hubbub_aws.models import load_model
from hubbub_aws.protocols import Params
from hubbub_kinesis.iterators import ShardIterator
from hubbub_kinesis.numbering import Numbering
from hubbub_kinesis.scaling import KEYS, Merge, Split, boundaries, plan
from hubbub_kinesis.sequences import SequenceNumber, parse_shard, repeated, shard_name
from hubbub_kinesis.throttling import READ_BYTES, WRITE_BYTES, WRITE_RECORDS, Throttle
from hubbub_kinesis.validating import Validators

sixty_four = st.integers(0, 2**64 - 1)
seconds = st.integers(0, 2**36 - 1)
shards = st.integers(0, 2**31 - 1)
serials = st.integers(0, 2**63 - 1)
numbers = st.builds(SequenceNumber, seconds, serials, seconds, shards, st.booleans(), st.just(2))


def numbering(number: int, created: int) -> Numbering:
    """Number the records of a stream with a number, created at a time in ms."""
    return Numbering(cast("StreamInfo", SimpleNamespace(number=number, created=created)))


def record(sequence: int, arrived: int, shard: int) -> Record:
    return Record(shard, sequence, arrived, "key", Message(address="$stream/log", body=b""), 3)


@given(numbers)
def test_sequence_numbers_have_56_digits_and_can_be_read(number: SequenceNumber) -> None:
    assert len(str(number)) == 56
    assert SequenceNumber.parse(str(number)) == number


@given(numbers, numbers)
def test_sequence_numbers_sort_by_stream_and_serial(
    one: SequenceNumber, other: SequenceNumber
) -> None:
    first, second = one[:2], other[:2]
    assert first == second or (int(str(one)) < int(str(other))) == (first < second)


@given(st.integers(0, 2**63), st.integers(0, 2**40), st.integers(1, 2**40), shards)
def test_records_shards_and_places_are_numbered_in_their_order(
    stream: int, created: int, sequence: int, shard: int
) -> None:
    mine = numbering(stream, created)
    opened = ShardInfo(shard, 0, 1, sequence, created)
    closed = msgspec.structs.replace(opened, ending_sequence=sequence + 2, closed=created + 5000)
    texts = [
        mine.start(opened),
        *mine.records([record(sequence, created, shard)]),
        mine.place(opened, Position(shard, sequence, inclusive=False)),
        *mine.records([record(sequence + 1, created, shard)]),
        mine.end(closed),
        mine.start(ShardInfo(shard + 1, 0, 1, sequence + 2, created + 5000)),
        *mine.records([record(sequence + 2, created, 0)]),
    ]
    values = [int(text or 0) for text in texts]
    assert values == sorted(set(values))
    assert mine.end(opened) is None
    assert mine.place(opened, Position(shard, 0, inclusive=True)) == mine.start(opened)
    found = SequenceNumber.parse(texts[1] or "")
    assert (found.shard, found.after, mine.sequence(found)) == (shard, False, sequence)


@given(st.integers(0, 2**63), st.integers(0, 2**40), st.integers(1, 1000))
def test_a_stream_created_again_at_once_has_other_numbers(
    stream: int, created: int, later: int
) -> None:
    before, after = numbering(stream, created), numbering(stream + later, created)
    sequences = range(1, 5)
    old, new = (
        set(each.records([record(sequence, created, 0) for sequence in sequences]))
        for each in (before, after)
    )
    assert not old & new


@pytest.mark.parametrize(
    "text",
    ["", "x" * 56, "9" * 130, *map(str, (
        1 << 185, (2 << 184) | 4, 3 << 184, 1 << 140,
        0x13BB2CC3D80000000000000000000000,  # created in the year 2477
        (2 << 184) | (1 << 143) | 2,  # its serial number has 64 bits
        (2 << 184) | (1 << 35) | 2,  # so has its shard 32
    ))],
)  # fmt: skip
def test_what_is_no_sequence_number(text: str) -> None:
    with pytest.raises(ValueError, match=r"sequence number|too high|too late"):
        SequenceNumber.parse(text)


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("0", "21267647932558653966460912964485513216"),
        ("425352958651173072921826052383309826", "21693000891209827039382739016868823042"),
        (str(0xF3BB2CC3D7FF7FFFFFFFFFFFFFFF0000), "26227199374821822965252748908982894592"),
        (str(1 << 185), str(1 << 185)),
        ("x", "x"),
    ],
)
def test_numbers_of_the_first_years_are_repeated_as_aws_does(text: str, repeats: str) -> None:
    assert repeated(text) == repeats


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
    length = len(b64decode(text))
    assert length == 152 + (len(iterator.name) + 2) // 16 * 16, "as long as AWS's"
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
    tolerance = len(present) + target
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
    for found, wanted in zip(sorted(present), boundaries(target), strict=True):
        assert abs(found - wanted) <= tolerance


@pytest.mark.parametrize(("before", "after"), [(3, 6), (10, 20), (7, 14), (9999, 19998)])
def test_twice_as_many_shards_are_one_split_each_whatever_is_rounded(
    before: int, after: int
) -> None:
    steps = list(plan(boundaries(before), after))
    assert len(steps) == before
    assert all(isinstance(step, Split) for step in steps)
    back = list(plan(boundaries(after), before))
    assert len(back) == before
    assert all(isinstance(step, Merge) for step in back)


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
