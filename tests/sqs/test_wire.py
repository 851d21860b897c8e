"""Both protocols on the wire: AWS JSON 1.0 and AWS Query, and what surrounds them."""

import base64
import hashlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

import pytest

from .conftest import SqsHub
from .helpers import bodies, receive
from .wire import Answer, Connection

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

XMLNS = "{http://queue.amazonaws.com/doc/2012-11-05/}"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture
def wire(hub: SqsHub) -> Iterator[Connection]:
    with Connection(hub.url) as connection:
        yield connection


def xml(answer: Answer) -> ET.Element:
    assert answer.headers["content-type"] == "text/xml"
    return ET.fromstring(answer.body)


def find(root: ET.Element, path: str) -> list[str]:
    return [each.text or "" for each in root.findall("/".join(XMLNS + p for p in path.split("/")))]


# JSON


def test_an_answer_in_json(wire: Connection, queue: str) -> None:
    answer = wire.json("SendMessage", {"QueueUrl": queue, "MessageBody": "x"})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/x-amz-json-1.0"
    assert UUID.fullmatch(answer.headers["x-amzn-requestid"])
    assert set(answer.json) == {"MD5OfMessageBody", "MessageId"}
    assert UUID.fullmatch(answer.json["MessageId"])


def test_results_without_members(wire: Connection, queue: str) -> None:
    assert wire.json("ReceiveMessage", {"QueueUrl": queue}).body == b"{}"
    assert wire.json("ListQueues", {"QueueNamePrefix": "nothing-"}).body == b"{}"
    assert wire.json("SetQueueAttributes", {"QueueUrl": queue, "Attributes": {"DelaySeconds": "0"}}
    ).body == b""  # fmt: skip


@pytest.mark.parametrize(
    ("operation", "params", "status", "kind", "query_code"),
    [
        ("GetQueueUrl", {"QueueName": "nope"}, 400, "com.amazonaws.sqs#QueueDoesNotExist",
         "AWS.SimpleQueueService.NonExistentQueue;Sender"),
        ("GetQueueUrl", {}, 400, "com.amazon.coral.service#MissingRequiredParameterException",
         "MissingParameter;Sender"),
        ("ReceiveMessage", {"MaxNumberOfMessages": 11}, 400,
         "com.amazon.coral.service#InvalidParameterValueException",
         "InvalidParameterValue;Sender"),
        ("DeleteMessage", {"ReceiptHandle": "x"}, 404, "com.amazonaws.sqs#ReceiptHandleIsInvalid",
         "ReceiptHandleIsInvalid;Sender"),
        ("DeleteMessageBatch", {"Entries": []}, 400, "com.amazonaws.sqs#EmptyBatchRequest",
         "AWS.SimpleQueueService.EmptyBatchRequest;Sender"),
        ("SetQueueAttributes", {"Attributes": {"X": "1"}}, 400,
         "com.amazonaws.sqs#InvalidAttributeName", "InvalidAttributeName;Sender"),
        ("SendMessage", {"MessageBody": 5}, 400,
         "com.amazon.coral.service#SerializationException", "MalformedInput;Sender"),
        ("Fly", {}, 400, "com.amazon.coral.service#UnknownOperationException",
         "InvalidAction;Sender"),
    ],
)  # fmt: skip
def test_errors_in_json(
    wire: Connection, queue: str, operation: str, params: dict[str, Any], status: int, kind: str,
    query_code: str,
) -> None:  # fmt: skip
    url = {} if operation == "GetQueueUrl" else {"QueueUrl": queue}
    answer = wire.json(operation, url | params)
    assert answer.status == status
    assert answer.json["__type"] == kind
    assert answer.headers["x-amzn-query-error"] == query_code
    assert UUID.fullmatch(answer.headers["x-amzn-requestid"])


def test_malformed_json(wire: Connection) -> None:
    for body in (b"{", b"[]", b"\xff", b""):
        answer = wire.json("ListQueues", body)
        assert answer.status == 400
        assert answer.json["__type"] == "com.amazon.coral.service#SerializationException"


def test_json_on_a_queue_url(wire: Connection, sqs: "SQSClient", queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    path = queue.partition(wire.host)[2]
    wire.send(
        "POST", path, b'{"QueueUrl": "%b"}' % queue.encode(),
        {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.ReceiveMessage"},
    )  # fmt: skip
    assert wire.read().json["Messages"][0]["Body"] == "x"


# Query


def test_a_queue_s_life_in_query(wire: Connection, sqs: "SQSClient") -> None:
    created = xml(
        wire.query(
            "CreateQueue", QueueName="by-query",
            **{"Attribute.1.Name": "VisibilityTimeout", "Attribute.1.Value": "40",
               "Tag.1.Key": "k", "Tag.1.Value": "v"},
        )
    )  # fmt: skip
    assert created.tag == f"{XMLNS}CreateQueueResponse"
    (url,) = find(created, "CreateQueueResult/QueueUrl")
    assert url == f"http://{wire.host}/000000000000/by-query"
    assert len(find(created, "ResponseMetadata/RequestId")) == 1
    path = url.partition(wire.host)[2]

    sent = xml(
        wire.query(
            "SendMessage", path, MessageBody="hällo & <bye>",
            **{"MessageAttribute.1.Name": "a", "MessageAttribute.1.Value.DataType": "String",
               "MessageAttribute.1.Value.StringValue": "b",
               "MessageAttribute.2.Name": "c", "MessageAttribute.2.Value.DataType": "Binary",
               "MessageAttribute.2.Value.BinaryValue": base64.b64encode(b"\0").decode()},
        )
    )  # fmt: skip
    assert find(sent, "SendMessageResult/MD5OfMessageBody") == [
        hashlib.md5("hällo & <bye>".encode()).hexdigest()
    ]
    received = xml(
        wire.query(
            "ReceiveMessage", path, "GET",
            **{"AttributeName.1": "All", "MessageAttributeName.1": "All", "VisibilityTimeout": "0"},
        )
    )  # fmt: skip
    message = "ReceiveMessageResult/Message"
    assert find(received, f"{message}/Body") == ["hällo & <bye>"]
    assert "SenderId" in find(received, f"{message}/Attribute/Name")
    assert find(received, f"{message}/MessageAttribute/Name") == ["a", "c"]
    assert find(received, f"{message}/MessageAttribute/Value/StringValue") == ["b"]
    assert find(received, f"{message}/MessageAttribute/Value/BinaryValue") == ["AA=="]
    # The same message in the other protocol, with the same digests.
    (again,) = receive(sqs, url)
    assert find(received, f"{message}/MD5OfMessageAttributes") == [again["MD5OfMessageAttributes"]]
    assert find(received, f"{message}/MessageId") == [again["MessageId"]]

    asked = {"AttributeName.1": "VisibilityTimeout", "AttributeName.2": "DelaySeconds"}
    got = xml(wire.query("GetQueueAttributes", path, **asked))
    names = find(got, "GetQueueAttributesResult/Attribute/Name")
    values = find(got, "GetQueueAttributesResult/Attribute/Value")
    assert dict(zip(names, values, strict=True)) == {
        "VisibilityTimeout": "40",
        "DelaySeconds": "0",
    }
    tags = xml(wire.query("ListQueueTags", path))
    assert find(tags, "ListQueueTagsResult/Tag/Key") == ["k"]

    deleted = wire.query("DeleteMessage", path, ReceiptHandle=again["ReceiptHandle"])
    assert xml(deleted).tag == f"{XMLNS}DeleteMessageResponse"
    gone = xml(wire.query("DeleteQueue", QueueUrl=url))
    assert gone.tag == f"{XMLNS}DeleteQueueResponse"


def test_batches_in_query(wire: Connection, queue: str) -> None:
    prefix = "SendMessageBatchRequestEntry"
    answer = xml(
        wire.query(
            "SendMessageBatch", QueueUrl=queue,
            **{f"{prefix}.1.Id": "a", f"{prefix}.1.MessageBody": "x",
               f"{prefix}.2.Id": "b", f"{prefix}.2.MessageBody": "y",
               f"{prefix}.3.Id": "c", f"{prefix}.3.MessageBody": "z",
               f"{prefix}.3.DelaySeconds": "901"},
        )
    )  # fmt: skip
    result = "SendMessageBatchResult"
    assert find(answer, f"{result}/SendMessageBatchResultEntry/Id") == ["a", "b"]
    assert find(answer, f"{result}/BatchResultErrorEntry/Id") == ["c"]
    assert find(answer, f"{result}/BatchResultErrorEntry/Code") == ["InvalidParameterValue"]
    assert find(answer, f"{result}/BatchResultErrorEntry/SenderFault") == ["true"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_errors_in_query(wire: Connection, method: str) -> None:
    answer = wire.query("GetQueueUrl", method=method, QueueName="nope")
    assert answer.status == 400
    root = xml(answer)
    assert root.tag == f"{XMLNS}ErrorResponse"
    assert find(root, "Error/Type") == ["Sender"]
    assert find(root, "Error/Code") == ["AWS.SimpleQueueService.NonExistentQueue"]
    assert find(root, "Error/Message") == [
        "The specified queue does not exist for this wsdl version."
    ]
    assert len(find(root, "RequestId")) == 1
    assert "x-amzn-query-error" not in answer.headers


def test_query_in_json(wire: Connection, queue: str) -> None:
    path = queue.partition(wire.host)[2]
    question = f"{path}?Action=GetQueueAttributes&AttributeName.1=QueueArn"
    wire.send("GET", question, headers={"Accept": "application/json"})
    answer = wire.read()
    assert answer.headers["content-type"] == "application/json"
    result = answer.json["GetQueueAttributesResponse"]["GetQueueAttributesResult"]
    [attribute] = result["Attributes"]
    assert attribute["Name"] == "QueueArn"
    assert attribute["Value"].endswith(queue.rpartition("/")[2])
    wire.send("GET", "/?Action=GetQueueUrl&QueueName=none", headers={"Accept": "application/json"})
    answer = wire.read()
    assert answer.status == 400
    assert answer.json["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"


def test_unknown_actions(wire: Connection) -> None:
    answer = wire.query("Fly")
    assert answer.status == 400
    assert find(xml(answer), "Error/Code") == ["InvalidAction"]


@pytest.mark.parametrize("action", ["Fly", "CreateQueue", "ListQueues"])
def test_actions_that_the_url_of_a_queue_does_not_have(
    wire: Connection, queue: str, action: str
) -> None:
    answer = wire.query(action, queue.partition(wire.host)[2], "GET", QueueName="x")
    assert answer.status == 400
    assert find(xml(answer), "Error/Code") == ["InvalidAction"]
    assert find(xml(answer), "Error/Message") == [
        f"The action {action} is not valid for this endpoint."
    ]


def test_tags_as_the_java_sdk_sends_them(wire: Connection, sqs: "SQSClient", queue: str) -> None:
    wire.query("TagQueue", QueueUrl=queue, **{"Tags.1.Key": "a", "Tags.1.Value": "b"})
    assert sqs.list_queue_tags(QueueUrl=queue)["Tags"] == {"a": "b"}


def test_an_address_that_is_no_queue_s_in_query(wire: Connection) -> None:
    answer = wire.query("PurgeQueue", QueueUrl=f"http://{wire.host}/")
    assert answer.status == 404
    assert find(xml(answer), "Error/Code") == ["InvalidAddress"]


def test_values_that_are_null(wire: Connection, sqs: "SQSClient", queue: str) -> None:
    answer = wire.json("TagQueue", {"QueueUrl": queue, "Tags": {"a": "b", "c": None}})
    assert answer.status == 400
    assert answer.json == {
        "__type": "com.amazon.coral.service#InvalidParameterValueException",
        "message": "the parameter 'value' may not be null",
    }
    assert "Tags" not in sqs.list_queue_tags(QueueUrl=queue)


def test_the_trace_of_a_request(wire: Connection, sqs: "SQSClient", queue: str) -> None:
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793"
    params = {"QueueUrl": queue, "MessageBody": "a"}
    sent = wire.json("SendMessage", params, **{"X-Amzn-Trace-Id": trace})
    assert "MD5OfMessageSystemAttributes" not in sent.json
    own = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=own"}}
    batch = [
        {"Id": "1", "MessageBody": "b"},
        {"Id": "2", "MessageBody": "c", "MessageSystemAttributes": own},
    ]
    params = {"QueueUrl": queue, "Entries": batch}  # type: ignore[dict-item]
    wire.json("SendMessageBatch", params, **{"X-Amzn-Trace-Id": trace})
    found = [each["Attributes"]["AWSTraceHeader"] for each in receive(sqs, queue)]
    assert found == [trace, trace, "Root=own"]


def test_unsigned_without_action(wire: Connection) -> None:
    wire.send("GET", "/")
    assert wire.read().status in {403, 404}


def test_queue_urls_follow_the_host(wire: Connection, queue: str) -> None:
    name = queue.rpartition("/")[2]
    wire.send(
        "POST", "/", b'{"QueueName": "%b"}' % name.encode(),
        {"Host": "sqs.eu-west-1.example.org:99", "X-Amz-Target": "AmazonSQS.GetQueueUrl",
         "Content-Type": "application/x-amz-json-1.0"},
    )  # fmt: skip
    url = wire.read().json["QueueUrl"]
    assert url == f"http://sqs.eu-west-1.example.org:99/000000000000/{name}"
    found = wire.json("GetQueueAttributes", {"QueueUrl": url, "AttributeNames": ["QueueArn"]})
    assert found.json["Attributes"]["QueueArn"] == f"arn:aws:sqs:eu-west-1:000000000000:{name}"


def test_a_body_that_is_too_large(wire: Connection) -> None:
    wire.send("POST", "/", b"", {"Content-Length": "1000000001", "X-Amz-Target": "AmazonSQS.X",
                                 "Content-Type": "application/x-amz-json-1.0"})  # fmt: skip
    answer = wire.read()
    assert answer.status == 413
    assert "RequestEntityTooLarge" in answer.json["__type"]


def test_pipelined_requests(wire: Connection, sqs: "SQSClient", queue: str) -> None:
    for number in range(20):
        wire.send_json("SendMessage", {"QueueUrl": queue, "MessageBody": str(number)})
    assert {wire.read().status for _ in range(20)} == {200}
    assert bodies(receive(sqs, queue)) == [str(number) for number in range(10)]


# Web pages


def test_pages_of_this_machine_may_call(wire: Connection) -> None:
    origin = "http://localhost:3000"
    wire.send(
        "OPTIONS", "/", b"",
        {"Origin": origin, "Access-Control-Request-Method": "POST",
         "Access-Control-Request-Headers": "content-type,x-amz-target"},
    )  # fmt: skip
    answer = wire.read()
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-headers"] == "content-type,x-amz-target"
    assert "POST" in answer.headers["access-control-allow-methods"]
    answer = wire.json("ListQueues", {}, Origin=origin)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert "x-amzn-RequestId" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil:80"])
def test_other_pages_may_not(wire: Connection, sqs: "SQSClient", queue: str, origin: str) -> None:
    wire.send(
        "POST", "/", f"Action=SendMessage&MessageBody=x&QueueUrl={quote(queue)}".encode(),
        {"Origin": origin, "Content-Type": "application/x-www-form-urlencoded"},
    )  # fmt: skip
    answer = wire.read()
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers
    assert receive(sqs, queue) == []
