"""Clients for asyncio by their addresses alone: aiobotocore, aiomqtt, aio-pika."""

import asyncio
from typing import Any

import aio_pika
import aiomqtt
import pytest
from aio_pika.patterns import RPC
from aiobotocore.session import get_session  # type: ignore[import-untyped]
from aiormq.exceptions import DeliveryError

from hubbub.testing import HubProcess
from tests.programs import WAIT


def test_aiobotocore(hub: HubProcess, name: str) -> None:
    async def story() -> list[str]:
        async with get_session().create_client(
            "sqs", endpoint_url=hub.url("SQS"), region_name="us-east-1",
            aws_access_key_id="test", aws_secret_access_key="test",
        ) as sqs:  # fmt: skip
            url = (await sqs.create_queue(QueueName=name))["QueueUrl"]

            async def take(number: int) -> list[str]:
                bodies: list[str] = []
                while len(bodies) < number:
                    answer = await sqs.receive_message(
                        QueueUrl=url, WaitTimeSeconds=10, MaxNumberOfMessages=10,
                        MessageAttributeNames=["All"],
                    )  # fmt: skip
                    messages = answer["Messages"]
                    bodies += [message["Body"] for message in messages]
                    handles = [
                        {"Id": f"{index}", "ReceiptHandle": message["ReceiptHandle"]}
                        for index, message in enumerate(messages)
                    ]
                    done = await sqs.delete_message_batch(QueueUrl=url, Entries=handles)
                    assert len(done["Successful"]) == len(messages)
                return bodies

            taking = asyncio.create_task(take(20))
            attributes = {"a": {"DataType": "Binary", "BinaryValue": b"\0"}}
            await asyncio.gather(*(
                sqs.send_message(QueueUrl=url, MessageBody=f"{n}", MessageAttributes=attributes)
                for n in range(20)
            ))  # fmt: skip
            bodies = await taking
            with pytest.raises(sqs.exceptions.QueueDoesNotExist):
                await sqs.get_queue_url(QueueName=f"{name}-none")
            return bodies

    bodies = asyncio.run(asyncio.wait_for(story(), WAIT))
    assert sorted(map(int, bodies)) == list(range(20))


@pytest.mark.parametrize("version", [aiomqtt.ProtocolVersion.V311, aiomqtt.ProtocolVersion.V5])
def test_aiomqtt(hub: HubProcess, name: str, version: Any) -> None:
    def client(**options: Any) -> aiomqtt.Client:
        return aiomqtt.Client("127.0.0.1", hub.port("MQTT"), protocol=version, **options)

    async def story() -> list[tuple[str, bytes, int]]:
        will = aiomqtt.Will(f"{name}/will", b"gone", qos=1)
        async with client() as subscriber, client(will=will) as publisher:
            await subscriber.subscribe(f"{name}/#", qos=2)
            for qos in (0, 1, 2):
                await publisher.publish(f"{name}/{qos}", f"größe {qos}".encode(), qos=qos)
            messages: list[tuple[str, bytes, int]] = []
            async for message in subscriber.messages:
                assert isinstance(message.payload, bytes)
                messages.append((str(message.topic), message.payload, message.qos))
                if len(messages) == 3:
                    return messages
        raise AssertionError("the messages ended")

    messages = asyncio.run(asyncio.wait_for(story(), WAIT))
    assert sorted(messages) == [
        (f"{name}/{qos}", f"größe {qos}".encode(), qos) for qos in (0, 1, 2)
    ]


def test_aio_pika(hub: HubProcess, name: str) -> None:
    async def story() -> None:
        connection = await aio_pika.connect_robust(hub.url("AMQP"))
        async with connection:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            await channel.set_qos(prefetch_count=3)
            exchange = await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC)
            queue = await channel.declare_queue(name, durable=True)
            await queue.bind(exchange, "a.#")
            message = aio_pika.Message(
                "größe".encode(), headers={"n": 1, "deep": {"list": [bytearray(b"x"), 2.5]}},
                content_type="text/plain", correlation_id="c1", expiration=60,
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            )  # fmt: skip
            for _ in range(10):
                await exchange.publish(message, "a.b.c")
            with pytest.raises(DeliveryError):
                await exchange.publish(message, "no.queue", mandatory=True)
            seen = 0
            async with queue.iterator() as messages:
                async for received in messages:
                    async with received.process():
                        assert received.body.decode() == "größe"
                        assert received.headers == message.headers
                        assert received.correlation_id == "c1"
                        assert received.expiration == 60
                    seen += 1
                    if seen == 10:
                        break
            assert (await queue.delete()).message_count == 0

    asyncio.run(asyncio.wait_for(story(), WAIT))


def test_transaction_of_aio_pika(hub: HubProcess, name: str) -> None:
    async def story() -> list[bytes]:
        async with await aio_pika.connect(hub.url("AMQP")) as connection:
            channel = await connection.channel(publisher_confirms=False)
            queue = await channel.declare_queue(name)
            undone = channel.transaction()
            await undone.select()
            await channel.default_exchange.publish(aio_pika.Message(b"undone"), name)
            await undone.rollback()
            async with channel.transaction():
                await channel.default_exchange.publish(aio_pika.Message(b"done"), name)
            message = await queue.get(timeout=WAIT)
            await message.ack()
            left = await queue.get(fail=False)
            assert left is None
            return [message.body]

    assert asyncio.run(asyncio.wait_for(story(), WAIT)) == [b"done"]


def test_rpc_of_aio_pika(hub: HubProcess, name: str) -> None:
    async def double(*, number: int) -> int:
        return number * 2

    async def story() -> list[int]:
        async with await aio_pika.connect_robust(hub.url("AMQP")) as connection:
            rpc = await RPC.create(await connection.channel())
            await rpc.register(name, double, auto_delete=True)
            answers = await asyncio.gather(
                *(rpc.call(name, kwargs={"number": number}) for number in range(5))
            )
            await rpc.close()
            return answers

    assert asyncio.run(asyncio.wait_for(story(), WAIT)) == [0, 2, 4, 6, 8]
