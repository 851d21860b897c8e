"""Plugins: finding them, loading them, and calling them one by one."""

import contextlib
import difflib
import importlib.metadata
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

import pluggy
import trio

from .errors import HubbubError
from .hookspecs import PROJECT, ConfigSection, Hooks
from .net.errors import split_crash
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


def suggest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return "; did you mean …?" if one of the known names is close, else nothing.

    `cutoff`: how close, from 0 to 1.
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]!r}?" if close else ""


class PluginManager:
    """The plugins of one hub. Two managers share no instance of a plugin.

    Args:
        enable: names of the installed plugins to load; None for all there are.
        disable: names of plugins not to load.
        plugins: instances by name, loaded beside those installed: they need not be enabled.
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
        names = {entry.name for entry in entries}
        known = names | given.keys()
        for name in (*(enable or ()), *disable):
            if name not in known:
                raise PluginError(f"no plugin {name!r} is installed{suggest(name, known)}")
        wanted = ((names if enable is None else set(enable)) | given.keys()) - set(disable)
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
        except PluginError as error:  # it says all there is to say
            self.failed(plugin.name, error, during="loading", fatal=True, traceback=False)
        except Exception as error:
            self.failed(plugin.name, error, during="loading", fatal=True)

    def _add_specs(self, plugin: Plugin) -> None:
        name = Hooks.hubbub_hookspecs.__name__
        offer = getattr(plugin.instance, name, None)
        if offer and self._pluggy.parse_hookimpl_opts(plugin.instance, name) is not None:
            for specs in offer():
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
                    hint = suggest(caller.name, self.hooks(), cutoff=0.9)
                    hint = hint or "; is the plugin that does disabled or not installed?"
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

    def implementations(
        self, spec: Callable[Concatenate[Any, P], R]
    ) -> list[tuple[str, Callable[P, R]]]:
        """Return the implementations of a hook with their plugins' names, in order of calling.

        `spec` is the hook's method of `Hooks`, or of the class that a plugin offers hooks with.
        Each implementation takes all arguments of the hook; nothing guards it.
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
        return {key: each for key, (_, each) in self.collect_named(spec, *args, **kwargs).items()}

    def collect_named(
        self,
        spec: Callable[Concatenate[Any, P], Mapping[str, V]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> dict[str, tuple[str, V]]:
        """Do what `collect` does, and tell the plugin of each value."""
        merged: dict[str, tuple[str, V]] = {}
        for name, answer in self.call_each(spec, *args, **kwargs):
            try:
                offered = dict(answer)
                for key in offered:
                    if key in merged:
                        raise PluginError(f"plugin {merged[key][0]!r} offers {key!r} already")
            except Exception as error:
                self.failed(name, error, during=spec.__name__, fatal=True)
                continue
            merged |= {key: (name, each) for key, each in offered.items()}
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
        traceback: bool = True,
    ) -> None:
        """Note that a plugin failed: count it, log it, tell the other plugins.

        Args:
            name: the plugin.
            error: what it raised.
            during: what it was doing.
            fatal: it is not called any more.
            will_restart: a server of it is going to be started again.
            traceback: log where it happened, too.
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
                **({"exc_info": error} if traceback else {"reason": str(error)}),
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
    async def lifespans(self, hub: "Hub", shutdown: Shutdown) -> AsyncIterator[None]:
        """Run the body with all lifespans entered; they are left in the opposite order.

        Each one is entered and left in a task of its own, so that a crash in one ends nothing else.
        One that is not left at the shutdown's deadline is cancelled.
        """
        async with trio.open_nursery() as nursery:
            leaving: list[_Leaving] = []
            for name, lifespan in self.call_each(Hooks.hubbub_lifespan, hub):
                leave = _Leaving()
                if await nursery.start(self._hold, name, lifespan, leave):
                    leaving.append(leave)
            yield
            shutdown.limit(nursery.cancel_scope)
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
            crash, rest = split_crash(error)
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
