"""Long polls: what wakes them, and what ends them."""

import json
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from hubbub.config import load_config
from hubbub.testing.hub import serve_in_thread

from .conftest import SETTINGS, SqsHub
from .helpers import bodies, counts, receive
from .wire import Connection

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class Poll(threading.Thread):
    """A receive that waits, in a thread of its own."""

    def __init__(self, hub: SqsHub, url: str, **options: Any) -> None:
        super().__init__(daemon=True)
        self._client = hub.client()
        self._url = url
        self._options = {"WaitTimeSeconds": 20, **options}
        self.found: list[Any] = []
        self.seconds = 0.0
        self.start()
        until_waiting(hub, url)

    def run(self) -> None:
        begin = time.monotonic()
        self.found = receive(self._client, self._url, **self._options)
        self.seconds = time.monotonic() - begin

    def result(self) -> list[str]:
        self.join(15)
        assert not self.is_alive()
        return bodies(self.found)


def until_waiting(hub: SqsHub, url: str, number: int = 1) -> None:
    """Return when so many receives wait at a queue."""
    name = url.rpartition("/")[2]

    def waiting() -> int:
        queue = hub.served.hub.engine.find_queue("default", name)
        return len(queue._line)  # type: ignore[union-attr]

    deadline = time.monotonic() + 10
    while hub.served.call(waiting) < number:
        assert time.monotonic() < deadline


def test_woken_at_once_by_a_send(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    poll = Poll(hub, queue)
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    assert poll.result() == ["x"]
    assert poll.seconds < 5


def test_woken_by_a_delay_that_ends(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    poll = Poll(hub, queue)
    sqs.send_message(QueueUrl=queue, MessageBody="x", DelaySeconds=1)
    assert poll.result() == ["x"]
    assert 0.5 < poll.seconds < 5


def test_woken_by_a_visibility_timeout(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    receive(sqs, queue, VisibilityTimeout=1)
    poll = Poll(hub, queue)
    assert poll.result() == ["x"]
    assert poll.seconds < 5


def test_woken_by_a_group_that_opens(hub: SqsHub, sqs: "SQSClient", fifo: str) -> None:
    for body in "ab":
        sqs.send_message(QueueUrl=fifo, MessageBody=body, MessageGroupId="g")
    (first,) = receive(sqs, fifo, 1)
    poll = Poll(hub, fifo)
    sqs.delete_message(QueueUrl=fifo, ReceiptHandle=first["ReceiptHandle"])
    assert poll.result() == ["b"]


def test_an_empty_answer_after_the_time(sqs: "SQSClient", make_queue: Callable[..., str]) -> None:
    url = make_queue(ReceiveMessageWaitTimeSeconds="1")
    begin = time.monotonic()
    assert receive(sqs, url) == []
    assert 0.9 < time.monotonic() - begin < 5
    begin = time.monotonic()
    assert receive(sqs, url, WaitTimeSeconds=0) == []
    assert time.monotonic() - begin < 0.9


def test_waiting_clients_are_served_in_turn(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    polls = []
    for number in range(1, 4):
        polls.append(Poll(hub, queue))
        until_waiting(hub, queue, number)
    for body in "abc":
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    assert [poll.result() for poll in polls] == [["a"], ["b"], ["c"]]


def test_nothing_is_leased_to_a_client_that_went_away(
    hub: SqsHub, sqs: "SQSClient", queue: str
) -> None:
    with Connection(hub.url) as connection:
        connection.send_json("ReceiveMessage", {"QueueUrl": queue, "WaitTimeSeconds": 20})
        until_waiting(hub, queue)
    poll = Poll(hub, queue)  # behind the one that is gone, or alone
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    assert poll.result() == ["x"]
    assert poll.found[0]["Attributes"]["ApproximateReceiveCount"] == "1"
    assert counts(sqs, queue) == (0, 1, 0)


def test_a_deleted_queue_ends_the_wait(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    with Connection(hub.url) as connection:
        connection.send_json("ReceiveMessage", {"QueueUrl": queue, "WaitTimeSeconds": 20})
        until_waiting(hub, queue)
        sqs.delete_queue(QueueUrl=queue)
        answer = connection.read()
        assert answer.status == 400
        assert json.loads(answer.body)["__type"] == "com.amazonaws.sqs#QueueDoesNotExist"


def test_requests_behind_a_long_poll_are_answered_after_it(
    hub: SqsHub, sqs: "SQSClient", queue: str
) -> None:
    with Connection(hub.url) as connection:
        connection.send_json("ReceiveMessage", {"QueueUrl": queue, "WaitTimeSeconds": 20})
        connection.send_json("ListQueues", {"QueueNamePrefix": "no-such-queue"})
        until_waiting(hub, queue)
        sqs.send_message(QueueUrl=queue, MessageBody="x")
        assert json.loads(connection.read().body)["Messages"][0]["Body"] == "x"
        assert json.loads(connection.read().body) == {}


def test_stopping_answers_what_waits(boto_session: Any) -> None:
    with serve_in_thread(load_config(settings=SETTINGS)) as served:
        hub = SqsHub(served, None, boto_session)  # type: ignore[arg-type]
        url = hub.client().create_queue(QueueName="q")["QueueUrl"]
        connection = Connection(hub.url)
        connection.send_json("ReceiveMessage", {"QueueUrl": url, "WaitTimeSeconds": 20})
        until_waiting(hub, url)
        begin = time.monotonic()
    with connection:
        answer = connection.read()
        assert answer.status == 200
        assert answer.body == b"{}"
        assert time.monotonic() - begin < 5
        with pytest.raises((EOFError, ConnectionError)):
            connection.read()
