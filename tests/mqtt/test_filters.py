"""Filters of one session: found by a tree as by trying each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hubbub_mqtt.filters import Filters, Granted, Kind

LEVEL = st.sampled_from(["", "a", "b", "$a"])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTER = st.builds(
    lambda levels, rest: "/".join(levels + rest),
    st.lists(LEVEL | st.just("+"), max_size=4),
    st.sampled_from([[], ["#"]]),
).filter(bool)


@given(st.lists(FILTER, unique=True, min_size=1), st.lists(FILTER), TOPIC, st.booleans())
def test_few_filters_and_many_grant_the_same(
    added: list[str], removed: list[str], topic: str, own: bool
) -> None:
    few = Filters()
    many = Filters(
        [Granted(f"other/{number}", Kind.TOPICS, f"other/{number}", 2) for number in range(20)]
    )
    many.grant("other/0", own=False)  # it is a tree from now on
    for filters in (few, many):
        for number, each in enumerate(added):
            options = {"no_local": number % 3 == 0, "retain_as_published": number % 5 == 0}
            filters.add(Granted(each, Kind.TOPICS, each, 0))
            filters.add(Granted(each, Kind.TOPICS, each, 1 + number % 2, **options))
        filters.add(Granted("$share/g/#", Kind.SHARED, "#", 2))
        for each in removed:
            filters.remove(each)
    assert outcome(few, topic, own) == outcome(many, topic, own)


def outcome(filters: Filters, topic: str, own: bool) -> tuple[int, bool, tuple[int, ...]] | None:
    grant = filters.grant(topic, own=own)
    if grant is None:
        return None
    return grant.qos, grant.retain_as_published, grant.identifiers


def test_what_overlaps() -> None:
    a = Granted("a", Kind.TOPICS, "a", 0)
    filters = Filters([a, Granted("$queue/q", Kind.QUEUE, "q", 1)])
    seen = [filters.overlapping]
    filters.add(Granted("a", Kind.TOPICS, "a", 1))
    seen.append(filters.overlapping)
    filters.add(Granted("+", Kind.TOPICS, "+", 1))
    seen.append(filters.overlapping)
    for _ in range(2):
        filters.remove("a")
    seen.append(filters.overlapping)
    assert seen == [False, False, True, False]
    assert len(filters) == 2
