"""Destinations: how STOMP spells the addresses of the bus, as RabbitMQ and ActiveMQ have it.

======================  ===========================================================
`/queue/N`, `N`         the queue N, created when needed
`/amq/queue/N`          the queue N, which must exist
`/topic/a.b`            the topic a/b
`/exchange/E/key`       the topic of that key under E, in the scope of the exchange E
`/temp-queue/N`         in `reply-to` alone: a queue of the connection's own
`/reply-queue/N`        the queue that a `/temp-queue/` of somebody stands for
`/stream/N`, `…/KEY`    the stream N, with a partition key
======================  ===========================================================

ActiveMQ's spelling without the first slash means the same. `%2F` stands for a slash inside a name,
as in RabbitMQ; text that looks like that is spelled `%252F`.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

import msgspec

from hubbub import (
    Address,
    AddressError,
    Kind,
    Scope,
    escape_level,
    from_dotted,
    parse_address,
    pattern_from_dotted,
    queue_address,
    stream_address,
    to_dotted,
    unescape_level,
)

from .errors import StompError

REPLY_PREFIX: Final = "stomp.reply."
"""The queues behind `/temp-queue/` have names that start so."""

ROOT_EXCHANGE: Final = "amq.topic"
"""The exchange whose keys are addresses of the topic tree as they are: `/topic/`, to RabbitMQ."""

VALID: Final = "/temp-queue, /exchange, /topic, /queue, /amq/queue, /reply-queue/"
"""RabbitMQ's list of what there is, for its error."""

_SLASH: Final = re.compile(r"/|%(?:25)*2F")


class Place(Enum):
    """What a destination leads to."""

    QUEUE = "queue"
    EXISTING_QUEUE = "amq/queue"
    TOPIC = "topic"
    EXCHANGE = "exchange"
    TEMP_QUEUE = "temp-queue"
    REPLY_QUEUE = "reply-queue"
    STREAM = "stream"


class Destination(msgspec.Struct, frozen=True):
    """A parsed destination.

    `name` is the queue's, the exchange's or the stream's; `key` the topic, the routing key or the
    partition key as it was written, None if there is none.
    """

    text: str
    place: Place
    name: str
    key: str | None = None

    def address(self) -> str:
        """Return the address to publish to.

        Raises:
            AddressError: there is no such address.
        """
        match self.place:
            case Place.TOPIC:
                topic = from_dotted(self.key or "", rooted=True)
                if not topic:
                    raise AddressError("the name of a topic can't be empty")
                return topic
            case Place.EXCHANGE if self.name == ROOT_EXCHANGE:
                return from_dotted(self.key or "", rooted=True)
            case Place.EXCHANGE:
                return f"{escape_level(self.name, rooted=True)}/{from_dotted(self.key or '')}"
            case Place.STREAM:
                return str(stream_address(self.name, self.key))
            case Place.REPLY_QUEUE if self.name.startswith("$"):
                return self.name
            case _:
                return str(queue_address(self.name))

    def pattern(self, kind: Scope = Scope.TOPIC) -> str:
        """Return the pattern of topics to subscribe to; only for TOPIC and EXCHANGE.

        `kind` says how the bindings of the exchange match.
        """
        if self.place is Place.TOPIC:
            return pattern_from_dotted(self.key or "", rooted=True)
        if self.name == ROOT_EXCHANGE:
            return "#" if self.key is None else pattern_from_dotted(self.key, rooted=True)
        exchange = escape_level(self.name, rooted=True)
        if self.key is None or kind is Scope.ALL:
            return f"{exchange}/#"
        if kind is Scope.DIRECT:
            return f"{exchange}/{from_dotted(self.key)}"
        return f"{exchange}/{pattern_from_dotted(self.key)}"

    @property
    def scope(self) -> str | None:
        """The exchange whose publications alone are meant; None: all."""
        return self.name if self.place is Place.EXCHANGE else None


def parse_destination(text: str) -> Destination:
    """Parse a destination.

    Raises:
        StompError: it is none.
    """
    if not text:
        raise StompError("Invalid destination", "Destination cannot be blank\n")
    kind, slash, rest = text.removeprefix("/").partition("/")
    rest = slash + rest
    if not slash and not text.startswith("/"):
        return Destination(text, Place.QUEUE, check_queue(_unescape(text)))
    match kind:
        case "queue":
            return Destination(text, Place.QUEUE, check_queue(_name(rest, kind)))
        case "topic":
            return Destination(text, Place.TOPIC, "", _name(rest, kind))
        case "exchange":
            name, key = _name_and_key(rest, kind)
            return Destination(text, Place.EXCHANGE, name, key)
        case "amq" if rest.startswith("/queue"):
            name = check_queue(_name(rest.removeprefix("/queue"), "amq/queue"))
            return Destination(text, Place.EXISTING_QUEUE, name)
        case "temp-queue":
            return Destination(text, Place.TEMP_QUEUE, _name(rest, kind))
        case "reply-queue":
            name = _check_reply(_unescape(rest[1:]) or _name(rest, kind))
            return Destination(text, Place.REPLY_QUEUE, name)
        case "stream":
            name, key = _name_and_key(rest, kind)
            return Destination(text, Place.STREAM, name, key)
    raise StompError(
        "Unknown destination",
        f"'{text}' is not a valid destination.\nValid destination types are: {VALID}.\n",
    )


def check_queue(name: str) -> str:
    """Return the name of a queue that a client may use.

    Raises:
        StompError: it is another plugin's own, such as that of an MQTT session.
    """
    if name.startswith("$"):
        raise StompError("access_refused", f"ACCESS_REFUSED - queue name '{name}' is reserved\n")
    return name


def _check_reply(name: str) -> str:
    """Return where a reply goes: to a queue, or to a `$` topic of another protocol's clients."""
    if name.startswith("$"):
        try:
            if parse_address(name).kind is Kind.TOPIC and not name.startswith("$SYS"):
                return name
        except AddressError:
            pass
    return check_queue(name)


def _name(rest: str, kind: str) -> str:
    """Return the one name that stands behind the kind of a destination."""
    name, slash, more = rest[1:].partition("/")
    if not name or slash or more:
        raise StompError("Invalid destination", f"'{rest}' is not a valid {kind} destination\n")
    return _unescape(name)


def _name_and_key(rest: str, kind: str) -> tuple[str, str | None]:
    """Return the name behind the kind of a destination, and the key behind that, if any."""
    name, slash, key = rest[1:].partition("/")
    if not name or "/" in key:
        raise StompError("Invalid destination", f"'{rest}' is not a valid {kind} destination\n")
    return _unescape(name), _unescape(key) if slash else None


def spell(address: str, scope: str | None = None) -> str:
    """Spell an address as a destination; `parse_destination` understands it."""
    try:
        parsed = parse_address(address)
        if parsed.kind is not Kind.TOPIC:
            return _spell_resource(parsed)
        if scope is not None and scope != ROOT_EXCHANGE:
            exchange, _, key = address.partition("/")
            name = _escape(unescape_level(exchange, rooted=True))
            return f"/exchange/{name}/{_escape(to_dotted(key))}"
        if address.startswith("$"):  # it has no dotted spelling; a reply may have to go there
            return f"/reply-queue/{_escape(address)}"
        return f"/topic/{_escape(to_dotted(address, rooted=True))}"
    except AddressError:
        return f"/topic/{_escape(address)}"  # it came as a `reply-to` and is no address of ours


def _spell_resource(address: Address) -> str:
    if address.kind is Kind.QUEUE:
        kind = "reply-queue" if address.name.startswith(REPLY_PREFIX) else "queue"
        return f"/{kind}/{_escape(address.name)}"
    key = "" if address.key is None else f"/{_escape(address.key)}"
    return f"/stream/{_escape(address.name)}{key}"


def _unescape(text: str) -> str:
    if "%" not in text:
        return text
    return _SLASH.sub(lambda match: _unescape_one(match[0]), text)


def _unescape_one(found: str) -> str:
    if found == "/":
        return found
    return "/" if found == "%2F" else "%" + found[3:]


def _escape(text: str) -> str:
    if "/" not in text and "%" not in text:
        return text
    return _SLASH.sub(lambda match: "%2F" if match[0] == "/" else "%25" + match[0][1:], text)
