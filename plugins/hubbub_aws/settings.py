"""The section `[aws]` of hubbub.toml."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from hubbub import DEFAULT_REALM, ListenerSettings, Section, Size
from hubbub_aws.routing import DEFAULT_ACCOUNT, DEFAULT_REGION

_ACCOUNT = re.compile(r"[0-9]{12}")
_PLACE = re.compile(r"[0-9]{12}(/[a-z0-9-]{1,64})?")


def _account(text: str) -> str:
    if not _ACCOUNT.fullmatch(text):
        raise ValueError("an account id has twelve digits")
    return text


def _place(text: str) -> str:
    if not _PLACE.fullmatch(text):
        raise ValueError("write it as ACCOUNT or ACCOUNT/REGION; an account id has twelve digits")
    return text


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise ValueError('write it as "https://HOST" or "https://HOST/PATH"')
    return text.rstrip("/")


class AwsListenerSettings(ListenerSettings):
    """Where the AWS services listen."""

    bind: list[str] = Field(
        default=["127.0.0.1:4566"],
        description='Addresses to listen on, such as "127.0.0.1:4566". Port 0 takes a free one.',
    )


class AwsSettings(Section):
    """The AWS services: one listener for all of them."""

    listener: AwsListenerSettings = Field(
        default_factory=AwsListenerSettings, description="Where they listen."
    )
    auth: Literal["any", "verify"] = Field(
        default="any",
        description='Whose requests are served: "any": signed with whatever key, by clients that '
        'need no credentials (`auth.anonymous`); "verify": signed with an access key of a user. '
        "An access key that belongs to a user is verified in both cases.",
    )
    account: Annotated[str, AfterValidator(_account)] = Field(
        default=DEFAULT_ACCOUNT,
        description="Account of the access keys that are not an account id themselves.",
    )
    region: str = Field(
        default=DEFAULT_REGION, min_length=1, description="Region of requests that name none."
    )
    realms: dict[Annotated[str, AfterValidator(_place)], str] = Field(
        default={},
        description='Realms of accounts ("123456789012") and of regions that are to be apart '
        f'("123456789012/eu-west-1"). By default `account` and {DEFAULT_ACCOUNT} are the realm '
        f'"{DEFAULT_REALM}", and any other account is a realm of its own.',
    )
    public_url: Annotated[str, AfterValidator(_url)] | None = Field(
        default=None,
        description="What URLs in answers begin with, behind a proxy; default: the scheme and "
        "host by which the client came.",
    )
    cors_origins: list[str] = Field(
        default=["http://localhost", "http://127.0.0.1", "http://[::1]"],
        description='Origins of web pages that may call. One without a port means any port; "*" '
        "all origins. Calls from pages of other origins are refused.",
    )
    max_request_bytes: Size = Field(
        default=15_000_000, ge=100_000, description="The largest request body."
    )

    def realm(self, account: str, region: str) -> str:
        """Return the realm of an account in a region."""
        realm = self.realms.get(f"{account}/{region}") or self.realms.get(account)
        if realm is not None:
            return realm
        return DEFAULT_REALM if account in {self.account, DEFAULT_ACCOUNT} else account
