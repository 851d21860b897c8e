"""Publishing and receiving: QoS, order, options, limits. Each test has topics of its own."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.testing.hub import ServedHub
from hubbub_mqtt import packets as p
from hubbub_mqtt.packets import Version
from hubbub_mqtt.properties import Properties

from .conftest import Connect, Serve
from .raw import Raw, bodies

V31, V311, V5 = Version.V31, Version.V311, Version.V5
VERSIONS = pytest.mark.parametrize("version", [V31, V311, V5], ids=["3.1", "3.1.1", "5.0"])


@VERSIONS
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_the_lower_qos_counts(client: Connect, version: Version, granted: int) -> None:
    topic = f"lower/{int(version)}/{granted}"
    subscriber, publisher = client(version), client(version)
    assert subscriber.connect("s").reason == 0
    assert publisher.connect("p").reason == 0
    assert subscriber.subscribe(topic, qos=granted) == [granted]
    for qos in (0, 1, 2):
        assert publisher.publish(topic, bytes([qos]), qos) == 0
        message = subscriber.receive()
        assert (message.topic, message.payload) == (topic, bytes([qos]))
        assert message.qos == min(qos, granted)
        assert not message.retain
        assert not message.dup
    subscriber.quiet()


@pytest.mark.parametrize("version", [V31, V311], ids=["3.1", "3.1.1"])
def test_bridges(client: Connect, version: Version) -> None:
    name = f"bridge/{int(version)}"
    bridge, other = client(version), client(version)
    bridge.send(p.Connect(f"{name}-b", version, bridge=True))
    assert bridge.expect(p.Connack).reason == 0
    other.connect(f"{name}-o")
    assert bridge.subscribe(f"{name}/#", "$share/g/" + name, qos=1) == [1, 1]
    for qos in (0, 1):
        bridge.publish(f"{name}/own", b"", qos)
        other.publish(f"{name}/others", b"kept", qos, retain=True)
        message = bridge.receive()
        assert (message.topic, message.qos, message.retain) == (f"{name}/others", qos, True)
    other.publish(f"{name}/others", b"", retain=True)
    other.publish(name, b"to members", 0)
    assert {bridge.receive().payload for _ in range(3)} == {b"", b"to members"}
    bridge.quiet()


def test_many_messages_of_one_read_keep_their_order(client: Connect) -> None:
    subscriber, publisher = client(), client()
    subscriber.connect("order-s")
    publisher.connect("order-p")
    subscriber.subscribe("order/#", qos=2)
    sent = [
        p.Publish(f"order/{n % 3}", b"%d" % n, n % 3, packet_id=n if n % 3 else 0)
        for n in range(1, 90)
    ]
    publisher.send(*sent)
    got: dict[str, list[int]] = {}
    releases = 0
    while sum(map(len, got.values())) < len(sent) or releases < 30:
        packet = subscriber.read()
        if isinstance(packet, p.Publish):
            got.setdefault(packet.topic, []).append(int(packet.payload))
            if packet.qos == 1:
                subscriber.send(p.Puback(packet.packet_id))
            elif packet.qos == 2:
                subscriber.send(p.Pubrec(packet.packet_id))
        elif isinstance(packet, p.Pubrel):
            subscriber.send(p.Pubcomp(packet.packet_id))
            releases += 1
        if sum(map(len, got.values())) == len(sent) and releases == 29:
            break
    for numbers in got.values():
        assert numbers == sorted(numbers)


def test_no_more_than_receive_maximum_is_in_flight_and_order_is_kept(client: Connect) -> None:
    subscriber, publisher = client(), client()
    subscriber.connect("window-s", receive_maximum=3)
    publisher.connect("window-p")
    subscriber.subscribe("window", qos=1)
    for n in range(10):
        publisher.publish("window", b"%d" % n)
    first = [subscriber.expect(p.Publish) for _ in range(3)]
    subscriber.quiet()
    subscriber.send(p.Puback(first[1].packet_id))  # out of order, which is legal
    fourth = subscriber.expect(p.Publish)
    subscriber.quiet()
    subscriber.send(p.Puback(first[0].packet_id), p.Puback(first[2].packet_id))
    more = [subscriber.expect(p.Publish) for _ in range(2)]
    subscriber.quiet()
    subscriber.send(*(p.Puback(each.packet_id) for each in (fourth, *more)))
    rest = [subscriber.receive() for _ in range(4)]
    assert bodies([*first, fourth, *more, *rest]) == [b"%d" % n for n in range(10)]
    subscriber.quiet()


def test_qos_2_takes_its_place_until_pubcomp(client: Connect) -> None:
    subscriber, publisher = client(), client()
    subscriber.connect("twice-s", receive_maximum=1)
    publisher.connect("twice-p")
    subscriber.subscribe("twice", qos=2)
    publisher.publish("twice", b"1", 2)
    publisher.publish("twice", b"2", 2)
    message = subscriber.expect(p.Publish)
    subscriber.send(p.Pubrec(message.packet_id))
    subscriber.expect(p.Pubrel)
    subscriber.quiet()
    subscriber.send(p.Pubrec(message.packet_id))  # repeated: answered again, gives nothing back
    subscriber.expect(p.Pubrel)
    subscriber.quiet()
    subscriber.send(p.Pubcomp(message.packet_id))
    assert subscriber.receive().payload == b"2"
    subscriber.quiet()


def test_a_negative_pubrec_ends_the_exchange(client: Connect, hub: ServedHub) -> None:
    subscriber, publisher = client(), client()
    subscriber.connect("negative-s", receive_maximum=1)
    publisher.connect("negative-p")
    subscriber.subscribe("negative", qos=2)
    lost = hub.call(lambda: hub.hub.meters.dropped.get("rejected", 0))
    for n in range(3):
        publisher.publish("negative", b"%d" % n, 2)
    refused = subscriber.expect(p.Publish)
    subscriber.send(p.Pubrec(refused.packet_id, 0x97))
    refused = subscriber.expect(p.Publish)
    assert refused.payload == b"1"
    subscriber.send(p.Pubrec(refused.packet_id, 0x80))
    assert subscriber.receive().payload == b"2"
    assert hub.call(lambda: hub.hub.meters.dropped["rejected"]) == lost + 2


def test_packet_identifiers_are_reused_when_free(client: Connect) -> None:
    subscriber, publisher = client(V311), client(V311)
    subscriber.connect("ids-s")
    publisher.connect("ids-p")
    subscriber.subscribe("ids", qos=1)
    held = []
    for n in range(5):
        publisher.publish("ids", b"%d" % n)
        held.append(subscriber.expect(p.Publish))
    assert len({each.packet_id for each in held}) == 5
    kept = held[2]
    subscriber.send(*(p.Puback(each.packet_id) for each in held if each is not kept))
    # Sixty-five thousand others later, the identifier that is still in use was not given again.
    seen = set()
    sent = 0
    while sent < 66_000:
        publisher.send(*(p.Publish("ids", b"", 1, packet_id=n + 1) for n in range(500)))
        answers = []
        for _ in range(500):
            publisher.expect(p.Puback)
            message = subscriber.expect(p.Publish)
            seen.add(message.packet_id)
            answers.append(p.Puback(message.packet_id))
        subscriber.send(*answers)
        sent += 500
    assert kept.packet_id not in seen
    assert len(seen) == 65_534
    subscriber.send(p.Puback(kept.packet_id))


def test_overlapping_subscriptions_deliver_once_at_the_highest_qos(client: Connect) -> None:
    subscriber, publisher = client(), client()
    subscriber.connect("overlap-s")
    publisher.connect("overlap-p")
    subscriber.subscribe(p.Subscription("overlap/#", 0), subscription_identifiers=(7,))
    subscriber.subscribe(p.Subscription("overlap/a", 2), subscription_identifiers=(9,))
    subscriber.subscribe(p.Subscription("overlap/+", 1))
    subscriber.subscribe(p.Subscription("other/#", 1), subscription_identifiers=(8,))
    for qos in (0, 1, 2):
        publisher.publish("overlap/a", bytes([qos]), qos)
        message = subscriber.receive()
        assert message.qos == qos
        assert sorted(message.properties.subscription_identifiers) == [7, 9]
        subscriber.quiet()
    publisher.publish("overlap/b", b"", 2)
    message = subscriber.receive()
    assert message.qos == 1
    assert message.properties.subscription_identifiers == (7,)
    publisher.publish("other/x", b"", 0)
    assert subscriber.receive().properties.subscription_identifiers == (8,)
    subscriber.quiet()


def test_a_new_subscription_replaces_one_with_the_same_filter(client: Connect) -> None:
    subscriber, publisher = client(), client()
    subscriber.connect("replace-s")
    publisher.connect("replace-p")
    for qos, identifier in ((1, 3), (0, 4), (2, 5)):
        assert subscriber.subscribe(
            p.Subscription("replace", qos), subscription_identifiers=(identifier,)
        ) == [qos]
        publisher.publish("replace", b"", 2)
        message = subscriber.receive()
        assert message.qos == qos
        assert message.properties.subscription_identifiers == (identifier,)
        subscriber.quiet()
    assert subscriber.unsubscribe("replace", "never") == [0, 0x11]
    assert publisher.publish("replace", b"", 1) == 0x10
    subscriber.quiet()


def test_puback_tells_that_nobody_subscribes(client: Connect) -> None:
    publisher, old = client(), client(V311)
    publisher.connect("nobody-p")
    old.connect("nobody-o")
    assert publisher.publish("nobody", b"", 1) == 0x10
    publisher.send(p.Publish("nobody", b"", 2, packet_id=60_000))
    assert publisher.expect(p.Pubrec) == p.Pubrec(60_000, 0x10)
    publisher.send(p.Pubrel(60_000))
    assert publisher.expect(p.Pubcomp) == p.Pubcomp(60_000)
    assert old.publish("nobody", b"", 1) == 0


def test_no_local(client: Connect) -> None:
    one, two = client(), client()
    one.connect("local-1")
    two.connect("local-2")
    for qos in (0, 1):
        topic = f"local/{qos}"
        one.subscribe(p.Subscription(topic, qos, no_local=True))
        for sent in (0, 1):
            one.publish(topic, b"mine", sent)
            one.quiet()
            two.publish(topic, b"yours", sent)
            assert one.receive().payload == b"yours"
    # Another filter of the same client has no such option, so the message comes by that one.
    one.subscribe(p.Subscription("local/+", 1), subscription_identifiers=(5,))
    for qos in (0, 1):
        one.send(p.Publish("local/1", b"mine", qos, packet_id=9 * qos))
        message = one.receive()
        if qos:
            one.expect(p.Puback)
        assert (message.qos, message.properties.subscription_identifiers) == (qos, (5,))
        one.quiet()


def test_retain_as_published(client: Connect) -> None:
    subscriber, publisher = client(), client()
    subscriber.connect("rap-s")
    publisher.connect("rap-p")
    subscriber.subscribe(
        p.Subscription("rap/kept", 1, retain_as_published=True), p.Subscription("rap/plain", 1)
    )
    for qos in (0, 1):
        for topic, flag in (("rap/kept", True), ("rap/plain", False)):
            publisher.publish(topic, b"x", qos, retain=True)
            assert subscriber.receive().retain is flag
            publisher.publish(topic, b"x", qos)
            assert not subscriber.receive().retain


@VERSIONS
def test_retained_messages_come_with_a_subscription(client: Connect, version: Version) -> None:
    base = f"retained/{int(version)}"
    publisher, subscriber = client(version), client(version)
    publisher.connect("retained-p")
    subscriber.connect("retained-s")
    for n, qos in enumerate((0, 1, 2)):
        publisher.publish(f"{base}/{n}", b"%d" % n, qos, retain=True)
    publisher.publish(f"{base}/1", b"", 0, retain=True)  # takes it away
    publisher.publish(f"{base}/2", b"newer", 1, retain=True)
    subscriber.subscribe(f"{base}/+", qos=1)
    found = {each.topic: each for each in (subscriber.receive(), subscriber.receive())}
    assert {topic: (each.payload, each.qos) for topic, each in found.items()} == {
        f"{base}/0": (b"0", 0),
        f"{base}/2": (b"newer", 1),
    }
    assert all(each.retain for each in found.values())
    subscriber.quiet()
    publisher.publish(f"{base}/1", b"", 1, retain=True)
    empty = subscriber.receive()  # to those who are there it is a message like any other
    assert (empty.payload, empty.retain) == (b"", False)
    for n in (0, 2):
        publisher.publish(f"{base}/{n}", b"", 1, retain=True)


def test_retain_handling(client: Connect) -> None:
    publisher, subscriber = client(), client()
    publisher.connect("handling-p")
    subscriber.connect("handling-s")
    publisher.publish("handling", b"kept", 1, retain=True)

    def subscribe(handling: int) -> None:
        wanted = p.Subscription("handling", 1, retain_handling=handling)
        assert subscriber.subscribe(wanted) == [1]

    subscribe(2)
    subscriber.quiet()
    subscribe(1)  # not new
    subscriber.quiet()
    subscribe(0)
    assert subscriber.receive().retain
    subscriber.unsubscribe("handling")
    subscribe(1)
    assert subscriber.receive().retain
    subscriber.quiet()


def test_retained_messages_are_not_sent_to_shared_subscriptions(client: Connect) -> None:
    publisher, subscriber = client(), client()
    publisher.connect("shared-retained-p")
    subscriber.connect("shared-retained-s")
    publisher.publish("shared-retained", b"kept", 1, retain=True)
    assert subscriber.subscribe("$share/g/shared-retained", "shared-retained/#", qos=1) == [1, 1]
    assert subscriber.receive().retain
    subscriber.quiet()


def test_dollar_topics_are_not_matched_by_leading_wildcards(client: Connect) -> None:
    publisher, all_, dollar = client(), client(), client()
    publisher.connect("dollar-p")
    all_.connect("dollar-all")
    dollar.connect("dollar-d")
    # Without what other tests have retained.
    all_.subscribe(*(p.Subscription(each, 0, retain_handling=2) for each in ("#", "+/dollar")))
    dollar.subscribe("$mine/#")
    publisher.publish("$mine/dollar", b"x", 1)
    assert dollar.receive().topic == "$mine/dollar"
    all_.quiet()
    publisher.publish("/dollar", b"y", 0)
    assert all_.receive().topic == "/dollar"
    all_.quiet()


def test_message_expiry_counts_down_while_queued(client: Connect, hub: ServedHub) -> None:
    subscriber, publisher = client(), client()
    subscriber.connect("expiry-s", clean=False, session_expiry_interval=100)
    publisher.connect("expiry-p")
    subscriber.subscribe("expiry", qos=1)
    publisher.publish("expiry", b"live", 1, message_expiry_interval=10)
    live = subscriber.receive()
    assert live.properties.message_expiry_interval in {9, 10}
    publisher.publish("expiry", b"qos 0", 0, message_expiry_interval=10)
    assert subscriber.receive().properties.message_expiry_interval == 10
    subscriber.disconnect()
    publisher.publish("expiry", b"short", 1, message_expiry_interval=1)
    publisher.publish("expiry", b"long", 1, message_expiry_interval=1000)
    hub.run(_wait_for_queue, hub, "$mqtt/expiry-s", 1)
    again: Raw = client()
    assert again.connect("expiry-s", clean=False, session_expiry_interval=0).session_present
    message = again.receive()
    assert message.payload == b"long"
    interval = message.properties.message_expiry_interval
    assert interval is not None
    assert 900 < interval < 1000
    again.quiet()
    again.disconnect()


async def _wait_for_queue(served: ServedHub, name: str, visible: int) -> None:
    import trio

    with trio.fail_after(10):
        while True:
            queue = served.hub.engine.find_queue("default", name)
            assert queue is not None
            if queue.counts().visible == visible:
                return
            await trio.sleep(0.05)


def test_topic_aliases_both_ways_live_as_long_as_the_connection(client: Connect) -> None:
    subscriber, publisher = client(), client()
    subscriber.connect("alias-s", topic_alias_maximum=1)
    maximum = publisher.connect("alias-p").properties.topic_alias_maximum
    assert maximum == 32
    subscriber.subscribe("alias/#", qos=1)
    publisher.publish("alias/a", b"1", 1, topic_alias=maximum)
    assert publisher.publish("", b"2", 1, topic_alias=maximum) == 0
    publisher.publish("alias/b", b"3", 0, topic_alias=maximum)
    publisher.publish("", b"4", 1, topic_alias=maximum)
    topics: dict[int | None, str] = {}
    got = []
    for _ in range(4):
        message = subscriber.receive()
        alias = message.properties.topic_alias
        topic = message.topic or topics[alias]
        if alias is not None:
            assert alias == 1
            topics[alias] = topic
        got.append((topic, message.payload))
    assert sorted(got, key=lambda pair: pair[1]) == [
        ("alias/a", b"1"), ("alias/a", b"2"), ("alias/b", b"3"), ("alias/b", b"4"),
    ]  # fmt: skip
    again: Raw = client()
    again.connect("alias-p")  # takes over, without the aliases
    again.send(p.Publish("", b"5", 0, properties=Properties(topic_alias=1)))
    (answer,) = again.closed()
    assert isinstance(answer, p.Disconnect)
    assert answer.reason == 0x82


@VERSIONS
def test_a_packet_identifier_used_too_early_ends_the_connection(
    client: Connect, version: Version
) -> None:
    watcher, raw = client(version), client(version)
    topic = f"early/{int(version)}"
    watcher.connect("early-w")
    watcher.subscribe(topic)
    raw.connect("early")
    message = p.Publish(topic, b"once", 2, packet_id=5)
    raw.send(message, p.Pubrel(5), message, p.Publish(topic, b"never", 0))
    before = raw.closed()
    if version is V5:
        end = before.pop()
        assert isinstance(end, p.Disconnect)
        assert end.reason == 0x82
    assert before in ([], [p.Pubrec(5)], [p.Pubrec(5), p.Pubcomp(5)])
    assert watcher.receive().payload == b"once"
    watcher.quiet()


def test_response_information(serve: Serve) -> None:
    hub = serve(mqtt={"response_information": "answers/{client}"})
    for asks, told in ((1, "answers/dev"), (0, None), (None, None)):
        with Raw(hub.address("MQTT")) as raw:
            answer = raw.connect("dev", request_response_information=asks)
            assert answer.properties.response_information == told
    with Raw(hub.address("MQTT")) as raw:
        fields = raw.connect(request_response_information=1).properties
        assert fields.response_information == f"answers/{fields.assigned_client_identifier}"


def test_aliases_at_qos_0(client: Connect) -> None:
    other, subscriber, publisher = client(), client(), client()
    other.connect("alias0-o")
    other.subscribe("alias0/#")
    subscriber.connect("alias0-s", topic_alias_maximum=2, maximum_packet_size=60)
    publisher.connect("alias0-p")
    subscriber.subscribe("alias0/#", subscription_identifiers=(7,))
    subscriber.subscribe("$share/g/alias0/#")
    both = [p.Publish(f"alias0/{name}", b"in one batch") for name in "aab"]
    publisher.send(*both, p.Pingreq())
    publisher.expect(p.Pingresp)
    publisher.publish("alias0/b", b"x" * 60, 0)  # too large for it, and so sets no alias
    publisher.publish("alias0/c", b"", 0)
    publisher.publish("alias0/b", b"with a property", 0, content_type="t")
    publisher.publish("alias0/a", b"", 0)  # its alias has been given to another one
    topics: dict[int | None, str] = {}
    got: dict[tuple[int, ...], list[str]] = {(): [], (7,): []}
    shortened = 0
    for _ in range(12):
        message = subscriber.receive()
        fields = message.properties
        assert fields.topic_alias in {1, 2}
        shortened += not message.topic
        topic = message.topic or topics[fields.topic_alias]
        topics[fields.topic_alias] = topic
        got[fields.subscription_identifiers].append(topic)
    wanted = [f"alias0/{name}" for name in "aabcba"]
    assert got == {(): wanted, (7,): wanted}
    assert shortened == 8, topics
    subscriber.quiet()
    assert [other.receive().topic for _ in range(7)] == [*wanted[:3], "alias0/b", *wanted[3:]]


def test_an_alias_above_the_maximum_ends_the_connection(client: Connect) -> None:
    publisher: Raw = client()
    publisher.connect("alias-high")
    publisher.send(p.Publish("a", b"", properties=Properties(topic_alias=33)))
    (answer,) = publisher.closed()
    assert isinstance(answer, p.Disconnect)
    assert answer.reason == 0x94


def test_what_is_larger_than_the_client_takes_is_not_sent(client: Connect, hub: ServedHub) -> None:
    subscriber, publisher = client(), client()
    subscriber.connect("small-s", maximum_packet_size=60)
    publisher.connect("small-p")
    subscriber.subscribe("small", "small/+", qos=1)
    publisher.publish("small/kept", b"z" * 100, 1, retain=True)
    publisher.publish("small/kept", b"z" * 100, 0, retain=True)
    publisher.publish("small", b"x" * 100, 1)
    publisher.publish("small", b"x" * 100, 0)
    publisher.send(p.Publish("small", b"first"), p.Publish("small", b"y" * 100))
    publisher.publish("small", b"last", 1)
    # Order is kept per QoS only (4.6).
    assert {subscriber.receive().payload, subscriber.receive().payload} == {b"first", b"last"}
    subscriber.subscribe("small/+", qos=1)
    subscriber.quiet()
    assert hub.call(lambda: hub.hub.meters.dropped["too large for the client"]) >= 6
    # All leases are settled: the window is as wide as before.
    queue = hub.call(lambda: hub.hub.engine.find_queue("default", "$mqtt/small-s"))
    assert queue is not None
    assert hub.call(queue.counts).in_flight <= 1


def test_a_packet_larger_than_the_server_takes(serve: Serve) -> None:
    hub = serve(mqtt={"max_packet_size": 2048})
    with Raw(hub.address("MQTT")) as raw:
        assert raw.connect("large").properties.maximum_packet_size == 2048
        raw.send(b"\x30\x80\x40")
        (answer,) = raw.closed()
        assert isinstance(answer, p.Disconnect)
        assert answer.reason == 0x95


def test_more_than_receive_maximum_ends_the_connection(serve: Serve) -> None:
    hub = serve(mqtt={"receive_maximum": 2})
    with Raw(hub.address("MQTT")) as raw:
        assert raw.connect("greedy").properties.receive_maximum == 2
        raw.send(*(p.Publish("a", b"", 2, packet_id=n) for n in (1, 2, 3)))
        *_, answer = raw.closed()
        assert isinstance(answer, p.Disconnect)
        assert answer.reason == 0x93


def test_qos_2_duplicates_on_one_connection(client: Connect) -> None:
    subscriber, publisher = client(), client()
    subscriber.connect("dup-s")
    publisher.connect("dup-p")
    subscriber.subscribe("dup", qos=0)
    message = p.Publish("dup", b"once", 2, packet_id=77)
    publisher.send(message)
    assert publisher.expect(p.Pubrec).packet_id == 77
    publisher.send(p.Publish("dup", b"once", 2, dup=True, packet_id=77))
    assert publisher.expect(p.Pubrec).packet_id == 77
    publisher.send(p.Pubrel(77))
    assert publisher.expect(p.Pubcomp) == p.Pubcomp(77)
    publisher.send(p.Pubrel(77))
    assert publisher.expect(p.Pubcomp) == p.Pubcomp(77, 0x92)
    publisher.send(message)  # a new message now
    assert publisher.expect(p.Pubrec).packet_id == 77
    assert bodies([subscriber.receive(), subscriber.receive()]) == [b"once", b"once"]
    subscriber.quiet()


def test_all_properties_reach_clients_of_5_unchanged(client: Connect) -> None:
    subscriber, publisher, old = client(), client(), client(V311)
    subscriber.connect("props-s")
    publisher.connect("props-p")
    old.connect("props-o")
    subscriber.subscribe("props", qos=1)
    old.subscribe("props", qos=1)
    fields: dict[str, Any] = {
        "payload_format_indicator": 1,
        "content_type": "text/plain",
        "response_topic": "props/answer",
        "correlation_data": b"\x00\xff",
        "user_properties": (("b", "1"), ("a", "2"), ("b", "3"), ("", "")),
    }
    for qos in (0, 1):
        publisher.publish("props", "grüße".encode(), qos, **fields)
        got = subscriber.receive().properties
        assert {name: getattr(got, name) for name in fields} == fields
        assert old.receive().payload == "grüße".encode()


def test_a_payload_that_is_not_the_text_it_says(client: Connect) -> None:
    publisher: Raw = client()
    publisher.connect("format-p")
    assert publisher.publish("format", b"\xff", 1, payload_format_indicator=1) == 0x99
    assert publisher.publish("format", b"\xff", 2, payload_format_indicator=1) == 0x99
    publisher.quiet()


def test_empty_and_large_bodies(client: Connect) -> None:
    subscriber, publisher = client(), client()
    subscriber.connect("sizes-s")
    publisher.connect("sizes-p")
    subscriber.subscribe("sizes", qos=1)
    for body in (b"", b"x" * (1 << 20)):
        for qos in (0, 1):
            publisher.publish("sizes", body, qos)
            assert subscriber.receive().payload == body


def test_a_subscriber_that_does_not_read_is_left_behind(serve: Serve) -> None:
    hub = serve(mqtt={"slow_subscriber_bytes": 64 * 1024})
    with Raw(hub.address("MQTT")) as slow, Raw(hub.address("MQTT")) as quick, Raw(
        hub.address("MQTT")
    ) as publisher:  # fmt: skip
        for raw, name in ((slow, "slow"), (quick, "quick"), (publisher, "publisher")):
            raw.connect(name)
        slow.subscribe("flood")
        quick.subscribe("flood")
        body = b"x" * 50_000
        for n in range(400):  # more than sockets hold
            publisher.publish("flood", b"%d " % n + body, 0)
            assert quick.receive().payload.startswith(b"%d " % n)
        dropped = hub.call(lambda: hub.hub.meters.dropped.get("slow subscriber", 0))
        assert 0 < dropped < 400
        got = [int(slow.receive().payload.split()[0]) for _ in range(400 - dropped)]
        assert got == sorted(got)
        slow.quiet()


def test_a_queue_waits_for_a_subscriber_that_does_not_read(serve: Serve) -> None:
    hub = serve()
    with Raw(hub.address("MQTT")) as slow, Raw(hub.address("MQTT")) as publisher:
        slow.connect("slow")
        publisher.connect("publisher")
        slow.subscribe("flood", qos=1)
        body = b"x" * 50_000
        for n in range(300):
            publisher.publish("flood", b"%d " % n + body, 1)
        got = [int(slow.receive().payload.split()[0]) for _ in range(300)]
        assert got == list(range(300))
        slow.quiet()


def test_a_retained_message_too_many_is_refused(serve: Serve) -> None:
    hub = serve(hub={"max_retained": 1})
    address = hub.address("MQTT")
    with Raw(address) as publisher, Raw(address) as subscriber, Raw(address, V311) as older:
        publisher.connect("p")
        subscriber.connect("s")
        older.connect("older")
        subscriber.subscribe("#")
        assert publisher.publish("r/1", b"first", 1, retain=True) == 0
        assert subscriber.receive().payload == b"first"
        assert publisher.publish("r/2", b"too many", 1, retain=True) == 0x97
        assert publisher.publish("r/2", b"too many", 2, retain=True) == 0x97
        publisher.send(p.Publish("r/2", b"nobody can say so", 0, retain=True))
        publisher.quiet()
        subscriber.quiet()
        older.send(p.Publish("r/2", b"too many", 1, packet_id=1, retain=True))
        older.closed()  # no answer of 3.1.1 says no
        assert publisher.publish("r/1", b"other", 1, retain=True) == 0
        assert subscriber.receive().payload == b"other"
