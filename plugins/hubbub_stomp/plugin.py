"""The plugin: configuration, listeners, and the filter kind `selector`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import trio

from hubbub import (
    ConfigSection,
    Endpoint,
    HttpError,
    Hub,
    ListenerSettings,
    Message,
    Request,
    Response,
    Scene,
    Server,
    SocketAddress,
    Transport,
    Upgrade,
    WebSocket,
    WebSocketProtocol,
    WebSocketTransport,
    accept_websocket,
    hookimpl,
)

from .broker import Broker
from .connection import Connection
from .demo import scenes
from .mapping import property_of
from .settings import StompSettings, StompWebSocket
from .subscriptions import NO_LOCAL, SELECTOR

if TYPE_CHECKING:
    from .selectors import SelectorCompiler

SUBPROTOCOLS = ("v12.stomp", "v11.stomp", "v10.stomp")
"""The names of STOMP among WebSocket's subprotocols."""


_KEPT_FILTERS = 1_000
_TRY_AGAIN_LATER = 1013


class StompPlugin:
    """Serves STOMP over TCP, TLS and WebSocket."""

    def __init__(self) -> None:
        self._broker: Broker | None = None
        self._compiler: SelectorCompiler | None = None
        self._filters: dict[str, Callable[[Message], bool]] = {}

    @hookimpl
    def hubbub_config(self) -> ConfigSection:
        """Own the section `[stomp]`."""
        return ConfigSection("stomp", StompSettings)

    @hookimpl
    def hubbub_filters(self) -> Mapping[str, Callable[[Any], Callable[[Message], bool]]]:
        """Let any subscription choose messages by a selector, or not hear its own client."""
        return {SELECTOR: self._filter, NO_LOCAL: self._filter_others}

    def _filter(self, spec: Any) -> Callable[[Message], bool]:
        """Make a predicate; the same one for the same text, so that batches can be shared."""
        text = str(spec)
        accepts = self._filters.get(text)
        if accepts is None:
            if self._compiler is None:
                # When somebody has a selector: its parser takes a while to import and to make.
                from .selectors import SelectorCompiler  # noqa: PLC0415

                self._compiler = SelectorCompiler()
            selector = self._compiler.compile(text)

            def accepts(message: Message) -> bool:
                return selector(partial(property_of, message))

            if len(self._filters) >= _KEPT_FILTERS:
                self._filters.clear()
            self._filters[text] = accepts
        return accepts

    def _filter_others(self, spec: Any) -> Callable[[Message], bool]:
        """Make a predicate for what others than a client sent, and for a selector, if any."""
        client, text = spec
        accepts = None if text is None else self._filter(text)
        return lambda message: message.client != client and (accepts is None or accepts(message))

    @hookimpl
    def hubbub_demo(self, hub: Hub) -> Iterable[Scene]:
        """Play with two stomp.py clients."""
        return scenes(hub)

    @hookimpl
    def hubbub_servers(self, hub: Hub) -> Iterable[Server]:
        """Serve on all listeners, and those who come by the port of the HTTP API."""
        yield Server("stomp", partial(self._serve, hub, hub.config.section(StompSettings)))

    @hookimpl
    def hubbub_websockets(self, hub: Hub) -> Iterable[WebSocketProtocol]:
        """Serve on the port of the HTTP API too."""
        settings = hub.config.section(StompSettings).websocket or StompWebSocket()

        async def serve(websocket: WebSocket) -> None:
            if self._broker is None:
                websocket.start_close(_TRY_AGAIN_LATER, "STOMP does not run yet")
            else:
                await _serve_websocket(self._broker, websocket)

        yield WebSocketProtocol(
            SUBPROTOCOLS, tuple(settings.paths), serve, settings.protocol, named=False
        )

    async def _serve(
        self, hub: Hub, settings: StompSettings, task_status: trio.TaskStatus[list[Endpoint]]
    ) -> None:
        # Clients of RabbitMQ look for its name; behind it is the comment that STOMP allows.
        broker = Broker(hub, settings, f"RabbitMQ/3.10.8 hubbub/{version('hubbub')}")

        async def serve(transport: Transport) -> None:
            await Connection(broker, transport).serve()

        self._broker = broker
        async with trio.open_nursery() as listeners:
            endpoints: list[Endpoint] = []
            if settings.listener.bind:
                listen = partial(_listen, hub, serve, settings.listener, "stomp")
                endpoints += await listeners.start(listen)
            if settings.tls is not None:
                endpoints += await listeners.start(
                    partial(_listen, hub, serve, settings.tls, "stomp-tls")
                )
            if settings.websocket is not None:
                endpoints += await listeners.start(
                    partial(_listen_websocket, hub, broker, settings.websocket)
                )
            task_status.started(endpoints)
            await hub.shutdown.wait()
            broker.stop()


async def _serve_websocket(broker: Broker, websocket: WebSocket) -> None:
    # stompjs and its like read text; a body that is not UTF-8 goes out as binary.
    await Connection(broker, WebSocketTransport(websocket, outgoing="text")).serve()


async def _listen(
    hub: Hub,
    serve: Callable[[Transport], Any],
    listener: ListenerSettings,
    name: str,
    task_status: trio.TaskStatus[list[Endpoint]],
) -> None:
    def describe(address: SocketAddress) -> Endpoint:
        scheme = "stomps" if listener.tls else "stomp"
        client = f"stomp --host {address.host} --port {address.port}"
        return Endpoint(
            "STOMP over TLS" if listener.tls else "STOMP", f"{scheme}://{address}", client
        )

    await hub.serve_tcp(serve, listener, describe, name=name, task_status=task_status)


async def _listen_websocket(
    hub: Hub,
    broker: Broker,
    settings: StompWebSocket,
    task_status: trio.TaskStatus[list[Endpoint]],
) -> None:
    def failed(error: BaseException, _: object) -> None:
        hub.log.error("stomp: connection failed", exc_info=error)

    async def answer(request: Request) -> Response | Upgrade:
        if request.path not in settings.paths:
            raise HttpError(404, f"STOMP is at {', '.join(settings.paths)}")
        return accept_websocket(
            request,
            partial(_serve_websocket, broker),
            settings.protocol,
            subprotocols=SUBPROTOCOLS,
            on_error=failed,
        )

    scheme = "wss" if settings.listener.tls else "ws"

    def describe(address: SocketAddress) -> Endpoint:
        url = f"{scheme}://{address}{settings.paths[0]}"
        return Endpoint("STOMP over WebSocket", url, f"new StompJs.Client({{brokerURL: '{url}'}})")

    await hub.serve_http(
        answer, settings.listener, describe, name="stomp-websocket", task_status=task_status
    )
