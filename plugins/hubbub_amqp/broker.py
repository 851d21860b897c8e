"""What all connections of a hub share: virtual hosts, and what works for them without a client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from hubbub import DEFAULT_REALM, Delivery, Hub, Outcome, Principal, QueueSettings

from .authenticating import mechanism_names
from .exchanges import BINDINGS, DELAYED_QUEUE, EXCHANGES, STREAMS, VirtualHost
from .mapping import PROTOCOL, spell_message
from .protocol import ServerSettings
from .settings import AmqpSettings

if TYPE_CHECKING:
    from .connection import Connection

_CAPABILITIES: Final = (
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
)


class Broker:
    """The AMQP side of a hub."""

    def __init__(self, hub: Hub, settings: AmqpSettings) -> None:
        self.hub = hub
        self.settings = settings
        self.guest = settings.guest and all(user.name != "guest" for user in hub.config.users)
        """Whether `guest` is nobody in particular."""
        self.connections: set[Connection] = set()
        self.vhosts: dict[str, VirtualHost] = {}
        capabilities = dict.fromkeys(_CAPABILITIES, True)
        plain = ServerSettings(
            channel_max=settings.channel_max,
            frame_max=settings.frame_max,
            heartbeat=settings.heartbeat,
            max_body=settings.max_message_size,
            max_partial=settings.max_incomplete_bytes,
            mechanisms=mechanism_names(hub, certificate=False),
            server_properties={
                "capabilities": dict(capabilities),
                "cluster_name": "hubbub",
                "copyright": "the authors of hubbub",
                "information": "hubbub, which speaks AMQP 0-9-1 as RabbitMQ does",
                "platform": "hubbub",
                # Clients go by these two: kombu, for one, uses `basic.qos` as RabbitMQ means it.
                "product": "RabbitMQ",
                "version": "3.10.8",
            },
        )
        certified = replace(plain, mechanisms=mechanism_names(hub, certificate=True))
        self.protocol_settings = {False: plain, True: certified}
        """How it speaks with clients that have shown a certificate, and with all others."""

    def now(self) -> int:
        """The time in milliseconds since the epoch."""
        return self.hub.clock.now()

    # running

    async def _load(self, stack: ExitStack) -> None:
        """Make the virtual hosts, and take back what was kept of them."""
        realms: dict[str, VirtualHost] = {}
        for name, realm in self.settings.vhosts.items():
            bus = stack.enter_context(
                self.hub.session(
                    Principal("amqp", realms=(realm,)), protocol=PROTOCOL, client="amqp",
                    realm=realm,
                )
            )  # fmt: skip
            # Two names of one realm are one virtual host, so that both see the same exchanges.
            host = realms.setdefault(realm, VirtualHost(self, name, realm, bus))
            self.vhosts[name] = host
        any_bus = next((host.bus for host in realms.values()), None)
        if any_bus is None:
            return
        async for document in any_bus.documents(EXCHANGES):
            if (owner := realms.get(document.realm)) is not None:
                owner.restore_exchange(document.value)
        async for document in any_bus.documents(BINDINGS):
            if (owner := realms.get(document.realm)) is not None:
                owner.restore_binding(document.key)
        async for document in any_bus.documents(STREAMS):
            if (owner := realms.get(document.realm)) is not None:
                owner.streams[document.key] = document.value.decode()
        for host in realms.values():
            host.start()
            if host.bus.find_queue(DELAYED_QUEUE) is not None:
                self._consume_delayed(host)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take back what was kept, and work without clients inside the context."""
        with ExitStack() as stack:
            await self._load(stack)
            yield

    def stop(self) -> None:
        """Ask all connections to end: the hub stops."""
        for connection in tuple(self.connections):
            connection.stop()

    # virtual hosts

    def vhost(self, name: str) -> VirtualHost | None:
        """Return a virtual host; the empty name is the one of the default realm."""
        found = self.vhosts.get(name)
        if found is None and not name:
            found = next((h for h in self.vhosts.values() if h.realm == DEFAULT_REALM), None)
        return found

    # delayed messages

    async def delay_queue(self, host: VirtualHost) -> str:
        """Make the queue of delayed messages if there is none; return its name."""
        if host.bus.find_queue(DELAYED_QUEUE) is None:
            await host.bus.create_queue(DELAYED_QUEUE, QueueSettings())
            self._consume_delayed(host)
        return DELAYED_QUEUE

    def _consume_delayed(self, host: VirtualHost) -> None:
        host.bus.consume(DELAYED_QUEUE, partial(self._delay_over, host), owner="amqp/delayed")

    def _delay_over(self, host: VirtualHost, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            message = delivery.message
            spelled = spell_message(message, self.now(), host.bus.lossy)
            exchange = host.exchanges.get(spelled.exchange)
            if exchange is None:
                host.bus.lost("no such exchange", 1, message.address)
                continue
            publication = host.pass_on([message], exchange)
            if publication.unmatched:
                host.bus.lost("unroutable", 1, message.address)
        # The copies were handed over before, so that both are kept, or the copies first.
        receipts = [each.receipt for each in deliveries]
        self.hub.background.spawn(partial(host.bus.settle, receipts, Outcome.ACCEPT))
