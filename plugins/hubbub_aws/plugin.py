"""The plugin: one listener for all AWS services."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import trio

from hubbub import (
    ConfigSection,
    Endpoint,
    Server,
    SocketAddress,
    hookimpl,
)
from hubbub_aws.endpoint import Endpoint as AwsEndpoint
from hubbub_aws.hooks import AwsHooks, AwsService
from hubbub_aws.settings import AwsSettings

if TYPE_CHECKING:
    from hubbub import Hub


class AwsPlugin:
    """Serves the AWS services that other plugins bring."""

    @hookimpl
    def hubbub_hookspecs(self) -> Iterable[type]:
        """Let other plugins bring services."""
        return [AwsHooks]

    @hookimpl
    def hubbub_config(self) -> ConfigSection:
        """Own `[aws]`."""
        return ConfigSection("aws", AwsSettings)

    @hookimpl
    def hubbub_servers(self, hub: "Hub") -> Iterable[Server]:
        """Listen, if there is any service to serve."""
        services = [each for _, each in hub.manager.gather(AwsHooks.hubbub_aws_services, hub)]
        if services:
            yield Server("aws", lambda task_status: _serve(hub, services, task_status))


async def _serve(
    hub: "Hub", services: Sequence[AwsService], task_status: trio.TaskStatus[list[Endpoint]]
) -> None:
    settings = hub.config.section(AwsSettings)
    endpoint = AwsEndpoint(hub, settings, services)
    scheme = "https" if settings.listener.tls else "http"

    def describe(address: SocketAddress) -> list[Endpoint]:
        url = f"{scheme}://{address}"
        # On a machine without any credentials, too.
        unsigned = (
            "" if settings.auth == "verify" else f" --region {settings.region} --no-sign-request"
        )
        return [
            Endpoint(
                each.service.model.service_id,
                url,
                f"aws --endpoint-url {url}{unsigned} {each.client}",
            )
            for each in services
        ]

    try:
        await hub.serve_http(
            endpoint,
            settings.listener,
            describe,
            name="aws",
            max_body_bytes=settings.max_request_bytes,
            task_status=task_status,
        )
    finally:
        endpoint.close()
