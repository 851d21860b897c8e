"""What is wrong in a configuration, said so that a person finds it and can act on it."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hubbub.errors import HubbubError
from hubbub.plugins import suggest

from .positions import Place

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in the configuration.

    `source` is a file, or what else it came from; `key` the place in dotted form, such as
    "route[0].to"; `line` and `column` count from 1.
    """

    source: str
    key: str
    text: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.source, self.line, self.column) if part)
        return f"{place}: {self.key}: {self.text}" if self.key else f"{place}: {self.text}"


class ConfigError(HubbubError):
    """The configuration can't be used; `problems` has everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def dotted(place: Place) -> str:
    """Write a place as TOML would: "route[0].to"."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if re.fullmatch(r"[\w-]+", part) else f'"{part}"'
            text += f".{shown}" if text else shown
    return text


def syntax_problem(file: str, text: str, error: tomllib.TOMLDecodeError) -> Problem:
    """Say where a text is no TOML."""
    message = str(error)
    place = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    if place:
        return Problem(file, "", message[: place.start()], int(place[1]), int(place[2]))
    lines = text.splitlines() or [""]
    message = message.removesuffix(" (at end of document)")
    return Problem(file, "", message, len(lines), len(lines[-1]) + 1)


def explain(
    model: type[BaseModel], value: object, error: "ErrorDetails"
) -> tuple[Place, str, bool]:
    """Return where in `value` an error is, what to say of it, and if it is about a key."""
    annotation: object = model
    place: Place = ()
    missing = error["type"] == "missing"
    for part in error["loc"]:
        # What is not in the value (names of union members, of validators) is not shown.
        if not _is_in(part, value):
            break
        value = cast("Any", value)[part]
        known = fields_of(annotation)
        place = (*place, part)
        if error["type"] == "extra_forbidden" and place == error["loc"]:
            return place, f"unknown key{suggest(str(part), known)}", True
        if isinstance(part, str) and part in known:
            annotation = known[part].annotation
    if missing:
        return place, f"missing key {str(error['loc'][-1])!r}", True
    text = re.sub(r"^\w+ should\b", "should", error["msg"].removeprefix("Value error, "))
    if error["type"] == "literal_error" and isinstance(value, str):
        text += suggest(value, re.findall(r"'([^']*)'", text))
    return place, text, False


def fields_of(annotation: object) -> dict[str, FieldInfo]:
    """Return the fields of the models in a type, by the names they have in a file."""
    return {
        info.alias or name: info
        for model in _models(annotation)
        for name, info in model.model_fields.items()
    }


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """Find the models in a type such as `list[Model] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _is_in(part: str | int, value: object) -> bool:
    if isinstance(value, list):
        return isinstance(part, int) and part < len(value)
    return isinstance(value, dict) and part in value
