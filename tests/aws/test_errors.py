import json
from typing import Any

import botocore.parsers
import cbor2
import pytest

from hubbub_aws.errors import AwsError
from hubbub_aws.messages import Response
from hubbub_aws.models import load_model
from hubbub_aws.protocols import Structure
from hubbub_aws.services import ProtocolName, Service
from hubbub_sqs.query_shapes import query_shapes


def headers_of(response: Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers}


def parsed(response: Response, protocol: str) -> dict[str, str]:
    """The error as boto3 shows it."""
    raw = {
        "body": response.body,
        "headers": headers_of(response),
        "status_code": response.status,
    }
    parser: Any = botocore.parsers.create_parser(protocol)
    error: dict[str, str] = parser.parse(raw, None)["Error"]
    return error


MISSING_QUEUE = AwsError(
    "QueueDoesNotExist",
    "The specified queue does not exist.",
    query_message="The specified queue does not exist for this wsdl version.",
)


def test_sqs_json(sqs: Service) -> None:
    response = sqs.refuse(ProtocolName.JSON_1_0, MISSING_QUEUE, "rid")
    assert response.status == 400
    assert json.loads(response.body) == {
        "__type": "com.amazonaws.sqs#QueueDoesNotExist",
        "message": "The specified queue does not exist.",
    }
    assert headers_of(response) == {
        "content-type": "application/x-amz-json-1.0",
        "x-amzn-query-error": "AWS.SimpleQueueService.NonExistentQueue;Sender",
        "x-amzn-requestid": "rid",
    }
    assert parsed(response, "json") == {
        "Code": "AWS.SimpleQueueService.NonExistentQueue",
        "Message": "The specified queue does not exist.",
        "QueryErrorCode": "QueueDoesNotExist",
        "Type": "Sender",
    }


def test_sqs_query(sqs: Service) -> None:
    response = sqs.refuse(ProtocolName.QUERY, MISSING_QUEUE, "rid")
    assert response.status == 400
    assert response.body == (
        b'<?xml version="1.0"?><ErrorResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/">'
        b"<Error><Type>Sender</Type><Code>AWS.SimpleQueueService.NonExistentQueue</Code>"
        b"<Message>The specified queue does not exist for this wsdl version.</Message><Detail/>"
        b"</Error><RequestId>rid</RequestId></ErrorResponse>"
    )
    assert headers_of(response) == {"content-type": "text/xml", "x-amzn-requestid": "rid"}


@pytest.mark.parametrize(
    ("shape", "query_code", "status"),
    [
        ("BatchEntryIdsNotDistinct", "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", 400),
        ("BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong", 400),
        ("EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest", 400),
        ("InvalidAttributeName", "InvalidAttributeName", 400),
        ("InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId", 400),
        ("InvalidAddress", "InvalidAddress", 404),
        ("InvalidSecurity", "InvalidSecurity", 403),
        ("KmsOptInRequired", "KMS.OptInRequired", 403),
        ("KmsNotFound", "KMS.NotFoundException", 400),
        ("RequestThrottled", "RequestThrottled", 403),
        ("MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", 400),
        ("OverLimit", "OverLimit", 403),
        ("PurgeQueueInProgress", "AWS.SimpleQueueService.PurgeQueueInProgress", 403),
        ("QueueDeletedRecently", "AWS.SimpleQueueService.QueueDeletedRecently", 400),
        ("QueueNameExists", "QueueAlreadyExists", 400),
        ("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404),
        ("ResourceNotFoundException", "ResourceNotFoundException", 404),
        (
            "TooManyEntriesInBatchRequest",
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            400,
        ),
        ("UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation", 400),
    ],
)
def test_sqs_codes(sqs: Service, shape: str, query_code: str, status: int) -> None:
    json_response = sqs.refuse(ProtocolName.JSON_1_0, AwsError(shape, "text"), "rid")
    assert json.loads(json_response.body)["__type"] == f"com.amazonaws.sqs#{shape}"
    assert headers_of(json_response)["x-amzn-query-error"] == f"{query_code};Sender"
    xml_response = sqs.refuse(ProtocolName.QUERY, AwsError(shape, "text"), "rid")
    assert parsed(xml_response, "query")["Code"] == query_code
    assert json_response.status == xml_response.status == status


@pytest.mark.parametrize(
    ("shape", "query_code", "status"),
    [
        ("InvalidParameterValueException", "InvalidParameterValue", 400),
        ("MissingRequiredParameterException", "MissingParameter", 400),
        ("InvalidSignatureException", "SignatureDoesNotMatch", 403),
        ("UnrecognizedClientException", "InvalidClientTokenId", 403),
        ("IncompleteSignatureException", "IncompleteSignature", 400),
        ("MissingAuthenticationTokenException", "MissingAuthenticationToken", 403),
        ("SerializationException", "MalformedInput", 400),
        ("UnknownOperationException", "InvalidAction", 400),
    ],
)
def test_framework_codes(sqs: Service, shape: str, query_code: str, status: int) -> None:
    response = sqs.refuse(ProtocolName.JSON_1_0, AwsError(shape, "text"), "rid")
    assert json.loads(response.body) == {
        "__type": f"com.amazon.coral.service#{shape}",
        "message": "text",
    }
    assert headers_of(response)["x-amzn-query-error"] == f"{query_code};Sender"
    assert response.status == status


def test_a_fault_of_the_receiver(sqs: Service) -> None:
    error = AwsError("InternalFailure", "Sorry")
    response = sqs.refuse(ProtocolName.JSON_1_0, error, "rid")
    assert response.status == 500
    assert headers_of(response)["x-amzn-query-error"] == "InternalFailure;Receiver"
    assert b"<Type>Receiver</Type>" in sqs.refuse(ProtocolName.QUERY, error, "rid").body


@pytest.mark.parametrize("protocol", [ProtocolName.JSON_1_0, ProtocolName.QUERY])
def test_a_message_that_quotes_undecodable_bytes(sqs: Service, protocol: ProtocolName) -> None:
    quoted = b"a\xffb".decode("utf-8", "surrogateescape")
    assert b"a?b" in sqs.refuse(protocol, AwsError("OverLimit", quoted), "rid").body


def test_overrides(sqs: Service) -> None:
    error = AwsError("OverLimit", "x", status=429, query_code="Throttled", sender=False)
    response = sqs.refuse(ProtocolName.JSON_1_0, error, "rid")
    assert response.status == 429
    assert headers_of(response)["x-amzn-query-error"] == "Throttled;Receiver"


def test_kinesis_json(kinesis: Service) -> None:
    """Bare names, no query error, and ``Message`` in a single error; a second request id."""
    error = AwsError("ResourceNotFoundException", "Stream x under account 1 not found.")
    response = kinesis.refuse(ProtocolName.JSON_1_1, error, "rid")
    assert response.body == (
        b'{"__type":"ResourceNotFoundException","message":"Stream x under account 1 not found."}'
    )
    headers = headers_of(response)
    assert len(headers.pop("x-amz-id-2")) == 96
    assert headers == {"content-type": "application/x-amz-json-1.1", "x-amzn-requestid": "rid"}
    odd = kinesis.refuse(
        ProtocolName.JSON_1_1, AwsError("SerializationException", "Expected list or null"), "rid"
    )
    assert json.loads(odd.body) == {
        "__type": "SerializationException",
        "Message": "Expected list or null",
    }
    unsigned = AwsError("MissingAuthenticationTokenException", "Missing Authentication Token")
    assert kinesis.refuse(ProtocolName.JSON_1_1, unsigned, "rid").status == 400


def test_kinesis_cbor(kinesis: Service) -> None:
    error = AwsError("ExpiredIteratorException", "Iterator expired.")
    response = kinesis.refuse(ProtocolName.CBOR_1_1, error, "rid")
    assert cbor2.loads(response.body) == {
        "__type": "ExpiredIteratorException",
        "message": "Iterator expired.",
    }
    assert headers_of(response)["content-type"] == "application/x-amz-cbor-1.1"


def test_sns_query(sns: Service) -> None:
    """Codes and statuses from the model."""
    expected = {
        "InvalidParameterException": ("InvalidParameter", 400),
        "NotFoundException": ("NotFound", 404),
        "InvalidParameterValueException": ("ParameterValueInvalid", 400),
        "AuthorizationErrorException": ("AuthorizationError", 403),
        "ThrottledException": ("Throttled", 429),
    }
    for shape, (code, status) in expected.items():
        response = sns.refuse(ProtocolName.QUERY, AwsError(shape, "a < b"), "rid")
        assert response.status == status
        assert parsed(response, "query") == {"Type": "Sender", "Code": code, "Message": "a < b"}


def test_rpc_cbor(cloudwatch: Service) -> None:
    error = AwsError("ResourceNotFound", "none", members={"Extra": 1})
    response = cloudwatch.refuse(ProtocolName.RPC_CBOR, error, "rid")
    assert cbor2.loads(response.body) == {
        "__type": "com.amazonaws.cloudwatch#ResourceNotFound",
        "message": "none",
        "Extra": 1,
    }
    assert headers_of(response)["smithy-protocol"] == "rpc-v2-cbor"
    assert parsed(response, "smithy-rpc-v2-cbor")["Message"] == "none"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b'{"DelaySeconds":"3"}', "STRING_VALUE can not be converted to an Integer"),
        (b'{"DelaySeconds":true}', "TRUE_VALUE can not be converted to an Integer"),
        (b'{"DelaySeconds":[]}', "Start of list found where not expected"),
        (b'{"DelaySeconds":2147483648}', "Numeric value (2147483648) out of range of integer"),
        (b'{"MessageBody":3}', "NUMBER_VALUE can not be converted to a String"),
        (b'{"MessageBody":false}', "FALSE_VALUE can not be converted to a String"),
        (b'{"MessageBody":{}}', "Start of structure or map found where not expected."),
        (b'{"MessageAttributes":3}', "Expected map or null"),
        (b'{"MessageAttributes":[]}', "Start of list found where not expected"),
        (b'{"MessageAttributes":{"a":3}}', "Expected null"),
        (
            b'{"MessageAttributes":{"a":{"BinaryValue":3}}}',
            "NUMBER_VALUE can not be converted to a Blob",
        ),
        (
            b'{"MessageAttributes":{"a":{"BinaryValue":"23456"}}}',
            (
                "'23456' can not be converted to a Blob: "
                "Base64 encoded length is expected a multiple of 4 bytes but found: 5"
            ),
        ),
        (
            b'{"MessageAttributes":{"a":{"StringListValues":"x"}}}',
            "Expected list or null",
        ),
        (b"[]", "Start of list found where not expected"),
        (b"3", "Expected null"),
        (b"", None),
        (b"{", None),
        (b'{"MessageBody":"\xff"}', None),
        (b"[" * 100_000, None),
        (b'{"DelaySeconds":' + b"9" * 10_000 + b"}", None),
    ],
)
def test_type_errors_in_json(sqs: Service, document: bytes, message: str | None) -> None:
    binding = sqs.binding(ProtocolName.JSON_1_0, "SendMessage")
    assert binding is not None
    with pytest.raises(AwsError) as caught:
        binding.parse(document)
    assert caught.value.code == "SerializationException"
    assert caught.value.message == message


def test_conversions_in_json(sqs: Service) -> None:
    binding = sqs.binding(ProtocolName.JSON_1_0, "SendMessage")
    assert binding is not None
    document = b'{"DelaySeconds":3.9,"MessageBody":null,"Unknown":[1],"MessageGroupId":"g"}'
    assert binding.parse(document) == {"DelaySeconds": 3, "MessageGroupId": "g"}


def test_none_means_absent_in_results(sqs: Service) -> None:
    binding = sqs.binding(ProtocolName.JSON_1_0, "ReceiveMessage")
    assert binding is not None
    result = {"Messages": [{"Body": "null", "MD5OfMessageAttributes": None}]}
    assert binding.serialize(result, "rid") == b'{"Messages":[{"Body":"null"}]}'
    assert binding.serialize({"Messages": None}, "rid") == b"{}"


class SentMessage(Structure):
    message_id: str
    sequence_number: str | None = None


@pytest.mark.parametrize(
    "protocol", [ProtocolName.JSON_1_0, ProtocolName.QUERY, ProtocolName.CBOR_1_1]
)
@pytest.mark.parametrize("number", [None, "7"])
def test_a_structure_is_answered_as_a_dict_of_its_members(
    protocol: ProtocolName, number: str | None
) -> None:
    service = Service(load_model("sqs"), query=query_shapes(), cbor=True)
    binding = service.binding(protocol, "SendMessage")
    assert binding is not None
    expected = {"MessageId": "null"} | ({} if number is None else {"SequenceNumber": number})
    answer = binding.serialize(SentMessage("null", number), "rid")
    assert answer == binding.serialize(expected, "rid")


class ReadRecord(Structure):
    approximate_arrival_timestamp: float
    data: bytes


class ReadRecords(Structure):
    records: list[ReadRecord]


def test_structures_with_times_are_the_same_in_cbor() -> None:
    service = Service(load_model("kinesis"), cbor=True)
    binding = service.binding(ProtocolName.CBOR_1_1, "GetRecords")
    assert binding is not None
    answer = binding.serialize(ReadRecords([ReadRecord(1.5, b"x")]), "rid")
    record = {"ApproximateArrivalTimestamp": 1.5, "Data": b"x"}
    assert answer == binding.serialize({"Records": [record]}, "rid")
    assert b"\xc1\x19\x05\xdc" in answer  # tag 1 and milliseconds


def test_operation_without_output_has_no_body(sqs: Service) -> None:
    binding = sqs.binding(ProtocolName.JSON_1_0, "DeleteMessage")
    assert binding is not None
    assert sqs.answer(ProtocolName.JSON_1_0, binding, {}, "rid").body == b""
