"""docs/protocols/http.md: its code runs, and its names are those of the code."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from hubbub.testing.hub import ServedHub
from hubbub_gateway.fields import PUBLISHED
from hubbub_gateway.problems import KINDS
from hubbub_gateway.routes import OPERATIONS
from hubbub_gateway.settings import EventSettings, GatewaySettings
from tests.programs import program, run

from .conftest import url_of

PAGE = (Path(__file__).parents[2] / "docs" / "protocols" / "http.md").read_text()


def snippet(language: str, hub: ServedHub) -> str:
    """The only snippet in a language, for the hub of the test."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert "http://127.0.0.1:8080" in found
    return str(found).replace("http://127.0.0.1:8080", url_of(hub))


def test_shell(hub: ServedHub, tmp_path: Path) -> None:
    program("curl")
    done = run(["sh", "-e", "-c", f"cd {tmp_path}\n{snippet('sh', hub)}"])
    assert done.stdout == b"one pizza\n"
    queue = hub.call(hub.hub.engine.find_queue, "default", "orders")
    assert queue is not None
    counts = hub.call(queue.counts)
    assert (counts.visible, counts.in_flight) == (0, 0)


def test_python(hub: ServedHub) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(snippet("python", hub), {})
    assert said.getvalue() == 'one pizza None\n{"item":"tea"} {\'table\': 4}\n'


def test_javascript(hub: ServedHub) -> None:
    done = run([program("node"), "--input-type=module", "-e", snippet("js", hub)])
    assert done.stdout == b"shop/door: open\n"


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`gateway\.([\w.]+)`", PAGE))))
def test_settings_exist(name: str) -> None:
    section, _, key = name.partition(".")
    model = EventSettings if section == "events" else GatewaySettings
    assert (key if section == "events" else section) in model.model_fields


def test_every_header_and_path_is_there() -> None:
    table = PAGE.partition("| header | field |")[2].partition("\n\n")[0]
    for header in PUBLISHED:
        assert f"`{header}`" in table or f"`{header.removeprefix('Hubbub')}`" in table, header
    for operation in OPERATIONS:
        if operation.tag != "websocket":
            first = operation.path.split("/")[1]
            assert f"/{first}" in PAGE
    for kind in re.findall(r"\d{3} `([a-z-]+)`", PAGE):
        assert kind in KINDS
