"""Topics: publish, retained messages, subscribe by Server-Sent Events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from hubbub import Address, AddressError, FilterSpec, Kind, Message, Response, parse_address
from hubbub_gateway import sse
from hubbub_gateway.answers import Published, Results, publish
from hubbub_gateway.call import Call
from hubbub_gateway.conditions import answer_unless_known
from hubbub_gateway.events import follow, listen, wants_events
from hubbub_gateway.fields import PUBLISHED
from hubbub_gateway.operations import Answer, Header, Operation
from hubbub_gateway.problems import Problem
from hubbub_gateway.publishing import CONTENT, Form, read_messages
from hubbub_gateway.receiving import CONTENT as RECEIVED
from hubbub_gateway.receiving import Messages, ReceivedForm, answer_messages, check_form
from hubbub_gateway.starts import StartName, find_start

from .subscriptions import ensure_subscription

MAX_RETAINED: Final = 10_000
"""Retained messages of one answer."""
_RESUME: Final = {
    "Accept": Header(f"`{sse.MEDIA_TYPE}` subscribes."),
    "Last-Event-ID": Header("Of a durable subscription: the id of the last event that was seen."),
}


class PublishOptions(msgspec.Struct, kw_only=True, frozen=True):
    """How the body is to be understood, and whether it is kept as the retained message."""

    form: Form | None = None
    retain: bool = False


class TopicOptions(msgspec.Struct, kw_only=True, frozen=True):
    """The form of the retained message; or what is subscribed to.

    * `filter`: a kind of filter and its specification in JSON, such as
      `{"policy": {"level": ["high"]}}`.
    * `retained`: the retained messages come first.
    * `subscription`: the name of a durable subscription, which is made if there is none.
    * `from`: where to begin in one without `Last-Event-ID`.
    """

    form: ReceivedForm = "raw"
    filter: str | None = None
    retained: bool = False
    subscription: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    start: StartName = msgspec.field(default="oldest", name="from")
    last_event_id: str | None = None


class PatternOptions(msgspec.Struct, kw_only=True, frozen=True):
    """Which topics: one or more patterns.

    For a subscription, the `filter`, and whether `retained` messages come first.
    """

    pattern: list[str] = []
    filter: str | None = None
    retained: bool = False


async def publish_to_topic(call: Call) -> Response:
    """Publish one message, or a batch, to a topic."""
    options = call.options(PublishOptions)
    address = _topic(call)
    incoming = await read_messages(call, address, options.form)
    if options.retain:
        for entry in incoming.entries:
            if isinstance(entry, Message):
                entry.retain = True
    return await publish(call, incoming)


async def get_topic(call: Call) -> Response:
    """Give the retained message of a topic, or subscribe to a pattern."""
    options = call.options(TopicOptions)
    if wants_events(call):
        return await _subscribe(call, options)
    if options.filter or options.retained or options.subscription or options.last_event_id:
        raise _needs_events()
    address = _topic(call)
    media = check_form(call, options.form, 1)
    found = call.session.retained(address)
    if not found:
        raise Problem("not-found", f"No message is retained for {address!r}.")
    answer = answer_messages(call, found, options.form, media)
    return answer_unless_known(call.request, answer, f"{found[0].id}-{options.form}")


async def _subscribe(call: Call, options: TopicOptions) -> Response:
    if options.form != "raw":
        raise Problem("bad-request", "Events are in JSON; `form` is for the retained message.")
    pattern = spell_pattern(call.levels["topic"])
    filter_ = read_filter(options.filter)
    if options.subscription is None:
        return listen(call, [pattern], filter_, retained=options.retained)
    if options.retained:
        raise Problem("bad-request", "A durable subscription repeats no retained messages.")
    name = await ensure_subscription(call, options.subscription, pattern, filter_)
    return await follow(call, name, find_start(call, name, options, own=True), own=True)


async def clear(call: Call) -> Response:
    """Forget the retained message of a topic, by publishing an empty one, as in MQTT."""
    address = _topic(call)
    session = call.session
    if not session.retained(address):
        raise Problem("not-found", f"No message is retained for {address!r}.")
    publication = session.publish([Message(address=address, body=b"", retain=True)])
    if publication.refused:
        raise publication.refused[0]
    await publication.commit.wait()
    return Response(204)


async def list_topics(call: Call) -> Response:
    """List retained messages, or subscribe to several patterns at once."""
    options = call.options(PatternOptions)
    if not options.pattern:
        raise Problem("bad-request", "Name at least one `pattern`, such as %23 for all topics.")
    for pattern in options.pattern:
        if " " in pattern.split("/"):
            raise Problem(
                "bad-address",
                f"The pattern {pattern!r} has a space as a level: a '+' in a query is '%2B'.",
            )
    if wants_events(call):
        filter_ = read_filter(options.filter)
        return listen(call, options.pattern, filter_, retained=options.retained)
    if options.filter is not None or options.retained:
        raise _needs_events()
    media = check_form(call, "json", 2)
    found: dict[str, Message] = {}
    for pattern in options.pattern:
        found |= {each.address: each for each in call.session.retained(pattern)}
    if len(found) > MAX_RETAINED:
        raise Problem("bad-request", f"More than {MAX_RETAINED} messages match: narrow it down.")
    return answer_messages(call, [found[name] for name in sorted(found)], "json", media)


def _needs_events() -> Problem:
    return Problem("bad-request", f"This is a subscription: ask for it by Accept: {sse.MEDIA_TYPE}")


def _topic(call: Call) -> str:
    """Return the topic in the path.

    Raises:
        AddressError: it is none, or the address of something else.
    """
    address = parse_address(spell_pattern(call.levels["topic"]))
    _check_kind(address)
    return str(address)


def _check_kind(address: Address) -> None:
    if address.kind is not Kind.TOPIC:
        raise AddressError(
            f"{str(address)!r} is a {address.kind}, not a topic: see /{address.kind}s/NAME"
        )


def spell_pattern(levels: Sequence[str]) -> str:
    """Join the levels of a path; an encoded "/" stays within its level."""
    return "/".join(level.replace("/", "%2F") for level in levels)


def read_filter(text: str | None) -> FilterSpec | None:
    """Read a filter as the query has it.

    Raises:
        Problem: 400, it is no JSON object with one member.
    """
    if text is None:
        return None
    try:
        found = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise Problem("bad-filter", f"The filter is no JSON object: {error}") from None
    return filter_of(found)


def filter_of(found: dict[str, Any]) -> FilterSpec:
    """Make a filter of a kind and its specification.

    Raises:
        Problem: 400, there is not exactly one.
    """
    if len(found) != 1:
        raise Problem("bad-filter", 'A filter has one kind, such as {"policy": {"a": ["b"]}}.')
    ((kind, spec),) = found.items()
    return FilterSpec(kind, spec)


_TOPIC: Final = "/topics/{topic...}"
_JSON: Final = "application/json"

OPERATIONS: Final = (
    Operation(
        id="publish",
        method="POST",
        path=_TOPIC,
        handler=publish_to_topic,
        tag="topics",
        summary="Publish one message, or a batch",
        query=PublishOptions,
        headers=PUBLISHED,
        content=CONTENT,
        answers={
            202: Answer(
                description="All that has to be kept is.", content={_JSON: (Published, Results)}
            ),
            207: Answer(description="A part of the batch was refused.", content={_JSON: Results}),
        },
        problems=("bad-address", "bad-message", "too-large", "media-type", "refused"),
    ),
    Operation(
        id="getTopic",
        method="GET",
        path=_TOPIC,
        handler=get_topic,
        tag="topics",
        summary="Get the retained message of a topic, or subscribe to a pattern",
        description="With `Accept: text/event-stream` the path is a pattern: `+` stands for one "
        "level and `%23` (`#`) for any number. Each message is an event in the JSON form.",
        query=TopicOptions,
        headers=_RESUME,
        answers={
            200: Answer(
                description="The retained message, or events.",
                content={**RECEIVED, sse.MEDIA_TYPE: None},
            ),
            304: Answer(description="The client has the retained message already."),
        },
        problems=("bad-address", "bad-filter", "not-found", "not-acceptable"),
        takes_token=True,
    ),
    Operation(
        id="clearTopic",
        method="DELETE",
        path=_TOPIC,
        handler=clear,
        tag="topics",
        summary="Forget the retained message of a topic, by publishing an empty one",
        answers={204: Answer(description="It is gone.")},
        problems=("bad-address", "not-found"),
    ),
    Operation(
        id="listTopics",
        method="GET",
        path="/topics",
        handler=list_topics,
        tag="topics",
        summary="List retained messages, or subscribe to several patterns",
        query=PatternOptions,
        headers={"Accept": Header(f"`{sse.MEDIA_TYPE}` subscribes.")},
        answers={
            200: Answer(
                description="The retained messages, or events.",
                content={_JSON: Messages, sse.MEDIA_TYPE: None},
            )
        },
        problems=("bad-address", "bad-filter", "not-acceptable"),
        takes_token=True,
    ),
)
