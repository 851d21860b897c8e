"""The HTTP server: one for every HTTP and WebSocket user of the process.

An application is an async function from a `Request` to a `Response`, or to an `Upgrade` that
hands the connection to another protocol. `HttpServer` is a handler for `hubbub.server.serve_tcp`.
"""

from hubbub.http.compression import CompressionSettings, compress
from hubbub.http.messages import App, Headers, HttpError, Request, Response, Upgrade
from hubbub.http.origins import Origins
from hubbub.http.parser import BadRequest, RequestHead
from hubbub.http.server import HttpServer
from hubbub.http.settings import HttpSettings, HttpStats

__all__ = [
    "App",
    "BadRequest",
    "CompressionSettings",
    "Headers",
    "HttpError",
    "HttpServer",
    "HttpSettings",
    "HttpStats",
    "Origins",
    "Request",
    "RequestHead",
    "Response",
    "Upgrade",
    "compress",
]
