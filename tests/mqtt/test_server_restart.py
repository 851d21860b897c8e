"""What is kept when the hub stops, and when it is killed."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from hubbub.testing import HubProcess
from hubbub_mqtt import packets as p
from hubbub_mqtt.properties import Properties

from .conftest import serve_mqtt
from .raw import Raw, bodies

CONFIG = """
admin.enabled = false
plugins.enable = ["mqtt"]
log.level = "error"
mqtt.listener.bind = ["127.0.0.1:0"]
"""

LASTING: dict[str, Any] = {"clean": False, "session_expiry_interval": 1000}


def end(process: HubProcess, how: str) -> None:
    if how == "kill":
        process.kill()
    else:
        assert process.stop() == 0


def connect(process: HubProcess) -> Raw:
    return Raw(("127.0.0.1", process.port("MQTT")))


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_sessions_survive(tmp_path: Path, how: str) -> None:
    with HubProcess(tmp_path, CONFIG) as process:
        one, publisher = connect(process), connect(process)
        with one, publisher:
            one.connect("device", **LASTING)
            publisher.connect("publisher", **LASTING)
            assert one.subscribe(p.Subscription("news/#", 2), subscription_identifiers=(7,)) == [2]
            assert one.subscribe("$share/g/work", "live/#", "$queue/jobs", qos=1) == [1, 1, 1]
            # Taken over, but not released: a duplicate must be known again.
            publisher.send(p.Publish("news/in", b"in", 2, packet_id=9))
            assert publisher.expect(p.Pubrec) == p.Pubrec(9)
            held = one.expect(p.Publish)
            publisher.publish("news/1", b"1", 1)
            first = one.expect(p.Publish)
            # Received, but not completed.
            one.send(p.Pubrec(held.packet_id))
            assert one.expect(p.Pubrel).packet_id == held.packet_id
            one.quiet()
            publisher.publish("keep", b"retained", 1, retain=True)
        publisher = connect(process)
        with publisher:
            publisher.connect("other")
            for topic in ("news/2", "work", "$queue/jobs"):
                publisher.publish(topic, topic.encode(), 1)
        end(process, how)
        process.start()
        with connect(process) as again:
            assert again.connect("device", **LASTING).session_present
            packets = [again.read() for _ in range(5)]
            releases = [each for each in packets if isinstance(each, p.Pubrel)]
            messages = [each for each in packets if isinstance(each, p.Publish)]
            assert [each.packet_id for each in releases] == [held.packet_id]
            again.send(p.Pubcomp(held.packet_id))
            assert sorted(bodies(messages)) == [b"$queue/jobs", b"1", b"news/2", b"work"]
            ours = [each for each in messages if each.topic.startswith("news/")]
            assert bodies(ours) == [b"1", b"news/2"]
            assert {each.properties.subscription_identifiers for each in ours} == {(7,)}
            if how == "stop":
                assert (ours[0].packet_id, ours[0].dup) == (first.packet_id, True)
            for each in messages:
                again.acknowledge(each)
            again.quiet()
        with connect(process) as publisher:
            assert publisher.connect("publisher", **LASTING).session_present
            publisher.send(p.Publish("news/in", b"in", 2, dup=True, packet_id=9))
            assert publisher.expect(p.Pubrec) == p.Pubrec(9)
            publisher.send(p.Pubrel(9))
            assert publisher.expect(p.Pubcomp) == p.Pubcomp(9)
            publisher.subscribe("keep")
            assert publisher.receive().retain
        end(process, how)
        process.start()
        with connect(process) as again:
            assert again.connect("device", **LASTING).session_present
            again.quiet()
            assert again.publish("live/1", b"", 0) == 0
            assert again.receive().topic == "live/1"


def test_nothing_confirmed_is_lost_nor_doubled(tmp_path: Path) -> None:
    with HubProcess(tmp_path, CONFIG) as process:
        with connect(process) as subscriber:
            subscriber.connect("subscriber", **LASTING)
            subscriber.subscribe("flow", qos=2)
            subscriber.disconnect()
        publisher = connect(process)
        with publisher:
            publisher.connect("publisher", **LASTING)
            publisher.send(*(p.Publish("flow", b"%d" % n, 2, packet_id=n) for n in range(1, 900)))
            confirmed = {publisher.expect(p.Pubrec).packet_id for _ in range(400)}
            process.kill()
            confirmed |= {
                each.packet_id for each in publisher.closed() if isinstance(each, p.Pubrec)
            }
        process.start()
        with connect(process) as publisher:
            assert publisher.connect("publisher", **LASTING).session_present
            publisher.send(
                *(
                    p.Publish("flow", b"%d" % n, 2, dup=True, packet_id=n)
                    for n in range(1, 900)
                    if n not in confirmed
                )
            )
            for _ in range(899 - len(confirmed)):
                publisher.expect(p.Pubrec)
        with connect(process) as subscriber:
            assert subscriber.connect("subscriber", **LASTING).session_present
            got = [int(subscriber.receive().payload) for _ in range(899)]
            assert sorted(got) == list(range(1, 900))
            subscriber.quiet()


def test_a_delayed_will_waits_for_the_next_start(tmp_path: Path) -> None:
    kept: dict[str, Any] = {"hub": {"durability": "full"}}
    delayed = p.Will("wills/late", b"gone", 1, False, Properties(will_delay_interval=1))
    prompt = p.Will("wills/now", b"gone", 1, True)
    with serve_mqtt(tmp_path / "data", **kept) as hub:
        with Raw(hub.address("MQTT")) as watcher:
            watcher.connect("watcher", **LASTING)
            watcher.subscribe("wills/#", qos=1)
        with Raw(hub.address("MQTT")) as one, Raw(hub.address("MQTT")) as two:
            one.connect("one", will=delayed, **LASTING)
            two.connect("two", will=prompt, **LASTING)
            hub.stop()
            one.closed()
            two.closed()
    with serve_mqtt(tmp_path / "data", **kept) as hub, Raw(hub.address("MQTT")) as watcher:
        assert watcher.connect("watcher", **LASTING).session_present
        assert [watcher.receive().topic, watcher.receive().topic] == ["wills/now", "wills/late"]


def test_sessions_that_expired_meanwhile_are_gone(tmp_path: Path) -> None:
    kept: dict[str, Any] = {"hub": {"durability": "full"}}
    with serve_mqtt(tmp_path / "data", **kept) as hub:
        with Raw(hub.address("MQTT")) as one:
            one.connect("brief", clean=False, session_expiry_interval=1)
            one.subscribe("a", "$share/g/a", qos=1)
        with Raw(hub.address("MQTT")) as two:
            two.connect("lasting", **LASTING)
            two.subscribe("a", qos=1)
    with serve_mqtt(tmp_path / "data", **kept) as hub, Raw(hub.address("MQTT")) as two:
        assert two.connect("lasting", **LASTING).session_present
        two.subscribe("$SYS/broker/clients/total")

        def queues() -> list[str]:
            return [each.name for each in hub.hub.engine.queues("default", "$")]

        deadline = time.monotonic() + 10
        while hub.call(queues) != ["$mqtt/lasting"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)


class Receiver:
    """A client that takes messages of QoS 2 as the specification says (4.3.3), each once.

    It is behind with its answers.
    """

    BEHIND = 5

    def __init__(self) -> None:
        self.bodies: list[int] = []
        self._held: set[int] = set()

    def take(self, raw: Raw, until: int) -> None:
        due: deque[p.Packet] = deque()
        while len(self.bodies) < until:
            packet = raw.read()
            if isinstance(packet, p.Publish):
                if packet.packet_id not in self._held:
                    self._held.add(packet.packet_id)
                    self.bodies.append(int(packet.payload))
                due.append(p.Pubrec(packet.packet_id))
            else:
                assert isinstance(packet, p.Pubrel)
                self._held.discard(packet.packet_id)
                due.append(p.Pubcomp(packet.packet_id))
            while len(due) > self.BEHIND:
                raw.send(due.popleft())


@pytest.mark.parametrize(
    ("topic", "topic_filter"),
    [("flow", "flow"), ("flow", "$share/g/flow"), ("$queue/flow", "$queue/flow")],
    ids=["topic", "shared", "queue"],
)
def test_messages_of_qos_2_come_once_however_often_the_hub_is_killed(
    tmp_path: Path, topic: str, topic_filter: str
) -> None:
    count = 240
    options = LASTING | {"receive_maximum": 2 * Receiver.BEHIND}
    with HubProcess(tmp_path, CONFIG) as process:
        with connect(process) as subscriber:
            subscriber.connect("subscriber", **options)
            subscriber.subscribe(topic_filter, qos=2)
        with connect(process) as publisher:
            publisher.connect("publisher")
            for number in range(count):
                publisher.send(p.Publish(topic, b"%d" % number, 2, packet_id=number + 1))
            for number in range(count):
                assert publisher.expect(p.Pubrec).packet_id == number + 1
        receiver = Receiver()
        for so_far in range(50, count, 50):
            with connect(process) as subscriber:
                assert subscriber.connect("subscriber", **options).session_present
                receiver.take(subscriber, so_far)
                process.kill()
            process.start()
        with connect(process) as subscriber:
            assert subscriber.connect("subscriber", **options).session_present
            receiver.take(subscriber, count)
        assert sorted(receiver.bodies) == list(range(count))


def test_what_a_lost_client_held_at_qos_1_is_free_after_a_crash(tmp_path: Path) -> None:
    with HubProcess(tmp_path, CONFIG) as process:
        with connect(process) as lost, connect(process) as publisher:
            lost.connect("lost", **LASTING)
            lost.subscribe("$queue/jobs", "$share/g/work", qos=1)
            publisher.connect("publisher")
            for topic in ("$queue/jobs", "work"):
                assert publisher.publish(topic, topic.encode(), 1) == 0
                lost.expect(p.Publish)
            process.kill()
        process.start()
        with connect(process) as other:
            other.connect("other", **LASTING)
            other.subscribe("$queue/jobs", "$share/g/work", qos=1)
            assert sorted(bodies([other.receive(), other.receive()])) == [b"$queue/jobs", b"work"]
