import os
import subprocess
import sys
from pathlib import Path

import pytest

from hubbub.engine import lock
from hubbub.engine.lock import FolderLock
from hubbub.errors import UnavailableError

HOLDER = """
import sys
from pathlib import Path
from hubbub.engine.lock import FolderLock
FolderLock(Path(sys.argv[1])).acquire()
print("locked", flush=True)
sys.stdin.read()
"""


def test_the_second_process_is_refused_with_folder_and_process(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(UnavailableError) as caught:
            FolderLock(tmp_path).acquire()
        assert str(tmp_path) in str(caught.value)
        assert f"process {holder.pid}" in str(caught.value)
        holder.kill()
        holder.wait()
    mine = FolderLock(tmp_path)
    mine.acquire()  # the kernel let go of it
    mine.release()


def test_two_owners_in_one_process_are_told_apart(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.acquire()
    with pytest.raises(UnavailableError, match=f"process {os.getpid()}"):
        second.acquire()
    second.release()  # never held: must not free the first's
    with pytest.raises(UnavailableError):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_a_lock_file_without_a_number_still_refuses(tmp_path: Path) -> None:
    first = FolderLock(tmp_path)
    first.acquire()
    (tmp_path / lock.NAME).write_text("?")
    with pytest.raises(UnavailableError, match="another hubbub: stop"):
        FolderLock(tmp_path).acquire()
    first.release()


def test_the_file_is_private_and_stays(tmp_path: Path) -> None:
    mine = FolderLock(tmp_path)
    mine.acquire()
    mine.release()
    assert (tmp_path / lock.NAME).stat().st_mode & 0o777 == 0o600


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no such folder"):
        FolderLock(tmp_path / "no such folder").acquire()


def test_a_platform_without_flock_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "fcntl", None)
    with pytest.raises(UnavailableError, match="durability"):
        FolderLock(tmp_path).acquire()
