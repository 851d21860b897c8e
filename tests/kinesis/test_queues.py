"""Queues on streams: received, acknowledged, redelivered, dead letters, restored."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest

from hubbub import Principal
from hubbub.config import load_config
from hubbub.testing import HubProcess
from hubbub.testing.hub import serve_in_thread

from .conftest import ACCOUNT, SETTINGS, JumpingClock, KinesisHub, newest_client, refused

ON_DEMAND = {"StreamMode": "ON_DEMAND"}


@pytest.fixture(scope="module")
def hub(
    newest_botocore: Path, clock: JumpingClock, boto_session: boto3.Session
) -> Iterator[KinesisHub]:
    """A hub that knows the newest model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "hubbub_aws.models.data_folder", lambda: newest_botocore / "botocore" / "data"
        )
        with serve_in_thread(load_config(settings=SETTINGS), clock=clock) as served:
            yield KinesisHub(served, clock, boto_session)


@pytest.fixture(scope="module")
def kinesis(hub: KinesisHub, newest_botocore: Path) -> Any:
    return newest_client(hub.client(), newest_botocore)


@pytest.fixture
def stream(kinesis: Any, name: str) -> str:
    """The ARN of an on-demand stream."""
    kinesis.create_stream(StreamName=name, StreamModeDetails=ON_DEMAND)
    return str(
        kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
    )


def make_queue(kinesis: Any, stream: str, start: str = "TRIM_HORIZON", **attributes: Any) -> str:
    """Create a queue; return its ARN."""
    answer = kinesis.create_queue(
        QueueName=f"q-{uuid4().hex}",
        StreamConfigurationList=[{"StreamARN": stream, "StartingPosition": {"Type": start}}],
        QueueAttributes=attributes,
    )
    return str(answer["QueueDescription"]["QueueARN"])


def put(kinesis: Any, stream: str, *bodies: str) -> None:
    for body in bodies:
        kinesis.put_record(StreamARN=stream, PartitionKey=f"key-{body}", Data=body.encode())


def receive(kinesis: Any, queue: str, count: int = 1, **options: Any) -> list[Any]:
    """Receive so many records."""
    found: list[Any] = []
    while len(found) < count:
        answer = kinesis.receive_queue_records(QueueARN=queue, WaitTimeSeconds=10, **options)
        assert answer["QueueRecords"], f"{count - len(found)} records did not come"
        found += answer["QueueRecords"]
    return found


def nothing(kinesis: Any, queue: str) -> bool:
    return not kinesis.receive_queue_records(QueueARN=queue, WaitTimeSeconds=1)["QueueRecords"]


def entries(records: list[Any]) -> list[dict[str, Any]]:
    return [{"ReceiptHandle": each["ReceiptHandle"]} for each in records]


def test_records_are_received_and_acknowledged(kinesis: Any, stream: str) -> None:
    put(kinesis, stream, "a", "b", "c")
    queue = make_queue(kinesis, stream)
    records = receive(kinesis, queue, 3)
    assert {each["Data"]: each["PartitionKey"] for each in records} == {
        b"a": "key-a", b"b": "key-b", b"c": "key-c"
    }  # fmt: skip
    for each in records:
        assert each["ReceiveCount"] == 1
        assert each["RecordId"].isdigit()
        assert each["FirstReceiveTimestamp"] >= each["ApproximateArrivalTimestamp"]
    answer = kinesis.acknowledge_queue_records(QueueARN=queue, Entries=entries(records))
    assert answer["Successful"] == entries(records)
    assert answer["Failed"] == []
    again = kinesis.acknowledge_queue_records(QueueARN=queue, Entries=entries(records)[:1])
    assert again["Failed"][0]["ErrorCode"] == "ResourceNotFoundException"
    bad = kinesis.acknowledge_queue_records(QueueARN=queue, Entries=[{"ReceiptHandle": "x"}])
    assert bad["Failed"][0]["ErrorCode"] == "InvalidArgumentException"
    assert nothing(kinesis, queue)


def test_a_receive_waits_for_a_record(kinesis: Any, stream: str) -> None:
    queue = make_queue(kinesis, stream, "LATEST")
    put(kinesis, stream, "new")
    assert [each["Data"] for each in receive(kinesis, queue)] == [b"new"]


def test_queues_are_independent_of_one_another(kinesis: Any, stream: str) -> None:
    put(kinesis, stream, "early")
    all_of_it, new = make_queue(kinesis, stream), make_queue(kinesis, stream, "LATEST")
    put(kinesis, stream, "late")
    first = receive(kinesis, all_of_it, 2)
    (second,) = receive(kinesis, new)
    assert {each["Data"] for each in first} == {b"early", b"late"}
    assert second["Data"] == b"late"
    (same,) = [each for each in first if each["Data"] == b"late"]
    assert same["RecordId"] == second["RecordId"]


def test_what_is_not_acknowledged_comes_again(
    kinesis: Any, stream: str, clock: JumpingClock
) -> None:
    queue = make_queue(kinesis, stream, VisibilityTimeoutSeconds=600)
    put(kinesis, stream, "a")
    (record,) = receive(kinesis, queue)
    assert nothing(kinesis, queue)
    kinesis.update_queue_records_visibility(
        QueueARN=queue,
        Entries=[{"ReceiptHandle": record["ReceiptHandle"], "VisibilityTimeoutSeconds": 0}],
    )
    (again,) = receive(kinesis, queue)
    assert (again["ReceiveCount"], again["RecordId"]) == (2, record["RecordId"])
    assert again["ReceiptHandle"] != record["ReceiptHandle"]
    late = kinesis.update_queue_records_visibility(
        QueueARN=queue,
        Entries=[{"ReceiptHandle": record["ReceiptHandle"], "VisibilityTimeoutSeconds": 5}],
    )
    assert late["Failed"][0]["ErrorCode"] == "ResourceNotFoundException"
    clock.jump(600)
    (once_more,) = receive(kinesis, queue, VisibilityTimeoutSeconds=1)
    assert once_more["ReceiveCount"] == 3
    (and_again,) = receive(kinesis, queue)  # after a second
    assert and_again["ReceiveCount"] == 4


def test_dead_letters_are_received_acknowledged_and_restored(kinesis: Any, stream: str) -> None:
    dead_letters = {"TargetType": "BUILT_IN", "MaxReceiveCount": 2}
    queue = make_queue(kinesis, stream, DeadLetterConfiguration=dead_letters)
    put(kinesis, stream, "poison")
    for _ in range(2):
        receive(kinesis, queue, VisibilityTimeoutSeconds=0)
    assert nothing(kinesis, queue)
    (dead,) = kinesis.receive_dead_letter_queue_records(QueueARN=queue)["QueueRecords"]
    assert (dead["Data"], dead["PartitionKey"]) == (b"poison", "key-poison")
    assert dead["ReceiveCount"] == 3
    hidden = [{"ReceiptHandle": dead["ReceiptHandle"], "VisibilityTimeoutSeconds": 0}]
    kinesis.update_dead_letter_queue_records_visibility(QueueARN=queue, Entries=hidden)
    (dead,) = kinesis.receive_dead_letter_queue_records(QueueARN=queue)["QueueRecords"]
    answer = kinesis.restore_dead_letter_queue_records(QueueARN=queue, Entries=entries([dead]))
    assert answer["Successful"] == entries([dead])
    (restored,) = receive(kinesis, queue, VisibilityTimeoutSeconds=0)
    assert (restored["ReceiveCount"], restored["RecordId"]) == (1, dead["RecordId"])
    receive(kinesis, queue, VisibilityTimeoutSeconds=0)
    (dead,) = kinesis.receive_dead_letter_queue_records(QueueARN=queue)["QueueRecords"]
    assert dead["ReceiveCount"] == 3
    kinesis.acknowledge_dead_letter_queue_records(QueueARN=queue, Entries=entries([dead]))
    left = kinesis.receive_dead_letter_queue_records(QueueARN=queue, WaitTimeSeconds=1)
    assert left["QueueRecords"] == []


def test_without_dead_letters_records_come_for_ever(kinesis: Any, stream: str) -> None:
    queue = make_queue(kinesis, stream, DeadLetterConfiguration={"TargetType": "NONE"})
    put(kinesis, stream, "a")
    for count in range(1, 12):
        (record,) = receive(kinesis, queue, VisibilityTimeoutSeconds=0)
        assert record["ReceiveCount"] == count


def test_many_records_of_many_shards_all_come(kinesis: Any, stream: str) -> None:
    queue = make_queue(kinesis, stream)
    wanted = {f"{number}" for number in range(1500)}  # more than wait for a receiver
    for begin in range(0, 1500, 500):
        kinesis.put_records(
            StreamARN=stream,
            Records=[
                {"PartitionKey": str(number), "Data": str(number).encode()}
                for number in range(begin, begin + 500)
            ],
        )
    seen: set[str] = set()
    while len(seen) < 1500:
        records = receive(kinesis, queue)
        seen |= {each["Data"].decode() for each in records}
        kinesis.acknowledge_queue_records(QueueARN=queue, Entries=entries(records))
    assert seen == wanted
    assert nothing(kinesis, queue)


def test_what_a_shard_was_split_into_comes_after_it(
    kinesis: Any, hub: KinesisHub, stream: str, name: str
) -> None:
    live = make_queue(kinesis, stream)
    wanted: list[bytes] = []

    def write() -> None:
        records = [b"%d" % number for number in range(len(wanted), len(wanted) + 100)]
        wanted.extend(records)
        kinesis.put_records(
            StreamARN=stream, Records=[{"PartitionKey": "same", "Data": each} for each in records]
        )

    async def reshard(*, merge: bool) -> None:
        with hub.served.hub.session(Principal("test"), protocol="test", client="test") as session:
            info = session.find_stream(name)
            assert info is not None
            shards = [each for each in info.shards() if each.closed is None]
            if merge:
                shards.sort(key=lambda each: each.starting_hash_key)
                for one, other in zip(shards[::2], shards[1::2], strict=True):
                    await session.merge_shards(name, one.id, other.id)
                return
            for each in shards:
                middle = (each.starting_hash_key + each.ending_hash_key) // 2
                await session.split_shard(name, each.id, middle)

    write()
    hub.served.run(partial(reshard, merge=False))
    write()
    hub.served.run(partial(reshard, merge=True))
    write()
    late = make_queue(kinesis, stream)
    for queue in (live, late):
        found: list[bytes] = []
        while len(found) < len(wanted):
            records = receive(kinesis, queue)
            found += [each["Data"] for each in records]
            kinesis.acknowledge_queue_records(QueueARN=queue, Entries=entries(records))
        assert found == wanted


def test_a_queue_delivers_nothing_past_retention(
    kinesis: Any, stream: str, clock: JumpingClock
) -> None:
    queue = make_queue(kinesis, stream)
    put(kinesis, stream, "old")
    receive(kinesis, queue, VisibilityTimeoutSeconds=0)
    clock.jump(25 * 3600)
    put(kinesis, stream, "new")
    assert [each["Data"] for each in receive(kinesis, queue)] == [b"new"]


def test_a_timestamp_is_where_a_queue_begins(
    kinesis: Any, stream: str, clock: JumpingClock
) -> None:
    put(kinesis, stream, "before")
    clock.jump(60)
    moment = clock.now() / 1000
    put(kinesis, stream, "after")
    answer = kinesis.create_queue(
        QueueName=f"q-{uuid4().hex}",
        StreamConfigurationList=[
            {
                "StreamARN": stream,
                "StartingPosition": {"Type": "AT_TIMESTAMP", "Timestamp": moment},
            }
        ],
    )
    (configuration,) = answer["QueueDescription"]["StreamConfigurationList"]
    assert configuration["StartingPosition"]["Timestamp"].timestamp() == moment
    records = receive(kinesis, answer["QueueDescription"]["QueueARN"])
    assert [each["Data"] for each in records] == [b"after"]


def test_queues_are_described_listed_changed_and_deleted(
    kinesis: Any, stream: str, name: str
) -> None:
    answer = kinesis.create_queue(
        QueueName=name, StreamConfigurationList=[{"StreamARN": stream}], Tags={"team": "red"}
    )
    created = answer["QueueDescription"]
    queue = created["QueueARN"]
    assert queue.startswith(f"arn:aws:kinesis:us-east-1:{ACCOUNT}:queue/")
    assert name not in queue
    assert created["QueueStatus"] == "ACTIVE"
    assert created["QueueAttributes"] == {
        "VisibilityTimeoutSeconds": 30,
        "DeadLetterConfiguration": {"TargetType": "BUILT_IN", "MaxReceiveCount": 6},
    }
    (configuration,) = created["StreamConfigurationList"]
    assert configuration["StartingPosition"]["Type"] == "LATEST"
    assert kinesis.describe_queue(QueueARN=queue)["QueueDescription"] == created
    changed = kinesis.update_queue(QueueARN=queue, QueueAttributes={"VisibilityTimeoutSeconds": 7})[
        "QueueDescription"
    ]
    assert changed["QueueAttributes"]["VisibilityTimeoutSeconds"] == 7
    assert changed["QueueAttributes"]["DeadLetterConfiguration"]["MaxReceiveCount"] == 6
    (summary,) = kinesis.list_queues(StreamFilter=[{"StreamARN": stream}])["QueueSummaries"]
    assert summary["QueueName"] == name
    assert summary["Streams"][0]["StreamARN"] == stream
    assert kinesis.list_tags_for_resource(ResourceARN=queue)["Tags"] == [
        {"Key": "team", "Value": "red"}
    ]
    kinesis.tag_resource(ResourceARN=queue, Tags={"size": "L"})
    kinesis.untag_resource(ResourceARN=queue, TagKeys=["team"])
    assert kinesis.list_tags_for_resource(ResourceARN=queue)["Tags"] == [
        {"Key": "size", "Value": "L"}
    ]
    summary = kinesis.describe_stream_summary(StreamARN=stream)["StreamDescriptionSummary"]
    assert (summary["QueueCount"], summary["ConsumerCount"]) == (1, 0)
    with refused("ResourceInUseException"):
        kinesis.delete_stream(StreamARN=stream, EnforceConsumerDeletion=True)
    with refused("ResourceInUseException"):
        kinesis.update_stream_mode(
            StreamARN=stream, StreamModeDetails={"StreamMode": "PROVISIONED"}
        )
    with refused("ResourceInUseException"):
        kinesis.create_queue(QueueName=name, StreamConfigurationList=[{"StreamARN": stream}])
    kinesis.delete_queue(QueueARN=queue)
    with refused("ResourceNotFoundException"):
        kinesis.describe_queue(QueueARN=queue)
    with refused("ResourceNotFoundException"):
        kinesis.receive_queue_records(QueueARN=queue)
    kinesis.delete_stream(StreamARN=stream)


def test_lists_come_in_pages(kinesis: Any, stream: str) -> None:
    queues = {make_queue(kinesis, stream) for _ in range(3)}
    found: list[str] = []
    options: dict[str, Any] = {"StreamFilter": [{"StreamARN": stream}], "MaxResults": 2}
    while True:
        answer = kinesis.list_queues(**options)
        found += [each["QueueARN"] for each in answer["QueueSummaries"]]
        if "NextToken" not in answer:
            break
        options["NextToken"] = answer["NextToken"]
    assert len(found) == 3
    assert set(found) == queues


def test_wrong_requests_are_refused(kinesis: Any, stream: str, name: str) -> None:
    def create(**change: Any) -> None:
        kinesis.create_queue(
            **{
                "QueueName": f"q-{uuid4().hex}",
                "StreamConfigurationList": [{"StreamARN": stream}],
                **change,
            }
        )

    with refused("ValidationException"):
        create(StreamConfigurationList=[{"StreamARN": stream}, {"StreamARN": stream}])
    with refused("ValidationException"):
        start = {"Type": "LATEST", "Timestamp": 1}
        create(StreamConfigurationList=[{"StreamARN": stream, "StartingPosition": start}])
    with refused("ValidationException"):
        create(QueueAttributes={"DeadLetterConfiguration": {"TargetType": "BUILT_IN"}})
    with refused("ResourceNotFoundException"):
        create(StreamConfigurationList=[{"StreamARN": f"{stream}-not"}])
    kinesis.create_stream(StreamName=f"{name}-provisioned", ShardCount=1)
    provisioned = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/{name}-provisioned"
    with refused("ValidationException"):
        create(StreamConfigurationList=[{"StreamARN": provisioned}])
    queue = make_queue(kinesis, stream)
    with refused("ValidationException"):
        kinesis.receive_queue_records(QueueARN=queue, Limit=11)


def test_queues_and_consumers_share_a_limit(kinesis: Any, stream: str) -> None:
    for number in range(19):
        kinesis.register_stream_consumer(StreamARN=stream, ConsumerName=f"c{number}")
    make_queue(kinesis, stream)
    with refused("LimitExceededException"):
        make_queue(kinesis, stream)
    with refused("LimitExceededException"):
        kinesis.register_stream_consumer(StreamARN=stream, ConsumerName="one-more")


def test_a_queue_goes_on_after_kill(newest_botocore: Path, tmp_path: Path) -> None:
    config = """
admin.enabled = false
plugins.enable = ["aws", "kinesis"]
aws.listener.bind = ["127.0.0.1:0"]
"""
    environment = {"PYTHONPATH": str(newest_botocore)}

    def connect(process: HubProcess) -> Any:
        client = boto3.client(
            "kinesis", endpoint_url=process.url("Kinesis"), region_name="us-east-1",
            aws_access_key_id="test", aws_secret_access_key="test",
        )  # fmt: skip
        return newest_client(client, newest_botocore)

    with HubProcess(tmp_path, config, environment) as process:
        kinesis = connect(process)
        kinesis.create_stream(StreamName="s", StreamModeDetails=ON_DEMAND)
        stream = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/s"
        dead_letters = {"TargetType": "BUILT_IN", "MaxReceiveCount": 1}
        queue = make_queue(kinesis, stream, DeadLetterConfiguration=dead_letters)
        put(kinesis, stream, "poison")
        receive(kinesis, queue, VisibilityTimeoutSeconds=0)
        put(kinesis, stream, *(str(number) for number in range(20)))
        done = receive(kinesis, queue, 5, Limit=5)
        kinesis.acknowledge_queue_records(QueueARN=queue, Entries=entries(done))
        process.kill()
        process.start()
        kinesis = connect(process)
        seen = {each["Data"].decode() for each in done}
        while len(seen) < 20:
            records = receive(kinesis, queue)
            seen |= {each["Data"].decode() for each in records}
            kinesis.acknowledge_queue_records(QueueARN=queue, Entries=entries(records))
        assert seen == {str(number) for number in range(20)}
        (dead,) = kinesis.receive_dead_letter_queue_records(QueueARN=queue)["QueueRecords"]
        assert dead["Data"] == b"poison"
