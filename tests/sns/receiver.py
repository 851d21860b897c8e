"""A real HTTP endpoint for notifications, in a thread."""

import json
import queue
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Call(NamedTuple):
    """A request that came in. Header names are in lower case."""

    headers: dict[str, str]
    body: str
    path: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """What was received, and what the next requests are answered with (200 if nothing)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.calls: queue.Queue[Call] = queue.Queue()
        self.answers: queue.Queue[int] = queue.Queue()
        self.free = threading.Event()
        self.free.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Answer nothing while the context is open."""
        self.free.clear()
        try:
            yield
        finally:
            self.free.set()

    def get(self, timeout: float = 10) -> Call:
        return self.calls.get(timeout=timeout)


@contextmanager
def receive(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Serve an endpoint while the context is open."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:  # the sender was killed on its way
                self.close_connection = True
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.calls.put(Call(headers, body.decode(), self.path))
            receiver.free.wait(10)
            status = 200 if receiver.answers.empty() else receiver.answers.get()
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if context is None else "https"
    receiver = Receiver(f"{scheme}://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
