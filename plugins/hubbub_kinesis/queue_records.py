"""The records of queues: received, acknowledged, made visible, restored from the dead letters."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from hubbub import Delivery, NotFoundError, Outcome, QueueInfo, Receipt, RefusedError, Session
from hubbub_aws import AwsError, Context, OperationFunction
from hubbub_aws.protocols import Params
from hubbub_kinesis.errors import not_found
from hubbub_kinesis.feeding import Feeders, QueueState
from hubbub_kinesis.receipts import make_handle, read_handle
from hubbub_kinesis.state import Status

MAX_RECORDS = 10
DEFAULT_WAIT = 9
"""Seconds that a receive waits for the first record."""
_NO_LEASE = "The receipt handle is no longer valid: its record was acknowledged, or received again."
_NOT_IN_FLIGHT = "The record of the receipt handle is not in flight."


class _EntryError(Exception):
    """Why one entry of a request failed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


_Act = Callable[[Session, Receipt, Params], Awaitable[None]]


class QueueRecords:
    """The actions on what queues hold."""

    def __init__(self, feeders: Feeders) -> None:
        self._now = feeders.now
        self._feeders = feeders

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {
            "AcknowledgeDeadLetterQueueRecords": self.acknowledge_dead_letter_queue_records,
            "AcknowledgeQueueRecords": self.acknowledge_queue_records,
            "ReceiveDeadLetterQueueRecords": self.receive_dead_letter_queue_records,
            "ReceiveQueueRecords": self.receive_queue_records,
            "RestoreDeadLetterQueueRecords": self.restore_dead_letter_queue_records,
            "UpdateDeadLetterQueueRecordsVisibility": self.update_dead_letter_visibility,
            "UpdateQueueRecordsVisibility": self.update_queue_records_visibility,
        }

    async def receive_queue_records(self, context: Context, params: Params) -> Params:
        """Receive up to ten records, waiting for the first."""
        queue = self._active(context, params)
        return await self._receive(context, queue, queue.waiting, params)

    async def receive_dead_letter_queue_records(self, context: Context, params: Params) -> Params:
        """Receive up to ten dead-letter records, waiting for the first."""
        queue = self._active(context, params)
        return await self._receive(context, queue, queue.dead, params)

    async def acknowledge_queue_records(self, context: Context, params: Params) -> Params:
        """Be done with records."""
        queue = self._feeders.locate(context, params["QueueARN"])
        return await self._each(queue, queue.waiting, params, _acknowledge)

    async def acknowledge_dead_letter_queue_records(
        self, context: Context, params: Params
    ) -> Params:
        """Be done with dead-letter records."""
        queue = self._feeders.locate(context, params["QueueARN"])
        return await self._each(queue, queue.dead, params, _acknowledge)

    async def update_queue_records_visibility(self, context: Context, params: Params) -> Params:
        """Let records be in flight for so long from now on; 0 gives them back at once."""
        queue = self._feeders.locate(context, params["QueueARN"])
        return await self._each(queue, queue.waiting, params, _extend)

    async def update_dead_letter_visibility(self, context: Context, params: Params) -> Params:
        """Do the same with dead-letter records."""
        queue = self._feeders.locate(context, params["QueueARN"])
        return await self._each(queue, queue.dead, params, _extend)

    async def restore_dead_letter_queue_records(self, context: Context, params: Params) -> Params:
        """Let dead-letter records be received again, as if they never had been."""
        queue = self._feeders.locate(context, params["QueueARN"])

        return await self._each(queue, queue.dead, params, _restore)

    # receiving

    def _active(self, context: Context, params: Params) -> QueueState:
        """Find a queue that delivers. Raises `AwsError`."""
        queue = self._feeders.locate(context, params["QueueARN"])
        if queue.status(self._now()) not in {Status.ACTIVE, Status.UPDATING}:
            raise not_found(f"Queue {queue.arn} not found.")
        return queue

    async def _receive(
        self, context: Context, queue: QueueState, name: str, params: Params
    ) -> Params:
        limit: int = params.get("Limit", MAX_RECORDS)
        wait = 1000 * params.get("WaitTimeSeconds", DEFAULT_WAIT)
        visibility: int = params.get("VisibilityTimeoutSeconds", queue.visibility)
        until = self._now() + wait
        session = self._feeders.session(queue)
        deliveries: list[Delivery] = []
        try:
            while not deliveries and wait >= 0:
                deliveries = await self._take(context, session, name, limit, visibility, wait)
                if not deliveries:
                    break
                deliveries = await self._drop_old(session, queue, deliveries)
                wait = until - self._now()
        except NotFoundError:
            raise not_found(f"Queue {queue.arn} not found.") from None
        except RefusedError as error:
            raise AwsError("ThrottlingException", str(error)) from None
        self._feeders.changed(queue)
        if visibility == 0:
            for each in deliveries:  # visible again before anybody can ask
                await session.extend(each.receipt, 0)
        dead = name == queue.dead
        return {"QueueRecords": [_record(each, queue if dead else None) for each in deliveries]}

    async def _take(
        self, context: Context, session: Session, name: str, limit: int, visibility: int, wait: int
    ) -> list[Delivery]:
        """Lease records; nothing stays leased to a client that is gone before it is answered."""
        lease = visibility * 1000
        owner = name.split("/")[1]
        deliveries = await session.receive(name, limit, owner=owner, lease=lease)
        if deliveries or not wait:
            return deliveries
        async with context.request.until_disconnect():
            deliveries = await session.receive(name, limit, owner=owner, lease=lease, wait=wait)
        if deliveries and context.request.disconnected:
            await session.settle([each.receipt for each in deliveries], Outcome.RELEASE)
            return []
        return deliveries

    async def _drop_old(
        self, session: Session, queue: QueueState, deliveries: Sequence[Delivery]
    ) -> list[Delivery]:
        """Take out what is past the stream's retention by now."""
        stream = self._feeders.stream(queue)
        retention = None if stream is None else stream.info.settings.retention
        if retention is None:
            return list(deliveries)
        horizon = self._now() - retention
        old = [each.receipt for each in deliveries if each.message.published < horizon]
        if not old:
            return list(deliveries)
        await session.settle(old)
        return [each for each in deliveries if each.message.published >= horizon]

    # settling

    async def _each(self, queue: QueueState, name: str, params: Params, act: _Act) -> Params:
        """Do something to each entry of a request; each may fail by itself."""
        session = self._feeders.session(queue)
        info = session.find_queue(name)
        if info is None:
            raise not_found(f"Queue {queue.arn} not found.")
        successful: list[Params] = []
        failed: list[Params] = []
        for entry in params["Entries"]:
            handle: str = entry["ReceiptHandle"]
            try:
                await act(session, _read(handle, info), entry)
            except _EntryError as failure:
                failed.append(
                    {
                        "ReceiptHandle": handle,
                        "ErrorCode": failure.code,
                        "ErrorMessage": str(failure),
                    }
                )
            else:
                successful.append({"ReceiptHandle": handle})
        await session.commit().wait()
        self._feeders.changed(queue)
        return {"Successful": successful, "Failed": failed}


def _read(handle: str, info: QueueInfo) -> Receipt:
    try:
        return read_handle(handle, info.number)
    except ValueError:
        raise _EntryError("InvalidArgumentException", "The receipt handle is not valid.") from None


async def _acknowledge(session: Session, receipt: Receipt, _entry: Params) -> None:
    if (await session.settle([receipt])).failed:
        raise _EntryError("ResourceNotFoundException", _NO_LEASE)


async def _restore(session: Session, receipt: Receipt, _entry: Params) -> None:
    """Give a dead-letter record up: what its queue gives up goes back to where it came from."""
    if session.lease_of(receipt) != "held":
        raise _EntryError("ResourceNotFoundException", _NOT_IN_FLIGHT)
    await session.settle([receipt], Outcome.REJECT)


async def _extend(session: Session, receipt: Receipt, entry: Params) -> None:
    if not await session.extend(receipt, entry["VisibilityTimeoutSeconds"] * 1000):
        raise _EntryError("ResourceNotFoundException", _NOT_IN_FLIGHT)


def _record(delivery: Delivery, dead: QueueState | None) -> Params:
    """Return a record as answers have it. `dead`: the queue that it is a dead letter of."""
    message = delivery.message
    receives = delivery.receives
    if dead is not None:
        # What was received before it was restored the last time does not count.
        limit = message.prior_receives if dead.max_receives is None else dead.max_receives
        receives += min(message.prior_receives, limit)
    return {
        "ReceiptHandle": make_handle(delivery.receipt),
        "RecordId": message.message_id,
        "PartitionKey": message.group,
        "Data": message.body,
        "ApproximateArrivalTimestamp": message.published / 1000,
        "FirstReceiveTimestamp": delivery.first_received / 1000,
        "ReceiveCount": receives,
    }
