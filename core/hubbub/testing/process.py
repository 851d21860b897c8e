"""`hubbub serve` as a process of its own: to be used by real clients, stopped, and killed."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

_READY = 30.0
"""Seconds in which the process must listen, and stop."""
_ENDPOINT = re.compile(r"^ +(\S.*?) {2,}([\w+.-]+://\S+)")


class HubProcess:
    """One hub process after the other on the same data folder; use it as a context manager.

    Args:
        folder: for the data and the configuration.
        config: the text of hubbub.toml. Give each listener port 0.
        environment: what to add to the environment.
    """

    def __init__(
        self, folder: Path, config: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        self._file = folder / "hubbub.toml"
        self._file.write_text(config)
        self._data = folder / "data"
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[str] | None = None
        self._endpoints: dict[str, str] = {}
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()

    def start(self) -> None:
        """Start, and return when every server listens.

        Raises:
            RuntimeError: the process ended instead.
        """
        command = [
            sys.executable, "-m", "hubbub", "serve",
            "--config", str(self._file), "--data", str(self._data),
        ]  # fmt: skip
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            command, env=self._environment, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._endpoints = {}
        with _deadline(self._process):
            for line in self._process.stdout:
                if found := _ENDPOINT.match(line):
                    self._endpoints[found[1]] = found[2]
                elif self._endpoints:  # the line after the table
                    break
        if not self._endpoints:
            raise RuntimeError(f"hubbub ended with {self._end(signal.SIGKILL)}")
        # Read on, so that the process never waits for a reader.
        self._reader = threading.Thread(target=self._process.stdout.read, daemon=True)
        self._reader.start()

    def url(self, protocol: str) -> str:
        """Where a protocol is served, such as "http://127.0.0.1:40001"."""
        return self._endpoints[protocol]

    def port(self, protocol: str) -> int:
        """The port where a protocol is served."""
        return int(self.url(protocol).rpartition(":")[2].partition("/")[0])

    @property
    def pid(self) -> int:
        """The process now running."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """End it gracefully; return its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(number)
        with _deadline(process), process:  # which waits, and closes its output
            if self._reader is not None:
                self._reader.join()
        return process.returncode


@contextmanager
def _deadline(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill the process if the body takes too long: whatever waits for it goes on then."""
    timer = threading.Timer(_READY, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
