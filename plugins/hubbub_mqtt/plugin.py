"""The plugin: MQTT over TCP, TLS and WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from hubbub import (
    ConfigSection,
    Endpoint,
    HttpApp,
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
from .reliable import make_filter
from .settings import MqttSettings, MqttWebSocket

SUBPROTOCOLS = ("mqtt", "mqttv3.1")
"""`mqtt` since 3.1.1 (6.0, [MQTT-6.0.0-3]); clients of 3.1 use the other."""


class MqttPlugin:
    """Serves MQTT 3.1, 3.1.1 and 5.0."""

    def __init__(self) -> None:
        self._broker: Broker | None = None

    @hookimpl
    def hubbub_config(self) -> ConfigSection:
        """Own `[mqtt]`."""
        return ConfigSection("mqtt", MqttSettings)

    @hookimpl
    def hubbub_filters(self) -> Mapping[str, Callable[[Any], Callable[[Message], bool]]]:
        """Offer the filter that keeps messages of QoS 0 out of sessions' queues."""
        return {"mqtt": make_filter}

    @hookimpl
    @asynccontextmanager
    async def hubbub_lifespan(self, hub: Hub) -> AsyncIterator[None]:
        """Take sessions back before clients come."""
        broker = self._broker = Broker(hub, hub.config.section(MqttSettings))
        await broker.load()
        hub.shutdown.subscribe(broker.stop)
        hub.meters.gauge("mqtt_sessions", "Sessions of MQTT clients.", lambda: len(broker.sessions))
        yield

    @hookimpl
    def hubbub_servers(self, hub: Hub) -> Iterable[Server]:
        """Serve on all listeners."""

        async def serve(task_status: trio.TaskStatus[list[Endpoint]]) -> None:
            assert self._broker is not None
            await _serve(hub, self._broker, task_status)

        yield Server("mqtt", serve)

    @hookimpl
    def hubbub_websockets(self, hub: Hub) -> Iterable[WebSocketProtocol]:
        """Serve on the port of the HTTP API too."""
        assert self._broker is not None
        settings = hub.config.section(MqttSettings).websocket or MqttWebSocket()
        serve = partial(_serve_websocket, self._broker)
        yield WebSocketProtocol(SUBPROTOCOLS, (settings.path,), serve, settings.protocol)

    @hookimpl
    def hubbub_demo(self, hub: Hub) -> Iterable[Scene]:
        """Play with devices, and with boto3 if there is SQS."""
        return scenes(hub)


async def _serve(hub: Hub, broker: Broker, task_status: trio.TaskStatus[list[Endpoint]]) -> None:
    settings = broker.settings
    listeners: list[Callable[..., Any]] = []

    async def handler(transport: Transport) -> None:
        await Connection(broker, transport).serve()

    def listen(
        name: str,
        listener: ListenerSettings,
        serve: Callable[[Transport], Any],
        describe: Callable[[SocketAddress], Endpoint],
        alpn: tuple[str, ...],
    ) -> None:
        async def run(*, task_status: trio.TaskStatus[list[Endpoint]]) -> None:
            await hub.serve_tcp(
                serve, listener, describe, name=name, alpn=alpn, task_status=task_status
            )

        listeners.append(run)

    if settings.listener.bind:
        secure = settings.listener.tls is not None
        listen("mqtt", settings.listener, handler, _describe(secure), ("mqtt",) * secure)
    if settings.tls is not None:
        listen("mqtts", settings.tls, handler, _describe(True), ("mqtt",))
    if (websocket := settings.websocket) is not None:
        listeners.append(
            partial(
                hub.serve_http,
                _http_app(hub, broker, websocket),
                websocket.listener,
                _describe_websocket(websocket),
                name="mqtt-websocket",
            )
        )
    async with trio.open_nursery() as background:
        await background.start(broker.run)
        async with trio.open_nursery() as servers:
            endpoints: list[Endpoint] = []
            for each in listeners:
                endpoints += await servers.start(each)
            task_status.started(endpoints)
            await hub.shutdown.wait()  # also where there is no listener at all
        background.cancel_scope.cancel()


async def _serve_websocket(broker: Broker, websocket: WebSocket) -> None:
    # A message of text is an error, and packets may be cut anywhere (6.0, [MQTT-6.0.0-1]).
    await Connection(broker, WebSocketTransport(websocket, binary_only=True)).serve()


def _http_app(hub: Hub, broker: Broker, settings: MqttWebSocket) -> HttpApp:
    def crashed(error: BaseException, _: object) -> None:
        hub.log.error("connection failed", listener="mqtt-websocket", exc_info=error)

    async def app(request: Request) -> Response | Upgrade:
        if request.path != settings.path:
            return Response(404, body=b"MQTT is at " + settings.path.encode() + b"\n")
        return accept_websocket(
            request,
            partial(_serve_websocket, broker),
            settings.protocol,
            subprotocols=SUBPROTOCOLS,
            require_subprotocol=True,
            on_error=crashed,
        )

    return app


def _describe(secure: bool) -> Callable[[SocketAddress], Endpoint]:
    def describe(address: SocketAddress) -> Endpoint:
        url = f"{'mqtts' if secure else 'mqtt'}://{address}"
        option = " --cafile CA.pem" if secure else ""
        client = f"mosquitto_sub -h {address.host} -p {address.port}{option} -t 'demo/#' -v"
        return Endpoint("MQTT over TLS" if secure else "MQTT", url, client)

    return describe


def _describe_websocket(settings: MqttWebSocket) -> Callable[[SocketAddress], Endpoint]:
    scheme = "ws" if settings.listener.tls is None else "wss"

    def describe(address: SocketAddress) -> Endpoint:
        url = f"{scheme}://{address}{settings.path}"
        return Endpoint("MQTT over WebSocket", url, f"npx mqtt sub -t 'demo/#' -b {url}")

    return describe
