"""Trees of patterns and topics: which subscriptions see what was published to a topic.

Topics and patterns are split into levels at ``/``; an empty level is a level. In a pattern ``+``
stands for one level and ``#`` for any number of levels, none included; both may come anywhere and
more than once. Topics whose first level starts with ``$`` are not matched by a pattern that starts
with a wildcard (MQTT 5.0, section 4.7.2).

A *scope* keeps publications of one origin to the subscriptions of that origin: what was published
through an AMQP exchange is seen by the bindings of that exchange and by every subscription that has
no scope; what was published without a scope is seen by all.
"""

import itertools
import operator
import sys
from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeAlias, TypeVar, overload

MATCH_CACHE_ENTRIES = 10_000
"""How many matches a `SubscriptionTree` remembers unless told otherwise."""


class Subscription(Protocol):
    """What `SubscriptionTree` needs of a subscription: hashable, with a pattern and a scope.

    Neither attribute, nor the hash, may change while the subscription is in the tree.
    """

    @property
    def pattern(self) -> str:
        """The pattern of topics it wants; see `hubbub.address.check_pattern`."""

    @property
    def scope(self) -> str | None:
        """The one scope it sees, beside what has none; None sees every scope."""

    def __hash__(self) -> int: ...


SubscriptionT = TypeVar("SubscriptionT", bound=Subscription)
ValueT = TypeVar("ValueT")
DefaultT = TypeVar("DefaultT")

_CacheKey: TypeAlias = str | tuple[str, str]


class PatternTree(Generic[ValueT]):
    """Values by pattern, found by topic; a pattern may have several.

    Matching visits only the branches that can match: its cost grows with the levels of the topic
    and the matching patterns, not with the number of patterns, and never exponentially, however
    many ``#`` a pattern holds.

    Topics and patterns must be valid (`check_pattern`); the tree does not check them again. Values
    are hashable, and their hash does not change.
    """

    def __init__(self) -> None:
        self._root: _PatternNode[ValueT] = _PatternNode()
        self._length = 0
        self._added = 0

    def __len__(self) -> int:
        return self._length

    def has(self, pattern: str, value: ValueT) -> bool:
        """Tell whether a pattern has a value."""
        node: _PatternNode[ValueT] | None = self._root
        for level in pattern.split("/"):
            if node is None:
                return False
            node = node.children.get(level)
        return node is not None and value in node.values

    def add(self, pattern: str, value: ValueT) -> None:
        """Give a pattern a value. Raises `ValueError` if it has it."""
        node = self._root
        for level in pattern.split("/"):
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _PatternNode()
            node = child
        if value in node.values:
            raise ValueError(f"already in the tree: {value!r}")
        node.values[value] = self._added
        self._added += 1
        self._length += 1

    def remove(self, pattern: str, value: ValueT) -> None:
        """Take a value from a pattern. Raises `KeyError` if it does not have it."""
        levels = pattern.split("/")
        path = [self._root]
        for level in levels:
            child = path[-1].children.get(level)
            if child is None:
                raise KeyError(value)
            path.append(child)
        del path[-1].values[value]
        self._length -= 1
        for level in reversed(levels):
            node = path.pop()
            if node.values or node.children:
                break
            del path[-1].children[level]

    def match(self, topic: str) -> list[ValueT]:
        """Return the values of the patterns that match a topic, the oldest first."""
        nodes = self._matching_nodes(topic)
        return list(nodes[0].values) if len(nodes) == 1 else _in_order(nodes)

    def _matching_nodes(self, topic: str) -> "list[_PatternNode[ValueT]]":
        # All patterns at once, as one finite automaton whose states are the nodes of the tree. A
        # node is entered by one level of the topic and left by the next, but a `#` node once
        # entered stays: it takes every further level. So every state is held at most once, and the
        # work is bounded by levels times states.
        matching: list[_PatternNode[ValueT]] = []
        staying: list[_PatternNode[ValueT]] = []
        entered: set[_PatternNode[ValueT]] = set()

        def enter_hash(node: _PatternNode[ValueT]) -> None:
            # `#` takes no level too, so its node is entered along with the one above it.
            hash_node = node.children.get("#")
            while hash_node is not None and hash_node not in entered:
                entered.add(hash_node)
                if hash_node.values:
                    matching.append(hash_node)
                if not hash_node.children:
                    break
                staying.append(hash_node)
                hash_node = hash_node.children.get("#")

        active = [self._root]
        wildcards_apply = not topic.startswith("$")
        if wildcards_apply:
            enter_hash(self._root)
        for level in topic.split("/"):
            sources = active + staying if staying else active
            if not sources:
                break
            active = []
            for node in sources:
                children = node.children
                child = children.get(level)
                if child is not None:
                    active.append(child)
                    if child.children:
                        enter_hash(child)
                if wildcards_apply:
                    child = children.get("+")
                    if child is not None:
                        active.append(child)
                        if child.children:
                            enter_hash(child)
            wildcards_apply = True
        matching.extend([node for node in active if node.values])
        return matching


class SubscriptionTree(Generic[SubscriptionT]):
    """All subscriptions of a realm, found by topic.

    A `PatternTree` that remembers what it has found for up to ``cache_entries`` topics. A change
    forgets only the topics it concerns, so clients that come and go do not slow down those who
    publish elsewhere.
    """

    def __init__(self, *, cache_entries: int = MATCH_CACHE_ENTRIES) -> None:
        self._tree: PatternTree[SubscriptionT] = PatternTree()
        self._cache: _MatchCache[SubscriptionT] = _MatchCache(cache_entries)

    def __len__(self) -> int:
        return len(self._tree)

    def __contains__(self, subscription: SubscriptionT) -> bool:
        return self._tree.has(subscription.pattern, subscription)

    def add(self, subscription: SubscriptionT) -> None:
        """Add a subscription. Raises `ValueError` if it is in the tree."""
        self._tree.add(subscription.pattern, subscription)
        self._cache.forget(subscription.pattern)

    def remove(self, subscription: SubscriptionT) -> None:
        """Remove a subscription. Raises `KeyError` if it is not in the tree."""
        self._tree.remove(subscription.pattern, subscription)
        self._cache.forget(subscription.pattern)

    def match(self, topic: str, scope: str | None = None) -> tuple[SubscriptionT, ...]:
        """Return the subscriptions that see a publication, each once, the oldest first."""
        key = topic if scope is None else (topic, scope)
        found = self._cache.recent.get(key)
        if found is None:
            found = self._cache.revive(topic, key)
            if found is None:
                found = self._match(topic, scope)
                self._cache.remember(topic, key, found)
        return found

    def _match(self, topic: str, scope: str | None) -> tuple[SubscriptionT, ...]:
        found = self._tree.match(topic)
        if scope is None:
            return tuple(found)
        return tuple([each for each in found if each.scope is None or each.scope == scope])


class TopicMap(Generic[ValueT]):
    """Values by topic, found by pattern without looking at every topic.

    Holds the retained messages of a realm, for one. Literal levels of a pattern are looked up, and
    only under a wildcard are branches walked; the work per visited level does not grow with the
    number of ``#`` in the pattern. Topics and patterns must be valid (`hubbub.address`).
    """

    def __init__(self) -> None:
        self._root: _TopicNode[ValueT] = _TopicNode()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __contains__(self, topic: str) -> bool:
        node = self._find(topic)
        return node is not None and node.entry is not None

    def items(self) -> Iterator[tuple[str, ValueT]]:
        """Iterate over all topics and their values, in no order to rely on."""
        return _entries(self._root)

    def set(self, topic: str, value: ValueT) -> None:
        """Set the value of a topic, in place of any it had."""
        node = self._make(topic)
        if node.entry is None:
            self._length += 1
        node.entry = (topic, value)

    def setdefault(self, topic: str, value: ValueT) -> ValueT:
        """Return the value of a topic; a topic that has none gets this one."""
        node = self._make(topic)
        if node.entry is None:
            self._length += 1
            node.entry = (topic, value)
        return node.entry[1]

    @overload
    def get(self, topic: str) -> ValueT | None: ...
    @overload
    def get(self, topic: str, default: DefaultT) -> ValueT | DefaultT: ...
    def get(self, topic: str, default: object = None) -> object:
        """Return the value of a topic, or the default."""
        node = self._find(topic)
        return default if node is None or node.entry is None else node.entry[1]

    def delete(self, topic: str) -> bool:
        """Remove a topic; tell whether it was there."""
        levels = topic.split("/")
        path = [self._root]
        for level in levels:
            child = path[-1].children.get(level)
            if child is None:
                return False
            path.append(child)
        if path[-1].entry is None:
            return False
        path[-1].entry = None
        self._length -= 1
        for level in reversed(levels):
            node = path.pop()
            if node.entry is not None or node.children:
                break
            del path[-1].children[level]
        return True

    def match(self, pattern: str) -> Iterator[tuple[str, ValueT]]:
        """Iterate over the topics that a pattern matches and their values, each once.

        In no order to rely on. The map must not change while this iterates.
        """
        return self._walk(pattern, sys.maxsize)

    def match_few(self, pattern: str, limit: int) -> list[tuple[str, ValueT]] | None:
        """Return what `match` finds, or None if that takes more than ``limit`` steps."""
        if not self._length:
            return []
        try:
            found = list(itertools.islice(self._walk(pattern, limit), limit + 1))
        except _TooManyStepsError:
            return None
        return found if len(found) <= limit else None

    def _walk(self, pattern: str, steps_left: int) -> Iterator[tuple[str, ValueT]]:
        if "+" not in pattern and "#" not in pattern:
            literal = self._find(pattern)
            if literal is not None and literal.entry is not None:
                yield literal.entry
            return
        steps = _PatternSteps(pattern)
        stack: list[tuple[_TopicNode[ValueT], int]]
        if steps.start & steps.branching:
            steps_left -= len(self._root.children)
            if steps_left < 0:
                raise _TooManyStepsError
            stack = [
                (child, steps.after(steps.start, level))
                for level, child in self._root.children.items()
                if not level.startswith("$")
            ]
        else:
            stack = [(self._root, steps.start)]
        while stack:
            node, states = stack.pop()
            if states & steps.everything:
                yield from _entries(node)
                continue
            if states & steps.accepting and node.entry is not None:
                yield node.entry
            if states & steps.branching:
                steps_left -= len(node.children)
                if steps_left < 0:
                    raise _TooManyStepsError
                for level, child in node.children.items():
                    following = steps.after(states, level)
                    if following:
                        stack.append((child, following))
            elif states != steps.accepting:
                # A `#` once reached stays reached, so without one there is a single state.
                level = steps.levels[states.bit_length() - 1]
                found = node.children.get(level)
                if found is not None:
                    stack.append((found, steps.after(states, level)))

    def _make(self, topic: str) -> "_TopicNode[ValueT]":
        node = self._root
        for level in topic.split("/"):
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _TopicNode()
            node = child
        return node

    def _find(self, topic: str) -> "_TopicNode[ValueT] | None":
        node: _TopicNode[ValueT] | None = self._root
        for level in topic.split("/"):
            if node is None:
                return None
            node = node.children.get(level)
        return node


class _PatternNode(Generic[ValueT]):
    """One level of some patterns, with the values of the pattern that ends here."""

    __slots__ = ("children", "values")

    def __init__(self) -> None:
        self.children: dict[str, _PatternNode[ValueT]] = {}
        self.values: dict[ValueT, int] = {}
        """With their places in the order of all values."""


def _in_order(nodes: Iterable[_PatternNode[ValueT]]) -> list[ValueT]:
    numbered = [item for node in nodes for item in node.values.items()]
    numbered.sort(key=operator.itemgetter(1))
    return [value for value, _ in numbered]


class _MatchCache(Generic[SubscriptionT]):
    """The results of recent matches, in two generations.

    When the recent generation is full it becomes the older one, and what was the older one is
    dropped; a result found in the older one moves over. So what is in use stays, at the price of
    one dictionary look-up, and dropping costs nothing per match.
    """

    # A result that many subscriptions share counts for more than one entry.
    _SUBSCRIPTIONS_PER_ENTRY = 32
    # Longer or deeper topics are matched anew each time: they are rare, and nobody shall fill the
    # memory with them.
    _MAX_TOPIC_LENGTH = 256
    _MAX_TOPIC_LEVELS = 16
    # A pattern that concerns more is cheaper met by forgetting everything: what is in use is
    # matched anew once, and the next such pattern finds little to forget.
    _MAX_STEPS = 200

    def __init__(self, entries: int) -> None:
        self.recent: dict[_CacheKey, tuple[SubscriptionT, ...]] = {}
        self._older: dict[_CacheKey, tuple[SubscriptionT, ...]] = {}
        # Which keys a changed pattern concerns: the keys of each topic, found by pattern.
        self._recent_keys: TopicMap[list[_CacheKey]] = TopicMap()
        self._older_keys: TopicMap[list[_CacheKey]] = TopicMap()
        self._limit = max(1, entries // 2)
        self._weight = 0

    def revive(self, topic: str, key: _CacheKey) -> tuple[SubscriptionT, ...] | None:
        found = self._older.pop(key, None)
        if found is not None:
            self.remember(topic, key, found)
        return found

    def remember(self, topic: str, key: _CacheKey, found: tuple[SubscriptionT, ...]) -> None:
        if len(topic) > self._MAX_TOPIC_LENGTH or topic.count("/") >= self._MAX_TOPIC_LEVELS:
            return
        if self._weight >= self._limit:
            self._older, self._older_keys = self.recent, self._recent_keys
            self.recent, self._recent_keys = {}, TopicMap()
            self._weight = 0
        self.recent[key] = found
        self._weight += 1 + len(found) // self._SUBSCRIPTIONS_PER_ENTRY
        self._recent_keys.setdefault(topic, []).append(key)

    def forget(self, pattern: str) -> None:
        """Forget the matches of the topics that a pattern matches."""
        recent = self._recent_keys.match_few(pattern, self._MAX_STEPS)
        older = self._older_keys.match_few(pattern, self._MAX_STEPS)
        if recent is None or older is None:
            self.recent, self._recent_keys = {}, TopicMap()
            self._older, self._older_keys = {}, TopicMap()
            self._weight = 0
            return
        for topic, keys in recent:
            for key in keys:
                found = self.recent.pop(key)
                self._weight -= 1 + len(found) // self._SUBSCRIPTIONS_PER_ENTRY
            self._recent_keys.delete(topic)
        for topic, keys in older:
            for key in keys:
                self._older.pop(key, None)
            self._older_keys.delete(topic)


class _TooManyStepsError(Exception):
    """A walk over a `TopicMap` was given up."""


class _TopicNode(Generic[ValueT]):
    """One level of some topics, with the topic that ends here and its value."""

    __slots__ = ("children", "entry")

    def __init__(self) -> None:
        self.children: dict[str, _TopicNode[ValueT]] = {}
        self.entry: tuple[str, ValueT] | None = None


def _entries(root: _TopicNode[ValueT]) -> Iterator[tuple[str, ValueT]]:
    stack = [root]
    while stack:
        node = stack.pop()
        stack.extend(node.children.values())
        if node.entry is not None:
            yield node.entry


class _PatternSteps:
    """A pattern as a finite automaton over levels, all its states in the bits of one integer.

    State `i` waits for the pattern's level `i`; the state after the last level accepts.
    """

    def __init__(self, pattern: str) -> None:
        self.levels: list[str] = []
        for level in pattern.split("/"):
            # `#/#` is `#`.
            if level != "#" or self.levels[-1:] != ["#"]:
                self.levels.append(level)
        self._hashes = 0
        self._pluses = 0
        self._literals: dict[str, int] = {}
        for place, level in enumerate(self.levels):
            if level == "#":
                self._hashes |= 1 << place
            elif level == "+":
                self._pluses |= 1 << place
            else:
                self._literals[level] = self._literals.get(level, 0) | 1 << place
        self.start = self._past_hashes(1)
        self.accepting = 1 << len(self.levels)
        self.everything = self.accepting >> 1 if self.levels[-1] == "#" else 0
        self.branching = self._hashes | self._pluses

    def after(self, states: int, level: str) -> int:
        """Return the states that one level of a topic leads to."""
        taken = states & (self._pluses | self._literals.get(level, 0))
        return self._past_hashes(taken << 1 | states & self._hashes)

    def _past_hashes(self, states: int) -> int:
        # A `#` may take no level at all.
        return states | (states & self._hashes) << 1
