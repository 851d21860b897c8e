"""A configuration whose servers all listen on free ports: for demos and tests."""

import dataclasses
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
