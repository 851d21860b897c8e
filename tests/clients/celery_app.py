"""A Celery application, and its worker: `python celery_app.py FOLDER OPTION…`."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from celery import Celery, Task  # type: ignore[import-untyped]


def make_app(folder: Path) -> Celery:
    """Make the application that the file `celery.json` of a folder configures."""
    app = Celery("clients", set_as_current=False)
    app.conf.update(json.loads((folder / "celery.json").read_text()))
    app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=False)

    def task(function: Any, **options: Any) -> None:
        app.task(function, name=function.__name__, **options)

    task(add)
    task(total)
    task(fail)
    task(flaky, bind=True, max_retries=5)
    task(kill_worker_once, bind=True)
    return app


def add(x: int, y: int) -> int:
    return x + y


def total(numbers: list[int]) -> int:
    return sum(numbers)


def fail() -> None:
    raise ValueError("as asked")


def flaky(self: Task, failures: int) -> dict[str, Any]:
    """Fail so many times, then say how often it was tried and how it was delivered."""
    if self.request.retries < failures:
        raise self.retry(countdown=0.2)
    return {"retries": self.request.retries, "id": self.request.id}


def kill_worker_once(self: Task, marker: str) -> str:
    """End the worker as `kill -9` does; at the second time, return."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "redelivered" if self.request.delivery_info["redelivered"] else "sent again"


if __name__ == "__main__":
    make_app(Path(sys.argv[1])).worker_main(["worker", "--loglevel=INFO", *sys.argv[2:]])
