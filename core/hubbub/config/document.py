"""A configuration as it was written: what stands where, and where it came from."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from hubbub.plugins import suggest

from .positions import Place, Positions
from .problems import Problem, dotted, fields_of, syntax_problem
from .schema import SectionSpec

ENVIRONMENT_PREFIX: Final = "HUBBUB_"
_MAX_FILE_BYTES = 4 * 1024 * 1024

T = TypeVar("T")


class Document:
    """The tables of a file, with what overrides them, and all problems found so far.

    `path` is the file; None for none. `tables` is what TOML made of it.
    """

    def __init__(self, path: Path | None) -> None:
        self.tables: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._source = str(path) if path else "configuration"
        self._positions = Positions("")
        self._origins: dict[Place, str] = {}
        if path is not None:
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_FILE_BYTES + 1)
        except OSError as error:
            self.problems.append(Problem(self._source, "", error.strerror or str(error)))
            return
        if len(data) > _MAX_FILE_BYTES:
            self.problems.append(Problem(self._source, "", f"larger than {_MAX_FILE_BYTES} bytes"))
            return
        try:
            text = data.decode().replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            column = error.start - data.rfind(b"\n", 0, error.start)
            self.problems.append(Problem(self._source, "", "not UTF-8", line, column))
            return
        try:
            self.tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            self.problems.append(syntax_problem(self._source, text, error))
            return
        self._positions = Positions(text)

    # what is wrong with it

    def problem(self, place: Place, text: str, *, at_key: bool = False) -> None:
        """Note a problem at a value, or at its key."""
        self.problems.append(self._locate(place, text, at_key=at_key))

    def warn(self, place: Place, text: str, *, at_key: bool = False) -> None:
        """Note something that works, but may not be what is meant."""
        self.warnings.append(self._locate(place, text, at_key=at_key))

    def _locate(self, place: Place, text: str, *, at_key: bool) -> Problem:
        for end in range(len(place), 0, -1):
            origin = self._origins.get(place[:end])
            if origin is not None:
                return Problem(origin, dotted(place), text)
        line, column = self._positions.find(place, at_key=at_key) or (None, None)
        return Problem(self._source, dotted(place), text, line, column)

    def raw(self, section: str, key: str, kind: type[T]) -> Iterator[tuple[int, T]]:
        """Find a key's values in an array of tables, valid or not."""
        tables = self.tables.get(section)
        for index, table in enumerate(tables if isinstance(tables, list) else ()):
            value = table.get(key) if isinstance(table, dict) else None
            if isinstance(value, kind):
                yield index, value

    # what overrides it

    def override(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        """Put in what options of the command line say, by section and key."""
        for section, values in settings.items():
            for key, value in values.items():
                self._put((section, key), value, f"option {key}")

    def override_from(
        self, environment: Mapping[str, str], specs: Mapping[str, SectionSpec]
    ) -> None:
        """Put in what variables of the environment say of these sections."""
        for variable, section, keys in variables(environment):
            spec = specs.get(section)
            if spec is not None:
                self._override_one(variable, environment[variable], spec, keys)

    def _override_one(
        self, variable: str, text: str, spec: SectionSpec, keys: Sequence[str]
    ) -> None:
        origin = f"environment variable {variable}"
        place = (spec.name, *keys)
        if spec.many:
            text = f"[[{spec.name}]] can't be set from the environment"
            self.problems.append(Problem(origin, dotted(place), text))
            return
        annotation: Any = spec.model
        metadata: Sequence[Any] = ()
        for key in keys:
            known = fields_of(annotation)
            if key in known:
                annotation, metadata = known[key].annotation, known[key].metadata
            elif get_origin(annotation) is dict:
                annotation, metadata = get_args(annotation)[1], ()
            else:
                hint = suggest(key, known)
                self.problems.append(Problem(origin, dotted(place), f"unknown key{hint}"))
                return
        self._put(place, _value_of(text, annotation, metadata), origin)

    def _put(self, place: tuple[str, ...], value: object, origin: str) -> None:
        table: Any = self.tables
        for key in place[:-1]:
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                return  # what stands there is wrong, and is reported as such
        table[place[-1]] = value
        self._origins[place] = origin


def variables(environment: Mapping[str, str]) -> Iterator[tuple[str, str, list[str]]]:
    """Find the variables that set keys, sorted: each with its section and the keys below."""
    for variable in sorted(environment):
        section, *keys = variable.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        if variable.startswith(ENVIRONMENT_PREFIX) and keys:
            yield variable, section, keys


def _value_of(text: str, annotation: object, metadata: Sequence[Any]) -> object:
    """Read the value of an environment variable: text for a key that takes it, else TOML."""
    form: Any = Annotated[(annotation, *metadata)] if metadata else annotation
    adapter: TypeAdapter[Any] = TypeAdapter(form)
    candidates: list[object] = [text]
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        pass
    else:
        # Where both would do, a list or table was not meant as text.
        candidates.insert(0 if isinstance(value, list | dict) else 1, value)
    for candidate in candidates:
        try:
            adapter.validate_python(candidate)
        except ValidationError:
            continue
        return candidate
    return candidates[0]
