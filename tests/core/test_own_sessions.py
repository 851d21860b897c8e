"""The sessions of a plugin that acts by itself."""

from hubbub import OwnSessions

from .hubs import make_hub


async def test_one_session_per_realm_until_they_are_closed() -> None:
    hub = make_hub()
    async with hub.running():
        sessions = OwnSessions(hub, "night-watch")
        session = sessions.of("default")
        assert sessions.of("default") is session
        assert sessions.of("other") is not session
        assert (session.principal.name, session.protocol, session.realm) == (
            "night-watch", "night-watch", "default",
        )  # fmt: skip
        assert session.allowed("configure", "$queue/anything")
        heard: list[object] = []
        session.subscribe("a/#", heard.append)
        assert hub.bus.subscriptions("default")
        sessions.close()
        assert not hub.bus.subscriptions("default")
