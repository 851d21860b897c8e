"""The errors of SNS, in the words of AWS."""

from hubbub_aws import AwsError


def invalid_parameter(message: str) -> AwsError:
    """A parameter of a request is wrong; the text begins as most of them do."""
    return AwsError("InvalidParameterException", f"Invalid parameter: {message}")


def invalid_value(message: str) -> AwsError:
    """A message attribute is wrong."""
    return AwsError("InvalidParameterValueException", message)


def not_found(what: str) -> AwsError:
    """A topic, subscription, application or endpoint does not exist."""
    return AwsError("NotFoundException", f"{what} does not exist")


def not_null(*paths: str) -> AwsError:
    """Required members are missing."""
    plural = "s" if len(paths) > 1 else ""
    problems = "; ".join(
        f"Value null at '{path}' failed to satisfy constraint: Member must not be null"
        for path in paths
    )
    return AwsError(
        "ValidationException",
        f"{len(paths)} validation error{plural} detected: {problems}",
        query_code="ValidationError",
    )
