"""Kinesis of one hub: its parts put together, from start to stop."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from hubbub import DEFAULT_REALM, OwnSessions, Server
from hubbub_aws import AwsService
from hubbub_aws.models import load_model
from hubbub_aws.services import Service
from hubbub_kinesis.accounts import Accounts
from hubbub_kinesis.channels import Channels
from hubbub_kinesis.consumers import Consumers
from hubbub_kinesis.delivering import ChannelState, Deliverers
from hubbub_kinesis.feeding import Feeders, QueueState
from hubbub_kinesis.locating import Locator
from hubbub_kinesis.managing import Managing
from hubbub_kinesis.options import Options
from hubbub_kinesis.policies import Policies
from hubbub_kinesis.queue_records import QueueRecords
from hubbub_kinesis.queues import Queues
from hubbub_kinesis.readers import ReaderBook
from hubbub_kinesis.reading import Reading
from hubbub_kinesis.resources import Resources
from hubbub_kinesis.settings import KinesisSettings
from hubbub_kinesis.sharding import Sharding
from hubbub_kinesis.state import Book
from hubbub_kinesis.subscribing import Subscribing
from hubbub_kinesis.tagging import Tagging
from hubbub_kinesis.throttling import Throttle
from hubbub_kinesis.validating import Validators
from hubbub_kinesis.writing import Writing

if TYPE_CHECKING:
    from hubbub import Hub


class Kinesis:
    """The parts of Kinesis. Make one with `running`."""

    def __init__(self, hub: "Hub", sessions: OwnSessions) -> None:
        settings = hub.config.section(KinesisSettings)
        now, book = hub.clock.now, Book()
        queues, channels = ReaderBook(QueueState), ReaderBook(ChannelState)
        locator = Locator(book, now)
        throttle = Throttle(now) if settings.throttle else None
        self._model = load_model("kinesis")
        validators = Validators(self._model)
        subscribing = Subscribing(hub, locator)
        self._sessions = sessions
        self._book = book
        self._readers = (queues, channels)
        self._managing = Managing(hub, settings, book, queues, channels, locator)
        self._feeders = Feeders(hub, sessions, book, queues, locator)
        self._deliverers = Deliverers(hub, settings, sessions, book, channels, locator)
        resources = Resources(book, locator, self._feeders, self._deliverers)
        checked = {
            **self._managing.operations(),
            **Sharding(now, settings, book, locator).operations(),
            **Reading(now, locator, throttle).operations(),
            **Consumers(now, settings, book, queues, locator, subscribing.end).operations(),
            **subscribing.operations(),
            **Options(now, settings, book, queues, channels, locator).operations(),
            **Tagging(locator, resources).operations(),
            **Policies(resources).operations(),
            **Accounts(now, settings, book, channels).operations(),
            **Queues(now, settings, locator, self._feeders).operations(),
            **QueueRecords(self._feeders).operations(),
            **Channels(now, settings, locator, self._deliverers).operations(),
        }
        unknown = validators.unknown(checked)
        if unknown:
            hub.log.info("kinesis: not served, a newer botocore has them", actions=unknown)
        self._operations = {
            **validators.guard(checked),
            **Writing(now, locator, validators, throttle).operations(),
        }

    @classmethod
    @asynccontextmanager
    async def running(cls, hub: "Hub") -> AsyncIterator["Kinesis"]:
        """Read what is kept; end all sessions on leaving."""
        sessions = OwnSessions(hub, "kinesis")
        try:
            kinesis = cls(hub, sessions)
            await kinesis.load()
            yield kinesis
        finally:
            sessions.close()

    async def load(self) -> None:
        """Read what is kept, and forget what is of streams that are gone."""
        session = self._sessions.of(DEFAULT_REALM)
        await self._book.load(session)
        for book in self._readers:
            await book.load(session)
        # Another protocol may have deleted streams while Kinesis was not served.
        for realm, name, state in self._book.entries():
            session = self._sessions.of(realm)
            info = session.find_stream(name)
            if info is None or info.number != state.number:
                self._book.forget(session, name)

    def servers(self) -> Iterable[Server]:
        """Return what runs as long as the hub."""
        yield self._managing.server()
        yield self._feeders.server("kinesis-queues")
        yield self._deliverers.server("kinesis-channels")

    def service(self) -> AwsService:
        """Return the service at the AWS endpoint."""
        return AwsService(
            Service(self._model, cbor=True, classes=True, extended_request_id=True),
            self._operations,
            "kinesis create-stream --stream-name telemetry --shard-count 1",
        )
