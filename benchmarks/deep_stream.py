"""A deep stream of Kinesis: how long any place in it takes to find, and what others notice of it.

In Python, unlike the other loads: it waits for the server nearly all the time.
"""

import base64
import http.client
import json
import random
import statistics
import threading
import time
from collections.abc import Sequence
from typing import Any

from .processes import BenchmarkError

BATCH = 500
"""Records of one PutRecords, the most there may be."""
_DATE = "20260101"
_HEADERS = {
    "Content-Type": "application/x-amz-json-1.1",
    "X-Amz-Date": f"{_DATE}T000000Z",
    "Authorization": f"AWS4-HMAC-SHA256 Credential=test/{_DATE}/us-east-1/kinesis/aws4_request, "
    f"SignedHeaders=host;x-amz-date, Signature={'5d' * 32}",
}
"""With a signature of the right form, but a wrong one, as the load generator has it."""


class DeepStream:
    """A stream of one shard on the server at a port of 127.0.0.1, made by `fill`."""

    def __init__(self, port: int, size: int) -> None:
        self._port = port
        self._size = size
        self._shard = ""
        self._connection = self._connect()
        self.records = 0
        self.began = self.ended = 0.0
        """When the first and the last record were written, in seconds since the epoch."""

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def fill(self, records: int, deadline: float) -> None:
        """Write so many records.

        Raises:
            BenchmarkError: it takes longer than `deadline` seconds, or the server refuses some.
        """
        self._create()
        data = base64.b64encode(bytes(self._size)).decode()
        batch = [{"Data": data, "PartitionKey": f"p{number}"} for number in range(BATCH)]
        body = json.dumps({"StreamName": "deep", "Records": batch}).encode()
        self.began = time.time()
        limit = time.monotonic() + deadline
        while self.records < records:
            answer = _call(self._connection, "PutRecords", body)
            if json.loads(answer)["FailedRecordCount"]:
                raise BenchmarkError("records were refused")
            self.records += BATCH
            if time.monotonic() > limit:
                raise BenchmarkError(f"stored {self.records} of {records} in {deadline:.0f} s")
        self.ended = time.time()

    def find(self, count: int, limit: int) -> list[float]:
        """Read up to `limit` records from each of `count` times at random; return the seconds."""
        taken = []
        for _ in range(count):
            wanted = round(random.uniform(self.began, self.ended), 3)
            start = time.monotonic()
            answer = self._read(self._iterator("AT_TIMESTAMP", Timestamp=wanted), limit)
            taken.append(time.monotonic() - start)
            found = json.loads(answer)["Records"]
            # Between the last record and the end of the filling there is none.
            if found and found[0]["ApproximateArrivalTimestamp"] < wanted - 0.001:
                raise BenchmarkError("a record came that is older than what was asked for")
        return taken

    def scan(self, seconds: float, limit: int) -> tuple[int, list[float]]:
        """Read from the beginning on for some seconds, `limit` records at a time.

        At the end it begins again.

        Returns how many records came, and how many seconds each of the requests took that another
        client made meanwhile.
        """
        over = threading.Event()
        waits: list[float] = []
        other = threading.Thread(target=self._ask, args=(over, waits))
        other.start()
        try:
            count, iterator = 0, ""
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                answer = self._read(iterator or self._iterator("TRIM_HORIZON"), limit)
                found = answer.count(b'"PartitionKey"')  # quicker than to parse all of it
                count += found
                iterator = _value(answer, "NextShardIterator") if found else ""
        finally:
            over.set()
            other.join()
        if len(waits) < 2:
            raise BenchmarkError("the other client got no answers")
        return count, waits

    def _ask(self, over: threading.Event, waits: list[float]) -> None:
        connection = self._connect()
        body = json.dumps({"StreamName": "deep"}).encode()
        while not over.wait(0.002):
            start = time.monotonic()
            _call(connection, "DescribeStreamSummary", body)
            waits.append(time.monotonic() - start)
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)

    def _create(self) -> None:
        self._ask_for("CreateStream", StreamName="deep", ShardCount=1)
        for _ in range(100):
            described = json.loads(self._ask_for("DescribeStream", StreamName="deep"))
            description = described["StreamDescription"]
            if description["StreamStatus"] == "ACTIVE":
                self._shard = description["Shards"][0]["ShardId"]
                return
            time.sleep(0.1)
        raise BenchmarkError("a new stream does not get ACTIVE")

    def _iterator(self, kind: str, **place: float) -> str:
        answer = self._ask_for(
            "GetShardIterator", StreamName="deep", ShardId=self._shard, ShardIteratorType=kind,
            **place,
        )  # fmt: skip
        return _value(answer, "ShardIterator")

    def _read(self, iterator: str, limit: int) -> bytes:
        return self._ask_for("GetRecords", ShardIterator=iterator, Limit=limit)

    def _ask_for(self, operation: str, **parameters: Any) -> bytes:
        return _call(self._connection, operation, json.dumps(parameters).encode())


def _call(connection: http.client.HTTPConnection, operation: str, body: bytes) -> bytes:
    target = {"X-Amz-Target": f"Kinesis_20131202.{operation}"}
    try:
        connection.request("POST", "/", body, {**_HEADERS, **target})
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise BenchmarkError(f"{operation} got no answer: {error!r}") from error
    if response.status != 200:
        raise BenchmarkError(f"{operation} was answered with {answer[:300]!r}")
    return answer


def _value(answer: bytes, name: str) -> str:
    """Return a text of an answer without looking at its records."""
    _, found, rest = answer.rpartition(f'"{name}"'.encode())
    if not found:
        raise BenchmarkError(f"no {name} in {answer[:300]!r}")
    return rest.split(b'"', 2)[1].decode()


def percentile(seconds: Sequence[float], percent: int) -> float:
    """Return a percentile, in milliseconds."""
    return 1e3 * statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1]
