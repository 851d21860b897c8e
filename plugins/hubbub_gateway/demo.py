"""Scenes of `hubbub demo`: httpx, by itself and with clients of other protocols."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import trio

from hubbub import Hub, Scene

from .websocket.demo import scenes as websocket_scenes

if TYPE_CHECKING:
    import httpx

_WAIT = 10.0
"""Seconds until something that should have come has not."""
Say = Callable[[str], None]


def scenes(hub: Hub) -> Iterator[Scene]:
    """Yield what can be played with the clients that are installed."""
    urls = {endpoint.protocol: endpoint.url for endpoint in hub.endpoints}
    url = urls.get("HTTP")
    if url is None:
        return

    async def topic(say: Say) -> None:
        await _play_topic(url, say)

    yield Scene("A topic by Server-Sent Events, a queue by REST (httpx)", topic)
    if find_spec("boto3") is not None and "SQS" in urls:

        async def worker(say: Say) -> None:
            await _play_worker(url, urls["SQS"], say)

        yield Scene("A web shop posts an order, a boto3 worker takes it", worker)
    yield from websocket_scenes(urls)


async def _play_topic(url: str, say: Say) -> None:
    async with _client(url) as client:
        async with _events(client, "/topics/shop/%23") as events:
            await _done(client.post("/topics/shop/door", content="open"))
            say("door    -> POST /topics/shop/door           'open'")
            message = await anext(events)
            Scene.expect((message["address"], message["body"]), ("shop/door", "open"))
            say("page    <- event of shop/#                  'open'")
        fields = {"Hubbub-Header-table": "4"}
        await _done(client.post("/queues/kitchen/messages", content="one pizza", headers=fields))
        say("waiter  -> POST /queues/kitchen/messages    'one pizza', header table=4")
        answer = await _done(client.get("/queues/kitchen/messages", params={"wait": _WAIT}))
        (message,) = answer.json()["messages"]
        Scene.expect((message["body"], message["headers"]), ("one pizza", {"table": "4"}))
        await _done(client.delete(f"/queues/kitchen/messages/{message['lease']}"))
        say("kitchen <- GET /queues/kitchen/messages     'one pizza', table=4; DELETE accepts it")


async def _play_worker(url: str, sqs_url: str, say: Say) -> None:
    async with _client(url) as client:
        await _done(client.post("/queues/web-orders/messages", json={"item": "tea"}))
        say('shop    -> POST /queues/web-orders/messages {"item": "tea"}')
        body, kind = await trio.to_thread.run_sync(_take_by_boto3, sqs_url)
        Scene.expect((json.loads(body), kind), ({"item": "tea"}, "application/json"))
        say("worker  <- SQS queue web-orders             the same, with its content type")


def _take_by_boto3(url: str) -> tuple[str, str]:
    import boto3  # noqa: PLC0415 - only if it is installed
    from botocore.config import Config  # noqa: PLC0415

    sqs: Any = boto3.client(
        "sqs",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="demo",
        aws_secret_access_key="demo",  # noqa: S106 - nobody verifies it
        config=Config(retries={"max_attempts": 0}),
    )
    queue = sqs.get_queue_url(QueueName="web-orders")["QueueUrl"]
    (message,) = sqs.receive_message(
        QueueUrl=queue, WaitTimeSeconds=5, MessageAttributeNames=["All"]
    )["Messages"]
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    kind = message["MessageAttributes"]["hubbub.content-type"]["StringValue"]
    sqs.close()
    return message["Body"], kind


def _client(url: str) -> httpx.AsyncClient:
    import httpx  # noqa: PLC0415 - takes long, and is for the demo only

    return httpx.AsyncClient(base_url=url, timeout=_WAIT)


@asynccontextmanager
async def _events(client: httpx.AsyncClient, path: str) -> AsyncIterator[AsyncIterator[Any]]:
    """Subscribe; inside the context it is done."""
    headers = {"Accept": "text/event-stream"}
    async with client.stream("GET", path, headers=headers) as answer:
        answer.raise_for_status()
        lines = answer.aiter_lines()
        await anext(lines)  # the first one comes when it is subscribed
        yield (json.loads(line[6:]) async for line in lines if line.startswith("data: "))


async def _done(asked: Any) -> httpx.Response:
    answer: httpx.Response = await asked
    answer.raise_for_status()
    return answer
