"""The section `[sqs]` of hubbub.toml."""

from pydantic import Field

from hubbub import Duration, Section


class SqsSettings(Section):
    """SQS."""

    deleted_name_wait: Duration = Field(
        default=0.0,
        description="How long the name of a deleted queue can't be used again; 60 seconds in AWS.",
    )
