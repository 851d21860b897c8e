"""PutRecord and PutRecords."""

import secrets
from collections.abc import Callable, Mapping, Sequence

from hubbub import MAX_HASH_KEY, Message, hash_key, spell_stream
from hubbub_aws import AwsError, Context, OperationFunction
from hubbub_aws.protocols import Params, Structure
from hubbub_kinesis.errors import dry_run, invalid_argument, rate_exceeded, too_large
from hubbub_kinesis.locating import NAME, Located, Locator
from hubbub_kinesis.numbering import Numbering
from hubbub_kinesis.sequences import SequenceNumber, repeated, shard_name
from hubbub_kinesis.throttling import Throttle
from hubbub_kinesis.validating import Validators

MAX_BATCH_BYTES = 10 * 2**20
"""Bytes of one PutRecords, data and partition keys."""

MAX_BATCH = 500
MAX_PARTITION_KEY = 256
"""Characters."""

_MAX_KEY_DIGITS = 39
_COMMON = {"Records", "StreamName"}
_PLAIN = {"Data", "PartitionKey"}


class RecordResult(Structure):
    """What became of a record: the model's `PutRecordsResultEntry`."""

    sequence_number: str | None = None
    shard_id: str | None = None
    error_code: str | None = None
    error_message: str | None = None


class PutRecordsResult(Structure):
    """The model's `PutRecordsOutput`."""

    failed_record_count: int
    records: list[RecordResult]
    encryption_type: str | None = None


class PutRecordResult(Structure):
    """The model's `PutRecordOutput`."""

    shard_id: str | None
    sequence_number: str | None
    encryption_type: str | None = None


class Writing:
    """The actions that write records."""

    def __init__(
        self, now: Callable[[], int], locator: Locator, validators: Validators,
        throttle: Throttle | None,
    ) -> None:  # fmt: skip
        self._now = now
        self._locate = locator
        self._throttle = throttle
        self._checks = {
            name: (validators.keyed(name), validators.plain(name))
            for name in ("PutRecord", "PutRecords")
        }

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class, which check their parameters themselves."""
        return {"PutRecord": self.put_record, "PutRecords": self.put_records}

    def _find(self, context: Context, operation: str, params: Params) -> Located:
        """Check the parameters and find the stream; only that tells whether it needs keys."""
        if _is_common(params):
            return self._locate.usable(context, params)
        keyed, plain = self._checks[operation]
        try:
            keyed(params)
        except AwsError:
            if not self._places_by_itself(context, params):
                raise
            plain(params)
        return self._locate.usable(context, params)

    def _places_by_itself(self, context: Context, params: Params) -> bool:
        """Tell whether the stream of a request, which may be wrong, needs no partition keys."""
        try:
            return self._locate.stream(context, params).state.distribution == "AUTO"
        except (AwsError, ValueError):
            return False

    async def put_record(self, context: Context, params: Params) -> PutRecordResult:
        """Append one record."""
        stream = self._find(context, "PutRecord", params)
        after = params.get("SequenceNumberForOrdering")
        if after is not None:
            _check_ordering(stream, after, self._now())
        size = len(params["Data"]) + len(params.get("PartitionKey", "").encode())
        _check_record(stream, params, size)
        if params.get("DryRun"):
            raise dry_run()
        messages = _messages(stream, [params])
        if self._throttle is not None:
            shard = _shard_of(stream, messages[0])
            if not self._throttle.write(stream.info.number, shard, size):
                raise rate_exceeded(shard_name(shard), stream.name, stream.account)
        [result] = await self._append(stream, messages)
        return PutRecordResult(result.shard_id, result.sequence_number, stream.encryption_type)

    async def put_records(self, context: Context, params: Params) -> PutRecordsResult:
        """Append a batch; records that a shard has no room for now fail one by one."""
        stream = self._find(context, "PutRecords", params)
        entries: list[Params] = params["Records"]
        sizes = [
            len(entry["Data"]) + len(entry.get("PartitionKey", "").encode()) for entry in entries
        ]
        if max(sizes) > stream.state.max_record_kib * 1024 or max(map(len, entries)) > len(_PLAIN):
            for index, (entry, size) in enumerate(zip(entries, sizes, strict=True), 1):
                _check_record(stream, entry, size, "records.{}.member.data", index)
        if sum(sizes) > MAX_BATCH_BYTES:
            raise invalid_argument("Records size exceeds 10 MB limit")
        if params.get("DryRun"):
            raise dry_run()
        messages = _messages(stream, entries)
        if self._throttle is None:
            results = await self._append(stream, messages)
            return PutRecordsResult(0, results, stream.encryption_type)
        return await self._put_throttled(stream, messages, sizes)

    async def _put_throttled(
        self, stream: Located, messages: Sequence[Message], sizes: Sequence[int]
    ) -> PutRecordsResult:
        assert self._throttle is not None
        results = [RecordResult() for _ in messages]
        taken: list[int] = []
        for index, message in enumerate(messages):
            shard = _shard_of(stream, message)
            if self._throttle.write(stream.info.number, shard, sizes[index]):
                taken.append(index)
                continue
            error = rate_exceeded(shard_name(shard), stream.name, stream.account)
            results[index] = RecordResult(error_code=error.code, error_message=error.message)
        written = await self._append(stream, [messages[index] for index in taken])
        for index, result in zip(taken, written, strict=True):
            results[index] = result
        failed = len(messages) - len(taken)
        return PutRecordsResult(failed, results, stream.encryption_type)

    async def _append(self, stream: Located, messages: Sequence[Message]) -> list[RecordResult]:
        if not messages:
            return []
        await stream.session.ready()
        appended = stream.session.append(stream.name, messages)
        await appended.commit.wait()
        numbers = Numbering(stream.info).records(appended.records)
        return [
            RecordResult(number, shard_name(record.shard))
            for number, record in zip(numbers, appended.records, strict=True)
        ]


def _is_common(params: Params) -> bool:
    """Tell at a glance that a batch breaks no rule; most don't, and records are many.

    The length of data is checked against the stream's limit later.
    """
    entries: Sequence[Params] | None = params.get("Records")
    if not entries or len(entries) > MAX_BATCH or params.keys() - _COMMON:
        return False
    name = params.get("StreamName")
    if name is None or not NAME.fullmatch(name):
        return False
    for entry in entries:
        if len(entry) != len(_PLAIN) or "Data" not in entry:
            return False
        if not 0 < len(entry.get("PartitionKey", "")) <= MAX_PARTITION_KEY:
            return False
    return True


def _messages(stream: Located, entries: Sequence[Params]) -> list[Message]:
    address = spell_stream(stream.name)
    if stream.state.distribution == "AUTO":
        entries = [{**entry, "ExplicitHashKey": str(secrets.randbits(128))} for entry in entries]
    return [
        Message(
            address=address,
            body=entry["Data"],
            group=entry.get("PartitionKey"),
            shard_key=entry.get("ExplicitHashKey"),
        )
        for entry in entries
    ]


def _shard_of(stream: Located, message: Message) -> int:
    explicit = message.shard_key
    key = hash_key(message.group or "") if explicit is None else int(explicit)
    return next(
        shard.id
        for shard in stream.info.shards()
        if shard.closed is None and shard.starting_hash_key <= key <= shard.ending_hash_key
    )


def _check_record(
    stream: Located, entry: Params, size: int, path: str = "data", index: int = 0
) -> None:
    """Check what depends on the stream; data and partition key are the size. Raises `AwsError`."""
    limit = stream.state.max_record_kib * 1024
    if size > limit:
        raise too_large(path.format(index), limit)
    key: str | None = entry.get("ExplicitHashKey")
    if key is not None and (len(key) > _MAX_KEY_DIGITS or int(key) > MAX_HASH_KEY):
        raise invalid_argument(
            "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. "
            f"Specified value was {key}"
        )


def _check_ordering(stream: Located, given: str, now: int) -> None:
    """Check a SequenceNumberForOrdering. Later records have higher numbers in any case.

    AWS takes what could be a number that it has given, if not of this stream. Its own examples
    give "0" before the first record.
    """
    try:
        number = SequenceNumber.parse(given)
    except ValueError:
        number = None
    if number is None or number.time > now // 1000:
        raise invalid_argument(
            f"ExclusiveMinimumSequenceNumber {repeated(given)} used in PutRecord on stream "
            f"{stream.name} under account {stream.account} is invalid."
        )
