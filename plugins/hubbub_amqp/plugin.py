"""The plugin: AMQP over TCP and TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from hubbub import (
    ConfigSection,
    Endpoint,
    Hub,
    Message,
    Scene,
    Server,
    SocketAddress,
    Transport,
    hookimpl,
)

from .broker import Broker
from .connection import Connection
from .demo import scenes
from .exchanges import headers_filter, words_filter
from .settings import AmqpSettings


class AmqpPlugin:
    """Serves AMQP 0-9-1."""

    def __init__(self) -> None:
        self._broker: Broker | None = None

    @hookimpl
    def hubbub_config(self) -> ConfigSection:
        """Own `[amqp]`."""
        return ConfigSection("amqp", AmqpSettings)

    @hookimpl
    def hubbub_filters(self) -> Mapping[str, Callable[[Any], Callable[[Message], bool]]]:
        """Offer the filters of bindings to headers exchanges, and to topic exchanges."""
        return {"amqp-headers": headers_filter, "amqp-words": words_filter}

    @hookimpl
    @asynccontextmanager
    async def hubbub_lifespan(self, hub: Hub) -> AsyncIterator[None]:
        """Take exchanges and bindings back before clients come."""
        broker = self._broker = Broker(hub, hub.config.section(AmqpSettings))
        async with broker.running():
            hub.shutdown.subscribe(broker.stop)
            yield

    @hookimpl
    def hubbub_demo(self, hub: Hub) -> Iterable[Scene]:
        """Play with pika, and with boto3 if there is SQS."""
        return scenes(hub)

    @hookimpl
    def hubbub_servers(self, hub: Hub) -> Iterable[Server]:
        """Serve on all listeners."""
        settings = hub.config.section(AmqpSettings)

        async def handler(transport: Transport) -> None:
            assert self._broker is not None
            await Connection(self._broker, transport).serve()

        async def serve(
            listener: Any,
            name: str,
            secure: bool,
            task_status: trio.TaskStatus[list[Endpoint]],
        ) -> None:
            await hub.serve_tcp(
                handler, listener, _describe(secure), name=name, task_status=task_status
            )

        if settings.listener.bind:
            secure = settings.listener.tls is not None
            yield Server("amqp", partial(serve, settings.listener, "amqp", secure))
        if settings.tls is not None:
            yield Server("amqps", partial(serve, settings.tls, "amqps", True))


def _describe(secure: bool) -> Callable[[SocketAddress], Endpoint]:
    def describe(address: SocketAddress) -> Endpoint:
        url = f"{'amqps' if secure else 'amqp'}://{address}"
        client = f"amqp-publish --url={url} -r demo -b hello"
        return Endpoint("AMQP over TLS" if secure else "AMQP", url, client)

    return describe
