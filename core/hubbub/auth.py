"""Who a client is, and what it may do.

A protocol plugin turns what its client sends into `Credentials` and asks the hub's `Authority`
for the `Principal`. From then on the session asks the authority before each act.
"""

import hashlib
import hmac
import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import trio

from .address import escape_level
from .engine.contract import DEFAULT_REALM
from .errors import BusyError, NotFoundError
from .hookspecs import Hooks
from .sasl import Attempt, Authentication, Mechanism
from .scram import ITERATIONS, SCRAM_SHA_256, ScramExchange, Verifier

if TYPE_CHECKING:
    from .app import Hub
    from .config import AuthSettings, Config, PermissionSettings, UserSettings
    from .plugins import PluginManager

Action: TypeAlias = Literal["publish", "subscribe", "consume", "configure"]

ACTIONS: tuple[Action, ...] = ("publish", "subscribe", "consume", "configure")
"""What a principal can do: publish to an address; subscribe to a pattern of topics; consume from a
queue or stream; configure (create, change, purge, delete) a queue or stream.
"""

EVERYTHING = "*"
"""Every action, resource or realm, where a permission or a user names one."""

_MAX_STATES = 64
_MAX_REMEMBERED_RESOURCE = 1024
_MAX_PASSWORD_BYTES = 4096

T = TypeVar("T")


# Who


@dataclass(frozen=True, slots=True, kw_only=True)
class Anonymous:
    """A client that says nothing about itself.

    Of all credentials: `peer` is where it connects from, such as "127.0.0.1:50312" (empty: not
    over a network); `protocol` is the name and version it speaks, such as "mqtt-5".
    """

    peer: str = ""
    protocol: str = ""


@dataclass(frozen=True, slots=True)
class Password:
    """A name and a password, as bytes since not every protocol says they are text."""

    username: str
    password: bytes
    peer: str = ""
    protocol: str = ""

    def __repr__(self) -> str:
        return f"Password({self.username!r}, …)"


@dataclass(frozen=True, slots=True)
class BearerToken:
    """A token that is proof enough by itself."""

    token: str
    peer: str = ""
    protocol: str = ""

    def __repr__(self) -> str:
        return "BearerToken(…)"


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An AWS access key. `proves(secret)` tells whether the request was signed with this secret."""

    key_id: str
    proves: Callable[[str], bool]
    peer: str = ""
    protocol: str = ""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A certificate that TLS has verified; `names` are its common name and alternative names."""

    names: tuple[str, ...]
    peer: str = ""
    protocol: str = ""


Credentials: TypeAlias = Anonymous | Password | BearerToken | AccessKey | ClientCertificate


class ResourcePattern:
    """The resources of a permission: an address pattern, or "*" for everything.

    As in subscriptions, a wildcard at the beginning covers no address that starts with "$": queues
    are "$queue/#", streams "$stream/#".
    """

    __slots__ = ("_everything", "_levels", "_open", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._everything = text == EVERYTHING
        self._levels = tuple(text.split("/"))
        self._open = 0
        """A bit for each position whose level is "#", which may stand for nothing."""
        for index, level in enumerate(self._levels):
            if level == "#":
                self._open |= 1 << index

    def for_user(self, name: str) -> "ResourcePattern":
        """Return the pattern with a user's name, as one level, in place of "{user}"."""
        if "{user}" not in self.text:
            return self
        rooted = self.text.startswith("{user}")
        mine = ResourcePattern(self.text.replace("{user}", escape_level(name, rooted=rooted)))
        mine._everything = False  # not even for a user named "*"
        return mine

    # The pattern as an automaton: a set of positions in it is an integer with a bit for each.

    def _skip(self, state: int) -> int:
        """Add the positions after a "#" that stands for nothing (more)."""
        while (wider := state | (state & self._open) << 1) != state:
            state = wider
        return state

    def _step(self, state: int, level: str | None) -> int:
        """Read one level; None is any that no literal of this pattern equals."""
        result = 0
        for index, mine in enumerate(self._levels):
            if state >> index & 1:
                if mine == "#":
                    result |= 1 << index
                elif mine in {"+", level}:
                    result |= 2 << index
        return self._skip(result)

    def _step_any(self, state: int) -> int:
        """Read one level that may be whatever suits."""
        return self._skip((state & self._open) | (state & ~self._open) << 1) & (
            (2 << len(self._levels)) - 1
        )

    def _concerns(self, resource: str) -> bool:
        return resource[:1] != "$" or self._levels[0] not in {"+", "#"}

    def covers(self, resource: str) -> bool:
        """Tell whether all that `resource`, an address or a pattern, can match is covered."""
        if self._everything:
            return True
        if not self._concerns(resource):
            return False
        # Each state has to accept in the end, since "#" in the resource may be any levels.
        states = {self._skip(1)}
        for level in resource.split("/"):
            if level == "#":
                reached, frontier = set(states), states
                while frontier := {self._step(each, None) for each in frontier} - reached:
                    reached |= frontier
                states = reached
            else:
                literal = None if level == "+" else level
                states = {self._step(each, literal) for each in states}
            if 0 in states or len(states) > _MAX_STATES:
                return False
        return all(state >> len(self._levels) & 1 for state in states)

    def overlaps(self, resource: str) -> bool:
        """Tell whether `resource`, an address or a pattern, can match anything of these."""
        if self._everything:
            return True
        if not self._concerns(resource):
            return False
        if self.text[:1] == "$" and resource.split("/", 1)[0] in {"+", "#"}:
            return False
        state = self._skip(1)
        for level in resource.split("/"):
            if level == "#":
                while (wider := state | self._step_any(state)) != state:
                    state = wider
            elif level == "+":
                state = self._step_any(state)
            else:
                state = self._step(state, level)
        return bool(state >> len(self._levels) & 1)


@dataclass(frozen=True, slots=True)
class Permission:
    """What a principal may do, or (`allow` False) may not: actions on resources.

    An allowing permission must cover the whole of a subscription's pattern; a forbidding one
    forbids every pattern that could match something of it.
    """

    actions: frozenset[str]
    resources: tuple[ResourcePattern, ...]
    allow: bool = True

    def decides(self, action: str, resource: str) -> bool:
        """Tell whether this permission applies."""
        if action not in self.actions and EVERYTHING not in self.actions:
            return False
        if self.allow:
            return any(each.covers(resource) for each in self.resources)
        return any(each.overlaps(resource) for each in self.resources)


ALLOW_ALL = Permission(frozenset({EVERYTHING}), (ResourcePattern(EVERYTHING),))
"""The permission to do everything."""


@dataclass(frozen=True, slots=True, eq=False)
class Principal:
    """Somebody who is known: two are the same only if they are the same object.

    * `name`: the user; `realms`: where it may go, "*" for everywhere.
    * `permissions`: what the built-in authoriser reads: a forbidding one wins, then an allowing one
      is needed.
    * `roles`: for authorisers of plugins.
    """

    name: str
    realms: tuple[str, ...] = (DEFAULT_REALM,)
    permissions: tuple[Permission, ...] = (ALLOW_ALL,)
    roles: tuple[str, ...] = ()
    anonymous: bool = False


def permissions_of(settings: Iterable["PermissionSettings"], name: str) -> tuple[Permission, ...]:
    """Make permissions from their configuration; "{user}" in a resource becomes the name."""
    return tuple(
        Permission(
            frozenset(each.action),
            tuple(ResourcePattern(text).for_user(name) for text in each.resource),
            each.effect == "allow",
        )
        for each in settings
    )


# Configured users


@dataclass(frozen=True, slots=True)
class _User:
    """A configured user, with what it can prove itself by."""

    principal: Principal
    password: bytes | None
    password_hash: str | None
    scram: Verifier | None


class _Verification:
    """A password that is being verified. `result` stays None if that was cut short."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.result: bool | None = None


class Users:
    """The configured users and the rule for anonymous clients.

    Passwords are verified with argon2 in worker threads, few at a time; a verified one is
    remembered for a short while, and clients that bring the same one at the same time wait for
    one verification. An unknown user costs as much time as a wrong password.
    """

    def __init__(self, config: "Config") -> None:
        settings = config.auth
        self._settings: AuthSettings = settings
        roles = {role.name: role.permissions for role in config.roles}
        self._users: dict[str, _User] = {}
        self._tokens: dict[bytes, Principal] = {}
        self._keys: dict[str, tuple[str, Principal]] = {}
        self._certificates: dict[str, Principal] = {}
        for user in config.users:
            self._add(user, roles)
        self._anonymous = Principal(
            "anonymous",
            tuple(settings.anonymous_realms),
            permissions_of(settings.anonymous_permissions, "anonymous"),
            anonymous=True,
        )
        self._salt = secrets.token_bytes(32)
        self._verified: OrderedDict[bytes, float] = OrderedDict()
        self._verifying: dict[bytes, _Verification] = {}
        self._limiter: trio.CapacityLimiter | None = None
        self._waiting = 0

    def _add(
        self, user: "UserSettings", roles: Mapping[str, Sequence["PermissionSettings"]]
    ) -> None:
        granted = [*user.permissions]
        for role in user.roles:
            granted += roles.get(role, ())
        restricted = bool(user.permissions or user.roles)
        permissions = permissions_of(granted, user.name) if restricted else (ALLOW_ALL,)
        principal = Principal(user.name, tuple(user.realms), permissions, tuple(user.roles))
        password = user.password.get_secret_value().encode() if user.password else None
        scram = None if user.scram_sha_256 is None else Verifier.parse(user.scram_sha_256)
        self._users[user.name] = _User(principal, password, user.password_hash, scram)
        for token in user.tokens:
            self._tokens[_digest(token.get_secret_value())] = principal
        for key in user.access_keys:
            self._keys[key.id] = (key.secret.get_secret_value(), principal)
        for name in user.certificates:
            self._certificates[name] = principal

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._users)

    def knows(self, credentials: Credentials) -> bool:
        """Tell whether these credentials name somebody configured: then nobody else is asked."""
        match credentials:
            case Password(username):
                return username in self._users
            case AccessKey(key_id):
                return key_id in self._keys
            case BearerToken(token):
                return _digest(token) in self._tokens
            case ClientCertificate(names):
                return any(name in self._certificates for name in names)
            case Anonymous():
                return self._admits(credentials)

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """Return the configured user that these credentials prove, None if they prove none.

        Raises:
            BusyError: too many passwords wait to be verified, or it took too long.
        """
        match credentials:
            case Password(username, password):
                user = self._users.get(username)
                if user is None:
                    await self._verify(None, username, password)
                    return None
                return user.principal if await self._verify(user, username, password) else None
            case AccessKey(key_id, proves):
                secret, owner = self._keys.get(key_id, ("", None))
                return owner if owner is not None and proves(secret) else None
            case BearerToken(token):
                return self._tokens.get(_digest(token))
            case ClientCertificate(names):
                known = (self._certificates[name] for name in names if name in self._certificates)
                return next(known, None)
            case Anonymous():
                return self._anonymous if self._admits(credentials) else None

    def _admits(self, credentials: Anonymous) -> bool:
        rule = self._settings.anonymous
        return rule == "always" or (rule == "loopback" and is_loopback(credentials.peer))

    async def _verify(self, user: _User | None, username: str, password: bytes) -> bool:
        if len(password) > _MAX_PASSWORD_BYTES:
            return False
        name = username.encode(errors="surrogatepass")
        claim = len(name).to_bytes(4) + name + password
        proof = hmac.digest(self._salt, claim, "sha256")
        while True:
            if self._is_fresh(proof):
                return user is not None
            verification = self._verifying.get(proof)
            if verification is None:
                break
            with trio.move_on_after(self._settings.timeout) as scope:
                await verification.done.wait()
            if scope.cancelled_caught:
                raise BusyError("verifying passwords takes too long")
            if verification.result is not None:
                return verification.result
        verification = self._verifying[proof] = _Verification()
        try:
            result = await self._verify_in_thread(user, password)
            if result:
                self._remember(proof)
            verification.result = result
            return result
        finally:
            del self._verifying[proof]
            verification.done.set()

    def _is_fresh(self, proof: bytes) -> bool:
        return self._verified.get(proof, 0.0) > trio.current_time()

    def _remember(self, proof: bytes) -> None:
        self._verified[proof] = trio.current_time() + self._settings.cache_ttl
        self._verified.move_to_end(proof)
        while len(self._verified) > self._settings.cache_entries:
            self._verified.popitem(last=False)

    async def _verify_in_thread(self, user: _User | None, password: bytes) -> bool:
        return await self._in_thread(lambda: self._verify_now(user, password))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Do what takes long in a worker thread; few at a time.

        Raises:
            BusyError: too much waits for it, or it took too long.
        """
        if self._waiting >= self._settings.max_waiting:
            raise BusyError("too many passwords wait to be verified")
        if self._limiter is None:
            self._limiter = trio.CapacityLimiter(self._settings.verifiers)
        self._waiting += 1
        try:
            with trio.move_on_after(self._settings.timeout):
                return await trio.to_thread.run_sync(
                    work, abandon_on_cancel=True, limiter=self._limiter
                )
            raise BusyError("verifying passwords takes too long")
        finally:
            self._waiting -= 1

    def _verify_now(self, user: _User | None, password: bytes) -> bool:
        """Verify, in a worker thread. Does the work of one argon2 verification in every case."""
        if user is not None and user.password_hash is not None:
            return verify_password(user.password_hash, password)
        verify_password(self._decoy, password)
        if user is None:
            return False
        if user.password is not None:
            return hmac.compare_digest(_digest(user.password), _digest(password))
        return user.scram is not None and user.scram.verify(password)

    # SCRAM

    def mechanisms(self) -> Mapping[str, Mechanism]:
        """Return the mechanisms that any of the configured users can use, by name."""
        able = any(each.scram or each.password is not None for each in self._users.values())
        return {SCRAM_SHA_256: self._begin_scram} if able else {}

    def _begin_scram(self, _: Attempt) -> ScramExchange:
        return ScramExchange(self._find_scram, self._in_thread)

    def _find_scram(self, username: str) -> tuple[Verifier, Principal | None]:
        """Return what a user's password is verified with; in a worker thread.

        Others than users with a verifier cost the making of one: those with a password as much as
        those who don't exist, who get one that nothing fits.
        """
        user = self._users.get(username)
        if user is not None and user.scram is not None:
            return user.scram, user.principal
        stored = (each.scram for each in self._users.values() if each.scram is not None)
        example = next(stored, None)
        salt = hmac.digest(self._salt, username.encode(errors="surrogatepass"), "sha256")
        salt = salt[: 32 if example is None else len(example.salt)]
        iterations = ITERATIONS if example is None else example.iterations
        if user is not None and user.password is not None:
            password = user.password.decode()
            return Verifier.of(password, salt=salt, iterations=iterations), user.principal
        return Verifier.of(secrets.token_hex(16), salt=salt, iterations=iterations), None

    @cached_property
    def _decoy(self) -> str:
        """A hash to verify against where there is none, with the cost of the real ones."""
        hashes = (user.password_hash for user in self._users.values() if user.password_hash)
        return next(hashes, None) or hash_password(secrets.token_bytes(16))


def is_loopback(peer: str) -> bool:
    """Tell whether a peer ("127.0.0.1:50312", "[::1]:50312", "" for none) is on this machine."""
    if not peer:
        return True
    host = peer.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def hash_password(password: bytes) -> str:
    """Hash a password with argon2id, in the usual text form. Takes some 50 ms: not for the loop."""
    import argon2  # noqa: PLC0415 - takes 30 ms, and few hubs have users

    return argon2.PasswordHasher().hash(password)


def verify_password(stored: str, password: bytes) -> bool:
    """Tell whether a password has this argon2 hash. Takes some 50 ms: not for the loop."""
    import argon2  # noqa: PLC0415

    try:
        return argon2.PasswordHasher().verify(stored, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


def check_password_hash(stored: str) -> str:
    """Return an argon2 hash as it is.

    Raises:
        ValueError: it is none.
    """
    import argon2  # noqa: PLC0415

    try:
        argon2.extract_parameters(stored)
    except argon2.exceptions.InvalidHashError:
        raise ValueError("not an argon2 hash; `hubbub hash-password` makes one") from None
    return stored


def _digest(text: str | bytes) -> bytes:
    return hashlib.sha256(
        text.encode(errors="surrogatepass") if isinstance(text, str) else text
    ).digest()


# All who decide


class Authority:
    """Decides who clients are and what they may do, from the configuration and all plugins.

    One belongs to each hub. Decisions are remembered: `allows` costs a dictionary look-up.
    """

    def __init__(self, config: "Config", manager: "PluginManager", hub: "Hub") -> None:
        self._settings = config.auth
        self._users = Users(config)
        self._manager = manager
        self._hub = hub
        self._authenticators = manager.implementations(Hooks.hubbub_authenticate)
        self._authorisers = manager.implementations(Hooks.hubbub_authorize)
        self._decisions: dict[tuple[Principal, str, str, str], bool] = {}

    @property
    def knows_somebody(self) -> bool:
        """Whether credentials can prove anything: there are users, or plugins that may know some.

        Where nobody is known, a protocol whose servers usually take any credentials then may treat
        them as none.
        """
        return bool(self._users or self._authenticators)

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """Return who this is, None if nobody says so.

        Configured users first: who is named there is decided there. Then the plugins, in order.

        Raises:
            BusyError: passwords can't be verified in time.
        """
        if self._users.knows(credentials):
            return await self._users.authenticate(credentials)
        for name, authenticate in self._authenticators:
            try:
                with trio.fail_after(self._settings.timeout):
                    principal = await authenticate(self._hub, credentials)
            except Exception as error:
                self._manager.failed(name, error, during=Hooks.hubbub_authenticate.__name__)
            else:
                if principal is not None:
                    return principal
        return await self._users.authenticate(credentials)

    @cached_property
    def _mechanisms(self) -> Mapping[str, tuple[str, Mechanism]]:
        """All mechanisms, and the plugins they are from; a plugin's replaces the users' own."""
        own = {name: ("hubbub", each) for name, each in self._users.mechanisms().items()}
        return own | self._manager.collect_named(Hooks.hubbub_mechanisms, self._hub)

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """Names of the mechanisms by which clients can authenticate in steps."""
        return tuple(sorted(self._mechanisms))

    def begin(self, attempt: Attempt) -> Authentication:
        """Begin to authenticate a client in steps.

        Raises:
            NotFoundError: there is no such mechanism.
        """
        try:
            plugin, mechanism = self._mechanisms[attempt.mechanism]
        except KeyError:
            raise NotFoundError("authentication mechanism", attempt.mechanism) from None

        def failed(error: Exception) -> None:
            self._manager.failed(plugin, error, during=Hooks.hubbub_mechanisms.__name__)

        return Authentication(lambda: mechanism(attempt), self._settings.timeout, failed)

    def allows(self, principal: Principal, action: str, resource: str, realm: str) -> bool:
        """Tell whether a principal may do this: see `ACTIONS`; a remembered answer if there is one.

        `resource` is an address, or for "subscribe" a pattern.
        """
        try:
            return self._decisions[principal, action, resource, realm]
        except KeyError:
            return self._decide(principal, action, resource, realm)

    def _decide(self, principal: Principal, action: str, resource: str, realm: str) -> bool:
        answers: list[bool | None] = [_by_permissions(principal, action, resource, realm)]
        sure = True
        for name, authorise in self._authorisers:
            try:
                answers.append(authorise(principal, action, resource, realm))
            except Exception as error:
                self._manager.failed(name, error, during=Hooks.hubbub_authorize.__name__)
                answers.append(False)
                sure = False
        allowed = True in answers and False not in answers
        if sure and len(resource) <= _MAX_REMEMBERED_RESOURCE:
            if len(self._decisions) >= self._settings.decision_entries:
                self._decisions.clear()
            self._decisions[principal, action, resource, realm] = allowed
        return allowed

    def forget(self) -> None:
        """Forget all decisions: a plugin calls this when its rules have changed."""
        self._decisions.clear()

    async def run(self) -> None:
        """Forget decisions every `auth.decision_ttl`, until cancelled."""
        while True:
            await trio.sleep(self._settings.decision_ttl)
            self.forget()


def _by_permissions(principal: Principal, action: str, resource: str, realm: str) -> bool | None:
    """Decide by realms and permissions; None where no permission applies, for plugins to allow."""
    if realm not in principal.realms and EVERYTHING not in principal.realms:
        return False
    applying = [each.allow for each in principal.permissions if each.decides(action, resource)]
    return all(applying) if applying else None
