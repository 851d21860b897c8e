"""Topic names and topic filters: their grammar, and which filter matches which name (4.7, 4.8)."""

from __future__ import annotations

from typing import Final, NamedTuple

from .errors import MqttError, Rule

#: Longer topics are decoded each time, so that a cache is bounded in bytes and not just in entries.
_CACHED_TOPIC_BYTES: Final = 256
_SHARE_PREFIX: Final = "$share/"


class SharedFilter(NamedTuple):
    """`$share/NAME/FILTER` taken apart (4.8.2)."""

    name: str
    filter: str


def decode_utf8(data: bytes, what: str) -> str:
    """Decode a UTF-8 Encoded String (1.5.4) whose name in an error is `what`.

    U+0000, surrogates and over-long forms are refused. Control characters and non-characters, which
    the text only says a sender SHOULD NOT use, are accepted, and U+FEFF is kept.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise MqttError(Rule.UTF8_ILL_FORMED, what) from None
    if "\0" in text:
        raise MqttError(Rule.UTF8_NULL, what)
    return text


def validate_topic_name(topic: str, what: str = "topic name") -> None:
    """Raise `MqttError` unless `topic` is a topic name that a message can be published to."""
    if not topic:
        raise MqttError(Rule.TOPIC_EMPTY, what)
    if "#" in topic or "+" in topic:
        raise MqttError(Rule.TOPIC_WILDCARD, what)
    if "\0" in topic:
        raise MqttError(Rule.UTF8_NULL, what)


def validate_topic_filter(topic_filter: str, what: str = "topic filter") -> None:
    """Raise `MqttError` unless `topic_filter` is a filter, shared or not.

    `$share/` has its meaning in every version, as it has for Mosquitto; only 5.0 defines it.
    """
    shared = split_shared(topic_filter)
    pattern = topic_filter if shared is None else shared.filter
    if not pattern:
        raise MqttError(Rule.TOPIC_EMPTY, what)
    if "\0" in pattern:
        raise MqttError(Rule.UTF8_NULL, what)
    if "#" not in pattern and "+" not in pattern:
        return
    levels = pattern.split("/")
    last = len(levels) - 1
    for index, level in enumerate(levels):
        if "#" in level and (level != "#" or index != last):
            raise MqttError(Rule.FILTER_MULTI_LEVEL, what)
        if "+" in level and level != "+":
            raise MqttError(Rule.FILTER_SINGLE_LEVEL, what)


def split_shared(topic_filter: str) -> SharedFilter | None:
    """Take the filter of a shared subscription apart; None if it is not one.

    Raises `MqttError` for a bad share name or a missing filter (4.8.2).
    """
    if not topic_filter.startswith(_SHARE_PREFIX):
        return None
    name, slash, rest = topic_filter[len(_SHARE_PREFIX) :].partition("/")
    if not name:
        raise MqttError(Rule.SHARE_NAME_EMPTY)
    if "+" in name or "#" in name or not slash or not rest:
        raise MqttError(Rule.SHARE_SYNTAX)
    return SharedFilter(name, rest)


def has_wildcard(topic_filter: str) -> bool:
    """Whether a valid filter contains `+` or `#` (a share name cannot)."""
    return "+" in topic_filter or "#" in topic_filter


def topic_matches(topic_filter: str, topic: str) -> bool:
    """Whether a topic filter (without `$share/NAME/`) matches a topic name, by section 4.7.

    A filter that starts with a wildcard does not match a name that starts with `$`
    [MQTT-4.7.2-1]. Names are compared as they are, without normalisation [MQTT-4.7.3-4].
    """
    if topic[:1] == "$" and topic_filter[:1] in {"+", "#"}:
        return False
    patterns = topic_filter.split("/")
    levels = topic.split("/")
    for index, pattern in enumerate(patterns):
        if pattern == "#":
            return True
        if index == len(levels):
            return False
        if pattern not in {"+", levels[index]}:
            return False
    return len(patterns) == len(levels)


class TopicCache(dict[bytes, str]):
    """Topic names by their bytes as they come in PUBLISH packets; each is validated once.

    `cache[data]` gives the name, or raises `MqttError`. Share one among all connections of a
    server: the same topic is then the same `str`, whose hash is computed once. It holds at most
    `limit` short names (512 bytes each, roughly) and starts anew when full.
    """

    __slots__ = ("limit",)

    def __init__(self, limit: int = 8192) -> None:
        super().__init__()
        self.limit = limit

    def __missing__(self, data: bytes) -> str:
        topic = decode_utf8(data, "topic name")
        validate_topic_name(topic)
        if len(data) <= _CACHED_TOPIC_BYTES:
            if len(self) >= self.limit:
                self.clear()
            self[data] = topic
        return topic
