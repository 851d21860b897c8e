"""The AWS front door: one endpoint, in AWS's own protocols, for the services of other plugins."""

from hubbub_aws.context import Context
from hubbub_aws.errors import AwsError
from hubbub_aws.hooks import AwsHooks, AwsService, OperationFunction
from hubbub_aws.plugin import AwsPlugin
from hubbub_aws.settings import AwsSettings

__all__ = [
    "AwsError",
    "AwsHooks",
    "AwsPlugin",
    "AwsService",
    "AwsSettings",
    "Context",
    "OperationFunction",
]
