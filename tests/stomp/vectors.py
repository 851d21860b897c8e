"""Frames as bytes, with what a decoder must make of them: a frame, or a refusal.

For codec and server tests alike. Bytes are spelled out, so that the codec has no part in them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hubbub_stomp.frames import Version

V10, V11, V12 = Version.V10, Version.V11, Version.V12


@dataclass(frozen=True)
class Good:
    """Bytes that decode to one frame; version None: the first bytes of a connection."""

    name: str
    version: Version | None
    data: bytes
    command: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Bad:
    """Bytes that are refused, with a part of the reason."""

    name: str
    version: Version | None
    data: bytes
    summary: str
    detail: str


@dataclass(frozen=True)
class Provocation:
    """What a client sends, and the frames that RabbitMQ 3.10.8 answers after its CONNECTED.

    `answer` None: hubbub says more than RabbitMQ does, which just closes.
    """

    name: str
    data: bytes
    answer: bytes | None


DESTINATION = {"destination": "/queue/a"}

GOOD = (
    Good("connect 1.0", None, b"CONNECT\nlogin: me\npasscode: x y\n\n\0", "CONNECT",
         {"login": "me", "passcode": "x y"}),
    Good("connect is not unescaped", None, b"CONNECT\naccept-version:1.2\nlogin:a\\b\n\n\0",
         "CONNECT", {"accept-version": "1.2", "login": "a\\b"}),
    Good("spaces count since 1.1", None, b"STOMP\naccept-version:1.1\nlogin: me \n\n\0", "STOMP",
         {"accept-version": "1.1", "login": " me "}),
    Good("connect with CR LF", None, b"CONNECT\r\naccept-version:1.2\r\nhost:h\r\n\r\n\0",
         "CONNECT", {"accept-version": "1.2", "host": "h"}),
    Good("send 1.0", V10, b"SEND\ndestination: /queue/a \n\nhi\0", "SEND", DESTINATION, b"hi"),
    Good("no escapes in 1.0", V10, b"SEND\na:b\\c\\n\n\n\0", "SEND", {"a": "b\\c\\n"}),
    Good("send 1.1", V11, b"SEND\ndestination:/queue/a\n\nhi\0", "SEND", DESTINATION, b"hi"),
    Good("send 1.2", V12, b"SEND\ndestination:/queue/a\n\nhi\0", "SEND", DESTINATION, b"hi"),
    Good("content-length", V12, b"SEND\ndestination:/queue/a\ncontent-length:3\n\na\0b\0", "SEND",
         {**DESTINATION, "content-length": "3"}, b"a\0b"),
    Good("content-length 0", V12, b"SEND\ncontent-length:0\n\n\0", "SEND", {"content-length": "0"}),
    Good("content-length in 1.0, with a space", V10, b"SEND\ncontent-length: 1\n\n\0\0", "SEND",
         {"content-length": "1"}, b"\0"),
    Good("empty body", V12, b"SEND\ndestination:/queue/a\n\n\0", "SEND", DESTINATION),
    Good("body of line ends", V12, b"SEND\n\n\n\r\n\n\0", "SEND", {}, b"\n\r\n\n"),
    Good("a body that looks like a head", V12, b"SEND\na:b\n\nSEND\nc:d\n\n\0", "SEND",
         {"a": "b"}, b"SEND\nc:d\n\n"),
    Good("CR LF", V12, b"SEND\r\na:b\r\nc:d\r\n\r\nx\0", "SEND", {"a": "b", "c": "d"}, b"x"),
    Good("CR LF in 1.1, as RabbitMQ takes it", V11, b"SEND\r\na:b\r\n\r\nx\0", "SEND",
         {"a": "b"}, b"x"),
    Good("CR LF then LF", V12, b"SEND\r\na:b\r\n\nx\0", "SEND", {"a": "b"}, b"x"),
    Good("LF, and CR LF in the body", V12, b"SEND\na:b\n\nx\n\r\n\0", "SEND", {"a": "b"},
         b"x\n\r\n"),
    Good("CR LF without headers", V12, b"ABORT\r\n\r\n\0", "ABORT"),
    Good("no headers", V12, b"DISCONNECT\n\n\0", "DISCONNECT"),
    Good("escapes of 1.1", V11, b"SEND\na\\cb:1\\n2\\\\3\\c4\n\n\0", "SEND", {"a:b": "1\n2\\3:4"}),
    Good("escapes of 1.2", V12, b"SEND\na\\rb:1\\n2\\\\3\\c4\\r\n\n\0", "SEND",
         {"a\rb": "1\n2\\3:4\r"}),
    Good("an escaped backslash before an n", V12, b"SEND\na:\\\\n\n\n\0", "SEND", {"a": "\\n"}),
    Good("colons in a value", V12, b"SEND\na:b:c:d\n\n\0", "SEND", {"a": "b:c:d"}),
    Good("an empty value", V12, b"SEND\na:\n\n\0", "SEND", {"a": ""}),
    Good("the first of repeated headers", V12, b"SEND\nfoo:World\nfoo:Hello\n\n\0", "SEND",
         {"foo": "World"}),
    Good("repeated by an escape", V12, b"SEND\nf\\co:1\nf\\co:2\n\n\0", "SEND", {"f:o": "1"}),
    Good("spaces are kept in 1.2", V12, b"SEND\n a : b \n\n\0", "SEND", {" a ": " b "}),
    Good("UTF-8", V12, "SEND\ndestination:/queue/ü€😀\n\nä\0".encode(), "SEND",
         {"destination": "/queue/ü€😀"}, "ä".encode()),
    Good("line ends before", V12, b"\n\n\r\n\nACK\nid:1\n\n\0", "ACK", {"id": "1"}),
    Good("line ends after", V12, b"ACK\nid:1\n\n\0\n\r\n\n", "ACK", {"id": "1"}),
    Good("transaction", V12, b"BEGIN\ntransaction:t 1\n\n\0", "BEGIN", {"transaction": "t 1"}),
    Good("any command", V12, b"WHAT EVER\n\n\0", "WHAT EVER"),
)  # fmt: skip

BAD = (
    Bad("undefined escape", V12, b"SEND\na:\\t\n\n\0", "Malformed frame", "'\\t'"),
    Bad("undefined escape in a name", V12, b"SEND\n\\a:b\n\n\0", "Malformed frame", "'\\a'"),
    Bad("escape at the end", V12, b"SEND\na:b\\\n\n\0", "Malformed frame", "'\\'"),
    Bad("no \\r in 1.1", V11, b"SEND\na:\\r\n\n\0", "Malformed frame", "'\\r'"),
    Bad("no colon", V12, b"SEND\nab\n\n\0", "Malformed frame", "'ab'"),
    Bad("no name", V12, b"SEND\n:b\n\n\0", "Malformed frame", "':b'"),
    Bad("NUL in the head", V12, b"SEND\0\n\n", "Malformed frame", "NUL"),
    Bad("not UTF-8", V12, b"SEND\na:\xff\n\n\0", "Malformed frame", "UTF-8"),
    Bad("content-length too small", V12, b"SEND\ncontent-length:1\n\nab\0", "Malformed frame",
        "after the 1 bytes"),
    Bad("content-length too large", V12, b"SEND\ncontent-length:3\n\nab\0\n", "Malformed frame",
        "after the 3 bytes"),
    Bad("content-length negative", V12, b"SEND\ncontent-length:-1\n\n\0", "Malformed frame",
        "'-1'"),
    Bad("content-length no number", V12, b"SEND\ncontent-length:x\n\n\0", "Malformed frame", "'x'"),
    Bad("content-length empty", V12, b"SEND\ncontent-length:\n\n\0", "Malformed frame", "''"),
    Bad("content-length in other digits", V12, "SEND\ncontent-length:١\n\n\0".encode(),
        "Malformed frame", "'١'"),
    Bad("content-length above the limit", V12, b"SEND\ncontent-length:1001\n\n", "Frame too large",
        "1000"),
    Bad("content-length of many digits", V12, b"SEND\ncontent-length:%s\n\n" % (b"9" * 100),
        "Frame too large", "1000"),
    Bad("body above the limit", V12, b"SEND\n\n" + b"x" * 1001, "Frame too large", "1000"),
    Bad("body above the limit, complete", V12, b"SEND\n\n" + b"x" * 1001 + b"\0",
        "Frame too large", "1000"),
    Bad("head above the limit", V12, b"SEND\n" + b"a" * 500, "Frame too large", "300"),
    Bad("head above the limit, complete", V12, b"SEND\na:" + b"a" * 500 + b"\n\n\0",
        "Frame too large", "300"),
    Bad("too many headers", V12, b"SEND\n" + b"a:b\n" * 21 + b"\n\0", "Frame too large", "20"),
    Bad("CR between frames", V12, b"\n\rSEND\n\n\0", "Malformed frame", "carriage return"),
)  # fmt: skip


def error(message: bytes, body: bytes) -> bytes:
    """An ERROR frame as RabbitMQ writes it."""
    return (
        b"ERROR\nmessage:%s\ncontent-type:text/plain\nversion:1.0,1.1,1.2\n"
        b"content-length:%d\n\n%s\0\n" % (message, len(body), body)
    )


PROVOCATIONS = (
    Provocation("unknown command", b"FOO\n\n\0",
                error(b"Bad command", b'Could not interpret command "FOO"\n')),
    Provocation("SEND without destination", b"SEND\n\nx\0",
                error(b"Missing destination", b"\"SEND\" must include a 'destination' header\n")),
    Provocation("SUBSCRIBE same id twice",
                b"SUBSCRIBE\nid:1\ndestination:/queue/a\n\n\0"
                b"SUBSCRIBE\nid:1\ndestination:/queue/b\n\n\0",
                error(b"Duplicated subscription identifier",
                      b"A subscription identified by 'T_1' already exists.")),
    Provocation("UNSUBSCRIBE unknown id", b"UNSUBSCRIBE\nid:9\n\n\0",
                error(b"No subscription found",
                      b"UNSUBSCRIBE must refer to an existing subscription.\n"
                      b"Subscription to \"id='9'\" not found.\n")),
    Provocation("ACK unknown id", b"ACK\nid:nope\n\n\0",
                error(b"Invalid header", b'"ACK" must include a valid "id" header\n')),
    Provocation("ACK without id", b"ACK\n\n\0",
                error(b"Missing header", b'"ACK" must include the "id" header\n')),
    Provocation("COMMIT unknown tx", b"COMMIT\ntransaction:t\n\n\0",
                error(b"Bad transaction", b'Invalid transaction identifier: "t"\n')),
    Provocation("BEGIN twice", b"BEGIN\ntransaction:t\n\n\0BEGIN\ntransaction:t\n\n\0", b""),
    Provocation("BEGIN without id", b"BEGIN\n\n\0",
                error(b"Missing transaction",
                      b"\"BEGIN\" must include a 'transaction' header\n")),
    Provocation("undefined escape \\t", b"SEND\ndestination:/queue/a\nx:\\t\n\nx\0", None),
    Provocation("CONNECT twice", b"CONNECT\naccept-version:1.2\nhost:/\n\n\0", None),
)  # fmt: skip
"""Those that need no server behind the protocol, sent after a CONNECT of version 1.2."""
