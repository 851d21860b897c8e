"""The Celery application of the tests: run by a worker process and used by its client."""

import os

from celery import Celery  # type: ignore[import-untyped]

app = Celery("tests", broker=os.environ["BROKER_URL"], backend="rpc://")
app.conf.task_default_queue = os.environ["QUEUE_NAME"]
app.conf.task_acks_late = True
app.conf.broker_connection_retry_on_startup = True


@app.task  # type: ignore[untyped-decorator]
def add(x: int, y: int) -> int:
    return x + y


@app.task  # type: ignore[untyped-decorator]
def divide(x: int, y: int) -> float:
    return x / y


@app.task(bind=True, max_retries=5)  # type: ignore[untyped-decorator]
def flaky(self, failures: int) -> int:  # type: ignore[no-untyped-def]
    """Fail so many times, and tell how often."""
    if self.request.retries < failures:
        raise self.retry(countdown=0.05)
    return int(self.request.retries)
