"""Constraints of a model (required, min, max, pattern, enum), in the words of AWS's validator.

SQS answers with its own messages and does not use this; Kinesis and DynamoDB do.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from hubbub_aws.errors import AwsError
from hubbub_aws.shapes import CompiledStructures, Shape

MAX_PROBLEMS = 10
"""How many violations AWS lists at most."""

Validate = Callable[[Mapping[str, Any]], None]
_Check = Callable[[Any, str, list[str]], None]
_Constraint = tuple[str, Callable[[Any], bool]]

_NOT_NULL = "Member must not be null"


def compile_validator(shape: Shape) -> Validate:
    """A function that raises `AwsError` (``ValidationException``) for invalid parameters."""
    check = _Validators().compile(shape)

    def validate(params: Mapping[str, Any]) -> None:
        problems: list[str] = []
        check(params, "", problems)
        if problems:
            count = len(problems)
            plural = "s" if count > 1 else ""
            text = "; ".join(problems)
            message = f"{count} validation error{plural} detected: {text}"
            raise AwsError("ValidationException", message)

    return validate


class _Validators:
    """Compiles shapes to checks: functions of value, path and the list of problems so far."""

    def __init__(self) -> None:
        self._structures = CompiledStructures[_Check]()

    def compile(self, shape: Shape) -> _Check:
        constraints = _constraints(shape)

        def check_own(value: Any, path: str, problems: list[str]) -> None:
            for text, holds in constraints:
                if not holds(value):
                    _report(shape, value, path, text, problems)

        checks: list[_Check] = [check_own] if constraints else []
        if shape.type == "structure" and not shape.is_document:
            checks.append(self._structures.get(shape, self._structure))
        elif shape.type == "list":
            checks.append(self._list(shape))
        elif shape.type == "map":
            checks.append(self._map(shape))
        if len(checks) == 1:
            return checks[0]

        def check(value: Any, path: str, problems: list[str]) -> None:
            for each in checks:
                each(value, path, problems)

        return check

    def _structure(self, shape: Shape) -> _Check:
        required = frozenset(shape.required)
        fields = [
            (member_name, _lower_first(member_name), member, self.compile(member))
            for member_name, member in shape.members.items()
            if not member.is_event_stream
        ]

        def check(value: Any, path: str, problems: list[str]) -> None:
            prefix = f"{path}." if path else ""
            for member_name, label, member, check_member in fields:
                item = value.get(member_name)
                if item is not None:
                    check_member(item, prefix + label, problems)
                elif member_name in required:
                    _report(member, None, prefix + label, _NOT_NULL, problems)

        return check

    def _list(self, shape: Shape) -> _Check:
        member = shape.member
        if member.type in ("structure", "list", "map"):
            check_member = self.compile(member)

            def check_entries(value: Any, path: str, problems: list[str]) -> None:
                for index, item in enumerate(value, 1):
                    check_member(item, f"{path}.{index}.member", problems)

            return check_entries
        return _check_all(shape, "Member", _constraints(member), lambda value: value)

    def _map(self, shape: Shape) -> _Check:
        check_keys = _check_all(shape, "Map keys", _constraints(shape.key), lambda value: value)
        if shape.value.type in ("structure", "list", "map"):
            check_value = self.compile(shape.value)

            def check_entries(value: Any, path: str, problems: list[str]) -> None:
                check_keys(value, path, problems)
                for key, item in value.items():
                    check_value(item, f"{path}.{key}.member", problems)

            return check_entries
        check_values = _check_all(
            shape, "Map value", _constraints(shape.value), lambda value: value.values()
        )

        def check(value: Any, path: str, problems: list[str]) -> None:
            check_keys(value, path, problems)
            check_values(value, path, problems)

        return check


def _check_all(
    shape: Shape, subject: str, constraints: list[_Constraint], items: Callable[[Any], Any]
) -> _Check:
    """Simple values inside a list or map are complained of together, at the list or map."""
    listed = ", ".join(text for text, _ in constraints)

    def check(value: Any, path: str, problems: list[str]) -> None:
        if not all(holds(item) for item in items(value) for _, holds in constraints):
            _report(shape, value, path, f"{subject} must satisfy constraint: [{listed}]", problems)

    return check


def _report(shape: Shape, value: Any, path: str, constraint: str, problems: list[str]) -> None:
    if len(problems) >= MAX_PROBLEMS:
        return
    if value is None:
        shown = " null"
    elif _is_sensitive(shape, set()):
        shown = ""
    else:
        shown = f" '{_text(shape, value)}'"
    problems.append(f"Value{shown} at '{path}' failed to satisfy constraint: {constraint}")


def _is_sensitive(shape: Shape, seen: set[str]) -> bool:
    """Whether values of a shape are not to be repeated, or have parts that are not."""
    if shape.traits.get("sensitive"):
        return True
    if shape.name in seen:
        return False
    seen.add(shape.name)
    parts = {"list": ["member"], "map": ["key", "value"]}.get(shape.type, [])
    return any(_is_sensitive(getattr(shape, part), seen) for part in parts) or any(
        _is_sensitive(member, seen) for member in shape.members.values()
    )


def _text(shape: Shape, value: Any) -> str:
    """A value as Java's ``toString`` writes it."""
    if shape.type == "blob":
        size = len(value)
        return f"java.nio.HeapByteBuffer[pos=0 lim={size} cap={size}]"
    if shape.type == "list":
        return "[" + ", ".join(_text(shape.member, item) for item in value) + "]"
    if shape.type == "map":
        entries = (f"{key}={_text(shape.value, item)}" for key, item in value.items())
        return "{" + ", ".join(entries) + "}"
    if shape.type == "structure":
        members = (
            f"{_lower_first(name)}={_text(member, value[name])}"
            for name, member in shape.members.items()
            if value.get(name) is not None
        )
        return f"{shape.name}({', '.join(members)})"
    if shape.type == "boolean":
        return "true" if value else "false"
    return str(value)


def _lower_first(name: str) -> str:
    return name[:1].lower() + name[1:]


def _constraints(shape: Shape) -> list[_Constraint]:
    """A shape's own constraints, in the order AWS checks them."""
    found: list[_Constraint] = []
    traits = shape.traits
    pattern = traits.get("pattern")
    if pattern is not None:
        matches = _java_pattern(pattern).fullmatch
        found.append(
            (
                f"Member must satisfy regular expression pattern: {pattern}",
                lambda value: matches(value) is not None,
            )
        )
    allowed = traits.get("enum")
    if allowed is not None:
        members = frozenset(allowed)
        found.append(
            (
                f"Member must satisfy enum value set: [{', '.join(allowed)}]",
                lambda value: value in members,
            )
        )
    numeric = shape.type in ("integer", "long", "float", "double")
    quantity = "value" if numeric else "length"
    measure: Callable[[Any], float] = (lambda value: value) if numeric else len
    greatest, least = traits.get("max"), traits.get("min")
    if greatest is not None:
        found.append(
            (
                f"Member must have {quantity} less than or equal to {greatest}",
                lambda value: measure(value) <= greatest,
            )
        )
    if least is not None:
        found.append(
            (
                f"Member must have {quantity} greater than or equal to {least}",
                lambda value: measure(value) >= least,
            )
        )
    return found


_CATEGORIES = {
    r"\p{L}": r"[^\W\d_]",
    r"\p{IsLatin}": r"[^\W\d_]",
    r"\p{N}": r"\d",
    r"\p{Z}": r"\s",
    r"\p{Alnum}": "[A-Za-z0-9]",
    r"\p{Alpha}": "[A-Za-z]",
    r"\p{ASCII}": r"[\x00-\x7f]",
    r"\p{Graph}": r"[!-~]",
    r"\p{Print}": r"[ -~]",
    r"\p{Punct}": r"[!-/:-@\[-`{-~]",
    r"\p{Space}": r"\s",
    r"\p{Digit}": r"[0-9]",
}


def _java_pattern(pattern: str) -> re.Pattern[str]:
    """A Java regular expression in Python's syntax. Raises `re.error` for what has no equal."""
    translated = pattern
    for java, python in _CATEGORIES.items():
        translated = translated.replace(java, python)
    return re.compile(translated, re.ASCII if translated == pattern else 0)
