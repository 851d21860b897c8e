"""GetShardIterator and GetRecords."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from hubbub import NoSuchShardError, Position, ReadResult, Record, Session
from hubbub_aws import AwsError, Context, OperationFunction
from hubbub_aws.arns import Arn
from hubbub_aws.protocols import Params, Structure
from hubbub_kinesis.describing import describe_children
from hubbub_kinesis.errors import (
    dry_run,
    expired_iterator,
    invalid_argument,
    rate_exceeded,
    shard_does_not_exist,
)
from hubbub_kinesis.iterators import LIFETIME, ShardIterator
from hubbub_kinesis.locating import Located, Locator, find_readable_shard, read_shard
from hubbub_kinesis.numbering import Numbering
from hubbub_kinesis.positions import Start
from hubbub_kinesis.sequences import shard_name
from hubbub_kinesis.throttling import Throttle

MAX_RECORDS = 10_000
MAX_BYTES = 10 * 2**20

_LOST = {
    "headers": "headers",
    "content_type": "content type",
    "content_encoding": "content encoding",
    "correlation_id": "correlation id",
    "reply_to": "reply to",
    "message_id": "message id",
    "type": "type",
    "app_id": "app id",
    "user_id": "user id",
    "timestamp": "timestamp",
    "expires_at": "expiry",
    "priority": "priority",
    "dedup_id": "deduplication id",
}
"""Fields that a record has no place for, and what their loss is called."""


class ReadRecord(Structure):
    """A record as answers have it: the model's `Record`."""

    sequence_number: str
    approximate_arrival_timestamp: float
    data: bytes
    partition_key: str
    encryption_type: str | None = None


class GetRecordsResult(Structure):
    """The model's `GetRecordsOutput`."""

    records: list[ReadRecord]
    millis_behind_latest: int
    next_shard_iterator: str | None = None
    child_shards: list[Params] | None = None


class Reading:
    """The actions that read shards with iterators."""

    def __init__(self, now: Callable[[], int], locator: Locator, throttle: Throttle | None) -> None:
        self._now = now
        self._locate = locator
        self._throttle = throttle

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {"GetRecords": self.get_records, "GetShardIterator": self.get_shard_iterator}

    async def get_shard_iterator(self, context: Context, params: Params) -> Params:
        """Return an iterator, which is good for five minutes."""
        stream = self._of_shard(context, params)
        shard = find_readable_shard(stream, params["ShardId"])
        now = self._now()
        position = await Start.of_iterator(params).find(stream, shard, now)
        if params.get("DryRun"):
            raise dry_run()
        return {"ShardIterator": _iterator(stream, position, now)}

    def _of_shard(self, context: Context, params: Params) -> Located:
        """Find the stream of a shard; where it is missing, AWS misses the shard."""
        try:
            return self._locate.usable(context, params)
        except AwsError as error:
            name = params.get("StreamName")
            if error.code != "ResourceNotFoundException" or name is None:
                raise
            number = read_shard(params["ShardId"], name, context.account)
            raise shard_does_not_exist(shard_name(number), name, context.account) from None

    async def get_records(self, context: Context, params: Params) -> GetRecordsResult:
        """Read from an iterator on; say where to read on, and how far behind the reader is."""
        now = self._now()
        try:
            iterator = ShardIterator.decode(params["ShardIterator"])
        except ValueError:
            raise invalid_argument("Invalid ShardIterator.") from None
        if now - iterator.created > LIFETIME:
            raise expired_iterator(iterator.created, now)
        stream = self._find(context, iterator, params.get("StreamARN"))
        position = _position(stream, iterator)
        if params.get("DryRun"):
            raise dry_run()
        shard = position.shard
        throttle = self._throttle
        if throttle is not None and not throttle.read(stream.info.number, shard):
            raise rate_exceeded(shard_name(shard), stream.name, stream.account)
        found = await read(stream, position, now, params.get("Limit", MAX_RECORDS), MAX_BYTES)
        if throttle is not None:
            size = sum(record.size for record in found.records)
            throttle.has_read(stream.info.number, shard, size)
        result = GetRecordsResult(results(stream, found), millis_behind(stream, found))
        if found.next is not None:
            result.next_shard_iterator = _iterator(stream, found.next, now)
        else:
            result.child_shards = describe_children(found.children)
        return result

    def _find(self, context: Context, iterator: ShardIterator, arn: str | None) -> Located:
        try:
            stream = self._locate.named(context, iterator.name, iterator.account, context.region)
        except AwsError as error:
            if error.code != "ResourceNotFoundException":
                raise
            shard = shard_name(iterator.position.shard)
            raise shard_does_not_exist(shard, iterator.name, iterator.account) from None
        if arn is not None and Arn.parse(arn).resource != f"stream/{iterator.name}":
            raise invalid_argument("Invalid ShardIterator: it is not of the stream of StreamARN.")
        self._locate.check_usable(stream)
        return stream


def _position(stream: Located, iterator: ShardIterator) -> Position:
    """Return where an iterator is. Raises `AwsError`.

    If the stream was deleted and created again, it is before all that the shard has now.
    """
    if stream.info.number == iterator.stream:
        return iterator.position
    try:
        return stream.info.oldest(iterator.position.shard)
    except NoSuchShardError as error:
        raise _missing(stream, error.shard) from None


async def read(
    stream: Located, position: Position, now: int, limit: int, max_bytes: int
) -> ReadResult:
    """Read from a position on, but nothing that is past its retention. Raises `AwsError`."""
    session, name = stream.session, stream.name
    retention = stream.info.settings.retention
    try:
        found = await session.read(
            name, position, limit=limit, max_bytes=max_bytes, skip_trimmed=True
        )
        if retention is not None and found.records:
            horizon = now - retention
            if found.records[0].arrived < horizon:
                # Retention drops whole segments: what it left over is passed over here.
                position = await stream.info.at_timestamp(position.shard, horizon)
                found = await session.read(
                    name, position, limit=limit, max_bytes=max_bytes, skip_trimmed=True
                )
    except NoSuchShardError as error:
        raise _missing(stream, error.shard) from error
    return found


def millis_behind(stream: Located, found: ReadResult) -> int:
    """Return how far behind a reader is: 0 only if it has read everything there is."""
    if found.behind or found.next is None or not found.records:
        return found.behind
    last = found.records[-1].sequence
    more = found.next.sequence == last < stream.info.latest(found.next.shard).sequence
    return 1 if more else 0


def results(stream: Located, found: ReadResult) -> list[ReadRecord]:
    """Return records as answers have them. Fields of other protocols have no place there."""
    encryption = stream.encryption_type
    count_lost(stream.session, found.records)
    return [
        ReadRecord(
            number, record.arrived / 1000, record.message.body, record.partition_key, encryption
        )
        for number, record in zip(
            Numbering(stream.info).records(found.records), found.records, strict=True
        )
    ]


def count_lost(session: Session, records: Iterable[Record]) -> None:
    """Count the fields of other protocols' messages that a record has no place for."""
    messages = [record.message for record in records if record.message.protocol != "kinesis"]
    if messages:
        lost = Counter(
            name for message in messages for field, name in _LOST.items() if getattr(message, field)
        )
        for name, count in lost.items():
            session.lossy(name, count)


def _iterator(stream: Located, position: Position, now: int) -> str:
    return ShardIterator(now, stream.info.number, stream.account, stream.name, position).encode()


def _missing(stream: Located, shard: int) -> AwsError:
    return shard_does_not_exist(shard_name(shard), stream.name, stream.account)
