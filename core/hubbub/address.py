"""Addresses: one canonical spelling for every place a message can be sent to.

An address is a string of levels separated by ``/``, as in MQTT:

==========================  ===================================================================
``a/b/c``                   a topic
``$queue/NAME``             a queue; the name may contain ``/``
``$stream/NAME``            a stream
``$stream/NAME/KEY``        a stream with a partition key; the key may contain ``/``
==========================  ===================================================================

Any other address whose first level starts with ``$`` (``$SYS/…``) is a plain topic.

An address never contains ``+`` or ``#``: those are wildcards of *patterns*. Some protocols allow
these characters in names, and some separate levels with ``.`` and not ``/`` (AMQP, STOMP). Names
and levels are carried between those worlds by a reversible escape, so that no two names ever meet
in one address and every name can be spelled in every protocol.

The escape writes a forbidden character as ``%`` and its code (``.`` is ``%2E``). Text that already
looks like that code gets one ``25`` more (``%2E`` becomes ``%252E``, that becomes ``%25252E``), and
all other text stays as it is: ``100%`` is ``100%`` everywhere. Codes are upper case; ``%2e`` is
ordinary text.
"""

import enum
import re
from collections.abc import Container

import msgspec

from hubbub.errors import HubbubError

MAX_ADDRESS_BYTES = 65_535
"""The longest address or pattern in bytes of UTF-8 (MQTT 5.0, section 1.5.4)."""

MAX_LEVELS = 512
"""The most levels in an address or pattern: bounds the work that one hostile pattern can cause."""

_QUEUE_PREFIX = "$queue/"
_STREAM_PREFIX = "$stream/"
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):(//)?")


class AddressError(HubbubError, ValueError):
    """The text is not an address, or not a pattern. The message says why."""


class Kind(enum.StrEnum):
    """What an address points at."""

    TOPIC = "topic"
    QUEUE = "queue"
    STREAM = "stream"


class Address(msgspec.Struct, frozen=True):
    """A parsed address. ``str()`` gives the canonical spelling back.

    Make one with `parse_address`, `queue_address` or `stream_address`; they check what the plain
    constructor does not.
    """

    kind: Kind
    name: str
    """The topic itself, or the unescaped name of the queue or stream."""
    key: str | None = None
    """The partition key of a stream, unescaped."""

    def __str__(self) -> str:
        if self.kind is Kind.TOPIC:
            return self.name
        if self.kind is Kind.QUEUE:
            return spell_queue(self.name)
        text = spell_stream(self.name)
        return text if self.key is None else f"{text}/{_WILDCARDS.escape(self.key)}"


def parse_address(text: str) -> Address:
    """Parse a canonical address. Raises `AddressError`."""
    _check_text(text)
    if "+" in text or "#" in text:
        raise AddressError(f"an address can't contain the wildcards '+' and '#': {_quote(text)}")
    if text[0] != "$":
        return Address(Kind.TOPIC, text)
    if text.startswith(_QUEUE_PREFIX):
        name = text[len(_QUEUE_PREFIX) :]
        if not name:
            raise AddressError("'$queue/' needs the name of a queue")
        return Address(Kind.QUEUE, _WILDCARDS.unescape(name))
    if text.startswith(_STREAM_PREFIX):
        name, slash, key = text[len(_STREAM_PREFIX) :].partition("/")
        if not name:
            raise AddressError("'$stream/' needs the name of a stream")
        if slash and not key:
            raise AddressError(f"the partition key after the last '/' is empty: {_quote(text)}")
        return Address(
            Kind.STREAM, _SEPARATORS.unescape(name), _WILDCARDS.unescape(key) if slash else None
        )
    if text in {"$queue", "$stream"}:
        raise AddressError(f"'{text}' needs a name: '{text}/NAME'")
    return Address(Kind.TOPIC, text)


def queue_address(name: str) -> Address:
    """Return the address of a queue. Raises `AddressError`."""
    if not name:
        raise AddressError("the name of a queue can't be empty")
    address = Address(Kind.QUEUE, name)
    _check_text(str(address))
    return address


def spell_queue(name: str) -> str:
    """Return the address of a queue as text, unchecked: for names on the way of every message."""
    if "%" in name or is_pattern(name):
        name = _WILDCARDS.escape(name)
    return _QUEUE_PREFIX + name


def spell_stream(name: str) -> str:
    """Return the address of a stream as text, unchecked: for names on the way of every record."""
    if "/" in name or "%" in name or is_pattern(name):
        name = _SEPARATORS.escape(name)
    return _STREAM_PREFIX + name


def stream_address(name: str, key: str | None = None) -> Address:
    """Return the address of a stream, or of one partition key in it. Raises `AddressError`."""
    if not name:
        raise AddressError("the name of a stream can't be empty")
    if key is not None and not key:
        raise AddressError("a partition key can't be empty")
    address = Address(Kind.STREAM, name, key)
    _check_text(str(address))
    return address


def check_pattern(pattern: str) -> None:
    """Check a subscription pattern. Raises `AddressError`.

    ``+`` stands for one level and ``#`` for any number of levels, none included. Both stand alone
    in their level. ``#`` may come anywhere and more than once.
    """
    _check_text(pattern)
    if "+" in pattern or "#" in pattern:
        for level in pattern.split("/"):
            if len(level) > 1 and ("+" in level or "#" in level):
                raise AddressError(
                    f"a wildcard must be a whole level, not a part of {_quote(level)}"
                )


def scheme_of(target: str, known: Container[str]) -> str | None:
    """Return the scheme of a URL, None of an address.

    A URL is what has "://" after its scheme, or a known scheme: "arn:x" may be a topic.
    """
    match = _SCHEME.match(target)
    return match[1] if match and (match[2] or match[1] in known) else None


def is_pattern(text: str) -> bool:
    """Tell whether the text holds a wildcard, and so is no plain address."""
    return "+" in text or "#" in text


def to_dotted(topic: str, *, rooted: bool = False) -> str:
    """Spell a topic, or the rest of one, with ``.`` between levels. The inverse of `from_dotted`.

    ``v1.2/temp`` becomes ``v1%2E2.temp``. With ``rooted`` the first level is the root of the tree:
    ``%24x`` becomes ``$x``, and a topic that starts with ``$`` has no dotted spelling. Raises
    `AddressError` for that and for a wildcard.
    """
    if rooted:
        topic = _ROOT.unescape(topic)
    if "." in topic or "%" in topic or is_pattern(topic):
        return ".".join(map(_level_to_dotted, topic.split("/")))
    return topic.replace("/", ".")


def from_dotted(key: str, *, rooted: bool = False) -> str:
    """Spell a ``.``-separated key with ``/`` between levels. The inverse of `to_dotted`.

    ``v1%2E2.temp`` becomes ``v1.2/temp``, and ``a/b.c+`` becomes ``a%2Fb/c%2B``. With ``rooted``
    the result is an address of its own, so a leading ``$`` becomes ``%24``: no key can reach
    ``$queue`` or ``$SYS``. Total: every text has a result. It is not checked for length or U+0000;
    `parse_address` does that.
    """
    if "/" in key or "%" in key or is_pattern(key):
        topic = "/".join(map(_level_from_dotted, key.split(".")))
    else:
        topic = key.replace(".", "/")
    return _ROOT.escape(topic) if rooted else topic


def pattern_from_dotted(binding: str, *, rooted: bool = False) -> str:
    """Turn a dotted pattern (an AMQP binding key) into a pattern of ours.

    A level ``*`` becomes ``+``, a level ``#`` stays. Within a longer level both are ordinary text,
    as in RabbitMQ's topic exchange. ``rooted`` is as in `from_dotted`.
    """
    levels = [
        "+" if level == "*" else level if level == "#" else _level_from_dotted(level)
        for level in binding.split(".")
    ]
    if rooted:
        levels[0] = _ROOT.escape(levels[0])
    return "/".join(levels)


def pattern_to_dotted(pattern: str, *, rooted: bool = False) -> str:
    """Turn a pattern of ours into a dotted one. The inverse of `pattern_from_dotted`.

    Raises `AddressError` if there is no such pattern: a literal level ``*`` can't be told from the
    wildcard in the dotted world.
    """
    levels = pattern.split("/")
    if rooted:
        levels[0] = _ROOT.unescape(levels[0])
    return ".".join(map(_pattern_level_to_dotted, levels))


def escape_level(name: str, *, rooted: bool = False) -> str:
    """Spell any name (of an exchange, say) as one level of an address.

    ``/``, ``+`` and ``#`` are escaped; with ``rooted`` a leading ``$`` too.
    """
    level = _SEPARATORS.escape(name)
    return _ROOT.escape(level) if rooted else level


def unescape_level(level: str, *, rooted: bool = False) -> str:
    """Give back the name that `escape_level` spelled. Raises `AddressError`."""
    return _SEPARATORS.unescape(_ROOT.unescape(level) if rooted else level)


class _Escape:
    """The reversible escape of some characters; all other text stays as it is."""

    def __init__(self, characters: str, *, leading_only: bool = False) -> None:
        self._characters = characters
        self._leading_only = leading_only
        codes = "|".join(f"{ord(character):02X}" for character in characters)
        anchor = r"\A" if leading_only else ""
        self._token = re.compile(f"{anchor}(?:[{re.escape(characters)}]|%(?:25)*(?:{codes}))")

    def escape(self, text: str) -> str:
        if self._leading_only and text[:1] not in (self._characters, "%"):
            return text
        return self._token.sub(_escape_token, text)

    def unescape(self, text: str) -> str:
        if self._leading_only and text[:1] not in (self._characters, "%"):
            return text
        return self._token.sub(_unescape_token, text)


def _escape_token(match: re.Match[str]) -> str:
    token = match[0]
    return f"%{ord(token):02X}" if len(token) == 1 else "%25" + token[1:]


def _unescape_token(match: re.Match[str]) -> str:
    token = match[0]
    if len(token) == 1:
        raise AddressError(f"{token!r} must be escaped here: {_quote(match.string)}")
    return chr(int(token[1:], 16)) if len(token) == 3 else "%" + token[3:]


_DOT = _Escape(".")
_SEPARATORS = _Escape("/+#")
_WILDCARDS = _Escape("+#")
_ROOT = _Escape("$", leading_only=True)


def _level_to_dotted(level: str) -> str:
    return _DOT.escape(_SEPARATORS.unescape(level))


def _level_from_dotted(level: str) -> str:
    return _SEPARATORS.escape(_DOT.unescape(level))


def _pattern_level_to_dotted(level: str) -> str:
    if level == "+":
        return "*"
    if level == "#":
        return "#"
    if level == "*":
        raise AddressError("a literal level '*' has no spelling in a dotted pattern")
    return _level_to_dotted(level)


def _check_text(text: str) -> None:
    if not text:
        raise AddressError("an address can't be empty")
    if "\0" in text:
        raise AddressError(f"an address can't contain U+0000: {_quote(text)}")
    size = len(text)
    if not text.isascii():
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise AddressError(
                f"an address can't contain a lone surrogate: {_quote(text)}"
            ) from None
    if size > MAX_ADDRESS_BYTES:
        raise AddressError(f"an address has at most {MAX_ADDRESS_BYTES} bytes, not {size}")
    if text.count("/") >= MAX_LEVELS:
        raise AddressError(f"an address has at most {MAX_LEVELS} levels, not {text.count('/') + 1}")


def _quote(text: str) -> str:
    return repr(text) if len(text) <= 80 else repr(text[:77]) + "…"
