"""The load generator: built from C when its source changes, and run against a server."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from .processes import BenchmarkError

SOURCE = Path(__file__).parent / "generator"
FLAGS = ("-O2", "-Wall", "-Wextra")


def cache_folder() -> Path:
    """Return the folder for what is built: `hubbub-benchmarks` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "hubbub-benchmarks"


def compiler() -> str | None:
    """Return the C compiler, of $CC or `cc`, or None if there is none."""
    return shutil.which(os.environ.get("CC", "cc"))


def build(folder: Path) -> Path:
    """Return the program, built in a folder unless it is there from the same source."""
    files = sorted(SOURCE.iterdir())
    digest = hashlib.sha256(repr(FLAGS).encode())
    for file in files:
        digest.update(file.read_bytes())
    program = folder / f"bench-{digest.hexdigest()[:16]}"
    if program.exists():
        return program
    command = compiler()
    if command is None:
        raise BenchmarkError("a C compiler is needed to build the load generator: no cc, no $CC")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        made = Path(work) / "bench"
        sources = [str(file) for file in files if file.suffix == ".c"]
        result = subprocess.run(
            [command, *FLAGS, "-o", str(made), *sources],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise BenchmarkError(f"the load generator does not compile:\n{result.stderr}")
        made.replace(program)
    return program


def run(
    program: Path,
    load: str,
    options: Mapping[str, float | str],
    *,
    port: int,
    deadline: float,
    on_mark: Callable[[str, int], None],
) -> dict[str, float]:
    """Run a load against 127.0.0.1 and return its figures.

    `on_mark` is called with the name of each phase that begins and with the generator's process
    id; the generator waits meanwhile. After `deadline` seconds it is killed.
    """
    arguments = [load, "--port", str(port)]
    for name, value in options.items():
        arguments += [f"--{name}", str(value)]
    with subprocess.Popen(
        [program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        timer = threading.Timer(deadline, process.kill)
        timer.start()
        try:
            return _follow(process, on_mark, deadline)
        finally:
            timer.cancel()
            process.kill()


def _follow(
    process: subprocess.Popen[str], on_mark: Callable[[str, int], None], deadline: float
) -> dict[str, float]:
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise ValueError("the process needs pipes")
    for line in process.stdout:
        message = json.loads(line)
        if "mark" not in message:
            return {str(name): float(value) for name, value in message.items()}
        on_mark(message["mark"], process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
    said = process.stderr.read().strip().removeprefix("bench: ")
    status = process.wait()
    if status == -signal.SIGKILL:
        said = f"not done in {deadline:.0f} s. {said}"
    raise BenchmarkError(said or f"the load generator ended with status {status}")
