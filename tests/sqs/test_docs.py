"""The snippets of docs/protocols/sqs.md do what it says."""

import contextlib
import io
import os
import re
import subprocess
from pathlib import Path

from tests.programs import javascript_packages, program

from .conftest import SqsHub

PAGE = Path(__file__).parents[2] / "docs" / "protocols" / "sqs.md"
DEFAULT_URL = "http://127.0.0.1:4566"

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def snippet(language: str, hub: SqsHub) -> str:
    """The only snippet in a language, for the hub of the test."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert DEFAULT_URL in found
    return str(found).replace(DEFAULT_URL, hub.url)


def test_python(hub: SqsHub) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(snippet("python", hub), {})
    assert said.getvalue() == "one coffee\n"


def test_javascript(hub: SqsHub, tmp_path: Path) -> None:
    script = tmp_path / "snippet.cjs"
    script.write_text(snippet("javascript", hub))
    said = run([program("node"), str(script)], NODE_PATH=str(javascript_packages()))
    assert said == "one coffee\n"


def test_shell(hub: SqsHub) -> None:
    beside = Path(program("aws")).parent  # a virtual environment may not be on the path
    path = f"{beside}{os.pathsep}{os.environ['PATH']}"
    assert run(["sh", "-e", "-c", snippet("shell", hub)], PATH=path).endswith("one coffee\n")


def run(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command, env={**os.environ, **ENVIRONMENT, **environment}, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
