"""The number that goes with a lease: packet identifier, QoS and RETAIN of the PUBLISH in flight."""

from __future__ import annotations


def tag_of(packet_id: int, qos: int, retain: bool) -> int:
    """Make the number; never 0."""
    return packet_id | qos << 16 | retain << 18


def packet_id_of(tag: int) -> int:
    """Return the packet identifier."""
    return tag & 0xFFFF


def qos_of(tag: int) -> int:
    """Return the QoS; 0 for a lease that nothing was sent for."""
    return tag >> 16 & 3


def retain_of(tag: int) -> bool:
    """Return RETAIN."""
    return bool(tag >> 18 & 1)
