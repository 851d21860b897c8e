"""What goes wrong, as problem details (RFC 9457): every error of the API is one of these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import msgspec

from hubbub import (
    AddressError,
    BusyError,
    DeniedError,
    ExistsError,
    FilterError,
    HttpError,
    HubbubError,
    NoSuchShardError,
    NotFoundError,
    RefusedError,
    Response,
    StreamError,
    UnavailableError,
)

MEDIA_TYPE: Final = "application/problem+json"
PATH: Final = "/problems/"
"""Where the kinds of problem are explained; `type` leads there."""
RETRY_AFTER: Final = 1
"""Seconds after which what was refused for a shortage may be tried again."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: its status, its title, and what a person can do about it."""

    status: int
    title: str
    advice: str


KINDS: Final[Mapping[str, Kind]] = {
    "bad-request": Kind(
        400, "Bad request", "Something in the request is not what it must be; `detail` says what."
    ),
    "bad-address": Kind(400, "Not an address", "Names of queues, streams and topics are checked."),
    "bad-filter": Kind(400, "Not a filter", "`detail` says where the filter is wrong."),
    "bad-message": Kind(
        400, "Not a message", "A message is described in JSON as the OpenAPI document says."
    ),
    "bad-frame": Kind(
        400,
        "Not a frame",
        "Frames are objects of JSON, as the AsyncAPI document says; `detail` says what is wrong.",
    ),
    "bad-token": Kind(
        400, "Not a lease token", "Use the token as it came with the message, whole."
    ),
    "unauthenticated": Kind(
        401,
        "Credentials needed",
        "Send `Authorization: Bearer TOKEN` or `Basic` with a user of the configuration.",
    ),
    "forbidden": Kind(403, "Not allowed", "The user's permissions do not cover this."),
    "origin": Kind(
        403,
        "Web page not allowed",
        "Add the page's origin to `gateway.cors.origins` if it may call the API.",
    ),
    "not-found": Kind(404, "Not found", "There is no such queue, stream, subscription or path."),
    "method": Kind(405, "Method not allowed", "The header `Allow` has the methods of this path."),
    "not-acceptable": Kind(
        406, "No such form", "`detail` has the media types that this answer can be given in."
    ),
    "exists": Kind(409, "Exists with other settings", "Change it with PATCH, or use another name."),
    "in-use": Kind(409, "In use", "It was to be deleted only without messages, or consumers."),
    "lease-lost": Kind(
        409,
        "Lease lost",
        "The lease ended and somebody else has received the message since: their token counts.",
    ),
    "lease-over": Kind(410, "Lease over", "The message is settled, or gone from the queue."),
    "too-large": Kind(413, "Too large", "Send less in one request, or raise the limit."),
    "media-type": Kind(
        415, "Media type not supported", "`detail` has the media types that are taken here."
    ),
    "wrong-host": Kind(
        421,
        "Unknown host name",
        "Without credentials the gateway answers to addresses and `localhost` alone, and to the "
        "names in `gateway.host_names`.",
    ),
    "upgrade": Kind(
        426,
        "WebSocket only",
        "Open it with a WebSocket client: `new WebSocket(url, 'hubbub.v1')` in JavaScript.",
    ),
    "refused": Kind(429, "Refused for now", "A limit of the queue or stream is reached."),
    "unavailable": Kind(503, "Not available now", "The store can't write, or the hub is stopping."),
}


class Problem(Exception):  # noqa: N818 - the RFC's own word
    """An error to be told to the client.

    Args:
        kind: its name in `KINDS`.
        detail: what is wrong with this request, for a person to act on.
        headers: further headers of the answer.
        members: further members of the problem, such as which entry of a batch.
    """

    def __init__(
        self, kind: str, detail: str, headers: Iterable[tuple[str, str]] = (), **members: Any
    ) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.status = KINDS[kind].status
        self.detail = detail
        self.headers = tuple(headers)
        self.members = members

    def details(self) -> dict[str, Any]:
        """Return the problem's members (RFC 9457, section 3)."""
        return {
            "type": PATH + self.kind,
            "title": KINDS[self.kind].title,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }

    def response(self) -> Response:
        """Return the answer that tells it."""
        headers = [("Content-Type", MEDIA_TYPE), *self.headers]
        if self.status in {429, 503}:
            headers.append(("Retry-After", str(RETRY_AFTER)))
        return Response(self.status, headers, msgspec.json.encode(self.details()))


def problem_of(error: HubbubError | HttpError) -> Problem:
    """Spell an error of the bus, or of the HTTP server, as a problem."""
    text = str(error)
    match error:
        case HttpError():
            return _problem_of_status(error)
        case AddressError():
            return Problem("bad-address", text)
        case FilterError():
            return Problem("bad-filter", text)
        case DeniedError():
            return Problem("forbidden", text)
        case NotFoundError() | NoSuchShardError():
            return Problem("not-found", text)
        case ExistsError():
            return Problem("exists", text)
        case UnavailableError() | BusyError():
            return Problem("unavailable", text)
        case RefusedError():
            return Problem("refused", text)
        case StreamError():
            return Problem("bad-request", text)
        case _:
            return Problem("bad-request", text)


def _problem_of_status(error: HttpError) -> Problem:
    for kind, each in KINDS.items():
        if each.status == error.status:
            return Problem(kind, error.message, error.headers)
    return Problem("bad-request", error.message, error.headers)


def render_error(error: HttpError) -> Response:
    """Tell what the HTTP server has to say: its status may be none of `KINDS`."""
    if any(each.status == error.status for each in KINDS.values()):
        return _problem_of_status(error).response()
    details = {
        "type": "about:blank",  # RFC 9457, 4.2.1: the status says it all
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.message,
    }
    headers = [("Content-Type", MEDIA_TYPE), *error.headers]
    return Response(error.status, headers, msgspec.json.encode(details))
