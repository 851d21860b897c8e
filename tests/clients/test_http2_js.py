"""HTTP/2 by Node's own client, and by the one AWS client that speaks nothing else: Kinesis."""

from typing import Any

import pytest

from hubbub.testing import HubProcess
from tests.programs import JavaScript


def test_node_sends_many_requests_and_large_ones(javascript: JavaScript, hub: HubProcess) -> None:
    assert javascript.run("http2", endpoint=hub.url("SQS"), story="exchanges") == {
        "streams": 100,
        "statuses": [200],
        "large": [400, True],
    }


def test_node_keeps_to_our_limit_of_streams(javascript: JavaScript, hub: HubProcess) -> None:
    told = javascript.run("http2", endpoint=hub.url("SQS"), story="refused")
    assert told["codes"] == []


@pytest.fixture
def tell(javascript: JavaScript, hub: HubProcess, name: str) -> Any:
    """Run one story of the script."""
    return lambda story: javascript.run(
        "kinesis", endpoint=hub.url("Kinesis"), story=story, name=name
    )


def test_records(tell: Any) -> None:
    assert tell("records") == {
        "protocol": "h2",
        "failed": 0,
        "ordered": True,
        "large": True,
    }


def test_records_are_pushed_to_a_subscription(tell: Any) -> None:
    assert tell("subscribing") == {
        "protocol": "h2",
        "status": "ACTIVE",
        "pushed": ["one", "two", "three"],
    }


def test_errors_are_the_classes_of_the_sdk(tell: Any) -> None:
    assert tell("errors") == {
        "protocol": "h2",
        "missing": [True, 400],
        "again": [True, 400],
        "consumer": [True, 400],
    }
