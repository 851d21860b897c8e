"""The plugin: SNS at the AWS endpoint."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from hubbub import ConfigSection, FilterFactory, HttpRoute, Scene, Server, hookimpl
from hubbub_aws import AwsService
from hubbub_sns.demo import scenes
from hubbub_sns.filters import KIND, Filters
from hubbub_sns.service import Sns
from hubbub_sns.settings import SnsSettings

if TYPE_CHECKING:
    from hubbub import Hub


class SnsPlugin:
    """Serves SNS: its topics are subtrees of the hub's topic tree."""

    def __init__(self) -> None:
        self._filters = Filters()
        self._sns: Sns | None = None

    def _started(self) -> Sns:
        if self._sns is None:
            raise RuntimeError("SNS could not start")
        return self._sns

    @hookimpl
    def hubbub_config(self) -> ConfigSection:
        """Own `[sns]`."""
        return ConfigSection("sns", SnsSettings)

    @hookimpl
    def hubbub_filters(self) -> Mapping[str, FilterFactory]:
        """Offer SNS filter policies, over attributes or body, to routes and others."""
        return {KIND: self._filters.from_spec}

    @hookimpl
    @asynccontextmanager
    async def hubbub_lifespan(self, hub: "Hub") -> AsyncIterator[None]:
        """Take back topics and subscriptions before anybody can publish."""
        async with Sns.running(hub, self._filters) as self._sns:
            yield
        self._sns = None

    @hookimpl
    def hubbub_servers(self, hub: "Hub") -> Iterable[Server]:
        """Deliver to endpoints, and run replays."""
        return self._started().servers()

    @hookimpl
    def hubbub_aws_services(self, hub: "Hub") -> Iterable[AwsService]:
        """Serve the actions of SNS."""
        yield self._started().service()

    @hookimpl
    def hubbub_http_routes(self, hub: "Hub") -> Iterable[HttpRoute]:
        """Show the outbox on the admin listener."""
        return self._started().routes()

    @hookimpl
    def hubbub_demo(self, hub: "Hub") -> Iterable[Scene]:
        """Play a fan-out from SNS to SQS and MQTT."""
        return scenes(hub)
