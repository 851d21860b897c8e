"""Reading requests without sockets: in pieces, mutated, and by both libraries alike."""

import contextlib
from itertools import pairwise

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hubbub.http import BadRequest, RequestHead, h11_heads, httptools_heads
from hubbub.http.chunked import ChunkedDecoder, ChunkedError
from hubbub.http.parser import RequestParser, Splitter

SPLITTERS = [h11_heads.split, httptools_heads.split]

Read = list[tuple[RequestHead, bytes]]

REQUESTS = [
    b"GET /a?b HTTP/1.1\r\nHost: a\r\nX-Y: 1, 2\r\nX-Y:\t3 \r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\nContent-Length: 5\r\nConnection: close, x\r\n\r\nhello",
    (
        b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
        b"3;x=y\r\nabc\r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n"
    ),
    b"\r\nHEAD * HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
]


def parser(split: Splitter) -> RequestParser:
    return RequestParser(split, max_head_bytes=1000, max_headers=20)


def read(split: Splitter, pieces: list[bytes]) -> tuple[Read, str]:
    """The requests in some bytes, and whether they are refused in the end."""
    reading = parser(split)
    found: Read = []
    body: list[bytes] | None = None
    try:
        for piece in pieces:
            reading.feed(piece)
            while True:
                if body is None:
                    head = reading.next_head()
                    if head is None:
                        break
                    body = []
                    found.append((head, b""))
                part = reading.next_body()
                if part is None:
                    break
                if part:
                    body.append(part)
                if reading.body_done:
                    found[-1] = (found[-1][0], b"".join(body))
                    body = None
    except BadRequest:
        return found, "refused"
    return found, "more" if body is not None or reading.pending else ""


def cut(whole: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(whole) + 1) for place in cuts), len(whole)]
    return [whole[begin:end] for begin, end in pairwise(places)]


@pytest.mark.parametrize("split", SPLITTERS)
@given(st.lists(st.sampled_from(REQUESTS), max_size=5), st.lists(st.integers(0, 2000)))
def test_whole_or_in_pieces(split: Splitter, requests: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(requests)
    found, rest = read(split, [whole])
    assert (len(found), rest) == (len(requests), "")
    assert read(split, cut(whole, cuts)) == (found, "")
    assert read(split, [bytes([byte]) for byte in whole]) == (found, "")


@pytest.mark.parametrize("split", SPLITTERS)
def test_what_a_head_says(split: Splitter) -> None:
    found, _ = read(split, REQUESTS)
    heads = [head for head, _ in found]
    assert [head.method for head in heads] == ["GET", "POST", "PUT", "HEAD"]
    assert [head.target for head in heads] == ["/a?b", "/", "/", "*"]
    assert [head.version for head in heads] == ["1.1", "1.1", "1.1", "1.0"]
    assert [head.keep_alive for head in heads] == [True, False, True, True]
    assert [head.expects_continue for head in heads] == [False, False, True, False]
    assert [head.content_length for head in heads] == [0, 5, None, 0]
    assert heads[0].headers == [(b"host", b"a"), (b"x-y", b"1, 2"), (b"x-y", b"3")]
    assert [body for _, body in found] == [b"", b"hello", b"abc0123456789", b""]


SEPARATORS = [
    *(bytes([byte]) for byte in b"\r\n \t:,;0\0\x7f\xff"),
    b"\r\n",
    b"\r\nContent-Length: 3",
    b"\r\nTransfer-Encoding: chunked",
    b"\r\nHost: b",
]
MUTATIONS = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.sampled_from(["replace", "insert", "delete"]),
        st.one_of(
            st.sampled_from(SEPARATORS),
            st.binary(min_size=1, max_size=3),
        ),
    ),
    min_size=1,
    max_size=4,
)


@given(st.sampled_from(REQUESTS), MUTATIONS)
def test_both_libraries_read_the_same(
    request: bytes, mutations: list[tuple[int, str, bytes]]
) -> None:
    """What one takes for a request and the other doesn't could smuggle one past a proxy."""
    for place, kind, data in mutations:
        at = place % len(request)
        end = at + (0 if kind == "insert" else len(data))
        request = request[:at] + (b"" if kind == "delete" else data) + request[end:]
        if not request:
            return
    assert read(h11_heads.split, [request]) == read(httptools_heads.split, [request])


@pytest.mark.parametrize("split", SPLITTERS)
@given(st.binary(max_size=2000), st.lists(st.integers(0, 2000)))
def test_any_bytes_are_read_or_refused(split: Splitter, data: bytes, cuts: list[int]) -> None:
    read(split, cut(data, cuts))


@pytest.mark.parametrize("split", SPLITTERS)
def test_what_is_kept_is_bounded(split: Splitter) -> None:
    for endless in (b"x", b"GET / HTTP/1.1\r\nX: ", b"X: y\r\n", b"\r\n\r"):
        assert read(split, [endless] * 1000) == ([], "refused")
        reading = parser(split)
        with contextlib.suppress(BadRequest):
            while True:
                reading.feed(endless)
                reading.next_head()
        assert reading.pending <= 1000 + len(endless)
    reading = parser(split)
    for _ in range(1000):
        reading.feed(b"\r\n" * 100)  # no request comes of it, and nothing is kept
        assert reading.next_head() is None
        assert reading.pending == 0


CHUNKS = st.lists(st.binary(min_size=1, max_size=50), max_size=10)


@given(CHUNKS, st.lists(st.integers(0, 2000)), st.binary(max_size=10))
@example([], [], b"")
def test_chunked_bodies_are_those_of_h11(chunks: list[bytes], cuts: list[int], rest: bytes) -> None:
    body = b"".join(b"%X;ext\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    body += b"0\r\nX: y\r\n\r\n"
    decoder = ChunkedDecoder(b"", max_trailer_bytes=100)
    parts: list[bytes] = []
    for piece in cut(body, cuts):
        decoder.feed(piece)
        while piece and (part := decoder.next()) is not None:
            parts.append(part)
            if not part:
                break
    assert parts[-1] == b""
    decoder.feed(rest)
    assert decoder.rest() == rest
    oracle = h11.Connection(h11.SERVER)
    oracle.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    expected = b""
    while not isinstance(event := oracle.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Data):
            expected += event.data
    assert b"".join(parts) == expected == b"".join(chunks)


@given(st.binary(max_size=200))
def test_any_bytes_are_chunks_or_refused(data: bytes) -> None:
    decoder = ChunkedDecoder(data, max_trailer_bytes=50)
    try:
        while decoder.next():
            pass
    except ChunkedError:
        return
    assert decoder.pending <= len(data)
