"""A hub that serves AMQP in a thread of its own, for clients that block."""

from collections.abc import Iterator
from typing import Any

import pika  # type: ignore[import-untyped]
import pytest

from hubbub import Config, load_config
from hubbub.testing.hub import ServedHub, serve_in_thread


def make_config(**amqp: Any) -> Config:
    """A hub with nothing but AMQP, which keeps nothing."""
    return load_config(
        settings={
            "hub": {"durability": "memory", "stop_deadline": 5},
            "log": {"level": "error"},
            "admin": {"enabled": False},
            "plugins": {"enable": ["amqp"]},
            "amqp": {
                "listener": {"bind": ["127.0.0.1:0"]},
                "vhosts": {"/": "default", "other": "other"},
                **amqp,
            },
        }
    )


@pytest.fixture(scope="module")
def served() -> Iterator[ServedHub]:
    """A hub for all tests of a module: they use names of their own."""
    with serve_in_thread(make_config()) as hub:
        yield hub


@pytest.fixture
def parameters(served: ServedHub) -> pika.ConnectionParameters:
    host, port = served.address("AMQP")
    return pika.ConnectionParameters(host, port, blocked_connection_timeout=20)


@pytest.fixture
def connection(parameters: pika.ConnectionParameters) -> Iterator[pika.BlockingConnection]:
    connection = pika.BlockingConnection(parameters)
    yield connection
    if connection.is_open:
        connection.close()


@pytest.fixture
def channel(connection: pika.BlockingConnection) -> Any:
    return connection.channel()
