"""Requests from HTTP/2 header fields, and header fields from answers. Without I/O.

Source: RFC 9113, 8.2 and 8.3.
"""

import re
from collections.abc import Iterable

from hubbub.http.heads import CommonHeaders
from hubbub.http.messages import Response
from hubbub.http.parser import BadRequest, RequestHead

__all__ = ["read_head", "write_fields"]

_TARGET = re.compile(rb"[\x21-\x7e]+")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "upgrade"})
"""What says something of an HTTP/1.1 connection, and must not be sent (8.2.2)."""


def read_head(
    fields: Iterable[tuple[bytes | str, bytes | str]], max_headers: int, *, ended: bool
) -> RequestHead:
    """Turn header fields into a request's head.

    Args:
        fields: as h2 gives them, which has checked them.
        max_headers: of a request.
        ended: whether the request has no body.

    Raises:
        BadRequest: it is none that HTTP/1.1 could have carried.
    """
    pseudo: dict[bytes, bytes] = {}
    headers: list[tuple[bytes, bytes]] = []
    for name, value in fields:
        raw_name, raw_value = _raw(name), _raw(value)
        if raw_name.startswith(b":"):
            pseudo[raw_name] = raw_value
        else:
            headers.append((raw_name, raw_value))
    if len(headers) > max_headers:
        raise BadRequest("too many headers", 431)
    method = pseudo[b":method"].decode("latin-1")
    if not _TOKEN.fullmatch(method):
        raise BadRequest("illegal method")
    if method == "CONNECT":
        raise BadRequest("no CONNECT here", 501)
    path = pseudo[b":path"]
    if not _TARGET.fullmatch(path) or not (path.startswith(b"/") or path == b"*"):
        raise BadRequest("illegal path")
    by_name = dict(headers)
    authority = pseudo.get(b":authority")
    if authority is not None and b"host" not in by_name:
        headers.insert(0, (b"host", authority))
    length = int(by_name[b"content-length"]) if b"content-length" in by_name else None
    if ended:
        if length:
            raise BadRequest("the body is shorter than its Content-Length")
        length = 0
    expects_continue = by_name.get(b"expect", b"").lower() == b"100-continue"
    return RequestHead(method, path.decode("ascii"), "2", headers, True, expects_continue, length)


def write_fields(
    response: Response, method: str, common: CommonHeaders
) -> tuple[list[tuple[bytes, bytes]], int | None]:
    """Return the header fields of an answer, and the length of a streamed body if it is known.

    Args:
        response: the answer.
        method: of the request.
        common: the headers that the server adds.

    Raises:
        ValueError: the answer would break the message.
    """
    status, body = response.status, response.body
    if not 200 <= status <= 599:
        raise ValueError(f"no final HTTP status: {status}")
    length: str | None = None
    added = {"date": common.date(), "server": common.server}
    fields: list[tuple[str, str]] = []
    for given, value in response.headers:
        name = given.lower()
        if name in _HOP_BY_HOP:
            continue
        if name == "transfer-encoding":
            raise ValueError("Transfer-Encoding is set by the server alone")
        if name == "content-length":
            length = value
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"illegal response headers: {response.headers!r}")
        added.pop(name, None)
        fields.append((name, value.strip()))
    if status in {204, 304}:
        if body:
            raise ValueError(f"an answer with status {status} has no body")
    elif isinstance(body, bytes):
        if length is None:
            fields.append(("content-length", str(len(body))))
        elif length != str(len(body)) and method != "HEAD":
            raise ValueError(f"Content-Length is {length}, but the body has {len(body)} bytes")
    elif length is not None and not (length.isascii() and length.isdecimal()):
        raise ValueError(f"illegal Content-Length {length!r}")
    first = [(name, value) for name, value in added.items() if value]
    encoded = [
        (name.encode(), value.encode("latin-1"))
        for name, value in [(":status", str(status)), *first, *fields]
    ]
    return encoded, None if length is None else int(length)


def _raw(text: bytes | str) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text
