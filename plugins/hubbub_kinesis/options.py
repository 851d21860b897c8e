"""Settings of a stream: retention, encryption, monitoring, mode, sizes."""

from collections.abc import Callable, Mapping

import msgspec

from hubbub_aws import AwsError, Context, OperationFunction
from hubbub_aws.protocols import Params
from hubbub_kinesis.delivering import ChannelState
from hubbub_kinesis.describing import HOUR, MAX_HOURS, retention_hours, warm_throughput
from hubbub_kinesis.errors import (
    in_use,
    invalid_argument,
    limit_exceeded,
    validation,
)
from hubbub_kinesis.feeding import QueueState
from hubbub_kinesis.locating import Located, Locator
from hubbub_kinesis.managing import Census, check_warm_throughput
from hubbub_kinesis.readers import ReaderBook
from hubbub_kinesis.settings import KinesisSettings
from hubbub_kinesis.state import DAY, ON_DEMAND, PROVISIONED, Book

MIN_HOURS = 24
MODE_CHANGES_PER_DAY = 2
METRICS = (
    "IncomingBytes", "IncomingRecords", "OutgoingBytes", "OutgoingRecords",
    "WriteProvisionedThroughputExceeded", "ReadProvisionedThroughputExceeded",
    "IteratorAgeMilliseconds",
)  # fmt: skip


class Options:
    """The actions that change one setting of a stream."""

    def __init__(
        self, now: Callable[[], int], settings: KinesisSettings, book: Book,
        queues: ReaderBook[QueueState], channels: ReaderBook[ChannelState], locator: Locator,
    ) -> None:  # fmt: skip
        self._now = now
        self._settings = settings
        self._book = book
        self._queues = queues
        self._channels = channels
        self._locate = locator

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {
            "DecreaseStreamRetentionPeriod": self.decrease_stream_retention_period,
            "DisableEnhancedMonitoring": self.disable_enhanced_monitoring,
            "EnableEnhancedMonitoring": self.enable_enhanced_monitoring,
            "IncreaseStreamRetentionPeriod": self.increase_stream_retention_period,
            "StartStreamEncryption": self.start_stream_encryption,
            "StopStreamEncryption": self.stop_stream_encryption,
            "UpdateMaxRecordSize": self.update_max_record_size,
            "UpdateStreamMode": self.update_stream_mode,
            "UpdateStreamRecordDistributionStrategy": self.update_distribution_strategy,
            "UpdateStreamWarmThroughput": self.update_stream_warm_throughput,
        }

    async def _keep(self, stream: Located) -> None:
        delay = self._settings.update_delay
        if delay:
            stream.state.updated_at = self._now() + round(delay * 1000)
        await self._book.keep(stream.session, stream.name, stream.state).wait()

    # Retention

    async def increase_stream_retention_period(self, context: Context, params: Params) -> Params:
        """Keep records for longer."""
        stream = self._locate.active(context, params)
        hours = _check_hours(params)
        existing = retention_hours(stream)
        if hours < existing:
            raise _wrong_way(stream, hours, existing, "shorter", "Decrease")
        await self._retain(stream, hours)
        return {}

    async def decrease_stream_retention_period(self, context: Context, params: Params) -> Params:
        """Keep records for less long; what is older can't be read any more."""
        stream = self._locate.active(context, params)
        hours = _check_hours(params)
        existing = retention_hours(stream)
        if hours > existing:
            raise _wrong_way(stream, hours, existing, "longer", "Increase")
        await self._retain(stream, hours)
        return {}

    async def _retain(self, stream: Located, hours: int) -> None:
        settings = msgspec.structs.replace(stream.info.settings, retention=hours * HOUR)
        await stream.session.configure_stream(stream.name, settings)
        await self._keep(stream)

    # Encryption

    async def start_stream_encryption(self, context: Context, params: Params) -> Params:
        """Note that records are encrypted; they are kept as before."""
        stream = self._locate.active(context, params)
        _check_encryption(params)
        stream.state.encryption = "KMS"
        stream.state.key_id = params["KeyId"]
        await self._keep(stream)
        return {}

    async def stop_stream_encryption(self, context: Context, params: Params) -> Params:
        """Note that records are no longer encrypted."""
        stream = self._locate.active(context, params)
        _check_encryption(params)
        stream.state.encryption = "NONE"
        stream.state.key_id = None
        await self._keep(stream)
        return {}

    # Monitoring

    async def enable_enhanced_monitoring(self, context: Context, params: Params) -> Params:
        """Add shard-level metrics."""
        return await self._monitor(context, params, lambda now, given: now | given)

    async def disable_enhanced_monitoring(self, context: Context, params: Params) -> Params:
        """Remove shard-level metrics."""
        return await self._monitor(context, params, lambda now, given: now - given)

    async def _monitor(
        self,
        context: Context,
        params: Params,
        change: Callable[[set[str], set[str]], set[str]],
    ) -> Params:
        stream = self._locate.active(context, params)
        given = set(params["ShardLevelMetrics"])
        if "ALL" in given:
            given = set(METRICS)
        current = stream.state.metrics
        desired = change(set(current), given)
        stream.state.metrics = [metric for metric in METRICS if metric in desired]
        await self._keep(stream)
        return {
            "StreamName": stream.name,
            "StreamARN": stream.arn,
            "CurrentShardLevelMetrics": current,
            "DesiredShardLevelMetrics": stream.state.metrics,
        }

    # Mode and sizes

    async def update_stream_mode(self, context: Context, params: Params) -> Params:
        """Change between provisioned and on-demand; the shards stay as they are."""
        stream = self._locate.active(context, params)
        mode = params["StreamModeDetails"]["StreamMode"]
        warm: int | None = params.get("WarmThroughputMiBps")
        state = stream.state
        if mode == PROVISIONED and warm is not None:
            raise invalid_argument(
                "WarmThroughputMiBps can only be specified for a stream in On-Demand mode."
            )
        if warm is not None:
            check_warm_throughput(warm)
        if mode != state.mode:
            self._check_mode_change(stream, mode)
            state.mode_changes.append(self._now())
        state.mode = mode
        state.warm_throughput = warm
        if mode == PROVISIONED:
            state.distribution = "USER_PARTITION_KEY"
        await self._keep(stream)
        return {}

    def _check_mode_change(self, stream: Located, mode: str) -> None:
        realm, number = stream.session.realm, stream.info.number
        if self._queues.of_stream(realm, number) or self._channels.of_stream(realm, number):
            raise in_use(
                f"Stream {stream.name} under account {stream.account} has queues or channels, "
                "which are only supported in On-Demand mode. Delete them first."
            )
        changes = stream.state.mode_changes
        changes[:] = [when for when in changes if when > self._now() - DAY]
        if len(changes) >= MODE_CHANGES_PER_DAY:
            raise limit_exceeded(
                f"Stream {stream.name} under account {stream.account} has changed its mode "
                f"{MODE_CHANGES_PER_DAY} times in the last 24 hours, which is the limit."
            )
        limit = self._settings.on_demand_limit
        if mode == ON_DEMAND and Census(self._book).on_demand(stream.session) >= limit:
            raise limit_exceeded(
                f"This request would exceed the limit of {limit} on-demand streams for the account "
                f"{stream.account} in {stream.region}."
            )

    async def update_max_record_size(self, context: Context, params: Params) -> Params:
        """Change how large a record may be."""
        stream = self._locate.active(context, params)
        stream.state.max_record_kib = params["MaxRecordSizeInKiB"]
        await self._keep(stream)
        return {}

    async def update_distribution_strategy(self, context: Context, params: Params) -> Params:
        """Choose whether partition keys decide about shards, or nobody does."""
        stream = self._locate.active(context, params)
        strategy = params["RecordDistributionStrategy"]
        if stream.state.mode == PROVISIONED and strategy == "AUTO":
            raise invalid_argument(
                "RecordDistributionStrategy AUTO is only supported for streams in On-Demand mode."
            )
        stream.state.distribution = strategy
        # Takes effect at once: the stream is never UPDATING for it.
        await self._book.keep(stream.session, stream.name, stream.state).wait()
        return {}

    async def update_stream_warm_throughput(self, context: Context, params: Params) -> Params:
        """Note the throughput a stream should be ready for; it is ready for any."""
        stream = self._locate.on_demand(context, params)
        warm: int = params["WarmThroughputMiBps"]
        if self._book.account(stream.session.realm).committed is None:
            raise validation(
                "Warm throughput is only supported in accounts that have "
                "MinimumThroughputBillingCommitment enabled."
            )
        check_warm_throughput(warm)
        stream.state.warm_throughput = warm
        await self._keep(stream)
        return {
            "StreamARN": stream.arn,
            "StreamName": stream.name,
            "WarmThroughput": warm_throughput(stream),
        }


def _check_hours(params: Params) -> int:
    hours: int = params["RetentionPeriodHours"]
    asked = f"Requested retention period ({hours} hours) is too"
    if hours < MIN_HOURS:
        raise invalid_argument(
            f"Minimum allowed retention period is {MIN_HOURS} hours. {asked} short."
        )
    if hours > MAX_HOURS:
        raise invalid_argument(
            f"Maximum allowed retention period is {MAX_HOURS} hours. {asked} long."
        )
    return hours


def _wrong_way(stream: Located, hours: int, existing: int, relation: str, other: str) -> AwsError:
    return invalid_argument(
        f"Requested retention period ({hours} hours) for stream {stream.name} can not be "
        f"{relation} than existing retention period ({existing} hours). Use "
        f"{other}RetentionPeriod API."
    )


def _check_encryption(params: Params) -> None:
    if params["EncryptionType"] != "KMS":
        raise invalid_argument("EncryptionType must be KMS.")
