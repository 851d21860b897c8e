"""Changes on their way to the store, gathered until one transaction takes them all.

Messages are in it as they are stored: encoded, by `hubbub.message.encode_message`, and records of
streams in blocks.
"""

from collections.abc import Sequence

from .blocks import Block
from .entry import Entry

ENTRY_COST = 64
"""Bytes that a pending row counts for beside its body."""
REMOVE_COST = 16


class Batch:
    """Changes that go into one transaction. What is undone before it is written leaves no trace.

    Written in this order: dropped queues and streams, queues whose deduplication ids are forgotten,
    removed entries, new entries, touched entries, and the rest, among which no order matters; the
    methods keep that order true.

    `bytes` is about what the batch weighs; `last_id` and `last_token` are the highest message id
    and fencing token it has seen; `marks`, when set, are written as the marks of both.
    """

    __slots__ = (
        "appends",
        "bodies",
        "bytes",
        "documents",
        "dropped_queues",
        "dropped_streams",
        "forgotten",
        "inserts",
        "last_id",
        "last_token",
        "marks",
        "remembered",
        "removes",
        "shared",
        "touches",
        "trims",
    )

    def __init__(self) -> None:
        self.bytes = 0
        self.last_id = 0
        self.last_token = 0
        self.marks: tuple[int, int] | None = None
        self.inserts: dict[Entry, int] = {}
        self.bodies: dict[int, bytes] = {}
        self.shared: dict[int, int] = {}  # how many entries a message has, where more than one
        self.removes: dict[Entry, int] = {}
        self.touches: dict[Entry, int] = {}
        self.remembered: list[tuple[int, str, int, int]] = []
        self.forgotten: set[int] = set()
        self.documents: dict[tuple[str, str, str], bytes | None] = {}
        self.appends: dict[tuple[int, int], list[Block]] = {}
        self.trims: dict[tuple[int, int], int] = {}
        self.dropped_queues: set[int] = set()
        self.dropped_streams: set[int] = set()

    @property
    def awaited(self) -> bool:
        """Whether it holds anything that somebody may wait for: more than touched entries."""
        return bool(
            self.inserts
            or self.removes
            or self.remembered
            or self.forgotten
            or self.documents
            or self.appends
            or self.trims
            or self.dropped_queues
            or self.dropped_streams
        )

    @property
    def appended(self) -> int:
        """Bytes of all records of streams."""
        return sum([len(each.records) for blocks in self.appends.values() for each in blocks])

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.awaited or self.touches or self.marks)

    def insert(self, queue: int, entry: Entry, body: bytes) -> None:
        """A message enters a queue. The same message may enter several."""
        number = entry.id
        bodies = self.bodies
        if number in bodies:
            self.shared[number] = self.shared.get(number, 1) + 1
            self.bytes += ENTRY_COST
        else:
            bodies[number] = body
            self.bytes += entry.size + ENTRY_COST
            if number > self.last_id:  # noqa: PLR1730 — max() takes three times as long
                self.last_id = number
        self.inserts[entry] = queue

    def remove(self, queue: int, entry: Entry) -> None:
        """An entry left its queue."""
        if self.inserts.pop(entry, None) is None:
            if self.touches:
                self.touches.pop(entry, None)
            self.removes[entry] = queue
            self.bytes += REMOVE_COST
        else:
            self._forget_body(entry)

    def _forget_body(self, entry: Entry) -> None:
        """Give up the body of an entry that won't be written, unless another entry needs it."""
        self.bytes -= ENTRY_COST
        number = entry.id
        if self.shared and number in self.shared:
            left = self.shared[number] - 1
            if left == 1:
                del self.shared[number]
            else:
                self.shared[number] = left
        else:
            del self.bodies[number]
            self.bytes -= entry.size

    def touch(self, queue: int, entry: Entry) -> None:
        """The lease fields of an entry changed."""
        if entry.token > self.last_token:  # noqa: PLR1730 — as above
            self.last_token = entry.token
        if entry not in self.inserts:  # an insert is written with the fields as they are then
            self.touches[entry] = queue

    def remember(self, queue: int, key: str, message: int, until: int) -> None:
        """A deduplication id is to be remembered."""
        self.remembered.append((queue, key, message, until))
        self.bytes += ENTRY_COST + len(key)
        self.note(message)

    def forget(self, queue: int) -> None:
        """The deduplication ids of a queue are forgotten."""
        self.remembered = [each for each in self.remembered if each[0] != queue]
        self.forgotten.add(queue)

    def drop_queue(self, queue: int) -> None:
        """A queue is gone with all it held."""
        for entry in [each for each, number in self.inserts.items() if number == queue]:
            del self.inserts[entry]
            self._forget_body(entry)
        for changes in (self.removes, self.touches):
            for entry in [each for each, number in changes.items() if number == queue]:
                del changes[entry]
        self.remembered = [each for each in self.remembered if each[0] != queue]
        self.dropped_queues.add(queue)

    def put(self, identity: tuple[str, str, str], value: bytes | None) -> None:
        """A document is to be kept; None: forgotten."""
        self.documents[identity] = value
        self.bytes += ENTRY_COST + (len(value) if value else 0)

    def append(self, stream: int, shard: int, blocks: Sequence[Block]) -> None:
        """Records enter their shard, after all the shard has."""
        self.appends.setdefault((stream, shard), []).extend(blocks)
        self.bytes += sum([ENTRY_COST + len(block.records) for block in blocks])

    def trim(self, stream: int, shard: int, before: int) -> None:
        """Records of a shard with a sequence below `before` are gone."""
        self.trims[stream, shard] = max(before, self.trims.get((stream, shard), before))

    def drop_stream(self, stream: int) -> None:
        """A stream is gone with all its records."""
        for waiting in (self.appends, self.trims):
            for key in [key for key in waiting if key[0] == stream]:
                del waiting[key]
        self.dropped_streams.add(stream)

    def note(self, message: int) -> None:
        """A message id is in use."""
        self.last_id = max(self.last_id, message)

    def absorb(self, newer: "Batch") -> None:
        """Take over all that a batch handed over after this one holds."""
        for queue in newer.dropped_queues:
            self.drop_queue(queue)
        for stream in newer.dropped_streams:
            self.drop_stream(stream)
        for entry, queue in newer.removes.items():
            self.remove(queue, entry)
        for entry, queue in newer.inserts.items():
            self.insert(queue, entry, newer.bodies[entry.id])
        for entry, queue in newer.touches.items():
            self.touch(queue, entry)
        for queue in newer.forgotten:
            self.forget(queue)
        for each in newer.remembered:
            self.remember(*each)
        for identity, value in newer.documents.items():
            self.put(identity, value)
        for (stream, shard), blocks in newer.appends.items():
            self.append(stream, shard, blocks)
        for (stream, shard), before in newer.trims.items():
            self.trim(stream, shard, before)
        self.note(newer.last_id)
        self.last_token = max(self.last_token, newer.last_token)
        self.marks = newer.marks or self.marks
