"""The server's end of one AMQP connection as a state machine: bytes in, events out, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from . import events as ev
from . import methods as m
from .channel import ChannelState
from .decode import FRAME_MIN_SIZE, Content, Decoder, Heartbeat, Item, MethodFrame, Oversized
from .encode import PROTOCOL_HEADER, encode_method_frame
from .errors import AmqpError, Reply
from .wire import FieldValue, Table

#: What clients begin with: 0-9-1, or 0-9, which RabbitMQ takes for the same, and some say still.
_HEADERS: Final = (PROTOCOL_HEADER, b"AMQP\x01\x01\x00\x09")

#: Frames of a connection that is not tuned yet: client properties may be long.
_UNTUNED_FRAME_MAX: Final = 8192

#: The methods of a client on an open channel; all others of the known ones are a server's.
CLIENT_METHODS: Final = frozenset(
    {
        m.ChannelFlow,
        m.ChannelFlowOk,
        m.AccessRequest,
        m.ExchangeDeclare,
        m.ExchangeDelete,
        m.ExchangeBind,
        m.ExchangeUnbind,
        m.QueueDeclare,
        m.QueueBind,
        m.QueueUnbind,
        m.QueuePurge,
        m.QueueDelete,
        m.BasicQos,
        m.BasicConsume,
        m.BasicCancel,
        m.BasicCancelOk,
        m.BasicPublish,
        m.BasicGet,
        m.BasicAck,
        m.BasicReject,
        m.BasicNack,
        m.BasicRecover,
        m.BasicRecoverAsync,
        m.ConfirmSelect,
        m.TxSelect,
        m.TxCommit,
        m.TxRollback,
    }
)


class State(Enum):
    """Where a connection is; the values are RabbitMQ's words for it."""

    EXPECT_HEADER = "header"
    #: The header has come, `start` is owed.
    GREETING = "pre_init"
    STARTING = "starting"
    #: An answer to the client's login is owed: `secure`, `tune` or `fail`.
    LOGGING_IN = "logging_in"
    SECURING = "securing"
    TUNING = "tuning"
    OPENING = "opening"
    #: `open_ok` or `fail` is owed.
    ADMITTING = "admitting"
    RUNNING = "running"
    CLOSING = "closing"
    CLOSED = "closed"


#: The one method that a client may send in each state of the handshake.
_EXPECTED: Final[Mapping[State, type[m.Method]]] = {
    State.STARTING: m.ConnectionStartOk,
    State.SECURING: m.ConnectionSecureOk,
    State.TUNING: m.ConnectionTuneOk,
    State.OPENING: m.ConnectionOpen,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What a server offers, and its limits. Sizes are in bytes, `heartbeat` in seconds."""

    channel_max: int = 2047
    frame_max: int = 131_072
    heartbeat: int = 60
    max_body: int = 128 * 1024 * 1024
    max_partial: int = 256 * 1024 * 1024
    server_properties: Mapping[str, FieldValue]
    mechanisms: tuple[str, ...] = ("PLAIN", "AMQPLAIN")


class ServerConnection:
    """One client's connection. It never raises for what the client sends.

    Events come in the order of the bytes: methods and contents of open channels, and the classes of
    `events`. While an answer is owed (header, login, open), what comes early waits.

    The methods that answer return bytes for the network.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.state = State.EXPECT_HEADER
        self.client_properties = Table()
        self.channel_max = 0
        self.frame_max = FRAME_MIN_SIZE
        #: Seconds between heartbeats; 0: none.
        self.heartbeat = 0
        self.channels: dict[int, ChannelState] = {}
        self._decoder = Decoder(
            _UNTUNED_FRAME_MAX, max_body=settings.max_body, max_partial=settings.max_partial
        )
        self._mechanism = ""
        self._header = b""
        self._items: list[Item] = []
        self._next = 0
        self._closing: set[int] = set()
        """Channels that we closed and whose client has not said that it knows."""

    # what the client says of itself

    def has_capability(self, name: str) -> bool:
        """Whether the client announced a capability."""
        capabilities = self.client_properties.get("capabilities")
        return isinstance(capabilities, dict) and capabilities.get(name) is True

    # receiving

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the client; then call `next_events` until it gives none.

        Nothing needs to be read from the client while an answer to it is owed.
        """
        if self.state is State.EXPECT_HEADER:
            self._header += data
            if len(self._header) < 8 and any(each.startswith(self._header) for each in _HEADERS):
                return
            self.state = State.GREETING
            if not self._header.startswith(_HEADERS):
                return
            data = self._header[8:]
        items = self._decoder.decode(data)
        if self._next < len(self._items):
            items = self._items[self._next :] + items
        self._items = items
        self._next = 0

    def next_events(self) -> list[ev.Event]:
        """Report what comes next in the client's bytes.

        What changes the state of the connection or of a channel comes alone, so that all before
        it was handled when it takes effect. Of the rest, what is for a channel that was closed
        since (`is_open`) must be passed over.
        """
        state = self.state
        if state is State.RUNNING:
            events = self._on_open_channels()
            if events:
                return events
        elif state is State.GREETING and self._header:
            if not self._header.startswith(_HEADERS):
                self.state = State.CLOSED
                return [ev.Failed(None, PROTOCOL_HEADER)]
            self._header = b""
            return [ev.HEADER_SEEN]
        found: list[ev.Event] = []
        try:
            while not found and not self._owes_answer() and self.state is not State.CLOSED:
                if self._next == len(self._items):
                    self._check_decoder()
                    return found
                item = self._items[self._next]
                self._next += 1
                if isinstance(item, Heartbeat):
                    continue
                self._take(item, found)
                if not found and self.state is State.RUNNING:  # it changed nothing for others
                    found = self._on_open_channels()
        except AmqpError as error:
            return [self._failed(error)]
        return found

    def _on_open_channels(self) -> list[ev.Event]:
        """Report the methods of open channels up to the next item of another kind."""
        items, channels = self._items, self.channels
        events: list[ev.Event] = []
        append = events.append
        at = self._next
        for item in items[at:] if at else items:
            if type(item) is Content:
                if item.channel not in channels or type(item.method) is not m.BasicPublish:
                    break
                append(item)
            elif type(item) is MethodFrame:
                if item.channel not in channels or type(item.method) not in CLIENT_METHODS:
                    break
                append(item)
            elif type(item) is not Heartbeat:
                break
            at += 1
        self._next = at
        return events

    def _check_decoder(self) -> None:
        error = self._decoder.error
        if error is None or self.state is State.CLOSED:
            return
        if self.state is State.CLOSING:
            self.state = State.CLOSED
            return
        raise error

    def _owes_answer(self) -> bool:
        return self.state in {State.GREETING, State.LOGGING_IN, State.ADMITTING}

    def _take(self, item: Item, events: list[ev.Event]) -> None:
        """Take one item; those of open channels that are a client's were taken before."""
        assert not isinstance(item, Heartbeat)
        method = item.method
        if self.state is State.CLOSING:
            self._while_closing(method, events)
        elif not item.channel:
            self._on_connection(method, events)
        elif self.state is not State.RUNNING:
            raise AmqpError(
                Reply.CHANNEL_ERROR,
                f"unexpected method in connection state {self.state.value}",
                method=method.id,
            )
        else:
            self._on_channel(item, events)

    def _while_closing(self, method: m.Method, events: list[ev.Event]) -> None:
        if isinstance(method, m.ConnectionCloseOk):
            self.state = State.CLOSED
            events.append(ev.Closed(b"", "closed by the server"))
        elif isinstance(method, m.ConnectionClose):
            # Both closed at once: the client's close is answered, and ours counts as answered.
            self.state = State.CLOSED
            reply = encode_method_frame(0, m.ConnectionCloseOk())
            events.append(ev.Closed(reply, "closed by both"))

    def _on_connection(self, method: m.Method, events: list[ev.Event]) -> None:
        if isinstance(method, m.ConnectionClose):
            self.state = State.CLOSED
            reply = encode_method_frame(0, m.ConnectionCloseOk())
            events.append(ev.Closed(reply, method.reply_text or "closed by the client"))
            return
        if self.state is State.RUNNING and isinstance(method, m.ConnectionUpdateSecret):
            events.append(ev.SecretUpdated(method.new_secret))
            return
        if type(method) is not _EXPECTED.get(self.state):
            raise AmqpError(
                Reply.CHANNEL_ERROR,
                f"unexpected method in connection state {self.state.value}",
                method=method.id,
            )
        if isinstance(method, m.ConnectionStartOk):
            self.client_properties = method.client_properties
            self._mechanism = method.mechanism
            self._attempt(method.response, events)
        elif isinstance(method, m.ConnectionSecureOk):
            self._attempt(method.response, events)
        elif isinstance(method, m.ConnectionTuneOk):
            self._on_tune_ok(method)
        elif isinstance(method, m.ConnectionOpen):
            self.state = State.ADMITTING
            events.append(ev.OpenAttempt(method.virtual_host))

    def _attempt(self, response: bytes, events: list[ev.Event]) -> None:
        if self._mechanism not in self.settings.mechanisms:
            raise AmqpError(
                Reply.COMMAND_INVALID,
                f"unknown authentication mechanism '{self._mechanism[:100]}'",
                method=m.ConnectionStartOk.id,
            )
        self.state = State.LOGGING_IN
        events.append(ev.LoginAttempt(self._mechanism, response, self.client_properties))

    def _on_tune_ok(self, method: m.ConnectionTuneOk) -> None:
        settings = self.settings
        _check_tuned("frame_max", method.frame_max, FRAME_MIN_SIZE, settings.frame_max)
        _check_tuned("channel_max", method.channel_max, 1, settings.channel_max)
        self.channel_max = method.channel_max or 65_535
        self.frame_max = method.frame_max
        self.heartbeat = method.heartbeat
        self._decoder.frame_max = method.frame_max
        self.state = State.OPENING

    def _on_channel(self, item: Content | MethodFrame | Oversized, events: list[ev.Event]) -> None:
        number, method = item.channel, item.method
        channel = self.channels.get(number)
        if isinstance(method, m.ChannelOpen):
            if channel is not None:
                raise AmqpError(
                    Reply.CHANNEL_ERROR, "second 'channel.open' seen", method=method.id,
                    channel=number,
                )  # fmt: skip
            if len(self.channels) >= self.channel_max:
                raise AmqpError(
                    Reply.NOT_ALLOWED,
                    f"number of channels opened ({len(self.channels)}) has reached the negotiated "
                    f"channel_max ({self.channel_max})",
                )
            self.channels[number] = ChannelState(number)
            reply = encode_method_frame(number, m.ChannelOpenOk())
            events.append(ev.ChannelOpened(number, reply))
        elif isinstance(method, m.ChannelCloseOk) and channel is None:
            self._closing.discard(number)
        elif isinstance(method, m.ChannelClose) and (channel or number in self._closing):
            self.channels.pop(number, None)
            reply = encode_method_frame(number, m.ChannelCloseOk())
            events.append(ev.ChannelClosed(number, reply))
        elif channel is None:
            raise AmqpError(
                Reply.CHANNEL_ERROR, "expected 'channel.open'", method=method.id, channel=number
            )
        elif isinstance(item, Oversized):
            error = AmqpError(
                Reply.PRECONDITION_FAILED,
                f"message size {item.size} is larger than configured max size "
                f"{self.settings.max_body}",
                method=method.id,
            )
            events.append(ev.ChannelFailed(number, error, self.close_channel(number, error)))
        elif method.id[0] == 10:
            raise AmqpError(
                Reply.COMMAND_INVALID, "connection method on a channel", method=method.id
            )
        else:
            raise AmqpError(Reply.COMMAND_INVALID, "unimplemented method", method=method.id)

    def is_open(self, channel: int) -> bool:
        """Whether a channel is open: what came behind an error that closed it is passed over."""
        return channel in self.channels

    # answering

    def start(self) -> bytes:
        """Answer the protocol header."""
        self.state = State.STARTING
        mechanisms = " ".join(self.settings.mechanisms).encode()
        properties = Table(self.settings.server_properties)
        return encode_method_frame(0, m.ConnectionStart(0, 9, properties, mechanisms, b"en_US"))

    def secure(self, challenge: bytes) -> bytes:
        """Ask the client for more."""
        self.state = State.SECURING
        return encode_method_frame(0, m.ConnectionSecure(challenge))

    def tune(self) -> bytes:
        """Let the client in, and offer the limits."""
        self.state = State.TUNING
        settings = self.settings
        return encode_method_frame(
            0, m.ConnectionTune(settings.channel_max, settings.frame_max, settings.heartbeat)
        )

    def open_ok(self) -> bytes:
        """Open the virtual host."""
        self.state = State.RUNNING
        return encode_method_frame(0, m.ConnectionOpenOk())

    def fail(self, error: AmqpError) -> bytes:
        """Close the connection for an error; wait for `Closed` then."""
        if self.state in {State.CLOSING, State.CLOSED}:
            return b""
        self.state = State.CLOSING
        self.channels.clear()
        close = m.ConnectionClose(error.code, error.text, *error.method)
        return encode_method_frame(0, close)

    def close_channel(self, channel: int, error: AmqpError) -> bytes:
        """Close a channel for an error; nothing more is reported of it until it is reopened."""
        if self.channels.pop(channel, None) is None:
            return b""
        self._decoder.ignore(channel)
        self._closing.add(channel)
        close = m.ChannelClose(error.code, error.text, *error.method)
        return encode_method_frame(channel, close)

    def _failed(self, error: AmqpError) -> ev.Failed:
        return ev.Failed(error, self.fail(error))


def _check_tuned(field: str, value: int, least: int, most: int) -> None:
    """Check what the client made of an offer, as RabbitMQ does (rabbit_reader)."""
    if value and value < least:
        text = f"negotiated {field} = {value} is lower than the minimum allowed value ({least})"
    elif most and (not value or value > most):
        text = f"negotiated {field} = {value} is higher than the maximum allowed value ({most})"
    else:
        return
    raise AmqpError(Reply.NOT_ALLOWED, text, method=m.ConnectionTuneOk.id)
