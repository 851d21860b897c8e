"""kombu and Celery over AMQP by its address alone."""

import datetime as dt
import signal
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain, chord, group  # type: ignore[import-untyped]

from hubbub.testing import HubProcess
from tests.programs import WAIT

from .celery_workers import worker

kombu: Any = import_module("kombu")  # its types are partial
pytestmark = pytest.mark.usefixtures("celery_connections")


def url(hub: HubProcess) -> str:
    return f"amqp://guest:guest@127.0.0.1:{hub.port('AMQP')}//"


def settings_for(hub: HubProcess, folder: Path) -> dict[str, Any]:
    """Celery's settings that keep the applications of tests apart on one virtual host."""
    return {
        "broker_url": url(hub),
        "result_backend": "rpc://",
        "task_default_queue": folder.name,
        "control_exchange": f"{folder.name}.pidbox",
        "event_exchange": f"{folder.name}.events",
    }


@pytest.fixture(scope="module")
def app(
    hub: HubProcess, celery_connections: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Celery]:
    """An application whose results come by rpc://, with a worker of two processes."""
    folder = tmp_path_factory.mktemp("rpc")
    with worker(folder, settings_for(hub, folder), "--concurrency=2", "-E") as (app, _):
        yield app
        close_results(app)


def close_results(app: Celery) -> None:
    """Close the connection by which rpc:// hears of results: nothing of Celery's does."""
    app.backend.result_consumer.stop()


def send(app: Celery, name: str, *arguments: Any, **options: Any) -> Any:
    return app.tasks[name].apply_async(arguments, **options)


def test_results(app: Celery) -> None:
    results = [send(app, "add", number, 10) for number in range(100)]
    assert [result.get(timeout=WAIT) for result in results] == list(range(10, 110))


def test_an_error(app: Celery) -> None:
    with pytest.raises(ValueError, match="as asked"):
        send(app, "fail").get(timeout=WAIT)


def test_retries(app: Celery) -> None:
    result = send(app, "flaky", 3)
    assert result.get(timeout=WAIT) == {"retries": 3, "id": result.id}


def test_eta_and_expiry(app: Celery) -> None:
    due = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
    result = send(app, "add", 1, 2, eta=due)
    assert result.get(timeout=WAIT) == 3
    assert dt.datetime.now(dt.UTC) >= due


def test_chain_and_group(app: Celery) -> None:
    add = app.tasks["add"]
    assert chain(add.s(1, 2), add.s(3), add.s(4))().get(timeout=WAIT) == 10
    assert group(add.s(n, n) for n in range(5))().get(timeout=WAIT) == [0, 2, 4, 6, 8]


def test_remote_control(app: Celery) -> None:
    (answer,) = app.control.ping(timeout=WAIT, limit=1)
    ((node, pong),) = answer.items()
    assert pong == {"ok": "pong"}
    inspect = app.control.inspect([node], timeout=WAIT, limit=1)
    assert "add" in inspect.registered()[node]
    stats = inspect.stats()[node]
    assert stats["broker"]["transport"] == "amqp"
    assert stats["pool"]["max-concurrency"] == 2
    far = send(app, "add", 1, 2, countdown=600)
    app.control.revoke(far.id, reply=True, timeout=WAIT, limit=1)
    assert far.id in inspect.revoked()[node]
    (grown,) = app.control.pool_grow(1, [node], reply=True, timeout=WAIT, limit=1)
    assert "ok" in grown[node]


def test_events(app: Celery) -> None:
    sent: list[Any] = []
    seen: list[dict[str, Any]] = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"task-succeeded": seen.append})
        receiver.on_consume_ready = lambda *_, **__: sent.append(send(app, "add", 1, 2))
        for _ in receiver.itercapture(limit=None, timeout=WAIT, wakeup=False):
            if sent[0].id in [event["uuid"] for event in seen]:
                break
    assert seen[-1]["result"] == "3"


def test_a_chord(hub: HubProcess, tmp_path: Path) -> None:
    """Celery refuses chords with rpc://; their results go by files here."""
    results = tmp_path / "results"
    results.mkdir()
    settings = settings_for(hub, tmp_path) | {
        "result_backend": results.as_uri(),
        "result_chord_retry_interval": 0.2,
    }
    with worker(tmp_path, settings, "--pool=solo") as (app, _):
        add, total = app.tasks["add"], app.tasks["total"]
        assert chord((add.s(n, n) for n in range(5)), total.s())().get(timeout=WAIT) == 20


def test_a_worker_that_dies(hub: HubProcess, tmp_path: Path) -> None:
    """What a killed worker had not acknowledged goes to the next one."""
    settings = settings_for(hub, tmp_path) | {
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
    }
    marker = tmp_path / "started"
    options = ("--pool=solo", "--hostname=first@here")
    with worker(tmp_path, settings, *options, dies=True) as (app, first):
        result = send(app, "kill_worker_once", str(marker))
        assert first.wait() == -signal.SIGKILL
    assert marker.exists()
    with worker(tmp_path, settings, "--pool=solo", "--hostname=second@here"):
        assert result.get(timeout=WAIT) == "redelivered"
    close_results(app)


def test_kombu(hub: HubProcess, name: str) -> None:
    exchange = kombu.Exchange(name, type="topic", durable=True)
    queues = [
        kombu.Queue(
            f"{name}-{key}", exchange, routing_key=key, queue_arguments={"x-expires": 60000}
        )
        for key in ("orders.*", "#")
    ]
    received: list[tuple[str, Any, dict[str, Any]]] = []

    def take(body: Any, message: Any) -> None:
        received.append((message.delivery_info["routing_key"], body, message.headers))
        if message.delivery_info["redelivered"]:
            message.ack()
        else:
            message.requeue()

    with kombu.Connection(
        url(hub), heartbeat=10, transport_options={"confirm_publish": True}
    ) as connection:
        assert connection.transport.driver_type == "amqp"
        with connection.Producer(serializer="json") as producer:
            for key in ("orders.new", "users.new"):
                producer.publish(
                    {"key": key}, exchange=exchange, routing_key=key, declare=queues,
                    headers={"x": 1}, priority=3, compression="zlib", retry=True,
                )  # fmt: skip
        with connection.Consumer(queues, callbacks=[take]):
            while len(received) < 6:
                connection.drain_events(timeout=WAIT)
    assert sorted(key for key, _, _ in received) == ["orders.new"] * 4 + ["users.new"] * 2
    assert all(body == {"key": key} and headers["x"] == 1 for key, body, headers in received)
