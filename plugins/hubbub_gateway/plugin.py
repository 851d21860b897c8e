"""The plugin: its configuration and its listener."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import trio

from hubbub import ConfigSection, Endpoint, Hub, Scene, Server, SocketAddress, hookimpl

from .demo import scenes
from .gateway import Gateway
from .problems import render_error
from .routes import OPERATIONS
from .settings import GatewaySettings
from .websocket import PATH, SUBPROTOCOL


class GatewayPlugin:
    """Serves the HTTP API."""

    @hookimpl
    def hubbub_config(self) -> ConfigSection:
        """Own the section `[gateway]`."""
        return ConfigSection("gateway", GatewaySettings)

    @hookimpl
    def hubbub_servers(self, hub: Hub) -> Iterable[Server]:
        """Listen, if there is anywhere to listen."""
        settings = hub.config.section(GatewaySettings)
        if settings.listener.bind:
            yield Server("gateway", partial(_serve, hub, settings))

    @hookimpl
    def hubbub_demo(self, hub: Hub) -> Iterable[Scene]:
        """Show a topic by Server-Sent Events and queues by REST."""
        return scenes(hub)


async def _serve(
    hub: Hub, settings: GatewaySettings, task_status: trio.TaskStatus[list[Endpoint]]
) -> None:
    gateway = Gateway(hub, settings, OPERATIONS)
    secure = "s" if settings.listener.tls else ""

    def describe(address: SocketAddress) -> Sequence[Endpoint]:
        url, socket = f"http{secure}://{address}", f"ws{secure}://{address}{PATH}"
        return (
            Endpoint("HTTP", url, f"curl -d hello {url}/queues/orders/messages"),
            Endpoint("WebSocket", socket, f"new WebSocket('{socket}', '{SUBPROTOCOL}')"),
        )

    try:
        await hub.serve_http(
            gateway,
            settings.listener,
            describe,
            name="gateway",
            render_error=render_error,
            task_status=task_status,
        )
    finally:
        gateway.close()
