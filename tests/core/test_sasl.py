import base64
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from scramp import ScramClient, ScramMechanism

from hubbub.app import Hub
from hubbub.auth import Authority, Password, Principal, hash_password
from hubbub.config import AuthSettings, Config, UserSettings
from hubbub.errors import NotFoundError
from hubbub.hookspecs import hookimpl
from hubbub.plugins import PluginManager
from hubbub.sasl import Attempt, Authenticated, Authentication, Challenge, Mechanism, Step
from hubbub.scram import SCRAM_SHA_256, ScramExchange, Verifier

NO_HUB: Any = object()

# The example of RFC 7677, section 3.
RFC = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)


class Steps:
    """A mechanism whose steps are given; an exception is raised, a function called."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.attempts: list[Attempt] = []
        self.responses: list[bytes | None] = []

    def begin(self, attempt: Attempt) -> "Steps":
        self.attempts.append(attempt)
        return self

    async def step(self, response: bytes | None) -> Step:
        self.responses.append(response)
        answer: Any = self.steps.pop(0)
        if callable(answer):
            return await answer()  # type: ignore[no-any-return]
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    @hookimpl
    def hubbub_mechanisms(self) -> dict[str, Mechanism]:
        return {"TEST": self.begin}


def authority(config: Config | None = None, **plugins: object) -> Authority:
    return Authority(config or Config(), PluginManager(plugins=plugins, installed=()), NO_HUB)


class TestMechanismsOfPlugins:
    async def test_step_by_step(self) -> None:
        ali = Principal("ali")
        plugin = Steps(Challenge(b"one"), Challenge(b""), Authenticated(ali, b"bye"))
        who = authority(plugin=plugin)
        assert who.mechanisms == ("TEST",)
        attempt = Attempt(mechanism="TEST", peer="192.0.2.1:5", protocol="mqtt-5")
        authentication = who.begin(attempt)
        assert await authentication.step(None) == Challenge(b"one")
        assert await authentication.step(b"1") == Challenge(b"")
        assert await authentication.step(b"") == Authenticated(ali, b"bye")
        assert plugin.attempts == [attempt]
        assert plugin.responses == [None, b"1", b""]
        assert await authentication.step(b"more") is None  # it is over
        assert plugin.responses == [None, b"1", b""]

    async def test_an_unknown_one(self) -> None:
        with pytest.raises(NotFoundError, match="no authentication mechanism named 'OTHER'"):
            authority(plugin=Steps()).begin(Attempt(mechanism="OTHER"))

    async def test_a_failure_refuses_and_is_reported(self) -> None:
        manager = PluginManager(plugins={"a": Steps(OSError("down"))}, installed=())
        who = Authority(Config(), manager, NO_HUB)
        authentication = who.begin(Attempt(mechanism="TEST"))
        assert await authentication.step(b"") is None
        assert await authentication.step(b"") is None
        assert str(manager["a"].error) == "down"

    async def test_one_that_hangs_is_left(self, autojump_clock: trio.testing.MockClock) -> None:
        who = authority(Config(auth=AuthSettings(timeout=3)), plugin=Steps(trio.sleep_forever))
        assert await who.begin(Attempt(mechanism="TEST")).step(b"") is None
        assert trio.current_time() == 3

    async def test_it_does_not_go_on_for_ever(self) -> None:
        class Endless:
            async def step(self, response: bytes | None) -> Step:
                return Challenge(b"again")

        authentication = Authentication(Endless, 1.0, lambda error: None)
        answers = [await authentication.step(b"") for _ in range(40)]
        assert answers[0] == Challenge(b"again")
        assert answers[-1] is None

    async def test_a_plugin_may_replace_the_users_own(self) -> None:
        guest = Principal("guest")

        class Plugin:
            @hookimpl
            def hubbub_mechanisms(self) -> dict[str, Mechanism]:
                return {SCRAM_SHA_256: Steps(Authenticated(guest)).begin}

        users = (UserSettings(name="bob", password=SecretStr("builder")),)
        who = authority(Config(users=users), plugin=Plugin())
        assert await who.begin(Attempt(mechanism=SCRAM_SHA_256)).step(b"") == Authenticated(guest)

    async def test_hubs_offer_them(self) -> None:
        hub = Hub(plugins={"steps": Steps(Authenticated(Principal("ali")))})
        assert hub.mechanisms == ("TEST",)
        assert await hub.begin_authentication(Attempt(mechanism="TEST")).step(None) is not None


class TestScram:
    USERS = (
        UserSettings(name="user", scram_sha_256=RFC),
        UserSettings(name="bob", password=SecretStr("builder")),
        UserSettings(name="hash only", password_hash=hash_password(b"pencil")),
        UserSettings(name="a,b=ü", password=SecretStr("pässwort")),
    )

    async def log_in(self, who: Authority, username: str, password: str) -> str | None:
        client = ScramClient([SCRAM_SHA_256], username, password)
        authentication = who.begin(Attempt(mechanism=SCRAM_SHA_256))
        first = await authentication.step(client.get_client_first().encode())
        assert isinstance(first, Challenge)  # whoever it is
        client.set_server_first(first.data.decode())
        final = await authentication.step(client.get_client_final().encode())
        if final is None:
            return None
        assert isinstance(final, Authenticated)
        assert final.data is not None
        client.set_server_final(final.data.decode())  # the server knows the password, too
        return final.principal.name

    async def test_users(self) -> None:
        who = authority(Config(users=self.USERS))
        assert who.mechanisms == (SCRAM_SHA_256,)
        assert await self.log_in(who, "user", "pencil") == "user"
        assert await self.log_in(who, "bob", "builder") == "bob"
        assert await self.log_in(who, "a,b=ü", "pässwort") == "a,b=ü"
        for username, password in (
            ("user", "Pencil"),
            ("bob", "pencil"),
            ("nobody", "pencil"),
            ("hash only", "pencil"),
        ):
            assert await self.log_in(who, username, password) is None

    async def test_the_example_of_the_rfc(self) -> None:
        who = authority(Config(users=self.USERS))
        principal = await who.authenticate(Password("user", b"pencil"))
        assert principal is not None
        exchange = ScramExchange(lambda name: (Verifier.parse(RFC), principal), in_thread)
        first = await exchange.step(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
        assert isinstance(first, Challenge)
        assert first.data.startswith(b"r=rOprNGfwEbeRWgbNEkqO")
        assert first.data.endswith(b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")

    async def test_without_a_first_message_it_is_asked_for(self) -> None:
        exchange = authority(Config(users=self.USERS)).begin(Attempt(mechanism=SCRAM_SHA_256))
        assert await exchange.step(None) == Challenge(b"")
        assert isinstance(await exchange.step(b"n,,n=user,r=abc"), Challenge)

    async def test_unknown_users_look_like_others(self) -> None:
        who = authority(Config(users=self.USERS))
        answers = []
        for name in ("nobody", "nobody", "bob"):
            exchange = who.begin(Attempt(mechanism=SCRAM_SHA_256))
            first = await exchange.step(b"n,,n=%b,r=abc" % name.encode())
            assert isinstance(first, Challenge)
            answers.append(first.data.split(b",")[1:])
        assert answers[0] == answers[1] != answers[2]
        for salt, iterations in answers:
            assert len(base64.b64decode(salt[2:])) == 16  # as long as that of the example
            assert iterations == b"i=4096"

    @pytest.mark.parametrize(
        "users",
        [(), (UserSettings(name="hash only", password_hash=hash_password(b"x")),)],
        ids=["no users", "hashes"],
    )
    def test_it_is_not_offered_where_nobody_can_use_it(self, users: Any) -> None:
        assert authority(Config(users=users)).mechanisms == ()

    async def test_a_verifier_serves_for_plain_logins(self) -> None:
        who = authority(Config(users=self.USERS))
        assert await who.authenticate(Password("user", b"pencil")) is not None
        for wrong in (b"pencils", b"", b"\xff", b"\x00"):
            assert await who.authenticate(Password("user", wrong)) is None

    @given(st.one_of(st.none(), st.binary(), st.text().map(str.encode)), st.binary())
    async def test_whatever_comes_it_does_not_raise(
        self, first: bytes | None, second: bytes
    ) -> None:
        exchange = ScramExchange(lambda name: (Verifier.parse(RFC), None), in_thread)
        for response in (first, b"n,,n=user,r=abc", second):
            if not isinstance(await exchange.step(response), Challenge):
                break

    @given(st.text("nyp=,arcm:xXbiws0/+", max_size=40), st.text("nyp=,arcm:xXbiws0/+", max_size=40))
    async def test_nor_for_what_is_nearly_right(self, first: str, second: str) -> None:
        exchange = ScramExchange(lambda name: (Verifier.parse(RFC), None), in_thread)
        if isinstance(await exchange.step(f"n,,n=user,r=abc{first}".encode()), Challenge):
            assert await exchange.step(second.encode()) is None


async def in_thread(work: Any) -> Any:
    await trio.lowlevel.checkpoint()
    return work()


class TestVerifiers:
    def test_as_written_by_others(self) -> None:
        verifier = Verifier.parse(RFC)
        assert str(verifier) == RFC
        assert verifier.verify(b"pencil")
        assert not verifier.verify(b"pen")

    def test_made(self) -> None:
        one, other = Verifier.of("sesame"), Verifier.of("sesame")
        assert one != other
        assert one == Verifier.parse(str(one))
        assert one.verify(b"sesame")
        with pytest.raises(ValueError, match="control characters"):
            Verifier.of("a\0")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "not a SCRAM verifier"),
            ("sesame", "not a SCRAM verifier"),
            (RFC.replace("256", "1"), "not a SCRAM verifier"),
            (RFC.replace("4096", "many"), "not a SCRAM verifier"),
            (RFC.replace("W22", "!22"), "not a SCRAM verifier"),
            (RFC + "$", "not a SCRAM verifier"),
            (RFC.partition(":wf")[0] + ":AAAA", "not a SCRAM verifier"),
            (RFC.replace("WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=", "AAAA"), "not a SCRAM"),
            (RFC.replace("4096", "1000"), "4096 iterations"),
            (RFC.replace("W22ZaJ0SNY7soEsUEjb6gQ==", "AAAA"), "12 bytes of salt"),
        ],
    )
    def test_mistakes(self, text: str, message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            UserSettings(name="u", scram_sha_256=text)

    def test_others_read_ours(self) -> None:
        salt, stored_key, server_key, iterations = Verifier.of("sesame")
        made = ScramMechanism(SCRAM_SHA_256).make_auth_info("sesame", iterations, salt)
        assert made == (salt, stored_key, server_key, iterations)
