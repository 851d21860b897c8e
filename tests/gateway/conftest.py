"""A hub that serves HTTP on a real socket, and clients that we did not write."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from hubbub.config import load_config
from hubbub.testing.hub import ServedHub, serve_in_thread

SETTINGS: dict[str, Any] = {
    "hub": {"durability": "memory"},
    "log": {"level": "error"},
    "admin": {"enabled": False},
    "plugins": {"enable": ["gateway"]},
    "gateway": {"listener": {"bind": ["127.0.0.1:0"]}},
}
TIMEOUT = 10.0
_NUMBERS = itertools.count()


def url_of(hub: ServedHub) -> str:
    return hub.endpoint("HTTP").url


@pytest.fixture(scope="module")
def hub() -> Iterator[ServedHub]:
    with serve_in_thread(load_config(settings=SETTINGS)) as served:
        yield served


@pytest.fixture
def client(hub: ServedHub) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url_of(hub), timeout=TIMEOUT) as made:
        yield made


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    return f"{request.node.name.partition('[')[0]}-{next(_NUMBERS)}"


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Wait until something is so that tells nobody when it becomes so."""

    def wait(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    return wait
