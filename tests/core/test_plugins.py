import errno
import importlib.metadata
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, cast

import pytest
import trio
import trio.testing
from pydantic import BaseModel

from hubbub.hookspecs import (
    ConfigSection,
    Endpoint,
    Hooks,
    Scene,
    Server,
    Transform,
    hookimpl,
    hookspec,
)
from hubbub.net.shutdown import Shutdown
from hubbub.plugins import Observers, PluginError, PluginManager, State
from hubbub.supervisor import Backoff, StartError, Supervisor

NO_HUB: Any = object()


class RecordingLog:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def error(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields))


class Watcher:
    """A plugin that is told of failures."""

    def __init__(self) -> None:
        self.failures: list[tuple[str, str, bool]] = []

    @hookimpl
    def hubbub_plugin_failed(self, plugin: str, error: BaseException, will_restart: bool) -> None:
        self.failures.append((plugin, str(error), will_restart))


class Settings(BaseModel):
    port: int = 1


class Configured:
    @hookimpl
    def hubbub_config(self) -> ConfigSection:
        return ConfigSection("shared", Settings)


def manager(log: RecordingLog | None = None, **plugins: object) -> PluginManager:
    return PluginManager(plugins=plugins, installed=(), log=log)


Install = Callable[..., list[importlib.metadata.EntryPoint]]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Lay out a distribution with plugins, as an installer would, and give its entry points."""

    def lay_out(
        code: str, entries: str, *, name: str = "acme-things", version: str = "1.2"
    ) -> list[importlib.metadata.EntryPoint]:
        root = tmp_path / name
        info = root / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        module = f"{tmp_path.name.replace('-', '_')}_{name.replace('-', '_')}"
        (info / "entry_points.txt").write_text("[hubbub]\n" + entries.replace("MODULE", module))
        (root / f"{module}.py").write_text("from hubbub.hookspecs import hookimpl\n" + code)
        monkeypatch.syspath_prepend(str(root))
        found = importlib.metadata.distributions(path=[str(root)])
        return [entry for dist in found for entry in dist.entry_points]

    return lay_out


GOOD = """
class Good:
    @hookimpl
    def hubbub_transforms(self):
        return {"good": lambda message, options: message}
"""


class TestLoading:
    def test_plugins_are_told_with_distribution_version_and_hooks(self, install: Install) -> None:
        (plugin,) = PluginManager(installed=install(GOOD, "good = MODULE:Good"))
        assert (plugin.name, plugin.state) == ("good", State.LOADED)
        assert (plugin.distribution, plugin.version) == ("acme-things", "1.2")
        assert plugin.hooks == ("hubbub_transforms",)

    def test_each_manager_has_instances_of_its_own(self, install: Install) -> None:
        entries = install(GOOD, "good = MODULE:Good")
        first, second = PluginManager(installed=entries), PluginManager(installed=entries)
        assert first["good"].instance is not second["good"].instance

    @pytest.mark.parametrize(
        ("code", "entry", "why"),
        [
            ("import nothing_of_that_name", "MODULE:Bad", "nothing_of_that_name"),
            ("raise SystemError('at import')", "MODULE:Bad", "at import"),
            ("", "MODULE:Bad", "Bad"),
            ("Bad = 5", "MODULE:Bad", "is not a class"),
            ("class Bad:\n  def __init__(self): raise OSError('made')", "MODULE:Bad", "made"),
            ("class Bad:\n  def __init__(self, needed): pass", "MODULE:Bad", "needed"),
            ("class Bad: pass", "MODULE:Bad", "implements no hook"),
            (
                "class Bad:\n  @hookimpl\n  def hubbub_server(self): pass",
                "MODULE:Bad",
                "did you mean 'hubbub_servers'",
            ),
            (
                "class Bad:\n  @hookimpl\n  def hubbub_servers(self, gateway): pass",
                "MODULE:Bad",
                "gateway",
            ),
            (
                "class Bad:\n  @hookimpl(wrapper=True)\n  def hubbub_servers(self):\n    yield",
                "MODULE:Bad",
                "wrapper",
            ),
        ],
    )
    def test_a_broken_plugin_fails_alone(
        self, install: Install, code: str, entry: str, why: str
    ) -> None:
        log = RecordingLog()
        watcher = Watcher()
        plugins = PluginManager(
            installed=install(f"{GOOD}\n{code}", f"bad = {entry}")
            + install(GOOD, "good = MODULE:Good", name="fine"),
            plugins={"watcher": watcher},
            log=log,
        )
        assert plugins["bad"].state is State.FAILED
        error = plugins["bad"].error
        assert error is not None
        assert why in str(error)
        assert error.__traceback__ is not None
        assert plugins["good"].state is State.LOADED
        assert "good" in plugins.collect(Hooks.hubbub_transforms)
        assert [(name, fields["plugin"]) for name, fields in log.events] == [
            ("plugin failed", "bad")
        ]

    def test_names_of_two_distributions_do_not_clash(self, install: Install) -> None:
        entries = install(GOOD, "good = MODULE:Good") + install(
            GOOD, "good = MODULE:Good", name="other"
        )
        plugins = PluginManager(installed=entries)
        assert plugins["good"].state is State.LOADED
        assert plugins["good of other"].state is State.FAILED
        assert "acme-things" in str(plugins["good of other"].error)

    def test_disabled_plugins_are_not_imported(self, install: Install) -> None:
        entries = install("raise SystemError", "bad = MODULE:Bad\nworse = MODULE:Bad")
        disabled = PluginManager(installed=entries, disable=["bad", "worse"])
        assert [each.state for each in disabled] == [State.DISABLED, State.DISABLED]
        enabled = PluginManager(installed=entries, enable=["bad"])
        assert [each.state for each in enabled] == [State.FAILED, State.DISABLED]

    @pytest.mark.parametrize("which", ["enable", "disable"])
    def test_unknown_names_are_refused_with_a_suggestion(self, which: str) -> None:
        with pytest.raises(PluginError, match=r"no plugin 'wacher' .* did you mean 'watcher'"):
            PluginManager(
                plugins={"watcher": Watcher()}, installed=(), **cast("Any", {which: ["wacher"]})
            )

    def test_a_plugin_passed_in_does_not_replace_an_installed_one(self, install: Install) -> None:
        entries = install(GOOD, "good = MODULE:Good")
        with pytest.raises(PluginError, match="installed plugin 'good'"):
            PluginManager(installed=entries, plugins={"good": Watcher()})


class TestHooksOfPlugins:
    class Specs(Protocol):
        @hookspec
        def hubbub_acme_things(self, amount: int) -> list[int]:
            """Return things."""

    class Offering:
        @hookimpl
        def hubbub_hookspecs(self) -> list[type]:
            return [TestHooksOfPlugins.Specs]

    class Using:
        @hookimpl
        def hubbub_acme_things(self, amount: int) -> list[int]:
            return [amount] * 2

    class Optional:
        @hookimpl(optionalhook=True)
        def hubbub_acme_things(self, amount: int) -> list[int]:
            return [amount]

    def test_a_hook_offered_by_one_is_implemented_by_another(self) -> None:
        plugins = manager(a_user=self.Using(), z_owner=self.Offering())
        assert plugins.gather(self.Specs.hubbub_acme_things, 3) == [("a_user", 3), ("a_user", 3)]
        assert "hubbub_acme_things" in plugins.hooks()

    def test_without_its_owner_only_an_optional_implementation_is_fine(self) -> None:
        plugins = manager(strict=self.Using(), lenient=self.Optional())
        assert plugins["strict"].state is State.FAILED
        assert "nobody offers a hook hubbub_acme_things" in str(plugins["strict"].error)
        assert plugins["lenient"].state is State.LOADED


class Transforming:
    def __init__(self, *names: str, error: Exception | None = None) -> None:
        self.names = names
        self.error = error

    @hookimpl
    def hubbub_transforms(self) -> Mapping[str, Transform]:
        if self.error:
            raise self.error
        return {name: lambda message, options: message for name in self.names}


class TestCalling:
    def test_in_order_of_name_with_the_plugin_told(self) -> None:
        plugins = manager(c=Transforming("3"), a=Transforming("1"), b=Transforming("2"))
        answers = plugins.call_each(Hooks.hubbub_transforms)
        assert [(name, list(answer)) for name, answer in answers] == [
            ("a", ["1"]),
            ("b", ["2"]),
            ("c", ["3"]),
        ]

    def test_tryfirst_and_trylast(self) -> None:
        class First(Transforming):
            @hookimpl(tryfirst=True)
            def hubbub_transforms(self) -> Mapping[str, Transform]:
                return {}

        class Last(Transforming):
            @hookimpl(trylast=True)
            def hubbub_transforms(self) -> Mapping[str, Transform]:
                return {}

        plugins = manager(a=Last(), b=Transforming(), c=First())
        assert [name for name, _ in plugins.call_each(Hooks.hubbub_transforms)] == ["c", "b", "a"]

    def test_a_failure_does_not_stop_the_rest_and_is_told(self) -> None:
        watcher = Watcher()
        plugins = manager(a=Transforming(error=OSError("no")), b=Transforming("x"), watcher=watcher)
        assert list(plugins.collect(Hooks.hubbub_transforms)) == ["x"]
        assert watcher.failures == [("a", "no", False)]
        assert plugins["a"].state is State.FAILED
        assert [name for name, _ in plugins.implementations(Hooks.hubbub_transforms)] == ["b"]

    def test_a_generator_that_fails_midway_gives_nothing(self) -> None:
        class Failing:
            @hookimpl
            def hubbub_demo(self, hub: object) -> Iterator[Scene]:
                yield Scene("lost", cast("Any", None))
                raise OSError("midway")

        class Fine:
            @hookimpl
            def hubbub_demo(self) -> Iterator[Scene]:
                yield Scene("kept", cast("Any", None))

        plugins = manager(a=Failing(), b=Fine())
        scenes = plugins.gather(Hooks.hubbub_demo, NO_HUB)
        assert [(name, scene.name) for name, scene in scenes] == [("b", "kept")]
        assert plugins["a"].state is State.FAILED

    def test_two_plugins_offering_one_name(self) -> None:
        plugins = manager(a=Transforming("x"), b=Transforming("y", "x"))
        assert list(plugins.collect(Hooks.hubbub_transforms)) == ["x"]
        assert "plugin 'a' offers 'x' already" in str(plugins["b"].error)

    def test_a_section_has_one_owner(self) -> None:
        plugins = manager(a=Configured(), b=Configured())
        assert [name for name, _ in plugins.sections()] == ["a"]
        assert plugins["b"].state is State.FAILED
        assert "[shared]" in str(plugins["b"].error)

    def test_implementations_take_the_arguments_they_name(self) -> None:
        seen: list[object] = []

        class Some:
            @hookimpl
            def hubbub_dropped(self, address: str, reason: str) -> None:
                seen.append((address, reason))

        tell = manager(some=Some()).observer(Hooks.hubbub_dropped)
        assert tell is not None
        tell("overflow", 2, "a/b")
        tell("expired", count=1, address="c")
        assert seen == [("a/b", "overflow"), ("c", "expired")]


class TestObservers:
    def test_nobody_listens(self) -> None:
        plugins = manager(watcher=Watcher())
        assert not plugins.implementations(Hooks.hubbub_published)
        assert plugins.implementations(Hooks.hubbub_plugin_failed)
        assert plugins.observer(Hooks.hubbub_published) is None
        assert set(vars(Observers(plugins)).values()) == {None}

    def test_a_failing_observer_never_raises_and_does_not_flood_the_log(self) -> None:
        class Failing:
            @hookimpl
            def hubbub_published(self) -> None:
                raise OSError("again")

        class Fine:
            seen = 0

            @hookimpl
            def hubbub_published(self, messages: list[object]) -> None:
                self.seen += len(messages)

        log, fine = RecordingLog(), Fine()
        plugins = manager(log, a=Failing(), b=fine)
        published = Observers(plugins).published
        assert published is not None
        for _ in range(100):
            published(NO_HUB, [NO_HUB])
        assert fine.seen == 100
        assert plugins["a"].failures == 100
        assert plugins["a"].state is State.LOADED
        assert len(log.events) == 7  # 1, 2, 4 … 64

    def test_a_failure_in_telling_of_a_failure_ends_there(self) -> None:
        class Failing:
            @hookimpl
            def hubbub_plugin_failed(self) -> None:
                raise OSError("and again")

        watcher = Watcher()
        plugins = manager(a=Failing(), b=watcher)
        plugins.failed("b", OSError("first"), during="testing")
        assert watcher.failures == [("b", "first", False)]
        assert plugins["a"].failures == 1


class Life:
    def __init__(self, diary: list[str], name: str, *, fail: str = "") -> None:
        self.diary, self.name, self.fail = diary, name, fail

    @hookimpl
    @asynccontextmanager
    async def hubbub_lifespan(self) -> AsyncIterator[None]:
        self.diary.append(f"enter {self.name}")
        if self.fail == "enter":
            raise OSError("enter")
        async with trio.open_nursery() as nursery:
            if self.fail == "inside":
                nursery.start_soon(self.crash)
            yield
            nursery.cancel_scope.cancel()
        self.diary.append(f"leave {self.name}")
        if self.fail == "leave":
            raise OSError("leave")

    async def crash(self) -> None:
        raise OSError("inside")


class TestLifespans:
    async def test_entered_in_order_and_left_in_reverse(self) -> None:
        diary: list[str] = []
        plugins = manager(a=Life(diary, "a"), b=Life(diary, "b"))
        async with plugins.lifespans(NO_HUB, Shutdown()):
            diary.append("serve")
        assert diary == ["enter a", "enter b", "serve", "leave b", "leave a"]

    @pytest.mark.parametrize("when", ["enter", "inside", "leave"])
    async def test_one_that_fails_does_not_take_the_rest_along(self, when: str) -> None:
        diary: list[str] = []
        plugins = manager(a=Life(diary, "a", fail=when), b=Life(diary, "b"))
        async with plugins.lifespans(NO_HUB, Shutdown()):
            await trio.testing.wait_all_tasks_blocked()
            diary.append("serve")
        assert diary.index("enter b") < diary.index("serve") < diary.index("leave b")
        assert plugins["a"].state is State.FAILED
        assert str(plugins["a"].error) == when
        assert plugins["b"].state is State.LOADED

    async def test_cancelled_with_the_hub(self) -> None:
        diary: list[str] = []
        plugins = manager(a=Life(diary, "a"))
        with trio.CancelScope() as scope:
            async with plugins.lifespans(NO_HUB, Shutdown()):
                scope.cancel()
                await trio.sleep_forever()
        assert plugins["a"].state is State.LOADED


class Nothing:
    """A plugin whose servers are given to the supervisor by the test."""

    @hookimpl
    def hubbub_transforms(self) -> Mapping[str, Transform]:
        return {}


class Supervision:
    """A supervisor with servers that do what the test says."""

    def __init__(self, **options: Any) -> None:
        self.watcher = Watcher()
        self.manager = manager(a=Nothing(), b=Nothing(), watcher=self.watcher)
        self.shutdown = Shutdown()
        self.supervisor = Supervisor(
            self.manager, self.shutdown, rng=cast("random.Random", NoChance()), **options
        )
        self.starts: dict[str, list[float]] = {}
        self.ended: list[str] = []

    def server(self, name: str, *script: float | BaseException) -> tuple[str, Server]:
        """Make a server: each number is a run of so many seconds that ends in a crash; each
        exception is one that can't start. Then it runs well.
        """
        acts = iter(script)

        async def serve(task_status: trio.TaskStatus[list[Endpoint]]) -> None:
            self.starts.setdefault(name, []).append(trio.current_time())
            act = next(acts, None)
            if isinstance(act, BaseException):
                raise act
            task_status.started([Endpoint(name, f"x://{len(self.starts[name])}", "x")])
            if act is not None:
                await trio.sleep(act)
                raise RuntimeError(f"crash of {name}")
            try:
                await self.shutdown.wait()
            finally:
                self.ended.append(name)

        return name, Server(name, serve)


class NoChance:
    def random(self) -> float:
        return 0.0


class TestSupervisor:
    async def test_endpoints_are_reported_and_a_stop_is_graceful(self) -> None:
        s = Supervision()
        async with trio.open_nursery() as nursery:
            endpoints = await nursery.start(s.supervisor.run, [s.server("a"), s.server("b")])
            assert [each.protocol for each in endpoints] == ["a", "b"]
            assert [each.state for each in s.manager] == [State.RUNNING] * 3
            s.shutdown.request(5)
        assert sorted(s.ended) == ["a", "b"]
        assert [each.state for each in s.manager] == [State.LOADED] * 3
        assert s.watcher.failures == []

    async def test_a_server_that_does_not_stop_is_cancelled_at_the_deadline(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async def stubborn(task_status: trio.TaskStatus[list[Endpoint]]) -> None:
            task_status.started([])
            await trio.sleep_forever()

        s = Supervision()
        async with trio.open_nursery() as nursery:
            await nursery.start(s.supervisor.run, [("a", Server("a", stubborn)), s.server("b")])
            s.shutdown.request(5)
        assert trio.current_time() == 5
        assert s.ended == ["b"]

    async def test_a_crashed_server_is_started_again_with_growing_pauses(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        s = Supervision(backoff=Backoff(first=1, longest=4, healthy=60))
        async with trio.open_nursery() as nursery:
            crashes: list[float | BaseException] = [0.0, 0.0, OSError("gone"), 0.0]
            await nursery.start(s.supervisor.run, [s.server("a", *crashes), s.server("b")])
            await trio.sleep(0.5)
            assert next(iter(s.manager)).state is State.RESTARTING
            assert [each.protocol for each in s.supervisor.endpoints] == ["b"]
            await trio.sleep(20)
            assert s.starts == {"a": [0, 1, 3, 7, 11], "b": [0]}
            assert s.manager["a"].state is State.RUNNING
            assert s.manager["a"].restarts == 4
            assert [each.url for each in s.supervisor.endpoints] == ["x://5", "x://1"]
            s.shutdown.request(5)
        crash = ("a", "crash of a", True)
        assert s.watcher.failures == [crash, crash, ("a", "gone", True), crash]

    async def test_pauses_begin_anew_after_a_healthy_time(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        s = Supervision(backoff=Backoff(first=1, longest=8, healthy=60))
        async with trio.open_nursery() as nursery:
            await nursery.start(s.supervisor.run, [s.server("a", 0, 0, 59, 60)])
            await trio.sleep(200)
            assert s.starts["a"] == [0, 1, 3, 3 + 59 + 4, 66 + 60 + 1]
            s.shutdown.request(5)

    async def test_a_stop_ends_a_pause(self, autojump_clock: trio.testing.MockClock) -> None:
        s = Supervision(backoff=Backoff(first=1000, longest=1000))
        async with trio.open_nursery() as nursery:
            await nursery.start(s.supervisor.run, [s.server("a", 0)])
            await trio.sleep(1)
            s.shutdown.request(50)
        assert trio.current_time() == 1

    async def test_returning_early_counts_as_a_crash(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async def brief(task_status: trio.TaskStatus[list[Endpoint]]) -> None:
            task_status.started([])

        s = Supervision()
        async with trio.open_nursery() as nursery:
            await nursery.start(s.supervisor.run, [("a", Server("brief", brief))])
            await trio.sleep(0.1)
            s.shutdown.request(5)
        assert s.watcher.failures == [("a", "server 'brief' ended by itself", True)]

    async def test_servers_that_can_not_start_end_it_all_and_are_all_named(self) -> None:
        s = Supervision()
        busy = OSError(errno.EADDRINUSE, "cannot listen on 127.0.0.1:1883: in use")
        servers = [s.server("a", busy), s.server("b"), s.server("watcher", ValueError("odd"))]
        with pytest.raises(ExceptionGroup) as caught:
            async with trio.open_nursery() as nursery:
                await nursery.start(s.supervisor.run, servers)
        (error,) = caught.value.exceptions
        assert isinstance(error, StartError)
        assert [failure[:2] for failure in error.failures] == [("a", "a"), ("watcher", "watcher")]
        assert "127.0.0.1:1883" in str(error)
        assert "port 0 takes a free one" in str(error)
        assert "odd" in str(error)
        assert s.ended == ["b"]
        assert s.manager["a"].state is State.FAILED
        assert s.manager["b"].state is State.LOADED

    async def test_with_retry_the_rest_starts_and_the_server_is_tried_again(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        s = Supervision(retry_start=True, backoff=Backoff(first=1))
        servers = [s.server("a", OSError("busy")), s.server("b")]
        async with trio.open_nursery() as nursery:
            endpoints = await nursery.start(s.supervisor.run, servers)
            assert [each.protocol for each in endpoints] == ["b"]
            await trio.sleep(2)
            assert [each.protocol for each in s.supervisor.endpoints] == ["a", "b"]
            s.shutdown.request(5)
        assert s.watcher.failures == [("a", "busy", True)]

    async def test_a_server_that_never_listens_is_given_up(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async def silent(task_status: trio.TaskStatus[list[Endpoint]]) -> None:
            await trio.sleep_forever()

        s = Supervision(start_deadline=30)
        with pytest.raises(StartError, match="TooSlowError"):
            await s.supervisor.run([("a", Server("silent", silent))])
        assert trio.current_time() == 30

    async def test_a_crash_while_stopping_does_not_stop_the_others(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async def clumsy(task_status: trio.TaskStatus[list[Endpoint]]) -> None:
            task_status.started([])
            try:
                await s.shutdown.wait()
                await trio.sleep_forever()
            finally:
                raise RuntimeError("clumsy")

        s = Supervision()
        async with trio.open_nursery() as nursery:
            await nursery.start(s.supervisor.run, [("a", Server("clumsy", clumsy)), s.server("b")])
            s.shutdown.request(1)
        assert s.ended == ["b"]
        assert s.watcher.failures == [("a", "clumsy", False)]

    def test_pauses_are_bounded_and_scattered(self) -> None:
        backoff = Backoff(first=0.5, factor=2, longest=30)
        assert [backoff.pause(attempt, 0) for attempt in range(8)] == [
            0.5,
            1,
            2,
            4,
            8,
            16,
            30,
            30,
        ]
        assert backoff.pause(10**9, 0) == 30
        assert backoff.pause(0, 1) == 0.25
