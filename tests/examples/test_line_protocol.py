"""The example of somebody else's plugin, installed as somebody else would."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "line-protocol"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Install the example into a folder of its own, metadata and all."""
    site = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--disable-pip-version-check", "--root-user-action=ignore", "--target", site, EXAMPLE],
        check=True,
    )  # fmt: skip
    return {**os.environ, "PYTHONPATH": str(site)}


def hubbub(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "hubbub", *arguments]


@pytest.fixture(scope="module")
def address(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, int]]:
    """Serve the example alone; yield where it listens."""
    folder = tmp_path_factory.mktemp("hub")
    config = folder / "hubbub.toml"
    config.write_text(
        'admin.enabled = false\nplugins.enable = ["line"]\nline.listener.bind = ["127.0.0.1:0"]\n'
    )
    with subprocess.Popen(
        hubbub("serve", "--config", str(config), "--data", str(folder / "data")),
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"tcp://(127\.0\.0\.1):(\d+)", line):
                yield found[1], int(found[2])
                break
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


def test_it_is_listed(environment: dict[str, str]) -> None:
    listed = subprocess.run(
        hubbub("plugins"), env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert re.search(r"line +1\.0 +hubbub-line +loaded +config, servers", listed)


def test_two_clients_meet(address: tuple[str, int]) -> None:
    with (
        socket.create_connection(address, timeout=10) as one,
        socket.create_connection(address, timeout=10) as two,
    ):
        reader, answers = one.makefile(), two.makefile()
        one.sendall(b"SUB room/#\n")
        assert reader.readline() == "OK\n"
        two.sendall("PUB room/a hello, wörld\nPUB elsewhere x\nSUB a+b\nDANCE\n".encode())
        assert answers.readline() == "OK\n"
        assert answers.readline() == "OK\n"
        assert answers.readline().startswith("ERR a wildcard must be a whole level")
        assert answers.readline() == "ERR the commands are PUB and SUB\n"
        assert reader.readline() == "MSG room/a hello, wörld\n"


def test_an_endless_line_ends_the_connection(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=10) as client:
        try:
            client.sendall(b"x" * 1_000_000)
            assert client.recv(1) == b""
        except ConnectionError:
            pass
