"""One channel as the protocol sees it: confirms or transactions, consumers, delivery tags."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator
from enum import Enum
from typing import Generic, TypeVar

from .errors import AmqpError, Reply

T = TypeVar("T")


class Mode(Enum):
    """How a channel publishes."""

    PLAIN = "none"
    CONFIRM = "confirm"
    TX = "tx"


class Ledger(Generic[T]):
    """What was delivered on a channel and is not settled, by delivery tag."""

    __slots__ = ("_last", "_open")

    def __init__(self) -> None:
        self._open: dict[int, T] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[T]:
        return iter(self._open.values())

    def next_tag(self) -> int:
        """Give out a delivery tag that nobody needs to settle."""
        self._last += 1
        return self._last

    def deliver(self, item: T) -> int:
        """Note a delivery; return its tag."""
        self._last = tag = self._last + 1
        self._open[tag] = item
        return tag

    def oldest(self) -> T | None:
        """Return what has waited longest."""
        return next(iter(self._open.values()), None)

    def settle(self, tag: int, *, multiple: bool) -> list[T]:
        """Take out what an ack, nack or reject is about, oldest first.

        With `multiple`, 0 stands for all, and needs none to be there.

        Raises:
            AmqpError: PRECONDITION_FAILED, the tag is unknown or was settled before.
        """
        still = self._open
        if multiple and not tag:
            taken = list(still.values())
            still.clear()
            return taken
        if tag not in still:
            raise AmqpError(Reply.PRECONDITION_FAILED, f"unknown delivery tag {tag}")
        if not multiple:
            return [still.pop(tag)]
        taken = []
        for each in list(still) if tag == self._last else _up_to(still, tag):
            taken.append(still.pop(each))
        return taken

    def restore(self, items: list[tuple[int, T]]) -> None:
        """Put back what a transaction that was rolled back had taken out."""
        self._open = dict(sorted([*self._open.items(), *items]))

    def items(self) -> ItemsView[int, T]:
        """Return what is open, by delivery tag."""
        return self._open.items()

    def clear(self) -> list[T]:
        """Take out all."""
        return self.settle(0, multiple=True)


def _up_to(tags: dict[int, T], last: int) -> list[int]:
    found = []
    for tag in tags:
        if tag > last:
            break
        found.append(tag)
    return found


class ChannelState:
    """The mode of a channel, and the numbers of what is published in it."""

    __slots__ = ("mode", "number", "published")

    def __init__(self, number: int) -> None:
        self.number = number
        self.mode = Mode.PLAIN
        self.published = 0
        """Messages published since `confirm.select`: the number of the last one."""

    def select_confirm(self) -> None:
        """Answer `confirm.select`; again is no error."""
        if self.mode is Mode.TX:
            raise AmqpError(Reply.PRECONDITION_FAILED, "cannot switch from tx to confirm mode")
        self.mode = Mode.CONFIRM

    def select_tx(self) -> None:
        """Answer `tx.select`; again is no error."""
        if self.mode is Mode.CONFIRM:
            raise AmqpError(Reply.PRECONDITION_FAILED, "cannot switch from confirm to tx mode")
        self.mode = Mode.TX

    def require_tx(self) -> None:
        """Check before `tx.commit` and `tx.rollback`."""
        if self.mode is not Mode.TX:
            raise AmqpError(Reply.PRECONDITION_FAILED, "channel is not transactional")
