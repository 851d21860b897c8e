"""Streams: create, look at, append, read, follow by Server-Sent Events."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Final

import msgspec
import trio
from msgspec import UNSET, Meta, UnsetType

from hubbub import (
    DeniedError,
    ExistsError,
    HubbubError,
    Message,
    NotFoundError,
    Response,
    ShardInfo,
    StreamError,
    StreamInfo,
    StreamSettings,
    stream_address,
)
from hubbub_gateway import cloudevents, sse
from hubbub_gateway.answers import (
    NO_STORE,
    Published,
    Results,
    answer_json,
    answer_published,
    read_json,
)
from hubbub_gateway.call import Call
from hubbub_gateway.cloudevents import Event, write_structured
from hubbub_gateway.durations import Duration, milliseconds
from hubbub_gateway.events import follow, wants_events
from hubbub_gateway.fields import PUBLISHED
from hubbub_gateway.negotiation import chosen
from hubbub_gateway.operations import Answer, Header, Operation
from hubbub_gateway.problems import Problem
from hubbub_gateway.publishing import CONTENT, Form, read_messages
from hubbub_gateway.records import Found, Reader
from hubbub_gateway.representation import ReceivedMessage
from hubbub_gateway.starts import (
    LAST_EVENT_ID,
    Start,
    StartName,
    cursor_start,
    find_stream,
    named_start,
    of_shard,
    sequence_start,
    time_start,
)

from .listing import ListOptions, may_see, page

_JSON: Final = "application/json"
_LINES: Final = ("application/x-ndjson", "application/jsonl")
_NEXT: Final = "Hubbub-Next"


class StreamForm(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The settings of a stream. What is left out keeps its value, or the default in a new stream.

    * `shards`: open shards to begin with; only of a new stream.
    * `retention`: how long records stay readable, null for ever. `max_bytes`: the size above which
      the oldest go.
    """

    shards: Annotated[int, Meta(ge=1, le=1_000)] | UnsetType = UNSET
    retention: Duration | UnsetType | None = UNSET
    max_bytes: Annotated[int, Meta(ge=1, le=2**53 - 1)] | UnsetType | None = UNSET


class ShardDescription(msgspec.Struct, kw_only=True, frozen=True):
    """A shard: its range of hash keys, in decimal digits, and where it came from."""

    id: int
    open: bool
    starting_hash_key: str
    ending_hash_key: str
    starting_sequence: str
    ending_sequence: str | None
    parent: int | None
    adjacent_parent: int | None


class StreamDescription(msgspec.Struct, kw_only=True, frozen=True):
    """A stream: its settings, with durations in seconds, and its shards."""

    name: str
    address: str
    created: int
    retention: float | None
    max_bytes: int | None
    shards: list[ShardDescription]


class StreamList(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A page of streams; `next` is what the next page is `after`, if there is one."""

    streams: list[StreamDescription]
    next: str | None = None


class AppendOptions(msgspec.Struct, kw_only=True, frozen=True):
    """How the body is to be understood; the partition `key` of records that bring none."""

    form: Form | None = None
    key: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class ReadOptions(msgspec.Struct, kw_only=True, frozen=True):
    """Where to begin, and how much is wanted.

    One of: `next`, as the last read said; `from`, by name; `at` or `after` a sequence number;
    `since` a moment, in milliseconds since the epoch or ISO 8601. By default with the oldest
    record; when events are wanted, after the latest.

    * `shard`: this one alone. `max`: at most so many. `wait`: how long to wait for the first.
    """

    next: str | None = None
    start: StartName | None = msgspec.field(default=None, name="from")
    at: Annotated[int, Meta(ge=0)] | None = None
    after: Annotated[int, Meta(ge=0)] | None = None
    since: str | None = None
    shard: Annotated[int, Meta(ge=0)] | None = None
    max: Annotated[int, Meta(ge=1)] = 100
    wait: Duration = 0
    last_event_id: str | None = None


class Records(msgspec.Struct, kw_only=True, frozen=True):
    """Records, in order, and where to read on.

    `behind`: how old the last one was, in milliseconds, if more waited after it. `trimmed`: records
    that would have been read were past their retention. `next` is null if no shard is left.
    """

    records: list[ReceivedMessage]
    next: str | None
    behind: int
    trimmed: bool


async def list_streams(call: Call) -> Response:
    """List the streams that the caller may use."""
    options, session = call.options(ListOptions), call.session
    found = [
        each
        for each in session.streams(options.prefix)
        if may_see(session, str(stream_address(each.name)))
    ]
    part, after = page(found, options)
    return answer_json(StreamList(streams=[_describe(each) for each in part], next=after))


async def describe(call: Call) -> Response:
    """Describe a stream."""
    return answer_json(_describe(_find(call)))


async def create(call: Call) -> Response:
    """Create a stream; one that has these settings already is fine."""
    name, session = call.parameter("name"), call.session
    form = await _form(call)
    settings = _changed(StreamSettings(), form)
    shards = 1 if form.shards is UNSET else form.shards
    try:
        created = await session.create_stream(name, settings, shards)
    except ExistsError:
        found = session.find_stream(name)
        if found is None:
            raise
        if _changed(found.settings, form) != found.settings:
            raise
        if form.shards is not UNSET and form.shards != len(_open(found)):
            raise ExistsError("stream", name, "number of shards") from None
        return answer_json(_describe(found))
    await session.commit().wait()
    return answer_json(_describe(created), 201, [("Location", call.request.path)])


async def configure(call: Call) -> Response:
    """Change settings of a stream while it is used."""
    form = await _form(call)
    found = _find(call)
    if form.shards is not UNSET:
        raise Problem("bad-message", "The shards of a stream are split and merged by Kinesis.")
    commit = await call.session.configure_stream(found.name, _changed(found.settings, form))
    await commit.wait()
    return answer_json(_describe(_find(call)))


async def delete(call: Call) -> Response:
    """Delete a stream with all its records."""
    commit = await call.session.delete_stream(call.parameter("name"))
    await commit.wait()
    return Response(204)


async def append(call: Call) -> Response:
    """Append one record, or a batch."""
    name = call.parameter("name")
    options = call.options(AppendOptions)
    address = str(stream_address(name))
    incoming = await read_messages(call, address, options.form)
    session = call.session
    await session.ready()
    if session.find_stream(name) is None and call.gateway.settings.create_streams:
        with suppress(ExistsError):
            await session.create_stream(name, StreamSettings())
    outcomes: list[Published | HubbubError] = []
    for index, entry in enumerate(incoming.entries):
        if not isinstance(entry, Message):
            continue
        if entry.group is None:
            entry.group = options.key
        if entry.retain or entry.delay is not None:
            problem = Problem("bad-message", "A stream neither retains nor delays a message.")
            if not incoming.batch:
                raise problem
            incoming.entries[index] = problem
    messages = [each for each in incoming.entries if isinstance(each, Message)]
    try:
        appended = session.append(name, messages)
    except StreamError as error:
        outcomes = [error] * len(messages)
    else:
        await appended.commit.wait()
        outcomes = [
            Published(id=str(message.id), shard=record.shard, sequence=str(record.sequence))
            for message, record in zip(messages, appended.records, strict=True)
        ]
    return answer_published(incoming, outcomes)


async def read(call: Call) -> Response:
    """Read records, or follow them."""
    options = call.options(ReadOptions)
    name = call.parameter("name")
    stream = find_stream(call, name)
    if wants_events(call):
        return await follow(call, name, await _start(call, stream, options, "latest"))
    most, settings = options.max, call.gateway.settings
    if most > settings.max_batch:
        raise Problem("bad-request", f"`max` is at most {settings.max_batch}.", parameter="max")
    wait = call.duration("wait", options.wait, settings.max_wait)
    accept = call.request.headers.get("accept")
    media = chosen(accept, (_JSON, *_LINES, cloudevents.BATCH))
    start = await _start(call, stream, options, "oldest")
    reader = Reader(call.session, name, start)
    found = await reader.read(most)
    if not found and wait and not reader.trimmed:
        await call.request.body()  # so that the client can be heard going away
        async with call.request.until_disconnect():
            with trio.move_on_after(wait / 1000):
                found = await reader.read_or_wait(most)
    return _answer(reader, found, media)


def _answer(reader: Reader, found: list[Found], media: str) -> Response:
    following = reader.cursor or None
    headers = [("Content-Type", media), NO_STORE]
    if following is not None:
        headers.append((_NEXT, following))
    if media == _JSON:
        value = Records(
            records=[each.describe() for each in found],
            next=following,
            behind=reader.behind,
            trimmed=reader.trimmed,
        )
        return Response(200, headers, msgspec.json.encode(value))
    if media == cloudevents.BATCH:
        body = msgspec.json.encode([write_structured(each.message) for each in found])
    else:
        body = msgspec.json.Encoder().encode_lines([each.describe() for each in found])
    return Response(200, headers, body)


async def _start(call: Call, stream: StreamInfo, options: ReadOptions, default: StartName) -> Start:
    """Return where to begin.

    Raises:
        Problem: 400, more than one place is named, or none that there is; StreamError.
    """
    named = {
        name: value
        for name, value in (
            ("next", options.next),
            ("from", options.start),
            ("at", options.at),
            ("after", options.after),
            ("since", options.since),
        )
        if value is not None
    }
    if len(named) > 1:
        raise Problem("bad-request", f"Give one of {' and '.join(named)}, not several.")
    last = call.request.headers.get(LAST_EVENT_ID) or options.last_event_id
    if last and wants_events(call):
        start = cursor_start(last, "Last-Event-ID")
    elif options.next is not None:
        start = cursor_start(options.next, "next")
    elif options.at is not None:
        return sequence_start(stream, options.shard, options.at, after=False)
    elif options.after is not None:
        return sequence_start(stream, options.shard, options.after, after=True)
    elif options.since is not None:
        start = await time_start(stream, options.since)
    else:
        start = named_start(stream, options.start or default)
    return start if options.shard is None else of_shard(start, stream, options.shard)


async def _form(call: Call) -> StreamForm:
    if "content-type" not in call.request.headers and not await call.request.body():
        return StreamForm()
    return await read_json(call, StreamForm)


def _changed(settings: StreamSettings, form: StreamForm) -> StreamSettings:
    changes: dict[str, Any] = {}
    if form.retention is not UNSET:
        changes["retention"] = None if form.retention is None else milliseconds(form.retention)
    if form.max_bytes is not UNSET:
        changes["max_bytes"] = form.max_bytes
    return msgspec.structs.replace(settings, **changes)


def _find(call: Call) -> StreamInfo:
    """Find the stream in the path.

    Raises:
        NotFoundError, DeniedError (the caller may not use it in any way), AddressError.
    """
    name, session = call.parameter("name"), call.session
    address = str(stream_address(name))
    if not may_see(session, address):
        raise DeniedError(call.principal.name, "consume", address)
    found = session.find_stream(name)
    if found is None:
        raise NotFoundError("stream", name)
    return found


def _open(stream: StreamInfo) -> list[ShardInfo]:
    return [each for each in stream.shards() if each.closed is None]


def _describe(stream: StreamInfo) -> StreamDescription:
    retention = stream.settings.retention
    return StreamDescription(
        name=stream.name,
        address=str(stream_address(stream.name)),
        created=stream.created,
        retention=None if retention is None else retention / 1000,
        max_bytes=stream.settings.max_bytes,
        shards=[
            ShardDescription(
                id=each.id,
                open=each.closed is None,
                starting_hash_key=str(each.starting_hash_key),
                ending_hash_key=str(each.ending_hash_key),
                starting_sequence=str(each.starting_sequence),
                ending_sequence=(
                    None if each.ending_sequence is None else str(each.ending_sequence)
                ),
                parent=each.parent,
                adjacent_parent=each.adjacent_parent,
            )
            for each in stream.shards()
        ],
    )


_STREAM: Final = "/streams/{name}"

OPERATIONS: Final = (
    Operation(
        id="listStreams",
        method="GET",
        path="/streams",
        handler=list_streams,
        tag="streams",
        summary="List streams",
        query=ListOptions,
        answers={200: Answer(description="A page of streams.", content={_JSON: StreamList})},
    ),
    Operation(
        id="describeStream",
        method="GET",
        path=_STREAM,
        handler=describe,
        tag="streams",
        summary="Look at a stream: its settings and shards",
        answers={200: Answer(description="The stream.", content={_JSON: StreamDescription})},
        problems=("bad-address", "not-found"),
    ),
    Operation(
        id="createStream",
        method="PUT",
        path=_STREAM,
        handler=create,
        tag="streams",
        summary="Create a stream",
        content={_JSON: StreamForm},
        answers={
            200: Answer(description="It is there already.", content={_JSON: StreamDescription}),
            201: Answer(description="It is created.", content={_JSON: StreamDescription}),
        },
        problems=("bad-address", "bad-message", "exists", "media-type"),
    ),
    Operation(
        id="configureStream",
        method="PATCH",
        path=_STREAM,
        handler=configure,
        tag="streams",
        summary="Change settings of a stream",
        content={_JSON: StreamForm},
        content_required=True,
        answers={200: Answer(description="It is changed.", content={_JSON: StreamDescription})},
        problems=("bad-address", "bad-message", "not-found", "media-type"),
    ),
    Operation(
        id="deleteStream",
        method="DELETE",
        path=_STREAM,
        handler=delete,
        tag="streams",
        summary="Delete a stream with all its records",
        answers={204: Answer(description="It is gone.")},
        problems=("bad-address", "not-found"),
    ),
    Operation(
        id="appendRecords",
        method="POST",
        path=_STREAM + "/records",
        handler=append,
        tag="streams",
        summary="Append one record, or a batch",
        description="The partition key of a record is its group.",
        query=AppendOptions,
        headers=PUBLISHED,
        content=CONTENT,
        answers={
            202: Answer(description="All records are kept.", content={_JSON: (Published, Results)}),
            207: Answer(description="A part of the batch was refused.", content={_JSON: Results}),
        },
        problems=("bad-address", "bad-message", "not-found", "too-large", "media-type"),
    ),
    Operation(
        id="readRecords",
        method="GET",
        path=_STREAM + "/records",
        handler=read,
        tag="streams",
        summary="Read records, or follow them by Server-Sent Events",
        query=ReadOptions,
        headers={
            "Accept": Header(f"The form of the records; `{sse.MEDIA_TYPE}` follows them."),
            "Last-Event-ID": Header("The id of the last event that was seen."),
        },
        answers={
            200: Answer(
                description="The records, or events.",
                content={
                    _JSON: Records,
                    _LINES[0]: None,
                    _LINES[1]: None,
                    cloudevents.BATCH: list[Event],
                    sse.MEDIA_TYPE: None,
                },
                headers={_NEXT: Header("Where to read on.")},
            )
        },
        problems=("bad-address", "not-found", "not-acceptable"),
        takes_token=True,
    ),
)
