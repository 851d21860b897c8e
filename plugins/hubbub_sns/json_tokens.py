"""JSON as a list of tokens with their places, as the parser tells them that AWS uses.

SNS quotes the place where its parser (Jackson) stood when it found a policy wrong, so the places
here are Jackson's: after a token, but for a text that is not read yet after its opening quote, and
for the name of a member where its value's first token is.
"""

import re
from typing import Any, NamedTuple

import msgspec

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORD = re.compile(r"[A-Za-z0-9_$]+")
_LITERALS = {"true": True, "false": False, "null": None}
_VALUES = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"

MAX_DEPTH = 100


class JsonSyntaxError(ValueError):
    """The text is no JSON; `at` is the index of the character where that showed."""

    def __init__(self, reason: str, at: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at = at


class Token(NamedTuple):
    """A token: its `kind` is a bracket, "name", "string", "number" or "literal".

    `text` is what an error message quotes; `at` the index where the parser stands when it comes to
    the token, `end` the index after it.
    """

    kind: str
    value: Any
    text: str
    at: int
    end: int


def place(text: str, index: int) -> tuple[int, int]:
    """Return line and column, both from 1, of an index."""
    before = text[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1


def tokenize(text: str) -> list[Token]:
    """Return all tokens of one JSON value. Raises `JsonSyntaxError`."""
    reader = _Reader(text)
    reader.value(0)
    reader.skip()
    if reader.index < len(text):
        raise reader.unexpected("expected end-of-input")
    return reader.tokens


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.index = 0
        self.tokens: list[Token] = []

    def skip(self) -> str:
        """Pass white space; return the next character, "" at the end."""
        found = _SPACE.match(self.text, self.index)
        assert found is not None
        self.index = found.end()
        return self.text[self.index : self.index + 1]

    def unexpected(self, expected: str) -> JsonSyntaxError:
        character = self.text[self.index : self.index + 1]
        if not character:
            return JsonSyntaxError("Unexpected end-of-input", self.index)
        return JsonSyntaxError(
            f"Unexpected character ('{character}' (code {ord(character)})): {expected}", self.index
        )

    def bracket(self, kind: str) -> None:
        self.index += 1
        self.tokens.append(Token(kind, None, kind, self.index, self.index))

    def value(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise JsonSyntaxError(f"Document nesting depth exceeds {MAX_DEPTH}", self.index)
        character = self.skip()
        if character == "{":
            self.members(depth)
        elif character == "[":
            self.items(depth)
        elif character == '"':
            start = self.index
            value = self.string()
            self.tokens.append(Token("string", value, value, start + 1, self.index))
        elif character == "-" or character.isdecimal():
            self.number()
        else:
            self.literal()

    def string(self) -> str:
        found = _STRING.match(self.text, self.index)
        if found is None:
            raise JsonSyntaxError("Unexpected end-of-input in a String value", len(self.text))
        self.index = found.end()
        try:
            return msgspec.json.decode(found[0], type=str)
        except (msgspec.DecodeError, UnicodeError):
            raise JsonSyntaxError("Invalid surrogate pair in a String value", self.index) from None

    def number(self) -> None:
        found = _NUMBER.match(self.text, self.index)
        if found is None or len(found[0]) > 1000:
            raise self.unexpected(f"expected a valid value {_VALUES}")
        self.index = found.end()
        text = found[0]
        is_whole = text.lstrip("-").isdecimal() and len(text) <= 19
        value: int | float = int(text) if is_whole else float(text)
        self.tokens.append(Token("number", value, text, self.index, self.index))

    def literal(self) -> None:
        found = _WORD.match(self.text, self.index)
        if found is None:
            raise self.unexpected(f"expected a valid value {_VALUES}")
        if found[0] not in _LITERALS:
            raise JsonSyntaxError(
                f"Unrecognized token '{found[0]}': was expecting {_VALUES}", found.end()
            )
        self.index = found.end()
        self.tokens.append(Token("literal", _LITERALS[found[0]], found[0], self.index, self.index))

    def members(self, depth: int) -> None:
        self.bracket("{")
        if self.skip() == "}":
            return self.bracket("}")
        while True:
            if self.skip() != '"':
                raise self.unexpected("was expecting double-quote to start field name")
            name = self.string()
            if self.skip() != ":":
                raise self.unexpected("was expecting a colon to separate field name and value")
            self.index += 1
            place_of_name = len(self.tokens)
            self.tokens.append(Token("name", name, name, 0, 0))
            self.value(depth + 1)
            at = self.tokens[place_of_name + 1].at
            self.tokens[place_of_name] = Token("name", name, name, at, at)
            character = self.skip()
            if character == "}":
                return self.bracket("}")
            if character != ",":
                raise self.unexpected("was expecting comma to separate Object entries")
            self.index += 1

    def items(self, depth: int) -> None:
        self.bracket("[")
        if self.skip() == "]":
            return self.bracket("]")
        while True:
            self.value(depth + 1)
            character = self.skip()
            if character == "]":
                return self.bracket("]")
            if character != ",":
                raise self.unexpected("was expecting comma to separate Array entries")
            self.index += 1
