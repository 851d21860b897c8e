"""stompjs over WebSocket by its address alone."""

from typing import Any

import pytest

from hubbub.testing import HubProcess
from tests.programs import JavaScript


@pytest.fixture(params=["1.1", "1.2"])
def version(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def tell(javascript: JavaScript, hub: HubProcess, name: str, version: str) -> Any:
    """Run one story of the script."""
    url = hub.url("STOMP over WebSocket")
    return lambda story, **more: javascript.run(
        "stomp", url=url, version=version, story=story, name=name, **more
    )


def test_queue(tell: Any, name: str, version: str) -> None:
    # stompjs escapes values in 1.2 alone, and reads an escaped backslash before c, n or r wrongly.
    own = "a:b\\x\nd" if version == "1.2" else "plain"
    assert tell("queue", own=own) == {
        "version": version,
        "beats": True,
        "body": ["größe ☃", "größe ☃"],
        "headers": ["text/plain", "c1", own],
        "destination": f"/queue/{name}",
        "binary": True,
    }


def test_topic(tell: Any) -> None:
    assert tell("topic") == {
        "orders": ["1", True],
        "all": ["/topic/.orders.new", "/topic/.users.new", "/topic/.orders.large"],
    }


def test_transaction(tell: Any) -> None:
    assert tell("transaction") == ["outside", "one", "two"]


def test_an_error(tell: Any) -> None:
    assert tell("refusal") == {"message": "Unknown destination"}
