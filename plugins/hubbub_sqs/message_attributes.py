"""Message attributes in requests: what SQS accepts, and their digest."""

import hashlib
import re
from collections.abc import Mapping

from hubbub_aws import AwsError
from hubbub_aws.attributes import MAX_NAME_BYTES, Attribute, is_name, is_text
from hubbub_aws.protocols import Params
from hubbub_sqs.errors import invalid_parameter

_NAME = re.compile(r"[\w.-]+")
_TYPE = re.compile(r"(?:String|Number|Binary)(?:\..+)?", re.DOTALL)
_NUMBER = re.compile(
    r"[+-]?(?:[0-9]{1,128}(?:\.[0-9]{0,128})?|\.[0-9]{1,128})(?:[eE][+-]?[0-9]{1,3})?"
)
_ALLOWED = "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
INVALID_CHARACTERS = f"Invalid characters found. Valid unicode characters are {_ALLOWED}"
MAX_TYPE_BYTES = 256


def read_attribute(name: str, given: Params, kind: str = "user") -> Attribute:
    """Read and check one attribute of a request. Raises `AwsError`."""
    if kind == "user":
        _check_name(name)
    if given.get("StringListValues") or given.get("BinaryListValues"):
        raise AwsError(
            "UnsupportedOperation",
            "Message attribute list values in SendMessage operation are not supported.",
        )
    data_type = given.get("DataType", "")
    if not data_type:
        raise invalid_parameter(
            f"The message attribute '{name}' must contain non-empty message attribute type."
        )
    if not _TYPE.fullmatch(data_type):
        raise invalid_parameter(
            f"The message attribute '{name}' has an invalid message attribute type, the set of "
            "supported type prefixes is Binary, Number, and String."
        )
    if len(data_type) > MAX_TYPE_BYTES or not is_text(data_type):
        raise invalid_parameter("Message (user) attribute types must be shorter than 256 Bytes")
    base = data_type.partition(".")[0]
    value: str | bytes | None = given.get("BinaryValue" if base == "Binary" else "StringValue")
    if not value:
        raise invalid_parameter(
            f"Message ({kind}) attribute '{name}' must contain a non-empty value of type "
            f"'{'Binary' if base == 'Binary' else 'String'}'."
        )
    if type(value) is str:
        if not is_text(value):
            raise invalid_parameter(INVALID_CHARACTERS)
        if base == "Number" and not _NUMBER.fullmatch(value):
            raise invalid_parameter(
                f"Can't cast the value of message (user) attribute '{name}' to a number."
            )
    return Attribute(data_type, value)


def _check_name(name: str) -> None:
    if len(name) > MAX_NAME_BYTES:
        raise invalid_parameter("Message (user) attribute names must be shorter than 256 Bytes")
    if not _NAME.fullmatch(name):
        raise invalid_parameter(
            "Message (user) attributes name can only contain upper and lower score characters, "
            "digits, periods, hyphens and underscores. "
        )
    if not is_name(name, wide=True):
        raise invalid_parameter(
            "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These "
            "strings are reserved for internal use. Additionally, they cannot start or end with "
            "'.'."
        )


def digest(attributes: Mapping[str, Attribute]) -> str:
    """Return the MD5 of attributes: MD5OfMessageAttributes.

    In order of name: length and bytes of name and type, 1 or 2 for text or bytes, length and bytes
    of the value; lengths in four bytes (SQS developer guide, "Calculating the MD5 message digest
    for message attributes").
    """
    parts: list[bytes] = []
    for name in sorted(attributes):
        data_type, value = attributes[name]
        encoded_name, encoded_type = name.encode(), data_type.encode()
        if type(value) is str:
            transport, content = b"\x01", value.encode()
        else:
            transport, content = b"\x02", bytes(value)  # type: ignore[arg-type]
        parts += (
            len(encoded_name).to_bytes(4), encoded_name,
            len(encoded_type).to_bytes(4), encoded_type,
            transport, len(content).to_bytes(4), content,
        )  # fmt: skip
    return hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()
