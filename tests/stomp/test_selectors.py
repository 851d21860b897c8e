from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub_stomp.errors import SelectorError
from hubbub_stomp.selectors import SelectorCompiler

COMPILER = SelectorCompiler()
MESSAGE: dict[str, Any] = {
    "color": "blue", "weight": 2500, "price": 9.5, "fragile": True, "count": "12", "a.b": "x",
    "content-type": "text/plain", "name": "50%_off", "quote": "it's", "$cost": 1, "order": "o",
}  # fmt: skip


def select(text: str) -> bool:
    return COMPILER.compile(text)(MESSAGE.get)


@pytest.mark.parametrize(
    "text",
    [
        "color = 'blue'", "color <> 'red'", "COLOR IS NULL", "color IS NOT NULL",
        "color is not null",
        "weight > 2000 AND color = 'blue'", "weight >= 2500", "weight < 2500.5", "weight <= 2.5E3",
        "weight = 0x9C4", "weight = 2500L", "price = 9.5", "price = 9.5f", "price = .95e1",
        "fragile", "fragile = TRUE", "fragile <> false", "NOT fragile = FALSE", "(fragile)",
        "color = 'red' OR fragile", "missing = 1 OR fragile", "NOT (missing = 1 AND FALSE)",
        "weight BETWEEN 1 AND 2500 AND fragile", "weight NOT BETWEEN 1 AND 2499",
        "color IN ('red', 'blue')", "color NOT IN ('red')", "color not in ('red','green')",
        "color LIKE 'b%'", "color LIKE '%u%'", "color LIKE '_lu_'", "color LIKE 'blue%'",
        "color NOT LIKE '_'", "name LIKE '50!%!_%' ESCAPE '!'", "color LIKE '%b%l%u%e%'",
        "quote = 'it''s'", "quote LIKE '%''s'", "a.b = 'x'", "\"content-type\" = 'text/plain'",
        "$cost = 1", "order = 'o'", "weight + 1 = 2501", "weight - 2 * 1000 = 500",
        "-weight < 0", "- -weight > 0", "weight / 1000 = 2", "-7 / 2 = -3", "price / 2 = 4.75",
        "(weight + 500) / 3 = 1000", "1 = 1", "weight=2500", "weight-1=2499", "5 - 3 - 1 = 1",
        "convert_string_expressions:count > 11", "convert_string_expressions:count + 1 = 13",
        "convert_string_expressions:color = 'blue'",
    ],
)  # fmt: skip
def test_selected(text: str) -> None:
    assert select(text)


@pytest.mark.parametrize(
    "text",
    [
        "color = 'red'", "color = 5", "weight = '2500'", "count > 11", "count = 12", "missing",
        "missing = 'x'", "missing <> 'x'", "NOT missing = 'x'", "missing IN ('x')",
        "missing NOT IN ('x')", "missing LIKE '%'", "missing NOT LIKE '%'", "weight LIKE '2%'",
        "missing BETWEEN 1 AND 2", "missing NOT BETWEEN 1 AND 2", "weight / 0 = 1", "color",
        "color < 'red'", "fragile > FALSE", "fragile = 1", "-color = 1", "color + 1 = 2",
        "NOT color", "missing AND fragile", "missing OR FALSE", "color LIKE 'l%'",
        "color LIKE 'blu'",
        "color LIKE '_'", "color LIKE '%e%e'", "price / 0.0 = 1", "1e308 * 10 = 1 ",
        "convert_string_expressions:color > 1", "weight BETWEEN 1 AND 2",
    ],
)  # fmt: skip
def test_not_selected(text: str) -> None:
    assert not select(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "unexpected end"),
        ("color =", "unexpected end"),
        ("color = 'blue", 'unexpected "\'blue"'),
        ("color == 'blue'", "unexpected \"= 'blue'\""),
        ("color LIKE weight", "unexpected 'weight'"),
        ("color IN ()", "unexpected ')'"),
        ("color IN (1)", "unexpected '1)'"),
        ("a LIKE 'x' ESCAPE 'yy'", "single character"),
        ("a LIKE 'x!' ESCAPE '!'", "escape character"),
        ("(a = 1", "unexpected end"),
        ("a = 1)", "unexpected ')'"),
        ("x" * 5000, "4096 characters"),
        ("(" * 101 + "a" + ")" * 101, "100 parentheses"),
        ("NOT " * 101 + "a", "100 parentheses"),
        ("a = " + "-" * 101 + "1", "100 parentheses"),
    ],
)
def test_refused(text: str, why: str) -> None:
    with pytest.raises(SelectorError) as caught:
        COMPILER.compile(text)
    assert why in str(caught.value)


def test_long_chains_are_no_deep_ones() -> None:
    assert select(" OR ".join(["weight=1"] * 300 + ["fragile"]))
    assert select(" AND ".join(["fragile"] * 300))
    assert COMPILER.compile("(" * 100 + "fragile" + ")" * 100)(MESSAGE.get)


WORDS = st.sampled_from(
    ["a", "'x'", "1", "2.5", "=", "<>", "<", "(", ")", "AND", "OR", "NOT", "IN", "LIKE", "BETWEEN",
     "IS", "NULL", "TRUE", "+", "-", "*", "/", ",", '"b-c"', "'", "\x00", "é", "0x", "1e999"]
)  # fmt: skip
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(st.lists(WORDS, max_size=15).map(" ".join), st.dictionaries(st.text(), VALUES), VALUES)
def test_any_text_is_a_selector_or_refused(text: str, message: dict[str, Any], a: Any) -> None:
    for each in (text, f"convert_string_expressions:{text}"):
        try:
            selector = COMPILER.compile(each)
        except SelectorError:
            continue
        assert selector((message | {"a": a}).get) in {True, False}


@given(st.text("ab%_", max_size=8), st.text("ab", max_size=8))
def test_like_is_what_a_regular_expression_says(pattern: str, text: str) -> None:
    import re

    expected = re.fullmatch(pattern.replace("%", ".*").replace("_", "."), text, re.DOTALL)
    assert COMPILER.compile(f"t LIKE '{pattern}'")({"t": text}.get) == (expected is not None)
