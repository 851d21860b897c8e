import cbor2
import pytest

from hubbub_aws.errors import AwsError
from hubbub_aws.messages import Request, Response
from hubbub_aws.routing import Call, Router
from hubbub_aws.services import ProtocolName, Service


@pytest.fixture(scope="module")
def router(sqs: Service, sns: Service, kinesis: Service, cloudwatch: Service) -> Router:
    return Router([sqs, sns, kinesis, cloudwatch], accounts={"AKIAMAPPED": "111122223333"})


def request(method: str = "POST", target: str = "/", body: bytes = b"", **headers: str) -> Request:
    wire = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request.from_wire(method.encode(), target.encode(), wire, body)


def scope(service: str, region: str = "eu-west-1", key: str = "AKIDEXAMPLE") -> str:
    return (
        f"AWS4-HMAC-SHA256 Credential={key}/20260504/{region}/{service}/aws4_request, "
        "SignedHeaders=host, Signature=0"
    )


FORM = "application/x-www-form-urlencoded"


def found(call: Call) -> tuple[str | None, str, str]:
    name = None if call.service is None else call.service.model.name
    return (name, call.protocol.value, call.operation)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (
            request(x_amz_target="AmazonSQS.ListQueues", content_type="application/x-amz-json-1.0"),
            ("sqs", "json-1.0", "ListQueues"),
        ),
        (
            request(x_amz_target="AmazonSQS.ListQueues", content_type="application/x-amz-json-1.1"),
            ("sqs", "json-1.1", "ListQueues"),
        ),
        (
            request(x_amz_target="Kinesis_20131202.PutRecord"),
            ("kinesis", "json-1.1", "PutRecord"),
        ),
        (
            request(
                x_amz_target="Kinesis_20131202.PutRecord",
                content_type="application/x-amz-cbor-1.1",
            ),
            ("kinesis", "cbor-1.1", "PutRecord"),
        ),
        (
            request(
                target="/service/GraniteServiceVersion20100801/operation/ListMetrics",
                smithy_protocol="rpc-v2-cbor",
            ),
            ("cloudwatch", "rpc-v2-cbor", "ListMetrics"),
        ),
        (
            request(body=b"Action=Publish&Version=2010-03-31", content_type=FORM),
            ("sns", "query", "Publish"),
        ),
        # The same action in two services: the version decides, then the scope.
        (
            request(body=b"Action=AddPermission&Version=2010-03-31", content_type=FORM),
            ("sns", "query", "AddPermission"),
        ),
        (
            request(body=b"Action=AddPermission&Version=2012-11-05", content_type=FORM),
            ("sqs", "query", "AddPermission"),
        ),
        (
            request(body=b"Action=AddPermission", content_type=FORM, authorization=scope("sns")),
            ("sns", "query", "AddPermission"),
        ),
        (
            request(
                body=b"Action=AddPermission",
                content_type=FORM,
                host="sns.us-east-1.amazonaws.com",
            ),
            ("sns", "query", "AddPermission"),
        ),
        # The action wins over a scope that says otherwise.
        (
            request(
                body=b"Action=SendMessage&Version=2012-11-05",
                content_type=FORM,
                authorization=scope("sns"),
            ),
            ("sqs", "query", "SendMessage"),
        ),
        (
            request("GET", "/1/q?Action=SendMessage&MessageBody=x&Version=2012-11-05"),
            ("sqs", "query", "SendMessage"),
        ),
        (
            request(
                "POST",
                "/1/q?Action=SendMessage&Version=2012-11-05",
                b"MessageBody=x",
                content_type=FORM,
            ),
            ("sqs", "query", "SendMessage"),
        ),
    ],
)
def test_routes(router: Router, sent: Request, expected: tuple[str, str, str]) -> None:
    call = router.route(sent)
    assert found(call) == expected


def refusal(call: Call) -> tuple[AwsError, Response]:
    with pytest.raises(AwsError) as caught:
        call.params()
    return caught.value, call.refuse(caught.value, "rid")


@pytest.mark.parametrize(
    "headers",
    [
        {"x_amz_target": "AmazonSQS.FlyAway"},
        {"x_amz_target": "AmazonSQS."},
        {"x_amz_target": "Nobody.Knows", "authorization": scope("sqs")},
        {"host": "sqs.eu-west-1.amazonaws.com"},
        {"host": "eu-west-1.queue.amazonaws.com:4566"},
    ],
)
def test_unknown_operation_in_json(router: Router, headers: dict[str, str]) -> None:
    call = router.route(
        request("POST", "/", b"", content_type="application/x-amz-json-1.0", **headers)
    )
    _, response = refusal(call)
    assert response.status == 400
    assert response.body == b'{"__type":"com.amazon.coral.service#UnknownOperationException"}'
    assert ("x-amzn-query-error", "InvalidAction;Sender") in response.headers


def test_unknown_service_in_json_and_cbor(router: Router) -> None:
    call = router.route(
        request(x_amz_target="Nobody.Knows", content_type="application/x-amz-json-1.1")
    )
    _, response = refusal(call)
    assert response.body == b'{"__type":"UnknownOperationException"}'
    assert response.status == 400
    call = router.route(
        request(x_amz_target="Nobody.Knows", content_type="application/x-amz-cbor-1.1")
    )
    _, response = refusal(call)
    assert cbor2.loads(response.body) == {"__type": "UnknownOperationException"}
    call = router.route(request(target="/service/Nobody/operation/Knows"))
    _, response = refusal(call)
    assert cbor2.loads(response.body) == {"__type": "UnknownOperationException"}
    assert ("smithy-protocol", "rpc-v2-cbor") in response.headers


def test_protocol_that_the_service_does_not_speak(router: Router) -> None:
    call = router.route(
        request(x_amz_target="AmazonSQS.ListQueues", content_type="application/x-amz-cbor-1.1")
    )
    _, response = refusal(call)
    assert cbor2.loads(response.body) == {"__type": "UnknownOperationException"}


@pytest.mark.parametrize(
    "body",
    [b"Action=FlyAway&Version=2012-11-05", b"Action=SendMessage&Version=1999-01-01"],
)
def test_invalid_action(router: Router, body: bytes) -> None:
    call = router.route(request(body=body, content_type=FORM, authorization=scope("sqs")))
    error, response = refusal(call)
    action, version = (part.partition(b"=")[2].decode() for part in body.split(b"&"))
    assert error.query_message == f"Could not find operation {action} for version {version}"
    assert response.status == 400
    assert b"<Code>InvalidAction</Code>" in response.body
    assert b'xmlns="http://queue.amazonaws.com/doc/2012-11-05/"' in response.body


def test_missing_action(router: Router) -> None:
    call = router.route(request(body=b"QueueName=x", content_type=FORM, authorization=scope("sqs")))
    _, response = refusal(call)
    assert response.status == 400
    assert b"<Code>MissingAction</Code>" in response.body


def test_nothing_asked_of_a_service(router: Router) -> None:
    """A browser on a queue's URL."""
    for sent in (
        request("GET", "/000000000000/orders", host="sqs.eu-west-1.amazonaws.com"),
        request("GET", "/000000000000/orders?X-Amz-Date=1", authorization=scope("sqs")),
    ):
        _, response = refusal(router.route(sent))
        assert response.status == 404
        assert response.body == b"<UnknownOperationException/>\n"


def test_nothing_known_at_all(router: Router) -> None:
    _, response = refusal(router.route(request("GET", host="localhost:4566")))
    assert response.status == 403
    assert response.body == (
        b"<AccessDeniedException>\n"
        b"  <Message>Unable to determine service/operation name to be authorized</Message>\n"
        b"</AccessDeniedException>\n"
    )


def test_unreadable_form(router: Router) -> None:
    call = router.route(request(body=b"\xff\xfe", content_type=FORM, authorization=scope("sqs")))
    error, response = refusal(call)
    assert error.code == "SerializationException"
    assert b"<Code>MalformedInput</Code>" in response.body
    raw = Request.from_wire(b"GET", b"/?Action=Publish&Message=\xff", [], b"")
    assert refusal(router.route(raw))[0].code == "SerializationException"
    _, response = refusal(router.route(request(body=b"\xff", content_type=FORM)))
    assert response.status == 400
    assert response.body.startswith(b"<SerializationException>")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (request(), (None, "000000000000", "us-east-1", None)),
        (
            request(authorization=scope("sqs")),
            ("AKIDEXAMPLE", "000000000000", "eu-west-1", "sqs"),
        ),
        (
            request(authorization=scope("sqs", key="123456789012")),
            ("123456789012", "123456789012", "eu-west-1", "sqs"),
        ),
        (
            request(authorization=scope("sqs", key="AKIAMAPPED")),
            ("AKIAMAPPED", "111122223333", "eu-west-1", "sqs"),
        ),
        (
            request(authorization=scope("sqs", key="odd/key")),
            ("odd/key", "000000000000", "eu-west-1", "sqs"),
        ),
        (
            request("GET", "/?X-Amz-Credential=AKID%2F20260504%2Fcn-north-1%2Fsns%2Faws4_request"),
            ("AKID", "000000000000", "cn-north-1", "sns"),
        ),
        (
            request("GET", "/?AWSAccessKeyId=123456789012", host="sqs.us-gov-west-1.amazonaws.com"),
            ("123456789012", "123456789012", "us-gov-west-1", None),
        ),
        (
            request(authorization=scope("sqs", region="$(rm)")),
            ("AKIDEXAMPLE", "000000000000", "us-east-1", "sqs"),
        ),
        (request(authorization="Basic x"), (None, "000000000000", "us-east-1", None)),
    ],
)
def test_identity(
    router: Router, sent: Request, expected: tuple[str | None, str, str, str | None]
) -> None:
    identity = router.route(sent).identity
    assert (identity.access_key, identity.account, identity.region, identity.service) == expected


def test_defaults_are_settings(sqs: Service) -> None:
    router = Router([sqs], default_account="999999999999", default_region="eu-north-1")
    identity = router.identity(request())
    assert (identity.account, identity.region) == ("999999999999", "eu-north-1")


def test_protocols_of_a_service(sqs: Service, sns: Service, kinesis: Service) -> None:
    json = {ProtocolName.JSON_1_0, ProtocolName.JSON_1_1}
    query = {ProtocolName.QUERY, ProtocolName.QUERY_JSON}
    assert sqs.protocols == json | query
    assert sns.protocols == query
    assert kinesis.protocols == json | {ProtocolName.CBOR_1_1}
