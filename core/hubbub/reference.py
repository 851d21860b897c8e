"""Writes docs/configuration.md and docs/hooks.md from the code, so that they can't rot."""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from . import hookspecs as hooks_module
from .config import ENVIRONMENT_PREFIX, SectionSpec, Template, Unit, sections
from .hookspecs import Hooks
from .plugins import PluginManager

_GENERATED = "<!-- Written by `hubbub reference`; do not edit. -->\n"


def documents(manager: PluginManager) -> dict[str, str]:
    """Return the generated documents by file name, for the plugins of a manager."""
    return {"configuration.md": configuration(manager), "hooks.md": hooks()}


def configuration(manager: PluginManager) -> str:
    """Return the reference of hubbub.toml."""
    parts = ["# Configuration\n", _GENERATED, _CONFIGURATION_TEXT]
    parts += [_section(spec) for spec in sections(manager)]
    template = (inspect.getdoc(Template) or "").partition("\n\nRaises:")[0]
    parts.append(f"## Templates\n\n{template}\n")
    return "\n".join(parts)


_CONFIGURATION_TEXT = """hubbub reads `hubbub.toml` from the current folder, or the file given with
`--config`. Every key has a default unless it says "required". `hubbub check FILE` finds every
mistake in a file, and `hubbub schema` prints its JSON schema for editors.

An environment variable wins over the file: `HUBBUB_SECTION__KEY`, and `HUBBUB_SECTION__TABLE__KEY`
for a key in a table of the section. Its value is text where the key holds text, and TOML elsewhere:
`HUBBUB_PLUGINS__DISABLE='["mqtt"]'`. Arrays of tables (`[[route]]`) can't be set this way.

A *duration* is a number of seconds, or text with a unit: `"500ms"`, `"10s"`, `"5m"`, `"1.5h"`,
`"7d"`. A *size* is a number of bytes, or text with a unit: `"64KiB"`, `"512MB"`, `"2GiB"`.

An *address* is a topic (`alarms/fire`), a queue (`$queue/orders`) or a stream
(`$stream/telemetry`). In a *pattern*, `+` stands for one level and `#` for any number of levels.
"""


def _section(spec: SectionSpec) -> str:
    title = f"[[{spec.name}]]" if spec.many else f"[{spec.name}]"
    owner = f" Section of the plugin `{spec.plugin}`." if spec.plugin else ""
    summary = (inspect.getdoc(spec.model) or "").partition("\n\n")[0].replace("\n", " ")
    variable = None if spec.many else f"{ENVIRONMENT_PREFIX}{spec.name}__".upper()
    rows = [
        f"## `{title}`\n",
        f"{summary}{owner}\n",
        "| Key | Type | Default | Unit | Meaning | Environment |",
        "|---|---|---|---|---|---|",
        *_rows(spec.model, "", variable),
    ]
    return "\n".join(rows) + "\n"


def _rows(model: type[BaseModel], prefix: str, variable: str | None) -> Iterator[str]:
    for attribute, info in model.model_fields.items():
        name = info.alias or attribute
        own_variable = None if variable is None else variable + name.upper()
        kind, unit = _type(info.annotation, info.metadata)
        inner, many = _inner_model(info.annotation)
        cells = [
            f"`{prefix}{name}`",
            kind,
            _default(info, kind),
            unit,
            info.description or "",
            f"`{own_variable}`" if own_variable else "",
        ]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        if inner is not None:
            inner_variable = None if many or own_variable is None else f"{own_variable}__"
            yield from _rows(inner, f"{prefix}{name}{'[]' if many else ''}.", inner_variable)


def _inner_model(annotation: object) -> tuple[type[BaseModel] | None, bool]:
    """Return the model that a field holds, and whether it holds several."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    many = get_origin(annotation) in {list, tuple, dict}
    for argument in get_args(annotation):
        model, inner_many = _inner_model(argument)
        if model is not None:
            return model, many or inner_many
    return None, False


def _type(annotation: object, metadata: Sequence[object]) -> tuple[str, str]:
    """Return the name of a type for a person, and the unit of its values."""
    unit = next((str(each) for each in metadata if isinstance(each, Unit)), "")
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _type(inner, [*metadata, *more])
    if get_origin(annotation) in {Union, UnionType}:
        alternatives = [
            _type(each, metadata) for each in get_args(annotation) if each is not NoneType
        ]
        names = dict.fromkeys(name for name, _ in alternatives)
        return " or ".join(names), unit or next((each for _, each in alternatives if each), "")
    if annotation is float and unit == "seconds":
        return "duration", unit
    if annotation is int and unit == "bytes":
        return "size", unit
    return _plain_type(annotation) + _range(metadata), unit


def _plain_type(annotation: object) -> str:
    arguments = get_args(annotation)
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{json.dumps(each)}`" for each in arguments)
    if get_origin(annotation) in {list, tuple}:
        return f"array of {_type(arguments[0], ())[0]}"
    if get_origin(annotation) is dict:
        return f"table of {_type(arguments[1], ())[0]}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    names: dict[object, str] = {
        bool: "boolean",
        int: "integer",
        float: "number",
        str: "text",
        SecretStr: "text",
        Path: "path",
    }
    return names.get(annotation, "any value")


def _range(metadata: Sequence[object]) -> str:
    """Say what numbers are allowed."""
    words = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}
    limits = [
        f"{word} {getattr(each, name)}"
        for name, word in words.items()
        for each in metadata
        if getattr(each, name, None) is not None
    ]
    return f", {', '.join(limits)}" if limits else ""


def _default(info: FieldInfo, kind: str) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None or isinstance(value, BaseModel):
        return ""
    if isinstance(value, list) and any(isinstance(each, BaseModel) for each in value):
        return f"`{json.dumps([each.model_dump(exclude_defaults=True) for each in value])}`"
    if kind == "duration":
        return f"`{_in_units(value, _DURATIONS)}`"
    if kind == "size":
        return f"`{_in_units(value, _SIZES)}`"
    return f"`{json.dumps(value, default=str)}`"


_DURATIONS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_SIZES = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10, "GB": 10**9, "MB": 10**6, "KB": 10**3}


def _in_units(value: float, units: Mapping[str, int]) -> str:
    """Write a number with the unit that makes it shortest."""
    written = [f'"{value // worth:g}{unit}"' for unit, worth in units.items() if value % worth == 0]
    return min(written, key=len, default=f"{value:g}") if value else "0"


def hooks() -> str:
    """Return the reference of all hooks."""
    parts = ["# Hooks\n", _GENERATED, (hooks_module.__doc__ or "").partition("\n\n")[2]]
    parts += [_hook(function) for function in hook_specifications()]
    parts.append("## Types\n")
    parts += [_class(each) for each in _TYPES]
    return "\n".join(parts)


def hook_specifications() -> list[Callable[..., object]]:
    """Return the hooks as functions, in the order of the reference."""
    return [each for name, each in vars(Hooks).items() if name.startswith("hubbub_")]


_TYPES = (
    hooks_module.ConfigSection,
    hooks_module.Server,
    hooks_module.Endpoint,
    hooks_module.HttpRoute,
    hooks_module.WebSocketProtocol,
    hooks_module.Client,
    hooks_module.Scene,
)


def _hook(function: Callable[..., object]) -> str:
    signature = inspect.signature(function)
    parameters = [each for each in signature.parameters.values() if each.name != "self"]
    shown = signature.replace(parameters=parameters)
    text = inspect.getdoc(function) or ""
    code = f"{function.__name__}{shown}".replace("'", "")
    return f"## {function.__name__}\n\n`{code}`\n\n{text}\n"


def _class(cls: type) -> str:
    signature = f"{cls.__name__}{inspect.signature(cls)}".replace("'", "").removesuffix(" -> None")
    return f"### {cls.__name__}\n\n`{signature}`\n\n{inspect.getdoc(cls)}\n"


def outdated(folder: Path, manager: PluginManager) -> list[Path]:
    """Return the documents in a folder that differ from what the code says, or are missing.

    Raises:
        OSError: one can't be read.
    """
    return [
        path
        for name, text in documents(manager).items()
        if not (path := folder / name).exists() or path.read_text("utf-8") != text
    ]


def write(folder: Path, manager: PluginManager) -> list[Path]:
    """Write the documents into a folder; return those that changed.

    Raises:
        OSError: one can't be read or written.
    """
    texts = documents(manager)
    changed = outdated(folder, manager)
    for path in changed:
        path.write_text(texts[path.name], "utf-8")
    return changed
