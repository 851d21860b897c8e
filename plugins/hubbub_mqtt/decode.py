"""Bytes to packets, for all three versions and both directions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from struct import Struct
from typing import Final

from . import reasons
from .errors import MqttError, Rule
from .packets import (
    BRIDGE,
    Acks,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    PacketType,
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
from .properties import NO_PROPERTIES, Place, Properties, decode_properties
from .topics import TopicCache, split_shared, validate_topic_filter, validate_topic_name
from .wire import VARINT_MAX, Reader

#: The largest packet that MQTT can express: fixed header, four length bytes, remaining length.
LARGEST_PACKET: Final = 5 + VARINT_MAX


#: The fixed header flags of table 2-2; PUBLISH has its own rules.
_FLAGS: Final = {
    packet_type: 2
    if packet_type in {PacketType.PUBREL, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE}
    else 0
    for packet_type in PacketType
    if packet_type is not PacketType.PUBLISH
}
#: First bytes of PUBLISH: no QoS 3, and no DUP at QoS 0.
_PUBLISH_BYTES: Final = frozenset(
    byte for byte in range(0x30, 0x40) if byte & 6 != 6 and byte & 0xE != 8
)
_V5_BYTES: Final = _PUBLISH_BYTES | {kind << 4 | flags for kind, flags in _FLAGS.items()}
_V311_BYTES: Final = _V5_BYTES - {PacketType.AUTH << 4}
#: MQTT 3.1 lets DUP be set in PUBREL, SUBSCRIBE and UNSUBSCRIBE and calls the other flags "not
#: used", so they are not looked at, as in Mosquitto.
_V31_BYTES: Final = (
    _PUBLISH_BYTES | {PacketType.CONNECT << 4} | (frozenset(range(0x20, 0xF0)) - set(range(48, 64)))
)
_FIRST_BYTES: Final[Mapping[int | None, frozenset[int]]] = {
    None: frozenset({PacketType.CONNECT << 4}),
    Version.V31: _V31_BYTES,
    Version.V311: _V311_BYTES,
    Version.V5: _V5_BYTES,
}

_ACK_TYPES: Final[Mapping[PacketType, type[Puback | Pubrec | Pubrel | Pubcomp]]] = {
    PacketType.PUBACK: Puback,
    PacketType.PUBREC: Pubrec,
    PacketType.PUBREL: Pubrel,
    PacketType.PUBCOMP: Pubcomp,
}
#: The first bytes of acknowledgements.
_ACK_BYTES: Final = frozenset({0x40, 0x50, 0x62, 0x70})
#: How many are decoded at once, at most: not many more are looked at than are taken.
_MOST_ACKS: Final = 256
_packet_ids_of = Struct(">2xH").iter_unpack

_PROTOCOL_NAMES: Final = {b"MQTT": (Version.V311, Version.V5), b"MQIsdp": (Version.V31,)}


class Decoder:
    """Turns the bytes of one network connection into packets.

    Without `version` it is a server's: the first packet must be a CONNECT, which sets `version`.
    A client gives the version that it speaks. A packet above `max_packet_size` bytes is refused as
    soon as its header is there, so that no more than one packet and one piece of `data` is ever
    held. `topics` may be shared among connections.

    Once `error` is set, the connection is over: what came before the offending packet has been
    handed out, and further bytes are ignored.
    """

    def __init__(
        self,
        max_packet_size: int = LARGEST_PACKET,
        version: Version | None = None,
        topics: TopicCache | None = None,
    ) -> None:
        self.max_packet_size = max_packet_size
        self.version = version
        self.error: MqttError | None = None
        #: The protocol level of a CONNECT, also of one that is refused for it; None before.
        self.level: int | None = version
        self._topics = TopicCache() if topics is None else topics
        self._partial = bytearray()
        self._needed = 0
        self._decoded: list[Packet] = []

    def decode(self, data: bytes | bytearray | memoryview) -> list[Packet]:
        """Take `data` and return the packets that are now complete; then look at `error`."""
        if self.error is not None:
            return []
        if type(data) is not bytes:
            data = bytes(data)
        partial = self._partial
        if partial:
            partial += data
            if len(partial) < self._needed:
                return []
            data = bytes(partial)
            self._partial = bytearray()
        packets: list[Packet] = []
        try:
            used = self._decode_complete(data, packets)
        except MqttError as error:
            error.version = self.version
            self.error = error
            return packets
        if used < len(data):
            self._partial += data[used:]
        return packets

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take `data`, whose packets iteration then gives."""
        self._decoded += self.decode(data)

    def __iter__(self) -> Iterator[Packet]:
        """Give the packets fed so far, each once; after the last one, raise `error` if set.

        One by one: no `Acks`.
        """
        packets, self._decoded = self._decoded, []
        for packet in packets:
            if isinstance(packet, Acks):
                yield from map(_ACK_TYPES[packet.kind], packet.packet_ids)
            else:
                yield packet
        if self.error is not None:
            raise self.error

    def _decode_complete(self, data: bytes, packets: list[Packet]) -> int:
        # The hottest loop of the server: one pass over the buffer; a PUBLISH without properties is
        # decoded in place, and acknowledgements by the herd. Everything else is worth a call.
        append = packets.append
        topics = self._topics
        max_size = self.max_packet_size
        v5 = self.version == Version.V5
        allowed = _FIRST_BYTES[self.version]
        end = len(data)
        position = 0
        while position < end:
            first = data[position]
            if first not in allowed:
                raise self._first_byte_error(first)
            body = position + 2
            if body > end:
                self._needed = 2
                break
            length = data[position + 1]
            if length > 127:
                if body < end and data[body] < 128:
                    length, body = length & 127 | data[body] << 7, body + 1
                else:
                    length, body = _read_remaining_length(data, position + 1, end)
                if not body:
                    self._needed = end - position + 1
                    break
            stop = body + length
            if stop - position > max_size:
                raise MqttError(Rule.PACKET_TOO_LARGE, f"{stop - position} bytes")
            if stop > end:
                self._needed = stop - position
                break
            if 0x30 <= first < 0x40:
                at = body + 2
                name_end = at + (data[body] << 8 | data[body + 1]) if length > 2 else at
                qos = first >> 1 & 3
                payload_at = name_end + v5 + (2 if qos else 0)
                packet_id = 0
                if name_end > at and payload_at <= stop:
                    if qos:
                        packet_id = data[name_end] << 8 | data[name_end + 1]
                    if (packet_id or not qos) and not (v5 and data[payload_at - 1]):
                        append(
                            Publish(
                                topics[data[at:name_end]],
                                data[payload_at:stop],
                                qos,
                                first & 1 == 1,
                                first & 8 == 8,
                                packet_id,
                                NO_PROPERTIES,
                            )
                        )
                        position = stop
                        continue
                append(self._decode_publish(data, first, body, stop))
                position = stop
                continue
            if length == 2 and first in _ACK_BYTES:
                position = _decode_acks(data, position, packets)
                continue
            append(self._decode_packet(Reader(data, body, stop), first >> 4))
            if first == 0x10:
                v5 = self.version == Version.V5
                allowed = _FIRST_BYTES[self.version]
            position = stop
        return position

    def _first_byte_error(self, first: int) -> MqttError:
        if self.version is None:
            return MqttError(Rule.FIRST_NOT_CONNECT)
        kind, flags = first >> 4, first & 15
        if kind == 0 or (kind == PacketType.AUTH and self.version != Version.V5):
            return MqttError(Rule.PACKET_TYPE_RESERVED, str(kind))
        if kind != PacketType.PUBLISH:
            return MqttError(Rule.FLAGS_RESERVED, PacketType(kind).name)
        return MqttError(Rule.PUBLISH_QOS_THREE if flags & 6 == 6 else Rule.PUBLISH_DUP_QOS_ZERO)

    def _decode_packet(self, reader: Reader, kind: int) -> Packet:
        if kind == PacketType.CONNECT:
            return self._decode_connect(reader)
        packet = _DECODERS[kind](reader, self.version == Version.V5, self.version)
        reader.finish()
        return packet

    def _decode_publish(self, data: bytes, first: int, body: int, stop: int) -> Publish:
        # Offsets, not a `Reader`: QoS 1 and 2 come through here as well.
        at = body + 2
        if at > stop:
            raise MqttError(Rule.TRUNCATED, "topic name")
        name = data[at : (at := at + (data[body] << 8 | data[body + 1]))]
        qos = first >> 1 & 3
        packet_id = 0
        if qos:
            if at + 2 > stop:
                raise MqttError(Rule.TRUNCATED, "packet identifier")
            packet_id = data[at] << 8 | data[at + 1]
            if not packet_id:
                raise MqttError(Rule.PACKET_ID_ZERO)
            at += 2
        elif at > stop:
            raise MqttError(Rule.TRUNCATED, "topic name")
        properties = NO_PROPERTIES
        if self.version == Version.V5:
            if at < stop and not data[at]:
                at += 1
            else:
                reader = Reader(data, at, stop)
                properties = decode_properties(reader, Place.PUBLISH)
                at = reader.position
        if name:
            topic = self._topics[name]
        elif self.version != Version.V5:
            raise MqttError(Rule.TOPIC_EMPTY, "topic name")
        elif properties.topic_alias is None:
            raise MqttError(Rule.PUBLISH_NO_TOPIC)
        else:
            topic = ""
        return Publish(
            topic,
            data[at:stop],
            qos,
            first & 1 == 1,
            first & 8 == 8,
            packet_id,
            properties,
        )

    def _decode_connect(self, reader: Reader) -> Connect:
        name = reader.binary("protocol name")
        versions = _PROTOCOL_NAMES.get(name)
        if versions is None:
            raise MqttError(Rule.PROTOCOL_NAME)
        level = reader.uint8("protocol version")
        if self.level is None:
            self.level = level
        bridge = level & BRIDGE and level - BRIDGE != Version.V5
        if bridge:
            level -= BRIDGE
        if level not in versions:
            raise MqttError(Rule.PROTOCOL_VERSION, str(self.level))
        version = Version(level)
        if self.version is None:
            self.version = version
        return _decode_connect_fields(reader, version, bool(bridge))


def _decode_acks(data: bytes, position: int, packets: list[Packet]) -> int:
    """Decode the acknowledgements at `position` that begin alike, without reason and properties.

    At least one does. Returns where they end.
    """
    kind = PacketType(data[position] >> 4)
    limit = min(len(data), position + 4 * _MOST_ACKS)
    limit -= (limit - position) % 4
    firsts, lengths = data[position:limit:4], data[position + 1 : limit : 4]
    count = min(
        len(firsts) - len(firsts.lstrip(firsts[:1])), len(lengths) - len(lengths.lstrip(b"\x02"))
    )
    stop = position + 4 * count
    packet_ids = [packet_id for (packet_id,) in _packet_ids_of(data[position:stop])]
    good = packet_ids.index(0) if 0 in packet_ids else count
    if good == 1:
        packets.append(_ACK_TYPES[kind](packet_ids[0]))
    elif good:
        packets.append(Acks(kind, packet_ids[:good]))
    if good < count:
        raise MqttError(Rule.PACKET_ID_ZERO)
    return stop


def _read_remaining_length(data: bytes, position: int, end: int) -> tuple[int, int]:
    """The remaining length and where the body starts, which is 0 while bytes are missing."""
    value = 0
    for shift in (0, 7, 14, 21):
        if position >= end:
            return 0, 0
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise MqttError(Rule.VARINT_TOO_LONG, "remaining length")


def _decode_connect_fields(reader: Reader, version: Version, bridge: bool) -> Connect:
    v5 = version is Version.V5
    flags = reader.uint8("connect flags")
    keep_alive = reader.uint16("keep alive")
    _check_connect_flags(flags, version)
    properties = decode_properties(reader, Place.CONNECT) if v5 else NO_PROPERTIES
    client_id = reader.utf8("client identifier")
    clean_start = bool(flags & 2)
    if not client_id and (version is Version.V31 or not (v5 or clean_start)):
        # 3.1 wants at least one character. Its limit of 23 is not kept, as Mosquitto does not:
        # 3.1.1 dropped it, and no client gains from being refused.
        raise MqttError(Rule.CLIENT_ID_EMPTY)
    will = _decode_will(reader, flags, v5) if flags & 4 else None
    # 3.1 lets a flag be set and its string be missing: there the remaining length decides (3.1).
    optional = version is Version.V31
    user_name = password = None
    if flags & 0x80 and not (optional and not reader.remaining):
        user_name = reader.utf8("user name")
    if flags & 0x40 and not (optional and not reader.remaining):
        password = reader.binary("password")
    reader.finish()
    return Connect(
        client_id, version, clean_start, keep_alive, user_name, password, will, properties, bridge
    )


def _check_connect_flags(flags: int, version: Version) -> None:
    if flags & 1 and version is not Version.V31:
        raise MqttError(Rule.CONNECT_RESERVED_FLAG)
    if flags & 4:
        if flags & 0x18 == 0x18:
            raise MqttError(Rule.WILL_QOS_THREE)
    elif version is not Version.V31:  # where both are merely without meaning
        if flags & 0x18:
            raise MqttError(Rule.WILL_QOS_WITHOUT_WILL)
        if flags & 0x20:
            raise MqttError(Rule.WILL_RETAIN_WITHOUT_WILL)
    if flags & 0xC0 == 0x40 and version is not Version.V5:
        raise MqttError(Rule.PASSWORD_WITHOUT_USER_NAME)


def _decode_will(reader: Reader, flags: int, v5: bool) -> Will:
    properties = decode_properties(reader, Place.WILL) if v5 else NO_PROPERTIES
    topic = reader.utf8("will topic")
    validate_topic_name(topic, "will topic")
    payload = reader.binary("will payload")
    check_payload_format(payload, properties)
    return Will(topic, payload, flags >> 3 & 3, bool(flags & 0x20), properties)


def check_payload_format(payload: bytes, properties: Properties) -> None:
    """Raise `MqttError` if the payload is declared as UTF-8 and is not (3.3.2.3.2, 3.1.3.2.3)."""
    if properties.payload_format_indicator == 1:
        try:
            payload.decode("utf-8")
        except UnicodeDecodeError:
            raise MqttError(Rule.PAYLOAD_FORMAT) from None


def _reason(reader: Reader, valid: frozenset[int], rule: Rule) -> int:
    reason = reader.uint8("reason code")
    if reason not in valid:
        raise MqttError(rule, f"0x{reason:02X}")
    return reason


def _decode_connack(reader: Reader, v5: bool, version: Version | None) -> Connack:
    flags = reader.uint8("connect acknowledge flags")
    if version == Version.V31:
        flags = 0  # "Reserved values. Not used." in 3.1.
    if flags & 0xFE:
        raise MqttError(Rule.CONNACK_RESERVED_FLAGS)
    valid = reasons.CONNACK_REASONS if v5 else reasons.CONNACK_RETURN_CODES
    reason = _reason(reader, valid, Rule.CONNACK_REASON)
    if flags and reason:
        raise MqttError(Rule.SESSION_PRESENT_ON_FAILURE)
    properties = decode_properties(reader, Place.CONNACK) if v5 else NO_PROPERTIES
    return Connack(bool(flags), reason, properties)


_Decode = Callable[[Reader, bool, "Version | None"], Packet]


def _ack_decoder(
    packet: type[Puback | Pubrec | Pubrel | Pubcomp], kind: PacketType, valid: frozenset[int]
) -> _Decode:
    place = Place[kind.name]
    rule = Rule[f"{kind.name}_REASON"]

    def decode(reader: Reader, v5: bool, _: Version | None) -> Packet:
        packet_id = reader.packet_id()
        if not v5 or not reader.remaining:
            return packet(packet_id)
        reason = _reason(reader, valid, rule)
        # The property length may be left out when it is 0 (3.4.2.2.1).
        properties = decode_properties(reader, place) if reader.remaining else NO_PROPERTIES
        return packet(packet_id, reason, properties)

    return decode


def _decode_subscribe(reader: Reader, v5: bool, version: Version | None) -> Subscribe:
    packet_id = reader.packet_id()
    properties = decode_properties(reader, Place.SUBSCRIBE) if v5 else NO_PROPERTIES
    subscriptions = []
    while reader.remaining:
        topic_filter = reader.utf8("topic filter")
        validate_topic_filter(topic_filter)
        options = reader.uint8("subscription options")
        # 3.1 calls the upper bits of this byte "not used".
        reserved = 0xC0 if v5 else 0 if version == Version.V31 else 0xFC
        if options & reserved:
            raise MqttError(Rule.OPTIONS_RESERVED)
        if options & 3 == 3:
            raise MqttError(Rule.OPTIONS_QOS_THREE)
        if not v5:
            subscriptions.append(Subscription(topic_filter, options & 3))
            continue
        if options & 0x30 == 0x30:
            raise MqttError(Rule.OPTIONS_RETAIN_HANDLING)
        if options & 4 and split_shared(topic_filter) is not None:
            raise MqttError(Rule.NO_LOCAL_ON_SHARED)
        subscriptions.append(
            Subscription(
                topic_filter, options & 3, bool(options & 4), bool(options & 8), options >> 4 & 3
            )
        )
    if not subscriptions:
        raise MqttError(Rule.NO_TOPIC_FILTER)
    return Subscribe(packet_id, tuple(subscriptions), properties)


def _decode_suback(reader: Reader, v5: bool, _: Version | None) -> Suback:
    packet_id = reader.packet_id()
    properties = decode_properties(reader, Place.SUBACK) if v5 else NO_PROPERTIES
    valid = reasons.SUBACK_REASONS if v5 else reasons.SUBACK_RETURN_CODES
    codes = _reasons(reader, valid, Rule.SUBACK_REASON)
    return Suback(packet_id, codes, properties)


def _decode_unsubscribe(reader: Reader, v5: bool, _: Version | None) -> Unsubscribe:
    packet_id = reader.packet_id()
    properties = decode_properties(reader, Place.UNSUBSCRIBE) if v5 else NO_PROPERTIES
    filters = []
    while reader.remaining:
        topic_filter = reader.utf8("topic filter")
        validate_topic_filter(topic_filter)
        filters.append(topic_filter)
    if not filters:
        raise MqttError(Rule.NO_TOPIC_FILTER_UNSUBSCRIBE)
    return Unsubscribe(packet_id, tuple(filters), properties)


def _decode_unsuback(reader: Reader, v5: bool, _: Version | None) -> Unsuback:
    packet_id = reader.packet_id()
    if not v5:
        return Unsuback(packet_id)
    properties = decode_properties(reader, Place.UNSUBACK)
    codes = _reasons(reader, reasons.UNSUBACK_REASONS, Rule.UNSUBACK_REASON)
    return Unsuback(packet_id, codes, properties)


def _reasons(reader: Reader, valid: frozenset[int], rule: Rule) -> tuple[int, ...]:
    if not reader.remaining:
        raise MqttError(Rule.NO_RETURN_CODE)
    return tuple([_reason(reader, valid, rule) for _ in range(reader.remaining)])


def _decode_disconnect(reader: Reader, v5: bool, _: Version | None) -> Disconnect:
    if not v5 or not reader.remaining:
        return Disconnect()
    reason = _reason(reader, reasons.DISCONNECT_REASONS, Rule.DISCONNECT_REASON)
    properties = decode_properties(reader, Place.DISCONNECT) if reader.remaining else NO_PROPERTIES
    return Disconnect(reason, properties)


def _decode_auth(reader: Reader, _v5: bool, _: Version | None) -> Auth:
    if not reader.remaining:
        return Auth()
    reason = _reason(reader, reasons.AUTH_REASONS, Rule.AUTH_REASON)
    properties = decode_properties(reader, Place.AUTH)
    if properties.authentication_method is None:
        raise MqttError(Rule.AUTH_METHOD_MISSING)
    return Auth(reason, properties)


_DECODERS: Final[Mapping[int, _Decode]] = {
    PacketType.CONNACK: _decode_connack,
    PacketType.PUBACK: _ack_decoder(Puback, PacketType.PUBACK, reasons.PUBACK_REASONS),
    PacketType.PUBREC: _ack_decoder(Pubrec, PacketType.PUBREC, reasons.PUBACK_REASONS),
    PacketType.PUBREL: _ack_decoder(Pubrel, PacketType.PUBREL, reasons.PUBREL_REASONS),
    PacketType.PUBCOMP: _ack_decoder(Pubcomp, PacketType.PUBCOMP, reasons.PUBREL_REASONS),
    PacketType.SUBSCRIBE: _decode_subscribe,
    PacketType.SUBACK: _decode_suback,
    PacketType.UNSUBSCRIBE: _decode_unsubscribe,
    PacketType.UNSUBACK: _decode_unsuback,
    PacketType.PINGREQ: lambda _reader, _v5, _version: Pingreq(),
    PacketType.PINGRESP: lambda _reader, _v5, _version: Pingresp(),
    PacketType.DISCONNECT: _decode_disconnect,
    PacketType.AUTH: _decode_auth,
}
