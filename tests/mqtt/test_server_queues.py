"""Queues, shared subscriptions and streams from the side of MQTT."""

from __future__ import annotations

import pytest

from hubbub import Message, QueueSettings
from hubbub.streams import Record
from hubbub.testing.hub import ServedHub
from hubbub_mqtt import packets as p
from hubbub_mqtt.packets import Version

from .conftest import Connect, Serve
from .raw import Raw, bodies

V311 = Version.V311


def counts(hub: ServedHub, name: str) -> tuple[int, int]:
    queue = hub.call(lambda: hub.hub.engine.find_queue("default", name))
    assert queue is not None
    found = hub.call(queue.counts)
    return found.visible, found.in_flight


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_queue_takes_and_gives(client: Connect, hub: ServedHub, qos: int) -> None:
    name = f"work{qos}"
    publisher, consumer = client(), client()
    publisher.connect(f"{name}-p")
    consumer.connect(f"{name}-c")
    for sent in (0, 1, 2):
        publisher.publish(f"$queue/{name}", b"%d" % sent, sent)
    publisher.quiet()
    assert counts(hub, name) == (3, 0)
    assert consumer.subscribe(p.Subscription(f"$queue/{name}", qos)) == [qos]
    got = [consumer.receive() for _ in range(3)]
    assert bodies(got) == [b"0", b"1", b"2"]
    assert {(each.topic, each.qos, each.retain) for each in got} == {(f"$queue/{name}", qos, False)}
    consumer.quiet()
    assert counts(hub, name) == (0, 0)


def test_consumers_compete(client: Connect) -> None:
    publisher, one, two = client(), client(), client(V311)
    for raw, name in ((publisher, "compete-p"), (one, "compete-1"), (two, "compete-2")):
        raw.connect(name)
    one.subscribe("$queue/compete", qos=1)
    two.subscribe("$queue/compete", qos=1)
    for n in range(10):
        publisher.publish("$queue/compete", b"%d" % n)
    first = [one.receive().payload for _ in range(5)]
    second = [two.receive().payload for _ in range(5)]
    one.quiet()
    two.quiet()
    assert sorted(first + second) == [b"%d" % n for n in range(10)]


@pytest.mark.parametrize("expiry", [0, 100], ids=["clean", "lasting"])
def test_without_puback_somebody_else_gets_it(client: Connect, hub: ServedHub, expiry: int) -> None:
    name = f"unacked{expiry}"
    publisher, one, two = client(), client(), client()
    publisher.connect(f"{name}-p")
    one.connect(f"{name}-1", session_expiry_interval=expiry)
    two.connect(f"{name}-2")
    one.subscribe(f"$queue/{name}", qos=1)
    publisher.publish(f"$queue/{name}", b"job")
    assert one.expect(p.Publish).payload == b"job"
    assert counts(hub, name) == (0, 1)
    one.drop()
    two.subscribe(f"$queue/{name}", qos=1)
    message = two.receive()
    assert (message.payload, message.dup) == (b"job", False)


def test_a_queue_message_of_qos_2_waits_for_its_client(client: Connect) -> None:
    publisher, one, two = client(), client(), client()
    publisher.connect("hold-p")
    one.connect("hold-1", clean=False, session_expiry_interval=100)
    two.connect("hold-2")
    for topic in ("$queue/hold", "$share/g/hold"):
        one.subscribe(topic, qos=2)
    publisher.publish("$queue/hold", b"queue", 2)
    publisher.publish("hold", b"share", 2)
    sent = {each.payload: each for each in (one.expect(p.Publish), one.expect(p.Publish))}
    one.drop()
    two.subscribe("$queue/hold", "$share/g/hold", qos=2)
    two.quiet()
    again: Raw = client()
    assert again.connect("hold-1", clean=False, session_expiry_interval=100).session_present
    for message in (again.expect(p.Publish), again.expect(p.Publish)):
        assert message.dup
        assert message.packet_id == sent[message.payload].packet_id
        assert message.topic == sent[message.payload].topic
        again.acknowledge(message)
    again.quiet()
    two.quiet()


def test_a_refused_queue_message_is_dead_lettered(client: Connect, hub: ServedHub) -> None:
    async def create() -> None:
        settings = QueueSettings(dead_letter="$queue/dead")
        await hub.hub.engine.create_queue("default", "dead", QueueSettings())
        await hub.hub.engine.create_queue("default", "risky", settings)

    hub.run(create)
    publisher, consumer = client(), client()
    publisher.connect("risky-p")
    consumer.connect("risky-c")
    consumer.subscribe("$queue/risky", qos=1)
    publisher.publish("$queue/risky", b"bad")
    consumer.send(p.Puback(consumer.expect(p.Publish).packet_id, 0x83))
    consumer.quiet()
    consumer.subscribe("$queue/dead", qos=1)
    message = consumer.receive()
    assert (message.topic, message.payload) == ("$queue/dead", b"bad")


def test_queues_that_nobody_made(serve: Serve) -> None:
    hub = serve(mqtt={"create_queues": False, "create_streams": False})
    with Raw(hub.address("MQTT")) as raw, Raw(hub.address("MQTT"), V311) as old:
        raw.connect("new")
        old.connect("old")
        assert raw.subscribe("$queue/nowhere", qos=1) == [0x83]
        assert raw.publish("$queue/nowhere", b"", 1) == 0x90
        assert raw.publish("$stream/nowhere/k", b"", 2) == 0x90
        assert old.publish("$queue/nowhere", b"", 1) == 0
        raw.quiet()
        assert hub.call(lambda: hub.hub.meters.dropped) == {"no such address": 1}


def test_internal_and_impossible_addresses(client: Connect) -> None:
    raw, old = client(), client(V311)
    raw.connect("internal")
    old.connect("internal-old")
    raw.subscribe("own", qos=1)
    for topic in ("$queue/$mqtt/internal", "$SYS/broker/version", "$queue/$share/g/x"):
        assert raw.publish(topic, b"", 1) == 0x87
        assert old.publish(topic, b"", 1) == 0
    assert raw.publish("$queue/", b"", 1) == 0x90
    assert raw.publish("/".join("x" * 600), b"", 1) == 0x90
    assert raw.subscribe(
        "$queue/$mqtt/internal", "$queue/+", "$queue/#", "$share/g/$queue/x", "$stream/s",
        "/".join("x" * 600),
    ) == [0x87, 0x8F, 0x8F, 0x8F, 0x8F, 0x8F]  # fmt: skip
    assert old.subscribe("$queue/+", "$queue/fine") == [0x80, 0]
    raw.quiet()


def test_a_full_queue(client: Connect, hub: ServedHub) -> None:
    async def create() -> None:
        settings = QueueSettings(max_length=1, overflow="reject")
        await hub.hub.engine.create_queue("default", "full", settings)

    hub.run(create)
    raw, old = client(), client(V311)
    raw.connect("full")
    old.connect("full-old")
    assert raw.publish("$queue/full", b"1", 1) == 0
    assert raw.publish("$queue/full", b"2", 1) == 0x97
    assert raw.publish("$queue/full", b"2", 2) == 0x97
    raw.publish("$queue/full", b"2", 0)
    raw.quiet()
    # There is no way to say no before 5.0, so the connection ends without an answer.
    old.send(p.Publish("$queue/full", b"2", 1, packet_id=1))
    assert old.closed() == []


def test_a_queue_that_is_deleted(client: Connect, hub: ServedHub) -> None:
    raw: Raw = client()
    raw.connect("deleted")
    raw.subscribe("$queue/deleted", qos=1)

    async def delete() -> None:
        queue = hub.hub.engine.find_queue("default", "deleted")
        assert queue is not None
        await hub.hub.engine.delete_queue(queue)

    hub.run(delete)
    assert raw.unsubscribe("$queue/deleted") == [0]
    raw.quiet()


def test_a_message_routed_to_a_queue_keeps_its_topic(serve: Serve) -> None:
    hub = serve(
        file="""
        [[queue]]
        name = "routed"
        [[route]]
        name = "sensors"
        from = "sensors/#"
        to = "$queue/routed"
        """
    )
    with Raw(hub.address("MQTT")) as raw:
        raw.connect("routed")
        raw.subscribe("$queue/routed", qos=1)
        raw.send(p.Publish("sensors/t", b"21", 0))
        message = raw.receive()
        assert (message.topic, message.payload) == ("sensors/t", b"21")


# shared subscriptions


def test_shared_subscriptions_share(client: Connect) -> None:
    members = [client() for _ in range(3)]
    publisher, other = client(), client()
    publisher.connect("share-p")
    other.connect("share-o")
    for n, member in enumerate(members):
        member.connect(f"share-{n}")
        assert member.subscribe("$share/g/share/+", qos=1) == [1]
    other.subscribe("$share/other/share/#", qos=1)
    for qos in (0, 1):
        for n in range(30):
            publisher.publish(f"share/{n}", b"%d" % n, qos)
        publisher.quiet()
        got = []
        for member in members:
            mine = [member.receive() for _ in range(10)]
            member.quiet()
            assert all(each.qos == qos for each in mine)
            got += bodies(mine)
        assert sorted(map(int, got)) == list(range(30))
        assert len([other.receive() for _ in range(30)]) == 30


def test_shared_and_plain_subscriptions_beside_each_other(client: Connect) -> None:
    one, publisher = client(), client()
    one.connect("beside")
    publisher.connect("beside-p")
    one.subscribe(p.Subscription("$share/g/beside", 1), subscription_identifiers=(1,))
    one.subscribe(p.Subscription("beside", 1), subscription_identifiers=(2,))
    for qos in (0, 1):
        publisher.publish("beside", b"", qos)
        found = {one.receive().properties.subscription_identifiers for _ in range(2)}
        assert found == {(1,), (2,)}
        one.quiet()


def test_what_a_member_leaves_goes_to_another(client: Connect, hub: ServedHub) -> None:
    one, two, publisher = client(), client(), client()
    one.connect("leave-1")
    two.connect("leave-2")
    publisher.connect("leave-p")
    one.subscribe("$share/g/leave", qos=2)
    publisher.publish("leave", b"1", 1)
    publisher.publish("leave", b"2", 2)
    assert bodies([one.expect(p.Publish), one.expect(p.Publish)]) == [b"1", b"2"]
    two.subscribe("$share/g/leave", qos=2)
    one.drop()
    message = two.receive()  # but not that of QoS 2, which the first may have [MQTT-4.8.2-5]
    assert message.payload == b"1"
    two.quiet()
    assert hub.call(lambda: hub.hub.meters.dropped["session ended"]) == 1


def test_a_group_waits_for_lasting_sessions_and_ends_with_its_last_member(
    client: Connect, hub: ServedHub
) -> None:
    one, publisher = client(), client()
    one.connect("wait-1", session_expiry_interval=100)
    publisher.connect("wait-p")
    one.subscribe("$share/g/wait", qos=1)
    one.disconnect()
    publisher.publish("wait", b"kept", 1)
    publisher.publish("wait", b"gone", 0)
    assert counts(hub, "$share/g/wait") == (1, 0)
    again: Raw = client()
    again.connect("wait-1", clean=False, session_expiry_interval=100)
    assert again.receive().payload == b"kept"
    again.quiet()
    again.unsubscribe("$share/g/wait")
    assert hub.call(lambda: hub.hub.engine.find_queue("default", "$share/g/wait")) is None
    assert publisher.publish("wait", b"", 1) == 0x10


# streams


def test_publishing_to_a_stream_appends(client: Connect, hub: ServedHub) -> None:
    raw: Raw = client()
    raw.connect("stream")
    for n, qos in enumerate((0, 1, 2)):
        assert raw.publish("$stream/telemetry/device-1", b"%d" % n, qos) == 0
    raw.publish("$stream/telemetry/device/2", b"3", 1)

    async def read() -> list[Record]:
        stream = hub.hub.engine.find_stream("default", "telemetry")
        assert stream is not None
        found = await stream.read(stream.oldest(0), limit=10, max_bytes=1000)
        return found.records

    records = hub.run(read)
    assert [(each.partition_key, _body(each.message)) for each in records] == [
        ("device-1", b"0"), ("device-1", b"1"), ("device-1", b"2"), ("device/2", b"3"),
    ]  # fmt: skip


def _body(message: object) -> bytes:
    assert isinstance(message, Message)
    return message.body
