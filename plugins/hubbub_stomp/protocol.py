"""The server's end of one STOMP connection as a state machine: bytes in, events out, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from . import events as ev
from .decode import Decoder, Limits
from .encode import encode, encode_error, encode_receipt
from .errors import StompError, malformed, missing, too_large, unknown_delivery
from .frames import Frame, Version, escape, header_line, negotiate


class State(Enum):
    """Where a connection is."""

    EXPECT_CONNECT = "expect connect"
    #: CONNECT has come, `accept` or `refuse` is owed.
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"


class AckMode(Enum):
    """How deliveries of a subscription are acknowledged."""

    AUTO = "auto"
    CLIENT = "client"
    CLIENT_INDIVIDUAL = "client-individual"


class LocalProtocolError(Exception):
    """The server's own code called a method that is not legal now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What a server puts up with, and how it presents itself."""

    limits: Limits = field(default_factory=Limits)
    server: str = "hubbub"
    #: Milliseconds: the shortest interval of heart-beats that the server promises or demands.
    min_heart_beat: int = 1_000
    subscriptions: int = 1_000
    transactions: int = 100
    #: What all open transactions of a connection may hold.
    transaction_frames: int = 10_000
    transaction_bytes: int = 64 * 1024 * 1024


class Subscription:
    """A subscription of one connection, and what it has delivered that is not acknowledged.

    `name` is what tells it apart in RabbitMQ's way: `T_` and its id, or `Q_` and its destination
    if it has no id. `prefix` starts the identifiers of its messages, as RabbitMQ makes them;
    `start` is the beginning of its MESSAGE frames, `identifier` that of their `message-id`, and
    `acknowledger` that of their `ack`. `state` is the server's own.
    """

    __slots__ = (
        "ack",
        "acknowledger",
        "destination",
        "id",
        "identifier",
        "name",
        "prefix",
        "start",
        "state",
        "unacknowledged",
    )

    def __init__(
        self,
        name: str,
        destination: str,
        ack: AckMode,
        id_line: bytes,
        prefix: str,
        id_: str,
        version: Version,
    ) -> None:
        self.name = name
        self.destination = destination
        self.ack = ack
        self.id = id_
        self.state: object = None
        #: Tags by the identifier that acknowledges them, oldest first.
        self.unacknowledged: dict[str, object] = {}
        self.prefix = prefix
        self.start = b"MESSAGE\n" + id_line
        written = (escape(prefix, version) or "").encode()
        self.identifier = b"message-id:" + written
        self.acknowledger = b"ack:" + written


class _Transaction:
    __slots__ = ("size", "steps")

    def __init__(self) -> None:
        self.steps: list[tuple[Frame, Subscription | None]] = []
        self.size = 0


class ServerConnection:
    """One client's connection. It never raises for what the client sends.

    `receive_data` returns events in the order of the bytes: SEND frames outside of transactions,
    as they are, and the classes of `events`. After `Connect` it reports nothing more until `accept`
    or `refuse` was called; then call `receive_data(b"")` for what had come early.

    The methods that send return the bytes for the network. A frame that asks for a receipt gets it
    by `receipt`, when the server has done what the frame says. What an event with an empty
    `receipt` asks for is done silently.

    Args:
        session: identifies the connection in CONNECTED and in the identifiers of its messages.
    """

    def __init__(self, session: str, settings: ServerSettings | None = None) -> None:
        self.session = session
        self.settings = settings or ServerSettings()
        self.state = State.EXPECT_CONNECT
        self.version = Version.V12
        #: Milliseconds between heart-beats that each side has promised; 0: none.
        self.sends_every = 0
        self.receives_every = 0
        self._decoder = Decoder(self.settings.limits)
        self._early: list[bytes] = []
        self._early_bytes = 0
        self._subscriptions: dict[str, Subscription] = {}
        #: Also of ended subscriptions, as long as something is unacknowledged there.
        self._by_prefix: dict[str, Subscription] = {}
        self._transactions: dict[str, _Transaction] = {}
        self._held_frames = 0
        self._held_bytes = 0
        self._deliveries = 0
        self._prefixes = 0

    @property
    def subscriptions(self) -> list[Subscription]:
        """The subscriptions there are, the oldest first."""
        return list(self._subscriptions.values())

    # What the client sends

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[ev.Event]:
        """Take bytes from the client and report what they say."""
        events: list[ev.Event] = []
        if self.state is State.CLOSED:
            return events
        receipt = ""
        try:
            if self.state is State.CONNECTING:
                self._keep_early(bytes(data))
                return events
            if self._early:
                data = b"".join([*self._early, data])
                self._early.clear()
            append = events.append
            handlers = _HANDLERS
            for frame in self._decoder.decode(data):
                head = frame.head
                if head.plain and self.state is State.CONNECTED:
                    append(frame)
                    continue
                receipt = frame.receipt
                if self.state is State.EXPECT_CONNECT:
                    append(self._on_connect(frame))
                    return events
                handler = handlers.get(head.command)
                if handler is None:
                    raise StompError(
                        "Bad command", f'Could not interpret command "{head.command[:80]}"\n'
                    )
                event = handler(self, frame)
                if event is not None:
                    append(event)
                if type(event) is ev.Disconnect:
                    return events
            receipt = ""
            if self._decoder.error is not None:
                raise self._decoder.error
        except StompError as error:
            error.receipt = error.receipt or receipt
            events.append(ev.Failed(error, self.error(error)))
        return events

    def _keep_early(self, data: bytes) -> None:
        self._early_bytes += len(data)
        limits = self.settings.limits
        if self._early_bytes > limits.head_bytes + limits.body_bytes:
            raise too_large("Too much was sent before CONNECTED")
        self._early.append(data)

    def _on_connect(self, frame: Frame) -> ev.Connect:
        if frame.command not in {"CONNECT", "STOMP"}:
            raise StompError("Illegal command", "You must log in using CONNECT first")
        headers = frame.headers
        self.version = negotiate(headers.get("accept-version"))
        offered, wanted = _heart_beat(headers.get("heart-beat", "0,0"))
        floor = self.settings.min_heart_beat
        self.receives_every = max(offered, floor) if offered else 0
        self.sends_every = max(wanted, floor) if wanted else 0
        self.state = State.CONNECTING
        return ev.Connect(
            headers.get("login"), headers.get("passcode"), headers.get("host"), headers
        )

    def _on_second_connect(self, frame: Frame) -> None:
        raise StompError("Illegal command", f"{frame.command} was sent twice\n")

    def _on_send(self, frame: Frame) -> ev.Event | None:
        if "destination" not in frame.headers:
            raise missing("Missing destination", "SEND", "destination")
        if "message-id" in frame.headers:
            raise StompError("Invalid header", "'message-id' is not allowed on 'SEND'.\n")
        return self._within(self._transaction(frame), frame, None)

    def _within(
        self, transaction: _Transaction, frame: Frame, subscription: Subscription | None
    ) -> ev.Event | None:
        """Keep a step of a transaction."""
        settings = self.settings
        size = len(frame.body) + sum(map(len, frame.headers.values()))
        self._held_frames += 1
        self._held_bytes += size
        if (
            self._held_frames > settings.transaction_frames
            or self._held_bytes > settings.transaction_bytes
        ):
            raise too_large(
                f"Open transactions hold more than {settings.transaction_frames} frames or "
                f"{settings.transaction_bytes} bytes"
            )
        transaction.size += size
        transaction.steps.append((frame, subscription))
        if subscription is None or not frame.receipt:
            return None  # a SEND has its receipt when it is sent: by COMMIT
        return ev.Noted(frame.receipt)

    def _transaction(self, frame: Frame, *, end: bool = False) -> _Transaction:
        name = frame.headers.get("transaction")
        if name is None:
            raise missing("Missing transaction", frame.command, "transaction")
        transaction = self._transactions.get(name)
        if transaction is None:
            raise StompError("Bad transaction", f'Invalid transaction identifier: "{name}"\n')
        if end:
            del self._transactions[name]
            self._held_frames -= len(transaction.steps)
            self._held_bytes -= transaction.size
        return transaction

    def _on_begin(self, frame: Frame) -> ev.Event | None:
        name = frame.headers.get("transaction")
        if name is None:
            raise missing("Missing transaction", "BEGIN", "transaction")
        # A second BEGIN is no error to RabbitMQ. It goes on with what it holds: nothing is lost.
        if name not in self._transactions:
            if len(self._transactions) >= self.settings.transactions:
                raise too_large(f"More than {self.settings.transactions} open transactions")
            self._transactions[name] = _Transaction()
        return ev.Noted(frame.receipt) if frame.receipt else None

    def _on_commit(self, frame: Frame) -> ev.Event:
        steps: list[Frame | ev.Settle] = []
        for step, subscription in self._transaction(frame, end=True).steps:
            steps.append(step if subscription is None else self._settle(step, subscription))
        return ev.Commit(steps, frame.receipt)

    def _on_abort(self, frame: Frame) -> ev.Event | None:
        self._transaction(frame, end=True)
        return ev.Noted(frame.receipt) if frame.receipt else None

    def _on_subscribe(self, frame: Frame) -> ev.Event:
        headers = frame.headers
        destination = headers.get("destination")
        if destination is None:
            raise missing("Missing destination", "SUBSCRIBE", "destination")
        id_ = headers.get("id")
        name = f"Q_{destination}" if id_ is None else f"T_{id_}"
        if name in self._subscriptions:
            raise StompError(
                "Duplicated subscription identifier",
                f"A subscription identified by '{name}' already exists.",
            )
        if len(self._by_prefix) >= self.settings.subscriptions:
            raise too_large(f"More than {self.settings.subscriptions} subscriptions")
        try:
            ack = AckMode(headers.get("ack", "auto"))
        except ValueError:
            raise StompError(
                "Invalid header",
                f'"SUBSCRIBE" must have an "ack" header of auto, client or client-individual, '
                f'not "{headers["ack"][:80]}"\n',
            ) from None
        subscription = self._add(name, destination, ack, id_)
        return ev.Subscribe(subscription, headers, frame.receipt)

    def _add(self, name: str, destination: str, ack: AckMode, id_: str | None) -> Subscription:
        line = b"" if id_ is None else header_line("subscription", id_, self.version)
        if line is None:
            raise malformed(f"The version {self.version.value} has no way to name '{id_}'")
        prefix = f"{name}@@{self.session}@@"
        if prefix in self._by_prefix or not _can_say(prefix, self.version):
            # Something of an ended subscription of this name is unacknowledged still.
            self._prefixes += 1
            prefix = f"{self._prefixes}@@{self.session}@@"
        subscription = Subscription(name, destination, ack, line, prefix, id_ or "", self.version)
        self._subscriptions[name] = self._by_prefix[prefix] = subscription
        return subscription

    def _on_unsubscribe(self, frame: Frame) -> ev.Event:
        headers = frame.headers
        if (id_ := headers.get("id")) is not None:
            name, said = f"T_{id_}", f"id='{id_}'"
        elif (destination := headers.get("destination")) is not None:
            name, said = f"Q_{destination}", f"destination='{destination}'"
        else:
            raise StompError(
                "Missing destination or id",
                "UNSUBSCRIBE must include a 'destination' or 'id' header\n",
            )
        subscription = self._subscriptions.get(name)
        if subscription is None:
            raise StompError(
                "No subscription found",
                "UNSUBSCRIBE must refer to an existing subscription.\n"
                f'Subscription to "{said}" not found.\n',
            )
        self.end(subscription)
        return ev.Unsubscribe(subscription, headers, frame.receipt)

    def _on_ack(self, frame: Frame) -> ev.Event | None:
        headers = frame.headers
        v12 = self.version is Version.V12
        wanted = "id" if v12 else "message-id"
        id_ = headers.get(wanted)
        command = frame.command
        if id_ is None:
            raise StompError("Missing header", f'"{command}" must include the "{wanted}" header\n')
        start, at, number = id_.rpartition("@@")
        if not (at and number.isascii() and number.isdecimal()):
            raise StompError(
                "Invalid header", f'"{command}" must include a valid "{wanted}" header\n'
            )
        subscription = self._by_prefix.get(start + at)
        if subscription is None:
            raise StompError(
                "Subscription not found", f'Message with id "{id_}" has no subscription\n'
            )
        if id_ not in subscription.unacknowledged:
            raise unknown_delivery(f"unknown delivery tag {number[:20]}")
        if "transaction" in headers:
            return self._within(self._transaction(frame), frame, subscription)
        return self._settle(frame, subscription)

    def _settle(self, frame: Frame, subscription: Subscription) -> ev.Settle:
        headers = frame.headers
        id_ = headers["id" if self.version is Version.V12 else "message-id"]
        waiting = subscription.unacknowledged
        if id_ not in waiting:  # settled since the transaction took it
            raise unknown_delivery(f"unknown delivery tag {id_.rpartition('@@')[2]}")
        if subscription.ack is AckMode.CLIENT:
            tags = []
            for each in list(waiting):
                tags.append(waiting.pop(each))
                if each == id_:
                    break
        else:
            tags = [waiting.pop(id_)]
        if not waiting and self._subscriptions.get(subscription.name) is not subscription:
            self._by_prefix.pop(subscription.prefix, None)
        return ev.Settle(
            subscription,
            tags,
            frame.command == "ACK",
            headers.get("requeue") != "false",
            frame.receipt,
        )

    def _on_disconnect(self, frame: Frame) -> ev.Event:
        self.state = State.CLOSED
        return ev.Disconnect(frame.receipt)

    # What the server sends

    def accept(self) -> bytes:
        """Answer `Connect` with CONNECTED."""
        if self.state is not State.CONNECTING:
            raise LocalProtocolError(f"no CONNECT to accept in state {self.state.value!r}")
        self.state = State.CONNECTED
        self._decoder.version = self.version
        return encode(
            "CONNECTED",
            {
                "server": self.settings.server,
                "session": self.session,
                "heart-beat": f"{self.sends_every},{self.receives_every}",
                "version": self.version.value,
            },
        )

    def refuse(self, summary: str, detail: str) -> bytes:
        """Answer `Connect` with ERROR, or end the connection for another reason."""
        return self.error(StompError(summary, detail))

    def error(self, error: StompError) -> bytes:
        """Make the ERROR frame that ends the connection."""
        self.state = State.CLOSED
        return encode_error(error, self.version)

    def receipt(self, receipt: str) -> bytes:
        """Confirm a frame."""
        return encode_receipt(receipt, self.version)

    def message_start(
        self,
        subscription: Subscription,
        tag: object,
        destination: bytes,
        *,
        redelivered: bool = False,
        tracked: bool = True,
    ) -> bytes:
        """Make the start of a MESSAGE frame; `encode_message_tail` makes the rest.

        `destination` is the encoded header of that name. `tag` comes back when the client
        acknowledges it, unless the mode is auto, or it is not `tracked`: what a browser shows is
        not the client's to acknowledge. The headers are in RabbitMQ's order.
        """
        self._deliveries = number = self._deliveries + 1
        again = b"true" if redelivered else b"false"
        first = b"%s%s%s%d\nredelivered:%s\n" % (
            subscription.start,
            destination,
            subscription.identifier,
            number,
            again,
        )
        if subscription.ack is AckMode.AUTO or not tracked:
            return first
        subscription.unacknowledged[f"{subscription.prefix}{number}"] = tag
        if self.version is Version.V12:
            return b"%s%s%d\n" % (first, subscription.acknowledger, number)
        return first

    def subscribe(self, id_: str) -> Subscription:
        """Add a subscription that the client did not ask for by itself, with `ack:auto`.

        RabbitMQ makes one for each `/temp-queue/` in a `reply-to`, whose text is its id.

        Raises:
            StompError: the client has given this id to a subscription of its own.
        """
        name = f"T_{id_}"
        if name in self._subscriptions:
            raise StompError(
                "Duplicated subscription identifier",
                f"A subscription identified by '{name}' already exists.",
            )
        return self._add(name, id_, AckMode.AUTO, id_)

    def end(self, subscription: Subscription) -> None:
        """Forget a subscription. What is unacknowledged can still be acknowledged."""
        if self._subscriptions.get(subscription.name) is subscription:
            del self._subscriptions[subscription.name]
        if not subscription.unacknowledged:
            self._by_prefix.pop(subscription.prefix, None)


def _can_say(text: str, version: Version) -> bool:
    return header_line("message-id", text, version) is not None


def _heart_beat(text: str) -> tuple[int, int]:
    """Return what the client can send and wants to get, in milliseconds (1.2, "Heart-beating")."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(
        part.isascii() and part.isdecimal() and len(part) < 10 for part in parts
    ):
        raise StompError(
            "Invalid header",
            f'"heart-beat" must be two numbers of milliseconds, not "{text[:80]}"\n',
        )
    return int(parts[0]), int(parts[1])


_Handler = Callable[[ServerConnection, Frame], "ev.Event | None"]

_HANDLERS: Final[Mapping[str, _Handler]] = {
    "SEND": ServerConnection._on_send,
    "SUBSCRIBE": ServerConnection._on_subscribe,
    "UNSUBSCRIBE": ServerConnection._on_unsubscribe,
    "ACK": ServerConnection._on_ack,
    "NACK": ServerConnection._on_ack,
    "BEGIN": ServerConnection._on_begin,
    "COMMIT": ServerConnection._on_commit,
    "ABORT": ServerConnection._on_abort,
    "DISCONNECT": ServerConnection._on_disconnect,
    "CONNECT": ServerConnection._on_second_connect,
    "STOMP": ServerConnection._on_second_connect,
}
