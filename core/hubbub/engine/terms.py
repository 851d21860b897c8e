"""What is kept of an entry beside its message: its terms, packed into one value."""

import msgspec

from hubbub.message import Message

from .entry import Entry


class Terms(msgspec.Struct, array_like=True, gc=False):
    """The fields of an `Entry` that are kept, in the order they are packed in.

    A later version may add fields at the end, with defaults.
    """

    size: int
    priority: int
    group: str | None
    expires_at: int | None
    published: int
    visible_at: int
    token: int
    receives: int
    first_received: int
    tag: int
    owner: str | None


def pack(entry: Entry) -> tuple[object, ...]:
    """An entry as `Terms`: a plain tuple encodes to the same bytes and is quicker to make."""
    return (
        entry.size,
        entry.priority,
        entry.group,
        entry.expires_at,
        entry.published,
        entry.visible_at,
        entry.token,
        entry.receives,
        entry.first_received,
        entry.tag,
        entry.owner,
    )


def unpack(number: int, message: Message | None, terms: Terms) -> Entry:
    """The entry of the message with this id and these terms, as it comes from the store."""
    return Entry(
        id=number,
        message=message,
        size=terms.size,
        priority=terms.priority,
        group=terms.group,
        expires_at=terms.expires_at,
        published=terms.published,
        visible_at=terms.visible_at,
        token=terms.token,
        receives=terms.receives,
        first_received=terms.first_received,
        tag=terms.tag,
        owner=terms.owner,
        stored=True,
    )
