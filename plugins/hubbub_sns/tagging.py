"""TagResource, UntagResource, ListTagsForResource."""

from collections.abc import Mapping, Sequence

from hubbub_aws import AwsError, Context, OperationFunction
from hubbub_aws.protocols import Params
from hubbub_sns.access import demand
from hubbub_sns.errors import invalid_parameter, not_null
from hubbub_sns.names import parse_topic
from hubbub_sns.records import Topic
from hubbub_sns.store import Store

MAX_TAGS = 50
MAX_KEY = 128
MAX_VALUE = 256


def read_tags(given: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Read a list of tags. Raises `AwsError`."""
    tags: dict[str, str] = {}
    for tag in given:
        key, value = tag.get("Key", ""), tag.get("Value", "")
        if key in tags:
            raise invalid_parameter("Duplicated keys are not allowed.")
        if not 1 <= len(key) <= MAX_KEY or len(value) > MAX_VALUE or key.lower().startswith("aws:"):
            raise invalid_parameter(f"Tags Reason: the tag {key!r} is not allowed")
        tags[key] = value
    check_count(tags)
    return tags


def check_count(tags: Mapping[str, str]) -> None:
    """Check how many tags a topic has. Raises `AwsError`."""
    if len(tags) > MAX_TAGS:
        raise AwsError(
            "TagLimitExceededException",
            f"Could not complete request: tag quota of per resource exceeded ({MAX_TAGS})",
        )


class Tagging:
    """The actions on tags."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {
            "ListTagsForResource": self.list_tags,
            "TagResource": self.tag_resource,
            "UntagResource": self.untag_resource,
        }

    def _find(self, context: Context, params: Params) -> Topic:
        topic = self._store.topics.get(
            parse_topic(context, params.get("ResourceArn"), "ResourceArn").arn
        )
        if topic is None:
            raise AwsError("ResourceNotFoundException", "Resource does not exist")
        return topic

    def _find_to_change(self, context: Context, params: Params) -> Topic:
        topic = self._find(context, params)
        session = context.session(topic.account, topic.region)
        demand(context, session, "configure", topic.name, topic.arn)
        return topic

    async def list_tags(self, context: Context, params: Params) -> Params:
        """Return the tags of a topic."""
        tags = self._find(context, params).tags
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    async def tag_resource(self, context: Context, params: Params) -> Params:
        """Add tags to a topic, or change their values."""
        topic = self._find_to_change(context, params)
        given = params.get("Tags")
        if given is None:
            raise not_null("tags")
        tags = topic.tags | read_tags(given)
        check_count(tags)
        topic.tags = tags
        await self._store.save_topic(topic).wait()
        return {}

    async def untag_resource(self, context: Context, params: Params) -> Params:
        """Remove tags from a topic; no error for those it does not have."""
        topic = self._find_to_change(context, params)
        keys = params.get("TagKeys")
        if keys is None:
            raise not_null("tagKeys")
        topic.tags = {key: value for key, value in topic.tags.items() if key not in keys}
        await self._store.save_topic(topic).wait()
        return {}
