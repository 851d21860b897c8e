"""Real clients, unchanged but for the address."""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aio_pika
import pytest

from hubbub.testing.hub import ServedHub

CELERY_APP = Path(__file__).parent / "celery_app.py"
TIMEOUT = 30.0

amqp: Any = importlib.import_module("amqp")  # these have no types
kombu: Any = importlib.import_module("kombu")


@pytest.fixture
def address(served: ServedHub) -> tuple[str, int]:
    return served.address("AMQP")


@pytest.fixture
def url(address: tuple[str, int]) -> str:
    return f"amqp://guest:guest@{address[0]}:{address[1]}//"


@pytest.fixture
def name() -> str:
    return f"q-{uuid.uuid4().hex[:8]}"


@pytest.mark.parametrize("method", ["PLAIN", "AMQPLAIN"])
def test_py_amqp(address: tuple[str, int], name: str, method: str) -> None:
    host, port = address
    with amqp.Connection(
        f"{host}:{port}", login_method=method, confirm_publish=True, heartbeat=30
    ) as connection:
        channel = connection.channel()
        channel.exchange_declare(name, "topic", auto_delete=False)
        channel.queue_declare(name, auto_delete=False)
        channel.queue_bind(name, name, "a.#")
        message = amqp.Message("hello", application_headers={"n": 2**40}, delivery_mode=2)
        channel.basic_publish(message, name, "a.b")
        got = channel.basic_get(name)
        assert (got.body, got.headers) == ("hello", {"n": 2**40})
        channel.basic_ack(got.delivery_tag)
        with pytest.raises(amqp.NotFound, match="no queue 'missing' in vhost '/'"):
            channel.queue_declare("missing", passive=True)


def test_kombu(url: str, name: str) -> None:
    exchange = kombu.Exchange(name, "direct", durable=True)
    queue = kombu.Queue(name, exchange, routing_key="k", max_priority=10)
    got: list[Any] = []

    def receive(body: Any, message: Any) -> None:
        got.append((body, message.headers.get("h")))
        message.ack()

    with kombu.Connection(url) as connection:
        producer = connection.Producer(serializer="json")
        for number in range(10):
            producer.publish(
                {"n": number}, exchange=exchange, routing_key="k", declare=[queue],
                headers={"h": number}, priority=number, retry=True,
            )  # fmt: skip
        with connection.Consumer(queue, callbacks=[receive], prefetch_count=3):
            while len(got) < 10:
                connection.drain_events(timeout=TIMEOUT)
        assert got == [({"n": number}, number) for number in reversed(range(10))]
        simple = connection.SimpleQueue(f"{name}-simple")
        simple.put({"x": 1})
        message = simple.get(timeout=TIMEOUT)
        assert message.payload == {"x": 1}
        message.ack()
        simple.close()


@pytest.fixture
def worker(url: str, name: str) -> Iterator[None]:
    environment = {
        **os.environ,
        "BROKER_URL": url,
        "QUEUE_NAME": name,
        "PYTHONPATH": str(CELERY_APP.parent),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "celery_app", "worker", "--pool", "threads",
         "--concurrency", "4", "--loglevel", "ERROR"],
        env=environment, cwd=CELERY_APP.parent, stdout=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        yield
        process.terminate()
        process.wait(TIMEOUT)


def test_celery(url: str, name: str, worker: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_URL", url)
    monkeypatch.setenv("QUEUE_NAME", name)
    monkeypatch.syspath_prepend(str(CELERY_APP.parent))
    monkeypatch.delitem(sys.modules, "celery_app", raising=False)
    celery: Any = importlib.import_module("celery")
    celery_app: Any = importlib.import_module("celery_app")

    add, flaky = celery_app.add, celery_app.flaky
    assert add.delay(1, 2).get(timeout=TIMEOUT) == 3
    assert add.apply_async((3, 4), countdown=0.3).get(timeout=TIMEOUT) == 7
    assert flaky.delay(2).get(timeout=TIMEOUT) == 2
    assert celery.chain(add.s(1, 1), add.s(10), add.s(100))().get(timeout=TIMEOUT) == 112
    results = celery.group(add.s(i, i) for i in range(20))().get(timeout=TIMEOUT)
    assert results == [2 * i for i in range(20)]
    (pong,) = celery_app.app.control.ping(timeout=5.0, limit=1)
    assert next(iter(pong.values())) == {"ok": "pong"}
    with pytest.raises(ZeroDivisionError):
        celery_app.divide.delay(1, 0).get(timeout=TIMEOUT)
    celery_app.app.backend.result_consumer.stop()
    celery_app.app.pool.force_close_all()
    celery_app.app.close()


def test_aio_pika(url: str, name: str) -> None:
    async def talk() -> list[bytes]:
        connection = await aio_pika.connect_robust(url.removesuffix("/"))
        async with connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(name, durable=True)
            for number in range(10):
                await channel.default_exchange.publish(
                    aio_pika.Message(b"%d" % number, delivery_mode=2), routing_key=name
                )
            got: list[bytes] = []
            async with queue.iterator(timeout=TIMEOUT) as messages:
                async for message in messages:
                    async with message.process():
                        got.append(message.body)
                    if len(got) == 10:
                        break
            rpc = await aio_pika.patterns.RPC.create(channel)

            async def square(*, x: int) -> int:
                return x * x

            await rpc.register(f"{name}-square", square, auto_delete=True)
            assert await rpc.call(f"{name}-square", {"x": 7}) == 49
            return got

    got = asyncio.run(asyncio.wait_for(talk(), TIMEOUT))
    assert got == [b"%d" % number for number in range(10)]


@pytest.mark.skipif(
    shutil.which("amqp-publish") is None and "CI" not in os.environ,
    reason="Debian's amqp-tools are not installed",
)
def test_amqp_tools(address: tuple[str, int], name: str) -> None:
    server = f"--url=amqp://{address[0]}:{address[1]}"

    def run(tool: str, *arguments: str, stdin: str = "") -> str:
        return subprocess.run(
            [tool, server, *arguments],
            input=stdin, check=True, capture_output=True, text=True, timeout=TIMEOUT,
        ).stdout  # fmt: skip

    assert run("amqp-declare-queue", "-q", name).strip() == name
    run("amqp-publish", "-r", name, "-p", "-b", "hello")
    run("amqp-publish", "-r", name, "-l", stdin="one\ntwo\n")
    assert run("amqp-get", "-q", name) == "hello"
    assert run("amqp-consume", "-q", name, "-c", "2", "cat") == "one\ntwo\n"
    run("amqp-delete-queue", "-q", name)


def test_a_port_scanner(address: tuple[str, int]) -> None:
    socket.create_connection(address, timeout=10).close()
