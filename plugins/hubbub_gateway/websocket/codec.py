"""Frames of `hubbub.v1` from and to WebSocket messages: no state, no I/O.

A text message is a frame. A binary message is a frame with a body:

====================  ==================================================================
4 bytes               the length of the frame in bytes, an unsigned integer, big-endian
that many bytes       the frame, JSON in UTF-8
the rest              the body of the message that the frame describes
====================  ==================================================================
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import UNSET

from hubbub_gateway.problems import Problem
from hubbub_gateway.representation import ReceivedMessage

from .frames import AnyAnswer, AnyRequest, Binary, Publish, RequestId

LENGTH_BYTES: Final = 4
"""Bytes of the length that a binary message begins with."""

Encoded: TypeAlias = tuple[str, bytes | None]
"""A message as JSON, and the body if that is not in the JSON."""

_requests: Final = msgspec.json.Decoder(AnyRequest)
_encoder: Final = msgspec.json.Encoder()


class FrameError(Problem):
    """A frame that says nothing the server understands; `id` is the request's, if it has one."""

    def __init__(self, kind: str, detail: str, id_: RequestId = None, **members: Any) -> None:
        super().__init__(kind, detail, **members)
        self.id = id_


class _Envelope(msgspec.Struct):
    """What is looked for in a frame that is wrong."""

    id: RequestId = None


_envelopes: Final = msgspec.json.Decoder(_Envelope)


def decode_request(data: str | bytes) -> tuple[AnyRequest, bytes | None]:
    """Decode what a client sent: the request, and the body if it was binary.

    Raises:
        FrameError: it is no request.
    """
    if isinstance(data, str):
        return _decode(data), None
    end = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES])
    if len(data) < LENGTH_BYTES or end > len(data):
        raise FrameError(
            "bad-frame",
            f"A binary message begins with {LENGTH_BYTES} bytes, the length of the JSON that "
            f"follows: this one has {len(data)} bytes, and should have {end} or more.",
        )
    request = _decode(data[LENGTH_BYTES:end])
    if not isinstance(request, Publish):
        raise FrameError("bad-frame", "Only `publish` comes in a binary message.", request.id)
    message = request.message
    if not (message.body is message.body_base64 is message.body_json is UNSET):
        raise FrameError(
            "bad-message", "The body follows the JSON, so it can't be in it too.", request.id
        )
    return request, data[end:]


def _decode(data: str | bytes) -> AnyRequest:
    try:
        return _requests.decode(data)
    except msgspec.ValidationError as error:
        raise FrameError("bad-frame", f"{error}.", _id_of(data)) from None
    except msgspec.DecodeError as error:
        raise FrameError("bad-frame", f"A frame is an object of JSON: {error}.") from None
    except UnicodeError:
        raise FrameError("bad-frame", "The frame is not UTF-8.") from None
    except RecursionError:
        raise FrameError("bad-frame", "The frame is nested too deeply.") from None


def _id_of(data: str | bytes) -> RequestId:
    """Return the id of a request that is wrong otherwise."""
    try:
        return _envelopes.decode(data).id
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def encode_request(request: AnyRequest, body: bytes | None = None) -> str | bytes:
    """Encode a request, for clients: the inverse of `decode_request`."""
    text = _encoder.encode(request)
    return text.decode() if body is None else _binary(text, body)


def encode_answer(answer: AnyAnswer) -> str:
    """Encode what the server sends, but for messages."""
    return _encoder.encode(answer).decode()


def encode_error(id_: RequestId, problem: Problem) -> str:
    """Encode an `Error`; a kind of problem may have members of its own."""
    frame: dict[str, Any] = {"op": "error"}
    if id_ is not None:
        frame["id"] = id_
    frame["problem"] = problem.details()
    return _encoder.encode(frame).decode()


def encode_ok(id_: RequestId, message: int) -> str:
    """Encode the `ok` of a message that was published, the frame that is sent most."""
    spelled = id_ if isinstance(id_, int) else _encoder.encode(id_).decode()
    return f'{{"op":"ok","id":{spelled},"message":"{message}"}}'


def encode_message(form: ReceivedMessage, body: bytes, binary: Binary) -> Encoded:
    """Encode a message once for all who are sent it in the same way.

    Args:
        form: the message, with its body.
        body: the body.
        binary: what the client wants (`Hello.binary`).
    """
    if binary == "always" or (binary == "auto" and form.body is UNSET):
        form = msgspec.structs.replace(form, body=UNSET, body_base64=UNSET)
        return _encoder.encode(form).decode(), body
    return _encoder.encode(form).decode(), None


def message_start(
    subscription: str,
    *,
    delivery: int | None = None,
    retained: bool = False,
    cursor: str | None = None,
) -> str:
    """Return the beginning of a message frame, up to the message."""
    start = _start(subscription)
    if delivery is not None:
        start += f'"delivery":{delivery},'
    if retained:
        start += '"retained":true,'
    if cursor is not None:
        start += f'"next":"{cursor}",'
    return start


@lru_cache(maxsize=4096)
def _start(subscription: str) -> str:
    return f'{{"op":"message","subscription":{_encoder.encode(subscription).decode()},'


def message_frame(start: str, encoded: Encoded) -> str | bytes:
    """Put a message frame together from its two parts."""
    text, body = encoded
    frame = f'{start}"message":{text}}}'
    return frame if body is None else _binary(frame.encode(), body)


def _binary(text: bytes, body: bytes) -> bytes:
    return len(text).to_bytes(LENGTH_BYTES) + text + body
