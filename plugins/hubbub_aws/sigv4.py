"""Verification of AWS Signature Version 4, in the header and in a presigned URL.

A pure function of request, keys and time. See "Create a signed AWS API request" in the IAM user
guide. Error messages are those of AWS's service framework.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote, unquote_plus

from hubbub_aws.errors import AwsError
from hubbub_aws.messages import Request
from hubbub_aws.timestamps import parse_timestamp

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
MAX_SKEW = 15 * 60
"""How far, in seconds, the clocks of a client and of AWS may differ."""
MAX_EXPIRES = 7 * 24 * 3600
"""The longest life of a presigned URL, in seconds."""

_TERMINATOR = "aws4_request"
_STAMP = "%Y%m%dT%H%M%SZ"
_STAMP_PATTERN = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_SPACES = re.compile(r"[ \t\r\n\f\v]+")
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your "
    "AWS Secret Access Key and signing method. Consult the service documentation for details."
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A secret key, and the session token that has to come with it, if any."""

    secret_key: str
    session_token: str | None = None


@dataclass(frozen=True, slots=True)
class _Signed:
    """What a request says of its signature."""

    access_key: str
    date: str
    region: str
    service: str
    terminator: str
    signed_headers: tuple[str, ...]
    signature: str
    moment: datetime
    stamp: str  # the moment as it is signed
    expires: int | None  # seconds; None for a signature in the header
    token: str | None

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/{self.terminator}"


def verify(
    request: Request,
    find_key: Callable[[str], Credentials | None],
    now: float,
    *,
    service: str | None = None,
) -> str:
    """Check a request's signature and return its access key id.

    `find_key` gives the credentials of an access key id; `now` is in seconds since the epoch.
    `service` is the service the request is for, which the credential scope then has to name.

    Raises `AwsError`: MissingAuthenticationToken, IncompleteSignature, UnrecognizedClient
    (InvalidClientTokenId in Query), InvalidSignature (SignatureDoesNotMatch in Query), and
    RequestTimeTooSkewed for S3; the other services call a skewed clock an invalid signature too.
    """
    signed = _read(request)
    credentials = find_key(signed.access_key)
    token = None if credentials is None else credentials.session_token
    if credentials is None or not _equal(token or "", signed.token or ""):
        raise AwsError(
            "UnrecognizedClientException", "The security token included in the request is invalid."
        )
    _check_scope(signed, service)
    _check_time(signed, now)
    _check_signature(request, signed, credentials.secret_key)
    return signed.access_key


def _read(request: Request) -> _Signed:
    header = request.headers.get("authorization")
    fields = _query_fields(request.query)
    if header is None:
        if "X-Amz-Algorithm" not in fields:
            raise AwsError(
                "MissingAuthenticationTokenException", "Request is missing Authentication Token"
            )
        return _read_query(fields)
    if "X-Amz-Algorithm" in fields:
        raise _incomplete(
            "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP "
            "header."
        )
    return _read_header(request, header)


def _read_header(request: Request, header: str) -> _Signed:
    algorithm, _, rest = header.strip().partition(" ")
    if algorithm != ALGORITHM:
        raise _incomplete(f"Unsupported AWS 'algorithm': '{algorithm[:64]}'.")
    fields: dict[str, str] = {}
    for part in re.split(r"[,\s]+", rest):
        name, equals, value = part.partition("=")
        if equals:
            fields.setdefault(name, value)
    stamp = request.headers.get("x-amz-date") or request.headers.get("date")
    lacking = [
        f"Authorization header requires '{name}' parameter. "
        for name in ("Credential", "Signature", "SignedHeaders")
        if not fields.get(name)
    ]
    if not stamp:
        lacking.append(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
        )
    if lacking or not stamp:
        shown = header if len(header) <= 1024 else header[:1024] + "…"
        raise _incomplete("".join(lacking) + f"Authorization={shown}")
    return _make(
        fields["Credential"],
        fields["SignedHeaders"],
        fields["Signature"],
        _moment(stamp),
        token=request.headers.get("x-amz-security-token"),
    )


def _read_query(fields: dict[str, str]) -> _Signed:
    if fields["X-Amz-Algorithm"] != ALGORITHM:
        raise _incomplete(f"Unsupported AWS 'algorithm': '{fields['X-Amz-Algorithm'][:64]}'.")
    needed = ("X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date")
    lacking = [
        f"AWS query-string parameters must include '{name}'. "
        for name in needed
        if not fields.get(name)
    ]
    if lacking:
        raise _incomplete("".join(lacking) + "Re-examine the query-string parameters.")
    expires = fields.get("X-Amz-Expires", str(MAX_SKEW))
    if not re.fullmatch(r"[0-9]{1,9}", expires) or int(expires) > MAX_EXPIRES:
        raise _incomplete(
            "X-Amz-Expires must be a number of seconds from 0 to less than a week, that is, at "
            f"most {MAX_EXPIRES}."
        )
    return _make(
        fields["X-Amz-Credential"],
        fields["X-Amz-SignedHeaders"],
        fields["X-Amz-Signature"],
        _moment(fields["X-Amz-Date"]),
        token=fields.get("X-Amz-Security-Token"),
        expires=int(expires),
    )


def _make(
    credential: str,
    signed_headers: str,
    signature: str,
    moment: datetime,
    *,
    token: str | None,
    expires: int | None = None,
) -> _Signed:
    # An access key id may hold slashes; the four parts behind it may not.
    parts = credential.rsplit("/", 4)
    if len(parts) != 5 or not all(parts):
        raise _incomplete(
            "Credential must have exactly 5 slash-delimited elements, e.g. "
            f"keyid/date/region/service/term, got '{credential[:256]}'"
        )
    names = tuple(signed_headers.lower().split(";"))
    if "host" not in names and ":authority" not in names:
        raise _invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    access_key, date, region, service, terminator = parts
    return _Signed(
        access_key=access_key,
        date=date,
        region=region,
        service=service,
        terminator=terminator,
        signed_headers=names,
        signature=signature,
        moment=moment,
        stamp=moment.strftime(_STAMP),
        expires=expires,
        token=token,
    )


def _check_scope(signed: _Signed, service: str | None) -> None:
    problems = []
    if service is not None and signed.service != service:
        problems.append(f"Credential should be scoped to correct service: '{service}'. ")
    if signed.terminator != _TERMINATOR:
        problems.append(
            f"Credential should be scoped with a valid terminator: '{_TERMINATOR}', "
            f"not '{signed.terminator}'. "
        )
    day = signed.stamp[:8]
    if signed.date != day:
        problems.append(
            f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date "
            f"from HTTP: '{signed.date}' != '{day}', from '{signed.stamp}'. "
        )
    if problems:
        raise _invalid("".join(problems))


def _check_time(signed: _Signed, now: float) -> None:
    here = datetime.fromtimestamp(int(now), UTC)
    age = (here - signed.moment).total_seconds()
    life = MAX_SKEW if signed.expires is None else signed.expires
    if -MAX_SKEW <= age <= life:
        return
    if signed.service == "s3":
        raise AwsError(
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
        )
    if age > life:
        limit = datetime.fromtimestamp(max(0, int(now) - life), UTC).strftime(_STAMP)
        raise _invalid(
            f"Signature expired: {signed.stamp} is now earlier than {limit} "
            f"({here.strftime(_STAMP)} - {_in_words(life)})"
        )
    limit = datetime.fromtimestamp(int(now) + MAX_SKEW, UTC).strftime(_STAMP)
    raise _invalid(
        f"Signature not yet current: {signed.stamp} is still later than {limit} "
        f"({here.strftime(_STAMP)} + {_in_words(MAX_SKEW)})"
    )


def _in_words(seconds: int) -> str:
    return f"{seconds // 60} min." if seconds % 60 == 0 else f"{seconds} sec."


def _check_signature(request: Request, signed: _Signed, secret_key: str) -> None:
    key = signing_key(secret_key, signed.date, signed.region, signed.service)
    path = canonical_path(request.path, normalize=signed.service != "s3")
    headers = _canonical_headers(request, signed.signed_headers)
    names = ";".join(signed.signed_headers)
    payload = _payload_hash(request, presigned=signed.expires is not None)
    for query in _canonical_queries(request.query):
        canonical = f"{request.method.upper()}\n{path}\n{query}\n{headers}\n{names}\n{payload}"
        digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
        to_sign = f"{ALGORITHM}\n{signed.stamp}\n{signed.scope}\n{digest}"
        expected = hmac.digest(key, to_sign.encode("utf-8", "surrogateescape"), "sha256").hex()
        if _equal(expected, signed.signature):
            return
    raise _invalid(_MISMATCH)


def signing_key(secret_key: str, date: str, region: str, service: str) -> bytes:
    """The key for one day, region and service, derived from a secret access key."""
    key = f"AWS4{secret_key}".encode()
    for part in (date, region, service, _TERMINATOR):
        key = hmac.digest(key, part.encode("utf-8", "surrogateescape"), "sha256")
    return key


def canonical_path(path: str, *, normalize: bool = True) -> str:
    """The path as it is signed. All services but S3 resolve dots and encode a second time."""
    if not normalize:
        return path or "/"
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    trailing = "/" if path.endswith("/") and segments else ""
    return quote("/" + "/".join(segments) + trailing, safe="/~", errors="surrogateescape")


def _canonical_queries(query: str) -> list[str]:
    """The query string as it is signed: sorted, without the signature.

    Most signers sign the fields as they send them, some as they would be encoded afresh; the two
    differ where a client sends ``+`` or characters that need no encoding.
    """
    if not query:
        return [""]
    fields = [
        (name, value)
        for name, _, value in (field.partition("=") for field in query.split("&"))
        if name != "X-Amz-Signature"
    ]
    as_sent = _join(fields)
    afresh = _join([(_encode(name), _encode(value)) for name, value in fields if name or value])
    return [as_sent] if as_sent == afresh else [as_sent, afresh]


def _join(fields: list[tuple[str, str]]) -> str:
    return "&".join(f"{name}={value}" for name, value in sorted(fields))


def _encode(text: str) -> str:
    decoded = unquote_plus(text, errors="surrogateescape")
    return quote(decoded, safe="-_.~", errors="surrogateescape")


def _canonical_headers(request: Request, names: tuple[str, ...]) -> str:
    lines = []
    for name in names:
        value = request.headers.get("host" if name == ":authority" else name, "")
        lines.append(f"{name}:{_SPACES.sub(' ', value).strip()}\n")
    return "".join(lines)


def _payload_hash(request: Request, *, presigned: bool) -> str:
    claimed = request.headers.get("x-amz-content-sha256")
    if claimed is None and presigned:
        claimed = _query_fields(request.query).get("X-Amz-Content-Sha256")
    if claimed == UNSIGNED_PAYLOAD:
        return claimed
    actual = hashlib.sha256(request.body).hexdigest()
    if claimed is not None and not _equal(claimed.lower(), actual):
        # Also the STREAMING-… variants, which S3 alone has.
        raise _invalid(
            "The value of 'X-Amz-Content-SHA256' does not match the hash of the payload."
        )
    return claimed or actual


def _query_fields(query: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for field in query.split("&"):
        if field.startswith("X-Amz-"):
            name, _, value = field.partition("=")
            fields.setdefault(name, unquote(value, errors="surrogateescape"))
    return fields


def _moment(text: str) -> datetime:
    try:
        if _STAMP_PATTERN.fullmatch(text):
            year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
            hour, minute, second = int(text[9:11]), int(text[11:13]), int(text[13:15])
            return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        return datetime.fromtimestamp(int(parse_timestamp(text)), UTC)
    except (ValueError, OverflowError):
        raise _incomplete(
            f"Date must be in ISO-8601 'basic format'. Got '{text[:64]}'. "
            "See http://en.wikipedia.org/wiki/ISO_8601"
        ) from None


def _equal(left: str, right: str) -> bool:
    return hmac.compare_digest(
        left.encode("utf-8", "surrogateescape"), right.encode("utf-8", "surrogateescape")
    )


def _incomplete(message: str) -> AwsError:
    return AwsError("IncompleteSignatureException", message)


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidSignatureException", message)
