"""Live subscriptions: functions that take batches, and may owe the publisher a commit."""

from hubbub import Batch, Enqueued, Hub, Message, Principal, QueueSettings, load_config

SETTINGS: dict[str, dict[str, object]] = {
    "hub": {"durability": "memory"},
    "log": {"level": "error"},
    "admin": {"enabled": False},
    "plugins": {"enable": []},
}


async def test_a_publication_waits_for_what_a_function_enqueued() -> None:
    hub = Hub(load_config(settings=SETTINGS))
    everybody = Principal("test", realms=("*",))
    async with hub.running():
        with hub.session(everybody, protocol="test", client="test") as session:
            await session.create_queue("copies", QueueSettings(max_length=1, overflow="reject"))

            def copy(batch: Batch) -> Enqueued:
                return session.enqueue("copies", batch.messages)

            session.subscribe("a/#", copy)
            session.subscribe("a/#", lambda batch: None)
            publication = session.publish(
                [Message(address="a/b", body=b"1"), Message(address="a/b", body=b"2")]
            )
            await publication.commit.wait()
            assert list(publication.refused) == [1]
            assert session.queues("copies")[0].counts().visible == 1
