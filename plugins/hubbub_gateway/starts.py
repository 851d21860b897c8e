"""Where a client wants to begin to read a stream."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from hubbub import (
    DeniedError,
    NotFoundError,
    Position,
    StreamInfo,
    positions_at_latest,
    positions_at_oldest,
    positions_at_time,
    stream_address,
)

from .call import Call
from .cursors import CursorError, read_cursor
from .problems import Problem

StartName: TypeAlias = Literal["oldest", "latest"]
Start: TypeAlias = Mapping[int, Position]
"""A position in each shard that is read at first."""
LAST_EVENT_ID = "last-event-id"


class StartOptions(Protocol):
    """The options of an operation that begins by name."""

    @property
    def start(self) -> StartName:
        """Where to begin without an event id."""

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event that was seen, for clients that can't send the header."""


def find_stream(call: Call, name: str, *, own: bool = False) -> StreamInfo:
    """Return a stream that the caller may read.

    Raises:
        NotFoundError, DeniedError, AddressError.
    """
    address = str(stream_address(name))
    if not own and not call.session.allowed("consume", address):
        raise DeniedError(call.principal.name, "consume", address)
    stream = call.session.find_stream(name)
    if stream is None:
        raise NotFoundError("stream", name)
    return stream


def find_start(call: Call, name: str, options: StartOptions, *, own: bool = False) -> Start:
    """Return where to begin: after the last event that was seen, else by name.

    Raises:
        Problem: 400, the event id is none of this stream's; NotFoundError, DeniedError.
    """
    stream = find_stream(call, name, own=own)
    last = call.request.headers.get(LAST_EVENT_ID) or options.last_event_id
    if last:
        return cursor_start(last, "Last-Event-ID")
    return named_start(stream, options.start)


def named_start(stream: StreamInfo, name: StartName) -> Start:
    """Begin with the oldest record, or after the latest."""
    return positions_at_latest(stream) if name == "latest" else positions_at_oldest(stream)


def cursor_start(text: str, name: str) -> Start:
    """Go on from a cursor; `name` is what the client calls it.

    Raises:
        Problem: 400, it is none.
    """
    try:
        return read_cursor(text)
    except CursorError as error:
        raise Problem("bad-request", f"{name}: {error}.", parameter=name) from None


def sequence_start(stream: StreamInfo, shard: int | None, sequence: int, *, after: bool) -> Start:
    """Begin at a sequence number of a shard, or after it.

    Raises:
        Problem: 400, the stream has several shards and none is named; StreamError.
    """
    if shard is None:
        shards = stream.shards()
        if len(shards) > 1:
            raise Problem("bad-request", "Name the `shard` that the sequence number is of.")
        shard = shards[0].id
    find = stream.after_sequence if after else stream.at_sequence
    return {shard: find(shard, sequence)}


async def time_start(stream: StreamInfo, text: str) -> Start:
    """Begin with what arrived at a moment: milliseconds since the epoch, or ISO 8601.

    Raises:
        Problem: 400, it is neither.
    """
    if text.isascii() and text.isdecimal() and len(text) <= 16:
        return await positions_at_time(stream, int(text))
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return await positions_at_time(stream, round(moment.timestamp() * 1000))
    except (ValueError, OverflowError):
        pass
    raise Problem(
        "bad-request",
        "`since` is milliseconds since the epoch, or ISO 8601 with a time zone.",
        parameter="since",
    )


def of_shard(start: Start, stream: StreamInfo, shard: int) -> Start:
    """Keep one shard of a start.

    Raises:
        StreamError: there is no such shard.
    """
    position = start.get(shard)
    if position is None:
        stream.oldest(shard)  # raises if there is none
        position = Position(shard, 0, inclusive=True)
    return {shard: position}
