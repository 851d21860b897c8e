"""The plugin: Kinesis Data Streams at the AWS endpoint."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from hubbub import ConfigSection, Scene, Server, hookimpl
from hubbub_aws import AwsService
from hubbub_kinesis.demo import scenes
from hubbub_kinesis.service import Kinesis
from hubbub_kinesis.settings import KinesisSettings

if TYPE_CHECKING:
    from hubbub import Hub


class KinesisPlugin:
    """Serves Kinesis Data Streams: its streams are the hub's streams."""

    def __init__(self) -> None:
        self._kinesis: Kinesis | None = None

    def _started(self) -> Kinesis:
        if self._kinesis is None:
            raise RuntimeError("Kinesis could not start")
        return self._kinesis

    @hookimpl
    def hubbub_config(self) -> ConfigSection:
        """Own `[kinesis]`."""
        return ConfigSection("kinesis", KinesisSettings)

    @hookimpl
    @asynccontextmanager
    async def hubbub_lifespan(self, hub: "Hub") -> AsyncIterator[None]:
        """Read what is kept of streams, before anybody asks."""
        async with Kinesis.running(hub) as self._kinesis:
            yield
        self._kinesis = None

    @hookimpl
    def hubbub_servers(self, hub: "Hub") -> Iterable[Server]:
        """Delete streams whose time has come, feed queues, deliver channels."""
        return self._started().servers()

    @hookimpl
    def hubbub_aws_services(self, hub: "Hub") -> Iterable[AwsService]:
        """Serve the actions of Kinesis, in JSON and CBOR."""
        yield self._started().service()

    @hookimpl
    def hubbub_demo(self, hub: "Hub") -> Iterable[Scene]:
        """Show a stream being written and read."""
        return scenes(hub)
