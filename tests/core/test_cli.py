import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import hubbub.cli
from hubbub import __version__
from hubbub.auth import verify_password
from hubbub.cli import make_cli
from hubbub.config import Config
from hubbub.errors import HubbubError
from hubbub.hookspecs import Endpoint, hookimpl
from hubbub.plugins import PluginManager
from hubbub.scram import Verifier
from hubbub.supervisor import StartError


class Plugin:
    @hookimpl
    def hubbub_commands(self, cli: click.Group) -> None:
        @cli.command()
        def hello() -> None:
            """Say hello."""
            click.echo("hello from a plugin")


class Lonely:
    @hookimpl
    def hubbub_of_somebody_else(self) -> None:
        """Implement a hook that no plugin here offers."""


class Failing:
    @hookimpl
    def hubbub_commands(self, cli: click.Group) -> None:
        raise OSError("no commands today")


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the command line two plugins, whatever is installed."""

    def manager(settings: Any = None) -> PluginManager:
        disable = settings.disable if settings else ()
        return PluginManager(
            plugins={"good": Plugin(), "bad": Failing()}, installed=(), disable=disable
        )

    monkeypatch.setattr(hubbub.cli, "_manager", manager)


def run(*arguments: str, **options: Any) -> Result:
    return CliRunner().invoke(make_cli(), list(arguments), **options)


def test_version() -> None:
    assert run("--version").output == f"hubbub, version {__version__}\n"


class TestCommandsOfPlugins:
    def test_are_run(self) -> None:
        assert run("hello").stdout == "hello from a plugin\n"

    def test_are_listed_and_failures_told(self) -> None:
        result = run("--help")
        assert "Say hello." in result.stdout
        assert "serve" in result.stdout
        assert "'bad' failed: no commands today" in result.stderr

    def test_unknown_ones(self) -> None:
        result = run("helo")
        assert result.exit_code == 2
        assert "helo" in result.stderr

    def test_two_command_lines_share_nothing(self) -> None:
        one, two = make_cli(), make_cli()
        CliRunner().invoke(one, ["hello"])
        assert "hello" in one.commands
        assert "hello" not in two.commands


class TestCheck:
    def test_fine(self) -> None:
        Path("hubbub.toml").write_text("[hub]\ndata = 'x'")
        result = run("check")
        assert (result.exit_code, result.stdout) == (0, "hubbub.toml: fine\n")

    def test_every_problem_is_told(self) -> None:
        Path("my.toml").write_text("[hub]\ndta = 'x'\ndurability = 'ful'")
        result = run("check", "my.toml")
        assert result.exit_code == 1
        first, second = result.stdout.splitlines()
        assert first == "my.toml:2:1: hub.dta: unknown key; did you mean 'data'?"
        assert second.startswith("my.toml:3:14: hub.durability: ")
        assert result.stderr == "2 problems\n"

    def test_the_environment_counts(self) -> None:
        Path("hubbub.toml").write_text("")
        result = run("check", env={"HUBBUB_LOG__LEVEL": "loud"})
        assert result.exit_code == 1
        assert result.stdout.startswith("environment variable HUBBUB_LOG__LEVEL: log.level: ")

    def test_warnings(self) -> None:
        Path("hubbub.toml").write_text("[[users]]\nname = 'a'\npassword = 'b'")
        result = run("check")
        assert result.exit_code == 0
        assert result.stderr.startswith("warning: hubbub.toml:3:12: users[0].password: ")

    def test_plugins_that_do_not_load_are_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lonely = PluginManager(plugins={"lonely": Lonely()}, installed=())
        monkeypatch.setattr(hubbub.cli, "_manager", lambda settings: lonely)
        Path("hubbub.toml").write_text("")
        result = run("check")
        assert (result.exit_code, result.stdout) == (0, "hubbub.toml: fine\n")
        assert result.stderr == (
            "warning: plugin 'lonely' failed: nobody offers a hook hubbub_of_somebody_else; is the "
            "plugin that does disabled or not installed?\n"
        )

    def test_a_missing_file(self) -> None:
        result = run("check", "nowhere.toml")
        assert result.exit_code == 1
        assert result.stdout == "nowhere.toml: No such file or directory\n"


class TestPlugins:
    def test_as_a_table(self) -> None:
        header, bad, good = run("plugins").stdout.splitlines()
        assert header.split() == ["plugin", "version", "from", "state", "hooks"]
        assert bad.split() == ["bad", "loaded", "commands"]
        assert good.split() == ["good", "loaded", "commands"]

    def test_as_json(self) -> None:
        Path("hubbub.toml").write_text("[plugins]\nenable = []")
        rows = json.loads(run("plugins", "--json").stdout)
        assert rows[1] == {
            "name": "good", "distribution": "", "version": "", "state": "loaded",
            "hooks": ["commands"], "error": None,
        }  # fmt: skip


def test_schema() -> None:
    assert json.loads(run("schema").stdout)["properties"]["hub"]["type"] == "object"


def test_reference() -> None:
    Path("docs").mkdir()
    assert run("reference", "--check").exit_code == 1
    written = run("reference")
    assert written.stdout == "docs/configuration.md written\ndocs/hooks.md written\n"
    again = run("reference", "--check")
    assert (again.exit_code, again.stdout) == (0, "")
    assert run("reference", "missing").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "given"), [((), "sesame\nsesame\n"), (("--stdin",), "sesame\n")]
)
def test_hash_password(arguments: Sequence[str], given: str) -> None:
    result = run("hash-password", *arguments, input=given)
    assert result.exit_code == 0
    assert verify_password(result.stdout.strip(), b"sesame")


def test_hash_password_for_scram() -> None:
    result = run("hash-password", "--scram", "--stdin", input="sesame\n")
    assert result.exit_code == 0
    assert Verifier.parse(result.stdout.strip()).verify(b"sesame")
    result = run("hash-password", "--scram", "--stdin", input="se\x07same\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "control characters" in result.stderr


def test_an_empty_password_is_refused() -> None:
    result = run("hash-password", "--stdin", input="\n")
    assert (result.exit_code, result.stdout) == (1, "")


Serve = Callable[[Config, Callable[[Sequence[Endpoint]], None]], None]


class TestServe:
    @pytest.fixture
    def served(self, monkeypatch: pytest.MonkeyPatch) -> list[Config]:
        """Put something in place of the application: this is about the command only."""
        configs: list[Config] = []
        app = ModuleType("hubbub.app")

        async def serve(config: Config, *, ready: Callable[[Sequence[Endpoint]], None]) -> None:
            configs.append(config)
            if self.error is not None:
                raise self.error
            ready(
                [
                    Endpoint("MQTT", "mqtt://127.0.0.1:1883", "mosquitto_sub -t '#'"),
                    Endpoint("Admin", "http://127.0.0.1:8079", "curl http://127.0.0.1:8079"),
                ]
            )

        app.serve = serve  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "hubbub.app", app)
        return configs

    error: BaseException | None = None

    def test_endpoints_are_shown_with_lines_to_copy(self, served: list[Config]) -> None:
        result = run("serve")
        assert result.exit_code == 0
        assert result.stdout.splitlines() == [
            f"hubbub {__version__} is ready",
            "  MQTT   mqtt://127.0.0.1:1883  mosquitto_sub -t '#'",
            "  Admin  http://127.0.0.1:8079  curl http://127.0.0.1:8079",
            "",
            "Data is kept in hubbub-data. Ctrl-C stops.",
        ]

    def test_it_says_where_data_is_kept(self, served: list[Config]) -> None:
        last = run("serve", "--data", "elsewhere").stdout.splitlines()[-1]
        assert last.startswith("Data is kept in elsewhere.")
        last = run("serve", "--durability", "memory").stdout.splitlines()[-1]
        assert last.startswith("Data is kept in memory alone")

    def test_options_win_over_the_environment_and_that_over_the_file(
        self, served: list[Config]
    ) -> None:
        Path("hubbub.toml").write_text("hub = { data = 'file', durability = 'os' }")
        run("serve")
        run("serve", env={"HUBBUB_HUB__DATA": "environment"})
        run("serve", "--data", "option", env={"HUBBUB_HUB__DATA": "environment"})
        assert [str(config.hub.data) for config in served] == ["file", "environment", "option"]
        assert {config.hub.durability for config in served} == {"os"}

    def test_the_file_may_be_named(self, served: list[Config]) -> None:
        Path("other.toml").write_text("hub.data = 'other'")
        run("serve", "--config", "other.toml")
        run("serve", env={"HUBBUB_CONFIG": "other.toml"})
        assert [str(config.hub.data) for config in served] == ["other", "other"]

    def test_a_bad_configuration(self, served: list[Config]) -> None:
        Path("hubbub.toml").write_text("hub.dta = 'x'")
        result = run("serve")
        assert result.exit_code == 1
        assert result.stderr == (
            "error: hubbub.toml:1:5: hub.dta: unknown key; did you mean 'data'?\n"
        )
        assert served == []

    @pytest.mark.parametrize(
        "error",
        [
            HubbubError("the reason"),
            ExceptionGroup("", [ExceptionGroup("", [HubbubError("the reason")])]),
        ],
    )
    def test_errors_for_people(
        self, served: list[Config], monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        monkeypatch.setattr(self, "error", error)
        result = run("serve")
        assert (result.exit_code, result.stderr) == (1, "error: the reason\n")

    def test_all_servers_that_can_not_start(
        self, served: list[Config], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failures = [("a", "tcp", OSError(98, "in use")), ("b", "tcp", OSError(13, "denied"))]
        monkeypatch.setattr(self, "error", StartError(failures))
        result = run("serve")
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 2

    def test_other_errors_are_bugs_and_keep_their_traceback(
        self, served: list[Config], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(self, "error", ExceptionGroup("", [ZeroDivisionError()]))
        result = run("serve")
        assert isinstance(result.exception, ExceptionGroup)


@pytest.mark.parametrize(("good", "code"), [(True, 0), (False, 1)])
def test_demo(good: bool, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("hubbub.demo")

    async def demo(config: Config) -> bool:
        return good

    module.demo = demo  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hubbub.demo", module)
    assert run("demo").exit_code == code


def test_the_command_line_starts_without_what_it_does_not_need() -> None:
    code = (
        "import sys, hubbub.cli; hubbub.cli.make_cli(); "
        "heavy = {'argon2', 'prometheus_client', 'botocore'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
