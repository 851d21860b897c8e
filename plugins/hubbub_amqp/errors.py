"""Reply codes, and the one error that a client's bytes and methods can cause (1.2, 4.10)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Reply(IntEnum):
    """The reply codes of AMQP 0-9-1; the name goes in front of RabbitMQ's reply texts."""

    SUCCESS = 200
    CONTENT_TOO_LARGE = 311
    NO_ROUTE = 312
    NO_CONSUMERS = 313
    CONNECTION_FORCED = 320
    INVALID_PATH = 402
    ACCESS_REFUSED = 403
    NOT_FOUND = 404
    RESOURCE_LOCKED = 405
    PRECONDITION_FAILED = 406
    FRAME_ERROR = 501
    SYNTAX_ERROR = 502
    COMMAND_INVALID = 503
    CHANNEL_ERROR = 504
    UNEXPECTED_FRAME = 505
    RESOURCE_ERROR = 506
    NOT_ALLOWED = 530
    NOT_IMPLEMENTED = 540
    INTERNAL_ERROR = 541


#: The codes that close a channel alone ("soft errors"); all others close the connection.
CHANNEL_ERRORS: Final = frozenset(
    {
        Reply.CONTENT_TOO_LARGE,
        Reply.NO_CONSUMERS,
        Reply.ACCESS_REFUSED,
        Reply.NOT_FOUND,
        Reply.RESOURCE_LOCKED,
        Reply.PRECONDITION_FAILED,
    }
)

_LONGEST_TEXT: Final = 255


class AmqpError(Exception):
    """Something a client must be told by closing its channel or its connection.

    `reason` is RabbitMQ's text without the name of the code. `method` is the class and the method
    that failed, (0, 0) if none is to blame. `channel` is where it happened.
    """

    def __init__(
        self, code: Reply, reason: str, *, method: tuple[int, int] = (0, 0), channel: int = 0
    ) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        self.method = method
        self.channel = channel

    @property
    def closes_connection(self) -> bool:
        """Whether the whole connection ends, not just the channel."""
        return self.code not in CHANNEL_ERRORS

    @property
    def text(self) -> str:
        """The reply text as RabbitMQ writes it, cut to what a short string holds."""
        text = f"{self.code.name} - {self.reason}"
        if len(text.encode("utf-8", "replace")) <= _LONGEST_TEXT:
            return text
        return (
            text.encode("utf-8", "replace")[: _LONGEST_TEXT - 3].decode("utf-8", "ignore") + "..."
        )

    def __str__(self) -> str:
        return f"{self.code.value} {self.text}"


def syntax_error(reason: str) -> AmqpError:
    """Make the error for arguments that can't be parsed."""
    return AmqpError(Reply.SYNTAX_ERROR, reason)
