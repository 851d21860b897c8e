"""Which offer of permessage-deflate a server accepts. Without I/O.

wsproto takes what it knows of an offer and mixes the parameters of all of them. A server must
decline an offer that it does not understand as a whole, and answer one alone.

Source: RFC 7692, sections 5.1 and 7.1; RFC 6455, section 9.1.
"""

import re
from collections.abc import Iterable

__all__ = ["choose_offer"]

_PARAMETER = re.compile(r'([a-z_]+)(?:[ \t]*=[ \t]*("?)([1-9][0-9]?)\2)?')
_FLAGS = frozenset({"server_no_context_takeover", "client_no_context_takeover"})


def choose_offer(offers: Iterable[str]) -> str | None:
    """Return the first offer that can be accepted, in its plainest spelling; None if none can.

    Args:
        offers: the members of Sec-WebSocket-Extensions, in the client's order of preference.
    """
    for offer in offers:
        name, *parameters = (part.strip(" \t") for part in offer.split(";"))
        if name == "permessage-deflate" and (accepted := _accept(parameters)) is not None:
            return "; ".join([name, *accepted])
    return None


def _accept(parameters: Iterable[str]) -> list[str] | None:
    accepted: dict[str, str] = {}
    for parameter in parameters:
        match = _PARAMETER.fullmatch(parameter)
        if match is None:
            return None
        name, bits = match[1], None if match[3] is None else int(match[3])
        if name in accepted or (bits is not None and not 8 <= bits <= 15):
            return None
        if name in _FLAGS and bits is None:
            accepted[name] = name
        elif name == "server_max_window_bits" and bits is not None and bits > 8:
            accepted[name] = f"{name}={bits}"  # zlib has no window of 8 bits
        elif name == "client_max_window_bits":
            # A hint of the client's that needs no answer, which could not be 8 either.
            accepted[name] = "" if bits == 8 else name if bits is None else f"{name}={bits}"
        else:
            return None
    return [text for text in accepted.values() if text]
