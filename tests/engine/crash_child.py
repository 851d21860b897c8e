"""Writes to a journal and says what was confirmed, until it is killed."""

import os
import random
import sys
from pathlib import Path

import trio

from hubbub.engine.entry import Entry
from hubbub.engine.sqlite import SqliteJournal
from hubbub.message import Message
from hubbub.streams import Record


def say(what: str, numbers: list[int]) -> None:
    os.write(1, "".join(f"{what} {number}\n" for number in numbers).encode())


def records_of(entries: list[Entry]) -> dict[int, list[Record]]:
    """The same messages as records of two shards, numbered like them."""
    placed: dict[int, list[Record]] = {}
    for each in entries:
        assert each.message is not None
        record = Record(each.id % 2, each.id, 1000, "key", each.message, each.size)
        placed.setdefault(record.shard, []).append(record)
    return placed


async def main(folder: Path, seed: int) -> None:
    rng = random.Random(seed)
    journal = SqliteJournal(folder)
    async with journal.running():
        number = journal.max_message_id
        alive: list[Entry] = []
        while True:
            fresh = []
            for _ in range(rng.randrange(1, 40)):
                number += 1
                body = rng.randbytes(rng.choice((10, 1000, 40_000)))
                message = Message(address="q", body=body, id=number)
                fresh.append(Entry(id=number, message=message, size=len(body)))
                journal.insert(number % 3, fresh[-1])
            journal.append(1, records_of(fresh))
            rng.shuffle(alive)
            leaving = [alive.pop() for _ in range(min(len(alive), rng.randrange(40)))]
            say("leaving", [each.id for each in leaving])
            for each in leaving:
                journal.remove(each.id % 3, each)
            await journal.commit().wait()
            say("kept", [each.id for each in fresh])
            say("left", [each.id for each in leaving])
            alive += fresh


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
