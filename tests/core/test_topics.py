import random
import timeit
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from hubbub.address import MAX_LEVELS
from hubbub.topics import PatternTree, SubscriptionTree, TopicMap


@dataclass(eq=False)
class Sub:
    pattern: str
    scope: str | None = None


def naive_match(pattern: str, topic: str) -> bool:
    """The rules written down one by one, with no thought of cost."""

    def levels_match(pattern: list[str], topic: list[str]) -> bool:
        if not pattern:
            return not topic
        if pattern[0] == "#":
            return any(levels_match(pattern[1:], topic[cut:]) for cut in range(len(topic) + 1))
        return (
            bool(topic) and pattern[0] in ("+", topic[0]) and levels_match(pattern[1:], topic[1:])
        )

    if topic.startswith("$") and pattern.split("/", maxsplit=1)[0] in ("+", "#"):
        return False
    return levels_match(pattern.split("/"), topic.split("/"))


def naive_sees(sub: Sub, topic: str, scope: str | None) -> bool:
    in_scope = sub.scope is None or scope is None or sub.scope == scope
    return in_scope and naive_match(sub.pattern, topic)


topics = st.lists(st.sampled_from(["a", "b", "", "$s"]), min_size=1, max_size=5).map("/".join)
patterns = st.lists(st.sampled_from(["a", "b", "", "$s", "+", "#"]), min_size=1, max_size=6).map(
    "/".join
)
scopes = st.sampled_from([None, None, "x", "y"])


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a", False),
        ("a/+", "a/b", True),
        ("a/+", "a/", True),
        ("a/+", "a", False),
        ("+", "a/b", False),
        ("+/+", "/a", True),
        ("/+", "/a", True),
        ("+", "", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "ab", False),
        ("#", "a/b", True),
        ("#", "/", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("#/x", "$SYS/x", False),
        ("#/$SYS/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("$SYS/+", "$SYS/x", True),
        ("a/#", "a/$SYS", True),
        ("a/+", "a/$SYS", True),
        ("#/b", "b", True),
        ("#/b", "a/a/b", True),
        ("#/b", "a/b/a", False),
        ("a/#/b", "a/b", True),
        ("a/#/b", "a/x/y/b", True),
        ("#/a/#", "x/a/y", True),
        ("#/a/#/b", "a/b/a", False),
        ("#/+", "a", True),
        ("+/#/+", "a", False),
        ("#/#/#", "a", True),
        ("a/#/#/#", "a", True),
        ("a/#/#/#/b", "a/b", True),
        ("a//b", "a//b", True),
        ("a/b", "a//b", False),
        ("a/#/b", "a//b", True),
    ],
)
def test_examples(pattern: str, topic: str, expected: bool) -> None:
    assert naive_match(pattern, topic) is expected
    tree = SubscriptionTree[Sub]()
    sub = Sub(pattern)
    tree.add(sub)
    assert tree.match(topic) == ((sub,) if expected else ())
    retained = TopicMap[int]()
    retained.set(topic, 1)
    assert list(retained.match(pattern)) == ([(topic, 1)] if expected else [])


def test_a_pattern_has_several_values() -> None:
    tree = PatternTree[str]()
    for pattern, value in (("a/+", "x"), ("a/+", "y"), ("#", "x")):
        tree.add(pattern, value)
        assert tree.has(pattern, value)
    assert len(tree) == 3
    assert tree.match("a/b") == ["x", "y", "x"]
    with pytest.raises(ValueError, match="already"):
        tree.add("a/+", "y")
    tree.remove("a/+", "x")
    assert tree.match("a/b") == ["y", "x"]
    for pattern, value in (("a/+", "x"), ("b", "x")):
        assert not tree.has(pattern, value)
        with pytest.raises(KeyError):
            tree.remove(pattern, value)


class TestSubscriptionTree:
    @given(st.lists(st.tuples(patterns, scopes), max_size=20), topics, scopes)
    def test_matches_as_the_oracle_in_the_order_of_subscription(
        self, wanted: list[tuple[str, str | None]], topic: str, scope: str | None
    ) -> None:
        tree = SubscriptionTree[Sub]()
        subs = [Sub(pattern, its_scope) for pattern, its_scope in wanted]
        for sub in subs:
            tree.add(sub)
        expected = tuple(sub for sub in subs if naive_sees(sub, topic, scope))
        assert tree.match(topic, scope) == expected
        assert tree.match(topic, scope) == expected
        assert len(tree) == len(subs)

    def test_scopes(self) -> None:
        tree = SubscriptionTree[Sub]()
        everything, logs, other = Sub("#"), Sub("#", "logs"), Sub("#", "other")
        for sub in (everything, logs, other):
            tree.add(sub)
        assert tree.match("a") == (everything, logs, other)
        assert tree.match("a", "logs") == (everything, logs)
        assert tree.match("a", "other") == (everything, other)
        assert tree.match("a", "third") == (everything,)

    def test_a_subscription_is_added_and_removed_once(self) -> None:
        tree = SubscriptionTree[Sub]()
        sub, twin = Sub("a/#"), Sub("a/#")
        tree.add(sub)
        tree.add(twin)
        with pytest.raises(ValueError, match="already"):
            tree.add(sub)
        assert len(tree) == 2
        assert sub in tree
        tree.remove(sub)
        assert sub not in tree
        assert tree.match("a") == (twin,)
        for missing in (sub, Sub("a"), Sub("b/c")):
            with pytest.raises(KeyError):
                tree.remove(missing)
        tree.remove(twin)
        assert len(tree) == 0
        assert twin not in tree

    def test_removing_prunes(self) -> None:
        tree = SubscriptionTree[Sub]()
        short, long = Sub("a"), Sub("a/b/#/c")
        tree.add(short)
        tree.add(long)
        tree.remove(long)
        assert tree.match("a") == (short,)
        assert tree._tree._root.children["a"].children == {}
        tree.remove(short)
        assert tree._tree._root.children == {}

    def test_hostile_patterns_cost_little(self) -> None:
        tree = SubscriptionTree[Sub]()
        tree.add(Sub("/".join(["#", "a"] * (MAX_LEVELS // 2 - 1) + ["b"])))
        retained = TopicMap[int]()
        topic = "/".join(["a"] * MAX_LEVELS)
        retained.set(topic, 1)
        # Exponential work would not end; the bound is only a generous limit for slow machines.
        assert timeit.timeit(lambda: tree.match(topic), number=1) < 5
        assert tree.match(topic) == ()
        assert list(retained.match("/".join(["#", "a"] * 200 + ["b"]))) == []
        assert list(retained.match("/".join(["#", "a"] * 200))) == [(topic, 1)]


class TestMatchCache:
    def test_a_change_elsewhere_leaves_it_alone(self) -> None:
        tree = SubscriptionTree[Sub]()
        tree.add(Sub("devices/1/#"))
        before = tree.match("devices/1/up")
        scoped = tree.match("devices/1/up", "x")
        newcomers = [Sub("devices/2/#"), Sub("devices/1/down"), Sub("devices/+/down", "x")]
        for sub in newcomers:
            tree.add(sub)
        tree.remove(newcomers[0])
        assert tree.match("devices/1/up") is before
        assert tree.match("devices/1/up", "x") is scoped

    @pytest.mark.parametrize("pattern", ["d/1/up", "d/+/up", "d/#", "#", "+/1/up", "#/up"])
    @pytest.mark.parametrize("scope", [None, "x"])
    def test_a_change_that_concerns_it_is_seen(self, pattern: str, scope: str | None) -> None:
        tree = SubscriptionTree[Sub]()
        first, second = Sub("d/1/#"), Sub(pattern, scope)
        tree.add(first)
        assert tree.match("d/1/up") == tree.match("d/1/up", "x") == (first,)
        tree.add(second)
        assert tree.match("d/1/up") == tree.match("d/1/up", "x") == (first, second)
        tree.remove(first)
        assert tree.match("d/1/up") == tree.match("d/1/up", "x") == (second,)

    def test_a_change_that_concerns_very_many_is_seen(self) -> None:
        tree = SubscriptionTree[Sub]()
        for number in range(1000):
            assert tree.match(f"d/{number}") == ()
        late = Sub("d/+")
        tree.add(late)
        assert all(tree.match(f"d/{number}") == (late,) for number in range(1000))

    @pytest.mark.parametrize("pattern", ["d/1/up", "d/+/up", "d/#", "#"])
    def test_a_change_is_seen_where_a_match_is_of_the_older_generation(self, pattern: str) -> None:
        tree = SubscriptionTree[Sub](cache_entries=1000)
        assert tree.match("d/1/up") == tree.match("d/1/up", "x") == ()
        for number in range(499):
            tree.match(f"d/{number + 2}/up")
        assert "d/1/up" in tree._cache._older
        late = Sub(pattern)
        tree.add(late)
        assert tree.match("d/1/up") == tree.match("d/1/up", "x") == (late,)

    def test_it_is_bounded_and_keeps_what_is_in_use(self) -> None:
        tree = SubscriptionTree[Sub](cache_entries=100)
        tree.add(Sub("#"))
        in_use = tree.match("in/use")
        for number in range(1000):
            tree.match(f"t/{number}", None if number % 2 else "x")
            assert tree.match("in/use") is in_use
        cache = tree._cache
        assert len(cache.recent) + len(cache._older) <= 100
        assert len(cache._recent_keys) + len(cache._older_keys) <= 100

    def test_large_results_and_long_topics_take_no_more_room(self) -> None:
        tree = SubscriptionTree[Sub](cache_entries=100)
        for _ in range(3200):
            tree.add(Sub("#"))
        for number in range(50):
            assert len(tree.match(f"t/{number}")) == 3200
        assert len(tree._cache.recent) + len(tree._cache._older) <= 2
        long_topic = "t/" + "x" * 5000
        deep_topic = "t" + "/x" * 100
        assert len(tree.match(long_topic)) == len(tree.match(deep_topic)) == 3200
        assert long_topic not in tree._cache.recent
        assert deep_topic not in tree._cache.recent


class TreeMachine(RuleBasedStateMachine):
    """Any series of changes and matches, with a cache small enough to turn over."""

    subs = Bundle("subs")

    @initialize()
    def start(self) -> None:
        self.tree = SubscriptionTree[Sub](cache_entries=6)
        self.model: list[Sub] = []

    @rule(target=subs, pattern=patterns, scope=scopes)
    def add(self, pattern: str, scope: str | None) -> Sub:
        sub = Sub(pattern, scope)
        self.tree.add(sub)
        self.model.append(sub)
        return sub

    @rule(sub=consumes(subs))
    def remove(self, sub: Sub) -> None:
        self.tree.remove(sub)
        self.model.remove(sub)

    @rule(topic=topics, scope=scopes)
    def match(self, topic: str, scope: str | None) -> None:
        expected = tuple(sub for sub in self.model if naive_sees(sub, topic, scope))
        assert self.tree.match(topic, scope) == expected

    @invariant()
    def lengths_agree(self) -> None:
        assert len(self.tree) == len(self.model)
        cache = self.tree._cache
        assert (
            cache._weight == len(cache.recent) == sum(len(k) for _, k in cache._recent_keys.items())
        )

    def teardown(self) -> None:
        for sub in self.model:
            self.tree.remove(sub)
        assert self.tree._tree._root.children == {}


TestTreeMachine = TreeMachine.TestCase
TestTreeMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


class TestTopicMap:
    @given(st.lists(topics, max_size=20), patterns)
    def test_matches_as_the_oracle(self, wanted: list[str], pattern: str) -> None:
        retained = TopicMap[int]()
        for number, topic in enumerate(wanted):
            retained.set(topic, number)
        model = {topic: number for number, topic in enumerate(wanted)}
        assert len(retained) == len(model)
        assert sorted(retained.items()) == sorted(model.items())
        found = list(retained.match(pattern))
        assert sorted(found) == sorted(
            (topic, number) for topic, number in model.items() if naive_match(pattern, topic)
        )

    @given(st.lists(st.tuples(st.booleans(), topics), max_size=40))
    def test_set_and_delete_as_a_dictionary(self, acts: list[tuple[bool, str]]) -> None:
        retained, model = TopicMap[int](), dict[str, int]()
        for number, (is_set, topic) in enumerate(acts):
            if is_set:
                retained.set(topic, number)
                model[topic] = number
            else:
                assert retained.delete(topic) is (model.pop(topic, None) is not None)
            assert retained.get(topic) == model.get(topic)
            assert (topic in retained) is (topic in model)
        assert sorted(retained.items()) == sorted(model.items())
        for topic in model:
            assert retained.delete(topic)
        assert retained._root.children == {}

    def test_setdefault_keeps_what_is_there(self) -> None:
        retained = TopicMap[int]()
        assert retained.setdefault("a/b", 1) == 1
        assert retained.setdefault("a/b", 2) == 1
        assert list(retained.items()) == [("a/b", 1)]

    def test_a_match_can_be_given_up(self) -> None:
        retained = TopicMap[int]()
        for number in range(10):
            retained.set(f"a/{number}", number)
        for pattern in ("a/#", "a/+", "#", "+/+"):
            found = retained.match_few(pattern, 11)
            assert found is not None
            assert len(found) == 10
            assert retained.match_few(pattern, 9) is None
        assert retained.match_few("+/#/3", 9) is None
        assert retained.match_few("a/3", 1) == [("a/3", 3)]

    def test_none_is_a_value_like_any(self) -> None:
        retained = TopicMap[None]()
        retained.set("a", None)
        assert "a" in retained
        assert retained.get("a", "default") is None
        assert retained.get("a/b", "default") == "default"
        assert list(retained.match("#")) == [("a", None)]

    def test_a_literal_lookup_does_not_scan(self) -> None:
        retained = TopicMap[int]()
        for number in range(2000):
            retained.set(f"d/{number}/state", number)
        visited: list[str] = []

        class Watched(dict):  # type: ignore[type-arg]
            def items(self):  # type: ignore[no-untyped-def]
                visited.extend(self)
                return super().items()

        retained._root.children["d"].children = Watched(retained._root.children["d"].children)
        assert list(retained.match("d/7/+")) == [("d/7/state", 7)]
        assert visited == []
        assert len(list(retained.match("d/+/state"))) == 2000
        assert len(visited) == 2000


def test_random_large_tree_agrees_with_the_oracle() -> None:
    randomness = random.Random(7)
    words = ["a", "b", "c", "d", "e"]
    tree = SubscriptionTree[Sub]()
    subs = [
        Sub("/".join(randomness.choices([*words, "+", "#"], k=randomness.randint(1, 5))))
        for _ in range(2000)
    ]
    for sub in subs:
        tree.add(sub)
    for _ in range(20):
        topic = "/".join(randomness.choices(words, k=randomness.randint(1, 6)))
        assert tree.match(topic) == tuple(sub for sub in subs if naive_match(sub.pattern, topic))
