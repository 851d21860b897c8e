"""hubbub.toml: its keys, and how it is read, checked and overridden from the environment.

Everything has a default. Each key `key` of a table `[section]` can be set by the environment
variable `HUBBUB_SECTION__KEY` too, which wins over the file: its value is taken as text where the
key holds text, and read as TOML elsewhere.
"""

from .document import ENVIRONMENT_PREFIX
from .model import Config
from .positions import Positions
from .problems import ConfigError, Problem
from .reading import load_config
from .schema import SectionSpec, json_schema, sections
from .sections import (
    AccessKeySettings,
    AdminSettings,
    AuthSettings,
    EndpointSettings,
    HubSettings,
    LogSettings,
    MapSettings,
    PermissionSettings,
    PluginSettings,
    QueueSection,
    RoleSettings,
    RouteSettings,
    Section,
    StreamSection,
    TransformSettings,
    UserSettings,
)
from .templates import Template
from .values import Duration, Size, Unit, parse_duration, parse_size

__all__ = [
    "ENVIRONMENT_PREFIX",
    "AccessKeySettings",
    "AdminSettings",
    "AuthSettings",
    "Config",
    "ConfigError",
    "Duration",
    "EndpointSettings",
    "HubSettings",
    "LogSettings",
    "MapSettings",
    "PermissionSettings",
    "PluginSettings",
    "Positions",
    "Problem",
    "QueueSection",
    "RoleSettings",
    "RouteSettings",
    "Section",
    "SectionSpec",
    "Size",
    "StreamSection",
    "Template",
    "TransformSettings",
    "Unit",
    "UserSettings",
    "json_schema",
    "load_config",
    "parse_duration",
    "parse_size",
    "sections",
]
