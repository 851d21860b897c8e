"""Shards: listed, split, merged, and scaled to another number."""

from collections.abc import Callable, Mapping

import trio

from hubbub import Session, ShardInfo, StreamError
from hubbub_aws import AwsError, Context, OperationFunction
from hubbub_aws.protocols import Params
from hubbub_kinesis.describing import describe_shard
from hubbub_kinesis.errors import in_use, invalid_argument, limit_exceeded, shard_limit
from hubbub_kinesis.locating import (
    Located,
    Locator,
    check_created,
    find_shards,
    read_shard,
)
from hubbub_kinesis.managing import STREAM_SHARD_LIMIT, Census
from hubbub_kinesis.pages import Token, page
from hubbub_kinesis.scaling import Split, plan
from hubbub_kinesis.sequences import parse_shard, shard_name
from hubbub_kinesis.settings import KinesisSettings
from hubbub_kinesis.state import DAY, ON_DEMAND, Book

SCALINGS_PER_DAY = 10

_PAGE = 1000
_NEVER = 2**62


class Sharding:
    """The actions on shards."""

    def __init__(
        self, now: Callable[[], int], settings: KinesisSettings, book: Book, locator: Locator
    ) -> None:
        self._now = now
        self._settings = settings
        self._book = book
        self._locate = locator
        self._census = Census(book)

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {
            "ListShards": self.list_shards,
            "MergeShards": self.merge_shards,
            "SplitShard": self.split_shard,
            "UpdateShardCount": self.update_shard_count,
        }

    # Lists

    async def list_shards(self, context: Context, params: Params) -> Params:
        """List the shards of a stream that a filter chooses, in pages."""
        given = params.get("NextToken")
        named = params.get("StreamName") or params.get("StreamARN")
        if given is None:
            if named is None:
                raise invalid_argument("Either NextToken or StreamName should be provided.")
            stream = self._locate.stream(context, params)
            shard_filter: Params = params.get("ShardFilter") or {}
            after = _shard_after(params.get("ExclusiveStartShardId"), "ExclusiveStartShardId")
            check_created(stream, params)
        else:
            if named is not None:
                raise invalid_argument("NextToken and StreamName cannot be provided together.")
            token = Token.decode(given, self._now())
            name, _, account = token.of.removeprefix("shards ").partition(" ")
            if not token.of.startswith("shards "):
                raise invalid_argument("Invalid NextToken.")
            stream = self._locate.named(context, name, account, context.region)
            shard_filter = dict(token.details)
            after = token.last
        chosen = _filter(stream, shard_filter, self._now())
        found, last = page(
            chosen, params.get("MaxResults", _PAGE), lambda shard: shard_name(shard.id), after
        )
        result: Params = {"Shards": [describe_shard(stream.info, shard) for shard in found]}
        if last is not None:
            listed = f"shards {stream.name} {stream.account}"
            result["NextToken"] = Token(self._now(), listed, last, dict(shard_filter)).encode()
        return result

    # Changes

    async def split_shard(self, context: Context, params: Params) -> Params:
        """Split a shard in two."""
        stream, [shard] = self._of_shards(context, params, "ShardToSplit")
        self._locate.check_active(stream)
        _check_provisioned(stream)
        at = int(params["NewStartingHashKey"])
        start, end = shard.starting_hash_key, shard.ending_hash_key
        if not start + 1 < at < end:
            raise invalid_argument(
                f"NewStartingHashKey {at} used in SplitShard() on shard {shard_name(shard.id)} in "
                f"stream {stream.name} under account {stream.account} is not both greater than one "
                f"plus the shard's StartingHashKey {start} and less than the shard's EndingHashKey "
                f"{end}."
            )
        _check_open(stream, shard)
        self._check_room(stream, 1)
        try:
            _, commit = await stream.session.split_shard(stream.name, shard.id, at)
        except StreamError as error:
            raise limit_exceeded(str(error)) from error
        self._updating(stream)
        await commit.wait()
        return {}

    async def merge_shards(self, context: Context, params: Params) -> Params:
        """Merge two adjacent shards."""
        members = ("ShardToMerge", "AdjacentShardToMerge")
        stream, [first, second] = self._of_shards(context, params, *members)
        self._locate.check_active(stream)
        _check_provisioned(stream)
        if first.ending_hash_key + 1 != second.starting_hash_key:  # the other way round won't do
            raise invalid_argument(
                f"Shards {shard_name(first.id)} and {shard_name(second.id)} in stream "
                f"{stream.name} under account {stream.account} are not an adjacent pair of shards "
                "eligible for merging"
            )
        _check_open(stream, first)
        _check_open(stream, second)
        _, commit = await stream.session.merge_shards(stream.name, first.id, second.id)
        self._updating(stream)
        await commit.wait()
        return {}

    async def update_shard_count(self, context: Context, params: Params) -> Params:
        """Split and merge shards until there are so many, of equal size."""
        stream = self._locate.active(context, params)
        _check_provisioned(stream)
        target: int = params["TargetShardCount"]
        current = len(stream.open_shards())
        self._check_scaling(stream, current, target)
        stream.state.updated_at = _NEVER  # nobody else changes it meanwhile
        try:
            await _scale(stream, target)
        finally:
            stream.state.updated_at = 0
        stream.state.scalings.append(self._now())
        self._updating(stream)
        await self._book.keep(stream.session, stream.name, stream.state).wait()
        return {
            "StreamName": stream.name,
            "StreamARN": stream.arn,
            "CurrentShardCount": current,
            "TargetShardCount": target,
        }

    def _of_shards(
        self, context: Context, params: Params, *members: str
    ) -> tuple[Located, list[ShardInfo]]:
        """Find a stream and its shards; what is no shard's id is told before the stream's lack."""
        given = [params[member] for member in members]
        name = params.get("StreamName")
        if name is not None:
            for each in given:
                read_shard(each, name, context.account)
        stream = self._locate.stream(context, params)
        return stream, find_shards(stream, *given)

    def _check_scaling(self, stream: Located, current: int, target: int) -> None:
        counts = f"Current open shard count: {current}, Target shard count: {target}"
        if target > STREAM_SHARD_LIMIT:
            raise limit_exceeded(
                "Target shard count or number of open shards cannot be greater than "
                f"{STREAM_SHARD_LIMIT}. {counts}"
            )
        if target > 2 * current:
            raise limit_exceeded(
                "UpdateShardCount cannot scale up over double your current open shard count. "
                f"{counts}"
            )
        if 2 * target < current:
            raise limit_exceeded(
                "UpdateShardCount cannot scale down below half your current open shard count. "
                f"{counts}"
            )
        if target > current:
            self._check_room(stream, target - current)
        stream.state.scalings[:] = [
            when for when in stream.state.scalings if when > self._now() - DAY
        ]
        if len(stream.state.scalings) >= SCALINGS_PER_DAY:
            raise limit_exceeded(
                f"UpdateShardCount cannot be called more than {SCALINGS_PER_DAY} times in a "
                f"rolling 24-hour period on stream {stream.name} under account {stream.account}."
            )

    def _check_room(self, stream: Located, added: int) -> None:
        current, limit = self._census.shards(stream.session), self._settings.shard_limit
        if current + added > limit:
            raise shard_limit(stream.account, stream.region, current, limit, added)

    def _updating(self, stream: Located) -> None:
        delay = self._settings.update_delay
        if delay:
            stream.state.updated_at = self._now() + round(delay * 1000)
            self._book.keep(stream.session, stream.name, stream.state)


async def _scale(stream: Located, target: int) -> None:
    shards = {shard.starting_hash_key: shard.id for shard in stream.open_shards()}
    session: Session = stream.session
    for step in plan(sorted(shards), target):
        if isinstance(step, Split):
            change, _ = await session.split_shard(stream.name, shards[step.shard], step.at)
        else:
            change, _ = await session.merge_shards(
                stream.name, shards[step.shard], shards.pop(step.other)
            )
        await trio.lowlevel.checkpoint()  # there may be thousands of steps
        for opened in change.opened:
            shards[opened.starting_hash_key] = opened.id
    await session.commit().wait()


def _check_provisioned(stream: Located) -> None:
    if stream.state.mode == ON_DEMAND:
        raise AwsError(
            "ValidationException",
            f"Request is invalid. Stream {stream.name} under account {stream.account} is in "
            "On-Demand mode.",
        )


def _check_open(stream: Located, shard: ShardInfo) -> None:
    if shard.closed is not None:
        raise in_use(
            f"Shard {shard_name(shard.id)} in stream {stream.name} under account {stream.account} "
            "has already been merged or split, and thus is not eligible for merging or splitting."
        )


def _shard_after(given: str | None, member: str) -> str | None:
    if given is None:
        return None
    try:
        return shard_name(parse_shard(given))
    except ValueError:
        raise invalid_argument(f"{member} {given} is not valid.") from None


def _filter(stream: Located, wanted: Params, now: int) -> list[ShardInfo]:
    """Return the shards that a ShardFilter chooses. Raises `AwsError`."""
    shards = stream.info.shards()
    kind: str | None = wanted.get("Type")
    if kind is None:
        return shards
    if kind == "AFTER_SHARD_ID":
        if wanted.get("ShardId") is None:
            raise invalid_argument("ShardId must be specified with the AFTER_SHARD_ID filter.")
        after = _shard_after(wanted["ShardId"], "ShardId")
        assert after is not None
        return [shard for shard in shards if shard_name(shard.id) > after]
    if kind == "AT_LATEST":
        return [shard for shard in shards if shard.closed is None]
    retention = stream.info.settings.retention
    when = stream.info.created
    if retention is not None:
        when = max(when, now - retention)
    if kind.endswith("_TIMESTAMP"):
        timestamp = wanted.get("Timestamp")
        if timestamp is None:
            raise invalid_argument(f"Timestamp must be specified with the {kind} filter.")
        when = max(when, round(timestamp * 1000))
    lasting = [shard for shard in shards if shard.closed is None or shard.closed > when]
    if kind.startswith("FROM_"):
        return lasting
    return [shard for shard in lasting if shard.opened <= when]
