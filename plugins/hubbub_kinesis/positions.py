"""Where a reader begins: from the words of a request to a position in a shard."""

from typing import NamedTuple

from hubbub import NoSuchShardError, Position, ShardInfo
from hubbub_aws.protocols import Params
from hubbub_kinesis.errors import invalid_argument, shard_does_not_exist
from hubbub_kinesis.locating import Located
from hubbub_kinesis.numbering import Numbering
from hubbub_kinesis.sequences import SequenceNumber, repeated, shard_name

_BY_NUMBER = ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER")
_RULES = (
    "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and "
    "StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. "
)


class Start(NamedTuple):
    """Where to begin, as a request says. `timestamp` is in seconds."""

    kind: str
    sequence: str | None
    timestamp: float | None
    operation: str

    @classmethod
    def of_iterator(cls, params: Params) -> "Start":
        """What GetShardIterator asks for."""
        return cls(
            params["ShardIteratorType"],
            params.get("StartingSequenceNumber"),
            params.get("Timestamp"),
            "GetShardIterator",
        )

    @classmethod
    def of_subscription(cls, position: Params) -> "Start":
        """What SubscribeToShard asks for."""
        return cls(
            position["Type"],
            position.get("SequenceNumber"),
            position.get("Timestamp"),
            "SubscribeToShard",
        )

    async def find(self, stream: Located, shard: ShardInfo, now: int) -> Position:
        """Return the position. Raises `AwsError`."""
        if self.kind in _BY_NUMBER:
            if self.sequence is None:
                raise invalid_argument(
                    f"{_RULES}Request specified {self.kind} and no StartingSequenceNumber."
                )
            return self._at_number(stream, shard, self.sequence)
        if self.sequence is not None:
            raise invalid_argument(
                f"{_RULES}Request specified {self.kind} and also a StartingSequenceNumber."
            )
        if self.kind == "AT_TIMESTAMP":
            return await self._at_time(stream, shard, now)
        if self.kind == "LATEST":
            return stream.info.latest(shard.id)
        return stream.info.oldest(shard.id)

    async def _at_time(self, stream: Located, shard: ShardInfo, now: int) -> Position:
        if self.timestamp is None:
            raise invalid_argument(
                "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. "
                "Current request has no timestamp parameter."
            )
        wanted = round(self.timestamp * 1000)
        if wanted > now:
            raise invalid_argument(
                "The timestampInMillis parameter cannot be greater than the "
                f"currentTimestampInMillis. timestampInMillis: {wanted}, "
                f"currentTimestampInMillis: {now}"
            )
        try:
            return await stream.info.at_timestamp(shard.id, wanted)
        except NoSuchShardError:  # gone while it was looked at
            name = shard_name(shard.id)
            raise shard_does_not_exist(name, stream.name, stream.account) from None

    def _at_number(self, stream: Located, shard: ShardInfo, given: str) -> Position:
        used = (
            f"StartingSequenceNumber {repeated(given)} used in {self.operation} on shard "
            f"{shard_name(shard.id)} in stream {stream.name} under account {stream.account} is "
            "invalid"
        )
        try:
            number = SequenceNumber.parse(given)
        except ValueError:
            raise invalid_argument(f"{used}.") from None
        if number.shard != shard.id:
            raise invalid_argument(
                f"Invalid StartingSequenceNumber. It encodes {shard_name(number.shard)}, while it "
                f"was used in a call to a shard with {shard_name(shard.id)}"
            )
        sequence = Numbering(stream.info).sequence(number)
        if sequence is None or sequence > stream.info.latest(shard.id).sequence:
            raise invalid_argument(f"{used} because it did not come from this stream.")
        if sequence < shard.starting_sequence:
            return Position(shard.id, shard.starting_sequence, inclusive=True)
        inclusive = self.kind == "AT_SEQUENCE_NUMBER" and not number.after
        return Position(shard.id, sequence, inclusive)
