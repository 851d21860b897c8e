"""What a plugin with exchanges needs: forwarded copies, held receives, the ends of queues."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import trio
import trio.testing

from hubbub import (
    DEFAULT_REALM,
    AddressError,
    Batch,
    Enqueued,
    Hub,
    Message,
    Outcome,
    QueueSettings,
    Subscription,
    hookimpl,
)

from .hubs import make_hub, session_of


async def test_a_forwarded_copy_is_in_a_queue_once() -> None:
    hub = make_hub()
    async with hub.running():
        with session_of(hub) as session:
            await session.create_queue("copies", QueueSettings())

            def forward(batch: Batch) -> Enqueued:
                copies = [
                    msgspec.structs.replace(each, address="b/x", hops=each.hops + 1)
                    for each in batch.messages
                ]
                return Enqueued(session.forward(copies).commit, {}, {})

            session.subscribe("a/#", "$queue/copies")
            session.subscribe("b/#", "$queue/copies")
            session.subscribe("a/#", forward)
            session.publish([Message(address="a/x", body=b"1")])
            session.publish([Message(address="b/x", body=b"2")])
            received = await session.receive("copies", 10)
            assert [each.message.body for each in received] == [b"1", b"2"]
            refused = session.forward([Message(address="a/+", body=b"")]).refused
            assert isinstance(refused[0], AddressError)


async def test_a_held_receive_has_no_deadline() -> None:
    hub = make_hub()
    async with hub.running():
        with session_of(hub) as session:
            await session.create_queue("jobs", QueueSettings(lease=0))
            session.publish([Message(address="$queue/jobs", body=b"x")])
            (held,) = await session.receive("jobs", held=True, owner="me")
            assert held.deadline is None
            assert [each.receipt for each in await session.leases("jobs", "me")] == [held.receipt]
            await session.settle([held.receipt], Outcome.RELEASE)
            assert session.queues("jobs")[0].counts().visible == 1


async def test_the_subscriptions_of_a_queue_end_with_it() -> None:
    hub = make_hub()
    ended: list[str] = []

    def note(subscription: Subscription) -> None:
        ended.append(subscription.id)

    async with hub.running():
        with session_of(hub) as session:
            forget = session.watch_subscriptions(note)
            for name in ("deleted", "left", "kept"):
                await session.create_queue(name, QueueSettings(auto_delete=name == "left"))
                session.subscribe("a/#", f"$queue/{name}", id=f"to/{name}")
            session.subscribe("a/#", lambda batch: None, id="live")
            session.consume("left", lambda deliveries: None).cancel()
            await session.delete_queue("deleted")
            assert ended == ["to/left", "to/deleted"]
            assert [each.id for each in session.subscriptions("$queue/left")] == []
            forget()
            session.unsubscribe("to/kept")
            assert ended == ["to/left", "to/deleted"]
            assert session.publish([Message(address="a/b", body=b"")]).unmatched == ()


async def test_a_death_says_through_which_exchange() -> None:
    hub = make_hub()
    async with hub.running():
        with session_of(hub) as session:
            await session.create_queue("dead", QueueSettings())
            await session.create_queue("jobs", QueueSettings(dead_letter="$queue/dead"))
            session.subscribe("logs/#", "$queue/jobs", scope="logs")
            session.publish([Message(address="logs/a", body=b"x", scope="logs")])
            (job,) = await session.receive("jobs")
            await session.settle([job.receipt], Outcome.REJECT)
            (dead,) = await session.receive("dead")
            (death,) = dead.message.deaths
            assert (death.address, death.scope, death.reason) == ("logs/a", "logs", "rejected")


class Undertaker:
    """A plugin whose lifespan takes a while before it can take dead letters."""

    def __init__(self) -> None:
        self.buried: list[bytes] = []

    @hookimpl
    @asynccontextmanager
    async def hubbub_lifespan(self, hub: Hub) -> AsyncIterator[None]:
        # As if it had expired while the hub was down.
        queue = await hub.engine.create_queue(
            DEFAULT_REALM, "jobs", QueueSettings(message_ttl=0, dead_letter="dead/jobs")
        )
        queue.enqueue([Message(address="$queue/jobs", body=b"old", id=hub.engine.next_id())])
        await trio.testing.wait_all_tasks_blocked()
        with session_of(hub) as session:
            session.subscribe(
                "dead/#", lambda batch: self.buried.extend(each.body for each in batch.messages)
            )
            yield


async def test_nothing_expires_before_all_plugins_are_there() -> None:
    undertaker = Undertaker()
    hub = make_hub({"undertaker": undertaker})
    async with hub.running():
        with trio.fail_after(10):
            while not undertaker.buried:
                await trio.testing.wait_all_tasks_blocked()
        assert undertaker.buried == [b"old"]
