"""The filter kind "sns": a filter policy over the attributes or the body of a message."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from hubbub import FilterError, Message, compile_filter
from hubbub_sns.messages import properties_of
from hubbub_sns.policy_syntax import PolicyError, is_choice, parse_policy

KIND = "sns"
BODY = "MessageBody"
ATTRIBUTES = "MessageAttributes"

MAX_REMEMBERED = 10_000
DECIMALS = 6
"""Places after the point to which numbers are compared, as in Event Ruler."""

Accepts = Callable[[Message], bool]


class Filters:
    """Makes predicates from policies; equal policies get the same one, so they are asked once.

    A body that many policies look at is read once.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], Accepts] = {}
        self._last: tuple[Message, Any] | None = None
        self._decode = msgspec.json.Decoder(float_hook=_read_float).decode

    def from_spec(self, spec: Any) -> Accepts:
        """Make the predicate of `{"scope": SCOPE, "policy": POLICY}`. Raises `ValueError`."""
        if not isinstance(spec, Mapping) or spec.keys() - {"scope", "policy"}:
            raise ValueError('an "sns" filter is a mapping of scope and policy')
        scope = spec.get("scope", ATTRIBUTES)
        if scope not in {BODY, ATTRIBUTES}:
            raise ValueError(f"the scope is {BODY} or {ATTRIBUTES}, not {scope!r}")
        text = msgspec.json.encode(spec.get("policy")).decode()
        return self.make(text, scope)

    def make(self, text: str, scope: str) -> Accepts:
        """Make the predicate of a policy given as JSON. Raises `PolicyError`."""
        key = (scope, text)
        accepts = self._made.get(key)
        if accepts is None:
            policy = parse_policy(text, nested=scope == BODY)
            try:
                matches = compile_filter(_plain(policy))
            except FilterError as error:
                raise PolicyError(f"FilterPolicy: {error}") from None
            if scope == BODY:
                accepts = self._of_body(matches)
            elif _has_numbers(policy):
                accepts = _of_numbers(matches)
            else:
                accepts = _of_attributes(matches)
            if len(self._made) >= MAX_REMEMBERED:
                self._made.clear()
            self._made[key] = accepts
        return accepts

    def _of_body(self, matches: Callable[[Mapping[str, Any]], bool]) -> Accepts:
        def accepts(message: Message) -> bool:
            body = self._body(message)
            return isinstance(body, dict) and matches(body)

        return accepts

    def _body(self, message: Message) -> Any:
        last = self._last
        if last is not None and last[0] is message:
            return last[1]
        try:
            body = self._decode(message.body)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            body = None
        self._last = (message, body)
        return body


def _of_attributes(matches: Callable[[Mapping[str, Any]], bool]) -> Accepts:
    """Without any attribute nothing matches, in AWS not even ``{"exists": false}``."""
    return lambda message: bool(message.headers) and matches(message.headers)


def _of_numbers(matches: Callable[[Mapping[str, Any]], bool]) -> Accepts:
    return lambda message: bool(message.headers) and matches(_comparable(message))


def _comparable(message: Message) -> dict[str, Any]:
    """Return a message's attributes with the numbers to compare, however they were written."""
    notes = properties_of(message).notes
    attributes = {}
    for name, value in message.headers.items():
        note = notes.get(name)
        if type(value) is str and note is not None and note.data_type.startswith("Number"):
            attributes[name] = _rounded(float(value))  # written with more digits than floats have
        else:
            attributes[name] = _rounded(value)
    return attributes


def _read_float(text: str) -> float:
    return round(float(text), DECIMALS)


def _rounded(value: Any) -> Any:
    """Return a value with all the numbers in it rounded."""
    if type(value) is float and math.isfinite(value):
        return round(value, DECIMALS)
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return value


def _has_numbers(rule: Any) -> bool:
    if isinstance(rule, Mapping):
        return any(_has_numbers(each) for each in rule.values())
    if isinstance(rule, list):
        return any(_has_numbers(each) for each in rule)
    return isinstance(rule, int | float) and not isinstance(rule, bool)


def _plain(policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return the policy as `compile_filter` reads it.

    There `$or` is always a choice; here an attribute may have that name, and its path spells it.
    """
    plain: dict[str, Any] = {}
    for name, rule in policy.items():
        if is_choice(name, rule):
            plain[name] = [_plain(each) for each in rule]
        elif name == "$or":
            raise PolicyError("FilterPolicy: an attribute can't be named $or")
        else:
            plain[name] = _plain(rule) if isinstance(rule, dict) else _rounded(rule)
    return plain
