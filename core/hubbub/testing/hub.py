"""A hub in a thread of its own, for tests whose clients block or bring their own event loop."""

import queue
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import trio

from hubbub.app import Hub
from hubbub.clock import Clock
from hubbub.config import Config
from hubbub.hookspecs import Endpoint

T = TypeVar("T")

_START_TIMEOUT = 30.0
_STOP_TIMEOUT = 30.0


class ServedHub:
    """A hub that serves in another thread; see `serve_in_thread`."""

    def __init__(self, hub: Hub, token: trio.lowlevel.TrioToken, stop: trio.Event) -> None:
        self.hub = hub
        """The hub. Touch it only in functions given to `run`."""
        self._token = token
        self._stop = stop

    def endpoint(self, protocol: str) -> Endpoint:
        """Return where a protocol is served, by the name it has in `hubbub serve`'s table.

        Raises:
            LookupError: it is not served; the message lists what is.
        """
        wanted = protocol.lower()
        for each in self.hub.endpoints:
            if wanted == each.protocol.lower():
                return each
        served = ", ".join(each.protocol for each in self.hub.endpoints)
        raise LookupError(f"nothing serves {protocol!r}; served are: {served}")

    def address(self, protocol: str) -> tuple[str, int]:
        """Return host and port of a protocol's endpoint."""
        host, _, port = self.endpoint(protocol).url.partition("://")[2].rpartition(":")
        return host.strip("[]"), int(port.partition("/")[0])

    def run(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        """Call an asynchronous function in the hub's thread and return its result."""
        return trio.from_thread.run(function, *args, trio_token=self._token)

    def call(self, function: Callable[..., T], *args: object) -> T:
        """Call a function in the hub's thread and return its result."""
        return trio.from_thread.run_sync(function, *args, trio_token=self._token)

    def stop(self) -> None:
        """Ask the hub to stop gracefully; the context waits for it. No error if it has ended."""
        with suppress(trio.RunFinishedError):
            self.call(self._stop.set)


@contextmanager
def serve_in_thread(
    config: Config | None = None,
    *,
    plugins: Mapping[str, object] | None = None,
    clock: Clock | None = None,
    log: Any = None,
) -> Iterator[ServedHub]:
    """Run a hub in a thread while the context is open, then stop it gracefully.

    The arguments are those of `Hub`. Fails if the hub does not start or stop within 30 seconds, or
    crashes.
    """
    started: queue.SimpleQueue[ServedHub | BaseException] = queue.SimpleQueue()
    crash: list[BaseException] = []

    async def main() -> None:
        hub = Hub(config, plugins=plugins, clock=clock, log=log)
        stop = trio.Event()
        async with hub.running():
            started.put(ServedHub(hub, trio.lowlevel.current_trio_token(), stop))
            await stop.wait()

    def body() -> None:
        try:
            trio.run(main)
        except BaseException as error:
            crash.append(error)
            started.put(error)

    thread = threading.Thread(target=body, name="hub", daemon=True)
    thread.start()
    served = started.get(timeout=_START_TIMEOUT)
    if isinstance(served, BaseException):
        thread.join(_STOP_TIMEOUT)
        raise served
    try:
        yield served
    finally:
        if thread.is_alive():
            served.stop()
        thread.join(_STOP_TIMEOUT)
        if thread.is_alive():
            raise TimeoutError("the hub did not stop")
        if crash:
            raise crash[0]
