"""Topic aliases, which live as long as one network connection (3.3.2.3.4)."""

from __future__ import annotations

from .errors import MqttError, Rule


class InboundAliases:
    """The aliases that a peer has set; `maximum` is the Topic Alias Maximum it was told."""

    __slots__ = ("_topics", "maximum")

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self._topics: dict[int, str] = {}

    def resolve(self, alias: int, topic: str) -> str:
        """The topic of a PUBLISH with `alias`, which a topic that is not empty sets anew."""
        if alias > self.maximum:
            raise MqttError(Rule.TOPIC_ALIAS_TOO_HIGH, str(alias))
        if topic:
            self._topics[alias] = topic
            return topic
        known = self._topics.get(alias)
        if known is None:
            raise MqttError(Rule.TOPIC_ALIAS_UNKNOWN, str(alias))
        return known


class OutboundAliases:
    """Aliases given to the topics sent to a peer; the least recently used one is given anew."""

    __slots__ = ("_aliases", "maximum")

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        #: From topic to alias, the least recently used first.
        self._aliases: dict[str, int] = {}

    def lookup(self, topic: str) -> tuple[int, bool]:
        """The alias for `topic` and whether the peer knows it already; 0 if there are none.

        This changes nothing: call `use` once the PUBLISH is sure to be sent.
        """
        aliases = self._aliases
        alias = aliases.get(topic)
        if alias is not None:
            return alias, True
        if len(aliases) < self.maximum:
            return len(aliases) + 1, False
        if not aliases:
            return 0, False
        return aliases[next(iter(aliases))], False

    def use(self, topic: str, alias: int) -> None:
        """Record that a PUBLISH with what `lookup` gave is sent."""
        aliases = self._aliases
        if aliases.pop(topic, None) is None and len(aliases) >= self.maximum:
            del aliases[next(iter(aliases))]
        aliases[topic] = alias
