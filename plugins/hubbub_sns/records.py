"""What SNS keeps: topics, subscriptions, applications, endpoints, phone numbers, as documents."""

import re
from typing import Any, Literal

import msgspec

Protocol = Literal[
    "application", "email", "email-json", "firehose", "http", "https", "lambda", "sms", "sqs"
]
_PASSWORD = re.compile(r"\A(https?://[^/?#@:]*:)[^/?#]*(@)")


class Topic(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A topic. `attributes` are those that were set, as SNS has them: text.

    `deleted_subscriptions` counts those that are no more; `archived_since` is when the archive
    began, in milliseconds since the epoch.
    """

    arn: str
    realm: str
    name: str
    account: str
    region: str
    attributes: dict[str, str] = {}
    tags: dict[str, str] = {}
    data_protection_policy: str = ""
    deleted_subscriptions: int = 0
    archived_since: int | None = None

    @property
    def fifo(self) -> bool:
        """Whether it keeps order and drops duplicates."""
        return self.attributes.get("FifoTopic") == "true"

    @property
    def content_dedup(self) -> bool:
        """Whether a message without deduplication id takes the SHA-256 of its body."""
        return self.attributes.get("ContentBasedDeduplication") == "true"

    @property
    def signature_version(self) -> str:
        """Which signature its messages have: "1" with SHA-1, "2" with SHA-256."""
        return self.attributes.get("SignatureVersion", "1")


class Subscription(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A subscription.

    * `account`: its owner. `principal`: who subscribed, as an ARN.
    * `base_url`: how the subscriber reached us: URLs in its messages begin so.
    * `token`: confirms it while it is `pending`, and takes it back when it is `deleted`.
    * `authenticated`: confirmed by its owner; `owner_unsubscribes`: nobody else may end it.
    * `replay`: how far a replay is, a sequence number of the archive; None: none runs.
    """

    arn: str
    topic: str
    realm: str
    account: str
    protocol: Protocol
    endpoint: str
    principal: str
    base_url: str
    attributes: dict[str, str] = {}
    pending: bool = False
    deleted: bool = False
    deleted_at: int = 0
    token: str = ""
    token_until: int = 0
    authenticated: bool = True
    owner_unsubscribes: bool = False
    replay: int | None = None
    replay_status: str = ""

    @property
    def id(self) -> str:
        """The last part of its ARN."""
        return self.arn.rpartition(":")[2]

    @property
    def told_endpoint(self) -> str:
        """The endpoint as answers and logs have it: a password in a URL is not told."""
        return _PASSWORD.sub(r"\1****\2", self.endpoint)

    @property
    def raw(self) -> bool:
        """Whether messages are delivered without envelope."""
        return self.attributes.get("RawMessageDelivery", "false") == "true"

    @property
    def active(self) -> bool:
        """Whether it gets messages."""
        return not self.pending and not self.deleted

    @property
    def queue(self) -> str:
        """The internal queue of what waits for an endpoint that is no queue itself."""
        return f"$sns/{self.id}"


class Application(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A platform application."""

    arn: str
    realm: str
    account: str
    region: str
    attributes: dict[str, str] = {}


class Endpoint(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A device of a platform application."""

    arn: str
    realm: str
    application: str
    attributes: dict[str, str] = {}

    @property
    def enabled(self) -> bool:
        """Whether messages to it are accepted."""
        return self.attributes.get("Enabled", "true").lower() == "true"


class SandboxNumber(msgspec.Struct, omit_defaults=True):
    """A phone number of the SMS sandbox, and the password that verifies it."""

    password: str
    verified: bool = False


class Phones(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What an account has said of SMS. `opted_out` maps numbers to when, in milliseconds."""

    account: str
    realm: str
    attributes: dict[str, str] = {}
    opted_out: dict[str, int] = {}
    sandbox: dict[str, SandboxNumber] = {}


class Deduplication(msgspec.Struct, array_like=True):
    """A message that a FIFO topic has seen: its id, and when it may be forgotten."""

    topic: str
    key: str
    message: int
    until: int


def encode(record: Any) -> bytes:
    """Return a record as it is kept."""
    return msgspec.json.encode(record)
