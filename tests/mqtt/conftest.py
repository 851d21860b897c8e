from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from hubbub import load_config
from hubbub.testing.hub import ServedHub, serve_in_thread
from tests.mqtt.raw import Raw

Serve = Callable[..., ServedHub]
Connect = Callable[..., Raw]


def serve_mqtt(
    data: Path, file: str = "", plugins: Mapping[str, object] | None = None, **sections: Any
) -> AbstractContextManager[ServedHub]:
    """A hub in a thread that serves MQTT on a free port.

    Give sections of its configuration, or the text of a file for what has no keys.
    """
    path = data.with_suffix(".toml")
    path.write_text(file)
    settings = {
        "admin": {"enabled": False},
        "plugins": {"enable": ["mqtt"]},
        "log": {"level": "error"},
        **sections,
        "hub": {"data": str(data), "durability": "memory", **sections.get("hub", {})},
        "mqtt": {
            "listener": {"bind": ["127.0.0.1:0"]},
            "sys_interval": 0,
            **sections.get("mqtt", {}),
        },
    }
    return serve_in_thread(load_config(path, settings=settings), plugins=plugins)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedHub]:
    """One hub for all tests of a module, which use topics and client identifiers of their own."""
    with serve_mqtt(tmp_path_factory.mktemp("data")) as served:
        yield served


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serve a hub with a configuration of the test's own."""
    with ExitStack() as stack:
        yield lambda **sections: stack.enter_context(serve_mqtt(tmp_path / "data", **sections))


@pytest.fixture
def client(hub: ServedHub) -> Iterator[Connect]:
    """Make raw connections to the module's hub: `client()`; they are cut at the end."""
    with ExitStack() as stack:
        yield lambda *args: stack.enter_context(Raw(hub.address("MQTT"), *args))
