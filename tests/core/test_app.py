"""The hub as a whole: what it declares, keeps, tells observers, and survives."""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import pytest
import trio
import trio.testing

from hubbub import (
    Anonymous,
    BearerToken,
    Client,
    Credentials,
    Delivery,
    DeniedError,
    Endpoint,
    Engine,
    Hub,
    HubbubError,
    ListenerSettings,
    Message,
    Outcome,
    Permission,
    Principal,
    QueueSettings,
    Receipt,
    Server,
    Session,
    Transport,
    WebSocket,
    WebSocketProtocol,
    hookimpl,
    queue_address,
)
from hubbub.auth import ResourcePattern
from hubbub.config import HubSettings, PluginSettings, QueueSection, StreamSection
from hubbub.engine.embedded import EmbeddedEngine
from hubbub.engine.journal import MemoryJournal
from hubbub.hookspecs import Hooks
from hubbub.plugins import State
from hubbub.supervisor import StartError

from .hubs import RecordingLog, make_hub, session_of


def on_disk(folder: Path) -> dict[str, Any]:
    return {"hub": HubSettings(data=folder, durability="os", stop_deadline=2)}


def at(address: str, body: bytes = b"x", **fields: Any) -> Message:
    return Message(address=address, body=body, **fields)


class TestDeclarations:
    async def test_queues_and_streams_are_there_from_the_start(self) -> None:
        hub = make_hub(
            queues=(QueueSection(name="orders", lease=5, fifo=True), QueueSection(name="dead")),
            streams=(StreamSection(name="log", shards=3, retention=None, realm="other"),),
        )
        async with hub.running():
            with session_of(hub) as session, session_of(hub, realm="other") as other:
                assert [queue.name for queue in session.queues()] == ["dead", "orders"]
                found = session.find_queue("orders")
                assert found is not None
                assert found.settings == QueueSettings(lease=5_000, fifo=True)
                (stream,) = other.streams()
                assert (len(stream.shards()), stream.settings.retention) == (3, None)

    async def test_changed_settings_are_taken_over_and_messages_kept(self, tmp_path: Path) -> None:
        async with (
            hub := make_hub(queues=(QueueSection(name="q"),), **on_disk(tmp_path))
        ).running():
            with session_of(hub) as session:
                await session.publish([at("$queue/q", b"kept")]).commit.wait()
        changed = QueueSection(name="q", lease=1)
        stream = StreamSection(name="s", retention=5)
        hub = make_hub(queues=(changed,), streams=(stream,), **on_disk(tmp_path))
        async with hub.running():
            with session_of(hub) as session:
                assert session.find_queue("q").settings.lease == 1_000  # type: ignore[union-attr]
                (delivery,) = await session.receive("q")
                assert delivery.message.body == b"kept"
        stream = StreamSection(name="s", retention=9)
        hub = make_hub(streams=(stream,), **on_disk(tmp_path))
        async with hub.running():
            with session_of(hub) as session:
                assert session.find_stream("s").settings.retention == 9_000  # type: ignore[union-attr]
                assert session.find_queue("q") is not None  # what is no longer named stays


class TestRestart:
    async def test_retained_messages_and_durable_subscriptions_are_kept(
        self, tmp_path: Path
    ) -> None:
        async with (hub := make_hub(**on_disk(tmp_path))).running():
            with session_of(hub) as session:
                await session.create_queue("q", QueueSettings())
                session.subscribe("a/#", "$queue/q", durable=True, id="lasting")
                session.subscribe("b/#", "$queue/q", id="passing")
                session.publish([at("news", b"old", retain=True), at("news", b"new", retain=True)])
                session.publish([at("gone", b"x", retain=True), at("gone", b"", retain=True)])
        async with (hub := make_hub(**on_disk(tmp_path))).running():
            with session_of(hub) as session:
                assert [each.id for each in session.subscriptions()] == ["lasting"]
                assert [each.body for each in session.retained("#")] == [b"new"]
                result = session.publish([at("a/1"), at("b/1")])
                assert result.unmatched == (1,)
                assert session.unsubscribe("lasting")
        async with (hub := make_hub(**on_disk(tmp_path))).running():
            with session_of(hub) as session:
                assert session.subscriptions() == []
                assert len(await session.receive("q", 10)) == 1

    async def test_nothing_is_kept_in_memory(self) -> None:
        hub = make_hub()
        async with hub.running():
            assert hub.unready() == []
        assert hub.unready() == ["starting or stopping"]


class Watcher:
    """Observes everything."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    @hookimpl
    def hubbub_published(self, session: Session, messages: Sequence[Message]) -> None:
        self.seen.append(("published", session.client, [each.body for each in messages]))

    @hookimpl
    def hubbub_delivered(self, session: Session, deliveries: Sequence[Delivery]) -> None:
        bodies = [each.message.body for each in deliveries]
        self.seen.append(("delivered", session.client, bodies))

    @hookimpl
    def hubbub_settled(
        self, session: Session, receipts: Sequence[Receipt], outcome: Outcome
    ) -> None:
        self.seen.append(("settled", session.client, len(receipts), outcome))

    @hookimpl
    def hubbub_dropped(self, reason: str, count: int, address: str) -> None:
        self.seen.append(("dropped", reason, count, address))

    @hookimpl
    def hubbub_client_connected(self, client: Client) -> None:
        self.seen.append(("connected", client.id, client.protocol, client.peer, client.realm))

    @hookimpl
    def hubbub_client_disconnected(self, client: Client, reason: str) -> None:
        self.seen.append(("disconnected", client.id, reason))

    @hookimpl
    def hubbub_plugin_failed(self, plugin: str, error: BaseException, will_restart: bool) -> None:
        self.seen.append(("failed", plugin, str(error), will_restart))


class TestObservers:
    async def test_they_see_what_sessions_do(self) -> None:
        watcher = Watcher()
        async with (hub := make_hub({"watcher": watcher})).running():
            principal = Principal("user")
            session = hub.session(principal, protocol="test-1", client="c", peer="127.0.0.1:5")
            with session:
                await session.create_queue("q", QueueSettings(max_length=3))
                session.publish([at("$queue/q", b"1"), at("$queue/q", b"2")])
                first, second = await session.receive("q", 2)
                await session.settle([first.receipt])
                await session.settle([second.receipt], Outcome.RELEASE)
                session.publish([at("$queue/q", body) for body in (b"3", b"4", b"5")])
                consumption = session.consume("q", lambda deliveries: None)
                await trio.testing.wait_all_tasks_blocked()
                session.end_consumption(consumption)
                session.reason = "said goodbye"
        assert watcher.seen == [
            ("connected", "c", "test-1", "127.0.0.1:5", "default"),
            ("published", "c", [b"1", b"2"]),
            ("delivered", "c", [b"1", b"2"]),
            ("settled", "c", 1, Outcome.ACCEPT),
            ("settled", "c", 1, Outcome.RELEASE),
            ("dropped", "maxlen", 1, "$queue/q"),
            ("published", "c", [b"3", b"4", b"5"]),
            ("delivered", "c", [b"3", b"4", b"5"]),
            ("disconnected", "c", "said goodbye"),
        ]

    async def test_what_is_refused_is_not_published(self) -> None:
        watcher = Watcher()
        async with (hub := make_hub({"watcher": watcher})).running():
            with session_of(hub) as session:
                result = session.publish([at("a"), at("a+b"), at("c")])
                assert list(result.refused) == [1]
        assert ("published", "tester", [b"x", b"x"]) in watcher.seen

    async def test_one_that_raises_changes_nothing(self) -> None:
        class Broken:
            @hookimpl
            def hubbub_published(self, messages: Sequence[Message]) -> None:
                raise ZeroDivisionError("oh")

        watcher = Watcher()
        async with (hub := make_hub({"broken": Broken(), "watcher": watcher})).running():
            with session_of(hub) as session:
                assert session.publish([at("a")]).unmatched == (0,)
        assert ("failed", "broken", "oh", False) in watcher.seen
        assert ("published", "tester", [b"x"]) in watcher.seen


class TestServers:
    async def test_a_crash_restarts_one_while_the_other_serves(self) -> None:
        crash, starts = trio.Event(), trio.open_memory_channel[None](10)

        class Crashing:
            @hookimpl
            def hubbub_servers(self, hub: Hub) -> Iterable[Server]:
                async def serve(task_status: trio.TaskStatus[list[Endpoint]]) -> None:
                    task_status.started([Endpoint("Crashing", "tcp://127.0.0.1:1", "none")])
                    starts[0].send_nowait(None)
                    await (hub.shutdown.wait() if crash.is_set() else crash.wait())
                    if not hub.shutdown.requested:
                        raise RuntimeError("crashed")

                yield Server("crashing", serve)

        watcher = Watcher()
        hub = make_hub({"crashing": Crashing(), "echo": Echo(), "watcher": watcher})
        with trio.fail_after(10):
            async with hub.running():
                assert [each.protocol for each in hub.endpoints] == ["Crashing", "Echo"]
                stream = await trio.open_tcp_stream("127.0.0.1", port_of(hub, "Echo"))
                async with stream:
                    assert await echoed(stream, b"before")
                    await starts[1].receive()
                    crash.set()
                    while ("failed", "crashing", "crashed", True) not in watcher.seen:
                        await trio.lowlevel.checkpoint()
                    assert state_of(hub, "crashing") is State.RESTARTING
                    assert [each.protocol for each in hub.endpoints] == ["Echo"]
                    assert await echoed(stream, b"meanwhile")
                    await starts[1].receive()
                    while len(hub.endpoints) < 2:
                        await trio.lowlevel.checkpoint()
                    assert state_of(hub, "crashing") is State.RUNNING
        assert hub.manager["crashing"].restarts == 1

    async def test_a_crashing_connection_ends_alone(self) -> None:
        log = RecordingLog()
        async with (hub := make_hub({"echo": Echo()}, log=log)).running():
            port = port_of(hub, "Echo")
            async with (
                await trio.open_tcp_stream("127.0.0.1", port) as one,
                await trio.open_tcp_stream("127.0.0.1", port) as two,
            ):
                await one.send_all(b"crash")
                with trio.fail_after(5), suppress(trio.BrokenResourceError):
                    assert await one.receive_some() == b""
                assert await echoed(two, b"still here")
        assert log.told("error") == ["connection failed"]

    async def test_a_port_that_is_taken_stops_the_start_and_nothing_is_left_running(self) -> None:
        ended: list[str] = []
        async with (first := make_hub({"echo": Echo()})).running():
            taken = port_of(first, "Echo")
            with pytest.raises(StartError, match="Address already in use"):
                async with make_hub({"echo": Echo(taken), "life": Life(ended)}).running():
                    raise AssertionError
        assert ended == ["entered", "left"]

    async def test_with_retry_the_rest_starts(self) -> None:
        async with (first := make_hub({"echo": Echo()})).running():
            plugins = {"echo": Echo(port_of(first, "Echo")), "other": Echo()}
            settings = PluginSettings(enable=[], start_failure="retry")
            async with (hub := make_hub(plugins, plugins=settings)).running():
                assert len(hub.endpoints) == 1
                assert hub.manager["echo"].state is State.RESTARTING


class Echo:
    """A protocol that says again what it hears, and crashes when told to."""

    def __init__(self, port: int = 0) -> None:
        self._settings = ListenerSettings(bind=[f"127.0.0.1:{port}"])

    @hookimpl
    def hubbub_servers(self, hub: Hub) -> Iterable[Server]:
        async def converse(transport: Transport) -> None:
            while data := await transport.receive():
                if data == b"crash":
                    raise RuntimeError("as told")
                transport.write(data)

        async def serve(task_status: trio.TaskStatus[list[Endpoint]]) -> None:
            await hub.serve_tcp(
                converse,
                self._settings,
                lambda address: Endpoint("Echo", f"tcp://{address}", "nc"),
                name="echo",
                task_status=task_status,
            )

        yield Server("echo", serve)


def port_of(hub: Hub, protocol: str) -> int:
    (url,) = [each.url for each in hub.endpoints if each.protocol == protocol]
    return int(url.rpartition(":")[2])


def state_of(hub: Hub, plugin: str) -> State:
    return hub.manager[plugin].state


async def echoed(stream: trio.SocketStream, data: bytes) -> bool:
    await stream.send_all(data)
    got = b""
    with trio.fail_after(5):
        while len(got) < len(data):
            got += await stream.receive_some()
    return got == data


class Life:
    """A lifespan that notes what happens; it may hang when it should end."""

    def __init__(self, seen: list[str], *, hangs: bool = False) -> None:
        self.seen = seen
        self.hangs = hangs

    @hookimpl
    @asynccontextmanager
    async def hubbub_lifespan(self, hub: Hub) -> AsyncIterator[None]:
        self.seen.append("entered")
        try:
            yield
            if self.hangs:
                await trio.sleep_forever()
        finally:
            self.seen.append("left")


class TestLifespans:
    async def test_they_surround_the_servers(self) -> None:
        seen: list[str] = []

        class Serving:
            @hookimpl
            def hubbub_servers(self, hub: Hub) -> Iterable[Server]:
                async def serve(task_status: trio.TaskStatus[list[Endpoint]]) -> None:
                    seen.append("serving")
                    task_status.started([])
                    await hub.shutdown.wait()
                    seen.append("stopped")

                yield Server("serving", serve)

        async with make_hub({"life": Life(seen), "serving": Serving()}).running():
            seen.append("ready")
        assert seen == ["entered", "serving", "ready", "stopped", "left"]

    async def test_one_that_does_not_end_is_cancelled_at_the_stop_deadline(self) -> None:
        seen: list[str] = []
        settings = HubSettings(durability="memory", stop_deadline=0.05)
        with trio.fail_after(5):
            async with make_hub({"life": Life(seen, hangs=True)}, hub=settings).running():
                pass
        assert seen == ["entered", "left"]


class TestEngines:
    async def test_a_plugin_brings_one(self) -> None:
        made: list[Engine] = []

        class Plugin:
            @hookimpl
            def hubbub_engines(self, hub: Hub) -> dict[str, Callable[[], Engine]]:
                def make() -> Engine:
                    made.append(EmbeddedEngine(MemoryJournal(), hub.clock, memory_limit=1 << 20))
                    return made[0]

                return {"mine": make}

        hub = make_hub({"plugin": Plugin()}, hub=HubSettings(engine="mine"))
        async with hub.running():
            assert [hub.engine] == made

    def test_an_unknown_one(self) -> None:
        with pytest.raises(HubbubError, match="no engine 'none'; there are: embedded"):
            make_hub(hub=HubSettings(engine="none"))


class TestAuthority:
    class Guard:
        @hookimpl
        async def hubbub_authenticate(self, credentials: Credentials) -> Principal | None:
            match credentials:
                case BearerToken("sesame"):
                    return Principal("ali")
            return None

        @hookimpl
        def hubbub_authorize(self, action: str, resource: str) -> Literal[False] | None:
            return False if resource.startswith("secret/") else None

    async def test_plugins_say_who_and_what(self) -> None:
        async with (hub := make_hub({"guard": self.Guard()})).running():
            assert await hub.authenticate(BearerToken("wrong")) is None
            assert await hub.authenticate(Anonymous(peer="192.0.2.1:5")) is None
            ali = await hub.authenticate(BearerToken("sesame"))
            assert ali is not None
            with hub.session(ali, protocol="test-1", client="c") as session:
                result = session.publish([at("a"), at("secret/a")])
                assert isinstance(result.refused[1], DeniedError)
                with pytest.raises(DeniedError):
                    session.subscribe("secret/#", lambda batch: None)
                assert session.allowed("publish", "a")
        assert hub.meters.protocol("test-1").denied == 2

    async def test_a_queue_is_the_same_resource_by_name_and_by_address(self) -> None:
        async with (hub := make_hub({"guard": OddGuard()})).running():
            with session_of(hub) as session:
                with pytest.raises(DeniedError):
                    await session.receive("a#b+%2B")
                (error,) = session.publish([at(str(queue_address("a#b+%2B")))]).refused.values()
                assert isinstance(error, DeniedError)


class OddGuard:
    """Denies one queue, whose name has to be escaped."""

    @hookimpl
    def hubbub_authorize(self, resource: str) -> Literal[False] | None:
        return False if resource == "$queue/a%23b%2B%252B" else None


class OverWebSocket:
    """Brings a protocol for the port of the HTTP API; `broken` makes it raise instead."""

    def __init__(self, *, broken: bool = False) -> None:
        self._broken = broken

    @hookimpl
    def hubbub_websockets(self, hub: Hub) -> Iterable[WebSocketProtocol]:
        if self._broken:
            raise ZeroDivisionError

        async def echo(websocket: WebSocket) -> None:
            websocket.send(await websocket.receive())

        yield WebSocketProtocol(("echo",), ("/echo",), echo)


async def test_protocols_over_websocket_are_gathered() -> None:
    plugins = {"broken": OverWebSocket(broken=True), "echo": OverWebSocket()}
    hub = make_hub(plugins, log=RecordingLog())
    (protocol,) = hub.websocket_protocols()
    assert (protocol.subprotocols, protocol.paths) == (("echo",), ("/echo",))
    assert state_of(hub, "broken") is State.FAILED


@pytest.mark.parametrize("name", [name for name in vars(Hooks) if name.startswith("hubbub_")])
def test_every_hook_has_a_test(name: str) -> None:
    files = Path(__file__).parent.glob("test_*.py")
    assert any(re.search(rf"def {name}\(\s*self", path.read_text()) for path in files)


async def test_a_dead_letter_address_needs_the_permission_to_publish_there() -> None:
    patterns = (ResourcePattern("$queue/mine"), ResourcePattern("a/#"))
    principal = Principal("somebody", permissions=(Permission(frozenset({"*"}), patterns),))
    hub = make_hub()
    async with hub.running():
        with hub.session(principal, protocol="test-1", client="c") as session:
            theirs = QueueSettings(dead_letter="$queue/theirs")
            with pytest.raises(DeniedError, match="publish"):
                await session.create_queue("mine", theirs)
            assert session.find_queue("mine") is None
            await session.create_queue("mine", QueueSettings(dead_letter="a/b"))
            with pytest.raises(DeniedError, match="publish"):
                await session.configure_queue("mine", theirs)
            session.adopt("$queue/theirs")
            await session.configure_queue("mine", theirs)
            session.disown("$queue/theirs")
            # What is there already needs nothing, and neither does what ends it.
            await session.configure_queue("mine", QueueSettings(dead_letter="$queue/theirs"))
            await session.configure_queue("mine", QueueSettings())
            with pytest.raises(DeniedError, match="publish"):
                await session.configure_queue("mine", theirs)
