"""Plugins: finding them, calling them one by one, and keeping their servers running."""

import contextlib
import difflib
import errno
import importlib.metadata
import math
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

import pluggy
import trio

from .errors import HubbubError
from .hookspecs import PROJECT, ConfigSection, Endpoint, Hooks, Server
from .net.shutdown import Shutdown

if TYPE_CHECKING:
    from .app import Hub

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")


class State(StrEnum):
    """What a plugin is doing."""

    LOADED = "loaded"
    DISABLED = "disabled"
    FAILED = "failed"
    RUNNING = "running"
    RESTARTING = "restarting"


class PluginError(HubbubError):
    """A plugin can't be used: it does not load, or breaks the rules for plugins."""


class StartError(HubbubError):
    """Servers could not start. `failures` has (plugin, server, error) for each of them."""

    def __init__(self, failures: Sequence[tuple[str, str, BaseException]]) -> None:
        super().__init__("\n".join(_advise(*failure) for failure in failures))
        self.failures = tuple(failures)


class Log(Protocol):
    """The part of a structlog logger that is needed here."""

    def error(self, event: str, **fields: Any) -> Any:
        """Log a failure; `exc_info` holds its exception."""


@dataclass(slots=True)
class Plugin:
    """One plugin of one hub, loaded or not.

    * `distribution`, `version`: of the package it came with; empty for one passed in directly.
    * `hooks`: the names of the hooks it implements.
    * `error`: its last failure, with the traceback.
    * `failures`: how often it failed; `restarts`: how often a server of it was started again.
    """

    name: str
    state: State = State.LOADED
    instance: object = None
    distribution: str = ""
    version: str = ""
    hooks: tuple[str, ...] = ()
    error: BaseException | None = None
    failures: int = 0
    restarts: int = 0


def installed_plugins() -> list[importlib.metadata.EntryPoint]:
    """Return the entry points of the plugins in this environment, sorted by name."""
    return sorted(importlib.metadata.entry_points(group=PROJECT), key=lambda entry: entry.name)


def suggest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean …?" if one of the known names is close, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


class PluginManager:
    """The plugins of one hub. Two managers share no instance of a plugin.

    Args:
        enable: names of the plugins to load; None for all there are.
        disable: names of plugins not to load.
        plugins: instances by name, beside those installed.
        installed: the entry points to choose from; None for those of the environment.
        log: gets every failure; None for no log.

    Raises:
        PluginError: `enable` or `disable` names a plugin that is not there, or `plugins` one that
            is installed.
    """

    def __init__(
        self,
        *,
        enable: Sequence[str] | None = None,
        disable: Sequence[str] = (),
        plugins: Mapping[str, object] | None = None,
        installed: Iterable[importlib.metadata.EntryPoint] | None = None,
        log: Log | None = None,
    ) -> None:
        self._log = log
        self._pluggy = pluggy.PluginManager(PROJECT)
        self._pluggy.add_hookspecs(Hooks)
        self._plugins: dict[str, Plugin] = {}
        self._telling = False
        given = dict(plugins or {})
        entries = list(installed_plugins() if installed is None else installed)
        known = {entry.name for entry in entries} | set(given)
        for name in (*(enable or ()), *disable):
            if name not in known:
                raise PluginError(f"no plugin {name!r} is installed{suggest(name, known)}")
        wanted = (known if enable is None else set(enable)) - set(disable)
        for entry in entries:
            self._load(entry, wanted=entry.name in wanted)
        for name, instance in given.items():
            if name in self._plugins:
                raise PluginError(f"there is an installed plugin {name!r} already")
            state = State.LOADED if name in wanted else State.DISABLED
            self._plugins[name] = Plugin(name, state, instance)
        self._plugins = dict(sorted(self._plugins.items()))
        self._register()

    # loading

    def _load(self, entry: importlib.metadata.EntryPoint, *, wanted: bool) -> None:
        plugin = Plugin(entry.name)
        if entry.dist is not None:
            plugin.distribution, plugin.version = entry.dist.name, entry.dist.version
        twin = self._plugins.get(entry.name)
        if twin is not None:
            plugin.name = f"{entry.name} of {plugin.distribution}"
        self._plugins[plugin.name] = plugin
        if not wanted:
            plugin.state = State.DISABLED
            return
        try:
            if twin is not None:
                raise PluginError(f"{twin.distribution} has a plugin of the same name")
            factory = entry.load()
            if not callable(factory):
                raise PluginError(f"{entry.value} is not a class, nor a function that makes one")
            plugin.instance = factory()
        except Exception as error:
            self.failed(plugin.name, error, during="loading", fatal=True)

    def _register(self) -> None:
        loaded = [each for each in self._plugins.values() if each.state is State.LOADED]
        for plugin in loaded:
            self._guarded(plugin, self._add_specs)
        # Pluggy calls the last one registered first.
        for plugin in reversed(loaded):
            if plugin.state is State.LOADED:
                self._guarded(plugin, self._register_one)

    def _guarded(self, plugin: Plugin, step: Callable[[Plugin], None]) -> None:
        try:
            step(plugin)
        except Exception as error:
            self.failed(plugin.name, error, during="loading", fatal=True)

    def _add_specs(self, plugin: Plugin) -> None:
        name = Hooks.hubbub_hookspecs.__name__
        if self._pluggy.parse_hookimpl_opts(plugin.instance, name) is not None:
            for specs in getattr(plugin.instance, name)():
                self._pluggy.add_hookspecs(specs)

    def _register_one(self, plugin: Plugin) -> None:
        self._pluggy.register(plugin.instance, plugin.name)
        callers = self._pluggy.get_hookcallers(plugin.instance) or []
        plugin.hooks = tuple(sorted(caller.name for caller in callers))
        if not callers:
            raise PluginError("it implements no hook; are its methods marked @hookimpl?")
        for caller in callers:
            for implementation in caller.get_hookimpls():
                if implementation.plugin is not plugin.instance:
                    continue
                if implementation.hookwrapper or implementation.wrapper:
                    raise PluginError(f"{caller.name} is a wrapper; hooks are called one by one")
                if not caller.has_spec() and not implementation.optionalhook:
                    hint = suggest(caller.name, self.hooks())
                    raise PluginError(f"nobody offers a hook {caller.name}{hint}")

    # looking

    def __iter__(self) -> Iterator[Plugin]:
        return iter(self._plugins.values())

    def __getitem__(self, name: str) -> Plugin:
        return self._plugins[name]

    def hooks(self) -> list[str]:
        """Return the names of all hooks, those that plugins offer included, sorted."""
        callers = vars(self._pluggy.hook).values()
        return sorted(caller.name for caller in callers if caller.has_spec())

    def has_implementations(self, spec: Callable[..., object]) -> bool:
        """Tell whether any plugin implements a hook, named by its method of `Hooks`."""
        return bool(self.implementations(spec))

    def implementations(
        self, spec: Callable[Concatenate[Any, P], R]
    ) -> list[tuple[str, Callable[P, R]]]:
        """Return the implementations of a hook with their plugins' names, in order of calling.

        Each takes all arguments of the hook; nothing guards them.
        """
        caller: pluggy.HookCaller | None = getattr(self._pluggy.hook, spec.__name__, None)
        if caller is None or caller.spec is None:
            raise PluginError(f"nobody offers a hook {spec.__name__}")
        names = caller.spec.argnames
        return [
            (each.plugin_name, _with_arguments(cast("Any", each.function), names, each.argnames))
            for each in reversed(caller.get_hookimpls())
        ]

    # calling

    def call_each(
        self, spec: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> list[tuple[str, R]]:
        """Call a hook that sets something up; return what each plugin answered.

        Answers None are left out. A plugin that raises is failed, and the rest is called.
        """
        answers: list[tuple[str, R]] = []
        for name, call in self.implementations(spec):
            try:
                answer = call(*args, **kwargs)
            except Exception as error:
                self.failed(name, error, during=spec.__name__, fatal=True)
            else:
                if answer is not None:
                    answers.append((name, answer))
        return answers

    def gather(
        self,
        spec: Callable[Concatenate[Any, P], Iterable[V]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> list[tuple[str, V]]:
        """Call a hook that answers several things; return them with their plugins' names."""
        found: list[tuple[str, V]] = []
        for name, call in self.implementations(spec):
            try:
                items = _items(call(*args, **kwargs))
            except Exception as error:
                self.failed(name, error, during=spec.__name__, fatal=True)
            else:
                found += [(name, item) for item in items]
        return found

    def collect(
        self,
        spec: Callable[Concatenate[Any, P], Mapping[str, V]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> dict[str, V]:
        """Call a hook that answers a mapping; return one of all.

        A plugin that offers a name which another one has already is failed, as a whole.
        """
        merged: dict[str, V] = {}
        owners: dict[str, str] = {}
        for name, answer in self.call_each(spec, *args, **kwargs):
            try:
                offered = dict(answer)
                for key in offered:
                    if key in merged:
                        raise PluginError(f"plugin {owners[key]!r} offers {key!r} already")
            except Exception as error:
                self.failed(name, error, during=spec.__name__, fatal=True)
                continue
            merged |= offered
            owners |= dict.fromkeys(offered, name)
        return merged

    def observer(self, spec: Callable[Concatenate[Any, P], None]) -> Callable[P, None] | None:
        """Return a function that tells all who observe; None when nobody does.

        It never raises. Failures are all counted, but the log gets only the 1st, 2nd, 4th, 8th …
        of a plugin: an observer may be called for every message.
        """
        watching = self.implementations(spec)
        if not watching:
            return None

        def tell(*args: P.args, **kwargs: P.kwargs) -> None:
            for name, call in watching:
                try:
                    call(*args, **kwargs)
                except Exception as error:
                    plugin = self._plugins[name]
                    if plugin.failures & (plugin.failures + 1) == 0:
                        self.failed(name, error, during=spec.__name__)
                    else:
                        plugin.failures += 1
                        plugin.error = error

        return tell

    def sections(self) -> list[tuple[str, ConfigSection]]:
        """Return the plugins' sections of the configuration; a section has one owner."""
        sections: dict[str, tuple[str, ConfigSection]] = {}
        for name, section in self.call_each(Hooks.hubbub_config):
            owner, _ = sections.setdefault(section.name, (name, section))
            if owner != name:
                error = PluginError(f"plugin {owner!r} has the section [{section.name}] already")
                self.failed(name, error, during=Hooks.hubbub_config.__name__, fatal=True)
        return list(sections.values())

    # failing

    def failed(
        self,
        name: str,
        error: BaseException,
        *,
        during: str,
        fatal: bool = False,
        will_restart: bool = False,
    ) -> None:
        """Note that a plugin failed: count it, log it, tell the other plugins.

        Args:
            name: the plugin.
            error: what it raised.
            during: what it was doing.
            fatal: it is not called any more.
            will_restart: a server of it is going to be started again.
        """
        plugin = self._plugins[name]
        plugin.failures += 1
        plugin.error = error
        if fatal:
            plugin.state = State.FAILED
            if self._pluggy.has_plugin(name):
                self._pluggy.unregister(name=name)
        if self._log is not None:
            self._log.error(
                "plugin failed", plugin=name, during=during, will_restart=will_restart,
                exc_info=error,
            )  # fmt: skip
        if not self._telling:  # a failure to tell of a failure is logged, not told
            self._telling = True
            try:
                tell = self.observer(Hooks.hubbub_plugin_failed)
                if tell is not None:
                    tell(name, error, will_restart)
            finally:
                self._telling = False

    # running

    @contextlib.asynccontextmanager
    async def lifespans(self, hub: "Hub") -> AsyncIterator[None]:
        """Run the body with all lifespans entered; they are left in the opposite order.

        Each one is entered and left in a task of its own, so that a crash in one ends nothing else.
        """
        async with trio.open_nursery() as nursery:
            leaving: list[_Leaving] = []
            for name, lifespan in self.call_each(Hooks.hubbub_lifespan, hub):
                leave = _Leaving()
                if await nursery.start(self._hold, name, lifespan, leave):
                    leaving.append(leave)
            yield
            for leave in reversed(leaving):
                leave.wanted.set()
                await leave.done.wait()

    async def _hold(
        self,
        name: str,
        lifespan: AbstractAsyncContextManager[None],
        leave: "_Leaving",
        *,
        task_status: trio.TaskStatus[bool],
    ) -> None:
        entered = False
        try:
            async with lifespan:
                entered = True
                task_status.started(True)
                await leave.wanted.wait()
        except BaseException as error:
            crash, rest = _split(error)
            if crash is not None:
                during = Hooks.hubbub_lifespan.__name__
                self.failed(name, crash, during=during, fatal=True)
            if rest is not None:
                raise rest from None
            if not entered:
                task_status.started(False)
        finally:
            leave.done.set()


class Observers:
    """Those who watch a hub, as functions to call; each is None while nobody does.

    Made once, after all plugins are loaded, so that a hub without observers pays one test.
    """

    def __init__(self, manager: PluginManager) -> None:
        self.published = manager.observer(Hooks.hubbub_published)
        self.delivered = manager.observer(Hooks.hubbub_delivered)
        self.settled = manager.observer(Hooks.hubbub_settled)
        self.dropped = manager.observer(Hooks.hubbub_dropped)
        self.connected = manager.observer(Hooks.hubbub_client_connected)
        self.disconnected = manager.observer(Hooks.hubbub_client_disconnected)


class _Leaving:
    """How a lifespan is told to end, and tells that it has."""

    def __init__(self) -> None:
        self.wanted = trio.Event()
        self.done = trio.Event()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Pauses before a crashed server is started again, in seconds.

    The first pause is `first`; each further one is `factor` times as long, up to `longest`. Then
    up to half of it is taken off by chance, so that servers which crashed together do not start
    together. After `healthy` seconds without a crash the count begins anew.
    """

    first: float = 0.5
    factor: float = 2.0
    longest: float = 30.0
    healthy: float = 60.0

    def pause(self, attempt: int, chance: float) -> float:
        """Return the pause after crash number `attempt` (from 0); `chance` is from 0 to 1."""
        exponent = min(attempt, math.ceil(math.log(self.longest / self.first, self.factor)))
        return min(self.first * self.factor**exponent, self.longest) * (1 - chance / 2)


@dataclass(slots=True, eq=False)
class _Kept:
    """A server that is kept running."""

    plugin: str
    server: Server
    up: bool = False
    since: float = 0.0
    attempts: int = 0
    endpoints: list[Endpoint] = field(default_factory=list)
    failure: BaseException | None = None


class Supervisor:
    """Keeps the servers of all plugins running; a crashed one is started again after a pause.

    Args:
        manager: is told of failures, and keeps the plugins' states.
        shutdown: the wish to stop: servers return then, or are cancelled at its deadline.
        retry_start: whether a server that can't start at first is tried again like a crashed one;
            else `run` raises.
        backoff: the pauses between attempts.
        start_deadline: seconds in which a server must report that it listens.
        rng: gives the chance in the pauses.
    """

    def __init__(
        self,
        manager: PluginManager,
        shutdown: Shutdown,
        *,
        retry_start: bool = False,
        backoff: Backoff | None = None,
        start_deadline: float = 30.0,
        rng: random.Random | None = None,
    ) -> None:
        self._manager = manager
        self._shutdown = shutdown
        self._retry_start = retry_start
        self._backoff = backoff or Backoff()
        self._start_deadline = start_deadline
        self._random = rng or random.Random()  # noqa: S311 - spreads load, keeps no secret
        self._kept: list[_Kept] = []

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where the servers listen that are up now, in order of plugin."""
        return [endpoint for kept in self._kept if kept.up for endpoint in kept.endpoints]

    async def run(
        self,
        servers: Sequence[tuple[str, Server]],
        *,
        task_status: trio.TaskStatus[list[Endpoint]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run servers, given with their plugins' names, until the shutdown is over.

        Reports all endpoints through `task_status` once every server listens.

        Raises:
            StartError: servers could not start, the first time; all others are stopped.
        """
        self._kept = [_Kept(plugin, server) for plugin, server in servers]
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as starting:
                for kept in self._kept:
                    starting.start_soon(nursery.start, self._keep, kept)
            failures = [
                (kept.plugin, kept.server.name, kept.failure)
                for kept in self._kept
                if kept.failure is not None
            ]
            if failures:
                nursery.cancel_scope.cancel()
            else:
                for plugin in self._manager:
                    if plugin.state is State.LOADED:
                        plugin.state = State.RUNNING
                task_status.started(self.endpoints)

                def hurry() -> None:
                    nursery.cancel_scope.deadline = self._shutdown.deadline

                self._shutdown.subscribe(hurry)
        for plugin in self._manager:
            if plugin.state in {State.RUNNING, State.RESTARTING}:
                plugin.state = State.LOADED
        if failures:
            raise StartError(failures)

    async def _keep(self, kept: _Kept, *, task_status: trio.TaskStatus[None]) -> None:
        waited_for = True

        def settled() -> None:
            nonlocal waited_for
            if waited_for:
                waited_for = False
                task_status.started()

        while True:
            error = await self._run_once(kept, settled)
            was_up, kept.up = kept.up, False
            if self._shutdown.requested:
                if error is not None:
                    self._manager.failed(kept.plugin, error, during="stopping")
                return settled()
            crash = error or PluginError(f"server {kept.server.name!r} ended by itself")
            if waited_for and not self._retry_start:
                kept.failure = crash
                self._manager.failed(kept.plugin, crash, during="starting")
                self._manager[kept.plugin].state = State.FAILED
                return settled()
            if was_up and trio.current_time() - kept.since >= self._backoff.healthy:
                kept.attempts = 0
            pause = self._backoff.pause(kept.attempts, self._random.random())
            kept.attempts += 1
            self._manager[kept.plugin].restarts += 1
            self._manager[kept.plugin].state = State.RESTARTING
            during = f"serving {kept.server.name}"
            self._manager.failed(kept.plugin, crash, during=during, will_restart=True)
            settled()
            with trio.move_on_after(pause):
                await self._shutdown.wait()
                return None

    async def _run_once(self, kept: _Kept, settled: Callable[[], None]) -> BaseException | None:
        """Run a server until it ends; return what it raised."""

        async def serve(*, task_status: trio.TaskStatus[list[Endpoint]]) -> None:
            await kept.server.serve(task_status)

        try:
            async with trio.open_nursery() as nursery:
                with trio.fail_after(self._start_deadline):
                    kept.endpoints = list(await nursery.start(serve))
                kept.up = True
                kept.since = trio.current_time()
                if all(each.up for each in self._kept if each.plugin == kept.plugin):
                    self._manager[kept.plugin].state = State.RUNNING
                settled()
        except BaseException as error:
            crash, rest = _split(error)
            if rest is None:
                return crash
            if crash is not None:
                self._manager.failed(kept.plugin, crash, during="stopping")
            raise rest from None
        return None


def _split(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """Part a crash from cancellation and the like, which have to go on."""
    if not isinstance(error, BaseExceptionGroup):
        return (error, None) if isinstance(error, Exception) else (None, error)
    crash, rest = error.split(Exception)
    only: BaseException | None = crash
    while isinstance(only, BaseExceptionGroup) and len(only.exceptions) == 1:
        only = only.exceptions[0]
    return only, rest


def _items(answer: Iterable[V] | None) -> list[V]:
    """Return what a hook answered; a generator runs, and may fail, here."""
    return [] if answer is None else list(answer)


def _with_arguments(
    function: Callable[..., R], offered: Sequence[str], taken: Sequence[str]
) -> Callable[..., R]:
    """Return a function of all arguments of a hook for one that takes only some of them."""
    if tuple(offered) == tuple(taken):
        return function
    places = [offered.index(name) for name in taken]

    def call(*args: object, **kwargs: object) -> R:
        if kwargs:
            args += tuple(kwargs[name] for name in offered[len(args) :])
        return function(*[args[place] for place in places])

    return call


def _advise(plugin: str, server: str, error: BaseException) -> str:
    """Say what failed, and what to do about it."""
    what = f"plugin {plugin!r}: server {server!r} can't start: {str(error) or type(error).__name__}"
    number = error.errno if isinstance(error, OSError) else None
    advice = {
        errno.EADDRINUSE: "Stop the program that listens there, or choose another address for "
        "this server in the configuration (port 0 takes a free one).",
        errno.EADDRNOTAVAIL: "This machine has no such address: choose another in the "
        "configuration.",
        errno.EACCES: "Ports below 1024 need a privilege: choose a higher one in the "
        "configuration, or grant it.",
    }.get(number or 0)
    return f"{what}. {advice}" if advice else what
