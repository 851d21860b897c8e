"""SQS's Query protocol on the wire: requests of old SDKs and answers of the service, by hand.

The names come from the SQS API reference and the model of 2012-11-05 as old SDKs ship it.
"""

import pytest

from hubbub_aws.errors import AwsError
from hubbub_aws.messages import Request
from hubbub_aws.protocols import Params
from hubbub_aws.routing import Router
from hubbub_aws.services import ProtocolName, Service

URL = "http://localhost:4566/000000000000/orders"
NS = "http://queue.amazonaws.com/doc/2012-11-05/"


def form(text: str) -> Request:
    """A form body, one field a line."""
    body = "&".join(line.strip() for line in text.strip().splitlines()).encode()
    headers = {
        "content-type": "application/x-www-form-urlencoded; charset=utf-8",
        "authorization": "AWS4-HMAC-SHA256 Credential=AKID/20260504/us-east-1/sqs/aws4_request",
    }
    return Request("POST", "/000000000000/orders", "", headers, body)


REQUESTS: dict[str, tuple[str, Params]] = {
    "AddPermission": (
        "Label=l\nAWSAccountId.1=1\nAWSAccountId.2=2\nActionName.1=SendMessage",
        {"Label": "l", "AWSAccountIds": ["1", "2"], "Actions": ["SendMessage"]},
    ),
    "CancelMessageMoveTask": ("TaskHandle=t", {"TaskHandle": "t"}),
    "ChangeMessageVisibility": (
        "ReceiptHandle=a%2Fb%2B%3D\nVisibilityTimeout=60",
        {"ReceiptHandle": "a/b+=", "VisibilityTimeout": 60},
    ),
    "ChangeMessageVisibilityBatch": (
        """ChangeMessageVisibilityBatchRequestEntry.1.Id=a
        ChangeMessageVisibilityBatchRequestEntry.1.ReceiptHandle=r
        ChangeMessageVisibilityBatchRequestEntry.1.VisibilityTimeout=45""",
        {"Entries": [{"Id": "a", "ReceiptHandle": "r", "VisibilityTimeout": 45}]},
    ),
    "CreateQueue": (
        """QueueName=orders
        Attribute.1.Name=VisibilityTimeout
        Attribute.1.Value=40
        Attribute.2.Name=Policy
        Attribute.2.Value=%7B%7D
        Tag.1.Key=team
        Tag.1.Value=a+b""",
        {
            "QueueName": "orders",
            "Attributes": {"VisibilityTimeout": "40", "Policy": "{}"},
            "tags": {"team": "a b"},
        },
    ),
    "DeleteMessage": ("ReceiptHandle=r", {"ReceiptHandle": "r"}),
    "DeleteMessageBatch": (
        """DeleteMessageBatchRequestEntry.1.Id=a
        DeleteMessageBatchRequestEntry.1.ReceiptHandle=r
        DeleteMessageBatchRequestEntry.2.Id=b
        DeleteMessageBatchRequestEntry.2.ReceiptHandle=s""",
        {"Entries": [{"Id": "a", "ReceiptHandle": "r"}, {"Id": "b", "ReceiptHandle": "s"}]},
    ),
    "DeleteQueue": ("", {}),
    "GetQueueAttributes": (
        "AttributeName.1=QueueArn\nAttributeName.2=All",
        {"AttributeNames": ["QueueArn", "All"]},
    ),
    "GetQueueUrl": (
        "QueueName=orders\nQueueOwnerAWSAccountId=1",
        {"QueueName": "orders", "QueueOwnerAWSAccountId": "1"},
    ),
    "ListDeadLetterSourceQueues": (
        "NextToken=n\nMaxResults=3",
        {"NextToken": "n", "MaxResults": 3},
    ),
    "ListMessageMoveTasks": (
        "SourceArn=arn\nMaxResults=1",
        {"SourceArn": "arn", "MaxResults": 1},
    ),
    "ListQueueTags": ("", {}),
    "ListQueues": ("QueueNamePrefix=T", {"QueueNamePrefix": "T"}),
    "PurgeQueue": ("", {}),
    "ReceiveMessage": (
        """MaxNumberOfMessages=5
        WaitTimeSeconds=20
        AttributeName.1=All
        MessageSystemAttributeName.1=SentTimestamp
        MessageAttributeName.1=a.*
        ReceiveRequestAttemptId=x""",
        {
            "MaxNumberOfMessages": 5,
            "WaitTimeSeconds": 20,
            "AttributeNames": ["All"],
            "MessageSystemAttributeNames": ["SentTimestamp"],
            "MessageAttributeNames": ["a.*"],
            "ReceiveRequestAttemptId": "x",
        },
    ),
    "RemovePermission": ("Label=l", {"Label": "l"}),
    "SendMessage": (
        """MessageBody=caf%C3%A9
        DelaySeconds=0
        MessageAttribute.1.Name=n
        MessageAttribute.1.Value.DataType=String
        MessageAttribute.1.Value.StringValue=v
        MessageAttribute.2.Name=b
        MessageAttribute.2.Value.DataType=Binary
        MessageAttribute.2.Value.BinaryValue=AAH%2F
        MessageAttribute.3.Name=l
        MessageAttribute.3.Value.DataType=StringList
        MessageAttribute.3.Value.StringListValue.1=x
        MessageAttribute.3.Value.BinaryListValue.1=eA%3D%3D
        MessageSystemAttribute.1.Name=AWSTraceHeader
        MessageSystemAttribute.1.Value.DataType=String
        MessageSystemAttribute.1.Value.StringValue=Root%3D1
        MessageDeduplicationId=d
        MessageGroupId=g""",
        {
            "MessageBody": "café",
            "DelaySeconds": 0,
            "MessageAttributes": {
                "n": {"DataType": "String", "StringValue": "v"},
                "b": {"DataType": "Binary", "BinaryValue": b"\x00\x01\xff"},
                "l": {
                    "DataType": "StringList",
                    "StringListValues": ["x"],
                    "BinaryListValues": [b"x"],
                },
            },
            "MessageSystemAttributes": {
                "AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}
            },
            "MessageDeduplicationId": "d",
            "MessageGroupId": "g",
        },
    ),
    "SendMessageBatch": (
        """SendMessageBatchRequestEntry.1.Id=m1
        SendMessageBatchRequestEntry.1.MessageBody=one
        SendMessageBatchRequestEntry.1.MessageAttribute.1.Name=n
        SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.DataType=Number
        SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.StringValue=1
        SendMessageBatchRequestEntry.10.Id=m3
        SendMessageBatchRequestEntry.10.MessageBody=three
        SendMessageBatchRequestEntry.2.Id=m2
        SendMessageBatchRequestEntry.2.MessageBody=two
        SendMessageBatchRequestEntry.2.DelaySeconds=10""",
        {
            "Entries": [
                {
                    "Id": "m1",
                    "MessageBody": "one",
                    "MessageAttributes": {"n": {"DataType": "Number", "StringValue": "1"}},
                },
                {"Id": "m2", "MessageBody": "two", "DelaySeconds": 10},
                {"Id": "m3", "MessageBody": "three"},
            ]
        },
    ),
    "SetQueueAttributes": (
        "Attribute.1.Name=DelaySeconds\nAttribute.1.Value=35",
        {"Attributes": {"DelaySeconds": "35"}},
    ),
    "StartMessageMoveTask": (
        "SourceArn=a\nDestinationArn=b\nMaxNumberOfMessagesPerSecond=50",
        {"SourceArn": "a", "DestinationArn": "b", "MaxNumberOfMessagesPerSecond": 50},
    ),
    "TagQueue": ("Tag.1.Key=k\nTag.1.Value=v", {"Tags": {"k": "v"}}),
    "UntagQueue": ("TagKey.1=k\nTagKey.2=l", {"TagKeys": ["k", "l"]}),
}


def test_every_action_has_an_example(sqs: Service) -> None:
    assert set(REQUESTS) == set(sqs.model.operation_names)
    assert len(REQUESTS) == 23


@pytest.mark.parametrize("action", sorted(REQUESTS))
def test_requests(sqs: Service, action: str) -> None:
    fields, expected = REQUESTS[action]
    takes_url = "QueueUrl" in sqs.model.operation(action).input.members  # type: ignore[union-attr]
    url = "QueueUrl=http%3A%2F%2Flocalhost%3A4566%2F000000000000%2Forders" if takes_url else ""
    call = Router([sqs]).route(form(f"Action={action}\nVersion=2012-11-05\n{url}\n{fields}"))
    assert (call.service, call.operation, call.protocol) == (sqs, action, ProtocolName.QUERY)
    assert call.params() == ({"QueueUrl": URL, **expected} if takes_url else expected)


RESULTS: dict[str, tuple[Params, str]] = {
    "ChangeMessageVisibilityBatch": (
        {
            "Successful": [{"Id": "a"}],
            "Failed": [{"Id": "b", "SenderFault": True, "Code": "C", "Message": "M"}],
        },
        (
            "<ChangeMessageVisibilityBatchResultEntry><Id>a</Id>"
            "</ChangeMessageVisibilityBatchResultEntry>"
            "<BatchResultErrorEntry><Id>b</Id><SenderFault>true</SenderFault><Code>C</Code>"
            "<Message>M</Message></BatchResultErrorEntry>"
        ),
    ),
    "CreateQueue": ({"QueueUrl": URL}, f"<QueueUrl>{URL}</QueueUrl>"),
    "DeleteMessageBatch": (
        {"Successful": [{"Id": "a"}, {"Id": "b"}], "Failed": []},
        (
            "<DeleteMessageBatchResultEntry><Id>a</Id></DeleteMessageBatchResultEntry>"
            "<DeleteMessageBatchResultEntry><Id>b</Id></DeleteMessageBatchResultEntry>"
        ),
    ),
    "GetQueueAttributes": (
        {"Attributes": {"VisibilityTimeout": "30", "DelaySeconds": "0"}},
        (
            "<Attribute><Name>VisibilityTimeout</Name><Value>30</Value></Attribute>"
            "<Attribute><Name>DelaySeconds</Name><Value>0</Value></Attribute>"
        ),
    ),
    "GetQueueUrl": ({"QueueUrl": URL}, f"<QueueUrl>{URL}</QueueUrl>"),
    "ListDeadLetterSourceQueues": (
        {"queueUrls": ["a", "b"], "NextToken": "n"},
        "<QueueUrl>a</QueueUrl><QueueUrl>b</QueueUrl><NextToken>n</NextToken>",
    ),
    "ListMessageMoveTasks": (
        {"Results": [{"TaskHandle": "t", "ApproximateNumberOfMessagesMoved": 3}]},
        (
            "<ListMessageMoveTasksResultEntry><TaskHandle>t</TaskHandle>"
            "<ApproximateNumberOfMessagesMoved>3</ApproximateNumberOfMessagesMoved>"
            "</ListMessageMoveTasksResultEntry>"
        ),
    ),
    "ListQueueTags": ({"Tags": {"k": "v"}}, "<Tag><Key>k</Key><Value>v</Value></Tag>"),
    "ListQueues": ({"QueueUrls": ["a"]}, "<QueueUrl>a</QueueUrl>"),
    "ReceiveMessage": (
        {
            "Messages": [
                {
                    "MessageId": "m",
                    "ReceiptHandle": "r",
                    "MD5OfBody": "5",
                    "Body": '<a> & "b"\r\n\x01',
                    "Attributes": {"SentTimestamp": "1", "SenderId": "s"},
                    "MD5OfMessageAttributes": "6",
                    "MessageAttributes": {"n": {"BinaryValue": b"\x00", "DataType": "Binary"}},
                }
            ]
        },
        (
            "<Message><MessageId>m</MessageId><ReceiptHandle>r</ReceiptHandle><MD5OfBody>5</MD5OfBody>"
            "<Body>&lt;a&gt; &amp; &quot;b&quot;&#xd;\n\ufffd</Body>"
            "<Attribute><Name>SentTimestamp</Name><Value>1</Value></Attribute>"
            "<Attribute><Name>SenderId</Name><Value>s</Value></Attribute>"
            "<MD5OfMessageAttributes>6</MD5OfMessageAttributes>"
            "<MessageAttribute><Name>n</Name><Value><BinaryValue>AA==</BinaryValue>"
            "<DataType>Binary</DataType></Value></MessageAttribute></Message>"
        ),
    ),
    "SendMessage": (
        {"MD5OfMessageBody": "5", "MessageId": "m", "SequenceNumber": None},
        "<MD5OfMessageBody>5</MD5OfMessageBody><MessageId>m</MessageId>",
    ),
    "SendMessageBatch": (
        {"Successful": [{"Id": "a", "MessageId": "m", "MD5OfMessageBody": "5"}]},
        (
            "<SendMessageBatchResultEntry><Id>a</Id><MessageId>m</MessageId>"
            "<MD5OfMessageBody>5</MD5OfMessageBody></SendMessageBatchResultEntry>"
        ),
    ),
    "StartMessageMoveTask": ({"TaskHandle": "t"}, "<TaskHandle>t</TaskHandle>"),
    "CancelMessageMoveTask": (
        {"ApproximateNumberOfMessagesMoved": 5},
        "<ApproximateNumberOfMessagesMoved>5</ApproximateNumberOfMessagesMoved>",
    ),
}


@pytest.mark.parametrize("action", sorted(REQUESTS))
def test_results(sqs: Service, action: str) -> None:
    call = Router([sqs]).route(form(f"Action={action}\nVersion=2012-11-05"))
    result, content = RESULTS.get(action, ({}, None))
    response = call.answer(result, "rid")
    wrapped = "" if content is None else f"<{action}Result>{content}</{action}Result>"
    assert response.body.decode() == (
        f'<?xml version="1.0"?><{action}Response xmlns="{NS}">{wrapped}'
        f"<ResponseMetadata><RequestId>rid</RequestId></ResponseMetadata></{action}Response>"
    )
    assert response.status == 200
    assert dict(response.headers) == {"Content-Type": "text/xml", "x-amzn-RequestId": "rid"}
    # What has no content has no output in the model either.
    assert (content is None) == (sqs.model.operation(action).output is None)


def params_of(sqs: Service, fields: str) -> Params:
    return Router([sqs]).route(form(f"Version=2012-11-05\n{fields}")).params()


def test_list_without_an_index(sqs: Service) -> None:
    """``AttributeName=All`` stands in the API reference's own examples."""
    assert params_of(sqs, "Action=ReceiveMessage\nAttributeName=All") == {"AttributeNames": ["All"]}


def test_map_entry_without_an_index(sqs: Service) -> None:
    """So it stands in the API reference's own examples, and boto 2 sends it."""
    fields = "Action=SetQueueAttributes\nAttribute.Name=DelaySeconds\nAttribute.Value=45"
    assert params_of(sqs, fields) == {"Attributes": {"DelaySeconds": "45"}}
    fields = "Action=TagQueue\nTag.Key=team\nTag.Value=blue"
    assert params_of(sqs, fields) == {"Tags": {"team": "blue"}}


def test_empty_lists(sqs: Service) -> None:
    """Clients write an empty list under the member's name, not its entries'."""
    assert params_of(sqs, "Action=DeleteMessageBatch\nEntries=") == {"Entries": []}
    assert params_of(sqs, "Action=GetQueueAttributes\nAttributeName=") == {"AttributeNames": []}


def test_half_a_map_entry_is_for_the_service_to_refuse(sqs: Service) -> None:
    fields = "Action=SendMessage\nMessageAttribute.1.Name=n\nMessageAttribute.2.Value.DataType=D"
    assert params_of(sqs, fields) == {"MessageAttributes": {"n": {}, "": {"DataType": "D"}}}


@pytest.mark.parametrize(
    "fields",
    [
        "Action=SendMessage\nDelaySeconds=ten",
        "Action=SendMessage\nDelaySeconds=",
        "Action=SendMessage\nDelaySeconds=2147483648",
        "Action=SendMessage\nDelaySeconds=1_0",
        "Action=SendMessage\nDelaySeconds.1=1",
        "Action=SendMessage\nMessageBody.x=1",
        "Action=SendMessage\nMessageBody=%FF",
        "Action=SendMessage\nMessageAttribute=x",
        "Action=SendMessage\nMessageAttribute.1=x",
        "Action=SendMessage\nMessageAttribute.x.Name=x",
        "Action=SendMessage\nMessageAttribute.1.Name=n\nMessageAttribute.1.Value.BinaryValue=%%",
        "Action=DeleteMessageBatch\nDeleteMessageBatchRequestEntry.1=x",
        "Action=SendMessage\n" + ".".join("a" * 40) + "=1",
        "Action=SendMessage\n" + "\n".join("a=1" for _ in range(10_001)),
    ],
)
def test_malformed_forms(sqs: Service, fields: str) -> None:
    call = Router([sqs]).route(form(f"{fields}\nVersion=2012-11-05"))
    with pytest.raises(AwsError) as caught:
        call.params()
    assert caught.value.code == "SerializationException"
    response = call.refuse(caught.value, "rid")
    assert response.status == 400
    assert b"<Code>MalformedInput</Code>" in response.body


def test_first_of_equal_fields_counts(sqs: Service) -> None:
    assert params_of(sqs, "Action=SendMessage\nMessageBody=a\nMessageBody=b") == {
        "MessageBody": "a"
    }


def test_get_with_a_query_string(sqs: Service) -> None:
    query = "Action=SendMessage&MessageBody=hi%20there&Version=2012-11-05"
    call = Router([sqs]).route(Request("GET", "/000000000000/orders", query, {}, b""))
    assert call.params() == {"MessageBody": "hi there"}
