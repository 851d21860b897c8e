"""Heads by httptools, the default: the parser of Node.js, in C.

It is lax in what it takes for a request line and knows few methods, so that line is split here. It
goes on to look for a body, which is no concern of ours.
"""

import re

import httptools

from hubbub.http.parser import BadRequest, SplitHead

__all__ = ["split"]

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/([0-9]\.[0-9])\r\n")
_COMMON_LINE = b"GET / HTTP/1.1\r\n"


class _Fields:
    """Gets header fields from httptools."""

    __slots__ = ("complete", "headers")

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True


def split(head: bytes) -> SplitHead:
    """Split a head; see `hubbub.http.parser.Splitter`."""
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise BadRequest("illegal request line")
    fields = _Fields()
    parser = httptools.HttpRequestParser(fields)
    try:
        parser.feed_data(_COMMON_LINE + head[line.end() :])
    except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
        if not fields.complete:
            raise BadRequest(f"illegal header line: {error}") from error
    return SplitHead(
        line[1].decode("ascii"), line[2].decode("ascii"), line[3].decode("ascii"), fields.headers
    )
