"""Which sections there are, those of plugins included, and their JSON schema."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from hubbub.http.settings import HttpSettings
from hubbub.plugins import PluginManager

from .sections import (
    AdminSettings,
    AuthSettings,
    EndpointSettings,
    HubSettings,
    LogSettings,
    PluginSettings,
    QueueSection,
    RoleSettings,
    RouteSettings,
    StreamSection,
    UserSettings,
)

TABLES: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        "hub": HubSettings,
        "log": LogSettings,
        "admin": AdminSettings,
        "http": HttpSettings,
        "auth": AuthSettings,
        "plugins": PluginSettings,
        "endpoints": EndpointSettings,
    }
)
"""The tables of the core, by name."""
ARRAYS: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        "users": UserSettings,
        "role": RoleSettings,
        "route": RouteSettings,
        "queue": QueueSection,
        "stream": StreamSection,
    }
)
"""The arrays of tables of the core, by name."""


@dataclass(frozen=True, slots=True)
class SectionSpec:
    """A table of hubbub.toml: `[name]`, or `[[name]]` if there may be `many`.

    `plugin` is its owner, empty for the core's own.
    """

    name: str
    model: type[BaseModel]
    many: bool = False
    plugin: str = ""


def sections(manager: PluginManager) -> list[SectionSpec]:
    """Return all sections: the core's own, then the plugins', in order of plugin."""
    owned = manager.sections()
    return [
        *core_sections(),
        *(SectionSpec(each.name, each.model, plugin=owner) for owner, each in owned),
    ]


def core_sections() -> list[SectionSpec]:
    """Return the sections of the core itself."""
    return [
        *(SectionSpec(name, model) for name, model in TABLES.items()),
        *(SectionSpec(name, model, many=True) for name, model in ARRAYS.items()),
    ]


def json_schema(manager: PluginManager) -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of hubbub.toml."""
    definitions: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for spec in sections(manager):
        schema = spec.model.model_json_schema(ref_template="#/$defs/{model}")
        definitions |= schema.pop("$defs", {})
        properties[spec.name] = {"type": "array", "items": schema} if spec.many else schema
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hubbub.toml",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": definitions,
    }
