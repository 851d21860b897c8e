"""AWS Query with answers in JSON: what services of that protocol give who accepts JSON.

API Gateway asks for it. An answer has the elements of the XML as members, in the order of the
alphabet; a member that is absent is null.
"""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from hubbub_aws.errors import WireError
from hubbub_aws.models import Operation
from hubbub_aws.protocols.base import Result, Serialize, as_params
from hubbub_aws.protocols.query import QueryCodec
from hubbub_aws.shapes import CompiledStructures, Shape

_Convert = Callable[[Any], Any]

_MEDIA_TYPES = re.compile(
    r"(?:^|,)\s*(application/json|[a-z]+/(?:xml|html|xhtml\+xml))\b", re.IGNORECASE
)
_encode = msgspec.json.Encoder().encode


def accepts_json(accept: str | None) -> bool:
    """Tell whether an ``Accept`` header names JSON, and no kind of XML before it."""
    if not accept:
        return False
    found = _MEDIA_TYPES.search(accept)
    return found is not None and found[1].lower() == "application/json"


class QueryJsonCodec(QueryCodec):
    """AWS Query for a service, with answers in JSON.

    ``names`` maps ``"Shape.Member"`` to a member's name in JSON, where it is not the model's.
    """

    content_type = "application/json"

    def __init__(self, namespace: str, names: Mapping[str, str]) -> None:
        super().__init__(namespace)
        self._names = names
        self._structures = CompiledStructures[_Convert]()

    def serializer(self, operation: Operation) -> Serialize:
        """Compile the writer of an operation's output: ``{"NameResponse": {"NameResult": …``."""
        name = operation.name
        convert = None if operation.output is None else self._compile(operation.output)
        wrapper = operation.result_wrapper or f"{name}Result"

        def serialize(result: Result, request_id: str) -> bytes:
            answer: dict[str, Any] = {"ResponseMetadata": {"RequestId": request_id}}
            if convert is not None:
                answer[wrapper] = convert(as_params(result))
            return _encode({f"{name}Response": dict(sorted(answer.items()))})

        return serialize

    def error_body(self, error: WireError, request_id: str) -> bytes:
        """``{"Error": {"Code": …, "Message": …, "Type": …}, "RequestId": …}``."""
        details = {
            "Code": error.query_code,
            "Message": error.query_message,
            "Type": "Sender" if error.sender else "Receiver",
            **error.members,
        }
        return _encode({"Error": details, "RequestId": request_id})

    def _compile(self, shape: Shape) -> _Convert:
        if shape.type == "structure":
            return self._structures.get(shape, self._structure)
        if shape.type == "list":
            convert = self._compile(shape.member)
            return lambda value: [convert(each) for each in value]
        if shape.type == "map":
            return self._map(shape)
        if shape.type == "blob":
            return lambda value: base64.b64encode(value).decode("ascii")
        return lambda value: value

    def _structure(self, shape: Shape) -> _Convert:
        fields = sorted(
            (self._names.get(f"{shape.name}.{member}", member), member, self._compile(each))
            for member, each in shape.members.items()
        )

        def convert(value: Mapping[str, Any]) -> dict[str, Any]:
            get = value.get
            return {
                name: None if get(member) is None else convert_member(get(member))
                for name, member, convert_member in fields
            }

        return convert

    def _map(self, shape: Shape) -> _Convert:
        """A map whose entries have names of their own is a list of them, as in the XML."""
        convert = self._compile(shape.value)
        key_name, value_name = shape.key.location_name, shape.value.location_name
        if key_name is None or value_name is None:
            return lambda value: {key: convert(each) for key, each in value.items()}
        return lambda value: [
            {key_name: key, value_name: convert(each)} for key, each in value.items()
        ]
