"""Tags of streams, consumers, queues and channels."""

from collections.abc import Mapping

from hubbub_aws import Context, OperationFunction
from hubbub_aws.protocols import Params
from hubbub_kinesis.locating import Locator
from hubbub_kinesis.resources import Resource, Resources
from hubbub_kinesis.tags import MAX_TAGS, check_keys, check_tags


class Tagging:
    """The actions on tags."""

    def __init__(self, locator: Locator, resources: Resources) -> None:
        self._locate = locator
        self._resources = resources

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {
            "AddTagsToStream": self.add_tags_to_stream,
            "ListTagsForResource": self.list_tags_for_resource,
            "ListTagsForStream": self.list_tags_for_stream,
            "RemoveTagsFromStream": self.remove_tags_from_stream,
            "TagResource": self.tag_resource,
            "UntagResource": self.untag_resource,
        }

    async def add_tags_to_stream(self, context: Context, params: Params) -> Params:
        """Add tags to a stream, or change their values."""
        return await _add(self._stream(context, params), params["Tags"])

    async def remove_tags_from_stream(self, context: Context, params: Params) -> Params:
        """Remove tags from a stream; no error for those it does not have."""
        return await _remove(self._stream(context, params), params["TagKeys"])

    async def list_tags_for_stream(self, context: Context, params: Params) -> Params:
        """List the tags of a stream, in order of key, in pages."""
        stream = self._locate.stream(context, params)
        tags = _listed(stream.state.tags)
        start = params.get("ExclusiveStartTagKey")
        if start is not None:
            tags = [tag for tag in tags if tag["Key"] > start]
        limit = params.get("Limit", MAX_TAGS)
        return {"Tags": tags[:limit], "HasMoreTags": len(tags) > limit}

    async def tag_resource(self, context: Context, params: Params) -> Params:
        """Add tags to something."""
        found = self._resources.find(context, params["ResourceARN"])
        return await _add(found, params["Tags"])

    async def untag_resource(self, context: Context, params: Params) -> Params:
        """Remove tags from something."""
        found = self._resources.find(context, params["ResourceARN"])
        return await _remove(found, params["TagKeys"])

    async def list_tags_for_resource(self, context: Context, params: Params) -> Params:
        """List the tags of something."""
        return {"Tags": _listed(self._resources.find(context, params["ResourceARN"]).owner.tags)}

    def _stream(self, context: Context, params: Params) -> Resource:
        stream = self._locate.stream(context, params)
        return self._resources.find(context, stream.arn)


async def _add(resource: Resource, added: Mapping[str, str]) -> Params:
    tags = resource.owner.tags
    check_tags(resource.name, resource.account, tags, added)
    tags.update(added)
    await resource.keep().wait()
    return {}


async def _remove(resource: Resource, keys: list[str]) -> Params:
    check_keys(resource.name, resource.account, keys)
    for key in keys:
        resource.owner.tags.pop(key, None)
    await resource.keep().wait()
    return {}


def _listed(tags: Mapping[str, str]) -> list[Params]:
    return [{"Key": key, "Value": tags[key]} for key in sorted(tags)]
