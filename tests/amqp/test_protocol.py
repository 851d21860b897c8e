"""The connection as a state machine."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub_amqp import events as ev
from hubbub_amqp import methods as m
from hubbub_amqp.channel import ChannelState, Ledger
from hubbub_amqp.decode import Content, Decoder, MethodFrame
from hubbub_amqp.encode import HEARTBEAT_FRAME, encode_method_frame
from hubbub_amqp.errors import AmqpError, Reply
from hubbub_amqp.protocol import ServerConnection, ServerSettings, State
from hubbub_amqp.wire import Table

from .vectors import BAD, HEADER, Bad, frame, header, publish

SETTINGS = ServerSettings(server_properties={"product": "hubbub"})
TUNE_OK = m.ConnectionTuneOk(2047, 131_072, 60)


def say(method: m.Method, channel: int = 0) -> bytes:
    return encode_method_frame(channel, method)


def heard(data: bytes) -> list[m.Method]:
    return [item.method for item in Decoder(0).decode(data) if isinstance(item, MethodFrame)]


def take(connection: ServerConnection, data: bytes) -> list[ev.Event]:
    """Feed a connection and answer all that it owes, as a server would."""
    connection.receive_data(data)
    events: list[ev.Event] = []
    while found := connection.next_events():
        events += found
        for event in found:
            if isinstance(event, ev.HeaderSeen):
                connection.start()
            elif isinstance(event, ev.LoginAttempt):
                connection.tune()
            elif isinstance(event, ev.OpenAttempt):
                connection.open_ok()
    return events


START_OK = say(m.ConnectionStartOk(Table(), "PLAIN", b"\0guest\0guest", "en_US"))
LOGIN = HEADER + START_OK + say(TUNE_OK) + say(m.ConnectionOpen("/"))


def running(*channels: int) -> ServerConnection:
    connection = ServerConnection(SETTINGS)
    take(connection, LOGIN)
    for channel in channels:
        take(connection, say(m.ChannelOpen(), channel))
    assert connection.state is State.RUNNING
    assert list(connection.channels) == list(channels)
    return connection


def test_a_client_logs_in_step_by_step() -> None:
    connection = ServerConnection(SETTINGS)
    connection.receive_data(HEADER)
    assert connection.next_events() == [ev.HEADER_SEEN]
    assert connection.next_events() == []
    (start,) = heard(connection.start())
    assert isinstance(start, m.ConnectionStart)
    assert (start.version_major, start.version_minor) == (0, 9)
    assert start.mechanisms == b"PLAIN AMQPLAIN"
    assert start.server_properties == {"product": "hubbub"}
    capabilities = Table({"capabilities": {"connection.blocked": True}})
    connection.receive_data(say(m.ConnectionStartOk(capabilities, "PLAIN", b"x", "en_US")))
    assert connection.next_events() == [ev.LoginAttempt("PLAIN", b"x", capabilities)]
    assert connection.has_capability("connection.blocked")
    assert not connection.has_capability("basic.nack")
    assert heard(connection.secure(b"more?")) == [m.ConnectionSecure(b"more?")]
    connection.receive_data(say(m.ConnectionSecureOk(b"yes")))
    assert connection.next_events() == [ev.LoginAttempt("PLAIN", b"yes", capabilities)]
    assert heard(connection.tune()) == [m.ConnectionTune(2047, 131_072, 60)]
    connection.receive_data(say(m.ConnectionTuneOk(10, 8192, 5)) + say(m.ConnectionOpen("/x")))
    assert connection.next_events() == [ev.OpenAttempt("/x")]
    assert (connection.channel_max, connection.frame_max, connection.heartbeat) == (10, 8192, 5)
    assert heard(connection.open_ok()) == [m.ConnectionOpenOk()]
    assert connection.state is State.RUNNING


@pytest.mark.parametrize(
    "data", [b"HTTP", b"AMQP\0\0\x09\0", b"AMQP\3\1\0\0", b"AMQP\1\1\x08\0", b"X"]
)
def test_another_protocol_is_told_ours(data: bytes) -> None:
    connection = ServerConnection(SETTINGS)
    events = take(connection, data)
    assert events == [ev.Failed(None, HEADER)]
    assert take(connection, LOGIN) == []


@pytest.mark.parametrize("greeting", [HEADER, b"AMQP\1\1\0\x09"])
def test_the_whole_login_in_single_bytes(greeting: bytes) -> None:
    connection = ServerConnection(SETTINGS)
    data = greeting + LOGIN.removeprefix(HEADER)
    events = [e for i in range(len(data)) for e in take(connection, data[i : i + 1])]
    assert [type(event) for event in events] == [ev.HeaderSeen, ev.LoginAttempt, ev.OpenAttempt]


@pytest.mark.parametrize(
    ("tuned", "text"),
    [
        (m.ConnectionTuneOk(2048, 131_072, 60),
         "negotiated channel_max = 2048 is higher than the maximum allowed value (2047)"),
        (m.ConnectionTuneOk(0, 131_072, 60),
         "negotiated channel_max = 0 is higher than the maximum allowed value (2047)"),
        (m.ConnectionTuneOk(1, 4095, 60),
         "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)"),
        (m.ConnectionTuneOk(1, 131_073, 60),
         "negotiated frame_max = 131073 is higher than the maximum allowed value (131072)"),
    ],
)  # fmt: skip
def test_limits_that_are_not_ours_are_refused(tuned: m.ConnectionTuneOk, text: str) -> None:
    events = take(ServerConnection(SETTINGS), HEADER + START_OK + say(tuned))
    failed = events[-1]
    assert isinstance(failed, ev.Failed)
    assert heard(failed.reply) == [m.ConnectionClose(530, f"NOT_ALLOWED - {text}", 10, 31)]


def test_an_unknown_mechanism() -> None:
    start_ok = m.ConnectionStartOk(Table(), "ANONYMOUS", b"", "en_US")
    failed = take(ServerConnection(SETTINGS), HEADER + say(start_ok))[-1]
    assert isinstance(failed, ev.Failed)
    assert failed.error is not None
    assert failed.error.text == ("COMMAND_INVALID - unknown authentication mechanism 'ANONYMOUS'")


@pytest.mark.parametrize("early", [say(m.TxSelect(), 1), say(m.ConnectionOpen("/"))])
def test_methods_out_of_turn(early: bytes) -> None:
    failed = take(ServerConnection(SETTINGS), HEADER + early)[-1]
    assert isinstance(failed, ev.Failed)
    assert failed.error is not None
    assert failed.error.text == "CHANNEL_ERROR - unexpected method in connection state starting"


@pytest.mark.parametrize("vector", BAD, ids=lambda vector: vector.name)
def test_what_closes_the_connection(vector: Bad) -> None:
    for pieces in ([vector.data], [vector.data[i : i + 1] for i in range(len(vector.data))]):
        connection = running(1)
        events = [event for piece in pieces for event in take(connection, piece)]
        failed = events[-1]
        assert isinstance(failed, ev.Failed)
        assert failed.error is not None
        assert (failed.error.code, failed.error.reason) == (vector.code, vector.text)
        (close,) = heard(failed.reply)
        assert isinstance(close, m.ConnectionClose)
        assert (close.reply_code, close.reply_text) == (vector.code, failed.error.text)
        # Where frames can't be told apart any more, no answer can come.
        assert connection.state in {State.CLOSING, State.CLOSED}


def test_methods_and_contents_come_in_order() -> None:
    connection = running(1, 2)
    events = take(
        connection,
        publish() + header(1) + frame(3, 1, b"x") + HEARTBEAT_FRAME + say(m.TxSelect(), 2)
        + publish(2) + header(0, 2),
    )  # fmt: skip
    assert events == [
        Content(1, m.BasicPublish(0, "", "q", False, False), b"\0\0", b"x"),
        MethodFrame(2, m.TxSelect()),
        Content(2, m.BasicPublish(0, "", "q", False, False), b"\0\0", b""),
    ]


def test_changes_of_channels_come_alone() -> None:
    connection = running(1)
    connection.receive_data(
        say(m.TxSelect(), 1) + say(m.ChannelClose(200, ""), 1) + say(m.ChannelOpen(), 1)
        + say(m.ConfirmSelect(False), 1)
    )  # fmt: skip
    assert connection.next_events() == [MethodFrame(1, m.TxSelect())]
    (closed,) = connection.next_events()
    assert isinstance(closed, ev.ChannelClosed)
    assert heard(closed.reply) == [m.ChannelCloseOk()]
    assert not connection.is_open(1)
    (opened,) = connection.next_events()
    assert isinstance(opened, ev.ChannelOpened)
    assert heard(opened.reply) == [m.ChannelOpenOk()]
    assert connection.next_events() == [MethodFrame(1, m.ConfirmSelect(False))]
    assert connection.next_events() == []


def test_a_channel_that_we_close() -> None:
    connection = running(1, 2)
    error = AmqpError(Reply.NOT_FOUND, "no queue", method=(60, 20))
    assert heard(connection.close_channel(1, error)) == [
        m.ChannelClose(404, "NOT_FOUND - no queue", 60, 20)
    ]
    assert connection.close_channel(1, error) == b""
    assert take(connection, publish(1) + header(1, 1) + say(m.TxSelect(), 2)) == [
        MethodFrame(2, m.TxSelect())
    ]
    # The client closed it at the same time: answered, and still owed is its answer to us.
    (closed,) = take(connection, say(m.ChannelClose(200, ""), 1))
    assert isinstance(closed, ev.ChannelClosed)
    events = take(connection, say(m.ChannelCloseOk(), 1) + say(m.ChannelOpen(), 1))
    assert [type(event) for event in events] == [ev.ChannelOpened]


def test_what_comes_with_the_answer_to_our_close_is_done() -> None:
    connection = running(1, 2)
    connection.close_channel(1, AmqpError(Reply.NOT_FOUND, "no exchange"))
    (event,) = take(connection, say(m.ChannelCloseOk(), 1) + say(m.TxSelect(), 2))
    assert isinstance(event, MethodFrame)
    assert (event.channel, event.method) == (2, m.TxSelect())


def test_a_message_that_is_too_large_closes_the_channel() -> None:
    connection = ServerConnection(ServerSettings(server_properties={}, max_body=5))
    take(connection, LOGIN + say(m.ChannelOpen(), 1))
    (failed,) = take(connection, publish() + header(6) + frame(3, 1, b"abc"))
    assert isinstance(failed, ev.ChannelFailed)
    assert failed.error.text == (
        "PRECONDITION_FAILED - message size 6 is larger than configured max size 5"
    )
    assert take(connection, frame(3, 1, b"def") + say(m.ChannelCloseOk(), 1)) == []


def test_channels_are_counted() -> None:
    connection = ServerConnection(ServerSettings(server_properties={}, channel_max=2))
    take(connection, HEADER + START_OK + say(m.ConnectionTuneOk(2, 131_072, 0)))
    take(connection, say(m.ConnectionOpen("/")) + say(m.ChannelOpen(), 1))
    take(connection, say(m.ChannelOpen(), 9))
    failed = take(connection, say(m.ChannelOpen(), 2))[-1]
    assert isinstance(failed, ev.Failed)
    assert failed.error is not None
    assert failed.error.text == (
        "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)"
    )


def test_closing() -> None:
    connection = running(1)
    (closed,) = take(connection, say(m.ConnectionClose(200, "bye")) + say(m.TxSelect(), 1))
    assert isinstance(closed, ev.Closed)
    assert (heard(closed.reply), closed.reason) == ([m.ConnectionCloseOk()], "bye")
    connection = running(1)
    connection.fail(AmqpError(Reply.CONNECTION_FORCED, "shutdown"))
    assert take(connection, publish() + header(0) + say(m.TxSelect(), 1)) == []
    (closed,) = take(connection, say(m.ConnectionCloseOk()))
    assert isinstance(closed, ev.Closed)
    connection = running()
    connection.fail(AmqpError(Reply.CONNECTION_FORCED, "shutdown"))
    (closed,) = take(connection, say(m.ConnectionClose(200, "")))
    assert isinstance(closed, ev.Closed)
    assert heard(closed.reply) == [m.ConnectionCloseOk()]


def test_a_new_secret() -> None:
    assert take(running(), say(m.ConnectionUpdateSecret(b"new", "old"))) == [
        ev.SecretUpdated(b"new")
    ]


@given(st.lists(st.binary(max_size=60), max_size=5))
@settings(max_examples=100)
def test_any_bytes_are_survived(pieces: list[bytes]) -> None:
    connection = running(1)
    for piece in pieces:
        take(connection, piece)


# channels


def test_delivery_tags() -> None:
    ledger: Ledger[str] = Ledger()
    assert [ledger.deliver(text) for text in "abcde"] == [1, 2, 3, 4, 5]
    assert ledger.next_tag() == 6
    assert ledger.settle(2, multiple=False) == ["b"]
    assert ledger.settle(4, multiple=True) == ["a", "c", "d"]
    assert ledger.oldest() == "e"
    assert len(ledger) == 1
    for tag, multiple in ((2, False), (4, True), (6, True), (99, False), (0, False)):
        with pytest.raises(AmqpError, match=f"unknown delivery tag {tag}"):
            ledger.settle(tag, multiple=multiple)
    ledger.restore([(3, "c")])
    assert list(ledger) == ["c", "e"]
    assert ledger.settle(0, multiple=True) == ["c", "e"]
    assert ledger.clear() == []
    assert ledger.oldest() is None


def test_modes_do_not_mix() -> None:
    channel = ChannelState(1)
    with pytest.raises(AmqpError, match="channel is not transactional"):
        channel.require_tx()
    channel.select_confirm()
    channel.select_confirm()
    with pytest.raises(AmqpError, match="cannot switch from confirm to tx mode"):
        channel.select_tx()
    channel = ChannelState(2)
    channel.select_tx()
    channel.require_tx()
    with pytest.raises(AmqpError, match="cannot switch from tx to confirm mode"):
        channel.select_confirm()
