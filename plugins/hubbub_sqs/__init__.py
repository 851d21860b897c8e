"""Amazon SQS: its queues are hubbub's queues, in JSON and Query, to the letter."""

from hubbub_sqs.plugin import SqsPlugin
from hubbub_sqs.settings import SqsSettings

__all__ = ["SqsPlugin", "SqsSettings"]
