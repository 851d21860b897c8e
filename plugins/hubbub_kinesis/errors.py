"""The errors of Kinesis, in the words of AWS where they are known."""

from datetime import UTC, datetime

from hubbub_aws import AwsError
from hubbub_kinesis.iterators import LIFETIME

_LIMITS_PAGE = "http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html"


def invalid_argument(message: str) -> AwsError:
    """A parameter is wrong in a way that the model does not tell."""
    return AwsError("InvalidArgumentException", message)


def too_large(path: str, limit: int) -> AwsError:
    """A record is larger than its stream takes, in the words of the validator."""
    return AwsError(
        "ValidationException",
        f"1 validation error detected: Value at '{path}' failed to satisfy constraint: Member must "
        f"have length less than or equal to {limit}",
    )


def validation(message: str) -> AwsError:
    """Parameters do not go together, or not with the resource."""
    return AwsError("ValidationException", message)


def not_on_demand(name: str, account: str) -> AwsError:
    """The stream has the other capacity mode."""
    return validation(
        f"Request is invalid. Stream {name} under account {account} is not in On-Demand mode."
    )


def not_found(message: str) -> AwsError:
    """Something does not exist."""
    return AwsError("ResourceNotFoundException", message)


def in_use(message: str) -> AwsError:
    """Something is in a state that forbids this."""
    return AwsError("ResourceInUseException", message)


def limit_exceeded(message: str) -> AwsError:
    """There would be more of something than there may be."""
    return AwsError("LimitExceededException", message)


def no_such_stream(name: str, account: str) -> AwsError:
    """The stream does not exist."""
    return not_found(f"Stream {name} under account {account} not found.")


def no_such_shard(shard: str, name: str, account: str) -> AwsError:
    """The shard does not exist: where a stream is changed."""
    return not_found(f"Could not find shard {shard} in stream {name} under account {account}.")


def shard_does_not_exist(shard: str, name: str, account: str) -> AwsError:
    """The shard does not exist: where a stream is read."""
    return not_found(f"Shard {shard} in stream {name} under account {account} does not exist")


def not_active(name: str, account: str, status: str) -> AwsError:
    """The stream is being created, changed or deleted."""
    return in_use(f"Stream {name} under account {account} not ACTIVE, instead in state {status}")


def shard_limit(account: str, region: str, current: int, limit: int, added: int) -> AwsError:
    """The account would have too many shards."""
    return limit_exceeded(
        f"This request would exceed the shard limit for the account {account} in {region}. Current "
        f"shard count for the account: {current}. Limit: {limit}. Number of additional shards that "
        f"would have resulted from this request: {added}. Refer to the AWS Service Limits page "
        f"({_LIMITS_PAGE}) for current limits and how to request higher limits."
    )


def rate_exceeded(shard: str, name: str, account: str) -> AwsError:
    """A shard has given or taken all it may for now."""
    return AwsError(
        "ProvisionedThroughputExceededException",
        f"Rate exceeded for shard {shard} in stream {name} under account {account}.",
    )


def expired_iterator(created: int, now: int) -> AwsError:
    """An iterator is older than five minutes."""
    return AwsError(
        "ExpiredIteratorException",
        f"Iterator expired. The iterator was created at time {_time(created)} while right now it "
        f"is {_time(now)} which is further in the future than the tolerated delay of {LIFETIME} "
        "milliseconds.",
    )


def dry_run() -> AwsError:
    """A request that would have succeeded, had it not asked for a dry run."""
    return AwsError(
        "DryRunOperationException",
        "The request was rejected because the DryRun parameter was specified.",
    )


def _time(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    days = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    months = (
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    )  # fmt: skip
    return (
        f"{days[moment.weekday()]} {months[moment.month - 1]} {moment:%d %H:%M:%S} UTC {moment:%Y}"
    )
