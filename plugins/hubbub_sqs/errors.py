"""The errors of SQS, in the words of AWS."""

from hubbub_aws import AwsError


def invalid_parameter(message: str) -> AwsError:
    """A parameter of a request is wrong."""
    return AwsError("InvalidParameterValueException", message)


def invalid_value(value: object, parameter: str, reason: str) -> AwsError:
    """A parameter's value is wrong: the form that most of AWS's messages have."""
    return invalid_parameter(
        f"Value {value} for parameter {parameter} is invalid. Reason: {reason}"
    )


def missing_parameter(name: str) -> AwsError:
    """A parameter is missing."""
    return AwsError(
        "MissingRequiredParameterException", f"The request must contain the parameter {name}."
    )


def unknown_attribute(name: str) -> AwsError:
    """An attribute that queues do not have, or not this queue."""
    return AwsError("InvalidAttributeName", f"Unknown Attribute {name}.")


def invalid_attribute(name: str, reason: str = "") -> AwsError:
    """A queue attribute's value is wrong."""
    message = f"Invalid value for the parameter {name}."
    return AwsError("InvalidAttributeValue", f"{message} Reason: {reason}" if reason else message)


def no_such_queue() -> AwsError:
    """The queue does not exist. The Query protocol says it in other words."""
    return AwsError(
        "QueueDoesNotExist",
        "The specified queue does not exist.",
        query_message="The specified queue does not exist for this wsdl version.",
    )


def no_such_resource(parameter: str) -> AwsError:
    """The queue that an ARN names does not exist."""
    return AwsError(
        "ResourceNotFoundException",
        f"The resource that you specified for the {parameter} parameter doesn't exist.",
    )
