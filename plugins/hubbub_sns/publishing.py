"""Publish and PublishBatch."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hubbub import DeniedError, HubbubError, Session, UnavailableError
from hubbub_aws import AwsError, Context, OperationFunction
from hubbub_aws.protocols import Params
from hubbub_sns.access import principal_arn, refused
from hubbub_sns.deduplication import Deduplicator
from hubbub_sns.errors import invalid_parameter, not_null
from hubbub_sns.messages import (
    MAX_MESSAGE,
    Outgoing,
    check_group,
    message_uuid,
    read_message,
    sequence_number,
    set_trace,
)
from hubbub_sns.mobile import Mobile
from hubbub_sns.names import parse_arn
from hubbub_sns.protection import Guard
from hubbub_sns.records import Topic
from hubbub_sns.store import Store
from hubbub_sns.topics import locate

MAX_ENTRIES = 10

_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ENTRY = "publishBatchRequestEntries.{}.member."


class _Published(NamedTuple):
    """What became of one message: the id it has, or why it was refused."""

    identity: int
    error: HubbubError | None = None


class Publishing:
    """The actions that publish."""

    def __init__(
        self, store: Store, deduplicator: Deduplicator, mobile: Mobile, guard: Guard
    ) -> None:
        self._store = store
        self._deduplicator = deduplicator
        self._mobile = mobile
        self._guard = guard

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {"Publish": self.publish, "PublishBatch": self.publish_batch}

    async def publish(self, context: Context, params: Params) -> Params:
        """Publish a message to a topic, a phone, or a device; answered when it is kept."""
        topic_arn = params.get("TopicArn")
        target = params.get("TargetArn")
        phone = params.get("PhoneNumber")
        given = [each for each in (topic_arn, target, phone) if each is not None]
        if len(given) != 1:
            what = "TopicArn or TargetArn Reason: no value for required parameter"
            raise invalid_parameter(what if not given else "TopicArn, TargetArn or PhoneNumber")
        if phone is not None:
            return await self._mobile.publish_to_phone(context, phone, params)
        arn = topic_arn if topic_arn is not None else target
        if target is not None and ":endpoint/" in target:
            return await self._mobile.publish_to_endpoint(context, target, params)
        if target is not None and self._store.topics.get(target) is None:
            parse_arn(target, "TargetArn")
        parameter = "TargetArn" if topic_arn is None else "TopicArn"
        located = locate(context, self._store, arn, parameter)
        topic, session = located.topic, located.session
        outgoing = read_message(params, topic.name)
        _set_order(topic, outgoing, params)
        self._trace(context, outgoing)
        outgoing = self._protect(context, topic, outgoing)
        [published] = await self._publish(topic, session, [outgoing])
        if published.error is not None:
            raise _as_aws(context, topic, published.error)
        return _result(topic, published)

    async def publish_batch(self, context: Context, params: Params) -> Params:
        """Publish up to ten messages to a topic."""
        entries: Sequence[Mapping[str, Any]] | None = params.get("PublishBatchRequestEntries")
        located = locate(context, self._store, params.get("TopicArn"))
        topic, session = located.topic, located.session
        if entries is None:
            raise not_null("publishBatchRequestEntries")
        _check_entries(entries)
        outgoing = []
        for index, entry in enumerate(entries, 1):
            each = _read_entry(entry, topic, index)
            _set_order(topic, each, entry)
            self._trace(context, each)
            outgoing.append(each)
        if sum(each.size for each in outgoing) > MAX_MESSAGE:
            raise AwsError(
                "BatchRequestTooLongException",
                "The length of all the messages put together is more than the limit.",
            )
        successful, failed = [], []
        passed: list[tuple[str, Outgoing]] = []
        for entry, each in zip(entries, outgoing, strict=True):
            try:
                passed.append((entry["Id"], self._protect(context, topic, each)))
            except AwsError as denied:
                failed.append(_failure(context, entry["Id"], denied))
        published = await self._publish(topic, session, [each for _, each in passed])
        for (id_, _), result in zip(passed, published, strict=True):
            error = result.error
            if error is None:
                successful.append({"Id": id_, **_result(topic, result)})
            else:
                failed.append(_failure(context, id_, _as_aws(context, topic, error)))
        return {"Successful": successful, "Failed": failed}

    def _protect(self, context: Context, topic: Topic, outgoing: Outgoing) -> Outgoing:
        """Apply the topic's data protection policy. Raises `AwsError`."""
        if not topic.data_protection_policy:
            return outgoing
        message = self._guard.inbound(topic, outgoing.message, principal_arn(context))
        return outgoing._replace(message=message)

    def _trace(self, context: Context, outgoing: Outgoing) -> None:
        trace = context.call.request.headers.get("x-amzn-trace-id")
        if trace is not None and len(trace) <= 1024:
            set_trace(outgoing.message, trace)

    async def _publish(
        self, topic: Topic, session: Session, outgoing: Sequence[Outgoing]
    ) -> list[_Published]:
        """Publish what was not published before; return when all of it is kept."""
        await session.ready()
        messages = [each.message for each in outgoing]
        if not topic.fifo:
            publication = session.publish(messages)
            await publication.commit.wait()
            return [
                _Published(message.id, publication.refused.get(index))
                for index, message in enumerate(messages)
            ]
        results: list[_Published] = []
        for message in messages:
            # One by one, since a message may repeat the one before.
            assert message.dedup_id is not None
            key = message.dedup_id
            if topic.attributes.get("FifoThroughputScope") == "MessageGroup":
                key = f"{message.group}/{key}"
            first = self._deduplicator.find(topic.arn, key)
            if first is not None:
                results.append(_Published(first))
                continue
            error = session.publish([message]).refused.get(0)
            if error is None:
                # After the message: what a crash may lose first is the memory of it.
                self._deduplicator.remember(topic.arn, key, message.id)
            results.append(_Published(message.id, error))
        await session.commit().wait()
        return results


def _set_order(topic: Topic, outgoing: Outgoing, params: Mapping[str, Any]) -> None:
    """Set group and deduplication id, as the kind of the topic demands. Raises `AwsError`."""
    group, dedup_id = params.get("MessageGroupId"), params.get("MessageDeduplicationId")
    message = outgoing.message
    if group is not None:
        check_group("MessageGroupId", group)
        message.group = group
    elif topic.fifo:
        raise invalid_parameter("The MessageGroupId parameter is required for FIFO topics")
    if dedup_id is not None:
        if not topic.fifo:
            raise invalid_parameter(
                "MessageDeduplicationId Reason: The request includes MessageDeduplicationId "
                "parameter that is not valid for this topic type"
            )
        check_group("MessageDeduplicationId", dedup_id)
        message.dedup_id = dedup_id
    elif topic.fifo:
        if not topic.content_dedup:
            raise invalid_parameter(
                "The topic should either have ContentBasedDeduplication enabled or "
                "MessageDeduplicationId provided explicitly"
            )
        message.dedup_id = hashlib.sha256((params.get("Message") or "").encode()).hexdigest()


def _check_entries(entries: Sequence[Mapping[str, Any]]) -> None:
    if not entries:
        raise AwsError(
            "EmptyBatchRequestException", "The batch request doesn't contain any entries."
        )
    if len(entries) > MAX_ENTRIES:
        raise AwsError(
            "TooManyEntriesInBatchRequestException",
            "The batch request contains more entries than permissible.",
        )
    ids = set()
    for index, entry in enumerate(entries, 1):
        id_ = entry.get("Id")
        if id_ is None:
            raise not_null(f"{_ENTRY.format(index)}id")
        if not _ID.fullmatch(id_):
            raise AwsError(
                "InvalidBatchEntryIdException",
                "The Id of a batch entry in a batch request doesn't abide by the specification.",
            )
        ids.add(id_)
    if len(ids) < len(entries):
        raise AwsError(
            "BatchEntryIdsNotDistinctException",
            "Two or more batch entries in the request have the same Id.",
        )


def _read_entry(entry: Mapping[str, Any], topic: Topic, index: int) -> Outgoing:
    try:
        return read_message(dict(entry), topic.name, _ENTRY.format(index))
    except AwsError as error:
        if error.message == "Invalid parameter: Message too long":
            raise AwsError(
                "BatchRequestTooLongException",
                "The length of all the messages put together is more than the limit.",
            ) from None
        raise


def _result(topic: Topic, published: _Published) -> Params:
    result: Params = {"MessageId": message_uuid(published.identity)}
    if topic.fifo:
        result["SequenceNumber"] = sequence_number(published.identity)
    return result


def _as_aws(context: Context, topic: Topic, error: HubbubError) -> AwsError:
    match error:
        case DeniedError():
            return refused(context, topic.arn)
        case UnavailableError():
            return AwsError("ServiceUnavailable", str(error))
        case _:
            return AwsError("InternalErrorException", str(error))


def _failure(context: Context, id_: str, error: AwsError) -> Params:
    assert context.call.service is not None
    wire = context.call.service.errors.resolve(error)
    return {
        "Id": id_,
        "Code": wire.query_code,
        "Message": wire.query_message,
        "SenderFault": wire.sender,
    }
