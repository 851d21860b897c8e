"""Sampling: of what happens often, reports tell a part."""

import random


def sampled(percent: int) -> bool:
    """Draw whether to report this time; in `percent` of the cases, 0 to 100, it is so."""
    return random.random() * 100 < percent  # noqa: S311 — it guards nothing


def is_percentage(text: str) -> bool:
    """Tell whether this is a whole number from 0 to 100."""
    return text.isascii() and text.isdecimal() and len(text) <= 3 and int(text) <= 100
