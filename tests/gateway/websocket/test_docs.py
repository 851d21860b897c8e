"""docs/protocols/websocket.md: its snippets run, its tables are complete."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from hubbub.testing import ServedHub
from hubbub_gateway.websocket.frames import AnyRequest
from hubbub_gateway.websocket.settings import WebSocketApiSettings
from tests.programs import WAIT, javascript_packages, program

TEXT = (Path(__file__).parents[3] / "docs" / "protocols" / "websocket.md").read_text()


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def test_python(hub: ServedHub) -> None:
    (code,) = snippets("python")
    assert code.count("ws://127.0.0.1:8080/ws") == 1
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(code.replace("ws://127.0.0.1:8080/ws", hub.endpoint("WebSocket").url), {})
    assert said.getvalue() == "orders/1 one coffee\n"


def test_javascript(hub: ServedHub, tmp_path: Path) -> None:
    client, use = snippets("js")
    (tmp_path / "node_modules").symlink_to(javascript_packages())
    (tmp_path / "hubbub.js").write_text(client)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "use.js").write_text(
        'import { WebSocket } from "ws";\n'
        'import { connect } from "./hubbub.js";\n'
        "globalThis.WebSocket = WebSocket;\n"
        + use.replace("ws://127.0.0.1:8080/ws", hub.endpoint("WebSocket").url)
        + 'await hub.ask("publish", { to: "$queue/orders", message: { body: "one pizza" } });\n'
        'setInterval(() => {}, 1000);\nhub.ask("ping").then(() => setTimeout(process.exit, 300));\n'
    )
    done = subprocess.run(
        [program("node"), str(tmp_path / "use.js")],
        capture_output=True, text=True, check=False, timeout=WAIT,
    )  # fmt: skip
    assert done.stdout == "shop/door: open\ndone: one pizza\n", done.stderr


def test_the_table_of_requests() -> None:
    rows = re.findall(r"^\| `(\w+)` \|(.*?)\| `(\w+)`.*\|$", TEXT, re.MULTILINE)
    kinds = {kind.__struct_config__.tag: kind for kind in get_args(AnyRequest)}
    assert [op for op, _, _ in rows] == list(kinds)
    for op, members, _ in rows:
        named = set(re.findall(r"`(\w+)`", members))
        if "credentials" in members:
            named |= {"token", "username", "password"}
        if " the same" in members:
            named |= {"delivery", "up_to", "subscription"}
        known = {each.encode_name for each in msgspec.structs.fields(kinds[op])} - {"id"}
        assert known <= named, op


@pytest.mark.parametrize(
    "setting",
    sorted(set(re.findall(r"`((?:max|slow|ping|idle|session|default|hello)_\w+)`", TEXT))),
)
def test_settings_exist(setting: str) -> None:
    assert setting in WebSocketApiSettings.model_fields
