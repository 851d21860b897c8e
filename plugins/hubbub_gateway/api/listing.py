"""Lists of named things, in pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol, TypeVar

import msgspec

from hubbub import Session

MAX_PAGE = 1_000


class Named(Protocol):
    """What has a name."""

    @property
    def name(self) -> str:
        """Its name."""


N = TypeVar("N", bound=Named)


class ListOptions(msgspec.Struct, kw_only=True, frozen=True):
    """Which part of a list: names that start with `prefix`, come after `after`, at most `limit`."""

    prefix: str = ""
    after: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)] = 100


def page(found: Sequence[N], options: ListOptions) -> tuple[list[N], str | None]:
    """Return a page of what was found, and which name the next one comes after, if there is one."""
    later = [each for each in found if each.name > options.after]
    part = later[: options.limit]
    return part, part[-1].name if len(later) > len(part) else None


def may_see(session: Session, address: str) -> bool:
    """Tell whether a principal may know of a queue or stream: if it may use it in any way."""
    return any(session.allowed(action, address) for action in ("consume", "publish", "configure"))
