"""What tags and policies are of: streams, consumers, queues, channels, by their ARNs."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from hubbub import Commit
from hubbub_aws import Context
from hubbub_aws.arns import Arn
from hubbub_kinesis.delivering import ChannelState
from hubbub_kinesis.feeding import QueueState
from hubbub_kinesis.locating import Locator
from hubbub_kinesis.readers import Readers, State
from hubbub_kinesis.state import Book


class Owner(Protocol):
    """Something that has tags and a policy."""

    tags: dict[str, str]
    policy: str | None


class Resource(NamedTuple):
    """What an ARN names. `keep` keeps what was changed of its owner."""

    owner: Owner
    keep: Callable[[], Commit]
    name: str
    account: str


class Resources:
    """Finds what ARNs name."""

    def __init__(
        self, book: Book, locator: Locator, queues: Readers[QueueState],
        channels: Readers[ChannelState],
    ) -> None:  # fmt: skip
        self._book = book
        self._locate = locator
        self._queues = queues
        self._channels = channels

    def find(self, context: Context, arn: str) -> Resource:
        """Find something that the caller may change. Raises `AwsError`."""
        resource = Arn.parse(arn).resource
        if resource.startswith("queue/"):
            return _of(self._queues, context, arn)
        if resource.startswith("channel/"):
            return _of(self._channels, context, arn)
        owner: Owner
        if "/consumer/" in resource:
            stream, owner = self._locate.consumer(context, arn)
        else:
            stream = self._locate.stream(context, {"StreamARN": arn})
            owner = stream.state

        def keep() -> Commit:
            return self._book.keep(stream.session, stream.name, stream.state)

        return Resource(owner, keep, stream.name, stream.account)


def _of(readers: Readers[State], context: Context, arn: str) -> Resource:
    state = readers.locate(context, arn)
    return Resource(state, lambda: readers.keep(state), state.name, state.account)
