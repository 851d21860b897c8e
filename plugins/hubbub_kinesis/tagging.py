"""Tags of streams and consumers."""

import re
from collections.abc import Mapping

from hubbub_aws import Context, OperationFunction
from hubbub_aws.arns import Arn
from hubbub_aws.protocols import Params
from hubbub_kinesis.errors import invalid_argument
from hubbub_kinesis.locating import Located, Locator
from hubbub_kinesis.state import Book

MAX_TAGS = 50

_INVALID = re.compile(r"[^\u00C0-\u1FFF\u2C00-\uD7FF\w./\-=+_ @%:]", re.ASCII)


class Tagging:
    """The actions on tags."""

    def __init__(self, book: Book, locator: Locator) -> None:
        self._book = book
        self._locate = locator

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
        stream = self._locate.stream(context, params)
        return await self._add(stream, stream.state.tags, params["Tags"])

    async def remove_tags_from_stream(self, context: Context, params: Params) -> Params:
        """Remove tags from a stream; no error for those it does not have."""
        stream = self._locate.stream(context, params)
        return await self._remove(stream, stream.state.tags, params["TagKeys"])

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
        """Add tags to a stream or consumer."""
        return await self._add(*self._find(context, params), params["Tags"])

    async def untag_resource(self, context: Context, params: Params) -> Params:
        """Remove tags from a stream or consumer."""
        return await self._remove(*self._find(context, params), params["TagKeys"])

    async def list_tags_for_resource(self, context: Context, params: Params) -> Params:
        """List the tags of a stream or consumer."""
        return {"Tags": _listed(self._find(context, params)[1])}

    def _find(self, context: Context, params: Params) -> tuple[Located, dict[str, str]]:
        arn: str = params["ResourceARN"]
        if "/consumer/" in Arn.parse(arn).resource:
            stream, consumer = self._locate.consumer(context, arn)
            return stream, consumer.tags
        stream = self._locate.stream(context, {"StreamARN": arn})
        return stream, stream.state.tags

    async def _add(self, stream: Located, tags: dict[str, str], added: Mapping[str, str]) -> Params:
        check_tags(stream.name, stream.account, tags, added)
        tags.update(added)
        await self._book.keep(stream.session, stream.name, stream.state).wait()
        return {}

    async def _remove(self, stream: Located, tags: dict[str, str], keys: list[str]) -> Params:
        for key in keys:
            tags.pop(key, None)
        await self._book.keep(stream.session, stream.name, stream.state).wait()
        return {}


def check_tags(name: str, account: str, tags: Mapping[str, str], added: Mapping[str, str]) -> None:
    """Check tags that are to be added to those there are. Raises `AwsError`."""
    texts = [*added.keys(), *added.values()]
    if any(_INVALID.search(text) for text in texts):
        raise invalid_argument(
            "Some tags contain invalid characters. Valid characters: Unicode letters, digits, "
            "white space, _ . / = + - % @ :."
        )
    failed = f"Failed to add tags to stream {name} under account {account} because"
    if any("%" in text for text in texts):
        raise invalid_argument(
            f"{failed} some tags contained illegal characters. The allowed characters are Unicode "
            "letters, white-spaces, '_',',','/','=','+','-','@',':'."
        )
    if any(key.lower().startswith("aws:") for key in added):
        raise invalid_argument(f"{failed} tag keys cannot start with 'aws:'.")
    if len(tags.keys() | added.keys()) > MAX_TAGS:
        raise invalid_argument(
            f"{failed} a given stream cannot have more than {MAX_TAGS} tags associated with it."
        )


def _listed(tags: Mapping[str, str]) -> list[Params]:
    return [{"Key": key, "Value": tags[key]} for key in sorted(tags)]
