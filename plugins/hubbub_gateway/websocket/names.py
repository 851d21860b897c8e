"""The names of the queues behind subscriptions that must be acknowledged."""

from __future__ import annotations

import secrets
from typing import Final

from hubbub import Principal, escape_level

_SESSIONS: Final = "$hubbub.v1/session/"
_TEMPORARY: Final = "$hubbub.v1/temporary/"


def user_prefix(principal: Principal) -> str:
    """Return how the names of the queues of all sessions of a principal begin."""
    # The level of those without a name is empty, which no name is.
    return f"{_SESSIONS}{'' if principal.anonymous else escape_level(principal.name)}/"


def session_prefix(principal: Principal, session: str) -> str:
    """Return how the names of a session's queues begin; the subscription's name follows."""
    return f"{user_prefix(principal)}{session}/"


def temporary_name() -> str:
    """Return a name for the queue of a subscription that ends with its connection."""
    return _TEMPORARY + secrets.token_urlsafe(12)
