"""What the handshake of a WebSocket says, beside what every request says."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Final

from hubbub import Request
from hubbub_gateway.problems import Problem

PATH: Final = "/ws"
TOKEN_SUBPROTOCOL: Final = "hubbub.bearer."  # noqa: S105 - a name
"""A subprotocol that begins so is never chosen: it carries a bearer token in base64url."""


def token_offered(request: Request) -> str | None:
    """Return the bearer token among the subprotocols that a client offers, if there is one.

    Browsers can't set the header `Authorization` of a WebSocket; this one they can.

    Raises:
        Problem: it can't be read.
    """
    for offered in request.headers.get_list("sec-websocket-protocol"):
        if offered.startswith(TOKEN_SUBPROTOCOL):
            text = offered.removeprefix(TOKEN_SUBPROTOCOL)
            try:
                padded = text + "=" * (-len(text) % 4)
                return b64decode(padded, altchars=b"-_", validate=True).decode()
            except (binascii.Error, ValueError):
                raise Problem(
                    "bad-request",
                    f"What follows {TOKEN_SUBPROTOCOL!r} must be a token in base64url, "
                    "without padding.",
                ) from None
    return None
