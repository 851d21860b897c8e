"""The journal: what an engine keeps in memory goes through here to the disk.

Changes are handed over synchronously, on the Trio thread, and cost nobody a wait; whoever owes a
confirmation awaits their commit. `MemoryJournal` keeps nothing; `hubbub.engine.sqlite` everything.
"""
# ruff: noqa: D102 — `Journal` documents what its implementations do

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from hubbub.message import Message
from hubbub.streams import Extent, Record

from .contract import DONE, Commit, Document
from .entry import Entry


class Journal(ABC):
    """Keeps queue entries, stream records and documents over restarts.

    Loading calls belong between entering `running` and the first change. All calls are made on the
    Trio thread; those that hand over a change return at once and never wait.

    * `keeps`: whether anything is stored at all, so that bodies can be paged out and fetched.
    * `available`: False while writing fails; `insert` and `append` then raise `UnavailableError`,
      other changes are taken and written later.
    * `max_message_id`, `max_token`: no message id and no fencing token that the journal ever saw
      is higher; a restart goes on above them.
    """

    keeps: bool
    available: bool
    max_message_id: int
    max_token: int

    @abstractmethod
    def running(self) -> AbstractAsyncContextManager[None]:
        """Open the store; on leaving write everything, close it and let go of it.

        Raises:
            UnavailableError: it is in use, damaged, newer than this hubbub or can't be opened.
        """

    @abstractmethod
    def documents(self, namespace: str) -> Iterator[Document]:
        """All documents of a namespace, by realm and key."""

    @abstractmethod
    def entries(self) -> Iterator[tuple[int, Entry]]:
        """All entries with their queue's number, by message id.

        `message` is None beyond the memory limit; `state` is always READY: the queue decides it.
        """

    @abstractmethod
    def dedups(self) -> Iterator[tuple[int, str, int, int]]:
        """Deduplication memory: queue, key, message id, until (ms since the epoch).

        Ended ones may be among them; of two for one key the later counts.
        """

    @abstractmethod
    def extents(self, stream: int) -> Iterator[Extent]:
        """What all records of a stream take up, shard by shard, each in order of sequence."""

    @abstractmethod
    def insert(self, queue: int, entry: Entry) -> None:
        """A durable message enters a queue: once per queue and message at a time.

        Raises:
            RefusedError: it cannot be stored, whenever it is tried.
            UnavailableError: writing fails at present; nothing was taken.
        """

    @abstractmethod
    def remove(self, queue: int, entry: Entry) -> None:
        """An entry that was inserted left its queue."""

    @abstractmethod
    def touch(self, queue: int, entry: Entry) -> Commit:
        """The lease fields of an inserted entry changed.

        They are written some time later, or as soon as somebody waits for the commit it returns.
        """

    @abstractmethod
    def remember(self, queue: int, key: str, message: int, until: int) -> None:
        """Remember a deduplication id until a time in ms since the epoch."""

    @abstractmethod
    def forget(self, queue: int) -> None:
        """Forget the deduplication ids of a queue."""

    @abstractmethod
    def drop_queue(self, queue: int) -> None:
        """A queue is gone with its entries and its deduplication memory."""

    @abstractmethod
    def put(self, document: Document) -> None:
        """Keep a document, replacing the one of the same namespace, realm and key."""

    @abstractmethod
    def drop(self, namespace: str, realm: str, key: str) -> None:
        """Forget a document."""

    @abstractmethod
    def append(self, stream: int, records: Mapping[int, Sequence[Record]]) -> None:
        """Records enter their shards, in order and with higher sequences than all before.

        Raises:
            RefusedError: one cannot be stored, whenever it is tried; nothing was taken.
            UnavailableError: writing fails at present; nothing was taken.
        """

    @abstractmethod
    def trim(self, stream: int, shard: int, before: int) -> None:
        """Drop the records of a shard with a sequence below `before`."""

    @abstractmethod
    def drop_stream(self, stream: int) -> None:
        """A stream is gone with its records."""

    @abstractmethod
    def note_id(self, message: int) -> None:
        """A message id lives on inside a document: `max_message_id` is to stay above it."""

    @abstractmethod
    def commit(self) -> Commit:
        """The commit of everything handed over so far, but for `touch`."""

    @property
    @abstractmethod
    def backlog(self) -> int:
        """Bytes handed over and not written yet."""

    @abstractmethod
    async def ready(self) -> None:
        """Return when the backlog is within its limit.

        Raises:
            UnavailableError: it did not get there in time, or writing fails at present.
        """

    @abstractmethod
    def fetch(self, ids: Sequence[int]) -> dict[int, Message]:
        """Read messages back by id, pending ones included; those not kept are missing.

        Raises:
            UnavailableError: the store can't be read.
        """

    @abstractmethod
    async def fetch_records(self, stream: int, shard: int, first: int, last: int) -> list[Record]:
        """Read records of a shard from sequence `first` to `last`, both included.

        Pending ones, too. Those that are trimmed meanwhile may be among them, or missing. One such
        call is served after the other, and one that is cancelled does not wait for the disk.

        Raises:
            UnavailableError: the store can't be read.
        """


class MemoryJournal(Journal):
    """Keeps nothing: `durability = "memory"`."""

    keeps = False
    available = True
    max_message_id = 0
    max_token = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        yield

    def documents(self, namespace: str) -> Iterator[Document]:
        return iter(())

    def entries(self) -> Iterator[tuple[int, Entry]]:
        return iter(())

    def dedups(self) -> Iterator[tuple[int, str, int, int]]:
        return iter(())

    def extents(self, stream: int) -> Iterator[Extent]:
        return iter(())

    def insert(self, queue: int, entry: Entry) -> None:
        pass

    def remove(self, queue: int, entry: Entry) -> None:
        pass

    def touch(self, queue: int, entry: Entry) -> Commit:
        return DONE

    def remember(self, queue: int, key: str, message: int, until: int) -> None:
        pass

    def forget(self, queue: int) -> None:
        pass

    def drop_queue(self, queue: int) -> None:
        pass

    def put(self, document: Document) -> None:
        pass

    def drop(self, namespace: str, realm: str, key: str) -> None:
        pass

    def append(self, stream: int, records: Mapping[int, Sequence[Record]]) -> None:
        pass

    def trim(self, stream: int, shard: int, before: int) -> None:
        pass

    def drop_stream(self, stream: int) -> None:
        pass

    def note_id(self, message: int) -> None:
        pass

    def commit(self) -> Commit:
        return DONE

    @property
    def backlog(self) -> int:
        return 0

    async def ready(self) -> None:
        pass

    def fetch(self, ids: Sequence[int]) -> dict[int, Message]:
        return {}

    async def fetch_records(self, stream: int, shard: int, first: int, last: int) -> list[Record]:
        return []
