"""Consumers that take only some messages of a queue: what each has not looked at yet.

Such a consumer has an order of its own, beside the queue's. Whatever may be given is put into both;
it is looked at once, and again when it comes back after somebody held it. So the cost of a message
is one look for each of these consumers, however many others wait. What one of them takes, or looks
at, stays in the orders of the others, who pass over it when it is no longer there.
"""

from collections.abc import Callable
from typing import Protocol

from hubbub.message import Message

from .consumers import PushConsumer
from .entry import Entry
from .orders import Order

_LOOKS = 1_000
"""Messages looked at in vain before others have their turn of the loop."""


class Read(Protocol):
    """Returns the message of an entry, from the store if it is not in memory."""

    def __call__(self, entry: Entry) -> Message:
        """Read it."""
        ...


class Choice:
    """What one consumer may choose from."""

    __slots__ = ("_accepts", "_offered", "_order", "idle", "more")

    def __init__(self, accepts: Callable[[Message], bool], order: Order) -> None:
        self._accepts = accepts
        self._order = order
        self._offered = 0
        self.idle = False
        """Whether it left the line because it found nothing."""
        self.more = False
        """Whether it has stopped looking for others' sake."""

    def offer(self, entry: Entry, waiting: int) -> None:
        """Add an entry that is ready; `waiting`: how many are in the queue."""
        self._order.put(entry)
        self._offered += 1
        if self._offered > 1_000 + 2 * waiting:
            self._offered = 0
            self._order.compact()

    def take(self, read: Read) -> Entry | None:
        """Return the next entry that is wanted; None if there is none, or it takes too long."""
        self.more = False
        for _ in range(_LOOKS):
            entry = self._order.take(None)
            if entry is None:
                return None
            try:
                if self._accepts(read(entry)):
                    return entry
            except Exception:  # noqa: S112 - what a filter can't judge does not match
                continue
        self.more = True
        return None


class Choices:
    """The consumers of one queue that choose."""

    def __init__(self, new_order: Callable[[], Order]) -> None:
        self._new_order = new_order
        self._of: dict[PushConsumer, Choice] = {}

    def __bool__(self) -> bool:
        return bool(self._of)

    def add(
        self, consumer: PushConsumer, accepts: Callable[[Message], bool], waiting: Order
    ) -> None:
        """Let a consumer choose from what waits, and from what will come."""
        choice = self._of[consumer] = Choice(accepts, self._new_order())
        for entry in waiting:
            choice.offer(entry, 1 << 60)

    def forget(self, consumer: PushConsumer) -> None:
        """Let it go."""
        self._of.pop(consumer, None)

    def of(self, consumer: PushConsumer) -> Choice | None:
        """Return what a consumer may choose from; None if it takes all."""
        return self._of.get(consumer)

    def offer(self, entry: Entry, waiting: int) -> None:
        """Add an entry that is ready; who found nothing stands in the line again."""
        for consumer, choice in self._of.items():
            choice.offer(entry, waiting)
            if choice.idle and not choice.more:
                choice.idle = False
                consumer.line.enlist(consumer)

    def look_on(self) -> None:
        """Let those go on who stopped looking for others' sake."""
        for consumer, choice in self._of.items():
            if choice.idle and choice.more:
                choice.idle = False
                consumer.line.enlist(consumer)
