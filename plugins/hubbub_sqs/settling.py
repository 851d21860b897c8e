"""DeleteMessage, ChangeMessageVisibility, and their batches.

On standard queues every receipt of a message will do, as in AWS: also one whose visibility timeout
is over, and that of an earlier receive. On FIFO queues only the latest, while it holds.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hubbub import Receipt
from hubbub_aws import AwsError, Context, OperationFunction
from hubbub_aws.protocols import Params
from hubbub_sqs.attributes import MAX_VISIBILITY
from hubbub_sqs.batches import Outcomes, read_entries
from hubbub_sqs.errors import invalid_value, missing_parameter
from hubbub_sqs.queues import Located, locate
from hubbub_sqs.receipts import Handle, read_handle
from hubbub_sqs.receiving import check_visibility

if TYPE_CHECKING:
    from hubbub import Hub

_EXPIRED = "The receipt handle has expired."
_UNAVAILABLE = "Message does not exist or is not available for visibility timeout change."


class Settling:
    """Ends leases, and moves their ends."""

    def __init__(self, hub: "Hub") -> None:
        self._clock = hub.clock

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {
            "ChangeMessageVisibility": self.change_message_visibility,
            "ChangeMessageVisibilityBatch": self.change_message_visibility_batch,
            "DeleteMessage": self.delete_message,
            "DeleteMessageBatch": self.delete_message_batch,
        }

    async def delete_message(self, context: Context, params: Params) -> Params:
        """Delete a message; answered when that is kept."""
        queue = locate(context, params, "consume")
        await _delete(queue, [_deletable(queue, params)])
        return {}

    async def delete_message_batch(self, context: Context, params: Params) -> Params:
        """Delete up to ten messages; each may fail by itself."""
        queue = locate(context, params, "consume")
        entries = read_entries(params, "DeleteMessageBatchRequestEntry")
        outcomes = Outcomes(context)
        receipts: list[Receipt] = []
        for entry in entries:
            try:
                receipts.append(_deletable(queue, entry))
            except AwsError as error:
                outcomes.fail(entry["Id"], error)
            else:
                outcomes.successful.append({"Id": entry["Id"]})
        if receipts:
            await _delete(queue, receipts)
        return outcomes.result()

    async def change_message_visibility(self, context: Context, params: Params) -> Params:
        """Let a message be invisible for so long from now on; 0 gives it back at once."""
        await self._change(locate(context, params, "consume"), params)
        return {}

    async def change_message_visibility_batch(self, context: Context, params: Params) -> Params:
        """Change the visibility of up to ten messages; each may fail by itself."""
        queue = locate(context, params, "consume")
        entries = read_entries(params, "ChangeMessageVisibilityBatchRequestEntry")
        outcomes = Outcomes(context)
        for entry in entries:
            try:
                await self._change(queue, entry)
            except AwsError as error:
                outcomes.fail(entry["Id"], error)
            else:
                outcomes.successful.append({"Id": entry["Id"]})
        return outcomes.result()

    async def _change(self, queue: Located, params: Mapping[str, object]) -> None:
        text, handle = _read_handle(queue, params)
        seconds = params.get("VisibilityTimeout")
        if seconds is None:
            raise missing_parameter("VisibilityTimeout")
        assert isinstance(seconds, int)
        check_visibility(seconds)
        receipt = _changeable(queue, text, handle.receipt)
        if receipt is None:
            return
        until = self._clock.now() + seconds * 1000
        if until > handle.received + MAX_VISIBILITY * 1000 and seconds:
            raise invalid_value(
                seconds,
                "VisibilityTimeout",
                "Total VisibilityTimeout for the message is beyond the limit "
                f"[{MAX_VISIBILITY} seconds]",
            )
        await queue.session.extend(receipt, seconds * 1000)


async def _delete(queue: Located, receipts: Sequence[Receipt]) -> None:
    """Delete messages; returns when that is kept. What is gone already is no error."""
    session = queue.session
    settlement = await session.settle(receipts)
    if settlement.failed and not queue.settings.fifo:
        latest = [session.successor(receipts[index]) for index in settlement.failed]
        again = [each for each in latest if each is not None]
        if again:
            settlement = await session.settle(again)
    await settlement.commit.wait()


def _changeable(queue: Located, text: str, receipt: Receipt) -> Receipt | None:
    """Return the receipt whose lease can be changed; None if there is nothing to change any more.

    Raises `AwsError`.
    """
    state = queue.session.lease_of(receipt)
    if state == "held":
        return receipt
    if state == "gone":
        raise invalid_value(text, "ReceiptHandle", _UNAVAILABLE)
    if queue.settings.fifo:
        raise invalid_value(text, "ReceiptHandle", _EXPIRED)
    if state == "visible":
        raise AwsError("MessageNotInflight", "The specified message isn't in flight.")
    if state == "expired":
        return None
    latest = queue.session.successor(receipt)
    if latest is None:
        raise invalid_value(text, "ReceiptHandle", _UNAVAILABLE)
    return latest


def _read_handle(queue: Located, params: Mapping[str, object]) -> tuple[str, Handle]:
    text = params.get("ReceiptHandle")
    if not text:
        raise missing_parameter("ReceiptHandle")
    assert isinstance(text, str)
    return text, read_handle(text, queue.info.number)


def _deletable(queue: Located, params: Mapping[str, object]) -> Receipt:
    """Return the receipt of a message to delete. Raises `AwsError`."""
    text, handle = _read_handle(queue, params)
    if queue.settings.fifo and queue.session.lease_of(handle.receipt) not in {"held", "gone"}:
        raise invalid_value(text, "ReceiptHandle", _EXPIRED)
    return handle.receipt
