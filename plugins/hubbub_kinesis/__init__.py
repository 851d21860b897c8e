"""Amazon Kinesis Data Streams: its streams are hubbub's streams, in JSON and CBOR."""

from hubbub_kinesis.plugin import KinesisPlugin
from hubbub_kinesis.settings import KinesisSettings

__all__ = ["KinesisPlugin", "KinesisSettings"]
