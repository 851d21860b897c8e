"""The addresses in a configuration: where they stand, and free ones for demos and tests."""

import dataclasses
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel

from .config import Config
from .server import ListenerSettings

_M = TypeVar("_M", bound=BaseModel)


def on_free_ports(config: Config) -> Config:
    """Return the configuration with port 0 for every address that a server would bind."""
    return dataclasses.replace(
        config,
        admin=_freed(config.admin),
        plugin_sections=tuple(_freed(section) for section in config.plugin_sections),
    )


def _freed(model: _M) -> _M:
    """Free the ports in a section and in all the sections inside it."""
    changes: dict[str, object] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            changes[name] = _freed(value)
        elif name == "bind" and isinstance(model, ListenerSettings):
            changes[name] = [f"{address.rpartition(':')[0]}:0" for address in value]
    return model.model_copy(update=changes)


def listener_key(sections: Mapping[str, BaseModel], settings: ListenerSettings) -> str | None:
    """Return where a listener's addresses stand in the configuration: "aws.listener.bind".

    `sections` are searched, by name, for the very object; None if they do not hold it.
    """
    for name, section in sections.items():
        if section is settings:
            return f"{name}.bind"
        inner = {field: getattr(section, field) for field in type(section).model_fields}
        models = {field: value for field, value in inner.items() if isinstance(value, BaseModel)}
        if (key := listener_key(models, settings)) is not None:
            return f"{name}.{key}"
    return None
