"""Programs of others that the tests run: found, started, fed, and ended by a deadline."""

import contextlib
import fcntl
import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

WAIT = 20.0
"""Seconds after which something that should have come has not."""
SCRIPTS = Path(__file__).parent / "clients" / "js"
BOTOCORE = "1.44.8"
"""A botocore whose model of Kinesis has queues; aiobotocore, needed too, wants an older one."""
_INSTALL = 300.0
"""Seconds that npm or pip may take."""

AWS_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def missing(what: str) -> None:
    """End the test that needs what is not there: a skip at home, a failure with CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not installed")
    pytest.skip(f"{what} is not installed")


def program(name: str) -> str:
    """Where a program is: beside this Python, or on the path."""
    beside = Path(sys.executable).parent / name
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))  # where brokers are
    found = str(beside) if beside.exists() else shutil.which(name, path=path)
    if found is None:
        missing(name)
    assert found is not None
    return found


def run(
    command: Sequence[str],
    *,
    given: str | bytes = b"",
    environment: Mapping[str, str] | None = None,
    expect: Sequence[int] = (0,),
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end.

    Args:
        command: the program and its arguments.
        given: its standard input.
        environment: what to add to the environment.
        expect: the exit codes that are right; another one fails the test.
    """
    done = subprocess.run(
        command,
        input=given.encode() if isinstance(given, str) else given,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        check=False,
        timeout=WAIT * 3,
    )
    assert done.returncode in expect, (command, done.returncode, done.stdout, done.stderr)
    return done


class Running:
    """A program that goes on while the test does, and the lines that it writes."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def line(self) -> str:
        """The next line."""
        line = self._lines.get(timeout=WAIT)
        assert line is not None, "the program has ended"
        return line

    def until(self, part: str) -> str:
        """The next line that has this part; those before it are forgotten."""
        seen: list[str] = []
        while True:
            line = self._lines.get(timeout=WAIT)
            assert line is not None, "\n".join(["the program has ended:", *seen])
            if part in line:
                return line
            seen.append(line)

    def write(self, text: str) -> None:
        """Write to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def wait(self) -> int:
        """Wait for its end; return the exit code."""
        return self.process.wait(WAIT)

    def read_to_the_end(self) -> None:
        """Wait until nobody reads its output any more, which may then be closed."""
        self._reader.join(WAIT)


@contextlib.contextmanager
def running(command: Sequence[str], **environment: str) -> Iterator[Running]:
    """Run a program beside the test; it is killed at the end, if it has not ended.

    It is not asked to end: a program that is just ending by itself may hang in its own handler of
    the signal (mosquitto_sub does). A test that cares how its program ends waits for that.
    """
    with subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        program = Running(process)
        try:
            yield program
        finally:
            process.kill()
            program.read_to_the_end()


class JavaScript:
    """The scripts in `SCRIPTS`, with the packages of their lock file.

    Args:
        folder: where the scripts are put beside the packages, since a module's imports are looked
            for in the folders above it alone.
    """

    def __init__(self, folder: Path) -> None:
        self._node = program("node")
        for script in SCRIPTS.glob("*.mjs"):
            shutil.copy(script, folder)
        (folder / "node_modules").symlink_to(javascript_packages())
        self._folder = folder

    def run(self, script: str, **argument: Any) -> Any:
        """Run a script with an argument; return what it prints, both as JSON."""
        return json.loads(run(self._command(script, argument)).stdout)

    def running(self, script: str, **argument: Any) -> contextlib.AbstractContextManager[Running]:
        """Run a script beside the test, with an argument as JSON."""
        return running(self._command(script, argument))

    def _command(self, script: str, argument: Mapping[str, Any]) -> list[str]:
        return [self._node, str(self._folder / f"{script}.mjs"), json.dumps(argument)]


def javascript_packages() -> Path:
    """The folder with npm's packages; installs those of the lock file if they are not there yet."""
    npm = program("npm")
    names = ("package.json", "package-lock.json", ".npmrc")
    digest = hashlib.sha256(b"".join((SCRIPTS / name).read_bytes() for name in names))
    folder, installed = _cache(f"js-{digest.hexdigest()[:16]}")
    with installed as done:
        if not done.exists():
            for name in names:
                shutil.copy(SCRIPTS / name, folder)
            subprocess.run(
                [npm, "ci", "--ignore-scripts"],
                cwd=folder, check=True, capture_output=True, timeout=_INSTALL,
            )  # fmt: skip
            done.touch()
    return folder / "node_modules"


def newest_botocore() -> Path:
    """The folder with `BOTOCORE` alone; installs it if it is not there yet."""
    folder, installed = _cache(f"botocore-{BOTOCORE}")
    with installed as done:
        if not done.exists():
            pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(folder)]
            subprocess.run(
                [*pip, f"botocore=={BOTOCORE}"], check=True, capture_output=True, timeout=_INSTALL
            )
            done.touch()
    return folder


def _cache(name: str) -> tuple[Path, contextlib.AbstractContextManager[Path]]:
    """A folder to install into, and the file that says that it is done, locked while in use.

    The workers of a parallel run so install once.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hubbub-tests"
    home.mkdir(parents=True, exist_ok=True)
    folder = home / name

    @contextlib.contextmanager
    def locked() -> Iterator[Path]:
        with (home / f"{name.partition('-')[0]}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = folder / "done"
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
            yield done

    return folder, locked()
