"""RabbitMQ itself, and a hub beside it, for all tests of a module."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from benchmarks.processes import running
from benchmarks.servers import PEERS, SYSTEM_FOLDERS

from hubbub import load_config
from hubbub.testing.hub import serve_in_thread
from tests.programs import missing

Addresses = Mapping[str, tuple[str, int]]
"""Where each protocol is served."""


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """A RabbitMQ of our own, on free ports."""
    (peer,) = [each for each in PEERS if each.name == "rabbitmq"]
    server = peer.find([*SYSTEM_FOLDERS, *map(Path, os.get_exec_path())])
    if server is None:
        missing(f"rabbitmq-server ({peer.install})")
    assert server is not None
    folder = tmp_path_factory.mktemp("rabbitmq")
    with running(server.name, server.launch(folder), folder) as process:
        yield {protocol: ("127.0.0.1", port) for protocol, port in process.ports.items()}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """A hub with AMQP and STOMP, durable but for crashes of the machine."""
    config = load_config(
        settings={
            "hub": {
                "durability": "os", "data": str(tmp_path_factory.mktemp("hub")), "stop_deadline": 5,
            },
            "log": {"level": "error"},
            "admin": {"enabled": False},
            "plugins": {"enable": ["amqp", "stomp"]},
            "amqp": {"listener": {"bind": ["127.0.0.1:0"]}},
            "stomp": {"listener": {"bind": ["127.0.0.1:0"]}},
        }
    )  # fmt: skip
    with serve_in_thread(config) as served:
        yield {"amqp": served.address("AMQP"), "stomp": served.address("stomp")}
