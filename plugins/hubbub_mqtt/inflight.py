"""The part of a session that is in flight: packet identifiers, quotas and what is acknowledged.

It outlives the network connection when the session does (4.1), so it can be restored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from itertools import chain, islice
from typing import Final

import msgspec

from .errors import MqttError, Rule

_LAST_PACKET_ID: Final = 0xFFFF


class OutboundState(Enum):
    """What a message that was sent is waiting for (4.3)."""

    PUBACK = "puback"
    PUBREC = "pubrec"
    PUBCOMP = "pubcomp"


class OutboundRecord(msgspec.Struct, gc=False):
    """A message of QoS 1 or 2 that was sent and is not yet acknowledged.

    `tag` is the caller's: a lease, a message id, anything by which to settle the message.
    `message` is the PUBLISH to send again, of a session that is resumed.
    """

    packet_id: int
    state: OutboundState
    tag: object = None
    message: bytes = b""


class SessionState(msgspec.Struct, frozen=True):
    """What was in flight in a session when its client was last seen.

    `outbound` is in the order in which the messages were first sent [MQTT-4.6.0-1]; `inbound` has
    the packet identifiers of the client's QoS 2 messages that have been taken over and not yet been
    released.
    """

    outbound: tuple[OutboundRecord, ...] = ()
    inbound: frozenset[int] = frozenset()
    last_packet_id: int = 0


#: A session with nothing in flight.
EMPTY_SESSION: Final = SessionState()


class Outbound:
    """Messages on their way to the peer: identifiers, the send quota and their records (4.9)."""

    __slots__ = ("_last_packet_id", "_records", "_uncounted", "_unsent", "maximum")

    def __init__(self, maximum: int, state: SessionState = EMPTY_SESSION) -> None:
        self.maximum = maximum
        self._records = {record.packet_id: record for record in state.outbound}
        #: Restored and not yet sent again on this connection; a dictionary, to keep the order.
        self._unsent = dict.fromkeys(self._records)
        #: What was not published on this connection. A PUBREL sent again does not count, nor does
        #: its PUBCOMP give anything back: the peer counts the messages that it got, and so do we.
        self._uncounted = set(self._records)
        self._last_packet_id = state.last_packet_id

    def __len__(self) -> int:
        """How many messages are in flight."""
        return len(self._records)

    @property
    def last_packet_id(self) -> int:
        """The identifier given last; the next ones follow it, so that reuse comes late."""
        return self._last_packet_id

    @property
    def counted(self) -> int:
        """How many messages count against the maximum."""
        return len(self._records) - len(self._uncounted)

    @property
    def resending(self) -> bool:
        """Whether something of the resumed session has not been sent again yet."""
        return bool(self._unsent)

    @property
    def quota(self) -> int:
        """How many new messages of QoS 1 and 2 may be sent now.

        It is 0 while messages of the resumed session are still to be sent again, and while every
        packet identifier is in use.
        """
        if self._unsent:
            return 0
        return min(self.maximum - self.counted, _LAST_PACKET_ID - len(self._records))

    def next_packet_ids(self, count: int) -> Sequence[int]:
        """As many identifiers that are not in use, one or more; none if `quota` is smaller."""
        if count > self.quota:
            return ()
        records, last = self._records, self._last_packet_id
        packet_ids = range(last + 1, last + 1 + count)
        if packet_ids[-1] <= _LAST_PACKET_ID and records.keys().isdisjoint(packet_ids):
            return packet_ids
        around = chain(range(last + 1, _LAST_PACKET_ID + 1), range(1, last + 1))
        return list(islice((each for each in around if each not in records), count))

    def add(self, record: OutboundRecord) -> None:
        """Record a message that is being sent for the first time."""
        self._records[record.packet_id] = record
        self._last_packet_id = record.packet_id

    def unsent(self) -> Iterator[OutboundRecord]:
        """Records to be sent again, in order, as far as the quota goes; a PUBREL costs none.

        The caller sends each, or discards it with `remove`, before it asks for the next one.
        """
        for packet_id in tuple(self._unsent):
            record = self._records[packet_id]
            if record.state is not OutboundState.PUBCOMP:
                if self.counted >= self.maximum:
                    return
                self._uncounted.discard(packet_id)
            del self._unsent[packet_id]
            yield record

    def finish(self, packet_id: int, state: OutboundState) -> OutboundRecord | None:
        """Take the record that was waiting in `state` out; None if the identifier is unknown.

        Raises:
            MqttError: it waits for something else.
        """
        record = self._records.get(packet_id)
        if record is not None:
            _check_state(record, state)
            self.remove(packet_id)
        return record

    def pubrec(self, packet_id: int) -> OutboundRecord | None:
        """Note a PUBREC; None if the identifier is unknown. A repeated one changes nothing."""
        record = self._records.get(packet_id)
        if record is not None and record.state is not OutboundState.PUBCOMP:
            _check_state(record, OutboundState.PUBREC)
            record.state = OutboundState.PUBCOMP
        return record

    def awaits_pubcomp(self, packet_id: int) -> bool:
        """Whether a PUBREL is owed for, or was sent with, this identifier."""
        record = self._records.get(packet_id)
        return record is not None and record.state is OutboundState.PUBCOMP

    def remove(self, packet_id: int) -> None:
        """Forget a message and give its place in the quota back (4.9)."""
        del self._records[packet_id]
        if self._uncounted:
            self._unsent.pop(packet_id, None)
            self._uncounted.discard(packet_id)


def _check_state(record: OutboundRecord, state: OutboundState) -> None:
    if record.state is not state:
        raise MqttError(Rule.ACK_OF_OTHER_QOS, f"packet identifier {record.packet_id}")


class InboundQos2(Enum):
    """How far the exchange of an inbound QoS 2 message has come."""

    #: PUBREC is still owed.
    PUBLISHED = "published"
    #: PUBREC was sent.
    RECEIVED = "received"


class Inbound:
    """Messages on their way from the peer, and the receive maximum it must keep (3.3.4, 4.3)."""

    __slots__ = ("_completing", "_qos1", "_qos2")

    def __init__(self, taken_over: Iterable[int] = ()) -> None:
        #: How many PUBACKs are owed for each identifier. More than one if a client sends a message
        #: again on the same connection, which before 5.0 happens.
        self._qos1: dict[int, int] = {}
        self._qos2 = dict.fromkeys(taken_over, InboundQos2.RECEIVED)
        #: How many PUBCOMPs are owed for each identifier, be it known or not.
        self._completing: dict[int, int] = {}

    def __len__(self) -> int:
        """How many messages count towards the receive maximum."""
        return len(self._qos1) + len(self._qos2)

    def publish_qos1(self, packet_id: int) -> None:
        """Note a QoS 1 PUBLISH: each is a new message [MQTT-4.3.2-5]."""
        self._qos1[packet_id] = self._qos1.get(packet_id, 0) + 1

    def publish_qos2(self, packet_id: int) -> InboundQos2 | None:
        """Note a QoS 2 PUBLISH; a state if it is a duplicate [MQTT-4.3.3-10], None if new.

        Between PUBREL and PUBCOMP it can be neither: that is an error.
        """
        if packet_id in self._completing:
            raise MqttError(Rule.PACKET_ID_NOT_FREE, f"packet identifier {packet_id}")
        state = self._qos2.get(packet_id)
        if state is None:
            self._qos2[packet_id] = InboundQos2.PUBLISHED
        return state

    def puback(self, packet_id: int) -> bool:
        """Note that PUBACK goes out; False if none is owed."""
        owed = self._qos1.pop(packet_id, 0)
        if owed > 1:
            self._qos1[packet_id] = owed - 1
        return owed > 0

    def pubrec(self, packet_id: int, *, failed: bool) -> bool:
        """Note that PUBREC goes out; False for an unknown identifier.

        One that failed ends the exchange [MQTT-4.3.3-9].
        """
        if packet_id not in self._qos2:
            return False
        if failed:
            del self._qos2[packet_id]
        else:
            self._qos2[packet_id] = InboundQos2.RECEIVED
        return True

    def release(self, packet_id: int) -> None:
        """Note a PUBREL, for which PUBCOMP is owed."""
        self._completing[packet_id] = self._completing.get(packet_id, 0) + 1

    def pubcomp(self, packet_id: int) -> bool:
        """Note that PUBCOMP goes out; False for an unknown identifier."""
        owed = self._completing.pop(packet_id, 0)
        if owed > 1:
            self._completing[packet_id] = owed - 1
        return self._qos2.pop(packet_id, None) is not None
