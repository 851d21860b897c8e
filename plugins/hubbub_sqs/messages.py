"""Messages: what SQS clients send, as messages of the bus, and the other way round.

SQS has a body of text and ten attributes. Fields of a message that it lacks (content type, reply
address …) are attributes named `hubbub.…`, in both directions. `docs/protocols/sqs.md` has the
table.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from hubbub import Delivery, HeaderValue, Kind, Message, Wire, parse_address
from hubbub_aws import AwsError
from hubbub_aws.attributes import (
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
    TOPIC,
    BodyNotBase64Error,
    read_address,
    set_attributes,
)
from hubbub_aws.protocols import Params
from hubbub_sqs.errors import invalid_parameter, invalid_value, missing_parameter
from hubbub_sqs.message_attributes import INVALID_CHARACTERS, digest, read_attribute
from hubbub_sqs.queues import Place, parse_url
from hubbub_sqs.receipts import make_handle

WIRE = "sqs"
MAX_ATTRIBUTES = 10
TRACE = "AWSTraceHeader"
DEDUPLICATION_ID = "hubbub.deduplication-id"
"""Of messages in standard queues; FIFO queues have `MessageDeduplicationId`."""

_GROUP = re.compile(r"[!-~]{1,128}")
_120_BITS = (1 << 120) - 1
_SPREAD = 0x9E3779B97F4A7C15F39CC0605CEDC9
"""Any odd factor makes different numbers of different ones; this one spreads them well."""
_FIRST_SEQUENCE = 10**19
"""Sequence numbers have 20 digits."""
_MORE_FIELDS = {DEDUPLICATION_ID: "dedup_id"}


class Properties(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    """What a message sent by SQS was that its canonical fields do not tell."""

    notes: dict[str, Note] = {}
    trace: str | None = None
    base64: bool = False


_encode_properties = msgspec.msgpack.Encoder().encode
_decode_properties = msgspec.msgpack.Decoder(Properties).decode


def text_md5(data: bytes) -> str:
    """Return the MD5 of a body, as text."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def message_uuid(identity: int) -> str:
    """Return the MessageId of the message with this identity: always the same, nobody else's."""
    text = f"{identity * _SPREAD & _120_BITS:030x}"
    return f"{text[:8]}-{text[8:12]}-4{text[12:15]}-a{text[15:18]}-{text[18:]}"


def sequence_number(message_id: int) -> str:
    """Return the SequenceNumber of a message of a FIFO queue."""
    return str(_FIRST_SEQUENCE + message_id)


# Sending


class Sent(NamedTuple):
    """A message ready to publish, and what the answer to its sender says of it."""

    message: Message
    size: int
    body_md5: str
    attributes_md5: str | None
    system_md5: str | None


def read_message(params: Params, address: str, trace_id: str | None = None) -> Sent:
    """Read a message from the parameters of SendMessage, or an entry of SendMessageBatch.

    `trace_id`: the request's trace header, for a message without a trace of its own. Checks what
    does not depend on the queue. Raises `AwsError`.
    """
    text = params.get("MessageBody")
    if not text:
        raise missing_parameter("MessageBody")
    try:
        body = text.encode()
    except UnicodeEncodeError:
        raise AwsError("InvalidMessageContents", INVALID_CHARACTERS) from None
    if not is_text(text):
        raise AwsError("InvalidMessageContents", INVALID_CHARACTERS)
    message = Message(address=address, body=body)
    size = len(body)
    body_md5 = text_md5(body)
    attributes_md5 = system_md5 = None
    given = params.get("MessageAttributes")
    system = params.get("MessageSystemAttributes")
    if given or system or trace_id:
        properties = Properties()
        if trace_id and is_text(trace_id):
            properties.trace = trace_id
        if given:
            attributes = _read_attributes(given)
            attributes_md5 = digest(attributes)
            size += sum(
                len(name.encode()) + attribute.size for name, attribute in attributes.items()
            )
            try:
                properties.base64 = set_attributes(
                    message, attributes, properties.notes,
                    more_fields=_MORE_FIELDS, reply_address=_reply_address,
                )  # fmt: skip
            except BodyNotBase64Error:
                raise invalid_parameter(
                    f"The message body is not base64, as the attribute '{BODY_ENCODING}' says."
                ) from None
        if system:
            trace = _read_trace(system)
            properties.trace = str(trace.value)
            system_md5 = digest({TRACE: trace})
        if properties.notes or properties.trace or properties.base64:
            message.wire = Wire(WIRE, _encode_properties(properties))
    return Sent(message, size, body_md5, attributes_md5, system_md5)


def _read_attributes(given: Mapping[str, Params]) -> dict[str, Attribute]:
    if len(given) > MAX_ATTRIBUTES:
        raise invalid_parameter(
            f"Number of message attributes [{len(given)}] exceeds the allowed maximum "
            f"[{MAX_ATTRIBUTES}]."
        )
    return {name: read_attribute(name, each) for name, each in given.items()}


def _read_trace(system: Mapping[str, Params]) -> Attribute:
    for name in system:
        if name != TRACE:
            raise invalid_parameter(f"Message system attribute name '{name}' is invalid.")
    trace = read_attribute(TRACE, system[TRACE], kind="system")
    if trace.data_type != "String":
        raise invalid_parameter(f"Message system attribute '{TRACE}' must be of type 'String'.")
    return trace


def _reply_address(text: str) -> str | None:
    """The address that replies go to: a queue by its URL, or any address of ours."""
    if "://" in text:
        place: Place | None = parse_url(text)
        return None if place is None else place.address
    return read_address(text)


def check_group(name: str, value: str) -> None:
    """Check a MessageGroupId or MessageDeduplicationId. Raises `AwsError`."""
    if not _GROUP.fullmatch(value):
        raise invalid_value(
            value,
            name,
            f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in length.",
        )


# Receiving


class Wanted(NamedTuple):
    """Which attributes a receiver asked for."""

    system: frozenset[str]
    everything: bool
    names: frozenset[str]
    prefixes: tuple[str, ...]

    @property
    def some(self) -> bool:
        """Whether it asked for any message attribute."""
        return self.everything or bool(self.names or self.prefixes)

    def wants(self, name: str) -> bool:
        """Whether it asked for this message attribute."""
        return self.everything or name in self.names or name.startswith(self.prefixes or ("\0",))


def read_names(names: Sequence[str]) -> tuple[bool, frozenset[str], tuple[str, ...]]:
    """Read MessageAttributeNames: whether all, which names, which prefixes (`foo.*`)."""
    everything = any(name in {"All", ".*", "*"} for name in names)
    prefixes = tuple(name[:-2] for name in names if name.endswith(".*") and name != ".*")
    return everything, frozenset(names), prefixes


class Receiver(NamedTuple):
    """One ReceiveMessage request, for what its answer needs to know.

    `now`: when it received. `source_arn` makes the ARN of a queue of the realm by its name,
    `reply_url` the URL of one. `lossy` is told of every field that could not be carried.
    """

    wanted: Wanted
    now: int
    fifo: bool
    content_dedup: bool
    source_arn: Callable[[str], str]
    reply_url: Callable[[str], str]
    lossy: Callable[[str], None]


def write_message(delivery: Delivery, receiver: Receiver) -> Params:
    """Return a message as ReceiveMessage answers it."""
    message = delivery.message
    wanted = receiver.wanted
    body = message.body
    properties = None
    wire = message.wire
    if wire is not None and wire.protocol == WIRE:
        properties = _decode_properties(wire.data)
    text = None
    if properties is None or not properties.base64:
        text = _as_text(body)
    encoded = text is None
    if text is None:
        body = base64.b64encode(body)
        text = body.decode("ascii")
        if properties is None or not properties.base64:
            receiver.lossy("binary body")
    result: Params = {
        "MessageId": message_uuid(message.id if message.origin_id is None else message.origin_id),
        "ReceiptHandle": make_handle(delivery.receipt, receiver.now),
        "MD5OfBody": text_md5(body),
        "Body": text,
    }
    if wanted.system:
        attributes = _system_attributes(delivery, receiver, properties)
        if attributes:
            result["Attributes"] = attributes
    if wanted.some:
        found = _message_attributes(message, properties, receiver, encoded=encoded)
        chosen = {name: each for name, each in found.items() if wanted.wants(name)}
        if chosen:
            result["MD5OfMessageAttributes"] = digest(chosen)
            result["MessageAttributes"] = {
                name: attribute.as_result() for name, attribute in chosen.items()
            }
    return result


def _as_text(body: bytes) -> str | None:
    """The body as text, None if SQS can't carry it as such. SQS has no empty bodies."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return text if is_text(text) else None


def _system_attributes(
    delivery: Delivery, receiver: Receiver, properties: Properties | None
) -> dict[str, str]:
    message = delivery.message
    found = {
        "SenderId": message.client,
        "SentTimestamp": str(message.published),
        "ApproximateReceiveCount": str(delivery.receives + message.prior_receives),
        "ApproximateFirstReceiveTimestamp": str(delivery.first_received),
    }
    if message.group is not None:
        found["MessageGroupId"] = message.group
    elif receiver.fifo:
        found["MessageGroupId"] = message.client
    if receiver.fifo:
        found["SequenceNumber"] = sequence_number(message.id)
        if message.dedup_id is not None:
            found["MessageDeduplicationId"] = message.dedup_id
        elif receiver.content_dedup:
            found["MessageDeduplicationId"] = hashlib.sha256(message.body).hexdigest()
    if properties is not None and properties.trace is not None:
        found[TRACE] = properties.trace
    if message.deaths:
        found["DeadLetterQueueSourceArn"] = receiver.source_arn(message.deaths[0].queue)
    wanted = receiver.wanted.system
    if "All" in wanted:
        return found
    return {name: value for name, value in found.items() if name in wanted}


def _message_attributes(
    message: Message, properties: Properties | None, receiver: Receiver, *, encoded: bool
) -> dict[str, Attribute]:
    found: dict[str, Attribute] = {}
    lossy = receiver.lossy
    if encoded:
        found[BODY_ENCODING] = Attribute("String", "base64")
    notes = {} if properties is None else properties.notes
    for name, header in message.headers.items():
        if len(found) >= MAX_ATTRIBUTES:
            lossy("eleventh attribute")
            continue
        if not is_name(name, wide=True) or name in OWNED:
            lossy("attribute name")
            continue
        note = notes.get(name)
        try:
            found[name] = from_header(header) if note is None else restore(header, note)
        except (ValueError, TypeError, OverflowError):
            lossy("attribute value")
    for name, attribute in _fields(message, notes, receiver):
        if len(found) < MAX_ATTRIBUTES:
            found.setdefault(name, attribute)
        else:
            lossy(name)
    return found


def _fields(
    message: Message, notes: Mapping[str, Note], receiver: Receiver
) -> list[tuple[str, Attribute]]:
    """The fields of a message that are set and that SQS has no place for, as attributes."""
    found: list[tuple[str, HeaderValue]] = []
    for name, field in (TEXT_FIELDS | _MORE_FIELDS).items():
        value: Any = getattr(message, field)
        if value is not None and not (receiver.fifo and name == DEDUPLICATION_ID):
            found.append((name, value))
    if message.reply_to is not None:
        note = notes.get(REPLY_TO)
        found.append((REPLY_TO, _reply_text(message.reply_to, note, receiver)))
    for name, field in NUMBER_FIELDS.items():
        value = getattr(message, field)
        if value:
            found.append((name, value))
    origin = message.deaths[-1].address if message.deaths else message.address
    if not origin.startswith("$queue/"):
        found.append((TOPIC, origin))
    attributes: list[tuple[str, Attribute]] = []
    for name, value in found:
        try:
            attributes.append((name, from_header(value)))
        except ValueError:
            receiver.lossy(name)
    return attributes


def _reply_text(address: str, note: Note | None, receiver: Receiver) -> str:
    if note is not None and note.text is not None and _reply_address(note.text) == address:
        return note.text
    parsed = parse_address(address)
    return receiver.reply_url(parsed.name) if parsed.kind is Kind.QUEUE else address
