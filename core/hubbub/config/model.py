"""The whole configuration, as the hub reads it."""

from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel

from hubbub.http.settings import HttpSettings

from .problems import Problem
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

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration, checked. `Config()` is that of an empty file."""

    hub: HubSettings = field(default_factory=HubSettings)
    log: LogSettings = field(default_factory=LogSettings)
    admin: AdminSettings = field(default_factory=AdminSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    plugins: PluginSettings = field(default_factory=PluginSettings)
    endpoints: EndpointSettings = field(default_factory=EndpointSettings)
    users: tuple[UserSettings, ...] = ()
    roles: tuple[RoleSettings, ...] = ()
    routes: tuple[RouteSettings, ...] = ()
    queues: tuple[QueueSection, ...] = ()
    streams: tuple[StreamSection, ...] = ()
    plugin_sections: tuple[BaseModel, ...] = ()
    warnings: tuple[Problem, ...] = ()

    def section(self, model: type[M]) -> M:
        """Return a plugin's own section; its defaults where it is not configured.

        Raises:
            pydantic.ValidationError: it is not configured, and has keys without default.
        """
        for section in self.plugin_sections:
            if type(section) is model:
                return section
        return model()
