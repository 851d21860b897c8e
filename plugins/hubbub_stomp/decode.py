"""Bytes to frames, for all three versions and both directions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .errors import StompError, malformed, too_large
from .frames import Frame, Head, Version, unescape

_REMEMBERED_HEADS: Final = 64
_REMEMBERED_BYTES: Final = 1024
_PLAIN: Final = re.compile(rb"[!-\[\]-~]+").fullmatch
"""Matches the value of a header in which nothing is escaped: ours are all so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one frame may hold. A client that sends more gets an ERROR frame."""

    #: Bytes of command and headers, the blank line included.
    head_bytes: int = 64 * 1024
    headers: int = 100
    #: Bytes of a body.
    body_bytes: int = 16 * 1024 * 1024


class Decoder:
    """Turns the bytes of one network connection into frames.

    As long as `version` is None, one frame is decoded at a time: the CONNECT, which says how to
    read what follows. Set `version` and call `decode(b"")` to go on. No more than one frame within
    the limits and one piece of `data` is ever held.

    Line ends between frames (heart-beats) are skipped. So are NULs, and lines may end in CR LF in
    every version, as RabbitMQ has it; 1.2 alone demands the latter.

    Once `error` is set, the connection is over: what came before the offending frame has been
    handed out, and further bytes are ignored.
    """

    def __init__(self, limits: Limits | None = None, version: Version | None = None) -> None:
        self.limits = limits or Limits()
        self.version = version
        self.error: StompError | None = None
        self._partial = bytearray()
        self._waits: Callable[[Decoder, bytes], bool] = _complete
        self._needed = 0
        self._heads: dict[bytes, Head] = {}

    def decode(self, data: bytes | bytearray | memoryview) -> list[Frame]:
        """Take `data` and return the frames that are now complete; then look at `error`."""
        if self.error is not None:
            return []
        if type(data) is not bytes:
            data = bytes(data)
        partial = self._partial
        frames: list[Frame] = []
        try:
            if partial:
                # Parsed again only when what was missing has come: a slow peer costs no more.
                waits_on = self._waits(self, data)
                partial += data
                if waits_on:
                    return frames
                data = bytes(partial)
                self._partial = bytearray()
            used = self._decode_complete(data, frames)
        except StompError as error:
            self.error = error
            self._partial = bytearray()
            return frames
        if used < len(data):
            self._partial += data[used:]
        return frames

    def _decode_complete(self, data: bytes, frames: list[Frame]) -> int:
        # The hottest loop of the server: one pass over the buffer. A publisher repeats the same
        # head over and over, so heads are looked up before they are parsed.
        heads = self._heads
        find = data.find
        crlf = b"\n\r\n" in data
        end = len(data)
        position = 0
        try:
            while position < end:
                if data[position] in b"\n\r\0":
                    position = _skip_noise(data, position)
                    if position < end and data[position] == 13:  # its line feed is to come
                        self._waits = _complete
                        break
                    continue
                blank = find(b"\n\n", position)
                body = blank + 2
                if crlf:
                    other = find(b"\n\r\n", position)
                    if other >= 0 and (blank < 0 or other < blank):
                        blank = other
                        body = blank + 3
                if blank < 0:
                    self._check_head_size(end - position)
                    self._waits = Decoder._waits_for_blank_line
                    return position
                raw = data[position:blank]
                receipt = ""
                head = heads.get(raw)
                if head is None:
                    self._check_head_size(body - position)
                    start = raw.find(b"\nreceipt:")
                    if start >= 0:  # the one header that differs from frame to frame
                        stop = raw.find(b"\n", start + 9)
                        if stop < 0:
                            stop = len(raw)
                        receipt = self._receipt(raw[start + 9 : stop])
                        raw = raw[:start] + raw[stop:]
                        head = heads.get(raw)
                    if head is None:
                        head = self._parse_head(raw)
                length = head.length
                if length is None:
                    stop = find(b"\0", body)
                    self._check_body_size((end if stop < 0 else stop) - body)
                    if stop < 0:
                        self._needed = body - position
                        self._waits = Decoder._waits_for_nul
                        return position
                else:
                    stop = body + length
                    if stop >= end:
                        self._needed = stop - position + 1
                        self._waits = Decoder._waits_for_length
                        return position
                    if data[stop]:
                        raise malformed(f"No NUL after the {length} bytes of the body")
                frames.append(Frame(head, data[body:stop], receipt))
                position = stop + 1
                if self.version is None:
                    self._waits = _complete
                    break
        except StompError as error:
            self._name_receipt(error, data[position : position + self.limits.head_bytes])
            raise
        return position

    # What a partial frame waits for: True while `data` does not bring it.

    def _waits_for_blank_line(self, data: bytes) -> bool:
        joint = bytes(self._partial[-2:]) + data
        if b"\n\n" in joint or b"\n\r\n" in joint:
            return False
        self._check_head_size(len(self._partial) + len(data))
        return True

    def _waits_for_nul(self, data: bytes) -> bool:
        if 0 in data:
            return False
        self._check_body_size(len(self._partial) + len(data) - self._needed)
        return True

    def _waits_for_length(self, data: bytes) -> bool:
        return len(self._partial) + len(data) < self._needed

    def _check_head_size(self, size: int) -> None:
        if size > self.limits.head_bytes:
            raise too_large(f"Command and headers have more than {self.limits.head_bytes} bytes")

    def _check_body_size(self, size: int) -> None:
        if size > self.limits.body_bytes:
            raise too_large(f"The body has more than {self.limits.body_bytes} bytes")

    def _name_receipt(self, error: StompError, data: bytes) -> None:
        """Find the receipt that the refused frame asked for, as well as it can be read."""
        for line in data.split(b"\n\n")[0].split(b"\n")[1:]:
            if line.startswith(b"receipt:"):
                error.receipt = line[8:].rstrip(b"\r").decode(errors="replace")
                return

    # Heads

    def _receipt(self, raw: bytes) -> str:
        text = _decode(raw.removesuffix(b"\r"))
        version = self.version
        if version is None or version is Version.V10:
            return text.strip()
        return unescape(text, version)

    def _parse_head(self, raw: bytes) -> Head:
        if raw[:7] == b"ACK\nid:" and self.version is Version.V12:
            plain = _PLAIN(raw, 7)
            if plain is not None:
                return Head("ACK", {"id": plain[0].decode()}, None)
        text = _decode(raw)
        if "\r" in text:
            text = text.replace("\r\n", "\n").removesuffix("\r")
        command, *lines = text.split("\n")
        if len(lines) > self.limits.headers:
            raise too_large(f"More than {self.limits.headers} headers")
        version = self.version
        escaped = version is not None and version is not Version.V10 and "\\" in text
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not (colon and name):
                raise malformed(f"A header line without a name and a colon: '{line[:80]}'")
            if escaped and version is not None:
                name, value = unescape(name, version), unescape(value, version)
            if name not in headers:
                headers[name] = value
        # 1.0 does not say that spaces around a value count, and its own examples have them.
        if version is Version.V10 or (version is None and "accept-version" not in headers):
            headers = {name.strip(): value.strip() for name, value in headers.items()}
        head = Head(command, headers, self._length(headers))
        if head.plain and len(raw) <= _REMEMBERED_BYTES:
            if len(self._heads) >= _REMEMBERED_HEADS:
                self._heads.clear()
            self._heads[raw] = head
        return head

    def _length(self, headers: dict[str, str]) -> int | None:
        text = headers.get("content-length")
        if text is None:
            return None
        text = text.strip()
        if not (text.isascii() and text.isdecimal()):
            raise malformed(f"content-length is not a number: '{text[:80]}'")
        if len(text) > 18 or int(text) > self.limits.body_bytes:
            raise too_large(f"The body has more than {self.limits.body_bytes} bytes")
        return int(text)


def _decode(raw: bytes) -> str:
    if b"\0" in raw:
        raise malformed("A NUL before the blank line that ends the headers")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise malformed("The headers are not UTF-8") from None


def _complete(_decoder: Decoder, _data: bytes) -> bool:
    """Tell that any data may complete what is left."""
    return False


def _skip_noise(data: bytes, position: int) -> int:
    """Pass over line ends, and NULs as RabbitMQ does; return where the next frame starts.

    Or where a last CR is. Raises `StompError` for a CR alone.
    """
    end = len(data)
    while position < end:
        byte = data[position]
        if byte == 13:
            if position + 1 == end:
                break
            if data[position + 1] != 10:
                raise malformed("A carriage return without a line feed between frames")
            position += 2
        elif byte in {10, 0}:
            position += 1
        else:
            break
    return position
