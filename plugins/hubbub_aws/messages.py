"""One HTTP request and response, as the AWS protocols see them."""

import random
from base64 import b64encode
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar, overload

T = TypeVar("T")


class RawHeaders(Mapping[str, str]):
    """Headers as an HTTP parser gives them, decoded when they are asked for.

    Names are lower-case. Most requests have three or four times the headers that matter.
    """

    __slots__ = ("_fields",)

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._fields = dict(raw)
        if len(self._fields) < len(raw):
            merged: dict[bytes, bytes] = {}
            for name, value in raw:
                merged[name] = merged[name] + b"," + value if name in merged else value
            self._fields = merged

    @overload
    def get(self, key: str, /) -> str | None: ...
    @overload
    def get(self, key: str, /, default: str | T) -> str | T: ...
    def get(self, key: str, /, default: object = None) -> object:
        """Return a header; signers hash its bytes, so decoding is reversible."""
        value = self._fields.get(key.encode())
        return default if value is None else value.decode("utf-8", "surrogateescape")

    def __getitem__(self, name: str) -> str:
        return self._fields[name.encode()].decode("utf-8", "surrogateescape")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.encode() in self._fields

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._fields)

    def __len__(self) -> int:
        return len(self._fields)


class Request:
    """A request: ``path`` and ``query`` are as sent, still percent-encoded.

    ``headers`` has lower-case names; the values of a repeated header are joined by commas, which is
    also how Signature Version 4 reads them.
    """

    __slots__ = ("body", "headers", "method", "path", "query")

    def __init__(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
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
    """A fresh request id, as AWS sends them: a random UUID. No secret, so no secure source."""
    text = f"{random.getrandbits(120):030x}"
    return f"{text[:8]}-{text[8:12]}-4{text[12:15]}-a{text[15:18]}-{text[18:]}"


def new_extended_request_id() -> str:
    """A fresh ``x-amz-id-2``, which some services send beside the request id: 72 random bytes."""
    return b64encode(random.getrandbits(576).to_bytes(72)).decode("ascii")
