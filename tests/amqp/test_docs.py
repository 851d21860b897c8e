"""The snippets of docs/protocols/amqp.md run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hubbub.testing.hub import ServedHub
from hubbub_amqp.settings import AmqpSettings

PAGE = (Path(__file__).parents[2] / "docs/protocols/amqp.md").read_text()


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("number", "output"), [(0, "b'hello'\n"), (1, "{'task': 'clean'}\n")])
def test_python(served: ServedHub, number: int, output: str) -> None:
    host, port = served.address("AMQP")
    code = snippets("python")[number].replace("127.0.0.1:5672", f"{host}:{port}")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == output
    assert len(snippets("python")) == 2


@pytest.mark.skipif(
    shutil.which("amqp-get") is None and "CI" not in os.environ,
    reason="Debian's amqp-tools are not installed",
)
def test_shell(served: ServedHub) -> None:
    host, port = served.address("AMQP")
    (code,) = snippets("sh")
    done = subprocess.run(
        ["sh", "-ec", code.replace("127.0.0.1:5672", f"{host}:{port}")],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["letters", "hello"]


def test_settings() -> None:
    (text,) = snippets("toml")
    AmqpSettings.model_validate(tomllib.loads(text)["amqp"])


def test_the_limits_are_the_defaults() -> None:
    defaults = AmqpSettings()
    for name, value in (
        ("channel_max", 2047),
        ("frame_max", 128 * 1024),
        ("max_message_size", 128 * 1024**2),
        ("max_incomplete_bytes", 256 * 1024**2),
        ("max_consumers", 10_000),
        ("consumer_timeout", 1800),
        ("handshake_timeout", 10),
    ):
        assert f"`amqp.{name}`" in PAGE
        assert getattr(defaults, name) == value
