"""What the ASGI servers run: as little as does what a lane measures."""

from collections.abc import Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_subscribers: set[Send] = set()


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Serve one request, as `/healthz` of ours is served, or one WebSocket."""
    match scope["type"]:
        case "websocket":
            await _websocket(receive, send)
        case "http":
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"3")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"ok\n"})
        case _:  # the server's own start and stop
            raise NotImplementedError


async def _websocket(receive: Receive, send: Send) -> None:
    """Send each text message to all who have sent "subscribe"."""
    await receive()
    await send({"type": "websocket.accept"})
    try:
        while (event := await receive())["type"] == "websocket.receive":
            if event["text"] == "subscribe":
                _subscribers.add(send)
                await send({"type": "websocket.send", "text": "subscribed"})
                continue
            message = {"type": "websocket.send", "text": event["text"]}
            for subscriber in tuple(_subscribers):
                await subscriber(message)
    finally:
        _subscribers.discard(send)
