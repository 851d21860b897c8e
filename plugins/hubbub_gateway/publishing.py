"""Messages out of the body of a request, in every form that publishers may use.

==============================================  =================================================
content type                                    the body is
==============================================  =================================================
``application/vnd.hubbub.message+json``         one message in the JSON form
``application/vnd.hubbub.messages+json``        an array of them
``application/x-ndjson``, ``application/jsonl`` one of them in each line
``application/cloudevents+json``                an event in structured mode
``application/cloudevents-batch+json``          a batch of events
any, with ``ce-specversion``                    the data of an event in binary mode
any other                                       the body of the message, as it is
==============================================  =================================================

``form=raw`` in the query takes any of them for the message's body as it is; ``form=json`` takes
``application/json`` for a message in the JSON form, or an array of them.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import msgspec

from hubbub import Message

from . import cloudevents
from .call import Call
from .cloudevents import Event, EventError
from .fields import FieldError, read_fields
from .negotiation import media_type
from .problems import Problem
from .representation import PublishedMessage, RepresentationError, to_message

MESSAGE: Final = "application/vnd.hubbub.message+json"
MESSAGES: Final = "application/vnd.hubbub.messages+json"
LINES: Final = ("application/x-ndjson", "application/jsonl")
_JSON: Final = "application/json"

Form: TypeAlias = Literal["json", "raw"]
Entry: TypeAlias = Message | Problem
"""A message, or why it is none."""

CONTENT: Final[dict[str, Any]] = {
    "*/*": None,
    MESSAGE: PublishedMessage,
    MESSAGES: list[PublishedMessage],
    LINES[0]: None,
    LINES[1]: None,
    cloudevents.EVENT: Event,
    cloudevents.BATCH: list[Event],
}
"""What publishers may send, for the document."""

_decode_form = msgspec.json.Decoder(PublishedMessage).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Incoming:
    """What a request publishes: its messages, or why they are none, in order."""

    __slots__ = ("batch", "entries")

    def __init__(self, entries: list[Entry], *, batch: bool) -> None:
        self.entries = entries
        self.batch = batch
        """Whether the request is a batch, whose entries succeed or fail one by one."""


async def read_messages(call: Call, address: str, form: Form | None) -> Incoming:
    """Read what a request publishes to an address.

    Raises:
        Problem: the request can't be read, or its only message is none.
    """
    request, settings = call.request, call.gateway.settings
    headers = request.headers
    kind = media_type(headers.get("content-type"))
    if form == "raw" or not (form == "json" or kind in _FORMS):
        body = await request.body(settings.max_message_bytes)
        return Incoming([_raw(call, address, body, form)], batch=False)
    if "content-encoding" in headers and headers.get("content-encoding").lower() != "identity":
        raise Problem(
            "media-type",
            "A message in one of these forms can't be compressed; the body of a message can.",
            [("Accept-Encoding", "identity")],
        )
    if form == "json" and kind not in {_JSON, MESSAGE, MESSAGES, *LINES}:
        raise Problem("media-type", f"With form=json the content type is {_JSON}, not {kind!r}.")
    body = await request.body()
    try:
        incoming = _parse(call, address, kind, body)
    except (RepresentationError, EventError) as error:
        raise Problem("bad-message", str(error)) from None
    most = settings.max_batch
    if len(incoming.entries) > most:
        raise Problem("too-large", f"A batch has at most {most} messages.")
    if not incoming.entries:
        raise Problem("bad-message", "The batch has no message.")
    for index, entry in enumerate(incoming.entries):
        if isinstance(entry, Message) and len(entry.body) > settings.max_message_bytes:
            incoming.entries[index] = Problem(
                "too-large", f"A message's body has at most {settings.max_message_bytes} bytes."
            )
    if not incoming.batch and isinstance(incoming.entries[0], Problem):
        raise incoming.entries[0]
    return incoming


def _raw(call: Call, address: str, body: bytes, form: Form | None) -> Message:
    headers = call.request.headers
    try:
        fields = read_fields(headers, call.gateway.now())
        if form is None and cloudevents.is_binary(headers):
            fields["headers"] = {**fields.get("headers", {}), **cloudevents.read_binary(headers)}
        return Message(address=address, body=body, **fields)
    except (FieldError, EventError) as error:
        raise Problem("bad-message", f"{str(error)[:1].upper()}{str(error)[1:]}.") from None


def _parse(call: Call, address: str, kind: str, body: bytes) -> Incoming:
    now = call.gateway.now()
    if kind == cloudevents.EVENT:
        return Incoming([_event(address, cloudevents.read_structured(body))], batch=False)
    if kind == cloudevents.BATCH:
        return Incoming(
            [_event(address, each) for each in cloudevents.read_batch(body)], batch=True
        )
    if kind in LINES:
        lines = [line for line in body.split(b"\n") if line.strip()]
        return Incoming([_form(address, line, now) for line in lines], batch=True)
    if kind == MESSAGES or (kind == _JSON and body.lstrip()[:1] == b"["):
        try:
            parts = _decode_array(body)
        except msgspec.DecodeError as error:
            raise RepresentationError(f"The body is no JSON array: {error}") from None
        return Incoming([_form(address, bytes(part), now) for part in parts], batch=True)
    return Incoming([_form(address, body, now)], batch=False)


def _event(address: str, event: Any) -> Entry:
    if isinstance(event, EventError):
        return Problem("bad-message", str(event))
    headers, body, content_type = event
    return Message(address=address, body=body, headers=headers, content_type=content_type)


def _form(address: str, data: bytes, now: int) -> Entry:
    try:
        return to_message(_decode_form(data), address, now)
    except (RepresentationError, msgspec.DecodeError, UnicodeDecodeError) as error:
        return Problem("bad-message", str(error))
    except RecursionError:
        return Problem("bad-message", "It is nested too deeply.")


_FORMS: Final = frozenset({MESSAGE, MESSAGES, *LINES, cloudevents.EVENT, cloudevents.BATCH})
