"""Messages of queues: send, receive under a lease."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Final

import msgspec

from hubbub import Delivery, ExistsError, Message, Outcome, QueueSettings, Response, queue_address
from hubbub_gateway.answers import Published, Results, publish
from hubbub_gateway.call import Call
from hubbub_gateway.durations import Duration
from hubbub_gateway.fields import PUBLISHED
from hubbub_gateway.operations import Answer, Header, Operation
from hubbub_gateway.problems import Problem
from hubbub_gateway.publishing import CONTENT, Form, read_messages
from hubbub_gateway.receiving import CONTENT as RECEIVED
from hubbub_gateway.receiving import ReceivedForm, answer_messages, check_form


class SendOptions(msgspec.Struct, kw_only=True, frozen=True):
    """How the body of what is sent is to be understood."""

    form: Form | None = None


class ReceiveOptions(msgspec.Struct, kw_only=True, frozen=True):
    """How many messages are wanted, for how long, and in which form.

    * `max`: at most so many. `wait`: how long to wait for the first.
    * `lease`: how long they are leased; the queue's own time by default.
    * `peek`: only look at them, and leave them in the queue.
    """

    max: Annotated[int, msgspec.Meta(ge=1)] = 1
    wait: Duration = 0
    lease: Duration | None = None
    peek: bool = False
    form: ReceivedForm = "json"


async def send(call: Call) -> Response:
    """Send one message, or a batch, to a queue."""
    name = call.queue_name()
    options = call.options(SendOptions)
    address = str(queue_address(name))
    incoming = await read_messages(call, address, options.form)
    session = call.session
    queue = session.find_queue(name)
    if queue is None and call.gateway.settings.create_queues:
        with suppress(ExistsError):  # somebody was faster
            queue = await session.create_queue(name, QueueSettings())
    limit = None if queue is None else queue.settings.max_message_bytes
    for index, entry in enumerate(incoming.entries):
        if not isinstance(entry, Message):
            continue
        problem = _unfit(entry, limit)
        if problem is not None and not incoming.batch:
            raise problem
        if problem is not None:
            incoming.entries[index] = problem
    return await publish(call, incoming)


def _unfit(message: Message, limit: int | None) -> Problem | None:
    """Return why a queue can't take a message."""
    if message.retain:
        return Problem("bad-message", "A queue retains nothing: topics do.")
    if limit is not None and message.size > limit:
        return Problem("too-large", f"A message in this queue has at most {limit} bytes.")
    return None


async def receive(call: Call) -> Response:
    """Receive messages under a lease."""
    name = call.queue_name()
    options = call.options(ReceiveOptions)
    settings = call.gateway.settings
    if options.max > settings.max_batch:
        raise Problem("bad-request", f"`max` is at most {settings.max_batch}.", parameter="max")
    wait = call.duration("wait", options.wait, settings.max_wait)
    lease = None if options.lease is None else call.duration("lease", options.lease)
    media = check_form(call, options.form, options.max)
    if options.peek:
        seen = list(call.session.peek(name, options.max))
        return answer_messages(call, seen, options.form, media)
    found = await _receive(call, name, options.max, lease, wait)
    return answer_messages(call, found, options.form, media)


async def _receive(
    call: Call, name: str, most: int, lease: int | None, wait: int
) -> Sequence[Delivery]:
    """Receive; nothing stays leased to a client that is gone before it could be answered."""
    session, request = call.session, call.request
    deliveries = await session.receive(name, most, lease=lease)
    if deliveries or not wait:
        return deliveries
    await request.body()  # so that the client can be heard going away
    async with request.until_disconnect():
        deliveries = await session.receive(name, most, lease=lease, wait=wait)
    if deliveries and request.disconnected:
        await session.settle([each.receipt for each in deliveries], Outcome.RELEASE)
        return ()
    return deliveries


OPERATIONS: Final = (
    Operation(
        id="sendMessages",
        method="POST",
        path="/queues/{name}/messages",
        handler=send,
        tag="queues",
        summary="Send one message, or a batch",
        query=SendOptions,
        headers=PUBLISHED,
        content=CONTENT,
        answers={
            202: Answer(
                description="All messages are kept.",
                content={"application/json": (Published, Results)},
            ),
            207: Answer(
                description="A part of the batch was refused.",
                content={"application/json": Results},
            ),
        },
        problems=("bad-address", "bad-message", "not-found", "too-large", "media-type", "refused"),
    ),
    Operation(
        id="receiveMessages",
        method="GET",
        path="/queues/{name}/messages",
        handler=receive,
        tag="queues",
        summary="Receive messages under a lease",
        description="Each message carries a lease token: settle it with it before the lease ends, "
        "else the message is given to somebody else. A client that goes away while it waits "
        "leases nothing.",
        query=ReceiveOptions,
        headers={"Accept": Header("The form of the messages.")},
        answers={
            200: Answer(description="The messages; none if none came in time.", content=RECEIVED),
            204: Answer(description="No message came in time, and one in its own form was wanted."),
        },
        problems=("not-found", "not-acceptable", "refused"),
        safe=False,
    ),
)
