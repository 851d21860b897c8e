"""Durable subscriptions: what is published is kept for their readers, connected or not.

Behind one is a stream that the subscription feeds. An event's id is the place after it in that
stream, so `Last-Event-ID` finds every message that retention has not dropped, and nothing needs to
be acknowledged.
"""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from hubbub import (
    DeniedError,
    ExistsError,
    FilterSpec,
    NotFoundError,
    Response,
    StreamSettings,
    Subscription,
    check_pattern,
    stream_address,
)
from hubbub_gateway import sse
from hubbub_gateway.answers import answer_json, read_json
from hubbub_gateway.call import Call
from hubbub_gateway.durations import Duration, milliseconds
from hubbub_gateway.events import follow
from hubbub_gateway.operations import Answer, Header, Operation
from hubbub_gateway.problems import Problem
from hubbub_gateway.starts import StartName, find_start

from .listing import ListOptions, page

_MAX_NAME: Final = 256


class SubscriptionForm(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A durable subscription.

    * `pattern`: topics; `+` stands for one level, `#` for any number.
    * `filter`: a kind of filter and its specification, such as `{"policy": {"a": ["b"]}}`.
    * `retention`: how long messages are kept; `max_bytes`: and how many bytes of them. Both are at
      most what the configuration says.
    """

    pattern: Annotated[str, msgspec.Meta(min_length=1)]
    filter: Annotated[dict[str, Any], msgspec.Meta(min_length=1, max_length=1)] | None = None
    retention: Duration | UnsetType = UNSET
    max_bytes: Annotated[int, msgspec.Meta(ge=1024, le=2**53 - 1)] | UnsetType = UNSET


class SubscriptionDescription(msgspec.Struct, kw_only=True, frozen=True):
    """A durable subscription of the caller."""

    name: str
    pattern: str
    filter: dict[str, Any] | None
    retention: float | None
    max_bytes: int | None


class SubscriptionList(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A page of subscriptions; `next` is what the next page is `after`, if there is one."""

    subscriptions: list[SubscriptionDescription]
    next: str | None = None


class EventOptions(msgspec.Struct, kw_only=True, frozen=True):
    """Where to begin, `from`, without `Last-Event-ID`; `last_event_id` may take its place."""

    start: StartName = msgspec.field(default="oldest", name="from")
    last_event_id: str | None = None


async def list_subscriptions(call: Call) -> Response:
    """List the caller's durable subscriptions."""
    found = [_describe(call, each) for each in _mine(call)]
    part, after = page(sorted(found, key=_name), call.options(ListOptions))
    return answer_json(SubscriptionList(subscriptions=part, next=after))


async def describe(call: Call) -> Response:
    """Describe a durable subscription."""
    return answer_json(_describe(call, _find(call, call.parameter("name"))))


async def create(call: Call) -> Response:
    """Make a durable subscription, or change it: messages that it has kept stay."""
    form = await read_json(call, SubscriptionForm)
    name = call.parameter("name")
    new = not any(_name_of(call, each) == name for each in _mine(call))
    filter_ = None if form.filter is None else FilterSpec(*next(iter(form.filter.items())))
    settings = call.gateway.settings.events
    most = _default_settings(call)
    wanted = StreamSettings(
        retention=most.retention if form.retention is UNSET else milliseconds(form.retention),
        max_bytes=most.max_bytes if form.max_bytes is UNSET else form.max_bytes,
    )
    if (wanted.retention or 0) > (most.retention or 0):
        raise Problem("bad-message", f"`retention` is at most {settings.retention:g} seconds.")
    if (wanted.max_bytes or 0) > (most.max_bytes or 0):
        raise Problem("bad-message", f"`max_bytes` is at most {settings.max_bytes}.")
    await ensure_subscription(call, name, form.pattern, filter_, wanted)
    description = _describe(call, _find(call, name))
    if new:
        return answer_json(description, 201, [("Location", call.request.path)])
    return answer_json(description)


async def delete(call: Call) -> Response:
    """End a durable subscription, with all that it has kept."""
    name = call.parameter("name")
    subscription = _find(call, name)
    session = call.session
    session.unsubscribe(subscription.id)
    stream = _stream_name(call, name)
    session.adopt(str(stream_address(stream)))
    with suppress(NotFoundError):
        await session.delete_stream(stream)
    await session.commit().wait()
    return Response(204)


async def events(call: Call) -> Response:
    """Read what a durable subscription has kept, and what is published from now on."""
    options = call.options(EventOptions)
    name = call.parameter("name")
    _find(call, name)
    stream = _stream_name(call, name)
    return await follow(call, stream, find_start(call, stream, options, own=True), own=True)


async def ensure_subscription(
    call: Call,
    name: str,
    pattern: str,
    filter_: FilterSpec | None,
    settings: StreamSettings | None = None,
) -> str:
    """Make a durable subscription unless it is there; return the name of its stream.

    One with another pattern or filter is changed. `settings` None: those that it has.

    Raises:
        Problem, AddressError, FilterError, DeniedError, RefusedError.
    """
    check_pattern(pattern)
    if not 0 < len(name) <= _MAX_NAME:
        raise Problem("bad-request", f"A subscription's name has 1 to {_MAX_NAME} characters.")
    session, gateway = call.session, call.gateway
    if not session.allowed("subscribe", pattern):
        raise DeniedError(call.principal.name, "subscribe", pattern)
    mine = _mine(call)
    id_ = _id(call, name)
    known = next((each for each in mine if each.id == id_), None)
    most = gateway.settings.events.max_subscriptions
    if known is None and len(mine) >= most:
        raise Problem("refused", f"You have {most} durable subscriptions, which is the most.")
    stream = _stream_name(call, name)
    target = str(stream_address(stream))
    session.adopt(target)
    found = session.find_stream(stream)
    if found is None:
        with suppress(ExistsError):  # somebody was faster
            await session.create_stream(stream, settings or _default_settings(call))
    elif settings is not None and found.settings != settings:
        await session.configure_stream(stream, settings)
    if known is None or (known.pattern, known.filter) != (pattern, filter_):
        session.subscribe(pattern, target, filter=filter_, id=id_, durable=True)
    await session.commit().wait()
    return stream


def _default_settings(call: Call) -> StreamSettings:
    settings = call.gateway.settings.events
    return StreamSettings(retention=milliseconds(settings.retention), max_bytes=settings.max_bytes)


def _mine(call: Call) -> list[Subscription]:
    prefix = _id(call, "")
    return [each for each in call.session.subscriptions() if each.id.startswith(prefix)]


def _id(call: Call, name: str) -> str:
    owner = call.principal.name
    return f"http/{len(owner)}/{owner}/{name}"


def _name_of(call: Call, subscription: Subscription) -> str:
    return subscription.id.removeprefix(_id(call, ""))


def _name(description: SubscriptionDescription) -> str:
    return description.name


def _find(call: Call, name: str) -> Subscription:
    id_ = _id(call, name)
    for each in call.session.subscriptions(str(stream_address(_stream_name(call, name)))):
        if each.id == id_:
            return each
    raise NotFoundError("subscription", name)


def _stream_name(call: Call, name: str) -> str:
    """Name the stream behind a subscription: the same for the same user, over restarts."""
    digest = hashlib.sha256(_id(call, name).encode()).digest()[:15]
    return f"http-subscription-{base64.urlsafe_b64encode(digest).decode()}"


def _describe(call: Call, subscription: Subscription) -> SubscriptionDescription:
    name = _name_of(call, subscription)
    stream = call.session.find_stream(_stream_name(call, name))
    settings = StreamSettings() if stream is None else stream.settings
    found = subscription.filter
    return SubscriptionDescription(
        name=name,
        pattern=subscription.pattern,
        filter=None if found is None else {found.kind: found.spec},
        retention=None if settings.retention is None else settings.retention / 1000,
        max_bytes=settings.max_bytes,
    )


_SUBSCRIPTION: Final = "/subscriptions/{name}"
_JSON: Final = "application/json"

OPERATIONS: Final = (
    Operation(
        id="listSubscriptions",
        method="GET",
        path="/subscriptions",
        handler=list_subscriptions,
        tag="subscriptions",
        summary="List your durable subscriptions",
        query=ListOptions,
        answers={200: Answer(description="A page of them.", content={_JSON: SubscriptionList})},
    ),
    Operation(
        id="describeSubscription",
        method="GET",
        path=_SUBSCRIPTION,
        handler=describe,
        tag="subscriptions",
        summary="Look at a durable subscription",
        answers={
            200: Answer(description="The subscription.", content={_JSON: SubscriptionDescription})
        },
        problems=("not-found",),
    ),
    Operation(
        id="createSubscription",
        method="PUT",
        path=_SUBSCRIPTION,
        handler=create,
        tag="subscriptions",
        summary="Make a durable subscription, or change it",
        content={_JSON: SubscriptionForm},
        content_required=True,
        answers={
            200: Answer(description="It is changed.", content={_JSON: SubscriptionDescription}),
            201: Answer(description="It is made.", content={_JSON: SubscriptionDescription}),
        },
        problems=("bad-address", "bad-filter", "bad-message", "media-type", "refused"),
    ),
    Operation(
        id="deleteSubscription",
        method="DELETE",
        path=_SUBSCRIPTION,
        handler=delete,
        tag="subscriptions",
        summary="End a durable subscription, with all that it has kept",
        answers={204: Answer(description="It is gone.")},
        problems=("not-found",),
    ),
    Operation(
        id="readSubscription",
        method="GET",
        path=_SUBSCRIPTION + "/events",
        handler=events,
        tag="subscriptions",
        summary="Read a durable subscription by Server-Sent Events",
        query=EventOptions,
        headers={"Last-Event-ID": Header("The id of the last event that was seen.")},
        answers={200: Answer(description="Events.", content={sse.MEDIA_TYPE: None})},
        problems=("not-found",),
        takes_token=True,
    ),
)
