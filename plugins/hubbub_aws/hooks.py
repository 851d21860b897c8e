"""How AWS services join: the hook, and what a service brings."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from hubbub import Request, Response, hookspec
from hubbub_aws.context import Context
from hubbub_aws.protocols import Params, Result
from hubbub_aws.services import Service

if TYPE_CHECKING:
    from hubbub import Hub

OperationFunction = Callable[[Context, Params], Awaitable[Result]]
"""Carries out one action: from its parameters to its result, whatever the protocol.

Raises `AwsError`; errors of the bus that it lets through become the AWS error that is nearest.
"""

Page = Callable[[Request], Awaitable[Response]]
"""Answers a GET of a path at the AWS endpoint that is no action of a service."""


@dataclass(frozen=True, slots=True)
class AwsService:
    """One AWS service.

    * `service`: its model and protocols; `operations`: a function for each action it serves.
    * `client`: what to give to the AWS command line for a first try, such as "sqs list-queues".
    * `unsigned`: actions that anybody may ask for without credentials, since a parameter (a token)
      is proof enough. Their principal has no permissions.
    * `pages`: what else is served with GET, by path.
    """

    service: Service
    operations: Mapping[str, OperationFunction]
    client: str
    unsigned: frozenset[str] = frozenset()
    pages: Mapping[str, Page] = field(default_factory=dict)


class AwsHooks(Protocol):
    """The hook that this plugin offers to others."""

    @hookspec
    def hubbub_aws_services(self, hub: "Hub") -> Iterable[AwsService]:
        """Serve AWS services at the endpoint of `[aws]`.

        **Called** once when the hub starts. **Return** services; actions that a service's model
        has and `operations` lacks are answered as unknown.

        **If it raises,** its plugin is failed and the other services are served.

        ```python
        @hookimpl
        def hubbub_aws_services(self, hub):
            async def list_streams(context, params):
                return {"StreamNames": [], "HasMoreStreams": False}

            service = Service(load_model("kinesis"))
            yield AwsService(service, {"ListStreams": list_streams}, "kinesis list-streams")
        ```
        """
