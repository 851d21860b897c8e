"""Subscriptions and routes to URLs: delivered, tried again, given up, over restarts."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from hubbub import DeniedError, Hub, Message, QueueSettings, RefusedError, Session, hookimpl
from hubbub.auth import Permission, Principal, ResourcePattern
from hubbub.config import EndpointSettings, HubSettings, RouteSettings
from hubbub.hookspecs import Send, SendFactory

from .hubs import RecordingLog, make_hub, session_of

URL = "example://somewhere"
QUICK = EndpointSettings(first_pause=0.001, longest_pause=0.01, timeout=5)


class Target:
    """A plugin whose endpoints record what they are sent, and answer as the test wants."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[bytes]]] = []
        self.sessions: list[Session] = []
        self.changed = trio.Event()
        self.answer: Callable[[Sequence[Message]], Awaitable[Sequence[bool]]] = self.take

    @staticmethod
    async def take(messages: Sequence[Message]) -> Sequence[bool]:
        return [True] * len(messages)

    @hookimpl
    def hubbub_endpoints(self) -> dict[str, SendFactory]:
        return {"example": self.factory, "function": self.factory}

    def factory(self, hub: Hub, url: str, session: Session) -> Send:
        if url.endswith("?"):
            raise ZeroDivisionError
        if url.endswith("!"):
            raise ValueError(f"{url} is too loud")
        self.sessions.append(session)

        async def send(messages: Sequence[Message]) -> Sequence[bool]:
            self.batches.append((url, [each.body for each in messages]))
            self.changed.set()
            return await self.answer(messages)

        return send

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, batch in self.batches for body in batch]

    async def until(self, wanted: Callable[[], bool]) -> None:
        """Wait until something is as wanted, looking at each delivery."""
        with trio.fail_after(5):
            while not wanted():
                self.changed = trio.Event()
                await self.changed.wait()


@pytest.fixture
def target() -> Target:
    return Target()


def counts(hub: Hub) -> list[tuple[int, int]]:
    found = [queue for queue in hub.all_queues() if queue.name.startswith("$endpoint/")]
    return [(each.counts().visible, each.counts().in_flight) for each in found]


async def until(wanted: Callable[[], bool]) -> None:
    """Let the others run until something is as wanted."""
    with trio.fail_after(5):
        while not wanted():
            await trio.lowlevel.checkpoint()


def publish(session: Session, *bodies: bytes, address: str = "a/b") -> None:
    result = session.publish([Message(address=address, body=body) for body in bodies])
    assert not result.refused
    assert not result.unmatched


async def test_messages_are_delivered_and_settled(target: Target) -> None:
    hub = make_hub({"target": target}, endpoints=QUICK)
    async with hub.running():
        with session_of(hub) as session:
            subscription = session.subscribe("a/#", URL)
            assert (subscription.target, subscription.is_url) == (URL, True)
            assert session.subscriptions(URL) == [subscription]
            publish(session, b"1", b"2")
            await target.until(lambda: target.bodies == [b"1", b"2"])
            await until(lambda: counts(hub) == [(0, 0)])
    meter = hub.meters.protocol("example")
    assert (meter.delivered, meter.settled, meter.clients) == (2, 2, 0)


async def test_the_endpoint_has_a_session_of_its_own(target: Target) -> None:
    hub = make_hub({"target": target}, endpoints=QUICK)
    seen: list[bytes] = []
    async with hub.running():
        with session_of(hub, realm="r") as session:
            session.subscribe("a", URL)
            session.subscribe("out", lambda batch: seen.extend(m.body for m in batch.messages))
            (own,) = target.sessions
            publish(own, b"from the endpoint", address="out")
            assert seen == [b"from the endpoint"]
            assert own.realm == "r"


async def test_what_did_not_arrive_comes_again_and_nothing_else(target: Target) -> None:
    tries: dict[bytes, int] = {}

    async def answer(messages: Sequence[Message]) -> Sequence[bool]:
        for each in messages:
            tries[each.body] = tries.get(each.body, 0) + 1
        return [each.body == b"good" or tries[each.body] == 3 for each in messages]

    target.answer = answer
    hub = make_hub({"target": target}, endpoints=QUICK)
    async with hub.running():
        with session_of(hub) as session:
            session.subscribe("a/#", URL)
            publish(session, b"good", b"bad")
            await until(lambda: tries == {b"good": 1, b"bad": 3} and counts(hub) == [(0, 0)])


async def wrong_number(messages: Sequence[Message]) -> Sequence[bool]:
    return [True]


async def crash(messages: Sequence[Message]) -> Sequence[bool]:
    raise ExceptionGroup("two", [OSError("down"), OSError("out")])


async def hang(messages: Sequence[Message]) -> Sequence[bool]:
    await trio.sleep_forever()
    raise AssertionError


@pytest.mark.parametrize("answer", [wrong_number, crash, hang])
async def test_a_failing_endpoint_is_told_and_asked_again(target: Target, answer: Any) -> None:
    target.answer = answer
    log = RecordingLog()
    settings = QUICK.model_copy(update={"timeout": 0.05})
    hub = make_hub({"target": target}, endpoints=settings, log=log)
    async with hub.running():
        with session_of(hub) as session:
            session.subscribe("a/#", URL)
            publish(session, b"1", b"2")
            await target.until(lambda: len(target.batches) >= 3)
            assert b"hubbub_endpoint_failures_total 0.0" not in hub.meters.page().body
            assert log.told("warning")[0] == "endpoint does not take messages"
            target.answer = target.take
            await until(lambda: counts(hub) == [(0, 0)])


async def test_a_message_that_is_never_taken_becomes_a_dead_letter(target: Target) -> None:
    async def refuse(messages: Sequence[Message]) -> Sequence[bool]:
        return [False] * len(messages)

    target.answer = refuse
    settings = QUICK.model_copy(update={"max_tries": 2, "dead_letter": "$queue/dead"})
    hub = make_hub({"target": target}, endpoints=settings)
    async with hub.running():
        with session_of(hub) as session:
            await session.create_queue("dead", QueueSettings())
            session.subscribe("a/#", URL)
            publish(session, b"1")
            (letter,) = await session.receive("dead", wait=5_000)
            assert letter.message.body == b"1"
            assert letter.message.deaths[0].reason == "delivery_limit"
    assert target.bodies == [b"1", b"1"]


async def test_batches_and_what_is_under_way_are_bounded(target: Target) -> None:
    gate, under_way, most = trio.Event(), 0, 0

    async def answer(messages: Sequence[Message]) -> Sequence[bool]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await gate.wait()
        under_way -= 1
        return [True] * len(messages)

    target.answer = answer
    settings = QUICK.model_copy(update={"batch": 2, "concurrency": 3})
    hub = make_hub({"target": target}, endpoints=settings)
    async with hub.running():
        with session_of(hub) as session:
            session.subscribe("a/#", URL)
            publish(session, *[b"x"] * 20)
            await until(lambda: under_way == 3)
            await trio.testing.wait_all_tasks_blocked()
            gate.set()
            await until(lambda: counts(hub) == [(0, 0)])
    assert most == 3
    assert {len(batch) for _, batch in target.batches} == {2}


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (URL + "!", "too loud"),
        (URL + "?", "the plugin for example: URLs failed"),
        ("exmple://x", "no plugin delivers to exmple: URLs; did you mean"),
    ],
)
async def test_urls_that_nobody_takes_are_refused(target: Target, url: str, says: str) -> None:
    hub = make_hub({"target": target}, endpoints=QUICK)
    async with hub.running():
        with session_of(hub) as session:
            former = session.subscribe("a", URL, id="mine")
            with pytest.raises(RefusedError, match=says):
                session.subscribe("b", url, id="mine")
            assert session.subscriptions() == [former]
            publish(session, b"still there", address="a")
            await target.until(lambda: target.bodies == [b"still there"])


async def test_a_known_scheme_needs_no_slashes_and_other_colons_are_topics(target: Target) -> None:
    hub = make_hub({"target": target}, endpoints=QUICK)
    async with hub.running():
        with session_of(hub) as session:
            assert session.subscribe("a", "function:f").is_url
            assert not session.subscribe("a", "sensor:1/b").is_url


async def test_subscribing_needs_the_permission_to_publish_to_the_url(target: Target) -> None:
    allowed = Permission(frozenset({"*"}), (ResourcePattern("a/#"), ResourcePattern("example:/#")))
    hub = make_hub({"target": target}, endpoints=QUICK)
    async with hub.running():
        principal = Principal("somebody", permissions=(allowed,))
        with hub.session(principal, protocol="test-1", client="c") as session:
            session.subscribe("a/b", URL)
            with pytest.raises(DeniedError):
                session.subscribe("a/b", "function:f")


async def test_a_replaced_url_gets_what_waits_for_the_old_one(target: Target) -> None:
    target.answer = hang
    hub = make_hub({"target": target}, endpoints=QUICK)
    async with hub.running():
        with session_of(hub) as session:
            session.subscribe("a/#", URL, id="mine")
            publish(session, b"1")
            await target.until(lambda: target.bodies == [b"1"])
            target.answer = target.take
            session.subscribe("a/#", URL + "/else", id="mine")
            await target.until(lambda: target.batches[-1] == (URL + "/else", [b"1"]))
            await until(lambda: counts(hub) == [(0, 0)])
            assert len(session.subscriptions()) == 1


@pytest.mark.parametrize("how", ["unsubscribe", "an address", "a client"])
async def test_the_queue_goes_with_the_subscription(target: Target, how: str) -> None:
    target.answer = hang
    hub = make_hub({"target": target}, endpoints=QUICK)
    async with hub.running():
        with session_of(hub) as session:
            session.subscribe("a/#", URL, id="mine")
            publish(session, b"1")
            await target.until(lambda: target.bodies == [b"1"])
            if how == "unsubscribe":
                assert session.unsubscribe("mine")
            elif how == "an address":
                session.subscribe("a/#", "$queue/other", id="mine")
            else:
                session.subscribe("a/#", lambda batch: None, id="mine")
            await until(lambda: counts(hub) == [])
    assert hub.meters.dropped == {"subscription ended": 1}


async def test_a_queue_that_somebody_deletes_is_made_again(target: Target) -> None:
    log = RecordingLog()
    hub = make_hub({"target": target}, endpoints=QUICK, log=log)
    async with hub.running():
        with session_of(hub) as session:
            session.subscribe("a/#", URL, id="mine")
            await trio.testing.wait_all_tasks_blocked()
            await session.delete_queue("$endpoint/mine")
            await until(lambda: counts(hub) == [(0, 0)])
            publish(session, b"1")
            await target.until(lambda: target.bodies == [b"1"])
    assert "endpoint failed" in log.told("error")


def lasting(folder: Path) -> dict[str, Any]:
    return {"hub": HubSettings(data=folder, durability="os", stop_deadline=2), "endpoints": QUICK}


async def test_what_waits_is_delivered_after_a_restart(target: Target, tmp_path: Path) -> None:
    target.answer = hang
    async with (hub := make_hub({"target": target}, **lasting(tmp_path))).running():
        with session_of(hub) as session:
            session.subscribe("a/#", URL, id="mine", durable=True)
            session.subscribe("a/#", URL + "/passing")
            publish(session, b"1", b"2")
            await session.commit().wait()
            hub.shutdown.request(0)
    log = RecordingLog()
    without = make_hub(**lasting(tmp_path), log=log)
    async with without.running():  # the plugin is not there: the messages stay
        with session_of(without) as session:
            publish(session, b"3")
        assert counts(without) == [(3, 0)]
    assert log.told("error") == ["endpoint can't be used"]
    target.batches.clear()
    target.answer = target.take
    async with (again := make_hub({"target": target}, **lasting(tmp_path))).running():
        await target.until(lambda: sorted(target.bodies) == [b"1", b"2", b"3"])
        await until(lambda: counts(again) == [(0, 0)])
    assert {url for url, _ in target.batches} == {URL}


async def test_a_route_delivers_and_keeps_what_waits(target: Target, tmp_path: Path) -> None:
    target.answer = hang
    route = RouteSettings.model_validate({"name": "out", "from": "a/#", "to": [URL]})
    settings = {**lasting(tmp_path), "routes": (route,)}
    async with (hub := make_hub({"target": target}, **settings)).running():
        with session_of(hub) as session:
            publish(session, b"1")
            await session.commit().wait()
            hub.shutdown.request(0)
    target.batches.clear()
    target.answer = target.take
    async with (again := make_hub({"target": target}, **settings)).running():
        await target.until(lambda: target.batches == [(URL, [b"1"])])
        await until(lambda: counts(again) == [(0, 0)])
    without_route = make_hub({"target": target}, **lasting(tmp_path))
    async with without_route.running():
        assert counts(without_route) == []


async def test_stopping_finishes_what_is_under_way(target: Target) -> None:
    finish = trio.Event()

    async def answer(messages: Sequence[Message]) -> Sequence[bool]:
        await finish.wait()
        return [True]

    target.answer = answer
    hub = make_hub({"target": target}, endpoints=QUICK)
    async with trio.open_nursery() as nursery:
        async with hub.running():
            with session_of(hub) as session:
                session.subscribe("a/#", URL)
                publish(session, b"1")
                await target.until(lambda: target.bodies == [b"1"])

            async def later() -> None:
                await hub.shutdown.wait()
                await trio.testing.wait_all_tasks_blocked()
                finish.set()

            nursery.start_soon(later)
        assert counts(hub) == [(0, 0)]


async def test_stopping_does_not_wait_for_ever(target: Target) -> None:
    target.answer = hang
    hub = make_hub(
        {"target": target},
        endpoints=QUICK,
        hub=HubSettings(durability="memory", stop_deadline=0.05),
    )
    with trio.fail_after(2):
        async with hub.running():
            with session_of(hub) as session:
                session.subscribe("a/#", URL)
                publish(session, b"1")
                await target.until(lambda: target.bodies == [b"1"])
    assert counts(hub) == [(1, 0)]
