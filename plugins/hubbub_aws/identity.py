"""Who sends a request: access keys, signatures, and clients that need none."""

import time
from typing import TYPE_CHECKING

from hubbub import DEFAULT_REALM, AccessKey, Anonymous, Principal
from hubbub_aws.errors import AwsError
from hubbub_aws.routing import Call
from hubbub_aws.settings import AwsSettings
from hubbub_aws.sigv4 import Credentials, verify

if TYPE_CHECKING:
    from hubbub import Hub

PROTOCOL = "aws"
_REMEMBERED = 4096


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
        self._life = hub.config.auth.decision_ttl
        self._strangers: dict[tuple[str | None, str], tuple[Principal, float]] = {}
        """Keys that nobody knows, by where they come from, and until when that is believed."""

    def known(self, call: Call, peer: str) -> Principal | None:
        """Return the principal of a request whose signature nobody can check, if it is known.

        The short way for most requests; `admit` is the long one.
        """
        found = self._strangers.get((call.identity.access_key, peer.rpartition(":")[0]))
        if found is None or found[1] < time.monotonic():
            return None
        return found[0]

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
                if len(self._strangers) >= _REMEMBERED:
                    self._strangers.clear()
                until = time.monotonic() + self._life
                self._strangers[key, peer.rpartition(":")[0]] = (principal, until)
                return principal
        if key is None:
            # Says whether there is no signature, or what the one that there is lacks.
            verify(call.request, lambda _: None, self._hub.clock.now() / 1000)
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
