import fnmatch
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.filters import (
    MAX_FILTER_CONDITIONS,
    MAX_FILTER_DEPTH,
    FilterError,
    FilterProblem,
    compile_filter,
)


def matches(policy: dict[str, Any], headers: dict[str, Any]) -> bool:
    return compile_filter(policy)(headers)


@pytest.mark.parametrize(
    ("condition", "wanted", "unwanted"),
    [
        ("order", ["order", ["x", "order"]], ["Order", "", b"order", None, 1, [], {"order": 1}]),
        (5, [5, 5.0, [1, 5]], ["5", True, 6, None]),
        (1, [1, 1.0], [True, "1"]),
        (0, [0, -0.0], [False, None, ""]),
        (1.5, [1.5], [1, "1.5"]),
        (True, [True, [False, True]], [1, "true", False]),
        (False, [False], [0, None, "false"]),
        (None, [None, [None]], [0, False, "", "null"]),
        ({"prefix": "ord"}, ["order", "ord", ["x", "ord"]], ["or", "xord", b"order", 5]),
        ({"suffix": "er"}, ["order", "er"], ["orde", "ers", None]),
        ({"equals-ignore-case": "StraSSe"}, ["strasse", "STRASSE", "straße"], ["stras", 1]),
        ({"numeric": ["=", 3]}, [3, 3.0, [9, 3]], ["3", 4, None, True, float("nan")]),
        ({"numeric": ["=", 1]}, [1], [True]),
        ({"numeric": [">", 5, "<=", 9]}, [5.1, 9, 6], [5, 9.1, "6", 10**400]),
        ({"numeric": [">=", 5, "<", 9]}, [5, 8.9], [9, 4.9]),
        ({"numeric": ["<", 0]}, [-1, -0.1], [0, 1]),
        ({"numeric": [">=", 2, "<=", 2]}, [2], [1, 3]),
        ({"numeric": [">", 5]}, [float("inf"), 10**400], [float("nan")]),
        ({"cidr": "10.0.0.0/24"}, ["10.0.0.0", "10.0.0.255"], ["10.0.1.0", "x", "::1", 1, ""]),
        ({"cidr": "2001:db8::/32"}, ["2001:db8::1"], ["2001:db9::1", "10.0.0.1"]),
        ({"cidr": "10.0.0.7"}, ["10.0.0.7"], ["10.0.0.8"]),
        ({"exists": True}, ["", None, 0, [], {}, b""], []),
        ({"exists": False}, [], ["", None, [], {}]),
        ({"anything-but": "a"}, ["b", 1, None, b"a", {}, ["a", "b"]], ["a", ["a"], []]),
        ({"anything-but": ["a", 1]}, ["b", True, "1", 2], ["a", 1, 1.0, ["a", 1]]),
        ({"anything-but": None}, ["a", 0], [None]),
        ({"anything-but": {"prefix": "a"}}, ["b", "ba", 1], ["a", "ab"]),
        ({"anything-but": {"suffix": ["a", "b"]}}, ["ac", 1], ["ca", "cb"]),
        ({"anything-but": {"equals-ignore-case": "A"}}, ["b"], ["a", "A"]),
        ({"anything-but": {"wildcard": "a*z"}}, ["a", "za"], ["az", "abz"]),
        ({"wildcard": "a*z"}, ["az", "abcz"], ["a", "abc", "xaz", 5]),
        ({"wildcard": "*"}, ["", "x"], [1]),
        ({"wildcard": "*b*b*"}, ["bb", "abcbd"], ["b", "abc"]),
        ({"wildcard": "ab*ba"}, ["abba", "abxba"], ["aba"]),
        ({"wildcard": r"a\*\\*"}, ["a*\\", "a*\\x"], ["ab\\", "a*"]),
        ({"wildcard": "plain"}, ["plain"], ["plainer"]),
    ],
)
def test_conditions(condition: object, wanted: list[object], unwanted: list[object]) -> None:
    policy = {"x": [condition]}
    assert json.loads(json.dumps(policy)) == policy
    wants = compile_filter(policy)
    assert [value for value in wanted if not wants({"x": value})] == []
    assert [value for value in unwanted if wants({"x": value})] == []
    assert wants({"other": "order"}) is (condition == {"exists": False})
    assert wants({"x": [[], [[value for value in wanted]]]}) is (  # noqa: C416
        bool(wanted) and condition != {"exists": False}
    )


def test_attributes_are_joined_by_and_conditions_by_or() -> None:
    policy = {"type": ["order", {"prefix": "in"}], "n": [{"numeric": [">", 5]}, None]}
    assert matches(policy, {"type": "order", "n": 6})
    assert matches(policy, {"type": "invoice", "n": None})
    assert not matches(policy, {"type": "order", "n": 5})
    assert not matches(policy, {"type": "order"})
    assert not matches(policy, {"n": 6})
    assert matches({}, {})
    assert matches({}, {"x": 1})


def test_missing_or_one_of_the_values() -> None:
    policy = {"x": [{"exists": False}, "a"]}
    assert matches(policy, {})
    assert matches(policy, {"x": "a"})
    assert not matches(policy, {"x": "b"})
    assert matches({"x": [{"exists": False}, {"exists": True}]}, {})
    assert matches({"x": [{"exists": False}, {"exists": True}]}, {"x": "b"})


def test_or() -> None:
    policy = {"$or": [{"a": [1]}, {"b": [2], "c": [3]}], "d": [4]}
    assert matches(policy, {"a": 1, "d": 4})
    assert matches(policy, {"b": 2, "c": 3, "d": 4})
    assert not matches(policy, {"b": 2, "d": 4})
    assert not matches(policy, {"a": 1})
    nested = {"$or": [{"a": [1]}, {"$or": [{"b": [1]}, {"c": [1]}]}]}
    assert matches(nested, {"c": 1})
    assert not matches(nested, {"c": 2})


def test_nested_policies_and_paths() -> None:
    headers = {"customer": {"city": "Bonn", "tags": ["a", "b"]}, "customer.name": "x"}
    assert matches({"customer": {"city": ["Bonn"], "tags": ["b"]}}, headers)
    assert not matches({"customer": {"city": ["Bonn"], "tags": ["c"]}}, headers)
    assert matches({"customer.city": ["Bonn"]}, headers)
    assert matches({"customer.name": ["x"]}, headers)
    assert matches({"customer.street": [{"exists": False}]}, headers)
    assert matches({"a.b.c": [1]}, {"a": {"b.c": 1}})
    assert matches({"a.b.c": [1]}, {"a.b": {"c": 1}})
    assert matches({"a.b.c": [1]}, {"a": {"b": {"c": 1}}})
    assert not matches({"a.b.c": [1]}, {"a": {"b": 1}})
    assert matches({"a.b": {"c": [1]}}, {"a": {"b": {"c": 1}}})
    assert matches({"a": {"$or": [{"b": [1]}, {"c": [1]}]}}, {"a": {"c": 1}})


def test_a_nested_policy_where_there_is_no_mapping() -> None:
    absent = {"a": {"b": [{"exists": False}]}}
    present = {"a": {"b": [{"exists": True}]}}
    shapes: list[dict[str, Any]] = [{}, {"a": 1}, {"a": None}, {"a": []}, {"a": ["b"]}]
    for headers in shapes:
        assert matches(absent, headers)
        assert not matches(present, headers)


def test_in_a_list_of_mappings_one_matches_as_a_whole() -> None:
    policy = {"items": {"sku": ["x"], "n": [1]}}
    assert matches(policy, {"items": [{"sku": "y"}, {"sku": "x", "n": 1}]})
    assert not matches(policy, {"items": [{"sku": "x", "n": 2}, {"sku": "y", "n": 1}]})


def test_the_policy_may_change_afterwards() -> None:
    policy: dict[str, Any] = {"x": ["a", {"anything-but": ["b", "a"]}]}
    wants = compile_filter(policy)
    policy["x"][1]["anything-but"].append("c")
    policy["x"].clear()
    policy["y"] = [1]
    assert wants({"x": "a"})
    assert wants({"x": "c"})
    assert not wants({"x": "b"})


def deep_policy(depth: int) -> dict[str, Any]:
    policy: dict[str, Any] = {"x": [1]}
    for _ in range(depth - 1):
        policy = {"x": policy}
    return policy


@pytest.mark.parametrize(
    ("policy", "problem", "message"),
    [
        (["x"], "NOT_A_POLICY", "a filter policy must be a mapping of attributes, not the list"),
        ({1: ["x"]}, "NOT_A_POLICY", "must be text, not the number 1"),
        ({"x": "a"}, "NOT_A_LIST", "x: an attribute needs a list .* not the text 'a'; put it"),
        ({"x": None}, "NOT_A_LIST", "x: .* not null"),
        ({"x": {"prefix": "a"}}, "NOT_A_LIST", r"x\.prefix: an attribute needs a list"),
        ({"x": []}, "EMPTY_LIST", "x: the list is empty"),
        ({"x": [["a"]]}, "BAD_VALUE", r"x\[0\]: .* not the list"),
        ({"x": ["a", b"b"]}, "BAD_VALUE", r"x\[1\]: .* not a value of type bytes"),
        ({"x": [float("nan")]}, "BAD_VALUE", r"x\[0\]"),
        ({"x": [{}]}, "BAD_CONDITION", r"x\[0\]: .* has 0"),
        ({"x": [{"prefix": "a", "suffix": "b"}]}, "BAD_CONDITION", "has 2"),
        ({"x": [{"perfix": "a"}]}, "UNKNOWN_OPERATOR", "'perfix'; did you mean 'prefix'"),
        ({"x": [{"zzz": "a"}]}, "UNKNOWN_OPERATOR", "known are anything-but, cidr, .*wildcard"),
        ({"x": [{1: "a"}]}, "UNKNOWN_OPERATOR", "no '1'"),
        ({"x": [{"prefix": 5}]}, "BAD_OPERAND", r"x\[0\].prefix: needs text, not the number 5"),
        ({"x": [{"exists": "yes"}]}, "BAD_OPERAND", "exists: needs true or false"),
        ({"x": [{"numeric": 5}]}, "BAD_OPERAND", "numeric: needs a list such as"),
        ({"x": [{"numeric": [">"]}]}, "BAD_OPERAND", "needs a list"),
        ({"x": [{"numeric": [">", "5"]}]}, "BAD_OPERAND", r"numeric\[1\]: needs a number"),
        ({"x": [{"numeric": [">", True]}]}, "BAD_OPERAND", "not true"),
        ({"x": [{"numeric": ["=>", 5]}]}, "UNKNOWN_OPERATOR", r"numeric\[0\]: 'numeric' takes no"),
        ({"x": [{"numeric": [["="], 5]}]}, "UNKNOWN_OPERATOR", "takes no"),
        ({"x": [{"numeric": ["<", 5, ">", 1]}]}, "BAD_RANGE", "first '>'"),
        ({"x": [{"numeric": ["=", 5, "<", 9]}]}, "BAD_RANGE", "first '>'"),
        ({"x": [{"numeric": [">", 9, "<", 5]}]}, "BAD_RANGE", "no number is > 9 and < 5"),
        ({"x": [{"numeric": [">", 5, "<=", 5]}]}, "BAD_RANGE", "no number"),
        ({"x": [{"cidr": "10.0.0.0/33"}]}, "BAD_OPERAND", "cidr: not a network"),
        ({"x": [{"cidr": 5}]}, "BAD_OPERAND", "cidr: needs text"),
        ({"x": [{"wildcard": "a**b"}]}, "BAD_OPERAND", "in a row"),
        ({"x": [{"wildcard": "a\\b"}]}, "BAD_OPERAND", "must come before"),
        ({"x": [{"wildcard": "a\\"}]}, "BAD_OPERAND", "must come before"),
        ({"x": [{"anything-but": []}]}, "EMPTY_LIST", "anything-but: the list is empty"),
        ({"x": [{"anything-but": [["a"]]}]}, "BAD_VALUE", r"anything-but\[0\]"),
        ({"x": [{"anything-but": {"numeric": []}}]}, "UNKNOWN_OPERATOR", "anything-but: 'anyth"),
        ({"x": [{"anything-but": {"prefix": []}}]}, "EMPTY_LIST", "anything-but.prefix"),
        (
            {"x": [{"anything-but": {"prefix": ["a", 1]}}]},
            "BAD_OPERAND",
            r"prefix\[1\]: needs text",
        ),
        ({"$or": {"a": [1]}}, "NOT_A_LIST", r"\$or: .* not a mapping"),
        ({"$or": [{"a": [1]}]}, "EMPTY_LIST", "at least two"),
        ({"$or": [{"a": [1]}, ["b"]]}, "NOT_A_POLICY", r"\$or\[1\]: a filter policy"),
        ({"a": {"b": {"c": 1}}}, "NOT_A_LIST", r"a\.b\.c: "),
        (deep_policy(MAX_FILTER_DEPTH + 1), "TOO_COMPLEX", "nested more than"),
        ({"." * (MAX_FILTER_DEPTH + 1): [1]}, "TOO_COMPLEX", "dots"),
        ({"x": ["a"] * (MAX_FILTER_CONDITIONS + 1)}, "TOO_COMPLEX", "conditions"),
        (
            {"x": [{"anything-but": {"prefix": ["a"] * (MAX_FILTER_CONDITIONS + 1)}}]},
            "TOO_COMPLEX",
            "conditions",
        ),
    ],
)
def test_invalid_policies(policy: Any, problem: str, message: str) -> None:
    with pytest.raises(FilterError, match=message) as caught:
        compile_filter(policy)
    assert caught.value.problem is FilterProblem[problem]
    assert caught.value.reason in str(caught.value)


def test_the_path_of_an_error_is_plain_data() -> None:
    with pytest.raises(FilterError) as caught:
        compile_filter({"$or": [{"a": [1]}, {"b": [1, {"numeric": ["<", "x"]}]}]})
    assert caught.value.path == ("$or", 1, "b", 1, "numeric", 1)
    assert str(caught.value) == "$or[1].b[1].numeric[1]: needs a number, not the text 'x'"


def test_limits_are_inclusive() -> None:
    headers: Any = 1
    for _ in range(MAX_FILTER_DEPTH):
        headers = {"x": headers}
    assert matches(deep_policy(MAX_FILTER_DEPTH), headers)
    assert matches({"x": list(range(MAX_FILTER_CONDITIONS))}, {"x": MAX_FILTER_CONDITIONS - 1})


def test_deeply_nested_headers_do_no_harm() -> None:
    value: Any = "a"
    for _ in range(100_000):
        value = [value]
    wants = compile_filter({"x": ["a"], "y": [{"exists": False}]})
    assert wants({"x": value})
    while isinstance(value, list):  # takes it apart without recursion
        value = value[0]


@given(st.text("ab*", max_size=12), st.text("ab", max_size=12))
def test_wildcard_agrees_with_fnmatch(pattern: str, text: str) -> None:
    while "**" in pattern:
        pattern = pattern.replace("**", "*")
    expected = fnmatch.fnmatchcase(text, pattern)
    assert matches({"x": [{"wildcard": pattern}]}, {"x": text}) is expected
    assert matches({"x": [{"anything-but": {"wildcard": pattern}}]}, {"x": text}) is not expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["a", "a.b", "$or", "prefix", "exists", "numeric", "anything-but"]),
            children,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@given(json_values, st.dictionaries(st.sampled_from(["a", "a.b"]), json_values | st.binary()))
def test_any_data_is_a_policy_or_a_filter_error(policy: Any, headers: dict[str, Any]) -> None:
    try:
        wants = compile_filter(policy)
    except FilterError:
        return
    assert wants(headers) in (True, False)
