"""HTTP/2 frames cut out of a byte stream, within bounds, before h2 parses them. Without I/O.

h2 collects a frame of whatever length before it looks at the length, and lets a peer send frames
that mean nothing for as long as it likes. Here the length is looked at first, and what a peer sends
beside requests and bodies comes out of an allowance.

Source: RFC 9113, 4.1, 4.3, 6 and 10.5.
"""

from enum import IntEnum
from typing import NamedTuple

__all__ = ["PREFACE", "Allowance", "Frame", "FrameError", "FrameReader", "FrameType"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (RFC 9113, 3.4)."""

PROTOCOL_ERROR = 0x1
FRAME_SIZE_ERROR = 0x6
ENHANCE_YOUR_CALM = 0xB

HEADER_SIZE = 9
MAX_FRAME_SIZE = 16_384
"""Bytes of a frame's payload; we never allow more (RFC 9113, 4.2)."""

ACK = 0x1
END_HEADERS = 0x4


class FrameType(IntEnum):
    """The types that are looked at here (RFC 9113, 6)."""

    DATA = 0x0
    HEADERS = 0x1
    SETTINGS = 0x4
    GOAWAY = 0x7
    CONTINUATION = 0x9


class FrameError(Exception):
    """The peer sends what it must not, or too much of what it may. Say GOAWAY with `code`."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Frame(NamedTuple):
    """One frame: its header's fields, and all of its bytes, header included."""

    type: int
    stream: int
    data: bytes

    @property
    def length(self) -> int:
        """Bytes of the payload."""
        return len(self.data) - HEADER_SIZE


class FrameReader:
    """Cuts bytes into frames.

    Args:
        max_header_bytes: of one header block, as it is sent: HEADERS with its CONTINUATIONs.
    """

    def __init__(self, *, max_header_bytes: int) -> None:
        self._max_header_bytes = max_header_bytes
        self._buffer = bytearray()
        self._preface_left = PREFACE
        self._settings_are_due = True  # the second half of the preface (RFC 9113, 3.4)
        self._block_bytes = -1  # of the header block that is open; -1: none is

    @property
    def in_headers(self) -> bool:
        """Whether a header block has begun and not ended, or the preface is not complete."""
        if self._block_bytes >= 0 or self._preface_left:
            return True
        return len(self._buffer) > 3 and self._buffer[3] == FrameType.HEADERS

    def feed(self, data: bytes) -> None:
        """Give more bytes."""
        self._buffer += data

    def next(self) -> Frame | None:
        """Return the next frame; None if more bytes are needed.

        Raises:
            FrameError: the preface is wrong, a frame too long, a header block too large, or a frame
                malformed that h2 does not see or does not check.
        """
        buffer = self._buffer
        if self._preface_left and not self._take_preface():
            return None
        if len(buffer) < HEADER_SIZE:
            return None
        length = int.from_bytes(buffer[:3])
        if length > MAX_FRAME_SIZE:
            raise FrameError(FRAME_SIZE_ERROR, f"a frame of {length} bytes")
        if len(buffer) < HEADER_SIZE + length:
            return None
        frame = Frame(
            buffer[3],
            int.from_bytes(buffer[5:9]) & 0x7FFF_FFFF,
            bytes(buffer[: HEADER_SIZE + length]),
        )
        flags = buffer[4]
        del buffer[: HEADER_SIZE + length]
        if self._settings_are_due:
            self._settings_are_due = False
            if frame.type != FrameType.SETTINGS or flags & ACK:
                raise FrameError(PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if frame.type == FrameType.HEADERS:
            self._count_block(0, length, flags)
        elif frame.type == FrameType.GOAWAY:
            if frame.stream:
                raise FrameError(PROTOCOL_ERROR, "GOAWAY on a stream")
            if length < 8:
                raise FrameError(FRAME_SIZE_ERROR, "GOAWAY too short")
        elif frame.type == FrameType.SETTINGS and flags & ACK and length:
            raise FrameError(FRAME_SIZE_ERROR, "settings acknowledged with settings")
        elif frame.type == FrameType.CONTINUATION:
            if self._block_bytes < 0:
                raise FrameError(PROTOCOL_ERROR, "CONTINUATION with no HEADERS to continue")
            self._count_block(self._block_bytes, length, flags)
        return frame

    def _take_preface(self) -> bool:
        part = bytes(self._buffer[: len(self._preface_left)])
        if not self._preface_left.startswith(part):
            raise FrameError(PROTOCOL_ERROR, "no HTTP/2 preface")
        del self._buffer[: len(part)]
        self._preface_left = self._preface_left[len(part) :]
        return not self._preface_left

    def _count_block(self, before: int, length: int, flags: int) -> None:
        size = before + length
        if size > self._max_header_bytes:
            raise FrameError(ENHANCE_YOUR_CALM, "headers too large")
        self._block_bytes = -1 if flags & END_HEADERS else size


class Allowance:
    """What a peer may send beside requests and bodies: a bucket of tokens.

    Pings, settings, priorities, resets, bodies of requests that are over, frames without content
    and frames of unknown type cost a token, large ones more. So do window updates, but each frame
    of an answer's body brings two, for whoever reads it has to send those. It bounds floods of such
    frames (CVE-2019-9511 to 9518), streams that are opened and reset at once (CVE-2023-44487), and
    CONTINUATION frames without end (CVE-2024-27316).

    Args:
        now: seconds on a clock that never goes back, as in `spend`.
        burst: tokens there are at first, and at most.
        per_second: tokens that come back.
    """

    def __init__(self, now: float, *, burst: float = 1_000.0, per_second: float = 100.0) -> None:
        self._burst = burst
        self._per_second = per_second
        self._tokens = burst
        self._then = now

    def earn(self, tokens: int) -> None:
        """Give tokens back for work that was done."""
        self._tokens = min(self._tokens + tokens, self._burst)

    def spend(self, frame: Frame, now: float, *, known: bool) -> None:
        """Take the price of a frame.

        Args:
            frame: what came.
            now: seconds.
            known: whether the frame's stream is one that is being served.

        Raises:
            FrameError: there is no token left.
        """
        if frame.type == FrameType.HEADERS:
            return
        price = 1
        if frame.type != FrameType.DATA:
            price += frame.length // 256
        elif known and frame.length:
            return
        if self._tokens < price:
            self._tokens += (now - self._then) * self._per_second
            self._tokens = min(self._tokens, self._burst)
            self._then = now
            if self._tokens < price:
                raise FrameError(ENHANCE_YOUR_CALM, "too many frames that ask for nothing")
        self._tokens -= price
