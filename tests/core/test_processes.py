"""`hubbub serve` as a process: how it starts, how it can't, and how it stops."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubbub.testing import HubProcess

QUIET = 'plugins.enable = []\nadmin.listener.bind = ["127.0.0.1:0"]\n'

STUBBORN = """
import time
import trio
from hubbub import Endpoint, Server, hookimpl

class {name}:
    @hookimpl
    def hubbub_servers(self, hub):
        async def serve(task_status):
            task_status.started([Endpoint("Stubborn", "tcp://127.0.0.1:1", "none")])
            await hub.shutdown.wait()
            print("asked to stop", flush=True)
            {what}

        yield Server("stubborn", serve)
"""


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hubbub", *arguments],
        check=False, capture_output=True, text=True, cwd=folder, timeout=30,
    )  # fmt: skip


@contextmanager
def stubborn(folder: Path, what: str, config: str) -> Iterator[subprocess.Popen[str]]:
    """Serve with a plugin whose server does `what` when it should stop."""
    site = folder / "site"
    info = site / "stubborn-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stubborn\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[hubbub]\nstubborn = stubborn_plugin:Stubborn\n")
    (site / "stubborn_plugin.py").write_text(STUBBORN.format(name="Stubborn", what=what))
    (folder / "hubbub.toml").write_text(f'plugins.enable = ["stubborn"]\n{config}')
    with subprocess.Popen(
        [sys.executable, "-m", "hubbub", "serve"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site)},
    ) as process:  # fmt: skip
        try:
            wait_for(process, "Stubborn")
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"the process ended without {text!r}")


def test_sigterm_stops_it_and_it_starts_again(tmp_path: Path) -> None:
    with HubProcess(tmp_path, QUIET) as hub:
        assert hub.stop() == 0
        hub.start()
        assert hub.stop() == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(tmp_path: Path, second: signal.Signals) -> None:
    config = "hub.stop_deadline = 1000\nadmin.enabled = false"
    with stubborn(tmp_path, "await trio.sleep_forever()", config) as process:
        process.send_signal(signal.SIGTERM)
        wait_for(process, "asked to stop")
        process.send_signal(second)
        assert process.wait(timeout=10) == 0


def test_the_stop_deadline_holds(tmp_path: Path) -> None:
    config = "hub.stop_deadline = 0.2\nadmin.enabled = false"
    with stubborn(tmp_path, "await trio.sleep_forever()", config) as process:
        process.send_signal(signal.SIGTERM)
        wait_for(process, "asked to stop")
        assert process.wait(timeout=10) == 0


def test_the_stop_deadline_holds_for_a_loop_that_hangs(tmp_path: Path) -> None:
    config = "hub.stop_deadline = 0.1\nadmin.enabled = false"
    with stubborn(tmp_path, "time.sleep(1000)", config) as process:
        process.send_signal(signal.SIGTERM)
        wait_for(process, "asked to stop")
        started = time.monotonic()
        assert process.wait(timeout=20) == 1
        assert time.monotonic() - started > 1
        assert process.stderr is not None
        assert process.stderr.readlines()[-1].startswith("error: hubbub did not stop in time")


def test_two_hubs_on_one_folder_are_refused(tmp_path: Path) -> None:
    with HubProcess(tmp_path, QUIET) as first:
        second = run("serve", "--config", "hubbub.toml", "--data", "data", folder=tmp_path)
        assert second.returncode == 1
        assert second.stdout == ""
        (line,) = second.stderr.splitlines()
        assert line.startswith("error: the data folder data is in use by another hubbub")
        assert str(first.pid) in line


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_port_in_use_is_explained(tmp_path: Path, form: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "hubbub.toml").write_text(
            f"plugins.enable = []\nlog.format = '{form}'\n"
            f'admin.listener.bind = ["127.0.0.1:{port}"]'
        )
        result = run("serve", folder=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1] == (
        f"error: plugin 'admin': server 'admin' can't start: cannot listen on 127.0.0.1:{port}: "
        "Address already in use. Stop the program that listens there, or choose another address "
        "for this server in the configuration (port 0 takes a free one). It is admin.listener.bind "
        "there; in the environment, HUBBUB_ADMIN__LISTENER__BIND='[\"127.0.0.1:0\"]' does."
    )


def test_a_data_folder_that_can_not_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "hubbub.toml").write_text(QUIET)
    result = run("serve", "--data", "file/data", folder=tmp_path)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert "file/data" in line


def test_an_unknown_engine_is_explained(tmp_path: Path) -> None:
    (tmp_path / "hubbub.toml").write_text(f'hub.engine = "embeded"\n{QUIET}')
    result = run("serve", folder=tmp_path)
    assert result.returncode == 1
    assert result.stderr == "error: no engine 'embeded'; there are: embedded\n"
