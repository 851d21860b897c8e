"""The server's end of one `hubbub.v1` connection as a state machine: messages in, events out.

It knows which frames are legal when, which subscriptions there are, and which deliveries wait for
their acknowledgement. No socket, no bus, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from hubbub_gateway.problems import Problem

from .codec import FrameError, decode_request
from .frames import (
    Ack,
    Consume,
    Extend,
    Hello,
    Nack,
    Ping,
    Publish,
    Read,
    RequestId,
    SetCredit,
    Settling,
    Subscribe,
    Unsubscribe,
)


class State(Enum):
    """Where a connection is."""

    EXPECT_HELLO = "expect hello"
    #: `hello` has come; `welcome` or `close` is owed.
    GREETED = "greeted"
    OPEN = "open"
    CLOSED = "closed"


class LocalProtocolError(Exception):
    """The server's own code called a method that is not legal now."""


class Subscription:
    """A subscription of one connection, of any kind.

    * `name`: the client's name for it, or a number if it gave none.
    * `acked`: its deliveries are numbered and must be acknowledged.
    * `state`: the server's own.
    """

    __slots__ = ("acked", "ended", "kind", "name", "state")

    def __init__(self, name: str, kind: type[Subscribe | Consume | Read], *, acked: bool) -> None:
        self.name = name
        self.kind = kind
        self.acked = acked
        self.ended = False
        self.state: object = None


@dataclass(frozen=True, slots=True)
class Published:
    """A message to publish. `body`: what came in a binary message, else None."""

    request: Publish
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Begun:
    """A subscription to make; `known`: it is there, and is to be changed."""

    request: Subscribe | Consume | Read
    subscription: Subscription
    known: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """A subscription to end. `tags`: what it has delivered that was not settled."""

    request: Unsubscribe
    subscription: Subscription
    tags: Sequence[object]


@dataclass(frozen=True, slots=True)
class Settled:
    """Deliveries to settle or to extend: their numbers, and the tags they were given."""

    request: Ack | Nack | Extend
    numbers: Sequence[int]
    tags: Sequence[object]


@dataclass(frozen=True, slots=True)
class Credited:
    """A subscription whose credit changes."""

    request: SetCredit
    subscription: Subscription


@dataclass(frozen=True, slots=True)
class Failed:
    """A request that can't be done. Before `hello`, the connection is to be closed."""

    id: RequestId
    problem: Problem


Event: TypeAlias = Hello | Published | Begun | Finished | Settled | Credited | Ping | Failed


class ServerConnection:
    """One client's connection. It never raises for what the client sends.

    Args:
        max_subscriptions: subscriptions that the connection may have.
    """

    def __init__(self, max_subscriptions: int) -> None:
        self.state = State.EXPECT_HELLO
        self._max_subscriptions = max_subscriptions
        self._subscriptions: dict[str, Subscription] = {}
        self._named = 0
        self._delivered = 0
        self._unsettled: dict[int, tuple[Subscription, object]] = {}
        """By number, the oldest first."""

    @property
    def subscriptions(self) -> list[Subscription]:
        """The subscriptions there are, the oldest first."""
        return list(self._subscriptions.values())

    @property
    def has_subscriptions(self) -> bool:
        """Whether there is any."""
        return bool(self._subscriptions)

    # what the client sends

    def receive(self, data: str | bytes) -> Event:
        """Take a message from the client and report what it says."""
        try:
            request, body = decode_request(data)
            if self.state is not State.OPEN:
                return self._on_hello(request)
            match request:
                case Publish():
                    return Published(request, body)
                case Ack() | Nack() | Extend():
                    return self._on_settling(request)
                case Subscribe() | Consume() | Read():
                    return self._on_begin(request)
                case Unsubscribe():
                    return self._on_unsubscribe(request)
                case SetCredit():
                    return self._on_credit(request)
                case Ping():
                    return request
                case Hello():
                    raise FrameError("bad-frame", "`hello` comes once, first.", request.id)
        except FrameError as error:
            return Failed(error.id, error)

    def _on_hello(self, request: object) -> Hello:
        if self.state is not State.EXPECT_HELLO:
            raise LocalProtocolError(f"no message is taken in the state {self.state}")
        if not isinstance(request, Hello):
            id_ = getattr(request, "id", None)
            raise FrameError("bad-frame", "The first frame must be `hello`.", id_)
        if request.token is not None and request.username is not None:
            raise FrameError("bad-frame", "Give a token or a username, not both.", request.id)
        if (request.username is None) != (request.password is None):
            raise FrameError("bad-frame", "Give a username with its password.", request.id)
        if request.session is None and (request.clean or request.expires is not None):
            raise FrameError("bad-frame", "`clean` and `expires` need a `session`.", request.id)
        self.state = State.GREETED
        return request

    def _on_begin(self, request: Subscribe | Consume | Read) -> Begun:
        name = request.subscription
        if request.credit is not None and not request.ack:
            raise FrameError("bad-frame", "`credit` counts what needs an `ack`.", request.id)
        known = None if name is None else self._subscriptions.get(name)
        if known is not None:
            # What a session keeps is there before the client asks for it again.
            if known.kind is Subscribe and isinstance(request, Subscribe) and known.acked:
                if request.ack:
                    return Begun(request, known, known=True)
                detail = f"{name!r} needs an `ack`; unsubscribe it first."
            else:
                detail = f"There is a subscription {name!r}; unsubscribe it first."
            raise FrameError("exists", detail, request.id)
        if len(self._subscriptions) >= self._max_subscriptions:
            raise FrameError(
                "refused",
                f"A connection has at most {self._max_subscriptions} subscriptions.",
                request.id,
            )
        subscription = self.add(name, type(request), acked=request.ack)
        return Begun(request, subscription)

    def _on_unsubscribe(self, request: Unsubscribe) -> Finished:
        subscription = self._find(request.subscription, request.id)
        return Finished(request, subscription, self.remove(subscription))

    def _on_credit(self, request: SetCredit) -> Credited:
        subscription = self._find(request.subscription, request.id)
        if not subscription.acked:
            raise FrameError(
                "bad-frame", f"{request.subscription!r} needs no `ack`: it has no credit.",
                request.id,
            )  # fmt: skip
        return Credited(request, subscription)

    def _on_settling(self, request: Ack | Nack | Extend) -> Settled:
        if isinstance(request, Nack) and request.reject and request.delay is not None:
            raise FrameError("bad-frame", "What is rejected has no `delay`.", request.id)
        if isinstance(request, Nack) and request.reason is not None and not request.reject:
            raise FrameError("bad-frame", "A `reason` goes with `reject`.", request.id)
        numbers = self._numbers(request)
        unsettled = self._unsettled
        missing = [number for number in numbers if number not in unsettled]
        if missing:
            raise FrameError(
                "lease-over",
                "No such delivery waits to be settled: "
                f"{', '.join(map(str, missing[:10]))}{', …' if len(missing) > 10 else ''}. "
                "Nothing was done.",
                request.id,
                deliveries=missing,
            )
        if isinstance(request, Extend):
            return Settled(request, numbers, [unsettled[number][1] for number in numbers])
        return Settled(request, numbers, [unsettled.pop(number)[1] for number in numbers])

    def _numbers(self, request: Settling) -> list[int]:
        """Return the numbers of the deliveries that a request is about."""
        wanted, up_to = request.delivery, request.up_to
        if (wanted is None) == (up_to is None):
            raise FrameError("bad-frame", "Give one of `delivery` and `up_to`.", request.id)
        if wanted is not None:
            if request.subscription is not None:
                raise FrameError("bad-frame", "`subscription` goes with `up_to`.", request.id)
            if isinstance(wanted, int):
                return [wanted]
            return list(dict.fromkeys(wanted))
        assert up_to is not None
        only = None
        if request.subscription is not None:
            only = self._find(request.subscription, request.id)
        numbers: list[int] = []
        for number, (subscription, _) in self._unsettled.items():
            if number > up_to:
                break
            if only is None or subscription is only:
                numbers.append(number)
        return numbers

    def _find(self, name: str, id_: RequestId) -> Subscription:
        subscription = self._subscriptions.get(name)
        if subscription is None:
            raise FrameError("not-found", f"There is no subscription {name!r}.", id_)
        return subscription

    # what the server does

    def welcome(self) -> None:
        """Note that the client is let in."""
        if self.state is not State.GREETED:
            raise LocalProtocolError(f"nobody is to be welcomed in the state {self.state}")
        self.state = State.OPEN

    def close(self) -> None:
        """Note that the connection is over."""
        self.state = State.CLOSED

    def add(
        self, name: str | None, kind: type[Subscribe | Consume | Read], *, acked: bool
    ) -> Subscription:
        """Add a subscription; without a name, it gets a number for one."""
        while name is None:
            self._named += 1
            if str(self._named) not in self._subscriptions:
                name = str(self._named)
        subscription = self._subscriptions[name] = Subscription(name, kind, acked=acked)
        return subscription

    def remove(self, subscription: Subscription) -> list[object]:
        """Forget a subscription; return the tags of what it has delivered and nobody settled."""
        if self._subscriptions.get(subscription.name) is subscription:
            del self._subscriptions[subscription.name]
        subscription.ended = True
        numbers = [number for number, (each, _) in self._unsettled.items() if each is subscription]
        return [self._unsettled.pop(number)[1] for number in numbers]

    def deliver(self, subscription: Subscription, tag: object) -> int:
        """Return the number of a new delivery, which the client settles it by."""
        self._delivered += 1
        self._unsettled[self._delivered] = (subscription, tag)
        return self._delivered
