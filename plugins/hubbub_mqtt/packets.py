"""The control packets of MQTT 3.1, 3.1.1 and 5.0 as plain values.

One class serves all versions: what a version lacks has its default there (`properties` before
5.0 is always `NO_PROPERTIES`).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec

from .properties import NO_PROPERTIES, Properties


class Version(IntEnum):
    """Protocol version as CONNECT names it (3.1.2.2)."""

    V31 = 3
    V311 = 4
    V5 = 5


class PacketType(IntEnum):
    """Control packet types (2.1.2)."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


BRIDGE: Final = 0x80
"""What bridges of Mosquitto and others add to the protocol level before 5.0.

It stands in no specification. Such a client does not get its own messages back, and RETAIN is kept
as published: what subscription options of 5.0 say.
"""


class Packet(msgspec.Struct, frozen=True, gc=False):
    """Base of all control packets."""


class Will(msgspec.Struct, frozen=True, gc=False):
    """The will message inside of a CONNECT (3.1.2.5, 3.1.3.2)."""

    topic: str
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    properties: Properties = NO_PROPERTIES


class Connect(Packet, frozen=True, gc=False):
    """CONNECT (3.1). `clean_start` is called Clean Session before 5.0; `keep_alive` in seconds.

    `bridge`: another broker says, before 5.0, that it is one: see `BRIDGE`.
    """

    client_id: str
    version: Version = Version.V5
    clean_start: bool = True
    keep_alive: int = 0
    user_name: str | None = None
    password: bytes | None = None
    will: Will | None = None
    properties: Properties = NO_PROPERTIES
    bridge: bool = False


class Connack(Packet, frozen=True, gc=False):
    """CONNACK (3.2). `reason` is a return code from 0 to 5 before 5.0."""

    session_present: bool = False
    reason: int = 0
    properties: Properties = NO_PROPERTIES


class Publish(Packet, frozen=True, gc=False):
    """PUBLISH (3.3).

    `packet_id` is 0 at QoS 0; `topic` is empty where a topic alias stands for it.
    """

    topic: str
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0
    properties: Properties = NO_PROPERTIES


class Puback(Packet, frozen=True, gc=False):
    """PUBACK (3.4)."""

    packet_id: int
    reason: int = 0
    properties: Properties = NO_PROPERTIES


class Pubrec(Packet, frozen=True, gc=False):
    """PUBREC (3.5)."""

    packet_id: int
    reason: int = 0
    properties: Properties = NO_PROPERTIES


class Pubrel(Packet, frozen=True, gc=False):
    """PUBREL (3.6)."""

    packet_id: int
    reason: int = 0
    properties: Properties = NO_PROPERTIES


class Pubcomp(Packet, frozen=True, gc=False):
    """PUBCOMP (3.7)."""

    packet_id: int
    reason: int = 0
    properties: Properties = NO_PROPERTIES


class Acks(Packet, frozen=True, gc=False):
    """Acknowledgements of one kind that came one after the other, none with reason or properties.

    What a `Decoder` makes of two or more PUBACK, PUBREC, PUBREL or PUBCOMP, for they come in herds.
    """

    kind: PacketType
    packet_ids: list[int]


class Subscription(msgspec.Struct, frozen=True, gc=False):
    """One topic filter of a SUBSCRIBE with its options (3.8.3.1); before 5.0 only `qos` is sent."""

    filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


class Subscribe(Packet, frozen=True, gc=False):
    """SUBSCRIBE (3.8)."""

    packet_id: int
    subscriptions: tuple[Subscription, ...]
    properties: Properties = NO_PROPERTIES


class Suback(Packet, frozen=True, gc=False):
    """SUBACK (3.9): one reason per subscription asked for, in the same order."""

    packet_id: int
    reasons: tuple[int, ...]
    properties: Properties = NO_PROPERTIES


class Unsubscribe(Packet, frozen=True, gc=False):
    """UNSUBSCRIBE (3.10)."""

    packet_id: int
    filters: tuple[str, ...]
    properties: Properties = NO_PROPERTIES


class Unsuback(Packet, frozen=True, gc=False):
    """UNSUBACK (3.11); `reasons` is empty before 5.0."""

    packet_id: int
    reasons: tuple[int, ...] = ()
    properties: Properties = NO_PROPERTIES


class Pingreq(Packet, frozen=True, gc=False):
    """PINGREQ (3.12)."""


class Pingresp(Packet, frozen=True, gc=False):
    """PINGRESP (3.13)."""


class Disconnect(Packet, frozen=True, gc=False):
    """DISCONNECT (3.14); before 5.0 it has no reason and only clients send it."""

    reason: int = 0
    properties: Properties = NO_PROPERTIES


class Auth(Packet, frozen=True, gc=False):
    """AUTH (3.15), of 5.0 only."""

    reason: int = 0
    properties: Properties = NO_PROPERTIES
