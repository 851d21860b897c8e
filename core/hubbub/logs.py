"""Logging: one structlog logger per hub, for people on a terminal, as JSON elsewhere."""

import contextlib
import logging
import sys
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, TextIO

import structlog

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger, Processor

    from .config import LogSettings

_SECRET = frozenset(
    {"password", "password_hash", "secret", "token", "authorization", "credentials"}
)
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class _Output:
    """Writes lines. A stream that is broken (a pipe nobody reads) never stops the hub."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(message + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = msg


def make_logger(settings: "LogSettings", stream: TextIO | None = None) -> "FilteringBoundLogger":
    """Make a logger with a configuration of its own; structlog's global one is left alone.

    Args:
        settings: level and format.
        stream: where to write; None for standard error.
    """
    target = sys.stderr if stream is None else stream
    terminal = target.isatty()
    console = settings.format == "console" or (settings.format == "auto" and terminal)
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=not console),
        _hide_secrets,
    ]
    if console:
        processors.append(structlog.dev.ConsoleRenderer(colors=terminal))
    else:
        processors += [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=_as_json),
        ]
    logger: FilteringBoundLogger = structlog.wrap_logger(
        _Output(target),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.level]),
        context_class=dict,
        cache_logger_on_first_use=False,
    ).bind()
    return logger


@contextlib.contextmanager
def route_stdlib(log: "FilteringBoundLogger", level: str = "warning") -> Iterator[None]:
    """Send what libraries log through Python's own logging to a hub's logger, inside the context.

    For the command line only: Python's logging is one for the whole process.
    """
    handler = _Handler(log)
    root = logging.getLogger()
    before, before_handlers = root.level, root.handlers[:]
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    try:
        yield
    finally:
        root.handlers[:] = before_handlers
        root.setLevel(before)


class _Handler(logging.Handler):
    def __init__(self, log: "FilteringBoundLogger") -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            fields["exc_info"] = record.exc_info
        try:
            self._log.log(record.levelno, record.getMessage(), **fields)
        except Exception:
            self.handleError(record)


def _hide_secrets(
    logger: object, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key in _SECRET & event.keys():
        event[key] = "…"
    return event


def _as_json(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return repr(value)
