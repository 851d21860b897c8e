r"""Attribute filters: which messages a subscription or a route wants, by their headers.

A policy is plain data (JSON, TOML) in the manner of Amazon SNS filter policies::

    {
        "type": ["order", {"prefix": "ord-"}],
        "amount": [{"numeric": [">", 5, "<=", 9]}],
        "test": [{"exists": false}],
    }

Every attribute named must match (and); an attribute matches if one of its conditions does (or).

=============================================  ====================================================
condition                                      matches a value that
=============================================  ====================================================
``"text"``, ``5``, ``true``, ``null``          is equal; types are never mixed up (``1`` is not
                                               ``true`` and not ``"1"``), but ``1`` equals ``1.0``
``{"prefix": "a"}``, ``{"suffix": "a"}``       is text that starts or ends so
``{"equals-ignore-case": "a"}``                is the same text but for case
``{"wildcard": "a*b"}``                        is text of that form; ``*`` is any text, ``\*`` a
                                               star, ``\\`` a backslash
``{"numeric": [">=", 1, "<", 9]}``             is a number in that range; operators ``=``, ``>``,
                                               ``>=``, ``<``, ``<=``
``{"cidr": "10.0.0.0/8"}``                     is text that is an IP address in that network
``{"anything-but": X}``                        is none of X: a value, a list of values, or a
                                               mapping with ``prefix``, ``suffix``,
                                               ``equals-ignore-case`` or ``wildcard`` and a text
                                               or a list of texts
``{"exists": true}``, ``{"exists": false}``    is there at all, or is not
=============================================  ====================================================

A missing attribute matches ``{"exists": false}`` only; in particular not ``anything-but``. An
attribute that is a list (of lists) matches if one of its elements does; an empty list exists but
matches nothing else. Bytes have no form in JSON: they exist, and are none of ``anything-but``.

An attribute that is a mapping is reached by a nested policy, ``{"customer": {"city": ["Bonn"]}}``,
or by a path with dots, ``{"customer.city": ["Bonn"]}``; a header whose own name holds the dots goes
first. A nested policy on what is not there or not a mapping sees every attribute as missing.

``"$or": [policy, policy, …]``, at any level, matches if one of its policies does, beside the other
attributes of that level. An empty policy matches everything.

If the mapping of a nested policy is a list of mappings, one of them must match as a whole.
"""

import difflib
import enum
import ipaddress
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard

from hubbub.errors import HubbubError

MAX_FILTER_DEPTH = 16
"""How deep policies may be nested in one another, ``$or`` included."""

MAX_FILTER_CONDITIONS = 1_000
"""The most conditions in one policy, the values in lists of ``anything-but`` included."""

Filter: TypeAlias = Callable[[Mapping[str, Any]], bool]
"""Tells whether a message with these headers is wanted. Never raises, whatever the headers."""

_Path: TypeAlias = tuple[str | int, ...]
_Test: TypeAlias = Callable[[Any], bool]


class FilterProblem(enum.Enum):
    """What is wrong with a policy, for those who must say it in another protocol's words."""

    NOT_A_POLICY = "not-a-policy"
    """A policy is not a mapping with text for keys."""
    NOT_A_LIST = "not-a-list"
    """An attribute has neither a list of conditions nor a nested policy."""
    EMPTY_LIST = "empty-list"
    """A list of conditions or values is empty."""
    BAD_VALUE = "bad-value"
    """A condition is neither text, number, boolean or null, nor a mapping."""
    BAD_CONDITION = "bad-condition"
    """A condition's mapping has not exactly one key."""
    UNKNOWN_OPERATOR = "unknown-operator"
    """There is no such condition, or no such numeric operator."""
    BAD_OPERAND = "bad-operand"
    """What a condition compares with is of the wrong type or form."""
    BAD_RANGE = "bad-range"
    """A numeric range has its bounds the wrong way round, or nothing in it."""
    TOO_COMPLEX = "too-complex"
    """More nested, or more conditions, than the limits of this module."""


class FilterError(HubbubError, ValueError):
    """A policy is invalid.

    ``path`` leads to the place: names of attributes and conditions, and places in lists.
    """

    def __init__(self, problem: FilterProblem, path: _Path, reason: str) -> None:
        where = _spell(path)
        super().__init__(f"{where}: {reason}" if where else reason)
        self.problem = problem
        self.path = path
        self.reason = reason


def compile_filter(policy: Mapping[str, Any]) -> Filter:
    """Compile a policy into a function of a message's headers. Raises `FilterError`.

    The policy is not kept: it may change afterwards.
    """
    return _Compiler().policy(policy, (), 1)


class _Compiler:
    """Compiles one policy, and counts its conditions."""

    def __init__(self) -> None:
        self._conditions = 0

    def policy(self, policy: object, path: _Path, depth: int) -> Filter:
        if not isinstance(policy, Mapping):
            raise FilterError(
                FilterProblem.NOT_A_POLICY,
                path,
                f"a filter policy must be a mapping of attributes, not {_describe(policy)}",
            )
        if depth > MAX_FILTER_DEPTH:
            raise FilterError(
                FilterProblem.TOO_COMPLEX,
                path,
                f"policies are nested more than {MAX_FILTER_DEPTH} deep",
            )
        filters: list[Filter] = []
        for name, rule in policy.items():
            if not isinstance(name, str):
                raise FilterError(
                    FilterProblem.NOT_A_POLICY,
                    path,
                    f"the name of an attribute must be text, not {_describe(name)}",
                )
            if name.count(".") > MAX_FILTER_DEPTH:
                raise FilterError(
                    FilterProblem.TOO_COMPLEX,
                    (*path, name),
                    f"a path has at most {MAX_FILTER_DEPTH} dots",
                )
            filters.append(self._attribute(name, rule, (*path, name), depth))
        return _all_of(filters)

    def _attribute(self, name: str, rule: object, path: _Path, depth: int) -> Filter:
        if name == "$or":
            return self._alternatives(rule, path, depth)
        if isinstance(rule, Mapping):
            return _nested(name, self.policy(rule, path, depth + 1))
        if not isinstance(rule, list | tuple):
            raise FilterError(
                FilterProblem.NOT_A_LIST,
                path,
                "an attribute needs a list of conditions or a nested policy, "
                f"not {_describe(rule)}; put it in [ ]",
            )
        self._not_empty(rule, path)
        present: bool = False
        missing: bool = False
        values: list[object] = []
        tests: list[_Test] = []
        for place, condition in enumerate(rule):
            here = (*path, place)
            if not isinstance(condition, Mapping):
                values.append(self._value(condition, here))
                continue
            kind, operand = _single_item(condition, here)
            if kind == "exists":
                self._count(here)
                if not isinstance(operand, bool):
                    raise _bad_operand((*here, kind), "true or false", operand)
                present |= operand
                missing |= not operand
            else:
                tests.append(self._condition(kind, operand, (*here, kind)))
        if values:
            tests.insert(0, _one_of(values))
        return _attribute_filter(name, _any_of(tests), present=present, missing=missing)

    def _alternatives(self, rule: object, path: _Path, depth: int) -> Filter:
        if not isinstance(rule, list | tuple):
            raise FilterError(
                FilterProblem.NOT_A_LIST,
                path,
                f"'$or' needs a list of policies, not {_describe(rule)}",
            )
        if len(rule) < 2:
            raise FilterError(
                FilterProblem.EMPTY_LIST, path, "'$or' needs at least two policies to choose from"
            )
        filters = [
            self.policy(policy, (*path, place), depth + 1) for place, policy in enumerate(rule)
        ]
        return lambda headers: any(wanted(headers) for wanted in filters)

    def _condition(self, kind: str, operand: object, path: _Path) -> _Test:
        if kind == "anything-but":
            return self._anything_but(operand, path)
        self._count(path)
        if kind == "numeric":
            return _numeric(operand, path)
        if kind == "cidr":
            return _cidr(operand, path)
        make = _TEXT_CONDITIONS.get(kind)
        if make is None:
            raise _unknown(kind, [*_TEXT_CONDITIONS, *_OTHER_CONDITIONS], path, "there is no")
        return make(_text(operand, path), path)

    def _anything_but(self, operand: object, path: _Path) -> _Test:
        if isinstance(operand, Mapping):
            kind, texts = _single_item(operand, path)
            path = (*path, kind)
            make = _TEXT_CONDITIONS.get(kind)
            if make is None:
                raise _unknown(kind, list(_TEXT_CONDITIONS), path, "'anything-but' takes no")
            places: list[tuple[object, _Path]] = [(texts, path)]
            if isinstance(texts, list | tuple):
                self._not_empty(texts, path)
                places = [(text, (*path, place)) for place, text in enumerate(texts)]
            unwanted = []
            for text, here in places:
                self._count(here)
                unwanted.append(make(_text(text, here), here))
            test = _any_of(unwanted)
        elif isinstance(operand, list | tuple):
            self._not_empty(operand, path)
            test = _one_of(
                [self._value(value, (*path, place)) for place, value in enumerate(operand)]
            )
        else:
            test = _one_of([self._value(operand, path)])
        return lambda value: not test(value)

    def _value(self, value: object, path: _Path) -> object:
        self._count(path)
        if value is None or isinstance(value, str | bool):
            return value
        if _is_number(value) and not math.isnan(value):
            return value
        raise FilterError(
            FilterProblem.BAD_VALUE,
            path,
            "a value to compare with must be text, a number, true, false or null, "
            f"not {_describe(value)}",
        )

    def _not_empty(self, items: Sequence[object], path: _Path) -> None:
        if not items:
            raise FilterError(FilterProblem.EMPTY_LIST, path, "the list is empty")

    def _count(self, path: _Path) -> None:
        self._conditions += 1
        if self._conditions > MAX_FILTER_CONDITIONS:
            raise FilterError(
                FilterProblem.TOO_COMPLEX,
                path,
                f"the policy has more than {MAX_FILTER_CONDITIONS} conditions",
            )


# Headers: finding an attribute, then testing it.

_MISSING = object()


def _find(headers: Mapping[str, Any], name: str) -> object:
    """Return the attribute of this name, or the one that a path with dots leads to."""
    found = headers.get(name, _MISSING)
    if found is not _MISSING or "." not in name:
        return found
    # A header may hold dots in its own name, also within a nested mapping.
    cut = name.find(".")
    while cut != -1:
        inner = headers.get(name[:cut])
        if isinstance(inner, Mapping):
            found = _find(inner, name[cut + 1 :])
            if found is not _MISSING:
                return found
        cut = name.find(".", cut + 1)
    return _MISSING


def _flat(values: Sequence[object]) -> Iterator[object]:
    """Iterate over the elements of a list, and of the lists in it."""
    stack = [iter(values)]
    while stack:
        for value in stack[-1]:
            if isinstance(value, list | tuple):
                stack.append(iter(value))
                break
            yield value
        else:
            stack.pop()


def _attribute_filter(name: str, test: _Test, *, present: bool, missing: bool) -> Filter:
    dotted = "." in name

    def wanted(headers: Mapping[str, Any]) -> bool:
        value = _find(headers, name) if dotted else headers.get(name, _MISSING)
        if value is _MISSING:
            return missing
        if present:
            return True
        if isinstance(value, list | tuple):
            return any(map(test, _flat(value)))
        return test(value)

    return wanted


def _nested(name: str, policy: Filter) -> Filter:
    def wanted(headers: Mapping[str, Any]) -> bool:
        value = _find(headers, name)
        if isinstance(value, Mapping):
            return policy(value)
        if isinstance(value, list | tuple):
            mappings = [element for element in _flat(value) if isinstance(element, Mapping)]
            if mappings:
                return any(map(policy, mappings))
        return policy({})

    return wanted


def _all_of(filters: Sequence[Filter]) -> Filter:
    if len(filters) == 1:
        return filters[0]

    def wanted(headers: Mapping[str, Any]) -> bool:
        for each in filters:  # noqa: SIM110 - a generator would cost more than the filters
            if not each(headers):
                return False
        return True

    return wanted


def _any_of(tests: Sequence[_Test]) -> _Test:
    if len(tests) == 1:
        return tests[0]

    def test(value: Any) -> bool:
        for each in tests:  # noqa: SIM110 - a generator would cost more than the tests
            if each(value):
                return True
        return False

    return test


# Conditions: each makes a test of one value.


def _one_of(values: Sequence[object]) -> _Test:
    # Kept apart by type, since for Python 1 == True == 1.0.
    texts = frozenset([value for value in values if isinstance(value, str)])
    constants = tuple([value for value in values if value is None or isinstance(value, bool)])
    numbers = frozenset([value for value in values if _is_number(value)])
    if len(texts) == len(values):
        return lambda value: isinstance(value, str) and value in texts

    def test(value: Any) -> bool:
        if isinstance(value, str):
            return value in texts
        if value is None or isinstance(value, bool):
            return value in constants
        return isinstance(value, int | float) and value in numbers

    return test


def _prefix(text: str, path: _Path) -> _Test:
    return lambda value: isinstance(value, str) and value.startswith(text)


def _suffix(text: str, path: _Path) -> _Test:
    return lambda value: isinstance(value, str) and value.endswith(text)


def _equals_ignore_case(text: str, path: _Path) -> _Test:
    folded = text.casefold()
    return lambda value: isinstance(value, str) and value.casefold() == folded


def _wildcard(text: str, path: _Path) -> _Test:
    first, *others = _wildcard_parts(text, path)
    if not others:
        return lambda value: isinstance(value, str) and value == first
    *middle, last = others
    least = sum(map(len, [first, *others]))

    def test(value: Any) -> bool:
        if not isinstance(value, str) or len(value) < least:
            return False
        if not (value.startswith(first) and value.endswith(last)):
            return False
        # The earliest place for each part leaves the most room for the next: no need to go back.
        start, end = len(first), len(value) - len(last)
        for part in middle:
            start = value.find(part, start, end)
            if start == -1:
                return False
            start += len(part)
        return True

    return test


def _wildcard_parts(text: str, path: _Path) -> list[str]:
    parts = [""]
    characters = iter(text)
    previous = ""
    for character in characters:
        if character == "*":
            if previous == "*":
                raise FilterError(
                    FilterProblem.BAD_OPERAND, path, "two '*' in a row say no more than one"
                )
            parts.append("")
        elif character == "\\":
            escaped = next(characters, "")
            if escaped not in {"*", "\\"}:
                raise FilterError(
                    FilterProblem.BAD_OPERAND, path, "a '\\' must come before a '*' or a '\\'"
                )
            parts[-1] += escaped
        else:
            parts[-1] += character
        previous = character
    return parts


def _cidr(operand: object, path: _Path) -> _Test:
    try:
        network = ipaddress.ip_network(_text(operand, path), strict=False)
    except ValueError as error:
        if isinstance(error, FilterError):
            raise
        raise FilterError(
            FilterProblem.BAD_OPERAND, path, f"not a network such as '10.0.0.0/8': {operand!r}"
        ) from None

    def test(value: Any) -> bool:
        if not isinstance(value, str):
            return False
        try:
            return ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return test


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def _numeric(operand: object, path: _Path) -> _Test:
    if not isinstance(operand, list | tuple) or len(operand) not in {2, 4}:
        raise _bad_operand(path, "a list such as ['=', 5] or ['>', 0, '<=', 9]", operand)
    for place in range(0, len(operand), 2):
        sign, bound = operand[place : place + 2]
        if not isinstance(sign, str) or sign not in _COMPARISONS:
            raise _unknown(
                str(sign), list(_COMPARISONS), (*path, place, str(sign)), "'numeric' takes no"
            )
        if not _is_number(bound) or math.isnan(bound):
            raise _bad_operand((*path, place + 1), "a number", bound)
    sign, bound = operand[:2]
    compare = _COMPARISONS[sign]
    if len(operand) == 2:
        return lambda value: _is_number(value) and compare(value, bound)
    upper_sign, upper = operand[2:]
    if sign not in {">", ">="} or upper_sign not in {"<", "<="}:
        raise FilterError(
            FilterProblem.BAD_RANGE, path, "a range is first '>' or '>=', then '<' or '<='"
        )
    if not (bound < upper or (bound == upper and sign == ">=" and upper_sign == "<=")):
        raise FilterError(
            FilterProblem.BAD_RANGE, path, f"no number is {sign} {bound} and {upper_sign} {upper}"
        )
    compare_upper = _COMPARISONS[upper_sign]
    return lambda value: _is_number(value) and compare(value, bound) and compare_upper(value, upper)


_TEXT_CONDITIONS: Mapping[str, Callable[[str, _Path], _Test]] = {
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _equals_ignore_case,
    "wildcard": _wildcard,
}
_OTHER_CONDITIONS = ("anything-but", "cidr", "exists", "numeric")


# Checking a policy, and saying what is wrong with it.


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(operand: object, path: _Path) -> str:
    if not isinstance(operand, str):
        raise _bad_operand(path, "text", operand)
    return operand


def _single_item(condition: Mapping[Any, object], path: _Path) -> tuple[str, object]:
    if len(condition) != 1:
        raise FilterError(
            FilterProblem.BAD_CONDITION,
            path,
            "a condition is a mapping with exactly one key, such as {'prefix': 'a'}; "
            f"this one has {len(condition)}",
        )
    [(kind, operand)] = condition.items()
    return str(kind), operand


def _bad_operand(path: _Path, wanted: str, operand: object) -> FilterError:
    return FilterError(FilterProblem.BAD_OPERAND, path, f"needs {wanted}, not {_describe(operand)}")


def _unknown(kind: str, known: Sequence[str], path: _Path, complaint: str) -> FilterError:
    close = difflib.get_close_matches(kind[:40], known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"
    return FilterError(
        FilterProblem.UNKNOWN_OPERATOR, path[:-1], f"{complaint} {_cut(kind)!r}; {hint}"
    )


def _describe(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {_cut(value)!r}"
    if _is_number(value):
        return f"the number {value}"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        simple = all(each is None or isinstance(each, str | int | float) for each in value)
        return f"the list {_cut(repr(list(value)))}" if simple else "a list"
    return f"a value of type {type(value).__name__}"


def _cut(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def _spell(path: _Path) -> str:
    spelled = ""
    for step in path:
        if isinstance(step, int):
            spelled += f"[{step}]"
        else:
            spelled += f".{_cut(step)}" if spelled else _cut(step)
    return spelled
