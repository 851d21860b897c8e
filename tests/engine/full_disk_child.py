"""Fills what it may write, says how the journal takes it, gets room again."""

import os
import resource
import sys
from pathlib import Path

import trio

from hubbub.engine.contract import Document
from hubbub.engine.entry import Entry
from hubbub.engine.sqlite import SqliteJournal
from hubbub.errors import UnavailableError
from hubbub.message import Message


def entry(number: int) -> Entry:
    message = Message(address="q", body=b"x" * 100_000, id=number)
    return Entry(id=number, message=message, size=100_000)


def say(what: str, detail: object) -> None:
    os.write(1, f"{what} {detail}\n".encode())


async def main(folder: Path) -> None:
    changed = trio.Event()

    def on_state(available: bool, reason: str) -> None:
        say("available" if available else "unavailable", reason)
        changed.set()

    journal = SqliteJournal(folder, on_state=on_state)
    async with journal.running():
        first = entry(1)
        journal.insert(1, first)
        await journal.commit().wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
        number = 1
        try:
            while True:
                number += 1
                journal.insert(1, entry(number))
                await journal.commit().wait()
        except UnavailableError as error:
            say("refused", error)
        journal.remove(1, first)
        journal.put(Document("n", "r", "k", b"kept"))
        changed = trio.Event()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await journal.commit().wait()
        await changed.wait()
        journal.insert(1, entry(number + 1))
        await journal.commit().wait()
        say("last", number + 1)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
