"""Which operation a request is for, by its method and path. Knows no hub and no socket.

A template is a path with parameters: ``/queues/{name}/messages`` takes one level each;
``/topics/{topic...}`` takes all levels that are left, one at least. A parameter is percent-decoded
after the path was split, so an encoded ``/`` stays within its level.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Generic, NamedTuple, Protocol, TypeVar
from urllib.parse import unquote_to_bytes


class Routed(Protocol):
    """What the router needs to know of an operation."""

    @property
    def method(self) -> str:
        """Its method, such as GET."""

    @property
    def path(self) -> str:
        """Its template."""

    @property
    def safe(self) -> bool:
        """Whether a GET serves HEAD too."""


T = TypeVar("T", bound=Routed)

REST: Final = "..."
"""Ends the name of a parameter that takes all levels that are left."""


class Match(NamedTuple, Generic[T]):
    """An operation and the values of its path's parameters; a `{name...}` has a list."""

    operation: T
    levels: Mapping[str, tuple[str, ...]]


class BadPathError(ValueError):
    """The path is no UTF-8."""


class NoPathError(LookupError):
    """Nothing is at this path."""


class NoMethodError(LookupError):
    """Something is at this path, but it does not take this method; `allowed` does."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(allowed)
        self.allowed = allowed


class _Node(Generic[T]):
    __slots__ = ("literal", "operations", "parameter", "rest")

    def __init__(self) -> None:
        self.literal: dict[str, _Node[T]] = {}
        self.parameter: tuple[str, _Node[T]] | None = None
        self.rest: tuple[str, dict[str, T]] | None = None
        self.operations: dict[str, T] = {}


class Router(Generic[T]):
    """Finds operations. A literal level is preferred to a parameter, that to the rest."""

    def __init__(self, operations: Iterable[T] = ()) -> None:
        self._root: _Node[T] = _Node()
        for operation in operations:
            self.add(operation)

    def add(self, operation: T) -> None:
        """Add an operation.

        Raises:
            ValueError: there is one at this path for this method.
        """
        node = self._root
        found = node.operations
        for level in operation.path.split("/")[1:]:
            if not level.startswith("{"):
                node = node.literal.setdefault(level, _Node())
                found = node.operations
                continue
            name = level[1:-1]
            if name.endswith(REST):
                if node.rest is None:
                    node.rest = name.removesuffix(REST), {}
                found = node.rest[1]
                break
            if node.parameter is None:
                node.parameter = name, _Node()
            node = node.parameter[1]
            found = node.operations
        if operation.method in found:
            raise ValueError(f"two operations are {operation.method} {operation.path}")
        found[operation.method] = operation

    def find(self, method: str, path: str) -> Match[T]:
        """Return the operation of a request; HEAD is served by GET.

        Raises:
            NoPathError, NoMethodError, BadPathError.
        """
        operations, levels = self._walk(path)
        operation = operations.get(method)
        if operation is None and method == "HEAD":
            operation = operations.get("GET")
            if operation is not None and not operation.safe:
                operation = None
        if operation is None:
            raise NoMethodError(_allowed(operations))
        return Match(operation, levels)

    def allowed(self, path: str) -> tuple[str, ...]:
        """Return the methods that a path takes.

        Raises:
            NoPathError, BadPathError.
        """
        return _allowed(self._walk(path)[0])

    def _walk(self, path: str) -> tuple[Mapping[str, T], dict[str, tuple[str, ...]]]:
        node = self._root
        values: dict[str, tuple[str, ...]] = {}
        levels = path.split("/")[1:]
        rest: tuple[str, dict[str, T]] | None = None
        begins = 0
        for index, level in enumerate(levels):
            if node.rest is not None:
                rest, begins = node.rest, index
            literal = node.literal.get(level)
            if literal is not None:
                node = literal
            elif node.parameter is not None and level:
                name, node = node.parameter
                values[name] = (_decode(level),)
            else:
                break
        else:
            if node.operations:
                return node.operations, values
        if rest is None or levels[begins:] == [""]:
            raise NoPathError(path)
        values[rest[0]] = tuple(map(_decode, levels[begins:]))
        return rest[1], values


def _allowed(operations: Mapping[str, Routed]) -> tuple[str, ...]:
    methods = {*operations, "OPTIONS"}
    get = operations.get("GET")
    if get is not None and get.safe:
        methods.add("HEAD")
    return tuple(sorted(methods))


def _decode(level: str) -> str:
    if "%" not in level and level.isascii():
        return level
    try:
        # What came beyond ASCII was read as Latin-1, byte for byte.
        return unquote_to_bytes(level.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise BadPathError(f"the path's level {level[:80]!r} is not UTF-8") from None
