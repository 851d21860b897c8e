"""HTTP over a plain socket: to see exactly what goes over the wire."""

import json
import socket
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode, urlsplit


@dataclass
class Answer:
    """An HTTP answer; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One kept-alive connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.host = parts.netloc
        self._socket = socket.create_connection((parts.hostname, parts.port), 15)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def send(
        self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        fields = {"Host": self.host, "Content-Length": str(len(body)), **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._socket.sendall(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + body)

    def send_json(self, operation: str, params: object, **headers: str) -> None:
        body = params if isinstance(params, bytes) else json.dumps(params).encode()
        fields = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"AmazonSQS.{operation}",
        }
        self.send("POST", "/", body, fields | headers)

    def read(self) -> Answer:
        line = self._file.readline()
        if not line:
            raise EOFError
        headers: dict[str, str] = {}
        while (field := self._file.readline()) != b"\r\n":
            name, _, value = field.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = self._file.read(int(headers.get("content-length", 0)))
        return Answer(int(line.split()[1]), headers, body)

    def json(self, operation: str, params: object, **headers: str) -> Answer:
        self.send_json(operation, params, **headers)
        return self.read()

    def query(self, action: str, path: str = "/", method: str = "POST", **params: str) -> Answer:
        form = urlencode({"Action": action, "Version": "2012-11-05", **params})
        if method == "GET":
            self.send("GET", f"{path}?{form}")
        else:
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            self.send("POST", path, form.encode(), kind)
        return self.read()
