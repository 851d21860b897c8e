"""What `ServerConnection.receive_data` reports beside the packets themselves."""

from __future__ import annotations

import msgspec

from .errors import MqttError
from .packets import Packet, Publish
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
    """The client's PUBRELs, one or more: answer `pubcomp`, once the release is stored."""

    packet_ids: list[int]


class Received(msgspec.Struct, frozen=True, gc=False):
    """The client's PUBRECs for QoS 2 messages of ours, one or more: answer `pubrel`.

    `tags` are those of the messages, None for an unknown identifier.
    """

    packet_ids: list[int]
    tags: list[object]


class Acknowledged(msgspec.Struct, frozen=True, gc=False):
    """QoS 1 messages of ours, one or more, that are done with: their PUBACKs. By their tags."""

    tags: list[object]


class Completed(msgspec.Struct, frozen=True, gc=False):
    """QoS 2 messages of ours, one or more, that are done with: their PUBCOMPs."""

    packet_ids: list[int]
    tags: list[object]


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A message of ours that the client refuses: PUBACK or PUBREC with a reason from 0x80 on.

    It must not be sent again, to nobody [MQTT-4.4.0-2], [MQTT-4.8.2-6].
    """

    tag: object
    reason: int
    properties: Properties = NO_PROPERTIES


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
    | Completed
    | Refused
    | Failed
)
