"""Resource policies: kept and told, as AWS does.

What a client may do here is decided by hubbub's own users and permissions.
"""

from collections.abc import Mapping

import msgspec

from hubbub_aws import AwsError, Context, OperationFunction
from hubbub_aws.protocols import Params
from hubbub_kinesis.errors import invalid_argument, not_found
from hubbub_kinesis.resources import Resource, Resources

MAX_BYTES = 20 * 1024


class Policies:
    """The actions on resource policies."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {
            "DeleteResourcePolicy": self.delete_resource_policy,
            "GetResourcePolicy": self.get_resource_policy,
            "PutResourcePolicy": self.put_resource_policy,
        }

    async def put_resource_policy(self, context: Context, params: Params) -> Params:
        """Attach a policy, in place of the one there is."""
        found = self._find(context, params)
        policy: str = params["Policy"]
        _check_policy(policy)
        found.owner.policy = policy
        await found.keep().wait()
        return {}

    async def get_resource_policy(self, context: Context, params: Params) -> Params:
        """Return the policy of something: an empty one if it has none."""
        policy = self._find(context, params).owner.policy
        return {"Policy": "{}" if policy is None else policy}

    async def delete_resource_policy(self, context: Context, params: Params) -> Params:
        """Detach the policy of something."""
        found = self._find(context, params)
        if found.owner.policy is None:
            raise _no_policy(params)
        found.owner.policy = None
        await found.keep().wait()
        return {}

    def _find(self, context: Context, params: Params) -> Resource:
        arn: str = params["ResourceARN"]
        if ":channel/" in arn:
            raise invalid_argument("Channels have no resource policies.")
        return self._resources.find(context, arn)


def _no_policy(params: Params) -> AwsError:
    return not_found(f"No resource policy found for resource ARN {params['ResourceARN']}.")


def _check_policy(text: str) -> None:
    if len(text.encode()) > MAX_BYTES:
        raise invalid_argument(f"Policy is larger than {MAX_BYTES} bytes.")
    try:
        policy = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        raise invalid_argument("Policy is not valid JSON.") from None
    statements = policy.get("Statement") if isinstance(policy, dict) else None
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise invalid_argument("Policy has no Statement.")
    for statement in statements:
        if not isinstance(statement, dict) or statement.get("Effect") not in {"Allow", "Deny"}:
            raise invalid_argument("Each Statement of a policy needs an Effect: Allow or Deny.")
        for name in ("Principal", "Action", "Resource"):
            if name not in statement and f"Not{name}" not in statement:
                raise invalid_argument(f"Each Statement of a policy needs a {name}.")
