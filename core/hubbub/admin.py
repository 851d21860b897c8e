"""The admin listener: health, metrics, and the console's pages that plugins add."""

import html
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import trio

from .hookspecs import Endpoint, Hooks, HttpRoute, Server, hookimpl
from .http import Request, Response
from .metrics import Page, health_page, ready_page
from .server import Address

if TYPE_CHECKING:
    from .app import Hub

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:3rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .8rem .3rem 0;"
    "border-bottom:1px solid #8884}code{font-size:.9em}@media(prefers-color-scheme:dark){"
    "body{background:#111;color:#ddd}a{color:#8bf}}"
)


class Admin:
    """Answers the requests to the admin listener: the hub's own routes, then the plugins'."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._routes = [route for _, route in hub.manager.gather(Hooks.hubbub_http_routes, hub)]
        self._own = {
            "/": self._index,
            "/metrics": self._metrics,
            "/readyz": self._readiness,
            "/healthz": self._health,
        }

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        page = self._own.get(request.path)
        if page is None:
            return await self._route(request)
        if request.method not in {"GET", "HEAD"}:
            return _not_allowed(request, {"GET", "HEAD"})
        return page(request)

    def _health(self, request: Request) -> Response:
        return _page(health_page())

    def _readiness(self, request: Request) -> Response:
        return _page(ready_page(self._hub.unready(), self._hub.manager))

    def _metrics(self, request: Request) -> Response:
        return _page(self._hub.meters.page(request.headers.get("accept", "")))

    async def _route(self, request: Request) -> Response:
        allowed = set()
        for route in self._routes:
            if not _fits(route.path, request.path):
                continue
            if request.method == route.method or (request.method, route.method) == ("HEAD", "GET"):
                return await route.handler(request)
            allowed.add(route.method)
        if allowed:
            return _not_allowed(request, allowed)
        return _text(404, f"nothing is at {request.path}\n")

    def _index(self, request: Request) -> Response:
        hub = self._hub
        rows = [
            f"<tr><td>{html.escape(each.protocol)}<td><code>{html.escape(each.url)}</code>"
            f"<td><code>{html.escape(each.client)}</code>"
            for each in hub.endpoints
        ]
        links = _links(self._routes)
        body = (
            "<!doctype html><html lang=en><meta charset=utf-8><title>hubbub</title>"
            f"<style>{_STYLE}</style><h1>hubbub</h1>"
            f"<p>{html.escape('; '.join(hub.unready()) or 'Serving.')}</p>"
            f"<table><tr><th>Protocol<th>Address<th>Try it{''.join(rows)}</table><ul>{links}</ul>"
        )
        return Response(200, [("Content-Type", "text/html; charset=utf-8")], body.encode())


def _links(routes: Iterable[HttpRoute]) -> str:
    own = [("/metrics", "Metrics"), ("/readyz", "Readiness"), ("/healthz", "Health")]
    pages = [(route.path, route.title) for route in routes if route.title]
    return "".join(
        f'<li><a href="{html.escape(path)}">{html.escape(title)}</a>' for path, title in pages + own
    )


class AdminPlugin:
    """The admin listener as a plugin: the one that every hub has."""

    @hookimpl
    def hubbub_servers(self, hub: "Hub") -> Iterable[Server]:
        """Serve the admin listener, unless it is turned off."""
        if hub.config.admin.enabled:
            yield Server("admin", partial(_serve, hub, Admin(hub)))


async def _serve(hub: "Hub", admin: Admin, task_status: trio.TaskStatus[list[Endpoint]]) -> None:
    settings = hub.config.admin.listener
    scheme = "https" if settings.tls else "http"

    def describe(address: Address) -> Endpoint:
        url = f"{scheme}://{address}"
        return Endpoint("Admin", url, f"curl {url}/metrics")

    await hub.serve_http(admin, settings, describe, name="admin", task_status=task_status)


def _fits(path: str, asked: str) -> bool:
    return asked.startswith(path) if path.endswith("/") else asked == path


def _not_allowed(request: Request, methods: Iterable[str]) -> Response:
    allowed = ", ".join(sorted(methods))
    return _text(405, f"{request.path} takes {allowed}\n", [("Allow", allowed)])


def _page(page: Page) -> Response:
    return Response(page.status, [("Content-Type", page.content_type)], page.body)


def _text(status: int, text: str, headers: Iterable[tuple[str, str]] = ()) -> Response:
    kind = ("Content-Type", "text/plain; charset=utf-8")
    return Response(status, [kind, *headers], text.encode())
