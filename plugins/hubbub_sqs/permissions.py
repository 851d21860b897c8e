"""AddPermission and RemovePermission: statements of a queue's access policy.

The policy is kept and told, as AWS does. What a client may do here is decided by hubbub's own
users and permissions.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from hubbub_aws import AwsError, Context, OperationFunction
from hubbub_aws.arns import partition_of
from hubbub_aws.protocols import Params
from hubbub_sqs.attributes import with_policy
from hubbub_sqs.errors import invalid_parameter, invalid_value, missing_parameter
from hubbub_sqs.queues import Located, locate

MAX_STATEMENTS = 20
MAX_ACTIONS = 7

_LABEL = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ACCOUNT = re.compile(r"[0-9]{12}")
_ACTIONS = frozenset(
    {
        "*", "ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "GetQueueUrl",
        "ListDeadLetterSourceQueues", "PurgeQueue", "ReceiveMessage", "SendMessage",
    }
)  # fmt: skip
_OWNERS_ACTIONS = frozenset(
    {
        "AddPermission", "CancelMessageMoveTask", "CreateQueue", "DeleteQueue",
        "ListMessageMoveTasks", "ListQueueTags", "ListQueues", "RemovePermission",
        "SetQueueAttributes", "StartMessageMoveTask", "TagQueue", "UntagQueue",
    }
)  # fmt: skip


def operations() -> Mapping[str, OperationFunction]:
    """Return the actions of this module."""
    return {"AddPermission": add_permission, "RemovePermission": remove_permission}


async def add_permission(context: Context, params: Params) -> Params:
    """Add a statement that lets accounts do actions."""
    queue = locate(context, params, "configure")
    label = _read_label(params)
    accounts: Sequence[str] | None = params.get("AWSAccountIds")
    actions: Sequence[str] = params.get("Actions") or ()
    if accounts is None:
        raise missing_parameter("PrincipalId")
    if not actions:
        raise missing_parameter("Actions")
    strangers = [account for account in accounts if not _ACCOUNT.fullmatch(account)]
    if strangers or not accounts:
        raise invalid_value(f"[{', '.join(strangers)}]", "PrincipalId", "Unable to verify.")
    for action in actions:
        if action not in _ACTIONS:
            reason = "Please refer to the appropriate WSDL for a list of valid actions. "
            if action in _OWNERS_ACTIONS:
                reason = "Only the queue owner is allowed to invoke this action."
            raise invalid_value(f"SQS:{action}", "ActionName", reason)
    if len(actions) > MAX_ACTIONS:
        raise AwsError(
            "OverLimit",
            f"{len(actions)} Actions were found, maximum allowed is {MAX_ACTIONS}.",
        )
    policy = _read_policy(queue)
    statements: list[Any] = policy["Statement"]
    if any(each.get("Sid") == label for each in statements):
        raise invalid_value(label, "Label", "Already exists.")
    if len(statements) >= MAX_STATEMENTS:
        raise AwsError(
            "OverLimit",
            f"{len(statements) + 1} statements were found in the submitted policy, max allowed is "
            f"{MAX_STATEMENTS}",
        )
    partition = partition_of(queue.region)
    statements.append(
        {
            "Sid": label,
            "Effect": "Allow",
            "Principal": {
                "AWS": _one_or_many([f"arn:{partition}:iam::{each}:root" for each in accounts])
            },
            "Action": _one_or_many([f"SQS:{action}" for action in actions]),
            "Resource": queue.arn,
        }
    )
    await _store(queue, policy)
    return {}


async def remove_permission(context: Context, params: Params) -> Params:
    """Remove the statement with a label."""
    queue = locate(context, params, "configure")
    label = _read_label(params)
    policy = _read_policy(queue)
    kept = [each for each in policy["Statement"] if each.get("Sid") != label]
    if len(kept) == len(policy["Statement"]):
        where = " on existing policy" if kept else ""
        raise invalid_value(label, "Label", f"can't find label{where}.")
    policy["Statement"] = kept
    await _store(queue, policy)
    return {}


def _read_label(params: Params) -> str:
    label = params.get("Label")
    if not label:
        raise missing_parameter("Label")
    assert isinstance(label, str)
    if not _LABEL.fullmatch(label):
        raise invalid_parameter(
            f"Value {label} for parameter Label is invalid. Reason: Can only include alphanumeric "
            "characters, hyphens, or underscores. 1 to 80 in length."
        )
    return label


def _read_policy(queue: Located) -> dict[str, Any]:
    text = queue.settings.labels.get("sqs.Policy")
    policy: dict[str, Any] = (
        {"Version": "2008-10-17", "Id": f"{queue.arn}/SQSDefaultPolicy"}
        if text is None
        else msgspec.json.decode(text)
    )
    statements = policy.get("Statement", [])
    policy["Statement"] = [statements] if type(statements) is dict else list(statements)
    return policy


async def _store(queue: Located, policy: dict[str, Any]) -> None:
    text = msgspec.json.encode(policy).decode() if policy["Statement"] else None
    commit = await queue.session.configure_queue(queue.name, with_policy(queue.settings, text))
    await commit.wait()


def _one_or_many(items: list[str]) -> str | list[str]:
    return items[0] if len(items) == 1 else items
