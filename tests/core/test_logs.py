import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from hubbub.config import LogSettings
from hubbub.logs import make_logger, route_stdlib


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_where_nobody_watches() -> None:
    stream = io.StringIO()
    log = make_logger(LogSettings(), stream)
    log.bind(plugin="mqtt").info("listening", port=1883, body=b"a\xff", what={1})
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "listening", "level": "info", "plugin": "mqtt", "port": 1883,
        "body": "a\\xff", "what": "{1}",
    }  # fmt: skip


def test_exceptions_keep_their_traceback() -> None:
    stream = io.StringIO()
    try:
        raise OSError("the reason")
    except OSError as error:
        make_logger(LogSettings(), stream).error("failed", exc_info=error)
    (line,) = lines(stream)
    assert "Traceback" in line["exception"]
    assert "the reason" in line["exception"]


@pytest.mark.parametrize(
    ("stream", "form", "console"),
    [
        (Terminal(), "auto", True),
        (io.StringIO(), "auto", False),
        (Terminal(), "json", False),
        (io.StringIO(), "console", True),
    ],
)
def test_formats(stream: io.StringIO, form: Any, console: bool) -> None:
    make_logger(LogSettings(format=form), stream).info("hello", n=1)
    text = stream.getvalue()
    assert text.startswith("{") is not console
    assert ("\x1b[" in text) is (console and stream.isatty())
    assert "hello" in text


@pytest.mark.parametrize(("level", "number"), [("debug", 4), ("info", 3), ("error", 1)])
def test_levels(level: Any, number: int) -> None:
    stream = io.StringIO()
    log = make_logger(LogSettings(level=level), stream)
    log.debug("1")
    log.info("2")
    log.warning("3")
    log.error("4")
    assert len(lines(stream)) == number


def test_secrets_are_hidden() -> None:
    stream = io.StringIO()
    make_logger(LogSettings(), stream).info("login", user="a", password="hush", token="hush")
    assert "hush" not in stream.getvalue()


def test_two_loggers_share_nothing_and_structlog_is_left_alone() -> None:
    before = structlog.get_config()
    one, two = io.StringIO(), io.StringIO()
    first = make_logger(LogSettings(level="error"), one)
    second = make_logger(LogSettings(level="debug"), two)
    first.info("not here")
    second.debug("here")
    assert (one.getvalue(), len(lines(two))) == ("", 1)
    assert structlog.get_config() == before


def test_a_broken_stream_stops_nothing() -> None:
    make_logger(LogSettings(), Broken()).error("nobody reads this")
    closed = io.StringIO()
    closed.close()
    make_logger(LogSettings(format="json"), Closed()).error("nor this")


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise ValueError("I/O operation on closed file")


class TestLibraries:
    @pytest.fixture(autouse=True)
    def keep_root(self) -> Iterator[None]:
        root = logging.getLogger()
        before = root.level, root.handlers[:]
        yield
        assert (root.level, root.handlers) == before

    def test_their_logs_come_to_ours(self) -> None:
        stream = io.StringIO()
        with route_stdlib(make_logger(LogSettings(), stream)):
            library = logging.getLogger("some.library")
            library.debug("too small")
            library.warning("%d%% of %s", 5, "it")
            try:
                raise OSError("why")
            except OSError:
                library.exception("failed")
        first, second = lines(stream)
        assert (first["event"], first["logger"], first["level"]) == (
            "5% of it",
            "some.library",
            "warning",
        )
        assert "why" in second["exception"]
