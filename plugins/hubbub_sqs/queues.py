"""Which queue a request means: names, URLs in every style, ARNs."""

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from hubbub import AddressError, DeniedError, QueueInfo, QueueSettings, Session, queue_address
from hubbub_aws import AwsError, Context
from hubbub_aws.arns import Arn, make_arn
from hubbub_aws.protocols import Params
from hubbub_sqs.errors import invalid_parameter, missing_parameter, no_such_queue

ACTIONS = ("publish", "consume", "configure")
"""What a caller can do with a queue, in hubbub's words."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_FIFO_NAME = re.compile(r"[A-Za-z0-9_-]{1,75}\.fifo")
_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-[0-9]{1,2}")
_HOST_REGION = re.compile(
    rf"(?:^|\.)(?:sqs\.({_REGION.pattern})|({_REGION.pattern})\.queue)(?:\.|$)"
)
_LONGEST_URL = 2048


class Place(NamedTuple):
    """What a queue URL says: account and region only where it names them."""

    account: str | None
    region: str | None
    name: str
    address: str


class Located(NamedTuple):
    """A queue that exists, and the session of the caller in its realm."""

    session: Session
    info: QueueInfo
    settings: QueueSettings
    name: str
    address: str
    account: str
    region: str

    @property
    def arn(self) -> str:
        """The queue's name for AWS."""
        return queue_arn(self.region, self.account, self.name)


@lru_cache(10_000)
def parse_url(url: str) -> Place | None:
    """Read a queue URL of any style, on any host, or the bare name of a queue; None for neither.

    The styles: `http://HOST/ACCOUNT/NAME`, also with the region in the host (`sqs.REGION.…`,
    `REGION.queue.…`), `http://HOST/queue/REGION/ACCOUNT/NAME`, `http://HOST/queue/NAME`, and the
    path alone.
    """
    host = ""
    path = url
    if "://" in url:
        try:
            parts = urlsplit(url)
        except ValueError:
            return None
        host, path = parts.hostname or "", parts.path
    segments = [unquote(segment) for segment in path.split("/") if segment]
    if not segments or len(url) > _LONGEST_URL:
        return None
    account = region = None
    if len(segments) > 1 and segments[:-1] != ["queue"]:
        if not _ACCOUNT.fullmatch(segments[-2]):
            return None
        account = segments[-2]
        if len(segments) > 2 and _REGION.fullmatch(segments[-3]):
            region = segments[-3]
    if region is None and (found := _HOST_REGION.search(host)):
        region = found[1] or found[2]
    name = segments[-1]
    try:
        address = str(queue_address(name))
    except AddressError:
        return None
    return Place(account, region, name, address)


def locate(context: Context, params: Params, action: str | None = None) -> Located:
    """Find the queue that a request is for, and that its sender may use.

    `action` is what the sender must be allowed to do with it; None for any of `ACTIONS`.

    Raises:
        AwsError: the request names none, or it does not exist.
        DeniedError: the sender may not do that.
    """
    url = params.get("QueueUrl")
    if not url and context.call.protocol.is_query:
        url = context.call.request.path.strip("/")
    if not url:
        raise missing_parameter("QueueUrl")
    place = parse_url(url)
    if place is None:
        if not context.call.protocol.is_query:
            raise no_such_queue()
        raise AwsError("InvalidAddress", f"The address {url} is not valid for this endpoint.")
    account = place.account or context.account
    region = place.region or context.region
    session = context.session(account, region)
    demand(session, place.address, action)
    info = session.find_queue(place.name)
    if info is None:
        raise no_such_queue()
    settings = info.settings
    if settings.owner is not None:
        raise no_such_queue()
    return Located(session, info, settings, place.name, place.address, account, region)


def demand(session: Session, address: str, action: str | None = None) -> None:
    """Check that a caller may do something with a queue; None: anything at all.

    Raises:
        DeniedError: it may not.
    """
    if action is None:
        if not may_see(session, address):
            raise DeniedError(session.principal.name, "use", address)
    elif not session.allowed(action, address):
        raise DeniedError(session.principal.name, action, address)


def may_see(session: Session, address: str) -> bool:
    """Tell whether a caller may know of a queue: whether it may do anything with it."""
    return any(session.allowed(action, address) for action in ACTIONS)


def address_of(name: str) -> str:
    """Return the address of a queue. Raises `AwsError` for a name that no queue has."""
    if not name:
        raise invalid_parameter("Queue name cannot be empty")
    try:
        return str(queue_address(name))
    except AddressError as error:
        raise invalid_parameter(str(error)) from None


def locate_arn(context: Context, text: str) -> Located | None:
    """Find the queue that an ARN names; None if there is none. Raises `ValueError` for no ARN."""
    arn = Arn.parse(text)
    if arn.service != "sqs":
        raise ValueError("not the ARN of a queue")
    if not _ACCOUNT.fullmatch(arn.account):
        return None
    session = context.session(arn.account, arn.region)
    info = session.find_queue(arn.resource)
    if info is None or info.settings.owner is not None:
        return None
    address = address_of(arn.resource)
    return Located(session, info, info.settings, arn.resource, address, arn.account, arn.region)


def is_account(text: str) -> bool:
    """Tell whether a text is an account id."""
    return _ACCOUNT.fullmatch(text) is not None


def queue_url(context: Context, account: str, name: str) -> str:
    """Return the URL by which this client reaches a queue."""
    return f"{context.url}/{account}/{quote(name, safe='')}"


def queue_arn(region: str, account: str, name: str) -> str:
    """Return a queue's ARN."""
    return str(make_arn("sqs", region, account, name))


def check_name(name: str, *, fifo: bool) -> None:
    """Check the name of a new queue. Raises `AwsError`."""
    if fifo:
        if not _FIFO_NAME.fullmatch(name):
            raise invalid_parameter(
                "The name of a FIFO queue can only include alphanumeric characters, hyphens, or "
                "underscores, must end with .fifo suffix and be 1 to 80 in length"
            )
    elif not _NAME.fullmatch(name):
        raise invalid_parameter(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
        )
