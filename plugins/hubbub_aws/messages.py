"""One HTTP request and response, as the AWS protocols see them."""

import uuid
from collections.abc import AsyncIterable, Iterable
from typing import NamedTuple


class Request:
    """A request: ``path`` and ``query`` are as sent, still percent-encoded.

    ``headers`` has lower-case names; the values of a repeated header are joined by commas, which is
    also how Signature Version 4 reads them.
    """

    __slots__ = ("body", "headers", "method", "path", "query")

    def __init__(
        self, method: str, path: str, query: str, headers: dict[str, str], body: bytes
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body

    @classmethod
    def from_wire(
        cls, method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes
    ) -> "Request":
        """From what an HTTP parser gives: undecoded bytes, header names in any case."""
        merged: dict[str, str] = {}
        for raw_name, raw_value in headers:
            name = raw_name.decode("latin-1").lower()
            # Signers hash the bytes on the wire, so decoding must be reversible.
            value = raw_value.decode("utf-8", "surrogateescape").strip(" \t")
            merged[name] = f"{merged[name]},{value}" if name in merged else value
        path, _, query = target.decode("utf-8", "surrogateescape").partition("?")
        return cls(method.decode("latin-1"), path, query, merged, body)


class Response(NamedTuple):
    """An answer. ``Content-Length``, ``Date`` and the like are the HTTP server's.

    ``events``: the messages of a stream, in place of the body.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    events: AsyncIterable[bytes] | None = None


def new_request_id() -> str:
    """A fresh request id, as AWS sends them: a UUID."""
    return str(uuid.uuid4())
