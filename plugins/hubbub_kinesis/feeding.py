"""Feeding queues: each gets records of its stream ahead of those who receive them.

The records that wait for a receiver are in an internal queue, a few at a time; the rest stay in
the stream, and how far the queue has read it is kept with them. After a crash the last few may come
twice, as in AWS.
"""

import contextlib
from typing import Any, ClassVar, Literal

import trio

from hubbub import ExistsError, Message, NotFoundError, QueueSettings, Record, queue_address
from hubbub_kinesis.following import Follower
from hubbub_kinesis.locating import Located
from hubbub_kinesis.numbering import Numbering
from hubbub_kinesis.readers import Readers, ReaderState
from hubbub_kinesis.reading import count_lost

AHEAD = 1000
"""Records of a queue that wait for a receiver."""
BATCH = 200
BATCH_BYTES = 8 * 2**20
MAX_IN_FLIGHT = 120_000
"""AWS's limit of records that were received and not acknowledged."""
_LOOK = 60.0
"""Seconds after which a feeder looks again at what nobody tells it of."""

StartKind = Literal["LATEST", "TRIM_HORIZON", "AT_TIMESTAMP"]


class QueueState(ReaderState, kw_only=True, omit_defaults=True):
    """A queue on a stream.

    * `start`, `started_at`: where delivery began, and the time that means; `asked_for`: the time
      that was asked for. In milliseconds since the epoch.
    * `visibility`: in seconds. `max_receives`: None if there are no dead letters.
    """

    kind: ClassVar[str] = "queue"

    start: StartKind
    started_at: int
    asked_for: int | None = None
    visibility: int = 30
    max_receives: int | None = 6

    @property
    def waiting(self) -> str:
        """The internal queue of records to be received."""
        return f"$kinesis/{self.id}"

    @property
    def dead(self) -> str:
        """The internal queue of dead-letter records."""
        return f"$kinesis/{self.id}/dead"


class Feeders(Readers[QueueState]):
    """The tasks that feed the queues of one hub, and delete those whose time has come."""

    async def prepare(self, queue: QueueState) -> None:
        """Make the internal queues of a queue, or change them to what it says now."""
        session = self.session(queue)
        info = session.find_stream(queue.stream)
        common: dict[str, Any] = {
            "lease": queue.visibility * 1000,
            "retention": None if info is None else info.settings.retention,
            "max_in_flight": MAX_IN_FLIGHT,
        }
        # What the dead letters give up is restored.
        dead = QueueSettings(**common, dead_letter=str(queue_address(queue.waiting)))
        waiting = QueueSettings(
            **common, max_receives=queue.max_receives, gives_up_early=True,
            dead_letter=str(queue_address(queue.dead)),
        )  # fmt: skip
        for name, settings in ((queue.dead, dead), (queue.waiting, waiting)):
            try:
                await session.create_queue(name, settings)
            except ExistsError:
                await session.configure_queue(name, settings)

    async def step(self, state: QueueState, stream: Located, follower: Follower) -> None:
        """Hand over some records, or wait until there is something to do."""
        queue, session = state, self.session(state)
        room = self._room(queue, stream)
        seconds = _LOOK if queue.gone_at is None else (queue.gone_at - self.now()) / 1000
        if queue.gone_at is not None or room <= 0:
            with self.until_changed(queue, seconds):
                await trio.sleep_forever()
            return
        if self._retention(queue) != stream.info.settings.retention:
            await self.prepare(queue)
        records: list[Record] = []
        with self.until_changed(queue, seconds):
            records = await follower.read_or_wait(min(room, BATCH), BATCH_BYTES)
        if records:
            count_lost(session, records)
            await session.ready()
            session.enqueue(queue.waiting, [_message(queue, stream, each) for each in records])
        cursor = follower.cursor
        if cursor != self.book.cursor(queue):
            # Handed over after the records, so that a crash does not lose any.
            await self.book.keep_cursor(session, queue, cursor).wait()

    def _retention(self, queue: QueueState) -> int | None:
        info = self.session(queue).find_queue(queue.waiting)
        return None if info is None else info.settings.retention

    def _room(self, queue: QueueState, stream: Located) -> int:
        info = self.session(queue).find_queue(queue.waiting)
        if info is None:
            raise NotFoundError("queue", queue.waiting)
        counts = info.counts()
        return AHEAD - counts.visible if counts.in_flight < MAX_IN_FLIGHT else 0

    async def remove(self, state: QueueState) -> None:
        """Delete a queue and what waits in it."""
        session = self.session(state)
        for name in (state.waiting, state.dead):
            with contextlib.suppress(NotFoundError):
                await session.delete_queue(name)
        await super().remove(state)


def _message(queue: QueueState, stream: Located, record: Record) -> Message:
    """Return the message that stands for a record in the internal queue."""
    message = record.message
    return Message(
        address=str(queue_address(queue.waiting)),
        body=message.body,
        id=stream.session.new_id(),
        group=record.partition_key,
        message_id=Numbering(stream.info).records([record])[0],
        published=record.arrived,
        protocol=message.protocol,
        client=message.client,
    )
