"""Channels: created, described, listed, changed, deleted."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from hubbub_aws import Context, OperationFunction
from hubbub_aws.protocols import Params
from hubbub_kinesis.delivering import ChannelState, Deliverers, can_compress
from hubbub_kinesis.errors import (
    in_use,
    invalid_argument,
    limit_exceeded,
    validation,
)
from hubbub_kinesis.following import begin
from hubbub_kinesis.locating import Locator
from hubbub_kinesis.object_keys import DEFAULT, check_template
from hubbub_kinesis.pages import named_page
from hubbub_kinesis.readers import only_stream
from hubbub_kinesis.settings import KinesisSettings
from hubbub_kinesis.state import Status
from hubbub_kinesis.tags import check_tags

MIN_FRESHNESS, MAX_FRESHNESS, DEFAULT_FRESHNESS = 300, 900, 300
"""Seconds."""
MAX_PAGE = 100
_ERROR_PREFIX = "kinesis-channel-errors/"


class Channels:
    """The actions on channels."""

    def __init__(
        self, now: Callable[[], int], settings: KinesisSettings, locator: Locator,
        deliverers: Deliverers,
    ) -> None:  # fmt: skip
        self._now = now
        self._settings = settings
        self._locate = locator
        self._deliverers = deliverers

    def operations(self) -> Mapping[str, OperationFunction]:
        """Return the actions of this class."""
        return {
            "CreateChannel": self.create_channel,
            "DeleteChannel": self.delete_channel,
            "DescribeChannel": self.describe_channel,
            "ListChannels": self.list_channels,
            "UpdateChannel": self.update_channel,
        }

    async def create_channel(self, context: Context, params: Params) -> Params:
        """Create a channel, which delivers what is written to its stream from now on."""
        name: str = params["ChannelName"]
        destination = _destination(params)
        configuration = only_stream(params)
        format_ = _record_format(configuration["RecordConfiguration"])
        stream = self._locate.on_demand(context, configuration)
        if self._deliverers.named(context.account, context.region, name) is not None:
            raise in_use(f"Channel {name} under account {context.account} already exists.")
        book = self._deliverers.book
        count = len(book.of_account(context.account, context.region))
        if count >= self._settings.channel_limit:
            raise limit_exceeded(
                f"Account {context.account} has {count} channels in {context.region}. Limit: "
                f"{self._settings.channel_limit}."
            )
        tags: dict[str, str] = dict(params.get("Tags") or {})
        check_tags(stream.name, stream.account, {}, tags)
        storage = _storage(destination["StorageConfiguration"])
        errors = _errors(destination.get("DeadLetterQueueS3Configuration"), storage)
        now, id_ = self._now(), uuid.uuid4().hex
        channel = ChannelState(
            id=id_, name=name, realm=stream.session.realm, account=context.account,
            region=context.region, stream=stream.name, number=stream.info.number, created=now,
            tags=tags, role=params["ServiceExecutionRoleARN"], format=format_,
            bucket=_bucket(storage), compression=storage["CompressionType"],
            template=storage.get("OutputKeyTemplate", DEFAULT), error_bucket=_bucket(errors),
            error_prefix=errors["ErrorOutputPrefix"], storage=storage, errors=errors,
            encryption=dict(params.get("EncryptionConfiguration") or {}),
            logging=_logging(params.get("LoggingConfiguration"), name, id_),
            freshness=_freshness(destination), delivered_at=now,
        )  # fmt: skip
        if self._settings.create_delay:
            channel.active_at = now + round(self._settings.create_delay * 1000)
        session = self._deliverers.session(channel)
        book.keep_cursor(session, channel, await begin(stream.info, "LATEST", None))
        commit = self._deliverers.keep(channel)
        self._deliverers.start(channel)
        await commit.wait()
        return {"ChannelDescription": self._describe(channel)}

    async def describe_channel(self, context: Context, params: Params) -> Params:
        """Describe a channel."""
        channel = self._deliverers.locate(context, params["ChannelARN"])
        return {"ChannelDescription": self._describe(channel)}

    async def list_channels(self, context: Context, params: Params) -> Params:
        """List the channels of the caller in its region, or those of some streams, in pages."""
        mine = self._deliverers.chosen(context, params.get("StreamFilter"))
        limit = min(params.get("MaxResults", MAX_PAGE), MAX_PAGE)
        listed = f"channels {context.account} {context.region}"
        found, more = named_page(mine, limit, listed, params, self._now())
        return {"ChannelSummaries": [self._summary(each) for each in found], **more}

    async def update_channel(self, context: Context, params: Params) -> Params:
        """Change how often a channel delivers, or whether it logs that."""
        channel = self._deliverers.locate(context, params["ChannelARN"])
        status = channel.status(self._now())
        if status is not Status.ACTIVE:
            raise in_use(f"Channel {channel.arn} is not ACTIVE, instead in state {status}")
        if "S3TablesDestinationConfiguration" in params:
            raise invalid_argument(
                "S3TablesDestinationConfiguration is not that of a channel to an Amazon S3 bucket."
            )
        destination = params.get("S3DestinationConfiguration")
        logging = params.get("LoggingConfiguration")
        if destination is None and logging is None:
            raise validation("S3DestinationConfiguration or LoggingConfiguration is required.")
        if destination is not None:
            channel.freshness = _freshness(destination)
        if logging is not None:
            channel.logging = _logging(logging, channel.name, channel.id)
        if self._settings.update_delay:
            channel.updated_at = self._now() + round(self._settings.update_delay * 1000)
        await self._deliverers.keep(channel).wait()
        self._deliverers.changed(channel)
        return {"ChannelDescription": self._describe(channel)}

    async def delete_channel(self, context: Context, params: Params) -> Params:
        """Delete a channel, after the delay that is set; what it has delivered stays."""
        channel = self._deliverers.locate(context, params["ChannelARN"])
        await self._deliverers.delete(channel, self._settings.delete_delay)
        return {}

    # describing

    def _describe(self, channel: ChannelState) -> Params:
        stream = self._deliverers.stream(channel)
        assert stream is not None
        result: Params = {
            "ChannelName": channel.name,
            "ChannelARN": channel.arn,
            "ChannelId": channel.id,
            "ChannelStatus": str(channel.status(self._now())),
            "ChannelCreationTimestamp": channel.created / 1000,
            "ServiceExecutionRoleARN": channel.role,
            "StreamConfigurationList": [
                {
                    "StreamARN": stream.arn,
                    "StreamCreationTimestamp": stream.info.created / 1000,
                    "RecordConfiguration": {"RecordFormatType": channel.format},
                }
            ],
            "S3DestinationConfiguration": {
                "DataFreshnessInSeconds": channel.freshness,
                "DeadLetterQueueS3Configuration": channel.errors,
                "StorageConfiguration": channel.storage,
            },
            "LoggingConfiguration": channel.logging,
        }
        if channel.encryption:
            result["EncryptionConfiguration"] = channel.encryption
        return result

    def _summary(self, channel: ChannelState) -> Params:
        stream = self._deliverers.stream(channel)
        assert stream is not None
        return {
            "ChannelName": channel.name,
            "ChannelARN": channel.arn,
            "ChannelId": channel.id,
            "ChannelStatus": str(channel.status(self._now())),
            "ChannelCreationTimestamp": channel.created / 1000,
            "ChannelDestinationType": "S3",
            "Streams": [
                {
                    "StreamARN": stream.arn,
                    "StreamCreationTimestamp": stream.info.created / 1000,
                }
            ],
        }


def _destination(params: Params) -> Params:
    """Return where a channel leads: to a bucket. Raises `AwsError`."""
    bucket: Params | None = params.get("S3DestinationConfiguration")
    tables = params.get("S3TablesDestinationConfiguration")
    if (bucket is None) == (tables is None):
        raise validation(
            "Specify either S3DestinationConfiguration or S3TablesDestinationConfiguration, but "
            "not both."
        )
    if bucket is None:
        raise invalid_argument(
            "Streaming tables (S3TablesDestinationConfiguration) are not served here. Use "
            "S3DestinationConfiguration, whose objects are written to a local folder."
        )
    return bucket


def _record_format(configuration: Params) -> Any:
    format_ = configuration["RecordFormatType"]
    if format_ == "GSR_JSON" or configuration.get("GSRSchemaARN") is not None:
        raise invalid_argument(
            "Schemas (GSR_JSON, GSRSchemaARN) are only supported for streaming table destinations."
        )
    return format_


def _freshness(destination: Params) -> int:
    seconds: int = destination.get("DataFreshnessInSeconds", DEFAULT_FRESHNESS)
    if not MIN_FRESHNESS <= seconds <= MAX_FRESHNESS:
        raise invalid_argument(
            f"DataFreshnessInSeconds must be between {MIN_FRESHNESS} and {MAX_FRESHNESS}."
        )
    return seconds


def _storage(given: Params) -> dict[str, Any]:
    if not can_compress(given["CompressionType"]):
        raise invalid_argument(
            "CompressionType ZSTD needs the Python package zstandard, which is not installed here."
        )
    template = given.get("OutputKeyTemplate")
    if template is not None:
        try:
            check_template(template)
        except ValueError as error:
            raise invalid_argument(f"OutputKeyTemplate is not valid: {error}.") from None
    return {"StorageClass": "STANDARD", **given}


def _errors(given: Params | None, storage: Params) -> dict[str, Any]:
    if given is None:
        given = {name: storage[name] for name in ("BucketARN", "ExpectedBucketOwner")}
    prefix: str = given.get("ErrorOutputPrefix", _ERROR_PREFIX)
    if prefix.startswith("/") or any(part in {".", ".."} for part in prefix.split("/")):
        raise invalid_argument("ErrorOutputPrefix must not begin with /, nor have parts . or ..")
    return {**given, "ErrorOutputPrefix": prefix}


def _bucket(configuration: Params) -> str:
    name = str(configuration["BucketARN"]).rpartition(":")[2]
    if name.strip(".") == "":
        raise invalid_argument("BucketARN does not name a bucket.")
    return name


def _logging(given: Params | None, name: str, id_: str) -> dict[str, Any]:
    logs: dict[str, Any] = {"Enabled": False, **((given or {}).get("CloudWatchLogs") or {})}
    if logs["Enabled"]:
        logs.setdefault("LogGroupName", f"/aws/kinesis/{name}/{id_}")
        logs.setdefault("LogStreamName", "DestinationDelivery")
    return {"CloudWatchLogs": logs}
