"""Messages for subscribers: encoded once per style, not once per subscriber."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
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
_NO_PROPERTIES: Final = b"\0"
_ID_TO_COME: Final = b""
_PACK_ID: Final = Struct(">H").pack


class Encoded:
    """Messages in one style: `count` of them, the `largest` in bytes.

    At QoS 0 all subscribers of the style get the same `data`; at QoS 1 and 2 each has packet
    identifiers of its own.
    """

    __slots__ = ("_pieces", "count", "data", "largest", "style")

    def __init__(
        self, style: Style, qos: int, pieces: list[bytes], count: int, largest: int
    ) -> None:
        self.style = style
        self.count = count
        self.largest = largest
        self._pieces = pieces
        self.data = b"" if qos else b"".join(pieces)

    def numbered(self, packet_ids: Sequence[int]) -> bytes:
        """Return them at QoS 1 or 2, each with its packet identifier, its second piece of four."""
        pieces = self._pieces
        pieces[1::4] = list(map(_PACK_ID, packet_ids))
        return b"".join(pieces)


class Alias(NamedTuple):
    """A topic alias of 5.0, and whether the client knows it already."""

    number: int
    known: bool


def encode_batch(
    batch: Batch, style: Style, now: int, lossy: Lossy, alias: Alias | None = None
) -> Encoded:
    """Return the batch in a style at QoS 0, encoded for the first of its subscribers."""
    key = style if alias is None else (style, alias)
    encoded: Encoded | None = batch.cache.get(key)
    if encoded is None:
        messages = batch.messages
        encoded = encode_messages(messages[0].address, messages, style, now, lossy, alias=alias)
        batch.cache[key] = encoded
    return encoded


def encode_messages(
    topic: str,
    messages: Sequence[Message],
    style: Style,
    now: int,
    lossy: Lossy,
    *,
    qos: int = 0,
    retained: bool = False,
    alias: Alias | None = None,
) -> Encoded:
    """Encode messages that go out under one topic.

    `retained`: RETAIN is set, whatever the style says; `alias`: of the topic.
    """
    name = topic.encode()
    topic_part = len(name).to_bytes(2, "big") + name
    v5, identifiers, keeps_retain = style.v5, style.identifiers, style.retain
    if alias is not None:
        identifiers += b"\x23" + alias.number.to_bytes(2, "big")
        if alias.known:
            topic_part = _NO_TOPIC
    first = 0x30 | qos << 1
    id_size = 2 if qos else 0
    plain = _NO_PROPERTIES if v5 else b""
    pieces: list[bytes] = []
    heads: dict[int, bytes] = {}
    largest = 0
    for message in messages:
        payload = message.body
        properties = plain
        if not v5:
            count_losses(message, lossy)
        elif identifiers or not (
            message.wire is None and message.expires_at is None and is_bare(message)
        ):
            fields = identifiers + fields_of(message, now, lossy)
            properties = encode_varint(len(fields)) + fields
        retain = retained or (keeps_retain and message.retain)
        size = len(payload)
        head = heads.get(size)
        if head is None or retain or properties is not plain:
            rest = len(topic_part) + id_size + len(properties) + size
            head = (first | retain).to_bytes(1, "big") + encode_varint(rest) + topic_part
            largest = max(largest, len(head) + id_size + len(properties) + size)
            if not qos:
                head += properties
            if alias is not None:
                topic_part = _NO_TOPIC
            elif not retain and properties is plain:
                heads[size] = head
        if qos:
            pieces += (head, _ID_TO_COME, properties, payload)
        else:
            pieces += (head, payload)
    return Encoded(style, qos, pieces, len(messages), largest)


class Recent:
    """What was encoded last in each style at QoS 1 and 2: many sessions' queues hold the same."""

    def __init__(self) -> None:
        self._encoded: dict[tuple[Style, int, bool], tuple[list[int], Encoded]] = {}

    def encode(
        self,
        topic: str,
        messages: Sequence[Message],
        style: Style,
        now: int,
        lossy: Lossy,
        *,
        qos: int,
        retained: bool,
    ) -> Encoded:
        """Return messages as `encode_messages` does, unless they are at hand."""
        key = (style, qos, retained)
        ids = [message.id for message in messages]
        known = self._encoded.get(key)
        if known is not None and known[0] == ids:
            return known[1]
        encoded = encode_messages(topic, messages, style, now, lossy, qos=qos, retained=retained)
        if _is_lasting(messages):
            if len(self._encoded) >= _MAX_RECENT:
                self._encoded.clear()
            self._encoded[key] = (ids, encoded)
        return encoded


_MAX_RECENT: Final = 32
_RECENT_BYTES: Final = 256 * 1024


def _is_lasting(messages: Sequence[Message]) -> bool:
    """Whether messages look the same in a moment, and are not too large to be kept until then."""
    size = 0
    for message in messages:
        if message.expires_at is not None:
            return False
        size += len(message.body)
    return size <= _RECENT_BYTES
