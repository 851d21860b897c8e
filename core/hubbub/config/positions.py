"""Where keys and values stand in a TOML document."""

import re
import tomllib
from typing import TypeAlias

Place: TypeAlias = tuple[str | int, ...]
"""A place in a document: keys, and indexes in arrays."""

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]+")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'",
    re.DOTALL,
)


class Positions:
    """Where keys and values stand in a TOML document that tomllib has accepted.

    Only finds places, so it need not check anything: the document is known to be right.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._keys: dict[Place, int] = {}
        self._values: dict[Place, int] = {}
        self._arrays: dict[Place, int] = {}
        """The index of the last table of each array of tables."""
        self._scan()

    def find(self, path: Place, *, at_key: bool = False) -> tuple[int, int] | None:
        """Return line and column, from 1, of a value (or its key), or of what it is in."""
        for end in range(len(path), 0, -1):
            first, second = (self._keys, self._values)
            if not at_key or end < len(path):
                first, second = (self._values, self._keys)
            offset = first.get(path[:end], second.get(path[:end]))
            if offset is not None:
                line_start = self._text.rfind("\n", 0, offset) + 1
                return self._text.count("\n", 0, offset) + 1, offset - line_start + 1
        return None

    def paths(self) -> set[Place]:
        """Return all places that are known."""
        return self._keys.keys() | self._values.keys()

    def _scan(self) -> None:
        table: Place = ()
        while self._skip_blank():
            if self._text.startswith("[[", self._at):
                self._at += 2
                table = self._header(many=True)
                self._at += 2
            elif self._text[self._at] == "[":
                self._at += 1
                table = self._header(many=False)
                self._at += 1
            else:
                self._pair(table)

    def _skip_blank(self) -> bool:
        """Go to the next thing that is not space, newline or comment; False at the end."""
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._at < len(self._text)

    def _header(self, *, many: bool) -> Place:
        table: Place = ()
        keys = self._key()
        for number, (key, offset) in enumerate(keys, start=1):
            table = (*table, key)
            self._keys.setdefault(table, offset)
            if many and number == len(keys):
                self._arrays[table] = self._arrays.get(table, -1) + 1
            if table in self._arrays:
                table = (*table, self._arrays[table])
                self._keys.setdefault(table, offset)
        return table

    def _key(self) -> list[tuple[str, int]]:
        """Read a key, dotted or not: its parts and where they are."""
        parts: list[tuple[str, int]] = []
        while True:
            self._skip_blank()
            start = self._at
            if self._text[start] in "\"'":
                self._string()
                quoted = self._text[start : self._at]
                parts.append((tomllib.loads(f"key = {quoted}")["key"], start))
            else:
                match = _BARE_KEY.match(self._text, start)
                assert match is not None
                self._at = match.end()
                parts.append((match[0], start))
            self._skip_blank()
            if self._text[self._at] != ".":
                return parts
            self._at += 1

    def _pair(self, table: Place) -> None:
        for key, offset in self._key():
            table = (*table, key)
            self._keys.setdefault(table, offset)
        self._at += 1  # the "="
        self._value(table)

    def _value(self, path: Place) -> None:
        self._skip_blank()
        self._values[path] = self._at
        first = self._text[self._at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._items("]", path, array=True)
        elif first == "{":
            self._items("}", path, array=False)
        else:
            match = _SCALAR.match(self._text, self._at)
            assert match is not None
            self._at = match.end()

    def _items(self, end: str, path: Place, *, array: bool) -> None:
        self._at += 1
        index = 0
        while self._skip_blank() and self._text[self._at] != end:
            if array:
                self._value((*path, index))
                index += 1
            else:
                self._pair(path)
            self._skip_blank()
            if self._text[self._at] == ",":
                self._at += 1
        self._at += 1

    def _string(self) -> None:
        match = _STRING.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
