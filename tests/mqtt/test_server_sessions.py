"""Sessions: what outlives a connection, and for how long; wills; takeover; keep alive."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from hubbub.testing.hub import ServedHub
from hubbub_mqtt import packets as p
from hubbub_mqtt.packets import Version
from hubbub_mqtt.properties import Properties

from .conftest import Connect, Serve
from .raw import Raw, bodies, properties

V31, V311, V5 = Version.V31, Version.V311, Version.V5
NEVER = 0xFFFF_FFFF


def sessions(hub: ServedHub) -> set[str]:
    """The clients that have queues, and so sessions with subscriptions of QoS 1 or 2."""

    def names() -> set[str]:
        return {each.name.removeprefix("$mqtt/") for each in hub.hub.engine.queues("default", "$")}

    return hub.call(names)


@pytest.mark.parametrize("version", [V31, V311, V5], ids=["3.1", "3.1.1", "5.0"])
def test_a_session_keeps_subscriptions_and_messages(client: Connect, version: Version) -> None:
    name = f"keep-{int(version)}"
    expiry: dict[str, Any] = {"session_expiry_interval": 100} if version is V5 else {}
    one, publisher = client(version), client()
    assert not one.connect(name, clean=False, **expiry).session_present
    publisher.connect(f"{name}-p")
    one.subscribe(f"{name}/+", qos=2)
    one.disconnect()
    for qos in (0, 1, 2):
        publisher.publish(f"{name}/{qos}", b"%d" % qos, qos)
    again: Raw = client(version)
    assert again.connect(name, clean=False, **expiry).session_present is (version is not V31)
    assert [(again.receive().topic) for _ in range(2)] == [f"{name}/1", f"{name}/2"]
    publisher.publish(f"{name}/3", b"live", 0)
    assert again.receive().payload == b"live"
    again.quiet()
    again.disconnect()
    clean: Raw = client(version)
    assert not clean.connect(name, clean=True).session_present
    publisher.publish(f"{name}/4", b"", 1)
    clean.quiet()


def test_what_was_in_flight_is_sent_again_with_its_identifier(client: Connect) -> None:
    one, publisher = client(), client()
    one.connect("again", clean=False, session_expiry_interval=100)
    publisher.connect("again-p")
    one.subscribe(p.Subscription("again/#", 2), subscription_identifiers=(3,))
    for n, qos in enumerate((1, 2, 2, 1)):
        publisher.publish(f"again/{n}", b"%d" % n, qos)
    sent = [one.expect(p.Publish) for _ in range(4)]
    one.send(p.Pubrec(sent[1].packet_id))
    one.expect(p.Pubrel)
    one.quiet()
    one.drop()
    publisher.publish("again/4", b"4", 1)
    again: Raw = client()
    assert again.connect("again", clean=False, session_expiry_interval=100).session_present
    release = again.expect(p.Pubrel)
    assert release.packet_id == sent[1].packet_id
    resent = [again.expect(p.Publish) for _ in range(3)]
    for before, after in zip([sent[0], sent[2], sent[3]], resent, strict=True):
        assert after.dup
        assert after.packet_id == before.packet_id
        assert (after.topic, after.payload, after.qos) == (
            before.topic, before.payload, before.qos,
        )  # fmt: skip
        assert after.properties.subscription_identifiers == (3,)
    new = again.expect(p.Publish)
    assert new.payload == b"4"
    assert new.packet_id not in {each.packet_id for each in sent}
    again.send(p.Pubcomp(release.packet_id))
    for message in (*resent, new):
        again.acknowledge(message)
    again.quiet()


def test_resending_keeps_to_a_smaller_receive_maximum(client: Connect) -> None:
    one, publisher = client(), client()
    one.connect("narrow", clean=False, session_expiry_interval=100)
    publisher.connect("narrow-p")
    one.subscribe("narrow", qos=1)
    for n in range(5):
        publisher.publish("narrow", b"%d" % n)
        one.expect(p.Publish)
    one.drop()
    publisher.publish("narrow", b"5")
    again: Raw = client()
    again.connect("narrow", clean=False, session_expiry_interval=100, receive_maximum=2)
    got = []
    for _ in range(3):
        two = [again.expect(p.Publish), again.expect(p.Publish)]
        again.quiet()
        got += bodies(two)
        again.send(*(p.Puback(each.packet_id) for each in two))
    assert got == [b"%d" % n for n in range(6)]
    again.quiet()


def test_qos_2_duplicates_across_a_reconnect(client: Connect) -> None:
    watcher, one = client(), client()
    watcher.connect("twice-w")
    watcher.subscribe("twice")
    one.connect("twice", clean=False, session_expiry_interval=100)
    message = p.Publish("twice", b"once", 2, packet_id=5)
    one.send(message)
    one.expect(p.Pubrec)
    one.drop()
    again: Raw = client()
    assert again.connect("twice", clean=False, session_expiry_interval=100).session_present
    again.send(p.Publish("twice", b"once", 2, dup=True, packet_id=5))
    assert again.expect(p.Pubrec).packet_id == 5
    again.send(p.Pubrel(5))
    assert again.expect(p.Pubcomp) == p.Pubcomp(5)
    again.send(message)
    again.expect(p.Pubrec)
    assert bodies([watcher.receive(), watcher.receive()]) == [b"once", b"once"]
    watcher.quiet()


def test_takeover(client: Connect) -> None:
    for version, answers in ((V5, [0x8E]), (V311, [])):
        old, new = client(version), client(version)
        old.connect("mine")
        new.connect("mine")
        closed = old.closed()
        assert [each.reason for each in closed if isinstance(each, p.Disconnect)] == answers
        assert len(closed) == len(answers)
        new.quiet()


def test_takeover_by_many_at_once(client: Connect) -> None:
    raws = [client() for _ in range(20)]
    for raw in raws:
        raw.send(p.Connect("crowd", clean_start=False, properties=_expiry(50)))
    alive = []
    for raw in raws:
        raw.sock.settimeout(0.3)
        try:
            packets = raw.closed()
        except TimeoutError:
            alive.append(raw)
        else:
            assert all(isinstance(each, p.Connack | p.Disconnect) for each in packets)
    (last,) = alive
    last.sock.settimeout(10)
    last.quiet()


def _expiry(seconds: int) -> Properties:
    return Properties(session_expiry_interval=seconds)


def test_a_session_of_zero_seconds_ends_with_its_connection(
    client: Connect, hub: ServedHub
) -> None:
    one: Raw = client()
    one.connect("brief", clean=False)
    one.subscribe("brief", qos=1)
    assert "brief" in sessions(hub)
    one.disconnect()
    again: Raw = client()
    assert not again.connect("brief", clean=False).session_present


def test_session_expiry_set_at_disconnect(client: Connect, hub: ServedHub) -> None:
    one: Raw = client()
    one.connect("later", clean=False, session_expiry_interval=100)
    one.subscribe("later", qos=1)
    one.disconnect(session_expiry_interval=0)
    again: Raw = client()
    assert not again.connect("later", clean=False, session_expiry_interval=100).session_present
    again.subscribe("later", qos=1)
    again.disconnect(session_expiry_interval=1)
    assert "later" in sessions(hub)
    _wait(lambda: "later" not in sessions(hub))
    third: Raw = client()
    assert not third.connect("later", clean=False).session_present


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_session_of_zero_cannot_be_made_longer_at_disconnect(client: Connect) -> None:
    one: Raw = client()
    one.connect("revive")
    one.send(p.Disconnect(0, _expiry(10)))
    (answer,) = one.closed()
    assert isinstance(answer, p.Disconnect)
    assert answer.reason == 0x82


def test_the_server_may_shorten_the_session(serve: Serve) -> None:
    hub = serve(mqtt={"max_session_expiry": 60, "max_keep_alive": 30})
    with Raw(hub.address("MQTT")) as raw:
        answer = raw.connect("short", clean=False, session_expiry_interval=NEVER)
        assert answer.properties.session_expiry_interval == 60
        assert answer.properties.server_keep_alive == 30
    with Raw(hub.address("MQTT")) as raw:
        answer = raw.connect("modest", session_expiry_interval=10)
        assert answer.properties.session_expiry_interval is None


def test_client_identifiers(client: Connect) -> None:
    nameless: Raw = client()
    assigned = nameless.connect("").properties.assigned_client_identifier
    assert assigned
    assert assigned != client().connect("").properties.assigned_client_identifier
    assert client(V311).connect("").reason == 0
    refused: Raw = client(V311)
    assert refused.connect("", clean=False).reason == 2
    assert refused.closed() == []
    assert client().connect("c" * 1025).reason == 0x85
    odd = "a/+#b $ü"
    one, publisher = client(), client()
    one.connect(odd, clean=False, session_expiry_interval=100)
    one.subscribe("odd", qos=1)
    one.disconnect()
    publisher.connect("odd-p")
    publisher.publish("odd", b"x")
    again: Raw = client()
    assert again.connect(odd, clean=False).session_present
    assert again.receive().payload == b"x"


# wills


def will(topic: str, qos: int = 1, *, retain: bool = False, **fields: object) -> p.Will:
    return p.Will(topic, b"gone", qos, retain, properties(**fields))


def watch(client: Connect, topic: str) -> Raw:
    watcher: Raw = client()
    watcher.connect(f"{topic}-watcher")
    watcher.subscribe(topic, qos=1)
    return watcher


def test_a_will_is_published_when_the_connection_is_lost(client: Connect) -> None:
    watcher = watch(client, "will/lost")
    one: Raw = client()
    one.connect("w1", will=will("will/lost", content_type="t", user_properties=(("a", "b"),)))
    watcher.quiet()
    one.drop()
    message = watcher.receive()
    assert (message.payload, message.qos) == (b"gone", 1)
    assert message.properties.content_type == "t"
    assert message.properties.user_properties == (("a", "b"),)
    assert message.properties.will_delay_interval is None


def test_a_will_and_the_ways_to_disconnect(client: Connect) -> None:
    watcher = watch(client, "will/ways")
    for version in (V311, V5):
        one: Raw = client(version)
        one.connect("w2", will=will("will/ways"))
        one.disconnect()
        watcher.quiet()
    with_will: Raw = client()
    with_will.connect("w2", will=will("will/ways"))
    with_will.send(p.Disconnect(0x04))
    assert watcher.receive().payload == b"gone"
    broken: Raw = client()
    broken.connect("w2", will=will("will/ways"))
    broken.send(b"\xff\xff")
    assert watcher.receive().payload == b"gone"
    taken, other = client(), client()
    taken.connect("w2", will=will("will/ways"))
    other.connect("w2")
    assert watcher.receive().payload == b"gone"
    watcher.quiet()


def test_a_retained_will(client: Connect) -> None:
    watcher = watch(client, "will/kept")
    one: Raw = client()
    one.connect("w3", will=will("will/kept", retain=True))
    one.drop()
    watcher.receive()
    late: Raw = client()
    late.connect("w3-late")
    late.subscribe("will/kept")
    assert late.receive().retain
    watcher.send(p.Publish("will/kept", b"", 0, retain=True))


def test_a_delayed_will_is_cancelled_by_the_reconnect(client: Connect) -> None:
    watcher = watch(client, "will/delay")
    delayed = will("will/delay", will_delay_interval=1)
    one: Raw = client()
    one.connect("w4", clean=False, session_expiry_interval=100, will=delayed)
    one.drop()
    again: Raw = client()
    assert again.connect("w4", clean=False, session_expiry_interval=100).session_present
    again.disconnect()
    third: Raw = client()
    third.connect("w4", clean=False, session_expiry_interval=100, will=delayed)
    begun = time.monotonic()
    third.drop()
    assert watcher.receive().payload == b"gone"  # once, and not before its time
    assert 0.9 < time.monotonic() - begun < 8
    watcher.quiet()


def test_a_delayed_will_comes_with_the_end_of_the_session(client: Connect) -> None:
    watcher = watch(client, "will/end")
    one: Raw = client()
    one.connect("w5", session_expiry_interval=1, will=will("will/end", will_delay_interval=1000))
    one.drop()
    assert watcher.receive().payload == b"gone"
    two: Raw = client()
    two.connect("w6", session_expiry_interval=99, will=will("will/end", will_delay_interval=99))
    two.drop()
    watcher.quiet()
    clean: Raw = client()
    clean.connect("w6", clean=True)
    assert watcher.receive().payload == b"gone"
    three: Raw = client()
    three.connect("w7", will=will("will/end", will_delay_interval=1000))  # no session, no delay
    three.drop()
    assert watcher.receive().payload == b"gone"


def test_a_will_to_a_queue(client: Connect) -> None:
    one, consumer = client(), client()
    one.connect("w8", will=will("$queue/wills"))
    consumer.connect("w8-c")
    consumer.subscribe("$queue/wills", qos=1)
    one.drop()
    assert consumer.receive().payload == b"gone"


# keep alive


def test_keep_alive(client: Connect) -> None:
    watcher = watch(client, "will/silent")
    one, old = client(), client(V311)
    begun = time.monotonic()
    one.connect("silent", keep_alive=1, will=will("will/silent"))
    old.connect("silent-old", keep_alive=1)
    (answer,) = one.closed()
    assert isinstance(answer, p.Disconnect)
    assert answer.reason == 0x8D
    assert 1.4 < time.monotonic() - begun < 6
    assert old.closed() == []
    assert watcher.receive().payload == b"gone"


def test_any_packet_keeps_the_connection_alive(client: Connect) -> None:
    one: Raw = client()
    one.connect("alive", keep_alive=1)
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        one.publish("alive", b"", 0)
        one.quiet()
        time.sleep(0.1)
    one.publish("alive", b"", 1)


def test_a_client_that_says_nothing(serve: Serve) -> None:
    hub = serve(mqtt={"connect_timeout": 0.1})
    with Raw(hub.address("MQTT")) as raw:
        assert raw.closed() == []
    with Raw(hub.address("MQTT")) as raw:
        raw.send(b"\x10\x20\0\x04MQTT")
        assert raw.closed() == []


def test_a_second_connect_ends_the_connection(client: Connect) -> None:
    one: Raw = client()
    one.connect("second")
    one.send(p.Connect("second"))
    (answer,) = one.closed()
    assert isinstance(answer, p.Disconnect)
    assert answer.reason == 0x82


def test_packets_may_follow_a_connect_at_once(client: Connect) -> None:
    for version in (V311, V5):
        one: Raw = client(version)
        one.send(
            p.Connect("hasty", version),
            p.Subscribe(1, (p.Subscription("hasty", 1),)),
            p.Publish("hasty", b"x", 1, packet_id=2),
            p.Pingreq(),
        )
        assert one.expect(p.Connack).reason == 0
        rest = [one.read() for _ in range(4)]
        assert {type(each) for each in rest} == {p.Suback, p.Publish, p.Puback, p.Pingresp}


def test_stopping_tells_the_clients(serve: Serve) -> None:
    hub = serve()
    new, old = Raw(hub.address("MQTT")), Raw(hub.address("MQTT"), V311)
    with new, old:
        new.connect("n")
        old.connect("o")
        hub.stop()
        (answer,) = new.closed()
        assert isinstance(answer, p.Disconnect)
        assert answer.reason == 0x8B
        assert old.closed() == []


def test_sessions_and_subscriptions_are_limited(serve: Serve) -> None:
    hub = serve(mqtt={"max_sessions": 2, "max_subscriptions": 2})
    with Raw(hub.address("MQTT")) as one, Raw(hub.address("MQTT")) as two:
        one.connect("1")
        two.connect("2")
        with Raw(hub.address("MQTT")) as three:
            assert three.connect("3").reason == 0x97
        assert one.subscribe("a", "b", "c") == [0, 0, 0x97]
        assert one.subscribe("b", qos=1) == [1]


def test_messages_that_wait_are_limited(serve: Serve) -> None:
    hub = serve(mqtt={"max_queued_messages": 3})
    with Raw(hub.address("MQTT")) as one, Raw(hub.address("MQTT")) as publisher:
        one.connect("1", session_expiry_interval=100)
        publisher.connect("p")
        one.subscribe("a", qos=1)
        one.disconnect()
        for n in range(5):
            publisher.publish("a", b"%d" % n)
        assert hub.call(lambda: hub.hub.meters.dropped) == {"maxlen": 2}
        with Raw(hub.address("MQTT")) as again:
            again.connect("1", clean=False)
            assert bodies(again.receive() for _ in range(3)) == [b"2", b"3", b"4"]
            again.quiet()


def test_a_connection_without_connect_does_not_hold_up_the_stop(serve: Serve) -> None:
    hub = serve()
    with Raw(hub.address("MQTT")) as silent, Raw(hub.address("MQTT")) as other:
        other.connect("other")
        silent.send(b"\x10")
        begun = time.monotonic()
        hub.stop()
        assert silent.closed() == []
        assert time.monotonic() - begun < 5
