"""What `ServerConnection.receive_data` reports beside the packets themselves."""

from __future__ import annotations

import msgspec

from .errors import MqttError
from .packets import Packet, Puback, Pubcomp, Publish
from .properties import NO_PROPERTIES, Properties
from .reasons import ReasonCode


class DuplicatePublish(msgspec.Struct, frozen=True, gc=False):
    """A QoS 2 message that was taken over before: answer `pubrec`, deliver nothing."""

    packet_id: int


class RefusedPublish(msgspec.Struct, frozen=True, gc=False):
    """A QoS 1 or 2 message that must not be delivered.

    Answer `puback` or `pubrec`, whichever is `packet.qos`'s, with `reason`.
    """

    packet: Publish
    reason: ReasonCode


class Released(msgspec.Struct, frozen=True, gc=False):
    """The client's PUBREL: answer `pubcomp`, once the release is stored."""

    packet_id: int


class Received(msgspec.Struct, frozen=True, gc=False):
    """The client's PUBREC for a QoS 2 message of ours: answer `pubrel`.

    `tag` is that of the message, None if the identifier is unknown.
    """

    packet_id: int
    tag: object = None


class Acknowledged(msgspec.Struct, frozen=True, gc=False):
    """A QoS 1 or 2 message of ours is done with: PUBACK, PUBCOMP, or PUBREC with a failure.

    From 0x80 on, `reason` says that the client refused it; it must not be sent again, to nobody
    [MQTT-4.4.0-2], [MQTT-4.8.2-6].
    """

    packet_id: int
    tag: object = None
    reason: int = 0
    properties: Properties = NO_PROPERTIES


class UnknownPacketId(msgspec.Struct, frozen=True, gc=False):
    """An acknowledgement of nothing that is in flight; nothing to answer."""

    packet: Puback | Pubcomp


class Failed(msgspec.Struct, frozen=True):
    """The client broke a rule: send `reply`, which may be empty, and close the connection."""

    error: MqttError
    reply: bytes = b""


Event = (
    Packet
    | DuplicatePublish
    | RefusedPublish
    | Released
    | Received
    | Acknowledged
    | UnknownPacketId
    | Failed
)
