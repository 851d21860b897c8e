"""What an engine is: queues with leases, streams, documents, and commits to wait for.

The bus and its sessions know an engine only through this module. Calls that another machine may
have to answer are asynchronous; `enqueue` and `append` start at once and return a `Commit`, so a
turn of the loop hands over many messages and waits once. An engine decides every lease: who holds
a message, until when, and which receipt still counts (the fencing token).

All times are integer milliseconds: points since the Unix epoch, durations plain.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Literal, Protocol

import msgspec

from hubbub.message import Message
from hubbub.streams import (
    NewRecord,
    Position,
    ReadResult,
    Record,
    Reshard,
    ShardInfo,
    StreamSettings,
)

DEFAULT_REALM = "default"
"""The realm of AMQP's virtual host `/` and of AWS account 000000000000."""

LASTING_OWNER = "session/"
"""Leases of an owner whose name starts so outlive a restart: a session that can be resumed."""


class Commit(Protocol):
    """The promise that what was handed over is kept; shared by all who are in the same batch."""

    @property
    def done(self) -> bool:
        """Whether the batch is on disk already (True at once where nothing had to be kept)."""
        ...

    async def wait(self) -> None:
        """Return when it is kept.

        Raises:
            UnavailableError: the store could not write it.
        """
        ...


class _Done:
    """The commit of what is kept already, or needs no keeping."""

    done = True

    async def wait(self) -> None:
        """Return at once, without a checkpoint."""


DONE: Commit = _Done()
"""Nothing is owed."""


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything about a queue that its owner may choose. Any of it may change while in use.

    * `durable`: the queue and its durable messages survive a restart.
    * `owner`: a queue that only this owner's sessions may use and that goes with it; None: shared.
    * `auto_delete`: goes when its last consumer has left.
    * `expires`: idle time (no consumer, no receive, no redeclaration) after which it goes.
    * `lease`: how long a timed lease lasts where the receiver names no time.
    * `delay`: hides every message that names no delay of its own.
    * `retention`: age at which a message is dropped for good (SQS's retention period).
    * `message_ttl`: age at which a message expires, and is dead-lettered if there is where to.
    * `max_length`, `max_bytes`: waiting messages and their bytes; `overflow` says what gives.
    * `max_message_bytes`: a longer one is refused.
    * `max_in_flight`: leased messages at a time.
    * `max_receives`: the receive that would pass it dead-letters the message instead; or, if
      `gives_up_early`, the end of the lease that reached it does, with nobody asking.
    * `dead_letter`: address where rejected, expired, overflowing and undeliverable messages go; see
      `hubbub.dead_letters.check_dead_letter`.
    * `dead_letter_rests`: `max_receives` rests while the queue at `dead_letter` is missing (SQS);
      else the message would be lost (AMQP).
    * `priorities`: the highest priority told apart; 0 means arrival order alone.
    * `fifo`: order and one lease at a time per group.
    * `fair`: in a queue that is not FIFO and has no priorities, a group with many messages in
      flight stands back for the others (SQS's fair queues).
    * `dedup_window`: how long a deduplication id is remembered; a message that repeats one goes
      no further.
    * `content_dedup`: a message without deduplication id takes the SHA-256 of its body.
    * `dedup_scope`: whether the same id in two groups is the same message ("queue") or not.
    * `single_active`: one consumer at a time; the next takes over when it leaves.
    * `labels`: what a protocol keeps with the queue and the engine need not understand.
    """

    durable: bool = True
    owner: str | None = None
    auto_delete: bool = False
    expires: int | None = None
    lease: int = 30_000
    delay: int = 0
    retention: int | None = None
    message_ttl: int | None = None
    max_length: int | None = None
    max_bytes: int | None = None
    overflow: Literal["drop-head", "reject", "reject-dead-letter"] = "drop-head"
    max_message_bytes: int | None = None
    max_in_flight: int | None = None
    max_receives: int | None = None
    gives_up_early: bool = False
    dead_letter: str | None = None
    dead_letter_rests: bool = False
    priorities: int = 0
    fifo: bool = False
    fair: bool = False
    content_dedup: bool = False
    dedup_scope: Literal["queue", "group"] = "queue"
    dedup_window: int = 300_000
    single_active: bool = False
    labels: dict[str, str] = {}


class QueueCounts(msgspec.Struct, frozen=True):
    """Exact counts at one moment. `oldest` is when the oldest waiting message was published."""

    visible: int
    in_flight: int
    delayed: int
    bytes: int
    consumers: int
    oldest: int | None


LeaseState = Literal["held", "stale", "expired", "visible", "gone"]
"""What a receipt still means.

"held": the lease holds. "stale": somebody else has received the message since. "expired": the
lease's time is over and the message waits again. "visible": it was given back. "gone": the message
is settled.
"""


class Receipt(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What settles a lease: the queue's number, the message's id there, and the fencing token.

    Tokens rise with every lease of an engine, over restarts too. A receipt counts while nobody has
    received the message since.
    """

    queue: int
    message: int
    token: int


class Delivery(msgspec.Struct, gc=False):
    """One message as one receiver got it, under a lease.

    * `queue`: name of the queue; `receipt`: what settles it.
    * `receives`: how often it has been received, this time included.
    * `redelivered`: somebody received it before.
    * `first_received`: when it was received for the first time.
    * `deadline`: when the lease ends by itself; None: held until its owner settles or leaves.
    * `tag`: the owner's own number for it (an MQTT packet identifier); kept with the lease.
    """

    queue: str
    message: Message
    receipt: Receipt
    receives: int
    redelivered: bool
    first_received: int
    deadline: int | None
    tag: int = 0


class Outcome(Enum):
    """What becomes of a leased message."""

    ACCEPT = "accept"
    """It is done with: gone."""
    RELEASE = "release"
    """Back to its place, at once; counts as received."""
    REJECT = "reject"
    """To the dead-letter address, else gone."""


class Settlement(msgspec.Struct, frozen=True):
    """The answer to a batch of settlements.

    `failed` has the indexes of receipts that no longer count (settled, expired and received by
    somebody else, or never given); `commit` is kept when the others are.
    """

    failed: tuple[int, ...]
    commit: Commit


class Enqueued(msgspec.Struct, frozen=True):
    """What became of a batch of messages sent to one queue.

    `refused` maps an index to the reason the queue refused it; `duplicates` maps an index to the
    id of the message it repeats. All others are in the queue, kept when `commit` is.
    """

    commit: Commit
    refused: dict[int, str]
    duplicates: dict[int, int]


class Window:
    """A bound on deliveries that are not settled yet, shared by the consumptions given it.

    AMQP's prefetch (per consumer, per channel) and MQTT's receive maximum are windows. `limit`
    None means no bound. Change it with `resize`.
    """

    __slots__ = ("limit", "used", "waiting")

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.used = 0
        self.waiting: list[Callable[[], None]] = []
        """Called, and forgotten, when room appears: set by queues that had to stop."""

    @property
    def room(self) -> int:
        """Deliveries that may be made now."""
        return 1 << 30 if self.limit is None else self.limit - self.used

    def resize(self, limit: int | None) -> None:
        """Change the bound; a wider one takes effect at once."""
        self.limit = limit
        self.wake()

    def give_back(self, count: int = 1) -> None:
        """Note that `count` deliveries are settled."""
        self.used -= count
        if self.waiting:
            self.wake()

    def wake(self) -> None:
        """Let those who wait for room try again."""
        waiting, self.waiting = self.waiting, []
        for resume in waiting:
            resume()


class ConsumerTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How a push consumer takes messages.

    * `owner`: whose leases they are. Leases of an owner outlive the consumption until released,
      and a restart too if the name starts with `LASTING_OWNER`.
    * `lease`: how long each lasts; None: held.
    * `windows`: every one of them must have room.
    * `settled`: deliveries count as accepted when made (AMQP's no-ack, STOMP's auto).
    * `exclusive`: no other consumer beside it. `priority`: higher is served first.
    * `accepts`: takes only the messages for which it is true (a JMS selector), in their order; the
      others are for others. It is asked once for each, and again for one that has come back.
    """

    owner: str
    lease: int | None = None
    windows: tuple[Window, ...] = ()
    settled: bool = False
    exclusive: bool = False
    priority: int = 0
    accepts: Callable[[Message], bool] | None = None


class Consumption(ABC):
    """A push consumer on a queue, from `Queue.consume` until `cancel`."""

    @abstractmethod
    def pause(self) -> None:
        """Take nothing more until `resume` (the client's buffer is full)."""

    @abstractmethod
    def resume(self) -> None:
        """Go on after `pause`."""

    @abstractmethod
    def cancel(self) -> None:
        """Take nothing more. What it holds stays leased to its owner."""


class Queue(ABC):
    """One queue. Obtained from the engine; a deleted queue raises `NotFoundError`."""

    number: int
    realm: str
    name: str
    settings: QueueSettings
    created: int
    modified: int

    @abstractmethod
    def enqueue(self, messages: Sequence[Message]) -> Enqueued:
        """Put messages in, in order. Ids and publishing times are set already.

        Raises:
            UnavailableError: the store takes nothing durable now.
        """

    @abstractmethod
    async def receive(
        self,
        limit: int,
        *,
        owner: str,
        lease: int | None = None,
        wait: int = 0,
        held: bool = False,
    ) -> list[Delivery]:
        """Lease up to `limit` messages, waiting up to `wait` ms for the first.

        `lease` in ms; None takes the queue's. With `held` it has no end: until it is settled or
        its owner leaves. A cancelled call leases nothing.

        Raises:
            RefusedError: too many messages are in flight, and it need not wait until fewer are.
        """

    @abstractmethod
    def consume(
        self,
        deliver: Callable[[list[Delivery]], None],
        terms: ConsumerTerms,
        cancelled: Callable[[str], None],
    ) -> Consumption:
        """Push messages to `deliver`, a function that must not block, while windows have room.

        `cancelled` is called with a reason when the queue goes away.

        Raises:
            RefusedError: the queue is used exclusively; it is a FIFO queue, which must not be
                chosen from.
        """

    @abstractmethod
    async def settle(
        self, receipts: Sequence[Receipt], outcome: Outcome, *, reason: str = "rejected"
    ) -> Settlement:
        """End leases. `reason` is recorded when `outcome` is REJECT."""

    @abstractmethod
    async def extend(
        self, receipts: Sequence[Receipt], lease: int, *, let_go: bool = False
    ) -> Settlement:
        """Move the deadline of leases to `lease` ms from now; 0 gives a message back at once.

        With `let_go` nobody holds the message until then: it takes no room in a window, and stays
        hidden when its owner leaves.
        """

    @abstractmethod
    def tag(self, receipt: Receipt, tag: int) -> Commit:
        """Keep the owner's own number with a lease.

        Whoever must not lose it waits for the commit; all others need not.
        """

    @abstractmethod
    async def leases(self, owner: str) -> list[Delivery]:
        """What an owner holds, oldest first: a session resumed after a reconnect or restart."""

    @abstractmethod
    async def release(self, owner: str) -> None:
        """Give back all that an owner holds."""

    @abstractmethod
    def lease_of(self, receipt: Receipt) -> LeaseState:
        """What a receipt still means."""

    @abstractmethod
    def successor(self, receipt: Receipt) -> Receipt | None:
        """The receipt of the latest lease of the message that a stale receipt is for.

        For protocols in which any receipt of a message will do. None if the message is settled, or
        a connection holds it: no one else's receipt ends that.
        """

    @abstractmethod
    async def configure(self, settings: QueueSettings) -> Commit:
        """Change the settings while running."""

    @abstractmethod
    def touch(self) -> None:
        """Note that somebody uses it: what it `expires` after begins anew."""

    @abstractmethod
    async def purge(self, *, leased: bool = False) -> tuple[int, Commit]:
        """Drop what waits, delayed messages included, and what is `leased`. Returns how many.

        Deduplication ids are forgotten.
        """

    @abstractmethod
    def counts(self) -> QueueCounts:
        """Exact counts."""

    @abstractmethod
    def peek(self, limit: int) -> Iterator[Message]:
        """The messages that would be received next, untouched (a queue browser)."""


class Appended(msgspec.Struct, frozen=True):
    """What `Stream.append` did: the records with their places, kept when `commit` is."""

    commit: Commit
    records: list[Record]


class Stream(ABC):
    """One stream: shards of an ordered, replayable log. See `hubbub.streams` for the model.

    Every call on a deleted stream raises `NotFoundError`, every unknown shard `NoSuchShardError`.
    """

    number: int
    realm: str
    name: str
    created: int

    @property
    @abstractmethod
    def settings(self) -> StreamSettings:
        """Its settings now."""

    @abstractmethod
    def append(self, records: Sequence[NewRecord]) -> Appended:
        """Append records, in order.

        Raises:
            InvalidHashKeyError: nothing was appended.
            UnavailableError: the store takes nothing durable now.
        """

    @abstractmethod
    def __len__(self) -> int:
        """The records that are in it now."""

    @abstractmethod
    def shards(self) -> list[ShardInfo]:
        """All shards, open and closed, by id."""

    @abstractmethod
    def shard(self, shard: int) -> ShardInfo:
        """One shard, open or closed."""

    @property
    @abstractmethod
    def newest(self) -> int:
        """The sequence number of the record that came last; 0 if there is none any more."""

    @abstractmethod
    def oldest(self, shard: int) -> Position:
        """The position of the oldest record, wherever retention moves it."""

    @abstractmethod
    def latest(self, shard: int) -> Position:
        """The position after everything that is in the shard now."""

    @abstractmethod
    def at_sequence(self, shard: int, sequence: int) -> Position:
        """The position at a sequence number."""

    @abstractmethod
    def after_sequence(self, shard: int, sequence: int) -> Position:
        """The position after a sequence number."""

    @abstractmethod
    async def at_timestamp(self, shard: int, timestamp: int) -> Position:
        """The position of the first record that arrived then or later."""

    @abstractmethod
    async def read(
        self, position: Position, *, limit: int, max_bytes: int, skip_trimmed: bool = False
    ) -> ReadResult:
        """Read from a position on; every record has its message.

        Raises:
            TrimmedPositionError: retention has dropped what is there, unless `skip_trimmed`.
        """

    @abstractmethod
    def watch(self, shard: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever the shard gets records, is closed or is removed.

        Returns what to call to end it. The callback must only take note.
        """

    @abstractmethod
    async def split(self, shard: int, new_starting_hash_key: int) -> tuple[Reshard, Commit]:
        """Close a shard and open two in its place."""

    @abstractmethod
    async def merge(self, shard: int, adjacent: int) -> tuple[Reshard, Commit]:
        """Close two adjacent shards and open one in their place."""

    @abstractmethod
    async def configure(self, settings: StreamSettings) -> Commit:
        """Change the settings while running."""


class DeadLetter(Protocol):
    """Takes a message that a queue gives up; set by the bus on its engine.

    Returns the commit that must be kept before the message may leave the queue.
    """

    def __call__(self, queue: Queue, message: Message, receives: int, reason: str) -> Commit:
        """Publish the message to the queue's dead-letter address, or count it as dropped."""
        ...


class Document(msgspec.Struct, frozen=True, array_like=True):
    """A small durable record: a subscription, a retained message, a plugin's own state."""

    namespace: str
    realm: str
    key: str
    value: bytes


class EngineStats(msgspec.Struct, frozen=True):
    """What an engine holds at one moment, for metrics.

    * `messages`: in queues, whatever their state.
    * `memory_bytes`: of messages and records in memory; `backlog_bytes`: what waits to be written.
    """

    messages: int
    memory_bytes: int
    backlog_bytes: int


class Engine(ABC):
    """Keeps everything that outlives a connection."""

    dead_letter: DeadLetter
    """Set by the bus."""
    lacks_dead_letter_queue: Callable[[Queue], bool]
    """Set by the bus; tells whether a queue's dead-letter address is of a queue that is missing."""
    report: Callable[[Exception], None]
    """Set by the bus; told of exceptions in functions that plugins gave."""
    retired: Callable[[Queue], None]
    """Set by the bus; told of queues that are no more, whoever deleted them."""

    @abstractmethod
    def running(self) -> AbstractAsyncContextManager[None]:
        """Open the store, serve inside the context, then flush and close.

        Raises:
            UnavailableError: the store is in use, damaged, or newer than this hubbub.
        """

    def hold(self) -> None:  # noqa: B027 - one whose time another machine tells can't
        """Let no time pass once it runs: nothing expires or comes due until `begin`.

        Whatever a queue gives up goes to its dead-letter address at once, and those who take it
        there are not all there while a hub starts.
        """

    def begin(self) -> None:  # noqa: B027 - goes with `hold`
        """Let time pass after `hold`."""

    @abstractmethod
    def next_id(self) -> int:
        """A message id: unique in this store for ever, rising."""

    @abstractmethod
    def next_ids(self, count: int) -> Sequence[int]:
        """Message ids, as `next_id` would give them one by one."""

    @abstractmethod
    def commit(self) -> Commit:
        """The commit of everything handed over so far."""

    @abstractmethod
    async def ready(self) -> None:
        """Return when the engine can take more: back-pressure for publishers.

        Raises:
            UnavailableError: it could not within its deadline.
        """

    @abstractmethod
    def stats(self) -> EngineStats:
        """What it holds now."""

    # queues

    @abstractmethod
    async def create_queue(self, realm: str, name: str, settings: QueueSettings) -> Queue:
        """Create a queue.

        Raises:
            ExistsError: there is one of this name; the caller compares settings as it likes.
        """

    @abstractmethod
    def ensure_queue(self, realm: str, name: str, settings: QueueSettings) -> Queue:
        """Return the queue of this name, created with these settings if there is none.

        At once, for names that nobody else makes; kept when `commit()` is.
        """

    @abstractmethod
    def find_queue(self, realm: str, name: str) -> Queue | None:
        """The queue of this name."""

    @abstractmethod
    def queue_of(self, receipt: Receipt) -> Queue | None:
        """The queue that gave a receipt."""

    @abstractmethod
    def queues(self, realm: str, prefix: str = "") -> Iterable[Queue]:
        """All queues of a realm whose names start with `prefix`, in order of name."""

    @abstractmethod
    def all_queues(self) -> Iterable[Queue]:
        """All queues of all realms."""

    @abstractmethod
    async def delete_queue(self, queue: Queue) -> Commit:
        """Delete a queue with all it holds; its consumers are cancelled."""

    # streams

    @abstractmethod
    async def create_stream(
        self, realm: str, name: str, settings: StreamSettings, shards: int
    ) -> Stream:
        """Create a stream with `shards` open shards.

        Raises:
            ExistsError: there is one of this name.
            ShardLimitError: more shards than the settings allow.
        """

    @abstractmethod
    def find_stream(self, realm: str, name: str) -> Stream | None:
        """The stream of this name."""

    @abstractmethod
    def streams(self, realm: str, prefix: str = "") -> Iterable[Stream]:
        """All streams of a realm whose names start with `prefix`, in order of name."""

    @abstractmethod
    async def delete_stream(self, stream: Stream) -> Commit:
        """Delete a stream with all it holds; its watchers are woken."""

    # documents

    @abstractmethod
    def put(self, document: Document) -> Commit:
        """Keep a document, replacing the one of the same namespace, realm and key."""

    @abstractmethod
    def drop(self, namespace: str, realm: str, key: str) -> Commit:
        """Forget a document; no error where there is none."""

    @abstractmethod
    def documents(self, namespace: str) -> AsyncIterator[Document]:
        """All documents of a namespace, by realm and key: for loading at start."""
