"""The one error that bytes from a peer can cause, and the table of the rules they can break."""

from __future__ import annotations

from enum import Enum, unique
from typing import Final

from .reasons import ReasonCode

_MALFORMED: Final = ReasonCode.MALFORMED_PACKET
_PROTOCOL: Final = ReasonCode.PROTOCOL_ERROR


@unique
class Rule(Enum):
    """A rule of the specification whose breach closes the connection.

    Each has the reason code that goes out in a 5.0 DISCONNECT or CONNACK, a sentence for people,
    and the statement or section that sets the rule: in MQTT 5.0, and in 3.1.1 (which serves for 3.1
    as well, whose text has no numbered statements). An empty citation means that the version has
    no such rule.

    Where the text names the reason code, that is the one here. Where it does not, section 1.2
    decides: what cannot be parsed is malformed (0x81), what parses and is not allowed is a protocol
    error (0x82). Topic names, topic filters and share names are grammar, so their faults are
    malformed packets, as they are for Mosquitto; 0x8F and 0x90 are for names that are "correctly
    formed" and unwanted (3.9.3, 3.14.2.1).
    """

    # Data representation and packet format
    TRUNCATED = (_MALFORMED, "the packet ends before its fields do", "4.13.1", "[MQTT-4.8.0-1]")
    TRAILING_BYTES = (
        _MALFORMED,
        "the packet goes on after its last field",
        "4.13.1",
        "[MQTT-4.8.0-1]",
    )
    UTF8_ILL_FORMED = (
        _MALFORMED,
        "a string is not well-formed UTF-8",
        "[MQTT-1.5.4-1]",
        "[MQTT-1.5.3-1]",
    )
    UTF8_NULL = (_MALFORMED, "a string contains U+0000", "[MQTT-1.5.4-2]", "[MQTT-1.5.3-2]")
    VARINT_TOO_LONG = (
        _MALFORMED,
        "a variable byte integer is longer than four bytes",
        "1.5.5",
        "2.2.3",
    )
    VARINT_NOT_MINIMAL = (
        _MALFORMED,
        "a variable byte integer is not in its shortest form",
        "[MQTT-1.5.5-1]",
        "",
    )
    PACKET_TYPE_RESERVED = (_MALFORMED, "the packet type is reserved", "2.1.2", "2.2.1")
    FLAGS_RESERVED = (
        _MALFORMED,
        "reserved flag bits of the fixed header are wrong",
        "[MQTT-2.1.3-1]",
        "[MQTT-2.2.2-2]",
    )
    PACKET_ID_ZERO = (
        _PROTOCOL,
        "the packet identifier is zero",
        "[MQTT-2.2.1-3]",
        "[MQTT-2.3.1-1]",
    )
    PACKET_TOO_LARGE = (
        ReasonCode.PACKET_TOO_LARGE,
        "the packet is larger than the maximum packet size",
        "[MQTT-3.2.2-15]",
        "4.2",
    )

    # Reason codes, of which each packet has its own
    CONNACK_REASON = (_PROTOCOL, "not a reason code of CONNACK", "[MQTT-3.2.2-8]", "3.2.2.3")
    PUBACK_REASON = (_PROTOCOL, "not a reason code of PUBACK", "[MQTT-3.4.2-1]", "")
    PUBREC_REASON = (_PROTOCOL, "not a reason code of PUBREC", "[MQTT-3.5.2-1]", "")
    PUBREL_REASON = (_PROTOCOL, "not a reason code of PUBREL", "[MQTT-3.6.2-1]", "")
    PUBCOMP_REASON = (_PROTOCOL, "not a reason code of PUBCOMP", "[MQTT-3.7.2-1]", "")
    SUBACK_REASON = (_PROTOCOL, "not a reason code of SUBACK", "[MQTT-3.9.3-2]", "[MQTT-3.9.3-2]")
    UNSUBACK_REASON = (_PROTOCOL, "not a reason code of UNSUBACK", "[MQTT-3.11.3-2]", "")
    DISCONNECT_REASON = (_PROTOCOL, "not a reason code of DISCONNECT", "[MQTT-3.14.2-1]", "")
    AUTH_REASON = (_PROTOCOL, "not a reason code of AUTH", "[MQTT-3.15.2-1]", "")

    # Properties
    PROPERTY_UNKNOWN = (_MALFORMED, "unknown property", "2.2.2.2", "")
    PROPERTY_NOT_ALLOWED = (_MALFORMED, "property is not valid in this packet", "2.2.2.2", "")
    PROPERTY_OVERRUN = (_MALFORMED, "a property does not fit the property length", "2.2.2.1", "")
    PROPERTY_REPEATED = (_PROTOCOL, "property may occur only once", "2.2.2.2", "")
    PROPERTY_VALUE = (_PROTOCOL, "property value is out of range", "2.2.2.2", "")
    AUTH_DATA_WITHOUT_METHOD = (
        _PROTOCOL,
        "authentication data without an authentication method",
        "3.1.2.11.10",
        "",
    )
    PAYLOAD_FORMAT = (
        ReasonCode.PAYLOAD_FORMAT_INVALID,
        "the payload is declared as UTF-8 and is not",
        "3.3.2.3.2",
        "",
    )

    # Topic names and filters
    TOPIC_EMPTY = (_MALFORMED, "the topic is empty", "[MQTT-4.7.3-1]", "[MQTT-4.7.3-1]")
    TOPIC_WILDCARD = (
        _MALFORMED,
        "a topic name contains a wildcard",
        "[MQTT-3.3.2-2]",
        "[MQTT-3.3.2-2]",
    )
    RESPONSE_TOPIC_WILDCARD = (
        _PROTOCOL,
        "the response topic contains a wildcard",
        "[MQTT-3.3.2-14]",
        "",
    )
    FILTER_MULTI_LEVEL = (
        _MALFORMED,
        "# must stand alone in the last level of a topic filter",
        "[MQTT-4.7.1-1]",
        "[MQTT-4.7.1-2]",
    )
    FILTER_SINGLE_LEVEL = (
        _MALFORMED,
        "+ must stand alone in a level of a topic filter",
        "[MQTT-4.7.1-2]",
        "[MQTT-4.7.1-3]",
    )
    SHARE_NAME_EMPTY = (
        _MALFORMED,
        "a shared subscription has an empty share name",
        "[MQTT-4.8.2-1]",
        "",
    )
    SHARE_SYNTAX = (
        _MALFORMED,
        "a shared subscription must read $share/NAME/FILTER, with no wildcard in NAME",
        "[MQTT-4.8.2-2]",
        "",
    )

    # CONNECT and CONNACK
    FIRST_NOT_CONNECT = (
        _PROTOCOL,
        "the first packet is not a CONNECT",
        "[MQTT-3.1.0-1]",
        "[MQTT-3.1.0-1]",
    )
    SECOND_CONNECT = (_PROTOCOL, "a second CONNECT", "[MQTT-3.1.0-2]", "[MQTT-3.1.0-2]")
    PROTOCOL_NAME = (
        ReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
        "the protocol name is neither MQTT nor MQIsdp",
        "[MQTT-3.1.2-1]",
        "[MQTT-3.1.2-1]",
    )
    PROTOCOL_VERSION = (
        ReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
        "the protocol version is not supported",
        "[MQTT-3.1.2-2]",
        "[MQTT-3.1.2-2]",
    )
    CONNECT_RESERVED_FLAG = (
        _MALFORMED,
        "the reserved connect flag is set",
        "[MQTT-3.1.2-3]",
        "[MQTT-3.1.2-3]",
    )
    WILL_QOS_WITHOUT_WILL = (
        _PROTOCOL,
        "a will QoS without a will",
        "[MQTT-3.1.2-11]",
        "[MQTT-3.1.2-13]",
    )
    WILL_QOS_THREE = (_MALFORMED, "the will QoS is 3", "[MQTT-3.1.2-12]", "[MQTT-3.1.2-14]")
    WILL_RETAIN_WITHOUT_WILL = (
        _PROTOCOL,
        "will retain without a will",
        "[MQTT-3.1.2-13]",
        "[MQTT-3.1.2-15]",
    )
    PASSWORD_WITHOUT_USER_NAME = (
        _PROTOCOL,
        "a password without a user name",
        "",
        "[MQTT-3.1.2-22]",
    )
    CLIENT_ID_EMPTY = (
        ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
        "the client identifier is empty and the session is to be kept",
        "[MQTT-3.1.3-8]",
        "[MQTT-3.1.3-8]",
    )
    CONNACK_RESERVED_FLAGS = (
        _MALFORMED,
        "reserved connect acknowledge flags are set",
        "[MQTT-3.2.2-1]",
        "3.2.2.1",
    )
    SESSION_PRESENT_ON_FAILURE = (
        _PROTOCOL,
        "session present in a CONNACK that refuses",
        "[MQTT-3.2.2-6]",
        "[MQTT-3.2.2-4]",
    )

    # PUBLISH
    PUBLISH_QOS_THREE = (
        _MALFORMED,
        "both QoS bits are set",
        "[MQTT-3.3.1-4]",
        "[MQTT-3.3.1-4]",
    )
    PUBLISH_DUP_QOS_ZERO = (_MALFORMED, "DUP at QoS 0", "[MQTT-3.3.1-2]", "[MQTT-3.3.1-2]")
    PUBLISH_NO_TOPIC = (_PROTOCOL, "neither a topic name nor a topic alias", "3.3.2.1", "")
    PUBLISH_SUBSCRIPTION_ID = (
        _PROTOCOL,
        "a client's PUBLISH contains a subscription identifier",
        "[MQTT-3.3.4-6]",
        "",
    )
    TOPIC_ALIAS_ZERO = (
        ReasonCode.TOPIC_ALIAS_INVALID,
        "the topic alias is 0",
        "[MQTT-3.3.2-8]",
        "",
    )
    TOPIC_ALIAS_TOO_HIGH = (
        ReasonCode.TOPIC_ALIAS_INVALID,
        "the topic alias is above the topic alias maximum",
        "[MQTT-3.3.2-9]",
        "",
    )
    TOPIC_ALIAS_UNKNOWN = (
        _PROTOCOL,
        "the topic alias has not been set on this connection",
        "3.3.4",
        "",
    )
    RECEIVE_MAXIMUM = (
        ReasonCode.RECEIVE_MAXIMUM_EXCEEDED,
        "more unacknowledged messages than the receive maximum",
        "[MQTT-3.3.4-7]",
        "",
    )
    QOS_NOT_SUPPORTED = (
        ReasonCode.QOS_NOT_SUPPORTED,
        "a QoS above the maximum QoS",
        "[MQTT-3.2.2-11]",
        "",
    )
    WILL_QOS_NOT_SUPPORTED = (
        ReasonCode.QOS_NOT_SUPPORTED,
        "a will QoS above the maximum QoS",
        "[MQTT-3.2.2-12]",
        "",
    )
    RETAIN_NOT_SUPPORTED = (
        ReasonCode.RETAIN_NOT_SUPPORTED,
        "retained messages are not available",
        "[MQTT-3.2.2-14]",
        "",
    )
    WILL_RETAIN_NOT_SUPPORTED = (
        ReasonCode.RETAIN_NOT_SUPPORTED,
        "a retained will, and retained messages are not available",
        "[MQTT-3.2.2-13]",
        "",
    )
    PACKET_ID_NOT_FREE = (
        _PROTOCOL,
        "a PUBLISH after the PUBREL of its packet identifier and before the PUBCOMP",
        "[MQTT-4.3.3-6]",
        "[MQTT-4.3.3-1]",
    )
    ACK_OF_OTHER_QOS = (
        _PROTOCOL,
        "an acknowledgement of another QoS than the message had",
        "[MQTT-4.3.2-3]",
        "4.3",
    )

    # SUBSCRIBE and UNSUBSCRIBE
    NO_TOPIC_FILTER = (_PROTOCOL, "no topic filter", "[MQTT-3.8.3-2]", "[MQTT-3.8.3-3]")
    NO_TOPIC_FILTER_UNSUBSCRIBE = (
        _PROTOCOL,
        "no topic filter",
        "[MQTT-3.10.3-2]",
        "[MQTT-3.10.3-2]",
    )
    OPTIONS_RESERVED = (
        _MALFORMED,
        "reserved bits of the subscription options are set",
        "[MQTT-3.8.3-5]",
        "[MQTT-3-8.3-4]",
    )
    OPTIONS_QOS_THREE = (_PROTOCOL, "the requested QoS is 3", "3.8.3.1", "[MQTT-3-8.3-4]")
    OPTIONS_RETAIN_HANDLING = (_PROTOCOL, "retain handling is 3", "3.8.3.1", "")
    NO_LOCAL_ON_SHARED = (
        _PROTOCOL,
        "no local on a shared subscription",
        "[MQTT-3.8.3-4]",
        "",
    )
    WILDCARD_NOT_SUPPORTED = (
        ReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
        "wildcard subscriptions are not available",
        "3.2.2.3.11",
        "",
    )
    SUBSCRIPTION_ID_NOT_SUPPORTED = (
        ReasonCode.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
        "subscription identifiers are not available",
        "3.2.2.3.12",
        "",
    )
    SHARED_NOT_SUPPORTED = (
        ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
        "shared subscriptions are not available",
        "3.2.2.3.13",
        "",
    )
    NO_RETURN_CODE = (_PROTOCOL, "no reason code", "3.9.3", "3.9.3")

    # DISCONNECT, AUTH and the order of packets
    SESSION_EXPIRY_REVIVED = (
        _PROTOCOL,
        "a session expiry interval after 0 was given at CONNECT",
        "3.14.2.2.2",
        "",
    )
    AUTH_METHOD_MISSING = (
        _PROTOCOL,
        "AUTH without an authentication method",
        "3.15.2.2.2",
        "",
    )
    AUTH_UNEXPECTED = (
        _PROTOCOL,
        "AUTH, and CONNECT had no authentication method",
        "[MQTT-4.12.0-7]",
        "",
    )
    AUTH_METHOD_NOT_SUPPORTED = (
        ReasonCode.BAD_AUTHENTICATION_METHOD,
        "the authentication method is not supported",
        "[MQTT-4.12.0-1]",
        "",
    )
    AUTH_METHOD_CHANGED = (
        ReasonCode.BAD_AUTHENTICATION_METHOD,
        "the authentication method is not the one of the CONNECT",
        "[MQTT-4.12.0-5]",
        "",
    )
    AUTH_OUT_OF_TURN = (
        _PROTOCOL,
        "this AUTH reason code is not a client's to send now",
        "[MQTT-4.12.0-3]",
        "",
    )
    ONLY_AUTH_BEFORE_CONNACK = (
        _PROTOCOL,
        "only AUTH or DISCONNECT may come before the CONNACK",
        "[MQTT-3.1.2-30]",
        "",
    )
    TOO_MUCH_BEFORE_CONNACK = (
        ReasonCode.QUOTA_EXCEEDED,
        "more data before the CONNACK than the maximum packet size",
        "3.1.4",
        "3.1.4",
    )
    NOT_FOR_SERVERS = (
        _PROTOCOL,
        "a packet that only a server sends",
        "2.1.2",
        "2.2.1",
    )

    def __init__(self, reason: ReasonCode, text: str, v5: str, v3: str) -> None:
        self.reason = reason
        self.text = text
        self.v5 = v5
        self.v3 = v3


class MqttError(Exception):
    """A peer's bytes broke `rule`. Nothing else is raised for bytes, whatever they are.

    `detail` says where (a field's or a property's name); `version` is the protocol level that the
    connection speaks, or None while it is not known yet.
    """

    def __init__(self, rule: Rule, detail: str = "", version: int | None = None) -> None:
        super().__init__(rule, detail)
        self.rule = rule
        self.detail = detail
        self.version = version

    @property
    def reason(self) -> ReasonCode:
        """The reason code for a DISCONNECT or CONNACK of MQTT 5.0."""
        return self.rule.reason

    @property
    def statement(self) -> str:
        """The statement (in brackets) or section of the connection's version of MQTT."""
        before_5 = self.version is not None and self.version < 5
        return (self.rule.v3 or self.rule.v5) if before_5 else (self.rule.v5 or self.rule.v3)

    def __str__(self) -> str:
        """Say what is wrong, where, and which statement says so."""
        where = f" ({self.detail})" if self.detail else ""
        return f"{self.rule.text}{where}, see {self.statement}"
