"""The plugin: its configuration and its listener."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import trio

from hubbub import ConfigSection, Endpoint, Hub, Server, SocketAddress, hookimpl

from .gateway import Gateway
from .routes import OPERATIONS
from .settings import GatewaySettings


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


async def _serve(
    hub: Hub, settings: GatewaySettings, task_status: trio.TaskStatus[list[Endpoint]]
) -> None:
    gateway = Gateway(hub, settings, OPERATIONS)
    scheme = "https" if settings.listener.tls else "http"

    def describe(address: SocketAddress) -> Endpoint:
        url = f"{scheme}://{address}"
        return Endpoint("HTTP", url, f"curl -d hello {url}/queues/orders/messages")

    try:
        await hub.serve_http(
            gateway, settings.listener, describe, name="gateway", task_status=task_status
        )
    finally:
        gateway.close()
