"""The [[route]] entries: what passes, what is set, what is refused."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from hubbub import Hub, Message, QueueSettings, RefusedError, hookimpl
from hubbub.config import QueueSection, RouteSettings
from hubbub.hookspecs import FilterFactory, Transform

from .hubs import RecordingLog, make_hub, session_of


class Plugin:
    @hookimpl
    def hubbub_transforms(self) -> dict[str, Transform]:
        def upper(message: Message, options: Any) -> Message:
            body = message.body.upper() * options.get("times", 1)
            return msgspec.structs.replace(message, body=body)

        def odd(message: Message, options: Any) -> Message | None:
            return message if len(message.body) % 2 else None

        def broken(message: Message, options: Any) -> Message:
            if message.body == b"bad":
                raise ZeroDivisionError
            return message

        return {"upper": upper, "odd": odd, "broken": broken}

    @hookimpl
    def hubbub_filters(self) -> dict[str, FilterFactory]:
        def larger(spec: Any) -> Callable[[Message], bool]:
            if not isinstance(spec, int):
                raise ValueError("no number")  # noqa: TRY004 - as the hook says
            return lambda message: len(message.body) > spec

        return {"larger": larger, "brittle": lambda spec: lambda message: message.body[0] > 0}


def make(*routes: dict[str, Any], log: Any = None, **settings: Any) -> Hub:
    return make_hub(
        {"example": Plugin()},
        log=log,
        routes=tuple(
            RouteSettings.model_validate({"name": f"r{number}", "from": "in/#", **route})
            for number, route in enumerate(routes)
        ),
        queues=(
            QueueSection(name="out"),
            QueueSection(name="small", max_bytes=3, overflow="reject"),
        ),
        **settings,
    )


async def passed(hub: Hub, *messages: Message, queue: str = "out") -> list[Message]:
    """Publish messages, and return what a queue has then."""
    async with hub.running():
        with session_of(hub) as session:
            assert not session.publish(messages).refused
            return [each.message for each in await session.receive(queue, 10)]


def message(body: bytes = b"x", address: str = "in/a/b", **fields: Any) -> Message:
    return Message(address=address, body=body, **fields)


async def test_what_changes_nothing_passes_the_message_itself() -> None:
    sent = message(headers={"k": 1}, content_type="text/plain")
    (got,) = await passed(make({"to": "$queue/out"}), sent)
    assert got is sent


async def test_only_what_the_pattern_and_the_filter_want() -> None:
    hub = make({"to": "$queue/out", "filter": {"policy": {"level": ["high"]}}})
    got = await passed(
        hub,
        message(b"1", headers={"level": "high"}),
        message(b"2", headers={"level": "low"}),
        message(b"3", address="elsewhere", headers={"level": "high"}),
    )
    assert [each.body for each in got] == [b"1"]


async def test_the_filter_of_a_plugin() -> None:
    got = await passed(
        make({"to": "$queue/out", "filter": {"larger": 1}}), message(), message(b"xx")
    )
    assert [each.body for each in got] == [b"xx"]


async def test_a_filter_that_raises_does_not_match_and_is_told() -> None:
    log = RecordingLog()
    hub = make({"to": "$queue/out", "filter": {"brittle": None}}, log=log)
    got = await passed(hub, message(b"1"), message(b""), message(b"2"))
    assert [each.body for each in got] == [b"1", b"2"]
    assert log.told("error") == ["a plugin's function failed"]


async def test_filters_and_transforms_that_are_not_there_stop_the_start() -> None:
    for route, says in (
        ({"filter": {"larger": "x"}}, "no number"),
        ({"filter": {"unknown": 1}}, "no plugin knows filters of the kind 'unknown'"),
        ({"transform": [{"use": "none"}]}, "route 'r0': no plugin has a transform 'none'"),
    ):
        with pytest.raises(RefusedError, match=says):
            async with make({"to": "$queue/out", **route}).running():
                raise AssertionError


async def test_key_headers_and_content_type_are_set_from_templates() -> None:
    hub = make(
        {
            "to": "$queue/out",
            "map": {
                "key": "{topic[1]}",
                "content_type": "{header.kind|application/json}",
                "headers": {"from": "{topic}", "lacking": "{header.none}", "who": "{client}"},
            },
        }
    )
    sent = message(headers={"old": "kept", "from": "changed"}, group="g")
    (got,) = await passed(hub, sent)
    assert (got.group, got.content_type) == ("a", "application/json")
    assert got.headers == {"old": "kept", "from": "in/a/b", "who": "tester"}
    assert sent.headers == {"old": "kept", "from": "changed"}
    assert got.id != sent.id


async def test_a_template_without_its_field_leaves_what_was() -> None:
    hub = make({"to": "$queue/out", "map": {"key": "{header.x}", "content_type": "{header.x}"}})
    (got,) = await passed(hub, message(group="g", content_type="text/plain"))
    assert (got.group, got.content_type) == ("g", "text/plain")


async def test_transforms_are_applied_in_order_and_may_drop() -> None:
    use = [{"use": "odd"}, {"use": "upper", "options": {"times": 2}}]
    got = await passed(
        make({"to": "$queue/out", "transform": use}), message(b"abc"), message(b"ab")
    )
    assert [each.body for each in got] == [b"ABCABC"]


async def test_a_transform_that_raises_drops_its_message_alone_and_is_told() -> None:
    log = RecordingLog()
    hub = make({"to": "$queue/out", "transform": [{"use": "broken"}]}, log=log)
    got = await passed(hub, message(b"1"), message(b"bad"), message(b"2"))
    assert [each.body for each in got] == [b"1", b"2"]
    assert hub.meters.dropped == {"transform failed": 1}
    assert log.told("error") == ["transform failed"]


@pytest.mark.parametrize("transform", [[], [{"use": "odd"}]])
async def test_what_the_target_refuses_is_refused_to_the_publisher(
    transform: list[dict[str, Any]],
) -> None:
    hub = make({"to": "$queue/small", "transform": transform})
    async with hub.running():
        with session_of(hub) as session:
            result = session.publish([message(b"1"), message(b"11111"), message(b"2")])
            assert list(result.refused) == [1]
            assert session.find_queue("small").counts().visible == 2  # type: ignore[union-attr]


async def test_a_route_to_several_targets_and_on_to_another_route() -> None:
    hub = make({"to": ["$queue/out", "mid/x"]}, {"from": "mid/#", "to": "$queue/small"})
    async with hub.running():
        with session_of(hub) as session:
            session.publish([message(b"1")])
            (one,) = await session.receive("out")
            (two,) = await session.receive("small")
            assert (one.message.address, two.message.address) == ("in/a/b", "mid/x")


async def test_a_route_belongs_to_its_realm() -> None:
    hub = make({"to": "$queue/out", "realm": "other"})
    async with hub.running():
        with session_of(hub) as here, session_of(hub, realm="other") as there:
            await there.create_queue("out", QueueSettings())
            here.publish([message(b"1")])
            there.publish([message(b"2")])
            (got,) = await there.receive("out")
            assert got.message.body == b"2"
            assert await here.receive("out") == []
