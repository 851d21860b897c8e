import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from unittest import mock
from urllib.parse import quote, urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as ClientCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub_aws.errors import AwsError
from hubbub_aws.messages import Request
from hubbub_aws.sigv4 import Credentials, canonical_path, signing_key, verify

ACCESS_KEY = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
MOMENT = datetime(2026, 5, 4, 12, 30, 15, tzinfo=UTC)
NOW = MOMENT.timestamp()
KEYS = {
    ACCESS_KEY: Credentials(SECRET),
    "ASIASESSION": Credentials(SECRET, "the/session+token=="),
}


@pytest.fixture(autouse=True, scope="module")
def _clock() -> Iterator[None]:
    with mock.patch("botocore.auth.get_current_datetime", return_value=MOMENT.replace(tzinfo=None)):
        yield


def sign(
    method: str = "POST",
    url: str = "http://localhost:4566/",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    *,
    presign: int | None = None,
    key: str = ACCESS_KEY,
    token: str | None = None,
    signer: Any = None,
    context: dict[str, Any] | None = None,
) -> Request:
    """A request as botocore signs and sends it."""
    credentials = ClientCredentials(key, SECRET, token)
    request = AWSRequest(method, url, headers or {}, body)
    request.context.update(context or {})
    if presign is None:
        auth = (signer or botocore.auth.SigV4Auth)(credentials, "sqs", "eu-west-1")
    else:
        auth = botocore.auth.SigV4QueryAuth(credentials, "sqs", "eu-west-1", expires=presign)
    auth.add_auth(request)
    sent: Any = request.prepare()
    target = sent.url.split(urlsplit(sent.url).netloc, 1)[1]
    wire = [(b"Host", urlsplit(url).netloc.encode())]
    wire += [(name.encode(), str(value).encode()) for name, value in sent.headers.items()]
    return Request.from_wire(method.encode(), target.encode(), wire, sent.body or b"")


def changed(request: Request, **changes: Any) -> Request:
    fields = {name: getattr(request, name) for name in Request.__slots__} | changes
    return Request(**fields)


def with_header(request: Request, name: str, value: str) -> Request:
    return changed(request, headers={**request.headers, name: value})


def refusal(request: Request, now: float = NOW, **options: Any) -> AwsError:
    with pytest.raises(AwsError) as caught:
        verify(request, KEYS.get, now, **options)
    return caught.value


SEGMENT = st.text(st.characters(codec="utf-8", exclude_characters="?#"), max_size=8)
FIELD = st.text(st.characters(codec="utf-8"), max_size=8)
HEADER_VALUE = st.text("abc xyz,=\"'0;/", max_size=20)


@settings(max_examples=150, deadline=None)
@given(
    segments=st.lists(
        st.one_of(SEGMENT, st.sampled_from(["", ".", "..", "a b", "%2F"])), max_size=5
    ),
    fields=st.lists(st.tuples(FIELD, FIELD), max_size=4),
    headers=st.dictionaries(st.sampled_from(["x-amz-target", "x-odd", "accept"]), HEADER_VALUE),
    body=st.binary(max_size=50),
)
def test_accepts_whatever_botocore_signs(
    segments: list[str], fields: list[tuple[str, str]], headers: dict[str, str], body: bytes
) -> None:
    path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in fields)
    url = f"http://localhost:4566{path}" + (f"?{query}" if query else "")
    request = sign("POST", url, headers, body)
    assert verify(request, KEYS.get, NOW, service="sqs") == ACCESS_KEY


@settings(max_examples=60, deadline=None)
@given(path=st.lists(SEGMENT, max_size=4), fields=st.dictionaries(FIELD, FIELD, max_size=4))
def test_accepts_urls_that_botocore_presigned(path: list[str], fields: dict[str, str]) -> None:
    target = "/" + "/".join(quote(segment, safe="") for segment in path)
    query = "&".join(
        f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in fields.items()
    )
    request = sign("GET", f"http://localhost:4566{target}?{query}", presign=60)
    assert verify(request, KEYS.get, NOW) == ACCESS_KEY


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_refuses_any_change(data: st.DataObject) -> None:
    request = sign(
        "POST", "http://localhost:4566/1/q?a=b", {"X-Amz-Target": "AmazonSQS.X"}, b"body"
    )
    target = request.headers["x-amz-target"]
    mutation = data.draw(
        st.sampled_from(
            [
                changed(request, body=b"bodY"),
                changed(request, method="PUT"),
                changed(request, path="/1/p"),
                changed(request, query="a=c"),
                changed(request, query=""),
                with_header(request, "x-amz-target", target + "Y"),
                with_header(request, "host", "localhost:4567"),
                with_header(request, "authorization", request.headers["authorization"][:-1] + "g"),
            ]
        )
    )
    assert refusal(mutation).code == "InvalidSignatureException"


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_odd_authorisation_raises_only_aws_errors(data: st.DataObject) -> None:
    request = sign()
    header = list(request.headers["authorization"])
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(header)))
        header[at : at + data.draw(st.integers(0, 4))] = data.draw(st.text(max_size=3))
    mutated = with_header(request, "authorization", "".join(header))
    date = data.draw(st.one_of(st.just(request.headers["x-amz-date"]), st.text(max_size=20)))
    try:
        verify(with_header(mutated, "x-amz-date", date), KEYS.get, NOW)
    except AwsError as error:
        assert error.message  # noqa: PT017
    else:
        assert date == request.headers["x-amz-date"]


def test_a_published_key_derivation() -> None:
    """The example of the IAM user guide, "Deriving a signing key"."""
    key = signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830", "us-east-1", "iam")
    assert key.hex() == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("/", "/"),
        ("", "/"),
        ("//", "/"),
        ("/./a/../b/", "/b/"),
        ("/..", "/"),
        ("/a%20b", "/a%2520b"),
        ("/a+b~c", "/a%2Bb~c"),
    ],
)
def test_canonical_path(path: str, canonical: str) -> None:
    assert canonical_path(path) == canonical
    assert canonical_path("/a/../b%20", normalize=False) == "/a/../b%20"


def test_session_token() -> None:
    token = "the/session+token=="
    request = sign(key="ASIASESSION", token=token)
    assert verify(request, KEYS.get, NOW) == "ASIASESSION"
    assert verify(sign(key="ASIASESSION", token=token, presign=60), KEYS.get, NOW) == "ASIASESSION"
    for stranger in (
        sign(key="ASIASESSION", token="other"),
        sign(token=token),
        sign(key="ASIASESSION"),
    ):
        error = refusal(stranger)
        assert error.code == "UnrecognizedClientException"
        assert error.message == "The security token included in the request is invalid."


def test_unknown_key() -> None:
    assert refusal(sign(key="AKIAUNKNOWN")).code == "UnrecognizedClientException"


def test_unsigned_payload() -> None:
    context = {"payload_signing_enabled": False}
    request = sign("POST", "https://localhost:4566/", body=b"body", context=context)
    assert request.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert verify(changed(request, body=b"other"), KEYS.get, NOW) == ACCESS_KEY


def test_claimed_payload_hash_is_checked() -> None:
    digest = hashlib.sha256(b"body").hexdigest()
    request = sign(headers={"X-Amz-Content-SHA256": digest}, body=b"body")
    assert verify(request, KEYS.get, NOW) == ACCESS_KEY
    assert refusal(changed(request, body=b"bodY")).code == "InvalidSignatureException"
    streaming = sign(headers={"X-Amz-Content-SHA256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"})
    assert refusal(streaming).code == "InvalidSignatureException"


def test_date_header_instead_of_x_amz_date() -> None:
    request = sign(headers={"Date": "to be replaced"})
    assert "x-amz-date" not in request.headers
    assert verify(request, KEYS.get, NOW) == ACCESS_KEY


def test_query_that_the_client_encoded_less_than_it_signed() -> None:
    request = sign("GET", "http://localhost:4566/?a=x%20y%2Fz")
    assert verify(changed(request, query="a=x+y/z"), KEYS.get, NOW) == ACCESS_KEY


def test_repeated_header_is_joined() -> None:
    request = sign(headers={"X-Amz-List": "a,b"})
    wire = [(name.encode(), value.encode()) for name, value in request.headers.items()]
    wire = [each for each in wire if each[0] != b"x-amz-list"]
    wire += [(b"X-Amz-List", b" a"), (b"x-amz-list", b"b\t")]
    repeated = Request.from_wire(b"POST", b"/", wire, b"")
    assert verify(repeated, KEYS.get, NOW) == ACCESS_KEY


@pytest.mark.parametrize("seconds", [-900, 0, 900])
def test_clock_skew_allowed(seconds: int) -> None:
    assert verify(sign(), KEYS.get, NOW + seconds) == ACCESS_KEY


def test_clock_skew_too_great() -> None:
    late = refusal(sign(), NOW + 901)
    assert late.code == "InvalidSignatureException"
    assert late.message == (
        "Signature expired: 20260504T123015Z is now earlier than 20260504T123016Z "
        "(20260504T124516Z - 15 min.)"
    )
    early = refusal(sign(), NOW - 901)
    assert early.message == (
        "Signature not yet current: 20260504T123015Z is still later than 20260504T123014Z "
        "(20260504T121514Z + 15 min.)"
    )


def test_s3_calls_skew_by_its_own_name() -> None:
    credentials = ClientCredentials(ACCESS_KEY, SECRET)
    request = AWSRequest("GET", "http://localhost/b/k", {})
    botocore.auth.S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
    headers = {name.lower(): str(value) for name, value in request.headers.items()}
    received = Request("GET", "/b/k", "", {**headers, "host": "localhost"}, b"")
    assert verify(received, KEYS.get, NOW) == ACCESS_KEY
    assert refusal(received, NOW + 1000).code == "RequestTimeTooSkewed"


def test_presigned_url_expires() -> None:
    request = sign("GET", presign=60)
    assert verify(request, KEYS.get, NOW + 60) == ACCESS_KEY
    assert "Signature expired" in str(refusal(request, NOW + 61))
    week = sign("GET", presign=604800)
    assert verify(week, KEYS.get, NOW + 604800) == ACCESS_KEY
    assert refusal(sign("GET", presign=604801)).code == "IncompleteSignatureException"


def test_scope() -> None:
    assert verify(sign(), KEYS.get, NOW, service="sqs") == ACCESS_KEY
    error = refusal(sign(), service="sns")
    assert error.message == "Credential should be scoped to correct service: 'sns'. "
    header = sign().headers["authorization"].replace("aws4_request", "aws5_request")
    error = refusal(with_header(sign(), "authorization", header))
    assert "valid terminator: 'aws4_request', not 'aws5_request'" in str(error)
    header = sign().headers["authorization"].replace("/20260504/", "/20260503/")
    error = refusal(with_header(sign(), "authorization", header))
    assert "'20260503' != '20260504', from '20260504T123015Z'" in str(error)


def test_host_must_be_signed() -> None:
    header = sign().headers["authorization"].replace("SignedHeaders=host;", "SignedHeaders=")
    error = refusal(with_header(sign(), "authorization", header))
    assert error.message == (
        "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
    )


def test_missing_and_incomplete_signatures() -> None:
    bare = Request("POST", "/", "", {"host": "localhost"}, b"")
    assert refusal(bare).code == "MissingAuthenticationTokenException"
    empty = refusal(with_header(bare, "authorization", "AWS4-HMAC-SHA256 x"))
    assert empty.code == "IncompleteSignatureException"
    assert empty.message == (
        "Authorization header requires 'Credential' parameter. "
        "Authorization header requires 'Signature' parameter. "
        "Authorization header requires 'SignedHeaders' parameter. "
        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
        "Authorization=AWS4-HMAC-SHA256 x"
    )
    basic = refusal(with_header(bare, "authorization", "Basic YTpi"))
    assert basic.message == "Unsupported AWS 'algorithm': 'Basic'."
    both = with_header(sign("GET", presign=60), "authorization", "AWS4-HMAC-SHA256 x")
    assert "Found both" in str(refusal(both))
    presigned = sign("GET", presign=60)
    short = changed(presigned, query=presigned.query.partition("&X-Amz-Signature")[0])
    assert refusal(short).message == (
        "AWS query-string parameters must include 'X-Amz-Signature'. "
        "Re-examine the query-string parameters."
    )
    old = with_header(sign(), "x-amz-date", "2026-99-04")
    assert refusal(old).message == (
        "Date must be in ISO-8601 'basic format'. Got '2026-99-04'. "
        "See http://en.wikipedia.org/wiki/ISO_8601"
    )
