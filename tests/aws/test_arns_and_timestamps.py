import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub_aws.arns import Arn, make_arn, partition_of
from hubbub_aws.timestamps import format_iso_8601, format_rfc_822, parse_timestamp


def test_arns() -> None:
    text = "arn:aws:sns:us-east-1:000000000000:alerts:6b0e57f9"
    arn = Arn.parse(text)
    assert arn == ("aws", "sns", "us-east-1", "000000000000", "alerts:6b0e57f9")
    assert str(arn) == text
    assert str(make_arn("sqs", "cn-north-1", "1", "q")) == "arn:aws-cn:sqs:cn-north-1:1:q"
    assert Arn.parse("arn:aws:s3:::bucket").resource == "bucket"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alerts", "An ARN must have at least 6 elements, not 1"),
        ("arn:aws:sns:us-east-1:1", "An ARN must have at least 6 elements, not 5"),
        ("urn:aws:sns:us-east-1:1:x", "Invalid ARN: urn:aws:sns:us-east-1:1:x"),
        ("arn:aws:sns:us-east-1:1:", "Invalid ARN: arn:aws:sns:us-east-1:1:"),
    ],
)
def test_bad_arns(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Arn.parse(text)
    assert str(caught.value) == message


def test_partitions() -> None:
    assert partition_of("us-gov-west-1") == "aws-us-gov"
    assert partition_of("us-iso-east-1") == "aws-iso"
    assert partition_of("us-isob-east-1") == "aws-iso-b"
    assert partition_of("us-west-2") == "aws"


def test_spellings() -> None:
    assert format_iso_8601(1422172800.0005) == "2015-01-25T08:00:00.000Z"
    assert format_iso_8601(1422172800.123) == "2015-01-25T08:00:00.123Z"
    assert format_rfc_822(1422172800.9) == "Sun, 25 Jan 2015 08:00:00 GMT"
    for text in (
        "1422172800",
        "1.4221728E9",
        "2015-01-25T08:00:00Z",
        "2015-01-25T09:00:00.000+01:00",
        "Sun, 25 Jan 2015 08:00:00 GMT",
    ):
        assert parse_timestamp(text) == 1422172800


@given(st.integers(-62135596800_000, 253402300799_000))
def test_round_trip(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert round(parse_timestamp(format_iso_8601(seconds)), 3) == round(seconds, 3)
    assert parse_timestamp(format_rfc_822(seconds)) == int(seconds)


@given(st.text(max_size=40))
def test_anything_else_is_a_value_error(text: str) -> None:
    try:
        parse_timestamp(text)
    except ValueError:
        return
    assert text
