"""docs/routes.md says what is so: its example is tried, and each condition of its table."""

import json
import re
from pathlib import Path

import pytest

from hubbub import HeaderValue, Message
from hubbub.config import Template, load_config
from hubbub.filters import compile_filter
from hubbub.plugins import PluginManager

from .hubs import make_hub, session_of

DOCUMENT = (Path(__file__).parents[2] / "docs" / "routes.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without their backticks."""
    section = DOCUMENT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert lines
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    return [[cell.strip().replace("\\|", "|") for cell in row] for row in cells]


async def test_the_example(tmp_path: Path) -> None:
    path = tmp_path / "hubbub.toml"
    path.write_text(DOCUMENT.partition("```toml\n")[2].partition("```")[0])
    config = load_config(path, manager=lambda settings: PluginManager(installed=()))
    hub = make_hub(queues=config.queues, routes=config.routes)
    async with hub.running():
        with session_of(hub) as session:
            headers: tuple[dict[str, HeaderValue], ...] = (
                {"level": "critical"},
                {"level": "high", "test": True},
                {"level": "low"},
            )
            for each in headers:
                session.publish(
                    [Message(address="devices/d7/alarms/fire", body=b"x", headers=each)]
                )
            (got,) = [each.message for each in await session.receive("alarms", 10)]
    assert (got.group, got.content_type) == ("d7", "text/plain")
    assert got.headers["device"] == "d7"
    assert got.headers["source"] == f"{got.protocol} of {got.client}"


@pytest.mark.parametrize(("condition", "matching", "other"), rows("Filters"))
def test_conditions(condition: str, matching: str, other: str) -> None:
    matches = compile_filter({"h": [json.loads(condition.strip("`"))]})
    assert matches({"h": json.loads(matching.strip("`"))} if matching else {})
    assert not matches({"h": json.loads(other.strip("`"))} if other else {})


@pytest.mark.parametrize("fields", [row[0] for row in rows("What is set")])
def test_fields_of_templates(fields: str) -> None:
    for field in re.findall(r"`([^`]+)`", fields):
        Template(field.replace("FIELD", "type"))
