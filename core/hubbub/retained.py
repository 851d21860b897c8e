"""Retained messages: the last one of each topic that its publisher wanted kept for who comes later.

Source: MQTT 5.0, 3.3.1.3.
"""

from heapq import heapify, heappop, heappush

import msgspec

from .clock import Clock
from .engine.contract import DONE, Commit, Document, Engine
from .errors import RefusedError
from .message import Message, encode_message
from .topics import TopicMap

_NAMESPACE = "retained"


class RetainedMessages:
    """The retained messages of all realms, with a bound on how many there are and what they weigh.

    Over the bound nothing is thrown away: who wants one more topic kept is refused, and is told
    before the message has gone anywhere. To replace the message of a topic by one that is not
    larger, and to remove it, is always possible. Expired ones make room by themselves.

    `limit`: messages; `limit_bytes`: bytes of their bodies and headers.
    """

    def __init__(self, engine: Engine, clock: Clock, *, limit: int, limit_bytes: int) -> None:
        self._engine = engine
        self._clock = clock
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._realms: dict[str, TopicMap[Message]] = {}
        self._bytes = 0
        self._expiries: list[tuple[int, int, str, Message]] = []
        """When, message id, realm, message; those that were replaced are passed over."""

    def __len__(self) -> int:
        """Count them, expired ones that nobody asked for included."""
        return sum(map(len, self._realms.values()))

    async def load(self) -> None:
        """Take back what the engine kept."""
        async for document in self._engine.documents(_NAMESPACE):
            message = msgspec.msgpack.decode(document.value, type=Message)
            self._set(document.realm, message)

    def keep(self, realm: str, message: Message) -> Commit:
        """Keep a message as its topic's; without a body: forget the one the topic has.

        Raises:
            RefusedError: there are as many as may be, or the message cannot be stored.
        """
        former = self._topics(realm).get(message.address)
        if not message.body:
            return DONE if former is None else self._drop(realm, former)
        value = encode_message(message)
        self._make_room(message, former)
        self._set(realm, message)
        return self._engine.put(Document(_NAMESPACE, realm, message.address, value))

    def find(self, realm: str, pattern: str) -> list[Message]:
        """Return those that a pattern matches, expired ones left out."""
        self._expire()
        return [message for _, message in self._topics(realm).match(pattern)]

    def _topics(self, realm: str) -> TopicMap[Message]:
        topics = self._realms.get(realm)
        if topics is None:
            topics = self._realms[realm] = TopicMap()
        return topics

    def _make_room(self, message: Message, former: Message | None) -> None:
        added = message.size - (0 if former is None else former.size)
        if former is None and len(self) >= self._limit:
            self._expire()
            if len(self) >= self._limit:
                raise RefusedError(
                    f"{self._limit} topics have a retained message, as many as hub.max_retained "
                    "allows"
                )
        if added > 0 and self._bytes + added > self._limit_bytes:
            self._expire()
            if self._bytes + added > self._limit_bytes:
                raise RefusedError(
                    f"retained messages take {self._bytes} bytes; with this one they were more "
                    f"than hub.max_retained_bytes, {self._limit_bytes}"
                )

    def _set(self, realm: str, message: Message) -> None:
        topics = self._topics(realm)
        former = topics.get(message.address)
        if former is not None:
            self._bytes -= former.size
        topics.set(message.address, message)
        self._bytes += message.size
        if message.expires_at is not None:
            heappush(self._expiries, (message.expires_at, message.id, realm, message))
            if len(self._expiries) > 2 * len(self) + 1000:
                self._expiries = [each for each in self._expiries if self._is_current(each)]
                heapify(self._expiries)

    def _is_current(self, expiry: tuple[int, int, str, Message]) -> bool:
        _, _, realm, message = expiry
        return self._topics(realm).get(message.address) is message

    def _drop(self, realm: str, message: Message) -> Commit:
        self._topics(realm).delete(message.address)
        self._bytes -= message.size
        return self._engine.drop(_NAMESPACE, realm, message.address)

    def _expire(self) -> None:
        now = self._clock.now()
        while self._expiries and self._expiries[0][0] <= now:
            expiry = heappop(self._expiries)
            if self._is_current(expiry):
                self._drop(expiry[2], expiry[3])
