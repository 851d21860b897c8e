"""kombu's and Celery's transport for SQS by its address alone."""

import datetime as dt
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from celery import Celery, chain, chord, group  # type: ignore[import-untyped]

from hubbub.testing import HubProcess
from tests.programs import WAIT

from .celery_workers import worker

kombu: Any = import_module("kombu")  # its types are partial
pytestmark = pytest.mark.usefixtures("celery_connections")


def transport(hub: HubProcess) -> dict[str, Any]:
    """How kombu and Celery are told of the endpoint."""
    host = hub.url("SQS").partition("://")[2]
    return {
        "url": f"sqs://test:test@{host}",
        "options": {"region": "us-east-1", "is_secure": False, "wait_time_seconds": 1},
    }


@pytest.fixture(scope="module")
def app(
    hub: HubProcess, celery_connections: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Celery]:
    """An application with a worker."""
    folder = tmp_path_factory.mktemp("celery")
    results = folder / "results"
    results.mkdir()
    address = transport(hub)
    settings = {
        "broker_url": address["url"],
        "broker_transport_options": address["options"],
        "result_backend": results.as_uri(),
        "task_default_queue": folder.name,
    }
    with worker(folder, settings, "--pool=solo") as (app, _):
        yield app


def send(app: Celery, name: str, *arguments: Any, **options: Any) -> Any:
    return app.tasks[name].apply_async(arguments, **options)


def test_results(app: Celery) -> None:
    results = [send(app, "add", number, 10) for number in range(20)]
    assert [result.get(timeout=WAIT) for result in results] == list(range(10, 30))


def test_an_error(app: Celery) -> None:
    with pytest.raises(ValueError, match="as asked"):
        send(app, "fail").get(timeout=WAIT)


def test_retries(app: Celery) -> None:
    result = send(app, "flaky", 3)
    assert result.get(timeout=WAIT) == {"retries": 3, "id": result.id}


def test_eta(app: Celery) -> None:
    due = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
    result = send(app, "add", 1, 2, eta=due)
    assert result.get(timeout=WAIT) == 3
    assert result.date_done.replace(tzinfo=dt.UTC) >= due


def test_canvas(app: Celery) -> None:
    add, total = app.tasks["add"], app.tasks["total"]
    assert chain(add.s(1, 2), add.s(3), add.s(4))().get(timeout=WAIT) == 10
    assert group(add.s(n, n) for n in range(5))().get(timeout=WAIT) == [0, 2, 4, 6, 8]
    assert chord((add.s(n, n) for n in range(5)), total.s())().get(timeout=WAIT) == 20


def test_kombu(hub: HubProcess, name: str) -> None:
    address = transport(hub)
    with kombu.Connection(address["url"], transport_options=address["options"]) as connection:
        queue = connection.SimpleQueue(name)
        queue.put({"hello": "wörld"}, headers={"a": "b"}, compression="zlib")
        message = queue.get(timeout=WAIT)
        assert message.payload == {"hello": "wörld"}
        assert message.headers["a"] == "b"
        message.reject(requeue=True)
        message = queue.get(timeout=WAIT)
        assert message.payload == {"hello": "wörld"}
        message.ack()
        assert queue.qsize() == 0
        queue.close()


def test_fifo_of_kombu(hub: HubProcess, name: str) -> None:
    address = transport(hub)
    with kombu.Connection(address["url"], transport_options=address["options"]) as connection:
        queue = connection.SimpleQueue(f"{name}.fifo")
        for number in range(3):
            queue.put(number, MessageGroupId="g", MessageDeduplicationId=f"{number}")
        for number in range(3):
            message = queue.get(timeout=WAIT)
            assert message.payload == number
            message.ack()
        queue.close()
