"""Files of JSON lines: appended to, synced, begun anew when they get large."""

import os
from collections import deque
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio


class LineFile:
    """One file of entries.

    Args:
        path: the file; its folder is made.
        max_bytes: beyond, the file is renamed (.1 added) and begun anew.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._lock = trio.Lock()

    async def append(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Write entries; they are on disk when this returns. Raises `OSError`."""
        lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
        async with self._lock:
            await trio.to_thread.run_sync(partial(_append, self.path, lines, self._max_bytes))

    async def tail(self, count: int) -> list[dict[str, Any]]:
        """Return the last entries; what a crash cut off is left out."""
        found = []
        for line in await trio.to_thread.run_sync(partial(_tail, self.path, count)):
            try:
                found.append(msgspec.json.decode(line, type=dict[str, Any]))
            except (msgspec.MsgspecError, UnicodeError):
                continue
        return found


def _append(path: Path, lines: bytes, max_bytes: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size + len(lines) > max_bytes:
        path.replace(path.with_name(f"{path.name}.1"))
    with path.open("ab") as file:
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def _tail(path: Path, count: int) -> list[bytes]:
    if not path.exists():
        return []
    with path.open("rb") as file:
        return list(deque(file, count))
