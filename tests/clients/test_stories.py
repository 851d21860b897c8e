"""Clients of several protocols in one program."""

from hubbub.testing import HubProcess
from tests.programs import JavaScript


def test_a_device_and_a_worker_in_javascript(javascript: JavaScript, hub: HubProcess) -> None:
    told = javascript.run("story", mqttUrl=hub.url("MQTT"), endpoint=hub.url("SQS"))
    assert told == {
        "orders": [["tea", "1"], ["Käse", "1"]],
        "reply": ["replies/device-1", "2 orders"],
    }
