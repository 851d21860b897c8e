"""Mosquitto as a bridge to hubbub: what is published at one broker is seen at the other, once."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubbub.testing import HubProcess
from tests.programs import program, run, running

CONFIG = """
listener {own} 127.0.0.1
allow_anonymous true
persistence false
connection {name}
address 127.0.0.1:{hub}
bridge_protocol_version {version}
remote_clientid {name}
cleansession {clean}
restart_timeout 1
topic {name}/out/# out 2
topic {name}/in/# in 2
topic {name}/both/# both 1
topic # both 2 {name}/local/ {name}/remote/
"""


@pytest.fixture(
    params=[
        ("mqttv31", True),
        ("mqttv311", False),
        ("mqttv50", False),
    ],
    ids=["3.1", "3.1.1", "5.0"],
)
def bridge(
    request: pytest.FixtureRequest, hub: HubProcess, name: str, tmp_path: Path
) -> Iterator[int]:
    """The port of a Mosquitto that is connected to the hub."""
    version, clean = request.param
    with socket.create_server(("127.0.0.1", 0)) as taken:
        own = taken.getsockname()[1]
    path = tmp_path / "mosquitto.conf"
    path.write_text(
        CONFIG.format(
            own=own, hub=hub.port("MQTT"), name=name, version=version,
            clean=str(clean).lower(),
        )
    )  # fmt: skip
    with running([program("mosquitto"), "-v", "-c", str(path)]) as mosquitto:
        for _ in range(3):
            mosquitto.until("Received SUBACK")
        yield own


def test_both_directions(bridge: int, hub: HubProcess, name: str) -> None:
    publish, subscribe = program("mosquitto_pub"), program("mosquitto_sub")
    here, there = (["-h", "127.0.0.1", "-p", str(port)] for port in (bridge, hub.port("MQTT")))
    watch = ["stdbuf", "-oL", subscribe, "-d", "-q", "2", "-t", f"{name}/#", "-F", "=%t=%q=%p"]
    with running([*watch, *here]) as local, running([*watch, *there]) as remote:
        local.until("SUBACK")
        remote.until("SUBACK")
        for number, (publisher, at_bridge, at_hub, qos) in enumerate(
            (
                (here, "out/a", "out/a", 2),
                (there, "in/a", "in/a", 2),
                (here, "both/a", "both/a", 1),
                (there, "both/a", "both/a", 1),
                (here, "local/a/b", "remote/a/b", 2),
                (there, "local/a/b", "remote/a/b", 2),
                (here, "both/b", "both/b", 0),
                (there, "in/b", "in/b", 0),
            )
        ):
            topic = f"{name}/{at_bridge if publisher is here else at_hub}"
            run([publish, *publisher, "-t", topic, "-q", str(qos), "-m", str(number)])
            # Nothing comes twice, or the next one would be it.
            assert local.until("=") == f"={name}/{at_bridge}={qos}={number}"
            assert remote.until("=") == f"={name}/{at_hub}={qos}={number}"


def test_retained(bridge: int, hub: HubProcess, name: str) -> None:
    publish, subscribe = program("mosquitto_pub"), program("mosquitto_sub")
    here, there = (["-h", "127.0.0.1", "-p", str(port)] for port in (bridge, hub.port("MQTT")))
    one = ["-C", "1", "-W", "20", "-F", "%r %p"]
    with running(["stdbuf", "-oL", subscribe, *there, "-d", "-t", f"{name}/out/#"]) as remote:
        remote.until("SUBACK")
        run([publish, *here, "-t", f"{name}/out/kept", "-q", "1", "-r", "-m", "kept"])
        remote.until("kept")
    assert run([subscribe, *there, "-t", f"{name}/out/kept", *one]).stdout == b"1 kept\n"


def test_the_hub_knows_whether_it_is_connected(bridge: int, hub: HubProcess, name: str) -> None:
    state = f"$SYS/broker/connection/{name}/state"
    there = ["-h", "127.0.0.1", "-p", str(hub.port("MQTT"))]
    command = [program("mosquitto_sub"), *there, "-t", state, "-C", "1", "-W", "20"]
    assert run(command).stdout == b"1\n"
