"""What is routed as one: a target takes a message once, by however many ways it comes."""

from collections.abc import Sequence

from .message import Message


class Once:
    """Remembers what each target was given, from when it is entered until it is left as often."""

    __slots__ = ("_depth", "_given")

    def __init__(self) -> None:
        self._depth = 0
        self._given: dict[object, Sequence[Message] | set[int]] = {}
        """By target: the messages that it was given; their ids from the second time on."""

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._given.clear()

    def new_to(self, target: object, messages: Sequence[Message]) -> list[int] | None:
        """Give messages to a target; return the indexes of those it has not had. None: all."""
        given = self._given.get(target)
        if given is None:
            self._given[target] = messages
            return None
        if not isinstance(given, set):
            given = self._given[target] = {message.id for message in given}
        new = [index for index, message in enumerate(messages) if message.id not in given]
        given.update(message.id for message in messages)
        return None if len(new) == len(messages) else new
