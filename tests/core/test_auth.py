import re
import threading
import timeit
from itertools import product
from typing import Any, cast

import pytest
import trio
import trio.testing
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr

import hubbub.auth
from hubbub.auth import (
    AccessKey,
    Anonymous,
    Authority,
    BearerToken,
    ClientCertificate,
    Credentials,
    Password,
    Permission,
    Principal,
    ResourcePattern,
    hash_password,
    is_loopback,
    permissions_of,
    verify_password,
)
from hubbub.config import (
    AccessKeySettings,
    AuthSettings,
    Config,
    PermissionSettings,
    RoleSettings,
    UserSettings,
)
from hubbub.errors import BusyError
from hubbub.hookspecs import hookimpl
from hubbub.plugins import PluginManager

NO_HUB: Any = object()


@pytest.fixture(scope="module")
def cheap_hash() -> str:
    import argon2

    return argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("wonder")


def authority(config: Config | None = None, **plugins: object) -> Authority:
    return Authority(
        config or Config(), PluginManager(plugins=plugins, installed=()), cast("Any", NO_HUB)
    )


class TestAnonymous:
    @pytest.mark.parametrize(
        ("peer", "local"),
        [
            ("127.0.0.1:5000", True),
            ("127.9.9.9:1", True),
            ("[::1]:5000", True),
            ("[::ffff:127.0.0.1]:5", True),
            ("[::1%lo]:5", True),
            ("", True),
            ("192.0.2.1:5000", False),
            ("[2001:db8::1]:5000", False),
            ("[::ffff:192.0.2.1]:5", False),
            ("localhost.evil.example:5", False),
        ],
    )
    def test_loopback(self, peer: str, local: bool) -> None:
        assert is_loopback(peer) is local

    @pytest.mark.parametrize(
        ("rule", "near", "far"),
        [("loopback", True, False), ("always", True, True), ("never", False, False)],
    )
    async def test_rules(self, rule: Any, near: bool, far: bool) -> None:
        who = authority(Config(auth=AuthSettings(anonymous=rule)))
        for peer, admitted in (("127.0.0.1:1", near), ("192.0.2.1:1", far)):
            principal = await who.authenticate(Anonymous(peer=peer))
            assert (principal is not None) is admitted
            assert principal is None or principal.anonymous

    async def test_permissions(self) -> None:
        rules = [PermissionSettings(action=["subscribe"], resource=["public/#"])]
        who = authority(Config(auth=AuthSettings(anonymous_permissions=rules)))
        principal = await who.authenticate(Anonymous())
        assert principal is not None
        assert who.allows(principal, "subscribe", "public/news", "any realm")
        assert not who.allows(principal, "publish", "public/news", "any realm")


class TestUsers:
    async def test_passwords(self, cheap_hash: str) -> None:
        users = (
            UserSettings(name="alice", password_hash=cheap_hash, realms=["one"], roles=["r"]),
            UserSettings(name="bob", password=SecretStr("builder")),
            UserSettings(name="key only", tokens=[SecretStr("t")]),
        )
        who = authority(Config(users=users, roles=(RoleSettings(name="r"),)))
        alice = await who.authenticate(Password("alice", b"wonder"))
        assert alice is not None
        assert (alice.name, alice.realms, alice.roles) == ("alice", ("one",), ("r",))
        bob = await who.authenticate(Password("bob", b"builder"))
        assert bob is not None
        assert bob is await who.authenticate(Password("bob", b"builder"))
        for username, password in [
            ("alice", b"wonde"),
            ("alice", b"builder"),
            ("bob", b"wonder"),
            ("bob", b""),
            ("carol", b"wonder"),
            ("key only", b"t"),
            ("\udcff", b"x"),
            ("alice", b"x" * 5000),
        ]:
            assert await who.authenticate(Password(username, password)) is None

    async def test_other_proofs(self) -> None:
        user = UserSettings(
            name="worker",
            tokens=[SecretStr("sesame")],
            certificates=["worker.example"],
            access_keys=[AccessKeySettings(id="AKIA1", secret=SecretStr("hush"))],
        )
        who = authority(Config(users=(user,)))
        good: list[Credentials] = [
            BearerToken("sesame"),
            ClientCertificate(("other", "worker.example")),
            AccessKey("AKIA1", lambda secret: secret == "hush"),
        ]
        bad: list[Credentials] = [
            BearerToken("sesam"),
            BearerToken("\udcff"),
            ClientCertificate(("other",)),
            ClientCertificate(()),
            AccessKey("AKIA1", lambda secret: False),
            AccessKey("AKIA2", lambda secret: True),
        ]
        for credentials in good:
            principal = await who.authenticate(credentials)
            assert principal is not None
            assert principal.name == "worker"
        for credentials in bad:
            assert await who.authenticate(credentials) is None

    def test_secrets_do_not_show(self) -> None:
        assert "hush" not in repr([Password("a", b"hush"), BearerToken("hush")])


class Verifications:
    """Stands in for argon2: counts, and answers when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, bytes]] = []
        self.at_once = self.most = 0
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()
        self._begun = threading.Semaphore(0)
        monkeypatch.setattr(hubbub.auth, "verify_password", self)

    def __call__(self, stored: str, password: bytes) -> bool:
        with self._lock:
            self.calls.append((stored, password))
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        self._begun.release()
        assert self.gate.wait(10)
        with self._lock:
            self.at_once -= 1
        return password == b"wonder"

    async def begun(self, count: int) -> None:
        """Wait for so many: one that nobody waits for must not begin in the next test."""
        for _ in range(count):
            assert await trio.to_thread.run_sync(self._begun.acquire, True, 10)


class TestVerifying:
    @pytest.fixture
    def verifications(self, monkeypatch: pytest.MonkeyPatch) -> Verifications:
        return Verifications(monkeypatch)

    def authority(self, cheap_hash: str, **settings: Any) -> Authority:
        users = (
            UserSettings(name="alice", password_hash=cheap_hash),
            UserSettings(name="bob", password=SecretStr("builder")),
        )
        return authority(Config(users=users, auth=AuthSettings(**settings)))

    async def test_a_verified_password_is_remembered_and_a_wrong_one_is_not(
        self, cheap_hash: str, verifications: Verifications
    ) -> None:
        who = self.authority(cheap_hash)
        for _ in range(5):
            assert await who.authenticate(Password("alice", b"wonder"))
        assert len(verifications.calls) == 1
        for _ in range(3):
            assert not await who.authenticate(Password("alice", b"wrong"))
        assert len(verifications.calls) == 4

    @pytest.mark.parametrize("settings", [{"cache_ttl": 0}, {"cache_entries": 1}])
    async def test_it_is_forgotten_in_time_and_when_there_are_too_many(
        self, cheap_hash: str, verifications: Verifications, settings: dict[str, Any]
    ) -> None:
        who = self.authority(cheap_hash, **settings)
        for username, password in [("alice", b"wonder"), ("bob", b"builder"), ("alice", b"wonder")]:
            assert await who.authenticate(Password(username, password))
        assert len(verifications.calls) == 3

    @pytest.mark.parametrize(
        ("username", "password"),
        [("alice", b"no"), ("bob", b"no"), ("bob", b"builder"), ("nobody", b"no")],
    )
    async def test_every_case_costs_one_verification(
        self, cheap_hash: str, verifications: Verifications, username: str, password: bytes
    ) -> None:
        who = self.authority(cheap_hash)
        await who.authenticate(Password(username, password))
        assert verifications.calls == [(cheap_hash, password)]

    @pytest.mark.parametrize(("password", "good"), [(b"wonder", True), (b"wrong", False)])
    async def test_a_storm_of_one_password_is_verified_once(
        self, cheap_hash: str, verifications: Verifications, password: bytes, good: bool
    ) -> None:
        who = self.authority(cheap_hash)
        verifications.gate.clear()
        answers: list[bool] = []

        async def log_in() -> None:
            answers.append(await who.authenticate(Password("alice", password)) is not None)

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(log_in)
            await trio.testing.wait_all_tasks_blocked()
            verifications.gate.set()
        assert answers == [good] * 50
        assert len(verifications.calls) == 1

    async def test_few_at_a_time_and_not_too_many_wait(
        self, cheap_hash: str, verifications: Verifications
    ) -> None:
        who = self.authority(cheap_hash, verifiers=2, max_waiting=5)
        verifications.gate.clear()
        answers: list[str] = []

        async def log_in(number: int) -> None:
            try:
                await who.authenticate(Password("alice", b"%d" % number))
                answers.append("no")
            except BusyError:
                answers.append("busy")

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(log_in, number)
            await trio.testing.wait_all_tasks_blocked()
            verifications.gate.set()
        assert sorted(answers) == ["busy"] * 3 + ["no"] * 5
        assert verifications.most <= 2

    async def test_it_does_not_take_for_ever(
        self, cheap_hash: str, verifications: Verifications
    ) -> None:
        who = self.authority(cheap_hash, timeout=0.01)
        verifications.gate.clear()
        try:
            with pytest.raises(BusyError, match="too long"):
                await who.authenticate(Password("alice", b"wonder"))
            await verifications.begun(1)
        finally:
            verifications.gate.set()

    async def test_when_the_first_gives_up_another_goes_on(
        self, cheap_hash: str, verifications: Verifications
    ) -> None:
        who = self.authority(cheap_hash)
        verifications.gate.clear()
        answers: list[Principal | None] = []

        async def log_in(scope: trio.CancelScope) -> None:
            with scope:
                answers.append(await who.authenticate(Password("alice", b"wonder")))

        first, second = trio.CancelScope(), trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log_in, first)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(log_in, second)
            await trio.testing.wait_all_tasks_blocked()
            first.cancel()
            await trio.testing.wait_all_tasks_blocked()
            verifications.gate.set()
        await verifications.begun(2)
        (answer,) = answers
        assert answer is not None

    def test_real_hashes(self) -> None:
        stored = hash_password(b"secret")
        assert stored.startswith("$argon2id$")
        assert verify_password(stored, b"secret")
        assert not verify_password(stored, b"Secret")
        assert not verify_password("garbage", b"secret")


class TestPluginsAuthenticate:
    class Knows:
        def __init__(self, token: str, answer: Principal | Exception | None) -> None:
            self.token, self.answer = token, answer
            self.asked = 0

        @hookimpl
        async def hubbub_authenticate(self, credentials: Credentials) -> Principal | None:
            self.asked += 1
            if isinstance(self.answer, Exception):
                raise self.answer
            known = isinstance(credentials, BearerToken) and credentials.token == self.token
            return self.answer if known else None

    async def test_the_first_who_knows_decides(self) -> None:
        one, two = Principal("one"), Principal("two")
        a, b = self.Knows("x", one), self.Knows("y", two)
        who = authority(None, a=a, b=b)
        assert await who.authenticate(BearerToken("x")) is one
        assert b.asked == 0
        assert await who.authenticate(BearerToken("y")) is two
        assert await who.authenticate(BearerToken("z")) is None

    async def test_a_failure_counts_as_none(self) -> None:
        two = Principal("two")
        manager = PluginManager(
            plugins={"a": self.Knows("", OSError("down")), "b": self.Knows("y", two)},
            installed=(),
        )
        who = Authority(Config(), manager, NO_HUB)
        assert await who.authenticate(BearerToken("y")) is two
        assert str(manager["a"].error) == "down"

    async def test_one_that_hangs_is_left(self, autojump_clock: trio.testing.MockClock) -> None:
        class Hangs:
            @hookimpl
            async def hubbub_authenticate(self) -> None:
                await trio.sleep_forever()

        two = Principal("two")
        who = authority(Config(auth=AuthSettings(timeout=3)), a=Hangs(), b=self.Knows("y", two))
        assert await who.authenticate(BearerToken("y")) is two
        assert trio.current_time() == 3

    async def test_nobody_else_is_asked_of_configured_users(self, cheap_hash: str) -> None:
        class Everybody:
            @hookimpl
            async def hubbub_authenticate(self) -> Principal:
                return Principal("impostor")

        user = UserSettings(name="alice", password_hash=cheap_hash)
        who = authority(Config(users=(user,)), a=Everybody())
        assert await who.authenticate(Password("alice", b"wrong")) is None
        other = await who.authenticate(Password("carol", b"wrong"))
        assert other is not None
        assert other.name == "impostor"


class TestPermissions:
    def principal(self, *settings: PermissionSettings, name: str = "alice") -> Principal:
        return Principal(name, permissions=permissions_of(settings, name))

    def test_what_is_not_allowed_is_denied(self) -> None:
        who = authority()
        alice = self.principal(PermissionSettings(action=["publish"], resource=["a/#"]))
        assert who.allows(alice, "publish", "a/b", "default")
        assert not who.allows(alice, "publish", "b", "default")
        assert not who.allows(alice, "subscribe", "a/b", "default")
        assert not who.allows(self.principal(), "publish", "a/b", "default")

    def test_denying_wins(self) -> None:
        who = authority()
        alice = self.principal(
            PermissionSettings(),
            PermissionSettings(resource=["secret/#"], effect="deny"),
        )
        assert who.allows(alice, "publish", "a", "default")
        assert who.allows(alice, "consume", "$queue/a", "default")
        assert not who.allows(alice, "publish", "secret/a", "default")
        assert who.allows(alice, "subscribe", "a/#", "default")
        for pattern in ("#", "+/a", "secret/#", "secret"):
            assert not who.allows(alice, "subscribe", pattern, "default")

    def test_realms(self) -> None:
        who = authority()
        assert not who.allows(Principal("a", realms=("one",)), "publish", "x", "two")
        assert who.allows(Principal("a", realms=("one", "two")), "publish", "x", "two")
        assert who.allows(Principal("a", realms=("*",)), "publish", "x", "two")

    @pytest.mark.parametrize(
        ("name", "own", "foreign"),
        [
            ("alice", "devices/alice/x", "devices/bob/x"),
            ("a/b", "devices/a%2Fb/x", "devices/a/b/x"),
            ("+", "devices/%2B/x", "devices/bob/x"),
            ("#", "devices/%23/x", "devices/x"),
        ],
    )
    def test_the_users_own(self, name: str, own: str, foreign: str) -> None:
        who = authority()
        user = self.principal(PermissionSettings(resource=["devices/{user}/#"]), name=name)
        assert who.allows(user, "publish", own, "default")
        assert not who.allows(user, "publish", foreign, "default")

    @pytest.mark.parametrize("name", ["*", "$queue", "#"])
    def test_a_users_name_opens_nothing_else(self, name: str) -> None:
        who = authority()
        for resource in ("{user}", "{user}/#"):
            user = self.principal(PermissionSettings(resource=[resource]), name=name)
            for address in ("$queue/orders", "a", "a/b"):
                assert not who.allows(user, "publish", address, "default")

    def test_plugins_forbid_and_allow(self) -> None:
        class Rules:
            @hookimpl
            def hubbub_authorize(self, action: str, resource: str) -> bool | None:
                return {"yes": True, "no": False}.get(resource)

        class Fails:
            @hookimpl
            def hubbub_authorize(self, resource: str) -> bool | None:
                if resource == "fails":
                    raise OSError("down")
                return None

        who = authority(None, a=Rules(), b=Fails())
        everything, nothing = Principal("a"), self.principal()
        assert who.allows(everything, "publish", "other", "default")
        assert not who.allows(everything, "publish", "no", "default")
        assert not who.allows(everything, "publish", "fails", "default")
        assert who.allows(nothing, "publish", "yes", "default")
        assert not who.allows(nothing, "publish", "other", "default")
        assert not who.allows(nothing, "publish", "yes", "foreign realm")


class Counting:
    def __init__(self) -> None:
        self.asked = 0
        self.fail = False

    @hookimpl
    def hubbub_authorize(self) -> None:
        self.asked += 1
        if self.fail:
            raise OSError("down")


class TestDecisions:
    def test_they_are_remembered_until_forgotten(self) -> None:
        rules = Counting()
        who = authority(None, rules=rules)
        alice = Principal("alice")
        for _ in range(3):
            assert who.allows(alice, "publish", "a", "default")
        assert rules.asked == 1
        who.allows(Principal("alice"), "publish", "a", "default")
        assert rules.asked == 2
        who.forget()
        who.allows(alice, "publish", "a", "default")
        assert rules.asked == 3

    async def test_they_are_forgotten_in_time(self, autojump_clock: trio.testing.MockClock) -> None:
        rules = Counting()
        who = authority(Config(auth=AuthSettings(decision_ttl=5)), rules=rules)
        alice = Principal("alice")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(who.run)
            for _ in range(4):
                who.allows(alice, "publish", "a", "default")
                await trio.sleep(3)
            nursery.cancel_scope.cancel()
        assert rules.asked == 2

    def test_neither_failures_nor_long_addresses_are_remembered(self) -> None:
        rules = Counting()
        who = authority(None, rules=rules)
        alice = Principal("alice")
        for _ in range(2):
            assert who.allows(alice, "publish", "a" * 2000, "default")
        rules.fail = True
        for _ in range(2):
            assert not who.allows(alice, "publish", "a", "default")
        assert rules.asked == 4

    def test_they_are_bounded(self) -> None:
        rules = Counting()
        who = authority(Config(auth=AuthSettings(decision_entries=3)), rules=rules)
        alice = Principal("alice")
        for number in range(100):
            who.allows(alice, "publish", str(number), "default")
        assert len(who._decisions) <= 3

    def test_a_remembered_one_is_quick(self) -> None:
        who, alice = authority(), Principal("alice")
        who.allows(alice, "publish", "a/b", "default")
        seconds = min(
            timeit.repeat(
                lambda: who.allows(alice, "publish", "a/b", "default"), number=10_000, repeat=5
            )
        )
        assert seconds / 10_000 < 5e-6  # about 0.15 µs where nothing else runs


# Patterns against a simple model: expand wildcards over a small alphabet.

levels = st.sampled_from(["a", "b", "+", "#"])
patterns = st.lists(levels, min_size=1, max_size=4).map("/".join)


def as_regex(pattern: str) -> re.Pattern[str]:
    """Each level of an address is one letter here."""
    return re.compile(
        "".join({"+": ".", "#": ".*"}.get(level, level) for level in pattern.split("/"))
    )


# The empty one stands for "no level at all", which "#" may mean.
ADDRESSES = ["".join(each) for length in range(7) for each in product("abz", repeat=length)]


def language(pattern: str) -> frozenset[str]:
    regex = as_regex(pattern)
    return frozenset(address for address in ADDRESSES if regex.fullmatch(address))


class TestPatterns:
    @given(patterns, patterns)
    @example("#/+", "+/#")
    @example("+/#", "#/+")
    @example("#/a/#", "#/a/#/a")
    @example("#", "+")
    @example("+/#", "#")
    def test_covering_is_inclusion_and_overlapping_is_intersection(
        self, permission: str, resource: str
    ) -> None:
        mine, theirs = language(permission), language(resource)
        assert ResourcePattern(permission).covers(resource) == (theirs <= mine)
        assert ResourcePattern(permission).overlaps(resource) == bool(mine & theirs)

    @pytest.mark.parametrize(
        ("permission", "resource", "covers", "overlaps"),
        [
            ("*", "anything", True, True),
            ("*", "$queue/x", True, True),
            ("*", "#", True, True),
            ("#", "$queue/x", False, False),
            ("+/x", "$queue/x", False, False),
            ("$queue/#", "$queue/x", True, True),
            ("$queue/#", "#", False, False),
            ("$queue/orders", "$queue/+", False, True),
            ("a/#", "a", True, True),
            ("", "a", False, False),
            ("a", "a/", False, False),
        ],
    )
    def test_special_cases(
        self, permission: str, resource: str, covers: bool, overlaps: bool
    ) -> None:
        assert ResourcePattern(permission).covers(resource) is covers
        assert ResourcePattern(permission).overlaps(resource) is overlaps

    def test_hostile_patterns_cost_little(self) -> None:
        permission = ResourcePattern("/".join(["#", "a"] * 20))
        hostile = "/".join(["#", "a", "+"] * 170)
        assert permission.overlaps(hostile)
        assert isinstance(permission.covers(hostile), bool)

    def test_actions(self) -> None:
        rule = Permission(frozenset({"publish"}), (ResourcePattern("a"),))
        assert rule.decides("publish", "a")
        assert not rule.decides("consume", "a")
