"""Streams are open to other protocols; a large one is found its way in at once."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from hubbub import Message, Principal
from hubbub.testing import HubProcess
from tests.aws_client import aws_client
from tests.interop.clients import MqttClient

from .conftest import KinesisHub, bodies, drain, iterator
from .test_application import CONFIG

LARGE = 300_000


def test_mqtt_publishes_and_kinesis_reads(tmp_path: Path) -> None:
    config = CONFIG.replace('"kinesis"]', '"kinesis", "mqtt"]') + (
        'mqtt.listener.bind = ["127.0.0.1:0"]\n'
    )
    with HubProcess(tmp_path, config) as hub:
        client = aws_client(hub, "kinesis")
        client.create_stream(StreamName="telemetry", ShardCount=1)
        device = MqttClient(hub, "device")
        device.publish("$stream/telemetry/sensor-7", b"21.5", UserProperty=[("unit", "C")])
        device.publish("$stream/telemetry", b"no key")
        device.publish("$stream/unheard-of/k", b"created by MQTT")
        device.close()
        records = drain(client, iterator(client, "telemetry"))
        assert bodies(records) == [b"21.5", b"no key"]
        assert records[0]["PartitionKey"] == "sensor-7"
        assert records[1]["PartitionKey"]
        summary = client.describe_stream_summary(StreamName="unheard-of")
        assert summary["StreamDescriptionSummary"]["StreamModeDetails"] == {
            "StreamMode": "PROVISIONED"
        }
        client.add_tags_to_stream(StreamName="unheard-of", Tags={"a": "b"})
        assert bodies(drain(client, iterator(client, "unheard-of"))) == [b"created by MQTT"]


def test_what_kinesis_writes_is_a_message(hub: KinesisHub, kinesis: Any, stream: str) -> None:
    kinesis.put_record(StreamName=stream, Data=b"\x00body", PartitionKey="key", ExplicitHashKey="5")

    async def read() -> Message:
        principal = Principal("test")
        with hub.served.hub.session(principal, protocol="test", client="test") as session:
            info = session.find_stream(stream)
            assert info is not None
            found = await session.read(stream, info.oldest(0))
        (record,) = found.records
        assert isinstance(record.message, Message)
        return record.message

    message = hub.served.run(read)
    assert message.address == f"$stream/{stream}"
    assert (message.body, message.group, message.shard_key) == (b"\x00body", "key", "5")
    assert message.protocol == "kinesis"


def append(hub: KinesisHub, stream: str, messages: list[Message]) -> None:
    async def run() -> None:
        with hub.served.hub.session(Principal("test"), protocol="test", client="test") as session:
            await session.append(stream, messages).commit.wait()

    hub.served.run(run)


def test_headers_have_no_place_and_are_counted(hub: KinesisHub, kinesis: Any, stream: str) -> None:
    def lost() -> int:
        return hub.served.hub.meters.protocol("kinesis").lossy.get("headers", 0)

    message = Message(address=f"$stream/{stream}", body=b"x", headers={"unit": "C"})
    append(hub, stream, [message, msgspec.structs.replace(message, headers={})])
    before = lost()
    assert len(drain(kinesis, iterator(kinesis, stream))) == 2
    assert lost() == before + 1


def test_a_large_stream_is_read_from_any_time_at_once(
    hub: KinesisHub, kinesis: Any, stream: str
) -> None:
    times = []
    for part in range(10):
        times.append(datetime.fromtimestamp(hub.clock.now() / 1000, UTC))
        append(
            hub,
            stream,
            [
                Message(address=f"$stream/{stream}", body=b"%d" % number, group="k")
                for number in range(part * LARGE // 10, (part + 1) * LARGE // 10)
            ],
        )
        hub.clock.jump(60)
    for part, when in enumerate(times):
        began = time.perf_counter()
        position = iterator(kinesis, stream, 0, "AT_TIMESTAMP", Timestamp=when)
        answer = kinesis.get_records(ShardIterator=position, Limit=1)
        took = time.perf_counter() - began
        assert bodies(answer["Records"]) == [b"%d" % (part * LARGE // 10)]
        assert took < 1, f"{took:.3f} s"
