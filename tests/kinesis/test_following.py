"""Reading a whole stream for a queue or a channel, from a cursor on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from hubbub import Message, NotFoundError, Principal, StreamSettings
from hubbub.app import Hub
from hubbub.config import load_config
from hubbub.testing import ManualClock
from hubbub_kinesis.following import Cursor, Follower, begin
from hubbub_kinesis.locating import Located
from hubbub_kinesis.state import StreamState

SETTINGS: dict[str, Any] = {
    "hub": {"durability": "memory"},
    "admin": {"enabled": False},
    "log": {"level": "error"},
    "plugins": {"enable": ["aws"]},
}
DAY = 86_400_000
HALF = 2**127


class Log:
    """A stream, and followers of it."""

    def __init__(self, stream: Located, clock: ManualClock) -> None:
        self.stream = stream
        self.clock = clock

    def write(self, *bodies: bytes) -> None:
        messages = [
            Message(address="$stream/s", body=each, group=f"key-{each.decode()}") for each in bodies
        ]
        self.stream.session.append("s", messages)

    async def begin(self, kind: str, timestamp: int | None = None) -> Cursor:
        return await begin(self.stream.info, kind, timestamp)

    async def read(self, cursor: Cursor, limit: int = 100) -> tuple[list[bytes], Cursor]:
        """Read from a cursor that was kept as a document."""
        kept = msgspec.json.decode(msgspec.json.encode(cursor), type=Cursor)
        follower = Follower(self.stream, kept, self.clock.now)
        records = await follower.read(limit, 1 << 20)
        return [each.message.body for each in records], follower.cursor


@pytest.fixture
async def log() -> AsyncIterator[Log]:
    async with _log() as log:
        yield log


@asynccontextmanager
async def _log() -> AsyncIterator[Log]:
    clock = ManualClock()
    hub = Hub(load_config(settings=SETTINGS), clock=clock)
    async with hub.running():
        with hub.session(Principal("test"), protocol="kinesis", client="test") as session:
            info = await session.create_stream("s", StreamSettings(retention=DAY))
            state = StreamState(number=info.number)
            yield Log(Located(session, info, state, "s", "000000000000", "us-east-1"), clock)


async def test_a_cursor_goes_on_after_what_was_read(log: Log) -> None:
    log.write(b"1", b"2", b"3")
    found, cursor = await log.read(await log.begin("TRIM_HORIZON"), limit=2)
    assert found == [b"1", b"2"]
    log.write(b"4")
    assert (await log.read(cursor))[0] == [b"3", b"4"]


async def test_where_it_begins(log: Log) -> None:
    log.write(b"1")
    log.clock.advance(1000)
    log.write(b"2")
    latest = await log.begin("LATEST")
    moment = await log.begin("AT_TIMESTAMP", log.clock.now())
    log.write(b"3")
    assert (await log.read(latest))[0] == [b"3"]
    assert (await log.read(moment))[0] == [b"2", b"3"]
    assert (await log.read(await log.begin("TRIM_HORIZON")))[0] == [b"1", b"2", b"3"]


async def test_a_cursor_goes_on_over_shards_that_are_split_and_merged(log: Log) -> None:
    session, seen, wanted = log.stream.session, list[bytes](), list[bytes]()
    cursor = await log.begin("LATEST")

    def write() -> None:
        new = [b"%d" % number for number in range(len(wanted), len(wanted) + 10)]
        wanted.extend(new)
        log.write(*new)

    write()
    await session.split_shard("s", 0, HALF)
    write()
    await session.merge_shards("s", 1, 2)
    write()
    while len(seen) < len(wanted):  # each read by a follower of its own, as after a restart
        found, cursor = await log.read(cursor, limit=4)
        seen += found
    assert seen == wanted
    assert await log.read(cursor) == ([], cursor)


async def test_what_retention_has_not_dropped_yet_is_passed_over(log: Log) -> None:
    log.write(b"old", b"too")
    log.clock.advance(DAY // 20)  # they share a segment, which goes when all of it is old
    log.write(b"new")
    cursor = await log.begin("TRIM_HORIZON")
    log.clock.advance(DAY - 1)
    assert log.stream.info.count() == 3
    assert (await log.read(cursor, limit=1))[0] == [b"new"]


async def test_a_follower_waits_for_records_and_hears_that_the_stream_is_gone(log: Log) -> None:
    follower = Follower(log.stream, await log.begin("LATEST"), log.clock.now)
    found: list[bytes] = []

    async def read_on() -> None:
        while True:
            found.extend(each.message.body for each in await follower.read_or_wait(10, 100))

    async def follow() -> None:
        with pytest.raises(NotFoundError):
            await read_on()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            for body in (b"1", b"2"):
                await trio.testing.wait_all_tasks_blocked()
                log.write(body)
            await trio.testing.wait_all_tasks_blocked()
            await log.stream.session.delete_stream("s")
    assert found == [b"1", b"2"]
