"""Filter policies: what AWS accepts, and what it says of the others.

The rules and words are those of Event Ruler, the library behind SNS filter policies, and the limits
those of "Filter policy constraints in Amazon SNS".
"""

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import msgspec

from hubbub_sns.json_tokens import JsonSyntaxError, Token, place, tokenize

MAX_KEYS = 5
MAX_COMBINATIONS = 150
MAX_BYTES = 256_000

_TEXT_OPERATORS = ("prefix", "suffix", "equals-ignore-case", "wildcard")
_HIDDEN = "REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled)"


class PolicyError(ValueError):
    """A policy is wrong; the text is what AWS says of it, after the prefix of the request."""


def parse_json(name: str, text: str) -> Any:
    """Read the JSON of a policy attribute called `name`. Raises `PolicyError`."""
    try:
        tokenize(text)
    except JsonSyntaxError as error:
        line, column = place(text, error.at)
        raise PolicyError(
            f"{name}: failed to parse JSON. {error.reason}\n at [Source: {_HIDDEN}; line: {line}, "
            f"column: {column}]"
        ) from None
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError as error:  # such as a number too large for a double
        raise PolicyError(f"{name}: failed to parse JSON. {error}") from None


def parse_policy(text: str, *, nested: bool) -> dict[str, Any]:
    """Read a filter policy; `nested`: its scope is the message body.

    Raises:
        PolicyError: it is none, or too complex.
    """
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise PolicyError("FilterPolicy: Filter policy is too large")
    policy = parse_json("FilterPolicy", text)
    # What AWS's rule compiler reads, and quotes, is the policy written anew, without white space.
    _Compiler(msgspec.json.encode(policy).decode()).check()
    assert isinstance(policy, dict)
    if len(policy) > MAX_KEYS:
        raise PolicyError(f"FilterPolicy: Filter policy can not have more than {MAX_KEYS} keys")
    combinations, depth = _measure(policy, 1, 1)
    if combinations > MAX_COMBINATIONS:
        raise PolicyError("FilterPolicy: Filter policy is too complex")
    if depth > 1 and not nested:
        raise PolicyError(
            "Filter policy scope MessageAttributes does not support nested filter policy"
        )
    return policy


def is_choice(name: str, rule: Any) -> bool:
    """Tell whether a member is an `$or` of policies, and not an attribute of that name."""
    return (
        name == "$or"
        and isinstance(rule, list)
        and len(rule) > 1
        and all(isinstance(each, dict) for each in rule)
    )


def _measure(policy: Mapping[str, Any], depth: int, combinations: int) -> tuple[int, int]:
    """Count the combinations of values: each list multiplies by its length and its depth."""
    deepest = depth
    for name, rule in policy.items():
        if is_choice(name, rule):
            total = 0
            for alternative in rule:
                part, below = _measure(alternative, depth, combinations)
                total += part
                deepest = max(deepest, below)
            combinations = total
        elif isinstance(rule, dict):
            combinations, below = _measure(rule, depth + 1, combinations)
            deepest = max(deepest, below)
        else:
            combinations *= len(rule) * depth
        if combinations > 1 << 40:
            break
    return combinations, deepest


class _Compiler:
    """Walks through the tokens as Event Ruler does, to stop at the same places."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokenize(text)
        self._next = 0

    def check(self) -> None:
        if self._take().kind != "{":
            self._fail("Filter is not an object")
        if self._peek().kind == "}":
            return  # an empty policy takes the filter away
        self._object()

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _fail(self, reason: str, at: int | None = None) -> NoReturn:
        index = self._tokens[self._next - 1].at if at is None else at
        line, column = place(self._text, index)
        raise PolicyError(
            f'FilterPolicy: {reason}\n at [Source: (String)"{self._text}"; line: {line}, column: '
            f"{column}]"
        )

    def _object(self) -> None:
        """The members of an object whose bracket has been taken."""
        if self._peek().kind == "}":
            self._take()
            self._fail("Empty objects are not allowed")
        while True:
            token = self._take()
            if token.kind == "}":
                return
            name = token.value
            if name == "$or" and self._is_choice():
                self._choice()
                continue
            token = self._take()
            if token.kind == "{":
                self._object()
            elif token.kind == "[":
                self._conditions()
            else:
                self._fail(f'"{name}" must be an object or an array')

    def _is_choice(self) -> bool:
        """Tell whether what follows is a list of at least two objects, and nothing else."""
        if self._peek().kind != "[":
            return False
        depth, entries = 0, 0
        for token in self._tokens[self._next :]:
            if depth == 1 and token.kind not in {"{", "]"}:
                return False
            if depth == 1 and token.kind == "{":
                entries += 1
            if token.kind in {"{", "["}:
                depth += 1
            elif token.kind in {"}", "]"}:
                depth -= 1
                if depth == 0:
                    break
        return entries > 1

    def _choice(self) -> None:
        self._take()
        while self._take().kind == "{":
            self._object()

    def _conditions(self) -> None:
        """The conditions in a list whose bracket has been taken."""
        if self._peek().kind == "]":
            self._take()
            self._fail("Empty arrays are not allowed")
        while True:
            token = self._take()
            if token.kind == "]":
                return
            if token.kind == "{":
                self._condition()
            elif token.kind == "[":
                self._fail("Match value must be String, number, true, false, or null")

    def _condition(self) -> None:
        name = self._take()
        if name.kind != "name":
            self._fail("Match expression name not found")
        check = self._operators().get(name.value)
        if check is None:
            self._fail(f"Unrecognized match type {name.value}")
        check(name.value)
        if self._take().kind != "}":
            self._fail("Only one key allowed in match expression")

    def _operators(self) -> Mapping[str, Callable[[str], None]]:
        return {
            **dict.fromkeys(_TEXT_OPERATORS, self._text_operand),
            "anything-but": self._anything_but,
            "exists": self._exists,
            "cidr": self._cidr,
            "numeric": self._numeric,
        }

    def _text_operand(self, name: str) -> None:
        token = self._take()
        if token.kind != "string":
            self._fail(f"{name} match pattern must be a string")
        if name == "wildcard":
            self._wildcard(token)

    def _wildcard(self, token: Token) -> None:
        pattern: str = token.value
        index = 0
        while index < len(pattern):
            if pattern[index] == "\\":
                if pattern[index + 1 : index + 2] not in {"*", "\\"}:
                    self._fail(f"Invalid escape character at pos {index + 1}", token.end)
                index += 1
            elif pattern[index : index + 2] == "**":
                self._fail(f"Consecutive wildcard characters at pos {index + 1}", token.end)
            index += 1

    def _exists(self, name: str) -> None:
        token = self._take()
        if not isinstance(token.value, bool):
            self._fail("exists match pattern must be either true or false.")

    def _anything_but(self, name: str) -> None:
        token = self._take()
        if token.kind == "[":
            self._anything_but_list()
        elif token.kind == "{":
            inner = self._take()
            if inner.kind != "name" or inner.value not in _TEXT_OPERATORS:
                self._fail(f"Unsupported anything-but pattern: {inner.text}")
            if self._peek().kind == "[":
                self._take()
                if self._peek().kind == "]":
                    self._take()
                    self._fail("Empty arrays are not allowed")
                while self._peek().kind != "]":
                    self._text_operand(inner.value)
                self._take()
            else:
                self._text_operand(inner.value)
            if self._take().kind != "}":
                self._fail("Only one key allowed in match expression")
        elif token.kind == "literal":
            self._fail("Value of anything-but must be an array or single string/number value.")

    def _anything_but_list(self) -> None:
        if self._peek().kind == "]":
            self._take()
            self._fail("Empty arrays are not allowed")
        kinds = set()
        while True:
            token = self._take()
            if token.kind == "]":
                break
            if token.kind not in {"string", "number"}:
                self._fail("Inside anything but list, start|null|boolean is not supported.")
            kinds.add(token.kind)
        if len(kinds) > 1:
            self._fail(
                "Inside anything but list, either all values are number or string, mixed type is "
                "not supported"
            )

    def _cidr(self, name: str) -> None:
        token = self._take()
        if token.kind != "string":
            self._fail("prefix match pattern must be a string")
        address, slash, bits = token.value.partition("/")
        if not slash or "/" in bits:
            self._fail("Malformed CIDR, one '/' required", token.end)
        if not bits.isdecimal() or not bits.isascii():
            self._fail("Malformed CIDR, mask bits must be an integer", token.end)
        try:
            ipaddress.ip_network(token.value, strict=False)
        except ValueError:
            self._fail(f"Nonstandard IP address: {address}", token.end)

    def _numeric(self, name: str) -> None:
        if self._take().kind != "[":
            self._fail("Value of numeric must be an array.")
        operator = self._take()
        if operator.kind != "string":
            self._fail(f"Invalid member in numeric match: {operator.text}")
        sign = operator.value
        token = self._take()
        if sign not in {"=", "<", "<=", ">", ">="}:
            self._fail(f"Unrecognized numeric range operator: {sign}")
        if token.kind != "number":
            self._fail(f"Value of {'equals' if sign == '=' else sign} must be numeric")
        bottom = token.value
        token = self._take()
        if token.kind == "]":
            return
        if sign not in {">", ">="}:
            self._fail("Too many elements in numeric expression")
        if token.kind != "string":
            self._fail(f"Bad value in numeric range: {token.text}")
        if token.value not in {"<", "<="}:
            self._fail(f"Bad numeric range operator: {token.value}", token.end)
        upper = token.value
        token = self._take()
        if token.kind != "number":
            self._fail(f"Value of {upper} must be numeric")
        top = token.value
        if self._take().kind != "]":
            self._fail("Too many terms in numeric range expression")
        if not bottom < top:
            self._fail("Bottom must be less than top")
