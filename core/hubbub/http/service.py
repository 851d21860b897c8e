"""The application behind an HTTP server, as every version of the protocol sees it."""

from collections.abc import Callable

from hubbub.http.messages import App, HttpError, Request, Response, Upgrade
from hubbub.http.parser import BadRequest
from hubbub.http.settings import HttpSettings, HttpStats
from hubbub.net.shutdown import Shutdown
from hubbub.net.transport import TransportClosed

__all__ = ["UNREAD_BODY_LIMIT", "Service"]

UNREAD_BODY_LIMIT = 256 * 1024
"""Bytes of a body nobody read that are thrown away to keep the connection, or the stream."""


class Service:
    """An application with the limits, counters and the stop of its server.

    Args:
        app: answers the requests.
        settings: limits and deadlines.
        shutdown: the stop to take part in.
        stats: counters to use.
        on_error: gets an exception that `app` raised, and its request.
        render_error: makes the answers to requests that are malformed, too large or late, to which
            `app` raises an `HttpError`, or over which it crashes.
    """

    def __init__(
        self,
        app: App,
        settings: HttpSettings,
        *,
        shutdown: Shutdown,
        stats: HttpStats,
        on_error: Callable[[BaseException, Request], None] | None,
        render_error: Callable[[HttpError], Response],
    ) -> None:
        self.app = app
        self.settings = settings
        self.shutdown = shutdown
        self.stats = stats
        self.on_error = on_error
        self.render_error = render_error

    async def ask(self, request: Request) -> Response | Upgrade:
        """Have the application answer; its crash is a 500.

        Raises:
            BadRequest: the request's body is malformed.
            TransportClosed: the client went away.
        """
        try:
            return await self.app(request)
        except HttpError as error:
            return self.render_error(error)
        except (BadRequest, TransportClosed):
            raise
        except Exception as error:
            return self.crashed(error, request)

    def crashed(self, error: BaseException, request: Request) -> Response:
        """Count and report a failure of the application; return the answer that says so."""
        self.stats.crashes += 1
        if self.on_error is not None:
            self.on_error(error, request)
        return self.render_error(HttpError(500))
