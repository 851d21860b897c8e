"""The snippets of docs/protocols/mqtt.md do what it says."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
from pathlib import Path

import pytest

from hubbub.testing.hub import ServedHub
from tests.programs import program

from .raw import WAIT
from .test_server_clients import node_environment

PAGE = Path(__file__).parents[2] / "docs" / "protocols" / "mqtt.md"


def snippet(language: str, hub: ServedHub) -> str:
    """The only snippet in a language, for the hub of the test."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert "1883" in found
    return str(found).replace("1883", str(hub.address("MQTT")[1]))


def test_python(hub: ServedHub) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(snippet("python", hub), {})
    assert said.getvalue() == "orders/1 one coffee\n"


def test_javascript(hub: ServedHub) -> None:
    command = [program("node"), "-e", snippet("javascript", hub)]
    done = subprocess.run(
        command, env=node_environment(), capture_output=True, text=True, check=True, timeout=WAIT
    )
    assert done.stdout == "orders/1 one coffee\n"


def test_shell(hub: ServedHub) -> None:
    program("mosquitto_pub")
    command = ["sh", "-e", "-c", snippet("shell", hub)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=WAIT)
    assert done.stdout == "one coffee\n"


@pytest.mark.parametrize("setting", sorted(set(re.findall(r"`mqtt\.(\w+)`", PAGE.read_text()))))
def test_settings_exist(setting: str) -> None:
    from hubbub_mqtt.settings import MqttSettings

    assert setting in MqttSettings.model_fields
