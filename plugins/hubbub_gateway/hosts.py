"""The names by which clients may call this machine.

A web page whose own name was made to lead to this machine (DNS rebinding) is on another origin than
ours only by that name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

_KEPT: Final = 1_000


class HostNames:
    """Addresses, `localhost`, and the names that are configured."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {"localhost", *(name.lower() for name in names)}
        self._known: set[str] = set()
        """Values of the header `Host` that were found to be ours."""

    def has(self, host: str) -> bool:
        """Tell whether a value of the header `Host`, in lower case, is a name of ours."""
        if host in self._known:
            return True
        if not self._is_ours(host):
            return False
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known.add(host)
        return True

    def _is_ours(self, host: str) -> bool:
        name = host[: host.index("]") + 1] if "]" in host else host.partition(":")[0]
        if not name or name in self._names or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True
