"""Messages from one client to the bus, and their acknowledgements."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import trio

from hubbub import (
    AddressError,
    Commit,
    DeniedError,
    HubbubError,
    Message,
    NotFoundError,
    Publication,
    RefusedError,
    UnavailableError,
)

from .broker import is_reserved
from .link import Link
from .mapping import message_of
from .packets import Publish, Version
from .reasons import FAILURE, ReasonCode

MAX_UNACKNOWLEDGED: Final = 64
"""Batches that wait to be kept, at most, before the client is read again."""

_Answer = tuple[int, int, int]
"""QoS, packet identifier and reason of a PUBACK or PUBREC that is owed."""


class Inbox:
    """Publishes what a client sends: all PUBLISH packets of one read as one batch."""

    __slots__ = ("_link", "_pending", "_progress")

    def __init__(self, link: Link) -> None:
        self._link = link
        self._pending = 0
        self._progress: trio.Event | None = None

    async def publish(self, packets: Sequence[Publish]) -> None:
        """Publish messages in order; each is answered once it is kept."""
        link = self._link
        bus, session, broker = link.bus, link.session, link.broker
        broker.stats.publishes_received += len(packets)
        now = broker.now()
        messages: list[Message] = []
        special = False
        answers = False
        twice: list[int] = []
        for packet in packets:
            if packet.topic[0] == "$":
                special = True
            if packet.qos:
                answers = True
                if packet.qos == 2:
                    twice.append(packet.packet_id)
            messages.append(message_of(packet, now))
        refused = await self._prepare(messages) if special else None
        for packet_id in twice:
            # In the same batch of the store as the message: both are kept, or neither.
            session.take_over(bus, packet_id)
        try:
            publication = self._publish(messages, refused)
        except UnavailableError as error:
            for packet_id in twice:
                session.release(bus, packet_id)
            link.fail(ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR, str(error))
            return
        if answers:
            owed = self._answers(packets, publication)
            if owed:
                commit = bus.commit() if twice and session.durable else publication.commit
                self._when_kept(commit, partial(self._acknowledge, owed))
        elif publication.refused:
            self._count_refused(packets, publication)

    @property
    def behind(self) -> bool:
        """Whether so much waits to be kept that the client should not be read."""
        return self._pending >= MAX_UNACKNOWLEDGED

    async def catch_up(self) -> None:
        """Wait until the client may be read again."""
        await self.acknowledged(MAX_UNACKNOWLEDGED // 2)

    def _publish(
        self, messages: list[Message], refused: dict[int, HubbubError] | None
    ) -> Publication:
        bus = self._link.bus
        if not refused:
            return bus.publish(messages)
        kept = [index for index in range(len(messages)) if index not in refused]
        publication = bus.publish([messages[index] for index in kept])
        return Publication(
            publication.commit,
            tuple(kept[index] for index in publication.unmatched),
            refused | {kept[index]: error for index, error in publication.refused.items()},
        )

    async def _prepare(self, messages: Sequence[Message]) -> dict[int, HubbubError]:
        """Make the queues and streams that are to be made; refuse what no client may publish to."""
        link = self._link
        refused: dict[int, HubbubError] = {}
        for index, message in enumerate(messages):
            address = message.address
            if address[0] != "$":
                continue
            if is_reserved(address):
                refused[index] = DeniedError(link.bus.principal.name, "publish", address)
                continue
            try:
                await link.broker.ensure(link.bus, address)
            except HubbubError as error:
                refused[index] = error
        return refused

    # answers

    def _answers(self, packets: Sequence[Publish], publication: Publication) -> list[_Answer]:
        link = self._link
        unmatched, refused = publication.unmatched, publication.refused
        if not unmatched and not refused:
            return [(each.qos, each.packet_id, 0) for each in packets if each.qos]
        reasons = dict.fromkeys(unmatched, int(ReasonCode.NO_MATCHING_SUBSCRIBERS))
        for index, error in refused.items():
            reasons[index] = reason_of(error)
        if refused:
            self._count_refused(packets, publication)
        owed: list[_Answer] = []
        for index, packet in enumerate(packets):
            if not packet.qos:
                continue
            reason = reasons.get(index, 0)
            if reason >= FAILURE:
                if link.machine.version is not Version.V5 and not _silently(refused[index]):
                    # No answer says no before 5.0. One that says yes would be a lie, so there is
                    # none: the client keeps the message and may send it again (3.1.1, 3.3.5).
                    link.session.release(link.bus, packet.packet_id)
                    link.fail(reason, str(refused[index]))
                    break
                if link.machine.version is Version.V5 and packet.qos == 2:
                    link.session.release(link.bus, packet.packet_id)  # [MQTT-4.3.3-9]
            owed.append((packet.qos, packet.packet_id, reason))
        return owed

    def _count_refused(self, packets: Sequence[Publish], publication: Publication) -> None:
        """Count the messages that are gone and whose publisher can't be told."""
        tells = self._link.machine.version is Version.V5
        for index, error in publication.refused.items():
            packet = packets[index]
            if not (packet.qos and tells):
                self._link.bus.lost(_loss_of(error), 1, packet.topic)
                self._link.broker.stats.publishes_dropped += 1

    def answer(self, packet: Publish, reason: int) -> None:
        """Refuse a message that the state machine has found wrong."""
        self._when_kept(None, partial(self._acknowledge, [(packet.qos, packet.packet_id, reason)]))

    def repeat(self, packet_id: int) -> None:
        """Answer a QoS 2 message that was taken over before, once that is kept."""
        self._when_kept(self._link.bus.commit(), partial(self._acknowledge, [(2, packet_id, 0)]))

    def release(self, packet_ids: list[int]) -> None:
        """Release QoS 2 messages. Their identifiers may be used again once that is kept."""
        link = self._link
        for packet_id in packet_ids:
            link.session.release(link.bus, packet_id)
        self.when_kept_by_session(partial(self._complete, packet_ids))

    def _complete(self, packet_ids: list[int]) -> None:
        self._link.write(self._link.machine.pubcomp(*packet_ids), len(packet_ids))

    def _acknowledge(self, owed: list[_Answer]) -> None:
        self._link.write(self._link.machine.acknowledge(owed), len(owed))

    def when_kept_by_session(self, answer: partial[None]) -> None:
        """Give an answer when the state of a durable session is kept."""
        link = self._link
        self._when_kept(link.bus.commit() if link.session.durable else None, answer)

    def _when_kept(self, commit: Commit | None, answer: partial[None]) -> None:
        """Give an answer when a commit is kept, after all those that were owed before."""
        if not self._pending and (commit is None or commit.done):
            answer()
            return
        self._pending += 1
        link = self._link
        link.broker.hub.acknowledger.add(commit or link.bus.commit(), partial(self._kept, answer))

    def _kept(self, answer: partial[None], error: HubbubError | None) -> None:
        self._pending -= 1
        if self._progress is not None:
            self._progress.set()
        if error is None:
            answer()
        else:
            # Without an answer the client sends its messages again when it is back.
            self._link.fail(ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR, str(error))

    async def acknowledged(self, left: int = 0) -> None:
        """Wait until no more than `left` batches wait to be kept."""
        while self._pending > left:
            self._progress = trio.Event()
            await self._progress.wait()
            self._progress = None


def reason_of(error: HubbubError) -> int:
    """Return the reason code for PUBACK and PUBREC (3.4.2.1)."""
    match error:
        case DeniedError():
            return ReasonCode.NOT_AUTHORIZED
        case AddressError() | NotFoundError():
            return ReasonCode.TOPIC_NAME_INVALID
        case RefusedError():
            return ReasonCode.QUOTA_EXCEEDED
        case _:
            return ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR


def _loss_of(error: HubbubError) -> str:
    match error:
        case DeniedError():
            return "not authorised"
        case AddressError() | NotFoundError():
            return "no such address"
        case _:
            return "refused"


def _silently(error: HubbubError) -> bool:
    """Whether a client before 5.0 is told that a refused message has arrived, as by Mosquitto.

    Sending it again would not help; a queue that is full may be empty later.
    """
    return isinstance(error, DeniedError | AddressError | NotFoundError)
