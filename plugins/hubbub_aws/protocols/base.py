"""What the codecs of all AWS protocols have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from hubbub_aws.errors import WireError
from hubbub_aws.models import Operation

Params = dict[str, Any]
"""An operation's parameters or result: structures are dicts without absent members, blobs `bytes`,
timestamps seconds since the epoch (`float` or `int`), with milliseconds at most in results. A
member that is None is absent."""


class Structure(msgspec.Struct, omit_defaults=True, rename="pascal", gc=False):
    """A whole result, and what is in it: for long ones, as it is quicker to make and to encode.

    Fields have the names of members, with underscores (`shard_id` is ``ShardId``). A member that
    has its default is absent: None where there is no other.
    """


Result = Params | Structure
"""What an operation returns."""


def as_params(result: Result) -> Params:
    """A result as dicts and lists."""
    if isinstance(result, Structure):
        params: Params = msgspec.to_builtins(result, builtin_types=(bytes,))
        return params
    return result


Parse = Callable[[Any], Params]
"""From a request's payload to parameters. Raises `AwsError` and nothing else."""

Serialize = Callable[[Result, str], bytes]
"""From a result and a request id to the body of the answer."""


class Codec(ABC):
    """One protocol, for one service."""

    content_type: str
    """The media type of answers."""

    @abstractmethod
    def parser(self, operation: Operation) -> Parse:
        """Compile the reader of an operation's input. `AwsError` is all it raises."""

    @abstractmethod
    def serializer(self, operation: Operation) -> Serialize:
        """Compile the writer of an operation's output."""

    @abstractmethod
    def error_body(self, error: WireError, request_id: str) -> bytes:
        """An error in this protocol."""

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Headers of every answer in this protocol, beside the content type."""
        return ()

    def error_headers(self, error: WireError) -> tuple[tuple[str, str], ...]:
        """Headers of an answer with this error, beside those of every answer."""
        return ()


def query_error_header(error: WireError) -> tuple[tuple[str, str], ...]:
    """``x-amzn-query-error``: the code by which clients knew this error when it came as Query."""
    fault = "Sender" if error.sender else "Receiver"
    return (("x-amzn-query-error", f"{error.query_code};{fault}"),)


def error_document(
    error: WireError, *, qualified: bool = True, message_key: str = "message"
) -> Mapping[str, Any]:
    """The error as JSON and CBOR send it: ``__type``, message, further members."""
    name = f"{error.namespace}#{error.code}" if qualified and error.namespace else error.code
    document: dict[str, Any] = {"__type": name}
    if error.message is not None:
        document[message_key] = error.message
    document.update(error.members)
    return document
