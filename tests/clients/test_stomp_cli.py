"""The command line of stomp.py by its address alone."""

from pathlib import Path

from hubbub.testing import HubProcess
from tests.programs import program, run, running


def test_send_and_listen(hub: HubProcess, name: str, tmp_path: Path) -> None:
    stomp = [program("stomp"), "-H", "127.0.0.1", "-P", str(hub.port("STOMP")), "-S", "1.2"]
    script = tmp_path / "commands"
    script.write_text(
        f"send /queue/{name} hello from a file\n"
        f"begin\nsend /queue/{name} undone\nabort\n"
        f"begin\nsend /queue/{name} in a transaction\ncommit\n"
        "quit\n"
    )
    run([*stomp, "-F", str(script)])
    with running([*stomp, "-L", f"/queue/{name}"]) as listener:
        assert "hello from a file" in listener.until("hello")
        while "in a transaction" not in (line := listener.line()):
            assert "undone" not in line
