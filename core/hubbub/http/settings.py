"""The limits, deadlines and counters of HTTP servers."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["HttpSettings", "HttpStats"]


class HttpSettings(BaseModel):
    """Limits and deadlines of HTTP, for every listener that speaks it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parser: Literal["h11", "httptools"] = Field(
        default="httptools",
        description="What splits the heads of HTTP/1.1 requests: httptools (C), or h11 (Python).",
    )
    max_head_bytes: int = Field(
        default=32 * 1024, ge=256, description="Bytes of a request line with its headers."
    )
    max_headers: int = Field(default=128, ge=1, description="Headers of a request.")
    max_body_bytes: int = Field(
        default=16 * 1024 * 1024,
        ge=0,
        description="Bytes of a request body, unless the application sets its own limit.",
    )
    head_timeout: float = Field(
        default=10.0, gt=0, description="Seconds from a request's first byte to its last header."
    )
    body_timeout: float = Field(
        default=60.0, gt=0, description="Seconds in which a request body must have arrived."
    )
    keep_alive_timeout: float = Field(
        default=75.0, gt=0, description="Seconds a connection may wait for its next request."
    )
    linger: float = Field(
        default=2.0,
        ge=0,
        description="Seconds that a client which still sends when it has been answered gets to "
        "finish, or to read the answer.",
    )
    http2: bool = Field(
        default=True,
        description="Speak HTTP/2 too: by ALPN on TLS, by prior knowledge on plain TCP.",
    )
    http2_max_streams: int = Field(
        default=100, ge=1, description="Requests at once on one HTTP/2 connection."
    )
    server_header: str = Field(
        default="hubbub", description="The Server header of all answers; empty for none."
    )


@dataclass(slots=True, kw_only=True)
class HttpStats:
    """What an HTTP server has done. Plain integers, read by metrics."""

    requests: int = 0
    bad_requests: int = 0
    """Malformed or too large."""
    timeouts: int = 0
    """Requests that did not arrive in time."""
    crashes: int = 0
    """Requests answered with 500 because the application failed."""
    upgrades: int = 0
    """Connections handed to another protocol, such as WebSocket."""
    http2_connections: int = 0
    http2_floods: int = 0
    """HTTP/2 connections closed because they sent too much that asks for nothing."""
    http2_refused: int = 0
    """HTTP/2 requests refused because too many were under way on their connection."""
    http2_slow_readers: int = 0
    """HTTP/2 answers cut off because the client did not take them."""
