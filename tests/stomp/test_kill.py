"""What was confirmed outlives `kill -9` of the process."""

from __future__ import annotations

from pathlib import Path

from hubbub.testing.process import HubProcess
from hubbub_stomp.frames import Frame

from .conftest import Client

CONFIG = """
[admin]
enabled = false
[plugins]
enable = ["stomp"]
[stomp.listener]
bind = ["127.0.0.1:0"]
"""


def connect(hub: HubProcess) -> Client:
    client = Client(("127.0.0.1", hub.port("STOMP")))
    client.connect()
    return client


def test_kill_in_the_middle(tmp_path: Path) -> None:
    with HubProcess(tmp_path, CONFIG) as hub:
        client = connect(hub)
        for number in range(2000):
            client.send(
                "SEND", b"%d" % number, destination="/queue/q", persistent="true",
                receipt=str(number),
            )  # fmt: skip
        confirmed = [int(client.expect("RECEIPT").headers["receipt-id"]) for _ in range(700)]
        hub.kill()
        client.close()
        assert confirmed == list(range(700))

        hub.start()
        client = connect(hub)
        client.send("SUBSCRIBE", destination="/queue/q", id="1", ack="client-individual")
        frames: list[Frame] = [client.expect("MESSAGE") for _ in range(700)]
        assert [int(frame.body) for frame in frames] == confirmed
        for frame in frames[:300]:
            client.send("ACK", id=frame.headers["ack"])
        client.confirmed_among_messages("ACK", id=frames[300].headers["ack"])
        hub.kill()
        client.close()

        hub.start()
        client = connect(hub)
        client.send("SUBSCRIBE", destination="/queue/q", id="1")
        assert int(client.expect("MESSAGE").body) == 301
        client.close()
