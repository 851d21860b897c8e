"""CreateQueue and what is done to queues as a whole."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import SqsHub
from .helpers import arn, attributes, counts, receive, redrive, refused

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

NAME_RULE = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"


def test_defaults(sqs: "SQSClient", queue: str) -> None:
    found = attributes(sqs, queue)
    created = int(found.pop("CreatedTimestamp"))
    assert found.pop("LastModifiedTimestamp") == str(created)
    name = queue.rpartition("/")[2]
    assert found == {
        "QueueArn": f"arn:aws:sqs:us-east-1:000000000000:{name}",
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
        "VisibilityTimeout": "30",
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "DelaySeconds": "0",
        "ReceiveMessageWaitTimeSeconds": "0",
        "SqsManagedSseEnabled": "true",
    }


def test_fifo_defaults(sqs: "SQSClient", make_queue: Callable[..., str]) -> None:
    found = attributes(sqs, make_queue(FifoQueue="true"))
    assert found["FifoQueue"] == "true"
    assert found["ContentBasedDeduplication"] == "false"
    assert found["DeduplicationScope"] == "queue"
    assert found["FifoThroughputLimit"] == "perQueue"


def test_the_url_is_of_the_host_the_client_used(hub: SqsHub, queue: str) -> None:
    assert queue.startswith(f"{hub.url}/000000000000/queue-")


@pytest.mark.parametrize("name", ["in.fo", "ééwwà)", "a b", "x" * 81, "example.fifo", "a/b"])
def test_illegal_names(sqs: "SQSClient", name: str) -> None:
    with refused("InvalidParameterValue", NAME_RULE):
        sqs.create_queue(QueueName=name)


def test_illegal_fifo_name(sqs: "SQSClient") -> None:
    with refused("InvalidParameterValue", "must end with .fifo suffix"):
        sqs.create_queue(QueueName="plain", Attributes={"FifoQueue": "true"})
    with refused("InvalidParameterValue", "Queue name cannot be empty"):
        sqs.create_queue(QueueName="")


@pytest.mark.parametrize("name", ["example.fifo", "example"])
def test_fifo_can_not_be_false(sqs: "SQSClient", name: str) -> None:
    with refused("InvalidAttributeName", "Unknown Attribute FifoQueue."):
        sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "false"})


def test_a_name_of_eighty_characters(sqs: "SQSClient") -> None:
    sqs.create_queue(QueueName="x" * 80)
    sqs.create_queue(QueueName="x" * 75 + ".fifo", Attributes={"FifoQueue": "true"})


def test_created_again(sqs: "SQSClient", queue: str) -> None:
    name = queue.rpartition("/")[2]
    assert sqs.create_queue(QueueName=name)["QueueUrl"] == queue
    same: Any = {"VisibilityTimeout": "30", "DelaySeconds": "0"}
    assert sqs.create_queue(QueueName=name, Attributes=same)["QueueUrl"] == queue
    with refused(
        "QueueAlreadyExists",
        "A queue already exists with the same name and a different value for attribute "
        "DelaySeconds",
    ):
        sqs.create_queue(QueueName=name, Attributes={"DelaySeconds": "1"})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("DelaySeconds", ["901", "-1", "", " 6", "1.5", "true"]),
        ("VisibilityTimeout", ["43201", "-1", "x"]),
        ("MessageRetentionPeriod", ["59", "1209601"]),
        ("MaximumMessageSize", ["1023", "1048577"]),
        ("ReceiveMessageWaitTimeSeconds", ["21", "-1"]),
        ("KmsDataKeyReusePeriodSeconds", ["59", "86401"]),
        ("SqsManagedSseEnabled", ["yes"]),
        ("Policy", ["x", "[]", "{}", '{"Version": "1", "Statement": []}']),
    ],
)
def test_illegal_values(sqs: "SQSClient", queue: str, name: Any, values: list[str]) -> None:
    for value in values:
        if name == "Policy" and not value:
            continue
        with refused("InvalidAttributeValue", f"Invalid value for the parameter {name}."):
            sqs.set_queue_attributes(QueueUrl=queue, Attributes={name: value})
        with refused("InvalidAttributeValue", f"Invalid value for the parameter {name}."):
            sqs.create_queue(QueueName="never", Attributes={name: value})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("DelaySeconds", ["0", "900"]),
        ("VisibilityTimeout", ["0", "43200"]),
        ("MessageRetentionPeriod", ["60", "1209600"]),
        ("MaximumMessageSize", ["1024", "1048576"]),
        ("ReceiveMessageWaitTimeSeconds", ["1", "20", "0"]),
    ],
)
def test_limits_of_values(sqs: "SQSClient", queue: str, name: Any, values: list[str]) -> None:
    for value in values:
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={name: value})
        assert attributes(sqs, queue)[name] == value


@pytest.mark.parametrize(
    "name", ["QueueArn", "ApproximateNumberOfMessages", "CreatedTimestamp", "Dummy", "FifoQueue"]
)
def test_unknown_attributes(sqs: "SQSClient", queue: str, name: Any) -> None:
    with refused("InvalidAttributeName", f"Unknown Attribute {name}."):
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={name: "true"})
    if name == "Dummy":
        with refused("InvalidAttributeName", f"Unknown Attribute {name}."):
            sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=[name])


def test_fifo_attributes_of_a_standard_queue(sqs: "SQSClient", queue: str) -> None:
    with refused("InvalidAttributeName", "Unknown Attribute ContentBasedDeduplication."):
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"ContentBasedDeduplication": "true"})
    with refused("InvalidAttributeName", "only when FifoQueue is set to true"):
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"DeduplicationScope": "queue"})


def test_a_fifo_queue_stays_one(sqs: "SQSClient", fifo: str) -> None:
    sqs.set_queue_attributes(QueueUrl=fifo, Attributes={"FifoQueue": "true"})
    with refused(
        "InvalidAttributeValue",
        "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.",
    ):
        sqs.set_queue_attributes(QueueUrl=fifo, Attributes={"FifoQueue": "false"})


def test_high_throughput_settings(sqs: "SQSClient", fifo: str) -> None:
    with refused("InvalidAttributeValue", "FifoThroughputLimit"):
        sqs.set_queue_attributes(
            QueueUrl=fifo, Attributes={"FifoThroughputLimit": "perMessageGroupId"}
        )
    sqs.set_queue_attributes(
        QueueUrl=fifo,
        Attributes={
            "DeduplicationScope": "messageGroup",
            "FifoThroughputLimit": "perMessageGroupId",
        },
    )
    found = attributes(sqs, fifo)
    assert found["DeduplicationScope"] == "messageGroup"
    assert found["FifoThroughputLimit"] == "perMessageGroupId"


def test_changes_move_the_modification_time(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    created = int(attributes(sqs, queue)["CreatedTimestamp"])
    hub.jump(100)
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"DelaySeconds": "1"})
    found = attributes(sqs, queue)
    assert int(found["CreatedTimestamp"]) == created
    assert int(found["LastModifiedTimestamp"]) >= created + 100


def test_encryption_attributes(sqs: "SQSClient", queue: str) -> None:
    sqs.set_queue_attributes(
        QueueUrl=queue,
        Attributes={"KmsMasterKeyId": "key", "KmsDataKeyReusePeriodSeconds": "6000"},
    )
    found = attributes(sqs, queue)
    assert found["KmsMasterKeyId"] == "key"
    assert found["KmsDataKeyReusePeriodSeconds"] == "6000"
    assert found["SqsManagedSseEnabled"] == "false"
    with refused("InvalidAttributeName", "You can use one type of server-side encryption"):
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"SqsManagedSseEnabled": "true"})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"KmsMasterKeyId": ""})
    found = attributes(sqs, queue)
    assert "KmsMasterKeyId" not in found
    assert found["SqsManagedSseEnabled"] == "true"


def test_only_the_attributes_asked_for(sqs: "SQSClient", queue: str) -> None:
    found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn", "DelaySeconds"])
    assert set(found["Attributes"]) == {"QueueArn", "DelaySeconds"}
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=queue)
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["Policy"])


def test_policy_is_kept_as_given_and_removed(sqs: "SQSClient", queue: str) -> None:
    policy = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": {
                "Effect": "Allow",
                "Principal": "*",
                "Action": "sqs:SendMessage",
                "Resource": arn(sqs, queue),
            },
        },
        indent=2,
    )
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    assert attributes(sqs, queue)["Policy"] == policy
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": ""})
    assert "Policy" not in attributes(sqs, queue)


def test_too_many_statements(sqs: "SQSClient", queue: str) -> None:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "SQS:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement] * 21})
    with refused("OverLimit", "21 statements were found", status=403):
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})


# URLs


def test_a_queue_is_found_by_any_url(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    name = queue.rpartition("/")[2]
    for url in (
        name,
        f"/000000000000/{name}",
        f"https://sqs.us-east-1.amazonaws.com/000000000000/{name}",
        f"http://us-east-1.queue.example:4566/000000000000/{name}",
        f"http://elsewhere/queue/eu-west-1/000000000000/{name}",
        f"{hub.url}/{name}",
    ):
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        region = "eu-west-1" if "eu-west-1" in url else "us-east-1"
        assert found["Attributes"]["QueueArn"] == f"arn:aws:sqs:{region}:000000000000:{name}"


def test_queues_that_do_not_exist(hub: SqsHub, sqs: "SQSClient") -> None:
    missing = f"{hub.url}/000000000000/missing"
    code, text = "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist."
    with refused(code, text):
        sqs.get_queue_url(QueueName="missing")
    with refused(code, text):
        sqs.send_message(QueueUrl=missing, MessageBody="x")
    with refused(code, text):
        sqs.receive_message(QueueUrl=missing)
    with refused(code, text):
        sqs.delete_queue(QueueUrl=missing)
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.purge_queue(QueueUrl=missing)
    for url in (f"{hub.url}/", "http://wherever", "http://x/1/2/3"):
        with refused(code, text):
            sqs.purge_queue(QueueUrl=url)


def test_get_queue_url(sqs: "SQSClient", queue: str) -> None:
    name = queue.rpartition("/")[2]
    assert sqs.get_queue_url(QueueName=name)["QueueUrl"] == queue
    owned = sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId="000000000000")
    assert owned["QueueUrl"] == queue


# Accounts and regions


def test_accounts_are_apart(hub: SqsHub, sqs: "SQSClient") -> None:
    other = hub.client(access_key="111111111111")
    url = other.create_queue(QueueName="apart")["QueueUrl"]
    assert url == f"{hub.url}/111111111111/apart"
    assert arn(other, url) == "arn:aws:sqs:us-east-1:111111111111:apart"
    with refused("AWS.SimpleQueueService.NonExistentQueue"):
        sqs.get_queue_url(QueueName="apart")
    assert other.list_queues()["QueueUrls"] == [url]
    # The account in a URL counts, not that of the key.
    sqs.send_message(QueueUrl=url, MessageBody="across")
    assert receive(other, url)[0]["Body"] == "across"


def test_regions_share_their_queues(hub: SqsHub, queue: str) -> None:
    there = hub.client(region="eu-central-1")
    there.send_message(QueueUrl=queue, MessageBody="x")
    assert arn(there, queue).startswith("arn:aws:sqs:eu-central-1:")


# Lists


def test_list_queues_by_prefix_and_page(sqs: "SQSClient") -> None:
    urls = [sqs.create_queue(QueueName=f"list-{n:02}")["QueueUrl"] for n in range(7)]
    assert sqs.list_queues(QueueNamePrefix="list-")["QueueUrls"] == urls
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix="no-such")
    pages = sqs.get_paginator("list_queues").paginate(
        QueueNamePrefix="list-", PaginationConfig={"PageSize": 3}
    )
    found = [page["QueueUrls"] for page in pages]
    assert found == [urls[:3], urls[3:6], urls[6:]]


def test_a_page_that_ends_with_the_list_has_no_token(sqs: "SQSClient") -> None:
    urls = [sqs.create_queue(QueueName=f"even-{n}")["QueueUrl"] for n in range(4)]
    first = sqs.list_queues(QueueNamePrefix="even-", MaxResults=2)
    last = sqs.list_queues(QueueNamePrefix="even-", MaxResults=2, NextToken=first["NextToken"])
    assert first["QueueUrls"] + last["QueueUrls"] == urls
    assert "NextToken" not in last


def test_bad_pages(sqs: "SQSClient") -> None:
    for limit in (0, 1001):
        with refused("InvalidParameterValue", "MaxResults"):
            sqs.list_queues(MaxResults=limit)
    with refused("InvalidParameterValue", "token"):
        sqs.list_queues(MaxResults=5, NextToken="é")
    with refused("InvalidParameterValue", "MaxResults"):
        sqs.list_queues(NextToken="YQ==")


# Deleting and purging


def test_a_deleted_name_is_free_at_once(sqs: "SQSClient", queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="lost")
    sqs.delete_queue(QueueUrl=queue)
    with refused("AWS.SimpleQueueService.NonExistentQueue"):
        sqs.receive_message(QueueUrl=queue)
    again = sqs.create_queue(QueueName=queue.rpartition("/")[2], Attributes={"DelaySeconds": "5"})
    assert again["QueueUrl"] == queue
    assert counts(sqs, queue) == (0, 0, 0)


def test_purge_takes_everything_once_a_minute(hub: SqsHub, sqs: "SQSClient", queue: str) -> None:
    for body in "abc":
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    sqs.send_message(QueueUrl=queue, MessageBody="d", DelaySeconds=100)
    receive(sqs, queue, 1)
    assert counts(sqs, queue) == (2, 1, 1)
    sqs.purge_queue(QueueUrl=queue)
    assert counts(sqs, queue) == (0, 0, 0)
    name = queue.rpartition("/")[2]
    with refused(
        "AWS.SimpleQueueService.PurgeQueueInProgress",
        f"Only one PurgeQueue operation on {name} is allowed every 60 seconds.",
        status=403,
    ):
        sqs.purge_queue(QueueUrl=queue)
    hub.jump(61)
    sqs.purge_queue(QueueUrl=queue)


def test_messages_do_not_outlive_their_retention(hub: SqsHub, sqs: "SQSClient") -> None:
    url = sqs.create_queue(QueueName="short", Attributes={"MessageRetentionPeriod": "60"})
    sqs.send_message(QueueUrl=url["QueueUrl"], MessageBody="x")
    hub.jump(59)
    assert counts(sqs, url["QueueUrl"])[0] == 1
    hub.jump(3)
    assert receive(sqs, url["QueueUrl"], WaitTimeSeconds=0) == []
    assert counts(sqs, url["QueueUrl"])[0] == 0


# Tags


def test_tags(sqs: "SQSClient") -> None:
    url = sqs.create_queue(QueueName="tagged", tags={"tag1": "value1"})["QueueUrl"]
    sqs.tag_queue(QueueUrl=url, Tags={"tag2": "value2", "tag3": ""})
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {
        "tag1": "value1",
        "tag2": "value2",
        "tag3": "",
    }
    sqs.untag_queue(QueueUrl=url, TagKeys=["tag1", "tag3", "never"])
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"tag2": "value2"}
    sqs.untag_queue(QueueUrl=url, TagKeys=["tag2"])
    assert "Tags" not in sqs.list_queue_tags(QueueUrl=url)


def test_bad_tags(sqs: "SQSClient", queue: str) -> None:
    name = queue.rpartition("/")[2]
    with refused("InvalidParameterValue", f"Too many tags added for queue {name}."):
        sqs.tag_queue(QueueUrl=queue, Tags={f"t{n}": "" for n in range(51)})
    with refused("InvalidParameterValue", "Tag keys"):
        sqs.tag_queue(QueueUrl=queue, Tags={"k" * 129: ""})
    with refused("InvalidParameterValue", "Tag values"):
        sqs.tag_queue(QueueUrl=queue, Tags={"k": "v" * 257})
    with refused("InvalidParameterValue", "System tags"):
        sqs.tag_queue(QueueUrl=queue, Tags={"aws:x": ""})


# Permissions


def test_permissions(sqs: "SQSClient", queue: str) -> None:
    mine = arn(sqs, queue)
    sqs.add_permission(
        QueueUrl=queue,
        Label="both",
        AWSAccountIds=["111111111111", "222222222222"],
        Actions=["ReceiveMessage"],
    )
    assert json.loads(attributes(sqs, queue)["Policy"]) == {
        "Version": "2008-10-17",
        "Id": f"{mine}/SQSDefaultPolicy",
        "Statement": [
            {
                "Sid": "both",
                "Effect": "Allow",
                "Principal": {
                    "AWS": ["arn:aws:iam::111111111111:root", "arn:aws:iam::222222222222:root"]
                },
                "Action": "SQS:ReceiveMessage",
                "Resource": mine,
            }
        ],
    }
    with refused("InvalidParameterValue", "Value both for parameter Label is invalid. "):
        sqs.add_permission(
            QueueUrl=queue, Label="both", AWSAccountIds=["111111111111"], Actions=["*"]
        )
    sqs.add_permission(
        QueueUrl=queue,
        Label="one",
        AWSAccountIds=["111111111111"],
        Actions=["SendMessage", "DeleteMessage"],
    )
    second = json.loads(attributes(sqs, queue)["Policy"])["Statement"][1]
    assert second["Principal"] == {"AWS": "arn:aws:iam::111111111111:root"}
    assert second["Action"] == ["SQS:SendMessage", "SQS:DeleteMessage"]
    sqs.remove_permission(QueueUrl=queue, Label="both")
    with refused("InvalidParameterValue", "Reason: can't find label on existing policy."):
        sqs.remove_permission(QueueUrl=queue, Label="both")
    sqs.remove_permission(QueueUrl=queue, Label="one")
    assert "Policy" not in attributes(sqs, queue)
    with refused("InvalidParameterValue", "Reason: can't find label."):
        sqs.remove_permission(QueueUrl=queue, Label="one")


def test_bad_permissions(sqs: "SQSClient", queue: str) -> None:
    good: Any = {"QueueUrl": queue, "Label": "l", "AWSAccountIds": ["1" * 12], "Actions": ["*"]}
    with refused("InvalidParameterValue", "Value SQS:Fly for parameter ActionName is invalid."):
        sqs.add_permission(**good | {"Actions": ["Fly"]})
    with refused("InvalidParameterValue", "Only the queue owner is allowed to invoke this action."):
        sqs.add_permission(**good | {"Actions": ["SendMessage", "RemovePermission"]})
    for accounts, told in ((["me", "1" * 12], "[me]"), ([], "[]")):
        text = f"Value {told} for parameter PrincipalId is invalid. Reason: Unable to verify."
        with refused("InvalidParameterValue", text):
            sqs.add_permission(**good | {"AWSAccountIds": accounts})
    with refused("InvalidParameterValue", "Label"):
        sqs.add_permission(**good | {"Label": "a b"})
    with refused("MissingParameter", "The request must contain the parameter Actions."):
        sqs.add_permission(**good | {"Actions": []})


# Redrive policies


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("x", "Invalid value for the parameter RedrivePolicy. Reason: Redrive policy is not a "),
        ("[]", "Redrive policy is not a valid JSON map."),
        ("{}", "Redrive policy does not contain mandatory attribute: maxReceiveCount."),
        ('{"maxReceiveCount": 1}', "mandatory attribute: deadLetterTargetArn."),
        (redrive("arn:aws:sqs:us-east-1:000000000000:no", 0), "maxReceiveCount: 0, valid values"),
        (redrive("arn:aws:sqs:us-east-1:000000000000:no", 1001), "from 1 to 1000 both inclusive."),
        (redrive("arn:aws:sqs:us-east-1:000000000000:no", "x"), "maxReceiveCount: x, valid"),
        (redrive("arn:aws:sqs:us-east-1:000000000000:no"), "Dead letter target does not exist."),
        (redrive("arn:aws:sns:us-east-1:000000000000:no"), "Only SQS queues are valid"),
        (redrive("dummy"), "Invalid value for deadLetterTargetArn."),
        (redrive("arn:aws:sqs:eu-west-1:000000000000:no"), "must be in the same region"),
        (
            '{"maxReceiveCount": 1, "deadLetterTargetArn": "a", "more": 1}',
            "Only following attributes are supported: [maxReceiveCount, deadLetterTargetArn].",
        ),
    ],
)
def test_bad_redrive_policies(sqs: "SQSClient", queue: str, policy: str, reason: str) -> None:
    code = "InvalidAttributeValue" if policy in {"x", "[]"} else "InvalidParameterValue"
    with refused(code, reason):
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": policy})


def test_redrive_policy_between_types(sqs: "SQSClient", queue: str, fifo: str) -> None:
    for source, target in ((queue, fifo), (fifo, queue)):
        with refused("InvalidParameterValue", "must be same type of queue as the source."):
            sqs.set_queue_attributes(
                QueueUrl=source, Attributes={"RedrivePolicy": redrive(arn(sqs, target))}
            )


def test_redrive_policy_is_told_with_a_number(
    sqs: "SQSClient", queue: str, make_queue: Callable[..., str]
) -> None:
    policy = redrive(arn(sqs, queue), 3)
    assert attributes(sqs, make_queue(RedrivePolicy=policy))["RedrivePolicy"] == policy
    source = make_queue(RedrivePolicy=redrive(arn(sqs, queue), "3"))
    assert attributes(sqs, source)["RedrivePolicy"] == (
        f'{{"deadLetterTargetArn":"{arn(sqs, queue)}","maxReceiveCount":3}}'
    )
    name = source.rpartition("/")[2]
    again: Any = {"RedrivePolicy": redrive(arn(sqs, queue), 3)}
    assert sqs.create_queue(QueueName=name, Attributes=again)["QueueUrl"] == source
    sqs.set_queue_attributes(QueueUrl=source, Attributes={"RedrivePolicy": ""})
    assert "RedrivePolicy" not in attributes(sqs, source)


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("x", "unsupported format"),
        ('{"redrivePermission": "some"}', "unsupported format"),
        ('{"redrivePermission": "allowAll", "more": 1}', "unsupported format"),
        ('{"redrivePermission": "byQueue", "sourceQueueArns": "a"}', "unsupported format"),
        ('{"redrivePermission": "byQueue"}', "you must also specify one or more sourceQueueArns"),
        (
            '{"redrivePermission": "denyAll", "sourceQueueArns": ["a"]}',
            "you must set redrivePermission to byQueue.",
        ),
        (
            json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": ["a"] * 11}),
            "The maximum number of source queue ARNs you can specify is 10.",
        ),
    ],
)
def test_bad_allow_policies(sqs: "SQSClient", queue: str, policy: str, reason: str) -> None:
    code = "InvalidAttributeValue" if "unsupported" in reason else "InvalidParameterValue"
    with refused(code, reason):
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedriveAllowPolicy": policy})


def test_allow_policies_are_enforced(
    sqs: "SQSClient", queue: str, make_queue: Callable[..., str]
) -> None:
    source = make_queue()
    policy = {"RedrivePolicy": redrive(arn(sqs, queue))}

    def allow(permission: str, *sources: str) -> None:
        content: dict[str, Any] = {"redrivePermission": permission}
        if sources:
            content["sourceQueueArns"] = sources
        sqs.set_queue_attributes(
            QueueUrl=queue, Attributes={"RedriveAllowPolicy": json.dumps(content)}
        )

    allow("denyAll")
    with refused("InvalidParameterValue", "RedriveAllowPolicy"):
        sqs.set_queue_attributes(QueueUrl=source, Attributes=policy)  # type: ignore[arg-type]
    allow("byQueue", arn(sqs, queue))
    with refused("InvalidParameterValue", "RedriveAllowPolicy"):
        sqs.set_queue_attributes(QueueUrl=source, Attributes=policy)  # type: ignore[arg-type]
    allow("byQueue", arn(sqs, source))
    sqs.set_queue_attributes(QueueUrl=source, Attributes=policy)  # type: ignore[arg-type]
    allow("allowAll")
    sqs.set_queue_attributes(QueueUrl=source, Attributes=policy)  # type: ignore[arg-type]


def test_list_dead_letter_source_queues(
    sqs: "SQSClient", queue: str, make_queue: Callable[..., str]
) -> None:
    assert sqs.list_dead_letter_source_queues(QueueUrl=queue)["queueUrls"] == []
    sources = sorted(make_queue(RedrivePolicy=redrive(arn(sqs, queue))) for _ in range(3))
    assert sqs.list_dead_letter_source_queues(QueueUrl=queue)["queueUrls"] == sources
    pages = sqs.get_paginator("list_dead_letter_source_queues").paginate(
        QueueUrl=queue, PaginationConfig={"PageSize": 2}
    )
    assert [page["queueUrls"] for page in pages] == [sources[:2], sources[2:]]
