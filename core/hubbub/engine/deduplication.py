"""What a queue remembers of messages with deduplication ids."""

import hashlib

from hubbub.message import Message

from .contract import QueueSettings


class Deduplication:
    """Deduplication ids, for as long as they count."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int]] = {}
        """By key: message id, until when (milliseconds since the epoch). The oldest first."""

    def __bool__(self) -> bool:
        return bool(self._known)

    def first(self, key: str, now: int) -> int | None:
        """Return the id of the message that had this key first; None if it is new."""
        known = self._known
        while known:
            oldest = next(iter(known))
            if known[oldest][1] > now:
                break
            del known[oldest]
        found = known.get(key)
        return None if found is None else found[0]

    def remember(self, key: str, message: int, until: int) -> None:
        """Remember the message that has a key."""
        self._known[key] = (message, until)

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()


def key_of(message: Message, settings: QueueSettings) -> str | None:
    """Return what tells whether two messages are the same, in a queue of these settings.

    A message that was moved is the same as none: it is in no other queue any more.
    """
    if message.origin_id is not None:
        return None
    key = message.dedup_id
    if key is None:
        if not settings.content_dedup:
            return None
        key = hashlib.sha256(message.body).hexdigest()
    if settings.dedup_scope == "group":
        key = f"{message.group}\0{key}"
    return key
