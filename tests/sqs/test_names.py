"""Queue URLs, receipt handles and numbers: without a hub."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub import Receipt
from hubbub_aws import AwsError
from hubbub_aws.attributes import Attribute, from_header, note_for, restore, to_header
from hubbub_sqs.messages import message_uuid, sequence_number
from hubbub_sqs.queues import parse_url
from hubbub_sqs.receipts import make_handle, read_handle

NUMBERS = st.integers(0, 2**64 - 1)


@pytest.mark.parametrize(
    ("url", "account", "region", "name"),
    [
        ("orders", None, None, "orders"),
        ("/123456789012/orders", "123456789012", None, "orders"),
        ("http://localhost:4566/123456789012/orders.fifo", "123456789012", None, "orders.fifo"),
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/a", "123456789012", "eu-west-1", "a"),
        ("https://eu-west-1.queue.amazonaws.com/123456789012/a", "123456789012", "eu-west-1", "a"),
        ("http://h/queue/us-gov-east-1/123456789012/a", "123456789012", "us-gov-east-1", "a"),
        ("http://h/orders", None, None, "orders"),
        ("http://h/queue/orders", None, None, "orders"),
        ("http://app-sqs-1:4566/123456789012/a", "123456789012", None, "a"),
        ("http://h/123456789012/a%2Fb", "123456789012", None, "a/b"),
    ],
)
def test_urls(url: str, account: str | None, region: str | None, name: str) -> None:
    place = parse_url(url)
    assert place is not None
    assert (place.account, place.region, place.name) == (account, region, name)


@pytest.mark.parametrize(
    "url", ["", "/", "http://h/", "http://h/a/b", "http://[", "x" * 3000, "a\0b"]
)
def test_no_urls(url: str) -> None:
    assert parse_url(url) is None


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_handles_are_read_back(queue: int, message: int, token: int, received: int) -> None:
    receipt = Receipt(queue, message, token)
    found = read_handle(make_handle(receipt, received), queue)
    assert found == (receipt, received)


@given(st.integers(0, 51), st.sampled_from("AQz0+/="))
def test_a_changed_handle_is_refused(position: int, character: str) -> None:
    handle = make_handle(Receipt(1, 2, 3), 4)
    changed = handle[:position] + character + handle[position + 1 :]
    if changed != handle:
        with pytest.raises(AwsError, match="ReceiptHandleIsInvalid"):
            read_handle(changed, 1)


@given(st.text())
def test_whatever_text_is_no_handle(text: str) -> None:
    with pytest.raises(AwsError, match="ReceiptHandleIsInvalid"):
        read_handle(text, 1)


def test_ids_are_uuids_of_their_own() -> None:
    ids = {message_uuid(number) for number in range(10_000)}
    assert len(ids) == 10_000
    assert all(uuid.UUID(each).version == 4 for each in ids)


@given(st.integers(0, 10**18), st.integers(1, 10**6))
def test_sequence_numbers_rise(number: int, more: int) -> None:
    assert len(sequence_number(number)) == 20
    assert sequence_number(number) < sequence_number(number + more)


VALUES = st.one_of(
    st.tuples(st.sampled_from(["String", "String.x", "String.boolean", "String.null"]),
              st.text("abctruefalsn01", min_size=1)),
    st.tuples(st.sampled_from(["Number", "Number.x"]),
              st.from_regex(r"[+-]?[0-9]{1,40}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,2})?",
                            fullmatch=True).map(str.strip)),
    st.tuples(st.sampled_from(["Binary", "Binary.x"]), st.binary(min_size=1)),
    st.tuples(st.sampled_from(["String.Array", "String.json"]),
              st.sampled_from(["[1, 2]", "[]", "{}", '{"a":[1]}', "[1", "[99999999999999999999]"])),
)  # fmt: skip


@given(VALUES)
def test_attributes_survive_being_headers(value: tuple[str, str | bytes]) -> None:
    attribute = Attribute(*value)
    header = to_header(attribute)
    note = note_for(attribute, header)
    assert (from_header(header) if note is None else restore(header, note)) == attribute


def test_a_note_that_does_not_fit_is_passed_over() -> None:
    attribute = Attribute("Number", "1.50")
    note = note_for(attribute, to_header(attribute))
    assert note is not None
    assert restore(1.5, note) == attribute
    assert restore(2.5, note) == Attribute("Number", "2.5")
    assert restore("text", note) == Attribute("String", "text")
