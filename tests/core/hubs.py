"""Hubs for tests: with what is given, and nothing that is installed."""

from collections.abc import Mapping
from typing import Any

from hubbub.app import Hub
from hubbub.auth import Principal
from hubbub.config import AdminSettings, Config, HubSettings, PluginSettings
from hubbub.session import Session


class RecordingLog:
    """A logger that keeps what it is told: (level, event, fields)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Any:
        def record(event: str, **fields: Any) -> None:
            self.events.append((level, event, fields))

        return record

    def told(self, level: str) -> list[str]:
        return [event for each, event, _ in self.events if each == level]


def make_hub(
    given: Mapping[str, object] | None = None, /, *, log: Any = None, **settings: Any
) -> Hub:
    """Make a hub with plugins `given` by name.

    It keeps nothing and has no admin listener, unless `settings` say so.
    """
    defaults: dict[str, Any] = {
        "hub": HubSettings(durability="memory", stop_deadline=2),
        "admin": AdminSettings(enabled=False),
        "plugins": PluginSettings(enable=[]),
    }
    config = Config(**{**defaults, **settings})
    return Hub(config, plugins=given, log=RecordingLog() if log is None else log)


def session_of(hub: Hub, client: str = "tester", realm: str = "default") -> Session:
    """Make a session that may do everything."""
    principal = Principal(client, realms=("*",))
    return hub.session(principal, protocol="test-1", client=client, realm=realm)
