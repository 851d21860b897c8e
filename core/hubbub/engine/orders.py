"""In which order a queue gives its waiting entries: by arrival, priority, FIFO group, or fairly.

Each order costs O(1), or O(log n) after redeliveries, however many entries wait. Entries that
left the queue by another way (purged, expired, settled late) stay inside until they come to the
front and are passed over then, so leaving costs nothing.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush, merge
from itertools import chain
from math import inf

from .entry import Entry, State


class Lane:
    """Entries by id: arrivals at the end, returned ones at their old place.

    An entry that left by another way and has come back may stand here twice until it is passed
    over: whether it may be taken is in its state alone.
    """

    __slots__ = ("_number", "arrived", "returned")

    def __init__(self) -> None:
        self.arrived: deque[Entry] = deque()
        self.returned: list[tuple[int, int, Entry]] = []
        """A heap of (id, a number that makes each unique, entry)."""
        self._number = 0

    def put(self, entry: Entry) -> None:
        """Add an entry at the place of its id."""
        arrived = self.arrived
        if not arrived or entry.id > arrived[-1].id:
            arrived.append(entry)
        else:
            self._number += 1
            heappush(self.returned, (entry.id, self._number, entry))

    def head(self) -> Entry | None:
        """The first entry that is still waiting; passes over those that left."""
        arrived, returned = self.arrived, self.returned
        while returned and returned[0][2].state is not State.READY:
            heappop(returned)
        while arrived and arrived[0].state is not State.READY:
            arrived.popleft()
        if returned and (not arrived or returned[0][0] < arrived[0].id):
            return returned[0][2]
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
        if self.returned and self.returned[0][2] is head:
            heappop(self.returned)
        else:
            arrived.popleft()
        return head

    def lease(self, limit: int) -> list[Entry]:
        """Remove the first `limit` entries; they are leased, so that none is taken twice."""
        leased: list[Entry] = []
        arrived = self.arrived
        while len(leased) < limit:
            if self.returned:
                entry = self.take()
                if entry is None:
                    break
            elif arrived:
                entry = arrived.popleft()
                if entry.state is not State.READY:
                    continue
            else:
                break
            entry.state = State.LEASED
            leased.append(entry)
        return leased

    def compact(self) -> None:
        """Forget the entries that left, and where an entry stands a second time."""
        self.arrived = deque(each for each in self.arrived if each.state is State.READY)
        known = {each.id for each in self.arrived}
        kept = {}
        for place in self.returned:
            if place[2].state is State.READY and place[0] not in known:
                kept[place[0]] = place
        self.returned = list(kept.values())
        heapify(self.returned)

    def __iter__(self) -> Iterator[Entry]:
        waiting = merge(
            ((each.id, each) for each in self.arrived),
            ((id_, entry) for id_, _, entry in sorted(self.returned)),
            key=lambda pair: pair[0],
        )
        last = None
        for id_, entry in waiting:
            if entry.state is State.READY and id_ != last:
                last = id_
                yield entry


class Order(ABC):
    """The order of the waiting entries of one queue."""

    @abstractmethod
    def put(self, entry: Entry) -> None:
        """Add an entry that is ready."""

    @abstractmethod
    def take(self, batch: object) -> Entry | None:
        """Remove the next entry for the receiver of `batch`; None if nothing may be given."""

    def lease(self, limit: int, batch: object) -> list[Entry]:
        """Remove the next entries, up to `limit`, for the receiver of `batch`; they are leased."""
        leased: list[Entry] = []
        while len(leased) < limit and (entry := self.take(batch)) is not None:
            entry.state = State.LEASED
            leased.append(entry)
        return leased

    @abstractmethod
    def take_first(self) -> Entry | None:
        """Remove the entry that a full queue gives up first, whatever its group's state."""

    @abstractmethod
    def oldest(self) -> Entry | None:
        """Return the entry that has waited longest, untouched."""

    def freed(self, entries: Sequence[Entry]) -> None:  # noqa: B027 - only groups care
        """Note that entries that were taken are not leased any more."""

    def hold(self, entry: Entry) -> None:  # noqa: B027 - only groups care
        """Note that an entry is leased that was never put here, or was taken by another way."""

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

    def lease(self, limit: int, batch: object) -> list[Entry]:
        """Remove the next entries."""
        return self._lane.lease(limit)

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


class FifoGroup:
    """One FIFO group: its waiting entries, and those of them that somebody holds."""

    __slots__ = ("_held", "_lowest", "batch", "lane", "listed", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.lane = Lane()
        self.batch: object = None
        """The receive that took the latest entry: it may take those that follow."""
        self.listed = False
        """Whether the group stands in the line of open groups."""
        self._held: set[int] = set()
        self._lowest: list[int] = []
        """A heap of what was held; what is held no more is thrown out when it comes up."""

    @property
    def held(self) -> bool:
        """Whether somebody holds an entry of it."""
        return bool(self._held)

    def hold(self, entry: Entry) -> None:
        """Note that somebody holds an entry."""
        self._held.add(entry.id)
        heappush(self._lowest, entry.id)

    def free(self, entry: Entry) -> None:
        """Note that nobody holds an entry any more."""
        self._held.discard(entry.id)
        if not self._held:
            self._lowest.clear()
            self.batch = None

    @property
    def first_held(self) -> float:
        """The lowest id of those held; infinity if none is."""
        lowest = self._lowest
        while lowest and lowest[0] not in self._held:
            heappop(lowest)
        return lowest[0] if lowest else inf

    def head(self) -> Entry | None:
        """The next entry, if it may be given: not while one before it is held."""
        head = self.lane.head()
        return None if head is None or self.first_held < head.id else head


class GroupOrder(Order):
    """FIFO groups: in order inside a group; a group that opens stands at the end of their line.

    A receive takes as many entries of one group as it may, then goes on to the next. A group is
    closed behind the first entry that is held: what comes back is given again before what follows
    it, though a later entry may still be held by whoever received both (as in SQS).
    """

    def __init__(self) -> None:
        self._groups: dict[str, FifoGroup] = {}
        self._line: deque[FifoGroup] = deque()
        self._current: FifoGroup | None = None
        self._bound = inf
        """Where the batch that takes of the current group stops: at what others hold of it."""

    def put(self, entry: Entry) -> None:
        """Add an entry that is ready."""
        group = self._group(entry)
        group.lane.put(entry)
        self._open(group)

    def hold(self, entry: Entry) -> None:
        """Close the group of an entry that is leased already."""
        self._group(entry).hold(entry)

    def _group(self, entry: Entry) -> FifoGroup:
        name = entry.group or ""
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = FifoGroup(name)
        return group

    def _open(self, group: FifoGroup) -> None:
        """Put a group in the line if it has an entry to give; forget it if it has none at all."""
        if group.listed:
            return
        if group.head() is not None:
            group.listed = True
            self._line.append(group)
        elif not group.held and group.lane.head() is None:
            del self._groups[group.name]

    def take(self, batch: object) -> Entry | None:
        """Remove the next entry: of the group that this batch took last, else of the next one."""
        current = self._current
        if current is not None and current.batch is batch:
            head = current.lane.head()
            if head is not None and head.id < self._bound:
                current.lane.take()
                current.hold(head)
                return head
        while self._line:
            group = self._line.popleft()
            group.listed = False
            head = group.head()
            if head is None:
                self._open(group)
                continue
            self._current = group
            self._bound = group.first_held
            group.lane.take()
            group.hold(head)
            group.batch = batch
            return head
        return None

    def take_first(self) -> Entry | None:
        """Remove the oldest waiting entry of all groups."""
        oldest = self.oldest()
        return None if oldest is None else self._group(oldest).lane.take()

    def oldest(self) -> Entry | None:
        """Return the entry that has waited longest, untouched."""
        return _first(group.lane for group in self._groups.values())

    def freed(self, entries: Sequence[Entry]) -> None:
        """Open the groups again, unless an entry before their next one is still held."""
        for entry in entries:
            group = self._groups[entry.group or ""]
            group.free(entry)
            self._open(group)

    def compact(self) -> None:
        """Forget entries that left by another way."""
        for group in list(self._groups.values()):
            group.lane.compact()
            if not (group.held or group.listed or group.lane.head()):
                del self._groups[group.name]

    def __iter__(self) -> Iterator[Entry]:
        lanes = [((each.id, each) for each in group.lane) for group in self._groups.values()]
        return (entry for _, entry in merge(*lanes, key=lambda pair: pair[0]))


class Group:
    """One group of a fair queue: its waiting entries, and how many of them somebody holds."""

    __slots__ = ("held", "lane", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.lane = Lane()
        self.held = 0


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

    def freed(self, entries: Sequence[Entry]) -> None:
        """One less of its group is held for each."""
        for entry in entries:
            if entry.group and (group := self._groups.get(entry.group)) is not None:
                group.held -= 1
                self._rank(group)

    def hold(self, entry: Entry) -> None:
        """Note that an entry is leased that was never put here, or taken by another way."""
        if entry.group:
            group = self._groups.setdefault(entry.group, Group(entry.group))
            group.held += 1
            self._rank(group)

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
