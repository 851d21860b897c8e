"""Every hook of hubbub: when it is called, what to return, and what happens when it raises.

A plugin is a class with methods marked `@hookimpl`. Name it in the entry-point group `hubbub`:

```toml
[project.entry-points.hubbub]
example = "my_package:ExamplePlugin"
```

Each hub makes its own instance, without arguments. A method takes those arguments of its hook that
it needs, by name, and may leave out the others. All methods run on Trio's thread, so none may
block; what takes time belongs into a server, a lifespan or an asynchronous hook.

Hooks are called one by one, plugins in order of their names (`@hookimpl(tryfirst=True)` and
`trylast=True` change the order). A hook that returns None says "nothing from me". One that raises
concerns its plugin alone: the failure is logged, counted and told to `hubbub_plugin_failed`.
Pluggy's wrappers would join plugins together again, so a plugin with one is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, Union

import pluggy

if TYPE_CHECKING:
    import click
    import trio
    from pydantic import BaseModel

    from .app import Hub
    from .auth import Credentials, Principal
    from .engine.contract import Delivery, Engine, Outcome, Receipt
    from .http import Request, Response
    from .message import Message
    from .sasl import Mechanism
    from .session import Session
    from .websocket import WebSocket, WebSocketSettings

PROJECT = "hubbub"
"""The entry-point group of plugins, and the prefix of every hook's name."""

hookspec = pluggy.HookspecMarker(PROJECT)
"""Marks the specification of a hook; for plugins that offer hooks of their own."""

hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's implementation of a hook."""

JSON: TypeAlias = Union[bool, int, float, str, list["JSON"], dict[str, "JSON"], None]  # noqa: UP007
"""What JSON can hold."""

Send: TypeAlias = Callable[[Sequence["Message"]], Awaitable[Sequence[bool]]]
"""Delivers a batch to an endpoint; answers for each message whether it arrived."""

SendFactory: TypeAlias = Callable[["Hub", str, "Session"], Send]
"""Makes the sender for one subscription from its URL, and a session of the endpoint's own.

Raises `ValueError` when the URL is not one of its kind; the text says why.
"""

Predicate: TypeAlias = Callable[["Message"], bool]
"""Whether a subscription wants a message."""

FilterFactory: TypeAlias = Callable[[JSON], Predicate]
"""Makes a predicate from its specification. Raises `ValueError`; the text says why."""

Transform: TypeAlias = Callable[["Message", Mapping[str, JSON]], "Message | None"]
"""Makes the message that a route passes on, from the original and options; None drops it."""

Say: TypeAlias = Callable[[str], None]
"""Shows one line of a demo's story."""


@dataclass(frozen=True, slots=True)
class ConfigSection:
    """A plugin's own table of hubbub.toml: its name there, and the pydantic model of its keys.

    The model should forbid extra keys and give each field a default and a description: the
    reference, the JSON schema and `hubbub check` come from it. Read it back with
    `hub.config.section(Model)`.
    """

    name: str
    model: type[BaseModel]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A place where a server listens: shown by `hubbub serve`.

    * `protocol`: as a person calls it, such as "MQTT".
    * `url`: where it listens, such as "mqtt://127.0.0.1:1883".
    * `client`: a line to copy into a shell that uses it, such as
      "mosquitto_sub -p 1883 -t '#'".
    """

    protocol: str
    url: str
    client: str


@dataclass(frozen=True, slots=True)
class Server:
    """Something that runs as long as the hub does: a listener, or a service without endpoints.

    `serve(task_status)` calls `task_status.started(endpoints)` once clients can connect, then runs
    until `hub.shutdown` is requested: it stops accepting, finishes what is in hand and returns. At
    the shutdown's deadline it is cancelled. Returning earlier counts as a crash, like raising.
    """

    name: str
    serve: Callable[[trio.TaskStatus[list[Endpoint]]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """A route on the admin listener. One with a `title` is a page, listed on the first page.

    `path` is matched exactly, or as a prefix when it ends in "/".
    """

    method: str
    path: str
    handler: Callable[[Request], Awaitable[Response]]
    title: str | None = None


@dataclass(frozen=True, slots=True)
class WebSocketProtocol:
    """A protocol over WebSocket, for the port of the HTTP API.

    * `subprotocols`: the names that clients choose it by, in `Sec-WebSocket-Protocol`.
    * `paths`: where it is served, such as "/mqtt". Protocols may share one.
    * `serve(websocket)`: serves one connection, authentication included.
    * `settings`: limits and deadlines; None: as by default.
    * `named`: whether clients must name a subprotocol.
    """

    subprotocols: tuple[str, ...]
    paths: tuple[str, ...]
    serve: Callable[[WebSocket], Awaitable[None]]
    settings: WebSocketSettings | None = None
    named: bool = True


@dataclass(frozen=True, slots=True)
class Client:
    """A client's connection, as observers see it.

    * `id`: the client's own name (an MQTT client identifier), or one made up for it.
    * `protocol`: name and version, such as "mqtt-5".
    * `peer`: where it connects from, such as "127.0.0.1:50312".
    """

    id: str
    protocol: str
    peer: str
    principal: Principal
    realm: str


@dataclass(frozen=True, slots=True)
class Scene:
    """A part of `hubbub demo`: drives real clients, and raises if something did not arrive.

    `run(say)` tells what it does, one short line at a time, by `say`.
    """

    name: str
    run: Callable[[Say], Awaitable[None]]

    @staticmethod
    def expect(found: object, wanted: object) -> None:
        """Raise `AssertionError` if something else arrived than what should have."""
        if found != wanted:
            raise AssertionError(f"{wanted!r} should have arrived, and not {found!r}")


class Hooks(Protocol):
    """The hooks themselves; a plugin implements those it needs."""

    # what a plugin adds

    @hookspec
    def hubbub_hookspecs(self) -> Iterable[type]:
        """Offer hooks to other plugins: classes with methods marked `@hookspec`.

        **Called** once, right after all plugins are made, before any other hook.

        **If it raises,** its plugin is failed; plugins that implement those hooks fail too, unless
        they marked the method `@hookimpl(optionalhook=True)`.

        ```python
        @hookimpl
        def hubbub_hookspecs(self):
            return [MyHooks]  # a class with methods marked @hookspec
        ```
        """

    @hookspec
    def hubbub_config(self) -> ConfigSection:
        """Own a section of hubbub.toml.

        **Called** when the configuration is read, checked or documented; there is no hub yet.
        **Return** the section's name and model. Two plugins can't own the same section.

        **If it raises,** its plugin is failed and its section can't be checked.

        ```python
        @hookimpl
        def hubbub_config(self):
            return ConfigSection("example", ExampleSettings)
        ```
        """

    @hookspec
    def hubbub_servers(self, hub: Hub) -> Iterable[Server]:
        """Serve a protocol, or run any other service.

        **Called** once when the hub starts, its engine running. **Return** servers; each runs
        in a task of its own.

        **If it raises,** its plugin is failed and the rest starts without it. A *server* that
        crashes is started again after a growing pause; one that can't start at all (its port is
        taken) ends `hubbub serve`, or is tried again later, as `plugins.start_failure` says.

        ```python
        @hookimpl
        def hubbub_servers(self, hub):
            async def serve(task_status):
                task_status.started([Endpoint("Example", "tcp://127.0.0.1:7", "nc 127.0.0.1 7")])
                await hub.shutdown.wait()

            yield Server("example", serve)
        ```
        """

    @hookspec
    def hubbub_engines(self, hub: Hub) -> Mapping[str, Callable[[], Engine]]:
        """Offer engines by the name that `hub.engine` chooses them by.

        **Called** once, before anything is opened. **Return** functions that make an engine, not
        yet opened. It calls `hub.store_changed` when it can't write any more, or can again.

        **If it raises,** its plugin is failed; a hub that needs its engine does not start.

        ```python
        @hookimpl
        def hubbub_engines(self, hub):
            return {"example": ExampleEngine}
        ```
        """

    @hookspec
    def hubbub_endpoints(self) -> Mapping[str, SendFactory]:
        """Let subscriptions and routes deliver to URLs of a scheme (`http`, `function`).

        **Called** when the configuration is checked and once when the hub starts. **Return**
        factories by scheme, without the colon. A factory gets the hub, the URL and a session of
        the endpoint's own, once per subscription and start, all lifespans entered. It returns an
        asynchronous function that delivers a batch and answers for each message whether it
        arrived; `[endpoints]` says how large batches are and how many are under way at once.

        **If the factory raises** `ValueError`, the subscription is refused with its text. **If
        the function raises,** or takes too long, none of its batch counts as delivered: the
        messages come again after a pause. Never answer True for what may still be lost.

        ```python
        @hookimpl
        def hubbub_endpoints(self):
            def factory(hub, url, session):
                async def send(messages):
                    return [True for message in messages]

                return send

            return {"example": factory}
        ```
        """

    @hookspec
    def hubbub_filters(self) -> Mapping[str, FilterFactory]:
        """Add kinds of subscription filter.

        **Called** when the configuration is checked and once when the hub starts. **Return**
        factories by kind. A durable subscription keeps kind and specification, and its predicate
        is made again after a restart. A factory raises `ValueError` for a bad specification.

        **If a predicate raises,** the message does not match, and the failure is logged.

        ```python
        @hookimpl
        def hubbub_filters(self):
            return {"larger_than": lambda spec: lambda message: len(message.body) > spec}
        ```
        """

    @hookspec
    def hubbub_transforms(self) -> Mapping[str, Transform]:
        """Add message transforms for `[[route]]`: `transform = [{ use = "upper" }]`.

        **Called** when the configuration is checked and once when the hub starts. **Return**
        functions of a message and the options in the configuration. They return a new message
        (`msgspec.structs.replace`), never change the old one; None drops the message.

        **If one raises,** the message is dropped from the route and counted.

        ```python
        @hookimpl
        def hubbub_transforms(self):
            def upper(message, options):
                return msgspec.structs.replace(message, body=message.body.upper())

            return {"upper": upper}
        ```
        """

    @hookspec
    def hubbub_authenticate(
        self, hub: Hub, credentials: Credentials
    ) -> Awaitable[Principal | None]:
        """Say who a client is.

        **Called** for credentials that the configured users and the rule for anonymous clients
        leave open. **Return** (asynchronously) the principal, or None for "not known to me"; the
        first principal wins. It has to answer within `auth.timeout`.

        **If it raises,** it counts as None, and the failure is reported.

        ```python
        @hookimpl
        async def hubbub_authenticate(self, credentials):
            if isinstance(credentials, BearerToken) and credentials.token == "let me in":
                return Principal("guest", realms=("default",))
        ```
        """

    @hookspec
    def hubbub_mechanisms(self, hub: Hub) -> Mapping[str, Mechanism]:
        """Let clients authenticate in steps: SASL mechanisms, by name.

        **Called** once, when the first protocol asks what there is. **Return** functions that begin
        an exchange with a client (`Attempt`). Its asynchronous `step(response)` answers a
        `Challenge`, or `Authenticated` with the principal, or None to refuse; each within
        `auth.timeout`. A mechanism named "SCRAM-SHA-256" replaces that of the configured users.

        **If beginning or a step raises,** or takes too long, the client is refused, and the failure
        is reported.

        ```python
        @hookimpl
        def hubbub_mechanisms(self, hub):
            class Reverse:
                async def step(self, response):
                    if response is None:
                        return Challenge(b"live")
                    return Authenticated(Principal("guest")) if response == b"evil" else None

            return {"REVERSE": lambda attempt: Reverse()}
        ```
        """

    @hookspec
    def hubbub_authorize(
        self, principal: Principal, action: str, resource: str, realm: str
    ) -> bool | None:
        """Allow or forbid an action.

        **Called** when a principal does something for the first time; the answer is remembered,
        for `auth.decision_ttl` at most, or until `hub.authority.forget()`. `action` is one of
        `hubbub.auth.ACTIONS`; `resource` an address, or for "subscribe" a pattern. **Return** False
        to forbid, True to allow, None to abstain. One False wins over all else.

        **If it raises,** the answer is False, and is not remembered.

        ```python
        @hookimpl
        def hubbub_authorize(self, principal, action, resource):
            if action == "publish" and resource.startswith("$SYS/"):
                return False
        ```
        """

    @hookspec
    def hubbub_http_routes(self, hub: Hub) -> Iterable[HttpRoute]:
        """Add routes and pages to the admin listener.

        **Called** once when the hub starts. **Return** routes; one with a title is listed on the
        console's first page.

        **If a handler raises,** its client gets 500 and the failure is reported.

        ```python
        @hookimpl
        def hubbub_http_routes(self, hub):
            async def hello(request):
                return Response(200, body=b"hello")

            yield HttpRoute("GET", "/hello", hello, title="Hello")
        ```
        """

    @hookspec
    def hubbub_commands(self, cli: click.Group) -> None:
        """Add commands to the `hubbub` command line.

        **Called** when a command is asked for that is not hubbub's own, and for `--help`.

        **If it raises,** the commands of the other plugins are still there.

        ```python
        @hookimpl
        def hubbub_commands(self, cli):
            @cli.command()
            def hello():
                click.echo("hello")
        ```
        """

    @hookspec
    def hubbub_websockets(self, hub: Hub) -> Iterable[WebSocketProtocol]:
        """Speak a protocol over WebSocket on the port of the HTTP API, beside listeners of its own.

        **Called** once when the HTTP API begins to listen, all lifespans entered; clients may come
        before the plugin's own servers listen. **Return** protocols. Pages of other origins than
        `gateway.cors.origins` are refused before.

        **If a connection raises,** its client gets 1011 and the failure is logged.

        ```python
        @hookimpl
        def hubbub_websockets(self, hub):
            async def echo(websocket):
                while True:
                    websocket.send(await websocket.receive())
                    await websocket.drain()

            yield WebSocketProtocol(("echo",), ("/echo",), echo)
        ```
        """

    @hookspec
    def hubbub_lifespan(self, hub: Hub) -> AbstractAsyncContextManager[None]:
        """Set something up before the servers start, and take it down after they stopped.

        **Called** once when the hub starts, its engine running. **Return** an asynchronous
        context manager; it is entered and left in a task of its own. What runs all the time
        belongs into a server (one without endpoints), which is restarted when it crashes.

        **If entering raises,** its plugin is failed and the rest starts without it.

        ```python
        @hookimpl
        @asynccontextmanager
        async def hubbub_lifespan(self, hub):
            self.client = await connect()
            yield
            await self.client.close()
        ```
        """

    @hookspec
    def hubbub_demo(self, hub: Hub) -> Iterable[Scene]:
        """Take part in `hubbub demo`.

        **Called** once by the demo, on a hub with all servers running on free ports. **Return**
        scenes; they are played one after another.

        **If a scene raises,** the demo has failed and says why.

        ```python
        @hookimpl
        def hubbub_demo(self, hub):
            async def run(say):
                say("the example arrived")

            yield Scene("Example", run)
        ```
        """

    # what a plugin is told

    @hookspec
    def hubbub_published(self, session: Session, messages: Sequence[Message]) -> None:
        """See what was published, in batches, after it was routed.

        **Called** for every batch that a session publishes: be quick, and change nothing.

        **If it raises,** publishing goes on; the first failures are logged, all are counted.

        ```python
        @hookimpl
        def hubbub_published(self, messages):
            self.seen += len(messages)
        ```
        """

    @hookspec
    def hubbub_delivered(self, session: Session, deliveries: Sequence[Delivery]) -> None:
        """See what was handed to a client, in batches.

        **Called** when a session gets leased messages: be quick, and change nothing.

        **If it raises,** the delivery goes on; the first failures are logged, all are counted.

        ```python
        @hookimpl
        def hubbub_delivered(self, deliveries):
            self.again += sum(each.redelivered for each in deliveries)
        ```
        """

    @hookspec
    def hubbub_settled(
        self, session: Session, receipts: Sequence[Receipt], outcome: Outcome
    ) -> None:
        """See what clients accepted, released or rejected, in batches.

        **Called** when a session settles: be quick, and change nothing.

        **If it raises,** settling goes on; the first failures are logged, all are counted.

        ```python
        @hookimpl
        def hubbub_settled(self, receipts, outcome):
            self.done += len(receipts)
        ```
        """

    @hookspec
    def hubbub_dropped(self, reason: str, count: int, address: str) -> None:
        """Learn that messages were given up.

        **Called** whenever messages are lost on purpose: a full queue, a slow subscriber, an
        expired message without dead-letter address. `reason` is the label of the metric
        `hubbub_dropped_total`.

        **If it raises,** nothing else changes; the first failures are logged, all are counted.

        ```python
        @hookimpl
        def hubbub_dropped(self, reason, count, address):
            print(f"{count} messages to {address} were dropped: {reason}")
        ```
        """

    @hookspec
    def hubbub_client_connected(self, client: Client) -> None:
        """Learn that a client connected and was let in.

        **Called** when its session begins. An endpoint that URLs are delivered to counts as one.

        **If it raises,** the client stays connected; the first failures are logged.

        ```python
        @hookimpl
        def hubbub_client_connected(self, client):
            print(f"hello {client.id}")
        ```
        """

    @hookspec
    def hubbub_client_disconnected(self, client: Client, reason: str) -> None:
        """Learn that a client's connection ended, and why.

        **Called** when its session ends, with the reason in a few words.

        **If it raises,** nothing else changes; the first failures are logged.

        ```python
        @hookimpl
        def hubbub_client_disconnected(self, client, reason):
            print(f"{client.id} left: {reason}")
        ```
        """

    @hookspec
    def hubbub_plugin_failed(self, plugin: str, error: BaseException, will_restart: bool) -> None:
        """Learn that a plugin failed: at loading, in a hook, or in a server.

        **Called** for each failure, with the plugin's name. `will_restart` says that a server is
        going to be started again.

        **If it raises,** that is logged and nothing else.

        ```python
        @hookimpl
        def hubbub_plugin_failed(self, plugin, error, will_restart):
            print(f"{plugin} failed: {error}")
        ```
        """
