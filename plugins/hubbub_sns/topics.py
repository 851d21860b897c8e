"""Topics: creating, deleting, listing, attributes, data protection policies."""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from hubbub import Session
from hubbub_aws import AwsError, Context, OperationFunction
from hubbub_aws.arns import partition_of
from hubbub_aws.protocols import Params
from hubbub_sns.access import demand
from hubbub_sns.archive import Archive
from hubbub_sns.deduplication import Deduplicator
from hubbub_sns.delivery_policies import effective_topic_policy, read_topic_policy
from hubbub_sns.errors import invalid_parameter, not_found, not_null
from hubbub_sns.names import check_name, parse_topic, topic_arn
from hubbub_sns.pages import paginate
from hubbub_sns.policy_syntax import PolicyError, parse_json
from hubbub_sns.protection import read_policy
from hubbub_sns.records import Topic
from hubbub_sns.sampling import is_percentage
from hubbub_sns.store import Store
from hubbub_sns.tagging import read_tags

if TYPE_CHECKING:
    from hubbub_sns.subscriptions import Subscriptions

MAX_DATA_POLICY = 30_720

_FEEDBACK = re.compile(
    r"(?:Application|Firehose|HTTP|Lambda|SQS)"
    r"(?:(?:Success|Failure)FeedbackRoleArn|SuccessFeedbackSampleRate)"
)
_AT_CREATION = frozenset({"FifoTopic"})
_FIFO_ONLY = frozenset({"ArchivePolicy", "ContentBasedDeduplication", "FifoThroughputScope"})


class Located(msgspec.Struct):
    """A topic that exists, and the session of the caller in its realm."""

    topic: Topic
    session: Session


class Topics:
    """The actions on topics."""

    def __init__(
        self, store: Store, archive: Archive, subscriptions: "Subscriptions",
        deduplicator: Deduplicator,
    ) -> None:  # fmt: skip
        self._store = store
        self._archive = archive
        self._subscriptions = subscriptions
        self._deduplicator = deduplicator

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {
            "CreateTopic": self.create_topic,
            "DeleteTopic": self.delete_topic,
            "GetDataProtectionPolicy": self.get_data_protection_policy,
            "GetTopicAttributes": self.get_topic_attributes,
            "ListTopics": self.list_topics,
            "PutDataProtectionPolicy": self.put_data_protection_policy,
            "SetTopicAttributes": self.set_topic_attributes,
        }

    async def create_topic(self, context: Context, params: Params) -> Params:
        """Create a topic; one that is there already must be the same."""
        name = params.get("Name")
        if name is None:
            raise not_null("name")
        given: dict[str, str] = dict(params.get("Attributes") or {})
        tags = read_tags(params.get("Tags") or ())
        fifo = given.get("FifoTopic", "false").lower() == "true"
        check_name(name, fifo=fifo)
        arn = topic_arn(context.region, context.account, name)
        session = context.session()
        demand(context, session, "configure", name, arn)
        attributes = {
            key: check_attribute(key, value, fifo=fifo, creating=True)
            for key, value in given.items()
        }
        if not fifo:
            attributes.pop("FifoTopic", None)
        policy = params.get("DataProtectionPolicy") or ""
        if policy:
            _check_data_policy(policy)
        present = self._store.topics.get(arn)
        if present is not None:
            _compare(present, attributes, tags)
            return {"TopicArn": arn}
        topic = Topic(
            arn=arn, realm=session.realm, name=name, account=context.account,
            region=context.region, attributes={k: v for k, v in attributes.items() if v},
            tags=tags, data_protection_policy=policy,
        )  # fmt: skip
        if fifo:
            topic.attributes.setdefault("ContentBasedDeduplication", "false")
        self._store.save_topic(topic)
        await self._archive.configure(topic)
        await self._store.session(topic.realm).commit().wait()
        return {"TopicArn": arn}

    async def delete_topic(self, context: Context, params: Params) -> Params:
        """Delete a topic and its subscriptions; no error where there is none."""
        name = parse_topic(context, params.get("TopicArn"))
        session = context.session(name.account, name.region)
        demand(context, session, "configure", name.name, name.arn)
        topic = self._store.topics.get(name.arn)
        if topic is None:
            return {}
        if topic.attributes.get("ArchivePolicy"):
            raise AwsError(
                "InvalidStateException",
                "Invalid parameter: Topic has an active archive policy; set it to {} first",
            )
        for subscription in list(self._store.subscriptions_of(topic.arn).values()):
            await self._subscriptions.remove(subscription)
        self._store.drop_topic(topic)
        self._deduplicator.forget(topic.arn)
        await self._archive.delete(topic)
        await self._store.session(topic.realm).commit().wait()
        return {}

    async def list_topics(self, context: Context, params: Params) -> Params:
        """Return the ARNs of the caller's topics, in its region."""
        mine = [
            arn
            for arn, topic in self._store.topics.items()
            if (topic.account, topic.region) == (context.account, context.region)
        ]
        page, token = paginate(mine, params.get("NextToken"))
        result: Params = {"Topics": [{"TopicArn": arn} for arn in page]}
        if token is not None:
            result["NextToken"] = token
        return result

    async def get_topic_attributes(self, context: Context, params: Params) -> Params:
        """Return the attributes of a topic, those that AWS fills in included."""
        topic = locate(context, self._store, params.get("TopicArn")).topic
        subscriptions = self._store.subscriptions_of(topic.arn).values()
        attributes = {
            "DisplayName": "",
            "EffectiveDeliveryPolicy": _json(
                effective_topic_policy(topic.attributes.get("DeliveryPolicy", ""))
            ),
            "Owner": topic.account,
            "Policy": default_policy(topic),
            "SubscriptionsConfirmed": str(sum(each.active for each in subscriptions)),
            "SubscriptionsDeleted": str(topic.deleted_subscriptions),
            "SubscriptionsPending": str(
                sum(each.pending and not each.deleted for each in subscriptions)
            ),
            "TopicArn": topic.arn,
        }
        beginning = self._archive.beginning(topic)
        if beginning is not None:
            attributes["BeginningArchiveTime"] = beginning
        return {"Attributes": attributes | topic.attributes}

    async def set_topic_attributes(self, context: Context, params: Params) -> Params:
        """Change an attribute of a topic."""
        located = locate(context, self._store, params.get("TopicArn"))
        topic = located.topic
        demand(context, located.session, "configure", topic.name, topic.arn)
        name = params.get("AttributeName")
        if name is None:
            raise not_null("attributeName")
        value = params.get("AttributeValue") or ""
        checked = check_attribute(name, value, fifo=topic.fifo, creating=False)
        if checked:
            topic.attributes[name] = checked
        else:
            topic.attributes.pop(name, None)
        self._store.save_topic(topic)
        if name == "ArchivePolicy":
            await self._archive.configure(topic)
        await self._store.session(topic.realm).commit().wait()
        return {}

    async def get_data_protection_policy(self, context: Context, params: Params) -> Params:
        """Return the data protection policy of a topic."""
        topic = locate(context, self._store, params.get("ResourceArn"), "ResourceArn").topic
        return {"DataProtectionPolicy": topic.data_protection_policy}

    async def put_data_protection_policy(self, context: Context, params: Params) -> Params:
        """Protect the topic's messages from now on; an empty policy ends that."""
        located = locate(context, self._store, params.get("ResourceArn"), "ResourceArn")
        topic = located.topic
        demand(context, located.session, "configure", topic.name, topic.arn)
        policy = params.get("DataProtectionPolicy")
        if policy is None:
            raise not_null("dataProtectionPolicy")
        if policy:
            _check_data_policy(policy)
        topic.data_protection_policy = policy
        await self._store.save_topic(topic).wait()
        return {}


def locate(context: Context, store: Store, arn: str | None, parameter: str = "TopicArn") -> Located:
    """Find the topic that a request is for. Raises `AwsError`."""
    topic = store.topics.get(arn or "")
    if topic is None or topic.region != context.region:
        name = parse_topic(context, arn, parameter)
        topic = store.topics.get(name.arn)
        if topic is None:
            raise not_found("Topic")
    return Located(topic, context.session(topic.account, topic.region))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def default_policy(topic: Topic) -> str:
    """Return the access policy of a topic that has none of its own."""
    actions = (
        "GetTopicAttributes", "SetTopicAttributes", "AddPermission", "RemovePermission",
        "DeleteTopic", "Subscribe", "ListSubscriptionsByTopic", "Publish",
    )  # fmt: skip
    return _json(
        {
            "Version": "2008-10-17",
            "Id": "__default_policy_ID",
            "Statement": [
                {
                    "Sid": "__default_statement_ID",
                    "Effect": "Allow",
                    "Principal": {"AWS": "*"},
                    "Action": [f"SNS:{action}" for action in actions],
                    "Resource": topic.arn,
                    "Condition": {"StringEquals": {"AWS:SourceOwner": topic.account}},
                }
            ],
        }
    )


def root_of(account: str, region: str) -> str:
    """Return the ARN of an account itself."""
    return f"arn:{partition_of(region)}:iam::{account}:root"


def _compare(present: Topic, attributes: Mapping[str, str], tags: Mapping[str, str]) -> None:
    if present.fifo != (attributes.get("FifoTopic") == "true") or any(
        present.attributes.get(name, "") != value for name, value in attributes.items()
    ):
        raise invalid_parameter("Attributes Reason: Topic already exists with different attributes")
    if any(present.tags.get(key) != value for key, value in tags.items()):
        raise invalid_parameter("Tags Reason: Topic already exists with different tags")


def _check_data_policy(text: str) -> None:
    if len(text.encode()) > MAX_DATA_POLICY:
        raise invalid_parameter("DataProtectionPolicy")
    try:
        read_policy(text)
    except PolicyError as error:
        raise invalid_parameter(str(error)) from None


# Attributes


def check_attribute(name: str, value: str, *, fifo: bool, creating: bool) -> str:
    """Check an attribute of a topic; return it as it is kept, "" to take it away.

    Raises:
        AwsError: there is no such attribute, or its value is wrong.
    """
    prefix = "Attributes Reason: " if creating else ""
    if _FEEDBACK.fullmatch(name):
        if name.endswith("SampleRate") and value and not is_percentage(value):
            raise invalid_parameter(f"{prefix}{name}: must be between 0 and 100")
        return value
    check = _CHECKS.get(name)
    if (
        check is None
        or (name in _AT_CREATION and not creating)
        or (name in _FIFO_ONLY and not fifo)
    ):
        if creating:
            raise invalid_parameter(f"Attributes Reason: Unknown attribute {name}")
        raise invalid_parameter("AttributeName")
    if not value:
        return ""
    try:
        return check(value)
    except PolicyError as error:
        raise invalid_parameter(f"{prefix}{error}") from None
    except ValueError as error:
        raise invalid_parameter(f"{prefix}{name}: {error}") from None


def _display_name(value: str) -> str:
    if len(value) > 100:
        raise ValueError("must be at most 100 characters")
    return value


def _boolean(value: str) -> str:
    if value.lower() not in {"true", "false"}:
        raise ValueError(f"Invalid value [{value}]. Must be true or false.")
    return value.lower()


def _one_of(*allowed: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"Invalid value [{value}]. Must be {' or '.join(allowed)}.")
        return value

    return check


def _policy(value: str) -> str:
    policy = parse_json("Policy", value)
    statements = policy.get("Statement") if isinstance(policy, dict) else None
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not all(isinstance(each, dict) for each in statements):
        raise PolicyError("Policy Error: null")
    return value


def _delivery_policy(value: str) -> str:
    return _json(read_topic_policy(value))


def _archive_policy(value: str) -> str:
    policy = parse_json("ArchivePolicy", value)
    if policy == {}:
        return ""
    days = policy.get("MessageRetentionPeriod") if isinstance(policy, dict) else None
    if not str(days).isdecimal() or not 1 <= int(str(days)) <= 365:
        raise PolicyError("ArchivePolicy: MessageRetentionPeriod must be between 1 and 365 days")
    return _json({"MessageRetentionPeriod": str(days)})


_CHECKS: Mapping[str, Callable[[str], str]] = {
    "ArchivePolicy": _archive_policy,
    "ContentBasedDeduplication": _boolean,
    "DeliveryPolicy": _delivery_policy,
    "DisplayName": _display_name,
    "FifoThroughputScope": _one_of("Topic", "MessageGroup"),
    "FifoTopic": _boolean,
    "KmsMasterKeyId": str,
    "Policy": _policy,
    "SignatureVersion": _one_of("1", "2"),
    "TracingConfig": _one_of("PassThrough", "Active"),
}
