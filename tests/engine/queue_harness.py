"""An embedded engine without a store, whose time the test moves."""

from hubbub.engine.contract import DONE, Commit, Delivery, Queue, QueueSettings
from hubbub.engine.embedded import EmbeddedEngine
from hubbub.engine.journal import MemoryJournal
from hubbub.engine.queues import MemoryQueue
from hubbub.message import Message
from hubbub.testing import ManualClock


class Harness:
    """Makes queues, sends numbered bodies, and records what was buried."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.engine = EmbeddedEngine(MemoryJournal(), self.clock, memory_limit=1 << 30)
        self.buried: list[tuple[bytes, int, str]] = []
        self.engine.dead_letter = self._bury
        self.errors: list[Exception] = []
        self.engine.report = self.errors.append

    def _bury(self, queue: Queue, message: Message, receives: int, reason: str) -> Commit:
        self.buried.append((message.body, receives, reason))
        return DONE

    async def queue(self, name: str = "q", **settings: object) -> MemoryQueue:
        queue = await self.engine.create_queue(
            "default", name, QueueSettings(**settings)  # type: ignore[arg-type]
        )  # fmt: skip
        assert isinstance(queue, MemoryQueue)
        return queue

    def message(self, body: object, **fields: object) -> Message:
        return Message(
            address="$queue/q", body=str(body).encode(), id=self.engine.next_id(),
            **fields,  # type: ignore[arg-type]
        )  # fmt: skip

    def send(self, queue: MemoryQueue, *bodies: object, **fields: object) -> None:
        result = queue.enqueue([self.message(body, **fields) for body in bodies])
        assert not result.refused

    def pass_time(self, queue: MemoryQueue, milliseconds: int) -> None:
        self.clock.advance(milliseconds)
        queue.advance(self.clock.now())


def bodies(deliveries: list[Delivery]) -> list[str]:
    return [each.message.body.decode() for each in deliveries]
