"""Reports: what AWS would write into CloudWatch Logs, as a file of JSON lines.

Nobody waits for a report: it is written in the background, and those that come faster than the disk
takes them are counted and left out.
"""

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from hubbub import Endpoint, HttpRoute, Request, Response, Server
from hubbub_sns.lines import LineFile

if TYPE_CHECKING:
    from hubbub import Hub

PATH = "/sns/reports.json"
MAX_WAITING = 10_000
MAX_SHOWN = 200
_PAUSE = 1.0
"""Seconds until a write that failed is tried again."""


class Reports:
    """The reports of one hub."""

    def __init__(self, hub: "Hub", file: LineFile) -> None:
        self._hub = hub
        self._file = file
        self._waiting: deque[dict[str, Any]] = deque()
        self._woken = trio.Event()
        self.dropped = 0
        """Reports that were not written."""

    def add(self, group: str, stream: str, report: Mapping[str, Any]) -> None:
        """Write a report, some time soon. `group`, `stream`: where AWS would log it."""
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            if self.dropped == 1:
                self._hub.log.warning("sns reports are lost", path=str(self._file.path))
            return
        self._waiting.append({"logGroup": group, "logStream": stream, **report})
        self._woken.set()

    def server(self) -> Server:
        """Return the service that writes."""
        return Server("sns-reports", self._serve)

    async def _serve(self, task_status: trio.TaskStatus[list[Endpoint]]) -> None:
        task_status.started([])
        self._hub.shutdown.subscribe(self._wake)
        try:
            while not self._hub.shutdown.requested or self._waiting:
                await self._woken.wait()
                self._woken = trio.Event()
                await self._write()
        finally:
            self._hub.shutdown.unsubscribe(self._wake)

    def _wake(self) -> None:
        self._woken.set()

    async def _write(self) -> None:
        batch = list(self._waiting)
        if not batch:
            return
        try:
            await self._file.append(batch)
        except OSError as error:
            self._hub.log.warning("sns reports wait", path=str(self._file.path), error=str(error))
            await trio.sleep(_PAUSE)
            self._woken.set()
            return
        for _ in batch:
            self._waiting.popleft()

    def routes(self) -> list[HttpRoute]:
        """Return the latest reports as JSON, for the admin listener."""
        return [HttpRoute("GET", PATH, self._json)]

    async def _json(self, request: Request) -> Response:
        body = msgspec.json.encode(await self._file.tail(MAX_SHOWN))
        return Response(200, [("Content-Type", "application/json")], body)
