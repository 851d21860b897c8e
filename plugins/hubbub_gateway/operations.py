"""What an operation of the API is: its place in the route table, and what it says of itself.

The router serves it and the OpenAPI document describes it, both from the same object.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from hubbub import Response, Upgrade

if TYPE_CHECKING:
    import msgspec

    from .call import Call

Handler: TypeAlias = Callable[["Call"], Awaitable[Response | Upgrade]]

Media: TypeAlias = Mapping[str, Any]
"""The type of the content by its media type, "*/*" for any.

None stands for bytes, a tuple for one of several types.
"""


@dataclass(frozen=True, slots=True)
class Header:
    """A header that an operation reads or sets: what it means, and the type of its value."""

    description: str
    type: Any = str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One way an operation may answer: what it means, its content and its own headers."""

    description: str
    content: Media = field(default_factory=dict)
    headers: Mapping[str, Header] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operation.

    * `id`: its name in the document, such as "sendMessages".
    * `method`, `path`: as in `router`.
    * `handler`: answers the request, or raises `Problem` or an error of the bus.
    * `tag`, `summary`, `description`: for readers.
    * `query`: the parameters in the query; others are refused.
    * `headers`: the headers it reads, with what they mean.
    * `content`: what it takes. `answers`: by status. `problems`: kinds, beside those that any
      operation may meet.
    * `takes_token`: a bearer token may come in the query, where browsers can send no header: for
      events, and for what `greets`.
    * `greets`: who sends it may say so later, in the protocol that follows.
    * `safe`: a GET that changes nothing, and so serves HEAD too.
    """

    id: str
    method: str
    path: str
    handler: Handler
    tag: str
    summary: str
    description: str = ""
    query: type[msgspec.Struct] | None = None
    headers: Mapping[str, Header] = field(default_factory=dict)
    content: Media = field(default_factory=dict)
    content_required: bool = False
    answers: Mapping[int, Answer]
    problems: tuple[str, ...] = ()
    takes_token: bool = False
    greets: bool = False
    safe: bool = True
