"""Message selectors: the subset of SQL-92 that JMS brokers read (JMS 2.0, section 3.8.1).

Values are text, numbers and truth values. What a message does not have is unknown, and so is what
compares unlike types; a message is selected if the whole is true, not if it is unknown. Beside
JMS's identifiers there are names in double quotes, for headers such as "content-type".

The values of STOMP headers are text, which no number equals. A selector that starts with
`convert_string_expressions:`, as in ActiveMQ, reads text as a number where it meets one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import LarkError, UnexpectedInput, UnexpectedToken, VisitError

from .errors import SelectorError

MAX_SELECTOR: Final = 4096
"""Characters of a selector."""
MAX_NESTING: Final = 100
"""Parentheses, signs and NOTs of a selector: all that can make it deep."""

CONVERT: Final = "convert_string_expressions:"

Lookup: TypeAlias = Callable[[str], Any]
"""Gives a property of a message by name; None if it has none."""

Selector: TypeAlias = Callable[[Lookup], bool]

_Value: TypeAlias = Callable[[Lookup], Any]


_GRAMMAR: Final = r"""
    ?start: or_
    ?or_: and_ ("OR"i and_)*
    ?and_: not_ ("AND"i not_)*
    ?not_: "NOT"i not_ -> negation
        | predicate
    ?predicate: sum
        | sum COMPARISON sum -> comparison
        | sum "BETWEEN"i sum "AND"i sum -> between
        | sum "NOT"i "BETWEEN"i sum "AND"i sum -> not_between
        | sum "IN"i list -> within
        | sum "NOT"i "IN"i list -> not_within
        | sum "LIKE"i TEXT ("ESCAPE"i TEXT)? -> like
        | sum "NOT"i "LIKE"i TEXT ("ESCAPE"i TEXT)? -> not_like
        | sum "IS"i "NULL"i -> is_null
        | sum "IS"i "NOT"i "NULL"i -> is_not_null
    list: "(" TEXT ("," TEXT)* ")"
    ?sum: product (SIGN product)*
    ?product: factor (TIMES factor)*
    ?factor: SIGN factor -> signed
        | NUMBER -> number
        | TEXT -> text
        | "TRUE"i -> true
        | "FALSE"i -> false
        | name
        | "(" or_ ")"
    name: IDENTIFIER | QUOTED

    COMPARISON: "<>" | "<=" | ">=" | "=" | "<" | ">"
    SIGN: "+" | "-"
    TIMES: "*" | "/"
    NUMBER: /(0x[0-9a-f]+|([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?)[ldf]?/i
    TEXT: /'([^']|'')*'/
    QUOTED: /"[^"]+"/
    IDENTIFIER: /[^\W\d][\w$.]*|\$[\w$.]*/i

    %ignore /\s+/
"""


class SelectorCompiler:
    """Compiles selectors. Making one builds the parser's tables, so make it once."""

    def __init__(self) -> None:
        self._parsers = {
            convert: Lark(_GRAMMAR, parser="lalr", transformer=_Compiler(convert=convert))
            for convert in (False, True)
        }

    def compile(self, text: str) -> Selector:
        """Compile a selector.

        Raises:
            SelectorError: it is none, or too large.
        """
        if len(text) > MAX_SELECTOR:
            raise SelectorError(f"a selector has at most {MAX_SELECTOR} characters")
        convert = text.startswith(CONVERT)
        text = text.removeprefix(CONVERT)
        if len(re.findall(r"[(+-]|\bNOT\b", text, re.IGNORECASE)) > MAX_NESTING:
            raise SelectorError(f"a selector has at most {MAX_NESTING} parentheses, signs and NOTs")
        try:
            value: _Value = self._parsers[convert].parse(text)  # type: ignore[assignment]
        except VisitError as error:
            raise SelectorError(str(error.orig_exc)) from None
        except UnexpectedInput as error:
            ended = isinstance(error, UnexpectedToken) and error.token.type == "$END"
            what = "unexpected end" if ended else f"unexpected {text[error.pos_in_stream :][:20]!r}"
            raise SelectorError(f"{what} in the selector {text[:80]!r}") from None
        except LarkError as error:
            raise SelectorError(str(error)) from None
        return lambda lookup: value(lookup) is True


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_number(value: object) -> Any:
    """Read text as a number, if it looks like one."""
    if isinstance(value, str):
        try:
            return int(value) if value.strip().lstrip("+-").isdecimal() else float(value)
        except ValueError:
            return value
    return value


def _equal(left: Any, right: Any) -> bool:
    return bool(left == right)


_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": _equal,
    "<>": lambda left, right: not _equal(left, right),
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


@v_args(inline=True)
class _Compiler(Transformer[Token, Any]):
    """Makes a function of a message from each rule of the grammar."""

    def __init__(self, *, convert: bool) -> None:
        super().__init__()
        self._convert = convert

    # values

    def number(self, token: Token) -> _Value:
        text = token.lower()
        value: int | float
        if text.startswith("0x"):
            value = int(text.rstrip("l"), 16)
        elif text[-1] in "df" or any(each in text for each in ".e"):
            value = float(text.rstrip("ldf"))
        else:
            value = int(text.rstrip("l"))
        return lambda lookup: value

    def text(self, token: Token) -> _Value:
        value = _unquote(token)
        return lambda lookup: value

    def true(self) -> _Value:
        return lambda lookup: True

    def false(self) -> _Value:
        return lambda lookup: False

    def name(self, token: Token) -> _Value:
        name = token[1:-1] if token.type == "QUOTED" else str(token)
        return lambda lookup: lookup(name)

    # arithmetic

    def signed(self, sign: Token, operand: _Value) -> _Value:
        factor = -1 if sign == "-" else 1

        def value(lookup: Lookup) -> Any:
            found = self._number_of(operand(lookup))
            return None if found is None else factor * found

        return value

    def sum(self, first: _Value, *rest: Any) -> _Value:
        return self._chain(first, rest)

    def product(self, first: _Value, *rest: Any) -> _Value:
        return self._chain(first, rest)

    def _chain(self, first: _Value, rest: Sequence[Any]) -> _Value:
        steps = list(zip(rest[::2], rest[1::2], strict=True))

        def value(lookup: Lookup) -> Any:
            total = self._number_of(first(lookup))
            for sign, operand in steps:
                other = self._number_of(operand(lookup))
                if total is None or other is None:
                    return None
                total = _calculate(sign, total, other)
            return total

        return value

    def _number_of(self, value: Any) -> Any:
        if self._convert:
            value = _as_number(value)
        return value if _is_number(value) else None

    # conditions

    def comparison(self, left: _Value, operator: Token, right: _Value) -> _Value:
        return self._comparison(left, str(operator), right)

    def _comparison(self, left: _Value, operator: str, right: _Value) -> _Value:
        compare = _COMPARISONS[operator]
        ordered = operator not in {"=", "<>"}
        convert = self._convert

        def value(lookup: Lookup) -> bool | None:
            one, other = left(lookup), right(lookup)
            if one is None or other is None:
                return None
            if convert and (_is_number(one) or _is_number(other)):
                one, other = _as_number(one), _as_number(other)
            if _is_number(one) and _is_number(other):
                return compare(one, other)
            # Of text and truth values there is only "equal" and "not equal" (3.8.1.2).
            if ordered or type(one) is not type(other):
                return None if ordered else False
            return compare(one, other)

        return value

    def between(self, value: _Value, low: _Value, high: _Value) -> _Value:
        return _all([self._comparison(value, ">=", low), self._comparison(value, "<=", high)])

    def not_between(self, value: _Value, low: _Value, high: _Value) -> _Value:
        return _not(self.between(value, low, high))

    def list(self, *tokens: Token) -> frozenset[str]:
        return frozenset(map(_unquote, tokens))

    def within(self, name: _Value, texts: frozenset[str]) -> _Value:
        def value(lookup: Lookup) -> bool | None:
            found = name(lookup)
            return None if found is None else found in texts

        return value

    def not_within(self, name: _Value, texts: frozenset[str]) -> _Value:
        return _not(self.within(name, texts))

    def like(self, name: _Value, pattern: Token, escape: Token | None = None) -> _Value:
        matches = _like(_unquote(pattern), None if escape is None else _unquote(escape))

        def value(lookup: Lookup) -> bool | None:
            found = name(lookup)
            return matches(found) if isinstance(found, str) else None

        return value

    def not_like(self, name: _Value, pattern: Token, escape: Token | None = None) -> _Value:
        return _not(self.like(name, pattern, escape))

    def is_null(self, name: _Value) -> _Value:
        return lambda lookup: name(lookup) is None

    def is_not_null(self, name: _Value) -> _Value:
        return lambda lookup: name(lookup) is not None

    def negation(self, operand: _Value) -> _Value:
        return _not(operand)

    def and_(self, *operands: _Value) -> _Value:
        return _all(operands)

    def or_(self, *operands: _Value) -> _Value:
        return _any(operands)


def _unquote(token: str) -> str:
    return token[1:-1].replace("''", "'")


def _calculate(sign: str, left: Any, right: Any) -> Any:
    try:
        match sign:
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
            case _ if isinstance(left, int) and isinstance(right, int):
                quotient = abs(left) // abs(right)  # as Java divides: towards zero
                return quotient if (left < 0) == (right < 0) else -quotient
            case _:
                return left / right
    except (ZeroDivisionError, OverflowError):
        return None


# Three truth values: None is unknown (SQL-92, section 8.12).


def _not(operand: _Value) -> _Value:
    def value(lookup: Lookup) -> bool | None:
        found = operand(lookup)
        return not found if isinstance(found, bool) else None

    return value


def _all(operands: Sequence[_Value]) -> _Value:
    def value(lookup: Lookup) -> bool | None:
        known = True
        for operand in operands:
            found = operand(lookup)
            if found is False:
                return False
            known = known and found is True
        return True if known else None

    return value


def _any(operands: Sequence[_Value]) -> _Value:
    def value(lookup: Lookup) -> bool | None:
        known = True
        for operand in operands:
            found = operand(lookup)
            if found is True:
                return True
            known = known and found is False
        return False if known else None

    return value


def _like(pattern: str, escape: str | None) -> Callable[[str], bool]:
    """Compile a pattern of LIKE: `%` for any text, `_` for one character."""
    if escape is not None and len(escape) != 1:
        raise SelectorError("ESCAPE takes a single character")
    parts: list[list[str | None]] = [[]]  # runs between `%`; None is any one character
    characters = iter(pattern)
    for character in characters:
        if character == escape:
            following = next(characters, None)
            if following is None:
                raise SelectorError("nothing follows the escape character of a LIKE pattern")
            parts[-1].append(following)
        elif character == "%":
            parts.append([])
        else:
            parts[-1].append(None if character == "_" else character)
    first, *others = parts
    if not others:
        return lambda text: len(text) == len(first) and _fits(first, text, 0)
    *middle, last = others
    least = sum(map(len, parts))

    def matches(text: str) -> bool:
        end = len(text) - len(last)
        if len(text) < least or not (_fits(first, text, 0) and _fits(last, text, end)):
            return False
        # The earliest place for each run leaves the most room for the next: no need to go back.
        start = len(first)
        for run in middle:
            while start + len(run) <= end and not _fits(run, text, start):
                start += 1
            start += len(run)
            if start > end:
                return False
        return True

    return matches


def _fits(run: Sequence[str | None], text: str, start: int) -> bool:
    return all(wanted is None or wanted == text[start + place] for place, wanted in enumerate(run))
