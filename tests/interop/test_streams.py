"""A stream whose shards are split and merged while everybody reads it: each record comes once."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import httpx
import pika  # type: ignore[import-untyped]
import pytest

import stomp  # type: ignore[import-untyped]
from hubbub.testing import HubProcess

from .clients import WAIT

CONFIG = """
admin.enabled = false
plugins.enable = ["amqp", "aws", "gateway", "kinesis", "stomp"]
amqp.listener.bind = ["127.0.0.1:0"]
aws.listener.bind = ["127.0.0.1:0"]
gateway.listener.bind = ["127.0.0.1:0"]
stomp.listener.bind = ["127.0.0.1:0"]
"""
NAME = "telemetry"
LEFT, RIGHT = 0, 2**127
THE_END = "the end"

Bodies = queue.SimpleQueue[str]


class Writer:
    """boto3, which alone can split and merge."""

    def __init__(self, hub: HubProcess) -> None:
        self.client: Any = boto3.client(
            "kinesis", endpoint_url=hub.url("Kinesis"), region_name="us-east-1",
            aws_access_key_id="test", aws_secret_access_key="test",
            config=botocore.config.Config(retries={"max_attempts": 0}),
        )  # fmt: skip
        self.client.create_stream(StreamName=NAME, ShardCount=1)
        self.written: list[str] = []

    def write(self, hash_key: int) -> None:
        body = str(len(self.written))
        self.client.put_record(
            StreamName=NAME, Data=body.encode(), PartitionKey="k", ExplicitHashKey=str(hash_key)
        )
        self.written.append(body)

    def split(self, shard: int) -> None:
        self.client.split_shard(
            StreamName=NAME, ShardToSplit=f"shardId-{shard:012}", NewStartingHashKey=str(RIGHT)
        )

    def merge(self, shard: int, adjacent: int) -> None:
        self.client.merge_shards(
            StreamName=NAME, ShardToMerge=f"shardId-{shard:012}",
            AdjacentShardToMerge=f"shardId-{adjacent:012}",
        )  # fmt: skip


def read_by_amqp(hub: HubProcess, bodies: Bodies) -> Callable[[], None]:
    connection = pika.BlockingConnection(
        pika.ConnectionParameters("127.0.0.1", hub.port("AMQP"), heartbeat=0)
    )
    channel = connection.channel()
    channel.basic_qos(prefetch_count=1)

    def take(_: Any, method: Any, properties: Any, body: bytes) -> None:
        bodies.put(body.decode())
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(NAME, take, arguments={"x-stream-offset": "first"})
    thread = threading.Thread(target=channel.start_consuming, daemon=True)
    thread.start()

    def end() -> None:
        connection.add_callback_threadsafe(channel.stop_consuming)
        thread.join(WAIT)
        connection.close()

    return end


def read_by_stomp(hub: HubProcess, bodies: Bodies) -> Callable[[], None]:
    connection: Any = stomp.Connection12([("127.0.0.1", hub.port("STOMP"))])

    class Listener(stomp.ConnectionListener):  # type: ignore[misc]
        def on_message(self, frame: Any) -> None:
            bodies.put(frame.body)
            connection.ack(frame.headers["ack"])

    connection.set_listener("", Listener())
    connection.connect(wait=True)
    headers = {"x-stream-offset": "first", "prefetch-count": "1"}
    connection.subscribe(f"/stream/{NAME}", "1", "client-individual", headers)
    return connection.disconnect  # type: ignore[no-any-return]


def read_by_http(hub: HubProcess, bodies: Bodies) -> Callable[[], None]:
    client = httpx.Client(timeout=WAIT)
    begun, ended = threading.Event(), threading.Event()

    def run() -> None:
        headers = {"Accept": "text/event-stream"}
        url = f"{hub.url('HTTP')}/streams/{NAME}/records?from=oldest"
        with client.stream("GET", url, headers=headers) as response:
            assert response.status_code == 200, response.read()
            begun.set()
            for line in response.iter_lines():
                if line.startswith("data: "):
                    body = json.loads(line.removeprefix("data: "))["body"]
                    if ended.is_set():
                        return
                    bodies.put(body)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert begun.wait(WAIT)

    def end() -> None:
        ended.set()
        httpx.post(f"{hub.url('HTTP')}/streams/{NAME}/records", content=THE_END)
        thread.join(WAIT)
        client.close()

    return end


READERS = {"amqp": read_by_amqp, "stomp": read_by_stomp, "http": read_by_http}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    with HubProcess(tmp_path, CONFIG) as running:
        yield running


def take(bodies: Bodies, count: int) -> list[str]:
    return [bodies.get(timeout=WAIT) for _ in range(count)]


@pytest.mark.parametrize("reader", READERS)
def test_splits_and_merges_lose_and_repeat_nothing(hub: HubProcess, reader: str) -> None:
    writer = Writer(hub)
    live: Bodies = queue.SimpleQueue()
    end = READERS[reader](hub, live)
    writer.write(LEFT)
    assert take(live, 1) == ["0"]
    writer.split(0)
    writer.write(LEFT)
    writer.write(RIGHT)
    assert sorted(take(live, 2)) == ["1", "2"]
    writer.write(RIGHT)  # shards that were not there when the reader began
    assert take(live, 1) == ["3"]
    writer.merge(1, 2)
    writer.write(LEFT)
    writer.write(RIGHT)
    assert take(live, 2) == ["4", "5"]
    end()

    writer.write(LEFT)
    again: Bodies = queue.SimpleQueue()
    end = READERS[reader](hub, again)
    found: list[str] = []
    while not found or found[-1] != writer.written[-1]:
        found += take(again, 1)
    end()
    found = [body for body in found if body != THE_END]
    assert sorted(found) == writer.written
    assert (found[0], found[-3:]) == ("0", ["4", "5", "6"])
    assert found.index("2") < found.index("3")


class AmqpHolder:
    """Takes three records, and acknowledges one if told to."""

    def __init__(self, hub: HubProcess) -> None:
        self._connection = pika.BlockingConnection(
            pika.ConnectionParameters("127.0.0.1", hub.port("AMQP"), heartbeat=0)
        )
        self._channel = self._connection.channel()
        self._channel.basic_qos(prefetch_count=3)
        self.held: list[int] = []
        arguments = {"x-stream-offset": "first"}
        self._channel.basic_consume(NAME, self._take, arguments=arguments)

    def _take(self, _: Any, method: Any, *__: Any) -> None:
        self.held.append(method.delivery_tag)

    def wait(self, count: int) -> None:
        deadline = time.monotonic() + WAIT
        while len(self.held) < count and time.monotonic() < deadline:
            self._connection.process_data_events(0.1)
        self._channel.queue_declare(NAME, passive=True)
        self._connection.process_data_events(0)

    def acknowledge(self) -> None:
        self._channel.basic_ack(self.held.pop(0))

    def close(self) -> None:
        self._connection.close()


class StompHolder(stomp.ConnectionListener):  # type: ignore[misc]
    """The same by STOMP."""

    def __init__(self, hub: HubProcess) -> None:
        self.held: list[str] = []
        self._arrived = threading.Condition()
        self._receipts = 0
        self._connection: Any = stomp.Connection12([("127.0.0.1", hub.port("STOMP"))])
        self._connection.set_listener("", self)
        self._connection.connect(wait=True)
        headers = {"x-stream-offset": "first", "prefetch-count": "3"}
        self._connection.subscribe(f"/stream/{NAME}", "1", "client-individual", headers)

    def on_message(self, frame: Any) -> None:
        with self._arrived:
            self.held.append(frame.headers["ack"])
            self._arrived.notify()

    def on_receipt(self, frame: Any) -> None:
        with self._arrived:
            self._receipts += 1
            self._arrived.notify()

    def wait(self, count: int) -> None:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.held) >= count, WAIT)
            before = self._receipts
            self._connection.send("/topic/nobody", "", receipt="1")
            assert self._arrived.wait_for(lambda: self._receipts > before, WAIT)

    def acknowledge(self) -> None:
        self._connection.ack(self.held.pop(0))

    def close(self) -> None:
        self._connection.disconnect()


@pytest.mark.parametrize("holder", [AmqpHolder, StompHolder])
def test_prefetch_holds_over_all_shards_together(
    hub: HubProcess, holder: type[AmqpHolder | StompHolder]
) -> None:
    writer = Writer(hub)
    writer.split(0)
    for _ in range(5):
        writer.write(LEFT)
        writer.write(RIGHT)
    client = holder(hub)
    client.wait(3)
    assert len(client.held) == 3
    for _ in range(3):
        client.acknowledge()
        client.wait(3)
        assert len(client.held) == 3
    client.close()
