"""The clockwork of a queue: what happens to its entries only because time passes.

Heaps of points in time. An entry that left, or whose deadline was moved, stays in them until its
time has come and is passed over then; where too many do, all of them are thrown out. All times are
milliseconds since the epoch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import TypeAlias

from .entry import Entry, State

_Heap: TypeAlias = list[tuple[int, int, Entry]]
_SLACK = 1000
"""Entries that a heap may have in vain, beside as many as it has rightly."""
_SECOND = 1000


class Clockwork:
    """Delays and leases that end, messages that expire or grow too old.

    `entries`: all entries of the queue, the oldest first. `arm` has the queue called at a time,
    when it is to ask here what is due.
    """

    def __init__(self, entries: Mapping[int, Entry], arm: Callable[[int], None]) -> None:
        self._entries = entries
        self._arm = arm
        self._delays: _Heap = []
        self._leases: _Heap = []
        self._expiries: _Heap = []
        self._ageing = False
        """Whether there is an alarm for the oldest entry to grow too old."""

    # what is to come

    def delay(self, entry: Entry) -> None:
        """Have a delayed entry come back at its `visible_at`."""
        self._schedule(self._delays, entry.visible_at, entry)

    def expire(self, entry: Entry, when: int) -> None:
        """Have a message expire."""
        self._schedule(self._expiries, when, entry)

    def lease(self, entries: Sequence[Entry], until: int, in_flight: int) -> None:
        """Have leases end: those that the entries have now. `in_flight`: how many there are.

        A lease whose end is moved has its old one in the heap, too; its entry knows better.
        """
        leases = self._leases
        for entry in entries:
            entry.visible_at = until
            heappush(leases, (until, entry.token, entry))
        self._arm(until)
        if len(leases) > 2 * in_flight + _SLACK:
            leases[:] = [
                each
                for each in leases
                if each[2].state is State.LEASED and each[2].token == each[1]
            ]
            heapify(leases)

    def redelay(self, delay: int) -> None:
        """Let all that are delayed be so for this long from when they were published."""
        waiting = [entry for _, _, entry in self._delays if entry.state is State.DELAYED]
        for entry in waiting:
            entry.visible_at = entry.published + delay
        self._delays[:] = [(entry.visible_at, entry.id, entry) for entry in waiting]
        heapify(self._delays)

    def age(self, now: int, retention: int) -> None:
        """A message has come in that grows too old in `retention` milliseconds."""
        if not self._ageing:
            self._ageing = True
            self._arm(now + retention)

    def watch_age(self, *, wanted: bool) -> None:
        """Look at the age of all at the next alarm, or (not `wanted`) never."""
        self._ageing = wanted

    def _schedule(self, heap: _Heap, when: int, entry: Entry) -> None:
        heappush(heap, (when, entry.id, entry))
        self._arm(when)
        if len(heap) > 2 * len(self._entries) + _SLACK:
            heap[:] = [each for each in heap if each[2].state is not State.GONE]
            heapify(heap)

    # what is due

    def ended_delays(self, now: int) -> Iterator[Entry]:
        """Take out the entries whose delay has ended."""
        delays = self._delays
        while delays and delays[0][0] <= now:
            _, _, entry = heappop(delays)
            if entry.state is State.DELAYED and entry.visible_at <= now:
                yield entry

    def ended_leases(self, now: int) -> Iterator[Entry]:
        """Take out the entries whose lease has ended."""
        leases = self._leases
        while leases and leases[0][0] <= now:
            _, token, entry = heappop(leases)
            if entry.state is State.LEASED and entry.token == token and 0 < entry.visible_at <= now:
                yield entry

    def some_expired(self, now: int) -> bool:
        """Tell whether `expired` may give anything."""
        return bool(self._expiries) and self._expiries[0][0] <= now

    def expired(self, now: int) -> Iterator[Entry]:
        """Take out the entries that wait and have expired.

        Whoever holds one may still finish; it is looked at again when it would come back.
        """
        expiries = self._expiries
        while expiries and expiries[0][0] <= now:
            _, _, entry = heappop(expiries)
            if entry.state is State.READY or entry.state is State.DELAYED:
                yield entry
            elif entry.state is State.LEASED:
                heappush(expiries, (max(entry.visible_at, now + _SECOND), entry.id, entry))

    def outlived(self, now: int, retention: int) -> list[Entry]:
        """Return the entries that wait and are older than `retention`: they are to go."""
        if not self._ageing:
            return []
        old: list[Entry] = []
        oldest = now
        for entry in self._entries.values():
            if entry.published + retention > now:
                oldest = entry.published
                break
            if entry.state is not State.LEASED:
                old.append(entry)
        self._ageing = len(self._entries) > len(old)
        if self._ageing:
            self._arm(max(oldest + retention, now + _SECOND))
        return old

    def arm_next(self) -> None:
        """Have the queue called when next something is due."""
        for heap in (self._delays, self._leases, self._expiries):
            if heap:
                self._arm(heap[0][0])
