"""CreateQueue, DeleteQueue, PurgeQueue, GetQueueUrl, attributes, and the lists of queues."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hubbub import ExistsError, QueueInfo, Session
from hubbub_aws import AwsError, Context, OperationFunction
from hubbub_aws.arns import Arn
from hubbub_aws.protocols import Params
from hubbub_sqs.attributes import (
    DeadLetterTarget,
    bad_target,
    change_settings,
    get_attributes,
    is_fifo,
    new_settings,
    read_allow_policy,
    same_value,
    with_tags,
)
from hubbub_sqs.errors import invalid_value, missing_parameter, no_such_queue, unknown_attribute
from hubbub_sqs.pages import paginate
from hubbub_sqs.queues import (
    Located,
    address_of,
    check_name,
    demand,
    is_account,
    locate,
    locate_arn,
    may_see,
    queue_arn,
    queue_url,
)
from hubbub_sqs.settings import SqsSettings
from hubbub_sqs.tagging import check_tags

if TYPE_CHECKING:
    from hubbub import Hub

PURGE_INTERVAL = 60_000
_MAX_REMEMBERED = 10_000

_COMPUTED = (
    "QueueArn",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
)
_SETTABLE = frozenset(
    {
        "VisibilityTimeout", "MaximumMessageSize", "MessageRetentionPeriod", "DelaySeconds",
        "Policy", "RedrivePolicy", "RedriveAllowPolicy", "ReceiveMessageWaitTimeSeconds",
        "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled", "FifoQueue",
        "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit",
    }
)  # fmt: skip


class Recent:
    """Times of the last minute, by key; older ones are forgotten."""

    def __init__(self, life: int) -> None:
        self._life = life
        self._until: dict[object, int] = {}

    def note(self, key: object, now: int) -> None:
        """Remember that something happened now."""
        while self._until:
            oldest = next(iter(self._until))
            if self._until[oldest] > now and len(self._until) < _MAX_REMEMBERED:
                break
            del self._until[oldest]
        self._until.pop(key, None)
        self._until[key] = now + self._life

    def has(self, key: object, now: int) -> bool:
        """Tell whether it happened lately."""
        return self._until.get(key, 0) > now


class Managing:
    """Makes, changes and lists queues."""

    def __init__(self, hub: "Hub", settings: SqsSettings) -> None:
        self._clock = hub.clock
        self._purged = Recent(PURGE_INTERVAL)
        self._deleted = Recent(round(settings.deleted_name_wait * 1000))

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {
            "CreateQueue": self.create_queue,
            "DeleteQueue": self.delete_queue,
            "GetQueueAttributes": get_queue_attributes,
            "GetQueueUrl": get_queue_url,
            "ListDeadLetterSourceQueues": list_dead_letter_source_queues,
            "ListQueues": list_queues,
            "PurgeQueue": self.purge_queue,
            "SetQueueAttributes": set_queue_attributes,
        }

    async def create_queue(self, context: Context, params: Params) -> Params:
        """Create a queue, or find the one that is there with the same attributes."""
        name = params.get("QueueName")
        if name is None:
            raise missing_parameter("QueueName")
        attributes: Mapping[str, str] = params.get("Attributes") or {}
        tags: Mapping[str, str] = params.get("tags") or {}
        session = context.session()
        demand(session, address_of(name), "configure")
        url = {"QueueUrl": queue_url(context, context.account, name)}
        present = session.find_queue(name)
        if present is not None:
            _compare(present, attributes)
            return url
        check_name(name, fifo=is_fifo(attributes))
        check_tags(name, tags)
        if self._deleted.has((session.realm, name), self._clock.now()):
            raise AwsError(
                "QueueDeletedRecently",
                "You must wait 60 seconds after deleting a queue before you can create another "
                "with the same name.",
            )
        arn = queue_arn(context.region, context.account, name)
        settings = new_settings(
            attributes, lambda target, policy: _find_target(context, session, arn, target, policy)
        )
        if tags:
            settings = with_tags(settings, tags)
        try:
            await session.create_queue(name, settings)
        except ExistsError:  # another request was quicker
            found = session.find_queue(name)
            if found is not None:
                _compare(found, attributes)
            return url
        await session.commit().wait()
        return url

    async def delete_queue(self, context: Context, params: Params) -> Params:
        """Delete a queue with all its messages."""
        queue = locate(context, params, "configure")
        commit = await queue.session.delete_queue(queue.name)
        await commit.wait()
        self._deleted.note((queue.session.realm, queue.name), self._clock.now())
        return {}

    async def purge_queue(self, context: Context, params: Params) -> Params:
        """Delete all messages of a queue."""
        queue = locate(context, params, "configure")
        now = self._clock.now()
        if self._purged.has(queue.info.number, now):
            raise AwsError(
                "PurgeQueueInProgress",
                f"Only one PurgeQueue operation on {queue.name} is allowed every 60 seconds.",
            )
        self._purged.note(queue.info.number, now)
        await queue.session.purge_queue(queue.name, leased=True)
        return {}


def _compare(present: QueueInfo, attributes: Mapping[str, str]) -> None:
    """Check that a queue has these attributes already. Raises `AwsError`."""
    if present.settings.owner is not None:
        raise AwsError("QueueNameExists", "A queue already exists with the same name")
    having = get_attributes(present.settings)
    for name, value in attributes.items():
        if name not in _SETTABLE:
            raise unknown_attribute(name)
        if not same_value(name, value, having.get(name)):
            raise AwsError(
                "QueueNameExists",
                "A queue already exists with the same name and a different value for attribute "
                f"{name}",
            )


# Attributes


async def get_queue_attributes(context: Context, params: Params) -> Params:
    """Return the attributes asked for; none if none are."""
    queue = locate(context, params)
    names: Sequence[str] = params.get("AttributeNames", ())
    for name in names:
        if name != "All" and name not in _SETTABLE and name not in _COMPUTED:
            raise unknown_attribute(name)
    if not names:
        return {}
    found = _computed(queue) | get_attributes(queue.settings)
    if "All" not in names:
        found = {name: value for name, value in found.items() if name in names}
    return {"Attributes": found} if found else {}


def _computed(queue: Located) -> dict[str, str]:
    counts = queue.info.counts()
    return {
        "QueueArn": queue.arn,
        "ApproximateNumberOfMessages": str(counts.visible),
        "ApproximateNumberOfMessagesNotVisible": str(counts.in_flight),
        "ApproximateNumberOfMessagesDelayed": str(counts.delayed),
        "CreatedTimestamp": str(queue.info.created // 1000),
        "LastModifiedTimestamp": str(queue.info.modified // 1000),
    }


async def set_queue_attributes(context: Context, params: Params) -> Params:
    """Change some attributes."""
    queue = locate(context, params, "configure")
    attributes: Mapping[str, str] | None = params.get("Attributes")
    if not attributes:
        raise missing_parameter("Attribute.Name")
    settings = change_settings(
        queue.settings,
        attributes,
        lambda target, policy: _find_target(context, queue.session, queue.arn, target, policy),
    )
    commit = await queue.session.configure_queue(queue.name, settings)
    await commit.wait()
    return {}


def _find_target(
    context: Context, session: Session, source: str, target: str, policy: str
) -> DeadLetterTarget:
    """Find the dead-letter queue of the queue `source` for its redrive policy."""
    try:
        found = locate_arn(context, target)
    except ValueError:
        if target.startswith("arn:") and target.count(":") >= 5:
            reason = "Only SQS queues are valid resources for deadLetterTargetArn."
            raise bad_target(policy, reason) from None
        raise bad_target(policy, "Invalid value for deadLetterTargetArn.") from None
    if Arn.parse(target).region != Arn.parse(source).region:
        raise bad_target(policy, "Dead-letter queue must be in the same region as the source.")
    if found is None or found.session.realm != session.realm:
        raise bad_target(policy, "Dead letter target does not exist.")
    allow = found.settings.labels.get("sqs.RedriveAllowPolicy")
    if allow:
        permission, sources = read_allow_policy(allow)
        if permission == "denyAll" or (permission == "byQueue" and source not in sources):
            raise bad_target(
                policy,
                "Dead-letter queue does not allow this queue as a source: see its "
                "RedriveAllowPolicy.",
            )
    return DeadLetterTarget(found.address, found.settings.fifo)


def _sources(session: Session, address: str) -> list[QueueInfo]:
    return [info for info in session.queues() if info.settings.dead_letter == address]


# Lists


async def get_queue_url(context: Context, params: Params) -> Params:
    """Return the URL of a queue by its name."""
    name = params.get("QueueName")
    if not name:
        raise missing_parameter("QueueName")
    account = params.get("QueueOwnerAWSAccountId") or context.account
    if not is_account(account):
        raise invalid_value(account, "QueueOwnerAWSAccountId", "An account id has twelve digits.")
    session = context.session(account)
    demand(session, address_of(name))
    info = session.find_queue(name)
    if info is None or info.settings.owner is not None:
        raise no_such_queue()
    return {"QueueUrl": queue_url(context, account, name)}


async def list_queues(context: Context, params: Params) -> Params:
    """Return the URLs of queues, in order of name."""
    session = context.session()
    found = session.queues(params.get("QueueNamePrefix") or "")
    names = [
        info.name
        for info in found
        if info.settings.owner is None and may_see(session, address_of(info.name))
    ]
    return _list(context, context.account, names, params, "QueueUrls")


async def list_dead_letter_source_queues(context: Context, params: Params) -> Params:
    """Return the URLs of the queues whose dead letters go to a queue."""
    queue = locate(context, params)
    names = [info.name for info in _sources(queue.session, queue.address)]
    result = _list(context, queue.account, names, params, "queueUrls")
    result.setdefault("queueUrls", [])
    return result


def _list(context: Context, account: str, names: Sequence[str], params: Params, key: str) -> Params:
    page, token = paginate(names, params)
    result: Params = {}
    if page:
        result[key] = [queue_url(context, account, name) for name in page]
    if token is not None:
        result["NextToken"] = token
    return result
