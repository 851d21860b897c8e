"""The outbox: what has no local receiver (a phone, a device, a mailbox without mail server).

It is a file of JSON lines, on disk before a delivery counts, and a page of the admin listener.
"""

from collections import deque
from collections.abc import Mapping
from html import escape
from typing import Any

import msgspec

from hubbub import Clock, HttpRoute, Request, Response
from hubbub_sns.lines import LineFile
from hubbub_sns.messages import timestamp

PATH = "/sns/outbox"
MAX_SHOWN = 200

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:3rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;"
    "padding:.3rem .8rem .3rem 0;border-bottom:1px solid #8884}pre{white-space:pre-wrap;margin:0}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}}"
)


class Outbox:
    """A file of entries, whose times `clock` gives. The latest are kept in memory for the page."""

    def __init__(self, file: LineFile, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self.entries: deque[dict[str, Any]] = deque(maxlen=MAX_SHOWN)

    async def load(self) -> None:
        """Take back the latest entries."""
        self.entries.extend(await self._file.tail(MAX_SHOWN))

    async def add(self, protocol: str, to: str, text: str, **fields: Any) -> None:
        """Write an entry; it is on disk when this returns.

        Raises:
            OSError: it could not be written.
        """
        entry = {"time": timestamp(self._clock.now()), "protocol": protocol, "to": to, **fields}
        entry["message"] = text
        await self._file.append([entry])
        self.entries.append(entry)

    def routes(self) -> list[HttpRoute]:
        """Return the page, and the same as JSON."""
        return [
            HttpRoute("GET", PATH, self._page, title="SNS outbox"),
            HttpRoute("GET", f"{PATH}.json", self._json),
        ]

    async def _json(self, request: Request) -> Response:
        body = msgspec.json.encode(list(self.entries))
        return Response(200, [("Content-Type", "application/json")], body)

    async def _page(self, request: Request) -> Response:
        rows = "".join(_row(entry) for entry in reversed(self.entries))
        body = (
            "<!doctype html><html lang=en><meta charset=utf-8><title>SNS outbox</title>"
            f"<style>{_STYLE}</style><h1>SNS outbox</h1><p>The latest {len(self.entries)} messages "
            f"without a local receiver. All are in <code>{escape(str(self._file.path))}</code>.</p>"
            f"<table><tr><th>Time<th>Protocol<th>To<th>Message{rows}</table>"
        )
        return Response(200, [("Content-Type", "text/html; charset=utf-8")], body.encode())


def _row(entry: Mapping[str, Any]) -> str:
    subject = entry.get("subject")
    text = f"{subject}\n\n{entry['message']}" if subject else entry["message"]
    cells = [escape(str(entry.get(name, ""))) for name in ("time", "protocol", "to")]
    return f"<tr><td>{'<td>'.join(cells)}<td><pre>{escape(str(text))}</pre>"
