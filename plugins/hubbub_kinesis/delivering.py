"""Channels at work: each writes the records of its stream as objects, into a folder per bucket.

How far a channel is, is kept after each object. The key of an object comes from its first record,
so one that is written again after a crash takes the place of the former.
"""

import base64
import gzip
import os
import secrets
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec
import trio

from hubbub import OwnSessions, Record
from hubbub_kinesis.following import Follower
from hubbub_kinesis.locating import Located, Locator
from hubbub_kinesis.numbering import Numbering
from hubbub_kinesis.object_keys import Object, make_key
from hubbub_kinesis.readers import ReaderBook, Readers, ReaderState
from hubbub_kinesis.reading import count_lost
from hubbub_kinesis.settings import KinesisSettings
from hubbub_kinesis.state import Book

if TYPE_CHECKING:
    from hubbub import Hub

OBJECT_RECORDS = 10_000
OBJECT_BYTES = 16 * 2**20
"""Bytes of records in one object."""
RecordFormat = Literal["JSON", "STRING", "BYTE_ARRAY"]
Compression = Literal["NONE", "GZIP", "ZSTD"]
_EXTENSIONS = {"JSON": ".json", "STRING": ".txt", "BYTE_ARRAY": ".bin"}
_COMPRESSED = {"NONE": "", "GZIP": ".gz", "ZSTD": ".zst"}


class ChannelState(ReaderState, kw_only=True, omit_defaults=True):
    """A channel from a stream to a bucket.

    * `bucket`, `error_bucket`: names. `template`: of keys; `error_prefix`: of keys of records that
      could not be delivered. `freshness`: in seconds.
    * `storage`, `errors`, `encryption`, `logging`: as they were asked for, or AWS's defaults.
    * `delivered_at`: until when it has delivered, in milliseconds since the epoch.
    """

    kind: ClassVar[str] = "channel"

    role: str
    format: RecordFormat
    bucket: str
    compression: Compression
    template: str
    error_bucket: str
    error_prefix: str
    storage: dict[str, Any]
    errors: dict[str, Any]
    encryption: dict[str, Any] = msgspec.field(default_factory=dict)
    logging: dict[str, Any]
    freshness: int = 300
    delivered_at: int = 0


class Deliverers(Readers[ChannelState]):
    """The tasks that deliver the channels of one hub."""

    def __init__(
        self, hub: "Hub", settings: KinesisSettings, sessions: OwnSessions, streams: Book,
        book: ReaderBook[ChannelState], locator: Locator,
    ) -> None:  # fmt: skip
        super().__init__(hub, sessions, streams, book, locator)
        self._folder = settings.buckets or hub.config.hub.data / "s3"
        self._interval = settings.channel_interval

    async def step(self, state: ChannelState, stream: Located, follower: Follower) -> None:
        """Wait until it is time, then deliver all there is."""
        now = self.now()
        interval = state.freshness if self._interval is None else self._interval
        due = max(state.delivered_at, state.active_at) + round(interval * 1000)
        if state.gone_at is not None:
            due = state.gone_at
        if now < due:
            with self.until_changed(state, (due - now) / 1000):
                await trio.sleep_forever()
            return
        if state.gone_at is not None:
            return
        session = self.session(state)
        while records := await follower.read(OBJECT_RECORDS, OBJECT_BYTES):
            await self._deliver(state, stream, records)
            await self.book.keep_cursor(session, state, follower.cursor).wait()
        state.delivered_at = self.now()

    async def _deliver(
        self, channel: ChannelState, stream: Located, records: Sequence[Record]
    ) -> None:
        """Write an object, and another one of the records that can't be in it."""
        session = self.session(channel)
        count_lost(session, records)
        good: list[bytes] = []
        bad: list[bytes] = []
        for record in records:
            message = record.message
            problem = _problem(channel.format, message.body)
            if problem is None:
                good.append(message.body)
            else:
                bad.append(_error(stream, record, problem))
        suffix = f"{records[0].shard:04d}-{records[0].sequence:016d}"
        about = Object(
            channel.name, channel.id, channel.stream, records[0].arrived,
            _EXTENSIONS[channel.format] + _COMPRESSED[channel.compression],
        )  # fmt: skip
        key = make_key(channel.template, about, suffix)
        if good:
            content = b"".join(good) if channel.format == "BYTE_ARRAY" else _lines(good)
            await self._write(channel.bucket, key, content, channel.compression)
        if bad:
            error_key = f"{channel.error_prefix}{key}"
            await self._write(channel.error_bucket, error_key, _lines(bad), channel.compression)
            session.lossy("record format", len(bad))
        if channel.logging["CloudWatchLogs"]["Enabled"]:
            self.hub.log.info(
                "kinesis channel delivered", channel=channel.arn, bucket=channel.bucket, key=key,
                records=len(good), failed=len(bad),
            )  # fmt: skip

    async def _write(self, bucket: str, key: str, content: bytes, compression: Compression) -> None:
        path = self._folder / bucket / key
        await trio.to_thread.run_sync(partial(_write, path, content, compression))


def _lines(parts: Sequence[bytes]) -> bytes:
    return b"".join(part if part.endswith(b"\n") else part + b"\n" for part in parts)


def _problem(format_: RecordFormat, body: bytes) -> str | None:
    """Return why a record is not of the channel's format; None if it is."""
    try:
        if format_ == "JSON":
            msgspec.json.decode(body)
        elif format_ == "STRING":
            body.decode()
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return str(error)
    return None


def _error(stream: Located, record: Record, problem: str) -> bytes:
    """Return a record that could not be delivered, as Firehose writes such."""
    return msgspec.json.encode(
        {
            "attemptsMade": 1,
            "arrivalTimestamp": record.arrived,
            "errorCode": "InvalidRecordFormat",
            "errorMessage": problem,
            "rawData": base64.b64encode(record.message.body).decode("ascii"),
            "partitionKey": record.partition_key,
            "sequenceNumber": Numbering(stream.info).records([record])[0],
        }
    )


def can_compress(compression: Compression) -> bool:
    """Tell whether this Python has what a compression needs."""
    if compression != "ZSTD":
        return True
    try:
        import zstandard  # noqa: F401, PLC0415 - installed where somebody wants it
    except ImportError:
        return False
    return True


def _compress(content: bytes, compression: Compression) -> bytes:
    if compression == "GZIP":
        return gzip.compress(content, mtime=0)
    if compression == "ZSTD":
        import zstandard  # noqa: PLC0415 - as above

        compressed: bytes = zstandard.ZstdCompressor().compress(content)
        return compressed
    return content


def _write(path: Path, content: bytes, compression: Compression) -> None:
    """Write an object: on disk when this returns, and never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with temporary.open("wb") as file:
        file.write(_compress(content, compression))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
