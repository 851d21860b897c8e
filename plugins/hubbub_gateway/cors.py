"""Web pages that call the API: which may, and what their browsers want to hear (CORS).

Whoever runs a hub can usually use it without credentials from the same machine, and so could a page
from anywhere that runs in a browser there. So a request that comes from a page is served only if
the page's origin is listed, even one that browsers would send without asking.
"""

from __future__ import annotations

from typing import Final

from hubbub import Origins, Request

from .hosts import HostNames
from .problems import Problem
from .settings import CorsSettings

_OTHER_SITES: Final = frozenset({"cross-site", "same-site"})
_EXPOSED: Final = (
    "*, Location, Retry-After, WWW-Authenticate, Allow"  # "*" counts without credentials only
)
_ALLOWED: Final = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID"
_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

Header = tuple[str, str]


class Cors:
    """Decides for a list of origins, as `hubbub.Origins` reads it."""

    def __init__(self, settings: CorsSettings, hosts: HostNames) -> None:
        self._hosts = hosts
        self._origins = Origins(settings.origins)
        self._credentials = settings.credentials
        self._max_age = str(round(settings.max_age))

    def check(self, request: Request) -> str | None:
        """Return the origin of the page that a request comes from, None if it comes from none.

        What we serve ourselves may call too: clients that are no browsers name our own origin.

        Raises:
            Problem: 403, pages of that origin may not call.
        """
        headers = request.headers
        origin = headers.get("origin")
        if origin:
            if origin in self._origins:
                return origin
            host = headers.get("host").lower()
            if origin.lower().partition("://")[2] == host and self._hosts.has(host):
                return None
            raise Problem("origin", f"Pages of the origin {origin[:200]!r} may not call this API.")
        if headers.get("sec-fetch-site") in _OTHER_SITES and not self._origins.everybody:
            raise Problem("origin", "A page of another site may not call this API.")
        return None

    def headers(self, origin: str) -> tuple[Header, ...]:
        """Return the headers of an answer to a page of an origin that is allowed."""
        if self._origins.everybody and not self._credentials:
            return (
                ("Access-Control-Allow-Origin", "*"),
                ("Access-Control-Expose-Headers", _EXPOSED),
            )
        found: tuple[Header, ...] = (
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Expose-Headers", _EXPOSED),
            ("Vary", "Origin"),
        )
        if self._credentials:
            found += (("Access-Control-Allow-Credentials", "true"),)
        return found

    def preflight(self, request: Request) -> tuple[Header, ...]:
        """Return the further headers of the answer to a preflight (Fetch standard, 4.8)."""
        asked = request.headers.get("access-control-request-headers")
        return (
            ("Access-Control-Allow-Methods", _METHODS),
            ("Access-Control-Allow-Headers", asked or _ALLOWED),
            ("Access-Control-Max-Age", self._max_age),
        )
