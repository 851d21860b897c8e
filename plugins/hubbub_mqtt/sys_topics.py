"""The topics under `$SYS`: what a broker tells of itself, as Mosquitto names it."""

from __future__ import annotations

import contextlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import trio

from hubbub import HubbubError, Message, Session

from .topics import topic_matches

if TYPE_CHECKING:
    from .broker import Broker

SYS: Final = "$SYS"


class SysTopics:
    """Publishes counts every so often. They are not kept: a new subscriber gets the latest."""

    def __init__(self, broker: Broker, interval: float) -> None:
        self._broker = broker
        self._interval = interval
        self._started = broker.now()
        self._version = f"hubbub {version('hubbub')}"
        self._published: dict[str, Message] = {}

    def retained(self, pattern: str) -> list[Message]:
        """Return the latest messages that a pattern matches."""
        if self._interval <= 0:
            return []
        if not self._published:
            self._published = {each.address: each for each in self._messages()}
        return [each for topic, each in self._published.items() if topic_matches(pattern, topic)]

    async def run(self, bus: Session) -> None:
        """Publish what has changed, until cancelled."""
        while self._interval > 0:
            changed = [
                message
                for message in self._messages()
                if (known := self._published.get(message.address)) is None
                or known.body != message.body
            ]
            with contextlib.suppress(HubbubError):  # the next ones may get through
                bus.publish(changed)
            self._published |= {message.address: message for message in changed}
            await trio.sleep(self._interval)

    def _messages(self) -> list[Message]:
        broker = self._broker
        stats = broker.stats
        connected, known = broker.clients, len(broker.sessions)
        bytes_in, bytes_out = broker.carried()
        values = {
            "version": self._version,
            "uptime": f"{(broker.now() - self._started) // 1000} seconds",
            "clients/connected": connected,
            "clients/disconnected": known - connected,
            "clients/total": known,
            "clients/maximum": stats.clients_maximum,
            "subscriptions/count": sum(len(each.filters) for each in broker.sessions),
            "messages/received": stats.packets_received,
            "messages/sent": stats.packets_sent + stats.publishes_sent,
            "publish/messages/received": stats.publishes_received,
            "publish/messages/sent": stats.publishes_sent,
            "publish/messages/dropped": stats.publishes_dropped,
            "bytes/received": bytes_in,
            "bytes/sent": bytes_out,
        }
        return [
            Message(address=f"{SYS}/broker/{name}", body=str(value).encode(), qos=0, durable=False)
            for name, value in values.items()
        ]
