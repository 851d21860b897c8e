"""Messages of queues: send, receive under a lease, settle."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import msgspec

from hubbub import ExistsError, Message, QueueSettings, Response, queue_address
from hubbub_gateway.answers import Published, Results, publish
from hubbub_gateway.call import Call
from hubbub_gateway.fields import PUBLISHED
from hubbub_gateway.operations import Answer, Operation
from hubbub_gateway.problems import Problem
from hubbub_gateway.publishing import CONTENT, Form, read_messages


class SendOptions(msgspec.Struct, kw_only=True, frozen=True):
    """How the body of what is sent is to be understood."""

    form: Form | None = None


async def send(call: Call) -> Response:
    """Send one message, or a batch, to a queue."""
    name = call.parameter("name")
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
                content={"application/json": Published | Results},
            ),
            207: Answer(
                description="A part of the batch was refused.",
                content={"application/json": Results},
            ),
        },
        problems=("bad-address", "bad-message", "not-found", "too-large", "media-type", "refused"),
    ),
)
