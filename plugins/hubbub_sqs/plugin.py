"""The plugin: SQS at the AWS endpoint."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from hubbub import ConfigSection, Scene, Server, hookimpl
from hubbub_aws import AwsService
from hubbub_aws.models import load_model
from hubbub_aws.services import Service
from hubbub_sqs import permissions, sending, tagging
from hubbub_sqs.demo import scenes
from hubbub_sqs.managing import Managing
from hubbub_sqs.moving import Moving
from hubbub_sqs.query_shapes import error_traits, query_shapes
from hubbub_sqs.receiving import Receiving
from hubbub_sqs.settings import SqsSettings
from hubbub_sqs.settling import Settling

if TYPE_CHECKING:
    from hubbub import Hub

ERROR_NAMESPACE = "com.amazonaws.sqs"
QUEUE_PATH = re.compile(r"(?:/queue/[^/]+)?/[0-9]{12}/[^/]+/?")
"""The path of a queue's URL, as present and former versions of SQS have it."""


class SqsPlugin:
    """Serves SQS: its queues are the hub's queues."""

    def __init__(self) -> None:
        self._tasks: Moving | None = None

    @hookimpl
    def hubbub_config(self) -> ConfigSection:
        """Own `[sqs]`."""
        return ConfigSection("sqs", SqsSettings)

    @hookimpl
    def hubbub_servers(self, hub: "Hub") -> Iterable[Server]:
        """Run message move tasks."""
        yield self._moving(hub).server()

    @hookimpl
    def hubbub_aws_services(self, hub: "Hub") -> Iterable[AwsService]:
        """Serve the actions of SQS, in JSON and Query."""
        settings = hub.config.section(SqsSettings)
        service = Service(
            load_model("sqs"),
            query=query_shapes(),
            errors=error_traits(),
            error_namespace=ERROR_NAMESPACE,
            hosts=["queue"],
            resource_path=QUEUE_PATH,
            root_actions=["CreateQueue", "ListQueues"],
        )
        operations = {
            **Managing(hub, settings).operations(),
            **sending.operations(),
            **Receiving(hub).operations(),
            **Settling(hub).operations(),
            **tagging.operations(),
            **permissions.operations(),
            **self._moving(hub).operations(),
        }
        yield AwsService(service, operations, "sqs create-queue --queue-name orders")

    @hookimpl
    def hubbub_demo(self, hub: "Hub") -> Iterable[Scene]:
        """Play with boto3."""
        return scenes(hub)

    def _moving(self, hub: "Hub") -> Moving:
        if self._tasks is None:
            self._tasks = Moving(hub)
        return self._tasks
