"""Who sends a request: access keys, signatures, and clients that need none."""

from typing import TYPE_CHECKING

from hubbub.auth import AccessKey, Anonymous, Principal
from hubbub.engine.contract import DEFAULT_REALM
from hubbub.hookspecs import Hooks
from hubbub_aws.errors import AwsError
from hubbub_aws.routing import Call
from hubbub_aws.settings import AwsSettings
from hubbub_aws.sigv4 import Credentials, verify

if TYPE_CHECKING:
    from hubbub.app import Hub

PROTOCOL = "aws"
_REMEMBERED_PEERS = 4096


def accounts_of(hub: "Hub", settings: AwsSettings) -> dict[str, str]:
    """Return the accounts of the users' access keys, by access key id.

    A user's account is the one whose realm is the first the user may enter.
    """
    places = {realm: place.partition("/")[0] for place, realm in settings.realms.items()}
    places.setdefault(DEFAULT_REALM, settings.account)
    accounts: dict[str, str] = {}
    for user in hub.config.users:
        realm = next(iter(user.realms), DEFAULT_REALM)
        account = places.get(realm) or (realm if len(realm) == 12 and realm.isdecimal() else None)
        for key in user.access_keys:
            accounts[key.id] = account or settings.account
    return accounts


class Gatekeeper:
    """Turns requests into principals, as `aws.auth` and `auth.anonymous` say."""

    def __init__(self, hub: "Hub", settings: AwsSettings) -> None:
        self._hub = hub
        self._verify = settings.auth == "verify"
        self._keys = {key.id for user in hub.config.users for key in user.access_keys}
        self._plugins = hub.manager.has_implementations(Hooks.hubbub_authenticate)
        self._anonymous: dict[str, Principal | None] = {}

    def known(self, call: Call, peer: str) -> Principal | None:
        """Return the principal of a request that needs no look at its signature, if it is known.

        The short way for most requests; `admit` is the long one.
        """
        if self._verify or self._plugins or call.identity.access_key in self._keys:
            return None
        return self._anonymous.get(peer.rpartition(":")[0])

    async def admit(self, call: Call, peer: str) -> Principal:
        """Return who sent a request.

        Raises:
            AwsError: nobody who is admitted; or the signature is wrong.
            BusyError: the credentials can't be verified in time.
        """
        key = call.identity.access_key
        if key is not None:
            principal = await self._check(call, key, peer)
            if principal is not None:
                return principal
        if not self._verify:
            principal = await self._hub.authenticate(Anonymous(peer=peer, protocol=PROTOCOL))
            if principal is not None:
                if len(self._anonymous) >= _REMEMBERED_PEERS:
                    self._anonymous.clear()
                if not self._plugins:
                    self._anonymous[peer.rpartition(":")[0]] = principal
                return principal
        if key is None:
            raise AwsError(
                "MissingAuthenticationTokenException", "Request is missing Authentication Token"
            )
        raise AwsError(
            "UnrecognizedClientException", "The security token included in the request is invalid."
        )

    async def _check(self, call: Call, key: str, peer: str) -> Principal | None:
        """Return whose access key it is, None if nobody knows it. Raises `AwsError`."""
        request, now = call.request, self._hub.clock.now() / 1000
        service = None if call.service is None else call.service.name
        refusals: list[AwsError] = []

        def proves(secret: str) -> bool:
            try:
                verify(request, lambda _: Credentials(secret), now, service=service)
            except AwsError as error:
                refusals.append(error)
                return False
            return True

        principal = await self._hub.authenticate(AccessKey(key, proves, peer, PROTOCOL))
        if principal is None and refusals:
            raise refusals[0]
        return principal
