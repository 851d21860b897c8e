"""AddPermission and RemovePermission: statements of a topic's access policy.

The policy is kept and told, as AWS does. What a client may do here is decided by hubbub's own
users and permissions.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from hubbub_aws import Context, OperationFunction
from hubbub_aws.protocols import Params
from hubbub_sns.access import demand
from hubbub_sns.errors import invalid_parameter, not_null
from hubbub_sns.records import Topic
from hubbub_sns.store import Store
from hubbub_sns.topics import default_policy, locate, root_of

_LABEL = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ACCOUNT = re.compile(r"[0-9]{12}")
_ACTIONS = frozenset(
    {
        "GetTopicAttributes", "SetTopicAttributes", "AddPermission", "RemovePermission",
        "DeleteTopic", "Subscribe", "ListSubscriptionsByTopic", "Publish", "Receive",
        "GetDataProtectionPolicy", "PutDataProtectionPolicy",
    }
)  # fmt: skip


class Permissions:
    """The actions on access policies."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {
            "AddPermission": self.add_permission,
            "RemovePermission": self.remove_permission,
        }

    async def add_permission(self, context: Context, params: Params) -> Params:
        """Add a statement that lets accounts do actions."""
        topic = self._locate(context, params)
        label = _label(params)
        accounts: Sequence[str] | None = params.get("AWSAccountId")
        actions: Sequence[str] | None = params.get("ActionName")
        if not accounts:
            raise not_null("aWSAccountId")
        if not actions:
            raise not_null("actionName")
        for account in accounts:
            if not _ACCOUNT.fullmatch(account):
                raise invalid_parameter("Policy Error: PrincipalNotFound")
        for action in actions:
            if action not in _ACTIONS:
                raise invalid_parameter("Policy statement action out of service scope!")
        policy = _policy(topic)
        if any(each.get("Sid") == label for each in policy["Statement"]):
            raise invalid_parameter("Statement already exists")
        policy["Statement"].append(
            {
                "Sid": label,
                "Effect": "Allow",
                "Principal": {"AWS": _one_or_many([root_of(a, topic.region) for a in accounts])},
                "Action": _one_or_many([f"SNS:{action}" for action in actions]),
                "Resource": topic.arn,
            }
        )
        await self._keep(topic, policy)
        return {}

    async def remove_permission(self, context: Context, params: Params) -> Params:
        """Remove the statement with a label; no error where there is none."""
        topic = self._locate(context, params)
        label = _label(params)
        policy = _policy(topic)
        kept = [each for each in policy["Statement"] if each.get("Sid") != label]
        if len(kept) < len(policy["Statement"]):
            policy["Statement"] = kept
            await self._keep(topic, policy)
        return {}

    def _locate(self, context: Context, params: Params) -> Topic:
        located = locate(context, self._store, params.get("TopicArn"))
        topic = located.topic
        demand(context, located.session, "configure", topic.name, topic.arn)
        return topic

    async def _keep(self, topic: Topic, policy: Mapping[str, Any]) -> None:
        topic.attributes["Policy"] = msgspec.json.encode(policy).decode()
        await self._store.save_topic(topic).wait()


def _label(params: Params) -> str:
    label = params.get("Label")
    if label is None:
        raise not_null("label")
    if not _LABEL.fullmatch(label):
        raise invalid_parameter("Label")
    return str(label)


def _policy(topic: Topic) -> dict[str, Any]:
    policy: dict[str, Any] = msgspec.json.decode(
        topic.attributes.get("Policy") or default_policy(topic)
    )
    statements = policy["Statement"]
    policy["Statement"] = [statements] if isinstance(statements, dict) else statements
    return policy


def _one_or_many(items: list[str]) -> str | list[str]:
    return items[0] if len(items) == 1 else items
