"""Messages between SNS and the bus, without a hub: nothing is lost on the way and back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub import Message
from hubbub_aws import AwsError
from hubbub_sns.messages import (
    content_of,
    message_uuid,
    properties_of,
    read_message,
    sequence_number,
    set_trace,
    timestamp,
)

_CHARACTER = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
_TEXT = st.text(_CHARACTER, min_size=1)
_NAME = st.from_regex(r"[A-Za-z_-][A-Za-z0-9_-]{0,20}", fullmatch=True)
_NUMBER = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(str),
    st.from_regex(r"[+-]?[0-9]{1,40}(\.[0-9]{0,20})?", fullmatch=True),
)
_CUSTOM = st.sampled_from(["", ".custom", ".int", ".ünï"])
_ATTRIBUTE = st.one_of(
    st.tuples(_CUSTOM, _TEXT).map(lambda t: {"DataType": f"String{t[0]}", "StringValue": t[1]}),
    st.tuples(_CUSTOM, _NUMBER).map(lambda t: {"DataType": f"Number{t[0]}", "StringValue": t[1]}),
    st.tuples(_CUSTOM, st.binary(min_size=1)).map(
        lambda t: {"DataType": f"Binary{t[0]}", "BinaryValue": t[1]}
    ),
    st.lists(st.text(_CHARACTER, max_size=3) | st.integers(-9, 9)).map(
        lambda values: {"DataType": "String.Array", "StringValue": json.dumps(values)}
    ),
)


@given(_TEXT, st.dictionaries(_NAME, _ATTRIBUTE, max_size=12))
def test_what_is_published_is_delivered(text: str, attributes: dict[str, Any]) -> None:
    params = {"Message": text, "MessageAttributes": attributes}
    message = read_message(params, "alerts").message
    content = content_of(message, "sqs")
    assert content.text == text
    assert {name: each.as_result() for name, each in content.attributes.items()} == attributes
    assert content.lost == []


@given(st.binary(), st.text(), st.text())
def test_whatever_comes_from_elsewhere_has_an_envelope(body: bytes, name: str, kind: str) -> None:
    message = Message(address="alerts", body=body, headers={name: "x"}, type=kind or None)
    content = content_of(message, "sqs")
    again = read_message(
        {
            "Message": content.text or "-",
            "Subject": content.subject,
            "MessageAttributes": {n: each.as_result() for n, each in content.attributes.items()},
        },
        "alerts",
    ).message
    assert again.body == body or not content.text
    assert again.type == message.type or "hubbub.type" in content.lost
    assert again.headers == message.headers or "attribute name" in content.lost


def test_fields_are_attributes_in_both_directions() -> None:
    fields: dict[str, Any] = {
        "content_type": "text/csv", "content_encoding": "gzip", "correlation_id": b"\x00\x01",
        "message_id": "m", "app_id": "a", "user_id": "u", "reply_to": "$queue/answers",
        "timestamp": 1_700_000_000_000, "expires_at": 1_800_000_000_000, "priority": 7,
    }  # fmt: skip
    message = Message(address="alerts", body=b"x", type="Kitchen", **fields)
    content = content_of(message, "sqs")
    assert content.subject == "Kitchen"
    params = {
        "Message": content.text, "Subject": content.subject,
        "MessageAttributes": {name: e.as_result() for name, e in content.attributes.items()},
    }  # fmt: skip
    again = read_message(params, "alerts").message
    assert {name: getattr(again, name) for name in fields} == fields
    assert again.headers == {}


def test_a_trace_is_kept_beside_everything_else() -> None:
    params = {
        "Message": '{"default": "d", "sms": "s"}', "MessageStructure": "json",
        "MessageAttributes": {"n": {"DataType": "Number", "StringValue": "007"}},
    }  # fmt: skip
    message = read_message(params, "alerts").message
    set_trace(message, "Root=1")
    assert properties_of(message).trace == "Root=1"
    content = content_of(message, "sms")
    assert content.text == "s"
    assert content.attributes["n"].value == "007"


def test_what_is_not_base64_is_refused() -> None:
    attribute = {"DataType": "String", "StringValue": "base64"}
    params = {"Message": "*", "MessageAttributes": {"hubbub.body-encoding": attribute}}
    with pytest.raises(AwsError, match="not base64"):
        read_message(params, "alerts")


def test_ids_times_and_sequence_numbers() -> None:
    assert message_uuid(1) == message_uuid(1) != message_uuid(2)
    assert message_uuid(1)[14] == "5"
    assert timestamp(1_335_920_046_005) == "2012-05-02T00:54:06.005Z"
    assert sequence_number(3) == "10000000000000000003"
