"""The snippets of docs/protocols/sns.md do what it says, and the demo's scene plays."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

from hubbub_sns.demo import scenes

from .conftest import SnsHub

PAGE = Path(__file__).parents[2] / "docs" / "protocols" / "sns.md"
DEFAULT_URL = "http://127.0.0.1:4566"


def test_python(hub: SnsHub) -> None:
    (found,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert DEFAULT_URL in found
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(found.replace(DEFAULT_URL, hub.url), {})
    assert said.getvalue() == "the kettle boils\n"


def test_every_action_of_the_model_is_served(hub: SnsHub) -> None:
    actions = hub.client().meta.service_model.operation_names
    assert f"All {len(actions)} actions" in PAGE.read_text()
    served = {
        name
        for service in _services(hub)
        for name in service.operations
        if service.service.name == "sns"
    }
    assert served == set(actions)


def _services(hub: SnsHub) -> list[Any]:
    from hubbub_aws.hooks import AwsHooks

    manager = hub.served.hub.manager
    return [
        each
        for _, each in hub.served.call(
            lambda: manager.gather(AwsHooks.hubbub_aws_services, hub.served.hub)
        )
    ]


def test_the_scene_of_the_demo(hub: SnsHub) -> None:
    told: list[str] = []

    async def play() -> None:
        (scene,) = scenes(hub.served.hub)
        await scene.run(told.append)

    hub.served.run(play)
    assert told[-1] == "boto3 received from the SQS queue: tea is ready"
