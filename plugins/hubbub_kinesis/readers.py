"""What queues and channels have in common: a state that is kept, and a task that reads a stream."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import msgspec
import trio

from hubbub import Commit, Endpoint, HubbubError, NotFoundError, OwnSessions, Server, Session
from hubbub_aws import AwsError, Context
from hubbub_aws.arns import Arn, make_arn
from hubbub_aws.protocols import Params
from hubbub_kinesis.errors import not_found, validation
from hubbub_kinesis.following import Cursor, Follower
from hubbub_kinesis.locating import Located, Locator
from hubbub_kinesis.state import Book, Phases

if TYPE_CHECKING:
    from hubbub import Hub

_PAUSE = 1.0
"""Seconds until a task goes on after something failed."""


class ReaderState(Phases, kw_only=True, omit_defaults=True):
    """Something that reads a whole stream.

    * `id`: the last part of its ARN. `stream`, `number`: the stream's name and number.
    * `created`: milliseconds since the epoch.
    """

    kind: ClassVar[str]
    """What its ARN calls it."""

    id: str
    name: str
    realm: str
    account: str
    region: str
    stream: str
    number: int
    created: int
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    policy: str | None = None

    @property
    def arn(self) -> str:
        """Its name for AWS."""
        return str(make_arn("kinesis", self.region, self.account, f"{self.kind}/{self.id}"))


State = TypeVar("State", bound=ReaderState)


class ReaderBook(Generic[State]):
    """All readers of one type, in memory; kept as documents when something changes."""

    def __init__(self, type_: type[State]) -> None:
        self._type = type_
        self._namespace = f"kinesis.{type_.kind}"
        self._cursor_namespace = f"kinesis.{type_.kind}.cursor"
        self._states: dict[str, State] = {}
        self._cursors: dict[str, Cursor] = {}

    async def load(self, session: Session) -> None:
        """Read what has been kept."""
        async for document in session.documents(self._namespace):
            self._states[document.key] = msgspec.json.decode(document.value, type=self._type)
        async for document in session.documents(self._cursor_namespace):
            self._cursors[document.key] = msgspec.json.decode(document.value, type=Cursor)

    def __iter__(self) -> Iterator[State]:
        return iter(list(self._states.values()))

    def get(self, id_: str) -> State | None:
        """Return the one with this id."""
        return self._states.get(id_)

    def of_stream(self, realm: str, number: int) -> list[State]:
        """Return those that read a stream."""
        return [each for each in self if (each.realm, each.number) == (realm, number)]

    def of_account(self, account: str, region: str) -> list[State]:
        """Return those of an account in a region, in order of name."""
        mine = [each for each in self if (each.account, each.region) == (account, region)]
        return sorted(mine, key=lambda each: each.name)

    def cursor(self, state: State) -> Cursor:
        """Return how far one has read its stream."""
        return self._cursors.get(state.id, Cursor())

    def keep(self, session: Session, state: State) -> Commit:
        """Keep one."""
        self._states[state.id] = state
        return session.put_document(self._namespace, state.id, msgspec.json.encode(state))

    def keep_cursor(self, session: Session, state: State, cursor: Cursor) -> Commit:
        """Keep how far one has read."""
        self._cursors[state.id] = cursor
        return session.put_document(self._cursor_namespace, state.id, msgspec.json.encode(cursor))

    def forget(self, session: Session, state: State) -> Commit:
        """Forget one that is gone."""
        self._states.pop(state.id, None)
        self._cursors.pop(state.id, None)
        session.drop_document(self._cursor_namespace, state.id)
        return session.drop_document(self._namespace, state.id)


class Readers(ABC, Generic[State]):
    """The tasks of one hub that read streams: one for each state of a book."""

    def __init__(
        self, hub: "Hub", sessions: OwnSessions, streams: Book, book: ReaderBook[State],
        locator: Locator,
    ) -> None:  # fmt: skip
        self.hub = hub
        self.now = hub.clock.now
        self.book = book
        self._sessions = sessions
        self._streams = streams
        self._locate = locator
        self._nursery: trio.Nursery | None = None
        self._changes: dict[str, trio.CancelScope] = {}

    def server(self, name: str) -> Server:
        """Return the service that runs the tasks."""
        return Server(name, self._serve)

    async def _serve(self, task_status: trio.TaskStatus[list[Endpoint]]) -> None:
        try:
            async with trio.open_nursery() as self._nursery:
                for state in self.book:
                    self.start(state)
                task_status.started([])
                await self.hub.shutdown.wait()
                self._nursery.cancel_scope.cancel()
        finally:
            self._nursery = None

    def session(self, state: State) -> Session:
        """Return the session that reads for one."""
        return self._sessions.of(state.realm)

    def start(self, state: State) -> None:
        """Begin to read."""
        if self._nursery is not None:
            self._nursery.start_soon(self._run, state)

    def until_changed(self, state: State, seconds: float) -> trio.CancelScope:
        """Return a scope, for once in a step, that ends after some seconds at the latest.

        It ends when `changed` is called, and at once if it was since the step began.
        """
        scope = self._changes[state.id]
        scope.deadline = trio.current_time() + seconds
        return scope

    def changed(self, state: State) -> None:
        """Note that one has something else to do now: its task looks at it."""
        if (scope := self._changes.get(state.id)) is not None:
            scope.cancel()

    def keep(self, state: State) -> Commit:
        """Keep what was changed of one."""
        return self.book.keep(self.session(state), state)

    async def _run(self, state: State) -> None:
        follower: Follower | None = None
        while not state.is_gone(self.now()):
            stream = self.stream(state)
            if stream is None:  # another protocol has deleted it
                break
            self._changes[state.id] = trio.CancelScope()
            try:
                if follower is None:
                    follower = Follower(stream, self.book.cursor(state), self.now)
                await self.step(state, stream, follower)
            except (NotFoundError, AwsError):
                follower = None  # it may have read what was not dealt with
                if self.stream(state) is not None and not state.is_gone(self.now()):
                    await trio.sleep(_PAUSE)
            except (HubbubError, OSError) as error:
                follower = None
                self.hub.log.warning(f"kinesis {state.kind} waits", arn=state.arn, error=str(error))
                await trio.sleep(_PAUSE)
        self._changes.pop(state.id, None)
        await self.remove(state)

    async def delete(self, state: State, delay: float) -> None:
        """Have one end after `delay` seconds, unless it is ending already."""
        if state.gone_at is not None:
            return
        state.gone_at = self.now() + round(delay * 1000)
        if not delay:
            await self.remove(state)
            return
        commit = self.keep(state)
        self.changed(state)
        await commit.wait()

    @abstractmethod
    async def step(self, state: State, stream: Located, follower: Follower) -> None:
        """Do a part of the work, or wait until there is some.

        `follower` goes on from the cursor that is kept. A step that fails gets another next time.
        """

    async def remove(self, state: State) -> None:
        """Forget one, and end its task."""
        self.changed(state)
        if self.book.get(state.id) is state:
            await self.book.forget(self.session(state), state).wait()

    # finding

    def stream(self, state: State) -> Located | None:
        """Return the stream that one reads, None if it is gone."""
        session = self.session(state)
        info = session.find_stream(state.stream)
        if info is None or info.number != state.number:
            return None
        settings = self._streams.state(state.realm, info)
        return Located(session, info, settings, state.stream, state.account, state.region)

    def is_there(self, state: State) -> bool:
        """Tell whether one still is, and its stream."""
        return not state.is_gone(self.now()) and self.stream(state) is not None

    def named(self, account: str, region: str, name: str) -> State | None:
        """Return the one of this name, if there is one."""
        for each in self.book.of_account(account, region):
            if each.name == name and self.is_there(each):
                return each
        return None

    def locate(self, context: Context, arn: str) -> State:
        """Find what an ARN names, and check that the caller may do it. Raises `AwsError`."""
        state = self.book.get(Arn.parse(arn).resource.rpartition("/")[2])
        if state is None or state.arn != arn or not self.is_there(state):
            raise not_found(f"{arn} not found.")
        self._locate.named(context, state.stream, state.account, state.region)
        return state

    def chosen(self, context: Context, filters: Sequence[Params] | None) -> list[State]:
        """Return the caller's, in its region, that read one of the streams of filters."""
        mine = self.book.of_account(context.account, context.region)
        return [
            each
            for each in mine
            if self.is_there(each)
            and (filters is None or any(self._is_chosen(each, one) for one in filters))
        ]

    def _is_chosen(self, state: State, wanted: Params) -> bool:
        stream = self.stream(state)
        if stream is None or wanted["StreamARN"] != stream.arn:
            return False
        created = wanted.get("StreamCreationTimestamp")
        return created is None or int(created) == stream.info.created // 1000


def only_stream(params: Params) -> Params:
    """Return what a request to create one says of its stream. Raises `AwsError`."""
    configurations: Sequence[Params] = params["StreamConfigurationList"]
    if len(configurations) != 1:
        raise validation("StreamConfigurationList must contain exactly one entry.")
    return configurations[0]
