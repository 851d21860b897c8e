"""The message: what every protocol publishes and receives."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from .errors import RefusedError

if TYPE_CHECKING:
    HeaderValue: TypeAlias = (
        bool | int | float | str | bytes | datetime
        | list["HeaderValue"] | dict[str, "HeaderValue"] | None
    )  # fmt: skip
    """What a header may hold. Types that only one protocol has travel in `Wire`."""
    CorrelationId: TypeAlias = str | bytes | None
else:  # msgspec decodes no union of str and bytes, though MessagePack tells them apart
    HeaderValue = Any
    CorrelationId = Any


_encode = msgspec.msgpack.Encoder().encode


class Wire(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The properties a message arrived with, in the bytes of its protocol.

    A delivery in the same `protocol` (its name and version, such as "mqtt-5") reuses `data` and so
    loses nothing; a delivery in another protocol reads the canonical fields.
    """

    protocol: str
    data: bytes


class Death(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One passage through a dead-letter address: where from, why and how often.

    `reason` is "rejected", "expired", "maxlen" or "delivery_limit", RabbitMQ's words for them.
    `time` is in milliseconds since the epoch. `address` and `scope` are what the message was
    published to, as in `Message`.
    """

    queue: str
    reason: str
    address: str
    time: int
    count: int = 1
    scope: str | None = None


class Message(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A message as it flows through the bus. Published once, shared by all who receive it.

    Nobody changes a message after it was published: make another with `msgspec.structs.replace`.

    Set by the bus: `id` (unique within a store and rising with time), `published` (milliseconds
    since the epoch), `protocol` and `client` (who published it), `deaths`, `origin_id` (the id of
    the message that this one was moved or dead-lettered from), `prior_receives` (how often it was
    received before that) and `hops` (how often it was forwarded to another address).

    Set by the publisher:

    * `address`: canonical spelling, see `hubbub.address`; `body`: bytes.
    * `headers`: application headers (user properties, message attributes, table headers).
    * `content_type`, `content_encoding`, `message_id`, `type`, `app_id`, `user_id`: text.
    * `correlation_id`: text or bytes; `reply_to`: an address of ours.
    * `timestamp`: the application's own, milliseconds since the epoch.
    * `expires_at`: milliseconds since the epoch, after which nobody receives it.
    * `delay`: milliseconds that a queue hides it for first; None means the queue's own setting.
    * `priority`: 0 (lowest) to 255. `durable`: survives a restart in a durable queue or stream.
    * `qos`: MQTT's quality of service; 1 where the publishing protocol has no such notion.
    * `group`: MessageGroupId or partition key. `dedup_id`: deduplication id.
    * `shard_key`: a 128-bit hash key in decimal digits that chooses a stream's shard.
    * `retain`: keep as the topic's retained message.
    * `scope`: the exchange it was published through, None for a plain topic address.
    """

    address: str
    body: bytes
    id: int = 0
    headers: dict[str, HeaderValue] = {}
    content_type: str | None = None
    content_encoding: str | None = None
    correlation_id: CorrelationId = None
    reply_to: str | None = None
    message_id: str | None = None
    type: str | None = None
    app_id: str | None = None
    user_id: str | None = None
    timestamp: int | None = None
    expires_at: int | None = None
    delay: int | None = None
    priority: int = 0
    qos: int = 1
    durable: bool = True
    retain: bool = False
    group: str | None = None
    dedup_id: str | None = None
    shard_key: str | None = None
    scope: str | None = None
    protocol: str = ""
    client: str = ""
    published: int = 0
    origin_id: int | None = None
    deaths: tuple[Death, ...] = ()
    prior_receives: int = 0
    hops: int = 0
    wire: Wire | None = None

    @property
    def identity(self) -> int:
        """The id that stays the same when a message is moved to another queue."""
        return self.id if self.origin_id is None else self.origin_id

    @property
    def size(self) -> int:
        """Bytes that this message counts for against a queue's limits: body and headers."""
        if not self.headers:
            return len(self.body)
        return len(self.body) + sum(map(_header_size, self.headers.items()))


MEMORY_COST: Final = 400
"""About the bytes that a message takes in memory beside what `Message.size` counts."""


def _header_size(item: tuple[str, HeaderValue]) -> int:
    name, value = item
    if isinstance(value, str | bytes):
        return len(name) + len(value)
    if isinstance(value, list):
        return len(name) + sum(_header_size(("", each)) for each in value)
    if isinstance(value, dict):
        return len(name) + sum(map(_header_size, value.items()))
    return len(name) + 8


def encode_message(message: Message) -> bytes:
    """A message as it is stored.

    Raises:
        RefusedError: some value of it fits no encoding: an integer of more than 64 bits, text that
            is not Unicode, a type that is none of `HeaderValue`, or lists without end.
    """
    try:
        return _encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise RefusedError(f"the message cannot be stored: {error}") from error
