"""SNS by the AWS SDK for JavaScript v3, the AWS command line and aiobotocore, endpoint alone."""

import asyncio
import json
from typing import Any

import pytest

from hubbub.testing import HubProcess
from tests.programs import AWS_ENVIRONMENT, JavaScript, program, run


@pytest.fixture
def tell(javascript: JavaScript, hub: HubProcess, name: str) -> Any:
    """Run one story of the script."""
    return lambda story: javascript.run("sns", endpoint=hub.url("SNS"), story=story, name=name)


def test_javascript_publishes_a_batch_to_a_queue_with_a_filter(tell: Any) -> None:
    assert tell("fanout") == {
        "published": ["plain", "tea"],
        "failed": [],
        "bodies": [" hällo <☃> & more "],
        "kind": "tea",
        "bytes": [0, 255],
        "policy": '{"kind": ["tea"]}',
        "endpoints": [True],
    }


def test_javascript_has_a_class_for_each_error(tell: Any) -> None:
    assert tell("errors") == {
        "topic": [True, "Topic does not exist", 404, True],
        "name": [True, "Invalid parameter: Topic Name", 400, True],
        "batch": [True, "The batch request doesn't contain any entries.", 400, True],
    }


def test_the_command_line(hub: HubProcess, name: str) -> None:
    command = [program("aws"), "--endpoint-url", hub.url("SNS"), "--output", "json"]

    def aws(*arguments: str) -> Any:
        return json.loads(run([*command, *arguments], environment=AWS_ENVIRONMENT).stdout)

    queue = aws("sqs", "create-queue", "--queue-name", name)["QueueUrl"]
    topic = aws("sns", "create-topic", "--name", name, "--tags", "Key=team,Value=hübbub")[
        "TopicArn"
    ]
    aws(
        "sns", "subscribe", "--topic-arn", topic, "--protocol", "sqs",
        "--notification-endpoint", topic.replace(":sns:", ":sqs:"),
    )  # fmt: skip
    sent = aws(
        "sns", "publish", "--topic-arn", topic, "--subject", "news", "--message-structure", "json",
        "--message", json.dumps({"default": "for all", "sqs": "for queues ☃"}),
    )  # fmt: skip
    (message,) = aws(
        "sqs", "receive-message", "--queue-url", queue, "--wait-time-seconds", "10"
    )["Messages"]  # fmt: skip
    envelope = json.loads(message["Body"])
    assert (envelope["Subject"], envelope["Message"]) == ("news", "for queues ☃")
    assert envelope["MessageId"] == sent["MessageId"]
    tags = aws("sns", "list-tags-for-resource", "--resource-arn", topic)["Tags"]
    assert tags == [{"Key": "team", "Value": "hübbub"}]


def test_aiobotocore(hub: HubProcess, name: str) -> None:
    aiobotocore = pytest.importorskip("aiobotocore.session")
    options: dict[str, Any] = {
        "endpoint_url": hub.url("SNS"), "region_name": "us-east-1",
        "aws_access_key_id": "test", "aws_secret_access_key": "test",
    }  # fmt: skip

    async def main() -> set[str]:
        session = aiobotocore.get_session()
        async with (
            session.create_client("sns", **options) as sns,
            session.create_client("sqs", **options) as sqs,
        ):
            queue = (await sqs.create_queue(QueueName=name))["QueueUrl"]
            topic = (await sns.create_topic(Name=name))["TopicArn"]
            await sns.subscribe(
                TopicArn=topic, Protocol="sqs", Endpoint=topic.replace(":sns:", ":sqs:"),
                Attributes={"RawMessageDelivery": "true"},
            )  # fmt: skip
            await asyncio.gather(
                *[sns.publish(TopicArn=topic, Message=f"{number}") for number in range(20)]
            )
            bodies: set[str] = set()
            while len(bodies) < 20:
                got = await sqs.receive_message(
                    QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=10
                )
                bodies.update(message["Body"] for message in got["Messages"])
            return bodies

    assert asyncio.run(main()) == {f"{number}" for number in range(20)}
