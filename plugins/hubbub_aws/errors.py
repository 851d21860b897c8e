"""Errors as AWS answers them, before a protocol spells them.

A service raises `AwsError` with the name of an error shape and a message. How that looks on the
wire (``__type``, ``x-amzn-query-error``, ``<Code>``, status) is looked up in an `ErrorTable`, made
from the service's model, and in the errors of AWS's own service framework.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hubbub_aws.models import ServiceModel

FRAMEWORK_NAMESPACE = "com.amazon.coral.service"
"""The namespace of errors that AWS's service framework, not the service, answers with."""


class AwsError(Exception):
    """A request that is answered with an error.

    Arguments: ``code`` is the error shape's name (``QueueDoesNotExist``); ``message`` the text, or
    None where AWS sends none; ``query_message`` the text in the Query protocol, where it differs.
    ``status``, ``query_code`` and ``sender`` override what the service's error table says.
    ``members`` are further members of the error shape.
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        query_message: str | None = None,
        status: int | None = None,
        query_code: str | None = None,
        sender: bool | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.query_message = message if query_message is None else query_message
        self.status = status
        self.query_code = query_code
        self.sender = sender
        self.members = members or {}


@dataclass(frozen=True)
class ErrorTraits:
    """How an error shape looks on the wire.

    ``query_code`` is its name in Query and in ``x-amzn-query-error``; ``status`` the HTTP status;
    ``sender`` whose fault it is; ``json_status`` the status of JSON services that never spoke
    Query, where it differs.
    """

    query_code: str
    status: int = 400
    sender: bool = True
    json_status: int | None = None


@dataclass(frozen=True)
class WireError:
    """An error with everything a protocol may send of it."""

    code: str
    namespace: str
    message: str | None
    query_message: str | None
    query_code: str
    status: int
    sender: bool
    members: Mapping[str, Any]


def _framework_errors() -> dict[str, ErrorTraits]:
    """Errors of the framework. Codes and statuses as recorded from SQS, SNS and Kinesis."""
    return {
        "AccessDeniedException": ErrorTraits("AccessDenied", 403, json_status=400),
        "ExpiredTokenException": ErrorTraits("ExpiredToken", 403, json_status=400),
        "IncompleteSignatureException": ErrorTraits("IncompleteSignature"),
        "InternalFailure": ErrorTraits("InternalFailure", 500, sender=False),
        "InvalidParameterCombinationException": ErrorTraits("InvalidParameterCombination"),
        "InvalidParameterValueException": ErrorTraits("InvalidParameterValue"),
        "InvalidSignatureException": ErrorTraits("SignatureDoesNotMatch", 403, json_status=400),
        "MissingAction": ErrorTraits("MissingAction"),
        "MissingAuthenticationTokenException": ErrorTraits(
            "MissingAuthenticationToken", 403, json_status=400
        ),
        "MissingRequiredParameterException": ErrorTraits("MissingParameter"),
        "RequestEntityTooLargeException": ErrorTraits("RequestEntityTooLarge", 413),
        "RequestTimeTooSkewed": ErrorTraits("RequestTimeTooSkewed", 403),
        "SerializationException": ErrorTraits("MalformedInput"),
        "ServiceUnavailable": ErrorTraits("ServiceUnavailable", 503, sender=False),
        "ThrottlingException": ErrorTraits("Throttling"),
        "UnknownOperationException": ErrorTraits("InvalidAction"),
        "UnrecognizedClientException": ErrorTraits("InvalidClientTokenId", 403, json_status=400),
        "ValidationException": ErrorTraits("ValidationError"),
    }


class ErrorTable:
    """Every error of one service: its model's, corrected by `extra`, and the framework's.

    ``model`` is None for requests whose service is not known.
    """

    def __init__(
        self,
        model: ServiceModel | None,
        namespace: str = "",
        extra: Mapping[str, ErrorTraits] | None = None,
    ) -> None:
        self._namespace = namespace
        self._framework = _framework_errors()
        self._own: dict[str, ErrorTraits] = {}
        if model is not None:
            for name in model.shapes:
                traits = model.shapes[name].traits
                if traits.get("exception"):
                    self._own[name] = _modelled(name, traits)
        self._own.update(extra or {})
        self._statuses_of_query = model is None or (
            model.query_compatible or "query" in model.protocols
        )

    def resolve(self, error: AwsError) -> WireError:
        """Fill in what `error` leaves open."""
        traits = self._own.get(error.code)
        namespace = self._namespace
        if traits is None:
            namespace = namespace and FRAMEWORK_NAMESPACE
            traits = self._framework.get(error.code) or ErrorTraits(error.code)
        status = traits.status
        if traits.json_status is not None and not self._statuses_of_query:
            status = traits.json_status
        return WireError(
            code=error.code,
            namespace=namespace,
            message=_encodable(error.message),
            query_message=_encodable(error.query_message),
            query_code=error.query_code or traits.query_code,
            status=error.status or status,
            sender=traits.sender if error.sender is None else error.sender,
            members=error.members,
        )


def _encodable(message: str | None) -> str | None:
    """A message that quotes a client's undecodable bytes still has to go out."""
    return message and message.encode("utf-8", "replace").decode()


def _modelled(name: str, traits: Mapping[str, Any]) -> ErrorTraits:
    declared = traits.get("error", {})
    fault = bool(traits.get("fault") or declared.get("fault"))
    return ErrorTraits(
        query_code=declared.get("code", name),
        status=declared.get("httpStatusCode", 500 if fault else 400),
        sender=declared.get("senderFault", not fault),
    )


def malformed(message: str | None = None) -> AwsError:
    """A body that is not of the operation's input shape."""
    return AwsError("SerializationException", message)


def unknown_operation(message: str | None = None) -> AwsError:
    """An operation that the service does not have, or none at all."""
    return AwsError("UnknownOperationException", message)
