"""Listening and transports: what every protocol server is built on.

A protocol is served by a handler, an async function that takes a `Transport`; `serve_tcp` runs it
for each connection, over TCP or TLS, within the limits of `ListenerSettings`. One `Flusher` per
process sends what the transports have buffered; one `Shutdown` tells all of them to stop.
"""

from hubbub.net.deadline import Deadline
from hubbub.net.flusher import Flusher
from hubbub.net.listener import (
    Address,
    Handler,
    ListenerSettings,
    ListenerStats,
    OnError,
    TlsListenerSettings,
    TlsSettings,
    parse_address,
    serve_tcp,
)
from hubbub.net.shutdown import Shutdown
from hubbub.net.transport import (
    SLOW_CONSUMER,
    StreamTransport,
    TcpTransport,
    Transport,
    TransportClosed,
    TransportStats,
    WriteLimits,
)

__all__ = [
    "SLOW_CONSUMER",
    "Address",
    "Deadline",
    "Flusher",
    "Handler",
    "ListenerSettings",
    "ListenerStats",
    "OnError",
    "Shutdown",
    "StreamTransport",
    "TcpTransport",
    "TlsListenerSettings",
    "TlsSettings",
    "Transport",
    "TransportClosed",
    "TransportStats",
    "WriteLimits",
    "parse_address",
    "serve_tcp",
]
