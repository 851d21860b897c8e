"""The section `[kinesis]` of hubbub.toml."""

from pathlib import Path

from pydantic import Field

from hubbub import Duration, Section


class KinesisSettings(Section):
    """Kinesis Data Streams."""

    create_delay: Duration = Field(
        default=0.0,
        description="How long a new stream or consumer is CREATING. Some clients never wait for "
        "ACTIVE, which works with 0.",
    )
    update_delay: Duration = Field(
        default=0.0,
        description="How long a stream is UPDATING after a change. The change itself takes effect "
        "at once.",
    )
    delete_delay: Duration = Field(
        default=0.0, description="How long a stream or consumer is DELETING before it is gone."
    )
    throttle: bool = Field(
        default=False,
        description="Whether each shard takes and gives no more than in AWS: 1,000 records and "
        "1 MiB written, 5 reads and 2 MiB read a second.",
    )
    shard_limit: int = Field(
        default=20_000,
        ge=1,
        description="Open shards that the provisioned streams of an account may have together.",
    )
    on_demand_limit: int = Field(
        default=50, ge=1, description="On-demand streams that an account may have."
    )
    buckets: Path | None = Field(
        default=None,
        description="Folder that stands for Amazon S3: channels write their objects there, as "
        "BUCKET/KEY. Default: s3 in the data folder.",
    )
    channel_interval: Duration | None = Field(
        default=None,
        description="How often channels deliver, in place of their DataFreshnessInSeconds, which "
        "is 300 at least.",
    )
    channel_limit: int = Field(
        default=20, ge=1, description="Channels that an account may have in a region."
    )
