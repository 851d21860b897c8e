"""Who is given the messages of a queue: consumers and waiting receives, in turn."""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from .contract import ConsumerTerms, Consumption, Delivery


class Giver(Protocol):
    """The queue, as its consumers know it."""

    def dispatch(self) -> None:
        """Give what is ready to those who have room."""
        ...

    def leave(self, consumer: "PushConsumer") -> None:
        """Let a consumer go."""
        ...


class PushConsumer(Consumption):
    """A consumer that messages are pushed to; also how a waiting receive stands in the line."""

    __slots__ = ("cancelled", "deliver", "limit", "line", "listed", "paused", "terms")

    def __init__(
        self,
        line: "Line",
        deliver: Callable[[list[Delivery]], None],
        terms: ConsumerTerms,
        cancelled: Callable[[str], None],
        limit: int | None = None,
    ) -> None:
        self.line = line
        self.deliver = deliver
        self.terms = terms
        self.cancelled = cancelled
        self.limit = limit
        """Leaves the line after one delivery of at most this many: a waiting receive."""
        self.paused = False
        self.listed = False
        """Whether it stands in the line."""

    def room(self) -> int:
        """How many messages it may be given now."""
        if self.paused:
            return 0
        room = 1 << 30 if self.limit is None else self.limit
        for window in self.terms.windows:
            room = min(room, window.room)
        return room

    def pause(self) -> None:
        """Take nothing more until `resume`."""
        self.paused = True

    def resume(self) -> None:
        """Go on after `pause`."""
        self.paused = False
        self.line.stand(self)

    def cancel(self) -> None:
        """Take nothing more. What it holds stays leased to its owner."""
        self.line.giver.leave(self)


class Line:
    """The consumers of one queue, and those of them that may have room, in turn."""

    def __init__(self, giver: Giver) -> None:
        self.giver = giver
        self._all: dict[PushConsumer, None] = {}
        self._standing: deque[PushConsumer] = deque()
        self._ranked = False
        """Whether some consumer ever had another priority than 0."""

    def __len__(self) -> int:
        """How many may have room."""
        return len(self._standing)

    def __iter__(self) -> Iterator[PushConsumer]:
        """All of them, whether they have room or not, the oldest first."""
        return iter(self._all)

    def __contains__(self, consumer: PushConsumer) -> bool:
        return consumer in self._all

    @property
    def empty(self) -> bool:
        """Whether there is nobody at all."""
        return not self._all

    @property
    def consumers(self) -> list[PushConsumer]:
        """Those that stay: waiting receives left out."""
        return [each for each in self._all if each.limit is None]

    def join(
        self,
        deliver: Callable[[list[Delivery]], None],
        terms: ConsumerTerms,
        cancelled: Callable[[str], None],
        limit: int | None = None,
        joined: Callable[[PushConsumer], None] | None = None,
    ) -> PushConsumer:
        """Add one, and give it what is ready; `joined` is called before."""
        consumer = PushConsumer(self, deliver, terms, cancelled, limit)
        self._all[consumer] = None
        if joined is not None:
            joined(consumer)
        self._ranked = self._ranked or terms.priority != 0
        self.stand(consumer)
        return consumer

    def forget(self, consumer: PushConsumer) -> None:
        """Remove one."""
        self._all.pop(consumer, None)
        if consumer.listed:
            self._step_out(consumer)

    def stand(self, consumer: PushConsumer) -> None:
        """Let one that may have room stand in the line."""
        if not consumer.listed and consumer in self._all:
            self.enlist(consumer)
            self.giver.dispatch()

    def enlist(self, consumer: PushConsumer) -> None:
        """Let one stand in the line that may have found something; whoever calls dispatches."""
        if not consumer.listed and consumer in self._all:
            consumer.listed = True
            self._standing.append(consumer)

    def leave(self, consumer: PushConsumer) -> None:
        """Let one leave the line that finds nothing, until `enlist`."""
        if consumer.listed:
            self._step_out(consumer)

    def _step_out(self, consumer: PushConsumer) -> None:
        consumer.listed = False
        self._standing.remove(consumer)

    def next(
        self, served: dict[PushConsumer, list[Delivery]], *, single_active: bool
    ) -> tuple[PushConsumer, int] | None:
        """Return whose turn it is, after `served` in this round, and how many it may be given.

        Those without room leave the line until there is some.
        """
        line = self._standing
        while line:
            consumer = self._first(single_active=single_active)
            if consumer is None:
                return None
            room = consumer.room()
            if consumer.limit is not None:
                room -= len(served.get(consumer, ()))
            if room > 0:
                if len(line) > 1:
                    line.remove(consumer)  # it stands first, but for ranks
                    line.append(consumer)
                return consumer, room
            self._step_out(consumer)
            for window in consumer.terms.windows:
                if window.room <= 0:
                    window.waiting.append(partial(self.stand, consumer))
                    break
        return None

    def _first(self, *, single_active: bool) -> PushConsumer | None:
        line = self._standing
        if single_active:
            active = next(iter(self.consumers), None)
            return active if active is not None and active.listed else None
        if len(line) > 1 and self._ranked:
            return max(line, key=lambda each: each.terms.priority)
        return line[0]

    def dissolve(self) -> list[PushConsumer]:
        """Empty the line; return who was there."""
        gone = list(self._all)
        self._all.clear()
        self._standing.clear()
        for consumer in gone:
            consumer.listed = False
        return gone
