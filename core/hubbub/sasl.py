"""Authentication in steps: a server's challenges and a client's responses, as SASL has them.

For all protocols whose clients name a mechanism and then exchange data until it is known who they
are (RFC 4422): MQTT 5.0 calls this enhanced authentication (4.12), AMQP has `connection.secure`.
Plugins bring mechanisms by the hook `hubbub_mechanisms`; `Hub.begin_authentication` runs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import trio

from .errors import BusyError

if TYPE_CHECKING:
    from .auth import Principal

_MAX_STEPS: Final = 32
"""Responses of one client, at most: no mechanism in use needs half a dozen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A client that begins to authenticate.

    * `mechanism`: what it has chosen, such as "SCRAM-SHA-256".
    * `peer`: where it connects from, such as "127.0.0.1:50312" (empty: not over a network).
    * `protocol`: the name and version it speaks, such as "mqtt-5".
    """

    mechanism: str
    peer: str = ""
    protocol: str = ""


@dataclass(frozen=True, slots=True)
class Challenge:
    """Something for the client to respond to."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Authenticated:
    """It is known who the client is; `data` goes to it along with that, if the protocol can.

    In a protocol that can't, `data` is a last challenge, which is to be answered with nothing
    (RFC 4422, 3.6).
    """

    principal: Principal
    data: bytes | None = None


Step: TypeAlias = Challenge | Authenticated | None
"""What follows a response; None refuses the client."""


class Exchange(Protocol):
    """One client's way through a mechanism."""

    async def step(self, response: bytes | None) -> Step:
        """Take a response and say what follows.

        The first one is what the client sent along with the mechanism's name: None if that was
        nothing, which is not the same as an empty response.
        """
        ...


Mechanism: TypeAlias = Callable[[Attempt], Exchange]
"""Begins an exchange with one client."""


class Authentication:
    """One client's exchange, as protocols see it: it ends, in time, whatever the mechanism does."""

    __slots__ = ("_begin", "_exchange", "_failed", "_over", "_steps", "_timeout")

    def __init__(
        self, begin: Callable[[], Exchange], timeout: float, failed: Callable[[Exception], None]
    ) -> None:
        self._begin = begin
        self._exchange: Exchange | None = None
        self._timeout = timeout
        self._failed = failed
        self._steps = 0
        self._over = False

    async def step(self, response: bytes | None) -> Step:
        """Take the client's response and say what follows: see `Exchange.step`.

        After anything but a `Challenge` it is over, and every further response is refused.

        Raises:
            BusyError: it can't be verified in time; the client may try later.
        """
        self._steps += 1
        if self._over or self._steps > _MAX_STEPS:
            return None
        self._over = True
        answer: Step = None
        try:
            with trio.fail_after(self._timeout):
                if self._exchange is None:
                    self._exchange = self._begin()
                answer = await self._exchange.step(response)
        except BusyError:
            raise
        except Exception as error:
            self._failed(error)
        self._over = not isinstance(answer, Challenge)
        return answer
