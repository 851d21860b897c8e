"""Enhanced authentication of MQTT 5.0: methods, AUTH packets, authenticating again (4.12)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scramp import ScramClient

from hubbub import Attempt, Authenticated, Challenge, Permission, Principal, hookimpl
from hubbub.auth import ResourcePattern
from hubbub.testing.hub import ServedHub
from hubbub_mqtt import packets as p
from hubbub_mqtt.properties import Properties

from .conftest import Connect, Serve
from .raw import Raw

USERS = """
[auth]
anonymous = "never"

[[users]]
name = "sensor"
password = "secret"

[[users]]
name = "argon"
password_hash = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$bnJhdmVsbGluZw"
"""


class Exchange:
    """Asks for the words of a secret one by one; the last one says who it is."""

    def __init__(self, method: Method, attempt: Attempt) -> None:
        self.method = method
        self.said: list[bytes] = []
        method.attempts.append(attempt)

    async def step(self, response: bytes | None) -> Challenge | Authenticated | None:
        if response is not None:
            self.said.append(response)
        if response == b"wrong":
            return None
        if len(self.said) < 3:
            return Challenge(b"word %d" % (len(self.said) + 1))
        return Authenticated(self.method.principal_of(self.said[2].decode()), b"welcome")


class Method:
    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.topics = {"ali": "a/#"}

    def principal_of(self, name: str) -> Principal:
        pattern = ResourcePattern(self.topics.get(name, "#"))
        allowed = Permission(frozenset({"publish", "subscribe"}), (pattern,))
        return Principal(name, permissions=(allowed,))

    @hookimpl
    def hubbub_mechanisms(self) -> dict[str, Callable[[Attempt], Exchange]]:
        return {"words": lambda attempt: Exchange(self, attempt)}


@pytest.fixture
def method() -> Method:
    return Method()


@pytest.fixture
def guarded(serve: Serve, method: Method) -> ServedHub:
    return serve(file=USERS, plugins={"words": method})


def auth(reason: int, data: bytes | None = None, method: str | None = "words") -> p.Auth:
    return p.Auth(reason, Properties(authentication_method=method, authentication_data=data))


def connect_packet(method: str = "words", data: bytes | None = None) -> p.Connect:
    fields = Properties(authentication_method=method, authentication_data=data)
    return p.Connect("client", properties=fields)


def log_in(raw: Raw, name: bytes = b"ali") -> p.Connack:
    """Say the words, first one with CONNECT."""
    raw.send(connect_packet(data=b"open"))
    for number, word in ((2, b"sesame"), (3, name)):
        assert raw.expect(p.Auth) == auth(0x18, b"word %d" % number)
        raw.send(auth(0x18, word))
    return raw.expect(p.Connack)


def test_a_conversation(guarded: ServedHub, method: Method) -> None:
    with Raw(guarded.address("MQTT")) as raw:
        answer = log_in(raw)
        assert answer.reason == 0
        assert answer.properties.authentication_method == "words"  # [MQTT-4.12.0-5]
        assert answer.properties.authentication_data == b"welcome"
        raw.subscribe("a/b")
        raw.publish("a/b", b"1", 0)
        assert raw.receive().payload == b"1"
        (attempt,) = method.attempts
        assert attempt.mechanism == "words"
        assert attempt.protocol == "mqtt-5"
        assert attempt.peer == "{}:{}".format(*raw.sock.getsockname())


def test_without_first_data(guarded: ServedHub) -> None:
    with Raw(guarded.address("MQTT")) as raw:
        raw.send(connect_packet())
        assert raw.expect(p.Auth) == auth(0x18, b"word 1")
        raw.send(auth(0x18, b""))  # which is data, too
        assert raw.expect(p.Auth) == auth(0x18, b"word 2")


def test_a_client_that_is_refused(guarded: ServedHub) -> None:
    with Raw(guarded.address("MQTT")) as raw:
        raw.send(connect_packet(data=b"open"))
        raw.expect(p.Auth)
        raw.send(auth(0x18, b"wrong"))
        assert raw.expect(p.Connack).reason == 0x87  # [MQTT-4.12.0-4]
        assert raw.closed() == []


def test_methods_that_nobody_offers(guarded: ServedHub, client: Connect) -> None:
    for raw in (client(), Raw(guarded.address("MQTT"))):
        with raw:
            raw.send(connect_packet("SCRAM-SHA-1"))
            assert raw.expect(p.Connack).reason == 0x8C  # [MQTT-4.12.0-1]
            assert raw.closed() == []


@pytest.mark.parametrize(
    ("packets", "reason"),
    [
        ((auth(0x18, b"x", "other"),), 0x8C),
        ((auth(0x19, b"x"),), 0x82),
        ((auth(0, b"x"),), 0x82),
        ((p.Auth(0x18, Properties(authentication_data=b"x")),), 0x82),
        ((p.Pingreq(),), 0x82),  # [MQTT-3.1.2-30]
        ((p.Publish("a/b", b"", 0),), 0x82),
        ((connect_packet(),), 0x82),
        ((auth(0x18, b"1"), p.Pingreq()), 0x82),
        ((auth(0x18, b"1"), auth(0x18, b"ali"), auth(0x18, b"more")), 0x82),
    ],
    ids=[
        "other method", "again", "success", "no method", "ping", "publish", "connect",
        "ping after", "too much",
    ],
)  # fmt: skip
def test_what_may_not_come_before_the_connack(
    guarded: ServedHub, packets: tuple[p.Packet, ...], reason: int
) -> None:
    with Raw(guarded.address("MQTT")) as raw:
        raw.send(connect_packet(data=b"open"))
        raw.expect(p.Auth)
        raw.send(*packets)
        *between, answer = raw.closed()
        assert all(isinstance(each, p.Auth) for each in between)
        assert isinstance(answer, p.Connack)
        assert answer.reason == reason


@pytest.mark.parametrize("along", [(), (auth(0x18, b"1"),)], ids=["alone", "with AUTH"])
def test_disconnecting_instead(guarded: ServedHub, along: tuple[p.Packet, ...]) -> None:
    with Raw(guarded.address("MQTT")) as raw:
        raw.send(connect_packet(data=b"open"))
        raw.expect(p.Auth)
        raw.send(*along, p.Disconnect())
        assert raw.closed() == []
    with Raw(guarded.address("MQTT")) as raw:
        assert log_in(raw).reason == 0


def test_it_has_to_end_in_time(serve: Serve, method: Method) -> None:
    hub = serve(plugins={"words": method}, mqtt={"connect_timeout": 0.3})
    with Raw(hub.address("MQTT")) as raw:
        raw.send(connect_packet())
        raw.expect(p.Auth)
        assert raw.closed() == []


class TestAgain:
    def say(self, raw: Raw, name: bytes) -> p.Packet | None:
        raw.send(auth(0x19, b"open"))
        for number, word in ((2, b"sesame"), (3, name)):
            assert raw.expect(p.Auth) == auth(0x18, b"word %d" % number)
            raw.quiet()  # other packets may come between (4.12.1)
            raw.send(auth(0x18, word))
        return raw.read()

    def test_with_other_permissions(self, guarded: ServedHub, method: Method) -> None:
        with Raw(guarded.address("MQTT")) as raw:
            log_in(raw)
            assert raw.publish("b/1") == 0x87
            method.topics["ali"] = "b/#"
            assert self.say(raw, b"ali") == auth(0, b"welcome")
            assert raw.publish("b/1") == 0x10
            assert raw.publish("a/1") == 0x87
            assert self.say(raw, b"ali") == auth(0, b"welcome")

    def test_as_another_user(self, guarded: ServedHub) -> None:
        with Raw(guarded.address("MQTT")) as raw:
            log_in(raw)
            answer = self.say(raw, b"bob")
            assert isinstance(answer, p.Disconnect)
            assert answer.reason == 0x87
            assert raw.closed() == []

    def test_in_vain(self, guarded: ServedHub) -> None:
        with Raw(guarded.address("MQTT")) as raw:
            log_in(raw)
            answer = self.say(raw, b"wrong")
            assert isinstance(answer, p.Disconnect)  # [MQTT-4.12.1-2]
            assert answer.reason == 0x87
            assert raw.closed() == []

    @pytest.mark.parametrize(
        ("packet", "reason"),
        [(auth(0x18, b"x"), 0x82), (auth(0x19, b"x", "other"), 0x8C), (auth(0), 0x82)],
    )
    def test_out_of_turn(self, guarded: ServedHub, packet: p.Auth, reason: int) -> None:
        with Raw(guarded.address("MQTT")) as raw:
            log_in(raw)
            raw.send(packet)
            assert raw.expect(p.Disconnect).reason == reason
            assert raw.closed() == []

    def test_without_a_method(self, client: Connect) -> None:
        raw: Raw = client()
        raw.connect()
        raw.send(auth(0x19))
        assert raw.expect(p.Disconnect).reason == 0x82  # [MQTT-4.12.0-7]


class TestScram:
    def converse(self, raw: Raw, scram: ScramClient, first: p.Packet) -> p.Packet | None:
        raw.send(first)
        data = raw.expect(p.Auth).properties.authentication_data
        assert data is not None
        scram.set_server_first(data.decode())
        raw.send(auth(0x18, scram.get_client_final().encode(), "SCRAM-SHA-256"))
        return raw.read()

    @pytest.mark.parametrize("user", ["sensor", "argon", "unknown"])
    @pytest.mark.parametrize("password", ["secret", "guess"])
    def test_a_login(self, guarded: ServedHub, user: str, password: str) -> None:
        with Raw(guarded.address("MQTT")) as raw:
            scram = ScramClient(["SCRAM-SHA-256"], user, password)
            first = connect_packet("SCRAM-SHA-256", scram.get_client_first().encode())
            answer = self.converse(raw, scram, first)
            assert isinstance(answer, p.Connack)
            if (user, password) != ("sensor", "secret"):
                assert answer.reason == 0x87
                return
            assert answer.reason == 0
            self.check(scram, answer)
            scram = ScramClient(["SCRAM-SHA-256"], user, password)
            again = auth(0x19, scram.get_client_first().encode(), "SCRAM-SHA-256")
            answer = self.converse(raw, scram, again)
            assert isinstance(answer, p.Auth)
            assert answer.reason == 0
            self.check(scram, answer)
            raw.quiet()

    def check(self, scram: ScramClient, answer: p.Connack | p.Auth) -> None:
        final = answer.properties.authentication_data
        assert final is not None
        scram.set_server_final(final.decode())
