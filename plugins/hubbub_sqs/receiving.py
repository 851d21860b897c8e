"""ReceiveMessage."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hubbub import Delivery, NotFoundError, Outcome, RefusedError
from hubbub_aws import AwsError, Context, OperationFunction
from hubbub_aws.protocols import Params
from hubbub_sqs.attributes import MAX_VISIBILITY, wait_time
from hubbub_sqs.errors import invalid_value, no_such_queue, unknown_attribute
from hubbub_sqs.messages import Receiver, Wanted, check_group, read_names, write_message
from hubbub_sqs.queues import Located, locate, queue_arn, queue_url

if TYPE_CHECKING:
    from hubbub import Hub

ATTEMPT_LIFE = 300_000
"""How long a ReceiveRequestAttemptId gives the same messages again, in milliseconds."""
MAX_ATTEMPTS = 10_000

_SYSTEM_NAMES = frozenset(
    {
        "All", "SenderId", "SentTimestamp", "ApproximateReceiveCount",
        "ApproximateFirstReceiveTimestamp", "SequenceNumber", "MessageDeduplicationId",
        "MessageGroupId", "AWSTraceHeader", "DeadLetterQueueSourceArn",
    }
)  # fmt: skip
_QUEUE_NAMES = frozenset(
    {
        "Policy", "VisibilityTimeout", "MaximumMessageSize", "MessageRetentionPeriod",
        "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "CreatedTimestamp",
        "LastModifiedTimestamp", "QueueArn", "ApproximateNumberOfMessagesDelayed", "DelaySeconds",
        "ReceiveMessageWaitTimeSeconds", "RedrivePolicy", "FifoQueue", "ContentBasedDeduplication",
        "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "DeduplicationScope",
        "FifoThroughputLimit", "RedriveAllowPolicy", "SqsManagedSseEnabled",
    }
)  # fmt: skip
_NOTHING: frozenset[str] = frozenset()


class Receiving:
    """Receives messages, waiting for them if asked to."""

    def __init__(self, hub: "Hub") -> None:
        self._clock = hub.clock
        self._attempts: OrderedDict[tuple[int, str], tuple[int, list[Delivery]]] = OrderedDict()

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {"ReceiveMessage": self.receive_message}

    async def receive_message(self, context: Context, params: Params) -> Params:
        """Receive up to ten messages of a queue."""
        queue = locate(context, params, "consume")
        limit, visibility, wait = _read_limits(queue, params)
        wanted = _read_wanted(params)
        attempt = params.get("ReceiveRequestAttemptId")
        if attempt is None:
            deliveries = await _receive(context, queue, limit, visibility, wait)
        else:
            deliveries = await self._attempt(context, queue, attempt, limit, visibility, wait)
        if not deliveries:
            return {}
        session, settings = queue.session, queue.settings
        if (settings.lease if visibility is None else visibility) == 0:
            for each in deliveries:  # visible again before anybody can ask
                await session.extend(each.receipt, 0)
        receiver = Receiver(
            wanted,
            self._clock.now(),
            settings.fifo,
            settings.content_dedup,
            lambda name: queue_arn(queue.region, queue.account, name),
            lambda name: queue_url(context, queue.account, name),
            session.lossy,
        )
        return {"Messages": [write_message(each, receiver) for each in deliveries]}

    async def _attempt(
        self, context: Context, queue: Located, attempt: str, limit: int,
        visibility: int | None, wait: int,
    ) -> Sequence[Delivery]:  # fmt: skip
        """Receive, or give again what the same attempt got, under the same receipts.

        For five minutes, as long as none of the messages was deleted, given back or made visible.
        The visibility timeout begins anew.
        """
        check_group("ReceiveRequestAttemptId", attempt)
        if not queue.settings.fifo:
            return await _receive(context, queue, limit, visibility, wait)
        now = self._clock.now()
        key = (queue.info.number, attempt)
        while self._attempts and next(iter(self._attempts.values()))[0] <= now:
            self._attempts.popitem(last=False)
        session = queue.session
        if key in self._attempts:
            _, deliveries = self._attempts[key]
            if all(session.lease_of(each.receipt) == "held" for each in deliveries):
                lease = queue.settings.lease if visibility is None else visibility
                for each in deliveries:
                    await session.extend(each.receipt, lease)
                return deliveries
            del self._attempts[key]
        deliveries = list(await _receive(context, queue, limit, visibility, wait))
        if deliveries:
            if len(self._attempts) >= MAX_ATTEMPTS:
                self._attempts.popitem(last=False)
            self._attempts[key] = (self._clock.now() + ATTEMPT_LIFE, deliveries)
        return deliveries


async def _receive(
    context: Context, queue: Located, limit: int, visibility: int | None, wait: int
) -> Sequence[Delivery]:
    """Receive; nothing stays leased to a client that is gone before it could be answered."""
    session, name = queue.session, queue.name
    try:
        try:
            deliveries = await session.receive(name, limit, lease=visibility)
        except RefusedError:
            if not wait and queue.settings.fifo:
                return ()
            if not wait:
                raise _over_limit() from None
            deliveries = []
        if deliveries or not wait:
            return deliveries
        request = context.request
        async with request.until_disconnect():
            deliveries = await session.receive(name, limit, lease=visibility, wait=wait)
        if deliveries and request.disconnected:
            await session.settle([each.receipt for each in deliveries], Outcome.RELEASE)
            return ()
        return deliveries
    except NotFoundError:
        raise no_such_queue() from None


def _over_limit() -> AwsError:
    """So many messages are in flight that a short poll gets none: a long one waits for fewer."""
    return AwsError(
        "OverLimit",
        "Too many messages in flight: delete some, or wait for their visibility timeouts.",
    )


def _read_limits(queue: Located, params: Params) -> tuple[int, int | None, int]:
    """Return the number of messages, the visibility timeout and the wait, both in ms."""
    limit = params.get("MaxNumberOfMessages", 1)
    if not 1 <= limit <= 10:
        raise invalid_value(limit, "MaxNumberOfMessages", "Must be between 1 and 10, if provided.")
    visibility = params.get("VisibilityTimeout")
    if visibility is not None:
        check_visibility(visibility)
        visibility *= 1000
    wait = params.get("WaitTimeSeconds")
    if wait is None:
        wait = wait_time(queue.settings)
    elif not 0 <= wait <= 20:
        raise invalid_value(wait, "WaitTimeSeconds", "Must be >= 0 and <= 20, if provided.")
    return limit, visibility, wait * 1000


def check_visibility(seconds: int) -> None:
    """Check a visibility timeout. Raises `AwsError`."""
    if not 0 <= seconds <= MAX_VISIBILITY:
        raise invalid_value(
            seconds, "VisibilityTimeout", f"Must be between 0 and {MAX_VISIBILITY}, if provided."
        )


def _read_wanted(params: Params) -> Wanted:
    system: Sequence[str] = (
        *params.get("AttributeNames", ()),
        *params.get("MessageSystemAttributeNames", ()),
    )
    for name in system:
        if name not in _SYSTEM_NAMES and name not in _QUEUE_NAMES:
            raise unknown_attribute(name)
    everything, names, prefixes = read_names(params.get("MessageAttributeNames", ()))
    return Wanted(frozenset(system) if system else _NOTHING, everything, names, prefixes)
