"""Celery workers in processes of their own, as anybody runs them."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from celery import Celery  # type: ignore[import-untyped]

from tests.programs import Running, running

from .celery_app import make_app

_SCRIPT = Path(__file__).parent / "celery_app.py"


@contextlib.contextmanager
def worker(
    folder: Path, settings: dict[str, Any], *options: str, dies: bool = False
) -> Iterator[tuple[Celery, Running]]:
    """Run a worker that is ready; give the application and the process.

    Args:
        folder: for its files.
        settings: Celery's.
        options: of the command line.
        dies: it ends in the body, other than by being asked to at the end.
    """
    (folder / "celery.json").write_text(json.dumps(settings))
    app = make_app(folder)
    command = [sys.executable, "-u", str(_SCRIPT), str(folder), *options]
    with running(command) as process, app:
        process.until(" ready.")
        yield app, process
        if not dies:
            process.process.terminate()
            assert process.wait() == 0
