"""Compressed answers: what is asked for, what is worth it, what must stay as it is."""

import gzip
import zlib
from collections.abc import AsyncIterator
from typing import cast

import pytest

from hubbub.http import CompressionSettings, Request, RequestHead, Response, compress
from hubbub.http.messages import Exchange

TEXT = b"hubbub " * 1000


def asking(accept_encoding: str | None) -> Request:
    headers = [] if accept_encoding is None else [(b"accept-encoding", accept_encoding.encode())]
    head = RequestHead("GET", "/", "1.1", headers, True, False, 0)
    return Request(head, cast("Exchange", None))


def answer(*headers: tuple[str, str], body: bytes = TEXT, kind: str = "text/plain") -> Response:
    return Response(200, [("Content-Type", kind), *headers], body)


def names(response: Response) -> list[str]:
    return [name.lower() for name, _ in response.headers]


@pytest.mark.parametrize(
    ("accept", "compressed"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("br, gzip;q=0.5, *;q=0", True),
        ("gzip; q=0", False),
        ("gzip;q=0.0, *", False),
        ("*", True),
        ("br", False),
        ("identity", False),
        ("identity;q=1, gzip;q=0.5", False),
        ("gzip;q=1, identity;q=0.5", True),
        ("gzip;q=x", False),
        ("gzip;q=nan", False),
    ],
)
async def test_only_where_asked(accept: str | None, compressed: bool) -> None:
    packed = await compress(asking(accept), answer())
    assert isinstance(packed.body, bytes)
    headers = dict(packed.headers)
    assert headers["Vary"] == "Accept-Encoding"
    assert ("Content-Encoding" in headers) == compressed
    assert (gzip.decompress(packed.body) if compressed else packed.body) == TEXT


@pytest.mark.parametrize(
    ("kind", "compressed"),
    [
        ("text/html; charset=utf-8", True),
        ("application/json", True),
        ("Application/Problem+JSON", True),
        ("application/atom+xml", True),
        ("image/svg+xml", True),
        ("application/octet-stream", False),
        ("image/png", False),
        ("", False),
    ],
)
async def test_only_types_that_shrink(kind: str, compressed: bool) -> None:
    packed = await compress(asking("gzip"), answer(kind=kind))
    assert ("content-encoding" in names(packed)) == ("vary" in names(packed)) == compressed


@pytest.mark.parametrize(
    "response",
    [
        answer(body=b"x" * 1023),
        answer(("Content-Encoding", "br")),
        answer(("cache-control", "max-age=1, No-Transform")),
        answer(("Content-Range", "bytes 0-6999/9000")),
        Response(204),
        Response(304, [("Content-Type", "text/plain")]),
        Response(206, [("Content-Type", "text/plain")], TEXT),
        Response(200, (), TEXT),
    ],
)
async def test_what_is_left_alone(response: Response) -> None:
    assert await compress(asking("gzip"), response) is response


async def test_settings() -> None:
    settings = CompressionSettings(least_bytes=1, level=9)
    packed = await compress(asking("gzip"), answer(body=b"small"), settings)
    assert "content-encoding" in names(packed)


async def test_headers_follow() -> None:
    response = answer(("ETag", '"abc"'), ("Content-Length", "7000"), ("Vary", "Origin"))
    packed = await compress(asking("gzip"), response)
    assert list(packed.headers) == [
        ("Content-Type", "text/plain"),
        ("ETag", 'W/"abc"'),
        ("Vary", "Origin, Accept-Encoding"),
        ("Content-Encoding", "gzip"),
    ]
    for vary in ("*", "Origin, accept-encoding"):
        packed = await compress(asking("gzip"), answer(("vary", vary)))
        assert dict(packed.headers)["vary"] == vary


async def test_a_large_body() -> None:
    body = bytes(range(256)) * 4096
    packed = await compress(asking("gzip"), answer(body=body))
    assert isinstance(packed.body, bytes)
    assert gzip.decompress(packed.body) == body


async def test_a_stream_arrives_part_by_part_and_is_closed() -> None:
    closed = False

    async def events() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            for number in range(3):
                yield b"data: %d\n\n" % number
                yield b""
        finally:
            closed = True

    response = Response(200, [("Content-Type", "text/event-stream")], events())
    packed = await compress(asking("gzip"), response)
    assert not isinstance(packed.body, bytes)
    unpacker = zlib.decompressobj(31)
    parts = [unpacker.decompress(part) async for part in packed.body]
    assert parts == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n", b""]
    assert unpacker.eof
    assert closed
