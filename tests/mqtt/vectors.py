"""Packets as bytes, with what a decoder must make of them: a packet, or a refusal and its reason.

For codec and server tests alike. Bytes are spelled out, and only the remaining length is computed
(by `frame`), so that the codec under test has no part in making them.
"""

from __future__ import annotations

from dataclasses import dataclass

from hubbub_mqtt.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Version,
    Will,
)
from hubbub_mqtt.properties import Properties

V31, V311, V5 = Version.V31, Version.V311, Version.V5


@dataclass(frozen=True)
class Good:
    """Bytes that decode to `packet`, and, if `canonical`, are what the packet encodes to."""

    name: str
    version: Version
    data: bytes
    packet: Packet
    canonical: bool = True


@dataclass(frozen=True)
class Bad:
    """Bytes that are refused with a reason code, because of a statement of that version."""

    name: str
    version: Version
    data: bytes
    reason: int
    statement: str


def frame(first: int, body: bytes = b"") -> bytes:
    """A fixed header for a body of less than 128 bytes, and the body."""
    assert len(body) < 128
    return bytes((first, len(body))) + body


def string(text: str | bytes) -> bytes:
    """A string or binary data with its length."""
    data = text.encode() if isinstance(text, str) else text
    return len(data).to_bytes(2, "big") + data


def connect(flags: int, payload: bytes, *, level: int = 4, properties: bytes = b"") -> bytes:
    """A CONNECT with a keep alive of 60 seconds; `properties` with their length."""
    name = b"\0\x06MQIsdp" if level == 3 else b"\0\x04MQTT"
    return frame(0x10, name + bytes((level, flags)) + b"\0\x3c" + properties + payload)


def publish5(
    fields: bytes, payload: bytes = b"x", *, first: int = 0x30, head: bytes = b""
) -> bytes:
    """A 5.0 PUBLISH to `a` (or with another `head`) and with these property fields."""
    return frame(first, (head or b"\0\x01a") + bytes((len(fields),)) + fields + payload)


def connect5(fields: bytes, payload: bytes = b"\0\x01c", flags: int = 2) -> bytes:
    """A 5.0 CONNECT with these property fields."""
    return connect(flags, payload, level=5, properties=bytes((len(fields),)) + fields)


def will5(fields: bytes, topic: bytes = b"\0\x01w", payload: bytes = b"\0\x01x") -> bytes:
    """A 5.0 CONNECT with a will that has these property fields."""
    return connect5(b"", b"\0\x01c" + bytes((len(fields),)) + fields + topic + payload, flags=6)


def subscribe5(*pairs: tuple[str, int], fields: bytes = b"") -> bytes:
    """A 5.0 SUBSCRIBE with packet identifier 10."""
    payload = b"".join(string(topic) + bytes((options,)) for topic, options in pairs)
    return frame(0x82, b"\0\x0a" + bytes((len(fields),)) + fields + payload)


def connack5(fields: bytes, reason: int = 0, flags: int = 0) -> bytes:
    """A 5.0 CONNACK with these property fields."""
    return frame(0x20, bytes((flags, reason, len(fields))) + fields)


USER = b"\x26\0\x01k\0\x01v"

GOOD = (
    # CONNECT
    Good("connect 3.1", V31, connect(0, string("dev"), level=3), Connect("dev", V31, False, 60)),
    Good(
        "connect 3.1 with a client id of more than 23 characters",
        V31,
        connect(2, string("c" * 30), level=3),
        Connect("c" * 30, V31, True, 60),
    ),
    Good(
        "connect 3.1 with user name and password flags but neither string",
        V31,
        connect(0xC2, string("dev"), level=3),
        Connect("dev", V31, True, 60),
        canonical=False,
    ),
    Good(
        "connect 3.1 with will bits that have no meaning",
        V31,
        connect(0x3A, string("dev"), level=3),
        Connect("dev", V31, True, 60),
        canonical=False,
    ),
    Good("connect 3.1.1", V311, connect(2, string("dev")), Connect("dev", V311, True, 60)),
    Good("connect 3.1.1 kept", V311, connect(0, string("dev")), Connect("dev", V311, False, 60)),
    Good("connect 3.1.1 no id", V311, connect(2, string("")), Connect("", V311, True, 60)),
    Good(
        "connect 3.1.1, all bytes written out",
        V311,
        b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x0a\x00\x03abc",
        Connect("abc", V311, True, 10),
    ),
    Good(
        "connect 3.1.1 will, user, password",
        V311,
        connect(0xEE, string("c") + string("w/t") + string("bye") + string("u") + string(b"\xff")),
        Connect("c", V311, True, 60, "u", b"\xff", Will("w/t", b"bye", 1, True)),
    ),
    Good(
        "connect 3.1.1 empty will payload, empty user name and password",
        V311,
        connect(0xD6, string("c") + string("w") + string("") + string("") + string("")),
        Connect("c", V311, True, 60, "", b"", Will("w", b"", 2)),
    ),
    Good("connect 5", V5, connect5(b"", string("dev")), Connect("dev", V5, True, 60)),
    Good("connect 5 no id, kept", V5, connect5(b"", string(""), 0), Connect("", V5, False, 60)),
    Good(
        "connect 5 password without user name",
        V5,
        connect5(b"", string("c") + string("token"), 0x42),
        Connect("c", V5, True, 60, None, b"token"),
    ),
    Good(
        "connect 5 with every property",
        V5,
        connect5(
            b"\x11\0\0\0\x0a\x15\0\x01M\x16\0\x01D\x17\0\x19\x01\x21\0\x14\x22\0\x05"
            + USER
            + b"\x27\0\0\x10\0"
        ),
        Connect(
            "c",
            V5,
            True,
            60,
            properties=Properties(
                session_expiry_interval=10,
                authentication_method="M",
                authentication_data=b"D",
                request_problem_information=0,
                request_response_information=1,
                receive_maximum=20,
                topic_alias_maximum=5,
                user_properties=(("k", "v"),),
                maximum_packet_size=4096,
            ),
        ),
    ),
    Good(
        "connect 5 with every will property",
        V5,
        will5(b"\x01\x01\x02\0\0\0\x05\x03\0\x01t\x08\0\x01r\x09\0\x01d\x18\0\0\0\x07" + USER),
        Connect(
            "c",
            V5,
            True,
            60,
            will=Will(
                "w",
                b"x",
                properties=Properties(
                    payload_format_indicator=1,
                    message_expiry_interval=5,
                    content_type="t",
                    response_topic="r",
                    correlation_data=b"d",
                    will_delay_interval=7,
                    user_properties=(("k", "v"),),
                ),
            ),
        ),
    ),
    # CONNACK
    Good("connack 3.1", V31, b"\x20\x02\x00\x00", Connack()),
    Good("connack 3.1 unused byte", V31, b"\x20\x02\xff\x00", Connack(), canonical=False),
    Good("connack 3.1.1 session", V311, b"\x20\x02\x01\x00", Connack(True)),
    Good("connack 3.1.1 refused", V311, b"\x20\x02\x00\x05", Connack(False, 5)),
    Good("connack 5", V5, b"\x20\x03\x01\x00\x00", Connack(True)),
    Good("connack 5 refused", V5, b"\x20\x03\x00\x87\x00", Connack(False, 0x87)),
    Good(
        "connack 5 with every property",
        V5,
        connack5(
            b"\x11\0\0\0\x0a\x12\0\x01i\x13\0\x1e\x15\0\x01M\x16\0\x01D\x1a\0\x01r\x1c\0\x01s"
            b"\x1f\0\x01w\x21\0\x14\x22\0\x05\x24\x01\x25\0" + USER + b"\x27\0\0\x10\0"
            b"\x28\0\x29\0\x2a\0"
        ),
        Connack(
            properties=Properties(
                session_expiry_interval=10,
                assigned_client_identifier="i",
                server_keep_alive=30,
                authentication_method="M",
                authentication_data=b"D",
                response_information="r",
                server_reference="s",
                reason_string="w",
                receive_maximum=20,
                topic_alias_maximum=5,
                maximum_qos=1,
                retain_available=0,
                user_properties=(("k", "v"),),
                maximum_packet_size=4096,
                wildcard_subscription_available=0,
                subscription_identifiers_available=0,
                shared_subscription_available=0,
            )
        ),
    ),
    # PUBLISH
    Good(
        "publish 3.1.1 qos 0",
        V311,
        b"\x30\x06\x00\x03a/bx",
        Publish("a/b", b"x"),
    ),
    Good(
        "publish 3.1.1 qos 0, empty payload",
        V311,
        b"\x30\x05\x00\x03a/b",
        Publish("a/b"),
    ),
    Good("publish 3.1.1 retain", V311, b"\x31\x04\0\x01ax", Publish("a", b"x", retain=True)),
    Good(
        "publish 3.1.1 qos 1", V311, b"\x32\x06\0\x01a\0\x07x", Publish("a", b"x", 1, packet_id=7)
    ),
    Good(
        "publish 3.1.1 qos 2 dup retain",
        V311,
        b"\x3d\x06\0\x01a\xff\xffx",
        Publish("a", b"x", 2, True, True, 65535),
    ),
    Good(
        "publish 3.1 qos 1 dup",
        V31,
        b"\x3a\x06\0\x01a\0\x07x",
        Publish("a", b"x", 1, dup=True, packet_id=7),
    ),
    Good(
        "publish with a topic outside of ASCII",
        V311,
        b"\x30\x08\0\x06\xe2\x82\xac/\xc3\xa9",
        Publish("€/é"),
    ),
    Good(
        "publish with a byte order mark, which is kept",
        V311,
        b"\x30\x06\0\x04\xef\xbb\xbfa",
        Publish("\ufeffa"),
    ),
    Good(
        "publish with control and non-characters, which are tolerated",
        V311,
        b"\x30\x06\0\x04\x01\xef\xbf\xbf",
        Publish("\x01\uffff"),
    ),
    Good(
        "publish to separators alone",
        V311,
        b"\x30\x03\0\x01/",
        Publish("/"),
    ),
    Good(
        "publish with a remaining length longer than needed, not to be sent on",
        V311,
        b"\x30\x84\x00\x00\x01ax",
        Publish("a", b"x"),
        canonical=False,
    ),
    Good(
        "publish of 128 bytes",
        V311,
        b"\x30\x80\x01\0\x01a" + b"x" * 125,
        Publish("a", b"x" * 125),
    ),
    Good("publish 5 qos 0", V5, b"\x30\x05\0\x01a\0x", Publish("a", b"x")),
    Good("publish 5 qos 1", V5, b"\x32\x07\0\x01a\0\x07\0x", Publish("a", b"x", 1, packet_id=7)),
    Good(
        "publish 5 with properties to be sent on as they are",
        V5,
        publish5(b"\x01\x01\x03\0\x01t\x08\0\x01r\x09\0\x01d" + USER + USER),
        Publish(
            "a",
            b"x",
            properties=Properties(
                payload_format_indicator=1,
                content_type="t",
                response_topic="r",
                correlation_data=b"d",
                user_properties=(("k", "v"), ("k", "v")),
            ),
        ),
    ),
    Good(
        "publish 5 with an expiry, to be counted down",
        V5,
        publish5(b"\x02\0\0\0\x0a"),
        Publish("a", b"x", properties=Properties(message_expiry_interval=10)),
    ),
    Good(
        "publish 5 with topic and alias",
        V5,
        publish5(b"\x23\0\x01"),
        Publish("a", b"x", properties=Properties(topic_alias=1)),
    ),
    Good(
        "publish 5 with an alias alone",
        V5,
        publish5(b"\x23\xff\xff", head=b"\0\0"),
        Publish("", b"x", properties=Properties(topic_alias=65535)),
    ),
    Good(
        "publish 5 with subscription identifiers, from a server",
        V5,
        publish5(b"\x0b\x01\x0b\xff\xff\xff\x7f"),
        Publish("a", b"x", properties=Properties(subscription_identifiers=(1, 268_435_455))),
    ),
    # PUBACK, PUBREC, PUBREL, PUBCOMP
    Good("puback 3.1.1", V311, b"\x40\x02\0\x07", Puback(7)),
    Good("pubrec 3.1.1", V311, b"\x50\x02\0\x07", Pubrec(7)),
    Good("pubrel 3.1.1", V311, b"\x62\x02\0\x07", Pubrel(7)),
    Good("pubrel 3.1 dup", V31, b"\x6a\x02\0\x07", Pubrel(7), canonical=False),
    Good("pubcomp 3.1.1", V311, b"\x70\x02\0\x07", Pubcomp(7)),
    Good("puback 5 short", V5, b"\x40\x02\0\x07", Puback(7)),
    Good("puback 5 reason", V5, b"\x40\x03\0\x07\x10", Puback(7, 0x10)),
    Good("puback 5 empty properties", V5, b"\x40\x04\0\x07\0\0", Puback(7), canonical=False),
    Good(
        "puback 5 properties",
        V5,
        frame(0x40, b"\0\x07\x97\x0b\x1f\0\x01w" + USER),
        Puback(7, 0x97, Properties(reason_string="w", user_properties=(("k", "v"),))),
    ),
    Good("pubrec 5 reason", V5, b"\x50\x03\0\x07\x91", Pubrec(7, 0x91)),
    Good(
        "pubrec 5 properties",
        V5,
        frame(0x50, b"\0\x07\0\x04\x1f\0\x01w"),
        Pubrec(7, 0, Properties(reason_string="w")),
    ),
    Good("pubrel 5 short", V5, b"\x62\x02\0\x07", Pubrel(7)),
    Good("pubrel 5 reason", V5, b"\x62\x03\0\x07\x92", Pubrel(7, 0x92)),
    Good(
        "pubrel 5 properties",
        V5,
        frame(0x62, b"\0\x07\0\x04\x1f\0\x01w"),
        Pubrel(7, 0, Properties(reason_string="w")),
    ),
    Good("pubcomp 5 reason", V5, b"\x70\x03\0\x07\x92", Pubcomp(7, 0x92)),
    Good(
        "pubcomp 5 properties",
        V5,
        frame(0x70, b"\0\x07\0\x07" + USER),
        Pubcomp(7, 0, Properties(user_properties=(("k", "v"),))),
    ),
    # SUBSCRIBE, SUBACK
    Good(
        "subscribe 3.1.1",
        V311,
        frame(0x82, b"\0\x0a" + string("a/+/c") + b"\x01" + string("#") + b"\0"),
        Subscribe(10, (Subscription("a/+/c", 1), Subscription("#", 0))),
    ),
    Good(
        "subscribe 3.1 dup, upper bits of the options not used",
        V31,
        frame(0x8A, b"\0\x0a" + string("a") + b"\xfe"),
        Subscribe(10, (Subscription("a", 2),)),
        canonical=False,
    ),
    Good(
        "subscribe 5",
        V5,
        subscribe5(("a", 0), ("+/b", 0x2E), ("$share/g/a/#", 0x12), ("$SYS/#", 1)),
        Subscribe(
            10,
            (
                Subscription("a"),
                Subscription("+/b", 2, True, True, 2),
                Subscription("$share/g/a/#", 2, False, False, 1),
                Subscription("$SYS/#", 1),
            ),
        ),
    ),
    Good(
        "subscribe 5 properties",
        V5,
        subscribe5(("a", 1), fields=b"\x0b\x80\x01" + USER),
        Subscribe(
            10,
            (Subscription("a", 1),),
            Properties(subscription_identifiers=(128,), user_properties=(("k", "v"),)),
        ),
    ),
    Good(
        "subscribe to names that only look shared",
        V5,
        subscribe5(("$share", 0), ("$shared/x", 4)),
        Subscribe(10, (Subscription("$share"), Subscription("$shared/x", 0, True))),
    ),
    Good("suback 3.1.1", V311, b"\x90\x06\0\x0a\0\x01\x02\x80", Suback(10, (0, 1, 2, 0x80))),
    Good("suback 5", V5, b"\x90\x06\0\x0a\0\x02\x87\xa2", Suback(10, (2, 0x87, 0xA2))),
    Good(
        "suback 5 properties",
        V5,
        frame(0x90, b"\0\x0a\x04\x1f\0\x01w\x80"),
        Suback(10, (0x80,), Properties(reason_string="w")),
    ),
    # UNSUBSCRIBE, UNSUBACK
    Good(
        "unsubscribe 3.1.1",
        V311,
        frame(0xA2, b"\0\x0a" + string("a") + string("b/#")),
        Unsubscribe(10, ("a", "b/#")),
    ),
    Good(
        "unsubscribe 5",
        V5,
        frame(0xA2, b"\0\x0a\x07" + USER + string("$share/g/a")),
        Unsubscribe(10, ("$share/g/a",), Properties(user_properties=(("k", "v"),))),
    ),
    Good("unsuback 3.1.1", V311, b"\xb0\x02\0\x0a", Unsuback(10)),
    Good("unsuback 5", V5, b"\xb0\x05\0\x0a\0\0\x11", Unsuback(10, (0, 0x11))),
    Good(
        "unsuback 5 properties",
        V5,
        frame(0xB0, b"\0\x0a\x04\x1f\0\x01w\x8f"),
        Unsuback(10, (0x8F,), Properties(reason_string="w")),
    ),
    # PINGREQ, PINGRESP
    Good("pingreq", V311, b"\xc0\0", Pingreq()),
    Good("pingreq 5", V5, b"\xc0\0", Pingreq()),
    Good("pingresp", V311, b"\xd0\0", Pingresp()),
    # DISCONNECT, AUTH
    Good("disconnect 3.1.1", V311, b"\xe0\0", Disconnect()),
    Good("disconnect 5", V5, b"\xe0\0", Disconnect()),
    Good("disconnect 5 normal, in full", V5, b"\xe0\x02\0\0", Disconnect(), canonical=False),
    Good("disconnect 5 with will", V5, b"\xe0\x01\x04", Disconnect(4)),
    Good(
        "disconnect 5 properties",
        V5,
        frame(0xE0, b"\x9c\x14\x11\0\0\0\x0a\x1c\0\x01s\x1f\0\x01w" + USER),
        Disconnect(
            0x9C,
            Properties(
                session_expiry_interval=10,
                server_reference="s",
                reason_string="w",
                user_properties=(("k", "v"),),
            ),
        ),
    ),
    Good("auth 5 empty", V5, b"\xf0\0", Auth()),
    Good(
        "auth 5",
        V5,
        frame(0xF0, b"\x18\x08\x15\0\x01M\x16\0\x01D"),
        Auth(0x18, Properties(authentication_method="M", authentication_data=b"D")),
    ),
    Good(
        "auth 5 properties",
        V5,
        frame(0xF0, b"\x19\x0f\x15\0\x01M\x1f\0\x01w" + USER),
        Auth(
            0x19,
            Properties(authentication_method="M", reason_string="w", user_properties=(("k", "v"),)),
        ),
    ),
)

BAD = (
    # Fixed header
    Bad("packet type 0", V5, b"\0\0", 0x81, "2.1.2"),
    Bad("packet type 0, 3.1.1", V311, b"\0\0", 0x81, "2.2.1"),
    Bad("packet type 15 before 5.0", V311, b"\xf0\0", 0x81, "2.2.1"),
    Bad("remaining length of five bytes", V5, b"\x30\xff\xff\xff\xff\x01", 0x81, "1.5.5"),
    Bad("remaining length of five, 3.1.1", V311, b"\x30\xff\xff\xff\xff\x01", 0x81, "2.2.3"),
    Bad("flags of CONNECT", V311, b"\x11\x0d\0\x04MQTT", 0x81, "[MQTT-2.2.2-2]"),
    Bad("flags of CONNACK", V5, b"\x21\x03\0\0\0", 0x81, "[MQTT-2.1.3-1]"),
    Bad("flags of PUBACK", V5, b"\x41\x02\0\x01", 0x81, "[MQTT-2.1.3-1]"),
    Bad("flags of PUBREC", V5, b"\x52\x02\0\x01", 0x81, "[MQTT-2.1.3-1]"),
    Bad("flags of PUBREL", V5, b"\x60\x02\0\x01", 0x81, "[MQTT-2.1.3-1]"),
    Bad("flags of PUBREL, 3.1.1", V311, b"\x6a\x02\0\x01", 0x81, "[MQTT-2.2.2-2]"),
    Bad("flags of PUBCOMP", V5, b"\x78\x02\0\x01", 0x81, "[MQTT-2.1.3-1]"),
    Bad("flags of SUBSCRIBE", V5, b"\x80\x06\0\x01\0\0\x01a\0", 0x81, "[MQTT-2.1.3-1]"),
    Bad("flags of SUBACK", V5, b"\x91\x04\0\x01\0\0", 0x81, "[MQTT-2.1.3-1]"),
    Bad("flags of UNSUBSCRIBE", V5, b"\xa0\x06\0\x01\0\0\x01a", 0x81, "[MQTT-2.1.3-1]"),
    Bad("flags of UNSUBACK", V5, b"\xb2\x04\0\x01\0\0", 0x81, "[MQTT-2.1.3-1]"),
    Bad("flags of PINGREQ", V5, b"\xc1\0", 0x81, "[MQTT-2.1.3-1]"),
    Bad("flags of PINGRESP", V5, b"\xd1\0", 0x81, "[MQTT-2.1.3-1]"),
    Bad("flags of DISCONNECT", V5, b"\xe1\0", 0x81, "[MQTT-2.1.3-1]"),
    Bad("flags of AUTH", V5, b"\xf1\0", 0x81, "[MQTT-2.1.3-1]"),
    # CONNECT
    Bad("connect without anything", V311, b"\x10\0", 0x81, "[MQTT-4.8.0-1]"),
    Bad(
        "connect, other protocol name",
        V311,
        frame(0x10, string("HTTP") + b"\x04\x02\0\0\0\0"),
        0x84,
        "[MQTT-3.1.2-1]",
    ),
    Bad(
        "connect, protocol name in small letters",
        V5,
        frame(0x10, string("mqtt") + b"\x05\x02\0\0\0\0\0"),
        0x84,
        "[MQTT-3.1.2-1]",
    ),
    Bad(
        "connect, level 6",
        V5,
        frame(0x10, string("MQTT") + b"\x06\x02\0\0\0\0\0"),
        0x84,
        "[MQTT-3.1.2-2]",
    ),
    Bad(
        "connect, level 3 with the later name",
        V311,
        frame(0x10, string("MQTT") + b"\x03\x02\0\0\0\0"),
        0x84,
        "[MQTT-3.1.2-2]",
    ),
    Bad(
        "connect, a bridge of level 5",
        V311,
        frame(0x10, string("MQTT") + b"\x85\x02\0\0\0\0\0"),
        0x84,
        "[MQTT-3.1.2-2]",
    ),
    Bad("connect, reserved flag", V311, connect(3, string("c")), 0x81, "[MQTT-3.1.2-3]"),
    Bad("connect 5, reserved flag", V5, connect5(b"", flags=3), 0x81, "[MQTT-3.1.2-3]"),
    Bad("connect, will QoS alone", V311, connect(0x0A, string("c")), 0x82, "[MQTT-3.1.2-13]"),
    Bad("connect 5, will QoS alone", V5, connect5(b"", flags=0x12), 0x82, "[MQTT-3.1.2-11]"),
    Bad("connect, will retain alone", V311, connect(0x22, string("c")), 0x82, "[MQTT-3.1.2-15]"),
    Bad("connect 5, will retain alone", V5, connect5(b"", flags=0x22), 0x82, "[MQTT-3.1.2-13]"),
    Bad(
        "connect, will QoS 3",
        V311,
        connect(0x1E, string("c") + string("w") + string("x")),
        0x81,
        "[MQTT-3.1.2-14]",
    ),
    Bad("connect 5, will QoS 3", V5, connect5(b"", flags=0x1E), 0x81, "[MQTT-3.1.2-12]"),
    Bad(
        "connect, password alone",
        V311,
        connect(0x42, string("c") + string("p")),
        0x82,
        "[MQTT-3.1.2-22]",
    ),
    Bad("connect, no client id field", V311, connect(2, b""), 0x81, "[MQTT-4.8.0-1]"),
    Bad("connect, client id empty, kept", V311, connect(0, string("")), 0x85, "[MQTT-3.1.3-8]"),
    Bad(
        "connect 3.1, client id empty", V31, connect(2, string(""), level=3), 0x85, "[MQTT-3.1.3-8]"
    ),
    Bad("connect, client id cut off", V311, connect(2, b"\0\x05abc"), 0x81, "[MQTT-4.8.0-1]"),
    Bad("connect, NUL in client id", V311, connect(2, string("a\0b")), 0x81, "[MQTT-1.5.3-2]"),
    Bad("connect 5, NUL in client id", V5, connect5(b"", string("\0")), 0x81, "[MQTT-1.5.4-2]"),
    Bad(
        "connect 5, bad UTF-8 in client id",
        V5,
        connect5(b"", string(b"\xff")),
        0x81,
        "[MQTT-1.5.4-1]",
    ),
    Bad("connect, will flag, no will", V311, connect(6, string("c")), 0x81, "[MQTT-4.8.0-1]"),
    Bad(
        "connect, no will payload",
        V311,
        connect(6, string("c") + string("w")),
        0x81,
        "[MQTT-4.8.0-1]",
    ),
    Bad("connect 5, empty will topic", V5, will5(b"", b"\0\0"), 0x81, "[MQTT-4.7.3-1]"),
    Bad("connect 5, will topic a/#", V5, will5(b"", b"\0\x03a/#"), 0x81, "[MQTT-3.3.2-2]"),
    Bad(
        "connect 5, will not UTF-8",
        V5,
        will5(b"\x01\x01", payload=b"\0\x01\xff"),
        0x99,
        "3.3.2.3.2",
    ),
    Bad("connect 5, property of the will", V5, connect5(b"\x18\0\0\0\x01"), 0x81, "2.2.2.2"),
    Bad("connect 5, will with a packet's", V5, will5(b"\x11\0\0\0\x01"), 0x81, "2.2.2.2"),
    Bad("connect, user flag, no user", V311, connect(0x82, string("c")), 0x81, "[MQTT-4.8.0-1]"),
    Bad(
        "connect, password flag, no password",
        V311,
        connect(0xC2, string("c") + string("u")),
        0x81,
        "[MQTT-4.8.0-1]",
    ),
    Bad("connect, user without flag", V311, connect(2, string("c") + b"x"), 0x81, "[MQTT-4.8.0-1]"),
    Bad(
        "connect, surrogate in user name",
        V311,
        connect(0x82, string("c") + string(b"\xed\xa0\x80")),
        0x81,
        "[MQTT-1.5.3-1]",
    ),
    Bad("connect 5, bytes after the end", V5, connect5(b"", string("c") + b"x"), 0x81, "4.13.1"),
    Bad("connect 5, receive maximum 0", V5, connect5(b"\x21\0\0"), 0x82, "2.2.2.2"),
    Bad("connect 5, maximum packet size 0", V5, connect5(b"\x27\0\0\0\0"), 0x82, "2.2.2.2"),
    Bad("connect 5, problem information 2", V5, connect5(b"\x17\x02"), 0x82, "2.2.2.2"),
    Bad("connect 5, response information 2", V5, connect5(b"\x19\x02"), 0x82, "2.2.2.2"),
    Bad("connect 5, data but no method", V5, connect5(b"\x16\0\x01D"), 0x82, "3.1.2.11.10"),
    Bad("connect 5, expiry twice", V5, connect5(b"\x11\0\0\0\x01" * 2), 0x82, "2.2.2.2"),
    # Properties in general
    Bad("unknown property", V5, publish5(b"\x04\0"), 0x81, "2.2.2.2"),
    Bad("property of a CONNACK in PUBLISH", V5, publish5(b"\x24\x01"), 0x81, "2.2.2.2"),
    Bad("property beyond the property length", V5, publish5(b"\x02\0\0"), 0x81, "2.2.2.1"),
    Bad("string beyond the property length", V5, publish5(b"\x03\0\x09t"), 0x81, "2.2.2.1"),
    Bad("property length beyond the packet", V5, b"\x30\x05\0\x01a\x09x", 0x81, "2.2.2.1"),
    Bad("no property length", V5, b"\x30\x03\0\x01a", 0x81, "4.13.1"),
    Bad("property length of five bytes", V5, b"\x30\x08\0\x01a\xff\xff\xff\xff\x01", 0x81, "1.5.5"),
    Bad("property length not minimal", V5, b"\x30\x06\0\x01a\x80\0x", 0x81, "[MQTT-1.5.5-1]"),
    Bad("user property without value", V5, publish5(b"\x26\0\x01k"), 0x81, "2.2.2.1"),
    Bad("NUL in user property", V5, publish5(b"\x26\0\x01k\0\x01\0"), 0x81, "[MQTT-1.5.4-2]"),
    Bad("bad UTF-8 in content type", V5, publish5(b"\x03\0\x01\xc3"), 0x81, "[MQTT-1.5.4-1]"),
    # PUBLISH
    Bad("publish QoS 3", V5, b"\x36\x06\0\x01a\0\x01\0", 0x81, "[MQTT-3.3.1-4]"),
    Bad("publish QoS 3, 3.1.1", V311, b"\x37\x05\0\x01a\0\x01", 0x81, "[MQTT-3.3.1-4]"),
    Bad("publish DUP at QoS 0", V5, b"\x38\x04\0\x01a\0", 0x81, "[MQTT-3.3.1-2]"),
    Bad("publish DUP at QoS 0, retained", V311, b"\x39\x03\0\x01a", 0x81, "[MQTT-3.3.1-2]"),
    Bad("publish without anything", V311, b"\x30\0", 0x81, "[MQTT-4.8.0-1]"),
    Bad("publish, topic cut off", V311, b"\x30\x03\0\x05a", 0x81, "[MQTT-4.8.0-1]"),
    Bad("publish 5, topic cut off", V5, b"\x30\x04\0\x05a\0", 0x81, "4.13.1"),
    Bad("publish, no packet identifier", V311, b"\x32\x03\0\x01a", 0x81, "[MQTT-4.8.0-1]"),
    Bad("publish, packet identifier 0", V311, b"\x32\x05\0\x01a\0\0", 0x82, "[MQTT-2.3.1-1]"),
    Bad("publish 5, packet identifier 0", V5, b"\x34\x06\0\x01a\0\0\0", 0x82, "[MQTT-2.2.1-3]"),
    Bad("publish, empty topic", V311, b"\x30\x03\0\0x", 0x81, "[MQTT-4.7.3-1]"),
    Bad("publish 5, neither topic nor alias", V5, b"\x30\x04\0\0\0x", 0x82, "3.3.2.1"),
    Bad("publish to +", V311, b"\x30\x03\0\x01+", 0x81, "[MQTT-3.3.2-2]"),
    Bad("publish to a/#", V5, b"\x30\x06\0\x03a/#\0", 0x81, "[MQTT-3.3.2-2]"),
    Bad("publish, NUL in topic", V311, b"\x30\x05\0\x03a\0b", 0x81, "[MQTT-1.5.3-2]"),
    Bad("publish 5, NUL in topic", V5, b"\x30\x04\0\x01\0\0", 0x81, "[MQTT-1.5.4-2]"),
    Bad("publish, surrogate", V5, b"\x30\x06\0\x03\xed\xa0\x80\0", 0x81, "[MQTT-1.5.4-1]"),
    Bad(
        "publish, surrogate pair",
        V311,
        b"\x30\x08\0\x06\xed\xa0\xbd\xed\xb8\x80",
        0x81,
        "[MQTT-1.5.3-1]",
    ),
    Bad("publish, over-long slash", V5, b"\x30\x05\0\x02\xc0\xaf\0", 0x81, "[MQTT-1.5.4-1]"),
    Bad("publish, over-long NUL", V5, b"\x30\x05\0\x02\xc0\x80\0", 0x81, "[MQTT-1.5.4-1]"),
    Bad(
        "publish, beyond U+10FFFF", V5, b"\x30\x07\0\x04\xf4\x90\x80\x80\0", 0x81, "[MQTT-1.5.4-1]"
    ),
    Bad("publish, lone continuation", V311, b"\x30\x03\0\x01\x80", 0x81, "[MQTT-1.5.3-1]"),
    Bad("publish, topic alias 0", V5, publish5(b"\x23\0\0"), 0x94, "[MQTT-3.3.2-8]"),
    Bad("publish, topic alias twice", V5, publish5(b"\x23\0\x01" * 2), 0x82, "2.2.2.2"),
    Bad("publish, payload format 2", V5, publish5(b"\x01\x02"), 0x82, "2.2.2.2"),
    Bad("publish, payload format twice", V5, publish5(b"\x01\x01" * 2), 0x82, "2.2.2.2"),
    Bad("publish, expiry twice", V5, publish5(b"\x02\0\0\0\x01" * 2), 0x82, "2.2.2.2"),
    Bad("publish, subscription identifier 0", V5, publish5(b"\x0b\0"), 0x82, "2.2.2.2"),
    Bad("publish, response topic a/+", V5, publish5(b"\x08\0\x03a/+"), 0x82, "[MQTT-3.3.2-14]"),
    Bad("publish, empty response topic", V5, publish5(b"\x08\0\0"), 0x81, "[MQTT-4.7.3-1]"),
    # PUBACK, PUBREC, PUBREL, PUBCOMP
    Bad("puback, packet identifier 0", V311, b"\x40\x02\0\0", 0x82, "[MQTT-2.3.1-1]"),
    Bad("puback too short", V311, b"\x40\x01\0", 0x81, "[MQTT-4.8.0-1]"),
    Bad("puback with a reason, 3.1.1", V311, b"\x40\x03\0\x01\0", 0x81, "[MQTT-4.8.0-1]"),
    Bad("puback, reason of another packet", V5, b"\x40\x03\0\x01\x92", 0x82, "[MQTT-3.4.2-1]"),
    Bad("puback, property of another", V5, b"\x40\x06\0\x01\0\x02\x01\x01", 0x81, "2.2.2.2"),
    Bad(
        "puback, reason string twice",
        V5,
        frame(0x40, b"\0\x01\0\x06" + b"\x1f\0\0" * 2),
        0x82,
        "2.2.2.2",
    ),
    Bad("puback, bytes after the end", V5, b"\x40\x05\0\x01\0\0x", 0x81, "4.13.1"),
    Bad("pubrec, reason of another packet", V5, b"\x50\x03\0\x01\x01", 0x82, "[MQTT-3.5.2-1]"),
    Bad("pubrec, packet identifier 0", V5, b"\x50\x02\0\0", 0x82, "[MQTT-2.2.1-3]"),
    Bad("pubrel, reason of another packet", V5, b"\x62\x03\0\x01\x80", 0x82, "[MQTT-3.6.2-1]"),
    Bad("pubrel, packet identifier 0", V5, b"\x62\x02\0\0", 0x82, "[MQTT-2.2.1-3]"),
    Bad("pubcomp, reason of another packet", V5, b"\x70\x03\0\x01\x10", 0x82, "[MQTT-3.7.2-1]"),
    Bad("pubcomp without packet identifier", V5, b"\x70\0", 0x81, "4.13.1"),
    # SUBSCRIBE, SUBACK
    Bad("subscribe, packet identifier 0", V311, b"\x82\x06\0\0\0\x01a\0", 0x82, "[MQTT-2.3.1-1]"),
    Bad("subscribe to nothing", V311, b"\x82\x02\0\x0a", 0x82, "[MQTT-3.8.3-3]"),
    Bad("subscribe 5 to nothing", V5, subscribe5(), 0x82, "[MQTT-3.8.3-2]"),
    Bad("subscribe, empty filter", V5, subscribe5(("", 0)), 0x81, "[MQTT-4.7.3-1]"),
    Bad("subscribe, no options", V311, b"\x82\x05\0\x0a\0\x01a", 0x81, "[MQTT-4.8.0-1]"),
    Bad("subscribe, QoS 3", V5, subscribe5(("a", 3)), 0x82, "3.8.3.1"),
    Bad("subscribe, QoS 3, 3.1.1", V311, b"\x82\x06\0\x0a\0\x01a\x03", 0x82, "[MQTT-3-8.3-4]"),
    Bad("subscribe, reserved options", V5, subscribe5(("a", 0x40)), 0x81, "[MQTT-3.8.3-5]"),
    Bad("subscribe, options of 5.0", V311, b"\x82\x06\0\x0a\0\x01a\x04", 0x81, "[MQTT-3-8.3-4]"),
    Bad("subscribe, retain handling 3", V5, subscribe5(("a", 0x30)), 0x82, "3.8.3.1"),
    Bad(
        "subscribe, no local and shared", V5, subscribe5(("$share/g/a", 4)), 0x82, "[MQTT-3.8.3-4]"
    ),
    Bad("subscribe to #/a", V5, subscribe5(("#/a", 0)), 0x81, "[MQTT-4.7.1-1]"),
    Bad("subscribe to a#", V5, subscribe5(("a#", 0)), 0x81, "[MQTT-4.7.1-1]"),
    Bad("subscribe to a/b#, 3.1.1", V311, b"\x82\x09\0\x0a\0\x04a/b#\0", 0x81, "[MQTT-4.7.1-2]"),
    Bad("subscribe to a+/b", V5, subscribe5(("a+/b", 0)), 0x81, "[MQTT-4.7.1-2]"),
    Bad("subscribe to ++, 3.1.1", V311, b"\x82\x07\0\x0a\0\x02++\0", 0x81, "[MQTT-4.7.1-3]"),
    Bad("subscribe to $share//a", V5, subscribe5(("$share//a", 0)), 0x81, "[MQTT-4.8.2-1]"),
    Bad("subscribe to $share/", V5, subscribe5(("$share/", 0)), 0x81, "[MQTT-4.8.2-1]"),
    Bad("subscribe to $share/g", V5, subscribe5(("$share/g", 0)), 0x81, "[MQTT-4.8.2-2]"),
    Bad("subscribe to $share/g/", V5, subscribe5(("$share/g/", 0)), 0x81, "[MQTT-4.8.2-2]"),
    Bad("subscribe to $share/+/a", V5, subscribe5(("$share/+/a", 0)), 0x81, "[MQTT-4.8.2-2]"),
    Bad("subscribe to $share/g/a#", V5, subscribe5(("$share/g/a#", 0)), 0x81, "[MQTT-4.7.1-1]"),
    Bad("subscribe, NUL in filter", V5, subscribe5(("a\0", 0)), 0x81, "[MQTT-1.5.4-2]"),
    Bad("subscribe, identifier 0", V5, subscribe5(("a", 0), fields=b"\x0b\0"), 0x82, "2.2.2.2"),
    Bad(
        "subscribe, two identifiers",
        V5,
        subscribe5(("a", 0), fields=b"\x0b\x01" * 2),
        0x82,
        "2.2.2.2",
    ),
    Bad("suback without reasons", V5, b"\x90\x03\0\x0a\0", 0x82, "3.9.3"),
    Bad("suback, reason of another packet", V5, b"\x90\x04\0\x0a\0\x11", 0x82, "[MQTT-3.9.3-2]"),
    Bad("suback, code of 5.0", V311, b"\x90\x03\0\x0a\x87", 0x82, "[MQTT-3.9.3-2]"),
    # UNSUBSCRIBE, UNSUBACK
    Bad("unsubscribe from nothing", V311, b"\xa2\x02\0\x0a", 0x82, "[MQTT-3.10.3-2]"),
    Bad("unsubscribe 5 from nothing", V5, b"\xa2\x03\0\x0a\0", 0x82, "[MQTT-3.10.3-2]"),
    Bad("unsubscribe, packet identifier 0", V5, b"\xa2\x06\0\0\0\0\x01a", 0x82, "[MQTT-2.2.1-3]"),
    Bad("unsubscribe from a#", V5, b"\xa2\x07\0\x0a\0\0\x02a#", 0x81, "[MQTT-4.7.1-1]"),
    Bad("unsubscribe, filter cut off", V311, b"\xa2\x05\0\x0a\0\x09a", 0x81, "[MQTT-4.8.0-1]"),
    Bad("unsubscribe, identifier", V5, b"\xa2\x08\0\x0a\x02\x0b\x01\0\x01a", 0x81, "2.2.2.2"),
    Bad("unsuback, granted QoS", V5, b"\xb0\x04\0\x0a\0\x01", 0x82, "[MQTT-3.11.3-2]"),
    Bad("unsuback with codes, 3.1.1", V311, b"\xb0\x03\0\x0a\0", 0x81, "[MQTT-4.8.0-1]"),
    # CONNACK
    Bad("connack, reserved flags", V5, b"\x20\x03\x02\0\0", 0x81, "[MQTT-3.2.2-1]"),
    Bad("connack, session present and refused", V5, b"\x20\x03\x01\x80\0", 0x82, "[MQTT-3.2.2-6]"),
    Bad("connack, session and refused, 3.1.1", V311, b"\x20\x02\x01\x02", 0x82, "[MQTT-3.2.2-4]"),
    Bad("connack, return code 6", V311, b"\x20\x02\0\x06", 0x82, "3.2.2.3"),
    Bad("connack, reason of another packet", V5, b"\x20\x03\0\x8e\0", 0x82, "[MQTT-3.2.2-8]"),
    Bad("connack, maximum QoS 2", V5, connack5(b"\x24\x02"), 0x82, "2.2.2.2"),
    Bad("connack, retain available 2", V5, connack5(b"\x25\x02"), 0x82, "2.2.2.2"),
    Bad("connack, wildcards available 2", V5, connack5(b"\x28\x02"), 0x82, "2.2.2.2"),
    # PINGREQ, PINGRESP, DISCONNECT, AUTH
    Bad("pingreq with a body", V311, b"\xc0\x01\0", 0x81, "[MQTT-4.8.0-1]"),
    Bad("pingresp with a body", V5, b"\xd0\x01\0", 0x81, "4.13.1"),
    Bad("disconnect with a body, 3.1.1", V311, b"\xe0\x01\0", 0x81, "[MQTT-4.8.0-1]"),
    Bad("disconnect, reason of another packet", V5, b"\xe0\x01\x85", 0x82, "[MQTT-3.14.2-1]"),
    Bad(
        "disconnect, expiry twice",
        V5,
        frame(0xE0, b"\0\x0a" + b"\x11\0\0\0\x01" * 2),
        0x82,
        "2.2.2.2",
    ),
    Bad("auth, reason of another packet", V5, b"\xf0\x02\x80\0", 0x82, "[MQTT-3.15.2-1]"),
    Bad("auth without method", V5, b"\xf0\x02\x18\0", 0x82, "3.15.2.2.2"),
    Bad("auth, data without method", V5, b"\xf0\x06\x18\x04\x16\0\x01D", 0x82, "3.15.2.2.2"),
    Bad("auth, method twice", V5, frame(0xF0, b"\x18\x08" + b"\x15\0\x01M" * 2), 0x82, "2.2.2.2"),
    Bad("auth without property length", V5, b"\xf0\x01\x18", 0x81, "4.13.1"),
)
