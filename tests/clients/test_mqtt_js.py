"""MQTT.js by its address alone: MQTT 3.1.1 and 5.0, over TCP and WebSocket."""

from pathlib import Path
from typing import Any

import pytest

from hubbub.testing import HubProcess
from tests.programs import JavaScript


@pytest.fixture(
    params=[("MQTT", 4), ("MQTT", 5), ("MQTT over WebSocket", 5)],
    ids=["3.1.1", "5.0", "5.0-websocket"],
)
def tell(javascript: JavaScript, hub: HubProcess, name: str, request: pytest.FixtureRequest) -> Any:
    """Run one story of the script."""
    protocol, version = request.param
    url = hub.url(protocol)
    return lambda story: javascript.run("mqtt", url=url, version=version, story=story, name=name)


def test_delivery(tell: Any) -> None:
    assert tell("delivery") == {
        "granted": [2],
        "first": [["qos 0", 0, False], ["qos 1", 1, False], ["qos 2", 2, False]],
        "empty": 0,
        "large": True,
        "many": [250, 250, True, True],
        "left": 0,
    }


def test_retained(tell: Any) -> None:
    assert tell("retained") == {
        "stored": ["on", 1, True],
        "live": ["live", 1, False],
        "marker": ["marker", 1, False],
    }


def test_will(tell: Any) -> None:
    assert tell("will") == {"message": ["lost is gone", 2, False], "left": 0}


def test_shared_subscription(tell: Any) -> None:
    assert tell("shared") == {"once": True, "both": True, "total": 20, "alone": 20}


def test_session(tell: Any) -> None:
    assert tell("session") == {
        "present": [False, True, False],
        "messages": [["qos 1", 1, False], ["qos 2", 2, False]],
    }


def test_fields_of_version_5(javascript: JavaScript, hub: HubProcess, name: str) -> None:
    told = javascript.run("mqtt", url=hub.url("MQTT"), version=5, story="fields", name=name)
    expiry = told["request"].pop("messageExpiryInterval")
    assert 90 <= expiry <= 100
    assert told == {
        "request": {
            "responseTopic": f"{name}/reply",
            "correlationData": [1, 0, 2],
            "contentType": "application/json",
            "payloadFormatIndicator": True,
            "userProperties": [["a", ["1", "2"]], ["ü", "ö"]],
            "subscriptionIdentifier": 17,
        },
        "aliased": [True, "by alias"],
        "reply": [f"{name}/reply", [1, 0, 2]],
        "own": 0,
        "nobody": 0x10,  # no matching subscribers
        "takenOver": 0x8E,  # session taken over
        "maximum": True,
    }


def test_enhanced_authentication(javascript: JavaScript, tmp_path: Path, name: str) -> None:
    config = """
    admin.enabled = false
    plugins.enable = ["mqtt"]
    auth.anonymous = "never"
    mqtt.listener.bind = ["127.0.0.1:0"]
    users = [{ name = "device", password = "secret" }]
    """
    with HubProcess(tmp_path, config) as hub:
        told = javascript.run("mqtt", url=hub.url("MQTT"), version=5, story="scram", name=name)
    assert told == {"verified": [True, "let in"], "refused": 0x87}
