"""A consumer application as one is written against AWS's public documentation.

It works through all shards of a stream, parents before their children, and keeps a checkpoint for
each shard in a file: the sequence number of the last record it has processed.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

SHARD_END = "SHARD_END"

Process = Callable[[str, Any], None]
"""Takes a shard's id and a record."""


class Application:
    """Processes records at least once, in order within each shard, over restarts of itself."""

    def __init__(self, client: Any, stream: str, folder: Path, process: Process) -> None:
        self._client = client
        self._stream = stream
        self._file = folder / "checkpoints.json"
        self._process = process
        self.checkpoints: dict[str, str] = {}
        if self._file.exists():
            self.checkpoints = json.loads(self._file.read_text())

    def _keep(self, shard: str, checkpoint: str) -> None:
        self.checkpoints[shard] = checkpoint
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps(self.checkpoints))
        temporary.replace(self._file)

    def _ready(self) -> list[str]:
        """The shards that are not at their end, and whose parents are."""
        shards: list[Any] = []
        pages = self._client.get_paginator("list_shards").paginate(StreamName=self._stream)
        for page in pages:
            shards += page["Shards"]
        known = {shard["ShardId"] for shard in shards}

        def done(parent: str | None) -> bool:
            return (
                parent is None or parent not in known or self.checkpoints.get(parent) == SHARD_END
            )

        return [
            shard["ShardId"]
            for shard in shards
            if self.checkpoints.get(shard["ShardId"]) != SHARD_END
            and done(shard.get("ParentShardId"))
            and done(shard.get("AdjacentParentShardId"))
        ]

    def _iterator(self, shard: str) -> str:
        checkpoint = self.checkpoints.get(shard)
        start: dict[str, str] = {"ShardIteratorType": "TRIM_HORIZON"}
        if checkpoint is not None:
            start = {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "StartingSequenceNumber": checkpoint,
            }
        answer = self._client.get_shard_iterator(StreamName=self._stream, ShardId=shard, **start)
        return str(answer["ShardIterator"])

    def _work(self, shard: str, limit: int) -> bool:
        """Process what a shard has now; tell whether there was anything."""
        position: str | None = self._iterator(shard)
        worked = False
        while position is not None:
            answer = self._client.get_records(ShardIterator=position, Limit=limit)
            for record in answer["Records"]:
                self._process(shard, record)
                self._keep(shard, record["SequenceNumber"])
                worked = True
            position = answer.get("NextShardIterator")
            if position is not None and not answer["MillisBehindLatest"]:
                return worked
        self._keep(shard, SHARD_END)
        return True

    def run(self, limit: int = 100) -> None:
        """Work until no shard has anything left."""
        busy = True
        while busy:
            worked = [self._work(shard, limit) for shard in self._ready()]
            busy = any(worked)
