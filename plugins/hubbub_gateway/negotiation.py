"""Media types: what a client sends, and what it would like to have (RFC 9110, 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from .problems import Problem


def media_type(value: str) -> str:
    """Return the type of a `Content-Type`, in lower case and without its parameters."""
    return value.partition(";")[0].strip().lower()


@lru_cache(maxsize=256)
def choose(accept: str, offered: Sequence[str]) -> str | None:
    """Return which of the offered media types a header `Accept` prefers, None if it takes none.

    Of equally good ones the first that is offered; no header takes anything.
    """
    if not accept.strip():
        return offered[0]
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    best, best_quality = None, 0.0
    for offer in offered:
        kind, _, subtype = offer.partition("/")
        quality, specificity = 0.0, -1
        for (wanted_kind, wanted_subtype), weight in ranges:
            if wanted_kind == kind and wanted_subtype == subtype:
                fits = 2
            elif wanted_kind == kind and wanted_subtype == "*":
                fits = 1
            elif wanted_kind == "*" and wanted_subtype == "*":
                fits = 0
            else:
                continue
            if fits > specificity:
                quality, specificity = weight, fits
        if quality > best_quality:
            best, best_quality = offer, quality
    return best


def _range(part: str) -> tuple[tuple[str, str], float]:
    name, *parameters = part.split(";")
    kind, _, subtype = name.strip().lower().partition("/")
    weight = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "q":
            try:
                weight = min(max(float(value), 0.0), 1.0)
            except ValueError:
                weight = 0.0
    return (kind, subtype), weight


def chosen(accept: str, offered: Sequence[str]) -> str:
    """Return which of the offered media types to answer in.

    Raises:
        Problem: 406, the client takes none of them.
    """
    found = choose(accept, tuple(offered))
    if found is None:
        raise Problem(
            "not-acceptable", f"The answer can be {', '.join(offered)}, not {accept[:200]!r}."
        )
    return found
