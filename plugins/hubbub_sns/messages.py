"""Messages: what SNS clients publish, as messages of the bus, and the other way round.

A subject is a message's `type`. Fields of a message that SNS lacks (content type, correlation id …)
are attributes named `hubbub.…`, as in SQS, in both directions.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from hubbub import Message, Wire
from hubbub_aws.attributes import (
    MAX_NAME_BYTES,
    Attribute,
    Note,
    from_header,
    is_name,
    is_text,
    restore,
)
from hubbub_aws.fields import (
    BODY_ENCODING,
    NUMBER_FIELDS,
    OWNED,
    REPLY_TO,
    TEXT_FIELDS,
    BodyNotBase64Error,
    set_attributes,
)
from hubbub_aws.protocols import Params
from hubbub_sns.errors import invalid_parameter, invalid_value, not_null

WIRE = "sqs"
"""Marks what SQS and SNS clients sent: both have the same attributes."""
MAX_MESSAGE = 262_144

_FIRST_SEQUENCE = 10**19
"""Sequence numbers have 20 digits."""
_FIELDS = {**TEXT_FIELDS, REPLY_TO: "reply_to", **NUMBER_FIELDS}
_SUBJECT = re.compile(r"[!-~][ -~]{0,99}")
_GROUP = re.compile(r"[!-~]{1,128}")
_NAME_CHARACTER = re.compile(r"[^A-Za-z0-9_.-]")
_TYPE = re.compile(r"(?:String|Number|Binary)(?:\..+)?", re.DOTALL)
_NUMBER = re.compile(
    r"[+-]?(?:[0-9]{1,128}(?:\.[0-9]{0,128})?|\.[0-9]{1,128})(?:[eE][+-]?\d{1,3})?"
)


class Properties(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    """What a published message was that its canonical fields do not tell.

    The first three are those of messages sent by SQS, so that SQS clients get them. `structure` has
    the texts for single protocols; `control` makes the message one to a subscriber about its
    subscription.
    """

    notes: dict[str, Note] = {}
    trace: str | None = None
    base64: bool = False
    structure: dict[str, str] = {}
    control: str = ""


encode_properties = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Properties).decode
_NO_PROPERTIES = Properties()


def properties_of(message: Message) -> Properties:
    """Return what came with a message that AWS clients published."""
    wire = message.wire
    if wire is None or wire.protocol != WIRE:
        return _NO_PROPERTIES
    return _decode(wire.data)


def control_message(address: str, control: str) -> Message:
    """Make a message for a subscriber about its subscription."""
    return Message(
        address=address, body=b"", wire=Wire(WIRE, encode_properties(Properties(control=control)))
    )


def message_uuid(identity: int) -> str:
    """Return the MessageId of the message with this identity: always the same, nobody else's."""
    text = hashlib.md5(b"hubbub-sns" + identity.to_bytes(8), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def sequence_number(identity: int) -> str:
    """Return the SequenceNumber of a message of a FIFO topic."""
    return str(_FIRST_SEQUENCE + identity)


def timestamp(milliseconds: int) -> str:
    """Return a time as SNS writes it: in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03}Z"


# Publishing


class Outgoing(NamedTuple):
    """A message ready to publish, and its size as SNS counts it."""

    message: Message
    size: int


def read_message(params: Params, address: str, path: str = "", *, platform: str = "") -> Outgoing:
    """Read a message from the parameters of Publish, or an entry of PublishBatch.

    `path` is what leads to the entry, for errors. `platform`: it is for one device, and needs no
    text but that for its platform. Raises `AwsError`.
    """
    text = params.get("Message")
    if text is None:
        raise not_null(f"{path}message")
    if not text:
        raise invalid_parameter("Empty message")
    subject = params.get("Subject")
    if subject is not None and not _SUBJECT.fullmatch(subject):
        raise invalid_parameter("Subject")
    structure: dict[str, str] = {}
    match params.get("MessageStructure"):
        case None | "":
            pass
        case "json":
            structure = _read_structure(text, platform)
        case _:
            raise invalid_parameter("MessageStructure")
    body = _encode_text(structure.pop("default", text))
    message = Message(address=address, body=body, type=subject)
    size = len(_encode_text(text)) + len(subject or "")
    properties = Properties(structure=structure)
    given: Mapping[str, Params] | None = params.get("MessageAttributes")
    if given:
        attributes = {
            name: read_attribute(name, each, f"{path}messageAttributes")
            for name, each in given.items()
        }
        size += sum(len(name.encode()) + each.size for name, each in attributes.items())
        try:
            properties.base64 = set_attributes(message, attributes, properties.notes)
        except BodyNotBase64Error:
            raise invalid_parameter(
                f"The message is not base64, as the attribute '{BODY_ENCODING}' says"
            ) from None
    if size > MAX_MESSAGE:
        raise invalid_parameter("Message too long")
    if structure or properties.notes or properties.base64:
        message.wire = Wire(WIRE, encode_properties(properties))
    return Outgoing(message, size)


def set_trace(message: Message, trace: str) -> None:
    """Keep the trace header of the request, which SQS hands on as AWSTraceHeader."""
    properties = properties_of(message)
    properties = Properties(properties.notes, trace, properties.base64, properties.structure)
    message.wire = Wire(WIRE, encode_properties(properties))


def _encode_text(text: str) -> bytes:
    if not is_text(text):
        raise invalid_parameter("Message contains invalid characters")
    return text.encode()


def _read_structure(text: str, platform: str) -> dict[str, str]:
    try:
        found: Any = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise invalid_parameter("Message Structure - JSON message body failed to parse")
    if not isinstance(found.get("default"), str):
        if not platform:
            raise invalid_parameter("Message Structure - No default entry in JSON message body")
        if not isinstance(found.get(platform), str):
            raise invalid_parameter(f"JSON must contain an entry for 'default' or '{platform}'.")
    return {name: each for name, each in found.items() if isinstance(each, str)}


def read_attribute(name: str, given: Params, path: str = "messageAttributes") -> Attribute:
    """Read and check one message attribute. Raises `AwsError`."""
    data_type = given.get("DataType")
    if data_type is None:
        raise not_null(f"{path}.{name}.member.dataType")
    _check_name(name)
    if not _TYPE.fullmatch(data_type) or len(data_type) > MAX_NAME_BYTES:
        raise invalid_value(
            f"The message attribute '{name}' has an invalid message attribute type, the set of "
            "supported type prefixes is Binary, Number, and String."
        )
    base = data_type.partition(".")[0]
    field, other = ("Binary", "String") if base == "Binary" else ("String", "Binary")
    value: str | bytes | None = given.get(f"{field}Value")
    if not value:
        if given.get(f"{other}Value"):
            raise invalid_value(
                f"The message attribute '{name}' with type '{data_type}' must use field '{field}'."
            )
        raise invalid_value(
            f"The message attribute '{name}' must contain non-empty message attribute value for "
            f"message attribute type '{data_type}'."
        )
    if isinstance(value, str):
        if not is_text(value):
            raise invalid_value(f"The message attribute '{name}' has invalid characters.")
        if base == "Number" and not _NUMBER.fullmatch(value):
            raise invalid_value(f"Could not cast message attribute '{name}' value to number.")
    return Attribute(data_type, value)


def _check_name(name: str) -> None:
    if not name:
        raise invalid_value("The message attribute name must be non-empty.")
    if len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        raise invalid_value(
            f"Length of message attribute name must be less than {MAX_NAME_BYTES} bytes."
        )
    strange = _NAME_CHARACTER.search(name)
    if strange is not None:
        raise invalid_value(
            f"Invalid non-alphanumeric character '#x{ord(strange[0]):X}' was found in the message "
            "attribute name. Can only include alphanumeric characters, hyphens, underscores, or "
            "dots."
        )
    if name[0] == ".":
        raise invalid_value("Invalid message attribute name starting with character '.' was found.")
    if name[-1] == ".":
        raise invalid_value("Invalid message attribute name ending with character '.' was found.")
    if ".." in name:
        raise invalid_value("Message attribute name can not have successive '.' character.")


def check_group(name: str, value: str) -> None:
    """Check a MessageGroupId or MessageDeduplicationId. Raises `AwsError`."""
    if not _GROUP.fullmatch(value):
        raise invalid_parameter(
            f"{name} Reason: The {name} parameter can only include alphanumeric and punctuation "
            "characters, 1 to 128 in length"
        )


# Delivering


class Content(NamedTuple):
    """A message as SNS tells it. `lost` names what could not be carried."""

    text: str
    subject: str | None
    attributes: Mapping[str, Attribute]
    lost: Sequence[str]


def content_of(message: Message, protocol: str) -> Content:
    """Return a message's text for subscribers of a protocol, its subject and attributes."""
    properties = properties_of(message)
    lost: list[str] = []
    found: dict[str, Attribute] = {}
    text = properties.structure.get(protocol)
    if text is None:
        plain = None if properties.base64 else _as_text(message.body)
        if plain is None:
            plain = base64.b64encode(message.body).decode("ascii")
            found[BODY_ENCODING] = Attribute("String", "base64")
            if not properties.base64:
                lost.append("binary body")
        text = plain
    for name, header in message.headers.items():
        if not is_name(name) or name in OWNED:
            lost.append("attribute name")
            continue
        note = properties.notes.get(name)
        try:
            found[name] = from_header(header) if note is None else restore(header, note)
        except (ValueError, TypeError, OverflowError):
            lost.append("attribute value")
    subject = message.type
    if subject is not None and not _SUBJECT.fullmatch(subject):
        subject = None
    for name, field in _FIELDS.items():
        value: Any = getattr(message, field)
        if not value or (field == "type" and subject is not None):
            continue
        try:
            found.setdefault(name, from_header(value))
        except ValueError:
            lost.append(name)
    return Content(text, subject, found, lost)


def _as_text(body: bytes) -> str | None:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return text if is_text(text) else None
