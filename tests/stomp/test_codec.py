from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub_stomp.decode import Decoder, Limits
from hubbub_stomp.encode import encode, encode_error, encode_headers, encode_receipt
from hubbub_stomp.errors import StompError
from hubbub_stomp.frames import Frame, Version, escape, negotiate, unescape

from .vectors import BAD, GOOD, V10, V11, V12, Bad, Good

SMALL = Limits(head_bytes=300, headers=20, body_bytes=1000)


def single_bytes(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def outcome(decoder: Decoder, pieces: list[bytes]) -> tuple[list[Frame], tuple[str, str] | None]:
    frames = [frame for piece in pieces for frame in decoder.decode(piece)]
    error = decoder.error
    return frames, None if error is None else (error.summary, error.detail)


def test_vectors_are_many_and_have_names_of_their_own() -> None:
    names = [vector.name for vector in (*GOOD, *BAD)]
    assert len(names) == len(set(names)) >= 50


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector.name)
def test_good_vector(vector: Good) -> None:
    whole, error = outcome(Decoder(SMALL, vector.version), [vector.data])
    assert error is None
    (frame,) = whole
    assert (frame.command, frame.headers, frame.body) == (
        vector.command, vector.headers, vector.body,
    )  # fmt: skip
    assert outcome(Decoder(SMALL, vector.version), single_bytes(vector.data)) == (whole, None)


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector.name)
def test_every_cut_of_a_frame_waits_for_more(vector: Good) -> None:
    for cut in range(len(vector.data.rstrip(b"\r\n"))):
        assert outcome(Decoder(SMALL, vector.version), [vector.data[:cut]]) == ([], None)


@pytest.mark.parametrize("vector", BAD, ids=lambda vector: vector.name)
def test_bad_vector(vector: Bad) -> None:
    whole = outcome(Decoder(SMALL, vector.version), [vector.data])
    assert whole[0] == []
    assert whole[1] is not None
    assert whole[1][0] == vector.summary
    assert vector.detail in whole[1][1]
    assert outcome(Decoder(SMALL, vector.version), single_bytes(vector.data)) == whole


def test_frames_before_a_malformed_one_come_out_first() -> None:
    decoder = Decoder(version=V12)
    frames = decoder.decode(b"ACK\nid:1\n\n\0ACK\nid:2\n\n\0ACK\nid\n\n\0ACK\nid:3\n\n\0")
    assert [frame.headers["id"] for frame in frames] == ["1", "2"]
    assert decoder.error is not None
    assert decoder.decode(b"ACK\nid:4\n\n\0") == []


def test_a_refused_frame_tells_its_receipt() -> None:
    decoder = Decoder(version=V12)
    assert decoder.decode(b"SEND\na:\\t\nreceipt:r 1\r\n\nbody\0") == []
    assert decoder.error is not None
    assert decoder.error.receipt == "r 1"


def test_the_first_frame_of_a_connection_stands_alone() -> None:
    decoder = Decoder()
    (connect,) = decoder.decode(b"CONNECT\n\n\0\nSEND\na:\\c\n\n\0ACK\n\n\0")
    assert connect.command == "CONNECT"
    decoder.version = V12
    assert [frame.command for frame in decoder.decode(b"")] == ["SEND", "ACK"]


def test_heads_that_repeat_are_parsed_once() -> None:
    decoder = Decoder(version=V12)
    first, second = decoder.decode(b"SEND\ndestination:/queue/a\n\n1\0" * 2)
    assert first.head is second.head
    (one,) = decoder.decode(b"SEND\nreceipt:a\\c1\r\ndestination:/queue/a\n\n1\0")
    (other,) = decoder.decode(b"SEND\ndestination:/queue/a\nreceipt:2\n\n\0")
    assert one.head is other.head is first.head
    assert [each.receipt for each in (first, one, other)] == ["", "a:1", "2"]


def test_receipts() -> None:
    data = b"ACK\nid:1\nreceipt: 1 \nreceipt:2\n\n\0"
    (frame,) = Decoder(version=V12).decode(data)
    assert frame.receipt == " 1 "
    (frame,) = Decoder(version=V10).decode(data)
    assert frame.receipt == "1"
    for bad in (b"\xff", b"\\t", b"\0"):
        decoder = Decoder(version=V12)
        assert decoder.decode(b"ACK\nid:1\nreceipt:%s\n\n\0" % bad) == []
        assert decoder.error is not None


def test_many_different_heads_are_not_all_remembered() -> None:
    decoder = Decoder(version=V12)
    for number in range(1000):
        decoder.decode(b"SEND\ndestination:/queue/%d\n\n\0" % number)
    assert len(decoder._heads) <= 64


def test_a_body_that_trickles_in_is_not_searched_again_and_again() -> None:
    decoder = Decoder(version=V12)
    decoder.decode(b"SEND\n\n")
    for _ in range(200_000):
        assert decoder.decode(b"x") == []
    (frame,) = decoder.decode(b"\0")
    assert len(frame.body) == 200_000


@pytest.mark.parametrize(
    ("offer", "version"),
    [(None, V10), ("1.0", V10), ("1.1,1.0", V11), ("1.0,1.1,1.2", V12), ("1.3, 1.2", V12)],
)
def test_the_highest_common_version_is_chosen(offer: str | None, version: Version) -> None:
    assert negotiate(offer) is version


@pytest.mark.parametrize("offer", ["2.0", "", "1", "1.20"])
def test_no_common_version(offer: str) -> None:
    with pytest.raises(StompError, match="Version mismatch"):
        negotiate(offer)


def test_encoding_escapes_by_version() -> None:
    headers = {"a:b": "c\nd\\e:f"}
    assert encode("X", headers, version=V12) == b"X\na\\cb:c\\nd\\\\e\\cf\n\n\0\n"
    assert encode("X", headers, version=V11) == b"X\na\\cb:c\\nd\\\\e\\cf\n\n\0\n"
    with pytest.raises(ValueError, match=r"1\.0 cannot"):
        encode("X", headers, version=V10)
    assert encode("X", {"a": "c\\e:f"}, version=V10) == b"X\na:c\\e:f\n\n\0\n"


def test_connected_is_never_escaped() -> None:
    assert encode("CONNECTED", {"session": "a\\b:c"}) == b"CONNECTED\nsession:a\\b:c\n\n\0\n"


def test_what_a_version_cannot_say_is_named() -> None:
    headers = [("a", "1"), ("b", "x\ry"), ("c", "x\0y"), ("", "z"), ("d", "\ud800"), ("e", " 2")]
    assert encode_headers(headers, V12) == (b"a:1\nb:x\\ry\ne: 2\n", ("c", "", "d"))
    assert encode_headers(headers, V11) == (b"a:1\ne: 2\n", ("b", "c", "", "d"))
    assert encode_headers(headers, V10) == (b"a:1\n", ("b", "c", "", "d", "e"))


def test_receipt_and_error() -> None:
    assert encode_receipt("a:1", V12) == b"RECEIPT\nreceipt-id:a\\c1\n\n\0\n"
    assert encode_error(StompError("Bad", "very\n", "r"), V12) == (
        b"ERROR\nmessage:Bad\ncontent-type:text/plain\nversion:1.0,1.1,1.2\nreceipt-id:r\n"
        b"content-length:5\n\nvery\n\0\n"
    )


# Whatever the bytes


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
VERSIONS = st.sampled_from(Version)


@given(VERSIONS, TEXT)
def test_unescape_undoes_escape(version: Version, text: str) -> None:
    escaped = escape(text, version)
    if escaped is None:
        assert version is not V12
    else:
        assert unescape(escaped, version) == text


@given(
    VERSIONS,
    st.sampled_from(["SEND", "MESSAGE", "ACK"]),
    st.dictionaries(TEXT.filter(bool), TEXT, max_size=8),
    st.binary(max_size=50),
    st.integers(1, 20),
)
def test_decode_undoes_encode(
    version: Version, command: str, headers: dict[str, str], body: bytes, size: int
) -> None:
    try:
        data = encode(command, headers, body, version)
    except ValueError:
        assert version is not V12
        return
    if {"content-length", "receipt"} & headers.keys() or (
        version is V10 and any(n != n.strip() for n in headers)
    ):
        return
    data *= 2
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    frames, error = outcome(Decoder(version=version), pieces)
    assert error is None
    expected = {**headers, "content-length": str(len(body))} if body else headers
    assert [(each.command, each.headers, each.body) for each in frames] == (
        [(command, expected, body)] * 2
    )


GARBAGE = st.lists(
    st.sampled_from(
        [b"SEND", b"\n", b"\r\n", b"\r", b"\0", b":", b"\\", b"\\n", b"content-length:", b"2", b"a",
         b"receipt:", b"\n\n", b"CONNECT", b"\xff", b"destination:/queue/a"]
    ),
    max_size=40,
).map(b"".join)  # fmt: skip


@given(GARBAGE, VERSIONS, st.integers(1, 9))
def test_pieces_make_no_difference(data: bytes, version: Version, size: int) -> None:
    whole = outcome(Decoder(SMALL, version), [data])
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert outcome(Decoder(SMALL, version), pieces) == whole
    assert outcome(Decoder(SMALL, version), single_bytes(data)) == whole


def test_noise_between_frames_is_passed_over() -> None:
    data = (
        b"\0\n\0\r\n\0SEND\ndestination:/queue/a\n\nx\0\0\n\0\0SEND\ndestination:/queue/a\n\ny\0\0"
    )
    for pieces in ([data], single_bytes(data)):
        frames, error = outcome(Decoder(version=V12), pieces)
        assert ([each.body for each in frames], error) == ([b"x", b"y"], None)


@given(st.data())
def test_mutated_frames_raise_nothing(data: st.DataObject) -> None:
    vector = data.draw(st.sampled_from(GOOD))
    changed = bytearray(vector.data)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    decoder = Decoder(SMALL, vector.version)
    decoder.decode(bytes(changed))
    assert decoder.error is None or isinstance(decoder.error, StompError)
