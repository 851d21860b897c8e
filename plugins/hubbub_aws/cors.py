"""Web pages that call AWS services: which may, and what their browsers want to hear (CORS).

With keys that nobody verifies, a page from anywhere could reach the services through the browser of
somebody who runs them. So a request that names an origin is served only if the origin is listed.
"""

from collections.abc import Iterable

from hubbub import Origins, Request

_EXPOSED = "x-amzn-RequestId,x-amzn-query-error,x-amzn-ErrorType,Date"
_ALLOWED = (
    "authorization,content-type,x-amz-target,x-amz-date,x-amz-security-token,"
    "x-amz-content-sha256,x-amz-user-agent,x-amzn-query-mode,amz-sdk-invocation-id,amz-sdk-request"
)
_MAX_AGE = "172800"


class Cors:
    """Decides for a list of origins, as `hubbub.Origins` reads it."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = Origins(origins)

    def allows(self, origin: str) -> bool:
        """Tell whether pages of this origin may call."""
        return origin in self._origins

    def headers(self, origin: str) -> tuple[tuple[str, str], ...]:
        """Return the headers of an answer to a page of an origin that is allowed."""
        return (
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Expose-Headers", _EXPOSED),
            ("Vary", "Origin"),
        )

    def preflight(self, request: Request, origin: str) -> tuple[tuple[str, str], ...]:
        """Return the headers of the answer to a preflight request (Fetch standard, 3.2)."""
        asked = request.headers.get("access-control-request-headers")
        return (
            *self.headers(origin),
            ("Access-Control-Allow-Methods", "GET,POST,OPTIONS"),
            ("Access-Control-Allow-Headers", asked or _ALLOWED),
            ("Access-Control-Max-Age", _MAX_AGE),
        )
