"""The amqp-tools of librabbitmq (C) by their address alone."""

import time

import pytest

from hubbub.testing import HubProcess
from tests.programs import WAIT, program, run, running


@pytest.fixture
def url(hub: HubProcess) -> str:
    return f"--url={hub.url('AMQP')}"


def test_a_queue(url: str, name: str) -> None:
    declared = run([program("amqp-declare-queue"), url, "-d", "-q", name])
    assert declared.stdout.decode().strip() == name
    get = [program("amqp-get"), url, "-q", name]
    run(get, expect=[2])  # empty
    publish = [program("amqp-publish"), url, "-r", name, "-p", "-C", "text/plain"]
    run([*publish, "-b", "größe"])
    run([*publish, "-H", "a: b"], given=b"x" * 300_000)  # in several frames
    assert run(get).stdout.decode() == "größe"
    assert run(get).stdout == b"x" * 300_000
    run([*publish, "-l"], given=b"one\ntwo\n")
    deleted = run([program("amqp-delete-queue"), url, "-q", name])
    assert deleted.stdout.split() == [b"2"]


def test_consume(url: str, name: str) -> None:
    run([program("amqp-declare-queue"), url, "-q", name])
    publish = [program("amqp-publish"), url, "-r", name]
    for number in range(5):
        run([*publish, "-b", f"message {number}\n"])
    consumed = run([program("amqp-consume"), url, "-q", name, "-p", "1", "-c", "5", "cat"])
    assert consumed.stdout.decode().splitlines() == [f"message {number}" for number in range(5)]


def test_an_exchange(url: str, name: str) -> None:
    consume = [
        program("amqp-consume"), url, "-e", "amq.topic", "-r", f"{name}.*", "-c", "1", "cat",
    ]  # fmt: skip
    publish = [program("amqp-publish"), url, "-e", "amq.topic", "-r", f"{name}.x", "-b", "hello"]
    with running(consume) as consumer:
        assert "amq.gen-" in consumer.until("Server provided queue name")
        late = time.monotonic() + WAIT
        while consumer.process.poll() is None:  # it doesn't say when the queue is bound
            assert time.monotonic() < late
            run(publish)
        assert consumer.line().startswith("hello")


def test_errors(hub: HubProcess, url: str, name: str) -> None:
    refused = run([program("amqp-get"), url, "-q", name], expect=[1])
    assert f"NOT_FOUND - no queue '{name}' in vhost '/'" in refused.stderr.decode()
    server = ["--server=127.0.0.1", f"--port={hub.port('AMQP')}"]
    stranger = ["--username=nobody", "--password=x"]
    login = run([program("amqp-get"), "-q", name, *server, *stranger], expect=[1])
    assert "ACCESS_REFUSED" in login.stderr.decode()
