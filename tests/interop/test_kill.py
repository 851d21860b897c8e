"""`kill -9` in the middle of traffic: every confirmed message is accounted for."""

import threading
from pathlib import Path
from typing import Any

import botocore.exceptions

from hubbub.testing import HubProcess
from tests.aws_client import aws_client

from .clients import CONFIG, WAIT, MqttClient, mqtt

ROUTE = """
[[queue]]
name = "routed"

[[route]]
name = "to-queue"
from = "sensors/#"
to = "$queue/routed"
"""


def drain(sqs: Any, url: str) -> list[str]:
    found: list[str] = []
    while True:
        batch = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        if not batch:
            return found
        for message in batch:
            found.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def test_nothing_confirmed_is_lost(tmp_path: Path) -> None:
    with HubProcess(tmp_path, CONFIG + ROUTE) as hub:
        url = aws_client(hub, "sqs").create_queue(QueueName="orders")["QueueUrl"]
        confirmed: list[str] = []
        enough = threading.Event()

        def send() -> None:
            sqs = aws_client(hub, "sqs")
            number = 0
            try:
                while True:
                    sqs.send_message(QueueUrl=url, MessageBody=str(number))
                    confirmed.append(str(number))
                    number += 1
                    if number == 200:
                        enough.set()
            except botocore.exceptions.BotoCoreError:
                pass  # the hub is gone

        sender = threading.Thread(target=send)
        sender.start()
        device = MqttClient(hub, "device")
        sent = {device.send("sensors/t", str(number).encode()): number for number in range(3000)}
        assert enough.wait(2 * WAIT)
        hub.kill()
        device.drop()
        sender.join(WAIT)
        acknowledged = {str(sent[mid]) for mid in device.confirmed()}

        hub.start()
        sqs = aws_client(hub, "sqs")
        url = sqs.get_queue_url(QueueName="orders")["QueueUrl"]
        found = drain(sqs, url)
        assert set(confirmed) <= set(found)
        assert len(found) == len(set(found)) <= len(confirmed) + 1  # one was in flight
        routed = drain(sqs, sqs.get_queue_url(QueueName="routed")["QueueUrl"])
        assert acknowledged <= set(routed)
        assert acknowledged
        assert len(routed) == len(set(routed))


def test_sessions_retained_messages_and_leases_survive(tmp_path: Path) -> None:
    with HubProcess(tmp_path, CONFIG) as hub:
        client = MqttClient(hub, "device", clean=False, manual=True)
        client.subscribe("news/#")
        with mqtt(hub, "editor") as editor:
            editor.publish("news/kept", b"retained", retain=True)
            editor.publish("news/one", b"1", 1)
            editor.publish("news/two", b"2", 2)
        first = client.next()
        assert first.payload == b"retained"
        client.acknowledge(first)
        assert client.next().payload == b"1"
        hub.kill()
        client.drop()
        hub.start()
        with mqtt(hub, "late") as late:
            late.subscribe("news/#")
            assert late.next().payload == b"retained"
        again = MqttClient(hub, "device", clean=False)
        assert again.flags.session_present
        # The acknowledgement of the first may have been on its way to the disk.
        bodies = {again.next().payload, again.next().payload}
        if b"retained" in bodies:
            bodies = bodies - {b"retained"} | {again.next().payload}
        assert bodies == {b"1", b"2"}
        again.close()


def test_a_deleted_message_stays_deleted_and_old_receipts_count(tmp_path: Path) -> None:
    with HubProcess(tmp_path, CONFIG) as hub:
        sqs = aws_client(hub, "sqs")
        url = sqs.create_queue(QueueName="orders")["QueueUrl"]
        for body in ("deleted", "leased"):
            sqs.send_message(QueueUrl=url, MessageBody=body)
        messages: dict[str, str] = {}
        while len(messages) < 2:
            for message in sqs.receive_message(QueueUrl=url)["Messages"]:
                messages[message["Body"]] = message["ReceiptHandle"]
        sqs.delete_message(QueueUrl=url, ReceiptHandle=messages["deleted"])
        hub.kill()
        hub.start()
        sqs = aws_client(hub, "sqs")
        url = sqs.get_queue_url(QueueName="orders")["QueueUrl"]
        sqs.delete_message(QueueUrl=url, ReceiptHandle=messages["leased"])
        assert drain(sqs, url) == []
