"""Work that nobody waits for."""

from __future__ import annotations

import pytest
import structlog
import trio

from hubbub.background import Background
from hubbub.errors import NotFoundError


@pytest.fixture
def logged() -> structlog.testing.CapturingLogger:
    return structlog.testing.CapturingLogger()


async def test_failures_are_logged_and_harm_nobody(
    logged: structlog.testing.CapturingLogger,
) -> None:
    background = Background(logged)
    done = trio.Event()

    async def refuse() -> None:
        raise NotFoundError("queue", "q")

    async def crash() -> None:
        raise ValueError("oops")

    async def work() -> None:
        done.set()

    async with background.running():
        for function in (refuse, crash, work):
            background.spawn(function)
        with trio.fail_after(5):
            await done.wait()
            await trio.testing.wait_all_tasks_blocked()
    assert sorted(call.method_name for call in logged.calls) == ["exception", "info"]


async def test_what_still_runs_is_cancelled_and_nothing_begins_afterwards(
    logged: structlog.testing.CapturingLogger,
) -> None:
    background = Background(logged)
    ended: list[str] = []

    async def wait() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("cancelled")

    background.spawn(wait)
    async with background.running():
        background.spawn(wait)
        await trio.testing.wait_all_tasks_blocked()
    background.spawn(wait)
    assert ended == ["cancelled"]
    assert logged.calls == []
