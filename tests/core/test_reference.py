import re
import textwrap
from pathlib import Path
from typing import Any, Protocol

import pytest

import hubbub.auth
import hubbub.hookspecs
import hubbub.sasl
from hubbub.config import Section
from hubbub.hookspecs import hookimpl, hookspec
from hubbub.plugins import PluginManager, State
from hubbub.reference import configuration, documents, hook_specifications, outdated, write

DOCS = Path(__file__).parents[2] / "docs"


def shipped() -> PluginManager:
    """Only the plugins of this distribution: others may be installed beside it."""
    ours = {plugin.name for plugin in PluginManager() if plugin.distribution == "hubbub"}
    return PluginManager(enable=sorted(ours))


@pytest.mark.parametrize("name", ["configuration.md", "hooks.md"])
def test_the_documents_are_what_the_code_says(name: str) -> None:
    expected = documents(shipped())[name]
    message = f"docs/{name} is out of date: run `hubbub reference`"
    assert (DOCS / name).read_text("utf-8") == expected, message


def test_writing(tmp_path: Path) -> None:
    manager = PluginManager(installed=())
    assert [path.name for path in write(tmp_path, manager)] == ["configuration.md", "hooks.md"]
    assert write(tmp_path, manager) == []
    (tmp_path / "hooks.md").write_text("old")
    assert outdated(tmp_path, manager) == [tmp_path / "hooks.md"]
    write(tmp_path, manager)
    assert outdated(tmp_path, manager) == []


@pytest.mark.parametrize(
    "row",
    [
        '| `stop_deadline` | duration | `"10s"` | seconds |',
        "| `HUBBUB_HUB__STOP_DEADLINE` |",
        '| `memory_limit` | size | `"512MB"` | bytes |',
        '| `durability` | `"full"`, `"os"`, `"memory"` | `"full"` |  |',
        "| `listener.tls.certificate` | path | required |",
        "| `HUBBUB_ADMIN__LISTENER__BIND` |",
        "| `verifiers` | integer, at least 1, at most 64 | `2` |",
        "| `from` | text | required |",
        "| `access_keys[].id` | text | required |",
        "| `{FIELD\\|TEXT}` |",
        "## `[[route]]`",
    ],
)
def test_rows(row: str) -> None:
    assert row in configuration(PluginManager(installed=()))


class ExampleSettings(Section):
    port: int = 1


class MyHooks(Protocol):
    @hookspec
    def hubbub_my_hook(self) -> None:
        """Do something."""


SPECIFICATIONS = {each.__name__: each for each in hook_specifications()}


class TestHooks:
    def test_all_are_documented(self) -> None:
        assert set(SPECIFICATIONS) == set(PluginManager(installed=()).hooks())
        text = documents(PluginManager(installed=()))["hooks.md"]
        for name in SPECIFICATIONS:
            assert f"## {name}\n" in text

    @pytest.mark.parametrize("name", SPECIFICATIONS)
    def test_each_says_when_what_and_what_if_not(self, name: str) -> None:
        text = SPECIFICATIONS[name].__doc__ or ""
        assert "**Called**" in text
        assert "**If " in text

    @pytest.mark.parametrize("name", SPECIFICATIONS)
    def test_the_examples_are_plugins(self, name: str) -> None:
        text = textwrap.dedent(SPECIFICATIONS[name].__doc__ or "")
        (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        assert f"def {name}(" in code
        scope: dict[str, Any] = {
            **vars(hubbub.hookspecs),
            **vars(hubbub.auth),
            **vars(hubbub.sasl),
            "asynccontextmanager": __import__("contextlib").asynccontextmanager,
            "ExampleSettings": ExampleSettings,
            "MyHooks": MyHooks,
            "hookimpl": hookimpl,
        }
        exec("class Example:\n" + textwrap.indent(code, "    "), scope)
        manager = PluginManager(plugins={"example": scope["Example"]()}, installed=())
        assert manager["example"].state is State.LOADED, manager["example"].error
        assert manager["example"].hooks == (name,)
