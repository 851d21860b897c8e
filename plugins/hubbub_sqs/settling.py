"""DeleteMessage, ChangeMessageVisibility, and their batches."""

from collections.abc import Mapping
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
        receipt = _deletable(queue, params)
        settlement = await queue.session.settle([receipt])
        await settlement.commit.wait()
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
            settlement = await queue.session.settle(receipts)
            await settlement.commit.wait()
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
        held = queue.session.lease_of(handle.receipt)
        if held == "gone":
            raise invalid_value(text, "ReceiptHandle", _UNAVAILABLE)
        if held != "held":
            raise _no_lease(queue, text, stale=held == "stale")
        until = self._clock.now() + seconds * 1000
        if until > handle.received + MAX_VISIBILITY * 1000 and seconds:
            raise invalid_value(
                seconds,
                "VisibilityTimeout",
                "Total VisibilityTimeout for the message is beyond the limit "
                f"[{MAX_VISIBILITY} seconds]",
            )
        await queue.session.extend(handle.receipt, seconds * 1000)


def _no_lease(queue: Located, text: str, *, stale: bool) -> AwsError:
    """The lease is over: the message is visible, or somebody else has received it (`stale`)."""
    if queue.settings.fifo:
        return invalid_value(text, "ReceiptHandle", _EXPIRED)
    if stale:
        return invalid_value(text, "ReceiptHandle", _UNAVAILABLE)
    return AwsError("MessageNotInflight", "The specified message isn't in flight.")


def _read_handle(queue: Located, params: Mapping[str, object]) -> tuple[str, Handle]:
    text = params.get("ReceiptHandle")
    if not text:
        raise missing_parameter("ReceiptHandle")
    assert isinstance(text, str)
    return text, read_handle(text, queue.info.number)


def _deletable(queue: Located, params: Mapping[str, object]) -> Receipt:
    """Return the receipt of a message to delete.

    Standard queues take old handles: the message goes if nobody has received it since. FIFO
    queues refuse them. What is gone already is no error.
    """
    text, handle = _read_handle(queue, params)
    if queue.settings.fifo and queue.session.lease_of(handle.receipt) in {"stale", "visible"}:
        raise invalid_value(text, "ReceiptHandle", _EXPIRED)
    return handle.receipt
