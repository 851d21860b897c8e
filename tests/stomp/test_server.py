"""The server on real sockets, by clients that send and read bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from hubbub import Message
from hubbub.engine.contract import DEFAULT_REALM, QueueCounts
from hubbub.testing.hub import ServedHub

from .conftest import Client
from .vectors import PROVOCATIONS, Provocation, error

NewClient = Callable[[], Client]


def counts(hub: ServedHub, queue: str) -> QueueCounts:
    def look() -> QueueCounts:
        found = hub.hub.engine.find_queue(DEFAULT_REALM, queue)
        assert found is not None
        return found.counts()

    return hub.call(look)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what another connection has caused."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def publish(hub: ServedHub, **fields: Any) -> None:
    """Publish a message that comes from elsewhere."""

    def run() -> None:
        message = Message(id=hub.hub.engine.next_id(), protocol="test", **fields)
        hub.hub.bus.publish(DEFAULT_REALM, [message])

    hub.call(run)


# CONNECT, as RabbitMQ answers


def test_connect_1_0(new_client: NewClient) -> None:
    client = new_client()
    client.write(b"CONNECT\n\n\0")
    connected = client.expect("CONNECTED")
    assert list(connected.headers) == ["server", "session", "heart-beat", "version"]
    assert (connected.headers["version"], connected.headers["heart-beat"]) == ("1.0", "0,0")


def test_connect_with_heart_beats(new_client: NewClient) -> None:
    client = new_client()
    client.write(b"CONNECT\naccept-version:1.0,1.1,1.2\nheart-beat:5000,7000\n\n\0")
    connected = client.expect("CONNECTED")
    assert (connected.headers["version"], connected.headers["heart-beat"]) == ("1.2", "7000,5000")


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (
            b"CONNECT\naccept-version:2.0\n\n\0",
            error(b"Version mismatch", b"Supported versions are 1.0,1.1,1.2\n"),
        ),
        (
            b"CONNECT\naccept-version:1.2\nlogin:guest\npasscode:no\n\n\0",
            error(b"Bad CONNECT", b"Access refused for user 'guest'\n"),
        ),
        (
            b"CONNECT\naccept-version:1.2\nhost:nope\n\n\0",
            error(b"Bad CONNECT", b"Virtual host 'nope' access denied"),
        ),
        (
            b"SEND\ndestination:/queue/a\n\nx\0",
            error(b"Illegal command", b"You must log in using CONNECT first"),
        ),
    ],
    ids=["version mismatch", "bad password", "unknown vhost", "SEND before CONNECT"],
)
def test_refused(new_client: NewClient, data: bytes, answer: bytes) -> None:
    client = new_client()
    client.write(data)
    assert client.rest() == answer


def test_guest_is_nobody_in_particular(new_client: NewClient) -> None:
    assert new_client().connect(login="guest", passcode="guest").command == "CONNECTED"
    assert new_client().connect(login="guest", passcode="other").command == "ERROR"


@pytest.mark.parametrize("host", ["/", "", "localhost", "127.0.0.1", "::1", "default", "other"])
def test_hosts(new_client: NewClient, host: str) -> None:
    assert new_client().connect(host=host).command == "CONNECTED"


def test_realms_are_apart(new_client: NewClient, client: Client, name: str) -> None:
    other = new_client()
    other.connect(host="other")
    other.subscribe(f"/queue/{name}")
    client.confirmed("SEND", b"here", destination=f"/queue/{name}")
    other.confirmed("SEND", b"there", destination="/queue/elsewhere")


# ERROR, as RabbitMQ answers


@pytest.mark.parametrize("provocation", PROVOCATIONS, ids=lambda each: each.name)
def test_provocation(client: Client, provocation: Provocation) -> None:
    client.write(provocation.data)
    if provocation.answer:
        assert client.rest() == provocation.answer
    elif provocation.answer is None:
        assert client.rest().startswith(b"ERROR\n")
    else:
        client.confirmed("BEGIN", transaction="still there")


def test_send_to_an_unknown_destination(client: Client) -> None:
    client.send("SEND", b"x", destination="/nope/a")
    assert client.rest() == error(
        b"Unknown destination",
        b"'/nope/a' is not a valid destination.\nValid destination types are: /temp-queue, "
        b"/exchange, /topic, /queue, /amq/queue, /reply-queue/.\n",
    )


def test_send_to_a_plain_name(hub: ServedHub, client: Client, name: str) -> None:
    client.confirmed("SEND", b"x", destination=name)
    assert counts(hub, name).visible == 1


def test_subscribe_without_id(client: Client, name: str) -> None:
    client.confirmed("SUBSCRIBE", destination=f"/queue/{name}")
    client.send("SEND", b"x", destination=f"/queue/{name}")
    assert "subscription" not in client.expect("MESSAGE").headers


def test_receipt_on_send(client: Client, name: str) -> None:
    client.send("SEND", b"x", destination=f"/queue/{name}", receipt="r1")
    client.expect("RECEIPT")
    assert client.raw.endswith(b"RECEIPT\nreceipt-id:r1\n\n\0\n")


def test_disconnect_with_receipt(client: Client) -> None:
    client.send("DISCONNECT", receipt="bye")
    assert client.rest() == b"RECEIPT\nreceipt-id:bye\n\n\0\n"


def test_message_headers(client: Client) -> None:
    client.subscribe("/topic/hh", ack="client", id="1")
    client.write(b"SEND\ndestination:/topic/hh\nesc:a\\cb\nfoo:1\nfoo:2\n\nhi\0")
    message = client.expect("MESSAGE")
    id_ = message.headers["message-id"]
    assert dict(message.headers) == {
        "subscription": "1", "destination": "/topic/hh", "message-id": id_, "ack": id_,
        "redelivered": "false", "esc": "a:b", "foo": "1", "content-length": "2",
    }  # fmt: skip
    assert b"\nesc:a\\cb\n" in client.raw
    assert message.body == b"hi"


def test_an_error_waits_for_the_receipts_before(client: Client, name: str) -> None:
    client.write(
        b"SEND\ndestination:/queue/%s\npersistent:true\nreceipt:1\n\nx\0"
        b"SEND\ndestination:/nope/x\nreceipt:2\n\nx\0" % name.encode()
    )
    assert client.expect("RECEIPT").headers["receipt-id"] == "1"
    assert client.expect("ERROR").headers["receipt-id"] == "2"
    assert client.rest() == b""


def test_an_error_names_no_receipt_of_another_frame(client: Client, name: str) -> None:
    client.write(
        b"BEGIN\ntransaction:t\nreceipt:1\n\n\0SEND\ndestination:/nope/%s\n\nx\0" % name.encode()
    )
    client.expect("RECEIPT")
    assert "receipt-id" not in client.expect("ERROR").headers


def test_messages_before_a_refused_one_are_published(
    hub: ServedHub, client: Client, name: str
) -> None:
    client.write(
        b"SEND\ndestination:/queue/%s\n\nx\0SEND\ndestination:/nope/x\n\nx\0" % name.encode()
    )
    client.expect("ERROR")
    assert counts(hub, name).visible == 1


# Queues


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_send_and_receive(new_client: NewClient, name: str, version: str) -> None:
    client = new_client()
    client.connect(version)
    client.subscribe(f"/queue/{name}")
    for body in (b"", b"text", b"\0\n\0", "ü".encode(), bytes(range(256)) * 5000):
        client.send("SEND", body, destination=f"/queue/{name}", persistent="true")
        message = client.expect("MESSAGE")
        assert message.body == body
        assert message.headers["destination"] == f"/queue/{name}"
        assert message.headers["persistent"] == "true"


def test_a_backlog_arrives_in_order(hub: ServedHub, client: Client, name: str) -> None:
    for number in range(1000):
        client.send("SEND", b"%d" % number, destination=f"/queue/{name}")
    client.send("SUBSCRIBE", destination=f"/queue/{name}", id="0")
    assert [int(client.expect("MESSAGE").body) for _ in range(1000)] == list(range(1000))
    assert counts(hub, name).visible == 0


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_client_individual(hub: ServedHub, new_client: NewClient, name: str, version: str) -> None:
    client = new_client()
    client.connect(version)
    client.subscribe(f"/queue/{name}", ack="client-individual")
    for number in range(3):
        client.send("SEND", b"%d" % number, destination=f"/queue/{name}")
    ids = [client.expect("MESSAGE").headers["message-id"] for _ in range(3)]
    client.confirmed("ACK", **{"id" if version == "1.2" else "message-id": ids[1]})
    assert counts(hub, name).in_flight == 2
    client.close()
    wait_until(lambda: counts(hub, name).visible == 2)


def test_client_mode_is_cumulative(hub: ServedHub, client: Client, name: str) -> None:
    client.subscribe(f"/queue/{name}", ack="client")
    for number in range(5):
        client.send("SEND", b"%d" % number, destination=f"/queue/{name}")
    acks = [client.expect("MESSAGE").headers["ack"] for _ in range(5)]
    client.confirmed("ACK", id=acks[2])
    assert counts(hub, name).in_flight == 2
    client.send("NACK", id=acks[4])
    again = [client.expect("MESSAGE") for _ in range(2)]
    assert [each.body for each in again] == [b"3", b"4"]
    assert again[0].headers["redelivered"] == "true"
    assert again[0].headers["x-delivery-count"] == "1"


def test_redelivered_to_somebody_else(client: Client, other: Client, name: str) -> None:
    client.subscribe(f"/queue/{name}", ack="client")
    client.send("SEND", b"x", destination=f"/queue/{name}", foo="1")
    assert client.expect("MESSAGE").headers["redelivered"] == "false"
    other.subscribe(f"/queue/{name}")
    client.close()
    message = other.expect("MESSAGE")
    assert (message.headers["redelivered"], message.headers["foo"]) == ("true", "1")


def test_nack_without_requeue_goes_to_the_dead_letters(client: Client, name: str) -> None:
    client.subscribe(f"/queue/{name}-dead", id="dead")
    client.subscribe(
        f"/queue/{name}", ack="client-individual", x_dead_letter_exchange="",
        x_dead_letter_routing_key=f"{name}-dead",
    )  # fmt: skip
    client.send("SEND", b"x", destination=f"/queue/{name}")
    client.send("NACK", id=client.expect("MESSAGE").headers["ack"], requeue="false")
    dead = client.expect("MESSAGE").headers
    assert dead["subscription"] == "dead"
    assert (dead["x-first-death-queue"], dead["x-first-death-reason"]) == (name, "rejected")


@pytest.mark.parametrize("exchange", ["grave", "amq.topic"])
def test_dead_letters_keep_their_routing_key_if_they_get_none(
    client: Client, name: str, exchange: str
) -> None:
    client.subscribe(f"/exchange/grave/{name}.#", id="grave")
    client.subscribe(f"/topic/{name}.again.#", id="again")
    client.subscribe(
        f"/exchange/work/{name}.#", ack="client-individual", x_queue_name=name,
        x_dead_letter_exchange=exchange,
    )  # fmt: skip
    client.send("SEND", b"x", destination=f"/exchange/work/{name}.again.and.again")
    client.send("NACK", id=client.expect("MESSAGE").headers["ack"], requeue="false")
    dead = client.expect("MESSAGE").headers
    if exchange == "grave":
        assert dead["subscription"] == "grave"
        assert dead["destination"] == f"/topic/grave.{name}.again.and.again"
    else:
        assert dead["subscription"] == "again"
        assert dead["destination"] == f"/topic/{name}.again.and.again"
    assert (dead["x-first-death-queue"], dead["x-first-death-reason"]) == (name, "rejected")


@pytest.mark.parametrize("header", ["prefetch-count", "activemq.prefetchSize"])
def test_prefetch(client: Client, name: str, header: str) -> None:
    client.subscribe(f"/queue/{name}", ack="client-individual", **{header: "2"})
    for number in range(4):
        client.send("SEND", b"%d" % number, destination=f"/queue/{name}")
    first, second = client.expect("MESSAGE"), client.expect("MESSAGE")
    client.confirmed("BEGIN", transaction="nothing came in between")
    client.send("ACK", id=second.headers["ack"])
    third = client.expect("MESSAGE")
    assert [first.body, second.body, third.body] == [b"0", b"1", b"2"]
    client.confirmed("BEGIN", transaction="nothing came in between, again")


def test_unacknowledged_messages_outlive_unsubscribe(
    hub: ServedHub, client: Client, name: str
) -> None:
    client.subscribe(f"/queue/{name}", ack="client")
    client.send("SEND", b"x", destination=f"/queue/{name}")
    ack = client.expect("MESSAGE").headers["ack"]
    client.confirmed("UNSUBSCRIBE", id="1")
    client.confirmed("SEND", b"y", destination=f"/queue/{name}")
    assert (counts(hub, name).in_flight, counts(hub, name).visible) == (1, 1)
    client.confirmed("ACK", id=ack)
    assert counts(hub, name).in_flight == 0


def test_existing_queues_alone(client: Client, other: Client, name: str) -> None:
    client.send("SUBSCRIBE", destination=f"/amq/queue/{name}", id="1")
    assert client.rest() == error(
        b"not_found", b"NOT_FOUND - no queue '%s' in vhost '/'\n" % name.encode()
    )
    other.confirmed("SEND", b"x", destination=f"/queue/{name}")
    other.send("SUBSCRIBE", destination=f"/amq/queue/{name}", id="1")
    assert other.expect("MESSAGE").body == b"x"


def test_a_deleted_queue_ends_the_subscription(hub: ServedHub, client: Client, name: str) -> None:
    client.subscribe(f"/queue/{name}")

    async def delete() -> None:
        queue = hub.hub.engine.find_queue(DEFAULT_REALM, name)
        assert queue is not None
        await hub.hub.engine.delete_queue(queue)

    hub.run(delete)
    assert client.expect("ERROR").headers["message"] == "Server cancelled subscription"


def test_queue_settings(hub: ServedHub, client: Client, name: str) -> None:
    client.confirmed(
        "SEND", b"x", destination=f"/queue/{name}", durable="false", x_message_ttl="60000",
        x_max_length="7", x_max_priority="9", x_overflow="reject-publish",
    )  # fmt: skip

    def look() -> Any:
        queue = hub.hub.engine.find_queue(DEFAULT_REALM, name)
        assert queue is not None
        return queue.settings

    settings = hub.call(look)
    assert (settings.durable, settings.message_ttl, settings.max_length) == (False, 60_000, 7)
    assert (settings.priorities, settings.overflow) == (9, "reject")


def test_priority(client: Client, name: str) -> None:
    for priority in ("1", "5", "3"):
        client.send(
            "SEND", priority.encode(), destination=f"/queue/{name}", priority=priority,
            x_max_priority="9",
        )  # fmt: skip
    client.send("SUBSCRIBE", destination=f"/queue/{name}", id="1")
    assert [client.expect("MESSAGE").body for _ in range(3)] == [b"5", b"3", b"1"]


def test_expired_messages_do_not_arrive(client: Client, name: str) -> None:
    client.confirmed("SEND", b"old", destination=f"/queue/{name}", expires="1000")
    client.confirmed("SEND", b"new", destination=f"/queue/{name}", expiration="60000")
    client.send("SUBSCRIBE", destination=f"/queue/{name}", id="1")
    message = client.expect("MESSAGE")
    assert (message.body, message.headers["expiration"]) == (b"new", "60000")


def test_browser(hub: ServedHub, client: Client, name: str) -> None:
    for number in range(3):
        client.confirmed("SEND", b"%d" % number, destination=f"/queue/{name}")
    client.send("SUBSCRIBE", destination=f"/queue/{name}", id="b", browser="true", ack="client")
    frames = [client.expect("MESSAGE") for _ in range(4)]
    assert [frame.body for frame in frames] == [b"0", b"1", b"2", b""]
    assert [frame.headers.get("browser") for frame in frames] == [None, None, None, "end"]
    assert counts(hub, name).visible == 3
    client.confirmed("UNSUBSCRIBE", id="b")


@pytest.mark.parametrize("command", ["SEND", "SUBSCRIBE"])
def test_transformation_is_refused(client: Client, name: str, command: str) -> None:
    client.send(command, destination=f"/queue/{name}", id="1", transformation="jms-map-xml")
    assert client.expect("ERROR").headers["message"] == "Not supported"


def colours(client: Client, name: str, *wanted: str) -> None:
    for number, colour in enumerate(wanted):
        client.confirmed("SEND", b"%d" % number, destination=f"/queue/{name}", color=colour)


@pytest.mark.parametrize("ack", ["auto", "client-individual"])
def test_selectors_share_a_queue(client: Client, other: Client, name: str, ack: str) -> None:
    colours(client, name, "blue", "red", "blue", "green")
    client.send(
        "SUBSCRIBE", destination=f"/queue/{name}", id="1", ack=ack, selector="color = 'blue'"
    )
    assert [client.expect("MESSAGE").body for _ in range(2)] == [b"0", b"2"]
    other.send("SUBSCRIBE", destination=f"/queue/{name}", id="1", ack=ack)
    assert [other.expect("MESSAGE").body for _ in range(2)] == [b"1", b"3"]


def test_a_selector_sees_what_comes_later_and_what_comes_back(
    client: Client, other: Client, name: str
) -> None:
    destination = f"/queue/{name}"
    client.subscribe(destination, ack="client-individual", selector="color = 'blue'")
    colours(other, name, "red", "blue")
    first = client.expect("MESSAGE")
    assert first.body == b"1"
    client.send("NACK", id=first.headers["ack"])
    again = client.expect("MESSAGE")
    assert (again.body, again.headers["redelivered"]) == (b"1", "true")
    client.confirmed("ACK", id=again.headers["ack"])
    other.send("SUBSCRIBE", destination=destination, id="1")
    assert other.expect("MESSAGE").body == b"0"


def test_a_queue_without_the_selected_waits(hub: ServedHub, client: Client, name: str) -> None:
    colours(client, name, "red", "red")
    client.subscribe(f"/queue/{name}", selector="color = 'blue'")
    client.send("SEND", b"x", destination=f"/queue/{name}", color="blue")
    assert client.expect("MESSAGE").body == b"x"
    assert counts(hub, name).visible == 2


def test_a_browser_chooses(client: Client, name: str) -> None:
    colours(client, name, "blue", "red", "blue")
    client.send(
        "SUBSCRIBE", destination=f"/queue/{name}", id="1", browser="true", selector="color = 'blue'"
    )
    assert [client.expect("MESSAGE").body for _ in range(2)] == [b"0", b"2"]
    assert client.expect("MESSAGE").headers["browser"] == "end"


def test_a_stream_by_the_type_of_a_queue(client: Client, name: str) -> None:
    stream = {"x-queue-type": "stream", "x-max-age": "10h"}
    client.subscribe(f"/queue/{name}", ack="client", **stream)
    client.confirmed("SEND", b"1", destination=f"/queue/{name}")
    frame = client.expect("MESSAGE")
    assert (frame.body, frame.headers["x-stream-offset"]) == (b"1", "0")


def test_a_topic_goes_into_a_stream(client: Client, other: Client, name: str) -> None:
    headers = {"x-queue-name": name, "x-queue-type": "stream", "durable": "true"}
    client.subscribe(f"/topic/{name}", ack="client", **headers)
    other.confirmed("SEND", b"1", destination=f"/topic/{name}")
    assert client.expect("MESSAGE").headers["x-stream-offset"] == "0"
    other.send("SUBSCRIBE", destination=f"/stream/{name}", id="1", x_stream_offset="first")
    assert other.expect("MESSAGE").body == b"1"


def test_a_burst_waits_for_a_client_that_is_slow_to_read(client: Client, other: Client) -> None:
    client.subscribe("/topic/burst")
    for _ in range(12):
        other.confirmed("SEND", b"x" * 500_000, destination="/topic/burst")
    for _ in range(12):
        assert len(client.expect("MESSAGE").body) == 500_000


def test_a_selector_on_a_stream(client: Client, name: str) -> None:
    destination = f"/stream/{name}"
    client.subscribe(destination, selector="color = 'blue'")
    for number, colour in enumerate(("blue", "red", "blue")):
        client.send("SEND", b"%d" % number, destination=destination, color=colour)
    frames = [client.expect("MESSAGE") for _ in range(2)]
    assert [frame.body for frame in frames] == [b"0", b"2"]
    assert [frame.headers["x-stream-offset"] for frame in frames] == ["0", "2"]


@pytest.mark.parametrize("place", ["queue", "stream", "topic"])
def test_a_selector_that_is_none(client: Client, name: str, place: str) -> None:
    client.send("SUBSCRIBE", destination=f"/{place}/{name}", id="1", selector="color =")
    assert client.expect("ERROR").headers["message"] == "Invalid selector"


@pytest.mark.parametrize("ack", ["auto", "client-individual"])
@pytest.mark.parametrize("place", ["queue", "stream", "topic"])
def test_no_local(client: Client, other: Client, name: str, place: str, ack: str) -> None:
    destination = f"/{place}/{name}"
    client.subscribe(destination, ack=ack, no_local="true", selector="color = 'blue'")
    client.confirmed("SEND", b"own", destination=destination, color="blue")
    other.confirmed("SEND", b"red", destination=destination, color="red")
    other.confirmed("SEND", b"other", destination=destination, color="blue")
    assert client.expect("MESSAGE").body == b"other"


# Transactions


def test_commit(hub: ServedHub, client: Client, name: str) -> None:
    client.subscribe(f"/queue/{name}", ack="client")
    client.send("SEND", b"in", destination=f"/queue/{name}")
    ack = client.expect("MESSAGE").headers["ack"]
    client.confirmed("BEGIN", transaction="t")
    client.send("SEND", b"out", destination=f"/queue/{name}-out", transaction="t", receipt="out")
    client.confirmed("ACK", id=ack, transaction="t")
    assert hub.call(hub.hub.engine.find_queue, DEFAULT_REALM, f"{name}-out") is None
    assert counts(hub, name).in_flight == 1
    client.send("COMMIT", transaction="t", receipt="commit")
    receipts = [client.expect("RECEIPT").headers["receipt-id"] for _ in range(2)]
    assert receipts == ["out", "commit"]
    assert counts(hub, name).in_flight == 0
    assert counts(hub, f"{name}-out").visible == 1


def test_abort(hub: ServedHub, client: Client, name: str) -> None:
    client.confirmed("BEGIN", transaction="t")
    client.send("SEND", b"x", destination=f"/queue/{name}", transaction="t", receipt="never")
    client.confirmed("ABORT", transaction="t")
    assert hub.call(hub.hub.engine.find_queue, DEFAULT_REALM, name) is None


def test_a_transaction_with_a_bad_destination_does_nothing(
    hub: ServedHub, client: Client, name: str
) -> None:
    client.confirmed("BEGIN", transaction="t")
    client.send("SEND", b"x", destination=f"/queue/{name}", transaction="t")
    client.send("SEND", b"x", destination="/nope/x", transaction="t")
    client.send("COMMIT", transaction="t")
    client.expect("ERROR")
    queue = hub.call(hub.hub.engine.find_queue, DEFAULT_REALM, name)
    assert queue is None or counts(hub, name).visible == 0


# Topics


@pytest.mark.parametrize("ack", ["auto", "client"])
def test_wildcards(client: Client, name: str, ack: str) -> None:
    client.subscribe(f"/topic/{name}.*.c", ack, id="one")
    client.subscribe(f"/topic/{name}.#", ack, id="all")
    for key in (f"{name}.b.c", f"{name}.b.d", name):
        client.send("SEND", key.encode(), destination=f"/topic/{key}")
    got = [client.expect("MESSAGE") for _ in range(4)]
    by_id: dict[str, list[bytes]] = {"one": [], "all": []}
    for each in got:
        by_id[each.headers["subscription"]].append(each.body)
    first = f"{name}.b.c".encode()
    assert by_id == {"one": [first], "all": [first, f"{name}.b.d".encode(), name.encode()]}


def test_every_subscriber_gets_a_copy(new_client: NewClient, name: str) -> None:
    clients = [new_client() for _ in range(4)]
    for client, version in zip(clients, ["1.0", "1.1", "1.2", "1.2"], strict=True):
        client.connect(version)
        client.subscribe(f"/topic/{name}")
    clients[2].send("SEND", b"x", destination=f"/topic/{name}", text="a:b")
    assert [each.expect("MESSAGE").headers["text"] for each in clients] == ["a:b"] * 4


def test_topics_are_those_of_everybody(hub: ServedHub, client: Client, name: str) -> None:
    client.subscribe(f"/topic/{name}.#")
    publish(hub, address=f"{name}/v1.2/temp", body=b"21", content_type="text/plain", priority=4)
    message = client.expect("MESSAGE")
    assert message.headers["destination"] == f"/topic/{name}.v1%2E2.temp"
    assert (message.headers["content-type"], message.headers["priority"]) == ("text/plain", "4")


def test_exchanges_are_scopes(client: Client, name: str) -> None:
    client.subscribe(f"/exchange/{name}/*.error", id="exchange")
    client.subscribe(f"/topic/{name}.#", id="topic")
    client.send("SEND", b"x", destination=f"/exchange/{name}/app.error")
    got = {client.expect("MESSAGE").headers["subscription"] for _ in range(2)}
    assert got == {"exchange", "topic"}
    client.subscribe("/exchange/another/#", id="another")
    client.send("SEND", b"x", destination=f"/exchange/{name}/app.info")
    assert client.expect("MESSAGE").headers["subscription"] == "topic"
    client.confirmed("BEGIN", transaction="nothing else has come")


def test_selector(client: Client, name: str) -> None:
    client.subscribe(f"/topic/{name}", selector="color = 'blue' AND JMSPriority > 3")
    for color, priority in (("blue", "3"), ("red", "4"), ("blue", "4")):
        client.send(
            "SEND", f"{color}{priority}".encode(), destination=f"/topic/{name}", color=color,
            priority=priority,
        )  # fmt: skip
    assert client.expect("MESSAGE").body == b"blue4"
    client.send("SUBSCRIBE", destination=f"/topic/{name}", id="2", selector="color = ")
    assert client.expect("ERROR").headers["message"] == "Invalid selector"


DURABLE = [
    {"durable": "true", "auto-delete": "false"},
    {"persistent": "true"},
    {"x-queue-name": "mine", "durable": "true"},
    {"activemq.subscriptionName": "sub"},
]


@pytest.mark.parametrize("headers", DURABLE, ids=lambda each: next(iter(each)))
@pytest.mark.parametrize("ack", ["auto", "client"])
def test_durable_subscription(
    new_client: NewClient, client: Client, name: str, ack: str, headers: dict[str, str]
) -> None:
    def subscriber() -> Client:
        made = new_client()
        made.connect(**{"client-id": "me"})
        made.subscribe(f"/topic/{name}", ack, **headers)
        return made

    first = subscriber()
    first.send("DISCONNECT", receipt="1")
    first.rest()
    client.confirmed("SEND", b"while away", destination=f"/topic/{name}")
    second = subscriber_raw(new_client, f"/topic/{name}", ack, headers)
    message = second.expect("MESSAGE")
    assert (message.body, message.headers["subscription"]) == (b"while away", "1")
    second.confirmed("UNSUBSCRIBE", id="1", **headers)
    client.confirmed("SEND", b"after", destination=f"/topic/{name}")
    third = subscriber()
    client.confirmed("SEND", b"again", destination=f"/topic/{name}")
    assert third.expect("MESSAGE").body == b"again"
    third.confirmed("UNSUBSCRIBE", id="1", **headers)


def subscriber_raw(
    new_client: NewClient, destination: str, ack: str, headers: dict[str, str]
) -> Client:
    """Subscribe without waiting for a receipt: messages may come before it."""
    made = new_client()
    made.connect(**{"client-id": "me"})
    made.send("SUBSCRIBE", destination=destination, id="1", ack=ack, **headers)
    return made


def test_durable_subscriptions_need_names(new_client: NewClient, client: Client) -> None:
    client.send("SUBSCRIBE", destination="/topic/x", durable="true")
    assert client.expect("ERROR").headers["message"] == "Missing Header"
    other = new_client()
    other.connect()
    other.send("SUBSCRIBE", destination="/topic/x", id="1", **{"activemq.subscriptionName": "x"})
    assert b"client-id" in other.expect("ERROR").body


def test_private_queues_go_with_their_subscription(hub: ServedHub, client: Client) -> None:
    def queues() -> set[str]:
        return {each.name for each in hub.hub.all_queues()}

    before = hub.call(queues)
    client.subscribe("/topic/private", ack="client", id="1")
    client.subscribe("/topic/private", ack="client", id="2")
    assert len(hub.call(queues) - before) == 2
    client.confirmed("UNSUBSCRIBE", id="1")
    assert len(hub.call(queues) - before) == 1
    client.close()
    wait_until(lambda: hub.call(queues) == before)


# Replies and streams


def test_request_and_reply(client: Client, other: Client, name: str) -> None:
    other.subscribe(f"/queue/{name}")
    client.send(
        "SEND", b"?", destination=f"/queue/{name}", reply_to="/temp-queue/answers",
        correlation_id="7",
    )  # fmt: skip
    request = other.expect("MESSAGE")
    reply_to = request.headers["reply-to"]
    assert reply_to.startswith("/reply-queue/")
    other.send("SEND", b"!", destination=reply_to, correlation_id=request.headers["correlation-id"])
    reply = client.expect("MESSAGE")
    assert (reply.body, reply.headers["correlation-id"]) == (b"!", "7")
    assert reply.headers["subscription"] == "/temp-queue/answers"
    client.send("SEND", b"?", destination=f"/queue/{name}", reply_to="/temp-queue/answers")
    assert other.expect("MESSAGE").headers["reply-to"] == reply_to


@pytest.mark.parametrize("command", ["SEND", "SUBSCRIBE"])
def test_temporary_queues_are_named_in_reply_to_alone(client: Client, command: str) -> None:
    client.send(command, destination="/temp-queue/x", id="1")
    assert client.expect("ERROR").headers["message"] == "Invalid destination"


@pytest.mark.parametrize("ack", ["auto", "client", "client-individual"])
def test_stream(client: Client, name: str, ack: str) -> None:
    for number in range(3):
        client.confirmed("SEND", b"%d" % number, destination=f"/stream/{name}/key")
    client.send(
        "SUBSCRIBE", destination=f"/stream/{name}", id="1", ack=ack, x_stream_offset="first",
        prefetch_count="2",
    )  # fmt: skip
    first, second = client.expect("MESSAGE"), client.expect("MESSAGE")
    assert [first.body, second.body] == [b"0", b"1"]
    assert first.headers["destination"] == f"/stream/{name}/key"
    if ack != "auto":
        client.send("ACK", id=second.headers["ack"])
    third = client.expect("MESSAGE")
    assert third.body == b"2"
    offset = second.headers["x-stream-offset"]
    client.send(
        "SUBSCRIBE", destination=f"/stream/{name}", id="2", x_stream_offset=f"offset={offset}"
    )
    assert [client.expect("MESSAGE").body for _ in range(2)] == [b"1", b"2"]
    client.subscribe(f"/stream/{name}", id="3")
    client.confirmed("UNSUBSCRIBE", id="1")
    client.confirmed("UNSUBSCRIBE", id="2")
    client.send("SEND", b"3", destination=f"/stream/{name}/key")
    last = client.expect("MESSAGE")
    assert (last.body, last.headers["subscription"]) == (b"3", "3")


@pytest.mark.parametrize("offset", ["", "later", "offset=x", "timestamp="])
def test_stream_offsets_are_checked(client: Client, name: str, offset: str) -> None:
    client.send("SUBSCRIBE", destination=f"/stream/{name}", id="1", x_stream_offset=offset)
    assert b"x-stream-offset" in client.expect("ERROR").body


# Heart-beats and deadlines


def test_the_server_sends_heart_beats(new_client: NewClient) -> None:
    client = new_client()
    client.connect(heart_beat="0,60")
    assert client.socket.recv(1) == b"\n"
    assert client.socket.recv(1) == b"\n"


def test_a_client_that_is_silent_is_gone(new_client: NewClient) -> None:
    client = new_client()
    assert client.connect(heart_beat="60,0").headers["heart-beat"] == "0,60"
    assert client.expect("ERROR").headers["message"] == "Heart-beat missing"


def test_a_client_that_beats_stays(new_client: NewClient) -> None:
    client = new_client()
    client.connect(heart_beat="200,50")
    start = time.monotonic()
    while time.monotonic() < start + 0.6:
        assert client.socket.recv(1) == b"\n"
        client.write(b"\n")
    client.confirmed("BEGIN", transaction="t")
