"""Names: of topics, subscriptions, applications and endpoints, and the addresses they stand for."""

import re
import uuid
from typing import NamedTuple

from hubbub_aws import Context
from hubbub_aws.arns import Arn, make_arn
from hubbub_sns.errors import invalid_parameter, not_null

FIFO_SUFFIX = ".fifo"

_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}")
_FIFO_NAME = re.compile(r"[A-Za-z0-9_-]{1,251}\.fifo")


class TopicName(NamedTuple):
    """What a topic's ARN says."""

    arn: str
    account: str
    region: str
    name: str

    @property
    def fifo(self) -> bool:
        """Whether it is the name of a FIFO topic."""
        return self.name.endswith(FIFO_SUFFIX)


def check_name(name: str, *, fifo: bool) -> None:
    """Check the name of a new topic. Raises `AwsError`."""
    if fifo and not name.endswith(FIFO_SUFFIX):
        raise invalid_parameter(
            "Fifo Topic names must end with .fifo and must be made up of only uppercase and "
            "lowercase ASCII letters, numbers, underscores, and hyphens, and must be between 1 "
            "and 256 characters long."
        )
    if not (_FIFO_NAME if fifo else _NAME).fullmatch(name):
        raise invalid_parameter("Topic Name")


def topic_arn(region: str, account: str, name: str) -> str:
    """Return a topic's ARN."""
    return str(make_arn("sns", region, account, name))


def parse_arn(text: str | None, parameter: str) -> Arn:
    """Read the ARN in a parameter. Raises `AwsError`."""
    if text is None:
        raise not_null(parameter[:1].lower() + parameter[1:])
    try:
        return Arn.parse(text)
    except ValueError as error:
        reason = str(error)
        if reason.startswith("Invalid"):
            raise invalid_parameter(parameter) from None
        raise invalid_parameter(f"{parameter} Reason: {reason}") from None


def parse_topic(context: Context, text: str | None, parameter: str = "TopicArn") -> TopicName:
    """Read the ARN of a topic of the caller's region. Raises `AwsError`."""
    arn = parse_arn(text, parameter)
    if arn.service != "sns" or arn.region != context.region or ":" in arn.resource:
        raise invalid_parameter(parameter)
    return TopicName(str(arn), arn.account, arn.region, arn.resource)


def parse_subscription(text: str | None) -> str:
    """Check the ARN of a subscription, and return it. Raises `AwsError`."""
    if not text:
        raise invalid_parameter("SubscriptionArn Reason: no value for required parameter")
    arn = parse_arn(text, "SubscriptionArn")
    if arn.service != "sns":
        raise invalid_parameter("SubscriptionArn")
    try:
        uuid.UUID(arn.resource.rpartition(":")[2])
    except ValueError:
        raise invalid_parameter("SubscriptionId") from None
    return text


def pattern_of(topic: str) -> str:
    """Return what a topic of this name receives from: the whole subtree."""
    return f"{topic}/#"
