"""Mechanisms in steps: `connection.secure`, SCRAM-SHA-256, and what plugins bring."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import amqp.spec  # type: ignore[import-untyped]
import pika  # type: ignore[import-untyped]
import pika.credentials  # type: ignore[import-untyped]
import pika.exceptions  # type: ignore[import-untyped]
import pytest
import trio
from scramp import ScramClient

import amqp
from hubbub import Attempt, Authenticated, Challenge, Principal, hookimpl, load_config
from hubbub.testing.hub import ServedHub, serve_in_thread
from hubbub_amqp import methods as m
from hubbub_amqp.wire import Table

from .wire import Greeted

SCRAM = "SCRAM-SHA-256"
USERS = """
[auth]
anonymous = "never"

[[users]]
name = "sensor"
password = "secret"
"""
EVERYTHING = ("*",)


class Words:
    """Asks for three words; the last one says who it is, and is answered with a welcome."""

    def __init__(self, plugin: Plugin, attempt: Attempt) -> None:
        plugin.attempts.append(attempt)
        self._plugin = plugin
        self._said: list[bytes] = []

    async def step(self, response: bytes | None) -> Challenge | Authenticated | None:
        self._plugin.responses.append(response)
        if response is not None:
            self._said.append(response)
        match response:
            case b"wrong":
                return None
            case b"crash":
                raise RuntimeError("broken")
            case b"long":
                return Challenge(bytes(4080))
            case b"longer":
                return Challenge(bytes(4081))
            case b"sleep":
                await trio.sleep_forever()
        if len(self._said) < 3:
            return Challenge(b"word %d" % (len(self._said) + 1))
        return Authenticated(Principal(self._said[2].decode(), realms=EVERYTHING), b"welcome")


class Token:
    """Takes a token, and needs nothing more."""

    def __init__(self, _: Attempt) -> None:
        pass

    async def step(self, response: bytes | None) -> Authenticated | None:
        return Authenticated(Principal("bearer", realms=EVERYTHING)) if response == b"t0k" else None


class Plugin:
    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.responses: list[bytes | None] = []

    @hookimpl
    def hubbub_mechanisms(self) -> dict[str, Callable[[Attempt], Any]]:
        return {"TOKEN": Token, "WORDS": lambda attempt: Words(self, attempt), "two words": Token}


@contextmanager
def serving(folder: Path, plugin: Plugin, users: str = USERS, **amqp: Any) -> Iterator[ServedHub]:
    path = folder / "hubbub.toml"
    path.write_text(users)
    config = load_config(
        path,
        settings={
            "hub": {"durability": "memory", "data": str(folder / "data")},
            "log": {"level": "error"},
            "admin": {"enabled": False},
            "plugins": {"enable": ["amqp"]},
            "amqp": {"listener": {"bind": ["127.0.0.1:0"]}, **amqp},
        },
    )
    with serve_in_thread(config, plugins={"words": plugin}) as hub:
        yield hub


@pytest.fixture
def plugin() -> Plugin:
    return Plugin()


@pytest.fixture
def hub(tmp_path: Path, plugin: Plugin) -> Iterator[ServedHub]:
    with serving(tmp_path, plugin) as served:
        yield served


@pytest.fixture
def client(hub: ServedHub) -> Iterator[Greeted]:
    greeted = Greeted(hub.address("AMQP"))
    yield greeted
    greeted.drop()


def refusal(mechanism: str) -> tuple[int, str]:
    return 403, (
        f"ACCESS_REFUSED - Login was refused using authentication mechanism {mechanism}. "
        "For details see the broker logfile."
    )


def respond(client: Greeted, response: bytes) -> None:
    client.say(m.ConnectionSecureOk(response), 0)


def test_what_is_offered(client: Greeted) -> None:
    assert client.mechanisms == f"PLAIN AMQPLAIN {SCRAM} TOKEN WORDS"  # no name with a space


def test_scram_is_not_offered_where_nobody_can_use_it(tmp_path: Path, plugin: Plugin) -> None:
    with serving(tmp_path, plugin, users="") as hub:
        client = Greeted(hub.address("AMQP"))
        assert client.mechanisms == "PLAIN AMQPLAIN TOKEN WORDS"
        client.drop()


def test_a_conversation(hub: ServedHub, client: Greeted, plugin: Plugin) -> None:
    client.log_in("WORDS", b"open")
    assert client.expect(m.ConnectionSecure).challenge == b"word 2"
    respond(client, b"sesame")
    assert client.expect(m.ConnectionSecure).challenge == b"word 3"
    respond(client, b"ali")
    assert client.expect(m.ConnectionSecure).challenge == b"welcome"
    respond(client, b"")
    client.open()
    client.expect(m.ConnectionOpenOk)
    (attempt,) = plugin.attempts
    assert (attempt.mechanism, attempt.protocol) == ("WORDS", "amqp-0-9-1")
    assert plugin.responses == [b"open", b"sesame", b"ali"]
    client.close()


def test_an_empty_first_response_is_none(client: Greeted, plugin: Plugin) -> None:
    client.log_in("WORDS", b"")
    assert client.expect(m.ConnectionSecure).challenge == b"word 1"
    respond(client, b"")  # which is a response
    assert client.expect(m.ConnectionSecure).challenge == b"word 2"
    assert plugin.responses == [None, b""]


@pytest.mark.parametrize("word", [b"wrong", b"crash"])
def test_clients_that_are_refused(client: Greeted, word: bytes) -> None:
    client.log_in("WORDS", b"open")
    client.expect(m.ConnectionSecure)
    respond(client, word)
    assert client.refused() == refusal("WORDS")


def test_clients_that_know_no_close_are_cut_off(client: Greeted) -> None:
    client.log_in("WORDS", b"wrong", {})
    with pytest.raises(EOFError):
        client.expect(m.ConnectionClose)


def test_the_last_challenge_takes_no_data(client: Greeted) -> None:
    client.log_in("WORDS", b"open")
    for word in (b"sesame", b"ali", b"more"):
        client.expect(m.ConnectionSecure)
        respond(client, word)
    assert client.refused() == refusal("WORDS")


def test_a_mechanism_that_is_not_there(client: Greeted) -> None:
    client.log_in("two words", b"t0k")
    assert client.refused() == (
        503, "COMMAND_INVALID - unknown authentication mechanism 'two words'",
    )  # fmt: skip


def test_challenges_fit_into_the_smallest_frame(client: Greeted) -> None:
    client.log_in("WORDS", b"long")
    assert len(client.expect(m.ConnectionSecure).challenge) == 4080
    respond(client, b"longer")
    code, text = client.refused()
    assert code == 541
    assert "challenge has 4081 bytes" in text


def test_responses_fit_into_a_frame(client: Greeted) -> None:
    client.log_in("WORDS", b"open")
    client.expect(m.ConnectionSecure)
    respond(client, bytes(10_000))
    assert client.refused()[0] == 501


def test_steps_are_bounded(client: Greeted) -> None:
    client.log_in("WORDS", b"long")
    for _ in range(32):
        client.expect(m.ConnectionSecure)
        respond(client, b"long")
    assert client.refused() == refusal("WORDS")


@pytest.mark.parametrize("word", [b"open", b"sleep"])
def test_it_has_to_end_in_time(tmp_path: Path, plugin: Plugin, word: bytes) -> None:
    with serving(tmp_path, plugin, handshake_timeout=0.3) as hub:
        client = Greeted(hub.address("AMQP"))
        client.log_in("WORDS", word)
        if word == b"open":
            client.expect(m.ConnectionSecure)
        with pytest.raises(EOFError):
            client.expect(m.ConnectionSecure)
        client.drop()


@pytest.mark.parametrize(
    "method",
    [m.ConnectionStartOk(Table(), "PLAIN", b"", "en_US"), m.ConnectionTuneOk(0, 0, 0)],
    ids=["start-ok", "tune-ok"],
)
def test_nothing_else_may_come_between(client: Greeted, method: m.Method) -> None:
    client.log_in("WORDS", b"open")
    client.expect(m.ConnectionSecure)
    client.say(method, 0)
    code, text = client.refused()
    assert (code, text) == (
        504, "CHANNEL_ERROR - unexpected method in connection state securing",
    )  # fmt: skip


class TestScram:
    def test_by_hand(self, client: Greeted) -> None:
        scram = ScramClient([SCRAM], "sensor", "secret")
        client.log_in(SCRAM, scram.get_client_first().encode())
        scram.set_server_first(client.expect(m.ConnectionSecure).challenge.decode())
        respond(client, scram.get_client_final().encode())
        scram.set_server_final(client.expect(m.ConnectionSecure).challenge.decode())
        respond(client, b"")
        client.open()
        client.expect(m.ConnectionOpenOk)
        client.close()

    @pytest.mark.parametrize("name", ["sensor", "nobody"])
    def test_a_wrong_password(self, client: Greeted, name: str) -> None:
        scram = ScramClient([SCRAM], name, "wrong")
        client.log_in(SCRAM, scram.get_client_first().encode())
        scram.set_server_first(client.expect(m.ConnectionSecure).challenge.decode())
        respond(client, scram.get_client_final().encode())
        assert client.refused() == refusal(SCRAM)

    def test_nonsense(self, client: Greeted) -> None:
        client.log_in(SCRAM, b"\xff\0nonsense")
        assert client.refused() == refusal(SCRAM)


class ScramLogin(amqp.sasl.SASL):  # type: ignore[misc]
    """The mechanism, as py-amqp wants it."""

    mechanism = SCRAM.encode()

    def __init__(self, username: str, password: str) -> None:
        self._client = ScramClient([SCRAM], username, password)
        self._steps: list[Callable[[str], str]] = [self._final, self._end]

    def start(self, connection: Any) -> bytes:
        first: str = self._client.get_client_first()
        return first.encode()

    def respond(self, challenge: str) -> bytes:
        return self._steps.pop(0)(challenge).encode()

    def _final(self, challenge: str) -> str:
        self._client.set_server_first(challenge)
        return str(self._client.get_client_final())

    def _end(self, challenge: str) -> str:
        self._client.set_server_final(challenge)
        return ""


class Connection(amqp.Connection):  # type: ignore[misc]
    """py-amqp's, which leaves challenges to its subclasses, and thinks that they are short."""

    _METHODS = amqp.Connection._METHODS | {
        amqp.spec.Connection.Secure: amqp.spec.method(amqp.spec.Connection.Secure, "S")
    }

    def _on_secure(self, challenge: str) -> None:
        (login,) = self.authentication
        self.send_method(amqp.spec.Connection.SecureOk, "S", (login.respond(challenge),))


def test_py_amqp_by_scram(hub: ServedHub) -> None:
    host, port = hub.address("AMQP")
    login = ScramLogin("sensor", "secret")
    with Connection(f"{host}:{port}", authentication=[login]) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).queue
        message = amqp.Message(b"hello", user_id="sensor")
        channel.basic_publish(message, routing_key=queue)
        assert channel.basic_get(queue, no_ack=True).body == b"hello"


class TokenCredentials:
    """A mechanism of one step, as pika wants it."""

    TYPE = "TOKEN"
    erase_on_connect = False

    def __init__(self, token: bytes) -> None:
        self._token = token

    def response_for(self, start: Any) -> tuple[str | None, bytes | None]:
        return ("TOKEN", self._token) if b"TOKEN" in start.mechanisms else (None, None)

    def erase_credentials(self) -> None:
        pass


def test_pika_by_a_plugin_s_mechanism(hub: ServedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    host, port = hub.address("AMQP")
    monkeypatch.setattr(
        pika.credentials, "VALID_TYPES", [*pika.credentials.VALID_TYPES, TokenCredentials]
    )

    def connect(token: bytes) -> pika.BlockingConnection:
        credentials = TokenCredentials(token)
        return pika.BlockingConnection(
            pika.ConnectionParameters(host, port, credentials=credentials)
        )

    connection = connect(b"t0k")
    connection.channel().queue_declare("", exclusive=True)
    connection.close()
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        connect(b"wrong")
