"""The AsyncAPI 3 document of `hubbub.v1`: made from the frames that the codec reads and writes."""

from __future__ import annotations

import inspect
from typing import Any, Final, get_args

import msgspec

from hubbub import __version__

from .codec import LENGTH_BYTES
from .frames import (
    SUBPROTOCOL,
    Ack,
    AnyAnswer,
    AnyRequest,
    Consume,
    Dropped,
    Ended,
    Error,
    Extend,
    Hello,
    MessageFrame,
    Nack,
    Ok,
    Ping,
    Pong,
    Publish,
    Read,
    SetCredit,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Welcome,
)
from .handshake import PATH, TOKEN_SUBPROTOCOL

_REFERENCE: Final = "#/components/schemas/{name}"
_CHANNEL: Final = "bus"
_ANSWERS: Final[dict[type[msgspec.Struct], type[msgspec.Struct]]] = {
    Hello: Welcome,
    Publish: Ok,
    Subscribe: Subscribed,
    Consume: Subscribed,
    Read: Subscribed,
    Unsubscribe: Ok,
    Ack: Ok,
    Nack: Ok,
    Extend: Ok,
    SetCredit: Ok,
    Ping: Pong,
}
"""What each request is answered by, if it does not fail."""
_UNASKED: Final = (MessageFrame, Dropped, Ended)
"""What the server sends by itself."""

_DESCRIPTION: Final = f"""\
Everything that the bus can do, over one WebSocket with the subprotocol `{SUBPROTOCOL}`.

A text message is a frame: an object of JSON, whose `op` says what it is. A binary message is a
frame with a body: {LENGTH_BYTES} bytes, big-endian, with the length of the frame; the frame in
UTF-8; the body of its message. Only `publish` and `message` come so.

The first frame is `hello`. A request with an `id` is answered by a frame with the same `id`, one
without only if it fails.

The handshake may bring credentials: the header `Authorization` (Bearer or Basic), the parameter
`access_token` of the query, or a second subprotocol `{TOKEN_SUBPROTOCOL}TOKEN` with a bearer token
in base64url. Or `hello` does.
"""


def make_document(host: str, *, secure: bool) -> dict[str, Any]:
    """Describe the protocol as it is served at `host` (a name or address, with its port)."""
    requests, answers = get_args(AnyRequest), get_args(AnyAnswer)
    _, schemas = msgspec.json.schema_components([*requests, *answers], ref_template=_REFERENCE)
    names = {kind: _op(kind) for kind in (*requests, *answers)}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"hubbub over WebSocket: {SUBPROTOCOL}",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "hub": {
                "host": host,
                "protocol": "wss" if secure else "ws",
                "security": [
                    {"$ref": f"#/components/securitySchemes/{name}"} for name in _SECURITY
                ],
            }
        },
        "channels": {
            _CHANNEL: {
                "address": PATH,
                "title": "The WebSocket",
                "servers": [{"$ref": "#/servers/hub"}],
                "messages": {
                    name: {"$ref": f"#/components/messages/{name}"} for name in names.values()
                },
                "bindings": {"ws": _BINDING},
            }
        },
        "operations": {
            **{name: _request(name, names[_ANSWERS[kind]]) for kind, name in names.items()
               if kind in _ANSWERS},
            "deliver": {
                "action": "send",
                "title": "What the server sends by itself",
                "channel": {"$ref": f"#/channels/{_CHANNEL}"},
                "messages": [_message(names[kind]) for kind in _UNASKED],
            },
        },
        "components": {
            "messages": {name: _describe(kind, name) for kind, name in names.items()},
            "schemas": schemas,
            "securitySchemes": _SECURITY,
        },
    }  # fmt: skip


def _op(kind: type[msgspec.Struct]) -> str:
    return str(kind.__struct_config__.tag)


def _message(name: str) -> dict[str, str]:
    return {"$ref": f"#/channels/{_CHANNEL}/messages/{name}"}


def _request(name: str, answer: str) -> dict[str, Any]:
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{_CHANNEL}"},
        "messages": [_message(name)],
        "reply": {
            "channel": {"$ref": f"#/channels/{_CHANNEL}"},
            "messages": [_message(answer), _message(_op(Error))],
        },
    }


def _describe(kind: type[msgspec.Struct], name: str) -> dict[str, Any]:
    text = inspect.getdoc(kind) or ""
    summary, _, description = text.partition("\n\n")
    described = {
        "name": name,
        "summary": " ".join(summary.split()),
        "payload": {"$ref": _REFERENCE.format(name=kind.__name__)},
    }
    if description:
        described["description"] = description
    return described


_BINDING: Final = {
    "method": "GET",
    "query": {
        "type": "object",
        "properties": {
            "access_token": {"type": "string", "description": "A bearer token."},
            "realm": {"type": "string", "description": "The realm to enter."},
        },
    },
    "headers": {
        "type": "object",
        "properties": {
            "Sec-WebSocket-Protocol": {
                "type": "string",
                "description": f"`{SUBPROTOCOL}`, and `{TOKEN_SUBPROTOCOL}…` for a bearer token.",
            },
            "Hubbub-Realm": {"type": "string", "description": "The realm to enter."},
        },
        "required": ["Sec-WebSocket-Protocol"],
    },
    "bindingVersion": "0.1.0",
}
_SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic"},
}
