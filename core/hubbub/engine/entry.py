"""One message in one queue, with its lease: the record that the queue and its journal share."""

from enum import IntEnum

import msgspec

from hubbub.message import Message

from .consumers import PushConsumer


class State(IntEnum):
    """Where an entry is."""

    READY = 0
    DELAYED = 1
    LEASED = 2
    GONE = 3


class Entry(msgspec.Struct, gc=False, eq=False):
    """A message in a queue.

    `id` is the message's and gives its place in the queue. `message` is None while the message is
    paged out to the store. `token` is the fencing token of the last lease; `receives` counts
    leases; `visible_at` is when a delay or a timed lease ends, or the last lease ended by itself.
    `stored` says that the journal has been told of it. All times in milliseconds since the epoch.
    """

    id: int
    message: Message | None
    size: int
    priority: int = 0
    group: str | None = None
    expires_at: int | None = None
    published: int = 0
    state: State = State.READY
    visible_at: int = 0
    token: int = 0
    receives: int = 0
    first_received: int = 0
    tag: int = 0
    owner: str | None = None
    consumer: PushConsumer | None = None
    stored: bool = False
