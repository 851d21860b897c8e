"""A subscription over time, without sockets and threads."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from hubbub import Message, Principal, StreamSettings
from hubbub.app import Hub
from hubbub.config import load_config
from hubbub_kinesis.locating import Located
from hubbub_kinesis.state import StreamState
from hubbub_kinesis.subscribing import HEARTBEAT, LIFETIME, Subscription

SETTINGS: dict[str, Any] = {
    "hub": {"durability": "memory"},
    "admin": {"enabled": False},
    "log": {"level": "error"},
    "plugins": {"enable": ["aws"]},
}


@asynccontextmanager
async def located() -> AsyncIterator[tuple[Hub, Located]]:
    hub = Hub(load_config(settings=SETTINGS))
    async with hub.running():
        with hub.session(Principal("test"), protocol="kinesis", client="test") as session:
            info = await session.create_stream("s", StreamSettings())
            state = StreamState(number=info.number)
            yield hub, Located(session, info, state, "s", "000000000000", "us-east-1")


async def test_a_subscription_ends_after_five_minutes(autojump_clock: MockClock) -> None:
    async with located() as (hub, stream):
        began = trio.current_time()
        times = []
        events = Subscription(0).push(stream, stream.info.oldest(0), hub.clock.now)
        async with aclosing(events):
            async for name, event in events:
                assert name == "SubscribeToShardEvent"
                assert event.records == []
                times.append(trio.current_time() - began)
        assert trio.current_time() - began == pytest.approx(LIFETIME)
    expected = [HEARTBEAT * number for number in range(round(LIFETIME / HEARTBEAT))]
    assert times == pytest.approx(expected)


async def test_records_are_pushed_the_moment_they_come(autojump_clock: MockClock) -> None:
    async with located() as (hub, stream):
        found: list[tuple[float, list[bytes]]] = []
        subscription = Subscription(0)

        async def write() -> None:
            for number in range(3):
                await trio.sleep(1.5)
                message = Message(address="$stream/s", body=b"%d" % number)
                stream.session.append("s", [message])
            await trio.sleep(1)
            subscription.end()

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            events = subscription.push(stream, stream.info.oldest(0), hub.clock.now)
            async with aclosing(events):
                async for _, event in events:
                    bodies = [record.data for record in event.records]
                    found.append((trio.current_time() - began, bodies))
    assert [bodies for _, bodies in found] == [[], [b"0"], [b"1"], [b"2"]]
    assert [when for when, _ in found] == pytest.approx([0, 1.5, 3, 4.5])
