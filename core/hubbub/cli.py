"""The `hubbub` command. Each command imports what it needs, so that all of them start quickly."""

import functools
import gc
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from . import __version__
from .errors import HubbubError

if TYPE_CHECKING:
    from .config import Config, PluginSettings
    from .hookspecs import Endpoint
    from .plugins import Plugin, PluginManager

R = TypeVar("R")

DEFAULT_FILE = "hubbub.toml"
GC_THRESHOLDS = (10_000, 20, 50)
"""See `gc.set_threshold`: new objects, then collections of the younger generation."""


class _Commands(click.Group):
    """The commands; those of plugins are asked for only when a command is not our own."""

    _loaded = False

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, after loading the plugins if it is not one of our own."""
        command = super().get_command(ctx, cmd_name)
        if command is None:
            self._load()
            command = super().get_command(ctx, cmd_name)
        return command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        self._load()
        return super().list_commands(ctx)

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        from .hookspecs import Hooks  # noqa: PLC0415

        manager = _manager()
        manager.call_each(Hooks.hubbub_commands, self)
        _show_failures(manager)


def make_cli() -> click.Group:
    """Make the command line; each has commands of its own, so that tests can make many."""
    cli = _Commands(
        "hubbub",
        help="One bus for AMQP, MQTT, STOMP, SQS, SNS, Kinesis, HTTP and WebSocket clients.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    click.version_option(__version__, prog_name="hubbub")(cli)
    for command in (
        _serve, _demo, _check, _plugins, _schema, _reference, _hash_password,
    ):  # fmt: skip
        cli.add_command(command)
    return cli


def main() -> None:
    """Run the command line: the entry point `hubbub`."""
    make_cli()()


def _config_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--config",
        "config_file",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="HUBBUB_CONFIG",
        help=f"Configuration file.  [default: ./{DEFAULT_FILE} if there is one]",
    )(function)


def _data_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder for everything that is kept.  [default: ./hubbub-data]",
    )(function)


@click.command("serve")
@_config_option
@_data_option
@click.option(
    "--durability",
    type=click.Choice(["full", "os", "memory"]),
    help="When something counts as kept.  [default: full]",
)
def _serve(config_file: Path | None, data: Path | None, durability: str | None) -> None:
    """Serve until SIGINT or SIGTERM."""
    gc.disable()  # until it is ready: nearly all that is made stays
    import trio  # noqa: PLC0415

    from .app import serve  # noqa: PLC0415
    from .logs import make_logger, route_stdlib  # noqa: PLC0415

    hub = {"data": data, "durability": durability}
    config = _load(config_file, {"hub": {key: value for key, value in hub.items() if value}})

    def ready(endpoints: Sequence["Endpoint"]) -> None:
        _spare_the_collector()
        _show_endpoints(config, endpoints)

    main = functools.partial(serve, config, ready=ready)
    with route_stdlib(make_logger(config.log)):
        _run(functools.partial(trio.run, main))


@click.command("demo")
def _demo() -> None:
    """Drive real clients of several protocols through a hub, and check what arrives."""
    import trio  # noqa: PLC0415

    from .demo import demo  # noqa: PLC0415

    config = _load(None, {}, look=False)
    if not _run(functools.partial(trio.run, demo, config)):
        sys.exit(1)


@click.command("check")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), default=DEFAULT_FILE)
def _check(file: Path) -> None:
    """Check a configuration file, and the environment.

    Shows everything that is wrong with it. Ends with 0 if it can be used, else with 1.
    """
    from .config import ConfigError, load_config  # noqa: PLC0415

    try:
        config = load_config(file, environment=os.environ)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(str(problem))
        number = len(error.problems)
        click.echo(f"{number} problem{'s' if number > 1 else ''}", err=True)
        sys.exit(1)
    _warn(config)
    _show_failures(_manager(config.plugins))
    click.echo(f"{file}: fine")


@click.command("plugins")
@_config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def _plugins(config_file: Path | None, *, as_json: bool) -> None:
    """List the plugins: versions, states, hooks."""
    settings = _load(config_file, {}).plugins
    manager = _manager(settings)
    if as_json:
        click.echo(json.dumps([_plugin_facts(plugin) for plugin in manager], indent=2))
        return
    rows = [["plugin", "version", "from", "state", "hooks"]]
    for plugin in manager:
        facts = _plugin_facts(plugin)
        hooks = facts["error"] or ", ".join(facts["hooks"])
        rows.append([plugin.name, plugin.version, plugin.distribution, plugin.state.value, hooks])
    if len(rows) == 1:
        click.echo("no plugins are installed")
    else:
        _print_table(rows)


def _plugin_facts(plugin: "Plugin") -> dict[str, Any]:
    error = plugin.error
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "state": plugin.state.value,
        "hooks": [name.removeprefix("hubbub_") for name in plugin.hooks],
        "error": None if error is None else f"{type(error).__name__}: {error}",
    }


@click.command("schema")
def _schema() -> None:
    """Print the JSON schema of hubbub.toml, sections of plugins included."""
    from .config import json_schema  # noqa: PLC0415

    click.echo(json.dumps(json_schema(_manager()), indent=2))


@click.command("reference")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default="docs")
@click.option("--check", is_flag=True, help="Write nothing; end with 1 if a file is out of date.")
def _reference(folder: Path, *, check: bool) -> None:
    """Write the reference of the configuration and of the hooks into a folder."""
    from .reference import outdated, write  # noqa: PLC0415

    manager = _manager()
    for plugin in manager:
        if plugin.error is not None:
            click.echo(f"left out: plugin {plugin.name!r} failed: {plugin.error}", err=True)
    try:
        paths = outdated(folder, manager) if check else write(folder, manager)
    except OSError as error:
        _fail(str(error))
    for path in paths:
        click.echo(f"{path} {'is out of date' if check else 'written'}")
    if check and paths:
        sys.exit(1)


@click.command("hash-password")
@click.option("--stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--scram", is_flag=True, help="Print what SCRAM-SHA-256 needs, for `scram_sha_256`.")
def _hash_password(*, stdin: bool, scram: bool) -> None:
    """Ask for a password and print its hash, for `password_hash` of a user."""
    from .auth import hash_password  # noqa: PLC0415
    from .scram import Verifier  # noqa: PLC0415

    if stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    if not password:
        _fail("the password is empty")
    if not scram:
        click.echo(hash_password(password.encode()))
        return
    try:
        click.echo(str(Verifier.of(password)))
    except ValueError as error:
        _fail(str(error))


def _manager(settings: "PluginSettings | None" = None) -> "PluginManager":
    from .builtin import builtin_plugins  # noqa: PLC0415
    from .plugins import PluginManager  # noqa: PLC0415

    plugins = builtin_plugins()
    if settings is None:
        return PluginManager(plugins=plugins)
    return PluginManager(enable=settings.enable, disable=settings.disable, plugins=plugins)


def _load(file: Path | None, settings: dict[str, dict[str, Any]], *, look: bool = True) -> "Config":
    """Read the configuration, or end with everything that is wrong with it."""
    from .config import ConfigError, load_config  # noqa: PLC0415

    if file is None and look and Path(DEFAULT_FILE).exists():
        file = Path(DEFAULT_FILE)
    try:
        config = load_config(file, environment=os.environ, settings=settings)
    except ConfigError as error:
        _fail(str(error))
    _warn(config)
    return config


def _show_failures(manager: "PluginManager") -> None:
    for plugin in manager:
        if plugin.error is not None:
            click.echo(f"warning: plugin {plugin.name!r} failed: {plugin.error}", err=True)


def _warn(config: "Config") -> None:
    for warning in config.warnings:
        click.echo(f"warning: {warning}", err=True)


def _run(function: Callable[[], R]) -> R:
    """Run a hub; end with the text of errors that are meant for people."""
    try:
        return function()
    except BaseExceptionGroup as group:
        errors = list(_leaves(group))
        if not all(isinstance(error, HubbubError) for error in errors):
            raise
        _fail("\n".join(dict.fromkeys(map(str, errors))))
    except HubbubError as error:
        _fail(str(error))


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _fail(text: str) -> NoReturn:
    for line in text.splitlines():
        click.echo(f"error: {line}", err=True)
    sys.exit(1)


def _spare_the_collector() -> None:
    """Have Python look for garbage in cycles less often, and never in what the start has made.

    By default it does so for every 700 new objects, and a look at everything that was imported
    takes tens of milliseconds. Measured with 1,000 MQTT messages a second: a tenth less CPU, and
    half the latency of the slowest in a hundred.
    """
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()


def _show_endpoints(config: "Config", endpoints: Sequence["Endpoint"]) -> None:
    click.echo(click.style(f"hubbub {__version__} is ready", bold=True))
    _print_table([[each.protocol, each.url, each.client] for each in endpoints], indent="  ")
    click.echo()  # the end of the table, for programs that read it
    hub = config.hub
    if hub.engine != "embedded":
        kept = f"Data is kept by the engine {hub.engine!r}."
    elif hub.durability == "memory":
        kept = "Data is kept in memory alone, and gone at the end."
    else:
        kept = f"Data is kept in {hub.data}."
    click.echo(f"{kept} Ctrl-C stops.")
    sys.stdout.flush()


def _print_table(rows: Sequence[Sequence[str]], indent: str = "") -> None:
    """Print rows of text in columns; the last column is as long as it likes."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        click.echo(indent + "  ".join([*cells, row[-1]]).rstrip())
