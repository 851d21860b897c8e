"""Compressed answers, where the client asks for them and it is worth the work.

Source: RFC 9110, 8.4 and 12.5.3; RFC 1952.
"""

import zlib
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import dataclass

import trio

from hubbub.http.messages import Request, Response, close_body

__all__ = ["CompressionSettings", "compress"]

_GZIP = 16 + zlib.MAX_WBITS
_IN_THREAD = 256 * 1024
"""Bytes from which on compressing would hold up everybody else."""
_TYPES = frozenset(
    {
        "application/graphql",
        "application/javascript",
        "application/json",
        "application/jsonl",
        "application/toml",
        "application/wasm",
        "application/x-ndjson",
        "application/xml",
        "application/yaml",
        "image/svg+xml",
    }
)
_SUFFIXES = ("+json", "+xml", "+yaml", "+json-seq")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionSettings:
    """Which answers are compressed."""

    least_bytes: int = 1024
    """Smaller bodies stay as they are. A streamed body, whose size nobody knows, is compressed."""
    level: int = 5
    """From 1, the fastest, to 9, the smallest."""


_DEFAULT = CompressionSettings()


async def compress(
    request: Request, response: Response, settings: CompressionSettings = _DEFAULT
) -> Response:
    """Return the answer compressed with gzip, if the client accepts that; else as it is.

    Compressed are text, JSON, XML and the like. Left alone are answers with a `Content-Encoding`
    or `Cache-Control: no-transform`, small ones, partial ones (206), and those without a body.
    What could have been compressed gets `Vary: Accept-Encoding`; a strong `ETag` of a compressed
    one is made weak. A streamed body is flushed at each of its parts, so that events arrive.

    Don't use it where an answer holds a secret beside text that a stranger chooses: its size would
    tell of the secret (the attack called BREACH).

    Args:
        request: what is answered.
        response: the answer.
        settings: which answers are compressed.
    """
    headers = {name.lower(): value for name, value in response.headers}
    if (
        response.status in {204, 206, 304}
        or "content-encoding" in headers
        or "content-range" in headers
        or "no-transform" in headers.get("cache-control", "").lower()
        or not _is_compressible(headers.get("content-type", ""))
    ):
        return response
    body = response.body
    if isinstance(body, bytes) and len(body) < settings.least_bytes:
        return response
    fields = _with_vary(response.headers)
    if not _accepts_gzip(request.headers.get_list("accept-encoding")):
        return Response(response.status, fields, body)
    fields = [
        (name, f"W/{value}" if name.lower() == "etag" and value.startswith('"') else value)
        for name, value in fields
        if name.lower() != "content-length"
    ]
    fields.append(("Content-Encoding", "gzip"))
    if not isinstance(body, bytes):
        return Response(response.status, fields, _compress_stream(body, settings.level))
    if len(body) < _IN_THREAD:
        packed = zlib.compress(body, settings.level, _GZIP)
    else:
        packed = await trio.to_thread.run_sync(zlib.compress, body, settings.level, _GZIP)
    return Response(response.status, fields, packed)


async def _compress_stream(body: AsyncIterable[bytes], level: int) -> AsyncIterator[bytes]:
    packer = zlib.compressobj(level, wbits=_GZIP)
    try:
        async for part in body:
            if part:
                yield packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH)
        yield packer.flush()
    finally:
        await close_body(body)


def _is_compressible(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind.startswith("text/") or kind in _TYPES or kind.endswith(_SUFFIXES)


def _accepts_gzip(offered: Sequence[str]) -> bool:
    """Whether gzip has a weight above zero, and none below that of no coding at all."""
    weights: dict[str, float] = {}
    for each in offered:
        coding, _, parameters = each.partition(";")
        name, _, value = parameters.partition("=")
        weight = 1.0
        if name.strip().lower() == "q":
            try:
                weight = float(value)
            except ValueError:
                weight = 0.0
        weights[coding.strip().lower()] = weight
    gzip = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return 0.0 < gzip <= 1.0 and gzip >= weights.get("identity", 0.0)


def _with_vary(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    fields = list(headers)
    for place, (name, value) in enumerate(fields):
        if name.lower() == "vary":
            members = {member.strip().lower() for member in value.split(",")}
            if not members & {"*", "accept-encoding"}:
                fields[place] = (name, f"{value}, Accept-Encoding")
            return fields
    fields.append(("Vary", "Accept-Encoding"))
    return fields
