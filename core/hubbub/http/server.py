"""The HTTP server: a handler for connections that picks the protocol version of each."""

import time
from collections.abc import Callable

from hubbub.http.heads import CommonHeaders, HeadWriter
from hubbub.http.http1 import Http1Connection
from hubbub.http.messages import App, HttpError, Request, Response
from hubbub.http.parser import RequestParser, Splitter
from hubbub.http.service import Service
from hubbub.http.settings import HttpSettings, HttpStats
from hubbub.net.shutdown import Shutdown
from hubbub.net.transport import Transport

__all__ = ["HttpServer"]


class HttpServer:
    """Serves HTTP on any transport. An instance is a handler for `serve_tcp`.

    Args:
        app: answers the requests.
        settings: limits and deadlines.
        shutdown: the stop to take part in: the requests in hand are answered with
            `Connection: close` or after a GOAWAY, connections that wait for one are closed.
        stats: counters to use.
        on_error: gets an exception that `app` raised, and its request. The client gets a 500.
        render_error: makes the answers to requests that are malformed, too large or late, to which
            `app` raises an `HttpError`, or over which it crashes; plain text by default.
        clock: the wall clock, in seconds since 1970.
    """

    def __init__(
        self,
        app: App,
        settings: HttpSettings | None = None,
        *,
        shutdown: Shutdown | None = None,
        stats: HttpStats | None = None,
        on_error: Callable[[BaseException, Request], None] | None = None,
        render_error: Callable[[HttpError], Response] = HttpError.response,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings or HttpSettings()
        self.shutdown = shutdown or Shutdown()
        self.stats = stats or HttpStats()
        self._service = Service(
            app,
            self.settings,
            shutdown=self.shutdown,
            stats=self.stats,
            on_error=on_error,
            render_error=render_error,
        )
        self._common = CommonHeaders(self.settings.server_header, clock)
        self._heads = HeadWriter(self._common)
        self._split = _find_splitter(self.settings)
        self._http2 = self._serve_http2 if self.settings.http2 else None

    @property
    def alpn(self) -> tuple[str, ...]:
        """The names of what is spoken here, for TLS (RFC 7301), the preferred first."""
        return ("h2", "http/1.1") if self.settings.http2 else ("http/1.1",)

    async def __call__(self, transport: Transport) -> None:
        """Serve one connection until it ends."""
        if transport.alpn == "h2":
            await self._serve_http2(transport, b"")
        else:
            settings = self.settings
            parser = RequestParser(
                self._split,
                max_head_bytes=settings.max_head_bytes,
                max_headers=settings.max_headers,
            )
            await Http1Connection(self._service, self._heads, parser, transport, self._http2).run()

    async def _serve_http2(self, transport: Transport, received: bytes) -> None:
        from hubbub.http.http2 import Http2Connection  # noqa: PLC0415 - h2 takes time and memory

        await Http2Connection(self._service, self._common, transport).run(received)


def _find_splitter(settings: HttpSettings) -> Splitter:
    """Load one library; the other costs start time and memory for nothing."""
    if settings.parser == "h11":
        from hubbub.http.h11_heads import split  # noqa: PLC0415
    else:
        from hubbub.http.httptools_heads import split  # noqa: PLC0415
    return split
