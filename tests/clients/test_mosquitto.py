"""Mosquitto's command line by its address alone."""

import pytest

from hubbub.testing import HubProcess
from tests.programs import program, run, running

VERSIONS = ["mqttv31", "mqttv311", "mqttv5"]


@pytest.fixture(params=VERSIONS)
def options(hub: HubProcess, request: pytest.FixtureRequest) -> list[str]:
    """Address and version, as both programs take them."""
    return ["-h", "127.0.0.1", "-p", str(hub.port("MQTT")), "-V", request.param]


def test_publish_and_subscribe(options: list[str], name: str) -> None:
    publish, subscribe = program("mosquitto_pub"), program("mosquitto_sub")
    topic = f"{name}/room/1"
    subscriber = [
        subscribe, *options, "-d", "-q", "2", "-t", f"{name}/#", "-C", "4", "-W", "20",
        "-F", "%t|%q|%r|%l|%p",
    ]  # fmt: skip
    with running(["stdbuf", "-oL", *subscriber]) as receiving:
        receiving.until("SUBACK")
        for qos in ("0", "1", "2"):
            run([publish, *options, "-t", topic, "-q", qos, "-m", f"größe {qos}"])
            assert receiving.until("|") == f"{topic}|{qos}|0|9|größe {qos}"
        run([publish, *options, "-t", topic, "-q", "1", "-s"], given=b"whole\ninput")
        assert receiving.until("|") == f"{topic}|1|0|11|whole"
        receiving.until("DISCONNECT")
        assert receiving.wait() == 0


def test_lines_of_a_pipe(options: list[str], name: str) -> None:
    publish, subscribe = program("mosquitto_pub"), program("mosquitto_sub")
    lines = [f"line {number}" for number in range(100)]
    keep = ["-i", name, "-c", *(["-x", "60"] if options[-1] == "mqttv5" else [])]
    run([subscribe, *options, *keep, "-q", "1", "-t", name, "-E"])
    run([publish, *options, "-t", name, "-q", "1", "-l"], given="\n".join(lines) + "\n")
    received = run([subscribe, *options, *keep, "-q", "1", "-t", name, "-C", "100", "-W", "20"])
    assert received.stdout.decode().splitlines() == lines


def test_retained(options: list[str], name: str) -> None:
    publish, subscribe = program("mosquitto_pub"), program("mosquitto_sub")
    run([publish, *options, "-t", name, "-r", "-q", "1", "-m", "kept"])
    one = [subscribe, *options, "-t", name, "-C", "1", "-W", "20", "-F", "%r %p"]
    assert run(one).stdout == b"1 kept\n"
    run([publish, *options, "-t", name, "-r", "-q", "1", "-n"])
    run([publish, *options, "-t", f"{name}/later", "-r", "-q", "1", "-m", "later"])
    assert run([*one, "-t", f"{name}/later"]).stdout == b"1 later\n"


def test_will(options: list[str], name: str) -> None:
    subscribe = program("mosquitto_sub")
    wait_for_will = [subscribe, *options, "-d", "-t", f"{name}/will", "-C", "1", "-W", "20"]
    with running(["stdbuf", "-oL", *wait_for_will]) as watcher:
        watcher.until("SUBACK")
        device = [
            subscribe, *options, "-d", "-t", name, "--will-topic", f"{name}/will",
            "--will-payload", "lost", "--will-qos", "1",
        ]  # fmt: skip
        with running(["stdbuf", "-oL", *device]) as lost:
            lost.until("SUBACK")
            lost.process.kill()
            watcher.until("lost")
        assert watcher.wait() == 0


def test_properties(hub: HubProcess, name: str) -> None:
    publish, subscribe = program("mosquitto_pub"), program("mosquitto_sub")
    options = ["-h", "127.0.0.1", "-p", str(hub.port("MQTT")), "-V", "mqttv5"]
    subscriber = [
        subscribe, *options, "-d", "-t", name, "-C", "1", "-W", "20", "-F", "|%C|%R|%D|%P|%p",
    ]  # fmt: skip
    with running(["stdbuf", "-oL", *subscriber]) as receiving:
        receiving.until("SUBACK")
        properties = [
            ("content-type", "text/plain"), ("response-topic", "replies"),
            ("correlation-data", "c1"), ("user-property", "room", "7"),
        ]  # fmt: skip
        given = [part for each in properties for part in ("-D", "publish", *each)]
        run([publish, *options, "-t", name, "-q", "1", "-m", "hello", *given])
        assert receiving.until("|") == "|text/plain|replies|c1|room:7|hello"
        assert receiving.wait() == 0


def test_a_queue(hub: HubProcess, options: list[str], name: str) -> None:
    publish, subscribe = program("mosquitto_pub"), program("mosquitto_sub")
    address = f"$queue/{name}"
    run([publish, *options, "-t", address, "-q", "1", "-m", "waits for a consumer"])
    taken = run([subscribe, *options, "-t", address, "-q", "1", "-C", "1", "-W", "20"])
    assert taken.stdout == b"waits for a consumer\n"
