"""amqplib, the AMQP client for Node.js, by its address alone."""

from typing import Any

import pytest

from hubbub.testing import HubProcess
from tests.programs import JavaScript


@pytest.fixture
def tell(javascript: JavaScript, hub: HubProcess, name: str) -> Any:
    """Run one story of the script."""
    return lambda story: javascript.run("amqp", url=hub.url("AMQP"), story=story, name=name)


def test_properties(tell: Any) -> None:
    assert tell("properties") == {
        "differing": [],
        "body": True,
        "fields": ["", True, False],
        "empty": False,
    }


def test_acknowledgements(tell: Any) -> None:
    assert tell("acknowledgements") == {
        "tag": True,
        "bodies": ["0", "1", "2", "3", "4", "5"],
        "requeued": ["3", True],
        "counts": [2, 0],
        "left": [["3", True], ["5", True]],
    }


def test_dead_letters(tell: Any) -> None:
    assert tell("deadLetters") == [
        ["rejected", "rejected", True, 1, "", True],
        ["expired", "expired", True, 1, "", True],
        ["dropped", "maxlen", True, 1, "", True],
    ]


def test_exchanges(tell: Any) -> None:
    assert tell("topics") == {
        "generated": True,
        "found": ["topic app.error.disk.full", "headers ", "direct key", "fanout key"],
        "returned": [312, "NO_ROUTE", "direct nobody"],
        "left": 0,
    }


def test_direct_reply_to(tell: Any) -> None:
    assert tell("rpc") == [["3", "9"], ["4", "16"]]


def test_prefetch(tell: Any) -> None:
    assert tell("prefetch") == {
        "first": ["0", "1"],
        "ready": 3,
        "next": ["2", "3"],
        "held": 0,
        "cancelled": None,
    }


def test_errors(tell: Any) -> None:
    inequivalent = (
        "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'N' in vhost '/': "
        "received 'false' but current is 'true'"
    )
    assert tell("errors") == {
        "missing": [404, "NOT_FOUND - no queue 'N-none' in vhost '/'"],
        "inequivalent": [406, inequivalent],
        "tag": [406, "PRECONDITION_FAILED - unknown delivery tag 99"],
        "name": [
            403,
            "ACCESS_REFUSED - exchange name 'amq.own' contains reserved prefix 'amq.*'",
        ],
    }
