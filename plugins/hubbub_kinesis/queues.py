"""Queues on streams: created, described, listed, changed, deleted."""

import uuid
from collections.abc import Callable, Mapping
from typing import NamedTuple

from hubbub_aws import Context, OperationFunction
from hubbub_aws.protocols import Params
from hubbub_kinesis.errors import (
    in_use,
    invalid_argument,
    limit_exceeded,
    validation,
)
from hubbub_kinesis.feeding import Feeders, QueueState, StartKind
from hubbub_kinesis.following import begin
from hubbub_kinesis.locating import Located, Locator
from hubbub_kinesis.pages import named_page
from hubbub_kinesis.readers import only_stream
from hubbub_kinesis.settings import KinesisSettings
from hubbub_kinesis.state import Status
from hubbub_kinesis.tags import check_tags

MAX_CHANGING = 5
"""Queues of an account that are CREATING or DELETING at once."""
_PAGE = 100


class _Start(NamedTuple):
    """Where delivery begins: the time that was asked for, and the one it means."""

    kind: StartKind
    asked_for: int | None
    started_at: int


class Queues:
    """The actions on queues. What they hold is the affair of `QueueRecords`."""

    def __init__(
        self, now: Callable[[], int], settings: KinesisSettings, locator: Locator, feeders: Feeders
    ) -> None:
        self._now = now
        self._settings = settings
        self._locate = locator
        self._feeders = feeders

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {
            "CreateQueue": self.create_queue,
            "DeleteQueue": self.delete_queue,
            "DescribeQueue": self.describe_queue,
            "ListQueues": self.list_queues,
            "UpdateQueue": self.update_queue,
        }

    async def create_queue(self, context: Context, params: Params) -> Params:
        """Create a queue on a stream, which begins to deliver at the position asked for."""
        name: str = params["QueueName"]
        configuration = only_stream(params)
        stream = self._locate.on_demand(context, configuration)
        now = self._now()
        if self._feeders.named(context.account, context.region, name) is not None:
            raise in_use(f"Queue {name} under account {context.account} already exists.")
        self._check_limits(context, stream)
        tags: dict[str, str] = dict(params.get("Tags") or {})
        check_tags(stream.name, stream.account, {}, tags)
        start = self._read_start(stream, configuration)
        queue = QueueState(
            id=uuid.uuid4().hex, name=name, realm=stream.session.realm, account=context.account,
            region=context.region, stream=stream.name, number=stream.info.number, created=now,
            start=start.kind, asked_for=start.asked_for, started_at=start.started_at, tags=tags,
        )  # fmt: skip
        _set_attributes(queue, params.get("QueueAttributes") or {})
        if self._settings.create_delay:
            queue.active_at = now + round(self._settings.create_delay * 1000)
        await self._feeders.prepare(queue)
        session = self._feeders.session(queue)
        cursor = await begin(stream.info, start.kind, start.started_at)
        self._feeders.book.keep_cursor(session, queue, cursor)
        commit = self._feeders.keep(queue)
        self._feeders.start(queue)
        await commit.wait()
        return {"QueueDescription": self._describe(queue)}

    def _check_limits(self, context: Context, stream: Located) -> None:
        realm = stream.session.realm
        limit = self._locate.consumer_limit(realm)
        count = len(self._feeders.book.of_stream(realm, stream.info.number))
        count += len(self._locate.consumers(stream))
        if count >= limit:
            raise limit_exceeded(
                f"Stream {stream.name} under account {stream.account} has {count} registered "
                f"consumers and queues. Limit: {limit}."
            )
        now = self._now()
        changing = sum(
            each.status(now) in {Status.CREATING, Status.DELETING}
            for each in self._feeders.book.of_account(context.account, context.region)
        )
        if changing >= MAX_CHANGING:
            raise limit_exceeded(
                f"{changing} queues are being created or deleted. Limit: {MAX_CHANGING}."
            )

    def _read_start(self, stream: Located, params: Params) -> _Start:
        position: Params = params.get("StartingPosition") or {"Type": "LATEST"}
        kind: StartKind = position["Type"]
        timestamp: float | None = position.get("Timestamp")
        now = self._now()
        retention = stream.info.settings.retention
        horizon = stream.info.created
        if retention is not None:
            horizon = max(horizon, now - retention)
        if kind != "AT_TIMESTAMP":
            if timestamp is not None:
                raise validation(
                    f"Timestamp cannot be specified for a StartingPosition of type {kind}."
                )
            return _Start(kind, None, now if kind == "LATEST" else horizon)
        if timestamp is None:
            raise validation(
                "Timestamp must be specified for a StartingPosition of type AT_TIMESTAMP."
            )
        wanted = round(timestamp * 1000)
        if wanted > now:
            raise invalid_argument("The Timestamp of a StartingPosition cannot be in the future.")
        return _Start(kind, wanted, max(wanted, horizon))

    async def describe_queue(self, context: Context, params: Params) -> Params:
        """Describe a queue."""
        return {
            "QueueDescription": self._describe(self._feeders.locate(context, params["QueueARN"]))
        }

    async def list_queues(self, context: Context, params: Params) -> Params:
        """List the queues of the caller in its region, or those on some streams, in pages."""
        mine = self._feeders.chosen(context, params.get("StreamFilter"))
        limit = params.get("MaxResults", _PAGE)
        listed = f"queues {context.account} {context.region}"
        found, more = named_page(mine, limit, listed, params, self._now())
        return {"QueueSummaries": [self._summary(each) for each in found], **more}

    async def update_queue(self, context: Context, params: Params) -> Params:
        """Change attributes; what is in flight keeps its visibility timeout."""
        queue = self._feeders.locate(context, params["QueueARN"])
        status = queue.status(self._now())
        if status is not Status.ACTIVE:
            raise in_use(f"Queue {queue.arn} is not ACTIVE, instead in state {status}")
        _set_attributes(queue, params["QueueAttributes"])
        if self._settings.update_delay:
            queue.updated_at = self._now() + round(self._settings.update_delay * 1000)
        await self._feeders.prepare(queue)
        await self._feeders.keep(queue).wait()
        return {"QueueDescription": self._describe(queue)}

    async def delete_queue(self, context: Context, params: Params) -> Params:
        """Delete a queue, after the delay that is set; its stream stays as it is."""
        queue = self._feeders.locate(context, params["QueueARN"])
        await self._feeders.delete(queue, self._settings.delete_delay)
        return {}

    def _describe(self, queue: QueueState) -> Params:
        stream = self._feeders.stream(queue)
        assert stream is not None
        position: Params = {"Type": queue.start}
        status = queue.status(self._now())
        if status is Status.CREATING:
            if queue.asked_for is not None:
                position["Timestamp"] = queue.asked_for / 1000
        else:
            position["Timestamp"] = queue.started_at / 1000
        if queue.max_receives is None:
            dead: Params = {"TargetType": "NONE"}
        else:
            dead = {"TargetType": "BUILT_IN", "MaxReceiveCount": queue.max_receives}
        return {
            "QueueName": queue.name,
            "QueueARN": queue.arn,
            "QueueStatus": str(status),
            "QueueCreationTimestamp": queue.created / 1000,
            "StreamConfigurationList": [{"StreamARN": stream.arn, "StartingPosition": position}],
            "QueueAttributes": {
                "VisibilityTimeoutSeconds": queue.visibility,
                "DeadLetterConfiguration": dead,
            },
        }

    def _summary(self, queue: QueueState) -> Params:
        stream = self._feeders.stream(queue)
        assert stream is not None
        return {
            "QueueName": queue.name,
            "QueueARN": queue.arn,
            "QueueStatus": str(queue.status(self._now())),
            "QueueCreationTimestamp": queue.created / 1000,
            "Streams": [
                {
                    "StreamARN": stream.arn,
                    "StreamCreationTimestamp": stream.info.created / 1000,
                }
            ],
        }


def _set_attributes(queue: QueueState, attributes: Params) -> None:
    """Set the attributes that are given. Raises `AwsError`."""
    dead: Params | None = attributes.get("DeadLetterConfiguration")
    if dead is not None:
        count: int | None = dead.get("MaxReceiveCount")
        if dead["TargetType"] == "NONE":
            if count is not None:
                raise validation("MaxReceiveCount cannot be specified with a TargetType of NONE.")
        elif count is None:
            raise validation("MaxReceiveCount must be specified with a TargetType of BUILT_IN.")
        queue.max_receives = count
    visibility: int | None = attributes.get("VisibilityTimeoutSeconds")
    if visibility is not None:
        queue.visibility = visibility
