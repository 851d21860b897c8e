"""Templates: text with fields of a message in it, for what a route sets."""

import re
from collections.abc import Callable
from typing import Annotated, TypeAlias

from pydantic import AfterValidator

from hubbub.message import HeaderValue, Message
from hubbub.plugins import suggest

_MAX_LENGTH = 4096
_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_LEVEL = re.compile(r"topic\[(-?\d{1,4})\]")
_FIELDS = (
    "id", "content_type", "correlation_id", "type", "message_id", "app_id", "user_id", "group",
    "timestamp", "protocol", "client",
)  # fmt: skip


class Template:
    r"""Text with fields of a message in it, such as `{topic[1]}-{header.device|unknown}`.

    | field | becomes |
    |---|---|
    | `{topic}` | the address the message was published to |
    | `{topic[0]}`, `{topic[-1]}` | one level of it, counted from 0, or from the end |
    | `{header.NAME}` | a header, as text |
    | `{id}`, `{type}`, `{message_id}`, `{correlation_id}`, `{group}` | a field of the message |
    | `{app_id}`, `{user_id}`, `{content_type}`, `{timestamp}` | likewise |
    | `{protocol}`, `{client}` | how, and by whom, it was published |
    | `{FIELD\|TEXT}` | the field, or TEXT if the message has none |
    | `{{`, `}}` | a brace |

    What lacks a field without such a TEXT is not set at all.

    Raises:
        ValueError: the text is no template; says why.
    """

    __slots__ = ("_parts", "text")

    def __init__(self, text: str) -> None:
        if len(text) > _MAX_LENGTH:
            raise ValueError(f"a template has at most {_MAX_LENGTH} characters")
        self.text = text
        self._parts: list[str | tuple[Callable[[Message], str | None], str | None]] = []
        end = 0
        for match in _PART.finditer(text):
            self._literal(text[end : match.start()])
            end = match.end()
            if match[0] in {"{{", "}}"}:
                self._literal(match[0][0])
            elif match[1] is None:
                raise ValueError(f"a single {match[0]!r}; write {match[0] * 2!r} for the character")
            else:
                name, bar, default = match[1].partition("|")
                self._parts.append((_field(name), default if bar else None))
        self._literal(text[end:])

    def _literal(self, text: str) -> None:
        if text:
            self._parts.append(text)

    def render(self, message: Message) -> str | None:
        """Fill in the fields; None if the message lacks one that has no default."""
        result: list[str] = []
        for part in self._parts:
            if isinstance(part, str):
                result.append(part)
                continue
            get, default = part
            value = get(message)
            if value is None:
                value = default
            if value is None:
                return None
            result.append(value)
        return "".join(result)


def _field(name: str) -> Callable[[Message], str | None]:
    if name == "topic":
        return lambda message: message.address
    if match := _LEVEL.fullmatch(name):
        index = int(match[1])

        def level(message: Message) -> str | None:
            levels = message.address.split("/")
            return levels[index] if -len(levels) <= index < len(levels) else None

        return level
    if name.startswith("header.") and len(name) > len("header."):
        header = name.removeprefix("header.")
        return lambda message: _as_text(message.headers.get(header))
    if name in _FIELDS:
        return lambda message: _as_text(getattr(message, name))
    known = ("topic", "topic[0]", "header.NAME", *_FIELDS)
    raise ValueError(f"no field {{{name}}}{suggest(name, known)} (there are {', '.join(known)})")


def _as_text(value: HeaderValue) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value)


def _template(text: str) -> str:
    Template(text)
    return text


TemplateText: TypeAlias = Annotated[str, AfterValidator(_template)]
"""The text of a `Template`."""
