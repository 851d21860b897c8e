"""What `ServerConnection.receive_data` reports, beside SEND frames outside of transactions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from .errors import StompError
from .frames import Frame

if TYPE_CHECKING:
    from .protocol import Subscription


class Connect(msgspec.Struct, frozen=True):
    """CONNECT or STOMP: answer `accept` or `refuse`.

    `login`, `passcode` and `host` are None where the client did not say.
    """

    login: str | None
    passcode: str | None
    host: str | None
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Connect(login={self.login!r}, host={self.host!r})"


class Subscribe(msgspec.Struct, frozen=True):
    """SUBSCRIBE."""

    subscription: Subscription
    headers: Mapping[str, str]
    receipt: str = ""


class Unsubscribe(msgspec.Struct, frozen=True):
    """UNSUBSCRIBE; the subscription is not the connection's any more."""

    subscription: Subscription
    headers: Mapping[str, str]
    receipt: str = ""


class Settle(msgspec.Struct, frozen=True):
    """ACK or NACK of deliveries, by the tags they were sent with, oldest first.

    `requeue`: whether what is not accepted goes back to its place, or is rejected for good.
    """

    subscription: Subscription
    tags: list[object]
    accepted: bool
    requeue: bool = True
    receipt: str = ""


class Commit(msgspec.Struct, frozen=True):
    """COMMIT: do the steps of the transaction, in order."""

    steps: list[Frame | Settle]
    receipt: str = ""


class Noted(msgspec.Struct, frozen=True):
    """A frame that needs nothing but its receipt: BEGIN, ABORT, or a step of a transaction."""

    receipt: str


class Disconnect(msgspec.Struct, frozen=True):
    """DISCONNECT: send the receipt when all before it is done, then close."""

    receipt: str = ""


class Failed(msgspec.Struct, frozen=True):
    """The client broke a rule: send `reply` and close the connection."""

    error: StompError
    reply: bytes


Event = Frame | Connect | Subscribe | Unsubscribe | Settle | Commit | Noted | Disconnect | Failed
