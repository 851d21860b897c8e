"""Queues: create, look at, change, purge, delete."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from hubbub import (
    DeniedError,
    ExistsError,
    NotFoundError,
    QueueInfo,
    QueueSettings,
    Response,
    check_dead_letter,
    queue_address,
)
from hubbub_gateway.answers import answer_json, read_json
from hubbub_gateway.call import Call
from hubbub_gateway.durations import Duration, milliseconds
from hubbub_gateway.operations import Answer, Operation
from hubbub_gateway.problems import Problem

from .listing import ListOptions, may_see, page

_Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
_Positive = Annotated[int, Meta(ge=1, le=2**53 - 1)]

_DURATIONS: Final = frozenset(
    {"expires", "lease", "delay", "retention", "message_ttl", "dedup_window"}
)


class QueueForm(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The settings of a queue. What is left out keeps its value, or the default in a new queue.

    * `durable`: the queue and its durable messages survive a restart.
    * `auto_delete`: it goes when its last consumer has left. `expires`: or after so long unused.
    * `lease`: how long a receiver has a message. `delay`: how long a new message is hidden.
    * `retention`: the age at which messages go for good. `message_ttl`: at which they expire, and
      are dead-lettered.
    * `max_length`, `max_bytes`: how many messages and bytes wait; `overflow` says what gives.
    * `max_message_bytes`: the largest message. `max_in_flight`: the most messages leased.
    * `max_receives`: receives after which a message goes to `dead_letter`, an address, or
      `TOPIC/#`: there, under the levels it was sent to. With `gives_up_early` when the last lease
      ends, not when it would be received again. With `dead_letter_rests` it stays while the queue
      at `dead_letter` is missing.
    * `priorities`: the highest priority told apart.
    * `fifo`: order per group.
    * `dedup_window`: how long deduplication ids are remembered. `content_dedup`: a message without
      one takes the SHA-256 of its body. `dedup_scope`: where they are unique.
    * `fair`: a group with many messages in flight waits for the others.
    * `single_active`: one consumer at a time. `labels`: what protocols keep with it.
    """

    durable: bool | UnsetType = UNSET
    auto_delete: bool | UnsetType = UNSET
    expires: Duration | UnsetType | None = UNSET
    lease: Duration | UnsetType = UNSET
    delay: Duration | UnsetType = UNSET
    retention: Duration | UnsetType | None = UNSET
    message_ttl: Duration | UnsetType | None = UNSET
    max_length: _Count | UnsetType | None = UNSET
    max_bytes: _Count | UnsetType | None = UNSET
    overflow: Literal["drop-head", "reject", "reject-dead-letter"] | UnsetType = UNSET
    max_message_bytes: _Count | UnsetType | None = UNSET
    max_in_flight: _Positive | UnsetType | None = UNSET
    max_receives: _Positive | UnsetType | None = UNSET
    gives_up_early: bool | UnsetType = UNSET
    dead_letter: str | UnsetType | None = UNSET
    dead_letter_rests: bool | UnsetType = UNSET
    priorities: Annotated[int, Meta(ge=0, le=255)] | UnsetType = UNSET
    fifo: bool | UnsetType = UNSET
    fair: bool | UnsetType = UNSET
    content_dedup: bool | UnsetType = UNSET
    dedup_scope: Literal["queue", "group"] | UnsetType = UNSET
    dedup_window: Duration | UnsetType = UNSET
    single_active: bool | UnsetType = UNSET
    labels: dict[str, str] | UnsetType = UNSET


class Counts(msgspec.Struct, kw_only=True, frozen=True):
    """The messages of a queue, exactly: how many wait, are leased, are hidden for a while.

    `bytes` is what all of them have; `oldest` is when the oldest that waits was published.
    """

    visible: int
    in_flight: int
    delayed: int
    bytes: int
    consumers: int
    oldest: int | None


class QueueDescription(msgspec.Struct, kw_only=True, frozen=True):
    """A queue: its settings, with durations in seconds, and its messages."""

    name: str
    address: str
    created: int
    modified: int
    settings: dict[str, Any]
    counts: Counts


class QueueList(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A page of queues; `next` is what the next page is `after`, if there is one."""

    queues: list[QueueDescription]
    next: str | None = None


class DeleteOptions(msgspec.Struct, kw_only=True, frozen=True):
    """`if_empty`: only if it has no message; `if_unused`: only if nobody consumes from it."""

    if_empty: bool = False
    if_unused: bool = False


class PurgeOptions(msgspec.Struct, kw_only=True, frozen=True):
    """`leased`: the messages that somebody holds a lease of go, too."""

    leased: bool = False


class Purged(msgspec.Struct, kw_only=True, frozen=True):
    """How many messages are gone."""

    purged: int


async def list_queues(call: Call) -> Response:
    """List the queues that the caller may use."""
    options, session = call.options(ListOptions), call.session
    found = [each for each in session.queues(options.prefix) if may_see(session, _address(each))]
    part, after = page(found, options)
    return answer_json(QueueList(queues=[_describe(each) for each in part], next=after))


async def describe(call: Call) -> Response:
    """Describe a queue."""
    return answer_json(_describe(_find(call)))


async def create(call: Call) -> Response:
    """Create a queue; one that has these settings already is fine."""
    name, session = call.queue_name(), call.session
    form = await _form(call)
    settings = _changed(QueueSettings(), form)
    try:
        created = await session.create_queue(name, settings)
    except ExistsError:
        found = session.find_queue(name)
        if found is None:
            raise
        _check_same(found, form)
        return answer_json(_describe(found))
    await session.commit().wait()
    location = [("Location", call.request.path)]
    return answer_json(_describe(created), 201, location)


async def configure(call: Call) -> Response:
    """Change settings of a queue while it is used."""
    form = await _form(call)
    found = _find(call)
    commit = await call.session.configure_queue(found.name, _changed(found.settings, form))
    await commit.wait()
    return answer_json(_describe(_find(call)))


async def delete(call: Call) -> Response:
    """Delete a queue with all that it holds."""
    options = call.options(DeleteOptions)
    found = _find(call)
    counts = found.counts()
    if options.if_unused and counts.consumers:
        raise _in_use(found, f"{counts.consumers} consumers")
    if options.if_empty and (held := counts.visible + counts.in_flight + counts.delayed):
        raise _in_use(found, f"{held} messages")
    commit = await call.session.delete_queue(found.name)
    await commit.wait()
    return Response(204)


async def purge(call: Call) -> Response:
    """Drop the messages of a queue."""
    options = call.options(PurgeOptions)
    count = await call.session.purge_queue(call.queue_name(), leased=options.leased)
    return answer_json(Purged(purged=count))


async def _form(call: Call) -> QueueForm:
    headers = call.request.headers
    if "content-type" not in headers and not await call.request.body():
        return QueueForm()
    return await read_json(call, QueueForm)


def _in_use(queue: QueueInfo, what: str) -> Problem:
    return Problem("in-use", f"The queue {queue.name!r} has {what}.")


def _find(call: Call) -> QueueInfo:
    """Find the queue in the path.

    Raises:
        NotFoundError, DeniedError (the caller may not use it in any way), AddressError.
    """
    name, session = call.queue_name(), call.session
    address = str(queue_address(name))
    if not may_see(session, address):
        raise DeniedError(call.principal.name, "consume", address)
    found = session.find_queue(name)
    if found is None:
        raise NotFoundError("queue", name)
    return found


def _address(queue: QueueInfo) -> str:
    return str(queue_address(queue.name))


def _changed(settings: QueueSettings, form: QueueForm) -> QueueSettings:
    """Return settings with those of a form.

    Raises:
        AddressError: the dead-letter address is none.
    """
    changes: dict[str, Any] = {}
    for name in form.__struct_fields__:
        value = getattr(form, name)
        if value is not UNSET:
            changes[name] = (
                milliseconds(value) if name in _DURATIONS and value is not None else value
            )
    if changes.get("dead_letter") is not None:
        check_dead_letter(changes["dead_letter"])
    return msgspec.structs.replace(settings, **changes)


def _check_same(found: QueueInfo, form: QueueForm) -> None:
    wanted = _changed(found.settings, form)
    for name in QueueSettings.__struct_fields__:
        if getattr(found.settings, name) != getattr(wanted, name):
            raise ExistsError("queue", found.name, name)


def _describe(queue: QueueInfo) -> QueueDescription:
    counts = queue.counts()
    settings: dict[str, Any] = {}
    for name in QueueForm.__struct_fields__:
        value = getattr(queue.settings, name)
        settings[name] = value / 1000 if name in _DURATIONS and value is not None else value
    return QueueDescription(
        name=queue.name,
        address=_address(queue),
        created=queue.created,
        modified=queue.modified,
        settings=settings,
        counts=Counts(
            visible=counts.visible,
            in_flight=counts.in_flight,
            delayed=counts.delayed,
            bytes=counts.bytes,
            consumers=counts.consumers,
            oldest=counts.oldest,
        ),
    )


_QUEUE: Final = "/queues/{name}"
_JSON: Final = "application/json"

OPERATIONS: Final = (
    Operation(
        id="listQueues",
        method="GET",
        path="/queues",
        handler=list_queues,
        tag="queues",
        summary="List queues",
        query=ListOptions,
        answers={200: Answer(description="A page of queues.", content={_JSON: QueueList})},
    ),
    Operation(
        id="describeQueue",
        method="GET",
        path=_QUEUE,
        handler=describe,
        tag="queues",
        summary="Look at a queue: its settings and counts",
        answers={200: Answer(description="The queue.", content={_JSON: QueueDescription})},
        problems=("bad-address", "not-found"),
    ),
    Operation(
        id="createQueue",
        method="PUT",
        path=_QUEUE,
        handler=create,
        tag="queues",
        summary="Create a queue",
        description="A queue that exists is left as it is if it has the settings given, else "
        "this is refused: change it with PATCH.",
        content={_JSON: QueueForm},
        answers={
            200: Answer(description="It is there already.", content={_JSON: QueueDescription}),
            201: Answer(description="It is created.", content={_JSON: QueueDescription}),
        },
        problems=("bad-address", "bad-message", "exists", "media-type"),
    ),
    Operation(
        id="configureQueue",
        method="PATCH",
        path=_QUEUE,
        handler=configure,
        tag="queues",
        summary="Change settings of a queue (JSON merge patch)",
        content={_JSON: QueueForm, "application/merge-patch+json": QueueForm},
        content_required=True,
        answers={200: Answer(description="It is changed.", content={_JSON: QueueDescription})},
        problems=("bad-address", "bad-message", "not-found", "media-type"),
    ),
    Operation(
        id="deleteQueue",
        method="DELETE",
        path=_QUEUE,
        handler=delete,
        tag="queues",
        summary="Delete a queue with all that it holds",
        query=DeleteOptions,
        answers={204: Answer(description="It is gone.")},
        problems=("bad-address", "not-found", "in-use"),
    ),
    Operation(
        id="purgeQueue",
        method="DELETE",
        path=_QUEUE + "/messages",
        handler=purge,
        tag="queues",
        summary="Drop the messages of a queue",
        query=PurgeOptions,
        answers={200: Answer(description="They are gone.", content={_JSON: Purged})},
        problems=("bad-address", "not-found"),
    ),
)
