"""Queue attributes: between the strings of SQS and the settings of a queue.

What a queue understands itself is in its settings; the rest is kept in its labels, under "sqs." and
the attribute's name. So a queue made by another protocol has attributes too, and what SQS changes
is what every protocol sees.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from hubbub import QueueSettings
from hubbub_aws import AwsError
from hubbub_sqs.errors import invalid_attribute, invalid_parameter, unknown_attribute

LABEL = "sqs."
TAGS = "sqs.tags"

MAX_VISIBILITY = 43_200
MAX_MESSAGE = 1_048_576
MAX_RETENTION = 1_209_600
MAX_IN_FLIGHT = 120_000
"""Of standard queues, and of FIFO queues since November 2024."""

_NUMBER = re.compile(r"[0-9]{1,10}")
_SIZE_SLACK = 10
"""Queues count a numeric header as 8 bytes, SQS as 7 or more; a message has 10 at most."""

_UNSETTABLE = frozenset(
    {
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesDelayed",
        "ApproximateNumberOfMessagesNotVisible",
        "CreatedTimestamp",
        "LastModifiedTimestamp",
        "QueueArn",
    }
)
_FIFO_ONLY = ("ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit")
_POLICY_FIELDS = frozenset({"Version", "Id", "Statement"})
_POLICY_VERSIONS = frozenset({"2008-10-17", "2012-10-17"})
_STATEMENT_FIELDS = frozenset(
    {
        "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource",
        "NotResource", "Condition",
    }
)  # fmt: skip
_MAX_STATEMENTS = 20
_UNSUPPORTED_ALLOW_POLICY = (
    "Amazon SQS can't create the redrive allow policy, as it’s in an unsupported format."
)
_NO_ALLOW_POLICY = "Amazon SQS can't create the redrive allow policy."
_ONE_ENCRYPTION = (
    "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS "
    "SSE or SQS SSE."
)


@dataclass(frozen=True, slots=True)
class RedrivePolicy:
    """Where a queue's dead letters go, and after how many receives."""

    target: str
    max_receives: int
    text: str
    """As SQS tells it: as given, but always with a number for the count."""


@dataclass(frozen=True, slots=True)
class DeadLetterTarget:
    """What there is to know of the queue that a redrive policy names."""

    address: str
    fifo: bool


FindTarget = Callable[[str, str], DeadLetterTarget]
"""Finds a dead-letter queue by its ARN, for the policy given; raises `AwsError` if it may not be
used.
"""


def _label(settings: QueueSettings, name: str) -> str | None:
    return settings.labels.get(LABEL + name)


def get_attributes(settings: QueueSettings) -> dict[str, str]:
    """Return all attributes of a queue that can be set."""
    retention = MAX_RETENTION * 1000 if settings.retention is None else settings.retention
    found = {
        "VisibilityTimeout": str(settings.lease // 1000),
        "MaximumMessageSize": str(max_message_size(settings)),
        "MessageRetentionPeriod": str(retention // 1000),
        "DelaySeconds": str(settings.delay // 1000),
    }
    for name in ("Policy", "RedrivePolicy", "RedriveAllowPolicy"):
        value = _label(settings, name)
        if value is not None:
            found[name] = value
    found["ReceiveMessageWaitTimeSeconds"] = (
        _label(settings, "ReceiveMessageWaitTimeSeconds") or "0"
    )
    key = _label(settings, "KmsMasterKeyId")
    if key is not None:
        found["KmsMasterKeyId"] = key
        reuse = _label(settings, "KmsDataKeyReusePeriodSeconds") or "300"
        found["KmsDataKeyReusePeriodSeconds"] = reuse
    managed = "false" if key is not None else "true"
    found["SqsManagedSseEnabled"] = _label(settings, "SqsManagedSseEnabled") or managed
    if settings.fifo:
        found["FifoQueue"] = "true"
        found["ContentBasedDeduplication"] = "true" if settings.content_dedup else "false"
        per_group = settings.dedup_scope == "group"
        found["DeduplicationScope"] = "messageGroup" if per_group else "queue"
        found["FifoThroughputLimit"] = _label(settings, "FifoThroughputLimit") or "perQueue"
    return found


def max_message_size(settings: QueueSettings) -> int:
    """Return the largest message that SQS takes for a queue, in bytes as SQS counts them."""
    size = settings.max_message_bytes
    if size is None:
        return MAX_MESSAGE
    exact = settings.labels.get("sqs.MaximumMessageSize")
    if exact is not None and size == int(exact) + _SIZE_SLACK:
        return int(exact)
    return min(size, MAX_MESSAGE)


def wait_time(settings: QueueSettings) -> int:
    """Return how long a receive waits that does not say it, in seconds."""
    return int(settings.labels.get("sqs.ReceiveMessageWaitTimeSeconds", 0))


def get_tags(settings: QueueSettings) -> dict[str, str]:
    """Return the cost allocation tags of a queue."""
    text = settings.labels.get(TAGS)
    return {} if text is None else msgspec.json.decode(text, type=dict[str, str])


def with_tags(settings: QueueSettings, tags: Mapping[str, str]) -> QueueSettings:
    """Return settings with other tags."""
    labels = {name: value for name, value in settings.labels.items() if name != TAGS}
    if tags:
        labels[TAGS] = msgspec.json.encode(tags).decode()
    return msgspec.structs.replace(settings, labels=labels)


def with_policy(settings: QueueSettings, policy: str | None) -> QueueSettings:
    """Return settings with another access policy; None for none."""
    labels = {name: value for name, value in settings.labels.items() if name != "sqs.Policy"}
    if policy is not None:
        labels["sqs.Policy"] = policy
    return msgspec.structs.replace(settings, labels=labels)


def is_fifo(attributes: Mapping[str, str]) -> bool:
    """Tell whether a new queue is to be FIFO: a standard queue has no such attribute at all."""
    if "FifoQueue" not in attributes:
        return False
    if attributes["FifoQueue"].lower() != "true":
        raise unknown_attribute("FifoQueue")
    return True


def new_settings(attributes: Mapping[str, str], find_target: FindTarget) -> QueueSettings:
    """Make the settings of a new queue. Raises `AwsError`."""
    fifo = is_fifo(attributes)
    blank = QueueSettings(
        fifo=fifo,
        fair=not fifo,
        lease=30_000,
        retention=345_600_000,
        max_message_bytes=MAX_MESSAGE + _SIZE_SLACK,
        max_in_flight=MAX_IN_FLIGHT,
        labels={LABEL + "MaximumMessageSize": str(MAX_MESSAGE)},
    )
    rest = {name: value for name, value in attributes.items() if name != "FifoQueue"}
    return change_settings(blank, rest, find_target)


def change_settings(
    settings: QueueSettings, attributes: Mapping[str, str], find_target: FindTarget
) -> QueueSettings:
    """Return settings with some attributes changed. Raises `AwsError`."""
    change = _Change(settings, find_target)
    for name, value in attributes.items():
        change.apply(name, value)
    return change.finish(attributes)


class _Change:
    """The attributes of one request, applied one by one."""

    def __init__(self, settings: QueueSettings, find_target: FindTarget) -> None:
        self._settings = settings
        self._find_target = find_target
        self._fields: dict[str, Any] = {}
        self._labels = dict(settings.labels)

    def apply(self, name: str, value: str) -> None:
        if name in _UNSETTABLE:
            raise unknown_attribute(name)
        if name in _FIFO_ONLY and not self._settings.fifo:
            if name == "ContentBasedDeduplication":
                raise unknown_attribute(name)
            raise AwsError(
                "InvalidAttributeName",
                f"You can specify the {name} only when FifoQueue is set to true.",
            )
        apply = getattr(self, f"_set_{name}", None)
        if apply is None:
            raise unknown_attribute(name)
        apply(value)

    def finish(self, attributes: Mapping[str, str]) -> QueueSettings:
        managed = attributes.get("SqsManagedSseEnabled")
        if LABEL + "KmsMasterKeyId" in self._labels:
            if managed == "true":
                raise AwsError("InvalidAttributeName", _ONE_ENCRYPTION)
            self._labels[LABEL + "SqsManagedSseEnabled"] = "false"
        changed = msgspec.structs.replace(self._settings, labels=self._labels, **self._fields)
        per_group = self._labels.get(LABEL + "FifoThroughputLimit") == "perMessageGroupId"
        if per_group and changed.dedup_scope != "group":
            raise invalid_attribute(
                "FifoThroughputLimit",
                "The perMessageGroupId value is allowed only when the value for "
                "DeduplicationScope is messageGroup.",
            )
        return changed

    def _keep(self, name: str, value: str) -> None:
        if value:
            self._labels[LABEL + name] = value
        else:
            self._labels.pop(LABEL + name, None)

    def _set_VisibilityTimeout(self, value: str) -> None:  # noqa: N802
        self._fields["lease"] = _number("VisibilityTimeout", value, 0, MAX_VISIBILITY) * 1000

    def _set_DelaySeconds(self, value: str) -> None:  # noqa: N802
        self._fields["delay"] = _number("DelaySeconds", value, 0, 900) * 1000

    def _set_MessageRetentionPeriod(self, value: str) -> None:  # noqa: N802
        seconds = _number("MessageRetentionPeriod", value, 60, MAX_RETENTION)
        self._fields["retention"] = seconds * 1000

    def _set_MaximumMessageSize(self, value: str) -> None:  # noqa: N802
        size = _number("MaximumMessageSize", value, 1024, MAX_MESSAGE)
        self._fields["max_message_bytes"] = size + _SIZE_SLACK
        self._labels[LABEL + "MaximumMessageSize"] = str(size)

    def _set_ReceiveMessageWaitTimeSeconds(self, value: str) -> None:  # noqa: N802
        seconds = _number("ReceiveMessageWaitTimeSeconds", value, 0, 20)
        self._keep("ReceiveMessageWaitTimeSeconds", str(seconds) if seconds else "")

    def _set_Policy(self, value: str) -> None:  # noqa: N802
        if value:
            check_policy(value)
        self._keep("Policy", value)

    def _set_RedrivePolicy(self, value: str) -> None:  # noqa: N802
        if not value:
            self._keep("RedrivePolicy", "")
            self._fields |= {
                "dead_letter": None, "dead_letter_rests": False, "max_receives": None,
            }  # fmt: skip
            return
        policy = read_redrive_policy(value)
        target = self._find_target(policy.target, value)
        if target.fifo != self._settings.fifo:
            raise _bad_redrive(value, "Dead-letter queue must be same type of queue as the source.")
        self._keep("RedrivePolicy", policy.text)
        self._fields |= {
            "dead_letter": target.address,
            "dead_letter_rests": True,
            "max_receives": policy.max_receives,
        }

    def _set_RedriveAllowPolicy(self, value: str) -> None:  # noqa: N802
        if value:
            read_allow_policy(value)
        self._keep("RedriveAllowPolicy", value)

    def _set_KmsMasterKeyId(self, value: str) -> None:  # noqa: N802
        self._keep("KmsMasterKeyId", value)
        if not value:
            self._labels.pop(LABEL + "SqsManagedSseEnabled", None)

    def _set_KmsDataKeyReusePeriodSeconds(self, value: str) -> None:  # noqa: N802
        seconds = _number("KmsDataKeyReusePeriodSeconds", value, 60, 86_400)
        self._keep("KmsDataKeyReusePeriodSeconds", str(seconds))

    def _set_SqsManagedSseEnabled(self, value: str) -> None:  # noqa: N802
        self._keep("SqsManagedSseEnabled", _boolean("SqsManagedSseEnabled", value))

    def _set_FifoQueue(self, value: str) -> None:  # noqa: N802
        if not self._settings.fifo:
            raise unknown_attribute("FifoQueue")
        if _boolean("FifoQueue", value) == "false":
            raise invalid_attribute("FifoQueue", "Modifying queue type is not supported.")

    def _set_ContentBasedDeduplication(self, value: str) -> None:  # noqa: N802
        self._fields["content_dedup"] = _boolean("ContentBasedDeduplication", value) == "true"

    def _set_DeduplicationScope(self, value: str) -> None:  # noqa: N802
        scopes = {"queue": "queue", "messageGroup": "group"}
        if value not in scopes:
            raise invalid_attribute("DeduplicationScope")
        self._fields["dedup_scope"] = scopes[value]

    def _set_FifoThroughputLimit(self, value: str) -> None:  # noqa: N802
        if value not in {"perQueue", "perMessageGroupId"}:
            raise invalid_attribute("FifoThroughputLimit")
        self._keep("FifoThroughputLimit", value)


def _number(name: str, value: str, least: int, greatest: int) -> int:
    if not _NUMBER.fullmatch(value) or not least <= int(value) <= greatest:
        raise invalid_attribute(name)
    return int(value)


def _boolean(name: str, value: str) -> str:
    lower = value.lower()
    if lower not in {"true", "false"}:
        raise invalid_attribute(name)
    return lower


# Policies


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _bad_redrive(value: str, reason: str) -> AwsError:
    return invalid_parameter(
        f"Value {value} for parameter RedrivePolicy is invalid. Reason: {reason}"
    )


def bad_target(value: str, reason: str) -> AwsError:
    """A dead-letter queue can't be used: the error for the redrive policy `value`."""
    return _bad_redrive(value, reason)


def read_redrive_policy(value: str) -> RedrivePolicy:
    """Read a redrive policy. Raises `AwsError`."""
    policy = _json(value)
    if type(policy) is not dict:
        raise invalid_attribute("RedrivePolicy", "Redrive policy is not a valid JSON map.")
    for name in ("maxReceiveCount", "deadLetterTargetArn"):
        if name not in policy:
            raise _bad_redrive(
                value, f"Redrive policy does not contain mandatory attribute: {name}."
            )
    count, target = policy.pop("maxReceiveCount"), policy.pop("deadLetterTargetArn")
    if policy:
        raise _bad_redrive(
            value,
            "Only following attributes are supported: [maxReceiveCount, deadLetterTargetArn].",
        )
    number = count if type(count) is int else -1
    if type(count) is str and _NUMBER.fullmatch(count):
        number = int(count)
    if not 1 <= number <= 1000:
        raise _bad_redrive(
            value,
            f"Invalid value for maxReceiveCount: {count}, valid values are from 1 to 1000 both "
            "inclusive.",
        )
    if type(target) is not str:
        raise _bad_redrive(value, "Invalid value for deadLetterTargetArn.")
    if number is not count:
        kept = {"deadLetterTargetArn": target, "maxReceiveCount": number}
        value = msgspec.json.encode(kept).decode()
    return RedrivePolicy(target, number, value)


def read_allow_policy(value: str) -> tuple[str, tuple[str, ...]]:
    """Read a redrive allow policy: the permission, and the ARNs of "byQueue". Raises `AwsError`."""
    policy = _json(value)
    unsupported = invalid_attribute("RedriveAllowPolicy", _UNSUPPORTED_ALLOW_POLICY)
    if type(policy) is not dict or policy.keys() - {"redrivePermission", "sourceQueueArns"}:
        raise unsupported
    permission, sources = policy.get("redrivePermission"), policy.get("sourceQueueArns")
    if permission not in {"allowAll", "denyAll", "byQueue"}:
        raise unsupported
    if sources is not None and (
        type(sources) is not list or not all(type(each) is str for each in sources)
    ):
        raise unsupported
    problem = ""
    if permission == "byQueue":
        if not sources:
            problem = (
                "When you specify the byQueue permission type, you must also specify one or more "
                "sourceQueueArns values."
            )
        elif len(sources) > 10:
            problem = "The maximum number of source queue ARNs you can specify is 10."
    elif sources:
        problem = (
            "To specify one or more source queue ARNs, you must set redrivePermission to byQueue."
        )
    if problem:
        raise invalid_parameter(
            f"Value {value} for parameter RedriveAllowPolicy is invalid. Reason: "
            f"{_NO_ALLOW_POLICY} {problem}"
        )
    return permission, tuple(sources or ())


def check_policy(value: str) -> None:
    """Check the form of an access policy. Raises `AwsError`."""
    policy = _json(value)
    invalid = invalid_attribute("Policy")
    if type(policy) is not dict or policy.keys() - _POLICY_FIELDS:
        raise invalid
    if policy.get("Version", "2008-10-17") not in _POLICY_VERSIONS:
        raise invalid
    statements = policy.get("Statement")
    if type(statements) is dict:
        statements = [statements]
    if type(statements) is not list or not statements:
        raise invalid
    if len(statements) > _MAX_STATEMENTS:
        raise AwsError(
            "OverLimit",
            f"{len(statements)} statements were found in the submitted policy, max allowed is "
            f"{_MAX_STATEMENTS}",
        )
    for statement in statements:
        if type(statement) is not dict or statement.keys() - _STATEMENT_FIELDS:
            raise invalid
        if statement.get("Effect") not in {"Allow", "Deny"}:
            raise invalid
        for choice in (("Action", "NotAction"), ("Resource", "NotResource")):
            given = [statement[name] for name in choice if name in statement]
            if len(given) != 1 or type(given[0]) not in (str, list):
                raise invalid


def same_value(name: str, given: str, present: str | None) -> bool:
    """Tell whether an attribute given to CreateQueue is what the queue has already."""
    if present is None:
        return not given
    if given == present:
        return True
    if name.endswith("Policy"):
        mine, theirs = _json(given), _json(present)
        if name == "RedrivePolicy" and type(mine) is dict and type(theirs) is dict:
            for each in (mine, theirs):
                each["maxReceiveCount"] = str(each.get("maxReceiveCount"))
        return mine is not None and mine == theirs
    if _NUMBER.fullmatch(given) and _NUMBER.fullmatch(present):
        return int(given) == int(present)
    return given.lower() == present.lower() and present in {"true", "false"}
