"""`hubbub demo`, as a newcomer runs it first."""

import subprocess
import sys
from pathlib import Path


def test_every_scene_is_played(tmp_path: Path) -> None:
    played = subprocess.run(
        [sys.executable, "-m", "hubbub", "demo"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert played.returncode == 0, played.stdout + played.stderr
    assert "every message arrived" in played.stdout
    assert "grüße ☃" in played.stdout
    for scene in ("Two MQTT devices", "A device feeds a boto3 worker", "commands a device",
                  "a message that nobody can handle", "Kinesis: one stream",
                  "SNS topic to", "AMQP: an exchange", "A pika client asks",
                  "STOMP: two clients"):  # fmt: skip
        assert scene in played.stdout
    assert list(tmp_path.iterdir()) == []
