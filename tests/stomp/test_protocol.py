from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub_stomp.decode import Decoder, Limits
from hubbub_stomp.encode import encode, encode_message_tail
from hubbub_stomp.events import (
    Commit,
    Connect,
    Disconnect,
    Event,
    Failed,
    Noted,
    Settle,
    Subscribe,
    Unsubscribe,
)
from hubbub_stomp.frames import Frame
from hubbub_stomp.protocol import (
    AckMode,
    LocalProtocolError,
    ServerConnection,
    ServerSettings,
    State,
    Subscription,
)

from .vectors import GOOD, PROVOCATIONS, V10, V11, V12, Provocation

CONNECT = b"CONNECT\naccept-version:%s\nhost:/\n\n\0"


def connected(version: bytes = b"1.2", settings: ServerSettings | None = None) -> ServerConnection:
    connection = ServerConnection("s", settings)
    (connect,) = connection.receive_data(CONNECT % version)
    assert isinstance(connect, Connect)
    assert connection.accept()
    return connection


def send(connection: ServerConnection, command: str, body: bytes = b"", **headers: str) -> Any:
    """Send one frame; return the one event, or None."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    events = connection.receive_data(encode(command, named, body, connection.version))
    assert len(events) <= 1
    return events[0] if events else None


def subscribe(connection: ServerConnection, ack: str = "client", **headers: str) -> Subscription:
    named = {"destination": "/queue/a", "id": "0", "ack": ack} | headers
    (event,) = connection.receive_data(encode("SUBSCRIBE", named, version=connection.version))
    assert isinstance(event, Subscribe)
    return event.subscription


def deliver(connection: ServerConnection, subscription: Subscription, tag: object) -> Frame:
    """Deliver a message; return the frame that the client reads."""
    start = connection.message_start(subscription, tag, b"destination:/queue/a\n")
    (frame,) = Decoder(version=connection.version).decode(start + encode_message_tail(b"", b"x"))
    return frame


def failure(event: Event) -> str:
    assert isinstance(event, Failed)
    return str(event.error)


# CONNECT


@pytest.mark.parametrize(
    ("headers", "version", "heart_beat"),
    [
        (b"", b"1.0", b"0,0"),
        (b"accept-version:1.0,1.1,1.2\nheart-beat:5000,7000\n", b"1.2", b"7000,5000"),
        (b"accept-version:1.1\nheart-beat:0,1\n", b"1.1", b"1000,0"),
        (b"accept-version:1.1\nheart-beat:50,0\n", b"1.1", b"0,1000"),
    ],
)
def test_connected(headers: bytes, version: bytes, heart_beat: bytes) -> None:
    connection = ServerConnection("s-1", ServerSettings(server="test/1"))
    (connect,) = connection.receive_data(b"CONNECT\nlogin:me\npasscode:pw\n%s\n\0" % headers)
    assert isinstance(connect, Connect)
    assert (connect.login, connect.passcode, connect.host) == ("me", "pw", None)
    assert "pw" not in repr(connect)
    assert connection.accept() == (
        b"CONNECTED\nserver:test/1\nsession:s-1\nheart-beat:%s\nversion:%s\n\n\0\n"
        % (heart_beat, version)
    )
    assert connection.state is State.CONNECTED


def test_version_mismatch() -> None:
    connection = ServerConnection("s")
    (failed,) = connection.receive_data(CONNECT % b"2.0")
    assert isinstance(failed, Failed)
    assert failed.reply == (
        b"ERROR\nmessage:Version mismatch\ncontent-type:text/plain\nversion:1.0,1.1,1.2\n"
        b"content-length:35\n\nSupported versions are 1.0,1.1,1.2\n\0\n"
    )
    assert connection.state is State.CLOSED
    assert connection.receive_data(CONNECT % b"1.2") == []


def test_nothing_works_before_connect() -> None:
    (failed,) = ServerConnection("s").receive_data(b"SEND\ndestination:/queue/a\n\nx\0")
    assert isinstance(failed, Failed)
    assert failed.reply == (
        b"ERROR\nmessage:Illegal command\ncontent-type:text/plain\nversion:1.0,1.1,1.2\n"
        b"content-length:35\n\nYou must log in using CONNECT first\0\n"
    )


@pytest.mark.parametrize("value", ["", "1", "1,2,3", "-1,0", "a,b", "1e3,0", "9999999999,0"])
def test_heart_beats_are_two_numbers(value: str) -> None:
    events = ServerConnection("s").receive_data(b"CONNECT\nheart-beat:%s\n\n\0" % value.encode())
    assert "two numbers" in failure(events[0])


def test_nothing_is_reported_between_connect_and_connected() -> None:
    connection = ServerConnection("s")
    early = b"BEGIN\ntransaction:a\\cb\nreceipt:1\n\n\0"
    assert len(connection.receive_data(CONNECT % b"1.2" + early[:10])) == 1
    assert connection.receive_data(early[10:]) == []
    connection.accept()
    assert connection.receive_data(b"") == [Noted("1")]
    assert isinstance(send(connection, "COMMIT", transaction="a:b"), Commit)


def test_what_comes_before_connected_is_bounded() -> None:
    connection = ServerConnection("s", ServerSettings(limits=Limits(head_bytes=99, body_bytes=9)))
    connection.receive_data(CONNECT % b"1.2")
    (failed,) = connection.receive_data(b"x" * 109)
    assert "before CONNECTED" in failure(failed)


def test_accept_needs_a_connect() -> None:
    with pytest.raises(LocalProtocolError):
        ServerConnection("s").accept()


def test_refuse() -> None:
    connection = ServerConnection("s")
    connection.receive_data(CONNECT % b"1.2")
    reply = connection.refuse("Bad CONNECT", "Access refused for user 'guest'\n")
    assert reply == (
        b"ERROR\nmessage:Bad CONNECT\ncontent-type:text/plain\nversion:1.0,1.1,1.2\n"
        b"content-length:32\n\nAccess refused for user 'guest'\n\0\n"
    )
    assert connection.state is State.CLOSED


# RabbitMQ's own words


@pytest.mark.parametrize("provocation", PROVOCATIONS, ids=lambda each: each.name)
def test_provocation(provocation: Provocation) -> None:
    connection = connected()
    events = connection.receive_data(provocation.data)
    replies = [event.reply for event in events if isinstance(event, Failed)]
    if provocation.answer is None:
        assert len(replies) == 1
    else:
        assert b"".join(replies) == provocation.answer
    assert (connection.state is State.CLOSED) == bool(replies)


def test_an_error_names_the_receipt_of_the_refused_frame() -> None:
    failed = send(connected(), "ACK", receipt="r:1")
    assert isinstance(failed, Failed)
    assert b"\nreceipt-id:r\\c1\n" in failed.reply
    failed = send(connected(), "COMMIT", transaction="x")
    assert isinstance(failed, Failed)
    assert b"receipt-id" not in failed.reply


# SEND and transactions


def test_send_is_reported_as_it_is() -> None:
    connection = connected()
    events = connection.receive_data(b"SEND\ndestination:/queue/a\nreceipt:1\n\nhi\0" * 2)
    assert [type(event) for event in events] == [Frame, Frame]
    assert [event.receipt for event in events if isinstance(event, Frame)] == ["1", "1"]


def test_transaction() -> None:
    connection = connected()
    held = subscribe(connection, "client-individual")
    ack = deliver(connection, held, "tag").headers["ack"]
    assert send(connection, "BEGIN", transaction="t", receipt="1") == Noted("1")
    assert send(connection, "SEND", b"1", destination="/queue/b", transaction="t") is None
    acknowledged = send(connection, "ACK", id=ack, transaction="t", receipt="2")
    assert acknowledged == Noted("2")
    event = send(connection, "COMMIT", transaction="t", receipt="3")
    assert isinstance(event, Commit)
    assert event.receipt == "3"
    sent, settled = event.steps
    assert isinstance(sent, Frame)
    assert sent.body == b"1"
    assert isinstance(settled, Settle)
    assert (settled.tags, settled.accepted) == (["tag"], True)
    assert "Bad transaction" in failure(send(connection, "COMMIT", transaction="t"))


def test_what_an_aborted_transaction_acknowledged_still_waits() -> None:
    connection = connected()
    ack = deliver(connection, subscribe(connection), "tag").headers["ack"]
    send(connection, "BEGIN", transaction="t")
    send(connection, "NACK", id=ack, transaction="t")
    assert send(connection, "ABORT", transaction="t", receipt="1") == Noted("1")
    event = send(connection, "ACK", id=ack)
    assert isinstance(event, Settle)
    assert event.tags == ["tag"]


def test_a_second_begin_loses_nothing() -> None:
    connection = connected()
    send(connection, "BEGIN", transaction="t")
    send(connection, "SEND", b"1", destination="/queue/b", transaction="t")
    assert send(connection, "BEGIN", transaction="t") is None
    event = send(connection, "COMMIT", transaction="t")
    assert isinstance(event, Commit)
    assert len(event.steps) == 1


def test_a_transaction_that_acknowledges_what_was_settled_meanwhile_fails() -> None:
    connection = connected()
    ack = deliver(connection, subscribe(connection), "tag").headers["ack"]
    send(connection, "BEGIN", transaction="t")
    send(connection, "ACK", id=ack, transaction="t")
    send(connection, "ACK", id=ack)
    assert "unknown delivery tag 1" in failure(send(connection, "COMMIT", transaction="t"))


def test_transactions_are_bounded() -> None:
    settings = ServerSettings(transactions=2, transaction_frames=3, transaction_bytes=100)
    connection = connected(settings=settings)
    send(connection, "BEGIN", transaction="1")
    send(connection, "BEGIN", transaction="2")
    assert "2 open transactions" in failure(send(connection, "BEGIN", transaction="3"))
    for size, count in ((1, 3), (60, 1)):
        connection = connected(settings=settings)
        send(connection, "BEGIN", transaction="1")
        for _ in range(count):  # room that an aborted transaction had is given back
            send(connection, "SEND", b"x" * size, destination="a", transaction="1")
        send(connection, "ABORT", transaction="1")
        send(connection, "BEGIN", transaction="1")
        for _ in range(count):
            send(connection, "SEND", b"x" * size, destination="a", transaction="1")
        event = send(connection, "SEND", b"x" * size, destination="a", transaction="1")
        assert "Open transactions hold more" in failure(event)


# Subscriptions and acknowledgement


def test_message_headers() -> None:
    connection = connected()
    held = subscribe(connection, id="1:2")
    assert connection.message_start(held, None, b"destination:/d\n", redelivered=True) == (
        b"MESSAGE\nsubscription:1\\c2\ndestination:/d\nmessage-id:T_1\\c2@@s@@1\n"
        b"redelivered:true\nack:T_1\\c2@@s@@1\n"
    )
    other = connected(b"1.1")
    assert other.message_start(subscribe(other), None, b"") == (
        b"MESSAGE\nsubscription:0\nmessage-id:T_0@@s@@1\nredelivered:false\n"
    )


def test_auto_has_no_ack_header_and_nothing_to_acknowledge() -> None:
    connection = connected()
    frame = deliver(connection, subscribe(connection, "auto"), None)
    assert "ack" not in frame.headers
    event = send(connection, "ACK", id=frame.headers["message-id"])
    assert "unknown delivery tag 1" in failure(event)


def test_a_subscription_without_id_is_known_by_its_destination() -> None:
    connection = connected(b"1.0")
    event = send(connection, "SUBSCRIBE", destination="/queue/a", receipt="1")
    assert isinstance(event, Subscribe)
    assert (event.subscription.name, event.receipt) == ("Q_/queue/a", "1")
    assert "subscription" not in deliver(connection, event.subscription, None).headers
    assert "'Q_/queue/a'" in failure(
        send(connected_with(b"1.0"), "SUBSCRIBE", destination="/queue/a")
    )
    ended = send(connection, "UNSUBSCRIBE", destination="/queue/a", receipt="2")
    assert ended == Unsubscribe(event.subscription, ended.headers, "2")
    assert connection.subscriptions == []


def connected_with(version: bytes) -> ServerConnection:
    connection = connected(version)
    send(connection, "SUBSCRIBE", destination="/queue/a")
    return connection


@pytest.mark.parametrize("version", [V10, V11, V12])
def test_client_mode_acknowledges_all_before(version: Any) -> None:
    connection = connected(version.value.encode())
    held, other = subscribe(connection), subscribe(connection, id="1")
    frames = [deliver(connection, held, number) for number in range(5)]
    deliver(connection, other, "other")
    name = "id" if version is V12 else "message-id"

    def ack(command: str, frame: Frame) -> Settle:
        id_ = frame.headers["ack" if version is V12 else "message-id"]
        data = encode(command, {name: id_, "subscription": "0"}, version=connection.version)
        (event,) = connection.receive_data(data)
        assert isinstance(event, Settle)
        assert event.subscription is held
        return event

    assert ack("ACK", frames[2]).tags == [0, 1, 2]
    refused = ack("NACK", frames[4])
    assert (refused.tags, refused.accepted, refused.requeue) == ([3, 4], False, True)
    assert list(other.unacknowledged.values()) == ["other"]


def test_client_individual_mode_acknowledges_one() -> None:
    connection = connected()
    held = subscribe(connection, "client-individual")
    frames = [deliver(connection, held, number) for number in range(3)]
    event = send(connection, "ACK", id=frames[1].headers["ack"], receipt="r")
    assert (event.tags, event.receipt) == ([1], "r")
    event = send(connection, "NACK", id=frames[2].headers["ack"], requeue="false")
    assert (event.tags, event.requeue) == ([2], False)
    event = send(connection, "ACK", id=frames[1].headers["ack"])
    assert failure(event) == ("precondition_failed: PRECONDITION_FAILED - unknown delivery tag 2")


def test_what_is_unacknowledged_outlives_its_subscription() -> None:
    connection = connected()
    held = subscribe(connection)
    frames = [deliver(connection, held, number) for number in range(2)]
    send(connection, "UNSUBSCRIBE", id="0")
    again = subscribe(connection)
    assert again.prefix != held.prefix
    assert send(connection, "ACK", id=frames[0].headers["ack"]).tags == [0]
    assert send(connection, "ACK", id=frames[1].headers["ack"]).tags == [1]
    event = send(connection, "ACK", id=frames[1].headers["ack"])
    assert "has no subscription" in failure(event)


def test_subscriptions_are_bounded_those_that_hold_something_included() -> None:
    connection = connected(settings=ServerSettings(subscriptions=1))
    held = subscribe(connection)
    frame = deliver(connection, held, None)
    send(connection, "UNSUBSCRIBE", id="0")
    send(connection, "ACK", id=frame.headers["ack"])
    subscribe(connection)
    event = send(connection, "SUBSCRIBE", destination="/queue/b", id="2")
    assert "1 subscriptions" in failure(event)


def test_unknown_ack_mode() -> None:
    event = send(connected(), "SUBSCRIBE", destination="/queue/a", id="1", ack="maybe")
    assert AckMode.CLIENT.value in failure(event)


def test_unsubscribe_needs_a_name() -> None:
    assert "'destination' or 'id'" in failure(send(connected(), "UNSUBSCRIBE"))


def test_nothing_counts_after_disconnect() -> None:
    connection = connected()
    events = connection.receive_data(
        b"DISCONNECT\nreceipt:77\n\n\0SEND\ndestination:/queue/a\n\n\0nonsense\n\n\0"
    )
    assert events == [Disconnect("77")]
    assert connection.receipt("77") == b"RECEIPT\nreceipt-id:77\n\n\0\n"
    assert connection.state is State.CLOSED


@given(st.lists(st.sampled_from([each.data for each in GOOD]), max_size=6), st.integers(1, 40))
def test_any_frames_in_any_pieces_raise_nothing(frames: list[bytes], size: int) -> None:
    data = b"".join(frames)
    whole, pieces = connected(), connected()
    kinds = [type(event) for event in whole.receive_data(data)]
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    assert kinds == [type(event) for part in parts for event in pieces.receive_data(part)]
    assert whole.state is pieces.state
