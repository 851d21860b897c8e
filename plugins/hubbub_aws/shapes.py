"""Shapes: the types of an AWS service model, resolved from its references."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, Generic, TypeVar, cast

_Compiled = TypeVar("_Compiled", bound=Callable[..., Any])


class ShapeGraph:
    """All shapes of one model. Shapes may refer to themselves, so they resolve on demand."""

    def __init__(self, raw: Mapping[str, Mapping[str, Any]]) -> None:
        self._raw = raw

    def __contains__(self, name: object) -> bool:
        return name in self._raw

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __getitem__(self, name: str) -> "Shape":
        return self.resolve({"shape": name})

    def resolve(self, reference: Mapping[str, Any]) -> "Shape":
        """The shape a reference names; the reference's own traits win over the shape's."""
        name = reference["shape"]
        return Shape(self, name, {**self._raw[name], **reference})


class Shape:
    """One type, as seen from one place of the model."""

    def __init__(self, graph: ShapeGraph, name: str, traits: Mapping[str, Any]) -> None:
        self._graph = graph
        self.name = name
        self.type: str = traits["type"]
        self.traits = traits

    def __repr__(self) -> str:
        return f"<Shape {self.name}: {self.type}>"

    @cached_property
    def members(self) -> "dict[str, Shape]":
        """A structure's members, in the model's order."""
        resolve = self._graph.resolve
        return {name: resolve(raw) for name, raw in self.traits.get("members", {}).items()}

    @cached_property
    def member(self) -> "Shape":
        """A list's member."""
        return self._graph.resolve(self.traits["member"])

    @cached_property
    def key(self) -> "Shape":
        """A map's key."""
        return self._graph.resolve(self.traits["key"])

    @cached_property
    def value(self) -> "Shape":
        """A map's value."""
        return self._graph.resolve(self.traits["value"])

    @property
    def location_name(self) -> str | None:
        """The name on the wire, where it is not the member's own."""
        return self.traits.get("locationName")

    @property
    def flattened(self) -> bool:
        """Whether a list or map has no element of its own around its entries (Query, XML)."""
        return bool(self.traits.get("flattened"))

    @property
    def required(self) -> tuple[str, ...]:
        """The members a structure must have."""
        return tuple(self.traits.get("required", ()))

    @property
    def is_document(self) -> bool:
        """Whether any JSON value may stand here."""
        return bool(self.traits.get("document"))

    @property
    def is_event_stream(self) -> bool:
        """Whether this is a stream of events, which follows the answer rather than being in it."""
        return bool(self.traits.get("eventstream"))


class CompiledStructures(Generic[_Compiled]):
    """Structures compiled to functions, each once, also those that contain themselves."""

    def __init__(self) -> None:
        self._cells: dict[str, list[_Compiled]] = {}

    def get(self, shape: Shape, compile_: Callable[[Shape], _Compiled]) -> _Compiled:
        """The function for `shape`, made by `compile_` at the first call."""
        cell = self._cells.get(shape.name)
        if cell is None:
            cell = self._cells[shape.name] = []
            cell.append(compile_(shape))
        elif not cell:
            # The shape contains itself: its function exists when a value gets there.
            return cast("_Compiled", _later(cell))
        return cell[0]


def _later(cell: list[_Compiled]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        return cell[0](*args)

    return call
