"""The web pages that may call: a list of origins."""

from collections.abc import Iterable
from urllib.parse import urlsplit


class Origins:
    """Origins such as "https://example.org:8443" (RFC 6454), asked with `in`.

    One without a port stands for all its ports, "*" for every origin.
    """

    __slots__ = ("_listed", "everybody")

    def __init__(self, listed: Iterable[str]) -> None:
        self._listed = {origin.rstrip("/").lower() for origin in listed}
        self.everybody = "*" in self._listed
        """Whether pages of all origins may call."""

    def __contains__(self, origin: str) -> bool:
        if self.everybody:
            return True
        origin = origin.lower()
        if origin in self._listed:
            return True
        try:
            parts = urlsplit(origin)
            host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        except ValueError:
            return False
        return f"{parts.scheme}://{host}" in self._listed
