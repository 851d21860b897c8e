"""What a connection's bytes mean, beside methods and contents of open channels."""

from __future__ import annotations

from typing import Final

import msgspec

from .decode import Content, MethodFrame, Oversized
from .errors import AmqpError
from .wire import Table


class HeaderSeen(msgspec.Struct, frozen=True):
    """The protocol header was right: answer `ServerConnection.start`."""


class LoginAttempt(msgspec.Struct, frozen=True):
    """`connection.start-ok` or `secure-ok`: answer `tune`, `secure` or `fail`."""

    mechanism: str
    response: bytes
    client_properties: Table


class OpenAttempt(msgspec.Struct, frozen=True):
    """`connection.open`: answer `open_ok` or `fail`."""

    virtual_host: str


class SecretUpdated(msgspec.Struct, frozen=True):
    """`connection.update-secret`: answer `update_secret_ok` or `fail`."""

    secret: bytes


class ChannelOpened(msgspec.Struct, frozen=True):
    """A channel was opened; `reply` answers it."""

    channel: int
    reply: bytes


class ChannelClosed(msgspec.Struct, frozen=True):
    """The client closed a channel; send `reply` once what it holds is given back."""

    channel: int
    reply: bytes


class ChannelFailed(msgspec.Struct, frozen=True):
    """A client's method is an error that closes its channel; send `reply`."""

    channel: int
    error: AmqpError
    reply: bytes


class Failed(msgspec.Struct, frozen=True):
    """The connection is over: send `reply`. `error` is None for a wrong protocol header."""

    error: AmqpError | None
    reply: bytes


class Closed(msgspec.Struct, frozen=True):
    """The client closed the connection, or answered our close; send `reply` and disconnect."""

    reply: bytes
    reason: str


Event = (
    Content
    | MethodFrame
    | Oversized
    | HeaderSeen
    | LoginAttempt
    | OpenAttempt
    | SecretUpdated
    | ChannelOpened
    | ChannelClosed
    | ChannelFailed
    | Failed
    | Closed
)

HEADER_SEEN: Final = HeaderSeen()
