"""Filter policies: what AWS says of wrong ones (recorded from AWS), and what they match."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub import Message
from hubbub_sns.filters import ATTRIBUTES, BODY, Filters
from hubbub_sns.json_tokens import JsonSyntaxError, tokenize
from hubbub_sns.policy_syntax import PolicyError, parse_policy

CONDITION = {
    '[["value"]]': ("Match value must be String, number, true, false, or null", 10),
    '[{"wrong-operator":true}]': ("Unrecognized match type wrong-operator", 31),
    '[{"suffix":"value","prefix":"value2"}]': (
        "Only one key allowed in match expression",
        37,
    ),
    '[{"suffix":100}]': ("suffix match pattern must be a string", 22),
    '[{"suffix":null}]': ("suffix match pattern must be a string", 23),
    '[{"suffix":[]}]': ("suffix match pattern must be a string", 20),
    '{"suffix":"value"}': ('"suffix" must be an object or an array', 19),
    '{"not-an-operator":"value"}': ('"not-an-operator" must be an object or an array', 28),
    '[{"exists":null}]': ("exists match pattern must be either true or false.", 23),
    '[{"exists":"no"}]': ("exists match pattern must be either true or false.", 20),
    '[{"numeric":[]}]': ("Invalid member in numeric match: ]", 22),
    '[{"numeric":["operator"]}]': ("Unrecognized numeric range operator: operator", 32),
    '[{"numeric":[1,"<="]}]': ("Invalid member in numeric match: 1", 22),
    '[{"numeric":["=","000"]}]': ("Value of equals must be numeric", 26),
    '[{"numeric":[">="]}]': ("Value of >= must be numeric", 26),
    '[{"numeric":["<",100,">",10]}]': ("Too many elements in numeric expression", 30),
    '[{"numeric":[">=",1,">",2]}]': ("Bad numeric range operator: >", 31),
    '[{"numeric":[">",3,"<",1]}]': ("Bottom must be less than top", 33),
    '[{"numeric":[">",20,"<="]}]': ("Value of <= must be numeric", 33),
    '[{"numeric":[">",20,30]}]': ("Bad value in numeric range: 30", 30),
    '[{"numeric":[">",20,"test"]}]': ("Bad numeric range operator: test", 34),
    '[{"numeric":[">","20","<","30"]}]': ("Value of > must be numeric", 26),
    '[{"numeric":[">",20,"<","30"]}]': ("Value of < must be numeric", 33),
    '[{"numeric":[">",20,"<",30,"<",50]}]': (
        "Too many terms in numeric range expression",
        36,
    ),
}


@pytest.mark.parametrize("condition", CONDITION)
def test_a_wrong_condition_is_told_with_its_place(condition: str) -> None:
    reason, column = CONDITION[condition]
    text = f'{{"key":{condition}}}'
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, nested=False)
    assert str(caught.value) == (
        f'FilterPolicy: {reason}\n at [Source: (String)"{text}"; line: 1, column: {column}]'
    )


def test_a_wrong_policy_is_quoted_without_white_space() -> None:
    text = '{\n  "key": [{"numeric": ["=", "000"]}]\n}'
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, nested=False)
    assert str(caught.value) == (
        "FilterPolicy: Value of equals must be numeric\n at [Source: (String)"
        '"{"key":[{"numeric":["=","000"]}]}"; line: 1, column: 26]'
    )


def test_a_number_that_no_double_holds_is_refused() -> None:
    with pytest.raises(PolicyError, match="failed to parse JSON"):
        parse_policy('{"key":[1e400]}', nested=False)


def test_what_is_no_json_is_told_without_the_source() -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy("{invalidjson}", nested=False)
    assert str(caught.value) == (
        "FilterPolicy: failed to parse JSON. Unexpected character ('i' (code 105)): was expecting "
        "double-quote to start field name\n at [Source: REDACTED "
        "(`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: 2]"
    )


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ({str(key): ["x"] for key in range(6)}, "can not have more than 5 keys"),
        ({"a": [str(each) for each in range(151)]}, "too complex"),
        ({"a": [str(each) for each in range(13)], "b": [str(x) for x in range(12)]}, "too complex"),
        ({"$or": [{"a": [str(x) for x in range(76)]}, {"b": ["x"] * 75}]}, "too complex"),
        ({"a": {"b": ["x"]}}, "does not support nested filter policy"),
        ({"a": []}, "Empty arrays are not allowed"),
        ({"a": [{"cidr": "10.0.0.0"}]}, "one '/' required"),
        ({"a": [{"anything-but": {"exists": True}}]}, "Unsupported anything-but pattern: exists"),
        ({"a": [{"anything-but": ["x", 1]}]}, "mixed type"),
        ({"a": [{"wildcard": "a**"}]}, "Consecutive wildcard"),
    ],
)
def test_limits(policy: object, reason: str) -> None:
    with pytest.raises(PolicyError, match=reason):
        parse_policy(json.dumps(policy), nested=False)


def test_limits_count_depth_and_choices() -> None:
    nested = {"a": {"b": {"c": ["1", "2", "3", "4"]}}, "d": {"e": ["1", "2", "3"]}}
    assert parse_policy(json.dumps(nested), nested=True)  # 3 x 4 x 2 x 3 = 72
    choice = {"$or": [{"a": [str(x) for x in range(75)]}, {"b": [str(x) for x in range(75)]}]}
    assert parse_policy(json.dumps(choice), nested=False)


def message(body: object = None, **headers: object) -> Message:
    return Message(address="t", body=json.dumps(body).encode(), headers=headers)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "value", "wanted"),
    [
        (["a"], "a", True),
        (["a"], ["b", "a"], True),
        ([5], 5.0, True),
        (["5"], 5, False),
        ([{"prefix": "ab"}], "abc", True),
        ([{"suffix": "c"}], "abc", True),
        ([{"anything-but": ["x"]}], "y", True),
        ([{"anything-but": {"prefix": "x"}}], "xy", False),
        ([{"anything-but": {"suffix": "y"}}], "xy", False),
        ([{"anything-but": {"wildcard": "x*z"}}], "xyz", False),
        ([{"equals-ignore-case": "AB"}], "ab", True),
        ([{"wildcard": "a*c"}], "abc", True),
        ([{"numeric": [">", 0, "<=", 100]}], 100, True),
        ([100.123456789], 100.1234567, True),
        ([100.123456789], [50, 100.1234567], True),
        ([100.12345], 100.12346, False),
        ([{"numeric": ["=", 0.3]}], 0.1 + 0.2, True),
        ([{"cidr": "10.0.0.0/8"}], "10.1.2.3", True),
        ([{"exists": False}], "there", False),
    ],
)
def test_operators_over_attributes_and_over_bodies(
    rule: object, value: object, wanted: bool
) -> None:
    filters = Filters()
    policy = json.dumps({"key": rule})
    assert filters.make(policy, ATTRIBUTES)(message(key=value)) is wanted
    assert filters.make(policy, BODY)(message({"key": value})) is wanted
    nested = json.dumps({"outer": {"key": rule}})
    assert filters.make(nested, BODY)(message({"outer": {"key": value}})) is wanted
    assert filters.make(policy, ATTRIBUTES) is filters.make(policy, ATTRIBUTES)


@pytest.mark.parametrize("more", [{}, {"size": [{"numeric": ["=", 1]}, {"exists": False}]}])
def test_what_has_no_attributes_at_all_matches_nothing(more: dict[str, object]) -> None:
    accepts = Filters().make(json.dumps({"store": [{"exists": False}], **more}), ATTRIBUTES)
    assert accepts(message(other="x"))
    assert not accepts(message(store="x"))
    assert not accepts(message())


def test_a_body_that_is_no_object_matches_nothing() -> None:
    accepts = Filters().make('{"a":[{"exists":false}]}', BODY)
    assert accepts(message({}))
    assert not accepts(message([1]))
    assert not accepts(Message(address="t", body=b"\xff"))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)  # fmt: skip


@given(_JSON, st.sampled_from([None, 1]))
def test_all_json_is_read(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    tokens = tokenize(text)
    assert all(0 < token.at <= len(text) for token in tokens)
    for nested in (True, False):
        with contextlib.suppress(PolicyError):
            parse_policy(text, nested=nested)


@given(st.text(alphabet='{}[]",:\\ tru1e.-x', max_size=20))
def test_text_is_json_or_an_error_with_a_place(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(JsonSyntaxError):
            tokenize(text)
    else:
        assert tokenize(text)
        assert expected is expected  # noqa: PLR0124
