"""The plugin: Kinesis Data Streams at the AWS endpoint."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from hubbub import DEFAULT_REALM, ConfigSection, Principal, Scene, Server, Session, hookimpl
from hubbub_aws import AwsService
from hubbub_aws.models import load_model
from hubbub_aws.services import Service
from hubbub_kinesis.accounts import Accounts
from hubbub_kinesis.consumers import Consumers
from hubbub_kinesis.demo import scenes
from hubbub_kinesis.locating import Locator
from hubbub_kinesis.managing import Managing
from hubbub_kinesis.options import Options
from hubbub_kinesis.policies import Policies
from hubbub_kinesis.reading import Reading
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


class KinesisPlugin:
    """Serves Kinesis Data Streams: its streams are the hub's streams."""

    def __init__(self) -> None:
        self._book = Book()
        self._managing: Managing | None = None

    @hookimpl
    def hubbub_config(self) -> ConfigSection:
        """Own `[kinesis]`."""
        return ConfigSection("kinesis", KinesisSettings)

    @hookimpl
    @asynccontextmanager
    async def hubbub_lifespan(self, hub: "Hub") -> AsyncIterator[None]:
        """Read what is kept of streams, before anybody asks."""
        with _session(hub, DEFAULT_REALM) as session:
            await self._book.load(session)
        # Another protocol may have deleted streams while Kinesis was not served.
        for realm, name, state in self._book.entries():
            with _session(hub, realm) as session:
                info = session.find_stream(name)
                if info is None or info.number != state.number:
                    self._book.forget(session, name)
        yield

    @hookimpl
    def hubbub_servers(self, hub: "Hub") -> Iterable[Server]:
        """Delete streams whose time has come."""
        yield self._manage(hub).server()

    @hookimpl
    def hubbub_aws_services(self, hub: "Hub") -> Iterable[AwsService]:
        """Serve the actions of Kinesis, in JSON and CBOR."""
        settings = hub.config.section(KinesisSettings)
        now, book = hub.clock.now, self._book
        locator = Locator(book, now)
        throttle = Throttle(now) if settings.throttle else None
        model = load_model("kinesis")
        validators = Validators(model)
        subscribing = Subscribing(hub, locator)
        checked = {
            **self._manage(hub).operations(),
            **Sharding(now, settings, book, locator).operations(),
            **Reading(now, locator, throttle).operations(),
            **Consumers(now, settings, book, locator, subscribing.end).operations(),
            **subscribing.operations(),
            **Options(now, settings, book, locator).operations(),
            **Tagging(book, locator).operations(),
            **Policies(book, locator).operations(),
            **Accounts(now, settings, book).operations(),
        }
        operations = {
            **validators.guard(checked),
            **Writing(locator, validators, throttle).operations(),
        }
        yield AwsService(Service(model, cbor=True), operations, _client_line)

    @hookimpl
    def hubbub_demo(self, hub: "Hub") -> Iterable[Scene]:
        """Show a stream being written and read."""
        return scenes(hub)

    def _manage(self, hub: "Hub") -> Managing:
        if self._managing is None:
            locator = Locator(self._book, hub.clock.now)
            settings = hub.config.section(KinesisSettings)
            self._managing = Managing(hub, settings, self._book, locator)
        return self._managing


def _session(hub: "Hub", realm: str) -> Session:
    principal = Principal("kinesis", realms=(realm,))
    return hub.session(principal, protocol="kinesis", client="kinesis/start", realm=realm)


def _client_line(url: str) -> str:
    return f"aws --endpoint-url {url} kinesis create-stream --stream-name telemetry --shard-count 1"
