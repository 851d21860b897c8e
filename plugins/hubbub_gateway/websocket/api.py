"""The WebSocket's place among the operations of the API."""

from __future__ import annotations

from typing import Any, Final

from hubbub import Response, Upgrade, WebSocket, accept_websocket
from hubbub_gateway.answers import answer_json
from hubbub_gateway.call import Call
from hubbub_gateway.operations import Answer, Operation
from hubbub_gateway.problems import Problem

from .asyncapi import make_document
from .connection import Connection
from .frames import SUBPROTOCOL
from .handshake import PATH


async def upgrade(call: Call) -> Upgrade | Response:
    """Accept a WebSocket."""
    broker, request = call.gateway.websockets, call.request
    if SUBPROTOCOL not in request.headers.get_list("sec-websocket-protocol"):
        raise Problem(
            "upgrade", f"Open a WebSocket here, with the subprotocol {SUBPROTOCOL!r}.",
            [("Upgrade", "websocket"), ("Connection", "Upgrade")],
        )  # fmt: skip
    sender, realm = call.sender, call.realm

    async def serve(websocket: WebSocket) -> None:
        await Connection(broker, websocket, sender, realm).serve()

    def failed(error: BaseException, _: WebSocket) -> None:
        broker.hub.log.error("websocket: connection failed", exc_info=error)

    return accept_websocket(
        request,
        serve,
        broker.limits,
        subprotocols=[SUBPROTOCOL],
        on_error=failed,
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
