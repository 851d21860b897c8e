"""What there is to say of streams: ordered, replayable logs in shards.

Each shard owns a range of 128-bit hash keys, and the open shards own all of them, as in Amazon
Kinesis. A record goes to the shard that owns the MD5 hash of its partition key. Sequence numbers
rise over all shards of a stream and are never used twice. Shards are split and merged; a closed
shard stays readable until retention has passed.

Times are integer milliseconds since the epoch; sizes are bytes.
"""

import hashlib

import msgspec

from hubbub.errors import HubbubError
from hubbub.message import Message

MAX_HASH_KEY = 2**128 - 1

READ_RECORDS = 10_000
READ_BYTES = 10 * 2**20
"""The limits of one read unless told otherwise (those of Kinesis GetRecords)."""

_AGE_UNITS = {"Y": 31_536_000, "M": 2_592_000, "D": 86_400, "h": 3600, "m": 60, "s": 1}


class StreamError(HubbubError):
    """Base of what can be wrong with a request to a stream."""


class NoSuchShardError(StreamError):
    """There is no such shard, or retention has removed it."""

    def __init__(self, shard: int) -> None:
        super().__init__(f"the stream has no shard {shard}")
        self.shard = shard


class ShardClosedError(StreamError):
    """A closed shard can't be split or merged."""

    def __init__(self, shard: int) -> None:
        super().__init__(f"shard {shard} is closed")
        self.shard = shard


class ShardsNotAdjacentError(StreamError):
    """Shards can be merged only if the hash keys of one follow those of the other."""

    def __init__(self, shard: int, other: int) -> None:
        super().__init__(f"shards {shard} and {other} are not adjacent")
        self.shard = shard
        self.other = other


class ShardLimitError(StreamError):
    """The stream would have more open shards than its settings allow."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the stream may have at most {limit} open shards")
        self.limit = limit


class InvalidHashKeyError(StreamError):
    """A hash key is out of range, or no place to split the shard at."""

    def __init__(self, hash_key: int, first: int, last: int) -> None:
        super().__init__(f"the hash key {hash_key} is not within {first} and {last}")
        self.hash_key = hash_key
        self.first = first
        self.last = last


class UnknownPositionError(StreamError):
    """A sequence number that this stream never gave."""

    def __init__(self, sequence: int) -> None:
        super().__init__(f"the sequence number {sequence} did not come from this stream")
        self.sequence = sequence


class TrimmedPositionError(StreamError):
    """Retention has dropped records that the position would have read; `oldest` is what is left."""

    def __init__(self, position: "Position", oldest: "Position") -> None:
        super().__init__(
            f"records after sequence number {position.sequence} of shard {position.shard} are "
            "past their retention"
        )
        self.position = position
        self.oldest = oldest


class DamagedStreamError(StreamError):
    """What was stored of a stream does not fit together."""


class NewRecord(msgspec.Struct, frozen=True, gc=False):
    """A record to append. An explicit hash key chooses the shard instead of the partition key."""

    partition_key: str
    message: Message
    size: int
    explicit_hash_key: int | None = None


class Record(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A record of a stream. `arrived` never decreases within it, whatever the wall clock does."""

    shard: int
    sequence: int
    arrived: int
    partition_key: str
    message: Message
    size: int


class Extent(msgspec.Struct, gc=False):
    """What successive records of a shard take up.

    Sequence numbers from `first` to `last`, both included, and times of arrival from `since` to
    `until`; `count` records of `size` bytes.
    """

    shard: int
    first: int
    last: int
    count: int
    size: int
    since: int
    until: int


class ShardInfo(msgspec.Struct, frozen=True, gc=False):
    """A shard as it is listed and persisted. Ids are never used twice.

    Its records have sequence numbers from `starting_sequence` up to, not including,
    `ending_sequence`. Retention has dropped those up to `trimmed_to`. A shard that was split is
    `parent` of two; merged shards are `parent` and `adjacent_parent` of one.
    """

    id: int
    starting_hash_key: int
    ending_hash_key: int
    starting_sequence: int
    opened: int
    parent: int | None = None
    adjacent_parent: int | None = None
    ending_sequence: int | None = None
    closed: int | None = None
    trimmed_to: int = 0


class Position(msgspec.Struct, frozen=True, gc=False):
    """A place in a shard: at a sequence number (`inclusive`), or after it.

    Plain data: keep it, send it, make another. At sequence number 0 means the oldest record there
    is, whatever retention drops; all others are numbers that the stream gave.
    """

    shard: int
    sequence: int
    inclusive: bool


class ReadResult(msgspec.Struct, frozen=True):
    """What a read found.

    * `records`: in order.
    * `next`: where to read on; None at the end of a closed shard. Then `children` are the shards
      to go on with.
    * `behind`: how old the last record is, in milliseconds, if more are waiting after it; else 0.
    * `trimmed`: retention has dropped records between the position and the first one found.
    """

    records: list[Record]
    next: Position | None
    behind: int
    trimmed: bool
    children: tuple[ShardInfo, ...]


class Reshard(msgspec.Struct, frozen=True):
    """The outcome of a split or merge, to be persisted as one."""

    closed: tuple[ShardInfo, ...]
    opened: tuple[ShardInfo, ...]
    last_sequence: int


class Cut(msgspec.Struct, frozen=True):
    """Records of a shard that were dropped: all with sequence numbers up to `sequence`."""

    shard: int
    sequence: int
    count: int
    size: int


class Trim(msgspec.Struct, frozen=True):
    """What retention has dropped: records, and closed shards that are gone as a whole.

    To be persisted as one, together with the stream's `last_sequence`. `ShardInfo.trimmed_to` of a
    cut shard is the cut's sequence.
    """

    cuts: tuple[Cut, ...]
    removed: tuple[int, ...]


class StreamSettings(msgspec.Struct, frozen=True):
    """The settings of a stream.

    * `retention`: milliseconds that a record stays readable; None: for ever. A record may stay a
      tenth longer, since whole segments are dropped; after a restart also as long as the extents
      that the store gave back for them.
    * `max_bytes`: the oldest segments go when the stream is larger, the newest of an open shard
      excepted; None: no limit.
    * `max_shards`: the most open shards.
    * `segment_records`, `segment_bytes`: when a segment is full.
    """

    retention: int | None = 86_400_000
    max_bytes: int | None = None
    max_shards: int = 1_000
    segment_records: int = 1_000
    segment_bytes: int = 2**20


def parse_age(text: str) -> int | None:
    """Return the seconds of a span such as "7D", as RabbitMQ's streams write it; None if none.

    A number of up to nine digits and one unit: Y, M (of 30 days), D, h, m, s.
    """
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdecimal()) or unit not in _AGE_UNITS or len(number) > 9:
        return None
    return int(number) * _AGE_UNITS[unit]


def hash_key(partition_key: str) -> int:
    """Return the 128-bit hash key of a partition key: its MD5, as Kinesis computes it."""
    digest = hashlib.md5(
        partition_key.encode(errors="surrogatepass"), usedforsecurity=False
    ).digest()
    return int.from_bytes(digest, "big")
