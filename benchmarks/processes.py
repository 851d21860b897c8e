"""Server processes on loopback: start, wait until they accept, read what they use, stop."""

import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

START_DEADLINE = 60.0
STOP_DEADLINE = 20.0
_POLL = 0.002
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


class BenchmarkError(Exception):
    """A server or the load generator didn't do its part; the message says which and why."""


@dataclass(frozen=True)
class Usage:
    """What a process and its descendants have used so far.

    `cpu` is in seconds, user and system, of children that ended too. `memory` is the resident
    set in MB; pages that processes share count once for each.
    """

    cpu: float
    memory: float


@dataclass(frozen=True)
class Launch:
    """How to start a server: the command, and the port it will listen on for each protocol."""

    command: Sequence[str]
    ports: Mapping[str, int]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A server that accepts connections. `ready_seconds` is how long that took from its start."""

    pid: int
    ports: Mapping[str, int]
    ready_seconds: float

    def usage(self) -> Usage:
        """Return what it has used so far."""
        return usage(self.pid)


def usage(pid: int) -> Usage:
    """Return what a process and its descendants have used. One that has ended counts nothing."""
    ticks, pages = 0, 0
    for member in _family(pid):
        try:
            stat = Path(f"/proc/{member}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = stat[stat.rindex(")") + 2 :].split()  # from field 3 of proc(5) on
        ticks += sum(int(value) for value in fields[11:15])  # utime, stime, cutime, cstime
        pages += int(fields[21])
    return Usage(ticks / _TICKS, pages * _PAGE / 1e6)


def machine_cpu() -> float:
    """Return the CPU seconds the whole machine has been busy, with what its host took away."""
    values = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = values
    return (user + nice + system + irq + softirq + steal) / _TICKS


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses now.

    Not one of those that the system gives to who asks for any: somebody else might be given it
    before the server that it is for listens.
    """
    lowest, _ = _EPHEMERAL.read_text().split()
    while True:
        port = random.randrange(1024, int(lowest))
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


@contextmanager
def running(name: str, launch: Launch, folder: Path) -> Iterator[Running]:
    """Run a server in a folder for the length of a with block, its output in `output.log` there."""
    log = folder / "output.log"
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            launch.command,
            cwd=folder,
            env={**os.environ, **launch.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        for port in launch.ports.values():
            _await_port(name, process, port, began + START_DEADLINE, log)
        yield Running(process.pid, launch.ports, time.monotonic() - began)
    finally:
        _stop(process)


def _await_port(
    name: str, process: subprocess.Popen[bytes], port: int, deadline: float, log: Path
) -> None:
    while True:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        try:
            process.wait(_POLL)
        except subprocess.TimeoutExpired:
            if time.monotonic() < deadline:
                continue
        lines = log.read_text(errors="replace").strip().splitlines()
        reason = "ended" if process.returncode is not None else "did not listen"
        raise BenchmarkError(f"{name} {reason}: {' / '.join(lines[-3:])}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    family = _family(process.pid)
    process.terminate()
    try:
        process.wait(STOP_DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in family:  # what a server left behind
        if pid != process.pid and os.path.exists(f"/proc/{pid}"):
            os.kill(pid, 9)


def _family(pid: int) -> list[int]:
    members = [pid]
    for member in members:  # grows while we walk it
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            try:
                members += [int(child) for child in children.read_text().split()]
            except (FileNotFoundError, ProcessLookupError):
                continue
    return members
