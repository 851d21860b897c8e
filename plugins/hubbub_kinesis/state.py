"""What Kinesis knows of a stream beyond the stream itself, kept as documents.

A stream that another protocol made has all of this by default.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Literal

import msgspec

from hubbub import Commit, Session, StreamInfo

STREAMS = "kinesis.stream"
ACCOUNTS = "kinesis.account"

DAY = 86_400_000

Mode = Literal["PROVISIONED", "ON_DEMAND"]
PROVISIONED: Mode = "PROVISIONED"
ON_DEMAND: Mode = "ON_DEMAND"


class Status(StrEnum):
    """What a stream or a consumer is doing."""

    CREATING = "CREATING"
    ACTIVE = "ACTIVE"
    UPDATING = "UPDATING"
    DELETING = "DELETING"


class Phases(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What something that is made, changed and deleted is doing, by the clock.

    `active_at`, `updated_at`: until then it is CREATING, UPDATING. `gone_at`: when what is being
    deleted goes. In milliseconds since the epoch.
    """

    active_at: int = 0
    updated_at: int = 0
    gone_at: int | None = None

    def status(self, now: int) -> Status:
        """Return its status."""
        if self.gone_at is not None:
            return Status.DELETING
        if now < self.active_at:
            return Status.CREATING
        return Status.UPDATING if now < self.updated_at else Status.ACTIVE

    def is_gone(self, now: int) -> bool:
        """Tell whether it is there no more."""
        return self.gone_at is not None and now >= self.gone_at


class Consumer(msgspec.Struct, omit_defaults=True):
    """A registered consumer (enhanced fan-out). Times are milliseconds since the epoch."""

    name: str
    created: int
    active_at: int = 0
    gone_at: int | None = None
    tags: dict[str, str] = {}
    policy: str | None = None

    def status(self, now: int) -> Status:
        """Return its status."""
        if self.gone_at is not None:
            return Status.DELETING
        return Status.CREATING if now < self.active_at else Status.ACTIVE


class StreamState(Phases, kw_only=True, omit_defaults=True):
    """The settings of one stream.

    * `number`: of the stream they belong to; another stream may get its name.
    * `scalings`, `mode_changes`: when they happened, as far as limits count them.
    """

    number: int
    mode: Mode = PROVISIONED
    encryption: Literal["NONE", "KMS"] = "NONE"
    key_id: str | None = None
    metrics: list[str] = []
    tags: dict[str, str] = {}
    policy: str | None = None
    warm_throughput: int | None = None
    max_record_kib: int = 1024
    distribution: Literal["AUTO", "USER_PARTITION_KEY"] = "USER_PARTITION_KEY"
    scalings: list[int] = []
    mode_changes: list[int] = []
    consumers: dict[str, Consumer] = {}


class Account(msgspec.Struct, omit_defaults=True):
    """An account's settings: its billing commitment, in milliseconds since the epoch."""

    committed: int | None = None
    ended: int | None = None

    def is_committed(self, now: int) -> bool:
        """Tell whether its commitment lasts: then it has On-demand Advantage."""
        return self.committed is not None and (self.ended is None or now < self.ended)


class Book:
    """All documents, by realm and stream; in memory, and kept when something changes."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, str], StreamState] = {}
        self._accounts: dict[str, Account] = {}

    async def load(self, session: Session) -> None:
        """Read what has been kept."""
        async for document in session.documents(STREAMS):
            state = msgspec.json.decode(document.value, type=StreamState)
            self._streams[document.realm, document.key] = state
        async for document in session.documents(ACCOUNTS):
            self._accounts[document.realm] = msgspec.json.decode(document.value, type=Account)

    def state(self, realm: str, info: StreamInfo) -> StreamState:
        """Return the settings of a stream."""
        state = self._streams.get((realm, info.name))
        if state is None or state.number != info.number:
            state = self._streams[realm, info.name] = StreamState(number=info.number)
        return state

    def keep(self, session: Session, name: str, state: StreamState) -> Commit:
        """Keep the settings of a stream."""
        self._streams[session.realm, name] = state
        return session.put_document(STREAMS, name, msgspec.json.encode(state))

    def forget(self, session: Session, name: str) -> Commit:
        """Forget the settings of a stream that is gone."""
        self._streams.pop((session.realm, name), None)
        return session.drop_document(STREAMS, name)

    def entries(self) -> list[tuple[str, str, StreamState]]:
        """Return realm, name and settings of all streams."""
        return [(realm, name, state) for (realm, name), state in self._streams.items()]

    def leaving(self) -> Iterator[tuple[str, str, StreamState]]:
        """Yield realm, name and settings of the streams that are being deleted."""
        for realm, name, state in self.entries():
            if state.gone_at is not None:
                yield realm, name, state

    def account(self, realm: str) -> Account:
        """Return an account's settings."""
        return self._accounts.setdefault(realm, Account())

    def keep_account(self, session: Session, account: Account) -> Commit:
        """Keep an account's settings."""
        self._accounts[session.realm] = account
        return session.put_document(ACCOUNTS, "settings", msgspec.json.encode(account))
