"""Messages of QoS 0 for live subscribers: encoded once per style, not once per subscriber."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from hubbub import Batch, Message

from .mapping import Lossy, count_losses, fields_of, is_bare
from .packets import Version
from .properties import Place, Properties, encode_property_fields
from .wire import encode_varint


class Style:
    """How a subscriber's messages look: all subscribers of one style get the same bytes.

    `retain` says whether RETAIN is kept as published. Compared by identity; see `Styles`.
    """

    __slots__ = ("identifiers", "retain", "v5")

    def __init__(self, v5: bool, retain: bool, identifiers: tuple[int, ...]) -> None:
        self.v5 = v5
        self.retain = retain
        self.identifiers = (
            encode_property_fields(Properties(subscription_identifiers=identifiers), Place.PUBLISH)
            if v5 and identifiers
            else b""
        )


class Styles:
    """The styles in use, each once."""

    def __init__(self) -> None:
        self._styles: dict[tuple[bool, bool, tuple[int, ...]], Style] = {}

    def get(self, version: Version, retain: bool, identifiers: tuple[int, ...]) -> Style:
        """Return the style of a subscriber."""
        v5 = version is Version.V5
        key = (v5, retain, identifiers if v5 else ())
        style = self._styles.get(key)
        if style is None:
            if len(self._styles) >= _MAX_STYLES:
                self._styles.clear()
            style = self._styles[key] = Style(*key)
        return style


_MAX_STYLES: Final = 10_000
_NO_TOPIC: Final = b"\0\0"


class Encoded:
    """Messages in one style: `data` for the network, `count` of them, the `largest` in bytes."""

    __slots__ = ("count", "data", "largest", "style")

    def __init__(self, style: Style, data: bytes, count: int, largest: int) -> None:
        self.style = style
        self.data = data
        self.count = count
        self.largest = largest


class Alias(NamedTuple):
    """A topic alias of 5.0, and whether the client knows it already."""

    number: int
    known: bool


def encode_batch(
    batch: Batch, style: Style, now: int, lossy: Lossy, alias: Alias | None = None
) -> Encoded:
    """Return the batch in a style, encoded for the first of its subscribers."""
    key = style if alias is None else (style, alias)
    encoded: Encoded | None = batch.cache.get(key)
    if encoded is None:
        encoded = encode_messages(batch.messages, style, now, lossy, alias=alias)
        batch.cache[key] = encoded
    return encoded


def encode_messages(
    messages: Sequence[Message],
    style: Style,
    now: int,
    lossy: Lossy,
    *,
    retained: bool = False,
    alias: Alias | None = None,
) -> Encoded:
    """Encode messages at QoS 0.

    `retained`: they are sent because of a new subscription; `alias`: of the topic they all have.
    """
    address = None
    topic = b""
    pieces: list[bytes] = []
    headers: dict[int, bytes] = {}
    largest = 0
    v5, identifiers, keeps_retain = style.v5, style.identifiers, style.retain
    if alias is not None:
        identifiers += b"\x23" + alias.number.to_bytes(2, "big")
    for message in messages:
        if message.address is not address:
            address = message.address
            name = address.encode()
            topic = len(name).to_bytes(2, "big") + name
            headers.clear()
            if alias is not None and alias.known:
                topic = _NO_TOPIC
        payload = message.body
        retain = retained or (keeps_retain and message.retain)
        if v5:
            if message.wire is None and message.expires_at is None and is_bare(message):
                fields = identifiers
            else:
                fields = identifiers + fields_of(message, now, lossy)
            if fields:
                properties = encode_varint(len(fields)) + fields
                size = len(topic) + len(properties) + len(payload)
                head = (b"\x31" if retain else b"\x30") + encode_varint(size) + topic + properties
                pieces += (head, payload)
                largest = max(largest, len(head) + len(payload))
                if alias is not None:
                    topic = _NO_TOPIC
                continue
        else:
            count_losses(message, lossy)
        size = len(payload)
        cached = headers.get(size)
        if cached is None or retain:
            cached = (
                (b"\x31" if retain else b"\x30")
                + encode_varint(len(topic) + size + v5)
                + topic
                + b"\0" * v5
            )
            if not retain:
                headers[size] = cached
            largest = max(largest, len(cached) + size)
        pieces += (cached, payload)
    return Encoded(style, b"".join(pieces), len(messages), largest)
