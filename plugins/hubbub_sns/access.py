"""What a caller may do, asked before it does it, in the words of AWS."""

from hubbub import Session
from hubbub_aws import AwsError, Context
from hubbub_aws.arns import partition_of


def principal_arn(context: Context) -> str:
    """Return who the caller is, as an ARN of a user."""
    partition = partition_of(context.region)
    return f"arn:{partition}:iam::{context.account}:user/{context.principal.name}"


def demand(context: Context, session: Session, action: str, resource: str, arn: str) -> None:
    """Check that the caller may do `action` to an address or pattern. Raises `AwsError`."""
    if not session.allowed(action, resource):
        raise refused(context, arn)


def refused(context: Context, arn: str) -> AwsError:
    """The caller may not do what it asks for."""
    return AwsError(
        "AuthorizationErrorException",
        f"User: {principal_arn(context)} is not authorized to perform: "
        f"SNS:{context.call.operation} on resource: {arn}",
    )
