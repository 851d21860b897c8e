"""SendMessage and SendMessageBatch."""

from collections.abc import Mapping, Sequence

from hubbub import DeniedError, HubbubError, NotFoundError, Publication, RefusedError
from hubbub_aws import AwsError, Context, OperationFunction
from hubbub_aws.protocols import Params
from hubbub_sqs.attributes import MAX_MESSAGE, max_message_size
from hubbub_sqs.batches import Outcomes, read_entries
from hubbub_sqs.errors import invalid_parameter, invalid_value, missing_parameter, no_such_queue
from hubbub_sqs.messages import Sent, check_group, message_uuid, read_message, sequence_number
from hubbub_sqs.queues import Located, locate

MAX_DELAY = 900
TRACE_HEADER = "x-amzn-trace-id"
"""Where the AWS SDKs tell the X-Ray trace that a request belongs to."""
_NO_DEDUPLICATION = (
    "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId "
    "provided explicitly"
)


def operations() -> Mapping[str, OperationFunction]:
    """Return the actions of this module."""
    return {"SendMessage": send_message, "SendMessageBatch": send_message_batch}


async def send_message(context: Context, params: Params) -> Params:
    """Send one message; answered when it is kept."""
    queue = locate(context, params, "publish")
    sent = _prepare(queue, params, context.call.request.headers.get(TRACE_HEADER))
    await queue.session.ready()
    publication = queue.session.publish([sent.message])
    if publication.refused:
        raise _as_aws(publication.refused[0], queue)
    await publication.commit.wait()
    return _result(queue, sent, publication, 0)


async def send_message_batch(context: Context, params: Params) -> Params:
    """Send up to ten messages; each may fail by itself."""
    queue = locate(context, params, "publish")
    entries = read_entries(params, "SendMessageBatchRequestEntry")
    if queue.settings.fifo:
        _check_fifo_batch(queue, entries)
    trace_id = context.call.request.headers.get(TRACE_HEADER)
    outcomes = Outcomes(context)
    prepared: list[tuple[str, Sent]] = []
    size = 0
    for entry in entries:
        try:
            sent = _prepare(queue, entry, trace_id, "cannot be validated")
        except AwsError as error:
            outcomes.fail(entry["Id"], error)
            size += len((entry.get("MessageBody") or "").encode("utf-8", "replace"))
        else:
            prepared.append((entry["Id"], sent))
            size += sent.size
    if size > MAX_MESSAGE:
        raise AwsError(
            "BatchRequestTooLong",
            f"Batch requests cannot be longer than {MAX_MESSAGE} bytes. You have sent {size} "
            "bytes.",
        )
    if prepared:
        await queue.session.ready()
        publication = queue.session.publish([sent.message for _, sent in prepared])
        await publication.commit.wait()
        for index, (id_, sent) in enumerate(prepared):
            if index in publication.refused:
                outcomes.fail(id_, _as_aws(publication.refused[index], queue))
            else:
                result = _result(queue, sent, publication, index)
                result["Id"] = id_
                outcomes.successful.append(result)
    return outcomes.result()


def _check_fifo_batch(queue: Located, entries: Sequence[Mapping[str, object]]) -> None:
    """What makes AWS refuse a whole batch to a FIFO queue, and not an entry."""
    for entry in entries:
        if not (entry.get("MessageDeduplicationId") or queue.settings.content_dedup):
            raise invalid_parameter(_NO_DEDUPLICATION)
        if not entry.get("MessageGroupId"):
            raise invalid_parameter("The request must contain the parameter MessageGroupId.")


def _prepare(
    queue: Located, params: Mapping[str, object], trace_id: str | None,
    verdict: str = "are invalid",
) -> Sent:  # fmt: skip
    """Read a message and check it against its queue. Raises `AwsError`.

    `verdict`: how AWS says that a message is too long, which is different in a batch.
    """
    sent = read_message(dict(params), queue.address, trace_id)
    message, settings = sent.message, queue.settings
    limit = max_message_size(settings)
    if sent.size > limit:
        raise invalid_parameter(
            f"One or more parameters {verdict}. Reason: Message must be shorter than {limit} bytes."
        )
    delay = params.get("DelaySeconds")
    group, dedup_id = params.get("MessageGroupId"), params.get("MessageDeduplicationId")
    if delay is not None:
        assert isinstance(delay, int)
        if not 0 <= delay <= MAX_DELAY:
            raise invalid_value(
                delay, "DelaySeconds", f"DelaySeconds must be >= 0 and <= {MAX_DELAY}."
            )
        if not settings.fifo:
            message.delay = delay * 1000
        elif delay:
            raise invalid_value(
                delay,
                "DelaySeconds",
                "The request include parameter that is not valid for this queue type.",
            )
    if group is not None:
        assert isinstance(group, str)
        check_group("MessageGroupId", group)
        message.group = group
    if dedup_id is not None:
        assert isinstance(dedup_id, str)
        if not settings.fifo:
            raise invalid_value(
                dedup_id,
                "MessageDeduplicationId",
                "The request includes a parameter that is not valid for this queue type.",
            )
        check_group("MessageDeduplicationId", dedup_id)
        message.dedup_id = dedup_id
    if settings.fifo:
        if group is None:
            raise missing_parameter("MessageGroupId")
        if dedup_id is None and not settings.content_dedup:
            raise invalid_parameter(_NO_DEDUPLICATION)
    return sent


def _as_aws(error: HubbubError, queue: Located) -> AwsError:
    """Spell why a queue did not take a message."""
    match error:
        case NotFoundError():
            return no_such_queue()
        case DeniedError():
            return AwsError("AccessDeniedException", str(error))
        case RefusedError():
            return AwsError("OverLimit", str(error))
        case _:
            return invalid_parameter(str(error))


def _result(queue: Located, sent: Sent, publication: Publication, index: int) -> Params:
    """Answer for a message; a duplicate has the identity of the first one."""
    id_ = publication.duplicates.get(index, sent.message.id)
    result: Params = {"MD5OfMessageBody": sent.body_md5, "MessageId": message_uuid(id_)}
    if sent.attributes_md5 is not None:
        result["MD5OfMessageAttributes"] = sent.attributes_md5
    if sent.system_md5 is not None:
        result["MD5OfMessageSystemAttributes"] = sent.system_md5
    if queue.settings.fifo:
        result["SequenceNumber"] = sequence_number(id_)
    return result
