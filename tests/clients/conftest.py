"""A hub process that serves every protocol, and the programs that talk to it."""

from collections.abc import Iterator
from importlib import import_module
from uuid import uuid4

import pytest

from hubbub.testing import HubProcess
from tests.programs import JavaScript

CONFIG = """
admin.enabled = false
plugins.enable = ["amqp", "aws", "sns", "sqs", "kinesis", "mqtt", "stomp"]
amqp.listener.bind = ["127.0.0.1:0"]
aws.listener.bind = ["127.0.0.1:0"]
mqtt.listener.bind = ["127.0.0.1:0"]
mqtt.websocket.listener.bind = ["127.0.0.1:0"]
stomp.listener.bind = ["127.0.0.1:0"]
stomp.websocket.listener.bind = ["127.0.0.1:0"]
"""


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """One hub for all tests; each uses names of its own."""
    with HubProcess(tmp_path_factory.mktemp("hub"), CONFIG) as process:
        yield process
        assert process.stop() == 0


@pytest.fixture(scope="session")
def celery_connections(hub: HubProcess) -> Iterator[None]:
    """Close at the end what Celery's applications share, so that the hub need not wait for it."""
    yield
    import_module("kombu.pools").reset()


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"n{uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> JavaScript:
    """Node.js with the client libraries."""
    return JavaScript(tmp_path_factory.mktemp("js"))
