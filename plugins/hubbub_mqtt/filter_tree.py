"""Topic filters as a tree of their levels: what matches a topic is found without trying all."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class _Node(Generic[T]):
    """A level of a filter; `value` belongs to the filter that ends here, if there is one."""

    __slots__ = ("children", "value")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.value: T | None = None


class FilterTree(Generic[T]):
    """Values by topic filters (4.7), which are valid and not shared ones."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, topic_filter: str, value: T) -> None:
        """Add a filter, or give it another value."""
        node = self._root
        for level in topic_filter.split("/"):
            node = node.children.setdefault(level, _Node())
        node.value = value

    def remove(self, topic_filter: str) -> None:
        """Remove a filter; no error if it is not there."""
        node, path = self._root, []
        for level in topic_filter.split("/"):
            path.append((node, level))
            child = node.children.get(level)
            if child is None:
                return
            node = child
        node.value = None
        for parent, level in reversed(path):
            if node.children or node.value is not None:
                return
            del parent.children[level]
            node = parent

    def match(self, topic: str) -> list[T]:
        """Return the values of all filters that match a topic name.

        A wildcard at the beginning matches no name that starts with `$` [MQTT-4.7.2-1]; `a/#`
        matches `a` as well (4.7.1.2).
        """
        found: list[T | None] = []
        nodes = [self._root]
        wild = topic[:1] != "$"
        for level in topic.split("/"):
            below: list[_Node[T]] = []
            for node in nodes:
                children = node.children
                if (child := children.get(level)) is not None:
                    below.append(child)
                if wild:
                    if (child := children.get("+")) is not None:
                        below.append(child)
                    if (child := children.get("#")) is not None:
                        found.append(child.value)
            if not below:
                break
            nodes, wild = below, True
        else:
            for node in nodes:
                found.append(node.value)
                if (child := node.children.get("#")) is not None:
                    found.append(child.value)
        return [value for value in found if value is not None]
