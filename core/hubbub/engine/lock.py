"""The lock on a data folder: one process at a time keeps its state there."""

import contextlib
import os
from pathlib import Path

from hubbub.errors import UnavailableError

try:
    import fcntl
except ImportError:  # a platform without flock can use the memory engine only
    fcntl = None  # type: ignore[assignment]

NAME = "hubbub.lock"


class FolderLock:
    """An advisory lock (flock(2)) on a file in the data folder.

    The kernel gives the lock back when the process ends, however it ends. The file stays: to
    remove it would let two processes lock two files of the same name. It holds the process id of
    the last owner, for the error message only.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock, at once or not at all.

        Raises:
            UnavailableError: somebody else has it, or the folder can't be locked.
        """
        if fcntl is None:
            raise UnavailableError(
                f"{self._folder} can't be locked: this platform has no flock; "
                'use durability = "memory"'
            )
        try:
            file = os.open(self._folder / NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise UnavailableError(f"cannot lock the data folder {self._folder}: {error}") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _owner(file)
            os.close(file)
            raise UnavailableError(
                f"the data folder {self._folder} is in use by another hubbub{owner}: "
                "stop that one, or choose another folder"
            ) from None
        except OSError as error:
            os.close(file)
            raise UnavailableError(
                f"cannot lock the data folder {self._folder}: {error}; "
                "is it on a file system without locks?"
            ) from None
        self._file = file
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the number
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back; nothing happens where it is not held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _owner(file: int) -> str:
    """Who wrote its process id into the lock file, as a part of a sentence."""
    with contextlib.suppress(OSError, ValueError):
        return f" (process {int(os.pread(file, 32, 0))})"
    return ""
