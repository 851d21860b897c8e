"""The WebSocket's place among the operations of the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from hubbub import (
    Response,
    Upgrade,
    WebSocket,
    WebSocketProtocol,
    WebSocketSettings,
    accept_websocket,
)
from hubbub_gateway.answers import answer_json
from hubbub_gateway.call import Call
from hubbub_gateway.operations import Answer, Operation
from hubbub_gateway.problems import Problem

from .asyncapi import make_document
from .connection import Connection
from .frames import SUBPROTOCOL
from .handshake import PATH

Serve: TypeAlias = Callable[[WebSocket], Awaitable[None]]
"""Serves one connection."""


async def upgrade(call: Call) -> Upgrade | Response:
    """Accept a WebSocket for the first protocol of the client's that is spoken at this path."""
    broker, request = call.gateway.websockets, call.request
    guests = broker.guests.get(call.operation.path, [])
    offered = request.headers.get_list("sec-websocket-protocol")
    for name in offered:
        if name == SUBPROTOCOL and call.operation.path == PATH:
            return _accept(call, [SUBPROTOCOL], _own(call), broker.limits)
        for guest in guests:
            if name in guest.subprotocols:
                return _accept(call, guest.subprotocols, guest.serve, guest.settings)
    for guest in guests:
        if not offered and not guest.named and "upgrade" in request.headers:
            return _accept(call, guest.subprotocols, guest.serve, guest.settings)
    spoken = [SUBPROTOCOL] if call.operation.path == PATH else []
    spoken += [name for guest in guests for name in guest.subprotocols]
    raise Problem(
        "upgrade",
        f"Open a WebSocket here, with the subprotocol {' or '.join(map(repr, spoken))}.",
        [("Upgrade", "websocket"), ("Connection", "Upgrade")],
    )


def _own(call: Call) -> Serve:
    broker, sender, realm = call.gateway.websockets, call.sender, call.realm

    async def serve(websocket: WebSocket) -> None:
        await Connection(broker, websocket, sender, realm).serve()

    return serve


def _accept(
    call: Call, subprotocols: Sequence[str], serve: Serve, settings: WebSocketSettings | None
) -> Upgrade | Response:
    log = call.gateway.hub.log

    def failed(error: BaseException, _: WebSocket) -> None:
        log.error("websocket: connection failed", exc_info=error)

    return accept_websocket(
        call.request, serve, settings, subprotocols=subprotocols, on_error=failed
    )


async def document(call: Call) -> Response:
    """Give the AsyncAPI document."""
    transport = call.request.transport
    host = call.request.headers.get("host") or transport.local
    return answer_json(make_document(host, secure=transport.tls))


OPERATIONS: Final = (
    Operation(
        id="openWebSocket",
        method="GET",
        path=PATH,
        handler=upgrade,
        tag="websocket",
        summary="Open a WebSocket",
        description=f"The subprotocol is `{SUBPROTOCOL}`; `/asyncapi.json` describes it.",
        answers={101: Answer(description="The WebSocket is open.")},
        problems=("upgrade",),
        takes_token=True,
        greets=True,
        safe=False,
    ),
    Operation(
        id="getAsyncApi",
        method="GET",
        path="/asyncapi.json",
        handler=document,
        tag="documents",
        summary="The AsyncAPI document of the WebSocket",
        answers={
            200: Answer(description="The document.", content={"application/json": dict[str, Any]})
        },
    ),
)


def guest_operations(guests: Mapping[str, Sequence[WebSocketProtocol]]) -> list[Operation]:
    """Return the operations of the paths where other plugins alone speak over WebSocket."""
    return [
        Operation(
            id=f"openWebSocketOf{path.title().translate(_WITHOUT_MARKS)}",
            method="GET",
            path=path,
            handler=upgrade,
            tag="websocket",
            summary="Open a WebSocket of another protocol",
            description="The subprotocol is one of: "
            + ", ".join(name for guest in found for name in guest.subprotocols),
            answers={101: Answer(description="The WebSocket is open.")},
            problems=("upgrade",),
            greets=True,
            safe=False,
        )
        for path, found in guests.items()
        if path != PATH
    ]


_WITHOUT_MARKS: Final = str.maketrans("", "", "/-_.~")
