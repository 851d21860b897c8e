"""In which order a queue gives its waiting entries: by arrival, priority, FIFO group, or fairly.

Each order costs O(1), or O(log n) after redeliveries, however many entries wait. Entries that
left the queue by another way (purged, expired, settled late) stay inside until they come to the
front and are passed over then, so leaving costs nothing.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush, merge
from itertools import chain

from .entry import Entry, State


class Lane:
    """Entries by id: arrivals at the end, returned ones at their old place."""

    __slots__ = ("arrived", "returned")

    def __init__(self) -> None:
        self.arrived: deque[Entry] = deque()
        self.returned: list[tuple[int, Entry]] = []

    def put(self, entry: Entry) -> None:
        """Add an entry at the place of its id."""
        arrived = self.arrived
        if not arrived or entry.id > arrived[-1].id:
            arrived.append(entry)
        else:
            heappush(self.returned, (entry.id, entry))

    def head(self) -> Entry | None:
        """The first entry that is still waiting; passes over those that left."""
        arrived, returned = self.arrived, self.returned
        while returned and returned[0][1].state is not State.READY:
            heappop(returned)
        while arrived and arrived[0].state is not State.READY:
            arrived.popleft()
        if returned and (not arrived or returned[0][0] < arrived[0].id):
            return returned[0][1]
        return arrived[0] if arrived else None

    def take(self) -> Entry | None:
        """Remove and return the head."""
        arrived = self.arrived
        if not self.returned:
            while arrived:
                entry = arrived.popleft()
                if entry.state is State.READY:
                    return entry
            return None
        head = self.head()
        if head is None:
            return None
        if self.returned and self.returned[0][1] is head:
            heappop(self.returned)
        else:
            arrived.popleft()
        return head

    def compact(self) -> None:
        """Forget the entries that left."""
        self.arrived = deque(each for each in self.arrived if each.state is State.READY)
        self.returned = [each for each in self.returned if each[1].state is State.READY]
        heapify(self.returned)

    def __iter__(self) -> Iterator[Entry]:
        waiting = merge(
            ((each.id, each) for each in self.arrived),
            sorted(self.returned, key=lambda pair: pair[0]),
            key=lambda pair: pair[0],
        )
        return (entry for _, entry in waiting if entry.state is State.READY)


class Order(ABC):
    """The order of the waiting entries of one queue."""

    @abstractmethod
    def put(self, entry: Entry) -> None:
        """Add an entry that is ready."""

    @abstractmethod
    def take(self, batch: object) -> Entry | None:
        """Remove the next entry for the receiver of `batch`; None if nothing may be given."""

    @abstractmethod
    def take_first(self) -> Entry | None:
        """Remove the entry that a full queue gives up first, whatever its group's state."""

    @abstractmethod
    def oldest(self) -> Entry | None:
        """Return the entry that has waited longest, untouched."""

    def freed(self, entry: Entry) -> None:  # noqa: B027 - only groups care
        """Note that an entry that was taken is not leased any more."""

    def hold(self, entry: Entry) -> None:  # noqa: B027 - only groups care
        """Note that an entry is leased that was never put here: restored from the store."""

    @abstractmethod
    def compact(self) -> None:
        """Forget entries that left by another way."""

    @abstractmethod
    def __iter__(self) -> Iterator[Entry]: ...


class ArrivalOrder(Order):
    """First in, first out."""

    def __init__(self) -> None:
        self._lane = Lane()
        self.put = self._lane.put  # type: ignore[method-assign]  # one call less on the hot path

    def put(self, entry: Entry) -> None:
        """Add an entry that is ready."""
        self._lane.put(entry)

    def take(self, batch: object) -> Entry | None:
        """Remove the next entry."""
        return self._lane.take()

    def take_first(self) -> Entry | None:
        """Remove the oldest entry."""
        return self._lane.take()

    def oldest(self) -> Entry | None:
        """Return the entry that has waited longest, untouched."""
        return self._lane.head()

    def compact(self) -> None:
        """Forget entries that left by another way."""
        self._lane.compact()

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._lane)


class PriorityOrder(Order):
    """Higher priority first; by arrival among equals. Priorities above the highest count as it."""

    def __init__(self, highest: int) -> None:
        self._lanes = [Lane() for _ in range(highest + 1)]

    def put(self, entry: Entry) -> None:
        """Add an entry that is ready."""
        self._lanes[min(entry.priority, len(self._lanes) - 1)].put(entry)

    def take(self, batch: object) -> Entry | None:
        """Remove the next entry."""
        for lane in reversed(self._lanes):
            if entry := lane.take():
                return entry
        return None

    def take_first(self) -> Entry | None:
        """Remove the head, of the highest priority: RabbitMQ's drop-head takes it, too."""
        return self.take(None)

    def oldest(self) -> Entry | None:
        """Return the entry that has waited longest, untouched."""
        return _first(self._lanes)

    def compact(self) -> None:
        """Forget entries that left by another way."""
        for lane in self._lanes:
            lane.compact()

    def __iter__(self) -> Iterator[Entry]:
        return chain.from_iterable(reversed(self._lanes))


class Group:
    """One FIFO group: its waiting entries, and how many of them somebody holds."""

    __slots__ = ("batch", "held", "lane", "listed", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.lane = Lane()
        self.held = 0
        self.batch: object = None
        """The receive that holds the group: it may take further entries of it."""
        self.listed = False
        """Whether the group stands in the list of open groups."""


class GroupOrder(Order):
    """FIFO groups: in order inside a group, which is closed while somebody holds an entry of it."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}
        self._open: list[tuple[int, str]] = []
        self._current: Group | None = None

    def put(self, entry: Entry) -> None:
        """Add an entry that is ready."""
        group = self._group(entry)
        group.lane.put(entry)
        self._list(group)

    def hold(self, entry: Entry) -> None:
        """Close the group of an entry that is leased already."""
        self._group(entry).held += 1

    def _group(self, entry: Entry) -> Group:
        name = entry.group or ""
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = Group(name)
        return group

    def _list(self, group: Group) -> None:
        if group.listed or group.held:
            return
        head = group.lane.head()
        if head is not None:
            group.listed = True
            heappush(self._open, (head.id, group.name))
        else:
            del self._groups[group.name]

    def take(self, batch: object) -> Entry | None:
        """Remove the next entry: of the group that this batch took last, else of the oldest."""
        current = self._current
        if current is not None and current.batch is batch and (entry := current.lane.take()):
            current.held += 1
            return entry
        while self._open:
            _, name = heappop(self._open)
            group = self._groups[name]
            group.listed = False
            entry = group.lane.take()
            if entry is None:
                del self._groups[name]
                continue
            group.held = 1
            group.batch = batch
            self._current = group
            return entry
        return None

    def take_first(self) -> Entry | None:
        """Remove the oldest waiting entry of all groups."""
        oldest = self.oldest()
        return None if oldest is None else self._group(oldest).lane.take()

    def oldest(self) -> Entry | None:
        """Return the entry that has waited longest, untouched."""
        return _first(group.lane for group in self._groups.values())

    def freed(self, entry: Entry) -> None:
        """Open the group again when nothing of it is held."""
        group = self._groups[entry.group or ""]
        group.held -= 1
        if not group.held:
            group.batch = None
            self._list(group)

    def compact(self) -> None:
        """Forget entries that left by another way."""
        for group in list(self._groups.values()):
            group.lane.compact()
            if not (group.held or group.listed or group.lane.head()):
                del self._groups[group.name]

    def __iter__(self) -> Iterator[Entry]:
        lanes = [((each.id, each) for each in group.lane) for group in self._groups.values()]
        return (entry for _, entry in merge(*lanes, key=lambda pair: pair[0]))


class FairOrder(Order):
    """By arrival, but a group that holds many messages in flight stands back for the others.

    SQS's fair queues: a tenant (group) with a large backlog does not make the others wait. Next is
    the oldest entry of the group of which fewest are held; entries without group are never held
    back.
    """

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}
        self._ranks: list[tuple[int, int, str]] = []
        """A heap of (held, id of the head, group); those that are not true any more are skipped."""

    def put(self, entry: Entry) -> None:
        """Add an entry that is ready."""
        name = entry.group or ""
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = Group(name)
        head = group.lane.head()
        group.lane.put(entry)
        if head is None or entry.id < head.id:
            self._rank(group)

    def _rank(self, group: Group) -> None:
        head = group.lane.head()
        if head is not None:
            heappush(self._ranks, (group.held, head.id, group.name))
            if len(self._ranks) > 4 * len(self._groups) + 1000:
                self.compact()
        elif not group.held:
            del self._groups[group.name]

    def take(self, batch: object) -> Entry | None:
        """Remove the next entry."""
        while self._ranks:
            held, first, name = heappop(self._ranks)
            group = self._groups.get(name)
            head = None if group is None else group.lane.head()
            if group is None or head is None or (held, first) != (group.held, head.id):
                if group is not None and head is not None and held == group.held:
                    self._rank(group)  # its head has left by another way
                continue
            entry = group.lane.take()
            if name:
                group.held += 1
            self._rank(group)
            return entry
        return None

    def take_first(self) -> Entry | None:
        """Remove the oldest entry of all groups."""
        oldest = self.oldest()
        if oldest is None:
            return None
        group = self._groups[oldest.group or ""]
        entry = group.lane.take()
        self._rank(group)
        return entry

    def oldest(self) -> Entry | None:
        """Return the entry that has waited longest, untouched."""
        return _first(group.lane for group in self._groups.values())

    def freed(self, entry: Entry) -> None:
        """One less of its group is held."""
        if entry.group and (group := self._groups.get(entry.group)) is not None:
            group.held -= 1
            self._rank(group)

    def hold(self, entry: Entry) -> None:
        """Note that an entry is leased that was never put here."""
        if entry.group:
            self._groups.setdefault(entry.group, Group(entry.group)).held += 1

    def compact(self) -> None:
        """Forget entries that left by another way, and ranks that are not true any more."""
        self._ranks = []
        for group in list(self._groups.values()):
            group.lane.compact()
            head = group.lane.head()
            if head is not None:
                self._ranks.append((group.held, head.id, group.name))
            elif not group.held:
                del self._groups[group.name]
        heapify(self._ranks)

    def __iter__(self) -> Iterator[Entry]:
        lanes = [((each.id, each) for each in group.lane) for group in self._groups.values()]
        return (entry for _, entry in merge(*lanes, key=lambda pair: pair[0]))


def _first(lanes: Iterable[Lane]) -> Entry | None:
    heads = (lane.head() for lane in lanes)
    return min((head for head in heads if head), key=lambda each: each.id, default=None)
