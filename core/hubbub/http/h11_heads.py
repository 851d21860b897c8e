"""Heads by h11, which is all Python: for those who want no parser in C, and the tests' oracle."""

import h11

from hubbub.http.parser import BadRequest, SplitHead

__all__ = ["split"]


def split(head: bytes) -> SplitHead:
    """Split a head; see `hubbub.http.parser.Splitter`.

    Each takes a new h11 connection: that costs less than h11 following the answer.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head))
    connection.receive_data(head)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise BadRequest(str(error), error.error_status_hint) from error
    assert isinstance(event, h11.Request)
    headers = []
    for name, value in event.headers.raw_items():
        lower = name.lower()
        if lower == b"content-length":
            _check_length(head, name)
        headers.append((lower, value))
    return SplitHead(
        event.method.decode("ascii"),
        event.target.decode("latin-1"),
        event.http_version.decode("ascii"),
        headers,
    )


def _check_length(head: bytes, name: bytes) -> None:
    """Refuse what h11 makes one length of: the same one in a list, or twice."""
    begin = head.index(b"\n" + name + b":") + len(name) + 2
    end = head.index(b"\r", begin)
    if b"," in head[begin:end] or b"\ncontent-length:" in head[end:].lower():
        raise BadRequest("more than one Content-Length")
