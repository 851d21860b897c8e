"""What a session subscribes to, and what a message means to it.

Filters of one session may overlap. Such a session gets a message once, at the highest QoS of the
filters that match, with the identifiers of all of them (3.3.4).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final

import msgspec

from hubbub import PatternTree

from .topics import topic_matches

_CACHED_TOPICS: Final = 512
_FEW: Final = 16
"""Filters up to which trying each is as fast as a tree, which takes memory."""


class Kind(Enum):
    """What a filter reads from."""

    TOPICS = "topics"
    SHARED = "shared"
    QUEUE = "queue"


class Granted(msgspec.Struct, frozen=True, gc=False):
    """A subscription as it was granted.

    `filter` is the client's text, `$share/…` and `$queue/…` included; `source` is what it reads: a
    pattern of topics, or the name of a queue. `identifier` is 0 where there is none.
    """

    filter: str
    kind: Kind
    source: str
    qos: int
    no_local: bool = False
    retain_as_published: bool = False
    identifier: int = 0

    @property
    def identifiers(self) -> tuple[int, ...]:
        """The subscription identifiers that go out with its messages."""
        return (self.identifier,) if self.identifier else ()


class Grant(msgspec.Struct, frozen=True, gc=False):
    """What all filters that match a topic come to.

    `live` is the filter through which messages of QoS 0 come, so that they come once.
    """

    qos: int
    retain_as_published: bool
    identifiers: tuple[int, ...]
    live: Granted


class Filters:
    """The subscriptions of one session, by filter."""

    __slots__ = ("_cache", "_granted", "_topics", "_tree", "overlapping")

    def __init__(self, granted: Iterable[Granted] = ()) -> None:
        self._granted: dict[str, Granted] = {}
        self._cache: dict[tuple[str, bool], Grant | None] = {}
        self._topics = 0
        """How many of them are filters on topics."""
        self._tree: PatternTree[Granted] | None = None
        """Those, once they are many."""
        self.overlapping = False
        """Whether two filters on topics may match the same topic: there is more than one."""
        for each in granted:
            self.add(each)

    def __len__(self) -> int:
        return len(self._granted)

    def __iter__(self) -> Iterator[Granted]:
        return iter(tuple(self._granted.values()))

    def get(self, topic_filter: str) -> Granted | None:
        """Return the subscription with this filter."""
        return self._granted.get(topic_filter)

    def add(self, granted: Granted) -> None:
        """Add a subscription, or replace the one with the same filter."""
        self.remove(granted.filter)
        self._granted[granted.filter] = granted
        self._changed(granted, 1)
        if granted.kind is Kind.TOPICS and self._tree is not None:
            self._tree.add(granted.source, granted)

    def remove(self, topic_filter: str) -> Granted | None:
        """Remove a subscription and return it; None if there is none."""
        granted = self._granted.pop(topic_filter, None)
        if granted is not None:
            self._changed(granted, -1)
            if granted.kind is Kind.TOPICS and self._tree is not None:
                self._tree.remove(granted.source, granted)
        return granted

    def _changed(self, granted: Granted, count: int) -> None:
        self._cache.clear()
        if granted.kind is Kind.TOPICS:
            self._topics += count
            self.overlapping = self._topics > 1

    def grant(self, topic: str, *, own: bool) -> Grant | None:
        """Return what a topic gets from the filters on topics; None if none of them matches.

        `own`: the message was published by the session's own client.
        """
        key = (topic, own)
        try:
            return self._cache[key]
        except KeyError:
            grant = self._grant(topic, own)
            if len(self._cache) >= _CACHED_TOPICS:
                self._cache.clear()
            self._cache[key] = grant
            return grant

    def _grant(self, topic: str, own: bool) -> Grant | None:
        matching = [each for each in self._matching(topic) if not (own and each.no_local)]
        if not matching:
            return None
        # A filter of QoS 0 sees all messages, others see those of QoS 0 alone.
        live = next((each for each in matching if not each.qos), matching[0])
        return Grant(
            qos=max(each.qos for each in matching),
            retain_as_published=any(each.retain_as_published for each in matching),
            identifiers=tuple(sorted({each.identifier for each in matching if each.identifier})),
            live=live,
        )

    def _matching(self, topic: str) -> list[Granted]:
        if self._topics <= _FEW:
            return [
                each
                for each in self._granted.values()
                if each.kind is Kind.TOPICS and topic_matches(each.source, topic)
            ]
        if self._tree is None:
            self._tree = PatternTree()
            for each in self._granted.values():
                if each.kind is Kind.TOPICS:
                    self._tree.add(each.source, each)
        return self._tree.match(topic)
