"""The hub: one process as an object. Opens the engine, loads plugins, serves, stops."""

import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from .acknowledger import Acknowledger
from .auth import Authority, Credentials, Principal
from .background import Background
from .builtin import builtin_plugins
from .bus import Bus
from .clock import Clock, SystemClock
from .config import ENVIRONMENT_PREFIX, Config
from .endpoints import Endpoints
from .engine.contract import DEFAULT_REALM, Engine, Queue
from .engine.embedded import EmbeddedEngine
from .engine.journal import Journal, MemoryJournal
from .engine.sqlite import SqliteJournal
from .errors import HubbubError
from .hookspecs import Client, Endpoint, Hooks, Server, WebSocketProtocol
from .http import App, HttpError, HttpServer, Request, Response
from .logs import make_logger
from .metrics import Meters
from .net.errors import sole_errors
from .plugins import Observers, PluginManager
from .ports import listener_key
from .routes import add_routes
from .sasl import Attempt, Authentication
from .server import Address, Flusher, Handler, ListenerSettings, ListenerStats, Shutdown, serve_tcp
from .session import Session
from .streams import StreamSettings
from .supervisor import Supervisor

_SLACK = 2.0
"""Seconds after all deadlines in which a process that stops must have ended."""


class Hub:
    """One hubbub: configuration, plugins, engine and bus. Make as many as you like.

    Args:
        config: the configuration; None for the defaults.
        plugins: instances by name, beside those installed and chosen.
        clock: the wall clock.
        log: a structlog logger; None makes one as the configuration says.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        plugins: Mapping[str, object] | None = None,
        clock: Clock | None = None,
        log: Any = None,
    ) -> None:
        self.config = config or Config()
        self.clock = clock or SystemClock()
        self.log = make_logger(self.config.log) if log is None else log
        self.flusher = Flusher()
        self.acknowledger = Acknowledger(self.log)
        """Calls back when commits are kept: for connections that must not wait."""
        self.background = Background(self.log)
        """Runs what connections start and need not wait for."""
        self.shutdown = Shutdown()
        self.manager = PluginManager(
            enable=self.config.plugins.enable,
            disable=self.config.plugins.disable,
            plugins={**builtin_plugins(), **(plugins or {})},
            log=self.log,
        )
        self.authority = Authority(self.config, self.manager, self)
        self.meters = Meters()
        self._commits = self.meters.timings("commit_seconds", "Writing a batch to the store.")
        self._store_reason = ""
        self.engine = self._make_engine()
        self.observers = Observers(self.manager)
        filters = self.manager.collect(Hooks.hubbub_filters)
        self.bus = Bus(
            self.engine,
            self.clock,
            self._lost,
            filters,
            self._function_failed,
            max_retained=self.config.hub.max_retained,
            max_retained_bytes=self.config.hub.max_retained_bytes,
        )
        makers = self.manager.collect(Hooks.hubbub_endpoints)
        self.bus.endpoints = self._outlets = Endpoints(
            self.engine,
            self.config.endpoints,
            {scheme: partial(make, self) for scheme, make in makers.items()},
            self._endpoint_session,
            self.shutdown,
            self._lost,
            self.log,
        )
        self.supervisor = Supervisor(
            self.manager,
            self.shutdown,
            retry_start=self.config.plugins.start_failure == "retry",
        )
        self._show_metrics()
        self.ready = False
        """Whether every server listens and none has been asked to stop."""

    def _show_metrics(self) -> None:
        meters, bus, stats = self.meters, self.bus, self.engine.stats
        meters.show_plugins(self.manager)
        meters.show_queues(self.engine.all_queues, self.config.admin.metrics_queues)
        meters.show_sent(
            lambda: {
                "topic": bus.sent_to_topics,
                "queue": bus.sent_to_queues,
                "stream": bus.sent_to_streams,
            }
        )
        meters.gauge("subscriptions", "Subscriptions there are.", bus.count_subscriptions)
        meters.gauge("retained", "Retained messages there are.", bus.count_retained)
        meters.gauge("messages", "Messages in all queues.", lambda: stats().messages)
        text = "Bytes of messages that are held in memory."
        meters.gauge("memory_bytes", text, lambda: stats().memory_bytes)
        text = "Bytes that wait to be written to the store."
        meters.gauge("backlog_bytes", text, lambda: stats().backlog_bytes)
        meters.gauge("endpoints", "Subscriptions and routes to URLs.", lambda: len(self._outlets))
        text = "Deliveries to URLs that failed."
        meters.counter("endpoint_failures", text, lambda: self._outlets.failures)

    def _make_engine(self) -> Engine:
        settings = self.config.hub
        if settings.engine == "embedded":
            return EmbeddedEngine(
                self._make_journal(), self.clock, memory_limit=settings.memory_limit
            )
        engines = self.manager.collect(Hooks.hubbub_engines, self)
        if settings.engine not in engines:
            known = ", ".join(["embedded", *engines])
            raise HubbubError(f"no engine {settings.engine!r}; there are: {known}")
        return engines[settings.engine]()

    def _make_journal(self) -> Journal:
        settings = self.config.hub
        if settings.durability == "memory":
            return MemoryJournal()
        return SqliteJournal(
            settings.data,
            settings.durability,
            memory_limit=settings.memory_limit,
            close_timeout=max(1.0, settings.stop_deadline),
            clock=self.clock,
            on_state=self.store_changed,
            on_written=self._commits.observe,
        )

    def store_changed(self, available: bool, reason: str) -> None:
        """Note whether the store can write, and why not: for the engine, when that changes."""
        self._store_reason = "" if available else reason
        if available:
            self.log.info("the store writes again")
        else:
            self.log.error("the store can't write", reason=reason)

    def _function_failed(self, error: Exception) -> None:
        self.log.error("a plugin's function failed", exc_info=error)

    def _lost(self, reason: str, count: int, address: str) -> None:
        self.meters.drop(reason, count)
        if self.observers.dropped:
            self.observers.dropped(reason, count, address)

    # running

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve inside the context. Leaving it stops gracefully, within the stop deadline.

        Raises:
            UnavailableError: the data folder can't be used; says what to do.
            StartError: a server could not start.
        """
        with sole_errors():
            async with self._running():
                yield

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as services:
            await services.start(self.flusher.run)
            services.start_soon(self.authority.run)
            services.start_soon(self.acknowledger.run)
            self.engine.hold()
            async with self.engine.running():
                await self.bus.load()
                await self._declare()
                async with (
                    self.background.running(),
                    self.manager.lifespans(self, self.shutdown),
                    self._outlets.running(),
                    trio.open_nursery() as servers,
                ):
                    self.engine.begin()
                    await servers.start(self._serve)
                    self.ready = True
                    try:
                        yield
                    except BaseException:
                        self.shutdown.request(0)
                        raise
                    finally:
                        self.ready = False
                        self.shutdown.request(self.config.hub.stop_deadline)
            services.cancel_scope.cancel()

    async def _serve(self, task_status: trio.TaskStatus[list[Endpoint]]) -> None:
        servers: list[tuple[str, Server]] = self.manager.gather(Hooks.hubbub_servers, self)
        await self.supervisor.run(servers, task_status=task_status)

    async def _declare(self) -> None:
        """Make the queues, streams and routes that the configuration names."""
        for queue in self.config.queues:
            settings = queue.settings()
            found = self.engine.find_queue(queue.realm, queue.name)
            if found is None:
                await self.engine.create_queue(queue.realm, queue.name, settings)
            elif found.settings != settings:
                await found.configure(settings)
        for stream in self.config.streams:
            retention = None if stream.retention is None else round(stream.retention * 1000)
            wanted = StreamSettings(retention=retention, max_bytes=stream.max_bytes)
            log = self.engine.find_stream(stream.realm, stream.name)
            if log is None:
                await self.engine.create_stream(stream.realm, stream.name, wanted, stream.shards)
            elif log.settings != wanted:
                await log.configure(wanted)
        transforms = self.manager.collect(Hooks.hubbub_transforms)
        add_routes(self.bus, self.config.routes, transforms, self._transform_failed)

    def _transform_failed(self, name: str, error: Exception) -> None:
        self.log.error("transform failed", transform=name, exc_info=error)

    def all_queues(self) -> Iterable[Queue]:
        """Return the queues of all realms."""
        return self.engine.all_queues()

    def unready(self) -> list[str]:
        """Return why clients can't be served now; nothing if they can."""
        reasons = [] if self.ready else ["starting or stopping"]
        if not self._store_reason:
            return reasons
        return [*reasons, f"the store can't write: {self._store_reason}"]

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where the servers listen that are up now."""
        return self.supervisor.endpoints

    # what plugins use

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """Say who a client is; None if nobody knows it.

        Raises:
            BusyError: passwords can't be verified in time.
        """
        return await self.authority.authenticate(credentials)

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """Names of the mechanisms by which clients can authenticate in steps: see `hubbub.sasl`."""
        return self.authority.mechanisms

    def begin_authentication(self, attempt: Attempt) -> Authentication:
        """Begin to authenticate a client in steps.

        Raises:
            NotFoundError: there is no such mechanism.
        """
        return self.authority.begin(attempt)

    def _endpoint_session(self, realm: str, id_: str, scheme: str) -> Session:
        principal = Principal("endpoint", realms=(realm,))
        return self.session(principal, protocol=scheme, client=f"endpoint/{id_}", realm=realm)

    def websocket_protocols(self) -> list[WebSocketProtocol]:
        """Return what plugins speak over WebSocket, for the one that has the HTTP API's port."""
        return [each for _, each in self.manager.gather(Hooks.hubbub_websockets, self)]

    def session(
        self,
        principal: Principal,
        *,
        protocol: str,
        client: str,
        peer: str = "",
        realm: str = DEFAULT_REALM,
    ) -> Session:
        """Make a client's handle on the bus; use it as a context manager.

        * `protocol`: name and version, such as "mqtt-5": marks what it publishes.
        * `client`: its own name, or one made up for it. `peer`: where it connects from.
        """
        return Session(
            self.bus,
            Client(client, protocol, peer, principal, realm),
            allows=self.authority.allows,
            meter=self.meters.protocol(protocol),
            observers=self.observers,
        )

    def _note_key(self, error: OSError, settings: ListenerSettings) -> None:
        """Note at an error where the addresses of a listener can be changed."""
        names = {spec.model: spec.name for _, spec in self.manager.sections()}
        sections = {names.get(type(each), "?"): each for each in self.config.plugin_sections}
        key = listener_key({"admin": self.config.admin, **sections}, settings)
        if key is not None:
            variable = f"{ENVIRONMENT_PREFIX}{key.upper().replace('.', '__')}"
            error.add_note(
                f"It is {key} there; in the environment, {variable}='[\"127.0.0.1:0\"]' does."
            )

    async def serve_tcp(
        self,
        handler: Handler,
        settings: ListenerSettings,
        describe: Callable[[Address], Endpoint | Sequence[Endpoint]],
        *,
        name: str,
        alpn: Sequence[str] = (),
        task_status: trio.TaskStatus[list[Endpoint]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen and serve a protocol until the hub stops: the body of most servers.

        Args:
            handler: serves one connection.
            settings: addresses and limits.
            describe: says what an address that was bound offers: one endpoint, or several.
            name: the label of the listener's metrics.
            alpn: application protocols for TLS, the preferred first.
            task_status: gets the endpoints.
        """
        stats = ListenerStats()
        with self.meters.listener(name, stats):
            async with trio.open_nursery() as nursery:

                def crashed(error: BaseException, transport: object) -> None:
                    self.log.error("connection failed", listener=name, exc_info=error)

                async def serve(*, task_status: trio.TaskStatus[list[Address]]) -> None:
                    try:
                        await serve_tcp(
                            handler,
                            settings,
                            flusher=self.flusher,
                            shutdown=self.shutdown,
                            stats=stats,
                            on_error=crashed,
                            alpn=alpn,
                            task_status=task_status,
                        )
                    except OSError as error:
                        self._note_key(error, settings)
                        raise

                addresses = await nursery.start(serve)
                endpoints: list[Endpoint] = []
                for address in addresses:
                    offered = describe(address)
                    endpoints += [offered] if isinstance(offered, Endpoint) else offered
                task_status.started(endpoints)

    async def serve_http(
        self,
        app: App,
        settings: ListenerSettings,
        describe: Callable[[Address], Endpoint | Sequence[Endpoint]],
        *,
        name: str,
        max_body_bytes: int | None = None,
        render_error: Callable[[HttpError], Response] = HttpError.response,
        task_status: trio.TaskStatus[list[Endpoint]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen and serve HTTP as `[http]` says: `serve_tcp` for an HTTP application.

        Args:
            app: answers the requests. When it raises, that is logged and the client gets a 500.
            settings: addresses and limits.
            describe: says what an address that was bound offers: one endpoint, or several.
            name: the label of the listener's metrics.
            max_body_bytes: of a request, instead of `[http]`'s.
            render_error: makes the answers to requests that can't be read, to which `app` raises an
                `HttpError`, or over which it crashes; plain text by default.
            task_status: gets the endpoints.
        """
        http = self.config.http
        if max_body_bytes is not None:
            http = http.model_copy(update={"max_body_bytes": max_body_bytes})

        def failed(error: BaseException, request: Request) -> None:
            self.log.error("request failed", listener=name, path=request.path, exc_info=error)

        server = HttpServer(
            app, http, shutdown=self.shutdown, on_error=failed, render_error=render_error
        )
        with self.meters.http(name, server.stats):
            await self.serve_tcp(
                server,
                settings,
                describe,
                name=name,
                alpn=server.alpn,
                task_status=task_status,
            )


async def serve(config: Config, *, ready: Callable[[Sequence[Endpoint]], None]) -> None:
    """Run a hub until SIGINT or SIGTERM; a second one ends it at once.

    `ready` is called with the endpoints when every server listens. For a process of its own: one
    whose loop hangs when it should stop is ended the hard way, with exit code 1.
    """
    hub = Hub(config)
    # Servers have the stop deadline, then the store has as much to write what is left.
    watchdog = threading.Timer(2 * config.hub.stop_deadline + _SLACK, _end_process)
    watchdog.daemon = True
    try:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                stop = trio.Event()

                async def listen() -> None:
                    async for _ in signals:
                        if stop.is_set() or not hub.ready:
                            nursery.cancel_scope.cancel()
                        stop.set()

                nursery.start_soon(listen)
                async with hub.running():
                    ready(hub.endpoints)
                    await stop.wait()
                    hub.log.info("stopping", deadline=config.hub.stop_deadline)
                    watchdog.start()
                nursery.cancel_scope.cancel()
    finally:
        watchdog.cancel()


def _end_process() -> None:
    os.write(2, b"error: hubbub did not stop in time, and ended itself\n")
    os._exit(1)
