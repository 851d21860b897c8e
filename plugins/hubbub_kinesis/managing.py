"""Streams: created, described, listed, deleted."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from hubbub import (
    Endpoint,
    ExistsError,
    NotFoundError,
    Principal,
    Server,
    Session,
    StreamInfo,
    StreamSettings,
)
from hubbub_aws import AwsError, Context, OperationFunction
from hubbub_aws.protocols import Params
from hubbub_kinesis.delivering import ChannelState
from hubbub_kinesis.describing import describe_shard, describe_stream, describe_summary
from hubbub_kinesis.errors import (
    in_use,
    invalid_argument,
    limit_exceeded,
    not_active,
    shard_limit,
)
from hubbub_kinesis.feeding import QueueState
from hubbub_kinesis.locating import NAME, Locator, stream_arn
from hubbub_kinesis.pages import named_page
from hubbub_kinesis.readers import ReaderBook
from hubbub_kinesis.sequences import parse_shard
from hubbub_kinesis.settings import KinesisSettings
from hubbub_kinesis.state import DAY, ON_DEMAND, PROVISIONED, Book, Status, StreamState
from hubbub_kinesis.tags import check_tags

if TYPE_CHECKING:
    from hubbub import Hub

ON_DEMAND_SHARDS = 4
"""Shards of a new on-demand stream."""
STREAM_SHARD_LIMIT = 10_000
"""Open shards that one stream may have."""

MAX_WARM_THROUGHPUT = 10_240
"""MiB a second."""

_PAGE = 100
_ROOM = 2 * STREAM_SHARD_LIMIT
"""Shards are split before others are merged."""


def check_warm_throughput(warm: int) -> None:
    """Check for what throughput a stream is to be ready. Raises `AwsError`."""
    if warm > MAX_WARM_THROUGHPUT:
        raise limit_exceeded(
            f"WarmThroughputMiBps {warm} is greater than the limit of {MAX_WARM_THROUGHPUT}."
        )


def settings_for(retention: int) -> StreamSettings:
    """Return the settings of a stream that keeps its records for so many milliseconds."""
    return StreamSettings(retention=retention, max_shards=_ROOM)


class Census:
    """Counts what the accounts have."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def shards(self, session: Session) -> int:
        """Count the open shards of all provisioned streams."""
        return sum(
            shard.closed is None
            for info in session.streams()
            if self._book.state(session.realm, info).mode == PROVISIONED
            for shard in info.shards()
        )

    def on_demand(self, session: Session) -> int:
        """Count the on-demand streams."""
        return sum(
            self._book.state(session.realm, info).mode == ON_DEMAND for info in session.streams()
        )


class Managing:
    """The actions on whole streams, and the task that deletes those whose time has come."""

    def __init__(
        self, hub: "Hub", settings: KinesisSettings, book: Book, queues: ReaderBook[QueueState],
        channels: ReaderBook[ChannelState], locator: Locator,
    ) -> None:  # fmt: skip
        self._hub = hub
        self._now = hub.clock.now
        self._settings = settings
        self._book = book
        self._queues = queues
        self._channels = channels
        self._locate = locator
        self._census = Census(book)
        self._changed = trio.Event()

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {
            "CreateStream": self.create_stream,
            "DeleteStream": self.delete_stream,
            "DescribeStream": self.describe_stream,
            "DescribeStreamSummary": self.describe_stream_summary,
            "ListStreams": self.list_streams,
        }

    async def create_stream(self, context: Context, params: Params) -> Params:
        """Create a stream."""
        name: str = params["StreamName"]
        session = context.session()
        state, shards = self._new_state(context.account, params)
        existing = session.find_stream(name)
        if existing is not None:
            before = self._book.state(session.realm, existing)
            if not before.is_gone(self._now()):
                raise _exists(name, context.account)
            await self._leave(session.realm, name, before)
        self._check_limits(context, session, state, shards)
        try:
            info = await session.create_stream(name, settings_for(DAY), shards)
        except ExistsError:
            raise _exists(name, context.account) from None
        state.number = info.number
        state.active_at = self._until(self._settings.create_delay)
        await self._book.keep(session, name, state).wait()
        return {}

    def _new_state(self, account: str, params: Params) -> tuple[StreamState, int]:
        details = params.get("StreamModeDetails")
        shards: int | None = params.get("ShardCount")
        if details is not None:
            mode = details["StreamMode"]
        else:
            mode = ON_DEMAND if shards is None else PROVISIONED
        warm = params.get("WarmThroughputMiBps")
        distribution = params.get("RecordDistributionStrategy", "USER_PARTITION_KEY")
        tags = params.get("Tags") or {}
        if tags:
            check_tags(params["StreamName"], account, {}, tags)
        if mode == ON_DEMAND:
            if shards is not None:
                raise invalid_argument(
                    "ShardCount cannot be specified for a stream in On-Demand mode."
                )
            shards = ON_DEMAND_SHARDS
            if warm is not None:
                check_warm_throughput(warm)
        else:
            assert shards is not None  # the validators ask for it
            if warm is not None:
                raise invalid_argument(
                    "WarmThroughputMiBps can only be specified for a stream in On-Demand mode."
                )
            if distribution == "AUTO":
                raise invalid_argument(
                    "RecordDistributionStrategy AUTO is only supported for streams in On-Demand "
                    "mode."
                )
        state = StreamState(
            number=0,
            mode=mode,
            tags=dict(tags),
            warm_throughput=warm,
            max_record_kib=params.get("MaxRecordSizeInKiB", 1024),
            distribution=distribution,
        )
        return state, shards

    def _check_limits(
        self, context: Context, session: Session, state: StreamState, shards: int
    ) -> None:
        if state.mode == ON_DEMAND:
            limit = self._settings.on_demand_limit
            if self._census.on_demand(session) >= limit:
                raise limit_exceeded(
                    f"This request would exceed the limit of {limit} on-demand streams for the "
                    f"account {context.account} in {context.region}."
                )
            return
        limit = self._settings.shard_limit
        current = self._census.shards(session)
        if current + shards > limit or shards > STREAM_SHARD_LIMIT:
            raise shard_limit(context.account, context.region, current, limit, shards)

    def _until(self, delay: float) -> int:
        return self._now() + round(delay * 1000) if delay else 0

    async def delete_stream(self, context: Context, params: Params) -> Params:
        """Delete a stream, after the delay that is set."""
        stream = self._locate.stream(context, params)
        status = stream.state.status(self._now())
        if status not in {Status.ACTIVE, Status.UPDATING}:
            raise not_active(stream.name, stream.account, status)
        if self._locate.consumers(stream) and not params.get("EnforceConsumerDeletion"):
            raise in_use(
                f"Stream {stream.name} under account {stream.account} has consumers registered "
                "with it. Deregister them, or set EnforceConsumerDeletion."
            )
        if self._queues.of_stream(stream.session.realm, stream.info.number):
            raise in_use(
                f"Stream {stream.name} under account {stream.account} has queues. Delete them "
                "first."
            )
        if self._channels.of_stream(stream.session.realm, stream.info.number):
            raise in_use(
                f"Stream {stream.name} under account {stream.account} has active channels. Delete "
                "them first."
            )
        delay = self._settings.delete_delay
        if not delay:
            await stream.session.delete_stream(stream.name)
            await self._book.forget(stream.session, stream.name).wait()
            return {}
        stream.state.gone_at = self._until(delay)
        commit = self._book.keep(stream.session, stream.name, stream.state)
        self._changed.set()
        await commit.wait()
        return {}

    def server(self) -> Server:
        """Return the service that deletes streams when their time has come."""
        return Server("kinesis-deletions", self._serve)

    async def _serve(self, task_status: trio.TaskStatus[list[Endpoint]]) -> None:
        task_status.started([])
        while not self._hub.shutdown.requested:
            self._changed = trio.Event()
            due = [await self._leave(*each) for each in self._book.leaving()]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_after, nursery.cancel_scope, self._changed.wait)
                nursery.start_soon(_cancel_after, nursery.cancel_scope, self._hub.shutdown.wait)
                if due:
                    await trio.sleep(max(0.001, (min(due) - self._now()) / 1000))
                    nursery.cancel_scope.cancel()

    async def _leave(self, realm: str, name: str, state: StreamState) -> float:
        """Delete a stream if it is time; return when to look again."""
        assert state.gone_at is not None
        if not state.is_gone(self._now()):
            return state.gone_at
        principal = Principal("kinesis", realms=(realm,))
        with self._hub.session(
            principal, protocol="kinesis", client="kinesis/deletion", realm=realm
        ) as session:
            info = session.find_stream(name)
            if info is not None and info.number == state.number:
                with suppress(NotFoundError):  # somebody else may be quicker
                    await session.delete_stream(name)
            await self._book.forget(session, name).wait()
        return float("inf")

    # Descriptions and lists

    async def describe_stream(self, context: Context, params: Params) -> Params:
        """Describe a stream with its shards, in pages."""
        stream = self._locate.stream(context, params)
        creating = stream.state.status(self._now()) is Status.CREATING
        shards = [] if creating else stream.info.shards()
        start = params.get("ExclusiveStartShardId")
        if start is not None:
            try:
                first = parse_shard(start)
            except ValueError:
                raise invalid_argument(f"ExclusiveStartShardId {start} is not valid.") from None
            shards = [shard for shard in shards if shard.id > first]
        limit = params.get("Limit", _PAGE)
        description = describe_stream(stream, self._now())
        description["Shards"] = [describe_shard(stream.info, shard) for shard in shards[:limit]]
        description["HasMoreShards"] = len(shards) > limit
        return {"StreamDescription": description}

    async def describe_stream_summary(self, context: Context, params: Params) -> Params:
        """Describe a stream, with counts in place of its shards."""
        stream = self._locate.stream(context, params)
        consumers = len(self._locate.consumers(stream))
        committed = self._book.account(stream.session.realm).committed is not None
        summary = describe_summary(stream, self._now(), consumers, committed=committed)
        realm, number = stream.session.realm, stream.info.number
        summary["QueueCount"] = len(self._queues.of_stream(realm, number))
        summary["ChannelCount"] = len(self._channels.of_stream(realm, number))
        return {"StreamDescriptionSummary": summary}

    async def list_streams(self, context: Context, params: Params) -> Params:
        """List the streams, in order of name, in pages."""
        session = context.session()
        now = self._now()
        infos = [info for info in session.streams() if NAME.fullmatch(info.name)]
        after: str | None = params.get("ExclusiveStartStreamName")
        limit = params.get("Limit", _PAGE)
        found, more = named_page(infos, limit, "streams", params, now, after)
        return {
            "StreamNames": [info.name for info in found],
            "HasMoreStreams": bool(more),
            "StreamSummaries": [self._summary(context, session, info, now) for info in found],
            **more,
        }

    def _summary(self, context: Context, session: Session, info: StreamInfo, now: int) -> Params:
        state = self._book.state(session.realm, info)
        return {
            "StreamName": info.name,
            "StreamARN": stream_arn(context.region, context.account, info.name),
            "StreamStatus": str(state.status(now)),
            "StreamModeDetails": {"StreamMode": state.mode},
            "StreamCreationTimestamp": info.created / 1000,
        }


def _exists(name: str, account: str) -> AwsError:
    return in_use(f"Stream {name} under account {account} already exists.")


async def _cancel_after(scope: trio.CancelScope, wait: Callable[[], Awaitable[object]]) -> None:
    await wait()
    scope.cancel()
