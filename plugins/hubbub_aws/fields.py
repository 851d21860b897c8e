"""Fields of messages that SQS and SNS have no place for: attributes named `hubbub.…`.

What AWS clients send sets the fields; in the other direction each service says which it tells.
"""

import base64
import binascii
from collections.abc import Callable, Mapping

from hubbub import AddressError, HeaderValue, Message, parse_address
from hubbub_aws.attributes import Attribute, Note, note_for, to_header

PREFIX = "hubbub."
BODY_ENCODING = "hubbub.body-encoding"
REPLY_TO = "hubbub.reply-to"
TOPIC = "hubbub.topic"
OWNED = frozenset({BODY_ENCODING, TOPIC})
"""What only the hub says to receivers; a header of that name would deceive them."""
TEXT_FIELDS = {
    "hubbub.content-type": "content_type",
    "hubbub.content-encoding": "content_encoding",
    "hubbub.correlation-id": "correlation_id",
    "hubbub.message-id": "message_id",
    "hubbub.type": "type",
    "hubbub.app-id": "app_id",
    "hubbub.user-id": "user_id",
}
NUMBER_FIELDS = {
    "hubbub.timestamp": "timestamp",
    "hubbub.expires-at": "expires_at",
    "hubbub.priority": "priority",
}


class BodyNotBase64Error(ValueError):
    """The body is not what the attribute `BODY_ENCODING` says."""


def read_address(text: str) -> str | None:
    """Return an address of ours in its canonical spelling; None if it is none."""
    try:
        return str(parse_address(text))
    except AddressError:
        return None


def set_attributes(
    message: Message,
    attributes: Mapping[str, Attribute],
    notes: dict[str, Note],
    *,
    more_fields: Mapping[str, str] | None = None,
    reply_address: Callable[[str], str | None] = read_address,
) -> bool:
    """Set fields and headers of a message from its attributes.

    Args:
        message: what has been read of it so far; a field that is set stays as it is.
        attributes: what came with it.
        notes: gets what headers do not tell of attributes.
        more_fields: text fields of this service alone, by attribute.
        reply_address: reads where replies go; a text that is no address of ours itself is noted.

    Returns:
        Whether the body came in base64; it is decoded now.

    Raises:
        BodyNotBase64Error: it says so, and is not.
    """
    headers: dict[str, HeaderValue] = {}
    encoded = False
    for name, attribute in attributes.items():
        if name.startswith(PREFIX):
            if attribute == ("String", "base64") and name == BODY_ENCODING:
                _decode_body(message)
                encoded = True
                continue
            if name == REPLY_TO:
                if _set_reply(message, attribute, notes, reply_address):
                    continue
            elif _set_field(message, name, attribute, more_fields or {}):
                continue
        header = to_header(attribute)
        headers[name] = header
        note = note_for(attribute, header)
        if note is not None:
            notes[name] = note
    if headers:
        message.headers = headers
    return encoded


def _decode_body(message: Message) -> None:
    try:
        message.body = base64.b64decode(message.body, validate=True)
    except binascii.Error:
        raise BodyNotBase64Error from None


def _set_reply(
    message: Message,
    attribute: Attribute,
    notes: dict[str, Note],
    reply_address: Callable[[str], str | None],
) -> bool:
    data_type, value = attribute
    address = reply_address(value) if data_type == "String" and type(value) is str else None
    if address is None:
        return False
    message.reply_to = address
    if type(value) is str and "://" in value:
        notes[REPLY_TO] = Note("String", value)
    return True


def _set_field(
    message: Message, name: str, attribute: Attribute, more_fields: Mapping[str, str]
) -> bool:
    """Set the field that an attribute stands for; False if it stands for none."""
    data_type, value = attribute
    field = TEXT_FIELDS.get(name) or more_fields.get(name)
    if field is not None:
        if data_type != "String" and (name, data_type) != ("hubbub.correlation-id", "Binary"):
            return False
        if getattr(message, field) is not None:
            return False
        setattr(message, field, value)
        return True
    field = NUMBER_FIELDS.get(name)
    if field is None:
        return False
    number = to_header(attribute) if data_type == "Number" else None
    if type(number) is not int or number < 0 or (field == "priority" and number > 255):
        return False
    setattr(message, field, number)
    return True
