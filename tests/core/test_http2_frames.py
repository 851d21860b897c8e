"""The cutting of HTTP/2 frames and the allowance for what asks for nothing, without sockets."""

import contextlib
import itertools

import pytest
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame, PingFrame, SettingsFrame
from hypothesis import given
from hypothesis import strategies as st

from hubbub.http.http2_frames import (
    MAX_FRAME_SIZE,
    PREFACE,
    Allowance,
    Frame,
    FrameError,
    FrameReader,
)

BEGIN = PREFACE + SettingsFrame(0).serialize()


def read(pieces: list[bytes]) -> list[Frame]:
    """Return the frames behind the preface, to which a SETTINGS frame belongs."""
    reader = FrameReader(max_header_bytes=1000)
    frames = []
    for piece in pieces:
        reader.feed(piece)
        while (frame := reader.next()) is not None:
            frames.append(frame)
    return frames[1:]


FRAMES = st.lists(
    st.builds(
        lambda kind, flags, stream, payload: (
            len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload
        ),
        st.sampled_from([kind for kind in range(256) if kind not in {1, 4, 7, 9}]),
        st.integers(0, 255),
        st.integers(0, 2**31 - 1),
        st.binary(max_size=50),
    )
)


@given(FRAMES, st.data())
def test_whole_or_in_pieces(frames: list[bytes], data: st.DataObject) -> None:
    whole = BEGIN + b"".join(frames)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=10))
    places = [0, *sorted(cuts), len(whole)]
    pieces = [whole[begin:end] for begin, end in itertools.pairwise(places)]
    assert [frame.data for frame in read(pieces)] == frames
    assert read([bytes([byte]) for byte in whole]) == read([whole])


@given(st.binary())
def test_any_bytes_give_frames_or_one_error(data: bytes) -> None:
    for begin in (b"", PREFACE, BEGIN):
        with contextlib.suppress(FrameError):
            read([begin + data])


@pytest.mark.parametrize("first", [PingFrame(0), SettingsFrame(0, flags=["ACK"])])
def test_settings_come_first(first: PingFrame | SettingsFrame) -> None:
    with pytest.raises(FrameError, match="not SETTINGS"):
        read([PREFACE + first.serialize()])


def test_fields() -> None:
    (frame,) = read([BEGIN + DataFrame(7, b"abc", flags=["END_STREAM"]).serialize()])
    assert (frame.type, frame.stream, frame.length) == (0, 7, 3)


def test_a_long_frame_is_refused_by_its_header() -> None:
    header = (MAX_FRAME_SIZE + 1).to_bytes(3) + bytes(6)
    with pytest.raises(FrameError, match="16385 bytes"):
        read([BEGIN + header])
    assert read([BEGIN + DataFrame(1, bytes(MAX_FRAME_SIZE)).serialize()])


def test_header_blocks_are_counted_together() -> None:
    block = HeadersFrame(1, bytes(600)).serialize()
    with pytest.raises(FrameError, match="headers too large"):
        read([BEGIN + block + ContinuationFrame(1, bytes(401)).serialize()])
    end = ContinuationFrame(1, bytes(400), flags=["END_HEADERS"]).serialize()
    assert len(read([BEGIN + (block + end) * 3])) == 6


def test_it_knows_whether_headers_are_under_way() -> None:
    reader = FrameReader(max_header_bytes=1000)
    block = HeadersFrame(1, b"abc").serialize()
    states = []
    for part in (
        BEGIN[:5],
        BEGIN[5:],
        block[:3],
        block[3:5],
        block[5:],
        ContinuationFrame(1, b"", flags=["END_HEADERS"]).serialize(),
        PingFrame(0, bytes(8)).serialize()[:6],
    ):
        reader.feed(part)
        while reader.next() is not None:
            pass
        states.append(reader.in_headers)
    assert states == [True, False, False, True, True, False, False]


def spend_all(allowance: Allowance, frame: Frame, now: float, *, known: bool = True) -> int:
    """How many such frames pass."""
    for count in range(10_000):
        try:
            allowance.spend(frame, now, known=known)
        except FrameError:
            return count
    return 10_000


def cut(frame: DataFrame | HeadersFrame | PingFrame | SettingsFrame) -> Frame:
    return read([BEGIN + frame.serialize()])[0]


PING = cut(PingFrame(0, bytes(8)))


def test_tokens_are_spent_earned_and_come_back() -> None:
    allowance = Allowance(100.0, burst=10, per_second=2)
    assert spend_all(allowance, PING, 100.0) == 10
    assert spend_all(allowance, PING, 101.0) == 2
    allowance.earn(3)
    assert spend_all(allowance, PING, 101.0) == 3
    assert spend_all(allowance, PING, 1_000_000.0) == 10
    allowance.earn(1_000_000)
    assert spend_all(allowance, PING, 1_000_000.0) == 10


def test_what_is_free_and_what_is_not() -> None:
    def passing(frame: Frame, *, known: bool = True) -> int:
        return spend_all(Allowance(0.0, burst=100), frame, 0.0, known=known)

    assert passing(cut(HeadersFrame(1, bytes(10), flags=["END_HEADERS"]))) == 10_000
    assert passing(cut(DataFrame(1, b"x"))) == 10_000
    assert passing(cut(DataFrame(1, b""))) == 100
    assert passing(cut(DataFrame(1, bytes(16_000))), known=False) == 100
    assert passing(cut(SettingsFrame(0, dict.fromkeys(range(10, 60), 1)))) == 50
