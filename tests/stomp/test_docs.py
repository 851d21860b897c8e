"""docs/protocols/stomp.md: its code runs, and its numbers are those of the settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from hubbub.testing.hub import ServedHub
from hubbub_stomp.selectors import MAX_NESTING, MAX_SELECTOR
from hubbub_stomp.settings import StompSettings

from .test_server import counts, wait_until

PAGE = (Path(__file__).parents[2] / "docs" / "protocols" / "stomp.md").read_text()


def test_the_python_snippet_runs(hub: ServedHub, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    host, port = hub.address("stomp")
    assert '("127.0.0.1", 61613)' in code
    space: dict[str, Any] = {}
    exec(code.replace('("127.0.0.1", 61613)', repr((host, port))), space)
    printed: list[str] = []

    def arrived() -> bool:
        printed.append(capsys.readouterr().out)
        return "/queue/orders one pizza" in "".join(printed)

    wait_until(arrived)
    wait_until(lambda: counts(hub, "orders").in_flight == 0)
    assert counts(hub, "orders").visible == 0
    space["connection"].disconnect()


def test_settings_that_are_named_exist() -> None:
    named = set(re.findall(r"`(?:stomp\.)?(max_\w+|min_\w+|default_hosts|\w+_timeout)`", PAGE))
    named |= set(re.findall(r"`stomp\.(\w+)`", PAGE))
    assert len(named) > 12
    assert named <= StompSettings.model_fields.keys()


def test_limits_are_those_of_the_settings() -> None:
    settings = StompSettings()
    rows = dict(re.findall(r"\| `(max_\w+)` \| ([\d,]+)(?: [KM]B)? \|", PAGE))
    assert len(rows) >= 4
    for name, number in rows.items():
        value = getattr(settings, name)
        assert int(number.replace(",", "")) in {value, value / 1024, value / 1024**2}
    assert f"{MAX_SELECTOR:,} characters" in PAGE
    assert f"{MAX_NESTING} parentheses" in PAGE
