"""Messages in the body of an answer, in the form that the receiver prefers.

``Accept`` chooses between the JSON form, JSON lines, and CloudEvents in structured or batch mode.
A single message can also be given in HTTP's own form, ``form=raw``, or as an event in binary mode,
``form=cloudevent``: its body is the body then, and there is none if there is no message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from hubbub import Delivery, Message, Response

from . import cloudevents
from .answers import AS_IT_IS, INERT, JSON, NO_STORE
from .call import Call
from .cloudevents import Event
from .fields import plain, write_fields, write_lease
from .negotiation import chosen
from .problems import Problem
from .representation import ReceivedMessage, from_delivery, from_message

ReceivedForm: TypeAlias = Literal["json", "raw", "cloudevent"]

_JSON: Final = "application/json"
_LINES: Final = ("application/x-ndjson", "application/jsonl")
_OFFERED: Final = (_JSON, *_LINES, cloudevents.BATCH, cloudevents.EVENT)


class Messages(msgspec.Struct, kw_only=True, frozen=True):
    """Messages, in order."""

    messages: list[ReceivedMessage]


CONTENT: Final[dict[str, Any]] = {
    _JSON: Messages,
    _LINES[0]: None,
    _LINES[1]: None,
    cloudevents.BATCH: list[Event],
    cloudevents.EVENT: Event,
    "*/*": None,
}
"""What receivers may get, for the document."""


def check_form(call: Call, form: ReceivedForm, most: int) -> str:
    """Return the media type to answer in: before anything is leased, so that nothing is in vain.

    Raises:
        Problem: 406, or several messages are wanted in a form that holds one.
    """
    if form != "json":
        if most != 1:
            raise Problem("bad-request", f"form={form} gives one message: use it with max=1.")
        return "*/*"
    media = chosen(call.request.headers.get("accept"), _OFFERED)
    if media == cloudevents.EVENT and most != 1:
        raise Problem("not-acceptable", f"{media} gives one message; several are a batch.")
    return media


def answer_messages(
    call: Call,
    found: Sequence[Delivery] | Sequence[Message],
    form: ReceivedForm,
    media: str,
) -> Response:
    """Answer with messages; `media` is what `check_form` said."""
    if form != "json" or media == cloudevents.EVENT:
        if not found:
            return Response(204, [NO_STORE])
        return _single(call, found[0], form)
    if media == _JSON:
        body = msgspec.json.encode(Messages(messages=[_describe(each) for each in found]))
        return Response(200, (JSON, NO_STORE), body)
    if media == cloudevents.BATCH:
        body = msgspec.json.encode([_event(each) for each in found])
    else:
        body = msgspec.json.Encoder().encode_lines([_describe(each) for each in found])
    return Response(200, (("Content-Type", media), NO_STORE), body)


def _single(call: Call, found: Delivery | Message, form: ReceivedForm) -> Response:
    message, lease = _parts(found)
    if form == "json":
        body = msgspec.json.encode(_event(found))
        return Response(200, [("Content-Type", cloudevents.EVENT), NO_STORE, *lease], body)
    # Compressed on its way, it would seem to have a content encoding of its own.
    headers = [*single_headers(call, message, form), AS_IT_IS, *INERT, *lease]
    return Response(200, headers, message.body)


def single_headers(
    call: Call, message: Message, form: Literal["raw", "cloudevent"]
) -> list[tuple[str, str]]:
    """Return the headers of a message whose body is the answer's."""
    if form == "raw":
        return write_fields(message, call.session.lossy)
    headers = cloudevents.write_binary(message)
    content_type = plain(message.content_type, call.session.lossy, "content type")
    if content_type is not None:
        headers.append(("Content-Type", content_type))
    return headers


def _parts(found: Delivery | Message) -> tuple[Message, list[tuple[str, str]]]:
    if isinstance(found, Delivery):
        return found.message, write_lease(found)
    return found, []


def _describe(found: Delivery | Message) -> ReceivedMessage:
    return from_delivery(found) if isinstance(found, Delivery) else from_message(found)


def _event(found: Delivery | Message) -> dict[str, Any]:
    """Describe a message as an event; its lease is an extension, so that it can be settled."""
    message, lease = _parts(found)
    event = cloudevents.write_structured(message)
    if lease:
        event["hubbublease"] = lease[0][1]
    return event
