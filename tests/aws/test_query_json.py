"""Query whose answers are JSON: what API Gateway's users see of SQS and SNS."""

import json
from typing import Any

import pytest

from hubbub_aws.errors import AwsError
from hubbub_aws.messages import Request
from hubbub_aws.protocols import accepts_json
from hubbub_aws.routing import Call, Router
from hubbub_aws.services import Service


def route(service: Service, query: str) -> Call:
    headers = {"accept": "application/json", "host": "localhost"}
    return Router([service]).route(Request("GET", "/", query, headers, b""))


def answered(service: Service, action: str, result: dict[str, Any]) -> Any:
    response = route(service, f"Action={action}").answer(result, "rid")
    assert dict(response.headers)["Content-Type"] == "application/json"
    answer = json.loads(response.body)[f"{action}Response"]
    assert answer.pop("ResponseMetadata") == {"RequestId": "rid"}
    assert list(answer) in ([], [f"{action}Result"])
    return answer.get(f"{action}Result")


def test_json_is_asked_for_by_a_field_too(sns: Service) -> None:
    """So boto 2 does, which accepts anything."""
    request = Request("POST", "/", "Action=ListTopics&ContentType=JSON", {"accept": "*/*"}, b"")
    response = Router([sns]).route(request).answer({"Topics": []}, "rid")
    assert json.loads(response.body)["ListTopicsResponse"]["ListTopicsResult"]["Topics"] == []


def test_members_that_are_absent_are_null(sqs: Service, sns: Service) -> None:
    assert answered(sqs, "SendMessage", {"MessageId": "m", "MD5OfMessageBody": "5"}) == {
        "MD5OfMessageAttributes": None,
        "MD5OfMessageBody": "5",
        "MD5OfMessageSystemAttributes": None,
        "MessageId": "m",
        "SequenceNumber": None,
    }
    assert answered(sns, "Publish", {"MessageId": "m"}) == {
        "MessageId": "m",
        "SequenceNumber": None,
    }
    assert answered(sqs, "DeleteMessage", {}) is None


def test_messages(sqs: Service) -> None:
    assert answered(sqs, "ReceiveMessage", {}) == {"messages": None}
    message = {
        "Body": "b",
        "MessageId": "m",
        "Attributes": {"SenderId": "s"},
        "MessageAttributes": {"n": {"BinaryValue": b"\x00", "DataType": "Binary"}},
    }
    [found] = answered(sqs, "ReceiveMessage", {"Messages": [message]})["messages"]
    assert list(found) == [
        "Attributes", "Body", "MD5OfBody", "MD5OfMessageAttributes", "MessageAttributes",
        "MessageId", "ReceiptHandle",
    ]  # fmt: skip
    assert found["Attributes"] == [{"Name": "SenderId", "Value": "s"}]
    [attribute] = found["MessageAttributes"]
    assert attribute["Name"] == "n"
    assert attribute["Value"]["BinaryValue"] == "AA=="


def test_maps_without_names_of_their_own_are_objects(sns: Service) -> None:
    attributes = {"Owner": "1"}
    assert answered(sns, "GetTopicAttributes", {"Attributes": attributes}) == {
        "Attributes": attributes
    }


def test_errors(sqs: Service) -> None:
    call = route(sqs, "Action=GetQueueUrl&QueueName=x")
    error = AwsError("QueueDoesNotExist", "no", query_message="not in this wsdl version")
    response = call.refuse(error, "rid")
    assert response.status == 400
    assert json.loads(response.body) == {
        "Error": {
            "Code": "AWS.SimpleQueueService.NonExistentQueue",
            "Message": "not in this wsdl version",
            "Type": "Sender",
        },
        "RequestId": "rid",
    }


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("text/xml", False),
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/json, text/plain, */*", True),
        ("text/html, application/xhtml+xml, application/json", False),
        ("application/jsonp", False),
        ("text/plain, application/json", True),
    ],
)
def test_who_accepts_json(accept: str | None, wanted: bool) -> None:
    assert accepts_json(accept) is wanted
