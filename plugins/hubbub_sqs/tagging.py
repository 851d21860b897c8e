"""TagQueue, UntagQueue, ListQueueTags."""

from collections.abc import Mapping, Sequence

from hubbub_aws import Context, OperationFunction
from hubbub_aws.protocols import Params
from hubbub_sqs.attributes import get_tags, with_tags
from hubbub_sqs.errors import invalid_parameter, missing_parameter
from hubbub_sqs.queues import Located, locate

MAX_TAGS = 50
MAX_KEY = 128
MAX_VALUE = 256


def operations() -> Mapping[str, OperationFunction]:
    """Return the actions of this module."""
    return {
        "ListQueueTags": list_queue_tags,
        "TagQueue": tag_queue,
        "UntagQueue": untag_queue,
    }


async def tag_queue(context: Context, params: Params) -> Params:
    """Add tags to a queue, or change their values."""
    queue = locate(context, params, "configure")
    added: Mapping[str, str] | None = params.get("Tags")
    if not added:
        raise missing_parameter("Tags")
    tags = get_tags(queue.settings) | dict(added)
    check_tags(queue.name, tags)
    await _store(queue, tags)
    return {}


async def untag_queue(context: Context, params: Params) -> Params:
    """Remove tags from a queue; no error for those it does not have."""
    queue = locate(context, params, "configure")
    keys: Sequence[str] | None = params.get("TagKeys")
    if not keys:
        raise invalid_parameter("Tag keys must be between 1 and 128 characters in length.")
    tags = {key: value for key, value in get_tags(queue.settings).items() if key not in keys}
    await _store(queue, tags)
    return {}


async def list_queue_tags(context: Context, params: Params) -> Params:
    """Return a queue's tags."""
    tags = get_tags(locate(context, params).settings)
    return {"Tags": tags} if tags else {}


def check_tags(queue: str, tags: Mapping[str, str]) -> None:
    """Check the tags of the queue with this name. Raises `AwsError`."""
    if len(tags) > MAX_TAGS:
        raise invalid_parameter(f"Too many tags added for queue {queue}.")
    for key, value in tags.items():
        if not 1 <= len(key) <= MAX_KEY:
            raise invalid_parameter("Tag keys must be between 1 and 128 characters in length.")
        if len(value) > MAX_VALUE:
            raise invalid_parameter("Tag values must be between 0 and 256 characters in length.")
        if key.lower().startswith("aws:"):
            raise invalid_parameter("System tags cannot be added/updated by requester.")


async def _store(queue: Located, tags: Mapping[str, str]) -> None:
    settings = with_tags(queue.settings, tags)
    commit = await queue.session.configure_queue(queue.name, settings)
    await commit.wait()
