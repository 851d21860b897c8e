"""Which stream, shard or consumer a request means."""

import re
from collections.abc import Callable
from typing import NamedTuple

from hubbub import NoSuchShardError, Session, ShardInfo, StreamInfo, spell_stream
from hubbub_aws import AwsError, Context
from hubbub_aws.arns import Arn, make_arn
from hubbub_aws.protocols import Params
from hubbub_kinesis.errors import (
    invalid_argument,
    no_such_shard,
    no_such_stream,
    not_active,
    not_found,
    not_on_demand,
    shard_does_not_exist,
)
from hubbub_kinesis.sequences import parse_shard, shard_name
from hubbub_kinesis.state import ON_DEMAND, Book, Consumer, Status, StreamState

STANDARD_CONSUMERS = 20
"""Consumers and queues of a stream."""
ADVANTAGE_CONSUMERS = 50
"""The same with On-demand Advantage."""
NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_PERMISSIONS = {
    "PutRecord": "publish",
    "PutRecords": "publish",
    "GetRecords": "consume",
    "GetShardIterator": "consume",
    "SubscribeToShard": "consume",
    "ReceiveQueueRecords": "consume",
    "AcknowledgeQueueRecords": "consume",
    "UpdateQueueRecordsVisibility": "consume",
    "ReceiveDeadLetterQueueRecords": "consume",
    "AcknowledgeDeadLetterQueueRecords": "consume",
    "UpdateDeadLetterQueueRecordsVisibility": "consume",
    "RestoreDeadLetterQueueRecords": "consume",
}
_FREE = ("Describe", "List", "GetResourcePolicy")
_CONSUMER = re.compile(
    r"stream/(?P<stream>[a-zA-Z0-9_.-]+)/consumer/(?P<name>[a-zA-Z0-9_.-]+):(?P<created>[0-9]+)"
)


class Located(NamedTuple):
    """A stream that exists, and the session of the caller in its realm."""

    session: Session
    info: StreamInfo
    state: StreamState
    name: str
    account: str
    region: str

    @property
    def arn(self) -> str:
        """The stream's name for AWS."""
        return stream_arn(self.region, self.account, self.name)

    @property
    def encryption_type(self) -> str | None:
        """What answers about records name it: None, and left out, if the stream has none."""
        return None if self.state.encryption == "NONE" else self.state.encryption

    def consumer_arn(self, consumer: Consumer) -> str:
        """A consumer's name for AWS."""
        return f"{self.arn}/consumer/{consumer.name}:{consumer.created // 1000}"

    def open_shards(self) -> list[ShardInfo]:
        """Return the open shards, by hash key."""
        shards = [shard for shard in self.info.shards() if shard.closed is None]
        return sorted(shards, key=lambda shard: shard.starting_hash_key)


class Locator:
    """Finds what requests name, in one hub's book."""

    def __init__(self, book: Book, now: Callable[[], int]) -> None:
        self._book = book
        self._now = now

    def stream(self, context: Context, params: Params) -> Located:
        """Find the stream that a request names, whatever its status. Raises `AwsError`."""
        name, arn = params.get("StreamName"), params.get("StreamARN")
        account, region = context.account, context.region
        if arn is not None:
            parsed = Arn.parse(arn)
            account, region = parsed.account, parsed.region
            named = parsed.resource.removeprefix("stream/")
            if name is not None and name != named:
                raise invalid_argument("StreamName and StreamARN name different streams.")
            name = named
        if name is None:
            raise invalid_argument("Either StreamName or StreamARN should be provided.")
        return self.named(context, name, account, region)

    def named(self, context: Context, name: str, account: str, region: str) -> Located:
        """Find a stream by its name. Raises `AwsError`."""
        session = context.session(account, region)
        info = session.find_stream(name) if NAME.fullmatch(name) else None
        if info is None:
            raise no_such_stream(name, account)
        state = self._book.state(session.realm, info)
        if state.is_gone(self._now()):
            raise no_such_stream(name, account)
        stream = Located(session, info, state, name, account, region)
        _check_permission(context, stream)
        return stream

    def active(self, context: Context, params: Params) -> Located:
        """Find a stream that is to be changed: it has to be ACTIVE. Raises `AwsError`."""
        stream = self.stream(context, params)
        self.check_active(stream)
        return stream

    def on_demand(self, context: Context, params: Params) -> Located:
        """Find a stream that is ACTIVE and of on-demand mode. Raises `AwsError`."""
        stream = self.active(context, params)
        if stream.state.mode != ON_DEMAND:
            raise not_on_demand(stream.name, stream.account)
        return stream

    def check_active(self, stream: Located) -> None:
        """Check that a stream is ACTIVE. Raises `AwsError`."""
        status = stream.state.status(self._now())
        if status is not Status.ACTIVE:
            raise not_active(stream.name, stream.account, status)

    def usable(self, context: Context, params: Params) -> Located:
        """Find a stream to read or write: it is there for that when ACTIVE or UPDATING."""
        stream = self.stream(context, params)
        self.check_usable(stream)
        return stream

    def check_usable(self, stream: Located) -> None:
        """Check that a stream can be read and written. Raises `AwsError`."""
        if stream.state.active_at or stream.state.gone_at is not None:
            status = stream.state.status(self._now())
            if status in {Status.CREATING, Status.DELETING}:
                raise no_such_stream(stream.name, stream.account)

    def consumer(self, context: Context, arn: str) -> tuple[Located, Consumer]:
        """Find a consumer by its ARN. Raises `AwsError`."""
        parsed = Arn.parse(arn)
        found = _CONSUMER.fullmatch(parsed.resource)
        if found is None:
            raise invalid_argument(f"ConsumerARN {arn} is not valid.")
        stream = self.named(context, found["stream"], parsed.account, parsed.region)
        consumer = self.consumers(stream).get(found["name"])
        if consumer is None or consumer.created // 1000 != int(found["created"]):
            raise no_such_consumer(stream, found["name"])
        return stream, consumer

    def consumer_limit(self, realm: str) -> int:
        """Return how many consumers and queues a stream may have."""
        advantage = self._book.account(realm).is_committed(self._now())
        return ADVANTAGE_CONSUMERS if advantage else STANDARD_CONSUMERS

    def consumers(self, stream: Located) -> dict[str, Consumer]:
        """Return a stream's consumers, without those that are gone by now."""
        consumers = stream.state.consumers
        now = self._now()
        gone = [
            each.name
            for each in consumers.values()
            if each.gone_at is not None and now >= each.gone_at
        ]
        for name in gone:
            del consumers[name]
        return consumers


def _check_permission(context: Context, stream: Located) -> None:
    """Check that the caller may do what it asks for. To see what there is needs no permission."""
    operation = context.call.operation
    if operation.startswith(_FREE):
        return
    action = _PERMISSIONS.get(operation, "configure")
    if not stream.session.allowed(action, spell_stream(stream.name)):
        raise AwsError(
            "AccessDeniedException",
            f"User: {stream.session.principal.name} is not authorized to perform: "
            f"kinesis:{operation} on resource: {stream.arn}",
        )


def check_created(stream: Located, params: Params) -> None:
    """Check that a request means this stream, and not an older one of its name."""
    created = params.get("StreamCreationTimestamp")
    if created is not None and int(created) != stream.info.created // 1000:
        raise invalid_argument(
            f"Stream {stream.name} under account {stream.account} was not created at the "
            "StreamCreationTimestamp."
        )


def no_such_consumer(stream: Located, name: str) -> AwsError:
    """The consumer is not registered."""
    return not_found(
        f"Consumer {name}, stream {stream.name} under account {stream.account} not found."
    )


def find_shards(stream: Located, *given: str) -> list[ShardInfo]:
    """Find shards that are to be changed. Raises `AwsError`."""
    shards = {shard.id: shard for shard in stream.info.shards()}
    numbers = [read_shard(each, stream.name, stream.account) for each in given]
    for number in numbers:
        if number not in shards:
            raise no_such_shard(shard_name(number), stream.name, stream.account)
    return [shards[number] for number in numbers]


def read_shard(given: str, name: str, account: str) -> int:
    """Read a shard id in a request for a stream. Raises `AwsError`."""
    try:
        return parse_shard(given)
    except ValueError:
        raise no_such_shard(given, name, account) from None


def find_readable_shard(stream: Located, given: str) -> ShardInfo:
    """Find a shard that is to be read. Raises `AwsError`."""
    number = read_shard(given, stream.name, stream.account)
    try:
        return stream.info.shard(number)
    except NoSuchShardError:
        raise shard_does_not_exist(shard_name(number), stream.name, stream.account) from None


def stream_arn(region: str, account: str, name: str) -> str:
    """Return a stream's ARN."""
    return str(make_arn("kinesis", region, account, f"stream/{name}"))
