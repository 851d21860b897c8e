"""Keeps the servers of plugins running."""

import errno
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

from .errors import HubbubError
from .hookspecs import Endpoint, Server
from .net.errors import split_crash
from .net.shutdown import Shutdown
from .plugins import PluginError, PluginManager, State


class StartError(HubbubError):
    """Servers could not start. `failures` has (plugin, server, error) for each of them."""

    def __init__(self, failures: Sequence[tuple[str, str, BaseException]]) -> None:
        super().__init__("\n".join(_advise(*failure) for failure in failures))
        self.failures = tuple(failures)


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
                self._shutdown.limit(nursery.cancel_scope)
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
                advised = _advice(crash) is not None
                self._manager.failed(kept.plugin, crash, during="starting", traceback=not advised)
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
            crash, rest = split_crash(error)
            if rest is None:
                return crash
            if crash is not None:
                self._manager.failed(kept.plugin, crash, during="stopping")
            raise rest from None
        return None


def _advise(plugin: str, server: str, error: BaseException) -> str:
    """Say what failed, and what to do about it."""
    reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    what = f"plugin {plugin!r}: server {server!r} can't start: {reason}"
    advice = _advice(error)
    notes = getattr(error, "__notes__", ())
    return " ".join((f"{what}.", advice, *notes)) if advice else what


def _advice(error: BaseException) -> str | None:
    """Say what to do about an error that is not the plugin's fault."""
    number = error.errno if isinstance(error, OSError) else None
    return {
        errno.EADDRINUSE: "Stop the program that listens there, or choose another address for "
        "this server in the configuration (port 0 takes a free one).",
        errno.EADDRNOTAVAIL: "This machine has no such address: choose another in the "
        "configuration.",
        errno.EACCES: "Ports below 1024 need a privilege: choose a higher one in the "
        "configuration, or grant it.",
    }.get(number or 0)
