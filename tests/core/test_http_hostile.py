"""Many hostile clients at once: others are served meanwhile, and memory stays flat.

One hostile client and what it is told are in test_http.py and test_http2.py.
"""

import gc
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing

from hubbub.http import Request, Response
from hubbub.net import deadline

from .test_http import CLOSING_GET, GET, Client, Running, post, serving, status, until

CROWD = 100
PATIENCE = 120.0
"""Seconds for all of a test: others may be using this machine."""


async def app(request: Request) -> Response:
    match request.path:
        case "/large":
            return Response(body=b"x" * 100_000)
        case "/stream":
            return Response(body=endless())
        case _:
            await request.body()
            return Response(body=b"fine")


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 10_000


@asynccontextmanager
async def crowd(running: Running, size: int) -> AsyncIterator[list[Client]]:
    clients: list[Client] = []
    try:
        for _ in range(size):
            clients.append(await running.connect())
        yield clients
    finally:
        for client in clients:
            client.stream.socket.close()


async def gone(running: Running) -> None:
    await until(lambda: running.stats.open == 0, PATIENCE)


async def serve_others(running: Running) -> None:
    """Somebody who behaves, on a connection that is open already and on new ones."""
    async with await running.connect() as client:
        for _ in range(10):
            await client.send(post(b"abc"))
            assert status(await client.until(b"fine")) == 200
    for _ in range(3):
        assert status(await running.exchange(CLOSING_GET)) == 200


Attack = Callable[[Client], Awaitable[None]]


async def send_nothing(_: Client) -> None:
    await trio.sleep_forever()


async def trickle(client: Client, begin: bytes, byte: bytes) -> None:
    await client.send(begin)
    while True:
        await client.send(byte)
        await trio.sleep(0.05)


async def trickle_head(client: Client) -> None:
    await trickle(client, b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"x")


async def trickle_body(client: Client) -> None:
    await trickle(client, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", b"x")


async def trickle_chunks(client: Client) -> None:
    await trickle(
        client, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"
    )


async def trickle_empty_lines(client: Client) -> None:
    await trickle(client, b"", b"\r\n")


async def trickle_http2(client: Client) -> None:
    await trickle(client, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)[:3], b"\0")


async def flood(client: Client, data: bytes) -> None:
    while True:
        await client.send(data)


async def pipeline(client: Client) -> None:
    await flood(client, GET * 100)


async def pipeline_large_answers(client: Client) -> None:
    await flood(client, GET.replace(b"/ ", b"/large ") * 100)


async def send_oversized_head(client: Client) -> None:
    await flood(client, b"x" * 10_000)


async def send_oversized_body(client: Client) -> None:
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    await flood(client, b"2710\r\n" + b"x" * 10_000 + b"\r\n")


async def read_nothing(client: Client) -> None:
    await client.send(GET.replace(b"/ ", b"/stream "))
    await trio.sleep_forever()


async def come_and_go(client: Client) -> None:
    await client.send(post(b"abc")[:-1])
    await client.stream.aclose()


@pytest.mark.parametrize(
    ("attack", "size"),
    [
        (send_nothing, CROWD),
        (trickle_head, CROWD),
        (trickle_body, CROWD),
        (trickle_chunks, CROWD),
        (trickle_empty_lines, CROWD),
        (trickle_http2, CROWD),
        (pipeline, 3),
        (pipeline_large_answers, 10),
        (send_oversized_head, 20),
        (send_oversized_body, 20),
        (read_nothing, 10),
        (come_and_go, CROWD),
    ],
)
async def test_others_are_served_and_the_hostile_are_ended(attack: Attack, size: int) -> None:
    settings = {
        "head_timeout": 1.0,
        "body_timeout": 1.0,
        "keep_alive_timeout": 1.0,
        "linger": 0.1,
        "max_body_bytes": 1_000_000,
    }
    limits = {"write_timeout": 0.5, "max_write_buffer": 1_000_000}

    async with serving(app, limits=limits, patience=PATIENCE, **settings) as running:
        async with crowd(running, size) as clients:

            async def run(client: Client) -> None:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await attack(client)

            async with trio.open_nursery() as attackers:
                for client in clients:
                    attackers.start_soon(run, client)
                await serve_others(running)
                if attack is not pipeline:  # who reads no answers is ended; this one gets few
                    await gone(running)
                attackers.cancel_scope.cancel()
        assert running.errors == []


async def test_idle_sockets_in_great_number() -> None:
    """They are kept, cost little, cost nothing once they are gone, and others are served."""
    count = 300
    async with serving(app, patience=PATIENCE, head_timeout=PATIENCE) as running:
        await serve_others(running)
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            async with crowd(running, count):
                await until(lambda: running.stats.open >= count, PATIENCE)
                await trio.testing.wait_all_tasks_blocked()
                held, _ = tracemalloc.get_traced_memory()
                await serve_others(running)
            await gone(running)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (held - before) / count < 12_000  # bytes, of which the client's end is about half
        assert after - before < 500_000


BAD = [b"nonsense\r\n\r\n", GET[:-2], post(b"abc", b"Content-Length: 4")]


async def test_memory_is_flat_over_many_bad_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "STALE_LIMIT", 50)  # alarms that are kept for a while
    async with serving(app, patience=PATIENCE, linger=0.0) as running:

        async def misbehave(times: int) -> None:
            for number in range(times):
                bad = (b"nonsense\r\n\r\n", GET[:-2], post(b"abc", b"Content-Length: 4"))[
                    number % 3
                ]
                async with await running.connect() as client:
                    await client.send(bad)

        await misbehave(100)
        await gone(running)
        gc.collect()
        tracemalloc.start()
        try:
            await misbehave(100)
            await gone(running)
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            await misbehave(300)
            await gone(running)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after - before < 100_000
