"""Data protection policies: what is found in messages, and what becomes of them then.

"Data protection policies" of the developer guide has their syntax: statements of one direction each
that deny, de-identify or audit messages with data that their identifiers find.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from hubbub import Message, Wire
from hubbub_aws import AwsError
from hubbub_sns.messages import WIRE, Properties, encode_properties, properties_of
from hubbub_sns.messages import timestamp as spell_time
from hubbub_sns.policy_syntax import PolicyError, parse_json
from hubbub_sns.records import Subscription, Topic
from hubbub_sns.reports import Reports
from hubbub_sns.sampling import sampled

if TYPE_CHECKING:
    from hubbub import Clock
    from hubbub_sns.store import Store

MAX_CUSTOM = 10
MAX_REGEX = 200
INBOUND, OUTBOUND = "Inbound", "Outbound"
_MANAGED = "arn:aws:dataprotection::aws:data-identifier/"
_DIRECTIONS = frozenset({INBOUND, OUTBOUND})
_OPERATIONS = frozenset({"Audit", "Deidentify", "Deny"})
_MEMBERS = frozenset({"Configuration", "Description", "Name", "Statement", "Version"})
_STATEMENT = frozenset(
    {"DataDirection", "DataIdentifier", "NoPrincipal", "Operation", "Principal", "Sid"}
)
_CUSTOM_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_GROUP = "sns-data-protection"

Find = Callable[[str], Iterator[tuple[int, int]]]


class Finding(NamedTuple):
    """Data that was found: of which kind, from where to where."""

    name: str
    start: int
    end: int


class Statement(NamedTuple):
    """One statement. `mask`: what takes the place of each character, "" to take them out."""

    direction: str
    principals: frozenset[str]
    excepted: frozenset[str]
    finders: tuple[tuple[str, Find], ...]
    operation: str
    mask: str = ""
    rate: int = 0
    audit: Mapping[str, Any] = {}

    def concerns(self, direction: str, principal: str) -> bool:
        """Tell whether it is about messages of somebody in a direction."""
        if direction != self.direction or principal in self.excepted:
            return False
        return "*" in self.principals or principal in self.principals

    def find(self, text: str) -> list[Finding]:
        """Return what there is, in order."""
        found = [
            Finding(name, start, end) for name, find in self.finders for start, end in find(text)
        ]
        return sorted(found, key=lambda each: (each.start, -each.end))

    def deidentify(self, text: str) -> str:
        """Return the text without what is found."""
        parts: list[str] = []
        at = 0
        for _, start, end in self.find(text):
            if end <= at:
                continue
            begin = max(start, at)
            parts += [text[at:begin], self.mask * (end - begin)]
            at = end
        return "".join([*parts, text[at:]])


@lru_cache(256)
def read_policy(text: str) -> tuple[Statement, ...]:
    """Read a policy. Raises `PolicyError`."""
    policy = parse_json("DataProtectionPolicy", text)
    if not isinstance(policy, dict):
        raise _wrong("must be an object")
    unknown = policy.keys() - _MEMBERS
    if unknown:
        raise _wrong(f"{min(unknown)} is not supported")
    if not isinstance(policy.get("Name"), str) or not policy["Name"]:
        raise _wrong("Name is required")
    statements = policy.get("Statement")
    if not isinstance(statements, list):
        raise _wrong("Statement is required")
    customs = _read_customs(policy.get("Configuration"))
    read = tuple(_read_statement(each, customs) for each in statements)
    if sum(each.operation == "Audit" for each in read) > 1:
        raise _wrong("only one statement may have the operation Audit")
    return read


def _wrong(reason: str) -> PolicyError:
    return PolicyError(f"DataProtectionPolicy Reason: {reason}")


def _read_customs(configuration: Any) -> dict[str, Find]:
    if configuration is None:
        return {}
    given = configuration.get("CustomDataIdentifier") if isinstance(configuration, dict) else None
    if not isinstance(given, list):
        raise _wrong("Configuration must have a list of CustomDataIdentifier")
    if len(given) > MAX_CUSTOM:
        raise _wrong(f"there may be at most {MAX_CUSTOM} custom data identifiers")
    customs: dict[str, Find] = {}
    for each in given:
        name, regex = (each.get("Name"), each.get("Regex")) if isinstance(each, dict) else (0, 0)
        if not isinstance(name, str) or not _CUSTOM_NAME.fullmatch(name) or name in customs:
            raise _wrong("each custom data identifier needs a Name of its own")
        if not isinstance(regex, str) or not 0 < len(regex) <= MAX_REGEX:
            raise _wrong(f"the Regex of {name} must have 1 to {MAX_REGEX} characters")
        customs[name] = _compile(name, regex)
    return customs


def _compile(name: str, regex: str) -> Find:
    """Compile a client's pattern, by a library whose time grows with the text alone."""
    try:
        import re2  # noqa: PLC0415 - installed where somebody wants it
    except ImportError:
        raise _wrong(
            f"the custom data identifier {name} needs the Python package google-re2, which is not "
            "installed here"
        ) from None
    options = re2.Options()
    options.log_errors = False
    try:
        pattern = re2.compile(regex, options)
    except re2.error:
        raise _wrong(f"the Regex of {name} is not valid") from None

    def find(text: str) -> Iterator[tuple[int, int]]:
        for found in pattern.finditer(text):
            if found.end() > found.start():
                yield found.span()

    return find


def _read_statement(given: Any, customs: Mapping[str, Find]) -> Statement:
    if not isinstance(given, dict):
        raise _wrong("each Statement must be an object")
    unknown = given.keys() - _STATEMENT
    if unknown:
        raise _wrong(f"{min(unknown)} is not supported in a Statement")
    direction = given.get("DataDirection")
    if direction not in _DIRECTIONS:
        raise _wrong("DataDirection must be Inbound or Outbound")
    principals = _texts(given, "Principal")
    excepted = _texts(given, "NoPrincipal")
    if not principals and not excepted:
        raise _wrong("Principal is required")
    names = _texts(given, "DataIdentifier")
    if not names:
        raise _wrong("DataIdentifier is required")
    finders = tuple(_finder(name, customs) for name in names)
    operation = given.get("Operation")
    if not isinstance(operation, dict) or len(operation) != 1 or operation.keys() - _OPERATIONS:
        raise _wrong("Operation must be one of Audit, Deidentify and Deny")
    [(kind, details)] = operation.items()
    statement = Statement(
        direction, frozenset(principals or ["*"]), frozenset(excepted), finders, kind
    )
    if not isinstance(details, dict):
        raise _wrong(f"{kind} must be an object")
    match kind:
        case "Deidentify":
            return statement._replace(mask=_read_mask(details))
        case "Audit":
            if direction != INBOUND:
                raise _wrong("Audit is only supported for DataDirection Inbound")
            return statement._replace(rate=_read_rate(details), audit=details)
    if details:
        raise _wrong("Deny has no members")
    return statement


def _texts(given: Mapping[str, Any], name: str) -> list[str]:
    value = given.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _wrong(f"{name} must be a list of strings")
    return value


def _finder(name: str, customs: Mapping[str, Find]) -> tuple[str, Find]:
    if name in customs:
        return name, customs[name]
    # Their hundred patterns take a while to compile, and few hubs have a policy.
    from hubbub_sns.identifiers import IDENTIFIERS  # noqa: PLC0415

    managed = IDENTIFIERS.get(name.removeprefix(_MANAGED))
    if managed is None or not name.startswith(_MANAGED):
        raise _wrong(f"there is no data identifier {name}")
    return name, managed.find


def _read_mask(details: Mapping[str, Any]) -> str:
    if details.keys() == {"RedactConfig"}:
        return ""
    mask = details.get("MaskConfig")
    if details.keys() != {"MaskConfig"} or not isinstance(mask, dict):
        raise _wrong("Deidentify needs either MaskConfig or RedactConfig")
    character = mask.get("MaskWithCharacter", "*")
    if not isinstance(character, str) or len(character) != 1 or not character.isprintable():
        raise _wrong("MaskWithCharacter must be one printable character")
    return character


def _read_rate(details: Mapping[str, Any]) -> int:
    rate = str(details.get("SampleRate", ""))
    if not (rate.isascii() and rate.isdecimal() and len(rate) <= 2):
        raise _wrong("SampleRate must be an integer from 0 to 99")
    if not details.get("FindingsDestination") and not details.get("NoFindingsDestination"):
        raise _wrong("Audit needs a FindingsDestination or a NoFindingsDestination")
    return int(rate)


class Guard:
    """Carries out the policies of topics."""

    def __init__(self, store: "Store", reports: Reports, clock: "Clock") -> None:
        self._store = store
        self._reports = reports
        self._clock = clock

    def inbound(self, topic: Topic, message: Message, principal: str) -> Message:
        """Return a message as it may be published. Raises `AwsError`: it must not be."""
        protected = self._inbound(topic, message, principal)
        if protected is None:
            raise AwsError(
                "AuthorizationErrorException",
                f"The message was denied by the data protection policy of the topic {topic.arn}",
            )
        return protected

    def _inbound(self, topic: Topic, message: Message, principal: str) -> Message | None:
        if not topic.data_protection_policy:
            return message
        statements = read_policy(topic.data_protection_policy)
        for statement in statements:
            if statement.operation == "Audit" and statement.concerns(INBOUND, principal):
                self._audit(topic, message, principal, statement)
        return _apply(statements, INBOUND, principal, message)

    def outbound(
        self, topic: Topic, subscription: Subscription, messages: Sequence[Message]
    ) -> Sequence[Message]:
        """Return messages as a subscription may have them: the same if nothing is found.

        What other protocols published passes the inbound statements here.
        """
        if not topic.data_protection_policy:
            return messages
        statements = read_policy(topic.data_protection_policy)
        passed: list[Message] = []
        for message in messages:
            protected: Message | None = message
            if message.protocol != "sns":
                protected = _apply(statements, INBOUND, message.client, message)
            if protected is not None:
                protected = _apply(statements, OUTBOUND, subscription.principal, protected)
            if protected is None:
                self._store.session(subscription.realm).lost(
                    "data protection", 1, subscription.told_endpoint
                )
            else:
                passed.append(protected)
        if len(passed) == len(messages) and all(map(_is, passed, messages)):
            return messages
        return passed

    def _audit(self, topic: Topic, message: Message, principal: str, statement: Statement) -> None:
        if not sampled(statement.rate):
            return
        found = [each for text in _texts_of(message) for each in statement.find(text)]
        destination = statement.audit.get(
            "FindingsDestination" if found else "NoFindingsDestination"
        )
        if not destination:
            return
        places: dict[str, list[dict[str, int]]] = {}
        for name, start, end in found:
            places.setdefault(name, []).append({"start": start, "end": end})
        logs = destination.get("CloudWatchLogs") or {}
        report = {
            "auditTimestamp": spell_time(self._clock.now()),
            "callerPrincipal": principal,
            "resourceArn": topic.arn,
            "messageMD5Sum": hashlib.md5(message.body, usedforsecurity=False).hexdigest(),
            "dataIdentifiers": [
                {"name": name, "count": len(spans), "detections": spans}
                for name, spans in places.items()
            ],
            "destination": destination,
        }
        self._reports.add(logs.get("LogGroup", _GROUP), topic.name, report)


def _is(one: Message, other: Message) -> bool:
    return one is other


def _texts_of(message: Message) -> list[str]:
    try:
        body = message.body.decode()
    except UnicodeDecodeError:
        body = ""
    return [body, *properties_of(message).structure.values()]


def _apply(
    statements: Sequence[Statement], direction: str, principal: str, message: Message
) -> Message | None:
    """Return a message as statements leave it, the same if they find nothing; None if denied."""
    concerned = [each for each in statements if each.concerns(direction, principal)]
    if any(
        each.operation == "Deny" and any(each.find(text) for text in _texts_of(message))
        for each in concerned
    ):
        return None
    for statement in concerned:
        if statement.operation == "Deidentify":
            message = _deidentified(message, statement)
    return message


def _deidentified(message: Message, statement: Statement) -> Message:
    properties = properties_of(message)
    structure = {name: statement.deidentify(text) for name, text in properties.structure.items()}
    try:
        text = message.body.decode()
    except UnicodeDecodeError:
        text = None
    body = message.body if text is None else statement.deidentify(text).encode()
    if body == message.body and structure == properties.structure:
        return message
    wire = message.wire
    if structure:
        wire = Wire(WIRE, encode_properties(_with_structure(properties, structure)))
    return msgspec.structs.replace(message, body=body, wire=wire)


def _with_structure(properties: Properties, structure: dict[str, str]) -> Properties:
    return msgspec.structs.replace(properties, structure=structure)
